/*
 * One run of a flow: the world until the flow begins, the flow, then what is asked of the world
 * afterwards.  One run a process: the world is not taken down.
 */
#ifndef EAVES_SIM_RUN_H
#define EAVES_SIM_RUN_H

#include "tests/sim/flow.h"
#include "tests/sim/scene.h"

struct run_conf {
	const struct flow *flow;
	enum scene_kind kind;
	uint64_t seed;
	unsigned workers;
	struct trouble trouble; /* from the flow's beginning */
	bool drain;		/* waits for the last timer of all transactions too */
	bool bus;		/* all messages of the bus are boundaries */
};

enum { RUN_OUTCOME_MAX = 16384 };

/* Up to the moment before the flow.  False: a phone could not register. */
bool run_prepare(const struct run_conf *c);
void run_flow(const struct run_conf *c);
/* Lines: the facts of each phone, in order of the alphabet; a line that begins with "!" is
 * wrong whatever other runs say.  The length. */
size_t run_outcome(const struct run_conf *c, char out[RUN_OUTCOME_MAX]);
/* What a flow itself has found wrong, in the outcome; the text lives on elsewhere. */
void run_wrong(const char *what);
/* Prints how two outcomes differ, and what is wrong in the second.  How many lines. */
unsigned run_compare(FILE *out, const char *good, const char *other);

#endif
