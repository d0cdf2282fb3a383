/*
 * The INVITE transactions of another member of the pair, made from a response or a CANCEL of
 * theirs.  Nothing leaves by the making.  Not here: what is taken from a record (adopt.c).
 */
#include "common/proxy/rebuild.h"

#include "common/proxy/call.h"

#include <stdlib.h>

uint64_t proxy_request_key(const struct proxy *p, const struct proxy_request *r)
{
	return proxy_request_key_of(p, proxy_request_mac(p, r->msg, &r->top, r->id_mac));
}

bool proxy_response_is_ours(const struct proxy *p, const struct sip_msg *m,
			    const struct sip_via *top, struct proxy_origin *ret)
{
	struct proxy_back back;
	if (m->is_request || proxy_back_read(p, m, top, &back))
		return false;
	ret->key = proxy_request_key_of(p, back.request_mac);
	ret->tag = back.tag;
	ret->token = back.token;
	return true;
}

/* ---- the request, as far as a response tells it ---- */

struct synthesis {
	struct sip_hdr hdr[SIP_HDR_MAX];
	struct sip_msg msg;
	struct proxy_request r;
	struct proxy_target target;
	struct proxy_opts opts;
};

static void add_value(struct proxy_text *t, struct span name, struct span value)
{
	proxy_text_add(t, name);
	proxy_text_add(t, value);
	proxy_text_add(t, SPAN("\r\n"));
}

/* The tag is the callee's, unless the request was in a dialog. */
static void add_to(struct proxy_text *t, const struct sip_msg *m, bool in_dialog)
{
	struct span to = sip_msg_value(m, SIP_HDR_TO), tag;
	proxy_text_add(t, SPAN("To: "));
	if (in_dialog || sip_msg_tag(m, SIP_HDR_TO, &tag) || !tag.p || tag.p < to.p ||
	    tag.p + tag.n > to.p + to.n) {
		add_value(t, to, span_of(NULL, 0));
		return;
	}
	const char *at = tag.p, *behind = tag.p + tag.n;
	while (at > to.p && *at != ';')
		at--;
	proxy_text_add(t, span_of(to.p, (size_t)(at - to.p)));
	add_value(t, span_of(behind, (size_t)(to.p + to.n - behind)), span_of(NULL, 0));
}

/* Via without ours; no body, no Route: those went before. */
static struct span request_text(const struct sip_msg *m, const struct proxy_back *back,
				struct span uri)
{
	struct sip_list_it it = {0};
	struct span v;
	struct proxy_text t = {.cap = 2 * m->len + uri.n + 256};
	t.p = arena_alloc(sip_arena(), t.cap);
	if (!t.p)
		return span_of(NULL, 0);
	proxy_text_add(&t, SPAN("INVITE "));
	add_value(&t, uri, SPAN(" SIP/2.0"));
	(void)sip_list_next(m, SIP_HDR_VIA, &it, &v);
	while (sip_list_next(m, SIP_HDR_VIA, &it, &v))
		add_value(&t, SPAN("Via: "), v);
	add_value(&t, SPAN("From: "), sip_msg_value(m, SIP_HDR_FROM));
	add_to(&t, m, back->in_dialog);
	add_value(&t, SPAN("Call-ID: "), m->call_id);
	proxy_text_add(&t, SPAN("CSeq: "));
	proxy_text_dec(&t, m->cseq);
	add_value(&t, SPAN(" INVITE"), span_of(NULL, 0));
	proxy_text_add(&t, SPAN("Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n"));
	return t.overflow ? span_of(NULL, 0) : proxy_text_span(&t);
}

static int synthesise(struct proxy *p, const struct sip_msg *m, const struct proxy_back *back,
		      const struct sip_flow *src, const struct proxy_target *target,
		      const struct proxy_opts *opts, struct synthesis *s)
{
	struct proxy_request *r = &s->r;
	struct sip_nameaddr to;
	s->target = target ? *target : (struct proxy_target){0};
	s->opts = opts ? *opts : (struct proxy_opts){0};
	s->opts.via_flow = back->token; /* as it stands in our Via */
	s->opts.no_record_route = true; /* that went before */
	s->target.flags = 0;
	s->target.tag = back->tag;
	if (!s->target.uri.n) {
		if (sip_msg_to(m, &to))
			return -EINVAL;
		s->target.uri = to.uri_text;
	}
	struct span text = request_text(m, back, s->target.uri);
	if (!text.n)
		return -ENOMEM;
	if (proxy_index_own(&s->msg, s->hdr, text))
		return -EINVAL;
	*r = (struct proxy_request){
		.msg = &s->msg,
		.uri_text = s->msg.uri,
		.from_tag = back->from_tag,
		.id_mac = back->id_mac,
		.max_breadth = p->conf.max_breadth,
		.max_forwards = p->conf.default_max_forwards,
	};
	(void)sip_uri_parse(r->uri_text, &r->uri);
	if (sip_msg_top_via(&s->msg, &r->top) ||
	    (back->in_dialog && sip_msg_tag(m, SIP_HDR_TO, &r->to_tag)))
		return -EINVAL;
	return proxy_back_flow(p, back, src, &r->src);
}

/* ---- the branch ---- */

/* The address in its URI, where there is one; else it is whence the answer comes. */
static bool numeric_flow(struct branch *b, const struct sip_uri *hop)
{
	struct proxy_call *c = b->call;
	const struct proxy_ops *ops = &c->p->ops;
	struct locate_query *q = NULL;
	struct locate_result r;
	if (addr_parse(&r.v[0].addr, hop->host, 1))
		return false;
	int rc = ops->locate(ops->arg, hop, c->p->w->now, NULL, NULL, &r, &q);
	if (rc == 0)
		ops->locate_cancel(ops->arg, q);
	if (rc <= 0 || !r.n || r.v[0].transport == SIP_TRANSPORT_TLS)
		return false;
	int listener = ops->listener_for(ops->arg, &r.v[0], c->plan.listener);
	if (listener < 0)
		return false;
	b->flow = (struct sip_flow){.transport = r.v[0].transport,
				    .listener = (uint16_t)listener,
				    .remote = r.v[0].addr};
	return true;
}

/* Where its INVITE went. */
static void find_flow(struct branch *b, const struct sip_flow *src)
{
	struct proxy_leg leg = {.uri = b->uri, .route = b->route};
	struct sip_uri hop;
	bool known = proxy_next_hop(&b->call->plan, &leg, &hop, &b->strict) == 0;
	if (!b->has_flow && (!known || !numeric_flow(b, &hop)))
		b->flow = *src;
}

/* 0 when the response will find its transaction. */
static int resume(struct branch *b, const struct sip_flow *src, msec now)
{
	const struct proxy_ops *ops = &b->call->p->ops;
	if (b->query)
		ops->locate_cancel(ops->arg, b->query);
	b->query = NULL;
	if (!b->sent)
		find_flow(b, src);
	else if (!b->branch)
		b->attempt--; /* that one again */
	b->resume = true;
	return proxy_branch_send(b, now);
}

static struct branch *find_branch(const struct proxy_call *c, struct span text)
{
	char mine[PROXY_BRANCH_LEN];
	for (struct branch *b = c->branches; b; b = b->next) {
		proxy_branch_text(b, mine);
		if (span_eq(text, span_of(mine, sizeof(mine))))
			return b;
	}
	return NULL;
}

/* One that this call did not know of, at the end. */
static struct branch *add_branch(struct proxy_call *c, const struct proxy_target *t,
				 struct span text)
{
	struct branch **at = &c->branches;
	struct branch *b = malloc(sizeof(*b) + t->uri.n + t->route.n);
	if (!b)
		return NULL;
	char *p = (char *)(b + 1);
	*b = (struct branch){.call = c,
			     .own_alloc = true,
			     .state = BRANCH_DONE,
			     .tag = t->tag,
			     .has_flow = t->has_flow,
			     .flow = t->flow,
			     .branch = bytes_dup(text)};
	if (!b->branch) {
		free(b);
		return NULL;
	}
	b->uri = span_of(memcpy(p, t->uri.p, t->uri.n), t->uri.n);
	if (t->route.n)
		b->route = span_of(memcpy(p + t->uri.n, t->route.p, t->route.n), t->route.n);
	wheel_timer_init(&b->timer_c, proxy_timer_c_fired);
	while (*at)
		at = &(*at)->next;
	*at = b;
	c->nbranches++;
	return b;
}

/* ---- a response ---- */

/* A device that nobody waits for any more: its ringing is cancelled, its answer ACKed; a 2xx
 * goes on (16.7 step 9). */
static int answer_stray(struct proxy *p, const struct synthesis *s, const struct sip_msg *m,
			const struct sip_via *top, const struct sip_flow *src, msec now)
{
	if (m->status / 100 == 2)
		return proxy_response_stateless(p, m, top, src);
	struct proxy_plan pl;
	struct proxy_scratch sc;
	struct sip_splice splice;
	struct proxy_leg leg = {.uri = s->target.uri,
				.route = s->target.route,
				.branch = top->branch,
				.tag = s->target.tag};
	const struct sip_flow *to = s->target.has_flow ? &s->target.flow : src;
	struct sip_uri hop;
	proxy_plan_init(p, &pl, &s->r, &s->opts);
	leg.listener = to->listener;
	if (proxy_next_hop(&pl, &leg, &hop, &leg.strict))
		leg.strict = false;
	int rc = proxy_edit(p, &pl, &leg, &splice, &sc);
	struct bytes *req = rc ? NULL : sip_splice_bytes(&splice);
	if (!req)
		return rc ? rc : -ENOMEM;
	struct txn *t = txn_client_resume(p->tt, SIP_INVITE, SPAN("INVITE"), top->branch, req,
					  to, NULL, NULL, now);
	bytes_unref(req);
	if (!t)
		return -ENOSPC;
	if (m->status < 200)
		txn_cancel(t, span_of(NULL, 0), now);
	txn_recv_response(p->tt, m, top, src, now);
	return 0;
}

/* With the one branch that the response is of. */
static struct proxy_call *call_new(struct proxy *p, const struct synthesis *s,
				   struct span branch, msec now)
{
	const struct proxy_target *v[1] = {&s->target};
	struct txn *server =
		txn_server_resume(p->tt, &s->msg, &s->r.top, &s->r.src, NULL, NULL, now);
	if (!server)
		return NULL;
	struct proxy_call *c = proxy_call_new(p, server, &s->r, v, 1, &s->opts);
	if (!c) {
		txn_abandon(server);
		return NULL;
	}
	txn_server_set_user(server, &proxy_server_user, c);
	c->partial = c->stop = true;
	c->plan.uri_parsed = c->plan.route_parsed = NULL;
	c->branches->state = BRANCH_DONE;
	c->branches->branch = bytes_dup(branch);
	if (c->branches->branch)
		return c;
	proxy_call_undo(c);
	return NULL;
}

static int answer(struct branch *b, const struct sip_msg *m, const struct sip_via *top,
		  const struct sip_flow *src, msec now)
{
	struct proxy_call *c = b->call;
	int rc = resume(b, src, now);
	if (rc)
		return rc;
	/* The caller has another answer, or wants none: nobody is to ring on. */
	if (m->status < 200 && (c->final || c->cancelled))
		proxy_branch_cancel(b, span_of(NULL, 0), now);
	txn_recv_response(c->p->tt, m, top, src, now);
	return 0;
}

/* No call of that request is here: another member had it. */
static int answer_anew(struct proxy *p, const struct synthesis *s, const struct sip_msg *m,
		       const struct sip_via *top, const struct sip_flow *src, msec now)
{
	struct proxy_call *c = call_new(p, s, top->branch, now);
	if (!c)
		return -ENOMEM;
	int rc = answer(c->branches, m, top, src, now);
	if (rc)
		proxy_call_undo(c);
	return rc;
}

/* A call is here, taken over meanwhile, but not this branch or not its transaction. */
static int answer_here(struct proxy_call *c, const struct synthesis *s, const struct sip_msg *m,
		       const struct sip_via *top, const struct sip_flow *src, msec now)
{
	struct branch *b = find_branch(c, top->branch);
	bool over = b && b->state >= BRANCH_ACCEPTED && m->status / 100 != 2;
	if (over || !c->plan.m)
		return answer_stray(c->p, s, m, top, src, now);
	if (!b)
		b = add_branch(c, &s->target, top->branch);
	if (!b)
		return -ENOMEM;
	int rc = answer(b, m, top, src, now);
	if (rc) {
		proxy_branch_end(b, 500);
		proxy_call_step(c, now);
	}
	return rc;
}

static int rebuild(struct proxy *p, const struct sip_msg *m, const struct sip_via *top,
		   const struct sip_flow *src, const struct proxy_back *back,
		   const struct proxy_target *target, const struct proxy_opts *opts, msec now)
{
	struct synthesis s;
	int rc = synthesise(p, m, back, src, target, opts, &s);
	if (rc)
		return rc;
	struct txn *server = txn_find_invite(p->tt, &s.msg, &s.r.top);
	struct proxy_call *c = server ? txn_server_arg(server, &proxy_server_user) : NULL;
	if (c)
		return answer_here(c, &s, m, top, src, now);
	if (!server)
		return answer_anew(p, &s, m, top, src, now);
	/* Somebody here is still deciding about the INVITE: it will be repeated to the device,
	 * and the device will answer again. */
	if (txn_status(server) < 200)
		return 0;
	return answer_stray(p, &s, m, top, src, now);
}

int proxy_rebuild_from_response(struct proxy *p, const struct sip_msg *m,
				const struct sip_via *top, const struct sip_flow *src,
				const struct proxy_target *target,
				const struct proxy_opts *opts, msec now)
{
	struct proxy_back back;
	if (m->is_request || m->method != SIP_INVITE)
		return -EINVAL;
	if (txn_recv_response(p->tt, m, top, src, now))
		return 0; /* what was adopted knows it */
	if (proxy_back_read(p, m, top, &back))
		return -EPERM;
	int rc = -EPROTONOSUPPORT; /* RFC 2543's matching needs a request that we do not have */
	if (back.next.cookie)
		rc = rebuild(p, m, top, src, &back, target, opts, now);
	if (!rc)
		counter_inc(&p->count.rebuilt);
	return rc;
}

/* ---- a CANCEL ---- */

/* The INVITE as it came, but for what a CANCEL leaves out (9.1). */
static struct bytes *invite_of_cancel(const struct sip_msg *m)
{
	struct span cseq = sip_msg_value(m, SIP_HDR_CSEQ);
	struct sip_splice s;
	size_t n = cseq.n;
	while (n > 0 && cseq.p[n - 1] != ' ' && cseq.p[n - 1] != '\t')
		n--;
	sip_splice_init(&s, m);
	sip_splice_replace_span(&s, m->method_text, SPAN("INVITE"));
	sip_splice_replace_span(&s, span_of(cseq.p + n, cseq.n - n), SPAN("INVITE"));
	return sip_splice_bytes(&s);
}

static int take_for_sent(struct proxy *p, const struct proxy_request *r,
			 const struct proxy_target *t, unsigned n,
			 const struct proxy_opts *opts, msec now)
{
	const struct proxy_target *room[1], **v = proxy_sort_targets(p, t, &n, room);
	struct txn *server =
		v ? txn_server_resume(p->tt, r->msg, &r->top, &r->src, NULL, NULL, now) : NULL;
	if (!server)
		return -ENOMEM;
	struct proxy_call *c = proxy_call_new(p, server, r, v, n, opts);
	if (!c) {
		txn_abandon(server);
		return -ENOMEM;
	}
	txn_server_set_user(server, &proxy_server_user, c);
	c->partial = c->stop = true;
	/* Which groups and spares were tried is not known: a device that rings is to stop, one
	 * that does not says 481. */
	for (struct branch *b = c->branches; b; b = b->next) {
		b->resume = true;
		proxy_branch_start(b, now);
	}
	c->plan.uri_parsed = c->plan.route_parsed = NULL;
	return 0;
}

int proxy_rebuild_from_cancel(struct proxy *p, const struct proxy_request *r,
			      const struct proxy_target *v, unsigned n,
			      const struct proxy_opts *opts, msec now)
{
	struct sip_hdr hdr[SIP_HDR_MAX];
	struct sip_msg m;
	struct proxy_request invite;
	struct proxy_fault fault;
	struct sip_via top;
	if (r->msg->method != SIP_CANCEL)
		return -EINVAL;
	if (!r->top.cookie)
		return -EPROTONOSUPPORT;
	if (txn_find_invite(p->tt, r->msg, &r->top))
		return -EEXIST;
	struct bytes *text = invite_of_cancel(r->msg);
	if (!text)
		return -ENOMEM;
	int rc = proxy_index_own(&m, hdr, bytes_span(text));
	if (!rc)
		rc = sip_msg_top_via(&m, &top);
	if (!rc)
		rc = proxy_validate(p, &m, &top, &r->src, &invite, &fault);
	if (!rc)
		rc = take_for_sent(p, &invite, v, n, opts, now);
	bytes_unref(text);
	if (rc)
		return rc;
	counter_inc(&p->count.rebuilt);
	txn_recv_request(p->tt, r->msg, &r->top, &r->src, now);
	return 0;
}

/* ---- an ACK ---- */

bool proxy_ack_is_hop(const struct proxy *p, const struct proxy_request *r)
{
	if (r->msg->method != SIP_ACK || !r->to_tag.p)
		return false;
	if (txn_is_own_tag(p->tt, r->msg, &r->top, r->to_tag))
		return true;
	/* To a 2xx it would go along the Record-Route, or to the contact that the device gave:
	 * an address of record is none (but a GRUU is). */
	return !r->from_dialog_route && !r->has_route && r->uri.user.p && r->uri.host.p &&
	       !sip_uri_param(&r->uri, SPAN("gr")) &&
	       p->ops.is_local(p->ops.arg, r->uri.host, r->uri.port);
}
