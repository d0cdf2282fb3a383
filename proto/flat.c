/*
 * The protobuf wire format (varint, 64 bits, length-delimited) of flat messages; see flat.h.
 */
#include "proto/flat.h"

#include <string.h>

enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2 };

/* The longest tag and varint. */
enum { TAG_MAX = 5, VARINT_MAX = 10 };

static const uint8_t *get_varint(const uint8_t *p, const uint8_t *e, uint64_t *ret)
{
	uint64_t v = 0;
	for (unsigned shift = 0; p < e && shift < 63; shift += 7) {
		v |= (uint64_t)(*p & 0x7f) << shift;
		if (*p++ < 0x80) {
			*ret = v;
			return p;
		}
	}
	return NULL; /* cut, or beyond 63 bits: not for us */
}

/* Ids are given out in order from 1: a field lies where its id says, or is not taken. */
static const ProtobufCFieldDescriptor *field_of(const ProtobufCMessageDescriptor *d,
						uint64_t id)
{
	if (id == 0 || id > d->n_fields || d->fields[id - 1].id != id ||
	    d->fields[id - 1].label != PROTOBUF_C_LABEL_NONE)
		return NULL;
	return &d->fields[id - 1];
}

static const uint8_t *get_number(const ProtobufCFieldDescriptor *f, const uint8_t *p,
				 const uint8_t *e, void *to)
{
	uint64_t v;
	p = get_varint(p, e, &v);
	if (!p)
		return NULL;
	if (f->type == PROTOBUF_C_TYPE_UINT32)
		*(uint32_t *)to = (uint32_t)v;
	else if (f->type == PROTOBUF_C_TYPE_UINT64)
		*(uint64_t *)to = v;
	else if (f->type == PROTOBUF_C_TYPE_BOOL)
		*(protobuf_c_boolean *)to = v != 0;
	else
		return NULL;
	return p;
}

static const uint8_t *get_field(const ProtobufCFieldDescriptor *f, unsigned wire,
				const uint8_t *p, const uint8_t *e, void *to)
{
	uint64_t v;
	if (wire == WIRE_VARINT)
		return get_number(f, p, e, to);
	if (wire == WIRE_BYTES && f->type == PROTOBUF_C_TYPE_BYTES) {
		p = get_varint(p, e, &v);
		if (!p || v > (size_t)(e - p))
			return NULL;
		*(ProtobufCBinaryData *)to = (ProtobufCBinaryData){v, (uint8_t *)(uintptr_t)p};
		return p + v;
	}
	if (wire == WIRE_64 && f->type == PROTOBUF_C_TYPE_FIXED64 && e - p >= 8) {
		v = 0;
		for (unsigned i = 0; i < 8; i++)
			v |= (uint64_t)p[i] << (8 * i);
		*(uint64_t *)to = v;
		return p + 8;
	}
	return NULL;
}

bool flat_unpack(const ProtobufCMessageDescriptor *d, const uint8_t *p, size_t n,
		 ProtobufCMessage *m)
{
	const uint8_t *e = p + n;
	d->message_init(m);
	while (p < e) {
		uint64_t tag;
		p = get_varint(p, e, &tag);
		const ProtobufCFieldDescriptor *f = p ? field_of(d, tag >> 3) : NULL;
		if (!f)
			return false;
		p = get_field(f, tag & 7, p, e, (char *)m + f->offset);
		if (!p)
			return false;
	}
	return true;
}

size_t flat_pack_max(const ProtobufCMessage *m)
{
	const ProtobufCMessageDescriptor *d = m->descriptor;
	size_t n = d->n_fields * (size_t)(TAG_MAX + VARINT_MAX);
	if (m->n_unknown_fields)
		return 0;
	for (unsigned i = 0; i < d->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &d->fields[i];
		if (f->label != PROTOBUF_C_LABEL_NONE)
			return 0;
		if (f->type == PROTOBUF_C_TYPE_BYTES)
			n += ((const ProtobufCBinaryData *)((const char *)m + f->offset))->len;
		else if (f->type != PROTOBUF_C_TYPE_UINT32 &&
			 f->type != PROTOBUF_C_TYPE_UINT64 &&
			 f->type != PROTOBUF_C_TYPE_FIXED64 && f->type != PROTOBUF_C_TYPE_BOOL)
			return 0;
	}
	return n;
}

static uint8_t *put_varint(uint8_t *p, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		*p++ = (uint8_t)v | 0x80;
	*p++ = (uint8_t)v;
	return p;
}

static uint8_t *put_bytes(uint8_t *p, uint32_t id, const ProtobufCBinaryData *v)
{
	if (v->len == 0)
		return p;
	p = put_varint(put_varint(p, id << 3 | WIRE_BYTES), v->len);
	memcpy(p, v->data, v->len);
	return p + v->len;
}

static uint8_t *put_fixed(uint8_t *p, uint32_t id, uint64_t v)
{
	if (v == 0)
		return p;
	p = put_varint(p, id << 3 | WIRE_64);
	for (unsigned i = 0; i < 8; i++)
		*p++ = (uint8_t)(v >> (8 * i));
	return p;
}

static uint8_t *put_number(uint8_t *p, uint32_t id, uint64_t v)
{
	return v ? put_varint(put_varint(p, id << 3 | WIRE_VARINT), v) : p;
}

size_t flat_pack(const ProtobufCMessage *m, uint8_t *out)
{
	const ProtobufCMessageDescriptor *d = m->descriptor;
	uint8_t *p = out;
	for (unsigned i = 0; i < d->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &d->fields[i];
		const void *v = (const char *)m + f->offset;
		if (f->type == PROTOBUF_C_TYPE_BYTES)
			p = put_bytes(p, f->id, v);
		else if (f->type == PROTOBUF_C_TYPE_UINT32)
			p = put_number(p, f->id, *(const uint32_t *)v);
		else if (f->type == PROTOBUF_C_TYPE_UINT64)
			p = put_number(p, f->id, *(const uint64_t *)v);
		else if (f->type == PROTOBUF_C_TYPE_BOOL)
			p = put_number(p, f->id, *(const protobuf_c_boolean *)v != 0);
		else
			p = put_fixed(p, f->id, *(const uint64_t *)v);
	}
	return (size_t)(p - out);
}
