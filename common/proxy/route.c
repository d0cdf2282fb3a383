/*
 * RFC 3261 16.4: Route information preprocessing.  A value is ours when it names this node; it
 * proves that we let the dialog through when its `ev` parameter is good for Call-ID and tag.
 */
#include "common/proxy/proxy_priv.h"

/* Counting Route values in the message: a strict router's last is taken out too. */
bool proxy_route_value(const struct sip_msg *m, unsigned nth, struct span *ret)
{
	struct sip_list_it it = {0};
	while (sip_list_next(m, SIP_HDR_ROUTE, &it, ret))
		if (nth-- == 0)
			return true;
	return false;
}

struct span proxy_first_value(struct span list, struct span *ret_rest)
{
	bool quoted = false;
	int depth = 0;
	size_t i;
	for (i = 0; i < list.n; i++) {
		char ch = list.p[i];
		if (quoted) {
			if (ch == '\\')
				i++;
			else if (ch == '"')
				quoted = false;
		} else if (ch == '"') {
			quoted = true;
		} else if (ch == '<' || ch == '>') {
			depth += ch == '<' ? 1 : -1;
		} else if (ch == ',' && depth == 0) {
			break;
		}
	}
	if (i >= list.n) {
		*ret_rest = span_of(NULL, 0);
		return span_trim(list);
	}
	*ret_rest = span_trim(span_of(list.p + i + 1, list.n - i - 1));
	return span_trim(span_of(list.p, i));
}

struct span proxy_pair_in(const struct sip_uri *u)
{
	const struct sip_param *n = sip_uri_param(u, SPAN("n"));
	return n && sip_uri_param(u, SPAN("ev")) ? n->value : SPAN("");
}

static bool is_ours(const struct proxy *p, const struct sip_uri *u)
{
	if (!u->host.p)
		return false;
	if (p->ops.is_self && sip_uri_param(u, SPAN("ev"))) /* a node's Record-Route */
		return p->ops.is_self(p->ops.arg, u->host, u->port);
	return p->ops.is_local(p->ops.arg, u->host, u->port);
}

static bool is_mac_of(const struct proxy *p, uint64_t dialog, const struct sip_uri *u,
		      uint64_t got)
{
	return mac_equal(got, proxy_route_mac(p, dialog, u->user));
}

/* Either side may be who began the dialog.  A REGISTER is in none (RFC 3261 10.2): by
 * the Routes of one it would come to a home as if its edge had looked at it. */
static bool mac_is_good(const struct proxy *p, const struct proxy_request *r,
			const struct sip_uri *u)
{
	const struct sip_param *ev = sip_uri_param(u, SPAN("ev"));
	uint64_t got;
	if (!ev || mac_unhex(ev->value, &got) || !r->to_tag.p || r->msg->method == SIP_REGISTER)
		return false;
	return is_mac_of(p, r->id_mac, u, got) ||
	       is_mac_of(p, proxy_dialog_mac(p, r->msg->call_id, r->to_tag), u, got);
}

/* 16.4, second paragraph: the Request-URI is what we put into Record-Route; the last Route
 * value is what the caller meant. */
static int undo_strict(const struct proxy *p, struct proxy_request *r)
{
	const struct sip_msg *m = r->msg;
	struct sip_list_it it = {0};
	struct sip_nameaddr na;
	struct span v, last = {NULL, 0};
	if (!sip_msg_first(m, SIP_HDR_ROUTE) || !sip_uri_param(&r->uri, SPAN("ev")))
		return 0;
	if (!is_ours(p, &r->uri) || !mac_is_good(p, r, &r->uri))
		return 0;
	while (sip_list_next(m, SIP_HDR_ROUTE, &it, &v))
		last = v;
	if (sip_nameaddr_parse(last, &na) || !na.uri.host.p)
		return -EINVAL;
	r->route_user = r->uri.user;
	r->user_of_dialog = r->route_user.n > 0;
	r->undo_strict = true;
	r->from_dialog_route = true;
	r->uri_text = na.uri_text;
	r->uri = na.uri;
	return 0;
}

/* 16.4, third paragraph: maddr names us: it, and the port and transport with it, are undone. */
static int undo_maddr(const struct proxy *p, struct proxy_request *r)
{
	const struct sip_uri *u = &r->uri;
	const struct sip_param *maddr = sip_uri_param(u, SPAN("maddr"));
	if (!maddr || !maddr->value.p || !p->ops.is_local(p->ops.arg, maddr->value, u->port))
		return 0;
	struct proxy_text t = {.cap = u->raw.n + 2};
	t.p = arena_alloc(sip_arena(), t.cap);
	if (!t.p)
		return -ENOMEM;
	proxy_text_add(&t, u->scheme == SIP_SCHEME_SIPS ? SPAN("sips:") : SPAN("sip:"));
	if (u->user.p) { /* with the password, as it stands up to the @ */
		size_t head = (size_t)(u->user.p - u->raw.p);
		ptrdiff_t at = span_chr(u->raw, '@', head);
		if (at < 0)
			return -EINVAL;
		proxy_text_add(&t, span_of(u->user.p, (size_t)at - head + 1));
	}
	proxy_text_add(&t, u->host_is_ipv6 ? SPAN("[") : SPAN(""));
	proxy_text_add(&t, u->host);
	proxy_text_add(&t, u->host_is_ipv6 ? SPAN("]") : SPAN(""));
	for (unsigned i = 0; i < u->params.n; i++) {
		const struct sip_param *v = &u->params.v[i];
		if (span_ieq(v->name, SPAN("maddr")) || span_ieq(v->name, SPAN("transport")))
			continue;
		proxy_text_add(&t, SPAN(";"));
		proxy_text_add(&t, v->name);
		proxy_text_add(&t, v->value.p ? SPAN("=") : SPAN(""));
		proxy_text_add(&t, v->value);
	}
	if (t.overflow)
		return -EINVAL;
	r->uri_text = proxy_text_span(&t);
	return sip_uri_parse(r->uri_text, &r->uri);
}

/* The last one says where the request goes on. */
static void take_own(const struct proxy *p, struct proxy_request *r, const struct sip_uri *u)
{
	bool good = (u->user.n || !r->from_dialog_route) && mac_is_good(p, r, u);
	r->route_user = u->user;
	r->user_of_dialog = good && u->user.n;
	r->from_dialog_route |= good;
	r->forged_token |= !good && u->user.n && r->to_tag.p && sip_uri_param(u, SPAN("ev"));
}

/* 16.4, last paragraph; all of ours are taken, since two are written where transports differ
 * (RFC 5658). */
static int own_routes(const struct proxy *p, struct proxy_request *r)
{
	const struct sip_msg *m = r->msg;
	struct sip_list_it it = {0};
	unsigned total = 0, left;
	struct span v;
	if (!sip_msg_first(m, SIP_HDR_ROUTE))
		return 0;
	if (r->undo_strict) {
		struct sip_list_it count = {0};
		while (sip_list_next(m, SIP_HDR_ROUTE, &count, &v))
			total++;
	}
	for (left = total; sip_list_next(m, SIP_HDR_ROUTE, &it, &v);) {
		struct sip_nameaddr na;
		if (r->undo_strict && --left == 0)
			break;
		int rc = sip_nameaddr_parse(v, &na);
		if (rc)
			return rc == -ENOMEM ? rc : -EINVAL;
		if (!is_ours(p, &na.uri)) {
			r->has_route = true;
			r->route_text = v;
			r->route_uri = na.uri;
			break;
		}
		r->own_routes++;
		take_own(p, r, &na.uri);
	}
	return 0;
}

unsigned proxy_route_preprocess(const struct proxy *p, struct proxy_request *r)
{
	int rc = undo_strict(p, r);
	if (!rc && (r->uri.scheme == SIP_SCHEME_SIP || r->uri.scheme == SIP_SCHEME_SIPS))
		rc = undo_maddr(p, r);
	if (!rc)
		rc = own_routes(p, r);
	if (!rc)
		return 0;
	return rc == -ENOMEM ? 500 : 400;
}
