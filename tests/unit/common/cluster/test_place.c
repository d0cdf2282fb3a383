/*
 * Second places: when the yes may leave, and when it must not wait any longer.
 */
#include "tests/unit/common/cluster/below.h"
#include "tests/unit/common/cluster/tables.h"

static struct below below;

#define KEPT(p, error_)                                \
	do {                                           \
		ck_assert_uint_eq((p).calls, 1);       \
		ck_assert_int_eq((p).error, (error_)); \
	} while (0)

START_TEST(a_yes_leaves_when_the_partner_has_the_record)
{
	struct promise p;
	rig_begin(1);
	rig_meet(NODES);
	ck_assert_int_eq(bind_at(A1, "alice", "sip:1", &p), 0);
	ck_assert_uint_eq(p.calls, 0);
	ck_assert_uint_eq(counters_of(A1).waiting, 0);
	ck_assert_uint_le(RIG_UNTIL(p.calls, 100), 3); /* there and back */
	KEPT(p, 0);
	ck_assert(has(A2, "alice", "sip:1"));
	RIG_UNTIL(has(E1, "alice", "sip:1") && has(E2, "alice", "sip:1"), 25);
	ck_assert(!has(B1, "alice", "sip:1"));
	ck_assert_uint_eq(counters_of(A1).waiting, 0);
	ck_assert_uint_eq(counters_of(A1).alone, 0);
	rig_run(500);
	ck_assert_uint_eq(p.calls, 1);
	ck_assert_uint_eq(counters_of(A1).repeated, 0);
	rig_end();
}
END_TEST

/* Nobody waits for the edges while the partner's word is enough. */
START_TEST(what_the_edges_get_is_gathered)
{
	enum { N = 200 };
	static struct promise p[N];
	char user[16];
	rig_begin(17);
	rig_meet(4);
	rig_run(1000);
	uint64_t before = counters_of(A1).batches_sent;
	for (unsigned i = 0; i < N; i++) {
		snprintf(user, sizeof(user), "u%u", i);
		ck_assert_int_eq(bind_at(A1, user, "sip:1", &p[i]), 0);
		rig_run(1);
	}
	RIG_UNTIL(p[N - 1].calls, 3);
	rig_run(25);
	/* Comparison has some sent earlier. */
	ck_assert_uint_le(counters_of(A1).batches_sent - before, N + 2 * (N / 20) + N / 20);
	ck_assert_uint_eq(counters_of(A1).repeated, 0);
	ck_assert(all_same());
	rig_end();
}
END_TEST

START_TEST(what_the_partner_dies_with_is_asked_of_the_edges_at_once)
{
	struct promise p;
	rig_begin(18);
	rig_meet(NODES);
	rig_run(1000);
	rig_cut(1 << A1, 1 << A2, true, false);
	ck_assert_int_eq(bind_at(A1, "alice", "sip:1", &p), 0);
	rig_run(2);
	ck_assert_uint_eq(p.calls, 0);
	rig_kill(A2);
	ck_assert_uint_le(RIG_UNTIL(p.calls, 100), 3);
	KEPT(p, 0);
	/* One that is there and silent is waited for no longer than the others take. */
	rig_cut(1 << A1, 1 << A2, false, false);
	rig_start(A2);
	RIG_UNTIL(all_equal(), 2000);
	rig_cut(1 << A1, 1 << A2, true, false);
	ck_assert_int_eq(bind_at(A1, "alice", "sip:2", &p), 0);
	ck_assert_uint_le(RIG_UNTIL(p.calls, 100), 25);
	KEPT(p, 0);
	rig_end();
}
END_TEST

START_TEST(an_edge_is_a_second_place_when_the_partner_is_dead)
{
	struct promise p;
	rig_begin(2);
	rig_meet(NODES);
	rig_kill(A2);
	ck_assert_int_eq(bind_at(A1, "alice", "sip:1", &p), 0);
	RIG_UNTIL(p.calls, 10);
	KEPT(p, 0);
	rig_end();
}
END_TEST

START_TEST(alone_the_answer_is_no_at_once)
{
	struct promise p;
	rig_begin(3);
	rig_meet(NODES);
	rig_kill(A2);
	rig_kill(E1);
	rig_kill(E2);
	ck_assert_int_eq(bind_at(A1, "alice", "sip:1", &p), 0);
	ck_assert_uint_eq(p.calls, 0); /* not under the lock */
	rig_settle();
	KEPT(p, -EIO);
	ck_assert_uint_eq(counters_of(A1).alone, 1);
	ck_assert(has(A1, "alice", "sip:1"));
	ck_assert_int_eq(unbind(A1, "alice", NULL), 0);
	rig_settle();
	ck_assert_uint_eq(counters_of(A1).alone, 1); /* nobody waited */
	rig_end();
}
END_TEST

START_TEST(when_all_second_places_die_the_answer_is_no_at_once)
{
	struct promise p;
	rig_begin(4);
	rig_meet(4);
	rig_cut(1 << A1, 1 << A2 | 1 << E1 | 1 << E2, true, false);
	ck_assert_int_eq(bind_at(A1, "alice", "sip:1", &p), 0);
	rig_run(50);
	rig_kill(A2);
	rig_kill(E1);
	ck_assert_uint_eq(p.calls, 0);
	ck_assert_uint_eq(counters_of(A1).waiting, 1);
	rig_kill(E2);
	KEPT(p, -EIO);
	ck_assert_uint_eq(counters_of(A1).waiting, 0);
	rig_end();
}
END_TEST

START_TEST(nobody_waits_longer_than_second_place_ms)
{
	struct promise p;
	rig_begin(5);
	rig[A1].conf.dead_ms = 60000;
	rig_meet(4);
	rig_cut(1 << A1, 1 << A2 | 1 << E1 | 1 << E2, true, false);
	ck_assert_int_eq(bind_at(A1, "alice", "sip:1", &p), 0);
	ck_assert_uint_le(RIG_UNTIL(p.calls, 2000), 1010);
	KEPT(p, -EIO);
	rig_cut(1 << A1, 1 << A2 | 1 << E1 | 1 << E2, false, false);
	RIG_UNTIL(has(A2, "alice", "sip:1"), 2000);
	ck_assert_uint_eq(p.calls, 1);
	rig_end();
}
END_TEST

START_TEST(who_waits_at_the_end_hears_no)
{
	struct promise p, q;
	rig_begin(6);
	rig_meet(4);
	ck_assert_int_eq(bind_at(A1, "alice", "sip:1", &p), 0);
	rig_run(1);
	ck_assert_int_eq(bind_at(A1, "bob", "sip:1", &q), 0); /* still on its way to the loop */
	rig_kill(A1);
	KEPT(p, -EIO);
	KEPT(q, -EIO);
	rig_end();
}
END_TEST

/* Workers that hear the no write once more: the store is there until they have gone. */
START_TEST(after_the_end_a_write_is_refused_and_nodes_are_still_known)
{
	struct promise p, q;
	rig_begin(19);
	rig_meet(4);
	struct cluster *c = rig[A1].c;
	ck_assert_int_eq(bind_at(A1, "alice", "sip:1", &p), 0);
	cluster_end(c);
	KEPT(p, -EIO);
	ck_assert_int_eq(bind_at(A1, "alice", "sip:2", &q), -ENOSPC);
	ck_assert_int_eq(cluster_tell(c, A2, 1, SPAN("x")), -ENOSPC);
	ck_assert(cluster_alive(c, A2));
	ck_assert_int_eq(cluster_member(c, SPAN("a"), A2), A2);
	cluster_suspect(c, A2); /* a link that a worker finds broken */
	cluster_end(c);
	ck_assert_uint_eq(p.calls, 1);
	ck_assert_uint_eq(q.calls, 0);
	rig_end();
}
END_TEST

static void start_with_place(unsigned node, unsigned nodes)
{
	below = below_new();
	rig[node].below = (struct cluster_below){.store = &below.store, .is_place = true};
	rig_meet(nodes);
}

START_TEST(a_place_below_is_a_second_place)
{
	struct promise p;
	rig_begin(7);
	start_with_place(E1, 1);
	below.later = true;
	ck_assert_int_eq(put_user(E1, "alice", "a", &p), 0);
	rig_run(10);
	ck_assert_uint_eq(p.calls, 0);
	below_answer(&below);
	rig_settle();
	KEPT(p, 0);
	ck_assert_int_eq(put_user(E1, "bob", "a", &p), 0);
	below.error = -EIO;
	rig_run(10);
	below_answer(&below);
	rig_settle();
	KEPT(p, -EIO);
	below.error = 0;
	below.later = false; /* answers within put */
	ck_assert_int_eq(put_user(E1, "carol", "a", &p), 0);
	ck_assert_uint_eq(p.calls, 0);
	rig_settle();
	KEPT(p, 0);
	ck_assert_uint_eq(below.rows, 3);
	rig_end();
}
END_TEST

START_TEST(a_store_below_that_is_no_place_keeps_but_confirms_nothing)
{
	struct promise p;
	rig_begin(8);
	below = below_new();
	rig[A1].below = (struct cluster_below){.store = &below.store};
	rig_start(A1);
	ck_assert_int_eq(bind_at(A1, "alice", "sip:1", &p), 0);
	rig_settle();
	KEPT(p, -EIO);
	ck_assert_uint_eq(below.rows, 1);
	below.refuses = -ENOSPC;
	ck_assert_int_eq(bind_at(A1, "alice", "sip:2", &p), -ENOSPC);
	rig_settle();
	ck_assert_uint_eq(p.calls, 0);
	ck_assert(has(A1, "alice", "sip:1"));
	rig_end();
}
END_TEST

START_TEST(a_place_below_without_room_is_done_without)
{
	struct promise p;
	rig_begin(9);
	start_with_place(E1, 2);
	below.refuses = -ENOSPC;
	ck_assert_int_eq(put_user(E1, "alice", "a", &p), 0);
	RIG_UNTIL(p.calls, 10);
	KEPT(p, 0);
	rig_end();
}
END_TEST

static bool takes_users(void *arg, const struct store_row *row)
{
	(void)arg;
	return row->kind == RECORD_USER;
}

START_TEST(what_comes_from_others_is_kept_below_where_it_is_taken)
{
	rig_begin(10);
	below = below_new();
	rig[A1].below = (struct cluster_below){.store = &below.store, .takes = takes_users};
	rig_meet(4);
	ck_assert_int_eq(put_user(E1, "alice", "a", NULL), 0);
	ck_assert_int_eq(bind_at(A2, "alice", "sip:1", NULL), 0);
	RIG_UNTIL(has(A1, "alice", "sip:1") && *look_up(A1, RECORD_USER, "alice"), 10);
	ck_assert_uint_eq(below.merges, 1);
	ck_assert_uint_eq(below.rows, 1);
	ck_assert_uint_eq(below.puts, 0);
	rig_end();
}
END_TEST

static int put_guarded(unsigned node, const char *user, const char *body, struct promise *p)
{
	struct record v = {
		.kind = RECORD_USER, .group = span_str(user), .body = span_str(body)};
	struct record_version seen;
	*p = (struct promise){0, 1};
	records_each(rig[node].r, RECORD_USER, v.group, net_wall_ms, NULL, NULL, &seen);
	return records_put(rig[node].r, &v, 1, &seen, net_wall_ms, keep_promise, p);
}

START_TEST(a_guarded_write_waits_for_the_word_of_the_store_below)
{
	struct promise p;
	rig_begin(11);
	start_with_place(E1, 3);
	below.later = true;
	ck_assert_int_eq(put_guarded(E1, "alice", "a1", &p), 0);
	rig_run(50);
	ck_assert_uint_eq(p.calls, 0);
	ck_assert_str_eq(look_up(E2, RECORD_USER, "alice"), ""); /* not before that */
	below_answer(&below);
	rig_run(10);
	KEPT(p, 0);
	ck_assert_str_eq(look_up(E2, RECORD_USER, "alice"), "a1");

	ck_assert_int_eq(put_guarded(E1, "bob", "a1", &p), 0);
	rig_run(10);
	below.error = -EAGAIN;
	below_answer(&below);
	rig_run(10);
	KEPT(p, -EAGAIN);
	ck_assert_str_eq(look_up(E2, RECORD_USER, "bob"), "");

	/* Gone: the other edge will do. */
	below.error = -EIO;
	below.later = false;
	ck_assert_int_eq(put_guarded(E1, "carol", "a1", &p), 0);
	RIG_UNTIL(p.calls, 10);
	KEPT(p, 0);
	ck_assert_str_eq(look_up(E2, RECORD_USER, "carol"), "a1");
	rig_end();
}
END_TEST

/* Who shares the store below reads it when he starts, and not again. */
START_TEST(a_guarded_write_is_in_the_place_below_and_at_the_partner)
{
	struct promise p;
	rig_begin(19);
	start_with_place(E1, 3);
	rig_cut(1 << E1, 1 << E2, true, false);
	ck_assert_int_eq(put_guarded(E1, "alice", "a1", &p), 0);
	rig_run(50);
	ck_assert_uint_eq(below.rows, 1);
	ck_assert_uint_eq(p.calls, 0); /* what the other edge would never know if we died */
	rig_cut(1 << E1, 1 << E2, false, false);
	RIG_UNTIL(p.calls, 700);
	KEPT(p, 0);
	ck_assert_str_eq(look_up(E2, RECORD_USER, "alice"), "a1");

	/* It dies: it will read the place below. */
	rig_cut(1 << E1, 1 << E2, true, false);
	ck_assert_int_eq(put_guarded(E1, "bob", "a1", &p), 0);
	rig_run(50);
	ck_assert_uint_eq(p.calls, 0);
	rig_kill(E2);
	RIG_UNTIL(p.calls, 10);
	KEPT(p, 0);
	ck_assert_int_eq(put_guarded(E1, "carol", "a1", &p), 0);
	RIG_UNTIL(p.calls, 10);
	KEPT(p, 0);
	ck_assert_uint_eq(counters_of(E1).alone, 0);
	ck_assert_uint_eq(counters_of(E1).waiting, 0);
	rig_end();
}
END_TEST

START_TEST(an_answer_from_below_may_come_when_the_cluster_has_gone)
{
	struct promise p, q;
	rig_begin(12);
	start_with_place(E1, 2);
	below.later = true;
	ck_assert_int_eq(put_user(E2, "carol", "a", NULL), 0);
	RIG_UNTIL(below.merges == 1, 10);
	ck_assert_int_eq(put_user(E1, "alice", "a", &p), 0);
	ck_assert_int_eq(put_guarded(E1, "bob", "a", &q), 0);
	rig_settle();
	ck_assert_uint_eq(below.n, 3);
	rig_kill(E1);
	KEPT(p, -EIO);
	KEPT(q, -EIO);
	below_answer(&below);
	KEPT(p, -EIO);
	rig_end();
}
END_TEST

START_TEST(the_rest_of_the_store_is_the_one_below)
{
	char error[256];
	struct store *s;
	rig_begin(13);
	rig_start(A2);
	s = cluster_store(rig[A2].c);
	ck_assert_int_eq(s->ops->backup(s, "x", error), -ENOTSUP);
	s->ops->expire(s, 0);
	s->ops->flush(s);
	s->ops->free(s);
	below = below_new();
	below.kept = (struct store_row){.kind = RECORD_USER,
					.group = SPAN("alice"),
					.body = SPAN("a"),
					.hlc = net_wall_ms << 16,
					.node = 1};
	rig[A1].below = (struct cluster_below){.store = &below.store};
	rig_start(A1);
	ck_assert_str_eq(look_up(A1, RECORD_USER, "alice"), "a");
	s = cluster_store(rig[A1].c);
	ck_assert_int_eq(s->ops->backup(s, "there", error), -EIO);
	ck_assert_str_eq(error, "there");
	s->ops->expire(s, 0);
	s->ops->flush(s);
	ck_assert_uint_eq(below.expires + below.flushes, 2);
	RIG_UNTIL(!strcmp(look_up(A2, RECORD_USER, "alice"), "a"), 1000);
	rig_end();
}
END_TEST

START_TEST(what_the_loop_has_no_time_for_is_refused)
{
	struct promise p;
	unsigned n = 0;
	char user[16];
	rig_begin(14);
	rig[A1].conf.queue_bytes = 64 << 10;
	rig_meet(4);
	rig[A1].paused = true;
	int rc;
	do {
		snprintf(user, sizeof(user), "u%u", n);
		rc = bind_at(A1, user, "sip:1", n ? NULL : &p);
		n++;
	} while (rc == 0 && n < 10000);
	ck_assert_int_eq(rc, -ENOSPC);
	ck_assert_uint_gt(n, 200);
	ck_assert_uint_eq(counters_of(A1).queue_full, 1);
	ck_assert_str_eq(binding(A1, user), ""); /* what was refused is nowhere */
	rig[A1].paused = false;
	rig_run(100);
	KEPT(p, 0);
	ck_assert_int_eq(bind_at(A1, user, "sip:1", &p), 0);
	RIG_UNTIL(p.calls && all_same(), 5000);
	rig_end();
}
END_TEST

START_TEST(a_record_that_no_message_has_room_for_is_refused)
{
	struct promise p;
	static char large[CLUSTER_PUT_MAX_BYTES];
	struct record v = {
		.kind = RECORD_BINDING, .group = SPAN("alice"), .body = {large, sizeof(large)}};
	rig_begin(15);
	rig_meet(4);
	ck_assert_int_eq(write_record(A1, &v, &p), -EMSGSIZE);
	v.body.n -= 100;
	ck_assert_int_eq(write_record(A1, &v, &p), 0);
	ck_assert_int_eq(bind_at(A1, "bob", "sip:1", NULL), 0);
	RIG_UNTIL(p.calls, 100);
	KEPT(p, 0);
	RIG_UNTIL(all_same() && has(A2, "bob", "sip:1"), 100);
	ck_assert_uint_eq(counters_of(E1).bad_messages, 0);
	rig_end();
}
END_TEST

/* Of a batch for different nodes each gets its part; a place is who has all. */
START_TEST(a_batch_that_nobody_shares_as_a_whole_has_no_second_place)
{
	struct record v[2] = {
		{.kind = RECORD_USER, .group = SPAN("x"), .name = SPAN("1"), .body = SPAN("a")},
		{.kind = RECORD_USER, .group = SPAN("x"), .name = SPAN("2"), .body = SPAN("b")},
	};
	struct promise p = {0, 1};
	rig_begin(16);
	rig_meet(NODES);
	rig_kill(E2);
	ck_assert_int_eq(records_put(rig[E1].r, v, 2, NULL, net_wall_ms, keep_promise, &p), 0);
	rig_settle();
	KEPT(p, -EIO);
	rig_run(10);
	ck_assert_str_eq(look_up(A1, RECORD_USER, "x"), "a");
	ck_assert_str_eq(look_up(B1, RECORD_USER, "x"), "b");
	ck_assert_uint_eq(records_count(rig[A1].r, RECORD_USER), 1);
	rig_start(E2);
	RIG_UNTIL(all_equal() && all_same(), 2000);
	p = (struct promise){0, 1};
	ck_assert_int_eq(records_put(rig[E1].r, v, 2, NULL, net_wall_ms, keep_promise, &p), 0);
	RIG_UNTIL(p.calls, 10);
	KEPT(p, 0); /* the other edge */
	rig_end();
}
END_TEST

UNIT_MAIN("common/cluster place", a_yes_leaves_when_the_partner_has_the_record,
	  what_the_edges_get_is_gathered,
	  what_the_partner_dies_with_is_asked_of_the_edges_at_once,
	  an_edge_is_a_second_place_when_the_partner_is_dead, alone_the_answer_is_no_at_once,
	  when_all_second_places_die_the_answer_is_no_at_once,
	  nobody_waits_longer_than_second_place_ms, who_waits_at_the_end_hears_no,
	  after_the_end_a_write_is_refused_and_nodes_are_still_known,
	  a_place_below_is_a_second_place,
	  a_store_below_that_is_no_place_keeps_but_confirms_nothing,
	  a_place_below_without_room_is_done_without,
	  what_comes_from_others_is_kept_below_where_it_is_taken,
	  a_guarded_write_waits_for_the_word_of_the_store_below,
	  a_guarded_write_is_in_the_place_below_and_at_the_partner,
	  an_answer_from_below_may_come_when_the_cluster_has_gone,
	  the_rest_of_the_store_is_the_one_below, what_the_loop_has_no_time_for_is_refused,
	  a_record_that_no_message_has_room_for_is_refused,
	  a_batch_that_nobody_shares_as_a_whole_has_no_second_place)
