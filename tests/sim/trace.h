/*
 * What happened in a run: messages and notes in order, for the ladder diagram of a run that
 * fails and for counting message boundaries.
 */
#ifndef EAVES_SIM_TRACE_H
#define EAVES_SIM_TRACE_H

#include "tests/sim/host.h"

#include <stdio.h>

enum trace_fate { TRACE_SENT, TRACE_LOST, TRACE_TWICE };

/* From now on messages are boundaries, numbered from 1; 0: not yet. */
void trace_begin(void);
/* No more are counted. */
void trace_end(void);
unsigned trace_boundaries(void);
/* Called after each boundary, before anything else happens. */
void trace_on_boundary(void (*fn)(unsigned n, struct host *sender));

/* A SIP message has left `from`. */
void trace_message(const struct host *from, const struct host *to, struct span bytes,
		   enum trace_fate fate);
/* The bus's own messages are boundaries too: hellos, heartbeats, comparison. */
void trace_all_bus(bool on);
bool trace_is_all_bus(void);
/* A message of the bus.  more: one of several of its kind that leave together, and not the
 * first of them: no boundary. */
void trace_bus(const struct host *from, const struct host *to, const char *what, bool more);
bool trace_is_counting(void);
/* Something else that the ladder is to show. */
void trace_note(const struct host *h, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* The ladder: hosts are columns, time goes down.  all: with what happened before the flow. */
void trace_print(FILE *out, bool all);
/* Lines as they happen, messages whole. */
void trace_set_live(bool live);
/* A hash over all that was recorded: two runs that are the same have the same. */
uint64_t trace_hash(void);

#endif
