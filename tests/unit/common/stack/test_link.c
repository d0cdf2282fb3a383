/*
 * Links with other nodes (link.c), and calls that are told of by them (trying.c).
 */
#include "tests/unit/common/stack/links.h"

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

START_TEST(what_a_device_writes_introduces_nobody)
{
	static const char text[] =
		"SIP/2.0 200 OK\r\nVia: SIP/2.0/TCP e;branch=z9hG4bK1\r\n"
		"From: <sip:e>;tag=f\r\nTo: <sip:bob@example.org>;tag=t\r\nCall-ID: 1\r\n"
		"CSeq: 1 OPTIONS\r\nEaves-Link: 0\r\nContent-Length: 0\r\n\r\n";
	begin();
	held_for = H1 + 1;
	int fd = node_connects();
	ck_assert_int_eq(send(fd, text, sizeof(text) - 1, 0), sizeof(text) - 1);
	node_says(fd, NULL);
	UNTIL(nfrom[H1 + 1] == 2, 1000);
	ck_assert(!is_closed(fd));
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

UNIT_MAIN("links", a_link_is_there_before_it_is_used_and_comes_back,
	  a_link_that_cannot_be_opened_is_told_before_it_is_used,
	  a_call_is_told_of_when_the_100_has_left,
	  who_proves_who_it_is_is_it_whoever_it_was_held_for,
	  what_a_device_writes_introduces_nobody,
	  who_says_nothing_or_proves_nothing_is_hung_up_on)
