/*
 * Hash of transactions by a keyed 64-bit hash: linear hashing (Litwin, 1980).  It grows by one
 * bucket an insertion, so no message ever pays for a rehash; buckets lie in segments, so
 * nothing is moved either.  It does not shrink.  Memory that cannot be had makes chains longer,
 * no more.
 */
#include "common/txn/txn_priv.h"

#include <errno.h>
#include <stdlib.h>

enum { SEGMENT = 1024 }; /* buckets; a power of two */

static struct txn_node **bucket(const struct txn_hash *h, uint64_t hash)
{
	size_t i = hash & (2 * h->base - 1);
	if (i >= h->nbuckets)
		i &= h->base - 1;
	return &h->segment[i / SEGMENT][i % SEGMENT];
}

int txn_hash_init(struct txn_hash *h, size_t limit)
{
	*h = (struct txn_hash){.nsegments_max = limit / SEGMENT + 1};
	h->segment = calloc(h->nsegments_max, sizeof(struct txn_node **));
	if (!h->segment)
		return -ENOMEM;
	h->segment[0] = calloc(SEGMENT, sizeof(struct txn_node *));
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

/* One bucket more: its nodes are those of one old bucket whose next bit is set. */
static void grow(struct txn_hash *h)
{
	size_t seg = h->nbuckets / SEGMENT;
	if (seg >= h->nsegments_max)
		return;
	if (!h->segment[seg])
		h->segment[seg] = calloc(SEGMENT, sizeof(struct txn_node *));
	if (!h->segment[seg])
		return;
	size_t old = h->nbuckets - h->base;
	struct txn_node **from = &h->segment[old / SEGMENT][old % SEGMENT];
	struct txn_node **to = &h->segment[seg][h->nbuckets % SEGMENT];
	while (*from) {
		struct txn_node *n = *from;
		if (n->hash & h->base) {
			*from = n->next;
			n->next = *to;
			*to = n;
		} else {
			from = &n->next;
		}
	}
	h->nbuckets++;
	if (h->nbuckets == 2 * h->base)
		h->base = h->nbuckets;
}

void txn_hash_add(struct txn_hash *h, struct txn_node *n, uint64_t hash)
{
	if (h->n >= h->nbuckets)
		grow(h);
	struct txn_node **b = bucket(h, hash);
	n->hash = hash;
	n->next = *b;
	n->linked = true;
	*b = n;
	h->n++;
}

void txn_hash_remove(struct txn_hash *h, struct txn_node *n)
{
	if (!n->linked)
		return;
	struct txn_node **p = bucket(h, n->hash);
	while (*p != n)
		p = &(*p)->next;
	*p = n->next;
	n->linked = false;
	h->n--;
}

static struct txn_node *of_hash(struct txn_node *n, uint64_t hash)
{
	while (n && n->hash != hash)
		n = n->next;
	return n;
}

struct txn_node *txn_hash_first(const struct txn_hash *h, uint64_t hash)
{
	return of_hash(*bucket(h, hash), hash);
}

struct txn_node *txn_hash_next(const struct txn_node *n)
{
	return of_hash(n->next, n->hash);
}

size_t txn_hash_longest(const struct txn_hash *h)
{
	size_t longest = 0;
	for (size_t i = 0; i < h->nbuckets; i++) {
		size_t n = 0;
		for (struct txn_node *it = h->segment[i / SEGMENT][i % SEGMENT]; it;
		     it = it->next)
			n++;
		if (n > longest)
			longest = n;
	}
	return longest;
}
