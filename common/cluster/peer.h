/*
 * What a node knows of another one: whether it lives, what waits for it, what came from it,
 * what is being compared with it.  For the files of common/cluster alone.
 */
#ifndef EAVES_CLUSTER_PEER_H
#define EAVES_CLUSTER_PEER_H

#include "common/base/list.h"
#include "common/loop/loop.h"
#include "common/records/records.h"

#include <pthread.h>
#include <stdatomic.h>

struct cluster;
struct unit;

enum {
	BATCH_BYTES = 64 << 10, /* of rows in one message, unless one row is larger */
	FLIGHT_BATCHES = 64,	/* sent and not acknowledged: what an Ack's bits can name */
	REPEAT_MS = 200,	/* without an acknowledgement */
	REPEAT_MAX_MS = 800,	/* each time in vain doubles it */
	GAP_MS = 30,		/* a batch that others overtook is repeated after so long */
	BUCKETS = 16,		/* of a part, by the top bits of the key's hash */
	GROUPS = 16,		/* of parts: what one Digests compares */
	GROUP_PARTS = RECORDS_PARTS / GROUPS,
	GROUP_DIGESTS = GROUP_PARTS * BUCKETS,
	ASKS_MAX = 8, /* open questions to one node */
	BOOTS_MAX = 4,
};

struct buffer {
	uint8_t *p;
	size_t n, room;
};

/* Handed over from any thread (inbox.c). */
struct item {
	struct item *next;
	/* Later, in the loop's thread; c->ending: only to be freed. */
	void (*run)(struct cluster *c, struct item *it);
};

struct batch {
	uint64_t from, to; /* in the ring */
	msec sent;
	bool got; /* acknowledged ahead of others: its units know */
};

/* Units for a node: [head, sent) in batches not acknowledged, [sent, tail) waiting. */
struct outbox {
	struct unit **ring;
	uint32_t room; /* a power of 2, or 0 */
	uint64_t head, sent, tail;
	size_t bytes;
	msec due;		      /* what waits leaves then; 0: nothing does */
	uint64_t stream, first, next; /* batches [first, next) are in flight */
	uint64_t persisted;
	uint32_t repeat_ms;
	struct batch batch[FLIGHT_BATCHES]; /* by sequence number */
	struct wheel_timer timer;
};

/* The node's stream to us. */
struct inbound {
	uint64_t stream, next;
	uint64_t ahead;		/* bit i: next + 1 + i was taken */
	uint64_t ahead_refused; /* of those: not all of it */
	uint64_t refused;	/* bit i: next - 1 - i */
	bool ack_due;
	struct list persist; /* batches that the store below has not confirmed, in order */
	uint64_t persist_lost;
	struct record_version newest; /* of its own that came with nothing missing before it */
	msec newest_at;
};

/* Comparison with the node: a bit, or a place, for each group of parts. */
struct sweep {
	uint32_t unsure;	   /* may lack something that the node has, or has dropped */
	uint32_t theirs;	   /* the same as it said last */
	uint32_t seen;		   /* compared since it became unsure */
	uint32_t differs;	   /* did when it was compared last */
	uint32_t withheld[GROUPS]; /* records since, that one of us has and may not give */
	/* Buckets whose records of ours are among these. */
	uint16_t counted[RECORDS_PARTS];
	uint64_t id[GROUPS];	 /* of the Digests that were sent */
	msec asked[GROUPS];	 /* when; 0: they were answered */
	msec again[GROUPS];	 /* not earlier */
	uint32_t gap_ms[GROUPS]; /* doubles while it helps nothing */
	uint32_t tokens;	 /* parts that it may have us look through */
	msec tokens_at;
};

/* What we ask of it. */
struct ask {
	uint64_t id; /* 0: none */
	msec due;
	uint16_t mask;
	uint8_t part;
};
struct pull {
	uint16_t want[RECORDS_PARTS]; /* buckets */
	unsigned open, failures, next;
	struct ask ask[ASKS_MAX];
};

/* Its clock, as seen from here. */
struct peer_clock {
	unsigned heard;	  /* heartbeats, */
	msec since;	  /* from then on, */
	uint64_t most_ms; /* and what it was ahead of ours in these at most */
	uint64_t said_ms; /* Heartbeat.ahead_ms to it */
	int told;	  /* 1: that it is ahead, -1: behind, 0: neither */
};

/* Suspected: not alive for that alone, the bus hears of it. */
enum { PEER_ALIVE = 1, PEER_DRAINING = 2, PEER_SUSPECTED = 4 };

struct peer {
	struct cluster *c;
	unsigned index;
	/* Read by any thread. */
	atomic_uint bits, calls, cpu_permille, version;
	_Atomic uint64_t serving_ms; /* as it says; 0: not yet */
	_Atomic msec left_at;	     /* when it last ceased to serve; 0: never */
	_Atomic msec broke_at; /* it was heard until its connection broke; 0: it fell silent */
	atomic_bool settled, equal, other_realm;
	_Atomic uint64_t heard, queued_bytes, unpersisted, withheld;
	_Atomic uint64_t hears; /* an edge: a bit a node; 0: it does not say */
	_Atomic uint32_t at[CLUSTER_LISTENERS_MAX]; /* an edge's addresses, as it says */
	atomic_bool has_said;	  /* whom it hears, or that it does not say, since it lives */
	atomic_uint asked;	  /* its operators' calls that we have not answered */
	_Atomic int64_t clock_ms; /* ahead of ours, or behind; CLUSTER_CLOCK_UNKNOWN */

	bool up;	       /* the bus has a connection */
	bool open;	       /* heard of: its stream runs */
	bool greeted;	       /* it knows our boot */
	_Atomic uint64_t boot; /* the bus's thread's to change */
	uint64_t retired[BOOTS_MAX];
	msec boot_at, drained_at; /* when that changed */
	unsigned told;		  /* bits, at the last ops->changed */
	struct peer_clock clock;
	struct wheel_timer silent;
	struct item suspected;
	atomic_bool suspect_posted;
	struct outbox out;
	struct buffer hints; /* notices to come (notice.c) */
	size_t hint;	     /* where the last of these is */
	struct inbound in;
	struct sweep sweep;
	struct pull pull;
};

/* ---- from any thread into the loop's: inbox.c ---- */

/* What may outlive the cluster: works that the loop holds, answers that a store below owes. */
enum { WORK_INBOX, WORK_FLUSH, WORK_STEP, WORK_SPEAK, WORKS };
struct gate_work {
	struct loop_work work;
	struct gate *gate;
	atomic_bool posted;
};
struct gate {
	atomic_uint refs;
	pthread_mutex_t lock;
	struct cluster *c; /* NULL: gone.  Other threads look under the lock. */
	struct gate_work work[WORKS];
};

#endif
