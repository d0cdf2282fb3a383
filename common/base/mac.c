/*
 * SipHash-2-4 (Aumasson and Bernstein) over whole words; why it is written here is told in
 * docs/decisions/0001-siphash.md.
 */
#include "common/base/mac.h"

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
	uint64_t w;
	size_t i = 0;
	mac_add_u64(m, f.n);
	for (; i + 8 <= f.n; i += 8) {
		memcpy(&w, f.p + i, 8);
		word(m, w);
	}
	if (i < f.n) {
		w = 0;
		memcpy(&w, f.p + i, f.n - i);
		word(m, w);
	}
}

void mac_add_icase(struct mac *m, struct span f)
{
	mac_add_u64(m, f.n);
	for (size_t i = 0; i < f.n; i += 8) {
		uint64_t w = 0;
		for (size_t k = 0; k < 8 && i + k < f.n; k++) {
			unsigned char c = (unsigned char)f.p[i + k];
			if (c >= 'A' && c <= 'Z')
				c |= 0x20;
			w |= (uint64_t)c << (8 * k);
		}
		word(m, w);
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

void mac_hex(uint64_t v, char out[16])
{
	static const char digits[] = "0123456789abcdef";
	for (int i = 15; i >= 0; i--, v >>= 4)
		out[i] = digits[v & 15];
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
