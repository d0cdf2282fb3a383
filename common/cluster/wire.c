/*
 * Messages as bytes (proto/cluster.proto): envelopes by protobuf-c, out of an arena, so that
 * what a message can make us allocate has a limit; rows by proto/flat, in place.
 */
#include "common/cluster/cluster_priv.h"

#include "common/bus/bus.h"
#include "proto/flat.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>

/* ---- numbers ---- */

void put_u64(uint8_t *to, uint64_t v)
{
	v = htole64(v);
	memcpy(to, &v, sizeof(v));
}

uint64_t get_u64(const uint8_t *from)
{
	uint64_t v;
	memcpy(&v, from, sizeof(v));
	return le64toh(v);
}

void put_u32(uint8_t *to, uint32_t v)
{
	v = htole32(v);
	memcpy(to, &v, sizeof(v));
}

uint32_t get_u32(const uint8_t *from)
{
	uint32_t v;
	memcpy(&v, from, sizeof(v));
	return le32toh(v);
}

uint8_t *buffer_room(struct buffer *b, size_t n)
{
	size_t room = b->room ? b->room : 4096;

	while (room - b->n < n)
		room *= 2;
	if (room != b->room) {
		uint8_t *p = realloc(b->p, room);
		if (!p)
			return NULL;
		b->p = p;
		b->room = room;
	}
	return b->p + b->n;
}

/* ---- rows ---- */

struct store_row row_of(const struct record *rec)
{
	return (struct store_row){
		.kind = rec->kind,
		.deleted = rec->deleted,
		.group = rec->group,
		.name = rec->name,
		.body = rec->body,
		.hlc = rec->version.hlc,
		.node = rec->version.node,
		.expires_ms = rec->expires_ms,
	};
}

static size_t varint_bytes(uint64_t v)
{
	return v ? (64 - (unsigned)__builtin_clzll(v) + 6) / 7 : 0;
}

static size_t field_bytes(struct span s)
{
	return s.n ? 1 + varint_bytes(s.n) + s.n : 0;
}

static size_t number_bytes(uint64_t v)
{
	return v ? 1 + varint_bytes(v) : 0;
}

/* What row_write writes. */
size_t row_bytes(const struct store_row *row)
{
	return number_bytes(row->kind) + number_bytes(row->deleted) + field_bytes(row->group) +
	       field_bytes(row->name) + field_bytes(row->body) + number_bytes(row->expires_ms) +
	       number_bytes(row->node) + (row->hlc ? 9 : 0);
}

static ProtobufCBinaryData data_of(struct span s)
{
	return (ProtobufCBinaryData){s.n, (uint8_t *)(uintptr_t)s.p};
}

size_t row_write(const struct store_row *row, uint8_t *out)
{
	Eaves__Row m = EAVES__ROW__INIT;

	m.kind = row->kind;
	m.deleted = row->deleted;
	m.group = data_of(row->group);
	m.name = data_of(row->name);
	m.body = data_of(row->body);
	m.expires_ms = row->expires_ms;
	m.node = row->node;
	m.hlc = row->hlc;
	return flat_pack(&m.base, out);
}

static void *take(void *arena, size_t n)
{
	return arena_alloc(arena, n);
}

static void give_back(void *arena, void *p)
{
	(void)arena;
	(void)p;
}

static ProtobufCAllocator allocator_of(struct cluster *c)
{
	return (ProtobufCAllocator){take, give_back, &c->arena};
}

static struct span span_of_data(ProtobufCBinaryData d)
{
	return span_of((const char *)d.data, d.len);
}

/* From a newer node: fields that we do not know are left to protobuf-c. */
static bool row_read_slowly(struct cluster *c, ProtobufCBinaryData d, Eaves__Row *ret)
{
	ProtobufCAllocator a = allocator_of(c);
	Eaves__Row *m = eaves__row__unpack(&a, d.len, d.data);

	if (m)
		*ret = *m;
	return m != NULL;
}

bool row_read(struct cluster *c, ProtobufCBinaryData d, struct store_row *ret)
{
	Eaves__Row m;

	if (!flat_unpack(&eaves__row__descriptor, d.data, d.len, &m.base) &&
	    !row_read_slowly(c, d, &m))
		return false;
	*ret = (struct store_row){
		.kind = m.kind > UINT8_MAX ? UINT8_MAX : (uint8_t)m.kind,
		.deleted = m.deleted,
		.group = span_of_data(m.group),
		.name = span_of_data(m.name),
		.body = span_of_data(m.body),
		.hlc = m.hlc,
		.node = m.node,
		.expires_ms = m.expires_ms,
	};
	return true;
}

/* ---- envelopes ---- */

Eaves__Envelope *wire_read(struct cluster *c, struct span bytes)
{
	ProtobufCAllocator a = allocator_of(c);

	arena_reset(&c->arena);
	if (bytes.n > BUS_MESSAGE_MAX_BYTES)
		return NULL;
	Eaves__Envelope *e = eaves__envelope__unpack(&a, bytes.n, (const uint8_t *)bytes.p);
	return e && !c->arena.overflow && e->version && e->oldest && e->boot ? e : NULL;
}

bool wire_speaks(unsigned version, unsigned oldest)
{
	return version >= WIRE_OLDEST && oldest <= WIRE_VERSION && oldest <= version;
}

int wire_send(struct peer *p, Eaves__Envelope *e)
{
	struct cluster *c = p->c;
	Eaves__Ack ack = EAVES__ACK__INIT;

	e->version = WIRE_VERSION;
	e->oldest = WIRE_OLDEST;
	e->boot = c->conf.boot;
	e->peer_boot = p->boot;
	e->ack = receive_ack(p, &ack) ? &ack : NULL;
	size_t n = eaves__envelope__get_packed_size(e);
	if (n > BUS_MESSAGE_MAX_BYTES)
		return -EMSGSIZE;
	c->out.n = 0;
	uint8_t *to = buffer_room(&c->out, n);
	if (!to)
		return -ENOMEM;
	n = eaves__envelope__pack(e, to);
	if (e->ack)
		p->in.ack_due = false;
	int rc = c->ops.send(c->ops.arg, p->index, span_of((const char *)to, n));
	if (rc < 0 && e->ack)
		p->in.ack_due = true;
	return rc;
}
