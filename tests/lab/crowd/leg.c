/*
 * The called phone: it rings, answers or refuses when its time has come, repeats its final
 * answer until the ACK (RFC 3261 13.3.1.4, 17.2.1), and notes what should not have happened to
 * it.
 */
#include "tests/lab/crowd/crowd.h"

#include <stdio.h>

enum { REFUSE_MS = 100, VARY_MS = 200 };

void leg_done(struct leg *g)
{
	drop(&g->head);
	drop(&g->last);
	drop(&g->routes);
	g->state = LEG_NONE;
}

static void respond(struct crowd *c, struct leg *g, const char *status, bool body)
{
	char buf[MESSAGE_MAX];
	struct out o = {.start = buf, .p = buf, .end = buf + sizeof(buf)};

	put_str(&o, "SIP/2.0 ");
	put_str(&o, status);
	put_str(&o, "\r\n");
	put(&o, span_of(g->head.p, g->head.n));
	write_contact(&o, c, g->phone, true);
	put_str(&o, "\r\n");
	if (body)
		write_body(&o, "application/sdp", sdp_text);
	else
		put_str(&o, "Content-Length: 0\r\n\r\n");
	if (o.over || keep(&g->last, buf, out_len(&o)) < 0)
		return;
	leg_again(c, g);
}

/* Its last response once more. */
void leg_again(struct crowd *c, struct leg *g)
{
	if (g->last.n && g->state != LEG_CONFIRMED && g->state != LEG_ENDED)
		net_send(c, g->phone, &g->from, g->last.p, g->last.n);
}

static void set_state(struct crowd *c, struct leg *g, enum leg_state state)
{
	g->state = state;
	g->since = c->now;
	g->due = 0;
	g->interval = T1_MS;
	g->next = c->now + T1_MS;
}

static void final(struct crowd *c, struct leg *g, const char *status)
{
	bool ok = status[0] == '2';

	set_state(c, g, ok ? LEG_ANSWERED : LEG_REFUSED);
	if (ok)
		g->answered = c->now;
	respond(c, g, status, ok);
}

static bool in_turn(const struct call *x, const struct leg *g)
{
	for (const struct leg *e = x->leg; x->kind == KIND_SER && e < g; e++)
		if (e->state != LEG_REFUSED && e->state != LEG_ENDED)
			return false;
	return true;
}

static void ring(struct crowd *c, struct call *x, struct leg *g, const struct message *m,
		 const struct sockaddr_in *from)
{
	char tag[64];
	struct span branch = param_of(m->via[0], "branch");
	unsigned dev = g->phone->dev;

	snprintf(tag, sizeof(tag), "d%u.%x", dev, x->gen);
	if (keep_head(&g->head, m, tag) < 0 || keep_routes(&g->routes, m, false) < 0)
		return;
	snprintf(g->branch, sizeof(g->branch), "%.*s", SPAN_FMT(branch));
	snprintf(g->peer, sizeof(g->peer), "%.*s", SPAN_FMT(contact_uri(m)));
	g->from = *from;
	g->rung = c->now;
	if (!in_turn(x, g))
		call_fail(c, x, FAULT_ORDER);
	set_state(c, g, LEG_RINGING);
	respond(c, g, "180 Ringing", false);
	if (x->cancel || x->burst)
		return;
	if (dev == x->winner)
		g->due = c->now + x->ring_ms;
	else if (x->kind == KIND_SER)
		g->due = c->now + REFUSE_MS + crowd_random(c, VARY_MS);
}

static void on_invite(struct crowd *c, struct call *x, struct leg *g, const struct message *m,
		      const struct sockaddr_in *from)
{
	bool again = span_eq(param_of(m->via[0], "branch"), span_str(g->branch));

	if (g->state == LEG_NONE) {
		ring(c, x, g, m, from);
		return;
	}
	if (again) {
		g->from = *from;
		leg_again(c, g);
		return;
	}
	/* 8.2.2.2: the same request by another way */
	call_fail(c, x, FAULT_RANG_TWICE);
	reply(c, g->phone, m, "482 Loop Detected", from);
}

static void on_cancel(struct crowd *c, struct call *x, struct leg *g, const struct message *m,
		      const struct sockaddr_in *from)
{
	const struct leg *w = &x->leg[x->winner];

	if (g->state == LEG_NONE ||
	    !span_eq(param_of(m->via[0], "branch"), span_str(g->branch))) {
		reply(c, g->phone, m, "481 Call/Transaction Does Not Exist", from);
		return;
	}
	reply(c, g->phone, m, "200 OK", from);
	if (g->state == LEG_ANSWERED || g->state == LEG_CONFIRMED) {
		call_fail(c, x, FAULT_CANCEL_WRONG);
		return;
	}
	if (g->state != LEG_RINGING)
		return;
	if (x->cancelled)
		ledger_wait(x->epoch, WAIT_CANCEL, c->now - x->cancelled_at);
	else if (w != g && w->answered)
		ledger_wait(x->epoch, WAIT_CANCEL,
			    c->now - (x->final_at ? x->final_at : w->answered));
	else if (!x->failed)
		call_fail(c, x, FAULT_CANCEL_WRONG);
	final(c, g, "487 Request Terminated");
}

static void on_ack(struct crowd *c, struct call *x, struct leg *g)
{
	if (g->state == LEG_ANSWERED) {
		ledger_wait(x->epoch, WAIT_ACK, c->now - g->answered);
		set_state(c, g, LEG_CONFIRMED);
	} else if (g->state == LEG_REFUSED) {
		set_state(c, g, LEG_ENDED);
	}
}

static void on_bye(struct crowd *c, struct call *x, struct leg *g, const struct message *m,
		   const struct sockaddr_in *from)
{
	reply(c, g->phone, m, "200 OK", from);
	if (x->state != CALL_BYE && x->state != CALL_DONE)
		call_fail(c, x, FAULT_BYE_WRONG);
	set_state(c, g, LEG_ENDED);
}

/* The called phone hangs up. */
void leg_bye(struct crowd *c, struct call *x, struct leg *g)
{
	char buf[MESSAGE_MAX], id[40], branch[64], from[96], to[96], tag[64];
	struct out o = {.start = buf, .p = buf, .end = buf + sizeof(buf)};
	struct sockaddr_in hop = next_hop(g->phone, span_of(g->routes.p, g->routes.n), g->peer);

	write_id(id, c, 'c', call_slot(c, x), x->gen);
	snprintf(branch, sizeof(branch), "%s.e%u", id, g->phone->dev);
	snprintf(tag, sizeof(tag), "d%u.%x", g->phone->dev, x->gen);
	write_user(from, sizeof(from), c, x->callee);
	write_user(to, sizeof(to), c, x->caller->user);
	write_head(&o, &(struct outgoing){.c = c,
					  .phone = g->phone,
					  .method = "BYE",
					  .uri = g->peer,
					  .branch = branch,
					  .call_id = id,
					  .from = from,
					  .from_tag = tag,
					  .to = to,
					  .to_tag = id,
					  .cseq = 1,
					  .routes = span_of(g->routes.p, g->routes.n)});
	put_str(&o, "Content-Length: 0\r\n\r\n");
	request_start(c, &x->bye, g->phone, &hop, &o, false);
}

void leg_request(struct crowd *c, struct call *x, struct phone *p, const struct message *m,
		 const struct sockaddr_in *from)
{
	bool bye = span_eq(m->method, SPAN("BYE"));

	if (p->user != x->callee) {
		if (bye && p == x->caller) {
			reply(c, p, m, "200 OK", from);
			call_ends(c, x);
		}
		return;
	}
	struct leg *g = &x->leg[p->dev];
	if (span_eq(m->method, SPAN("INVITE")))
		on_invite(c, x, g, m, from);
	else if (span_eq(m->method, SPAN("CANCEL")))
		on_cancel(c, x, g, m, from);
	else if (span_eq(m->method, SPAN("ACK")))
		on_ack(c, x, g);
	else if (bye)
		on_bye(c, x, g, m, from);
}

static void due(struct crowd *c, const struct call *x, struct leg *g)
{
	bool wins = g->phone->dev == x->winner;

	final(c, g, wins ? "200 OK" : "486 Busy Here");
}

void leg_tick(struct crowd *c, struct call *x, struct leg *g)
{
	if (g->state == LEG_RINGING && g->due && c->now >= g->due && net_up(g->phone))
		due(c, x, g);
	if (g->state != LEG_ANSWERED && g->state != LEG_REFUSED)
		return;
	if (g->state == LEG_ANSWERED && c->now - g->since > c->opt.patience_ms) {
		call_fail(c, x, FAULT_NO_ACK);
		set_state(c, g, LEG_ENDED);
		return;
	}
	if (c->now < g->next || (g->state == LEG_REFUSED && c->opt.transport != UDP))
		return;
	g->interval = g->interval * 2 > T2_MS ? T2_MS : g->interval * 2;
	g->next = c->now + g->interval;
	leg_again(c, g);
}
