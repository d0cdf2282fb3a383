/*
 * Client transactions: RFC 3261 figures 5 and 6, with RFC 6026 for the 2xx.  Over a stream that
 * is lost nothing is repeated by a timer; when the flow is there again, what was not answered
 * at all is sent once more as it is.
 */
#include "tests/sim/ua_priv.h"

#include <stdlib.h>

static bool reliable(const struct client *c)
{
	return c->ua->c.transport != SIP_TRANSPORT_UDP;
}

static void transmit(struct client *c)
{
	ua_send(c->ua, &c->to, bytes_span(c->request));
}

static void end(struct client *c)
{
	event_stop(&c->again);
	event_stop(&c->limit);
	list_remove(&c->link);
	bytes_unref(c->request);
	free(c);
}

/* Timers A and E. */
static void on_again(struct event *e)
{
	struct client *c = container_of(e, struct client, again);
	transmit(c);
	c->interval *= 2;
	if (c->method != SIP_INVITE &&
	    (c->interval > USEC_MS(T2_MS) || c->state == TXN_PROCEEDING))
		c->interval = USEC_MS(T2_MS);
	event_after(&c->again, c->interval);
}

/* Timers B, F, D, K, M. */
static void on_limit(struct event *e)
{
	struct client *c = container_of(e, struct client, limit);
	if (client_is_open(c)) {
		c->state = TXN_COMPLETED;
		c->response(c, NULL);
	}
	end(c);
}

bool client_is_open(const struct client *c)
{
	return c->state == TXN_TRYING || c->state == TXN_PROCEEDING;
}

struct client *client_new(struct ua *u, const struct text *request, const char *branch,
			  const struct addr *to,
			  void (*response)(struct client *c, const struct sip_msg *m),
			  void *arg)
{
	struct sip_hdr hdr[SIP_HDR_MAX];
	struct sip_msg m = {.hdr = hdr};
	struct sip_fault fault;
	struct client *c = sim_alloc(sizeof(*c));
	if (sip_msg_index(&m, span_of(request->p, request->n), true, &sip_limits_default,
			  &fault) < 0)
		abort();
	c->ua = u;
	c->method = m.method;
	c->cseq = m.cseq;
	memcpy(c->branch, branch, sizeof(c->branch));
	c->request = bytes_dup(span_of(request->p, request->n));
	c->to = *to;
	c->response = response;
	c->arg = arg;
	c->interval = USEC_MS(T1_MS);
	event_init(&c->again, on_again);
	event_init(&c->limit, on_limit);
	list_append(&u->clients, &c->link);
	if (!reliable(c))
		event_after(&c->again, c->interval);
	event_after(&c->limit, USEC_MS(TIMEOUT_MS));
	transmit(c);
	return c;
}

static void cancel_answered(struct client *c, const struct sip_msg *m)
{
	(void)c;
	(void)m; /* what counts is the answer to the INVITE */
}

void client_cancel(struct client *invite)
{
	struct sip_hdr hdr[SIP_HDR_MAX];
	struct sip_msg m = {.hdr = hdr};
	struct sip_fault fault;
	struct text t = {0};
	sip_msg_index(&m, bytes_span(invite->request), true, &sip_limits_default, &fault);
	struct bytes *b = sip_build_cancel(&m, SPAN(""));
	text_add(&t, "%.*s", (int)b->n, b->p);
	bytes_unref(b);
	client_new(invite->ua, &t, invite->branch, &invite->to, cancel_answered, NULL);
	invite->canceled = true; /* no final response 64*T1 after it: it is over */
	event_after(&invite->limit, USEC_MS(TIMEOUT_MS));
}

static struct client *find(struct ua *u, const struct sip_msg *m)
{
	struct sip_via via;
	if (sip_msg_top_via(m, &via) < 0)
		return NULL;
	list_for_each (it, &u->clients) {
		struct client *c = container_of(it, struct client, link);
		if (c->method == m->method && span_eq(via.branch, span_str(c->branch)))
			return c;
	}
	return NULL;
}

static void acknowledge(struct client *c, const struct sip_msg *m)
{
	struct sip_hdr hdr[SIP_HDR_MAX];
	struct sip_msg invite = {.hdr = hdr};
	struct sip_fault fault;
	sip_msg_index(&invite, bytes_span(c->request), true, &sip_limits_default, &fault);
	struct bytes *ack = sip_build_ack(&invite, m);
	ua_send(c->ua, &c->to, bytes_span(ack));
	bytes_unref(ack);
}

static void provisional(struct client *c, const struct sip_msg *m)
{
	if (!client_is_open(c))
		return;
	c->state = TXN_PROCEEDING;
	if (c->method == SIP_INVITE) {
		event_stop(&c->again);
		if (!c->canceled)
			event_stop(&c->limit);
	}
	c->response(c, m);
}

static void final(struct client *c, const struct sip_msg *m)
{
	bool invite = c->method == SIP_INVITE, yes = m->status < 300;
	bool first = client_is_open(c);
	if (invite && !yes && (first || c->state == TXN_COMPLETED))
		acknowledge(c, m);
	if (first) {
		event_stop(&c->again);
		c->state = invite && yes ? TXN_ACCEPTED : TXN_COMPLETED;
		event_after(&c->limit, invite	     ? USEC_MS(TIMEOUT_MS)
				       : reliable(c) ? 0
						     : USEC_MS(T4_MS));
	}
	if (first || (yes && c->state == TXN_ACCEPTED))
		c->response(c, m);
}

bool client_receive(struct ua *u, const struct sip_msg *m)
{
	struct client *c = find(u, m);
	if (!c)
		return false;
	if (m->status < 200)
		provisional(c, m);
	else
		final(c, m);
	return true;
}

void clients_resend(struct ua *u)
{
	list_for_each_safe (it, &u->clients) {
		struct client *c = container_of(it, struct client, link);
		if (c->state == TXN_TRYING && c->method != SIP_REGISTER)
			transmit(c);
	}
}
