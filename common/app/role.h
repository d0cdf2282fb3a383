/*
 * Roles (edge, home) and the links between them.  A role is data: its name, what it does with a
 * request, its commands and counters.  A process has the roles that are linked into it; they
 * reach each other by app_link() alone: in one process that is a call, between processes a
 * cluster link.
 */
#ifndef EAVES_APP_ROLE_H
#define EAVES_APP_ROLE_H

#include "common/admin/admin.h"
#include "common/cluster/cluster.h"
#include "common/conf/conf.h"
#include "common/metrics/metrics.h"
#include "common/records/records.h"
#include "common/stack/stack.h"

#include <pthread.h>

enum app_role_kind { APP_EDGE, APP_HOME, APP_ROLE_COUNT };

/* Kinds of small messages between nodes (cluster_notify). */
enum app_notice {
	APP_NOTICE_NONCE =
		1, /* a nonce count was used: AUTH_USE_BYTES each, to the other member */
	APP_NOTICE_POISON = 2,	/* messages that have crashed a node: POISON_ITEM_BYTES each */
	APP_NOTICE_KNOCK = 3,	/* flow tokens, a space behind each: of phones that are to find
				 * out that their connection is gone; to the other member */
	APP_NOTICE_REBUILT = 4, /* proxy_request_key() of calls without a record, 8 bytes each,
				 * that the sender goes on with; to the other member */
	APP_NOTICE_LEFT = 5,	/* nothing: the service address has left the sender, with the
				 * connections of its phones; to all */
};

/* What is known of a request besides its bytes; set by who decided it, believed by the other
 * role because the link is ours. */
enum app_mark {
	APP_MARK_INSIDER = 1,	    /* from a trusted host, certificate or listener */
	APP_MARK_CHALLENGE = 2,	    /* came by a listener where everybody proves who he is */
	APP_MARK_AUTHENTICATED = 4, /* the home has authenticated the caller */
	APP_MARK_IN_DIALOG = 8, /* came back along a Record-Route of ours: in a dialog that was
				 * let through */
	APP_MARK_ROUTED = 16, /* an edge found the user of the Request-URI to be this home's */
	APP_MARK_NODE = 32,   /* a node of the cluster sent it: the marks above are its word */
	APP_MARK_STRANGER =
		64, /* came to where nodes speak to each other, from nobody of them */
};

/* A request on its way through the roles.  Lives during the call only. */
struct app_request {
	const struct proxy_request *r;
	uint32_t marks;	  /* enum app_mark */
	struct span user; /* who sent it, when AUTHENTICATED: user name, unescaped */
};

/* A worker as the roles see it.  conf: the snapshot in force, good until the function returns.
 */
struct app_worker {
	unsigned index;
	struct stack *stack;
	const struct conf *conf;
	struct app *app;
};

/* What a role may use, from start to stop. */
struct app_services {
	const struct conf *conf; /* at the start: copy what is to be kept */
	struct records *records;
	bool durable; /* records have a store behind them */
	struct span secret;
	uint64_t boot;		 /* identity of this start of the process, not 0 */
	struct cluster *cluster; /* NULL: none */
	struct app *app;
};

/* A key for what the members of that pair make and take. */
struct mac_key app_key_of_pair(const struct app *a, const char *pair, const char *purpose);

struct phones;

struct app_role {
	enum app_role_kind kind;
	const char *name;
	/* 0 and *ret_state; -errno and ret_error (256 bytes). */
	int (*start)(const struct app_services *sv, void **ret_state, char *ret_error);
	void (*stop)(void *state);
	/* A new configuration is in force; in the main thread. */
	void (*reload)(void *state, const struct conf *conf);
	void (*request)(void *state, struct app_worker *w, const struct app_request *q,
			msec now);
	void (*ack)(void *state, struct app_worker *w, const struct app_request *q, msec now);
	/* A CANCEL that matches no transaction, a response that does not: as stack_user's.
	 * NULL: nothing to be done about it. */
	enum stack_found (*cancel)(void *state, struct app_worker *w,
				   const struct app_request *q, msec now);
	enum stack_found (*response)(void *state, struct app_worker *w, const struct sip_msg *m,
				     const struct sip_via *top, const struct sip_flow *src,
				     bool again, msec now);
	/* Whose connections are whose; NULL: nobody's.  May be NULL. */
	struct phones *(*phones)(void *state);
	/* A node has come to life, died, or begins to drain; a small message from one.  In the
	 * bus's thread.  May be NULL. */
	void (*node_changed)(void *state, unsigned node);
	/* This node of a cluster begins to serve: its tables are as those of the others.  In
	 * the main thread.  May be NULL. */
	void (*serving)(void *state);
	void (*notice)(void *state, unsigned node, unsigned kind, struct span body);
	const struct admin_command *commands; /* run with the role's state */
	unsigned ncommands;
	const char *elsewhere; /* where commands of other roles are, in a cluster */
	void (*metrics)(void *state, struct metrics_out *o);
};

/* Registers a role with the program that it is linked into. */
#define APP_ROLE(role)                                      \
	static const struct app_role *const app_role_##role \
		__attribute__((used, section("app_roles"))) = &(role)

/* Hands a request to the other role.  It answers or forwards it. */
void app_link(struct app_worker *w, enum app_role_kind to, const struct app_request *q,
	      msec now);
bool app_has_role(const struct app *a, enum app_role_kind kind);
/* The workers, by index; NULL behind the last. */
struct app_worker *app_worker_at(const struct app *a, unsigned i);

/* ---- the cluster: cluster.c and link.c ---- */

/* Nodes that were cut off from us are heard again one by one: half a second between two
 * attempts of the bus, three for a handshake. */
enum { APP_RETURN_MS = 5000 };

/* NULL without one. */
struct cluster *app_cluster(const struct app *a);
/* It seems dead, but it is we who stood still, less than dead_ms ago: it has gone on with what
 * we had.  From any thread. */
bool app_may_live(const struct app *a, unsigned node);
/* The name of the pair that this node belongs to; NULL without a cluster. */
const char *app_pair(const struct app *a);
/* Is there a Redis behind this node, and does it take no writes now?  Why.  From any thread. */
enum { APP_WHY_MAX = 256 };
bool app_redis_away(const struct app *a, char ret_why[APP_WHY_MAX]);
/* The pair of the edges; NULL without a cluster, or where it has none. */
const char *app_edge_pair(const struct app *a);
/* The node that gets what is for a pair now, as a flow to send over; prefer: index of a node
 * that goes first when it serves, or -1.  leg: of the peer that the message comes from or goes
 * to, NONE when that repeats itself whatever it is.  -EHOSTUNREACH: no member lives. */
int app_node_flow(const struct app_worker *w, const char *pair, int prefer,
		  enum sip_transport leg, struct sip_flow *ret);
/* Header line that tells a node what we know of a request; empty when the arena is full. */
struct span app_link_line(const struct app_request *q, uint32_t marks);
/* The transport of the peer outside of the cluster who sent by f: does he repeat himself? */
enum sip_transport app_leg_of(const struct sip_flow *f);
/* Just now it reaches nobody, or may be about to know so, and the service address may go to the
 * other member, who may do: nothing is refused for want of others yet.  From any thread. */
bool app_serve_waits(const struct app *a, msec now);

/* A node of a cluster that may not have heard yet of all that the others know. */
bool app_joins(const struct app *a);
/* Sends a request on to a pair, statelessly (16.11): the whole of edge to home, home to edge.
 * No member lives: 503 with Retry-After, or nothing yet (app_serve_waits).  opts: lines, strip
 * and the rest of the role's own; the link's are added. */
void app_to_pair(struct app_worker *w, const struct app_request *q, const char *pair,
		 int prefer, uint32_t marks, struct proxy_opts *opts, msec now);

/* A message as it came from src, to a node: that one is to deal with it.  0, or -EOVERFLOW:
 * there is too much of the sender's to take off. */
int app_hand_to_node(struct app_worker *w, const struct sip_msg *m, const struct sip_flow *src,
		     unsigned node);

/* A request as it came, over a flow: of a phone, or of the node that has its connection.  0;
 * -EPERM: it has been handed to and fro too often; -ENOMEM; -EOVERFLOW (as above). */
int app_as_it_came(struct app_worker *w, const struct app_request *q,
		   const struct sip_flow *to);

/* Is the host (domain, alias, listener, own address) one of ours?  Thread-safe. */
bool app_is_local(const struct app_worker *w, struct span host, uint16_t port);
/* One of this node's own names, that it has written into Record-Route: a listener's? */
bool app_is_self(const struct app_worker *w, struct span host, uint16_t port);
/* Whom From claims the caller to be; anonymous: RFC 3323 4.1.1.3. */
enum app_caller { APP_CALLER_FOREIGN, APP_CALLER_OURS, APP_CALLER_ANONYMOUS };
enum app_caller app_caller(const struct app_worker *w, const struct sip_msg *m);
/* Is it the domain or one of its aliases? */
bool app_is_domain(const struct conf *c, struct span host);
/* A URI fit for a log: without a password. */
struct span app_uri_shown(const struct sip_uri *u);
/* A shorthand for stack_reply. */
void app_reply(struct app_worker *w, const struct app_request *q, unsigned status,
	       const char *reason, struct span lines);
/* ---- requests in dialogs: dialog.c ---- */

struct app_dialog_counters {
	_Atomic uint64_t to_phone, in_dialog, flow_failed, flow_forged;
};
/* The marks with what the role has seen of the dialog, and without what a Path or Contact of a
 * phone has sent back to us as if it were an insider's. */
uint32_t app_marks_of(const struct app_worker *w, const struct app_request *q);
/* What a node sends to a phone along a Path that we wrote, or what the other member of our pair
 * has for one of ours: over the flow that its Route names.  False: it is something else. */
bool app_to_phone(struct app_worker *w, const struct app_request *q,
		  struct app_dialog_counters *count, msec now);
/* RFC 5626 5.3: over the flow that was recorded when the dialog began.  True: it has been
 * forwarded or answered. */
bool app_by_flow(struct app_worker *w, const struct app_request *q,
		 struct app_dialog_counters *count, msec now);
/* In a dialog whose next Route another pair of the cluster wrote: by the link with that, which
 * outlives one of its members.  False: it is something else, or none of them lives. */
bool app_to_next_pair(struct app_worker *w, const struct app_request *q, msec now);
/* On along Route and Request-URI; route: an administered next hop, NULL without. */
void app_forward(struct app_worker *w, const struct app_request *q, const char *route,
		 msec now);
/* A request for the server itself. */
void app_own_request(struct app_worker *w, const struct app_request *q);
bool app_is_ours(const struct app_worker *w, const struct proxy_request *r);

/* ---- waiting for the store, in a command: durable.c ---- */

struct app_durable {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned waiting;
	int error;
};
#define APP_DURABLE_INIT                                                  \
	{                                                                 \
		PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0 \
	}
void app_durable_expect(struct app_durable *d);
/* For `done` of the records: arg is the app_durable. */
void app_durable_done(void *arg, int error);
/* Waits until at most `left` are outstanding; the first error since the start. */
int app_durable_wait(struct app_durable *d, unsigned left);
/* r: what the records call gave; the done of a call that failed never comes. */
int app_durable_end(struct app_durable *d, int r);

/* What is taken off and added when a request of ours goes on (RFC 3325, RFC 3261 22.3):
 * insiders' marks of outsiders, credentials that were for us; the identity that was proved.
 * to_trusted: an identity that its owner keeps private (Privacy: id) may go there, and one
 * that is asserted there is believed. */
void app_forward_opts(const struct app_worker *w, const struct app_request *q, bool to_trusted,
		      struct proxy_opts *ret_opts);

#endif
