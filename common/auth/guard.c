/*
 * Failures by source, or source and user, in buckets of eight (a table that cannot grow): a
 * full bucket forgets the source that has the least against it.  IPv6 sources are counted by
 * /64, since a host has one of these at least.  Whose an entry is it knows by a hash; of those
 * that are locked it is beside the table too.
 */
#include "common/auth/guard.h"

#include "common/base/mac.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
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

/* Of an entry that is locked. */
struct who {
	struct addr source;
	bool of_user;
	uint8_t n; /* of the name */
	char name[GUARD_NAME_MAX_BYTES];
};

struct guard {
	struct guard_conf conf;
	struct mac_key key;
	atomic_uint
		used; /* entries in use: most of the time none, and then nothing is locked */
	atomic_uint_fast64_t locks;
	uint32_t mask;
	pthread_mutex_t lock[LOCKS];
	struct who *who; /* by entry, under its lock; memory is taken as it is written */
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
	g->who = calloc((size_t)buckets * BUCKET, sizeof(*g->who));
	if (!g->who) {
		free(g);
		return NULL;
	}
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
	free(g->who);
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

static void note_who(struct guard *g, const struct entry *e, const struct addr *src,
		     struct span user)
{
	struct who *w = &g->who[e - g->entry];

	w->source = *src;
	w->of_user = user.p != NULL;
	w->n = (uint8_t)(user.n < sizeof(w->name) ? user.n : sizeof(w->name));
	if (w->n)
		memcpy(w->name, user.p, w->n);
}

/* The entry, when this failure locks it. */
static struct entry *count_failure(struct guard *g, struct entry *b, uint64_t source, msec now)
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
		return NULL;
	e->locked_until = now + (msec)g->conf.lock_s * 1000;
	return e;
}

bool guard_failed(struct guard *g, const struct addr *src, struct span user, msec now)
{
	pthread_mutex_t *lock;
	struct entry *b, *locked;
	uint64_t source;

	if (g->conf.failures == 0)
		return false;
	source = source_of(g, src, user);
	b = bucket_of(g, source, &lock);
	pthread_mutex_lock(lock);
	locked = count_failure(g, b, source, now);
	if (locked)
		note_who(g, locked, src, user);
	pthread_mutex_unlock(lock);
	if (locked)
		atomic_fetch_add_explicit(&g->locks, 1, memory_order_relaxed);
	return locked != NULL;
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

/* ---- for an operator ---- */

static bool is_of(const struct who *w, const struct guard_whose *whose)
{
	struct addr_net net;

	if (!whose->user.p && !whose->net)
		return true;
	if (w->of_user && whose->user.p && span_eq(whose->user, span_of(w->name, w->n)))
		return true;
	if (!whose->net)
		return false;
	net = *whose->net;
	if (net.net.sa.sa_family == AF_INET6 && net.prefix_bits > 64)
		net.prefix_bits = 64;
	return addr_net_match(&net, &w->source);
}

/* Of entry i, when it is locked and one of those; lift: it is no more. */
static bool take(struct guard *g, size_t i, const struct guard_whose *whose, msec now,
		 bool lift, struct who *ret_who, struct entry *ret)
{
	pthread_mutex_t *lock = &g->lock[i / BUCKET % LOCKS];
	struct entry *e = &g->entry[i];
	bool found;

	pthread_mutex_lock(lock);
	found = e->locked_until && !expired(g, e, now) && is_of(&g->who[i], whose);
	if (found) {
		*ret_who = g->who[i];
		*ret = *e;
	}
	if (found && lift)
		clear(g, e);
	pthread_mutex_unlock(lock);
	return found;
}

void guard_each(struct guard *g, struct guard_whose whose, msec now,
		void (*each)(void *arg, const struct guard_lock *l), void *arg)
{
	struct entry e;
	struct who w;

	for (size_t i = 0; i < ((size_t)g->mask + 1) * BUCKET; i++) {
		if (!take(g, i, &whose, now, false, &w, &e))
			continue;
		const struct guard_lock l = {
			.source = w.source,
			.user = span_of(w.of_user ? w.name : NULL, w.n),
			.failures = e.failures,
			.left_ms = e.locked_until - now,
		};
		each(arg, &l);
	}
}

/* The lock of a source as a whole. */
static bool lift_source(struct guard *g, const struct addr *src, msec now)
{
	const struct span nobody = {NULL, 0};
	uint64_t source = source_of(g, src, nobody);
	pthread_mutex_t *lock;
	struct entry *b = bucket_of(g, source, &lock), *e;
	bool lifted;

	pthread_mutex_lock(lock);
	e = find(b, source);
	lifted = e && e->locked_until && !expired(g, e, now);
	if (lifted)
		clear(g, e);
	pthread_mutex_unlock(lock);
	return lifted;
}

unsigned guard_lift(struct guard *g, struct guard_whose whose, msec now)
{
	unsigned n = 0;
	struct entry e;
	struct who w;

	for (size_t i = 0; i < ((size_t)g->mask + 1) * BUCKET; i++) {
		if (!take(g, i, &whose, now, true, &w, &e))
			continue;
		n++;
		if (w.of_user && lift_source(g, &w.source, now))
			n++;
	}
	return n;
}

size_t guard_source_text(const struct addr *source, char out[ADDR_TEXT_MAX])
{
	char host[ADDR_TEXT_MAX];
	struct addr a = *source;

	if (a.sa.sa_family != AF_INET6)
		return addr_host_text(&a, out);
	if (IN6_IS_ADDR_V4MAPPED(&a.in6.sin6_addr)) {
		a.in4 = (struct sockaddr_in){.sin_family = AF_INET};
		memcpy(&a.in4.sin_addr, (const char *)&source->in6.sin6_addr + 12, 4);
		return addr_host_text(&a, out);
	}
	a = (struct addr){.in6 = {.sin6_family = AF_INET6}};
	memcpy(&a.in6.sin6_addr, &source->in6.sin6_addr, 8);
	size_t n = addr_host_text(&a, host); /* in brackets */
	return (size_t)snprintf(out, ADDR_TEXT_MAX, "%.*s/64", (int)n - 2, host + 1);
}
