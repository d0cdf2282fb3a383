/*
 * Output of a connection: messages of one round are gathered in one buffer and leave in one
 * write. Each message's identity is kept until its last byte was taken by the system.
 */
#include "common/net/net_priv.h"

#include <errno.h>
#include <stdlib.h>

static char *spare_take(struct net *n)
{
	return n->nspare > 0 ? n->spare[--n->nspare] : malloc(OUT_BYTES);
}

/* An empty buffer does not stay with its connection: idle connections cost no buffers. */
static void out_release(struct conn *c)
{
	struct net *n = c->net;

	if (c->out_cap == OUT_BYTES && n->nspare < SPARE_MAX)
		n->spare[n->nspare++] = c->out;
	else
		free(c->out);
	c->out = NULL;
	c->out_off = c->out_n = c->out_cap = 0;
}

void conn_out_free(struct conn *c)
{
	out_release(c);
	free(c->ids);
	c->ids = NULL;
	c->ids_n = 0;
}

static int out_reserve(struct conn *c, size_t more)
{
	size_t cap = c->out_cap;
	char *p;

	if (!c->out) {
		c->out = spare_take(c->net);
		if (!c->out)
			return -ENOMEM;
		c->out_cap = cap = OUT_BYTES;
	}
	if (c->out_off + c->out_n + more <= cap)
		return 0;
	/* The long queue of a link is not moved for every bit that leaves. */
	if (!conn_is_link(c) || c->out_off >= c->out_n) {
		memmove(c->out, c->out + c->out_off, c->out_n);
		c->out_off = 0;
	}
	while (c->out_off + c->out_n + more > cap)
		cap *= 2;
	if (cap == c->out_cap)
		return 0;
	p = realloc(c->out, cap);
	if (!p)
		return -ENOMEM;
	c->out = p;
	c->out_cap = cap;
	return 0;
}

/* Room for one more identity in the ring (a power of two). */
static int ids_reserve(struct conn *c)
{
	unsigned cap = c->ids_cap ? c->ids_cap * 2 : 8;
	struct conn_id *p;

	if (c->ids_n < c->ids_cap)
		return 0;
	p = malloc(cap * sizeof(*p));
	if (!p)
		return -ENOMEM;
	for (unsigned i = 0; i < c->ids_n; i++)
		p[i] = c->ids[(c->ids_first + i) & (c->ids_cap - 1)];
	free(c->ids);
	c->ids = p;
	c->ids_first = 0;
	c->ids_cap = cap;
	return 0;
}

/* Who does not read is closed; a node of ours has others to serve first. */
static int full(struct conn *c)
{
	if (conn_is_link(c))
		return -EAGAIN;
	counter_inc(&c->net->count.closed_out_full);
	conn_kill(c, -ENOBUFS);
	return -ENOBUFS;
}

static int make_room(struct conn *c, size_t total)
{
	const struct net_conf *conf = &c->net->conf;
	size_t max = conn_is_link(c) ? conf->link_bytes_max : conf->out_bytes_max;
	int r;

	/* Much in one round is no offence, if it can leave. */
	if (c->out_n + total > conf->out_bytes_max &&
	    !(conn_is_link(c) && event_pending(&c->ev_write, EV_WRITE, NULL)))
		conn_flush(c);
	if (c->state == CONN_DEAD)
		return -ENOTCONN;
	if (c->out_n + total > max)
		return full(c);
	r = out_reserve(c, total);
	return r < 0 ? r : ids_reserve(c);
}

int conn_append(struct conn *c, const struct iovec *iov, int niov, uint64_t id)
{
	size_t total = iov_total(iov, niov);
	char *p;
	int r = make_room(c, total);

	if (r < 0)
		return r;
	p = c->out + c->out_off + c->out_n;
	for (int i = 0; i < niov; i++) {
		if (iov[i].iov_len == 0)
			continue;
		memcpy(p, iov[i].iov_base, iov[i].iov_len);
		p += iov[i].iov_len;
	}
	c->out_n += total;
	c->queued += total;
	if (id) {
		unsigned at = (c->ids_first + c->ids_n++) & (c->ids_cap - 1);

		c->ids[at] = (struct conn_id){id, c->queued};
	}
	counter_inc(&c->net->count.tx_stream);
	if (list_empty(&c->dirty))
		list_append(&c->net->dirty, &c->dirty);
	return 0;
}

static void note_written(struct conn *c, size_t n)
{
	c->out_off += n;
	c->out_n -= n;
	c->written += n;
	counter_add(&c->net->count.tx_bytes, n);
	while (c->ids_n > 0 && c->ids[c->ids_first].end <= c->written) {
		c->ids_first = (c->ids_first + 1) & (c->ids_cap - 1);
		c->ids_n--;
	}
}

static ssize_t write_some(struct conn *c)
{
	ssize_t r;

	if (c->ssl)
		return conn_tls_write(c, c->out + c->out_off, c->out_n);
	do
		r = send(c->fd, c->out + c->out_off, c->out_n, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r;
}

void conn_flush(struct conn *c)
{
	if (c->state != CONN_OPEN && c->state != CONN_CLOSING)
		return; /* not yet, or not any more */
	while (c->out_n > 0) {
		ssize_t r = write_some(c);

		if (r == -EAGAIN) {
			event_add(&c->ev_write, NULL);
			return;
		}
		if (r <= 0) {
			conn_kill(c, r < 0 ? (int)r : -EPIPE);
			return;
		}
		note_written(c, (size_t)r);
	}
	if (c->out)
		out_release(c);
	if (c->state == CONN_CLOSING)
		conn_linger(c);
}
