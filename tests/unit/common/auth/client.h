/*
 * A client of digest authentication for tests (OpenSSL's one-shot hashes, none of the server's
 * code), and the server's user alice.
 */
#ifndef EAVES_TESTS_AUTH_CLIENT_H
#define EAVES_TESTS_AUTH_CLIENT_H

#include "tests/unit/unit.h"

#include "common/auth/auth_priv.h"

#include <openssl/evp.h>
#include <stdio.h>

#define REALM "example.com"

enum { T0 = 1700000000 };

static const uint64_t start_ms = T0 * 1000ull;
static const struct mac_key key = {1, 2};
static struct arena arena;
static struct auth *auth;
static char buf[8192];
static struct sip_hdr hdr[SIP_HDR_MAX];
static struct sip_msg msg;
static struct span user;
static struct addr source; /* zeroed: 0.0.0.0 */
static unsigned message;   /* each request is one of its own, unless this is held */

static inline void setup(const struct auth_conf *c)
{
	ck_assert_int_eq(sip_values_init(), 0);
	if (!arena.base)
		ck_assert_int_eq(arena_init(&arena, 65536), 0);
	sip_values_use_arena(&arena);
	auth = auth_new(c, &key);
	ck_assert_ptr_nonnull(auth);
}

static inline void setup_default(void)
{
	struct auth_conf c = auth_conf_default;

	c.realm = REALM;
	setup(&c);
}

static inline void done(void)
{
	auth_free(auth);
	arena_done(&arena);
	arena = (struct arena){0};
}

/* alice has both keys, old and new one each; *arg counts the calls. */
static inline bool lookup(void *arg, struct span name, struct auth_ha1 *ret)
{
	if (arg)
		++*(unsigned *)arg;
	if (!span_eq(name, SPAN("alice")) && !span_eq(name, SPAN("old")) &&
	    !span_eq(name, SPAN("new")) && !span_eq(name, SPAN("a\"b")))
		return false;
	ck_assert_int_eq(auth_ha1_make(name, SPAN(REALM), SPAN("secret"), ret), 0);
	ret->has_md5 = !span_eq(name, SPAN("new"));
	ret->has_sha256 = !span_eq(name, SPAN("old"));
	return true;
}

static inline void hash_hex(const char *alg, const char *text, char *out)
{
	unsigned char v[32];
	size_t n;

	ck_assert(EVP_Q_digest(NULL, alg, NULL, text, strlen(text), v, &n));
	for (size_t i = 0; i < n; i++)
		sprintf(out + 2 * i, "%02x", v[i]);
}

/* What a client would send; zeroed fields have their usual values. */
struct client {
	const char *name, *password, *realm, *algorithm, *uri, *nonce;
	unsigned nc;
	bool no_qop;
};

static inline const char *credentials(const struct client *c)
{
	static char out[4][4096];
	static unsigned turn;
	const char *alg = c->algorithm ? c->algorithm : "SHA-256";
	const char *evp = strcmp(alg, "MD5") == 0 ? "MD5" : "SHA256";
	const char *uri = c->uri ? c->uri : "sip:example.com";
	const char *name = c->name ? c->name : "alice", *realm = c->realm ? c->realm : REALM;
	char a1[65], a2[65], res[65], text[1024], *p = out[turn++ % 4];
	unsigned nc = c->nc ? c->nc : 1;

	snprintf(text, sizeof(text), "%s:%s:%s", name, realm,
		 c->password ? c->password : "secret");
	hash_hex(evp, text, a1);
	snprintf(text, sizeof(text), "REGISTER:%s", uri);
	hash_hex(evp, text, a2);
	if (c->no_qop)
		snprintf(text, sizeof(text), "%s:%s:%s", a1, c->nonce, a2);
	else
		snprintf(text, sizeof(text), "%s:%s:%08x:0a4f113b:auth:%s", a1, c->nonce, nc,
			 a2);
	hash_hex(evp, text, res);
	snprintf(text, sizeof(text), ", qop=auth, nc=%08x, cnonce=\"0a4f113b\"", nc);
	snprintf(p, sizeof(out[0]),
		 "Digest username=\"%s\", realm=\"%s\", nonce=\"%s\", uri=\"%s\", "
		 "response=\"%s\", algorithm=%s%s",
		 name, realm, c->nonce, uri, res, alg, c->no_qop ? "" : text);
	return p;
}

static inline const struct sip_msg *request(const char *uri, const char *cred1,
					    const char *cred2)
{
	struct sip_fault fault;
	int n = snprintf(
		buf, sizeof(buf),
		"REGISTER %s SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK%u\r\n"
		"From: <sip:alice@example.com>;tag=1\r\nTo: <sip:alice@example.com>\r\n"
		"Call-ID: a@b\r\nCSeq: 1 REGISTER\r\nMax-Forwards: 70\r\n"
		"%s%s%s%s%s%sContent-Length: 0\r\n\r\n",
		uri, message++, cred1 ? "Authorization: " : "", cred1 ? cred1 : "",
		cred1 ? "\r\n" : "", cred2 ? "Authorization: " : "", cred2 ? cred2 : "",
		cred2 ? "\r\n" : "");

	msg.hdr = hdr;
	ck_assert_int_eq(sip_msg_index(&msg, span_of(buf, (size_t)n), false,
				       &sip_limits_default, &fault),
			 0);
	return &msg;
}

static inline enum auth_result check_two(const char *uri, const char *c1, const char *c2,
					 uint64_t ms)
{
	arena_reset(&arena);
	user = (struct span){NULL, 0};
	return auth_check(auth, request(uri, c1, c2), AUTH_UAS, &source, lookup, NULL, ms,
			  &user);
}

static inline enum auth_result check(const struct client *c, uint64_t ms)
{
	return check_two("sip:example.com", credentials(c), NULL, ms);
}

/* The nonce of a fresh challenge. */
static inline const char *nonce_at(uint64_t ms)
{
	static char out[4][NONCE_LEN + 1];
	static unsigned turn;
	struct span s = auth_challenge(auth, AUTH_UAS, &source, false, ms);
	char *to = out[turn++ % 4];
	const char *p = memmem(s.p, s.n, "nonce=\"", 7);

	ck_assert_ptr_nonnull(p);
	memcpy(to, p + 7, NONCE_LEN);
	ck_assert_int_eq(p[7 + NONCE_LEN], '"');
	return to;
}

#endif
