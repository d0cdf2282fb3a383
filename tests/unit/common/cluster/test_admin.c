/*
 * Operators' calls from an edge to another node, and notices.
 */
#include "proto/cluster.pb-c.h"
#include "tests/unit/common/cluster/tables.h"

struct heard {
	unsigned calls;
	int status;
	size_t n;
	char text[64];
};

static void on_reply(void *arg, int status, struct span text)
{
	struct heard *h = arg;
	h->calls++;
	h->status = status;
	h->n = text.n;
	snprintf(h->text, sizeof(h->text), "%.*s", SPAN_FMT(text));
}

static struct {
	unsigned calls, node, argc;
	uint64_t id;
	char first[64], last[64];
	size_t input_n;
	uint64_t input_sum;
	bool later;
	size_t answer_n;
} asked;
static char large[CLUSTER_ADMIN_MAX_BYTES + 1];

static uint64_t sum(struct span s)
{
	return mac_span(&rig_key, s);
}

static void on_admin(void *arg, unsigned node, uint64_t id, unsigned argc, char **argv,
		     struct span input)
{
	struct rig_node *n = arg;
	asked.calls++;
	asked.node = node;
	asked.id = id;
	asked.argc = argc;
	snprintf(asked.first, sizeof(asked.first), "%s", argv[0]);
	snprintf(asked.last, sizeof(asked.last), "%s", argv[argc - 1]);
	asked.input_n = input.n;
	asked.input_sum = sum(input);
	if (asked.later)
		return;
	if (asked.answer_n)
		cluster_admin_reply(n->c, node, id, 0, span_of(large, asked.answer_n));
	else
		cluster_admin_reply(n->c, node, id, -ENOENT, SPAN("no such user"));
}

static void begin(uint64_t seed)
{
	rig_begin(seed);
	memset(&asked, 0, sizeof(asked));
	for (size_t i = 0; i < sizeof(large); i++)
		large[i] = (char)(i * 31 >> 3);
	for (unsigned i = 0; i < NODES; i++)
		rig[i].ops.admin = on_admin;
	rig_meet(4);
}

static int call(unsigned from, unsigned to, struct span input, struct heard *h)
{
	static char *const argv[] = {"user", "remove", "alice"};
	*h = (struct heard){0};
	return cluster_admin_call(rig[from].c, to, 3, argv, input, on_reply, h);
}

START_TEST(an_operator_at_an_edge_asks_a_home)
{
	struct heard h;
	begin(1);
	ck_assert_int_eq(call(E1, A1, SPAN("secret"), &h), 0);
	RIG_UNTIL(h.calls, 10);
	ck_assert_int_eq(h.status, -ENOENT);
	ck_assert_str_eq(h.text, "no such user");
	ck_assert_uint_eq(asked.calls, 1);
	ck_assert_uint_eq(asked.node, E1);
	ck_assert_uint_eq(asked.argc, 3);
	ck_assert_str_eq(asked.first, "user");
	ck_assert_str_eq(asked.last, "alice");
	ck_assert_uint_eq(asked.input_n, 6);
	ck_assert_int_eq(call(E1, E2, span_of(NULL, 0), &h), 0);
	RIG_UNTIL(h.calls, 10);
	ck_assert_uint_eq(asked.input_n, 0);
	rig_run(CLUSTER_ADMIN_MS + 1000);
	ck_assert_uint_eq(h.calls, 1);
	rig_end();
}
END_TEST

START_TEST(texts_of_a_mebibyte_come_whole_both_ways)
{
	struct heard h;
	begin(2);
	asked.answer_n = CLUSTER_ADMIN_MAX_BYTES;
	ck_assert_int_eq(call(E1, A1, span_of(large, CLUSTER_ADMIN_MAX_BYTES), &h), 0);
	RIG_UNTIL(h.calls, 20);
	ck_assert_int_eq(h.status, 0);
	ck_assert_uint_eq(h.n, CLUSTER_ADMIN_MAX_BYTES);
	ck_assert_uint_eq(asked.input_n, CLUSTER_ADMIN_MAX_BYTES);
	ck_assert(asked.input_sum == sum(span_of(large, CLUSTER_ADMIN_MAX_BYTES)));
	asked.answer_n = sizeof(large);
	ck_assert_int_eq(call(E1, A1, span_of(large, 7), &h), 0);
	RIG_UNTIL(h.calls, 20);
	ck_assert_int_eq(h.status, -EMSGSIZE);
	ck_assert_uint_eq(h.n, 0);
	ck_assert_int_eq(call(E1, A1, span_of(large, sizeof(large)), &h), -EMSGSIZE);
	rig_run(10);
	ck_assert_uint_eq(h.calls, 0);
	rig_end();
}
END_TEST

START_TEST(a_home_may_ask_nobody)
{
	struct heard h;
	begin(3);
	uint64_t bad = counters_of(E1).bad_messages;
	ck_assert_int_eq(call(A1, E1, SPAN("x"), &h), 0);
	RIG_UNTIL(h.calls, 10);
	ck_assert_int_eq(h.status, -EPERM);
	ck_assert_int_eq(call(A1, A2, SPAN("x"), &h), 0);
	RIG_UNTIL(h.calls, 10);
	ck_assert_int_eq(h.status, -EPERM);
	ck_assert_uint_eq(asked.calls, 0);
	ck_assert_uint_eq(counters_of(E1).bad_messages, bad + 1);
	rig_end();
}
END_TEST

START_TEST(a_call_to_a_node_that_is_dead_or_dies_ends)
{
	struct heard h;
	begin(4);
	ck_assert_int_eq(call(E1, B1, SPAN("x"), &h), 0);
	rig_settle();
	ck_assert_uint_eq(h.calls, 1);
	ck_assert_int_eq(h.status, -EHOSTUNREACH);
	asked.later = true;
	ck_assert_int_eq(call(E1, A1, SPAN("x"), &h), 0);
	RIG_UNTIL(asked.calls, 10);
	rig_kill(A1);
	ck_assert_uint_eq(h.calls, 1);
	ck_assert_int_eq(h.status, -EHOSTUNREACH);
	ck_assert_int_eq(call(E1, E1, SPAN("x"), &h), -EINVAL);
	ck_assert_int_eq(call(E1, NODES, SPAN("x"), &h), -EINVAL);
	ck_assert_int_eq(call(E1, A2, SPAN("x"), &h), 0);
	rig_kill(E1);
	ck_assert_uint_eq(h.calls, 1);
	ck_assert_int_eq(h.status, -EHOSTUNREACH);
	rig_end();
}
END_TEST

START_TEST(who_does_not_answer_is_not_waited_for_longer)
{
	struct heard h;
	begin(5);
	asked.later = true;
	ck_assert_int_eq(call(E1, A1, SPAN("x"), &h), 0);
	msec took = RIG_UNTIL(h.calls, CLUSTER_ADMIN_MS + 2000);
	ck_assert_int_eq(h.status, -ETIMEDOUT);
	ck_assert_uint_ge(took, CLUSTER_ADMIN_MS);
	cluster_admin_reply(rig[A1].c, E1, asked.id, 0, SPAN("late"));
	rig_run(10);
	ck_assert_uint_eq(h.calls, 1);
	rig_end();
}
END_TEST

START_TEST(an_answer_may_come_later_and_only_from_who_was_asked)
{
	struct heard h;
	begin(6);
	asked.later = true;
	ck_assert_int_eq(call(E1, A1, SPAN("x"), &h), 0);
	RIG_UNTIL(asked.calls, 10);
	cluster_admin_reply(rig[A2].c, E1, asked.id, 0, SPAN("forged"));
	rig_run(10);
	ck_assert_uint_eq(h.calls, 0);
	cluster_admin_reply(rig[A1].c, E1, asked.id, 0, SPAN("true"));
	RIG_UNTIL(h.calls, 10);
	ck_assert_str_eq(h.text, "true");
	rig_end();
}
END_TEST

START_TEST(calls_under_way_are_bounded)
{
	struct heard h[CLUSTER_ADMIN_CALLS_MAX + 1];
	begin(7);
	asked.later = true;
	for (unsigned i = 0; i < CLUSTER_ADMIN_CALLS_MAX; i++)
		ck_assert_int_eq(call(E1, A1, SPAN("x"), &h[i]), 0);
	ck_assert_int_eq(call(E1, A1, SPAN("x"), &h[CLUSTER_ADMIN_CALLS_MAX]), -EBUSY);
	rig_run(CLUSTER_ADMIN_MS + 1000);
	for (unsigned i = 0; i < CLUSTER_ADMIN_CALLS_MAX; i++)
		ck_assert_uint_eq(h[i].calls, 1);
	ck_assert_int_eq(call(E1, A1, SPAN("x"), &h[0]), 0);
	rig_end();
}
END_TEST

/* Whole, as a node says it that counts nothing. */
static void say_call(unsigned from, unsigned to, uint64_t id)
{
	static uint8_t message[256];
	ProtobufCBinaryData word = {1, (uint8_t *)message};
	Eaves__Envelope e = EAVES__ENVELOPE__INIT;
	Eaves__AdminCall m = EAVES__ADMIN_CALL__INIT;
	message[0] = 'x';
	m.id = id;
	m.n_word = 1;
	m.word = &word;
	e.version = e.oldest = cluster_protocol();
	e.boot = rig[from].conf.boot;
	e.peer_boot = rig[to].conf.boot;
	e.body_case = EAVES__ENVELOPE__BODY_ADMIN_CALL;
	e.admin_call = &m;
	uint8_t out[256];
	size_t n = eaves__envelope__pack(&e, out);
	cluster_receive(rig[to].c, from, span_of((const char *)out, n));
}

START_TEST(calls_that_are_not_answered_are_bounded)
{
	struct heard h;
	begin(9);
	asked.later = true;
	for (uint64_t i = 0; i < 1000; i++)
		say_call(E1, A1, 100 + i);
	ck_assert_uint_eq(asked.calls, CLUSTER_ADMIN_CALLS_MAX);
	ck_assert_int_eq(call(E1, A1, SPAN("x"), &h), 0);
	RIG_UNTIL(h.calls, 10);
	ck_assert_int_eq(h.status, -EBUSY);
	/* Another node's count apart; and who is answered may ask again. */
	ck_assert_int_eq(call(E2, A1, SPAN("x"), &h), 0);
	RIG_UNTIL(asked.calls > CLUSTER_ADMIN_CALLS_MAX, 10);
	cluster_admin_reply(rig[A1].c, E2, asked.id, 0, SPAN("done"));
	RIG_UNTIL(h.calls, 10);
	cluster_admin_reply(rig[A1].c, E1, 100, 0, SPAN("done"));
	ck_assert_int_eq(call(E1, A1, SPAN("x"), &h), 0);
	RIG_UNTIL(asked.calls > CLUSTER_ADMIN_CALLS_MAX + 1, 10);
	rig_end();
}
END_TEST

static bool lose_second_piece(unsigned from, unsigned to, struct span bytes)
{
	static unsigned n;
	return from != E1 || to != A1 || bytes.n < 100000 || ++n != 2;
}

START_TEST(a_call_of_which_a_piece_is_lost_is_not_done)
{
	struct heard h;
	begin(8);
	net.look = lose_second_piece;
	ck_assert_int_eq(call(E1, A1, span_of(large, 600000), &h), 0);
	RIG_UNTIL(h.calls, 100);
	ck_assert_int_eq(h.status, -EBADMSG);
	ck_assert_uint_eq(asked.calls, 0);
	rig_end();
}
END_TEST

static struct {
	unsigned n, node, kind;
	char body[32];
} note[NODES];

static void on_notice(void *arg, unsigned node, unsigned kind, struct span body)
{
	struct rig_node *n = arg;
	note[n->index].n++;
	note[n->index].node = node;
	note[n->index].kind = kind;
	snprintf(note[n->index].body, 32, "%.*s", SPAN_FMT(body));
}

START_TEST(notices_go_to_one_or_to_all_that_live)
{
	begin(9);
	for (unsigned i = 0; i < NODES; i++) {
		rig[i].ops.notice = on_notice;
		if (rig_up(i))
			rig_kill(i);
	}
	rig[A2].ops.notice = NULL;
	rig_meet(4);
	ck_assert_int_eq(cluster_notify(rig[A1].c, -1, 7, SPAN("poison")), 0);
	rig_run(10);
	ck_assert(note[E1].n == 1 && note[E2].n == 1 && note[A1].n == 0 && note[A2].n == 0);
	ck_assert_uint_eq(note[E1].node, A1);
	ck_assert_uint_eq(note[E1].kind, 7);
	ck_assert_str_eq(note[E1].body, "poison");
	ck_assert_int_eq(cluster_notify(rig[A1].c, E2, 0, span_of(NULL, 0)), 0);
	rig_run(10);
	ck_assert(note[E1].n == 1 && note[E2].n == 2 && note[E2].kind == 0);
	ck_assert_int_eq(cluster_notify(rig[A1].c, B1, 1, SPAN("nobody")), 0);
	ck_assert_int_eq(cluster_notify(rig[A1].c, A1, 1, SPAN("self")), -EINVAL);
	ck_assert_int_eq(cluster_notify(rig[A1].c, NODES, 1, SPAN("none")), -EINVAL);
	ck_assert_int_eq(
		cluster_notify(rig[A1].c, E1, 1, span_of(large, CLUSTER_NOTICE_MAX_BYTES + 1)),
		-EMSGSIZE);
	ck_assert_int_eq(
		cluster_notify(rig[A1].c, E1, 1, span_of(large, CLUSTER_NOTICE_MAX_BYTES)), 0);
	rig_run(10);
	ck_assert_uint_eq(note[E1].n, 2);
	rig_end();
}
END_TEST

UNIT_MAIN("common/cluster admin", an_operator_at_an_edge_asks_a_home,
	  texts_of_a_mebibyte_come_whole_both_ways, a_home_may_ask_nobody,
	  a_call_to_a_node_that_is_dead_or_dies_ends,
	  who_does_not_answer_is_not_waited_for_longer,
	  an_answer_may_come_later_and_only_from_who_was_asked, calls_under_way_are_bounded,
	  calls_that_are_not_answered_are_bounded, a_call_of_which_a_piece_is_lost_is_not_done,
	  notices_go_to_one_or_to_all_that_live)
