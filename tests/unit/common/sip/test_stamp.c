/*
 * The stamp of receiving (RFC 3261 18.2.1, RFC 3581 4) and where a response goes (18.2.2).
 */
#include "common/sip/stamp.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>

struct room {
	struct sip_hdr hdr[SIP_HDR_MAX];
	struct sip_msg m;
	struct sip_via top;
	char buf[2048];
	size_t len;
};

static void receive(struct room *r, const char *via)
{
	struct sip_fault f;
	r->len =
		(size_t)snprintf(r->buf, sizeof(r->buf),
				 "OPTIONS sip:elm.test SIP/2.0\r\nVia: %s\r\n"
				 "Via: SIP/2.0/UDP below.test\r\nFrom: <sip:a@b.test>;tag=1\r\n"
				 "To: <sip:a@b.test>\r\nCall-ID: one\r\nCSeq: 1 OPTIONS\r\n"
				 "Content-Length: 4\r\n\r\nbody",
				 via);
	r->m.hdr = r->hdr;
	ck_assert_int_eq(
		sip_msg_index(&r->m, span_of(r->buf, r->len), false, &sip_limits_default, &f),
		0);
	ck_assert_int_eq(sip_msg_top_via(&r->m, &r->top), 0);
}

static struct addr at(const char *host, uint16_t port)
{
	struct addr a;
	ck_assert_int_eq(addr_parse(&a, span_str(host), port), 0);
	return a;
}

/* What the stamp left is what parsing gives. */
static void same_as_parsed(const struct room *r)
{
	struct sip_via v;
	ck_assert_int_eq(sip_msg_top_via(&r->m, &v), 0);
	ck_assert_ptr_eq(v.raw.p, r->top.raw.p);
	ck_assert_uint_eq(v.raw.n, r->top.raw.n);
	ck_assert_ptr_eq(v.branch.p, r->top.branch.p);
	ck_assert_ptr_eq(v.received.p, r->top.received.p);
	ck_assert(span_eq(v.received, r->top.received));
	ck_assert_ptr_eq(v.maddr.p, r->top.maddr.p);
	ck_assert_ptr_eq(v.host.p, r->top.host.p);
	ck_assert_uint_eq(v.rport, r->top.rport);
	ck_assert_uint_eq(v.has_rport, r->top.has_rport);
	ck_assert_uint_eq(v.params.n, r->top.params.n);
	for (unsigned i = 0; i < v.params.n; i++) {
		const struct sip_param *p = sip_params_find(&r->top.params, v.params.v[i].name);
		ck_assert_ptr_nonnull(p);
		ck_assert_ptr_eq(p->name.p, v.params.v[i].name.p);
		ck_assert_ptr_eq(p->value.p, v.params.v[i].value.p);
		ck_assert(span_eq(p->value, v.params.v[i].value));
	}
}

/* Stamps, and checks that the rest and the index are as before. */
static void stamped(const char *via, const char *src, uint16_t port, const char *want)
{
	struct room r;
	struct addr a = at(src, port);
	receive(&r, via);
	ck_assert_int_eq(sip_stamp_via(&r.m, r.buf, sizeof(r.buf), &r.top, &a), 0);
	ck_assert_msg(span_eq(r.top.raw, span_str(want)), "%.*s, expected %s",
		      SPAN_FMT(r.top.raw), want);
	same_as_parsed(&r);
	ck_assert(span_eq(sip_msg_body(&r.m), SPAN("body")));
	ck_assert(span_eq(r.m.call_id, SPAN("one")));
	ck_assert(span_eq(sip_msg_value(&r.m, SIP_HDR_TO), SPAN("<sip:a@b.test>")));
	ck_assert_uint_le(r.m.len, r.len + SIP_STAMP_ROOM);
}

START_TEST(a_via_that_tells_the_truth_is_left_alone)
{
	stamped("SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKa", "192.0.2.1", 4000,
		"SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKa");
	stamped("SIP/2.0/UDP [2001:DB8::0:1];branch=z9hG4bKa", "2001:db8::1", 5060,
		"SIP/2.0/UDP [2001:DB8::0:1];branch=z9hG4bKa");
}
END_TEST

START_TEST(another_source_or_a_name_gets_received)
{
	stamped("SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKa", "192.0.2.255", 4000,
		"SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKa;received=192.0.2.255");
	stamped("SIP/2.0/UDP phone.test;branch=z9hG4bKa", "192.0.2.1", 5060,
		"SIP/2.0/UDP phone.test;branch=z9hG4bKa;received=192.0.2.1");
	stamped("SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKa", "2001:db8::1", 4000,
		"SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKa;received=2001:db8::1");
}
END_TEST

START_TEST(rport_is_filled_and_received_always_comes_with_it)
{
	stamped("SIP/2.0/UDP 192.0.2.1;rport;branch=z9hG4bKa", "192.0.2.1", 4000,
		"SIP/2.0/UDP 192.0.2.1;rport=4000;received=192.0.2.1;branch=z9hG4bKa");
	stamped("SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKa;rport", "10.1.2.3", 65535,
		"SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKa;rport=65535;received=10.1.2.3");
}
END_TEST

START_TEST(what_a_peer_claims_is_replaced)
{
	stamped("SIP/2.0/UDP 192.0.2.1;received=198.51.100.9;branch=z9hG4bKa", "192.0.2.1",
		4000, "SIP/2.0/UDP 192.0.2.1;received=192.0.2.1;branch=z9hG4bKa");
	stamped("SIP/2.0/UDP 192.0.2.1;rport=9;received=198.51.100.9;branch=z9hG4bKa",
		"192.0.2.7", 4000,
		"SIP/2.0/UDP 192.0.2.1;rport=4000;received=192.0.2.7;branch=z9hG4bKa");
	stamped("SIP/2.0/UDP 192.0.2.1;received=[2001:db8::9];branch=z9hG4bKa;rport = 9",
		"192.0.2.7", 4000,
		"SIP/2.0/UDP 192.0.2.1;received=192.0.2.7;branch=z9hG4bKa;rport=4000");
}
END_TEST

START_TEST(only_the_top_one_of_two_in_a_field_is_stamped)
{
	struct room r;
	struct addr a = at("192.0.2.9", 4000);
	receive(&r, "SIP/2.0/UDP a.test;rport , SIP/2.0/UDP b.test;rport");
	ck_assert_int_eq(sip_stamp_via(&r.m, r.buf, sizeof(r.buf), &r.top, &a), 0);
	struct span field = sip_msg_value(&r.m, SIP_HDR_VIA);
	ck_assert(span_eq(field, SPAN("SIP/2.0/UDP a.test;rport=4000;received=192.0.2.9 ,"
				      " SIP/2.0/UDP b.test;rport")));
}
END_TEST

START_TEST(no_room_leaves_the_message_as_it_was)
{
	struct room r;
	struct addr a = at("192.0.2.9", 4000);
	receive(&r, "SIP/2.0/UDP a.test;received=1.2.3.4;rport");
	char before[sizeof(r.buf)];
	memcpy(before, r.buf, r.len);
	ck_assert_int_eq(sip_stamp_via(&r.m, r.buf, r.len, &r.top, &a), -ENOSPC);
	ck_assert_int_eq(memcmp(before, r.buf, r.len), 0);
	ck_assert_uint_eq(r.m.len, r.len);
}
END_TEST

static int dest(const char *via, struct sip_flow *f)
{
	struct sip_via v;
	ck_assert_int_eq(sip_via_parse(span_str(via), &v), 0);
	return sip_via_dest(&v, f);
}

static void goes(const char *via, enum sip_transport t, const char *host, uint16_t port)
{
	struct sip_flow f = {.transport = t, .listener = 3};
	struct addr want = at(host, port);
	ck_assert_int_eq(dest(via, &f), 0);
	ck_assert_msg(addr_equal(&f.remote, &want), "%s", via);
	ck_assert_uint_eq(f.listener, 3);
}

START_TEST(udp_responses_go_by_maddr_then_received_and_rport_then_sent_by)
{
	enum sip_transport u = SIP_TRANSPORT_UDP;
	goes("SIP/2.0/UDP a.test:5070;maddr=224.0.1.75;received=192.0.2.1;rport=9", u,
	     "224.0.1.75", 5070);
	goes("SIP/2.0/UDP a.test:5070;received=192.0.2.1;rport=4000", u, "192.0.2.1", 4000);
	goes("SIP/2.0/UDP a.test:5070;received=192.0.2.1", u, "192.0.2.1", 5070);
	goes("SIP/2.0/UDP a.test;received=192.0.2.1", u, "192.0.2.1", 5060);
	goes("SIP/2.0/UDP 192.0.2.3:5071", u, "192.0.2.3", 5071);
	goes("SIP/2.0/UDP [2001:db8::1]", u, "2001:db8::1", 5060);
	goes("SIP/2.0/UDP a.test;received=2001:db8::1;rport=7", u, "2001:db8::1", 7);
}
END_TEST

START_TEST(a_unicast_maddr_names_nobody_else)
{
	enum sip_transport u = SIP_TRANSPORT_UDP;
	goes("SIP/2.0/UDP a.test;maddr=198.51.100.1;received=192.0.2.1;rport=9", u, "192.0.2.1",
	     9);
	goes("SIP/2.0/UDP 192.0.2.1;maddr=198.51.100.1", u, "192.0.2.1", 5060);
	goes("SIP/2.0/UDP 192.0.2.1;maddr=[2001:db8::1]", u, "192.0.2.1", 5060);
	goes("SIP/2.0/UDP 192.0.2.1;maddr=a.test", u, "192.0.2.1", 5060);
	goes("SIP/2.0/UDP a.test;maddr=[ff02::1];received=2001:db8::1", u, "ff02::1", 5060);
}
END_TEST

START_TEST(an_rport_without_received_is_not_ours_and_not_believed)
{
	goes("SIP/2.0/UDP 192.0.2.3:5071;rport=9", SIP_TRANSPORT_UDP, "192.0.2.3", 5071);
}
END_TEST

START_TEST(streams_fall_back_to_the_port_of_sent_by)
{
	goes("SIP/2.0/TCP a.test:5070;received=192.0.2.1;rport=40000", SIP_TRANSPORT_TCP,
	     "192.0.2.1", 5070);
	goes("SIP/2.0/TLS a.test;received=192.0.2.1;rport=40000", SIP_TRANSPORT_TLS,
	     "192.0.2.1", 5061);
}
END_TEST

START_TEST(a_connection_is_kept)
{
	struct sip_flow f = {.transport = SIP_TRANSPORT_TCP, .worker = 1, .conn = 77};
	ck_assert_int_eq(dest("SIP/2.0/TCP a.test", &f), 0);
	ck_assert_uint_eq(f.conn, 77);
	ck_assert_uint_eq(f.worker, 1);
}
END_TEST

START_TEST(the_transport_of_via_counts_when_the_flow_has_none)
{
	struct sip_flow f = {0};
	ck_assert_int_eq(dest("SIP/2.0/TLS 192.0.2.1", &f), 0);
	ck_assert_int_eq(f.transport, SIP_TRANSPORT_TLS);
	ck_assert_uint_eq(addr_port(&f.remote), 5061);
	f = (struct sip_flow){0};
	ck_assert_int_eq(dest("SIP/2.0/SCTP 192.0.2.1", &f), -EINVAL);
}
END_TEST

START_TEST(a_name_without_received_leads_nowhere)
{
	struct sip_flow f = {.transport = SIP_TRANSPORT_UDP};
	ck_assert_int_eq(dest("SIP/2.0/UDP a.test", &f), -EINVAL);
	ck_assert_int_eq(dest("SIP/2.0/UDP b.test;maddr=a.test", &f), -EINVAL);
}
END_TEST

UNIT_MAIN("sip stamp", a_via_that_tells_the_truth_is_left_alone,
	  another_source_or_a_name_gets_received,
	  rport_is_filled_and_received_always_comes_with_it, what_a_peer_claims_is_replaced,
	  only_the_top_one_of_two_in_a_field_is_stamped, no_room_leaves_the_message_as_it_was,
	  udp_responses_go_by_maddr_then_received_and_rport_then_sent_by,
	  a_unicast_maddr_names_nobody_else,
	  an_rport_without_received_is_not_ours_and_not_believed,
	  streams_fall_back_to_the_port_of_sent_by, a_connection_is_kept,
	  the_transport_of_via_counts_when_the_flow_has_none,
	  a_name_without_received_leads_nowhere)
