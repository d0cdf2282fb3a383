/*
 * Between phones and homes.  The edge knows where each address lives, not which phones are
 * registered: a request goes on to the pair of homes that the directory names, without a
 * transaction; a REGISTER gets a Path (RFC 3327) with the flow token of its phone (RFC 5626),
 * and what comes back along it leaves over that flow.
 */
#include "edge/edge_priv.h"

#include "common/flow/gruu.h"

#include <errno.h>
#include <stdio.h>

static uint64_t bit(enum sip_hdr_kind k)
{
	return (uint64_t)1 << k;
}

const char *edge_home_for(const struct edge *e, struct span name)
{
	uint64_t h = 14695981039346656037u;
	for (size_t i = 0; i < name.n; i++)
		h = (h ^ (unsigned char)name.p[i]) * 1099511628211u;
	h = (h ^ h >> 31) * 0x9e3779b97f4a7c15u;
	return e->nhomes ? e->home[(h >> 32) % e->nhomes] : "";
}

const char *edge_home_named(const struct edge *e, struct span pair)
{
	for (unsigned i = 0; i < e->nhomes; i++)
		if (span_eq(pair, span_str(e->home[i])))
			return e->home[i];
	return "";
}

/* Of a temporary one only the homes of the pair that it names know whose it is. */
static bool is_gruu(const struct sip_uri *u)
{
	return sip_uri_param(u, SPAN("gr")) != NULL;
}

/* The pair of the user that a URI of ours names; "" when there is none. */
static const char *home_of(const struct edge *e, const struct sip_uri *u)
{
	char user[DIR_NAME_MAX_BYTES + 1];
	struct dir_user record;
	struct span name, pair, token;
	if (u->scheme == SIP_SCHEME_OTHER || !u->user.p || sip_uri_user(u, &name) < 0)
		return "";
	if (gruu_temporary(u, &pair, &token))
		return edge_home_named(e, pair);
	if (dir_resolve(e->records, name, time_wall_ms(), user, &record) < 0)
		return "";
	return edge_home_named(e, span_str(record.home));
}

/* The home whose word on the caller is needed first: who says to be one of ours, or hides who
 * he is and wants to leave the domain, proves himself there; not in a dialog that was let
 * through (its home would not ask him, and send it back).  Any home knows all users.  "":
 * nobody's. */
static const char *caller_home(const struct edge *e, const struct app_worker *w,
			       const struct app_request *q)
{
	const uint32_t proved = APP_MARK_INSIDER | APP_MARK_AUTHENTICATED | APP_MARK_IN_DIALOG;
	enum app_caller caller = app_caller(w, q->r->msg);
	struct sip_nameaddr from;
	if ((q->marks & proved) || caller == APP_CALLER_FOREIGN ||
	    (caller == APP_CALLER_ANONYMOUS && app_is_ours(w, q->r)) ||
	    sip_msg_from(q->r->msg, &from) < 0)
		return "";
	const char *pair = home_of(e, &from.uri);
	return *pair ? pair : edge_home_for(e, from.uri.user);
}

static void not_found(struct edge *e, struct app_worker *w, const struct app_request *q)
{
	edge_count(&e->not_found);
	log_event(LOG_INFO, "user-not-found", LOG_S("uri", app_uri_shown(&q->r->uri)),
		  LOG_S("call-id", q->r->msg->call_id));
	app_reply(w, q, 404, NULL, SPAN(""));
}

/* "<sip:TOKEN@edge;lr;ob;m=e1;leg=udp>": to either member of our pair, and which of them has
 * the connection.  `ob` (RFC 5626 5.1): it is the phone's own, for we are its first hop; behind
 * another proxy it says whether it keeps the phone's flow, in its own Path. */
static struct span path_of(const struct edge *e, const struct app_worker *w,
			   const struct proxy_request *r)
{
	const struct sip_flow *f = &r->src;
	const struct proxy_local *l = stack_local(w->stack, f->listener);
	bool first = app_has_one_via(r->msg);
	struct span token = app_flow_token(w, f, first);
	struct span transport = span_str(sip_transport_uri(f->transport)), none = SPAN("");
	bool udp = f->transport == SIP_TRANSPORT_UDP;
	char port[SPAN_DEC_MAX];
	if (!l || !token.n)
		return SPAN("");
	return ARENA_JOIN(sip_arena(), SPAN("<sip:"), token, SPAN("@"), l->host, SPAN(":"),
			  span_dec(l->port, port), udp ? none : SPAN(";transport="),
			  udp ? none : transport, first ? SPAN(";lr;ob;m=") : SPAN(";lr;m="),
			  span_str(e->self), SPAN(";leg="), transport, SPAN(">"));
}

/* What goes in with a request from outside: credentials are the home's to check. */
static void link_opts(const struct edge *e, const struct app_worker *w,
		      const struct app_request *q, struct proxy_opts *opts)
{
	*opts = (struct proxy_opts){.record_user = app_caller_token(w, q)};
	if (q->r->src.node)
		return;
	if (!(q->marks & APP_MARK_INSIDER))
		opts->strip = bit(SIP_HDR_P_ASSERTED_IDENTITY) | bit(SIP_HDR_REMOTE_PARTY_ID);
	if (q->r->msg->method == SIP_REGISTER)
		opts->path = path_of(e, w, q->r);
}

/* The pair that the request goes to; "" when there is none.  *marks: ROUTED when it is the home
 * of the Request-URI's user. */
static const char *pair_for(const struct edge *e, const struct app_worker *w,
			    const struct app_request *q, uint32_t *marks)
{
	const struct sip_uri *u = &q->r->uri;
	struct sip_nameaddr to;
	const char *pair = "";
	if (q->r->msg->method == SIP_REGISTER) {
		/* An unknown user is answered as one with a wrong password is: by a home. */
		if (sip_msg_to(q->r->msg, &to) < 0)
			return "";
		pair = home_of(e, &to.uri);
		return *pair ? pair : edge_home_for(e, to.uri.user);
	}
	pair = caller_home(e, w, q);
	if (*pair)
		return pair;
	*marks |= APP_MARK_ROUTED;
	pair = home_of(e, u);
	return *pair || !is_gruu(u) ? pair : edge_home_for(e, u->user);
}

/* A home answers every REGISTER itself: by way of one, and of us, somebody would have it look
 * as if we had written its Path. */
static bool registers_by_home(const struct edge *e, const struct proxy_request *r)
{
	const struct cluster_node *v;
	unsigned n = cluster_nodes(e->cluster, &v);
	return r->msg->method == SIP_REGISTER && r->src.node && r->src.node <= n &&
	       v[r->src.node - 1].role == CLUSTER_HOME;
}

void edge_deny_relay(struct edge *e, struct app_worker *w, const struct app_request *q)
{
	const struct proxy_request *r = q->r;
	char source[ADDR_TEXT_MAX];
	size_t n = addr_text(&r->src.remote, source);
	edge_count(&e->relay_denied);
	log_event(LOG_INFO, "relay-denied", LOG_S("method", r->msg->method_text),
		  LOG_S("uri", app_uri_shown(&r->uri)), LOG_S("source", span_of(source, n)));
	app_reply(w, q, 403, "Relaying Denied", SPAN(""));
}

static void by_link(struct edge *e, struct app_worker *w, const struct app_request *q, msec now)
{
	struct proxy_opts opts;
	uint32_t marks = q->marks;
	if (registers_by_home(e, q->r)) {
		edge_deny_relay(e, w, q);
		return;
	}
	const char *pair = pair_for(e, w, q, &marks);
	if (!*pair) {
		not_found(e, w, q);
		return;
	}
	bool lives = cluster_member(e->cluster, span_str(pair), -1) >= 0;
	if (!lives && !app_serve_waits(w->app, now) && edge_deliver_alone(e, w, q, now))
		return;
	if (lives && !(marks & APP_MARK_ROUTED) && edge_challenge(e, w, q, pair))
		return;
	edge_count(&e->to_home);
	link_opts(e, w, q, &opts);
	app_to_pair(w, q, pair, -1, marks, &opts, now);
}

void edge_to_home(struct edge *e, struct app_worker *w, const struct app_request *q, msec now)
{
	if (e->cluster) {
		by_link(e, w, q, now);
		return;
	}
	edge_count(&e->to_home);
	app_link(w, APP_HOME, q, now);
}
