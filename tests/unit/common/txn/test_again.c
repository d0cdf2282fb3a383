/*
 * Requests and answers once more, when the way that they went has broken (again.c).
 */
#include "tests/unit/common/txn/rig.h"

static bool went(void *arg, struct sip_flow *to)
{
	(void)to;
	return *(const bool *)arg;
}

static unsigned again(bool that_way)
{
	(void)rig_take(rig.sent);
	return txn_send_again(rig.tt, went, &that_way, rig.now);
}

START_TEST(an_invite_that_rings_is_sent_again_over_any_transport)
{
	static const enum sip_transport v[] = {SIP_TRANSPORT_UDP, SIP_TRANSPORT_TCP};
	for (unsigned i = 0; i < 2; i++) {
		rig_start();
		rig_client("INVITE", v[i]);
		rig_answer("INVITE", 180);
		ck_assert_uint_eq(again(false), 0);
		assert_sent("");
		ck_assert_uint_eq(again(true), 1);
		assert_sent("INVITE@0");
		rig_answer("INVITE", 486);
		ck_assert_uint_eq(again(true), 0);
		rig_stop();
	}
}
END_TEST

/* By datagrams the INVITE could come behind its CANCEL, and ring. */
START_TEST(an_invite_that_is_cancelled_is_sent_again_by_streams_alone)
{
	static const enum sip_transport v[] = {SIP_TRANSPORT_UDP, SIP_TRANSPORT_TCP};
	static const char *const sent[] = {"", "INVITE@0 CANCEL@0"};
	for (unsigned i = 0; i < 2; i++) {
		rig_start();
		struct txn *t = rig_client("INVITE", v[i]);
		rig_answer("INVITE", 180);
		txn_cancel(t, SPAN(""), rig.now);
		ck_assert_uint_eq(again(true), 2 * i);
		assert_sent(sent[i]);
		rig_stop();
	}
}
END_TEST

START_TEST(another_request_is_sent_again_by_streams_alone)
{
	rig_start();
	rig_client("MESSAGE", SIP_TRANSPORT_UDP);
	ck_assert_uint_eq(again(true), 0);
	rig_stop();
	rig_start();
	rig_client("MESSAGE", SIP_TRANSPORT_TCP);
	ck_assert_uint_eq(again(true), 1);
	assert_sent("MESSAGE@0");
	rig_stop();
}
END_TEST

/* A CANCEL may have the slot before its INVITE's. */
START_TEST(invites_are_sent_again_before_anything_else)
{
	rig_start();
	rig_client("MESSAGE", SIP_TRANSPORT_TCP);
	rig_client("INVITE", SIP_TRANSPORT_TCP);
	ck_assert_uint_eq(again(true), 2);
	assert_sent("INVITE@0 MESSAGE@0");
	rig_stop();
}
END_TEST

static void assert_answers(const char *sent)
{
	bool that_way = true, another = false;
	(void)rig_take(rig.sent);
	ck_assert_uint_eq(txn_answer_again(rig.tt, went, &another, rig.now), 0);
	ck_assert_uint_eq(txn_answer_again(rig.tt, went, &that_way, rig.now), *sent != '\0');
	assert_sent(sent);
}

START_TEST(by_a_stream_what_is_not_acknowledged_is_answered_again)
{
	rig_start();
	struct txn *t = rig_server(REQUEST(.method = "INVITE"), SIP_TRANSPORT_TCP);
	assert_answers("");
	rig_reply(t, 180);
	assert_answers("180@0");
	rig_reply(t, 486);
	assert_answers("486@0");
	rig_recv(REQUEST(.method = "ACK", .to = "<sip:bob@example.com>;tag=b1"));
	assert_answers("");
	rig_stop();
}
END_TEST

/* A 2xx its UAS repeats; by UDP timer G does; who waits for another answer sends again. */
START_TEST(what_somebody_repeats_is_not_answered_again)
{
	static const enum sip_transport by[] = {SIP_TRANSPORT_TCP, SIP_TRANSPORT_UDP,
						SIP_TRANSPORT_TCP};
	static const char *const method[] = {"INVITE", "INVITE", "MESSAGE"};
	static const unsigned status[] = {200, 486, 200};
	for (unsigned i = 0; i < 3; i++) {
		rig_start();
		rig_reply(rig_server(REQUEST(.method = method[i]), by[i]), status[i]);
		assert_answers("");
		rig_stop();
	}
}
END_TEST

/* Another member has sent it; here it is not whole. */
START_TEST(what_was_resumed_is_not_sent_again)
{
	rig_start();
	struct rig_msg *r = REQUEST(.method = "INVITE", .branch = "z9hG4bKc1");
	struct bytes *b = bytes_dup(span_str(r->text));
	struct sip_flow to = rig_flow(SIP_TRANSPORT_TCP);
	txn_client_resume(rig.tt, SIP_INVITE, SPAN("INVITE"), SPAN("z9hG4bKc1"), b, &to,
			  &rig_client_user, NULL, rig.now);
	bytes_unref(b);
	rig_answer("INVITE", 180);
	ck_assert_uint_eq(again(true), 0);
	assert_sent("");
	rig_stop();
}
END_TEST

UNIT_MAIN("again", an_invite_that_rings_is_sent_again_over_any_transport,
	  an_invite_that_is_cancelled_is_sent_again_by_streams_alone,
	  another_request_is_sent_again_by_streams_alone,
	  invites_are_sent_again_before_anything_else,
	  by_a_stream_what_is_not_acknowledged_is_answered_again,
	  what_somebody_repeats_is_not_answered_again, what_was_resumed_is_not_sent_again)
