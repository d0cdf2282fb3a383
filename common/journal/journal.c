/*
 * Forks to bytes and back, by protobuf-c.  A body comes from another node: what does not make
 * sense is refused as a whole.  Not here: where records are kept, and when (the role).
 */
#include "common/journal/journal.h"

#include "proto/records.pb-c.h"

#include <errno.h>
#include <stdlib.h>

enum {
	BRANCHES_MAX = 256,
	/* Further ahead than any timer of a call: a clock is wrong, or somebody lies. */
	AHEAD_MAX_MS = 24 * 3600 * 1000,
};

static void *pb_alloc(void *arena, size_t n)
{
	return arena_alloc(arena, n);
}

static void pb_free(void *arena, void *p)
{
	(void)arena;
	(void)p;
}

static ProtobufCBinaryData pb_bytes(struct span s)
{
	return (ProtobufCBinaryData){s.n, (uint8_t *)(uintptr_t)s.p};
}

/* ---- times ---- */

static uint64_t due(uint32_t left_ms, uint64_t wall_ms)
{
	return left_ms ? wall_ms + left_ms : 0;
}

static uint32_t left(uint64_t due_ms, uint64_t wall_ms)
{
	if (!due_ms)
		return 0;
	if (due_ms <= wall_ms)
		return 1;
	return due_ms - wall_ms > AHEAD_MAX_MS ? AHEAD_MAX_MS : (uint32_t)(due_ms - wall_ms);
}

/* ---- flows ---- */

struct packed_flow {
	Eaves__ForkFlow m;
	uint8_t remote[18];
};

static void pack_flow(const struct sip_flow *f, struct packed_flow *ret)
{
	Eaves__ForkFlow *m = &ret->m;
	eaves__fork_flow__init(m);
	m->transport = f->transport;
	m->listener = f->listener;
	m->node = f->node;
	m->leg = f->leg;
	m->remote.data = ret->remote;
	if (f->remote.sa.sa_family == AF_INET6) {
		memcpy(ret->remote, &f->remote.in6.sin6_addr, 16);
		memcpy(ret->remote + 16, &f->remote.in6.sin6_port, 2);
		m->remote.len = 18;
		m->scope = f->remote.in6.sin6_scope_id;
	} else if (f->remote.sa.sa_family == AF_INET) {
		memcpy(ret->remote, &f->remote.in4.sin_addr, 4);
		memcpy(ret->remote + 4, &f->remote.in4.sin_port, 2);
		m->remote.len = 6;
	}
}

static bool unpack_remote(const Eaves__ForkFlow *m, struct addr *ret)
{
	const uint8_t *p = m->remote.data;
	switch (m->remote.len) {
	case 6:
		ret->in4.sin_family = AF_INET;
		memcpy(&ret->in4.sin_addr, p, 4);
		memcpy(&ret->in4.sin_port, p + 4, 2);
		return true;
	case 18:
		ret->in6.sin6_family = AF_INET6;
		memcpy(&ret->in6.sin6_addr, p, 16);
		memcpy(&ret->in6.sin6_port, p + 16, 2);
		ret->in6.sin6_scope_id = m->scope;
		return true;
	case 0: /* a node is name enough */
		return m->node != 0;
	default:
		return false;
	}
}

static bool unpack_flow(const Eaves__ForkFlow *m, struct sip_flow *ret)
{
	*ret = (struct sip_flow){.transport = SIP_TRANSPORT_NONE};
	if (!m)
		return true;
	if (m->transport == SIP_TRANSPORT_NONE || m->transport > SIP_TRANSPORT_WSS ||
	    m->leg > SIP_TRANSPORT_WSS || m->listener > UINT16_MAX || m->node > UINT16_MAX)
		return false;
	ret->transport = (enum sip_transport)m->transport;
	ret->listener = (uint16_t)m->listener;
	ret->node = (uint16_t)m->node;
	ret->leg = (enum sip_transport)m->leg;
	return unpack_remote(m, &ret->remote);
}

/* ---- to bytes ---- */

struct packed_branch {
	Eaves__ForkBranch m;
	struct packed_flow flow;
};

static void pack_branch(const struct proxy_fork_branch *b, uint64_t wall_ms,
			struct packed_branch *ret)
{
	Eaves__ForkBranch *m = &ret->m;
	eaves__fork_branch__init(m);
	m->uri = pb_bytes(b->uri);
	m->route = pb_bytes(b->route);
	m->record_user = pb_bytes(b->record_user);
	m->branch = pb_bytes(b->branch);
	m->response = pb_bytes(b->response);
	m->challenge = pb_bytes(b->challenge);
	m->tag = b->tag;
	m->attempt = b->attempt;
	m->breadth = b->breadth;
	m->timer_c_ms = due(b->timer_c_ms, wall_ms);
	m->q = b->q;
	m->state = b->state;
	m->has_flow = b->has_flow;
	m->strict = b->strict;
	m->cancelled = b->cancelled;
	if (b->flow.transport == SIP_TRANSPORT_NONE)
		return;
	pack_flow(&b->flow, &ret->flow);
	m->flow = &ret->flow.m;
}

static struct bytes *pack(const struct proxy_fork *f, uint64_t wall_ms,
			  Eaves__ForkBranch **branches)
{
	Eaves__Fork m = EAVES__FORK__INIT;
	struct packed_flow src;
	pack_flow(&f->src, &src);
	m.key = f->key;
	m.request = pb_bytes(f->request);
	m.src = &src.m;
	m.lines = pb_bytes(f->lines);
	m.record_user = pb_bytes(f->record_user);
	m.path = pb_bytes(f->path);
	m.via_flow = pb_bytes(f->via_flow);
	m.strip = f->strip;
	m.strip_responses = f->strip_responses;
	m.no_record_route = f->no_record_route;
	m.cancelled = f->cancelled;
	m.partial = f->partial;
	m.cancel_lines = pb_bytes(f->cancel_lines);
	m.best = pb_bytes(f->best);
	m.best_status = f->best_status;
	m.final = f->final;
	m.serial_ms = due(f->serial_ms, wall_ms);
	m.n_branches = f->n;
	m.branches = branches;
	struct bytes *out = bytes_new(eaves__fork__get_packed_size(&m));
	if (out)
		eaves__fork__pack(&m, (uint8_t *)out->p);
	return out;
}

struct bytes *journal_pack(const struct proxy_fork *f, uint64_t wall_ms)
{
	struct packed_branch *v = calloc(f->n, sizeof(*v));
	Eaves__ForkBranch **at = calloc(f->n, sizeof(*at));
	struct bytes *out = NULL;
	if (v && at) {
		for (unsigned i = 0; i < f->n; i++) {
			pack_branch(&f->v[i], wall_ms, &v[i]);
			at[i] = &v[i].m;
		}
		out = pack(f, wall_ms, at);
	}
	free(at);
	free(v);
	return out;
}

/* ---- and back ---- */

static struct span pb_span(ProtobufCBinaryData d)
{
	return span_of(d.len ? (const char *)d.data : NULL, d.len);
}

/* Fit for a header line: it will be in one. */
static bool is_line(ProtobufCBinaryData d)
{
	for (size_t i = 0; i < d.len; i++)
		if ((d.data[i] < ' ' && d.data[i] != '\t') || d.data[i] == 0x7f)
			return false;
	return true;
}

/* Whole lines, each with its end. */
static bool is_lines(ProtobufCBinaryData d)
{
	const char *p = (const char *)d.data, *end = p + d.len;
	while (p < end) {
		const char *nl = memmem(p, (size_t)(end - p), "\r\n", 2);
		if (!nl || nl == p ||
		    !is_line((ProtobufCBinaryData){(size_t)(nl - p), (uint8_t *)(uintptr_t)p}))
			return false;
		p = nl + 2;
	}
	return true;
}

static bool unpack_branch(const Eaves__ForkBranch *m, uint64_t wall_ms,
			  struct proxy_fork_branch *ret)
{
	*ret = (struct proxy_fork_branch){
		.uri = pb_span(m->uri),
		.route = pb_span(m->route),
		.record_user = pb_span(m->record_user),
		.branch = pb_span(m->branch),
		.response = pb_span(m->response),
		.challenge = pb_span(m->challenge),
		.tag = m->tag,
		.attempt = m->attempt,
		.breadth = m->breadth,
		.timer_c_ms = left(m->timer_c_ms, wall_ms),
		.q = (uint16_t)m->q,
		.state = (uint8_t)m->state,
		.has_flow = m->has_flow,
		.strict = m->strict,
		.cancelled = m->cancelled,
	};
	return m->state <= PROXY_FORK_DONE && m->q <= 1000 && m->uri.len && is_line(m->uri) &&
	       is_line(m->route) && is_line(m->record_user) && is_line(m->branch) &&
	       (m->flow || !m->has_flow) && unpack_flow(m->flow, &ret->flow);
}

static bool is_sound(const Eaves__Fork *m)
{
	return m->src && m->n_branches > 0 && m->n_branches <= BRANCHES_MAX &&
	       is_lines(m->lines) && is_lines(m->cancel_lines) && is_line(m->record_user) &&
	       is_line(m->path) && is_line(m->via_flow) && m->best_status < 700 &&
	       (m->final == 0 || (m->final >= 200 && m->final < 300));
}

int journal_unpack(struct span body, uint64_t wall_ms, struct arena *a, struct proxy_fork *ret)
{
	ProtobufCAllocator alloc = {pb_alloc, pb_free, a};
	bool overflow = a->overflow;
	const Eaves__Fork *m = eaves__fork__unpack(&alloc, body.n, (const uint8_t *)body.p);
	if (!m)
		return a->overflow && !overflow ? -ENOMEM : -EBADMSG;
	if (!is_sound(m))
		return -EBADMSG;
	*ret = (struct proxy_fork){
		.key = m->key,
		.request = pb_span(m->request),
		.lines = pb_span(m->lines),
		.record_user = pb_span(m->record_user),
		.path = pb_span(m->path),
		.via_flow = pb_span(m->via_flow),
		.strip = m->strip,
		.strip_responses = m->strip_responses,
		.no_record_route = m->no_record_route,
		.cancelled = m->cancelled,
		.partial = m->partial,
		.cancel_lines = pb_span(m->cancel_lines),
		.best = pb_span(m->best),
		.best_status = (uint16_t)m->best_status,
		.final = (uint16_t)m->final,
		.serial_ms = left(m->serial_ms, wall_ms),
		.n = (unsigned)m->n_branches,
		.v = arena_alloc(a, m->n_branches * sizeof(*ret->v)),
	};
	if (!ret->v)
		return -ENOMEM;
	if (!unpack_flow(m->src, &ret->src))
		return -EBADMSG;
	for (unsigned i = 0; i < ret->n; i++)
		if (!unpack_branch(m->branches[i], wall_ms, &ret->v[i]))
			return -EBADMSG;
	return 0;
}
