/*
 * Input of a connection: strict framing (sip/frame.h), keep-alives, what is left of a message
 * that is not whole.  Bytes are read into a buffer that all connections share; only a remainder
 * is kept by its connection, and later bytes are then read behind it, so a byte is moved at
 * most once.
 */
#include "common/net/net_priv.h"

#include "common/poison/poison.h"

#include <errno.h>
#include <stdlib.h>

enum { READ_MIN = 4096 };

static ssize_t read_some(struct conn *c, char *buf, size_t n)
{
	ssize_t r;

	if (c->ssl)
		return conn_tls_read(c, buf, n);
	do
		r = recv(c->fd, buf, n, MSG_DONTWAIT);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r;
}

static void pong(struct conn *c)
{
	static const struct iovec crlf = {(void *)"\r\n", 2};

	counter_inc(&c->net->count.keepalives);
	if (conn_append(c, &crlf, 1, 0) == 0)
		counter_dec(&c->net->count.tx_stream); /* it is no message */
}

/* The callee may write behind the message, where the next one begins: put that aside. */
static void deliver(struct conn *c, char *p, size_t len, size_t behind)
{
	struct net *n = c->net;
	char aside[SIP_STAMP_ROOM];
	size_t keep = behind < sizeof(aside) ? behind : sizeof(aside);

	memcpy(aside, p + len, keep);
	list_remove(&c->fresh);
	counter_inc(&n->count.rx_stream);
	loop_served(n->loop, 1);
	n->ops.message(n->ops.arg, &c->flow, p, len, len + SIP_STAMP_ROOM, c->peer);
	memcpy(p + len, aside, keep);
}

static void broken(struct conn *c, struct span head)
{
	struct net *n = c->net;

	counter_inc(&n->count.closed_broken);
	n->ops.broken(n->ops.arg, &c->flow, head, &c->framer.fault);
	c->hears = false;
	conn_close(c);
}

static ssize_t unread(struct conn *c, struct span bytes)
{
	const struct net_ops *ops = &c->net->ops;

	return ops->unread ? ops->unread(ops->arg, &c->flow, bytes, c->peer) : 0;
}

static size_t message_max(const struct conn *c)
{
	return net_message_max(&c->net->conf, c->flow.listener);
}

static enum sip_frame_result frame(struct conn *c, struct span bytes)
{
	poison_begin(bytes.p, bytes.n);
	enum sip_frame_result r = sip_frame(&c->framer, bytes, message_max(c));
	poison_end();
	return r;
}

/* Takes what is whole; buf has SIP_STAMP_ROOM bytes behind n.  How many bytes were used. */
static size_t take_messages(struct conn *c, char *buf, size_t n)
{
	size_t off = 0;

	while (off < n && conn_reads(c)) {
		struct span rest = span_of(buf + off, n - off);
		ssize_t skip = unread(c, rest);

		if (skip == -EAGAIN)
			return off;
		if (skip > 0) {
			off += (size_t)skip;
			continue;
		}
		enum sip_frame_result r = frame(c, rest);
		size_t len = c->framer.len;

		switch (r) {
		case SIP_FRAME_MORE:
			return off;
		case SIP_FRAME_MESSAGE:
			deliver(c, buf + off, len, n - off - len);
			break;
		case SIP_FRAME_KEEPALIVE:
			if (c->state == CONN_OPEN)
				pong(c);
			break;
		case SIP_FRAME_SKIP:
			break;
		case SIP_FRAME_BROKEN:
			broken(c, len ? span_of(rest.p, len) : rest);
			return n;
		}
		off += len;
	}
	return conn_reads(c) ? off : n;
}

static void in_free(struct conn *c)
{
	free(c->in);
	c->in = NULL;
	c->in_n = c->in_cap = 0;
}

/* Room for READ_MIN more bytes and a stamp.  Doubles, so a byte is copied a bounded number of
 * times; a message above the limit was refused by the framer before. */
static int in_reserve(struct conn *c, size_t used)
{
	size_t cap = c->in_cap ? c->in_cap : 1024;
	char *p;

	if (used > message_max(c) + (size_t)READ_MIN)
		return -EMSGSIZE;
	while (cap < used + READ_MIN + SIP_STAMP_ROOM)
		cap *= 2;
	if (cap == c->in_cap)
		return 0;
	p = realloc(c->in, cap);
	if (!p)
		return -ENOMEM;
	c->in = p;
	c->in_cap = cap;
	return 0;
}

/* Keeps the remainder, and the time since when it has been one.  A lone CR or CRLF begins
 * nothing: it may be the first half of a ping. */
static int keep_rest(struct conn *c, const char *rest, size_t n, bool fresh)
{
	int r;

	if (n == 0) {
		in_free(c);
		c->partial_since = 0;
		return 0;
	}
	r = rest >= c->in && rest < c->in + c->in_cap ? 0 : in_reserve(c, n);
	if (r < 0)
		return r;
	if (rest != c->in)
		memmove(c->in, rest, n);
	c->in_n = n;
	if (n < 4 && (rest[0] == '\r' || rest[0] == '\n'))
		c->partial_since = 0;
	else if (fresh || c->partial_since == 0)
		c->partial_since = loop_now(c->net->loop);
	if (c->partial_since)
		conn_deadline(c);
	return 0;
}

/* One read and what it brings.  True: there may be more inside TLS. */
static bool read_once(struct conn *c)
{
	struct net *n = c->net;
	char *buf = n->scratch;
	size_t room = n->scratch_bytes, used;
	ssize_t r;
	int e;

	if (c->in_n > 0) {
		e = in_reserve(c, c->in_n);
		if (e < 0) {
			conn_kill(c, e);
			return false;
		}
		buf = c->in;
		room = c->in_cap - SIP_STAMP_ROOM;
	}
	r = read_some(c, buf + c->in_n, room - c->in_n);
	if (r == -EAGAIN)
		return false;
	if (r <= 0) {
		conn_kill(c, r < 0 ? (int)r : -ECONNRESET);
		return false;
	}
	counter_add(&n->count.rx_bytes, (size_t)r);
	c->last_rx = loop_now(n->loop);
	c->asked = false;
	c->in_n += (size_t)r;
	used = take_messages(c, buf, c->in_n);
	if (!conn_reads(c))
		return false;
	e = keep_rest(c, buf + used, c->in_n - used, used > 0);
	if (e < 0)
		conn_kill(c, e);
	return e == 0 && c->ssl && SSL_has_pending(c->ssl);
}

void conn_readable(struct conn *c)
{
	enum { TLS_READS = 8 };

	for (int i = 0; i < TLS_READS; i++)
		if (!read_once(c))
			return;
	/* Fair to the others; but what OpenSSL has inside, epoll does not know of. */
	event_active(&c->ev_read, EV_READ, 1);
}
