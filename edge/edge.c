/*
 * The edge role: where a request goes: to the home of our users, along a dialog that was let
 * through, or out to another domain.  Never an open relay.  It knows no registered phone.
 * RFC 3261 16.4 to 16.6 are common/proxy's.
 */
#include "edge/edge_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static void edge_stop(void *state)
{
	struct edge *e = state;
	if (!e)
		return;
	phones_free(e->phones);
	edge_challenge_stop(e);
	free(e->realm);
	free(e);
}

/* The pairs of homes, each once. */
static void find_homes(struct edge *e)
{
	const struct cluster_node *v;
	unsigned n = cluster_nodes(e->cluster, &v);
	e->self = v[cluster_self(e->cluster)].name;
	for (unsigned i = 0; i < n; i++)
		if (v[i].role == CLUSTER_HOME && !*edge_home_named(e, span_str(v[i].pair)))
			e->home[e->nhomes++] = v[i].pair;
}

static int edge_start(const struct app_services *sv, void **ret_state, char *ret_error)
{
	struct edge *e = calloc(1, sizeof(*e));
	if (!e || !(e->realm = strdup(sv->conf->auth.realm))) {
		edge_stop(e);
		strcpy(ret_error, "out of memory");
		return -ENOMEM;
	}
	e->app = sv->app;
	e->records = sv->records;
	if (!app_has_role(sv->app, APP_HOME)) {
		e->cluster = sv->cluster;
		find_homes(e);
		if (edge_challenge_start(e, sv->conf) < 0 || edge_phones_start(e) < 0) {
			edge_stop(e);
			strcpy(ret_error, "out of memory");
			return -ENOMEM;
		}
	}
	*ret_state = e;
	return 0;
}

/* ---- other domains ---- */

/* An administered route: exact domain first, else "*". */
static const char *route_for(const struct conf *c, struct span host)
{
	const char *any = NULL;
	for (unsigned i = 0; i < c->edge.routes_count; i++) {
		if (span_ieq(host, span_str(c->edge.routes[i].domain)))
			return c->edge.routes[i].uri;
		if (span_eq(SPAN("*"), span_str(c->edge.routes[i].domain)))
			any = c->edge.routes[i].uri;
	}
	return any;
}

static void outbound(struct edge *e, struct app_worker *w, const struct app_request *q,
		     msec now)
{
	const uint32_t inside = APP_MARK_INSIDER | APP_MARK_AUTHENTICATED;
	const struct proxy_request *r = q->r;
	/* Who claims to be ours proves it there; whoever hides may be ours. */
	if (!(q->marks & inside) && app_caller(w, r->msg) != APP_CALLER_FOREIGN) {
		edge_to_home(e, w, q, now);
		return;
	}
	if (!(q->marks & inside) || !w->conf->edge.outbound) {
		edge_deny_relay(e, w, q);
		return;
	}
	edge_count(&e->outbound);
	log_event(LOG_INFO, "outbound", LOG_S("method", r->msg->method_text),
		  LOG_S("uri", app_uri_shown(&r->uri)), LOG_S("call-id", r->msg->call_id));
	app_forward(w, q, r->has_route ? NULL : route_for(w->conf, r->uri.host), now);
}

/* ---- requests ---- */

static void edge_request(void *state, struct app_worker *w, const struct app_request *in,
			 msec now)
{
	struct edge *e = state;
	struct app_request q = *in;
	const struct proxy_request *r = q.r;
	bool ours = app_is_ours(w, r), elsewhere = !ours || r->has_route;
	q.marks = app_marks_of(w, in);
	if (app_to_phone(w, &q, &e->dialog, now) || app_by_flow(w, &q, &e->dialog, now))
		return;
	if (elsewhere && (q.marks & APP_MARK_IN_DIALOG)) {
		edge_count(&e->dialog.in_dialog);
		app_forward(w, &q, NULL, now);
	} else if (elsewhere) {
		outbound(e, w, &q, now);
	} else if (!r->uri.user.p && r->msg->method != SIP_REGISTER) {
		edge_count(&e->own_options);
		app_own_request(w, &q);
	} else {
		edge_to_home(e, w, &q, now);
	}
}

/* An ACK to a 2xx: along the dialog's route, or from an insider.  One to another response
 * belongs to a transaction: in a cluster that is the home's, and it goes the way that its
 * INVITE went. */
static void edge_ack(void *state, struct app_worker *w, const struct app_request *in, msec now)
{
	struct edge *e = state;
	struct app_request q = *in;
	struct proxy_opts opts;
	q.marks = app_marks_of(w, in);
	bool to_us = app_is_ours(w, q.r) && !q.r->has_route;
	if (app_to_phone(w, &q, &e->dialog, now))
		return;
	if (!(q.marks & (APP_MARK_IN_DIALOG | APP_MARK_INSIDER)) && !(e->cluster && to_us)) {
		edge_count(&e->relay_denied);
		return;
	}
	if (app_by_flow(w, &q, &e->dialog, now) || app_to_next_pair(w, &q, now))
		return;
	if (to_us && (e->cluster || app_has_role(w->app, APP_HOME))) {
		edge_to_home(e, w, &q, now); /* a GRUU, or not to a 2xx */
		return;
	}
	app_forward_opts(w, &q, false, &opts);
	if (q.r->src.node)
		opts.via_flow = app_via_token(w, &q.r->src);
	proxy_forward_stateless(stack_proxy(w->stack), q.r, NULL, &opts, now);
}

/* In a cluster the transaction is the home's, or its phone's: on along the way of the INVITE.
 */
static enum stack_found edge_cancel(void *state, struct app_worker *w,
				    const struct app_request *in, msec now)
{
	struct edge *e = state;
	struct app_request q = *in;
	if (!e->cluster)
		return STACK_UNKNOWN;
	q.marks = app_marks_of(w, in);
	if (app_to_phone(w, &q, &e->dialog, now) || app_by_flow(w, &q, &e->dialog, now) ||
	    app_to_next_pair(w, &q, now))
		return STACK_DONE;
	if (!app_is_ours(w, q.r) && app_caller(w, q.r->msg) != APP_CALLER_OURS)
		return STACK_UNKNOWN;
	edge_to_home(e, w, &q, now);
	return STACK_DONE;
}

/* ---- metrics ---- */

static void one(struct metrics_out *o, const char *name, const char *help, _Atomic uint64_t *v)
{
	metrics_counter(o, name, help, atomic_load_explicit(v, memory_order_relaxed));
}

static void edge_metrics(void *state, struct metrics_out *o)
{
	struct edge *e = state;
	one(o, "edge_to_home_total", "Requests for users of our domain", &e->to_home);
	one(o, "edge_to_phone_total", "Requests of homes for phones", &e->dialog.to_phone);
	one(o, "edge_delivered_alone_total",
	    "Requests delivered without a home, since no member of it lives",
	    &e->delivered_alone);
	one(o, "edge_not_found_total", "Requests for users that nobody knows", &e->not_found);
	one(o, "edge_challenges_total", "Requests asked for credentials before their home",
	    &e->challenged);
	one(o, "edge_outbound_total", "Requests let out to other domains", &e->outbound);
	one(o, "edge_in_dialog_total", "Requests inside a dialog", &e->dialog.in_dialog);
	one(o, "edge_relay_denied_total", "Requests of outsiders for others", &e->relay_denied);
	one(o, "edge_flow_failed_total", "Requests in dialogs whose phone's flow is gone",
	    &e->dialog.flow_failed);
	one(o, "edge_flow_forged_total", "Requests with flow tokens that we did not write",
	    &e->dialog.flow_forged);
	one(o, "edge_options_total", "OPTIONS answered by the server itself", &e->own_options);
}

static const struct app_role edge_role = {
	.kind = APP_EDGE,
	.name = "edge",
	.start = edge_start,
	.stop = edge_stop,
	.request = edge_request,
	.ack = edge_ack,
	.cancel = edge_cancel,
	.phones = edge_phones,
	.commands = edge_commands,
	.ncommands = EDGE_COMMANDS,
	.elsewhere = "registrations and locks, at their homes (node NODE registration list, "
		     "node NODE auth locks)",
	.metrics = edge_metrics,
};
APP_ROLE(edge_role);
