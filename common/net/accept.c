/*
 * Listening for connections: caps by worker and by source, and what gives way when the table is
 * full (connections that have not sent one message in the time that one may take).
 */
#include "common/net/net_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum { ACCEPTS_A_ROUND = 64, BACKLOG = 1024 };

/* With no descriptor left the listening socket would stay readable for ever: refuse one. */
static void refuse_without_descriptor(struct listener *l)
{
	struct net *n = l->net;
	int fd;

	if (n->spare_fd < 0)
		return;
	close(n->spare_fd);
	fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd >= 0)
		close(fd);
	n->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	counter_inc(&n->count.refused_full);
}

/* The oldest that has been here for long without a message. */
static bool evict(struct net *n)
{
	struct conn *c;

	if (list_empty(&n->fresh))
		return false;
	c = container_of(n->fresh.next, struct conn, fresh);
	if (c->since + n->conf.message_ms > loop_now(n->loop))
		return false;
	counter_inc(&n->count.closed_idle);
	conn_kill(c, -ETIMEDOUT);
	return true;
}

static int admit(struct net *n, const struct addr *from, struct source **ret_source)
{
	int r;

	if (n->count.conns >= n->conf.conns_max && !evict(n)) {
		counter_inc(&n->count.refused_full);
		return -EMFILE;
	}
	r = source_take(n, from, ret_source);
	if (r == -EMFILE)
		counter_inc(&n->count.refused_source);
	return r;
}

static void take(struct listener *l, int fd, const struct addr *from)
{
	struct net *n = l->net;
	struct sip_flow f = {.transport = l->transport, .listener = l->index, .remote = *from};
	struct source *source;
	struct conn *c;

	if (admit(n, from, &source) < 0) {
		close(fd);
		return;
	}
	c = conn_new(n, fd, &f);
	if (!c) {
		source_give(n, source);
		close(fd);
		return;
	}
	c->source = source;
	counter_inc(&n->count.accepted);
	list_append(&n->fresh, &c->fresh);
	if (l->transport == SIP_TRANSPORT_TLS)
		conn_tls_start(c, l->require_peer);
	else
		conn_is_open(c);
}

/* False: nothing more to accept now. */
static bool accept_one(struct listener *l)
{
	struct addr from = {0};
	socklen_t len = sizeof(from);
	int fd = accept4(l->fd, &from.sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd >= 0) {
		take(l, fd, &from);
		return true;
	}
	if (errno == EMFILE || errno == ENFILE) {
		refuse_without_descriptor(l);
		return false;
	}
	/* Others are of the connection that was to be accepted: on to the next. */
	return errno != EAGAIN && errno != ENOBUFS && errno != ENOMEM;
}

void stream_pass_over(struct listener *l)
{
	const struct linger none = {.l_onoff = 1};
	int fd;

	for (int i = 0; i < BACKLOG && (fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC)) >= 0;
	     i++) {
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
		close(fd);
	}
}

static void on_acceptable(evutil_socket_t fd, short what, void *arg)
{
	const struct listener *l = arg;

	(void)fd;
	(void)what;
	loop_now(l->net->loop); /* what has waited may not be wanted any more */
	for (int i = 0; i < ACCEPTS_A_ROUND; i++)
		if (!accept_one(arg))
			return;
}

static int set_options(int fd, int family)
{
	int on = 1;

	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) < 0)
		return -errno;
	if (family == AF_INET6 &&
	    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0)
		return -errno;
	return 0;
}

int stream_socket(const struct listener *l)
{
	int family = l->addr.sa.sa_family, r;
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	r = set_options(fd, family);
	if (r == 0 && bind(fd, &l->addr.sa, addr_len(&l->addr)) < 0)
		r = -errno;
	if (r < 0)
		close(fd);
	return r < 0 ? r : fd;
}

int stream_listen(struct listener *l)
{
	socklen_t len = sizeof(l->addr);
	int fd = stream_socket(l);

	if (fd < 0)
		return fd;
	if (listen(fd, BACKLOG) < 0 || getsockname(fd, &l->addr.sa, &len) < 0) {
		int r = -errno;
		close(fd);
		return r;
	}
	l->fd = fd;
	event_assign(&l->ev, l->net->base, fd, EV_READ | EV_PERSIST, on_acceptable, l);
	return event_add(&l->ev, NULL) < 0 ? -ENOMEM : 0;
}

/* Who is in the queue already has connected: it is taken, not reset. */
void stream_stop_listening(struct listener *l)
{
	if (l->fd < 0)
		return;
	on_acceptable(l->fd, EV_READ, l);
	event_del(&l->ev);
	close(l->fd);
	l->fd = -1;
}
