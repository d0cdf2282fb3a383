/*
 * The Redis store: what is written how, which version wins, guards, ends and limits.  Outages:
 * test_redis_outage.c.
 */
#include "tests/unit/common/store/redis_rig.h"

static struct server server;
static struct owner owner;
static struct redis_conf conf;

#define NOW time_wall_ms()
static const uint64_t hour_ms = 3600 * 1000;

static void begin(void)
{
	loop = loop_new(0);
	ck_assert_ptr_nonnull(loop);
	server_start(&server, NULL);
	conf = conf_for(&owner, server.port);
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

/* ---- what is there ---- */

START_TEST(what_was_put_is_loaded_again_whatever_its_bytes)
{
	begin();
	struct store *s = store_of(&conf);
	struct store_row v[3] = {row(3, "alice", "", "\x01\x80", hlc_now() + 3),
				 row(3, "alice", "x", "", (uint64_t)1 << 16),
				 row(1, "b:o b", "", "body", hlc_now())};
	v[0].name = span_of("n\0\r\n\xff*", 6);
	v[0].body = span_of("\0$-1\r\n\xfe", 7);
	v[0].node = 4294967295;
	v[0].expires_ms = time_wall_ms() + hour_ms;
	v[1].deleted = true;
	v[1].expires_ms = time_wall_ms() + hour_ms;
	ck_assert_int_eq(put_and_wait(s, v, 2), 0);
	ck_assert_int_eq(put_and_wait(s, &v[2], 1), 0);
	s->ops->free(s);

	struct owner got = {0};
	s = store_of(&conf);
	ck_assert_int_eq(s->ops->load(s, NOW, owner_load, &got), 0);
	ck_assert_uint_eq(got.n, 3);
	for (unsigned i = 0; i < 3; i++) {
		const struct store_row *w = NULL, *g = &got.row[i];
		for (unsigned j = 0; j < 3; j++)
			if (g->kind == v[j].kind && span_eq(g->name, v[j].name))
				w = &v[j];
		ck_assert_ptr_nonnull(w);
		ck_assert(span_eq(g->group, w->group) && span_eq(g->body, w->body));
		ck_assert(g->hlc == w->hlc && g->node == w->node);
		ck_assert(g->expires_ms == w->expires_ms && g->deleted == w->deleted);
	}
	owner_done(&got);
	s->ops->free(s);
	finish();
}
END_TEST

START_TEST(an_operator_sees_a_hash_a_group_with_version_state_and_expiry)
{
	begin();
	struct store *s = store_of(&conf);
	struct store_row v = row(3, "alice", "desk", "sip:alice@10.0.0.1",
				 (uint64_t)1718900000123 << 16 | 7);
	v.expires_ms = 4102444800000;
	ck_assert_int_eq(put_and_wait(s, &v, 1), 0);
	ck_assert_str_eq(cli(&server, "HGETALL %s", PREFIX "binding:alice"),
			 "desk 001718900000123.00007.0000000001 live 004102444800000 "
			 "sip:alice@10.0.0.1");
	v = row(7, "a kind without a name", "", "", (uint64_t)1718900000123 << 16);
	v.deleted = true;
	v.expires_ms = 4102444800000;
	ck_assert_int_eq(put_and_wait(s, &v, 1), 0);
	ck_assert_str_eq(cli(&server, "HGETALL %s", PREFIX "7:a kind without a name"),
			 " 001718900000123.00000.0000000001 gone 004102444800000 ");
	s->ops->free(s);
	finish();
}
END_TEST

START_TEST(keys_of_others_are_left_alone)
{
	begin();
	cli(&server, "HSET %s %s %s", "eaves:{example.com}:binding:alice", "x", "y");
	cli(&server, "HSET %s %s %s", "eaves:{example.org}", "x", "y");
	cli(&server, "SET %s %s", PREFIX "notes", "of an operator");
	cli(&server, "HSET %s %s %s", PREFIX "unknown:alice", "x", "y");
	cli(&server, "HSET %s %s %s", PREFIX "binding:", "x", "y");
	ck_assert_str_eq(load_text(&conf, NOW), "");

	/* A prefix is no pattern. */
	conf.prefix = "eaves:{exampl[de].or?}:*";
	struct store *s = store_of(&conf);
	struct store_row v = row(3, "alice", "a", "1", hlc_now());
	ck_assert_int_eq(put_and_wait(s, &v, 1), 0);
	s->ops->free(s);
	ck_assert_str_eq(load_text(&conf, NOW), "alice/a=1 ");
	conf.prefix = "eaves:{example.or?}:";
	ck_assert_str_eq(load_text(&conf, NOW), "");
	ck_assert_str_eq(cli(&server, "GET %s", PREFIX "notes"), "of an operator");
	finish();
}
END_TEST

/* ---- versions ---- */

START_TEST(an_older_version_never_replaces_a_newer_one)
{
	begin();
	struct store *s = store_of(&conf);
	const uint64_t t = hlc_now();
	struct store_row v = row(3, "alice", "a", "new", t);
	ck_assert_int_eq(put_and_wait(s, &v, 1), 0);
	v = row(3, "alice", "a", "old", t - 1);
	ck_assert_int_eq(put_and_wait(s, &v, 1), 0);
	v = row(3, "alice", "a", "same clock, lower node", t);
	v.node = 0;
	ck_assert_int_eq(put_and_wait(s, &v, 1), 0);
	ck_assert_str_eq(load_text(&conf, NOW), "alice/a=new ");
	v.node = 2;
	ck_assert_int_eq(put_and_wait(s, &v, 1), 0);
	ck_assert_str_eq(load_text(&conf, NOW), "alice/a=same clock, lower node ");
	/* Beyond 53 bits. */
	v = row(3, "alice", "a", "one more", t + 1);
	ck_assert_int_eq(put_and_wait(s, &v, 1), 0);
	ck_assert_str_eq(load_text(&conf, NOW), "alice/a=one more ");
	s->ops->free(s);
	finish();
}
END_TEST

START_TEST(only_one_of_two_edges_wins_a_guarded_write)
{
	begin();
	struct owner other = {0};
	struct redis_conf c2 = conf_for(&other, server.port);
	struct store *a = store_of(&conf), *b = store_of(&c2);
	ck_assert_str_eq(load_from(a, NOW), "");
	ck_assert_str_eq(load_from(b, NOW), "");
	const uint64_t t = hlc_now();
	struct store_row v = row(1, "alice", "", "of a", t), w = row(1, "alice", "", "of b", t);
	v.guarded = w.guarded = true;
	w.node = 2;
	struct waiter wa = {0}, wb = {0};
	ck_assert_int_eq(a->ops->put(a, &v, 1, on_done, &wa), 0);
	UNTIL(wa.done);
	ck_assert_int_eq(wa.error, 0);
	ck_assert_int_eq(b->ops->put(b, &w, 1, on_done, &wb), 0);
	UNTIL(wb.done);
	ck_assert_int_eq(wb.error, -EAGAIN);
	ck_assert_uint_eq(state_of(b).counters.conflicts, 1);
	/* The loser was shown what is there, and with that he may try again. */
	ck_assert_uint_eq(other.n, 1);
	ck_assert(span_eq(other.row[0].body, SPAN("of a")) && other.row[0].hlc == t &&
		  other.row[0].node == 1);
	w.hlc = t + 1;
	w.expect_hlc = t;
	w.expect_node = 1;
	ck_assert_int_eq(put_and_wait(b, &w, 1), 0);
	/* As written already: a unit may be repeated. */
	ck_assert_int_eq(put_and_wait(b, &w, 1), 0);
	v.hlc = t + 5;
	v.expect_hlc = t;
	v.expect_node = 1;
	ck_assert_int_eq(put_and_wait(a, &v, 1), -EAGAIN);
	ck_assert_str_eq(load_text(&conf, NOW), "alice/=of b ");
	a->ops->free(a);
	b->ops->free(b);
	owner_done(&other);
	finish();
}
END_TEST

START_TEST(of_a_unit_whose_guard_fails_nothing_is_written)
{
	begin();
	struct store *s = store_of(&conf);
	const uint64_t t = hlc_now();
	struct store_row v[3] = {row(1, "alice", "", "1", t), row(3, "alice", "a", "2", t),
				 row(3, "alice", "b", "3", t)};
	struct store_row rival = row(3, "alice", "b", "0", t - 2);
	ck_assert_int_eq(put_and_wait(s, &rival, 1), 0);
	v[2].guarded = true;
	v[2].expect_hlc = t - 1;
	v[2].expect_node = 1;
	ck_assert_int_eq(put_and_wait(s, v, 3), -EAGAIN);
	ck_assert_str_eq(load_text(&conf, NOW), "alice/b=0 ");
	/* Its neighbours in the same call are not concerned. */
	const uint64_t calls = state_of(s).counters.calls;
	struct waiter w[3] = {0};
	struct store_row bob = row(3, "bob", "a", "4", t);
	ck_assert_int_eq(s->ops->put(s, &bob, 1, on_done, &w[0]), 0);
	ck_assert_int_eq(s->ops->put(s, v, 3, on_done, &w[1]), 0);
	bob.name = SPAN("b");
	ck_assert_int_eq(s->ops->put(s, &bob, 1, on_done, &w[2]), 0);
	UNTIL(w[2].done);
	ck_assert(w[0].error == 0 && w[1].error == -EAGAIN && w[2].error == 0);
	ck_assert_uint_eq(state_of(s).counters.calls, calls + 1);
	v[2].expect_hlc = t - 2;
	ck_assert_int_eq(put_and_wait(s, v, 3), 0);
	ck_assert_int_eq(cli_number(&server, "HLEN " PREFIX "binding:alice"), 2);
	s->ops->free(s);
	finish();
}
END_TEST

START_TEST(a_row_that_redis_has_lost_stands_against_nobody)
{
	begin();
	struct store *s = store_of(&conf);
	const uint64_t t = hlc_now();
	struct store_row v = row(1, "alice", "", "1", t);
	ck_assert_str_eq(load_from(s, NOW), "");
	ck_assert_int_eq(put_and_wait(s, &v, 1), 0);
	cli(&server, "DEL %s", PREFIX "user:alice");
	v.guarded = true;
	v.expect_hlc = t;
	v.expect_node = 1;
	v.hlc = t + 1;
	v.body = SPAN("2");
	ck_assert_int_eq(put_and_wait(s, &v, 1), 0);
	ck_assert_uint_eq(state_of(s).counters.conflicts, 0);
	ck_assert_str_eq(load_text(&conf, NOW), "alice/=2 ");
	s->ops->free(s);
	finish();
}
END_TEST

/* ---- the end of records ---- */

START_TEST(a_deletion_is_kept_until_its_time_and_counts_as_absent)
{
	begin();
	struct store *s = store_of(&conf);
	const uint64_t t = hlc_now(), end = time_wall_ms() + hour_ms;
	struct store_row v = row(1, "alice", "", "1", t);
	ck_assert_int_eq(put_and_wait(s, &v, 1), 0);
	ck_assert_int_eq(cli_number(&server, "PTTL " PREFIX "user:alice"), -1);
	v = row(1, "alice", "", "", t + 2);
	v.deleted = true;
	v.expires_ms = end;
	ck_assert_int_eq(put_and_wait(s, &v, 1), 0);
	ck_assert_int_eq(cli_number(&server, "PEXPIRETIME " PREFIX "user:alice"),
			 (long long)end + 60000);
	v = row(1, "alice", "", "late", t + 1);
	ck_assert_int_eq(put_and_wait(s, &v, 1), 0);
	ck_assert_str_eq(load_text(&conf, NOW), "alice/=! ");
	ck_assert_str_eq(load_text(&conf, end), "");
	v.guarded = true;
	ck_assert_int_eq(put_and_wait(s, &v, 1), -EAGAIN); /* older than the deletion */
	v.hlc = t + 3;
	ck_assert_int_eq(put_and_wait(s, &v, 1), 0);
	ck_assert_str_eq(load_text(&conf, NOW), "alice/=late ");
	ck_assert_int_eq(cli_number(&server, "PTTL " PREFIX "user:alice"), -1);
	s->ops->free(s);
	finish();
}
END_TEST

START_TEST(a_key_goes_when_the_last_of_its_records_is_forgotten)
{
	begin();
	struct store *s = store_of(&conf);
	const uint64_t t = hlc_now(), now = time_wall_ms();
	struct store_row v = row(3, "alice", "a", "1", t);
	v.expires_ms = now + hour_ms;
	ck_assert_int_eq(put_and_wait(s, &v, 1), 0);
	const char *when = "PEXPIRETIME " PREFIX "binding:alice";
	ck_assert_int_eq(cli_number(&server, when), (long long)(now + 2 * hour_ms + 60000));
	ck_assert_str_eq(load_text(&conf, v.expires_ms - 1), "alice/a=1 ");
	ck_assert_str_eq(load_text(&conf, v.expires_ms), "");
	v.name = SPAN("b"); /* sooner: nothing changes */
	v.expires_ms = now + 1000;
	ck_assert_int_eq(put_and_wait(s, &v, 1), 0);
	ck_assert_int_eq(cli_number(&server, when), (long long)(now + 2 * hour_ms + 60000));
	v.name = SPAN("c"); /* for ever */
	v.expires_ms = 0;
	ck_assert_int_eq(put_and_wait(s, &v, 1), 0);
	ck_assert_int_eq(cli_number(&server, when), -1);
	v.name = SPAN("b");
	v.hlc++;
	v.expires_ms = now + 2000;
	ck_assert_int_eq(put_and_wait(s, &v, 1), 0);
	ck_assert_int_eq(cli_number(&server, when), -1);
	v.name = SPAN("c"); /* deleted: the others decide again */
	v.hlc++;
	v.deleted = true;
	v.expires_ms = now + hour_ms;
	ck_assert_int_eq(put_and_wait(s, &v, 1), 0);
	ck_assert_int_eq(cli_number(&server, when), (long long)(now + 2 * hour_ms + 60000));
	/* What is over already does not stay. */
	v = row(3, "bob", "a", "1", t);
	v.expires_ms = now - 2 * hour_ms;
	ck_assert_int_eq(put_and_wait(s, &v, 1), 0);
	ck_assert_int_eq(cli_number(&server, "EXISTS " PREFIX "binding:bob"), 0);
	s->ops->free(s);
	finish();
}
END_TEST

START_TEST(a_client_that_binds_and_unbinds_without_end_fills_nothing)
{
	begin();
	struct store *s = store_of(&conf);
	const uint64_t t = hlc_now(), now = time_wall_ms();
	char name[16];
	struct store_row v = row(3, "alice", "stays", "1", t);
	ck_assert_int_eq(put_and_wait(s, &v, 1), 0);
	for (unsigned i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "%u", i);
		v = row(3, "alice", name, "", t + i);
		v.deleted = i % 2;
		v.expires_ms = i % 2 ? now + hour_ms : now - 2 * hour_ms;
		ck_assert_int_eq(s->ops->put(s, &v, 1, NULL, NULL), 0);
	}
	s->ops->flush(s);
	long long n = cli_number(&server, "HLEN " PREFIX "binding:alice");
	ck_assert_int_ge(n, 65);
	ck_assert_int_le(n, 65 + 16);
	ck_assert_int_eq(cli_number(&server, "HEXISTS " PREFIX "binding:alice stays"), 1);
	ck_assert_int_eq(cli_number(&server, "HEXISTS " PREFIX "binding:alice 999"), 1);
	ck_assert_int_eq(cli_number(&server, "HEXISTS " PREFIX "binding:alice 501"), 0);
	s->ops->free(s);
	finish();
}
END_TEST

/* ---- what others did to the values ---- */

START_TEST(damaged_values_are_skipped_counted_and_written_over)
{
	begin();
	static const char *const bad[] = {
		"",
		"short",
		"001718900000123.00007.0000000001 dead 004102444800000 x",
		"00171890000012a.00007.0000000001 live 004102444800000 x",
		"001718900000123.99999.0000000001 live 004102444800000 x",
		"001718900000123.00007.9999999999 live 004102444800000 x",
		"001718900000123-00007.0000000001 live 004102444800000 x",
		"001718900000123.00007.0000000001 live 00410244480000  x",
		"000000000000000.00000.0000000001 live 004102444800000 x",
		"009718900000123.00007.0000000001 live 004102444800000 far ahead",
	};
	enum { BAD = sizeof(bad) / sizeof(bad[0]) };
	for (unsigned i = 0; i < BAD; i++)
		cli(&server, "HSET %s %u %s", PREFIX "binding:alice", i, bad[i]);
	cli(&server, "HSET %s x %s", PREFIX "binding:bob",
	    "001718900000123.00007.0000000001 live 004102444800000 good");
	cli(&server, "HSET %s x %s", PREFIX "0:bob",
	    "001718900000123.00007.0000000001 live 004102444800000 no kind");
	cli(&server, "EVAL %s 1 %s",
	    "redis.call('HSET', KEYS[1], 'x', string.rep('1', 2000000))",
	    PREFIX "binding:large");
	cli(&server, "EVAL %s 1 %s",
	    "for i = 1, 5000 do redis.call('HSET', KEYS[1], i, 'x') end",
	    PREFIX "binding:many");
	cli(&server, "SET %s text", PREFIX "binding:carol");

	struct store *s = store_of(&conf);
	ck_assert_str_eq(load_from(s, NOW), "bob/x=good ");
	ck_assert_uint_eq(state_of(s).counters.skipped, BAD + 3);
	ck_assert_uint_eq(state_of(s).counters.loaded, 1);

	struct store_row v = row(3, "alice", "9", "mended", hlc_now());
	ck_assert_int_eq(put_and_wait(s, &v, 1), 0);
	v.name = SPAN("3");
	v.guarded = true;
	ck_assert_int_eq(put_and_wait(s, &v, 1), 0);
	v = row(3, "carol", "", "not a hash", hlc_now());
	ck_assert_int_eq(put_and_wait(s, &v, 1), -EIO);
	ck_assert_ptr_nonnull(strstr(state_of(s).error, "WRONGTYPE"));
	s->ops->free(s);
	ck_assert_str_eq(load_text(&conf, NOW), "alice/3=mended alice/9=mended bob/x=good ");
	finish();
}
END_TEST

static int refuse(void *arg, const struct store_row *r)
{
	unsigned *n = arg;

	if (span_eq(r->name, SPAN("bad")))
		return -EBADMSG;
	return ++*n == 3 ? -ENOSPC : 0;
}

START_TEST(a_row_that_the_owner_refuses_is_skipped_and_a_full_table_ends_the_load)
{
	begin();
	struct store *s = store_of(&conf);
	struct store_row v[5] = {
		row(3, "alice", "bad", "", hlc_now()), row(3, "alice", "1", "", hlc_now()),
		row(3, "alice", "2", "", hlc_now()), row(3, "alice", "3", "", hlc_now()),
		row(3, "alice", "4", "", hlc_now())};
	unsigned n = 0;
	ck_assert_int_eq(put_and_wait(s, v, 3), 0);
	ck_assert_int_eq(s->ops->load(s, NOW, refuse, &n), 0);
	ck_assert_uint_eq(n, 2);
	ck_assert_uint_eq(state_of(s).counters.skipped, 1);
	ck_assert_int_eq(put_and_wait(s, v, 5), 0);
	n = 0;
	ck_assert_int_eq(s->ops->load(s, NOW, refuse, &n), -ENOSPC);
	s->ops->free(s);
	finish();
}
END_TEST

/* ---- limits ---- */

START_TEST(a_queue_that_is_full_drops_what_waits_and_all_is_written_later)
{
	begin();
	enum { ROWS = 150 };
	conf.queue_rows = 100;
	struct store *s = store_of(&conf);
	struct waiter w[ROWS] = {0};
	static char name[ROWS][16];
	for (unsigned i = 0; i < ROWS; i++) {
		snprintf(name[i], sizeof(name[i]), "%u", i);
		struct store_row v = row(3, name[i], "", "1", hlc_now());
		owner_add(&owner, &v);
		ck_assert_int_eq(s->ops->put(s, &v, 1, on_done, &w[i]), 0);
	}
	UNTIL(w[ROWS - 1].done);
	for (unsigned i = 0; i < ROWS; i++)
		ck_assert_int_eq(w[i].error, -EIO);
	ck_assert(state_of(s).full && state_of(s).dirty);
	UNTIL(!state_of(s).dirty);
	ck_assert(!state_of(s).full && state_of(s).up);
	ck_assert_uint_eq(state_of(s).rows_waiting, 0);
	for (unsigned i = 0; i < ROWS; i++)
		ck_assert_int_eq(atoll(cli(&server, "EXISTS %s%s", PREFIX "binding:", name[i])),
				 1);
	ck_assert_uint_eq(s->counters.queued, 0);
	s->ops->free(s);
	finish();
}
END_TEST

START_TEST(only_a_loop_that_stands_still_or_a_unit_too_large_is_refused)
{
	begin();
	conf.queue_rows = 10;
	conf.queue_bytes = 100000;
	struct store *s = store_of(&conf);
	struct store_row v[11];
	static char large[200000];
	for (unsigned i = 0; i < 11; i++)
		v[i] = row(3, "alice", "", "1", hlc_now());
	ck_assert_int_eq(s->ops->put(s, v, 11, NULL, NULL), -ENOSPC);
	memset(large, 'x', sizeof(large) - 1);
	struct store_row big = row(3, "alice", "", large, hlc_now());
	ck_assert_int_eq(s->ops->put(s, &big, 1, NULL, NULL), -ENOSPC);
	struct store_row wrong = row(99, "alice", "", "", hlc_now());
	ck_assert_int_eq(s->ops->put(s, &wrong, 1, NULL, NULL), -EINVAL);
	unsigned taken = 0;
	while (s->ops->put(s, v, 1, NULL, NULL) == 0)
		taken++;
	ck_assert_uint_eq(taken, 20);
	UNTIL(state_of(s).up && state_of(s).rows_waiting == 0);
	ck_assert_int_eq(put_and_wait(s, v, 1), 0);
	s->ops->free(s);
	finish();
}
END_TEST

START_TEST(flush_waits_for_all_and_free_fails_what_waits)
{
	begin();
	struct store *s = store_of(&conf);
	struct waiter w[2] = {0};
	struct store_row v = row(3, "alice", "a", "1", hlc_now());
	ck_assert_int_eq(s->ops->put(s, &v, 1, on_done, &w[0]), 0);
	s->ops->flush(s);
	ck_assert(w[0].done && w[0].error == 0);
	ck_assert_int_eq(s->ops->put(s, NULL, 0, on_done, &w[1]), 0); /* a barrier */
	s->ops->flush(s);
	ck_assert(w[1].done && w[1].error == 0);
	w[1].done = false;
	ck_assert_int_eq(s->ops->put(s, &v, 1, on_done, &w[1]), 0);
	s->ops->free(s);
	ck_assert(w[1].done && w[1].error == -EIO);
	finish();
}
END_TEST

/* ---- access ---- */

START_TEST(a_wrong_password_is_told_and_the_right_one_lets_in)
{
	char *const args[] = {"--requirepass", "open sesame", NULL};
	loop = loop_new(0);
	server_start(&server, args);
	conf = conf_for(&owner, server.port);
	conf.timeout_ms = 300;
	struct store_row v = row(3, "alice", "a", "1", hlc_now());
	const char *const wrong[] = {NULL, "sesame"}, *const why[] = {"NOAUTH", "WRONGPASS"};
	for (unsigned i = 0; i < 2; i++) {
		conf.password = wrong[i];
		struct store *s = store_of(&conf);
		ck_assert_int_eq(put_and_wait(s, &v, 1), -EIO);
		ck_assert(!state_of(s).up);
		ck_assert_ptr_nonnull(strstr(state_of(s).error, why[i]));
		s->ops->free(s);
	}
	conf.password = "open sesame";
	struct store *s = store_of(&conf);
	ck_assert_int_eq(put_and_wait(s, &v, 1), 0);
	s->ops->free(s);
	ck_assert_str_eq(load_text(&conf, NOW), "alice/a=1 ");
	finish();
}
END_TEST

START_TEST(a_server_at_an_ipv6_address_serves_too)
{
	struct addr a;
	int fd = socket(AF_INET6, SOCK_STREAM, 0);
	ck_assert_int_eq(addr_parse(&a, SPAN("::1"), 0), 0);
	bool has = fd >= 0 && bind(fd, &a.sa, addr_len(&a)) == 0;
	close(fd);
	char *const args[] = {"--bind", "127.0.0.1", has ? "::1" : "127.0.0.1", NULL};
	loop = loop_new(0);
	server_start(&server, args);
	conf = conf_for(&owner, server.port);
	if (has) {
		addr_set_port(&a, server.port);
		conf.server[0] = a;
	}
	struct store *s = store_of(&conf);
	struct store_row v = row(3, "alice", "a", "1", hlc_now());
	ck_assert_int_eq(put_and_wait(s, &v, 1), 0);
	const struct redis_state now = state_of(s);
	ck_assert(now.up && addr_equal(&now.primary, &conf.server[0]));
	s->ops->free(s);
	finish();
}
END_TEST

START_TEST(a_configuration_that_cannot_work_is_named)
{
	char error[256] = "";
	loop = loop_new(0);
	struct redis_conf c = redis_conf_default;
	ck_assert_ptr_null(store_redis_new(loop, &c, error));
	ck_assert_str_eq(error, "redis: either servers or sentinels, please");
	c.sentinel[0] = local(1);
	c.nsentinels = 1;
	ck_assert_ptr_null(store_redis_new(loop, &c, error));
	ck_assert_str_eq(error, "redis: sentinels want the primary's name");
	c = conf_for(NULL, 1);
	c.kind_name[4] = "4";
	ck_assert_ptr_null(store_redis_new(loop, &c, error));
	ck_assert_str_eq(error, "redis: a kind's name begins with no digit and has no colon");
	loop_free(loop);
}
END_TEST

UNIT_MAIN("common/store redis", what_was_put_is_loaded_again_whatever_its_bytes,
	  an_operator_sees_a_hash_a_group_with_version_state_and_expiry,
	  keys_of_others_are_left_alone, an_older_version_never_replaces_a_newer_one,
	  only_one_of_two_edges_wins_a_guarded_write,
	  of_a_unit_whose_guard_fails_nothing_is_written,
	  a_row_that_redis_has_lost_stands_against_nobody,
	  a_deletion_is_kept_until_its_time_and_counts_as_absent,
	  a_key_goes_when_the_last_of_its_records_is_forgotten,
	  a_client_that_binds_and_unbinds_without_end_fills_nothing,
	  damaged_values_are_skipped_counted_and_written_over,
	  a_row_that_the_owner_refuses_is_skipped_and_a_full_table_ends_the_load,
	  a_queue_that_is_full_drops_what_waits_and_all_is_written_later,
	  only_a_loop_that_stands_still_or_a_unit_too_large_is_refused,
	  flush_waits_for_all_and_free_fails_what_waits,
	  a_wrong_password_is_told_and_the_right_one_lets_in,
	  a_server_at_an_ipv6_address_serves_too, a_configuration_that_cannot_work_is_named)
