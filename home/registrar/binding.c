/*
 * Bindings as records: from the table into the arena and back, and the flow inside (RFC 5626
 * section 6).  A body that cannot be read is passed over: it may come from a newer version.
 */
#include "home/registrar/reg_priv.h"

#include "proto/flat.h"

#include <errno.h>

static void *pb_alloc(void *arena, size_t n)
{
	return arena_alloc(arena, n);
}

static void pb_free(void *arena, void *p)
{
	(void)arena;
	(void)p;
}

/* Eight bytes at a time; the high bit of a byte tells, exactly. */
#define EACH(c) (0x0101010101010101u * (uint64_t)(c))

static uint64_t is_zero(uint64_t w)
{
	return ~((w & EACH(0x7f)) + EACH(0x7f)) & ~w & EACH(0x80);
}

/* Below c, which is at most 0x80. */
static uint64_t is_below(uint64_t w, unsigned c)
{
	return ~((w & EACH(0x7f)) + EACH(0x80 - c)) & ~w & EACH(0x80);
}

static uint64_t bad_in_uri(uint64_t w)
{
	return is_below(w, 0x21) | is_zero(w ^ EACH(0x7f)) | is_zero(w ^ EACH('<')) |
	       is_zero(w ^ EACH('>')) | is_zero(w ^ EACH('"'));
}

static uint64_t bad_in_line(uint64_t w)
{
	return (is_below(w, 0x20) & ~is_zero(w ^ EACH('\t'))) | is_zero(w ^ EACH(0x7f));
}

/* The last word is filled up with something that is sound. */
static bool all_sound(const void *p, size_t n, uint64_t (*bad)(uint64_t w))
{
	uint64_t w;
	for (; n >= 8; n -= 8, p = (const char *)p + 8) {
		memcpy(&w, p, 8);
		if (bad(w))
			return false;
	}
	w = EACH('x');
	if (n)
		memcpy(&w, p, n);
	return !bad(w);
}

bool reg_uri_sound(struct span s)
{
	return s.n > 0 && all_sound(s.p, s.n, bad_in_uri);
}

bool reg_instance_sound(struct span s)
{
	return s.n > 2 && s.n <= REG_INSTANCE_MAX_BYTES && s.p[0] == '<' &&
	       s.p[s.n - 1] == '>' && !memchr(s.p, '\\', s.n) &&
	       reg_uri_sound(span_of(s.p + 1, s.n - 2));
}

/* Fit for a header line. */
static bool line_sound(ProtobufCBinaryData d)
{
	return all_sound(d.data, d.len, bad_in_line);
}

/* A body is from the store or another node, and goes into requests and answers: no less is
 * asked of it than of a REGISTER. */
Eaves__Binding *reg_unpack(struct arena *a, struct span body)
{
	ProtobufCAllocator alloc = {pb_alloc, pb_free, a};
	const uint8_t *p = (const uint8_t *)body.p;
	Eaves__Binding *b = arena_alloc(a, sizeof(*b));

	if (b && !flat_unpack(&eaves__binding__descriptor, p, body.n, &b->base))
		b = eaves__binding__unpack(&alloc, body.n, p);
	if (!b || !reg_uri_sound(pb_span(b->contact)) || !line_sound(b->params) ||
	    !line_sound(b->path) || b->q > 1001 ||
	    (b->instance.len && !reg_instance_sound(pb_span(b->instance))))
		return NULL;
	return b;
}

uint64_t reg_tag(const struct reg *r, const struct bindings *s, const struct binding *b)
{
	const struct record rec = {.kind = RECORD_BINDING, .group = s->user, .name = b->name};
	return records_tag(r->records, &rec);
}

struct load {
	struct arena *arena;
	struct bindings *set;
	struct span body[2 * REG_CONTACTS_MAX];
};

/* Under the stripe's lock: a short copy. */
static bool copy_record(void *arg, const struct record *rec)
{
	struct load *l = arg;
	struct bindings *s = l->set;

	if (s->n == REG_CONTACTS_MAX)
		return false;
	l->body[s->n] = arena_dup(l->arena, rec->body);
	s->v[s->n] = (struct binding){
		.name = arena_dup(l->arena, rec->name),
		.expires_ms = rec->expires_ms,
	};
	s->n++;
	return true;
}

int reg_load(struct reg *r, struct span user, uint64_t wall_ms, struct bindings *ret)
{
	struct load l = {.arena = sip_arena(), .set = ret};
	unsigned kept = 0;

	ret->user = user;
	ret->n = 0;
	records_each(r->records, RECORD_BINDING, user, wall_ms, copy_record, &l, &ret->version);
	for (unsigned i = 0; i < ret->n && !l.arena->overflow; i++) {
		ret->v[kept] = ret->v[i];
		ret->v[kept].b = reg_unpack(l.arena, l.body[i]);
		if (ret->v[kept].b)
			kept++;
	}
	ret->n = kept;
	return l.arena->overflow ? -ENOMEM : 0;
}

static int make_record(const struct bindings *s, const struct binding *b, struct record *ret)
{
	*ret = (struct record){.kind = RECORD_BINDING, .group = s->user, .name = b->name};
	if (b->change == REG_REMOVE) {
		ret->deleted = true;
		return 0;
	}
	size_t max = flat_pack_max(&b->b->base);
	size_t n = max ? max : eaves__binding__get_packed_size(b->b);
	uint8_t *p = arena_alloc(sip_arena(), n);
	if (!p)
		return -ENOMEM;
	n = max ? flat_pack(&b->b->base, p) : eaves__binding__pack(b->b, p);
	ret->body = span_of((const char *)p, n);
	ret->expires_ms = b->expires_ms;
	return 0;
}

int reg_store(struct reg *r, struct bindings *s, uint64_t wall_ms,
	      void (*done)(void *arg, int error), void *arg, unsigned *ret_n)
{
	struct record v[2 * REG_CONTACTS_MAX];
	unsigned n = 0;

	for (unsigned i = 0; i < s->n; i++) {
		const struct binding *b = &s->v[i];
		if (b->change == REG_KEEP || (b->change == REG_REMOVE && b->fresh))
			continue;
		if (make_record(s, b, &v[n]) < 0)
			return -ENOMEM;
		n++;
	}
	*ret_n = n;
	if (n == 0)
		return 0;
	return records_put(r->records, v, n, &s->version, wall_ms, done, arg);
}

bool reg_uri_same(const struct sip_uri *uri, const Eaves__Binding *b)
{
	struct sip_uri other;
	struct span text = pb_span(b->contact);

	if (span_eq(uri->raw, text))
		return true;
	if (uri->scheme != SIP_SCHEME_SIP && uri->scheme != SIP_SCHEME_SIPS)
		return false;
	return sip_uri_parse(text, &other) == 0 && sip_uri_equal(uri, &other);
}

bool reg_flow_get(const Eaves__Binding *b, struct sip_flow *ret)
{
	const uint8_t *p = b->remote.data;

	*ret = (struct sip_flow){.transport = SIP_TRANSPORT_NONE};
	if (b->transport == 0 || b->transport > SIP_TRANSPORT_WSS ||
	    (b->remote.len != 6 && b->remote.len != 18))
		return false;
	ret->transport = b->transport;
	ret->listener = (uint16_t)b->listener;
	ret->worker = (uint16_t)b->worker;
	ret->conn = b->conn;
	if (b->remote.len == 6) {
		ret->remote.in4.sin_family = AF_INET;
		memcpy(&ret->remote.in4.sin_addr, p, 4);
		memcpy(&ret->remote.in4.sin_port, p + 4, 2);
	} else {
		ret->remote.in6.sin6_family = AF_INET6;
		memcpy(&ret->remote.in6.sin6_addr, p, 16);
		memcpy(&ret->remote.in6.sin6_port, p + 16, 2);
		ret->remote.in6.sin6_scope_id = b->scope;
	}
	return true;
}

void reg_flow_set(struct reg *r, Eaves__Binding *b, const struct sip_flow *f,
		  uint8_t remote[18])
{
	b->transport = f->transport;
	b->listener = f->listener;
	b->worker = f->worker;
	b->conn = f->conn;
	b->boot = f->conn ? r->boot : 0;
	b->remote.data = remote;
	if (f->remote.sa.sa_family == AF_INET6) {
		memcpy(remote, &f->remote.in6.sin6_addr, 16);
		memcpy(remote + 16, &f->remote.in6.sin6_port, 2);
		b->remote.len = 18;
		b->scope = f->remote.in6.sin6_scope_id;
	} else {
		memcpy(remote, &f->remote.in4.sin_addr, 4);
		memcpy(remote + 4, &f->remote.in4.sin_port, 2);
		b->remote.len = 6;
	}
}

bool reg_flow_usable(const struct reg *r, const Eaves__Binding *b, const struct sip_flow *f)
{
	if (f->conn == 0 || b->boot != r->boot)
		return false;
	return !r->ops.flow_alive || r->ops.flow_alive(r->ops.arg, f);
}

enum reg_elsewhere reg_flow_elsewhere(const struct reg *r, const Eaves__Binding *b,
				      const struct sip_flow *f)
{
	if (f->conn == 0 || !r->ops.flow_elsewhere)
		return REG_LOST;
	return r->ops.flow_elsewhere(r->ops.arg, f, b->boot);
}
