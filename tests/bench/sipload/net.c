/*
 * Sockets: batches in and out.
 */
#include "tests/bench/sipload/sipload.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

nsec clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (nsec)t.tv_sec * 1000000000u + (nsec)t.tv_nsec;
}

static struct sock *open_one(struct load *l, unsigned i)
{
	struct sock *s = calloc(1, sizeof(*s));
	struct sockaddr_in a = {.sin_family = AF_INET};
	int bytes = 8 << 20;

	if (!s)
		return NULL;
	s->uas = i >= l->opt.sockets;
	s->port = (uint16_t)(l->opt.base_port + i);
	a.sin_port = htons(s->port);
	inet_pton(AF_INET, s->uas ? l->opt.uas_ip : l->opt.uac_ip, &a.sin_addr);
	s->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	setsockopt(s->fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	setsockopt(s->fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	if (s->fd < 0 || bind(s->fd, (struct sockaddr *)&a, sizeof(a)) < 0) {
		perror("sipload: bind");
		free(s);
		return NULL;
	}
	return s;
}

int net_open(struct load *l)
{
	l->epoll = epoll_create1(EPOLL_CLOEXEC);
	for (unsigned i = 0; i < 2 * l->opt.sockets; i++) {
		struct sock *s = open_one(l, i);
		struct epoll_event e = {.events = EPOLLIN, .data.ptr = s};

		if (!s || epoll_ctl(l->epoll, EPOLL_CTL_ADD, s->fd, &e) < 0)
			return -EIO;
		l->sock[l->nsock++] = s;
	}
	return 0;
}

static void flush_one(struct load *l, struct sock *s)
{
	unsigned from = 0;

	while (from < s->queued) {
		int n = sendmmsg(s->fd, s->hdr + from, s->queued - from, 0);

		if (n > 0)
			from += (unsigned)n;
		else if (errno != EINTR && errno != EAGAIN && errno != ENOBUFS)
			from++; /* an ICMP error of an earlier one: this one is lost */
	}
	l->c.sent += s->queued;
	s->queued = 0;
}

struct out net_begin(struct sock *s)
{
	char *p = s->buf[s->queued];

	return (struct out){.start = p, .p = p, .end = p + MESSAGE_MAX};
}

void net_end(struct load *l, struct sock *s, const struct out *o, const struct sockaddr_in *to)
{
	unsigned i = s->queued;

	if (o->over)
		return;
	s->to[i] = *to;
	s->iov[i] = (struct iovec){s->buf[i], out_len(o)};
	s->hdr[i].msg_hdr = (struct msghdr){.msg_name = &s->to[i],
					    .msg_namelen = sizeof(s->to[i]),
					    .msg_iov = &s->iov[i],
					    .msg_iovlen = 1};
	if (++s->queued == BATCH)
		flush_one(l, s);
}

void net_resend(struct load *l, struct sock *s, const struct kept *k,
		const struct sockaddr_in *to)
{
	struct out o = net_begin(s);

	put(&o, span_of(k->p, k->n));
	net_end(l, s, &o, to);
}

void net_flush(struct load *l)
{
	for (unsigned i = 0; i < l->nsock; i++)
		if (l->sock[i]->queued)
			flush_one(l, l->sock[i]);
}

static void receive_one(struct load *l, struct sock *s)
{
	static char buf[BATCH][MESSAGE_MAX];
	static struct iovec iov[BATCH];
	static struct mmsghdr hdr[BATCH];
	static struct sockaddr_in from[BATCH];

	for (unsigned i = 0; i < BATCH; i++) {
		iov[i] = (struct iovec){buf[i], MESSAGE_MAX};
		hdr[i].msg_hdr = (struct msghdr){.msg_name = &from[i],
						 .msg_namelen = sizeof(from[i]),
						 .msg_iov = &iov[i],
						 .msg_iovlen = 1};
	}
	int n = recvmmsg(s->fd, hdr, BATCH, MSG_DONTWAIT, NULL);
	l->now = clock_ns();
	for (int i = 0; i < n; i++) {
		struct message m;

		l->c.received++;
		if (!message_read(&m, span_of(buf[i], hdr[i].msg_len)))
			continue;
		if (m.is_request)
			uas_request(l, s, &m, &from[i]);
		else
			op_response(l, &m);
	}
}

void net_receive(struct load *l)
{
	struct epoll_event e[2 * SOCKETS_MAX];

	for (unsigned round = 0; round < 4; round++) {
		int n = epoll_wait(l->epoll, e, 2 * SOCKETS_MAX, 0);

		if (n <= 0)
			return;
		for (int i = 0; i < n; i++)
			receive_one(l, e[i].data.ptr);
	}
}

void net_sleep(struct load *l, nsec until)
{
	enum { QUANTUM_NS = 100000 };
	struct epoll_event e;
	nsec now = clock_ns();
	nsec wait = until > now + QUANTUM_NS ? until - now : QUANTUM_NS;
	struct timespec t = {.tv_nsec = (long)(wait > 1000000 ? 1000000 : wait)};

	epoll_pwait2(l->epoll, &e, 1, &t, NULL);
}
