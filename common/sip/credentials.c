/*
 * Digest credentials: RFC 3261 20.7 and 22, RFC 7616 3.4, by libosip2's parser in the arena.
 * Before it a scan of the grammar, since libosip2 skips what it does not know and takes the
 * last of two equal names; after it a comparison: a field that the two read differently is
 * refused.
 */
#include "common/sip/sip_priv.h"

#include <errno.h>
#include <osipparser2/headers/osip_authorization.h>

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
	} fields[] = {
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
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (take(fields[i].to, fields[i].theirs, ps, fields[i].name) < 0)
			return -EINVAL;
	return 0;
}

int sip_credentials_parse(struct span value, struct sip_credentials *ret)
{
	osip_authorization_t *a;
	struct auth_params ps;
	struct span text;
	*ret = (struct sip_credentials){0};
	if (value.n == 0)
		return -EINVAL;
	const char *p = value.p, *e = value.p + value.n;
	const char *q = sip_scan(p, e, C_TOKEN);
	ret->scheme = sip_between(p, q);
	if (q == p || q == e || sip_skip_lws(q, e) == q)
		return -EINVAL;
	if (!span_ieq(ret->scheme, SPAN("Digest")))
		return -EPROTONOSUPPORT;

	int r = sip_unfold(value, &text);
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
