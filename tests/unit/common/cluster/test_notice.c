/*
 * Small messages: at once, or told in passing and joined.
 */
#include "tests/unit/common/cluster/tables.h"

static struct {
	unsigned n, kind, from;
	char text[64];
} heard;

static void on_notice(void *arg, unsigned node, unsigned kind, struct span body)
{
	(void)arg;
	heard.n++;
	heard.kind = kind;
	heard.from = node;
	snprintf(heard.text, sizeof(heard.text), "%.*s", SPAN_FMT(body));
}

/* All of e1, e2, a1 and a2 meet; a2 listens. */
static void meet(void)
{
	memset(&heard, 0, sizeof(heard));
	rig[A2].ops.notice = on_notice;
	rig_meet(4);
	rig_run(1000);
}

START_TEST(a_notice_leaves_at_once_to_one_or_to_all)
{
	rig_begin(1);
	meet();
	ck_assert_int_eq(cluster_notify(rig[A1].c, A2, 7, SPAN("one")), 0);
	ck_assert_uint_le(RIG_UNTIL(heard.n == 1, 20), 2);
	ck_assert_str_eq(heard.text, "one");
	ck_assert_uint_eq(heard.kind, 7);
	ck_assert_uint_eq(heard.from, A1);
	ck_assert_int_eq(cluster_notify(rig[E1].c, -1, 8, SPAN("")), 0);
	RIG_UNTIL(heard.n == 2, 20);
	ck_assert_str_eq(heard.text, "");
	ck_assert_int_eq(cluster_notify(rig[A1].c, E2, 7, SPAN("two")), 0);
	rig_run(50);
	ck_assert_uint_eq(heard.n, 2);
	rig_end();
}
END_TEST

START_TEST(what_is_told_arrives_joined_and_not_late)
{
	rig_begin(2);
	meet();
	ck_assert_int_eq(cluster_tell(rig[A1].c, A2, 7, SPAN("one,")), 0);
	rig_run(2);
	ck_assert_int_eq(cluster_tell(rig[A1].c, A2, 7, SPAN("two")), 0);
	rig_run(2);
	ck_assert_uint_eq(heard.n, 0);
	ck_assert_uint_le(RIG_UNTIL(heard.n == 1, 100), 20);
	ck_assert_str_eq(heard.text, "one,two");
	rig_run(100);
	ck_assert_uint_eq(heard.n, 1);
	rig_end();
}
END_TEST

START_TEST(what_is_told_goes_with_records)
{
	rig_begin(3);
	meet();
	ck_assert_int_eq(cluster_tell(rig[A1].c, A2, 7, SPAN("one")), 0);
	ck_assert_int_eq(bind_at(A1, "alice", "sip:1", NULL), 0);
	ck_assert_uint_le(RIG_UNTIL(has(A2, "alice", "sip:1"), 20), 2);
	ck_assert_str_eq(heard.text, "one");
	rig_end();
}
END_TEST

START_TEST(what_is_told_of_another_kind_is_another_message)
{
	static char large[CLUSTER_NOTICE_MAX_BYTES];
	rig_begin(4);
	meet();
	ck_assert_int_eq(cluster_tell(rig[A1].c, A2, 7, SPAN("one")), 0);
	ck_assert_int_eq(cluster_tell(rig[A1].c, A2, 8, SPAN("two")), 0);
	RIG_UNTIL(heard.n == 2, 50);
	ck_assert_uint_eq(heard.kind, 8);
	ck_assert_str_eq(heard.text, "two");
	/* Or when it would grow too large. */
	memset(large, 'x', sizeof(large));
	ck_assert_int_eq(cluster_tell(rig[A1].c, A2, 8, SPAN("three")), 0);
	ck_assert_int_eq(cluster_tell(rig[A1].c, A2, 8, span_of(large, sizeof(large))), 0);
	RIG_UNTIL(heard.n == 4, 50);
	ck_assert_int_eq(heard.text[0], 'x');
	ck_assert_int_eq(cluster_tell(rig[A1].c, A2, 8, span_of(large, sizeof(large) + 1)),
			 -EMSGSIZE);
	ck_assert_uint_eq(counters_of(A2).bad_messages, 0);
	rig_end();
}
END_TEST

START_TEST(what_was_to_be_told_dies_with_its_node)
{
	rig_begin(5);
	meet();
	ck_assert_int_eq(cluster_tell(rig[A1].c, A1, 7, SPAN("self")), -EINVAL);
	ck_assert_int_eq(cluster_tell(rig[A1].c, NODES, 7, SPAN("nobody")), -EINVAL);
	ck_assert_int_eq(cluster_tell(rig[A1].c, A2, 7, SPAN("late")), 0);
	rig_run(1);
	rig_kill(A2);
	ck_assert_int_eq(cluster_tell(rig[A1].c, A2, 7, SPAN("later")), 0);
	rig_run(1);
	rig_start(A2);
	RIG_UNTIL(all_equal(), 2000);
	ck_assert_uint_eq(heard.n, 0);
	ck_assert_int_eq(cluster_tell(rig[A1].c, A2, 7, SPAN("now")), 0);
	RIG_UNTIL(heard.n == 1, 50);
	ck_assert_str_eq(heard.text, "now");
	ck_assert_int_eq(cluster_tell(rig[A1].c, A2, 7, SPAN("never")), 0);
	rig_end();
}
END_TEST

/* As soon as a2 lives for a1, much is told; a2 does not know a1 yet. */
static void tell_much(void *arg, unsigned node)
{
	static const char *const words[] = {"one,", "two,", "three"};
	static char large[CLUSTER_NOTICE_MAX_BYTES];
	struct rig_node *n = arg;
	if (node != A2 || !cluster_alive(n->c, A2))
		return;
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(cluster_tell(n->c, A2, 7, span_str(words[i])), 0);
	memset(large, 'x', sizeof(large));
	for (unsigned i = 0; i < 10; i++)
		ck_assert_int_eq(cluster_tell(n->c, A2, 7, span_of(large, sizeof(large))), 0);
	ck_assert_int_eq(cluster_tell(n->c, A2, 8, SPAN("last")), 0);
}

static char all_heard[256];

static void on_each(void *arg, unsigned node, unsigned kind, struct span body)
{
	size_t n = strlen(all_heard);
	on_notice(arg, node, kind, body);
	snprintf(all_heard + n, sizeof(all_heard) - n, "%u:%.12s;", kind, heard.text);
}

START_TEST(what_is_told_to_a_node_that_does_not_know_us_yet_arrives_in_its_order)
{
	rig_begin(6);
	meet();
	rig[A1].ops.changed = tell_much;
	rig_kill(A1);
	rig_start(A1); /* with another changed */
	RIG_UNTIL(all_equal(), 2000);
	for (unsigned i = 0; i < 2; i++) {
		memset(&heard, 0, sizeof(heard));
		all_heard[0] = '\0';
		rig_kill(A2);
		rig[A2].ops.notice = on_each;
		rig_start(A2);
		RIG_UNTIL(heard.n == 12, 1000);
		ck_assert_int_eq(strncmp(all_heard, "7:one,two,thre;7:xxxxxxxxxxxx;", 30), 0);
		ck_assert_str_eq(heard.text, "last");
		rig_run(1000);
		ck_assert_uint_eq(heard.n, 12);
	}
	ck_assert_uint_eq(counters_of(A1).queue_full, 0);
	rig_end();
}
END_TEST

START_TEST(what_waits_for_a_node_to_know_us_has_a_limit_and_ends_with_the_connection)
{
	static char large[CLUSTER_NOTICE_MAX_BYTES];
	rig_begin(7);
	rig[A1].conf.queue_bytes = 40000;
	meet();
	rig_kill(A2);
	net.cut[A1][A2] = true; /* it is heard of, and hears nothing */
	rig_start(A2);
	rig_connected(A1, A2, true);
	RIG_UNTIL(cluster_alive(rig[A1].c, A2), 1000);
	uint64_t full = counters_of(A1).queue_full;
	for (unsigned i = 0; i < 5; i++) { /* two fit */
		ck_assert_int_eq(cluster_tell(rig[A1].c, A2, 7, span_of(large, 16000)), 0);
		rig_run(1);
	}
	ck_assert_uint_eq(counters_of(A1).queue_full, full + 3);
	rig_connected(A1, A2, false);
	net.cut[A1][A2] = false;
	rig_connected(A1, A2, true);
	RIG_UNTIL(all_equal(), 2000);
	ck_assert_uint_eq(heard.n, 0);
	ck_assert_int_eq(cluster_tell(rig[A1].c, A2, 7, SPAN("now")), 0);
	RIG_UNTIL(heard.n == 1, 50);
	ck_assert_str_eq(heard.text, "now");
	rig_end();
}
END_TEST

static bool bus_full;

static int send_if_room(void *arg, unsigned node, struct span bytes)
{
	return bus_full ? -ENOBUFS : rig_send(arg, node, bytes);
}

START_TEST(what_the_bus_has_no_room_for_waits_and_goes_before_later_records)
{
	rig_begin(8);
	rig[A1].ops.send = send_if_room;
	meet();
	bus_full = true;
	ck_assert_int_eq(cluster_tell(rig[A1].c, A2, 7, SPAN("one,")), 0);
	ck_assert_int_eq(bind_at(A1, "alice", "sip:1", NULL), 0);
	rig_run(50);
	ck_assert_int_eq(cluster_tell(rig[A1].c, A2, 7, SPAN("two")), 0);
	rig_run(50);
	bus_full = false;
	RIG_UNTIL(has(A2, "alice", "sip:1"), 30);
	ck_assert_str_eq(heard.text, "one,two");
	rig_end();
}
END_TEST

UNIT_MAIN("common/cluster notice", a_notice_leaves_at_once_to_one_or_to_all,
	  what_is_told_arrives_joined_and_not_late, what_is_told_goes_with_records,
	  what_is_told_of_another_kind_is_another_message,
	  what_was_to_be_told_dies_with_its_node,
	  what_is_told_to_a_node_that_does_not_know_us_yet_arrives_in_its_order,
	  what_waits_for_a_node_to_know_us_has_a_limit_and_ends_with_the_connection,
	  what_the_bus_has_no_room_for_waits_and_goes_before_later_records)
