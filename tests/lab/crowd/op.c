/*
 * REGISTER, MESSAGE, and the fetching of bindings for an audit.
 */
#include "tests/lab/crowd/crowd.h"

#include <stdio.h>

static const char text[] = "Watson, come here. I want to see you.";

static struct op *op_new(struct crowd *c, enum op_type type, struct phone *p)
{
	if (!c->nfree_op)
		return NULL;
	struct op *o = &c->op[c->free_op[--c->nfree_op]];
	uint32_t gen = o->gen + 1;

	*o = (struct op){.gen = gen, .type = type, .phone = p, .target = p->target};
	o->epoch = ledger_now(&c->ledger);
	o->epoch->open++;
	c->ops++;
	if (op_slot(c, o) >= c->high_op)
		c->high_op = op_slot(c, o) + 1;
	return o;
}

static void op_free(struct crowd *c, struct op *o)
{
	request_stop(&o->request);
	o->epoch->open--;
	o->type = OP_FREE;
	c->free_op[c->nfree_op++] = op_slot(c, o);
	c->ops--;
}

static void put_register_tail(struct crowd *c, struct out *out, const struct op *o)
{
	static const char *const q[DEVICES] = {";q=1.0", ";q=0.6", ";q=0.3"};
	const struct phone *p = o->phone;

	if (o->type == OP_REGISTER) {
		write_contact(out, c, p, false);
		if (p->user->role == ROLE_SER)
			put_str(out, q[p->dev]);
		if (p->stream) {
			char t[96];

			snprintf(t, sizeof(t),
				 ";reg-id=1;+sip.instance=\"<urn:uuid:00000000-0000-0000-%04x-"
				 "%012x>\"",
				 p->dev, p->user->index);
			put_str(out, t);
		}
		put_str(out, ";expires=");
		put_num(out, o->expires_s);
		put_str(out, "\r\nSupported: path");
		put_str(out, p->stream ? ", outbound, gruu\r\n" : "\r\n");
	}
	put_str(out, "Content-Length: 0\r\n\r\n");
}

static void op_send(struct crowd *c, struct op *o)
{
	char buf[MESSAGE_MAX], id[40], branch[64], from[96], to[96], uri[96], call_id[64];
	struct out out = {.start = buf, .p = buf, .end = buf + sizeof(buf)};
	bool message = o->type == OP_MESSAGE;
	struct outgoing g = {
		.c = c, .phone = o->phone, .branch = branch, .from = from, .to = to};

	write_id(id, c, message ? 'm' : 'r', op_slot(c, o), o->gen);
	snprintf(branch, sizeof(branch), "%s.%u", id, ++o->tries);
	write_user(from, sizeof(from), c, o->to && !message ? o->to : o->phone->user);
	write_user(to, sizeof(to), c, o->to ? o->to : o->phone->user);
	snprintf(uri, sizeof(uri), "sip:%s", c->opt.domain);
	snprintf(call_id, sizeof(call_id), "r%ud%u-%08x", o->phone->user->index, o->phone->dev,
		 c->run);
	g.method = message ? "MESSAGE" : "REGISTER";
	g.uri = message ? to : uri;
	g.call_id = message || o->type == OP_FETCH ? id : call_id;
	g.from_tag = id;
	g.cseq = o->type == OP_REGISTER ? ++o->phone->cseq : ++o->cseq;
	write_head(&out, &g);
	/* at first every other one is sent without, as a phone does that has just started */
	if (o->tries > 1 || crowd_random(c, 2)) {
		write_credentials(&out, o->phone, message, g.method, g.uri);
	}
	if (message)
		write_body(&out, "text/plain", text);
	else
		put_register_tail(c, &out, o);
	request_start(c, &o->request, o->phone, &o->target, &out, false);
}

bool op_register(struct crowd *c, struct phone *p, unsigned expires_s)
{
	struct op *o = p->busy ? NULL : op_new(c, OP_REGISTER, p);

	if (!o)
		return false;
	p->busy = true;
	o->expires_s = expires_s;
	if (c->sides && p->user->role == ROLE_CHURN && p->user->home == 0)
		o->target = c->side[(p->user->index / ROLES + p->dev) & 1];
	o->epoch->registers++;
	op_send(c, o);
	return true;
}

static struct phone *random_phone(struct crowd *c)
{
	struct user *u = &c->user[crowd_random(c, c->opt.users)];

	return u->phone[crowd_random(c, u->ndev)];
}

/* Any phone registers anew; one of those that come and go does the other. */
bool op_churn(struct crowd *c)
{
	for (unsigned i = 0; i < 100; i++) {
		struct phone *p = random_phone(c);
		bool leaves = p->user->role == ROLE_CHURN && p->bound == BOUND_IN;

		if (c->sides && (p->user->role != ROLE_CHURN || p->user->home))
			continue;
		if (net_up(p) && !p->busy)
			return op_register(c, p, leaves ? 0 : c->opt.expires_s);
	}
	return false;
}

static bool reachable(const struct user *u)
{
	for (unsigned i = 0; i < u->ndev; i++)
		if (u->phone[i]->bound != BOUND_IN || !net_up(u->phone[i]) ||
		    u->phone[i]->closed_at)
			return false;
	return true;
}

bool op_message(struct crowd *c)
{
	for (unsigned i = 0; i < 50; i++) {
		struct user *from = &c->user[crowd_random(c, c->opt.users)];
		struct user *to = &c->user[crowd_random(c, c->opt.users)];

		if (from->role != ROLE_CALLER ||
		    (to->role != ROLE_ONE && to->role != ROLE_PAR) || !reachable(from) ||
		    !reachable(to))
			continue;
		struct op *o = op_new(c, OP_MESSAGE, from->phone[0]);
		if (!o)
			return false;
		o->to = to;
		o->epoch->messages++;
		op_send(c, o);
		return true;
	}
	return false;
}

bool op_fetch(struct crowd *c, struct user *u, const struct sockaddr_in *at)
{
	struct phone *p = u->phone[0];
	struct op *o = net_up(p) ? op_new(c, OP_FETCH, p) : NULL;

	if (!o)
		return false;
	o->to = u;
	if (at->sin_port)
		o->target = *at;
	op_send(c, o);
	return true;
}

static bool listed(const struct phone *p, struct span bytes)
{
	char t[32];
	int n = snprintf(t, sizeof(t), ":u%ud%u@", p->user->index, p->dev);

	return memmem(bytes.p, bytes.n, t, (size_t)n) != NULL;
}

/* The pub-gruu of its contact in an answer to a REGISTER. */
static void take_gruu(struct phone *p, struct span bytes)
{
	char t[32];
	int n = snprintf(t, sizeof(t), ":u%ud%u@", p->user->index, p->dev);
	const char *end = bytes.p + bytes.n, *at = memmem(bytes.p, bytes.n, t, (size_t)n);
	/* to the next contact; an instance has brackets too */
	const char *stop = at ? memmem(at, (size_t)(end - at), "<sip:", 5) : NULL;
	const char *g =
		at ? memmem(at, (size_t)((stop ? stop : end) - at), "pub-gruu=\"", 10) : NULL;
	const char *close = g ? memchr(g + 10, '"', (size_t)(end - g - 10)) : NULL;

	if (close)
		snprintf(p->gruu, sizeof(p->gruu), "%.*s", (int)(close - g - 10), g + 10);
}

/* A phone that must be there and is not, is told once. */
static void compare_one(struct crowd *c, struct op *o, struct phone *p, struct span bytes,
			msec asked)
{
	if (p->busy || p->bound == BOUND_UNKNOWN || p->bound_at >= asked)
		return;
	if (listed(p, bytes) == (p->bound == BOUND_IN)) {
		p->missed = false;
		c->audit_bindings += o->type == OP_FETCH && p->bound == BOUND_IN;
		return;
	}
	if (o->type == OP_FETCH) {
		c->audit_lost += p->bound == BOUND_IN;
		c->audit_back += p->bound == BOUND_OUT;
		if (c->audit_lost + c->audit_back <= 10)
			fprintf(stderr, "crowd: audit %s: u%ud%u is %s\n", c->audit_name,
				p->user->index, p->dev,
				p->bound == BOUND_IN ? "lost" : "back again");
		return;
	}
	if (!p->missed && p->bound == BOUND_IN) {
		o->epoch->bindings_lost++;
		if (o->epoch->bindings_lost <= 5)
			fprintf(stderr, "crowd: %s: u%ud%u is lost\n", o->epoch->name,
				p->user->index, p->dev);
	}
	p->missed = true;
}

static void register_done(struct crowd *c, struct op *o, unsigned status, struct span bytes)
{
	struct phone *p = o->phone;
	struct user *u = p->user;

	p->busy = false;
	if (status < 300 && status) {
		p->bound = o->expires_s ? BOUND_IN : BOUND_OUT;
		p->was_bound = p->bound == BOUND_IN;
		p->bound_at = c->now;
		for (unsigned i = 0; i < u->ndev && !c->sides; i++)
			compare_one(c, o, u->phone[i], bytes, o->request.first);
		if (p->stream)
			take_gruu(p, bytes);
		if (p->closed_at) {
			ledger_wait(o->epoch, WAIT_RECONNECT, c->now - p->closed_at);
			p->closed_at = 0;
			p->back_at = c->now;
			call_reopened(c, p);
			op_reopened(c, p);
		}
	} else {
		o->epoch->register_failed++;
		o->epoch->register_status[status < 700 ? status : 0]++;
		if (u->role == ROLE_CHURN)
			p->bound = BOUND_UNKNOWN;
	}
	op_free(c, o);
}

static void op_final(struct crowd *c, struct op *o, unsigned status, struct span bytes)
{
	o->final = true;
	o->accepted = status >= 200 && status < 300;
	o->done_at = c->now;
	request_stop(&o->request);
	switch (o->type) {
	case OP_REGISTER:
		register_done(c, o, status, bytes);
		return;
	case OP_FETCH:
		if (o->accepted)
			for (unsigned i = 0; i < o->to->ndev; i++)
				compare_one(c, o, o->to->phone[i], bytes, o->request.first);
		else
			c->audit_failed++;
		c->audit_open--;
		op_free(c, o);
		return;
	case OP_MESSAGE:
		if (!o->accepted) {
			o->epoch->message_failed++;
			o->epoch->status[status < 700 ? status : 0]++;
		}
		return;
	case OP_FREE:
		return;
	}
}

void op_response(struct crowd *c, struct op *o, const struct message *m, struct span bytes)
{
	if (o->final || m->cseq != (o->type == OP_REGISTER ? o->phone->cseq : o->cseq))
		return;
	if (m->status < 200) {
		request_provisional(c, &o->request);
		return;
	}
	if (o->type != OP_FETCH)
		ledger_wait(o->epoch, o->type == OP_MESSAGE ? WAIT_MESSAGE : WAIT_REGISTER,
			    c->now - o->request.first);
	if ((m->status == 401 || m->status == 407) && o->tries < 4 &&
	    challenge_take(o->phone, m)) {
		op_send(c, o);
		return;
	}
	op_final(c, o, m->status, bytes);
}

uint32_t hash_of(struct span branch)
{
	uint32_t hash = 2166136261u;

	for (size_t i = 0; i < branch.n; i++)
		hash = (hash ^ (uint8_t)branch.p[i]) * 16777619u;
	return hash | 1;
}

/* A message arrives at one of the devices it is for; another branch is a second message to it.
 */
void op_request(struct op *o, struct phone *p, const struct message *m)
{
	uint32_t hash = hash_of(param_of(m->via[0], "branch"));

	if (p->user != o->to)
		return;
	if ((o->got & 1u << p->dev) && o->branch[p->dev] != hash)
		o->epoch->message_twice++;
	o->got |= 1u << p->dev;
	o->branch[p->dev] = hash;
}

void op_tick(struct crowd *c, struct op *o)
{
	if (!request_tick(c, &o->request)) {
		op_final(c, o, 0, span_of(NULL, 0));
		return;
	}
	if (o->type != OP_MESSAGE || !o->final)
		return;
	unsigned all = (1u << o->to->ndev) - 1;
	if (o->accepted && o->got != all && c->now - o->done_at < c->opt.grace_ms)
		return;
	if (o->accepted && !o->got)
		o->epoch->message_lost++;
	else if (o->accepted && o->got != all)
		o->epoch->message_partial++;
	op_free(c, o);
}

void op_reopened(struct crowd *c, struct phone *p)
{
	for (uint32_t i = 0; i < c->high_op; i++)
		if (c->op[i].type != OP_FREE && c->op[i].phone == p)
			request_again(c, &c->op[i].request);
}

/* Its stream is gone: the REGISTER under way is done anew when there is another. */
void op_closed(struct crowd *c, struct phone *p)
{
	for (uint32_t i = 0; i < c->high_op; i++)
		if (c->op[i].type == OP_REGISTER && c->op[i].phone == p)
			op_free(c, &c->op[i]);
	p->busy = false;
}
