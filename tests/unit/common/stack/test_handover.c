/*
 * What workers hand to each other (send.c): two workers whose loops stand still until the test
 * has them run.
 */
#include "common/stack/stack_priv.h"

#include "tests/unit/unit.h"

#include <errno.h>

enum { MAX = 8, MANY = STACK_ARENA_BYTES / 64 };

static struct stack_group *group;

static uint32_t classify(void *arg, struct sip_flow *f, bool opened,
			 const struct net_peer *peer)
{
	(void)arg;
	(void)f;
	(void)opened;
	(void)peer;
	return 0;
}

static void flow_closed(void *arg, struct stack *st, const struct sip_flow *f)
{
	(void)arg;
	(void)st;
	(void)f;
}

/* As the programs do it: a token in the arena. */
static struct span lost_flow(void *arg, const struct sip_flow *f)
{
	char *token = arena_alloc(sip_arena(), 72);
	(void)arg;
	(void)f;
	return token ? span_of(memset(token, 'x', 72), 72) : SPAN("");
}

static bool is_local(void *arg, struct span host, uint16_t port)
{
	(void)arg;
	(void)host;
	(void)port;
	return false;
}

static const struct stack_user user = {.classify = classify,
				       .flow_closed = flow_closed,
				       .lost_flow = lost_flow,
				       .is_local = is_local};

static void begin_with(unsigned max, const struct stack_node *node, unsigned nnodes)
{
	static const char secret[32] = "a secret of nobody";
	char error[256] = "";
	void *args[2] = {NULL, NULL};
	struct stack_conf c = {
		.workers = 2,
		.net = net_conf_default,
		.timers = txn_timers_default,
		.transactions_max = 10000,
		.proxy = proxy_conf_default,
		.dns = dns_conf_default,
		.secret = span_of(secret, sizeof(secret)),
		.handover_max = max,
		.node = node,
		.nnodes = nnodes,
	};
	c.net.nlisteners = 1;
	c.net.listener[0].transport = SIP_TRANSPORT_TCP;
	ck_assert_int_eq(addr_parse(&c.net.listener[0].addr, SPAN("127.0.0.1"), 0), 0);
	c.local[0] =
		(struct proxy_local){SIP_TRANSPORT_TCP, SPAN("127.0.0.1"), 0, .inside = true};
	group = stack_group_new(&c, &user, args, error);
	ck_assert_msg(group != NULL, "%s", error);
}

static void begin(void)
{
	begin_with(MAX, NULL, 0);
}

static const struct stack_counters *counters(unsigned i)
{
	return stack_counters(stack_group_worker(group, i));
}

static void send_over_the_others(unsigned n)
{
	const struct sip_flow to = {.transport = SIP_TRANSPORT_TCP, .worker = 1, .conn = 12345};
	const struct span m = SPAN("OPTIONS sip:a@example.org SIP/2.0\r\n\r\n");
	struct iovec iov = {(void *)(uintptr_t)m.p, m.n};
	for (unsigned i = 0; i < n; i++)
		stack_send(stack_group_worker(group, 0), &to, &iov, 1, 1 + i);
}

START_TEST(what_another_worker_is_to_send_is_bounded_and_the_rest_has_failed)
{
	begin();
	send_over_the_others(MAX);
	ck_assert_uint_eq(counters(0)->handover_send_full, 0);
	ck_assert_uint_eq(counters(0)->send_failed, 0);
	send_over_the_others(3);
	ck_assert_uint_eq(counters(0)->handover_send_full, 3);
	ck_assert_uint_eq(counters(0)->send_failed, 3);
	stack_group_finish(group); /* there is no such connection */
	ck_assert_uint_eq(counters(1)->send_failed, MAX);
	send_over_the_others(MAX);
	ck_assert_uint_eq(counters(0)->handover_send_full, 3);
	stack_group_finish(group);
	stack_group_free(group);
}
END_TEST

START_TEST(icmp_errors_for_another_worker_are_bounded)
{
	struct addr to;
	begin();
	ck_assert_int_eq(addr_parse(&to, SPAN("192.0.2.1"), 5060), 0);
	for (unsigned i = 0; i < STACK_ERRORS_MAX + 5; i++)
		stack_unreachable(stack_group_worker(group, 0), &to, 111);
	ck_assert_uint_eq(counters(0)->handover_error_full, 5);
	stack_group_finish(group);
	stack_unreachable(stack_group_worker(group, 0), &to, 111);
	ck_assert_uint_eq(counters(0)->handover_error_full, 5);
	stack_group_finish(group);
	stack_group_free(group);
}
END_TEST

START_TEST(messages_for_another_worker_are_bounded)
{
	const struct sip_flow f = {.transport = SIP_TRANSPORT_TCP};
	begin();
	for (unsigned i = 0; i < MAX + 2; i++)
		stack_hand_over(stack_group_worker(group, 0), 1, &f, "x", 1, 0);
	ck_assert_uint_eq(counters(0)->handed_over, MAX);
	ck_assert_uint_eq(counters(0)->handover_full, 2);
	stack_group_finish(group);
	stack_hand_over(stack_group_worker(group, 0), 1, &f, "x", 1, 0);
	ck_assert_uint_eq(counters(0)->handed_over, MAX + 1);
	stack_group_finish(group);
	stack_group_free(group);
}
END_TEST

/* An address moves, and all who ring have lost their callers. */
START_TEST(answers_of_any_number_are_taken_in_for_callers_who_are_elsewhere)
{
	static const struct stack_node node = {.name = "h", .pair = "homes"};
	const struct sip_flow to = {.transport = SIP_TRANSPORT_TCP, .worker = 1, .conn = 12345};
	const struct span m = SPAN("SIP/2.0 180 Ringing\r\n"
				   "Via: SIP/2.0/TCP 192.0.2.1;branch=z9hG4bK1\r\n"
				   "From: <sip:a@example.org>;tag=f\r\n"
				   "To: <sip:b@example.org>;tag=t\r\n"
				   "Call-ID: 1\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n");
	struct iovec iov = {(void *)(uintptr_t)m.p, m.n};
	begin_with(2 * MANY, &node, 1);
	for (unsigned i = 0; i < MANY; i++)
		stack_send(stack_group_worker(group, 0), &to, &iov, 1, 1 + i);
	stack_group_finish(group);
	ck_assert_uint_eq(counters(1)->handed_over, MANY);
	ck_assert_uint_eq(counters(1)->send_failed, 0);
	stack_group_free(group);
}
END_TEST

START_TEST(no_next_hop_is_the_address_of_a_node)
{
	struct stack_node node = {.name = "h", .pair = "homes"};
	struct locate_target t = {.transport = SIP_TRANSPORT_TCP};
	ck_assert_int_eq(addr_parse(&t.addr, SPAN("127.0.0.7"), 7401), 0);
	node.addr = t.addr;
	begin_with(MAX, &node, 1);
	struct stack *s = stack_group_worker(group, 0);
	s->local[0].inside = false;
	ck_assert_int_eq(stack_proxy_ops.listener_for(s, &t, 0), -EACCES);
	addr_set_port(&t.addr, 5060);
	ck_assert_int_eq(stack_proxy_ops.listener_for(s, &t, 0), 0);
	stack_group_free(group);
}
END_TEST

UNIT_MAIN("common/stack handover",
	  what_another_worker_is_to_send_is_bounded_and_the_rest_has_failed,
	  icmp_errors_for_another_worker_are_bounded, messages_for_another_worker_are_bounded,
	  answers_of_any_number_are_taken_in_for_callers_who_are_elsewhere,
	  no_next_hop_is_the_address_of_a_node)
