/*
 * From bytes to the call or operation that they belong to.
 */
#include "tests/lab/crowd/crowd.h"

#include <stdio.h>
#include <stdlib.h>

void write_id(char to[40], const struct crowd *c, char letter, uint32_t slot, uint32_t gen)
{
	snprintf(to, 40, "%c%05x%08x-%08x", letter, slot, gen, c->run);
}

/* Letter, slot and generation of an id of this run. */
static bool read_id(const struct crowd *c, struct span s, char *letter, uint32_t *slot,
		    uint32_t *gen)
{
	unsigned run;
	char t[32];

	if (s.n < 23)
		return false;
	memcpy(t, s.p, 23);
	t[23] = 0;
	return sscanf(t, "%c%5x%8x-%8x", letter, slot, gen, &run) == 4 && run == c->run;
}

static struct call *find_call(struct crowd *c, uint32_t slot, uint32_t gen)
{
	struct call *x = slot < CALLS_MAX ? &c->call[slot] : NULL;

	return x && x->state != CALL_FREE && x->gen == gen ? x : NULL;
}

static struct op *find_op(struct crowd *c, uint32_t slot, uint32_t gen)
{
	struct op *o = slot < OPS_MAX ? &c->op[slot] : NULL;

	return o && o->type != OP_FREE && o->gen == gen ? o : NULL;
}

void reply(struct crowd *c, struct phone *p, const struct message *m, const char *status,
	   const struct sockaddr_in *from)
{
	char buf[MESSAGE_MAX];
	struct out o = {.start = buf, .p = buf, .end = buf + sizeof(buf)};
	struct kept head = {NULL, 0};

	if (keep_head(&head, m, "r") < 0)
		return;
	put_str(&o, "SIP/2.0 ");
	put_str(&o, status);
	put_str(&o, "\r\n");
	put(&o, span_of(head.p, head.n));
	put_str(&o, "Content-Length: 0\r\n\r\n");
	drop(&head);
	if (!o.over)
		net_send(c, p, from, buf, out_len(&o));
}

static void take_response(struct crowd *c, const struct message *m, struct span bytes)
{
	struct span branch = param_of(m->via[0], "branch");
	uint32_t slot, gen;
	char letter;

	if (branch.n < 7 ||
	    !read_id(c, span_of(branch.p + 7, branch.n - 7), &letter, &slot, &gen))
		return;
	if (letter == 'c') {
		struct call *x = find_call(c, slot, gen);

		if (x)
			call_response(c, x, m);
		return;
	}
	struct op *o = find_op(c, slot, gen);
	if (o)
		op_response(c, o, m, bytes);
}

static const struct over *find_over(const struct crowd *c, uint32_t slot, uint32_t gen)
{
	for (unsigned i = 0; i < OVER_MAX && i < c->nover; i++)
		if (c->over[i].slot == slot && c->over[i].gen == gen)
			return &c->over[i];
	return NULL;
}

/* What it has said no to, and nobody has acknowledged: its transaction is there for 32 s, and
 * says so again (RFC 3261 17.2.1). */
static bool said_no(const struct over *x, const struct phone *p, const struct message *m)
{
	return x && x->refused[p->dev] == hash_of(param_of(m->via[0], "branch"));
}

/* An INVITE of ours whose call is over. */
static void rang_late(struct crowd *c, const struct phone *p, const struct message *m,
		      const struct over *x)
{
	struct epoch *e = ledger_now(&c->ledger);
	struct span id = line_value(m->call_id);

	e->fault[FAULT_RANG_LATE]++;
	if (e->told++ >= 20)
		return;
	fprintf(stderr, "crowd: %s: call %.*s rang late at device %u of u%u, by %.*s;", e->name,
		(int)id.n, id.p, p->dev, p->user->index, (int)m->via[0].n, m->via[0].p);
	if (x)
		fprintf(stderr,
			" begun %llu ms ago, over for %llu ms (%s%s), %llu ms after the round "
			"began\n",
			(unsigned long long)(c->now - x->started),
			(unsigned long long)(c->now - x->done_at), kind_name[x->kind],
			x->cancelled ? ", cancelled" : "",
			(unsigned long long)(c->now - e->begun));
	else
		fprintf(stderr, " it has long been over\n");
}

/* For a call that is over, or none of ours. */
static void take_stray(struct crowd *c, struct phone *p, const struct message *m,
		       const struct sockaddr_in *from)
{
	bool invite = span_eq(m->method, SPAN("INVITE"));

	if (span_eq(m->method, SPAN("ACK")))
		return;
	if (span_eq(m->method, SPAN("OPTIONS")) || span_eq(m->method, SPAN("NOTIFY")))
		reply(c, p, m, "200 OK", from);
	else
		reply(c, p, m,
		      invite ? "480 Temporarily Unavailable"
			     : "481 Call/Transaction Does Not Exist",
		      from);
}

static void take_request(struct crowd *c, struct phone *p, const struct message *m,
			 const struct sockaddr_in *from)
{
	uint32_t slot, gen;
	char letter = 0;
	bool ours = read_id(c, line_value(m->call_id), &letter, &slot, &gen);

	if (ours && letter == 'c') {
		struct call *x = find_call(c, slot, gen);

		if (x) {
			leg_request(c, x, p, m, from);
			return;
		}
		if (span_eq(m->method, SPAN("INVITE"))) {
			const struct over *over = find_over(c, slot, gen);

			if (said_no(over, p, m)) {
				reply(c, p, m, "487 Request Terminated", from);
				return;
			}
			rang_late(c, p, m, over);
		}
	} else if (ours && letter == 'm' && span_eq(m->method, SPAN("MESSAGE"))) {
		struct op *o = find_op(c, slot, gen);

		if (o)
			op_request(o, p, m);
		reply(c, p, m, "200 OK", from);
		return;
	}
	take_stray(c, p, m, from);
}

void take(struct crowd *c, struct phone *p, struct span bytes, const struct sockaddr_in *from)
{
	struct message m;

	if (!message_read(&m, bytes))
		return;
	if (c->opt.verbose)
		fprintf(stderr, "%llu u%ud%u < %.*s\n", (unsigned long long)c->now,
			p->user->index, p->dev, SPAN_FMT(bytes));
	if (m.is_request)
		take_request(c, p, &m, from);
	else
		take_response(c, &m, bytes);
}
