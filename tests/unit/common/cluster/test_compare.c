/*
 * Comparison of tables: after partitions, restarts and losses all are equal again within five
 * seconds, deletions stay, and live traffic goes on meanwhile.
 */
#include "proto/cluster.pb-c.h"
#include "tests/unit/common/cluster/tables.h"

#include <time.h>

enum { HEALED_MS = 5000, HOUR_MS = 3600 * 1000 };

static void sweep_all(void)
{
	for (unsigned i = 0; i < NODES; i++)
		for (unsigned k = 0; rig_up(i) && k < 16; k++)
			records_sweep(rig[i].r, net_wall_ms);
}

/* Time passes in a hundred leaps: nodes are cut off from each other anyway. */
static void leap(msec ms)
{
	msec step = ms / 100 < 1000 ? 1000 : ms / 100;
	for (msec left = ms; left; left -= step) {
		step = left < step ? left : step;
		net_now += step - 1;
		net_wall_ms += step - 1;
		rig_run(1);
	}
	sweep_all();
}

static void bind_some(unsigned node, const char *prefix, unsigned n)
{
	char user[32], contact[32];
	for (unsigned i = 0; i < n; i++) {
		snprintf(user, sizeof(user), "%s%u", prefix, i);
		snprintf(contact, sizeof(contact), "sip:%s@%u", prefix, node);
		MUST(bind_for(node, user, contact, 48ull * HOUR_MS, NULL) == 0);
	}
}

static void partition_for(msec ms, bool told)
{
	const unsigned left = 1 << A1 | 1 << E1 | 1 << B1, right = 1 << A2 | 1 << E2 | 1 << B2;
	rig_begin(ms + told);
	rig_meet(NODES);
	bind_some(A1, "old", 200);
	bind_some(A1, "both", 100);
	rig_run(100);
	ck_assert(all_same());
	rig_cut(left, right, true, told);
	leap(ms / 2);
	bind_some(A1, "left", 300);
	bind_some(A2, "right", 300);
	bind_some(A1, "both", 100);
	for (unsigned i = 0; i < 30; i++) { /* as many as a group remembers */
		char user[16];
		snprintf(user, sizeof(user), "old%u", i);
		ck_assert_int_eq(unbind(i % 2 ? A1 : A2, user, NULL), 0);
	}
	bind_some(A2, "both", 100);
	leap(ms - ms / 2);
	ck_assert(!all_same());
	rig_cut(left, right, false, told);
	/* Without loss it takes a heartbeat at most, and a few messages. */
	RIG_UNTIL(all_equal() && all_same(), told ? 300 : 1500);
	ck_assert_str_eq(binding(A1, "both7"), "sip:both@3");
	ck_assert_str_eq(binding(A1, "right299"), "sip:right@3");
	ck_assert_str_eq(binding(A2, "left299"), "sip:left@2");
	for (unsigned i = 0; i < 30; i++) {
		char user[16];
		snprintf(user, sizeof(user), "old%u", i);
		for (unsigned k = E1; k <= A2; k++)
			ck_assert_str_eq(binding(k, user), "");
	}
	ck_assert_str_eq(binding(E2, "old30"), "sip:old@2");
	rig_end();
}

START_TEST(a_partition_of_any_length_heals_within_five_seconds)
{
	static const msec lengths[] = {2000, 20000, 60000, 210000, HOUR_MS / 2};
	for (unsigned i = 0; i < 5; i++) {
		partition_for(lengths[i], true);
		partition_for(lengths[i], false);
	}
}
END_TEST

START_TEST(a_deletion_does_not_come_back_after_a_day)
{
	rig_begin(1);
	rig_meet(NODES);
	bind_some(A1, "u", 20);
	ck_assert_int_eq(put_user(E1, "alice", "a", NULL), 0);
	rig_run(100);
	rig_cut(1 << A1 | 1 << E1, 1 << A2 | 1 << E2, true, true);
	ck_assert_int_eq(unbind(A1, "u3", NULL), 0);
	struct record v = {.kind = RECORD_USER, .deleted = true, .group = SPAN("alice")};
	ck_assert_int_eq(write_record(E1, &v, NULL), 0);
	leap(24ull * HOUR_MS);
	ck_assert_str_eq(binding(A2, "u3"), "sip:u@2");
	rig_cut(1 << A1 | 1 << E1, 1 << A2 | 1 << E2, false, true);
	RIG_UNTIL(all_equal() && all_same(), HEALED_MS);
	for (unsigned i = E1; i <= A2; i++) {
		ck_assert_str_eq(binding(i, "u3"), "");
		ck_assert_str_eq(binding(i, "u4"), "sip:u@2");
		ck_assert_str_eq(look_up(i, RECORD_USER, "alice"), "");
	}
	rig_end();
}
END_TEST

/* Of a large table a part at a time, so that nobody waits; of a small one all, so that the
 * threads of quiet nodes sleep. */
START_TEST(small_tables_are_compared_at_one_go)
{
	rig_begin(9);
	rig_meet(4);
	bind_some(A1, "u", 20);
	rig_run(1000);
	uint64_t from = counters_of(E1).compared, before = from;
	unsigned times = 0;
	for (unsigned ms = 0; ms < 20000; ms++) {
		rig_run(1);
		times += counters_of(E1).compared != before;
		before = counters_of(E1).compared;
	}
	ck_assert_uint_eq(before - from, 10 * 3 * 16); /* each group with each of the others */
	ck_assert_uint_le(times, 10 * 4);
	bind_some(A1, "v", 40000);
	RIG_UNTIL(all_equal() && all_same(), 5000);
	times = 0;
	for (unsigned ms = 0; ms < 8000; ms++) {
		before = counters_of(E1).compared;
		rig_run(1);
		times += counters_of(E1).compared != before;
	}
	ck_assert_uint_ge(times, 14); /* 2500 rows each, 5 a ms */
	rig_end();
}
END_TEST

START_TEST(what_expires_and_is_swept_at_different_times_does_not_differ)
{
	rig_begin(2);
	rig[E2].skew_ms = 20000;
	rig[A2].skew_ms = -20000;
	rig_meet(4);
	for (unsigned i = 0; i < 500; i++) {
		char user[16];
		snprintf(user, sizeof(user), "u%u", i);
		ck_assert_int_eq(bind_for(A1, user, "sip:x", 1000 + 10 * i, NULL), 0);
		if (i % 5 == 0)
			ck_assert_int_eq(unbind(A1, user, NULL), 0);
	}
	rig_run(100);
	uint64_t repaired = counters_of(E2).repaired_received;
	uint64_t sent = counters_of(A1).records_sent;
	/* They sweep each at its own time, or never, until all is forgotten. */
	for (unsigned minute = 0; minute < 70; minute++) {
		rig_run(500);
		net_wall_ms += 59500;
		if (minute % 2)
			for (unsigned k = 0; k < 16; k++)
				records_sweep(rig[A1].r, net_wall_ms);
		if (minute % 7 == 0)
			for (unsigned k = 0; k < 16; k++)
				records_sweep(rig[E2].r, net_wall_ms + 20000);
		ck_assert(all_equal());
	}
	rig_run(3000);
	ck_assert_uint_eq(counters_of(E2).repaired_received, repaired);
	ck_assert_uint_eq(counters_of(A1).records_sent, sent); /* the end of one is no news */
	ck_assert_uint_eq(counters_of(A1).repaired_received, 0);
	ck_assert_uint_eq(counters_of(A2).repaired_received, 0);
	rig_end();
}
END_TEST

START_TEST(what_was_lost_without_a_trace_is_found_by_the_slow_comparison)
{
	const struct record v = {.kind = RECORD_BINDING,
				 .group = SPAN("ghost"),
				 .name = SPAN("phone"),
				 .body = SPAN("sip:1"),
				 .version = {net_wall_ms << 16, number_of(A1)}};
	rig_begin(3);
	rig_meet(4);
	rig_run(1000);
	ck_assert_int_eq(records_merge(rig[A1].r, &v, 1, net_wall_ms, NULL, NULL), 1);
	rig_run(100);
	ck_assert(!has(A2, "ghost", "sip:1") || !has(E1, "ghost", "sip:1"));
	RIG_UNTIL(all_same(), 2500);
	ck_assert(has(E2, "ghost", "sip:1"));
	rig_end();
}
END_TEST

START_TEST(what_is_not_for_a_node_any_more_is_taken_back)
{
	rig_begin(4);
	rig_meet(NODES);
	ck_assert_int_eq(put_user(E1, "alice", "a", NULL), 0);
	rig_run(10);
	ck_assert_str_eq(look_up(A1, RECORD_USER, "alice"), "a");
	ck_assert_int_eq(put_user(E1, "alice", "b", NULL), 0); /* moved */
	rig_run(10);
	ck_assert_str_eq(look_up(B1, RECORD_USER, "alice"), "b");
	RIG_UNTIL(!*look_up(A1, RECORD_USER, "alice") && !*look_up(A2, RECORD_USER, "alice"),
		  3000);
	rig_run(3000);
	ck_assert(all_equal());
	ck_assert_str_eq(look_up(E2, RECORD_USER, "alice"), "b");
	ck_assert_str_eq(look_up(B2, RECORD_USER, "alice"), "b");
	uint64_t repaired = counters_of(A1).repaired_received;
	rig_run(10000);
	ck_assert_uint_eq(counters_of(A1).repaired_received, repaired);
	ck_assert_int_eq(put_user(E2, "alice", "a", NULL), 0); /* and back */
	rig_run(3000);
	ck_assert_str_eq(look_up(A1, RECORD_USER, "alice"), "a");
	ck_assert_str_eq(look_up(B1, RECORD_USER, "alice"), "");
	rig_end();
}
END_TEST

START_TEST(a_restarted_node_gets_everything_from_those_that_have_it)
{
	rig_begin(5);
	rig_meet(NODES);
	bind_some(A1, "a", 2000);
	bind_some(B1, "b", 2000);
	for (unsigned i = 0; i < 100; i++) {
		char user[16];
		snprintf(user, sizeof(user), "user%u", i);
		ck_assert_int_eq(put_user(E1, user, i % 2 ? "a" : "b", NULL), 0);
	}
	RIG_UNTIL(all_same(), 1000);
	for (unsigned i = 0; i < NODES; i++) {
		rig_kill(i);
		rig_start(i);
		RIG_UNTIL(all_equal() && all_same(), 600);
	}
	ck_assert_uint_eq(records_count(rig[A1].r, RECORD_BINDING), 2000);
	ck_assert_uint_eq(records_count(rig[E2].r, RECORD_BINDING), 4000);
	ck_assert_uint_eq(counters_of(E1).refused_records, 0);
	/* Homes from an edge alone, when the whole pair was away. */
	rig_kill(A1);
	rig_kill(A2);
	rig_start(A1);
	rig_start(A2);
	RIG_UNTIL(all_equal() && all_same(), HEALED_MS);
	ck_assert_uint_eq(records_count(rig[A2].r, RECORD_BINDING), 2000);
	rig_end();
}
END_TEST

START_TEST(tables_become_equal_over_a_bad_network)
{
	rig_begin(6);
	rig_meet(4);
	bind_some(A1, "u", 3000);
	rig_run(100);
	net.loss_permille = 100;
	net.twice_permille = 100;
	net.delay_max_ms = 50;
	rig_kill(A2);
	rig_start(A2);
	RIG_UNTIL(same(A1, A2), HEALED_MS);
	RIG_UNTIL(all_same(), HEALED_MS);
	rig_end();
}
END_TEST

START_TEST(more_deletions_than_a_group_remembers_end_in_peace)
{
	char name[16];
	rig_begin(7);
	rig_meet(4);
	for (unsigned i = 0; i < 3 * RECORDS_TOMBSTONES_PER_GROUP; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		struct record v = {.kind = RECORD_BINDING,
				   .group = SPAN("alice"),
				   .name = span_str(name),
				   .expires_ms = net_wall_ms + 3000 + i};
		ck_assert_int_eq(write_record(i % 2 ? A1 : A2, &v, NULL), 0);
		v.deleted = i % 3 == 0;
		v.expires_ms = v.deleted ? 0 : v.expires_ms;
		if (v.deleted)
			ck_assert_int_eq(write_record(A1, &v, NULL), 0);
	}
	rig_run(4000);
	for (unsigned k = 0; k < 16; k++)
		records_sweep(rig[A1].r, net_wall_ms); /* it alone, at first */
	rig_run(4000);
	sweep_all();
	rig_run(4000);
	uint64_t repaired = counters_of(A1).repaired_received;
	rig_run(10000);
	ck_assert(all_equal());
	ck_assert_uint_eq(counters_of(A1).repaired_received, repaired);
	rig_end();
}
END_TEST

START_TEST(a_node_that_refuses_what_the_other_has_does_not_ask_for_ever)
{
	rig_begin(8);
	for (unsigned i = 0; i < NODES; i++)
		rig[i].ops.may_offer = NULL;
	rig_meet(NODES);
	for (unsigned i = 0; i < 50; i++) {
		char user[16];
		snprintf(user, sizeof(user), "u%u", i);
		ck_assert_int_eq(put_user(B1, user, "b", NULL), 0); /* a home may not */
	}
	rig_run(5000);
	uint64_t refused = counters_of(E1).refused_records, sent = net.sent;
	rig_run(10000);
	/* Once a comparison, every two seconds, from each of the pair. */
	ck_assert_uint_le(counters_of(E1).refused_records - refused, 50 * 2 * 7);
	ck_assert_uint_le(net.sent - sent, 15000);
	rig_end();
}
END_TEST

static bool both_lack(unsigned edge, unsigned home, unsigned users)
{
	struct cluster_node_state a = state_of(edge, home), b = state_of(home, edge);
	return a.settled && b.settled && !a.equal && !b.equal && a.withheld == users &&
	       b.withheld == users;
}

START_TEST(who_lacks_what_others_may_not_give_him_is_not_equal)
{
	char user[16];
	rig_begin(10);
	rig_meet(NODES);
	for (unsigned i = 0; i < 40; i++) {
		snprintf(user, sizeof(user), "u%u", i);
		ck_assert_int_eq(put_user(E1, user, "a", NULL), 0);
	}
	bind_some(A1, "u", 10);
	RIG_UNTIL(all_equal() && all_same(), 1000);
	rig_kill(E1);
	rig_kill(E2);
	rig_start(E1);
	rig_start(E2);
	RIG_UNTIL(both_lack(E1, A1, 40) && both_lack(E2, A2, 40), 1000);
	rig_run(10000);
	ck_assert(both_lack(E1, A1, 40) && both_lack(E2, A2, 40));
	ck_assert(state_of(E1, E2).equal && state_of(A1, A2).equal && state_of(E1, B1).equal);
	ck_assert_str_eq(binding(E1, "u7"), "sip:u@2");
	for (unsigned i = 0; i < 40; i++) {
		snprintf(user, sizeof(user), "u%u", i);
		ck_assert_int_eq(put_user(E1, user, "a", NULL), 0);
	}
	RIG_UNTIL(all_equal() && all_same(), 2500);
	ck_assert_uint_eq(state_of(E1, A1).withheld, 0);
	ck_assert_uint_eq(state_of(A2, E2).withheld, 0);
	rig_end();
}
END_TEST

/* Of the answers that a home has for an edge each second one is lost. */
static bool lose_rows(unsigned from, unsigned to, struct span bytes)
{
	static unsigned n;
	bool lost = false;
	if (from != A1 || to != E1)
		return true;
	Eaves__Envelope *e = eaves__envelope__unpack(NULL, bytes.n, (const uint8_t *)bytes.p);
	if (e && e->body_case == EAVES__ENVELOPE__BODY_ROWS)
		lost = n++ % 2 == 0;
	eaves__envelope__free_unpacked(e, NULL);
	return !lost;
}

START_TEST(what_is_withheld_counts_once_however_often_it_is_asked_for)
{
	char user[16];
	unsigned most = 0;
	rig_begin(12);
	rig_meet(NODES);
	for (unsigned i = 0; i < 40; i++) {
		snprintf(user, sizeof(user), "u%u", i);
		ck_assert_int_eq(put_user(E1, user, "a", NULL), 0);
	}
	RIG_UNTIL(all_equal() && all_same(), 1000);
	rig_kill(E1);
	rig_kill(E2);
	net.look = lose_rows;
	rig_start(E1);
	for (unsigned ms = 0; ms < 6000; ms++) {
		rig_run(1);
		unsigned n = (unsigned)state_of(A1, E1).withheld;
		most = n > most ? n : most;
	}
	ck_assert_uint_eq(most, 40);
	net.look = NULL;
	rig_end();
}
END_TEST

START_TEST(what_differs_is_not_equal_until_it_was_compared_again)
{
	const struct record v = {.kind = RECORD_BINDING,
				 .group = SPAN("ghost"),
				 .name = SPAN("phone"),
				 .body = SPAN("sip:1"),
				 .version = {net_wall_ms << 16, number_of(A1)}};
	rig_begin(11);
	net.delay_max_ms = 5;
	rig_meet(4);
	rig_run(1000);
	ck_assert_int_eq(records_merge(rig[A1].r, &v, 1, net_wall_ms, NULL, NULL), 1);
	RIG_UNTIL(!state_of(A2, A1).equal, 2500);
	RIG_UNTIL(all_equal(), 500); /* not only when the slow one is there again */
	ck_assert(all_same() && has(A2, "ghost", "sip:1"));
	rig_end();
}
END_TEST

static double cpu_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

START_TEST(a_hundred_thousand_records_are_there_in_seconds_and_starve_nobody)
{
	enum { N = 100000 };
	static char body[180];
	struct promise p = {1, 0};
	msec worst = 0, asked = 0;
	rig_begin(9);
	memset(body, 'x', sizeof(body));
	rig_start(A1);
	for (unsigned i = 0; i < N; i++) {
		char user[16];
		snprintf(user, sizeof(user), "u%u", i);
		struct record v = {.kind = RECORD_BINDING,
				   .group = span_str(user),
				   .name = SPAN("12345678"),
				   .body = {body, sizeof(body)},
				   .expires_ms = net_wall_ms + HOUR_MS};
		MUST(write_record(A1, &v, NULL) == 0);
		if (i % 1000 == 0)
			rig_settle();
	}
	unsigned changes = rig[A1].changes;
	rig_start(A2);
	double cpu = cpu_ms();
	msec from = net_now;
	while (records_count(rig[A2].r, RECORD_BINDING) < N && net_now < from + HEALED_MS) {
		if (p.calls) { /* the next, when the last one was held */
			MUST(p.error == 0);
			worst = net_now - asked > worst && asked ? net_now - asked : worst;
			asked = state_of(A1, A2).alive ? net_now : 0;
			if (asked)
				ck_assert_int_eq(bind_at(A1, "live", "sip:1", &p), 0);
		}
		rig_run(1);
	}
	cpu = cpu_ms() - cpu;
	printf("100,000 records: %u ms of the clock, %.0f ms of CPU at both ends together,"
	       " worst yes %u ms\n",
	       (unsigned)(net_now - from), cpu, (unsigned)worst);
	RIG_UNTIL(all_equal() && all_same(), HEALED_MS);
	ck_assert_uint_le(worst, 10);
	ck_assert_uint_eq(rig[A1].changes, changes + 1);
	rig_end();
}
END_TEST

static int put_named(unsigned node, const char *user, const char *name, bool deleted)
{
	struct record v = {.kind = RECORD_BINDING,
			   .deleted = deleted,
			   .group = span_str(user),
			   .name = span_str(name),
			   .body = deleted ? SPAN("") : SPAN("sip:x"),
			   .expires_ms = deleted ? 0 : net_wall_ms + HOUR_MS};
	return write_record(node, &v, NULL);
}

static bool find_old(void *arg, const struct record *rec)
{
	*(bool *)arg |= span_eq(rec->name, SPAN("old")) && !rec->deleted;
	return true;
}

static unsigned bindings(unsigned node, const char *user)
{
	return records_each(rig[node].r, RECORD_BINDING, span_str(user), net_wall_ms, NULL,
			    NULL, NULL);
}

static bool has_old(unsigned node)
{
	bool found = false;
	records_each(rig[node].r, RECORD_BINDING, SPAN("alice"), net_wall_ms, find_old, &found,
		     NULL);
	return found;
}

/* Written by one member, removed by A1 in the cut. */
static void delete_many_in_a_cut(unsigned writer)
{
	const unsigned left = 1 << A1 | 1 << E1, right = 1 << A2 | 1 << E2;
	char name[16];
	rig_begin(77);
	rig_meet(4);
	rig_run(3000);
	ck_assert_int_eq(put_named(writer, "alice", "old", false), 0);
	rig_run(600);
	ck_assert(has_old(A1) && has_old(A2));
	rig_cut(left, right, true, true);
	rig_run(1000);
	ck_assert_int_eq(put_named(A1, "alice", "old", true), 0);
	for (unsigned i = 0; i < 3 * RECORDS_TOMBSTONES_PER_GROUP; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		ck_assert_int_eq(put_named(A1, "alice", name, false), 0);
		if (i == 10) /* older than what A1 will have forgotten, and not of A1's time */
			ck_assert_int_eq(put_named(A2, "alice", "new", false), 0);
		rig_run(10);
		ck_assert_int_eq(put_named(A1, "alice", name, true), 0);
		rig_run(10);
	}
	rig_cut(left, right, false, true);
	RIG_UNTIL(all_equal() && all_same(), HEALED_MS);
	ck_assert(!has_old(A1) && !has_old(A2));
	ck_assert_uint_eq(bindings(A1, "alice"), 1);
	ck_assert_uint_eq(bindings(A2, "alice"), 1);
	rig_end();
}

START_TEST(more_deletions_in_a_cut_than_a_group_remembers_bring_nothing_back)
{
	delete_many_in_a_cut(A1);
	delete_many_in_a_cut(A2);
}
END_TEST

UNIT_MAIN("common/cluster compare",
	  more_deletions_in_a_cut_than_a_group_remembers_bring_nothing_back,
	  a_partition_of_any_length_heals_within_five_seconds,
	  a_deletion_does_not_come_back_after_a_day, small_tables_are_compared_at_one_go,
	  what_expires_and_is_swept_at_different_times_does_not_differ,
	  what_was_lost_without_a_trace_is_found_by_the_slow_comparison,
	  what_is_not_for_a_node_any_more_is_taken_back,
	  a_restarted_node_gets_everything_from_those_that_have_it,
	  tables_become_equal_over_a_bad_network,
	  more_deletions_than_a_group_remembers_end_in_peace,
	  a_node_that_refuses_what_the_other_has_does_not_ask_for_ever,
	  who_lacks_what_others_may_not_give_him_is_not_equal,
	  what_is_withheld_counts_once_however_often_it_is_asked_for,
	  what_differs_is_not_equal_until_it_was_compared_again,
	  a_hundred_thousand_records_are_there_in_seconds_and_starve_nobody)
