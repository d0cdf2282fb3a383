/*
 * INVITE server transaction: every arrow of RFC 3261 figure 7 as RFC 6026 corrects it.
 */
#include "tests/unit/common/txn/rig.h"

#include <errno.h>

static struct txn *invited(enum sip_transport transport)
{
	rig_start();
	return rig_server(REQUEST(.method = "INVITE"), transport);
}

static enum txn_request again(const char *method)
{
	return rig_recv(REQUEST(.method = method));
}

START_TEST(proceeding_sends_a_100_when_the_user_is_slow)
{
	struct txn *t = invited(SIP_TRANSPORT_TCP);
	assert_state(t, "Proceeding");
	rig_until(199);
	assert_sent("");
	rig_until(10000);
	assert_sent("100@200");
	ck_assert_uint_eq(txn_status(t), 100);
	ck_assert_ptr_null(strstr(rig.last_sent, "To: <sip:bob@example.com>;tag"));
	rig_stop();
}
END_TEST

START_TEST(proceeding_sends_no_100_after_a_provisional_of_the_user)
{
	struct txn *t = invited(SIP_TRANSPORT_UDP);
	rig_until(100);
	ck_assert_int_eq(rig_reply(t, 180), 0);
	rig_until(10000);
	assert_sent("180@100");
	assert_state(t, "Proceeding");
	rig_stop();
}
END_TEST

START_TEST(proceeding_repeats_the_latest_provisional_for_each_invite)
{
	struct txn *t = invited(SIP_TRANSPORT_UDP);
	ck_assert_int_eq(again("INVITE"), TXN_REQUEST_ABSORBED);
	assert_sent("");
	rig_reply(t, 180);
	rig_reply(t, 183);
	ck_assert_int_eq(again("INVITE"), TXN_REQUEST_ABSORBED);
	assert_sent("180@0 183@0 183@0");
	ck_assert_uint_eq(txn_table_counters(rig.tt)->retransmits_in, 2);
	ck_assert_uint_eq(txn_table_counters(rig.tt)->retransmits_out, 1);
	rig_stop();
}
END_TEST

START_TEST(proceeding_transport_error_is_told_and_changes_no_state)
{
	struct txn *t = invited(SIP_TRANSPORT_UDP);
	rig_reply(t, 180);
	txn_transport_error(rig.tt, txn_id(t), rig.now);
	assert_told("transport@0");
	assert_state(t, "Proceeding");
	rig_stop();
}
END_TEST

START_TEST(proceeding_2xx_leads_to_accepted)
{
	struct txn *t = invited(SIP_TRANSPORT_UDP);
	ck_assert_int_eq(rig_reply(t, 200), 0);
	assert_state(t, "Accepted");
	rig_until(31000);
	assert_sent("200@0"); /* never repeated by the transaction */
	rig_stop();
}
END_TEST

START_TEST(accepted_absorbs_invite_in_silence_until_timer_l)
{
	struct txn *t = invited(SIP_TRANSPORT_UDP);
	rig_reply(t, 200);
	rig_until(500);
	ck_assert_int_eq(again("INVITE"), TXN_REQUEST_ABSORBED);
	assert_sent("200@0");
	rig_until(31999);
	assert_state(t, "Accepted");
	rig_until(32064);
	assert_told("gone@32000");
	ck_assert_int_eq(again("INVITE"), TXN_REQUEST_NEW);
	rig_stop();
}
END_TEST

START_TEST(accepted_passes_the_ack_up)
{
	struct txn *t = invited(SIP_TRANSPORT_UDP);
	rig_reply(t, 200);
	ck_assert_int_eq(again("ACK"), TXN_REQUEST_ACK);
	assert_state(t, "Accepted");
	rig_stop();
}
END_TEST

START_TEST(accepted_sends_every_2xx_of_the_user_and_nothing_else)
{
	struct txn *t = invited(SIP_TRANSPORT_TCP);
	struct bytes *b = bytes_dup(SPAN("SIP/2.0 200 OK\r\n\r\n"));
	rig_reply(t, 200);
	rig_until(500);
	ck_assert_int_eq(txn_respond(t, 200, b, rig.now), 0);
	ck_assert_int_eq(txn_respond(t, 486, b, rig.now), -EALREADY);
	ck_assert_int_eq(txn_respond(t, 180, b, rig.now), -EALREADY);
	assert_sent("200@0 200@500");
	bytes_unref(b);
	rig_stop();
}
END_TEST

START_TEST(accepted_transport_error_is_told_and_changes_no_state)
{
	struct txn *t = invited(SIP_TRANSPORT_UDP);
	rig_reply(t, 200);
	txn_transport_error(rig.tt, txn_id(t), rig.now);
	assert_told("transport@0");
	assert_state(t, "Accepted");
	rig_stop();
}
END_TEST

START_TEST(completed_timer_g_repeats_the_response_up_to_every_t2)
{
	struct txn *t = invited(SIP_TRANSPORT_UDP);
	rig_reply(t, 486);
	assert_state(t, "Completed");
	rig_until(16000);
	assert_sent("486@0 486@500 486@1500 486@3500 486@7500 486@11500 486@15500");
	rig_stop();
}
END_TEST

START_TEST(completed_repeats_the_response_for_each_invite)
{
	struct txn *t = invited(SIP_TRANSPORT_TCP);
	rig_reply(t, 486);
	rig_until(400);
	ck_assert_int_eq(again("INVITE"), TXN_REQUEST_ABSORBED);
	assert_sent("486@0 486@400");
	rig_stop();
}
END_TEST

START_TEST(completed_timer_h_tells_that_no_ack_came)
{
	struct txn *t = invited(SIP_TRANSPORT_TCP);
	rig_reply(t, 486);
	rig_until(32000);
	assert_sent("486@0"); /* no timer G over TCP */
	assert_told("timeout@32000 gone@32000");
	rig_stop();
}
END_TEST

START_TEST(completed_transport_error_is_told_and_changes_no_state)
{
	struct txn *t = invited(SIP_TRANSPORT_UDP);
	rig_reply(t, 486);
	txn_transport_error(rig.tt, txn_id(t), rig.now);
	assert_told("transport@0");
	assert_state(t, "Completed");
	rig_stop();
}
END_TEST

START_TEST(completed_takes_no_further_response)
{
	struct txn *t = invited(SIP_TRANSPORT_UDP);
	rig_reply(t, 486);
	ck_assert_int_eq(rig_reply(t, 200), -EALREADY);
	ck_assert_int_eq(rig_reply(t, 180), -EALREADY);
	assert_sent("486@0");
	ck_assert_uint_eq(txn_status(t), 486);
	rig_stop();
}
END_TEST

START_TEST(completed_ack_leads_to_confirmed_which_absorbs_until_timer_i)
{
	struct txn *t = invited(SIP_TRANSPORT_UDP);
	rig_reply(t, 486);
	rig_until(100);
	ck_assert_int_eq(again("ACK"), TXN_REQUEST_ABSORBED);
	assert_state(t, "Confirmed");
	ck_assert_int_eq(again("ACK"), TXN_REQUEST_ABSORBED);
	ck_assert_int_eq(again("INVITE"), TXN_REQUEST_ABSORBED);
	rig_until(5099);
	assert_sent("486@0");
	assert_state(t, "Confirmed");
	rig_until(5200);
	assert_told("gone@5120");
	rig_stop();
}
END_TEST

START_TEST(confirmed_timer_i_is_zero_over_tcp)
{
	struct txn *t = invited(SIP_TRANSPORT_TCP);
	rig_reply(t, 486);
	ck_assert_int_eq(again("ACK"), TXN_REQUEST_ABSORBED);
	assert_told("gone@0");
	assert_live(0);
	rig_stop();
}
END_TEST

START_TEST(an_ack_in_proceeding_is_absorbed)
{
	struct txn *t = invited(SIP_TRANSPORT_UDP);
	ck_assert_int_eq(again("ACK"), TXN_REQUEST_ABSORBED);
	assert_state(t, "Proceeding");
	rig_stop();
}
END_TEST

START_TEST(a_status_out_of_range_is_refused)
{
	struct txn *t = invited(SIP_TRANSPORT_UDP);
	ck_assert_int_eq(rig_reply(t, 99), -EINVAL);
	ck_assert_int_eq(rig_reply(t, 700), -EINVAL);
	assert_sent("");
	rig_stop();
}
END_TEST

UNIT_MAIN("invite_server", proceeding_sends_a_100_when_the_user_is_slow,
	  proceeding_sends_no_100_after_a_provisional_of_the_user,
	  proceeding_repeats_the_latest_provisional_for_each_invite,
	  proceeding_transport_error_is_told_and_changes_no_state,
	  proceeding_2xx_leads_to_accepted, accepted_absorbs_invite_in_silence_until_timer_l,
	  accepted_passes_the_ack_up, accepted_sends_every_2xx_of_the_user_and_nothing_else,
	  accepted_transport_error_is_told_and_changes_no_state,
	  completed_timer_g_repeats_the_response_up_to_every_t2,
	  completed_repeats_the_response_for_each_invite,
	  completed_timer_h_tells_that_no_ack_came,
	  completed_transport_error_is_told_and_changes_no_state,
	  completed_takes_no_further_response,
	  completed_ack_leads_to_confirmed_which_absorbs_until_timer_i,
	  confirmed_timer_i_is_zero_over_tcp, an_ack_in_proceeding_is_absorbed,
	  a_status_out_of_range_is_refused)
