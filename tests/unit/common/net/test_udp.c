/*
 * UDP: batches both ways, IPv6, limits, keep-alives, ICMP errors on a shared socket.
 */
#include "common/base/counter.h"
#include "common/sip/stamp.h"
#include "tests/unit/common/net/rig.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

static struct loop *l;
static struct side a, b;

static void start(const char *host)
{
	struct net_conf c = conf_with(SIP_TRANSPORT_UDP, host);

	l = loop_new(0);
	side_start(&a, l, &c, NULL);
	side_start(&b, l, &c, NULL);
}

static void stop(void)
{
	side_stop(&a);
	side_stop(&b);
	loop_free(l);
}

static struct sip_flow to_b(void)
{
	return flow_to(SIP_TRANSPORT_UDP, net_listener_addr(b.net, 0));
}

static void exchange_both_ways(const char *host)
{
	struct sip_flow f;

	start(host);
	f = to_b();
	ck_assert_int_eq(send_text(&a, &f, ping, NULL, 1), 0);
	rig_until(l, b.nheard == 1);
	ck_assert_uint_eq(b.heard[0].n, strlen(ping));
	ck_assert_mem_eq(b.heard[0].text, ping, strlen(ping));
	ck_assert_uint_ge(b.heard[0].cap, strlen(ping) + SIP_STAMP_ROOM);
	ck_assert(addr_equal(&b.heard[0].flow.remote, net_listener_addr(a.net, 0)));
	ck_assert_uint_eq(b.heard[0].flow.conn, 0);
	ck_assert_uint_eq(b.heard[0].flow.worker, 7);
	/* The answer goes back by the flow that the request came by. */
	ck_assert_int_eq(send_text(&b, &b.heard[0].flow, "answer", NULL, 0), 0);
	rig_until(l, a.nheard == 1);
	ck_assert(addr_equal(&a.heard[0].flow.remote, net_listener_addr(b.net, 0)));
	stop();
}

START_TEST(a_datagram_and_its_answer_over_ipv4)
{
	exchange_both_ways("127.0.0.1");
}
END_TEST

START_TEST(a_datagram_and_its_answer_over_ipv6)
{
	exchange_both_ways("::1");
}
END_TEST

START_TEST(three_hundred_in_one_round_arrive_whole_and_in_order)
{
	struct sip_flow f;
	char text[32];

	start("127.0.0.1");
	f = to_b();
	for (int i = 0; i < 300; i++) {
		snprintf(text, sizeof(text), "message %d", i);
		ck_assert_int_eq(send_text(&a, &f, text, NULL, 0), 0);
	}
	rig_until(l, b.nheard == 300);
	for (int i = 0; i < 300; i++) {
		snprintf(text, sizeof(text), "message %d", i);
		ck_assert_uint_eq(b.heard[i].n, strlen(text));
		ck_assert_mem_eq(b.heard[i].text, text, strlen(text));
	}
	ck_assert_uint_eq(net_counters(a.net)->tx_udp, 300);
	ck_assert_uint_eq(net_counters(b.net)->rx_udp, 300);
	stop();
}
END_TEST

START_TEST(a_callee_may_write_into_the_room_behind_a_datagram)
{
	struct sip_flow f;

	start("127.0.0.1");
	b.scribble = true;
	f = to_b();
	for (int i = 0; i < 3; i++)
		send_text(&a, &f, ping, NULL, 0);
	rig_until(l, b.nheard == 3);
	for (int i = 0; i < 3; i++)
		ck_assert_mem_eq(b.heard[i].text, ping, strlen(ping));
	stop();
}
END_TEST

/* What is refused lies beside what is not in one batch; the answer goes by its flow. */
static void send_too_long(const char *host)
{
	static char big[9000];
	char answer[64];
	int fd;

	start(host);
	b.answer_broken = true;
	fd = dial(SOCK_DGRAM, net_listener_addr(b.net, 0));
	memset(big, 'x', sizeof(big));
	memcpy(big, ping, strlen(ping));
	put(fd, big, sizeof(big));
	put(fd, big, 8193);
	put(fd, big, 8192);
	put(fd, ping, strlen(ping));
	rig_until(l, b.nheard == 2);
	ck_assert_uint_eq(b.nbroken, 2);
	ck_assert_uint_eq(b.broken_status, 513);
	ck_assert_uint_eq(b.broken_head.n, 8192);
	ck_assert_mem_eq(b.broken_head.text, big, TEXT_MAX);
	ck_assert_int_eq(b.broken_flow.transport, SIP_TRANSPORT_UDP);
	ck_assert_uint_eq(net_counters(b.net)->udp_too_long, 2);
	ck_assert_uint_eq(net_counters(b.net)->udp_rx_dropped, 0);
	ck_assert_uint_eq(net_counters(b.net)->rx_udp, 4);
	ck_assert_uint_eq(b.heard[0].n, 8192);
	ck_assert_uint_eq(b.heard[1].n, strlen(ping));
	ck_assert_mem_eq(b.heard[1].text, ping, strlen(ping));
	for (int i = 0; i < 2; i++)
		ck_assert_int_gt(get(l, fd, answer, sizeof(answer)), 0);
	close(fd);
	stop();
}

START_TEST(a_datagram_above_the_limit_is_refused_with_513_and_the_next_is_served)
{
	send_too_long("127.0.0.1");
}
END_TEST

START_TEST(a_datagram_above_the_limit_is_refused_over_ipv6_too)
{
	send_too_long("::1");
}
END_TEST

START_TEST(keep_alive_datagrams_are_no_messages)
{
	int fd;

	start("127.0.0.1");
	fd = dial(SOCK_DGRAM, net_listener_addr(b.net, 0));
	put(fd, "\r\n\r\n", 4);
	put(fd, "\0", 1);
	put(fd, "", 0);
	put(fd, ping, strlen(ping));
	rig_until(l, b.nheard == 1);
	ck_assert_uint_eq(net_counters(b.net)->keepalives, 3);
	close(fd);
	stop();
}
END_TEST

/* An address where nobody listens. */
static struct sip_flow to_nobody(void)
{
	struct addr any = at_addr("127.0.0.1", 0);
	socklen_t len = sizeof(any);
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	ck_assert_int_eq(bind(fd, &any.sa, addr_len(&any)), 0);
	ck_assert_int_eq(getsockname(fd, &any.sa, &len), 0);
	close(fd);
	return flow_to(SIP_TRANSPORT_UDP, &any);
}

START_TEST(port_unreachable_fails_the_sends_to_that_address_alone)
{
	struct sip_flow nobody, f;

	start("127.0.0.1");
	nobody = to_nobody();
	f = to_b();
	send_text(&a, &f, "one", NULL, 11);
	send_text(&a, &nobody, "lost", NULL, 22);
	send_text(&a, &f, "two", NULL, 33);
	rig_until(l, a.nfailed == 1 && b.nheard == 2);
	ck_assert_uint_eq(a.failed[0], 22);
	ck_assert_int_eq(a.failed_error, -ECONNREFUSED);
	/* The socket that it came to goes on, both ways. */
	send_text(&b, &b.heard[0].flow, "back", NULL, 0);
	send_text(&a, &f, "three", NULL, 44);
	rig_until(l, a.nheard == 1 && b.nheard == 3);
	ck_assert_uint_eq(a.nfailed, 1);
	stop();
}
END_TEST

START_TEST(an_error_that_another_socket_of_the_port_was_told_fails_the_send)
{
	struct sip_flow f;

	start("127.0.0.1");
	f = to_b();
	ck_assert(!net_unreachable(a.net, &f.remote, -ECONNREFUSED));
	ck_assert_int_eq(send_text(&a, &f, "x", NULL, 5), 0);
	ck_assert(!net_unreachable(b.net, &f.remote, -ECONNREFUSED));
	ck_assert(net_unreachable(a.net, &f.remote, -ECONNREFUSED));
	ck_assert(!net_unreachable(a.net, &f.remote, -ECONNREFUSED));
	rig_until(l, a.nfailed == 1);
	ck_assert_uint_eq(a.failed[0], 5);
	ck_assert_int_eq(a.failed_error, -ECONNREFUSED);
	stop();
}
END_TEST

START_TEST(many_unreachable_sends_do_not_stop_the_others)
{
	struct sip_flow nobody, f;

	start("127.0.0.1");
	nobody = to_nobody();
	f = to_b();
	for (unsigned i = 1; i <= 100; i++) {
		ck_assert_int_eq(send_text(&a, &nobody, "lost", NULL, i), 0);
		ck_assert_int_eq(send_text(&a, &f, "good", NULL, 1000 + i), 0);
	}
	rig_until(l, b.nheard == 100 && a.nfailed > 0);
	rig_settle(l);
	for (unsigned i = 0; i < a.nfailed; i++)
		ck_assert_uint_le(a.failed[i], 100);
	stop();
}
END_TEST

START_TEST(an_error_at_once_is_told_after_the_send_not_in_it)
{
	struct addr broadcast = at_addr("255.255.255.255", 9);
	struct sip_flow f = flow_to(SIP_TRANSPORT_UDP, &broadcast);

	start("127.0.0.1");
	ck_assert_int_eq(send_text(&a, &f, "x", NULL, 5), 0);
	ck_assert_uint_eq(a.nfailed, 0);
	rig_until(l, a.nfailed == 1);
	ck_assert_uint_eq(a.failed[0], 5);
	ck_assert_int_eq(a.failed_error, -EACCES);
	stop();
}
END_TEST

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	ck_assert_msg(fd >= 0, "%s: %s", path, strerror(errno));
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

/* Without CAP_NET_RAW nothing leaves from an address that is another machine's. */
static void drop_privileges(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};
	ck_assert_int_eq(syscall(SYS_capset, &head, none), 0);
}

/* A network of the test's own with loopback alone, where any address may be bound. */
static void own_network(void)
{
	struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
	if (unshare(CLONE_NEWNET) < 0)
		ck_assert_msg(unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0,
			      "no namespace to be had: %s", strerror(errno));
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	ck_assert_int_eq(ioctl(fd, SIOCSIFFLAGS, &lo), 0);
	close(fd);
	write_file("/proc/sys/net/ipv4/ip_nonlocal_bind", "1");
}

/* It has moved to another machine: our datagrams are lost, and come again; the target is as
 * well as before.  One that nobody has a way to is not. */
START_TEST(a_service_address_that_is_elsewhere_is_no_fault_of_the_target)
{
	struct addr near = at_addr("127.0.0.1", 9), far = at_addr("192.0.2.1", 9);
	struct sip_flow f = flow_to(SIP_TRANSPORT_UDP, &near);

	own_network();
	drop_privileges();
	start("198.51.100.1");
	ck_assert_int_eq(send_text(&a, &f, "x", NULL, 5), 0);
	f.remote = far;
	ck_assert_int_eq(send_text(&a, &f, "x", NULL, 6), 0);
	rig_until(l, a.nfailed > 0);
	ck_assert_uint_eq(a.nfailed, 1);
	ck_assert_uint_eq(a.failed[0], 6);
	ck_assert_uint_eq(counter_get(&net_counters(a.net)->udp_tx_dropped), 2);
	stop();
}
END_TEST

START_TEST(what_cannot_be_sent_is_refused)
{
	static char huge[65508];
	struct iovec iov = {huge, sizeof(huge)};
	struct sip_flow f, v6;
	struct addr six = at_addr("::1", 5060);

	start("127.0.0.1");
	f = to_b();
	ck_assert_int_eq(net_send(a.net, &f, &iov, 1, NULL, 0), -EMSGSIZE);
	v6 = flow_to(SIP_TRANSPORT_UDP, &six);
	ck_assert_int_eq(send_text(&a, &v6, "x", NULL, 0), -ENOTSUP);
	f.listener = 3;
	ck_assert_int_eq(send_text(&a, &f, "x", NULL, 0), -ENOTSUP);
	f.listener = 0;
	f.transport = SIP_TRANSPORT_WS;
	ck_assert_int_eq(send_text(&a, &f, "x", NULL, 0), -ENOTSUP);
	f.transport = SIP_TRANSPORT_TLS;
	ck_assert_int_eq(send_text(&a, &f, "x", NULL, 0), -ENOTSUP);
	stop();
}
END_TEST

START_TEST(a_datagram_leaves_from_the_listener_that_the_flow_names)
{
	struct net_conf c = conf_with(SIP_TRANSPORT_UDP, "127.0.0.1");
	struct sip_flow f;

	l = loop_new(0);
	c.nlisteners = 2;
	c.listener[1] = (struct net_listener){.transport = SIP_TRANSPORT_UDP,
					      .addr = at_addr("127.0.0.2", 0)};
	side_start(&a, l, &c, NULL);
	side_start(&b, l, &c, NULL);
	f = to_b();
	f.listener = 1;
	send_text(&a, &f, ping, NULL, 0);
	rig_until(l, b.nheard == 1);
	ck_assert(addr_equal(&b.heard[0].flow.remote, net_listener_addr(a.net, 1)));
	ck_assert_uint_eq(b.heard[0].flow.listener, 0);
	stop();
}
END_TEST

START_TEST(what_has_come_is_passed_over_and_what_comes_later_is_not)
{
	const struct addr *at;
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	start("127.0.0.1");
	at = net_listener_addr(b.net, 0);
	for (int i = 0; i < 3; i++)
		ck_assert_int_gt(sendto(fd, ping, strlen(ping), 0, &at->sa, addr_len(at)), 0);
	net_pass_over(b.net, 7);
	ck_assert_uint_eq(net_counters(b.net)->udp_rx_dropped, 3);
	rig_settle(l);
	ck_assert_uint_eq(b.nheard, 0);
	ck_assert_int_gt(sendto(fd, ping, strlen(ping), 0, &at->sa, addr_len(at)), 0);
	rig_until(l, b.nheard == 1);
	close(fd);
	stop();
}
END_TEST

START_TEST(two_workers_share_a_listener)
{
	struct net_conf c = conf_with(SIP_TRANSPORT_UDP, "127.0.0.1");
	int fd[32];

	l = loop_new(0);
	side_start(&a, l, &c, NULL);
	c.listener[0].addr = *net_listener_addr(a.net, 0);
	side_start(&b, l, &c, NULL);
	for (int i = 0; i < 32; i++) {
		fd[i] = dial(SOCK_DGRAM, net_listener_addr(a.net, 0));
		put(fd[i], ping, strlen(ping));
	}
	rig_until(l, a.nheard + b.nheard == 32);
	ck_assert_uint_gt(a.nheard, 0);
	ck_assert_uint_gt(b.nheard, 0);
	for (int i = 0; i < 32; i++)
		close(fd[i]);
	stop();
}
END_TEST

START_TEST(a_port_of_another_server_is_taken_though_it_could_be_shared)
{
	static const enum sip_transport transports[] = {SIP_TRANSPORT_UDP, SIP_TRANSPORT_TCP};

	for (int i = 0; i < 2; i++) {
		struct net_conf c = conf_with(transports[i], "127.0.0.1");

		l = loop_new(0);
		ck_assert_int_eq(net_listener_taken(&c.listener[0]), 0);
		side_start(&a, l, &c, NULL);
		c.listener[0].addr = *net_listener_addr(a.net, 0);
		ck_assert_int_eq(net_listener_taken(&c.listener[0]), -EADDRINUSE);
		side_stop(&a);
		loop_free(l);
		ck_assert_int_eq(net_listener_taken(&c.listener[0]), 0);
	}
}
END_TEST

START_TEST(a_listener_that_cannot_be_opened_is_named)
{
	struct net_conf c = conf_with(SIP_TRANSPORT_UDP, "127.0.0.1");
	struct net_ops ops = {0};
	unsigned at = 9;

	l = loop_new(0);
	c.nlisteners = 2;
	c.listener[1] = (struct net_listener){.transport = SIP_TRANSPORT_TCP,
					      .addr = at_addr("192.0.2.1", 0)};
	ck_assert_ptr_null(net_new(l, 0, &c, &ops, NULL, &at));
	ck_assert_int_eq(errno, EADDRNOTAVAIL);
	ck_assert_uint_eq(at, 1);
	c.listener[1].transport = SIP_TRANSPORT_WS;
	ck_assert_ptr_null(net_new(l, 0, &c, &ops, NULL, &at));
	ck_assert_int_eq(errno, ENOTSUP);
	loop_free(l);
}
END_TEST

UNIT_MAIN("udp", a_datagram_and_its_answer_over_ipv4, a_datagram_and_its_answer_over_ipv6,
	  three_hundred_in_one_round_arrive_whole_and_in_order,
	  a_callee_may_write_into_the_room_behind_a_datagram,
	  a_datagram_above_the_limit_is_refused_with_513_and_the_next_is_served,
	  a_datagram_above_the_limit_is_refused_over_ipv6_too,
	  keep_alive_datagrams_are_no_messages,
	  port_unreachable_fails_the_sends_to_that_address_alone,
	  an_error_that_another_socket_of_the_port_was_told_fails_the_send,
	  many_unreachable_sends_do_not_stop_the_others,
	  an_error_at_once_is_told_after_the_send_not_in_it,
	  a_service_address_that_is_elsewhere_is_no_fault_of_the_target,
	  what_cannot_be_sent_is_refused,
	  a_datagram_leaves_from_the_listener_that_the_flow_names,
	  what_has_come_is_passed_over_and_what_comes_later_is_not,
	  two_workers_share_a_listener,
	  a_port_of_another_server_is_taken_though_it_could_be_shared,
	  a_listener_that_cannot_be_opened_is_named)
