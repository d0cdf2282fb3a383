/*
 * What Redis has and the owner may not: what stands against a guarded unit, shown to him before
 * he is told that it was refused, and what of that he would write back.
 */
#include "common/store/redis_parts.h"

/* The row that stands there instead of `ours`.  Spans lie in key and in the answer. */
static bool read_rival(const struct redis_setup *s, const struct store_row *ours,
		       const redisReply *r, char *key, struct store_row *ret)
{
	struct span kind = s->kind_key[ours->kind], group = ours->group;

	memcpy(key, kind.p, kind.n);
	memcpy(key + kind.n, group.p, group.n);
	return redis_row_read(s, span_of(key, kind.n + group.n), ours->name,
			      span_of(r->str, r->len), time_wall_ms(), ret) == 0;
}

static void show(struct store_redis *s, const struct store_row *ours,
		 const struct store_row *there)
{
	s->showing = there;
	s->setup.c.ops.refused(s->setup.c.ops.arg, ours, there);
	s->showing = NULL;
}

void redis_conflict_show(struct store_redis *s, const struct store_unit *u, const redisReply *r)
{
	char key[REDIS_GROUP_MAX + 512];
	struct store_row there;

	for (unsigned i = 0; s->setup.c.ops.refused && i < u->n && i < r->elements; i++) {
		const redisReply *v = r->element[i];
		const struct store_row *ours = &u->row[i];
		if (v->type != REDIS_REPLY_STRING)
			continue;
		if (v->len == 0)
			show(s, ours, NULL);
		else if (read_rival(&s->setup, ours, v, key, &there))
			show(s, ours, &there);
	}
}

bool redis_is_shown(struct store_redis *s, const struct store_row *rows, unsigned n)
{
	const struct store_row *v = rows, *w = s->showing;

	if (!w || n != 1)
		return false;
	pthread_mutex_lock(&s->lock);
	bool here = s->has_thread && pthread_equal(s->thread, pthread_self());
	pthread_mutex_unlock(&s->lock);
	return here && w->hlc == v->hlc && w->node == v->node && w->kind == v->kind &&
	       span_eq(w->group, v->group) && span_eq(w->name, v->name);
}
