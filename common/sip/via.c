/*
 * Via: RFC 3261 20.42 and 25.1, rport (RFC 3581), alias (RFC 5923), received= with an IPv6
 * address with or without brackets (RFC 5118 4.5).  Spans into the text as it came.
 */
#include "common/sip/sip_priv.h"

#include <errno.h>

static const char *scan_slash(const char *p, const char *e)
{
	p = sip_skip_lws(p, e);
	return p < e && *p == '/' ? sip_skip_lws(p + 1, e) : NULL;
}

/* Behind "SIP / 2.0 / transport", or NULL.  Any version: the grammar has a token there, and who
 * sends SIP/7.0 must be told 505. */
static const char *scan_protocol(const char *p, const char *e, struct span *ret_transport)
{
	if (e - p > 8 && memcmp(p, "SIP/2.0/", 8) == 0) {
		p += 8;
	} else {
		const char *q = sip_scan(p, e, C_TOKEN);
		if (!span_ieq(sip_between(p, q), SPAN("SIP")) || !(p = scan_slash(q, e)))
			return NULL;
		q = sip_scan(p, e, C_TOKEN);
		if (q == p || !(p = scan_slash(q, e)))
			return NULL;
	}
	p = sip_skip_lws(p, e);
	const char *q = sip_scan(p, e, C_TOKEN);
	*ret_transport = sip_between(p, q);
	return q == p ? NULL : q;
}

static bool plain(const struct sip_param *p)
{
	return p->value.p && p->value.p[0] != '"';
}

static int take_branch(struct sip_via *v, const struct sip_param *p)
{
	static const char cookie[] = "z9hG4bK";
	enum { N = sizeof(cookie) - 1 };
	if (!plain(p))
		return -EINVAL;
	v->branch = p->value;
	/* The cookie alone is no transaction's name (RFC 4475 3.2.1): RFC 2543's rules then */
	v->cookie = p->value.n > N && memcmp(p->value.p, cookie, N) == 0;
	return 0;
}

static int take_rport(struct sip_via *v, const struct sip_param *p)
{
	v->has_rport = true;
	if (!p->value.p)
		return 0;
	const char *e = p->value.p + p->value.n;
	return sip_scan_port(p->value.p, e, &v->rport) == e ? 0 : -EINVAL;
}

/* A host, its brackets taken off. */
static int take_host(const struct sip_param *p, struct span *ret)
{
	bool ipv6;
	if (!plain(p))
		return -EINVAL;
	const char *e = p->value.p + p->value.n;
	return sip_scan_host(p->value.p, e, ret, &ipv6) == e ? 0 : -EINVAL;
}

static int take_received(struct sip_via *v, const struct sip_param *p)
{
	struct addr a;
	if (take_host(p, &v->received) == 0)
		return 0;
	/* IPv6 without brackets is the grammar's own form here */
	if (!p->value.p || addr_parse(&a, p->value, 0) < 0)
		return -EINVAL;
	v->received = p->value;
	return 0;
}

static int take_ttl(const struct sip_param *p)
{
	uint32_t ttl;
	return p->value.p && sip_delta_parse(p->value, &ttl) == 0 && ttl < 256 ? 0 : -EINVAL;
}

static int take_param(struct sip_via *v, const struct sip_param *p)
{
	switch (p->name.n) {
	case 3:
		return sip_name_is(p->name, SPAN("ttl")) ? take_ttl(p) : 0;
	case 5:
		if (sip_name_is(p->name, SPAN("rport")))
			return take_rport(v, p);
		if (sip_name_is(p->name, SPAN("maddr")))
			return take_host(p, &v->maddr);
		if (sip_name_is(p->name, SPAN("alias")))
			v->alias = true;
		return 0;
	case 6:
		return sip_name_is(p->name, SPAN("branch")) ? take_branch(v, p) : 0;
	case 8:
		return sip_name_is(p->name, SPAN("received")) ? take_received(v, p) : 0;
	}
	return 0;
}

int sip_via_parse(struct span value, struct sip_via *ret)
{
	if (value.n == 0)
		return -EINVAL;
	const char *p = value.p, *e = value.p + value.n;
	ret->raw = value;
	ret->port = ret->rport = 0;
	ret->branch = ret->received = ret->maddr = span_of(NULL, 0);
	ret->cookie = ret->has_rport = ret->alias = false;
	ret->params.n = 0;

	p = scan_protocol(p, e, &ret->transport_text);
	if (!p || sip_skip_lws(p, e) == p)
		return -EINVAL;
	ret->transport = sip_transport_parse(ret->transport_text);
	p = sip_scan_host(sip_skip_lws(p, e), e, &ret->host, &ret->host_is_ipv6);
	if (!p)
		return -EINVAL;
	p = sip_skip_lws(p, e);
	if (p < e && *p == ':') {
		p = sip_scan_port(sip_skip_lws(p + 1, e), e, &ret->port);
		if (!p)
			return -EINVAL;
	}
	int r = sip_params_parse(p, e, &ret->params);
	for (unsigned i = 0; r == 0 && i < ret->params.n; i++)
		r = take_param(ret, &ret->params.v[i]);
	return r;
}
