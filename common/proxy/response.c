/*
 * What a client transaction tells: RFC 3261 16.7 steps 1 to 5, 9 and 10; 16.9.  Which final
 * response goes on when there are several is in best.c, 3xx in redirect.c.
 */
#include "common/proxy/call.h"

#include <stdio.h>

/* Step 3. */
bool proxy_take_via(const struct sip_msg *m, struct sip_splice *s)
{
	const struct sip_hdr *h = sip_msg_first(m, SIP_HDR_VIA);
	sip_splice_init(s, m);
	if (!h)
		return false;
	struct span v = sip_hdr_value(m, h);
	if (!memchr(v.p, ',', v.n)) { /* one value a field, as most have it */
		sip_splice_remove_hdr(s, h);
		return sip_msg_next(m, h) != NULL;
	}
	struct sip_list_it it = {0};
	if (!sip_list_next(m, SIP_HDR_VIA, &it, &v) || !sip_list_next(m, SIP_HDR_VIA, &it, &v))
		return false;
	sip_splice_remove_first_value(s, SIP_HDR_VIA);
	return true;
}

static bool has_next_via(const struct sip_msg *m)
{
	struct sip_list_it it = {0};
	struct span v;
	return sip_list_next(m, SIP_HDR_VIA, &it, &v) && sip_list_next(m, SIP_HDR_VIA, &it, &v);
}

bool proxy_response_begin(const struct proxy_call *c, const struct sip_msg *m,
			  struct sip_splice *s, char room[SIP_LENGTH_ROOM])
{
	const struct proxy_local *in = c->p->ops.local(c->p->ops.arg, c->plan.listener);
	if (!proxy_take_via(m, s))
		return false;
	if (in && sip_transport_reliable(in->transport))
		sip_splice_length(s, room);
	if (c->plan.strip_responses)
		proxy_strip(s, m, c->plan.strip_responses);
	return true;
}

struct bytes *proxy_response_bytes(const struct proxy_call *c, const struct sip_msg *m)
{
	char room[SIP_LENGTH_ROOM];
	struct sip_splice s;
	return proxy_response_begin(c, m, &s, room) ? sip_splice_bytes(&s) : NULL;
}

/* Steps 2 and 5: timer C again, and everything but 100 goes on at once. */
static void provisional(struct branch *b, const struct sip_msg *m, msec now)
{
	struct proxy_call *c = b->call;
	b->provisional = true;
	if (m->status == 100)
		return;
	if (c->invite && !b->cancelled)
		wheel_arm(c->p->w, &b->timer_c, now + c->p->conf.timer_c_ms);
	if (c->final || !c->server)
		return;
	struct bytes *out = proxy_response_bytes(c, m);
	if (out)
		txn_respond(c->server, m->status, out, now);
	bytes_unref(out);
	if (c->note)
		proxy_note_timer_c(b, now);
}

/* The server transaction is over (or has sent a non-2xx): 16.7 step 9 with 16.11. */
static void stray_2xx(struct proxy_call *c, const struct sip_msg *m)
{
	struct sip_flow src = {.listener = c->plan.listener};
	struct sip_via top;
	if (sip_msg_top_via(m, &top) == 0)
		proxy_response_stateless(c->p, m, &top, &src);
}

/* "Call completed elsewhere" (RFC 3326), so that the other devices list no missed call. */
void proxy_call_cancel_others(struct proxy_call *c, unsigned status, msec now)
{
	char reason[96];
	if (c->nbranches == 1)
		return;
	int n = snprintf(reason, sizeof(reason), "Reason: SIP;cause=%u;text=\"%s\"\r\n", status,
			 status < 300 ? "Call completed elsewhere" : "Call ended elsewhere");
	proxy_call_cancel(c, span_of(reason, (size_t)n), now);
}

/* Steps 5 and 10: every 2xx to INVITE at once; of another request the first one alone. */
static void success(struct branch *b, const struct sip_msg *m, msec now)
{
	struct proxy_call *c = b->call;
	if (!c->invite) {
		proxy_branch_set_state(b, BRANCH_DONE);
		if (c->final)
			return;
		c->stop = true;
		proxy_call_offer(c, m->status, proxy_response_bytes(c, m));
		proxy_call_send_best(c, now);
		return;
	}
	if (!c->server || c->final >= 300) {
		proxy_branch_set_state(b, BRANCH_ACCEPTED);
		stray_2xx(c, m);
		return;
	}
	struct bytes *out = proxy_response_bytes(c, m);
	if (!out)
		return; /* it comes again (RFC 3261 13.3.1.4), and finds memory or not */
	proxy_branch_set_state(b, BRANCH_ACCEPTED);
	/* The ACK to it ends its repeats: the other CANCELs have left by then. */
	if (!c->final) {
		proxy_call_set_final(c, m->status);
		c->stop = true;
		proxy_call_cancel_others(c, m->status, now);
	}
	txn_respond(c->server, m->status, out, now);
	bytes_unref(out);
}

/* Step 4: false when the response is to be weighed as it is. */
static bool recursed(struct branch *b, const struct sip_msg *m, msec now)
{
	struct proxy_call *c = b->call;
	struct bytes *rest = NULL;
	if (m->status / 100 != 3 || !c->p->conf.recurse_3xx || c->stop)
		return false;
	if (!proxy_recurse(b, m, &rest))
		return false;
	proxy_branch_set_state(b, BRANCH_DONE);
	if (rest)
		proxy_call_offer(c, m->status, rest);
	proxy_call_next_group(c, now);
	return true;
}

/* True when the role has bindings to take it out of. */
static bool tell_flow_failed(struct branch *b)
{
	struct proxy_call *c = b->call;
	if (!c->hooks || !c->hooks->flow_failed)
		return false;
	c->hooks->flow_failed(c->hooks_arg, b->tag, &b->flow, b->route);
	return true;
}

/* RFC 5626 7: another flow to the same instance takes the place of one that failed. */
static bool use_spare(struct branch *b, msec now)
{
	struct proxy_call *c = b->call;
	struct branch *s = b->next;
	if (!s || s->state != BRANCH_SPARE || c->stop || b->cancelled)
		return false;
	s->breadth = b->breadth;
	c->turns++;
	proxy_branch_set_state(b, BRANCH_DONE);
	proxy_branch_go(s, now);
	return true;
}

static void failure(struct branch *b, const struct sip_msg *m, msec now)
{
	struct proxy_call *c = b->call;
	unsigned status = m->status;
	if (b->client)
		txn_forget(b->client);
	b->client = NULL;
	if (status == 503 && proxy_branch_fail_over(b, now))
		return;
	bool flow_failed = status == 430 && tell_flow_failed(b);
	if (flow_failed && use_spare(b, now))
		return;
	if (recursed(b, m, now))
		return;
	proxy_branch_set_state(b, BRANCH_DONE);
	if (c->final)
		return;
	if (flow_failed) { /* 430 is said between proxies alone (RFC 5626 11.5) */
		proxy_call_offer(c, 480, NULL);
		return;
	}
	/* We asked for that 487, the caller did not: to the caller the device gave no answer.
	 */
	if (status == 487 && b->cancelled && !c->cancelled) {
		proxy_call_offer(c, 408, NULL);
		return;
	}
	struct bytes *out = proxy_response_bytes(c, m);
	if ((status == 401 || status == 407) && out && c->nbranches > 1)
		b->challenge = bytes_ref(out);
	/* Without another Via: the next node made it of our CANCEL, having lost the INVITE. */
	proxy_call_offer(c, out || !has_next_via(m) ? status : 500, out);
	if (status < 600)
		return;
	c->stop = true;
	proxy_call_cancel_others(c, status, now);
}

void proxy_branch_final(struct branch *b, const struct sip_msg *m, msec now)
{
	if (m->status < 300)
		success(b, m, now);
	else
		failure(b, m, now);
}

/* A 503 that leads to the next address: the first thing that is worth writing of a call to one
 * device. */
static bool fails_over(const struct branch *b, const struct sip_msg *m)
{
	return m->status == 503 && b->alt && b->alt->next < b->alt->n && !b->cancelled &&
	       !b->call->stop;
}

static bool on_hold(void *arg, struct txn *t, const struct sip_msg *m, msec now)
{
	struct branch *b = arg;
	(void)t;
	(void)now;
	if (!b->call->note && !(fails_over(b, m) && proxy_note_begin(b->call)))
		return false;
	return proxy_note_hold(b, m);
}

static void on_response(void *arg, struct txn *t, const struct sip_msg *m, msec now)
{
	struct branch *b = arg;
	struct proxy_call *c = b->call;
	(void)t;
	counter_inc(&c->p->count.responses);
	if (m->status < 200) {
		provisional(b, m, now);
		return;
	}
	if (m->status < 300 || b->state == BRANCH_CALLING)
		proxy_branch_final(b, m, now);
	proxy_call_step(c, now);
}

/* Rebuilt from a 1xx that came late, when the call was long answered: a CANCEL of ours (timer
 * C) has found that out, and there is nothing to be told. */
static bool is_hearsay(const struct proxy_call *c)
{
	return c->partial && !c->cancelled && !c->final && c->nbranches == 1;
}

/* 16.8's other half (timers B and F) and 16.9: as if 408 or 503 had come. */
static void on_failed(void *arg, struct txn *t, enum txn_failure why, msec now)
{
	struct branch *b = arg;
	struct proxy_call *c = b->call;
	if (b->state != BRANCH_CALLING)
		return;
	txn_forget(t);
	b->client = NULL;
	if (b->held)
		return; /* a response is there, and will be taken */
	if (why == TXN_FAIL_UNKNOWN && is_hearsay(c)) {
		if (c->note)
			proxy_note_drop(c);
		proxy_call_undo(c);
		return;
	}
	struct proxy_turn turn = proxy_turn_begin(c->kept);
	if (!proxy_branch_fail_over(b, now)) {
		unsigned status = why == TXN_FAIL_TRANSPORT ? 503 : 408;
		bool flow = b->has_flow && why == TXN_FAIL_TRANSPORT;
		if (flow)
			status = tell_flow_failed(b) ? 480 : 430;
		if (!flow || !use_spare(b, now))
			proxy_branch_end(b, status);
	}
	proxy_call_step(c, now);
	proxy_turn_end(&turn);
}

static void on_gone(void *arg, struct txn *t)
{
	struct branch *b = arg;
	struct proxy_call *c = b->call;
	struct proxy_turn turn = proxy_turn_begin(c->kept);
	(void)t;
	b->client = NULL;
	if (b->state == BRANCH_CALLING && !b->held)
		proxy_branch_end(b, 500);
	else if (b->state != BRANCH_CALLING)
		proxy_branch_set_state(b, BRANCH_DONE);
	proxy_call_step(c, c->p->w->now);
	proxy_turn_end(&turn);
}

const struct txn_client_user proxy_client_user = {
	.hold = on_hold,
	.response = on_response,
	.failed = on_failed,
	.gone = on_gone,
};
