/*
 * Inside the proxy engine: what is derived, what all forwarded requests of one call share, the
 * stateless ways.  The response context is in call.h.
 */
#ifndef EAVES_PROXY_PRIV_H
#define EAVES_PROXY_PRIV_H

#include "common/base/arena.h"
#include "common/base/counter.h"
#include "common/base/mac.h"
#include "common/proxy/proxy.h"
#include "common/sip/splice.h"

#include <errno.h>

/* keys.c */
struct proxy_call;
struct proxy_keys {
	struct proxy_call **bucket;
	size_t mask, n;
};

struct proxy {
	struct proxy_conf conf;
	struct proxy_ops ops;
	struct txn_table *tt;
	struct wheel *w;
	struct mac_key branch_key, route_key;
	struct list calls;
	struct proxy_keys keys; /* the INVITE calls of a role with a journal */
	struct list tickets;	/* writes to a journal that are under way */
	struct list strays;	/* stateless requests that wait for a resolution */
	struct proxy_counters count;
};

/* Indexes what was let in once already, or is of our own making.  0 or -EBADMSG. */
int proxy_index_own(struct sip_msg *m, struct sip_hdr hdr[SIP_HDR_MAX], struct span text);

/* ---- text on the stack ---- */

struct proxy_text {
	char *p;
	size_t n, cap;
	bool overflow;
};
void proxy_text_add(struct proxy_text *t, struct span s);
void proxy_text_dec(struct proxy_text *t, uint64_t v);
void proxy_text_hex(struct proxy_text *t, uint64_t v);
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
/* In its place where the node above has looked for loops and the branch is to be as its own
 * (PROXY_TARGET_NAMED_ABOVE): what Route and Request-URI say plays no part. */
uint64_t proxy_loop_mac_above(const struct proxy *p, uint64_t request_mac);
/* Of what a response brings back (next Via, Call-ID, CSeq number, From tag). */
uint64_t proxy_request_mac(const struct proxy *p, const struct sip_msg *m,
			   const struct sip_via *via, uint64_t id_mac);
/* Stands behind a flow token in our Via, ".12345678": nobody can put another token in its
 * place. Not part of the branch: a phone that repeats its request by another connection makes
 * the same one. */
enum { PROXY_SEAL_LEN = 1 + 8 };
void proxy_flow_seal(const struct proxy *p, uint64_t request_mac, struct span via_flow,
		     char out[PROXY_SEAL_LEN]);
/* The same with the name of the target that stands in it (proxy_target.tag; 0: none). */
uint64_t proxy_request_mac_named(const struct proxy *p, uint64_t request_mac, uint64_t tag);
static inline uint64_t proxy_request_mac_to(const struct proxy *p, uint64_t request_mac,
					    uint64_t tag)
{
	return tag ? proxy_request_mac_named(p, request_mac, tag) : request_mac;
}
/* What names a request to both members of a pair. */
uint64_t proxy_request_key_of(const struct proxy *p, uint64_t request_mac);
/* The branch of one attempt at one target: the one with that name (proxy_target.tag), else by
 * its URI and Route. */
void proxy_branch_make(const struct proxy *p, uint64_t request_mac, uint64_t loop_mac,
		       uint64_t tag, struct span uri, struct span route, uint32_t attempt,
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
	uint16_t member;	    /* sip_flow.node of where it came from */
	uint64_t strip, strip_responses;
	uint64_t request_mac, loop_mac, dialog_mac;
	uint32_t max_forwards; /* to be written */
	uint32_t breadth;      /* 0: no Max-Breadth (ACK, CANCEL) */
	uint16_t listener;     /* where the request came in */
	uint16_t own_routes;
	bool undo_strict, has_route, record_route;
	bool in_dialog; /* an INVITE with a To tag: our Via says so */
	/* During the call that brought the request in: parsed values.  NULL later. */
	const struct sip_uri *uri_parsed, *route_parsed;
};

/* One forwarded request. */
struct proxy_leg {
	struct span uri, route, record_user;
	struct span branch; /* as another member derived it; p NULL: derived here */
	uint64_t tag;	    /* the target's, in our Via; 0: not there */
	uint32_t breadth;
	uint32_t attempt;
	uint16_t listener; /* where it goes out */
	bool strict;	   /* the first Route value is of a strict router (16.6 step 6) */
	bool named_above;  /* its branch depends on the top Via as received alone */
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
/* 16.6 step 8: the field with our value, out at that end; *branch is what it has. */
void proxy_add_via(const struct proxy *p, const struct proxy_plan *pl,
		   const struct proxy_leg *leg, const struct proxy_local *out,
		   struct proxy_text *t, char branch[PROXY_BRANCH_LEN]);
/* Takes all fields of the kinds in bits out. */
void proxy_strip(struct sip_splice *s, const struct sip_msg *m, uint64_t bits);
/* 483 or 440 when the request may not be forwarded to `parallel` targets at once, else 0. */
unsigned proxy_may_forward(const struct proxy *p, const struct proxy_request *r,
			   unsigned parallel);

/* Requests whose Via names the target: INVITE, and what gets its branch. */
static inline bool proxy_names_target(enum sip_method m)
{
	return m == SIP_INVITE || m == SIP_ACK || m == SIP_CANCEL;
}

/* ---- back.c: what a response brings back ---- */

struct proxy_back {
	struct sip_via next; /* top Via of the request as received */
	struct span token;   /* proxy_opts.via_flow */
	uint16_t member;     /* sip_flow.node of where it came from, or 0 */
	struct span from_tag;
	uint64_t id_mac, request_mac; /* as of the request; without token and tag */
	uint64_t tag;		      /* proxy_target.tag */
	bool in_dialog;
};
/* 0; -EPERM when our key did not make the top Via for the request that m answers. */
int proxy_back_read(const struct proxy *p, const struct sip_msg *m, const struct sip_via *top,
		    struct proxy_back *ret);
/* Where the response goes: by the flow that our Via names, else where the next Via says.  The
 * leg that it came by (src) decides whether it will be repeated. */
int proxy_back_flow(const struct proxy *p, const struct proxy_back *b,
		    const struct sip_flow *src, struct sip_flow *ret);

/* ---- stateless.c ---- */
void proxy_reply_stateless(struct proxy *p, const struct proxy_request *r, unsigned status);
void proxy_strays_free(struct proxy *p);

/* ---- call.c: what goes on by itself ---- */

/* A turn that no message leads to which has just come (a timer, a write that is done, a name
 * that is resolved): the worker's arena is as before when it ends, and what crashes in it
 * accuses the request that it is about (docs/decisions/0008).  kept: it; NULL: it is there no
 * more.  Inside of a message's delivery that one stays accused. */
struct proxy_turn {
	struct arena_scope scope;
	struct sip_kept *kept; /* ours is the accusation; NULL: it is not */
};
struct proxy_turn proxy_turn_begin(struct sip_kept *kept);
void proxy_turn_end(struct proxy_turn *t);

#endif
