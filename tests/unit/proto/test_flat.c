/*
 * The short way for records' bodies against protobuf-c itself: same bytes, same fields.
 */
#include "proto/flat.h"
#include "proto/records.pb-c.h"
#include "tests/unit/unit.h"

#include <string.h>

enum { ROOM = 4096 };

static ProtobufCBinaryData text(const char *s)
{
	return (ProtobufCBinaryData){strlen(s), (uint8_t *)(uintptr_t)s};
}

static uint64_t next(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005u + 1442695040888963407u;
	return *seed >> 20;
}

/* About half of the numbers small, a third of all fields empty. */
static uint64_t number(uint64_t *seed)
{
	uint64_t kind = next(seed) % 3, v = next(seed) << 22 ^ next(seed);
	return kind == 0 ? 0 : kind == 1 ? v & 0xff : v >> 1;
}

static Eaves__Binding some_binding(uint64_t seed)
{
	static const char letters[] = "sip:u1@192.0.2.1:5060;transport=udp;ob;x=0123456789"
				      "0123456789012345678901234567890123456789012345678901234";
	Eaves__Binding b = EAVES__BINDING__INIT;
	ProtobufCBinaryData *const bytes[] = {&b.contact,  &b.params,	  &b.call_id, &b.path,
					      &b.instance, &b.user_agent, &b.remote};
	uint32_t *const small[] = {&b.cseq,	&b.q,	   &b.reg_id, &b.transport,
				   &b.listener, &b.worker, &b.scope};
	for (size_t i = 0; i < sizeof(bytes) / sizeof(bytes[0]); i++) {
		*bytes[i] = text(letters);
		bytes[i]->len = next(&seed) % 3 ? next(&seed) % sizeof(letters) : 0;
	}
	for (size_t i = 0; i < sizeof(small) / sizeof(small[0]); i++)
		*small[i] = (uint32_t)number(&seed);
	b.received_ms = number(&seed);
	b.conn = number(&seed);
	b.boot = number(&seed);
	b.nat = next(&seed) & 1;
	return b;
}

START_TEST(what_is_written_is_what_protobuf_c_writes)
{
	uint8_t ours[ROOM], theirs[ROOM];
	for (uint64_t i = 0; i < 2000; i++) {
		Eaves__Binding b = some_binding(i);
		size_t max = flat_pack_max(&b.base), n = flat_pack(&b.base, ours);
		ck_assert_uint_le(n, max);
		ck_assert_uint_le(max, ROOM);
		ck_assert_uint_eq(n, eaves__binding__pack(&b, theirs));
		ck_assert_mem_eq(ours, theirs, n);
	}
}
END_TEST

START_TEST(what_is_read_is_what_was_written_and_lies_in_the_body)
{
	uint8_t body[ROOM], again[ROOM];
	for (uint64_t i = 0; i < 2000; i++) {
		Eaves__Binding b = some_binding(i), r;
		size_t n = eaves__binding__pack(&b, body);
		ck_assert(flat_unpack(&eaves__binding__descriptor, body, n, &r.base));
		ck_assert_uint_eq(eaves__binding__pack(&r, again), n);
		ck_assert_mem_eq(body, again, n);
		if (r.contact.len)
			ck_assert(r.contact.data > body && r.contact.data < body + n);
	}
}
END_TEST

START_TEST(damaged_bodies_are_refused_or_read_as_protobuf_c_reads_them)
{
	uint8_t body[ROOM], again[ROOM], theirs[ROOM];
	unsigned taken = 0;
	for (uint64_t i = 0; i < 20000; i++) {
		uint64_t seed = i;
		Eaves__Binding b = some_binding(i % 50), r;
		size_t n = eaves__binding__pack(&b, body);
		body[next(&seed) % n] = (uint8_t)next(&seed);
		if (next(&seed) & 1)
			n = next(&seed) % (n + 1);
		if (!flat_unpack(&eaves__binding__descriptor, body, n, &r.base))
			continue;
		taken++;
		Eaves__Binding *p = eaves__binding__unpack(NULL, n, body);
		ck_assert_ptr_nonnull(p);
		size_t m = eaves__binding__pack(&r, again);
		ck_assert_uint_eq(m, eaves__binding__pack(p, theirs));
		ck_assert_mem_eq(again, theirs, m);
		eaves__binding__free_unpacked(p, NULL);
	}
	ck_assert_uint_gt(taken, 100);
}
END_TEST

START_TEST(fields_of_a_newer_version_are_left_to_protobuf_c)
{
	static const uint8_t newer[] = {0x0a, 1, 'c', 0xf2, 0x01, 1, 'x'}; /* 1: "c", 30: "x" */
	Eaves__Binding r;
	ck_assert(!flat_unpack(&eaves__binding__descriptor, newer, sizeof(newer), &r.base));
	Eaves__Binding *p = eaves__binding__unpack(NULL, sizeof(newer), newer);
	ck_assert_ptr_nonnull(p);
	ck_assert_uint_eq(flat_pack_max(&p->base), 0);
	eaves__binding__free_unpacked(p, NULL);
}
END_TEST

UNIT_MAIN("proto flat", what_is_written_is_what_protobuf_c_writes,
	  what_is_read_is_what_was_written_and_lies_in_the_body,
	  damaged_bodies_are_refused_or_read_as_protobuf_c_reads_them,
	  fields_of_a_newer_version_are_left_to_protobuf_c)
