/*
 * Timer wheel: arm, stop and fire in O(1), whatever the number of timers.  One wheel per
 * worker, driven by whoever owns the clock, so a test drives it by hand.
 */
#ifndef EAVES_BASE_WHEEL_H
#define EAVES_BASE_WHEEL_H

#include "common/base/list.h"
#include "common/base/time.h"

struct wheel_timer;
/* Called once when due; the timer is stopped already and may be armed again or freed. */
typedef void (*wheel_fire)(struct wheel_timer *t, msec now);

struct wheel_timer {
	struct list link; /* to itself when stopped */
	msec due;
	wheel_fire fire;
};

enum { WHEEL_BITS = 8, WHEEL_SLOTS = 1 << WHEEL_BITS, WHEEL_LEVELS = 4 };

struct wheel {
	msec now; /* everything due up to and including this has fired */
	size_t armed;
	uint64_t busy[WHEEL_SLOTS / 64]; /* of the lowest level: a slot may have timers */
	struct list slot[WHEEL_LEVELS][WHEEL_SLOTS];
};

void wheel_init(struct wheel *w, msec now);
/* Prepares a timer that is not armed. */
void wheel_timer_init(struct wheel_timer *t, wheel_fire fire);
/* (Re)arms t to fire at `due` (one tick later at the earliest; at most 2^32 - 1 ms ahead). */
void wheel_arm(struct wheel *w, struct wheel_timer *t, msec due);
/* Stops t; harmless when it is not armed. */
void wheel_stop(struct wheel *w, struct wheel_timer *t);
static inline bool wheel_armed(const struct wheel_timer *t)
{
	return t->link.next != &t->link;
}
/* Fires all that is due up to now, in the order of the ticks. */
void wheel_advance(struct wheel *w, msec now);
/* Milliseconds until the wheel wants to be advanced (a lower bound: at most the next due timer,
 * sometimes a cascade before it), or -1 with nothing armed. */
int64_t wheel_wait(struct wheel *w, msec now);

#endif
