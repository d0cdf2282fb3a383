/*
 * Digest authentication, server side: RFC 3261 22, RFC 7616, RFC 8760.  SHA-256 is offered
 * first, MD5 after it.  Nonces are stateless (time and a keyed MAC over realm and time); only
 * replayed nonce counts need memory (a window per nonce, bounded).
 */
#ifndef EAVES_AUTH_DIGEST_H
#define EAVES_AUTH_DIGEST_H

#include "common/base/mac.h"
#include "common/sip/values.h"

struct auth;

struct auth_conf {
	const char *realm;
	uint32_t nonce_life_s;	/* default 300: older ones are stale */
	bool md5, sha256;	/* algorithms offered and accepted */
	uint32_t replay_nonces; /* nonces whose counts are remembered; default 65536 */
	bool replay_check;	/* nc must be new within its nonce; default true */
};
extern const struct auth_conf auth_conf_default;

/* What is kept of a password.  Never logged. */
struct auth_ha1 {
	bool has_md5, has_sha256;
	unsigned char md5[16], sha256[32];
};
/* H(user ":" realm ":" password) in both; 0 or -EIO. */
int auth_ha1_make(struct span user, struct span realm, struct span password,
		  struct auth_ha1 *ret);

enum auth_result {
	AUTH_OK,
	AUTH_REPEAT, /* right, but it is the latest request with this nonce once more, to the
		      * byte (a retransmission): harmless where the request is idempotent, else
		      * as WRONG */
	AUTH_NONE,   /* no credentials for our realm: challenge */
	AUTH_STALE, /* the nonce is not in force (not ours, of another source, old, of a time of
		     * which not all uses are known: before a restart, while the other member
		     * was away), whatever the response; or that was right, but the nonce was
		     * pushed out of the replay table or used twice without qop: challenge with
		     * stale=true */
	AUTH_WRONG, /* wrong response, unknown user, replayed nc: challenge */
	AUTH_BAD,   /* unintelligible, or uri= names another user or host than the Request-URI
		     * (scheme, port and parameters are a proxy's to change): 400 */
};
enum auth_side { AUTH_UAS /* 401, Authorization */, AUTH_PROXY /* 407, Proxy-Authorization */ };

/* Finds the keys of a user; false when there is none (the check then does the same work on a
 * dummy and gives AUTH_WRONG: same answer, same cost). */
typedef bool (*auth_lookup)(void *arg, struct span user, struct auth_ha1 *ret);

/* Thread-safe: one for the process.  NULL: out of memory. */
struct auth *auth_new(const struct auth_conf *c, const struct mac_key *nonce_key);
void auth_free(struct auth *a);
/*
 * Two members of a pair, with one nonce key, take each other's nonces: each tells the other of
 * every use (told: from any thread, not to call back), which is handed to auth_use_of_other()
 * there.  auth_share_since(): uses of nonces made before that time (wall clock) may be unknown,
 * since the other could not tell us: such nonces are stale, our own too, which the other takes;
 * an earlier time than the latest changes nothing.  auth_share_again(): the other can be told
 * (again); it is, of all uses of nonces made in the last 128*T1, as far as we know them, and of
 * how far that is (told gets some at once, each of AUTH_USE_BYTES); and as it does the same,
 * nonces of before the last 64*T1 are stale.  A request that is repeated to the byte (RFC 3261
 * 17.1.2.2), and that one of the two is known to have let through, is AUTH_REPEAT with a stale
 * nonce too: who is asked anew makes another one of it.  Call auth_share() before any thread,
 * the others in one thread: 0 or -ENOMEM.
 */
enum { AUTH_USE_BYTES = 36 };
int auth_share(struct auth *a, void (*told)(void *arg, struct span use), void *arg,
	       uint64_t wall_ms);
void auth_share_since(struct auth *a, uint64_t wall_ms);
/* heard_to_end: the process that was there before is known to have ended, and all that it told
 * has come: whatever the next one says that it cannot tell of is known here, and it is told so,
 * for it to take what we take. */
void auth_share_again(struct auth *a, bool heard_to_end, uint64_t wall_ms);
/* wall_ms: now.  0 or -EINVAL. */
int auth_use_of_other(struct auth *a, struct span use, bool heard_to_end, uint64_t wall_ms);
/* src: where the request came from; a nonce is good for the source that was challenged.
 * *ret_user: user name as authenticated (in the arena), set with OK, STALE and WRONG (as
 * claimed). */
enum auth_result auth_check(struct auth *a, const struct sip_msg *req, enum auth_side side,
			    const struct addr *src, auth_lookup lookup, void *lookup_arg,
			    uint64_t wall_ms, struct span *ret_user);
/* Header lines of a challenge, one per algorithm, in the arena; empty when it is full. */
struct span auth_challenge(struct auth *a, enum auth_side side, const struct addr *src,
			   bool stale, uint64_t wall_ms);

#endif
