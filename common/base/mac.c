/*
 * SipHash-2-4 (Aumasson and Bernstein) over whole words; why it is written here is told in
 * docs/decisions/0001-siphash.md.
 */
#include "common/base/mac.h"

#include <endian.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <stdlib.h>

static inline uint64_t rotl(uint64_t v, unsigned b)
{
	return v << b | v >> (64 - b);
}

static inline void sip_round(struct mac *m)
{
	m->v0 += m->v1;
	m->v1 = rotl(m->v1, 13) ^ m->v0;
	m->v0 = rotl(m->v0, 32);
	m->v2 += m->v3;
	m->v3 = rotl(m->v3, 16) ^ m->v2;
	m->v0 += m->v3;
	m->v3 = rotl(m->v3, 21) ^ m->v0;
	m->v2 += m->v1;
	m->v1 = rotl(m->v1, 17) ^ m->v2;
	m->v2 = rotl(m->v2, 32);
}

static inline void word(struct mac *m, uint64_t w)
{
	m->total += 8;
	m->v3 ^= w;
	sip_round(m);
	sip_round(m);
	m->v0 ^= w;
}

void mac_init(struct mac *m, const struct mac_key *k)
{
	m->v0 = k->k0 ^ 0x736f6d6570736575u;
	m->v1 = k->k1 ^ 0x646f72616e646f6du;
	m->v2 = k->k0 ^ 0x6c7967656e657261u;
	m->v3 = k->k1 ^ 0x7465646279746573u;
	m->total = 0;
}

void mac_add_u64(struct mac *m, uint64_t v)
{
	word(m, v);
}

/* Every field starts on a word of its own, behind its length: no two lists of fields collide by
 * their framing. */
void mac_add(struct mac *m, struct span f)
{
	struct mac s = *m; /* a copy can live in registers: f may not point into it */
	uint64_t w;
	size_t i = 0;
	word(&s, f.n);
	for (; i + 8 <= f.n; i += 8) {
		memcpy(&w, f.p + i, 8);
		word(&s, w);
	}
	if (i < f.n) {
		if (f.n >= 8) { /* the last eight bytes, without those that are in already */
			memcpy(&w, f.p + f.n - 8, 8);
			w >>= 8 * (8 - (f.n - i));
		} else {
			w = 0;
			memcpy(&w, f.p, f.n);
		}
		word(&s, w);
	}
	*m = s;
}

/* Eight letters to lower case at once; bytes above 0x7f stay. */
static inline uint64_t fold8(uint64_t w)
{
	const uint64_t ones = 0x0101010101010101u, low = w & 0x7f * ones;
	uint64_t from_a = low + (0x80 - 'A') * ones, above_z = low + (0x80 - 'Z' - 1) * ones;
	return w | ((from_a ^ above_z) & ~w & 0x80 * ones) >> 2;
}

void mac_add_icase(struct mac *m, struct span f)
{
	mac_add_u64(m, f.n);
	for (size_t i = 0; i < f.n; i += 8) {
		uint64_t w = 0;
		memcpy(&w, f.p + i, f.n - i < 8 ? f.n - i : 8);
		word(m, fold8(w));
	}
}

uint64_t mac_final(struct mac *m)
{
	uint64_t bytes = m->total;
	word(m, bytes << 56);
	m->v2 ^= 0xff;
	for (int i = 0; i < 4; i++)
		sip_round(m);
	return m->v0 ^ m->v1 ^ m->v2 ^ m->v3;
}

uint64_t mac_span(const struct mac_key *k, struct span field)
{
	struct mac m;
	mac_init(&m, k);
	mac_add(&m, field);
	return mac_final(&m);
}

struct mac_key mac_derive_key(struct span secret, const char *purpose)
{
	static const struct mac_key zero = {0, 0};
	struct mac_key k;
	uint64_t *half[2] = {&k.k0, &k.k1};
	for (uint64_t i = 0; i < 2; i++) {
		struct mac m;
		mac_init(&m, &zero);
		mac_add(&m, secret);
		mac_add(&m, span_str(purpose));
		mac_add_u64(&m, i);
		*half[i] = mac_final(&m);
	}
	return k;
}

/* The eight digits of v, the first in the lowest byte: a digit a byte, then what is above 9
 * moved on to the letters. */
static uint64_t hex8(uint32_t v)
{
	const uint64_t ones = 0x0101010101010101u;
	uint64_t w = __builtin_bswap32(v);
	w = (w | w << 16) & 0x0000ffff0000ffffu;
	w = (w | w << 8) & 0x00ff00ff00ff00ffu;
	w = (w >> 4 & 0x0f * ones) | (w & 0x0f * ones) << 8;
	uint64_t letters = (w + 6 * ones) >> 4 & ones;
	return htole64(w + '0' * ones + letters * ('a' - '0' - 10));
}

void mac_hex(uint64_t v, char out[16])
{
	for (int half = 0; half < 2; half++, v <<= 32) {
		uint64_t w = hex8((uint32_t)(v >> 32));
		memcpy(out + 8 * half, &w, 8);
	}
}

int mac_unhex(struct span s, uint64_t *ret_v)
{
	uint64_t v = 0;
	if (s.n != 16)
		return -EINVAL;
	for (size_t i = 0; i < 16; i++) {
		char c = s.p[i];
		if (c >= '0' && c <= '9')
			v = v << 4 | (uint64_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			v = v << 4 | (uint64_t)(c - 'a' + 10);
		else
			return -EINVAL;
	}
	*ret_v = v;
	return 0;
}

bool mac_equal(uint64_t a, uint64_t b)
{
	return CRYPTO_memcmp(&a, &b, sizeof(a)) == 0;
}

void mac_random(void *p, size_t n)
{
	if (RAND_bytes(p, (int)n) != 1)
		abort();
}
