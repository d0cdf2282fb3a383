/*
 * The bindings of a user who was deleted.  Both members of a pair hear of it, and either may
 * be alone: both take the bindings away, by the same records.  A deletion's version is made of
 * what both have, that of the user's deletion and of the binding, and not of a clock.
 */
#include "home/registrar/reg_priv.h"

#include <errno.h>

enum { FORGET_BYTES = 128 * 1024 };

struct graves {
	struct record_version gone;
	unsigned n;
	bool more;
	struct record v[2 * REG_CONTACTS_MAX];
};

/* Of the version that the writer of the binding might have given: who may hold the one holds
 * the other. */
static struct record_version version_of_grave(struct record_version gone,
					      struct record_version binding)
{
	uint64_t hlc = gone.hlc > binding.hlc ? gone.hlc : binding.hlc + 1;

	return (struct record_version){hlc, binding.node};
}

static uint64_t remembered_until(const struct record *b, uint64_t hlc)
{
	uint64_t end = b->expires_ms > hlc >> 16 ? b->expires_ms : hlc >> 16;

	return end + RECORDS_TOMBSTONE_MS;
}

/* Under the stripe's lock. */
static bool bury(void *arg, const struct record *b)
{
	struct graves *g = arg;

	g->more = g->n == 2 * REG_CONTACTS_MAX;
	if (g->more)
		return false;
	struct record *v = &g->v[g->n++];
	*v = *b;
	v->deleted = true;
	v->name = arena_dup(sip_arena(), b->name);
	v->version = version_of_grave(g->gone, b->version);
	v->expires_ms = remembered_until(b, v->version.hlc);
	v->body = span_of(NULL, 0);
	return true;
}

static int forget(struct reg *r, struct span user, struct record_version gone, bool tell,
		  uint64_t wall_ms)
{
	struct graves g = {.gone = gone, .more = true};
	int rc = 0, n = 0;

	while (rc >= 0 && g.more) {
		arena_reset(sip_arena());
		g.n = 0;
		g.more = false;
		records_each(r->records, RECORD_BINDING, user, wall_ms, bury, &g, NULL);
		for (unsigned i = 0; i < g.n; i++)
			g.v[i].group = user;
		if (g.n == 0)
			break;
		if (sip_arena()->overflow)
			return -ENOMEM;
		rc = tell ? records_put(r->records, g.v, g.n, NULL, wall_ms, NULL, NULL)
			  : records_merge(r->records, g.v, g.n, wall_ms, NULL, NULL);
		n += (int)g.n;
	}
	return rc < 0 ? rc : n;
}

int reg_forget(struct reg *r, struct span user, struct record_version gone, bool tell,
	       uint64_t wall_ms)
{
	struct arena own, *before = sip_arena();

	if (arena_init(&own, FORGET_BYTES) < 0)
		return -ENOMEM;
	sip_values_use_arena(&own);
	int n = forget(r, user, gone, tell, wall_ms);
	sip_values_use_arena(before);
	arena_done(&own);
	if (n > 0 && tell)
		reg_count(&r->counters.removed, (unsigned)n);
	return n;
}
