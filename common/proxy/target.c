/*
 * One branch on its way: RFC 3261 16.6 steps 7, 10 and 11, RFC 3263 4.3.  With an address that
 * fails the next one is tried, under a new derived branch parameter.
 */
#include "common/proxy/call.h"

#include "common/base/log.h"

#include <stdlib.h>

/*
 * A next hop that cannot be found.  -ENOENT is definite: the domain does not exist, 404 (RFC
 * 3261 21.4.5).  All else counts as a 503 from there (16.9; RFC 3263 4.3), which goes on as
 * 500.
 */
static unsigned status_of(int error)
{
	return error == -ENOENT ? 404 : 503;
}

void proxy_branch_end(struct branch *b, unsigned status)
{
	proxy_branch_set_state(b, BRANCH_DONE);
	proxy_note_own_end(b);
	proxy_call_offer(b->call, status, NULL);
}

void proxy_branch_text(const struct branch *b, char out[PROXY_BRANCH_LEN])
{
	const struct proxy_call *c = b->call;
	uint32_t attempt = b->attempt;
	if (b->branch) {
		memcpy(out, b->branch->p, PROXY_BRANCH_LEN);
		return;
	}
	if (b->sent)
		attempt--; /* that of the next one */
	proxy_branch_make(c->p, c->plan.request_mac, c->plan.loop_mac, b->tag, b->uri, b->route,
			  attempt, out);
}

static struct bytes *render(struct branch *b, struct proxy_scratch *sc)
{
	struct proxy_call *c = b->call;
	struct proxy_leg leg = {
		.uri = b->uri,
		.route = b->route,
		.record_user = b->record_user,
		.branch = b->branch ? bytes_span(b->branch) : span_of(NULL, 0),
		.tag = b->tag,
		.breadth = b->breadth,
		.attempt = b->attempt,
		.listener = b->flow.listener,
		.strict = b->strict,
	};
	struct sip_splice s;
	if (proxy_edit(c->p, &c->plan, &leg, &s, sc))
		return NULL;
	return sip_splice_bytes(&s);
}

int proxy_branch_send(struct branch *b, msec now)
{
	struct proxy_call *c = b->call;
	struct proxy_scratch sc;
	struct bytes *req = render(b, &sc);
	if (!req)
		return -ENOMEM;
	const struct sip_msg *m = c->plan.m;
	struct span branch = span_of(sc.branch, sizeof(sc.branch));
	b->client = b->resume ? txn_client_resume(c->p->tt, m->method, m->method_text, branch,
						  req, &b->flow, &proxy_client_user, b, now)
			      : txn_client_new(c->p->tt, m->method, m->method_text, branch, req,
					       &b->flow, &proxy_client_user, b, now);
	bytes_unref(req);
	b->attempt++;
	b->sent = true;
	if (!b->client)
		return -ENOSPC;
	b->provisional = b->resume;
	proxy_branch_set_state(b, BRANCH_CALLING);
	if (b->cancelled) { /* meanwhile, while its next hop was looked for */
		txn_cancel(b->client, span_of(NULL, 0), now);
		return 0;
	}
	if (c->invite) /* step 11 */
		wheel_arm(c->p->w, &b->timer_c, now + c->p->conf.timer_c_ms);
	if (!b->resume)
		counter_inc(&c->p->count.forwarded);
	return 0;
}

/* 0 when sent; -EHOSTUNREACH when the target cannot be reached from here. */
static int try_target(struct branch *b, const struct locate_target *t, msec now)
{
	struct proxy *p = b->call->p;
	int listener = p->ops.listener_for(p->ops.arg, t, b->call->plan.listener);
	if (listener < 0)
		return -EHOSTUNREACH;
	b->target = *t;
	b->flow = (struct sip_flow){
		.transport = t->transport,
		.listener = (uint16_t)listener,
		.remote = t->addr,
		.name = t->transport == SIP_TRANSPORT_TLS ? b->name : 0,
	};
	return proxy_branch_send(b, now);
}

static bool try_next(struct branch *b, msec now)
{
	struct proxy_alternatives *a = b->alt;
	while (a && a->next < a->n)
		if (try_target(b, &a->v[a->next++], now) == 0)
			return true;
	return false;
}

bool proxy_branch_fail_over(struct branch *b, msec now)
{
	struct proxy *p = b->call->p;
	if (b->has_flow)
		return false;
	if (p->ops.target_failed)
		p->ops.target_failed(p->ops.arg, &b->target, now);
	if (b->cancelled || b->call->stop)
		return false;
	if (b->again) { /* adopted: where else it could go is not in the record */
		b->again = b->resume = false;
		proxy_branch_start(b, now);
		return true;
	}
	if (!try_next(b, now))
		return false;
	if (proxy_note_begin(b->call))
		b->call->note->dirty = true;
	return true;
}

static void located(struct branch *b, const struct locate_result *r, msec now)
{
	if (r->n == 0) {
		proxy_branch_end(b, 404);
		return;
	}
	b->name = r->name;
	if (r->n > 1) {
		unsigned n = r->n < LOCATE_MAX ? r->n - 1 : LOCATE_MAX - 1;
		b->alt = malloc(sizeof(*b->alt) + n * sizeof(b->alt->v[0]));
		if (b->alt) { /* without it the first address has to do */
			b->alt->n = n;
			b->alt->next = 0;
			memcpy(b->alt->v, r->v + 1, n * sizeof(b->alt->v[0]));
		}
	}
	if (try_target(b, &r->v[0], now) && !try_next(b, now))
		proxy_branch_end(b, 503);
}

static void on_located(void *arg, int error, const struct locate_result *r)
{
	struct branch *b = arg;
	struct proxy_call *c = b->call;
	msec now = c->p->w->now;
	struct proxy_turn turn = proxy_turn_begin(c->kept);
	b->query = NULL;
	if (error)
		proxy_branch_end(b, status_of(error));
	else
		located(b, r, now);
	proxy_call_step(c, now);
	proxy_turn_end(&turn);
}

bool proxy_branch_find(struct branch *b, bool late)
{
	const struct proxy_call *c = b->call;
	const struct sip_flow before = b->flow;
	struct span user = b->record_user;
	if (!b->has_flow || !b->tag || b->route.n || !c->hooks || !c->hooks->find)
		return false;
	struct arena_scope scope = arena_enter(sip_arena());
	c->hooks->find(c->hooks_arg, b->tag, late, &b->flow, &user);
	struct bytes *found = user.n && user.p != b->record_user.p ? bytes_dup(user) : NULL;
	if (found) {
		bytes_unref(b->found);
		b->found = found;
		b->record_user = bytes_span(found);
	}
	arena_leave(sip_arena(), scope);
	return !sip_flow_equal(&b->flow, &before);
}

void proxy_branch_start(struct branch *b, msec now)
{
	struct proxy_call *c = b->call;
	struct proxy *p = c->p;
	struct proxy_leg leg = {.uri = b->uri, .route = b->route};
	struct locate_result r;
	struct sip_uri hop;
	proxy_branch_set_state(b, BRANCH_LOCATING);
	bool late = c->turns > 1;
	if (!b->resume && (late || c->note))
		proxy_branch_find(b, late);
	if (b->has_flow && !b->route.n && !c->plan.has_route) {
		if (proxy_branch_send(b, now))
			proxy_branch_end(b, 503);
		return;
	}
	if (proxy_next_hop(&c->plan, &leg, &hop, &b->strict)) {
		proxy_branch_end(b, 404);
		return;
	}
	if (b->has_flow) {
		if (proxy_branch_send(b, now))
			proxy_branch_end(b, 503);
		return;
	}
	int rc = p->ops.locate(p->ops.arg, &hop, now, on_located, b, &r, &b->query);
	if (rc < 0) {
		log_event(LOG_DEBUG, "next hop not found", LOG_S("host", hop.host),
			  LOG_N("error", rc));
		proxy_branch_end(b, status_of(rc));
	} else if (rc > 0) {
		b->query = NULL;
		located(b, &r, now);
	}
}
