/*
 * The Redis store with a thread of its own, many rows from several threads: nothing is lost,
 * and what a row costs is printed.
 */
#include "tests/unit/common/store/redis_rig.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

enum { ROWS = 100000, THREADS = 4, BODY_BYTES = 250 };

static struct server server;
static struct owner owner;
static struct redis_conf conf;
static struct store *store;
static atomic_uint done_ok, done_bad, wrong; /* Check has no threads, and takes its time */
static uint64_t hlc;

static void *run_loop(void *arg)
{
	(void)arg;
	loop_run(loop);
	return NULL;
}

static void on_each_done(void *arg, int error)
{
	(void)arg;
	atomic_fetch_add(error ? &done_bad : &done_ok, 1);
}

static struct store_row nth(unsigned i, uint64_t version, char group[16], const char *body)
{
	snprintf(group, 16, "user%06u", i);
	struct store_row v = row(3, group, "12345678", "", version);
	v.body = span_of(body, BODY_BYTES);
	v.expires_ms = time_wall_ms() + 3600 * 1000;
	return v;
}

/* Every fourth row, as one of four workers. */
static void *put_rows(void *arg)
{
	char group[16], body[BODY_BYTES];

	memset(body, 'x', sizeof(body));
	for (unsigned i = *(unsigned *)arg; i < ROWS; i += THREADS) {
		struct store_row v = nth(i, hlc, group, body);
		int rc;
		while ((rc = store->ops->put(store, &v, 1, on_each_done, NULL)) == -ENOSPC)
			sched_yield();
		atomic_fetch_add(&wrong, rc != 0);
	}
	return NULL;
}

static double thread_cpu_us(pthread_t t)
{
	struct timespec ts;
	clockid_t id;

	ck_assert_int_eq(pthread_getcpuclockid(t, &id), 0);
	clock_gettime(id, &ts);
	return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

static void write_all(pthread_t of_loop, const char *what)
{
	pthread_t t[THREADS];
	unsigned from[THREADS];
	msec begin = time_now();
	double ours = thread_cpu_us(of_loop), theirs = cpu_us(server.pid);
	const struct redis_state before = state_of(store);

	hlc = time_wall_ms() << 16;
	atomic_store(&done_ok, 0);
	for (unsigned i = 0; i < THREADS; i++) {
		from[i] = i;
		ck_assert_int_eq(pthread_create(&t[i], NULL, put_rows, &from[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	msec end = begin + PATIENCE_MS;
	while (atomic_load(&done_ok) + atomic_load(&done_bad) < ROWS && time_now() < end)
		store->ops->flush(store);
	ck_assert_uint_eq(atomic_load(&done_ok), ROWS);
	ck_assert_uint_eq(atomic_load(&done_bad), 0);
	double s = (double)(time_now() - begin) / 1000;
	printf("redis: %s %u rows: %.0f rows/s, loop %.2f us a row, redis-server %.2f us a "
	       "row, "
	       "%.1f rows a call\n",
	       what, ROWS, ROWS / s, (thread_cpu_us(of_loop) - ours) / ROWS,
	       (cpu_us(server.pid) - theirs) / ROWS,
	       (double)ROWS / (double)(state_of(store).counters.calls - before.counters.calls));
}

static int count_row(void *arg, const struct store_row *r)
{
	unsigned *n = arg;

	atomic_fetch_add(&wrong, r->hlc != hlc || r->body.n != BODY_BYTES || r->kind != 3);
	(*n)++;
	return 0;
}

static void load_all(void)
{
	struct store *s = store_of(&conf);
	unsigned n = 0;
	msec begin = time_now();
	double theirs = cpu_us(server.pid);
	struct timespec a, b;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
	ck_assert_int_eq(s->ops->load(s, time_wall_ms(), count_row, &n), 0);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
	double ours =
		(double)(b.tv_sec - a.tv_sec) * 1e6 + (double)(b.tv_nsec - a.tv_nsec) / 1e3;
	ck_assert_uint_eq(n, ROWS);
	ck_assert_uint_eq(atomic_load(&wrong), 0);
	printf("redis: load %u rows: %.0f rows/s, we %.2f us a row, redis-server %.2f us a "
	       "row\n",
	       n, n * 1000.0 / (double)(time_now() - begin), ours / n,
	       (cpu_us(server.pid) - theirs) / n);
	s->ops->free(s);
}

START_TEST(a_hundred_thousand_rows_are_written_by_several_threads_and_loaded)
{
	char *const args[] = {"--hash-max-listpack-value", "2048", NULL};
	pthread_t t;

	loop = loop_new(0);
	server_start(&server, args);
	conf = conf_for(&owner, server.port);
	conf.timeout_ms = PATIENCE_MS; /* a busy machine is no reason to fail */
	conf.load_ms = PATIENCE_MS;
	store = store_of(&conf);
	ck_assert_int_eq(store->ops->load(store, time_wall_ms(), owner_load, &owner), 0);
	UNTIL(state_of(store).up);
	ck_assert_int_eq(pthread_create(&t, NULL, run_loop, NULL), 0);
	write_all(t, "write");
	write_all(t, "refresh");
	printf("redis: %.0f bytes a row in redis-server\n",
	       atof(strstr(cli(&server, "INFO memory"), "used_memory:") + 12) / ROWS);
	loop_stop(loop);
	pthread_join(t, NULL);
	store->ops->free(store);

	loop_free(loop);
	loop = loop_new(0);
	load_all();
	server_end(&server);
	owner_done(&owner);
	loop_free(loop);
}
END_TEST

/* While workers put, Redis goes and comes, and what is asked of the state is asked all along.
 */
START_TEST(puts_of_several_threads_all_end_whatever_redis_does)
{
	pthread_t loop_thread, t[THREADS];
	unsigned from[THREADS];

	loop = loop_new(0);
	server_start(&server, NULL);
	conf = conf_for(NULL, server.port);
	conf.timeout_ms = 500;
	conf.queue_rows = 5000;
	store = store_of(&conf);
	hlc = time_wall_ms() << 16;
	atomic_store(&done_ok, 0);
	atomic_store(&done_bad, 0);
	ck_assert_int_eq(pthread_create(&loop_thread, NULL, run_loop, NULL), 0);
	for (unsigned i = 0; i < THREADS; i++) {
		from[i] = i;
		ck_assert_int_eq(pthread_create(&t[i], NULL, put_rows, &from[i]), 0);
	}
	while (atomic_load(&done_ok) == 0)
		atomic_fetch_add(&wrong, state_of(store).rows_waiting > 2 * conf.queue_rows);
	server_kill(&server);
	while (state_of(store).up || atomic_load(&done_bad) == 0)
		sched_yield();
	server_run(&server, NULL);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	store->ops->flush(store);
	ck_assert_uint_eq(atomic_load(&done_ok) + atomic_load(&done_bad), ROWS);
	ck_assert_uint_eq(atomic_load(&wrong), 0);
	loop_stop(loop);
	pthread_join(loop_thread, NULL);
	store->ops->free(store);
	server_end(&server);
	loop_free(loop);
}
END_TEST

UNIT_MAIN("common/store redis many",
	  a_hundred_thousand_rows_are_written_by_several_threads_and_loaded,
	  puts_of_several_threads_all_end_whatever_redis_does)
