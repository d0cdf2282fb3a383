/*
 * With a whole pair of homes dead, where the operator wants it (edge.deliver_alone): calls to
 * its users go to the phones whose registrations this edge holds, without forking by q,
 * redirection or whatever else a home would do.  Stale but useful.  Who calls must have been
 * proved by another home, be an insider, or come from another domain: nobody is authenticated
 * here.
 */
#include "edge/edge_priv.h"

#include "common/flow/token.h"
#include "proto/records.pb-c.h"

enum { TARGETS_MAX = 16, TEXT_MAX = 1024, TOKEN_MAX = FLOW_TOKEN_MAX };

struct phone {
	char uri[TEXT_MAX], token[TOKEN_MAX];
	size_t uri_n, token_n;
};

struct phones_of {
	unsigned n;
	struct phone v[TARGETS_MAX];
};

/* Under the lock of the records' stripe. */
static bool copy(void *arg, const struct record *rec)
{
	struct phones_of *p = arg;
	struct phone *to = &p->v[p->n];
	Eaves__Binding *b =
		eaves__binding__unpack(NULL, rec->body.n, (const uint8_t *)rec->body.p);
	if (!b)
		return true;
	struct span token = flow_token_in(span_of((const char *)b->path.data, b->path.len));
	if (token.n && b->contact.len <= TEXT_MAX) {
		memcpy(to->uri, b->contact.data, b->contact.len);
		memcpy(to->token, token.p, token.n);
		to->uri_n = b->contact.len;
		to->token_n = token.n;
		p->n++;
	}
	eaves__binding__free_unpacked(b, NULL);
	return p->n < TARGETS_MAX;
}

/* It is from Redis or another node, and goes into requests: no less is asked of it than a home
 * asks of a REGISTER. */
static bool is_sound(struct span uri)
{
	struct sip_uri u;
	return sip_uri_parse(uri, &u) == 0 &&
	       (u.scheme == SIP_SCHEME_SIP || u.scheme == SIP_SCHEME_SIPS);
}

static unsigned targets_of(const struct app_worker *w, const struct phones_of *p,
			   struct proxy_target v[TARGETS_MAX])
{
	unsigned n = 0;
	for (unsigned i = 0; i < p->n; i++) {
		struct span token =
			arena_dup(sip_arena(), span_of(p->v[i].token, p->v[i].token_n));
		struct proxy_target *t = &v[n];
		*t = (struct proxy_target){
			.uri = arena_dup(sip_arena(), span_of(p->v[i].uri, p->v[i].uri_n)),
			.record_user = token,
			.q = 1000,
			.has_flow = true,
		};
		if (!is_sound(t->uri) || app_token_read(w->app, token, &t->flow) < 0)
			continue;
		if (t->flow.node)
			t->route = app_token_route(w, token);
		n++;
	}
	return sip_arena()->overflow ? 0 : n;
}

bool edge_deliver_alone(struct edge *e, struct app_worker *w, const struct app_request *q,
			msec now)
{
	const uint32_t proved = APP_MARK_INSIDER | APP_MARK_AUTHENTICATED | APP_MARK_IN_DIALOG;
	char user[DIR_NAME_MAX_BYTES + 1];
	struct proxy_target v[TARGETS_MAX];
	struct phones_of p = {0};
	struct proxy_opts opts;
	struct span name;
	const struct proxy_request *r = q->r;
	if (!w->conf->edge.deliver_alone || r->msg->method == SIP_REGISTER ||
	    r->msg->method == SIP_CANCEL || r->msg->method == SIP_ACK ||
	    (!(q->marks & proved) && ((q->marks & APP_MARK_CHALLENGE) ||
				      app_caller(w, r->msg) != APP_CALLER_FOREIGN)) ||
	    sip_uri_user(&r->uri, &name) < 0)
		return false;
	int n = dir_resolve(e->records, name, time_wall_ms(), user, NULL);
	if (n < 0)
		return false;
	records_each(e->records, RECORD_BINDING, span_of(user, (size_t)n), time_wall_ms(), copy,
		     &p, NULL);
	unsigned found = targets_of(w, &p, v);
	if (!found)
		return false;
	app_forward_opts(w, q, false, &opts);
	if (r->src.node)
		opts.via_flow = app_via_token(w, &r->src);
	edge_count(&e->delivered_alone);
	log_event(LOG_WARN, "delivered-alone", LOG_S("user", span_of(user, (size_t)n)),
		  LOG_N("devices", found), LOG_S("call-id", r->msg->call_id));
	proxy_forward(stack_proxy(w->stack), r, v, found, &opts, now);
	return true;
}
