/*
 * The nodes that we dial: one DEALER a connection.  ZeroMQ itself gives up for good after some
 * failures (a key that the other side does not know yet) and says of none whether it tries
 * again: so it is told not to, and every attempt has a socket of its own, which closes with its
 * connection.  No message of one connection is ever met in the next.
 */
#include "common/bus/bus_priv.h"

#include <errno.h>

enum { WAIT_MIN_MS = 50, WAIT_MAX_MS = 500, NEVER_MS = 24 * 3600 * 1000 };

static struct node *node_of(struct dial *d)
{
	return container_of(d, struct node, out);
}

static void set_state(struct dial *d, enum dial_state state)
{
	struct node *n = node_of(d);
	struct wheel *w = loop_wheel(n->bus->loop);
	msec now = loop_now(n->bus->loop);

	d->state = state;
	switch (state) {
	case DIAL_CLOSED:
		wheel_arm(w, &d->timer, now + d->wait_ms);
		d->wait_ms = d->wait_ms * 2 < WAIT_MAX_MS ? d->wait_ms * 2 : WAIT_MAX_MS;
		break;
	case DIAL_KNOCKING:
		wheel_arm(w, &d->timer, now + BUS_HANDSHAKE_MS);
		break;
	case DIAL_UP:
		wheel_stop(w, &d->timer);
		d->wait_ms = WAIT_MIN_MS;
		break;
	case DIAL_STATES:
		break;
	}
	bus_set_up(n->bus, n, state == DIAL_UP);
}

static void refused(struct dial *d, const char *why)
{
	struct node *n = node_of(d);
	char text[ADDR_TEXT_MAX];

	addr_text(&n->addr, text);
	d->wait_ms = WAIT_MAX_MS;
	bus_refuse(n->bus, text, why);
}

/* ---- messages ---- */

static void on_hello(struct dial *d, struct span domain)
{
	if (d->state != DIAL_KNOCKING)
		return;
	if (span_eq(domain, span_str(node_of(d)->bus->domain))) {
		set_state(d, DIAL_UP);
		return;
	}
	refused(d, "a node of another domain");
	set_state(d, DIAL_CLOSED);
}

static bool take_messages(struct sock *s, size_t most_bytes)
{
	struct dial *d = container_of(s, struct dial, sock);
	size_t bytes = 0;

	for (unsigned i = 0; i < BUS_TURN && bytes < most_bytes; i++) {
		enum { BODY, DOMAIN, PARTS };
		zmq_msg_t part[PARTS];
		unsigned n = sock_receive(s, part, PARTS);

		if (n == 0)
			return false;
		bytes += zmq_msg_size(&part[BODY]);
		if (n >= PARTS && span_eq(sock_span(&part[BODY]), bus_hello))
			on_hello(d, sock_span(&part[DOMAIN]));
		else if (n == 1 && d->state == DIAL_UP)
			bus_deliver(s->bus, node_of(d), &part[BODY]);
		else
			counter_inc(&s->bus->count.dropped);
		sock_done(part, n < PARTS ? n : PARTS);
	}
	return true;
}

static bool take(struct sock *s)
{
	return take_messages(s, BUS_TURN_BYTES);
}

/* ---- events ---- */

static void on_event(struct monitor *m, unsigned event, int value)
{
	struct dial *d = container_of(m, struct dial, monitor);

	(void)value;
	if (d->state == DIAL_CLOSED)
		return;
	switch (event) {
	case ZMQ_EVENT_HANDSHAKE_SUCCEEDED:
		bus_say_hello(&d->sock); /* lost, when it has broken again: the timer */
		break;
	case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH:
		refused(d, "refuses our key");
		break;
	case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
		refused(d, "does not speak our protocol");
		break;
	case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:
		refused(d, "has hung up: its key is another, perhaps");
		break;
	case ZMQ_EVENT_DISCONNECTED:
		take_messages(&d->sock, SIZE_MAX); /* its last words */
		set_state(d, DIAL_CLOSED);
		break;
	case ZMQ_EVENT_CLOSED: /* nobody there */
		set_state(d, DIAL_CLOSED);
		break;
	}
}

/* ---- life ---- */

static int connect_to(struct dial *d)
{
	struct node *n = node_of(d);
	struct bus *b = n->bus;
	char url[sizeof("tcp://") + ADDR_TEXT_MAX] = "tcp://";
	int r = sock_open(&d->sock, b, ZMQ_DEALER, take);
	void *z = d->sock.zmq;

	if (r < 0)
		return r;
	addr_text(&n->addr, url + strlen(url));
	if (zmq_setsockopt(z, ZMQ_CURVE_SERVERKEY, n->key, BUS_KEY_BYTES) < 0 ||
	    zmq_setsockopt(z, ZMQ_CURVE_PUBLICKEY, b->public_key, BUS_KEY_CHARS + 1) < 0 ||
	    zmq_setsockopt(z, ZMQ_CURVE_SECRETKEY, b->secret_key, BUS_KEY_CHARS + 1) < 0)
		return -errno;
	/* As good as never; with "never" it would throw away what has come and was not read. */
	if ((r = sock_set(&d->sock, ZMQ_RECONNECT_IVL, NEVER_MS)) < 0 ||
	    (r = sock_limits(&d->sock, &n->addr)) < 0 ||
	    (r = monitor_open(&d->monitor, b, z, on_event)) < 0)
		return r;
	return zmq_connect(z, url) == 0 ? 0 : -errno;
}

int dial_open(struct node *n)
{
	int r = connect_to(&n->out);

	if (r < 0)
		dial_close(n, 0);
	set_state(&n->out, r == 0 ? DIAL_KNOCKING : DIAL_CLOSED);
	return r;
}

static void on_timer(struct wheel_timer *t, msec now)
{
	struct node *n = node_of(container_of(t, struct dial, timer));

	(void)now;
	dial_close(n, 0);
	dial_open(n);
}

void dial_init(struct node *n)
{
	n->out.wait_ms = WAIT_MIN_MS;
	wheel_timer_init(&n->out.timer, on_timer);
}

void dial_close(struct node *n, int linger_ms)
{
	struct dial *d = &n->out;

	wheel_stop(loop_wheel(n->bus->loop), &d->timer);
	if (!d->sock.zmq)
		return;
	monitor_close(&d->monitor, d->sock.zmq);
	sock_close(&d->sock, linger_ms);
}
