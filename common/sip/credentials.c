/*
 * Digest credentials: RFC 3261 20.7 and 22, RFC 7616 3.4.  Plain ones (names that we know, each
 * once, no escapes, no folds, quotes where the RFC has them) are spans into the message, found
 * in one pass.  Any other form is libosip2's parser's, in the arena: before it a scan of the
 * grammar, since libosip2 skips what it does not know and takes the last of two equal names;
 * after it a comparison: a field that the two read differently is refused.
 */
#include "common/sip/sip_priv.h"

#include <errno.h>
#include <osipparser2/headers/osip_authorization.h>

/* ---- the plain form, in place ---- */

enum field {
	USERNAME,
	REALM,
	NONCE,
	URI,
	RESPONSE,
	ALGORITHM,
	CNONCE,
	QOP,
	NC,
	OPAQUE,
	FIELDS
};

static const struct {
	char name[12];
	uint8_t n, at; /* at: in struct sip_credentials */
	bool token;    /* libosip2 and phones take it with and without quotes */
} fields[FIELDS] = {
	[USERNAME] = {"username", 8, offsetof(struct sip_credentials, username), false},
	[REALM] = {"realm", 5, offsetof(struct sip_credentials, realm), false},
	[NONCE] = {"nonce", 5, offsetof(struct sip_credentials, nonce), false},
	[URI] = {"uri", 3, offsetof(struct sip_credentials, uri), false},
	[RESPONSE] = {"response", 8, offsetof(struct sip_credentials, response), false},
	[ALGORITHM] = {"algorithm", 9, offsetof(struct sip_credentials, algorithm), true},
	[CNONCE] = {"cnonce", 6, offsetof(struct sip_credentials, cnonce), false},
	[QOP] = {"qop", 3, offsetof(struct sip_credentials, qop), true},
	[NC] = {"nc", 2, offsetof(struct sip_credentials, nc), true},
	[OPAQUE] = {"opaque", 6, offsetof(struct sip_credentials, opaque), false},
};

/* FIELDS for a name that is none of them. */
static enum field field_of(const char *name, size_t n)
{
	char first = name[0] | 0x20;
	enum field f;
	switch (n) {
	case 2:
		f = NC;
		break;
	case 3:
		f = first == 'q' ? QOP : URI;
		break;
	case 5:
		f = first == 'r' ? REALM : NONCE;
		break;
	case 6:
		f = first == 'c' ? CNONCE : OPAQUE;
		break;
	case 8:
		f = first == 'r' ? RESPONSE : USERNAME;
		break;
	case 9:
		f = ALGORITHM;
		break;
	default:
		return FIELDS;
	}
	return sip_same_name(name, fields[f].name, n) ? f : FIELDS;
}

/* The first quote, backslash or control character at or behind p, or e. */
static const char *scan_plain(const char *p, const char *e)
{
#ifdef __SSE2__
	const __m128i top = _mm_set1_epi8(0x1f), del = _mm_set1_epi8(0x7f);
	const __m128i quote = _mm_set1_epi8('"'), backslash = _mm_set1_epi8('\\');
	for (; e - p >= 16; p += 16) {
		__m128i v = _mm_loadu_si128((const __m128i *)p);
		__m128i stop =
			_mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, backslash));
		stop = _mm_or_si128(stop, _mm_cmpeq_epi8(_mm_min_epu8(v, top), v));
		int hit = _mm_movemask_epi8(_mm_or_si128(stop, _mm_cmpeq_epi8(v, del)));
		if (hit)
			return p + __builtin_ctz((unsigned)hit);
	}
#endif
	while (p < e && (unsigned char)*p >= ' ' && *p != '"' && *p != '\\' && *p != 0x7f)
		p++;
	return p;
}

/* The value at p into ret: behind it, or NULL when it is not plain. */
static const char *take_plain(const char *p, const char *e, bool token, struct span *ret)
{
	const char *q;
	if (p < e && *p == '"') {
		q = scan_plain(p + 1, e);
		if (q == e || *q != '"' || (token && q == p + 1))
			return NULL;
		*ret = sip_between(p + 1, q);
		return q + 1;
	}
	q = sip_scan(p, e, C_GEN);
	if (!token || q - p < 2) /* libosip2 passes over a token of one character */
		return NULL;
	*ret = sip_between(p, q);
	return q;
}

/* False: not plain, *ret is spoilt. */
static bool read_plain(const char *p, const char *e, struct sip_credentials *ret)
{
	unsigned seen = 0;
	for (;; p++) {
		while (p < e && *p == ' ')
			p++;
		const char *q = sip_scan(p, e, C_TOKEN);
		if (q == p || q == e || *q != '=')
			return false;
		enum field f = field_of(p, (size_t)(q - p));
		if (f == FIELDS || seen & 1u << f)
			return false;
		seen |= 1u << f;
		p = take_plain(q + 1, e, fields[f].token,
			       (struct span *)((char *)ret + fields[f].at));
		if (!p)
			return false;
		while (p < e && *p == ' ')
			p++;
		if (p == e)
			return true;
		if (*p != ',')
			return false;
	}
}

/* ---- every form ---- */

enum { AUTH_PARAM_MAX = 32 };

struct auth_params {
	unsigned n;
	struct sip_param v[AUTH_PARAM_MAX];
};

static const struct sip_param *find(const struct auth_params *ps, struct span name)
{
	for (unsigned i = 0; i < ps->n; i++)
		if (sip_name_is(ps->v[i].name, name))
			return &ps->v[i];
	return NULL;
}

/* auth-param *( COMMA auth-param ), each name once. */
static int scan_params(const char *p, const char *e, struct auth_params *ps)
{
	for (ps->n = 0;; p++) {
		p = sip_skip_lws(p, e);
		const char *q = sip_scan(p, e, C_TOKEN);
		struct span name = sip_between(p, q);
		p = sip_skip_lws(q, e);
		if (name.n == 0 || p == e || *p != '=' || find(ps, name) ||
		    ps->n == AUTH_PARAM_MAX)
			return -EINVAL;
		p = sip_skip_lws(p + 1, e);
		q = p < e && *p == '"' ? sip_skip_quoted(p, e) : sip_scan(p, e, C_GEN);
		if (!q || q == p)
			return -EINVAL;
		ps->v[ps->n++] = (struct sip_param){name, sip_between(p, q)};
		p = sip_skip_lws(q, e);
		if (p == e)
			return 0;
		if (*p != ',')
			return -EINVAL;
	}
}

/* Quotes and backslashes undone, in place: libosip2's copy is in the arena, and ours to change.
 */
static struct span undo_quotes(char *s)
{
	size_t n = strlen(s), to = 0;
	if (n < 2 || s[0] != '"')
		return span_of(s, n);
	if (!memchr(s, '\\', n)) {
		s[n - 1] = '\0';
		return span_of(s + 1, n - 2);
	}
	for (size_t i = 1; i < n - 1; i++) {
		if (s[i] == '\\' && i + 1 < n - 1)
			i++;
		s[to++] = s[i];
	}
	s[to] = '\0';
	return span_of(s, to);
}

/* One field as libosip2 read it (`theirs`, may be NULL) and as it stands in the text. */
static int take(struct span *ret, char *theirs, const struct auth_params *ps, struct span name)
{
	const struct sip_param *ours = find(ps, name);
	*ret = span_of(NULL, 0);
	if (!ours && !theirs)
		return 0;
	if (ours && !theirs && span_eq(ours->value, SPAN("\"\""))) {
		*ret = span_of("", 0); /* libosip2 takes an empty string for none */
		return 0;
	}
	if (!ours || !theirs)
		return -EINVAL;
	/* libosip2 takes the quotes off where the grammar has a token (algorithm, qop) */
	if (!span_eq(span_str(theirs), ours->value) &&
	    !span_eq(span_str(theirs), sip_unquote(ours->value)))
		return -EINVAL;
	*ret = undo_quotes(theirs);
	return 0;
}

static int take_all(struct sip_credentials *c, const osip_authorization_t *a,
		    const struct auth_params *ps)
{
	const struct {
		struct span *to;
		char *theirs;
		struct span name;
	} names[] = {
		{&c->username, a->username, SPAN("username")},
		{&c->realm, a->realm, SPAN("realm")},
		{&c->nonce, a->nonce, SPAN("nonce")},
		{&c->uri, a->uri, SPAN("uri")},
		{&c->response, a->response, SPAN("response")},
		{&c->algorithm, a->algorithm, SPAN("algorithm")},
		{&c->cnonce, a->cnonce, SPAN("cnonce")},
		{&c->qop, a->message_qop, SPAN("qop")},
		{&c->nc, a->nonce_count, SPAN("nc")},
		{&c->opaque, a->opaque, SPAN("opaque")},
	};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (take(names[i].to, names[i].theirs, ps, names[i].name) < 0)
			return -EINVAL;
	return 0;
}

/* 0 and the scheme; -EINVAL, -EPROTONOSUPPORT. */
static int read_scheme(struct span value, struct span *ret)
{
	const char *p = value.p, *e = value.p + value.n;
	const char *q = sip_scan(p, e, C_TOKEN);
	*ret = sip_between(p, q);
	if (q == p || q == e || sip_skip_lws(q, e) == q)
		return -EINVAL;
	return sip_name_is(*ret, SPAN("Digest")) ? 0 : -EPROTONOSUPPORT;
}

int sip_credentials_parse_any(struct span value, struct sip_credentials *ret)
{
	osip_authorization_t *a;
	struct auth_params ps;
	struct span text;
	*ret = (struct sip_credentials){0};
	int r = value.n ? read_scheme(value, &ret->scheme) : -EINVAL;
	if (r == 0)
		r = sip_unfold(value, &text);
	if (r < 0)
		return r;
	r = scan_params(text.p + ret->scheme.n, text.p + text.n, &ps);
	if (r < 0)
		return r;
	ret->scheme.p = text.p;
	r = osip_authorization_init(&a) == 0 ? osip_authorization_parse(a, text.p) : -1;
	if (sip_arena()->overflow)
		return -ENOMEM;
	if (r != 0 || take_all(ret, a, &ps) < 0)
		return -EINVAL;
	const struct sip_param *userhash = find(&ps, SPAN("userhash"));
	ret->userhash = userhash && span_ieq(sip_unquote(userhash->value), SPAN("true"));
	return 0;
}

int sip_credentials_parse(struct span value, struct sip_credentials *ret)
{
	*ret = (struct sip_credentials){0};
	int r = value.n ? read_scheme(value, &ret->scheme) : -EINVAL;
	if (r < 0)
		return r;
	const char *p = ret->scheme.p + ret->scheme.n;
	if (*p == ' ' && read_plain(p, value.p + value.n, ret))
		return 0;
	return sip_credentials_parse_any(value, ret);
}
