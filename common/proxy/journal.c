/*
 * Writing ahead: what a call does not do before it is written (docs/decisions/0007).
 *
 * Writes of a call are numbered; one is under way at a time.  What has to wait has the number
 * of the first write that will tell of it: branches that were chosen (BRANCH_CHOSEN), final
 * responses (held before their transaction sees them), the caller's CANCEL, the end of a call
 * whose last branches failed without a response.  Everything else follows from what is written,
 * or from deadlines in it, and waits for nothing.
 */
#include "common/proxy/journal.h"

#include "common/proxy/call.h"

#include <stdlib.h>

enum {
	/* A timer C in the record that is older than the real one by more is written again. */
	TIMER_C_DRIFT_MS = 60000,
	/* A call to one device is written when that has said nothing, or has rung, for so long:
	 * whom the other member could not hear of from anybody.  Others are over by then. */
	SILENT_MS = 4000,
	RINGS_MS = 20000,
	/* 9.1: the caller waits for 64*T1 after his CANCEL; whoever goes on answers before. */
	CANCELLED_MS = 28000,
};

/* A write under way; it may outlive its call. */
struct proxy_ticket {
	struct list link;
	struct proxy_call *call; /* NULL: gone */
};

/* ---- the record ---- */

static uint32_t left(const struct proxy_call *c, const struct wheel_timer *t)
{
	msec now = c->p->w->now;
	if (!wheel_armed(t))
		return 0;
	return t->due > now ? (uint32_t)(t->due - now) : 1;
}

static struct span span_or_none(const struct bytes *b)
{
	return b ? bytes_span(b) : span_of(NULL, 0);
}

static uint8_t fork_state(const struct branch *b)
{
	switch ((enum branch_state)b->state) {
	case BRANCH_WAITING:
		return PROXY_FORK_WAITING;
	case BRANCH_SPARE:
		return PROXY_FORK_SPARE;
	case BRANCH_CHOSEN:
	case BRANCH_LOCATING:
	case BRANCH_CALLING:
		return PROXY_FORK_CALLING;
	case BRANCH_ACCEPTED:
	case BRANCH_DONE:
		break;
	}
	return PROXY_FORK_DONE;
}

static uint32_t timer_left(struct branch *b, const struct proxy_fork_branch *f)
{
	const struct proxy_call *c = b->call;
	msec now = c->p->w->now;
	if (f->state != PROXY_FORK_CALLING)
		return 0;
	if (f->cancelled || c->cancelled) {
		if (!b->over_at)
			b->over_at = now + CANCELLED_MS;
		return b->over_at > now ? (uint32_t)(b->over_at - now) : 1;
	}
	return b->state == BRANCH_CALLING ? left(c, &b->timer_c) : c->p->conf.timer_c_ms;
}

static void tell_branch(struct branch *b, struct proxy_fork_branch *f)
{
	const struct proxy_call *c = b->call;
	bool is_next = b->state < BRANCH_CALLING || !b->sent;
	*f = (struct proxy_fork_branch){
		.uri = b->uri,
		.route = b->route,
		.record_user = b->record_user,
		.branch = span_or_none(b->branch),
		.challenge = span_or_none(b->challenge),
		.tag = b->tag,
		.attempt = is_next ? b->attempt : b->attempt - 1,
		.breadth = b->breadth,
		.q = b->q,
		.state = fork_state(b),
		.has_flow = b->has_flow,
		.strict = b->strict,
		.cancelled = b->cancelled || b->doomed,
	};
	if (b->has_flow || !is_next)
		f->flow = b->flow;
	if (b->held)
		f->response = span_of(b->held->msg.base, b->held->msg.len);
	f->timer_c_ms = timer_left(b, f);
	b->noted_c = c->p->w->now + f->timer_c_ms;
}

/* It is told for its timers alone (proxy_late_fired), and may have been brought to its end
 * elsewhere without a word to us: who adopts it is to call nobody. */
static bool is_for_timers(const struct proxy_call *c)
{
	const struct branch *b = c->branches;
	return c->lasts && c->nbranches == 1 && !c->cancelled && b->attempt == 1 && !b->held &&
	       !b->doomed && !b->cancelled;
}

/* False: out of memory. */
static bool tell_fork(struct proxy_call *c, struct proxy_fork *f)
{
	const struct proxy_plan *pl = &c->plan;
	const struct proxy_note *n = c->note;
	if (!pl->m)
		return false;
	*f = (struct proxy_fork){
		.key = c->key,
		.request = span_of(pl->m->base, pl->m->len),
		.src = n->src,
		.lines = pl->lines,
		.record_user = pl->record_user,
		.path = pl->path,
		.via_flow = pl->via_flow,
		.strip = pl->strip,
		.strip_responses = pl->strip_responses,
		.no_record_route = !pl->record_route,
		.cancelled = c->cancelled,
		.partial = c->partial || is_for_timers(c),
		.cancel_lines = span_or_none(n->cancel_lines),
		.best = span_or_none(c->best),
		.best_status = (uint16_t)c->best_status,
		.final = c->final < 300 ? (uint16_t)c->final : 0,
		.serial_ms = left(c, &c->serial),
		.n = c->nbranches,
	};
	f->v = arena_alloc(sip_arena(), f->n * sizeof(*f->v));
	if (!f->v)
		return false;
	unsigned i = 0;
	for (struct branch *b = c->branches; b; b = b->next)
		tell_branch(b, &f->v[i++]);
	return true;
}

/* ---- writing ---- */

static void written(void *arg)
{
	struct proxy_ticket *t = arg;
	struct proxy_call *c = t->call;
	list_remove(&t->link);
	free(t);
	if (!c)
		return;
	struct proxy_note *n = c->note;
	n->ticket = NULL;
	n->written = n->begun;
	if (n->flushing)
		return; /* from inside of write(): who called it goes on */
	struct proxy_turn turn = proxy_turn_begin(c->kept);
	proxy_call_step(c, c->p->w->now);
	proxy_turn_end(&turn);
}

/* Without memory a call goes on as one that is not written. */
static void flush(struct proxy_call *c)
{
	struct proxy_note *n = c->note;
	struct proxy_fork f;
	while (n->dirty && !n->ticket && !n->dropped) {
		struct proxy_ticket *t = malloc(sizeof(*t));
		n->dirty = false;
		n->begun++;
		if (!t || !tell_fork(c, &f)) {
			free(t);
			n->written = n->begun;
			continue;
		}
		t->call = c;
		list_append(&c->p->tickets, &t->link);
		n->ticket = t;
		n->flushing = true;
		c->journal->write(c->journal->arg, &f, written, t);
		n->flushing = false;
	}
}

static void take_held(struct branch *b, msec now)
{
	struct sip_kept *k = b->held;
	b->held = NULL;
	if (b->client)
		txn_take(b->client, &k->msg, now);
	else if (b->state == BRANCH_CALLING) /* its transaction did not wait so long */
		proxy_branch_final(b, &k->msg, now);
	sip_kept_unref(k);
}

static void take_cancel(struct proxy_call *c, msec now)
{
	struct proxy_note *n = c->note;
	n->cancel_need = 0;
	if (!c->final)
		proxy_call_cancel(c, span_or_none(n->cancel_lines), now);
}

void proxy_note_answer(struct proxy_call *c, msec now)
{
	struct proxy_note *n = c->note;
	if (!n->cancel_id || n->cancel_need)
		return;
	txn_answer_cancel(c->p->tt, n->cancel_id, now);
	n->cancel_id = 0;
}

/* What waited for the writes that are done.  A response first: what a CANCEL crosses. */
static bool release(struct proxy_call *c, msec now)
{
	struct proxy_note *n = c->note;
	if (n->released == n->written)
		return false;
	n->released = n->written;
	c->busy = true;
	for (struct branch *b = c->branches; b; b = b->next)
		if (b->held && b->need <= n->written)
			take_held(b, now);
	for (struct branch *b = c->branches; b; b = b->next) {
		if (!b->doomed || b->doom_need > n->written)
			continue;
		b->doomed = false;
		proxy_branch_cancel(b, span_of(NULL, 0), now);
	}
	for (struct branch *b = c->branches; b; b = b->next) {
		if (b->state != BRANCH_CHOSEN || b->need > n->written)
			continue;
		if (c->stop)
			proxy_branch_set_state(b, BRANCH_DONE);
		else
			proxy_branch_start(b, now);
	}
	if (n->cancel_need && n->cancel_need <= n->written)
		take_cancel(c, now);
	c->busy = false;
	return true;
}

bool proxy_note_sync(struct proxy_call *c, bool ending, msec now)
{
	struct proxy_note *n = c->note;
	if (ending && !c->final && n->own_need > n->begun)
		n->dirty = true;
	flush(c);
	return release(c, now);
}

bool proxy_note_waits(const struct proxy_call *c)
{
	const struct proxy_note *n = c->note;
	return n->cancel_need > n->written || (!c->final && n->own_need > n->written);
}

/* ---- a call to one device that lasts ---- */

void proxy_note_late(struct proxy_call *c, msec now)
{
	if (c->journal && c->invite)
		wheel_arm(c->p->w, &c->late, now + SILENT_MS);
}

/* Of one behind an edge that says what is needed (common/stack/trying.c). */
static bool is_heard_of(const struct proxy_call *c)
{
	for (const struct branch *b = c->branches; b; b = b->next)
		if (b->state == BRANCH_CALLING && !b->flow.node)
			return false;
	return true;
}

void proxy_late_fired(struct wheel_timer *t, msec now)
{
	struct proxy_call *c = container_of(t, struct proxy_call, late);
	if (c->note || c->final || is_heard_of(c))
		return;
	if (c->branches->provisional && !c->rings) {
		c->rings = true;
		wheel_arm(c->p->w, t, now + RINGS_MS - SILENT_MS);
		return;
	}
	if (!proxy_note_begin(c))
		return;
	struct proxy_turn turn = proxy_turn_begin(c->kept);
	c->lasts = c->note->dirty = true;
	proxy_call_step(c, now);
	proxy_turn_end(&turn);
}

/* ---- what waits ---- */

/* Its request is still there, and to be answered. */
static bool is_whole(const struct proxy_call *c)
{
	return c->plan.m && c->server;
}

bool proxy_note_begin(struct proxy_call *c)
{
	if (c->note)
		return true;
	if (!c->key || !is_whole(c))
		return false;
	struct proxy_note *n = calloc(1, sizeof(*n));
	if (!n)
		return false;
	if (c->journal->holds)
		c->journal->holds(c->journal->arg, c->key, true);
	n->src = *txn_flow(c->server);
	c->note = n;
	return true;
}

void proxy_branch_go(struct branch *b, msec now)
{
	struct proxy_note *n = b->call->note;
	if (!n) {
		proxy_branch_start(b, now);
		return;
	}
	proxy_branch_set_state(b, BRANCH_CHOSEN);
	b->need = n->begun + 1;
	n->dirty = true;
}

/* One that is told to stop must not be called again by the other member. */
void proxy_branch_doom(struct branch *b, msec now)
{
	struct proxy_note *n = b->call->note;
	if (!n || b->state != BRANCH_CALLING) {
		proxy_branch_cancel(b, span_of(NULL, 0), now);
		return;
	}
	if (b->doomed || b->cancelled || b->held)
		return;
	b->doomed = true;
	b->doom_need = n->begun + 1;
	n->dirty = true;
}

bool proxy_note_hold(struct branch *b, const struct sip_msg *m)
{
	struct proxy_call *c = b->call;
	struct proxy_note *n = c->note;
	/* Once the caller has his answer, or with a CANCEL sent, the other member would do the
	 * same and hear the same. */
	if (c->final || b->state != BRANCH_CALLING || (b->cancelled && m->status == 487))
		return false;
	if (b->held)
		return true; /* a repeat */
	b->held = sip_kept_new(m);
	if (!b->held)
		return false;
	b->need = n->begun + 1;
	n->dirty = true;
	flush(c);
	if (b->need > n->written)
		return true;
	b->held = sip_kept_unref(b->held);
	return false;
}

void proxy_note_cancel(struct proxy_call *c, struct span lines)
{
	struct proxy_note *n = c->note;
	n->cancel_lines = lines.n ? bytes_dup(lines) : NULL;
	n->cancel_id = c->server ? txn_hold_cancel(c->server) : 0;
	n->cancel_need = n->begun + 1;
	n->dirty = true;
}

/* To call a device again that was found dead would be to ring it for a caller who has gone. */
void proxy_note_own_end(struct branch *b)
{
	struct proxy_note *n = b->call->note;
	if (n && !b->cancelled)
		n->own_need = n->begun + 1;
}

void proxy_note_timer_c(struct branch *b, msec now)
{
	struct proxy_note *n = b->call->note;
	if (b->timer_c.due <= b->noted_c + TIMER_C_DRIFT_MS)
		return;
	n->dirty = true;
	proxy_call_step(b->call, now);
}

/* ---- the end ---- */

void proxy_note_drop(struct proxy_call *c)
{
	struct proxy_note *n = c->note;
	if (n->dropped)
		return;
	n->dropped = true;
	if (n->begun)
		c->journal->drop(c->journal->arg, c->key);
}

void proxy_note_free(struct proxy_call *c)
{
	if (c->note->ticket)
		c->note->ticket->call = NULL;
	if (c->journal->holds)
		c->journal->holds(c->journal->arg, c->key, false);
	bytes_unref(c->note->cancel_lines);
	free(c->note);
	c->note = NULL;
}

void proxy_tickets_free(struct proxy *p)
{
	list_for_each_safe (it, &p->tickets)
		free(container_of(it, struct proxy_ticket, link));
}

static void let_go(struct proxy_call *c)
{
	for (struct branch *b = c->branches; b; b = b->next) {
		if (b->client)
			txn_abandon(b->client);
		b->client = NULL;
	}
	proxy_call_undo(c);
}

void proxy_let_go_all(struct proxy *p)
{
	list_for_each_safe (it, &p->calls)
		let_go(container_of(it, struct proxy_call, link));
}

bool proxy_is_past(const struct proxy *p, const struct sip_msg *m, const struct sip_via *top)
{
	if (m->method != SIP_INVITE)
		return false;
	int status = txn_client_status(p->tt, m, top);
	return status < 0 || status >= 200;
}

bool proxy_let_go(struct proxy *p, uint64_t key)
{
	struct proxy_call *c = proxy_keys_first(&p->keys, key);
	while (c && (!c->note || c->note->dropped))
		c = proxy_keys_next(c);
	if (c)
		let_go(c);
	return c;
}

bool proxy_let_go_plain(struct proxy *p, uint64_t key)
{
	struct proxy_call *c = proxy_keys_first(&p->keys, key);
	while (c && (c->note || c->final || !is_whole(c)))
		c = proxy_keys_next(c);
	if (c)
		let_go(c);
	return c;
}
