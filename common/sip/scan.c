/*
 * Scanners of the value parsers: character classes, quoted strings, hosts, ports, parameters.
 * RFC 3261 section 25.1; IPv6 references as corrected by RFC 5954.  Wider than the grammar only
 * where phones are and no reading can differ: "_" in a host name, "#" in a user, and the
 * characters of C_GEN in a parameter's value.
 */
#include "common/sip/sip_priv.h"

#include <errno.h>

enum {
	C_UNRES = C_TOKEN | C_USER | C_PASS | C_PARAM | C_HEADER | C_GEN,
	C_ALNUM = C_UNRES | C_HOST,
	HOST_MAX = 255,
	IPV6_TEXT_MAX = 45,
};

const uint8_t sip_cc[256] = {
	['0' ... '9'] = C_ALNUM | C_HEX,
	['A' ... 'F'] = C_ALNUM | C_HEX,
	['G' ... 'Z'] = C_ALNUM,
	['a' ... 'f'] = C_ALNUM | C_HEX,
	['g' ... 'z'] = C_ALNUM,
	['!'] = C_UNRES,
	['#'] = C_USER,
	['$'] = C_USER | C_PASS | C_PARAM | C_HEADER | C_GEN,
	['%'] = C_TOKEN | C_GEN,
	['&'] = C_USER | C_PASS | C_PARAM | C_GEN,
	['\''] = C_UNRES,
	['('] = C_USER | C_PASS | C_PARAM | C_HEADER,
	[')'] = C_USER | C_PASS | C_PARAM | C_HEADER,
	['*'] = C_UNRES,
	['+'] = C_UNRES,
	[','] = C_USER | C_PASS,
	['-'] = C_UNRES | C_HOST,
	['.'] = C_UNRES | C_HOST,
	['/'] = C_USER | C_PARAM | C_HEADER | C_GEN,
	[':'] = C_PARAM | C_HEADER | C_GEN,
	[';'] = C_USER,
	['='] = C_USER | C_PASS | C_GEN,
	['?'] = C_USER | C_HEADER,
	['@'] = C_GEN,
	['['] = C_PARAM | C_HEADER | C_GEN,
	[']'] = C_PARAM | C_HEADER | C_GEN,
	['_'] = C_UNRES | C_HOST,
	['`'] = C_TOKEN | C_GEN,
	['~'] = C_UNRES,
};

static const char *skip_quoted_slowly(const char *p, const char *e)
{
	for (p++; p < e; p++) {
		unsigned char c = (unsigned char)*p;
		if (c == '"')
			return p + 1;
		if (c == '\\') {
			/* quoted-pair: any ASCII but a line end, even NUL (RFC 4475 3.1.1.2) */
			if (++p == e || *p == '\r' || *p == '\n' || *p & 0x80)
				return NULL;
		} else if (c == '\r') {
			if (e - p < 3 || p[1] != '\n' || (p[2] != ' ' && p[2] != '\t'))
				return NULL;
			p += 2;
		} else if ((c < ' ' && c != '\t') || c == 0x7f) {
			return NULL;
		}
	}
	return NULL;
}

const char *sip_skip_quoted(const char *p, const char *e)
{
	const char *q = memchr(p + 1, '"', (size_t)(e - p - 1));
	if (!q)
		return NULL;
	bool plain = true;
	for (const char *c = p; c < q; c++)
		plain &= (unsigned char)*c >= ' ' && *c != '\\' && *c != 0x7f;
	return plain ? q + 1 : skip_quoted_slowly(p, e);
}

/* Four numbers of 0 to 255 at p: behind them, or NULL.  What goes on as a name may is none. */
static const char *scan_ipv4(const char *p, const char *e)
{
	unsigned parts = 0, digits = 0, v = 0;
	for (; p < e; p++) {
		unsigned d = (unsigned char)*p - (unsigned)'0';
		if (d <= 9) {
			v = v * 10 + d;
			if (++digits > 3 || v > 255)
				return NULL;
		} else if (*p == '.') {
			if (digits == 0 || ++parts > 3)
				return NULL;
			digits = v = 0;
		} else {
			break;
		}
	}
	return parts == 3 && digits && (p == e || !sip_is(*p, C_HOST)) ? p : NULL;
}

static const char *scan_ipv6(const char *p, const char *e, struct span *ret_host)
{
	struct addr a;
	const char *q = memchr(p, ']', (size_t)(e - p));
	if (!q || q - p > IPV6_TEXT_MAX + 1)
		return NULL;
	*ret_host = sip_between(p + 1, q);
	if (addr_parse(&a, *ret_host, 0) < 0 || a.sa.sa_family != AF_INET6)
		return NULL;
	return q + 1;
}

static bool digits_and_dots(struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] != '.' && (s.p[i] < '0' || s.p[i] > '9'))
			return false;
	return true;
}

const char *sip_scan_host(const char *p, const char *e, struct span *ret_host, bool *ret_ipv6)
{
	const char *q = p;
	*ret_ipv6 = p < e && *p == '[';
	if (*ret_ipv6)
		return scan_ipv6(p, e, ret_host);
	if (p < e && *p <= '9' && (q = scan_ipv4(p, e))) {
		*ret_host = sip_between(p, q);
		return q;
	}
	q = p;
	for (char last = '.'; q < e && sip_is(*q, C_HOST); last = *q++)
		if (*q == '.' && last == '.')
			return NULL; /* an empty label; one dot may end the name */
	*ret_host = sip_between(p, q);
	if (q == p || q - p > HOST_MAX)
		return NULL;
	return *p > '9' || !digits_and_dots(*ret_host) ? q : NULL;
}

const char *sip_scan_port(const char *p, const char *e, uint16_t *ret_port)
{
	const char *start = p;
	uint32_t v = 0;
	for (; p < e && *p >= '0' && *p <= '9' && p - start < 6; p++)
		v = v * 10 + (uint32_t)(*p - '0');
	if (p - start > 5 || v == 0 || v > UINT16_MAX)
		return NULL;
	*ret_port = (uint16_t)v;
	return p;
}

int sip_params_add(struct sip_params *ps, struct span name, struct span value)
{
	/* RFC 3261 7.3.1, 19.1.1: a name at most once; the same twice does no harm */
	for (unsigned i = 0; i < ps->n; i++) {
		const struct sip_param *o = &ps->v[i];
		if (sip_name_is(o->name, name) &&
		    (!o->value.p != !value.p || !span_eq(o->value, value)))
			return -EINVAL;
	}
	if (ps->n == SIP_PARAM_MAX)
		return -EINVAL;
	ps->v[ps->n++] = (struct sip_param){name, value};
	return 0;
}

/* gen-value = token / host / quoted-string */
static const char *scan_gen_value(const char *p, const char *e)
{
	if (p < e && *p == '"')
		return sip_skip_quoted(p, e);
	const char *q = sip_scan(p, e, C_GEN);
	return q == p ? NULL : q;
}

int sip_params_parse(const char *p, const char *e, struct sip_params *ps)
{
	for (;;) {
		struct span name, value = {NULL, 0};
		p = sip_skip_lws(p, e);
		if (p == e)
			return 0;
		if (*p != ';')
			return -EINVAL;
		p = sip_skip_lws(p + 1, e);
		const char *q = sip_scan(p, e, C_TOKEN);
		if (q == p)
			return -EINVAL;
		name = sip_between(p, q);
		p = sip_skip_lws(q, e);
		if (p < e && *p == '=') {
			p = sip_skip_lws(p + 1, e);
			q = scan_gen_value(p, e);
			if (!q)
				return -EINVAL;
			value = sip_between(p, q);
			p = q;
		}
		if (sip_params_add(ps, name, value) < 0)
			return -EINVAL;
	}
}
