/*
 * Hash of transactions by a keyed 64-bit hash: linear hashing (Litwin, 1980) over buckets of a
 * cache line.  An entry holds 40 bits of the hash beside the slot of its transaction, so a
 * look-up that misses and a bucket that is split touch no transaction: at 200,000 live ones
 * those misses of the cache were a fifth of a call's cost.  It grows by one bucket at a time,
 * in segments: no message pays for a rehash.  It does not shrink.  Memory that cannot be had
 * makes chains longer, no more.
 */
#include "common/txn/txn_priv.h"

#include <errno.h>
#include <stdlib.h>

enum {
	SEGMENT = 256, /* buckets; a power of two */
	FILL = 4,      /* entries a bucket on the mean: one in twenty has more than fit */
	SLOT_MASK = (1 << TXN_SLOT_BITS) - 1,
};

static struct txn *txn_of(const struct txn_hash *h, uint32_t slot)
{
	return txn_at(*h->slab, slot);
}

static struct txn_node *node_of(const struct txn_hash *h, uint32_t slot)
{
	return (struct txn_node *)((char *)txn_of(h, slot) + h->node_off);
}

static struct txn_bucket *bucket_at(const struct txn_hash *h, size_t i)
{
	return &h->segment[i / SEGMENT][i % SEGMENT];
}

static struct txn_bucket *bucket(const struct txn_hash *h, uint64_t hash)
{
	size_t i = hash & (2 * h->base - 1);
	if (i >= h->nbuckets)
		i &= h->base - 1;
	return bucket_at(h, i);
}

static struct txn_bucket *segment_new(void)
{
	size_t size = SEGMENT * sizeof(struct txn_bucket);
	struct txn_bucket *v = aligned_alloc(sizeof(struct txn_bucket), size);
	return v ? memset(v, 0, size) : NULL;
}

int txn_hash_init(struct txn_hash *h, size_t limit, struct txn ***slab, size_t node_off)
{
	*h = (struct txn_hash){.slab = slab,
			       .node_off = node_off,
			       .nsegments_max = limit / FILL / SEGMENT + 1};
	h->segment = calloc(h->nsegments_max, sizeof(struct txn_bucket *));
	if (!h->segment)
		return -ENOMEM;
	h->segment[0] = segment_new();
	if (!h->segment[0]) {
		free(h->segment);
		h->segment = NULL;
		return -ENOMEM;
	}
	h->base = h->nbuckets = SEGMENT;
	return 0;
}

void txn_hash_done(struct txn_hash *h)
{
	for (size_t i = 0; h->segment && i < h->nsegments_max; i++)
		free(h->segment[i]);
	free(h->segment);
	h->segment = NULL;
}

static uint64_t entry_of(uint64_t hash, uint32_t slot)
{
	return hash << TXN_SLOT_BITS | slot;
}

/* Into the line, or else the chain behind it. */
static void put(struct txn_hash *h, struct txn_bucket *b, uint64_t hash, uint32_t slot)
{
	for (unsigned i = 0; i < TXN_BUCKET_ENTRIES; i++) {
		if (b->entry[i])
			continue;
		b->entry[i] = entry_of(hash, slot);
		return;
	}
	node_of(h, slot)->next = b->more;
	b->more = slot;
}

/* One bucket more: its entries are those of one old bucket whose next bit is set. */
static void grow(struct txn_hash *h)
{
	size_t seg = h->nbuckets / SEGMENT;
	if (seg >= h->nsegments_max)
		return;
	if (!h->segment[seg])
		h->segment[seg] = segment_new();
	if (!h->segment[seg])
		return;
	struct txn_bucket *from = bucket_at(h, h->nbuckets - h->base);
	struct txn_bucket *to = bucket_at(h, h->nbuckets);
	for (unsigned i = 0, n = 0; i < TXN_BUCKET_ENTRIES; i++) {
		if (!(from->entry[i] >> TXN_SLOT_BITS & h->base))
			continue;
		to->entry[n++] = from->entry[i];
		from->entry[i] = 0;
	}
	for (uint32_t slot = from->more, next = from->more = 0; slot; slot = next) {
		const struct txn_node *n = node_of(h, slot);
		next = n->next;
		put(h, n->hash & h->base ? to : from, n->hash, slot);
	}
	h->nbuckets++;
	if (h->nbuckets == 2 * h->base)
		h->base = h->nbuckets;
}

void txn_hash_add(struct txn_hash *h, uint32_t slot, uint64_t hash)
{
	struct txn_node *n = node_of(h, slot);
	if (h->n >= FILL * h->nbuckets)
		grow(h);
	n->hash = hash;
	n->next = 0;
	n->linked = true;
	put(h, bucket(h, hash), hash, slot);
	h->n++;
}

/* The place in the line that has become free is for the first of the chain. */
static void refill(struct txn_hash *h, struct txn_bucket *b, unsigned i)
{
	uint32_t slot = b->more;
	if (!slot)
		return;
	const struct txn_node *n = node_of(h, slot);
	b->more = n->next;
	b->entry[i] = entry_of(n->hash, slot);
}

void txn_hash_remove(struct txn_hash *h, uint32_t slot)
{
	struct txn_node *n = node_of(h, slot);
	if (!n->linked)
		return;
	struct txn_bucket *b = bucket(h, n->hash);
	uint64_t entry = entry_of(n->hash, slot);
	n->linked = false;
	h->n--;
	for (unsigned i = 0; i < TXN_BUCKET_ENTRIES; i++) {
		if (b->entry[i] != entry)
			continue;
		b->entry[i] = 0;
		refill(h, b, i);
		return;
	}
	uint32_t *p = &b->more;
	while (*p != slot)
		p = &node_of(h, *p)->next;
	*p = n->next;
}

struct txn *txn_hash_next(struct txn_hash_it *it)
{
	const struct txn_hash *h = it->h;
	while (it->i < TXN_BUCKET_ENTRIES) {
		uint64_t e = it->b->entry[it->i++];
		uint32_t slot = (uint32_t)(e & SLOT_MASK);
		if ((e ^ it->hash << TXN_SLOT_BITS) >> TXN_SLOT_BITS == 0 && slot &&
		    node_of(h, slot)->hash == it->hash)
			return txn_of(h, slot);
	}
	while (it->more) {
		uint32_t slot = it->more;
		const struct txn_node *n = node_of(h, slot);
		it->more = n->next;
		if (n->hash == it->hash)
			return txn_of(h, slot);
	}
	return NULL;
}

struct txn *txn_hash_first(const struct txn_hash *h, uint64_t hash, struct txn_hash_it *it)
{
	struct txn_bucket *b = bucket(h, hash);
	*it = (struct txn_hash_it){.h = h, .b = b, .hash = hash, .more = b->more};
	return txn_hash_next(it);
}

size_t txn_hash_longest(const struct txn_hash *h)
{
	size_t longest = 0;
	for (size_t i = 0; i < h->nbuckets; i++) {
		const struct txn_bucket *b = bucket_at(h, i);
		size_t n = 0;
		for (unsigned k = 0; k < TXN_BUCKET_ENTRIES; k++)
			n += b->entry[k] != 0;
		for (uint32_t slot = b->more; slot; slot = node_of(h, slot)->next)
			n++;
		if (n > longest)
			longest = n;
	}
	return longest;
}
