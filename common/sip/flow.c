/*
 * Flows and the names of transports (RFC 3261 18, 19.1.1, 20.42; RFC 7118 for WS and WSS).
 */
#include "common/sip/flow.h"

static const struct {
	const char *via, *uri;
	uint16_t port;
} transports[] = {
	[SIP_TRANSPORT_NONE] = {"NONE", "none", 5060},
	[SIP_TRANSPORT_UDP] = {"UDP", "udp", 5060},
	[SIP_TRANSPORT_TCP] = {"TCP", "tcp", 5060},
	[SIP_TRANSPORT_TLS] = {"TLS", "tls", 5061},
	[SIP_TRANSPORT_WS] = {"WS", "ws", 5060},
	[SIP_TRANSPORT_WSS] = {"WSS", "wss", 5061},
};

enum { TRANSPORTS = sizeof(transports) / sizeof(transports[0]) };

const char *sip_transport_via(enum sip_transport t)
{
	return transports[t].via;
}

const char *sip_transport_uri(enum sip_transport t)
{
	return transports[t].uri;
}

uint16_t sip_transport_port(enum sip_transport t)
{
	return transports[t].port;
}

enum sip_transport sip_transport_parse(struct span name)
{
	if (name.n < 2 || name.n > 3)
		return SIP_TRANSPORT_NONE;
	if (span_eq(name, SPAN("UDP")))
		return SIP_TRANSPORT_UDP;
	for (unsigned t = SIP_TRANSPORT_UDP; t < TRANSPORTS; t++)
		if (span_ieq(name, span_str(transports[t].uri)))
			return (enum sip_transport)t;
	return SIP_TRANSPORT_NONE;
}

bool sip_flow_equal(const struct sip_flow *a, const struct sip_flow *b)
{
	if (a->node || b->node)
		return a->node == b->node;
	return a->transport == b->transport && a->listener == b->listener &&
	       a->conn == b->conn && addr_equal(&a->remote, &b->remote);
}
