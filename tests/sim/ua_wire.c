/*
 * A phone's way to its server: a UDP port, or one connection by RFC 5626 that it opens again
 * when it is lost, registering anew over it.  A ping that is not answered ends a flow (4.4.1).
 */
#include "tests/sim/ua_priv.h"

#include <stdio.h>

enum { PING_S = 25, PONG_S = 10, CONNECT_MS = 3000 };

static void connect_flow(struct ua *u);

static void on_datagram(struct udp_sock *s, const struct addr *from, struct span bytes)
{
	ua_receive(container_of(s, struct ua, udp), from, bytes);
}

/* 4.5, with shorter times: a phone of today is back within seconds. */
static void lose_flow(struct ua *u)
{
	struct flow *f = &u->flow;
	unsigned ms = f->tries == 0 ? 50 : f->tries < 5 ? 250u << f->tries : 8000;
	f->up = false;
	f->losses++;
	f->end = NULL;
	u->reg.done = false; /* it is bound to the flow */
	f->tries++;
	event_stop(&f->ping);
	event_stop(&f->pong);
	event_after(&f->again, USEC_MS(ms) + rng_below(&u->rng, USEC_MS(ms / 4 + 1)));
}

static void on_opened(void *arg)
{
	struct ua *u = arg;
	struct flow *f = &u->flow;
	bool again = f->tries > 0;
	f->up = true;
	f->tries = 0;
	event_stop(&f->again);
	event_after(&f->ping, USEC_S(PING_S));
	if (u->reg.wanted)
		register_now(u);
	else if (again) {
		servers_resend(u);
		clients_resend(u);
	}
}

static void on_message(void *arg, struct span bytes)
{
	struct ua *u = arg;
	ua_receive(u, &u->c.server, bytes);
}

static void on_closed(void *arg, int error)
{
	struct ua *u = arg;
	trace_note(u->host, error ? "connection lost" : "connection closed");
	lose_flow(u);
}

static const struct stream_ops flow_ops = {on_opened, on_message, on_closed};

static void connect_flow(struct ua *u)
{
	struct addr local = u->host->addr;
	u->flow.end = stream_open(u->host, &local, &u->c.server, &flow_ops, u);
	event_after(&u->flow.again, USEC_MS(CONNECT_MS));
}

static void on_again(struct event *e)
{
	struct ua *u = container_of(e, struct ua, flow.again);
	if (u->flow.end) { /* it does not open */
		stream_close(u->flow.end);
		u->flow.tries++;
	}
	connect_flow(u);
}

static void on_ping(struct event *e)
{
	struct ua *u = container_of(e, struct ua, flow.ping);
	stream_write(u->flow.end, SPAN("\r\n\r\n"));
	event_after(&u->flow.ping, USEC_S(PING_S));
	if (!event_armed(&u->flow.pong))
		event_after(&u->flow.pong, USEC_S(PONG_S));
}

static void on_no_pong(struct event *e)
{
	struct ua *u = container_of(e, struct ua, flow.pong);
	stream_close(u->flow.end);
	lose_flow(u);
}

static void on_move(struct event *e)
{
	struct ua *u = container_of(e, struct ua, flow.move);
	if (!u->flow.up)
		return;
	trace_note(u->host, "moves");
	stream_close(u->flow.end);
	lose_flow(u);
}

void ua_moves(struct ua *u, uint32_t ms)
{
	event_stop(&u->flow.move);
	event_after(&u->flow.move, USEC_MS(ms));
}

void ua_wire_init(struct ua *u)
{
	u->local = u->host->addr;
	addr_set_port(&u->local, u->c.port);
	event_init(&u->flow.again, on_again);
	event_init(&u->flow.ping, on_ping);
	event_init(&u->flow.pong, on_no_pong);
	event_init(&u->flow.move, on_move);
	if (u->c.transport == SIP_TRANSPORT_UDP) {
		u->udp.datagram = on_datagram;
		udp_sock_open(&u->udp, u->host, &u->local);
	}
}

bool ua_send(struct ua *u, const struct addr *to, struct span bytes)
{
	if (u->c.transport == SIP_TRANSPORT_UDP) {
		udp_sock_send(&u->udp, to, bytes);
		return true;
	}
	if (!u->flow.up && !u->flow.end && !event_armed(&u->flow.again))
		connect_flow(u);
	if (!u->flow.up)
		return false;
	stream_write(u->flow.end, bytes);
	return true;
}

static const char *param(const struct ua *u)
{
	return u->c.transport == SIP_TRANSPORT_TCP ? ";transport=tcp" : "";
}

void ua_contact(const struct ua *u, char out[URI_MAX])
{
	char host[ADDR_TEXT_MAX];
	addr_text(&u->local, host);
	if (u->c.behind)
		snprintf(out, URI_MAX, "sip:%s@%s", u->c.user, u->c.behind);
	else
		snprintf(out, URI_MAX, "sip:%s@%s%s%s", u->c.user, host, param(u),
			 u->c.outbound ? ";ob" : "");
}

void ua_dialog_contact(const struct ua *u, char out[URI_MAX])
{
	if (u->reg.use_gruu && u->reg.gruu[0])
		snprintf(out, URI_MAX, "%s", u->reg.gruu);
	else
		ua_contact(u, out);
}

void ua_via(const struct ua *u, const char *branch, struct text *t)
{
	char host[ADDR_TEXT_MAX];
	addr_text(&u->local, host);
	text_add(t, "Via: SIP/2.0/%s %s;branch=%s;rport\r\n", sip_transport_via(u->c.transport),
		 host, branch);
	if (u->c.behind)
		text_add(t, "Via: SIP/2.0/UDP %s;branch=%s.p\r\n", u->c.behind, branch);
}

struct addr ua_next_hop(struct ua *u, const char *routes, const char *target)
{
	struct sip_nameaddr na;
	struct sip_uri uri;
	struct addr a;
	struct span first = span_str(routes);
	if (first.n) {
		ptrdiff_t comma = span_chr(first, ',', 0);
		first.n = comma < 0 ? first.n : (size_t)comma;
		if (sip_nameaddr_parse(first, &na) < 0)
			return u->c.server;
		uri = na.uri;
	} else if (sip_uri_parse(span_str(target), &uri) < 0) {
		return u->c.server;
	}
	if (addr_parse(&a, uri.host, uri.port ? uri.port : 5060) < 0)
		return u->c.server;
	return a;
}
