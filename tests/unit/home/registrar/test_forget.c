/*
 * A user is deleted: both members of his pair take his bindings away, and it is one deletion.
 */
#include "tests/unit/home/registrar/reg_fixture.h"

/* Two members of a pair, each with a table and a registrar. */
static struct records *table[2];
static struct reg *member[2];

static void start_pair(void)
{
	start();
	table[0] = records;
	member[0] = reg;
	struct reg_conf conf = reg_conf_default;
	const struct reg_ops ops = {.flow_alive = flow_alive};
	conf.domain = "example.com";
	table[1] = records_new(NULL, 2, 10000, NULL);
	member[1] = reg_new(&conf, &ops, table[1], &fixture_key, 78);
	ck_assert_ptr_nonnull(member[1]);
}

static void stop_pair(void)
{
	reg_free(member[1]);
	records_free(table[1]);
	records = table[0];
	reg = member[0];
	stop();
}

struct copy {
	struct records *to;
	unsigned n, taken;
	struct record v[64];
	char bytes[65536];
	size_t used;
};

static struct span keep(struct copy *c, struct span s)
{
	char *at = c->bytes + c->used;
	ck_assert_uint_le(c->used + s.n, sizeof(c->bytes));
	if (s.n)
		memcpy(at, s.p, s.n);
	c->used += s.n;
	return span_of(at, s.n);
}

static bool copy_one(void *arg, const struct record *rec)
{
	struct copy *c = arg;
	ck_assert_uint_lt(c->n, 64);
	struct record *v = &c->v[c->n++];
	*v = *rec;
	v->group = keep(c, rec->group);
	v->name = keep(c, rec->name);
	v->body = keep(c, rec->body);
	return true;
}

/* All that one has is told to the other; how much of it was news. */
static unsigned tell_all(unsigned from, unsigned to)
{
	static struct copy c;
	c = (struct copy){.to = table[to]};
	records_scan_all(table[from], copy_one, &c);
	for (unsigned i = 0; i < c.n; i++)
		c.taken += records_merge(table[to], &c.v[i], 1, T0, NULL, NULL) > 0;
	return c.taken;
}

static unsigned bindings(unsigned i)
{
	return records_each(table[i], RECORD_BINDING, SPAN("alice"), T0, NULL, NULL, NULL);
}

static const struct record_version gone = {(T0 + 5) << 16, 9};

START_TEST(what_both_members_take_away_is_one_deletion)
{
	start_pair();
	reg_alice(1, "Contact: <sip:a@192.0.2.4>\r\n");
	register_user("alice", "call2@ua", 1, "Contact: <sip:a@192.0.2.5>\r\n", T0);
	ck_assert_uint_eq(tell_all(0, 1), 2);
	ck_assert_int_eq(reg_forget(member[0], SPAN("alice"), gone, true, T0), 2);
	ck_assert_int_eq(reg_forget(member[1], SPAN("alice"), gone, false, T0), 2);
	ck_assert_uint_eq(bindings(0) + bindings(1), 0);
	/* The tables are the same: neither has anything to tell the other. */
	ck_assert_uint_eq(tell_all(0, 1), 0);
	ck_assert_uint_eq(tell_all(1, 0), 0);
	/* It was done once. */
	ck_assert_uint_eq(reg_counters(member[0]).removed, 2);
	ck_assert_uint_eq(reg_counters(member[1]).removed, 0);
	/* And is over: nothing is left to be done by who hears of it later. */
	ck_assert_int_eq(reg_forget(member[1], SPAN("alice"), gone, true, T0), 0);
	stop_pair();
}
END_TEST

START_TEST(a_binding_that_is_newer_than_the_deletion_goes_as_well)
{
	start_pair();
	const struct record_version before = {(T0 - 5) << 16, 9};
	reg_alice(1, "Contact: <sip:a@192.0.2.4>\r\n");
	ck_assert_uint_eq(tell_all(0, 1), 1);
	ck_assert_int_eq(reg_forget(member[1], SPAN("alice"), before, true, T0), 1);
	ck_assert_int_eq(reg_forget(member[0], SPAN("alice"), before, false, T0), 1);
	ck_assert_uint_eq(bindings(0) + bindings(1), 0);
	ck_assert_uint_eq(tell_all(0, 1) + tell_all(1, 0), 0);
	stop_pair();
}
END_TEST

START_TEST(a_copy_that_is_late_does_not_bring_a_binding_back)
{
	start_pair();
	reg_alice(1, "Contact: <sip:a@192.0.2.4>;expires=7200\r\n");
	ck_assert_uint_eq(tell_all(0, 1), 1);
	ck_assert_int_eq(reg_forget(member[0], SPAN("alice"), gone, true, T0), 1);
	/* For as long as the copy lives the deletion is remembered. */
	records_sweep(table[0], T0 + 7200 * 1000);
	for (unsigned i = 0; i < 16; i++)
		records_sweep(table[0], T0 + 7200 * 1000);
	ck_assert_uint_eq(tell_all(1, 0), 0);
	ck_assert_uint_eq(bindings(0), 0);
	ck_assert_uint_eq(tell_all(0, 1), 1);
	ck_assert_uint_eq(bindings(1), 0);
	stop_pair();
}
END_TEST

UNIT_MAIN("home/registrar forget", what_both_members_take_away_is_one_deletion,
	  a_binding_that_is_newer_than_the_deletion_goes_as_well,
	  a_copy_that_is_late_does_not_bring_a_binding_back)
