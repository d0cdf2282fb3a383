/*
 * RFC 3261 16.3, with the loop check and Max-Breadth of RFC 5393.  The index has checked the
 * form of the message already (16.3 step 1); step 6 (Proxy-Authorization) is the role's.
 */
#include "common/proxy/proxy_priv.h"

static int refuse(struct proxy *p, struct proxy_fault *f, unsigned status, const char *reason)
{
	f->status = status;
	f->reason = reason;
	f->lines = span_of(NULL, 0);
	counter_inc(&p->count.refused);
	return -EBADMSG;
}

/* 16.3 step 2; steps 1 and 2 of 16.4 need the URI as well. */
static int check_uri(struct proxy *p, struct proxy_request *r, struct proxy_fault *f)
{
	switch (sip_uri_parse(r->msg->uri, &r->uri)) {
	case 0:
		if (r->uri.scheme == SIP_SCHEME_OTHER)
			return refuse(p, f, 416, "Unsupported URI Scheme");
		return 0;
	case -EPROTONOSUPPORT:
		if (r->uri.scheme == SIP_SCHEME_TEL)
			return 0;
		return refuse(p, f, 416, "Unsupported URI Scheme");
	case -ENOMEM:
		return refuse(p, f, 500, "Server Internal Error");
	default:
		return refuse(p, f, 400, "Bad Request-URI");
	}
}

/* 16.3 step 5: we have no extension that a Proxy-Require could ask for.  Not asked of ACK and
 * CANCEL (8.2.2.3). */
static int check_proxy_require(struct proxy *p, const struct sip_msg *m, struct proxy_fault *f)
{
	if (!sip_msg_first(m, SIP_HDR_PROXY_REQUIRE) || m->method == SIP_ACK ||
	    m->method == SIP_CANCEL)
		return 0;
	struct sip_list_it it = {0};
	struct span v, all = {NULL, 0};
	while (sip_list_next(m, SIP_HDR_PROXY_REQUIRE, &it, &v)) {
		if (!v.n)
			continue;
		all = all.n ? arena_printf(sip_arena(), "%.*s, %.*s", SPAN_FMT(all),
					   SPAN_FMT(v))
			    : v;
	}
	if (!all.n)
		return 0;
	refuse(p, f, 420, "Bad Extension");
	f->lines = arena_printf(sip_arena(), "Unsupported: %.*s\r\n", SPAN_FMT(all));
	return -EBADMSG;
}

/* RFC 5393 5.3: never more than we are configured for, whatever is asked. */
static int read_breadth(const struct proxy *p, struct proxy_request *r)
{
	struct span v = sip_msg_value(r->msg, SIP_HDR_MAX_BREADTH);
	uint64_t n;
	r->max_breadth = p->conf.max_breadth;
	if (!v.p)
		return 0;
	switch (span_u64(span_trim(v), UINT32_MAX, &n)) {
	case 0:
		if (n < r->max_breadth)
			r->max_breadth = (uint32_t)n;
		return 0;
	case -ERANGE:
		return 0;
	default:
		return -EINVAL;
	}
}

static int read_max_forwards(const struct proxy *p, struct proxy_request *r)
{
	int rc = sip_msg_max_forwards(r->msg, &r->max_forwards);
	if (rc == -ENOENT) {
		r->max_forwards = p->conf.default_max_forwards;
		return 0;
	}
	return rc;
}

/* A request for this server itself (REGISTER sip:domain, OPTIONS) goes nowhere from here: its
 * Max-Forwards may be 0. */
static bool ends_here(const struct proxy *p, const struct proxy_request *r)
{
	return !r->has_route && !r->uri.user.p && r->uri.host.p &&
	       p->ops.is_local(p->ops.arg, r->uri.host, r->uri.port);
}

int proxy_validate(struct proxy *p, const struct sip_msg *m, const struct sip_via *top,
		   const struct sip_flow *src, struct proxy_request *ret_r,
		   struct proxy_fault *ret_fault)
{
	struct proxy_request *r = ret_r;
	r->msg = m;
	r->src = *src;
	r->top = *top;
	r->uri_text = m->uri;
	r->has_route = r->undo_strict = r->from_dialog_route = false;
	r->user_of_dialog = r->forged_token = false;
	r->route_text = r->route_user = span_of(NULL, 0);
	r->own_routes = 0;
	int rc = check_uri(p, r, ret_fault);
	if (rc)
		return rc;
	if (sip_msg_tag(m, SIP_HDR_FROM, &r->from_tag) ||
	    sip_msg_tag(m, SIP_HDR_TO, &r->to_tag))
		return refuse(p, ret_fault, 400, "Bad From or To");
	if (read_max_forwards(p, r))
		return refuse(p, ret_fault, 400, "Bad Max-Forwards");
	if (read_breadth(p, r))
		return refuse(p, ret_fault, 400, "Bad Max-Breadth");
	r->id_mac = proxy_dialog_mac(p, m->call_id, r->from_tag);
	unsigned status = proxy_route_preprocess(p, r);
	if (status)
		return refuse(p, ret_fault, status,
			      status == 400 ? "Bad Route" : "Server Internal Error");
	if (r->max_forwards == 0 && !ends_here(p, r)) {
		counter_inc(&p->count.too_many_hops);
		return refuse(p, ret_fault, 483, "Too Many Hops");
	}
	r->loop_mac = proxy_loop_mac(p, m, r->id_mac, src->listener);
	if (proxy_is_loop(p, m, top, r->loop_mac)) {
		counter_inc(&p->count.loops);
		return refuse(p, ret_fault, 482, "Loop Detected");
	}
	return check_proxy_require(p, m, ret_fault);
}
