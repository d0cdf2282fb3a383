/* The check of credentials and the challenge; vectors of RFC 7616 3.9.1. */
#include "tests/unit/common/auth/client.h"

#include <time.h>

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
	setup_default();
	struct client c = {.name = "Mufasa", .nonce = nonce_at(start_ms), .password = "guess"};

	ck_assert_int_eq(check(&c, start_ms), AUTH_WRONG);
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
			   &source, lookup, &calls, start_ms, &user);
		ck_assert_uint_eq(calls, 1);
	}
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
				    AUTH_PROXY, &source, lookup, NULL, start_ms, &user),
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
	ck_assert_ptr_null(
		memmem(auth_challenge(auth, AUTH_UAS, &source, false, 1).p, 100, "MD5", 3));
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
	s = auth_challenge(auth, AUTH_PROXY, &source, true, start_ms);
	snprintf(text, sizeof(text), "%.*s", SPAN_FMT(s));
	snprintf(nonce, sizeof(nonce), "%.*s", NONCE_LEN, strstr(text, "nonce=\"") + 7);
	snprintf(want, sizeof(want),
		 "Proxy-Authenticate: Digest realm=\"say \\\"hi\\\"\", algorithm=SHA-256, "
		 "qop=\"auth\", nonce=\"%s\", stale=true\r\n"
		 "Proxy-Authenticate: Digest realm=\"say \\\"hi\\\"\", algorithm=MD5, "
		 "qop=\"auth\", nonce=\"%s\", stale=true\r\n",
		 nonce, nonce);
	ck_assert_str_eq(text, want);
	s = auth_challenge(auth, AUTH_UAS, &source, false, start_ms);
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
	ck_assert_uint_eq(auth_challenge(auth, AUTH_UAS, &source, false, start_ms).n, 0);
	done();
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
			passed += auth_check(auth, m, AUTH_UAS, &source, lookup_kept, &ha1,
					     start_ms, &user) == AUTH_OK;
		}
		t = clock() - t;
		ck_assert_uint_eq(passed, 1);
		printf("check, %s: %.2f us\n", algs[i],
		       (double)t * 1e6 / CLOCKS_PER_SEC / ROUNDS);
	}
	clock_t t = clock();
	for (unsigned n = 0; n < ROUNDS; n++) {
		arena_reset(&arena);
		ck_assert_uint_gt(auth_challenge(auth, AUTH_UAS, &source, false, start_ms).n,
				  0);
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
	  lookup_is_called_once_whoever_it_is, no_credentials_for_our_realm_is_none,
	  ours_is_chosen_among_several_and_the_strongest_of_ours,
	  algorithm_not_offered_is_not_accepted, malformed_credentials_are_bad,
	  uri_must_name_the_same_user_and_host,
	  challenge_offers_sha256_first_then_md5_with_one_nonce,
	  challenge_is_empty_when_the_arena_is_full, cost_of_a_check_is_printed)
