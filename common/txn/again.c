/*
 * Requests once more: what went by a way that broke may not have arrived, nor its answer, and
 * over a reliable transport nobody repeats them (RFC 3261 17.1.1.2, 17.1.2.2 run their timers
 * over UDP alone).  To the other side it is a retransmission.
 */
#include "common/txn/txn_priv.h"

/* What another member has sent is not here as it was.  By UDP an INVITE that has had a 1xx is
 * not repeated either: nothing would tell who stands in for the way of what went by it.  But
 * not behind its CANCEL: by datagrams they may arrive in the other order. */
static bool waits(const struct txn *t)
{
	if (!t->tt || t->terminated || t->status >= 200)
		return false;
	switch (t->kind) {
	case TXN_INVITE_CLIENT:
		return t->client.req && !t->client.resumed &&
		       (t->reliable || t->client.cancel == TXN_CANCEL_NONE);
	case TXN_CLIENT:
		return t->client.req && !t->client.resumed && t->reliable;
	case TXN_INVITE_SERVER:
	case TXN_SERVER:
		break;
	}
	return false;
}

unsigned txn_send_again(struct txn_table *tt,
			bool (*went)(void *arg, const struct sip_flow *to), void *arg, msec now)
{
	unsigned n = 0;
	table_enter(tt);
	for (size_t slot = 1; slot <= tt->nslabs * TXN_SLAB; slot++) {
		struct txn *t = txn_at(tt->slab, (uint32_t)slot);
		if (!waits(t) || !went(arg, &t->to))
			continue;
		txn_resend(t, t->client.req);
		n++;
	}
	table_leave(tt, now);
	return n;
}
