/*
 * The flows: which phones there are, what they do by themselves, and what sets it going.
 */
#ifndef EAVES_SIM_FLOW_H
#define EAVES_SIM_FLOW_H

#include <stdbool.h>

struct flow {
	const char *name;
	void (*setup)(void); /* users and phones */
	void (*go)(void);
	/* Streams in it: a machine that dies without a word is noticed by its phones only after
	 * their next ping, so that is not asked of it. */
	bool streams;
};
extern const struct flow flows[];
extern const unsigned nflows;
const struct flow *flow_find(const char *name);

#endif
