/*
 * A clock, loops and a network of our own, in place of common/loop and common/base/time: the
 * clock moves by the millisecond; messages take their time, get lost, doubled and overtaken as
 * the test says, all of it from one seed.
 */
#ifndef EAVES_TESTS_CLUSTER_NET_H
#define EAVES_TESTS_CLUSTER_NET_H

#include "tests/unit/unit.h"

#include "common/base/list.h"
#include "common/base/span.h"
#include "common/loop/loop.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { NET_NODES = 8 };

/* Check writes a line to a file for each of its assertions: not where there are thousands. */
#define MUST(condition)                                 \
	do {                                            \
		if (!(condition))                       \
			ck_abort_msg("%s", #condition); \
	} while (0)

struct loop {
	struct wheel wheel;
	struct loop_work *posted;
	bool stalled; /* its thread does nothing */
};

static msec net_now = 1000;
static uint64_t net_wall_ms = 1735787045000ull;
static int64_t net_skew_ms; /* of the node that runs */
static uint64_t net_seed = 1;

msec time_now(void)
{
	return net_now;
}

uint64_t time_wall_ms(void)
{
	return net_wall_ms + (uint64_t)net_skew_ms;
}

static inline uint64_t draw(uint64_t below)
{
	uint64_t z = net_seed += 0x9e3779b97f4a7c15u;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return below ? (z ^ z >> 31) % below : 0;
}

/* ---- loops ---- */

struct loop *loop_new(unsigned moderation_us)
{
	struct loop *l = calloc(1, sizeof(*l));
	(void)moderation_us;
	ck_assert_ptr_nonnull(l);
	wheel_init(&l->wheel, net_now);
	return l;
}

void loop_free(struct loop *l)
{
	free(l);
}

struct wheel *loop_wheel(struct loop *l)
{
	return &l->wheel;
}

msec loop_now(const struct loop *l)
{
	(void)l;
	return net_now;
}

void loop_post(struct loop *l, struct loop_work *w)
{
	w->next = l->posted;
	l->posted = w;
}

/* True: there was something to do. */
static inline bool run_posted(struct loop *l)
{
	struct loop_work *w = l->posted, *first = NULL, *next;

	l->posted = NULL;
	for (; w; w = next) {
		next = w->next;
		w->next = first;
		first = w;
	}
	for (w = first; w; w = next) {
		next = w->next;
		w->run(w);
	}
	return first != NULL;
}

/* ---- the network ---- */

struct net_message {
	struct list link;
	unsigned from, to;
	uint64_t life; /* of the receiver: a message is not for the one after it */
	msec due;
	size_t n;
	char p[];
};

static struct {
	struct list messages;
	unsigned loss_permille, twice_permille;
	msec delay_min_ms, delay_max_ms;
	bool cut[NET_NODES][NET_NODES];
	uint64_t life[NET_NODES];
	uint64_t sent, sent_bytes;
	/* Looks at each message as it is sent; false: it is lost.  May be NULL. */
	bool (*look)(unsigned from, unsigned to, struct span bytes);
} net = {.messages = {&net.messages, &net.messages}, .delay_min_ms = 1, .delay_max_ms = 1};

/* In the order of their coming. */
static inline void net_queue(struct net_message *m)
{
	struct list *at = net.messages.prev;
	while (at != &net.messages && container_of(at, struct net_message, link)->due > m->due)
		at = at->prev;
	list_insert_after(at, &m->link);
}

static inline void net_put(unsigned from, unsigned to, struct span bytes)
{
	struct net_message *m = malloc(sizeof(*m) + bytes.n);
	MUST(m);
	*m = (struct net_message){
		.from = from,
		.to = to,
		.life = net.life[to],
		.due = net_now + net.delay_min_ms +
		       draw(net.delay_max_ms - net.delay_min_ms + 1),
		.n = bytes.n,
	};
	memcpy(m->p, bytes.p, bytes.n);
	net_queue(m);
}

static inline void net_carry(unsigned from, unsigned to, struct span bytes)
{
	net.sent++;
	net.sent_bytes += bytes.n;
	if (net.look && !net.look(from, to, bytes))
		return;
	if (net.cut[from][to] || draw(1000) < net.loss_permille)
		return;
	net_put(from, to, bytes);
	if (draw(1000) < net.twice_permille)
		net_put(from, to, bytes);
}

static inline struct net_message *net_next(void)
{
	if (list_empty(&net.messages))
		return NULL;
	struct net_message *m = container_of(net.messages.next, struct net_message, link);
	if (m->due > net_now)
		return NULL;
	list_remove(&m->link);
	return m;
}

static inline void net_clear(void)
{
	while (!list_empty(&net.messages)) {
		struct list *l = net.messages.next;
		list_remove(l);
		free(container_of(l, struct net_message, link));
	}
	net.loss_permille = net.twice_permille = 0;
	net.delay_min_ms = net.delay_max_ms = 1;
	net.look = NULL;
	memset(net.cut, 0, sizeof(net.cut));
}

#endif
