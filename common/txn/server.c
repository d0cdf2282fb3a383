/*
 * Non-INVITE server transaction: RFC 3261 17.2.2 figure 8, with erratum 1470 (a final response
 * in Trying) and RFC 6026's 17.2.4 (a transport error is told and changes no state).
 */
#include "common/txn/txn_priv.h"

#include <errno.h>

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
	case PROCEEDING:
		break;
	case COMPLETED:
		if (t->reliable) { /* timer J is 0 */
			txn_enter_state(t, TERMINATED);
			txn_terminate(t);
		} else {
			txn_drop_request(t);
			txn_complete(t);
			txn_arm_linger(t, txn_64t1(t), now); /* timer J */
		}
		break;
	case TERMINATED:
		txn_terminate(t);
		break;
	}
}

void txn_server_start_trying(struct txn *t, msec now)
{
	set_state(t, TRYING, now);
}

void txn_server_resume_proceeding(struct txn *t, msec now)
{
	set_state(t, PROCEEDING, now);
}

static void life(struct txn *t, msec now)
{
	/* Timer J, or forgotten before it was answered. */
	set_state(t, TERMINATED, now);
}

static void transport_error(struct txn *t, msec now)
{
	switch ((enum state)t->state) {
	case PROCEEDING:
	case COMPLETED:
		txn_fail(t, TXN_FAIL_TRANSPORT, now);
		break;
	case TRYING:
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
	case COMPLETED:
		txn_resend(t, t->last);
		break;
	case TRYING:
	case TERMINATED:
		break;
	}
}

static int respond(struct txn *t, unsigned status, struct bytes *b, msec now)
{
	switch ((enum state)t->state) {
	case TRYING:
	case PROCEEDING:
		t->status = (uint16_t)status;
		txn_keep_last(t, b);
		if (status >= 200)
			set_state(t, COMPLETED, now);
		else if (t->state == TRYING)
			set_state(t, PROCEEDING, now);
		txn_send(t, b);
		return 0;
	case COMPLETED:
	case TERMINATED:
		break;
	}
	return -EALREADY;
}

static void forgotten(struct txn *t, msec now)
{
	if (t->state == TRYING || t->state == PROCEEDING)
		txn_arm_life(t, now + txn_64t1(t));
}

const struct txn_machine txn_server = {
	.state_names = state_names,
	.life = life,
	.transport_error = transport_error,
	.request = request,
	.respond = respond,
	.forgotten = forgotten,
};
