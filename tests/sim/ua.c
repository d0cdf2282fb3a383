/*
 * A phone: what it is, what comes in, what it remembers of it.
 */
#include "tests/sim/ua_priv.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { UAS_MAX = 32 };

static struct ua *all[UAS_MAX];
static unsigned count;
static struct arena arena;

void ua_token(struct ua *u, const char *prefix, char out[TOKEN_MAX])
{
	snprintf(out, TOKEN_MAX, "%s%08x-%s-%u", prefix, (unsigned)rng_next(&u->rng),
		 u->c.device, ++u->next_token);
}

void ua_fact(struct ua *u, const char *fmt, ...)
{
	char line[200];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	trace_note(u->host, "%s", line);
	if (u->nfacts < FACTS_MAX)
		u->fact[u->nfacts++] = strdup(line);
}

unsigned ua_fact_count(const struct ua *u)
{
	return u->nfacts;
}

const char *ua_fact_text(const struct ua *u, unsigned i)
{
	return u->fact[i];
}

struct ua *ua_new(struct host *h, const struct ua_conf *c, uint64_t seed)
{
	struct ua *u = sim_alloc(sizeof(*u));
	if (count == UAS_MAX)
		abort();
	if (!arena.base) {
		if (arena_init(&arena, 256 * 1024) < 0)
			abort();
		sip_values_use_arena(&arena);
	}
	u->c = *c;
	u->host = h;
	u->rng = rng_of(seed, 10 + count);
	list_init(&u->clients);
	list_init(&u->servers);
	list_init(&u->calls);
	ua_token(u, "r", u->reg.call_id);
	ua_token(u, "", u->reg.tag);
	ua_wire_init(u);
	all[count++] = u;
	return u;
}

unsigned ua_count(void)
{
	return count;
}

struct ua *ua_of(unsigned index)
{
	return index < count ? all[index] : NULL;
}

struct host *ua_host(const struct ua *u)
{
	return u->host;
}

const char *ua_device(const struct ua *u)
{
	return u->c.device;
}

const char *ua_user(const struct ua *u)
{
	return u->c.user;
}

struct ua_policy *ua_policy(struct ua *u)
{
	return &u->c.policy;
}

bool ua_registers(const struct ua *u)
{
	return u->c.registers;
}

struct span ua_header(const struct sip_msg *m, const char *name)
{
	for (unsigned i = 0; i < m->nhdr; i++) {
		const struct sip_hdr *h = &m->hdr[i];
		if (span_ieq(span_of(m->base + h->off, h->name_len), span_str(name)))
			return sip_hdr_value(m, h);
	}
	return span_of(NULL, 0);
}

/* ---- requests ---- */

static void other_request(struct ua *u, const struct sip_msg *m, const struct addr *from)
{
	struct server *s = server_new(u, m, from);
	struct call *c = call_find(u, m);
	struct span body = sip_msg_body(m);
	char tag[TOKEN_MAX];
	ua_token(u, "t", tag);
	switch (m->method) {
	case SIP_MESSAGE:
		ua_fact(u, "message %.*s", SPAN_FMT(body));
		snprintf(u->messages + strlen(u->messages),
			 sizeof(u->messages) - strlen(u->messages), "\n%.*s\n", SPAN_FMT(body));
		server_answer(s, 200, tag, "", NULL);
		return;
	case SIP_OPTIONS:
		server_answer(s, 200, tag, "", NULL);
		return;
	case SIP_BYE:
		if (c && c->state != CALL_ENDED) {
			ua_fact(u, "call %u: hung up by the far end", c->number);
			call_set_state(c, CALL_ENDED);
			server_answer(s, 200, tag, "", NULL);
			return;
		}
		break;
	case SIP_PRACK:
		if (c && c->state != CALL_ENDED) {
			called_prack(c, s, m);
			return;
		}
		break;
	default:
		server_answer(s, 501, tag, "", NULL);
		return;
	}
	server_answer(s, 481, tag, "", NULL);
}

static void request(struct ua *u, const struct sip_msg *m, const struct addr *from)
{
	if (u->c.policy.silent && (m->method == SIP_INVITE || m->method == SIP_CANCEL))
		return;
	if (server_absorb(u, m))
		return;
	if (m->method == SIP_ACK) {
		called_ack(u, m);
	} else if (m->method == SIP_CANCEL) {
		struct server *invite = server_find(u, m, SIP_INVITE);
		struct server *s = server_new(u, m, from);
		char tag[TOKEN_MAX];
		ua_token(u, "t", tag);
		server_answer(s, invite ? 200 : 481, tag, "", NULL);
		if (invite)
			called_cancel(u, invite);
		else if (u->c.policy.minds_cancels)
			ua_fact(u, "CANCEL of no call");
	} else if (server_is_merged(u, m)) {
		char tag[TOKEN_MAX];
		ua_token(u, "t", tag);
		ua_fact(u, "merged %.*s", SPAN_FMT(m->method_text));
		server_answer(server_new(u, m, from), 482, tag, "", NULL);
	} else if (m->method == SIP_INVITE) {
		called_invite(u, m, from);
	} else {
		other_request(u, m, from);
	}
}

void ua_receive(struct ua *u, const struct addr *from, struct span bytes)
{
	struct sip_hdr hdr[SIP_HDR_MAX];
	struct sip_msg m = {.hdr = hdr};
	struct sip_fault fault = {0};
	if (bytes.n <= 4) {
		event_stop(&u->flow.pong);
		return;
	}
	arena_reset(&arena);
	if (sip_msg_index(&m, bytes, u->c.transport != SIP_TRANSPORT_UDP, &sip_limits_default,
			  &fault) < 0) {
		ua_fact(u, "got what is no message: %s", fault.reason);
		return;
	}
	if (m.is_request)
		request(u, &m, from);
	else
		client_receive(u, &m);
	arena_reset(&arena);
}

/* ---- what others ask of it ---- */

bool ua_has_message(const struct ua *u, const char *text)
{
	char line[128];
	snprintf(line, sizeof(line), "\n%s\n", text);
	return strstr(u->messages, line) != NULL;
}

unsigned ua_open_requests(const struct ua *u)
{
	unsigned n = 0;
	list_for_each (it, &u->clients)
		n += client_is_open(container_of(it, struct client, link));
	return n;
}

static unsigned calls_in(const struct ua *u, unsigned states)
{
	unsigned n = 0;
	list_for_each (it, &u->calls)
		n += states >> container_of(it, struct call, link)->state & 1;
	return n;
}

unsigned ua_ringing(const struct ua *u)
{
	return calls_in(u, 1u << CALL_RINGING);
}

unsigned ua_calls(const struct ua *u)
{
	return calls_in(u, ~(1u << CALL_ENDED));
}

bool ua_is_idle(const struct ua *u)
{
	return ua_calls(u) == 0 && ua_open_requests(u) == 0 &&
	       (!u->reg.wanted || ua_is_registered(u));
}
