/*
 * Fuzz target: how a message is known again.  Aborts when a message that the parser takes ends
 * elsewhere, has no fields for it, or another fingerprint after the stamp, or when its refusal
 * is no response to it, or grows beyond its room.
 */
#include "common/poison/poison.h"
#include "common/sip/stamp.h"

#include <stdlib.h>

enum { MAX = 4096 };

static const struct mac_key key = {7, 8};
static char buf[MAX + SIP_STAMP_ROOM], answer[MAX + POISON_REFUSAL_ROOM];

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void check_refusal(const struct sip_msg *m)
{
	struct sip_hdr fields[SIP_HDR_MAX];
	struct sip_msg r = {.hdr = fields};
	struct sip_fault fault;
	size_t n = poison_refusal(span_of(m->base, m->len), 9, answer,
				  m->len + POISON_REFUSAL_ROOM);
	if (m->method == SIP_ACK) {
		must(n == 0);
		return;
	}
	must(n > 0);
	if (sip_msg_index(&r, span_of(answer, n), true, &sip_limits_default, &fault) < 0)
		return; /* a field with the tag may be longer than is allowed */
	must(!r.is_request && r.status == 403 && r.cseq == m->cseq &&
	     span_eq(r.call_id, m->call_id) && span_eq(r.method_text, m->method_text));
	must(span_eq(sip_msg_value(&r, SIP_HDR_VIA), sip_msg_value(m, SIP_HDR_VIA)));
}

static void check_stamp(struct sip_msg *m)
{
	struct addr src;
	struct sip_via top;
	uint64_t before = poison_fingerprint(&key, span_of(m->base, m->len));
	addr_parse(&src, SPAN("203.0.113.9"), 40000);
	if (sip_msg_top_via(m, &top) < 0 || sip_stamp_via(m, buf, sizeof(buf), &top, &src) < 0)
		return;
	must(poison_fingerprint(&key, span_of(m->base, m->len)) == before);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct arena arena;
	struct sip_hdr fields[SIP_HDR_MAX];
	struct sip_msg m = {.hdr = fields};
	struct sip_fault fault;
	if (size > MAX)
		return 0;
	if (!arena.base) {
		must(sip_values_init() == 0 && arena_init(&arena, 65536) == 0);
		sip_values_use_arena(&arena);
	}
	arena_reset(&arena);
	memcpy(buf, data, size);
	must(poison_fingerprint(&key, span_of(buf, size)) != 0);
	size_t n = poison_refusal(span_of(buf, size), 9, answer, size + POISON_REFUSAL_ROOM);
	must(n <= size + POISON_REFUSAL_ROOM);
	if (sip_msg_index(&m, span_of(buf, size), false, &sip_limits_default, &fault) < 0)
		return 0;
	must(span_eq(poison_call_id(span_of(buf, size)), m.call_id));
	if (sip_msg_first(&m, SIP_HDR_CONTENT_LENGTH))
		must(poison_extent(span_of(buf, size)) == (ssize_t)m.len);
	if (m.is_request) {
		check_refusal(&m);
		check_stamp(&m);
	}
	return 0;
}
