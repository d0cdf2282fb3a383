/*
 * SIP and SIPS URIs: RFC 3261 19.1.1 and 25.1 (parse), 19.1.4 (equality).  Spans into the text
 * as it came, escapes left alone; docs/decisions/0002-values.md says why libosip2 does not do
 * this one.  Of other schemes only the characters are checked.
 */
#include "common/sip/sip_priv.h"

#include <errno.h>

/* Scheme and colon at p: behind the colon, or NULL. */
static const char *scan_scheme(const char *p, const char *e, enum sip_scheme *ret)
{
	const char *q = p;
	if (e - p > 4 && (p[0] | 32) == 's' && (p[1] | 32) == 'i' && (p[2] | 32) == 'p') {
		if (p[3] == ':')
			return *ret = SIP_SCHEME_SIP, p + 4;
		if ((p[3] | 32) == 's' && p[4] == ':')
			return *ret = SIP_SCHEME_SIPS, p + 5;
	}
	if (p == e || (*p | 32) < 'a' || (*p | 32) > 'z')
		return NULL;
	while (q < e && (sip_is(*q, C_HOST) || *q == '+') && *q != '_')
		q++;
	if (q == e || *q != ':')
		return NULL;
	*ret = span_ieq(sip_between(p, q), SPAN("tel")) ? SIP_SCHEME_TEL : SIP_SCHEME_OTHER;
	return q + 1;
}

static const char *scan_userinfo(const char *p, const char *at, struct sip_uri *u)
{
	const char *q = sip_scan_esc(p, at, C_USER);
	if (q == p)
		return NULL;
	u->user = sip_between(p, q);
	if (q < at && *q == ':') {
		p = q + 1;
		q = sip_scan_esc(p, at, C_PASS);
		u->password = sip_between(p, q);
	}
	return q == at ? at + 1 : NULL;
}

/* Wider than the grammar by "=", which base64 brings: a name ends at the first one. */
static const char *scan_pvalue(const char *p, const char *e)
{
	while ((p = sip_scan_esc(p, e, C_PARAM)) < e && *p == '=')
		p++;
	return p;
}

/* *( ";" pname [ "=" pvalue ] ): no white space, escapes allowed. */
static const char *scan_uri_params(const char *p, const char *e, struct sip_params *ps)
{
	while (p < e && *p == ';') {
		struct span name, value = {NULL, 0};
		const char *q = sip_scan_esc(++p, e, C_PARAM);
		if (q == p)
			return NULL;
		name = sip_between(p, q);
		p = q;
		if (p < e && *p == '=') {
			q = scan_pvalue(++p, e);
			if (q == p)
				return NULL;
			value = sip_between(p, q);
			p = q;
		}
		if (sip_params_add(ps, name, value) < 0)
			return NULL;
	}
	return p;
}

/* hname "=" hvalue *( "&" ...): true when all of [p, e) is. */
static bool headers_ok(const char *p, const char *e)
{
	for (;;) {
		const char *q = sip_scan_esc(p, e, C_HEADER);
		if (q == p || q == e || *q != '=')
			return false;
		p = sip_scan_esc(q + 1, e, C_HEADER);
		if (p == e)
			return true;
		if (*p++ != '&')
			return false;
	}
}

static int other_scheme(const char *p, const char *e)
{
	const char *q = sip_scan_esc(p, e, C_USER | C_GEN);
	return q == e && q > p ? -EPROTONOSUPPORT : -EINVAL;
}

int sip_uri_parse(struct span text, struct sip_uri *ret)
{
	/* Not the whole of it: the room for parameters is 800 bytes */
	ret->raw = text;
	ret->scheme = SIP_SCHEME_OTHER;
	ret->user = ret->password = ret->host = ret->headers = span_of(NULL, 0);
	ret->host_is_ipv6 = false;
	ret->port = 0;
	ret->params.n = 0;
	if (text.n == 0)
		return -EINVAL;
	const char *e = text.p + text.n, *p = scan_scheme(text.p, e, &ret->scheme);
	if (!p)
		return -EINVAL;
	if (ret->scheme != SIP_SCHEME_SIP && ret->scheme != SIP_SCHEME_SIPS)
		return other_scheme(p, e);

	/* "@" cannot stand anywhere else, so the first one ends the userinfo */
	const char *at = memchr(p, '@', (size_t)(e - p));
	if (at)
		p = scan_userinfo(p, at, ret);
	if (p)
		p = sip_scan_host(p, e, &ret->host, &ret->host_is_ipv6);
	if (p && p < e && *p == ':')
		p = sip_scan_port(p + 1, e, &ret->port);
	if (p)
		p = scan_uri_params(p, e, &ret->params);
	if (p && p < e && *p == '?') {
		ret->headers = sip_between(p + 1, e);
		p = headers_ok(p + 1, e) ? e : NULL;
	}
	return p == e ? 0 : -EINVAL;
}

static int hex(char c)
{
	return c <= '9' ? c - '0' : (c | 32) - 'a' + 10;
}

int sip_uri_user(const struct sip_uri *u, struct span *ret_user)
{
	struct span s = u->user;
	if (!s.n || !memchr(s.p, '%', s.n)) {
		*ret_user = s;
		return 0;
	}
	char *out = sip_arena() ? arena_alloc(sip_arena(), s.n + 1) : NULL;
	size_t n = 0;
	if (!out)
		return -ENOMEM;
	for (size_t i = 0; i < s.n; i++) {
		out[n] = s.p[i];
		if (s.p[i] == '%') {
			if (s.n - i < 3 || !sip_is(s.p[i + 1], C_HEX) ||
			    !sip_is(s.p[i + 2], C_HEX))
				return -EINVAL;
			out[n] = (char)(hex(s.p[i + 1]) << 4 | hex(s.p[i + 2]));
			i += 2;
		}
		if (out[n++] == '\0')
			return -EINVAL;
	}
	out[n] = '\0';
	*ret_user = span_of(out, n);
	return 0;
}

/* ---- 19.1.4 ---- */

/* The next character of a component, escapes undone; an escaped character of RFC 2396's
 * reserved set is another one than the same character as it stands. */
static int next_char(struct span s, size_t *i)
{
	unsigned char c = (unsigned char)s.p[*i];
	if (c != '%' || s.n - *i < 3) {
		++*i;
		return c;
	}
	c = (unsigned char)(hex(s.p[*i + 1]) << 4 | hex(s.p[*i + 2]));
	*i += 3;
	return c && strchr(";/?:@&=+$,", c) ? c | 0x100 : c;
}

static int fold(int c)
{
	return c >= 'A' && c <= 'Z' ? c | 32 : c;
}

static bool component_equal(struct span a, struct span b, bool icase)
{
	size_t i = 0, j = 0;
	while (i < a.n && j < b.n) {
		int x = next_char(a, &i), y = next_char(b, &j);
		if (x != y && (!icase || fold(x) != fold(y)))
			return false;
	}
	return i == a.n && j == b.n;
}

/* Present in both or in neither, and equal. */
static bool optional_equal(struct span a, struct span b, bool icase)
{
	return !a.p == !b.p && component_equal(a, b, icase);
}

static bool host_equal(const struct sip_uri *a, const struct sip_uri *b)
{
	struct addr x, y;
	if (a->host_is_ipv6 != b->host_is_ipv6)
		return false;
	if (!a->host_is_ipv6 || span_ieq(a->host, b->host))
		return span_ieq(a->host, b->host);
	return addr_parse(&x, a->host, 0) == 0 && addr_parse(&y, b->host, 0) == 0 &&
	       addr_host_equal(&x, &y);
}

/* Parameters that count even when only one URI has them. */
static bool param_must_match(struct span name)
{
	static const struct span names[] = {
		{"user", 4}, {"ttl", 3}, {"method", 6}, {"maddr", 5}, {"transport", 9}};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (component_equal(name, names[i], true))
			return true;
	return false;
}

/* Whether all of a's parameters agree with b. */
static bool params_agree(const struct sip_params *a, const struct sip_params *b)
{
	for (unsigned i = 0; i < a->n; i++) {
		const struct sip_param *p = &a->v[i], *q = NULL;
		for (unsigned j = 0; j < b->n && !q; j++)
			if (component_equal(p->name, b->v[j].name, true))
				q = &b->v[j];
		if (q ? !optional_equal(p->value, q->value, true) : param_must_match(p->name))
			return false;
	}
	return true;
}

/* One header component off the front. */
static struct span next_header(struct span *rest)
{
	ptrdiff_t amp = span_chr(*rest, '&', 0);
	size_t n = amp < 0 ? rest->n : (size_t)amp;
	struct span h = span_of(rest->p, n);
	n += amp >= 0;
	*rest = span_of(rest->p + n, rest->n - n);
	return h;
}

static bool header_equal(struct span a, struct span b)
{
	ptrdiff_t i = span_chr(a, '=', 0), j = span_chr(b, '=', 0);
	if (i < 0 || j < 0)
		return false;
	size_t x = (size_t)i, y = (size_t)j;
	/* Values by the rules of each field: none is known to be free of case here, so byte
	 * wise. */
	return component_equal(span_of(a.p, x), span_of(b.p, y), true) &&
	       component_equal(span_of(a.p + x, a.n - x), span_of(b.p + y, b.n - y), false);
}

static unsigned header_count(struct span all, struct span h)
{
	unsigned n = 0;
	while (all.n)
		n += header_equal(next_header(&all), h);
	return n;
}

enum { HEADERS_COMPARED_MAX = 16 };

/* The same components, as often, in any order. */
static bool headers_equal(struct span a, struct span b)
{
	unsigned count = 0;
	if (span_eq(a, b))
		return true;
	for (struct span x = a, y = b; x.n || y.n;) {
		if (!x.n || !y.n || ++count > HEADERS_COMPARED_MAX)
			return false;
		next_header(&x);
		next_header(&y);
	}
	for (struct span x = a; x.n;) {
		struct span h = next_header(&x);
		if (header_count(a, h) != header_count(b, h))
			return false;
	}
	return true;
}

bool sip_uri_equal(const struct sip_uri *a, const struct sip_uri *b)
{
	if (a->scheme != b->scheme)
		return false;
	if (a->scheme != SIP_SCHEME_SIP && a->scheme != SIP_SCHEME_SIPS)
		return span_eq(a->raw, b->raw);
	return a->port == b->port && optional_equal(a->user, b->user, false) &&
	       optional_equal(a->password, b->password, false) && host_equal(a, b) &&
	       params_agree(&a->params, &b->params) && params_agree(&b->params, &a->params) &&
	       headers_equal(a->headers, b->headers);
}
