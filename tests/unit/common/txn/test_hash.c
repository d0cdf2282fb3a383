/*
 * The hash by itself: growth, chains behind full lines.
 */
#include "tests/unit/common/txn/rig.h"

/* A hash over transactions that are in no table. */
struct bare {
	struct txn_hash h;
	struct txn **slab;
};

static void bare_start(struct bare *b, uint32_t n)
{
	size_t nslabs = n / TXN_SLAB + 1;
	b->slab = calloc(nslabs, sizeof(*b->slab));
	for (size_t i = 0; i < nslabs; i++) {
		b->slab[i] = aligned_alloc(_Alignof(struct txn), TXN_SLAB * sizeof(struct txn));
		memset(b->slab[i], 0, TXN_SLAB * sizeof(struct txn));
		for (uint32_t k = 0; k < TXN_SLAB; k++)
			b->slab[i][k].id = i * TXN_SLAB + k + 1;
	}
	ck_assert_int_eq(txn_hash_init(&b->h, n, &b->slab, offsetof(struct txn, key)), 0);
}

static void bare_stop(struct bare *b, uint32_t n)
{
	for (size_t i = 0; i < n / TXN_SLAB + 1; i++)
		free(b->slab[i]);
	free(b->slab);
	txn_hash_done(&b->h);
}

START_TEST(hash_grows_one_bucket_at_a_time_and_loses_nothing)
{
	enum { N = 20000 };
	struct txn_hash_it it;
	struct bare b;
	unsigned lost = 0, found = 0, jumps = 0;
	bare_start(&b, N);
	for (uint32_t i = 1; i <= N; i++) {
		size_t before = b.h.nbuckets;
		txn_hash_add(&b.h, i, i * 0x9e3779b97f4a7c15u);
		jumps += b.h.nbuckets > before + 1;
	}
	ck_assert_uint_ge(b.h.nbuckets, N / 4 - 1);
	for (uint32_t i = 2; i <= N; i += 2)
		txn_hash_remove(&b.h, i);
	for (uint32_t i = 1; i <= N; i++) {
		struct txn *t = txn_hash_first(&b.h, i * 0x9e3779b97f4a7c15u, &it);
		lost += i % 2 && t != txn_at(b.slab, i);
		found += i % 2 == 0 && t;
	}
	ck_assert_uint_eq(lost + found + jumps, 0);
	ck_assert_uint_eq(b.h.n, N / 2);
	bare_stop(&b, N);
}
END_TEST

/* More in one bucket than a line holds, the same hash twice, taken out in any order. */
START_TEST(a_full_line_goes_on_in_a_chain)
{
	enum { N = 40 };
	struct txn_hash_it it;
	struct bare b;
	bare_start(&b, N);
	for (uint32_t i = 1; i <= N; i++)
		txn_hash_add(&b.h, i, (uint64_t)(i / 2) << 32);
	ck_assert_uint_eq(txn_hash_longest(&b.h), N);
	for (uint32_t i = 1; i <= N; i += 3)
		txn_hash_remove(&b.h, i);
	for (uint32_t i = 1; i <= N; i++) {
		unsigned mine = 0;
		struct txn *t = txn_hash_first(&b.h, (uint64_t)(i / 2) << 32, &it);
		for (; t; t = txn_hash_next(&it))
			mine += t == txn_at(b.slab, i);
		ck_assert_uint_eq(mine, i % 3 != 1);
	}
	for (uint32_t i = N; i >= 1; i--)
		txn_hash_remove(&b.h, i);
	ck_assert_uint_eq(b.h.n, 0);
	ck_assert_uint_eq(txn_hash_longest(&b.h), 0);
	bare_stop(&b, N);
}
END_TEST

UNIT_MAIN("hash", hash_grows_one_bucket_at_a_time_and_loses_nothing,
	  a_full_line_goes_on_in_a_chain)
