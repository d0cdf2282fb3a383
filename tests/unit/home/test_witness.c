/*
 * The edges say whom they hear: a home that has lost its partner takes over its calls, or
 * leaves them to it where it lives (pair.c).
 */
#include "proto/cluster.pb-c.h"
#include "tests/unit/home/pair.h"

/* Both are found dead in the same round of heartbeats, by the edges too. */
START_TEST(who_falls_silent_is_taken_over_from_as_soon)
{
	begin();
	rig[A2].paused = true;
	RIG_UNTIL(!cluster_alive(rig[A1].c, A2), 1000);
	msec dead = net_now;
	RIG_UNTIL(member[A1].adopted[A2], 3000);
	ck_assert_uint_le(member[A1].at, dead + LATE_MS + BEAT_MS + LOOK_MS + 1);
	rig[A2].paused = false;
	end();
}
END_TEST

START_TEST(in_a_cut_between_the_two_alone_each_keeps_its_calls)
{
	for (unsigned told = 0; told < 2; told++) {
		begin();
		rig_cut(1 << A1, 1 << A2, true, told);
		rig_run(60000);
		ck_assert(!cluster_alive(rig[A1].c, A2) && !cluster_alive(rig[A2].c, A1));
		ck_assert(untouched(A1) && untouched(A2));
		rig_cut(1 << A1, 1 << A2, false, true);
		rig_run(20000);
		ck_assert(cluster_alive(rig[A1].c, A2) && cluster_alive(rig[A2].c, A1));
		ck_assert(untouched(A1) && untouched(A2));
		end();
	}
}
END_TEST

START_TEST(who_dies_while_the_two_do_not_hear_each_other_is_taken_over_from)
{
	begin();
	rig_cut(1 << A1, 1 << A2, true, true);
	rig_run(10000);
	ck_assert(untouched(A1));
	rig_kill(A2);
	RIG_UNTIL(member[A1].adopted[A2], LOOK_MS + 2);
	rig_run(20000);
	ck_assert_uint_eq(member[A1].adopted[A2], 1);
	ck_assert_uint_eq(member[A1].let_go, 0);
	end();
}
END_TEST

START_TEST(one_edge_that_hears_the_partner_is_enough)
{
	begin();
	rig_cut(1 << A1, 1 << A2, true, true);
	rig_cut(1 << E1, 1 << A2, true, true);
	rig_run(20000);
	ck_assert(untouched(A1) && untouched(A2));
	rig_kill(E2); /* and its word goes with it */
	RIG_UNTIL(member[A1].adopted[A2], LOOK_MS + 2);
	rig_run(20000);
	ck_assert_uint_eq(member[A1].adopted[A2], 1);
	end();
}
END_TEST

/* As a version does that says nothing of whom it hears. */
static int send_as_before(void *arg, unsigned node, struct span bytes)
{
	struct rig_node *n = arg;
	Eaves__Envelope *e = eaves__envelope__unpack(NULL, bytes.n, (const uint8_t *)bytes.p);
	ck_assert_ptr_nonnull(e);
	if (e->body_case == EAVES__ENVELOPE__BODY_HEARTBEAT)
		e->heartbeat->hears = 0;
	uint8_t *p = malloc(bytes.n + 1);
	ck_assert_ptr_nonnull(p);
	size_t size = eaves__envelope__pack(e, p);
	net_carry(n->index, node, span_of((const char *)p, size));
	free(p);
	eaves__envelope__free_unpacked(e, NULL);
	return 0;
}

static void begin_with_older(unsigned older)
{
	rig_begin(1);
	for (unsigned i = E1; i <= E2; i++) {
		if (older & 1u << i)
			rig[i].ops.send = send_as_before;
		rig_start(i);
	}
	serve(A1);
	serve(A2);
	RIG_UNTIL(all_equal(), 3000);
	rig_run(2 * DEAD_MS);
	forget();
}

START_TEST(edges_of_an_older_version_are_no_witnesses)
{
	begin_with_older(edges);
	rig_cut(1 << A1, 1 << A2, true, true);
	RIG_UNTIL(member[A1].adopted[A2] && member[A2].adopted[A1], 5000);
	ck_assert_uint_eq(member[A1].let_go + member[A2].let_go, 0);
	end();
	begin_with_older(1 << E2);
	rig_cut(1 << A1, 1 << A2, true, true);
	rig_kill(E1); /* the one that said so */
	RIG_UNTIL(member[A1].adopted[A2] && member[A2].adopted[A1], 5000);
	end();
}
END_TEST

START_TEST(one_edge_that_says_so_is_enough_beside_an_older_one)
{
	begin_with_older(1 << E2);
	rig_cut(1 << A1, 1 << A2, true, false);
	rig_run(20000);
	ck_assert(untouched(A1) && untouched(A2));
	rig_kill(A2);
	RIG_UNTIL(member[A1].adopted[A2], 1000);
	end();
}
END_TEST

UNIT_MAIN("home witness", who_falls_silent_is_taken_over_from_as_soon,
	  in_a_cut_between_the_two_alone_each_keeps_its_calls,
	  who_dies_while_the_two_do_not_hear_each_other_is_taken_over_from,
	  one_edge_that_hears_the_partner_is_enough, edges_of_an_older_version_are_no_witnesses,
	  one_edge_that_says_so_is_enough_beside_an_older_one)
