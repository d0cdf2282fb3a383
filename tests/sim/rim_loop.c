/*
 * common/loop/loop.h on virtual time.  A round is: what came in, posted work, timers, hooks,
 * until nothing is left to do.  A loop of one node never runs inside a round of another.
 */
#include "tests/sim/rim.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

enum { HOOKS_MAX = 8, ROUNDS_MAX = 1000, WAKE_US = 5, WAKE_JITTER_US = 30 };

struct hook {
	void (*fn)(void *arg);
	void *arg;
};

struct loop {
	struct event tick; /* the wheel wants to be advanced, or work was posted */
	struct node *node;
	struct arena *arena;
	struct loop_work *posted, **posted_end;
	unsigned nhooks;
	struct hook hook[HOOKS_MAX];
	struct list waiting; /* while paused */
	bool abandoned;
	msec now;
	msec gap_ms; /* 0: nobody asks */
	void (*on_gap)(void *arg, msec gap);
	void *gap_arg;
	struct wheel wheel;
};

static struct loop *running; /* in whose round we are */
static struct arena *outside;

static void on_tick(struct event *e);

struct loop *loop_new(unsigned moderation_us)
{
	struct node *n = node_current();
	struct loop *l = sim_alloc(sizeof(*l));
	(void)moderation_us;
	event_init(&l->tick, on_tick);
	l->node = n;
	l->posted_end = &l->posted;
	list_init(&l->waiting);
	l->now = time_now();
	wheel_init(&l->wheel, l->now);
	n->loop[n->nloops++] = l;
	event_after(&l->tick, 0);
	return l;
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	event_stop(&l->tick);
	free(l);
}

struct node *loop_node(const struct loop *l)
{
	return l->node;
}

void loop_use_arena(struct loop *l, struct arena *a)
{
	l->arena = a;
}

struct event_base *loop_base(struct loop *l)
{
	(void)l;
	return NULL;
}

struct wheel *loop_wheel(struct loop *l)
{
	return &l->wheel;
}

msec loop_now(const struct loop *l)
{
	return running == l ? l->now : time_now();
}

void loop_served(struct loop *l, unsigned n)
{
	(void)l;
	(void)n;
}

int loop_on_round(struct loop *l, void (*fn)(void *arg), void *arg)
{
	if (l->nhooks == HOOKS_MAX)
		return -ENOSPC;
	l->hook[l->nhooks++] = (struct hook){fn, arg};
	return 0;
}

void loop_off_round(struct loop *l, void (*fn)(void *arg), void *arg)
{
	unsigned kept = 0;
	for (unsigned i = 0; i < l->nhooks; i++)
		if (l->hook[i].fn != fn || l->hook[i].arg != arg)
			l->hook[kept++] = l->hook[i];
	l->nhooks = kept;
}

int loop_on_signal(struct loop *l, int sig, void (*fn)(void *arg, int sig), void *arg)
{
	(void)l;
	(void)sig;
	(void)fn;
	(void)arg;
	return 0;
}

/* Another thread wakes us: that takes its moment. */
void loop_post(struct loop *l, struct loop_work *w)
{
	usec at = sim_now() + WAKE_US + rng_below(hosts_rng(), WAKE_JITTER_US);
	w->next = NULL;
	*l->posted_end = w;
	l->posted_end = &w->next;
	if (l != running && !l->abandoned && (!event_armed(&l->tick) || l->tick.at > at))
		event_at(&l->tick, at);
}

static unsigned run_posted(struct loop *l)
{
	unsigned n = 0;
	struct loop_work *w = l->posted, *next;
	l->posted = NULL;
	l->posted_end = &l->posted;
	for (; w; w = next, n++) {
		next = w->next;
		w->run(w);
	}
	return n;
}

static void run_hooks(struct loop *l)
{
	for (unsigned i = l->nhooks; i-- > 0;)
		l->hook[i].fn(l->hook[i].arg);
}

/* A real loop may come up to 8 ms late to what it waits for (loop.h).  Each node does, by as
 * much as no other one, so that what several find out by their clocks they find out in some
 * order. */
static usec lateness(const struct node *n)
{
	return USEC_MS(n->index * 7 % 9);
}

static void arm(struct loop *l)
{
	int64_t wait = wheel_wait(&l->wheel, l->now);
	if (wait < 0) {
		event_stop(&l->tick);
		return;
	}
	usec at = (l->now + (msec)wait - l->node->mono_base_ms) * 1000 + lateness(l->node);
	event_at(&l->tick, at > sim_now() ? at : sim_now() + 1000 - sim_now() % 1000);
}

bool loop_enter(struct loop *l)
{
	if (l->node->paused || l->abandoned)
		return false;
	if (running)
		abort();
	running = l;
	node_set_current(l->node);
	outside = sip_arena();
	sip_values_use_arena(l->arena);
	l->now = time_now();
	return true;
}

void loop_leave(struct loop *l)
{
	struct node *n = l->node;
	for (int i = 0; i < ROUNDS_MAX; i++) {
		run_posted(l);
		wheel_advance(&l->wheel, l->now);
		run_hooks(l);
		if (!l->posted)
			break;
	}
	arm(l);
	running = NULL;
	sip_values_use_arena(outside);
	node_set_current(NULL);
	if (n->mute || n->ended)
		node_kill(n, n->mute && n->mute_silent);
}

static void on_tick(struct event *e)
{
	struct loop *l = container_of(e, struct loop, tick);
	if (loop_enter(l))
		loop_leave(l);
}

void loop_touch(struct loop *l)
{
	if (running == l || l->abandoned)
		return;
	if (running) {
		fprintf(stderr, "sim: %s: another thread's net_send\n", l->node->host->name);
		abort();
	}
	event_after(&l->tick, 0);
}

void loop_defer(struct loop *l, struct loop_in *in)
{
	if (l->abandoned)
		in->drop(in);
	else
		list_append(&l->waiting, &in->link);
}

void loop_wake(struct loop *l)
{
	if (!loop_enter(l))
		return;
	msec gap = (sim_now() - l->node->paused_at) / 1000;
	if (l->gap_ms && gap > l->gap_ms)
		l->on_gap(l->gap_arg, gap);
	list_for_each_safe (it, &l->waiting) {
		struct loop_in *in = container_of(it, struct loop_in, link);
		list_remove(it);
		in->run(in);
	}
	loop_leave(l);
}

void loop_abandon(struct loop *l)
{
	l->abandoned = true;
	event_stop(&l->tick);
	list_for_each_safe (it, &l->waiting) {
		struct loop_in *in = container_of(it, struct loop_in, link);
		list_remove(it);
		in->drop(in);
	}
}

/* ---- what only threads of their own would call ---- */

void loop_run(struct loop *l)
{
	(void)l;
}

void loop_round(struct loop *l, int64_t max_wait_ms)
{
	(void)l;
	(void)max_wait_ms;
}

unsigned loop_finish(struct loop *l)
{
	unsigned n, total = 0;
	do {
		while ((n = run_posted(l)) > 0)
			total += n;
		run_hooks(l);
	} while (l->posted);
	return total;
}

/* Of the main loop: the process ends. */
void loop_stop(struct loop *l)
{
	l->node->ended = true;
}

/* Who asks whether he is in his own thread (home/register.c) is told so by loops. */
pthread_t __wrap_pthread_self(void);
pthread_t __wrap_pthread_self(void)
{
	return (pthread_t)running;
}

/* Nobody has a descriptor of his own here. */
struct loop_watch *loop_watch_new(struct loop *l, int fd,
				  void (*fn)(void *arg, unsigned events), void *arg)
{
	(void)l;
	(void)fd;
	(void)fn;
	(void)arg;
	return NULL;
}

int loop_watch_set(struct loop_watch *w, unsigned events)
{
	(void)w;
	(void)events;
	return -ENOTSUP;
}

struct loop_watch *loop_watch_free(struct loop_watch *w)
{
	return w;
}

void loop_on_gap(struct loop *l, msec ms, void (*fn)(void *arg, msec gap), void *arg)
{
	l->gap_ms = ms;
	l->on_gap = fn;
	l->gap_arg = arg;
}

void loop_gather_wakes(struct loop *l)
{
	(void)l; /* waking costs nothing here */
}
