/*
 * The event loop: libevent for descriptors, a Treiber stack with an eventfd for work from other
 * threads, the worker's wheel.  A round is: hooks, then a pause or a sleep, then callbacks,
 * posted work and timers.  Only sleeping loops are woken.  When to pause instead of sleeping is
 * decided in moderation.c.  Not here: sockets (common/net).
 */
#include "common/loop/loop.h"

#include "common/loop/loop_priv.h"

#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum {
	HOOKS_MAX = 8,
	SIGNALS_MAX = 4,
	CACHE_LINE = 64,
	TICK_MS = 8, /* timers that end a sleep are late by less than this; see arm_tick */
	OWED_MAX = 8,
	OWED_POSTS = 64,
};

struct hook {
	void (*fn)(void *arg);
	void *arg;
};

struct sig {
	struct event *ev;
	void (*fn)(void *arg, int sig);
	void *arg;
};

struct loop {
	/* Written by other threads. */
	_Atomic(struct loop_work *) posted __attribute__((aligned(CACHE_LINE)));
	atomic_bool asleep;
	atomic_bool stop;
	/* The loop's own. */
	struct event_base *base __attribute__((aligned(CACHE_LINE)));
	struct event *wake, *tick, *limit;
	int wake_fd, tick_fd;
	msec now;
	bool now_is_old; /* we slept since: ask the clock again */
	bool runs;	 /* before its first round it has no time of its own */
	msec tick_due;	 /* 0: not armed */
	unsigned nhooks;
	struct hook hook[HOOKS_MAX];
	unsigned nsignals;
	struct sig signal[SIGNALS_MAX];
	struct loop *owed[OWED_MAX]; /* posted to in this round, and not woken yet */
	unsigned nowed, owed_posts;
	bool gathers;
	msec gap_ms; /* 0: nobody asks */
	void (*on_gap)(void *arg, msec gap);
	void *gap_arg;
	struct wheel_timer beat;
	struct moderation moderation;
	struct wheel wheel;
};

static __thread struct loop *in_round; /* of this thread, one that gathers wake-ups */

/* Both descriptors are edge-triggered: that we are awake is all there is to know, they are
 * never read.  Posted work and the wheel are served by every round. */
static void on_awake(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	loop_now(arg);
}

static struct event_base *base_new(void)
{
	struct event_config *c = event_config_new();
	struct event_base *base;

	if (!c)
		return NULL;
	/* One thread a base: no locks.  Not EPOLL_USE_CHANGELIST: when a change is made that
	 * waited while its descriptor was closed, that may be another worker's already. */
	event_config_set_flag(c, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_IGNORE_ENV);
	base = event_base_new_with_config(c);
	event_config_free(c);
	return base;
}

static bool events_start(struct loop *l)
{
	enum { EDGE = EV_READ | EV_PERSIST | EV_ET };

	l->wake = event_new(l->base, l->wake_fd, EDGE, on_awake, l);
	l->tick = event_new(l->base, l->tick_fd, EDGE, on_awake, l);
	l->limit = event_new(l->base, -1, 0, on_awake, l);
	return l->wake && l->tick && l->limit && event_add(l->wake, NULL) == 0 &&
	       event_add(l->tick, NULL) == 0;
}

struct loop *loop_new(unsigned moderation_us)
{
	struct loop *l = aligned_alloc(CACHE_LINE, sizeof(*l));

	if (!l)
		return NULL;
	memset(l, 0, sizeof(*l));
	moderation_init(&l->moderation, moderation_us);
	l->now = time_now();
	wheel_init(&l->wheel, l->now);
	l->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	l->tick_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	l->base = base_new();
	if (!l->base || l->wake_fd < 0 || l->tick_fd < 0 || !events_start(l)) {
		loop_free(l);
		return NULL;
	}
	return l;
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	for (unsigned i = 0; i < l->nsignals; i++)
		event_free(l->signal[i].ev);
	if (l->wake)
		event_free(l->wake);
	if (l->tick)
		event_free(l->tick);
	if (l->limit)
		event_free(l->limit);
	if (l->base)
		event_base_free(l->base);
	if (l->wake_fd >= 0)
		close(l->wake_fd);
	if (l->tick_fd >= 0)
		close(l->tick_fd);
	free(l);
}

struct event_base *loop_base(struct loop *l)
{
	return l->base;
}

struct wheel *loop_wheel(struct loop *l)
{
	return &l->wheel;
}

/* The first to ask after a sleep asks the clock; from then on nobody need wake us any more.
 * Before the first round everybody does: what is set up may take longer than what is counted
 * from that moment (a store is read, Redis waited for). */
msec loop_now(const struct loop *l)
{
	struct loop *own = (struct loop *)l;
	msec before = own->now;

	if (!own->now_is_old && own->runs)
		return own->now;
	own->now_is_old = false;
	own->now = time_now();
	atomic_store_explicit(&own->asleep, false, memory_order_relaxed);
	if (own->runs && own->gap_ms && own->now > before + own->gap_ms)
		own->on_gap(own->gap_arg, own->now - before);
	return own->now;
}

static void on_beat(struct wheel_timer *t, msec now)
{
	struct loop *l = container_of(t, struct loop, beat);

	wheel_arm(&l->wheel, t, now + l->gap_ms / 3);
}

void loop_on_gap(struct loop *l, msec ms, void (*fn)(void *arg, msec gap), void *arg)
{
	l->gap_ms = ms;
	l->on_gap = fn;
	l->gap_arg = arg;
	wheel_timer_init(&l->beat, on_beat);
	wheel_arm(&l->wheel, &l->beat, l->now + ms / 3);
}

void loop_served(struct loop *l, unsigned n)
{
	l->moderation.served += n;
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

static void on_signal(evutil_socket_t number, short what, void *arg)
{
	struct sig *s = arg;

	(void)what;
	s->fn(s->arg, (int)number);
}

int loop_on_signal(struct loop *l, int number, void (*fn)(void *arg, int sig), void *arg)
{
	struct sig *s = &l->signal[l->nsignals];

	if (l->nsignals == SIGNALS_MAX)
		return -ENOSPC;
	*s = (struct sig){evsignal_new(l->base, number, on_signal, s), fn, arg};
	if (!s->ev)
		return -ENOMEM;
	signal(number, SIG_IGN); /* what libevent puts back afterwards */
	if (event_add(s->ev, NULL) < 0) {
		event_free(s->ev);
		return -ENOMEM;
	}
	l->nsignals++;
	return 0;
}

static void wake(struct loop *l)
{
	static const uint64_t one = 1;
	ssize_t n;

	if (!atomic_exchange(&l->asleep, false))
		return;
	do
		n = write(l->wake_fd, &one, sizeof(one));
	while (n < 0 && errno == EINTR);
}

static void wake_owed(struct loop *l)
{
	for (unsigned i = 0; i < l->nowed; i++)
		wake(l->owed[i]);
	l->nowed = l->owed_posts = 0;
}

void loop_gather_wakes(struct loop *l)
{
	l->gathers = true;
}

/* What one round posts to another loop it is to find in one piece: it is woken at the end of
 * that round, or when there is a lot for it. */
static void owe(struct loop *l, struct loop *to)
{
	unsigned i = 0;

	while (i < l->nowed && l->owed[i] != to)
		i++;
	if (i == OWED_MAX || ++l->owed_posts >= OWED_POSTS) {
		wake_owed(l);
		i = 0;
	}
	if (i == l->nowed)
		l->owed[l->nowed++] = to;
}

void loop_post(struct loop *l, struct loop_work *w)
{
	struct loop_work *old = atomic_load_explicit(&l->posted, memory_order_relaxed);

	do
		w->next = old;
	while (!atomic_compare_exchange_weak(&l->posted, &old, w));
	if (!in_round)
		wake(l);
	else if (in_round != l)
		owe(in_round, l);
}

void loop_stop(struct loop *l)
{
	atomic_store(&l->stop, true);
	wake(l);
}

/* Takes the whole stack and turns it round: the order of posting.  How much there was. */
static unsigned run_posted(struct loop *l)
{
	struct loop_work *w, *first = NULL, *next;
	unsigned n = 0;

	if (!atomic_load_explicit(&l->posted, memory_order_relaxed))
		return 0;
	for (w = atomic_exchange(&l->posted, NULL); w; w = next) {
		next = w->next;
		w->next = first;
		first = w;
	}
	for (w = first; w; w = next) {
		next = w->next;
		n++;
		w->run(w);
	}
	l->moderation.served += n;
	return n;
}

/*
 * The tick wakes us for the wheel.  A time-out of epoll_wait would start and stop a kernel
 * timer with every sleep, and with thousands of SIP timers about always a near one: measured,
 * that doubled the cost of a paced message.  So a timerfd stands, on a coarse grid: a later
 * wish leaves it as it is (one wake-up for nothing), only an earlier one sets it.
 */
static void arm_tick(struct loop *l)
{
	int64_t wait = wheel_wait(&l->wheel, l->now);
	msec due = (l->now + (msec)wait + TICK_MS - 1) / TICK_MS * TICK_MS;
	struct itimerspec t = {
		.it_value = {(time_t)(due / 1000), (long)(due % 1000) * 1000000}};

	if (l->tick_due && l->tick_due <= l->now)
		l->tick_due = 0;
	if (wait < 0 || (l->tick_due && l->tick_due <= due))
		return;
	if (timerfd_settime(l->tick_fd, TFD_TIMER_ABSTIME, &t, NULL) == 0)
		l->tick_due = due;
}

static void arm_limit(struct loop *l, int64_t max_wait_ms)
{
	struct timeval tv = {max_wait_ms / 1000, max_wait_ms % 1000 * 1000};

	if (max_wait_ms > 0)
		event_add(l->limit, &tv);
	else if (event_pending(l->limit, EV_TIMEOUT, NULL))
		event_del(l->limit);
}

/* May we sleep?  After `asleep` is set a poster wakes us: so look at the stack once more. */
static bool go_to_sleep(struct loop *l)
{
	atomic_store(&l->asleep, true);
	if (!atomic_load(&l->posted) && !atomic_load(&l->stop))
		return true;
	atomic_store(&l->asleep, false);
	return false;
}

static void run_hooks(struct loop *l)
{
	for (unsigned i = l->nhooks; i-- > 0;)
		l->hook[i].fn(l->hook[i].arg);
}

void loop_round(struct loop *l, int64_t max_wait_ms)
{
	bool block;

	if (!l->runs) {
		loop_now(l);
		l->runs = true;
	}
	run_hooks(l);
	block = max_wait_ms != 0 && !atomic_load_explicit(&l->stop, memory_order_relaxed) &&
		!moderation_pause(&l->moderation, l->now) && go_to_sleep(l);
	if (block) {
		arm_tick(l);
		arm_limit(l, max_wait_ms);
	}
	l->now_is_old = true;
	in_round = l->gathers ? l : NULL;
	event_base_loop(l->base, block ? EVLOOP_ONCE : EVLOOP_ONCE | EVLOOP_NONBLOCK);
	loop_now(l);
	run_posted(l);
	wheel_advance(&l->wheel, l->now);
	in_round = NULL;
	wake_owed(l);
}

unsigned loop_finish(struct loop *l)
{
	unsigned n, total = 0;

	do {
		while ((n = run_posted(l)) > 0)
			total += n;
		run_hooks(l); /* they may post */
	} while (atomic_load(&l->posted));
	return total;
}

void loop_run(struct loop *l)
{
	while (!atomic_load(&l->stop))
		loop_round(l, -1);
	atomic_store(&l->stop, false);
}
