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

enum {
	CLUSTER_NODES_MAX = 64,
	CLUSTER_NAME_MAX = 63,
	CLUSTER_PUT_MAX_BYTES = 896 << 10, /* records of one batch; more: -EMSGSIZE */
	CLUSTER_NOTICE_MAX_BYTES = 16 << 10,
	CLUSTER_ADMIN_MAX_BYTES = 1 << 20, /* words and input, or text */
	CLUSTER_ADMIN_WORDS_MAX = 64,
	CLUSTER_ADMIN_CALLS_MAX = 32, /* waiting for a reply */
	CLUSTER_ADMIN_MS = 30000,     /* for a reply at most */
};
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
	/* Records for other nodes are gathered for so long, while there is a partner whose
	 * word is enough; what nobody waits for without one too.  Default 20; 0: not. */
	uint32_t gather_ms;
	/* Between two comparisons of tables; default 2000.  For large tables longer, 5 records
	 * a millisecond; what is known to differ is compared at once. */
	uint32_t compare_ms;
	size_t queue_bytes; /* records waiting for one node at most; default 16 MiB */
	uint64_t boot;	    /* identity of this start, not 0, never used again */
	/* The same at every node: of the digests that are compared, and of the SIP domain (any
	 * hash).  A node of other ones, or whose records have another key, is refused. */
	struct mac_key digest_key;
	uint64_t domain, realm; /* of another realm (any hash) it is told */
};
extern const struct cluster_conf cluster_conf_default;

struct cluster_ops {
	/* To the bus, in the loop's thread.  0 or -errno (bus_send's). */
	int (*send)(void *arg, unsigned node, struct span bytes);
	/* Is this record to be the same here and at `node`?  Both sides must give the same
	 * answer.  Called in the loop's thread, under the lock of a part of the records: by
	 * what it knows and the row (a deletion has no body), without a look at records. */
	bool (*shares)(void *arg, unsigned node, const struct store_row *row);
	/* The same for all nodes at once, a bit a node (self does not matter): where there are
	 * many nodes.  NULL: shares is asked for each. */
	uint64_t (*sharers)(void *arg, const struct store_row *row);
	/* May `node` write this record here, its own or handed on?  No: it is refused, counted
	 * and logged; nor is it a second place for the record, since it could not give it back.
	 * In the loop's thread, without a lock. */
	bool (*may_write)(void *arg, unsigned node, const struct store_row *row);
	/* May this node hand the record on to `node`, as that one's may_write will say?  Asked
	 * as shares is; where comparison finds it missing there.  NULL: all that is shared. */
	bool (*may_offer)(void *arg, unsigned node, const struct store_row *row);
	/* A node has come to life, or died, or begins to drain, or one that was suspected is
	 * not heard of on the bus any more; in the loop's thread.  May be NULL. */
	void (*changed)(void *arg, unsigned node);
	/* A small message of a kind that the engine does not know (cluster_notify), in the
	 * loop's thread.  May be NULL. */
	void (*notice)(void *arg, unsigned node, unsigned kind, struct span body);
	/* An operator at `node` (an edge; a home is refused) asks: words and input as eavesctl
	 * gives them, gone when this returns.  Answer with cluster_admin_reply, then or within
	 * CLUSTER_ADMIN_MS.  In the loop's thread.  May be NULL. */
	void (*admin)(void *arg, unsigned node, uint64_t id, unsigned argc, char **argv,
		      struct span input);
	void *arg;
};

/* Where this node keeps records of its own (SQLite at a home for the directory, Redis at an
 * edge); it outlives the cluster.  When it has no room: a place is done without (it catches up
 * by itself), any other refuses the write. */
struct cluster_below {
	struct store *store;
	/* Which; from any thread, under a lock of the records.  NULL: all. */
	bool (*takes)(void *arg, const struct store_row *row);
	bool is_place; /* what is in it counts as a second place (Redis) */
	void *arg;
};
/* below: may be NULL.  NULL: out of memory or a bad configuration (no boot, a name twice, three
 * of a pair, no shares or may_write). */
struct cluster *cluster_new(struct loop *l, const struct cluster_conf *c,
			    const struct cluster_ops *ops, const struct cluster_below *below);
/* In the loop's thread or when it has ended, with no other thread in the cluster.  Every
 * waiting `done` is called with -EIO, and may do what it likes but write records.  Nothing more
 * is sent or taken in; until cluster_free() what nodes were is still told, and a put, a message
 * or a question is refused with -ENOSPC.  Takes NULL; a second time it does nothing. */
void cluster_end(struct cluster *c);
/* Ends it where it has not ended; nobody has its store any more.  Takes NULL; returns NULL. */
struct cluster *cluster_free(struct cluster *c);
/*
 * The store that records_new() gets.  put: done comes in the loop's thread: 0, when all records
 * of the batch are at one other node (that could give them back), or in a store below that is a
 * place; -EIO, when no node that shares them is there, or none has confirmed in time; -EAGAIN,
 * when a store below has another version of a guarded one (it is not sent then; comparison of
 * tables may still spread it: write anew what is to stand).  -ENOSPC: the loop does not run,
 * the cluster has ended, or the store below is full; -ENOMEM, -EMSGSIZE.  merge, load, expire,
 * flush, backup: the store's below.  free: nothing, the cluster is its owner.
 */
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
/* Nodes introduce themselves on links by TCP, of this version of the bus's protocol on. */
enum { CLUSTER_INTRODUCES = 2, CLUSTER_LISTENERS_MAX = 16 };
/* The version that this program speaks (docs/bus.md). */
unsigned cluster_protocol(void);
/* Alive and taking new calls (not draining). */
bool cluster_serving(const struct cluster *c, unsigned node);
/* The link that SIP takes to a node has broken: it counts as dead until it is heard of anew.
 * That it is not is told by another call of ops->changed. */
void cluster_suspect(struct cluster *c, unsigned node);
/* The other member of a node's pair, or -1. */
int cluster_partner(const struct cluster *c, unsigned node);
/* Since when a node has served without a break, as it says; wall clock, ms; 0: it has not said.
 */
uint64_t cluster_serving_since(const struct cluster *c, unsigned node);
/* When another node that served was last seen to do so no more (it died, or began to drain); as
 * loop_now(); 0: never. */
msec cluster_left_at(const struct cluster *c, unsigned node);
/* Whether the process that the node was before was heard until its connection broke, and we
 * were not away then: all that it told us has come, but for what it had gathered (gather_ms).
 * In the loop's thread.
 */
bool cluster_heard_to_end(const struct cluster *c, unsigned node);
/* Does an edge hear a node on the bus, as the edge's last heartbeat said? */
enum cluster_word {
	CLUSTER_SAID_NOTHING, /* no heartbeat came since the edge lives */
	CLUSTER_NEVER_SAYS,   /* it is of an older version */
	CLUSTER_HEARS,
	CLUSTER_HEARS_NOT,
};
enum cluster_word cluster_word_of(const struct cluster *c, unsigned edge, unsigned node);
/* By name: -1 without one. */
int cluster_node_by_name(const struct cluster *c, struct span name);
/* The node whose present start that is (cluster_conf.boot), as it said; -1: of none. */
int cluster_node_by_boot(const struct cluster *c, uint64_t boot);
/*
 * The member of a pair that gets what is for the pair: the one that has served longer, so that
 * a transaction stays where it is and all nodes say the same; prefer (a node of the pair, or
 * -1) goes first when it serves.  When none serves, one that lives, in the same order.  -1:
 * none lives, or there is no such pair.
 */
int cluster_member(struct cluster *c, struct span pair, int prefer);
/* This node wants no new calls (and back): all are told at once. */
void cluster_set_draining(struct cluster *c, bool draining);
/* Where an edge takes UDP, by listener: the address in short, bit 0: it is here; 0: nowhere. */
void cluster_set_addresses(struct cluster *c, const uint32_t at[CLUSTER_LISTENERS_MAX]);
/* The listeners of an edge, a bit each, whose address has moved to the other one: that serves
 * and says that it has the same address, and the edge that it has not.  *ret_other: that one.
 */
uint32_t cluster_moved(const struct cluster *c, unsigned edge, int *ret_other);
/* It has been away, and its other member was chosen: it serves from now on. */
void cluster_stand_back(struct cluster *c);
/* The same for who was stopped, in the loop's thread.  What others have written meanwhile is
 * not here: none of them is settled before it has been compared with. */
void cluster_was_away(struct cluster *c);
/* What goes with heartbeats: calls under way, CPU use in thousandths of one processor. */
void cluster_set_load(struct cluster *c, uint32_t calls, uint32_t cpu_permille);

/* ---- small messages: from any thread ---- */

/* To one node, or to all that live (node -1): sent once, never repeated.  0, -ENOMEM,
 * -EMSGSIZE, -EINVAL (no such node), -ENOSPC (the loop does not run). */
int cluster_notify(struct cluster *c, int node, unsigned kind, struct span body);
/* The same to one node and without hurry: it goes with what else is for that node, after
 * gather_ms at the latest, and what is told of one kind may arrive as one, bodies joined.  From
 * when the node lives (ops->changed) all that is told arrives, in its order, unless the node is
 * dead in between or queue_bytes are not enough (counters.queue_full). */
int cluster_tell(struct cluster *c, int node, unsigned kind, struct span body);
/* Asks a node for what its eavesctl would say; reply is called once in the loop's thread:
 * status 0 or -errno (-ETIMEDOUT, -EHOSTUNREACH ...) and the text.  Sent once: after -ETIMEDOUT
 * it may have been done.  0, or without a call of reply: -EBUSY (too many wait), -EMSGSIZE,
 * -EINVAL, -ENOMEM, -ENOSPC. */
int cluster_admin_call(struct cluster *c, unsigned node, unsigned argc, char *const *argv,
		       struct span input,
		       void (*reply)(void *arg, int status, struct span text), void *arg);
/* status: 0 or -errno.  A text that is too long becomes -EMSGSIZE. */
void cluster_admin_reply(struct cluster *c, unsigned node, uint64_t id, int status,
			 struct span text);

struct cluster_counters {
	uint64_t batches_sent, batches_received, records_sent, records_received;
	uint64_t repeated;	  /* batches, for want of an acknowledgement */
	uint64_t refused_records; /* from others: not theirs, absurd */
	uint64_t bad_messages;	  /* damaged, of another cluster, or more than allowed */
	uint64_t compared;	  /* groups of parts of tables */
	uint64_t repaired_sent, repaired_received; /* records, by comparison */
	uint64_t queue_full; /* times that a queue for a node was dropped, or a put refused */
	uint64_t alone;	     /* batches whose yes left without a second place */
	uint64_t waiting;    /* now: batches without their second place yet */
};
/* A copy, read relaxed. */
struct cluster_counters cluster_counters(const struct cluster *c);
/* Of one node: whether it lives, what waits for it, how long ago it was heard (ms), its load.
 */
struct cluster_node_state {
	bool alive, draining, other_realm;
	bool suspected; /* not alive for that alone: it is heard of on the bus */
	bool settled;	/* compared, and all that differed and is to be had of it has come */
	bool equal;	/* and when last compared the tables were the same */
	/* Records that one of the two lacks and the other may not give it (ops->may_offer). */
	uint64_t withheld;
	uint64_t queued_bytes;
	uint64_t silent_ms; /* UINT64_MAX: never heard */
	uint64_t
		unpersisted; /* batches that it has taken and not reported to be in its store */
	uint32_t calls, cpu_permille, version;
	uint64_t boot; /* of its present start, as it said last; 0: never heard */
	/* So far its clock is ahead of ours at least, or behind it; 0: by less than a message
	 * takes.  Unknown: it has not said enough yet, or is of an older version. */
	int64_t clock_ms;
};
#define CLUSTER_CLOCK_UNKNOWN INT64_MIN
void cluster_node_state(const struct cluster *c, unsigned node, struct cluster_node_state *ret);

#endif
