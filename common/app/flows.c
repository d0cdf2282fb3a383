/*
 * Flows in Record-Route (RFC 5626 5.3): whose flow is recorded, and what a token that comes
 * back means.  A phone on a connection or behind a NAT is reached inside its dialogs by the way
 * that it came; a phone on UDP that is where its Contact says costs nothing here.
 */
#include "common/app/flows.h"
#include "common/app/app_priv.h"

#include <errno.h>

enum { JOINING_MS = 5000 };

static struct span token_by(const struct flow_keys *k, const struct sip_flow *f, bool outbound)
{
	char *text = arena_alloc(sip_arena(), FLOW_TOKEN_MAX);
	if (!text)
		return SPAN("");
	return span_of(text, flow_token_write(k, f, outbound ? FLOW_OUTBOUND : 0, text));
}

struct span app_flow_token(const struct app_worker *w, const struct sip_flow *f, bool outbound)
{
	return token_by(&w->app->flows, f, outbound);
}

struct span app_flow_token_of(const struct app_worker *w, const struct sip_flow *f,
			      uint64_t boot, bool outbound)
{
	struct flow_keys of = w->app->flows;
	of.boot = flow_boot(boot);
	return token_by(&of, f, outbound);
}

bool app_has_one_via(const struct sip_msg *m)
{
	const struct sip_hdr *h = sip_msg_first(m, SIP_HDR_VIA);
	struct span v = sip_hdr_value(m, h);
	return !sip_msg_next(m, h) && !memchr(v.p, ',', v.n);
}

/* The sent-by of a Via as text; empty for IPv6, which has several spellings. */
static struct span sent_by(const struct sip_via *v)
{
	struct span s = v->host;
	const char *end = v->raw.p + v->raw.n;
	if (v->host_is_ipv6)
		return SPAN("");
	if (!v->port)
		return s;
	for (s.n++; s.p + s.n < end && s.p[s.n] >= '0' && s.p[s.n] <= '9';)
		s.n++;
	return s;
}

/* The request came from its sent-by, and Contact has that very text: seen without parsing. */
static bool plainly_direct(const struct proxy_request *r)
{
	struct span contact = sip_msg_value(r->msg, SIP_HDR_CONTACT), by = sent_by(&r->top);
	uint16_t port = r->top.port ? r->top.port : 5060;
	if ((r->top.received.p && !span_ieq(r->top.received, r->top.host)) ||
	    (r->top.has_rport && r->top.rport != port) || !by.n || !contact.n)
		return false;
	const char *at = memmem(contact.p, contact.n, by.p, by.n), *end = at + by.n;
	if (!at || at == contact.p || (at[-1] != '@' && at[-1] != ':'))
		return false;
	return end == contact.p + contact.n || *end == '>' || *end == ';';
}

/* Is the caller to be reached by the flow that his request came over? */
static bool needs_flow(const struct proxy_request *r, bool *ret_outbound)
{
	bool stream = sip_transport_reliable(r->src.transport);
	struct sip_list_it it = {0};
	struct sip_nameaddr na;
	struct span v;
	*ret_outbound = false;
	if (!proxy_makes_dialog(r) || !app_has_one_via(r->msg) ||
	    (!stream && plainly_direct(r)))
		return false;
	if (!sip_list_next(r->msg, SIP_HDR_CONTACT, &it, &v) ||
	    sip_nameaddr_parse(v, &na) < 0 || !na.uri.host.p)
		return stream;
	*ret_outbound = sip_uri_param(&na.uri, SPAN("ob")) != NULL;
	return stream || *ret_outbound || flow_behind_nat(&r->src, &na.uri, r->top.has_rport);
}

struct span app_via_token(const struct app_worker *w, const struct sip_flow *f)
{
	char *text = arena_alloc(sip_arena(), FLOW_TOKEN_MAX);
	struct sip_flow named = *f;
	if (!text)
		return SPAN("");
	/* By whichever member of a pair a request comes: the branch is made with this. */
	if (named.node)
		named.node = app_first_of_pair(w->app, named.node);
	return span_of(text, flow_token_write(&w->app->flows, &named, 0, text));
}

struct span app_way_back(const struct app_worker *w, const struct sip_flow *f)
{
	return app_cluster(w->app) && sip_transport_reliable(f->transport) ? app_via_token(w, f)
									   : SPAN("");
}

/* A token that comes back names a listener and worker of ours, or a node. */
int app_token_here(const struct app *a, struct span token, struct sip_flow *ret,
		   uint64_t *ret_id)
{
	unsigned flags;
	int rc = flow_token_read(&a->flows, token, ret, &flags);
	*ret_id = 0;
	if ((rc < 0 && rc != -ESTALE) || ret->node)
		return rc;
	if (ret->listener >= a->fixed->conf->listeners_count)
		return -EINVAL;
	if (!sip_transport_reliable(ret->transport))
		return 0;
	*ret_id = flow_token_conn(&a->flows, token);
	if (rc == 0 && !app_flow_alive(a, ret))
		return -ENOTCONN;
	return rc;
}

int app_conn_here(const struct app *a, const struct sip_flow *f, uint64_t boot,
		  uint64_t *ret_id)
{
	*ret_id = flow_conn_id(&a->flows, boot, f->conn);
	if (boot != a->boot)
		return -ESTALE;
	return app_flow_alive(a, f) ? 0 : -ENOTCONN;
}

/* Whom we hung up on, he will call again at once; else when he likes. */
bool app_has_hung_up(const struct app *a, unsigned listener)
{
	return app_phase(a) == APP_DRAINING || app_address_left(a, listener);
}

struct phones *app_phones(const struct app *a)
{
	for (unsigned i = 0; i < APP_ROLE_COUNT; i++)
		if (a->role[i] && a->role[i]->phones)
			return a->role[i]->phones(a->role_state[i]);
	return NULL;
}

static int token_read(const struct app *a, struct span token, struct sip_flow *ret)
{
	uint64_t id;
	int rc = app_token_here(a, token, ret, &id);
	if (rc != -ESTALE && rc != -ENOTCONN)
		return rc;
	bool we = app_has_hung_up(a, ret->listener);
	struct phones *p = app_phones(a);
	int now = p ? phones_moved(p, id, ret) : -ENOENT;
	if (now == -ENOENT && rc == -ESTALE && app_address_taken(a, ret->listener))
		return -ESTALE; /* nor does it have the connection any more */
	if (now == -ENOENT && rc == -ESTALE && app_twin(a)) { /* who was there may know */
		*ret = (struct sip_flow){.transport = SIP_TRANSPORT_TCP,
					 .node = app_twin(a),
					 .leg = SIP_TRANSPORT_TCP};
		return 0;
	}
	/* We have just come, and the other member has not been heard of yet. */
	if (now == -ENOENT && rc == -ESTALE && a->nodes &&
	    time_wall_ms() < a->started_wall_ms + JOINING_MS)
		return -ESTALE;
	if (now == -ENOTCONN || now == -ESTALE)
		return rc == -ENOTCONN && !we ? -ENOENT : -ESTALE;
	return now;
}

struct span app_lost_token(const struct app_worker *w, const struct sip_flow *f)
{
	struct phones *p = app_phones(w->app);
	uint64_t id = flow_conn_id(&w->app->flows, w->app->boot, f->conn);
	struct sip_flow now;
	return p && phones_moved(p, id, &now) != -ENOENT ? app_via_token(w, f) : SPAN("");
}

int app_phone_at(struct app *a, struct phones *p, uint64_t tag, struct sip_flow *ret)
{
	int r = phones_at(p, tag, ret);
	if (r == -ENOTCONN)
		r = app_has_hung_up(a, ret->listener) ? -ESTALE : -ENOENT;
	if (r == -ESTALE)
		app_knock(a, ret);
	return r;
}

int app_token_read(struct app *a, struct span token, struct sip_flow *ret)
{
	int r = token_read(a, token, ret);
	if (r == -ESTALE)
		app_knock(a, ret);
	return r;
}

struct span app_caller_token(const struct app_worker *w, const struct app_request *q)
{
	bool outbound;
	if (!w->conf->proxy.record_route || !needs_flow(q->r, &outbound))
		return SPAN("");
	return app_flow_token(w, &q->r->src, outbound);
}

bool app_flow_alive(const struct app *a, const struct sip_flow *f)
{
	return a->stacks && !app_address_left(a, f->listener) && stack_flow_alive(a->stacks, f);
}

static bool usable(const struct app_worker *w, const struct sip_flow *f)
{
	if (f->node)
		return app_cluster(w->app) != NULL;
	const struct proxy_local *l = stack_local(w->stack, f->listener);
	if (!l || l->transport != f->transport)
		return false;
	return !sip_transport_reliable(f->transport) || app_flow_alive(w->app, f);
}

bool app_is_sent_back(const struct app_worker *w, const struct sip_flow *src,
		      const struct sip_flow *to)
{
	return to->node && (to->node == src->node || src->handed) &&
	       !stack_has_waited(w->stack);
}

enum app_flow app_flow_of(const struct app_worker *w, const struct proxy_request *r,
			  struct sip_flow *ret)
{
	unsigned flags = 0;
	if (r->forged_token)
		return APP_FLOW_FORGED;
	/* 5.3.1: of one value alone it is the sender's own that it came back by, for the other
	 * side is in the cluster (add_record_route); by whichever connection, and of which
	 * member. */
	if (!r->user_of_dialog || (!r->src.node && r->own_routes + r->undo_strict < 2))
		return APP_FLOW_NONE;
	int rc = flow_token_read(&w->app->flows, r->route_user, ret, &flags);
	if (rc < 0 && rc != -ESTALE)
		return APP_FLOW_FORGED;
	if (w->app->nodes && !ret->node && sip_transport_reliable(ret->transport)) {
		rc = app_token_read(w->app, r->route_user, ret);
		if (rc == -ESTALE)
			return APP_FLOW_AWAY;
		if (rc == 0 && app_is_sent_back(w, &r->src, ret))
			return APP_FLOW_FAILED;
	}
	/* RFC 5630 5.4: sips never leaves TLS; its resolution will say no. */
	if (r->uri.scheme == SIP_SCHEME_SIPS && ret->transport != SIP_TRANSPORT_TLS &&
	    ret->transport != SIP_TRANSPORT_WSS)
		return APP_FLOW_NONE;
	if (rc < 0 || !usable(w, ret))
		return flags & FLOW_OUTBOUND ? APP_FLOW_FAILED : APP_FLOW_NONE;
	return APP_FLOW_GOOD;
}
