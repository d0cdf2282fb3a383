/*
 * Flows and the names of transports.
 */
#include "common/sip/flow.h"
#include "tests/unit/unit.h"

START_TEST(names_of_transports_go_both_ways_without_regard_to_case)
{
	for (enum sip_transport t = SIP_TRANSPORT_UDP; t <= SIP_TRANSPORT_WSS; t++) {
		ck_assert_int_eq(sip_transport_parse(span_str(sip_transport_via(t))), t);
		ck_assert_int_eq(sip_transport_parse(span_str(sip_transport_uri(t))), t);
	}
	ck_assert_str_eq(sip_transport_via(SIP_TRANSPORT_TLS), "TLS");
	ck_assert_str_eq(sip_transport_uri(SIP_TRANSPORT_TLS), "tls");
}
END_TEST

START_TEST(unknown_transports_are_none)
{
	ck_assert_int_eq(sip_transport_parse(SPAN("SCTP")), SIP_TRANSPORT_NONE);
	ck_assert_int_eq(sip_transport_parse(SPAN("NONE")), SIP_TRANSPORT_NONE);
	ck_assert_int_eq(sip_transport_parse(SPAN("TL")), SIP_TRANSPORT_NONE);
	ck_assert_int_eq(sip_transport_parse(SPAN("")), SIP_TRANSPORT_NONE);
}
END_TEST

START_TEST(only_udp_is_unreliable_and_only_tls_has_5061)
{
	ck_assert(!sip_transport_reliable(SIP_TRANSPORT_UDP));
	ck_assert(sip_transport_reliable(SIP_TRANSPORT_TCP));
	ck_assert_uint_eq(sip_transport_port(SIP_TRANSPORT_UDP), 5060);
	ck_assert_uint_eq(sip_transport_port(SIP_TRANSPORT_TCP), 5060);
	ck_assert_uint_eq(sip_transport_port(SIP_TRANSPORT_TLS), 5061);
	ck_assert_uint_eq(sip_transport_port(SIP_TRANSPORT_WSS), 5061);
}
END_TEST

START_TEST(flows_differ_by_transport_listener_connection_and_address)
{
	struct sip_flow a = {.transport = SIP_TRANSPORT_TCP, .listener = 1, .conn = 7}, b;
	ck_assert_int_eq(addr_parse(&a.remote, SPAN("192.0.2.1"), 5060), 0);
	b = a;
	b.worker = 3; /* who serves it makes no other flow */
	ck_assert(sip_flow_equal(&a, &b));
	b.conn = 8;
	ck_assert(!sip_flow_equal(&a, &b));
	b = a;
	b.listener = 2;
	ck_assert(!sip_flow_equal(&a, &b));
	b = a;
	b.transport = SIP_TRANSPORT_TLS;
	ck_assert(!sip_flow_equal(&a, &b));
	b = a;
	addr_set_port(&b.remote, 5061);
	ck_assert(!sip_flow_equal(&a, &b));
}
END_TEST

UNIT_MAIN("sip flow", names_of_transports_go_both_ways_without_regard_to_case,
	  unknown_transports_are_none, only_udp_is_unreliable_and_only_tls_has_5061,
	  flows_differ_by_transport_listener_connection_and_address)
