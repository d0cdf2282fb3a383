/*
 * For the files of common/cluster alone.  Everything here is the loop's thread's, but for what
 * is atomic and where it says otherwise.
 */
#ifndef EAVES_CLUSTER_PRIV_H
#define EAVES_CLUSTER_PRIV_H

#include "common/base/arena.h"
#include "common/base/counter.h"
#include "common/base/list.h"
#include "common/base/log.h"
#include "common/cluster/cluster.h"
#include "common/cluster/peer.h"
#include "common/cluster/wire.h"
#include "proto/cluster.pb-c.h"

#include <pthread.h>
#include <stdatomic.h>

/* docs/bus.md.  Tests of clusters of mixed versions build one with another. */
#ifndef CLUSTER_VERSION
#define CLUSTER_VERSION 2
#endif
enum { WIRE_VERSION = CLUSTER_VERSION, WIRE_OLDEST = 1 };

/* ---- records on their way: place.c ---- */

enum below_state { BELOW_NONE, BELOW_PENDING, BELOW_KEPT, BELOW_FAILED, BELOW_CONFLICT };

/* What one put has written, encoded once, with who waits for it.  In memory once, however many
 * nodes it is for. */
struct unit {
	struct item item, below_item;
	struct list link; /* of those that wait */
	struct gate *gate;
	void (*done)(void *arg, int error); /* NULL: nobody waits, or any more */
	void *arg;
	msec due;
	uint64_t places; /* nodes that may yet confirm all of it */
	uint64_t given;	 /* nodes that it was sent to */
	uint32_t refs;	 /* the loop's; one is the store's below while it owes an answer */
	uint32_t bytes;	 /* of the allocation */
	uint16_t n;
	uint8_t below, answer; /* enum below_state: as known, and as just told */
	bool below_all;	       /* it was given all of it */
	bool guarded, held, started;
	bool below_holds; /* guarded: a store below that is a place has it */
	bool rest;	  /* others than `given` get it when it is safe */
	char data[];	  /* n times: uint32_t length, Row */
};

/* Two members, or one and -1. */
struct pair {
	int member[2];
};

enum log_what { LOG_BAD, LOG_REFUSED, LOG_FULL, LOG_ALONE, LOG_STRANGER, LOG_WHATS };

struct cluster {
	struct store store; /* first: what records know */
	struct loop *loop;
	struct gate *gate;
	struct cluster_conf conf;
	struct cluster_ops ops;
	struct cluster_below below;
	struct records *records;
	bool started, ending;
	uint64_t identity;    /* of domain and keys: Hello.domain */
	_Atomic uint64_t now; /* of the loop, for other threads */
	msec late_at;	      /* when we last had been away for dead_ms; 0: never */

	_Atomic(struct item *) inbox;
	atomic_size_t inbox_bytes;

	struct pair pair[CLUSTER_NODES_MAX];
	unsigned npairs;
	atomic_uint calls, cpu_permille;
	_Atomic uint64_t serving_ms; /* wall clock: since when */
	atomic_bool draining;
	_Atomic uint32_t
		at[CLUSTER_LISTENERS_MAX]; /* an edge's addresses: cluster_set_addresses */
	struct wheel_timer heartbeat;

	struct wheel_timer gather_timer;

	struct list waiting; /* units, by the time they wait until */
	struct list asking;  /* those that wait for the word of the store below first */
	struct wheel_timer waiting_timer;

	uint64_t compare_nodes[GROUPS]; /* Digests to be sent */
	struct wheel_timer compare_timer;
	msec slow_next;
	unsigned slow_group, step_turn, pull_turn;
	uint64_t next_id;
	uint64_t (*digest)[GROUP_DIGESTS]; /* by node */
	struct buffer have, rows, refs;

	struct list calls_out, calls_in;
	atomic_uint ncalls;
	struct wheel_timer calls_timer;

	struct arena arena; /* of the message that is read */
	struct buffer out;  /* the message that is written */
	struct log_limit logged[LOG_WHATS];
	struct cluster_counters counters;
	struct peer *peer; /* by node */
};

static inline uint64_t bit(unsigned i)
{
	return UINT64_C(1) << i;
}
/* NULL: ourselves, or no such node. */
static inline struct peer *peer_of(struct cluster *c, unsigned node)
{
	return node < c->conf.n && node != c->conf.self ? &c->peer[node] : NULL;
}

/* inbox.c */
struct gate *gate_new(struct cluster *c);
void gate_ref(struct gate *g);
void gate_unref(struct gate *g);
/* From any thread: the function of that work is called once in the loop's thread. */
void gate_post(struct cluster *c, unsigned work);
/* From any thread, with a reference that ends here: hands the item over; when the cluster has
 * gone it is run with NULL, to be freed. */
void gate_answer(struct gate *g, struct item *it);
/* From any thread. */
void cluster_hand(struct cluster *c, struct item *it);
void cluster_inbox(struct cluster *c);
/* Room for bytes that are handed over: 0 or -ENOSPC; given back in the loop's thread. */
int cluster_reserve(struct cluster *c, size_t n);
void cluster_unreserve(struct cluster *c, size_t n);

/* nodes.c */
bool pair_add(struct cluster *c, unsigned node);

/* live.c */
void cluster_live_init(struct cluster *c);
void live_start(struct cluster *c);
void live_end(struct cluster *c);
void live_speak_all(struct cluster *c);
/* We have been away ourselves for dead_ms, and not said a word since. */
bool live_is_late(const struct cluster *c);
void live_speak(struct peer *p);
void live_heard(struct peer *p);
bool live_hello(struct peer *p, uint64_t boot, const Eaves__Hello *h);
void live_back(struct peer *p, const Eaves__Heartbeat *h);
void live_heartbeat(struct peer *p, const Eaves__Heartbeat *h);
void live_stranger(struct peer *p, const char *why);
struct log_field log_node(const struct peer *p);
bool cluster_may_log(struct cluster *c, enum log_what what); /* once a second */

/* clock.c */
void clock_heard(struct peer *p, const Eaves__Heartbeat *h);
/* Nothing is known of it any more, but what was told. */
void clock_forget(struct peer *p);

/* place.c */
extern const struct store_ops cluster_store_ops;
void place_init(struct cluster *c);
void place_end(struct cluster *c);
struct unit *unit_ref(struct unit *u);
void unit_unref(struct unit *u);
/* The row at *at, which moves on to the next. */
ProtobufCBinaryData unit_row(const struct unit *u, size_t *at);
/* The caller has a reference. */
void place_confirmed(struct cluster *c, struct unit *u, unsigned node);
void place_lost(struct cluster *c, struct unit *u, unsigned node);
/* Those of the nodes, a bit each, that share the row. */
uint64_t cluster_sharers(const struct cluster *c, const struct store_row *row, uint64_t among);

/* send.c */
void send_init(struct cluster *c);
void send_stop(struct cluster *c);
/* A new stream, with nothing in it. */
void send_restart(struct peer *p);
void send_end(struct peer *p);
/* It leaves at once, or when more has gathered.  False: the queue was full, and is dropped,
 * without this one. */
bool send_add(struct peer *p, struct unit *u, bool at_once);
/* What waits leaves in that time at the latest. */
void send_within(struct peer *p, uint32_t ms);
void send_flush(struct peer *p);
/* What is due, and acknowledgements. */
void send_due(struct cluster *c);
bool send_acked(struct peer *p, const Eaves__Ack *a);

/* receive.c */
void receive_init(struct cluster *c);
void receive_end(struct cluster *c);
void receive_restart(struct peer *p);
/* It has said something else since its last batch. */
void receive_quiet(struct peer *p);
bool receive_ack(const struct peer *p, Eaves__Ack *ret);
/* How many were new, or -errno (not all were taken). */
int receive_rows(struct peer *p, size_t n, const ProtobufCBinaryData *row);

/* compare.c; a bool of a message: false, it is a bad one */
void compare_init(struct cluster *c);
void compare_start(struct cluster *c);
void compare_stop(struct cluster *c);
void compare_step(struct cluster *c);
void compare_soon(struct cluster *c);
void compare_begin(struct peer *p);
void compare_end(struct peer *p);
/* Anything, or a group, may differ. */
void compare_unsure(struct peer *p);
void compare_doubt(struct peer *p, unsigned group);
void compare_theirs(struct peer *p, uint32_t unsure);
void compare_settle(struct peer *p, unsigned group);
/* So many records of the group one of us has and may not give the other. */
void compare_withheld(struct peer *p, unsigned group, uint32_t n);
bool compare_may_look(struct peer *p, unsigned parts);
bool compare_digests(struct peer *p, const Eaves__Digests *d);
bool compare_differences(struct peer *p, const Eaves__Differences *d);
uint64_t row_key(const struct cluster *c, const struct store_row *row);
bool row_counts(const struct store_row *row, uint64_t wall_ms);
static inline unsigned bucket_of(uint64_t key)
{
	return (unsigned)(key >> 60);
}

/* pull.c */
void pull_stop(struct peer *p);
bool pull_busy(const struct peer *p, unsigned group);
void pull_add(struct peer *p, unsigned part, uint16_t mask);
bool pull_look(struct peer *p, msec now);
bool pull_step(struct cluster *c);
bool pull_ask(struct peer *p, const Eaves__Ask *m);
bool pull_rows(struct peer *p, const Eaves__Rows *m);

/* notice.c */
/* True: nothing is to come any more.  What the bus does not take waits on. */
bool notice_flush(struct peer *p);
void notice_end(struct peer *p);
bool notice_receive(struct peer *p, const Eaves__Notice *m);

/* admin.c */
void admin_init(struct cluster *c);
void admin_end(struct cluster *c);
void admin_lost(struct peer *p);
bool admin_call(struct peer *p, const Eaves__AdminCall *m);
bool admin_reply(struct peer *p, const Eaves__AdminReply *m);

#endif
