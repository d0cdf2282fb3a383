/*
 * To the devices of one of our users: forked (parallel, serial by q), or redirected with a 302
 * where the server, the user or the request (RFC 3841) asks for that.
 */
#include "home/home_priv.h"

#include "common/app/address.h"
#include "common/proxy/rebuild.h"

#include <errno.h>

struct callee {
	struct span user;
	struct dir_user record;
	struct reg_target v[REG_CONTACTS_MAX];
	int n;
	struct span lines; /* for the answer where he cannot be called */
};

static void not_found(struct home *h, struct app_worker *w, const struct app_request *q)
{
	home_count(&h->counters.not_found);
	log_event(LOG_INFO, "user-not-found", LOG_S("uri", app_uri_shown(&q->r->uri)),
		  LOG_S("call-id", q->r->msg->call_id));
	app_reply(w, q, 404, NULL, SPAN(""));
}

/* RFC 3261 16.5, RFC 5630 5.4: what is asked for by a sips URI goes over TLS alone. */
static int keep_secure(const struct app_worker *w, struct callee *c)
{
	bool led = false; /* a spare whose target went takes its place */
	int n = 0;
	for (int i = 0; i < c->n; i++) {
		const struct reg_target *t = &c->v[i];
		bool secure = t->has_flow ? t->flow.transport == SIP_TRANSPORT_TLS
					  : span_istarts(t->uri, SPAN("sips:"));
		led = t->spare && led;
		if (!secure)
			continue;
		c->v[n] = *t;
		c->v[n++].spare = led;
		led = true;
	}
	if (n == 0 && c->n > 0)
		c->lines = arena_printf(sip_arena(), "Warning: 380 %s \"SIPS Not Allowed\"\r\n",
					w->conf->domain);
	return n;
}

/* The user named by the Request-URI and his devices.  0, or the status to answer with. */
static unsigned find_callee(struct home *h, const struct app_worker *w,
			    const struct app_request *q, struct callee *c)
{
	uint64_t wall = time_wall_ms();
	struct reg_gruu gruu;
	struct span name;
	int r = reg_gruu_parse(h->reg, &q->r->uri, &gruu);
	c->user = c->lines = SPAN("");
	if (r == -EINVAL)
		return 404;
	if (r == -ENOENT && sip_uri_user(&q->r->uri, &name) < 0)
		return 404;
	if (r == 0)
		name = gruu.user;
	int found = home_resolve(h, name, &c->user, &c->record);
	if (found < 0)
		return found == -ENOENT ? 404 : 500;
	c->n = reg_lookup(h->reg, c->user, r == 0 ? &gruu : NULL, wall, c->v, REG_CONTACTS_MAX,
			  NULL);
	if (c->n == -ENOENT)
		return 404;
	if (c->n < 0)
		return 500;
	if (q->r->uri.scheme == SIP_SCHEME_SIPS)
		c->n = keep_secure(w, c);
	return c->n == 0 ? 480 : 0;
}

static bool wants_redirect(const struct app_worker *w, const struct app_request *q,
			   const struct callee *c)
{
	const struct sip_msg *m = q->r->msg;
	if (m->method == SIP_MESSAGE)
		return false;
	/* A stranger who asks is not told where our users are. */
	if ((q->marks & (APP_MARK_INSIDER | APP_MARK_AUTHENTICATED)) &&
	    sip_msg_has_token(m, SIP_HDR_REQUEST_DISPOSITION, SPAN("redirect")))
		return true;
	switch (w->conf->proxy.redirect) {
	case CONF_REDIRECT_NEVER:
		return false;
	case CONF_REDIRECT_USER:
		return c->record.flags & DIR_REDIRECT;
	case CONF_REDIRECT_ALWAYS:
		return true;
	}
	return false;
}

static void redirect(struct home *h, struct app_worker *w, const struct app_request *q,
		     const struct callee *c)
{
	struct span lines = SPAN("");
	for (int i = 0; i < c->n; i++)
		if (!c->v[i].spare)
			lines = arena_printf(sip_arena(), "%.*sContact: <%.*s>;q=%u.%03u\r\n",
					     SPAN_FMT(lines), SPAN_FMT(c->v[i].uri),
					     c->v[i].q / 1000, c->v[i].q % 1000);
	if (!lines.n || sip_arena()->overflow) {
		app_reply(w, q, 500, NULL, SPAN(""));
		return;
	}
	home_count(&h->counters.redirected);
	log_event(LOG_INFO, "redirected", LOG_S("user", c->user), LOG_N("contacts", c->n),
		  LOG_S("call-id", q->r->msg->call_id));
	app_reply(w, q, 302, NULL, lines);
}

static void flow_failed(void *arg, uint64_t tag, const struct sip_flow *f, struct span route)
{
	const struct home_journal *j = arg;
	reg_flow_failed(j->home->reg, tag, f, route, time_wall_ms());
}

/* A device may send a call wherever its caller may call himself. */
static bool may_follow(void *arg, const struct sip_uri *target)
{
	(void)arg;
	(void)target;
	return true;
}

static const struct proxy_hooks hooks_outsider = {.flow_failed = flow_failed,
						  .find = home_find_phone};
static const struct proxy_hooks hooks_insider = {
	.flow_failed = flow_failed, .find = home_find_phone, .may_follow = may_follow};

static struct proxy_target target_of(const struct home *h, const struct app_worker *w,
				     const struct app_request *q, const struct reg_target *t)
{
	struct proxy_target r = home_way_to(h, w, t);
	if (t->has_flow && proxy_makes_dialog(q->r))
		r.record_user = home_phone_token(w, t);
	if (q->r->msg->method == SIP_MESSAGE)
		r.q = 1000;
	return r;
}

void home_to_edge(struct home *h, struct app_worker *w, const struct app_request *q, msec now)
{
	struct app_request plain = *q;
	struct proxy_opts opts;
	uint32_t marks = q->marks & ~(uint32_t)APP_MARK_ROUTED;
	if (!h->cluster) {
		app_link(w, APP_EDGE, q, now);
		return;
	}
	/* The edge asserts the identity where it goes out: it is told who it is. */
	plain.marks &= ~(uint32_t)APP_MARK_AUTHENTICATED;
	app_forward_opts(w, &plain, true, &opts);
	/* Neither can be asked for a proof; they follow an INVITE that was.  An ACK to others
	 * is let out along its dialog's route alone. */
	bool to_ours = app_is_ours(w, q->r) && !q->r->has_route;
	if (q->r->msg->method == SIP_CANCEL || (q->r->msg->method == SIP_ACK && to_ours))
		marks |= APP_MARK_INSIDER;
	app_to_pair(w, q, app_edge_pair(w->app), q->r->src.node ? q->r->src.node - 1 : -1,
		    marks, &opts, now);
}

/* What a request to his devices is forwarded with; v: room for all of them. */
static void fork_opts(struct home *h, struct app_worker *w, const struct app_request *q,
		      const struct callee *c, struct proxy_target *v, struct proxy_opts *opts)
{
	for (int i = 0; i < c->n; i++)
		v[i] = target_of(h, w, q, &c->v[i]);
	app_forward_opts(w, q, false, opts);
	opts->via_flow = app_way_back(w, &q->r->src);
	opts->journal = home_journal(h, w);
	opts->hooks = w->conf->proxy.recurse && home_may_call_out(h, w, q) ? &hooks_insider
									   : &hooks_outsider;
	opts->hooks_arg = home_journal_of(h, w);
}

static void fork_to(struct home *h, struct app_worker *w, const struct app_request *q,
		    const struct callee *c, msec now)
{
	struct proxy_target t[REG_CONTACTS_MAX];
	struct proxy_opts opts;
	fork_opts(h, w, q, c, t, &opts);
	home_count(&h->counters.forked);
	log_event(LOG_INFO, "forked", LOG_S("method", q->r->msg->method_text),
		  LOG_S("user", c->user), LOG_N("devices", c->n),
		  LOG_S("call-id", q->r->msg->call_id));
	proxy_forward(stack_proxy(w->stack), q->r, t, (unsigned)c->n, &opts, now);
}

/* A caller who comes over from the other member is here before all its calls are: who has
 * refused one by a stream would ring anew.  So it is with what comes again by an edge when that
 * member has not been here for a while: what it has done by then is not done anew. */
static bool is_left_to_us(struct home *h, struct app_worker *w, const struct app_request *q,
			  msec now)
{
	const struct sip_flow *src = &q->r->src;
	int other = h->cluster ? cluster_partner(h->cluster, cluster_self(h->cluster)) : -1;
	if (q->r->msg->method != SIP_INVITE || other < 0)
		return false;
	msec left = cluster_left_at(h->cluster, (unsigned)other);
	msec within = w->conf->timers.timer_c_s * (msec)1000;
	bool may_be = (!src->node && sip_transport_reliable(src->transport)) ||
		      !cluster_serving(h->cluster, (unsigned)other) ||
		      (left && now < left + within);
	return may_be &&
	       home_adopt_for(h, w, proxy_request_key(stack_proxy(w->stack), q->r), q->r->msg,
			      now) &&
	       stack_take_again(w->stack, q->r, now);
}

void home_route(struct home *h, struct app_worker *w, const struct app_request *q, msec now)
{
	struct callee c;
	unsigned status = find_callee(h, w, q, &c);
	if (status == 404) {
		not_found(h, w, q);
	} else if (status) {
		home_count(&h->counters.unavailable);
		log_event(LOG_INFO, "unavailable", LOG_S("user", c.user),
			  LOG_N("status", status), LOG_S("call-id", q->r->msg->call_id));
		app_reply(w, q, status, NULL, c.lines);
	} else if (wants_redirect(w, q, &c)) {
		redirect(h, w, q, &c);
	} else if (!is_left_to_us(h, w, q, now)) {
		fork_to(h, w, q, &c, now);
	}
}

/* An ACK to a GRUU of ours: to the one device that it names. */
void home_route_ack(struct home *h, struct app_worker *w, const struct app_request *q, msec now)
{
	struct callee c;
	struct proxy_opts opts;
	struct proxy_target t;
	if (find_callee(h, w, q, &c))
		return;
	t = target_of(h, w, q, &c.v[0]);
	app_forward_opts(w, q, false, &opts);
	opts.via_flow = app_way_back(w, &q->r->src);
	proxy_forward_stateless(stack_proxy(w->stack), q->r, &t, &opts, now);
}

/* ---- what the other member of our pair began ---- */

struct proxy_opts home_fork_hooks(struct home *h, struct app_worker *w)
{
	return (struct proxy_opts){.hooks = &hooks_outsider,
				   .hooks_arg = home_journal_of(h, w),
				   .journal = home_journal(h, w)};
}

enum stack_found home_rebuild_cancel(struct home *h, struct app_worker *w,
				     const struct app_request *q, msec now)
{
	struct proxy *p = stack_proxy(w->stack);
	struct proxy_target t[REG_CONTACTS_MAX];
	struct proxy_opts opts;
	struct callee c;
	if (find_callee(h, w, q, &c))
		return STACK_UNKNOWN;
	fork_opts(h, w, q, &c, t, &opts);
	if (proxy_rebuild_from_cancel(p, q->r, t, (unsigned)c.n, &opts, now) < 0)
		return STACK_UNKNOWN;
	home_tell_rebuilt(h, proxy_request_key(p, q->r));
	log_event(LOG_INFO, "rebuilt", LOG_STR("from", "CANCEL"), LOG_S("user", c.user),
		  LOG_S("call-id", q->r->msg->call_id));
	return STACK_DONE;
}

/* A request other than INVITE to several devices was cut short: the answer of one is not let
 * on, so that its sender repeats it (or the edge does, for a stream), and all get it.  One
 * device alone has answered for all. */
static enum stack_found answer_of_one(struct home *h, uint64_t tag)
{
	return reg_devices_beside(h->reg, tag, time_wall_ms()) > 1 ? STACK_DONE : STACK_UNKNOWN;
}

/* A caller on a stream that is here, or is expected here: the transaction was where his
 * connection was.  If that process lives all the same, its answers would find no way to him. */
static bool caller_is_ours(const struct app_worker *w, struct span token)
{
	struct sip_flow f;
	int r = token.n ? app_token_read(w->app, token, &f) : -ENOENT;
	return r == -ESTALE || (r == 0 && !f.node && sip_transport_reliable(f.transport));
}

/* What a device answers goes to our service address, and whoever moves that does not ask where
 * the transaction is: while the other member serves it is there, or is made there.  Of an edge,
 * which mostly knows who has sent the request, it is for us; but where nobody would begin a
 * transaction anew it is better asked than lost.  -1: it is for us. */
static int for_other(const struct home *h, const struct app_worker *w, const struct sip_msg *m,
		     const struct sip_flow *src, struct span token)
{
	int self = (int)cluster_self(h->cluster),
	    other = cluster_partner(h->cluster, (unsigned)self);
	int from = (int)src->node - 1;
	bool is_for_us =
		from >= 0 && (m->method == SIP_INVITE || from == self || from == other);
	if (is_for_us || other < 0)
		return -1;
	/* It lay here while we stood still.  Callers, too, are where our address is now. */
	bool missed = app_may_live(h->app, (unsigned)other);
	/* One that drains has still the transactions that need nothing but their answer. */
	bool has_it = m->method == SIP_INVITE ? cluster_serving(h->cluster, (unsigned)other)
					      : cluster_alive(h->cluster, (unsigned)other);
	if (!missed && !has_it)
		return -1;
	if (!(missed && app_address_left(h->app, src->listener)) && caller_is_ours(w, token))
		return -1;
	return other;
}

static enum stack_found hand_over(struct home *h, struct app_worker *w, const struct sip_msg *m,
				  const struct sip_flow *src, unsigned other)
{
	if (app_hand_to_node(w, m, src, other) < 0)
		return STACK_UNKNOWN;
	home_count(&h->counters.handed);
	return STACK_DONE;
}

/* A refusal, or that it rings, which its edge had kept, for the other member had not said that
 * it got it: of a call that is over. */
static bool is_late(const struct home *h, const struct sip_msg *m, uint64_t key,
		    const struct proxy_target *device)
{
	return (m->status >= 300 || m->status < 200) && device &&
	       sip_transport_reliable(app_leg_of(&device->flow)) && home_fork_is_over(h, key);
}

/* To no device (tag 0): it was forwarded without a transaction. */
enum stack_found home_response(void *state, struct app_worker *w, const struct sip_msg *m,
			       const struct sip_via *top, const struct sip_flow *src,
			       bool again, msec now)
{
	struct home *h = state;
	struct proxy *p = stack_proxy(w->stack);
	struct proxy_opts opts = home_fork_hooks(h, w);
	struct proxy_origin origin;
	struct proxy_target target;
	struct reg_target found;
	if (!h->cluster || !proxy_response_is_ours(p, m, top, &origin) || !origin.tag)
		return STACK_UNKNOWN;
	int other = again ? -1 : for_other(h, w, m, src, origin.token);
	if (other >= 0)
		return hand_over(h, w, m, src, (unsigned)other);
	if (m->method != SIP_INVITE)
		return answer_of_one(h, origin.tag);
	if (!again && home_adopt_for(h, w, origin.key, m, now))
		return STACK_AGAIN;
	bool known = reg_target_of(h->reg, origin.tag, time_wall_ms(), &found);
	if (known)
		target = home_way_to(h, w, &found);
	if (is_late(h, m, origin.key, known ? &target : NULL))
		return STACK_DONE;
	if (proxy_rebuild_from_response(p, m, top, src, known ? &target : NULL, &opts, now) < 0)
		return STACK_UNKNOWN;
	home_tell_rebuilt(h, origin.key);
	log_event(LOG_INFO, "rebuilt", LOG_STR("from", "response"), LOG_N("status", m->status),
		  LOG_S("call-id", m->call_id));
	return STACK_DONE;
}
