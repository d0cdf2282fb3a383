/*
 * Roles (edge, home) and the links between them.  A role is data: its name, what it does with a
 * request, its commands and counters.  A process has the roles that are linked into it; they
 * reach each other by app_link() alone: in one process that is a call, between processes a
 * cluster link.
 */
#ifndef EAVES_APP_ROLE_H
#define EAVES_APP_ROLE_H

#include "common/admin/admin.h"
#include "common/conf/conf.h"
#include "common/metrics/metrics.h"
#include "common/records/records.h"
#include "common/stack/stack.h"

enum app_role_kind { APP_EDGE, APP_HOME, APP_ROLE_COUNT };

/* What is known of a request besides its bytes; set by who decided it, believed by the other
 * role because the link is ours. */
enum app_mark {
	APP_MARK_INSIDER = 1,	    /* from a trusted host, certificate or listener */
	APP_MARK_CHALLENGE = 2,	    /* came by a listener where everybody proves who he is */
	APP_MARK_AUTHENTICATED = 4, /* the home has authenticated the caller */
	APP_MARK_IN_DIALOG = 8, /* came back along a Record-Route of ours: in a dialog that was
				 * let through */
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
	uint64_t boot; /* identity of this start of the process, not 0 */
	struct app *app;
};

struct app_role {
	enum app_role_kind kind;
	const char *name;
	/* 0 and *ret_state; -errno and ret_error (256 bytes). */
	int (*start)(const struct app_services *sv, void **ret_state, char *ret_error);
	void (*stop)(void *state);
	/* A new configuration is in force; in the main thread. */
	void (*reload)(void *state, const struct conf *conf);
	/* Of the role that the stack speaks to (the edge, where there is one). */
	uint32_t (*classify)(void *state, const struct app_worker *w, const struct sip_flow *f,
			     bool opened, const struct net_peer *peer);
	void (*request)(void *state, struct app_worker *w, const struct app_request *q,
			msec now);
	void (*ack)(void *state, struct app_worker *w, const struct app_request *q, msec now);
	const struct admin_command *commands; /* run with the role's state */
	unsigned ncommands;
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

/* Is the host (domain, alias, listener, own address) one of ours?  Thread-safe. */
bool app_is_local(const struct app_worker *w, struct span host, uint16_t port);
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
/* ---- flows (RFC 5626): flows.c ---- */

/* The user part of a Record-Route that faces a target with a flow, in the arena; may be empty.
 * outbound: over this flow or not at all. */
struct span app_flow_token(const struct app_worker *w, const struct sip_flow *f, bool outbound);
/* Does the connection exist?  Thread-safe. */
bool app_flow_alive(const struct app *a, const struct sip_flow *f);
enum app_flow {
	APP_FLOW_NONE,	 /* goes where Route and Request-URI say */
	APP_FLOW_GOOD,	 /* goes over *ret */
	APP_FLOW_FAILED, /* 430 */
	APP_FLOW_FORGED, /* 403 */
};
/* What the Route of a request in a dialog says of the flow to its other side (5.3). */
enum app_flow app_flow_of(const struct app_worker *w, const struct proxy_request *r,
			  struct sip_flow *ret);

/* What is taken off and added when a request of ours goes on (RFC 3325, RFC 3261 22.3):
 * insiders' marks of outsiders, credentials that were for us; the identity that was proved.
 * to_trusted: an identity that its owner keeps private (Privacy: id) may go there, and one
 * that is asserted there is believed. */
void app_forward_opts(const struct app_worker *w, const struct app_request *q, bool to_trusted,
		      struct proxy_opts *ret_opts);

#endif
