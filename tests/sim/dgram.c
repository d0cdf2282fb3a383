/*
 * Datagrams: one event for each on its way.
 */
#include "tests/sim/dgram.h"

#include "tests/sim/trace.h"

#include <stdlib.h>

struct dgram {
	struct event ev;
	struct host *src;
	struct addr from, to; /* as seen at the far end */
	struct addr inner;    /* the sender's own */
	size_t n;
	char bytes[];
};

static struct udp_sock *find(const struct host *h, const struct addr *a)
{
	list_for_each (it, &h->udp) {
		struct udp_sock *s = container_of(it, struct udp_sock, link);
		if (addr_equal(&s->local, a))
			return s;
	}
	return NULL;
}

bool udp_taken(const struct host *h, const struct addr *local)
{
	return find(h, local) != NULL;
}

void udp_sock_open(struct udp_sock *s, struct host *h, const struct addr *local)
{
	s->host = h;
	s->local = *local;
	list_append(&h->udp, &s->link);
}

void udp_sock_close(struct udp_sock *s)
{
	list_remove(&s->link);
}

/* Whoever has the address when it comes; *to becomes the address inside. */
static struct host *host_for(const struct addr *from, struct addr *to)
{
	struct host *h = host_at(to);
	return h ? h : nat_in(from, to, to);
}

static void refuse(struct event *e)
{
	struct dgram *d = container_of(e, struct dgram, ev);
	struct udp_sock *s = find(d->src, &d->inner);
	if (s && s->refused && d->src->powered)
		s->refused(s, &d->to);
	free(d);
}

static void arrive(struct event *e)
{
	struct dgram *d = container_of(e, struct dgram, ev);
	struct addr to = d->to;
	struct host *h = host_for(&d->from, &to);
	struct udp_sock *s = h ? find(h, &to) : NULL;
	if (s && path_open(d->src, h)) {
		s->datagram(s, &d->from, span_of(d->bytes, d->n));
	} else if (h && !h->nat && path_open(d->src, h) && path_open(h, d->src)) {
		event_init(&d->ev, refuse);
		event_after(&d->ev, path_delay(h, d->src));
		return;
	}
	free(d);
}

static void launch(struct udp_sock *s, const struct addr *from, const struct addr *to,
		   struct span bytes, usec delay)
{
	struct dgram *d = sim_alloc(sizeof(*d) + bytes.n);
	event_init(&d->ev, arrive);
	d->src = s->host;
	d->from = *from;
	d->to = *to;
	d->inner = s->local;
	d->n = bytes.n;
	memcpy(d->bytes, bytes.p, bytes.n);
	event_after(&d->ev, delay);
}

void udp_sock_send(struct udp_sock *s, const struct addr *to, struct span bytes)
{
	const struct trouble *t = hosts_trouble();
	struct addr from =
		s->host->nat ? nat_out(s->host->nat, s->host, &s->local, to) : s->local;
	struct addr at = *to;
	struct host *h = host_for(&from, &at);
	bool lost = !h || !path_open(s->host, h) || rng_chance(hosts_rng(), t->udp_loss);
	bool twice = !lost && rng_chance(hosts_rng(), t->udp_twice);
	usec delay = h ? path_delay(s->host, h) : 0;
	if (rng_chance(hosts_rng(), t->udp_late))
		delay += rng_below(hosts_rng(), t->late);
	if (!lost)
		launch(s, &from, to, bytes, delay);
	if (twice)
		launch(s, &from, to, bytes, delay + rng_below(hosts_rng(), t->late));
	trace_message(s->host, h, bytes, lost ? TRACE_LOST : twice ? TRACE_TWICE : TRACE_SENT);
}
