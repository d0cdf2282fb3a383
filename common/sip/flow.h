/*
 * A flow: the way back to a peer as this node sees it (RFC 5626 section 2).  Plain data:
 * copied, compared, kept in records.
 */
#ifndef EAVES_SIP_FLOW_H
#define EAVES_SIP_FLOW_H

#include "common/base/addr.h"

enum sip_transport {
	SIP_TRANSPORT_NONE,
	SIP_TRANSPORT_UDP,
	SIP_TRANSPORT_TCP,
	SIP_TRANSPORT_TLS,
	SIP_TRANSPORT_WS, /* not carried yet */
	SIP_TRANSPORT_WSS,
};

static inline bool sip_transport_reliable(enum sip_transport t)
{
	return t != SIP_TRANSPORT_UDP;
}
/* "UDP" ... "WSS" as in Via; "udp" ... as in a URI's transport parameter. */
const char *sip_transport_via(enum sip_transport t);
const char *sip_transport_uri(enum sip_transport t);
/* By name, without regard to case; SIP_TRANSPORT_NONE when unknown. */
enum sip_transport sip_transport_parse(struct span name);
/* 5061 for TLS and WSS, else 5060. */
uint16_t sip_transport_port(enum sip_transport t);

struct sip_flow {
	enum sip_transport transport;
	uint16_t
		listener; /* index of the local listener: where it came in, where it goes out */
	uint16_t worker;  /* owner of the connection (streams) */
	uint64_t conn;	  /* connection identity, never used again; 0: none yet (or UDP) */
	struct addr remote;
	/* A node of the cluster at the far end, counted from 1; 0: none.  It names the flow in
	 * place of conn and remote: what goes there goes by whatever link to it there is, or to
	 * the other member of its pair. */
	uint16_t node;
	/* Behind a node: the transport of the last leg, that of the phone or peer, which
	 * decides whether a transaction repeats itself.  NONE: there is none beyond
	 * `transport`. */
	enum sip_transport leg;
	/* `node` has sent it, by way of the other member of our pair, which handed it on. */
	bool handed;
	/* TLS to be opened: what the certificate must be good for, a number of the worker that
	 * resolved it (locate_name()); 0: a connection that exists, or an answer's way */
	uint32_t name;
};

/* Does the far end of the flow get what is sent once (a stream all the way)? */
static inline bool sip_flow_reliable(const struct sip_flow *f)
{
	return sip_transport_reliable(f->leg != SIP_TRANSPORT_NONE ? f->leg : f->transport);
}

bool sip_flow_equal(const struct sip_flow *a, const struct sip_flow *b);

#endif
