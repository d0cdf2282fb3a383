/*
 * How a message is known again, and what it is refused with.
 */
#include "common/poison/poison.h"

#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>

static const struct mac_key key = {1, 2};

#define SDP "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\n"

static const char by_phone[] = "INVITE sip:bob@example.org SIP/2.0\r\n"
			       "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKa;rport\r\n"
			       "Max-Forwards: 70\r\n"
			       "Route: <sip:edge.example.org;lr>\r\n"
			       "From: <sip:alice@example.org>;tag=1\r\n"
			       "To: <sip:bob@example.org>\r\n"
			       "Call-ID: one\r\n"
			       "CSeq: 2 INVITE\r\n"
			       "Contact: <sip:alice@192.0.2.1>\r\n"
			       "\r\n" SDP;

/* With the stamp, the edge's Via and what the link adds. */
static const char by_edge[] =
	"INVITE sip:bob@example.org SIP/2.0\r\n"
	"Via: SIP/2.0/TCP 198.51.100.1:5060;branch=z9hG4bKe;ft=xyz\r\n"
	"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKa;rport=5060;received=192.0.2.1\r\n"
	"Max-Forwards: 69\r\n"
	"Record-Route: <sip:edge.example.org;lr>\r\n"
	"Eaves-Link: m=1;t=udp;s=192.0.2.1:5060;u=\r\n"
	"From: <sip:alice@example.org>;tag=1\r\n"
	"To: <sip:bob@example.org>\r\n"
	"Call-ID: one\r\n"
	"CSeq: 2 INVITE\r\n"
	"Contact: <sip:alice@192.0.2.1>\r\n"
	"Content-Length: 31\r\n"
	"\r\n" SDP;

/* To the device: another Request-URI. */
static const char by_home[] =
	"INVITE sip:bob@203.0.113.7:5062 SIP/2.0\r\n"
	"Via: SIP/2.0/TCP 198.51.100.2:5060;branch=z9hG4bKh\r\n"
	"Via: SIP/2.0/TCP 198.51.100.1:5060;branch=z9hG4bKe;ft=xyz\r\n"
	"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKa;rport=5060;received=192.0.2.1\r\n"
	"Route: <sip:token@edge.example.org;lr>\r\n"
	"Max-Forwards: 68\r\n"
	"From: <sip:alice@example.org>;tag=1\r\n"
	"To: <sip:bob@example.org>\r\n"
	"Call-ID: one\r\n"
	"CSeq: 2 INVITE\r\n"
	"Contact: <sip:alice@192.0.2.1>\r\n"
	"Content-Length: 31\r\n"
	"\r\n" SDP "what lies behind it in the buffer";

static uint64_t of(const char *text)
{
	return poison_fingerprint(&key, span_str(text));
}

/* by_phone with the first `from` in it replaced. */
static const char *with(const char *from, const char *to)
{
	static char out[2][2048];
	static unsigned turn;
	const char *at = strstr(by_phone, from);
	char *p = out[turn++ % 2];
	ck_assert_ptr_nonnull(at);
	snprintf(p, sizeof(out[0]), "%.*s%s%s", (int)(at - by_phone), by_phone, to,
		 at + strlen(from));
	return p;
}

START_TEST(a_message_is_the_same_at_every_hop)
{
	ck_assert_uint_eq(sizeof(SDP) - 1, 31);
	ck_assert_uint_eq(of(by_phone), of(by_edge));
	ck_assert_uint_eq(of(by_phone), of(by_home));
}
END_TEST

START_TEST(what_follows_in_the_same_call_is_another_message)
{
	const char *others[] = {
		with("CSeq: 2 INVITE", "CSeq: 3 INVITE"),
		with("INVITE sip:", "ACK sip:"),
		with("Call-ID: one", "Call-ID: two"),
		with(">;tag=1", ">;tag=2"),
		with("v=0", "v=1"),
		with("To: <sip:bob@example.org>", "To: <sip:bob@example.org>;tag=9"),
	};
	for (unsigned i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		ck_assert_uint_ne(of(by_phone), of(others[i]));
}
END_TEST

START_TEST(responses_differ_by_their_status)
{
	static const char form[] = "SIP/2.0 %u %s\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK%c\r\n"
				   "From: a;tag=1\r\nTo: b;tag=2\r\nCall-ID: c\r\n"
				   "CSeq: 1 INVITE\r\n\r\n";
	char ringing[256], again[256], answer[256];
	snprintf(ringing, sizeof(ringing), form, 180, "Ringing", 'a');
	snprintf(again, sizeof(again), form, 180, "It rings", 'b');
	snprintf(answer, sizeof(answer), form, 200, "OK", 'a');
	ck_assert_uint_eq(of(ringing), of(again));
	ck_assert_uint_ne(of(ringing), of(answer));
}
END_TEST

START_TEST(compact_names_folds_and_bare_line_ends_are_read)
{
	ck_assert_uint_eq(of("A b SIP/2.0\r\ni: x\r\nCSEQ : 1 A\r\nf: y;tag=1\r\nt: z\r\n"
			     "l: 1\r\n\r\nqr"),
			  of("A c SIP/2.0\nto: z\nCall-Id:x\nfrom:  y;tag=1 \ncseq: 1 A\n"
			     "Via: v\n\nq"));
	ck_assert_uint_eq(of("A b SIP/2.0\r\ni: x\r\n y\r\ncseq: 1 A\r\nf: z\r\n\r\n"),
			  of("A b SIP/2.0\r\nv: u\r\ni: x\r\n y\r\ncseq: 1 A\r\nf: z\r\n\r\n"));
}
END_TEST

START_TEST(what_is_no_message_is_known_by_its_bytes)
{
	ck_assert_uint_eq(of("garbage"), of("garbage"));
	ck_assert_uint_ne(of("garbage"), of("garbag"));
	ck_assert_uint_ne(of(""), 0);
	ck_assert_uint_ne(of("INVITE sip:a SIP/2.0\r\nVia: a\r\n\r\n"),
			  of("INVITE sip:a SIP/2.0\r\nVia: b\r\n\r\n"));
	/* Not what another message is hashed from, written as bytes. */
	ck_assert_uint_ne(of(by_phone), of(by_phone + 1));
}
END_TEST

START_TEST(another_key_gives_another_fingerprint)
{
	const struct mac_key other = {1, 3};
	ck_assert_uint_ne(of(by_phone), poison_fingerprint(&other, span_str(by_phone)));
}
END_TEST

static struct span refusal(const char *text, uint64_t fingerprint)
{
	static char out[4096];
	return span_of(out, poison_refusal(span_str(text), fingerprint, out, sizeof(out)));
}

START_TEST(a_request_is_refused_with_its_own_fields)
{
	static const char want[] =
		"SIP/2.0 403 Refused\r\n"
		"Via: SIP/2.0/TCP 198.51.100.1:5060;branch=z9hG4bKe;ft=xyz\r\n"
		"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKa;rport=5060;"
		"received=192.0.2.1\r\n"
		"From: <sip:alice@example.org>;tag=1\r\n"
		"To: <sip:bob@example.org>;tag=00000000000000ff\r\n"
		"Call-ID: one\r\n"
		"CSeq: 2 INVITE\r\n"
		"Content-Length: 0\r\n\r\n";
	struct span got = refusal(by_edge, 255);
	ck_assert_uint_eq(got.n, sizeof(want) - 1);
	ck_assert_mem_eq(got.p, want, got.n);
}
END_TEST

START_TEST(a_tag_that_is_there_stays)
{
	struct span got = refusal(
		"BYE sip:a SIP/2.0\r\nv: SIP/2.0/UDP h\r\nf: a\r\n"
		"t: \"x;tag=no\" <sip:b;tag=no> ; Tag = 7\r\ni: c\r\nCSeq: 1 BYE\r\n\r\n",
		255);
	ck_assert_ptr_nonnull(memmem(got.p, got.n, "<sip:b;tag=no> ; Tag = 7\r\n", 26));
	ck_assert_ptr_null(memmem(got.p, got.n, "00ff", 4));
}
END_TEST

START_TEST(nothing_answers_an_ack_a_response_or_half_a_request)
{
	ck_assert_uint_eq(refusal(with("INVITE sip:", "ACK sip:"), 1).n, 0);
	ck_assert_uint_eq(refusal("SIP/2.0 200 OK\r\nv: a\r\nf: a\r\nt: b\r\ni: c\r\n"
				  "CSeq: 1 A\r\n\r\n",
				  1)
				  .n,
			  0);
	ck_assert_uint_eq(
		refusal("A b SIP/2.0\r\nf: a\r\nt: b\r\ni: c\r\nCSeq: 1 A\r\n\r\n", 1).n, 0);
	ck_assert_uint_eq(refusal("garbage", 1).n, 0);
}
END_TEST

START_TEST(a_refusal_fits_its_room)
{
	char out[sizeof(by_phone) + POISON_REFUSAL_ROOM];
	static const char least[] = "A b SIP/2.0\nv:a\nf:a\nt:b\ni:c\nCSeq:1\n\n";
	ck_assert_uint_gt(poison_refusal(span_str(by_phone), 1, out,
					 strlen(by_phone) + POISON_REFUSAL_ROOM),
			  0);
	ck_assert_uint_gt(
		poison_refusal(span_str(least), 1, out, strlen(least) + POISON_REFUSAL_ROOM),
		0);
	ck_assert_uint_eq(poison_refusal(span_str(by_phone), 1, out, 100), 0);
}
END_TEST

START_TEST(the_extent_is_head_and_length)
{
	static const char two[] =
		"A b SIP/2.0\r\ni: x\r\ncseq: 1 A\r\nf: y\r\nl: 3\r\n\r\nabcA b";
	const size_t len = strlen(two) - 3;
	for (size_t n = len - 3; n <= len + 3; n++)
		ck_assert_int_eq(poison_extent(span_of(two, n)), (ssize_t)len);
	for (size_t n = 0; n < len - 3; n++)
		ck_assert_int_eq(poison_extent(span_of(two, n)), -EAGAIN);
	ck_assert_int_eq(poison_extent(SPAN("rubbish\r\n")), 0);
	ck_assert_int_eq(
		poison_extent(
			SPAN("A b SIP/2.0\r\ni: x\r\ncseq: 1 A\r\nf: y\r\nl: 3\r\n\r\n hi")),
		strlen("A b SIP/2.0\r\ni: x\r\ncseq: 1 A\r\nf: y\r\nl: 3\r\n\r\n hi"));
	ck_assert_int_eq(poison_extent(SPAN("A b SIP/2.0\r\ni: x\r\n\r\n")), 0);
	ck_assert_int_eq(
		poison_extent(SPAN("A b SIP/2.0\r\ni: x\r\ncseq: 1 A\r\nf: y\r\n\r\nz")),
		strlen("A b SIP/2.0\r\ni: x\r\ncseq: 1 A\r\nf: y\r\n\r\n"));
}
END_TEST

START_TEST(the_call_id_is_shown)
{
	struct span id = poison_call_id(span_str(by_phone));
	ck_assert(span_eq(id, SPAN("one")));
	ck_assert_uint_eq(poison_call_id(SPAN("garbage")).n, 0);
}
END_TEST

UNIT_MAIN("fingerprint", a_message_is_the_same_at_every_hop,
	  what_follows_in_the_same_call_is_another_message, responses_differ_by_their_status,
	  compact_names_folds_and_bare_line_ends_are_read,
	  what_is_no_message_is_known_by_its_bytes, another_key_gives_another_fingerprint,
	  a_request_is_refused_with_its_own_fields, a_tag_that_is_there_stays,
	  nothing_answers_an_ack_a_response_or_half_a_request, a_refusal_fits_its_room,
	  the_extent_is_head_and_length, the_call_id_is_shown)
