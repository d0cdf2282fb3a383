/*
 * Timer wheel against a naive model: every timer fires once, at its tick, in the order of
 * ticks.
 */
#include "common/base/wheel.h"
#include "tests/unit/unit.h"

enum { TIMERS = 300 };

struct probe {
	struct wheel_timer t;
	msec want; /* model: 0 when not armed */
	unsigned fired;
	msec at;
};

static struct wheel w;
static struct probe probes[TIMERS];
static msec last_fired;
static uint64_t seed;

static uint64_t rnd(uint64_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed % below;
}

static void on_fire(struct wheel_timer *t, msec now)
{
	struct probe *p = container_of(t, struct probe, t);
	if (wheel_armed(t) || now < last_fired)
		ck_abort_msg("a timer fired armed, or behind its time");
	last_fired = now;
	p->fired++;
	p->at = now;
}

static void start(msec now)
{
	wheel_init(&w, now);
	last_fired = 0;
	for (int i = 0; i < TIMERS; i++) {
		probes[i] = (struct probe){.want = 0};
		wheel_timer_init(&probes[i].t, on_fire);
	}
}

START_TEST(a_timer_fires_once_at_its_tick)
{
	start(1000);
	wheel_arm(&w, &probes[0].t, 1500);
	wheel_advance(&w, 1499);
	ck_assert_uint_eq(probes[0].fired, 0);
	wheel_advance(&w, 1500);
	ck_assert_uint_eq(probes[0].fired, 1);
	ck_assert_uint_eq(probes[0].at, 1500);
	wheel_advance(&w, 1000000);
	ck_assert_uint_eq(probes[0].fired, 1);
	ck_assert_uint_eq(w.armed, 0);
}
END_TEST

START_TEST(a_timer_in_the_past_fires_one_tick_later)
{
	start(1000);
	wheel_arm(&w, &probes[0].t, 10);
	ck_assert_uint_eq(probes[0].fired, 0);
	wheel_advance(&w, 1001);
	ck_assert_uint_eq(probes[0].at, 1001);
}
END_TEST

START_TEST(arming_again_moves_a_timer_and_stopping_ends_it)
{
	start(1);
	wheel_arm(&w, &probes[0].t, 100);
	wheel_arm(&w, &probes[0].t, 200);
	ck_assert_uint_eq(w.armed, 1);
	wheel_advance(&w, 150);
	ck_assert_uint_eq(probes[0].fired, 0);
	wheel_stop(&w, &probes[0].t);
	wheel_stop(&w, &probes[0].t);
	ck_assert_uint_eq(w.armed, 0);
	wheel_advance(&w, 400);
	ck_assert_uint_eq(probes[0].fired, 0);
}
END_TEST

START_TEST(every_distance_near_a_power_of_256_is_exact)
{
	static const msec bases[] = {1, 255, 256, 257, 65535, 65536, 65791, 16777215, 16777216};
	for (size_t b = 0; b < sizeof(bases) / sizeof(bases[0]); b++) {
		for (msec bit = 0; bit < 25; bit += bit < 18 ? 1 : 6) {
			for (msec d = 0; d < 3; d++) {
				msec distance = ((msec)1 << bit) + d;
				start(bases[b]);
				wheel_arm(&w, &probes[0].t, bases[b] + distance);
				wheel_advance(&w, bases[b] + distance - 1);
				ck_assert_uint_eq(probes[0].fired, 0);
				wheel_advance(&w, bases[b] + distance);
				ck_assert_uint_eq(probes[0].fired, 1);
			}
		}
	}
}
END_TEST

static msec random_distance(void)
{
	return 1 + rnd((uint64_t)1 << (1 + rnd(20)));
}

static void random_step(void)
{
	struct probe *p = &probes[rnd(TIMERS)];
	if (rnd(4) == 0) {
		wheel_stop(&w, &p->t);
		p->want = 0;
	} else {
		p->want = w.now + random_distance();
		wheel_arm(&w, &p->t, p->want);
	}
}

/* Check writes to a file for every assertion that holds: one for all of the timers. */
static size_t check_against_model(void)
{
	size_t armed = 0, wrong = 0;
	for (int i = 0; i < TIMERS; i++) {
		struct probe *p = &probes[i];
		bool due = p->want && p->want <= w.now;
		wrong += p->fired != due || (due && p->at != p->want);
		if (due)
			p->want = 0;
		p->fired = 0;
		armed += p->want != 0;
		wrong += wheel_armed(&p->t) != (p->want != 0);
	}
	ck_assert_uint_eq(wrong, 0);
	return armed;
}

START_TEST(random_arms_and_stops_agree_with_a_naive_model)
{
	for (seed = 1; seed < 9; seed++) {
		uint64_t keep = seed;
		start(1 + rnd(1 << 20));
		for (int round = 0; round < 1500; round++) {
			for (uint64_t n = rnd(12); n; n--)
				random_step();
			wheel_advance(&w, w.now + random_distance() / (1 + rnd(300)));
			ck_assert_uint_eq(check_against_model(), w.armed);
		}
		seed = keep;
	}
}
END_TEST

START_TEST(waiting_never_oversleeps_a_timer)
{
	seed = 77;
	start(1);
	ck_assert_int_eq(wheel_wait(&w, 1), -1);
	for (int round = 0; round < 2000; round++) {
		random_step();
		int64_t wait = wheel_wait(&w, w.now);
		msec next = 0;
		for (int i = 0; i < TIMERS; i++)
			if (probes[i].want && (!next || probes[i].want < next))
				next = probes[i].want;
		if (!next) {
			ck_assert_int_eq(wait, -1);
			continue;
		}
		ck_assert_int_ge(wait, 1);
		ck_assert_uint_le(w.now + (msec)wait, next);
		wheel_advance(&w, w.now + (msec)wait);
		check_against_model();
	}
	ck_assert_int_eq(wheel_wait(&w, w.now + 100000000), w.armed ? 0 : -1);
}
END_TEST

/* ---- what a callback may do ---- */

static void rearm_thrice(struct wheel_timer *t, msec now)
{
	struct probe *p = container_of(t, struct probe, t);
	p->at = now;
	if (++p->fired < 3)
		wheel_arm(&w, t, now + 10);
}

START_TEST(a_timer_may_arm_itself_again_when_it_fires)
{
	start(1);
	wheel_timer_init(&probes[0].t, rearm_thrice);
	wheel_arm(&w, &probes[0].t, 11);
	wheel_advance(&w, 1000);
	ck_assert_uint_eq(probes[0].fired, 3);
	ck_assert_uint_eq(probes[0].at, 31);
}
END_TEST

static void stop_the_others(struct wheel_timer *t, msec now)
{
	(void)t;
	(void)now;
	for (int i = 1; i < TIMERS; i++)
		wheel_stop(&w, &probes[i].t);
}

START_TEST(a_callback_may_stop_timers_that_are_due_in_the_same_tick)
{
	start(1);
	wheel_timer_init(&probes[0].t, stop_the_others);
	for (int i = 0; i < TIMERS; i++)
		wheel_arm(&w, &probes[i].t, 500);
	wheel_advance(&w, 1000);
	for (int i = 1; i < TIMERS; i++)
		ck_assert_uint_eq(probes[i].fired, 0);
	ck_assert_uint_eq(w.armed, 0);
}
END_TEST

static void arm_a_neighbour_now(struct wheel_timer *t, msec now)
{
	(void)t;
	wheel_arm(&w, &probes[1].t, now);
}

START_TEST(a_timer_armed_for_now_in_a_callback_fires_at_the_next_tick)
{
	start(1);
	wheel_timer_init(&probes[0].t, arm_a_neighbour_now);
	wheel_arm(&w, &probes[0].t, 500);
	wheel_advance(&w, 500);
	ck_assert_uint_eq(probes[1].fired, 0);
	wheel_advance(&w, 501);
	ck_assert_uint_eq(probes[1].fired, 1);
}
END_TEST

UNIT_MAIN("wheel", a_timer_fires_once_at_its_tick, a_timer_in_the_past_fires_one_tick_later,
	  arming_again_moves_a_timer_and_stopping_ends_it,
	  every_distance_near_a_power_of_256_is_exact,
	  random_arms_and_stops_agree_with_a_naive_model, waiting_never_oversleeps_a_timer,
	  a_timer_may_arm_itself_again_when_it_fires,
	  a_callback_may_stop_timers_that_are_due_in_the_same_tick,
	  a_timer_armed_for_now_in_a_callback_fires_at_the_next_tick)
