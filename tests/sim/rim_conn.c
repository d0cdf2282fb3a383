/*
 * Connections of a worker: opened, accepted, reused by address, ended.  "TLS" is a connection
 * whose far end's name is looked at; it has no handshake of its own.  What a stream carries is
 * whole messages.
 */
#include "tests/sim/rim_net.h"

#include <errno.h>
#include <stdlib.h>

enum { SLOT_BITS = 22 };

static const struct stream_ops conn_ops;

static struct conn *conn_find(const struct net *n, uint64_t id)
{
	list_for_each (it, &n->all) {
		struct conn *c = container_of(it, struct conn, all);
		if (c->flow.conn == id)
			return c;
	}
	return NULL;
}

static void conn_kill(struct conn *c, int error)
{
	struct net *n = c->net;
	if (c->state == CONN_DEAD)
		return;
	c->state = CONN_DEAD;
	c->error = error;
	if (c->end)
		stream_close(c->end);
	c->end = NULL;
	wheel_stop(n->wheel, &c->timer);
	n->count.conns--;
	list_remove(&c->all);
	list_remove(&c->dirty);
	list_append(&n->dead, &c->dirty);
}

static msec due(const struct conn *c)
{
	const struct net_conf *conf = &c->net->conf;
	return c->last_rx + (c->state == CONN_OPEN ? conf->idle_ms : conf->connect_ms);
}

static void on_deadline(struct wheel_timer *t, msec now)
{
	struct conn *c = container_of(t, struct conn, timer);
	if (now < due(c)) {
		wheel_arm(c->net->wheel, t, due(c));
		return;
	}
	if (c->state == CONN_OPEN)
		c->net->count.closed_idle++;
	conn_kill(c, -ETIMEDOUT);
}

/* As in the product: an identity is never used again, not by a later start either. */
static struct conn *conn_new(struct net *n, const struct sip_flow *f)
{
	struct conn *c = sim_alloc(sizeof(*c));
	if (!n->serial)
		n->serial = time_wall_ms();
	c->net = n;
	c->flow = *f;
	c->flow.worker = n->worker;
	c->flow.conn = n->serial++ << SLOT_BITS;
	c->out_end = &c->out;
	c->last_rx = loop_now(n->loop);
	list_init(&c->dirty);
	list_append(&n->all, &c->all);
	wheel_timer_init(&c->timer, on_deadline);
	n->count.conns++;
	return c;
}

/* ---- what happens to a connection: at once, or when the process goes on ---- */

enum happening { HAPPENS_ACCEPTED, HAPPENS_OPENED, HAPPENS_MESSAGE, HAPPENS_CLOSED };

struct late {
	struct loop_in in;
	struct conn *c;
	enum happening what;
	int error;
	size_t n;
	char bytes[];
};

static struct net_peer *peer_of(const struct host *h)
{
	if (!h->cert_name)
		return NULL;
	struct net_peer *p = sim_alloc(sizeof(*p));
	snprintf(p->names[0], sizeof(p->names[0]), "%s", h->cert_name);
	p->n = 1;
	return p;
}

static bool good_for(const struct conn *c, const char *host)
{
	if (!host || (c->tls_host[0] && strcasecmp(c->tls_host, host) == 0))
		return true;
	for (unsigned i = 0; c->peer && i < c->peer->n; i++)
		if (net_tls_name_matches(span_str(c->peer->names[i]), span_str(host)))
			return true;
	return false;
}

static void is_open(struct conn *c)
{
	struct net *n = c->net;
	bool tls = c->flow.transport == SIP_TRANSPORT_TLS;
	if (tls && (c->ours || n->listener[c->flow.listener].require_peer)) {
		const char *host = c->tls_host[0] ? c->tls_host : NULL;
		c->peer = peer_of(stream_peer(c->end));
		c->tls_host[0] = 0;
		if (!c->peer || !good_for(c, host)) {
			n->count.handshake_failed++;
			conn_kill(c, -EPERM);
			return;
		}
	}
	c->state = CONN_OPEN;
	c->was_open = true;
	c->last_rx = loop_now(n->loop);
	wheel_arm(n->wheel, &c->timer, due(c));
	if (!c->ours && n->ops.opened)
		n->ops.opened(n->ops.arg, &c->flow, c->peer);
	if (c->out && list_empty(&c->dirty))
		list_append(&n->dirty, &c->dirty);
}

static void on_bytes(struct conn *c, struct span bytes)
{
	static const struct iovec crlf = {(void *)"\r\n", 2};
	struct net *n = c->net;
	if (c->state != CONN_OPEN || (c->closing && !c->hears))
		return;
	c->last_rx = loop_now(n->loop);
	if (span_eq(bytes, SPAN("\r\n\r\n"))) {
		n->count.keepalives++;
		conn_send(n, &c->flow, &crlf, 1, NULL, 0);
	} else if (bytes.n > 4) {
		n->count.rx_stream++;
		net_deliver(n, &c->flow, bytes, c->peer);
	}
}

static void happen(struct conn *c, enum happening what, int error, struct span bytes)
{
	switch (what) {
	case HAPPENS_ACCEPTED:
	case HAPPENS_OPENED:
		if (c->state == CONN_CONNECTING)
			is_open(c);
		break;
	case HAPPENS_MESSAGE:
		on_bytes(c, bytes);
		break;
	case HAPPENS_CLOSED:
		conn_kill(c, error ? error : -ECONNRESET);
		break;
	}
}

static void run_late(struct loop_in *in)
{
	struct late *d = container_of(in, struct late, in);
	happen(d->c, d->what, d->error, span_of(d->bytes, d->n));
	free(d);
}

static void drop_late(struct loop_in *in)
{
	free(container_of(in, struct late, in));
}

static void input(struct conn *c, enum happening what, int error, struct span bytes)
{
	struct loop *l = c->net->loop;
	if (loop_enter(l)) {
		happen(c, what, error, bytes);
		loop_leave(l);
		return;
	}
	struct late *d = sim_alloc(sizeof(*d) + bytes.n);
	*d = (struct late){.in = {.run = run_late, .drop = drop_late},
			   .c = c,
			   .what = what,
			   .error = error,
			   .n = bytes.n};
	if (bytes.n)
		memcpy(d->bytes, bytes.p, bytes.n);
	loop_defer(l, &d->in);
}

static void on_opened(void *arg)
{
	input(arg, HAPPENS_OPENED, 0, SPAN(""));
}

static void on_message(void *arg, struct span bytes)
{
	input(arg, HAPPENS_MESSAGE, 0, bytes);
}

static void on_closed(void *arg, int error)
{
	struct conn *c = arg;
	c->end = NULL;
	input(c, HAPPENS_CLOSED, error, SPAN(""));
}

static const struct stream_ops conn_ops = {on_opened, on_message, on_closed};

void conn_on_accept(struct stream_listener *l, struct stream_end *e, const struct addr *from)
{
	struct listener *at = container_of(l, struct listener, stream);
	struct net *n = at->net;
	struct sip_flow f = {
		.transport = at->transport, .listener = at->index, .remote = *from};
	struct node *before = node_current();
	node_set_current(loop_node(n->loop));
	struct conn *c = conn_new(n, &f);
	node_set_current(before);
	n->count.accepted++;
	c->end = e;
	stream_accept(e, &conn_ops, c);
	input(c, HAPPENS_ACCEPTED, 0, SPAN(""));
}

/* ---- sending ---- */

static void append(struct conn *c, const struct iovec *iov, int niov, uint64_t id)
{
	struct net *n = c->net;
	size_t len = 0, at = 0;
	for (int i = 0; i < niov; i++)
		len += iov[i].iov_len;
	struct message *m = sim_alloc(sizeof(*m) + len);
	m->id = id;
	m->n = len;
	for (int i = 0; i < niov; at += iov[i].iov_len, i++)
		if (iov[i].iov_len)
			memcpy(m->bytes + at, iov[i].iov_base, iov[i].iov_len);
	*c->out_end = m;
	c->out_end = &m->next;
	c->given += len;
	n->count.tx_stream++;
	if (list_empty(&c->dirty))
		list_append(&n->dirty, &c->dirty);
}

static void introduce(struct conn *c)
{
	const struct net *n = c->net;
	char buf[NET_INTRODUCTION_MAX];
	struct iovec iov = {.iov_base = buf};
	if (c->flow.listener != n->conf.link_listener ||
	    c->flow.transport != SIP_TRANSPORT_TCP || !n->ops.introduction)
		return;
	iov.iov_len = n->ops.introduction(n->ops.arg, &c->flow, buf);
	if (iov.iov_len)
		append(c, &iov, 1, 0);
}

static struct conn *conn_open(struct net *n, const struct sip_flow *f, const char *tls_host)
{
	struct addr local = n->listener[f->listener].addr;
	struct conn *c = conn_new(n, f);
	addr_set_port(&local, 0);
	c->ours = true;
	c->known_as = f->remote;
	if (tls_host)
		snprintf(c->tls_host, sizeof(c->tls_host), "%s", tls_host);
	wheel_arm(n->wheel, &c->timer, due(c));
	n->count.connected++;
	introduce(c);
	if (!node_is_mute())
		c->end =
			stream_open(loop_node(n->loop)->host, &local, &f->remote, &conn_ops, c);
	return c;
}

static struct conn *reuse(struct net *n, const struct sip_flow *f, const char *host)
{
	list_for_each (it, &n->all) {
		struct conn *c = container_of(it, struct conn, all);
		if (c->ours && !c->closing && c->flow.transport == f->transport &&
		    (c->flow.listener == n->conf.link_listener) ==
			    (f->listener == n->conf.link_listener) &&
		    addr_equal(&c->known_as, &f->remote) && good_for(c, host))
			return c;
	}
	return NULL;
}

static struct conn *conn_for(struct net *n, const struct sip_flow *f, const char *tls_host)
{
	if (f->conn)
		return f->worker == n->worker ? conn_find(n, f->conn) : NULL;
	struct conn *c = reuse(n, f, tls_host);
	return c ? c : conn_open(n, f, tls_host);
}

int net_open(struct net *n, const struct sip_flow *f, const char *tls_host)
{
	bool tls = f->transport == SIP_TRANSPORT_TLS;
	loop_touch(n->loop);
	return conn_for(n, f, tls ? tls_host : NULL) ? 0 : -ENOTCONN;
}

bool net_queued(struct net *n, const struct sip_flow *f, const char *tls_host,
		struct net_queue *ret)
{
	const char *host = f->transport == SIP_TRANSPORT_TLS ? tls_host : NULL;
	const struct conn *c = f->conn ? conn_for(n, f, NULL) : reuse(n, f, host);
	if (c)
		*ret = (struct net_queue){c->flow.conn, c->given, c->taken, true};
	return c != NULL;
}

int conn_send(struct net *n, const struct sip_flow *f, const struct iovec *iov, int niov,
	      const char *tls_host, uint64_t id)
{
	struct conn *c = conn_for(n, f, tls_host);
	if (!c || c->closing)
		return -ENOTCONN;
	append(c, iov, niov, id);
	return 0;
}

void conn_flush(struct conn *c)
{
	if (c->state != CONN_OPEN)
		return;
	while (c->out && c->end) {
		struct message *m = c->out;
		c->out = m->next;
		if (!c->out)
			c->out_end = &c->out;
		c->taken += m->n;
		if (!node_is_mute())
			stream_write(c->end, span_of(m->bytes, m->n));
		free(m);
	}
	if (c->closing && c->hears && c->end)
		stream_shut(c->end);
	else if (c->closing)
		conn_kill(c, 0);
}

static void conn_free(struct conn *c)
{
	while (c->out) {
		struct message *m = c->out;
		c->out = m->next;
		free(m);
	}
	free(c->peer);
	free(c);
}

static void tell_dead(struct conn *c)
{
	const struct net_ops *ops = &c->net->ops;
	for (struct message *m = c->out; m; m = m->next)
		if (m->id)
			ops->failed(ops->arg, m->id, c->error < 0 ? c->error : -ECONNRESET);
	if (c->was_open)
		ops->closed(ops->arg, &c->flow);
}

void conns_reap(struct net *n)
{
	while (!list_empty(&n->dead)) {
		struct conn *c = container_of(n->dead.next, struct conn, dirty);
		list_remove(&c->dirty);
		tell_dead(c);
		conn_free(c);
	}
}

/* The process has ended: its system closes what it had. */
void conns_kill_all(struct net *n, bool silent)
{
	list_for_each (it, &n->all) {
		struct conn *c = container_of(it, struct conn, all);
		if (c->end && silent)
			stream_drop(c->end);
		else if (c->end)
			stream_close(c->end);
		c->end = NULL;
	}
}

/* ---- the rest of net.h ---- */

bool net_flow_alive(const struct net *n, const struct sip_flow *f)
{
	const struct conn *c = f->conn && f->worker == n->worker ? conn_find(n, f->conn) : NULL;
	return c && !c->closing;
}

int net_identify(struct net *n, const struct sip_flow *f, const struct net_peer *peer)
{
	struct conn *c = f->conn && f->worker == n->worker ? conn_find(n, f->conn) : NULL;
	if (!c)
		return -ENOTCONN;
	if (!c->peer)
		c->peer = sim_alloc(sizeof(*c->peer));
	*c->peer = *peer;
	return 0;
}

void net_close(struct net *n, const struct sip_flow *f)
{
	struct conn *c = f->conn && f->worker == n->worker ? conn_find(n, f->conn) : NULL;
	if (!c || c->closing)
		return;
	c->closing = true;
	if (!c->hears) {
		list_remove(&c->all); /* nobody finds it any more */
		list_init(&c->all);
	}
	if (list_empty(&c->dirty))
		list_append(&n->dirty, &c->dirty);
	if (c->state != CONN_OPEN)
		conn_kill(c, -ECONNABORTED);
}

static void conn_reset(struct conn *c)
{
	if (c->end)
		stream_reset(c->end);
	c->end = NULL;
	conn_kill(c, -ECONNRESET);
}

void net_sever(struct net *n, const struct addr *to)
{
	list_for_each_safe (it, &n->all) {
		struct conn *c = container_of(it, struct conn, all);
		if (c->ours && addr_equal(&c->flow.remote, to))
			conn_reset(c);
	}
}

void net_abandon(struct net *n, unsigned listener)
{
	list_for_each_safe (it, &n->all) {
		struct conn *c = container_of(it, struct conn, all);
		if (c->flow.listener == listener)
			conn_reset(c);
	}
}

int net_knock(struct net *n, unsigned listener, const struct addr *peer)
{
	struct host *h = loop_node(n->loop)->host;
	const struct addr *local = &n->listener[listener].addr;
	if (!host_has(h, local))
		return -ENETUNREACH;
	n->count.knocks++;
	stream_knock(h, local, peer);
	return 0;
}

void conns_pass_over(struct net *n)
{
	list_for_each_safe (it, &n->all) {
		struct conn *c = container_of(it, struct conn, all);
		if (!c->end)
			conn_kill(c, -ECONNRESET);
	}
}

bool net_opened(const struct net *n, const struct sip_flow *f)
{
	const struct conn *c = f->conn ? conn_find(n, f->conn) : NULL;
	return c && c->ours;
}

/* ---- common/net/tls.h: certificates are names of hosts ---- */

struct net_tls {
	int unused;
};

struct net_tls *net_tls_new(const struct net_tls_conf *c, char *ret_error)
{
	(void)c;
	(void)ret_error;
	return sim_alloc(sizeof(struct net_tls));
}

void net_tls_free(struct net_tls *t)
{
	free(t);
}

int net_tls_reload(struct net_tls *t, const struct net_tls_conf *c, char *ret_error)
{
	(void)t;
	(void)c;
	(void)ret_error;
	return 0;
}

bool net_tls_name_matches(struct span identity, struct span domain)
{
	if (span_istarts(identity, SPAN("sip:")))
		identity = span_of(identity.p + 4, identity.n - 4);
	return span_ieq(identity, domain);
}
