/*
 * A binary heap by (time, order of arming).
 */
#include "tests/sim/event.h"

#include <stdio.h>
#include <stdlib.h>

static struct event **heap; /* from 1 */
static size_t armed, room;
static usec clock_us;
static uint64_t next_seq, ran;

void *sim_alloc(size_t n)
{
	void *p = calloc(1, n);
	if (!p) {
		fputs("sim: out of memory\n", stderr);
		abort();
	}
	return p;
}

usec sim_now(void)
{
	return clock_us;
}

uint64_t event_count(void)
{
	return ran;
}

void event_init(struct event *e, void (*run)(struct event *e))
{
	*e = (struct event){.run = run};
}

static bool before(const struct event *a, const struct event *b)
{
	return a->at != b->at ? a->at < b->at : a->seq < b->seq;
}

static void put(struct event *e, size_t place)
{
	heap[place] = e;
	e->place = place;
}

static void up(struct event *e, size_t at)
{
	while (at > 1 && before(e, heap[at / 2])) {
		put(heap[at / 2], at);
		at /= 2;
	}
	put(e, at);
}

static void down(struct event *e, size_t at)
{
	for (size_t child; (child = 2 * at) <= armed; at = child) {
		if (child < armed && before(heap[child + 1], heap[child]))
			child++;
		if (!before(heap[child], e))
			break;
		put(heap[child], at);
	}
	put(e, at);
}

static void take_out(struct event *e)
{
	size_t at = e->place;
	struct event *last = heap[armed--];
	e->place = 0;
	if (last == e)
		return;
	if (at > 1 && before(last, heap[at / 2]))
		up(last, at);
	else
		down(last, at);
}

static void grow(void)
{
	room = room ? 2 * room : 1024;
	heap = realloc(heap, (room + 1) * sizeof(heap[0]));
	if (!heap)
		abort();
}

void event_at(struct event *e, usec at)
{
	if (e->place)
		take_out(e);
	if (armed == room)
		grow();
	e->at = at < clock_us ? clock_us : at;
	e->seq = next_seq++;
	up(e, ++armed);
}

void event_after(struct event *e, usec delay)
{
	event_at(e, clock_us + delay);
}

void event_stop(struct event *e)
{
	if (e->place)
		take_out(e);
}

bool event_run_next(usec limit)
{
	if (!armed || heap[1]->at > limit) {
		if (clock_us < limit && limit != USEC_NEVER)
			clock_us = limit;
		return false;
	}
	struct event *e = heap[1];
	take_out(e);
	clock_us = e->at;
	ran++;
	e->run(e);
	return true;
}

void event_run_until(usec limit)
{
	while (event_run_next(limit))
		;
}
