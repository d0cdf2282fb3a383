/*
 * The life of a bus, and sending.  Connections: listen.c and dial.c.
 */
#include "common/bus/bus_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
	ERROR_BYTES = 256,
	QUEUE_MESSAGES = 10000,
	QUEUE_BYTES = 64 << 20,
	QUEUE_EVENTS = 16384,
	HEARTBEAT_MS = 250,
	DEAD_MS = 750,
	TIME_MAX_MS = 3600 * 1000,
	QUEUE_MESSAGES_MAX = 10 * 1000 * 1000,
};

/* The number is to be raised when nodes of before would not understand what follows. */
const struct span bus_hello = SPAN("eaves bus 1");

/* ---- what listen.c and dial.c tell ---- */

void bus_set_up(struct bus *b, struct node *n, bool up)
{
	if (n->up == up)
		return;
	n->up = up;
	if (!up)
		counter_inc(&b->count.broken);
	b->ops.connected(b->ops.arg, (unsigned)(n - b->node), up);
}

void bus_deliver(struct bus *b, struct node *n, zmq_msg_t *m)
{
	struct span bytes = sock_span(m);

	if (bytes.n > BUS_MESSAGE_MAX_BYTES) {
		counter_inc(&b->count.too_large);
		return;
	}
	counter_inc(&b->count.received);
	counter_add(&b->count.received_bytes, bytes.n);
	loop_served(b->loop, 1);
	b->ops.message(b->ops.arg, (unsigned)(n - b->node), bytes);
}

void bus_refuse(struct bus *b, const char *address, const char *why)
{
	counter_inc(&b->count.refused);
	b->ops.refused(b->ops.arg, address, why);
}

int bus_say_hello(struct sock *s)
{
	struct span domain = span_str(s->bus->domain);
	int events, r;
	size_t n = sizeof(events);

	/* So that it knows of the connection that it has by now. */
	zmq_getsockopt(s->zmq, ZMQ_EVENTS, &events, &n);
	r = sock_send_copy(s, bus_hello.p, bus_hello.n, true);
	if (r == 0)
		r = sock_send_copy(s, domain.p, domain.n, false);
	sock_touch(s);
	return r;
}

/* ---- sending ---- */

/* What waits inside ZeroMQ.  It frees it in a thread of its own. */
struct outgoing {
	_Atomic size_t *queued_bytes;
	_Atomic size_t n; /* atomic: for the order between the threads */
	char bytes[];
};

static void outgoing_free(void *data, void *hint)
{
	struct outgoing *o = hint;
	size_t n = atomic_load_explicit(&o->n, memory_order_acquire);

	(void)data;
	atomic_fetch_sub_explicit(o->queued_bytes, n, memory_order_relaxed);
	free(o);
}

static int outgoing_new(struct node *to, struct span bytes, zmq_msg_t *ret)
{
	struct outgoing *o = malloc(sizeof(*o) + bytes.n);

	if (!o)
		return -ENOMEM;
	o->queued_bytes = &to->queued_bytes;
	if (bytes.n)
		memcpy(o->bytes, bytes.p, bytes.n);
	atomic_fetch_add_explicit(&to->queued_bytes, bytes.n, memory_order_relaxed);
	atomic_store_explicit(&o->n, bytes.n, memory_order_release);
	if (zmq_msg_init_data(ret, o->bytes, bytes.n, outgoing_free, o) == 0)
		return 0;
	outgoing_free(NULL, o);
	return -ENOMEM;
}

static int send_once(struct sock *s, const struct node *to, zmq_msg_t *m)
{
	int r = to->dial ? 0 : sock_send_copy(s, to->route, BUS_ROUTE_BYTES, true);

	if (r < 0)
		return r;
	return zmq_msg_send(m, s->zmq, ZMQ_DONTWAIT) < 0 ? -errno : 0;
}

static int send_to(struct node *to, zmq_msg_t *m)
{
	struct sock *s = to->dial ? &to->out.sock : &to->bus->in.sock;
	int events, r = send_once(s, to, m);
	size_t n = sizeof(events);

	if (r == -EAGAIN) {
		/* There may be room, and this socket has not heard of it yet. */
		zmq_getsockopt(s->zmq, ZMQ_EVENTS, &events, &n);
		r = send_once(s, to, m);
	}
	sock_touch(s);
	return r;
}

int bus_send(struct bus *b, unsigned node, struct span bytes)
{
	struct node *to = node < b->n ? &b->node[node] : NULL;
	zmq_msg_t m;
	int r;

	if (bytes.n > BUS_MESSAGE_MAX_BYTES) {
		counter_inc(&b->count.too_large);
		return -EMSGSIZE;
	}
	if (!to || !to->up)
		return -EHOSTUNREACH;
	r = -EAGAIN;
	if (atomic_load_explicit(&to->queued_bytes, memory_order_relaxed) + bytes.n <=
	    b->queue_bytes) {
		r = outgoing_new(to, bytes, &m);
		if (r < 0)
			return r;
		r = send_to(to, &m);
		if (r < 0)
			zmq_msg_close(&m);
	}
	if (r == -EAGAIN) {
		counter_inc(&b->count.full);
		return -ENOBUFS;
	}
	if (r < 0)
		return -EHOSTUNREACH;
	counter_inc(&b->count.sent);
	counter_add(&b->count.sent_bytes, bytes.n);
	return 0;
}

const struct bus_counters *bus_counters(const struct bus *b)
{
	return &b->count;
}

/* ---- life ---- */

static int error(char *ret, const char *what, const char *which)
{
	snprintf(ret, ERROR_BYTES, "%s%s%s", what, which ? ": " : "", which ? which : "");
	return -EINVAL;
}

static int take_nodes(struct bus *b, const struct bus_conf *c, char *ret_error)
{
	if (c->n > BUS_NODES_MAX || c->self >= c->n)
		return error(ret_error, "too many nodes, or none that is this one", NULL);
	b->self = c->self;
	for (unsigned i = 0; i < c->n; i++) {
		const struct bus_node *from = &c->node[i];
		struct node *n = &b->node[i];

		n->bus = b;
		n->addr = from->addr;
		n->dial = from->dial && i != c->self;
		dial_init(n);
		b->n = i + 1;
		if (bus_key_bytes(from->key, n->key) < 0)
			return error(ret_error, "no public key (40 characters of Z85)",
				     from->name);
		for (unsigned k = 0; k < i; k++)
			if (memcmp(b->node[k].key, n->key, BUS_KEY_BYTES) == 0)
				return error(ret_error, "it has the public key of another node",
					     from->name);
	}
	return 0;
}

static int take_conf(struct bus *b, const struct bus_conf *c, char *ret_error)
{
	b->queue_messages = c->queue_messages ? c->queue_messages : QUEUE_MESSAGES;
	b->queue_bytes = c->queue_bytes ? c->queue_bytes : QUEUE_BYTES;
	b->queue_events = c->queue_events ? c->queue_events : QUEUE_EVENTS;
	b->heartbeat_ms = c->heartbeat_ms ? c->heartbeat_ms : HEARTBEAT_MS;
	b->dead_ms = c->dead_ms ? c->dead_ms : DEAD_MS;
	if (b->queue_messages > QUEUE_MESSAGES_MAX || b->queue_events > QUEUE_MESSAGES_MAX)
		return error(ret_error, "a queue of too many messages", NULL);
	if (b->dead_ms <= b->heartbeat_ms || b->dead_ms > TIME_MAX_MS)
		return error(ret_error, "dead_ms: more than heartbeat_ms, at most an hour",
			     NULL);
	if (!c->domain || !*c->domain || strlen(c->domain) > BUS_DOMAIN_MAX)
		return error(ret_error, "a domain of 1 to 255 bytes is needed", NULL);
	strcpy(b->domain, c->domain);
	if (bus_public_key(c->secret_key, b->public_key) < 0)
		return error(ret_error, "no secret key (40 characters of Z85)", c->key_file);
	memcpy(b->secret_key, c->secret_key, sizeof(b->secret_key));
	if (take_nodes(b, c, ret_error) < 0)
		return -EINVAL;
	if (strcmp(b->public_key, c->node[c->self].key) != 0)
		return error(ret_error,
			     "the list of nodes has another public key for it "
			     "(--show-key prints its own)",
			     c->key_file ? c->key_file : c->node[c->self].name);
	return 0;
}

static int start(struct bus *b, char *ret_error)
{
	char text[ADDR_TEXT_MAX];
	int r;

	if (!zmq_has("curve"))
		return error(ret_error, "ZeroMQ was built without CURVE", NULL);
	b->ctx = zmq_ctx_new();
	if (!b->ctx || sock_round_start(b) < 0 || zap_open(b) < 0)
		return error(ret_error, "out of memory or descriptors", NULL);
	r = listen_open(b);
	if (r < 0) {
		addr_text(&b->node[b->self].addr, text);
		snprintf(ret_error, ERROR_BYTES, "cannot listen on %s: %s", text,
			 zmq_strerror(-r));
		return r;
	}
	for (unsigned i = 0; i < b->n; i++)
		if (b->node[i].dial && dial_open(&b->node[i]) < 0)
			return error(ret_error, "out of memory or descriptors", NULL);
	return 0;
}

int bus_check(const struct bus_conf *c, char *ret_error)
{
	struct bus *b = calloc(1, sizeof(*b));
	int r = b ? take_conf(b, c, ret_error) : error(ret_error, "out of memory", NULL);

	if (b)
		explicit_bzero(b->secret_key, sizeof(b->secret_key));
	free(b);
	return r;
}

struct bus *bus_new(struct loop *l, const struct bus_conf *c, const struct bus_ops *ops,
		    char *ret_error)
{
	struct bus *b = calloc(1, sizeof(*b));

	if (!b) {
		error(ret_error, "out of memory", NULL);
		return NULL;
	}
	b->loop = l;
	b->ops = *ops;
	b->again_fd = -1;
	list_init(&b->touched);
	if (take_conf(b, c, ret_error) < 0 || start(b, ret_error) < 0)
		return bus_free(b);
	return b;
}

/* ZeroMQ's thread, should it wait for the listening socket's monitor to be read (monitor.c): to
 * end that would wait for it.  After this the socket takes no other linger. */
static void let_go(struct bus *b)
{
	if (!b->in.monitor.sock.zmq)
		return;
	sock_set(&b->in.sock, ZMQ_LINGER, BUS_LINGER_MS);
	sock_set(&b->in.monitor.sock, ZMQ_LINGER, 0);
	sock_set(&b->zap, ZMQ_LINGER, 0);
	zmq_ctx_shutdown(b->ctx);
}

struct bus *bus_free(struct bus *b)
{
	if (!b)
		return NULL;
	for (unsigned i = 0; i < b->n; i++)
		dial_close(&b->node[i], BUS_LINGER_MS);
	let_go(b);
	listen_close(b);
	sock_close(&b->zap, 0);
	sock_round_stop(b);
	/* Waits for what lingers. */
	while (b->ctx && zmq_ctx_term(b->ctx) < 0 && zmq_errno() == EINTR)
		;
	explicit_bzero(b->secret_key, sizeof(b->secret_key));
	free(b);
	return NULL;
}
