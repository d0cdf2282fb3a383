/*
 * What workers hand to each other and what is passed on as it came (send.c): two workers whose
 * loops stand still until the test has them run.
 */
#include "common/stack/stack_priv.h"

#include "tests/unit/common/stack/homes.h"

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

/* We are the only node: what is for one comes back to us. */
static int member(void *arg, unsigned node, bool ends)
{
	(void)arg;
	(void)ends;
	return (int)node;
}

static unsigned nfrom_node, nlinks; /* requests of a node; their fields Eaves-Link */

static bool from_node(void *arg, const struct sip_msg *m, struct sip_flow *f, uint32_t *marks)
{
	const struct sip_hdr *h = sip_msg_first(m, SIP_HDR_EAVES_LINK);
	(void)arg;
	(void)f;
	(void)marks;
	nfrom_node++;
	for (; h; h = sip_msg_next(m, h))
		nlinks++;
	return false;
}

static const struct stack_user user = {.classify = classify,
				       .flow_closed = flow_closed,
				       .lost_flow = lost_flow,
				       .is_local = is_local,
				       .member = member,
				       .from_node = from_node};

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

/* The other member may ask for more than can be done. */
START_TEST(knocks_are_bounded)
{
	struct sip_flow f = {.transport = SIP_TRANSPORT_TCP, .worker = 1};
	begin();
	ck_assert_int_eq(addr_parse(&f.remote, SPAN("192.0.2.1"), 5060), 0);
	for (unsigned i = 0; i < MAX + 5; i++)
		stack_group_knock(group, &f);
	ck_assert_uint_eq(counters(1)->handover_knock_full, 5);
	stack_group_finish(group);
	stack_group_knock(group, &f);
	ck_assert_uint_eq(counters(1)->handover_knock_full, 5);
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

/* Of somebody who has written in it what nodes tell each other, so many times. */
static void index_forged(struct sip_msg *m, unsigned fields, char *text, size_t room)
{
	struct sip_limits lim = sip_limits_default;
	struct sip_fault fault = {0};
	size_t n = (size_t)snprintf(
		text, room,
		"CANCEL sip:bob@example.org SIP/2.0\r\n"
		"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n"
		"Eaves-Link: m=0015;t=udp;s=192.0.2.9:5060;u=alice\r\n"
		"From: <sip:a@example.org>;tag=f\r\nTo: <sip:bob@example.org>\r\n");
	for (unsigned i = 1; i < fields; i++)
		n += (size_t)snprintf(text + n, room - n, "eaves-link : m=0001\r\n");
	n += (size_t)snprintf(text + n, room - n, "Call-ID: 1\r\nCSeq: 1 CANCEL\r\n\r\n");
	ck_assert_int_eq(sip_msg_index(m, span_of(text, n), false, &lim, &fault), 0);
}

START_TEST(what_nodes_tell_each_other_is_passed_on_from_node_to_node_alone)
{
	static const struct stack_node self = {.name = "h", .pair = "homes"};
	const struct sip_flow phone = {.transport = SIP_TRANSPORT_UDP}, node = {.node = 1};
	struct sip_flow to_phone = {.transport = SIP_TRANSPORT_TCP};
	struct sip_hdr hdr[SIP_HDR_MAX];
	struct sip_msg m = {.hdr = hdr};
	struct home bob = {0};
	char text[4096];
	begin_with(MAX, &self, 1);
	struct stack *s = stack_group_worker(group, 0);
	nfrom_node = nlinks = 0;
	index_forged(&m, 1, text, sizeof(text));
	ck_assert_int_eq(stack_pass(s, &phone, &node, &m, NULL), 0);
	index_forged(&m, 3, text, sizeof(text));
	ck_assert_int_eq(stack_pass(s, &phone, &node, &m, NULL), 0);
	stack_group_finish(group);
	ck_assert_uint_eq(nfrom_node, 2);
	ck_assert_uint_eq(nlinks, 0);
	index_forged(&m, 40, text, sizeof(text));
	ck_assert_int_eq(stack_pass(s, &phone, &node, &m, NULL), -EOVERFLOW);
	index_forged(&m, 1, text, sizeof(text));
	ck_assert_int_eq(stack_pass(s, &node, &node, &m, NULL), 0);
	stack_group_finish(group);
	ck_assert_uint_eq(nfrom_node, 3);
	ck_assert_uint_eq(nlinks, 1);
	home_listen(&bob, 0);
	to_phone.remote = bob.addr;
	ck_assert_int_eq(stack_pass(s, &node, &to_phone, &m, NULL), 0);
	for (msec until = time_now() + 2000; !messages_at(&bob) && time_now() < until;)
		loop_round(s->loop, 5);
	ck_assert_uint_eq(messages_at(&bob), 1);
	ck_assert_ptr_null(strcasestr(bob.got, "Eaves-Link"));
	stack_group_free(group);
	home_hang_up(&bob);
	close(bob.server);
	free(bob.got);
}
END_TEST

/* As when much is sent again that had been for the other member. */
START_TEST(what_this_node_has_no_room_for_waits_or_has_failed)
{
	static const struct stack_node self = {.name = "h", .pair = "homes"};
	const struct sip_flow node = {.node = 1, .leg = SIP_TRANSPORT_TCP};
	const struct sip_flow gone = {.transport = SIP_TRANSPORT_TCP, .conn = 12345};
	const struct span answer =
		SPAN("SIP/2.0 180 Ringing\r\n"
		     "Via: SIP/2.0/TCP 192.0.2.1;branch=z9hG4bK1\r\n"
		     "From: <sip:a@example.org>;tag=f\r\nTo: <sip:b@example.org>;tag=t\r\n"
		     "Call-ID: 1\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n");
	const struct span request =
		SPAN("MESSAGE sip:bob@example.org SIP/2.0\r\n"
		     "Via: SIP/2.0/TCP 192.0.2.1;branch=z9hG4bK2\r\nMax-Forwards: 70\r\n"
		     "From: <sip:a@example.org>;tag=f\r\nTo: <sip:b@example.org>\r\n"
		     "Call-ID: 2\r\nCSeq: 1 MESSAGE\r\nContent-Length: 0\r\n\r\n");
	struct iovec answers = {(void *)(uintptr_t)answer.p, answer.n};
	struct iovec requests = {(void *)(uintptr_t)request.p, request.n};
	begin_with(MAX, &self, 1);
	struct stack *s = stack_group_worker(group, 0);
	sip_values_use_arena(&s->arena);
	nfrom_node = 0;
	for (unsigned i = 0; i < MAX; i++)
		ck_assert_int_eq(stack_link_self(s, &answers, 1), 0);
	ck_assert_int_eq(stack_link_self(s, &answers, 1), -EAGAIN);
	stack_send(s, &gone, &answers, 1, 1); /* its transaction learns of it */
	ck_assert_uint_eq(counters(0)->send_failed, 1);
	stack_send(s, &node, &requests, 1, 0); /* nobody sends it again */
	ck_assert_uint_eq(counters(0)->link_kept, 1);
	ck_assert_uint_eq(counters(0)->handover_full, 3);
	for (msec until = time_now() + 2000; !nfrom_node && time_now() < until;)
		loop_round(s->loop, 5);
	ck_assert_uint_eq(nfrom_node, 1);
	ck_assert_uint_eq(counters(0)->link_late + counters(0)->link_down, 0);
	stack_group_finish(group);
	stack_group_free(group);
}
END_TEST

UNIT_MAIN("common/stack handover", what_this_node_has_no_room_for_waits_or_has_failed,
	  what_nodes_tell_each_other_is_passed_on_from_node_to_node_alone,
	  what_another_worker_is_to_send_is_bounded_and_the_rest_has_failed,
	  icmp_errors_for_another_worker_are_bounded, knocks_are_bounded,
	  messages_for_another_worker_are_bounded,
	  answers_of_any_number_are_taken_in_for_callers_who_are_elsewhere,
	  no_next_hop_is_the_address_of_a_node)
