/*
 * What another member of a pair has begun: resumed transactions send nothing by themselves, and
 * go on by the figures.  And what waits for a record to be written: held responses and CANCELs.
 */
#include "tests/unit/common/txn/rig.h"

static struct txn *resumed_client(const char *method, enum sip_transport transport)
{
	struct rig_msg *r = REQUEST(.method = method, .branch = "z9hG4bKc1");
	struct bytes *b = bytes_dup(span_str(r->text));
	struct sip_flow to = rig_flow(transport);
	struct txn *t =
		txn_client_resume(rig.tt, sip_method_parse(span_str(method)), span_str(method),
				  SPAN("z9hG4bKc1"), b, &to, &rig_client_user, NULL, rig.now);
	bytes_unref(b);
	return t;
}

static struct txn *resumed_server(const char *method, enum sip_transport transport)
{
	struct rig_msg *r = REQUEST(.method = method);
	struct sip_flow f = rig_flow(transport);
	return txn_server_resume(rig.tt, &r->m, &r->top, &f, &rig_server_user, NULL, rig.now);
}

/* ---- client ---- */

START_TEST(a_resumed_invite_is_in_proceeding_and_sends_nothing)
{
	rig_start();
	struct txn *t = resumed_client("INVITE", SIP_TRANSPORT_UDP);
	assert_state(t, "Proceeding");
	rig_until(200000);
	assert_sent("");
	assert_told("");
	assert_live(1);
	rig_stop();
}
END_TEST

START_TEST(a_resumed_invite_is_cancelled_at_once)
{
	rig_start();
	struct txn *t = resumed_client("INVITE", SIP_TRANSPORT_UDP);
	txn_cancel(t, SPAN("Reason: SIP;cause=200\r\n"), rig.now);
	assert_sent("CANCEL@0");
	ck_assert_ptr_nonnull(strstr(rig.last_sent, "Reason: SIP;cause=200\r\n"));
	ck_assert_ptr_nonnull(strstr(rig.last_sent, "branch=z9hG4bKc1\r\n"));
	rig_answer("CANCEL", 200);
	rig_answer("INVITE", 487);
	assert_sent("ACK@0");
	assert_told("487@0");
	assert_state(t, "Completed");
	rig_stop();
}
END_TEST

START_TEST(a_resumed_invite_acks_and_passes_2xx_as_any_other)
{
	rig_start();
	resumed_client("INVITE", SIP_TRANSPORT_TCP);
	rig_answer("INVITE", 486);
	assert_sent("ACK@0");
	assert_told("486@0 gone@0");
	struct txn *t = resumed_client("INVITE", SIP_TRANSPORT_TCP);
	rig_answer("INVITE", 180);
	rig_answer("INVITE", 200);
	assert_sent("");
	assert_told("180@0 200@0");
	assert_state(t, "Accepted");
	rig_stop();
}
END_TEST

START_TEST(a_resumed_invite_that_never_arrived_ends_soon_after_its_cancel)
{
	rig_start();
	struct txn *t = resumed_client("INVITE", SIP_TRANSPORT_UDP);
	txn_cancel(t, SPAN(""), rig.now);
	rig_until(100);
	rig_answer("CANCEL", 481);
	rig_until(1099);
	assert_told("");
	rig_until(1100);
	assert_told("unknown@1100 gone@1100");
	rig_until(6000);
	assert_live(0);
	rig_stop();
}
END_TEST

START_TEST(a_2xx_that_crosses_the_481_is_taken)
{
	rig_start();
	struct txn *t = resumed_client("INVITE", SIP_TRANSPORT_UDP);
	txn_cancel(t, SPAN(""), rig.now);
	rig_answer("CANCEL", 481);
	rig_until(500);
	rig_answer("INVITE", 200);
	assert_told("200@500");
	assert_state(t, "Accepted");
	rig_stop();
}
END_TEST

START_TEST(a_cancel_of_a_resumed_invite_that_cannot_be_delivered_ends_it)
{
	rig_start();
	struct txn *t = resumed_client("INVITE", SIP_TRANSPORT_UDP);
	txn_cancel(t, SPAN(""), rig.now);
	txn_transport_error(rig.tt, rig.last_id, rig.now);
	rig_until(1000);
	assert_told("unknown@1000 gone@1000");
	rig_stop();
}
END_TEST

START_TEST(an_invite_of_our_own_is_not_ended_by_a_481_to_its_cancel)
{
	rig_start();
	struct txn *t = rig_client("INVITE", SIP_TRANSPORT_UDP);
	rig_answer("INVITE", 180);
	txn_cancel(t, SPAN(""), rig.now);
	rig_answer("CANCEL", 481);
	rig_until(31999);
	assert_told("180@0");
	rig_until(32000);
	assert_told("timeout@32000 gone@32000");
	rig_stop();
}
END_TEST

START_TEST(a_resumed_request_that_is_no_invite_waits_for_timer_f_alone)
{
	rig_start();
	struct txn *t = resumed_client("MESSAGE", SIP_TRANSPORT_UDP);
	assert_state(t, "Proceeding");
	rig_until(20000);
	assert_sent("");
	rig_answer("MESSAGE", 200);
	assert_told("200@20000");
	rig_until(25063);
	assert_told("gone@25024");
	resumed_client("MESSAGE", SIP_TRANSPORT_UDP);
	rig_until(60000);
	assert_sent("");
	assert_told("timeout@57063 gone@57063");
	rig_stop();
}
END_TEST

/* ---- server ---- */

START_TEST(a_resumed_server_transaction_sends_no_100_by_itself)
{
	rig_start();
	struct txn *t = resumed_server("INVITE", SIP_TRANSPORT_UDP);
	assert_state(t, "Proceeding");
	rig_until(1000);
	assert_sent("");
	ck_assert_int_eq(rig_reply(t, 486), 0);
	rig_until(1500);
	assert_sent("486@1000 486@1500");
	ck_assert_int_eq(rig_recv(REQUEST(.method = "ACK")), TXN_REQUEST_ABSORBED);
	assert_state(t, "Confirmed");
	rig_stop();
}
END_TEST

START_TEST(a_repeated_invite_of_a_resumed_transaction_gets_a_100)
{
	rig_start();
	resumed_server("INVITE", SIP_TRANSPORT_UDP);
	ck_assert_int_eq(rig_recv(REQUEST(.method = "INVITE")), TXN_REQUEST_ABSORBED);
	assert_sent("100@0");
	ck_assert_int_eq(rig_recv(REQUEST(.method = "INVITE")), TXN_REQUEST_ABSORBED);
	assert_sent("100@0");
	rig_stop();
}
END_TEST

START_TEST(a_resumed_server_transaction_has_the_tag_that_the_other_member_gives)
{
	char tag[16];
	rig_start();
	struct txn *t = rig_server(REQUEST(.method = "INVITE"), SIP_TRANSPORT_UDP);
	memcpy(tag, txn_to_tag(t).p, sizeof(tag));
	rig_stop();
	rig_start();
	t = resumed_server("INVITE", SIP_TRANSPORT_UDP);
	ck_assert_mem_eq(txn_to_tag(t).p, tag, sizeof(tag));
	rig_stop();
}
END_TEST

START_TEST(a_resumed_server_transaction_is_cancelled)
{
	rig_start();
	resumed_server("INVITE", SIP_TRANSPORT_UDP);
	ck_assert_int_eq(rig_recv(REQUEST(.method = "CANCEL")), TXN_REQUEST_ABSORBED);
	assert_told("cancel@0");
	assert_sent("200@0");
	rig_stop();
}
END_TEST

START_TEST(another_method_than_invite_is_resumed_in_proceeding)
{
	rig_start();
	struct txn *t = resumed_server("MESSAGE", SIP_TRANSPORT_UDP);
	assert_state(t, "Proceeding");
	ck_assert_int_eq(rig_recv(REQUEST(.method = "MESSAGE")), TXN_REQUEST_ABSORBED);
	assert_sent("");
	ck_assert_int_eq(rig_reply(t, 200), 0);
	assert_sent("200@0");
	rig_stop();
}
END_TEST

START_TEST(an_ack_is_resumed_by_nobody)
{
	rig_start();
	ck_assert_ptr_null(resumed_server("ACK", SIP_TRANSPORT_UDP));
	ck_assert_uint_eq(txn_table_counters(rig.tt)->refused, 1);
	rig_stop();
}
END_TEST

START_TEST(the_invite_behind_a_response_is_found)
{
	static const struct txn_server_user other;
	rig_start();
	int arg;
	struct txn *t = rig_server(REQUEST(.method = "INVITE"), SIP_TRANSPORT_UDP);
	txn_server_set_user(t, &rig_server_user, &arg);
	struct rig_msg *r = rig_response("INVITE", "z9hG4bKone", 180);
	ck_assert_ptr_eq(txn_find_invite(rig.tt, &r->m, &r->top), t);
	ck_assert_ptr_eq(txn_server_arg(t, &rig_server_user), &arg);
	ck_assert_ptr_null(txn_server_arg(t, &other));
	r = rig_response("INVITE", "z9hG4bKtwo", 180);
	ck_assert_ptr_null(txn_find_invite(rig.tt, &r->m, &r->top));
	rig_server(REQUEST(.method = "INVITE", .branch = ""), SIP_TRANSPORT_UDP);
	r = rig_response("INVITE", "old", 180);
	ck_assert_ptr_null(txn_find_invite(rig.tt, &r->m, &r->top)); /* RFC 2543: no way */
	rig_stop();
}
END_TEST

START_TEST(what_is_abandoned_ends_without_a_word)
{
	rig_start();
	struct txn *c = rig_client("INVITE", SIP_TRANSPORT_UDP);
	struct txn *s = rig_server(REQUEST(.method = "INVITE"), SIP_TRANSPORT_UDP);
	txn_abandon(c);
	txn_abandon(s);
	ck_assert(!rig_answer("INVITE", 486));
	ck_assert_int_eq(rig_recv(REQUEST(.method = "INVITE")), TXN_REQUEST_NEW);
	rig_until(40000);
	assert_sent("INVITE@0");
	assert_told("");
	assert_live(0);
	rig_stop();
}
END_TEST

/* ---- held ---- */

static unsigned held;

static bool hold_it(void *arg, struct txn *t, const struct sip_msg *m, msec now)
{
	(void)arg;
	(void)t;
	(void)now;
	held = m->status;
	return true;
}

static const struct txn_client_user holder = {
	.hold = hold_it,
	.response = rig_on_response,
	.failed = rig_on_failed,
	.gone = rig_on_gone,
};

static struct txn *holding_client(enum sip_transport transport)
{
	struct rig_msg *r = REQUEST(.method = "INVITE", .branch = "z9hG4bKc1");
	struct bytes *b = bytes_dup(span_str(r->text));
	struct sip_flow to = rig_flow(transport);
	held = 0;
	struct txn *t = txn_client_new(rig.tt, SIP_INVITE, SPAN("INVITE"), SPAN("z9hG4bKc1"), b,
				       &to, &holder, NULL, rig.now);
	bytes_unref(b);
	return t;
}

static void take(struct txn *t, unsigned status)
{
	struct rig_msg *r = rig_response("INVITE", "z9hG4bKc1", status);
	txn_take(t, &r->m, rig.now);
}

START_TEST(a_held_final_is_as_if_it_had_not_come_until_it_is_taken)
{
	rig_start();
	struct txn *t = holding_client(SIP_TRANSPORT_UDP);
	rig_answer("INVITE", 180);
	ck_assert_uint_eq(held, 0);
	rig_answer("INVITE", 486);
	ck_assert_uint_eq(held, 486);
	rig_answer("INVITE", 486);
	assert_state(t, "Proceeding");
	assert_sent("INVITE@0");
	assert_told("180@0");
	take(t, 486);
	assert_sent("ACK@0");
	assert_told("486@0");
	assert_state(t, "Completed");
	held = 0;
	rig_answer("INVITE", 486);
	ck_assert_uint_eq(held, 0);
	assert_sent("ACK@0");
	take(t, 486);
	assert_sent("");
	rig_stop();
}
END_TEST

START_TEST(a_held_2xx_is_taken_once_and_its_repeats_pass)
{
	rig_start();
	struct txn *t = holding_client(SIP_TRANSPORT_TCP);
	rig_answer("INVITE", 200);
	assert_state(t, "Calling");
	take(t, 180); /* not a final one: nothing */
	take(t, 200);
	assert_state(t, "Accepted");
	rig_answer("INVITE", 200);
	assert_told("200@0 200@0");
	rig_stop();
}
END_TEST

START_TEST(what_is_held_too_long_comes_to_nothing)
{
	rig_start();
	struct txn *t = holding_client(SIP_TRANSPORT_UDP);
	rig_until(31900);
	rig_answer("INVITE", 486);
	rig.on_failed = NULL;
	uint64_t id = txn_id(t);
	rig_until(32100);
	assert_told("timeout@32000 gone@32000");
	ck_assert_ptr_null(txn_by_id(rig.tt, id));
	rig_stop();
}
END_TEST

static uint64_t cancel_id;

static void hold_cancel(struct txn *t)
{
	cancel_id = txn_hold_cancel(t);
}

START_TEST(a_held_cancel_is_answered_when_its_user_says_so)
{
	rig_start();
	rig_server(REQUEST(.method = "INVITE"), SIP_TRANSPORT_UDP);
	rig.on_cancel = hold_cancel;
	rig_recv(REQUEST(.method = "CANCEL"));
	rig_recv(REQUEST(.method = "CANCEL"));
	assert_sent("");
	assert_told("cancel@0");
	ck_assert_uint_ne(cancel_id, 0);
	txn_answer_cancel(rig.tt, cancel_id, rig.now);
	assert_sent("200@0");
	ck_assert_ptr_nonnull(strstr(rig.last_sent, "CSeq: 1 CANCEL\r\n"));
	txn_answer_cancel(rig.tt, cancel_id, rig.now);
	assert_sent("");
	rig_recv(REQUEST(.method = "CANCEL"));
	assert_sent("200@0");
	rig_stop();
}
END_TEST

START_TEST(a_cancel_that_is_never_answered_ends_all_the_same)
{
	rig_start();
	struct txn *t = rig_server(REQUEST(.method = "INVITE"), SIP_TRANSPORT_UDP);
	rig.on_cancel = hold_cancel;
	rig_recv(REQUEST(.method = "CANCEL"));
	assert_live(2);
	txn_answer_cancel(rig.tt, txn_id(t), rig.now); /* not a CANCEL: nothing */
	rig_until(190);
	assert_sent("");
	rig_until(33000);
	assert_live(1);
	ck_assert_ptr_null(txn_by_id(rig.tt, cancel_id));
	rig_stop();
}
END_TEST

START_TEST(a_cancel_without_a_transaction_cannot_be_held)
{
	rig_start_limit(1);
	rig_server(REQUEST(.method = "INVITE"), SIP_TRANSPORT_UDP);
	rig.on_cancel = hold_cancel;
	rig_recv(REQUEST(.method = "CANCEL"));
	ck_assert_uint_eq(cancel_id, 0);
	assert_sent("200@0");
	rig_stop();
}
END_TEST

UNIT_MAIN("resume", a_resumed_invite_is_in_proceeding_and_sends_nothing,
	  a_resumed_invite_is_cancelled_at_once,
	  a_resumed_invite_acks_and_passes_2xx_as_any_other,
	  a_resumed_invite_that_never_arrived_ends_soon_after_its_cancel,
	  a_2xx_that_crosses_the_481_is_taken,
	  a_cancel_of_a_resumed_invite_that_cannot_be_delivered_ends_it,
	  an_invite_of_our_own_is_not_ended_by_a_481_to_its_cancel,
	  a_resumed_request_that_is_no_invite_waits_for_timer_f_alone,
	  a_resumed_server_transaction_sends_no_100_by_itself,
	  a_repeated_invite_of_a_resumed_transaction_gets_a_100,
	  a_resumed_server_transaction_has_the_tag_that_the_other_member_gives,
	  a_resumed_server_transaction_is_cancelled,
	  another_method_than_invite_is_resumed_in_proceeding, an_ack_is_resumed_by_nobody,
	  the_invite_behind_a_response_is_found, what_is_abandoned_ends_without_a_word,
	  a_held_final_is_as_if_it_had_not_come_until_it_is_taken,
	  a_held_2xx_is_taken_once_and_its_repeats_pass, what_is_held_too_long_comes_to_nothing,
	  a_held_cancel_is_answered_when_its_user_says_so,
	  a_cancel_that_is_never_answered_ends_all_the_same,
	  a_cancel_without_a_transaction_cannot_be_held)
