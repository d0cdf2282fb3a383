/*
 * Edits of an indexed message in its own buffer, the index kept in step: for the few bytes that
 * receiving adds (RFC 3261 18.2.1).  Forwarding edits by splice (splice.h), never here.
 */
#include "common/sip/stamp.h"

#include <errno.h>

/* The field whose value holds [off, off + del], or NULL. */
static struct sip_hdr *field_at(struct sip_msg *m, uint32_t off, uint32_t del)
{
	for (unsigned i = 0; i < m->nhdr; i++) {
		struct sip_hdr *h = &m->hdr[i];
		if (off >= h->value_off && off - h->value_off <= h->value_len)
			return del <= h->value_len - (off - h->value_off) ? h : NULL;
	}
	return NULL;
}

static void shift_span(struct span *s, const char *from, int64_t by)
{
	if (s->p && s->p >= from)
		s->p += by;
}

/* Everything behind the edit moves; the field around it grows. */
static void shift_index(struct sip_msg *m, struct sip_hdr *h, uint32_t off, uint32_t del,
			int64_t by)
{
	const char *from = m->base + off + del;
	for (struct sip_hdr *o = h + 1; o < m->hdr + m->nhdr; o++) {
		o->off = (uint32_t)(o->off + by);
		o->value_off = (uint32_t)(o->value_off + by);
	}
	h->value_len = (uint16_t)(h->value_len + by);
	h->len = (uint16_t)(h->len + by);
	m->body_off = (uint32_t)(m->body_off + by);
	m->len = (uint32_t)(m->len + by);
	shift_span(&m->method_text, from, by); /* of a response: in CSeq */
	m->call_id = sip_msg_value(m, SIP_HDR_CALL_ID);
}

int sip_msg_replace(struct sip_msg *m, char *buf, size_t cap, uint32_t off, uint32_t del,
		    struct span ins)
{
	struct sip_hdr *h = field_at(m, off, del);
	if (!h || buf != m->base)
		return -EINVAL;
	if (ins.n > UINT16_MAX)
		return -ENOSPC;
	int64_t by = (int64_t)ins.n - (int64_t)del;
	if (h->len + by > UINT16_MAX || m->len + by > (int64_t)cap)
		return -ENOSPC;
	memmove(buf + off + ins.n, buf + off + del, m->len - off - del);
	if (ins.n)
		memcpy(buf + off, ins.p, ins.n);
	shift_index(m, h, off, del, by);
	return 0;
}
