/*
 * What a next hop asks for: the TARGET of RFC 3263 section 4, its port and transport, before
 * any name is looked up.
 */
#include "common/locate/locate_priv.h"

#include <errno.h>

static bool can(unsigned supported, enum sip_transport t)
{
	return supported & (1u << t);
}

/* The transport that a URI names, if any.  sips means TLS whatever stream is named (RFC 3261
 * 26.2.2); "sip:...;transport=tls" is deprecated but in use. */
static int read_transport(const struct sip_uri *u, struct locate_ask *a)
{
	const struct sip_param *p = sip_uri_param(u, SPAN("transport"));

	a->transport = SIP_TRANSPORT_NONE;
	if (!p)
		return 0;
	a->transport = sip_transport_parse(p->value);
	if (a->transport == SIP_TRANSPORT_NONE)
		return -EPROTONOSUPPORT;
	if (!a->secure)
		return 0;
	switch (a->transport) {
	case SIP_TRANSPORT_TCP:
	case SIP_TRANSPORT_TLS:
		a->transport = SIP_TRANSPORT_TLS;
		return 0;
	case SIP_TRANSPORT_WS:
	case SIP_TRANSPORT_WSS:
		a->transport = SIP_TRANSPORT_WSS;
		return 0;
	case SIP_TRANSPORT_NONE:
	case SIP_TRANSPORT_UDP:
		break;
	}
	return -EPROTONOSUPPORT;
}

/* 4.1: UDP for sip and TCP, that is TLS, for sips where nothing else decides; what we cannot do
 * is not chosen. */
static enum sip_transport fallback_of(const struct locate_ask *a, unsigned supported)
{
	static const enum sip_transport order[] = {SIP_TRANSPORT_UDP, SIP_TRANSPORT_TCP,
						   SIP_TRANSPORT_TLS};

	if (a->transport != SIP_TRANSPORT_NONE)
		return a->transport;
	for (unsigned i = a->secure ? 2 : 0; i < 3; i++)
		if (can(supported, order[i]))
			return order[i];
	return SIP_TRANSPORT_NONE;
}

static int read_host(const struct sip_uri *u, struct locate_ask *a)
{
	const struct sip_param *maddr = sip_uri_param(u, SPAN("maddr"));
	struct span h = maddr && maddr->value.n ? maddr->value : u->host;

	if (h.n && h.p[h.n - 1] == '.')
		h.n--;
	if (h.n == 0 || h.n > 253)
		return -EINVAL;
	for (size_t i = 0; i < h.n; i++)
		a->host[i] =
			(char)(h.p[i] >= 'A' && h.p[i] <= 'Z' ? h.p[i] - 'A' + 'a' : h.p[i]);
	a->host[h.n] = 0;
	a->numeric = addr_parse(&a->addr, h, 0) == 0;
	return 0;
}

int locate_ask_read(const struct sip_uri *u, unsigned supported, struct locate_ask *ret)
{
	if (u->scheme != SIP_SCHEME_SIP && u->scheme != SIP_SCHEME_SIPS)
		return -EINVAL;
	ret->secure = u->scheme == SIP_SCHEME_SIPS;
	ret->port = u->port;
	int rc = read_transport(u, ret);
	if (rc == 0)
		rc = read_host(u, ret);
	if (rc < 0)
		return rc;
	ret->fallback = fallback_of(ret, supported);
	if (ret->fallback == SIP_TRANSPORT_NONE || !can(supported, ret->fallback))
		return -EPROTONOSUPPORT;
	return 0;
}
