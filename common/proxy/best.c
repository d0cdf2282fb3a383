/*
 * RFC 3261 16.7 steps 6 to 8: one final response out of what the branches gave.
 */
#include "common/proxy/call.h"

/*
 * 6xx, then the lowest class, and in it what tells the caller how to ask again, then what tells
 * of the user: that he is busy before that he is away.  What tells least comes last: 408 and
 * 487 (mostly our own doing), 503 (goes on as 500).  No two others have the same rank, so that
 * it does not matter which came first: after a take-over that may be another one.
 */
unsigned proxy_status_rank(unsigned status)
{
	if (status >= 600)
		return status - 600;
	switch (status) {
	case 401:
	case 407: /* their challenges go on together */
		return 4000;
	case 415:
	case 420:
	case 421:
	case 422:
	case 484:
	case 488:
	case 494:
		return 4000 + status % 100;
	case 486:
		return 4098;
	case 480:
		return 4099;
	case 487:
		return 4998;
	case 408:
		return 4999;
	case 503:
		return 5999;
	}
	return status / 100 * 1000 + 100 + status % 100;
}

void proxy_call_offer(struct proxy_call *c, unsigned status, struct bytes *bytes)
{
	if (c->final || (c->best_status &&
			 proxy_status_rank(status) >= proxy_status_rank(c->best_status))) {
		bytes_unref(bytes);
		return;
	}
	bytes_unref(c->best);
	c->best = bytes;
	c->best_status = bytes || status >= 300 ? status : 500;
}

/* The fields of one kind of another 401 or 407, as whole lines. */
static void add_challenges(struct proxy_text *t, const struct sip_msg *m, enum sip_hdr_kind k)
{
	for (const struct sip_hdr *h = sip_msg_first(m, k); h; h = sip_msg_next(m, h))
		proxy_text_add(t, span_of(m->base + h->off, h->len));
}

static struct proxy_text gather_challenges(const struct proxy_call *c)
{
	struct proxy_text t = {0};
	size_t size = 0;
	for (const struct branch *b = c->branches; b; b = b->next)
		size += b->challenge && b->challenge != c->best ? b->challenge->n : 0;
	if (!size)
		return t;
	t.p = arena_alloc(sip_arena(), size);
	t.cap = t.p ? size : 0;
	for (const struct branch *b = c->branches; b && t.p; b = b->next) {
		struct sip_hdr hdr[SIP_HDR_MAX];
		struct sip_msg m;
		if (!b->challenge || b->challenge == c->best ||
		    proxy_index_own(&m, hdr, bytes_span(b->challenge)))
			continue;
		add_challenges(&t, &m, SIP_HDR_WWW_AUTHENTICATE);
		add_challenges(&t, &m, SIP_HDR_PROXY_AUTHENTICATE);
	}
	return t;
}

/* Step 7.  NULL: as it is. */
static struct bytes *aggregate(struct proxy_call *c)
{
	struct sip_hdr hdr[SIP_HDR_MAX];
	struct sip_msg m;
	struct sip_splice s;
	struct proxy_text t = gather_challenges(c);
	if (!t.n || proxy_index_own(&m, hdr, bytes_span(c->best)))
		return NULL;
	sip_splice_init(&s, &m);
	sip_splice_append(&s, proxy_text_span(&t));
	return sip_splice_bytes(&s);
}

static void send_own(struct proxy_call *c, unsigned status, msec now)
{
	/* RFC 4320 4.2: a 408 to anything but INVITE comes too late for whoever waits. */
	if (status == 408 && !c->invite)
		return;
	txn_reply(c->server, status, span_of(NULL, 0), span_of(NULL, 0), now);
}

void proxy_call_send_best(struct proxy_call *c, msec now)
{
	unsigned status = c->best_status ? c->best_status : 480;
	bool silent = status == 408 || status == 480; /* said by us, not by a device */
	/* Rebuilt from the CANCEL: that a target is not found now says nothing of it then. */
	if (c->cancelled && (silent || c->partial) && !c->best)
		status = 487;
	if (status == 503) { /* step 6: it would mean that we cannot serve the caller at all */
		status = 500;
		c->best = bytes_unref(c->best);
	}
	proxy_call_set_final(c, status);
	if (!c->server)
		return;
	if (c->best && status == c->best_status && !(status == 408 && !c->invite)) {
		struct bytes *more = status == 401 || status == 407 ? aggregate(c) : NULL;
		txn_respond(c->server, status, more ? more : c->best, now);
		bytes_unref(more);
	} else {
		send_own(c, status, now);
	}
	if (c->note && txn_status(c->server) >= 200)
		return; /* the record stays until the caller's ACK, or the end of waiting for it
			 */
	txn_forget(c->server);
	c->server = NULL;
}
