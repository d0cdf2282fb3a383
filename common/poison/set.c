/*
 * The set of what is refused: a table of small buckets.  Whoever asks takes no lock: a slot is
 * one word.  Whoever changes it does, and keeps the times.
 */
#include "common/poison/poison_priv.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { WAYS = 8, BUCKETS = POISON_MAX / WAYS, AHEAD_MS = 300 * 1000 };

struct poison {
	struct mac_key key;
	atomic_uint n;
	_Atomic uint64_t slot[BUCKETS][WAYS]; /* fingerprints; 0: free */
	pthread_mutex_t lock;
	uint64_t at_ms[BUCKETS][WAYS];
};

struct poison *poison_new(const struct mac_key *fingerprint_key)
{
	struct poison *p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	p->key = *fingerprint_key;
	pthread_mutex_init(&p->lock, NULL);
	return p;
}

struct poison *poison_free(struct poison *p)
{
	if (!p)
		return NULL;
	pthread_mutex_destroy(&p->lock);
	free(p);
	return NULL;
}

static bool knows(const struct poison *p, uint64_t fingerprint)
{
	const _Atomic uint64_t *b = p->slot[fingerprint % BUCKETS];
	for (unsigned i = 0; fingerprint && i < WAYS; i++)
		if (atomic_load_explicit(&b[i], memory_order_relaxed) == fingerprint)
			return true;
	return false;
}

static void put(struct poison *p, const struct poison_item *v)
{
	unsigned b = v->fingerprint % BUCKETS, to = 0;
	for (unsigned i = 0; i < WAYS; i++)
		if (p->at_ms[b][i] < p->at_ms[b][to])
			to = i; /* a free one has no time */
	if (!p->slot[b][to])
		atomic_fetch_add_explicit(&p->n, 1, memory_order_relaxed);
	p->at_ms[b][to] = v->at_ms;
	atomic_store_explicit(&p->slot[b][to], v->fingerprint, memory_order_relaxed);
}

static bool is_over(uint64_t at_ms, uint64_t now_ms)
{
	return at_ms + POISON_LIFE_MS <= now_ms;
}

int poison_add(struct poison *p, const struct poison_item *v, uint64_t now_ms)
{
	struct poison_item own = *v;
	if (!own.fingerprint || !own.at_ms || own.at_ms > now_ms + AHEAD_MS ||
	    is_over(own.at_ms, now_ms))
		return -ERANGE;
	if (own.at_ms > now_ms)
		own.at_ms = now_ms;
	pthread_mutex_lock(&p->lock);
	bool known = knows(p, own.fingerprint);
	if (!known)
		put(p, &own);
	pthread_mutex_unlock(&p->lock);
	return !known;
}

void poison_sweep(struct poison *p, uint64_t now_ms)
{
	if (!atomic_load_explicit(&p->n, memory_order_relaxed))
		return;
	pthread_mutex_lock(&p->lock);
	for (unsigned b = 0; b < BUCKETS; b++) {
		for (unsigned i = 0; i < WAYS; i++) {
			if (!p->slot[b][i] || !is_over(p->at_ms[b][i], now_ms))
				continue;
			p->at_ms[b][i] = 0;
			atomic_store_explicit(&p->slot[b][i], 0, memory_order_relaxed);
			atomic_fetch_sub_explicit(&p->n, 1, memory_order_relaxed);
		}
	}
	pthread_mutex_unlock(&p->lock);
}

unsigned poison_count(const struct poison *p)
{
	return p ? atomic_load_explicit(&p->n, memory_order_relaxed) : 0;
}

unsigned poison_list(struct poison *p, struct poison_item *v, unsigned max)
{
	unsigned n = 0;
	pthread_mutex_lock(&p->lock);
	for (unsigned b = 0; b < BUCKETS; b++)
		for (unsigned i = 0; i < WAYS && n < max; i++)
			if (p->slot[b][i])
				v[n++] = (struct poison_item){p->slot[b][i], p->at_ms[b][i]};
	pthread_mutex_unlock(&p->lock);
	return n;
}

enum poison_verdict poison_judge(const struct poison *p, struct span message,
				 uint64_t *ret_fingerprint)
{
	if (!poison_count(p))
		return POISON_NONE;
	*ret_fingerprint = poison_fingerprint(&p->key, message);
	if (knows(p, *ret_fingerprint))
		return POISON_REFUSED;
	return knows(p, poison_acked(message)) ? POISON_ACK : POISON_NONE;
}
