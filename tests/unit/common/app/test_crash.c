/*
 * Last words: a child arms the handler, works on a message and crashes; the parent gets the
 * datagram, finds the line in the file and sees the child die of the signal that it crashed by.
 */
#include "common/app/crash.h"

#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { NODE = 5 };

static const struct mac_key fingerprint_key = {1, 2}, note_key = {3, 4};
static const char message[] =
	"INVITE sip:b SIP/2.0\r\nVia: v\r\nFrom: a;tag=1\r\nTo: <sip:b>\r\n"
	"Call-ID: poi\"son\r\nCSeq: 1 INVITE\r\n\r\n";

static struct rig {
	int heard[2]; /* two nodes that are told */
	struct addr at[2];
	int own, log[2];
	char path[64];
	int file;
} rig;

static int open_udp(struct addr *ret)
{
	socklen_t len = sizeof(*ret);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(addr_parse(ret, SPAN("127.0.0.1"), 0), 0);
	ck_assert_int_eq(bind(fd, &ret->sa, addr_len(ret)), 0);
	ck_assert_int_eq(getsockname(fd, &ret->sa, &len), 0);
	return fd;
}

static void set_up(void)
{
	struct addr own;
	for (int i = 0; i < 2; i++)
		rig.heard[i] = open_udp(&rig.at[i]);
	rig.own = open_udp(&own);
	strcpy(rig.path, "/tmp/eaves-crash-XXXXXX");
	rig.file = mkostemp(rig.path, O_APPEND | O_CLOEXEC);
	ck_assert_int_ge(rig.file, 0);
	ck_assert_int_eq(pipe2(rig.log, O_CLOEXEC), 0);
}

static void tear_down(void)
{
	close(rig.heard[0]);
	close(rig.heard[1]);
	close(rig.own);
	close(rig.file);
	close(rig.log[0]);
	unlink(rig.path);
}

/* ---- ways to crash ---- */

/* Where a sanitizer does not look first. */
static void by_segv(void)
{
	volatile char *p = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	p[0] = 1;
}
static void by_abort(void)
{
	abort();
}
static void by_ill(void)
{
	__builtin_trap();
}
static void by_fpe(void)
{
	raise(SIGFPE);
}
static void by_bus(void)
{
	FILE *empty = tmpfile();
	volatile char *p =
		mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fileno(empty), 0);
	p[0] = 1;
}

static volatile int depth;
static int recurse(int n)
{
	volatile char frame[4096];
	frame[0] = (char)n;
	depth = n;
	return n < 0 ? frame[0] : recurse(n + 1) + frame[0];
}
static void *overflow(void *arg)
{
	struct poison_stack *s = poison_stack_new();
	poison_begin(message, strlen(message));
	recurse(0);
	poison_stack_free(s);
	return arg;
}
static void by_overflow(void)
{
	pthread_t t;
	poison_end();
	pthread_create(&t, NULL, overflow, NULL);
	pthread_join(t, NULL);
}

static void *crash_too(void *arg)
{
	poison_begin(message, strlen(message));
	raise(SIGSEGV);
	return arg;
}
static void by_two_at_once(void)
{
	pthread_t t[2];
	poison_end();
	for (int i = 0; i < 2; i++)
		pthread_create(&t[i], NULL, crash_too, NULL);
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
}

static void arm(void)
{
	struct crash_conf c = {.fingerprint_key = fingerprint_key,
			       .note_key = note_key,
			       .node = NODE,
			       .file = rig.file,
			       .socket = rig.own,
			       .n = 2};
	memcpy(c.to, rig.at, sizeof(rig.at));
	if (crash_arm(&c) < 0)
		_exit(1);
}

/* The status of a child that does it, with the message at work or none; the log is closed to
 * be read. */
static int crash_by(void (*how)(void), const char *at_work)
{
	int status;
	pid_t child = fork();
	ck_assert_int_ge(child, 0);
	if (child == 0) {
		const struct rlimit none = {0, 0};
		for (int i = 0; i < NSIG; i++) /* as a process of its own has them */
			signal(i, SIG_DFL);
		setrlimit(RLIMIT_CORE, &none);
		dup2(rig.log[1], STDERR_FILENO);
		arm();
		if (at_work)
			poison_begin(at_work, strlen(at_work));
		how();
		_exit(2);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	close(rig.log[1]);
	return status;
}

static void assert_died_of(int status, int number)
{
	ck_assert_msg(WIFSIGNALED(status), "status %x", (unsigned)status);
	ck_assert_int_eq(WTERMSIG(status), number);
}

/* The clock that a crash reads: time() may still be in the second before. */
static time_t seconds_now(void)
{
	struct timespec now;
	ck_assert_int_eq(clock_gettime(CLOCK_REALTIME, &now), 0);
	return now.tv_sec;
}

/* Notes are there when the child has ended. */
static ssize_t hear(int i, char note[POISON_NOTE_BYTES + 1])
{
	return recv(rig.heard[i], note, POISON_NOTE_BYTES + 1, MSG_DONTWAIT);
}

static void assert_told(void)
{
	uint64_t want = poison_fingerprint(&fingerprint_key, span_str(message));
	uint64_t now = (uint64_t)seconds_now() * 1000;
	char note[POISON_NOTE_BYTES + 1];
	struct poison_item v;
	unsigned node;
	for (int i = 0; i < 2; i++) {
		ssize_t n = hear(i, note);
		ck_assert_int_eq(n, POISON_NOTE_BYTES);
		ck_assert_int_eq(
			poison_note_read(&note_key, span_of(note, (size_t)n), &node, &v), 0);
		ck_assert_uint_eq(node, NODE);
		ck_assert_uint_eq(v.fingerprint, want);
		ck_assert_uint_le(v.at_ms, now + 2000);
		ck_assert_uint_ge(v.at_ms + 60000, now);
		ck_assert_int_lt(hear(i, note), 0);
	}
	char text[256];
	ssize_t n = pread(rig.file, text, sizeof(text), 0);
	ck_assert_int_gt(n, 1);
	ck_assert_int_eq(text[n - 1], '\n');
	ck_assert_int_eq(poison_line_read(span_of(text, (size_t)n - 1), &v), 0);
	ck_assert_uint_eq(v.fingerprint, want);
}

static const struct {
	void (*how)(void);
	int number;
	const char *name;
} ways[] = {{by_segv, SIGSEGV, "SIGSEGV"},	 {by_abort, SIGABRT, "SIGABRT"},
	    {by_ill, SIGILL, "SIGILL"},		 {by_fpe, SIGFPE, "SIGFPE"},
	    {by_bus, SIGBUS, "SIGBUS"},		 {by_overflow, SIGSEGV, "SIGSEGV"},
	    {by_two_at_once, SIGSEGV, "SIGSEGV"}};

START_TEST(who_crashes_over_a_message_tells_and_writes_it_down)
{
	char text[512], want[128];
	set_up();
	assert_died_of(crash_by(ways[_i].how, message), ways[_i].number);
	assert_told();
	ssize_t n = read(rig.log[0], text, sizeof(text) - 1);
	ck_assert_int_gt(n, 0);
	text[n] = '\0';
	snprintf(want, sizeof(want),
		 " level=error event=crashed signal=%s fingerprint=", ways[_i].name);
	ck_assert_ptr_nonnull(strstr(text, want));
	ck_assert_ptr_nonnull(strstr(text, " call-id=poi?son\n"));
	tear_down();
}
END_TEST

START_TEST(the_line_of_the_log_has_the_time)
{
	char text[512] = "", day[32];
	time_t before = seconds_now();
	struct tm tm = {0};
	set_up();
	crash_by(by_abort, message);
	time_t after = seconds_now();
	ck_assert_int_gt(read(rig.log[0], text, sizeof(text) - 1), 0);
	ck_assert_ptr_nonnull(strptime(text, "ts=%Y-%m-%dT%H:%M:%S.", &tm));
	ck_assert_int_ge(timegm(&tm), before);
	ck_assert_int_le(timegm(&tm), after);
	strftime(day, sizeof(day), "ts=%Y-%m-%dT", &tm);
	ck_assert_int_eq(strncmp(text, day, strlen(day)), 0);
	tear_down();
}
END_TEST

START_TEST(a_crash_over_no_message_accuses_none)
{
	char note[POISON_NOTE_BYTES + 1], text[512] = "";
	set_up();
	assert_died_of(crash_by(by_segv, NULL), SIGSEGV);
	ck_assert_int_lt(hear(0, note), 0);
	ck_assert_int_eq(pread(rig.file, note, 1, 0), 0);
	ck_assert_int_gt(read(rig.log[0], text, sizeof(text) - 1), 0);
	ck_assert_ptr_nonnull(strstr(text, " event=crashed signal=SIGSEGV\n"));
	tear_down();
}
END_TEST

static void disarm_and_crash(void)
{
	crash_disarm();
	abort();
}

START_TEST(disarmed_it_says_nothing)
{
	char note[POISON_NOTE_BYTES + 1];
	set_up();
	assert_died_of(crash_by(disarm_and_crash, message), SIGABRT);
	ck_assert_int_lt(hear(0, note), 0);
	ck_assert_int_eq(pread(rig.file, note, 1, 0), 0);
	tear_down();
}
END_TEST

static void finish_and_crash(void)
{
	poison_end();
	abort();
}

START_TEST(what_was_finished_before_is_not_accused)
{
	char note[POISON_NOTE_BYTES + 1];
	set_up();
	assert_died_of(crash_by(finish_and_crash, message), SIGABRT);
	ck_assert_int_lt(hear(0, note), 0);
	tear_down();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("crash");
	TCase *c = tcase_create("crash");
	tcase_set_timeout(c, 60);
	tcase_add_loop_test(c, who_crashes_over_a_message_tells_and_writes_it_down, 0,
			    sizeof(ways) / sizeof(ways[0]));
	tcase_add_test(c, the_line_of_the_log_has_the_time);
	tcase_add_test(c, a_crash_over_no_message_accuses_none);
	tcase_add_test(c, disarmed_it_says_nothing);
	tcase_add_test(c, what_was_finished_before_is_not_accused);
	suite_add_tcase(s, c);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
