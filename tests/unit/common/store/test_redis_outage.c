/*
 * The Redis store while Redis is away, slow, read-only, full or emptied: puts end soon, and
 * what was missed is written when it can be.
 */
#include "tests/unit/common/store/redis_rig.h"

static struct server server;
static struct owner owner;
static struct redis_conf conf;

enum { TIMEOUT_MS = 400 };

static void begin(void)
{
	loop = loop_new(0);
	ck_assert_ptr_nonnull(loop);
	server_start(&server, NULL);
	conf = conf_for(&owner, server.port);
	conf.timeout_ms = TIMEOUT_MS;
}

static void finish(void)
{
	server_end(&server);
	owner_done(&owner);
	loop_free(loop);
}

static uint64_t hlc_now(void)
{
	return time_wall_ms() << 16;
}

/* A put of a row that the owner has as well, as with records. */
static void put_kept(struct store *s, const struct store_row *v, struct waiter *w)
{
	*w = (struct waiter){0};
	owner_add(&owner, v);
	ck_assert_int_eq(s->ops->put(s, v, 1, on_done, w), 0);
}

static void fill_owner(struct owner *o, unsigned n)
{
	static char name[5000][16];

	ck_assert_uint_le(n, 5000);
	for (unsigned i = 0; i < n; i++) {
		snprintf(name[i], sizeof(name[i]), "u%u", i);
		struct store_row v = row(3, name[i], "a", "1", hlc_now());
		owner_add(o, &v);
	}
}

/* Starts with a server that was read whole: nothing is dirty. */
static struct store *start_clean(void)
{
	struct store *s = store_of(&conf);

	ck_assert_int_eq(s->ops->load(s, time_wall_ms(), owner_load, &owner), 0);
	UNTIL(state_of(s).up);
	ck_assert(!state_of(s).dirty);
	return s;
}

/* Nobody waits for the time-out any more. */
static void fail_at_once(struct store *s, struct store_row v)
{
	msec from = time_now();

	for (unsigned i = 0; i < 100; i++) {
		v.hlc++;
		ck_assert_int_eq(put_and_wait(s, &v, 1), -EIO);
	}
	ck_assert_uint_lt(time_now() - from, 100 * TIMEOUT_MS / 10);
}

/* ---- not there ---- */

START_TEST(without_redis_the_process_starts_and_serves_and_catches_up_later)
{
	begin();
	cli(&server, "HSET %s a %s", PREFIX "binding:alice",
	    "001718900000123.00007.0000000001 live 004102444800000 old");
	cli(&server, "CONFIG SET dir %s", server.dir);
	cli(&server, "SAVE");
	server_kill(&server);

	struct store *s = store_of(&conf);
	msec from = time_now();
	ck_assert_str_eq(load_from(s, time_wall_ms()), "");
	ck_assert_uint_lt(time_now() - from, 5 * TIMEOUT_MS);
	struct store_row v = row(3, "bob", "a", "new", hlc_now());
	struct waiter w;
	put_kept(s, &v, &w);
	from = time_now();
	UNTIL(w.done);
	ck_assert_int_eq(w.error, -EIO);
	fail_at_once(s, v);
	ck_assert(!owner.up && state_of(s).dirty);
	ck_assert_ptr_nonnull(strstr(state_of(s).error, "Connection refused"));

	server_run(&server, NULL);
	UNTIL(state_of(s).up && !state_of(s).dirty);
	ck_assert(owner.up && owner.changes == 1);
	/* The owner heard of the old one, Redis has the new one. */
	ck_assert_uint_eq(owner.n, 2);
	ck_assert(span_eq(owner.row[1].body, SPAN("old")));
	ck_assert_int_eq(cli_number(&server, "EXISTS " PREFIX "binding:bob"), 1);
	ck_assert_int_eq(put_and_wait(s, &v, 1), 0);
	s->ops->free(s);
	finish();
}
END_TEST

START_TEST(a_redis_that_was_killed_and_comes_back_empty_gets_everything)
{
	begin();
	struct store *s = start_clean();
	fill_owner(&owner, 5000);
	for (unsigned i = 0; i < owner.n; i++)
		ck_assert_int_eq(s->ops->put(s, &owner.row[i], 1, NULL, NULL), 0);
	s->ops->flush(s);
	ck_assert_int_eq(cli_number(&server, "DBSIZE"), 5001); /* and "writable" */
	server_kill(&server);
	UNTIL(!owner.up);
	struct store_row v = row(3, "alice", "a", "meanwhile", hlc_now());
	struct waiter w;
	msec from = time_now();
	put_kept(s, &v, &w);
	UNTIL(w.done);
	ck_assert(w.error == -EIO && time_now() - from < 5 * TIMEOUT_MS);

	server_run(&server, NULL);
	UNTIL(state_of(s).up && !state_of(s).dirty);
	ck_assert_int_eq(cli_number(&server, "DBSIZE"), 5002);
	ck_assert_uint_eq(state_of(s).counters.rewritten, 5001);
	ck_assert_uint_eq(state_of(s).rows_waiting, 0);
	s->ops->free(s);
	finish();
}
END_TEST

START_TEST(a_redis_that_stands_still_fails_puts_in_time_and_then_at_once)
{
	begin();
	struct store *s = start_clean();
	struct store_row v = row(3, "alice", "a", "1", hlc_now());
	struct waiter w;
	kill(server.pid, SIGSTOP);
	msec from = time_now();
	put_kept(s, &v, &w);
	UNTIL(w.done);
	ck_assert_int_eq(w.error, -EIO);
	ck_assert_uint_ge(time_now() - from, TIMEOUT_MS - 10);
	ck_assert_uint_lt(time_now() - from, 5 * TIMEOUT_MS);
	UNTIL(!owner.up);
	fail_at_once(s, v);
	ck_assert_uint_ge(state_of(s).counters.timeouts, 1);
	kill(server.pid, SIGCONT);
	UNTIL(state_of(s).up && !state_of(s).dirty);
	ck_assert_str_eq(load_text(&conf, time_wall_ms()), "alice/a=1 ");
	s->ops->free(s);
	finish();
}
END_TEST

START_TEST(an_idle_connection_to_a_redis_that_stands_still_is_noticed)
{
	begin();
	struct store *s = start_clean();
	kill(server.pid, SIGSTOP);
	UNTIL(!owner.up);
	ck_assert_uint_eq(state_of(s).counters.timeouts, 1);
	kill(server.pid, SIGCONT);
	UNTIL(owner.up);
	s->ops->free(s);
	finish();
}
END_TEST

START_TEST(a_connection_that_breaks_costs_no_unit)
{
	begin();
	struct store *s = start_clean();
	struct waiter w[300] = {0};
	static char name[300][16];
	for (unsigned i = 0; i < 300; i++) {
		snprintf(name[i], sizeof(name[i]), "%u", i);
		struct store_row v = row(3, name[i], "a", "1", hlc_now());
		ck_assert_int_eq(s->ops->put(s, &v, 1, on_done, &w[i]), 0);
		if (i % 100 == 50) {
			loop_round(loop, 0); /* what is under way is lost */
			cli(&server, "CLIENT KILL TYPE normal SKIPME yes");
		}
	}
	UNTIL(w[299].done);
	for (unsigned i = 0; i < 300; i++)
		ck_assert(w[i].done && w[i].error == 0);
	UNTIL(!state_of(s).dirty);
	ck_assert_uint_ge(state_of(s).counters.lost, 1);
	ck_assert(owner.up && owner.changes == 1); /* too short to be told */
	ck_assert_int_eq(cli_number(&server, "DBSIZE"), 301);
	s->ops->free(s);
	finish();
}
END_TEST

/* ---- there, but not willing ---- */

START_TEST(scripts_that_were_flushed_are_loaded_again)
{
	begin();
	struct store *s = start_clean();
	struct waiter w[40] = {0};
	struct store_row v = row(3, "alice", "a", "1", hlc_now());
	for (unsigned i = 0; i < 40; i++) {
		v.hlc++;
		if (i % 10 == 5)
			cli(&server, "SCRIPT FLUSH");
		ck_assert_int_eq(s->ops->put(s, &v, 1, on_done, &w[i]), 0);
		if (i % 3 == 0)
			loop_round(loop, 0);
	}
	UNTIL(w[39].done);
	for (unsigned i = 0; i < 40; i++)
		ck_assert(w[i].done && w[i].error == 0);
	ck_assert_uint_eq(state_of(s).counters.connects, 1);
	s->ops->free(s);
	finish();
}
END_TEST

START_TEST(a_primary_without_its_replicas_is_gone_until_they_are_back)
{
	begin();
	struct store *s = start_clean();
	struct store_row v = row(3, "alice", "a", "1", hlc_now());
	struct waiter w;
	cli(&server, "CONFIG SET min-replicas-to-write 1");
	msec from = time_now();
	put_kept(s, &v, &w);
	UNTIL(w.done);
	ck_assert(w.error == -EIO && time_now() - from < 5 * TIMEOUT_MS);
	UNTIL(!owner.up);
	ck_assert_ptr_nonnull(strstr(state_of(s).error, "NOREPLICAS"));
	ck_assert_uint_ge(state_of(s).counters.refused, 1);
	fail_at_once(s, v);
	cli(&server, "CONFIG SET min-replicas-to-write 0");
	UNTIL(owner.up && !state_of(s).dirty);
	ck_assert_str_eq(load_text(&conf, time_wall_ms()), "alice/a=1 ");
	s->ops->free(s);
	finish();
}
END_TEST

START_TEST(a_primary_that_becomes_a_replica_is_left_and_what_waits_goes_to_the_new_one)
{
	begin();
	struct server second;
	char port[8];
	snprintf(port, sizeof(port), "%u", server.port);
	char *const args[] = {"--replicaof", "127.0.0.1", port, NULL};
	server_start(&second, args);
	conf.server[conf.nservers++] = local(second.port);
	conf.timeout_ms = 3000;
	struct store *s = start_clean();
	const struct redis_state before = state_of(s);
	ck_assert_uint_eq(addr_port(&before.primary), server.port);

	cli(&second, "REPLICAOF NO ONE");
	cli(&server, "REPLICAOF 127.0.0.1 %d", (int)second.port);
	struct store_row v = row(3, "alice", "a", "1", hlc_now());
	struct waiter w;
	put_kept(s, &v, &w);
	UNTIL(w.done);
	ck_assert_int_eq(w.error, 0);
	const struct redis_state after = state_of(s);
	ck_assert_uint_eq(addr_port(&after.primary), second.port);
	ck_assert_uint_eq(after.counters.refused, 1);
	ck_assert_str_eq(cli(&second, "HEXISTS %s a", PREFIX "binding:alice"), "1");
	s->ops->free(s);
	server_end(&second);
	finish();
}
END_TEST

START_TEST(what_a_full_redis_refused_is_written_when_it_has_room)
{
	begin();
	struct store *s = start_clean();
	struct store_row v = row(3, "alice", "a", "1", hlc_now());
	struct waiter w;
	cli(&server, "CONFIG SET maxmemory 1");
	put_kept(s, &v, &w);
	UNTIL(w.done);
	ck_assert_int_eq(w.error, -EIO);
	ck_assert_ptr_nonnull(strstr(state_of(s).error, "OOM"));
	ck_assert(state_of(s).dirty && state_of(s).up);
	cli(&server, "CONFIG SET maxmemory 0");
	UNTIL(!state_of(s).dirty);
	ck_assert_str_eq(load_text(&conf, time_wall_ms()), "alice/a=1 ");
	s->ops->free(s);
	finish();
}
END_TEST

/* ---- coming back ---- */

START_TEST(a_guarded_unit_waits_until_everything_is_written_anew)
{
	begin();
	struct store *s = start_clean();
	fill_owner(&owner, 3000);
	for (unsigned i = 0; i < owner.n; i++)
		ck_assert_int_eq(s->ops->put(s, &owner.row[i], 1, NULL, NULL), 0);
	s->ops->flush(s);
	server_kill(&server);
	UNTIL(!owner.up);
	server_run(&server, NULL);
	UNTIL(owner.up);
	ck_assert(state_of(s).rewriting);
	/* Its guard is in what is still to come. */
	struct store_row v = owner.row[2999], plain = row(3, "bob", "a", "1", hlc_now());
	struct waiter w[2] = {0};
	v.guarded = true;
	v.expect_hlc = v.hlc;
	v.expect_node = v.node;
	v.hlc = hlc_now() + 1;
	v.body = SPAN("2");
	ck_assert_int_eq(s->ops->put(s, &v, 1, on_done, &w[0]), 0);
	ck_assert_int_eq(s->ops->put(s, &plain, 1, on_done, &w[1]), 0);
	UNTIL(w[1].done);
	ck_assert(!w[0].done && w[1].error == 0);
	UNTIL(w[0].done);
	ck_assert_int_eq(w[0].error, 0);
	ck_assert(!state_of(s).rewriting);
	s->ops->free(s);
	finish();
}
END_TEST

/* All in one part, more than is copied at a time. */
static struct {
	unsigned n, calls;
	uint64_t hlc;
	char body[2000];
} many;

static bool rewrite_many(void *arg, unsigned part,
			 bool (*each)(void *each_arg, const struct store_row *row),
			 void *each_arg)
{
	char name[16];

	(void)arg;
	ck_assert_uint_eq(part, 0);
	many.calls++;
	for (unsigned i = 0; i < many.n; i++) {
		snprintf(name, sizeof(name), "%u", i);
		struct store_row v = row(3, name, "a", many.body, many.hlc);
		if (!each(each_arg, &v))
			break;
	}
	return false;
}

START_TEST(a_part_that_is_too_large_is_written_in_slices)
{
	begin();
	conf.timeout_ms = 5000;
	conf.ops.rewrite = rewrite_many;
	many.n = 30000;
	many.hlc = hlc_now();
	memset(many.body, 'x', sizeof(many.body) - 1);
	struct store *s = store_of(&conf);
	UNTIL(state_of(s).up && !state_of(s).dirty);
	ck_assert_uint_ge(many.calls, 3);
	ck_assert_uint_eq(state_of(s).counters.rewritten, 30000);
	ck_assert_int_eq(cli_number(&server, "DBSIZE"), 30001);
	s->ops->free(s);
	finish();
}
END_TEST

UNIT_MAIN("common/store redis outage",
	  without_redis_the_process_starts_and_serves_and_catches_up_later,
	  a_redis_that_was_killed_and_comes_back_empty_gets_everything,
	  a_redis_that_stands_still_fails_puts_in_time_and_then_at_once,
	  an_idle_connection_to_a_redis_that_stands_still_is_noticed,
	  a_connection_that_breaks_costs_no_unit, scripts_that_were_flushed_are_loaded_again,
	  a_primary_without_its_replicas_is_gone_until_they_are_back,
	  a_primary_that_becomes_a_replica_is_left_and_what_waits_goes_to_the_new_one,
	  what_a_full_redis_refused_is_written_when_it_has_room,
	  a_guarded_unit_waits_until_everything_is_written_anew,
	  a_part_that_is_too_large_is_written_in_slices)
