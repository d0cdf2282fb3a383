/*
 * The branches whose final response has gone by a while ago: a key and a time each, 20 bytes.
 * Who repeats his INVITE meanwhile does not make it a call anew (RFC 6026 7.1: the device
 * absorbs it).
 */
#ifndef EAVES_STACK_ANSWERED_H
#define EAVES_STACK_ANSWERED_H

#include "common/base/time.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct stack_answer;

struct stack_answered {
	struct stack_answer *v; /* a ring: all live as long, so the oldest is the first to go */
	uint32_t *bucket;	/* behind them; a place in the ring, counted from 1 */
	uint32_t room;		/* of both, a power of two; 0: nothing yet */
	uint32_t first, n, max;
	uint32_t life;
};

/* At most max, each for life_ms. */
void stack_answered_init(struct stack_answered *a, size_t max, msec life_ms);
void stack_answered_done(struct stack_answered *a);
/* key: of a branch, as a MAC.  False: one was forgotten before its time, the oldest, or this
 * one where there is no memory. */
bool stack_answered_add(struct stack_answered *a, uint64_t key, msec now);
bool stack_answered_has(struct stack_answered *a, uint64_t key, msec now);

#endif
