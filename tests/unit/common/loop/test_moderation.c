/*
 * When a loop pauses: the decision alone, on a virtual clock.
 */
#include "common/loop/loop_priv.h"
#include "tests/unit/unit.h"

static struct moderation m;
static msec now;

static unsigned rounds(unsigned n, unsigned served, unsigned apart_ms)
{
	unsigned pauses = 0;

	for (unsigned i = 0; i < n; i++) {
		m.served = served;
		now += apart_ms;
		pauses += moderation_wants(&m, now);
	}
	return pauses;
}

static void start(unsigned us)
{
	now = 1000;
	moderation_init(&m, us);
	moderation_wants(&m, now);
}

START_TEST(pauses_while_each_gathers_several)
{
	start(500);
	ck_assert_uint_eq(rounds(1000, 12, 1), 1000);
}
END_TEST

START_TEST(never_when_switched_off)
{
	start(0);
	ck_assert_uint_eq(rounds(1000, 12, 1), 0);
}
END_TEST

START_TEST(never_when_wake_ups_are_rare)
{
	start(500);
	ck_assert_uint_eq(rounds(1000, 12, 5), 0);
}
END_TEST

START_TEST(never_when_nothing_was_served)
{
	start(500);
	ck_assert_uint_eq(rounds(1000, 0, 1), 0);
}
END_TEST

START_TEST(never_when_a_round_served_much)
{
	start(500);
	ck_assert_uint_eq(rounds(1000, 64, 0), 0);
}
END_TEST

START_TEST(a_peer_that_waits_for_each_answer_is_hardly_slowed)
{
	start(500);
	ck_assert_uint_lt(rounds(100000, 1, 0), 200);
}
END_TEST

START_TEST(four_messages_a_pause_do_not_pay_for_it)
{
	start(500);
	ck_assert_uint_lt(rounds(100000, 4, 1), 200);
}
END_TEST

START_TEST(load_that_comes_later_is_found_by_a_later_trial)
{
	start(500);
	rounds(100000, 1, 0);
	ck_assert_uint_gt(rounds(20000, 16, 1), 15000);
}
END_TEST

UNIT_MAIN("moderation", pauses_while_each_gathers_several, never_when_switched_off,
	  never_when_wake_ups_are_rare, never_when_nothing_was_served,
	  never_when_a_round_served_much, a_peer_that_waits_for_each_answer_is_hardly_slowed,
	  four_messages_a_pause_do_not_pay_for_it,
	  load_that_comes_later_is_found_by_a_later_trial)
