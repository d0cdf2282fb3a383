/*
 * Phones of other processes' connections are found little by little, however many there are.
 */
#include "common/phones/phones.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { MANY = 20000, AT_ONCE_MAX = 300 };

static struct records *records;
static struct phones *phones;
static unsigned asked;

/* Every second one is somebody else's. */
static bool way(void *arg, const Eaves__Binding *b, struct phone_way *ret)
{
	(void)arg;
	asked++;
	char text[16] = {0};
	memcpy(text, b->contact.data, b->contact.len);
	unsigned long n = strtoul(text, NULL, 10);
	*ret = (struct phone_way){.flow = {.transport = SIP_TRANSPORT_TCP, .conn = n},
				  .rc = n % 2 ? -ESTALE : 0,
				  .id = n,
				  .node = -1};
	return true;
}

/* Numbers of connections of before, each eight bytes. */
static unsigned past(void *arg, const Eaves__Binding *b, uint64_t ret_id[PHONES_PAST])
{
	(void)arg;
	if (b->past_conns.len)
		memcpy(ret_id, b->past_conns.data, b->past_conns.len);
	return (unsigned)(b->past_conns.len / 8);
}

static void bind_phones(unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++) {
		char user[16];
		uint8_t body[64];
		size_t n = (size_t)snprintf(user, sizeof(user), "%u", i);
		Eaves__Binding b = EAVES__BINDING__INIT;
		b.contact = (ProtobufCBinaryData){n, (uint8_t *)user};
		size_t size = eaves__binding__pack(&b, body);
		const struct record v = {.kind = RECORD_BINDING,
					 .group = span_of(user, n),
					 .name = SPAN("phone"),
					 .body = span_of((const char *)body, size)};
		ck_assert_int_eq(records_put(records, &v, 1, NULL, time_wall_ms(), NULL, NULL),
				 0);
	}
}

static void start(void)
{
	const struct phones_ops ops = {.way = way, .past = past};
	records = records_new(NULL, 1, 2 * MANY, NULL);
	phones = phones_new(&ops, records, NULL);
	bind_phones(1, MANY + 1);
}

static void stop(void)
{
	phones_free(phones);
	records_free(records);
}

/* Found are marked in `seen`; how many calls it took.  half: called once, on the way. */
static unsigned walk(uint8_t *seen, unsigned max, void (*half)(void))
{
	struct records_place at = {0};
	struct sip_flow v[512];
	unsigned calls = 0, n = 0;
	bool more = true;
	while (more) {
		asked = 0;
		more = phones_of_others(phones, &at, v, &n, max);
		ck_assert_uint_le(asked, AT_ONCE_MAX);
		ck_assert_uint_le(n, max);
		if (++calls == 40 && half)
			half();
		if (more && n < max)
			continue;
		for (unsigned i = 0; i < n; i++)
			seen[v[i].conn]++;
		n = 0;
	}
	return calls;
}

START_TEST(all_are_found_and_no_step_reads_many)
{
	static uint8_t seen[2 * MANY + 1];
	memset(seen, 0, sizeof(seen));
	start();
	ck_assert_uint_ge(walk(seen, 20, NULL), MANY / AT_ONCE_MAX);
	for (unsigned i = 1; i <= MANY; i++)
		ck_assert_uint_eq(seen[i], i % 2);
	stop();
}
END_TEST

START_TEST(a_step_ends_in_the_middle_of_a_chain_and_goes_on_there)
{
	static uint8_t seen[2 * MANY + 1];
	memset(seen, 0, sizeof(seen));
	start();
	walk(seen, 1, NULL);
	for (unsigned i = 1; i <= MANY; i++)
		ck_assert_uint_eq(seen[i], i % 2);
	stop();
}
END_TEST

static void as_many_again(void)
{
	bind_phones(MANY + 1, 2 * MANY);
}

START_TEST(who_was_there_is_found_although_the_table_grows)
{
	static uint8_t seen[2 * MANY + 1];
	memset(seen, 0, sizeof(seen));
	start();
	walk(seen, 20, as_many_again);
	for (unsigned i = 1; i <= MANY; i++)
		if (i % 2)
			ck_assert_uint_ge(seen[i], 1);
	stop();
}
END_TEST

static void bind_with_past(uint64_t id, const uint64_t *before, size_t n)
{
	char user[16];
	uint8_t body[128];
	size_t len = (size_t)snprintf(user, sizeof(user), "%lu", (unsigned long)id);
	Eaves__Binding b = EAVES__BINDING__INIT;
	b.contact = (ProtobufCBinaryData){len, (uint8_t *)user};
	b.past_conns = (ProtobufCBinaryData){8 * n, (uint8_t *)(uintptr_t)before};
	const struct record v = {
		.kind = RECORD_BINDING,
		.group = span_of(user, len),
		.name = SPAN("phone"),
		.body = span_of((const char *)body, eaves__binding__pack(&b, body))};
	ck_assert_int_eq(records_put(records, &v, 1, NULL, time_wall_ms(), NULL, NULL), 0);
}

/* Connection k of phone n; those of one phone are in one set of the table. */
static uint64_t conn_of(uint64_t n, uint64_t k)
{
	return n << 32 | (k + 1);
}

/* As at a node that starts: it gets the records, and has seen none of those connections. */
START_TEST(a_phone_is_found_by_connections_that_it_had_before)
{
	const uint64_t before[] = {conn_of(9, 1), conn_of(9, 0)};
	struct sip_flow to;

	start();
	ck_assert_int_eq(phones_moved(phones, before[1], &to), -ENOENT);
	bind_with_past(conn_of(9, 3), before, 2);
	for (uint64_t k = 0; k < 4; k++) {
		ck_assert_int_eq(phones_moved(phones, conn_of(9, k), &to),
				 k == 2 ? -ENOENT : 0);
		if (k != 2)
			ck_assert_uint_eq(to.conn, conn_of(9, 3));
	}
	stop();
}
END_TEST

START_TEST(no_phone_is_lost_for_what_others_had_before)
{
	enum { AT_ONCE = 4, EACH = PHONES_PAST + 1 }; /* so many have room */
	struct sip_flow to;

	start();
	for (uint64_t n = 0; n < AT_ONCE; n++) {
		uint64_t before[PHONES_PAST];
		for (unsigned k = 0; k < PHONES_PAST; k++)
			before[k] = conn_of(9, n * EACH + k);
		bind_with_past(conn_of(9, n * EACH + PHONES_PAST), before, PHONES_PAST);
	}
	for (uint64_t n = 0; n < AT_ONCE; n++)
		ck_assert_int_ne(phones_moved(phones, conn_of(9, n * EACH + PHONES_PAST), &to),
				 -ENOENT);
	stop();
}
END_TEST

/* Of two phones by one connection one has gone on to another: that says nothing of the other.
 */
START_TEST(who_has_a_connection_has_it_whoever_had_it_before)
{
	const uint64_t shared = conn_of(9, 1);
	struct sip_flow to;

	start();
	bind_with_past(shared, NULL, 0);
	bind_with_past(conn_of(9, 3), &shared, 1);
	ck_assert_int_eq(phones_moved(phones, shared, &to), 0);
	ck_assert_uint_eq(to.conn, shared);
	stop();
}
END_TEST

UNIT_MAIN("phones", a_phone_is_found_by_connections_that_it_had_before,
	  no_phone_is_lost_for_what_others_had_before,
	  who_has_a_connection_has_it_whoever_had_it_before,
	  all_are_found_and_no_step_reads_many,
	  a_step_ends_in_the_middle_of_a_chain_and_goes_on_there,
	  who_was_there_is_found_although_the_table_grows)
