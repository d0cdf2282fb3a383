/*
 * Requests under way: RFC 3261 17.1.1.2 (timers A and B) and 17.1.2.2 (timers E and F).
 */
#include "tests/lab/crowd/crowd.h"

void request_start(struct crowd *c, struct request *r, struct phone *p,
		   const struct sockaddr_in *to, const struct out *o, bool invite)
{
	request_stop(r);
	if (o->over || keep(&r->bytes, o->start, out_len(o)) < 0)
		return;
	r->phone = p;
	r->to = *to;
	r->live = true;
	r->invite = invite;
	r->provisional = false;
	r->first = c->now;
	r->interval = T1_MS;
	r->next = c->now + T1_MS;
	net_send(c, p, to, r->bytes.p, r->bytes.n);
}

void request_provisional(struct crowd *c, struct request *r)
{
	if (!r->live || r->provisional)
		return;
	r->provisional = true;
	r->interval = T2_MS;
	if (!r->invite)
		r->next = c->now + T2_MS;
}

void request_stop(struct request *r)
{
	drop(&r->bytes);
	r->live = false;
}

bool request_tick(struct crowd *c, struct request *r)
{
	if (!r->live)
		return true;
	if (c->now - r->first > c->opt.patience_ms && !(r->invite && r->provisional))
		return false;
	if (c->opt.transport != UDP || (r->invite && r->provisional) || c->now < r->next)
		return true;
	net_send(c, r->phone, &r->to, r->bytes.p, r->bytes.n);
	r->interval *= 2;
	if (!r->invite && r->interval > T2_MS)
		r->interval = T2_MS;
	r->next = c->now + r->interval;
	return true;
}

void request_again(struct crowd *c, struct request *r)
{
	if (r->live && !r->provisional)
		net_send(c, r->phone, &r->to, r->bytes.p, r->bytes.n);
}
