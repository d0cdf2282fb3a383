/*
 * Many runs: every node at every message boundary of a flow; or trouble by seeds.  A run is a
 * process that was forked where its fault happens, so what came before is run once.
 */
#ifndef EAVES_SIM_SWEEP_H
#define EAVES_SIM_SWEEP_H

#include "tests/sim/fault.h"
#include "tests/sim/run.h"

/* What the run itself does at that boundary, to see what is told of it. */
enum sweep_break { BREAKS_NOT, BREAKS_CRASH, BREAKS_HANG };
struct sweep {
	struct run_conf run;
	unsigned faults; /* bit (1 << enum fault_kind) */
	bool brief;	 /* FLOW_AGAIN */
	unsigned points; /* so many boundaries alone, as far from each other; 0: all */
	unsigned jobs;
	const char *dir; /* ladders of what fails go there */
	/* of one run: */
	const char *node;
	unsigned at;
	enum fault_kind fault;
	bool live; /* every message as it is sent */
	enum sweep_break breaks;
	unsigned limit_s; /* of a case, of a processor; 0: a minute */
};
struct sweep_count {
	unsigned long runs, failed;
	usec rang_on; /* rings.h; the longest */
};

/* The run without a fault, then all others. */
struct sweep_count sweep_flow(const struct sweep *s);
/* One run with its ladder. */
struct sweep_count sweep_one(const struct sweep *s);
/* Flows, faults and trouble as the seeds have it, `n` of them from s->run.seed on. */
struct sweep_count sweep_seeds(const struct sweep *s, unsigned n);

#endif
