/* Commands that answer later: who waits for them, and what is left when somebody goes first. */
#include "tests/unit/unit.h"

#include "common/admin/admin.h"
#include "common/admin/wire.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static struct loop *loop;
static struct admin *admin;
static char path[64], error[256], text[4096];
static struct admin_later *later;
static struct admin_reply *reply;
static unsigned ended, ended_now;

static int slow(void *arg, int argc, char **argv, struct span input, struct admin_reply *r)
{
	(void)arg;
	(void)argc;
	(void)argv;
	(void)input;
	reply = r;
	later = admin_later(r, NULL, NULL);
	ck_assert_ptr_eq(admin_later_loop(later), loop);
	admin_printf(r, "begun\n");
	return -EIO; /* which counts for nothing */
}

static int at_once(void *arg, int argc, char **argv, struct span input, struct admin_reply *r)
{
	slow(arg, argc, argv, input, r);
	admin_later_done(later, 0);
	return 0;
}

static void on_ending(void *arg, bool now)
{
	ck_assert_str_eq(arg, "told");
	ended++;
	if (!now)
		return;
	ended_now++;
	admin_printf(reply, "half of it\n");
	admin_later_done(later, -ECANCELED);
}

static int long_one(void *arg, int argc, char **argv, struct span input, struct admin_reply *r)
{
	(void)arg;
	(void)argc;
	(void)argv;
	(void)input;
	reply = r;
	later = admin_later(r, on_ending, "told");
	return 0;
}

static const struct admin_command table[] = {
	{.name = "slow", .run = slow},
	{.name = "once", .run = at_once},
	{.name = "long", .run = long_one},
};

static void start(void)
{
	snprintf(path, sizeof(path), "/tmp/eaves-test-later.%d", (int)getpid());
	signal(SIGPIPE, SIG_IGN);
	loop = loop_new(0);
	later = NULL;
	ended = ended_now = 0;
	admin = admin_new(loop, path, NULL, NULL, NULL, NULL, error);
	ck_assert_msg(admin != NULL, "%s", error);
	ck_assert_int_eq(admin_add(admin, table, 3, NULL), 0);
}

static void stop(void)
{
	admin_free(admin);
	loop_finish(loop);
	loop_free(loop);
}

static void rounds(unsigned n)
{
	while (n--)
		loop_round(loop, 0);
}

/* A client that has said a word of four letters, once it runs. */
static int ask(const char *word)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	unsigned char frame[WIRE_HEAD + 5];
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(sun.sun_path, path);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	wire_put_head(frame, WIRE_COMMAND, 5);
	memcpy(frame + WIRE_HEAD, word, 5);
	ck_assert_int_eq(send(fd, frame, sizeof(frame), 0), sizeof(frame));
	for (unsigned i = 0; !later && i < 100; i++)
		loop_round(loop, 10);
	ck_assert_ptr_nonnull(later);
	return fd;
}

/* The exit code of what has come by now, its text in `text`; -1: nothing has. */
static int answer(int fd)
{
	ssize_t n = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);

	if (n < 0)
		return -1;
	ck_assert_int_gt(n, WIRE_HEAD);
	ck_assert_int_eq(text[0], WIRE_RESULT);
	ck_assert_uint_eq(wire_len((unsigned char *)text), (size_t)n - WIRE_HEAD);
	text[n] = '\0';
	int code = text[WIRE_HEAD];
	memmove(text, text + WIRE_HEAD + 1, (size_t)n - WIRE_HEAD);
	return code;
}

START_TEST(answer_comes_when_the_command_is_done_and_others_run_meanwhile)
{
	start();
	int fd = ask("slow");
	struct admin_later *first = later;
	struct admin_reply *to = reply;
	rounds(3);
	ck_assert_int_eq(answer(fd), -1);
	later = NULL;
	int other = ask("once");
	rounds(3);
	ck_assert_int_eq(answer(other), WIRE_EXIT_OK);
	ck_assert_str_eq(text, "begun\n");
	admin_printf(to, "and more\n");
	admin_later_done(first, 0);
	rounds(3);
	ck_assert_int_eq(answer(fd), WIRE_EXIT_OK);
	ck_assert_str_eq(text, "begun\nand more\n");
	close(fd);
	close(other);
	rounds(3);
	stop();
}
END_TEST

static void *done_elsewhere(void *arg)
{
	(void)arg;
	admin_printf(reply, "elsewhere\n");
	admin_later_done(later, -ENOENT);
	return NULL;
}

START_TEST(it_may_be_done_in_another_thread)
{
	pthread_t t;
	start();
	int fd = ask("slow");
	pthread_create(&t, NULL, done_elsewhere, NULL);
	pthread_join(t, NULL);
	rounds(3);
	ck_assert_int_eq(answer(fd), WIRE_EXIT_FAILED);
	ck_assert_str_eq(text, "begun\nelsewhere\n");
	close(fd);
	stop();
}
END_TEST

START_TEST(what_a_waiting_client_says_is_not_listened_to)
{
	start();
	int fd = ask("slow");
	ck_assert_int_eq(send(fd, "nonsense that is long enough", 28, 0), 28);
	rounds(3);
	ck_assert_int_eq(answer(fd), -1);
	shutdown(fd, SHUT_WR); /* it may have said all, and wait */
	rounds(3);
	admin_later_done(later, 0);
	rounds(3);
	ck_assert_int_eq(answer(fd), WIRE_EXIT_OK);
	close(fd);
	stop();
}
END_TEST

START_TEST(command_outlives_its_client)
{
	start();
	close(ask("slow"));
	rounds(3);
	admin_printf(reply, "to nobody\n");
	admin_later_done(later, 0);
	rounds(3);
	ck_assert(!admin_busy(admin));
	stop();
}
END_TEST

START_TEST(client_waits_ten_minutes_and_the_command_goes_on)
{
	char c;
	start();
	int fd = ask("slow");
	wheel_advance(loop_wheel(loop), loop_now(loop) + 599000);
	ck_assert_int_eq(answer(fd), -1);
	wheel_advance(loop_wheel(loop), loop_now(loop) + 601000);
	rounds(1);
	ck_assert_int_eq(recv(fd, &c, 1, MSG_DONTWAIT), 0);
	close(fd);
	admin_later_done(later, 0);
	rounds(3);
	stop();
}
END_TEST

START_TEST(end_of_the_process_is_told_and_the_command_stays_good_until_it_is_done)
{
	start();
	int fd = ask("slow");
	admin_drain(admin);
	ck_assert(!admin_busy(admin)); /* it is not waited for */
	stop();
	ck_assert_int_eq(answer(fd), WIRE_EXIT_FAILED);
	ck_assert_str_eq(text, "the server is ending\n");
	admin_printf(reply, "to nobody\n");
	admin_later_done(later, 0);
	close(fd);
}
END_TEST

START_TEST(what_is_done_as_the_process_ends_is_still_said)
{
	start();
	int fd = ask("slow");
	admin_later_done(later, 0);
	stop();
	ck_assert_int_eq(answer(fd), WIRE_EXIT_OK);
	ck_assert_str_eq(text, "begun\n");
	close(fd);
}
END_TEST

START_TEST(command_that_wants_to_be_told_of_the_end_is_waited_for)
{
	start();
	int fd = ask("long");
	ck_assert(admin_busy(admin));
	admin_drain(admin);
	ck_assert_uint_eq(ended, 1);
	ck_assert(admin_busy(admin));
	admin_later_done(later, 0);
	ck_assert(admin_busy(admin)); /* until it is answered */
	rounds(3);
	ck_assert(!admin_busy(admin));
	ck_assert_int_eq(answer(fd), WIRE_EXIT_OK);
	close(fd);
	stop();
	ck_assert_uint_eq(ended, 1);
}
END_TEST

START_TEST(command_that_begins_at_the_end_is_told_at_once)
{
	start();
	admin_drain(admin);
	int fd = ask("long");
	ck_assert_uint_eq(ended, 1);
	stop();
	ck_assert_uint_eq(ended_now, 1);
	ck_assert_int_eq(answer(fd), WIRE_EXIT_FAILED);
	ck_assert_str_eq(text, "half of it\n");
	close(fd);
}
END_TEST

static int told_status;
static unsigned told_times;

static void told(void *arg, int status, struct span said)
{
	ck_assert_str_eq(arg, "asker");
	told_times++;
	told_status = status;
	snprintf(text, sizeof(text), "%.*s", SPAN_FMT(said));
}

START_TEST(command_without_a_socket_is_told_when_it_is_done)
{
	char *argv[] = {"slow", NULL};
	start();
	told_times = 0;
	admin_run(admin, 1, argv, told, "asker");
	rounds(3);
	ck_assert_uint_eq(told_times, 0);
	admin_later_done(later, -ENOENT);
	rounds(3);
	ck_assert_uint_eq(told_times, 1);
	ck_assert_int_eq(told_status, -ENOENT);
	ck_assert_str_eq(text, "begun\n");
	admin_run(admin, 1, argv, told, "asker");
	stop();
	ck_assert_uint_eq(told_times, 2);
	ck_assert_int_eq(told_status, -ECANCELED);
	admin_later_done(later, 0);
}
END_TEST

START_TEST(commands_under_way_have_a_limit)
{
	enum { MANY = 64 };
	struct admin_later *all[MANY];
	char *argv[] = {"slow", NULL};
	start();
	told_times = 0;
	for (unsigned i = 0; i < MANY; i++) {
		admin_run(admin, 1, argv, told, "asker");
		all[i] = later;
	}
	ck_assert_uint_eq(told_times, 0);
	admin_run(admin, 1, argv, told, "asker");
	ck_assert_uint_eq(told_times, 1);
	ck_assert_int_eq(told_status, -EBUSY);
	for (unsigned i = 0; i < MANY; i++)
		admin_later_done(all[i], 0);
	rounds(1);
	ck_assert_uint_eq(told_times, 1 + MANY);
	stop();
}
END_TEST

UNIT_MAIN("admin-later", answer_comes_when_the_command_is_done_and_others_run_meanwhile,
	  it_may_be_done_in_another_thread, what_a_waiting_client_says_is_not_listened_to,
	  command_outlives_its_client, client_waits_ten_minutes_and_the_command_goes_on,
	  end_of_the_process_is_told_and_the_command_stays_good_until_it_is_done,
	  what_is_done_as_the_process_ends_is_still_said,
	  command_that_wants_to_be_told_of_the_end_is_waited_for,
	  command_that_begins_at_the_end_is_told_at_once,
	  command_without_a_socket_is_told_when_it_is_done, commands_under_way_have_a_limit)
