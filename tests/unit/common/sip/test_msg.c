/*
 * The index: what it finds, what it refuses and with which answer (common/sip/README.md).
 */
#include "common/sip/msg.h"

#include "common/sip/build.h"
#include "common/sip/stamp.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>

static struct sip_hdr fields[SIP_HDR_MAX];
static struct sip_msg m;
static struct sip_fault fault;
static const struct sip_limits *limits = &sip_limits_default;
/* Copies to the heap at its exact size, so that a read behind it shows under ASan. */
static char *copy;

static int index_bytes(struct span s, bool stream)
{
	free(copy);
	copy = malloc(s.n ? s.n : 1);
	memcpy(copy, s.p, s.n);
	fault = (struct sip_fault){0};
	m = (struct sip_msg){.hdr = fields};
	return sip_msg_index(&m, span_of(copy, s.n), stream, limits, &fault);
}

static int index_text(const char *text)
{
	return index_bytes(span_str(text), false);
}

static void refused(struct span s, unsigned status, const char *reason)
{
	ck_assert_int_eq(index_bytes(s, false), -EBADMSG);
	ck_assert_str_eq(fault.reason, reason);
	ck_assert_uint_eq(fault.status, status);
}

#define VIA  "Via: SIP/2.0/UDP host;branch=z9hG4bK1\r\n"
#define FROM "From: <sip:a@x>;tag=1\r\n"
#define TO   "To: <sip:b@x>\r\n"
#define CALL "Call-ID: c@x\r\n"
#define CSEQ "CSeq: 7 OPTIONS\r\n"
#define REST VIA FROM TO CALL CSEQ
#define LINE "OPTIONS sip:b@x SIP/2.0\r\n"

#define ck_span(s, text)                                \
	do {                                            \
		ck_assert_uint_eq((s).n, strlen(text)); \
		ck_assert_mem_eq((s).p, text, (s).n);   \
	} while (0)

static const char invite[] =
	"INVITE sip:bob@biloxi.example.com SIP/2.0\r\n"
	"Via: SIP/2.0/UDP pc33.example.com;branch=z9hG4bK776asdhds\r\n"
	"v: SIP/2.0/TCP a.example.com;branch=z9hG4bK2, SIP/2.0/TCP b.example.com\r\n"
	"Max-Forwards: 70\r\n"
	"TO : Bob\r\n <sip:bob@biloxi.example.com>  \r\n"
	"f:Alice <sip:alice@atlanta.example.com>;tag=1928301774\r\n"
	"Call-ID: a84b4c76e66710@pc33.example.com\r\n"
	"cseq: 314159\r\n\tINVITE\r\n"
	"X-Unknown: \xd0\xbe,;\r\n"
	"Subject:\r\n"
	"l:  4\r\n"
	"\r\n"
	"abcdtrailing";

START_TEST(fields_are_indexed_by_kind_compact_folded_and_in_order)
{
	ck_assert_int_eq(index_text(invite), 0);
	ck_assert(m.is_request);
	ck_assert_uint_eq(m.method, SIP_INVITE);
	ck_span(m.method_text, "INVITE");
	ck_span(m.uri, "sip:bob@biloxi.example.com");
	ck_span(m.call_id, "a84b4c76e66710@pc33.example.com");
	ck_assert_uint_eq(m.cseq, 314159);
	ck_assert_uint_eq(m.nhdr, 10);
	ck_assert_uint_eq(m.start_len, 43);
	ck_span(sip_msg_value(&m, SIP_HDR_TO), "Bob\r\n <sip:bob@biloxi.example.com>");
	ck_assert_uint_eq(sip_msg_first(&m, SIP_HDR_TO)->name_len, 2);
	const struct sip_hdr *via = sip_msg_first(&m, SIP_HDR_VIA);
	via = sip_msg_next(&m, via);
	ck_span(sip_hdr_value(&m, via),
		"SIP/2.0/TCP a.example.com;branch=z9hG4bK2, SIP/2.0/TCP b.example.com");
	ck_assert_ptr_null(sip_msg_next(&m, via));
	ck_assert_uint_eq(m.last[SIP_HDR_VIA], 1);
	ck_assert_ptr_null(sip_msg_first(&m, SIP_HDR_ROUTE));
	ck_assert_ptr_null(sip_msg_first(&m, SIP_HDR_OTHER));
}
END_TEST

START_TEST(fields_stand_side_by_side_from_the_start_line_to_the_empty_line)
{
	ck_assert_int_eq(index_text(invite), 0);
	uint32_t at = m.start_len;
	for (unsigned i = 0; i < m.nhdr; i++) {
		ck_assert_uint_eq(m.hdr[i].off, at);
		at += m.hdr[i].len;
	}
	ck_assert_uint_eq(m.body_off, at + 2);
}
END_TEST

START_TEST(bytes_behind_a_datagrams_content_length_are_ignored)
{
	ck_assert_int_eq(index_text(invite), 0);
	ck_span(sip_msg_body(&m), "abcd");
	ck_assert_uint_eq(m.len, m.body_off + 4);
}
END_TEST

START_TEST(datagram_without_content_length_has_all_the_rest_for_its_body)
{
	ck_assert_int_eq(index_text(LINE REST "\r\nrest"), 0);
	ck_span(sip_msg_body(&m), "rest");
}
END_TEST

START_TEST(crlf_in_front_of_a_start_line_is_skipped_rfc3261_7_5)
{
	ck_assert_int_eq(index_text("\r\n\r\n" LINE REST "\r\n"), 0);
	ck_assert_ptr_eq(m.base, copy + 4);
	ck_span(m.uri, "sip:b@x");
}
END_TEST

START_TEST(responses_are_indexed_with_an_empty_reason_too)
{
	ck_assert_int_eq(index_text("SIP/2.0 100 \r\n" REST "\r\n"), 0);
	ck_assert(!m.is_request);
	ck_assert_uint_eq(m.status, 100);
	ck_assert_uint_eq(m.reason.n, 0);
	ck_assert_uint_eq(m.method, SIP_OPTIONS);
	ck_span(m.method_text, "OPTIONS");
	ck_assert_int_eq(index_text("SIP/2.0 699 No Way\r\n" REST "\r\n"), 0);
	ck_span(m.reason, "No Way");
}
END_TEST

START_TEST(unknown_methods_are_taken)
{
	ck_assert_int_eq(index_text("N!W*_+`.%~' sip:b@x SIP/2.0\r\n" VIA FROM TO CALL
				    "CSeq: 7 N!W*_+`.%~'\r\n\r\n"),
			 0);
	ck_assert_uint_eq(m.method, SIP_METHOD_OTHER);
	ck_span(m.method_text, "N!W*_+`.%~'");
}
END_TEST

START_TEST(version_is_compared_without_regard_to_case)
{
	ck_assert_int_eq(index_text("OPTIONS sip:b@x sip/2.0\r\n" REST "\r\n"), 0);
}
END_TEST

struct bad {
	const char *text;
	unsigned status;
	const char *reason;
};

static const struct bad start_lines[] = {
	{"OPTIONS  sip:b@x SIP/2.0", 400, "White Space In Request Line"},
	{"OPTIONS sip:b@x  SIP/2.0", 400, "White Space In Request Line"},
	{"OPTIONS sip:b@x; lr SIP/2.0", 400, "White Space In Request Line"},
	{"OPTIONS sip:b@x SIP/2.0  ", 400, "White Space In Request Line"},
	{"OPTIONS <sip:b@x> SIP/2.0", 400, "Invalid Request-URI"},
	{"OPTIONS sip:b\"@x SIP/2.0", 400, "Invalid Request-URI"},
	{"OPTIONS sip:b\xc3\xa9@x SIP/2.0", 400, "Invalid Request-URI"},
	{"OPTIONS sip:b@x\tSIP/2.0", 400, "Invalid Request-URI"},
	{"OPTIONS sip:b@x", 400, "Invalid Request-URI"},
	{"OPTIONS ", 400, "Invalid Request-URI"},
	{"OPTIONS", 400, "Malformed Request Line"},
	{"OPT(IONS sip:b@x SIP/2.0", 400, "Malformed Request Line"},
	{" OPTIONS sip:b@x SIP/2.0", 400, "Malformed Request Line"},
	{"OPTIONS sip:b@x HTTP/1.1", 400, "Malformed Request Line"},
	{"OPTIONS sip:b@x SIP/2.0x", 400, "Malformed Request Line"},
	{"OPTIONS sip:b@x SIP/", 400, "Malformed Request Line"},
	{"OPTIONS sip:b@x SIP/7.0", 505, "Version Not Supported"},
	{"OPTIONS sip:b@x SIP/2.00", 505, "Version Not Supported"},
	{"SIP/2.0 200", 0, "Malformed Status Line"},
	{"SIP/2.0 20 OK", 0, "Malformed Status Line"},
	{"SIP/2.0 2000 OK", 0, "Malformed Status Line"},
	{"SIP/2.0  200 OK", 0, "Malformed Status Line"},
	{"SIP/2.0 4294967301 OK", 0, "Malformed Status Line"},
	{"SIP/7.0 200 OK", 0, "Malformed Status Line"},
	{"SIP/2.0 099 OK", 0, "Status Code Out Of Range"},
	{"SIP/2.0 700 OK", 0, "Status Code Out Of Range"},
};

START_TEST(unsound_start_lines_are_refused_by_name)
{
	for (size_t i = 0; i < sizeof(start_lines) / sizeof(start_lines[0]); i++) {
		char text[512];
		snprintf(text, sizeof(text), "%s\r\n" REST "\r\n", start_lines[i].text);
		refused(span_str(text), start_lines[i].status, start_lines[i].reason);
	}
}
END_TEST

static const struct bad headers[] = {
	{REST FROM, 400, "Repeated From"},
	{REST "t: <sip:c@x>\r\n", 400, "Repeated To"},
	{REST "I : d\r\n", 400, "Repeated Call-ID"},
	{REST CSEQ, 400, "Repeated CSeq"},
	{REST "Max-Forwards: 1\r\nMax-Forwards: 1\r\n", 400, "Repeated Max-Forwards"},
	{REST "l: 0\r\nContent-Length: 0\r\n", 400, "Repeated Content-Length"},
	{REST "Expires: 1\r\nexpires: 2\r\n", 400, "Repeated Expires"},
	{FROM TO CALL CSEQ, 0, "Missing Via"},
	{VIA TO CALL CSEQ, 0, "Missing From"},
	{VIA FROM CALL CSEQ, 0, "Missing To"},
	{VIA FROM TO CSEQ, 0, "Missing Call-ID"},
	{VIA FROM TO CALL, 0, "Missing CSeq"},
	{VIA FROM "To: \r\n" CALL CSEQ, 0, "Missing To"},
	{VIA FROM TO CALL "CSeq: 7 INVITE\r\n", 400, "CSeq Does Not Match Method"},
	{VIA FROM TO CALL "CSeq: 7 options\r\n", 400, "CSeq Does Not Match Method"},
	{VIA FROM TO CALL "CSeq: 7 ACK\r\n", 0, "CSeq Does Not Match Method"},
	{VIA FROM TO CALL "CSeq: 2147483648 OPTIONS\r\n", 400, "Invalid CSeq"},
	{VIA FROM TO CALL "CSeq: 36893488147419103232 OPTIONS\r\n", 400, "Invalid CSeq"},
	{VIA FROM TO CALL "CSeq: 7\r\n", 400, "Invalid CSeq"},
	{VIA FROM TO CALL "CSeq: OPTIONS\r\n", 400, "Invalid CSeq"},
	{VIA FROM TO CALL "CSeq: 7OPTIONS\r\n", 400, "Invalid CSeq"},
	{VIA FROM TO CALL "CSeq: -7 OPTIONS\r\n", 400, "Invalid CSeq"},
	{VIA FROM TO CALL "CSeq: 7 OPTIONS x\r\n", 400, "Invalid CSeq"},
	{VIA FROM TO "Call-ID: a b\r\n" CSEQ, 400, "Invalid Call-ID"},
	{VIA FROM TO "Call-ID: a\r\n b\r\n" CSEQ, 400, "Invalid Call-ID"},
	{REST "Content-Length: 5abc\r\n", 400, "Invalid Content-Length"},
	{REST "Content-Length: -1\r\n", 400, "Invalid Content-Length"},
	{REST "Content-Length: +1\r\n", 400, "Invalid Content-Length"},
	{REST "Content-Length: 0, 0\r\n", 400, "Invalid Content-Length"},
	{REST "Content-Length:\r\n", 400, "Invalid Content-Length"},
	{REST "Content-Length: 4294967301\r\n", 400, "Invalid Content-Length"},
	{REST "Content-Length: 99999999999999999999999\r\n", 400, "Invalid Content-Length"},
	{REST "Content-Length: 1\r\n", 400, "Content-Length Larger Than Body"},
	{REST "No colon here\r\n", 400, "Malformed Header Field"},
	{REST "Na me: x\r\n", 400, "Malformed Header Field"},
	{REST ": x\r\n", 400, "Malformed Header Field"},
	{REST "Caf\xc3\xa9: x\r\n", 400, "Malformed Header Field"},
	{REST "X: a\rb\r\n", 400, "CR Without LF"},
	{REST "X: a\nb\r\n", 400, "LF Without CR"},
	{REST "X: a\r\r\n", 400, "CR Without LF"},
	{REST "X: a\\\nb\r\n", 400, "LF Without CR"},
	{REST "X: a\x01\r\n", 400, "Control Character In Header"},
};

START_TEST(unsound_headers_are_refused_by_name)
{
	for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
		char text[512];
		snprintf(text, sizeof(text), LINE "%s\r\n", headers[i].text);
		refused(span_str(text), headers[i].status, headers[i].reason);
	}
}
END_TEST

START_TEST(first_header_line_may_not_begin_with_white_space)
{
	refused(SPAN(LINE " " REST "\r\n"), 0, "Malformed Header Field");
}
END_TEST

START_TEST(nul_in_a_header_is_refused_even_in_quotes_behind_a_backslash)
{
	refused(SPAN(LINE REST "X: a\0b\r\n\r\n"), 400, "NUL In Header");
	refused(SPAN(LINE REST "X: \"a\\\0b\"\r\n\r\n"), 400, "NUL In Header");
	refused(SPAN("OPTIONS sip:b\0@x SIP/2.0\r\n" REST "\r\n"), 0, "NUL In Header");
	ck_assert_int_eq(index_bytes(SPAN(LINE REST "\r\na\0b"), false), 0);
	ck_assert_uint_eq(m.body_len, 3);
}
END_TEST

START_TEST(other_control_characters_may_stand_behind_a_backslash)
{
	ck_assert_int_eq(index_text(LINE REST "X: \"bell \\\x07\"\r\n\r\n"), 0);
}
END_TEST

START_TEST(cr_in_place_of_a_dash_is_no_header_name_of_ours)
{
	refused(SPAN(LINE VIA FROM TO "Call\rID: c\r\n" CSEQ "\r\n"), 0, "CR Without LF");
}
END_TEST

START_TEST(missing_empty_line_is_answered_when_the_rest_is_there)
{
	refused(SPAN(LINE REST), 400, "Missing Empty Line");
	refused(SPAN(LINE REST "\r"), 400, "CR Without LF");
	refused(SPAN(LINE REST "X: half"), 400, "Missing Empty Line");
	refused(SPAN("OPTIONS"), 0, "Missing Empty Line");
	refused(SPAN("\r\n\r\n"), 0, "Missing Empty Line");
	refused(SPAN(""), 0, "Missing Empty Line");
}
END_TEST

START_TEST(every_cut_of_a_message_is_refused_or_whole)
{
	for (size_t n = 0; n < sizeof(invite) - 1; n++) {
		int r = index_bytes(span_of(invite, n), false);
		ck_assert_int_eq(r == 0, n >= sizeof(invite) - 1 - strlen("trailing"));
	}
}
END_TEST

START_TEST(no_answer_goes_out_when_the_top_via_may_be_lost)
{
	refused(SPAN(LINE "Via: SIP/2.0/UDP a\rb\r\n" REST "\r\n"), 0, "CR Without LF");
	refused(SPAN(LINE "X: a\n" REST "Via: SIP/2.0/UDP b\r\n\r\n"), 0, "LF Without CR");
	refused(SPAN("OPTIONS sip:b@x SIP/2.0\n" REST "Via: SIP/2.0/UDP b\r\n\r\n"), 0,
		"LF Without CR");
}
END_TEST

START_TEST(an_ack_is_never_answered)
{
	refused(SPAN("ACK sip:b@x SIP/3.0\r\n" VIA FROM TO CALL "CSeq: 7 ACK\r\n\r\n"), 0,
		"Version Not Supported");
}
END_TEST

START_TEST(stream_messages_need_a_content_length_that_fits)
{
	ck_assert_int_eq(index_bytes(SPAN(LINE REST "l: 2\r\n\r\nab"), true), 0);
	ck_assert_int_eq(index_bytes(SPAN(LINE REST "\r\nab"), true), -EBADMSG);
	ck_assert_str_eq(fault.reason, "Missing Content-Length");
	ck_assert_int_eq(index_bytes(SPAN(LINE REST "l: 1\r\n\r\nab"), true), -EBADMSG);
	ck_assert_str_eq(fault.reason, "Content-Length Smaller Than Body");
	ck_assert_int_eq(index_bytes(SPAN(LINE REST "l: 3\r\n\r\nab"), true), -EBADMSG);
	ck_assert_str_eq(fault.reason, "Content-Length Larger Than Body");
	ck_assert_uint_eq(fault.status, 400);
}
END_TEST

START_TEST(limits_refuse_one_more_than_they_allow)
{
	static const struct sip_limits small = {
		.datagram_bytes = 200,
		.stream_bytes = 300,
		.headers = 6,
		.header_bytes = 41,
		.commas = 2,
		.semicolons = 3,
	};
	limits = &small;
	ck_assert_int_eq(index_text(LINE REST "Path: a,b,c\r\n\r\n"), 0);
	refused(SPAN(LINE REST "Path: a,b,c,d\r\n\r\n"), 400, "Too Many Values");
	ck_assert_int_eq(index_text(LINE REST "Contact: a;b;c;d\r\n\r\n"), 0);
	refused(SPAN(LINE REST "m: a;b;c;d;e\r\n\r\n"), 400, "Too Many Parameters");
	ck_assert_int_eq(index_text(LINE REST "X-Other: a;b;c;d;e,f,g,h,i\r\n\r\n"), 0);
	refused(SPAN(LINE REST "X: 1\r\nY: 2\r\n\r\n"), 400, "Too Many Header Fields");
	ck_assert_int_eq(
		index_text(LINE REST "X: 012345678901234567890123456789012345\r\n\r\n"), 0);
	refused(SPAN(LINE REST "X: 0123456789012345678901234567890123456\r\n\r\n"), 400,
		"Header Field Too Large");
	refused(SPAN("OPTIONS sip:45678901234567890123456 SIP/2.0\r\n" REST "\r\n"), 414,
		"Request-URI Too Long");
	char big[256] = LINE REST "\r\n";
	ck_assert_int_eq(index_bytes(span_of(big, 200), false), 0);
	refused(span_of(big, 201), 513, "Message Too Large");
	limits = &sip_limits_default;
}
END_TEST

START_TEST(values_of_more_than_16_bits_are_refused_whatever_the_configuration)
{
	static struct sip_limits wide;
	wide = sip_limits_default;
	wide.datagram_bytes = wide.header_bytes = wide.headers = 1 << 20;
	limits = &wide;
	size_t n = 70000;
	char *text = malloc(n + 1);
	memset(text, 'x', n);
	memcpy(text, LINE REST "X: ", sizeof(LINE REST "X: ") - 1);
	memcpy(text + n - 4, "\r\n\r\n", 5);
	refused(span_of(text, n), 400, "Header Field Too Large");
	for (size_t i = sizeof(LINE REST) - 1; i + 6 <= n; i += 6)
		memcpy(text + i, "X: 1\r\n", 6);
	refused(span_of(text, n), 400, "Too Many Header Fields");
	ck_assert_uint_eq(m.nhdr, SIP_HDR_MAX);
	free(text);
	limits = &sip_limits_default;
}
END_TEST

START_TEST(separators_are_counted_in_very_long_fields_too)
{
	static struct sip_limits wide;
	wide = sip_limits_default;
	wide.datagram_bytes = wide.header_bytes = 60000;
	limits = &wide;
	size_t head = sizeof(LINE REST "m: ") - 1, n = 256 * 16 * 3;
	char *text = malloc(head + n + 4);
	memcpy(text, LINE REST "m: ", head);
	memset(text + head, ';', n); /* a count of 8 bits would come back to 0 */
	memcpy(text + head + n, "\r\n\r\n", 4);
	refused(span_of(text, head + n + 4), 400, "Too Many Parameters");
	free(text);
	limits = &sip_limits_default;
}
END_TEST

START_TEST(every_header_name_is_found_in_any_case)
{
	for (int k = SIP_HDR_OTHER + 1; k < SIP_HDR_COUNT; k++) {
		char name[32];
		snprintf(name, sizeof(name), "%s", sip_hdr_name(k));
		ck_assert_int_eq(sip_hdr_kind_of(span_str(name)), k);
		for (char *p = name; *p; p++)
			if (*p != '-')
				*p ^= 0x20;
		ck_assert_int_eq(sip_hdr_kind_of(span_str(name)), k);
		name[strlen(name) - 1] ^= 0x01;
		ck_assert_int_eq(sip_hdr_kind_of(span_str(name)), SIP_HDR_OTHER);
	}
	ck_assert_int_eq(sip_hdr_kind_of(SPAN("")), SIP_HDR_OTHER);
	ck_assert_int_eq(sip_hdr_kind_of(SPAN("i")), SIP_HDR_CALL_ID);
	ck_assert_int_eq(sip_hdr_kind_of(SPAN("K")), SIP_HDR_SUPPORTED);
	ck_assert_int_eq(sip_hdr_kind_of(SPAN("x")), SIP_HDR_OTHER);
	ck_assert_int_eq(sip_hdr_kind_of(SPAN("call\rid")), SIP_HDR_OTHER);
	ck_assert_ptr_null(sip_hdr_name(SIP_HDR_OTHER));
}
END_TEST

START_TEST(every_method_is_found_in_its_own_case_only)
{
	for (int i = SIP_METHOD_OTHER + 1; i < SIP_METHOD_COUNT; i++) {
		char name[16];
		snprintf(name, sizeof(name), "%s", sip_method_name(i));
		ck_assert_int_eq(sip_method_parse(span_str(name)), i);
		name[0] ^= 0x20;
		ck_assert_int_eq(sip_method_parse(span_str(name)), SIP_METHOD_OTHER);
	}
	ck_assert_int_eq(sip_method_parse(SPAN("")), SIP_METHOD_OTHER);
	ck_assert_int_eq(sip_method_parse(SPAN("INVITES")), SIP_METHOD_OTHER);
	ck_assert_str_eq(sip_reason(486), "Busy Here");
	ck_assert_str_eq(sip_reason(299), "Unknown");
	ck_assert_str_eq(sip_reason(70000), "Unknown");
}
END_TEST

START_TEST(lists_are_walked_over_fields_quotes_and_brackets)
{
	ck_assert_int_eq(index_text(LINE REST
				    "Contact: \"a, \\\"b\" <sip:x,y@h>;p=\"1,2\" , <z>\r\n"
				    "X: y\r\n"
				    "m:\r\n"
				    "m: a,,b\r\n\r\n"),
			 0);
	static const char *const want[] = {
		"\"a, \\\"b\" <sip:x,y@h>;p=\"1,2\"", "<z>", "", "a", "", "b"};
	struct sip_list_it it = {0};
	struct span v;
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		ck_assert(sip_list_next(&m, SIP_HDR_CONTACT, &it, &v));
		ck_span(v, want[i]);
	}
	ck_assert(!sip_list_next(&m, SIP_HDR_CONTACT, &it, &v));
	it = (struct sip_list_it){0};
	ck_assert(!sip_list_next(&m, SIP_HDR_ROUTE, &it, &v));
}
END_TEST

START_TEST(unbalanced_quotes_and_brackets_end_with_their_field)
{
	ck_assert_int_eq(index_text(LINE REST "m: \"a, b\\\r\nm: <c, d\r\n\r\n"), 0);
	struct sip_list_it it = {0};
	struct span v;
	ck_assert(sip_list_next(&m, SIP_HDR_CONTACT, &it, &v));
	ck_span(v, "\"a, b\\");
	ck_assert(sip_list_next(&m, SIP_HDR_CONTACT, &it, &v));
	ck_span(v, "<c, d");
	ck_assert(!sip_list_next(&m, SIP_HDR_CONTACT, &it, &v));
}
END_TEST

START_TEST(option_tags_are_found_in_any_field_without_regard_to_case)
{
	ck_assert_int_eq(
		index_text(LINE REST "Supported: path,gruu\r\nk: \r\nk: Outbound\r\n\r\n"), 0);
	ck_assert(sip_msg_has_token(&m, SIP_HDR_SUPPORTED, SPAN("gruu")));
	ck_assert(sip_msg_has_token(&m, SIP_HDR_SUPPORTED, SPAN("outbound")));
	ck_assert(!sip_msg_has_token(&m, SIP_HDR_SUPPORTED, SPAN("gru")));
	ck_assert(!sip_msg_has_token(&m, SIP_HDR_REQUIRE, SPAN("gruu")));
}
END_TEST

START_TEST(kept_messages_stand_on_their_own_bytes)
{
	ck_assert_int_eq(index_text(invite), 0);
	struct sip_kept *k = sip_kept_new(&m);
	ck_assert_ptr_nonnull(k);
	memset(copy, '?', sizeof(invite) - 1);
	memset(fields, 0xee, sizeof(fields));
	ck_span(k->msg.method_text, "INVITE");
	ck_span(k->msg.uri, "sip:bob@biloxi.example.com");
	ck_span(k->msg.call_id, "a84b4c76e66710@pc33.example.com");
	ck_span(sip_msg_value(&k->msg, SIP_HDR_FROM),
		"Alice <sip:alice@atlanta.example.com>;tag=1928301774");
	ck_span(sip_msg_body(&k->msg), "abcd");
	ck_assert_ptr_eq(sip_kept_ref(k), k);
	ck_assert_ptr_null(sip_kept_unref(k));
	ck_assert_uint_eq(k->refs, 1);
	ck_assert_ptr_null(sip_kept_unref(k));
	ck_assert_ptr_null(sip_kept_unref(NULL));
}
END_TEST

START_TEST(replacing_bytes_in_a_value_gives_the_index_of_the_new_message)
{
	static const char before[] = LINE REST "l: 2\r\n\r\nab";
	char buf[sizeof(before) + 20];
	memcpy(buf, before, sizeof(before));
	m = (struct sip_msg){.hdr = fields};
	ck_assert_int_eq(sip_msg_index(&m, span_str(buf), false, limits, &fault), 0);
	const struct sip_hdr *via = sip_msg_first(&m, SIP_HDR_VIA);
	uint32_t end = via->value_off + via->value_len;
	ck_assert_int_eq(
		sip_msg_replace(&m, buf, sizeof(buf), end - 1, 1, SPAN("2;received=::1")), 0);
	static struct sip_hdr again_fields[SIP_HDR_MAX];
	struct sip_msg again = {.hdr = again_fields};
	ck_assert_int_eq(sip_msg_index(&again, span_of(buf, m.len), false, limits, &fault), 0);
	ck_assert_mem_eq(again_fields, fields, again.nhdr * sizeof(fields[0]));
	ck_assert_uint_eq(again.body_off, m.body_off);
	ck_assert_uint_eq(again.len, m.len);
	ck_assert(span_eq(again.call_id, m.call_id));
	ck_assert_ptr_eq(again.call_id.p, m.call_id.p);
	ck_span(sip_msg_value(&m, SIP_HDR_VIA),
		"SIP/2.0/UDP host;branch=z9hG4bK2;received=::1");
	ck_span(sip_msg_body(&m), "ab");
}
END_TEST

START_TEST(replacing_needs_room_and_a_value)
{
	static const char before[] = LINE REST "\r\n";
	char buf[sizeof(before) + 3];
	memcpy(buf, before, sizeof(before));
	m = (struct sip_msg){.hdr = fields};
	ck_assert_int_eq(sip_msg_index(&m, span_str(buf), false, limits, &fault), 0);
	const struct sip_hdr *via = sip_msg_first(&m, SIP_HDR_VIA);
	ck_assert_int_eq(sip_msg_replace(&m, buf, m.len + 3, via->value_off, 0, SPAN("1234")),
			 -ENOSPC);
	ck_assert_int_eq(sip_msg_replace(&m, buf, sizeof(buf), via->off, 1, SPAN("v")),
			 -EINVAL);
	ck_assert_int_eq(sip_msg_replace(&m, buf, sizeof(buf), via->value_off,
					 via->value_len + 1u, SPAN("v")),
			 -EINVAL);
	ck_assert_mem_eq(buf, before, sizeof(before));
}
END_TEST

UNIT_MAIN("sip/msg", fields_are_indexed_by_kind_compact_folded_and_in_order,
	  fields_stand_side_by_side_from_the_start_line_to_the_empty_line,
	  bytes_behind_a_datagrams_content_length_are_ignored,
	  datagram_without_content_length_has_all_the_rest_for_its_body,
	  crlf_in_front_of_a_start_line_is_skipped_rfc3261_7_5,
	  responses_are_indexed_with_an_empty_reason_too, unknown_methods_are_taken,
	  version_is_compared_without_regard_to_case, unsound_start_lines_are_refused_by_name,
	  unsound_headers_are_refused_by_name, first_header_line_may_not_begin_with_white_space,
	  nul_in_a_header_is_refused_even_in_quotes_behind_a_backslash,
	  other_control_characters_may_stand_behind_a_backslash,
	  cr_in_place_of_a_dash_is_no_header_name_of_ours,
	  missing_empty_line_is_answered_when_the_rest_is_there,
	  every_cut_of_a_message_is_refused_or_whole,
	  no_answer_goes_out_when_the_top_via_may_be_lost, an_ack_is_never_answered,
	  stream_messages_need_a_content_length_that_fits,
	  limits_refuse_one_more_than_they_allow,
	  values_of_more_than_16_bits_are_refused_whatever_the_configuration,
	  separators_are_counted_in_very_long_fields_too,
	  every_header_name_is_found_in_any_case, every_method_is_found_in_its_own_case_only,
	  lists_are_walked_over_fields_quotes_and_brackets,
	  unbalanced_quotes_and_brackets_end_with_their_field,
	  option_tags_are_found_in_any_field_without_regard_to_case,
	  kept_messages_stand_on_their_own_bytes,
	  replacing_bytes_in_a_value_gives_the_index_of_the_new_message,
	  replacing_needs_room_and_a_value)
