/*
 * Clocks that are apart are told of, once, and nothing else is: no delay, no stop, no older
 * node.
 */
#include "tests/unit/common/cluster/caught.h"
#include "tests/unit/common/cluster/tables.h"

#include "proto/cluster.pb-c.h"

static char text[65536];

static unsigned count(const char *what)
{
	unsigned n = 0;
	for (const char *at = text; (at = strstr(at, what)); at++)
		n++;
	return n;
}

/* Of how many events, all of them. */
static unsigned told_while_running(msec ms)
{
	int fd;
	FILE *f = log_catch(&fd);
	log_set_level(LOG_INFO);
	rig_run(ms);
	log_read(f, fd, text, sizeof(text));
	return count("event=clock-");
}

static bool about(int64_t clock_ms, int64_t ms)
{
	return clock_ms <= ms && clock_ms >= ms - 5;
}

START_TEST(clocks_that_are_apart_are_told_once_of_each_node_and_when_they_are_together)
{
	rig_begin(1);
	rig_meet(NODES);
	ck_assert(state_of(E1, A1).clock_ms == CLUSTER_CLOCK_UNKNOWN);
	ck_assert_uint_eq(told_while_running(12000), 0);
	ck_assert(state_of(E1, A1).clock_ms == 0 && state_of(A1, A2).clock_ms == 0);

	rig[A1].skew_ms = 1900;
	ck_assert_uint_eq(told_while_running(12000), 0);
	ck_assert(about(state_of(E1, A1).clock_ms, 1900));
	ck_assert(about(-state_of(A1, E1).clock_ms, 1900));

	rig[A1].skew_ms = 3000;
	ck_assert_uint_eq(told_while_running(60000), 2 * (NODES - 1));
	ck_assert_uint_eq(count("level=warn event=clock-apart node=a1 it_is=ahead ms=2999\n"),
			  NODES - 1);
	ck_assert_uint_eq(count("it_is=behind ms=2999\n"), NODES - 1);
	ck_assert_uint_eq(count("event=clock-apart node=e2 it_is=behind"), 1);
	ck_assert(about(state_of(E1, A1).clock_ms, 3000));
	ck_assert(about(-state_of(A1, E1).clock_ms, 3000));
	ck_assert(state_of(E1, A2).clock_ms == 0);

	rig[A1].skew_ms = 1500; /* neither */
	ck_assert_uint_eq(told_while_running(20000), 0);
	rig[A1].skew_ms = -1800; /* the other way round */
	ck_assert_uint_eq(told_while_running(20000), 0);
	ck_assert(about(-state_of(E1, A1).clock_ms, 1800));
	rig[A1].skew_ms = 0;
	ck_assert_uint_eq(told_while_running(20000), 2 * (NODES - 1));
	ck_assert_uint_eq(count("level=info event=clock-together node=a1\n"), NODES - 1);
	ck_assert(state_of(E1, A1).clock_ms == 0);
	rig_end();
}
END_TEST

START_TEST(no_delay_makes_clocks_look_apart)
{
	static const msec delay[][2] = {{1, 500}, {600, 900}, {2500, 2600}, {9000, 9100}};
	rig_begin(2);
	rig_meet(NODES);
	for (unsigned i = 0; i < 4; i++) {
		net.delay_min_ms = delay[i][0];
		net.delay_max_ms = delay[i][1];
		ck_assert_uint_eq(told_while_running(40000), 0);
		for (unsigned n = E2; n < NODES; n++)
			ck_assert(state_of(E1, n).clock_ms <= 0 &&
				  state_of(E1, n).clock_ms != INT64_MIN);
	}
	rig_end();
}
END_TEST

START_TEST(clocks_that_are_apart_are_told_over_a_line_with_delays_and_losses_too)
{
	rig_begin(3);
	rig_meet(NODES);
	net.delay_max_ms = 500;
	net.loss_permille = 50;
	rig[A1].skew_ms = -4000;
	told_while_running(60000);
	ck_assert_uint_eq(count("event=clock-apart node=a1 it_is=behind"), NODES - 1);
	ck_assert_uint_eq(count("event=clock-apart"), 2 * (NODES - 1));
	ck_assert(state_of(E1, A1).clock_ms < -3400);

	rig[A1].skew_ms = 0;
	told_while_running(30000);
	ck_assert_uint_eq(count("event=clock-together"), 2 * (NODES - 1));
	rig[A1].skew_ms = 2400; /* of one heartbeat alone it would be this or that */
	net.loss_permille = 0;
	net.delay_max_ms = 1500;
	ck_assert_uint_eq(told_while_running(60000), 2 * (NODES - 1));
	ck_assert_uint_eq(count("event=clock-apart"), 2 * (NODES - 1));
	rig_end();
}
END_TEST

START_TEST(who_stood_still_makes_nobody_look_apart)
{
	static const msec still[] = {300, 700, 3000, 10000, 60000};
	rig_begin(4);
	rig_meet(NODES);
	rig_run(6000);
	for (unsigned i = 0; i < 5; i++) {
		for (unsigned at = 0; at < 6000; at += 1500) {
			rig[A1].paused = true;
			ck_assert_uint_eq(told_while_running(still[i]), 0);
			rig[A1].paused = false;
			ck_assert_uint_eq(told_while_running(6000 + at), 0);
		}
		ck_assert(state_of(E1, A1).clock_ms == 0 && state_of(A1, E1).clock_ms == 0);
	}
	rig_end();
}
END_TEST

/* What a heartbeat of a1 says. */
static uint64_t says_wall_ms, says_ahead_ms;

static void as_told(Eaves__Heartbeat *h)
{
	h->wall_ms = says_wall_ms;
	h->ahead_ms = says_ahead_ms;
}

/* It hears us little. */
static void not_known(Eaves__Heartbeat *h)
{
	h->ahead_ms = 0;
}

static void (*says)(Eaves__Heartbeat *h);

static bool as_a1_says(unsigned from, unsigned to, struct span bytes)
{
	if (from != A1 || !says)
		return true;
	Eaves__Envelope *e = eaves__envelope__unpack(NULL, bytes.n, (const uint8_t *)bytes.p);
	MUST(e);
	if (e->body_case == EAVES__ENVELOPE__BODY_HEARTBEAT)
		says(e->heartbeat);
	static uint8_t message[CLUSTER_ADMIN_MAX_BYTES];
	size_t n = eaves__envelope__pack(e, message);
	eaves__envelope__free_unpacked(e, NULL);
	net_put(from, to, span_of((const char *)message, n));
	return false;
}

START_TEST(of_a_node_that_does_not_say_nothing_is_told)
{
	rig_begin(5);
	net.look = as_a1_says;
	says = as_told;
	says_wall_ms = says_ahead_ms = 0;
	rig_meet(NODES);
	rig[A1].skew_ms = 10000;
	ck_assert_uint_eq(told_while_running(20000), 0);
	ck_assert(state_of(E1, A1).clock_ms == CLUSTER_CLOCK_UNKNOWN);
	ck_assert(state_of(A1, E1).clock_ms == CLUSTER_CLOCK_UNKNOWN);
	ck_assert(state_of(E1, A2).clock_ms == 0);
	rig_end();
}
END_TEST

START_TEST(a_clock_that_is_none_is_apart_and_nothing_else)
{
	rig_begin(6);
	net.look = as_a1_says;
	says = as_told;
	says_wall_ms = UINT64_MAX;
	says_ahead_ms = 1;
	rig_meet(NODES);
	ck_assert_uint_eq(told_while_running(20000), 2 * (NODES - 1));
	ck_assert(state_of(E1, A1).clock_ms > 0);
	says_wall_ms = 1;
	says_ahead_ms = UINT64_MAX;
	told_while_running(20000);
	ck_assert_uint_eq(count("event=clock-"), 2 * (NODES - 1));
	ck_assert_uint_eq(count("node=a1 it_is=behind"), NODES - 1);
	ck_assert_uint_eq(count("event=clock-together"),
			  NODES - 1); /* of a1's own, as it sees */
	ck_assert(state_of(E1, A1).clock_ms < 0 && cluster_alive(rig[E1].c, A1));
	rig_end();
}
END_TEST

START_TEST(a_clock_that_turns_to_the_other_side_is_told_again)
{
	rig_begin(8);
	rig_meet(NODES);
	rig[A1].skew_ms = 3000;
	ck_assert_uint_eq(told_while_running(12000), 2 * (NODES - 1));
	rig[A1].skew_ms = -600000;
	ck_assert_uint_eq(told_while_running(60000), 2 * (NODES - 1));
	ck_assert_uint_eq(count("event=clock-apart node=a1 it_is=behind ms=599999\n"),
			  NODES - 1);
	rig[A1].skew_ms = 1500; /* not to be told of, and not together */
	ck_assert_uint_eq(told_while_running(20000), 0);
	rig_end();
}
END_TEST

START_TEST(what_was_seen_long_ago_is_not_told_when_the_other_one_knows)
{
	rig_begin(9);
	net.look = as_a1_says;
	says = not_known;
	rig[A1].skew_ms = 10000;
	rig_meet(NODES);
	told_while_running(10000);
	rig[A1].skew_ms = 0;
	told_while_running(20000);
	says = NULL;
	ck_assert_uint_eq(told_while_running(20000), 0);
	ck_assert(state_of(E1, A1).clock_ms == 0);
	rig_end();
}
END_TEST

START_TEST(a_new_life_begins_a_new_look_and_is_not_told_of_again)
{
	rig_begin(7);
	rig_meet(NODES);
	rig[A1].skew_ms = 5000;
	ck_assert_uint_eq(told_while_running(12000), 2 * (NODES - 1));
	rig_kill(A1);
	rig_start(A1);
	RIG_UNTIL(cluster_alive(rig[E1].c, A1), 10);
	ck_assert(state_of(E1, A1).clock_ms == CLUSTER_CLOCK_UNKNOWN);
	told_while_running(12000);
	ck_assert_uint_eq(count("node=a1 it_is=ahead"), 0);
	ck_assert_uint_eq(count("it_is=behind"), NODES - 1); /* it is new to a1 */
	ck_assert(about(state_of(E1, A1).clock_ms, 5000));
	rig_end();
}
END_TEST

UNIT_MAIN("common/cluster clock",
	  clocks_that_are_apart_are_told_once_of_each_node_and_when_they_are_together,
	  no_delay_makes_clocks_look_apart,
	  clocks_that_are_apart_are_told_over_a_line_with_delays_and_losses_too,
	  who_stood_still_makes_nobody_look_apart, of_a_node_that_does_not_say_nothing_is_told,
	  a_clock_that_is_none_is_apart_and_nothing_else,
	  a_clock_that_turns_to_the_other_side_is_told_again,
	  what_was_seen_long_ago_is_not_told_when_the_other_one_knows,
	  a_new_life_begins_a_new_look_and_is_not_told_of_again)
