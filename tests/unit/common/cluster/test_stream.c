/*
 * The stream between two nodes: batches, loss, overtaking, refusal, slow nodes.
 */
#include "tests/unit/common/cluster/below.h"
#include "tests/unit/common/cluster/caught.h"
#include "tests/unit/common/cluster/tables.h"

static struct below below;

static void bind_many(unsigned node, unsigned from, unsigned n, struct promise *p)
{
	char user[16];
	for (unsigned i = from; i < from + n; i++) {
		snprintf(user, sizeof(user), "u%u", i);
		MUST(bind_at(node, user, "sip:phone@192.0.2.1", p ? &p[i] : NULL) == 0);
	}
}

static unsigned kept_of(const struct promise *p, unsigned n)
{
	unsigned kept = 0;
	for (unsigned i = 0; i < n; i++) {
		MUST(p[i].calls <= 1);
		kept += p[i].calls && p[i].error == 0;
	}
	return kept;
}

START_TEST(what_gathers_leaves_in_one_message)
{
	enum { N = 3000 };
	static struct promise p[N];
	rig_begin(1);
	rig_meet(4);
	rig_run(1000);
	uint64_t before = counters_of(A1).batches_sent;
	bind_many(A1, 0, N, p);
	RIG_UNTIL(kept_of(p, N) == N, 20);
	struct cluster_counters c = counters_of(A1);
	ck_assert_uint_eq(c.records_sent, 3 * N);
	ck_assert_uint_le(c.batches_sent - before, 3 * (N * 100 / 65536 + 2));
	ck_assert_uint_eq(state_of(A1, A2).queued_bytes, 0);
	rig_end();
}
END_TEST

START_TEST(what_is_lost_is_repeated_until_it_has_come)
{
	enum { N = 300 };
	static struct promise p[N];
	rig_begin(2);
	rig_meet(4);
	net.loss_permille = 300;
	net.twice_permille = 200;
	net.delay_max_ms = 40;
	for (unsigned i = 0; i < N; i++) {
		bind_many(A1, i, 1, p);
		rig_run(5);
	}
	RIG_UNTIL(kept_of(p, N) == N, 3000);
	ck_assert_uint_gt(counters_of(A1).repeated, 10);
	net.loss_permille = 0;
	RIG_UNTIL(all_same(), 5000);
	ck_assert_uint_eq(counters_of(A2).bad_messages, 0);
	rig_end();
}
END_TEST

static unsigned batches_seen;

static bool drop_third_batch(unsigned from, unsigned to, struct span bytes)
{
	return from != A1 || to != A2 || !memmem(bytes.p, bytes.n, "sip:", 4) ||
	       ++batches_seen != 3;
}

START_TEST(of_batches_that_overtook_a_lost_one_only_that_is_repeated)
{
	enum { N = 20 };
	static struct promise p[N];
	rig_begin(3);
	rig_meet(4);
	rig_kill(E1);
	rig_kill(E2);
	batches_seen = 0;
	net.look = drop_third_batch;
	for (unsigned i = 0; i < N; i++) {
		bind_many(A1, i, 1, p);
		rig_run(1);
	}
	rig_run(3);
	ck_assert_uint_ge(kept_of(p, N), N - 3); /* those behind it are held */
	ck_assert(!has(A2, "u2", "sip:phone@192.0.2.1"));
	for (unsigned i = 0; i < 40; i++) { /* acknowledgements go on */
		bind_many(A1, 100 + i, 1, NULL);
		rig_run(1);
	}
	ck_assert_uint_eq(kept_of(p, N), N);
	ck_assert_uint_eq(counters_of(A1).repeated, 1);
	rig_end();
}
END_TEST

START_TEST(a_record_of_another_home_is_refused_and_not_confirmed)
{
	struct promise p;
	rig_begin(4);
	rig_meet(NODES);
	uint64_t hlc = net_wall_ms << 16;
	/* b1 claims to have it from a1: the edges and b2 must not take it. */
	struct record v = {.kind = RECORD_BINDING,
			   .group = SPAN("alice"),
			   .name = SPAN("phone"),
			   .body = SPAN("sip:thief"),
			   .version = {hlc, number_of(A1)}};
	ck_assert_int_eq(bind_at(A1, "alice", "sip:alice", NULL), 0);
	rig_run(10);
	v.version.hlc += 1 << 20;
	p = (struct promise){0, 1};
	ck_assert_int_eq(records_put(rig[B1].r, &v, 1, NULL, net_wall_ms, keep_promise, &p), 0);
	rig_run(2500);
	ck_assert(has(E1, "alice", "sip:alice") && has(E2, "alice", "sip:alice"));
	ck_assert(has(A1, "alice", "sip:alice") && has(A2, "alice", "sip:alice"));
	ck_assert_int_eq(p.calls, 1);
	ck_assert_int_eq(p.error, -EIO);
	/* A home may not write users either. */
	uint64_t refused = counters_of(E1).refused_records;
	ck_assert_int_eq(put_user(B1, "bob", "b", &p), 0);
	RIG_UNTIL(p.calls, 1100);
	rig_run(30); /* to an edge it goes with others */
	ck_assert_str_eq(look_up(E1, RECORD_USER, "bob"), "");
	ck_assert_uint_gt(counters_of(E1).refused_records, refused);
	ck_assert(cluster_alive(rig[E1].c, B1));
	rig_end();
}
END_TEST

START_TEST(what_is_refused_is_told_by_the_name_of_its_kind)
{
	char text[4096];
	int fd;
	rig_begin(6);
	rig_meet(NODES);
	FILE *f = log_catch(&fd);
	ck_assert_int_eq(put_user(B1, "bob", "b", NULL), 0);
	rig_run(2000);
	log_read(f, fd, text, sizeof(text));
	ck_assert(strstr(text, "event=cluster-record-refused node=b1 kind=user "
			       "why=\"that node may not write it\" so_far=1\n"));
	rig_end();
}
END_TEST

START_TEST(a_version_far_ahead_is_refused_and_not_confirmed)
{
	struct promise p;
	char text[4096];
	int fd;
	rig_begin(5);
	rig_meet(4);
	rig[A1].skew_ms = RECORDS_DRIFT_MAX_MS + 5000;
	FILE *f = log_catch(&fd);
	ck_assert_int_eq(bind_at(A1, "alice", "sip:1", &p), 0);
	RIG_UNTIL(p.calls, 1100);
	log_read(f, fd, text, sizeof(text));
	ck_assert(strstr(
		text, "event=cluster-record-refused node=a1 kind=binding "
		      "why=\"it is of a time more than an hour ahead: look at the clocks\""));
	ck_assert_int_eq(p.error, -EIO);
	ck_assert_uint_gt(counters_of(A2).refused_records, 0);
	rig_end();
}
END_TEST

START_TEST(a_full_table_confirms_nothing)
{
	struct promise p;
	rig_begin(6);
	rig[A2].limit = 3;
	rig_start(A1);
	rig_start(A2);
	RIG_UNTIL(all_equal(), 2000);
	bind_many(A1, 0, 3, NULL);
	rig_run(10);
	ck_assert_int_eq(bind_at(A1, "alice", "sip:1", &p), 0);
	RIG_UNTIL(p.calls, 1010);
	ck_assert_int_eq(p.error, -EIO);
	ck_assert_uint_gt(counters_of(A1).repeated, 1);
	rig_end();
}
END_TEST

START_TEST(a_slow_node_costs_itself)
{
	enum { N = 20000, LIMIT = 1 << 20 };
	static struct promise p[N];
	rig_begin(7);
	rig[A1].conf.queue_bytes = LIMIT;
	rig_meet(4);
	/* It lives, but nothing larger than a heartbeat gets through. */
	net.cut[A1][E1] = true;
	rig[A1].conf.dead_ms = rig[E1].conf.dead_ms;
	for (unsigned i = 0; i < N; i += 100) {
		bind_many(A1, i, 100, p);
		rig_run(1);
		ck_assert_uint_le(state_of(A1, E1).queued_bytes, LIMIT);
	}
	rig_run(10);
	ck_assert_uint_eq(kept_of(p, N), N); /* by the others */
	ck_assert_uint_gt(counters_of(A1).queue_full, 0);
	ck_assert_uint_eq(state_of(A1, A2).queued_bytes, 0);
	ck_assert(!state_of(A1, E1).equal);
	net.cut[A1][E1] = false;
	RIG_UNTIL(all_equal() && all_same(), 5000);
	rig_end();
}
END_TEST

START_TEST(a_silent_node_is_forgotten_and_repaired)
{
	rig_begin(8);
	rig_meet(4);
	rig[E1].paused = true;
	bind_many(A1, 0, 1000, NULL);
	rig_run(100);
	ck_assert_uint_gt(state_of(A1, E1).queued_bytes, 0);
	rig_run(1000);
	ck_assert_uint_eq(state_of(A1, E1).queued_bytes, 0);
	bind_many(A1, 1000, 1000, NULL);
	rig_run(10000);
	rig[E1].paused = false;
	RIG_UNTIL(all_equal() && all_same(), 5000);
	rig_end();
}
END_TEST

START_TEST(updates_of_one_record_in_one_batch_all_come)
{
	rig_begin(9);
	rig_meet(4);
	for (unsigned i = 0; i < 50; i++) {
		char contact[16];
		snprintf(contact, sizeof(contact), "sip:%u", i);
		ck_assert_int_eq(bind_at(A1, "alice", contact, NULL), 0);
	}
	RIG_UNTIL(has(A2, "alice", "sip:49"), 5);
	ck_assert_uint_eq(records_counters(rig[A2].r).merged, 50);
	rig_end();
}
END_TEST

START_TEST(a_place_below_is_told_of_with_later_messages)
{
	struct promise p;
	rig_begin(10);
	below = below_new();
	below.later = true;
	rig[E1].below = (struct cluster_below){.store = &below.store, .is_place = true};
	rig_meet(4);
	rig_kill(A2);
	rig_kill(E2);
	ck_assert_int_eq(bind_at(A1, "alice", "sip:1", &p), 0);
	RIG_UNTIL(p.calls, 10);
	ck_assert_int_eq(p.error, 0); /* in memory is enough */
	rig_run(600);
	ck_assert_uint_eq(state_of(A1, E1).unpersisted, 1);
	below_answer(&below);
	RIG_UNTIL(state_of(A1, E1).unpersisted == 0, 600);
	bind_many(A1, 0, 1, NULL);
	rig_run(30);
	below.error = -EIO;
	below_answer(&below);
	below.later = false;
	below.error = 0;
	bind_many(A1, 1, 1, NULL);
	rig_run(600);
	ck_assert_uint_eq(state_of(A1, E1).unpersisted, 2); /* nothing is claimed any more */
	rig_end();
}
END_TEST

START_TEST(a_short_silence_loses_nothing)
{
	enum { N = 100 };
	static struct promise p[N];
	rig_begin(11);
	rig_meet(4);
	rig_run(500);
	rig_cut(1 << A1, 1 << A2 | 1 << E1 | 1 << E2, true, false);
	bind_many(A1, 0, N, p);
	rig_run(400);
	rig_cut(1 << A1, 1 << A2 | 1 << E1 | 1 << E2, false, false);
	RIG_UNTIL(kept_of(p, N) == N, 500);
	RIG_UNTIL(all_same(), 30);
	/* The stream itself, but for what comparison found first. */
	ck_assert_uint_lt(counters_of(A2).repaired_received, N / 2);
	rig_end();
}
END_TEST

UNIT_MAIN("common/cluster stream", what_gathers_leaves_in_one_message,
	  what_is_lost_is_repeated_until_it_has_come,
	  of_batches_that_overtook_a_lost_one_only_that_is_repeated,
	  a_record_of_another_home_is_refused_and_not_confirmed,
	  what_is_refused_is_told_by_the_name_of_its_kind,
	  a_version_far_ahead_is_refused_and_not_confirmed, a_full_table_confirms_nothing,
	  a_slow_node_costs_itself, a_silent_node_is_forgotten_and_repaired,
	  updates_of_one_record_in_one_batch_all_come,
	  a_place_below_is_told_of_with_later_messages, a_short_silence_loses_nothing)
