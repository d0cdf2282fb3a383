/*
 * Flows (RFC 5626) as the roles use them: their tokens in Record-Route, Via and Path, and where
 * the phones behind them are.
 */
#ifndef EAVES_APP_FLOWS_H
#define EAVES_APP_FLOWS_H

#include "common/app/role.h"
#include "common/phones/phones.h"

/* The user part of a Path, or of a Record-Route that faces a target with a flow; in the arena,
 * empty when that is full.  outbound: over this flow or not at all. */
struct span app_flow_token(const struct app_worker *w, const struct sip_flow *f, bool outbound);
/* The same of a connection of any start of any process. */
struct span app_flow_token_of(const struct app_worker *w, const struct sip_flow *f,
			      uint64_t boot, bool outbound);
/* Does the connection exist?  Thread-safe. */
bool app_flow_alive(const struct app *a, const struct sip_flow *f);
enum app_flow {
	APP_FLOW_NONE,	 /* goes where Route and Request-URI say */
	APP_FLOW_GOOD,	 /* goes over *ret */
	APP_FLOW_FAILED, /* 430 */
	APP_FLOW_AWAY, /* the phone's connection is gone, and it is expected back: app_defer */
	APP_FLOW_FORGED, /* 403 */
};
/* The node that a request came from, src, says that this one knows: unless the phone has gone
 * there meanwhile, neither does. */
bool app_is_sent_back(const struct app_worker *w, const struct sip_flow *src,
		      const struct sip_flow *to);
/* What the Route of a request in a dialog says of the flow to its other side (5.3). */
enum app_flow app_flow_of(const struct app_worker *w, const struct proxy_request *r,
			  struct sip_flow *ret);
/* Straight from its phone: not by way of another proxy, whose part it is to reach that. */
bool app_has_one_via(const struct sip_msg *m);
/* The user part of the Record-Route that faces the caller; may be empty. */
struct span app_caller_token(const struct app_worker *w, const struct app_request *q);
/* The token of the flow that a request came over, for proxy_opts.via_flow; in the arena. */
struct span app_via_token(const struct app_worker *w, const struct sip_flow *f);
/* The same where a transaction of ours may be gone when the answer comes, and the Via alone
 * would not lead back: over a link, or a connection that may be another by then.  Else empty.
 */
struct span app_way_back(const struct app_worker *w, const struct sip_flow *f);
/* The token of a phone's connection with this process that is gone; empty where nobody is known
 * to have had it, or we are in no cluster. */
struct span app_lost_token(const struct app_worker *w, const struct sip_flow *f);
/* What a token of ours names: 0; -ESTALE: a connection that is gone, of a phone that is
 * expected back by another, and has been knocked at; -ENOENT: one that is gone; -EINVAL,
 * -EPERM: none. */
int app_token_read(struct app *a, struct span token, struct sip_flow *ret);
/* The same of this process alone: 0; -ENOTCONN: a connection of ours that is closed; -ESTALE:
 * one of another process.  *ret_id: its identity (0: none). */
int app_token_here(const struct app *a, struct span token, struct sip_flow *ret,
		   uint64_t *ret_id);
/* The same of a connection by its number and the start of its process. */
int app_conn_here(const struct app *a, const struct sip_flow *f, uint64_t boot,
		  uint64_t *ret_id);
/* Have we closed the connections of that listener's phones?  They call again at once. */
bool app_has_hung_up(const struct app *a, unsigned listener);
/* Those of the role that faces phones; NULL: it has none. */
struct phones *app_phones(const struct app *a);
/* phones_at() with what it means here: 0, -ESTALE (it has been knocked at) or -ENOENT. */
int app_phone_at(struct app *a, struct phones *p, uint64_t tag, struct sip_flow *ret);
/* "<sip:TOKEN@pair;lr>": tells the other member of our pair which flow of its is meant. */
struct span app_token_route(const struct app_worker *w, struct span token);
/* Takes a request in again in a moment.  False: it has waited long enough, and is to be
 * answered.
 */
bool app_defer(struct app_worker *w, const struct app_request *q);

#endif
