/*
 * Sweeps.  The run without a fault comes first; then a walker runs the flow once more and at
 * every boundary forks one process a case, which goes on with its fault to the end.
 */
#include "tests/sim/cases.h"
#include "tests/sim/trace.h"

#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* ---- every node at every boundary ---- */

static struct run_conf walk;
static char case_name[CASE_NAME_MAX];
static bool in_case;

static bool is_asked(const struct host *h, enum fault_kind k)
{
	const struct node *n = node_on(h);
	if (sweep->brief && (walk.flow->how & FLOW_AGAIN) && !(n && scene_is_near(n)))
		return false;
	return (sweep->faults >> k & 1) && fault_fits(h, k, walk.flow);
}

/* Of those that the run without a fault has. */
static bool is_point(unsigned n)
{
	unsigned parts = sweep->points + 1, all = shared->boundaries;
	if (!sweep->points || sweep->points >= all)
		return true;
	return n && n < all && n * parts / all != (n - 1) * parts / all;
}

static void on_boundary(unsigned n, struct host *sender)
{
	(void)sender;
	if (!is_point(n))
		return;
	for (unsigned i = 0; !in_case && i < fault_hosts(); i++)
		for (unsigned k = FAULT_KILL; !in_case && k < FAULT_KINDS; k++) {
			if (!is_asked(fault_host(i), (enum fault_kind)k))
				continue;
			snprintf(case_name, sizeof(case_name), "%s.%s.%u.%s", walk.flow->name,
				 fault_host(i)->name, n, fault_name((enum fault_kind)k));
			if (case_fork(case_name)) {
				in_case = true;
				trace_on_boundary(NULL);
				fault_apply(fault_host(i), (enum fault_kind)k);
			}
		}
}

static void walk_flow(const struct run_conf *c, uint64_t first, unsigned n)
{
	(void)first;
	(void)n;
	walk = *c;
	if (!run_prepare(&walk))
		exit(2);
	prefault_learn();
	trace_on_boundary(on_boundary);
	on_boundary(0, NULL);
	run_flow(&walk);
	if (in_case) {
		int r = case_judge(&walk, case_name);
		fflush(stdout);
		_exit(r);
	}
	cases_reap();
	/* The good run has none. */
	bool trouble = memcmp(&walk.trouble, &trouble_none, sizeof(trouble_none)) != 0;
	if (!trouble && trace_hash() != shared->hash) {
		printf("FAILED %s: two runs of one seed differ\n", walk.flow->name);
		fflush(stdout);
		_exit(1);
	}
	_exit(0);
}

static double seconds(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

struct sweep_count sweep_flow(const struct sweep *s)
{
	double from = seconds();
	cases_begin(s);
	if (cases_find_good(s))
		cases_in_process(walk_flow, &s->run, 0, 0);
	double took = seconds() - from;
	printf("sim %s: %lu runs, %lu failed, %u boundaries, rang on %.1f s, %.1f s, "
	       "%.0f a second\n",
	       s->run.flow->name, shared->runs, shared->failed, shared->boundaries,
	       (double)shared->rang_on / 1e6, took, (double)shared->runs / took);
	fflush(stdout);
	return (struct sweep_count){shared->runs, shared->failed, shared->rang_on};
}

/* ---- one run ---- */

static struct host *find_host(const char *name)
{
	for (unsigned i = 0; name && i < fault_hosts(); i++)
		if (strcmp(fault_host(i)->name, name) == 0)
			return fault_host(i);
	fprintf(stderr, "sim: no node %s\n", name ? name : "named");
	exit(2);
}

static void on_one(unsigned n, struct host *sender)
{
	(void)sender;
	if (n == sweep->at && sweep->fault != FAULT_NONE)
		fault_apply(find_host(sweep->node), sweep->fault);
	if (n == sweep->at && sweep->breaks == BREAKS_CRASH)
		raise(SIGSEGV);
	while (n == sweep->at && sweep->breaks == BREAKS_HANG)
		;
}

static int run_one(const struct sweep *s)
{
	trace_set_live(s->live);
	if (!run_prepare(&s->run)) {
		printf("FAILED: a phone cannot register\n");
		trace_print(stdout, true);
		return 1;
	}
	trace_on_boundary(on_one);
	on_one(0, NULL);
	run_flow(&s->run);
	static char mine[RUN_OUTCOME_MAX];
	case_outcome(&s->run, mine);
	trace_print(stdout, false);
	printf("\n%s\n", mine);
	unsigned differ = run_compare(stdout, shared->good, mine);
	printf("%s, %llu events in %.1f s, hash %016llx\n", differ ? "FAILED" : "good",
	       (unsigned long long)event_count(), (double)sim_now() / 1e6,
	       (unsigned long long)trace_hash());
	return differ ? 1 : 0;
}

struct sweep_count sweep_one(const struct sweep *s)
{
	cases_begin(s);
	if (cases_find_good(s)) {
		if (case_fork("one")) {
			int r = run_one(s);
			fflush(stdout);
			_exit(r);
		}
		cases_reap();
	}
	return (struct sweep_count){shared->runs, shared->failed, shared->rang_on};
}
