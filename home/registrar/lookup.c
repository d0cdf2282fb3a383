/*
 * From a user or GRUU to targets: RFC 3261 16.5, RFC 5626 section 7 (one flow of an instance at
 * a time), RFC 5627 section 5.  Which way leads to a phone is decided here: its flow, its Path,
 * or the address in its contact.
 */
#include "home/registrar/reg_priv.h"

#include <errno.h>

/* 19.1.1: neither headers nor a method parameter in a Request-URI.  Spans into text, or a copy
 * without them in the arena. */
static struct span request_uri(struct span text)
{
	struct sip_uri u;
	const char *q = memchr(text.p, '?', text.n);

	if (!memmem(text.p, text.n, ";method=", 8) && !q)
		return text;
	if (sip_uri_parse(text, &u) < 0)
		return text;
	if (u.headers.p)
		text.n = (size_t)(u.headers.p - 1 - text.p);
	const struct sip_param *m = sip_uri_param(&u, SPAN("method"));
	if (!m || m->name.p < text.p || m->name.p > text.p + text.n)
		return text;
	size_t before = (size_t)(m->name.p - 1 - text.p);
	size_t after = before + 1 + m->name.n + (m->value.p ? 1 + m->value.n : 0);
	return arena_printf(sip_arena(), "%.*s%.*s", (int)before, text.p, (int)(text.n - after),
			    text.p + after);
}

/* Whence the phone called it hardly listens: a port of its own is in a contact that it takes
 * calls at. */
static bool takes_calls(const Eaves__Binding *b, const struct sip_flow *f)
{
	struct sip_uri u;
	struct addr a;

	return sip_uri_parse(pb_span(b->contact), &u) == 0 &&
	       addr_parse(&a, u.host, u.port ? u.port : sip_transport_port(f->transport)) ==
		       0 &&
	       addr_host_equal(&a, &f->remote) && addr_port(&a) != addr_port(&f->remote);
}

/* The connection is not here. */
static bool find_stream(const struct reg *r, const Eaves__Binding *b, const struct sip_flow *f,
			struct reg_target *t)
{
	enum reg_elsewhere where = reg_flow_elsewhere(r, b, f);

	if (where == REG_LOST || (where == REG_AWAITED && !b->reg_id && takes_calls(b, f)))
		return b->reg_id == 0;
	t->has_flow = true;
	t->flow = *f;
	t->elsewhere = where;
	t->boot = b->boot;
	return true;
}

/* How the phone is reached; false when it cannot be (an outbound flow that is gone). */
static bool choose_way(const struct reg *r, const Eaves__Binding *b, struct reg_target *t)
{
	struct sip_flow f;

	t->has_flow = false;
	t->elsewhere = REG_LOST;
	t->route = pb_span(b->path);
	if (b->path.len || !reg_flow_get(b, &f))
		return true;
	if (!sip_transport_reliable(f.transport))
		t->has_flow = b->nat;
	else if (reg_flow_usable(r, b, &f))
		t->has_flow = true;
	else
		return find_stream(r, b, &f, t);
	if (t->has_flow)
		t->flow = f;
	return true;
}

/* Is b of the GRUU's instance?  *alive: the temporary one's Call-ID is still in force. */
static bool of_gruu(const struct reg *r, const struct reg_gruu *g, const Eaves__Binding *b,
		    bool *alive)
{
	if (b->instance.len == 0 || reg_instance_hash(r, pb_span(b->instance)) != g->instance)
		return false;
	*alive |= !g->temporary || reg_call_id_hash(r, pb_span(b->call_id)) == g->call_id;
	return true;
}

static bool is_sip(struct span uri)
{
	return span_istarts(uri, SPAN("sip:")) || span_istarts(uri, SPAN("sips:"));
}

/* Stable, highest q first. */
static void sort_by_q(struct reg_target *v, unsigned n)
{
	for (unsigned i = 1; i < n; i++) {
		struct reg_target t = v[i];
		unsigned j = i;
		for (; j > 0 && v[j - 1].q < t.q; j--)
			v[j] = v[j - 1];
		v[j] = t;
	}
}

struct found {
	unsigned n;
	bool gruu, rivals; /* rivals: there may be several flows of one instance */
	struct reg_target v[REG_CONTACTS_MAX];
	uint64_t received[REG_CONTACTS_MAX];
};

/* One way to an instance at a time: among those by outbound, and among all that a GRUU names.
 */
static bool are_rivals(const struct found *f, unsigned i, unsigned j)
{
	const struct reg_target *a = &f->v[i], *b = &f->v[j];

	return i != j && (f->gruu || (a->reg_id && b->reg_id)) &&
	       span_ieq(a->instance, b->instance);
}

/* In one millisecond: what was added later.  What is awaited may not come. */
static bool is_newer(const struct found *f, unsigned i, unsigned j)
{
	bool i_lives = f->v[i].elsewhere != REG_AWAITED,
	     j_lives = f->v[j].elsewhere != REG_AWAITED;

	if (i_lives != j_lives)
		return i_lives;
	return f->received[i] > f->received[j] || (f->received[i] == f->received[j] && i > j);
}

static bool leads(const struct found *f, unsigned i)
{
	for (unsigned j = 0; j < f->n; j++)
		if (are_rivals(f, i, j) && is_newer(f, j, i))
			return false;
	return true;
}

/* 5626 section 7: the newest of an instance, and behind it its other flows, newest first. */
static unsigned spares_of(const struct found *f, unsigned leader, struct reg_target *v,
			  unsigned max)
{
	unsigned n = 0, last = leader;

	while (n < max) {
		unsigned next = f->n;
		for (unsigned i = 0; i < f->n; i++)
			if (are_rivals(f, leader, i) && is_newer(f, last, i) &&
			    (next == f->n || is_newer(f, i, next)))
				next = i;
		if (next == f->n)
			break;
		last = next;
		if (!f->v[leader].reg_id || !f->v[next].reg_id)
			continue;
		v[n] = f->v[next];
		v[n].q = f->v[leader].q;
		v[n++].spare = true;
	}
	return n;
}

static unsigned arrange(const struct found *f, struct reg_target *v, unsigned max)
{
	unsigned n = 0;

	for (unsigned i = 0; i < f->n && n < max; i++) {
		if (f->rivals && !leads(f, i))
			continue;
		v[n++] = f->v[i];
		if (f->rivals)
			n += spares_of(f, i, v + n, max - n);
	}
	sort_by_q(v, n);
	return n;
}

int reg_lookup(struct reg *r, struct span user, const struct reg_gruu *gruu, uint64_t wall_ms,
	       struct reg_target *v, unsigned max, unsigned *ret_bindings)
{
	struct bindings s;
	struct found f;
	unsigned of_instances = 0;
	bool alive = !gruu || !gruu->temporary;

	int rc = reg_load(r, user, wall_ms, &s);
	if (rc < 0)
		return rc;
	if (ret_bindings)
		*ret_bindings = s.n;
	f.n = 0;
	f.gruu = gruu != NULL;
	for (unsigned i = 0; i < s.n && f.n < REG_CONTACTS_MAX; i++) {
		const Eaves__Binding *b = s.v[i].b;
		struct reg_target *t = &f.v[f.n];

		if ((gruu && !of_gruu(r, gruu, b, &alive)) || !is_sip(pb_span(b->contact)) ||
		    !choose_way(r, b, t))
			continue;
		t->uri = request_uri(pb_span(b->contact));
		t->q = b->q ? (uint16_t)(b->q - 1) : 1000;
		t->instance = pb_span(b->instance);
		t->reg_id = b->reg_id;
		t->tag = reg_tag(r, &s, &s.v[i]);
		t->spare = false;
		of_instances += gruu || b->reg_id;
		f.received[f.n++] = b->received_ms;
	}
	if (sip_arena()->overflow)
		return -ENOMEM;
	f.rivals = of_instances > 1;
	unsigned n = arrange(&f, v, max);
	return alive ? (int)n : -ENOENT;
}

static bool copy_user(void *arg, const struct record *rec)
{
	*(struct span *)arg = arena_dup(sip_arena(), rec->group);
	return false;
}

static int lookup_by_tag(struct reg *r, uint64_t tag, uint64_t wall_ms,
			 struct reg_target v[REG_CONTACTS_MAX])
{
	struct span user = {NULL, 0};
	records_each_tag(r->records, RECORD_BINDING, tag, wall_ms, copy_user, &user);
	return user.p ? reg_lookup(r, user, NULL, wall_ms, v, REG_CONTACTS_MAX, NULL) : 0;
}

bool reg_target_of(struct reg *r, uint64_t tag, uint64_t wall_ms, struct reg_target *ret)
{
	struct reg_target v[REG_CONTACTS_MAX];
	int n = lookup_by_tag(r, tag, wall_ms, v);
	for (int i = 0; i < n; i++)
		if (v[i].tag == tag) {
			*ret = v[i];
			return true;
		}
	return false;
}

unsigned reg_devices_beside(struct reg *r, uint64_t tag, uint64_t wall_ms)
{
	struct reg_target v[REG_CONTACTS_MAX];
	int n = lookup_by_tag(r, tag, wall_ms, v);
	return n < 0 ? 0 : (unsigned)n;
}
