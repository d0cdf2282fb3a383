/*
 * Life and death of nodes.
 */
#include "tests/sim/node.h"

#include "common/base/counter.h"
#include "common/stack/stack_priv.h"
#include "tests/sim/disk.h"
#include "tests/sim/rim.h"
#include "tests/sim/trace.h"

#include <assert.h>
#include <stdlib.h>

/* The linker's list of the roles in this program (APP_ROLE). */
extern const struct app_role *const __start_app_roles[];
extern const struct app_role *const __stop_app_roles[];

static struct node *node[NODES_MAX];
static unsigned nnodes;
static struct node *current;
static uint64_t seed;
static struct list dead_parts;

void nodes_init(uint64_t run_seed)
{
	seed = run_seed;
	list_init(&dead_parts);
}

struct node *node_new(struct host *h, bool edge, bool home, const char *conf)
{
	struct node *n = sim_alloc(sizeof(*n));
	assert(nnodes < NODES_MAX);
	n->host = h;
	n->index = nnodes;
	n->conf = strdup(conf);
	n->has_role[APP_EDGE] = edge;
	n->has_role[APP_HOME] = home;
	n->disk = disk_new();
	list_init(&n->parts);
	node[nnodes++] = n;
	return n;
}

unsigned nodes_count(void)
{
	return nnodes;
}

struct node *node_of(unsigned index)
{
	return index < nnodes ? node[index] : NULL;
}

struct node *node_on(const struct host *h)
{
	for (unsigned i = 0; i < nnodes; i++)
		if (node[i]->host == h)
			return node[i];
	return NULL;
}

struct node *node_current(void)
{
	return current;
}

void node_set_current(struct node *n)
{
	current = n;
}

void node_add_part(struct node_part *p)
{
	list_append(&current->parts, &p->link);
}

static void refuse(const struct node *n, const char *why)
{
	fprintf(stderr, "sim: %s does not start: %s\n", n->host->name, why);
	exit(2);
}

static void choose_roles(struct node *n, struct app *a)
{
	for (const struct app_role *const *r = __start_app_roles; r < __stop_app_roles; r++)
		if (n->has_role[(*r)->kind])
			a->role[(*r)->kind] = *r;
}

static void give_arenas(struct app *a)
{
	loop_use_arena(a->loop, &a->arena);
	for (unsigned i = 0; i < a->nworkers; i++)
		loop_use_arena(stack_loop(a->worker[i].view.stack),
			       &a->worker[i].view.stack->arena);
}

void node_start(struct node *n)
{
	char error[APP_ERROR_MAX] = "";
	struct arena *before = sip_arena();
	struct app *a = sim_alloc(sizeof(*a));
	assert(!n->app && !current);
	struct conf *c = conf_parse(n->host->name, span_str(n->conf), error);
	if (!c)
		refuse(n, error);
	n->rng = rng_of(seed, 1000 + 100 * n->index + n->boots);
	if (n->boots++ == 0 || !n->host->powered)
		n->mono_base_ms = 1000 + rng_below(&n->rng, 1u << 30) - sim_now() / 1000;
	n->host->powered = true;
	n->mute = n->paused = n->ended = false;
	n->nloops = 0;
	a->program = n->host->name;
	a->conf = app_conf_new(c);
	choose_roles(n, a);
	current = n;
	if (app_setup(a, error) < 0 || app_serve_start(a, error) < 0)
		refuse(n, error);
	if (a->nodes)
		cluster_start(a->nodes->cluster); /* as its thread begins */
	give_arenas(a);
	app_addresses_start(a);
	n->app = a;
	current = NULL;
	sip_values_use_arena(before);
	trace_note(n->host, "started");
}

/* Its memory is kept, out of reach of anybody: who dies by kill -9 frees nothing. */
void node_kill(struct node *n, bool silent)
{
	if (!n->app)
		return;
	if (current == n) {
		n->mute = true;
		n->mute_silent = silent;
		return;
	}
	trace_note(n->host, silent ? "POWER OFF" : n->ended ? "ENDED" : "KILLED");
	n->mute = true;
	if (silent)
		n->host->powered = false;
	list_for_each_safe (it, &n->parts) {
		struct node_part *p = container_of(it, struct node_part, link);
		list_remove(it);
		list_append(&dead_parts, it);
		p->kill(p, silent);
	}
	for (unsigned i = 0; i < n->nloops; i++)
		loop_abandon(n->loop[i]);
	n->nloops = 0;
	n->dead[n->boots % 16] = n->app;
	n->app = NULL;
	n->paused = false;
}

void node_pause(struct node *n)
{
	assert(current != n);
	trace_note(n->host, "STOPPED");
	n->paused = true;
	n->paused_at = sim_now();
}

void node_resume(struct node *n)
{
	if (!n->paused)
		return;
	trace_note(n->host, "CONTINUED");
	n->paused = false;
	for (unsigned i = 0; i < n->nloops; i++)
		loop_wake(n->loop[i]);
}

void node_call(struct node *n, void (*fn)(struct node *n, void *arg), void *arg)
{
	if (!n->app || !loop_enter(n->app->loop))
		return;
	fn(n, arg);
	loop_leave(n->app->loop);
}

uint64_t node_unanswered(const struct node *n)
{
	uint64_t sum = 0;
	for (unsigned i = 0; n->app && i < n->app->nworkers; i++)
		sum += proxy_counters(stack_proxy(n->app->worker[i].view.stack))->unanswered;
	return sum;
}

uint64_t node_transactions(const struct node *n)
{
	uint64_t sum = 0;
	for (unsigned i = 0; n->app && i < n->app->nworkers; i++)
		sum += stack_txn_counters(n->app->worker[i].view.stack)->live;
	return sum;
}
