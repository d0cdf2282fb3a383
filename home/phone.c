/*
 * The way to a phone: over the edge that it registered through (RFC 3327), or over its own
 * connection with this pair.  That may be the other member's, or have gone with it: what is for
 * such a phone goes by the link to who has it, or waits here until it is back.  The Via that
 * the phone sees is the same in all cases: what it is to be sent is made once, by who has the
 * transaction, names the binding (proxy_target.tag), and is passed on as it came.
 */
#include "home/home_priv.h"

#include "common/app/address.h"
#include "common/proxy/journal.h"

#include <errno.h>

/* ---- where it is ---- */

static bool way(void *arg, const Eaves__Binding *b, struct phone_way *ret)
{
	const struct home *h = arg;
	if (b->path.len || !b->boot || !reg_flow_get(b, &ret->flow) ||
	    !sip_transport_reliable(ret->flow.transport))
		return false;
	ret->rc = app_conn_here(h->app, &ret->flow, b->boot, &ret->id);
	ret->node = app_address_taken(h->app, ret->flow.listener)
			    ? -1
			    : cluster_node_by_boot(h->cluster, b->boot);
	return true;
}

_Static_assert((int)REG_PAST_MAX == (int)PHONES_PAST, "what is remembered is looked at");

static unsigned past(void *arg, const Eaves__Binding *b, uint64_t ret_id[PHONES_PAST])
{
	const struct home *h = arg;
	struct sip_flow f = {.transport = SIP_TRANSPORT_TCP};
	uint64_t boot;
	unsigned n = 0;
	for (; n < PHONES_PAST && reg_past_conn(b, n, &boot, &f.conn); n++)
		app_conn_here(h->app, &f, boot, &ret_id[n]);
	return n;
}

int home_phones_start(struct home *h)
{
	const struct phones_ops ops = {.way = way, .past = past, .arg = h};
	h->phones = h->cluster ? phones_new(&ops, h->records, h->cluster) : NULL;
	return h->phones || !h->cluster ? 0 : -ENOMEM;
}

void home_phones_stop(struct home *h)
{
	h->phones = phones_free(h->phones);
}

struct phones *home_phones(void *state)
{
	const struct home *h = state;
	return h->phones;
}

enum reg_elsewhere home_elsewhere(void *arg, const struct sip_flow *f, uint64_t boot)
{
	const struct home *h = arg;
	uint64_t id;
	if (!h->cluster)
		return REG_LOST;
	if (app_conn_here(h->app, f, boot, &id) == -ENOTCONN)
		return app_has_hung_up(h->app, f->listener) ? REG_AWAITED : REG_LOST;
	int node = cluster_node_by_boot(h->cluster, boot);
	return node >= 0 && cluster_serving(h->cluster, (unsigned)node) ? REG_AT_OTHER
									: REG_AWAITED;
}

/* ---- to it ---- */

/* Through the cluster to a phone that registered at the edge: to the member that has its
 * connection, as the edge wrote into the Path, or to the other one.  By UDP both reach it: the
 * one that hears what it answers is to know of it. */
static bool by_edge(const struct home *h, const struct app_worker *w, struct span route,
		    struct sip_flow *ret)
{
	const char *pair = h->cluster ? app_edge_pair(w->app) : NULL;
	struct sip_nameaddr na;
	struct sip_flow f;
	unsigned flags;
	int other;
	struct span rest, first = proxy_first_value(route, &rest);
	if (!pair || sip_nameaddr_parse(first, &na) < 0)
		return false;
	const struct sip_param *m = sip_uri_param(&na.uri, SPAN("m"));
	const struct sip_param *leg = sip_uri_param(&na.uri, SPAN("leg"));
	int node = m ? cluster_node_by_name(h->cluster, m->value) : -1;
	if (node < 0)
		return false;
	enum sip_transport t = leg ? sip_transport_parse(leg->value) : SIP_TRANSPORT_UDP;
	uint32_t moved =
		t == SIP_TRANSPORT_UDP ? cluster_moved(h->cluster, (unsigned)node, &other) : 0;
	if (moved && flow_token_read(&h->edge_flows, flow_token_in(route), &f, &flags) == 0 &&
	    f.listener < CLUSTER_LISTENERS_MAX && moved >> f.listener & 1)
		node = other;
	/* Nobody there: the transaction repeats itself until somebody is. */
	if (app_node_flow(w, pair, node, SIP_TRANSPORT_NONE, ret) < 0)
		*ret = (struct sip_flow){.transport = SIP_TRANSPORT_TCP,
					 .node = (uint16_t)(node + 1)};
	ret->leg = t;
	return true;
}

/* The listener is the phone's: it stands in the Via that the phone gets. */
static void by_pair(const struct home *h, const struct reg_target *t, struct sip_flow *ret)
{
	int self = (int)cluster_self(h->cluster);
	int other = cluster_partner(h->cluster, (unsigned)self);
	int node =
		t->elsewhere == REG_AT_OTHER ? cluster_node_by_boot(h->cluster, t->boot) : -1;
	if (node < 0) /* where it will come back to */
		node = !cluster_serving(h->cluster, (unsigned)self) && other >= 0 &&
				       cluster_serving(h->cluster, (unsigned)other)
			       ? other
			       : self;
	ret->node = (uint16_t)(node + 1);
	ret->leg = t->flow.transport;
}

struct proxy_target home_way_to(const struct home *h, const struct app_worker *w,
				const struct reg_target *t)
{
	struct proxy_target r = {.uri = t->uri,
				 .route = t->route,
				 .q = t->q,
				 .has_flow = t->has_flow,
				 .flow = t->flow,
				 .flags = t->spare ? PROXY_TARGET_SPARE : 0,
				 .tag = t->tag};
	if (t->route.n && by_edge(h, w, t->route, &r.flow))
		r.has_flow = true;
	else if (t->has_flow && t->elsewhere != REG_LOST)
		by_pair(h, t, &r.flow);
	return r;
}

/* f: the flow of a phone that is straight at our pair, as it was when the binding was looked
 * up; ret: the binding, and its flow, as they are.  False: it is gone, or is reached in another
 * way by now.  What is asked for by a sips URI has targets by TLS alone (RFC 5630 5.4). */
static bool reach(const struct home *h, const struct app_worker *w, uint64_t tag,
		  const struct sip_flow *f, struct reg_target *ret, struct sip_flow *ret_flow)
{
	if (!tag || !reg_target_of(h->reg, tag, time_wall_ms(), ret))
		return false;
	struct proxy_target to = home_way_to(h, w, ret);
	if (!to.has_flow || to.route.n ||
	    (f->transport == SIP_TRANSPORT_TLS && to.flow.transport != SIP_TRANSPORT_TLS))
		return false;
	*ret_flow = to.flow;
	return true;
}

void home_find_phone(void *arg, uint64_t tag, bool late, struct sip_flow *f,
		     struct span *record_user)
{
	const struct home_journal *j = arg;
	struct reg_target t;
	if (!sip_flow_reliable(f) || (!late && !f->node && app_flow_alive(j->home->app, f)) ||
	    !reach(j->home, j->worker, tag, f, &t, f))
		return;
	if (record_user->n)
		*record_user = home_phone_token(j->worker, &t);
}

/* What is for it waits with this member. */
static void await(const struct home *h, struct sip_flow *f)
{
	f->node = (uint16_t)(cluster_self(h->cluster) + 1);
	f->leg = f->transport;
}

/* 0 and where the answers to the caller go; as home_find_phones(). */
static int find_caller(struct app_worker *w, struct proxy_fork *f)
{
	struct sip_flow src;
	uint64_t id;
	if (f->src.node || !sip_transport_reliable(f->src.transport) || !f->via_flow.n)
		return 0;
	int r = app_token_read(w->app, f->via_flow, &src);
	if (r == -ESTALE)
		return -EAGAIN;
	if (r == 0 && src.node) {
		if (app_token_here(w->app, f->via_flow, &src, &id) == -ENOTCONN)
			f->src = src;
		return -EREMOTE;
	}
	if (r == 0)
		f->src = src;
	return 0;
}

int home_find_phones(struct home *h, struct app_worker *w, struct proxy_fork *f)
{
	struct arena_scope scope = arena_enter(sip_arena());
	struct reg_target t;
	int r = find_caller(w, f);
	for (unsigned i = 0; i < f->n; i++)
		if (f->v[i].has_flow && !f->v[i].route.n &&
		    sip_transport_reliable(f->v[i].flow.transport) &&
		    !reach(h, w, f->v[i].tag, &f->v[i].flow, &t, &f->v[i].flow))
			await(h, &f->v[i].flow);
	arena_leave(sip_arena(), scope);
	return r;
}

bool home_is_awaited(struct app_worker *w, struct span token)
{
	struct arena_scope scope = arena_enter(sip_arena());
	struct sip_flow src;
	int r = app_token_read(w->app, token, &src);
	arena_leave(sip_arena(), scope);
	return r == -ESTALE;
}

struct span home_phone_token(const struct app_worker *w, const struct reg_target *t)
{
	bool outbound = t->reg_id != 0;
	return t->elsewhere == REG_LOST ? app_flow_token(w, &t->flow, outbound)
					: app_flow_token_of(w, &t->flow, t->boot, outbound);
}

/* ---- what our pair has made for it ---- */

/* A process that is silent, not known to have ended, may still have its connection: the binding
 * is not to be removed for that (RFC 5626 5.3.1: 430). */
static bool may_be_at_other(const struct home *h, uint64_t tag)
{
	struct reg_target t;
	if (!reg_target_of(h->reg, tag, time_wall_ms(), &t) || t.elsewhere != REG_AWAITED)
		return false;
	int node = cluster_node_by_boot(h->cluster, t.boot);
	return node >= 0 && node != (int)cluster_self(h->cluster);
}

static void cannot_be_reached(struct home *h, struct app_worker *w, const struct app_request *q,
			      uint64_t tag)
{
	home_count(&h->dialog.flow_failed);
	if (may_be_at_other(h, tag))
		app_reply(w, q, 480, NULL, SPAN(""));
	else
		app_reply(w, q, 430, "Flow Failed", SPAN(""));
}

/* To the phone of a binding. */
static void over_binding(struct home *h, struct app_worker *w, const struct app_request *q,
			 uint64_t tag)
{
	struct sip_flow to;
	int rc = app_phone_at(w->app, h->phones, tag, &to);
	/* Not back at once to who has just said that it is here: its record may be on the way.
	 */
	bool is_back = rc == 0 && to.node && to.node == q->r->src.node;
	if ((rc == -ESTALE || (is_back && !stack_has_waited(w->stack))) && app_defer(w, q))
		return;
	if (rc == 0)
		rc = app_as_it_came(w, q, &to);
	if (rc < 0)
		cannot_be_reached(h, w, q, tag);
	else
		home_count(&h->dialog.to_phone);
}

bool home_to_phone(struct home *h, struct app_worker *w, const struct app_request *q, msec now)
{
	if (!h->cluster || !home_of_our_pair(h, q->r->src.node))
		return false;
	/* The Via that our pair has put on it: nobody else's comes from a member of it. */
	uint64_t tag = proxy_target_named(stack_proxy(w->stack), &q->r->top);
	if (!tag)
		return app_to_phone(w, q, &h->dialog, now);
	bool was_ours = q->r->src.node == cluster_self(h->cluster) + 1;
	if (!was_ours || !proxy_is_past(stack_proxy(w->stack), q->r->msg, &q->r->top))
		over_binding(h, w, q, tag);
	return true;
}
