/*
 * Life of a connection, TCP or TLS (RFC 3261 18, RFC 5923): opened or accepted, shaken hands,
 * up, closed after what is queued, dead.  One timer each, armed for the deadline of the state.
 * Listening is in accept.c, bytes are in stream_in.c and stream_out.c, TLS in stream_tls.c.
 */
#include "common/net/net_priv.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <unistd.h>

enum { UNACKED_MS = 32000, LINGER_READS = 64 };

/* The one place where the state changes; the deadline follows. */
void conn_set_state(struct conn *c, enum conn_state state)
{
	c->state = state;
	c->since = loop_now(c->net->loop);
	conn_deadline(c);
}

bool conn_is_link(const struct conn *c)
{
	return c->ours && c->flow.listener == c->net->conf.link_listener;
}

/* A link is asked in time whether it lives: nothing else comes back by it. */
static bool to_be_asked(const struct conn *c)
{
	return conn_is_link(c) && !c->asked;
}

static msec due_open(const struct conn *c)
{
	const struct net_conf *conf = &c->net->conf;
	msec idle = c->last_rx + conf->idle_ms / (to_be_asked(c) ? 2 : 1);
	msec whole = c->partial_since + conf->message_ms;

	return c->partial_since && whole < idle ? whole : idle;
}

static msec due(const struct conn *c)
{
	const struct net_conf *conf = &c->net->conf;

	switch (c->state) {
	case CONN_CONNECTING:
		return c->since + conf->connect_ms;
	case CONN_HANDSHAKE:
		return c->since + conf->handshake_ms;
	case CONN_OPEN:
		return due_open(c);
	case CONN_CLOSING:
	case CONN_LINGER:
	case CONN_DEAD:
		break;
	}
	return c->since + conf->message_ms;
}

/* A timer that fires too early costs less than one moved with every message. */
void conn_deadline(struct conn *c)
{
	msec at = due(c);

	if (!wheel_armed(&c->timer) || c->timer.due > at)
		wheel_arm(c->net->wheel, &c->timer, at);
}

/* RFC 5626 3.5.1. */
static void ask(struct conn *c)
{
	static const struct iovec ping = {(void *)"\r\n\r\n", 4};
	c->asked = true;
	conn_deadline(c);
	conn_append(c, &ping, 1,
		    0); /* one that is full shows in another way whether it lives */
}

static void on_deadline(struct wheel_timer *t, msec now)
{
	struct conn *c = container_of(t, struct conn, timer);
	struct net_counters *count = &c->net->count;

	if (now < due(c)) {
		conn_deadline(c);
		return;
	}
	if (c->state == CONN_OPEN && !c->partial_since && to_be_asked(c)) {
		ask(c);
		return;
	}
	switch (c->state) {
	case CONN_CONNECTING:
		break;
	case CONN_HANDSHAKE:
		conn_tls_late(c);
		break;
	case CONN_OPEN:
		if (c->partial_since)
			counter_inc(&count->closed_slow);
		else
			counter_inc(&count->closed_idle);
		break;
	case CONN_CLOSING:
	case CONN_LINGER:
	case CONN_DEAD:
		break;
	}
	conn_kill(c, -ETIMEDOUT);
}

static void discard(struct conn *c)
{
	ssize_t r = 0;

	for (int i = 0; i < LINGER_READS; i++) {
		r = recv(c->fd, c->net->scratch, c->net->scratch_bytes, MSG_DONTWAIT);
		if (r <= 0)
			break;
	}
	if (r == 0 || (r < 0 && errno != EAGAIN && errno != EINTR))
		conn_kill(c, 0);
}

bool conn_reads(const struct conn *c)
{
	return c->state == CONN_OPEN || (c->state == CONN_LINGER && c->hears);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct conn *c = arg;

	(void)fd;
	(void)what;
	loop_now(c->net->loop); /* may end it */
	if (c->state == CONN_HANDSHAKE)
		conn_tls_handshake_fairly(c);
	else if (conn_reads(c))
		conn_readable(c);
	else if (c->state == CONN_LINGER)
		discard(c);
}

static void on_connected(struct conn *c)
{
	socklen_t len = sizeof(int);
	int error = 0;

	if (c->error == 0 && getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0)
		c->error = -error;
	if (c->error < 0) {
		conn_kill(c, c->error);
		return;
	}
	counter_inc(&c->net->count.connected);
	if (c->flow.transport == SIP_TRANSPORT_TLS)
		conn_tls_start(c, false);
	else
		conn_is_open(c);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct conn *c = arg;

	(void)fd;
	(void)what;
	loop_now(c->net->loop); /* may end it */
	if (c->state == CONN_CONNECTING)
		on_connected(c);
	else if (c->state == CONN_HANDSHAKE)
		conn_tls_handshake(c);
	else if (c->state != CONN_DEAD)
		conn_flush(c);
}

void conn_is_open(struct conn *c)
{
	c->was_open = true;
	c->last_rx = loop_now(c->net->loop);
	conn_set_state(c, CONN_OPEN);
	if (event_add(&c->ev_read, NULL) < 0) {
		conn_kill(c, -ENOMEM);
		return;
	}
	if (!c->ours && c->net->ops.opened)
		c->net->ops.opened(c->net->ops.arg, &c->flow, c->peer);
	if (c->ssl && SSL_has_pending(c->ssl))
		event_active(&c->ev_read, EV_READ, 1);
	if (c->out_n > 0)
		conn_flush(c);
}

struct conn *conn_new(struct net *n, int fd, const struct sip_flow *f)
{
	int on = 1, unacked_ms = UNACKED_MS;
	struct conn *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->net = n;
	c->fd = fd;
	c->flow = *f;
	c->flow.worker = n->worker;
	list_init(&c->dirty);
	list_init(&c->fresh);
	wheel_timer_init(&c->timer, on_deadline);
	event_assign(&c->ev_read, n->base, fd, EV_READ | EV_PERSIST, on_readable, c);
	event_assign(&c->ev_write, n->base, fd, EV_WRITE, on_writable, c);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacked_ms, sizeof(unacked_ms));
	if (table_add(c) < 0) {
		free(c);
		return NULL;
	}
	return c;
}

/* From the listener's address: the peer knows us by it. */
static int bind_like(int fd, const struct addr *listener)
{
	struct addr a = *listener;
	int on = 1;

	addr_set_port(&a, 0);
	setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
	return bind(fd, &a.sa, addr_len(&a)) < 0 ? -errno : 0;
}

static int open_socket(const struct listener *l, const struct addr *to)
{
	int fd, r;

	if (l->addr.sa.sa_family != to->sa.sa_family)
		return -ENOTSUP;
	fd = socket(to->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -ENOBUFS;
	r = bind_like(fd, &l->addr);
	if (r < 0)
		close(fd);
	return r < 0 ? r : fd;
}

static int introduce(struct conn *c)
{
	const struct net_ops *ops = &c->net->ops;
	char buf[NET_INTRODUCTION_MAX];
	bool wanted = conn_is_link(c) && c->flow.transport == SIP_TRANSPORT_TCP;
	struct iovec iov = {buf, wanted && ops->introduction
					 ? ops->introduction(ops->arg, &c->flow, buf)
					 : 0};

	return iov.iov_len ? conn_append(c, &iov, 1, 0) : 0;
}

/* What connect() says at once is told like what it says later: never from within net_send. */
int conn_open(struct net *n, const struct sip_flow *f, const char *tls_host,
	      struct conn **ret_conn)
{
	struct conn *c;
	int fd;

	if (n->count.conns >= n->conf.conns_max) {
		counter_inc(&n->count.refused_full);
		return -ENOBUFS;
	}
	fd = open_socket(&n->listener[f->listener], &f->remote);
	if (fd < 0)
		return fd;
	c = conn_new(n, fd, f);
	if (!c) {
		close(fd);
		return -ENOMEM;
	}
	c->ours = true;
	if (tls_host && !(c->tls_host = strdup(tls_host))) {
		conn_kill(c, -ENOMEM);
		return -ENOMEM;
	}
	if (introduce(c) < 0) {
		conn_kill(c, -ENOMEM);
		return -ENOMEM;
	}
	table_know(c, &f->remote);
	conn_set_state(c, CONN_CONNECTING);
	event_add(&c->ev_write, NULL);
	if (connect(fd, &f->remote.sa, addr_len(&f->remote)) < 0 && errno != EINPROGRESS) {
		c->error = -errno;
		event_active(&c->ev_write, EV_WRITE, 1);
	}
	*ret_conn = c;
	return 0;
}

void conn_kill(struct conn *c, int error)
{
	struct net *n = c->net;

	if (c->state == CONN_DEAD)
		return;
	if (c->ssl && c->was_open && error == 0)
		conn_tls_bye(c);
	conn_set_state(c, CONN_DEAD);
	c->error = error;
	wheel_stop(n->wheel, &c->timer);
	event_del(&c->ev_read);
	event_del(&c->ev_write);
	table_remove(c);
	source_give(n, c->source);
	c->source = NULL;
	counter_dec(&n->count.conns);
	list_remove(&c->fresh);
	list_remove(&c->all);
	list_remove(&c->dirty);
	list_append(&n->dead, &c->dirty);
}

void conn_reset(struct conn *c)
{
	const struct linger none = {.l_onoff = 1};

	setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
	conn_kill(c, -ECONNRESET);
}

void conn_close(struct conn *c)
{
	if (c->state == CONN_CLOSING || c->state == CONN_LINGER)
		return;
	if (c->state != CONN_OPEN) {
		conn_kill(c, -ECONNABORTED);
		return;
	}
	table_remove(c);
	event_del(&c->ev_read);
	conn_set_state(c, CONN_CLOSING);
	if (list_empty(&c->dirty))
		list_append(&c->net->dirty, &c->dirty);
}

/* Closing a socket with unread bytes resets it, and the peer may lose our last answer. */
void conn_linger(struct conn *c)
{
	if (c->ssl)
		conn_tls_bye(c);
	conn_set_state(c, CONN_LINGER);
	if (shutdown(c->fd, SHUT_WR) < 0 || event_add(&c->ev_read, NULL) < 0)
		conn_kill(c, 0);
}

static void conn_free(struct conn *c)
{
	conn_tls_free(c);
	conn_out_free(c);
	free(c->in);
	free(c->tls_host);
	free(c->peer);
	close(c->fd);
	free(c);
}

static void tell_dead(struct conn *c)
{
	const struct net_ops *ops = &c->net->ops;

	for (; c->ids_n > 0; c->ids_n--) {
		ops->failed(ops->arg, c->ids[c->ids_first].id,
			    c->error < 0 ? c->error : -ECONNRESET);
		c->ids_first = (c->ids_first + 1) & (c->ids_cap - 1);
	}
	if (c->tls_fault && ops->refused) {
		const struct net_refusal r = {c->ours, c->tls_fault_of_peer, c->tls_fault};
		ops->refused(ops->arg, &c->flow, &r);
	}
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

void conns_free_all(struct net *n)
{
	list_for_each_safe (it, &n->all) {
		struct conn *c = container_of(it, struct conn, all);

		conn_flush(c);
		conn_kill(c, 0);
	}
	list_for_each_safe (it, &n->dead) {
		conn_free(container_of(it, struct conn, dirty));
	}
	list_init(&n->dead);
}
