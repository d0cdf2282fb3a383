/*
 * Used nonce counts (RFC 7616 3.4, 5.5): a window of 64 counts for each nonce that came with a
 * right response, in a table of fixed size.  Room is made by forgetting the oldest nonce of a
 * bucket, and a bucket remembers how new the newest forgotten one was: whatever is not newer
 * and not in the bucket is refused.  So pressure shortens the life of nonces but never lets a
 * replay through, and a new nonce always finds room.
 *
 * Of a pair the member that a request is repeated to has no transaction of it, and its sender
 * may have used the nonce for others meanwhile: there each of the requests that were let
 * through lately is told from a replay, not only the latest of its nonce.
 */
#include "common/auth/auth_priv.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

enum { BUCKET = 8, LOCKS = 64, WINDOW = 64, WAYS = 4, NC_ALL = UINT32_MAX };

struct window {
	uint64_t time_ms; /* 0: empty */
	uint32_t instance, serial;
	uint32_t top;  /* highest count seen; NC_ALL: the nonce is used up */
	uint64_t bits; /* bit i: top - i was seen */
	struct replay_use latest;
};

struct bucket {
	uint64_t
		floor_ms; /* all nonces up to this time that are not here have been forgotten */
	struct window w[BUCKET];
};

/* A request that was let through; it has nonce and count in it. */
struct passed {
	uint64_t digest, wall_ms; /* 0: none */
};

struct passed_set {
	struct passed v[WAYS];
};

struct replay {
	uint32_t mask, passed_mask;
	pthread_mutex_t lock[LOCKS], passed_lock[LOCKS];
	struct passed_set *passed; /* NULL: the latest of each nonce is enough */
	struct bucket bucket[];
};

struct replay *replay_new(uint32_t nonces)
{
	uint32_t buckets = 1;
	struct replay *r;

	while (buckets < (1u << 24) && buckets * BUCKET < nonces)
		buckets *= 2;
	r = calloc(1, sizeof(*r) + buckets * sizeof(r->bucket[0]));
	if (!r)
		return NULL;
	r->mask = buckets - 1;
	for (unsigned i = 0; i < LOCKS; i++) {
		pthread_mutex_init(&r->lock[i], NULL);
		pthread_mutex_init(&r->passed_lock[i], NULL);
	}
	return r;
}

int replay_share(struct replay *r)
{
	uint32_t sets = (r->mask + 1) * (BUCKET / WAYS);
	if (!r->passed && !(r->passed = calloc(sets, sizeof(*r->passed))))
		return -ENOMEM;
	r->passed_mask = sets - 1;
	return 0;
}

void replay_free(struct replay *r)
{
	if (!r)
		return;
	for (unsigned i = 0; i < LOCKS; i++) {
		pthread_mutex_destroy(&r->lock[i]);
		pthread_mutex_destroy(&r->passed_lock[i]);
	}
	free(r->passed);
	free(r);
}

/* The clocks of two members are not quite the same. */
static bool is_recent(uint64_t then_ms, uint64_t now_ms)
{
	return now_ms <= then_ms + AUTH_REPEAT_MS && then_ms <= now_ms + AUTH_REPEAT_MS;
}

/* A retransmission: nothing else than what was let through last, and not long ago. */
static bool is_repeat(const struct window *w, const struct replay_use *use)
{
	return use->nc == w->latest.nc && use->digest == w->latest.digest &&
	       is_recent(w->latest.wall_ms, use->wall_ms);
}

static enum replay_result window_mark(struct window *w, const struct replay_use *use)
{
	uint32_t back, nc = use->nc;

	if (is_repeat(w, use))
		return REPLAY_REPEAT;
	if (nc == 0 || w->top == NC_ALL) {
		w->top = NC_ALL;
		return REPLAY_FORGOTTEN;
	}
	if (nc > w->top) {
		uint32_t ahead = nc - w->top;

		w->bits = ahead < WINDOW ? w->bits << ahead | 1 : 1;
		w->top = nc;
		w->latest = *use;
		return REPLAY_NEW;
	}
	back = w->top - nc;
	if (back >= WINDOW || w->bits >> back & 1)
		return REPLAY_SEEN;
	w->bits |= (uint64_t)1 << back;
	return REPLAY_NEW;
}

static enum replay_result bucket_mark(struct bucket *b, const struct nonce *n,
				      const struct replay_use *use)
{
	struct window *oldest = &b->w[0];

	for (unsigned i = 0; i < BUCKET; i++) {
		struct window *w = &b->w[i];

		if (w->time_ms == n->time_ms && w->serial == n->serial &&
		    w->instance == n->instance)
			return window_mark(w, use);
		if (w->time_ms < oldest->time_ms)
			oldest = w;
	}
	/* Not here.  Equal times count as forgotten: strictness costs one more challenge. */
	if (n->time_ms <= b->floor_ms || n->time_ms < oldest->time_ms)
		return REPLAY_FORGOTTEN;
	if (oldest->time_ms > b->floor_ms)
		b->floor_ms = oldest->time_ms;
	*oldest = (struct window){
		.time_ms = n->time_ms,
		.instance = n->instance,
		.serial = n->serial,
		.top = use->nc ? use->nc : NC_ALL,
		.bits = 1,
		.latest = *use,
	};
	return REPLAY_NEW;
}

/* fresh: it is let through now, and remembered in the place of the oldest; else was it? */
static bool passed_before(struct replay *r, const struct replay_use *use, bool fresh)
{
	uint32_t i = (uint32_t)use->digest & r->passed_mask;
	struct passed *v = r->passed[i].v, *oldest = v;
	bool found = false;

	pthread_mutex_lock(&r->passed_lock[i % LOCKS]);
	for (unsigned k = 0; k < WAYS; k++) {
		found |= v[k].wall_ms && v[k].digest == use->digest &&
			 is_recent(v[k].wall_ms, use->wall_ms);
		if (v[k].wall_ms < oldest->wall_ms)
			oldest = &v[k];
	}
	if (fresh)
		*oldest = (struct passed){use->digest, use->wall_ms};
	pthread_mutex_unlock(&r->passed_lock[i % LOCKS]);
	return found;
}

enum replay_result replay_mark(struct replay *r, const struct nonce *n,
			       const struct replay_use *use)
{
	/* Serial numbers follow each other, so they fill the buckets evenly, and nobody else
	 * can choose them. */
	uint32_t i = n->serial & r->mask;
	pthread_mutex_t *lock = &r->lock[i % LOCKS];
	enum replay_result res;

	if (n->time_ms == 0)
		return REPLAY_FORGOTTEN;
	pthread_mutex_lock(lock);
	res = bucket_mark(&r->bucket[i], n, use);
	pthread_mutex_unlock(lock);
	if (!r->passed || res == REPLAY_REPEAT)
		return res;
	return passed_before(r, use, res == REPLAY_NEW) && res == REPLAY_SEEN ? REPLAY_REPEAT
									      : res;
}

static void window_each(const struct window *w, replay_each_use each, void *arg)
{
	const struct nonce n = {
		.time_ms = w->time_ms, .instance = w->instance, .serial = w->serial};
	struct replay_use use = {.wall_ms = w->latest.wall_ms};

	each(arg, &n, &w->latest);
	if (w->top == NC_ALL) {
		if (w->latest.nc)
			each(arg, &n, &use); /* and the rest of it is used up */
		return;
	}
	for (uint32_t back = 0; back < WINDOW && back < w->top; back++) {
		use.nc = w->top - back;
		if ((w->bits >> back & 1) && use.nc != w->latest.nc)
			each(arg, &n, &use);
	}
}

bool replay_passed(struct replay *r, const struct replay_use *use)
{
	return r->passed && passed_before(r, use, false);
}

uint64_t replay_each(struct replay *r, uint64_t since_ms, replay_each_use each, void *arg)
{
	uint64_t floor_ms = 0;

	for (uint32_t i = 0; i <= r->mask; i++) {
		struct bucket b;

		pthread_mutex_lock(&r->lock[i % LOCKS]);
		b = r->bucket[i];
		pthread_mutex_unlock(&r->lock[i % LOCKS]);
		if (b.floor_ms > floor_ms)
			floor_ms = b.floor_ms;
		for (unsigned k = 0; k < BUCKET; k++)
			if (b.w[k].time_ms && b.w[k].time_ms >= since_ms)
				window_each(&b.w[k], each, arg);
	}
	return floor_ms;
}
