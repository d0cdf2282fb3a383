/*
 * Non-INVITE client transaction: every arrow of RFC 3261 figure 6.
 */
#include "tests/unit/common/txn/rig.h"

static struct txn *options(enum sip_transport transport)
{
	rig_start();
	return rig_client("OPTIONS", transport);
}

START_TEST(trying_timer_e_doubles_up_to_t2)
{
	struct txn *t = options(SIP_TRANSPORT_UDP);
	assert_state(t, "Trying");
	rig_until(16000);
	assert_sent(
		"OPTIONS@0 OPTIONS@500 OPTIONS@1500 OPTIONS@3500 OPTIONS@7500 OPTIONS@11500 "
		"OPTIONS@15500");
	rig_stop();
}
END_TEST

START_TEST(trying_timer_f_tells_of_a_timeout)
{
	options(SIP_TRANSPORT_UDP);
	rig_until(32000);
	assert_told("timeout@32000 gone@32000");
	assert_live(0);
	rig_stop();
}
END_TEST

START_TEST(trying_over_tcp_is_sent_once_and_timer_f_still_runs)
{
	options(SIP_TRANSPORT_TLS);
	rig_until(32000);
	assert_sent("OPTIONS@0");
	assert_told("timeout@32000 gone@32000");
	rig_stop();
}
END_TEST

START_TEST(trying_transport_error_ends_it)
{
	struct txn *t = options(SIP_TRANSPORT_TCP);
	txn_transport_error(rig.tt, txn_id(t), rig.now);
	assert_told("transport@0 gone@0");
	rig_stop();
}
END_TEST

START_TEST(trying_1xx_leads_to_proceeding_where_timer_e_is_t2)
{
	struct txn *t = options(SIP_TRANSPORT_UDP);
	rig_until(600);
	rig_answer("OPTIONS", 100);
	assert_state(t, "Proceeding");
	assert_told("100@600");
	rig_until(14000);
	/* The one that was running, then every T2. */
	assert_sent(
		"OPTIONS@0 OPTIONS@500 OPTIONS@1500 OPTIONS@5500 OPTIONS@9500 OPTIONS@13500");
	rig_stop();
}
END_TEST

START_TEST(proceeding_1xx_is_passed_up)
{
	struct txn *t = options(SIP_TRANSPORT_UDP);
	rig_answer("OPTIONS", 100);
	rig_answer("OPTIONS", 183);
	assert_state(t, "Proceeding");
	assert_told("100@0 183@0");
	rig_stop();
}
END_TEST

START_TEST(proceeding_timer_f_tells_of_a_timeout)
{
	options(SIP_TRANSPORT_UDP);
	rig_until(1000);
	rig_answer("OPTIONS", 100);
	rig_until(32000);
	assert_told("100@1000 timeout@32000 gone@32000");
	rig_stop();
}
END_TEST

START_TEST(proceeding_transport_error_ends_it)
{
	struct txn *t = options(SIP_TRANSPORT_UDP);
	rig_answer("OPTIONS", 100);
	txn_transport_error(rig.tt, txn_id(t), rig.now);
	assert_told("100@0 transport@0 gone@0");
	rig_stop();
}
END_TEST

START_TEST(trying_200_to_699_leads_to_completed_and_ends_timer_e)
{
	struct txn *t = options(SIP_TRANSPORT_UDP);
	rig_answer("OPTIONS", 200);
	assert_state(t, "Completed");
	rig_until(4000);
	assert_sent("OPTIONS@0");
	assert_told("200@0");
	rig_stop();
}
END_TEST

START_TEST(proceeding_200_to_699_leads_to_completed)
{
	struct txn *t = options(SIP_TRANSPORT_UDP);
	rig_answer("OPTIONS", 100);
	rig_answer("OPTIONS", 404);
	assert_state(t, "Completed");
	assert_told("100@0 404@0");
	rig_stop();
}
END_TEST

START_TEST(final_answer_is_absorbed_until_timer_k)
{
	struct txn *t = options(SIP_TRANSPORT_UDP);
	rig_answer("OPTIONS", 200);
	rig_until(4999);
	assert_state(t, "Completed");
	ck_assert(rig_answer("OPTIONS", 200));
	ck_assert(rig_answer("OPTIONS", 100));
	rig_until(5100);
	assert_told("200@0 gone@5056");
	ck_assert(!rig_answer("OPTIONS", 200));
	rig_stop();
}
END_TEST

START_TEST(timer_k_is_zero_over_tcp)
{
	options(SIP_TRANSPORT_TCP);
	rig_answer("OPTIONS", 200);
	assert_told("200@0 gone@0");
	assert_live(0);
	rig_stop();
}
END_TEST

START_TEST(completed_transport_error_is_no_news)
{
	struct txn *t = options(SIP_TRANSPORT_UDP);
	rig_answer("OPTIONS", 200);
	txn_transport_error(rig.tt, txn_id(t), rig.now);
	assert_told("200@0");
	assert_state(t, "Completed");
	rig_stop();
}
END_TEST

UNIT_MAIN("client", trying_timer_e_doubles_up_to_t2, trying_timer_f_tells_of_a_timeout,
	  trying_over_tcp_is_sent_once_and_timer_f_still_runs, trying_transport_error_ends_it,
	  trying_1xx_leads_to_proceeding_where_timer_e_is_t2, proceeding_1xx_is_passed_up,
	  proceeding_timer_f_tells_of_a_timeout, proceeding_transport_error_ends_it,
	  trying_200_to_699_leads_to_completed_and_ends_timer_e,
	  proceeding_200_to_699_leads_to_completed, final_answer_is_absorbed_until_timer_k,
	  timer_k_is_zero_over_tcp, completed_transport_error_is_no_news)
