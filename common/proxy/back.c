/*
 * What a response brings back of the request that it answers, and how far that can be trusted:
 * the branch in our Via is a MAC over the next Via, Call-ID, CSeq number, From tag, and over
 * the flow token and the target's name that stand beside it.  Where the response goes on: RFC
 * 3261 16.11, 18.2.2.
 */
#include "common/proxy/proxy_priv.h"

#include "common/sip/stamp.h"

static struct span param(const struct sip_via *via, struct span name)
{
	const struct sip_param *v = sip_params_find(&via->params, name);
	return v ? v->value : span_of(NULL, 0);
}

static uint16_t node_in(const struct sip_via *via, struct span name)
{
	uint64_t v;
	return span_u64(param(via, name), UINT16_MAX, &v) == 0 ? (uint16_t)v : 0;
}

uint16_t proxy_node_named(const struct sip_via *top)
{
	return node_in(top, SPAN("n"));
}

uint64_t proxy_target_named(const struct proxy *p, const struct sip_via *top)
{
	uint64_t tag;
	if (top->branch.n != PROXY_BRANCH_LEN ||
	    memcmp(top->branch.p, proxy_mark, PROXY_MARK_LEN) != 0 ||
	    !p->ops.is_local(p->ops.arg, top->host, top->port) ||
	    mac_unhex(param(top, SPAN("b")), &tag))
		return 0;
	return tag;
}

/* Takes the seal off the token; false: it is another one's. */
static bool unseal(const struct proxy *p, uint64_t request_mac, struct span *token)
{
	char seal[PROXY_SEAL_LEN];
	if (!token->n)
		return true;
	if (token->n <= sizeof(seal))
		return false;
	struct span bare = span_of(token->p, token->n - sizeof(seal));
	proxy_flow_seal(p, request_mac, bare, seal);
	if (!span_eq(span_of(token->p + bare.n, sizeof(seal)), span_of(seal, sizeof(seal))))
		return false;
	*token = bare;
	return true;
}

int proxy_back_read(const struct proxy *p, const struct sip_msg *m, const struct sip_via *top,
		    struct proxy_back *ret)
{
	struct sip_list_it it = {0};
	struct span v, name = param(top, SPAN("b"));
	if (!p->ops.is_local(p->ops.arg, top->host, top->port))
		return -EPERM;
	if (!sip_list_next(m, SIP_HDR_VIA, &it, &v) ||
	    !sip_list_next(m, SIP_HDR_VIA, &it, &v) || sip_via_parse(v, &ret->next))
		return -EPERM;
	ret->token = param(top, SPAN("ft"));
	/* Not under the MAC: it says which of two, that is all. */
	ret->member = node_in(top, SPAN("m"));
	ret->in_dialog = sip_params_find(&top->params, SPAN("d")) != NULL;
	ret->tag = 0;
	if ((name.n && mac_unhex(name, &ret->tag)) ||
	    sip_msg_tag(m, SIP_HDR_FROM, &ret->from_tag))
		return -EPERM;
	ret->id_mac = proxy_dialog_mac(p, m->call_id, ret->from_tag);
	ret->request_mac = proxy_request_mac(p, m, &ret->next, ret->id_mac);
	if (!proxy_branch_verify(p, top->branch,
				 proxy_request_mac_to(p, ret->request_mac, ret->tag)))
		return -EPERM;
	return unseal(p, ret->request_mac, &ret->token) ? 0 : -EPERM;
}

/* Where a response goes by its next Via, whose received is ours by the branch's MAC. */
static int by_via(const struct proxy *p, const struct sip_via *next, uint16_t hint,
		  struct sip_flow *ret)
{
	*ret = (struct sip_flow){.transport = next->transport, .listener = hint};
	int rc = sip_via_dest(next, ret);
	if (rc)
		return rc;
	struct locate_target t = {.transport = ret->transport, .addr = ret->remote};
	int listener = p->ops.listener_for(p->ops.arg, &t, hint);
	if (listener < 0)
		return listener;
	ret->listener = (uint16_t)listener;
	return 0;
}

int proxy_back_flow(const struct proxy *p, const struct proxy_back *b,
		    const struct sip_flow *src, struct sip_flow *ret)
{
	int rc = b->token.n && p->ops.read_flow
			 ? p->ops.read_flow(p->ops.arg, b->token, b->member, ret)
			 : -ENOENT;
	/* The phone's connection may come back by another, or be the other member's. */
	if (rc == -ESTALE || (rc == -EXDEV && ret->node != src->node))
		return rc;
	if (rc)
		rc = by_via(p, &b->next, src->listener, ret);
	else if (ret->node && ret->leg == SIP_TRANSPORT_NONE) /* the token does not say */
		ret->leg = src->node ? src->leg : src->transport;
	return rc;
}
