/*
 * Splice forwarding: edits over the original bytes.
 */
#include "common/sip/splice.h"

#include "tests/unit/unit.h"

#include <errno.h>

static const char text[] = "BYE sip:b@x SIP/2.0\r\n"
			   "Via: SIP/2.0/UDP one;branch=z9hG4bK1\r\n"
			   "Route: <sip:r1,1;lr> , <sip:r2;lr>\r\n"
			   "Route: <sip:r3;lr>\r\n"
			   "From: <sip:a@x>;tag=1\r\n"
			   "To: <sip:b@x>\r\n"
			   "Call-ID: c\r\n"
			   "CSeq: 1 BYE\r\n"
			   "Max-Forwards: 70\r\n"
			   "\r\n"
			   "body";
static struct sip_hdr fields[SIP_HDR_MAX];
static struct sip_msg m;
static struct sip_splice sp;

static void setup(void)
{
	struct sip_fault fault;
	m = (struct sip_msg){.hdr = fields};
	ck_assert_int_eq(sip_msg_index(&m, span_str(text), false, &sip_limits_default, &fault),
			 0);
	sip_splice_init(&sp, &m);
}

/* The result, by pieces and by bytes alike. */
static void gives(const char *want)
{
	struct iovec iov[SIP_SPLICE_IOV];
	int n = sip_splice_iov(&sp, iov);
	ck_assert_int_ge(n, 0);
	char got[4096];
	size_t len = 0;
	for (int i = 0; i < n; i++) {
		memcpy(got + len, iov[i].iov_base, iov[i].iov_len);
		len += iov[i].iov_len;
	}
	got[len] = '\0';
	ck_assert_str_eq(got, want);
	ck_assert_uint_eq(sip_splice_len(&sp), len);
	struct bytes *b = sip_splice_bytes(&sp);
	ck_assert_ptr_nonnull(b);
	ck_assert_uint_eq(b->n, len);
	ck_assert_mem_eq(b->p, want, len);
	bytes_unref(b);
}

static void overflows(void)
{
	struct iovec iov[SIP_SPLICE_IOV];
	ck_assert(sp.overflow);
	ck_assert_uint_eq(sip_splice_len(&sp), 0);
	ck_assert_int_eq(sip_splice_iov(&sp, iov), -EOVERFLOW);
	ck_assert_ptr_null(sip_splice_bytes(&sp));
}

START_TEST(what_is_not_edited_leaves_as_it_came)
{
	setup();
	gives(text);
}
END_TEST

START_TEST(a_forwarded_request_is_edited_in_any_order)
{
	setup();
	sip_splice_replace_span(&sp, sip_msg_value(&m, SIP_HDR_MAX_FORWARDS), SPAN("69"));
	sip_splice_remove_first_value(&sp, SIP_HDR_ROUTE);
	sip_splice_prepend(&sp, SIP_HDR_VIA, SPAN("Via: SIP/2.0/TCP two\r\n"));
	sip_splice_replace_span(&sp, m.uri, SPAN("sip:other@y"));
	sip_splice_append(&sp, SPAN("X-Last: 1\r\n"));
	gives("BYE sip:other@y SIP/2.0\r\n"
	      "Via: SIP/2.0/TCP two\r\n"
	      "Via: SIP/2.0/UDP one;branch=z9hG4bK1\r\n"
	      "Route: <sip:r2;lr>\r\n"
	      "Route: <sip:r3;lr>\r\n"
	      "From: <sip:a@x>;tag=1\r\n"
	      "To: <sip:b@x>\r\n"
	      "Call-ID: c\r\n"
	      "CSeq: 1 BYE\r\n"
	      "Max-Forwards: 69\r\n"
	      "X-Last: 1\r\n"
	      "\r\n"
	      "body");
}
END_TEST

START_TEST(first_value_goes_with_its_field_when_it_is_the_only_one)
{
	setup();
	sip_splice_remove_first_value(&sp, SIP_HDR_VIA);
	sip_splice_remove_first_value(&sp, SIP_HDR_CONTACT); /* none: nothing happens */
	ck_assert_uint_eq(sip_splice_len(&sp), sizeof(text) - 1 - 38);
	ck_assert_uint_eq(sp.n, 1);
}
END_TEST

START_TEST(prepend_without_such_a_field_goes_in_front_of_the_first)
{
	setup();
	sip_splice_prepend(&sp, SIP_HDR_RECORD_ROUTE, SPAN("Record-Route: <sip:me;lr>\r\n"));
	ck_assert_uint_eq(sp.e[0].off, m.start_len);
}
END_TEST

START_TEST(insertions_at_one_place_stand_in_the_order_they_were_added)
{
	setup();
	const struct sip_hdr *via = sip_msg_first(&m, SIP_HDR_VIA);
	sip_splice_prepend(&sp, SIP_HDR_VIA, SPAN("A: 1\r\n"));
	sip_splice_remove_hdr(&sp, via);
	sip_splice_prepend(&sp, SIP_HDR_VIA, SPAN("B: 1\r\n"));
	sip_splice_insert(&sp, via->off + via->len, SPAN("C: 1\r\n"));
	ck_assert(!sp.overflow);
	struct bytes *b = sip_splice_bytes(&sp);
	static const char want[] = "BYE sip:b@x SIP/2.0\r\nA: 1\r\nB: 1\r\nC: 1\r\nRoute:";
	ck_assert_mem_eq(b->p, want, sizeof(want) - 1);
	bytes_unref(b);
}
END_TEST

START_TEST(deletions_that_overlap_are_an_overflow)
{
	setup();
	sip_splice_replace(&sp, 10, 10, SPAN("x"));
	sip_splice_replace(&sp, 20, 5, SPAN("y")); /* side by side */
	ck_assert(!sp.overflow);
	sip_splice_replace(&sp, 19, 1, SPAN("z"));
	overflows();
	setup();
	sip_splice_replace(&sp, 10, 10, SPAN("x"));
	sip_splice_insert(&sp, 10, SPAN("y"));
	ck_assert(!sp.overflow);
	sip_splice_replace(&sp, 10, 2, SPAN("z"));
	overflows();
	setup();
	sip_splice_replace(&sp, 10, 10, SPAN("x"));
	sip_splice_replace(&sp, 5, 6, SPAN("y"));
	overflows();
	setup();
	sip_splice_replace(&sp, 10, 10, SPAN("x"));
	sip_splice_insert(&sp, 15, SPAN("y"));
	overflows();
}
END_TEST

START_TEST(places_outside_the_message_are_an_overflow)
{
	setup();
	sip_splice_insert(&sp, m.len, SPAN("!"));
	ck_assert(!sp.overflow);
	sip_splice_insert(&sp, m.len + 1, SPAN("!"));
	overflows();
	setup();
	sip_splice_replace(&sp, 1, UINT32_MAX, SPAN("!"));
	overflows();
	setup();
	sip_splice_replace_span(&sp, SPAN("elsewhere"), SPAN("!"));
	overflows();
}
END_TEST

START_TEST(one_edit_more_than_there_is_room_for_is_an_overflow)
{
	setup();
	for (unsigned i = 0; i < SIP_SPLICE_MAX; i++)
		sip_splice_replace(&sp, 3 * i + 1, 1, SPAN("++"));
	struct iovec iov[SIP_SPLICE_IOV];
	ck_assert_int_eq(sip_splice_iov(&sp, iov), SIP_SPLICE_IOV);
	sip_splice_append(&sp, SPAN("X: 1\r\n"));
	overflows();
}
END_TEST

UNIT_MAIN("sip/splice", what_is_not_edited_leaves_as_it_came,
	  a_forwarded_request_is_edited_in_any_order,
	  first_value_goes_with_its_field_when_it_is_the_only_one,
	  prepend_without_such_a_field_goes_in_front_of_the_first,
	  insertions_at_one_place_stand_in_the_order_they_were_added,
	  deletions_that_overlap_are_an_overflow, places_outside_the_message_are_an_overflow,
	  one_edit_more_than_there_is_room_for_is_an_overflow)
