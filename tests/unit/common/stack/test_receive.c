/*
 * What cannot be read as a message (receive.c): answered where that can be, or dropped.  One
 * worker by UDP, whose loop stands still until the test has it run; a phone of the test's own.
 */
#include "common/stack/stack_priv.h"

#include "common/sip/stamp.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

enum { ROOM = 16384 };

static const struct sip_fault too_large = {513, "Message Too Large"};
static struct stack_group *group;
static struct stack *stack;
static struct poison *poison;
static const struct mac_key key = {1, 2};
static int phone;
static struct sip_flow flow;
static char text[ROOM], answer[ROOM];

static uint32_t classify(void *arg, struct sip_flow *f, bool opened,
			 const struct net_peer *peer)
{
	(void)arg;
	(void)f;
	(void)opened;
	(void)peer;
	return 0;
}

static bool is_local(void *arg, struct span host, uint16_t port)
{
	(void)arg;
	(void)host;
	(void)port;
	return false;
}

static const struct stack_user user = {.classify = classify, .is_local = is_local};

static struct addr loopback(void)
{
	struct addr a;
	ck_assert_int_eq(addr_parse(&a, SPAN("127.0.0.1"), 0), 0);
	return a;
}

static void begin(void)
{
	static const char secret[32] = "a secret of nobody";
	char error[256] = "";
	void *args[1] = {NULL};
	struct stack_conf c = {
		.workers = 1,
		.net = net_conf_default,
		.timers = txn_timers_default,
		.transactions_max = 100,
		.proxy = proxy_conf_default,
		.dns = dns_conf_default,
		.secret = span_of(secret, sizeof(secret)),
		.handover_max = 1,
		.poison = poison = poison_new(&key),
	};
	socklen_t len = sizeof(flow.remote);
	c.net.nlisteners = 1;
	c.net.listener[0].transport = SIP_TRANSPORT_UDP;
	c.net.listener[0].addr = loopback();
	c.local[0] = (struct proxy_local){SIP_TRANSPORT_UDP, SPAN("127.0.0.1"), 0, false};
	group = stack_group_new(&c, &user, args, error);
	ck_assert_msg(group != NULL, "%s", error);
	stack = stack_group_worker(group, 0);
	flow = (struct sip_flow){.transport = SIP_TRANSPORT_UDP, .remote = loopback()};
	phone = socket(AF_INET, SOCK_DGRAM, 0);
	ck_assert_int_eq(bind(phone, &flow.remote.sa, addr_len(&flow.remote)), 0);
	ck_assert_int_eq(getsockname(phone, &flow.remote.sa, &len), 0);
}

static void end(void)
{
	close(phone);
	stack_group_free(group);
	poison = poison_free(poison);
}

/* A message with so long a body, in text. */
static struct span message(const char *start, const char *method, int body)
{
	int n = snprintf(text, sizeof(text),
			 "%s\r\nVia: SIP/2.0/UDP phone.test;branch=z9hG4bK1;rport\r\n"
			 "Via: SIP/2.0/UDP behind.test;branch=z9hG4bK0\r\nMax-Forwards: 70\r\n"
			 "From: <sip:a@example.org>;tag=f\r\nTo: <sip:b@example.org>\r\n"
			 "Call-ID: one\r\nCSeq: 1 %s\r\nSubject: %070d\r\n"
			 "Content-Length: %d\r\n\r\n%0*d",
			 start, method, 0, body, body, 0);
	ck_assert_int_lt(n, ROOM);
	return span_of(text, (size_t)n);
}

/* The first n bytes of it come, in memory that ends there; what the phone gets, "" for nothing.
 */
static const char *comes_cut(struct span m, size_t n, const struct sip_fault *why)
{
	char *head = malloc(n ? n : 1);
	ck_assert_ptr_nonnull(head);
	memcpy(head, m.p, n);
	stack_net_ops.broken(stack, &flow, span_of(head, n), why);
	ck_assert(memcmp(head, m.p, n) == 0);
	free(head);
	stack_group_finish(group);
	ssize_t r = recv(phone, answer, sizeof(answer) - 1, MSG_DONTWAIT);
	ck_assert(r > 0 || errno == EAGAIN);
	answer[r > 0 ? r : 0] = 0;
	return answer;
}

static size_t upto(struct span m, const char *what)
{
	const char *p = memmem(m.p, m.n, what, strlen(what));
	ck_assert_ptr_nonnull(p);
	return (size_t)(p - m.p) + strlen(what);
}

static void is_513(const char *a, const char *method)
{
	char cseq[32], via[128];
	snprintf(cseq, sizeof(cseq), "\r\nCSeq: 1 %s\r\n", method);
	snprintf(via, sizeof(via),
		 "\r\nVia: SIP/2.0/UDP phone.test;branch=z9hG4bK1;rport=%u;received=127.0.0.1"
		 "\r\nVia: SIP/2.0/UDP behind.test;branch=z9hG4bK0\r\n",
		 addr_port(&flow.remote));
	ck_assert(strncmp(a, "SIP/2.0 513 Message Too Large\r\n", 31) == 0);
	ck_assert_ptr_nonnull(strstr(a, via));
	ck_assert_ptr_nonnull(strstr(a, "\r\nFrom: <sip:a@example.org>;tag=f\r\n"));
	ck_assert_ptr_nonnull(strstr(a, "\r\nTo: <sip:b@example.org>;tag="));
	ck_assert_ptr_nonnull(strstr(a, "\r\nCall-ID: one\r\n"));
	ck_assert_ptr_nonnull(strstr(a, cseq));
	ck_assert_ptr_nonnull(strstr(a, "\r\nContent-Length: 0\r\n\r\n"));
}

START_TEST(a_request_that_is_too_long_is_told_so_by_its_via)
{
	begin();
	struct span m = message("OPTIONS sip:b@example.org SIP/2.0", "OPTIONS", 9000);
	is_513(comes_cut(m, 8192, &too_large), "OPTIONS");
	m = message("INVITE sip:b@example.org SIP/2.0", "INVITE", 9000);
	is_513(comes_cut(m, 8192, &too_large), "INVITE");
	ck_assert_uint_eq(stack->counters.received, 2);
	ck_assert_uint_eq(stack->counters.refused, 2);
	ck_assert_uint_eq(stack->counters.replies, 2);
	ck_assert_uint_eq(stack->counters.dropped, 0);
	end();
}
END_TEST

/* Whether their body is within the head that is left of them or not. */
START_TEST(an_ack_and_a_response_that_are_too_long_get_nothing)
{
	static const char *const starts[][2] = {{"ACK sip:b@example.org SIP/2.0", "ACK"},
						{"SIP/2.0 200 OK", "INVITE"},
						{"SIP/2.0 486 Busy", "INVITE"}};
	begin();
	for (unsigned i = 0; i < 3; i++) {
		struct span m = message(starts[i][0], starts[i][1], 9000);
		ck_assert_str_eq(comes_cut(m, 8192, &too_large), "");
		m = message(starts[i][0], starts[i][1], 1000);
		ck_assert_str_eq(comes_cut(m, m.n, &too_large), "");
	}
	ck_assert_uint_eq(stack->counters.refused, 6);
	ck_assert_uint_eq(stack->counters.dropped, 6);
	ck_assert_uint_eq(stack->counters.replies, 0);
	end();
}
END_TEST

/* An answer takes Via, From, To, Call-ID and CSeq: as soon as all are there whole. */
START_TEST(a_request_may_be_cut_anywhere)
{
	begin();
	struct span m = message("OPTIONS sip:b@example.org SIP/2.0", "OPTIONS", 100);
	size_t enough = upto(m, "CSeq: 1 OPTIONS\r\n");
	for (size_t n = 0; n <= m.n; n++) {
		comes_cut(m, n, &too_large);
		if (n < enough)
			ck_assert_msg(!*answer, "%zu bytes were answered:\n%s", n, answer);
		else
			is_513(answer, "OPTIONS");
	}
	ck_assert_uint_eq(stack->counters.dropped, enough);
	ck_assert_uint_eq(stack->counters.replies, m.n + 1 - enough);
	end();
}
END_TEST

/* Where the Via may be another one than the sender's, nobody is answered. */
START_TEST(what_would_be_answered_astray_is_not_answered_for_being_too_long)
{
	begin();
	struct span m = message("OPTIONS sip:b@example.org SIP/2.0", "OPTIONS", 9000);
	text[upto(m, "Via: SIP/2.0/UDP p") - 1] = '\0';
	ck_assert_str_eq(comes_cut(m, 8192, &too_large), "");
	m = message("OPTIONS sip:b@example.org SIP/2.0\rVia: SIP/2.0/UDP h", "OPTIONS", 9000);
	ck_assert_str_eq(comes_cut(m, 8192, &too_large), "");
	ck_assert_uint_eq(stack->counters.dropped, 2);
	end();
}
END_TEST

/* RFC 3261 7.5 */
START_TEST(crlfs_in_front_of_a_message_do_not_keep_it_from_its_answer)
{
	begin();
	struct span m = message("\r\n\r\nOPTIONS sip:b@example.org SIP/2.0", "OPTIONS", 9000);
	is_513(comes_cut(m, 8192, &too_large), "OPTIONS");
	m = message("\r\n\r\nOPTIONS sip:b@example.org SIP/3.0", "OPTIONS", 4);
	stack_net_ops.message(stack, &flow, text, m.n, sizeof(text), NULL);
	stack_group_finish(group);
	ck_assert_int_gt(recv(phone, answer, sizeof(answer) - 1, MSG_DONTWAIT), 0);
	ck_assert(strncmp(answer, "SIP/2.0 505 ", 12) == 0);
	end();
}
END_TEST

START_TEST(what_has_crashed_somebody_is_known_by_what_was_left_of_it)
{
	begin();
	struct span m = message("OPTIONS sip:b@example.org SIP/2.0", "OPTIONS", 9000);
	struct span head = span_of(m.p, 8192);
	struct poison_item item = {poison_fingerprint(&key, head), 1000000};
	is_513(comes_cut(m, 8192, &too_large), "OPTIONS");
	ck_assert_int_eq(poison_add(poison, &item, item.at_ms), 1);
	ck_assert(strncmp(comes_cut(m, 8192, &too_large), "SIP/2.0 403 Refused\r\n", 21) == 0);
	ck_assert_uint_eq(stack->counters.poison, 1);
	ck_assert_ptr_null(poison_work.p);
	m = message("MESSAGE sip:b@example.org SIP/2.0", "MESSAGE", 9000);
	is_513(comes_cut(m, 8192, &too_large), "MESSAGE");
	end();
}
END_TEST

UNIT_MAIN("common/stack receive", a_request_that_is_too_long_is_told_so_by_its_via,
	  an_ack_and_a_response_that_are_too_long_get_nothing, a_request_may_be_cut_anywhere,
	  what_would_be_answered_astray_is_not_answered_for_being_too_long,
	  crlfs_in_front_of_a_message_do_not_keep_it_from_its_answer,
	  what_has_crashed_somebody_is_known_by_what_was_left_of_it)
