/*
 * Runs in processes of their own, for the sweeps alone.
 */
#ifndef EAVES_SIM_CASES_H
#define EAVES_SIM_CASES_H

#include "tests/sim/sweep.h"

enum { CASE_NAME_MAX = 96 };

/* Seen by all processes. */
struct shared {
	char good[RUN_OUTCOME_MAX]; /* what is to come out */
	unsigned boundaries;
	uint64_t hash;
	unsigned long runs, failed, ladders;
	usec rang_on; /* rings.h; the longest */
	bool told;    /* a ladder has been shown */
};
extern struct shared *shared;
extern const struct sweep *sweep;
/* Forgets all counts. */
void cases_begin(const struct sweep *s);
/* Waits for a place; true in the new process. */
bool case_fork(const char *name);
/* Of the run in this process; notes how long phones rang on. */
size_t case_outcome(const struct run_conf *c, char out[RUN_OUTCOME_MAX]);
/* Compares with what is to come out, and tells.  The exit status. */
int case_judge(const struct run_conf *c, const char *name);
/* Waits for all. */
void cases_reap(void);
/* The run without a fault and without trouble, into shared->good.  False: it fails itself. */
bool cases_find_good(const struct sweep *s);

/* Runs fn in a process that forks cases of its own; fn ends with _exit(0).  An end of another
 * kind counts as a failure. */
void cases_in_process(void (*fn)(const struct run_conf *c, uint64_t first, unsigned n),
		      const struct run_conf *c, uint64_t first, unsigned n);

/* prefault.c: what is mapped now; all of it, in the process that was forked. */
void prefault_learn(void);
void prefault(void);

#endif
