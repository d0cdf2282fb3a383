/*
 * RFC 3261 16.11: requests forwarded without a transaction (ACK to a 2xx; an edge's hop to a
 * home), and responses that match none.
 */
#include "common/proxy/call.h"

#include "common/sip/build.h"
#include "common/sip/stamp.h"

#include <stdlib.h>

/* A request that waits for a resolution. */
struct stray {
	struct proxy *p;
	struct list link;
	struct sip_kept *kept;
	struct proxy_plan plan;
	struct proxy_leg leg;
	struct locate_query *query;
};

static int send_leg(struct proxy *p, const struct proxy_plan *pl, struct proxy_leg *leg,
		    const struct sip_flow *flow)
{
	struct iovec iov[SIP_SPLICE_IOV];
	struct proxy_scratch sc;
	struct sip_splice s;
	leg->listener = flow->listener;
	int rc = proxy_edit(p, pl, leg, &s, &sc);
	if (rc)
		return rc;
	int n = sip_splice_iov(&s, iov);
	if (n < 0)
		return n;
	p->ops.send(p->ops.arg, flow, iov, n);
	counter_inc(&p->count.stateless);
	return 0;
}

/* 16.11: the same address for every retransmission; the first one is. */
static int send_located(struct proxy *p, const struct proxy_plan *pl, struct proxy_leg *leg,
			const struct locate_result *r)
{
	if (!r->n)
		return -ENOENT;
	int listener = p->ops.listener_for(p->ops.arg, &r->v[0], pl->listener);
	if (listener < 0)
		return listener;
	struct sip_flow f = {
		.transport = r->v[0].transport,
		.listener = (uint16_t)listener,
		.remote = r->v[0].addr,
		.name = r->v[0].transport == SIP_TRANSPORT_TLS ? r->name : 0,
	};
	return send_leg(p, pl, leg, &f);
}

static void stray_free(struct stray *s)
{
	list_remove(&s->link);
	sip_kept_unref(s->kept);
	free(s);
}

void proxy_strays_free(struct proxy *p)
{
	list_for_each_safe (it, &p->strays) {
		struct stray *s = container_of(it, struct stray, link);
		if (s->query)
			p->ops.locate_cancel(p->ops.arg, s->query);
		stray_free(s);
	}
}

static void on_located(void *arg, int error, const struct locate_result *r)
{
	struct stray *s = arg;
	struct proxy_turn turn = proxy_turn_begin(s->kept);
	if (!error)
		error = send_located(s->p, &s->plan, &s->leg, r);
	if (error)
		counter_inc(&s->p->count.no_target);
	stray_free(s);
	proxy_turn_end(&turn);
}

static struct span keep(char **at, struct span s)
{
	if (!s.n)
		return s;
	char *p = memcpy(*at, s.p, s.n);
	*at += s.n;
	return span_of(p, s.n);
}

static struct stray *stray_new(struct proxy *p, const struct proxy_plan *pl,
			       const struct proxy_leg *leg)
{
	size_t size = pl->uri.n + pl->lines.n + pl->record_user.n + pl->path.n +
		      pl->via_flow.n + leg->uri.n + leg->route.n + leg->record_user.n;
	struct stray *s = malloc(sizeof(*s) + size);
	char *text = (char *)(s + 1);
	if (!s)
		return NULL;
	*s = (struct stray){.p = p, .plan = *pl, .leg = *leg, .kept = sip_kept_new(pl->m)};
	if (!s->kept) {
		free(s);
		return NULL;
	}
	s->plan.m = &s->kept->msg;
	s->plan.uri = keep(&text, pl->uri);
	s->plan.lines = keep(&text, pl->lines);
	s->plan.record_user = keep(&text, pl->record_user);
	s->plan.path = keep(&text, pl->path);
	s->plan.via_flow = keep(&text, pl->via_flow);
	s->leg.uri = keep(&text, leg->uri);
	s->leg.route = keep(&text, leg->route);
	s->leg.record_user = keep(&text, leg->record_user);
	list_append(&p->strays, &s->link);
	return s;
}

/* The stray is made first: `done` may come as soon as the query is begun. */
static int resolve(struct proxy *p, const struct proxy_plan *pl, struct proxy_leg *leg,
		   const struct sip_uri *hop)
{
	struct locate_result r;
	struct stray *s = stray_new(p, pl, leg);
	if (!s)
		return -ENOMEM;
	s->plan.uri_parsed = s->plan.route_parsed = NULL;
	int rc = p->ops.locate(p->ops.arg, hop, p->w->now, on_located, s, &r, &s->query);
	if (rc == 0)
		return 0;
	if (rc > 0)
		rc = send_located(p, pl, leg, &r);
	stray_free(s);
	return rc;
}

int proxy_forward_stateless(struct proxy *p, const struct proxy_request *r,
			    const struct proxy_target *t, const struct proxy_opts *opts,
			    msec now)
{
	struct proxy_plan pl;
	struct proxy_leg leg = {.uri = r->uri_text};
	struct sip_uri hop;
	(void)now;
	if (proxy_may_forward(p, r, 1)) {
		counter_inc(&p->count.refused);
		return -EPERM;
	}
	proxy_plan_init(p, &pl, r, opts);
	leg.breadth = pl.breadth;
	if (t) {
		if (!(t->flags & PROXY_TARGET_KEEP_URI))
			leg.uri = t->uri;
		leg.route = t->route;
		leg.record_user = t->record_user;
		leg.tag = proxy_names_target(r->msg->method) ? t->tag : 0;
		leg.named_above = t->flags & PROXY_TARGET_NAMED_ABOVE;
	}
	int rc = 0;
	bool to_flow = t && t->has_flow;
	if (!to_flow || leg.route.n || pl.has_route)
		rc = proxy_next_hop(&pl, &leg, &hop, &leg.strict);
	if (!rc)
		rc = to_flow ? send_leg(p, &pl, &leg, &t->flow) : resolve(p, &pl, &leg, &hop);
	if (rc)
		counter_inc(&p->count.no_target);
	return rc;
}

int proxy_response_stateless(struct proxy *p, const struct sip_msg *m,
			     const struct sip_via *top, const struct sip_flow *src)
{
	struct iovec iov[SIP_SPLICE_IOV];
	char room[SIP_LENGTH_ROOM];
	struct sip_flow flow;
	struct sip_splice s;
	struct proxy_back back;
	/* RFC 4320 4.2: late responses to anything but INVITE went out of date with their
	 * transaction only where there was one: a stateless hop cannot tell, and passes them.
	 */
	int rc = proxy_back_read(p, m, top, &back);
	if (!rc)
		rc = proxy_back_flow(p, &back, src, &flow);
	if (rc)
		return rc;
	proxy_take_via(m, &s);
	if (sip_transport_reliable(flow.transport))
		sip_splice_length(&s, room);
	int n = sip_splice_iov(&s, iov);
	if (n < 0)
		return n;
	p->ops.send(p->ops.arg, &flow, iov, n);
	counter_inc(&p->count.stateless);
	return 0;
}

/* The branch is that of a request which names nobody (tag 0): no transaction has it. */
struct bytes *proxy_response_by_token(struct proxy *p, struct span response, uint16_t listener,
				      struct span token)
{
	const struct proxy_local *out = p->ops.local(p->ops.arg, listener);
	const struct proxy_leg leg = {.named_above = true};
	struct proxy_scratch sc;
	struct proxy_text via = {.p = sc.via, .cap = sizeof(sc.via)};
	struct sip_hdr hdr[SIP_HDR_MAX];
	struct sip_splice s;
	struct sip_msg m;
	struct sip_via top;
	struct span from_tag;
	if (!out || proxy_index_own(&m, hdr, response) || sip_msg_top_via(&m, &top) ||
	    sip_msg_tag(&m, SIP_HDR_FROM, &from_tag))
		return NULL;
	const struct proxy_plan pl = {
		.m = &m,
		.via_flow = token,
		.request_mac = proxy_request_mac(p, &m, &top,
						 proxy_dialog_mac(p, m.call_id, from_tag)),
	};
	proxy_add_via(p, &pl, &leg, out, &via, sc.branch);
	sip_splice_init(&s, &m);
	sip_splice_prepend(&s, SIP_HDR_VIA, proxy_text_span(&via));
	return via.overflow ? NULL : sip_splice_bytes(&s);
}

void proxy_reply_stateless(struct proxy *p, const struct proxy_request *r, unsigned status)
{
	struct sip_flow f = r->src;
	struct sip_response resp = {.status = status};
	if (sip_via_dest(&r->top, &f))
		f = r->src;
	char tag[16];
	mac_hex(proxy_request_mac(p, r->msg, &r->top, r->id_mac), tag);
	resp.to_tag = span_of(tag, sizeof(tag));
	struct bytes *b = sip_build_response(r->msg, &resp);
	if (!b)
		return;
	struct iovec iov = {.iov_base = b->p, .iov_len = b->n};
	p->ops.send(p->ops.arg, &f, &iov, 1);
	bytes_unref(b);
}
