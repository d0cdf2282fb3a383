/*
 * One Contact of a REGISTER: RFC 3261 10.3 steps 6 and 7, 20.10, RFC 5626 section 6 (instance
 * and reg-id).  Works on the user's bindings in memory; nothing is written here.
 */
#include "home/registrar/reg_priv.h"

#include "common/flow/token.h"

#include <errno.h>

struct contact {
	struct sip_nameaddr na;
	struct span instance; /* with its angle brackets, without quotes */
	uint32_t reg_id;      /* 0: none, or to be ignored */
	uint32_t expires_s;
	uint16_t q; /* as in the record: q + 1, 0 without */
};

static struct span unquoted(struct span s)
{
	if (s.n >= 2 && s.p[0] == '"' && s.p[s.n - 1] == '"')
		return span_of(s.p + 1, s.n - 2);
	return s;
}

static int read_instance(struct reg_work *w, struct contact *c)
{
	const struct sip_param *inst = sip_params_find(&c->na.params, SPAN("+sip.instance"));
	const struct sip_param *reg = sip_params_find(&c->na.params, SPAN("reg-id"));
	uint64_t id;

	if (!inst || !inst->value.p)
		return 0; /* 5626 6: reg-id without an instance is ignored */
	c->instance = unquoted(inst->value);
	if (!reg_instance_sound(c->instance))
		return reg_refuse(w, 400, "Invalid +sip.instance");
	if (!reg)
		return 0;
	if (span_u64(reg->value, INT32_MAX, &id) < 0 || id == 0)
		return reg_refuse(w, 400, "Invalid reg-id");
	if (!w->first_hop_outbound)
		return w->sup_outbound ? reg_refuse(w, 439, "First Hop Lacks Outbound Support")
				       : 0;
	c->reg_id = (uint32_t)id;
	w->with_reg_id++;
	return 0;
}

static int read_expires(struct reg_work *w, struct contact *c)
{
	const struct sip_param *p = sip_params_find(&c->na.params, SPAN("expires"));

	c->expires_s = w->expires_s;
	if (p && (!p->value.p || sip_delta_parse(p->value, &c->expires_s) < 0))
		c->expires_s = 3600; /* 10.2.1.1: malformed */
	if (c->expires_s > 0 && c->expires_s < w->conf->expires_min_s) {
		reg_count(&w->r->counters.too_brief, 1);
		w->lines = arena_printf(sip_arena(), "Min-Expires: %u\r\n",
					w->conf->expires_min_s);
		return reg_refuse(w, 423, "Interval Too Brief");
	}
	if (c->expires_s > w->conf->expires_max_s)
		c->expires_s = w->conf->expires_max_s;
	w->nonzero += c->expires_s > 0;
	return 0;
}

static int read_contact(struct reg_work *w, struct span value, struct contact *c)
{
	const struct sip_param *q;
	uint16_t v;

	*c = (struct contact){.q = 0};
	if (value.n > w->conf->contact_bytes)
		return reg_refuse(w, 400, "Contact Too Long");
	if (value.n == 0 || sip_nameaddr_parse(value, &c->na) < 0)
		return reg_refuse(w, 400, "Invalid Contact");
	if (!reg_uri_sound(c->na.uri_text))
		return reg_refuse(w, 400, "Invalid Contact URI");
	q = sip_params_find(&c->na.params, SPAN("q"));
	if (q) {
		if (!q->value.p || sip_qvalue_parse(q->value, &v) < 0)
			return reg_refuse(w, 400, "Invalid q in Contact");
		c->q = v + 1;
	}
	int rc = read_instance(w, c);
	return rc < 0 ? rc : read_expires(w, c);
}

static struct binding *find(struct reg_work *w, const struct contact *c)
{
	for (unsigned i = 0; i < w->set.n; i++) {
		struct binding *b = &w->set.v[i];
		if (c->reg_id != b->b->reg_id)
			continue;
		if (c->reg_id ? span_ieq(c->instance, pb_span(b->b->instance))
			      : reg_uri_same(&c->na.uri, b->b))
			return b;
	}
	return NULL;
}

/* 10.3 steps 6 and 7: of one Call-ID a higher CSeq only.  An equal one that does not remove is
 * a retransmission that reached another transaction layer (after a restart), and repeats the
 * yes. */
static int in_order(struct reg_work *w, const struct binding *b, bool removes)
{
	if (b->change != REG_KEEP || !span_eq(pb_span(b->b->call_id), w->msg->call_id))
		return 0;
	if (w->msg->cseq > b->b->cseq || (w->msg->cseq == b->b->cseq && !removes))
		return 0;
	reg_count(&w->r->counters.out_of_order, 1);
	return reg_refuse(w, 500, "CSeq Out of Order");
}

/* Which parameters have fields of their own, or are the registrar's to give (RFC 5627). */
static bool own_param(struct span name)
{
	static const struct span own[] = {
		SPAN("expires"), SPAN("q"),	   SPAN("+sip.instance"),
		SPAN("reg-id"),	 SPAN("pub-gruu"), SPAN("temp-gruu"),
	};
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		if (span_ieq(name, own[i]))
			return true;
	return false;
}

/* The other parameters as text, folding undone. */
static struct span other_params(const struct sip_params *ps)
{
	size_t n = 0;
	for (unsigned i = 0; i < ps->n; i++)
		n += ps->v[i].name.n + ps->v[i].value.n + 2;
	char *p = n ? arena_alloc(sip_arena(), n) : NULL;
	if (!p)
		return (struct span){NULL, 0};
	struct reg_text t = {.p = p, .cap = n};
	for (unsigned i = 0; i < ps->n; i++) {
		if (own_param(ps->v[i].name))
			continue;
		reg_text_add(&t, SPAN(";"));
		reg_text_add(&t, ps->v[i].name);
		if (ps->v[i].value.p) {
			reg_text_add(&t, SPAN("="));
			reg_text_add(&t, ps->v[i].value);
		}
	}
	for (size_t i = 0; i < t.n; i++)
		if ((unsigned char)p[i] < ' ' || p[i] == 0x7f)
			p[i] = ' ';
	return span_of(p, t.n);
}

/* Equality of URIs is not transitive: another binding may bear the name by now. */
static struct binding *add(struct reg_work *w, struct span name)
{
	for (unsigned i = 0; i < w->set.n; i++)
		if (span_eq(w->set.v[i].name, name))
			return &w->set.v[i];
	if (w->set.n == sizeof(w->set.v) / sizeof(w->set.v[0]))
		return NULL;
	struct binding *b = &w->set.v[w->set.n++];
	*b = (struct binding){.name = name, .fresh = true};
	return b;
}

/* The record's name: what a binding is compared by, hashed (10.3 step 7; 5626 6). */
static struct span binding_name(const struct reg_work *w, const struct contact *c)
{
	struct mac m;
	mac_init(&m, &w->r->name_key);
	if (c->reg_id) {
		mac_add_icase(&m, c->instance);
		mac_add_u64(&m, c->reg_id);
	} else {
		mac_add(&m, c->na.uri_text);
	}
	uint64_t h = mac_final(&m);
	return arena_dup(sip_arena(), span_of((const char *)&h, REG_NAME_BYTES));
}

/* Does the top Via ask for rport?  It says nothing new where the contact has the port that the
 * request came from. */
static bool has_rport(const struct reg_work *w, const struct sip_uri *uri)
{
	struct sip_via via;
	uint16_t port = uri->port ? uri->port : sip_transport_port(w->flow->transport);

	if (w->flow->transport != SIP_TRANSPORT_UDP || port == addr_port(&w->flow->remote))
		return false;
	if (w->top)
		return w->top->has_rport;
	return sip_msg_top_via(w->msg, &via) == 0 && via.has_rport;
}

static int fill(struct reg_work *w, struct binding *s, const struct contact *c)
{
	Eaves__Binding *b = arena_alloc(sip_arena(), sizeof(*b));
	uint8_t *remote = arena_alloc(sip_arena(), 18);
	if (!b || !remote)
		return reg_refuse(w, 500, "Server Internal Error");
	eaves__binding__init(b);
	b->contact = pb_bytes(c->na.uri_text);
	b->params = pb_bytes(other_params(&c->na.params));
	b->call_id = pb_bytes(w->msg->call_id);
	b->cseq = w->msg->cseq;
	b->q = c->q;
	b->path = pb_bytes(w->path);
	b->instance = pb_bytes(c->instance);
	b->reg_id = c->reg_id;
	b->user_agent = pb_bytes(w->agent);
	b->received_ms = w->wall_ms;
	if (w->flow) {
		reg_flow_set(w->r, b, w->flow, remote);
		b->nat = c->reg_id ||
			 flow_behind_nat(w->flow, &c->na.uri, has_rport(w, &c->na.uri));
	}
	if (s->b && reg_past_set(b, s->b) < 0)
		return reg_refuse(w, 500, "Server Internal Error");
	s->b = b;
	s->expires_ms = w->wall_ms + (uint64_t)c->expires_s * 1000;
	s->change = REG_PUT;
	return 0;
}

int reg_contact(struct reg_work *w, struct span value)
{
	struct contact c;
	int rc = read_contact(w, value, &c);
	if (rc < 0)
		return rc;

	struct binding *b = find(w, &c);
	if (b) {
		rc = in_order(w, b, c.expires_s == 0);
		if (rc < 0)
			return rc;
	}
	w->used_outbound |= c.reg_id != 0;
	if (c.expires_s == 0) {
		if (b)
			b->change = REG_REMOVE;
		return 0;
	}
	if (!b)
		b = add(w, binding_name(w, &c));
	return b ? fill(w, b, &c) : reg_refuse(w, 403, "Too Many Contacts");
}

int reg_wildcard(struct reg_work *w)
{
	if (!w->has_expires || w->expires_s != 0)
		return reg_refuse(w, 400, "Contact * Without Expires 0");
	for (unsigned i = 0; i < w->set.n; i++) {
		int rc = in_order(w, &w->set.v[i], true);
		if (rc < 0)
			return rc;
		w->set.v[i].change = REG_REMOVE;
	}
	return 0;
}
