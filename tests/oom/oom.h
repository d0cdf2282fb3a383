/*
 * A scenario of `make oom`: a piece of the engine's work that is repeated with every allocation
 * failing in turn.  One file, one program: oom_<name>.c defines oom_scenario, fail.c the rest.
 */
#ifndef EAVES_TESTS_OOM_H
#define EAVES_TESTS_OOM_H

#include <stdio.h>
#include <stdlib.h>

struct oom_scenario {
	const char *name;
	/* Once, before anything fails; may be NULL. */
	void (*setup)(void);
	/* The work, from nothing and back to nothing: all that it allocates it frees.  0: done
	 * in full.  Negative: something was refused, cleanly.  It aborts when what it sees is
	 * wrong. */
	int (*run)(void);
};
extern const struct oom_scenario oom_scenario;

void oom_failed(const char *file, int line, const char *what) __attribute__((noreturn));

/* For what must hold whether memory lasts or not. */
#define OOM_HOLDS(condition)                                        \
	do {                                                        \
		if (!(condition))                                   \
			oom_failed(__FILE__, __LINE__, #condition); \
	} while (0)

#endif
