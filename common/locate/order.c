/*
 * The order of targets: RFC 2782's choice by weight, and the memory of those that failed.
 */
#include "common/locate/locate_priv.h"

#include <stdlib.h>

/* splitmix64: seeded, so that a test and a simulation repeat themselves. */
static uint64_t next_random(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

/* By priority; of one priority weight 0 first, as RFC 2782 wants it before its draw. */
static int compare(const void *a, const void *b)
{
	const struct dns_record *x = a, *y = b;

	if (x->priority != y->priority)
		return x->priority < y->priority ? -1 : 1;
	return (x->weight != 0) - (y->weight != 0);
}

static void swap_to_front(struct dns_record *v, unsigned from)
{
	struct dns_record chosen = v[from];

	memmove(v + 1, v, from * sizeof(*v));
	v[0] = chosen;
}

/* RFC 2782 page 4: draw from the running sums until none is left. */
static void draw(struct dns_record *v, unsigned n, uint64_t *random)
{
	for (; n > 1; v++, n--) {
		uint32_t sum = 0, at = 0;
		unsigned i = 0;

		for (unsigned k = 0; k < n; k++)
			sum += v[k].weight;
		uint32_t ticket = (uint32_t)(next_random(random) % ((uint64_t)sum + 1));
		for (i = 0; i + 1 < n; i++) {
			at += v[i].weight;
			if (at >= ticket)
				break;
		}
		swap_to_front(v, i);
	}
}

void locate_srv_order(struct dns_record *v, unsigned n, uint64_t *random)
{
	qsort(v, n, sizeof(*v), compare);
	for (unsigned from = 0; from < n;) {
		unsigned to = from;

		while (to < n && v[to].priority == v[from].priority)
			to++;
		draw(v + from, to - from, random);
		from = to;
	}
}

static bool target_equal(const struct locate_target *a, const struct locate_target *b)
{
	return a->transport == b->transport && addr_equal(&a->addr, &b->addr);
}

static struct locate_failed *failed_set(struct locate *l, const struct locate_target *t)
{
	uint64_t h = addr_hash(&t->addr) * 0x9e3779b97f4a7c15u + (uint64_t)t->transport;

	return l->failed[(h >> 32) % FAILED_SETS];
}

static bool has_failed(struct locate *l, const struct locate_target *t, msec now)
{
	const struct locate_failed *set = failed_set(l, t);

	for (unsigned i = 0; i < FAILED_WAYS; i++)
		if (set[i].until > now && target_equal(&set[i].target, t))
			return true;
	return false;
}

void locate_mark_failed(struct locate *l, const struct locate_target *t, msec now)
{
	struct locate_failed *set = failed_set(l, t), *oldest = set;

	for (unsigned i = 0; i < FAILED_WAYS; i++) {
		if (set[i].until && target_equal(&set[i].target, t)) {
			oldest = &set[i];
			break;
		}
		if (set[i].until < oldest->until)
			oldest = &set[i];
	}
	oldest->target = *t;
	oldest->until = now + FAILED_MS;
}

void locate_failed_last(struct locate *l, struct locate_result *r, msec now)
{
	struct locate_target bad[LOCATE_MAX];
	unsigned nbad = 0, n = 0;

	if (r->n < 2)
		return;
	for (unsigned i = 0; i < r->n; i++) {
		if (has_failed(l, &r->v[i], now))
			bad[nbad++] = r->v[i];
		else
			r->v[n++] = r->v[i];
	}
	memcpy(r->v + n, bad, nbad * sizeof(bad[0]));
}
