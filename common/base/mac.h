/*
 * Keyed hash (SipHash-2-4, 64 bits) over a sequence of fields: branches, tags, flow tokens,
 * nonces and hash tables that an attacker must not be able to fill.  Every field is framed by
 * its length, so ("ab","c") and ("a","bc") differ.  See docs/decisions/0001-siphash.md.
 */
#ifndef EAVES_BASE_MAC_H
#define EAVES_BASE_MAC_H

#include "common/base/span.h"

struct mac_key {
	uint64_t k0, k1;
};

struct mac {
	uint64_t v0, v1, v2, v3;
	uint64_t total; /* bytes so far */
};

/* A key for one purpose ("branch", "nonce", ...) derived from the cluster's secret. */
struct mac_key mac_derive_key(struct span secret, const char *purpose);

void mac_init(struct mac *m, const struct mac_key *k);
void mac_add(struct mac *m, struct span field);
/* ASCII letters are folded to lower case first (hosts). */
void mac_add_icase(struct mac *m, struct span field);
void mac_add_u64(struct mac *m, uint64_t v);
uint64_t mac_final(struct mac *m);
/* Shorthand: one field. */
uint64_t mac_span(const struct mac_key *k, struct span field);

/* 16 lower-case hexadecimal digits, no NUL. */
void mac_hex(uint64_t v, char out[16]);
/* 0 and *ret_v, or -EINVAL unless s is 16 hexadecimal digits (lower case). */
int mac_unhex(struct span s, uint64_t *ret_v);
/* Compares in constant time. */
bool mac_equal(uint64_t a, uint64_t b);

/* Random bytes from the operating system; aborts the process if it has none. */
void mac_random(void *p, size_t n);

#endif
