/*
 * What happens in a flow by the clock: steps, each at its time from when the script began.
 */
#ifndef EAVES_SIM_SCRIPT_H
#define EAVES_SIM_SCRIPT_H

#include "tests/sim/event.h"

struct step {
	uint32_t at_ms;
	void (*run)(void);
};

/* In the order of their times; they live on elsewhere.  One script a run. */
void script_begin(const struct step *steps, unsigned n);
/* The last step is still to come. */
bool script_is_open(void);
/* How long it takes from now on. */
usec script_left(void);

#endif
