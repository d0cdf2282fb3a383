/*
 * Once more: what went by a way that broke may not have arrived, a request nor its answer, and
 * over a reliable transport nobody repeats them (RFC 3261 17.1.1.2, 17.1.2.2 and 17.2.1 run
 * their timers over UDP alone).  To the other side it is a retransmission.
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

/* Who has an ACK, or had a 2xx (which the UAS repeats), needs nothing. */
static bool is_owed(const struct txn *t)
{
	return t->tt && !t->terminated && t->kind == TXN_INVITE_SERVER && t->reliable &&
	       t->last && t->status > 100 && (t->status < 200 || t->status >= 300);
}

static unsigned send_all(struct txn_table *tt, enum txn_kind kind,
			 bool (*went)(void *arg, struct sip_flow *to), void *arg)
{
	unsigned n = 0;
	for (size_t slot = 1; slot <= tt->nslabs * TXN_SLAB; slot++) {
		struct txn *t = txn_at(tt->slab, (uint32_t)slot);
		bool server = kind == TXN_INVITE_SERVER;
		if (t->kind != kind || !(server ? is_owed(t) : waits(t)) || !went(arg, &t->to))
			continue;
		txn_resend(t, server ? t->last : t->client.req);
		n++;
	}
	return n;
}

/* INVITEs first: a CANCEL that has overtaken its own finds nothing. */
unsigned txn_send_again(struct txn_table *tt, bool (*went)(void *arg, struct sip_flow *to),
			void *arg, msec now)
{
	table_enter(tt);
	unsigned n = send_all(tt, TXN_INVITE_CLIENT, went, arg);
	n += send_all(tt, TXN_CLIENT, went, arg);
	table_leave(tt, now);
	return n;
}

unsigned txn_answer_again(struct txn_table *tt, bool (*went)(void *arg, struct sip_flow *to),
			  void *arg, msec now)
{
	table_enter(tt);
	unsigned n = send_all(tt, TXN_INVITE_SERVER, went, arg);
	table_leave(tt, now);
	return n;
}
