/*
 * What a transaction holds once it is answered, and which one makes room at the limit.
 */
#include "tests/unit/common/txn/rig.h"

#include <errno.h>
#include <malloc.h>

/* ---- what an answered transaction holds ---- */

START_TEST(an_answered_server_transaction_keeps_its_answer_alone)
{
	rig_start();
	struct txn *t = rig_server(REQUEST(.method = "MESSAGE"), SIP_TRANSPORT_UDP);
	ck_assert_ptr_nonnull(txn_request(t));
	rig_reply(t, 200);
	ck_assert_ptr_null(txn_request(t));
	ck_assert_ptr_nonnull(t->last);
	ck_assert_int_eq(rig_recv(REQUEST(.method = "MESSAGE")), TXN_REQUEST_ABSORBED);
	ck_assert_int_eq(rig_recv(REQUEST(.method = "MESSAGE", .branch = "z9hG4bKother")),
			 TXN_REQUEST_MERGED);
	assert_sent("200@0 200@0");
	ck_assert_int_eq(txn_reply(t, 200, SPAN("OK"), SPAN(""), rig.now), -EALREADY);
	rig_stop();
}
END_TEST

START_TEST(an_extension_method_is_known_by_its_hash_when_answered)
{
	rig_start();
	struct txn *t = rig_server(REQUEST(.method = "FROB"), SIP_TRANSPORT_UDP);
	rig_reply(t, 200);
	ck_assert_ptr_null(txn_request(t));
	ck_assert_int_eq(rig_recv(REQUEST(.method = "FROB")), TXN_REQUEST_ABSORBED);
	ck_assert_int_ne(rig_recv(REQUEST(.method = "FRIB")), TXN_REQUEST_ABSORBED);
	rig_stop();
}
END_TEST

START_TEST(an_invite_transaction_holds_no_bytes_while_2xx_may_come_again)
{
	rig_start();
	struct txn *s = rig_server(REQUEST(.method = "INVITE"), SIP_TRANSPORT_UDP);
	struct txn *c = rig_client("INVITE", SIP_TRANSPORT_UDP);
	rig_answer("INVITE", 200);
	rig_reply(s, 200);
	ck_assert_ptr_null(txn_request(s));
	ck_assert_ptr_null(txn_sent(c));
	ck_assert_ptr_null(s->last);
	ck_assert_int_eq(rig_recv(REQUEST(.method = "INVITE")), TXN_REQUEST_ABSORBED);
	ck_assert_int_eq(rig_recv(REQUEST(.method = "ACK")), TXN_REQUEST_ACK);
	ck_assert(rig_answer("INVITE", 200));
	assert_told("200@0 200@0");
	rig_stop();
}
END_TEST

START_TEST(an_invite_client_in_completed_keeps_its_ack_alone)
{
	rig_start();
	struct txn *c = rig_client("INVITE", SIP_TRANSPORT_UDP);
	rig_answer("INVITE", 486);
	ck_assert_ptr_null(txn_sent(c));
	rig_answer("INVITE", 486);
	assert_sent("INVITE@0 ACK@0 ACK@0");
	rig_stop();
}
END_TEST

START_TEST(rfc_2543_keeps_what_its_rule_for_matching_reads)
{
	rig_start();
	struct txn *t =
		rig_server(REQUEST(.method = "MESSAGE", .branch = "1"), SIP_TRANSPORT_UDP);
	rig_reply(t, 200);
	ck_assert_ptr_nonnull(txn_request(t));
	ck_assert_int_eq(rig_recv(REQUEST(.method = "MESSAGE", .branch = "1")),
			 TXN_REQUEST_ABSORBED);
	rig_stop();
}
END_TEST

/* ---- eviction ---- */

static struct txn *answered(const char *branch)
{
	struct txn *t =
		rig_server(REQUEST(.method = "MESSAGE", .branch = branch), SIP_TRANSPORT_UDP);
	if (t)
		rig_reply(t, 200);
	return t;
}

START_TEST(above_the_limit_the_oldest_answered_one_makes_room)
{
	rig_start_limit(2);
	answered("z9hG4bKa");
	rig_until(1000);
	answered("z9hG4bKb");
	rig_until(4100);
	rig_take(rig.told);
	ck_assert_ptr_nonnull(answered("z9hG4bKc"));
	ck_assert_uint_eq(txn_table_counters(rig.tt)->evicted, 1);
	ck_assert_uint_eq(txn_table_counters(rig.tt)->refused, 0);
	ck_assert_int_ne(rig_recv(REQUEST(.method = "MESSAGE", .branch = "z9hG4bKa")),
			 TXN_REQUEST_ABSORBED);
	ck_assert_int_eq(rig_recv(REQUEST(.method = "MESSAGE", .branch = "z9hG4bKb")),
			 TXN_REQUEST_ABSORBED);
	assert_told("gone@4100");
	assert_live(2);
	rig_stop();
}
END_TEST

START_TEST(what_was_answered_less_than_8_t1_ago_is_not_evicted)
{
	rig_start_limit(1);
	answered("z9hG4bKa");
	rig_until(3999);
	ck_assert_ptr_null(answered("z9hG4bKb"));
	ck_assert_uint_eq(txn_table_counters(rig.tt)->evicted, 0);
	ck_assert_uint_eq(txn_table_counters(rig.tt)->refused, 1);
	rig_stop();
}
END_TEST

START_TEST(what_waits_for_an_answer_is_not_evicted)
{
	rig_start_limit(3);
	rig_server(REQUEST(.method = "MESSAGE", .branch = "z9hG4bKa"), SIP_TRANSPORT_UDP);
	rig_reply(rig_server(REQUEST(.method = "INVITE", .branch = "z9hG4bKb"),
			     SIP_TRANSPORT_UDP),
		  200);
	rig_client("OPTIONS", SIP_TRANSPORT_UDP);
	rig_answer("OPTIONS", 200);
	rig_until(4900);
	ck_assert_ptr_null(answered("z9hG4bKc"));
	ck_assert_uint_eq(txn_table_counters(rig.tt)->evicted, 0);
	rig_stop();
}
END_TEST

/* The CANCEL's own transaction takes the place of the very one that it matched. */
START_TEST(a_cancel_may_evict_what_it_is_for)
{
	rig_start_limit(1);
	answered("z9hG4bKa");
	rig_until(5000);
	ck_assert_int_eq(rig_recv(REQUEST(.method = "CANCEL", .branch = "z9hG4bKa")),
			 TXN_REQUEST_ABSORBED);
	ck_assert_uint_eq(txn_table_counters(rig.tt)->evicted, 1);
	assert_sent("200@0 200@5000");
	assert_live(1);
	rig_stop();
}
END_TEST

START_TEST(ten_thousand_answered_ones_take_less_than_2_kb_each)
{
	enum { N = 10000 };
	rig_start_limit(N);
	rig.silent = true;
	size_t before = mallinfo2().uordblks;
	for (int i = 0; i < N; i++) {
		char branch[32];
		snprintf(branch, sizeof(branch), "z9hG4bK%d", i);
		ck_assert_ptr_nonnull(answered(branch));
	}
	size_t each = (mallinfo2().uordblks - before) / N;
	ck_assert_uint_lt(each, 1024); /* with the answer's 300 bytes */
	rig_stop();
}
END_TEST

UNIT_MAIN("memory", an_answered_server_transaction_keeps_its_answer_alone,
	  an_extension_method_is_known_by_its_hash_when_answered,
	  an_invite_transaction_holds_no_bytes_while_2xx_may_come_again,
	  an_invite_client_in_completed_keeps_its_ack_alone,
	  rfc_2543_keeps_what_its_rule_for_matching_reads,
	  above_the_limit_the_oldest_answered_one_makes_room,
	  what_was_answered_less_than_8_t1_ago_is_not_evicted,
	  what_waits_for_an_answer_is_not_evicted, a_cancel_may_evict_what_it_is_for,
	  ten_thousand_answered_ones_take_less_than_2_kb_each)
