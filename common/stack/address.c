/*
 * The service address of a pair moves: with it go the connections of phones, silently, and
 * neither end has heard of it.
 */
#include "common/stack/stack_priv.h"

#include <stdlib.h>

struct moved {
	struct loop_work work;
	struct stack *s;
	unsigned listener;
	struct addr peer;
};

static void run_abandon(struct loop_work *w)
{
	struct moved *m = container_of(w, struct moved, work);
	net_abandon(m->s->net, m->listener);
	stack_trying_abandon(m->s, m->listener);
	free(m);
}

static bool went_by(void *arg, struct sip_flow *to)
{
	const struct moved *m = arg;
	return !to->node && to->conn && to->listener == m->listener;
}

/* What is for that phone waits here until it is back, by whichever member. */
static bool is_to_wait(void *arg, struct sip_flow *to)
{
	const struct moved *m = arg;
	if (!went_by(arg, to))
		return false;
	to->node = (uint16_t)(m->s->group->conf.self + 1);
	to->leg = to->transport;
	return true;
}

/* What has left by its connections since the address went, which nobody had seen yet, has
 * reached nobody.  Where we have hung up ourselves the other member goes on with all calls. */
static void run_again(struct loop_work *w)
{
	struct moved *m = container_of(w, struct moved, work);
	struct stack *s = m->s;
	msec now = loop_now(s->loop);
	if (s->links && !s->hung_up) {
		txn_send_again(s->txns, is_to_wait, m, now);
		txn_answer_again(s->txns, went_by, m, now);
	}
	free(m);
}

/* The address is not here yet, or never will be: who waits for the peer has it tried again. */
static void run_knock(struct loop_work *w)
{
	struct moved *m = container_of(w, struct moved, work);
	net_knock(m->s->net, m->listener, &m->peer);
	atomic_fetch_sub(&m->s->knocks_waiting, 1);
	free(m);
}

/* False: there is no memory. */
static bool post(struct stack *s, unsigned listener, const struct addr *peer,
		 void (*run)(struct loop_work *w))
{
	struct moved *m = malloc(sizeof(*m));
	if (!m)
		return false;
	*m = (struct moved){.work.run = run, .s = s, .listener = listener};
	if (peer)
		m->peer = *peer;
	loop_post(s->loop, &m->work);
	return true;
}

void stack_group_abandon(struct stack_group *g, unsigned listener)
{
	for (unsigned i = 0; i < g->n; i++)
		post(g->worker[i], listener, NULL, run_abandon);
	/* When no worker has them any more: one sends for another. */
	for (unsigned i = 0; i < g->n; i++)
		post(g->worker[i], listener, NULL, run_again);
}

void stack_group_knock(struct stack_group *g, const struct sip_flow *f)
{
	struct stack *s = g->worker[f->worker % g->n];
	if (atomic_fetch_add(&s->knocks_waiting, 1) < g->conf.handover_max &&
	    post(s, f->listener, &f->remote, run_knock))
		return;
	atomic_fetch_sub(&s->knocks_waiting, 1);
	__atomic_fetch_add(&s->counters.handover_knock_full, 1, __ATOMIC_RELAXED);
}
