/*
 * The table under the records: stripes of chained hash buckets.  A group lies in one stripe and
 * in one chain, in order of first insertion.  Everything here wants the stripe's lock held.
 */
#ifndef EAVES_RECORDS_PRIV_H
#define EAVES_RECORDS_PRIV_H

#include "common/base/mac.h"
#include "common/records/records.h"

#include <pthread.h>
#include <stdatomic.h>

enum { STRIPE_BITS = 6, STRIPES = 1 << STRIPE_BITS, SWEEP_STRIPES = STRIPES / 16 };
_Static_assert((int)STRIPES == (int)RECORDS_PARTS, "a part of the table is a stripe");

/* Not a record, and shown to nobody: what is left of a group's forgotten deletions of one kind
 * (the name: its number), the newest version among them and the latest end. */
enum { KIND_FLOOR = 0 };

/* One record in one allocation: group, name and body follow. */
struct rec {
	struct rec *next;
	uint64_t hlc;
	uint64_t expires_ms;
	uint32_t hash; /* of the group */
	uint32_t node;
	uint32_t body_n;
	uint16_t group_n, name_n;
	uint8_t kind;
	bool deleted;
	char data[];
};

struct stripe {
	pthread_mutex_t lock;
	struct rec **bucket;
	uint32_t mask; /* number of buckets - 1 */
	uint32_t n;
	atomic_size_t live[RECORD_KIND_MAX + 1];
} __attribute__((aligned(64)));

static inline struct span rec_group(const struct rec *c)
{
	return (struct span){c->data, c->group_n};
}
static inline struct span rec_name(const struct rec *c)
{
	return (struct span){c->data + c->group_n, c->name_n};
}
static inline struct span rec_body(const struct rec *c)
{
	return (struct span){c->data + c->group_n + c->name_n, c->body_n};
}
static inline struct record_version rec_version(const struct rec *c)
{
	return (struct record_version){c->hlc, c->node};
}
static inline bool rec_live(const struct rec *c, uint64_t wall_ms)
{
	return !c->deleted && (c->expires_ms == 0 || c->expires_ms > wall_ms);
}
static inline bool rec_in_group(const struct rec *c, uint32_t hash, struct span group)
{
	return c->hash == hash && span_eq(rec_group(c), group);
}
static inline struct rec **stripe_chain(const struct stripe *s, uint32_t hash)
{
	return &s->bucket[(hash >> STRIPE_BITS) & s->mask];
}
struct record rec_show(const struct rec *c);
struct stripe *records_stripe(struct records *r, unsigned i);

/* A record not in the table yet, or NULL. */
struct rec *rec_new(const struct record *v, uint32_t hash);
/* May v be written over c where it lies? */
bool rec_fits(const struct rec *c, const struct record *v);
void rec_overwrite(struct rec *c, const struct record *v);

int stripe_init(struct stripe *s);
void stripe_done(struct stripe *s);
/* The place that points to the record, or to NULL at the end of its chain. */
struct rec **stripe_find(const struct stripe *s, uint32_t hash, uint8_t kind, struct span group,
			 struct span name);
/* Appends c to its chain; grows the stripe when it can. */
void stripe_insert(struct stripe *s, struct rec *c);
/* Puts c in the place of *at and frees that. */
void stripe_replace(struct stripe *s, struct rec **at, struct rec *c);
/* Writes v over *at, which it fits. */
void stripe_overwrite(struct stripe *s, struct rec **at, const struct record *v);
/* Takes *at out, does not free it. */
struct rec *stripe_remove(struct stripe *s, struct rec **at);
/* The newest deletion of that kind that the group has forgotten before its time; 0: none. */
uint64_t stripe_floor(const struct stripe *s, uint32_t hash, uint8_t kind, struct span group);
/* Frees the oldest deletions of a group beyond RECORDS_TOMBSTONES_PER_GROUP, which its floor
 * then stands for; by how many there are fewer records. */
unsigned stripe_trim(struct stripe *s, uint32_t hash, struct span group);
/* Tombstones that are old, or too many of a group, are freed (*ret_freed), expired records
 * become tombstones and are returned as they were, linked by next, for the watchers; the caller
 * frees them. */
struct rec *stripe_sweep(struct stripe *s, uint64_t wall_ms, unsigned *ret_freed,
			 unsigned *ret_expired);

#endif
