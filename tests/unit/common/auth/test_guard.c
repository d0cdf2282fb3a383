/* Guessing is stopped by source. */
#include "tests/unit/unit.h"

#include "common/auth/guard.h"

static const struct span nobody = {NULL, 0};

static struct addr source(const char *host)
{
	struct addr a;

	ck_assert_int_eq(addr_parse(&a, span_str(host), 5060), 0);
	return a;
}

static struct guard *make(uint32_t failures, uint32_t entries)
{
	struct guard_conf c = {
		.failures = failures, .window_s = 60, .lock_s = 300, .entries = entries};
	struct guard *g = guard_new(&c);

	ck_assert_ptr_nonnull(g);
	return g;
}

START_TEST(source_is_locked_at_the_nth_failure_and_for_its_time)
{
	struct guard *g = make(3, 1024);
	struct addr a = source("192.0.2.1"), b = source("192.0.2.2");

	ck_assert(!guard_failed(g, &a, nobody, 1000));
	ck_assert(!guard_failed(g, &a, nobody, 1000));
	ck_assert(!guard_locked(g, &a, nobody, 1000));
	ck_assert(guard_failed(g, &a, nobody, 1000));
	ck_assert(!guard_failed(g, &a, nobody, 1001)); /* said once */
	ck_assert(guard_locked(g, &a, nobody, 1001));
	ck_assert(!guard_locked(g, &b, nobody, 1001));
	ck_assert(guard_locked(g, &a, nobody, 300999));
	ck_assert(!guard_locked(g, &a, nobody, 301000));
	ck_assert(!guard_failed(g, &a, nobody, 301000)); /* counting begins again */
	ck_assert_uint_eq(guard_locks(g), 1);
	guard_free(g);
}
END_TEST

START_TEST(failures_far_apart_do_not_lock)
{
	struct guard *g = make(3, 1024);
	struct addr a = source("192.0.2.1");

	for (msec t = 1000; t < 1000000; t += 31000)
		ck_assert(!guard_failed(g, &a, nobody, t));
	ck_assert_uint_eq(guard_locks(g), 0);
	guard_free(g);
}
END_TEST

START_TEST(success_clears_the_count_but_not_a_lock)
{
	struct guard *g = make(3, 1024);
	struct addr a = source("192.0.2.1");

	guard_failed(g, &a, nobody, 1000);
	guard_failed(g, &a, nobody, 1000);
	guard_passed(g, &a, nobody, 1000);
	ck_assert(!guard_failed(g, &a, nobody, 1000));
	ck_assert(!guard_failed(g, &a, nobody, 1000));
	ck_assert(guard_failed(g, &a, nobody, 1000));
	guard_passed(g, &a, nobody, 1001);
	ck_assert(guard_locked(g, &a, nobody, 1002));
	guard_free(g);
}
END_TEST

START_TEST(a_user_is_counted_apart_from_his_source_and_from_others)
{
	struct guard *g = make(3, 1024);
	struct addr a = source("192.0.2.1"), b = source("192.0.2.2");

	for (unsigned i = 0; i < 3; i++) {
		ck_assert(!guard_failed(g, &a, nobody, 1000));
		ck_assert(guard_failed(g, &a, SPAN("alice"), 1000) == (i == 2));
		guard_passed(g, &a, nobody, 1000);
		guard_passed(g, &a, SPAN("mallory"), 1000);
	}
	ck_assert(guard_locked(g, &a, SPAN("alice"), 1001));
	ck_assert(!guard_locked(g, &a, SPAN("mallory"), 1001));
	ck_assert(!guard_locked(g, &a, nobody, 1001));
	ck_assert(!guard_locked(g, &b, SPAN("alice"), 1001));
	guard_free(g);
}
END_TEST

START_TEST(ipv6_counts_by_64_and_mapped_ipv4_as_ipv4)
{
	struct guard *g = make(2, 1024);
	struct addr a = source("2001:db8:0:1::1"), b = source("2001:db8:0:1:ffff::2"),
		    c = source("2001:db8:0:2::1"), v4 = source("192.0.2.9"),
		    mapped = source("::ffff:192.0.2.9");

	guard_failed(g, &a, nobody, 1000);
	ck_assert(guard_failed(g, &b, nobody, 1000));
	ck_assert(guard_locked(g, &a, nobody, 1000));
	ck_assert(!guard_locked(g, &c, nobody, 1000));
	guard_failed(g, &v4, nobody, 1000);
	ck_assert(guard_failed(g, &mapped, nobody, 1000));
	ck_assert(guard_locked(g, &v4, nobody, 1000));
	guard_free(g);
}
END_TEST

START_TEST(zero_failures_never_locks)
{
	struct guard *g = make(0, 1024);
	struct addr a = source("192.0.2.1");

	for (unsigned i = 0; i < 100; i++)
		ck_assert(!guard_failed(g, &a, nobody, 1000));
	ck_assert(!guard_locked(g, &a, nobody, 1000));
	guard_free(g);
}
END_TEST

START_TEST(full_table_forgets_single_failures_before_locks)
{
	struct guard *g = make(2, 8);
	struct addr a = source("192.0.2.1");

	guard_failed(g, &a, nobody, 1000);
	ck_assert(guard_failed(g, &a, nobody, 1000));
	for (uint32_t i = 1; i < 1000; i++) {
		struct addr b = source("10.0.0.0");

		b.in4.sin_addr.s_addr += htonl(i);
		guard_failed(g, &b, nobody, 1000 + i);
	}
	ck_assert(guard_locked(g, &a, nobody, 2000));
	guard_free(g);
}
END_TEST

UNIT_MAIN("auth/guard", source_is_locked_at_the_nth_failure_and_for_its_time,
	  failures_far_apart_do_not_lock, success_clears_the_count_but_not_a_lock,
	  a_user_is_counted_apart_from_his_source_and_from_others,
	  ipv6_counts_by_64_and_mapped_ipv4_as_ipv4, zero_failures_never_locks,
	  full_table_forgets_single_failures_before_locks)
