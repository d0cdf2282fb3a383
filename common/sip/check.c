/*
 * The values that a proxy or a registrar depends on, checked before anything is done with a
 * message (RFC 3261 16.3 step 1, 8.2).  One row per field.  Not here: what the index checks
 * (CSeq, Call-ID, Content-Length, single fields), schemes (16.3 step 2 answers 416), values
 * that only a UA needs (Date, Accept, Content-Type ...).
 */
#include "common/sip/sip_priv.h"

#include <errno.h>

static int check_vias(const struct sip_msg *m, struct sip_via *ret_top)
{
	struct sip_via other, *via = ret_top ? ret_top : &other;
	struct sip_list_it it = {0};
	struct span value;
	while (sip_list_next(m, SIP_HDR_VIA, &it, &value)) {
		int r = sip_via_parse(value, via);
		if (r < 0)
			return r;
		via = &other;
	}
	return via == &other ? 0 : -ENOENT;
}

static int check_party(const struct sip_msg *m, enum sip_hdr_kind k, struct sip_tag *ret)
{
	const struct sip_hdr *h = sip_msg_first(m, k);
	struct sip_nameaddr na;
	struct span tag;
	if (!h)
		return 0;
	struct span v = sip_hdr_value(m, h);
	int r = sip_nameaddr_parse(v, &na);
	if (r < 0 || (r = sip_nameaddr_tag(&na, &tag)) < 0)
		return r;
	*ret = (struct sip_tag){.off = (uint16_t)(tag.p ? tag.p - v.p : 0),
				.len = (uint16_t)tag.n,
				.known = true};
	return 0;
}

/* Whatever may have a tag or no brackets */
static int check_nameaddr(struct span v)
{
	struct sip_nameaddr na;
	struct span tag;
	int r = sip_nameaddr_parse(v, &na);
	return r < 0 ? r : sip_nameaddr_tag(&na, &tag);
}

/* q and expires are for the registrar to judge; scale and presence cannot harm a proxy */
static int check_contact(struct span v)
{
	return span_eq(v, SPAN("*")) ? 0 : check_nameaddr(v);
}

/* 20.34: name-addr alone, so that a parameter like lr can only be the URI's */
static int check_route(struct span v)
{
	struct sip_nameaddr na;
	int r = sip_nameaddr_parse(v, &na);
	if (r < 0)
		return r;
	return na.uri_text.p > v.p && na.uri_text.p[-1] == '<' ? 0 : -EINVAL;
}

static int check_max_forwards(struct span v)
{
	uint32_t n;
	return sip_delta_parse(v, &n) == 0 && n <= 255 ? 0 : -EINVAL;
}

static int check_digits(struct span v)
{
	uint32_t n;
	return sip_delta_parse(v, &n);
}

static int check_token(struct span v)
{
	if (v.n == 0)
		return -EINVAL;
	const char *e = v.p + v.n;
	return sip_scan(v.p, e, C_TOKEN) == e ? 0 : -EINVAL;
}

/* Of a request; Via, From and To are checked in a response as well. */
struct row {
	enum sip_hdr_kind kind;
	bool list;
	int (*check)(struct span value);
	const char *reason;
};

static const struct row rows[] = {
	{SIP_HDR_MAX_FORWARDS, false, check_max_forwards, "Invalid Max-Forwards"},
	{SIP_HDR_CONTACT, true, check_contact, "Invalid Contact"},
	{SIP_HDR_ROUTE, true, check_route, "Invalid Route"},
	{SIP_HDR_RECORD_ROUTE, true, check_route, "Invalid Record-Route"},
	{SIP_HDR_PATH, true, check_route, "Invalid Path"},
	{SIP_HDR_EXPIRES, false, check_digits, "Invalid Expires"},
	{SIP_HDR_MAX_BREADTH, false, check_digits, "Invalid Max-Breadth"},
	{SIP_HDR_REQUIRE, true, check_token, "Invalid Require"},
	{SIP_HDR_PROXY_REQUIRE, true, check_token, "Invalid Proxy-Require"},
	{SIP_HDR_P_ASSERTED_IDENTITY, true, check_nameaddr, "Invalid P-Asserted-Identity"},
	{SIP_HDR_P_PREFERRED_IDENTITY, true, check_nameaddr, "Invalid P-Preferred-Identity"},
};

static int check_row(const struct sip_msg *m, const struct row *row)
{
	const struct sip_hdr *h = sip_msg_first(m, row->kind);
	if (!h)
		return 0;
	if (!row->list)
		return row->check(sip_hdr_value(m, h));
	struct sip_list_it it = {0};
	struct span value;
	int r = 0;
	while (r == 0 && sip_list_next(m, row->kind, &it, &value))
		r = row->check(value);
	return r;
}

static int check_uri(const struct sip_msg *m)
{
	struct sip_uri u;
	int r = sip_uri_parse(m->uri, &u);
	if (r == -EPROTONOSUPPORT)
		return 0;
	/* 19.1.1 table 1: no headers in a Request-URI (RFC 4475 3.1.2.11) */
	return r == 0 && u.headers.p ? -EINVAL : r;
}

static int refuse(const struct sip_msg *m, const char *reason, struct sip_fault *ret_fault)
{
	struct sip_via top;
	bool quiet = !m->is_request || m->method == SIP_ACK;
	/* An answer goes by the top Via: without a sound one it would go astray */
	quiet = quiet || sip_msg_top_via(m, &top) < 0;
	*ret_fault = (struct sip_fault){quiet ? 0 : 400, reason};
	return -EBADMSG;
}

static int check_rows(const struct sip_msg *m, struct sip_fault *ret_fault)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *row = &rows[i];
		if (m->first[row->kind] != SIP_HDR_NONE && check_row(m, row) < 0)
			return refuse(m, row->reason, ret_fault);
	}
	return check_uri(m) < 0 ? refuse(m, "Invalid Request-URI", ret_fault) : 0;
}

int sip_msg_check_values(struct sip_msg *m, struct sip_via *ret_top,
			 struct sip_fault *ret_fault)
{
	if (check_vias(m, ret_top) < 0)
		return refuse(m, "Invalid Via", ret_fault);
	if (check_party(m, SIP_HDR_FROM, &m->from_tag) < 0)
		return refuse(m, "Invalid From", ret_fault);
	if (check_party(m, SIP_HDR_TO, &m->to_tag) < 0)
		return refuse(m, "Invalid To", ret_fault);
	return m->is_request ? check_rows(m, ret_fault) : 0;
}
