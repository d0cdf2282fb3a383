/*
 * MESSAGE (RFC 3428), sent outside of dialogs.
 */
#include "tests/sim/ua_priv.h"

#include <stdlib.h>

struct message {
	char call_id[TOKEN_MAX], tag[TOKEN_MAX];
	uint32_t cseq;
	char *uri, *body;
};

static void answered(struct client *t, const struct sip_msg *m);

static void send_message(struct ua *u, struct message *g)
{
	struct text t = {0};
	char branch[TOKEN_MAX];
	g->cseq++;
	ua_token(u, "z9hG4bK", branch);
	text_add(&t, "MESSAGE %s SIP/2.0\r\n", g->uri);
	ua_via(u, branch, &t);
	text_add(&t,
		 "Max-Forwards: 70\r\nFrom: <sip:%s@%s>;tag=%s\r\nTo: <%s>\r\nCall-ID: %s\r\n"
		 "CSeq: %u MESSAGE\r\n",
		 u->c.user, u->c.domain, g->tag, g->uri, g->call_id, g->cseq);
	auth_add(&u->proxy_auth, &u->c, &t, true, "MESSAGE", g->uri, &u->rng);
	text_add(&t, "Content-Type: text/plain\r\nContent-Length: %zu\r\n\r\n%s",
		 strlen(g->body), g->body);
	client_new(u, &t, branch, &u->c.server, answered, g);
}

static void answered(struct client *t, const struct sip_msg *m)
{
	struct message *g = t->arg;
	if (m && m->status < 200)
		return;
	if (m && m->status == 407 && g->cseq < CHALLENGES_MAX &&
	    auth_take(&t->ua->proxy_auth, m, true)) {
		send_message(t->ua, g);
		return;
	}
	ua_fact(t->ua, "message sent: %u", m ? m->status : 408);
	free(g->uri);
	free(g->body);
	free(g);
}

void ua_message(struct ua *u, const char *uri, const char *body)
{
	struct message *g = sim_alloc(sizeof(*g));
	g->uri = strdup(uri);
	g->body = strdup(body);
	ua_token(u, "m", g->call_id);
	ua_token(u, "", g->tag);
	send_message(u, g);
}
