/*
 * Links with other nodes (link.c, kept.c, trying.c): a worker of an edge in a loop of its own,
 * and a pair of homes that are sockets of the test: they read when they are told to.
 */
#include "common/stack/stack_priv.h"

#include "tests/unit/common/stack/homes.h"

enum { EDGE, H1, H2, NODES, MANY = 3000, DEAD_MS = 20000 };

static struct stack_group *group;
static struct stack *w;
static struct home home[NODES];
static bool lives[NODES];
static unsigned nfailed, nfull;
static unsigned
	held_for; /* who connects, before it is proved: of a version before; 0: nobody */
static unsigned nfrom[NODES + 1]; /* messages of nodes, by flow.node */

/* ---- what the stack asks ---- */

static uint32_t classify(void *arg, struct sip_flow *f, bool opened,
			 const struct net_peer *peer)
{
	(void)arg;
	if (!opened)
		f->node = (uint16_t)(peer ? peer->tag : held_for);
	return 0;
}

static int introduced(void *arg, const struct sip_msg *m, const struct sip_flow *f,
		      struct net_peer *ret)
{
	struct span v = sip_msg_value(m, SIP_HDR_EAVES_LINK);
	(void)arg;
	if (!v.n)
		return f->node ? -ENOENT : -EPERM;
	ret->tag = (unsigned)(v.p[0] - '0');
	return ret->tag ? 0 : -EPERM;
}

static bool from_node(void *arg, const struct sip_msg *m, struct sip_flow *f, uint32_t *marks)
{
	(void)arg;
	(void)m;
	(void)marks;
	nfrom[f->node]++;
	return false;
}

static int chosen(void *arg, unsigned node)
{
	(void)arg;
	(void)node;
	return lives[H1] ? H1 : lives[H2] ? H2 : -1;
}

static int member(void *arg, unsigned node, bool ends)
{
	(void)ends;
	return lives[node] ? (int)node : chosen(arg, node);
}

static bool taken_over(void *arg, msec gap)
{
	(void)arg;
	(void)gap;
	return false;
}

static void link_failed(void *arg, unsigned node)
{
	(void)arg;
	ck_assert_uint_lt(node, NODES);
	nfailed++;
}

static unsigned nunopened;

static void link_unopened(void *arg, unsigned node)
{
	(void)arg;
	nunopened += node == H1 ? 1 : 100;
}

static void link_full(void *arg, unsigned node)
{
	(void)arg;
	ck_assert_uint_lt(node, NODES);
	nfull++;
}

static size_t introduction(void *arg, unsigned node, char *buf)
{
	(void)arg;
	(void)buf;
	ck_assert_uint_lt(node, NODES);
	return 0;
}

static void flow_closed(void *arg, struct stack *st, const struct sip_flow *f)
{
	(void)arg;
	(void)st;
	(void)f;
}

static const struct stack_user user = {.classify = classify,
				       .member = member,
				       .chosen = chosen,
				       .taken_over = taken_over,
				       .link_failed = link_failed,
				       .link_unopened = link_unopened,
				       .link_full = link_full,
				       .introduction = introduction,
				       .introduced = introduced,
				       .from_node = from_node,
				       .flow_closed = flow_closed};

/* ---- the rig ---- */

static void begin_with(uint32_t dead_ms, uint32_t link_bytes)
{
	static struct stack_node node[NODES];
	static const char secret[32] = "a secret of nobody";
	char error[256] = "";
	void *args[1] = {NULL};
	struct stack_conf c = {
		.workers = 1,
		.net = net_conf_default,
		.timers = txn_timers_default,
		.transactions_max = 10000,
		.proxy = proxy_conf_default,
		.dns = dns_conf_default,
		.secret = span_of(secret, sizeof(secret)),
		.handover_max = 65536,
		.node = node,
		.nnodes = NODES,
		.self = EDGE,
		.is_edge = true,
		.dead_ms = dead_ms,
	};
	nfailed = nfull = held_for = 0;
	memset(nfrom, 0, sizeof(nfrom));
	node[EDGE] = (struct stack_node){.name = "e", .pair = "edges"};
	for (unsigned i = H1; i < NODES; i++) {
		home[i] = (struct home){0};
		home_listen(&home[i], 0);
		node[i] = (struct stack_node){home[i].addr, "h", "homes"};
		lives[i] = true;
	}
	c.net.nlisteners = 1;
	c.net.listener[0].transport = SIP_TRANSPORT_TCP;
	ck_assert_int_eq(addr_parse(&c.net.listener[0].addr, SPAN("127.0.0.1"), 0), 0);
	c.net.link_listener = 0;
	c.net.link_bytes_max = link_bytes;
	c.local[0] =
		(struct proxy_local){SIP_TRANSPORT_TCP, SPAN("127.0.0.1"), 0, .inside = true};
	group = stack_group_new(&c, &user, args, error);
	ck_assert_msg(group != NULL, "%s", error);
	w = stack_group_worker(group, 0);
	sip_values_use_arena(&w->arena);
}

static void begin(void)
{
	begin_with(DEAD_MS, BIG);
}

static void end(void)
{
	stack_group_free(group);
	for (unsigned i = H1; i < NODES; i++) {
		if (home[i].fd >= 0)
			close(home[i].fd);
		close(home[i].server);
		free(home[i].got);
	}
}

static void run_ms(msec ms)
{
	msec until = time_now() + ms;
	while (time_now() < until)
		loop_round(w->loop, 5);
}

#define UNTIL(cond, ms)                                                \
	do {                                                           \
		msec until_ = time_now() + (ms);                       \
		while (!(cond) && time_now() < until_)                 \
			loop_round(w->loop, 5);                        \
		ck_assert_msg((cond), "did not come true: %s", #cond); \
	} while (0)

/* Of about a kilobyte, from a phone with a stream, for a home. */
static void send_message(unsigned branch, unsigned call, unsigned node, bool again)
{
	static char pad[800];
	char text[2048];
	const struct sip_flow to = {.node = (uint16_t)(node + 1), .leg = SIP_TRANSPORT_TCP};
	memset(pad, 'x', sizeof(pad) - 1);
	int n = snprintf(text, sizeof(text),
			 "MESSAGE sip:bob@example.org SIP/2.0\r\n"
			 "Via: SIP/2.0/TCP 192.0.2.1;branch=z9hG4bK%u\r\nMax-Forwards: 70\r\n"
			 "From: <sip:a@example.org>;tag=f\r\nTo: <sip:bob@example.org>\r\n"
			 "Call-ID: %u\r\nCSeq: 1 MESSAGE\r\nSubject: %s\r\n"
			 "Content-Length: 0\r\n\r\n",
			 branch, call, pad);
	struct iovec iov = {text, (size_t)n};
	stack_link_send(w, &to, &iov, 1, again);
}

static void to_device(unsigned branch, unsigned call, unsigned node)
{
	send_message(branch, call, node, false);
}

static void message(unsigned i, unsigned node)
{
	to_device(i, i, node);
}

/* Of one of them, as it comes back through whom it was sent. */
static void answer(unsigned branch, unsigned call, const char *vias)
{
	struct sip_limits lim = sip_limits_default;
	struct sip_hdr hdr[SIP_HDR_MAX];
	struct sip_msg m = {.hdr = hdr};
	struct sip_fault fault;
	char text[1024];
	int n = snprintf(
		text, sizeof(text),
		"SIP/2.0 200 OK\r\n%sVia: SIP/2.0/TCP 192.0.2.1;branch=z9hG4bK%u\r\n"
		"From: <sip:a@example.org>;tag=f\r\nTo: <sip:bob@example.org>;tag=t\r\n"
		"Call-ID: %u\r\nCSeq: 1 MESSAGE\r\nContent-Length: 0\r\n\r\n",
		vias, branch, call);
	ck_assert_int_eq(sip_msg_index(&m, span_of(text, (size_t)n), false, &lim, &fault), 0);
	stack_kept_answered(w, &m);
}

static void dies(unsigned node)
{
	lives[node] = false;
	stack_group_node_lost(group, node, true);
	stack_group_sever(group, node);
}

START_TEST(a_link_is_there_before_it_is_used_and_comes_back)
{
	begin();
	stack_group_node_lives(group, H1);
	UNTIL((home_read(&home[H1]), home[H1].fd >= 0), 2000);
	close(home[H1].fd);
	home[H1].fd = -1;
	UNTIL((home_read(&home[H1]), home[H1].fd >= 0), 4000);
	dies(H1);
	run_ms(50);
	home_hang_up(&home[H1]);
	run_ms(1200);
	home_read(&home[H1]);
	ck_assert_int_eq(home[H1].fd, -1);
	ck_assert_uint_eq(nfailed, 0);
	end();
}
END_TEST

/* As behind a firewall that lets the bus through alone. */
START_TEST(a_link_that_cannot_be_opened_is_told_before_it_is_used)
{
	begin();
	stack_group_node_lives(group, H2);
	shutdown(home[H1].server, SHUT_RDWR);
	stack_group_node_lives(group, H1);
	UNTIL(nunopened == 1, 4000);
	ck_assert_uint_eq(nfailed, 0);
	end();
}
END_TEST

START_TEST(all_that_was_kept_reaches_the_other_member)
{
	begin();
	for (unsigned i = 0; i < MANY; i++) {
		message(i, H1);
		if (i % 50 == 0)
			loop_round(w->loop, 0);
		home_read(&home[H1]);
	}
	UNTIL(messages_at(&home[H1]) == MANY, 5000);
	dies(H1); /* with no answer to any */
	run_ms(100);
	UNTIL(messages_at(&home[H2]) == MANY, 5000);
	in_order(&home[H2], 0, MANY);
	ck_assert_uint_eq(nfailed + nfull, 0);
	ck_assert_uint_eq(w->counters.link_resent, MANY);
	end();
}
END_TEST

/* Without any answer he gives up after timer B, while the device rings. */
START_TEST(a_caller_on_a_stream_hears_that_it_rings_when_his_home_dies)
{
	static const char text[] =
		"SIP/2.0 180 Ringing\r\nVia: SIP/2.0/TCP homes;branch=z9hG4bK1\r\n"
		"From: <sip:a@example.org>;tag=f\r\nTo: <sip:bob@example.org>;tag=t\r\n"
		"Call-ID: 1\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n";
	struct iovec iov = {(char *)text, sizeof(text) - 1};
	begin();
	struct sip_flow to = {.node = H1 + 1, .leg = SIP_TRANSPORT_TCP};
	stack_link_send(w, &to, &iov, 1, false);
	to.leg = SIP_TRANSPORT_UDP; /* repeats his INVITE himself */
	stack_link_send(w, &to, &iov, 1, false);
	UNTIL(messages_at(&home[H1]) == 2, 2000);
	dies(H1);
	UNTIL(messages_at(&home[H2]) == 1, 2000);
	run_ms(100);
	ck_assert_uint_eq(messages_at(&home[H2]), 1);
	end();
}
END_TEST

START_TEST(what_one_device_answers_was_not_for_the_others)
{
	begin();
	for (unsigned branch = 0; branch < 4; branch++)
		to_device(branch, 7, H1);
	UNTIL(messages_at(&home[H1]) == 4, 2000);
	answer(0, 7, "");
	answer(2, 7, "Via: SIP/2.0/TCP edge;branch=z9hG4bKours\r\n");
	answer(3, 7,
	       "Via: SIP/2.0/TCP a;branch=z9hG4bKa\r\nVia: SIP/2.0/TCP b;branch=z9hG4bKb\r\n");
	dies(H1);
	UNTIL(messages_at(&home[H2]) == 2, 2000);
	run_ms(100);
	ck_assert_uint_eq(messages_at(&home[H2]), 2);
	ck_assert_ptr_nonnull(strstr(home[H2].got, "branch=z9hG4bK1\r\n"));
	ck_assert_ptr_nonnull(strstr(home[H2].got, "branch=z9hG4bK3\r\n"));
	end();
}
END_TEST

START_TEST(the_last_words_of_a_dead_node_count)
{
	begin();
	for (unsigned i = 0; i < 3; i++)
		message(i, H1);
	UNTIL(messages_at(&home[H1]) == 3, 2000);
	dies(H1);
	loop_round(w->loop, 0); /* that is known, and then its answer comes by the link */
	answer(1, 1, "");
	UNTIL(messages_at(&home[H2]) == 2, 2000);
	run_ms(100);
	ck_assert_uint_eq(messages_at(&home[H2]), 2);
	ck_assert_ptr_null(strstr(home[H2].got, "branch=z9hG4bK1\r\n"));
	end();
}
END_TEST

START_TEST(what_is_new_comes_after_what_is_sent_again)
{
	begin();
	for (unsigned i = 0; i < MANY; i++)
		message(i, H1);
	run_ms(20);
	dies(H1);
	loop_round(w->loop, 5);
	message(MANY, H2);
	UNTIL(messages_at(&home[H2]) == MANY + 1, 5000);
	in_order(&home[H2], 0, MANY + 1);
	end();
}
END_TEST

START_TEST(a_full_link_is_no_dead_node_and_loses_nothing)
{
	unsigned n = 0;
	begin_with(30000, 4 << 20);
	while (!nfull && n < 20000) {
		message(n, H1);
		if (++n % 64 == 0)
			loop_round(w->loop, 0);
	}
	ck_assert_uint_eq(nfull, 1);
	for (unsigned i = 0; i < 100; i++)
		message(n++, H1);
	UNTIL(messages_at(&home[H1]) == n, 10000);
	in_order(&home[H1], 0, n);
	ck_assert_uint_eq(nfailed + w->counters.link_resent, 0);
	ck_assert_uint_eq(w->counters.link_down + w->counters.link_late, 0);
	end();
}
END_TEST

START_TEST(what_cannot_leave_in_its_time_is_counted)
{
	begin_with(750, BIG);
	lives[H1] = lives[H2] = false;
	message(0, H1);
	run_ms(100);
	lives[H2] = true;
	UNTIL(messages_at(&home[H2]) == 1, 1000);
	dies(H2);
	message(1, H1);
	UNTIL(w->counters.link_late == 2, 4000);
	run_ms(50);
	ck_assert_uint_eq(w->counters.link_resent, 0);
	end();
}
END_TEST

START_TEST(it_is_kept_longer_than_a_death_takes_to_be_found)
{
	begin_with(2000, BIG);
	message(0, H1);
	run_ms(2500);
	dies(H1);
	UNTIL(messages_at(&home[H2]) == 1, 1000);
	end();
}
END_TEST

START_TEST(what_is_kept_has_a_limit_in_bytes)
{
	begin_with(DEAD_MS, 256 << 10);
	for (unsigned i = 0; i < 1000; i++) {
		message(i, H1);
		if (i % 20 == 19) /* read, and not answered */
			UNTIL(messages_at(&home[H1]) == i + 1, 1000);
	}
	ck_assert_uint_eq(w->counters.link_kept, 1000);
	uint64_t out = w->counters.link_kept_full;
	ck_assert_uint_gt(out, 700);
	ck_assert_uint_lt(out, 850);
	dies(H1);
	UNTIL(messages_at(&home[H2]) == 1000 - out, 3000); /* the newest are there */
	in_order(&home[H2], (unsigned)out, 1000);
	end();
}
END_TEST

/* From here it would come once more, and before the INVITE of the same transaction's. */
START_TEST(what_its_transaction_sends_again_is_kept_until_it_has_left)
{
	begin();
	send_message(0, 0, H1, true);
	message(1, H1);
	UNTIL(messages_at(&home[H1]) == 2, 2000);
	dies(H1);
	UNTIL(messages_at(&home[H2]) == 1, 2000);
	in_order(&home[H2], 1, 2);
	lives[H2] = false;
	send_message(2, 2, H2, true); /* nobody lives for a moment */
	run_ms(50);
	lives[H2] = true;
	UNTIL(messages_at(&home[H2]) == 2, 2000);
	lives[H1] = true;
	home_hang_up(&home[H1]);
	dies(H2);
	UNTIL(messages_at(&home[H1]) == 3, 2000);
	run_ms(50);
	ck_assert_uint_eq(messages_at(&home[H1]), 3);
	ck_assert_ptr_null(strstr(home[H1].got, "Call-ID: 2\r\n"));
	end();
}
END_TEST

/* ---- calls that are told of ---- */

static void invite(unsigned i, unsigned node)
{
	char text[1024];
	struct sip_limits lim = sip_limits_default;
	struct sip_fault fault = {0};
	const struct sip_flow from = {.node = (uint16_t)(node + 1)}, to = {.listener = 0};
	int n = snprintf(text, sizeof(text),
			 "INVITE sip:bob@192.0.2.7 SIP/2.0\r\n"
			 "Via: SIP/2.0/TCP h1;branch=z9hG4bK%u\r\nMax-Forwards: 70\r\n"
			 "From: <sip:a@example.org>;tag=f\r\nTo: <sip:bob@example.org>\r\n"
			 "Call-ID: %u\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n",
			 i, i);
	struct iovec iov = {text, (size_t)n};
	ck_assert_int_eq(sip_msg_index(&w->msg, span_of(text, (size_t)n), true, &lim, &fault),
			 0);
	w->delivering = true;
	w->from = &from;
	stack_trying_sent(w, &to, &iov);
	w->delivering = false;
	w->from = NULL;
	arena_reset(&w->arena);
}

/* Connections that nobody takes: the next one is not answered. */
static void keep_out(struct home *h, int *fd, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		fd[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		connect(fd[i], &h->addr.sa, addr_len(&h->addr));
	}
}

START_TEST(a_call_is_told_of_when_the_100_has_left)
{
	int fd[2];
	begin();
	keep_out(&home[H2], fd, 2);
	for (unsigned i = 0; i < MANY; i++)
		invite(i, H1);
	ck_assert_uint_eq(w->counters.trying, MANY);
	dies(H1);
	run_ms(5500); /* WAIT_MS, and half a second of an open that does not come */
	ck_assert_uint_eq(w->counters.trying_told, 0);
	for (unsigned i = 0; i < 2; i++)
		close(fd[i]);
	for (int x; (x = accept(home[H2].server, NULL, NULL)) >= 0;)
		close(x);
	stack_group_sever(group, H2); /* all that waits in the link is lost */
	UNTIL(messages_at(&home[H2]) >= MANY, 5000);
	in_order(&home[H2], 0, MANY);
	UNTIL(w->counters.trying_told == MANY, 1000);
	end();
}
END_TEST

/* ---- who has connected ---- */

static int node_connects(void)
{
	const struct addr *at = net_listener_addr(w->net, 0);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(connect(fd, &at->sa, addr_len(at)), 0);
	return fd;
}

static void node_says(int fd, const char *link)
{
	char text[512];
	int n = snprintf(text, sizeof(text),
			 "OPTIONS sip:e SIP/2.0\r\n"
			 "Via: SIP/2.0/TCP h;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n"
			 "From: <sip:h>;tag=f\r\nTo: <sip:e>\r\nCall-ID: 1\r\n"
			 "CSeq: 1 OPTIONS\r\n%s%s%sContent-Length: 0\r\n\r\n",
			 link ? "Eaves-Link: " : "", link ? link : "", link ? "\r\n" : "");
	ck_assert_int_eq(send(fd, text, (size_t)n, 0), n);
}

static bool is_closed(int fd)
{
	return recv(fd, &(char){0}, 1, MSG_DONTWAIT) == 0;
}

/* Started anew, and not heard on the bus; or it shares its address. */
START_TEST(who_proves_who_it_is_is_it_whoever_it_was_held_for)
{
	begin();
	held_for = H1 + 1;
	int fd = node_connects();
	node_says(fd, NULL);
	UNTIL(nfrom[H1 + 1] == 1, 1000);
	node_says(fd, "3");
	node_says(fd, NULL);
	UNTIL(nfrom[H2 + 1] == 1, 1000);
	held_for = 0;
	node_says(fd, NULL);
	UNTIL(nfrom[H2 + 1] == 2 && nfrom[H1 + 1] == 1, 1000);
	close(fd);
	end();
}
END_TEST

START_TEST(who_says_nothing_or_proves_nothing_is_hung_up_on)
{
	begin();
	int fd = node_connects();
	node_says(fd, NULL);
	UNTIL(is_closed(fd), 1000);
	close(fd);
	held_for = H1 + 1;
	fd = node_connects();
	node_says(fd, "0");
	UNTIL(is_closed(fd), 1000);
	close(fd);
	ck_assert_uint_eq(nfrom[0] + nfrom[H1 + 1], 0);
	end();
}
END_TEST

UNIT_MAIN("links", who_proves_who_it_is_is_it_whoever_it_was_held_for,
	  who_says_nothing_or_proves_nothing_is_hung_up_on,
	  a_link_is_there_before_it_is_used_and_comes_back,
	  a_link_that_cannot_be_opened_is_told_before_it_is_used,
	  all_that_was_kept_reaches_the_other_member,
	  a_caller_on_a_stream_hears_that_it_rings_when_his_home_dies,
	  what_one_device_answers_was_not_for_the_others, the_last_words_of_a_dead_node_count,
	  what_is_new_comes_after_what_is_sent_again,
	  a_full_link_is_no_dead_node_and_loses_nothing,
	  what_cannot_leave_in_its_time_is_counted,
	  it_is_kept_longer_than_a_death_takes_to_be_found, what_is_kept_has_a_limit_in_bytes,
	  what_its_transaction_sends_again_is_kept_until_it_has_left,
	  a_call_is_told_of_when_the_100_has_left)
