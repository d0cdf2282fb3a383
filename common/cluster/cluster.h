/*
 * The cluster as one node sees it: which nodes live, and replication of records (see
 * docs/cluster.md).  It is an engine without sockets: bytes come and go by cluster_receive()
 * and ops->send, time by the loop's wheel.  It runs in the thread of one loop (the bus's); what
 * is marked so may be called from any thread.
 *
 * To common/records it is a store: what this node writes is sent to the nodes that share it,
 * and `done` is called when the record is in a second place.
 */
#ifndef EAVES_CLUSTER_CLUSTER_H
#define EAVES_CLUSTER_CLUSTER_H

#include "common/base/mac.h"
#include "common/loop/loop.h"
#include "common/records/records.h"
#include "common/store/store.h"

struct cluster;

enum { CLUSTER_NODES_MAX = 64, CLUSTER_NAME_MAX = 63 };
enum cluster_role { CLUSTER_EDGE, CLUSTER_HOME };

struct cluster_node {
	char name[CLUSTER_NAME_MAX + 1];
	char pair[CLUSTER_NAME_MAX + 1];
	enum cluster_role role;
};

struct cluster_conf {
	unsigned self; /* index of this node */
	unsigned n;
	struct cluster_node node[CLUSTER_NODES_MAX];
	uint32_t heartbeat_ms;	  /* default 250 */
	uint32_t dead_ms;	  /* nothing heard for so long: dead; default 750 */
	uint32_t second_place_ms; /* longest wait for a second place; default 1000 */
	uint32_t compare_ms;	  /* between two comparisons of tables; default 2000 */
	size_t queue_bytes;	  /* records waiting for one node at most; default 16 MiB */
	uint64_t boot;		  /* identity of this start, not 0 */
	struct mac_key
		digest_key; /* the same at every node: of the digests that are compared */
};
extern const struct cluster_conf cluster_conf_default;

/* From any thread but where it says otherwise: the functions see immutable things and records.
 */
struct cluster_ops {
	/* To the bus, in the loop's thread.  0 or -errno (bus_send's). */
	int (*send)(void *arg, unsigned node, struct span bytes);
	/* Is this record to be the same here and at `node`?  Both sides must give the same
	 * answer.
	 */
	bool (*shares)(void *arg, unsigned node, const struct store_row *row);
	/* May `node` write this record here?  No: it is refused, counted and logged. */
	bool (*may_write)(void *arg, unsigned node, const struct store_row *row);
	/* A node has come to life, or died, or begins to drain; in the loop's thread. */
	void (*changed)(void *arg, unsigned node);
	/* A small message of a kind that the engine does not know (cluster_notify), in the
	 * loop's thread.  May be NULL. */
	void (*notice)(void *arg, unsigned node, unsigned kind, struct span body);
	/* An operator at `node` (an edge) asks: words and input as eavesctl gives them.  Answer
	 * with cluster_admin_reply, then or later.  In the loop's thread.  May be NULL. */
	void (*admin)(void *arg, unsigned node, uint64_t id, unsigned argc, char **argv,
		      struct span input);
	void *arg;
};

/* records: given by cluster_attach().  below: where this node keeps records of its own (SQLite
 * at a home for the directory, Redis at an edge), or NULL; it outlives the cluster.
 * below_takes: which (NULL: all).  below_is_place: what is in it counts as a second place
 * (Redis).  NULL: out of memory or a bad configuration. */
struct cluster_below {
	struct store *store;
	bool (*takes)(void *arg, const struct store_row *row);
	bool is_place;
	void *arg;
};
struct cluster *cluster_new(struct loop *l, const struct cluster_conf *c,
			    const struct cluster_ops *ops, const struct cluster_below *below);
/* Every waiting `done` is called with -EIO.  Takes NULL; returns NULL. */
struct cluster *cluster_free(struct cluster *c);
/* The store that records_new() gets. */
struct store *cluster_store(struct cluster *c);
/* Before cluster_start(). */
void cluster_attach(struct cluster *c, struct records *r);
/* Begins to speak; in the loop's thread, or before it runs. */
void cluster_start(struct cluster *c);

/* ---- from the bus, in the loop's thread ---- */
void cluster_receive(struct cluster *c, unsigned node, struct span bytes);
void cluster_connected(struct cluster *c, unsigned node, bool up);

/* ---- nodes: from any thread ---- */

unsigned cluster_nodes(const struct cluster *c, const struct cluster_node **ret_nodes);
unsigned cluster_self(const struct cluster *c);
/* Heard of within dead_ms over a connection that is up.  Self: true. */
bool cluster_alive(const struct cluster *c, unsigned node);
/* Alive and taking new calls (not draining). */
bool cluster_serving(const struct cluster *c, unsigned node);
/* The link that SIP takes to a node has broken: it counts as dead until it is heard of anew. */
void cluster_suspect(struct cluster *c, unsigned node);
/* The other member of a node's pair, or -1. */
int cluster_partner(const struct cluster *c, unsigned node);
/* By name: -1 without one. */
int cluster_node_by_name(const struct cluster *c, struct span name);
/*
 * The member of a pair that gets what is for the pair: the same one as long as it lives, so
 * that a transaction stays where it is; prefer (a node, or -1) goes first when it lives.  -1:
 * none lives, or there is no such pair.
 */
int cluster_member(struct cluster *c, struct span pair, int prefer);
/* From the next heartbeat on this node wants no new calls (and back). */
void cluster_set_draining(struct cluster *c, bool draining);
/* What goes with heartbeats: calls under way, CPU use in thousandths, and whether all is well.
 */
void cluster_set_load(struct cluster *c, uint32_t calls, uint32_t cpu_permille);

/* ---- small messages: from any thread ---- */

/* To one node, or to all that live (node -1): sent once, never repeated.  0, -ENOMEM,
 * -EMSGSIZE. */
int cluster_notify(struct cluster *c, int node, unsigned kind, struct span body);
/* Asks a home for what its eavesctl would say; reply is called once in the loop's thread:
 * status 0 or -errno (-ETIMEDOUT, -EHOSTUNREACH ...) and the text. */
int cluster_admin_call(struct cluster *c, unsigned node, unsigned argc, char *const *argv,
		       struct span input,
		       void (*reply)(void *arg, int status, struct span text), void *arg);
void cluster_admin_reply(struct cluster *c, unsigned node, uint64_t id, int status,
			 struct span text);

struct cluster_counters {
	uint64_t batches_sent, batches_received, records_sent, records_received, repeated,
		refused_records, bad_messages, compared, repaired_sent, repaired_received,
		queue_full, alone; /* alone: a yes that left without a second place */
	uint64_t waiting;	   /* now: records without their second place yet */
};
/* A copy, read relaxed. */
struct cluster_counters cluster_counters(const struct cluster *c);
/* Of one node: whether it lives, what waits for it, how long ago it was heard (ms), its load.
 */
struct cluster_node_state {
	bool alive, draining, equal; /* equal: tables were the same at the last comparison */
	uint64_t queued_bytes, silent_ms;
	uint32_t calls, cpu_permille, version;
};
void cluster_node_state(const struct cluster *c, unsigned node, struct cluster_node_state *ret);

#endif
