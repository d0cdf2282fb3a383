/*
 * Fuzz target: framing.  Aborts when a stream that comes in pieces is cut differently from one
 * that comes at once, or when a message it cuts out ends elsewhere for the index.
 */
#include "common/sip/frame.h"

#include <errno.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void check_message(struct span msg, const struct sip_limits *lim)
{
	struct sip_hdr fields[SIP_HDR_MAX];
	struct sip_msg m = {.hdr = fields};
	struct sip_fault fault = {0};
	if (sip_msg_index(&m, msg, true, lim, &fault) == 0) {
		must(m.len == msg.n && m.base == msg.p);
		return;
	}
	must(strcmp(fault.reason, "Missing Empty Line") != 0 &&
	     strcmp(fault.reason, "Missing Content-Length") != 0 &&
	     strcmp(fault.reason, "Message Too Large") != 0);
}

/* Ends of the messages in the stream when it comes `step` bytes at a time; how it ended. */
static enum sip_frame_result cut(struct span in, size_t step, size_t *ends, size_t max,
				 size_t *n)
{
	struct sip_limits lim = sip_limits_default;
	struct sip_framer f = {0};
	size_t start = 0, avail = 0;
	lim.stream_bytes = 1024;
	*n = 0;
	for (;;) {
		struct span b = span_of(in.p + start, avail - start);
		enum sip_frame_result r = sip_frame(&f, b, lim.stream_bytes);
		if (r == SIP_FRAME_BROKEN)
			return r;
		if (r == SIP_FRAME_MORE) {
			if (avail == in.n)
				return r;
			avail = in.n - avail < step ? in.n : avail + step;
			continue;
		}
		must(f.len > 0 && f.len <= b.n);
		if (r == SIP_FRAME_MESSAGE) {
			must(*n < max);
			ends[(*n)++] = start + f.len;
			check_message(span_of(b.p, f.len), &lim);
		}
		start += f.len;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum { MAX = 512 }; /* messages of at least 8 bytes in 4096 */
	struct span in = {(const char *)data, size > 4096 ? 4096 : size};
	size_t whole[MAX], pieces[MAX], n_whole, n_pieces;
	enum sip_frame_result r = cut(in, in.n + 1, whole, MAX, &n_whole);
	for (size_t step = 1; step <= 7; step += 3) {
		must(cut(in, step, pieces, MAX, &n_pieces) == r);
		must(n_whole == n_pieces);
		must(memcmp(whole, pieces, n_whole * sizeof(whole[0])) == 0);
	}
	return 0;
}
