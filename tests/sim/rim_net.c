/*
 * common/net/net.h over the simulated network: listeners, datagrams, the end of a round.  As in
 * the product nothing calls back from within net_send; at the end of a round datagrams leave
 * first, then the connections that were written to, in order.  Connections are in rim_conn.c.
 */
#include "tests/sim/rim_net.h"

#include <errno.h>
#include <stdlib.h>

enum { RECENT_MS = 2000 };

const struct net_conf net_conf_default = {
	.limits = {.datagram_bytes = 8192,
		   .stream_bytes = 65536,
		   .headers = 96,
		   .header_bytes = 2048,
		   .commas = 32,
		   .semicolons = 24},
	.handshake_ms = 2000,
	.message_ms = 4000,
	.idle_ms = 600000,
	.connect_ms = 3000,
	.conns_max = 20000,
	.conns_per_source = 200,
	.out_bytes_max = 256 * 1024,
	.link_listener = NET_LISTENERS_MAX,
	.link_bytes_max = 16 << 20,
	.udp_rcvbuf_bytes = 4 << 20,
};

struct out {
	struct out *next;
	struct listener *from;
	struct addr to;
	uint64_t id;
	size_t n;
	char bytes[];
};

/* ---- what comes while the process is paused ---- */

struct late {
	struct loop_in in;
	struct listener *l;
	struct addr from;
	size_t n;
	char bytes[];
};

void net_deliver(struct net *n, const struct sip_flow *f, struct span bytes,
		 const struct net_peer *peer)
{
	memcpy(n->scratch, bytes.p, bytes.n);
	n->ops.message(n->ops.arg, f, n->scratch, bytes.n, bytes.n + SIP_STAMP_ROOM, peer);
}

static bool is_keepalive(struct span s)
{
	return s.n <= 4 && s.n == strspn(s.p, "\r\n");
}

static void deliver(struct listener *l, const struct addr *from, struct span bytes)
{
	struct net *n = l->net;
	struct sip_flow f = {.transport = SIP_TRANSPORT_UDP,
			     .listener = l->index,
			     .worker = n->worker,
			     .remote = *from};
	if (bytes.n <= 4 && is_keepalive(bytes)) {
		n->count.keepalives++;
		return;
	}
	if (bytes.n > n->conf.limits.datagram_bytes) {
		static const struct sip_fault too_long = {513, "Message Too Large"};
		bytes.n = n->conf.limits.datagram_bytes;
		n->count.udp_too_long++;
		n->ops.broken(n->ops.arg, &f, bytes, &too_long);
		return;
	}
	n->count.rx_udp++;
	net_deliver(n, &f, bytes, NULL);
}

static void run_late(struct loop_in *in)
{
	struct late *d = container_of(in, struct late, in);
	if (!d->l->net->passes_over)
		deliver(d->l, &d->from, span_of(d->bytes, d->n));
	free(d);
}

static void drop_late(struct loop_in *in)
{
	free(container_of(in, struct late, in));
}

static void on_datagram(struct udp_sock *s, const struct addr *from, struct span bytes)
{
	struct listener *l = container_of(s, struct listener, udp);
	struct net *n = l->net;
	if (loop_enter(n->loop)) {
		deliver(l, from, bytes);
		loop_leave(n->loop);
		return;
	}
	struct late *d = sim_alloc(sizeof(*d) + bytes.n + 1);
	*d = (struct late){.in = {.run = run_late, .drop = drop_late},
			   .l = l,
			   .from = *from,
			   .n = bytes.n};
	memcpy(d->bytes, bytes.p, bytes.n);
	loop_defer(n->loop, &d->in);
}

/* ---- sends that went nowhere ---- */

void net_lost(struct net *n, uint64_t id, int error)
{
	if (id && n->nlost < LOST_MAX)
		n->lost[n->nlost++] = (struct lost){id, error};
}

static void on_refused(struct udp_sock *s, const struct addr *to)
{
	struct net *n = container_of(s, struct listener, udp)->net;
	if (!loop_enter(n->loop))
		return;
	net_unreachable(n, to, -ECONNREFUSED);
	loop_leave(n->loop);
}

bool net_unreachable(struct net *n, const struct addr *to, int error)
{
	bool found = false;
	for (unsigned i = 0; i < RECENT_MAX; i++) {
		struct recent *r = &n->recent[i];
		if (r->id == 0 || r->at + RECENT_MS < loop_now(n->loop) ||
		    !addr_equal(&r->to, to))
			continue;
		net_lost(n, r->id, error);
		r->id = 0;
		found = true;
	}
	return found;
}

static void tell_lost(struct net *n)
{
	struct lost lost[LOST_MAX];
	unsigned nlost = n->nlost;
	memcpy(lost, n->lost, nlost * sizeof(lost[0])); /* failed() may send, and lose more */
	n->nlost = 0;
	for (unsigned i = 0; i < nlost; i++)
		n->ops.failed(n->ops.arg, lost[i].id, lost[i].error);
}

/* ---- the end of a round ---- */

static void flush_udp(struct net *n)
{
	while (n->out) {
		struct out *o = n->out;
		n->out = o->next;
		if (!n->out)
			n->out_end = &n->out;
		if (!node_is_mute())
			udp_sock_send(&o->from->udp, &o->to, span_of(o->bytes, o->n));
		free(o);
	}
}

static void end_round(void *arg)
{
	enum { TURNS = 64 };
	struct net *n = arg;
	n->passes_over = false;
	for (int turn = 0; turn < TURNS; turn++) {
		flush_udp(n);
		list_for_each_safe (it, &n->dirty) {
			struct conn *c = container_of(it, struct conn, dirty);
			list_remove(&c->dirty);
			conn_flush(c);
		}
		if (list_empty(&n->dead) && n->nlost == 0)
			return;
		conns_reap(n);
		tell_lost(n);
	}
}

static int udp_send(struct net *n, struct listener *l, const struct sip_flow *f,
		    const struct iovec *iov, int niov, uint64_t id)
{
	size_t len = 0, at = 0;
	for (int i = 0; i < niov; i++)
		len += iov[i].iov_len;
	struct out *o = sim_alloc(sizeof(*o) + len);
	*o = (struct out){.from = l, .to = f->remote, .id = id, .n = len};
	for (int i = 0; i < niov; at += iov[i].iov_len, i++)
		if (iov[i].iov_len)
			memcpy(o->bytes + at, iov[i].iov_base, iov[i].iov_len);
	*n->out_end = o;
	n->out_end = &o->next;
	n->count.tx_udp++;
	n->recent[n->recent_next++ % RECENT_MAX] =
		(struct recent){f->remote, id, loop_now(n->loop)};
	return 0;
}

int net_send(struct net *n, const struct sip_flow *f, const struct iovec *iov, int niov,
	     const char *tls_host, uint64_t id)
{
	if (f->listener >= n->nlisteners)
		return -ENOTSUP;
	struct listener *l = &n->listener[f->listener];
	loop_touch(n->loop);
	switch (f->transport) {
	case SIP_TRANSPORT_UDP:
		return l->transport == SIP_TRANSPORT_UDP ? udp_send(n, l, f, iov, niov, id)
							 : -ENOTSUP;
	case SIP_TRANSPORT_TCP:
		return conn_send(n, f, iov, niov, NULL, id);
	case SIP_TRANSPORT_TLS:
		return n->tls ? conn_send(n, f, iov, niov, tls_host, id) : -ENOTSUP;
	case SIP_TRANSPORT_NONE:
	case SIP_TRANSPORT_WS:
	case SIP_TRANSPORT_WSS:
		break;
	}
	return -ENOTSUP;
}

/* ---- life of a net ---- */

static int listener_open(struct net *n, unsigned i)
{
	static uint16_t any = 30000;
	struct listener *l = &n->listener[i];
	const struct net_listener *c = &n->conf.listener[i];
	struct host *h = loop_node(n->loop)->host;
	*l = (struct listener){.net = n,
			       .addr = c->addr,
			       .transport = c->transport,
			       .index = (uint16_t)i,
			       .require_peer = c->tls_require_peer};
	if (!addr_port(&l->addr))
		addr_set_port(&l->addr, any++);
	switch (c->transport) {
	case SIP_TRANSPORT_UDP:
		l->udp.datagram = on_datagram;
		l->udp.refused = on_refused;
		udp_sock_open(&l->udp, h, &l->addr);
		return 0;
	case SIP_TRANSPORT_TCP:
	case SIP_TRANSPORT_TLS:
		l->stream.accept = conn_on_accept;
		stream_listen(&l->stream, h, &l->addr);
		return 0;
	case SIP_TRANSPORT_NONE:
	case SIP_TRANSPORT_WS:
	case SIP_TRANSPORT_WSS:
		break;
	}
	return -ENOTSUP;
}

static void kill_all(struct node_part *p, bool silent)
{
	struct net *n = container_of(p, struct net, part);
	for (unsigned i = 0; i < n->nlisteners; i++) {
		struct listener *l = &n->listener[i];
		if (l->transport == SIP_TRANSPORT_UDP)
			udp_sock_close(&l->udp);
		else if (!l->stopped)
			stream_listen_end(&l->stream);
	}
	n->nlisteners = 0;
	conns_kill_all(n, silent);
}

struct net *net_new(struct loop *l, uint16_t worker, const struct net_conf *c,
		    const struct net_ops *ops, struct net_tls *tls, unsigned *ret_listener)
{
	struct net *n = sim_alloc(sizeof(*n));
	n->loop = l;
	n->wheel = loop_wheel(l);
	n->ops = *ops;
	n->conf = *c;
	n->tls = tls;
	n->worker = worker;
	n->out_end = &n->out;
	list_init(&n->all);
	list_init(&n->dirty);
	list_init(&n->dead);
	n->scratch = sim_alloc(c->limits.stream_bytes + SIP_STAMP_ROOM);
	n->part.kill = kill_all;
	for (unsigned i = 0; i < c->nlisteners; i++) {
		int r = listener_open(n, i);
		n->nlisteners = i + 1;
		if (r < 0) {
			*ret_listener = i;
			errno = -r;
			return NULL;
		}
	}
	loop_on_round(l, end_round, n);
	node_add_part(&n->part);
	return n;
}

void net_free(struct net *n)
{
	if (!n)
		return;
	loop_off_round(n->loop, end_round, n);
	kill_all(&n->part, false);
	list_remove(&n->part.link);
	free(n->scratch);
	free(n);
}

int net_listener_taken(const struct net_listener *l)
{
	struct host *h = node_current()->host;
	bool taken = l->transport == SIP_TRANSPORT_UDP ? udp_taken(h, &l->addr)
						       : stream_taken(h, &l->addr);
	return taken && addr_port(&l->addr) ? -EADDRINUSE : 0;
}

const struct addr *net_listener_addr(const struct net *n, unsigned i)
{
	return i < n->nlisteners ? &n->listener[i].addr : NULL;
}

const struct net_counters *net_counters(const struct net *n)
{
	return &n->count;
}

static void stop_listening(struct net *n, unsigned stays)
{
	for (unsigned i = 0; i < n->nlisteners; i++)
		if (n->listener[i].transport != SIP_TRANSPORT_UDP && i != stays &&
		    !n->listener[i].stopped) {
			stream_listen_end(&n->listener[i].stream);
			n->listener[i].stopped = true;
		}
}

void net_stop_listening(struct net *n)
{
	stop_listening(n, NET_LISTENERS_MAX);
}

void net_pass_over(struct net *n, unsigned listener)
{
	n->passes_over = true;
	conns_pass_over(n);
	net_abandon(n, listener);
}

void net_hang_up(struct net *n, unsigned stays)
{
	stop_listening(n, stays);
	list_for_each_safe (it, &n->all) {
		struct conn *c = container_of(it, struct conn, all);
		if (c->flow.listener == stays)
			continue;
		c->hears = true;
		net_close(n, &c->flow);
	}
}

/* The machine says nothing: that who looks now and then alone is late must do no harm. */
struct net_watch *net_addresses_watch(struct loop *l, void (*changed)(void *arg), void *arg)
{
	(void)l;
	(void)changed;
	(void)arg;
	return NULL;
}

struct net_watch *net_addresses_unwatch(struct net_watch *w)
{
	return w;
}
