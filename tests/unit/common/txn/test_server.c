/*
 * Non-INVITE server transaction: every arrow of RFC 3261 figure 8, with erratum 1470 and RFC
 * 6026's rule for transport errors.
 */
#include "tests/unit/common/txn/rig.h"

#include <errno.h>

static struct txn *asked(enum sip_transport transport)
{
	rig_start();
	return rig_server(REQUEST(.method = "OPTIONS"), transport);
}

static enum txn_request again(void)
{
	return rig_recv(REQUEST(.method = "OPTIONS"));
}

START_TEST(trying_drops_repeated_requests_in_silence)
{
	struct txn *t = asked(SIP_TRANSPORT_UDP);
	assert_state(t, "Trying");
	ck_assert_int_eq(again(), TXN_REQUEST_ABSORBED);
	rig_until(5000); /* and no 100 of its own */
	assert_sent("");
	rig_stop();
}
END_TEST

START_TEST(trying_1xx_leads_to_proceeding)
{
	struct txn *t = asked(SIP_TRANSPORT_UDP);
	ck_assert_int_eq(rig_reply(t, 100), 0);
	assert_state(t, "Proceeding");
	assert_sent("100@0");
	rig_stop();
}
END_TEST

START_TEST(proceeding_repeats_the_latest_provisional_for_each_request)
{
	struct txn *t = asked(SIP_TRANSPORT_UDP);
	rig_reply(t, 100);
	rig_reply(t, 183);
	ck_assert_int_eq(again(), TXN_REQUEST_ABSORBED);
	assert_sent("100@0 183@0 183@0");
	assert_state(t, "Proceeding");
	rig_stop();
}
END_TEST

START_TEST(trying_200_to_699_leads_to_completed)
{
	struct txn *t = asked(SIP_TRANSPORT_UDP);
	ck_assert_int_eq(rig_reply(t, 404), 0);
	assert_state(t, "Completed");
	assert_sent("404@0");
	rig_stop();
}
END_TEST

START_TEST(proceeding_200_to_699_leads_to_completed)
{
	struct txn *t = asked(SIP_TRANSPORT_UDP);
	rig_reply(t, 100);
	ck_assert_int_eq(rig_reply(t, 200), 0);
	assert_state(t, "Completed");
	rig_stop();
}
END_TEST

START_TEST(completed_repeats_the_response_until_timer_j)
{
	struct txn *t = asked(SIP_TRANSPORT_UDP);
	rig_reply(t, 200);
	rig_until(31999);
	ck_assert_int_eq(again(), TXN_REQUEST_ABSORBED);
	assert_sent("200@0 200@31999");
	assert_state(t, "Completed");
	rig_until(32064);
	assert_told("gone@32000");
	ck_assert_int_eq(again(), TXN_REQUEST_NEW);
	rig_stop();
}
END_TEST

START_TEST(completed_takes_no_further_response)
{
	struct txn *t = asked(SIP_TRANSPORT_UDP);
	rig_reply(t, 200);
	ck_assert_int_eq(rig_reply(t, 500), -EALREADY);
	assert_sent("200@0");
	rig_stop();
}
END_TEST

START_TEST(timer_j_is_zero_over_tcp_and_gone_comes_with_the_next_event)
{
	struct txn *t = asked(SIP_TRANSPORT_TCP);
	ck_assert_int_eq(rig_reply(t, 200), 0);
	/* Not from inside the user's own call. */
	assert_told("");
	ck_assert(txn_is_terminated(t));
	ck_assert_int_eq(rig_reply(t, 200), -EALREADY);
	ck_assert_int_eq(again(), TXN_REQUEST_NEW);
	assert_told("gone@0");
	assert_live(0);
	rig_stop();
}
END_TEST

START_TEST(what_ended_in_a_call_of_the_user_is_gone_soon_without_traffic)
{
	struct txn *t = asked(SIP_TRANSPORT_TCP);
	rig_reply(t, 200);
	rig_until(1000);
	assert_told("gone@500");
	assert_live(0);
	rig_stop();
}
END_TEST

START_TEST(proceeding_and_completed_transport_errors_are_told_and_change_no_state)
{
	struct txn *t = asked(SIP_TRANSPORT_UDP);
	rig_reply(t, 100);
	txn_transport_error(rig.tt, txn_id(t), rig.now);
	assert_state(t, "Proceeding");
	rig_reply(t, 200);
	txn_transport_error(rig.tt, txn_id(t), rig.now);
	assert_state(t, "Completed");
	assert_told("transport@0 transport@0");
	rig_stop();
}
END_TEST

START_TEST(a_lost_response_is_had_by_asking_again)
{
	struct txn *t = asked(SIP_TRANSPORT_UDP);
	rig_until(450);
	rig_reply(t, 200);
	rig_until(500);
	again();
	rig_until(1500);
	again();
	assert_sent("200@450 200@500 200@1500");
	rig_stop();
}
END_TEST

UNIT_MAIN("server", trying_drops_repeated_requests_in_silence, trying_1xx_leads_to_proceeding,
	  proceeding_repeats_the_latest_provisional_for_each_request,
	  trying_200_to_699_leads_to_completed, proceeding_200_to_699_leads_to_completed,
	  completed_repeats_the_response_until_timer_j, completed_takes_no_further_response,
	  timer_j_is_zero_over_tcp_and_gone_comes_with_the_next_event,
	  what_ended_in_a_call_of_the_user_is_gone_soon_without_traffic,
	  proceeding_and_completed_transport_errors_are_told_and_change_no_state,
	  a_lost_response_is_had_by_asking_again)
