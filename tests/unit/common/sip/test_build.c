/*
 * Responses, ACK and CANCEL, to the byte: RFC 3261 8.2.6, 17.1.1.3, 9.1.
 */
#include "common/sip/build.h"

#include "tests/unit/unit.h"

#include <stdio.h>

static struct sip_hdr fields[2][SIP_HDR_MAX];
static struct sip_msg req, resp;

static const char invite[] = "INVITE sip:b@x SIP/2.0\r\n"
			     "v: SIP/2.0/UDP one;branch=z9hG4bK1 , SIP/2.0/UDP two\r\n"
			     "Timestamp: 54.2\r\n"
			     "Record-Route: <sip:p;lr>\r\n"
			     "VIA:SIP/2.0/TCP three\r\n"
			     "Route: <sip:r1;lr>\r\n"
			     "Route: <sip:r2;lr>\r\n"
			     "T : \"x;tag=no\" <sip:b@x;tag=no>  \r\n"
			     "From: <sip:a@x>;tag=1\r\n"
			     "cseq:  9\r\n INVITE\r\n"
			     "Proxy-Require: foo\r\n"
			     "Call-ID: c\r\n"
			     "\r\n"
			     "body";

static void read_msg(struct sip_msg *m, const char *text, unsigned i)
{
	struct sip_fault fault;
	*m = (struct sip_msg){.hdr = fields[i]};
	ck_assert_int_eq(sip_msg_index(m, span_str(text), false, &sip_limits_default, &fault),
			 0);
}

static void gives(struct bytes *b, const char *want)
{
	ck_assert_ptr_nonnull(b);
	char got[4096];
	ck_assert_uint_lt(b->n, sizeof(got));
	memcpy(got, b->p, b->n);
	got[b->n] = '\0';
	ck_assert_str_eq(got, want);
	bytes_unref(b);
}

START_TEST(a_100_copies_timestamp_and_has_no_tag)
{
	read_msg(&req, invite, 0);
	gives(sip_build_response(&req, &(struct sip_response){.status = 100}),
	      "SIP/2.0 100 Trying\r\n"
	      "v: SIP/2.0/UDP one;branch=z9hG4bK1 , SIP/2.0/UDP two\r\n"
	      "VIA:SIP/2.0/TCP three\r\n"
	      "From: <sip:a@x>;tag=1\r\n"
	      "T : \"x;tag=no\" <sip:b@x;tag=no>  \r\n"
	      "Call-ID: c\r\n"
	      "cseq:  9\r\n INVITE\r\n"
	      "Timestamp: 54.2\r\n"
	      "Content-Length: 0\r\n\r\n");
}
END_TEST

START_TEST(a_2xx_to_invite_copies_record_route_and_gets_a_tag_lines_and_body)
{
	read_msg(&req, invite, 0);
	struct sip_response r = {
		.status = 200,
		.reason = SPAN("Fine"),
		.to_tag = SPAN("abc"),
		.lines = SPAN("Contact: <sip:me>\r\nAllow: ACK\r\n"),
		.content_type = SPAN("text/plain"),
		.body = SPAN("hello, body"),
	};
	gives(sip_build_response(&req, &r),
	      "SIP/2.0 200 Fine\r\n"
	      "v: SIP/2.0/UDP one;branch=z9hG4bK1 , SIP/2.0/UDP two\r\n"
	      "VIA:SIP/2.0/TCP three\r\n"
	      "Record-Route: <sip:p;lr>\r\n"
	      "From: <sip:a@x>;tag=1\r\n"
	      "T : \"x;tag=no\" <sip:b@x;tag=no>;tag=abc\r\n"
	      "Call-ID: c\r\n"
	      "cseq:  9\r\n INVITE\r\n"
	      "Contact: <sip:me>\r\nAllow: ACK\r\n"
	      "Content-Type: text/plain\r\n"
	      "Content-Length: 11\r\n\r\n"
	      "hello, body");
}
END_TEST

START_TEST(record_route_is_copied_for_dialogs_alone)
{
	static const struct {
		const char *method;
		unsigned status;
		bool want;
	} table[] = {
		{"INVITE", 180, true},	 {"INVITE", 100, false},   {"INVITE", 404, false},
		{"INVITE", 302, false},	 {"SUBSCRIBE", 200, true}, {"NOTIFY", 200, true},
		{"REFER", 202, true},	 {"BYE", 200, false},	   {"REGISTER", 200, false},
		{"MESSAGE", 200, false}, {"OPTIONS", 200, false},
	};
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		char text[512];
		snprintf(text, sizeof(text),
			 "%s sip:x SIP/2.0\r\nVia: SIP/2.0/UDP h\r\nFrom: <sip:a>;tag=1\r\n"
			 "To: <sip:b>\r\nCall-ID: c\r\nCSeq: 1 %s\r\nRecord-Route: "
			 "<sip:p>\r\n\r\n",
			 table[i].method, table[i].method);
		read_msg(&req, text, 0);
		struct bytes *b = sip_build_response(
			&req, &(struct sip_response){.status = table[i].status});
		bool got = memmem(b->p, b->n, "Record-Route", 12) != NULL;
		ck_assert_int_eq(got, table[i].want);
		bytes_unref(b);
	}
}
END_TEST

START_TEST(to_keeps_the_tag_that_it_has)
{
	static const struct {
		const char *to;
		bool has;
	} table[] = {
		{"<sip:b@x>;tag=1", true},
		{"<sip:b@x> ;p=q;\r\n TAG = 1", true},
		{"sip:b@x;tag=1", true},
		{"\"a\\\";tag=2\" <sip:b>;x;tag=9", true},
		{"\"<\" <sip:b>;tag=9", true},
		{"<sip:b@x;tag=1>", false},
		{"\"a\\\";tag=2\" <sip:b>", false},
		{"<sip:b@x>;tagged=1;x-tag=2;y=tag", false},
		{"<sip:b@x>;p=\";tag=1\"", false},
		{"<sip:b@x>;", false},
	};
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		char text[512];
		snprintf(text, sizeof(text),
			 "BYE sip:x SIP/2.0\r\nVia: SIP/2.0/UDP h\r\nFrom: <sip:a>;tag=1\r\n"
			 "To: %s\r\nCall-ID: c\r\nCSeq: 1 BYE\r\n\r\n",
			 table[i].to);
		read_msg(&req, text, 0);
		struct bytes *b = sip_build_response(
			&req, &(struct sip_response){.status = 481, .to_tag = SPAN("new")});
		bool added = memmem(b->p, b->n, ";tag=new\r\n", 10) != NULL;
		ck_assert_int_eq(added, !table[i].has);
		bytes_unref(b);
	}
}
END_TEST

START_TEST(a_body_needs_a_type)
{
	read_msg(&req, invite, 0);
	struct bytes *b = sip_build_response(
		&req, &(struct sip_response){.status = 486, .body = SPAN("lost")});
	static const char end[] = "Content-Length: 0\r\n\r\n";
	ck_assert_mem_eq(b->p + b->n - sizeof(end) + 1, end, sizeof(end) - 1);
	bytes_unref(b);
}
END_TEST

START_TEST(a_faulty_request_is_answered_from_what_is_sound)
{
	struct sip_fault fault;
	req = (struct sip_msg){.hdr = fields[0]};
	ck_assert_int_lt(sip_msg_index(&req,
				       SPAN("OPTIONS <sip:b> SIP/2.0\r\n"
					    "Via: SIP/2.0/UDP h\r\nVia: SIP/2.0/UDP i\r\n"
					    "X: \0\r\nFrom: <sip:a>\r\nTo: <sip:b>\r\n"
					    "To: <sip:c>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n"),
				       false, &sip_limits_default, &fault),
			 0);
	gives(sip_build_response(&req, &(struct sip_response){.status = fault.status,
							      .reason = span_str(fault.reason),
							      .to_tag = SPAN("z")}),
	      "SIP/2.0 400 Invalid Request-URI\r\n"
	      "Via: SIP/2.0/UDP h\r\nVia: SIP/2.0/UDP i\r\nFrom: <sip:a>\r\nTo: "
	      "<sip:b>;tag=z\r\n"
	      "Call-ID: c\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n");
}
END_TEST

START_TEST(ack_has_the_top_via_and_routes_of_the_invite_and_the_to_of_the_response)
{
	read_msg(&req, invite, 0);
	read_msg(&resp,
		 "SIP/2.0 486 Busy Here\r\nVia: SIP/2.0/UDP one;branch=z9hG4bK1\r\n"
		 "From: <sip:a@x>;tag=1\r\nTo: <sip:b@x>;tag=77\r\nCall-ID: c\r\n"
		 "CSeq: 9 INVITE\r\n\r\n",
		 1);
	gives(sip_build_ack(&req, &resp), "ACK sip:b@x SIP/2.0\r\n"
					  "Via: SIP/2.0/UDP one;branch=z9hG4bK1\r\n"
					  "Route: <sip:r1;lr>\r\n"
					  "Route: <sip:r2;lr>\r\n"
					  "Max-Forwards: 70\r\n"
					  "From: <sip:a@x>;tag=1\r\n"
					  "To: <sip:b@x>;tag=77\r\n"
					  "Call-ID: c\r\n"
					  "CSeq: 9 ACK\r\n"
					  "Content-Length: 0\r\n\r\n");
}
END_TEST

START_TEST(cancel_repeats_the_invite_and_takes_a_reason)
{
	read_msg(&req, invite, 0);
	gives(sip_build_cancel(&req, SPAN("Reason: SIP;cause=200\r\n")),
	      "CANCEL sip:b@x SIP/2.0\r\n"
	      "Via: SIP/2.0/UDP one;branch=z9hG4bK1\r\n"
	      "Route: <sip:r1;lr>\r\n"
	      "Route: <sip:r2;lr>\r\n"
	      "Max-Forwards: 70\r\n"
	      "From: <sip:a@x>;tag=1\r\n"
	      "T : \"x;tag=no\" <sip:b@x;tag=no>  \r\n"
	      "Call-ID: c\r\n"
	      "CSeq: 9 CANCEL\r\n"
	      "Reason: SIP;cause=200\r\n"
	      "Content-Length: 0\r\n\r\n");
}
END_TEST

UNIT_MAIN("sip/build", a_100_copies_timestamp_and_has_no_tag,
	  a_2xx_to_invite_copies_record_route_and_gets_a_tag_lines_and_body,
	  record_route_is_copied_for_dialogs_alone, to_keeps_the_tag_that_it_has,
	  a_body_needs_a_type, a_faulty_request_is_answered_from_what_is_sound,
	  ack_has_the_top_via_and_routes_of_the_invite_and_the_to_of_the_response,
	  cancel_repeats_the_invite_and_takes_a_reason)
