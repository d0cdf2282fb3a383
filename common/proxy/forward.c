/*
 * RFC 3261 16.6 steps 1 to 6, 8 and 9 as edits over the bytes that arrived.  Insertions come
 * before removals, since edits at one offset keep the order in which they were added.
 */
#include "common/proxy/proxy_priv.h"

enum {
	NO_STRIP = 1 << SIP_HDR_VIA | 1 << SIP_HDR_ROUTE | 1 << SIP_HDR_RECORD_ROUTE |
		   1 << SIP_HDR_MAX_FORWARDS
};

bool proxy_makes_dialog(const struct proxy_request *r)
{
	switch (r->msg->method) {
	case SIP_NOTIFY:
		return true;
	case SIP_INVITE:
	case SIP_SUBSCRIBE:
	case SIP_REFER:
		return !r->to_tag.p;
	default:
		return false;
	}
}

void proxy_plan_init(const struct proxy *p, struct proxy_plan *pl,
		     const struct proxy_request *r, const struct proxy_opts *opts)
{
	static const struct proxy_opts none;
	if (!opts)
		opts = &none;
	*pl = (struct proxy_plan){
		.m = r->msg,
		.uri = r->uri_text,
		.lines = opts->lines,
		.record_user = opts->record_user,
		.path = opts->path,
		.via_flow = opts->via_flow,
		.member = r->src.node,
		.strip = opts->strip & ~(uint64_t)NO_STRIP &
			 ~(UINT64_C(1) << SIP_HDR_MAX_BREADTH),
		.strip_responses = opts->strip_responses & ~(uint64_t)NO_STRIP,
		.request_mac = proxy_request_mac(p, r->msg, &r->top, r->id_mac),
		.loop_mac = r->loop_mac,
		.max_forwards =
			r->max_forwards - (sip_msg_first(r->msg, SIP_HDR_MAX_FORWARDS) != NULL),
		.breadth = r->max_breadth,
		.listener = r->src.listener,
		.own_routes = (uint16_t)r->own_routes,
		.undo_strict = r->undo_strict,
		.has_route = r->has_route,
		.record_route =
			p->conf.record_route && !opts->no_record_route && proxy_makes_dialog(r),
		.uri_parsed = &r->uri,
		.route_parsed = r->has_route ? &r->route_uri : NULL,
	};
	if (pl->record_route)
		pl->dialog_mac = r->id_mac;
	if (r->msg->method == SIP_ACK || r->msg->method == SIP_CANCEL)
		pl->breadth = 0;
}

unsigned proxy_may_forward(const struct proxy *p, const struct proxy_request *r,
			   unsigned parallel)
{
	(void)p;
	if (r->max_forwards == 0)
		return 483;
	if (r->msg->method == SIP_ACK || r->msg->method == SIP_CANCEL)
		return 0;
	return parallel > r->max_breadth ? 440 : 0;
}

/* The Route value that the leg goes by first; false: none, by its Request-URI. */
static bool first_route(const struct proxy_plan *pl, const struct proxy_leg *leg,
			struct span *ret)
{
	struct span rest;
	if (leg->route.n) {
		*ret = proxy_first_value(leg->route, &rest);
		return true;
	}
	return pl->has_route && proxy_route_value(pl->m, pl->own_routes, ret);
}

int proxy_next_hop(const struct proxy_plan *pl, const struct proxy_leg *leg,
		   struct sip_uri *ret, bool *ret_strict)
{
	struct sip_nameaddr na;
	struct span v;
	*ret_strict = false;
	if (!leg->route.n && pl->route_parsed) {
		*ret = *pl->route_parsed;
	} else if (first_route(pl, leg, &v)) {
		if (sip_nameaddr_parse(v, &na) || !na.uri.host.p)
			return -EINVAL;
		*ret = na.uri;
	} else {
		if (pl->uri_parsed && leg->uri.p == pl->uri.p)
			*ret = *pl->uri_parsed;
		else if (sip_uri_parse(leg->uri, ret))
			return -EINVAL;
		return ret->host.p ? 0 : -EINVAL;
	}
	*ret_strict = sip_uri_param(ret, SPAN("lr")) == NULL;
	return 0;
}

static void add_host_port(struct proxy_text *t, const struct proxy_local *l)
{
	proxy_text_add(t, l->host);
	if (!l->port)
		return;
	proxy_text_add(t, SPAN(":"));
	proxy_text_dec(t, l->port);
}

void proxy_add_via(const struct proxy *p, const struct proxy_plan *pl,
		   const struct proxy_leg *leg, const struct proxy_local *out,
		   struct proxy_text *t, char branch[PROXY_BRANCH_LEN])
{
	const struct span none = {NULL, 0};
	if (leg->branch.p)
		memcpy(branch, leg->branch.p, PROXY_BRANCH_LEN);
	else if (leg->named_above)
		proxy_branch_make(p, pl->request_mac, proxy_loop_mac_above(p, pl->request_mac),
				  0, none, none, leg->attempt, branch);
	else
		proxy_branch_make(p, pl->request_mac, pl->loop_mac, leg->tag, leg->uri,
				  leg->route, leg->attempt, branch);
	proxy_text_add(t, SPAN("Via: SIP/2.0/"));
	proxy_text_add(t, span_str(sip_transport_via(out->transport)));
	proxy_text_add(t, SPAN(" "));
	add_host_port(t, out);
	proxy_text_add(t, SPAN(";branch="));
	proxy_text_add(t, span_of(branch, PROXY_BRANCH_LEN));
	if (pl->via_flow.n) {
		char seal[PROXY_SEAL_LEN];
		proxy_flow_seal(p, pl->request_mac, pl->via_flow, seal);
		proxy_text_add(t, SPAN(";ft="));
		proxy_text_add(t, pl->via_flow);
		proxy_text_add(t, span_of(seal, sizeof(seal)));
		if (pl->member) {
			proxy_text_add(t, SPAN(";m="));
			proxy_text_dec(t, pl->member);
		}
	}
	if (leg->tag) {
		proxy_text_add(t, SPAN(";b="));
		proxy_text_hex(t, leg->tag);
		if (p->conf.node) {
			proxy_text_add(t, SPAN(";n="));
			proxy_text_dec(t, p->conf.node);
		}
	}
	if (pl->in_dialog)
		proxy_text_add(t, SPAN(";d"));
	proxy_text_add(t, SPAN("\r\n"));
}

static void add_record_line(const struct proxy *p, const struct proxy_plan *pl,
			    struct proxy_text *t, const struct proxy_local *l, struct span user,
			    bool sips)
{
	proxy_text_add(t, sips ? SPAN("Record-Route: <sips:") : SPAN("Record-Route: <sip:"));
	if (user.n) {
		proxy_text_add(t, user);
		proxy_text_add(t, SPAN("@"));
	}
	add_host_port(t, l);
	if (l->transport != SIP_TRANSPORT_UDP && !sips) {
		proxy_text_add(t, SPAN(";transport="));
		proxy_text_add(t, span_str(sip_transport_uri(l->transport)));
	}
	proxy_text_add(t, SPAN(";lr;ev="));
	proxy_text_hex(t, proxy_route_mac(p, pl->dialog_mac, user));
	if (p->conf.pair) {
		proxy_text_add(t, SPAN(";n="));
		proxy_text_add(t, span_str(p->conf.pair));
	}
	proxy_text_add(t, SPAN(">\r\n"));
}

/* 16.6 step 4; two values where the sides differ (RFC 5658), ours towards the target on top.  A
 * side that is inside of the cluster has none: the node that faces the peer there writes it. */
static void add_record_route(const struct proxy *p, const struct proxy_plan *pl,
			     const struct proxy_leg *leg, const struct proxy_local *out,
			     struct proxy_text *t)
{
	bool sips = span_istarts(leg->uri, SPAN("sips:"));
	const struct proxy_local *in = p->ops.local(p->ops.arg, pl->listener);
	bool two = in && (in != out || leg->record_user.n || pl->record_user.n);
	if (!out->inside)
		add_record_line(p, pl, t, out, leg->record_user, sips);
	if (two && !in->inside)
		add_record_line(p, pl, t, in, pl->record_user, sips);
}

/* Takes the first n values, and the last one, out of Route, whichever fields they are in. */
static void drop_routes(struct sip_splice *s, const struct sip_msg *m, unsigned n, bool last)
{
	struct sip_list_it it = {0}, count = {0};
	struct span v;
	unsigned total = 0, i = 0;
	while (last && sip_list_next(m, SIP_HDR_ROUTE, &count, &v))
		total++;
	bool more = sip_list_next(m, SIP_HDR_ROUTE, &it, &v);
	while (more) {
		const struct sip_hdr *h = it.hdr;
		struct span whole = sip_hdr_value(m, h);
		const char *keep = NULL, *keep_end = NULL;
		do {
			if (i >= n && !(last && i == total - 1)) {
				keep = keep ? keep : v.p;
				keep_end = v.p + v.n;
			}
			i++;
			more = sip_list_next(m, SIP_HDR_ROUTE, &it, &v);
		} while (more && it.hdr == h);
		if (!keep) {
			sip_splice_remove_hdr(s, h);
			continue;
		}
		if (keep > whole.p)
			sip_splice_replace_span(s, span_of(whole.p, (size_t)(keep - whole.p)),
						span_of(NULL, 0));
		if (keep_end < whole.p + whole.n)
			sip_splice_replace_span(
				s, span_of(keep_end, (size_t)(whole.p + whole.n - keep_end)),
				span_of(NULL, 0));
	}
}

void proxy_strip(struct sip_splice *s, const struct sip_msg *m, uint64_t bits)
{
	for (; bits; bits &= bits - 1) {
		unsigned k = (unsigned)__builtin_ctzll(bits);
		if (k == SIP_HDR_OTHER || k >= SIP_HDR_COUNT)
			continue;
		for (const struct sip_hdr *h = sip_msg_first(m, k); h; h = sip_msg_next(m, h))
			sip_splice_remove_hdr(s, h);
	}
}

/* 16.6 steps 2 and 6: the Request-URI, and Route in front. */
static int edit_target(const struct proxy_plan *pl, const struct proxy_leg *leg,
		       struct sip_splice *s, struct span *ret_strict_uri)
{
	struct span uri = leg->uri, route = leg->route;
	*ret_strict_uri = span_of(NULL, 0);
	if (leg->strict) {
		struct sip_nameaddr na;
		struct span v;
		if (!first_route(pl, leg, &v) || sip_nameaddr_parse(v, &na))
			return -EINVAL;
		*ret_strict_uri = leg->uri;
		uri = na.uri_text;
		if (route.n)
			(void)proxy_first_value(leg->route, &route);
	}
	if (!span_eq(uri, pl->m->uri))
		sip_splice_replace_span(s, pl->m->uri, uri);
	if (route.n) {
		sip_splice_prepend(s, SIP_HDR_ROUTE, SPAN("Route: "));
		sip_splice_prepend(s, SIP_HDR_ROUTE, route);
		sip_splice_prepend(s, SIP_HDR_ROUTE, SPAN("\r\n"));
	}
	return 0;
}

/* 16.6 step 3, and Max-Breadth beside it: changed in place, or added. */
static void edit_number(struct sip_splice *s, const struct sip_msg *m, enum sip_hdr_kind k,
			uint64_t v, struct proxy_text *in_place, struct proxy_text *more)
{
	const struct sip_hdr *h = sip_msg_first(m, k);
	if (h) {
		proxy_text_dec(in_place, v);
		sip_splice_replace_span(s, sip_hdr_value(m, h), proxy_text_span(in_place));
		return;
	}
	proxy_text_add(more, span_str(sip_hdr_name(k)));
	proxy_text_add(more, SPAN(": "));
	proxy_text_dec(more, v);
	proxy_text_add(more, SPAN("\r\n"));
}

/* 16.6 step 9: who reads a stream must know where a message ends. */
static void add_length(struct proxy_text *t, const struct sip_msg *m, enum sip_transport to)
{
	if (!sip_transport_reliable(to) || sip_msg_first(m, SIP_HDR_CONTENT_LENGTH))
		return;
	proxy_text_add(t, SPAN("Content-Length: "));
	proxy_text_dec(t, m->body_len);
	proxy_text_add(t, SPAN("\r\n"));
}

static void edit_numbers(const struct proxy_plan *pl, const struct proxy_leg *leg,
			 const struct proxy_local *out, struct sip_splice *s,
			 struct proxy_scratch *sc, struct proxy_text *more)
{
	struct proxy_text hops = {.p = sc->hops, .cap = sizeof(sc->hops)};
	struct proxy_text breadth = {.p = sc->breadth, .cap = sizeof(sc->breadth)};
	edit_number(s, pl->m, SIP_HDR_MAX_FORWARDS, pl->max_forwards, &hops, more);
	if (leg->breadth)
		edit_number(s, pl->m, SIP_HDR_MAX_BREADTH, leg->breadth, &breadth, more);
	add_length(more, pl->m, out->transport);
}

int proxy_edit(const struct proxy *p, const struct proxy_plan *pl, const struct proxy_leg *leg,
	       struct sip_splice *s, struct proxy_scratch *sc)
{
	struct proxy_text via = {.p = sc->via, .cap = sizeof(sc->via)};
	struct proxy_text record = {.p = sc->record, .cap = sizeof(sc->record)};
	struct proxy_text more = {.p = sc->more, .cap = sizeof(sc->more)};
	const struct proxy_local *out = p->ops.local(p->ops.arg, leg->listener);
	struct span strict_uri;
	if (!out)
		return -ENOENT;
	sip_splice_init(s, pl->m);
	proxy_add_via(p, pl, leg, out, &via, sc->branch);
	sip_splice_prepend(s, SIP_HDR_VIA, proxy_text_span(&via));
	if (pl->record_route)
		add_record_route(p, pl, leg, out, &record);
	if (record.n)
		sip_splice_prepend(s, SIP_HDR_RECORD_ROUTE, proxy_text_span(&record));
	if (pl->path.n) {
		sip_splice_prepend(s, SIP_HDR_PATH, SPAN("Path: "));
		sip_splice_prepend(s, SIP_HDR_PATH, pl->path);
		sip_splice_prepend(s, SIP_HDR_PATH, SPAN("\r\n"));
	}
	int rc = edit_target(pl, leg, s, &strict_uri);
	if (rc)
		return rc;
	edit_numbers(pl, leg, out, s, sc, &more);
	if (more.n)
		sip_splice_append(s, proxy_text_span(&more));
	if (pl->lines.n)
		sip_splice_append(s, pl->lines);
	if (strict_uri.n) {
		sip_splice_append(s, SPAN("Route: <"));
		sip_splice_append(s, strict_uri);
		sip_splice_append(s, SPAN(">\r\n"));
	}
	unsigned drop = pl->own_routes + (leg->strict && !leg->route.n ? 1 : 0);
	if (drop || pl->undo_strict)
		drop_routes(s, pl->m, drop, pl->undo_strict);
	if (pl->strip)
		proxy_strip(s, pl->m, pl->strip);
	return via.overflow || record.overflow || more.overflow || s->overflow ? -EOVERFLOW : 0;
}
