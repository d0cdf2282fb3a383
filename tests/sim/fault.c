/*
 * Faults, and what follows.  The other member has the service address 300 ms later, as measured
 * with keepalived (advertisements every 100 ms); it stays there.
 */
#include "tests/sim/fault.h"

#include "tests/sim/scene.h"
#include "tests/sim/trace.h"

enum { TAKE_OVER_MS = 300, RESTART_MS = 1000, REBOOT_MS = 5000, CUT_MS = 3000, STOP_MS = 5000 };

static const char *const names[FAULT_KINDS] = {"none", "kill",	 "restart", "cut",
					       "off",  "reboot", "stop",    "peers",
					       "deaf", "dumb",	 "drain",   "roll"};

struct cut;
struct repair {
	struct event ev;
	struct node *node;
	const struct cut *cut;
};
static unsigned open_repairs;

const char *fault_name(enum fault_kind k)
{
	return names[k];
}

enum fault_kind fault_find(const char *name)
{
	unsigned k = 0;
	while (k < FAULT_KINDS && strcmp(names[k], name) != 0)
		k++;
	return (enum fault_kind)k;
}

bool fault_is_open(void)
{
	return open_repairs > 0;
}

static struct repair *later(struct node *n, uint32_t ms, void (*run)(struct event *e))
{
	struct repair *r = sim_alloc(sizeof(*r));
	event_init(&r->ev, run);
	r->node = n;
	open_repairs++;
	event_after(&r->ev, USEC_MS(ms));
	return r;
}

static struct node *of(struct event *e)
{
	open_repairs--;
	return container_of(e, struct repair, ev)->node;
}

static void take_over(struct event *e)
{
	struct node *other, *n = of(e);
	const struct pair *p = scene_pair_of(n, &other);
	if (!p || !p->vip || !other || !node_runs(other))
		return;
	struct addr a = addr_of(p->vip, 0);
	if (host_at(&a) != n->host)
		return;
	vip_move(p->vip, other->host);
	trace_note(other->host, "has %s", p->vip);
}

static void start_again(struct event *e)
{
	struct node *n = of(e);
	if (!node_runs(n))
		node_start(n);
}

static void go_on(struct event *e)
{
	node_resume(of(e));
}

static void begin_drain(struct node *n, void *arg)
{
	(void)arg;
	app_drain(n->app);
}

static void drain(struct event *e)
{
	struct node *n = of(e);
	trace_note(n->host, "SIGTERM");
	node_call(n, begin_drain, NULL);
}

static void roll(struct event *e)
{
	struct node *n = of(e);
	if (node_runs(n))
		later(n, RESTART_MS, roll);
	else
		node_start(n);
}

/* A round that is under way comes to its end. */
static void stop(struct event *e)
{
	struct node *n = of(e);
	if (node_runs(n))
		node_pause(n);
}

/* What a cut stops: of which kinds of hosts, which way. */
struct cut {
	bool peers, others, in, out;
};
static const struct cut cuts[FAULT_KINDS] = {
	[FAULT_CUT] = {true, true, true, true},
	[FAULT_PEERS] = {true, false, true, true},
	[FAULT_DEAF] = {true, true, true, false},
	[FAULT_DUMB] = {true, true, false, true},
};

static void cut(struct node *n, const struct cut *c, bool blocked)
{
	trace_note(n->host, blocked ? "CUT OFF" : "connected again");
	for (unsigned i = 0; i < hosts_count(); i++) {
		struct host *h = host_of(i);
		if (h == n->host || !(h->kind == HOST_NODE ? c->peers : c->others))
			continue;
		if (c->in)
			host_block(h, n->host, blocked);
		if (c->out)
			host_block(n->host, h, blocked);
	}
}

static void mend(struct event *e)
{
	const struct cut *c = container_of(e, struct repair, ev)->cut;
	cut(of(e), c, false);
}

/* Whose advertisements are not heard loses the address, also when its own tables are well. */
static void cut_off(struct node *n, enum fault_kind k)
{
	cut(n, &cuts[k], true);
	later(n, CUT_MS, mend)->cut = &cuts[k];
	if (k == FAULT_CUT || k == FAULT_DUMB)
		later(n, TAKE_OVER_MS, take_over);
}

void fault_apply(struct node *n, enum fault_kind k)
{
	switch (k) {
	case FAULT_NONE:
	case FAULT_KINDS:
		return;
	case FAULT_KILL:
	case FAULT_RESTART:
		node_kill(n, false);
		if (k == FAULT_RESTART)
			later(n, RESTART_MS, start_again);
		break;
	case FAULT_OFF:
	case FAULT_REBOOT:
		node_kill(n, true);
		if (k == FAULT_REBOOT)
			later(n, REBOOT_MS, start_again);
		break;
	case FAULT_CUT:
	case FAULT_PEERS:
	case FAULT_DEAF:
	case FAULT_DUMB:
		cut_off(n, k);
		return;
	case FAULT_DRAIN:
	case FAULT_ROLL:
		later(n, 0, drain);
		if (k == FAULT_ROLL)
			later(n, RESTART_MS, roll);
		break;
	case FAULT_STOP:
		later(n, 0, stop);
		later(n, STOP_MS, go_on);
		break;
	}
	later(n, TAKE_OVER_MS, take_over);
}
