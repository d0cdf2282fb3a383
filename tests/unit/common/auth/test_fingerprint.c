/* Fingerprints of requests, and the hash that is remembered. */
#include "common/auth/auth_priv.h"
#include "tests/unit/unit.h"

#include <stdlib.h>

static const uint64_t prime = ((uint64_t)1 << 61) - 1;

static uint64_t multiply(uint64_t a, uint64_t b, uint64_t c)
{
	return (uint64_t)(((unsigned __int128)a * b + c) % prime);
}

/* The definition: a polynomial of the length and three parts of the NH of each block. */
static uint64_t by_definition(const struct fingerprint *f, const char *p, size_t n)
{
	uint64_t sum = n;
	for (size_t at = 0; at < n; at += 8 * FINGERPRINT_WORDS) {
		uint64_t w[FINGERPRINT_WORDS] = {0};
		unsigned __int128 nh = 0;
		memcpy(w, p + at, n - at < sizeof(w) ? n - at : sizeof(w));
		for (unsigned i = 0; i < FINGERPRINT_WORDS; i += 2)
			nh += (unsigned __int128)(w[i] + f->key[i]) *
			      (w[i + 1] + f->key[i + 1]);
		for (unsigned i = 0; i < 3; i++, nh >>= 43)
			sum = multiply(sum, f->point, (uint64_t)nh & (((uint64_t)1 << 43) - 1));
	}
	return sum;
}

START_TEST(a_fingerprint_is_what_its_definition_says)
{
	struct fingerprint f;
	for (size_t n = 0; n < 300; n++) {
		char *p = malloc(n + 1); /* one more, so that an empty one is none */
		ck_assert_ptr_nonnull(p);
		mac_random(p, n + 1);
		struct mac_key key;
		mac_random(&key, sizeof(key));
		fingerprint_init(&f, &key);
		char *exact = malloc(n ? n : 1);
		ck_assert_ptr_nonnull(exact);
		memcpy(exact, p, n);
		ck_assert_uint_eq(fingerprint_of(&f, span_of(exact, n)),
				  by_definition(&f, p, n));
		free(exact);
		free(p);
	}
}
END_TEST

START_TEST(a_changed_bit_or_length_gives_another_fingerprint)
{
	struct fingerprint f;
	char text[150] = {0};
	struct mac_key key;
	mac_random(&key, sizeof(key));
	fingerprint_init(&f, &key);
	for (size_t n = 0; n < sizeof(text); n++) {
		uint64_t was = fingerprint_of(&f, span_of(text, n));
		ck_assert(was != fingerprint_of(&f, span_of(text, n + 1)));
		for (size_t bit = 0; bit < 8 * n; bit++) {
			text[bit / 8] ^= (char)(1 << bit % 8);
			ck_assert(was != fingerprint_of(&f, span_of(text, n)));
			text[bit / 8] ^= (char)(1 << bit % 8);
		}
	}
}
END_TEST

START_TEST(what_was_remembered_is_given_for_the_same_fields_only)
{
	static const struct {
		struct span a, b;
	} v[] = {
		{SPAN("REGISTER"), SPAN("sip:example.com")},
		{SPAN("REGISTER"), SPAN("sip:example.com")},
		{SPAN("REGISTERs"), SPAN("ip:example.com")},
		{SPAN("REGISTER"), SPAN("sip:example.org")},
		{SPAN("REGISTER"), SPAN("")},
		{SPAN("INVITE"), SPAN("sip:example.com")},
	};
	static char big[400];
	char got[64], want[64];
	unsigned char hash[32];

	ck_assert_int_eq(auth_hash_init(), 0);
	memset(big, 'x', sizeof(big));
	for (unsigned i = 0; i < 4 * sizeof(v) / sizeof(v[0]); i++) {
		unsigned alg = i % 2, k = i / 4;
		struct span f[] = {v[k].a, i % 3 ? v[k].b : span_of(big, 180 + i)};
		size_t n = auth_hash_len(alg);
		ck_assert_int_eq(auth_hash(alg, f, 2, hash), 0);
		auth_hex(hash, n, want);
		for (unsigned again = 0; again < 2; again++) {
			ck_assert_int_eq(auth_hash_hex(alg, f[0], f[1], got), 0);
			ck_assert_mem_eq(got, want, 2 * n);
		}
	}
}
END_TEST

UNIT_MAIN("auth fingerprint", a_fingerprint_is_what_its_definition_says,
	  a_changed_bit_or_length_gives_another_fingerprint,
	  what_was_remembered_is_given_for_the_same_fields_only)
