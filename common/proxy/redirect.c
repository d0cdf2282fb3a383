/*
 * Recursion on 3xx: RFC 3261 16.5, 16.7 step 4.  Contacts join the target set once each; what
 * is not followed stays in the response.
 */
#include "common/proxy/call.h"

#include <stdlib.h>

static bool in_target_set(const struct proxy_call *c, const struct sip_uri *u)
{
	struct sip_uri other;
	if (sip_uri_parse(c->plan.m->uri, &other) == 0 && sip_uri_equal(&other, u))
		return true;
	for (const struct branch *b = c->branches; b; b = b->next)
		if (sip_uri_parse(b->uri, &other) == 0 && sip_uri_equal(&other, u))
			return true;
	return false;
}

/* 16.5: a sips request is followed to sips alone.  A name of ours, whichever it is, would come
 * back to us from nobody. */
static bool may_follow(const struct proxy_call *c, const struct sip_nameaddr *na)
{
	bool sips = span_istarts(c->plan.m->uri, SPAN("sips:"));
	if (c->nbranches >= c->p->conf.max_targets || !c->hooks || !c->hooks->may_follow)
		return false;
	if (na->uri.scheme != SIP_SCHEME_SIPS && (sips || na->uri.scheme != SIP_SCHEME_SIP))
		return false;
	if (c->p->ops.is_local(c->p->ops.arg, na->uri.host, na->uri.port))
		return false;
	return !na->uri.headers.n && !in_target_set(c, &na->uri) &&
	       c->hooks->may_follow(c->hooks_arg, &na->uri);
}

static struct branch *branch_new(struct proxy_call *c, const struct sip_nameaddr *na)
{
	struct branch *b = calloc(1, sizeof(*b) + na->uri_text.n);
	const struct sip_param *q = sip_params_find(&na->params, SPAN("q"));
	if (!b)
		return NULL;
	b->own_alloc = true;
	b->call = c;
	b->uri = span_of(memcpy((char *)(b + 1), na->uri_text.p, na->uri_text.n),
			 na->uri_text.n);
	b->q = 1000;
	if (q && sip_qvalue_parse(q->value, &b->q))
		b->q = 0;
	wheel_timer_init(&b->timer_c, proxy_timer_c_fired);
	return b;
}

/* Behind the branches of its q or better, in front of what else waits. */
static void insert(struct branch *after, struct branch *b)
{
	while (after->next && after->next->own_alloc && after->next->state == BRANCH_WAITING &&
	       after->next->q >= b->q)
		after = after->next;
	b->next = after->next;
	after->next = b;
	b->call->nbranches++;
}

bool proxy_recurse(struct branch *from, const struct sip_msg *m, struct bytes **ret_rest)
{
	struct proxy_call *c = from->call;
	struct sip_list_it it = {0};
	char room[SIP_LENGTH_ROOM];
	struct sip_splice s;
	struct span v;
	unsigned followed = 0, left = 0;
	*ret_rest = NULL;
	if (!proxy_response_begin(c, m, &s, room))
		return false;
	for (const struct sip_hdr *h = sip_msg_first(m, SIP_HDR_CONTACT); h;
	     h = sip_msg_next(m, h))
		sip_splice_remove_hdr(&s, h);
	while (sip_list_next(m, SIP_HDR_CONTACT, &it, &v)) {
		struct sip_nameaddr na;
		struct branch *b = NULL;
		if (sip_nameaddr_parse(v, &na) == 0 && may_follow(c, &na))
			b = branch_new(c, &na);
		if (b) {
			insert(from, b);
			followed++;
			continue;
		}
		left++;
		sip_splice_append(&s, SPAN("Contact: "));
		sip_splice_append(&s, v);
		sip_splice_append(&s, SPAN("\r\n"));
	}
	if (followed && left)
		*ret_rest = sip_splice_bytes(&s);
	return followed > 0;
}
