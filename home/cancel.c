/*
 * A CANCEL that matches no transaction here (RFC 3261 16.10).  Anybody can write one, and it
 * names nothing that only the call's own could know: INVITE transactions are made of it only
 * where that call can have been the other member's and is not that one's to cancel any more.
 * Else it is handed to the other member, or is of no call: 481.
 */
#include "home/home_priv.h"

#include "common/app/address.h"
#include "common/proxy/rebuild.h"

/* Where a call can be that is not known here. */
enum whose {
	OURS,	 /* its member has left it to us, or its caller has come over */
	THEIRS,	 /* with the other member, which serves */
	NOBODYS, /* nowhere */
};

/* The longest that a call rings without a word that would make it here (16.6 step 11). */
static msec timer_c_ms(const struct app_worker *w)
{
	return w->conf->timers.timer_c_s * (msec)1000;
}

/* This process was started, or was away, so lately that a call may be of its time before. */
static bool has_just_come(const struct home *h, msec within)
{
	uint64_t since = cluster_serving_since(h->cluster, cluster_self(h->cluster));
	return !since || time_wall_ms() < since + within;
}

/* On a stream: a phone that is registered by it, or somebody who is trusted. */
static bool is_known_peer(const struct home *h, const struct app_request *q)
{
	const struct sip_flow *src = &q->r->src;
	struct sip_flow at;
	uint64_t id;
	if (!sip_transport_reliable(src->transport))
		return false;
	if (q->marks & APP_MARK_INSIDER)
		return true;
	return app_conn_here(h->app, src, h->boot, &id) == 0 &&
	       phones_moved(h->phones, id, &at) == 0 && !at.node && at.conn == src->conn;
}

/* Who sends straight to us cancels where his INVITE went, but where that has moved. */
static enum whose of_straight(const struct home *h, const struct app_worker *w,
			      const struct app_request *q, bool we_are_elder, msec now)
{
	msec within = timer_c_ms(w), since = now > within ? now - within : 0;
	bool ours = (!we_are_elder && has_just_come(h, within)) ||
		    app_address_came(h->app, q->r->src.listener, since) || is_known_peer(h, q);
	return ours ? OURS : NOBODYS;
}

static enum whose whose_is(const struct home *h, const struct app_worker *w,
			   const struct app_request *q, int other, msec now)
{
	const struct sip_flow *src = &q->r->src;
	msec within = timer_c_ms(w);
	if (other < 0)
		return has_just_come(h, within) ? OURS : NOBODYS;
	if (!cluster_serving(h->cluster, (unsigned)other))
		return OURS;
	if (src->handed || home_of_our_pair(h, src->node))
		return NOBODYS; /* it is not with the other member either */
	msec left = cluster_left_at(h->cluster, (unsigned)other);
	if (left && now < left + within)
		return OURS;
	bool elder = cluster_member(h->cluster, span_str(h->pair), -1) != other;
	if (!src->node)
		return of_straight(h, w, q, elder, now);
	/* An edge that comes to us in place of the elder cannot reach that one; else it could
	 * not for a while, and the call is where it went then. */
	return elder ? THEIRS : OURS;
}

enum stack_found home_cancel_unknown(struct home *h, struct app_worker *w,
				     const struct app_request *q, msec now)
{
	int other = cluster_partner(h->cluster, cluster_self(h->cluster));
	uint64_t key = proxy_request_key(stack_proxy(w->stack), q->r);
	bool missed = other >= 0 && !q->r->src.handed && app_may_live(h->app, (unsigned)other);
	/* Nobody has a record's key who does not know the call. */
	if (!missed && home_adopt_for(h, w, key, q->r->msg, now))
		return STACK_AGAIN;
	switch (missed ? THEIRS : whose_is(h, w, q, other, now)) {
	case OURS:
		return home_rebuild_cancel(h, w, q, now);
	case THEIRS:
		if (app_hand_to_node(w, q->r->msg, &q->r->src, (unsigned)other) < 0)
			break;
		home_count(&h->counters.cancels_handed);
		return STACK_DONE;
	case NOBODYS:
		break;
	}
	home_count(&h->counters.cancels_unknown);
	return STACK_UNKNOWN;
}
