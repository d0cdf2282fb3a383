/*
 * Calls by their keys (keys.c): found, however many there are.
 */
#include "common/proxy/call.h"
#include "tests/unit/unit.h"

/* A keyed hash of its number, as the engine's keys are. */
static uint64_t key_of(size_t i)
{
	static const struct mac_key key = {1, 2};
	return mac_span(&key, span_of((const char *)&i, sizeof(i)));
}

START_TEST(as_many_are_looked_at_among_many_calls_as_among_few)
{
	static const size_t counts[] = {10, 1000, 100000};
	for (unsigned k = 0; k < 3; k++) {
		size_t n = counts[k];
		struct proxy_call *v = calloc(n, sizeof(*v));
		struct proxy_keys keys;
		ck_assert_int_eq(proxy_keys_init(&keys), 0);
		for (size_t i = 0; i < n; i++) {
			v[i].key = key_of(i);
			proxy_keys_add(&keys, &v[i]);
		}
		ck_assert_uint_le(proxy_keys_longest(&keys), 12);
		for (size_t i = 0; i < n; i++)
			ck_assert_ptr_eq(proxy_keys_first(&keys, key_of(i)), &v[i]);
		ck_assert_ptr_null(proxy_keys_first(&keys, key_of(n)));
		for (size_t i = 0; i < n; i += 2)
			proxy_keys_remove(&keys, &v[i]);
		for (size_t i = 0; i < n; i++)
			ck_assert_ptr_eq(proxy_keys_first(&keys, key_of(i)),
					 i % 2 ? &v[i] : NULL);
		proxy_keys_done(&keys);
		free(v);
	}
}
END_TEST

START_TEST(calls_of_one_key_come_one_after_the_other)
{
	struct proxy_call v[4] = {{.key = 5}, {.key = 5 + 64}, {.key = 5}, {.key = 5}};
	struct proxy_keys keys;
	ck_assert_int_eq(proxy_keys_init(&keys), 0);
	for (unsigned i = 0; i < 3; i++)
		proxy_keys_add(&keys, &v[i]);
	const struct proxy_call *a = proxy_keys_first(&keys, 5), *b = proxy_keys_next(a);
	ck_assert((a == &v[0] && b == &v[2]) || (a == &v[2] && b == &v[0]));
	ck_assert_ptr_null(proxy_keys_next(b));
	proxy_keys_remove(&keys, &v[3]); /* it is not in it */
	proxy_keys_remove(&keys, &v[2]);
	ck_assert_ptr_eq(proxy_keys_first(&keys, 5), &v[0]);
	ck_assert_ptr_null(proxy_keys_next(&v[0]));
	ck_assert_uint_eq(keys.n, 2);
	proxy_keys_done(&keys);
}
END_TEST

UNIT_MAIN("proxy keys", as_many_are_looked_at_among_many_calls_as_among_few,
	  calls_of_one_key_come_one_after_the_other)
