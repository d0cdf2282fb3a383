/*
 * The caller: INVITE until its final answer or CANCEL, ACK, some talk, BYE; and the judgement
 * of the whole call once both sides are done.
 */
#include "tests/lab/crowd/crowd.h"

#include <stdio.h>

enum {
	LINGER_MS = 500,
	RING_MS = 300,
	HOLD_MS = 200,
	VARY_MS = 800,
	UNREACHED_MS = 4000, /* the third time that an INVITE is repeated, and some */
};

void call_fail(struct crowd *c, struct call *x, enum fault why)
{
	if (why < FAULTS_OF_CALLS) {
		if (x->failed)
			return;
		x->failed = true;
		x->epoch->failed++;
	}
	x->epoch->fault[why]++;
	if (x->epoch->told++ < 20)
		fprintf(stderr,
			"crowd: %s: call c%05x%08x-%08x of u%u to u%u (%s%s): %s after %llu "
			"ms\n",
			x->epoch->name, call_slot(c, x), x->gen, c->run, x->caller->user->index,
			x->callee->index, kind_name[x->kind], x->cancel ? ", cancelled" : "",
			fault_name[why], (unsigned long long)(c->now - x->started));
}

/* A request of the caller's.  `what` tells its transaction from the others of the call. */
static void send_request(struct crowd *c, struct call *x, const char *method, const char *what,
			 struct request *r)
{
	char buf[MESSAGE_MAX], id[40], branch[64], from[96], to[96];
	struct out o = {.start = buf, .p = buf, .end = buf + sizeof(buf)};
	bool dialog = x->state == CALL_TALKING || x->state == CALL_BYE;
	bool invite = method[0] == 'I';

	write_id(id, c, 'c', call_slot(c, x), x->gen);
	snprintf(branch, sizeof(branch), "%s.%s%u", id, what, x->tries);
	write_user(from, sizeof(from), c, x->caller->user);
	write_user(to, sizeof(to), c, x->callee);
	write_head(&o, &(struct outgoing){
			       .c = c,
			       .phone = x->caller,
			       .method = method,
			       .uri = dialog ? x->target : to,
			       .branch = branch,
			       .call_id = id,
			       .from = from,
			       .from_tag = id,
			       .to = to,
			       .to_tag = dialog || method[0] == 'A' ? x->to_tag : "",
			       .cseq = x->cseq,
			       .port = what[0] == 'i' ? x->port : 0,
			       .routes = span_of(x->routes.p, dialog ? x->routes.n : 0)});
	if (invite) {
		write_credentials(&o, x->caller, true, method, to);
		write_contact(&o, c, x->caller, true);
		put_str(&o, "\r\n");
		write_body(&o, "application/sdp", sdp_text);
	} else {
		put_str(&o, "Content-Length: 0\r\n\r\n");
	}
	struct sockaddr_in hop =
		dialog ? next_hop(x->caller, span_of(x->routes.p, x->routes.n), x->target)
		       : x->caller->target;
	if (r) {
		request_start(c, r, x->caller, &hop, &o, invite);
	} else if (!o.over) {
		net_send(c, x->caller, &hop, buf, out_len(&o));
		if (dialog && keep(&x->ack, buf, out_len(&o)) == 0)
			x->ack_to = hop;
	}
}

static void invite(struct crowd *c, struct call *x)
{
	x->invite_cseq = ++x->cseq;
	x->tries++;
	x->port = ntohs(x->caller->at.sin_port);
	send_request(c, x, "INVITE", "i", &x->invite);
}

static struct user *pick(struct crowd *c, enum role role)
{
	for (unsigned i = 0; i < 50; i++) {
		struct user *u = &c->user[crowd_random(c, c->opt.users / ROLES) * ROLES + role];
		bool good = role == ROLE_CALLER || c->only < 0 || (int)u->home == c->only;

		for (unsigned d = 0; d < u->ndev; d++)
			good = good && u->phone[d]->bound == BOUND_IN && net_up(u->phone[d]) &&
			       !u->phone[d]->closed_at;
		if (good)
			return u;
	}
	return NULL;
}

bool call_start(struct crowd *c, enum kind kind, bool cancel, bool burst)
{
	struct user *caller = pick(c, ROLE_CALLER), *callee = pick(c, ROLE_ONE + kind);

	if (!caller || !callee || !c->nfree_call)
		return false;
	struct call *x = &c->call[c->free_call[--c->nfree_call]];
	uint32_t gen = x->gen + 1;

	*x = (struct call){.gen = gen,
			   .state = CALL_SENT,
			   .kind = kind,
			   .epoch = ledger_now(&c->ledger),
			   .caller = caller->phone[0],
			   .callee = callee,
			   .winner = crowd_random(c, callee->ndev),
			   .cancel = cancel,
			   .burst = burst,
			   .started = c->now};
	if (burst && kind == KIND_SER) /* one whose first device answers is a plain call */
		x->winner = 1 + crowd_random(c, callee->ndev - 1);
	x->ring_ms = RING_MS + crowd_random(c, VARY_MS);
	x->callee_ends = crowd_random(c, 2);
	x->deadline = c->now + x->ring_ms + c->opt.patience_ms;
	if (cancel && !burst)
		x->cancel_due = c->now + x->ring_ms;
	for (unsigned d = 0; d < callee->ndev; d++)
		x->leg[d].phone = callee->phone[d];
	x->epoch->calls[kind]++;
	x->epoch->open++;
	c->calls++;
	if (call_slot(c, x) >= c->high_call)
		c->high_call = call_slot(c, x) + 1;
	invite(c, x);
	return true;
}

/* Those of a burst go on: their phones answer, or they are cancelled. */
void call_release(struct crowd *c, struct call *x)
{
	x->burst = false;
	x->deadline = c->now + x->ring_ms + c->opt.patience_ms;
	if (x->cancel)
		x->cancel_due = c->now + crowd_random(c, RING_MS);
	for (unsigned d = 0; d < DEVICES && !x->cancel; d++) {
		struct leg *g = &x->leg[d];

		if (g->state == LEG_RINGING && (d == x->winner || x->kind == KIND_SER))
			g->due = c->now + crowd_random(c, RING_MS);
	}
}

static void done(struct crowd *c, struct call *x)
{
	request_stop(&x->invite);
	request_stop(&x->cancel_request);
	request_stop(&x->bye);
	x->state = CALL_DONE;
	x->done_at = c->now;
}

static void answered(struct crowd *c, struct call *x, const struct message *m)
{
	struct span tag = param_of(m->to, "tag"), uri = contact_uri(m);
	struct leg *g = &x->leg[x->winner];

	if (x->state == CALL_TALKING || x->state == CALL_BYE || x->state == CALL_DONE) {
		if (x->to_tag[0] && !span_eq(tag, span_str(x->to_tag)))
			call_fail(c, x, FAULT_TWO_ANSWERS);
		else if (x->ack.n)
			net_send(c, x->caller, &x->ack_to, x->ack.p, x->ack.n);
		return;
	}
	request_stop(&x->invite);
	snprintf(x->to_tag, sizeof(x->to_tag), "%.*s", SPAN_FMT(tag));
	snprintf(x->target, sizeof(x->target), "%.*s", SPAN_FMT(uri));
	keep_routes(&x->routes, m, true);
	x->state = CALL_TALKING;
	x->answered = true;
	x->final_at = c->now;
	x->hold_due = c->now + HOLD_MS + crowd_random(c, VARY_MS);
	if (g->answered) { /* phones that were away: from when both were back */
		msec from = g->answered;

		if (x->caller->back_at > from)
			from = x->caller->back_at;
		if (g->phone->back_at > from)
			from = g->phone->back_at;
		ledger_wait(x->epoch, WAIT_ANSWER, c->now - from);
	}
	x->epoch->answered++;
	if (x->cancel)
		call_fail(c, x, FAULT_WRONG_ANSWER);
	send_request(c, x, "ACK", "a", NULL);
}

static void refused(struct crowd *c, struct call *x, const struct message *m)
{
	struct span tag = param_of(m->to, "tag");

	snprintf(x->to_tag, sizeof(x->to_tag), "%.*s", SPAN_FMT(tag));
	/* 17.1.1.3: the ACK of a transaction that failed is in the same branch */
	send_request(c, x, "ACK", "i", NULL);
	if (x->state == CALL_DONE)
		return;
	if ((m->status == 401 || m->status == 407) && x->tries < 4 &&
	    challenge_take(x->caller, m)) {
		x->to_tag[0] = 0;
		invite(c, x);
		return;
	}
	x->final_at = c->now;
	if (x->cancelled && m->status == 487) {
		ledger_wait(x->epoch, WAIT_487, c->now - x->cancelled_at);
		x->epoch->cancelled++;
	} else {
		x->epoch->status[m->status]++;
		call_fail(c, x, FAULT_STATUS);
	}
	done(c, x);
}

static void invite_response(struct crowd *c, struct call *x, const struct message *m)
{
	if (x->invite.live && !x->invite.provisional)
		ledger_wait(x->epoch, WAIT_INVITE, c->now - x->invite.first);
	if (m->status < 200) {
		request_provisional(c, &x->invite);
		if (m->status > 100 && x->state == CALL_SENT) {
			x->state = CALL_RINGING;
			ledger_wait(x->epoch, WAIT_RINGING, c->now - x->invite.first);
		}
	} else if (m->status < 300) {
		answered(c, x, m);
	} else if (!x->answered) {
		refused(c, x, m); /* with a 2xx its transaction has ended (17.1.1.2) */
	}
}

void call_response(struct crowd *c, struct call *x, const struct message *m)
{
	if (span_eq(m->method, SPAN("INVITE")) && m->cseq == x->invite_cseq) {
		invite_response(c, x, m);
	} else if (span_eq(m->method, SPAN("CANCEL")) && m->status >= 200) {
		request_stop(&x->cancel_request);
	} else if (span_eq(m->method, SPAN("BYE")) && m->status >= 200 &&
		   x->state == CALL_BYE) {
		ledger_wait(x->epoch, WAIT_BYE, c->now - x->bye.first);
		if (m->status >= 300) {
			x->epoch->status[m->status]++;
			call_fail(c, x, FAULT_BYE);
		}
		if (x->callee_ends)
			x->leg[x->winner].state = LEG_ENDED;
		done(c, x);
	}
}

/* A BYE reaches the caller. */
void call_ends(struct crowd *c, struct call *x)
{
	if (x->state != CALL_DONE && !(x->state == CALL_BYE && x->callee_ends))
		call_fail(c, x, FAULT_BYE_WRONG);
}

static void bye(struct crowd *c, struct call *x)
{
	if (x->callee_ends && x->leg[x->winner].state != LEG_CONFIRMED) {
		if (c->now - x->final_at < c->opt.patience_ms)
			return; /* a callee that waits for its ACK does not hang up */
		x->callee_ends = false;
	}
	x->state = CALL_BYE;
	if (x->callee_ends) {
		leg_bye(c, x, &x->leg[x->winner]);
		return;
	}
	x->cseq++;
	send_request(c, x, "BYE", "b", &x->bye);
}

static void cancel(struct crowd *c, struct call *x)
{
	x->cancelled = true;
	x->cancelled_at = c->now;
	send_request(c, x, "CANCEL", "i", &x->cancel_request);
}

/* A phone that rings though the call is answered elsewhere, refused or called off. */
static void judge_leg(struct crowd *c, struct call *x, struct leg *g)
{
	msec over = x->cancelled ? x->cancelled_at : x->final_at;

	if (g->state == LEG_RINGING && over && c->now - over > c->opt.grace_ms) {
		call_fail(c, x, FAULT_CANCEL_MISSING);
		g->state = LEG_ENDED;
	} else if (g->state == LEG_RINGING && x->state == CALL_DONE &&
		   c->now - x->done_at > c->opt.grace_ms) {
		g->state = LEG_ENDED; /* the caller never had an answer: that is what failed */
	}
}

/* What is due.  False once the call is given up. */
static bool timers(struct crowd *c, struct call *x)
{
	if (!request_tick(c, &x->invite) ||
	    (x->state <= CALL_RINGING && !x->burst && !x->cancelled && c->now > x->deadline)) {
		call_fail(c, x, FAULT_NO_FINAL);
		return false;
	}
	if (x->state <= CALL_RINGING && x->cancelled &&
	    c->now - x->cancelled_at > c->opt.patience_ms) {
		call_fail(c, x, FAULT_NO_487);
		return false;
	}
	if (!request_tick(c, &x->cancel_request))
		request_stop(&x->cancel_request);
	if (!request_tick(c, &x->bye)) {
		call_fail(c, x, FAULT_BYE);
		return false;
	}
	if (x->state <= CALL_RINGING && x->cancel_due && c->now >= x->cancel_due &&
	    x->invite.provisional && !x->cancelled)
		cancel(c, x);
	if (x->state == CALL_TALKING && c->now >= x->hold_due)
		bye(c, x);
	return true;
}

static void call_free(struct crowd *c, struct call *x)
{
	struct over *over = &c->over[c->nover++ % OVER_MAX];

	done(c, x);
	*over = (struct over){.slot = call_slot(c, x),
			      .gen = x->gen,
			      .kind = x->kind,
			      .cancelled = x->cancelled,
			      .started = x->started,
			      .done_at = x->done_at};
	for (unsigned d = 0; d < DEVICES; d++)
		if (x->leg[d].rung && !x->leg[d].answered)
			over->refused[d] = hash_of(span_str(x->leg[d].branch));
	drop(&x->ack);
	drop(&x->routes);
	for (unsigned d = 0; d < DEVICES; d++)
		leg_done(&x->leg[d]);
	x->epoch->open--;
	x->state = CALL_FREE;
	c->free_call[c->nfree_call++] = call_slot(c, x);
	c->calls--;
}

/* A device whose INVITE was lost, or waits for it to come back, gets it though another one has
 * answered or the caller has hung up: as long as nothing has come from it, it may be ringing
 * already, and CANCEL has to wait (RFC 3261 9.1).  So it may ring yet, and then CANCEL must
 * follow.  Of a serial search nothing is on its way to a device whose turn has not come. */
static bool may_ring_yet(const struct call *x, const struct leg *g)
{
	return x->kind != KIND_SER && g->state == LEG_NONE && (x->answered || x->cancelled);
}

void call_tick(struct crowd *c, struct call *x)
{
	bool quiet = true;
	msec linger = LINGER_MS;

	if (x->state != CALL_DONE && !timers(c, x))
		done(c, x);
	for (unsigned d = 0; d < x->callee->ndev; d++) {
		struct leg *g = &x->leg[d];

		leg_tick(c, x, g);
		judge_leg(c, x, g);
		if (may_ring_yet(x, g))
			linger = UNREACHED_MS;
		if (g->state == LEG_RINGING || g->state == LEG_ANSWERED)
			quiet = false;
		if ((g->state == LEG_REFUSED || g->state == LEG_CONFIRMED) &&
		    c->now - g->since < c->opt.grace_ms)
			quiet = false;
	}
	if (x->state == CALL_DONE && quiet && c->now - x->done_at > linger)
		call_free(c, x);
}

/* A phone's stream is open again. */
void call_reopened(struct crowd *c, struct phone *p)
{
	for (uint32_t i = 0; i < c->high_call; i++) {
		struct call *x = &c->call[i];

		if (x->state == CALL_FREE)
			continue;
		if (x->caller == p) {
			request_again(c, &x->invite);
			request_again(c, &x->cancel_request);
		}
		if (x->bye.phone == p)
			request_again(c, &x->bye);
		for (unsigned d = 0; d < x->callee->ndev; d++)
			if (x->leg[d].phone == p)
				leg_again(c, &x->leg[d]);
	}
}
