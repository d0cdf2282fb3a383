/*
 * Requests in dialogs that were let through: along the flow that was recorded (RFC 5626 5.3),
 * or along Route and Request-URI.  Whoever faces a phone does this: an edge, a combined server,
 * a home whose phones come straight to it.
 */
#include "common/app/app_priv.h"
#include "common/app/flows.h"

#include <errno.h>

static void count(_Atomic uint64_t *n)
{
	atomic_fetch_add_explicit(n, 1, memory_order_relaxed);
}

bool app_is_ours(const struct app_worker *w, const struct proxy_request *r)
{
	return r->uri.scheme != SIP_SCHEME_OTHER && app_is_local(w, r->uri.host, r->uri.port);
}

uint32_t app_marks_of(const struct app_worker *w, const struct app_request *q)
{
	const struct sip_via *top = &q->r->top;
	uint32_t marks = q->marks;
	if ((marks & (APP_MARK_INSIDER | APP_MARK_NODE)) == APP_MARK_INSIDER &&
	    app_is_local(w, top->host, top->port))
		marks = conf_policy_at(w->conf, q->r->src.listener) == CONF_POLICY_CHALLENGE
				? APP_MARK_CHALLENGE
				: 0;
	if (q->r->from_dialog_route)
		marks |= APP_MARK_IN_DIALOG;
	return marks;
}

/* Where we have hung up ourselves to end, and our other member serves, a home gives it to that
 * one, and who sends by datagrams sends it again, to who has the address then.  From both of us
 * the phone would get it twice, by branches that differ. */
bool app_defer(struct app_worker *w, const struct app_request *q)
{
	uint16_t from = q->r->src.node;
	bool from_pair = q->r->src.handed || app_same_pair(w->app, from, app_self(w->app));
	bool again = from ? !from_pair : !sip_transport_reliable(q->r->src.transport);
	if (app_phase(w->app) == APP_DRAINING && again && app_other_serves(w->app))
		return true;
	/* Who has proved here who he is does so again then: his name is not kept. */
	uint32_t marks = from ? q->marks : q->marks & ~(uint32_t)APP_MARK_AUTHENTICATED;
	return stack_defer(w->stack, &q->r->src, q->r->msg, marks);
}

static void flow_is_gone(struct app_worker *w, const struct app_request *q,
			 struct app_dialog_counters *counters)
{
	count(&counters->flow_failed);
	app_reply(w, q, 430, "Flow Failed", SPAN(""));
}

struct span app_token_route(const struct app_worker *w, struct span token)
{
	return arena_printf(sip_arena(), "<sip:%.*s@%s;lr>", SPAN_FMT(token), app_pair(w->app));
}

static void over_token(struct app_worker *w, const struct app_request *q, struct sip_flow *to,
		       msec now)
{
	const struct proxy_request *r = q->r;
	const struct proxy_target t = {.uri = r->uri_text,
				       .q = 1000,
				       .record_user = r->route_user,
				       .has_flow = true,
				       .flow = *to,
				       .flags = PROXY_TARGET_KEEP_URI |
						PROXY_TARGET_NAMED_ABOVE};
	const struct proxy_opts opts = {.strip = (uint64_t)1 << SIP_HDR_EAVES_LINK,
					.via_flow = app_via_token(w, &r->src)};
	proxy_forward_stateless(stack_proxy(w->stack), r, &t, &opts, now);
}

/* The node that sent it may send it to the other member itself, when it has lost us: its branch
 * is the same by both. */
static void as_it_came(struct app_worker *w, const struct app_request *q,
		       const struct sip_flow *to, struct app_dialog_counters *counters)
{
	if (app_as_it_came(w, q, to) < 0)
		flow_is_gone(w, q, counters);
}

/* A REGISTER is for no phone: by the token of a node it would come to a home as if its edge had
 * looked at it. */
bool app_to_phone(struct app_worker *w, const struct app_request *q,
		  struct app_dialog_counters *counters, msec now)
{
	const struct proxy_request *r = q->r;
	struct sip_flow to;
	if (r->msg->method == SIP_REGISTER || !r->src.node || r->own_routes != 1 ||
	    !r->route_user.n || r->user_of_dialog || r->forged_token)
		return false;
	int rc = app_token_read(w->app, r->route_user, &to);
	if (rc == -ESTALE && app_defer(w, q))
		return true;
	if (rc == -ESTALE || rc == -ENOENT || (rc == 0 && app_is_sent_back(w, &r->src, &to))) {
		flow_is_gone(w, q, counters);
		return true;
	}
	if (rc < 0) {
		count(&counters->flow_forged);
		app_reply(w, q, 403, "Forged Flow Token", SPAN(""));
		return true;
	}
	count(&counters->to_phone);
	if (!to.node)
		over_token(w, q, &to, now);
	else
		as_it_came(w, q, &to, counters);
	return true;
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
		if (app_defer(w, q))
			return true;
		/* fall through */
	case APP_FLOW_FAILED:
		flow_is_gone(w, q, counters);
		return true;
	case APP_FLOW_GOOD:
		break;
	}
	count(&counters->in_dialog);
	if (t.flow.node) { /* the other member of our pair has the phone's connection */
		t.flow.leg = app_leg_of(&q->r->src); /* who repeats it */
		if (q->r->src.node) {
			as_it_came(w, q, &t.flow, counters);
			return true;
		}
		t.route = app_token_route(w, q->r->route_user);
	}
	app_forward_opts(w, q, false, &opts);
	bool stateless = needs_no_transaction(w, q, &t.flow);
	opts.via_flow = stateless ? app_via_token(w, &q->r->src) : app_way_back(w, &q->r->src);
	if (stateless) {
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

static const char *pair_named(const struct app_worker *w, struct span name)
{
	const struct cluster_node *v;
	unsigned n = name.n ? cluster_nodes(app_cluster(w->app), &v) : 0;
	for (unsigned i = 0; i < n; i++)
		if (span_eq(name, span_str(v[i].pair)))
			return v[i].pair;
	return NULL;
}

bool app_to_next_pair(struct app_worker *w, const struct app_request *q, msec now)
{
	const struct proxy_request *r = q->r;
	struct app_request plain = *q;
	struct proxy_opts opts;
	if (!app_edge_pair(w->app) || !(q->marks & APP_MARK_IN_DIALOG) || !r->has_route)
		return false;
	const char *pair = pair_named(w, proxy_pair_in(&r->route_uri));
	if (!pair || strcmp(pair, app_pair(w->app)) == 0)
		return false;
	if (app_has_role(w->app, APP_HOME)) /* homes of different pairs do not speak */
		pair = app_edge_pair(w->app);
	/* Where nobody of it lives, its address may lead to it all the same; but who has lost
	 * all may lose the service address first, and his phones then send it by the other
	 * edge. */
	if (cluster_member(app_cluster(w->app), span_str(pair), -1) < 0 &&
	    !app_serve_waits(w->app, now))
		return false;
	plain.marks &= ~(uint32_t)APP_MARK_AUTHENTICATED;
	app_forward_opts(w, &plain, true, &opts);
	app_to_pair(w, q, pair, -1, q->marks & ~(uint32_t)APP_MARK_ROUTED, &opts, now);
	return true;
}

void app_forward(struct app_worker *w, const struct app_request *q, const char *route, msec now)
{
	struct proxy_target t = {
		.uri = q->r->uri_text, .q = 1000, .flags = PROXY_TARGET_KEEP_URI};
	struct proxy_opts opts;
	if (!route && app_to_next_pair(w, q, now))
		return;
	app_forward_opts(w, q, route != NULL, &opts);
	if (route)
		t.route = loose(route);
	opts.via_flow = app_way_back(w, &q->r->src);
	if (!route && goes_with_its_repeats(w, q) &&
	    proxy_forward_stateless(stack_proxy(w->stack), q->r, NULL, &opts, now) == 0)
		return;
	proxy_forward(stack_proxy(w->stack), q->r, &t, route ? 1 : 0, &opts, now);
}
