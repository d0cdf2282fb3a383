/*
 * Digest credentials: every form, and the plain one against libosip2's reading.
 */
#include "common/sip/sip_priv.h"
#include "tests/unit/unit.h"

#include <errno.h>

#define ASSERT_SPAN(s, lit) \
	ck_assert_msg(span_eq((s), SPAN(lit)), "%.*s, expected %s", SPAN_FMT(s), lit)

static struct arena arena;

static void setup(void)
{
	ck_assert_int_eq(sip_values_init(), 0);
	ck_assert_int_eq(arena_init(&arena, 65536), 0);
	sip_values_use_arena(&arena);
}

static void done(void)
{
	sip_values_use_arena(NULL);
	arena_done(&arena);
}

static int credentials(const char *text, struct sip_credentials *c)
{
	arena_reset(&arena);
	return sip_credentials_parse(span_str(text), c);
}

START_TEST(credentials_have_all_their_fields_without_quotes)
{
	struct sip_credentials c;
	setup();
	ck_assert_int_eq(
		credentials("Digest username=\"in\\\"ga\", realm=\"elm.test\",nonce=\"n1\",\r\n"
			    " uri=\"sip:elm.test;x=a,b\", response=\"0123456789abcdef\" ,"
			    " algorithm=SHA-256, cnonce=\"c\", qop=auth, nc=00000001,"
			    " opaque=\"o\", userhash=true, later=\"x\"",
			    &c),
		0);
	ASSERT_SPAN(c.scheme, "Digest");
	ASSERT_SPAN(c.username, "in\"ga");
	ASSERT_SPAN(c.realm, "elm.test");
	ASSERT_SPAN(c.nonce, "n1");
	ASSERT_SPAN(c.uri, "sip:elm.test;x=a,b");
	ASSERT_SPAN(c.response, "0123456789abcdef");
	ASSERT_SPAN(c.algorithm, "SHA-256");
	ASSERT_SPAN(c.cnonce, "c");
	ASSERT_SPAN(c.qop, "auth");
	ASSERT_SPAN(c.nc, "00000001");
	ASSERT_SPAN(c.opaque, "o");
	ck_assert(c.userhash);
	done();
}
END_TEST

START_TEST(credentials_without_fields_leave_them_null)
{
	struct sip_credentials c;
	setup();
	ck_assert_int_eq(credentials("digest username=\"inga\", realm=\"elm.test\"", &c), 0);
	ck_assert_ptr_null(c.nonce.p);
	ck_assert_ptr_null(c.qop.p);
	ck_assert(!c.userhash);
	ck_assert_int_eq(credentials("Digest username=\"inga\", nonce=\"\", response=\"\"", &c),
			 0);
	ck_assert_ptr_nonnull(c.nonce.p);
	ck_assert_uint_eq(c.nonce.n, 0);
	done();
}
END_TEST

START_TEST(credentials_with_quotes_where_phones_put_them_are_read)
{
	struct sip_credentials c;
	setup();
	ck_assert_int_eq(
		credentials("Digest username=\"a\", realm=\"r\", nonce=\"n\", uri=\"sip:r\","
			    " response=\"0\", algorithm=\"MD5\", qop=\"auth\", nc=00000001",
			    &c),
		0);
	ASSERT_SPAN(c.algorithm, "MD5");
	ASSERT_SPAN(c.qop, "auth");
	ck_assert_int_eq(credentials("Digest username = \"a\" , realm= \"r\"", &c), 0);
	ASSERT_SPAN(c.username, "a");
	ASSERT_SPAN(c.realm, "r");
	done();
}
END_TEST

START_TEST(other_schemes_of_authentication_are_not_ours)
{
	struct sip_credentials c;
	setup();
	ck_assert_int_eq(credentials("Basic YTpi", &c), -EPROTONOSUPPORT);
	ASSERT_SPAN(c.scheme, "Basic");
	ck_assert_int_eq(credentials("NoOneKnowsThisScheme opaque-data=here", &c),
			 -EPROTONOSUPPORT);
	done();
}
END_TEST

START_TEST(credentials_that_can_be_read_in_two_ways_are_refused)
{
	static const char *const bad[] = {
		"",
		"Digest",
		"Digest ",
		"Digest username",
		"Digest username=",
		"Digest username=\"a",
		"Digest username=\"a\" realm=\"r\"",
		"Digest username=\"a\",",
		"Digest username=\"a\",,realm=\"r\"",
		"Digest username=\"a\",username=\"b\"",
		"Digest username=\"a\",Username=\"a\"",
		"Digest nonce=\"a\",userhash=true,userhash=false",
		"Digest username=\"a\"x, realm=\"r\"",
		"Digest username=\"a\r\nb\"",
		"Digest realm=abc, username=\"x\"",	    /* libosip2: realm is "x" */
		"Digest username=\"a\", nonce=\"n\", nc=1", /* libosip2: no nc */
	};
	struct sip_credentials c;
	setup();
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(credentials(bad[i], &c) == -EINVAL, "%s", bad[i]);
	ck_assert_int_eq(sip_credentials_parse(span_of("Digest realm=\"a\0b\"", 19), &c),
			 -EINVAL);
	done();
}
END_TEST

static void same_credentials(const struct sip_credentials *a, const struct sip_credentials *b,
			     const char *text)
{
	const struct span *x = &a->scheme, *y = &b->scheme;
	for (size_t i = 0; i < offsetof(struct sip_credentials, userhash) / sizeof(*x); i++)
		ck_assert_msg(span_eq(x[i], y[i]) && !x[i].p == !y[i].p, "field %zu of %s", i,
			      text);
	ck_assert_int_eq(a->userhash, b->userhash);
}

START_TEST(plain_credentials_are_read_as_libosip2_reads_them)
{
	static const char *const plain[] = {
		"Digest username=\"inga\",realm=\"elm.test\",nonce=\"n\",uri=\"sip:elm.test\","
		"response=\"0123456789abcdef0123456789abcdef\",algorithm=MD5,cnonce=\"c\","
		"qop=auth,nc=00000001,opaque=\"\"",
		"digest USERNAME=\"a,b=c\", Realm=\"x y\" , qop=\"auth\", algorithm=\"MD5\"",
		"DIGEST nc=\"00000001\",  nonce=\"\", username=\"a\tb\"",
		"Digest qop=auth-int",
		"Digest response=\"\"",
		"Digest username=\"\xc3\xa4;<>@\", algorithm=SHA-256",
		"Digest  opaque=\"username=\", cnonce=\", realm=\"",
		"Digest nonce=\"n\", userhash=true, auts=\"x\"",
	};
	struct sip_credentials c, want;
	setup();
	for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
		int r = sip_credentials_parse_any(span_str(plain[i]), &want);
		ck_assert_int_eq(sip_credentials_parse(span_str(plain[i]), &c), r);
		if (r == 0)
			same_credentials(&c, &want, plain[i]);
	}
	done();
}
END_TEST

START_TEST(plain_credentials_are_spans_into_the_message_and_want_no_arena)
{
	static const char text[] = "Digest username=\"inga\", realm=\"elm.test\", qop=auth";
	struct sip_credentials c;
	sip_values_use_arena(NULL);
	ck_assert_int_eq(sip_credentials_parse(SPAN(text), &c), 0);
	ck_assert(c.username.p > text && c.username.p < text + sizeof(text));
	ck_assert(span_eq(c.realm, SPAN("elm.test")));
	ck_assert(span_eq(c.qop, SPAN("auth")));
	ck_assert_ptr_null(c.nonce.p);
}
END_TEST

START_TEST(credentials_in_a_full_arena_are_refused_not_cut)
{
	static const char text[] =
		"Digest username=\"in\\ga\", realm=\"elm.test\", nonce=\"n1\", "
		"uri=\"sip:elm.test\", response=\"0123456789abcdef\"";
	struct sip_credentials c;
	setup();
	size_t need;
	ck_assert_int_eq(credentials(text, &c), 0);
	need = arena.used_bytes;
	for (size_t room = 0; room < need; room += 16) {
		arena_reset(&arena);
		ck_assert_ptr_nonnull(arena_alloc(&arena, arena.size_bytes - room));
		ck_assert_int_eq(sip_credentials_parse(SPAN(text), &c), -ENOMEM);
	}
	sip_values_use_arena(NULL);
	ck_assert_int_eq(sip_credentials_parse(SPAN(text), &c), -ENOMEM);
	arena_done(&arena);
}
END_TEST

UNIT_MAIN("sip credentials", credentials_have_all_their_fields_without_quotes,
	  credentials_without_fields_leave_them_null,
	  credentials_with_quotes_where_phones_put_them_are_read,
	  other_schemes_of_authentication_are_not_ours,
	  credentials_that_can_be_read_in_two_ways_are_refused,
	  plain_credentials_are_read_as_libosip2_reads_them,
	  plain_credentials_are_spans_into_the_message_and_want_no_arena,
	  credentials_in_a_full_arena_are_refused_not_cut)
