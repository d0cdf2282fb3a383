/*
 * Walks over the comma-separated values of list fields (RFC 3261 7.3.1).  Commas inside quotes
 * or angle brackets separate nothing (20, 20.10).  The syntax of the values is not looked at.
 */
#include "common/sip/msg.h"

#include "common/sip/sip_priv.h"

static struct span trimmed(const char *p, const char *end)
{
	while (p < end && sip_char_is(*p, SIP_CHAR_SPACE))
		p++;
	while (end > p && sip_char_is(end[-1], SIP_CHAR_SPACE))
		end--;
	return span_of(p, (size_t)(end - p));
}

/* Behind the closing quote, or end without one; p stands behind the opening quote. */
static const char *skip_quoted(const char *p, const char *end)
{
	for (; p < end; p++) {
		if (*p == '"')
			return p + 1;
		if (*p == '\\' && end - p > 1)
			p++;
	}
	return end;
}

/* The comma that ends the value at p, or end. */
static const char *value_end(const char *p, const char *end)
{
	bool bracket = false;
	if (!memchr(p, ',', (size_t)(end - p)))
		return end;
	while (p < end) {
		char c = *p++;
		if (c == '"' && !bracket)
			p = skip_quoted(p, end);
		else if (c == '<')
			bracket = true;
		else if (c == '>')
			bracket = false;
		else if (c == ',' && !bracket)
			return p - 1;
	}
	return end;
}

bool sip_list_next(const struct sip_msg *m, enum sip_hdr_kind k, struct sip_list_it *it,
		   struct span *ret_value)
{
	if (!it->started || !it->rest.p) {
		const struct sip_hdr *h = !it->started ? sip_msg_first(m, k)
					  : it->hdr    ? sip_msg_next(m, it->hdr)
						       : NULL;
		it->started = true;
		it->hdr = h;
		if (!h)
			return false;
		it->rest = sip_hdr_value(m, h);
	}
	const char *p = it->rest.p, *end = p + it->rest.n;
	const char *stop = value_end(p, end);
	*ret_value = trimmed(p, stop);
	it->rest = stop < end ? span_of(stop + 1, (size_t)(end - stop - 1)) : span_of(NULL, 0);
	return true;
}

bool sip_msg_has_token(const struct sip_msg *m, enum sip_hdr_kind k, struct span token)
{
	struct sip_list_it it = {0};
	struct span v;
	while (sip_list_next(m, k, &it, &v))
		if (span_ieq(v, token))
			return true;
	return false;
}
