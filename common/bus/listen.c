/*
 * The nodes that dial us: one ROUTER.  A connection gets a route of ZeroMQ's choosing when it
 * is accepted; it becomes its node's by a hello, the node being known by the key (zap.c).  The
 * newest connection of a node is the one that counts, so that a restarted node is reached at
 * once whatever became of its old connection.
 *
 * The monitor names connections by descriptor, and a message tells the descriptor it came
 * through: that joins the two.  They are two queues: a hello may be read when the end of its
 * connection, or of the descriptor's one before, has not been read yet, or already has been.
 */
#include "common/bus/bus_priv.h"

#include <errno.h>
#include <stdlib.h>

enum { ROUTE, BODY, DOMAIN, PARTS };

/* ---- the table of accepted connections ---- */

static struct accepted *accepted_find(struct listener *in, int fd)
{
	for (unsigned i = 0; i < in->n; i++)
		if (in->accepted[i].fd == fd)
			return &in->accepted[i];
	return NULL;
}

/* The descriptor is another thread's and may be gone, or somebody else's already: who does not
 * come from our port has no address. */
static void accepted_from(struct bus *b, int fd, struct addr *ret)
{
	socklen_t n = sizeof(*ret), own_n = sizeof(*ret);
	struct addr own;

	if (getsockname(fd, &own.sa, &own_n) < 0 || getpeername(fd, &ret->sa, &n) < 0 ||
	    own.sa.sa_family != b->node[b->self].addr.sa.sa_family ||
	    addr_port(&own) != addr_port(&b->node[b->self].addr))
		ret->sa.sa_family = AF_UNSPEC;
}

static void accepted_add(struct bus *b, int fd)
{
	struct listener *in = &b->in;
	struct accepted *a = accepted_find(in, fd);

	if (!a && in->n < BUS_ACCEPTED_MAX)
		a = &in->accepted[in->n++];
	if (!a) {
		in->overflow = true;
		return;
	}
	*a = (struct accepted){.fd = fd, .node = -1};
	accepted_from(b, fd, &a->from);
}

static const char *accepted_text(const struct accepted *a, char text[ADDR_TEXT_MAX])
{
	text[0] = '\0';
	if (a && a->from.sa.sa_family != AF_UNSPEC)
		addr_text(&a->from, text);
	return text;
}

void listen_refuse(struct bus *b, const char *address, const char *why)
{
	struct listener *in = &b->in;
	char text[ADDR_TEXT_MAX];
	struct addr host;
	bool known = addr_parse(&host, span_str(address), 0) == 0;

	for (unsigned i = 0; known && i < in->n; i++) {
		struct accepted *a = &in->accepted[i];

		if (a->node >= 0 || a->told || !addr_host_equal(&a->from, &host))
			continue;
		a->told = true;
		bus_refuse(b, accepted_text(a, text), why);
		return;
	}
	bus_refuse(b, address, why);
}

/* ---- messages ---- */

static int node_of(const struct bus *b, zmq_msg_t *m)
{
	const char *user = zmq_msg_gets(m, "User-Id");
	long i = user && *user ? strtol(user, NULL, 10) : -1;

	return i >= 0 && i < (long)b->n ? (int)i : -1;
}

/* Whose connection it is now is decided when all that came before has been read. */
static void note_hello(struct bus *b, struct node *n, zmq_msg_t *part)
{
	n->greeting.waits = true;
	n->greeting.ours = span_eq(sock_span(&part[DOMAIN]), span_str(b->domain));
	n->greeting.fd = zmq_msg_get(&part[BODY], ZMQ_SRCFD);
	memcpy(n->greeting.route, zmq_msg_data(&part[ROUTE]), BUS_ROUTE_BYTES);
	b->in.greetings = true;
}

/* Two processes have one key, and this is the one that came first.  To the nodes its life is
 * over (docs/bus.md: a boot is never used again), also when the other has gone. */
static void drop(struct bus *b, const struct node *n, zmq_msg_t *part)
{
	const struct accepted *a;
	char text[ADDR_TEXT_MAX];

	counter_inc(&b->count.dropped);
	a = n ? accepted_find(&b->in, zmq_msg_get(&part[BODY], ZMQ_SRCFD)) : NULL;
	if (a && a->told) /* it is there, and has said hello */
		bus_refuse(b, accepted_text(a, text),
			   "another process with its key came later: the one at this address "
			   "is to be started anew");
}

static void on_message(struct bus *b, zmq_msg_t *part, unsigned n)
{
	int i = n >= BODY + 1 ? node_of(b, &part[BODY]) : -1;
	struct node *node = i >= 0 ? &b->node[i] : NULL;
	struct span route = sock_span(&part[ROUTE]);
	bool known = node && route.n == BUS_ROUTE_BYTES;

	if (known && n >= PARTS && span_eq(sock_span(&part[BODY]), bus_hello))
		note_hello(b, node, part);
	else if (known && n == BODY + 1 && node->up &&
		 memcmp(route.p, node->route, BUS_ROUTE_BYTES) == 0)
		bus_deliver(b, node, &part[BODY]);
	else
		drop(b, known && n == BODY + 1 ? node : NULL, part);
}

static bool take_messages(struct bus *b, size_t most_bytes)
{
	size_t bytes = 0;

	for (unsigned i = 0; i < BUS_TURN && bytes < most_bytes; i++) {
		zmq_msg_t part[PARTS];
		unsigned n = sock_receive(&b->in.sock, part, PARTS);

		if (n == 0)
			return false;
		bytes += n > BODY ? zmq_msg_size(&part[BODY]) : 0;
		on_message(b, part, n);
		sock_done(part, n < PARTS ? n : PARTS);
	}
	return true;
}

/* ---- hellos ---- */

static int answer_hello(struct bus *b, const uint8_t *route)
{
	int r = sock_send_copy(&b->in.sock, route, BUS_ROUTE_BYTES, true);

	return r == 0 ? bus_say_hello(&b->in.sock) : r;
}

static void forget_connection(struct listener *in, int node)
{
	for (unsigned i = 0; i < in->n; i++)
		if (in->accepted[i].node == node)
			in->accepted[i].node = -1;
}

static void greet(struct bus *b, int i)
{
	struct node *n = &b->node[i];
	const struct greeting *g = &n->greeting;
	struct accepted *a = accepted_find(&b->in, g->fd);
	char text[ADDR_TEXT_MAX];

	if (!a && !b->in.overflow)
		return; /* it has gone already */
	if (n->up && memcmp(n->route, g->route, BUS_ROUTE_BYTES) == 0)
		return; /* says hello twice */
	if (a)
		a->told = true;
	if (answer_hello(b, g->route) < 0)
		return;
	if (!g->ours) { /* which our answer has told it */
		bus_refuse(b, accepted_text(a, text), "a node of another domain");
		return;
	}
	forget_connection(&b->in, i);
	bus_set_up(b, n, false);
	memcpy(n->route, g->route, BUS_ROUTE_BYTES);
	if (a)
		a->node = i;
	bus_set_up(b, n, true);
}

static void greet_all(struct monitor *m)
{
	struct bus *b = m->sock.bus;

	if (!b->in.greetings)
		return;
	b->in.greetings = false;
	for (unsigned i = 0; i < b->n; i++) {
		if (!b->node[i].greeting.waits)
			continue;
		b->node[i].greeting.waits = false;
		greet(b, (int)i);
	}
}

static bool take(struct sock *s)
{
	struct bus *b = s->bus;
	bool more = take_messages(b, BUS_TURN_BYTES);

	if (!b->in.greetings)
		return more;
	sock_turn(&b->in.monitor.sock); /* who has gone; then greet_all() */
	return true;			/* we have sent */
}

/* ---- events ---- */

static void on_disconnected(struct bus *b, int fd)
{
	struct listener *in = &b->in;
	struct accepted *a = accepted_find(in, fd), gone;
	const char *fault = in->fault;
	char text[ADDR_TEXT_MAX];

	in->fault = NULL;
	if (!a)
		return;
	if (a->node >= 0 && take_messages(b, SIZE_MAX)) /* its last words */
		sock_touch(&in->sock);
	gone = *a;
	*a = in->accepted[--in->n];
	if (gone.node >= 0)
		bus_set_up(b, &b->node[gone.node], false);
	else if (!gone.told)
		bus_refuse(b, accepted_text(&gone, text),
			   fault ? fault : "does not speak our protocol");
}

static void on_event(struct monitor *m, unsigned event, int value)
{
	struct bus *b = m->sock.bus;

	switch (event) {
	case ZMQ_EVENT_ACCEPTED:
		accepted_add(b, value);
		break;
	case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
		b->in.fault = "does not speak our protocol, or not to our key";
		break;
	case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:
		b->in.fault = "has gone, or said nothing, before it had shown its key";
		break;
	case ZMQ_EVENT_DISCONNECTED:
		on_disconnected(b, value);
		break;
	}
}

/* ---- life ---- */

int listen_open(struct bus *b)
{
	struct listener *in = &b->in;
	const struct addr *a = &b->node[b->self].addr;
	char url[sizeof("tcp://") + ADDR_TEXT_MAX] = "tcp://";
	int r = sock_open(&in->sock, b, ZMQ_ROUTER, take);
	void *z = in->sock.zmq;

	if (r < 0)
		return r;
	addr_text(a, url + strlen(url));
	if (zmq_setsockopt(z, ZMQ_CURVE_SECRETKEY, b->secret_key, BUS_KEY_CHARS + 1) < 0 ||
	    zmq_setsockopt(z, ZMQ_ZAP_DOMAIN, b->domain, strlen(b->domain)) < 0)
		return -errno;
	if ((r = sock_set(&in->sock, ZMQ_CURVE_SERVER, 1)) < 0 ||
	    (r = sock_set(&in->sock, ZMQ_ROUTER_MANDATORY, 1)) < 0 ||
	    (r = sock_set(&in->sock, ZMQ_BACKLOG, BUS_ACCEPTED_MAX)) < 0 ||
	    (r = sock_limits(&in->sock, a)) < 0 ||
	    (r = monitor_open(&in->monitor, b, z, on_event)) < 0)
		return r;
	in->monitor.drained = greet_all;
	return zmq_bind(z, url) == 0 ? 0 : -errno;
}

void listen_close(struct bus *b)
{
	if (!b->in.sock.zmq)
		return;
	monitor_close(&b->in.monitor, b->in.sock.zmq);
	sock_close(&b->in.sock, BUS_LINGER_MS);
}
