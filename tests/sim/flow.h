/*
 * The flows: which phones there are, what they do by themselves, and what sets it going.
 */
#ifndef EAVES_SIM_FLOW_H
#define EAVES_SIM_FLOW_H

#include "tests/sim/scene.h"

#include <stdbool.h>

/* What is not asked of a flow because of its phones. */
enum flow_phones {
	FLOW_DATAGRAMS,
	/* A machine that dies without a word is noticed by its phones only after their next
	 * ping.
	 */
	FLOW_STREAMS,
	/* And phones are straight at a home, and others who take part are not, or several
	 * devices are called: what that home takes while no other node reaches it, and it does
	 * not know so yet, is not promised (docs/cluster.md, "Known gaps"). */
	FLOW_STRAIGHT,
	/* A phone connects anew while it is called.  An edge that says no more just then has a
	 * connection that nobody else knows of, who could tell the phone (docs/cluster.md,
	 * "Phones that do not know"): it waits for its own timers.  In a cluster alone: one
	 * server has no other flow for what follows an INVITE (RFC 5626 5.3).  Not drawn by
	 * seeds: it is a fault already, of a third place. */
	FLOW_MOVING,
	/* An edge is lost in the flow: faults are of homes, after that; in clusters, and not by
	 * seeds. */
	FLOW_EDGE_LOST,
};

enum flow_how {
	/* The second member of each pair is there first, and serves what is for the pair, while
	 * the first one has the address. */
	FLOW_SECOND_FIRST = 1 << 0,
	/* A flow above, by other ways: what Redis and homes that have no part in it have to do
	 * with it has been asked there (sweeps, --brief). */
	FLOW_AGAIN = 1 << 1,
	/* Of a cluster, and played when it is asked for by name alone: it takes long, or is for
	 * some faults. */
	FLOW_APART = 1 << 2,
	/* All messages of the bus are boundaries. */
	FLOW_BUS = 1 << 3,
};

struct flow {
	const char *name;
	void (*setup)(void); /* users and phones */
	void (*go)(void);
	enum flow_phones phones;
	unsigned how; /* enum flow_how */
};
extern const struct flow flows[];
extern const unsigned nflows;
const struct flow *flow_find(const char *name);
/* Those that seeds draw: the first ones. */
unsigned flows_drawn(void);
/* Is it one of that scene, and not apart? */
bool flow_fits(const struct flow *f, enum scene_kind kind);

#endif
