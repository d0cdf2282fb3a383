/*
 * A command that runs, and one that answers later: its reply belongs to it alone until it is
 * done, whoever else has gone by then: the client, or the admin itself.
 */
#include "common/admin/admin_priv.h"

#include <pthread.h>
#include <stdlib.h>

enum { UNDER_WAY_MAX = 64 };

/* Where those that are done come in: it outlives the admin by the commands under way. */
struct admin_gate {
	pthread_mutex_t lock;
	unsigned refs;
	struct loop *loop; /* NULL: the admin is gone */
};

struct admin_gate *admin_gate_new(struct loop *l)
{
	struct admin_gate *g = calloc(1, sizeof(*g));

	if (!g)
		return NULL;
	pthread_mutex_init(&g->lock, NULL);
	g->refs = 1;
	g->loop = l;
	return g;
}

static void gate_unref(struct admin_gate *g)
{
	pthread_mutex_lock(&g->lock);
	unsigned left = --g->refs;
	pthread_mutex_unlock(&g->lock);
	if (left > 0)
		return;
	pthread_mutex_destroy(&g->lock);
	free(g);
}

static void later_free(struct admin_later *l)
{
	admin_reply_done(&l->reply);
	gate_unref(l->gate);
	free(l);
}

/* Whoever waits is told; nobody is from now on. */
static void tell(struct admin_later *l)
{
	void (*answer)(struct admin_later * l) = l->answer;

	l->answer = NULL;
	if (answer)
		answer(l);
}

/* It is the admin's no more. */
static void leave(struct admin_later *l)
{
	tell(l);
	list_remove(&l->link);
	l->admin->nlater--;
	l->admin = NULL;
}

static bool is_done(struct admin_later *l)
{
	pthread_mutex_lock(&l->gate->lock);
	bool done = l->done;
	pthread_mutex_unlock(&l->gate->lock);
	return done;
}

static void on_done(struct loop_work *w)
{
	struct admin_later *l = container_of(w, struct admin_later, work);

	if (l->admin)
		leave(l);
	later_free(l);
}

struct admin_later *admin_later_new(struct admin *a)
{
	struct admin_later *l = a->nlater < UNDER_WAY_MAX ? calloc(1, sizeof(*l)) : NULL;

	if (!l)
		return NULL;
	l->admin = a;
	l->work.run = on_done;
	l->gate = a->gate;
	pthread_mutex_lock(&l->gate->lock);
	l->gate->refs++;
	pthread_mutex_unlock(&l->gate->lock);
	list_append(&a->later, &l->link);
	a->nlater++;
	return l;
}

void admin_later_run(struct admin_later *l, const struct admin_command *c, void *arg, int argc,
		     char **argv, struct span input)
{
	int status = c->run(arg, argc, argv, input, &l->reply);

	if (!l->late) {
		l->status = status;
		on_done(&l->work);
	} else if (l->ending && l->admin->ending && !is_done(l)) {
		l->ending(l->ending_arg, false);
	}
}

struct admin_later *admin_later(struct admin_reply *r, void (*ending)(void *arg, bool now),
				void *arg)
{
	struct admin_later *l = container_of(r, struct admin_later, reply);

	l->late = true;
	l->ending = ending;
	l->ending_arg = arg;
	return l;
}

struct loop *admin_later_loop(const struct admin_later *l)
{
	return l->admin->loop;
}

void admin_later_done(struct admin_later *l, int status)
{
	struct admin_gate *g = l->gate;

	pthread_mutex_lock(&g->lock);
	struct loop *loop = g->loop;
	l->status = status;
	l->done = true;
	if (loop)
		loop_post(loop, &l->work);
	pthread_mutex_unlock(&g->lock);
	if (!loop)
		later_free(l);
}

void admin_drain(struct admin *a)
{
	a->ending = true;
	list_for_each_safe (it, &a->later) {
		struct admin_later *l = container_of(it, struct admin_later, link);
		if (l->ending && !is_done(l))
			l->ending(l->ending_arg, false);
	}
}

bool admin_busy(const struct admin *a)
{
	list_for_each (it, &a->later)
		if (container_of(it, struct admin_later, link)->ending)
			return true;
	return false;
}

void admin_later_stop(struct admin *a)
{
	if (!a->gate)
		return;
	list_for_each_safe (it, &a->later) {
		struct admin_later *l = container_of(it, struct admin_later, link);
		if (l->ending && !is_done(l))
			l->ending(l->ending_arg, true);
		l->left = !is_done(l);
		leave(l);
	}
	pthread_mutex_lock(&a->gate->lock);
	a->gate->loop = NULL;
	pthread_mutex_unlock(&a->gate->lock);
	gate_unref(a->gate);
}
