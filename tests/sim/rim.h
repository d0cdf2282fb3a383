/*
 * What the parts of the rim share: how something from outside gets into a loop.  The functions
 * of common/loop/loop.h themselves are in rim_loop.c, those of the other headers in the file of
 * that name.
 */
#ifndef EAVES_SIM_RIM_H
#define EAVES_SIM_RIM_H

#include "common/loop/loop.h"
#include "tests/sim/node.h"

struct arena;

/* What waits while the process is paused. */
struct loop_in {
	struct list link;
	void (*run)(struct loop_in *in);
	void (*drop)(struct loop_in *in); /* the process has ended */
};

struct node *loop_node(const struct loop *l);
/* The arena of the loop's thread; as sip_values_use_arena() would be called in it. */
void loop_use_arena(struct loop *l, struct arena *a);
/* True: between this and loop_leave() the code of the loop's thread may be called.  False: the
 * process is paused, loop_defer() is to be used. */
bool loop_enter(struct loop *l);
/* The rest of the round: posted work, timers, hooks. */
void loop_leave(struct loop *l);
void loop_defer(struct loop *l, struct loop_in *in);
/* Something was left for the end of its round, which may not be running (a start).  Aborts
 * when another loop's is: that would be another thread at work in this one's things. */
void loop_touch(struct loop *l);
/* The process has ended. */
void loop_abandon(struct loop *l);
/* It goes on. */
void loop_wake(struct loop *l);

#endif
