/*
 * Via, name-addr and small values.
 */
#include "common/sip/values.h"
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

static int via(const char *text, struct sip_via *v)
{
	return sip_via_parse(span_str(text), v);
}

static int nameaddr(const char *text, struct sip_nameaddr *na)
{
	return sip_nameaddr_parse(span_str(text), na);
}

/* ---- Via ---- */

START_TEST(via_has_all_its_parts)
{
	struct sip_via v;
	ck_assert_int_eq(via("SIP/2.0/TLS Elm.test:5071;branch=z9hG4bKa1;received=192.0.2.1;"
			     "rport=4000;alias;maddr=192.0.2.9;ttl=16;odd=\"x;y\"",
			     &v),
			 0);
	ck_assert_int_eq(v.transport, SIP_TRANSPORT_TLS);
	ASSERT_SPAN(v.transport_text, "TLS");
	ASSERT_SPAN(v.host, "Elm.test");
	ck_assert_uint_eq(v.port, 5071);
	ASSERT_SPAN(v.branch, "z9hG4bKa1");
	ck_assert(v.cookie && v.has_rport && v.alias);
	ck_assert_uint_eq(v.rport, 4000);
	ASSERT_SPAN(v.received, "192.0.2.1");
	ASSERT_SPAN(v.maddr, "192.0.2.9");
	ck_assert_uint_eq(v.params.n, 7);
	ASSERT_SPAN(v.params.v[6].value, "\"x;y\"");
	ASSERT_SPAN(sip_unquote(v.params.v[6].value), "x;y");
}
END_TEST

START_TEST(via_may_be_as_short_as_rfc2543_has_it)
{
	struct sip_via v;
	ck_assert_int_eq(via("SIP/2.0/UDP 192.0.2.1", &v), 0);
	ck_assert_ptr_null(v.branch.p);
	ck_assert_ptr_null(v.received.p);
	ck_assert(!v.cookie && !v.has_rport && !v.alias);
	ck_assert_uint_eq(v.port, 0);
}
END_TEST

START_TEST(via_may_have_white_space_and_folds_everywhere)
{
	struct sip_via v;
	ck_assert_int_eq(
		via("SIP  /   2.0\r\n /UDP\r\n\t  192.0.2.2 : 5062 ; branch =\r\n z9hG4bKx"
		    " ;rport",
		    &v),
		0);
	ck_assert_int_eq(v.transport, SIP_TRANSPORT_UDP);
	ASSERT_SPAN(v.host, "192.0.2.2");
	ck_assert_uint_eq(v.port, 5062);
	ASSERT_SPAN(v.branch, "z9hG4bKx");
	ck_assert(v.has_rport);
	ck_assert_uint_eq(v.rport, 0);
}
END_TEST

START_TEST(via_knows_ipv6_with_and_without_brackets_in_received)
{
	struct sip_via v;
	ck_assert_int_eq(via("SIP/2.0/UDP [2001:db8::1]:5060;received=2001:db8::2", &v), 0);
	ASSERT_SPAN(v.host, "2001:db8::1");
	ck_assert(v.host_is_ipv6);
	ASSERT_SPAN(v.received, "2001:db8::2");
	ck_assert_int_eq(via("SIP/2.0/UDP [2001:db8::1];received=[2001:db8::2]", &v), 0);
	ASSERT_SPAN(v.received, "2001:db8::2");
}
END_TEST

START_TEST(via_of_another_transport_is_sound_but_none_of_ours)
{
	struct sip_via v;
	ck_assert_int_eq(via("SIP/2.0/SCTP elm.test;branch=z9hG4bKa", &v), 0);
	ck_assert_int_eq(v.transport, SIP_TRANSPORT_NONE);
	ASSERT_SPAN(v.transport_text, "SCTP");
}
END_TEST

START_TEST(via_of_another_version_can_be_answered)
{
	struct sip_via v;
	ck_assert_int_eq(via("SIP/7.0/UDP elm.test:5070;branch=z9hG4bKa", &v), 0);
	ck_assert_int_eq(v.transport, SIP_TRANSPORT_UDP);
	ASSERT_SPAN(v.host, "elm.test");
	ck_assert_uint_eq(v.port, 5070);
}
END_TEST

START_TEST(the_cookie_alone_is_no_cookie)
{
	struct sip_via v;
	ck_assert_int_eq(via("SIP/2.0/UDP elm.test;branch=z9hG4bK", &v), 0);
	ck_assert(!v.cookie);
	ck_assert_int_eq(via("SIP/2.0/UDP elm.test;branch=z9hg4bka", &v), 0);
	ck_assert(!v.cookie);
}
END_TEST

START_TEST(what_is_no_via_is_refused)
{
	static const char *const bad[] = {
		"",
		"SIP/2.0/UDP",
		"SIP/2.0/UDP ",
		"SIP/2.0/UDPelm.test:",
		"SIP/2.0 elm.test",
		"SIP//UDP elm.test",
		"HTTP/2.0/UDP elm.test",
		"SIP/2.0/ elm.test",
		"SIP/2.0/UDP a@elm.test",
		"SIP/2.0/UDP elm.test:0",
		"SIP/2.0/UDP elm.test:70000",
		"SIP/2.0/UDP elm.test:",
		"SIP/2.0/UDP elm.test;",
		"SIP/2.0/UDP elm.test;;x",
		"SIP/2.0/UDP elm.test;branch",
		"SIP/2.0/UDP elm.test;branch=",
		"SIP/2.0/UDP elm.test;branch=\"z9hG4bKa\"",
		"SIP/2.0/UDP elm.test;branch=a;branch=b",
		"SIP/2.0/UDP elm.test;rport=",
		"SIP/2.0/UDP elm.test;rport=x",
		"SIP/2.0/UDP elm.test;rport=0",
		"SIP/2.0/UDP elm.test;rport=65536",
		"SIP/2.0/UDP elm.test;received",
		"SIP/2.0/UDP elm.test;received=a/b",
		"SIP/2.0/UDP elm.test;maddr",
		"SIP/2.0/UDP elm.test;ttl=256",
		"SIP/2.0/UDP elm.test;x=\"open",
		"SIP/2.0/UDP elm.test, SIP/2.0/UDP oak.test",
		"SIP/2.0/UDP elm.test\r\nX: y",
		"SIP/2.0/UDP elm.test (comment)",
	};
	struct sip_via v;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(via(bad[i], &v) == -EINVAL, "%s", bad[i]);
}
END_TEST

/* ---- name-addr ---- */

START_TEST(nameaddr_in_brackets_has_display_uri_and_parameters)
{
	struct sip_nameaddr na;
	struct span tag;
	ck_assert_int_eq(
		nameaddr("\"Oak, \\\"Rob\\\"\" <sip:rob@oak.test;lr> ; tag = 12;q=0.5", &na),
		0);
	ASSERT_SPAN(na.display, "Oak, \\\"Rob\\\"");
	ASSERT_SPAN(na.uri_text, "sip:rob@oak.test;lr");
	ASSERT_SPAN(na.uri.user, "rob");
	ck_assert_uint_eq(na.uri.params.n, 1);
	ck_assert_uint_eq(na.params.n, 2);
	ck_assert_int_eq(sip_nameaddr_tag(&na, &tag), 0);
	ASSERT_SPAN(tag, "12");
}
END_TEST

START_TEST(nameaddr_without_brackets_leaves_all_parameters_to_the_header)
{
	struct sip_nameaddr na;
	ck_assert_int_eq(nameaddr("sip:rob@oak.test:5070;user=phone ;tag=1", &na), 0);
	ASSERT_SPAN(na.uri_text, "sip:rob@oak.test:5070");
	ck_assert_uint_eq(na.uri.params.n, 0);
	ck_assert_uint_eq(na.params.n, 2);
	ck_assert_ptr_null(na.display.p);
}
END_TEST

START_TEST(display_names_may_be_tokens_or_utf8_or_nothing)
{
	struct sip_nameaddr na;
	ck_assert_int_eq(nameaddr("Rob O.  Oak <sip:rob@oak.test>", &na), 0);
	ASSERT_SPAN(na.display, "Rob O.  Oak");
	ck_assert_int_eq(nameaddr("Jos\xc3\xa9<sip:rob@oak.test>", &na), 0);
	ASSERT_SPAN(na.display, "Jos\xc3\xa9");
	ck_assert_int_eq(nameaddr("<sip:rob@oak.test>", &na), 0);
	ck_assert_ptr_null(na.display.p);
	ck_assert_int_eq(nameaddr("\"\"<sip:rob@oak.test>", &na), 0);
	ck_assert_uint_eq(na.display.n, 0);
}
END_TEST

START_TEST(a_folded_display_name_is_unfolded)
{
	struct sip_nameaddr na;
	setup();
	ck_assert_int_eq(nameaddr("\"Rob\r\n Oak\" <sip:rob@oak.test>", &na), 0);
	ASSERT_SPAN(na.display, "Rob   Oak");
	ck_assert_ptr_nonnull(arena_alloc(&arena, arena.size_bytes - arena.used_bytes - 16));
	ck_assert_int_eq(
		nameaddr("\"Rob\r\n Oakwood from the forest\" <sip:rob@oak.test>", &na),
		-ENOMEM);
	done();
}
END_TEST

START_TEST(nameaddr_of_another_scheme_is_sound)
{
	struct sip_nameaddr na;
	ck_assert_int_eq(nameaddr("<tel:+12015550123>;tag=7", &na), 0);
	ck_assert_int_eq(na.uri.scheme, SIP_SCHEME_TEL);
	ASSERT_SPAN(na.uri.raw, "tel:+12015550123");
	ck_assert_uint_eq(na.params.n, 1);
}
END_TEST

START_TEST(star_with_more_behind_it_is_a_display_name)
{
	struct sip_nameaddr na;
	ck_assert_int_eq(nameaddr("*67 <sip:rob@oak.test>;expires=0", &na), 0);
	ASSERT_SPAN(na.display, "*67");
	ck_assert_int_eq(nameaddr("*", &na), -EINVAL);
}
END_TEST

START_TEST(instance_values_keep_their_quotes)
{
	struct sip_nameaddr na;
	ck_assert_int_eq(
		nameaddr("<sip:rob@oak.test>;+sip.instance=\"<urn:uuid:1,2;3>\";reg-id=1", &na),
		0);
	const struct sip_param *p = sip_params_find(&na.params, SPAN("+sip.instance"));
	ck_assert_ptr_nonnull(p);
	ASSERT_SPAN(sip_unquote(p->value), "<urn:uuid:1,2;3>");
}
END_TEST

START_TEST(what_is_no_nameaddr_is_refused)
{
	static const char *const bad[] = {
		"",
		"rob",
		"\"Rob <sip:rob@oak.test>",
		"\"Rob\" sip:rob@oak.test",
		"\"Rob\"",
		"Oak, Rob <sip:rob@oak.test>",
		"<sip:rob@oak.test",
		"sip:rob@oak.test>",
		"<sip:rob@oak.test>>",
		"<<sip:rob@oak.test>>",
		"< sip:rob@oak.test>",
		"<sip:rob@oak.test >",
		"<>",
		"<sip:rob@oak.test> x",
		"<sip:rob@oak.test>x=1",
		"<sip:rob@oak.test>;",
		"<sip:rob@oak.test>;;x",
		"<sip:rob@oak.test>;x=",
		"<sip:rob@oak.test>;x=\"",
		"<sip:rob@oak.test>;x=\"\\",
		"<sip:rob@oak.test>;tag=1;TAG=2",
		"<sip:rob@oak.test>,<sip:a@oak.test>",
		"sip:rob@oak.test?Route=x",
		"sip:rob@oak.test, sip:a@oak.test",
		"\"a\x01\" <sip:rob@oak.test>",
		"\"a\r\nb\" <sip:rob@oak.test>",
		"\"a\\\r\n b\" <sip:rob@oak.test>",
	};
	struct sip_nameaddr na;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(nameaddr(bad[i], &na) == -EINVAL, "%s", bad[i]);
}
END_TEST

START_TEST(a_value_of_64_kb_ends_at_the_limit_of_parameters)
{
	enum { N = 32768 };
	static char text[32 + 2 * N] = "SIP/2.0/UDP elm.test";
	size_t at = strlen(text);
	struct sip_via v;
	struct sip_nameaddr na;
	for (size_t i = 0; i < 2 * N; i++)
		text[at + i] = i % 2 ? 'a' : ';';
	ck_assert_int_eq(sip_via_parse(span_of(text, at + 2 * N), &v), -EINVAL);
	ck_assert_uint_eq(v.params.n, SIP_PARAM_MAX);
	memcpy(text, "<sip:rob@elm.oak.te>", at);
	ck_assert_int_eq(sip_nameaddr_parse(span_of(text, at + 2 * N), &na), -EINVAL);
	ck_assert_uint_eq(na.params.n, SIP_PARAM_MAX);
}
END_TEST

START_TEST(a_tag_needs_a_token)
{
	struct sip_nameaddr na;
	struct span tag;
	ck_assert_int_eq(nameaddr("<sip:a@b.test>;tag", &na), 0);
	ck_assert_int_eq(sip_nameaddr_tag(&na, &tag), -EINVAL);
	ck_assert_int_eq(nameaddr("<sip:a@b.test>;tag=\"x\"", &na), 0);
	ck_assert_int_eq(sip_nameaddr_tag(&na, &tag), -EINVAL);
	ck_assert_int_eq(nameaddr("<sip:a@b.test>", &na), 0);
	ck_assert_int_eq(sip_nameaddr_tag(&na, &tag), 0);
	ck_assert_ptr_null(tag.p);
}
END_TEST

/* ---- small values ---- */

START_TEST(qvalues_are_thousandths)
{
	uint16_t q = 7;
	ck_assert_int_eq(sip_qvalue_parse(SPAN("0.7"), &q), 0);
	ck_assert_uint_eq(q, 700);
	ck_assert_int_eq(sip_qvalue_parse(SPAN("0.123"), &q), 0);
	ck_assert_uint_eq(q, 123);
	ck_assert_int_eq(sip_qvalue_parse(SPAN("1"), &q), 0);
	ck_assert_uint_eq(q, 1000);
	ck_assert_int_eq(sip_qvalue_parse(SPAN("1.000"), &q), 0);
	ck_assert_uint_eq(q, 1000);
	ck_assert_int_eq(sip_qvalue_parse(SPAN("0."), &q), 0);
	ck_assert_uint_eq(q, 0);
	static const char *const bad[] = {"",	"2",   "1.1", "0.1234", "-0.1",
					  ".5", "0,5", "0.x", "1.001",	"00.5"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(sip_qvalue_parse(span_str(bad[i]), &q) == -EINVAL, "%s", bad[i]);
}
END_TEST

START_TEST(delta_seconds_saturate)
{
	uint32_t s;
	ck_assert_int_eq(sip_delta_parse(SPAN("3600"), &s), 0);
	ck_assert_uint_eq(s, 3600);
	ck_assert_int_eq(sip_delta_parse(SPAN("4294967295"), &s), 0);
	ck_assert_uint_eq(s, 4294967295u);
	ck_assert_int_eq(sip_delta_parse(SPAN("4294967301"), &s), 0);
	ck_assert_uint_eq(s, 4294967295u);
	ck_assert_int_eq(sip_delta_parse(SPAN("100000000000000000000000000000000000000"), &s),
			 0);
	ck_assert_uint_eq(s, 4294967295u);
	ck_assert_int_eq(sip_delta_parse(SPAN(""), &s), -EINVAL);
	ck_assert_int_eq(sip_delta_parse(SPAN("-1"), &s), -EINVAL);
	ck_assert_int_eq(sip_delta_parse(SPAN("1 "), &s), -EINVAL);
}
END_TEST

START_TEST(frequent_values_come_from_the_index)
{
	static const char text[] =
		"OPTIONS sip:elm.test SIP/2.0\r\n"
		"Via: SIP/2.0/UDP a.test;branch=z9hG4bK1, SIP/2.0/TCP b.test\r\n"
		"f: <sip:rob@oak.test>;tag=f1\r\nTo: tel:+1\r\n"
		"Call-ID: 1\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 0068\r\n\r\n";
	struct sip_hdr hdr[SIP_HDR_MAX];
	struct sip_msg m = {.hdr = hdr};
	struct sip_fault f;
	struct sip_via v;
	struct sip_nameaddr na;
	struct span tag;
	uint32_t mf;
	ck_assert_int_eq(sip_msg_index(&m, SPAN(text), false, &sip_limits_default, &f), 0);
	ck_assert_int_eq(sip_msg_top_via(&m, &v), 0);
	ASSERT_SPAN(v.raw, "SIP/2.0/UDP a.test;branch=z9hG4bK1");
	ck_assert_int_eq(sip_msg_from(&m, &na), 0);
	ASSERT_SPAN(na.uri.user, "rob");
	ck_assert_int_eq(sip_msg_to(&m, &na), 0);
	ck_assert_int_eq(na.uri.scheme, SIP_SCHEME_TEL);
	ck_assert_int_eq(sip_msg_tag(&m, SIP_HDR_FROM, &tag), 0);
	ASSERT_SPAN(tag, "f1");
	ck_assert_int_eq(sip_msg_tag(&m, SIP_HDR_TO, &tag), 0);
	ck_assert_ptr_null(tag.p);
	ck_assert_int_eq(sip_msg_max_forwards(&m, &mf), 0);
	ck_assert_uint_eq(mf, 68);
	ck_assert_int_eq(sip_msg_check_values(&m, &v, &f), 0);
	ASSERT_SPAN(v.branch, "z9hG4bK1");
	ck_assert_int_eq(sip_msg_tag(&m, SIP_HDR_FROM, &tag), 0);
	ASSERT_SPAN(tag, "f1");
	ck_assert_int_eq(sip_msg_tag(&m, SIP_HDR_TO, &tag), 0);
	ck_assert_ptr_null(tag.p);
	m.first[SIP_HDR_MAX_FORWARDS] = m.first[SIP_HDR_VIA] = SIP_HDR_NONE;
	ck_assert_int_eq(sip_msg_max_forwards(&m, &mf), -ENOENT);
	ck_assert_int_eq(sip_msg_top_via(&m, &v), -ENOENT);
}
END_TEST

UNIT_MAIN("sip values", via_has_all_its_parts, via_may_be_as_short_as_rfc2543_has_it,
	  via_may_have_white_space_and_folds_everywhere,
	  via_knows_ipv6_with_and_without_brackets_in_received,
	  via_of_another_transport_is_sound_but_none_of_ours,
	  via_of_another_version_can_be_answered, the_cookie_alone_is_no_cookie,
	  what_is_no_via_is_refused, nameaddr_in_brackets_has_display_uri_and_parameters,
	  nameaddr_without_brackets_leaves_all_parameters_to_the_header,
	  display_names_may_be_tokens_or_utf8_or_nothing, a_folded_display_name_is_unfolded,
	  nameaddr_of_another_scheme_is_sound, star_with_more_behind_it_is_a_display_name,
	  instance_values_keep_their_quotes, what_is_no_nameaddr_is_refused,
	  a_value_of_64_kb_ends_at_the_limit_of_parameters, a_tag_needs_a_token,
	  qvalues_are_thousandths, delta_seconds_saturate, frequent_values_come_from_the_index)
