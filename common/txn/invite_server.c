/*
 * INVITE server transaction: RFC 3261 17.2.1 figure 7, as RFC 6026 corrects it (Accepted, timer
 * L; a transport error is told and changes no state, its 17.2.4).  Sends the 100 when the user
 * is slow.  Not here: repeating a 2xx, which is the affair of the UAS core or of a proxy
 * upstream.
 */
#include "common/sip/build.h"
#include "common/txn/txn_priv.h"

#include <errno.h>

enum state { PROCEEDING, ACCEPTED, COMPLETED, CONFIRMED, TERMINATED };

static const char *const state_names[] = {
	[PROCEEDING] = "Proceeding", [ACCEPTED] = "Accepted",	  [COMPLETED] = "Completed",
	[CONFIRMED] = "Confirmed",   [TERMINATED] = "Terminated",
};

/* Never repeated from here; RFC 2543's rule for ACK still looks at its To tag. */
static void drop_last(struct txn *t)
{
	if (t->server.cookie)
		txn_keep_last(t, NULL);
}

static void set_state(struct txn *t, enum state state, msec now)
{
	txn_enter_state(t, state);
	txn_stop_retransmit(t);
	txn_stop_life(t);
	switch (state) {
	case PROCEEDING: /* for the 100, 17.2.1 */
		txn_arm_retransmit(t, t->tt->timers.timer_100, now);
		break;
	case ACCEPTED:
		drop_last(t);
		txn_drop_request(t);
		txn_arm_linger(t, txn_64t1(t), now); /* timer L */
		break;
	case COMPLETED:
		txn_drop_request(t);
		if (!t->reliable)
			txn_arm_retransmit(t, t->tt->timers.t1, now); /* timer G */
		txn_arm_life(t, now + txn_64t1(t));		      /* timer H */
		break;
	case CONFIRMED:
		drop_last(t);
		if (t->reliable) { /* timer I is 0 */
			txn_enter_state(t, TERMINATED);
			txn_terminate(t);
		} else {
			txn_arm_linger(t, t->tt->timers.t4, now); /* timer I */
		}
		break;
	case TERMINATED:
		txn_terminate(t);
		break;
	}
}

void txn_invite_server_start(struct txn *t, msec now)
{
	set_state(t, PROCEEDING, now);
}

/* As if the 100 had been sent. */
void txn_invite_server_resume(struct txn *t, msec now)
{
	set_state(t, PROCEEDING, now);
	txn_stop_retransmit(t);
	t->status = 100;
}

bool txn_invite_server_cancellable(const struct txn *t)
{
	return t->state == PROCEEDING;
}

static void send_100(struct txn *t)
{
	struct sip_response r = {.status = 100};
	struct bytes *b = sip_build_response(&t->server.req->msg, &r);
	if (!b)
		return; /* the client repeats its request */
	txn_keep_last(t, b);
	bytes_unref(b);
	t->status = 100;
	txn_send(t, t->last);
}

static void retransmit(struct txn *t, msec now)
{
	uint32_t t2 = t->tt->timers.t2;
	switch ((enum state)t->state) {
	case PROCEEDING:
		if (!t->status)
			send_100(t);
		break;
	case COMPLETED: /* timer G */
		txn_arm_retransmit(t, t->interval_ms * 2 > t2 ? t2 : t->interval_ms * 2, now);
		txn_resend(t, t->last);
		break;
	case ACCEPTED:
	case CONFIRMED:
	case TERMINATED:
		break;
	}
}

static void life(struct txn *t, msec now)
{
	switch ((enum state)t->state) {
	case COMPLETED: /* timer H: no ACK */
		set_state(t, TERMINATED, now);
		txn_fail(t, TXN_FAIL_TIMEOUT, now);
		break;
	case PROCEEDING: /* forgotten */
	case ACCEPTED:	 /* timer L */
	case CONFIRMED:	 /* timer I */
		set_state(t, TERMINATED, now);
		break;
	case TERMINATED:
		break;
	}
}

static void transport_error(struct txn *t, msec now)
{
	switch ((enum state)t->state) {
	case PROCEEDING:
	case ACCEPTED:
	case COMPLETED:
		txn_fail(t, TXN_FAIL_TRANSPORT, now);
		break;
	case CONFIRMED:
	case TERMINATED:
		break;
	}
}

static void request(struct txn *t, const struct sip_msg *m, msec now)
{
	(void)m;
	(void)now;
	switch ((enum state)t->state) {
	case PROCEEDING:
		if (!t->last && t->status)
			send_100(t); /* resumed: what went before is not known here */
		else
			txn_resend(t, t->last);
		break;
	case COMPLETED:
		txn_resend(t, t->last);
		break;
	case ACCEPTED:
	case CONFIRMED:
	case TERMINATED:
		break;
	}
}

bool txn_invite_server_ack(struct txn *t, msec now)
{
	switch ((enum state)t->state) {
	case ACCEPTED: /* 6026: passed to the user */
		return false;
	case COMPLETED:
		set_state(t, CONFIRMED, now);
		break;
	case PROCEEDING:
	case CONFIRMED:
	case TERMINATED:
		break;
	}
	return true;
}

static int respond(struct txn *t, unsigned status, struct bytes *b, msec now)
{
	switch ((enum state)t->state) {
	case PROCEEDING:
		t->status = (uint16_t)status;
		txn_keep_last(t, b);
		if (status < 200)
			txn_stop_retransmit(t); /* no 100 any more */
		else
			set_state(t, status < 300 ? ACCEPTED : COMPLETED, now);
		txn_send(t, b);
		return 0;
	case ACCEPTED:
		if (status < 200 || status > 299)
			return -EALREADY;
		t->status = (uint16_t)status;
		txn_send(t, b);
		return 0;
	case COMPLETED:
	case CONFIRMED:
	case TERMINATED:
		break;
	}
	return -EALREADY;
}

/* Nobody is left to answer. */
static void forgotten(struct txn *t, msec now)
{
	if (t->state == PROCEEDING)
		txn_arm_life(t, now + TXN_FORGOTTEN_MS);
}

const struct txn_machine txn_invite_server = {
	.state_names = state_names,
	.retransmit = retransmit,
	.life = life,
	.transport_error = transport_error,
	.request = request,
	.respond = respond,
	.forgotten = forgotten,
};
