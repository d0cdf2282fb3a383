/*
 * Server transactions: RFC 3261 figures 7 and 8, with RFC 6026.  What cannot be sent because
 * the flow is lost leaves when it is there again.
 */
#include "tests/sim/ua_priv.h"

#include <stdio.h>
#include <stdlib.h>

static bool reliable(const struct server *s)
{
	return s->ua->c.transport != SIP_TRANSPORT_UDP;
}

static void end(struct server *s)
{
	event_stop(&s->again);
	event_stop(&s->limit);
	list_remove(&s->link);
	if (s->call && s->call->invited == s)
		s->call->invited = NULL;
	bytes_unref(s->answer);
	sip_kept_unref(s->request);
	free(s);
}

static void transmit(struct server *s)
{
	if (!s->answer)
		return;
	s->unsent = !ua_send(s->ua, &s->to, bytes_span(s->answer));
	if (!s->unsent)
		s->losses = s->ua->flow.losses;
}

/* Timer G. */
static void on_again(struct event *e)
{
	struct server *s = container_of(e, struct server, again);
	transmit(s);
	s->interval *= 2;
	if (s->interval > USEC_MS(T2_MS))
		s->interval = USEC_MS(T2_MS);
	event_after(&s->again, s->interval);
}

/* 17.2.1, timer H.  By a stream neither the answer nor its ACK is sent twice: an ACK that was
 * on the way when the connection was lost is nobody's to repeat. */
static bool misses_ack(const struct server *s)
{
	return s->method == SIP_INVITE && s->state == TXN_COMPLETED &&
	       (!reliable(s) || s->losses == s->ua->flow.losses);
}

/* Timers H, I, J, L. */
static void on_limit(struct event *e)
{
	struct server *s = container_of(e, struct server, limit);
	if (misses_ack(s))
		ua_fact(s->ua, "no ACK to %u", s->status);
	end(s);
}

static bool key_of(const struct sip_msg *m, struct sip_via *via, char sent_by[64])
{
	if (sip_msg_top_via(m, via) < 0)
		return false;
	snprintf(sent_by, 64, "%.*s:%u", SPAN_FMT(via->host), via->port);
	return true;
}

struct server *server_find(struct ua *u, const struct sip_msg *m, enum sip_method method)
{
	struct sip_via via;
	char sent_by[64];
	if (!key_of(m, &via, sent_by))
		return NULL;
	list_for_each (it, &u->servers) {
		struct server *s = container_of(it, struct server, link);
		if (s->method == method && span_eq(via.branch, span_str(s->branch)) &&
		    strcmp(s->sent_by, sent_by) == 0)
			return s;
	}
	return NULL;
}

bool server_is_merged(struct ua *u, const struct sip_msg *m)
{
	struct span to_tag, from_tag, other;
	if (sip_msg_tag(m, SIP_HDR_TO, &to_tag) < 0 || to_tag.p ||
	    sip_msg_tag(m, SIP_HDR_FROM, &from_tag) < 0)
		return false;
	list_for_each (it, &u->servers) {
		const struct sip_msg *r = &container_of(it, struct server, link)->request->msg;
		if (r->method == m->method && r->cseq == m->cseq &&
		    span_eq(r->call_id, m->call_id) &&
		    sip_msg_tag(r, SIP_HDR_FROM, &other) == 0 && span_eq(from_tag, other))
			return true;
	}
	return false;
}

/* 18.2.1 and 18.2.2: where the response goes. */
static struct addr answer_to(const struct sip_via *via, const struct addr *from)
{
	struct addr by, to = *from;
	uint16_t port = via->port ? via->port : 5060;
	if (via->has_rport)
		return to;
	if (addr_parse(&by, via->host, port) == 0 && addr_host_equal(&by, from))
		return by;
	addr_set_port(&to, port);
	return to;
}

struct server *server_new(struct ua *u, const struct sip_msg *m, const struct addr *from)
{
	struct server *s = sim_alloc(sizeof(*s));
	struct sip_via via;
	if (!key_of(m, &via, s->sent_by))
		abort();
	s->ua = u;
	s->method = m->method;
	snprintf(s->branch, sizeof(s->branch), "%.*s", SPAN_FMT(via.branch));
	s->request = sip_kept_new(m);
	s->to = answer_to(&via, from);
	event_init(&s->again, on_again);
	event_init(&s->limit, on_limit);
	list_append(&u->servers, &s->link);
	return s;
}

static bool absorb_ack(struct ua *u, const struct sip_msg *m)
{
	struct server *s = server_find(u, m, SIP_INVITE);
	if (!s || s->state == TXN_ACCEPTED)
		return false;
	if (s->state == TXN_COMPLETED) {
		s->state = TXN_CONFIRMED;
		event_stop(&s->again);
		event_after(&s->limit, reliable(s) ? 0 : USEC_MS(T4_MS));
	}
	return true;
}

bool server_absorb(struct ua *u, const struct sip_msg *m)
{
	if (m->method == SIP_ACK)
		return absorb_ack(u, m);
	struct server *s = server_find(u, m, m->method);
	if (!s)
		return false;
	if (s->state == TXN_PROCEEDING || s->state == TXN_COMPLETED)
		transmit(s);
	return true;
}

/* A proxy of another domain puts itself in front of the route. */
static struct bytes *with_route(struct ua *u, struct bytes *b)
{
	char line[128], host[ADDR_TEXT_MAX];
	const char *at = memmem(b->p, b->n, "\r\nRecord-Route:", 15);
	if (!u->c.behind)
		return b;
	if (!at)
		at = memmem(b->p, b->n, "\r\nContact:", 10);
	if (!at)
		return b;
	at += 2;
	addr_text(&u->local, host);
	int n = snprintf(line, sizeof(line), "Record-Route: <sip:%s;lr>\r\n", host);
	struct bytes *out = bytes_new(b->n + (size_t)n);
	size_t before = (size_t)(at - b->p);
	memcpy(out->p, b->p, before);
	memcpy(out->p + before, line, (size_t)n);
	memcpy(out->p + before + n, at, b->n - before);
	bytes_unref(b);
	return out;
}

void server_answer(struct server *s, unsigned status, const char *to_tag, const char *lines,
		   const char *sdp)
{
	struct sip_response r = {.status = status,
				 .to_tag = span_str(to_tag),
				 .lines = span_str(lines),
				 .content_type = sdp ? SPAN("application/sdp") : span_str(NULL),
				 .body = span_str(sdp)};
	bytes_unref(s->answer);
	s->answer = with_route(s->ua, sip_build_response(&s->request->msg, &r));
	s->status = status;
	if (status < 200) {
		s->state = TXN_PROCEEDING;
	} else if (s->method == SIP_INVITE && status < 300) {
		s->state = TXN_ACCEPTED;
		event_after(&s->limit, USEC_MS(TIMEOUT_MS));
	} else {
		s->state = TXN_COMPLETED;
		s->interval = USEC_MS(T1_MS);
		if (s->method == SIP_INVITE && !reliable(s))
			event_after(&s->again, s->interval);
		/* Longer than figure 8 has it for streams: the request may come once more by
		 * the next connection. */
		event_after(&s->limit, USEC_MS(TIMEOUT_MS));
	}
	transmit(s);
}

void servers_resend(struct ua *u)
{
	list_for_each_safe (it, &u->servers) {
		struct server *s = container_of(it, struct server, link);
		if (s->unsent)
			transmit(s);
	}
}
