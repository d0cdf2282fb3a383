/*
 * Redis is read once more while it serves (store_redis_read): that is no event for what is
 * written.
 */
#include "tests/unit/common/store/redis_rig.h"

/* How often it is read: as soon as it has been. */
enum { PATIENT_MS = 15000, READS = 20 };

static struct server server;
static struct owner owner;
static struct redis_conf conf;

static struct store *begin(void)
{
	loop = loop_new(0);
	ck_assert_ptr_nonnull(loop);
	server_start(&server, NULL);
	conf = conf_for(&owner, server.port);
	conf.timeout_ms = PATIENT_MS;
	struct store *s = store_of(&conf);
	UNTIL(state_of(s).up && !state_of(s).loading && !state_of(s).dirty);
	return s;
}

static void finish(struct store *s)
{
	s->ops->free(s);
	server_end(&server);
	owner_done(&owner);
	loop_free(loop);
}

static void read_anew(struct store *s)
{
	store_redis_read(s);
	ck_assert(state_of(s).loading);
	UNTIL(!state_of(s).loading);
}

START_TEST(scripts_that_were_flushed_are_loaded_again_for_reading_too)
{
	struct store *s = begin();
	cli(&server, "HSET " PREFIX "user:nina %b %s", "", (size_t)0,
	    "001718900000123.00007.0000000002 live 000000000000000 1");
	for (unsigned i = 1; i <= 3; i++) {
		cli(&server, "SCRIPT FLUSH");
		read_anew(s);
		ck_assert_uint_eq(owner.n, i);
	}
	ck_assert_uint_eq(state_of(s).counters.connects, 1);
	ck_assert_uint_eq(state_of(s).counters.refused, 0);
	finish(s);
}
END_TEST

/* After 0.5 s, then 1 s: a busy machine may get there meanwhile, but not with each reading. */
START_TEST(what_a_full_redis_refused_is_not_written_anew_with_each_reading)
{
	struct store *s = begin();
	struct store_row v = row(3, "alice", "a", "1", time_wall_ms() << 16);
	cli(&server, "CONFIG SET maxmemory 1");
	owner_add(&owner, &v);
	ck_assert_int_eq(put_and_wait(s, &v, 1), -EIO);
	unsigned parts = owner.parts;
	for (unsigned i = 0; i < READS; i++)
		read_anew(s);
	ck_assert(state_of(s).dirty && state_of(s).up);
	ck_assert_uint_lt(owner.parts - parts, READS);
	cli(&server, "CONFIG SET maxmemory 0");
	UNTIL(!state_of(s).dirty);
	finish(s);
}
END_TEST

UNIT_MAIN("common/store redis read", scripts_that_were_flushed_are_loaded_again_for_reading_too,
	  what_a_full_redis_refused_is_not_written_anew_with_each_reading)
