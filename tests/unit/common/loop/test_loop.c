/*
 * The loop: order of posted work, wake-ups from other threads, hooks, timers, descriptors.
 */
#include "common/loop/loop.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { POSTERS = 4, EACH = 2000, WAIT_MS = 5000 };

struct job {
	struct loop_work work;
	unsigned poster, number;
};

static struct loop *shared;
static struct job jobs[POSTERS][EACH];
static unsigned next_number[POSTERS], done_jobs, out_of_order;

static void run_job(struct loop_work *w)
{
	struct job *j = container_of(w, struct job, work);

	if (j->number != next_number[j->poster]++)
		out_of_order++;
	if (++done_jobs == POSTERS * EACH)
		loop_stop(shared);
}

static void *post_all(void *arg)
{
	unsigned poster = (unsigned)(size_t)arg;

	for (unsigned i = 0; i < EACH; i++) {
		jobs[poster][i] = (struct job){{.run = run_job}, poster, i};
		loop_post(shared, &jobs[poster][i].work);
	}
	return NULL;
}

static void post_from_threads(unsigned moderation_us)
{
	pthread_t t[POSTERS];

	done_jobs = out_of_order = 0;
	memset(next_number, 0, sizeof(next_number));
	shared = loop_new(moderation_us);
	ck_assert_ptr_nonnull(shared);
	for (size_t i = 0; i < POSTERS; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, post_all, (void *)i), 0);
	loop_run(shared);
	for (size_t i = 0; i < POSTERS; i++)
		pthread_join(t[i], NULL);
	ck_assert_uint_eq(done_jobs, POSTERS * EACH);
	ck_assert_uint_eq(out_of_order, 0);
	loop_free(shared);
}

START_TEST(posted_work_runs_once_and_in_each_posters_order)
{
	post_from_threads(0);
}
END_TEST

START_TEST(posted_work_is_not_lost_while_wake_ups_are_moderated)
{
	post_from_threads(500);
}
END_TEST

START_TEST(work_posted_before_the_loop_runs_is_served_in_order)
{
	shared = loop_new(0);
	done_jobs = out_of_order = 0;
	memset(next_number, 0, sizeof(next_number));
	for (unsigned i = 0; i < 3; i++) {
		jobs[0][i] = (struct job){{.run = run_job}, 0, i};
		loop_post(shared, &jobs[0][i].work);
	}
	loop_round(shared, WAIT_MS);
	ck_assert_uint_eq(done_jobs, 3);
	ck_assert_uint_eq(out_of_order, 0);
	loop_free(shared);
}
END_TEST

static void *stop_it(void *arg)
{
	loop_stop(arg);
	return NULL;
}

/* A loop in a thread of its own, and what it had served when the round that posted to it came
 * to its end. */
static struct {
	struct loop *l;
	atomic_int tid;
	atomic_uint done;
	unsigned at_end;
} other;

static void run_other(struct loop_work *w)
{
	(void)w;
	atomic_fetch_add(&other.done, 1);
}

static void *run_other_loop(void *arg)
{
	(void)arg;
	atomic_store(&other.tid, gettid());
	loop_run(other.l);
	return NULL;
}

/* There is nothing that it could wait for but its descriptors. */
static bool other_sleeps(void)
{
	char path[64], state = 0;

	if (!atomic_load(&other.tid))
		return false;
	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", atomic_load(&other.tid));
	FILE *f = fopen(path, "r");
	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(fscanf(f, "%*d (%*[^)]) %c", &state), 1);
	fclose(f);
	return state == 'S';
}

enum { OTHERS = 12, POSTS = 200 };
static struct loop_work posts[POSTS];
static unsigned nposts;

static void post_posts(struct loop_work *w)
{
	(void)w;
	for (unsigned i = 0; i < nposts; i++) {
		posts[i].run = run_other;
		loop_post(other.l, &posts[i]);
	}
	other.at_end = atomic_load(&other.done);
}

static void post_in_round(unsigned n)
{
	struct loop *l = loop_new(0);
	struct loop_work start = {.run = post_posts};
	pthread_t t;

	loop_gather_wakes(l);
	other.l = loop_new(0);
	atomic_store(&other.done, 0);
	atomic_store(&other.tid, 0);
	nposts = n;
	ck_assert_int_eq(pthread_create(&t, NULL, run_other_loop, NULL), 0);
	while (!other_sleeps())
		sched_yield();
	loop_post(l, &start);
	loop_round(l, 0);
	while (atomic_load(&other.done) < n)
		sched_yield();
	loop_stop(other.l);
	pthread_join(t, NULL);
	loop_free(l);
	loop_free(other.l);
}

START_TEST(a_loop_that_gathers_wake_ups_gives_them_at_the_end_of_its_round)
{
	post_in_round(3);
	ck_assert_uint_eq(other.at_end, 0);
	post_in_round(POSTS); /* so many not in vain */
}
END_TEST

static struct loop *many[OTHERS];

static void post_to_many(struct loop_work *w)
{
	(void)w;
	for (unsigned i = 0; i < OTHERS; i++) {
		posts[i].run = run_other;
		loop_post(many[i], &posts[i]);
	}
}

static void *wait_for_one(void *arg)
{
	loop_round(arg, WAIT_MS);
	return NULL;
}

START_TEST(more_loops_than_are_remembered_are_all_woken)
{
	struct loop *l = loop_new(0);
	struct loop_work start = {.run = post_to_many};
	pthread_t t[OTHERS];

	loop_gather_wakes(l);
	atomic_store(&other.done, 0);
	for (unsigned i = 0; i < OTHERS; i++) {
		many[i] = loop_new(0);
		ck_assert_int_eq(pthread_create(&t[i], NULL, wait_for_one, many[i]), 0);
	}
	loop_post(l, &start);
	loop_round(l, 0);
	for (unsigned i = 0; i < OTHERS; i++) {
		pthread_join(t[i], NULL);
		loop_free(many[i]);
	}
	ck_assert_uint_eq(atomic_load(&other.done), OTHERS);
	loop_free(l);
}
END_TEST

START_TEST(stop_from_another_thread_ends_a_sleeping_loop)
{
	struct loop *l = loop_new(0);
	pthread_t t;

	ck_assert_int_eq(pthread_create(&t, NULL, stop_it, l), 0);
	loop_run(l);
	pthread_join(t, NULL);
	loop_free(l);
}
END_TEST

static void note_signal(void *arg, int sig)
{
	*(int *)arg = sig;
}

START_TEST(a_signal_is_told_in_the_loop)
{
	struct loop *l = loop_new(0);
	int got[4] = {0};

	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(
			loop_on_signal(l, i ? SIGRTMIN + i : SIGUSR1, note_signal, &got[i]), 0);
	ck_assert_int_eq(loop_on_signal(l, SIGUSR2, note_signal, got), -ENOSPC);
	raise(SIGUSR1);
	ck_assert_int_eq(got[0], 0);
	loop_round(l, WAIT_MS);
	ck_assert_int_eq(got[0], SIGUSR1);
	ck_assert_int_eq(got[1], 0);
	loop_free(l);
}
END_TEST

struct chain {
	struct loop_work work;
	struct loop *loop;
	unsigned left, *runs, *flushed;
};

static void run_chain(struct loop_work *w)
{
	struct chain *c = container_of(w, struct chain, work);

	++*c->runs;
	if (c->left-- > 0)
		loop_post(c->loop, w);
}

static void flush_chain(void *arg)
{
	struct chain *c = arg;

	*c->flushed = *c->runs;
}

START_TEST(what_is_posted_to_a_stopped_loop_can_be_finished)
{
	struct loop *l = loop_new(0);
	unsigned runs = 0, flushed = 0;
	struct chain c = {{.run = run_chain}, l, 2, &runs, &flushed};

	ck_assert_int_eq(loop_on_round(l, flush_chain, &c), 0);
	loop_post(l, &c.work);
	ck_assert_uint_eq(loop_finish(l), 3);
	ck_assert_uint_eq(flushed, 3);
	ck_assert_uint_eq(loop_finish(l), 0);
	loop_free(l);
}
END_TEST

static char order[16];
static void hook(void *arg)
{
	strcat(order, arg);
}

START_TEST(hooks_run_before_the_sleep_and_the_newest_first)
{
	struct loop *l = loop_new(0);

	order[0] = '\0';
	ck_assert_int_eq(loop_on_round(l, hook, "net "), 0);
	ck_assert_int_eq(loop_on_round(l, hook, "stack "), 0);
	loop_round(l, 0);
	ck_assert_str_eq(order, "stack net ");
	loop_off_round(l, hook, "stack ");
	loop_round(l, 0);
	loop_free(l);
}
END_TEST

START_TEST(a_ninth_hook_is_refused)
{
	struct loop *l = loop_new(0);

	for (int i = 0; i < 8; i++)
		ck_assert_int_eq(loop_on_round(l, hook, ""), 0);
	ck_assert_int_eq(loop_on_round(l, hook, ""), -28);
	loop_free(l);
}
END_TEST

static msec fired_at;
static void fire(struct wheel_timer *t, msec now)
{
	(void)t;
	fired_at = now;
}

START_TEST(a_wheel_timer_wakes_the_loop_when_due_and_not_before)
{
	struct loop *l = loop_new(0);
	struct wheel_timer t;
	msec start = loop_now(l);

	fired_at = 0;
	wheel_timer_init(&t, fire);
	wheel_arm(loop_wheel(l), &t, start + 20);
	for (int i = 0; i < 10 && !fired_at; i++)
		loop_round(l, WAIT_MS);
	ck_assert_uint_ge(fired_at, start + 20);
	ck_assert_uint_lt(fired_at, start + WAIT_MS);
	loop_free(l);
}
END_TEST

START_TEST(an_earlier_timer_armed_later_is_served_first)
{
	struct loop *l = loop_new(0);
	struct wheel_timer late, early;
	msec start = loop_now(l);

	fired_at = 0;
	wheel_timer_init(&late, fire);
	wheel_timer_init(&early, fire);
	wheel_arm(loop_wheel(l), &late, start + 60000);
	loop_round(l, 1);
	wheel_arm(loop_wheel(l), &early, loop_now(l) + 5);
	for (int i = 0; i < 10 && !fired_at; i++)
		loop_round(l, WAIT_MS);
	ck_assert_uint_ne(fired_at, 0);
	ck_assert_uint_lt(fired_at, start + WAIT_MS);
	wheel_stop(loop_wheel(l), &late);
	loop_free(l);
}
END_TEST

static void readable(evutil_socket_t fd, short what, void *arg)
{
	char c;

	(void)what;
	ck_assert_int_eq(read(fd, &c, 1), 1);
	*(char *)arg = c;
}

START_TEST(a_descriptor_is_served_by_a_round)
{
	struct loop *l = loop_new(0);
	int s[2];
	char got = 0;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
	struct event *e = event_new(loop_base(l), s[0], EV_READ | EV_PERSIST, readable, &got);
	event_add(e, NULL);
	loop_round(l, 0);
	ck_assert_int_eq(got, 0);
	ck_assert_int_eq(write(s[1], "x", 1), 1);
	loop_round(l, WAIT_MS);
	ck_assert_int_eq(got, 'x');
	event_free(e);
	close(s[0]);
	close(s[1]);
	loop_free(l);
}
END_TEST

static unsigned ngaps, served_since;
static msec last_gap;

static void on_gap(void *arg, msec gap)
{
	(void)arg;
	ngaps++;
	last_gap = gap;
	ck_assert_uint_eq(served_since, 0);
}

static void serve(void *arg, unsigned events)
{
	char c;

	(void)events;
	ck_assert_int_eq(read(*(int *)arg, &c, 1), 1);
	served_since++;
}

static msec wait_past(msec until)
{
	msec now;
	while ((now = time_now()) <= until)
		;
	return now;
}

/* What a start takes before (a store is read, Redis waited for) is no part of what is counted
 * from its end. */
START_TEST(before_its_first_round_a_loop_has_the_time_of_the_clock)
{
	struct loop *l = loop_new(0);
	msec later = wait_past(loop_now(l));
	ck_assert_uint_ge(loop_now(l), later);
	later = wait_past(later);
	ck_assert_uint_ge(loop_now(l), later);
	loop_round(l, 0);
	msec round = loop_now(l);
	wait_past(round);
	ck_assert_uint_eq(loop_now(l), round);
	loop_free(l);
}
END_TEST

START_TEST(what_a_start_takes_is_no_stop_of_the_process)
{
	enum { GAP_MS = 30 };
	struct loop *l = loop_new(0);
	ngaps = served_since = 0;
	loop_on_gap(l, GAP_MS, on_gap, NULL);
	wait_past(loop_now(l) + GAP_MS);
	loop_now(l);
	wait_past(time_now() + GAP_MS);
	loop_round(l, 0);
	ck_assert_uint_eq(ngaps, 0);
	wait_past(loop_now(l) + GAP_MS);
	loop_round(l, 0);
	ck_assert_uint_eq(ngaps, 1);
	loop_free(l);
}
END_TEST

START_TEST(a_stop_of_the_process_is_told_before_what_came_meanwhile_is_served)
{
	enum { GAP_MS = 300 };
	const struct timespec stop = {.tv_nsec = (GAP_MS + 100) * 1000000};
	struct loop *l = loop_new(0);
	int s[2];

	ngaps = served_since = 0;
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
	struct loop_watch *w = loop_watch_new(l, s[0], serve, &s[0]);
	ck_assert_int_eq(loop_watch_set(w, LOOP_READ), 0);
	loop_on_gap(l, GAP_MS, on_gap, NULL);
	loop_round(l, 0);
	ck_assert_int_eq(write(s[1], "x", 1), 1);
	nanosleep(&stop, NULL); /* as if stopped */
	loop_round(l, WAIT_MS);
	ck_assert_uint_eq(ngaps, 1);
	ck_assert_uint_gt(last_gap, GAP_MS);
	ck_assert_uint_eq(served_since, 1);
	/* With nothing to do it wakes all the same: sleep is no gap. */
	msec before = time_now();
	loop_round(l, WAIT_MS);
	ck_assert_uint_lt(time_now() - before, WAIT_MS);
	loop_watch_free(w);
	close(s[0]);
	close(s[1]);
	loop_free(l);
}
END_TEST

UNIT_MAIN("loop", posted_work_runs_once_and_in_each_posters_order,
	  posted_work_is_not_lost_while_wake_ups_are_moderated,
	  work_posted_before_the_loop_runs_is_served_in_order, a_signal_is_told_in_the_loop,
	  what_is_posted_to_a_stopped_loop_can_be_finished,
	  a_loop_that_gathers_wake_ups_gives_them_at_the_end_of_its_round,
	  more_loops_than_are_remembered_are_all_woken,
	  stop_from_another_thread_ends_a_sleeping_loop,
	  hooks_run_before_the_sleep_and_the_newest_first, a_ninth_hook_is_refused,
	  a_wheel_timer_wakes_the_loop_when_due_and_not_before,
	  an_earlier_timer_armed_later_is_served_first, a_descriptor_is_served_by_a_round,
	  before_its_first_round_a_loop_has_the_time_of_the_clock,
	  what_a_start_takes_is_no_stop_of_the_process,
	  a_stop_of_the_process_is_told_before_what_came_meanwhile_is_served)
