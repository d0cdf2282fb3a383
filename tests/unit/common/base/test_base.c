/*
 * Spans, arena, addresses.
 */
#include "common/base/addr.h"
#include "common/base/arena.h"
#include "common/base/log.h"

#include "tests/unit/unit.h"

#include <errno.h>
#include <unistd.h>

START_TEST(spans_compare_trim_and_count)
{
	uint64_t v;
	ck_assert(span_ieq(SPAN("CaLL-Id"), SPAN("call-iD")));
	ck_assert(!span_ieq(SPAN("a["), SPAN("a{")));
	ck_assert(span_istarts(SPAN("SIP/2.0"), SPAN("sip/")));
	ck_assert(span_eq(span_trim(SPAN(" \t\r\n x y \r\n")), SPAN("x y")));
	ck_assert_uint_eq(span_trim(SPAN(" \t ")).n, 0);
	ck_assert_int_eq(span_u64(SPAN("18446744073709551615"), UINT64_MAX, &v), 0);
	ck_assert_uint_eq(v, UINT64_MAX);
	ck_assert_int_eq(span_u64(SPAN("18446744073709551616"), UINT64_MAX, &v), -ERANGE);
	ck_assert_int_eq(span_u64(SPAN("70"), 69, &v), -ERANGE);
	ck_assert_int_eq(span_u64(SPAN("5abc"), 9999, &v), -EINVAL);
	ck_assert_int_eq(span_u64(SPAN(""), 9999, &v), -EINVAL);
	ck_assert_int_eq(span_u64(SPAN("-1"), 9999, &v), -EINVAL);
}
END_TEST

START_TEST(a_number_is_written_in_decimal)
{
	char room[SPAN_DEC_MAX];
	ck_assert(span_eq(span_dec(0, room), SPAN("0")));
	ck_assert(span_eq(span_dec(65535, room), SPAN("65535")));
	ck_assert(span_eq(span_dec(UINT64_MAX, room), SPAN("18446744073709551615")));
}
END_TEST

START_TEST(spans_are_joined_with_a_nul_behind_them)
{
	struct arena a;
	ck_assert_int_eq(arena_init(&a, 4096), 0);
	struct span s = ARENA_JOIN(&a, SPAN("a"), SPAN(""), span_of(NULL, 0), SPAN("bc"));
	ck_assert(span_eq(s, SPAN("abc")));
	ck_assert_int_eq(s.p[3], 0);
	ck_assert_uint_eq(arena_join(&a, NULL, 0).n, 0);
	ck_assert(!a.overflow);
	ck_assert_ptr_null(ARENA_JOIN(&a, span_of(a.base, 4000), span_of(a.base, 90)).p);
	ck_assert(a.overflow);
	arena_done(&a);
}
END_TEST

START_TEST(arena_overflow_sticks_until_reset)
{
	struct arena a;
	ck_assert_int_eq(arena_init(&a, 4096), 0);
	ck_assert_ptr_nonnull(arena_alloc(&a, 4096));
	ck_assert(!a.overflow);
	ck_assert_ptr_null(arena_alloc(&a, 1));
	ck_assert(a.overflow);
	ck_assert_ptr_null(arena_alloc(&a, SIZE_MAX));
	ck_assert_ptr_null(arena_printf(&a, "%d", 1).p);
	arena_reset(&a);
	ck_assert(!a.overflow);
	ck_assert(span_eq(arena_printf(&a, "%s-%d", "x", 7), SPAN("x-7")));
	ck_assert_ptr_null(arena_printf(&a, "%5000d", 1).p);
	ck_assert(a.overflow);
	arena_done(&a);
}
END_TEST

START_TEST(addresses_read_and_write_both_families)
{
	struct addr a, b;
	char text[ADDR_TEXT_MAX];
	ck_assert_int_eq(addr_parse(&a, SPAN("192.0.2.1"), 5060), 0);
	ck_assert_uint_eq(addr_text(&a, text), strlen("192.0.2.1:5060"));
	ck_assert_str_eq(text, "192.0.2.1:5060");
	ck_assert_int_eq(addr_parse(&b, SPAN("[2001:db8::1]"), 5061), 0);
	addr_text(&b, text);
	ck_assert_str_eq(text, "[2001:db8::1]:5061");
	ck_assert(!addr_host_equal(&a, &b));
	ck_assert_int_lt(addr_parse(&a, SPAN("192.0.2"), 1), 0);
	ck_assert_int_lt(addr_parse(&a, SPAN("[::1"), 1), 0);
	ck_assert_int_lt(addr_parse(&a, SPAN("127.0.0.1\0x"), 1), 0);
}
END_TEST

START_TEST(networks_match_by_prefix)
{
	struct addr_net n;
	struct addr a;
	ck_assert_int_eq(addr_net_parse(&n, SPAN("10.1.0.0/15")), 0);
	ck_assert_int_eq(addr_parse(&a, SPAN("10.0.255.1"), 9), 0);
	ck_assert(addr_net_match(&n, &a));
	ck_assert_int_eq(addr_parse(&a, SPAN("::ffff:10.1.2.3"), 9), 0);
	ck_assert(addr_net_match(&n, &a));
	ck_assert_int_eq(addr_parse(&a, SPAN("10.2.0.0"), 9), 0);
	ck_assert(!addr_net_match(&n, &a));
	ck_assert_int_lt(addr_net_parse(&n, SPAN("10.0.0.0/33")), 0);
	ck_assert_int_eq(addr_net_parse(&n, SPAN("2001:db8::/32")), 0);
	ck_assert(!addr_net_match(&n, &a));
}
END_TEST

START_TEST(a_log_line_cannot_be_forged)
{
	char line[512];
	int fd[2], saved = dup(STDERR_FILENO);
	ck_assert_int_eq(pipe(fd), 0);
	dup2(fd[1], STDERR_FILENO);
	log_event(LOG_INFO, "refused", LOG_S("user", SPAN("x\nlevel=error \"y\"")),
		  LOG_N("n", -5));
	dup2(saved, STDERR_FILENO);
	ssize_t n = read(fd[0], line, sizeof(line) - 1);
	ck_assert_int_gt(n, 0);
	line[n] = '\0';
	ck_assert_ptr_eq(strchr(line, '\n'), line + n - 1);
	ck_assert_ptr_nonnull(
		strstr(line, "event=refused user=\"x\\x0alevel=error \\\"y\\\"\" n=-5\n"));
	close(fd[0]);
	close(fd[1]);
	close(saved);
}
END_TEST

START_TEST(of_what_happens_without_end_a_line_a_second_is_logged)
{
	struct log_limit one = {0}, other = {0};
	unsigned lines = 0;
	for (msec now = 1; now <= 10000; now++)
		lines += log_may(&one, now);
	ck_assert_uint_eq(lines, 10);
	ck_assert(!log_may(&one, 9500)); /* the clock of another thread, a little behind */
	ck_assert(log_may(&other, 10000));
	ck_assert(log_may(&one, 3600 * 1000));
}
END_TEST

UNIT_MAIN("base", spans_compare_trim_and_count, a_number_is_written_in_decimal,
	  spans_are_joined_with_a_nul_behind_them, arena_overflow_sticks_until_reset,
	  addresses_read_and_write_both_families, networks_match_by_prefix,
	  a_log_line_cannot_be_forged, of_what_happens_without_end_a_line_a_second_is_logged)
