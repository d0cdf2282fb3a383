/*
 * A REGISTER, RFC 3261 10.3: steps 2 and 6 to 8 (the others are the caller's), with what RFC
 * 3327 and 5626 section 6 ask of a registrar.  Reads the user's bindings, works on them in
 * memory, and writes all changes by one compare and set; when another request was quicker, once
 * more from the start.
 */
#include "home/registrar/reg_priv.h"

#include <errno.h>
#include <stdlib.h>

int reg_refuse(struct reg_work *w, unsigned status, const char *reason)
{
	w->status = status;
	w->reason = reason;
	return -EBADMSG;
}

/* ---- the request ---- */

/* 10.3 step 2. */
static int check_require(struct reg_work *w)
{
	struct sip_list_it it = {0};
	struct span v, unknown = {NULL, 0};

	while (sip_list_next(w->msg, SIP_HDR_REQUIRE, &it, &v)) {
		if (v.n == 0 || span_ieq(v, SPAN("path")) ||
		    (span_ieq(v, SPAN("outbound")) && !w->conf->no_outbound) ||
		    (span_ieq(v, SPAN("gruu")) && !w->conf->no_gruu))
			continue;
		unknown = arena_printf(sip_arena(), "%.*s%s%.*s", SPAN_FMT(unknown),
				       unknown.n ? ", " : "", SPAN_FMT(v));
	}
	if (unknown.n == 0)
		return 0;
	w->lines = arena_printf(sip_arena(), "Unsupported: %.*s\r\n", SPAN_FMT(unknown));
	return reg_refuse(w, 420, "Bad Extension");
}

static bool supports(const struct sip_msg *m, struct span tag)
{
	if (!sip_msg_first(m, SIP_HDR_SUPPORTED) && !sip_msg_first(m, SIP_HDR_REQUIRE))
		return false;
	return sip_msg_has_token(m, SIP_HDR_SUPPORTED, tag) ||
	       sip_msg_has_token(m, SIP_HDR_REQUIRE, tag);
}

/* RFC 3327 5.3: the values in their order, one text, fit for Route. */
static int read_path(struct reg_work *w)
{
	char buf[REG_PATH_MAX_BYTES];
	struct reg_text t = {.p = buf, .cap = sizeof(buf)};
	struct sip_list_it it = {0};
	struct sip_nameaddr na = {0};
	struct span v;

	while (sip_list_next(w->msg, SIP_HDR_PATH, &it, &v)) {
		if (v.n == 0 || sip_nameaddr_parse(v, &na) < 0 || na.uri_text.n == 0 ||
		    na.uri.host.n == 0 || memchr(v.p, '\r', v.n))
			return reg_refuse(w, 400, "Invalid Path");
		reg_text_add(&t, t.n ? SPAN(",") : SPAN(""));
		reg_text_add(&t, v);
	}
	if (t.full)
		return reg_refuse(w, 400, "Path Too Long");
	if (t.n == 0)
		return 0;
	/* 5626 6: the hop next to the phone says by `ob` that it keeps the flow. */
	w->first_hop_outbound |= sip_uri_param(&na.uri, SPAN("ob")) != NULL;
	w->path = arena_dup(sip_arena(), span_of(buf, t.n));
	if (w->sup_path || !w->conf->path_strict)
		return 0;
	w->lines = SPAN("Unsupported: path\r\n");
	return reg_refuse(w, 420, "Bad Extension");
}

/* Straight from the phone: one Via. */
static void read_hops(struct reg_work *w, const struct sip_flow *flow)
{
	struct sip_list_it it = {0};
	struct span v;
	unsigned n = 0;

	while (n < 2 && sip_list_next(w->msg, SIP_HDR_VIA, &it, &v))
		n++;
	if (n != 1 || !flow || flow->transport == SIP_TRANSPORT_NONE)
		return;
	w->flow = flow;
	w->first_hop_outbound = true;
}

static void read_agent(struct reg_work *w)
{
	for (unsigned i = 0; i < w->msg->nhdr; i++) {
		const struct sip_hdr *h = &w->msg->hdr[i];
		if (h->kind != SIP_HDR_OTHER || h->name_len != 10 ||
		    !span_ieq(span_of(w->msg->base + h->off, 10), SPAN("User-Agent")))
			continue;
		w->agent = sip_hdr_value(w->msg, h);
		if (w->agent.n > REG_AGENT_BYTES)
			w->agent.n = REG_AGENT_BYTES;
		return;
	}
}

static int read_request(struct reg_work *w, const struct sip_flow *flow)
{
	int rc = check_require(w);
	if (rc < 0)
		return rc;
	w->sup_path = supports(w->msg, SPAN("path"));
	w->sup_outbound = !w->conf->no_outbound && supports(w->msg, SPAN("outbound"));
	w->sup_gruu = !w->conf->no_gruu && supports(w->msg, SPAN("gruu"));
	read_hops(w, flow);
	rc = read_path(w);
	if (rc < 0)
		return rc;
	w->first_hop_outbound &= !w->conf->no_outbound;
	read_agent(w);

	struct span v = sip_msg_value(w->msg, SIP_HDR_EXPIRES);
	w->expires_s = w->conf->expires_default_s;
	w->has_expires = v.p != NULL;
	if (v.p && sip_delta_parse(v, &w->expires_s) < 0)
		w->expires_s = 3600; /* 10.2.1.1 */
	return 0;
}

/* ---- the bindings ---- */

/* A phone on a stream without outbound leaves a binding behind each time its connection breaks:
 * those make room first. */
static void drop_dead(struct reg_work *w, unsigned excess)
{
	for (unsigned i = 0; i < w->set.n && excess; i++) {
		struct binding *b = &w->set.v[i];
		struct sip_flow f;
		if (b->change != REG_KEEP || !reg_flow_get(b->b, &f) ||
		    !sip_transport_reliable(f.transport) || reg_flow_usable(w->r, b->b, &f) ||
		    reg_flow_elsewhere(w->r, b->b, &f) == REG_AT_OTHER)
			continue;
		b->change = REG_REMOVE;
		excess--;
	}
}

static int check_limit(struct reg_work *w)
{
	bool grows = false;
	for (unsigned i = 0; i < w->set.n; i++)
		grows |= w->set.v[i].fresh && w->set.v[i].change == REG_PUT;
	unsigned n = reg_bindings_left(&w->set), max = w->conf->contacts_per_user;
	if (!grows || n <= max)
		return 0;
	drop_dead(w, n - max);
	if (reg_bindings_left(&w->set) <= max)
		return 0;
	reg_count(&w->r->counters.too_many, 1);
	return reg_refuse(w, 403, "Too Many Contacts");
}

/* 10.3 steps 6 and 7. */
static int bind_contacts(struct reg_work *w)
{
	struct sip_list_it it = {0};
	struct span v;
	unsigned n = 0;
	bool wildcard = false;

	w->used_outbound = false;
	w->nonzero = w->with_reg_id = 0;
	while (sip_list_next(w->msg, SIP_HDR_CONTACT, &it, &v)) {
		bool star = span_eq(v, SPAN("*"));
		if (n++ && (star || wildcard))
			return reg_refuse(w, 400, "Contact * Among Others");
		if (n > REG_CONTACTS_MAX)
			return reg_refuse(w, 403, "Too Many Contacts");
		wildcard = star;
		int rc = star ? reg_wildcard(w) : reg_contact(w, v);
		if (rc < 0)
			return rc;
	}
	/* 5626 6: one flow is registered at a time. */
	if (w->with_reg_id && w->nonzero > 1)
		return reg_refuse(w, 400, "Several Contacts With reg-id");
	return check_limit(w);
}

/* ---- the answer ---- */

/* Waits for the store; the text of the answer with it. */
struct waiting {
	struct reg *r;
	reg_done done;
	void *arg;
	bool strict, own; /* own: an allocation, since the store's thread ends it */
	struct reg_answer answer;
	char lines[];
};

static void durable(void *arg, int error)
{
	struct waiting *p = arg;
	bool own = p->own; /* done() may end the message, and its arena */

	if (error == 0) {
		p->answer.durable = REG_DURABLE;
	} else {
		reg_count(&p->r->counters.not_durable, 1);
		p->answer.durable = REG_NOT_DURABLE;
		if (p->strict)
			p->answer = (struct reg_answer){
				.status = 503,
				.durable = REG_NOT_DURABLE,
				.reason = "Registration Not Durable",
				.lines = SPAN("Retry-After: 5\r\n"),
			};
	}
	p->done(p->arg, &p->answer);
	if (own)
		free(p);
}

static void waiting_free(struct waiting *p)
{
	if (p && p->own)
		free(p);
}

static struct waiting *waiting_new(struct reg_work *w, reg_done done, void *arg)
{
	size_t room = reg_lines_max(w);
	bool own = records_has_store(w->r->records);
	struct waiting *p =
		own ? malloc(sizeof(*p) + room) : arena_alloc(sip_arena(), sizeof(*p) + room);
	if (!p)
		return NULL;
	*p = (struct waiting){
		.r = w->r,
		.done = done,
		.arg = arg,
		.strict = w->conf->strict,
		.own = own,
		.answer = {.status = 200, .reason = "OK"},
	};
	struct reg_text t = {.p = p->lines, .cap = room};
	reg_lines(w, &t);
	p->answer.lines = span_of(p->lines, t.n);
	p->answer.bindings = reg_bindings_left(&w->set);
	if (!t.full)
		return p;
	waiting_free(p);
	return NULL;
}

struct changes {
	unsigned queries, registered, refreshed, removed;
};

static struct changes changes_of(const struct reg_work *w)
{
	struct changes n = {.queries = !sip_msg_first(w->msg, SIP_HDR_CONTACT)};
	for (unsigned i = 0; i < w->set.n; i++) {
		const struct binding *b = &w->set.v[i];
		n.registered += b->change == REG_PUT && b->fresh;
		n.refreshed += b->change == REG_PUT && !b->fresh;
		n.removed += b->change == REG_REMOVE && !b->fresh;
	}
	return n;
}

static void count_changes(struct reg *r, const struct changes *n)
{
	reg_count(&r->counters.queries, n->queries);
	reg_count(&r->counters.registered, n->registered);
	reg_count(&r->counters.refreshed, n->refreshed);
	reg_count(&r->counters.removed, n->removed);
}

static const char out_of_memory[] = "Server Out of Memory";

/* One try.  0: answered, or will be; -EAGAIN; -EBADMSG: to be refused as w says. */
static int try_once(struct reg_work *w, struct span user, reg_done done, void *arg)
{
	unsigned n = 0;
	int rc = reg_load(w->r, user, w->wall_ms, &w->set);

	if (rc == 0)
		rc = bind_contacts(w);
	if (rc == -EBADMSG)
		return rc;
	struct waiting *p = rc == 0 ? waiting_new(w, done, arg) : NULL;
	if (!p || sip_arena()->overflow) {
		waiting_free(p);
		return reg_refuse(w, 500, out_of_memory);
	}
	struct reg *r = w->r;
	const struct changes changes = changes_of(w); /* done() may end the message */
	rc = reg_store(r, &w->set, w->wall_ms, durable, p, &n);
	if (rc < 0) {
		waiting_free(p);
		if (rc == -EAGAIN)
			return rc;
		if (rc != -ENOSPC)
			return reg_refuse(w, 500, out_of_memory);
		w->lines = SPAN("Retry-After: 5\r\n");
		return reg_refuse(w, 503, "Registrar Full");
	}
	count_changes(r, &changes);
	if (n == 0) {
		bool own = p->own;
		done(arg, &p->answer);
		if (own)
			free(p);
	}
	return 0;
}

void reg_register(struct reg *r, const struct sip_msg *msg, const struct sip_via *top,
		  const struct sip_flow *flow, struct span user, uint64_t wall_ms,
		  reg_done done, void *arg)
{
	struct reg_work w;
	memset(&w, 0, offsetof(struct reg_work, set));
	w.lines = span_of(NULL, 0);
	w.r = r;
	w.conf = reg_conf(r);
	w.msg = msg;
	w.top = top;
	w.wall_ms = wall_ms;

	int rc = read_request(&w, flow);
	size_t mark = arena_mark(sip_arena());
	for (unsigned i = 0; rc == 0 && i < REG_TRIES; i++) {
		rc = try_once(&w, user, done, arg);
		if (rc == 0)
			return;
		if (rc != -EAGAIN)
			break;
		reg_count(&r->counters.conflicts, 1);
		arena_release(sip_arena(), mark);
		rc = 0;
	}
	if (rc == 0)
		reg_refuse(&w, 500, "Too Many Registrations at Once");
	if (sip_arena()->overflow) { /* whatever else it looked like */
		w.lines = span_of(NULL, 0);
		reg_refuse(&w, 500, out_of_memory);
	}
	reg_count(&r->counters.refused, 1);
	const struct reg_answer a = {.status = w.status, .reason = w.reason, .lines = w.lines};
	done(arg, &a);
}
