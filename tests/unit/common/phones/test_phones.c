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

/* As at a node that starts: it gets the records, and has seen none of those connections. */
START_TEST(a_phone_is_found_by_connections_that_it_had_before)
{
	uint64_t before[] = {900002, 900001};
	uint8_t body[64];
	Eaves__Binding b = EAVES__BINDING__INIT;
	b.contact = (ProtobufCBinaryData){6, (uint8_t *)(uintptr_t) "900004"};
	b.past_conns = (ProtobufCBinaryData){sizeof(before), (uint8_t *)before};
	const struct record v = {
		.kind = RECORD_BINDING,
		.group = SPAN("alice"),
		.name = SPAN("phone"),
		.body = span_of((const char *)body, eaves__binding__pack(&b, body))};
	struct sip_flow to;

	start();
	ck_assert_int_eq(phones_moved(phones, 900001, &to), -ENOENT);
	ck_assert_int_eq(records_put(records, &v, 1, NULL, time_wall_ms(), NULL, NULL), 0);
	for (uint64_t id = 900001; id <= 900004; id++)
		if (id != 900003) {
			ck_assert_int_eq(phones_moved(phones, id, &to), 0);
			ck_assert_uint_eq(to.conn, 900004);
		}
	ck_assert_int_eq(phones_moved(phones, 900003, &to), -ENOENT);
	stop();
}
END_TEST

UNIT_MAIN("phones", a_phone_is_found_by_connections_that_it_had_before,
	  all_are_found_and_no_step_reads_many,
	  a_step_ends_in_the_middle_of_a_chain_and_goes_on_there,
	  who_was_there_is_found_although_the_table_grows)
