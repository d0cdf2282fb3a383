/*
 * Framing on a stream: RFC 3261 7.5, 18.3, RFC 5626 4.4.1.
 */
#include "common/sip/frame.h"

#include "tests/unit/unit.h"

#include <stdio.h>

static struct sip_framer f;

static enum sip_frame_result feed(const char *text)
{
	return sip_frame(&f, span_str(text), sip_limits_default.stream_bytes);
}

static enum sip_frame_result fresh(const char *text)
{
	f = (struct sip_framer){0};
	return feed(text);
}

static void breaks(const char *text, unsigned status, const char *reason)
{
	ck_assert_int_eq(fresh(text), SIP_FRAME_BROKEN);
	ck_assert_uint_eq(f.fault.status, status);
	ck_assert_str_eq(f.fault.reason, reason);
}

#define LINE "OPTIONS sip:b@x SIP/2.0\r\n"

START_TEST(message_ends_where_content_length_says)
{
	ck_assert_int_eq(fresh(LINE "Content-Length: 4\r\n\r\nabcdOPTIONS"), SIP_FRAME_MESSAGE);
	ck_assert_uint_eq(f.len, strlen(LINE "Content-Length: 4\r\n\r\nabcd"));
	ck_assert_int_eq(fresh(LINE "l:0\r\n\r\n"), SIP_FRAME_MESSAGE);
	ck_assert_uint_eq(f.len, strlen(LINE "l:0\r\n\r\n"));
}
END_TEST

START_TEST(content_length_is_found_in_any_case_compact_folded_and_spaced)
{
	static const char *const forms[] = {
		"cOnTeNt-LeNgTh: 2",	    "L \t:\t2 ",
		"Content-Length\t :\r\n 2", "l:\r\n \r\n\t2\r\n ",
		"Content-Length: 0002",
	};
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		char text[256];
		snprintf(text, sizeof(text), LINE "X: l: 9\r\n%s\r\nY: 1\r\n l: 9\r\n\r\nabc",
			 forms[i]);
		ck_assert_int_eq(fresh(text), SIP_FRAME_MESSAGE);
		ck_assert_uint_eq(f.len, strlen(text) - 1);
	}
}
END_TEST

START_TEST(stream_in_single_bytes_gives_the_same_messages)
{
	static const char stream[] = "\r\n" LINE "l: 3\r\n\r\na\r\n" LINE "X: y\r\nl: 0\r\n\r\n"
				     "\r\n\r\n" LINE "l: 0\r\n\r\n";
	static const enum sip_frame_result want[] = {SIP_FRAME_SKIP,	  SIP_FRAME_MESSAGE,
						     SIP_FRAME_MESSAGE,	  SIP_FRAME_SKIP,
						     SIP_FRAME_KEEPALIVE, SIP_FRAME_MESSAGE};
	size_t start = 0, got = 0;
	f = (struct sip_framer){0};
	for (size_t end = 1; end < sizeof(stream); end++) {
		enum sip_frame_result r = sip_frame(&f, span_of(stream + start, end - start),
						    sip_limits_default.stream_bytes);
		if (r == SIP_FRAME_MORE)
			continue;
		ck_assert_uint_lt(got, sizeof(want) / sizeof(want[0]));
		ck_assert_int_eq(r, want[got++]);
		start += f.len;
		ck_assert_uint_eq(start, end);
	}
	ck_assert_uint_eq(got, sizeof(want) / sizeof(want[0]));
	ck_assert_uint_eq(start, sizeof(stream) - 1);
}
END_TEST

START_TEST(double_crlf_is_a_ping_and_a_single_one_is_skipped)
{
	ck_assert_int_eq(fresh("\r\n\r\n"), SIP_FRAME_KEEPALIVE);
	ck_assert_uint_eq(f.len, 4);
	ck_assert_int_eq(fresh("\r\nOPTIONS"), SIP_FRAME_SKIP);
	ck_assert_uint_eq(f.len, 2);
	ck_assert_int_eq(fresh("\r"), SIP_FRAME_MORE);
	ck_assert_int_eq(feed("\r\n"), SIP_FRAME_SKIP);
	ck_assert_int_eq(fresh("\r\n\r"), SIP_FRAME_MORE);
	ck_assert_int_eq(feed("\r\n\r\n"), SIP_FRAME_KEEPALIVE);
	ck_assert_int_eq(fresh(""), SIP_FRAME_MORE);
}
END_TEST

START_TEST(ping_cut_in_half_is_still_a_ping)
{
	ck_assert_int_eq(fresh("\r\n"), SIP_FRAME_SKIP);
	ck_assert_int_eq(feed("\r"), SIP_FRAME_MORE);
	ck_assert_int_eq(feed("\r\n"), SIP_FRAME_KEEPALIVE);
	ck_assert_uint_eq(f.len, 2);
	ck_assert_int_eq(feed("\r\n"), SIP_FRAME_SKIP);
	ck_assert_int_eq(feed(LINE "l: 0\r\n\r\n"), SIP_FRAME_MESSAGE);
	ck_assert_int_eq(feed("\r\n"), SIP_FRAME_SKIP);
}
END_TEST

START_TEST(unsound_content_length_breaks_the_stream)
{
	static const char *const bad[] = {"-1",
					  "5abc",
					  "4294967296",
					  "",
					  "+5",
					  "0x5",
					  "5 5",
					  "5,5",
					  "5\t;",
					  "\"5\"",
					  "99999999999999999999999999"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char text[256];
		snprintf(text, sizeof(text), LINE "Content-Length: %s\r\n\r\n", bad[i]);
		breaks(text, 400, "Invalid Content-Length");
		ck_assert_uint_eq(f.len, strlen(text));
	}
	breaks(LINE "X: y\r\n\r\n", 400, "Missing Content-Length");
	breaks(LINE "Content-Length: 5\r\nl: 6\r\n\r\n", 400, "Repeated Content-Length");
}
END_TEST

START_TEST(content_length_repeated_alike_is_left_to_the_index)
{
	ck_assert_int_eq(fresh(LINE "Content-Length: 1\r\nl: 1\r\n\r\nab"), SIP_FRAME_MESSAGE);
}
END_TEST

START_TEST(what_looks_like_content_length_is_not_taken_for_it)
{
	breaks("l: 5\r\nX: y\r\n\r\n", 400, "Missing Content-Length");
	breaks(LINE "X-Content-Length: 5\r\n\r\n", 400, "Missing Content-Length");
	breaks(LINE "Content-Length\r\n\r\n", 400, "Missing Content-Length");
	breaks(LINE "Content Length: 5\r\n\r\n", 400, "Missing Content-Length");
	breaks(LINE "X: y\r\n Content-Length: 5\r\n\r\n", 400, "Missing Content-Length");
	breaks(LINE "X: y\rContent-Length: 5\r\n\r\n", 400, "Missing Content-Length");
}
END_TEST

START_TEST(line_feed_without_carriage_return_breaks_the_stream)
{
	breaks(LINE "X: y\nContent-Length: 5\r\n\r\n", 400, "LF Without CR");
	breaks("OPTIONS sip:b@x SIP/2.0\n\n", 400, "LF Without CR");
	breaks("\rOPTIONS", 0, "CR Without LF");
}
END_TEST

START_TEST(another_protocol_breaks_the_stream_at_its_first_byte)
{
	breaks("\x16\x03\x01", 0, "Not SIP");
	breaks("\n", 0, "Not SIP");
	breaks(" OPTIONS", 0, "Not SIP");
}
END_TEST

START_TEST(limits_break_the_stream_before_it_is_buffered)
{
	struct sip_limits lim = sip_limits_default;
	lim.stream_bytes = 60;
	f = (struct sip_framer){0};
	char text[128] = LINE "X: 789012345678901234567890123456789012345";
	ck_assert_int_eq(sip_frame(&f, span_of(text, 60), lim.stream_bytes), SIP_FRAME_MORE);
	ck_assert_int_eq(sip_frame(&f, span_of(text, 61), lim.stream_bytes), SIP_FRAME_BROKEN);
	ck_assert_uint_eq(f.fault.status, 513);
	f = (struct sip_framer){0};
	ck_assert_int_eq(sip_frame(&f, SPAN(LINE "l: 26\r\n\r\n"), lim.stream_bytes),
			 SIP_FRAME_MORE);
	ck_assert_uint_eq(f.len, 60);
	f = (struct sip_framer){0};
	ck_assert_int_eq(sip_frame(&f, SPAN(LINE "l: 27\r\n\r\n"), lim.stream_bytes),
			 SIP_FRAME_BROKEN);
	ck_assert_uint_eq(f.fault.status, 513);
	f = (struct sip_framer){0};
	ck_assert_int_eq(sip_frame(&f, SPAN(LINE "l: 4294967295\r\n\r\n"), lim.stream_bytes),
			 SIP_FRAME_BROKEN);
}
END_TEST

START_TEST(bytes_looked_at_once_are_not_looked_at_again)
{
	char text[64] = LINE "X: 123";
	ck_assert_int_eq(fresh(text), SIP_FRAME_MORE);
	ck_assert_uint_eq(f.scanned, strlen(text));
	text[3] = '\n'; /* would break the stream if it were read */
	strcat(text, "4");
	ck_assert_int_eq(feed(text), SIP_FRAME_MORE);
}
END_TEST

UNIT_MAIN("sip/frame", message_ends_where_content_length_says,
	  content_length_is_found_in_any_case_compact_folded_and_spaced,
	  stream_in_single_bytes_gives_the_same_messages,
	  double_crlf_is_a_ping_and_a_single_one_is_skipped, ping_cut_in_half_is_still_a_ping,
	  unsound_content_length_breaks_the_stream,
	  content_length_repeated_alike_is_left_to_the_index,
	  what_looks_like_content_length_is_not_taken_for_it,
	  line_feed_without_carriage_return_breaks_the_stream,
	  another_protocol_breaks_the_stream_at_its_first_byte,
	  limits_break_the_stream_before_it_is_buffered,
	  bytes_looked_at_once_are_not_looked_at_again)
