/*
 * Between the files of common/auth: hashes, nonces and the window of nonce counts.
 */
#ifndef EAVES_AUTH_PRIV_H
#define EAVES_AUTH_PRIV_H

#include "common/auth/digest.h"

#include <stdatomic.h>

enum auth_algorithm { AUTH_SHA256, AUTH_MD5, AUTH_ALGORITHMS }; /* strongest first */

enum { AUTH_HASH_MAX = 32 };

/* 64*T1: so long a client repeats a request without an answer (RFC 3261 17.1.2.2, timer F). */
enum { AUTH_REPEAT_MS = 32000 };

/* Bytes of a hash. */
static inline size_t auth_hash_len(enum auth_algorithm alg)
{
	return alg == AUTH_MD5 ? 16 : 32;
}

/* Fetches the algorithms, once for the process.  0, or -EIO when OpenSSL refuses one. */
int auth_hash_init(void);
/* H(v[0] ":" v[1] ... ":" v[n-1]) by the thread's own contexts.  0 or -EIO. */
int auth_hash(enum auth_algorithm alg, const struct span *v, unsigned n,
	      unsigned char ret[AUTH_HASH_MAX]);
/* The same for H(a ":" b) in hexadecimal digits, of what is no secret: the thread's latest is
 * remembered. */
int auth_hash_hex(enum auth_algorithm alg, struct span a, struct span b,
		  char ret[2 * AUTH_HASH_MAX]);
/* 2 * n lower-case digits. */
void auth_hex(const unsigned char *v, size_t n, char *out);
/* n bytes from 2 * n digits of either case; false when they are none. */
bool auth_unhex(struct span s, unsigned char *out, size_t n);

/* What a nonce says; the text is 12, 8, 8 and 16 hexadecimal digits: time, instance, serial,
 * MAC. */
struct nonce {
	uint64_t time_ms;
	uint32_t
		instance; /* of the process that made it: windows are not shared between them */
	uint32_t serial;  /* no two challenges share a nonce: each has its own window */
};

enum { NONCE_LEN = 12 + 8 + 8 + 16 };

/* realm: the MAC's state with the realm in it. */
void nonce_write(const struct mac *realm, const struct nonce *n, const struct addr *src,
		 char out[NONCE_LEN]);
/* False unless the text is a nonce made with the same key for the same realm and source (its
 * port may change). */
bool nonce_read(const struct mac *realm, struct span text, const struct addr *src,
		struct nonce *ret);

/* Which nonce counts were used.  Thread-safe, bounded. */
struct replay;

enum replay_result { REPLAY_NEW, REPLAY_REPEAT, REPLAY_SEEN, REPLAY_FORGOTTEN };

/* One use of a nonce. */
struct replay_use {
	uint32_t nc;	 /* 0: credentials without qop, one use for the whole nonce */
	uint64_t digest; /* of the whole request */
	uint64_t wall_ms;
};

/* NULL: out of memory.  nonces: how many are remembered, rounded up to a power of 2. */
struct replay *replay_new(uint32_t nonces);
void replay_free(struct replay *r);
/* From now on any request that was let through is known when it is repeated, not only the
 * latest of each nonce.  0 or -ENOMEM. */
int replay_share(struct replay *r);
/*
 * Marks a count of nonce n as used.  REPEAT: the latest use once more, by the same request to
 * the byte, within the time that a client retransmits (replay_share: any use).  SEEN: used
 * before, or below the window. FORGOTTEN: the nonce had to make room for newer ones (or was,
 * without qop, used before): it must not be accepted any more.
 */
enum replay_result replay_mark(struct replay *r, const struct nonce *n,
			       const struct replay_use *use);

typedef void (*replay_each_use)(void *arg, const struct nonce *n, const struct replay_use *use);
/* All uses that are known of nonces made at since_ms or later: of each nonce the latest one
 * first; of the others the request is not known (digest 0).  Gives the time of the newest nonce
 * that had to make room, or 0. */
uint64_t replay_each(struct replay *r, uint64_t since_ms, replay_each_use each, void *arg);
/* replay_share: was this very request let through not long ago?  Nothing is marked. */
bool replay_passed(struct replay *r, const struct replay_use *use);

/* fingerprint.c */
enum { FINGERPRINT_WORDS = 16 };
struct fingerprint {
	uint64_t point;
	uint64_t key[FINGERPRINT_WORDS];
};
/* The same key gives the same function: the members of a pair have it in common. */
void fingerprint_init(struct fingerprint *f, const struct mac_key *key);
/* Below 2^61; the same for the same bytes. */
uint64_t fingerprint_of(const struct fingerprint *f, struct span s);

struct auth {
	struct auth_conf conf;
	struct span realm; /* a copy of our own */
	struct mac realm_mac;
	struct fingerprint request; /* for telling a retransmission from a replay */
	uint32_t instance;
	atomic_uint serial;
	struct replay *replay;
	void (*told)(void *arg,
		     struct span use); /* NULL: the counts are nobody else's affair */
	void *told_arg;
	uint64_t shared_ms;	   /* what we take of nonces made since then we can tell of */
	_Atomic uint64_t since_ms; /* nonces of before, by whomever, may have been used */
	atomic_uint since_serial;  /* ours of before that was said */
	struct auth_ha1 dummy;
	/* Challenge line as far as the nonce's opening quote, by side and algorithm. */
	struct span prefix[2][AUTH_ALGORITHMS];
};

/* shared.c: tells the other member of a use. */
void auth_tell(const struct auth *a, const struct nonce *n, const struct replay_use *use);
/* Are all uses of the nonce known? */
bool auth_knows(const struct auth *a, const struct nonce *n);

static inline bool auth_offers(const struct auth *a, enum auth_algorithm alg)
{
	return alg == AUTH_MD5 ? a->conf.md5 : a->conf.sha256;
}

#endif
