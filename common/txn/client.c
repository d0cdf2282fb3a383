/*
 * Non-INVITE client transaction: RFC 3261 17.1.2 figure 6.
 */
#include "common/txn/txn_priv.h"

enum state { TRYING, PROCEEDING, COMPLETED, TERMINATED };

static const char *const state_names[] = {
	[TRYING] = "Trying",
	[PROCEEDING] = "Proceeding",
	[COMPLETED] = "Completed",
	[TERMINATED] = "Terminated",
};

static void set_state(struct txn *t, enum state state, msec now)
{
	txn_enter_state(t, state);
	switch (state) {
	case TRYING:
		if (!t->reliable)
			txn_arm_retransmit(t, t->tt->timers.t1, now); /* timer E */
		txn_arm_life(t, now + txn_64t1(t));		      /* timer F */
		break;
	case PROCEEDING: /* E and F run on; E is T2 from its next time */
		break;
	case COMPLETED:
		txn_stop_retransmit(t);
		if (t->reliable) { /* timer K is 0 */
			txn_enter_state(t, TERMINATED);
			txn_terminate(t);
		} else {
			txn_drop_request(t);
			txn_arm_linger(t, t->tt->timers.t4, now); /* timer K */
		}
		break;
	case TERMINATED:
		txn_terminate(t);
		break;
	}
}

void txn_client_start_trying(struct txn *t, msec now)
{
	set_state(t, TRYING, now);
	txn_send(t, t->client.req);
}

/* Timer F alone: what was sent is not to be sent again from here. */
void txn_client_resume_proceeding(struct txn *t, msec now)
{
	set_state(t, PROCEEDING, now);
	txn_arm_life(t, now + txn_64t1(t));
}

static void retransmit(struct txn *t, msec now)
{
	uint32_t t2 = t->tt->timers.t2;
	uint32_t next = t->interval_ms * 2;
	txn_arm_retransmit(t, t->state == PROCEEDING || next > t2 ? t2 : next, now);
	txn_resend(t, t->client.req);
}

static void life(struct txn *t, msec now)
{
	switch ((enum state)t->state) {
	case TRYING:
	case PROCEEDING: /* timer F */
		set_state(t, TERMINATED, now);
		txn_fail(t, TXN_FAIL_TIMEOUT, now);
		break;
	case COMPLETED: /* timer K */
		set_state(t, TERMINATED, now);
		break;
	case TERMINATED:
		break;
	}
}

static void transport_error(struct txn *t, msec now)
{
	switch ((enum state)t->state) {
	case TRYING:
	case PROCEEDING:
		set_state(t, TERMINATED, now);
		txn_fail(t, TXN_FAIL_TRANSPORT, now);
		break;
	case COMPLETED:
	case TERMINATED:
		break;
	}
}

static void response(struct txn *t, const struct sip_msg *m, msec now)
{
	const struct txn_client_user *u = t->client.user;
	switch ((enum state)t->state) {
	case TRYING:
	case PROCEEDING:
		if (m->status >= 200)
			set_state(t, COMPLETED, now);
		else if (t->state == TRYING)
			set_state(t, PROCEEDING, now);
		t->status = m->status;
		if (u && u->response)
			u->response(t->arg, t, m, now);
		break;
	case COMPLETED:
		counter_inc(&t->tt->counters.retransmits_in);
		break;
	case TERMINATED:
		break;
	}
}

const struct txn_machine txn_client = {
	.state_names = state_names,
	.retransmit = retransmit,
	.life = life,
	.transport_error = transport_error,
	.response = response,
};
