/*
 * What comes from the network: requests to server transactions, responses to client
 * transactions, the matching and answering of CANCEL (RFC 3261 9.2).
 */
#include "common/sip/build.h"
#include "common/txn/txn_priv.h"

/* 9.2: any transaction but of CANCEL or ACK; INVITE first, the only one that it has effect on.
 */
static struct txn *find_cancelled(struct txn_table *tt, const struct sip_msg *m,
				  const struct txn_key *k)
{
	struct txn *t = txn_find_server(tt, m, k, SIP_INVITE);
	/* Extension methods are left out: their text is not to be known from the CANCEL. */
	for (unsigned i = SIP_METHOD_OTHER + 1; !t && i < SIP_METHOD_COUNT; i++)
		if (i != SIP_INVITE && i != SIP_CANCEL && i != SIP_ACK)
			t = txn_find_server(tt, m, k, (enum sip_method)i);
	return t;
}

/* Full table: the 200 goes out once, without a transaction. */
static void answer_stateless(const struct txn *t, const struct sip_msg *cancel)
{
	struct sip_response r = {.status = 200, .to_tag = txn_to_tag(t)};
	struct bytes *b = sip_build_response(cancel, &r);
	if (!b)
		return;
	t->tt->ops.send(t->tt->ops.arg, &t->to, b, 0);
	bytes_unref(b);
}

static void cancel(struct txn *t, const struct sip_msg *m, const struct sip_via *top,
		   const struct txn_key *k, const struct sip_flow *src, msec now)
{
	struct txn *c = txn_server_start(t->tt, m, top, k, src, NULL, NULL, now);
	if (c) /* 9.2: the same tag as in the response to the INVITE. */
		memcpy(c->server.to_tag, t->server.to_tag, sizeof(c->server.to_tag));
	/* What it leads to leaves before the 200, which ends its repeats. */
	const struct txn_server_user *u = t->server.user;
	t->tt->cancelling = c;
	if (t->method == SIP_INVITE && txn_invite_server_cancellable(t) && u && u->cancel)
		u->cancel(t->arg, t, m, now);
	if (!c)
		answer_stateless(t, m);
	else if (!t->tt->cancelling) /* held: if its user never answers it ends all the same */
		c->machine->forgotten(c, now);
	else if (txn_reply_inner(c, 200, span_str(NULL), SPAN(""), now) < 0)
		c->machine->forgotten(c, now); /* no memory: the same */
	t->tt->cancelling = NULL;
}

static enum txn_request receive(struct txn_table *tt, const struct sip_msg *m,
				const struct sip_via *top, const struct sip_flow *src, msec now)
{
	struct txn_key k;
	struct txn *t;
	tt->latest.base = NULL;
	/* What is answered without transactions (REGISTER, OPTIONS) matches none: no key is
	 * made. */
	if (m->method != SIP_ACK && m->method != SIP_CANCEL && !tt->servers_of[m->method])
		return TXN_REQUEST_NEW;
	txn_key_of(tt, m, top, &k);
	if (m->method == SIP_ACK) {
		t = txn_find_server(tt, m, &k, SIP_INVITE);
		return t && txn_invite_server_ack(t, now) ? TXN_REQUEST_ABSORBED
							  : TXN_REQUEST_ACK;
	}
	t = txn_find_server(tt, m, &k, m->method);
	if (t) {
		counter_inc(&tt->counters.retransmits_in);
		t->machine->request(t, m, now);
		return TXN_REQUEST_ABSORBED;
	}
	if (m->method == SIP_CANCEL) {
		t = find_cancelled(tt, m, &k);
		if (!t)
			return TXN_REQUEST_NEW;
		cancel(t, m, top, &k, src, now);
		return TXN_REQUEST_ABSORBED;
	}
	txn_key_merge(tt, m, &k);
	txn_key_remember(tt, m, &k);
	return txn_find_merged(tt, m, &k) ? TXN_REQUEST_MERGED : TXN_REQUEST_NEW;
}

enum txn_request txn_recv_request(struct txn_table *tt, const struct sip_msg *m,
				  const struct sip_via *top, const struct sip_flow *src,
				  msec now)
{
	table_enter(tt);
	enum txn_request r = receive(tt, m, top, src, now);
	table_leave(tt, now);
	return r;
}

struct txn *txn_find_invite(struct txn_table *tt, const struct sip_msg *m,
			    const struct sip_via *via)
{
	struct txn_key k;
	txn_key_of(tt, m, via, &k);
	return txn_find_server(tt, m, &k, SIP_INVITE);
}

bool txn_recv_response(struct txn_table *tt, const struct sip_msg *m, const struct sip_via *top,
		       const struct sip_flow *src, msec now)
{
	(void)src; /* a derived branch is proof enough: addresses change on the way */
	struct txn *t;
	if (!top->branch.n)
		return false;
	tt->latest.base = NULL;
	table_enter(tt);
	t = txn_find_client(tt, m, top);
	if (t)
		t->machine->response(t, m, now);
	table_leave(tt, now);
	return t != NULL;
}
