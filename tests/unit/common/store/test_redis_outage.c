/*
 * The Redis store while Redis is away, slow, read-only, full or emptied: puts end soon, and
 * what was missed is written when it can be.
 */
#include "tests/unit/common/store/redis_rig.h"

static struct server server;
static struct owner owner;
static struct redis_conf conf;

/* What a server that is there answers within, however busy the machine is: else a test would
 * see outages of which it knows nothing. */
enum { TIMEOUT_MS = 3000, PATIENT_MS = 15000 };

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

/* All that the owner has is in Redis: no more at a time than that writes in time. */
static void put_owner(struct store *s)
{
	for (unsigned i = 0; i < owner.n; i++) {
		ck_assert_int_eq(s->ops->put(s, &owner.row[i], 1, NULL, NULL), 0);
		if (i % 100 == 99 || i + 1 == owner.n)
			UNTIL(state_of(s).rows_waiting == 0);
	}
	ck_assert(!state_of(s).dirty);
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
	put_owner(s);
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
	conf.timeout_ms = PATIENT_MS;
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

/* As records do: what they take from Redis goes through the same store. */
static struct store *late_store;
static void put_back(void *arg, const struct store_row *v)
{
	owner_load(arg, v);
	ck_assert_int_eq(late_store->ops->put(late_store, v, 1, NULL, NULL), 0);
}

START_TEST(what_is_read_late_is_not_written_back)
{
	begin();
	enum { ROWS = 60 };
	for (unsigned i = 0; i < ROWS; i++) {
		char key[64];
		snprintf(key, sizeof(key), PREFIX "binding:u%u", i);
		cli(&server, "HSET %s a %s", key,
		    "001718900000123.00007.0000000001 live 004102444800000 1");
	}
	conf.ops.loaded = put_back;
	conf.ops.rewrite = NULL;
	late_store = store_of(&conf);
	UNTIL(state_of(late_store).counters.loaded == ROWS);
	late_store->ops->flush(late_store);
	ck_assert_uint_eq(owner.n, ROWS);
	ck_assert_uint_eq(late_store->counters.rows, 0);
	ck_assert_uint_eq(state_of(late_store).counters.calls, 0);
	/* From outside of it the same row is a write like any other. */
	ck_assert_int_eq(put_and_wait(late_store, &owner.row[7], 1), 0);
	ck_assert_uint_eq(late_store->counters.rows, 1);
	late_store->ops->free(late_store);
	finish();
}
END_TEST

START_TEST(what_another_has_written_there_is_read_when_it_is_asked_for)
{
	begin();
	struct store *s = store_of(&conf);
	UNTIL(state_of(s).up && !state_of(s).loading && !state_of(s).dirty);
	for (unsigned i = 0; i < 2; i++) {
		char key[64];
		snprintf(key, sizeof(key), PREFIX "user:nina%u", i);
		cli(&server, "HSET %s %b %s", key, "", (size_t)0,
		    "001718900000123.00007.0000000002 live 000000000000000 1");
		ck_assert_uint_eq(owner.n, i * (i + 1) / 2);
		store_redis_read(s);
		store_redis_read(s); /* one is under way */
		UNTIL(!state_of(s).loading);
		ck_assert_uint_eq(owner.n, (i + 1) * (i + 2) / 2);
	}
	/* Not while it is away; nothing hangs, and it is asked again when it is back. */
	server_kill(&server);
	UNTIL(!state_of(s).up);
	store_redis_read(s);
	ck_assert(!state_of(s).loading);
	s->ops->free(s);
	finish();
}
END_TEST

enum { HOUR_NAMES = 6000, HOUR_OLD = 5000, HOUR_CHANGES = 360000, HOUR_QUEUE = 1000 };

static struct {
	char name[HOUR_NAMES][16], body[HOUR_NAMES][16];
	unsigned failed;
} hour;

static void on_hour_done(void *arg, int error)
{
	(void)arg;
	hour.failed += error != 0;
}

static void hour_change(struct store *s, unsigned i, unsigned change)
{
	struct store_row *v = &owner.row[i];

	snprintf(hour.body[i], sizeof(hour.body[i]), "%u", change);
	v->body = span_str(hour.body[i]);
	v->deleted = change % 7 == 0;
	v->expires_ms = v->deleted ? time_wall_ms() + 3600 * 1000 : 0;
	v->body.n = v->deleted ? 0 : v->body.n;
	v->hlc = hlc_now() + change;
	ck_assert_int_eq(s->ops->put(s, v, 1, on_hour_done, NULL), 0);
}

static int find_row(void *arg, const struct store_row *v)
{
	unsigned *found = arg;
	uint64_t i;

	ck_assert_int_eq(span_u64(span_of(v->group.p + 1, v->group.n - 1), owner.n - 1, &i), 0);
	const struct store_row *w = &owner.row[i];
	ck_assert(span_eq(v->group, w->group) && span_eq(v->name, w->name));
	ck_assert(v->hlc == w->hlc && v->deleted == w->deleted && span_eq(v->body, w->body));
	(*found)++;
	return 0;
}

/* A hundred changes a second for an hour, many times what may wait. */
START_TEST(what_changed_in_an_hour_without_redis_is_there_when_it_is_back)
{
	begin();
	unsigned found = 0, change = 0;
	conf.queue_rows = HOUR_QUEUE;
	conf.timeout_ms = PATIENT_MS;
	struct store *s = start_clean();
	for (unsigned i = 0; i < HOUR_NAMES; i++) {
		snprintf(hour.name[i], sizeof(hour.name[i]), "u%u", i);
		struct store_row v = row(3, hour.name[i], "a", "", 1);
		owner_add(&owner, &v);
	}
	for (unsigned i = 0; i < HOUR_OLD; i++) {
		hour_change(s, i, change++);
		if (i % 200 == 0)
			s->ops->flush(s);
	}
	s->ops->flush(s);
	ck_assert_uint_eq(hour.failed, 0);
	cli(&server, "CONFIG SET dir %s", server.dir);
	cli(&server, "SAVE");
	server_kill(&server);
	UNTIL(!owner.up);

	while (change < HOUR_CHANGES) {
		hour_change(s, change * 7919u % HOUR_NAMES, change);
		if (++change % 100 == 0)
			loop_round(loop, 0);
		ck_assert_uint_le(state_of(s).rows_waiting, HOUR_QUEUE);
	}
	UNTIL(hour.failed == HOUR_CHANGES - HOUR_OLD); /* nobody waits for Redis */
	ck_assert(state_of(s).dirty && state_of(s).rows_waiting == 0);
	ck_assert_uint_eq(state_of(s).counters.dropped, HOUR_CHANGES - HOUR_OLD);

	server_run(&server, NULL); /* as it was an hour ago */
	ck_assert_int_eq(cli_number(&server, "DBSIZE"), HOUR_OLD + 1);
	UNTIL(state_of(s).up && !state_of(s).dirty);
	struct store *other = store_of(&conf);
	ck_assert_int_eq(other->ops->load(other, time_wall_ms(), find_row, &found), 0);
	ck_assert_uint_eq(found, HOUR_NAMES);
	other->ops->free(other);
	s->ops->free(s);
	finish();
}
END_TEST

/* ---- there, but not willing ---- */

START_TEST(scripts_that_were_flushed_are_loaded_again)
{
	begin();
	conf.timeout_ms = PATIENT_MS;
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
	conf.timeout_ms = PATIENT_MS;
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
	conf.timeout_ms = PATIENT_MS;
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

START_TEST(a_guard_waits_for_what_redis_has_refused_before)
{
	begin();
	conf.timeout_ms = PATIENT_MS;
	struct store *s = start_clean();
	struct store_row v = row(3, "alice", "a", "1", hlc_now());
	struct waiter w;
	ck_assert_int_eq(put_and_wait(s, &v, 1), 0);
	cli(&server, "CONFIG SET maxmemory 1");
	v.body = SPAN("2");
	v.hlc++;
	put_kept(s, &v, &w);
	UNTIL(w.done);
	ck_assert_int_eq(w.error, -EIO);
	cli(&server, "CONFIG SET maxmemory 0");
	/* What is there is older than what we have: nobody else was quicker. */
	v.guarded = true;
	v.expect_hlc = v.hlc;
	v.expect_node = v.node;
	v.body = SPAN("3");
	v.hlc++;
	ck_assert_int_eq(put_and_wait(s, &v, 1), 0);
	ck_assert_uint_eq(owner.refused, 0);
	ck_assert_str_eq(load_text(&conf, time_wall_ms()), "alice/a=3 ");
	s->ops->free(s);
	finish();
}
END_TEST

/* ---- coming back ---- */

START_TEST(a_guarded_unit_waits_until_everything_is_written_anew)
{
	begin();
	conf.timeout_ms = PATIENT_MS;
	struct store *s = start_clean();
	fill_owner(&owner, 3000);
	put_owner(s);
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
	  what_is_read_late_is_not_written_back,
	  what_another_has_written_there_is_read_when_it_is_asked_for,
	  what_changed_in_an_hour_without_redis_is_there_when_it_is_back,
	  a_connection_that_breaks_costs_no_unit, scripts_that_were_flushed_are_loaded_again,
	  a_primary_without_its_replicas_is_gone_until_they_are_back,
	  a_primary_that_becomes_a_replica_is_left_and_what_waits_goes_to_the_new_one,
	  what_a_full_redis_refused_is_written_when_it_has_room,
	  a_guard_waits_for_what_redis_has_refused_before,
	  a_guarded_unit_waits_until_everything_is_written_anew,
	  a_part_that_is_too_large_is_written_in_slices)
