/*
 * common/bus/bus.h over the simulated network: one connection between two nodes, opened by who
 * is told to dial, again and again while it is down.  The first message each way says who one
 * is; keys are names that fit together.  A connection that carries nothing for dead_ms, because
 * of a cut, a machine that is gone or a process that is stopped, is down at both ends.
 */
#include "common/bus/bus.h"

#include "proto/cluster.pb-c.h"
#include "tests/sim/rim.h"
#include "tests/sim/stream.h"
#include "tests/sim/trace.h"

#include <errno.h>
#include <stdlib.h>

enum { AGAIN_MS = 100, CONNECT_MS = 1000, HEARTBEAT_MS = 250, DEAD_MS = 750 };

/* What goes over a connection first. */
struct hello {
	unsigned node;
	char key[BUS_KEY_CHARS + 1];
	char domain[64];
};

struct link {
	struct bus *bus;
	unsigned node; /* the far end, once it is known */
	struct stream_end *end;
	bool dialed, known, up;
	usec silent_since;   /* 0: something comes through */
	usec compared_at[2]; /* when digests, and answers to them, left last: for the ladder */
	struct event again, watch;
	struct list list; /* of its bus */
};

struct bus {
	struct node_part part;
	struct loop *loop;
	struct bus_conf c;
	struct bus_ops ops;
	struct bus_counters count;
	struct stream_listener listener;
	struct list links;
	struct link *to[BUS_NODES_MAX]; /* that are up */
	struct hello hello;
};

/* ---- what happens, in the loop's thread ---- */

enum happening { HAPPENS_UP, HAPPENS_DOWN, HAPPENS_MESSAGE };

struct late {
	struct loop_in in;
	struct bus *bus;
	enum happening what;
	unsigned node;
	size_t n;
	char bytes[];
};

static void happen(struct bus *b, enum happening what, unsigned node, struct span bytes)
{
	if (what == HAPPENS_MESSAGE) {
		b->count.received++;
		b->count.received_bytes += bytes.n;
		b->ops.message(b->ops.arg, node, bytes);
		return;
	}
	b->count.broken += what == HAPPENS_DOWN;
	b->ops.connected(b->ops.arg, node, what == HAPPENS_UP);
}

static void run_late(struct loop_in *in)
{
	struct late *d = container_of(in, struct late, in);
	happen(d->bus, d->what, d->node, span_of(d->bytes, d->n));
	free(d);
}

static void drop_late(struct loop_in *in)
{
	free(container_of(in, struct late, in));
}

static void input(struct bus *b, enum happening what, unsigned node, struct span bytes)
{
	if (loop_enter(b->loop)) {
		happen(b, what, node, bytes);
		loop_leave(b->loop);
		return;
	}
	struct late *d = sim_alloc(sizeof(*d) + bytes.n);
	*d = (struct late){.in = {.run = run_late, .drop = drop_late},
			   .bus = b,
			   .what = what,
			   .node = node,
			   .n = bytes.n};
	if (bytes.n)
		memcpy(d->bytes, bytes.p, bytes.n);
	loop_defer(b->loop, &d->in);
}

/* ---- connections ---- */

static void is_down(struct link *l)
{
	struct bus *b = l->bus;
	bool was_up = l->up;
	unsigned node = l->node;
	event_stop(&l->watch);
	l->end = NULL;
	l->up = l->known = false;
	l->silent_since = 0;
	if (was_up)
		b->to[node] = NULL;
	if (l->dialed) {
		event_after(&l->again, USEC_MS(AGAIN_MS) + rng_below(hosts_rng(), 20000));
	} else {
		list_remove(&l->list);
		free(l);
	}
	if (was_up)
		input(b, HAPPENS_DOWN, node, SPAN(""));
}

static void close_link(struct link *l)
{
	stream_close(l->end);
	is_down(l);
}

static void say_hello(struct link *l)
{
	stream_write(l->end, span_of((const char *)&l->bus->hello, sizeof(l->bus->hello)));
}

static bool fits(const struct bus *b, const struct link *l, const struct hello *h)
{
	return h->node < b->c.n && (!l->dialed || h->node == l->node) &&
	       strcmp(b->c.node[h->node].key, h->key) == 0 &&
	       strcmp(b->hello.domain, h->domain) == 0;
}

static void on_hello(struct link *l, struct span bytes)
{
	struct bus *b = l->bus;
	struct hello h;
	if (bytes.n != sizeof(h) || (memcpy(&h, bytes.p, sizeof(h)), !fits(b, l, &h))) {
		b->count.refused++;
		close_link(l);
		return;
	}
	l->known = l->up = true;
	l->node = h.node;
	if (b->to[h.node])
		close_link(b->to[h.node]); /* replaced */
	b->to[h.node] = l;
	if (!l->dialed)
		say_hello(l);
	input(b, HAPPENS_UP, h.node, SPAN(""));
}

static void on_opened(void *arg)
{
	struct link *l = arg;
	event_stop(&l->again);
	event_after(&l->watch, USEC_MS(l->bus->c.heartbeat_ms));
	say_hello(l);
}

static void on_message(void *arg, struct span bytes)
{
	struct link *l = arg;
	if (l->known)
		input(l->bus, HAPPENS_MESSAGE, l->node, bytes);
	else
		on_hello(l, bytes);
}

static void on_closed(void *arg, int error)
{
	(void)error;
	is_down(arg);
}

static const struct stream_ops link_ops = {on_opened, on_message, on_closed};

/* ZeroMQ's thread answers heartbeats; it is stopped with its process. */
static bool answers(const struct link *l)
{
	const struct node *far = node_on(stream_peer(l->end));
	return stream_reaches(l->end) && far && !far->paused;
}

static void on_watch(struct event *e)
{
	struct link *l = container_of(e, struct link, watch);
	struct bus *b = l->bus;
	event_after(e, USEC_MS(b->c.heartbeat_ms));
	if (loop_node(b->loop)->paused)
		return;
	if (answers(l))
		l->silent_since = 0;
	else if (!l->silent_since)
		l->silent_since = sim_now();
	else if (sim_now() >= l->silent_since + USEC_MS(b->c.dead_ms))
		close_link(l);
}

static void dial(struct link *l)
{
	struct bus *b = l->bus;
	struct addr local = b->c.node[b->c.self].addr;
	addr_set_port(&local, 0);
	l->end = stream_open(loop_node(b->loop)->host, &local, &b->c.node[l->node].addr,
			     &link_ops, l);
	stream_set_quiet(l->end);
	event_after(&l->again, USEC_MS(CONNECT_MS));
}

/* A process that is stopped opens nothing, and whoever opens something to it has given up by
 * the time it goes on: they find each other by the next attempt. */
static bool one_is_stopped(const struct link *l)
{
	struct host *at = host_at(&l->bus->c.node[l->node].addr);
	const struct node *far = at ? node_on(at) : NULL;
	return loop_node(l->bus->loop)->paused || (far && far->paused);
}

static void on_again(struct event *e)
{
	struct link *l = container_of(e, struct link, again);
	if (one_is_stopped(l)) {
		event_after(e, USEC_MS(AGAIN_MS));
		return;
	}
	if (l->end)
		stream_close(l->end);
	dial(l);
}

static struct link *link_new(struct bus *b, bool dialed)
{
	struct link *l = sim_alloc(sizeof(*l));
	l->bus = b;
	l->dialed = dialed;
	event_init(&l->again, on_again);
	event_init(&l->watch, on_watch);
	list_append(&b->links, &l->list);
	return l;
}

static void on_accept(struct stream_listener *at, struct stream_end *e, const struct addr *from)
{
	struct link *l = link_new(container_of(at, struct bus, listener), false);
	(void)from;
	l->end = e;
	stream_set_quiet(e);
	stream_accept(e, &link_ops, l);
	event_after(&l->watch, USEC_MS(l->bus->c.heartbeat_ms));
}

/* ---- the bus ---- */

static void kill_all(struct node_part *p, bool silent)
{
	struct bus *b = container_of(p, struct bus, part);
	stream_listen_end(&b->listener);
	list_for_each_safe (it, &b->links) {
		struct link *l = container_of(it, struct link, list);
		event_stop(&l->again);
		event_stop(&l->watch);
		if (l->end && silent)
			stream_drop(l->end);
		else if (l->end)
			stream_close(l->end);
		list_remove(it);
		free(l);
	}
	memset(b->to, 0, sizeof(b->to));
}

struct bus *bus_new(struct loop *l, const struct bus_conf *c, const struct bus_ops *ops,
		    char *ret_error)
{
	struct bus *b = sim_alloc(sizeof(*b));
	(void)ret_error;
	b->loop = l;
	b->c = *c;
	b->ops = *ops;
	b->c.heartbeat_ms = c->heartbeat_ms ? c->heartbeat_ms : HEARTBEAT_MS;
	b->c.dead_ms = c->dead_ms ? c->dead_ms : DEAD_MS;
	b->hello.node = c->self;
	bus_public_key(c->secret_key, b->hello.key);
	snprintf(b->hello.domain, sizeof(b->hello.domain), "%s", c->domain);
	list_init(&b->links);
	b->listener.accept = on_accept;
	stream_listen(&b->listener, loop_node(l)->host, &c->node[c->self].addr);
	for (unsigned i = 0; i < c->n; i++)
		if (i != c->self && c->node[i].dial) {
			struct link *to = link_new(b, true);
			to->node = i;
			event_after(&to->again, rng_below(hosts_rng(), 5000));
		}
	b->part.kill = kill_all;
	node_add_part(&b->part);
	return b;
}

struct bus *bus_free(struct bus *b)
{
	if (!b)
		return NULL;
	kill_all(&b->part, false);
	list_remove(&b->part.link);
	free(b);
	return NULL;
}

/* The cluster's clockwork is in the ladder, and a boundary, where it is asked for. */
static void clockwork(const Eaves__Envelope *e, char *what, size_t room)
{
	switch (e->body_case) {
	case EAVES__ENVELOPE__BODY_HELLO:
		snprintf(what, room, "hello");
		break;
	case EAVES__ENVELOPE__BODY_HEARTBEAT:
		snprintf(what, room, "heartbeat");
		break;
	case EAVES__ENVELOPE__BODY_DIGESTS:
		snprintf(what, room, "digests of %u", e->digests->group);
		break;
	case EAVES__ENVELOPE__BODY_DIFFERENCES:
		snprintf(what, room, "differences in %u", e->differences->group);
		break;
	case EAVES__ENVELOPE__BODY_ASK:
		snprintf(what, room, "ask for %u", e->ask->part);
		break;
	default:
		break;
	}
}

/* Records and what else somebody waits for. */
static void payload(const Eaves__Envelope *e, char *what, size_t room)
{
	switch (e->body_case) {
	case EAVES__ENVELOPE__BODY_BATCH:
		snprintf(what, room, "%u records", e->batch->count);
		break;
	case EAVES__ENVELOPE__BODY_ROWS:
		snprintf(what, room, "%u rows", e->rows->count);
		break;
	case EAVES__ENVELOPE__BODY_NOTICE:
		snprintf(what, room, "notice %u", e->notice->kind);
		break;
	case EAVES__ENVELOPE__BODY_ADMIN_CALL:
		snprintf(what, room, "call");
		break;
	case EAVES__ENVELOPE__BODY_ADMIN_REPLY:
		snprintf(what, room, "reply, %zu bytes", e->admin_reply->data.len);
		break;
	case EAVES__ENVELOPE__BODY__NOT_SET:
		snprintf(what, room, "ack");
		break;
	default:
		break;
	}
}

/* One of a whole table's digests, or of the answers to them, but the first. */
static bool is_more(struct link *l, unsigned kind)
{
	usec *at = &l->compared_at[kind == EAVES__ENVELOPE__BODY_DIFFERENCES];
	if (kind != EAVES__ENVELOPE__BODY_DIGESTS && kind != EAVES__ENVELOPE__BODY_DIFFERENCES)
		return false;
	bool more = *at && sim_now() < *at + USEC_MS(1);
	*at = sim_now();
	return more;
}

static void note(struct link *l, struct span bytes)
{
	struct host *from = loop_node(l->bus->loop)->host;
	char what[32] = "";
	if (!trace_is_counting())
		return;
	Eaves__Envelope *e = eaves__envelope__unpack(NULL, bytes.n, (const uint8_t *)bytes.p);
	if (!e)
		return;
	payload(e, what, sizeof(what));
	if (trace_is_all_bus())
		clockwork(e, what, sizeof(what));
	if (what[0])
		trace_bus(from, stream_peer(l->end), what, is_more(l, e->body_case));
	eaves__envelope__free_unpacked(e, NULL);
}

int bus_send(struct bus *b, unsigned node, struct span bytes)
{
	if (bytes.n > BUS_MESSAGE_MAX_BYTES)
		return -EMSGSIZE;
	if (node >= b->c.n || !b->to[node])
		return -EHOSTUNREACH;
	b->count.sent++;
	b->count.sent_bytes += bytes.n;
	if (node_is_mute())
		return 0;
	stream_write(b->to[node]->end, bytes);
	note(b->to[node], bytes);
	return 0;
}

const struct bus_counters *bus_counters(const struct bus *b)
{
	return &b->count;
}

/* ---- keys: of a pair the two differ in their first letter ---- */

int bus_keypair(char ret_public[BUS_KEY_CHARS + 1], char ret_secret[BUS_KEY_CHARS + 1])
{
	for (int i = 1; i < BUS_KEY_CHARS; i++)
		ret_secret[i] = (char)('a' + rng_below(hosts_rng(), 26));
	ret_secret[0] = 'S';
	ret_secret[BUS_KEY_CHARS] = 0;
	return bus_public_key(ret_secret, ret_public);
}

int bus_public_key(const char *secret, char ret_public[BUS_KEY_CHARS + 1])
{
	if (strlen(secret) != BUS_KEY_CHARS || secret[0] != 'S')
		return -EINVAL;
	memcpy(ret_public, secret, BUS_KEY_CHARS + 1);
	ret_public[0] = 'P';
	return 0;
}
