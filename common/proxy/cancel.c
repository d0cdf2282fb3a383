/*
 * RFC 3261 16.10 (CANCEL) and 16.8 (timer C), and the end of a serial group's time.
 */
#include "common/proxy/call.h"

void proxy_branch_cancel(struct branch *b, struct span lines, msec now)
{
	struct proxy_call *c = b->call;
	if (b->state == BRANCH_LOCATING && b->resume) {
		b->cancelled = true; /* the CANCEL leaves when it is known where to */
		return;
	}
	if (b->state == BRANCH_WAITING || b->state == BRANCH_CHOSEN ||
	    b->state == BRANCH_LOCATING) {
		proxy_branch_set_state(b, BRANCH_DONE);
		return;
	}
	/* One that is held has answered. */
	if (b->state != BRANCH_CALLING || b->cancelled || b->held || !c->invite)
		return;
	b->cancelled = true;
	if (b->resume && b->over_at)
		wheel_arm(c->p->w, &b->timer_c, b->over_at); /* that of the first CANCEL */
	else /* the transaction ends 64*T1 after its CANCEL */
		wheel_stop(c->p->w, &b->timer_c);
	if (proxy_branch_find(b, false))
		txn_client_move(b->client, &b->flow);
	txn_cancel(b->client, lines, now);
}

void proxy_call_cancel(struct proxy_call *c, struct span lines, msec now)
{
	wheel_stop(c->p->w, &c->serial);
	for (struct branch *b = c->branches; b; b = b->next)
		proxy_branch_cancel(b, lines, now);
}

/* RFC 3326: why, as the caller said it. */
static struct span reason_lines(const struct sip_msg *m)
{
	struct proxy_text t = {0};
	for (unsigned i = 0; i < m->nhdr; i++) {
		const struct sip_hdr *h = &m->hdr[i];
		if (h->kind != SIP_HDR_OTHER ||
		    !span_ieq(span_of(m->base + h->off, h->name_len), SPAN("Reason")))
			continue;
		if (!t.p) {
			t.cap = m->body_off - h->off;
			t.p = arena_alloc(sip_arena(), t.cap);
			if (!t.p)
				break;
		}
		proxy_text_add(&t, span_of(m->base + h->off, h->len));
	}
	return proxy_text_span(&t);
}

static void on_cancel(void *arg, struct txn *t, const struct sip_msg *cancel, msec now)
{
	struct proxy_call *c = arg;
	(void)t;
	if (c->final || c->cancelled)
		return;
	c->cancelled = c->stop = true;
	if (proxy_note_begin(c))
		proxy_note_cancel(c, reason_lines(cancel));
	else
		proxy_call_cancel(c, reason_lines(cancel), now);
	proxy_call_step(c, now);
}

static void on_gone(void *arg, struct txn *t)
{
	struct proxy_call *c = arg;
	msec now = c->p->w->now;
	(void)t;
	c->server = NULL;
	if (c->final) { /* branches in Accepted end by themselves */
		if (c->note)
			proxy_call_step(c, now);
		return;
	}
	c->stop = true;
	proxy_call_cancel(c, span_of(NULL, 0), now);
	proxy_call_step(c, now);
}

const struct txn_server_user proxy_server_user = {
	.cancel = on_cancel,
	.gone = on_gone,
};

/* 16.8: CANCEL where a provisional response has come, else as if a 408 had. */
void proxy_timer_c_fired(struct wheel_timer *t, msec now)
{
	struct branch *b = container_of(t, struct branch, timer_c);
	struct proxy_call *c = b->call;
	struct proxy_turn turn = proxy_turn_begin(c->kept);
	if (b->provisional && !b->cancelled) {
		/* Whoever gets the 487 is to know that it is not the caller who wanted it. */
		proxy_note_begin(c);
		proxy_branch_doom(b, now);
	} else
		proxy_branch_end(b, 408);
	proxy_call_step(c, now);
	proxy_turn_end(&turn);
}

/* The group has rung long enough: its INVITEs are cancelled, the next group goes out beside
 * them.  Other requests cannot be cancelled and just go on. */
void proxy_serial_fired(struct wheel_timer *t, msec now)
{
	struct proxy_call *c = container_of(t, struct proxy_call, serial);
	struct proxy_turn turn = proxy_turn_begin(c->kept);
	for (struct branch *b = c->branches; b; b = b->next)
		if (proxy_branch_pending(b))
			proxy_branch_doom(b, now);
	if (!c->stop)
		proxy_call_next_group(c, now);
	proxy_call_step(c, now);
	proxy_turn_end(&turn);
}
