/*
 * The fingerprint of a request: a polynomial of its bytes, seven at a time, modulo 2^61 - 1 at
 * a secret point drawn at the start.  Who does not know the point finds two texts with the same
 * fingerprint with a chance of length / 7 / 2^61 a try, and fingerprints never leave the
 * process: that is what telling a retransmission from a replay needs, at a quarter of what
 * SipHash costs.  Four lanes, since one is a chain of multiplications.
 */
#include "common/auth/auth_priv.h"

#define P61 (((uint64_t)1 << 61) - 1)

enum { WORD = 7, LANES = 4 };

/* a * b + c, below 2^61 + 8, for a and b below 2^62. */
static inline uint64_t mul_add(uint64_t a, uint64_t b, uint64_t c)
{
	unsigned __int128 v = (unsigned __int128)a * b + c;
	uint64_t s = ((uint64_t)v & P61) + (uint64_t)(v >> 61);
	return (s & P61) + (s >> 61);
}

static inline uint64_t word_at(const char *p)
{
	uint64_t w;
	memcpy(&w, p, 8);
	return w & (((uint64_t)1 << 56) - 1);
}

void fingerprint_init(struct fingerprint *f)
{
	uint64_t r;
	mac_random(&r, sizeof(r));
	f->r = r % (P61 - 1) + 1;
	f->r4 = mul_add(f->r, f->r, 0);
	f->r4 = mul_add(f->r4, f->r4, 0);
}

uint64_t fingerprint_of(const struct fingerprint *f, struct span s)
{
	const char *p = s.p, *end = s.p + s.n;
	uint64_t v[LANES] = {s.n, 0, 0, 0}, sum = 0;

	/* the last byte of a load belongs to the next word */
	for (; end - p > LANES * WORD; p += LANES * WORD)
		for (unsigned i = 0; i < LANES; i++)
			v[i] = mul_add(v[i], f->r4, word_at(p + i * WORD));
	for (unsigned i = 0; i < LANES; i++)
		sum = mul_add(sum, f->r, v[i]);
	for (; p < end; p += WORD) {
		uint64_t w = 0;
		memcpy(&w, p, end - p < WORD ? (size_t)(end - p) : WORD);
		sum = mul_add(sum, f->r, w);
	}
	return sum >= P61 ? sum - P61 : sum;
}
