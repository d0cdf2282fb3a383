/*
 * The SQLite store: what is durable when, and what happens when the disk says no.
 */
#include "tests/unit/unit.h"

#include "common/store/store.h"

#include <errno.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[64], path[96], error[256];

static void make_dir(void)
{
	snprintf(dir, sizeof(dir), "/tmp/eaves-store-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/records.db", dir);
}

static void remove_dir(void)
{
	char other[128];
	unlink(path);
	snprintf(other, sizeof(other), "%s-wal", path);
	unlink(other);
	rmdir(dir);
}

static struct store *open_store(void)
{
	error[0] = 0;
	struct store *s = store_sqlite_new(path, 100000, error);
	ck_assert_msg(s != NULL, "%s", error);
	return s;
}

static struct store_row row(const char *group, const char *body, uint64_t hlc)
{
	return (struct store_row){
		.kind = 3,
		.group = span_str(group),
		.name = SPAN("n\0x"),
		.body = span_str(body),
		.hlc = hlc,
		.node = 1,
	};
}

struct waiter {
	sem_t sem;
	int error;
};

static void wake(void *arg, int e)
{
	struct waiter *w = arg;
	w->error = e;
	sem_post(&w->sem);
}

static int put_and_wait(struct store *s, const struct store_row *v, unsigned n)
{
	struct waiter w;
	sem_init(&w.sem, 0, 0);
	int rc = s->ops->put(s, v, n, wake, &w);
	if (rc < 0)
		return rc;
	while (sem_wait(&w.sem) < 0)
		;
	return w.error;
}

static int collect(void *arg, const struct store_row *r)
{
	char *out = arg;
	size_t n = strlen(out);
	snprintf(out + n, 512 - n, "%.*s=%.*s%s ", SPAN_FMT(r->group), SPAN_FMT(r->body),
		 r->deleted ? "!" : "");
	ck_assert(span_eq(r->name, SPAN("n\0x")));
	return 0;
}

static const char *rows(struct store *s, uint64_t wall_ms)
{
	static char out[512];
	out[0] = 0;
	ck_assert_int_eq(s->ops->load(s, wall_ms, collect, out), 0);
	return out;
}

START_TEST(what_was_put_is_there_after_a_restart)
{
	make_dir();
	struct store *s = open_store();
	struct store_row v[2] = {row("alice", "1", 10), row("bob", "2", 11)};
	v[1].deleted = true;
	ck_assert_int_eq(put_and_wait(s, v, 2), 0);
	s->ops->flush(s);
	ck_assert_uint_eq(s->counters.rows, 2);
	s->ops->free(s);

	struct stat st;
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 0777, 0600);
	s = open_store();
	ck_assert_str_eq(rows(s, 1), "alice=1 bob=2! ");
	s->ops->free(s);
	remove_dir();
}
END_TEST

START_TEST(an_older_version_does_not_replace_a_newer_one)
{
	make_dir();
	struct store *s = open_store();
	struct store_row v = row("alice", "new", 10);
	ck_assert_int_eq(put_and_wait(s, &v, 1), 0);
	v = row("alice", "old", 9);
	ck_assert_int_eq(put_and_wait(s, &v, 1), 0);
	v = row("alice", "same clock, lower node", 10);
	v.node = 0;
	ck_assert_int_eq(put_and_wait(s, &v, 1), 0);
	ck_assert_str_eq(rows(s, 1), "alice=new ");
	s->ops->free(s);
	remove_dir();
}
END_TEST

START_TEST(expired_rows_are_not_loaded_and_go)
{
	make_dir();
	struct store *s = open_store();
	struct store_row v[2] = {row("alice", "1", 10), row("bob", "2", 11)};
	v[0].expires_ms = 100000;
	ck_assert_int_eq(put_and_wait(s, v, 2), 0);
	ck_assert_str_eq(rows(s, 100000), "bob=2 ");
	ck_assert_str_eq(rows(s, 99999), "alice=1 bob=2 ");
	s->ops->expire(s, 100000);
	ck_assert_int_eq(put_and_wait(s, NULL, 0), 0); /* a barrier behind it */
	ck_assert_str_eq(rows(s, 99999), "bob=2 ");
	s->ops->free(s);
	remove_dir();
}
END_TEST

START_TEST(a_process_that_dies_after_done_has_lost_nothing)
{
	make_dir();
	pid_t pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		struct store *s = store_sqlite_new(path, 1000, error);
		struct store_row v = row("alice", "1", 10);
		int rc = s ? put_and_wait(s, &v, 1) : -1;
		_exit(rc == 0 ? 0 : 1); /* nothing closed, nothing flushed */
	}
	int status;
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	struct store *s = open_store();
	ck_assert_str_eq(rows(s, 1), "alice=1 ");
	s->ops->free(s);
	remove_dir();
}
END_TEST

START_TEST(a_full_disk_fails_the_put_and_the_store_goes_on)
{
	make_dir();
	struct store *s = open_store();
	struct store_row v = row("alice", "1", 10);
	ck_assert_int_eq(put_and_wait(s, &v, 1), 0);

	struct rlimit old, small;
	static char large[400000];
	memset(large, 'x', sizeof(large) - 1);
	signal(SIGXFSZ, SIG_IGN);
	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
	small = old;
	small.rlim_cur = 100000;
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
	v = row("bob", large, 11);
	ck_assert_int_eq(put_and_wait(s, &v, 1), -EIO);
	s->ops->flush(s);
	ck_assert_uint_eq(s->counters.failed, 1);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &old), 0);

	v = row("carol", "3", 12);
	ck_assert_int_eq(put_and_wait(s, &v, 1), 0);
	ck_assert_str_eq(rows(s, 1), "alice=1 carol=3 ");
	s->ops->free(s);
	remove_dir();
}
END_TEST

START_TEST(a_damaged_file_is_named_at_the_start)
{
	make_dir();
	FILE *f = fopen(path, "w");
	for (int i = 0; i < 4096; i++)
		fputs("garbage ", f);
	fclose(f);
	ck_assert_ptr_null(store_sqlite_new(path, 10, error));
	ck_assert_ptr_nonnull(strstr(error, path));
	ck_assert_ptr_nonnull(strstr(error, "not a database"));
	remove_dir();
	ck_assert_ptr_null(store_sqlite_new("/nonexistent/x.db", 10, error));
	ck_assert_str_eq(error, "/nonexistent/x.db: No such file or directory");
}
END_TEST

START_TEST(a_file_in_use_is_refused)
{
	make_dir();
	struct store *s = open_store();
	pid_t pid = fork();
	if (pid == 0) {
		bool refused = !store_sqlite_new(path, 10, error);
		_exit(refused && strstr(error, "in use by another process") ? 0 : 1);
	}
	int status;
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	s->ops->free(s);
	remove_dir();
}
END_TEST

static void hold(void *arg, int e)
{
	(void)e;
	sem_t *sems = arg;
	sem_post(&sems[0]);
	while (sem_wait(&sems[1]) < 0)
		;
}

START_TEST(the_queue_is_bounded_and_what_gathers_is_one_commit)
{
	make_dir();
	error[0] = 0;
	struct store *s = store_sqlite_new(path, 4, error);
	ck_assert_msg(s != NULL, "%s", error);
	sem_t sems[2];
	sem_init(&sems[0], 0, 0);
	sem_init(&sems[1], 0, 0);
	struct store_row v = row("alice", "1", 10);
	ck_assert_int_eq(s->ops->put(s, &v, 1, hold, sems), 0);
	while (sem_wait(&sems[0]) < 0)
		; /* committed; the thread is held in done(), its row still counts */

	ck_assert_int_eq(s->ops->put(s, &v, 1, NULL, NULL), 0);
	ck_assert_int_eq(s->ops->put(s, &v, 1, NULL, NULL), 0);
	ck_assert_int_eq(s->ops->put(s, &v, 1, NULL, NULL), 0);
	ck_assert_int_eq(s->ops->put(s, &v, 1, NULL, NULL), -ENOSPC);
	sem_post(&sems[1]);
	s->ops->flush(s);
	ck_assert_uint_eq(s->counters.commits, 2);
	ck_assert_uint_eq(s->counters.rows, 4);
	ck_assert_uint_eq(s->counters.queued, 0);
	s->ops->free(s);
	remove_dir();
}
END_TEST

START_TEST(free_commits_what_is_queued)
{
	make_dir();
	struct store *s = open_store();
	struct store_row v = row("alice", "1", 10);
	ck_assert_int_eq(s->ops->put(s, &v, 1, NULL, NULL), 0);
	s->ops->free(s);
	s = open_store();
	ck_assert_str_eq(rows(s, 1), "alice=1 ");
	s->ops->free(s);
	remove_dir();
}
END_TEST

UNIT_MAIN("common/store", what_was_put_is_there_after_a_restart,
	  an_older_version_does_not_replace_a_newer_one, expired_rows_are_not_loaded_and_go,
	  a_process_that_dies_after_done_has_lost_nothing,
	  a_full_disk_fails_the_put_and_the_store_goes_on, a_damaged_file_is_named_at_the_start,
	  a_file_in_use_is_refused, the_queue_is_bounded_and_what_gathers_is_one_commit,
	  free_commits_what_is_queued)
