/*
 * Builders: responses (RFC 3261 8.2.6), ACK to a non-2xx (17.1.1.3), CANCEL (9.1).  Header
 * fields are copied as they stand, in their order.  A text is written into a buffer on the
 * stack and copied at its length; one that may not fit is written twice, once to count.
 */
#include "common/sip/build.h"

#include "common/sip/sip_priv.h"

struct out {
	char *p; /* NULL: count only */
	size_t n;
};

static void put(struct out *o, struct span s)
{
	if (o->p && s.n)
		memcpy(o->p + o->n, s.p, s.n);
	o->n += s.n;
}

#define PUT(o, lit) put((o), SPAN(lit))

static void put_number(struct out *o, uint64_t v)
{
	char digits[20];
	size_t i = sizeof(digits);
	do
		digits[--i] = (char)('0' + v % 10);
	while (v /= 10);
	put(o, span_of(digits + i, sizeof(digits) - i));
}

/* A whole field with its CRLF. */
static void put_field(struct out *o, const struct sip_msg *m, const struct sip_hdr *h)
{
	put(o, span_of(m->base + h->off, h->len));
}

static void put_all(struct out *o, const struct sip_msg *m, enum sip_hdr_kind k)
{
	for (const struct sip_hdr *h = sip_msg_first(m, k); h; h = sip_msg_next(m, h))
		put_field(o, m, h);
}

static void put_first(struct out *o, const struct sip_msg *m, enum sip_hdr_kind k)
{
	const struct sip_hdr *h = sip_msg_first(m, k);
	if (h)
		put_field(o, m, h);
}

/* Is the parameter at p (behind the semicolon) "tag"? */
static bool is_tag(const char *p, const char *end)
{
	p = sip_skip(p, end, SIP_CHAR_SPACE);
	const char *name_end = sip_skip(p, end, SIP_CHAR_TOKEN);
	return span_ieq(span_of(p, (size_t)(name_end - p)), SPAN("tag"));
}

/* Does a To have a tag?  Quotes and brackets hide what looks like one. */
static bool has_tag(struct span to)
{
	const char *p = to.p, *end = to.p + to.n;
	if (to.n == 0 || !memchr(p, ';', to.n))
		return false;
	bool bracket = false, quoted = false;
	for (; p < end; p++) {
		if (quoted && *p == '\\' && end - p > 1)
			p++;
		else if (*p == '"' && !bracket)
			quoted = !quoted;
		else if (quoted)
			continue;
		else if (*p == '<')
			bracket = true;
		else if (*p == '>')
			bracket = false;
		else if (*p == ';' && !bracket && is_tag(p + 1, end))
			return true;
	}
	return false;
}

static void put_to(struct out *o, const struct sip_msg *m, struct span tag)
{
	const struct sip_hdr *h = sip_msg_first(m, SIP_HDR_TO);
	if (!h)
		return;
	if (!tag.p || has_tag(sip_hdr_value(m, h))) {
		put_field(o, m, h);
		return;
	}
	put(o, span_of(m->base + h->off, h->value_off + h->value_len - h->off));
	PUT(o, ";tag=");
	put(o, tag);
	PUT(o, "\r\n");
}

/* Responses that make a dialog, or go on in one, tell the route (12.1.1, 16.6 step 4). */
static bool takes_record_route(const struct sip_msg *req, unsigned status)
{
	return status > 100 && status < 300 &&
	       (req->method == SIP_INVITE || req->method == SIP_SUBSCRIBE ||
		req->method == SIP_NOTIFY || req->method == SIP_REFER);
}

/* 8.2.6.1 */
static void put_timestamp(struct out *o, const struct sip_msg *req)
{
	for (unsigned i = 0; i < req->nhdr; i++) {
		const struct sip_hdr *h = &req->hdr[i];
		if (h->kind == SIP_HDR_OTHER && h->name_len == 9 &&
		    span_ieq(span_of(req->base + h->off, 9), SPAN("Timestamp"))) {
			put_field(o, req, h);
			return;
		}
	}
}

static void put_body(struct out *o, struct span type, struct span body)
{
	if (type.p) {
		PUT(o, "Content-Type: ");
		put(o, type);
		PUT(o, "\r\n");
	} else {
		body.n = 0;
	}
	PUT(o, "Content-Length: ");
	put_number(o, body.n);
	PUT(o, "\r\n\r\n");
	put(o, body);
}

static void put_response(struct out *o, const struct sip_msg *req, const struct sip_response *r)
{
	PUT(o, "SIP/2.0 ");
	put_number(o, r->status);
	PUT(o, " ");
	put(o, r->reason.p ? r->reason : span_str(sip_reason(r->status)));
	PUT(o, "\r\n");
	put_all(o, req, SIP_HDR_VIA);
	if (takes_record_route(req, r->status))
		put_all(o, req, SIP_HDR_RECORD_ROUTE);
	put_first(o, req, SIP_HDR_FROM);
	put_to(o, req, r->to_tag);
	put_first(o, req, SIP_HDR_CALL_ID);
	put_first(o, req, SIP_HDR_CSEQ);
	if (r->status == 100)
		put_timestamp(o, req);
	put(o, r->lines);
	put_body(o, r->content_type, r->body);
}

/* At least what a response takes: what is copied, and the lines that are written. */
static size_t response_max(const struct sip_msg *req, const struct sip_response *r)
{
	enum { LINES = 256 }; /* status and usual phrase, ";tag=", Content-Type, -Length */
	return req->len + r->reason.n + r->to_tag.n + r->lines.n + r->content_type.n +
	       r->body.n + LINES;
}

struct bytes *sip_build_response(const struct sip_msg *req, const struct sip_response *r)
{
	char room[2048];
	struct out o = {0};
	if (response_max(req, r) <= sizeof(room)) {
		o.p = room;
		put_response(&o, req, r);
		return bytes_dup(span_of(room, o.n));
	}
	put_response(&o, req, r);
	struct bytes *b = bytes_new(o.n);
	if (!b)
		return NULL;
	o = (struct out){.p = b->p};
	put_response(&o, req, r);
	return b;
}

/* A request hop by hop for an INVITE that we sent; To comes from `to`. */
static void put_hop_request(struct out *o, const struct sip_msg *invite,
			    const struct sip_msg *to, struct span method, struct span lines)
{
	struct sip_list_it it = {0};
	struct span via;
	put(o, method);
	PUT(o, " ");
	put(o, invite->uri);
	PUT(o, " SIP/2.0\r\n");
	if (sip_list_next(invite, SIP_HDR_VIA, &it, &via)) {
		PUT(o, "Via: ");
		put(o, via);
		PUT(o, "\r\n");
	}
	put_all(o, invite, SIP_HDR_ROUTE);
	PUT(o, "Max-Forwards: 70\r\n");
	put_first(o, invite, SIP_HDR_FROM);
	put_first(o, to, SIP_HDR_TO);
	put_first(o, invite, SIP_HDR_CALL_ID);
	PUT(o, "CSeq: ");
	put_number(o, invite->cseq);
	PUT(o, " ");
	put(o, method);
	PUT(o, "\r\n");
	put(o, lines);
	PUT(o, "Content-Length: 0\r\n\r\n");
}

static struct bytes *build_hop_request(const struct sip_msg *invite, const struct sip_msg *to,
				       struct span method, struct span lines)
{
	struct out o = {0};
	put_hop_request(&o, invite, to, method, lines);
	struct bytes *b = bytes_new(o.n);
	if (!b)
		return NULL;
	o = (struct out){.p = b->p};
	put_hop_request(&o, invite, to, method, lines);
	return b;
}

struct bytes *sip_build_ack(const struct sip_msg *invite, const struct sip_msg *response)
{
	const struct sip_msg *to = sip_msg_first(response, SIP_HDR_TO) ? response : invite;
	return build_hop_request(invite, to, SPAN("ACK"), span_of(NULL, 0));
}

struct bytes *sip_build_cancel(const struct sip_msg *invite, struct span lines)
{
	return build_hop_request(invite, invite, SPAN("CANCEL"), lines);
}
