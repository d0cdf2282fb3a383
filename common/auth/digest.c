/*
 * The check of a request's credentials: RFC 3261 22.4, RFC 7616 3.4, RFC 8760 2.  Not here: who
 * is challenged and what an authenticated user may do (the roles); the making of challenges
 * (challenge.c).
 */
#include "common/auth/auth_priv.h"

#include <errno.h>
#include <openssl/crypto.h>

/* Fields looked at in one request: RFC 8760 has a client send one per realm. */
enum { HEADERS_MAX = 8 };

/* A clock of the other member may be this much ahead of ours. */
enum { SKEW_MS = 30000 };

struct attempt {
	struct sip_credentials cred;
	enum auth_algorithm alg;
	bool has_qop;
	uint32_t nc; /* 0 without qop */
	unsigned char response[AUTH_HASH_MAX];
};

/* Without the parameter it is MD5 (RFC 7616 3.3).  False: none of ours. */
static bool algorithm_of(const struct auth *a, struct span name, enum auth_algorithm *ret)
{
	if (!name.p || span_ieq(name, SPAN("MD5")))
		*ret = AUTH_MD5;
	else if (span_ieq(name, SPAN("SHA-256")))
		*ret = AUTH_SHA256;
	else
		return false;
	return auth_offers(a, *ret);
}

/*
 * The credentials for our realm with the strongest algorithm.  1: found; 0: none;
 * -EINVAL: none, and one that could not be understood.
 */
static int choose(const struct auth *a, const struct sip_msg *req, enum auth_side side,
		  struct attempt *ret)
{
	enum sip_hdr_kind kind =
		side == AUTH_UAS ? SIP_HDR_AUTHORIZATION : SIP_HDR_PROXY_AUTHORIZATION;
	const struct sip_hdr *h = sip_msg_first(req, kind);
	bool found = false, bad = false;

	for (unsigned i = 0; h && i < HEADERS_MAX; h = sip_msg_next(req, h), i++) {
		struct sip_credentials c;
		enum auth_algorithm alg;
		int r = sip_credentials_parse(sip_hdr_value(req, h), &c);

		if (r < 0) {
			bad |= r != -EPROTONOSUPPORT;
			continue;
		}
		if (!span_eq(c.realm, a->realm) || !algorithm_of(a, c.algorithm, &alg))
			continue;
		if (found && alg >= ret->alg)
			continue;
		found = true;
		ret->cred = c;
		ret->alg = alg;
	}
	if (found)
		return 1;
	return bad ? -EINVAL : 0;
}

/* nc is 8 hexadecimal digits (RFC 7616 3.4), and counts from 1. */
static bool nc_parse(struct span s, uint32_t *ret)
{
	unsigned char v[4];

	if (!auth_unhex(s, v, sizeof(v)))
		return false;
	*ret = (uint32_t)v[0] << 24 | (uint32_t)v[1] << 16 | (uint32_t)v[2] << 8 | v[3];
	return *ret != 0;
}

/*
 * The form of the credentials.  Without qop the hash is RFC 2069's, which is MD5's alone
 * (RFC 8760 2.6); auth-int was not offered.
 */
static bool well_formed(struct attempt *t)
{
	const struct sip_credentials *c = &t->cred;

	if (!c->username.p || !c->nonce.p || !c->uri.p || !c->response.p)
		return false;
	if (!auth_unhex(c->response, t->response, auth_hash_len(t->alg)))
		return false;
	t->has_qop = c->qop.p != NULL;
	t->nc = 0;
	if (!t->has_qop)
		return t->alg == AUTH_MD5;
	return span_ieq(c->qop, SPAN("auth")) && c->cnonce.n > 0 && nc_parse(c->nc, &t->nc);
}

/*
 * uri= against the Request-URI.  A proxy on the way may have changed scheme, port and
 * parameters (RFC 3261 16.4 to 16.6, and 22.4's note), so these are not compared: user and host
 * must be the same.  Of other schemes than sip and sips the whole text, without regard to case.
 */
static bool uri_fits(struct span claimed, struct span request_uri)
{
	struct sip_uri c, r;

	if (span_eq(claimed, request_uri))
		return true;
	if (sip_uri_parse(claimed, &c) < 0 || sip_uri_parse(request_uri, &r) < 0 ||
	    c.scheme == SIP_SCHEME_TEL || r.scheme == SIP_SCHEME_TEL)
		return span_ieq(claimed, request_uri);
	return span_eq(c.user, r.user) && span_ieq(c.host, r.host);
}

/* The response that the right password gives (RFC 7616 3.4.1, or 3.4.6 without qop). */
static int expected_response(const struct attempt *t, struct span method,
			     const struct auth_ha1 *keys, unsigned char ret[AUTH_HASH_MAX])
{
	size_t len = auth_hash_len(t->alg);
	char hex1[2 * AUTH_HASH_MAX], hex2[2 * AUTH_HASH_MAX];
	struct span v[6];
	unsigned n = 0;

	if (auth_hash_hex(t->alg, method, t->cred.uri, hex2) < 0)
		return -EIO;
	auth_hex(t->alg == AUTH_MD5 ? keys->md5 : keys->sha256, len, hex1);
	v[n++] = span_of(hex1, 2 * len);
	v[n++] = t->cred.nonce;
	if (t->has_qop) {
		v[n++] = t->cred.nc;
		v[n++] = t->cred.cnonce;
		v[n++] = t->cred.qop;
	}
	v[n++] = span_of(hex2, 2 * len);
	return auth_hash(t->alg, v, n, ret);
}

/* Unsure: not all of its uses are known. */
enum force { NOT_IN_FORCE, UNSURE, IN_FORCE };

/*
 * Is it a nonce of ours, for this source, and young enough?  Asked before the response is
 * looked at: a guess counts against a source only when a challenge has reached that source, so
 * nobody can have another one locked by forging his address; and without such a nonce a guess
 * learns nothing.
 */
static enum force force_of(const struct auth *a, const struct attempt *t,
			   const struct addr *src, uint64_t wall_ms, struct nonce *ret)
{
	uint64_t life_ms = (uint64_t)a->conf.nonce_life_s * 1000;

	if (!nonce_read(&a->realm_mac, t->cred.nonce, src, ret))
		return NOT_IN_FORCE;
	if (ret->time_ms > wall_ms + SKEW_MS || ret->time_ms + life_ms < wall_ms)
		return NOT_IN_FORCE;
	/* Counts of another process are unknown: ourselves before a restart, or the other
	 * member unless it tells us; and it takes nonces of ours. */
	return !a->replay || auth_knows(a, ret) ? IN_FORCE : a->told ? UNSURE : NOT_IN_FORCE;
}

/*
 * What a request is known by when it comes once more.  By way of another node some fields
 * change (the hops' own, and what one node tells the other): these are left out, but for the
 * branch that its sender gave it, the last Via's.
 */
static uint64_t digest_of(const struct auth *a, const struct sip_msg *req)
{
	struct span all = span_of(req->base, req->len);
	struct sip_list_it it = {0};
	struct span v, first = {NULL, 0};
	struct sip_via via;
	if (!a->told)
		return fingerprint_of(&a->request, all);
	char *copy = arena_alloc(sip_arena(), req->len), *p = copy;
	if (!copy)
		return fingerprint_of(&a->request, all);
	while (sip_list_next(req, SIP_HDR_VIA, &it, &v))
		first = v;
	if (first.p && sip_via_parse(first, &via) == 0 && via.branch.n) {
		memcpy(p, via.branch.p, via.branch.n);
		p += via.branch.n;
	}
	for (unsigned i = 0; i < req->nhdr; i++) {
		const struct sip_hdr *h = &req->hdr[i];
		if (h->kind == SIP_HDR_VIA || h->kind == SIP_HDR_EAVES_LINK ||
		    h->kind == SIP_HDR_MAX_FORWARDS || h->kind == SIP_HDR_RECORD_ROUTE ||
		    h->kind == SIP_HDR_PATH)
			continue;
		memcpy(p, req->base + h->off, h->len);
		p += h->len;
	}
	memcpy(p, req->base + req->body_off, req->body_len);
	p += req->body_len;
	return fingerprint_of(&a->request, span_of(copy, (size_t)(p - copy)));
}

/* The response was right: was this count of the nonce used before? */
static enum auth_result check_count(struct auth *a, const struct sip_msg *req,
				    const struct attempt *t, const struct nonce *n,
				    uint64_t wall_ms)
{
	struct replay_use use = {.nc = t->nc, .wall_ms = wall_ms};

	if (!a->replay)
		return AUTH_OK;
	use.digest = digest_of(a, req);
	switch (replay_mark(a->replay, n, &use)) {
	case REPLAY_NEW:
		auth_tell(a, n, &use);
		return AUTH_OK;
	case REPLAY_REPEAT:
		return AUTH_REPEAT;
	case REPLAY_SEEN:
		return AUTH_WRONG;
	case REPLAY_FORGOTTEN:
		break;
	}
	return AUTH_STALE;
}

/* It may have been used by who could not tell us: only what is known to have been let through
 * is taken, once more. */
static enum auth_result check_known(struct auth *a, const struct sip_msg *req,
				    const struct attempt *t, uint64_t wall_ms)
{
	const struct replay_use use = {
		.nc = t->nc, .digest = digest_of(a, req), .wall_ms = wall_ms};

	return replay_passed(a->replay, &use) ? AUTH_REPEAT : AUTH_STALE;
}

/* Looks the user up and compares; an unknown one costs the same (a dummy's key). */
static enum auth_result check_response(struct auth *a, const struct sip_msg *req,
				       const struct attempt *t, auth_lookup lookup,
				       void *lookup_arg)
{
	unsigned char want[AUTH_HASH_MAX] = {0};
	struct auth_ha1 keys = {0};
	bool known = lookup(lookup_arg, t->cred.username, &keys);
	int r;

	known = known && (t->alg == AUTH_MD5 ? keys.has_md5 : keys.has_sha256);
	r = expected_response(t, req->method_text, known ? &keys : &a->dummy, want);
	OPENSSL_cleanse(&keys, sizeof(keys));
	if (r < 0)
		return AUTH_NONE; /* our own failure: he may try again, and it is no guess */
	if (CRYPTO_memcmp(want, t->response, auth_hash_len(t->alg)) != 0 || !known)
		return AUTH_WRONG;
	return AUTH_OK;
}

enum auth_result auth_check(struct auth *a, const struct sip_msg *req, enum auth_side side,
			    const struct addr *src, auth_lookup lookup, void *lookup_arg,
			    uint64_t wall_ms, struct span *ret_user)
{
	enum auth_result res;
	enum force force;
	struct attempt t;
	struct nonce n;
	int r = choose(a, req, side, &t);

	if (r == 0)
		return AUTH_NONE;
	if (r < 0 || !well_formed(&t) || !uri_fits(t.cred.uri, req->uri))
		return AUTH_BAD;
	*ret_user = t.cred.username;
	force = force_of(a, &t, src, wall_ms, &n);
	if (force == NOT_IN_FORCE)
		return AUTH_STALE;
	res = check_response(a, req, &t, lookup, lookup_arg);
	if (force == UNSURE)
		return res == AUTH_OK ? check_known(a, req, &t, wall_ms) : AUTH_STALE;
	return res == AUTH_OK ? check_count(a, req, &t, &n, wall_ms) : res;
}
