/*
 * What is done to a node or to Redis, and what the world does about it: keepalived moves the
 * service address, the process is started again, the network is mended.
 */
#ifndef EAVES_SIM_FAULT_H
#define EAVES_SIM_FAULT_H

#include "tests/sim/flow.h"
#include "tests/sim/node.h"

enum fault_kind {
	FAULT_NONE,
	FAULT_KILL,    /* kill -9, for good */
	FAULT_RESTART, /* kill -9, and started again a second later */
	FAULT_CUT,     /* cut off from everybody for three seconds */
	FAULT_OFF,     /* the machine loses its power, for good */
	FAULT_REBOOT,  /* the same, and it is back five seconds later */
	FAULT_STOP,    /* SIGSTOP for five seconds */
	FAULT_PEERS,   /* cut off from the other nodes alone, for three seconds */
	FAULT_DEAF,    /* nothing reaches it for three seconds */
	FAULT_DUMB,    /* nothing leaves it for three seconds */
	FAULT_DRAIN,   /* SIGTERM, for good */
	FAULT_ROLL,    /* SIGTERM, and started again a second after its end */
	FAULT_WIPE,    /* of Redis: kill -9, its files are lost, started again a second later */
	FAULT_BLINK,   /* SIGSTOP for half a second to two: some take it for dead */
	FAULT_TWIN,    /* cut off from the other member of its pair alone */
	FAULT_SPLIT,   /* it and the members of its side, from those of the other side */
	FAULT_MOVE, /* its pair's address goes to the other member, and nothing else happens */
	FAULT_FORGET, /* of Redis: it keeps nothing of what it says yes to; to be found out */
	FAULT_KINDS
};
const char *fault_name(enum fault_kind k);
/* FAULT_KINDS: there is none of that name. */
enum fault_kind fault_find(const char *name);

/* Whom faults befall: the machines of the nodes, then that of Redis. */
unsigned fault_hosts(void);
struct host *fault_host(unsigned i);
/* It runs, and there is such a fault of it, of which the flow should know nothing. */
bool fault_fits(const struct host *h, enum fault_kind k, const struct flow *f);
/* Now; may be called from within a round, of that node too. */
void fault_apply(struct host *h, enum fault_kind k);
/* Something is to be mended still. */
bool fault_is_open(void);

#endif
