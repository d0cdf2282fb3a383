/*
 * The clock and the queue of the simulator: everything that happens is an event at a moment of
 * virtual time; of one moment the one armed first goes first.  Nothing else moves the clock.
 */
#ifndef EAVES_SIM_EVENT_H
#define EAVES_SIM_EVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint64_t usec; /* virtual microseconds since the world began */

#define USEC_MS(ms) ((usec)(ms)*1000)
#define USEC_S(s)   ((usec)(s)*1000000)
#define USEC_NEVER  UINT64_MAX

/* Embedded in what happens; whoever owns it stops it before it goes. */
struct event {
	usec at;
	uint64_t seq;
	size_t place; /* in the heap, from 1; 0: not armed */
	void (*run)(struct event *e);
};

usec sim_now(void);
void event_init(struct event *e, void (*run)(struct event *e));
/* (Re)arms; a moment that has passed is now. */
void event_at(struct event *e, usec at);
void event_after(struct event *e, usec delay);
void event_stop(struct event *e);
static inline bool event_armed(const struct event *e)
{
	return e->place != 0;
}
/* Runs the next event, if it is due until `limit`; else the clock goes there.  False then. */
bool event_run_next(usec limit);
void event_run_until(usec limit);
/* How many were run. */
uint64_t event_count(void);

/* ---- chance: splitmix64, a stream for whoever draws ---- */

struct rng {
	uint64_t s;
};
static inline struct rng rng_of(uint64_t seed, uint64_t stream)
{
	return (struct rng){seed * 0x9e3779b97f4a7c15u ^ (stream + 1) * 0xd1342543de82ef95u};
}
static inline uint64_t rng_next(struct rng *r)
{
	uint64_t z = r->s += 0x9e3779b97f4a7c15u;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}
/* 0 to n - 1; 0 for n 0. */
static inline uint64_t rng_below(struct rng *r, uint64_t n)
{
	return n ? rng_next(r) % n : 0;
}
static inline bool rng_chance(struct rng *r, unsigned permille)
{
	return permille && rng_below(r, 1000) < permille;
}

/* For the rig of a test: there is no going on without memory. */
void *sim_alloc(size_t n);

#endif
