/*
 * The table: limits, ids, reuse, forgetting, calls from inside callbacks, errors from inside
 * send, and 100,000 live transactions without a longer way to any of them.
 */
#include "tests/unit/common/txn/rig.h"

#include <errno.h>
#include <malloc.h>

/* ---- limits and memory ---- */

START_TEST(a_transaction_takes_at_most_2_kb_beside_its_message)
{
	rig_start();
	struct txn *t = rig_server(REQUEST(.method = "INVITE"), SIP_TRANSPORT_UDP);
	size_t kept = malloc_usable_size(t->server.req) - txn_request(t)->len;
	ck_assert_uint_le(sizeof(struct txn) + kept + 3 * sizeof(void *), 2048);
	rig_stop();
}
END_TEST

START_TEST(above_the_limit_a_transaction_is_refused_and_counted)
{
	rig_start_limit(2);
	ck_assert_ptr_nonnull(rig_client_branch("OPTIONS", "z9hG4bKa", SIP_TRANSPORT_UDP));
	ck_assert_ptr_nonnull(rig_server(REQUEST(.method = "OPTIONS"), SIP_TRANSPORT_UDP));
	ck_assert_ptr_null(rig_client_branch("OPTIONS", "z9hG4bKb", SIP_TRANSPORT_UDP));
	ck_assert_ptr_null(rig_server(REQUEST(.method = "OPTIONS", .branch = "z9hG4bKc"),
				      SIP_TRANSPORT_UDP));
	ck_assert_uint_eq(txn_table_counters(rig.tt)->refused, 2);
	assert_live(2);
	assert_sent("OPTIONS@0");
	rig_until(32064); /* what ends makes room */
	ck_assert_ptr_nonnull(rig_client_branch("OPTIONS", "z9hG4bKb", SIP_TRANSPORT_UDP));
	rig_stop();
}
END_TEST

START_TEST(a_branch_that_is_not_in_the_request_is_refused)
{
	rig_start();
	struct bytes *b = bytes_dup(SPAN("OPTIONS sip:x SIP/2.0\r\n\r\n"));
	struct sip_flow to = rig_flow(SIP_TRANSPORT_UDP);
	ck_assert_ptr_null(txn_client_new(rig.tt, SIP_OPTIONS, SPAN("OPTIONS"),
					  SPAN("z9hG4bKno"), b, &to, NULL, NULL, rig.now));
	ck_assert_uint_eq(txn_table_counters(rig.tt)->refused, 1);
	bytes_unref(b);
	rig_stop();
}
END_TEST

START_TEST(an_ack_gets_no_server_transaction)
{
	rig_start();
	struct rig_msg *r = REQUEST(.method = "ACK");
	struct sip_flow f = rig_flow(SIP_TRANSPORT_UDP);
	ck_assert_ptr_null(txn_server_new(rig.tt, &r->m, &r->top, &f, NULL, NULL, rig.now));
	rig_stop();
}
END_TEST

START_TEST(an_id_is_not_used_again_when_its_place_is)
{
	rig_start_limit(1);
	struct txn *first = rig_client("OPTIONS", SIP_TRANSPORT_TCP);
	uint64_t id = txn_id(first);
	ck_assert_ptr_eq(txn_by_id(rig.tt, id), first);
	rig_answer("OPTIONS", 200);
	ck_assert_ptr_null(txn_by_id(rig.tt, id));
	struct txn *second = rig_client("OPTIONS", SIP_TRANSPORT_TCP);
	ck_assert_ptr_eq(second, first); /* the place */
	ck_assert_uint_ne(txn_id(second), id);
	ck_assert_ptr_null(txn_by_id(rig.tt, id));
	txn_transport_error(rig.tt, id, rig.now); /* late news of the first */
	assert_told("200@0 gone@0");
	ck_assert_ptr_null(txn_by_id(rig.tt, 0));
	ck_assert_ptr_null(txn_by_id(rig.tt, UINT64_MAX));
	rig_stop();
}
END_TEST

START_TEST(ids_stay_below_2_to_56_however_often_a_place_is_used)
{
	rig_start_limit(1);
	struct txn *t = rig_client("OPTIONS", SIP_TRANSPORT_TCP);
	uint64_t slot = txn_id(t) & 0xffffff;
	t->id = TXN_ID_MASK & ~(uint64_t)0xffffff; /* as if after all the others */
	t->id |= slot;
	rig_answer("OPTIONS", 200);
	t = rig_client("OPTIONS", SIP_TRANSPORT_TCP);
	ck_assert_uint_eq(txn_id(t), slot);
	ck_assert_ptr_eq(txn_by_id(rig.tt, slot), t);
	rig_stop();
}
END_TEST

START_TEST(another_user_may_take_over_a_server_transaction)
{
	static const struct txn_server_user silent = {.cancel = NULL};
	rig_start();
	struct txn *t = rig_server(REQUEST(.method = "INVITE"), SIP_TRANSPORT_UDP);
	txn_server_set_user(t, &silent, NULL);
	rig_recv(REQUEST(.method = "CANCEL"));
	assert_told("");
	txn_server_set_user(t, &rig_server_user, NULL);
	rig_reply(t, 487);
	rig_until(32000);
	assert_told("timeout@32000 gone@32000");
	rig_stop();
}
END_TEST

START_TEST(places_are_used_again_without_new_memory)
{
	rig_start();
	for (int i = 0; i < 10000; i++) {
		rig.silent = true;
		rig_client("OPTIONS", SIP_TRANSPORT_TCP);
		rig_answer("OPTIONS", 200);
	}
	ck_assert_uint_eq(rig.tt->nslabs, 1);
	assert_live(0);
	ck_assert_uint_eq(rig.wheel.armed, 0);
	rig_stop();
}
END_TEST

static struct bytes *numbered(char *branch, size_t size, int i)
{
	char text[512];
	snprintf(branch, size, "z9hG4bK%d", i);
	snprintf(text, sizeof(text),
		 "OPTIONS sip:b@x SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=%s\r\n\r\n", branch);
	return bytes_dup(span_str(text));
}

START_TEST(with_100000_live_transactions_the_way_to_one_stays_short)
{
	enum { MANY = 100000 };
	struct sip_flow to;
	rig_start_limit(MANY);
	rig.silent = true;
	to = rig_flow(SIP_TRANSPORT_UDP);
	for (int i = 0; i < MANY; i++) {
		char branch[32];
		struct bytes *b = numbered(branch, sizeof(branch), i);
		if (!txn_client_new(rig.tt, SIP_OPTIONS, SPAN("OPTIONS"), span_str(branch), b,
				    &to, &rig_client_user, NULL, rig.now))
			ck_abort_msg("refused number %d", i);
		bytes_unref(b);
	}
	assert_live(MANY);
	ck_assert_uint_ge(rig.tt->clients.nbuckets, MANY / 4 - 1);
	ck_assert_uint_le(txn_hash_longest(&rig.tt->clients), 20);
	for (int i = 0; i < MANY; i += 997) {
		char branch[32];
		snprintf(branch, sizeof(branch), "z9hG4bK%d", i);
		struct rig_msg *r = rig_response("OPTIONS", branch, 100);
		ck_assert(txn_recv_response(rig.tt, &r->m, &r->top, &to, rig.now));
	}
	rig_until(33000);
	ck_assert_uint_eq(rig.ngone, MANY);
	ck_assert_uint_eq(txn_table_counters(rig.tt)->timeouts, MANY);
	assert_live(0);
	rig_stop();
}
END_TEST

/* ---- forgetting ---- */

START_TEST(a_forgotten_invite_client_acks_in_silence)
{
	rig_start();
	struct txn *t = rig_client("INVITE", SIP_TRANSPORT_UDP);
	txn_forget(t);
	rig_answer("INVITE", 180);
	ck_assert(rig_answer("INVITE", 486));
	assert_sent("INVITE@0 ACK@0");
	rig_until(40000);
	assert_told("");
	assert_live(0);
	rig_stop();
}
END_TEST

START_TEST(a_client_forgotten_in_any_state_ends_in_silence)
{
	static const unsigned answers[] = {0, 180, 200, 486};
	rig_start();
	for (size_t i = 0; i < 4; i++) {
		struct txn *t = rig_client("INVITE", SIP_TRANSPORT_UDP);
		if (answers[i])
			rig_answer("INVITE", answers[i]);
		rig_take(rig.told);
		txn_forget(t);
		rig_advance(200000);
		assert_told("");
		assert_live(0);
	}
	for (size_t i = 0; i < 3; i++) {
		struct txn *t = rig_client("OPTIONS", SIP_TRANSPORT_UDP);
		if (answers[i])
			rig_answer("OPTIONS", answers[i]);
		rig_take(rig.told);
		txn_forget(t);
		rig_advance(40000);
		assert_told("");
		assert_live(0);
	}
	rig_stop();
}
END_TEST

START_TEST(a_server_forgotten_in_any_state_ends_in_silence)
{
	static const unsigned answers[] = {0, 180, 200, 486};
	rig_start();
	for (size_t i = 0; i < 8; i++) {
		struct rig_msg *r = REQUEST(.method = i < 4 ? "INVITE" : "OPTIONS");
		struct txn *t = rig_server(r, SIP_TRANSPORT_UDP);
		if (answers[i % 4])
			rig_reply(t, answers[i % 4]);
		txn_forget(t);
		rig_advance(200000);
		assert_told("");
		assert_live(0);
	}
	rig_stop();
}
END_TEST

START_TEST(a_forgotten_and_cancelled_invite_ends_64_t1_later)
{
	rig_start();
	struct txn *t = rig_client("INVITE", SIP_TRANSPORT_UDP);
	rig_answer("INVITE", 180);
	txn_cancel(t, SPAN(""), rig.now);
	txn_forget(t);
	rig_until(32064);
	assert_told("180@0");
	assert_live(0);
	rig_stop();
}
END_TEST

START_TEST(freeing_the_table_ends_live_ones_of_every_kind)
{
	rig_start();
	rig_client("INVITE", SIP_TRANSPORT_UDP);
	rig_client("OPTIONS", SIP_TRANSPORT_TCP);
	struct txn *t = rig_server(REQUEST(.method = "INVITE"), SIP_TRANSPORT_UDP);
	rig_server(REQUEST(.method = "MESSAGE"), SIP_TRANSPORT_UDP);
	rig_reply(t, 486);
	rig_stop();
	ck_assert_uint_eq(rig.ngone, 4);
	ck_assert_uint_eq(rig.wheel.armed, 0);
}
END_TEST

/* ---- calls from inside ---- */

static struct txn *other;

static void forget_and_go_on(struct txn *t, unsigned status)
{
	if (status < 300)
		return;
	txn_cancel(t, SPAN(""), rig.now);
	txn_forget(t);
	if (!other)
		other = rig_client_branch("INVITE", "z9hG4bKnext", SIP_TRANSPORT_UDP);
}

START_TEST(a_user_may_forget_and_try_the_next_target_from_inside_a_response)
{
	rig_start();
	other = NULL;
	rig.on_response = forget_and_go_on;
	rig_client("INVITE", SIP_TRANSPORT_TCP);
	rig_answer("INVITE", 503);
	assert_sent("INVITE@0 INVITE@0 ACK@0");
	assert_told("503@0");
	assert_live(1);
	assert_state(other, "Calling");
	rig_stop();
}
END_TEST

static void next_target(struct txn *t)
{
	(void)t;
	if (!other)
		other = rig_client_branch("OPTIONS", "z9hG4bKnext", SIP_TRANSPORT_UDP);
}

START_TEST(a_user_may_try_the_next_target_from_inside_failed)
{
	rig_start();
	other = NULL;
	rig.on_failed = next_target;
	rig_client("OPTIONS", SIP_TRANSPORT_UDP);
	rig_until(32000);
	ck_assert_ptr_nonnull(other);
	assert_state(other, "Trying");
	assert_told("timeout@32000 gone@32000");
	assert_live(1);
	rig_stop();
}
END_TEST

static void answer_upstream(struct txn *t, unsigned status)
{
	(void)t;
	rig_reply(other, status);
}

START_TEST(a_proxy_may_answer_upstream_from_inside_a_response)
{
	rig_start();
	other = rig_server(REQUEST(.method = "OPTIONS"), SIP_TRANSPORT_TCP);
	rig_client("OPTIONS", SIP_TRANSPORT_TCP);
	rig.on_response = answer_upstream;
	rig_answer("OPTIONS", 200);
	assert_sent("OPTIONS@0 200@0");
	assert_told("200@0 gone@0 gone@0");
	assert_live(0);
	rig_stop();
}
END_TEST

START_TEST(an_error_from_inside_send_is_told_later_not_inside_new)
{
	rig_start();
	rig.fail_sends = true;
	struct txn *t = rig_client("INVITE", SIP_TRANSPORT_UDP);
	ck_assert_ptr_nonnull(t);
	assert_told("");
	assert_state(t, "Calling");
	rig_until(1);
	assert_told("transport@1 gone@1");
	assert_live(0);
	rig_stop();
}
END_TEST

START_TEST(an_error_from_inside_a_retransmission_is_told_at_once)
{
	rig_start();
	rig_client("INVITE", SIP_TRANSPORT_UDP);
	rig.fail_sends = true;
	rig_until(500);
	assert_told("transport@500 gone@500");
	rig_stop();
}
END_TEST

START_TEST(an_error_from_inside_respond_is_told_later)
{
	rig_start();
	struct txn *t = rig_server(REQUEST(.method = "INVITE"), SIP_TRANSPORT_UDP);
	rig.fail_sends = true;
	ck_assert_int_eq(rig_reply(t, 180), 0);
	assert_told("");
	rig_until(1);
	assert_told("transport@1");
	assert_state(t, "Proceeding");
	rig_stop();
}
END_TEST

static void try_for_ever(struct txn *t)
{
	(void)t;
	rig_client("OPTIONS", SIP_TRANSPORT_UDP);
}

START_TEST(a_user_that_tries_for_ever_does_not_stop_the_clock)
{
	rig_start();
	rig.fail_sends = true;
	rig.on_failed = try_for_ever;
	rig_client("OPTIONS", SIP_TRANSPORT_UDP);
	rig_until(20);
	ck_assert_uint_eq(rig.nsent, 21); /* one a tick */
	rig.on_failed = NULL;
	rig_stop();
}
END_TEST

static void make_one_more(struct txn *t)
{
	(void)t;
	if (rig.ngone == 1)
		rig_client("OPTIONS", SIP_TRANSPORT_UDP);
}

START_TEST(a_user_may_make_a_transaction_from_inside_gone)
{
	rig_start();
	rig.on_gone = make_one_more;
	rig_client("OPTIONS", SIP_TRANSPORT_TCP);
	rig_answer("OPTIONS", 200);
	assert_live(1);
	assert_told("200@0 gone@0");
	rig_stop();
	ck_assert_uint_eq(rig.ngone, 2);
}
END_TEST

UNIT_MAIN("table", a_transaction_takes_at_most_2_kb_beside_its_message,
	  above_the_limit_a_transaction_is_refused_and_counted,
	  a_branch_that_is_not_in_the_request_is_refused, an_ack_gets_no_server_transaction,
	  an_id_is_not_used_again_when_its_place_is,
	  ids_stay_below_2_to_56_however_often_a_place_is_used,
	  another_user_may_take_over_a_server_transaction,
	  places_are_used_again_without_new_memory,
	  with_100000_live_transactions_the_way_to_one_stays_short,
	  a_forgotten_invite_client_acks_in_silence,
	  a_client_forgotten_in_any_state_ends_in_silence,
	  a_server_forgotten_in_any_state_ends_in_silence,
	  a_forgotten_and_cancelled_invite_ends_64_t1_later,
	  freeing_the_table_ends_live_ones_of_every_kind,
	  a_user_may_forget_and_try_the_next_target_from_inside_a_response,
	  a_user_may_try_the_next_target_from_inside_failed,
	  a_proxy_may_answer_upstream_from_inside_a_response,
	  an_error_from_inside_send_is_told_later_not_inside_new,
	  an_error_from_inside_a_retransmission_is_told_at_once,
	  an_error_from_inside_respond_is_told_later,
	  a_user_that_tries_for_ever_does_not_stop_the_clock,
	  a_user_may_make_a_transaction_from_inside_gone)
