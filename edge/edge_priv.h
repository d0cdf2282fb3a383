/*
 * The edge role: what its files share.
 */
#ifndef EAVES_EDGE_PRIV_H
#define EAVES_EDGE_PRIV_H

#include "common/app/flows.h"
#include "common/app/role.h"
#include "common/auth/digest.h"
#include "common/directory/directory.h"

struct edge {
	const struct app *app;
	struct records *records;
	struct cluster *cluster; /* NULL: the home is in this process */
	char *realm;
	const char *home[CLUSTER_NODES_MAX];  /* pairs of homes */
	struct auth *auth[CLUSTER_NODES_MAX]; /* of each: its nonces */
	unsigned nhomes;
	const char *self;      /* this node's name; NULL without a cluster */
	struct phones *phones; /* NULL without a cluster */
	struct app_dialog_counters dialog;
	_Atomic uint64_t to_home, outbound, relay_denied, own_options, not_found,
		delivered_alone, challenged;
};

static inline void edge_count(_Atomic uint64_t *n)
{
	atomic_fetch_add_explicit(n, 1, memory_order_relaxed);
}

/* ---- home.c: to the home of a user, and back out to phones ---- */

/* Our users' home: by a call where it is in this process, else by a link to the pair that the
 * directory names: the caller's when he says to be ours and has not proved it yet, else that of
 * the Request-URI's user.  404 when that is nobody. */
void edge_to_home(struct edge *e, struct app_worker *w, const struct app_request *q, msec now);
/* 403 to who sends what is not for him to send this way: most often a phone of ours that has
 * another domain than we.  Counted and logged. */
void edge_deny_relay(struct edge *e, struct app_worker *w, const struct app_request *q);
/* The pair for a new user. */
const char *edge_home_for(const struct edge *e, struct span name);
/* The same name, for as long as the edge lives; "" when there is no such pair. */
const char *edge_home_named(const struct edge *e, struct span pair);

/* ---- challenge.c: instead of the home ---- */

/* 0 or -ENOMEM; stop in either case. */
int edge_challenge_start(struct edge *e, const struct conf *c);
void edge_challenge_stop(struct edge *e);
/* A request whose sender is to prove himself at that pair (one of e->home), and brings nothing
 * to do it with: 401 to a REGISTER, else 407.  False: it is the home's. */
bool edge_challenge(struct edge *e, struct app_worker *w, const struct app_request *q,
		    const char *pair);

/* ---- phones.c: where the phone of a lost connection is now ---- */

/* 0 or -ENOMEM. */
int edge_phones_start(struct edge *e);
/* As app_role.phones. */
struct phones *edge_phones(void *state);

/* ---- alone.c: with no home to ask ---- */

/* False: it is not wanted, not allowed for this request, or no phone is known. */
bool edge_deliver_alone(struct edge *e, struct app_worker *w, const struct app_request *q,
			msec now);

/* ---- commands.c ---- */
enum { EDGE_COMMANDS = 12 };
extern const struct admin_command edge_commands[EDGE_COMMANDS];
/* What an operator is told of an errno of the directory. */
const char *edge_reason(const struct edge *e, int r);
/* What has become of a change that Redis has not got; nothing when it has, or when there was no
 * change. */
void edge_tell_away(const struct edge *e, struct admin_reply *out, int r);
/* A new user, or a password; home: NULL for the one that is chosen by the name.  done, from any
 * thread: it is durable, or never will be.  0, or without done: -ENOENT (he must exist),
 * -EEXIST (he must not), or as auth_ha1_make() and dir_user_put(). */
int edge_user_store(struct edge *e, struct span name, struct span password, const char *home,
		    bool must_exist, void (*done)(void *arg, int error), void *arg);

/* ---- import.c: as admin_command.run ---- */
int edge_import(void *arg, int argc, char **argv, struct span in, struct admin_reply *out);

#endif
