/*
 * The writing script of common/store/redis_script.c, in C.
 */
#ifndef EAVES_SIM_REDIS_WRITE_H
#define EAVES_SIM_REDIS_WRITE_H

#include "tests/sim/redis_keys.h"

#include <stdbool.h>
#include <stdio.h>

enum { REDIS_ARGS_MAX = 8192 };

/* As it came. */
struct redis_command {
	unsigned n;
	struct span arg[REDIS_ARGS_MAX];
};

/* Answers into out.  forgets: of what it says yes to it keeps nothing. */
void redis_write_units(struct redis_keys *k, const struct redis_command *c, bool forgets,
		       FILE *out);

/* RESP. */
void redis_add_bulk(FILE *out, struct span s);
unsigned redis_number(struct span s);

#endif
