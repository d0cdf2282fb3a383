/*
 * The Redis store's life and what other threads call: put copies rows into the bounded queue
 * and wakes the loop, in whose thread all else is done (redis_queue.c).
 */
#include "common/store/redis_parts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { ERROR_BYTES = 256, LOOK_MS = 20 };

/* ---- put, from any thread ---- */

static bool sound(const struct store_row *rows, unsigned n)
{
	if (n > REDIS_UNIT_MAX)
		return false;
	for (unsigned i = 0; i < n; i++)
		if (rows[i].kind == 0 || rows[i].kind >= REDIS_KINDS_MAX ||
		    rows[i].group.n == 0 || rows[i].group.n > REDIS_GROUP_MAX ||
		    rows[i].name.n > REDIS_NAME_MAX || rows[i].body.n > REDIS_BODY_MAX)
			return false;
	return true;
}

/* Under the lock.  Is there room, or may it fail in a moment?  0 or -ENOSPC. */
static int admit(struct store_redis *s, struct store_unit *u, unsigned n)
{
	const struct redis_conf *c = &s->setup.c;
	bool fits = s->rows + store_unit_weight(n) <= c->queue_rows &&
		    s->bytes + u->bytes <= c->queue_bytes;

	if (u->due && !s->overflown && fits)
		return 0;
	if (store_unit_weight(n) > c->queue_rows || u->bytes > c->queue_bytes ||
	    s->shells == c->queue_rows)
		return -ENOSPC;
	if (u->due)
		s->overflown = true;
	s->shells++;
	s->missed += n;
	u->due = 0;
	u->n = 0;
	return 0;
}

static int put(struct store *st, const struct store_row *rows, unsigned n,
	       void (*done)(void *arg, int error), void *arg)
{
	struct store_redis *s = (struct store_redis *)st;
	bool gone = atomic_load_explicit(&s->gone, memory_order_relaxed);

	if (!sound(rows, n))
		return -EINVAL;
	if (redis_is_shown(s, rows, n)) {
		if (done)
			done(arg, 0);
		return 0;
	}
	struct store_unit *u = store_unit_new(rows, gone ? 0 : n);
	if (!u)
		return -ENOMEM;
	u->done = done;
	u->arg = arg;
	u->due = !gone;
	u->next = NULL;
	pthread_mutex_lock(&s->lock);
	int rc = admit(s, u, n);
	bool post = rc == 0 && !s->posted;
	if (rc == 0) {
		s->rows += store_unit_weight(u->n);
		s->bytes += u->bytes;
		*s->incoming.tail = u;
		s->incoming.tail = &u->next;
		s->posted = true;
		__atomic_store_n(&st->counters.queued, s->rows, __ATOMIC_RELAXED);
	}
	pthread_mutex_unlock(&s->lock);
	if (rc < 0)
		free(u);
	else if (post)
		loop_post(s->loop, &s->work);
	return rc;
}

/* ---- the other operations ---- */

static int load(struct store *st, uint64_t wall_ms,
		int (*each)(void *arg, const struct store_row *row), void *arg)
{
	struct store_redis *s = (struct store_redis *)st;
	int rc = redis_load_now(s, wall_ms, each, arg);

	if (s->load.complete)
		s->dirty = false;
	redis_queue_show(s);
	return rc;
}

/* Redis forgets by itself (PEXPIREAT). */
static void expire(struct store *st, uint64_t wall_ms)
{
	(void)st;
	(void)wall_ms;
}

static bool empty(struct store_redis *s)
{
	pthread_mutex_lock(&s->lock);
	bool is = s->rows == 0;
	pthread_mutex_unlock(&s->lock);
	return is;
}

/* The loop's thread, or one before it: serves the loop itself. */
static void flush_here(struct store_redis *s, msec end)
{
	while (!empty(s) && time_now() < end)
		loop_round(s->loop, LOOK_MS);
}

static void flush_there(struct store_redis *s, msec ms)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += (time_t)(ms / 1000);
	until.tv_nsec += (long)(ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&s->lock);
	while (s->rows > 0 && pthread_cond_timedwait(&s->idle, &s->lock, &until) == 0)
		;
	pthread_mutex_unlock(&s->lock);
}

static void flush(struct store *st)
{
	struct store_redis *s = (struct store_redis *)st;
	msec ms = 2 * (msec)s->setup.c.timeout_ms;

	pthread_mutex_lock(&s->lock);
	bool here = !s->has_thread || pthread_equal(s->thread, pthread_self());
	pthread_mutex_unlock(&s->lock);
	if (here)
		flush_here(s, time_now() + ms);
	else
		flush_there(s, ms);
}

static void destroy(struct store_redis *s)
{
	pthread_cond_destroy(&s->idle);
	pthread_mutex_destroy(&s->lock);
	redis_setup_done(&s->setup);
	free(s);
}

/* The work may still lie in the loop, for this thread or for one that has ended: it is run. */
static void free_store(struct store *st)
{
	struct store_redis *s = (struct store_redis *)st;

	pthread_mutex_lock(&s->lock);
	bool posted = s->posted;
	pthread_mutex_unlock(&s->lock);
	if (posted)
		loop_finish(s->loop);
	redis_queue_end(s);
	destroy(s);
}

static const struct store_ops ops = {
	.load = load,
	.put = put,
	.expire = expire,
	.flush = flush,
	.free = free_store,
};

/* ---- life ---- */

static int init_idle(struct store_redis *s)
{
	pthread_condattr_t monotonic;

	pthread_mutex_init(&s->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	int rc = pthread_cond_init(&s->idle, &monotonic);
	pthread_condattr_destroy(&monotonic);
	return -rc;
}

struct store *store_redis_new(struct loop *l, const struct redis_conf *c, char *ret_error)
{
	struct store_redis *s = calloc(1, sizeof(*s));

	if (!s) {
		snprintf(ret_error, ERROR_BYTES, "out of memory");
		return NULL;
	}
	if (redis_setup_init(&s->setup, c, ret_error) < 0) {
		free(s);
		return NULL;
	}
	s->store.ops = &ops;
	s->loop = l;
	s->dirty = true;
	if (init_idle(s) < 0 || redis_queue_init(s) < 0) {
		snprintf(ret_error, ERROR_BYTES, "out of memory");
		destroy(s);
		return NULL;
	}
	/* Begins in the loop's thread. */
	s->posted = true;
	loop_post(l, &s->work);
	return &s->store;
}

void store_redis_read(struct store *st)
{
	redis_queue_read((struct store_redis *)st);
}

void store_redis_state(struct store *st, struct redis_state *ret)
{
	struct store_redis *s = (struct store_redis *)st;
	const uint64_t *from = (const uint64_t *)&s->counters;

	pthread_mutex_lock(&s->lock);
	*ret = s->shown;
	ret->rows_waiting = s->rows;
	ret->bytes_waiting = s->bytes;
	pthread_mutex_unlock(&s->lock);
	uint64_t *to = (uint64_t *)&ret->counters;
	for (size_t i = 0; i < sizeof(s->counters) / sizeof(*from); i++)
		to[i] = counter_get(&from[i]);
}
