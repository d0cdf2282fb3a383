/*
 * name-addr and addr-spec with parameters: RFC 3261 20.10, 25.1 (From, To, Contact, Route ...).
 * Spans into the text as it came; a display name that was folded is unfolded in the arena.
 */
#include "common/sip/sip_priv.h"

#include <errno.h>

/* Wider than the grammar: UTF-8 outside of quotes, which is read in one way only. */
static const char *scan_display_tokens(const char *p, const char *e)
{
	for (;;) {
		const char *q = sip_skip_lws(p, e);
		while (q < e && (sip_is(*q, C_TOKEN) || (unsigned char)*q >= 0x80))
			q++;
		if (q == p)
			return p;
		p = q;
	}
}

static int take_display(struct span text, struct sip_nameaddr *na)
{
	if (text.n == 0)
		return 0;
	na->display = sip_unquote(text);
	if (!memchr(text.p, '\r', text.n))
		return 0;
	struct span copy;
	int r = sip_unfold(na->display, &copy);
	if (r == 0)
		na->display = copy;
	return r;
}

/* At p the URI and its closing bracket: behind it, or NULL. */
static const char *scan_bracketed(const char *p, const char *e, struct sip_nameaddr *na)
{
	const char *q = memchr(p, '>', (size_t)(e - p));
	if (!q)
		return NULL;
	na->uri_text = sip_between(p, q);
	return q + 1;
}

/* 20.10: without brackets "," "?" and ";" are not of the URI, so it ends there. */
static const char *scan_bare(const char *p, const char *e, struct sip_nameaddr *na)
{
	const char *q = p;
	while (q < e && (unsigned char)*q > ' ' && !strchr(";,?<>\"", *q))
		q++;
	na->uri_text = sip_between(p, q);
	return q;
}

/* display-name and "<" at p: behind it; p itself when there is no bracket; NULL when wrong. */
static const char *scan_head(const char *p, const char *e, struct sip_nameaddr *na)
{
	const char *q = *p == '"' ? sip_skip_quoted(p, e) : scan_display_tokens(p, e);
	if (!q)
		return NULL;
	const char *bracket = sip_skip_lws(q, e);
	if (bracket == e || *bracket != '<')
		return *p == '"' ? NULL : p;
	if (take_display(span_trim(sip_between(p, q)), na) < 0)
		return NULL;
	return bracket + 1;
}

int sip_nameaddr_parse(struct span value, struct sip_nameaddr *ret)
{
	if (value.n == 0)
		return -EINVAL;
	ret->raw = value;
	ret->display = span_of(NULL, 0);
	ret->params.n = 0;
	const char *e = value.p + value.n, *p = scan_head(value.p, e, ret);
	if (p)
		p = p > value.p ? scan_bracketed(p, e, ret) : scan_bare(p, e, ret);
	if (!p)
		return sip_arena() && sip_arena()->overflow ? -ENOMEM : -EINVAL;
	int r = sip_uri_parse(ret->uri_text, &ret->uri);
	if (r < 0 && r != -EPROTONOSUPPORT)
		return r;
	return sip_params_parse(p, e, &ret->params);
}

int sip_nameaddr_tag(const struct sip_nameaddr *na, struct span *ret_tag)
{
	const struct sip_param *p = sip_params_find(&na->params, SPAN("tag"));
	*ret_tag = p ? p->value : span_of(NULL, 0);
	return p && (!p->value.p || p->value.p[0] == '"') ? -EINVAL : 0;
}
