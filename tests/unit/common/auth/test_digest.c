/*
 * Digest authentication against a client of its own (OpenSSL's one-shot hashes), and the
 * examples of RFC 7616 3.9.1 and RFC 2617 3.5.
 */
#include "tests/unit/unit.h"

#include "common/auth/auth_priv.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>

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

static void setup(const struct auth_conf *c)
{
	ck_assert_int_eq(sip_values_init(), 0);
	if (!arena.base)
		ck_assert_int_eq(arena_init(&arena, 65536), 0);
	sip_values_use_arena(&arena);
	auth = auth_new(c, &key);
	ck_assert_ptr_nonnull(auth);
}

static void setup_default(void)
{
	struct auth_conf c = auth_conf_default;

	c.realm = REALM;
	setup(&c);
}

static void done(void)
{
	auth_free(auth);
	arena_done(&arena);
	arena = (struct arena){0};
}

/* alice has both keys, old and new one each; *arg counts the calls. */
static bool lookup(void *arg, struct span name, struct auth_ha1 *ret)
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

static void hash_hex(const char *alg, const char *text, char *out)
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

static const char *credentials(const struct client *c)
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

static const struct sip_msg *request(const char *uri, const char *cred1, const char *cred2)
{
	struct sip_fault fault;
	int n = snprintf(
		buf, sizeof(buf),
		"REGISTER %s SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx\r\n"
		"From: <sip:alice@example.com>;tag=1\r\nTo: <sip:alice@example.com>\r\n"
		"Call-ID: a@b\r\nCSeq: 1 REGISTER\r\nMax-Forwards: 70\r\n"
		"%s%s%s%s%s%sContent-Length: 0\r\n\r\n",
		uri, cred1 ? "Authorization: " : "", cred1 ? cred1 : "", cred1 ? "\r\n" : "",
		cred2 ? "Authorization: " : "", cred2 ? cred2 : "", cred2 ? "\r\n" : "");

	msg.hdr = hdr;
	ck_assert_int_eq(sip_msg_index(&msg, span_of(buf, (size_t)n), false,
				       &sip_limits_default, &fault),
			 0);
	return &msg;
}

static enum auth_result check_two(const char *uri, const char *c1, const char *c2, uint64_t ms)
{
	arena_reset(&arena);
	user = (struct span){NULL, 0};
	return auth_check(auth, request(uri, c1, c2), AUTH_UAS, lookup, NULL, ms, &user);
}

static enum auth_result check(const struct client *c, uint64_t ms)
{
	return check_two("sip:example.com", credentials(c), NULL, ms);
}

/* The nonce of a fresh challenge. */
static const char *nonce_at(uint64_t ms)
{
	static char out[4][NONCE_LEN + 1];
	static unsigned turn;
	struct span s = auth_challenge(auth, AUTH_UAS, false, ms);
	char *to = out[turn++ % 4];
	const char *p = memmem(s.p, s.n, "nonce=\"", 7);

	ck_assert_ptr_nonnull(p);
	memcpy(to, p + 7, NONCE_LEN);
	ck_assert_int_eq(p[7 + NONCE_LEN], '"');
	return to;
}

START_TEST(hashes_are_those_of_rfc_7616_example)
{
	static const char nonce[] = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v";
	static const char cnonce[] = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
	static const char *const want[] = {
		"753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
		"8ca523f5e9506fed4657c9700eebdbec",
	};

	ck_assert_int_eq(auth_hash_init(), 0);
	for (unsigned alg = 0; alg < AUTH_ALGORITHMS; alg++) {
		struct auth_ha1 ha1;
		struct span a2[] = {SPAN("GET"), SPAN("/dir/index.html")};
		unsigned char v[32];
		char h1[64], h2[64], res[64];
		size_t n = auth_hash_len(alg);

		ck_assert_int_eq(auth_ha1_make(SPAN("Mufasa"), SPAN("http-auth@example.org"),
					       SPAN("Circle of Life"), &ha1),
				 0);
		auth_hex(alg == AUTH_MD5 ? ha1.md5 : ha1.sha256, n, h1);
		ck_assert_int_eq(auth_hash(alg, a2, 2, v), 0);
		auth_hex(v, n, h2);
		struct span r[] = {{h1, 2 * n},	 SPAN(nonce),  SPAN("00000001"),
				   SPAN(cnonce), SPAN("auth"), {h2, 2 * n}};
		ck_assert_int_eq(auth_hash(alg, r, 6, v), 0);
		auth_hex(v, n, res);
		ck_assert_mem_eq(res, want[alg], 2 * n);
	}
}
END_TEST

START_TEST(name_as_claimed_is_told_with_a_wrong_response)
{
	static const char sha256[] =
		"Digest username=\"Mufasa\", realm=\"http-auth@example.org\", "
		"uri=\"sip:example.com\", "
		"algorithm=SHA-256, nonce=\"7ypf\", nc=00000001, cnonce=\"f2\", qop=auth, "
		"response=\"753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1\"";
	struct auth_conf c = auth_conf_default;

	c.realm = "http-auth@example.org";
	setup(&c);
	ck_assert_int_eq(check_two("sip:example.com", sha256, NULL, start_ms), AUTH_WRONG);
	ck_assert(span_eq(user, SPAN("Mufasa")));
	done();
}
END_TEST

START_TEST(fields_longer_than_the_join_buffer_hash_the_same)
{
	static char big[2000];
	char text[2100], hex1[65], hex2[65];
	unsigned char v[32];
	struct span f[] = {SPAN("a"), {big, 0}, SPAN("z")};

	memset(big, 'x', sizeof(big));
	ck_assert_int_eq(auth_hash_init(), 0);
	for (size_t n = 495; n < 520; n++) {
		f[1].n = n;
		snprintf(text, sizeof(text), "a:%.*s:z", (int)n, big);
		hash_hex("SHA256", text, hex1);
		ck_assert_int_eq(auth_hash(AUTH_SHA256, f, 3, v), 0);
		auth_hex(v, 32, hex2);
		ck_assert_mem_eq(hex1, hex2, 64);
	}
}
END_TEST

START_TEST(right_password_passes_with_either_algorithm)
{
	setup_default();
	ck_assert_int_eq(check(&(struct client){.nonce = nonce_at(start_ms)}, start_ms + 5),
			 AUTH_OK);
	ck_assert(span_eq(user, SPAN("alice")));
	ck_assert_int_eq(
		check(&(struct client){.nonce = nonce_at(start_ms), .algorithm = "MD5"},
		      start_ms + 5),
		AUTH_OK);
	done();
}
END_TEST

START_TEST(quoted_user_name_is_hashed_unquoted)
{
	char text[256], a1[65], a2[65], res[65], cred[1024];

	setup_default();
	const char *n = nonce_at(start_ms);
	hash_hex("MD5", "a\"b:example.com:secret", a1);
	hash_hex("MD5", "REGISTER:sip:example.com", a2);
	snprintf(text, sizeof(text), "%s:%s:00000001:c:auth:%s", a1, n, a2);
	hash_hex("MD5", text, res);
	snprintf(
		cred, sizeof(cred),
		"Digest username=\"a\\\"b\", realm=\"example.com\", nonce=\"%s\", "
		"uri=\"sip:example.com\", response=\"%s\", qop=auth, nc=00000001, cnonce=\"c\"",
		n, res);
	ck_assert_int_eq(check_two("sip:example.com", cred, NULL, start_ms), AUTH_OK);
	ck_assert(span_eq(user, SPAN("a\"b")));
	done();
}
END_TEST

START_TEST(wrong_password_unknown_user_and_missing_algorithm_are_all_wrong)
{
	static const struct client wrong[] = {
		{.password = "guess"},
		{.name = "nobody"},
		{.name = "nobody", .algorithm = "MD5"},
		{.name = "old"}, /* has an MD5 key only */
		{.name = "new", .algorithm = "MD5"},
		{.name = ""},
	};

	setup_default();
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct client c = wrong[i];

		c.nonce = nonce_at(start_ms);
		ck_assert_msg(check(&c, start_ms) == AUTH_WRONG, "case %u", i);
	}
	ck_assert_int_eq(check(&(struct client){.nonce = nonce_at(start_ms),
						.name = "old",
						.algorithm = "MD5"},
			       start_ms),
			 AUTH_OK);
	done();
}
END_TEST

START_TEST(lookup_is_called_once_whoever_it_is)
{
	static const char *const names[] = {"alice", "nobody"};

	setup_default();
	for (unsigned i = 0; i < 2; i++) {
		struct client c = {.name = names[i], .nonce = nonce_at(start_ms)};
		unsigned calls = 0;

		arena_reset(&arena);
		auth_check(auth, request("sip:example.com", credentials(&c), NULL), AUTH_UAS,
			   lookup, &calls, start_ms, &user);
		ck_assert_uint_eq(calls, 1);
	}
	done();
}
END_TEST

START_TEST(replayed_count_is_wrong_and_later_counts_pass_in_any_order)
{
	setup_default();
	struct client c = {.nonce = nonce_at(start_ms), .nc = 1};

	ck_assert_int_eq(check(&c, start_ms), AUTH_OK);
	ck_assert_int_eq(check(&c, start_ms), AUTH_WRONG);
	c.nc = 7;
	ck_assert_int_eq(check(&c, start_ms), AUTH_OK);
	c.nc = 5;
	ck_assert_int_eq(check(&c, start_ms), AUTH_OK);
	ck_assert_int_eq(check(&c, start_ms), AUTH_WRONG);
	c.nc = 7;
	ck_assert_int_eq(check(&c, start_ms), AUTH_WRONG);
	c.nc = 500;
	ck_assert_int_eq(check(&c, start_ms), AUTH_OK);
	c.nc = 6; /* fell out of the window: may have been used */
	ck_assert_int_eq(check(&c, start_ms), AUTH_WRONG);
	done();
}
END_TEST

START_TEST(old_nonce_is_stale_only_for_the_right_password)
{
	setup_default();
	struct client c = {.nonce = nonce_at(start_ms)};

	ck_assert_int_eq(check(&c, start_ms + 300001), AUTH_STALE);
	c.password = "guess";
	ck_assert_int_eq(check(&c, start_ms + 300001), AUTH_WRONG);
	c.password = NULL;
	ck_assert_int_eq(check(&c, start_ms + 300000), AUTH_OK);
	/* From a clock far ahead of ours. */
	c.nonce = nonce_at(start_ms + 60000);
	ck_assert_int_eq(check(&c, start_ms), AUTH_STALE);
	done();
}
END_TEST

START_TEST(nonce_of_another_process_or_realm_or_nobody_is_stale)
{
	char forged[NONCE_LEN + 1];

	setup_default();
	struct client c = {.nonce = nonce_at(start_ms)};
	strcpy(forged, c.nonce);
	ck_assert_int_eq(check(&c, start_ms), AUTH_OK);
	auth_free(auth);
	setup_default(); /* restarted with the same key: a captured request does not pass */
	ck_assert_int_eq(check(&c, start_ms), AUTH_STALE);
	c.nonce = nonce_at(start_ms);
	strcpy(forged, c.nonce);
	forged[11] ^= 1; /* younger or older than it was made */
	c.nonce = forged;
	ck_assert_int_eq(check(&c, start_ms), AUTH_STALE);
	c.nonce = "";
	ck_assert_int_eq(check(&c, start_ms), AUTH_STALE);
	done();
}
END_TEST

START_TEST(without_replay_check_another_process_nonce_passes_while_young)
{
	struct auth_conf conf = auth_conf_default;

	conf.realm = REALM;
	conf.replay_check = false;
	setup(&conf);
	struct client c = {.nonce = nonce_at(start_ms)};
	ck_assert_int_eq(check(&c, start_ms), AUTH_OK);
	auth_free(auth);
	setup(&conf);
	ck_assert_int_eq(check(&c, start_ms), AUTH_OK);
	ck_assert_int_eq(check(&c, start_ms), AUTH_OK);
	ck_assert_int_eq(check(&c, start_ms + 300001), AUTH_STALE);
	done();
}
END_TEST

START_TEST(full_replay_table_forgets_nonces_but_never_lets_a_replay_through)
{
	struct auth_conf conf = auth_conf_default;
	char first[NONCE_LEN + 1];

	conf.realm = REALM;
	conf.replay_nonces = 8;
	setup(&conf);
	struct client c = {.nonce = nonce_at(start_ms)};
	strcpy(first, c.nonce);
	ck_assert_int_eq(check(&c, start_ms), AUTH_OK);
	for (unsigned i = 1; i <= 20; i++) {
		c.nonce = nonce_at(start_ms + i);
		ck_assert_int_eq(check(&c, start_ms + i), AUTH_OK);
		ck_assert_int_eq(check(&c, start_ms + i), AUTH_WRONG);
	}
	c.nonce = first;
	for (unsigned nc = 1; nc < 5; nc++) {
		c.nc = nc;
		ck_assert_int_eq(check(&c, start_ms + 30), AUTH_STALE);
	}
	/* An unused nonce from before the oldest remembered one is not taken either. */
	c.nonce = nonce_at(start_ms + 2);
	ck_assert_int_eq(check(&c, start_ms + 30), AUTH_STALE);
	done();
}
END_TEST

START_TEST(without_qop_md5_passes_once_a_nonce)
{
	setup_default();
	struct client c = {.nonce = nonce_at(start_ms), .no_qop = true, .algorithm = "MD5"};

	ck_assert_int_eq(check(&c, start_ms), AUTH_OK);
	ck_assert_int_eq(check(&c, start_ms), AUTH_STALE);
	/* Used with qop first, then without. */
	c = (struct client){.nonce = nonce_at(start_ms), .algorithm = "MD5"};
	ck_assert_int_eq(check(&c, start_ms), AUTH_OK);
	c.no_qop = true;
	ck_assert_int_eq(check(&c, start_ms), AUTH_STALE);
	c = (struct client){.nonce = nonce_at(start_ms), .no_qop = true};
	ck_assert_int_eq(check(&c, start_ms), AUTH_BAD); /* SHA-256 needs qop */
	done();
}
END_TEST

START_TEST(no_credentials_for_our_realm_is_none)
{
	setup_default();
	struct client other = {.realm = "elsewhere.example", .nonce = "x"};

	ck_assert_int_eq(check_two("sip:example.com", NULL, NULL, start_ms), AUTH_NONE);
	ck_assert_int_eq(check(&other, start_ms), AUTH_NONE);
	ck_assert_int_eq(check_two("sip:example.com", "Basic YWxpY2U6c2VjcmV0", NULL, start_ms),
			 AUTH_NONE);
	ck_assert_int_eq(
		check(&(struct client){.nonce = "x", .algorithm = "SHA-512-256"}, start_ms),
		AUTH_NONE);
	ck_assert_ptr_null(user.p);
	/* They are looked for in the other field at a proxy. */
	struct client c = {.nonce = nonce_at(start_ms)};
	ck_assert_int_eq(auth_check(auth, request("sip:example.com", credentials(&c), NULL),
				    AUTH_PROXY, lookup, NULL, start_ms, &user),
			 AUTH_NONE);
	done();
}
END_TEST

START_TEST(ours_is_chosen_among_several_and_the_strongest_of_ours)
{
	setup_default();
	struct client other = {.realm = "elsewhere.example", .nonce = "x"};
	struct client ours = {.nonce = nonce_at(start_ms)};
	struct client weak = {.nonce = nonce_at(start_ms), .algorithm = "MD5"};
	const char *good;

	good = credentials(&ours);
	ck_assert_int_eq(check_two("sip:example.com", credentials(&other), good, start_ms),
			 AUTH_OK);
	/* A right MD5 response does not help when the SHA-256 one is wrong. */
	ours.password = "guess";
	good = credentials(&weak);
	ck_assert_int_eq(check_two("sip:example.com", good, credentials(&ours), start_ms),
			 AUTH_WRONG);
	ck_assert_int_eq(check_two("sip:example.com", credentials(&ours), good, start_ms),
			 AUTH_WRONG);
	/* What is unintelligible beside ours does no harm; alone it is bad. */
	ck_assert_int_eq(check_two("sip:example.com", "Digest =", good, start_ms), AUTH_OK);
	ck_assert_int_eq(check_two("sip:example.com", "Digest =", NULL, start_ms), AUTH_BAD);
	done();
}
END_TEST

START_TEST(algorithm_not_offered_is_not_accepted)
{
	struct auth_conf conf = auth_conf_default;

	conf.realm = REALM;
	conf.md5 = false;
	setup(&conf);
	struct client c = {.nonce = nonce_at(start_ms), .algorithm = "MD5"};
	ck_assert_int_eq(check(&c, start_ms), AUTH_NONE);
	ck_assert_ptr_null(memmem(auth_challenge(auth, AUTH_UAS, false, 1).p, 100, "MD5", 3));
	done();
}
END_TEST

START_TEST(malformed_credentials_are_bad)
{
	static const char *const forms[] = {
		/* no response, short one, not hexadecimal */
		"Digest username=\"alice\", realm=\"example.com\", nonce=\"n\", "
		"uri=\"sip:example.com\"",
		"Digest username=\"alice\", realm=\"example.com\", nonce=\"n\", "
		"uri=\"sip:example.com\", "
		"response=\"8ca523f5e9506fed4657c9700eebdbe\"",
		"Digest username=\"alice\", realm=\"example.com\", nonce=\"n\", "
		"uri=\"sip:example.com\", "
		"response=\"8ca523f5e9506fed4657c9700eebdbeg\"",
		/* MD5's length under SHA-256 */
		"Digest username=\"alice\", realm=\"example.com\", nonce=\"n\", "
		"uri=\"sip:example.com\", "
		"algorithm=SHA-256, response=\"8ca523f5e9506fed4657c9700eebdbec\", qop=auth, "
		"nc=00000001, cnonce=\"c\"",
		/* qop without nc, with a short nc, with nc 0, without cnonce, auth-int */
		"Digest username=\"alice\", realm=\"example.com\", nonce=\"n\", "
		"uri=\"sip:example.com\", "
		"response=\"8ca523f5e9506fed4657c9700eebdbec\", qop=auth, cnonce=\"c\"",
		"Digest username=\"alice\", realm=\"example.com\", nonce=\"n\", "
		"uri=\"sip:example.com\", "
		"response=\"8ca523f5e9506fed4657c9700eebdbec\", qop=auth, nc=1, cnonce=\"c\"",
		"Digest username=\"alice\", realm=\"example.com\", nonce=\"n\", "
		"uri=\"sip:example.com\", "
		"response=\"8ca523f5e9506fed4657c9700eebdbec\", qop=auth, nc=00000000, "
		"cnonce=\"c\"",
		"Digest username=\"alice\", realm=\"example.com\", nonce=\"n\", "
		"uri=\"sip:example.com\", "
		"response=\"8ca523f5e9506fed4657c9700eebdbec\", qop=auth, nc=00000001",
		"Digest username=\"alice\", realm=\"example.com\", nonce=\"n\", "
		"uri=\"sip:example.com\", "
		"response=\"8ca523f5e9506fed4657c9700eebdbec\", qop=auth-int, nc=00000001, "
		"cnonce=\"c\"",
		/* no uri, no user name */
		"Digest username=\"alice\", realm=\"example.com\", nonce=\"n\", "
		"response=\"8ca523f5e9506fed4657c9700eebdbec\"",
		"Digest realm=\"example.com\", nonce=\"n\", uri=\"sip:example.com\", "
		"response=\"8ca523f5e9506fed4657c9700eebdbec\"",
	};

	setup_default();
	for (unsigned i = 0; i < sizeof(forms) / sizeof(forms[0]); i++)
		ck_assert_msg(check_two("sip:example.com", forms[i], NULL, start_ms) ==
				      AUTH_BAD,
			      "case %u", i);
	done();
}
END_TEST

START_TEST(uri_must_name_the_same_user_and_host)
{
	static const struct {
		const char *claimed, *request;
		enum auth_result want;
	} v[] = {
		{"sip:bob@example.com", "sip:bob@example.com", AUTH_OK},
		{"sip:bob@EXAMPLE.com", "sip:bob@example.com;transport=tcp", AUTH_OK},
		{"sip:bob@example.com:5060", "sips:bob@example.com", AUTH_OK},
		{"tel:+15551234", "tel:+15551234", AUTH_OK},
		{"sip:eve@example.com", "sip:bob@example.com", AUTH_BAD},
		{"sip:bob@example.org", "sip:bob@example.com", AUTH_BAD},
		{"sip:example.com", "sip:bob@example.com", AUTH_BAD},
		{"tel:+15551234", "tel:+15551235", AUTH_BAD},
		{"tel:+15551234", "sip:bob@example.com", AUTH_BAD},
		{"rubbish", "sip:bob@example.com", AUTH_BAD},
	};

	setup_default();
	for (unsigned i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		struct client c = {.uri = v[i].claimed, .nonce = nonce_at(start_ms)};

		ck_assert_msg(check_two(v[i].request, credentials(&c), NULL, start_ms) ==
				      v[i].want,
			      "case %u", i);
	}
	done();
}
END_TEST

START_TEST(challenge_offers_sha256_first_then_md5_with_one_nonce)
{
	struct auth_conf conf = auth_conf_default;
	struct span s;
	char text[1024], nonce[64], want[1024];

	conf.realm = "say \"hi\"";
	setup(&conf);
	s = auth_challenge(auth, AUTH_PROXY, true, start_ms);
	snprintf(text, sizeof(text), "%.*s", SPAN_FMT(s));
	snprintf(nonce, sizeof(nonce), "%.*s", NONCE_LEN, strstr(text, "nonce=\"") + 7);
	snprintf(want, sizeof(want),
		 "Proxy-Authenticate: Digest realm=\"say \\\"hi\\\"\", algorithm=SHA-256, "
		 "qop=\"auth\", nonce=\"%s\", stale=true\r\n"
		 "Proxy-Authenticate: Digest realm=\"say \\\"hi\\\"\", algorithm=MD5, "
		 "qop=\"auth\", nonce=\"%s\", stale=true\r\n",
		 nonce, nonce);
	ck_assert_str_eq(text, want);
	s = auth_challenge(auth, AUTH_UAS, false, start_ms);
	ck_assert(span_istarts(s, SPAN("WWW-Authenticate: Digest ")));
	ck_assert_ptr_null(memmem(s.p, s.n, "stale", 5));
	ck_assert_ptr_null(memmem(s.p, s.n, nonce, NONCE_LEN));
	done();
}
END_TEST

START_TEST(challenge_is_empty_when_the_arena_is_full)
{
	setup_default();
	while (arena_alloc(&arena, 64))
		;
	ck_assert_uint_eq(auth_challenge(auth, AUTH_UAS, false, start_ms).n, 0);
	done();
}
END_TEST

static void *mark_all(void *arg)
{
	static const struct nonce n = {.time_ms = 1000, .serial = 9};
	unsigned *passed = calloc(1, sizeof(*passed));

	for (uint32_t nc = 1; passed && nc <= 20000; nc++)
		*passed += replay_mark(arg, &n, nc) == REPLAY_NEW;
	return passed;
}

START_TEST(one_count_passes_in_one_thread_only)
{
	struct replay *r = replay_new(1024);
	pthread_t t[2];
	unsigned sum = 0;

	for (unsigned i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, mark_all, r), 0);
	for (unsigned i = 0; i < 2; i++) {
		void *passed;

		pthread_join(t[i], &passed);
		ck_assert_ptr_nonnull(passed);
		sum += *(unsigned *)passed;
		free(passed);
	}
	ck_assert_uint_eq(sum, 20000);
	replay_free(r);
}
END_TEST

static bool lookup_kept(void *arg, struct span name, struct auth_ha1 *ret)
{
	(void)name;
	*ret = *(struct auth_ha1 *)arg;
	return true;
}

/* Not a test of speed (that depends on the machine): prints what a whole check costs. */
START_TEST(cost_of_a_check_is_printed)
{
	enum { ROUNDS = 20000 };
	static const char *const algs[] = {"SHA-256", "MD5"};
	struct auth_ha1 ha1;

	setup_default();
	ck_assert_int_eq(auth_ha1_make(SPAN("alice"), SPAN(REALM), SPAN("secret"), &ha1), 0);
	for (unsigned i = 0; i < 2; i++) {
		struct client c = {.nonce = nonce_at(start_ms), .algorithm = algs[i]};
		const struct sip_msg *m = request("sip:example.com", credentials(&c), NULL);
		unsigned passed = 0;
		clock_t t = clock();

		for (unsigned n = 0; n < ROUNDS; n++) {
			arena_reset(&arena);
			passed += auth_check(auth, m, AUTH_UAS, lookup_kept, &ha1, start_ms,
					     &user) == AUTH_OK;
		}
		t = clock() - t;
		ck_assert_uint_eq(passed, 1);
		printf("check, %s: %.2f us\n", algs[i],
		       (double)t * 1e6 / CLOCKS_PER_SEC / ROUNDS);
	}
	clock_t t = clock();
	for (unsigned n = 0; n < ROUNDS; n++) {
		arena_reset(&arena);
		ck_assert_uint_gt(auth_challenge(auth, AUTH_UAS, false, start_ms).n, 0);
	}
	printf("challenge: %.2f us\n", (double)(clock() - t) * 1e6 / CLOCKS_PER_SEC / ROUNDS);
	done();
}
END_TEST

UNIT_MAIN("auth/digest", hashes_are_those_of_rfc_7616_example,
	  name_as_claimed_is_told_with_a_wrong_response,
	  fields_longer_than_the_join_buffer_hash_the_same,
	  right_password_passes_with_either_algorithm, quoted_user_name_is_hashed_unquoted,
	  wrong_password_unknown_user_and_missing_algorithm_are_all_wrong,
	  lookup_is_called_once_whoever_it_is,
	  replayed_count_is_wrong_and_later_counts_pass_in_any_order,
	  old_nonce_is_stale_only_for_the_right_password,
	  nonce_of_another_process_or_realm_or_nobody_is_stale,
	  without_replay_check_another_process_nonce_passes_while_young,
	  full_replay_table_forgets_nonces_but_never_lets_a_replay_through,
	  without_qop_md5_passes_once_a_nonce, no_credentials_for_our_realm_is_none,
	  ours_is_chosen_among_several_and_the_strongest_of_ours,
	  algorithm_not_offered_is_not_accepted, malformed_credentials_are_bad,
	  uri_must_name_the_same_user_and_host,
	  challenge_offers_sha256_first_then_md5_with_one_nonce,
	  challenge_is_empty_when_the_arena_is_full, one_count_passes_in_one_thread_only,
	  cost_of_a_check_is_printed)
