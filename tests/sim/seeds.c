/*
 * Trouble by seeds: a flow, a network, one or two faults at some boundaries, drawn from the
 * seed; the phones are to see what they see in the flow without all that.
 */
#include "tests/sim/cases.h"
#include "tests/sim/trace.h"

#include <stdlib.h>
#include <unistd.h>

enum { PLANS_MAX = 2, WORKERS_MAX = 2, WORLD_SEED = 1 };

struct plan {
	unsigned at, node;
	enum fault_kind kind;
};
static struct plan plan[PLANS_MAX];
static unsigned nplans;
static const struct flow *flow_played;

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

static enum fault_kind draw_fault(struct rng *r, unsigned faults)
{
	enum fault_kind some[FAULT_KINDS];
	unsigned n = 0;
	for (unsigned k = FAULT_KILL; k < FAULT_KINDS; k++)
		if (faults >> k & 1)
			some[n++] = (enum fault_kind)k;
	return n ? some[rng_below(r, n)] : FAULT_NONE;
}

/* The second fault is one of another pair: both members at once is not promised. */
static void draw_plans(struct rng *r, unsigned faults)
{
	nplans = faults ? 1 + (unsigned)rng_below(r, PLANS_MAX) : 0;
	for (unsigned i = 0; i < nplans; i++)
		plan[i] = (struct plan){.at = (unsigned)rng_below(r, 70),
					.node = (unsigned)rng_next(r),
					.kind = draw_fault(r, faults)};
}

static struct host *host_for(unsigned i)
{
	struct host *first = fault_host(plan[0].node % fault_hosts());
	struct host *h = fault_host(plan[i].node % fault_hosts());
	struct node *other = NULL;
	if (i == 0)
		return h;
	if (node_on(first))
		scene_pair_of(node_on(first), &other);
	return h == first || (other && h == other->host) ? NULL : h;
}

static void on_boundary(unsigned n, struct host *sender)
{
	(void)sender;
	for (unsigned i = 0; i < nplans; i++) {
		struct host *h = plan[i].at == n ? host_for(i) : NULL;
		if (h && fault_fits(h, plan[i].kind, flow_played))
			fault_apply(h, plan[i].kind);
	}
}

/* What is drawn first decides where a seed is run. */
struct draw {
	struct rng rng;
	const struct flow *flow;
	unsigned workers;
};

static struct draw draw_of(const struct sweep *s, uint64_t seed)
{
	struct draw d = {.rng = rng_of(seed, 7)};
	const struct flow *drawn = &flows[rng_below(&d.rng, flows_drawn())];
	d.flow = s->run.flow ? s->run.flow : drawn;
	d.workers = 1 + (unsigned)rng_below(&d.rng, WORKERS_MAX);
	return d;
}

/* In a world that stands before its flow. */
static void run_seed(struct run_conf c, uint64_t seed, struct rng *r, const char *name)
{
	c.seed = seed;
	c.trouble = draw_trouble(r);
	c.drain = rng_below(r, 4) == 0;
	draw_plans(r, sweep->faults);
	flow_played = c.flow;
	hosts_reseed(seed, &c.trouble);
	trace_on_boundary(on_boundary);
	on_boundary(0, NULL);
	run_flow(&c);
	int status = case_judge(&c, name);
	fflush(stdout);
	_exit(status);
}

/* All seeds of one flow and number of workers: they share what comes before the flow. */
static void run_group(const struct run_conf *c, uint64_t first, unsigned n)
{
	char name[CASE_NAME_MAX];
	if (!run_prepare(c))
		_exit(2);
	prefault_learn();
	for (uint64_t seed = first; seed < first + n; seed++) {
		struct draw d = draw_of(sweep, seed);
		if (d.flow != c->flow || d.workers != c->workers)
			continue;
		snprintf(name, sizeof(name), "seed.%llu.%s", (unsigned long long)seed,
			 c->flow->name);
		if (case_fork(name))
			run_seed(*c, seed, &d.rng, name);
	}
	cases_reap();
	_exit(0);
}

static bool is_drawn(const struct sweep *s, const struct run_conf *c, unsigned n)
{
	for (uint64_t seed = s->run.seed; seed < s->run.seed + n; seed++) {
		struct draw d = draw_of(s, seed);
		if (d.flow == c->flow && d.workers == c->workers)
			return true;
	}
	return false;
}

struct sweep_count sweep_seeds(const struct sweep *s, unsigned n)
{
	cases_begin(s);
	for (unsigned i = 0; i < nflows * WORKERS_MAX; i++) {
		struct sweep one = *s;
		one.run.flow = &flows[i / WORKERS_MAX];
		one.run.workers = 1 + i % WORKERS_MAX;
		one.run.seed = WORLD_SEED;
		if (!is_drawn(s, &one.run, n) || !cases_find_good(&one))
			continue;
		cases_in_process(run_group, &one.run, s->run.seed, n);
	}
	return (struct sweep_count){shared->runs, shared->failed, shared->rang_on};
}
