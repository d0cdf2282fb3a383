/*
 * The table of records: compact allocations in chained buckets, one set of buckets a stripe.
 * What versions and groups mean is in records.c.
 */
#include "common/records/records_priv.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>

enum { BUCKETS_FIRST = 16, BUCKETS_MAX = 1 << (32 - STRIPE_BITS) };

static size_t bytes_of(const struct record *v)
{
	size_t n = offsetof(struct rec, data) + v->group.n + v->name.n + v->body.n;
	return n < sizeof(struct rec) ? sizeof(struct rec) : n;
}

static char *append(char *at, struct span s)
{
	if (s.n)
		memcpy(at, s.p, s.n);
	return at + s.n;
}

struct record rec_show(const struct rec *c)
{
	return (struct record){
		.kind = c->kind,
		.deleted = c->deleted,
		.group = rec_group(c),
		.name = rec_name(c),
		.version = rec_version(c),
		.expires_ms = c->expires_ms,
		.body = rec_body(c),
	};
}

struct rec *rec_new(const struct record *v, uint32_t hash)
{
	struct rec *c = malloc(bytes_of(v));
	if (!c)
		return NULL;
	c->next = NULL;
	c->hash = hash;
	c->kind = v->kind;
	c->group_n = (uint16_t)v->group.n;
	c->name_n = (uint16_t)v->name.n;
	append(append(c->data, v->group), v->name);
	rec_overwrite(c, v);
	return c;
}

/* Not when much would lie idle: a tombstone of a large body is a new, small allocation. */
bool rec_fits(const struct rec *c, const struct record *v)
{
	size_t room = malloc_usable_size((void *)c), need = bytes_of(v);
	return need <= room && room - need <= 64;
}

void rec_overwrite(struct rec *c, const struct record *v)
{
	c->hlc = v->version.hlc;
	c->node = v->version.node;
	c->expires_ms = v->expires_ms;
	c->deleted = v->deleted;
	c->body_n = (uint32_t)v->body.n;
	append(c->data + c->group_n + c->name_n, v->body);
}

int stripe_init(struct stripe *s)
{
	s->bucket = calloc(BUCKETS_FIRST, sizeof(struct rec *));
	if (!s->bucket)
		return -ENOMEM;
	s->mask = BUCKETS_FIRST - 1;
	pthread_mutex_init(&s->lock, NULL);
	return 0;
}

void stripe_done(struct stripe *s)
{
	if (!s->bucket)
		return;
	for (uint32_t i = 0; i <= s->mask; i++) {
		for (struct rec *c = s->bucket[i], *next; c; c = next) {
			next = c->next;
			free(c);
		}
	}
	free(s->bucket);
	pthread_mutex_destroy(&s->lock);
}

struct rec **stripe_find(const struct stripe *s, uint32_t hash, uint8_t kind, struct span group,
			 struct span name)
{
	struct rec **at = stripe_chain(s, hash);
	while (*at && !((*at)->kind == kind && rec_in_group(*at, hash, group) &&
			span_eq(rec_name(*at), name)))
		at = &(*at)->next;
	return at;
}

/* Twice the buckets; the order within a chain stays.  Without memory the chains get longer. */
static void grow(struct stripe *s)
{
	uint32_t n = (s->mask + 1) * 2;
	struct rec **v = calloc(n, sizeof(*v));
	if (!v)
		return;
	for (uint32_t i = 0; i <= s->mask; i++) {
		struct rec **low = &v[i], **high = &v[i + s->mask + 1];
		for (struct rec *c = s->bucket[i]; c; c = c->next) {
			struct rec ***end =
				(c->hash >> STRIPE_BITS) & (s->mask + 1) ? &high : &low;
			**end = c;
			*end = &c->next;
		}
		*low = *high = NULL;
	}
	free(s->bucket);
	s->bucket = v;
	s->mask = n - 1;
}

static void count_live(struct stripe *s, const struct rec *c, size_t by)
{
	if (!c->deleted)
		atomic_fetch_add_explicit(&s->live[c->kind], by, memory_order_relaxed);
}

void stripe_insert(struct stripe *s, struct rec *c)
{
	if (s->n > s->mask && s->mask + 1 < BUCKETS_MAX)
		grow(s);
	struct rec **at = stripe_chain(s, c->hash);
	while (*at)
		at = &(*at)->next;
	c->next = NULL;
	*at = c;
	s->n++;
	count_live(s, c, 1);
}

void stripe_replace(struct stripe *s, struct rec **at, struct rec *c)
{
	struct rec *old = *at;
	c->next = old->next;
	*at = c;
	count_live(s, old, (size_t)-1);
	count_live(s, c, 1);
	free(old);
}

void stripe_overwrite(struct stripe *s, struct rec **at, const struct record *v)
{
	count_live(s, *at, (size_t)-1);
	rec_overwrite(*at, v);
	count_live(s, *at, 1);
}

struct rec *stripe_remove(struct stripe *s, struct rec **at)
{
	struct rec *c = *at;
	*at = c->next;
	s->n--;
	count_live(s, c, (size_t)-1);
	return c;
}

static struct rec **find_floor(const struct stripe *s, uint32_t hash, uint8_t kind,
			       struct span group)
{
	return stripe_find(s, hash, KIND_FLOOR, group, span_of((const char *)&kind, 1));
}

uint64_t stripe_floor(const struct stripe *s, uint32_t hash, uint8_t kind, struct span group)
{
	const struct rec *floor = *find_floor(s, hash, kind, group);

	return floor ? floor->hlc : 0;
}

/* Without memory what is forgotten is forgotten.  How many records more. */
static unsigned raise_floor(struct stripe *s, const struct rec *c)
{
	struct rec *floor = *find_floor(s, c->hash, c->kind, rec_group(c));
	struct record v = rec_show(c);

	if (floor) {
		if (c->hlc > floor->hlc)
			floor->hlc = c->hlc;
		if (c->expires_ms > floor->expires_ms)
			floor->expires_ms = c->expires_ms;
		return 0;
	}
	v.kind = KIND_FLOOR;
	v.name = span_of((const char *)&c->kind, 1);
	floor = rec_new(&v, c->hash);
	if (!floor)
		return 0;
	stripe_insert(s, floor);
	return 1;
}

unsigned stripe_trim(struct stripe *s, uint32_t hash, struct span group)
{
	unsigned freed = 0;
	for (;;) {
		struct rec **oldest = NULL;
		unsigned n = 0;
		for (struct rec **at = stripe_chain(s, hash); *at; at = &(*at)->next) {
			if (!(*at)->deleted || (*at)->kind == KIND_FLOOR ||
			    !rec_in_group(*at, hash, group))
				continue;
			n++;
			if (!oldest ||
			    record_version_cmp(rec_version(*at), rec_version(*oldest)) < 0)
				oldest = at;
		}
		if (n <= RECORDS_TOMBSTONES_PER_GROUP)
			return freed;
		struct rec *gone = stripe_remove(s, oldest);
		freed += 1 - raise_floor(s, gone);
		free(gone);
	}
}

struct rec *stripe_sweep(struct stripe *s, uint64_t wall_ms, unsigned *ret_freed,
			 unsigned *ret_expired)
{
	struct rec *gone = NULL;
	for (uint32_t i = 0; i <= s->mask; i++) {
		for (struct rec **at = &s->bucket[i]; *at;) {
			struct rec *c = *at;
			if (c->expires_ms == 0 || c->expires_ms > wall_ms) {
				at = &c->next;
				continue;
			}
			if (c->deleted) {
				free(stripe_remove(s, at));
				(*ret_freed)++;
				continue;
			}
			struct record v = rec_show(c);
			v.deleted = true;
			v.body.n = 0;
			v.expires_ms += RECORDS_TOMBSTONE_MS;
			struct rec *grave = rec_new(&v, c->hash);
			stripe_remove(s, at);
			(*ret_expired)++;
			if (grave) { /* in its place */
				grave->next = *at;
				*at = grave;
				s->n++;
				at = &grave->next;
			} else {
				(*ret_freed)++;
			}
			c->next = gone;
			gone = c;
		}
	}
	/* As after a deletion: every node is to keep the same ones. */
	for (const struct rec *c = gone; c; c = c->next)
		*ret_freed += stripe_trim(s, c->hash, rec_group(c));
	return gone;
}
