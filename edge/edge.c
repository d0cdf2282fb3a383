/*
 * The edge role: who is inside and who is not, and where a request goes: to the home of our
 * users, along a dialog that was let through, or out to another domain.  Never an open relay.
 * It knows no registered phone.  RFC 3261 16.4 to 16.6 are common/proxy's.
 */
#include "common/app/role.h"

#include <stdlib.h>

struct edge {
	_Atomic uint64_t to_home, outbound, relay_denied, in_dialog, own_options, flow_failed,
		flow_forged;
};

static int edge_start(const struct app_services *sv, void **ret_state, char *ret_error)
{
	struct edge *e = calloc(1, sizeof(*e));
	(void)sv;
	if (!e) {
		strcpy(ret_error, "out of memory");
		return -1;
	}
	*ret_state = e;
	return 0;
}

static void edge_stop(void *state)
{
	free(state);
}

static void count(_Atomic uint64_t *n)
{
	atomic_fetch_add_explicit(n, 1, memory_order_relaxed);
}

/* ---- insiders and outsiders ---- */

static bool certificate_trusted(const struct conf *c, const struct net_peer *peer)
{
	for (unsigned i = 0; peer && i < c->edge.trusted_count; i++) {
		struct span domain = span_str(c->edge.trusted[i].certificate);
		for (unsigned k = 0; domain.n && k < peer->n; k++)
			if (net_tls_name_matches(span_str(peer->names[k]), domain))
				return true;
	}
	return false;
}

static bool address_trusted(const struct conf *c, const struct addr *a)
{
	for (unsigned i = 0; i < c->edge.trusted_count; i++)
		if (c->edge.trusted[i].network && addr_net_match(&c->edge.trusted[i].net, a))
			return true;
	return false;
}

static enum conf_policy policy_of(const struct conf *c, const struct sip_flow *f)
{
	return f->listener < c->listeners_count ? c->listeners[f->listener].policy
						: CONF_POLICY_CHALLENGE;
}

static uint32_t edge_classify(void *state, const struct app_worker *w, const struct sip_flow *f,
			      bool opened, const struct net_peer *peer)
{
	const struct conf *c = w->conf;
	enum conf_policy policy = policy_of(c, f);
	(void)state;
	/* Whom we called by that listener's address has not reached the listener. */
	if (opened && policy == CONF_POLICY_TRUSTED)
		policy = CONF_POLICY_CHALLENGE;
	if (policy == CONF_POLICY_TRUSTED || address_trusted(c, &f->remote) ||
	    certificate_trusted(c, peer))
		return APP_MARK_INSIDER;
	return policy == CONF_POLICY_CHALLENGE ? APP_MARK_CHALLENGE : 0;
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

/* An administered hop is a loose router, whether its URI says so or not. */
static struct span loose(const char *uri)
{
	struct sip_uri u;
	bool says = sip_uri_parse(span_str(uri), &u) == 0 && sip_uri_param(&u, SPAN("lr"));
	return arena_printf(sip_arena(), "<%s%s>", uri, says ? "" : ";lr");
}

static void forward(struct app_worker *w, const struct app_request *q, msec now)
{
	const struct proxy_request *r = q->r;
	const char *hop = r->has_route ? NULL : route_for(w->conf, r->uri.host);
	struct proxy_opts opts;
	struct proxy_target t = {.uri = r->uri_text, .q = 1000, .flags = PROXY_TARGET_KEEP_URI};
	app_forward_opts(w, q, hop != NULL, &opts);
	if (hop)
		t.route = loose(hop);
	proxy_forward(stack_proxy(w->stack), r, &t, hop ? 1 : 0, &opts, now);
}

static void outbound(struct edge *e, struct app_worker *w, const struct app_request *q,
		     msec now)
{
	const uint32_t inside = APP_MARK_INSIDER | APP_MARK_AUTHENTICATED;
	/* Who claims to be ours proves it there; whoever hides may be ours. */
	if (!(q->marks & inside) && app_caller(w, q->r->msg) != APP_CALLER_FOREIGN) {
		app_link(w, APP_HOME, q, now);
		return;
	}
	if (!(q->marks & inside) || !w->conf->edge.outbound) {
		count(&e->relay_denied);
		log_event(LOG_INFO, "relay-denied", LOG_S("uri", app_uri_shown(&q->r->uri)));
		app_reply(w, q, 403, "Relaying Denied", SPAN(""));
		return;
	}
	count(&e->outbound);
	log_event(LOG_INFO, "outbound", LOG_S("method", q->r->msg->method_text),
		  LOG_S("uri", app_uri_shown(&q->r->uri)),
		  LOG_S("call-id", q->r->msg->call_id));
	forward(w, q, now);
}

/* ---- requests ---- */

/* RFC 3261 8.2.2.3: nothing that a UAS would do for OPTIONS is known here. */
static struct span required(const struct sip_msg *m)
{
	struct sip_list_it it = {0};
	struct span v, all = {NULL, 0};
	while (sip_list_next(m, SIP_HDR_REQUIRE, &it, &v))
		all = arena_printf(sip_arena(), "%.*s%s%.*s", SPAN_FMT(all), all.n ? ", " : "",
				   SPAN_FMT(v));
	return all.n ? arena_printf(sip_arena(), "Unsupported: %.*s\r\n", SPAN_FMT(all)) : all;
}

static void own_request(struct edge *e, struct app_worker *w, const struct app_request *q)
{
	struct span unsupported;
	if (q->r->msg->method !=
	    SIP_OPTIONS) { /* RFC 3261 8.2.1: the server itself is no phone */
		app_reply(w, q, 405, NULL, SPAN("Allow: OPTIONS, REGISTER\r\n"));
		return;
	}
	count(&e->own_options);
	unsupported = required(q->r->msg);
	if (unsupported.n) {
		app_reply(w, q, 420, NULL, unsupported);
		return;
	}
	const struct conf *c = w->conf;
	app_reply(w, q, 200, NULL,
		  arena_printf(sip_arena(),
			       "Accept: application/sdp, text/plain\r\n"
			       "Accept-Encoding: identity\r\n"
			       "Accept-Language: en\r\n"
			       "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, REGISTER, MESSAGE, "
			       "REFER, SUBSCRIBE, NOTIFY, PUBLISH, INFO, UPDATE, PRACK\r\n"
			       "Supported: path%s%s\r\n",
			       c->registrar.outbound ? ", outbound" : "",
			       c->registrar.gruu ? ", gruu" : ""));
}

static bool is_ours(const struct app_worker *w, const struct proxy_request *r)
{
	return r->uri.scheme != SIP_SCHEME_OTHER && app_is_local(w, r->uri.host, r->uri.port);
}

/* RFC 5626 5.3: over the flow that was recorded when the dialog began.  False: there is none,
 * or a GRUU says better where the phone is. */
static bool by_flow(struct edge *e, struct app_worker *w, const struct app_request *q, msec now)
{
	struct proxy_target t = {.uri = q->r->uri_text,
				 .q = 1000,
				 .has_flow = true,
				 .flags = PROXY_TARGET_KEEP_URI};
	struct proxy_opts opts;
	if (is_ours(w, q->r) && sip_uri_param(&q->r->uri, SPAN("gr")))
		return false;
	switch (app_flow_of(w, q->r, &t.flow)) {
	case APP_FLOW_NONE:
		return false;
	case APP_FLOW_FORGED:
		count(&e->flow_forged);
		app_reply(w, q, 403, "Forged Flow Token", SPAN(""));
		return true;
	case APP_FLOW_FAILED:
		count(&e->flow_failed);
		app_reply(w, q, 430, "Flow Failed", SPAN(""));
		return true;
	case APP_FLOW_GOOD:
		break;
	}
	count(&e->in_dialog);
	app_forward_opts(w, q, false, &opts);
	proxy_forward(stack_proxy(w->stack), q->r, &t, 1, &opts, now);
	return true;
}

/* What a Path or a Contact of a phone has sent back to us is no insider's, though our own
 * address be a trusted one. */
static uint32_t marks_of(const struct app_worker *w, const struct app_request *q)
{
	const struct sip_via *top = &q->r->top;
	if (!(q->marks & APP_MARK_INSIDER) || !app_is_local(w, top->host, top->port))
		return q->marks;
	return policy_of(w->conf, &q->r->src) == CONF_POLICY_CHALLENGE ? APP_MARK_CHALLENGE : 0;
}

static void edge_request(void *state, struct app_worker *w, const struct app_request *in,
			 msec now)
{
	struct edge *e = state;
	struct app_request q = *in;
	const struct proxy_request *r = q.r;
	bool ours = is_ours(w, r), elsewhere = !ours || r->has_route;
	q.marks = marks_of(w, in);
	if (r->from_dialog_route)
		q.marks |= APP_MARK_IN_DIALOG;
	if (by_flow(e, w, &q, now))
		return;
	if (elsewhere && (q.marks & APP_MARK_IN_DIALOG)) {
		count(&e->in_dialog);
		forward(w, &q, now);
	} else if (elsewhere) {
		outbound(e, w, &q, now);
	} else if (!r->uri.user.p && r->msg->method != SIP_REGISTER) {
		own_request(e, w, &q);
	} else {
		count(&e->to_home);
		app_link(w, APP_HOME, &q, now);
	}
}

/* An ACK to a 2xx: along the dialog's route, or from an insider; else it is dropped. */
static void edge_ack(void *state, struct app_worker *w, const struct app_request *q, msec now)
{
	struct edge *e = state;
	struct proxy_opts opts;
	if (!q->r->from_dialog_route && !(marks_of(w, q) & APP_MARK_INSIDER)) {
		count(&e->relay_denied);
		return;
	}
	if (by_flow(e, w, q, now))
		return;
	if (is_ours(w, q->r) && !q->r->has_route && app_has_role(w->app, APP_HOME)) {
		app_link(w, APP_HOME, q, now); /* a GRUU */
		return;
	}
	app_forward_opts(w, q, false, &opts);
	proxy_forward_stateless(stack_proxy(w->stack), q->r, NULL, &opts, now);
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
	one(o, "edge_outbound_total", "Requests let out to other domains", &e->outbound);
	one(o, "edge_in_dialog_total", "Requests inside a dialog", &e->in_dialog);
	one(o, "edge_relay_denied_total", "Requests of outsiders for others", &e->relay_denied);
	one(o, "edge_flow_failed_total", "Requests in dialogs whose phone's flow is gone",
	    &e->flow_failed);
	one(o, "edge_flow_forged_total", "Requests with flow tokens that we did not write",
	    &e->flow_forged);
	one(o, "edge_options_total", "OPTIONS answered by the server itself", &e->own_options);
}

static const struct app_role edge_role = {
	.kind = APP_EDGE,
	.name = "edge",
	.start = edge_start,
	.stop = edge_stop,
	.classify = edge_classify,
	.request = edge_request,
	.ack = edge_ack,
	.metrics = edge_metrics,
};
APP_ROLE(edge_role);
