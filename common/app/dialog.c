/*
 * Requests in dialogs that were let through: along the flow that was recorded (RFC 5626 5.3),
 * or along Route and Request-URI.  Whoever faces a phone does this: an edge, a combined server,
 * a home whose phones come straight to it.
 */
#include "common/app/app_priv.h"

static void count(_Atomic uint64_t *n)
{
	atomic_fetch_add_explicit(n, 1, memory_order_relaxed);
}

bool app_is_ours(const struct app_worker *w, const struct proxy_request *r)
{
	return r->uri.scheme != SIP_SCHEME_OTHER && app_is_local(w, r->uri.host, r->uri.port);
}

static enum conf_policy policy_of(const struct conf *c, const struct sip_flow *f)
{
	return f->listener < c->listeners_count ? c->listeners[f->listener].policy
						: CONF_POLICY_CHALLENGE;
}

uint32_t app_marks_of(const struct app_worker *w, const struct app_request *q)
{
	const struct sip_via *top = &q->r->top;
	uint32_t marks = q->marks;
	if ((marks & (APP_MARK_INSIDER | APP_MARK_NODE)) == APP_MARK_INSIDER &&
	    app_is_local(w, top->host, top->port))
		marks = policy_of(w->conf, &q->r->src) == CONF_POLICY_CHALLENGE
				? APP_MARK_CHALLENGE
				: 0;
	if (q->r->from_dialog_route)
		marks |= APP_MARK_IN_DIALOG;
	return marks;
}

/* Where we have hung up ourselves to end, a home gives it to our other member, if that serves.
 */
void app_defer(struct app_worker *w, const struct app_request *q)
{
	uint16_t from = q->r->src.node;
	if (app_phase(w->app) == APP_DRAINING && from && from != app_twin(w->app) &&
	    app_other_serves(w->app))
		return;
	if (!stack_defer(w->stack, &q->r->src, q->r->msg, q->marks))
		app_reply(w, q, 430, "Flow Failed", SPAN(""));
}

struct span app_token_route(const struct app_worker *w, struct span token)
{
	return arena_printf(sip_arena(), "<sip:%.*s@%s;lr>", SPAN_FMT(token), app_pair(w->app));
}

/* Without a transaction where nobody would miss it: who sends repeats it himself, or it arrives
 * for sure.  A combined server has been made for phones alone and keeps its transactions. */
static bool needs_no_transaction(const struct app_worker *w, const struct app_request *q,
				 const struct sip_flow *to)
{
	if (!app_cluster(w->app))
		return false;
	return !sip_flow_reliable(&q->r->src) || sip_flow_reliable(to);
}

bool app_by_flow(struct app_worker *w, const struct app_request *q,
		 struct app_dialog_counters *counters, msec now)
{
	struct proxy_target t = {.uri = q->r->uri_text,
				 .q = 1000,
				 .has_flow = true,
				 .flags = PROXY_TARGET_KEEP_URI};
	struct proxy_opts opts;
	/* A GRUU says better where the phone is. */
	if (app_is_ours(w, q->r) && sip_uri_param(&q->r->uri, SPAN("gr")))
		return false;
	switch (app_flow_of(w, q->r, &t.flow)) {
	case APP_FLOW_NONE:
		return false;
	case APP_FLOW_FORGED:
		count(&counters->flow_forged);
		app_reply(w, q, 403, "Forged Flow Token", SPAN(""));
		return true;
	case APP_FLOW_AWAY:
		app_defer(w, q);
		return true;
	case APP_FLOW_FAILED:
		count(&counters->flow_failed);
		app_reply(w, q, 430, "Flow Failed", SPAN(""));
		return true;
	case APP_FLOW_GOOD:
		break;
	}
	if (t.flow.node) /* the other member of our pair has the phone's connection */
		t.route = app_token_route(w, q->r->route_user);
	count(&counters->in_dialog);
	app_forward_opts(w, q, false, &opts);
	if (needs_no_transaction(w, q, &t.flow)) {
		opts.via_flow = app_via_token(w, &q->r->src);
		proxy_forward_stateless(stack_proxy(w->stack), q->r, &t, &opts, now);
	} else {
		proxy_forward(stack_proxy(w->stack), q->r, &t, 1, &opts, now);
	}
	return true;
}

/* An administered hop is a loose router, whether its URI says so or not. */
static struct span loose(const char *uri)
{
	struct sip_uri u;
	bool says = sip_uri_parse(span_str(uri), &u) == 0 && sip_uri_param(&u, SPAN("lr"));
	return arena_printf(sip_arena(), "<%s%s>", uri, says ? "" : ";lr");
}

/* In a dialog there is one way to go.  Its next proxy may have died and its address be on its
 * way to another machine: who repeats what he sends is not to be told of a failure that the
 * next repeat does not find any more.  Of a name there may be others (RFC 3263 4.3), which a
 * transaction tries.  A CANCEL finds its INVITE's transaction. */
static bool goes_with_its_repeats(const struct app_worker *w, const struct app_request *q)
{
	struct addr a;
	return app_cluster(w->app) && (q->marks & APP_MARK_IN_DIALOG) &&
	       q->r->msg->method != SIP_INVITE && !sip_flow_reliable(&q->r->src) &&
	       addr_parse(&a, q->r->has_route ? q->r->route_uri.host : q->r->uri.host, 0) == 0;
}

void app_forward(struct app_worker *w, const struct app_request *q, const char *route, msec now)
{
	struct proxy_target t = {
		.uri = q->r->uri_text, .q = 1000, .flags = PROXY_TARGET_KEEP_URI};
	struct proxy_opts opts;
	app_forward_opts(w, q, route != NULL, &opts);
	if (route)
		t.route = loose(route);
	if (q->r->src.node)
		opts.via_flow = app_via_token(w, &q->r->src);
	if (!route && goes_with_its_repeats(w, q) &&
	    proxy_forward_stateless(stack_proxy(w->stack), q->r, NULL, &opts, now) == 0)
		return;
	proxy_forward(stack_proxy(w->stack), q->r, &t, route ? 1 : 0, &opts, now);
}
