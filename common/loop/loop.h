/*
 * One event loop (libevent) for one thread: descriptors, posted work from other threads, and
 * the worker's timer wheel.  Serves all that is ready before it sleeps; under moderate load it
 * waits up to moderation_us before it looks again, so that one wake-up serves more (facts: a
 * wake-up costs more than the work it does).
 */
#ifndef EAVES_LOOP_LOOP_H
#define EAVES_LOOP_LOOP_H

#include "common/base/wheel.h"

#include <stdbool.h>

struct event_base;
struct loop;

/* moderation_us: 0 (off) to 500.  NULL: out of memory or descriptors. */
struct loop *loop_new(unsigned moderation_us);
void loop_free(struct loop *l);
/* For the folders that own libevent as well (net, admin). */
struct event_base *loop_base(struct loop *l);
/* Timers of the wheel that end a sleep may come up to 8 ms late. */
struct wheel *loop_wheel(struct loop *l);
/* The time of this round: taken once after waking; before the first round the clock's. */
msec loop_now(const struct loop *l);

/* Called at the end of every round, before sleeping: batches are flushed here.  The newest is
 * called first, so that a lower floor flushes what an upper floor's hook has just added.
 * 0, or -ENOSPC (at most 8 hooks). */
int loop_on_round(struct loop *l, void (*fn)(void *arg), void *arg);
void loop_off_round(struct loop *l, void (*fn)(void *arg), void *arg);
/* Tells the loop that n messages were served in this round: what moderation goes by. */
void loop_served(struct loop *l, unsigned n);

/* fn is called when more than ms have passed between two rounds, before what has come meanwhile
 * is served (callbacks of descriptors ask loop_now() first): the process was stopped, or its
 * machine was.  The loop wakes often enough to tell that from sleep.  One of a loop. */
void loop_on_gap(struct loop *l, msec ms, void (*fn)(void *arg, msec gap), void *arg);

/* A descriptor of somebody else's (a library's socket) in this loop: fn is called in its
 * thread, level-triggered, while one of the wanted events is there. */
enum loop_event { LOOP_READ = 1, LOOP_WRITE = 2 };
struct loop_watch;
/* Wants nothing yet.  NULL: out of memory. */
struct loop_watch *loop_watch_new(struct loop *l, int fd,
				  void (*fn)(void *arg, unsigned events), void *arg);
/* What is wanted from now on (enum loop_event).  0 or -ENOMEM. */
int loop_watch_set(struct loop_watch *w, unsigned events);
/* Takes NULL; returns NULL.  The descriptor is not closed. */
struct loop_watch *loop_watch_free(struct loop_watch *w);

/* Work handed over from another thread.  Embedded in what is handed over; run() is called in
 * the loop's thread, in the order posted, many in one wake-up. */
struct loop_work {
	struct loop_work *next;
	void (*run)(struct loop_work *w);
};
/* Thread-safe, lock-free for the poster but for the wake-up of a sleeping loop. */
void loop_post(struct loop *l, struct loop_work *w);

/* Other loops that are posted to in a round of this one are woken once, at its end: for who
 * never waits for another thread in a round, and ends before those loops are freed. */
void loop_gather_wakes(struct loop *l);

/* fn is called in the loop's thread when the process gets the signal, which is ignored once the
 * loop is freed: the end of a process is not to be cut short.  Of one loop in a process.
 * 0, -ENOSPC (at most 4), -ENOMEM. */
int loop_on_signal(struct loop *l, int sig, void (*fn)(void *arg, int sig), void *arg);

/* Runs until loop_stop(). */
void loop_run(struct loop *l);
/* One round; sleeps for at most max_wait_ms (-1: no limit; 0: looks only).  For tests, and for
 * whoever has a loop of its own around this one. */
void loop_round(struct loop *l, int64_t max_wait_ms);
/* For a loop whose thread has ended, from another thread: runs what was posted to it, and what
 * that posts, then the hooks, so that batches leave; looks at no descriptor and no timer.  How
 * much was run. */
unsigned loop_finish(struct loop *l);
/* Thread-safe. */
void loop_stop(struct loop *l);

#endif
