/*
 * CANCEL, both sides: RFC 3261 9.1 and 9.2, and its races.
 */
#include "tests/unit/common/txn/rig.h"

/* ---- sending, 9.1 ---- */

static struct txn *invite(void)
{
	rig_start();
	return rig_client("INVITE", SIP_TRANSPORT_UDP);
}

START_TEST(cancel_is_sent_at_once_when_a_provisional_has_come)
{
	struct txn *t = invite();
	rig_answer("INVITE", 180);
	txn_cancel(t, SPAN("Reason: SIP;cause=200\r\n"), rig.now);
	assert_sent("INVITE@0 CANCEL@0");
	ck_assert_ptr_nonnull(strstr(rig.last_sent, "CANCEL sip:bob@example.com SIP/2.0\r\n"));
	ck_assert_ptr_nonnull(strstr(rig.last_sent, "branch=z9hG4bKc1\r\n"));
	ck_assert_ptr_nonnull(strstr(rig.last_sent, "CSeq: 1 CANCEL\r\n"));
	ck_assert_ptr_nonnull(strstr(rig.last_sent, "Reason: SIP;cause=200\r\n"));
	ck_assert(addr_equal(&rig.last_to.remote, &txn_flow(t)->remote));
	assert_state(t, "Proceeding");
	assert_live(2);
	rig_stop();
}
END_TEST

START_TEST(cancel_before_any_provisional_waits_for_one)
{
	struct txn *t = invite();
	txn_cancel(t, SPAN("Reason: SIP;cause=200\r\n"), rig.now);
	rig_until(700);
	assert_sent("INVITE@0 INVITE@500");
	rig_answer("INVITE", 100);
	assert_sent("CANCEL@700");
	ck_assert_ptr_nonnull(strstr(rig.last_sent, "Reason: SIP;cause=200\r\n"));
	assert_told("100@700");
	rig_stop();
}
END_TEST

START_TEST(cancel_wanted_and_the_final_comes_first_sends_none)
{
	struct txn *t = invite();
	txn_cancel(t, SPAN(""), rig.now);
	rig_answer("INVITE", 200);
	rig_until(10000);
	assert_sent("INVITE@0");
	assert_told("200@0");
	assert_state(t, "Accepted");
	rig_stop();
}
END_TEST

START_TEST(cancel_after_a_final_does_nothing)
{
	struct txn *t = invite();
	rig_answer("INVITE", 486);
	txn_cancel(t, SPAN(""), rig.now);
	assert_sent("INVITE@0 ACK@0");
	assert_live(1);
	rig_stop();
}
END_TEST

START_TEST(cancel_wanted_without_any_answer_ends_by_timer_b)
{
	struct txn *t = invite();
	txn_cancel(t, SPAN(""), rig.now);
	rig_until(32000);
	assert_told("timeout@32000 gone@32000");
	rig_stop();
}
END_TEST

START_TEST(cancel_twice_is_sent_once)
{
	struct txn *t = invite();
	rig_answer("INVITE", 180);
	txn_cancel(t, SPAN(""), rig.now);
	txn_cancel(t, SPAN(""), rig.now);
	assert_sent("INVITE@0 CANCEL@0");
	rig_stop();
}
END_TEST

START_TEST(cancel_is_a_transaction_of_its_own)
{
	struct txn *t = invite();
	rig_answer("INVITE", 180);
	txn_cancel(t, SPAN(""), rig.now);
	rig_until(500);
	assert_sent("INVITE@0 CANCEL@0 CANCEL@500");
	ck_assert(rig_answer("CANCEL", 200));
	rig_until(2000);
	assert_sent("");
	assert_state(t, "Proceeding");
	ck_assert(rig_answer("INVITE", 487));
	assert_sent("ACK@2000");
	/* The answer to the CANCEL is nobody's news. */
	assert_told("180@0 487@2000");
	rig_stop();
}
END_TEST

START_TEST(cancel_crossing_a_200_leaves_the_200_to_the_user)
{
	struct txn *t = invite();
	rig_answer("INVITE", 180);
	txn_cancel(t, SPAN(""), rig.now);
	rig_answer("INVITE", 200);
	rig_answer("CANCEL", 481);
	assert_told("180@0 200@0");
	assert_state(t, "Accepted");
	rig_until(32064);
	assert_told("gone@32000");
	assert_live(0);
	rig_stop();
}
END_TEST

START_TEST(no_final_64_t1_after_the_cancel_is_a_timeout)
{
	struct txn *t = invite();
	rig_answer("INVITE", 180);
	rig_until(60000);
	txn_cancel(t, SPAN(""), rig.now);
	rig_answer("CANCEL", 200);
	rig_until(91999);
	rig_answer("INVITE", 180); /* does not prolong it */
	assert_told("180@0 180@91999");
	rig_until(92000);
	assert_told("timeout@92000 gone@92000");
	rig_stop();
}
END_TEST

START_TEST(cancel_with_a_full_table_is_still_sent_once)
{
	rig_start_limit(1);
	struct txn *t = rig_client("INVITE", SIP_TRANSPORT_UDP);
	rig_answer("INVITE", 180);
	txn_cancel(t, SPAN(""), rig.now);
	rig_until(2000);
	assert_sent("INVITE@0 CANCEL@0");
	ck_assert_uint_eq(rig.last_id, 0);
	ck_assert_uint_eq(txn_table_counters(rig.tt)->refused, 1);
	rig_until(32000);
	assert_told("180@0 timeout@32000 gone@32000");
	rig_stop();
}
END_TEST

START_TEST(cancel_of_another_method_does_nothing)
{
	rig_start();
	struct txn *t = rig_client("OPTIONS", SIP_TRANSPORT_UDP);
	rig_answer("OPTIONS", 100);
	txn_cancel(t, SPAN(""), rig.now);
	assert_sent("OPTIONS@0");
	rig_stop();
}
END_TEST

static void cancel_it(struct txn *t, unsigned status)
{
	if (status == 180)
		txn_cancel(t, SPAN(""), rig.now);
}

START_TEST(a_user_may_cancel_from_inside_its_response)
{
	invite();
	rig.on_response = cancel_it;
	rig_answer("INVITE", 180);
	assert_sent("INVITE@0 CANCEL@0");
	assert_told("180@0");
	rig_stop();
}
END_TEST

/* ---- receiving, 9.2 ---- */

static void assert_tag_is_of(const struct txn *t)
{
	char tag[32];
	snprintf(tag, sizeof(tag), ";tag=%.*s\r\n", SPAN_FMT(txn_to_tag(t)));
	ck_assert_ptr_nonnull(strstr(rig.last_sent, tag));
}

START_TEST(a_matching_cancel_is_answered_200_and_told)
{
	rig_start();
	struct txn *t = rig_server(REQUEST(.method = "INVITE"), SIP_TRANSPORT_UDP);
	rig_reply(t, 180);
	assert_tag_is_of(t);
	ck_assert_int_eq(rig_recv(REQUEST(.method = "CANCEL")), TXN_REQUEST_ABSORBED);
	assert_sent("180@0 200@0");
	assert_told("cancel@0");
	ck_assert_ptr_nonnull(strstr(rig.last_sent, "CSeq: 1 CANCEL\r\n"));
	assert_tag_is_of(t); /* 9.2: the INVITE's own */
	assert_state(t, "Proceeding");
	rig_stop();
}
END_TEST

static void answer_487(struct txn *t)
{
	ck_assert_int_eq(rig_reply(t, 487), 0);
}

START_TEST(a_user_may_answer_487_from_inside_cancel_before_the_200_leaves)
{
	rig_start();
	struct txn *t = rig_server(REQUEST(.method = "INVITE"), SIP_TRANSPORT_UDP);
	rig.on_cancel = answer_487;
	rig_recv(REQUEST(.method = "CANCEL"));
	assert_sent("487@0 200@0");
	assert_state(t, "Completed");
	rig_stop();
}
END_TEST

START_TEST(a_repeated_cancel_gets_the_200_again_and_is_told_once)
{
	rig_start();
	rig_server(REQUEST(.method = "INVITE"), SIP_TRANSPORT_UDP);
	rig_recv(REQUEST(.method = "CANCEL"));
	ck_assert_int_eq(rig_recv(REQUEST(.method = "CANCEL")), TXN_REQUEST_ABSORBED);
	assert_sent("200@0 200@0");
	assert_told("cancel@0");
	rig_stop();
}
END_TEST

START_TEST(a_cancel_after_the_final_is_answered_and_has_no_effect)
{
	rig_start();
	struct txn *t = rig_server(REQUEST(.method = "INVITE"), SIP_TRANSPORT_UDP);
	rig_reply(t, 200);
	ck_assert_int_eq(rig_recv(REQUEST(.method = "CANCEL")), TXN_REQUEST_ABSORBED);
	assert_sent("200@0 200@0");
	assert_told("");
	assert_state(t, "Accepted");
	rig_stop();
}
END_TEST

START_TEST(a_cancel_of_another_method_is_answered_and_has_no_effect)
{
	rig_start();
	struct txn *t = rig_server(REQUEST(.method = "MESSAGE"), SIP_TRANSPORT_UDP);
	ck_assert_int_eq(rig_recv(REQUEST(.method = "CANCEL")), TXN_REQUEST_ABSORBED);
	assert_sent("200@0");
	assert_told("");
	assert_state(t, "Trying");
	rig_stop();
}
END_TEST

START_TEST(a_cancel_that_matches_nothing_is_new)
{
	rig_start();
	rig_server(REQUEST(.method = "INVITE"), SIP_TRANSPORT_UDP);
	ck_assert_int_eq(rig_recv(REQUEST(.method = "CANCEL", .branch = "z9hG4bKtwo")),
			 TXN_REQUEST_NEW);
	assert_sent("");
	rig_stop();
}
END_TEST

START_TEST(a_cancel_with_a_full_table_is_answered_without_a_transaction)
{
	rig_start_limit(1);
	rig_server(REQUEST(.method = "INVITE"), SIP_TRANSPORT_UDP);
	ck_assert_int_eq(rig_recv(REQUEST(.method = "CANCEL")), TXN_REQUEST_ABSORBED);
	assert_sent("200@0");
	assert_told("cancel@0");
	assert_live(1);
	rig_stop();
}
END_TEST

START_TEST(a_cancel_by_rfc2543_matches_without_a_branch)
{
	rig_start();
	rig_server(REQUEST(.method = "INVITE", .branch = ""), SIP_TRANSPORT_UDP);
	ck_assert_int_eq(rig_recv(REQUEST(.method = "CANCEL", .branch = "", .cseq = "2")),
			 TXN_REQUEST_NEW);
	ck_assert_int_eq(rig_recv(REQUEST(.method = "CANCEL", .branch = "")),
			 TXN_REQUEST_ABSORBED);
	assert_told("cancel@0");
	rig_stop();
}
END_TEST

UNIT_MAIN("cancel", cancel_is_sent_at_once_when_a_provisional_has_come,
	  cancel_before_any_provisional_waits_for_one,
	  cancel_wanted_and_the_final_comes_first_sends_none, cancel_after_a_final_does_nothing,
	  cancel_wanted_without_any_answer_ends_by_timer_b, cancel_twice_is_sent_once,
	  cancel_is_a_transaction_of_its_own, cancel_crossing_a_200_leaves_the_200_to_the_user,
	  no_final_64_t1_after_the_cancel_is_a_timeout,
	  cancel_with_a_full_table_is_still_sent_once, cancel_of_another_method_does_nothing,
	  a_user_may_cancel_from_inside_its_response,
	  a_matching_cancel_is_answered_200_and_told,
	  a_user_may_answer_487_from_inside_cancel_before_the_200_leaves,
	  a_repeated_cancel_gets_the_200_again_and_is_told_once,
	  a_cancel_after_the_final_is_answered_and_has_no_effect,
	  a_cancel_of_another_method_is_answered_and_has_no_effect,
	  a_cancel_that_matches_nothing_is_new,
	  a_cancel_with_a_full_table_is_answered_without_a_transaction,
	  a_cancel_by_rfc2543_matches_without_a_branch)
