/*
 * Trouble by seeds: a flow, a network, one or two faults at some boundaries, drawn from the
 * seed; the phones are to see what they see in the flow without all that.
 */
#include "tests/sim/cases.h"
#include "tests/sim/trace.h"

#include <stdlib.h>
#include <unistd.h>

enum { PLANS_MAX = 2 };

struct plan {
	unsigned at, node;
	enum fault_kind kind;
};
static struct plan plan[PLANS_MAX];
static unsigned nplans;

static struct trouble draw_trouble(struct rng *r)
{
	struct trouble t = trouble_none;
	t.lan_jitter = rng_below(r, 3) ? 200 : 5000;
	t.wan = 1000 + rng_below(r, 40000);
	t.wan_jitter = rng_below(r, 20000);
	t.udp_loss = rng_below(r, 2) ? (unsigned)rng_below(r, 101) : 0;
	t.udp_twice = rng_below(r, 2) ? (unsigned)rng_below(r, 51) : 0;
	t.udp_late = rng_below(r, 2) ? (unsigned)rng_below(r, 101) : 0;
	t.stream_loss = rng_below(r, 2) ? (unsigned)rng_below(r, 21) : 0;
	t.late = 50000;
	return t;
}

static enum fault_kind draw_fault(struct rng *r, unsigned faults, bool streams)
{
	enum fault_kind some[FAULT_KINDS];
	unsigned n = 0;
	for (unsigned k = FAULT_KILL; k < FAULT_KINDS; k++)
		if ((faults >> k & 1) && !(streams && (k == FAULT_OFF || k == FAULT_REBOOT)))
			some[n++] = (enum fault_kind)k;
	return n ? some[rng_below(r, n)] : FAULT_NONE;
}

/* The second fault is one of another pair: both members at once is not promised. */
static void draw_plans(struct rng *r, unsigned faults, bool streams)
{
	nplans = faults ? 1 + (unsigned)rng_below(r, PLANS_MAX) : 0;
	for (unsigned i = 0; i < nplans; i++)
		plan[i] = (struct plan){.at = (unsigned)rng_below(r, 70),
					.node = (unsigned)rng_next(r),
					.kind = draw_fault(r, faults, streams)};
}

static struct node *node_for(unsigned i)
{
	static struct node *first;
	struct node *other, *n = node_of(plan[i].node % nodes_count());
	if (i == 0) {
		first = n;
		return n;
	}
	scene_pair_of(first, &other);
	return n == first || n == other ? NULL : n;
}

static void on_boundary(unsigned n, struct host *sender)
{
	(void)sender;
	for (unsigned i = 0; i < nplans; i++)
		if (plan[i].at == n) {
			struct node *node = node_for(i);
			if (node && node_runs(node))
				fault_apply(node, plan[i].kind);
		}
}

static void run_seed(const struct run_conf *c, const char *name)
{
	if (!run_prepare(c)) {
		printf("FAILED %s: a phone cannot register\n", name);
		fflush(stdout);
		_exit(1);
	}
	trace_on_boundary(on_boundary);
	on_boundary(0, NULL);
	run_flow(c);
	int r = case_judge(c, name);
	fflush(stdout);
	_exit(r);
}

/* What is to come out, of each flow, found once. */
static const char *good_of(const struct sweep *s, const struct flow *f)
{
	static char *good[64];
	unsigned i = (unsigned)(f - flows);
	if (!good[i]) {
		struct sweep one = *s;
		one.run.flow = f;
		if (!cases_find_good(&one))
			return NULL;
		good[i] = strdup(shared->good);
	}
	return good[i];
}

struct sweep_count sweep_seeds(const struct sweep *s, unsigned n)
{
	char name[CASE_NAME_MAX];
	cases_begin(s);
	for (unsigned i = 0; i < n; i++) {
		struct run_conf c = s->run;
		c.seed = s->run.seed + i;
		struct rng r = rng_of(c.seed, 7);
		const struct flow *drawn = &flows[rng_below(&r, nflows)];
		c.flow = s->run.flow ? s->run.flow : drawn;
		c.trouble = draw_trouble(&r);
		c.workers = 1 + (unsigned)rng_below(&r, 2);
		c.drain = rng_below(&r, 4) == 0;
		draw_plans(&r, s->faults, c.flow->streams);
		const char *good = good_of(s, c.flow);
		if (!good)
			break;
		snprintf(name, sizeof(name), "seed.%llu.%s", (unsigned long long)c.seed,
			 c.flow->name);
		if (case_fork(name)) {
			memcpy(case_good, good, strlen(good) + 1);
			run_seed(&c, name);
		}
	}
	cases_reap();
	return (struct sweep_count){shared->runs, shared->failed};
}
