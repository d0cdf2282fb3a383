/*
 * Faults, and what follows.  The other member has the service address 300 ms later, as measured
 * with keepalived (advertisements every 100 ms); it stays there.
 */
#include "tests/sim/fault.h"

#include "tests/sim/redis.h"
#include "tests/sim/scene.h"
#include "tests/sim/trace.h"

#include <string.h>

enum {
	TAKE_OVER_MS = 300,
	TAKE_OVER_SILENT_MS = 700,
	RESTART_MS = 1000,
	REBOOT_MS = 5000,
	CUT_MS = 3000,
	STOP_MS = 5000,
	BLINK_MS = 450,
	BLINK_MORE_MS = 1600, /* at most */
	NOTICED_MS = 550,     /* deploy/health.py has had no answer */
	TOLD_MS = 10,
};

static const char *const names[FAULT_KINDS] = {
	"none", "kill",	 "restart", "cut",  "off",   "reboot", "stop",	"peers", "deaf",
	"dumb", "drain", "roll",    "wipe", "blink", "twin",   "split", "move",	 "forget"};

struct cut;
struct repair {
	struct event ev;
	struct host *host;
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

/* ---- nodes and Redis alike ---- */

unsigned fault_hosts(void)
{
	return nodes_count() + (redis_host() != NULL);
}

struct host *fault_host(unsigned i)
{
	return i < nodes_count() ? node_of(i)->host : redis_host();
}

static bool is_redis(const struct host *h)
{
	return h == redis_host();
}

static bool runs(const struct host *h)
{
	return is_redis(h) ? redis_runs() : node_runs(node_on(h));
}

/* When; what is on the way from a home to the other edge in that moment may be lost with it. */
static usec edge_lost;

static bool node_fits(const struct node *n, enum fault_kind k, const struct flow *f)
{
	if (f->phones == FLOW_MOVING && n->has_role[APP_EDGE] &&
	    (k == FAULT_CUT || k == FAULT_STOP || k == FAULT_BLINK || k == FAULT_PEERS ||
	     k == FAULT_DUMB || k == FAULT_OFF || k == FAULT_REBOOT))
		return false;
	if (f->phones == FLOW_EDGE_LOST &&
	    (!n->has_role[APP_HOME] || !edge_lost || sim_now() < edge_lost + USEC_MS(TOLD_MS)))
		return false;
	if (k == FAULT_OFF || k == FAULT_REBOOT)
		return true;
	if (k == FAULT_PEERS)
		return !(f->phones == FLOW_STRAIGHT && n->has_role[APP_HOME]);
	return k != FAULT_WIPE;
}

bool fault_fits(const struct host *h, enum fault_kind k, const struct flow *f)
{
	if (k == FAULT_FORGET)
		return is_redis(h);
	if (!runs(h))
		return false;
	return is_redis(h) ? k != FAULT_DRAIN && k != FAULT_ROLL && k != FAULT_TWIN &&
				     k != FAULT_SPLIT && k != FAULT_MOVE
			   : node_fits(node_on(h), k, f);
}

static void kill_now(struct host *h, bool silent)
{
	if (is_redis(h))
		redis_kill(silent);
	else
		node_kill(node_on(h), silent);
}

/* ---- what follows ---- */

static struct repair *later(struct host *h, uint32_t ms, void (*run)(struct event *e))
{
	struct repair *r = sim_alloc(sizeof(*r));
	event_init(&r->ev, run);
	r->host = h;
	open_repairs++;
	event_after(&r->ev, USEC_MS(ms));
	return r;
}

static struct host *of(struct event *e)
{
	open_repairs--;
	return container_of(e, struct repair, ev)->host;
}

static void take_over(struct event *e)
{
	struct node *other, *n = node_on(of(e));
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
	struct host *h = of(e);
	if (runs(h))
		return;
	if (is_redis(h))
		redis_start(false);
	else
		node_start(node_on(h));
}

static void start_empty(struct event *e)
{
	(void)of(e);
	redis_start(true);
}

static void go_on(struct event *e)
{
	struct host *h = of(e);
	if (is_redis(h))
		redis_resume();
	else
		node_resume(node_on(h));
}

static void begin_drain(struct node *n, void *arg)
{
	(void)arg;
	app_drain(n->app);
}

static void drain(struct event *e)
{
	struct node *n = node_on(of(e));
	trace_note(n->host, "SIGTERM");
	node_call(n, begin_drain, NULL);
}

static void roll(struct event *e)
{
	struct node *n = node_on(of(e));
	if (node_runs(n))
		later(n->host, RESTART_MS, roll);
	else
		node_start(n);
}

/* A round that is under way comes to its end. */
static void stop(struct event *e)
{
	struct host *h = of(e);
	if (!runs(h))
		return;
	if (is_redis(h))
		redis_pause();
	else
		node_pause(node_on(h));
}

/* What a cut stops: of which kinds of hosts, which way. */
struct cut {
	bool peers, others, in, out, twin, split;
};
static const struct cut cuts[FAULT_KINDS] = {
	[FAULT_CUT] = {true, true, true, true},
	[FAULT_PEERS] = {true, false, true, true},
	[FAULT_DEAF] = {true, true, true, false},
	[FAULT_DUMB] = {true, true, false, true},
	[FAULT_TWIN] = {true, false, true, true, true},
	[FAULT_SPLIT] = {true, false, true, true, false, true},
};

/* "h1a" and "e1" are of one side. */
static unsigned side_of(const struct host *h)
{
	char last = h->name[strlen(h->name) - 1];
	return last == 'b' || last == '2';
}

static void split(struct host *at, bool blocked)
{
	for (unsigned i = 0; i < hosts_count(); i++)
		for (unsigned k = 0; k < hosts_count(); k++) {
			struct host *a = host_of(i), *b = host_of(k);
			if (a->kind == HOST_NODE && b->kind == HOST_NODE && !is_redis(a) &&
			    !is_redis(b) && side_of(a) != side_of(b))
				host_block(a, b, blocked);
		}
	(void)at;
}

static void cut(struct host *at, const struct cut *c, bool blocked)
{
	struct node *other = NULL;
	if (c->twin)
		scene_pair_of(node_on(at), &other);
	if (c->split) {
		trace_note(at, blocked ? "SPLIT" : "whole again");
		split(at, blocked);
		return;
	}
	trace_note(at, blocked ? "CUT OFF" : "connected again");
	for (unsigned i = 0; i < hosts_count(); i++) {
		struct host *h = host_of(i);
		if (c->twin && (!other || h != other->host))
			continue;
		if (h == at || !(h->kind == HOST_NODE ? c->peers : c->others))
			continue;
		if (c->in)
			host_block(h, at, blocked);
		if (c->out)
			host_block(at, h, blocked);
	}
}

static void mend(struct event *e)
{
	const struct cut *c = container_of(e, struct repair, ev)->cut;
	cut(of(e), c, false);
}

/* Whose advertisements are not heard loses the address, also when its own tables are well. */
static void cut_off(struct host *h, enum fault_kind k)
{
	cut(h, &cuts[k], true);
	later(h, CUT_MS, mend)->cut = &cuts[k];
	if ((k == FAULT_CUT || k == FAULT_DUMB) && !is_redis(h))
		later(h, TAKE_OVER_MS, take_over);
}

static void blink(struct host *h)
{
	uint32_t ms = BLINK_MS + (uint32_t)rng_below(hosts_rng(), BLINK_MORE_MS);
	later(h, 0, stop);
	later(h, ms, go_on);
	if (ms > NOTICED_MS && !is_redis(h))
		later(h, NOTICED_MS, take_over);
}

void fault_apply(struct host *h, enum fault_kind k)
{
	if (!is_redis(h) && node_on(h)->has_role[APP_EDGE])
		edge_lost = sim_now();
	switch (k) {
	case FAULT_NONE:
	case FAULT_KINDS:
		return;
	case FAULT_KILL:
	case FAULT_RESTART:
		kill_now(h, false);
		if (k == FAULT_RESTART)
			later(h, RESTART_MS, start_again);
		break;
	case FAULT_OFF:
	case FAULT_REBOOT:
		kill_now(h, true);
		if (k == FAULT_REBOOT)
			later(h, REBOOT_MS, start_again);
		break;
	case FAULT_CUT:
	case FAULT_PEERS:
	case FAULT_DEAF:
	case FAULT_DUMB:
	case FAULT_TWIN:
	case FAULT_SPLIT:
		cut_off(h, k);
		return;
	case FAULT_WIPE:
		kill_now(h, false);
		later(h, RESTART_MS, start_empty);
		break;
	case FAULT_FORGET:
		redis_forget();
		return;
	case FAULT_DRAIN:
	case FAULT_ROLL:
		later(h, 0, drain);
		if (k == FAULT_ROLL)
			later(h, RESTART_MS, roll);
		break;
	case FAULT_BLINK:
		blink(h);
		return;
	case FAULT_MOVE:
		later(h, 0, take_over);
		return;
	case FAULT_STOP:
		later(h, 0, stop);
		later(h, STOP_MS, go_on);
		break;
	}
	bool silent =
		k == FAULT_OFF || k == FAULT_REBOOT; /* keepalived waits for its adverts */
	if (!is_redis(h))
		later(h, silent ? TAKE_OVER_SILENT_MS : TAKE_OVER_MS, take_over);
}
