/*
 * Transactions: RFC 3261 section 17 with RFC 6026 (figures 5 to 8 and their corrections).  No
 * I/O: bytes leave through ops->send, time comes in as `now` and by the wheel.  One table per
 * worker. Not here: what a proxy does with a response (common/proxy), how a target is found
 * (locate).
 */
#ifndef EAVES_TXN_TXN_H
#define EAVES_TXN_TXN_H

#include "common/base/bytes.h"
#include "common/base/mac.h"
#include "common/base/wheel.h"
#include "common/sip/flow.h"
#include "common/sip/msg.h"
#include "common/sip/values.h"

struct txn;
struct txn_table;

/* RFC 3261 table 4; milliseconds. */
struct txn_timers {
	uint32_t t1, t2, t4;
	uint32_t timer_100; /* 17.2.1: 100 is sent when the user gave no answer by then (200) */
};
extern const struct txn_timers txn_timers_default;

struct txn_counters {
	uint64_t server_new, client_new, retransmits_in, retransmits_out, timeouts,
		transport_errors, refused, /* refused: table full or out of memory */
		evicted;		   /* ended before timer J to make room */
	uint64_t live;
};

/* Down to the rim. */
struct txn_ops {
	/* Sends one message.  `b` is borrowed.  The rim calls txn_transport_error() with
	 * txn_id, at once or later, when it turns out that the bytes cannot be delivered.
	 * Responses go where sip_via_dest says, from the top Via as stamped on receipt. */
	void (*send)(void *arg, const struct sip_flow *to, const struct bytes *b,
		     uint64_t txn_id);
	void *arg;
};

enum txn_failure {
	TXN_FAIL_TIMEOUT,
	TXN_FAIL_TRANSPORT,
	TXN_FAIL_UNKNOWN, /* a resumed INVITE: where it went nobody knows it (any more) */
};

/* Up to the user of a transaction.  Any may be NULL.  None is called from inside a txn_* call
 * made by the user, except that txn_* may be called from inside any of these.  gone() comes
 * when the layer is next entered from a message or a timer, half a second after the end at the
 * latest. */
struct txn_client_user {
	/* A final response to an INVITE, before anything is done about it.  True: not yet; the
	 * transaction is as if it had not come, and the user gives it to txn_take() later. */
	bool (*hold)(void *arg, struct txn *t, const struct sip_msg *m, msec now);
	/* Every 1xx and final response that the figure passes up; INVITE: every 2xx (RFC 6026).
	 */
	void (*response)(void *arg, struct txn *t, const struct sip_msg *m, msec now);
	/* INVITE: may come after a final response too, when its ACK could not be sent (figure
	 * 5). */
	void (*failed)(void *arg, struct txn *t, enum txn_failure why, msec now);
	/* Terminated: t is invalid afterwards. */
	void (*gone)(void *arg, struct txn *t);
};
struct txn_server_user {
	/* A matching CANCEL came.  The table answers it 200 afterwards, since what it leads to
	 * leaves first; unless txn_hold_cancel() is called. */
	void (*cancel)(void *arg, struct txn *t, const struct sip_msg *cancel, msec now);
	/* A response could not be delivered (RFC 6026 17.2.4: the transaction lives on), or no
	 * ACK came for it (timer H: it ends). */
	void (*failed)(void *arg, struct txn *t, enum txn_failure why, msec now);
	void (*gone)(void *arg, struct txn *t);
};

/* key: for hashing and derived To tags.  limit: live transactions at most (about 2^24 whatever
 * is asked).  Above it the oldest non-INVITE server transactions in Completed are ended, once
 * older than 8*T1; with none, new ones are refused.  NULL: out of memory. */
struct txn_table *txn_table_new(struct wheel *w, const struct txn_timers *timers,
				const struct txn_ops *ops, const struct mac_key *key,
				size_t limit);
/* For a UAS: tell merged requests (8.2.2.2) from new ones.  A proxy lets them go on and need
 * not pay for it: without this call they are TXN_REQUEST_NEW. */
void txn_table_tell_merged(struct txn_table *tt);
/* Ends every transaction (gone() is called), then frees. */
void txn_table_free(struct txn_table *tt);
const struct txn_counters *txn_table_counters(const struct txn_table *tt);

/* ---- requests ---- */

enum txn_request {
	TXN_REQUEST_NEW, /* nobody's: the user decides (make a server transaction or not) */
	TXN_REQUEST_ABSORBED, /* a retransmission, an ACK to a non-2xx, or a matched CANCEL:
				 done */
	TXN_REQUEST_ACK, /* an ACK that matches no transaction, or a 2xx (end to end): pass on
			  */
	TXN_REQUEST_MERGED, /* txn_table_tell_merged(), RFC 3261 8.2.2.2: same From tag,
			     * Call-ID, CSeq, another branch; the caller decides (482 at a UAS;
			     * a proxy goes on) */
};
/* Matches a request (17.2.3, with RFC 2543's rule for branches without the cookie). */
enum txn_request txn_recv_request(struct txn_table *tt, const struct sip_msg *m,
				  const struct sip_via *top, const struct sip_flow *src,
				  msec now);

/* A server transaction for a NEW (or MERGED) request that is not ACK, before the caller waits
 * for anything: a retransmission that came first would be NEW again.  Keeps a copy of the
 * message with `src`.  INVITE: sends a 100 after timer_100 unless answered.  NULL when refused
 * (counted). */
struct txn *txn_server_new(struct txn_table *tt, const struct sip_msg *m,
			   const struct sip_via *top, const struct sip_flow *src,
			   const struct txn_server_user *user, void *arg, msec now);
/* Another user takes over (a decision that took its time is made): no call of the old one. */
void txn_server_set_user(struct txn *t, const struct txn_server_user *user, void *arg);
/* The request as kept; NULL once a final response was sent, when nothing needs it any more.
 * Who needs it longer holds a reference (sip_kept_ref of txn_request_kept). */
const struct sip_msg *txn_request(const struct txn *t);
struct sip_kept *txn_request_kept(const struct txn *t);
const struct sip_flow *txn_flow(const struct txn *t);
/* The To tag that this server gives in its own responses to the request: derived, 16 hex
 * digits, valid while t is. */
struct span txn_to_tag(const struct txn *t);
/* Sends (and keeps for repeating) a response; `b` is borrowed, referenced as needed.
 * Provisional or final as `status` says.  After a 2xx to INVITE further 2xx may be sent (RFC
 * 6026 8.7). -EALREADY when the state does not allow it (the response is dropped). */
int txn_respond(struct txn *t, unsigned status, struct bytes *b, msec now);
/* From inside of cancel(): the CANCEL is not answered before txn_answer_cancel() is called with
 * what this returns.  0: it cannot be held and is answered as ever. */
uint64_t txn_hold_cancel(struct txn *t);
void txn_answer_cancel(struct txn_table *tt, uint64_t cancel_id, msec now);
/* Builds a response of our own (sip_build_response with txn_to_tag) and sends it. `lines`: more
 * header lines, may be empty.  -EALREADY after a final response. */
int txn_reply(struct txn *t, unsigned status, struct span reason, struct span lines, msec now);
/* Latest status sent, 0 before any. */
unsigned txn_status(const struct txn *t);

/* ---- responses ---- */

/* A client transaction: sends `req` (kept) to `to` at once.  `branch` and `method` are the key;
 * `branch` must stand in `req`. is_reliable by to->transport.  NULL when refused. */
struct txn *txn_client_new(struct txn_table *tt, enum sip_method method,
			   struct span method_text, struct span branch, struct bytes *req,
			   const struct sip_flow *to, const struct txn_client_user *user,
			   void *arg, msec now);
/* Sends the CANCEL for an INVITE client transaction (9.1): at once when a provisional response
 * has come, else as soon as one comes; nothing after a final one.  The CANCEL is a transaction
 * of its own, and if no final response has come 64*T1 after it, the INVITE ends as a time-out.
 * `lines`: more header lines (Reason), may be empty. */
void txn_cancel(struct txn *t, struct span lines, msec now);
/* Its target is reached by another flow by now, for all that is still sent to it. */
void txn_client_move(struct txn *t, const struct sip_flow *to);
/* The final response that was held.  The user is called from inside.  Nothing happens where the
 * transaction has had another one, or is over. */
void txn_take(struct txn *t, const struct sip_msg *m, msec now);
/* True when a response matched and was dealt with; false: nobody's (pass on statelessly or
 * drop). */
bool txn_recv_response(struct txn_table *tt, const struct sip_msg *m, const struct sip_via *top,
		       const struct sip_flow *src, msec now);
/* The way that `went` knows has broken: requests that went there over a reliable transport, and
 * INVITEs that are not cancelled over any, and have no final response are sent once more.  Not
 * what was resumed.  INVITEs first.  `went` may have them go by another way from now on.  How
 * many. */
unsigned txn_send_again(struct txn_table *tt, bool (*went)(void *arg, struct sip_flow *to),
			void *arg, msec now);
/* The same of answers to INVITEs over a reliable transport: refusals without an ACK, and the
 * last 1xx, but for 100. */
unsigned txn_answer_again(struct txn_table *tt, bool (*went)(void *arg, struct sip_flow *to),
			  void *arg, msec now);
/* Ends the interest of the user: no call of its ops from now on; the transaction lives on by
 * the figure (absorbs retransmissions, ACKs non-2xx); where the figure has no timer it
 * ends after 185 s (INVITE) or 64*T1.  Client and server; t may be gone at any time after. */
void txn_forget(struct txn *t);

/* ---- what another member of the pair has begun ---- */

/* A server transaction whose request another member was dealing with: in Proceeding, as if it
 * had been answered 100.  Sends nothing; a repeated INVITE gets a 100. */
struct txn *txn_server_resume(struct txn_table *tt, const struct sip_msg *m,
			      const struct sip_via *top, const struct sip_flow *src,
			      const struct txn_server_user *user, void *arg, msec now);
/* A client transaction whose request another member has sent, or may have: in Proceeding, so
 * that a CANCEL leaves at once.  Sends nothing, now or later: of `req` only ACK and CANCEL are
 * made.  An INVITE whose CANCEL is answered 481, or cannot be delivered, never arrived, or is
 * over: it ends as unknown, after 2*T1 in which a final response may still come. */
struct txn *txn_client_resume(struct txn_table *tt, enum sip_method method,
			      struct span method_text, struct span branch, struct bytes *req,
			      const struct sip_flow *to, const struct txn_client_user *user,
			      void *arg, msec now);
/* Another member has gone on with it: it ends at once, nothing is sent, the user is not called.
 */
void txn_abandon(struct txn *t);
/* The INVITE server transaction of the request whose top Via was `via`; m: it, or a response to
 * it.  NULL without one. */
struct txn *txn_find_invite(struct txn_table *tt, const struct sip_msg *m,
			    const struct sip_via *via);
/* The latest status that the client transaction of m, which we have sent, has received, 0: none
 * yet; -ENOENT without one. */
int txn_client_status(struct txn_table *tt, const struct sip_msg *m, const struct sip_via *top);
/* Is `tag` the To tag that this server, or another member, gives in its own responses to the
 * INVITE that m, an ACK, has the branch of? */
bool txn_is_own_tag(const struct txn_table *tt, const struct sip_msg *m,
		    const struct sip_via *top, struct span tag);
/* The user's arg, when `user` is the one of the server transaction; else NULL. */
void *txn_server_arg(const struct txn *t, const struct txn_server_user *user);

/* Never 0, below 2^56: the rim may put something of its own above. */
uint64_t txn_id(const struct txn *t);
/* NULL when it has ended. */
struct txn *txn_by_id(struct txn_table *tt, uint64_t id);
/* From the rim: what transaction `id` sent cannot be delivered. */
void txn_transport_error(struct txn_table *tt, uint64_t id, msec now);
/* State's name as in the figures ("Calling", "Proceeding" ...), for logs and tests. */
const char *txn_state_name(const struct txn *t);
bool txn_is_terminated(const struct txn *t);
/* The request bytes as sent by a client transaction; NULL once nothing needs them any more
 * (after a final response). */
struct bytes *txn_sent(const struct txn *t);

#endif
