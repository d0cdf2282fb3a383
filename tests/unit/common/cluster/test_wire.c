/*
 * Messages as bytes: damage, lies, limits, and nodes of neighbouring versions.
 */
#include "tests/unit/common/cluster/tables.h"

#include "proto/cluster.pb-c.h"
#include "proto/flat.h"

static uint8_t message[2 << 20];

/* As e1 of this start would say it to a1. */
static Eaves__Envelope from_e1(void)
{
	Eaves__Envelope e = EAVES__ENVELOPE__INIT;
	e.version = e.oldest = cluster_protocol();
	e.boot = rig[E1].conf.boot;
	e.peer_boot = rig[A1].conf.boot;
	return e;
}

static void tell_a1(const Eaves__Envelope *e)
{
	size_t n = eaves__envelope__pack(e, message);
	cluster_receive(rig[A1].c, E1, span_of((const char *)message, n));
}

static uint64_t bad(void)
{
	return counters_of(A1).bad_messages;
}

static void must_be_bad(const Eaves__Envelope *e)
{
	uint64_t before = bad();
	tell_a1(e);
	ck_assert_uint_eq(bad(), before + 1);
}

/* A row of a1's pair, as an edge may hand it on. */
static Eaves__Row row_for(const char *user)
{
	Eaves__Row r = EAVES__ROW__INIT;
	r.kind = RECORD_BINDING;
	r.group = (ProtobufCBinaryData){strlen(user), (uint8_t *)(uintptr_t)user};
	r.name = (ProtobufCBinaryData){5, (uint8_t *)(uintptr_t) "phone"};
	r.body = (ProtobufCBinaryData){5, (uint8_t *)(uintptr_t) "sip:x"};
	r.node = number_of(A2);
	r.hlc = net_wall_ms << 16;
	return r;
}

static ProtobufCBinaryData packed(const Eaves__Row *r, uint8_t *to)
{
	return (ProtobufCBinaryData){eaves__row__pack(r, to), to};
}

/* Streams of e1 to a1 are the test's: with numbers of their own. */
static uint64_t stream = 1000, seq;

static void tell_rows(ProtobufCBinaryData *rows, size_t n)
{
	Eaves__Envelope e = from_e1();
	Eaves__Batch b = EAVES__BATCH__INIT;
	b.stream = stream;
	b.seq = ++seq;
	b.count = (uint32_t)n;
	b.n_row = n;
	b.row = rows;
	e.body_case = EAVES__ENVELOPE__BODY_BATCH;
	e.batch = &b;
	tell_a1(&e);
}

static void begin(uint64_t seed)
{
	rig_begin(seed);
	rig_meet(4);
	rig_run(100);
	stream++;
	seq = 0;
}

START_TEST(a_message_cut_anywhere_changes_nothing)
{
	uint8_t one[256], two[256];
	Eaves__Row a = row_for("alice"), b = row_for("bob");
	ProtobufCBinaryData rows[2];
	begin(1);
	rows[0] = packed(&a, one);
	rows[1] = packed(&b, two);
	Eaves__Envelope e = from_e1();
	Eaves__Batch m = EAVES__BATCH__INIT;
	m.stream = stream;
	m.seq = 1;
	m.count = 2;
	m.n_row = 2;
	m.row = rows;
	e.body_case = EAVES__ENVELOPE__BODY_BATCH;
	e.batch = &m;
	size_t n = eaves__envelope__pack(&e, message);
	for (size_t i = 0; i < n; i++) {
		cluster_receive(rig[A1].c, E1, span_of((const char *)message, i));
		MUST(!*binding(A1, "alice") && !*binding(A1, "bob"));
	}
	cluster_receive(rig[A1].c, E1, span_of((const char *)message, n));
	ck_assert(has(A1, "alice", "sip:x") && has(A1, "bob", "sip:x"));
	rig_end();
}
END_TEST

START_TEST(a_row_cut_anywhere_is_refused)
{
	uint8_t bytes[256];
	Eaves__Row r = row_for("alice");
	begin(2);
	ProtobufCBinaryData whole = packed(&r, bytes);
	for (size_t i = 0; i < whole.len; i++) {
		ProtobufCBinaryData cut = {i, bytes};
		uint64_t refused = counters_of(A1).refused_records;
		tell_rows(&cut, 1);
		MUST(counters_of(A1).refused_records == refused + 1);
	}
	ck_assert_str_eq(binding(A1, "alice"), "");
	tell_rows(&whole, 1);
	ck_assert_str_eq(binding(A1, "alice"), "sip:x");
	rig_end();
}
END_TEST

START_TEST(absurd_rows_are_refused_and_the_others_taken)
{
	static uint8_t bytes[16][8192];
	static uint8_t large[RECORDS_NAME_MAX_BYTES + 1];
	ProtobufCBinaryData rows[16], over = {sizeof(large), large};
	Eaves__Row r;
	unsigned n = 0;
	begin(3);
#define ROW(change)                             \
	do {                                    \
		r = row_for("absurd");          \
		change;                         \
		rows[n] = packed(&r, bytes[n]); \
		n++;                            \
	} while (0)
	ROW(r.kind = 0);
	ROW(r.kind = RECORD_KIND_MAX + 1);
	ROW(r.kind = 256 + RECORD_BINDING);
	ROW(r.group.len = 0);
	ROW(r.group = over);
	ROW(r.name = over);
	ROW(r.hlc = 0);
	ROW(r.hlc = (net_wall_ms + RECORDS_DRIFT_MAX_MS + 1000) << 16);
	ROW(r.hlc = UINT64_MAX);
	ROW(r.deleted = 1; r.expires_ms = net_wall_ms + 1000); /* with a body */
	ROW(r.deleted = 1; r.body.len = 0);		       /* for ever */
	ROW(r.node = 10 * NODES + 1);			       /* nobody's */
	ROW(r.node = number_of(B1); r.group.len = 2);	       /* an edge may */
	r = row_for("alice");
	rows[n] = packed(&r, bytes[n]);
	n++;
	tell_rows(rows, n);
	ck_assert_uint_eq(counters_of(A1).refused_records, 12);
	ck_assert_uint_eq(records_counters(rig[A1].r).records, 2);
	ck_assert_str_eq(binding(A1, "alice"), "sip:x");
	rig_end();
}
END_TEST

START_TEST(a_batch_that_does_not_add_up_is_a_bad_message)
{
	uint8_t one[256];
	Eaves__Row row = row_for("alice");
	ProtobufCBinaryData rows[1];
	begin(4);
	rows[0] = packed(&row, one);

	Eaves__Envelope e = from_e1();
	Eaves__Batch b = EAVES__BATCH__INIT;
	b.stream = stream;
	b.count = b.seq = b.n_row = 1;
	b.row = rows;
	e.body_case = EAVES__ENVELOPE__BODY_BATCH;
	e.batch = &b;
	b.count = 2;
	must_be_bad(&e);
	b.count = b.n_row = 0;
	must_be_bad(&e);
	b.count = b.n_row = 1;
	b.stream = 0;
	must_be_bad(&e);
	b.stream = stream;
	b.seq = 0;
	must_be_bad(&e);
	b.seq = 66; /* further than anybody may be ahead */
	must_be_bad(&e);
	b.seq = UINT64_MAX;
	must_be_bad(&e);

	Eaves__Ack ack = EAVES__ACK__INIT;
	e.body_case = EAVES__ENVELOPE__BODY__NOT_SET;
	e.ack = &ack;
	ack.stream = 1;
	ack.seq = 1000000; /* nobody has sent that */
	must_be_bad(&e);
	ack.stream = 1000;
	must_be_bad(&e);
	ck_assert(cluster_alive(rig[A1].c, E1));
	rig_end();
}
END_TEST

START_TEST(a_comparison_that_does_not_add_up_is_a_bad_message)
{
	static uint8_t zeros[64 * 8];
	uint8_t one[256];
	Eaves__Row row = row_for("alice");
	ProtobufCBinaryData rows[1];
	begin(11);
	rows[0] = packed(&row, one);
	Eaves__Envelope e = from_e1();

	Eaves__Digests d = EAVES__DIGESTS__INIT;
	e.body_case = EAVES__ENVELOPE__BODY_DIGESTS;
	e.digests = &d;
	d.id = 1;
	d.digest = (ProtobufCBinaryData){sizeof(zeros) - 1, zeros};
	must_be_bad(&e);
	d.digest.len++;
	d.group = 16;
	must_be_bad(&e);

	Eaves__Differences f = EAVES__DIFFERENCES__INIT;
	e.body_case = EAVES__ENVELOPE__BODY_DIFFERENCES;
	e.differences = &f;
	f.id = 1;
	f.mask = (ProtobufCBinaryData){7, zeros};
	must_be_bad(&e);

	Eaves__Ask a = EAVES__ASK__INIT;
	e.body_case = EAVES__ENVELOPE__BODY_ASK;
	e.ask = &a;
	a.id = 1;
	a.mask = 1;
	a.have = (ProtobufCBinaryData){40, zeros}; /* a key twice */
	must_be_bad(&e);
	a.have.len = 19;
	must_be_bad(&e);
	a.have.len = 0;
	a.part = RECORDS_PARTS;
	must_be_bad(&e);

	Eaves__Rows r = EAVES__ROWS__INIT;
	e.body_case = EAVES__ENVELOPE__BODY_ROWS;
	e.rows = &r;
	r.id = 1;
	r.count = 1;
	must_be_bad(&e);
	r.count = r.n_row = 1; /* nobody has asked: nothing of it is taken */
	r.row = rows;
	tell_a1(&e);
	ck_assert_str_eq(binding(A1, "alice"), "");
	ck_assert(cluster_alive(rig[A1].c, E1));
	rig_end();
}
END_TEST

START_TEST(what_a_message_makes_us_allocate_is_bounded)
{
	begin(5);
	/* Half a million rows of nothing. */
	size_t n = 0;
	Eaves__Envelope e = from_e1();
	Eaves__Batch b = EAVES__BATCH__INIT;
	size_t rows = 500000;
	ProtobufCBinaryData *row = calloc(rows, sizeof(*row));
	MUST(row);
	b.stream = stream;
	b.seq = 1;
	b.count = (uint32_t)rows;
	b.n_row = rows;
	b.row = row;
	e.body_case = EAVES__ENVELOPE__BODY_BATCH;
	e.batch = &b;
	n = eaves__envelope__pack(&e, message);
	ck_assert_uint_lt(n, 1 << 20);
	uint64_t before = bad();
	cluster_receive(rig[A1].c, E1, span_of((const char *)message, n));
	ck_assert_uint_eq(bad(), before + 1);
	cluster_receive(rig[A1].c, E1, span_of((const char *)message, sizeof(message)));
	ck_assert_uint_eq(bad(), before + 2);
	free(row);
	rig_end();
}
END_TEST

START_TEST(who_asks_too_much_is_not_answered)
{
	Eaves__Envelope e;
	Eaves__Ask a = EAVES__ASK__INIT;
	begin(6);
	e = from_e1();
	a.mask = 0xffff;
	e.body_case = EAVES__ENVELOPE__BODY_ASK;
	e.ask = &a;
	uint64_t before = net.sent;
	for (a.id = 1; a.id <= 5000; a.id++)
		tell_a1(&e);
	ck_assert_uint_le(net.sent - before, 1100);
	ck_assert_uint_ge(net.sent - before, 900);
	before = net.sent;
	rig_run(100);
	for (; a.id <= 6000; a.id++)
		tell_a1(&e);
	ck_assert_uint_ge(net.sent - before, 90);
	ck_assert_uint_le(net.sent - before, 400);
	rig_end();
}
END_TEST

static uint64_t domain;

static bool note_domain(unsigned from, unsigned to, struct span bytes)
{
	(void)from;
	(void)to;
	Eaves__Envelope *e = eaves__envelope__unpack(NULL, bytes.n, (const uint8_t *)bytes.p);
	MUST(e);
	if (e->body_case == EAVES__ENVELOPE__BODY_HELLO)
		domain = e->hello->domain;
	eaves__envelope__free_unpacked(e, NULL);
	return true;
}

START_TEST(who_claims_a_new_life_all_the_time_is_believed_now_and_then)
{
	Eaves__Envelope e;
	Eaves__Hello h = EAVES__HELLO__INIT;
	rig_begin(10);
	net.look = note_domain;
	rig_meet(4);
	net.look = NULL;
	rig_run(300);
	e = from_e1();
	h.name = (ProtobufCBinaryData){2, (uint8_t *)(uintptr_t) "e1"};
	h.pair = (ProtobufCBinaryData){4, (uint8_t *)(uintptr_t) "edge"};
	h.role = 1;
	h.domain = domain;
	e.body_case = EAVES__ENVELOPE__BODY_HELLO;
	e.hello = &h;
	unsigned before = rig[A1].changes;
	for (unsigned i = 0; i < 1000; i++) {
		e.boot = 1000000 + i;
		tell_a1(&e);
		rig_run(1);
	}
	ck_assert_uint_ge(rig[A1].changes - before, 4);
	ck_assert_uint_le(rig[A1].changes - before, 14);
	rig_end();
}
END_TEST

/* A field that nobody knows yet: 15 bytes at number 200, behind whatever stands there. */
static size_t add_unknown(size_t n)
{
	static const uint8_t field[] = {0xc2, 0x0c, 12,	 'f', 'r', 'o', 'm', ' ',
					't',  'o',  'm', 'o', 'r', 'r', 'o'};
	memcpy(message + n, field, sizeof(field));
	return n + sizeof(field);
}

START_TEST(a_newer_node_is_understood_as_far_as_it_says_what_we_know)
{
	uint8_t one[256];
	Eaves__Row row = row_for("alice");
	begin(7);
	/* A row, a batch and an envelope with more in them than we know. */
	size_t n = eaves__row__pack(&row, message);
	n = add_unknown(n);
	memcpy(one, message, n);
	ProtobufCBinaryData rows[1] = {{n, one}};
	Eaves__Envelope e = from_e1();
	Eaves__Batch b = EAVES__BATCH__INIT;
	e.version = cluster_protocol() + 1;
	b.stream = stream;
	b.seq = b.count = b.n_row = 1;
	b.row = rows;
	e.body_case = EAVES__ENVELOPE__BODY_BATCH;
	e.batch = &b;
	n = add_unknown(eaves__envelope__pack(&e, message));
	cluster_receive(rig[A1].c, E1, span_of((const char *)message, n));
	ck_assert_str_eq(binding(A1, "alice"), "sip:x");
	ck_assert_uint_eq(state_of(A1, E1).version, cluster_protocol() + 1);

	/* A kind of message that we do not know: a sign of life, nothing else. */
	uint64_t before = bad();
	e.body_case = EAVES__ENVELOPE__BODY__NOT_SET;
	for (unsigned i = 0; i < 100; i++) {
		n = add_unknown(eaves__envelope__pack(&e, message));
		net.cut[E1][A1] = true;
		cluster_receive(rig[A1].c, E1, span_of((const char *)message, n));
		rig_run(20);
	}
	ck_assert(cluster_alive(rig[A1].c, E1));
	ck_assert_uint_eq(bad(), before);

	/* One that does not speak our version any more. */
	e.version = cluster_protocol() + 2;
	e.oldest = cluster_protocol() + 1;
	for (unsigned i = 0; i < 100; i++) {
		must_be_bad(&e);
		rig_run(20);
	}
	ck_assert(!cluster_alive(rig[A1].c, E1));
	rig_end();
}
END_TEST

static bool as_an_older_node(unsigned from, unsigned to, struct span bytes)
{
	if (from != E1)
		return true;
	/* It knows neither what comes ahead nor what is refused or persisted, nor load. */
	Eaves__Envelope *e = eaves__envelope__unpack(NULL, bytes.n, (const uint8_t *)bytes.p);
	MUST(e);
	if (e->ack)
		e->ack->ahead = e->ack->refused = e->ack->persisted = 0;
	if (e->body_case == EAVES__ENVELOPE__BODY_HEARTBEAT)
		e->heartbeat->calls = e->heartbeat->waiting = 0;
	size_t n = eaves__envelope__pack(e, message);
	eaves__envelope__free_unpacked(e, NULL);
	net_put(from, to, span_of((const char *)message, n));
	return false;
}

START_TEST(a_node_that_says_less_is_understood_too)
{
	struct promise p;
	begin(8);
	net.look = as_an_older_node;
	net.loss_permille = 100;
	for (unsigned i = 0; i < 50; i++) {
		char user[8];
		snprintf(user, sizeof(user), "u%u", i);
		ck_assert_int_eq(bind_at(A1, user, "sip:x", &p), 0);
		rig_run(10);
	}
	net.loss_permille = 0;
	RIG_UNTIL(all_equal() && all_same(), 5000);
	rig_kill(E1);
	rig_start(E1);
	RIG_UNTIL(all_equal() && all_same(), 5000);
	rig_end();
}
END_TEST

START_TEST(random_damage_is_survived)
{
	static uint8_t copy[4096];
	begin(9);
	net.twice_permille = 0;
	for (unsigned round = 0; round < 20000; round++) {
		Eaves__Envelope e = from_e1();
		Eaves__Row row = row_for("alice");
		uint8_t one[256];
		ProtobufCBinaryData rows[1] = {packed(&row, one)};
		Eaves__Batch b = EAVES__BATCH__INIT;
		Eaves__Hello h = EAVES__HELLO__INIT;
		Eaves__Ask a = EAVES__ASK__INIT;
		b.stream = stream;
		b.seq = ++seq;
		b.count = b.n_row = 1;
		b.row = rows;
		a.id = round;
		a.mask = 0xffff;
		if (round % 3 == 0) {
			e.body_case = EAVES__ENVELOPE__BODY_BATCH;
			e.batch = &b;
		} else if (round % 3 == 1) {
			e.body_case = EAVES__ENVELOPE__BODY_HELLO;
			e.hello = &h;
		} else {
			e.body_case = EAVES__ENVELOPE__BODY_ASK;
			e.ask = &a;
		}
		size_t n = eaves__envelope__pack(&e, copy);
		for (uint64_t k = 1 + draw(4); k; k--)
			copy[draw(n)] ^= (uint8_t)(1 << draw(8));
		cluster_receive(rig[A1].c, E1, span_of((const char *)copy, n));
		if (round % 100 == 0)
			rig_run(1);
	}
	rig_run(3000);
	ck_assert(cluster_alive(rig[A1].c, E1) && cluster_alive(rig[A1].c, A2));
	rig_end();
}
END_TEST

UNIT_MAIN("common/cluster wire", a_message_cut_anywhere_changes_nothing,
	  a_row_cut_anywhere_is_refused, absurd_rows_are_refused_and_the_others_taken,
	  a_batch_that_does_not_add_up_is_a_bad_message,
	  a_comparison_that_does_not_add_up_is_a_bad_message,
	  what_a_message_makes_us_allocate_is_bounded, who_asks_too_much_is_not_answered,
	  who_claims_a_new_life_all_the_time_is_believed_now_and_then,
	  a_newer_node_is_understood_as_far_as_it_says_what_we_know,
	  a_node_that_says_less_is_understood_too, random_damage_is_survived)
