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
};
extern struct shared *shared;
extern const struct sweep *sweep;
/* In a case: what is to come out, where it is not shared->good; empty: it is. */
extern char case_good[RUN_OUTCOME_MAX];

/* Forgets all counts. */
void cases_begin(const struct sweep *s);
/* Waits for a place; true in the new process. */
bool case_fork(const char *name);
/* Compares with what is to come out, and tells.  The exit status. */
int case_judge(const struct run_conf *c, const char *name);
/* Waits for all. */
void cases_reap(void);
/* The run without a fault and without trouble, into shared->good.  False: it fails itself. */
bool cases_find_good(const struct sweep *s);

/* prefault.c: what is mapped now; all of it, in the process that was forked. */
void prefault_learn(void);
void prefault(void);

#endif
