/*
 * The hash of transactions: linear hashing over cache lines, grown one bucket at a time, so
 * that no message pays for all.  For the files of common/txn.
 */
#ifndef EAVES_TXN_HASH_H
#define EAVES_TXN_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct txn;

/* In a transaction, one for each hash that it is in. */
struct txn_node {
	uint64_t hash;
	uint32_t next; /* slot of the next one in the chain behind a full line */
	bool linked;
};
enum { TXN_BUCKET_ENTRIES = 7 };
struct txn_bucket {
	uint64_t entry[TXN_BUCKET_ENTRIES]; /* 40 bits of the hash, the slot; 0: free */
	uint32_t more;			    /* slot of the first that did not fit */
} __attribute__((aligned(64)));
struct txn_hash {
	struct txn ***slab; /* of the table: from slots to transactions */
	size_t node_off;    /* of its node in a transaction */
	struct txn_bucket **segment;
	size_t nsegments_max;
	size_t nbuckets;
	size_t base; /* power of two <= nbuckets */
	size_t n;
};
/* 0 or -ENOMEM. */
int txn_hash_init(struct txn_hash *h, size_t limit, struct txn ***slab, size_t node_off);
void txn_hash_done(struct txn_hash *h);
void txn_hash_add(struct txn_hash *h, uint32_t slot, uint64_t hash);
/* Harmless for one that is not linked. */
void txn_hash_remove(struct txn_hash *h, uint32_t slot);
/* Those of the very hash; nothing may be added or removed on the way. */
struct txn_hash_it {
	const struct txn_hash *h;
	const struct txn_bucket *b;
	uint64_t hash;
	unsigned i;
	uint32_t more;
};
struct txn *txn_hash_first(const struct txn_hash *h, uint64_t hash, struct txn_hash_it *it);
struct txn *txn_hash_next(struct txn_hash_it *it);
/* Entries in the fullest bucket: for tests. */
size_t txn_hash_longest(const struct txn_hash *h);

#endif
