/*
 * Branches that have been answered: a ring in the order of time, and a hash over its places.
 * Both double when they are full, up to the limit; from there on the oldest goes.
 *
 * Not here: what becomes of who has not been answered (trying.c).
 */
#include "common/stack/answered.h"

#include <stdlib.h>
#include <string.h>

enum {
	ROOM_FIRST = 256,
	ROOM_MAX = 1 << 30,
	STEP_BITS = 6, /* the times are in steps of 64 ms: 32 bits last for years */
};

struct stack_answer {
	uint64_t key;
	uint32_t at;
	uint32_t next; /* in the bucket, older; as there: 0 is none */
};

static uint32_t step_of(msec t)
{
	return (uint32_t)(t >> STEP_BITS);
}

void stack_answered_init(struct stack_answered *a, size_t max, msec life_ms)
{
	*a = (struct stack_answered){.max = max < ROOM_MAX ? (uint32_t)max : ROOM_MAX,
				     .life = step_of(life_ms + (1 << STEP_BITS) - 1)};
}

void stack_answered_done(struct stack_answered *a)
{
	free(a->v);
	*a = (struct stack_answered){0};
}

static uint32_t *bucket_of(const struct stack_answered *a, uint64_t key)
{
	return &a->bucket[key & (a->room - 1)];
}

/* There is room. */
static void append(struct stack_answered *a, uint64_t key, uint32_t at)
{
	uint32_t *b = bucket_of(a, key);
	uint32_t place = (a->first + a->n++) & (a->room - 1);
	a->v[place] = (struct stack_answer){key, at, *b};
	*b = place + 1;
}

static void forget_oldest(struct stack_answered *a)
{
	uint32_t *p = bucket_of(a, a->v[a->first].key);
	while (*p != a->first + 1)
		p = &a->v[*p - 1].next;
	*p = 0; /* nothing is older than it */
	a->first = (a->first + 1) & (a->room - 1);
	a->n--;
}

static void expire(struct stack_answered *a, msec now)
{
	while (a->n && step_of(now) - a->v[a->first].at > a->life)
		forget_oldest(a);
}

static bool grow(struct stack_answered *a)
{
	struct stack_answered b = *a;
	b.room = a->room ? 2 * a->room : ROOM_FIRST;
	b.first = b.n = 0;
	if (!(b.v = malloc(b.room * (sizeof(*b.v) + sizeof(*b.bucket)))))
		return false;
	b.bucket = (uint32_t *)(b.v + b.room);
	memset(b.bucket, 0, b.room * sizeof(*b.bucket));
	for (uint32_t i = 0; i < a->n; i++) {
		const struct stack_answer *x = &a->v[(a->first + i) & (a->room - 1)];
		append(&b, x->key, x->at);
	}
	free(a->v);
	*a = b;
	return true;
}

bool stack_answered_add(struct stack_answered *a, uint64_t key, msec now)
{
	bool fits;
	expire(a, now);
	fits = a->n < a->max && (a->n < a->room || grow(a));
	if (!fits && a->n == 0)
		return false;
	if (!fits)
		forget_oldest(a);
	append(a, key, step_of(now));
	return fits;
}

bool stack_answered_has(struct stack_answered *a, uint64_t key, msec now)
{
	expire(a, now);
	if (a->n == 0)
		return false;
	for (uint32_t i = *bucket_of(a, key); i; i = a->v[i - 1].next)
		if (a->v[i - 1].key == key)
			return true;
	return false;
}
