/*
 * INVITE client transaction: RFC 3261 17.1.1 figure 5, as RFC 6026 corrects it (Accepted, timer
 * M), and the sending of CANCEL (9.1).  In Proceeding it has no timer of its own: timer C is
 * the proxy's.  Not here: the ACK to a 2xx, which is end to end.
 */
#include "common/sip/build.h"
#include "common/txn/txn_priv.h"

enum state { CALLING, PROCEEDING, COMPLETED, ACCEPTED, TERMINATED };

static const char *const state_names[] = {
	[CALLING] = "Calling",	 [PROCEEDING] = "Proceeding", [COMPLETED] = "Completed",
	[ACCEPTED] = "Accepted", [TERMINATED] = "Terminated",
};

enum { TIMER_D_MS = 32000 }; /* at least 32 s (17.1.1.2) */

static void set_state(struct txn *t, enum state state, msec now)
{
	txn_enter_state(t, state);
	txn_stop_retransmit(t);
	txn_stop_life(t);
	switch (state) {
	case CALLING:
		if (!t->reliable)
			txn_arm_retransmit(t, t->tt->timers.t1, now); /* timer A */
		txn_arm_life(t, now + txn_64t1(t));		      /* timer B */
		break;
	case PROCEEDING:
		if (!t->client.user)
			txn_arm_life(t, now + TXN_FORGOTTEN_MS);
		break;
	case COMPLETED:
		if (t->reliable) { /* timer D is 0 */
			txn_enter_state(t, TERMINATED);
			txn_terminate(t);
		} else {
			txn_arm_linger(t, TIMER_D_MS, now);
		}
		break;
	case ACCEPTED:
		txn_drop_request(t);
		txn_arm_linger(t, txn_64t1(t), now); /* timer M */
		break;
	case TERMINATED:
		txn_terminate(t);
		break;
	}
}

void txn_invite_client_start(struct txn *t, msec now)
{
	set_state(t, CALLING, now);
	txn_send(t, t->client.req);
}

void txn_invite_client_resume(struct txn *t, msec now)
{
	set_state(t, PROCEEDING, now);
}

static void retransmit(struct txn *t, msec now)
{
	txn_arm_retransmit(t, t->interval_ms * 2, now);
	txn_resend(t, t->client.req);
}

static void life(struct txn *t, msec now)
{
	switch ((enum state)t->state) {
	case CALLING:	 /* timer B */
	case PROCEEDING: /* 9.1: no final response 64*T1 after the CANCEL; or forgotten */
		set_state(t, TERMINATED, now);
		txn_fail(t,
			 t->client.cancel == TXN_CANCEL_UNKNOWN ? TXN_FAIL_UNKNOWN
								: TXN_FAIL_TIMEOUT,
			 now);
		break;
	case COMPLETED: /* timer D */
	case ACCEPTED:	/* timer M */
		set_state(t, TERMINATED, now);
		break;
	case TERMINATED:
		break;
	}
}

static void transport_error(struct txn *t, msec now)
{
	switch ((enum state)t->state) {
	case CALLING:
	case COMPLETED: /* the ACK */
		set_state(t, TERMINATED, now);
		txn_fail(t, TXN_FAIL_TRANSPORT, now);
		break;
	case PROCEEDING: /* late news of an INVITE that did arrive */
	case ACCEPTED:
	case TERMINATED:
		break;
	}
}

/* The request as sent, indexed again: rare enough not to keep the index. */
static int index_request(const struct txn *t, struct sip_msg *m)
{
	struct sip_limits lim = sip_limits_default;
	struct sip_fault fault;
	/* It is ours: what was let in, and what we added. */
	lim.stream_bytes = t->client.req->n;
	lim.datagram_bytes = t->client.req->n;
	lim.headers = SIP_HDR_MAX;
	lim.header_bytes = UINT16_MAX;
	lim.commas = lim.semicolons = UINT16_MAX;
	return sip_msg_index(m, bytes_span(t->client.req), t->reliable, &lim, &fault);
}

/* 17.1.1.3.  Nothing needs the request any more when its ACK is made. */
static void send_ack(struct txn *t, const struct sip_msg *response)
{
	struct sip_hdr hdr[SIP_HDR_MAX];
	struct sip_msg invite = {.hdr = hdr};
	if (index_request(t, &invite) < 0)
		return;
	struct bytes *ack = sip_build_ack(&invite, response);
	if (!ack)
		return; /* the response will come again, and find memory or not */
	txn_keep_last(t, ack);
	bytes_unref(ack);
	txn_drop_request(t);
	txn_send(t, t->last);
}

/* ---- the CANCEL of a resumed one: an INVITE that is not known there is not waited for ---- */

static void not_known(struct txn *cancel, void *arg, msec now)
{
	struct txn_table *tt = cancel->tt;
	struct txn *t = txn_by_id(tt, (uint64_t)(uintptr_t)arg);
	if (!t || t->kind != TXN_INVITE_CLIENT || t->state != PROCEEDING)
		return;
	t->client.cancel = TXN_CANCEL_UNKNOWN;
	txn_arm_life(t, now + 2 * tt->timers.t1);
}

static void cancel_answered(void *arg, struct txn *cancel, const struct sip_msg *m, msec now)
{
	if (m->status == 481)
		not_known(cancel, arg, now);
}

static void cancel_failed(void *arg, struct txn *cancel, enum txn_failure why, msec now)
{
	if (why == TXN_FAIL_TRANSPORT)
		not_known(cancel, arg, now);
}

static const struct txn_client_user resumed_cancel = {
	.response = cancel_answered,
	.failed = cancel_failed,
};

/* 9.1.  Without memory for a transaction the CANCEL is still sent, once. */
static void send_cancel(struct txn *t, struct span lines, msec now)
{
	struct sip_hdr hdr[SIP_HDR_MAX];
	struct sip_msg invite = {.hdr = hdr};
	/* Whoever cancelled waits for 64*T1 too, and what is resumed begins later than he: it
	 * is to be over in time for an answer. */
	uint32_t early = t->client.resumed ? t->tt->timers.t2 : 0;
	t->client.cancel = TXN_CANCEL_SENT;
	txn_arm_life(t, now + txn_64t1(t) - early);
	if (index_request(t, &invite) < 0)
		return;
	struct bytes *cancel = sip_build_cancel(&invite, lines);
	if (!cancel)
		return;
	const struct txn_client_user *user = t->client.resumed ? &resumed_cancel : NULL;
	struct txn *c = txn_client_start(t->tt, SIP_CANCEL, SPAN("CANCEL"), t->client.branch,
					 cancel, &t->to, user, (void *)(uintptr_t)t->id, now);
	if (!c)
		t->tt->ops.send(t->tt->ops.arg, &t->to, cancel, 0);
	bytes_unref(cancel);
}

void txn_invite_client_cancel(struct txn *t, struct span lines, msec now)
{
	if (t->client.cancel != TXN_CANCEL_NONE)
		return;
	switch ((enum state)t->state) {
	case CALLING:
		t->client.cancel = TXN_CANCEL_WANTED;
		t->client.cancel_lines = lines.n ? bytes_dup(lines) : NULL;
		break;
	case PROCEEDING:
		send_cancel(t, lines, now);
		break;
	case COMPLETED:
	case ACCEPTED:
	case TERMINATED:
		break;
	}
}

static void pass_up(struct txn *t, const struct sip_msg *m, msec now)
{
	const struct txn_client_user *u = t->client.user;
	t->status = m->status;
	if (u && u->response)
		u->response(t->arg, t, m, now);
}

static void provisional(struct txn *t, const struct sip_msg *m, msec now)
{
	if (t->state == CALLING) {
		set_state(t, PROCEEDING, now);
		if (t->client.cancel == TXN_CANCEL_WANTED) {
			struct bytes *lines = t->client.cancel_lines;
			send_cancel(t, lines ? bytes_span(lines) : SPAN(""), now);
		}
	}
	pass_up(t, m, now);
}

static bool is_held(struct txn *t, const struct sip_msg *m, msec now)
{
	const struct txn_client_user *u = t->client.user;
	return u && u->hold && u->hold(t->arg, t, m, now);
}

static void final(struct txn *t, const struct sip_msg *m, msec now)
{
	if (m->status < 300) {
		set_state(t, ACCEPTED, now);
		pass_up(t, m, now);
		return;
	}
	/* The ACK ends the repeats of the response: killed between the two, it must be the
	 * response that has gone on. */
	set_state(t, COMPLETED, now);
	pass_up(t, m, now);
	send_ack(t, m);
}

void txn_invite_client_take(struct txn *t, const struct sip_msg *m, msec now)
{
	switch ((enum state)t->state) {
	case CALLING:
	case PROCEEDING:
		if (m->status >= 200)
			final(t, m, now);
		break;
	case COMPLETED:
	case ACCEPTED:
	case TERMINATED:
		break;
	}
}

static void response(struct txn *t, const struct sip_msg *m, msec now)
{
	switch ((enum state)t->state) {
	case CALLING:
	case PROCEEDING:
		if (m->status < 200)
			provisional(t, m, now);
		else if (!is_held(t, m, now))
			final(t, m, now);
		break;
	case COMPLETED:
		if (m->status < 300)
			break;
		counter_inc(&t->tt->counters.retransmits_in);
		if (t->last)
			txn_resend(t, t->last);
		else
			send_ack(t, m);
		break;
	case ACCEPTED:
		if (m->status >= 200 && m->status < 300)
			pass_up(t, m, now);
		break;
	case TERMINATED:
		break;
	}
}

/* Nobody runs timer C any more. */
static void forgotten(struct txn *t, msec now)
{
	if (t->state == PROCEEDING && t->client.cancel < TXN_CANCEL_SENT)
		txn_arm_life(t, now + TXN_FORGOTTEN_MS);
}

const struct txn_machine txn_invite_client = {
	.state_names = state_names,
	.retransmit = retransmit,
	.life = life,
	.transport_error = transport_error,
	.response = response,
	.forgotten = forgotten,
};
