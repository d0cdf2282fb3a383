/*
 * INVITE client transaction: every arrow of RFC 3261 figure 5 as RFC 6026 corrects it.
 */
#include "tests/unit/common/txn/rig.h"

static struct txn *invite(enum sip_transport transport)
{
	rig_start();
	return rig_client("INVITE", transport);
}

START_TEST(calling_timer_a_doubles_without_a_cap)
{
	struct txn *t = invite(SIP_TRANSPORT_UDP);
	assert_state(t, "Calling");
	rig_until(31999);
	assert_sent("INVITE@0 INVITE@500 INVITE@1500 INVITE@3500 INVITE@7500 INVITE@15500 "
		    "INVITE@31500");
	ck_assert_uint_eq(txn_table_counters(rig.tt)->retransmits_out, 6);
	rig_stop();
}
END_TEST

START_TEST(calling_timer_b_tells_of_a_timeout)
{
	invite(SIP_TRANSPORT_UDP);
	rig_until(31999);
	assert_told("");
	rig_until(32000);
	assert_told("timeout@32000 gone@32000");
	assert_live(0);
	ck_assert_uint_eq(txn_table_counters(rig.tt)->timeouts, 1);
	rig_stop();
}
END_TEST

START_TEST(calling_over_tcp_is_sent_once_and_timer_b_still_runs)
{
	invite(SIP_TRANSPORT_TCP);
	rig_until(40000);
	assert_sent("INVITE@0");
	assert_told("timeout@32000 gone@32000");
	rig_stop();
}
END_TEST

START_TEST(calling_transport_error_ends_it)
{
	struct txn *t = invite(SIP_TRANSPORT_UDP);
	rig_until(10);
	txn_transport_error(rig.tt, txn_id(t), rig.now);
	assert_told("transport@10 gone@10");
	assert_live(0);
	ck_assert_uint_eq(txn_table_counters(rig.tt)->transport_errors, 1);
	rig_stop();
}
END_TEST

START_TEST(calling_1xx_leads_to_proceeding_and_stops_a_and_b)
{
	struct txn *t = invite(SIP_TRANSPORT_UDP);
	rig_until(600);
	ck_assert(rig_answer("INVITE", 100));
	assert_state(t, "Proceeding");
	rig_until(200000);
	assert_sent("INVITE@0 INVITE@500");
	assert_told("100@600");
	rig_stop();
}
END_TEST

START_TEST(proceeding_1xx_is_passed_up_each_time)
{
	struct txn *t = invite(SIP_TRANSPORT_UDP);
	rig_answer("INVITE", 100);
	rig_answer("INVITE", 180);
	rig_answer("INVITE", 180);
	assert_told("100@0 180@0 180@0");
	assert_state(t, "Proceeding");
	ck_assert_uint_eq(txn_status(t), 180);
	rig_stop();
}
END_TEST

START_TEST(calling_2xx_leads_to_accepted_without_an_ack)
{
	struct txn *t = invite(SIP_TRANSPORT_UDP);
	rig_answer("INVITE", 200);
	assert_state(t, "Accepted");
	assert_sent("INVITE@0");
	assert_told("200@0");
	rig_stop();
}
END_TEST

START_TEST(proceeding_2xx_leads_to_accepted)
{
	struct txn *t = invite(SIP_TRANSPORT_UDP);
	rig_answer("INVITE", 180);
	rig_answer("INVITE", 200);
	assert_state(t, "Accepted");
	assert_told("180@0 200@0");
	rig_stop();
}
END_TEST

START_TEST(accepted_passes_every_2xx_up_until_timer_m)
{
	struct txn *t = invite(SIP_TRANSPORT_TCP);
	rig_answer("INVITE", 200);
	rig_until(500);
	rig_answer("INVITE", 200);
	rig_answer("INVITE", 202);
	assert_told("200@0 200@500 202@500");
	rig_until(31999);
	assert_state(t, "Accepted");
	rig_until(32064);
	assert_told("gone@32000");
	ck_assert(!rig_answer("INVITE", 200));
	rig_stop();
}
END_TEST

START_TEST(accepted_absorbs_what_is_no_2xx_and_transport_errors)
{
	struct txn *t = invite(SIP_TRANSPORT_UDP);
	rig_answer("INVITE", 200);
	rig_take(rig.told);
	ck_assert(rig_answer("INVITE", 180));
	ck_assert(rig_answer("INVITE", 486));
	txn_transport_error(rig.tt, txn_id(t), rig.now);
	assert_told("");
	assert_state(t, "Accepted");
	rig_stop();
}
END_TEST

START_TEST(calling_300_to_699_is_acked_and_leads_to_completed)
{
	struct txn *t = invite(SIP_TRANSPORT_UDP);
	rig_answer("INVITE", 486);
	assert_state(t, "Completed");
	assert_sent("INVITE@0 ACK@0");
	assert_told("486@0");
	ck_assert_ptr_nonnull(strstr(rig.last_sent, "ACK sip:bob@example.com SIP/2.0\r\n"));
	ck_assert_ptr_nonnull(strstr(rig.last_sent, "branch=z9hG4bKc1\r\n"));
	ck_assert_ptr_nonnull(strstr(rig.last_sent, "CSeq: 1 ACK\r\n"));
	ck_assert_ptr_nonnull(strstr(rig.last_sent, "tag=b1\r\n"));
	rig_stop();
}
END_TEST

START_TEST(proceeding_300_to_699_is_acked_and_leads_to_completed)
{
	struct txn *t = invite(SIP_TRANSPORT_UDP);
	rig_answer("INVITE", 180);
	rig_answer("INVITE", 603);
	assert_state(t, "Completed");
	assert_sent("INVITE@0 ACK@0");
	assert_told("180@0 603@0");
	rig_stop();
}
END_TEST

static void no_ack_yet(struct txn *t, unsigned status)
{
	(void)t;
	if (status == 486)
		assert_sent("INVITE@0");
}

START_TEST(a_final_is_told_before_its_ack_leaves)
{
	static const enum sip_transport by[] = {SIP_TRANSPORT_UDP, SIP_TRANSPORT_TCP};
	for (unsigned i = 0; i < 2; i++) {
		invite(by[i]);
		rig.on_response = no_ack_yet;
		rig_answer("INVITE", 486);
		assert_sent("ACK@0");
		rig_stop();
	}
}
END_TEST

START_TEST(completed_acks_every_final_again_and_passes_none_up)
{
	invite(SIP_TRANSPORT_UDP);
	rig_answer("INVITE", 486);
	rig_until(500);
	ck_assert(rig_answer("INVITE", 486));
	rig_until(1500);
	ck_assert(rig_answer("INVITE", 486));
	assert_sent("INVITE@0 ACK@0 ACK@500 ACK@1500");
	assert_told("486@0");
	ck_assert_uint_eq(txn_table_counters(rig.tt)->retransmits_in, 2);
	rig_stop();
}
END_TEST

START_TEST(completed_absorbs_1xx_and_2xx)
{
	struct txn *t = invite(SIP_TRANSPORT_UDP);
	rig_answer("INVITE", 486);
	rig_take(rig.sent);
	ck_assert(rig_answer("INVITE", 180));
	ck_assert(rig_answer("INVITE", 200));
	assert_sent("");
	assert_told("486@0");
	assert_state(t, "Completed");
	rig_stop();
}
END_TEST

START_TEST(completed_final_answer_is_absorbed_until_timer_d)
{
	struct txn *t = invite(SIP_TRANSPORT_UDP);
	rig_answer("INVITE", 486);
	rig_until(31999);
	assert_state(t, "Completed");
	rig_until(32064);
	assert_told("486@0 gone@32000");
	ck_assert(!rig_answer("INVITE", 486));
	rig_stop();
}
END_TEST

START_TEST(completed_timer_d_is_zero_over_tcp)
{
	invite(SIP_TRANSPORT_TCP);
	rig_answer("INVITE", 486);
	assert_sent("INVITE@0 ACK@0");
	assert_told("486@0 gone@0");
	assert_live(0);
	rig_stop();
}
END_TEST

START_TEST(completed_transport_error_of_the_ack_is_told)
{
	struct txn *t = invite(SIP_TRANSPORT_UDP);
	rig_answer("INVITE", 486);
	txn_transport_error(rig.tt, txn_id(t), rig.now);
	assert_told("486@0 transport@0 gone@0");
	assert_live(0);
	rig_stop();
}
END_TEST

START_TEST(proceeding_late_transport_error_is_no_news)
{
	struct txn *t = invite(SIP_TRANSPORT_UDP);
	rig_answer("INVITE", 180);
	txn_transport_error(rig.tt, txn_id(t), rig.now);
	assert_state(t, "Proceeding");
	assert_told("180@0");
	rig_stop();
}
END_TEST

START_TEST(an_early_final_after_lost_provisionals_is_enough)
{
	struct txn *t = invite(SIP_TRANSPORT_UDP);
	rig_until(3600);
	assert_sent("INVITE@0 INVITE@500 INVITE@1500 INVITE@3500");
	rig_answer("INVITE", 404);
	assert_state(t, "Completed");
	rig_until(20000);
	assert_sent("ACK@3600");
	rig_stop();
}
END_TEST

UNIT_MAIN("invite_client", calling_timer_a_doubles_without_a_cap,
	  calling_timer_b_tells_of_a_timeout,
	  calling_over_tcp_is_sent_once_and_timer_b_still_runs, calling_transport_error_ends_it,
	  calling_1xx_leads_to_proceeding_and_stops_a_and_b,
	  proceeding_1xx_is_passed_up_each_time, calling_2xx_leads_to_accepted_without_an_ack,
	  proceeding_2xx_leads_to_accepted, accepted_passes_every_2xx_up_until_timer_m,
	  accepted_absorbs_what_is_no_2xx_and_transport_errors,
	  calling_300_to_699_is_acked_and_leads_to_completed,
	  proceeding_300_to_699_is_acked_and_leads_to_completed,
	  a_final_is_told_before_its_ack_leaves,
	  completed_acks_every_final_again_and_passes_none_up, completed_absorbs_1xx_and_2xx,
	  completed_final_answer_is_absorbed_until_timer_d, completed_timer_d_is_zero_over_tcp,
	  completed_transport_error_of_the_ack_is_told,
	  proceeding_late_transport_error_is_no_news,
	  an_early_final_after_lost_provisionals_is_enough)
