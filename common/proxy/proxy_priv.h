/*
 * Inside the proxy engine.  A call (response context, 16.7) has a plan: what all of its
 * forwarded requests share; and branches: one for each target, each with at most one live
 * client transaction at a time (fail-over makes a new one with a new derived branch parameter).
 */
#ifndef EAVES_PROXY_PRIV_H
#define EAVES_PROXY_PRIV_H

#include "common/base/counter.h"
#include "common/base/mac.h"
#include "common/proxy/proxy.h"
#include "common/sip/splice.h"

#include <errno.h>

struct proxy {
	struct proxy_conf conf;
	struct proxy_ops ops;
	struct txn_table *tt;
	struct wheel *w;
	struct mac_key branch_key, route_key;
	struct list calls;
	struct list strays; /* stateless requests that wait for a resolution */
	struct proxy_counters count;
};

/* ---- text on the stack ---- */

struct proxy_text {
	char *p;
	size_t n, cap;
	bool overflow;
};
void proxy_text_add(struct proxy_text *t, struct span s);
void proxy_text_dec(struct proxy_text *t, uint64_t v);
void proxy_text_hex(struct proxy_text *t, uint64_t v);
/* A Content-Length line where m has none and goes on by a stream; else nothing. */
void proxy_text_length(struct proxy_text *t, const struct sip_msg *m, enum sip_transport to);
enum { PROXY_LENGTH_BYTES = sizeof("Content-Length: 4294967295\r\n") };
static inline struct span proxy_text_span(const struct proxy_text *t)
{
	return (struct span){t->p, t->n};
}

/* ---- branch.c: what is derived ---- */

enum {
	PROXY_MARK_LEN = 9,				     /* z9hG4bKev */
	PROXY_BRANCH_LEN = PROXY_MARK_LEN + 8 + 16 + 1 + 16, /* see branch.c */
};
extern const char proxy_mark[];

/* Of the request as received: equal when the same request comes with the same routing again
 * (RFC 5393 4.2). */
uint64_t proxy_loop_mac(const struct proxy *p, const struct sip_msg *m, uint64_t id_mac,
			uint16_t listener);
/* Of what a response brings back (next Via, Call-ID, CSeq number, From tag). */
uint64_t proxy_request_mac(const struct proxy *p, const struct sip_msg *m,
			   const struct sip_via *via, uint64_t id_mac);
/* The same with a flow token of ours in the Via: nobody can put another in its place. */
uint64_t proxy_request_mac_by(const struct proxy *p, uint64_t request_mac,
			      struct span via_flow);
/* The branch of one attempt at one target. */
void proxy_branch_make(const struct proxy *p, uint64_t request_mac, uint64_t loop_mac,
		       struct span uri, struct span route, uint32_t attempt,
		       char out[PROXY_BRANCH_LEN]);
/* True when `branch` is one that this key made for the request that the response answers. */
bool proxy_branch_verify(const struct proxy *p, struct span branch, uint64_t request_mac);
/* True when a Via of ours in m says that this very request was here before. */
bool proxy_is_loop(const struct proxy *p, const struct sip_msg *m, const struct sip_via *top,
		   uint64_t loop_mac);
/* The dialog by Call-ID and the tag of who began it. */
uint64_t proxy_dialog_mac(const struct proxy *p, struct span call_id, struct span tag);
/* The MAC in our Record-Route: binds it, and the flow token in it, to the dialog. */
uint64_t proxy_route_mac(const struct proxy *p, uint64_t dialog_mac, struct span user);

/* ---- route.c: 16.4 ---- */

/* 0, or a status: 400, or 500 (arena full). */
unsigned proxy_route_preprocess(const struct proxy *p, struct proxy_request *r);
/* The nth value of Route, from 0; false when there are not so many. */
bool proxy_route_value(const struct sip_msg *m, unsigned nth, struct span *ret);

/* ---- forward.c: 16.6 steps 1 to 10 ---- */

struct proxy_plan {
	const struct sip_msg *m; /* the request; kept, or during the call alone (stateless) */
	struct span uri;	 /* Request-URI after 16.4 */
	struct span lines;
	struct span record_user;    /* user part of the Record-Route towards the caller */
	struct span path, via_flow; /* as in proxy_opts */
	uint64_t strip, strip_responses;
	uint64_t request_mac, loop_mac, dialog_mac;
	uint32_t max_forwards; /* to be written */
	uint32_t breadth;      /* 0: no Max-Breadth (ACK, CANCEL) */
	uint16_t listener;     /* where the request came in */
	uint16_t own_routes;
	bool undo_strict, has_route, record_route;
	/* During the call that brought the request in: parsed values.  NULL later. */
	const struct sip_uri *uri_parsed, *route_parsed;
};

/* One forwarded request. */
struct proxy_leg {
	struct span uri, route, record_user;
	uint32_t breadth;
	uint32_t attempt;
	uint16_t listener; /* where it goes out */
	bool strict;	   /* the first Route value is of a strict router (16.6 step 6) */
};

struct proxy_scratch {
	char branch[PROXY_BRANCH_LEN];
	char via[640], record[1400], more[192];
	char hops[12], breadth[12];
};

void proxy_plan_init(const struct proxy *p, struct proxy_plan *pl,
		     const struct proxy_request *r, const struct proxy_opts *opts);
/* 16.6 step 7's input: the URI to resolve, and whether it is a strict router.  0, -EINVAL. */
int proxy_next_hop(const struct proxy_plan *pl, const struct proxy_leg *leg,
		   struct sip_uri *ret, bool *ret_strict);
/* Edits for one leg; what they insert lives in sc.  0; -ENOENT: no such listener; -EOVERFLOW.
 */
int proxy_edit(const struct proxy *p, const struct proxy_plan *pl, const struct proxy_leg *leg,
	       struct sip_splice *s, struct proxy_scratch *sc);
/* Takes all fields of the kinds in bits out. */
void proxy_strip(struct sip_splice *s, const struct sip_msg *m, uint64_t bits);
/* 483 or 440 when the request may not be forwarded to `parallel` targets at once, else 0. */
unsigned proxy_may_forward(const struct proxy *p, const struct proxy_request *r,
			   unsigned parallel);

/* ---- call.c: the response context ---- */

enum branch_state {
	BRANCH_WAITING,	 /* in a later group */
	BRANCH_SPARE,	 /* another flow to the device of the branch before it */
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
	struct bytes *challenge;     /* 401 or 407, kept while others may add theirs */
	uint64_t tag;
	uint32_t breadth;
	uint32_t attempt;
	uint32_t name; /* as locate_result */
	uint16_t q;
	uint8_t state; /* enum branch_state */
	bool has_flow, strict, provisional, cancelled, own_alloc;
};

struct proxy_call {
	struct proxy *p;
	struct list link;
	struct txn *server;
	struct sip_kept *kept; /* the request, while branches may be made of it */
	struct proxy_plan plan;
	struct branch *branches; /* in the order of trying */
	struct wheel_timer serial;
	const struct proxy_hooks *hooks;
	void *hooks_arg;
	struct bytes *best; /* NULL: best_status is our own */
	unsigned best_status;
	unsigned final; /* sent, 0 before */
	unsigned nbranches;
	bool invite;
	bool cancelled; /* by the caller */
	bool stop;	/* no new branches: 6xx, 2xx, CANCEL */
	bool done_told;
};

static inline bool proxy_branch_pending(const struct branch *b)
{
	return b->state == BRANCH_LOCATING || b->state == BRANCH_CALLING;
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
void proxy_branch_set_state(struct branch *b, enum branch_state s);
/* Starts WAITING branches of the next q, as far as the breadth goes. */
void proxy_call_next_group(struct proxy_call *c, msec now);

/* ---- target.c: 16.6 steps 7 to 11, RFC 3263 4.3 ---- */
void proxy_branch_start(struct branch *b, msec now);
/* The next address of the branch; false when there is none left. */
bool proxy_branch_fail_over(struct branch *b, msec now);
/* The branch ends with a status of our own (408, 503 ...). */
void proxy_branch_end(struct branch *b, unsigned status);

/* ---- response.c, best.c, redirect.c: 16.7 ---- */
extern const struct txn_client_user proxy_client_user;
/* Begins the splice of a response: our Via taken off.  False: there is no other. */
bool proxy_take_via(const struct sip_msg *m, struct sip_splice *s);
/* The response as it goes on: without our Via and what the role strips, and by a stream with
 * its length, which is in `text`.  False: there is no other Via. */
bool proxy_response_begin(const struct proxy_call *c, const struct sip_msg *m,
			  struct sip_splice *s, char text[PROXY_LENGTH_BYTES]);
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

/* ---- stateless.c ---- */
void proxy_reply_stateless(struct proxy *p, const struct proxy_request *r, unsigned status);
void proxy_strays_free(struct proxy *p);

#endif
