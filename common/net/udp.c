/*
 * UDP: datagrams are read and written in batches (recvmmsg, sendmmsg).  What is sent waits in
 * the listener's slab until the end of the round, or until a batch is full; a socket that
 * cannot take it is asked again when it is writable, and meanwhile the slab is the bound.  RFC
 * 3261 18.1.1, 18.2.1.  ICMP errors are in udp_error.c.
 */
#include "common/net/net_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

enum {
	BATCHES_A_ROUND = 4,
	TX_SLOTS = 4 * UDP_BATCH,
	TX_BYTES = 256 * 1024,
	DATAGRAM_MAX = 65507,
	PASSED_MAX = 100000,
};

struct udp_rx {
	size_t slot_bytes; /* datagram_bytes and room for a stamp */
	struct mmsghdr m[UDP_BATCH];
	struct iovec iov[UDP_BATCH];
	struct addr from[UDP_BATCH];
	char buf[];
};

struct udp_tx {
	struct event writable;
	unsigned first, n; /* [first, n) wait */
	size_t used;
	struct mmsghdr m[TX_SLOTS];
	struct iovec iov[TX_SLOTS];
	struct addr to[TX_SLOTS];
	uint64_t id[TX_SLOTS];
	char slab[TX_BYTES];
};

int udp_init(struct net *n)
{
	size_t slot = n->conf.limits.datagram_bytes + SIP_STAMP_ROOM;
	struct udp_rx *rx = calloc(1, sizeof(*rx) + slot * UDP_BATCH);

	if (!rx)
		return -ENOMEM;
	rx->slot_bytes = slot;
	for (unsigned i = 0; i < UDP_BATCH; i++) {
		rx->iov[i] = (struct iovec){rx->buf + i * slot, slot - SIP_STAMP_ROOM};
		rx->m[i].msg_hdr = (struct msghdr){.msg_name = &rx->from[i],
						   .msg_namelen = sizeof(rx->from[i]),
						   .msg_iov = &rx->iov[i],
						   .msg_iovlen = 1};
	}
	n->rx = rx;
	return 0;
}

void udp_done(struct net *n)
{
	free(n->rx);
	n->rx = NULL;
}

/* RFC 5626 4.4.1 keeps flows open with CRLFs; phones do so over UDP too (and with NULs). */
static bool is_keepalive(const char *p, size_t n)
{
	if (n > 4)
		return false;
	for (size_t i = 0; i < n; i++)
		if (p[i] != '\r' && p[i] != '\n' && p[i] != '\0')
			return false;
	return true;
}

/* What is longer than datagram_bytes has been cut there. */
static void deliver(struct listener *l, unsigned slot)
{
	static const struct sip_fault too_long = {513, "Message Too Large"};
	struct net *n = l->net;
	struct udp_rx *rx = n->rx;
	size_t len = rx->m[slot].msg_len;
	struct sip_flow f = {.transport = SIP_TRANSPORT_UDP,
			     .listener = l->index,
			     .worker = n->worker,
			     .remote = rx->from[slot]};
	char *buf = rx->iov[slot].iov_base;

	counter_add(&n->count.rx_bytes, len);
	if (is_keepalive(buf, len)) {
		counter_inc(&n->count.keepalives);
		counter_inc(&n->count.udp_rx_dropped);
		return;
	}
	counter_inc(&n->count.rx_udp);
	if (rx->m[slot].msg_hdr.msg_flags & MSG_TRUNC) {
		counter_inc(&n->count.udp_too_long);
		n->ops.broken(n->ops.arg, &f, span_of(buf, len), &too_long);
		return;
	}
	n->ops.message(n->ops.arg, &f, buf, len, rx->slot_bytes, NULL);
}

/* One batch: how many, or -errno. */
static int receive(struct listener *l)
{
	struct udp_rx *rx = l->net->rx;
	int r = recvmmsg(l->fd, rx->m, UDP_BATCH, MSG_DONTWAIT, NULL);

	if (r < 0)
		return -errno;
	for (int i = 0; i < r; i++) {
		deliver(l, (unsigned)i);
		rx->m[i].msg_hdr.msg_namelen = sizeof(rx->from[i]);
	}
	loop_served(l->net->loop, (unsigned)r);
	return r;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct listener *l = arg;

	(void)fd;
	(void)what;
	loop_now(l->net->loop);
	for (int i = 0; i < BATCHES_A_ROUND && l->fd >= 0; i++) {
		int r = receive(l);

		/* Nothing there, though we were called: the error queue woke us. */
		if (r == -EAGAIN && i == 0)
			udp_error_drain(l);
		else if (r < 0 && r != -EAGAIN && r != -EINTR)
			udp_error_drain(l); /* the pending error of an earlier send; read on */
		else if (r < UDP_BATCH && r >= 0)
			return;
		if (r == -EAGAIN)
			return;
	}
}

void udp_pass_over(struct listener *l)
{
	char byte;

	/* More than fit into a socket's buffer are new. */
	for (unsigned i = 0; i < PASSED_MAX; i++)
		if (recv(l->fd, &byte, 1, MSG_DONTWAIT) >= 0)
			counter_inc(&l->net->count.udp_rx_dropped);
		else if (errno == EAGAIN || errno == EBADF || errno == ENOMEM)
			return;
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	udp_flush(arg);
}

static int set_options(int fd, const struct listener *l)
{
	int on = 1, rcvbuf = (int)l->net->conf.udp_rcvbuf_bytes, sndbuf = 1 << 20;

	if (setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) < 0)
		return -errno;
	if (l->addr.sa.sa_family == AF_INET6 &&
	    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0)
		return -errno;
	/* Beyond the system's limit with privileges, else as much as it gives. */
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &rcvbuf, sizeof(rcvbuf)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf, sizeof(rcvbuf));
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &sndbuf, sizeof(sndbuf));
	udp_error_setup(fd, l->addr.sa.sa_family);
	return 0;
}

/* The other member of a pair has the service address now, and both send from it: answers go to
 * who has it.  The kernel wants CAP_NET_RAW for that; without, the standby does not reach
 * phones. */
static void send_from_anywhere(int fd, int family)
{
	int on = 1;

	if (family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, &on, sizeof(on));
	else
		setsockopt(fd, IPPROTO_IP, IP_TRANSPARENT, &on, sizeof(on));
}

int udp_open(struct listener *l)
{
	socklen_t len = sizeof(l->addr);
	int r, fd = socket(l->addr.sa.sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	l->fd = fd;
	l->tx = malloc(sizeof(*l->tx)); /* not cleared: pages unused stay unmapped */
	if (!l->tx)
		return -ENOMEM;
	l->tx->first = l->tx->n = 0;
	l->tx->used = 0;
	event_assign(&l->tx->writable, l->net->base, fd, EV_WRITE, on_writable, l);
	event_assign(&l->ev, l->net->base, fd, EV_READ | EV_PERSIST, on_readable, l);
	r = set_options(fd, l);
	if (r < 0)
		return r;
	if (bind(fd, &l->addr.sa, addr_len(&l->addr)) < 0 ||
	    getsockname(fd, &l->addr.sa, &len) < 0)
		return -errno;
	/* not before: an address that is nobody's is to be refused */
	send_from_anywhere(fd, l->addr.sa.sa_family);
	return event_add(&l->ev, NULL) < 0 ? -ENOMEM : 0;
}

void udp_close(struct listener *l)
{
	if (l->tx) {
		udp_flush(l);
		event_del(&l->tx->writable);
		event_del(&l->ev);
		free(l->tx);
		l->tx = NULL;
	}
	if (l->fd >= 0)
		close(l->fd);
	l->fd = -1;
}

/* A free slot in the slab for n bytes, after a flush if need be. */
static bool make_room(struct listener *l, size_t n)
{
	struct udp_tx *t = l->tx;

	if (t->n - t->first >= UDP_BATCH || t->n == TX_SLOTS || t->used + n > TX_BYTES)
		udp_flush(l);
	return t->n < TX_SLOTS && t->used + n <= TX_BYTES;
}

int udp_send(struct listener *l, const struct addr *to, const struct iovec *iov, int niov,
	     uint64_t id)
{
	struct net *n = l->net;
	struct udp_tx *t = l->tx;
	size_t len = iov_total(iov, niov);
	char *p;

	if (len > DATAGRAM_MAX)
		return -EMSGSIZE;
	if (!make_room(l, len)) {
		counter_inc(&n->count.udp_tx_dropped);
		return -ENOBUFS;
	}
	p = t->slab + t->used;
	t->iov[t->n] = (struct iovec){p, len};
	for (int i = 0; i < niov; i++) {
		if (iov[i].iov_len == 0)
			continue;
		memcpy(p, iov[i].iov_base, iov[i].iov_len);
		p += iov[i].iov_len;
	}
	t->used += (len + 15) & ~(size_t)15;
	t->to[t->n] = *to;
	t->id[t->n] = id;
	t->m[t->n].msg_hdr = (struct msghdr){.msg_name = &t->to[t->n],
					     .msg_namelen = addr_len(to),
					     .msg_iov = &t->iov[t->n],
					     .msg_iovlen = 1};
	t->n++;
	counter_inc(&n->count.tx_udp);
	counter_add(&n->count.tx_bytes, len);
	udp_error_remember(n, to, id);
	return 0;
}

/* The error of the first that waits, by sendmmsg.  True: go on. */
static bool send_failed(struct listener *l, int error, bool *drained)
{
	struct udp_tx *t = l->tx;

	if (error == EINTR)
		return true;
	if (error == EAGAIN || error == ENOBUFS) {
		event_add(&t->writable, NULL);
		return false;
	}
	/* It may be an ICMP error that an earlier send earned: then this one can go. */
	if (!*drained) {
		*drained = true;
		udp_error_drain(l);
		return true;
	}
	*drained = false;
	counter_inc(&l->net->count.udp_tx_dropped);
	if (!udp_error_is_ours(&t->to[t->first], error))
		net_lost(l->net, t->id[t->first], -error);
	t->first++;
	return true;
}

void udp_flush(struct listener *l)
{
	struct udp_tx *t = l->tx;
	bool drained = false;

	while (t->first < t->n) {
		int r = sendmmsg(l->fd, t->m + t->first, t->n - t->first, MSG_DONTWAIT);

		if (r > 0) {
			t->first += (unsigned)r;
			drained = false;
		} else if (!send_failed(l, errno, &drained)) {
			return;
		}
	}
	t->first = t->n = 0;
	t->used = 0;
}
