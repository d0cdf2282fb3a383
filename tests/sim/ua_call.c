/*
 * Calls: what both sides do alike (dialogs by RFC 3261 12, requests inside them), and the
 * calling side: INVITE, CANCEL, every answer of a fork, ACK.
 */
#include "tests/sim/ua_priv.h"

#include <stdio.h>
#include <stdlib.h>

struct call *call_new(struct ua *u, bool caller)
{
	struct call *c = sim_alloc(sizeof(*c));
	c->ua = u;
	c->number = ++u->ncalls;
	c->caller = caller;
	c->state = caller ? CALL_CALLING : CALL_RINGING;
	ua_token(u, "", c->local_tag);
	list_append(&u->calls, &c->link);
	return c;
}

void call_after(struct call *c, struct event *e, uint32_t ms, void (*run)(struct event *e))
{
	(void)c;
	if (!ms)
		return;
	event_stop(e);
	event_init(e, run);
	event_after(e, USEC_MS(ms));
}

static void stops_ringing(const struct call *c)
{
	usec on = rings_end(c->call_id, c->remote_cseq, c->rang_at);
	if (on)
		ua_fact(c->ua, "call %u: RANG ON for %.1f s", c->number, (double)on / 1e6);
}

void call_set_state(struct call *c, enum call_state state)
{
	if (c->state == CALL_RINGING && state != CALL_RINGING)
		stops_ringing(c);
	c->state = state;
	if (state != CALL_ENDED && state != CALL_ENDING)
		return;
	event_stop(&c->act);
	event_stop(&c->ring);
	call_repeat_end(c);
}

void call_sdp(const struct call *c, char out[64])
{
	snprintf(out, 64, "v=0\r\ns=%s %u.%u\r\n", c->ua->c.device, c->number, c->sdp);
}

/* The media that the far end offers or answers with: the name of its session. */
static struct span media(const struct sip_msg *m)
{
	struct span body = sip_msg_body(m);
	const char *at = memmem(body.p, body.n, "s=", 2);
	if (!at)
		return SPAN("none");
	struct span s = span_of(at + 2, (size_t)(body.p + body.n - at - 2));
	ptrdiff_t end = span_chr(s, '\r', 0);
	return end < 0 ? s : span_of(s.p, (size_t)end);
}

struct call *call_find(struct ua *u, const struct sip_msg *m)
{
	struct span local, remote;
	sip_msg_tag(m, m->is_request ? SIP_HDR_TO : SIP_HDR_FROM, &local);
	sip_msg_tag(m, m->is_request ? SIP_HDR_FROM : SIP_HDR_TO, &remote);
	list_for_each (it, &u->calls) {
		struct call *c = container_of(it, struct call, link);
		if (!span_eq(m->call_id, span_str(c->call_id)) ||
		    !span_eq(local, span_str(c->local_tag)))
			continue;
		for (unsigned i = 0; i < c->ndialogs; i++)
			if (span_eq(remote, span_str(c->dialog[i].remote_tag)))
				return c;
	}
	return NULL;
}

/* ---- dialogs ---- */

static void add_route(struct dialog *d, struct span value, bool in_front)
{
	char before[ROUTES_MAX];
	snprintf(before, sizeof(before), "%s", d->routes);
	const char *comma = before[0] ? ", " : "";
	if (in_front)
		snprintf(d->routes, sizeof(d->routes), "%.*s%s%.900s", SPAN_FMT(value), comma,
			 before);
	else
		snprintf(d->routes, sizeof(d->routes), "%.900s%s%.*s", before, comma,
			 SPAN_FMT(value));
}

void dialog_learn(struct dialog *d, const struct sip_msg *m, bool by_us)
{
	struct sip_list_it it = {0}, contacts = {0};
	struct sip_nameaddr na;
	struct span v;
	if (sip_list_next(m, SIP_HDR_CONTACT, &contacts, &v) && sip_nameaddr_parse(v, &na) == 0)
		snprintf(d->target, sizeof(d->target), "%.*s", SPAN_FMT(na.uri_text));
	if (d->confirmed)
		return; /* the route set stays (12.2.1.2, 13.2.2.4) */
	d->routes[0] = 0;
	while (sip_list_next(m, SIP_HDR_RECORD_ROUTE, &it, &v))
		add_route(d, v, by_us);
}

/* The proxy of another domain takes its own value off before it sends. */
static const char *routes_of(const struct call *c, const struct dialog *d)
{
	char own[ADDR_TEXT_MAX];
	const char *comma = strchr(d->routes, ',');
	addr_text(&c->ua->local, own);
	if (!c->ua->c.behind || !strstr(d->routes, own) ||
	    (comma && strstr(d->routes, own) > comma))
		return d->routes;
	return comma ? comma + 2 : "";
}

void call_request(struct call *c, const struct dialog *d, const char *method, uint32_t cseq,
		  const char *lines, const char *sdp, char branch[TOKEN_MAX],
		  struct text *ret_text, struct addr *ret_to)
{
	char contact[URI_MAX];
	const char *routes = routes_of(c, d);
	struct text *t = ret_text;
	ua_token(c->ua, "z9hG4bK", branch);
	ua_dialog_contact(c->ua, contact);
	text_add(t, "%s %s SIP/2.0\r\n", method, d->target);
	ua_via(c->ua, branch, t);
	if (routes[0])
		text_add(t, "Route: %s\r\n", routes);
	text_add(t,
		 "Max-Forwards: 70\r\nFrom: <%s>;tag=%s\r\nTo: <%s>;tag=%s\r\nCall-ID: %s\r\n"
		 "CSeq: %u %s\r\nContact: <%s>\r\n%s",
		 c->local, c->local_tag, c->remote, d->remote_tag, c->call_id, cseq, method,
		 contact, lines);
	if (sdp)
		text_add(t, "Content-Type: application/sdp\r\n");
	text_add(t, "Content-Length: %zu\r\n\r\n%s", sdp ? strlen(sdp) : 0, sdp ? sdp : "");
	*ret_to = ua_next_hop(c->ua, routes, d->target);
}

static void bye_answered(struct client *t, const struct sip_msg *m)
{
	struct call *c = t->arg;
	if (m && m->status < 200)
		return;
	ua_fact(c->ua, "call %u: BYE: %u", c->number, m ? m->status : 408);
	if (c->state == CALL_ENDING)
		call_set_state(c, CALL_ENDED);
}

void call_bye(struct call *c, struct dialog *d)
{
	struct text t = {0};
	struct addr to;
	char branch[TOKEN_MAX];
	call_request(c, d, "BYE", ++c->cseq, "", NULL, branch, &t, &to);
	client_new(c->ua, &t, branch, &to, bye_answered, c);
}

static void hang_up(struct call *c)
{
	for (unsigned i = 0; i < c->ndialogs; i++) {
		if (!c->dialog[i].confirmed)
			continue;
		call_set_state(c, CALL_ENDING);
		call_bye(c, &c->dialog[i]);
		return;
	}
}

void ua_hang_up(struct ua *u)
{
	list_for_each (it, &u->calls) {
		struct call *c = container_of(it, struct call, link);
		if (c->state == CALL_UP)
			hang_up(c);
	}
}

/* Not while its re-INVITE is open: what of the two arrives first would decide how it ends. */
static void on_hangup(struct event *e)
{
	struct call *c = container_of(e, struct call, act);
	c->hangs_up = c->invite != NULL;
	if (!c->hangs_up)
		hang_up(c);
}

void call_is_up(struct call *c)
{
	call_set_state(c, CALL_UP);
	call_after(c, &c->act, c->ua->c.policy.hangup_ms, on_hangup);
}

static void on_reinvite(struct event *e)
{
	call_reinvite(container_of(e, struct call, ring));
}

/* ---- ACK ---- */

/* 13.2.2.4: the same ACK to each 2xx of a dialog. */
static void acknowledge(struct call *c, struct dialog *d, uint32_t cseq)
{
	struct text t = {0};
	struct addr to;
	char branch[TOKEN_MAX];
	call_request(c, d, "ACK", cseq, "", NULL, branch, &t, &to);
	bytes_unref(d->ack);
	d->ack = bytes_dup(span_of(t.p, t.n));
	ua_send(c->ua, &to, bytes_span(d->ack));
}

static void acknowledge_again(struct call *c, const struct dialog *d)
{
	struct addr to = ua_next_hop(c->ua, routes_of(c, d), d->target);
	if (d->ack)
		ua_send(c->ua, &to, bytes_span(d->ack));
}

/* ---- the answers to an INVITE ---- */

static struct dialog *dialog_of(struct call *c, const struct sip_msg *m)
{
	struct span tag;
	if (sip_msg_tag(m, SIP_HDR_TO, &tag) < 0 || !tag.p)
		return NULL;
	for (unsigned i = 0; i < c->ndialogs; i++)
		if (span_eq(tag, span_str(c->dialog[i].remote_tag)))
			return &c->dialog[i];
	if (c->ndialogs == DIALOGS_MAX)
		return NULL;
	struct dialog *d = &c->dialog[c->ndialogs++];
	snprintf(d->remote_tag, sizeof(d->remote_tag), "%.*s", SPAN_FMT(tag));
	return d;
}

static void prack_answered(struct client *t, const struct sip_msg *m)
{
	struct call *c = t->arg;
	if (!m || m->status >= 200)
		ua_fact(c->ua, "call %u: PRACK: %u", c->number, m ? m->status : 408);
}

/* RFC 3262 4. */
static void prack(struct call *c, struct dialog *d, const struct sip_msg *m)
{
	struct text t = {0};
	struct addr to;
	char branch[TOKEN_MAX], line[80];
	struct span rseq = ua_header(m, "RSeq");
	uint64_t n;
	if (!sip_msg_has_token(m, SIP_HDR_REQUIRE, SPAN("100rel")) ||
	    span_u64(rseq, UINT32_MAX, &n) < 0 || (d->rseq && n <= d->rseq))
		return;
	d->rseq = (uint32_t)n;
	snprintf(line, sizeof(line), "RAck: %u %u INVITE\r\n", d->rseq, m->cseq);
	call_request(c, d, "PRACK", ++c->cseq, line, NULL, branch, &t, &to);
	client_new(c->ua, &t, branch, &to, prack_answered, c);
}

static void answered_yes(struct call *c, const struct sip_msg *m)
{
	struct dialog *d = dialog_of(c, m);
	if (!d)
		return;
	if (d->confirmed) {
		acknowledge_again(c, d);
		return;
	}
	dialog_learn(d, m, true);
	d->confirmed = true;
	acknowledge(c, d, m->cseq);
	c->invite = NULL;
	if (c->state == CALL_CALLING && !c->canceled) {
		call_is_up(c);
		ua_fact(c->ua, "call %u: 200, media %.*s", c->number, SPAN_FMT(media(m)));
		call_after(c, &c->ring, c->ua->c.policy.reinvite_ms, on_reinvite);
	} else {
		ua_fact(c->ua, "call %u: another 200, media %.*s", c->number,
			SPAN_FMT(media(m)));
		if (c->state == CALL_CALLING)
			call_set_state(c, CALL_ENDING);
		call_bye(c, d);
	}
}

static void invite(struct call *c, bool credentials);

static void follow(struct call *c, const struct sip_msg *m)
{
	struct sip_list_it it = {0};
	struct sip_nameaddr na;
	struct span v;
	if (!sip_list_next(m, SIP_HDR_CONTACT, &it, &v) || sip_nameaddr_parse(v, &na) < 0) {
		call_set_state(c, CALL_ENDED);
		return;
	}
	c->ndialogs = 0;
	snprintf(c->dialog[0].target, URI_MAX, "%.*s", SPAN_FMT(na.uri_text));
	invite(c, true);
}

static void answered_no(struct call *c, const struct sip_msg *m)
{
	unsigned status = m ? m->status : 408;
	c->invite = NULL;
	if (m && status == 407 && c->challenges++ < CHALLENGES_MAX &&
	    auth_take(&c->ua->proxy_auth, m, true)) {
		c->ndialogs = 0;
		invite(c, true);
		return;
	}
	ua_fact(c->ua, "call %u: %u", c->number, status);
	if (status >= 300 && status < 400 && !c->canceled)
		follow(c, m);
	else
		call_set_state(c, CALL_ENDED);
}

static void cancel(struct call *c)
{
	rings_over(c->call_id, c->invite->cseq);
	client_cancel(c->invite);
}

static void on_cancel(struct event *e)
{
	struct call *c = container_of(e, struct call, act);
	if (!c->invite)
		return;
	c->canceled = true;
	ua_fact(c->ua, "call %u: gave up", c->number);
	if (c->invite->state == TXN_PROCEEDING)
		cancel(c);
}

static void invite_answered(struct client *t, const struct sip_msg *m)
{
	struct call *c = t->arg;
	if (!m || m->status >= 200)
		rings_over(c->call_id, t->cseq);
	if (m && m->status < 200) {
		/* 9.1: a CANCEL waits for a provisional response. */
		if (c->canceled && c->invite == t && !t->canceled)
			cancel(c);
		struct dialog *d = m->status > 100 ? dialog_of(c, m) : NULL;
		if (!d)
			return;
		if (!c->heard)
			call_after(c, &c->act, c->ua->c.policy.cancel_ms, on_cancel);
		c->heard = true;
		dialog_learn(d, m, true);
		prack(c, d, m);
	} else if (m && m->status < 300) {
		answered_yes(c, m);
	} else {
		answered_no(c, m);
	}
}

/* The Request-URI is the first dialog's target, while there is no dialog. */
static void invite(struct call *c, bool credentials)
{
	struct ua *u = c->ua;
	struct text t = {0};
	char branch[TOKEN_MAX], contact[URI_MAX], sdp[64], uri[URI_MAX];
	struct addr to = u->c.server;
	snprintf(uri, sizeof(uri), "%s", c->dialog[0].target);
	call_sdp(c, sdp);
	ua_token(u, "z9hG4bK", branch);
	ua_dialog_contact(u, contact);
	text_add(&t, "INVITE %s SIP/2.0\r\n", uri);
	ua_via(u, branch, &t);
	text_add(&t,
		 "Max-Forwards: 70\r\nFrom: <%s>;tag=%s\r\nTo: <%s>\r\nCall-ID: %s\r\n"
		 "CSeq: %u INVITE\r\nContact: <%s>\r\n",
		 c->local, c->local_tag, c->remote, c->call_id, ++c->cseq, contact);
	if (u->c.behind) {
		char host[ADDR_TEXT_MAX];
		addr_text(&u->local, host);
		text_add(&t, "Record-Route: <sip:%s;lr>\r\n", host);
	}
	text_add(&t, "Supported: 100rel%s\r\n", u->c.outbound ? ", outbound" : "");
	if (credentials)
		auth_add(&u->proxy_auth, &u->c, &t, true, "INVITE", uri, &u->rng);
	text_add(&t, "Content-Type: application/sdp\r\nContent-Length: %zu\r\n\r\n%s",
		 strlen(sdp), sdp);
	c->invite = client_new(u, &t, branch, &to, invite_answered, c);
}

void ua_call(struct ua *u, const char *uri)
{
	struct call *c = call_new(u, true);
	ua_token(u, "c", c->call_id);
	snprintf(c->local, sizeof(c->local), "sip:%s@%s", u->c.user, u->c.domain);
	snprintf(c->remote, sizeof(c->remote), "%s", uri);
	snprintf(c->dialog[0].target, URI_MAX, "%s", uri);
	invite(c, true);
	if (u->c.policy.cancel_ms)
		call_after(c, &c->act, CANCEL_BLIND_MS, on_cancel);
}

/* ---- re-INVITE ---- */

static void reinvite_answered(struct client *t, const struct sip_msg *m)
{
	struct call *c = t->arg;
	if (m && m->status < 200)
		return;
	struct dialog *d = m ? dialog_of(c, m) : NULL;
	if (m && m->status < 300 && d) {
		bool first = c->invite == t;
		if (first) {
			dialog_learn(d, m, true);
			acknowledge(c, d, m->cseq);
			ua_fact(c->ua, "call %u: re-INVITE: 200, media %.*s", c->number,
				SPAN_FMT(media(m)));
		} else {
			acknowledge_again(c, d);
		}
	} else {
		ua_fact(c->ua, "call %u: re-INVITE: %u", c->number, m ? m->status : 408);
	}
	c->invite = NULL;
	if (c->hangs_up)
		call_after(c, &c->act, 1, on_hangup);
}

void call_reinvite(struct call *c)
{
	struct text t = {0};
	struct addr to;
	char branch[TOKEN_MAX], sdp[64];
	for (unsigned i = 0; i < c->ndialogs; i++) {
		if (!c->dialog[i].confirmed)
			continue;
		c->sdp++;
		call_sdp(c, sdp);
		call_request(c, &c->dialog[i], "INVITE", ++c->cseq, "", sdp, branch, &t, &to);
		c->invite = client_new(c->ua, &t, branch, &to, reinvite_answered, c);
		return;
	}
}
