/*
 * Homes for the tests of links that are sockets of the test: they read when they are told to.
 */
#ifndef EAVES_TESTS_STACK_HOMES_H
#define EAVES_TESTS_STACK_HOMES_H

#include "common/base/addr.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BIG = 16 << 20, MESSAGE_MAX = 4096 };

struct home {
	struct addr addr;
	int server, fd; /* -1: none */
	char *got;
	size_t n, seen; /* bytes; of whole messages */
	unsigned messages;
};

static void home_listen(struct home *h, uint16_t port)
{
	socklen_t len = sizeof(h->addr);
	int on = 1;
	h->fd = -1;
	h->server = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	setsockopt(h->server, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	ck_assert_int_eq(addr_parse(&h->addr, SPAN("127.0.0.1"), port), 0);
	ck_assert_int_eq(bind(h->server, &h->addr.sa, len), 0);
	ck_assert_int_eq(listen(h->server, 0), 0);
	ck_assert_int_eq(getsockname(h->server, &h->addr.sa, &len), 0);
	h->got = h->got ? h->got : malloc(BIG);
}

/* With what waits in them: the far end gets a reset. */
static void home_hang_up(struct home *h)
{
	const struct linger none = {.l_onoff = 1};
	if (h->fd >= 0) {
		setsockopt(h->fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
		close(h->fd);
	}
	h->fd = -1;
}

static void home_read(struct home *h)
{
	ssize_t r;
	if (h->fd < 0)
		h->fd = accept(h->server, NULL, NULL);
	while (h->fd >= 0 && (r = recv(h->fd, h->got + h->n, BIG - h->n - 1, MSG_DONTWAIT)) > 0)
		h->n += (size_t)r;
	h->got[h->n] = 0;
}

/* By memchr: sanitizers look at all that memmem or strstr may read. */
static const char *end_of_message(const char *p, const char *end)
{
	for (; end - p >= 4 && (p = memchr(p, '\r', (size_t)(end - p) - 3)); p++)
		if (memcmp(p, "\r\n\r\n", 4) == 0)
			return p;
	return NULL;
}

static unsigned messages_at(struct home *h)
{
	home_read(h);
	for (const char *p; (p = end_of_message(h->got + h->seen, h->got + h->n));
	     h->seen = (size_t)(p - h->got) + 4)
		h->messages++;
	return h->messages;
}

/* Each once, in the order in which they were sent. */
static inline void in_order(struct home *h, unsigned from, unsigned n)
{
	const char *p = h->got;
	for (unsigned i = from; i < n; i++) {
		char line[32];
		snprintf(line, sizeof(line), "Call-ID: %u\r\n", i);
		size_t left = h->n - (size_t)(p - h->got);
		p = memmem(p, left < MESSAGE_MAX ? left : MESSAGE_MAX, "Call-ID: ", 9);
		ck_assert_ptr_nonnull(p);
		ck_assert_msg(strncmp(p, line, strlen(line)) == 0, "not %s", line);
		p++;
	}
}

#endif
