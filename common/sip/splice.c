/*
 * Splice forwarding: edits kept in order of their place, rendered as pieces of the original
 * bytes and of what was put in.  No allocation but in sip_splice_bytes().
 */
#include "common/sip/splice.h"

#include <errno.h>
#include <stdio.h>

void sip_splice_init(struct sip_splice *s, const struct sip_msg *m)
{
	s->m = m;
	s->n = 0;
	s->overflow = false;
}

/* May `del` bytes at `off` go in behind edit a and before edit b (either may be NULL)?  At one
 * place any number of insertions stand, and one deletion. */
static bool fits(const struct sip_edit *a, const struct sip_edit *b, uint32_t off, uint32_t del)
{
	if (a && (a->off < off ? a->off + a->del > off : a->del > 0 && del > 0))
		return false;
	return !b || off + del <= b->off;
}

void sip_splice_replace(struct sip_splice *s, uint32_t off, uint32_t del, struct span ins)
{
	if (off > s->m->len || del > s->m->len - off || s->n == SIP_SPLICE_MAX) {
		s->overflow = true;
		return;
	}
	unsigned i = s->n;
	while (i > 0 && s->e[i - 1].off > off)
		i--;
	/* The deletion of this place, when there is one, need not be the last edit here. */
	const struct sip_edit *before = i > 0 ? &s->e[i - 1] : NULL;
	for (unsigned j = i; j-- > 0 && s->e[j].off == off;)
		if (s->e[j].del > 0)
			before = &s->e[j];
	if (!fits(before, i < s->n ? &s->e[i] : NULL, off, del)) {
		s->overflow = true;
		return;
	}
	memmove(&s->e[i + 1], &s->e[i], (s->n - i) * sizeof(s->e[0]));
	s->e[i] = (struct sip_edit){off, del, ins};
	s->n++;
}

void sip_splice_replace_span(struct sip_splice *s, struct span what, struct span ins)
{
	if (!what.p || what.p < s->m->base || what.p > s->m->base + s->m->len ||
	    what.n > s->m->len) {
		s->overflow = true;
		return;
	}
	sip_splice_replace(s, (uint32_t)(what.p - s->m->base), (uint32_t)what.n, ins);
}

void sip_splice_remove_hdr(struct sip_splice *s, const struct sip_hdr *h)
{
	sip_splice_replace(s, h->off, h->len, span_of(NULL, 0));
}

void sip_splice_remove_first_value(struct sip_splice *s, enum sip_hdr_kind k)
{
	struct sip_list_it it = {0};
	struct span first, second;
	if (!sip_list_next(s->m, k, &it, &first))
		return;
	const struct sip_hdr *h = it.hdr;
	if (!sip_list_next(s->m, k, &it, &second) || it.hdr != h) {
		sip_splice_remove_hdr(s, h);
		return;
	}
	uint32_t to = (uint32_t)(second.p - s->m->base);
	sip_splice_replace(s, h->value_off, to - h->value_off, span_of(NULL, 0));
}

void sip_splice_prepend(struct sip_splice *s, enum sip_hdr_kind k, struct span lines)
{
	const struct sip_hdr *h = sip_msg_first(s->m, k);
	sip_splice_insert(s, h ? h->off : s->m->start_len, lines);
}

void sip_splice_append(struct sip_splice *s, struct span lines)
{
	sip_splice_insert(s, s->m->body_off - 2, lines); /* in front of the empty line */
}

void sip_splice_length(struct sip_splice *s, char room[SIP_LENGTH_ROOM])
{
	if (sip_msg_first(s->m, SIP_HDR_CONTENT_LENGTH))
		return;
	int n = snprintf(room, SIP_LENGTH_ROOM, "Content-Length: %u\r\n", s->m->body_len);
	sip_splice_append(s, span_of(room, (size_t)n));
}

size_t sip_splice_len(const struct sip_splice *s)
{
	if (s->overflow)
		return 0;
	size_t len = s->m->len;
	for (unsigned i = 0; i < s->n; i++)
		len += s->e[i].ins.n - s->e[i].del;
	return len;
}

static int add_piece(struct iovec *iov, int n, const char *p, size_t len)
{
	if (len == 0)
		return n;
	iov[n].iov_base = (void *)p;
	iov[n].iov_len = len;
	return n + 1;
}

int sip_splice_iov(const struct sip_splice *s, struct iovec *iov)
{
	if (s->overflow)
		return -EOVERFLOW;
	const char *base = s->m->base;
	uint32_t pos = 0;
	int n = 0;
	for (unsigned i = 0; i < s->n; i++) {
		const struct sip_edit *e = &s->e[i];
		if (e->off > pos) {
			n = add_piece(iov, n, base + pos, e->off - pos);
			pos = e->off;
		}
		n = add_piece(iov, n, e->ins.p, e->ins.n);
		if (e->off + e->del > pos)
			pos = e->off + e->del;
	}
	return add_piece(iov, n, base + pos, s->m->len - pos);
}

struct bytes *sip_splice_bytes(const struct sip_splice *s)
{
	struct iovec iov[SIP_SPLICE_IOV];
	int n = sip_splice_iov(s, iov);
	if (n < 0)
		return NULL;
	struct bytes *b = bytes_new(sip_splice_len(s));
	if (!b)
		return NULL;
	char *p = b->p;
	for (int i = 0; i < n; i++) {
		memcpy(p, iov[i].iov_base, iov[i].iov_len);
		p += iov[i].iov_len;
	}
	return b;
}
