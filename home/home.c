/*
 * The home role: registrar, authenticator and forking proxy of its users.  What is not for one
 * of its users goes back to the edge.
 */
#include "home/home_priv.h"

#include "common/flow/gruu.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static struct home *home_free(struct home *h)
{
	if (!h)
		return NULL;
	home_fork_stop(h);
	home_phones_stop(h);
	reg_free(h->reg);
	guard_free(h->guard);
	auth_free(h->auth);
	free(h->domain);
	free(h->realm);
	free(h);
	return NULL;
}

static struct reg_conf reg_conf_from(const struct home *h, const struct conf *c)
{
	struct reg_conf r = reg_conf_default;
	r.domain = h->domain;
	r.expires_default_s = c->registrar.expires_default_s;
	r.expires_min_s = c->registrar.expires_min_s;
	r.expires_max_s = c->registrar.expires_max_s;
	r.contacts_per_user = c->registrar.contacts_per_user;
	r.contact_bytes = c->registrar.contact_bytes;
	r.flow_timer_s = c->registrar.flow_timer_s;
	r.service_route = c->registrar.service_route;
	r.pair = h->pair;
	r.no_gruu = !c->registrar.gruu;
	r.no_outbound = !c->registrar.outbound;
	r.path_strict = c->registrar.path_strict;
	r.strict = c->registrar.strict;
	return r;
}

static bool flow_alive(void *arg, const struct sip_flow *f)
{
	const struct home *h = arg;
	return app_flow_alive(h->app, f);
}

/* A user who is gone has no devices: whoever gets the name later is somebody else. Both members
 * of the pair see to it, and one of them tells; what it did not come to, comparison finds. */
static void user_changed(void *arg, uint8_t kind, struct span user)
{
	struct home *h = arg;
	uint64_t wall = time_wall_ms();
	struct record_version gone;
	(void)kind;
	if (h->reg && records_each(h->records, RECORD_USER, user, wall, NULL, NULL, &gone) == 0)
		reg_forget(h->reg, user, gone, home_is_active(h), wall);
}

static int wire(struct home *h, const struct app_services *sv)
{
	const struct conf *c = sv->conf;
	struct mac_key nonce_key = mac_derive_key(sv->secret, "nonce");
	struct mac_key reg_key = mac_derive_key(sv->secret, "registrar");
	struct auth_conf ac = auth_conf_default;
	struct guard_conf gc = guard_conf_default;
	struct reg_ops ops = {
		.flow_alive = flow_alive, .flow_elsewhere = home_elsewhere, .arg = h};
	h->app = sv->app;
	h->boot = sv->boot;
	h->records = sv->records;
	h->dead_ms = c->cluster.dead_ms;
	h->queue_bytes = c->cluster.queue_bytes;
	if (!app_has_role(sv->app, APP_EDGE)) {
		h->cluster = sv->cluster;
		h->pair = app_pair(sv->app);
	}
	const char *edges = h->cluster ? app_edge_pair(h->app) : NULL;
	if (edges)
		h->edge_flows.key = app_key_of_pair(h->app, edges, "flow");
	h->domain = strdup(c->domain);
	h->realm = strdup(c->auth.realm ? c->auth.realm : c->domain);
	if (!h->domain || !h->realm)
		return -ENOMEM;
	ac.realm = h->realm;
	ac.nonce_life_s = c->auth.nonce_life_s;
	ac.md5 = c->auth.md5;
	ac.sha256 = c->auth.sha256;
	ac.replay_check = c->auth.replay_check;
	gc.failures = c->auth.lock_failures;
	gc.window_s = c->auth.lock_window_s;
	gc.lock_s = c->auth.lock_s;
	struct reg_conf rc = reg_conf_from(h, c);
	h->auth = auth_new(&ac, &nonce_key);
	h->guard = guard_new(&gc);
	h->reg = reg_new(&rc, &ops, sv->records, &reg_key, sv->boot);
	if (!h->auth || !h->guard || !h->reg)
		return -ENOMEM;
	records_watch(h->records, RECORD_USER, user_changed, h);
	records_watch(h->records, RECORD_FORK, home_fork_changed, h);
	int r = home_phones_start(h);
	return r < 0 ? r : home_pair_start(h);
}

static int home_start(const struct app_services *sv, void **ret_state, char *ret_error)
{
	struct home *h = calloc(1, sizeof(*h));
	int r = h ? wire(h, sv) : -ENOMEM;
	if (r < 0) {
		home_free(h);
		snprintf(ret_error, 256, "home: %s", strerror(-r));
		return r;
	}
	*ret_state = h;
	return 0;
}

static void home_stop(void *state)
{
	home_free(state);
}

static void home_reload(void *state, const struct conf *c)
{
	struct home *h = state;
	struct reg_conf rc = reg_conf_from(h, c);
	if (reg_set_conf(h->reg, &rc) < 0)
		log_event(LOG_ERROR, "registrar-settings-kept",
			  LOG_STR("error", "out of memory"));
}

/* ---- requests ---- */

/* own: it is for us, or for one of our users.  In a dialog that was let through the two need
 * not prove themselves again; but what goes to a user by name, not to the device that the
 * dialog is with, is a new message, and its From must be true. */
static bool must_prove(const struct app_worker *w, const struct app_request *q, bool own)
{
	if (q->marks & (APP_MARK_INSIDER | APP_MARK_AUTHENTICATED))
		return false;
	bool ours_calls = app_caller(w, q->r->msg) == APP_CALLER_OURS;
	if (q->marks & APP_MARK_IN_DIALOG)
		return own && ours_calls && !sip_uri_param(&q->r->uri, SPAN("gr"));
	return !own || (q->marks & APP_MARK_CHALLENGE) || ours_calls;
}

/* The identity in From is tied to the credentials: nobody speaks for somebody else.  Of those
 * who hide theirs (RFC 3323) we know it all the same. */
static bool from_is(struct home *h, const struct app_worker *w, const struct app_request *q)
{
	struct sip_nameaddr from;
	struct span user;
	if (app_caller(w, q->r->msg) == APP_CALLER_ANONYMOUS)
		return true;
	return sip_msg_from(q->r->msg, &from) == 0 &&
	       home_user_of(h, w, &from.uri, &user) == 0 && span_eq(user, q->user);
}

static bool prove(struct home *h, struct app_worker *w, struct app_request *q, msec now)
{
	if (!home_authenticate(h, w, q, AUTH_PROXY, &q->user, NULL, now))
		return false;
	if (!from_is(h, w, q)) {
		home_count(&h->counters.identity_refused);
		log_event(LOG_INFO, "identity-refused", LOG_S("user", q->user));
		app_reply(w, q, 403, "From Is Not The Authenticated User", SPAN(""));
		return false;
	}
	q->marks |= APP_MARK_AUTHENTICATED;
	return true;
}

static void outbound_denied(struct home *h, struct app_worker *w, const struct app_request *q)
{
	home_count(&h->counters.outbound_denied);
	log_event(LOG_INFO, "outbound-denied", LOG_S("user", q->user),
		  LOG_S("call-id", q->r->msg->call_id));
	app_reply(w, q, 403, "Other Domains Not Permitted", SPAN(""));
}

/* Where the edge is another process, what a phone sends straight to us is ours to judge, as the
 * edge does: dialogs that were let through, and what is for the server itself.  True: done. */
static bool at_the_front(struct home *h, struct app_worker *w, const struct app_request *q,
			 bool own, msec now)
{
	const struct proxy_request *r = q->r;
	if (!h->cluster)
		return false;
	if (app_by_flow(w, q, &h->dialog, now))
		return true;
	if (!own && (q->marks & APP_MARK_IN_DIALOG)) {
		app_forward(w, q, NULL, now);
		return true;
	}
	if (own && !r->uri.user.p && r->msg->method != SIP_REGISTER) {
		app_own_request(w, q);
		return true;
	}
	return false;
}

/* Of our domain, but a user of other homes: the edge knows where. */
static bool is_elsewhere(struct home *h, const struct app_request *q)
{
	char user[DIR_NAME_MAX_BYTES + 1];
	struct dir_user u;
	struct span name, pair, token;
	if (!h->cluster || (q->marks & APP_MARK_ROUTED) || sip_uri_user(&q->r->uri, &name) < 0)
		return false;
	if (gruu_temporary(&q->r->uri, &pair, &token))
		return pair.n && !span_eq(pair, span_str(h->pair));
	return dir_resolve(h->records, name, time_wall_ms(), user, &u) >= 0 &&
	       strcmp(u.home, h->pair) != 0;
}

static void home_request(void *state, struct app_worker *w, const struct app_request *in,
			 msec now)
{
	struct home *h = state;
	struct app_request q = *in;
	bool own = app_is_ours(w, q.r) && !q.r->has_route;
	if (h->cluster)
		q.marks = app_marks_of(w, in);
	if (home_to_phone(h, w, &q, now) || at_the_front(h, w, &q, own, now))
		return;
	if (q.r->msg->method == SIP_REGISTER && own) {
		home_register(h, w, &q, now);
		return;
	}
	if (must_prove(w, &q, own) && !prove(h, w, &q, now))
		return;
	if (own && !is_elsewhere(h, &q))
		home_route(h, w, &q, now);
	else if (!own && (q.marks & APP_MARK_AUTHENTICATED) && !home_may_call_out(h, w, &q))
		outbound_denied(h, w, &q);
	else
		home_to_edge(h, w, &q, now);
}

/* An ACK that matches no transaction: to a 2xx along its dialog, or to the device that a GRUU
 * names; what goes to another home's user goes on to the edge. */
static void home_ack(void *state, struct app_worker *w, const struct app_request *in, msec now)
{
	struct home *h = state;
	struct app_request q = *in;
	bool own = app_is_ours(w, q.r) && !q.r->has_route;
	if (h->cluster) {
		struct proxy_opts opts;
		q.marks = app_marks_of(w, in);
		if (home_to_phone(h, w, &q, now) || app_by_flow(w, &q, &h->dialog, now) ||
		    app_to_next_pair(w, &q, now))
			return;
		if (!own && (q.marks & APP_MARK_IN_DIALOG)) {
			app_forward_opts(w, &q, false, &opts);
			proxy_forward_stateless(stack_proxy(w->stack), q.r, NULL, &opts, now);
			return;
		}
		if (!own || is_elsewhere(h, &q)) {
			home_to_edge(h, w, &q, now);
			return;
		}
		if (!sip_uri_param(&q.r->uri, SPAN("gr")))
			return; /* to a final answer that somebody else gave, before us */
	}
	home_route_ack(h, w, &q, now);
}

/* What we forwarded without a transaction is cancelled in the same way. */
static enum stack_found home_cancel(void *state, struct app_worker *w,
				    const struct app_request *in, msec now)
{
	struct home *h = state;
	struct app_request q = *in;
	bool own = app_is_ours(w, q.r) && !q.r->has_route;
	if (!h->cluster)
		return STACK_UNKNOWN;
	q.marks = app_marks_of(w, in);
	if (home_to_phone(h, w, &q, now) || app_by_flow(w, &q, &h->dialog, now) ||
	    app_to_next_pair(w, &q, now))
		return STACK_DONE;
	if (own && !is_elsewhere(h, &q))
		return home_cancel_unknown(h, w, &q, now);
	home_to_edge(h, w, &q, now);
	return STACK_DONE;
}

/* ---- metrics ---- */

static void home_metrics(void *state, struct metrics_out *o)
{
	struct home *h = state;
	const struct home_counters *c = &h->counters;
	struct reg_counters r = reg_counters(h->reg);
	metrics_counter(o, "challenges_total", "Requests asked for credentials", c->challenged);
	metrics_counter(o, "auth_failures_total", "Wrong credentials", c->auth_failed);
	metrics_counter(o, "auth_locked_total", "Requests refused from locked sources",
			c->auth_locked);
	metrics_counter(o, "auth_locks_total", "Sources locked", guard_locks(h->guard));
	metrics_counter(o, "identity_refused_total", "From that is not the authenticated user",
			c->identity_refused);
	metrics_counter(o, "outbound_denied_total",
			"Requests of users who may not call other domains", c->outbound_denied);
	metrics_counter(o, "user_not_found_total", "Requests for unknown users", c->not_found);
	metrics_counter(o, "user_unavailable_total", "Requests for users without a device",
			c->unavailable);
	metrics_counter(o, "redirects_total", "Requests answered with 302", c->redirected);
	metrics_counter(o, "forks_total", "Requests forwarded to devices", c->forked);
	metrics_counter(o, "fork_records_total", "Records of calls to several devices written",
			c->forks_written);
	metrics_counter(o, "forks_adopted_total",
			"Calls to several devices taken over from the other member",
			c->forks_adopted);
	metrics_counter(o, "home_to_phone_total",
			"Requests of this pair for phones that another member has made",
			h->dialog.to_phone);
	metrics_counter(o, "home_in_dialog_total", "Requests inside a dialog",
			h->dialog.in_dialog);
	metrics_counter(o, "home_flow_failed_total", "Requests for phones whose flow is gone",
			h->dialog.flow_failed);
	metrics_counter(o, "home_flow_forged_total",
			"Requests with flow tokens that we did not write",
			h->dialog.flow_forged);
	metrics_counter(o, "responses_handed_total",
			"Responses given to the other member, which has sent their request",
			c->handed);
	metrics_counter(o, "cancels_handed_total",
			"CANCEL requests given to the other member, which may have their call",
			c->cancels_handed);
	metrics_counter(o, "cancels_unknown_total", "CANCEL requests of no call",
			c->cancels_unknown);
	metrics_counter(o, "home_tasks_full_total",
			"Words of the other member that a worker had no room for",
			c->tasks_full);
	metrics_counter(o, "registers_total", "REGISTER requests that were authenticated",
			c->registers);
	metrics_counter(o, "register_full_total",
			"REGISTER requests refused since too many waited for the store",
			c->registers_full);
	metrics_counter(o, "registered_total", "Bindings made", r.registered);
	metrics_counter(o, "refreshed_total", "Bindings refreshed", r.refreshed);
	metrics_counter(o, "removed_total", "Bindings removed by their phones", r.removed);
	metrics_counter(o, "register_refused_total", "REGISTER requests refused", r.refused);
	metrics_counter(o, "register_not_durable_total",
			"Bindings that could not be made durable", r.not_durable);
}

static const struct app_role home_role = {
	.kind = APP_HOME,
	.name = "home",
	.start = home_start,
	.stop = home_stop,
	.reload = home_reload,
	.request = home_request,
	.ack = home_ack,
	.cancel = home_cancel,
	.response = home_response,
	.phones = home_phones,
	.node_changed = home_node_changed,
	.serving = home_serving,
	.notice = home_notice,
	.commands = home_commands,
	.ncommands = HOME_COMMANDS,
	.elsewhere = "users and aliases, at the edges",
	.metrics = home_metrics,
};
APP_ROLE(home_role);
