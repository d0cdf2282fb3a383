/*
 * Inside the proxy engine: a call (response context, 16.7) has a plan: what all of its
 * forwarded requests share; and branches: one for each target, each with at most one live
 * client transaction at a time (fail-over makes a new one with a new derived branch parameter).
 */
#ifndef EAVES_PROXY_CALL_H
#define EAVES_PROXY_CALL_H

#include "common/proxy/proxy_priv.h"

/* ---- call.c: the response context ---- */

enum branch_state {
	BRANCH_WAITING,	 /* in a later group */
	BRANCH_SPARE,	 /* another flow to the device of the branch before it */
	BRANCH_CHOSEN,	 /* to be started when that is written (journal.c) */
	BRANCH_LOCATING, /* its next hop is being resolved */
	BRANCH_CALLING,	 /* client transaction without a final response */
	BRANCH_ACCEPTED, /* 2xx to INVITE: more of them may come (RFC 6026) */
	BRANCH_DONE,
};

struct proxy_alternatives {
	unsigned n, next;
	struct locate_target v[];
};

struct branch {
	struct proxy_call *call;
	struct branch *next;
	struct txn *client;
	struct wheel_timer timer_c;
	struct span uri, route, record_user;
	struct sip_flow flow;
	struct locate_query *query;
	struct proxy_alternatives *alt;
	struct locate_target target; /* in use, unless has_flow */
	struct bytes *branch;	     /* as a response brought it back; NULL: it is derived */
	struct bytes *challenge;     /* 401 or 407, kept while others may add theirs */
	struct bytes *found;	     /* record_user, where that is not the target's any more */
	struct sip_kept *held;	     /* a final response that waits for the write `need` */
	msec noted_c;		     /* timer C as written */
	msec over_at; /* cancelled: when it is over without an answer; 0: not written */
	uint64_t tag;
	uint32_t need, doom_need;
	uint32_t breadth;
	uint32_t attempt;
	uint32_t name; /* as locate_result */
	uint16_t q;
	uint8_t state; /* enum branch_state */
	bool has_flow, strict, provisional, cancelled, own_alloc;
	bool doomed; /* to be cancelled when the write `doom_need` is done */
	bool sent;   /* its attempt counts the next one */
	bool again;  /* its next hop may be looked for once more, when it fails */
	bool resume; /* another member has sent it, or may have: nothing is sent from here */
};

/* Of a call that is written to a journal: journal.c. */
struct proxy_note {
	struct sip_flow src;
	struct proxy_ticket *ticket;	   /* of the write under way */
	uint32_t begun, written, released; /* the latest write of each kind, from 1 */
	uint32_t cancel_need, own_need;	   /* the write to be waited for; 0: none */
	uint64_t cancel_id;		   /* of the CANCEL that waits for its 200 */
	struct bytes *cancel_lines;
	bool dirty, flushing, dropped;
};

struct proxy_call {
	struct proxy *p;
	struct list link;
	uint64_t key; /* of an INVITE, with a journal: proxy_request_key() */
	struct proxy_call *next_of_key;
	struct txn *server;
	struct sip_kept *kept; /* the request, while branches may be made of it */
	struct proxy_plan plan;
	struct branch *branches; /* in the order of trying */
	struct wheel_timer serial, late;
	const struct proxy_hooks *hooks;
	void *hooks_arg;
	const struct proxy_journal *journal;
	struct proxy_note *note; /* NULL: nothing is written */
	struct bytes *best;	 /* NULL: best_status is our own */
	unsigned best_status;
	unsigned final; /* sent, 0 before */
	unsigned nbranches;
	unsigned turns; /* groups and spares that were begun */
	bool invite;
	bool cancelled; /* by the caller */
	bool stop;	/* no new branches: 6xx, 2xx, CANCEL */
	bool partial;	/* rebuilt: the request is not whole, nothing new can be made of it */
	bool done_told;
	bool rings; /* has been looked at by `late` once */
	bool lasts; /* that is why it is written */
	bool busy;  /* somebody is at several of its branches: no step before he is done */
};

static inline bool proxy_branch_pending(const struct branch *b)
{
	return b->state >= BRANCH_CHOSEN && b->state <= BRANCH_CALLING;
}

/* The only way on and out: starts groups, sends the best response, frees.  The call may be gone
 * afterwards. */
void proxy_call_step(struct proxy_call *c, msec now);
/* Once: the final response is on its way. */
static inline void proxy_call_set_final(struct proxy_call *c, unsigned status)
{
	c->final = status;
	counter_dec(&c->p->count.unanswered);
}
void proxy_call_free(struct proxy_call *c);
/* The same, and its server transaction is as if it had not been. */
void proxy_call_undo(struct proxy_call *c);
/* One with its branches, nothing started, not yet the server transaction's user.  NULL: out of
 * memory. */
struct proxy_call *proxy_call_new(struct proxy *p, struct txn *server,
				  const struct proxy_request *r,
				  const struct proxy_target *const *v, unsigned n,
				  const struct proxy_opts *opts);
/* The targets by q, at most the configured number; *n: in and out.  `room`: for one.  NULL: out
 * of memory. */
const struct proxy_target **proxy_sort_targets(const struct proxy *p,
					       const struct proxy_target *t, unsigned *n,
					       const struct proxy_target *room[1]);
void proxy_branch_set_state(struct branch *b, enum branch_state s);
/* Starts WAITING branches of the next q, as far as the breadth goes. */
void proxy_call_next_group(struct proxy_call *c, msec now);

/* ---- keys.c: by proxy_call.key ---- */

/* 0 or -ENOMEM. */
int proxy_keys_init(struct proxy_keys *k);
void proxy_keys_done(struct proxy_keys *k);
void proxy_keys_add(struct proxy_keys *k, struct proxy_call *c);
/* Harmless for one that is not in it. */
void proxy_keys_remove(struct proxy_keys *k, struct proxy_call *c);
struct proxy_call *proxy_keys_first(const struct proxy_keys *k, uint64_t key);
/* The next one of the same key. */
struct proxy_call *proxy_keys_next(const struct proxy_call *c);
/* Calls in the fullest bucket: for tests. */
size_t proxy_keys_longest(const struct proxy_keys *k);

/* ---- target.c: 16.6 steps 7 to 11, RFC 3263 4.3 ---- */
void proxy_branch_start(struct branch *b, msec now);
/* A device that may have connected anew meanwhile (late: as for proxy_hooks.find): true when
 * its flow is another one now. */
bool proxy_branch_find(struct branch *b, bool late);
/* Sends over b->flow, or (b->resume) takes it for sent.  0, or -errno with nothing done. */
int proxy_branch_send(struct branch *b, msec now);
/* What names the branch's transaction, or will. */
void proxy_branch_text(const struct branch *b, char out[PROXY_BRANCH_LEN]);
/* The next address of the branch; false when there is none left. */
bool proxy_branch_fail_over(struct branch *b, msec now);
/* The branch ends with a status of our own (408, 503 ...). */
void proxy_branch_end(struct branch *b, unsigned status);

/* ---- journal.c: writing ahead ---- */

/* The call is written from now on; false: it is not. */
bool proxy_note_begin(struct proxy_call *c);
/* To one device: it is written if it lasts. */
void proxy_note_late(struct proxy_call *c, msec now);
/* Starts a branch, when that is written. */
void proxy_branch_go(struct branch *b, msec now);
/* Cancels a branch for a reason of our own, when that is written. */
void proxy_branch_doom(struct branch *b, msec now);
/* True: a final response has to wait. */
bool proxy_note_hold(struct branch *b, const struct sip_msg *m);
/* From inside of the server transaction's cancel(): the CANCELs and the 200 wait. */
void proxy_note_cancel(struct proxy_call *c, struct span lines);
/* The branch has ended without a response. */
void proxy_note_own_end(struct branch *b);
/* Timer C runs anew. */
void proxy_note_timer_c(struct branch *b, msec now);
/* Writes what has changed, and does what waited for a write that is done; true: something was
 * done.  ending: no branch is under way. */
bool proxy_note_sync(struct proxy_call *c, bool ending, msec now);
/* Something waits: this is not the end yet. */
bool proxy_note_waits(const struct proxy_call *c);
/* The 200 to the CANCEL, when what it led to has left. */
void proxy_note_answer(struct proxy_call *c, msec now);
void proxy_note_drop(struct proxy_call *c);
void proxy_note_free(struct proxy_call *c);
void proxy_tickets_free(struct proxy *p);

/* ---- response.c, best.c, redirect.c: 16.7 ---- */
extern const struct txn_client_user proxy_client_user;
/* A final response of a branch in BRANCH_CALLING. */
void proxy_branch_final(struct branch *b, const struct sip_msg *m, msec now);
/* The CANCELs after a final response that decides, with the reason; none to a single device. */
void proxy_call_cancel_others(struct proxy_call *c, unsigned status, msec now);
/* Begins the splice of a response: our Via taken off.  False: there is no other. */
bool proxy_take_via(const struct sip_msg *m, struct sip_splice *s);
/* The response as it goes on: without our Via and what the role strips, and by a stream with
 * its length, which is in `text`.  False: there is no other Via. */
bool proxy_response_begin(const struct proxy_call *c, const struct sip_msg *m,
			  struct sip_splice *s, char room[SIP_LENGTH_ROOM]);
/* The same in bytes.  NULL: out of memory or no other Via. */
struct bytes *proxy_response_bytes(const struct proxy_call *c, const struct sip_msg *m);
/* Step 6's order: lower is better. */
unsigned proxy_status_rank(unsigned status);
/* Takes the reference on `bytes` (NULL: a status of our own). */
void proxy_call_offer(struct proxy_call *c, unsigned status, struct bytes *bytes);
void proxy_call_send_best(struct proxy_call *c, msec now);
/* 16.7 step 4: true when at least one contact of the 3xx became a branch; *ret_rest: the
 * response without those, or NULL when none is left. */
bool proxy_recurse(struct branch *b, const struct sip_msg *m, struct bytes **ret_rest);

/* ---- cancel.c: 16.8, 16.10 ---- */
extern const struct txn_server_user proxy_server_user;
/* Ends every branch that has no final response. `lines` go into the CANCELs. */
void proxy_call_cancel(struct proxy_call *c, struct span lines, msec now);
void proxy_branch_cancel(struct branch *b, struct span lines, msec now);
void proxy_timer_c_fired(struct wheel_timer *t, msec now);
void proxy_serial_fired(struct wheel_timer *t, msec now);
/* journal.c */
void proxy_late_fired(struct wheel_timer *t, msec now);

#endif
