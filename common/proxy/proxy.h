/*
 * The stateful proxy engine: RFC 3261 16.3 to 16.10, RFC 5393, RFC 3327, RFC 5626 as far as a
 * proxy's part goes.  No I/O.  A role (edge, home) validates a request, decides on targets and
 * hands them over; the engine forks, gathers responses, cancels, and forwards the best.
 */
#ifndef EAVES_PROXY_PROXY_H
#define EAVES_PROXY_PROXY_H

#include "common/locate/locate.h"
#include "common/txn/txn.h"

struct proxy;
struct proxy_call;

struct proxy_conf {
	uint32_t timer_c_ms;	  /* 16.6 step 11: above 180000; default 185000 */
	uint32_t serial_group_ms; /* how long one group of a serial fork may ring; default 20000
				   */
	uint32_t max_breadth;	  /* RFC 5393 when a request has none; default 60 */
	uint32_t max_targets;	  /* of one request; default 30 */
	bool recurse_3xx;	  /* 16.5, 16.7 step 4 */
	bool record_route;	  /* 16.6 step 4 */
	uint32_t default_max_forwards; /* added where a request has none: 70 */
	const char *pair; /* of a cluster: its name is in our Record-Route; NULL: none */
	uint16_t node;	  /* of a cluster: ours, as sip_flow.node; 0: none */
};
extern const struct proxy_conf proxy_conf_default;

/* How this node names itself on a listener: in Via and Record-Route. */
struct proxy_local {
	enum sip_transport transport;
	struct span host; /* as it stands in Via: name, IPv4, or IPv6 in brackets */
	uint16_t port;	  /* 0: none is written */
	bool inside; /* where nodes of the cluster speak to each other: in no Record-Route */
};

struct proxy_ops {
	/* The local end for a flow's listener, the same pointer each time; NULL when there is
	 * no such listener. */
	const struct proxy_local *(*local)(void *arg, uint16_t listener);
	/* The listener to send from for a target, or -ENOENT. `hint`: listener of the request.
	 */
	int (*listener_for)(void *arg, const struct locate_target *t, uint16_t hint);
	/* Is host:port (0: none given) one of ours (a listener or an administered name)? */
	bool (*is_local)(void *arg, struct span host, uint16_t port);
	/* Of these, one that a Record-Route of this node (or its pair) would name: another node
	 * of the domain may have written what names the domain.  NULL: as is_local. */
	bool (*is_self)(void *arg, struct span host, uint16_t port);
	/* As locate_start. */
	int (*locate)(void *arg, const struct sip_uri *next_hop, msec now, locate_done done,
		      void *done_arg, struct locate_result *ret_now,
		      struct locate_query **ret_query);
	void (*locate_cancel)(void *arg, struct locate_query *q);
	void (*target_failed)(void *arg, const struct locate_target *t, msec now);
	/* What a flow token in a Via of ours (proxy_opts.via_flow) names; of a node, member is
	 * the one that the request came from (sip_flow.node; 0: unknown).  0; -ESTALE when the
	 * flow is gone and its peer is expected back: the response is not sent, and whoever
	 * brought it may try again; -EXDEV: another node is to send it, which *ret is (unless
	 * it came from there); other errors: it goes where the next Via says.  NULL: no
	 * such tokens. */
	int (*read_flow)(void *arg, struct span token, uint16_t member, struct sip_flow *ret);
	/* Sends without a transaction (stateless forwarding, ACK to a 2xx). */
	void (*send)(void *arg, const struct sip_flow *to, const struct iovec *iov, int n);
	void *arg;
};

/* key: derived branches and Record-Route parameters.  The members of a pair share it; two roles
 * (edge and home) must not, or one would take the other's Via for a loop.  NULL: out of memory.
 * Free it before the transaction table. */
struct proxy *proxy_new(const struct proxy_conf *conf, const struct proxy_ops *ops,
			struct txn_table *tt, struct wheel *w, const struct mac_key *key);
void proxy_free(struct proxy *p);

/* ---- 16.3 and 16.4: before a role decides ---- */

struct proxy_request {
	const struct sip_msg *msg;
	struct sip_flow src;
	struct sip_via top;
	struct span from_tag, to_tag; /* p NULL without one */
	struct span uri_text;	  /* Request-URI after 16.4 (strict routing undone, maddr) */
	struct sip_uri uri;	  /* parsed; scheme OTHER: raw alone */
	bool has_route;		  /* a Route is left after our own were removed */
	struct span route_text;	  /* the first Route value left */
	struct sip_uri route_uri; /* its URI; set when has_route */
	uint64_t id_mac;	  /* the engine's own: of Call-ID and From tag */
	uint64_t loop_mac;	  /* the engine's own: of the request as received (RFC 5393) */
	unsigned own_routes;	  /* values of Route that were ours: removed when forwarding */
	bool undo_strict;	  /* 16.4: Request-URI was ours, last Route takes its place */
	bool from_dialog_route; /* the removed Route was one that we wrote as Record-Route: its
				 * MAC is good, so the request is in a dialog that we let
				 * through */
	struct span route_user; /* user part of the last own Route removed (a flow token), p
				 * NULL without */
	bool user_of_dialog;	/* which we wrote for this dialog: its MAC is good */
	bool forged_token;	/* in a dialog, with a user part in an own Route that we did not
				 * write for it (RFC 5626 5.3: 403) */
	uint32_t max_breadth;	/* Max-Breadth, at most the configured one */
	uint32_t max_forwards;	/* as received; the configured one where there is none */
};
/*
 * Request-URI, scheme, Max-Forwards, loop (RFC 5393), Proxy-Require; then Route
 * preprocessing.  0 and *ret_r, or -EBADMSG and *ret_fault (with its lines, e.g. Unsupported,
 * in the arena) to answer with (never for ACK).
 */
struct proxy_fault {
	unsigned status;
	const char *reason;
	struct span lines;
};
int proxy_validate(struct proxy *p, const struct sip_msg *m, const struct sip_via *top,
		   const struct sip_flow *src, struct proxy_request *ret_r,
		   struct proxy_fault *ret_fault);

/* The first of comma-separated name-addrs (a Path); *ret_rest: the others (may be empty). */
struct span proxy_first_value(struct span list, struct span *ret_rest);

/* The node (proxy_conf.node) that a Via of any proxy of the cluster says to have written it for
 * a named target; 0: it does not say.  Not under a MAC: it says which of two, that is all. */
uint16_t proxy_node_named(const struct sip_via *top);
/* proxy_target.tag of a request that this proxy, or the one of the other member of our pair,
 * has made: of its top Via, which is not verified (a CANCEL, and an ACK, say too little for
 * that); 0: it names none. */
uint64_t proxy_target_named(const struct proxy *p, const struct sip_via *top);

/* The pair (proxy_conf.pair) that has written a URI of Record-Route; empty: none says so. */
struct span proxy_pair_in(const struct sip_uri *u);

/* Would Record-Route be written (16.6 step 4)?  For what makes a dialog; RFC 6665 4.3 adds the
 * NOTIFY that makes one. */
bool proxy_makes_dialog(const struct proxy_request *r);

/* ---- stateful: 16.5 to 16.10 ---- */

enum proxy_target_flag {
	PROXY_TARGET_KEEP_URI =
		1, /* forward with the Request-URI as it stands (16.6 step 2 skipped) */
	/* Tried only when the flow of the target before it fails (RFC 5626 7: another flow to
	 * the same instance); of the same q.  Not for the first target. */
	PROXY_TARGET_SPARE = 2,
	/* Stateless alone: the branch of the node above, a proxy of ours that has looked for
	 * loops, names the target already.  Ours depends on that branch and not on how the
	 * target is reached, so that a CANCEL gets its INVITE's (9.1, 16.11) when the phone has
	 * registered anew in between, by another contact or flow. */
	PROXY_TARGET_NAMED_ABOVE = 4,
};
struct proxy_target {
	struct span uri; /* new Request-URI, without what 19.1.1 forbids there */
	/* Route values to put first (Path): "<sip:...>,<sip:...>"; or empty */
	struct span route;
	/* User part (a flow token, RFC 5626) of the Record-Route value that faces this target.
	 * With it, or the one in proxy_opts, two values are written. */
	struct span record_user;
	uint16_t q;    /* 0 to 1000: equal q in parallel, higher first */
	bool has_flow; /* send over this flow: no resolution */
	struct sip_flow flow;
	uint32_t flags;
	uint64_t tag; /* the role's own, handed back by the hooks */
};

struct proxy_hooks {
	/* A branch failed in a way that tells of its flow (430, transport error on a given
	 * flow).  route: of its target. */
	void (*flow_failed)(void *arg, uint64_t tag, const struct sip_flow *f,
			    struct span route);
	/* A target, which may have connected anew since the role looked it up: its flow and, if
	 * it has one, its record_user (in the arena) by now; else left as they are.  late:
	 * others have had their turn since, not only a write its time.  May be NULL. */
	void (*find)(void *arg, uint64_t tag, bool late, struct sip_flow *f,
		     struct span *record_user);
	/* May a 3xx be followed there (16.5)?  The role authorises a target that a device named
	 * as it would one that the caller named.  NULL: nowhere. */
	bool (*may_follow)(void *arg, const struct sip_uri *target);
	/* The call has sent its final response (status) and all branches are done. */
	void (*done)(void *arg, unsigned status);
};

struct proxy_journal;
struct proxy_opts {
	struct span lines;	  /* header lines that the role adds to the forwarded request */
	uint64_t strip;		  /* bit (1 << enum sip_hdr_kind): fields not to be forwarded */
	uint64_t strip_responses; /* the same, of what comes back */
	struct span record_user; /* user part of the Record-Route value that faces the caller */
	struct span path; /* a Path value (RFC 3327) to be put first, "<sip:...>"; or empty */
	/* A flow token to be brought back by responses, in our Via: they go by it.  It is under
	 * the branch's MAC, so it must be the same for the request when the other member of a
	 * pair sends it once more. */
	struct span via_flow;
	bool no_record_route;
	const struct proxy_hooks *hooks; /* may be NULL */
	void *hooks_arg;
	const struct proxy_journal *journal; /* journal.h; NULL: nothing is written */
};

/*
 * Makes the server transaction and forwards to the targets; everything that follows (responses,
 * CANCEL, time-outs, fail-over to the next address) is done by the engine.  With n 0 the next
 * hop is found by Route or Request-URI alone.  0; -ENOMEM and -ENOSPC have been answered (500
 * or 503); the spans need to live during the call only.
 */
int proxy_forward(struct proxy *p, const struct proxy_request *r, const struct proxy_target *v,
		  unsigned n, const struct proxy_opts *opts, msec now);
/* The same with a server transaction that the role has made for the request (an asynchronous
 * decision): r is of proxy_validate() over txn_request(server), now, since its spans die with
 * the arena.  The engine becomes the transaction's user; a CANCEL before that was the role's.
 */
int proxy_forward_txn(struct proxy *p, struct txn *server, const struct proxy_request *r,
		      const struct proxy_target *v, unsigned n, const struct proxy_opts *opts,
		      msec now);

/* ---- stateless: 16.11 ---- */

/* Forwards a request with a branch derived from it; to `flow`, or (NULL) where Route or the
 * Request-URI say when that needs no resolution; with one, forwarded when it is there.  Used
 * for ACK to a 2xx and for the edge's hop to a home.  0, or -errno (counted, nothing sent). */
int proxy_forward_stateless(struct proxy *p, const struct proxy_request *r,
			    const struct proxy_target *target, const struct proxy_opts *opts,
			    msec now);
/* A response that matches no transaction: our Via is taken off when it is ours by its branch,
 * and it goes to the next one (16.11, 18.2.2).  -EPERM: not ours; dropped.
 * -ESTALE, -EXDEV: as read_flow() said. */
int proxy_response_stateless(struct proxy *p, const struct sip_msg *m,
			     const struct sip_via *top, const struct sip_flow *src);
/* A response of a transaction whose way to the caller is gone, as if its request had been
 * forwarded without one: with a Via of ours on top that brings the flow token (as
 * proxy_opts.via_flow), so that proxy_response_stateless() finds where he is by now, here or at
 * the other member of our pair.  listener: that it would have left by.  NULL: out of memory, or
 * it cannot be read. */
struct bytes *proxy_response_by_token(struct proxy *p, struct span response, uint16_t listener,
				      struct span token);

struct proxy_counters {
	uint64_t forwarded, responses, stateless, loops, too_many_hops, no_target, refused,
		rebuilt,    /* INVITEs of another member, from a response or a CANCEL */
		adopted,    /* calls of another member, from their records */
		calls,	    /* now */
		unanswered; /* of these, without a final response sent */
};
const struct proxy_counters *proxy_counters(const struct proxy *p);

#endif
