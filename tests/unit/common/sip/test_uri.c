/*
 * URIs: RFC 3261 19.1.1 (parse) and 19.1.4 (equality, with the RFC's own examples).
 */
#include "common/sip/values.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>

#define ASSERT_SPAN(s, lit) \
	ck_assert_msg(span_eq((s), SPAN(lit)), "%.*s, expected %s", SPAN_FMT(s), lit)

static int parse(const char *text, struct sip_uri *u)
{
	return sip_uri_parse(span_str(text), u);
}

static bool equal(const char *a, const char *b)
{
	struct sip_uri x, y;
	ck_assert_msg(parse(a, &x) == 0, "%s", a);
	ck_assert_msg(parse(b, &y) == 0, "%s", b);
	bool r = sip_uri_equal(&x, &y);
	ck_assert_msg(r == sip_uri_equal(&y, &x), "%s and %s: not symmetric", a, b);
	return r;
}

START_TEST(all_components_are_spans_into_the_text)
{
	static const char text[] = "sips:al%69ce:se%63ret@Elm.Test:5070;transport=tcp;lr"
				   "?subject=a%20b&to=x";
	struct sip_uri u;
	ck_assert_int_eq(parse(text, &u), 0);
	ck_assert_int_eq(u.scheme, SIP_SCHEME_SIPS);
	ASSERT_SPAN(u.raw, "sips:al%69ce:se%63ret@Elm.Test:5070;transport=tcp;lr"
			   "?subject=a%20b&to=x");
	ASSERT_SPAN(u.user, "al%69ce");
	ASSERT_SPAN(u.password, "se%63ret");
	ASSERT_SPAN(u.host, "Elm.Test");
	ck_assert_uint_eq(u.port, 5070);
	ASSERT_SPAN(u.headers, "subject=a%20b&to=x");
	ck_assert_uint_eq(u.params.n, 2);
	ASSERT_SPAN(sip_uri_param(&u, SPAN("Transport"))->value, "tcp");
	ck_assert_ptr_null(sip_uri_param(&u, SPAN("lr"))->value.p);
	ck_assert_ptr_null(sip_uri_param(&u, SPAN("l")));
	ck_assert(u.user.p > text && u.user.p < text + sizeof(text));
}
END_TEST

START_TEST(what_is_not_there_has_no_pointer)
{
	struct sip_uri u;
	ck_assert_int_eq(parse("sip:elm.test", &u), 0);
	ck_assert_ptr_null(u.user.p);
	ck_assert_ptr_null(u.password.p);
	ck_assert_ptr_null(u.headers.p);
	ck_assert_uint_eq(u.port, 0);
	ck_assert_int_eq(parse("sip:inga:@elm.test", &u), 0);
	ck_assert_ptr_nonnull(u.password.p);
	ck_assert_uint_eq(u.password.n, 0);
}
END_TEST

START_TEST(ipv6_references_lose_their_brackets)
{
	struct sip_uri u;
	ck_assert_int_eq(parse("sip:inga@[2001:db8::1]:5061;lr", &u), 0);
	ASSERT_SPAN(u.host, "2001:db8::1");
	ck_assert(u.host_is_ipv6);
	ck_assert_uint_eq(u.port, 5061);
}
END_TEST

START_TEST(users_may_hold_what_looks_like_other_parts)
{
	struct sip_uri u;
	ck_assert_int_eq(parse("sip:1_a.b~(c-d!e)&f't+g$/h?,/;;*:&i+j=1,k!*l$m~n@elm.test", &u),
			 0);
	ASSERT_SPAN(u.user, "1_a.b~(c-d!e)&f't+g$/h?,/;;*");
	ASSERT_SPAN(u.password, "&i+j=1,k!*l$m~n");
	ck_assert_int_eq(parse("sip:*67#12@elm.test", &u), 0);
	ASSERT_SPAN(u.user, "*67#12");
}
END_TEST

START_TEST(other_schemes_are_told_apart_from_nonsense)
{
	struct sip_uri u;
	ck_assert_int_eq(parse("tel:+1-201-555-0123;phone-context=x", &u), -EPROTONOSUPPORT);
	ck_assert_int_eq(u.scheme, SIP_SCHEME_TEL);
	ASSERT_SPAN(u.raw, "tel:+1-201-555-0123;phone-context=x");
	ck_assert_int_eq(parse("soap.beep://192.0.2.103:3002", &u), -EPROTONOSUPPORT);
	ck_assert_int_eq(u.scheme, SIP_SCHEME_OTHER);
	ck_assert_int_eq(parse("tel:", &u), -EINVAL);
	ck_assert_int_eq(parse("tel:<1>", &u), -EINVAL);
	ck_assert_int_eq(parse("1tel:2", &u), -EINVAL);
	ck_assert_int_eq(parse("sip", &u), -EINVAL);
	ck_assert_int_eq(parse("", &u), -EINVAL);
}
END_TEST

START_TEST(what_is_no_uri_is_refused)
{
	static const char *const bad[] = {
		"sip:",
		"sip:@elm.test",
		"sip:a@",
		"sip:a@b@c",
		"sip:a@elm.test@",
		"sip:a b@elm.test",
		" sip:a@elm.test",
		"sip:a@elm.test ",
		"sip:a@elm .test",
		"sip:a@elm.test;",
		"sip:a@elm.test;;x",
		"sip:a@elm.test;=x",
		"sip:a@elm.test;x=",
		"sip:a@elm.test;x=%4",
		"sip:a@elm.test;x=\"q\"",
		"sip:%@elm.test",
		"sip:%4@elm.test",
		"sip:%zz@elm.test",
		"sip:a@%65lm.test",
		"sip:a@elm.test:",
		"sip:a@elm.test:0",
		"sip:a@elm.test:65536",
		"sip:a@elm.test:4294967301",
		"sip:a@elm.test:+5060",
		"sip:a@elm.test:5060x",
		"sip:a@elm..test",
		"sip:a@.elm.test",
		"sip:a@1.2.3",
		"sip:a@1.2.3.256",
		"sip:a@1.2.3.4.5",
		"sip:a@12345",
		"sip:a@[::1",
		"sip:a@[]",
		"sip:a@[1.2.3.4]",
		"sip:a@[2001:db8:::1]",
		"sip:a@[::1]x",
		"sip:a@::1",
		"sip:a@elm.test?",
		"sip:a@elm.test?x",
		"sip:a@elm.test?=x",
		"sip:a@elm.test?x=1&",
		"sip:a@elm.test?x=<1>",
		"sip:a@elm.test\r\n",
		"sip:a@elm.test\r\n ;x",
		"sip:a@elm.test;x=1;X=2",
		"<sip:a@elm.test>",
		"sip:\xc3\xa4@elm.test",
	};
	struct sip_uri u;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(parse(bad[i], &u) == -EINVAL, "%s", bad[i]);
	ck_assert_int_eq(sip_uri_parse(span_of("sip:a@b\0c", 9), &u), -EINVAL);
}
END_TEST

START_TEST(every_prefix_is_read_without_its_end)
{
	static const char text[] =
		"sips:al%69ce:s@[2001:db8::1]:5070;transport=tcp?a=%20b&to=x";
	struct sip_uri u;
	for (size_t n = 0; n < sizeof(text); n++) {
		char *copy = malloc(n ? n : 1); /* so that a sanitizer sees what is behind it */
		ck_assert_ptr_nonnull(copy);
		memcpy(copy, text, n);
		(void)sip_uri_parse(span_of(copy, n), &u);
		free(copy);
	}
}
END_TEST

START_TEST(parameters_have_a_limit)
{
	char text[256] = "sip:elm.test";
	struct sip_uri u;
	for (unsigned i = 0; i < SIP_PARAM_MAX; i++)
		snprintf(text + strlen(text), 8, ";p%u", i);
	ck_assert_int_eq(parse(text, &u), 0);
	ck_assert_uint_eq(u.params.n, SIP_PARAM_MAX);
	strcat(text, ";one");
	ck_assert_int_eq(parse(text, &u), -EINVAL);
}
END_TEST

START_TEST(a_value_may_hold_the_equals_signs_of_base64)
{
	struct sip_uri u;
	ck_assert_int_eq(parse("sip:elm.test;ftag=MTk==;lr", &u), 0);
	ASSERT_SPAN(sip_uri_param(&u, SPAN("ftag"))->value, "MTk==");
	ck_assert_uint_eq(u.params.n, 2);
}
END_TEST

START_TEST(a_user_is_unescaped_in_the_arena)
{
	struct arena a;
	struct sip_uri u;
	struct span user;
	ck_assert_int_eq(arena_init(&a, 4096), 0);
	sip_values_use_arena(&a);
	ck_assert_int_eq(parse("sip:%69n%2Fga@elm.test", &u), 0);
	ck_assert_int_eq(sip_uri_user(&u, &user), 0);
	ASSERT_SPAN(user, "in/ga");
	ck_assert_int_eq(parse("sip:inga@elm.test", &u), 0);
	ck_assert_int_eq(sip_uri_user(&u, &user), 0);
	ck_assert_ptr_eq(user.p, u.user.p);
	ck_assert_int_eq(parse("sip:in%00ga@elm.test", &u), 0);
	ck_assert_int_eq(sip_uri_user(&u, &user), -EINVAL);
	ck_assert_int_eq(parse("sip:%69nga@elm.test", &u), 0);
	ck_assert_ptr_nonnull(arena_alloc(&a, 4096 - 32));
	ck_assert_int_eq(sip_uri_user(&u, &user), -ENOMEM);
	sip_values_use_arena(NULL);
	ck_assert_int_eq(sip_uri_user(&u, &user), -ENOMEM);
	arena_done(&a);
}
END_TEST

START_TEST(rfc3261_19_1_4_equal_examples_are_equal)
{
	ck_assert(equal("sip:%61lice@atlanta.com;transport=TCP",
			"sip:alice@AtLanTa.CoM;Transport=tcp"));
	ck_assert(equal("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"));
	ck_assert(equal("sip:carol@chicago.com", "sip:carol@chicago.com;security=on"));
	ck_assert(
		equal("sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
		      "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com"));
	ck_assert(equal("sip:alice@atlanta.com?subject=project%20x&priority=urgent",
			"sip:alice@atlanta.com?priority=urgent&subject=project%20x"));
}
END_TEST

START_TEST(rfc3261_19_1_4_unequal_examples_are_not)
{
	ck_assert(!equal("SIP:ALICE@AtLanTa.CoM;Transport=udp",
			 "sip:alice@AtLanTa.CoM;Transport=UDP"));
	ck_assert(!equal("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"));
	ck_assert(!equal("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"));
	ck_assert(!equal("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"));
	ck_assert(!equal("sip:carol@chicago.com",
			 "sip:carol@chicago.com?Subject=next%20meeting"));
	ck_assert(!equal("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"));
	ck_assert(!equal("sip:carol@chicago.com;security=on",
			 "sip:carol@chicago.com;security=off"));
}
END_TEST

START_TEST(user_ttl_method_and_maddr_in_one_alone_never_match)
{
	ck_assert(!equal("sip:a@elm.test", "sip:a@elm.test;user=phone"));
	ck_assert(!equal("sip:a@elm.test", "sip:a@elm.test;ttl=1"));
	ck_assert(!equal("sip:a@elm.test", "sip:a@elm.test;method=INVITE"));
	ck_assert(!equal("sip:a@elm.test", "sip:a@elm.test;maddr=192.0.2.1"));
	ck_assert(!equal("sip:a@elm.test", "sip:a@elm.test;m%61ddr=192.0.2.1"));
	ck_assert(equal("sip:a@elm.test;MADDR=h", "sip:a@elm.test;maddr=H"));
	ck_assert(!equal("sip:a@elm.test;x", "sip:a@elm.test;x=1"));
}
END_TEST

START_TEST(schemes_users_and_passwords_count_to_the_letter)
{
	ck_assert(!equal("sip:a@elm.test", "sips:a@elm.test"));
	ck_assert(!equal("sip:elm.test", "sip:a@elm.test"));
	ck_assert(!equal("sip:a@elm.test", "sip:a:@elm.test"));
	ck_assert(!equal("sip:a:x@elm.test", "sip:a:X@elm.test"));
	ck_assert(equal("sip:a%7Eb@elm.test", "sip:a~b@elm.test"));
	ck_assert(!equal("sip:a%3Bb@elm.test", "sip:a;b@elm.test"));
	ck_assert(equal("sip:a%3bb@elm.test", "sip:a%3Bb@elm.test"));
	ck_assert(!equal("sip:ab@elm.test", "sip:a@elm.test"));
}
END_TEST

START_TEST(ipv6_hosts_are_equal_as_addresses)
{
	ck_assert(equal("sip:[2001:db8::1]", "sip:[2001:DB8:0::1]"));
	ck_assert(!equal("sip:[2001:db8::1]", "sip:[2001:db8::2]"));
}
END_TEST

START_TEST(headers_are_compared_as_often_as_they_stand)
{
	ck_assert(equal("sip:elm.test?a=1&A=1&b=2", "sip:elm.test?b=2&a=1&a=1"));
	ck_assert(!equal("sip:elm.test?a=1&a=1&b=2", "sip:elm.test?b=2&b=2&a=1"));
	ck_assert(!equal("sip:elm.test?a=1&b=2", "sip:elm.test?a=1&b=2&c=3"));
	ck_assert(!equal("sip:elm.test?subject=x", "sip:elm.test?subject=X"));
	ck_assert(equal("sip:elm.test?x=%41", "sip:elm.test?x=A"));
}
END_TEST

UNIT_MAIN("sip uri", all_components_are_spans_into_the_text, what_is_not_there_has_no_pointer,
	  ipv6_references_lose_their_brackets, users_may_hold_what_looks_like_other_parts,
	  other_schemes_are_told_apart_from_nonsense, what_is_no_uri_is_refused,
	  every_prefix_is_read_without_its_end, parameters_have_a_limit,
	  a_value_may_hold_the_equals_signs_of_base64, a_user_is_unescaped_in_the_arena,
	  rfc3261_19_1_4_equal_examples_are_equal, rfc3261_19_1_4_unequal_examples_are_not,
	  user_ttl_method_and_maddr_in_one_alone_never_match,
	  schemes_users_and_passwords_count_to_the_letter, ipv6_hosts_are_equal_as_addresses,
	  headers_are_compared_as_often_as_they_stand)
