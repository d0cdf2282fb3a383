/*
 * Flow tokens (RFC 5626 5.2) and who is behind a NAT.
 */
#include "common/flow/token.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>

static struct flow_keys keys(const char *secret, uint64_t boot)
{
	struct flow_keys k;

	flow_keys_init(&k, span_str(secret), boot);
	return k;
}

static struct sip_flow flow(enum sip_transport t, const char *host, uint16_t port)
{
	struct sip_flow f = {.transport = t, .listener = 3};

	if (sip_transport_reliable(t)) {
		f.worker = 63;
		f.conn = UINT64_C(0x1fedcba987654321);
	}
	ck_assert_int_eq(addr_parse(&f.remote, span_str(host), port), 0);
	return f;
}

static struct span token(const struct flow_keys *k, const struct sip_flow *f, unsigned flags)
{
	static char text[FLOW_TOKEN_MAX];

	return span_of(text, flow_token_write(k, f, flags, text));
}

static int read_back(const struct flow_keys *k, struct span text)
{
	struct sip_flow f;
	unsigned flags;

	return flow_token_read(k, text, &f, &flags);
}

START_TEST(a_token_names_its_flow_whole)
{
	struct flow_keys k = keys("secret", 7);
	struct sip_flow all[] = {
		flow(SIP_TRANSPORT_UDP, "192.0.2.1", 5060),
		flow(SIP_TRANSPORT_TCP, "192.0.2.1", 65535),
		flow(SIP_TRANSPORT_TLS, "2001:db8::1", 1),
		flow(SIP_TRANSPORT_UDP, "fe80::1", 5061),
	};

	all[3].remote.in6.sin6_scope_id = 4;
	for (unsigned i = 0; i < 4; i++)
		for (unsigned want = 0; want <= FLOW_OUTBOUND; want++) {
			struct sip_flow got;
			unsigned flags;
			struct span t = token(&k, &all[i], want);

			ck_assert_int_eq(flow_token_read(&k, t, &got, &flags), 0);
			ck_assert(sip_flow_equal(&got, &all[i]));
			ck_assert_uint_eq(got.worker, all[i].worker);
			ck_assert_uint_eq(got.remote.in6.sin6_scope_id,
					  all[i].remote.in6.sin6_scope_id);
			ck_assert_uint_eq(flags, want);
		}
}
END_TEST

START_TEST(a_token_is_unreserved_text_of_a_bounded_length)
{
	struct flow_keys k = keys("secret", 7);
	struct sip_flow f = flow(SIP_TRANSPORT_TLS, "2001:db8::1", 5061);
	struct span t = token(&k, &f, FLOW_OUTBOUND);

	ck_assert_uint_le(t.n, FLOW_TOKEN_MAX);
	for (size_t i = 0; i < t.n; i++)
		ck_assert(strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				 "0123456789-_",
				 t.p[i]));
	f = flow(SIP_TRANSPORT_UDP, "192.0.2.1", 5060);
	ck_assert_uint_eq(token(&k, &f, 0).n, 26);
	f = flow(SIP_TRANSPORT_TCP, "192.0.2.1", 5060);
	ck_assert_uint_eq(token(&k, &f, 0).n, 42);
}
END_TEST

START_TEST(no_changed_character_goes_unnoticed)
{
	struct flow_keys k = keys("secret", 7);
	struct sip_flow f = flow(SIP_TRANSPORT_TCP, "192.0.2.1", 5060);
	char text[FLOW_TOKEN_MAX];
	size_t n = flow_token_write(&k, &f, 0, text);

	for (size_t i = 0; i < n; i++)
		for (const char *p = "ABCXYZabcxyz059-_.~ "; *p; p++) {
			char was = text[i];

			if (*p == was)
				continue;
			text[i] = *p;
			ck_assert_int_lt(read_back(&k, span_of(text, n)), 0);
			text[i] = was;
		}
	ck_assert_int_eq(read_back(&k, span_of(text, n)), 0);
}
END_TEST

START_TEST(a_truncated_or_longer_token_is_refused)
{
	struct flow_keys k = keys("secret", 7);
	struct sip_flow f = flow(SIP_TRANSPORT_TLS, "2001:db8::1", 5060);
	char text[FLOW_TOKEN_MAX + 40];
	size_t n = flow_token_write(&k, &f, 0, text);

	for (size_t i = 0; i < n; i++)
		ck_assert_int_lt(read_back(&k, span_of(text, i)), 0);
	memset(text + n, 'A', sizeof(text) - n);
	for (size_t i = n + 1; i <= sizeof(text); i++)
		ck_assert_int_lt(read_back(&k, span_of(text, i)), 0);
}
END_TEST

START_TEST(a_user_name_is_no_token)
{
	struct flow_keys k = keys("secret", 7);

	ck_assert_int_eq(read_back(&k, SPAN("alice")), -EINVAL);
	ck_assert_int_eq(read_back(&k, SPAN("")), -EINVAL);
	ck_assert_int_eq(read_back(&k, SPAN("4AAAAAAAAAAAAAAAAAAAAAAA%41")), -EINVAL);
}
END_TEST

START_TEST(a_parameter_is_found_in_the_first_value_of_a_path)
{
	const struct span path = SPAN("<sip:t@edge;lr;m=e1;leg=udp>,<sip:next;m=e2;x=y>");
	ck_assert(span_eq(flow_path_param(path, ";m="), SPAN("e1")));
	ck_assert(span_eq(flow_path_param(path, ";leg="), SPAN("udp")));
	ck_assert_uint_eq(flow_path_param(path, ";x=").n, 0);
	ck_assert_uint_eq(flow_path_param(SPAN("<sip:t@edge;m=e1"), ";m=").n, 0);
	ck_assert_uint_eq(flow_path_param(SPAN("<sip:t@edge;m=>"), ";m=").n, 0);
	ck_assert_uint_eq(flow_path_param(SPAN(""), ";m=").n, 0);
}
END_TEST

START_TEST(a_token_of_whoever_is_found_where_it_stands_in_a_path)
{
	struct flow_keys k = keys("of others", 7);
	struct sip_flow udp = flow(SIP_TRANSPORT_UDP, "192.0.2.1", 5060);
	struct sip_flow tcp = flow(SIP_TRANSPORT_TCP, "2001:db8::1", 5060);
	char path[128];

	for (int i = 0; i < 2; i++) {
		struct span t = token(&k, i ? &tcp : &udp, 0);
		snprintf(path, sizeof(path), "<sip:%.*s@edge;lr;ob>,<sip:next>", SPAN_FMT(t));
		ck_assert(span_eq(flow_token_in(span_str(path)), t));
		ck_assert_int_eq(flow_token_has_conn(t), i);
	}
	ck_assert_uint_eq(flow_token_in(SPAN("<sip:edge;lr>")).n, 0);
	ck_assert_uint_eq(flow_token_in(SPAN("<sip:@edge;lr>")).n, 0);
}
END_TEST

START_TEST(another_key_makes_it_a_forgery)
{
	struct flow_keys k = keys("secret", 7), other = keys("another", 7);
	struct sip_flow f = flow(SIP_TRANSPORT_UDP, "192.0.2.1", 5060);

	ck_assert_int_eq(read_back(&other, token(&k, &f, 0)), -EPERM);
}
END_TEST

START_TEST(a_connection_of_another_start_is_stale_but_udp_lives_on)
{
	struct flow_keys k = keys("secret", 7), later = keys("secret", 8);
	struct sip_flow tcp = flow(SIP_TRANSPORT_TCP, "192.0.2.1", 5060), got;
	struct sip_flow udp = flow(SIP_TRANSPORT_UDP, "192.0.2.1", 5060);
	unsigned flags = 0;

	ck_assert_int_eq(flow_token_read(&later, token(&k, &tcp, FLOW_OUTBOUND), &got, &flags),
			 -ESTALE);
	ck_assert_uint_eq(flags, FLOW_OUTBOUND);
	ck_assert_int_eq(read_back(&later, token(&k, &udp, 0)), 0);
}
END_TEST

START_TEST(a_flow_without_an_address_has_no_token)
{
	struct flow_keys k = keys("secret", 7);
	struct sip_flow f = {.transport = SIP_TRANSPORT_TCP};

	ck_assert_uint_eq(token(&k, &f, 0).n, 0);
}
END_TEST

static bool nat(const char *contact, bool rport)
{
	struct sip_flow f = flow(SIP_TRANSPORT_UDP, "192.0.2.1", 40000);
	struct sip_uri u;

	ck_assert_int_eq(sip_uri_parse(span_str(contact), &u), 0);
	return flow_behind_nat(&f, &u, rport);
}

START_TEST(a_contact_elsewhere_is_behind_a_nat)
{
	ck_assert(nat("sip:a@10.0.0.1:40000", false));
	ck_assert(nat("sip:a@h7.invalid", false));
	ck_assert(nat("sip:a@192.0.2.1:5060", true)); /* another port, and rport */
	ck_assert(!nat("sip:a@192.0.2.1:40000", true));
	ck_assert(!nat("sip:a@192.0.2.1:5060", false));
	ck_assert(!nat("sip:a@phone.example.com", true));
	ck_assert(!nat("sips:a@10.0.0.1", true));
	ck_assert(!nat("sip:a@192.0.2.1:5060;transport=tcp", true));
}
END_TEST

UNIT_MAIN("flow", a_token_names_its_flow_whole, a_token_is_unreserved_text_of_a_bounded_length,
	  no_changed_character_goes_unnoticed, a_truncated_or_longer_token_is_refused,
	  a_user_name_is_no_token, a_token_of_whoever_is_found_where_it_stands_in_a_path,
	  a_parameter_is_found_in_the_first_value_of_a_path, another_key_makes_it_a_forgery,
	  a_connection_of_another_start_is_stale_but_udp_lives_on,
	  a_flow_without_an_address_has_no_token, a_contact_elsewhere_is_behind_a_nat)
