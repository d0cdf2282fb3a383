/*
 * From a user or GRUU to targets: RFC 3261 16.5, RFC 5626 section 7 (one flow of an instance at
 * a time), RFC 5627 section 5.  Which way leads to a phone is decided here: its flow, its Path,
 * or the address in its contact.
 */
#include "home/registrar/reg_priv.h"

#include <errno.h>

/* 19.1.1: neither headers nor a method parameter in a Request-URI.  Spans into text, or a copy
 * without them in the arena. */
static struct span request_uri(struct span text)
{
	struct sip_uri u;
	const char *q = memchr(text.p, '?', text.n);

	if (!memmem(text.p, text.n, ";method=", 8) && !q)
		return text;
	if (sip_uri_parse(text, &u) < 0)
		return text;
	if (u.headers.p)
		text.n = (size_t)(u.headers.p - 1 - text.p);
	const struct sip_param *m = sip_uri_param(&u, SPAN("method"));
	if (!m || m->name.p < text.p || m->name.p > text.p + text.n)
		return text;
	size_t before = (size_t)(m->name.p - 1 - text.p);
	size_t after = before + 1 + m->name.n + (m->value.p ? 1 + m->value.n : 0);
	return arena_printf(sip_arena(), "%.*s%.*s", (int)before, text.p, (int)(text.n - after),
			    text.p + after);
}

/* How the phone is reached; false when it cannot be (an outbound flow that is gone). */
static bool choose_way(const struct reg *r, const Eaves__Binding *b, struct reg_target *t)
{
	struct sip_flow f;

	t->has_flow = false;
	t->route = pb_span(b->path);
	if (b->path.len || !reg_flow_get(b, &f))
		return true;
	if (sip_transport_reliable(f.transport)) {
		t->has_flow = reg_flow_usable(r, b, &f);
		if (!t->has_flow)
			return b->reg_id == 0;
	} else {
		t->has_flow = b->nat;
	}
	if (t->has_flow)
		t->flow = f;
	return true;
}

/* Is b of the GRUU's instance?  *alive: the temporary one's Call-ID is still in force. */
static bool of_gruu(const struct reg *r, const struct reg_gruu *g, const Eaves__Binding *b,
		    bool *alive)
{
	if (b->instance.len == 0 || reg_instance_hash(r, pb_span(b->instance)) != g->instance)
		return false;
	*alive |= !g->temporary || reg_call_id_hash(r, pb_span(b->call_id)) == g->call_id;
	return true;
}

/* A target with the same instance as b that excludes it (both outbound, or for a GRUU). */
static struct reg_target *rival(struct reg_target *v, unsigned n, const Eaves__Binding *b,
				bool gruu)
{
	if (!gruu && b->reg_id == 0)
		return NULL;
	for (unsigned i = 0; i < n; i++)
		if ((gruu || v[i].reg_id) && span_ieq(v[i].instance, pb_span(b->instance)))
			return &v[i];
	return NULL;
}

static bool is_sip(struct span uri)
{
	return span_istarts(uri, SPAN("sip:")) || span_istarts(uri, SPAN("sips:"));
}

/* Stable, highest q first. */
static void sort_by_q(struct reg_target *v, unsigned n)
{
	for (unsigned i = 1; i < n; i++) {
		struct reg_target t = v[i];
		unsigned j = i;
		for (; j > 0 && v[j - 1].q < t.q; j--)
			v[j] = v[j - 1];
		v[j] = t;
	}
}

int reg_lookup(struct reg *r, struct span user, const struct reg_gruu *gruu, uint64_t wall_ms,
	       struct reg_target *v, unsigned max, unsigned *ret_bindings)
{
	struct bindings s;
	uint64_t received[2 * REG_CONTACTS_MAX];
	unsigned n = 0;
	bool alive = !gruu || !gruu->temporary;

	int rc = reg_load(r, user, wall_ms, &s);
	if (rc < 0)
		return rc;
	if (ret_bindings)
		*ret_bindings = s.n;
	for (unsigned i = 0; i < s.n; i++) {
		const Eaves__Binding *b = s.v[i].b;
		struct reg_target t;

		if ((gruu && !of_gruu(r, gruu, b, &alive)) || !is_sip(pb_span(b->contact)) ||
		    !choose_way(r, b, &t))
			continue;
		t.uri = request_uri(pb_span(b->contact));
		t.q = b->q ? (uint16_t)(b->q - 1) : 1000;
		t.instance = pb_span(b->instance);
		t.reg_id = b->reg_id;
		t.tag = reg_tag(r, &s, &s.v[i]);
		struct reg_target *other = rival(v, n, b, gruu != NULL);
		if (!other && n == max)
			continue;
		if (other && received[other - v] >= b->received_ms)
			continue;
		unsigned at = other ? (unsigned)(other - v) : n++;
		v[at] = t;
		received[at] = b->received_ms;
	}
	if (sip_arena()->overflow)
		return -ENOMEM;
	sort_by_q(v, n);
	return alive ? (int)n : -ENOENT;
}
