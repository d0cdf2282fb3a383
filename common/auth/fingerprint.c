/*
 * The fingerprint of a request, as VHASH (Krovetz and Dai, 2007) has it: NH takes blocks of 128
 * bytes to 128 bits, a polynomial modulo 2^61 - 1 at a secret point takes these and the length
 * to 61.  Who does not know the key, drawn at the start, finds two texts with the same
 * fingerprint with a chance of about blocks / 2^59 a try, and fingerprints never leave the
 * process: that is what telling a retransmission from a replay needs, at a quarter of what
 * SipHash costs.
 */
#include "common/auth/auth_priv.h"

#define P61 (((uint64_t)1 << 61) - 1)

enum { BLOCK = 8 * FINGERPRINT_WORDS };

/* a * b + c modulo 2^61 - 1, at most a little above it, for all three below 2^62. */
static inline uint64_t mul_add(uint64_t a, uint64_t b, uint64_t c)
{
	unsigned __int128 v = (unsigned __int128)a * b + c;
	uint64_t s = ((uint64_t)v & P61) + (uint64_t)(v >> 61);
	return (s & P61) + (s >> 61);
}

static inline uint64_t word_at(const char *p)
{
	uint64_t w;
	memcpy(&w, p, sizeof(w));
	return w;
}

/* The block into the polynomial: three coefficients of 43, 43 and 42 bits. */
static uint64_t add_block(const struct fingerprint *f, uint64_t sum, const char *p)
{
	const uint64_t low = ((uint64_t)1 << 43) - 1;
	unsigned __int128 nh = 0;

	for (unsigned i = 0; i < FINGERPRINT_WORDS; i += 2)
		nh += (unsigned __int128)(word_at(p + 8 * i) + f->key[i]) *
		      (word_at(p + 8 * i + 8) + f->key[i + 1]);
	sum = mul_add(sum, f->point, (uint64_t)nh & low);
	sum = mul_add(sum, f->point, (uint64_t)(nh >> 43) & low);
	return mul_add(sum, f->point, (uint64_t)(nh >> 86));
}

void fingerprint_init(struct fingerprint *f, const struct mac_key *key)
{
	struct mac m;
	for (unsigned i = 0; i <= FINGERPRINT_WORDS; i++) {
		mac_init(&m, key);
		mac_add(&m, SPAN("fingerprint"));
		mac_add_u64(&m, i);
		if (i < FINGERPRINT_WORDS)
			f->key[i] = mac_final(&m);
		else
			f->point = mac_final(&m) % (P61 - 1) + 1;
	}
}

uint64_t fingerprint_of(const struct fingerprint *f, struct span s)
{
	const char *p = s.p;
	size_t left = s.n;
	uint64_t sum = s.n;

	for (; left >= BLOCK; p += BLOCK, left -= BLOCK)
		sum = add_block(f, sum, p);
	if (left) {
		char last[BLOCK] = {0};
		memcpy(last, p, left);
		sum = add_block(f, sum, last);
	}
	return sum >= P61 ? sum - P61 : sum;
}
