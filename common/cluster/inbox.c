/*
 * The way into the loop's thread from any other: a stack of items without a lock, one piece of
 * work for the loop however many there are.  The gate is what the loop and a store below may
 * still hold when the cluster has gone.
 */
#include "common/cluster/cluster_priv.h"

#include <errno.h>
#include <stdlib.h>

static void run_work(struct loop_work *w)
{
	static void (*const run[WORKS])(struct cluster * c) = {
		[WORK_INBOX] = cluster_inbox,
		[WORK_FLUSH] = send_due,
		[WORK_STEP] = compare_step,
		[WORK_SPEAK] = live_speak_all,
	};
	struct gate_work *g = container_of(w, struct gate_work, work);
	struct gate *gate = g->gate;
	unsigned which = (unsigned)(g - gate->work);

	atomic_store(&g->posted, false);
	if (gate->c)
		run[which](gate->c);
	gate_unref(gate);
}

struct gate *gate_new(struct cluster *c)
{
	struct gate *g = calloc(1, sizeof(*g));

	if (!g)
		return NULL;
	atomic_init(&g->refs, 1);
	pthread_mutex_init(&g->lock, NULL);
	g->c = c;
	for (unsigned i = 0; i < WORKS; i++) {
		g->work[i].gate = g;
		g->work[i].work.run = run_work;
	}
	return g;
}

void gate_ref(struct gate *g)
{
	atomic_fetch_add_explicit(&g->refs, 1, memory_order_relaxed);
}

void gate_unref(struct gate *g)
{
	if (atomic_fetch_sub(&g->refs, 1) != 1)
		return;
	pthread_mutex_destroy(&g->lock);
	free(g);
}

void gate_post(struct cluster *c, unsigned work)
{
	struct gate_work *w = &c->gate->work[work];

	if (atomic_exchange(&w->posted, true))
		return;
	gate_ref(c->gate);
	loop_post(c->loop, &w->work);
}

void gate_answer(struct gate *g, struct item *it)
{
	pthread_mutex_lock(&g->lock);
	if (g->c)
		cluster_hand(g->c, it);
	else
		it->run(NULL, it);
	pthread_mutex_unlock(&g->lock);
	gate_unref(g);
}

void cluster_hand(struct cluster *c, struct item *it)
{
	struct item *old = atomic_load_explicit(&c->inbox, memory_order_relaxed);

	do
		it->next = old;
	while (!atomic_compare_exchange_weak(&c->inbox, &old, it));
	gate_post(c, WORK_INBOX);
}

void cluster_inbox(struct cluster *c)
{
	struct item *it = atomic_exchange(&c->inbox, NULL), *first = NULL, *next;

	for (; it; it = next) { /* the order of their coming */
		next = it->next;
		it->next = first;
		first = it;
	}
	for (it = first; it; it = next) {
		next = it->next;
		it->run(c, it);
	}
}

int cluster_reserve(struct cluster *c, size_t n)
{
	if (c->ending)
		return -ENOSPC;
	if (atomic_fetch_add(&c->inbox_bytes, n) + n <= c->conf.queue_bytes)
		return 0;
	atomic_fetch_sub(&c->inbox_bytes, n);
	__atomic_fetch_add(&c->counters.queue_full, 1, __ATOMIC_RELAXED);
	return -ENOSPC;
}

void cluster_unreserve(struct cluster *c, size_t n)
{
	atomic_fetch_sub(&c->inbox_bytes, n);
}
