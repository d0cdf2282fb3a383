/*
 * Records over the SQLite store: what a restart finds, and who hears when.
 */
#include "tests/unit/unit.h"

#include "common/records/records.h"
#include "common/store/store.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

enum { T0 = 1000000, THREADS = 4, EACH = 200 };

static char path[64], error[256];

static void make_path(void)
{
	snprintf(path, sizeof(path), "/tmp/eaves-records-%d.db", (int)getpid());
	unlink(path);
}

static void remove_path(void)
{
	char wal[80];
	unlink(path);
	snprintf(wal, sizeof(wal), "%s-wal", path);
	unlink(wal);
}

static struct store *open_store(size_t queue_max)
{
	struct store *s = store_sqlite_new(path, queue_max, error);
	ck_assert_msg(s != NULL, "%s", error);
	return s;
}

static struct record rec(const char *group, const char *body)
{
	return (struct record){
		.kind = RECORD_USER,
		.group = span_str(group),
		.body = span_str(body),
	};
}

static bool copy_body(void *arg, const struct record *v)
{
	snprintf(arg, 64, "%.*s", SPAN_FMT(v->body));
	return true;
}

static void count_done(void *arg, int e)
{
	if (e == 0)
		atomic_fetch_add((atomic_int *)arg, 1);
}

START_TEST(a_restart_finds_records_versions_and_tombstones)
{
	make_path();
	struct store *s = open_store(100);
	struct records *r = records_new(s, 7, 100, NULL);
	struct record v = rec("alice", "1"), gone = rec("bob", "1");
	atomic_int done = 0;
	char body[64] = "";

	ck_assert_int_eq(records_put(r, &v, 1, NULL, T0, count_done, &done), 0);
	ck_assert_int_eq(records_put(r, &gone, 1, NULL, T0, count_done, &done), 0);
	gone.deleted = true;
	ck_assert_int_eq(records_put(r, &gone, 1, NULL, T0, count_done, &done), 0);
	s->ops->flush(s);
	ck_assert_int_eq(done, 3);
	struct record_version before, after;
	records_each(r, RECORD_USER, SPAN("alice"), T0, copy_body, body, &before);
	records_free(r);
	s->ops->free(s);

	s = open_store(100);
	r = records_new(s, 7, 100, NULL);
	ck_assert_int_eq(records_load(r, T0), 0);
	body[0] = 0;
	ck_assert_uint_eq(
		records_each(r, RECORD_USER, SPAN("alice"), T0, copy_body, body, &after), 1);
	ck_assert_str_eq(body, "1");
	ck_assert_int_eq(record_version_cmp(before, after), 0);
	ck_assert_uint_eq(records_counters(r).records, 2);
	ck_assert_uint_eq(records_count(r, RECORD_USER), 1);

	/* The clock of the new process is behind; what it writes is newer all the same. */
	v.body = SPAN("2");
	ck_assert_int_eq(records_put(r, &v, 1, NULL, T0 - 5000, NULL, NULL), 0);
	s->ops->flush(s);
	records_free(r);
	r = records_new(s, 7, 100, NULL);
	ck_assert_int_eq(records_load(r, T0), 0);
	records_each(r, RECORD_USER, SPAN("alice"), T0, copy_body, body, NULL);
	ck_assert_str_eq(body, "2");
	records_free(r);
	s->ops->free(s);
	remove_path();
}
END_TEST

START_TEST(a_full_queue_leaves_the_table_as_it_was)
{
	make_path();
	struct store *s = open_store(0);
	struct records *r = records_new(s, 1, 100, NULL);
	struct record v = rec("alice", "1");
	ck_assert_int_eq(records_put(r, &v, 1, NULL, T0, NULL, NULL), -ENOSPC);
	ck_assert_uint_eq(records_counters(r).records, 0);
	ck_assert_uint_eq(records_count(r, RECORD_USER), 0);
	records_free(r);
	s->ops->free(s);
	remove_path();
}
END_TEST

START_TEST(more_in_the_store_than_the_limit_is_an_error_at_the_start)
{
	make_path();
	struct store *s = open_store(100);
	struct records *r = records_new(s, 1, 100, NULL);
	struct record v = rec("alice", "1"), w = rec("bob", "1");
	ck_assert_int_eq(records_put(r, &v, 1, NULL, T0, NULL, NULL), 0);
	ck_assert_int_eq(records_put(r, &w, 1, NULL, T0, NULL, NULL), 0);
	s->ops->flush(s);
	records_free(r);
	r = records_new(s, 1, 1, NULL);
	ck_assert_int_eq(records_load(r, T0), -ENOSPC);
	records_free(r);
	s->ops->free(s);
	remove_path();
}
END_TEST

/* As SCAN of Redis may. */
static int show_twice(struct store *s, uint64_t wall_ms,
		      int (*each)(void *arg, const struct store_row *row), void *arg)
{
	struct store_row v = {.kind = RECORD_USER,
			      .group = SPAN("alice"),
			      .body = SPAN("old"),
			      .hlc = wall_ms << 16,
			      .node = 1};
	static const char *const body[] = {"old", "old", "new", "old"};

	(void)s;
	for (unsigned i = 0; i < 4; i++) {
		v.body = span_str(body[i]);
		v.node = v.body.p[0] == 'n' ? 2 : 1;
		int rc = each(arg, &v);
		if (rc < 0)
			return rc;
	}
	return 0;
}

START_TEST(a_row_that_the_store_shows_twice_is_one_record_the_newest)
{
	const struct store_ops ops = {.load = show_twice};
	struct store s = {.ops = &ops};
	struct records *r = records_new(&s, 1, 1, NULL);
	char body[64] = "";
	ck_assert_int_eq(records_load(r, T0), 0);
	ck_assert_uint_eq(
		records_each(r, RECORD_USER, SPAN("alice"), T0, copy_body, body, NULL), 1);
	ck_assert_str_eq(body, "new");
	ck_assert_uint_eq(records_counters(r).records, 1);
	ck_assert_uint_eq(records_count(r, RECORD_USER), 1);
	records_free(r);
}
END_TEST

struct worker {
	pthread_t thread;
	struct records *r;
	atomic_int done;
	int number;
};

static bool stop_at_one(void *arg, const struct record *v)
{
	(void)v;
	(*(int *)arg)++;
	return false;
}

static void *work(void *arg)
{
	struct worker *w = arg;
	for (int i = 0; i < EACH; i++) {
		char group[16];
		int seen = 0;
		snprintf(group, sizeof(group), "u%d", (i * 7 + w->number) % 50);
		struct record v = rec(group, "body");
		v.deleted = i % 5 == 4;
		ck_assert_int_eq(
			records_put(w->r, &v, 1, NULL, T0 + (unsigned)i, count_done, &w->done),
			0);
		records_each(w->r, RECORD_USER, v.group, T0, stop_at_one, &seen, NULL);
		if (i % 50 == 0)
			records_sweep(w->r, T0);
	}
	return NULL;
}

static bool compare_scan(void *arg, const struct record *v)
{
	uint64_t *sum = arg;
	*sum += v->version.hlc * 31 + (unsigned char)v->group.p[1];
	return true;
}

START_TEST(threads_share_the_table_and_the_store_agrees_with_it)
{
	make_path();
	struct store *s = open_store(100000);
	struct records *r = records_new(s, 1, 1000, NULL);
	static struct worker w[THREADS];
	uint64_t sum = 0, reloaded = 0;

	for (int i = 0; i < THREADS; i++) {
		w[i] = (struct worker){.r = r, .number = i};
		ck_assert_int_eq(pthread_create(&w[i].thread, NULL, work, &w[i]), 0);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(w[i].thread, NULL);
	s->ops->flush(s);
	for (int i = 0; i < THREADS; i++)
		ck_assert_int_eq(w[i].done, EACH);
	ck_assert_uint_lt(s->counters.commits, THREADS * EACH); /* in groups */
	records_scan(r, RECORD_USER, T0, compare_scan, &sum);
	size_t n = records_count(r, RECORD_USER);
	records_free(r);
	r = records_new(s, 1, 1000, NULL);
	ck_assert_int_eq(records_load(r, T0), 0);
	records_scan(r, RECORD_USER, T0, compare_scan, &reloaded);
	ck_assert_uint_eq(sum, reloaded);
	ck_assert_uint_eq(records_count(r, RECORD_USER), n);
	records_free(r);
	s->ops->free(s);
	remove_path();
}
END_TEST

UNIT_MAIN("common/records durable", a_restart_finds_records_versions_and_tombstones,
	  a_full_queue_leaves_the_table_as_it_was,
	  more_in_the_store_than_the_limit_is_an_error_at_the_start,
	  a_row_that_the_store_shows_twice_is_one_record_the_newest,
	  threads_share_the_table_and_the_store_agrees_with_it)
