/*
 * A socket for each phone: UDP, or one TCP or TLS connection to its server, opened again
 * whenever it ends.  A phone pings its connection every second (RFC 5626 3.5.1), so that it
 * finds out that the machine at the other end is another one.
 */
#include "tests/lab/crowd/crowd.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
	PING_MS = 1000,
	REOPEN_MS = 100,
	AGAIN_MS = 500,
	LOST_MS = 3000,
	IN_MAX = 65536,
	OUT_MAX = 262144
};
enum stream_state { STREAM_CLOSED, STREAM_CONNECTING, STREAM_SHAKING, STREAM_OPEN };

struct stream {
	enum stream_state state;
	SSL *ssl;
	msec retry, ping;
	size_t in_n, out_n;
	char in[IN_MAX], out[OUT_MAX];
};

static SSL_CTX *tls;

int net_tls_init(void)
{
	tls = SSL_CTX_new(TLS_client_method());
	if (!tls)
		return -ENOMEM;
	SSL_CTX_set_mode(tls,
			 SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	return 0;
}

bool net_up(const struct phone *p)
{
	return !p->stream || p->stream->state == STREAM_OPEN;
}

static void watch(struct crowd *c, struct phone *p, uint32_t events, int how)
{
	struct epoll_event e = {.events = events, .data.ptr = p};

	epoll_ctl(c->epoll, how, p->fd, &e);
}

static void stream_close(struct crowd *c, struct phone *p)
{
	struct stream *s = p->stream;

	if (s->state == STREAM_OPEN && p->bound != BOUND_OUT && p->closed_at == 0)
		p->closed_at = c->now;
	SSL_free(s->ssl);
	s->ssl = NULL;
	if (p->fd >= 0)
		close(p->fd);
	p->fd = -1;
	s->state = STREAM_CLOSED;
	s->in_n = s->out_n = 0;
	s->retry = c->now + REOPEN_MS;
	op_closed(c, p);
}

static void stream_connect(struct crowd *c, struct phone *p)
{
	struct stream *s = p->stream;
	int one = 1, lost = LOST_MS;
	socklen_t n = sizeof(p->at);
	struct sockaddr_in from = p->at;

	from.sin_port = 0;
	p->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (p->fd < 0)
		return;
	setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(p->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &lost, sizeof(lost));
	s->state = STREAM_CONNECTING;
	s->ping = c->now + LOST_MS;
	if (bind(p->fd, (struct sockaddr *)&from, sizeof(from)) < 0 ||
	    (connect(p->fd, (struct sockaddr *)&p->target, sizeof(p->target)) < 0 &&
	     errno != EINPROGRESS) ||
	    getsockname(p->fd, (struct sockaddr *)&p->at, &n) < 0) {
		stream_close(c, p);
		return;
	}
	watch(c, p, EPOLLIN | EPOLLOUT, EPOLL_CTL_ADD);
}

static void stream_open(struct crowd *c, struct phone *p)
{
	p->stream->state = STREAM_OPEN;
	p->stream->ping = c->now + PING_MS;
	watch(c, p, EPOLLIN, EPOLL_CTL_MOD);
	if (!p->was_bound)
		return;
	ledger_now(&c->ledger)->reconnects++;
	op_register(c, p, c->opt.expires_s);
}

static void shake(struct crowd *c, struct phone *p)
{
	struct stream *s = p->stream;
	int rc = SSL_connect(s->ssl);

	if (rc == 1) {
		stream_open(c, p);
		return;
	}
	rc = SSL_get_error(s->ssl, rc);
	if (rc == SSL_ERROR_WANT_READ)
		watch(c, p, EPOLLIN, EPOLL_CTL_MOD);
	else if (rc == SSL_ERROR_WANT_WRITE)
		watch(c, p, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
	else
		stream_close(c, p);
}

static void connected(struct crowd *c, struct phone *p)
{
	struct stream *s = p->stream;
	int error = 0;
	socklen_t n = sizeof(error);

	if (getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &error, &n) < 0 || error) {
		stream_close(c, p);
		return;
	}
	if (c->opt.transport == TCP) {
		stream_open(c, p);
		return;
	}
	s->ssl = SSL_new(tls);
	if (!s->ssl || !SSL_set_fd(s->ssl, p->fd)) {
		stream_close(c, p);
		return;
	}
	SSL_set_tlsext_host_name(s->ssl, c->opt.domain);
	s->state = STREAM_SHAKING;
	shake(c, p);
}

/* Bytes moved, 0 for "not now", -1 for the end of the stream. */
static ssize_t moved(struct stream *s, ssize_t rc)
{
	if (rc > 0)
		return rc;
	if (s->ssl) {
		int e = SSL_get_error(s->ssl, (int)rc);

		return e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE ? 0 : -1;
	}
	return rc < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}

static void stream_flush(struct crowd *c, struct phone *p)
{
	struct stream *s = p->stream;

	while (s->out_n) {
		ssize_t n = moved(s, s->ssl ? SSL_write(s->ssl, s->out, (int)s->out_n)
					    : send(p->fd, s->out, s->out_n, MSG_NOSIGNAL));

		if (n < 0)
			stream_close(c, p);
		if (n <= 0)
			break;
		memmove(s->out, s->out + n, s->out_n - (size_t)n);
		s->out_n -= (size_t)n;
	}
	if (s->state == STREAM_OPEN)
		watch(c, p, EPOLLIN | (s->out_n ? EPOLLOUT : 0), EPOLL_CTL_MOD);
}

static void stream_send(struct crowd *c, struct phone *p, const char *bytes, size_t n)
{
	struct stream *s = p->stream;

	if (s->state != STREAM_OPEN || s->out_n + n > OUT_MAX)
		return;
	memcpy(s->out + s->out_n, bytes, n);
	s->out_n += n;
	stream_flush(c, p);
}

/* The length of the message at the front; 0 while it is not whole. */
static size_t framed(const char *p, size_t n)
{
	const char *end = memmem(p, n, "\r\n\r\n", 4);

	if (!end)
		return 0;
	size_t head = (size_t)(end - p) + 4;
	const char *l = memmem(p, head, "\r\nContent-Length:", 17);
	size_t body = l ? strtoul(l + 17, NULL, 10) : 0;

	return head + body <= n ? head + body : 0;
}

static void stream_receive(struct crowd *c, struct phone *p)
{
	struct stream *s = p->stream;
	size_t at = 0, n;
	ssize_t rc =
		moved(s, s->ssl ? SSL_read(s->ssl, s->in + s->in_n, (int)(IN_MAX - s->in_n))
				: recv(p->fd, s->in + s->in_n, IN_MAX - s->in_n, 0));

	if (rc < 0) {
		stream_close(c, p);
		return;
	}
	s->in_n += (size_t)rc;
	while (s->state == STREAM_OPEN) {
		while (at < s->in_n && (s->in[at] == '\r' || s->in[at] == '\n'))
			at++;
		n = framed(s->in + at, s->in_n - at);
		if (!n)
			break;
		take(c, p, span_of(s->in + at, n), &p->target);
		at += n;
	}
	if (s->state != STREAM_OPEN)
		return;
	memmove(s->in, s->in + at, s->in_n - at);
	s->in_n -= at;
	if (s->in_n == IN_MAX)
		stream_close(c, p);
}

static void stream_event(struct crowd *c, struct phone *p, uint32_t events)
{
	struct stream *s = p->stream;

	switch (s->state) {
	case STREAM_CLOSED:
		return;
	case STREAM_CONNECTING:
		connected(c, p);
		return;
	case STREAM_SHAKING:
		shake(c, p);
		return;
	case STREAM_OPEN:
		if (events & EPOLLOUT)
			stream_flush(c, p);
		if (s->state == STREAM_OPEN && (events & (EPOLLIN | EPOLLHUP | EPOLLERR))) {
			do
				stream_receive(c, p);
			while (s->state == STREAM_OPEN && s->ssl && SSL_pending(s->ssl));
		}
		return;
	}
}

void net_tick(struct crowd *c, struct phone *p)
{
	struct stream *s = p->stream;

	if (!s)
		return;
	if (s->state == STREAM_CLOSED && c->now >= s->retry)
		stream_connect(c, p);
	else if (s->state == STREAM_OPEN && c->now >= s->ping) {
		s->ping = c->now + PING_MS;
		stream_send(c, p, "\r\n\r\n", 4);
	} else if (s->state == STREAM_OPEN && p->closed_at && !p->busy && c->now >= s->retry) {
		s->retry = c->now + AGAIN_MS; /* it was refused: once more */
		op_register(c, p, c->opt.expires_s);
	} else if ((s->state == STREAM_CONNECTING || s->state == STREAM_SHAKING) &&
		   c->now >= s->ping)
		stream_close(c, p);
}

int net_open(struct crowd *c, struct phone *p, unsigned port)
{
	int bytes = 1 << 20;

	p->fd = -1;
	if (c->opt.transport != UDP) {
		p->stream = calloc(1, sizeof(*p->stream));
		if (!p->stream)
			return -ENOMEM;
		stream_connect(c, p);
		return 0;
	}
	p->at.sin_port = htons((uint16_t)port);
	p->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (p->fd < 0 || bind(p->fd, (struct sockaddr *)&p->at, sizeof(p->at)) < 0) {
		perror("crowd: bind");
		return -errno;
	}
	setsockopt(p->fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	watch(c, p, EPOLLIN, EPOLL_CTL_ADD);
	return 0;
}

void net_send(struct crowd *c, struct phone *p, const struct sockaddr_in *to, const char *bytes,
	      size_t n)
{
	if (c->opt.verbose)
		fprintf(stderr, "%llu u%ud%u > %.*s\n", (unsigned long long)c->now,
			p->user->index, p->dev, (int)n, bytes);
	if (p->stream)
		stream_send(c, p, bytes, n);
	else /* what is lost is repeated by its timer */
		(void)!sendto(p->fd, bytes, n, 0, (const struct sockaddr *)to, sizeof(*to));
}

static void udp_receive(struct crowd *c, struct phone *p)
{
	static char buf[65536];
	struct sockaddr_in from = {0};

	for (unsigned i = 0; i < 64; i++) {
		socklen_t fn = sizeof(from);
		ssize_t n = recvfrom(p->fd, buf, sizeof(buf), 0, (struct sockaddr *)&from, &fn);

		if (n < 0 && errno == ECONNREFUSED)
			continue;
		if (n < 0)
			return;
		take(c, p, span_of(buf, (size_t)n), &from);
	}
}

void net_poll(struct crowd *c, int wait_ms)
{
	struct epoll_event e[256];
	int n = epoll_wait(c->epoll, e, 256, wait_ms);

	for (int i = 0; i < n; i++) {
		struct phone *p = e[i].data.ptr;

		if (!p)
			continue; /* standard input: command_poll reads it */
		if (p->stream)
			stream_event(c, p, e[i].events);
		else
			udp_receive(c, p);
	}
}
