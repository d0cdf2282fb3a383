/*
 * Half-open connections: who finds out, and who is left alone.  A connection whose other end
 * has gone without a word is made with TCP_REPAIR, which root alone may do.
 */
#include "tests/unit/common/net/rig.h"

#include <netinet/tcp.h>

static struct loop *l;
static struct side a;
static struct net_conf conf;
static int peer; /* a socket that is connected to a's listener, or is not any more */
static struct addr peer_addr;

static void start_peer(void)
{
	socklen_t len = sizeof(peer_addr);

	peer = dial(SOCK_STREAM, net_listener_addr(a.net, 0));
	getsockname(peer, &peer_addr.sa, &len);
}

static void start(void)
{
	conf = conf_with(SIP_TRANSPORT_TCP, "127.0.0.1");
	l = loop_new(0);
	side_start(&a, l, &conf, NULL);
}

static void stop(void)
{
	close(peer);
	side_stop(&a);
	loop_free(l);
}

/* As when its machine is another one now: the end of that descriptor is gone, the far one does
 * not know. */
static void forget(int fd)
{
	int on = 1;

	ck_assert_int_eq(setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on)), 0);
	close(fd);
}

static bool is_root(void)
{
	if (geteuid() == 0)
		return true;
	fprintf(stderr, "not root: no half-open connection can be made\n");
	return false;
}

/* The net has no connection of its own from there: another socket had it. */
static void start_half_open(void)
{
	struct addr at;
	int on = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
	socklen_t len = sizeof(peer_addr);

	start();
	at = *net_listener_addr(a.net, 0);
	net_stop_listening(a.net);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	setsockopt(listener, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
	ck_assert_int_eq(bind(listener, &at.sa, addr_len(&at)), 0);
	ck_assert_int_eq(listen(listener, 1), 0);
	peer = dial(SOCK_STREAM, &at);
	getsockname(peer, &peer_addr.sa, &len);
	forget(accept(listener, NULL, NULL));
	close(listener);
}

START_TEST(a_peer_whose_connection_went_elsewhere_finds_out)
{
	char buf[8];

	if (!is_root())
		return;
	start_half_open();
	ck_assert_int_eq(recv(peer, buf, sizeof(buf), MSG_DONTWAIT), -1);
	ck_assert_int_eq(errno, EAGAIN); /* it does not know */
	ck_assert_int_eq(net_knock(a.net, 0, &peer_addr), 0);
	ck_assert_int_eq(get(l, peer, buf, sizeof(buf)), -1);
	ck_assert_int_eq(errno, ECONNRESET);
	ck_assert_uint_eq(net_counters(a.net)->knocks, 1);
	stop();
}
END_TEST

START_TEST(a_connection_that_lives_is_left_alone)
{
	start();
	start_peer();
	put(peer, ping, strlen(ping));
	rig_until(l, a.nheard == 1);
	ck_assert_int_lt(net_knock(a.net, 0, &peer_addr), 0);
	rig_settle(l);
	put(peer, ping, strlen(ping));
	rig_until(l, a.nheard == 2);
	ck_assert_uint_eq(a.nclosed, 0);
	stop();
}
END_TEST

START_TEST(nobody_there_is_nothing_to_tell)
{
	char buf[8];

	start();
	start_peer();
	close(peer);
	peer = -1;
	rig_until(l, net_counters(a.net)->conns == 0);
	net_knock(a.net, 0, &peer_addr);
	rig_settle(l);
	start_peer(); /* the net goes on */
	put(peer, ping, strlen(ping));
	rig_until(l, a.nheard == 1);
	ck_assert_int_eq(a.nfailed, 0);
	ck_assert_int_eq(recv(peer, buf, sizeof(buf), MSG_DONTWAIT), -1);
	stop();
}
END_TEST

START_TEST(who_listens_there_gets_no_connection)
{
	struct addr at = at_addr("127.0.0.1", 0);
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	char buf[8];

	start();
	ck_assert_int_eq(bind(fd, &at.sa, addr_len(&at)), 0);
	ck_assert_int_eq(listen(fd, 1), 0);
	getsockname(fd, &at.sa, &len);
	ck_assert_int_eq(net_knock(a.net, 0, &at), 0);
	peer = accept(fd, NULL, NULL);
	ck_assert_int_eq(get(l, peer, buf, sizeof(buf)), -1);
	ck_assert_int_eq(errno, ECONNRESET);
	ck_assert_uint_eq(net_counters(a.net)->conns, 0);
	close(fd);
	stop();
}
END_TEST

START_TEST(by_a_stream_of_the_same_family_alone)
{
	struct addr far = at_addr("127.0.0.1", 9), v6 = at_addr("::1", 5060);

	start();
	ck_assert_int_eq(net_knock(a.net, 0, &v6), -ENOTSUP);
	ck_assert_int_eq(net_knock(a.net, 1, &far), -ENOTSUP);
	ck_assert_uint_eq(net_counters(a.net)->knocks, 0);
	peer = -1;
	stop();
}
END_TEST

UNIT_MAIN("knock", a_peer_whose_connection_went_elsewhere_finds_out,
	  a_connection_that_lives_is_left_alone, nobody_there_is_nothing_to_tell,
	  who_listens_there_gets_no_connection, by_a_stream_of_the_same_family_alone)
