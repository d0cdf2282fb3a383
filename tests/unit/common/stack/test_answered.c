/*
 * Branches that have been answered (answered.c): how long each is known, and how many.
 */
#include "common/stack/answered.h"

#include "tests/unit/unit.h"

enum { LIFE_MS = 32000, STEP_MS = 64, MANY = 1000000 };

static struct stack_answered a;

static uint64_t key(uint64_t i)
{
	return i * UINT64_C(0x9e3779b97f4a7c15);
}

/* Half of them in one bucket. */
static uint64_t crowded(uint64_t i)
{
	return i % 2 ? i << 40 : key(i);
}

START_TEST(each_is_known_for_its_time_and_not_for_much_longer)
{
	stack_answered_init(&a, 1000, LIFE_MS);
	ck_assert(!stack_answered_has(&a, 7, 1));
	for (msec at = 1000; at < 1000 + 2 * STEP_MS; at++) {
		ck_assert(stack_answered_add(&a, at, at));
		ck_assert(stack_answered_has(&a, at, at + LIFE_MS));
	}
	for (msec at = 1000; at < 1000 + 2 * STEP_MS; at++)
		ck_assert(!stack_answered_has(&a, at, at + LIFE_MS + 2 * STEP_MS));
	ck_assert_uint_eq(a.n, 0);
	stack_answered_done(&a);
}
END_TEST

START_TEST(a_call_that_comes_after_years_finds_none_of_before)
{
	msec at = (msec)UINT32_MAX * STEP_MS - LIFE_MS / 2; /* the steps begin anew */
	stack_answered_init(&a, 1000, LIFE_MS);
	ck_assert(stack_answered_add(&a, 1, at));
	ck_assert(stack_answered_has(&a, 1, at + LIFE_MS));
	ck_assert(!stack_answered_has(&a, 1, at + LIFE_MS + 2 * STEP_MS));
	stack_answered_done(&a);
}
END_TEST

/* 6,500 calls a second. */
START_TEST(all_are_known_while_they_become_many_and_room_is_used_again)
{
	enum { A_SECOND = 6500, LIFE = LIFE_MS / 1000, SECONDS = 3 * LIFE };
	unsigned n = 0;
	stack_answered_init(&a, MANY, LIFE_MS);
	for (unsigned s = 0; s < SECONDS; s++) {
		msec now = 1 + s * 1000;
		if (s >= LIFE) /* of the first of that second */
			ck_assert(stack_answered_has(&a, key(n - LIFE * A_SECOND), now));
		for (unsigned i = 0; i < A_SECOND; i++, n++)
			ck_assert(stack_answered_add(&a, key(n), now));
	}
	for (unsigned i = 0; i < (LIFE + 1) * A_SECOND; i++)
		ck_assert(stack_answered_has(&a, key(n - 1 - i), 1 + (SECONDS - 1) * 1000));
	ck_assert_uint_eq(a.room, 1 << 18); /* 5 MB */
	stack_answered_done(&a);
}
END_TEST

START_TEST(of_too_many_the_oldest_go_first)
{
	enum { MAX = 1000 };
	stack_answered_init(&a, MAX, LIFE_MS);
	for (unsigned i = 0; i < 5 * MAX; i++)
		ck_assert_int_eq(stack_answered_add(&a, crowded(i), 1000 + i), i < MAX);
	ck_assert_uint_eq(a.n, MAX);
	for (unsigned i = 0; i < 5 * MAX; i++)
		ck_assert_int_eq(stack_answered_has(&a, crowded(i), 6000), i >= 4 * MAX);
	stack_answered_done(&a);
}
END_TEST

START_TEST(with_no_room_at_all_none_is_known)
{
	stack_answered_init(&a, 0, LIFE_MS);
	ck_assert(!stack_answered_add(&a, 1, 1000));
	ck_assert(!stack_answered_has(&a, 1, 1000));
	stack_answered_done(&a);
}
END_TEST

UNIT_MAIN("common/stack answered", each_is_known_for_its_time_and_not_for_much_longer,
	  a_call_that_comes_after_years_finds_none_of_before,
	  all_are_known_while_they_become_many_and_room_is_used_again,
	  of_too_many_the_oldest_go_first, with_no_room_at_all_none_is_known)
