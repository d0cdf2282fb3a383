/*
 * Bindings seen and removed from outside of a REGISTER: lists, drops, flows that have died (RFC
 * 5626 section 7).
 */
#include "home/registrar/reg_priv.h"

#include <errno.h>

enum { UNPACK_BYTES = 16384, DROP_BYTES = 512 * 1024 };

/* ---- lists ---- */

struct listing {
	bool (*each)(void *arg, const struct reg_binding *b);
	void *arg;
};

static bool show(void *arg, const struct record *rec)
{
	const struct listing *l = arg;
	char room[UNPACK_BYTES] __attribute__((aligned(16)));
	struct arena a = {.base = room, .size_bytes = sizeof(room)};
	const Eaves__Binding *b = reg_unpack(&a, rec->body);

	if (!b)
		return true;
	struct reg_binding out = {
		.user = rec->group,
		.contact = pb_span(b->contact),
		.params = pb_span(b->params),
		.call_id = pb_span(b->call_id),
		.path = pb_span(b->path),
		.instance = pb_span(b->instance),
		.user_agent = pb_span(b->user_agent),
		.cseq = b->cseq,
		.reg_id = b->reg_id,
		.q = b->q ? (uint16_t)(b->q - 1) : 1000,
		.received_ms = b->received_ms,
		.expires_ms = rec->expires_ms,
	};
	out.has_flow = reg_flow_get(b, &out.flow);
	return l->each(l->arg, &out);
}

void reg_each(struct reg *r, struct span user, uint64_t wall_ms,
	      bool (*each)(void *arg, const struct reg_binding *b), void *arg)
{
	struct listing l = {each, arg};
	if (user.p)
		records_each(r->records, RECORD_BINDING, user, wall_ms, show, &l, NULL);
	else
		records_scan(r->records, RECORD_BINDING, wall_ms, show, &l);
}

/* ---- removal ---- */

static bool to_drop(const struct binding *b, struct span contact)
{
	struct sip_uri u;
	if (!contact.p || span_eq(contact, pb_span(b->b->contact)))
		return true;
	return sip_uri_parse(contact, &u) == 0 && reg_uri_same(&u, b->b);
}

static int drop(struct reg *r, struct span user, struct span contact, uint64_t wall_ms,
		void (*done)(void *arg, int error), void *arg)
{
	struct bindings s;
	unsigned n = 0;
	int rc = -EAGAIN;

	for (unsigned try = 0; try < REG_TRIES && rc == -EAGAIN; try++) {
		arena_reset(sip_arena());
		rc = reg_load(r, user, wall_ms, &s);
		if (rc < 0)
			return rc;
		for (unsigned i = 0; i < s.n; i++)
			if (to_drop(&s.v[i], contact))
				s.v[i].change = REG_REMOVE;
		rc = reg_store(r, &s, wall_ms, done, arg, &n);
	}
	if (rc < 0)
		return rc;
	reg_count(&r->counters.removed, n);
	return (int)n;
}

/* Administration has a thread of its own, without an arena. */
int reg_drop(struct reg *r, struct span user, struct span contact, uint64_t wall_ms,
	     void (*done)(void *arg, int error), void *arg)
{
	struct arena own, *before = sip_arena();

	if (arena_init(&own, DROP_BYTES) < 0)
		return -ENOMEM;
	sip_values_use_arena(&own);
	int rc = drop(r, user, contact, wall_ms, done, arg);
	sip_values_use_arena(before);
	arena_done(&own);
	return rc;
}

/* ---- dead flows ---- */

static bool copy_user(void *arg, const struct record *rec)
{
	*(struct span *)arg = arena_dup(sip_arena(), rec->group);
	return false;
}

/* Does the failure of f tell anything about b as it is now?  Changes b when it does. */
static void judge(struct binding *s, const struct sip_flow *f, struct span route,
		  uint64_t wall_ms)
{
	Eaves__Binding *b = s->b;
	struct sip_flow own;

	if (b->path.len) { /* 430: the hop that had the flow says so; not of a later one */
		s->change = span_eq(pb_span(b->path), route) ? REG_REMOVE : REG_KEEP;
		return;
	}
	if (!reg_flow_get(b, &own) || !sip_transport_reliable(own.transport) || !f ||
	    own.conn == 0 || f->conn != own.conn)
		return;
	if (b->reg_id) {
		s->change = REG_REMOVE;
		return;
	}
	b->conn = b->boot = 0;
	s->change = s->expires_ms > wall_ms ? REG_PUT : REG_KEEP;
}

void reg_flow_failed(struct reg *r, uint64_t tag, const struct sip_flow *f, struct span route,
		     uint64_t wall_ms)
{
	struct span user = {NULL, 0};
	struct bindings s;
	unsigned n = 0;
	int rc = -EAGAIN;

	records_each_tag(r->records, RECORD_BINDING, tag, wall_ms, copy_user, &user);
	for (unsigned try = 0; user.p && try < REG_TRIES && rc == -EAGAIN; try++) {
		if (reg_load(r, user, wall_ms, &s) < 0)
			return;
		for (unsigned i = 0; i < s.n; i++)
			if (reg_tag(r, &s, &s.v[i]) == tag)
				judge(&s.v[i], f, route, wall_ms);
		rc = reg_store(r, &s, wall_ms, NULL, NULL, &n);
	}
	if (rc == 0 && n)
		reg_count(&r->counters.flows_failed, 1);
}
