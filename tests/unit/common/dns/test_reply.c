/*
 * Reading replies: every prefix and every changed byte of sound ones is either read or refused.
 */
#include "common/dns/dns_priv.h"
#include "tests/unit/unit.h"

#include <errno.h>

/* Question _sip._udp.a, one SRV, TTL 300: 0 0 5060 b.a */
static const unsigned char srv_reply[] = "\x12\x34\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00"
					 "\x04_sip\x04_udp\x01"
					 "a\x00\x00\x21\x00\x01"
					 "\xc0\x0c\x00\x21\x00\x01\x00\x00\x01\x2c\x00\x0b"
					 "\x00\x00\x00\x00\x13\xc4\x01"
					 "b\x01"
					 "a";
/* The last NUL of the literal is the root label. */
enum { SRV_BYTES = sizeof(srv_reply) };

START_TEST(a_sound_srv_reply_is_read)
{
	struct dns_answer a;
	uint32_t ttl;

	dns_reply_read(srv_reply, SRV_BYTES, DNS_SRV, &a, &ttl);
	ck_assert_int_eq(a.error, 0);
	ck_assert_uint_eq(a.n, 1);
	ck_assert_uint_eq(ttl, 300);
	ck_assert_uint_eq(a.v[0].port, 5060);
	ck_assert_str_eq(a.v[0].target, "b.a");
}
END_TEST

START_TEST(every_prefix_of_a_reply_is_refused)
{
	for (size_t n = 0; n < SRV_BYTES; n++) {
		struct dns_answer a;
		uint32_t ttl;
		unsigned char *p =
			malloc(n ? n : 1); /* exact, so that sanitizers see overreads */

		ck_assert_ptr_nonnull(p);
		memcpy(p, srv_reply, n);
		dns_reply_read(p, n, DNS_SRV, &a, &ttl);
		ck_assert_int_eq(a.error, -EIO);
		ck_assert_uint_eq(a.n, 0);
		free(p);
	}
}
END_TEST

START_TEST(every_changed_byte_leaves_sound_names_or_none)
{
	for (size_t at = 0; at < SRV_BYTES; at++)
		for (unsigned v = 0; v < 256; v++) {
			unsigned char p[SRV_BYTES];
			struct dns_answer a;
			uint32_t ttl;

			memcpy(p, srv_reply, sizeof(p));
			p[at] = (unsigned char)v;
			for (int t = DNS_A; t <= DNS_NAPTR; t++) {
				dns_reply_read(p, sizeof(p), (enum dns_type)t, &a, &ttl);
				ck_assert_uint_le(a.n, DNS_RECORDS_MAX);
				if (t == DNS_SRV && a.n)
					ck_assert_ptr_null(strpbrk(a.v[0].target, " \r\n<>\\"));
			}
		}
}
END_TEST

START_TEST(a_ttl_with_the_top_bit_set_counts_as_zero)
{
	unsigned char p[SRV_BYTES];
	uint32_t ttl = 1;

	memcpy(p, srv_reply, sizeof(p));
	p[35] = 0x80;
	ck_assert_int_eq(dns_reply_ttl(p, sizeof(p), &ttl), 0);
	ck_assert_uint_eq(ttl, 0);
}
END_TEST

UNIT_MAIN("dns reply", a_sound_srv_reply_is_read, every_prefix_of_a_reply_is_refused,
	  every_changed_byte_leaves_sound_names_or_none,
	  a_ttl_with_the_top_bit_set_counts_as_zero)
