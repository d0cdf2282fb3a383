/*
 * The called side of a call: ringing, reliably where both can (RFC 3262), answering, refusing,
 * being cancelled; 2xx until the ACK comes (13.3.1.4); re-INVITE.
 */
#include "tests/sim/ua_priv.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- what is sent until it is acknowledged ---- */

static void on_repeat(struct event *e)
{
	struct call *c = container_of(e, struct call, again);
	ua_send(c->ua, &c->repeat_to, bytes_span(c->repeat));
	c->interval *= 2;
	if (!c->rseq_open && c->interval > USEC_MS(T2_MS)) /* a 1xx goes on doubling */
		c->interval = USEC_MS(T2_MS);
	event_after(&c->again, c->interval);
}

static void on_no_ack(struct event *e)
{
	struct call *c = container_of(e, struct call, limit);
	bool ack = !c->rseq_open;
	call_repeat_end(c);
	ua_fact(c->ua, "call %u: no %s", c->number, ack ? "ACK" : "PRACK");
	if (!ack || c->state != CALL_ANSWERED)
		return;
	c->dialog[0].confirmed = true;
	call_set_state(c, CALL_ENDING);
	call_bye(c, &c->dialog[0]);
}

void call_repeat_end(struct call *c)
{
	event_stop(&c->again);
	event_stop(&c->limit);
	c->repeat = bytes_unref(c->repeat);
	c->rseq_open = false;
}

static void repeat(struct call *c, struct server *s)
{
	event_stop(&c->again);
	event_stop(&c->limit);
	bytes_unref(c->repeat);
	c->repeat = bytes_ref(s->answer);
	c->repeat_to = s->to;
	c->interval = USEC_MS(T1_MS);
	call_after(c, &c->again, T1_MS, on_repeat);
	call_after(c, &c->limit, TIMEOUT_MS, on_no_ack);
}

/* ---- answers ---- */

static void answer(struct call *c, struct server *s, const char *what)
{
	char lines[URI_MAX + 64], contact[URI_MAX], sdp[64];
	ua_dialog_contact(c->ua, contact);
	snprintf(lines, sizeof(lines), "Contact: <%s>\r\n", contact);
	c->sdp++;
	call_sdp(c, sdp);
	ua_fact(c->ua, "call %u: %s", c->number, what);
	server_answer(s, 200, c->local_tag, lines, sdp);
	repeat(c, s);
}

/* RFC 3262 3: not before our 180, which has a session description, is acknowledged. */
static void on_answer(struct event *e)
{
	struct call *c = container_of(e, struct call, act);
	struct server *s = c->invited;
	c->answer_waits = c->rseq_open;
	if (c->answer_waits)
		return;
	event_stop(&c->ring);
	call_repeat_end(c);
	call_set_state(c, CALL_ANSWERED);
	rings_over(c->call_id, c->remote_cseq);
	c->invited = NULL;
	answer(c, s, "answered");
}

static void on_reject(struct event *e)
{
	struct call *c = container_of(e, struct call, act);
	const struct ua_policy *p = &c->ua->c.policy;
	char lines[URI_MAX + 16] = "";
	if (p->moved_to)
		snprintf(lines, sizeof(lines), "Contact: <%s>\r\n", p->moved_to);
	call_set_state(c, CALL_ENDED);
	ua_fact(c->ua, "call %u: rejected", c->number);
	server_answer(c->invited, p->reject, c->local_tag, lines, NULL);
	c->invited = NULL;
}

static void on_ring(struct event *e)
{
	struct call *c = container_of(e, struct call, ring);
	char lines[URI_MAX + 128], contact[URI_MAX], sdp[64];
	bool reliable =
		c->ua->c.policy.reliable &&
		sip_msg_has_token(&c->invited->request->msg, SIP_HDR_SUPPORTED, SPAN("100rel"));
	ua_dialog_contact(c->ua, contact);
	snprintf(lines, sizeof(lines), "Contact: <%s>\r\n", contact);
	if (reliable) {
		c->rseq = 1 + (uint32_t)rng_below(&c->ua->rng, 1000);
		snprintf(lines + strlen(lines), sizeof(lines) - strlen(lines),
			 "Require: 100rel\r\nRSeq: %u\r\n", c->rseq);
	}
	call_sdp(c, sdp);
	server_answer(c->invited, 180, c->local_tag, lines, reliable ? sdp : NULL);
	if (reliable) {
		c->rseq_open = true;
		repeat(c, c->invited);
	}
}

/* ---- requests ---- */

static void reinvited(struct ua *u, struct call *c, const struct sip_msg *m,
		      const struct addr *from)
{
	struct server *s = server_new(u, m, from);
	if (!c || (c->state != CALL_UP && c->state != CALL_ANSWERED)) {
		char tag[TOKEN_MAX];
		ua_token(u, "t", tag);
		server_answer(s, 481, tag, "", NULL);
		return;
	}
	dialog_learn(&c->dialog[0], m, false);
	c->remote_cseq = m->cseq;
	answer(c, s, "answered anew");
}

static void learn(struct call *c, const struct sip_msg *m)
{
	struct sip_nameaddr na;
	struct span tag;
	struct dialog *d = &c->dialog[0];
	c->ndialogs = 1;
	snprintf(c->call_id, sizeof(c->call_id), "%.*s", SPAN_FMT(m->call_id));
	if (sip_msg_tag(m, SIP_HDR_FROM, &tag) == 0)
		snprintf(d->remote_tag, sizeof(d->remote_tag), "%.*s", SPAN_FMT(tag));
	if (sip_msg_from(m, &na) == 0)
		snprintf(c->remote, sizeof(c->remote), "%.*s", SPAN_FMT(na.uri_text));
	if (sip_msg_to(m, &na) == 0)
		snprintf(c->local, sizeof(c->local), "%.*s", SPAN_FMT(na.uri_text));
	c->remote_cseq = m->cseq;
	dialog_learn(d, m, false);
}

void called_invite(struct ua *u, const struct sip_msg *m, const struct addr *from)
{
	const struct ua_policy *p = &u->c.policy;
	struct span to_tag;
	if (sip_msg_tag(m, SIP_HDR_TO, &to_tag) == 0 && to_tag.p) {
		reinvited(u, call_find(u, m), m, from);
		return;
	}
	struct call *c = call_new(u, false);
	c->invited = server_new(u, m, from);
	c->invited->call = c;
	learn(c, m);
	c->rang_at = sim_now();
	ua_fact(u, "call %u: rings", c->number);
	if (!p->answer_ms && !p->reject_ms && !p->ring_ms) {
		call_set_state(c, CALL_ENDED);
		server_answer(c->invited, 480, c->local_tag, "", NULL);
		return;
	}
	if (p->moves_ms)
		ua_moves(u, p->moves_ms);
	call_after(c, &c->ring, p->ring_ms, on_ring);
	call_after(c, &c->act, p->answer_ms, on_answer);
	if (p->reject_ms)
		call_after(c, &c->act, p->reject_ms, on_reject);
}

void called_cancel(struct ua *u, struct server *invite)
{
	struct call *c = invite->call;
	if (!c)
		return;
	if (c->state == CALL_RINGING) {
		call_set_state(c, CALL_ENDED);
		ua_fact(u, "call %u: cancelled", c->number);
		c->invited = NULL;
		server_answer(invite, 487, c->local_tag, "", NULL);
	} else if (c->state == CALL_ANSWERED || c->state == CALL_UP) {
		ua_fact(u, "call %u: CANCELLED ALTHOUGH ANSWERED", c->number);
	}
}

void called_ack(struct ua *u, const struct sip_msg *m)
{
	struct call *c = call_find(u, m);
	if (!c || !c->repeat || c->rseq_open || m->cseq != c->remote_cseq)
		return;
	call_repeat_end(c);
	if (c->state != CALL_ANSWERED)
		return;
	c->dialog[0].confirmed = true;
	call_is_up(c); /* no fact: a BYE may overtake the ACK */
}

void called_prack(struct call *c, struct server *s, const struct sip_msg *m)
{
	struct span rack = ua_header(m, "RAck");
	ptrdiff_t space = span_chr(rack, ' ', 0);
	uint64_t n = 0;
	bool known = space > 0 &&
		     span_u64(span_of(rack.p, (size_t)space), UINT32_MAX, &n) == 0 &&
		     n == c->rseq && !c->pracked;
	if (known) {
		if (c->rseq_open) /* else it has been answered meanwhile (RFC 3262 3) */
			call_repeat_end(c);
		c->pracked = true;
		ua_fact(c->ua, "call %u: PRACK came", c->number);
	}
	server_answer(s, known ? 200 : 481, c->local_tag, "", NULL);
	if (known && c->answer_waits)
		on_answer(&c->act);
}
