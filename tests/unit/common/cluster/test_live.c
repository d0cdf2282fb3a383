/*
 * Who lives: hellos, heartbeats, silence, broken connections, restarts, strangers; members of
 * pairs.
 */
#include "tests/unit/common/cluster/tables.h"

#define ALIVE(a, b) cluster_alive(rig[a].c, b)

START_TEST(nodes_that_are_connected_are_alive_after_their_hello)
{
	rig_begin(1);
	rig_start_all(NODES);
	ck_assert(!ALIVE(E1, A1) && ALIVE(E1, E1));
	ck_assert_uint_eq(state_of(E1, A1).silent_ms, UINT64_MAX);
	RIG_UNTIL(ALIVE(E1, A1) && ALIVE(A1, E1) && ALIVE(A1, A2), 10);
	ck_assert_uint_eq(rig[E1].changes, NODES - 1);
	ck_assert(cluster_serving(rig[E1].c, A1));
	ck_assert(!cluster_alive(rig[E1].c, NODES));
	rig_run(2000);
	ck_assert_uint_eq(rig[E1].changes, NODES - 1);
	ck_assert_uint_lt(state_of(E1, A1).silent_ms, 260);
	ck_assert_uint_eq(state_of(E1, A1).version, cluster_protocol());
	rig_end();
}
END_TEST

START_TEST(a_node_that_falls_silent_is_dead_within_dead_ms)
{
	rig_begin(2);
	rig_meet(NODES);
	rig[A1].paused = true;
	msec took = RIG_UNTIL(!ALIVE(E1, A1), 2000);
	ck_assert_uint_ge(took, 500);
	ck_assert_uint_le(took, 760);
	ck_assert(ALIVE(E1, A2) && ALIVE(A2, E1));
	rig[A1].paused = false;
	RIG_UNTIL(ALIVE(E1, A1), 300);
	rig_end();
}
END_TEST

START_TEST(who_was_stopped_itself_does_not_take_the_others_for_dead)
{
	rig_begin(3);
	rig_meet(NODES);
	unsigned before = rig[A1].changes;
	rig[A1].paused = true;
	rig_run(400);
	rig[A1].paused = false; /* not long enough for the others */
	rig_run(1000);
	ck_assert_uint_eq(rig[A1].changes, before);
	rig[A1].paused = true;
	rig_run(5000);
	ck_assert(!ALIVE(E1, A1));
	/* Its timers run before it has read what waits. */
	rig[A1].paused = false;
	rig_round(&rig[A1]);
	ck_assert(ALIVE(A1, E1) && ALIVE(A1, A2));
	RIG_UNTIL(ALIVE(E1, A1), 300);
	ck_assert_uint_eq(rig[A1].changes, before);
	rig_end();
}
END_TEST

START_TEST(a_broken_connection_is_a_death_at_once)
{
	rig_begin(4);
	rig_meet(NODES);
	rig_connected(E1, A1, false);
	ck_assert(!ALIVE(E1, A1) && !ALIVE(A1, E1) && ALIVE(E2, A1));
	rig_run(1000); /* what is heard without a connection does not count */
	ck_assert(!ALIVE(E1, A1));
	rig_connected(E1, A1, true);
	RIG_UNTIL(ALIVE(E1, A1) && ALIVE(A1, E1), 10);
	rig_end();
}
END_TEST

START_TEST(a_suspect_is_dead_until_it_is_heard_anew)
{
	rig_begin(5);
	rig_meet(NODES);
	rig_run(10);
	unsigned before = rig[E1].changes;
	uint64_t stream = counters_of(E1).compared;
	cluster_suspect(rig[E1].c, A1);
	cluster_suspect(rig[E1].c, A1);
	cluster_suspect(rig[E1].c, E1);
	cluster_suspect(rig[E1].c, 1000);
	ck_assert(!ALIVE(E1, A1) && ALIVE(E1, E1));
	rig_settle();
	ck_assert_uint_eq(rig[E1].changes, before + 1);
	RIG_UNTIL(ALIVE(E1, A1), 260);
	ck_assert_uint_eq(rig[E1].changes, before + 2);
	ck_assert(state_of(E1, A1).equal); /* its stream went on all the time */
	ck_assert_uint_le(counters_of(E1).compared, stream + 10);
	rig_end();
}
END_TEST

START_TEST(that_a_suspect_is_not_heard_of_either_is_told)
{
	rig_begin(5);
	rig_meet(NODES);
	rig_run(10);
	unsigned before = rig[E1].changes;
	cluster_suspect(rig[E1].c, A1);
	rig_settle();
	ck_assert_uint_eq(rig[E1].changes, before + 1);
	ck_assert(!state_of(E1, A1).alive && state_of(E1, A1).suspected);
	rig_connected(E1, A1, false);
	ck_assert_uint_eq(rig[E1].changes, before + 2);
	ck_assert(!state_of(E1, A1).alive && !state_of(E1, A1).suspected);
	rig_end();
}
END_TEST

START_TEST(a_restart_is_a_death_and_a_life)
{
	rig_begin(6);
	rig_meet(NODES);
	rig_run(10);
	unsigned before = rig[E1].changes;
	rig_kill(A1);
	ck_assert(!ALIVE(E1, A1));
	rig_start(A1);
	RIG_UNTIL(ALIVE(E1, A1), 10);
	ck_assert_uint_eq(rig[E1].changes, before + 2);
	rig_end();
}
END_TEST

static char kept[65536];
static size_t kept_n;

static bool keep_from_a1(unsigned from, unsigned to, struct span bytes)
{
	if (from == A1 && to == E1 && bytes.n < sizeof(kept)) {
		memcpy(kept, bytes.p, bytes.n);
		kept_n = bytes.n;
	}
	return true;
}

START_TEST(what_a_process_said_before_it_died_makes_nobody_alive)
{
	rig_begin(7);
	rig_meet(NODES);
	net.look = keep_from_a1;
	rig_run(300);
	net.look = NULL;
	ck_assert_uint_gt(kept_n, 0);
	rig_kill(A1);
	rig_start(A1);
	RIG_UNTIL(ALIVE(E1, A1), 10);
	rig[A1].paused = true;
	for (unsigned i = 0; i < 100; i++) {
		rig_run(20);
		cluster_receive(rig[E1].c, A1, span_of(kept, kept_n));
	}
	ck_assert(!ALIVE(E1, A1));
	rig_end();
}
END_TEST

START_TEST(draining_and_load_are_told)
{
	rig_begin(8);
	rig_meet(NODES);
	unsigned before = rig[E1].changes;
	cluster_set_load(rig[A1].c, 17, 250);
	cluster_set_draining(rig[A1].c, true);
	RIG_UNTIL(!cluster_serving(rig[E1].c, A1), 5);
	ck_assert(ALIVE(E1, A1) && !cluster_serving(rig[A1].c, A1));
	ck_assert_uint_eq(rig[E1].changes, before + 1);
	ck_assert_uint_eq(state_of(E1, A1).calls, 17);
	ck_assert_uint_eq(state_of(E1, A1).cpu_permille, 250);
	ck_assert(state_of(E1, A1).draining && state_of(A1, A1).draining);
	cluster_set_draining(rig[A1].c, false);
	RIG_UNTIL(cluster_serving(rig[E1].c, A1), 260);
	before = rig[E1].changes;
	for (unsigned i = 0; i < 1000; i++) { /* it does not know what it wants */
		cluster_set_draining(rig[A1].c, i % 2);
		rig_run(1);
	}
	ck_assert_uint_le(rig[E1].changes - before, 6);
	rig_end();
}
END_TEST

#define WORD(at, edge, of) cluster_word_of(rig[at].c, edge, of)

START_TEST(an_edge_says_at_once_whom_it_hears_no_more)
{
	for (unsigned silent = 0; silent < 2; silent++) {
		rig_begin(17);
		rig_meet(NODES);
		rig_run(300); /* a heartbeat of each */
		for (unsigned i = E1; i < NODES; i++)
			ck_assert_uint_eq(WORD(A1, E1, i), CLUSTER_HEARS);
		rig_run(100);
		if (silent) {
			rig[A2].paused = true;
			RIG_UNTIL(!ALIVE(E1, A2), 1000);
			rig[A2].paused = false; /* it is not heard by then */
		}
		rig_kill(A2);
		rig_run(2);
		ck_assert_uint_eq(WORD(A1, E1, A2), CLUSTER_HEARS_NOT);
		ck_assert_uint_eq(WORD(B1, E1, A2), CLUSTER_HEARS_NOT);
		ck_assert_uint_eq(WORD(B1, E1, A1), CLUSTER_HEARS);
		rig_start(A2);
		RIG_UNTIL(ALIVE(E1, A2), 20);
		rig_run(2);
		ck_assert_uint_eq(WORD(A1, E1, A2), CLUSTER_HEARS);
		rig_end();
	}
}
END_TEST

static void addresses(unsigned edge, uint32_t first, uint32_t last)
{
	uint32_t at[CLUSTER_LISTENERS_MAX] = {[0] = first, [CLUSTER_LISTENERS_MAX - 1] = last};
	cluster_set_addresses(rig[edge].c, at);
	rig_run(2);
}

static unsigned at_address(unsigned node, unsigned edge, unsigned listener)
{
	int other = -1;
	return cluster_moved(rig[node].c, edge, &other) >> listener & 1 ? (unsigned)other
									: edge;
}

#define AT(edge, listener) at_address(A1, edge, listener)

/* Both have the address V, each one of its own beside. */
START_TEST(an_edge_says_at_once_whether_its_address_is_here)
{
	enum { V = 0x89abcd00, OWN1 = 0x1234, OWN2 = 0x4320, HERE = 1 };
	enum { FIRST, LAST = CLUSTER_LISTENERS_MAX - 1 };
	rig_begin(17);
	rig_meet(NODES);
	rig_run(300);
	ck_assert_uint_eq(AT(E1, FIRST), E1); /* nobody has said anything */
	addresses(E1, V | HERE, OWN1 | HERE);
	addresses(E2, V, OWN2 | HERE);
	ck_assert_uint_eq(AT(E1, FIRST), E1);
	ck_assert_uint_eq(AT(E2, FIRST), E1);
	ck_assert_uint_eq(AT(E2, LAST), E2);
	addresses(E1, V, OWN1); /* nobody knows where it is */
	ck_assert_uint_eq(AT(E1, FIRST), E1);
	ck_assert_uint_eq(AT(E2, FIRST), E2);
	ck_assert_uint_eq(AT(E1, LAST), E1); /* the other one has another */
	addresses(E2, V | HERE, OWN2 | HERE);
	ck_assert_uint_eq(AT(E1, FIRST), E2);
	ck_assert_uint_eq(AT(E2, FIRST), E2);
	ck_assert_uint_eq(at_address(B2, E1, FIRST), E2);
	cluster_set_draining(rig[E2].c, true); /* the address will follow */
	rig_run(2);
	ck_assert_uint_eq(AT(E1, FIRST), E1);
	rig_end();
}
END_TEST

START_TEST(a_link_that_broke_has_an_edge_hear_no_less)
{
	rig_begin(18);
	rig_meet(NODES);
	rig_run(300);
	for (unsigned i = 0; i < 40; i++) {
		cluster_suspect(rig[E1].c, A2);
		rig_run(10);
		ck_assert_uint_eq(WORD(A1, E1, A2), CLUSTER_HEARS);
	}
	rig_end();
}
END_TEST

START_TEST(what_an_edge_said_before_it_was_lost_is_not_its_word_when_it_is_back)
{
	rig_begin(19);
	rig_meet(NODES);
	rig_run(300);
	ck_assert_uint_eq(WORD(E1, A1, A2), CLUSTER_NEVER_SAYS); /* homes do not */
	ck_assert_uint_eq(WORD(A1, A1, A2), CLUSTER_SAID_NOTHING);
	ck_assert_uint_eq(WORD(A1, NODES, A2), CLUSTER_SAID_NOTHING);
	ck_assert_uint_eq(WORD(A1, E1, NODES), CLUSTER_SAID_NOTHING);
	rig_kill(E1);
	rig_run(1);
	ck_assert_uint_eq(WORD(A1, E1, A2), CLUSTER_SAID_NOTHING);
	rig_start(E1);
	RIG_UNTIL(ALIVE(A1, E1), 300);
	ck_assert_uint_eq(WORD(A1, E1, A2), CLUSTER_SAID_NOTHING);
	rig_run(300);
	ck_assert_uint_eq(WORD(A1, E1, A2), CLUSTER_HEARS);
	rig_end();
}
END_TEST

START_TEST(when_a_node_ceased_to_serve_is_remembered)
{
	rig_begin(16);
	rig_meet(NODES);
	const struct cluster *c = rig[E1].c;
	rig_run(1000);
	ck_assert_uint_eq(cluster_left_at(c, A1), 0);
	msec before = net_now;
	cluster_set_draining(rig[A1].c, true);
	RIG_UNTIL(!cluster_serving(c, A1), 1000);
	msec left = cluster_left_at(c, A1);
	ck_assert(left >= before && left <= net_now);
	cluster_set_draining(rig[A1].c, false);
	RIG_UNTIL(cluster_serving(c, A1), 1000);
	ck_assert_uint_eq(cluster_left_at(c, A1), left);
	before = net_now;
	rig_kill(A1);
	RIG_UNTIL(!ALIVE(E1, A1), 1000);
	ck_assert_uint_ge(cluster_left_at(c, A1), before);
	ck_assert(cluster_left_at(c, A2) == 0 && cluster_left_at(c, NODES) == 0);
	rig_end();
}
END_TEST

START_TEST(the_member_of_a_pair_stays_until_it_no_longer_serves)
{
	rig_begin(9);
	rig_meet(NODES);
	struct cluster *c = rig[E1].c;
	ck_assert_int_eq(cluster_member(c, SPAN("a"), -1), A1);
	ck_assert_int_eq(cluster_member(c, SPAN("a"), A2), A2);
	ck_assert_int_eq(cluster_member(c, SPAN("a"), B1), A1); /* not of this pair */
	ck_assert_int_eq(cluster_member(c, SPAN("c"), -1), -1);
	rig_kill(A1);
	ck_assert_int_eq(cluster_member(c, SPAN("a"), A1), A2);
	rig_start(A1);
	RIG_UNTIL(ALIVE(E1, A1), 10);
	ck_assert_int_eq(cluster_member(c, SPAN("a"), -1), A2);
	cluster_set_draining(rig[A2].c, true);
	RIG_UNTIL(!cluster_serving(c, A2), 10);
	ck_assert_int_eq(cluster_member(c, SPAN("a"), A2), A1);
	cluster_set_draining(rig[A1].c, true);
	RIG_UNTIL(!cluster_serving(c, A1), 10);
	ck_assert_int_eq(cluster_member(c, SPAN("a"), -1), A2); /* better than nobody */
	ck_assert_int_eq(cluster_member(c, SPAN("a"), A1), A1);
	rig_kill(A1);
	rig_kill(A2);
	ck_assert_int_eq(cluster_member(c, SPAN("a"), A1), -1);
	rig_end();
}
END_TEST

/* What e1 sends on for a call, e2 sends on to the same home. */
START_TEST(who_starts_later_takes_the_same_member_as_the_others)
{
	rig_begin(14);
	rig_meet(NODES);
	rig_kill(A1);
	rig_run(10);
	rig_start(A1);
	RIG_UNTIL(ALIVE(E1, A1), 10);
	rig_kill(E2);
	rig_start(E2);
	RIG_UNTIL(ALIVE(E2, A1) && ALIVE(E2, A2), 2000);
	ck_assert_int_eq(cluster_member(rig[E1].c, SPAN("a"), -1), A2);
	ck_assert_int_eq(cluster_member(rig[E2].c, SPAN("a"), -1), A2);
	rig_cut(1 << E1, 1 << A2, true, true); /* it alone lost sight of it for a while */
	RIG_UNTIL(!ALIVE(E1, A2), 2000);
	ck_assert_int_eq(cluster_member(rig[E1].c, SPAN("a"), -1), A1);
	rig_cut(1 << E1, 1 << A2, false, true);
	RIG_UNTIL(ALIVE(E1, A2), 2000);
	RIG_UNTIL(cluster_member(rig[E1].c, SPAN("a"), -1) == A2, 300);
	rig_end();
}
END_TEST

START_TEST(who_was_away_stands_back_for_the_other_member)
{
	rig_begin(15);
	rig_meet(NODES);
	ck_assert_int_eq(cluster_member(rig[E1].c, SPAN("a"), -1), A1);
	rig_run(10);
	cluster_stand_back(rig[A1].c);
	RIG_UNTIL(cluster_member(rig[E1].c, SPAN("a"), -1) == A2, 300);
	net_wall_ms -= 3600 * 1000; /* a clock that is behind makes nobody older */
	cluster_stand_back(rig[A2].c);
	RIG_UNTIL(cluster_member(rig[E1].c, SPAN("a"), -1) == A1, 300);
	rig_end();
}
END_TEST

/* What the others wrote while it was stopped may be on its way, and was before it was. */
START_TEST(who_was_away_is_not_settled_before_it_has_compared)
{
	struct cluster_node_state s;
	rig_begin(15);
	rig_meet(NODES);
	RIG_UNTIL((cluster_node_state(rig[A1].c, A2, &s), s.settled), 3000);
	cluster_was_away(rig[A1].c);
	cluster_node_state(rig[A1].c, A2, &s);
	ck_assert(s.alive && !s.settled);
	RIG_UNTIL((cluster_node_state(rig[A1].c, A2, &s), s.settled), 3000);
	RIG_UNTIL(cluster_member(rig[E1].c, SPAN("a"), -1) == A2, 300);
	rig_end();
}
END_TEST

START_TEST(names_and_partners_are_known)
{
	const struct cluster_node *nodes;
	rig_begin(10);
	rig_start_all(1);
	ck_assert_uint_eq(cluster_nodes(rig[E1].c, &nodes), NODES);
	ck_assert_str_eq(nodes[B2].name, "b2");
	ck_assert_uint_eq(cluster_self(rig[E1].c), E1);
	ck_assert_int_eq(cluster_node_by_name(rig[E1].c, SPAN("a2")), A2);
	ck_assert_int_eq(cluster_node_by_name(rig[E1].c, SPAN("a")), -1);
	ck_assert_int_eq(cluster_partner(rig[E1].c, A1), A2);
	ck_assert_int_eq(cluster_partner(rig[E1].c, E2), E1);
	ck_assert_int_eq(cluster_partner(rig[E1].c, NODES), -1);
	rig_end();
}
END_TEST

START_TEST(a_bad_configuration_is_none)
{
	rig_begin(11);
	struct rig_node *n = &rig[E1];
	struct cluster_conf good = n->conf, bad;
	struct loop *l = loop_new(0);
	good.boot = 1;
	bad = good;
	bad.boot = 0;
	ck_assert_ptr_null(cluster_new(l, &bad, &n->ops, NULL));
	bad = good;
	strcpy(bad.node[A1].name, "e2");
	ck_assert_ptr_null(cluster_new(l, &bad, &n->ops, NULL));
	bad = good;
	strcpy(bad.node[B1].pair, "a");
	ck_assert_ptr_null(cluster_new(l, &bad, &n->ops, NULL));
	bad = good;
	bad.node[A1].role = CLUSTER_EDGE;
	ck_assert_ptr_null(cluster_new(l, &bad, &n->ops, NULL));
	bad = good;
	bad.self = NODES;
	ck_assert_ptr_null(cluster_new(l, &bad, &n->ops, NULL));
	bad = good;
	bad.dead_ms = bad.heartbeat_ms;
	ck_assert_ptr_null(cluster_new(l, &bad, &n->ops, NULL));
	n->ops.may_write = NULL;
	ck_assert_ptr_null(cluster_new(l, &good, &n->ops, NULL));
	ck_assert_ptr_null(cluster_free(NULL));
	loop_free(l);
}
END_TEST

static void stays_a_stranger(unsigned node)
{
	rig_start_all(4);
	rig_run(1000);
	for (unsigned i = 0; i < 4; i++)
		if (i != node)
			ck_assert(!ALIVE(i, node) && !ALIVE(node, i));
	ck_assert(ALIVE(E1, A1));
	ck_assert_uint_gt(counters_of(E1).bad_messages, 0);
	rig_end();
}

START_TEST(a_node_of_another_domain_key_or_name_stays_a_stranger)
{
	rig_begin(12);
	rig[A2].conf.domain = 1;
	stays_a_stranger(A2);
	rig_begin(13);
	rig[A2].conf.digest_key.k0++;
	stays_a_stranger(A2);
	rig_begin(14);
	rig[A2].records_key.k1++; /* their parts would not be ours */
	stays_a_stranger(A2);
	rig_begin(15);
	strcpy(rig[A2].conf.node[A2].name, "other");
	rig_start_all(4);
	rig_run(1000);
	ck_assert(!ALIVE(E1, A2) && !ALIVE(A1, A2));
	rig_end();
}
END_TEST

/* Whose secret is another one looks at its own log. */
START_TEST(who_comes_back_as_a_stranger_hears_who_the_others_are)
{
	rig_begin(12);
	rig_meet(NODES);
	rig_kill(A2);
	rig[A2].conf.domain = 1;
	rig_start(A2);
	rig_run(2000);
	ck_assert(!cluster_alive(rig[E1].c, A2));
	ck_assert_uint_gt(counters_of(E1).bad_messages, 0);
	ck_assert_uint_gt(counters_of(A2).bad_messages, 0);
	rig_kill(A2);
	rig[A2].conf.domain = 0;
	rig_start(A2);
	rig_run(2000);
	ck_assert(cluster_alive(rig[E1].c, A2) && cluster_alive(rig[A2].c, E1));
	rig_end();
}
END_TEST

UNIT_MAIN("common/cluster live", nodes_that_are_connected_are_alive_after_their_hello,
	  a_node_that_falls_silent_is_dead_within_dead_ms,
	  who_was_stopped_itself_does_not_take_the_others_for_dead,
	  a_broken_connection_is_a_death_at_once, a_suspect_is_dead_until_it_is_heard_anew,
	  that_a_suspect_is_not_heard_of_either_is_told, a_restart_is_a_death_and_a_life,
	  what_a_process_said_before_it_died_makes_nobody_alive, draining_and_load_are_told,
	  an_edge_says_at_once_whom_it_hears_no_more,
	  an_edge_says_at_once_whether_its_address_is_here,
	  a_link_that_broke_has_an_edge_hear_no_less,
	  what_an_edge_said_before_it_was_lost_is_not_its_word_when_it_is_back,
	  when_a_node_ceased_to_serve_is_remembered,
	  the_member_of_a_pair_stays_until_it_no_longer_serves,
	  who_starts_later_takes_the_same_member_as_the_others,
	  who_was_away_stands_back_for_the_other_member,
	  who_was_away_is_not_settled_before_it_has_compared, names_and_partners_are_known,
	  a_bad_configuration_is_none, a_node_of_another_domain_key_or_name_stays_a_stranger,
	  who_comes_back_as_a_stranger_hears_who_the_others_are)
