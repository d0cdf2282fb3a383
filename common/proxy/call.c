/*
 * The response context (RFC 3261 16.7) and its groups: 16.6's "in parallel or serially", RFC
 * 5393 5.3 (Max-Breadth).  proxy_call_step() is the one way on and the one way out.
 */
#include "common/proxy/call.h"

#include "common/poison/poison.h"

#include <stdlib.h>

struct proxy_turn proxy_turn_begin(struct sip_kept *kept)
{
	struct proxy_turn t = {arena_enter(sip_arena()), NULL};
	if (kept && poison_begin_alone(kept->msg.base, kept->msg.len))
		t.kept = sip_kept_ref(kept);
	return t;
}

void proxy_turn_end(struct proxy_turn *t)
{
	arena_leave(sip_arena(), t->scope);
	if (!t->kept)
		return;
	poison_end();
	t->kept = sip_kept_unref(t->kept);
}

void proxy_branch_set_state(struct branch *b, enum branch_state s)
{
	struct proxy *p = b->call->p;
	b->state = s;
	if (s == BRANCH_CALLING || s == BRANCH_LOCATING)
		return;
	wheel_stop(p->w, &b->timer_c);
	if (s == BRANCH_DONE && b->client) {
		txn_forget(b->client);
		b->client = NULL;
	}
	if (s == BRANCH_DONE && b->query) {
		p->ops.locate_cancel(p->ops.arg, b->query);
		b->query = NULL;
	}
}

/* The next q's branches, as many as the breadth not in use allows; the rest waits.  What is
 * over is shared with the groups to come, so that they need not wait for this one's CANCELs. */
void proxy_call_next_group(struct proxy_call *c, msec now)
{
	struct branch *b, *first = NULL;
	unsigned group = 0, waiting = 0;
	uint32_t used = 0;
	for (b = c->branches; b; b = b->next) {
		if (proxy_branch_pending(b))
			used += b->breadth;
		if (b->state != BRANCH_WAITING)
			continue;
		first = first ? first : b;
		waiting++;
		group += b->q == first->q;
	}
	uint32_t left = c->plan.breadth > used ? c->plan.breadth - used : 0;
	if (!first || left == 0)
		return;
	c->turns++;
	uint32_t share = left / (waiting > group ? waiting : group);
	uint32_t over = waiting == group ? left % group : 0;
	uint16_t q = first->q;
	for (b = first; b && left; b = b->next) {
		if (b->state != BRANCH_WAITING || b->q != q)
			continue;
		b->breadth = share ? share + (over > 0) : 1;
		over -= over > 0;
		left -= b->breadth;
		waiting--;
		proxy_branch_go(b, now);
	}
	if (waiting)
		wheel_arm(c->p->w, &c->serial, now + c->p->conf.serial_group_ms);
	else
		wheel_stop(c->p->w, &c->serial);
}

static void tell_done(struct proxy_call *c)
{
	if (c->done_told)
		return;
	c->done_told = true;
	if (c->hooks && c->hooks->done)
		c->hooks->done(c->hooks_arg, c->final);
}

/* Starts groups until one is under way, or none is left. */
static void run_groups(struct proxy_call *c, bool *ret_pending, bool *ret_accepted, msec now)
{
	for (;;) {
		bool pending = false, waiting = false, accepted = false;
		for (struct branch *b = c->branches; b; b = b->next) {
			pending |= proxy_branch_pending(b);
			waiting |= b->state == BRANCH_WAITING;
			accepted |= b->state == BRANCH_ACCEPTED;
		}
		*ret_pending = pending;
		*ret_accepted = accepted;
		if (pending || !waiting || c->stop)
			return;
		proxy_call_next_group(c, now);
	}
}

void proxy_call_step(struct proxy_call *c, msec now)
{
	bool pending, accepted;
	if (c->busy)
		return;
	do
		run_groups(c, &pending, &accepted, now);
	while (c->note && proxy_note_sync(c, !pending, now));
	if (pending || (c->note && proxy_note_waits(c))) {
		if (c->note)
			proxy_note_answer(c, now);
		return;
	}
	wheel_stop(c->p->w, &c->serial);
	wheel_stop(c->p->w, &c->late);
	if (!c->final)
		proxy_call_send_best(c, now);
	tell_done(c);
	if (c->note) {
		proxy_note_answer(c, now);
		if (c->server && c->final >= 300)
			return; /* its ACK may come to the other member */
		proxy_note_drop(c);
	}
	/* Branches in Accepted may linger for half a minute: without the request. */
	c->kept = sip_kept_unref(c->kept);
	c->plan.m = NULL;
	if (!accepted)
		proxy_call_free(c);
}

void proxy_call_free(struct proxy_call *c)
{
	struct branch *b, *next;
	for (b = c->branches; b; b = next) {
		next = b->next;
		proxy_branch_set_state(b, BRANCH_DONE);
		bytes_unref(b->challenge);
		bytes_unref(b->branch);
		bytes_unref(b->found);
		sip_kept_unref(b->held);
		free(b->alt);
		if (b->own_alloc)
			free(b);
	}
	wheel_stop(c->p->w, &c->serial);
	wheel_stop(c->p->w, &c->late);
	if (c->note)
		proxy_note_free(c);
	if (c->server && c->final && txn_status(c->server) < 200)
		txn_abandon(c->server); /* adopted: another member has answered it */
	else if (c->server)
		txn_forget(c->server);
	sip_kept_unref(c->kept);
	bytes_unref(c->best);
	list_remove(&c->link);
	if (c->key)
		proxy_keys_remove(&c->p->keys, c);
	counter_dec(&c->p->count.calls);
	if (!c->final)
		counter_dec(&c->p->count.unanswered);
	free(c);
}

void proxy_call_undo(struct proxy_call *c)
{
	if (c->server)
		txn_abandon(c->server);
	c->server = NULL;
	proxy_call_free(c);
}

static struct span keep(char **at, struct span s)
{
	if (!s.n)
		return span_of(NULL, 0);
	char *p = memcpy(*at, s.p, s.n);
	*at += s.n;
	return span_of(p, s.n);
}

/* Inside the message as it came: the same place in the kept copy. */
static bool is_inside(const struct sip_msg *m, struct span s)
{
	return s.p >= m->base && s.p + s.n <= m->base + m->len;
}

static void branch_init(struct branch *b, struct proxy_call *c, const struct proxy_target *t,
			char **text)
{
	b->call = c;
	wheel_timer_init(&b->timer_c, proxy_timer_c_fired);
	if (!t) {
		b->uri = c->plan.uri;
		return;
	}
	b->uri = t->flags & PROXY_TARGET_KEEP_URI ? c->plan.uri : keep(text, t->uri);
	b->route = keep(text, t->route);
	b->record_user = keep(text, t->record_user);
	b->q = t->q;
	b->tag = t->tag;
	b->has_flow = t->has_flow;
	if (t->flags & PROXY_TARGET_SPARE && b != c->branches)
		b->state = BRANCH_SPARE;
	if (t->has_flow)
		b->flow = t->flow;
	for (struct branch *o = c->branches; o && o != b; o = o->next)
		if (span_eq(o->uri, b->uri) && span_eq(o->route, b->route))
			b->attempt += 1 << 8; /* same text, another flow: another branch */
}

/* By q, stable: 16.6, "highest first". */
const struct proxy_target **proxy_sort_targets(const struct proxy *p,
					       const struct proxy_target *t, unsigned *n,
					       const struct proxy_target *room[1])
{
	const struct proxy_target **v = room;
	if (*n > 1) {
		v = arena_alloc(sip_arena(), *n * sizeof(const struct proxy_target *));
		if (!v)
			return NULL;
	}
	for (unsigned i = 0; i < *n; i++) {
		unsigned k = i;
		for (; k > 0 && v[k - 1]->q < t[i].q; k--)
			v[k] = v[k - 1];
		v[k] = &t[i];
	}
	if (*n > p->conf.max_targets)
		*n = p->conf.max_targets;
	return v;
}

static size_t text_bytes(const struct proxy_request *r, const struct proxy_target *const *v,
			 unsigned n, const struct proxy_opts *opts)
{
	size_t size = is_inside(r->msg, r->uri_text) ? 0 : r->uri_text.n;
	if (opts)
		size += opts->lines.n + opts->record_user.n + opts->path.n + opts->via_flow.n;
	for (unsigned i = 0; i < n; i++)
		size += v[i]->uri.n + v[i]->route.n + v[i]->record_user.n;
	return size;
}

/* One allocation: the call, its branches, the text that must outlive r.  NULL: out of memory.
 */
struct proxy_call *proxy_call_new(struct proxy *p, struct txn *server,
				  const struct proxy_request *r,
				  const struct proxy_target *const *v, unsigned n,
				  const struct proxy_opts *opts)
{
	unsigned nb = n ? n : 1;
	size_t fixed = sizeof(struct proxy_call) + nb * sizeof(struct branch);
	struct proxy_call *c = malloc(fixed + text_bytes(r, v, n, opts));
	if (!c)
		return NULL;
	memset(c, 0, fixed);
	struct branch *b = (struct branch *)(c + 1);
	char *text = (char *)c + fixed;
	c->p = p;
	c->server = server;
	list_append(&p->calls, &c->link);
	counter_inc(&p->count.calls);
	counter_inc(&p->count.unanswered);
	wheel_timer_init(&c->serial, proxy_serial_fired);
	wheel_timer_init(&c->late, proxy_late_fired);
	proxy_plan_init(p, &c->plan, r, opts);
	c->kept = sip_kept_ref(txn_request_kept(server));
	c->plan.m = &c->kept->msg;
	c->plan.uri = is_inside(r->msg, r->uri_text)
			      ? span_of(c->plan.m->base + (r->uri_text.p - r->msg->base),
					r->uri_text.n)
			      : keep(&text, r->uri_text);
	c->plan.lines = keep(&text, c->plan.lines);
	c->plan.record_user = keep(&text, c->plan.record_user);
	c->plan.path = keep(&text, c->plan.path);
	c->plan.via_flow = keep(&text, c->plan.via_flow);
	c->invite = r->msg->method == SIP_INVITE;
	c->plan.in_dialog = c->invite && r->to_tag.p;
	c->nbranches = nb;
	c->branches = b;
	if (opts) {
		c->hooks = opts->hooks;
		c->hooks_arg = opts->hooks_arg;
		c->journal = opts->journal;
	}
	if (c->invite && c->journal) {
		c->key = proxy_request_key_of(p, c->plan.request_mac);
		proxy_keys_add(&p->keys, c);
	}
	for (unsigned i = 0; i < nb; i++) {
		b[i].next = i + 1 < nb ? &b[i + 1] : NULL;
		branch_init(&b[i], c, n ? v[i] : NULL, &text);
	}
	return c;
}

static int refuse(struct txn *server, unsigned status, int error, msec now)
{
	txn_reply(server, status, span_of(NULL, 0), span_of(NULL, 0), now);
	txn_forget(server);
	return error;
}

/* Targets that may ring at the same time: the largest group of one q. */
static unsigned largest_group(const struct proxy_target *const *v, unsigned n)
{
	unsigned best = 1, run = 1;
	for (unsigned i = 1; i < n; i++) {
		if (v[i]->flags & PROXY_TARGET_SPARE)
			continue;
		run = v[i]->q == v[i - 1]->q ? run + 1 : 1;
		best = run > best ? run : best;
	}
	return best;
}

int proxy_forward_txn(struct proxy *p, struct txn *server, const struct proxy_request *r,
		      const struct proxy_target *t, unsigned n, const struct proxy_opts *opts,
		      msec now)
{
	const struct proxy_target *room[1], **v = proxy_sort_targets(p, t, &n, room);
	if (!v)
		return refuse(server, 500, -ENOMEM, now);
	unsigned status = proxy_may_forward(p, r, largest_group(v, n));
	if (status) {
		counter_inc(&p->count.refused);
		return refuse(server, status, 0, now);
	}
	struct proxy_call *c = proxy_call_new(p, server, r, v, n, opts);
	if (!c)
		return refuse(server, 500, -ENOMEM, now);
	txn_server_set_user(server, &proxy_server_user, c);
	if (n > 1)
		proxy_note_begin(c);
	else
		proxy_note_late(c, now);
	proxy_call_next_group(c, now);
	c->plan.uri_parsed = c->plan.route_parsed = NULL;
	proxy_call_step(c, now);
	return 0;
}

int proxy_forward(struct proxy *p, const struct proxy_request *r, const struct proxy_target *v,
		  unsigned n, const struct proxy_opts *opts, msec now)
{
	if (r->msg->method == SIP_ACK || r->msg->method == SIP_CANCEL)
		return proxy_forward_stateless(p, r, n ? v : NULL, opts, now);
	struct txn *server = txn_server_new(p->tt, r->msg, &r->top, &r->src, NULL, NULL, now);
	if (!server) {
		proxy_reply_stateless(p, r, 503);
		return -ENOSPC;
	}
	return proxy_forward_txn(p, server, r, v, n, opts, now);
}
