/*
 * Counters that one thread writes and others read (metrics): relaxed loads and stores, which
 * cost what plain ones cost, and no data race.  Counters that several threads write need an
 * atomic addition: not here.
 */
#ifndef EAVES_BASE_COUNTER_H
#define EAVES_BASE_COUNTER_H

#include <stdint.h>

/* The writer's: adds to its own counter. */
static inline void counter_add(uint64_t *c, uint64_t n)
{
	__atomic_store_n(c, __atomic_load_n(c, __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);
}
static inline void counter_inc(uint64_t *c)
{
	counter_add(c, 1);
}
static inline void counter_dec(uint64_t *c)
{
	counter_add(c, (uint64_t)-1);
}
/* Any thread's. */
static inline uint64_t counter_get(const uint64_t *c)
{
	return __atomic_load_n(c, __ATOMIC_RELAXED);
}

#endif
