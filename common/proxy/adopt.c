/*
 * A call out of the record that the other member wrote (journal.h): the response context as it
 * was, its transactions resumed or begun anew, and what was written as still to be done.
 */
#include "common/proxy/journal.h"

#include "common/proxy/call.h"

enum { BRANCHES_MAX = 256 };

/* ---- what is in it ---- */

static unsigned status_of(struct span response)
{
	uint64_t v;
	if (response.n < 12 || span_u64(span_of(response.p + 8, 3), 699, &v))
		return 0;
	return (unsigned)v;
}

/* An answer that ends the ringing of all others. */
static bool decides(unsigned status)
{
	return status / 100 == 2 || status / 100 == 6;
}

/* All are to stop: no device gets its INVITE again. */
static bool is_over(const struct proxy_fork *f, const struct sip_msg *why)
{
	if (f->cancelled || f->partial || f->final)
		return true;
	if (why && (why->is_request ? why->method == SIP_CANCEL : decides(why->status)))
		return true;
	for (unsigned i = 0; i < f->n; i++)
		if (decides(status_of(f->v[i].response)))
			return true;
	return false;
}

/* This one has answered, or is to stop. */
static bool is_quiet(const struct proxy_fork_branch *b)
{
	return b->cancelled || b->response.n || b->timer_c_ms == 1;
}

static struct proxy_call *call_of(struct proxy *p, struct txn *server,
				  const struct proxy_request *r, const struct proxy_fork *f,
				  const struct proxy_opts *opts)
{
	struct proxy_target *t = arena_alloc(sip_arena(), f->n * sizeof(*t));
	const struct proxy_target **v =
		arena_alloc(sip_arena(), f->n * sizeof(const struct proxy_target *));
	struct proxy_opts o = opts ? *opts : (struct proxy_opts){0};
	if (!t || !v)
		return NULL;
	o.lines = f->lines;
	o.record_user = f->record_user;
	o.path = f->path;
	o.via_flow = f->via_flow;
	o.strip = f->strip;
	o.strip_responses = f->strip_responses;
	o.no_record_route = f->no_record_route;
	for (unsigned i = 0; i < f->n; i++) {
		const struct proxy_fork_branch *b = &f->v[i];
		t[i] = (struct proxy_target){.uri = b->uri,
					     .route = b->route,
					     .record_user = b->record_user,
					     .q = b->q,
					     .has_flow = b->has_flow,
					     .flow = b->flow,
					     .tag = b->tag};
		v[i] = &t[i];
	}
	return proxy_call_new(p, server, r, v, f->n, &o);
}

/* 0, or -ENOMEM. */
static int restore_branch(struct branch *b, const struct proxy_fork *f,
			  const struct proxy_fork_branch *from)
{
	b->attempt = from->attempt;
	b->breadth = from->breadth;
	b->strict = from->strict;
	b->flow = from->flow;
	b->again = !b->has_flow;
	b->provisional = true; /* timer C: CANCEL, whatever came of it there */
	/* The caller's CANCEL goes to all of them once more, and says why. */
	b->cancelled = from->cancelled && !f->cancelled;
	switch ((enum proxy_fork_state)from->state) {
	case PROXY_FORK_WAITING:
		b->state = BRANCH_WAITING;
		break;
	case PROXY_FORK_SPARE:
		b->state = BRANCH_SPARE;
		break;
	case PROXY_FORK_CALLING:
		b->state = BRANCH_CHOSEN;
		break;
	case PROXY_FORK_DONE:
		b->state = BRANCH_DONE;
		b->sent = true;
		b->attempt++;
		break;
	}
	if (from->branch.n == PROXY_BRANCH_LEN)
		b->branch = bytes_dup(from->branch);
	if (from->challenge.n)
		b->challenge = bytes_dup(from->challenge);
	return (from->branch.n && !b->branch) || (from->challenge.n && !b->challenge) ? -ENOMEM
										      : 0;
}

static int restore(struct proxy_call *c, const struct proxy_fork *f)
{
	struct sip_hdr hdr[SIP_HDR_MAX];
	struct sip_msg m;
	unsigned i = 0;
	c->cancelled = f->cancelled;
	c->partial = f->partial;
	c->stop = f->cancelled || f->partial || f->final;
	c->plan.uri_parsed = c->plan.route_parsed = NULL;
	c->turns = 1; /* whoever adopts has just looked for all of them */
	c->best_status = f->best_status;
	if (f->best.n) {
		if (proxy_index_own(&m, hdr, f->best) || m.status != f->best_status)
			return -EBADMSG; /* it would go on as it is */
		c->best = bytes_dup(f->best);
		if (!c->best)
			return -ENOMEM;
	}
	for (struct branch *b = c->branches; b; b = b->next)
		if (restore_branch(b, f, &f->v[i++]))
			return -ENOMEM;
	if (f->final)
		proxy_call_set_final(c, f->final);
	if (!proxy_note_begin(c))
		return 0;
	c->note->dirty = true; /* it is written by us from now on */
	if (f->cancel_lines.n)
		c->note->cancel_lines = bytes_dup(f->cancel_lines);
	return 0;
}

/* ---- going on ---- */

static void go_on(struct branch *b, const struct proxy_fork_branch *from, bool over, msec now)
{
	struct proxy *p = b->call->p;
	/* A certificate's name is known to who resolves it alone. */
	bool known = !b->has_flow && from->flow.transport != SIP_TRANSPORT_NONE &&
		     from->flow.transport != SIP_TRANSPORT_TLS;
	b->resume = over || is_quiet(from);
	if (!known)
		proxy_branch_start(b, now);
	else if (proxy_branch_send(b, now))
		proxy_branch_end(b, 503);
	b->provisional = true;
	if (b->state == BRANCH_CALLING && from->timer_c_ms)
		wheel_arm(p->w, &b->timer_c, now + from->timer_c_ms);
	if (from->cancelled || b->call->cancelled)
		b->over_at = now + from->timer_c_ms;
}

/* What was written as having come, and perhaps was dealt with. */
static void take_response(struct branch *b, struct span response, msec now)
{
	struct sip_hdr hdr[SIP_HDR_MAX];
	struct sip_msg m;
	if (proxy_index_own(&m, hdr, response) || m.is_request || m.status < 200)
		return;
	if (b->client)
		txn_take(b->client, &m, now);
	else if (b->state == BRANCH_CALLING)
		proxy_branch_final(b, &m, now);
}

static void run(struct proxy_call *c, const struct proxy_fork *f, bool over, msec now)
{
	unsigned i = 0;
	struct branch *b;
	c->busy = true;
	for (b = c->branches; b; b = b->next, i++)
		if (b->state == BRANCH_CHOSEN)
			go_on(b, &f->v[i], over, now);
	if (f->serial_ms)
		wheel_arm(c->p->w, &c->serial, now + f->serial_ms);
	for (b = c->branches, i = 0; b && i < f->n; b = b->next, i++)
		if (f->v[i].response.n)
			take_response(b, f->v[i].response, now);
	if (f->final)
		proxy_call_cancel_others(c, f->final, now);
	else if (f->cancelled && !c->final)
		proxy_call_cancel(c, f->cancel_lines, now);
	c->busy = false;
	proxy_call_step(c, now);
}

int proxy_adopt(struct proxy *p, const struct proxy_fork *f, const struct sip_msg *why,
		const struct proxy_opts *opts, msec now)
{
	struct sip_hdr hdr[SIP_HDR_MAX];
	struct proxy_request r;
	struct proxy_fault fault;
	struct sip_msg m;
	struct sip_via top;
	if (!f->n || f->n > BRANCHES_MAX || proxy_index_own(&m, hdr, f->request) ||
	    !m.is_request || m.method != SIP_INVITE || sip_msg_top_via(&m, &top))
		return -EBADMSG;
	if (txn_find_invite(p->tt, &m, &top))
		return -EEXIST;
	if (proxy_validate(p, &m, &top, &f->src, &r, &fault) ||
	    proxy_request_key_of(p, proxy_request_mac(p, &m, &top, r.id_mac)) != f->key)
		return -EBADMSG;
	struct txn *server = txn_server_resume(p->tt, &m, &top, &f->src, NULL, NULL, now);
	if (!server)
		return -ENOSPC;
	struct proxy_call *c = call_of(p, server, &r, f, opts);
	if (!c) {
		txn_abandon(server);
		return -ENOMEM;
	}
	txn_server_set_user(server, &proxy_server_user, c);
	int rc = restore(c, f);
	if (rc) {
		proxy_call_undo(c);
		return rc;
	}
	counter_inc(&p->count.adopted);
	run(c, f, is_over(f, why), now);
	return 0;
}
