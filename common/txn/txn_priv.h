/*
 * Inside of the transaction layer: the transaction, the machine behind it, the table.
 *
 * Life time: a transaction is freed in one place, table_leave() of the outermost entry from the
 * rim (a message, a timer).  While any txn_* function is on the stack, tt->depth is above 0 and
 * every transaction stays valid, whatever a callback does.  What ends inside a call of the user
 * waits on tt->dead; what fails inside ops->send waits on tt->errors.
 */
#ifndef EAVES_TXN_TXN_PRIV_H
#define EAVES_TXN_TXN_PRIV_H

#include "common/base/counter.h"
#include "common/txn/hash.h"
#include "common/txn/match.h"
#include "common/txn/txn.h"

enum {
	TXN_LINGER_GRAIN_MS = 64,  /* states that only wait end on multiples: fewer wake-ups */
	TXN_FORGOTTEN_MS = 185000, /* an INVITE nobody waits for any more: beyond timer C */
	TXN_REAP_MS = 500,	   /* terminated ones are freed by then, when nothing comes */
	TXN_SLAB = 64,		   /* transactions a slab */
	TXN_SPARE_SLABS = 16,	   /* beyond the limit: what has ended and is not freed yet */
	TXN_SLOT_BITS = 24,	   /* of an id: the slot; the rest is its generation */
};

#define TXN_LIMIT_MAX (((size_t)1 << TXN_SLOT_BITS) - 1 - (TXN_SPARE_SLABS + 1) * TXN_SLAB)
#define TXN_ID_MASK   (((uint64_t)1 << 56) - 1)

/* ---- the transaction ---- */
enum txn_kind { TXN_INVITE_CLIENT, TXN_CLIENT, TXN_INVITE_SERVER, TXN_SERVER };

/* What a figure answers to.  NULL: the figure has no such arrow. */
struct txn_machine {
	const char *const *state_names;
	void (*retransmit)(struct txn *t,
			   msec now);	       /* timers A, E, G, and the one of the 100 */
	void (*life)(struct txn *t, msec now); /* timers B, D, F, H, I, J, K, L, M */
	void (*transport_error)(struct txn *t, msec now);
	void (*request)(struct txn *t, const struct sip_msg *m,
			msec now); /* a retransmission */
	void (*response)(struct txn *t, const struct sip_msg *m, msec now);	   /* client */
	int (*respond)(struct txn *t, unsigned status, struct bytes *b, msec now); /* server */
	void (*forgotten)(struct txn *t, msec now);
};
extern const struct txn_machine txn_invite_client, txn_client, txn_invite_server, txn_server;

enum txn_cancel {
	TXN_CANCEL_NONE,
	TXN_CANCEL_WANTED,
	TXN_CANCEL_SENT,
	TXN_CANCEL_UNKNOWN, /* sent, and answered that there is no such INVITE */
};

/* What its end touches comes first: by then it is out of every cache, line by line. */
struct txn {
	struct txn_node key; /* in tt->clients or tt->servers */
	struct txn_table *tt;
	const struct txn_machine *machine;
	uint64_t id;
	uint32_t interval_ms; /* of the retransmission timer */
	uint16_t status;      /* server: latest sent; client: latest received */
	uint8_t state;	      /* of the machine's own enum */
	uint8_t kind;	      /* enum txn_kind */
	uint8_t method;	      /* enum sip_method */
	bool terminated;
	bool reliable;
	struct wheel_timer life;
	struct list dead;   /* in tt->dead: terminated; before, in tt->completed or none */
	struct list errors; /* in tt->errors: a transport error to be dealt with */
	struct wheel_timer retransmit;
	struct bytes *last; /* server: latest response; INVITE client: the ACK */
	void *arg;
	union {
		struct {
			const struct txn_client_user *user; /* NULL: forgotten */
			struct bytes *req; /* NULL: nothing needs it any more */
			struct bytes *cancel_lines;
			struct span branch; /* inside req, without the cookie */
			struct span method_text;
			uint8_t cancel; /* enum txn_cancel */
			bool resumed;	/* another member has sent it, or has not */
		} client;
		struct {
			const struct txn_server_user *user; /* NULL: forgotten */
			struct sip_kept *req;	  /* NULL: nothing needs it any more */
			struct txn_node merge;	  /* in tt->merges */
			struct span branch, host; /* inside req; p NULL: not there */
			uint16_t port;
			bool cookie;
			char to_tag[16];
			struct sip_flow flow;
		} server;
	};
	struct sip_flow to; /* client: target; server: where responses go */
} __attribute__((aligned(64)));
/* At most 2 KB with index and allocator overhead, besides the message's bytes. */
_Static_assert(sizeof(struct txn) <= 384, "a transaction has grown");

/* Slots count from 1. */
static inline struct txn *txn_at(struct txn **slab, uint32_t slot)
{
	return &slab[(slot - 1) / TXN_SLAB][(slot - 1) % TXN_SLAB];
}
static inline uint32_t txn_slot(const struct txn *t)
{
	return (uint32_t)(t->id & (((uint64_t)1 << TXN_SLOT_BITS) - 1));
}

/* Hashes of the latest request, for the server transaction that is mostly made of it at once.
 */
struct txn_latest {
	const char *base; /* NULL: none */
	const char *call_id;
	uint32_t len;
	uint32_t cseq;
	struct txn_key key; /* its spans are stale */
	char branch[64];    /* a buffer may hold another message by now */
};

struct txn_table {
	struct wheel *wheel;
	struct txn_timers timers;
	struct txn_ops ops;
	struct mac_key key;
	struct txn_counters counters;
	size_t limit;
	unsigned depth; /* txn_* functions on the stack */
	struct txn
		*cancelling; /* a CANCEL whose user is being told; NULL: it is held, or none */
	bool tell_merged;
	struct list errors, dead;
	size_t ndead;
	struct list completed; /* non-INVITE server transactions, the oldest first */
	struct wheel_timer reap;
	struct txn_hash clients, servers, merges;
	size_t servers_of[SIP_METHOD_COUNT]; /* live server transactions of each method */
	struct txn_latest latest;
	struct txn **slab;
	size_t nslabs;
	struct list free;
};

/* ---- table.c ---- */
static inline void table_enter(struct txn_table *tt)
{
	tt->depth++;
}
/* Leaves an entry from the rim: the outermost deals with errors and frees what is dead. */
void table_leave(struct txn_table *tt, msec now);
/* Leaves an entry from the user: nothing is called, nothing is freed. */
void table_leave_user(struct txn_table *tt, msec now);
/* A transaction with its timers and id, in no hash; NULL (counted). */
struct txn *table_alloc(struct txn_table *tt, enum txn_kind kind);
/* Gives back one that was never started. */
void table_unalloc(struct txn *t);
/* Out of the hashes and the wheel, to be freed later. */
void txn_terminate(struct txn *t);
void txn_send(struct txn *t, const struct bytes *b);
/* Sends t->last or the request again, counted. */
void txn_resend(struct txn *t, const struct bytes *b);
/* failed() up, counted. */
void txn_fail(struct txn *t, enum txn_failure why, msec now);
/* Replaces t->last; takes a reference of its own. */
void txn_keep_last(struct txn *t, struct bytes *b);

/* After a final response: the request goes, unless matching needs more than its hash. */
void txn_drop_request(struct txn *t);
/* Completed (figure 8): what only absorbs stragglers may be evicted after 8*T1. */
void txn_complete(struct txn *t);

/* Sets t->state and traces it: for the set_state() of the machines alone. */
void txn_enter_state(struct txn *t, uint8_t state);
static inline void txn_arm_retransmit(struct txn *t, uint32_t ms, msec now)
{
	t->interval_ms = ms;
	wheel_arm(t->tt->wheel, &t->retransmit, now + ms);
}
static inline void txn_stop_retransmit(struct txn *t)
{
	wheel_stop(t->tt->wheel, &t->retransmit);
}
static inline void txn_arm_life(struct txn *t, msec due)
{
	wheel_arm(t->tt->wheel, &t->life, due);
}
static inline void txn_stop_life(struct txn *t)
{
	wheel_stop(t->tt->wheel, &t->life);
}
static inline void txn_arm_linger(struct txn *t, uint32_t ms, msec now)
{
	msec due = now + ms + TXN_LINGER_GRAIN_MS - 1;
	wheel_arm(t->tt->wheel, &t->life, due - due % TXN_LINGER_GRAIN_MS);
}
static inline uint32_t txn_64t1(const struct txn *t)
{
	return 64 * t->tt->timers.t1;
}

/* ---- user.c: as txn_client_new, txn_server_new and txn_reply, from inside of an entry ---- */

/* In the table, not started; sends nothing. */
struct txn *txn_client_make(struct txn_table *tt, enum sip_method method,
			    struct span method_text, struct span branch, struct bytes *req,
			    const struct sip_flow *to, const struct txn_client_user *user,
			    void *arg);
struct txn *txn_client_start(struct txn_table *tt, enum sip_method method,
			     struct span method_text, struct span branch, struct bytes *req,
			     const struct sip_flow *to, const struct txn_client_user *user,
			     void *arg, msec now);
struct txn *txn_server_make(struct txn_table *tt, const struct sip_msg *m,
			    const struct sip_via *top, const struct txn_key *k,
			    const struct sip_flow *src, const struct txn_server_user *user,
			    void *arg);
struct txn *txn_server_start(struct txn_table *tt, const struct sip_msg *m,
			     const struct sip_via *top, const struct txn_key *k,
			     const struct sip_flow *src, const struct txn_server_user *user,
			     void *arg, msec now);
int txn_reply_inner(struct txn *t, unsigned status, struct span reason, struct span lines,
		    msec now);

/* ---- the figures ---- */
void txn_invite_client_start(struct txn *t, msec now);
void txn_invite_client_resume(struct txn *t, msec now);
/* What was held, or nothing. */
void txn_invite_client_take(struct txn *t, const struct sip_msg *m, msec now);
void txn_client_start_trying(struct txn *t, msec now);
void txn_client_resume_proceeding(struct txn *t, msec now);
void txn_invite_server_start(struct txn *t, msec now);
void txn_invite_server_resume(struct txn *t, msec now);
void txn_server_resume_proceeding(struct txn *t, msec now);
void txn_server_start_trying(struct txn *t, msec now);
/* 9.1; of an INVITE client transaction only. */
void txn_invite_client_cancel(struct txn *t, struct span lines, msec now);
/* True while a CANCEL may still change something (no final response sent). */
bool txn_invite_server_cancellable(const struct txn *t);
/* An ACK that matches: true when it ends here, false when it is for a 2xx. */
bool txn_invite_server_ack(struct txn *t, msec now);

#endif
