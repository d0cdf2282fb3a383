/*
 * Which member of a pair goes on with the calls when the two do not hear of each other
 * (pair.c), and whose nonces are good.  What the edges say is test_witness.c's.
 */
#include "tests/unit/home/pair.h"

START_TEST(who_hears_an_edge_after_its_partner_died_takes_over)
{
	begin();
	rig_kill(A2);
	msec died = net_now;
	RIG_UNTIL(member[A1].adopted[A2], 3000);
	/* Not before an edge was heard later than the partner was lost for sure. */
	ck_assert_uint_ge(member[A1].at, died + LATE_MS);
	ck_assert_uint_le(member[A1].at, died + LATE_MS + BEAT_MS + LOOK_MS + 1);
	ck_assert_uint_eq(member[A1].let_go, 0);
	rig_run(20000);
	ck_assert_uint_eq(member[A1].adopted[A2], 1);
	end();
}
END_TEST

START_TEST(who_is_cut_off_lets_go_and_the_other_takes_over)
{
	for (unsigned told = 0; told < 2; told++) {
		begin();
		rig_cut(1 << A1, edges | 1 << A2, true, told);
		RIG_UNTIL(member[A1].let_go && member[A2].adopted[A1], 5000);
		rig_run(20000);
		for (unsigned k = 0; k < NODES; k++)
			ck_assert_uint_eq(member[A1].adopted[k], 0);
		ck_assert_uint_eq(member[A1].let_go, 1);
		ck_assert_uint_eq(member[A2].adopted[A1], 1);
		ck_assert_uint_eq(member[A2].let_go, 0);
		end();
	}
}
END_TEST

START_TEST(an_edge_that_only_seems_to_live_does_not_count)
{
	begin();
	/* One cut: the other member's connection breaks, the edges fall silent. */
	rig_cut(1 << A1, edges, true, false);
	rig_cut(1 << A1, 1 << A2, true, true);
	rig_run(DEAD_MS - 100);
	ck_assert(cluster_alive(rig[A1].c, E1) && !cluster_alive(rig[A1].c, A2));
	rig_run(20000);
	for (unsigned k = 0; k < NODES; k++)
		ck_assert_uint_eq(member[A1].adopted[k], 0);
	ck_assert_uint_eq(member[A1].let_go, 1);
	ck_assert_uint_eq(member[A2].adopted[A1], 1);
	end();
}
END_TEST

START_TEST(who_comes_back_waits_for_its_partner_before_it_takes_over)
{
	begin();
	rig_cut(1 << A1, edges | 1 << A2, true, true);
	RIG_UNTIL(member[A2].adopted[A1], 5000);
	rig_run(3000);
	forget();
	/* The edges are first; half a second later the bus has the other member again. */
	rig_cut(1 << A1, edges, false, true);
	RIG_UNTIL(cluster_alive(rig[A1].c, E1), 1000);
	rig_run(500);
	ck_assert(untouched(A1));
	rig_cut(1 << A1, 1 << A2, false, true);
	rig_run(20000);
	ck_assert(untouched(A1) && untouched(A2));
	end();
}
END_TEST

START_TEST(who_comes_back_and_has_no_partner_takes_over_in_the_end)
{
	begin();
	rig_cut(1 << A1, edges | 1 << A2, true, true);
	RIG_UNTIL(member[A2].adopted[A1], 5000);
	rig_kill(A2); /* with what it had taken over */
	rig_run(3000);
	forget();
	rig_cut(1 << A1, edges, false, true);
	RIG_UNTIL(cluster_alive(rig[A1].c, E1), 1000);
	msec back = net_now;
	RIG_UNTIL(member[A1].adopted[A2], 10000);
	ck_assert_uint_ge(member[A1].at, back + APP_RETURN_MS - 1000);
	ck_assert_uint_eq(member[A1].let_go, 0);
	rig_run(20000);
	ck_assert_uint_eq(member[A1].adopted[A2], 1);
	end();
}
END_TEST

START_TEST(who_was_alone_long_before_it_was_cut_off_keeps_its_calls)
{
	begin();
	rig_kill(A2);
	RIG_UNTIL(member[A1].adopted[A2], 3000);
	rig_run(20000);
	forget();
	rig_cut(1 << A1, edges, true, true);
	rig_run(5000);
	ck_assert_uint_eq(member[A1].let_go, 0); /* nobody else has them */
	end();
}
END_TEST

START_TEST(a_partner_that_is_back_at_once_keeps_its_calls)
{
	begin();
	rig_cut(1 << A1, 1 << A2, true, true); /* a connection breaks */
	rig_run(LATE_MS / 2);
	rig_cut(1 << A1, 1 << A2, false, true);
	rig_run(20000);
	ck_assert(untouched(A1) && untouched(A2));
	end();
}
END_TEST

/* Links break, and the bus goes on. */
static void suspect_edges(unsigned i)
{
	cluster_suspect(rig[i].c, E1);
	cluster_suspect(rig[i].c, E2);
	ck_assert(!cluster_alive(rig[i].c, E1) && !cluster_alive(rig[i].c, E2));
}

START_TEST(who_hears_of_the_edges_lets_go_of_nothing_because_of_links)
{
	begin();
	rig_kill(A2);
	rig_run(10);
	ck_assert(!cluster_alive(rig[A1].c, A2));
	suspect_edges(A1);
	RIG_UNTIL(member[A1].adopted[A2], 3000);
	rig_run(20000);
	ck_assert_uint_eq(member[A1].let_go, 0);
	end();
}
END_TEST

START_TEST(whose_links_break_first_is_cut_off_when_the_bus_says_so)
{
	begin();
	suspect_edges(A1);
	rig_cut(1 << A1, edges | 1 << A2, true, true);
	rig_run(20000);
	ck_assert_uint_eq(member[A1].let_go, 1);
	ck_assert_uint_eq(member[A1].adopted[A2], 0);
	end();
}
END_TEST

START_TEST(of_a_partner_that_is_only_suspected_nothing_is_taken_over)
{
	begin();
	/* Its next heartbeat is awaited for longer than an edge's word is. */
	for (unsigned k = 0; k < 100; k++) {
		cluster_suspect(rig[A1].c, A2);
		rig_run(10);
	}
	ck_assert(untouched(A1));
	rig_run(20000);
	ck_assert(untouched(A1) && untouched(A2));
	end();
}
END_TEST

/* Nonces that are older are asked for anew. */
static uint64_t since(unsigned i)
{
	return atomic_load(&member[i].home.auth->since_ms);
}

START_TEST(who_was_just_started_takes_no_nonces_of_before)
{
	begin();
	rig[A2].paused = true; /* it is not heard to die */
	rig_run(2 * DEAD_MS);
	rig_kill(A2);
	rig[A2].paused = false;
	auth_free(member[A2].home.auth);
	uint64_t started = time_wall_ms();
	serve(A2);
	RIG_UNTIL(cluster_alive(rig[A2].c, A1) && cluster_alive(rig[A1].c, A2), 3000);
	rig_run(2000);
	ck_assert_uint_ge(since(A2), started);
	/* Who have been apart tell each other, and take what is no older than a repeat. */
	rig_cut(1 << A1, 1 << A2, true, true);
	RIG_UNTIL(!cluster_alive(rig[A2].c, A1) && !cluster_alive(rig[A1].c, A2), 3000);
	rig_run(60000);
	rig_cut(1 << A1, 1 << A2, false, true);
	RIG_UNTIL(cluster_alive(rig[A2].c, A1) && cluster_alive(rig[A1].c, A2), 3000);
	rig_run(100);
	ck_assert_uint_gt(since(A2), started);
	ck_assert_uint_lt(since(A2), time_wall_ms() - 30000);
	end();
}
END_TEST

/* One use, the first or another one, of a nonce that an edge made at that time. */
static enum replay_result use_at(unsigned i, uint64_t made_ms)
{
	const struct nonce n = {.time_ms = made_ms, .instance = 5, .serial = (uint32_t)made_ms};
	struct auth *a = member[i].home.auth;
	static uint64_t digest; /* each is another request */
	const struct replay_use use = {.nc = 1, .digest = ++digest, .wall_ms = time_wall_ms()};
	enum replay_result r = replay_mark(a->replay, &n, &use);
	if (r == REPLAY_NEW)
		auth_tell(a, &n, &use);
	return r;
}

/* It is taken at i: a replay, if it was taken before. */
static bool is_taken(unsigned i, uint64_t made_ms)
{
	return made_ms >= since(i) && use_at(i, made_ms) == REPLAY_NEW;
}

static void restart(unsigned i)
{
	if (rig_up(i))
		rig_kill(i);
	auth_free(member[i].home.auth);
	serve(i);
}

static bool have_met(void)
{
	return cluster_alive(rig[A2].c, A1) && cluster_alive(rig[A1].c, A2);
}

/* Cut off, or stopped: the first does not know that the other was started anew meanwhile. */
START_TEST(what_a_restarted_member_took_alone_the_other_does_not_take_when_it_is_back)
{
	for (unsigned stopped = 0; stopped < 2; stopped++) {
		begin();
		if (stopped)
			rig[A1].paused = true;
		else
			rig_cut(1 << A1, edges | 1 << A2, true, false);
		rig_run(2 * DEAD_MS);
		uint64_t before = time_wall_ms();
		ck_assert(is_taken(A2, before)); /* and nobody knows any more */
		rig_run(10);
		restart(A2);
		rig_run(100);
		uint64_t alone = time_wall_ms();
		ck_assert(is_taken(A2, alone));
		rig_run(5000);
		if (stopped)
			rig[A1].paused = false;
		else
			rig_cut(1 << A1, edges | 1 << A2, false, true);
		RIG_UNTIL(have_met(), 3000);
		rig_run(100);
		ck_assert(!is_taken(A1, before));
		ck_assert(!is_taken(A1, alone));
		ck_assert(is_taken(A1, time_wall_ms()));
		end();
	}
}
END_TEST

/* A phone whose connection went with it repeats its request to the other one a second later. */
START_TEST(who_heard_the_other_die_goes_on_taking_its_nonces)
{
	for (unsigned silent = 0; silent < 2; silent++) {
		begin();
		uint64_t before = time_wall_ms();
		rig_run(100);
		if (silent) { /* a machine without power: it may have been alone first */
			rig[A2].paused = true;
			rig_run(2 * DEAD_MS);
		}
		rig_kill(A2);
		rig[A2].paused = false;
		rig_run(900);
		restart(A2);
		RIG_UNTIL(have_met(), 3000);
		rig_run(100);
		ck_assert(is_taken(A1, before) == !silent);
		rig_run(100);
		ck_assert(!is_taken(A2, before));
		end();
	}
}
END_TEST

/* It may be the next to be left alone, with a request that the other one has let through and
 * had no time to tell of. */
START_TEST(who_was_just_started_takes_what_the_other_knows_all_uses_of)
{
	begin();
	uint64_t used = time_wall_ms();
	rig_run(10);
	uint64_t told = time_wall_ms();
	rig_run(10);
	uint64_t fresh = time_wall_ms();
	ck_assert(is_taken(A1, used) && is_taken(A2, told));
	rig_run(100);
	restart(A2);
	RIG_UNTIL(have_met(), 3000);
	rig_run(100);
	ck_assert(is_taken(A2, fresh) && !is_taken(A2, used) && !is_taken(A2, told));
	rig_run(100);
	ck_assert(!is_taken(A1, fresh));
	ck_assert_uint_le(since(A2), fresh);
	rig_run(33000); /* not of longer ago than a repeat takes */
	restart(A1);
	RIG_UNTIL(have_met(), 3000);
	rig_run(100);
	ck_assert_uint_gt(since(A1), fresh);
	end();
}
END_TEST

/* At each moment of a member's start, and of its meeting with the other. */
START_TEST(what_is_taken_while_the_other_starts_it_does_not_take)
{
	enum { TIMES = 60, STEP_MS = 5 };
	uint64_t made[TIMES], met = 0;
	for (unsigned slow = 0; slow < 2; slow++) {
		begin();
		met = 0;
		net.delay_min_ms = slow ? 40 : 1;
		net.delay_max_ms = slow ? 90 : 1;
		rig_kill(A2);
		rig_run(20);
		uint64_t before = time_wall_ms();
		ck_assert(is_taken(A1, before));
		rig_run(1);
		restart(A2);
		for (unsigned i = 0; i < TIMES; i++) {
			made[i] = time_wall_ms();
			ck_assert(use_at(A1, made[i]) == REPLAY_NEW);
			rig_run(STEP_MS);
			if (met || !cluster_alive(rig[A2].c, A1))
				continue;
			met = made[i];
			if (slow) /* it cannot have been told yet */
				ck_assert_uint_ge(since(A2), met);
		}
		ck_assert_uint_ne(met, 0);
		RIG_UNTIL(have_met(), 3000);
		rig_run(500);
		ck_assert(!is_taken(A2, before));
		for (unsigned i = 0; i < TIMES; i++)
			ck_assert_msg(!is_taken(A2, made[i]), "%u ms after the start",
				      i * STEP_MS);
		net.delay_min_ms = net.delay_max_ms = 1;
		end();
	}
}
END_TEST

START_TEST(what_both_took_while_they_were_apart_neither_takes_after_it)
{
	static const msec lengths[] = {100, 5000, 200000};
	for (unsigned i = 0; i < 3; i++) {
		begin();
		rig_run(1000);
		rig[A2].skew_ms = 3000;
		uint64_t first = time_wall_ms();
		rig_cut(1 << A1, 1 << A2, true, true);
		rig_run(lengths[i] / 2);
		uint64_t second = time_wall_ms();
		ck_assert(is_taken(A1, first) && is_taken(A2, second));
		rig_run(lengths[i] / 2);
		rig_cut(1 << A1, 1 << A2, false, true);
		RIG_UNTIL(have_met(), 3000);
		rig_run(100);
		ck_assert(!is_taken(A2, first) && !is_taken(A1, second));
		ck_assert(!is_taken(A1, first) && !is_taken(A2, second));
		end();
	}
}
END_TEST

START_TEST(of_two_members_one_is_active)
{
	begin();
	for (unsigned i = A1; i <= A2; i++)
		cluster_set_draining(rig[i].c, false);
	rig_run(1000);
	ck_assert_uint_eq(home_is_active(&member[A1].home) + home_is_active(&member[A2].home),
			  1);
	unsigned active = home_is_active(&member[A1].home) ? A1 : A2, other = A1 + A2 - active;
	cluster_set_draining(rig[active].c, true);
	rig_run(1000);
	ck_assert(!home_is_active(&member[active].home));
	ck_assert(home_is_active(&member[other].home));
	rig_kill(active);
	rig_run(2000);
	ck_assert(home_is_active(&member[other].home));
	end();
}
END_TEST

START_TEST(what_is_rebuilt_here_is_let_go_by_the_partner_alone)
{
	static const char key[8] = {1};
	begin();
	home_tell_rebuilt(&member[A1].home, 5);
	home_tell_rebuilt(&member[A1].home, 7);
	RIG_UNTIL(member[A2].let_go_plain == 12, 1000);
	ck_assert_uint_eq(member[A1].let_go_plain, 0);
	home_notice(&member[A2].home, E1, APP_NOTICE_REBUILT, span_of(key, sizeof(key)));
	home_notice(&member[A2].home, A1, APP_NOTICE_REBUILT, span_of(key, sizeof(key) - 1));
	ck_assert_uint_eq(member[A2].let_go_plain, 12);
	rig_kill(A2);
	rig_run(2 * DEAD_MS);
	home_tell_rebuilt(&member[A1].home, 5); /* to nobody */
	rig_run(DEAD_MS);
	end();
}
END_TEST

UNIT_MAIN("home pair", who_hears_an_edge_after_its_partner_died_takes_over,
	  who_is_cut_off_lets_go_and_the_other_takes_over,
	  an_edge_that_only_seems_to_live_does_not_count,
	  who_comes_back_waits_for_its_partner_before_it_takes_over,
	  who_comes_back_and_has_no_partner_takes_over_in_the_end,
	  who_was_alone_long_before_it_was_cut_off_keeps_its_calls,
	  a_partner_that_is_back_at_once_keeps_its_calls,
	  who_hears_of_the_edges_lets_go_of_nothing_because_of_links,
	  whose_links_break_first_is_cut_off_when_the_bus_says_so,
	  of_a_partner_that_is_only_suspected_nothing_is_taken_over,
	  who_was_just_started_takes_no_nonces_of_before,
	  what_a_restarted_member_took_alone_the_other_does_not_take_when_it_is_back,
	  who_heard_the_other_die_goes_on_taking_its_nonces,
	  who_was_just_started_takes_what_the_other_knows_all_uses_of,
	  what_is_taken_while_the_other_starts_it_does_not_take,
	  what_both_took_while_they_were_apart_neither_takes_after_it,
	  of_two_members_one_is_active, what_is_rebuilt_here_is_let_go_by_the_partner_alone)
