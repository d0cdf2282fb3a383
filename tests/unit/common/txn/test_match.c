/*
 * Matching: RFC 3261 17.1.3, 17.2.3 with RFC 2543's rule, 8.2.2.2, and where responses go.
 */
#include "tests/unit/common/txn/rig.h"

static void invited(struct rig_req q)
{
	rig_start();
	q.method = "INVITE";
	rig_server(rig_request(q), SIP_TRANSPORT_UDP);
}

START_TEST(the_cookie_is_compared_without_regard_to_case_the_rest_exactly)
{
	invited((struct rig_req){.branch = "z9hG4bKAbc"});
	ck_assert_int_eq(rig_recv(REQUEST(.method = "INVITE", .branch = "Z9HG4BKAbc")),
			 TXN_REQUEST_ABSORBED);
	ck_assert_int_eq(rig_recv(REQUEST(.method = "INVITE", .branch = "z9hG4bKabc",
					  .call_id = "other")),
			 TXN_REQUEST_NEW);
	rig_stop();
}
END_TEST

START_TEST(sent_by_is_part_of_the_key)
{
	invited((struct rig_req){.via = "SIP/2.0/UDP Host.Example:5062;branch=z9hG4bKone"});
	ck_assert_int_eq(
		rig_recv(REQUEST(.method = "INVITE",
				 .via = "SIP/2.0/UDP host.example:5062;branch=z9hG4bKone")),
		TXN_REQUEST_ABSORBED);
	ck_assert_int_eq(
		rig_recv(REQUEST(.method = "INVITE", .call_id = "other",
				 .via = "SIP/2.0/UDP host.example:5063;branch=z9hG4bKone")),
		TXN_REQUEST_NEW);
	ck_assert_int_eq(
		rig_recv(REQUEST(.method = "INVITE", .call_id = "other",
				 .via = "SIP/2.0/UDP evil.example:5062;branch=z9hG4bKone")),
		TXN_REQUEST_NEW);
	rig_stop();
}
END_TEST

START_TEST(the_method_is_part_of_the_key_but_for_ack)
{
	invited((struct rig_req){.branch = NULL});
	ck_assert_int_eq(rig_recv(REQUEST(.method = "OPTIONS")), TXN_REQUEST_NEW);
	ck_assert_int_eq(rig_recv(REQUEST(.method = "ACK")), TXN_REQUEST_ABSORBED);
	ck_assert_int_eq(rig_recv(REQUEST(.method = "ACK", .branch = "z9hG4bKtwo")),
			 TXN_REQUEST_ACK);
	rig_stop();
}
END_TEST

START_TEST(extension_methods_are_told_apart_by_their_text)
{
	rig_start();
	rig_server(REQUEST(.method = "DANCE"), SIP_TRANSPORT_UDP);
	ck_assert_int_eq(rig_recv(REQUEST(.method = "DANCE")), TXN_REQUEST_ABSORBED);
	ck_assert_int_eq(rig_recv(REQUEST(.method = "SING")), TXN_REQUEST_NEW);
	rig_client("DANCE", SIP_TRANSPORT_UDP);
	ck_assert(!rig_answer("SING", 200));
	ck_assert(rig_answer("DANCE", 200));
	rig_stop();
}
END_TEST

START_TEST(a_response_matches_by_branch_and_cseq_method)
{
	struct rig_msg *r;
	struct sip_flow f = {.transport = SIP_TRANSPORT_UDP};
	rig_start();
	rig_client("INVITE", SIP_TRANSPORT_UDP);
	r = rig_response("INVITE", "z9hG4bKother", 200);
	ck_assert(!txn_recv_response(rig.tt, &r->m, &r->top, &f, rig.now));
	ck_assert(!rig_answer("CANCEL", 200));
	ck_assert(!rig_answer("OPTIONS", 200));
	ck_assert(rig_answer("INVITE", 200));
	assert_told("200@0");
	rig_stop();
}
END_TEST

/* ---- RFC 2543 ---- */

START_TEST(rfc2543_a_retransmission_matches_by_all_its_fields)
{
	invited((struct rig_req){.branch = "1"});
#define AGAIN(...) rig_recv(REQUEST(.method = "INVITE", .branch = "1", __VA_ARGS__))
	ck_assert_int_eq(AGAIN(.uri = NULL), TXN_REQUEST_ABSORBED);
	ck_assert_int_eq(AGAIN(.uri = "sip:bob@EXAMPLE.com"), TXN_REQUEST_ABSORBED);
	ck_assert_int_ne(AGAIN(.uri = "sip:carol@example.com"), TXN_REQUEST_ABSORBED);
	ck_assert_int_eq(AGAIN(.to = "<sip:bob@example.com>;tag=t"), TXN_REQUEST_NEW);
	ck_assert_int_eq(AGAIN(.from = "<sip:alice@example.com>;tag=a2"), TXN_REQUEST_NEW);
	ck_assert_int_eq(AGAIN(.call_id = "call-2"), TXN_REQUEST_NEW);
	ck_assert_int_eq(AGAIN(.cseq = "2"), TXN_REQUEST_NEW);
#undef AGAIN
	ck_assert_int_ne(rig_recv(REQUEST(.method = "INVITE", .branch = "2")),
			 TXN_REQUEST_ABSORBED);
	rig_stop();
}
END_TEST

START_TEST(rfc2543_many_requests_with_one_constant_branch_stay_apart)
{
	rig_start();
	for (int i = 0; i < 20; i++) {
		char id[32];
		snprintf(id, sizeof(id), "call-%d", i);
		rig_server(REQUEST(.method = "OPTIONS", .branch = "1", .call_id = id),
			   SIP_TRANSPORT_UDP);
	}
	assert_live(20);
	rig_stop();
}
END_TEST

START_TEST(rfc2543_an_ack_matches_by_the_to_tag_of_the_response)
{
	char to[96];
	rig_start();
	struct txn *t =
		rig_server(REQUEST(.method = "INVITE", .branch = ""), SIP_TRANSPORT_UDP);
#define ACK(tag) rig_recv(REQUEST(.method = "ACK", .branch = "", .to = (tag)))
	snprintf(to, sizeof(to), "<sip:bob@example.com>;tag=%.*s", SPAN_FMT(txn_to_tag(t)));
	ck_assert_int_eq(ACK(to), TXN_REQUEST_ACK); /* nothing was answered yet */
	rig_reply(t, 486);
	ck_assert_int_eq(ACK("<sip:bob@example.com>;tag=other"), TXN_REQUEST_ACK);
	ck_assert_int_eq(ACK(NULL), TXN_REQUEST_ACK);
	assert_state(t, "Completed");
	ck_assert_int_eq(ACK(to), TXN_REQUEST_ABSORBED);
	assert_state(t, "Confirmed");
	ck_assert_int_eq(ACK(to), TXN_REQUEST_ABSORBED);
#undef ACK
	rig_stop();
}
END_TEST

START_TEST(rfc2543_an_ack_to_a_2xx_is_passed_on)
{
	char to[96];
	rig_start();
	struct txn *t =
		rig_server(REQUEST(.method = "INVITE", .branch = ""), SIP_TRANSPORT_UDP);
	rig_reply(t, 200);
	snprintf(to, sizeof(to), "<sip:bob@example.com>;tag=%.*s", SPAN_FMT(txn_to_tag(t)));
	ck_assert_int_eq(rig_recv(REQUEST(.method = "ACK", .branch = "", .to = to)),
			 TXN_REQUEST_ACK);
	rig_stop();
}
END_TEST

START_TEST(rfc2543_rules_hold_for_a_branch_that_is_the_cookie_alone)
{
	invited((struct rig_req){.branch = "z9hG4bK"});
	ck_assert_int_eq(rig_recv(REQUEST(.method = "INVITE", .branch = "z9hG4bK")),
			 TXN_REQUEST_ABSORBED);
	ck_assert_int_eq(
		rig_recv(REQUEST(.method = "INVITE", .branch = "z9hG4bK", .call_id = "other")),
		TXN_REQUEST_NEW);
	rig_stop();
}
END_TEST

START_TEST(rfc2543_a_branch_with_and_one_without_the_cookie_never_match)
{
	invited((struct rig_req){.branch = "z9hG4bKone"});
	ck_assert_int_ne(rig_recv(REQUEST(.method = "INVITE", .branch = "one")),
			 TXN_REQUEST_ABSORBED);
	rig_stop();
}
END_TEST

/* ---- merged requests, 8.2.2.2 ---- */

START_TEST(a_request_that_came_by_another_way_is_merged)
{
	invited((struct rig_req){.branch = NULL});
#define OTHER(...) rig_recv(REQUEST(.method = "INVITE", .branch = "z9hG4bKtwo", __VA_ARGS__))
	ck_assert_int_eq(OTHER(.uri = NULL), TXN_REQUEST_MERGED);
	ck_assert_int_eq(OTHER(.uri = "sip:bob@192.0.2.4"), TXN_REQUEST_MERGED);
	ck_assert_int_eq(OTHER(.call_id = "other"), TXN_REQUEST_NEW);
	ck_assert_int_eq(OTHER(.cseq = "2"), TXN_REQUEST_NEW);
	ck_assert_int_eq(OTHER(.from = "<sip:alice@example.com>;tag=a2"), TXN_REQUEST_NEW);
	ck_assert_int_eq(OTHER(.to = "<sip:bob@example.com>;tag=b"), TXN_REQUEST_NEW);
#undef OTHER
	ck_assert_int_eq(rig_recv(REQUEST(.method = "OPTIONS", .branch = "z9hG4bKtwo")),
			 TXN_REQUEST_NEW);
	rig_stop();
}
END_TEST

START_TEST(without_being_asked_merged_requests_are_new)
{
	rig_start();
	rig.tt->tell_merged = false;
	rig_server(REQUEST(.method = "INVITE"), SIP_TRANSPORT_UDP);
	ck_assert_int_eq(rig_recv(REQUEST(.method = "INVITE", .branch = "z9hG4bKtwo")),
			 TXN_REQUEST_NEW);
	ck_assert_int_eq(rig_recv(REQUEST(.method = "INVITE")), TXN_REQUEST_ABSORBED);
	ck_assert_uint_eq(rig.tt->merges.n, 0);
	rig_stop();
}
END_TEST

START_TEST(merged_requests_in_any_number_make_no_chain)
{
	rig_start();
	for (int i = 0; i < 500; i++) {
		char branch[32];
		snprintf(branch, sizeof(branch), "z9hG4bK%d", i);
		rig_server(REQUEST(.method = "INVITE", .branch = branch), SIP_TRANSPORT_UDP);
	}
	assert_live(500);
	ck_assert_uint_eq(rig.tt->merges.n, 1);
	ck_assert_uint_le(txn_hash_longest(&rig.tt->servers), 16);
	rig_stop();
}
END_TEST

START_TEST(extension_methods_in_any_number_make_no_chain)
{
	rig_start();
	for (int i = 0; i < 500; i++) {
		char method[32];
		snprintf(method, sizeof(method), "M%d", i);
		rig_server(REQUEST(.method = method), SIP_TRANSPORT_UDP);
	}
	ck_assert_uint_le(txn_hash_longest(&rig.tt->servers), 16);
	ck_assert_uint_le(txn_hash_longest(&rig.tt->merges), 16);
	rig_stop();
}
END_TEST

/* ---- To tags and destinations ---- */

START_TEST(the_to_tag_is_the_same_on_the_other_member_and_differs_by_call)
{
	char one[17], two[17], other[17];
	rig_start();
	struct txn *t = rig_server(REQUEST(.method = "INVITE"), SIP_TRANSPORT_UDP);
	snprintf(one, sizeof(one), "%.*s", SPAN_FMT(txn_to_tag(t)));
	t = rig_server(REQUEST(.method = "INVITE", .call_id = "c2", .branch = "z9hG4bKtwo"),
		       SIP_TRANSPORT_UDP);
	snprintf(other, sizeof(other), "%.*s", SPAN_FMT(txn_to_tag(t)));
	rig_stop();
	rig_start(); /* another table with the same key */
	t = rig_server(REQUEST(.method = "INVITE"), SIP_TRANSPORT_UDP);
	snprintf(two, sizeof(two), "%.*s", SPAN_FMT(txn_to_tag(t)));
	ck_assert_str_eq(one, two);
	ck_assert_str_ne(one, other);
	ck_assert_uint_eq(strlen(one), 16);
	rig_stop();
}
END_TEST

START_TEST(a_response_goes_where_the_stamped_via_says)
{
	rig_start();
	struct txn *t =
		rig_server(REQUEST(.method = "OPTIONS",
				   .via = "SIP/2.0/UDP 10.0.0.1:5070;received=192.0.2.9;"
					  "rport=4444;branch=z9hG4bKone"),
			   SIP_TRANSPORT_UDP);
	struct addr want;
	rig_reply(t, 200);
	ck_assert_int_eq(addr_parse(&want, SPAN("192.0.2.9"), 4444), 0);
	ck_assert(addr_equal(&rig.last_to.remote, &want));
	ck_assert_uint_eq(rig.last_id, txn_id(t));
	rig_stop();
}
END_TEST

START_TEST(a_response_over_a_stream_goes_back_on_its_connection)
{
	rig_start();
	struct txn *t = rig_server(REQUEST(.method = "OPTIONS"), SIP_TRANSPORT_TCP);
	rig_reply(t, 200);
	ck_assert_uint_eq(rig.last_to.conn, 7);
	ck_assert_int_eq(rig.last_to.transport, SIP_TRANSPORT_TCP);
	rig_stop();
}
END_TEST

START_TEST(hashes_remembered_for_a_buffer_are_not_taken_for_its_next_message)
{
	static struct rig_msg r;
	struct sip_flow f = rig_flow(SIP_TRANSPORT_UDP);
	rig_start();
	memcpy(r.text, REQUEST(.method = "OPTIONS", .branch = "z9hG4bKaaa")->text,
	       sizeof(r.text));
	ck_assert_int_eq(rig_recv(rig_index(&r)), TXN_REQUEST_NEW);
	memcpy(r.text, REQUEST(.method = "OPTIONS", .branch = "z9hG4bKbbb")->text,
	       sizeof(r.text));
	rig_index(&r); /* the same buffer and length, and never matched */
	ck_assert_ptr_nonnull(txn_server_new(rig.tt, &r.m, &r.top, &f, NULL, NULL, rig.now));
	ck_assert_int_eq(rig_recv(REQUEST(.method = "OPTIONS", .branch = "z9hG4bKbbb")),
			 TXN_REQUEST_ABSORBED);
	ck_assert_int_eq(rig_recv(REQUEST(.method = "OPTIONS", .branch = "z9hG4bKaaa")),
			 TXN_REQUEST_MERGED);
	rig_stop();
}
END_TEST

START_TEST(the_request_is_kept_whatever_becomes_of_the_buffer)
{
	rig_start();
	struct rig_msg *r = REQUEST(.method = "INVITE");
	struct txn *t = rig_server(r, SIP_TRANSPORT_UDP);
	memset(r->text, 'x', sizeof(r->text));
	arena_reset(&rig.arena);
	ck_assert(span_eq(txn_request(t)->uri, SPAN("sip:bob@example.com")));
	ck_assert(sip_transport_reliable(txn_flow(t)->transport) == false);
	ck_assert_int_eq(rig_recv(REQUEST(.method = "INVITE")), TXN_REQUEST_ABSORBED);
	rig_stop();
}
END_TEST

UNIT_MAIN("match", the_cookie_is_compared_without_regard_to_case_the_rest_exactly,
	  sent_by_is_part_of_the_key, the_method_is_part_of_the_key_but_for_ack,
	  extension_methods_are_told_apart_by_their_text,
	  a_response_matches_by_branch_and_cseq_method,
	  rfc2543_a_retransmission_matches_by_all_its_fields,
	  rfc2543_many_requests_with_one_constant_branch_stay_apart,
	  rfc2543_an_ack_matches_by_the_to_tag_of_the_response,
	  rfc2543_an_ack_to_a_2xx_is_passed_on,
	  rfc2543_rules_hold_for_a_branch_that_is_the_cookie_alone,
	  rfc2543_a_branch_with_and_one_without_the_cookie_never_match,
	  a_request_that_came_by_another_way_is_merged,
	  without_being_asked_merged_requests_are_new,
	  merged_requests_in_any_number_make_no_chain,
	  extension_methods_in_any_number_make_no_chain,
	  the_to_tag_is_the_same_on_the_other_member_and_differs_by_call,
	  a_response_goes_where_the_stamped_via_says,
	  a_response_over_a_stream_goes_back_on_its_connection,
	  hashes_remembered_for_a_buffer_are_not_taken_for_its_next_message,
	  the_request_is_kept_whatever_becomes_of_the_buffer)
