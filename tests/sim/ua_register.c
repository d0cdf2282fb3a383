/*
 * Registration: RFC 3261 10.2, with RFC 5626 where the phone does outbound, refreshed after
 * half of its time.
 */
#include "tests/sim/ua_priv.h"

#define INSTANCE "urn:uuid:00000000-0000-4000-8000-%012x"

#include <stdio.h>

enum { AGAIN_MS = 2000 };

static void answered(struct client *c, const struct sip_msg *m);

static void send_register(struct ua *u, uint32_t expires_s)
{
	struct registration *r = &u->reg;
	struct text t = {0};
	char branch[TOKEN_MAX], contact[URI_MAX], uri[URI_MAX];
	r->open = true;
	r->expires_s = expires_s;
	ua_token(u, "z9hG4bK", branch);
	ua_contact(u, contact);
	snprintf(uri, sizeof(uri), "sip:%s", u->c.domain);
	text_add(&t, "REGISTER %s SIP/2.0\r\n", uri);
	ua_via(u, branch, &t);
	text_add(&t,
		 "Max-Forwards: 70\r\nFrom: <sip:%s@%s>;tag=%s\r\nTo: <sip:%s@%s>\r\n"
		 "Call-ID: %s\r\nCSeq: %u REGISTER\r\nContact: <%s>",
		 u->c.user, u->c.domain, r->tag, u->c.user, u->c.domain, r->call_id, ++r->cseq,
		 contact);
	if (u->c.outbound)
		text_add(&t, ";+sip.instance=\"<" INSTANCE ">\";reg-id=1", u->host->index);
	if (u->c.q)
		text_add(&t, ";q=%s", u->c.q);
	text_add(&t, "\r\nExpires: %u\r\nSupported: path, gruu%s\r\n", expires_s,
		 u->c.outbound ? ", outbound" : "");
	auth_add(&u->auth, &u->c, &t, false, "REGISTER", uri, &u->rng);
	text_add(&t, "Content-Length: 0\r\n\r\n");
	client_new(u, &t, branch, &u->c.server, answered, NULL);
}

static void on_refresh(struct event *e)
{
	struct ua *u = container_of(e, struct ua, reg.refresh);
	if (!u->reg.open)
		send_register(u, u->c.expires_s);
}

static void again_later(struct ua *u, usec delay)
{
	event_init(&u->reg.refresh, on_refresh);
	event_after(&u->reg.refresh, delay);
}

/* The public GRUU of this device (RFC 5627 5.1). */
static void take_gruu(struct ua *u, const struct sip_msg *m)
{
	char mine[64];
	struct sip_list_it it = {0};
	struct sip_nameaddr na;
	struct span v;
	const struct sip_param *p;
	snprintf(mine, sizeof(mine), INSTANCE, u->host->index);
	while (sip_list_next(m, SIP_HDR_CONTACT, &it, &v))
		if (memmem(v.p, v.n, mine, strlen(mine)) && sip_nameaddr_parse(v, &na) == 0 &&
		    (p = sip_params_find(&na.params, SPAN("pub-gruu"))) && p->value.n > 2)
			snprintf(u->reg.gruu, sizeof(u->reg.gruu), "%.*s", (int)p->value.n - 2,
				 p->value.p + 1);
}

/* What the registrar holds of us now is what we asked for. */
static void accepted(struct ua *u)
{
	struct registration *r = &u->reg;
	r->done = r->expires_s > 0;
	r->until = sim_now() + USEC_S(r->expires_s);
	r->yeses++;
	ua_fact(u, r->expires_s ? "registered" : "unregistered");
	if (r->expires_s)
		again_later(u, USEC_S(r->expires_s) / 2);
	servers_resend(u);
	clients_resend(u);
}

static void answered(struct client *c, const struct sip_msg *m)
{
	struct ua *u = c->ua;
	struct registration *r = &u->reg;
	if ((m && m->status < 200) || c->cseq != r->cseq)
		return;
	r->open = false;
	if (m && m->status == 200) {
		take_gruu(u, m);
		accepted(u);
	} else if (m && m->status == 401 && auth_take(&u->auth, m, false)) {
		send_register(u, r->expires_s);
	} else {
		ua_fact(u, "registration failed: %u", m ? m->status : 408);
		again_later(u, USEC_MS(AGAIN_MS));
	}
}

void register_now(struct ua *u)
{
	u->reg.wanted = true;
	event_stop(&u->reg.refresh);
	send_register(u, u->c.expires_s);
}

void ua_use_gruu(struct ua *u)
{
	u->reg.use_gruu = true;
}

void ua_register(struct ua *u)
{
	u->reg.wanted = true;
	if (u->c.transport == SIP_TRANSPORT_UDP || u->flow.up)
		register_now(u);
	else
		ua_send(u, &u->c.server, SPAN("\r\n\r\n")); /* opens the flow */
}

void ua_unregister(struct ua *u)
{
	u->reg.wanted = false;
	event_stop(&u->reg.refresh);
	send_register(u, 0);
}

void ua_refresh(struct ua *u)
{
	register_now(u);
}

void ua_leave(struct ua *u)
{
	trace_note(u->host, "switched off");
	u->reg.wanted = false;
	event_stop(&u->reg.refresh);
	u->host->powered = false;
}

/* Nothing is known of one whose last request was refused, or lost. */
bool ua_is_gone(const struct ua *u)
{
	const struct registration *r = &u->reg;
	return !r->open && !r->wanted && r->yeses && (!r->expires_s || sim_now() >= r->until);
}

bool ua_is_registered(const struct ua *u)
{
	return u->reg.done && sim_now() < u->reg.until;
}
