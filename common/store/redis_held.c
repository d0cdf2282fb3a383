/*
 * Guarded units while Redis lacks something of ours: their guards would fail for nothing, so
 * they are held until all is loaded and written anew.  That may take longer than anybody waits:
 * then the unit fails for who put it, and its rows are written all the same, without the guard,
 * as the rows of a rewrite are.  So one that comes while everything is written anew is no
 * reason to begin once more.
 */
#include "common/store/redis_parts.h"

#include <errno.h>

bool redis_unit_guarded(const struct store_unit *u)
{
	for (unsigned i = 0; i < u->n; i++)
		if (u->row[i].guarded)
			return true;
	return false;
}

bool redis_settled(const struct store_redis *s)
{
	return s->load.complete && !s->dirty;
}

static void let_go(struct store_redis *s, struct store_unit *u, msec now)
{
	void (*done)(void *arg, int error) = u->done;

	u->done = NULL;
	u->due = now + s->setup.c.timeout_ms;
	for (unsigned i = 0; i < u->n; i++)
		u->row[i].guarded = false;
	redis_list_append(&s->late, u);
	counter_inc(&s->store.counters.failed);
	if (done)
		done(u->arg, -EIO);
}

void redis_held_due(struct store_redis *s, msec now)
{
	while (s->held.head && s->held.head->due <= now)
		let_go(s, redis_list_take(&s->held), now);
}
