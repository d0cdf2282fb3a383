/*
 * A name server for tests: UDP on loopback, in the test's own loop, answering from the names
 * below.  Included by one test program; not a header for anybody else.
 */
#ifndef EAVES_TESTS_DNS_SERVER_H
#define EAVES_TESTS_DNS_SERVER_H

#include "common/loop/loop.h"

#include <arpa/inet.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct dns_server {
	int fd;
	struct event *event;
	unsigned asked;
};

/* A reply under construction. */
struct reply {
	unsigned char p[4096];
	size_t n;
};

static void put(struct reply *r, const void *p, size_t n)
{
	memcpy(r->p + r->n, p, n);
	r->n += n;
}
static void put16(struct reply *r, unsigned v)
{
	put(r, (unsigned char[]){(unsigned char)(v >> 8), (unsigned char)v}, 2);
}
static void put_name(struct reply *r, const char *name)
{
	while (*name) {
		size_t n = strcspn(name, ".");

		put(r, (unsigned char[]){(unsigned char)n}, 1);
		put(r, name, n);
		name += n + (name[n] == '.');
	}
	put(r, "", 1);
}
/* Owner (a pointer to the question), type, class, TTL; then length and data. */
static void put_record(struct reply *r, unsigned type, unsigned ttl, const struct reply *data)
{
	put(r, "\xc0\x0c", 2);
	put16(r, type);
	put16(r, 1);
	put16(r, ttl >> 16);
	put16(r, ttl & 0xffff);
	put16(r, (unsigned)data->n);
	put(r, data->p, data->n);
}
static void put_a(struct reply *r, const char *addr, unsigned ttl)
{
	struct reply d = {.n = 4};

	inet_pton(AF_INET, addr, d.p);
	put_record(r, 1, ttl, &d);
}
static void put_srv(struct reply *r, unsigned ttl, unsigned priority, unsigned weight,
		    unsigned port, const char *target)
{
	struct reply d = {.n = 0};

	put16(&d, priority);
	put16(&d, weight);
	put16(&d, port);
	put_name(&d, target);
	put_record(r, 33, ttl, &d);
}

/* Fills the answer section; the number of answers, or -1: say nothing. */
static int fill(struct reply *r, const char *name, unsigned type)
{
	struct reply d = {.n = 16};
	size_t len;

	if (!strncmp(name, "silent", 6))
		return -1;
	if (!strcmp(name, "two.test") && type == 1) {
		put_a(r, "192.0.2.1", 200);
		put_a(r, "192.0.2.2", 100);
		return 2;
	}
	if (!strcmp(name, "one.test") && type == 1)
		return put_a(r, "192.0.2.9", 100), 1;
	if (!strcmp(name, "zero.test"))
		return put_a(r, "192.0.2.9", 0), 1;
	if (!strcmp(name, "forged.test")) {
		r->p[0] ^= 0x55;
		return put_a(r, "192.0.2.66", 100), 1;
	}
	if (!strcmp(name, "many.test")) {
		for (int i = 0; i < 60; i++)
			put_a(r, "192.0.2.9", 100);
		return 60;
	}
	if (!strcmp(name, "six.test") && type == 28) {
		inet_pton(AF_INET6, "2001:db8::1", d.p);
		return put_record(r, 28, 60, &d), 1;
	}
	if (!strcmp(name, "_sip._udp.two.test")) {
		put_srv(r, 50, 10, 5, 5070, "One.test");
		put_srv(r, 7, 20, 0, 5080, "two.test");
		return 2;
	}
	if (!strcmp(name, "_sip._udp.none.test"))
		return put_srv(r, 50, 0, 0, 0, ""), 1;
	if (!strcmp(name, "_sip._udp.hostile.test")) {
		put_srv(r, 50, 0, 0, 5060, "a b.test");
		put_srv(r, 50, 0, 0, 5060, "x\r\nVia: y.test");
		return 2;
	}
	if (!strcmp(name, "two.test") && type == 35) {
		static const char text[] = "\x00\x14\x00\x03\x01S\x07SIP+D2U\x00";

		d.n = 0;
		put(&d, text, sizeof(text) - 1);
		put_name(&d, "_sip._udp.two.test");
		return put_record(r, 35, 60, &d), 1;
	}
	if (!strcmp(name, "truncated.test"))
		return r->p[2] |= 2, 0; /* TC, and nobody listens on TCP */
	if (!strcmp(name, "counts.test"))
		return put_a(r, "192.0.2.1", 9), 1000;
	if (!strcmp(name, "rdlength.test")) {
		len = r->n;
		put_a(r, "192.0.2.1", 9);
		r->p[len + 10] = 0xff;
		return 1;
	}
	if (!strcmp(name, "pointer.test")) {
		len = r->n;
		put_a(r, "192.0.2.1", 9);
		r->p[len + 1] = (unsigned char)len; /* points to itself */
		return 1;
	}
	r->p[3] |= !strcmp(name, "servfail.test") ? 2 : 3;
	return 0;
}

static void dns_server_reply(struct dns_server *s, const unsigned char *q, size_t n,
			     const struct sockaddr_in *to)
{
	struct reply r = {.n = n};
	char name[256] = "";
	size_t at = 12, out = 0;

	memcpy(r.p, q, n);
	while (at < n && q[at] && out + q[at] + 2 < sizeof(name)) {
		memcpy(name + out, q + at + 1, q[at]);
		out += q[at];
		name[out++] = '.';
		at += q[at] + 1u;
	}
	name[out ? out - 1 : 0] = 0;
	r.p[2] |= 0x80;
	r.p[3] |= 0x80;
	s->asked++;
	if (at + 5 > n)
		return;
	r.n = at + 5; /* without the query's OPT record */
	r.p[11] = 0;
	int answers = fill(&r, name, (unsigned)q[at + 1] << 8 | q[at + 2]);
	if (answers < 0)
		return;
	r.p[6] = (unsigned char)(answers >> 8);
	r.p[7] = (unsigned char)answers;
	sendto(s->fd, r.p, r.n, 0, (const struct sockaddr *)to, sizeof(*to));
}

static void dns_server_read(evutil_socket_t fd, short what, void *arg)
{
	unsigned char q[512];
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	ssize_t n = recvfrom(fd, q, sizeof(q), MSG_DONTWAIT, (struct sockaddr *)&from, &len);

	(void)what;
	if (n > 16)
		dns_server_reply(arg, q, (size_t)n, &from);
}

static struct dns_server *dns_server_new(struct loop *l)
{
	struct dns_server *s = calloc(1, sizeof(*s));
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	ck_assert_ptr_nonnull(s);
	s->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(s->fd, (struct sockaddr *)&a, sizeof(a)), 0);
	s->event = event_new(loop_base(l), s->fd, EV_READ | EV_PERSIST, dns_server_read, s);
	ck_assert_int_eq(event_add(s->event, NULL), 0);
	return s;
}

static unsigned dns_server_port(const struct dns_server *s)
{
	struct sockaddr_in a;
	socklen_t len = sizeof(a);

	getsockname(s->fd, (struct sockaddr *)&a, &len);
	return ntohs(a.sin_port);
}

static unsigned dns_server_asked(const struct dns_server *s)
{
	return s->asked;
}

static void dns_server_free(struct dns_server *s)
{
	event_free(s->event);
	close(s->fd);
	free(s);
}

#endif
