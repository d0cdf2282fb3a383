/*
 * Failures by source, or source and user, in buckets of eight (a table that cannot grow): a
 * full bucket forgets the source that has the least against it.  IPv6 sources are counted by
 * /64, since a host has one of these at least.
 */
#include "common/auth/guard.h"

#include "common/base/mac.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { BUCKET = 8, LOCKS = 64 };

const struct guard_conf guard_conf_default = {
	.failures = 20,
	.window_s = 60,
	.lock_s = 300,
	.entries = 65536,
};

struct entry {
	uint64_t source;   /* 0: empty */
	msec since;	   /* of the first failure of this window */
	msec locked_until; /* 0: not locked */
	uint32_t failures;
};

struct guard {
	struct guard_conf conf;
	struct mac_key key;
	atomic_uint
		used; /* entries in use: most of the time none, and then nothing is locked */
	atomic_uint_fast64_t locks;
	uint32_t mask;
	pthread_mutex_t lock[LOCKS];
	struct entry entry[];
};

struct guard *guard_new(const struct guard_conf *c)
{
	uint32_t buckets = 1;
	struct guard *g;

	while (buckets < (1u << 24) && buckets * BUCKET < c->entries)
		buckets *= 2;
	g = calloc(1, sizeof(*g) + (size_t)buckets * BUCKET * sizeof(g->entry[0]));
	if (!g)
		return NULL;
	g->conf = *c;
	g->mask = buckets - 1;
	mac_random(&g->key, sizeof(g->key));
	for (unsigned i = 0; i < LOCKS; i++)
		pthread_mutex_init(&g->lock[i], NULL);
	return g;
}

void guard_free(struct guard *g)
{
	if (!g)
		return;
	for (unsigned i = 0; i < LOCKS; i++)
		pthread_mutex_destroy(&g->lock[i]);
	free(g);
}

/* A keyed hash of what is counted; never 0.  A mapped IPv4 address is that IPv4 address. */
static uint64_t source_of(const struct guard *g, const struct addr *a, struct span user)
{
	struct mac m;
	struct span s;
	uint64_t v;

	if (a->sa.sa_family != AF_INET6)
		s = span_of((const char *)&a->in4.sin_addr, 4);
	else if (IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr))
		s = span_of((const char *)&a->in6.sin6_addr + 12, 4);
	else
		s = span_of((const char *)&a->in6.sin6_addr, 8);
	mac_init(&m, &g->key);
	mac_add(&m, s);
	if (user.p)
		mac_add(&m, user);
	v = mac_final(&m);
	return v ? v : 1;
}

static struct entry *bucket_of(struct guard *g, uint64_t source, pthread_mutex_t **ret_lock)
{
	uint32_t i = (uint32_t)source & g->mask;

	*ret_lock = &g->lock[i % LOCKS];
	return &g->entry[(size_t)i * BUCKET];
}

static struct entry *find(struct entry *b, uint64_t source)
{
	for (unsigned i = 0; i < BUCKET; i++)
		if (b[i].source == source)
			return &b[i];
	return NULL;
}

static void clear(struct guard *g, struct entry *e)
{
	*e = (struct entry){0};
	atomic_fetch_sub_explicit(&g->used, 1, memory_order_relaxed);
}

static bool expired(const struct guard *g, const struct entry *e, msec now)
{
	if (e->locked_until)
		return e->locked_until <= now;
	return e->since + (msec)g->conf.window_s * 1000 <= now;
}

/* Whom to forget first: nobody, then the unlocked, then whose lock ends first. */
static uint64_t weight(const struct guard *g, const struct entry *e, msec now)
{
	if (!e->source || expired(g, e, now))
		return 0;
	if (!e->locked_until)
		return 1 + e->failures;
	return ((uint64_t)1 << 33) + e->locked_until;
}

static struct entry *make_room(struct guard *g, struct entry *b, msec now)
{
	struct entry *least = &b[0];

	for (unsigned i = 1; i < BUCKET; i++)
		if (weight(g, &b[i], now) < weight(g, least, now))
			least = &b[i];
	if (least->source)
		clear(g, least);
	return least;
}

bool guard_locked(struct guard *g, const struct addr *src, struct span user, msec now)
{
	pthread_mutex_t *lock;
	struct entry *b, *e;
	uint64_t source;
	bool locked;

	if (atomic_load_explicit(&g->used, memory_order_relaxed) == 0)
		return false;
	source = source_of(g, src, user);
	b = bucket_of(g, source, &lock);
	pthread_mutex_lock(lock);
	e = find(b, source);
	if (e && expired(g, e, now)) {
		clear(g, e);
		e = NULL;
	}
	locked = e && e->locked_until;
	pthread_mutex_unlock(lock);
	return locked;
}

/* True when this failure locks the source. */
static bool count_failure(struct guard *g, struct entry *b, uint64_t source, msec now)
{
	struct entry *e = find(b, source);

	if (e && expired(g, e, now)) {
		clear(g, e);
		e = NULL;
	}
	if (!e) {
		e = make_room(g, b, now);
		*e = (struct entry){.source = source, .since = now};
		atomic_fetch_add_explicit(&g->used, 1, memory_order_relaxed);
	}
	if (e->locked_until || ++e->failures < g->conf.failures)
		return false;
	e->locked_until = now + (msec)g->conf.lock_s * 1000;
	return true;
}

bool guard_failed(struct guard *g, const struct addr *src, struct span user, msec now)
{
	pthread_mutex_t *lock;
	struct entry *b;
	uint64_t source;
	bool locked;

	if (g->conf.failures == 0)
		return false;
	source = source_of(g, src, user);
	b = bucket_of(g, source, &lock);
	pthread_mutex_lock(lock);
	locked = count_failure(g, b, source, now);
	pthread_mutex_unlock(lock);
	if (locked)
		atomic_fetch_add_explicit(&g->locks, 1, memory_order_relaxed);
	return locked;
}

void guard_passed(struct guard *g, const struct addr *src, struct span user, msec now)
{
	pthread_mutex_t *lock;
	struct entry *b, *e;
	uint64_t source;

	if (atomic_load_explicit(&g->used, memory_order_relaxed) == 0)
		return;
	source = source_of(g, src, user);
	b = bucket_of(g, source, &lock);
	pthread_mutex_lock(lock);
	e = find(b, source);
	if (e && (!e->locked_until || expired(g, e, now)))
		clear(g, e);
	pthread_mutex_unlock(lock);
}

uint64_t guard_locks(const struct guard *g)
{
	return atomic_load_explicit(&g->locks, memory_order_relaxed);
}
