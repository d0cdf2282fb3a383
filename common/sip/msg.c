/*
 * The index: one strict pass over a message (RFC 3261 sections 7 and 25.1).  A fault does not
 * end the pass: what can be read is read on, so that the answer can be built.  What is refused
 * stands in README.md.  The syntax of values is not looked at here (values.h).
 */
#include "common/sip/msg.h"

#include "common/sip/sip_priv.h"

#include <errno.h>

const struct sip_limits sip_limits_default = {
	.datagram_bytes = 8192,
	.stream_bytes = 65536,
	.headers = 96,
	.header_bytes = 2048,
	.commas = 32,
	.semicolons = 24,
};

struct indexer {
	struct sip_msg *m;
	const struct sip_limits *lim;
	const char *p, *end;
	uint64_t seen;	      /* bit: kind */
	uint32_t len_plain;   /* bytes of a field that need no second look */
	uint32_t fields_left; /* sound or not */
	uint32_t about_plain; /* commas and semicolons, likewise */
	bool astray; /* a Via may have been lost: an answer could go to the wrong place */
	struct sip_fault fault;
};

static inline uint32_t min_u32(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

#define BIT(k) (UINT64_C(1) << (k))

static const uint64_t single = BIT(SIP_HDR_FROM) | BIT(SIP_HDR_TO) | BIT(SIP_HDR_CALL_ID) |
			       BIT(SIP_HDR_CSEQ) | BIT(SIP_HDR_MAX_FORWARDS) |
			       BIT(SIP_HDR_CONTENT_LENGTH) | BIT(SIP_HDR_CONTENT_TYPE) |
			       BIT(SIP_HDR_EXPIRES) | BIT(SIP_HDR_MIN_EXPIRES) |
			       BIT(SIP_HDR_MAX_BREADTH) | BIT(SIP_HDR_RETRY_AFTER) |
			       BIT(SIP_HDR_DATE) | BIT(SIP_HDR_EVENT) | BIT(SIP_HDR_REPLY_TO);
static const char *const repeated[SIP_HDR_COUNT] = {
	[SIP_HDR_FROM] = "Repeated From",
	[SIP_HDR_TO] = "Repeated To",
	[SIP_HDR_CALL_ID] = "Repeated Call-ID",
	[SIP_HDR_CSEQ] = "Repeated CSeq",
	[SIP_HDR_MAX_FORWARDS] = "Repeated Max-Forwards",
	[SIP_HDR_CONTENT_LENGTH] = "Repeated Content-Length",
	[SIP_HDR_CONTENT_TYPE] = "Repeated Content-Type",
	[SIP_HDR_EXPIRES] = "Repeated Expires",
	[SIP_HDR_MIN_EXPIRES] = "Repeated Min-Expires",
	[SIP_HDR_MAX_BREADTH] = "Repeated Max-Breadth",
	[SIP_HDR_RETRY_AFTER] = "Repeated Retry-After",
	[SIP_HDR_DATE] = "Repeated Date",
	[SIP_HDR_EVENT] = "Repeated Event",
	[SIP_HDR_REPLY_TO] = "Repeated Reply-To",
};

/* Kinds whose fields are lists with commas: values, or the parameters of credentials. */
static const uint64_t lists =
	BIT(SIP_HDR_VIA) | BIT(SIP_HDR_ROUTE) | BIT(SIP_HDR_RECORD_ROUTE) |
	BIT(SIP_HDR_CONTACT) | BIT(SIP_HDR_AUTHORIZATION) | BIT(SIP_HDR_PROXY_AUTHORIZATION) |
	BIT(SIP_HDR_WWW_AUTHENTICATE) | BIT(SIP_HDR_PROXY_AUTHENTICATE) | BIT(SIP_HDR_REQUIRE) |
	BIT(SIP_HDR_PROXY_REQUIRE) | BIT(SIP_HDR_SUPPORTED) | BIT(SIP_HDR_UNSUPPORTED) |
	BIT(SIP_HDR_ALLOW) | BIT(SIP_HDR_PATH) | BIT(SIP_HDR_SERVICE_ROUTE) |
	BIT(SIP_HDR_P_ASSERTED_IDENTITY) | BIT(SIP_HDR_P_PREFERRED_IDENTITY) |
	BIT(SIP_HDR_REQUEST_DISPOSITION) | BIT(SIP_HDR_ACCEPT_CONTACT) | BIT(SIP_HDR_WARNING);

/* The first fault is the one that is told. */
static void blame(struct indexer *x, uint16_t status, const char *reason)
{
	if (!x->fault.reason)
		x->fault = (struct sip_fault){status, reason};
}

/* A control character inside a line: HTAB may stand anywhere, others (not NUL, CR, LF) behind
 * the backslash of a quoted pair.  False when it may not be there. */
static bool check_control(struct indexer *x, const char *p)
{
	if (*p == '\t')
		return true;
	if (*p == '\0')
		blame(x, 400, "NUL In Header");
	else if (*p == '\r')
		blame(x, 400, "CR Without LF");
	else if (*p == '\n')
		blame(x, 400, "LF Without CR");
	else if (p == x->m->base || p[-1] != '\\')
		blame(x, 400, "Control Character In Header");
	else
		return true;
	return false;
}

/* Does a line, and a field with its folded lines, end at p? */
static inline bool ends_line(const char *p, const char *end)
{
	return end - p >= 2 && memcmp(p, "\r\n", 2) == 0;
}
static inline bool ends_field(const char *p, const char *end)
{
	return ends_line(p, end) && (end - p == 2 || (p[2] != ' ' && p[2] != '\t'));
}

/* Goes on from a control character at p to the CRLF that ends the line (fold: the field); NULL
 * without one.  *sound becomes false when there is a character that must not be. */
static const char *line_end(struct indexer *x, const char *p, bool fold, bool *sound,
			    unsigned *about)
{
	const char *const end = x->end;
	for (; p < end; p = sip_scan_control(p, end, about)) {
		if (fold ? ends_field(p, end) : ends_line(p, end))
			return p;
		if (ends_line(p, end))
			p++;
		else if (!check_control(x, p))
			*sound = false;
		p++;
	}
	return NULL;
}

static bool is_version(struct span s)
{
	return s.n == 7 && (memcmp(s.p, "SIP/2.0", 7) == 0 || span_ieq(s, SPAN("SIP/2.0")));
}

/* "SIP/" 1*DIGIT "." 1*DIGIT */
static bool is_any_version(struct span s)
{
	if (s.n < 7 || !span_istarts(s, SPAN("SIP/")))
		return false;
	const char *end = s.p + s.n, *major = s.p + 4;
	const char *dot = sip_skip(major, end, SIP_CHAR_DIGIT);
	return dot > major && dot < end - 1 && *dot == '.' &&
	       sip_skip(dot + 1, end, SIP_CHAR_DIGIT) == end;
}

/* RFC 3261 7.1 */
static void index_request_line(struct indexer *x, const char *p, const char *eol)
{
	struct sip_msg *m = x->m;
	const char *sp = sip_skip(p, eol, SIP_CHAR_TOKEN);
	m->is_request = true;
	if (sp == p || sp == eol || *sp != ' ') {
		blame(x, 400, "Malformed Request Line");
		return;
	}
	m->method_text = span_of(p, (size_t)(sp - p));
	m->method = sip_method_parse(m->method_text);
	const char *uri = sp + 1, *uri_end = sip_skip(uri, eol, SIP_CHAR_URI);
	m->uri = span_of(uri, (size_t)(uri_end - uri));
	if (uri_end == uri && uri < eol && *uri == ' ') {
		blame(x, 400, "White Space In Request Line");
		return;
	}
	if (uri_end == uri || uri_end == eol || *uri_end != ' ') {
		blame(x, 400, "Invalid Request-URI");
		return;
	}
	struct span version = span_of(uri_end + 1, (size_t)(eol - uri_end - 1));
	if (is_version(version))
		return;
	if (is_any_version(version))
		blame(x, 505, "Version Not Supported");
	else if (memchr(version.p, ' ', version.n))
		blame(x, 400, "White Space In Request Line");
	else
		blame(x, 400, "Malformed Request Line");
}

/* RFC 3261 7.2; a phrase may be empty, the space in front of it may not be missing */
static void index_status_line(struct indexer *x, const char *p, const char *eol)
{
	struct sip_msg *m = x->m;
	struct span line = span_of(p, (size_t)(eol - p));
	m->is_request = false;
	if (line.n < 12 || !is_version(span_of(p, 7)) || p[7] != ' ' || p[11] != ' ' ||
	    sip_skip(p + 8, p + 11, SIP_CHAR_DIGIT) != p + 11) {
		blame(x, 400, "Malformed Status Line");
		return;
	}
	m->status = (uint16_t)((p[8] - '0') * 100 + (p[9] - '0') * 10 + (p[10] - '0'));
	m->reason = span_of(p + 12, line.n - 12);
	if (m->status < 100 || m->status > 699)
		blame(x, 400, "Status Code Out Of Range");
}

/* False when there is no line at all. */
static bool index_start_line(struct indexer *x)
{
	const char *p = x->p;
	bool sound = true;
	unsigned about = 0;
	const char *eol =
		line_end(x, sip_scan_control(p, x->end, &about), false, &sound, &about);
	x->m->is_request = true;
	if (!eol)
		return false;
	x->astray = !sound; /* a Via may hide behind a bare CR or LF */
	x->m->start_len = (uint32_t)(eol + 2 - p);
	if (eol - p >= 4 && span_istarts(span_of(p, 4), SPAN("SIP/")))
		index_status_line(x, p, eol);
	else if (x->m->start_len > x->lim->header_bytes)
		blame(x, 414, "Request-URI Too Long");
	else
		index_request_line(x, p, eol);
	x->p = eol + 2;
	return true;
}

/* More commas or semicolons than the value parsers should meet (what they do with them is not
 * always linear).  Fields of no kind of ours are not parsed, so not counted. */
static void check_separators(struct indexer *x, const struct sip_hdr *h)
{
	const char *p = x->m->base + h->value_off, *end = p + h->value_len;
	unsigned commas = 0, semicolons = 0;
	for (; p < end; p++) {
		commas += *p == ',';
		semicolons += *p == ';';
	}
	if (semicolons > x->lim->semicolons)
		blame(x, 400, "Too Many Parameters");
	if (commas > x->lim->commas && (BIT(h->kind) & lists))
		blame(x, 400, "Too Many Values");
}

static inline const struct sip_hdr *add_field(struct indexer *x, const char *colon,
					      const char *eol, unsigned name_len, unsigned kind)
{
	struct sip_msg *m = x->m;
	const char *const base = m->base, *start = x->p, *v = colon + 1, *ve = eol;
	while (v < ve && sip_char_is(*v, SIP_CHAR_SPACE))
		v++;
	while (ve > v && sip_char_is(ve[-1], SIP_CHAR_SPACE))
		ve--;
	unsigned i = m->nhdr++;
	struct sip_hdr *h = &m->hdr[i];
	*h = (struct sip_hdr){
		.off = (uint32_t)(start - base),
		.value_off = (uint32_t)(v - base),
		.value_len = (uint16_t)(ve - v),
		.name_len = (uint16_t)name_len,
		.len = (uint16_t)(eol + 2 - start),
		.kind = (uint8_t)kind,
		.next = SIP_HDR_NONE,
	};
	if (kind == SIP_HDR_OTHER)
		return h;
	uint64_t seen = x->seen & BIT(kind);
	x->seen |= BIT(kind);
	if (!seen) {
		m->first[kind] = m->last[kind] = (uint8_t)i;
		return h;
	}
	m->hdr[m->last[kind]].next = (uint8_t)i;
	m->last[kind] = (uint8_t)i;
	if (seen & single)
		blame(x, 400, repeated[kind]);
	return h;
}

/* A name that is none of ours as it stands: white space behind it is not part of it. */
static bool other_name(struct span *name, unsigned *ret_kind)
{
	const char *p = name->p;
	size_t n = name->n;
	while (n > 0 && (p[n - 1] == ' ' || p[n - 1] == '\t'))
		n--;
	if (n < name->n)
		*ret_kind = sip_hdr_kind_of(span_of(p, n));
	name->n = n;
	return n > 0 && sip_skip(p, p + n, SIP_CHAR_TOKEN) == p + n;
}

/* A field that is not plainly within the limits, or not sound.  False when it is one too many.
 */
static bool check_field(struct indexer *x, const char *colon, const char *eol, size_t name_len,
			unsigned kind, bool sound)
{
	size_t len = (size_t)(eol + 2 - x->p);
	if (x->fields_left == 0) {
		blame(x, 400, "Too Many Header Fields");
		return false;
	}
	if (len > x->lim->header_bytes || len > UINT16_MAX) {
		blame(x, 400, "Header Field Too Large");
		sound = false;
	}
	if (sound) {
		const struct sip_hdr *h = add_field(x, colon, eol, (unsigned)name_len, kind);
		if (kind != SIP_HDR_OTHER)
			check_separators(x, h);
	} else if (kind == SIP_HDR_VIA || !(x->seen & BIT(SIP_HDR_VIA))) {
		x->astray = true;
	}
	return true;
}

/* One field with its folded lines (RFC 3261 7.3.1).  False when there is no end to it, or too
 * many of them.  One that is not sound is left out of the index. */
static inline bool index_field(struct indexer *x)
{
	const char *const start = x->p, *const end = x->end;
	const char *colon = sip_scan_colon(start, end);
	struct span name = span_of(start, colon ? (size_t)(colon - start) : 0);
	unsigned kind = sip_name_kind(name), about = 0;
	bool named = kind != SIP_HDR_OTHER || other_name(&name, &kind);
	bool sound = named;
	const char *eol = sip_scan_control(named ? colon + 1 : start, end, &about);
	if (!ends_field(eol, end))
		eol = line_end(x, eol, true, &sound, &about);
	if (!eol)
		return false;
	if (!named)
		blame(x, 400, "Malformed Header Field");
	size_t len = (size_t)(eol + 2 - start);
	if (len > x->len_plain || about > x->about_plain || x->fields_left == 0 || !sound) {
		if (!check_field(x, colon, eol, name.n, kind, sound))
			return false;
	} else {
		add_field(x, colon, eol, (unsigned)name.n, kind);
	}
	x->fields_left--;
	x->p = eol + 2;
	return true;
}

static void index_head(struct indexer *x)
{
	struct sip_msg *m = x->m;
	if (!index_start_line(x)) {
		blame(x, 400, "Missing Empty Line");
		return;
	}
	while (!ends_line(x->p, x->end))
		if (x->p == x->end || !index_field(x)) {
			blame(x, 400, "Missing Empty Line");
			return;
		}
	m->body_off = (uint32_t)(x->p + 2 - m->base);
	m->body_len = m->len - m->body_off;
}

/* RFC 3261 8.1.1.5, 20.16: 1*DIGIT LWS Method; below 2**31, the method that of the request */
static void check_cseq(struct indexer *x)
{
	struct sip_msg *m = x->m;
	struct span v = sip_msg_value(m, SIP_HDR_CSEQ);
	const char *p = v.p, *end = v.p + v.n;
	uint64_t n = 0;
	for (; p < end && sip_char_is(*p, SIP_CHAR_DIGIT) && n < UINT32_MAX; p++)
		n = n * 10 + (unsigned)(*p - '0');
	const char *method = sip_skip(p, end, SIP_CHAR_SPACE);
	if (p == v.p || method == p || method == end || n >= UINT64_C(1) << 31 ||
	    sip_skip(method, end, SIP_CHAR_TOKEN) != end) {
		blame(x, 400, "Invalid CSeq");
		return;
	}
	struct span text = span_of(method, (size_t)(end - method));
	m->cseq = (uint32_t)n;
	if (m->is_request && !span_eq(text, m->method_text)) {
		blame(x, 400, "CSeq Does Not Match Method");
		if (sip_method_parse(text) == SIP_ACK)
			m->method = SIP_ACK; /* never answered, whichever of the two is right */
	}
	if (!m->is_request) {
		m->method_text = text;
		m->method = sip_method_parse(text);
	}
}

/* RFC 3261 20.8: no white space inside */
static void check_call_id(struct indexer *x)
{
	struct span v = x->m->call_id = sip_msg_value(x->m, SIP_HDR_CALL_ID);
	unsigned about = 0;
	if (sip_scan_control(v.p, v.p + v.n, &about) != v.p + v.n || memchr(v.p, ' ', v.n))
		blame(x, 400, "Invalid Call-ID");
}

/* RFC 3261 8.1.1; true when all that an answer copies is there */
static bool check_mandatory(struct indexer *x)
{
	static const struct {
		enum sip_hdr_kind kind;
		const char *reason;
	} need[] = {
		{SIP_HDR_VIA, "Missing Via"},	{SIP_HDR_FROM, "Missing From"},
		{SIP_HDR_TO, "Missing To"},	{SIP_HDR_CALL_ID, "Missing Call-ID"},
		{SIP_HDR_CSEQ, "Missing CSeq"},
	};
	bool whole = true;
	for (size_t i = 0; i < sizeof(need) / sizeof(need[0]); i++)
		if (sip_msg_value(x->m, need[i].kind).n == 0) {
			blame(x, 400, need[i].reason);
			whole = false;
		}
	return whole;
}

/* RFC 3261 18.3, 20.14 */
static void check_body(struct indexer *x, bool stream)
{
	struct sip_msg *m = x->m;
	const struct sip_hdr *h = sip_msg_first(m, SIP_HDR_CONTENT_LENGTH);
	uint64_t n;
	if (!h) {
		if (stream)
			blame(x, 400, "Missing Content-Length");
		return;
	}
	if (span_u64(sip_hdr_value(m, h), UINT32_MAX, &n) < 0) {
		blame(x, 400, "Invalid Content-Length");
		return;
	}
	if (n > m->body_len) {
		blame(x, 400, "Content-Length Larger Than Body");
		return;
	}
	if (stream && n < m->body_len)
		blame(x, 400, "Content-Length Smaller Than Body");
	m->body_len = (uint32_t)n;
	m->len = m->body_off + m->body_len;
}

static void msg_init(struct sip_msg *m, struct span bytes)
{
	struct sip_hdr *hdr = m->hdr;
	*m = (struct sip_msg){
		.base = bytes.p,
		.len = (uint32_t)bytes.n,
		.body_off = (uint32_t)bytes.n,
		.hdr = hdr,
	};
	memset(m->first, SIP_HDR_NONE, sizeof(m->first));
	memset(m->last, SIP_HDR_NONE, sizeof(m->last));
	m->from_tag.known = m->to_tag.known = false;
}

int sip_msg_index(struct sip_msg *m, struct span bytes, bool stream,
		  const struct sip_limits *lim, struct sip_fault *ret_fault)
{
	while (bytes.n >= 2 && bytes.p[0] == '\r' && bytes.p[1] == '\n') /* 7.5 */
		bytes = span_of(bytes.p + 2, bytes.n - 2);
	if (bytes.n > UINT32_MAX / 2)
		bytes.n = UINT32_MAX / 2; /* above every limit as it is */
	msg_init(m, bytes);
	struct indexer x = {
		.m = m,
		.lim = lim,
		.p = bytes.p,
		.end = bytes.p + bytes.n,
		.len_plain = min_u32(lim->header_bytes, SIP_ABOUT_MAX - 1),
		.fields_left = min_u32(lim->headers, SIP_HDR_MAX),
		.about_plain = min_u32(lim->commas, lim->semicolons),
	};
	if (bytes.n > (stream ? lim->stream_bytes : lim->datagram_bytes))
		blame(&x, 513, "Message Too Large");
	index_head(&x);
	bool whole = check_mandatory(&x);
	if (x.seen & BIT(SIP_HDR_CSEQ))
		check_cseq(&x);
	if (x.seen & BIT(SIP_HDR_CALL_ID))
		check_call_id(&x);
	check_body(&x, stream);
	if (!x.fault.reason)
		return 0;
	if (!whole || x.astray || !m->is_request || m->method == SIP_ACK)
		x.fault.status = 0;
	*ret_fault = x.fault;
	return -EBADMSG;
}
