/*
 * Operations: one REGISTER, call, MESSAGE or OPTIONS in a slot, from the first request to the
 * last response.  A slot's number and generation are its Call-ID, so a response finds it at
 * once.
 */
#include "tests/bench/sipload/sipload.h"

#include <stdio.h>
#include <stdlib.h>

enum { GIVE_UP_S = 12, T1_MS = 500 };
#define NS_PER_MS 1000000u

const char *const mode_name[MODE_COUNT] = {"reg", "rereg", "call", "msg", "options", "idle"};

uint32_t op_slot(const struct load *l, const struct op *o)
{
	return (uint32_t)(o - l->ops);
}

void op_put_id(struct load *l, struct out *out, const struct op *o)
{
	put_hex(out, op_slot(l, o), 5);
	put_hex(out, o->gen, 7);
	put_hex(out, l->run, 12);
}

static bool unhex(struct span s, uint64_t *ret)
{
	*ret = 0;
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		unsigned v = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
			     : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
						    : 16;
		if (v == 16)
			return false;
		*ret = *ret << 4 | v;
	}
	return true;
}

struct op *op_find(struct load *l, struct span line)
{
	struct span id = line_value(line);
	uint64_t slot, gen, run;

	if (id.n != 24 || !unhex(span_of(id.p, 5), &slot) ||
	    !unhex(span_of(id.p + 5, 7), &gen) || !unhex(span_of(id.p + 12, 12), &run))
		return NULL;
	if (run != (l->run & 0xffffffffffff) || slot >= l->nslots)
		return NULL;
	struct op *o = &l->ops[slot];
	return o->gen == gen && o->state != OP_FREE ? o : NULL;
}

void keep(struct kept *k, const struct out *o)
{
	size_t n = out_len(o);
	char *p = o->over ? NULL : realloc(k->p, n);

	k->n = 0;
	if (!p)
		return;
	memcpy(p, o->start, n);
	*k = (struct kept){p, n};
}

void delay_push(struct delay *d, nsec due, uint32_t slot, uint32_t gen)
{
	d->v[d->tail++ & d->mask] = (struct delayed){due, slot, gen};
}

static uint64_t next_random(struct load *l)
{
	l->random ^= l->random << 13;
	l->random ^= l->random >> 7;
	l->random ^= l->random << 17;
	return l->random >> 16;
}

static void release(struct load *l, struct op *o)
{
	o->state = OP_FREE;
	o->uas = UAS_NONE;
	l->active--;
	if (op_slot(l, o) >= l->low)
		l->free_slots[l->nfree++] = op_slot(l, o);
}

static void finish(struct load *l, struct op *o, bool ok, unsigned status)
{
	if (ok) {
		l->c.ok++;
	} else {
		l->c.failed++;
		l->c.by_status[status < 700 ? status : 0]++;
		if (l->opt.verbose && l->c.failed <= 5)
			fprintf(stderr, "sipload: failed with %u in state %d\n", status,
				o->state);
	}
	release(l, o);
}

static uint32_t pick_user(struct load *l)
{
	if (l->priming || l->filling || l->opt.mode == MODE_REG)
		return (uint32_t)(l->next_user++ % l->opt.users);
	return (uint32_t)(next_random(l) % l->opt.users);
}

bool op_launch(struct load *l)
{
	if (l->nfree == 0) {
		l->c.no_slot++;
		return false;
	}
	struct op *o = &l->ops[l->free_slots[--l->nfree]];
	struct op fresh = {.gen = (o->gen + 1) & 0xfffffff,
			   .request = o->request,
			   .answer = o->answer,
			   .priming = l->priming,
			   .stays = l->filling,
			   .started = l->now,
			   .phase = l->now};
	*o = fresh;
	if (op_slot(l, o) >= l->high)
		l->high = op_slot(l, o) + 1;
	l->active++;
	o->user = pick_user(l);
	o->sock = request_socket(l, o->user);
	l->c.launched++;
	struct span nonce = {NULL, 0};
	if (!l->filling && l->opt.mode == MODE_REREG && l->nonce[o->user][0]) {
		o->nc = ++l->nc[o->user];
		nonce = span_str(l->nonce[o->user]);
	}
	request_send(l, o, nonce, false);
	return true;
}

static void took(struct load *l, enum latency k, nsec since)
{
	histogram_add(&l->latency[k], l->now - since);
}

/* The challenge of the algorithm that was asked for. */
static struct span choose_challenge(const struct load *l, const struct message *m)
{
	struct span wanted = l->opt.sha256 ? SPAN("SHA-256") : SPAN("MD5");

	for (unsigned i = 0; i < m->nchallenge; i++) {
		struct span a = param_of(m->challenge[i], "algorithm");

		if (span_eq(a, wanted) || (a.n == 0 && !l->opt.sha256))
			return m->challenge[i];
	}
	return span_of(NULL, 0);
}

static void on_challenge(struct load *l, struct op *o, const struct message *m)
{
	struct span c = choose_challenge(l, m);
	struct span nonce = param_of(c, "nonce"), realm = param_of(c, "realm");

	l->c.challenges++;
	if (o->challenged || nonce.n == 0 || nonce.n >= NONCE_MAX) {
		finish(l, o, false, m->status);
		return;
	}
	if (!l->realm[0])
		snprintf(l->realm, sizeof(l->realm), "%.*s", SPAN_FMT(realm));
	o->challenged = true;
	o->nc = 1;
	took(l, LAT_CHALLENGE, o->started);
	if (l->nonce) {
		memcpy(l->nonce[o->user], nonce.p, nonce.n);
		l->nonce[o->user][nonce.n] = 0;
		l->nc[o->user] = 1;
	}
	o->phase = l->now;
	request_send(l, o, nonce, m->proxy_challenge);
}

/* Route from one Record-Route line, its last value first. */
static void add_routes(struct out *out, struct span line)
{
	struct span v = line_value(line);
	size_t end = v.n;

	for (size_t i = v.n; i-- > 0;) {
		if (v.p[i] != ',' && i > 0)
			continue;
		size_t from = v.p[i] == ',' ? i + 1 : i;
		while (from < end && v.p[from] == ' ')
			from++;
		put_str(out, "Route: ");
		put(out, span_of(v.p + from, end - from));
		put_str(out, "\r\n");
		end = i;
	}
}

static void set_dialog(struct op *o, const struct message *m)
{
	struct span tag = param_of(m->to, "tag"), c = line_value(m->contact);
	const char *lt = c.n ? memchr(c.p, '<', c.n) : NULL;
	struct out r = {.start = o->route, .p = o->route, .end = o->route + sizeof(o->route)};

	snprintf(o->to_tag, sizeof(o->to_tag), "%.*s", SPAN_FMT(tag));
	if (lt) {
		size_t n = (size_t)(c.p + c.n - lt) - 1;
		const char *gt = memchr(lt + 1, '>', n);

		c = span_of(lt + 1, gt ? (size_t)(gt - lt) - 1 : n);
	}
	snprintf(o->target, sizeof(o->target), "%.*s", SPAN_FMT(c));
	for (unsigned i = m->nroute; i-- > 0;)
		add_routes(&r, m->route[i]);
	o->route_n = out_len(&r);
}

static void on_provisional(struct load *l, struct op *o, const struct message *m)
{
	if (m->cseq != o->cseq || (o->state != OP_SENT && o->state != OP_PROCEEDING))
		return;
	if (m->status > 100 && o->stays) {
		o->state = OP_RINGING;
		l->ringing++;
		return;
	}
	if (m->status > 100 && o->state != OP_TALKING)
		took(l, LAT_RINGING, o->phase);
	o->state = OP_PROCEEDING;
	o->sent = l->now;
}

static void on_answer(struct load *l, struct op *o, const struct message *m)
{
	took(l, LAT_ANSWER, o->phase);
	set_dialog(o, m);
	request_ack(l, o, o->cseq);
	o->state = OP_TALKING;
	o->sent = l->now;
	delay_push(&l->hold, l->now + (nsec)l->opt.hold_ms * NS_PER_MS, op_slot(l, o), o->gen);
}

static void on_final(struct load *l, struct op *o, const struct message *m)
{
	bool invite = span_eq(m->method, SPAN("INVITE"));

	if (invite && m->status >= 300)
		request_ack_failure(l, o, m->to);
	if (m->status == 401 || m->status == 407) {
		on_challenge(l, o, m);
		return;
	}
	if (m->status >= 300) {
		finish(l, o, false, m->status);
		return;
	}
	if (invite) {
		on_answer(l, o, m);
		return;
	}
	took(l, LAT_FINAL, o->phase);
	finish(l, o, true, m->status);
}

/* A repeated 200 to INVITE wants its ACK again. */
static bool is_repeated_answer(const struct message *m)
{
	return span_eq(m->method, SPAN("INVITE")) && m->status >= 200 && m->status < 300;
}

void op_response(struct load *l, const struct message *m)
{
	struct op *o = op_find(l, m->call_id);

	if (!o) {
		l->c.strays++;
		return;
	}
	if (m->status < 200) {
		on_provisional(l, o, m);
		return;
	}
	switch (o->state) {
	case OP_SENT:
	case OP_PROCEEDING:
		if (m->cseq == o->cseq)
			on_final(l, o, m);
		return;
	case OP_TALKING:
	case OP_BYE:
		if (is_repeated_answer(m)) {
			request_ack(l, o, m->cseq);
		} else if (o->state == OP_BYE && m->cseq == o->cseq) {
			took(l, LAT_BYE, o->phase);
			finish(l, o, m->status < 300, m->status);
		}
		return;
	case OP_RINGING:
		l->ringing--;
		request_ack_failure(l, o, m->to);
		finish(l, o, false, m->status);
		return;
	case OP_FREE:
		return;
	}
}

void op_bye_due(struct load *l, struct op *o)
{
	if (o->state == OP_TALKING)
		request_bye(l, o);
}

static bool retransmits(const struct load *l, const struct op *o)
{
	unsigned shift = o->tries > 3 ? 3 : o->tries;

	return (o->state == OP_SENT || o->state == OP_BYE) && o->request.n &&
	       l->now - o->sent > ((nsec)T1_MS * NS_PER_MS << shift);
}

void op_scan(struct load *l)
{
	for (uint32_t i = l->low; i < l->high; i++) {
		struct op *o = &l->ops[i];

		if (o->state == OP_FREE || o->state == OP_RINGING)
			continue;
		if (l->now - o->started > (nsec)GIVE_UP_S * 1000 * NS_PER_MS) {
			finish(l, o, false, 0);
			continue;
		}
		if (retransmits(l, o)) {
			net_resend(l, o->sock, &o->request, &l->opt.target);
			o->sent = l->now;
			o->tries++;
			l->c.retransmits++;
		}
		if (o->uas == UAS_ANSWERED && l->now - o->answer_sent > T1_MS * NS_PER_MS) {
			net_resend(l, o->answer_sock, &o->answer, &o->answer_to);
			o->answer_sent = l->now;
			l->c.uas_retransmits++;
		}
	}
}
