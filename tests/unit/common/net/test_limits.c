/*
 * What a connection may not do: be slow, be idle, be many, take without reading.  Deadlines are
 * set to a few milliseconds; the tests wait for what the loop does, never for the clock.
 */
#include "tests/unit/common/net/rig.h"

#include <sys/resource.h>

static struct loop *l;
static struct side b;
static struct net_conf conf;

static void prepare(void)
{
	conf = conf_with(SIP_TRANSPORT_TCP, "127.0.0.1");
	l = loop_new(0);
}

static void stop(void)
{
	side_stop(&b);
	loop_free(l);
}

static int dial_b(void)
{
	return dial(SOCK_STREAM, net_listener_addr(b.net, 0));
}

START_TEST(a_slow_sender_is_closed_however_it_trickles)
{
	size_t at = 0;
	int fd;

	prepare();
	conf.message_ms = 60;
	side_start(&b, l, &conf, NULL);
	fd = dial_b();
	for (int i = 0; i < 400 && b.nclosed == 0; i++) {
		if (at < strlen(ping) - 1 && send(fd, ping + at, 1, MSG_NOSIGNAL) == 1)
			at++;
		loop_round(l, 2);
	}
	ck_assert_uint_eq(b.nclosed, 1);
	ck_assert_uint_eq(net_counters(b.net)->closed_slow, 1);
	ck_assert_uint_eq(b.nheard, 0);
	close(fd);
	stop();
}
END_TEST

START_TEST(half_a_ping_is_not_a_slow_message)
{
	char buf[8];
	int fd;

	prepare();
	conf.message_ms = 20;
	conf.idle_ms = 150;
	side_start(&b, l, &conf, NULL);
	fd = dial_b();
	put(fd, "\r", 1);
	rig_until(l, b.nclosed == 1);
	ck_assert_uint_eq(net_counters(b.net)->closed_slow, 0);
	ck_assert_uint_eq(net_counters(b.net)->closed_idle, 1);
	ck_assert_int_eq(get(l, fd, buf, sizeof(buf)), 0);
	close(fd);
	stop();
}
END_TEST

START_TEST(an_idle_connection_is_closed_and_a_busy_one_is_not)
{
	char buf[8];
	int idle, busy;

	prepare();
	conf.idle_ms = 120;
	side_start(&b, l, &conf, NULL);
	idle = dial_b();
	busy = dial_b();
	rig_until(l, net_counters(b.net)->conns == 2);
	for (int i = 0; i < 400 && b.nclosed == 0; i++) {
		put(busy, "\r\n\r\n", 4);
		ck_assert_int_gt(get(l, busy, buf, sizeof(buf)), 0);
		loop_round(l, 2);
	}
	ck_assert_uint_eq(b.nclosed, 1);
	ck_assert_int_eq(get(l, idle, buf, sizeof(buf)), 0);
	ck_assert_uint_eq(net_counters(b.net)->conns, 1);
	ck_assert_uint_eq(net_counters(b.net)->closed_idle, 1);
	close(idle);
	close(busy);
	stop();
}
END_TEST

START_TEST(a_source_has_its_cap_and_gets_its_places_back)
{
	char buf[8];
	int fd[3];

	prepare();
	conf.conns_per_source = 2;
	side_start(&b, l, &conf, NULL);
	for (int i = 0; i < 3; i++)
		fd[i] = dial_b();
	ck_assert_int_eq(get(l, fd[2], buf, sizeof(buf)), 0);
	ck_assert_uint_eq(net_counters(b.net)->refused_source, 1);
	ck_assert_uint_eq(net_counters(b.net)->conns, 2);
	close(fd[0]);
	close(fd[2]);
	rig_until(l, b.nclosed == 1);
	fd[0] = dial_b();
	put(fd[0], ping, strlen(ping));
	rig_until(l, b.nheard == 1);
	close(fd[0]);
	close(fd[1]);
	stop();
}
END_TEST

START_TEST(a_full_table_refuses_the_next)
{
	char buf[8];
	int fd[3];

	prepare();
	conf.conns_max = 2;
	side_start(&b, l, &conf, NULL);
	for (int i = 0; i < 3; i++)
		fd[i] = dial_b();
	ck_assert_int_eq(get(l, fd[2], buf, sizeof(buf)), 0);
	ck_assert_uint_eq(net_counters(b.net)->refused_full, 1);
	struct addr other = at_addr("127.0.0.1", 9);
	struct sip_flow f = flow_to(SIP_TRANSPORT_TCP, &other);
	ck_assert_int_eq(send_text(&b, &f, ping, NULL, 1), -ENOBUFS);
	for (int i = 0; i < 3; i++)
		close(fd[i]);
	stop();
}
END_TEST

START_TEST(who_never_spoke_gives_way_when_the_table_is_full)
{
	char buf[8];
	int mute, speaker, fresh;

	prepare();
	conf.conns_max = 2;
	conf.message_ms = 30;
	side_start(&b, l, &conf, NULL);
	speaker = dial_b();
	put(speaker, ping, strlen(ping));
	rig_until(l, b.nheard == 1);
	mute = dial_b();
	rig_until(l, net_counters(b.net)->conns == 2);
	for (msec end = time_now() + 40; time_now() < end;)
		loop_round(l, 5);
	fresh = dial_b();
	put(fresh, ping, strlen(ping));
	rig_until(l, b.nheard == 2);
	ck_assert_int_eq(get(l, mute, buf, sizeof(buf)), 0);
	put(speaker, ping, strlen(ping));
	rig_until(l, b.nheard == 3);
	close(mute);
	close(speaker);
	close(fresh);
	stop();
}
END_TEST

/* Fills a connection whose peer reads nothing. */
static unsigned fill(const struct sip_flow *f)
{
	static char text[8192];
	unsigned sent = 0;

	memset(text, 'x', sizeof(text) - 1);
	while (sent < 20000) {
		int r = send_text(&b, f, text, NULL, sent + 1);

		if (r < 0) {
			ck_assert_int_eq(r, -ENOBUFS);
			return sent;
		}
		sent++;
		if (sent % 8 == 0)
			loop_round(l, 0);
	}
	ck_abort_msg("no bound");
	return 0;
}

START_TEST(a_peer_that_does_not_read_is_closed_and_what_waited_fails)
{
	unsigned sent;
	int fd;

	prepare();
	side_start(&b, l, &conf, NULL);
	fd = dial_b();
	put(fd, ping, strlen(ping));
	rig_until(l, b.nheard == 1);
	sent = fill(&b.heard[0].flow);
	rig_until(l, b.nclosed == 1);
	ck_assert_uint_eq(net_counters(b.net)->closed_out_full, 1);
	/* The last that was taken failed, and those before it without a gap; the first left. */
	ck_assert_uint_gt(b.nfailed, 0);
	ck_assert_uint_le(b.nfailed, 256 * 1024 / 8191 + 1);
	for (unsigned i = 0; i < b.nfailed; i++)
		ck_assert_uint_eq(b.failed[i], sent - b.nfailed + 1 + i);
	ck_assert_int_eq(b.failed_error, -ENOBUFS);
	ck_assert_int_eq(send_text(&b, &b.heard[0].flow, ping, NULL, 0), -ENOTCONN);
	close(fd);
	stop();
}
END_TEST

/* A node: takes connections, and reads when it is told to. */
static int node_listen(struct addr *ret)
{
	socklen_t len = sizeof(*ret);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	*ret = at_addr("127.0.0.1", 0);
	ck_assert_int_eq(bind(fd, &ret->sa, addr_len(ret)), 0);
	ck_assert_int_eq(listen(fd, 8), 0);
	ck_assert_int_eq(getsockname(fd, &ret->sa, &len), 0);
	return fd;
}

/* *got: since the connection is there. */
static void read_all(int fd, const struct sip_flow *f, size_t *got)
{
	static char buf[65536];
	struct net_queue q = {0};

	for (int i = 0; i < 20000; i++) {
		ssize_t r = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
		if (r > 0) {
			*got += (size_t)r;
			continue;
		}
		ck_assert(r < 0 && errno == EAGAIN);
		ck_assert(net_queued(b.net, f, NULL, &q));
		if (*got == q.given)
			break;
		loop_round(l, 1);
	}
	ck_assert_uint_eq(*got, q.given);
}

START_TEST(a_link_that_is_full_refuses_what_is_more_and_goes_on)
{
	static char text[8192];
	enum { MAX = 1 << 20 };
	struct net_queue q;
	struct addr at;
	int r = 0, fd, server = node_listen(&at);
	size_t sent = 0, got = 0;

	memset(text, 'x', sizeof(text) - 1);
	prepare();
	conf.link_listener = 0;
	conf.link_bytes_max = MAX;
	side_start(&b, l, &conf, NULL);
	struct sip_flow f = flow_to(SIP_TRANSPORT_TCP, &at);
	while (sent < 20000 && (r = send_text(&b, &f, text, NULL, sent + 1)) == 0)
		if (++sent % 256 == 0)
			loop_round(l, 0);
	ck_assert_int_eq(r, -EAGAIN);
	ck_assert(net_queued(b.net, &f, NULL, &q));
	ck_assert_uint_le(q.given - q.taken, MAX);
	ck_assert_uint_gt(q.given - q.taken, MAX - sizeof(text));
	rig_settle(l);
	ck_assert_uint_eq(b.nfailed + b.nclosed, 0);
	fd = accept(server, NULL, NULL);
	read_all(fd, &f, &got);
	ck_assert_uint_eq(got, sent * (sizeof(text) - 1));
	ck_assert_int_eq(send_text(&b, &f, text, NULL, sent + 1), 0);
	read_all(fd, &f, &got);
	ck_assert_uint_eq(b.nfailed + b.nclosed, 0);
	ck_assert_uint_eq(net_counters(b.net)->closed_out_full, 0);
	close(fd);
	close(server);
	stop();
}
END_TEST

START_TEST(a_connection_is_there_before_it_is_used)
{
	struct net_queue q, before;
	struct addr at;
	size_t got = 0;
	int fd, server = node_listen(&at);

	prepare();
	side_start(&b, l, &conf, NULL);
	struct sip_flow f = flow_to(SIP_TRANSPORT_TCP, &at);
	ck_assert(!net_queued(b.net, &f, NULL, &q));
	ck_assert_int_eq(net_open(b.net, &f, NULL), 0);
	ck_assert_int_eq(net_open(b.net, &f, NULL), 0);
	rig_until(l, net_counters(b.net)->connected == 1);
	ck_assert(net_queued(b.net, &f, NULL, &before));
	ck_assert_uint_eq(before.given, 0);
	ck_assert_int_eq(send_text(&b, &f, ping, NULL, 1), 0);
	ck_assert(net_queued(b.net, &f, NULL, &q));
	ck_assert_uint_eq(q.conn, before.conn);
	fd = accept(server, NULL, NULL);
	read_all(fd, &f, &got);
	close(fd);
	close(server);
	rig_until(l, b.nclosed == 1);
	ck_assert_int_eq(net_open(b.net, &f, NULL), 0); /* refused: nobody is told */
	rig_until(l, net_counters(b.net)->conns == 0);
	ck_assert_uint_eq(b.nfailed, 0);
	f.transport = SIP_TRANSPORT_UDP;
	ck_assert_int_eq(net_open(b.net, &f, NULL), -ENOTSUP);
	stop();
}
END_TEST

START_TEST(a_link_that_nobody_uses_stays)
{
	struct side a;
	struct net_queue q, before;

	prepare();
	conf.idle_ms = 120;
	side_start(&a, l, &conf, NULL);
	conf.link_listener = 0;
	side_start(&b, l, &conf, NULL);
	struct sip_flow f = flow_to(SIP_TRANSPORT_TCP, net_listener_addr(a.net, 0));
	ck_assert_int_eq(net_open(b.net, &f, NULL), 0);
	rig_until(l, net_counters(b.net)->connected == 1);
	ck_assert(net_queued(b.net, &f, NULL, &before));
	rig_until(l, net_counters(a.net)->keepalives == 5);
	ck_assert(net_queued(b.net, &f, NULL, &q));
	ck_assert_uint_eq(q.conn, before.conn);
	ck_assert_uint_eq(a.nclosed + b.nclosed + a.nheard + b.nheard + b.nbroken, 0);
	side_stop(&a);
	stop();
}
END_TEST

START_TEST(a_link_begins_with_who_we_are_and_the_far_end_knows_us_then)
{
	static const char hello[] = "OPTIONS sip:b SIP/2.0\r\nCall-ID: me\r\n"
				    "Content-Length: 0\r\n\r\n";
	const struct net_peer peer = {.tag = 7};
	struct side a;

	prepare();
	side_start(&a, l, &conf, NULL);
	conf.link_listener = 0;
	side_start(&b, l, &conf, NULL);
	a.introduction = "not of a connection that is no link";
	b.introduction = hello;
	struct sip_flow f = flow_to(SIP_TRANSPORT_TCP, net_listener_addr(a.net, 0));
	send_text(&b, &f, ping, NULL, 1);
	rig_until(l, a.nheard == 2);
	ck_assert_uint_eq(a.heard[0].n, strlen(hello));
	ck_assert_mem_eq(a.heard[0].text, hello, strlen(hello));
	ck_assert(!a.heard[0].has_peer && !a.heard[1].has_peer);
	ck_assert_int_eq(net_identify(a.net, &a.heard[0].flow, &peer), 0);
	send_text(&b, &f, ping, NULL, 2);
	rig_until(l, a.nheard == 3);
	ck_assert(a.heard[2].has_peer);
	ck_assert_uint_eq(a.heard[2].peer.tag, 7);
	f = flow_to(SIP_TRANSPORT_TCP, net_listener_addr(b.net, 0));
	send_text(&a, &f, ping, NULL, 3);
	rig_until(l, b.nheard == 1);
	ck_assert_uint_eq(b.heard[0].n, strlen(ping));
	f = a.heard[0].flow;
	net_close(a.net, &f);
	ck_assert_int_eq(net_identify(a.net, &f, &peer), -ENOTCONN);
	side_stop(&a);
	stop();
}
END_TEST

/* Who may name a next hop names the address of a node: its far end believes a link. */
START_TEST(a_link_is_for_nodes_alone)
{
	struct side a;

	prepare();
	side_start(&a, l, &conf, NULL);
	conf.listener[1] = conf.listener[0];
	conf.nlisteners = 2;
	conf.link_listener = 1;
	side_start(&b, l, &conf, NULL);
	b.introduction = ping;
	struct sip_flow other = flow_to(SIP_TRANSPORT_TCP, net_listener_addr(a.net, 0));
	struct sip_flow link = other;
	link.listener = 1;
	send_text(&b, &link, ping, NULL, 1);
	rig_until(l, a.nheard == 2);
	send_text(&b, &other, ping, NULL, 2);
	rig_until(l, a.nheard == 3);
	ck_assert_uint_eq(a.heard[0].flow.conn, a.heard[1].flow.conn);
	ck_assert_uint_ne(a.heard[2].flow.conn, a.heard[0].flow.conn);
	send_text(&b, &link, ping, NULL, 3);
	rig_until(l, a.nheard == 4);
	ck_assert_uint_eq(a.heard[3].flow.conn, a.heard[0].flow.conn);
	send_text(&b, &other, ping, NULL, 4);
	rig_until(l, a.nheard == 5);
	ck_assert_uint_eq(a.heard[4].flow.conn, a.heard[2].flow.conn);
	side_stop(&a);
	stop();
}
END_TEST

START_TEST(a_lost_connection_fails_only_what_was_not_written)
{
	static char text[8192];
	int fd;

	prepare();
	side_start(&b, l, &conf, NULL);
	fd = dial_b();
	put(fd, ping, strlen(ping));
	rig_until(l, b.nheard == 1);
	send_text(&b, &b.heard[0].flow, ping, NULL, 77777);
	rig_settle(l);
	memset(text, 'x', sizeof(text) - 1);
	/* 160 KiB and more than the kernel takes: some of it waits here. */
	unsigned sent = 0;
	while (sent < 2000 && net_counters(b.net)->tx_bytes + 65536 > sent * 8191) {
		ck_assert_int_eq(send_text(&b, &b.heard[0].flow, text, NULL, ++sent), 0);
		loop_round(l, 0);
	}
	close(fd);
	rig_until(l, b.nclosed == 1);
	ck_assert_uint_gt(b.nfailed, 0);
	for (unsigned i = 0; i < b.nfailed; i++)
		ck_assert_uint_ne(b.failed[i], 77777);
	ck_assert_uint_eq(b.failed[b.nfailed - 1], sent);
	stop();
}
END_TEST

START_TEST(a_connection_that_does_not_come_up_in_time_fails)
{
	struct sip_flow f;
	struct addr at = at_addr("127.0.0.1", 0);
	socklen_t len = sizeof(at);
	int listening, filler[4];

	prepare();
	conf.connect_ms = 40;
	side_start(&b, l, &conf, NULL);
	/* A backlog of nothing, filled: further connections hang. */
	listening = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(bind(listening, &at.sa, addr_len(&at)), 0);
	ck_assert_int_eq(listen(listening, 0), 0);
	ck_assert_int_eq(getsockname(listening, &at.sa, &len), 0);
	for (int i = 0; i < 4; i++) {
		filler[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		if (connect(filler[i], &at.sa, addr_len(&at)) < 0)
			ck_assert_int_eq(errno, EINPROGRESS);
	}
	f = flow_to(SIP_TRANSPORT_TCP, &at);
	ck_assert_int_eq(send_text(&b, &f, ping, NULL, 8), 0);
	rig_until(l, b.nfailed == 1);
	ck_assert_uint_eq(b.failed[0], 8);
	ck_assert_int_eq(b.failed_error, -ETIMEDOUT);
	for (int i = 0; i < 4; i++)
		close(filler[i]);
	close(listening);
	stop();
}
END_TEST

START_TEST(without_descriptors_connections_are_refused_not_left_waiting)
{
	struct rlimit was, few;
	char buf[8];
	int fd;

	prepare();
	side_start(&b, l, &conf, NULL);
	fd = dial_b();
	getrlimit(RLIMIT_NOFILE, &was);
	few = was;
	few.rlim_cur = (rlim_t)fd + 1; /* what is open stays, there is no next */
	setrlimit(RLIMIT_NOFILE, &few);
	ck_assert_int_eq(get(l, fd, buf, sizeof(buf)), 0);
	setrlimit(RLIMIT_NOFILE, &was);
	ck_assert_uint_eq(net_counters(b.net)->refused_full, 1);
	close(fd);
	fd = dial_b();
	put(fd, ping, strlen(ping));
	rig_until(l, b.nheard == 1);
	close(fd);
	stop();
}
END_TEST

UNIT_MAIN("limits", a_slow_sender_is_closed_however_it_trickles,
	  half_a_ping_is_not_a_slow_message, an_idle_connection_is_closed_and_a_busy_one_is_not,
	  a_source_has_its_cap_and_gets_its_places_back, a_full_table_refuses_the_next,
	  who_never_spoke_gives_way_when_the_table_is_full,
	  a_peer_that_does_not_read_is_closed_and_what_waited_fails,
	  a_link_that_is_full_refuses_what_is_more_and_goes_on,
	  a_connection_is_there_before_it_is_used, a_link_that_nobody_uses_stays,
	  a_link_begins_with_who_we_are_and_the_far_end_knows_us_then,
	  a_link_is_for_nodes_alone, a_lost_connection_fails_only_what_was_not_written,
	  a_connection_that_does_not_come_up_in_time_fails,
	  without_descriptors_connections_are_refused_not_left_waiting)
