/*
 * Fuzz target: the index, and what stands on it (lists, kept messages, splice, answers). Aborts
 * when an index does not hold together or a spliced message reads differently.
 */
#include "common/sip/build.h"
#include "common/sip/frame.h"
#include "common/sip/msg.h"
#include "common/sip/splice.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void check_fields(const struct sip_msg *m)
{
	uint32_t at = m->start_len;
	for (unsigned i = 0; i < m->nhdr; i++) {
		const struct sip_hdr *h = &m->hdr[i];
		must(h->off == at && h->name_len > 0 && h->value_off > h->off);
		must(h->value_off + h->value_len + 2 <= h->off + h->len);
		must(memcmp(m->base + h->off + h->len - 2, "\r\n", 2) == 0);
		must(!memchr(m->base + h->off, '\0', h->len));
		at += h->len;
	}
	must(m->body_off == at + 2 && m->len == m->body_off + m->body_len);
	for (unsigned k = 1; k < SIP_HDR_COUNT; k++)
		for (const struct sip_hdr *h = sip_msg_first(m, k); h; h = sip_msg_next(m, h))
			must(h->kind == k);
}

static void check_lists(const struct sip_msg *m)
{
	for (unsigned k = 1; k < SIP_HDR_COUNT; k++) {
		struct sip_list_it it = {0};
		struct span v;
		while (sip_list_next(m, k, &it, &v))
			must(v.p >= m->base && v.p + v.n <= m->base + m->body_off);
	}
}

static void check_answer(const struct sip_msg *m, unsigned status)
{
	struct sip_response r = {.status = status, .to_tag = SPAN("t")};
	struct bytes *b = sip_build_response(m, &r);
	struct sip_limits lim = sip_limits_default;
	struct sip_hdr fields[SIP_HDR_MAX];
	struct sip_msg again = {.hdr = fields};
	struct sip_fault fault;
	lim.stream_bytes *= 2;
	lim.header_bytes *= 2;
	if (!b)
		return;
	/* CSeq and Call-ID are repeated as they came, wrong or not; all else must be sound. */
	if (sip_msg_index(&again, bytes_span(b), true, &lim, &fault) < 0)
		must(strcmp(fault.reason, "Invalid CSeq") == 0 ||
		     strcmp(fault.reason, "Invalid Call-ID") == 0 ||
		     strncmp(fault.reason, "Too Many", 8) == 0);
	bytes_unref(b);
}

static void check_splice(const struct sip_msg *m, const struct sip_limits *lim)
{
	struct sip_splice s;
	sip_splice_init(&s, m);
	sip_splice_remove_first_value(&s, SIP_HDR_ROUTE);
	sip_splice_prepend(&s, SIP_HDR_VIA, SPAN("Via: SIP/2.0/UDP new\r\n"));
	sip_splice_append(&s, SPAN("X: y\r\n"));
	struct bytes *b = sip_splice_bytes(&s);
	struct sip_hdr fields[SIP_HDR_MAX];
	struct sip_msg again = {.hdr = fields};
	struct sip_fault fault;
	if (!b)
		return;
	if (sip_msg_index(&again, bytes_span(b), false, lim, &fault) == 0) {
		must(span_eq(sip_msg_value(&again, SIP_HDR_VIA), SPAN("SIP/2.0/UDP new")));
		must(span_eq(sip_msg_body(&again), sip_msg_body(m)));
		must(span_eq(again.call_id, m->call_id));
	} else {
		must(strncmp(fault.reason, "Too Many", 8) == 0 ||
		     strcmp(fault.reason, "Message Too Large") == 0);
	}
	bytes_unref(b);
}

/* Nodes pass datagrams on by streams: there they must end where they do here. */
static void check_frame(const struct sip_msg *m)
{
	struct sip_framer f = {0};
	if (!sip_msg_first(m, SIP_HDR_CONTENT_LENGTH))
		return;
	must(sip_frame(&f, span_of(m->base, m->len), UINT32_MAX) == SIP_FRAME_MESSAGE);
	must(f.len == m->len);
}

static void one(struct span in, bool stream, const struct sip_limits *lim)
{
	struct sip_hdr fields[SIP_HDR_MAX];
	struct sip_msg m = {.hdr = fields};
	struct sip_fault fault = {0};
	if (sip_msg_index(&m, in, stream, lim, &fault) < 0) {
		must(fault.reason != NULL);
		if (fault.status)
			check_answer(&m, fault.status);
		return;
	}
	check_fields(&m);
	check_lists(&m);
	check_frame(&m);
	check_splice(&m, lim);
	if (m.is_request)
		check_answer(&m, 200);
	struct sip_kept *k = sip_kept_new(&m);
	if (k)
		must(span_eq(k->msg.call_id, m.call_id));
	sip_kept_unref(k);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct sip_limits small = {4096, 4096, 12, 64, 3, 4};
	struct span in = {(const char *)data, size};
	one(in, false, &sip_limits_default);
	one(in, true, &sip_limits_default);
	one(in, false, &small);
	return 0;
}
