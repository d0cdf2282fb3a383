/*
 * TCP: framing, keep-alives, what happens to what was sent, reuse and aliases (RFC 5923).
 */
#include "common/net/net_priv.h"
#include "common/sip/stamp.h"
#include "tests/unit/common/net/rig.h"

static struct loop *l;
static struct side a, b;
static struct net_conf conf;

static void start_on(const char *host)
{
	conf = conf_with(SIP_TRANSPORT_TCP, host);
	l = loop_new(0);
	side_start(&a, l, &conf, NULL);
	side_start(&b, l, &conf, NULL);
}

static void start(void)
{
	start_on("127.0.0.1");
}

static void stop(void)
{
	side_stop(&a);
	side_stop(&b);
	loop_free(l);
}

static struct sip_flow to_b(void)
{
	return flow_to(SIP_TRANSPORT_TCP, net_listener_addr(b.net, 0));
}

static int dial_b(void)
{
	return dial(SOCK_STREAM, net_listener_addr(b.net, 0));
}

static void heard_ping(const struct side *s, unsigned i)
{
	ck_assert_uint_eq(s->heard[i].n, strlen(ping));
	ck_assert_mem_eq(s->heard[i].text, ping, strlen(ping));
	ck_assert_uint_ge(s->heard[i].cap, strlen(ping) + SIP_STAMP_ROOM);
}

static void exchange(const char *host)
{
	struct sip_flow f;

	start_on(host);
	f = to_b();
	ck_assert_int_eq(send_text(&a, &f, ping, NULL, 1), 0);
	rig_until(l, b.nheard == 1);
	heard_ping(&b, 0);
	ck_assert_uint_ne(b.heard[0].flow.conn, 0);
	ck_assert_int_eq(send_text(&b, &b.heard[0].flow, ping, NULL, 2), 0);
	rig_until(l, a.nheard == 1);
	heard_ping(&a, 0);
	ck_assert_uint_eq(a.nfailed + b.nfailed, 0);
	stop();
}

START_TEST(a_message_and_its_answer_over_ipv4)
{
	exchange("127.0.0.1");
}
END_TEST

START_TEST(a_message_and_its_answer_over_ipv6)
{
	exchange("::1");
}
END_TEST

START_TEST(a_message_split_at_each_byte_is_whole)
{
	size_t n = strlen(ping);
	unsigned want = 0;
	int fd;

	start();
	fd = dial_b();
	for (size_t at = 1; at < n; at++) {
		put(fd, ping, at);
		rig_settle(l);
		ck_assert_uint_eq(b.nheard, want);
		put(fd, ping + at, n - at);
		want++;
		rig_until(l, b.nheard == want);
		heard_ping(&b, want - 1);
	}
	close(fd);
	stop();
}
END_TEST

START_TEST(a_message_byte_by_byte_is_whole)
{
	int fd;

	start();
	fd = dial_b();
	for (size_t i = 0; i < strlen(ping); i++) {
		put(fd, ping + i, 1);
		loop_round(l, 0);
	}
	rig_until(l, b.nheard == 1);
	heard_ping(&b, 0);
	close(fd);
	stop();
}
END_TEST

START_TEST(messages_in_one_segment_survive_a_callee_that_writes_behind_each)
{
	char three[3 * sizeof(ping)];
	int fd;

	start();
	b.scribble = true;
	fd = dial_b();
	snprintf(three, sizeof(three), "%s%s%s", ping, ping, ping);
	put(fd, three, strlen(three) - 10);
	rig_until(l, b.nheard == 2);
	put(fd, three + strlen(three) - 10, 10);
	rig_until(l, b.nheard == 3);
	for (unsigned i = 0; i < 3; i++)
		heard_ping(&b, i);
	ck_assert_uint_eq(b.heard[0].flow.conn, b.heard[2].flow.conn);
	close(fd);
	stop();
}
END_TEST

START_TEST(a_large_message_arrives_whole_and_a_larger_one_breaks_the_stream)
{
	static char big[70000];
	int head = snprintf(big, sizeof(big),
			    "OPTIONS sip:a@b SIP/2.0\r\nContent-Length: 60000\r\n\r\n");
	int fd;

	start();
	fd = dial_b();
	memset(big + head, 'x', 60000);
	for (int at = 0; at < head + 60000; at += 10000) {
		put(fd, big + at,
		    (size_t)(head + 60000 - at < 10000 ? head + 60000 - at : 10000));
		rig_settle(l);
	}
	rig_until(l, b.nheard == 1);
	ck_assert_uint_eq(b.heard[0].n, (size_t)head + 60000);
	put(fd, "OPTIONS sip:a@b SIP/2.0\r\nContent-Length: 65536\r\n\r\n", 50);
	rig_until(l, b.nbroken == 1 && b.nclosed == 0);
	close(fd);
	rig_until(l, b.nclosed == 1);
	stop();
}
END_TEST

START_TEST(a_double_crlf_is_answered_with_one)
{
	char buf[16];
	int fd;

	start();
	fd = dial_b();
	put(fd, "\r\n\r\n", 4);
	ck_assert_int_eq(get(l, fd, buf, sizeof(buf)), 2);
	ck_assert_mem_eq(buf, "\r\n", 2);
	ck_assert_uint_eq(net_counters(b.net)->keepalives, 1);
	put(fd, ping, strlen(ping));
	rig_until(l, b.nheard == 1);
	close(fd);
	stop();
}
END_TEST

START_TEST(a_broken_stream_is_answered_and_then_closed)
{
	static char tail[100000];
	char buf[64];
	int fd;

	start();
	b.answer_broken = true;
	fd = dial_b();
	put(fd, "OPTIONS sip:a@b SIP/2.0\r\nContent-Length: 5abc\r\n\r\n", 49);
	put(fd, tail, sizeof(tail)); /* unread bytes must not reset the answer away */
	ck_assert_int_eq(get(l, fd, buf, sizeof(buf)), 19);
	ck_assert_mem_eq(buf, "SIP/2.0 400 Bad\r\n\r\n", 19);
	ck_assert_int_eq(get(l, fd, buf, sizeof(buf)), 0);
	ck_assert_uint_eq(b.nbroken, 1);
	ck_assert_uint_eq(net_counters(b.net)->closed_broken, 1);
	ck_assert_int_eq(send_text(&b, &b.broken_flow, "late", NULL, 0), -ENOTCONN);
	close(fd);
	rig_until(l, b.nclosed == 1);
	ck_assert_uint_eq(net_counters(b.net)->conns, 0);
	stop();
}
END_TEST

START_TEST(messages_of_one_round_leave_in_one_segment)
{
	char buf[4096];
	int fd;

	start();
	fd = dial_b();
	put(fd, ping, strlen(ping));
	rig_until(l, b.nheard == 1);
	for (int i = 0; i < 5; i++)
		send_text(&b, &b.heard[0].flow, ping, NULL, 0);
	ck_assert_int_eq(get(l, fd, buf, sizeof(buf)), 5 * (ssize_t)strlen(ping));
	close(fd);
	stop();
}
END_TEST

START_TEST(a_refused_connection_fails_all_that_waited_for_it)
{
	struct sip_flow f;
	struct addr nobody;

	start();
	nobody = *net_listener_addr(b.net, 0);
	net_stop_listening(b.net);
	f = flow_to(SIP_TRANSPORT_TCP, &nobody);
	ck_assert_int_eq(send_text(&a, &f, ping, NULL, 5), 0);
	ck_assert_int_eq(send_text(&a, &f, ping, NULL, 6), 0);
	ck_assert_uint_eq(a.nfailed, 0);
	rig_until(l, a.nfailed == 2);
	ck_assert_uint_eq(a.failed[0], 5);
	ck_assert_uint_eq(a.failed[1], 6);
	ck_assert_int_eq(a.failed_error, -ECONNREFUSED);
	ck_assert_uint_eq(a.nclosed, 0);
	ck_assert_uint_eq(net_counters(a.net)->conns, 0);
	stop();
}
END_TEST

START_TEST(an_unreachable_network_is_told_after_the_send_not_in_it)
{
	struct addr far = at_addr("255.255.255.255", 5060);
	struct sip_flow f = flow_to(SIP_TRANSPORT_TCP, &far);

	start();
	ck_assert_int_eq(send_text(&a, &f, ping, NULL, 5), 0);
	ck_assert_uint_eq(a.nfailed, 0);
	rig_until(l, a.nfailed == 1);
	stop();
}
END_TEST

START_TEST(a_connection_to_an_address_is_used_again)
{
	struct sip_flow f;

	start();
	f = to_b();
	send_text(&a, &f, ping, NULL, 1);
	send_text(&a, &f, ping, NULL, 2); /* while it connects */
	rig_until(l, b.nheard == 2);
	send_text(&a, &f, ping, NULL, 3);
	rig_until(l, b.nheard == 3);
	ck_assert_uint_eq(net_counters(a.net)->connected, 1);
	ck_assert_uint_eq(b.heard[0].flow.conn, b.heard[2].flow.conn);
	stop();
}
END_TEST

START_TEST(sending_over_a_connection_that_is_gone_says_so)
{
	struct sip_flow gone;
	int fd;

	start();
	fd = dial_b();
	put(fd, ping, strlen(ping));
	rig_until(l, b.nheard == 1);
	gone = b.heard[0].flow;
	close(fd);
	rig_until(l, b.nclosed == 1);
	ck_assert_uint_eq(b.closed_flow.conn, gone.conn);
	ck_assert_int_eq(send_text(&b, &gone, ping, NULL, 9), -ENOTCONN);
	gone.worker++;
	ck_assert_int_eq(send_text(&b, &gone, ping, NULL, 9), -ENOTCONN);
	ck_assert_uint_eq(b.nfailed, 0);
	stop();
}
END_TEST

START_TEST(a_connection_is_alive_until_nothing_can_be_sent_over_it)
{
	struct sip_flow f, other;
	int fd;

	start();
	fd = dial_b();
	put(fd, ping, strlen(ping));
	rig_until(l, b.nheard == 1);
	f = other = b.heard[0].flow;
	ck_assert(net_flow_alive(b.net, &f));
	other.worker++;
	ck_assert(!net_flow_alive(b.net, &other));
	other = f;
	other.conn++;
	ck_assert(!net_flow_alive(b.net, &other));
	other.conn = 0;
	ck_assert(!net_flow_alive(b.net, &other));
	net_close(b.net, &f);
	ck_assert(!net_flow_alive(b.net, &f));
	close(fd);
	rig_until(l, b.nclosed == 1);
	ck_assert(!net_flow_alive(b.net, &f));
	stop();
}
END_TEST

START_TEST(an_identity_finds_its_connection_and_never_another)
{
	struct conn *c = calloc(4, sizeof(*c));
	struct live t;
	uint64_t id[4], late;

	ck_assert_int_eq(live_init(&t, 3), 0);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_uint_ne(id[i] = live_add(&t, &c[i]), 0);
	ck_assert_uint_eq(live_add(&t, &c[3]), 0); /* full */
	live_remove(&t, id[1]);
	live_remove(&t, id[1]);
	late = live_add(&t, &c[3]);
	ck_assert_uint_gt(late, id[2]);
	ck_assert_ptr_eq(live_find(&t, late), &c[3]);
	ck_assert_ptr_null(live_find(&t, id[1]));
	ck_assert_ptr_eq(live_find(&t, id[0]), &c[0]);
	ck_assert_ptr_eq(live_find(&t, id[2]), &c[2]);
	ck_assert_ptr_null(live_find(&t, 0));
	ck_assert_ptr_null(live_find(&t, UINT64_MAX));
	ck_assert_uint_eq(live_add(&t, &c[1]), 0);
	live_done(&t);
	free(c);
}
END_TEST

START_TEST(identities_of_connections_never_come_again)
{
	uint64_t last = 0;

	start();
	for (unsigned i = 0; i < 20; i++) {
		int fd = dial_b();

		put(fd, ping, strlen(ping));
		rig_until(l, b.nheard == i + 1);
		ck_assert_uint_gt(b.heard[i].flow.conn, last);
		last = b.heard[i].flow.conn;
		close(fd);
		rig_until(l, b.nclosed == i + 1);
	}
	stop();
}
END_TEST

START_TEST(close_writes_what_is_queued_and_reads_no_more)
{
	char buf[1024], two[2 * sizeof(ping)];
	int fd;

	start();
	b.close_on_message = true;
	fd = dial_b();
	snprintf(two, sizeof(two), "%s%s", ping, ping);
	put(fd, two, strlen(two));
	rig_until(l, b.nheard == 1);
	ck_assert_int_eq(get(l, fd, buf, sizeof(buf)), 0);
	ck_assert_uint_eq(b.nheard, 1);
	close(fd);
	rig_until(l, b.nclosed == 1);
	stop();
}
END_TEST

START_TEST(draining_keeps_connections_and_refuses_new_ones)
{
	struct sip_flow f;
	struct addr at;
	int fd, late;

	start();
	at = *net_listener_addr(b.net, 0);
	fd = dial_b();
	net_stop_listening(b.net);
	late = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(connect(late, &at.sa, addr_len(&at)), -1);
	put(fd, ping, strlen(ping));
	rig_until(l, b.nheard == 1);
	f = b.heard[0].flow;
	ck_assert_int_eq(send_text(&b, &f, "bye", NULL, 0), 0);
	char buf[8];
	ck_assert_int_eq(get(l, fd, buf, sizeof(buf)), 3);
	close(fd);
	close(late);
	stop();
}
END_TEST

START_TEST(what_was_sent_to_who_hangs_up_still_comes)
{
	char buf[sizeof(ping)];
	int fd;

	start();
	fd = dial_b();
	put(fd, ping, strlen(ping));
	rig_until(l, b.nheard == 1);
	net_hang_up(b.net, NET_LISTENERS_MAX);
	ck_assert(!net_flow_alive(b.net, &b.heard[0].flow));
	ck_assert_int_eq(get(l, fd, buf, sizeof(buf)), 0);
	put(fd, ping, strlen(ping));
	rig_until(l, b.nheard == 2);
	heard_ping(&b, 1);
	ck_assert_uint_eq(b.nclosed, 0);
	close(fd);
	rig_until(l, b.nclosed == 1);
	stop();
}
END_TEST

START_TEST(what_is_severed_is_reset_with_all_that_has_not_arrived)
{
	enum { MANY = 200000, SMALL = 4096 };
	char *much = calloc(1, MANY + 1), buf[SMALL];
	struct addr at = at_addr("127.0.0.1", 0);
	socklen_t len = sizeof(at);
	int small = SMALL, fd = socket(AF_INET, SOCK_STREAM, 0), peer;
	ssize_t r, came = 0;

	start();
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	ck_assert_int_eq(bind(fd, &at.sa, addr_len(&at)), 0);
	ck_assert_int_eq(listen(fd, 1), 0);
	getsockname(fd, &at.sa, &len);
	struct sip_flow f = flow_to(SIP_TRANSPORT_TCP, &at), other = to_b();
	memset(much, 'x', MANY);
	ck_assert_int_eq(send_text(&a, &other, ping, NULL, 1), 0);
	ck_assert_int_eq(send_text(&a, &f, much, NULL, 2), 0);
	peer = accept(fd, NULL, NULL);
	rig_until(l, b.nheard == 1);
	rig_settle(l);
	send_text(&a, &f, ping, NULL, 3); /* of this round */
	net_sever(a.net, &at);
	rig_until(l, a.nclosed == 1);
	ck_assert_uint_ge(a.nfailed, 1);
	ck_assert_uint_eq(a.failed[a.nfailed - 1], 3);
	while ((r = recv(peer, buf, sizeof(buf), 0)) > 0)
		came += r;
	ck_assert_int_eq(r, -1);
	ck_assert_int_eq(errno, ECONNRESET);
	ck_assert_int_lt(came, MANY);
	send_text(&a, &other, ping, NULL, 4); /* another's connection lives on */
	rig_until(l, b.nheard == 2);
	ck_assert_uint_eq(net_counters(a.net)->connected, 2);
	close(peer);
	close(fd);
	free(much);
	stop();
}
END_TEST

START_TEST(connections_of_a_listener_whose_address_is_gone_are_ended)
{
	struct sip_flow gone, stays;
	struct loop *own = loop_new(0);
	struct net_conf two = conf_with(SIP_TRANSPORT_TCP, "127.0.0.1");
	struct side s;
	char buf[8];
	int fd, other;

	two.listener[two.nlisteners++] = two.listener[0];
	side_start(&s, own, &two, NULL);
	fd = dial(SOCK_STREAM, net_listener_addr(s.net, 0));
	put(fd, ping, strlen(ping));
	rig_until(own, s.nheard == 1);
	other = dial(SOCK_STREAM, net_listener_addr(s.net, 1));
	put(other, ping, strlen(ping));
	rig_until(own, s.nheard == 2);
	gone = s.heard[0].flow;
	stays = s.heard[1].flow;
	net_abandon(s.net, 0);
	ck_assert(!net_flow_alive(s.net, &gone));
	ck_assert(net_flow_alive(s.net, &stays));
	ck_assert_int_eq(send_text(&s, &gone, ping, NULL, 1), -ENOTCONN);
	ck_assert_int_eq(get(own, fd, buf, sizeof(buf)), -1);
	ck_assert_uint_eq(s.nclosed, 1);
	close(fd);
	fd = dial(SOCK_STREAM, net_listener_addr(s.net, 0)); /* it may be back one day */
	put(fd, ping, strlen(ping));
	rig_until(own, s.nheard == 3);
	close(fd);
	close(other);
	side_stop(&s);
	loop_free(own);
}
END_TEST

START_TEST(what_waits_of_a_peer_that_has_hung_up_is_passed_over)
{
	start();
	int fd = dial_b(), gone = dial_b();
	put(fd, ping, strlen(ping));
	put(gone, ping, strlen(ping));
	rig_until(l, b.nheard == 2);
	put(fd, ping, strlen(ping));
	put(gone, ping, strlen(ping));
	close(gone);
	net_pass_over(b.net, b.heard[0].flow.listener + 1u); /* a listener of no connections */
	rig_until(l, b.nclosed == 1 && b.nheard == 3);
	rig_settle(l);
	ck_assert_uint_eq(b.nheard, 3);
	ck_assert_uint_eq(net_counters(b.net)->conns, 1);
	close(fd);
	stop();
}
END_TEST

START_TEST(connections_that_are_passed_over_end_unread)
{
	start();
	int fd = dial_b(), other;
	put(fd, ping, strlen(ping));
	rig_until(l, b.nheard == 1);
	put(fd, ping, strlen(ping));
	net_pass_over(b.net, b.heard[0].flow.listener + 1u); /* another's are none of these */
	rig_until(l, b.nheard == 2);
	put(fd, ping, strlen(ping));
	net_pass_over(b.net, b.heard[0].flow.listener);
	rig_until(l, b.nclosed == 1);
	ck_assert_uint_eq(b.nheard, 2);
	other = dial_b();
	put(other, ping, strlen(ping));
	rig_until(l, b.nheard == 3);
	close(fd);
	close(other);
	stop();
}
END_TEST

static void pass_over_a(void *arg, msec gap)
{
	(void)arg;
	(void)gap;
	net_pass_over(a.net, 0);
}

/* Its event is the first thing that the loop sees after the stop. */
START_TEST(a_connection_that_was_being_made_is_passed_over)
{
	const struct timespec stopped = {.tv_nsec = 60 * 1000 * 1000};
	struct sip_flow f;

	start();
	f = to_b();
	loop_on_gap(l, 30, pass_over_a, NULL);
	loop_round(l, 0);
	ck_assert_int_eq(send_text(&a, &f, ping, NULL, 1), 0);
	nanosleep(&stopped, NULL);
	rig_until(l, a.nfailed == 1);
	ck_assert_uint_eq(a.failed[0], 1);
	ck_assert_int_eq(send_text(&a, &f, ping, NULL, 2), 0);
	rig_until(l, b.nheard == 1);
	ck_assert_uint_eq(a.nfailed, 1);
	stop();
}
END_TEST

UNIT_MAIN("stream", a_message_and_its_answer_over_ipv4, a_message_and_its_answer_over_ipv6,
	  a_message_split_at_each_byte_is_whole, a_message_byte_by_byte_is_whole,
	  messages_in_one_segment_survive_a_callee_that_writes_behind_each,
	  a_large_message_arrives_whole_and_a_larger_one_breaks_the_stream,
	  a_double_crlf_is_answered_with_one, a_broken_stream_is_answered_and_then_closed,
	  messages_of_one_round_leave_in_one_segment,
	  a_refused_connection_fails_all_that_waited_for_it,
	  an_unreachable_network_is_told_after_the_send_not_in_it,
	  a_connection_to_an_address_is_used_again,
	  sending_over_a_connection_that_is_gone_says_so,
	  a_connection_is_alive_until_nothing_can_be_sent_over_it,
	  an_identity_finds_its_connection_and_never_another,
	  identities_of_connections_never_come_again,
	  close_writes_what_is_queued_and_reads_no_more,
	  draining_keeps_connections_and_refuses_new_ones,
	  what_was_sent_to_who_hangs_up_still_comes,
	  what_is_severed_is_reset_with_all_that_has_not_arrived,
	  connections_of_a_listener_whose_address_is_gone_are_ended,
	  what_waits_of_a_peer_that_has_hung_up_is_passed_over,
	  connections_that_are_passed_over_end_unread,
	  a_connection_that_was_being_made_is_passed_over)
