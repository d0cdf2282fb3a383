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

/* A hash over transactions that are in no table. */
struct bare {
	struct txn_hash h;
	struct txn **slab;
};

static void bare_start(struct bare *b, uint32_t n)
{
	size_t nslabs = n / TXN_SLAB + 1;
	b->slab = calloc(nslabs, sizeof(*b->slab));
	for (size_t i = 0; i < nslabs; i++) {
		b->slab[i] = calloc(TXN_SLAB, sizeof(struct txn));
		for (uint32_t k = 0; k < TXN_SLAB; k++)
			b->slab[i][k].id = i * TXN_SLAB + k + 1;
	}
	ck_assert_int_eq(txn_hash_init(&b->h, n, &b->slab, offsetof(struct txn, key)), 0);
}

static void bare_stop(struct bare *b, uint32_t n)
{
	for (size_t i = 0; i < n / TXN_SLAB + 1; i++)
		free(b->slab[i]);
	free(b->slab);
	txn_hash_done(&b->h);
}

START_TEST(hash_grows_one_bucket_at_a_time_and_loses_nothing)
{
	enum { N = 20000 };
	struct txn_hash_it it;
	struct bare b;
	unsigned lost = 0, found = 0, jumps = 0;
	bare_start(&b, N);
	for (uint32_t i = 1; i <= N; i++) {
		size_t before = b.h.nbuckets;
		txn_hash_add(&b.h, i, i * 0x9e3779b97f4a7c15u);
		jumps += b.h.nbuckets > before + 1;
	}
	ck_assert_uint_ge(b.h.nbuckets, N / 4 - 1);
	for (uint32_t i = 2; i <= N; i += 2)
		txn_hash_remove(&b.h, i);
	for (uint32_t i = 1; i <= N; i++) {
		struct txn *t = txn_hash_first(&b.h, i * 0x9e3779b97f4a7c15u, &it);
		lost += i % 2 && t != txn_at(b.slab, i);
		found += i % 2 == 0 && t;
	}
	ck_assert_uint_eq(lost + found + jumps, 0);
	ck_assert_uint_eq(b.h.n, N / 2);
	bare_stop(&b, N);
}
END_TEST

/* More in one bucket than a line holds, the same hash twice, taken out in any order. */
START_TEST(a_full_line_goes_on_in_a_chain)
{
	enum { N = 40 };
	struct txn_hash_it it;
	struct bare b;
	bare_start(&b, N);
	for (uint32_t i = 1; i <= N; i++)
		txn_hash_add(&b.h, i, (uint64_t)(i / 2) << 32);
	ck_assert_uint_eq(txn_hash_longest(&b.h), N);
	for (uint32_t i = 1; i <= N; i += 3)
		txn_hash_remove(&b.h, i);
	for (uint32_t i = 1; i <= N; i++) {
		unsigned mine = 0;
		struct txn *t = txn_hash_first(&b.h, (uint64_t)(i / 2) << 32, &it);
		for (; t; t = txn_hash_next(&it))
			mine += t == txn_at(b.slab, i);
		ck_assert_uint_eq(mine, i % 3 != 1);
	}
	for (uint32_t i = N; i >= 1; i--)
		txn_hash_remove(&b.h, i);
	ck_assert_uint_eq(b.h.n, 0);
	ck_assert_uint_eq(txn_hash_longest(&b.h), 0);
	bare_stop(&b, N);
}
END_TEST

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
	assert_sent("INVITE@0 ACK@0 INVITE@0");
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
	  hash_grows_one_bucket_at_a_time_and_loses_nothing, a_full_line_goes_on_in_a_chain,
	  an_answered_server_transaction_keeps_its_answer_alone,
	  an_extension_method_is_known_by_its_hash_when_answered,
	  an_invite_transaction_holds_no_bytes_while_2xx_may_come_again,
	  an_invite_client_in_completed_keeps_its_ack_alone,
	  rfc_2543_keeps_what_its_rule_for_matching_reads,
	  above_the_limit_the_oldest_answered_one_makes_room,
	  what_was_answered_less_than_8_t1_ago_is_not_evicted,
	  what_waits_for_an_answer_is_not_evicted, a_cancel_may_evict_what_it_is_for,
	  ten_thousand_answered_ones_take_less_than_2_kb_each,
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
