/*
 * Kept messages: index, fields and bytes copied into one counted allocation.  One worker's: the
 * count is not atomic.
 */
#include "common/sip/msg.h"

#include <stdlib.h>

/* The same place in the copy; spans that stand elsewhere (empty ones) stay. */
static struct span moved(struct span s, const struct sip_msg *from, const char *to)
{
	if (s.p && s.p >= from->base && s.p + s.n <= from->base + from->len)
		s.p = to + (s.p - from->base);
	return s;
}

struct sip_kept *sip_kept_new(const struct sip_msg *m)
{
	size_t hdr_bytes = m->nhdr * sizeof(*m->hdr);
	struct sip_kept *k = malloc(sizeof(*k) + hdr_bytes + m->len);
	if (!k)
		return NULL;
	struct sip_hdr *hdr = (struct sip_hdr *)(k + 1);
	char *base = (char *)hdr + hdr_bytes;
	if (hdr_bytes)
		memcpy(hdr, m->hdr, hdr_bytes);
	if (m->len)
		memcpy(base, m->base, m->len);
	k->refs = 1;
	k->msg = *m;
	k->msg.hdr = hdr;
	k->msg.base = base;
	k->msg.method_text = moved(m->method_text, m, base);
	k->msg.uri = moved(m->uri, m, base);
	k->msg.reason = moved(m->reason, m, base);
	k->msg.call_id = moved(m->call_id, m, base);
	return k;
}

struct sip_kept *sip_kept_ref(struct sip_kept *k)
{
	k->refs++;
	return k;
}

struct sip_kept *sip_kept_unref(struct sip_kept *k)
{
	if (k && --k->refs == 0)
		free(k);
	return NULL;
}
