/*
 * Framing on a stream (RFC 3261 7.5, 18.3; keep-alives of RFC 5626 4.4.1).  The end of the head
 * is the first CRLFCRLF, the end of the body what one Content-Length says; whatever leaves a
 * doubt breaks the stream, for two readings of where a message ends are how one is smuggled.
 */
#include "common/sip/frame.h"

#include "common/sip/sip_priv.h"

static enum sip_frame_result done(struct sip_framer *f, enum sip_frame_result r, size_t len)
{
	f->scanned = 0;
	f->len = len;
	f->half_ping = false;
	return r;
}

static enum sip_frame_result broken(struct sip_framer *f, size_t head, uint16_t status,
				    const char *reason)
{
	f->fault = (struct sip_fault){status, reason};
	return done(f, SIP_FRAME_BROKEN, head);
}

/* What stands between messages; `b` begins with CR. */
static enum sip_frame_result frame_crlf(struct sip_framer *f, struct span b)
{
	if (b.n < 2)
		return SIP_FRAME_MORE;
	if (b.p[1] != '\n')
		return broken(f, 0, 0, "CR Without LF");
	if (f->half_ping)
		return done(f, SIP_FRAME_KEEPALIVE, 2);
	if (b.n >= 4 && b.p[2] == '\r' && b.p[3] == '\n')
		return done(f, SIP_FRAME_KEEPALIVE, 4);
	if (b.n == 3 && b.p[2] == '\r')
		return SIP_FRAME_MORE;
	done(f, SIP_FRAME_SKIP, 2);
	f->half_ping = b.n == 2;
	return SIP_FRAME_SKIP;
}

/* The length of the head, 0 when it is not whole, -1 for a LF without CR. */
static ptrdiff_t find_head(struct sip_framer *f, struct span b)
{
	const char *p = b.p + f->scanned, *end = b.p + b.n;
	while ((p = memchr(p, '\n', (size_t)(end - p)))) {
		if (p == b.p || p[-1] != '\r')
			return -1;
		if (p - b.p >= 3 && p[-2] == '\n')
			return p + 1 - b.p;
		p++;
	}
	f->scanned = b.n;
	return 0;
}

/* The CRLF that ends the field at p with its folded lines; there is one. */
static const char *field_end(const char *p, const char *end)
{
	for (;;) {
		p = memchr(p, '\n', (size_t)(end - p));
		if (end - p < 2 || (p[1] != ' ' && p[1] != '\t'))
			return p - 1;
		p++;
	}
}

static bool is_content_length(const char *p, const char *eol, struct span *ret_value)
{
	if ((*p | 0x20) != 'c' && (*p | 0x20) != 'l')
		return false;
	const char *colon = memchr(p, ':', (size_t)(eol - p));
	if (!colon)
		return false;
	const char *name_end = colon;
	while (name_end > p && (name_end[-1] == ' ' || name_end[-1] == '\t'))
		name_end--;
	if (sip_hdr_kind_of(span_of(p, (size_t)(name_end - p))) != SIP_HDR_CONTENT_LENGTH)
		return false;
	*ret_value = span_trim(span_of(colon + 1, (size_t)(eol - colon - 1)));
	return true;
}

/* The body's length from a whole head: 0, or -1 with f->fault set. */
static int body_length(struct sip_framer *f, struct span head, uint64_t *ret_n)
{
	const char *end = head.p + head.n;
	bool found = false;
	const char *p =
		(const char *)memchr(head.p, '\n', head.n) + 1; /* behind the start line */
	while (end - p > 2) {
		const char *eol = field_end(p, end);
		struct span value;
		uint64_t n;
		if (is_content_length(p, eol, &value)) {
			if (span_u64(value, UINT32_MAX, &n) < 0) {
				broken(f, head.n, 400, "Invalid Content-Length");
				return -1;
			}
			if (found && n != *ret_n) {
				broken(f, head.n, 400, "Repeated Content-Length");
				return -1;
			}
			found = true;
			*ret_n = n;
		}
		p = eol + 2;
	}
	if (!found) {
		broken(f, head.n, 400, "Missing Content-Length");
		return -1;
	}
	return 0;
}

/* Looks for the end of the head and sets f->len. */
static enum sip_frame_result frame_head(struct sip_framer *f, struct span b, size_t message_max)
{
	ptrdiff_t head = find_head(f, b);
	uint64_t body;
	if (head < 0)
		return broken(f, 0, 400, "LF Without CR");
	if ((head ? (size_t)head : b.n) > message_max)
		return broken(f, (size_t)head, 513, "Message Too Large");
	if (head == 0)
		return SIP_FRAME_MORE;
	if (body_length(f, span_of(b.p, (size_t)head), &body) < 0)
		return SIP_FRAME_BROKEN;
	if (body > message_max - (size_t)head)
		return broken(f, (size_t)head, 513, "Message Too Large");
	f->len = (size_t)head + body;
	return SIP_FRAME_MESSAGE;
}

enum sip_frame_result sip_frame(struct sip_framer *f, struct span bytes, size_t message_max)
{
	if (f->scanned == 0) {
		f->len = 0;
		if (bytes.n == 0)
			return SIP_FRAME_MORE;
		if (bytes.p[0] == '\r')
			return frame_crlf(f, bytes);
		/* Another protocol (a TLS hello, say) shows at once. */
		if (!sip_char_is(bytes.p[0], SIP_CHAR_TOKEN))
			return broken(f, 0, 0, "Not SIP");
	}
	if (f->len == 0) {
		enum sip_frame_result r = frame_head(f, bytes, message_max);
		if (r != SIP_FRAME_MESSAGE)
			return r;
		f->scanned = bytes.n;
	}
	if (bytes.n < f->len)
		return SIP_FRAME_MORE;
	return done(f, SIP_FRAME_MESSAGE, f->len);
}
