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
	for (int i = 0; i < WHEEL_SLOTS / 64; i++)
		w->busy[i] = 0;
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
	if (level == 0)
		w->busy[slot / 64] |= (uint64_t)1 << slot % 64;
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

/* The first slot from `from` on that has a timer, or WHEEL_SLOTS.  A bit may stand for timers
 * that were stopped since: it is cleared when it is found. */
static unsigned busy_slot(struct wheel *w, unsigned from)
{
	while (from < WHEEL_SLOTS) {
		uint64_t bits = w->busy[from / 64] >> from % 64;
		if (!bits) {
			from = (from / 64 + 1) * 64;
			continue;
		}
		from += (unsigned)__builtin_ctzll(bits);
		if (!list_empty(&w->slot[0][from]))
			return from;
		w->busy[from / 64] &= ~((uint64_t)1 << from % 64);
	}
	return WHEEL_SLOTS;
}

/* Ticks to the next one that has something to do: a timer of the lowest level, or a cascade
 * when that begins again. */
static msec idle_ticks(struct wheel *w)
{
	unsigned at = (unsigned)(w->now & WHEEL_MASK);
	return busy_slot(w, at + 1) - at;
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

int64_t wheel_wait(struct wheel *w, msec now)
{
	if (!w->armed)
		return -1;
	msec at = w->now + idle_ticks(w);
	return at > now ? (int64_t)(at - now) : 0;
}
