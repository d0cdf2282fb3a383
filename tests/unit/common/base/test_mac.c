/*
 * The keyed hash against OpenSSL's SIPHASH, and the framing of its fields.
 */
#include "common/base/mac.h"

#include "tests/unit/unit.h"

#include <openssl/evp.h>
#include <openssl/params.h>

/* What OpenSSL gives for the words that our framing makes of the fields. */
static uint64_t openssl_siphash(const struct mac_key *k, const void *p, size_t n)
{
	unsigned char out[8];
	size_t out_n = 0, size = sizeof(out);
	OSSL_PARAM params[] = {OSSL_PARAM_construct_size_t("size", &size), OSSL_PARAM_END};
	EVP_MAC *m = EVP_MAC_fetch(NULL, "SIPHASH", NULL);
	EVP_MAC_CTX *c = EVP_MAC_CTX_new(m);
	uint64_t v;
	ck_assert_int_eq(EVP_MAC_init(c, (const unsigned char *)k, 16, params), 1);
	ck_assert_int_eq(EVP_MAC_update(c, p, n), 1);
	ck_assert_int_eq(EVP_MAC_final(c, out, &out_n, sizeof(out)), 1);
	EVP_MAC_CTX_free(c);
	EVP_MAC_free(m);
	memcpy(&v, out, sizeof(v));
	return v;
}

START_TEST(hash_is_siphash_2_4_of_the_framed_fields)
{
	struct mac_key k;
	char field[64], words[80];
	for (size_t n = 0; n <= sizeof(field); n++) {
		struct mac m;
		uint64_t len = n;
		size_t padded = (n + 7) / 8 * 8;
		mac_random(&k, sizeof(k));
		mac_random(field, sizeof(field));
		memset(words, 0, sizeof(words));
		memcpy(words, &len, 8);
		memcpy(words + 8, field, n);
		mac_init(&m, &k);
		mac_add(&m, span_of(field, n));
		ck_assert_uint_eq(mac_final(&m), openssl_siphash(&k, words, 8 + padded));
	}
}
END_TEST

START_TEST(fields_do_not_run_into_each_other)
{
	struct mac_key k = {1, 2};
	struct mac a, b;
	mac_init(&a, &k);
	mac_add(&a, SPAN("ab"));
	mac_add(&a, SPAN("c"));
	mac_init(&b, &k);
	mac_add(&b, SPAN("a"));
	mac_add(&b, SPAN("bc"));
	ck_assert_uint_ne(mac_final(&a), mac_final(&b));
}
END_TEST

START_TEST(case_is_folded_only_where_asked)
{
	struct mac_key k = {1, 2};
	struct mac a, b;
	mac_init(&a, &k);
	mac_add_icase(&a, SPAN("Example.COM-9"));
	mac_init(&b, &k);
	mac_add(&b, SPAN("example.com-9"));
	ck_assert_uint_eq(mac_final(&a), mac_final(&b));
	ck_assert_uint_ne(mac_span(&k, SPAN("Example")), mac_span(&k, SPAN("example")));
}
END_TEST

START_TEST(keys_differ_by_purpose_and_secret)
{
	struct mac_key a = mac_derive_key(SPAN("secret"), "branch");
	struct mac_key b = mac_derive_key(SPAN("secret"), "nonce");
	struct mac_key c = mac_derive_key(SPAN("Secret"), "branch");
	ck_assert_mem_ne(&a, &b, sizeof(a));
	ck_assert_mem_ne(&a, &c, sizeof(a));
}
END_TEST

START_TEST(hex_goes_both_ways_and_refuses_what_is_none)
{
	char text[16];
	uint64_t v;
	mac_hex(0x0123456789abcdefu, text);
	ck_assert_mem_eq(text, "0123456789abcdef", 16);
	ck_assert_int_eq(mac_unhex(span_of(text, 16), &v), 0);
	ck_assert_uint_eq(v, 0x0123456789abcdefu);
	ck_assert_int_lt(mac_unhex(span_of(text, 15), &v), 0);
	ck_assert_int_lt(mac_unhex(SPAN("0123456789abcdeF"), &v), 0);
	ck_assert_int_lt(mac_unhex(SPAN("0123456789abcdeg"), &v), 0);
}
END_TEST

UNIT_MAIN("mac", hash_is_siphash_2_4_of_the_framed_fields, fields_do_not_run_into_each_other,
	  case_is_folded_only_where_asked, keys_differ_by_purpose_and_secret,
	  hex_goes_both_ways_and_refuses_what_is_none)
