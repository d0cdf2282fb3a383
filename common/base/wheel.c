/*
 * Hierarchical timer wheel: four levels of 256 slots, one tick a millisecond.  A timer is in
 * the lowest level whose span covers its distance; when a higher slot comes up its timers
 * cascade.
 */
#include "common/base/wheel.h"

enum { WHEEL_MASK = WHEEL_SLOTS - 1 };

void wheel_init(struct wheel *w, msec now)
{
	w->now = now;
	w->armed = 0;
	for (int level = 0; level < WHEEL_LEVELS; level++)
		for (int i = 0; i < WHEEL_SLOTS; i++)
			list_init(&w->slot[level][i]);
}

void wheel_timer_init(struct wheel_timer *t, wheel_fire fire)
{
	list_init(&t->link);
	t->due = 0;
	t->fire = fire;
}

static void place(struct wheel *w, struct wheel_timer *t)
{
	msec distance = t->due - w->now;
	int level = 0;
	while (level < WHEEL_LEVELS - 1 && distance >> (WHEEL_BITS * (level + 1)))
		level++;
	size_t slot = (t->due >> (WHEEL_BITS * level)) & WHEEL_MASK;
	list_append(&w->slot[level][slot], &t->link);
}

void wheel_arm(struct wheel *w, struct wheel_timer *t, msec due)
{
	wheel_stop(w, t);
	if (due <= w->now)
		due = w->now + 1;
	if (due - w->now > UINT32_MAX)
		due = w->now + UINT32_MAX;
	t->due = due;
	place(w, t);
	w->armed++;
}

void wheel_stop(struct wheel *w, struct wheel_timer *t)
{
	if (!wheel_armed(t))
		return;
	list_remove(&t->link);
	w->armed--;
}

/* Timers that waited in a higher level come down to where they now belong. */
static void cascade(struct wheel *w, int level)
{
	struct list *slot = &w->slot[level][(w->now >> (WHEEL_BITS * level)) & WHEEL_MASK];
	struct list due;
	if (list_empty(slot))
		return;
	due = *slot;
	due.next->prev = due.prev->next = &due;
	list_init(slot);
	list_for_each_safe (it, &due) {
		list_remove(it);
		place(w, container_of(it, struct wheel_timer, link));
	}
}

static void tick(struct wheel *w)
{
	w->now++;
	for (int level = 1; level < WHEEL_LEVELS; level++) {
		if (w->now & (((msec)1 << (WHEEL_BITS * level)) - 1))
			break;
		cascade(w, level);
	}
	struct list *slot = &w->slot[0][w->now & WHEEL_MASK];
	while (!list_empty(slot)) {
		struct wheel_timer *t = container_of(slot->next, struct wheel_timer, link);
		wheel_stop(w, t);
		t->fire(t, w->now);
	}
}

/* Ticks that can be skipped: none of the lowest level's slots before that has a timer. */
static msec idle_ticks(const struct wheel *w)
{
	msec n = 1;
	for (; n < WHEEL_SLOTS; n++) {
		msec at = w->now + n;
		if ((at & WHEEL_MASK) == 0 || !list_empty(&w->slot[0][at & WHEEL_MASK]))
			break;
	}
	return n;
}

void wheel_advance(struct wheel *w, msec now)
{
	while (w->now < now) {
		if (!w->armed) {
			w->now = now;
			return;
		}
		msec skip = idle_ticks(w) - 1;
		if (skip > now - w->now - 1)
			skip = now - w->now - 1;
		w->now += skip;
		tick(w);
	}
}

int64_t wheel_wait(const struct wheel *w, msec now)
{
	if (!w->armed)
		return -1;
	msec at = w->now + idle_ticks(w);
	return at > now ? (int64_t)(at - now) : 0;
}
