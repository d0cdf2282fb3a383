/*
 * The edge role: what its files share.
 */
#ifndef EAVES_EDGE_PRIV_H
#define EAVES_EDGE_PRIV_H

#include "common/app/role.h"
#include "common/directory/directory.h"

struct edge {
	struct records *records;
	struct cluster *cluster; /* NULL: the home is in this process */
	char *realm;
	const char *home[CLUSTER_NODES_MAX]; /* pairs of homes */
	unsigned nhomes;
	const char *self;      /* this node's name; NULL without a cluster */
	struct phones *phones; /* NULL without a cluster */
	struct app_dialog_counters dialog;
	_Atomic uint64_t to_home, to_phone, outbound, relay_denied, own_options, not_found,
		delivered_alone;
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
/* What a home sends to a phone along the Path that we wrote: over the phone's flow.  False: it
 * is something else. */
bool edge_to_phone(struct edge *e, struct app_worker *w, const struct app_request *q, msec now);
/* The pair for a new user. */
const char *edge_home_for(const struct edge *e, struct span name);
/* The same name, for as long as the edge lives; "" when there is no such pair. */
const char *edge_home_named(const struct edge *e, const char *pair);

/* ---- phones.c: where the phone of a lost connection is now ---- */

struct phones *phones_new(struct records *r, const struct app *a);
struct phones *phones_free(struct phones *p);
/* As app_role.moved. */
int edge_moved(void *state, const struct app *a, uint64_t id, struct sip_flow *ret);

/* The token in a Path of ours: the user part of its first value, "<sip:TOKEN@..."; or empty. */
struct span edge_token_in(struct span path);

/* ---- alone.c: with no home to ask ---- */

/* False: it is not wanted, not allowed for this request, or no phone is known. */
bool edge_deliver_alone(struct edge *e, struct app_worker *w, const struct app_request *q,
			msec now);

/* ---- commands.c ---- */
enum { EDGE_COMMANDS = 12 };
extern const struct admin_command edge_commands[EDGE_COMMANDS];

#endif
