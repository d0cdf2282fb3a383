/*
 * The transports of one worker: listeners, the way of a message to its transport, what happens
 * at the end of a round.  RFC 3261 section 18.  Datagrams are in udp.c, connections in
 * stream*.c.
 */
#include "common/net/net.h"

#include "common/net/net_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

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

size_t iov_total(const struct iovec *iov, int niov)
{
	size_t total = 0;

	for (int i = 0; i < niov; i++)
		total += iov[i].iov_len;
	return total;
}

void net_lost(struct net *n, uint64_t id, int error)
{
	if (id == 0)
		return;
	if (n->nlost == LOST_MAX) {
		counter_inc(&n->count.lost_unreported);
		return;
	}
	n->lost[n->nlost++] = (struct lost){id, error};
}

static void tell_lost(struct net *n)
{
	struct lost lost[LOST_MAX];
	unsigned nlost = n->nlost;

	if (nlost == 0)
		return;
	memcpy(lost, n->lost, nlost * sizeof(lost[0])); /* failed() may send, and lose more */
	n->nlost = 0;
	for (unsigned i = 0; i < nlost; i++)
		n->ops.failed(n->ops.arg, lost[i].id, lost[i].error);
}

/* What was told of may be sent again elsewhere: go round until nothing is left, within reason.
 */
static void end_round(void *arg)
{
	enum { TURNS = 64 };
	struct net *n = arg;

	n->handshakes = 0;
	for (int turn = 0; turn < TURNS; turn++) {
		for (unsigned i = 0; i < n->nlisteners; i++)
			if (n->listener[i].tx)
				udp_flush(&n->listener[i]);
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

static int listener_open(struct net *n, unsigned i)
{
	struct listener *l = &n->listener[i];
	const struct net_listener *c = &n->conf.listener[i];

	*l = (struct listener){.net = n,
			       .addr = c->addr,
			       .transport = c->transport,
			       .index = (uint16_t)i,
			       .require_peer = c->tls_require_peer,
			       .fd = -1};
	switch (c->transport) {
	case SIP_TRANSPORT_UDP:
		return udp_open(l);
	case SIP_TRANSPORT_TCP:
		return stream_listen(l);
	case SIP_TRANSPORT_TLS:
		return n->tls ? stream_listen(l) : -EINVAL;
	case SIP_TRANSPORT_NONE:
	case SIP_TRANSPORT_WS:
	case SIP_TRANSPORT_WSS:
		break;
	}
	return -ENOTSUP;
}

/* OpenSSL writes with write(): without this a peer that goes away ends the process. */
static void ignore_sigpipe(void)
{
	struct sigaction old;

	if (sigaction(SIGPIPE, NULL, &old) == 0 && old.sa_handler == SIG_DFL)
		signal(SIGPIPE, SIG_IGN);
}

static size_t longest_message(const struct net *n)
{
	size_t longest = 0;
	for (unsigned i = 0; i < n->conf.nlisteners; i++)
		if (net_message_max(&n->conf, i) > longest)
			longest = net_message_max(&n->conf, i);
	return longest;
}

static int set_up(struct net *n, unsigned *ret_listener)
{
	int r = table_init(n);

	if (r < 0 || (r = udp_init(n)) < 0 || (r = loop_on_round(n->loop, end_round, n)) < 0)
		return r;
	n->scratch_bytes = longest_message(n) + 4096;
	n->scratch = malloc(n->scratch_bytes + SIP_STAMP_ROOM);
	if (!n->scratch)
		return -ENOMEM;
	for (unsigned i = 0; i < n->conf.nlisteners; i++) {
		if (ret_listener)
			*ret_listener = i;
		n->nlisteners = i + 1;
		r = listener_open(n, i);
		if (r < 0)
			return r;
	}
	return 0;
}

struct net *net_new(struct loop *l, uint16_t worker, const struct net_conf *c,
		    const struct net_ops *ops, struct net_tls *tls, unsigned *ret_listener)
{
	struct net *n;
	int r;

	if (c->nlisteners > NET_LISTENERS_MAX || c->limits.datagram_bytes > 65535) {
		errno = EINVAL;
		return NULL;
	}
	n = calloc(1, sizeof(*n));
	if (!n)
		return NULL;
	ignore_sigpipe();
	n->loop = l;
	n->wheel = loop_wheel(l);
	n->base = loop_base(l);
	n->ops = *ops;
	n->conf = *c;
	n->tls = tls;
	n->worker = worker;
	n->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	list_init(&n->all);
	list_init(&n->dirty);
	list_init(&n->dead);
	list_init(&n->fresh);
	r = set_up(n, ret_listener);
	if (r < 0) {
		net_free(n);
		errno = -r;
		return NULL;
	}
	return n;
}

void net_free(struct net *n)
{
	if (!n)
		return;
	loop_off_round(n->loop, end_round, n);
	for (unsigned i = 0; i < n->nlisteners; i++) {
		if (n->listener[i].transport == SIP_TRANSPORT_UDP)
			udp_close(&n->listener[i]);
		else
			stream_stop_listening(&n->listener[i]);
	}
	conns_free_all(n);
	table_done(n);
	udp_done(n);
	while (n->nspare > 0)
		free(n->spare[--n->nspare]);
	if (n->spare_fd >= 0)
		close(n->spare_fd);
	free(n->scratch);
	free(n);
}

int net_listener_taken(const struct net_listener *l)
{
	int on = 1, r = 0, family = l->addr.sa.sa_family;
	bool udp = l->transport == SIP_TRANSPORT_UDP;
	int fd = socket(family, (udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return 0;
	/* For streams: connections that linger are no listener. */
	if (!udp)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (bind(fd, &l->addr.sa, addr_len(&l->addr)) < 0 && errno == EADDRINUSE)
		r = -EADDRINUSE;
	close(fd);
	return r;
}

const struct addr *net_listener_addr(const struct net *n, unsigned i)
{
	return i < n->nlisteners ? &n->listener[i].addr : NULL;
}

const struct net_counters *net_counters(const struct net *n)
{
	return &n->count;
}

void net_stop_listening(struct net *n)
{
	for (unsigned i = 0; i < n->nlisteners; i++)
		if (n->listener[i].transport != SIP_TRANSPORT_UDP)
			stream_stop_listening(&n->listener[i]);
}

void net_hang_up(struct net *n, unsigned stays)
{
	for (unsigned i = 0; i < n->nlisteners; i++)
		if (n->listener[i].transport != SIP_TRANSPORT_UDP && i != stays)
			stream_stop_listening(&n->listener[i]);
	list_for_each_safe (it, &n->all) {
		struct conn *c = container_of(it, struct conn, all);
		if (c->flow.listener == stays)
			continue;
		c->hears = true;
		conn_close(c);
	}
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

static bool is_hung_up(const struct conn *c)
{
	struct pollfd p = {.fd = c->fd, .events = POLLRDHUP};

	return c->state == CONN_OPEN && poll(&p, 1, 0) > 0 &&
	       p.revents & (POLLRDHUP | POLLHUP | POLLERR);
}

void net_pass_over(struct net *n, unsigned listener)
{
	list_for_each_safe (it, &n->all) {
		struct conn *c = container_of(it, struct conn, all);
		if (is_hung_up(c))
			conn_reset(c);
	}
	for (unsigned i = 0; i < n->nlisteners; i++)
		if (n->listener[i].transport == SIP_TRANSPORT_UDP)
			udp_pass_over(&n->listener[i]);
		else if (i == listener)
			stream_pass_over(&n->listener[i]);
	net_abandon(n, listener);
}

static struct conn *conn_of(struct net *n, const struct sip_flow *f)
{
	return f->conn && f->worker == n->worker ? table_find(n, f->conn) : NULL;
}

static int stream_find(struct net *n, const struct sip_flow *f, const char *tls_host,
		       struct conn **ret_conn)
{
	if (f->conn) {
		*ret_conn = conn_of(n, f);
		return *ret_conn ? 0 : -ENOTCONN;
	}
	*ret_conn = table_reuse(n, f, tls_host);
	return *ret_conn ? 0 : conn_open(n, f, tls_host, ret_conn);
}

static int stream_send(struct net *n, const struct sip_flow *f, const struct iovec *iov,
		       int niov, const char *tls_host, uint64_t id)
{
	struct conn *c;
	int r = stream_find(n, f, tls_host, &c);

	return r < 0 ? r : conn_append(c, iov, niov, id);
}

int net_open(struct net *n, const struct sip_flow *f, const char *tls_host)
{
	bool tls = f->transport == SIP_TRANSPORT_TLS;
	struct conn *c;

	if (f->listener >= n->nlisteners || !sip_transport_reliable(f->transport) ||
	    (tls && !n->tls))
		return -ENOTSUP;
	return stream_find(n, f, tls ? tls_host : NULL, &c);
}

bool net_queued(struct net *n, const struct sip_flow *f, const char *tls_host,
		struct net_queue *ret)
{
	const char *host = f->transport == SIP_TRANSPORT_TLS ? tls_host : NULL;
	const struct conn *c = f->conn ? conn_of(n, f) : table_reuse(n, f, host);

	if (c)
		*ret = (struct net_queue){c->flow.conn, c->queued, c->written, c->was_open};
	return c != NULL;
}

int net_send(struct net *n, const struct sip_flow *f, const struct iovec *iov, int niov,
	     const char *tls_host, uint64_t id)
{
	struct listener *l;

	if (f->listener >= n->nlisteners)
		return -ENOTSUP;
	l = &n->listener[f->listener];
	switch (f->transport) {
	case SIP_TRANSPORT_UDP:
		if (l->transport != SIP_TRANSPORT_UDP ||
		    l->addr.sa.sa_family != f->remote.sa.sa_family)
			return -ENOTSUP;
		return udp_send(l, &f->remote, iov, niov, id);
	case SIP_TRANSPORT_TCP:
		return stream_send(n, f, iov, niov, NULL, id);
	case SIP_TRANSPORT_TLS:
		return n->tls ? stream_send(n, f, iov, niov, tls_host, id) : -ENOTSUP;
	case SIP_TRANSPORT_NONE:
	case SIP_TRANSPORT_WS:
	case SIP_TRANSPORT_WSS:
		break;
	}
	return -ENOTSUP;
}

int net_identify(struct net *n, const struct sip_flow *f, const struct net_peer *peer)
{
	struct conn *c = conn_of(n, f);

	if (!c)
		return -ENOTCONN;
	if (!c->peer && !(c->peer = malloc(sizeof(*c->peer))))
		return -ENOMEM;
	*c->peer = *peer;
	return 0;
}

void net_close(struct net *n, const struct sip_flow *f)
{
	struct conn *c = conn_of(n, f);

	if (c)
		conn_close(c);
}
