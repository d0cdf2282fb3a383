/*
 * Connections: two ends, a queue each.  A segment is one message; it leaves when the path is
 * open, else it is tried again as TCP would, for 32 seconds (TCP_USER_TIMEOUT).
 */
#include "tests/sim/stream.h"

#include "tests/sim/trace.h"

#include <errno.h>
#include <stdlib.h>

enum { RTO_MS = 200, RTO_MAX_MS = 6400, UNACKED_S = 32, SYN_MS = 1000, EPHEMERAL = 40000 };

struct stream;
struct segment {
	struct event ev; /* on its way */
	struct segment *next;
	struct stream_end *to;
	uint64_t seq;
	bool fin;
	int error; /* of the last one */
	size_t n;
	char bytes[];
};

struct stream_end {
	struct stream *s;
	struct host *host;
	struct list link;	 /* of the host; of nobody when it is not alive */
	struct addr local, seen; /* seen: by the far end */
	struct addr remote;
	const struct stream_ops *ops;
	void *arg;
	bool alive, up, quiet, shut;
	struct segment *pending;
	uint64_t next_seq, expected;
	usec unacked_since, last_arrival;
	unsigned tries;
	struct event pump, fate;
	int error; /* what fate brings */
};

struct stream {
	struct stream_end end[2]; /* who opened it first */
	struct event hand;
	bool answered; /* hand: the way back */
	unsigned refs;
};

static struct stream_end *other(const struct stream_end *e)
{
	return &e->s->end[e == &e->s->end[0]];
}

static void unref(struct stream *s)
{
	if (--s->refs == 0)
		free(s);
}

/* ---- listeners ---- */

static struct stream_listener *find(const struct host *h, const struct addr *a)
{
	list_for_each (it, &h->listeners) {
		struct stream_listener *l = container_of(it, struct stream_listener, link);
		if (addr_equal(&l->local, a))
			return l;
	}
	return NULL;
}

void stream_listen(struct stream_listener *l, struct host *h, const struct addr *local)
{
	l->host = h;
	l->local = *local;
	list_append(&h->listeners, &l->link);
}

void stream_listen_end(struct stream_listener *l)
{
	list_remove(&l->link);
}

bool stream_taken(const struct host *h, const struct addr *local)
{
	return find(h, local) != NULL;
}

/* ---- ends ---- */

static void set_alive(struct stream_end *e, struct host *h)
{
	e->host = h;
	e->alive = true;
	e->s->refs++;
	list_append(&h->ends, &e->link);
}

static void end_gone(struct stream_end *e)
{
	e->alive = e->up = false;
	list_remove(&e->link);
	event_stop(&e->pump);
	event_stop(&e->fate);
	while (e->pending) {
		struct segment *g = e->pending;
		e->pending = g->next;
		free(g);
	}
	unref(e->s);
}

/* Never at once: nobody is called from within what he called. */
static void doom(struct stream_end *e, int error, usec delay)
{
	if (!e->alive || event_armed(&e->fate))
		return;
	e->error = error;
	event_after(&e->fate, delay);
}

/* After what it has sent. */
static void closes_too(const struct stream_end *e, struct stream_end *to)
{
	usec at = sim_now() + path_delay(e->host, to->host);
	doom(to, 0, (at > e->last_arrival ? at : e->last_arrival + 1) - sim_now());
}

static void on_fate(struct event *ev)
{
	struct stream_end *e = container_of(ev, struct stream_end, fate);
	const struct stream_ops *ops = e->ops;
	void *arg = e->arg;
	int error = e->error;
	if (!e->host->powered)
		return;
	if (other(e)->alive && other(e)->shut)
		closes_too(e, other(e));
	end_gone(e);
	ops->closed(arg, error);
}

struct host *stream_peer(const struct stream_end *e)
{
	return other(e)->host;
}

const struct addr *stream_local(const struct stream_end *e)
{
	return &e->local;
}

void stream_set_quiet(struct stream_end *e)
{
	e->quiet = other(e)->quiet = true;
}

/* The address is still his whose connection it is. */
static bool holds(const struct stream_end *e)
{
	return host_has(e->host, &e->local);
}

static bool both_ways(const struct host *a, const struct host *b)
{
	return path_open(a, b) && path_open(b, a);
}

bool stream_reaches(const struct stream_end *e)
{
	const struct stream_end *o = other(e);
	return e->up && o->alive && holds(e) && holds(o) && both_ways(e->host, o->host);
}

/* ---- segments ---- */

static void queue(struct stream_end *e, struct segment *g)
{
	struct segment **at = &e->pending;
	while (*at && (*at)->seq < g->seq)
		at = &(*at)->next;
	g->next = *at;
	*at = g;
}

static void arrive(struct event *ev)
{
	struct segment *g = container_of(ev, struct segment, ev);
	struct stream_end *to = g->to, *from = other(to);
	struct stream *s = to->s;
	if (!to->alive) {
		if (from->alive && both_ways(to->host, from->host))
			doom(from, -ECONNRESET, path_delay(to->host, from->host));
	} else if (!path_open(from->host, to->host) || !holds(to) || g->seq != to->expected) {
		if (from->alive) { /* TCP does not give up so soon */
			queue(from, g);
			if (!event_armed(&from->pump))
				event_after(&from->pump, USEC_MS(RTO_MS));
			unref(s);
			return;
		}
	} else if (g->fin) {
		doom(to, g->error, 0);
	} else {
		to->expected++;
		to->ops->message(to->arg, span_of(g->bytes, g->n));
	}
	free(g);
	unref(s);
}

static void launch(struct stream_end *e, struct segment *g)
{
	struct stream_end *to = other(e);
	usec at = sim_now() + path_delay(e->host, to->host);
	if (at <= e->last_arrival)
		at = e->last_arrival + 1;
	e->last_arrival = at;
	e->s->refs++;
	g->to = to;
	event_init(&g->ev, arrive);
	event_at(&g->ev, at);
}

static void back_off(struct stream_end *e)
{
	unsigned rto = RTO_MS << (e->tries < 6 ? e->tries : 6);
	if (e->tries++ == 0)
		e->unacked_since = sim_now();
	if (sim_now() >= e->unacked_since + USEC_S(UNACKED_S)) {
		doom(e, -ETIMEDOUT, 0);
		return;
	}
	event_after(&e->pump, USEC_MS(rto < RTO_MAX_MS ? rto : RTO_MAX_MS));
}

/* Whose the far address is now, if it is not the far end's, says that he knows of nothing. */
static bool is_refused(struct stream_end *e)
{
	const struct stream_end *o = other(e);
	const struct host *holder = o->host->nat ? o->host : host_at(&e->remote);
	if (o->alive && holder == o->host)
		return false;
	if (holder && both_ways(e->host, holder))
		doom(e, -ECONNRESET, path_delay(e->host, holder) + path_delay(holder, e->host));
	return true;
}

static void pump(struct stream_end *e)
{
	if (!e->up || event_armed(&e->fate) || event_armed(&e->pump))
		return;
	while (e->pending) {
		struct segment *g = e->pending;
		if (is_refused(e) || !stream_reaches(e) ||
		    rng_chance(hosts_rng(), hosts_trouble()->stream_loss)) {
			if (!event_armed(&e->fate))
				back_off(e);
			return;
		}
		e->tries = 0;
		e->pending = g->next;
		launch(e, g);
	}
}

static void on_pump(struct event *ev)
{
	pump(container_of(ev, struct stream_end, pump));
}

static struct segment *segment(struct stream_end *e, size_t n)
{
	struct segment *g = sim_alloc(sizeof(*g) + n);
	g->seq = e->next_seq++;
	g->n = n;
	return g;
}

void stream_write(struct stream_end *e, struct span bytes)
{
	struct segment *g = segment(e, bytes.n);
	memcpy(g->bytes, bytes.p, bytes.n);
	queue(e, g);
	pump(e);
	if (!e->quiet)
		trace_message(e->host, other(e)->host, bytes,
			      e->pending ? TRACE_LOST : TRACE_SENT);
}

static void send_fin(struct stream_end *e)
{
	struct segment *g = segment(e, 0);
	while (e->pending) { /* the system sends what it has */
		struct segment *next = e->pending->next;
		launch(e, e->pending);
		e->pending = next;
	}
	g->fin = true;
	launch(e, g);
}

void stream_close(struct stream_end *e)
{
	if (!e->shut && stream_reaches(e))
		send_fin(e);
	end_gone(e);
}

void stream_shut(struct stream_end *e)
{
	if (e->shut)
		return;
	e->shut = true;
	if (stream_reaches(e))
		send_fin(e);
	else
		doom(e, -ECONNRESET, 0);
}

void stream_reset(struct stream_end *e)
{
	if (stream_reaches(e)) {
		struct segment *g = segment(e, 0);
		if (e->pending)
			g->seq = e->pending->seq;
		g->fin = true;
		g->error = -ECONNRESET;
		launch(e, g);
	}
	end_gone(e);
}

void stream_drop(struct stream_end *e)
{
	end_gone(e);
}

/* ---- half-open ---- */

void stream_knock(struct host *h, const struct addr *local, const struct addr *peer)
{
	struct addr inner = *peer;
	struct host *at = host_at(peer);
	if (!at)
		at = nat_in(local, peer, &inner);
	if (!at || !both_ways(h, at))
		return;
	list_for_each (it, &at->ends) {
		struct stream_end *e = container_of(it, struct stream_end, link), *o = other(e);
		/* SYN, ACK, reset. */
		if (addr_equal(&e->local, &inner) && addr_equal(&e->remote, local) &&
		    (!o->alive || o->host != h))
			doom(e, -ECONNRESET, 2 * path_delay(h, at) + path_delay(at, h));
	}
}

/* ---- opening ---- */

static void on_hand(struct event *ev);

static void try_open(struct stream_end *e)
{
	struct host *h = host_at(&e->remote);
	if (!h || !both_ways(e->host, h) || !holds(e)) {
		event_after(&e->pump, USEC_MS(SYN_MS) << (e->tries < 5 ? e->tries : 5));
		e->tries++;
		return;
	}
	e->tries = 0;
	e->s->answered = false;
	other(e)->host = h;
	e->s->refs++;
	event_init(&e->s->hand, on_hand);
	event_after(&e->s->hand, path_delay(e->host, h));
}

static void on_try(struct event *ev)
{
	try_open(container_of(ev, struct stream_end, pump));
}

/* The first packet has come to the far end. */
static void knock(struct stream *s)
{
	struct stream_end *a = &s->end[0], *b = &s->end[1];
	struct stream_listener *l = find(b->host, &a->remote);
	if (!b->host->powered || host_at(&a->remote) != b->host)
		event_after(&a->pump, USEC_MS(SYN_MS));
	else if (!l)
		doom(a, -ECONNREFUSED, path_delay(b->host, a->host));
	if (!l || event_armed(&a->pump))
		return;
	b->local = a->remote;
	b->remote = a->seen;
	set_alive(b, b->host);
	b->up = true;
	l->accept(l, b, &b->remote);
	s->answered = true;
	s->refs++;
	event_after(&s->hand, path_delay(b->host, a->host));
}

static void on_hand(struct event *ev)
{
	struct stream *s = container_of(ev, struct stream, hand);
	struct stream_end *a = &s->end[0], *b = &s->end[1];
	if (!s->answered) {
		if (a->alive)
			knock(s);
	} else if (!a->alive) {
		doom(b, -ECONNRESET, path_delay(a->host, b->host));
	} else if (!b->alive) {
		doom(a, -ECONNRESET, 0);
	} else {
		event_init(&a->pump, on_pump);
		a->up = true;
		a->ops->opened(a->arg);
		if (a->alive)
			pump(a);
	}
	unref(s);
}

struct stream_end *stream_open(struct host *h, const struct addr *local, const struct addr *to,
			       const struct stream_ops *ops, void *arg)
{
	static uint16_t next_port;
	struct stream *s = sim_alloc(sizeof(*s));
	struct stream_end *e = &s->end[0];
	e->s = s->end[1].s = s;
	e->local = *local;
	if (!addr_port(local))
		addr_set_port(&e->local, (uint16_t)(EPHEMERAL + next_port++ % 20000));
	e->remote = *to;
	e->seen = h->nat ? nat_out(h->nat, h, &e->local, to) : e->local;
	e->ops = ops;
	e->arg = arg;
	list_init(&s->end[1].link);
	event_init(&e->fate, on_fate);
	event_init(&s->end[1].fate, on_fate);
	event_init(&e->pump, on_try);
	event_init(&s->end[1].pump, on_pump);
	set_alive(e, h);
	try_open(e);
	return e;
}

void stream_accept(struct stream_end *e, const struct stream_ops *ops, void *arg)
{
	e->ops = ops;
	e->arg = arg;
}
