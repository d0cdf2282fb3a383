/*
 * Nodes: the product's code from common/app up, one `struct app` each, started, killed, paused
 * and started again.  A node lives on a host; its loops are driven by the queue of events, in
 * one thread.  What a node sees of the world is the rim (rim_*.c).
 */
#ifndef EAVES_SIM_NODE_H
#define EAVES_SIM_NODE_H

#include "common/app/app_priv.h"
#include "tests/sim/host.h"

#include <stdio.h>

enum { NODES_MAX = 48, NODE_LOOPS_MAX = 8 };

/* What ends with the process: sockets, what is on its way to a disk. */
struct node_part {
	struct list link;
	/* silent: the machine is gone too, so nobody hears of it. */
	void (*kill)(struct node_part *p, bool silent);
};

struct node {
	struct host *host;
	unsigned index;
	char *conf; /* YAML */
	bool has_role[APP_ROLE_COUNT];
	struct app *app; /* NULL: not running */
	bool paused;
	usec paused_at;
	bool ended;	  /* its main loop was stopped: the process ends with this round */
	bool mute;	  /* it dies at the end of this round: nothing leaves it any more */
	bool mute_silent; /* and its machine with it */
	unsigned boots;
	uint64_t mono_base_ms; /* of this boot of its machine */
	struct rng rng;
	struct list parts;
	struct loop *loop[NODE_LOOPS_MAX];
	unsigned nloops;
	struct disk *disk; /* outlives the process */
	struct app *dead[16];
	uint64_t warnings;  /* lines of the log at level warn or error */
	uint64_t held_once; /* of these: a registration is in no second place */
};

void nodes_init(uint64_t seed);
/* conf is copied. */
struct node *node_new(struct host *h, bool edge, bool home, const char *conf);
unsigned nodes_count(void);
struct node *node_of(unsigned index);
struct node *node_on(const struct host *h);
/* Whose code runs now; NULL: nobody's. */
struct node *node_current(void);
void node_set_current(struct node *n);

/* Ends the world with a message when the product refuses to start. */
void node_start(struct node *n);
/* kill -9; silent: power off.  Within a round of its own: at the end of it, and nothing leaves
 * the node from now on. */
void node_kill(struct node *n, bool silent);
void node_pause(struct node *n);
void node_resume(struct node *n);
static inline bool node_runs(const struct node *n)
{
	return n->app != NULL;
}
static inline bool node_is_mute(void)
{
	struct node *n = node_current();
	return n && n->mute;
}
void node_add_part(struct node_part *p);

/* A piece of the product's code called as if from the node's main thread. */
void node_call(struct node *n, void (*fn)(struct node *n, void *arg), void *arg);

/* Requests without a final answer, and transactions, that a node holds. */
uint64_t node_unanswered(const struct node *n);
uint64_t node_transactions(const struct node *n);

/* The log of the nodes: as it happens, from this level on. */
void node_log_to(FILE *out, enum log_level level);

#endif
