/* Commands over the Unix socket, and the two pages, by sockets that the test holds itself. */
#include "tests/unit/port.h"

#include "common/admin/admin.h"
#include "common/admin/wire.h"
#include "common/base/addr.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static struct loop *loop;
static struct admin *admin;
static struct metrics *metrics;
static char path[64], error[256], text[1 << 20];
static uint16_t http_port;
static bool is_healthy;
static unsigned ran;

static int echo(void *arg, int argc, char **argv, struct span input, struct admin_reply *r)
{
	(void)input;
	ran++;
	ck_assert_ptr_null(argv[argc]);
	admin_printf(r, "%s", (const char *)arg);
	for (int i = 0; i < argc; i++)
		admin_printf(r, " %s", argv[i]);
	admin_printf(r, "\n");
	return 0;
}

static int take(void *arg, int argc, char **argv, struct span input, struct admin_reply *r)
{
	(void)arg;
	(void)argc;
	(void)argv;
	ran++;
	admin_printf(r, "%zu bytes, %.*s\n", input.n, (int)(input.n < 20 ? input.n : 20),
		     input.p);
	return 0;
}

static int refuse(void *arg, int argc, char **argv, struct span input, struct admin_reply *r)
{
	(void)arg;
	(void)input;
	(void)argv;
	if (argc)
		admin_printf(r, "it is there already\n");
	return -EEXIST;
}

static int flood(void *arg, int argc, char **argv, struct span input, struct admin_reply *r)
{
	(void)arg;
	(void)argc;
	(void)argv;
	(void)input;
	for (unsigned i = 0; i < 70000; i++)
		admin_printf(r, "%01023d\n", 1);
	return 0;
}

static int disorder(void *arg, int argc, char **argv, struct span input, struct admin_reply *r)
{
	(void)arg;
	(void)argc;
	(void)argv;
	(void)input;
	admin_sort_lines(r);
	admin_printf(r, "one line\n");
	admin_sort_lines(r);
	admin_printf(r, "b\nab\n\na\n a tail");
	admin_sort_lines(r);
	return 0;
}

static const struct admin_command table[] = {
	{.name = "disorder", .help = "lines in no order", .run = disorder},
	{.name = "user", .args = "[A]", .help = "one word", .run = echo},
	{.name = "user show", .args = "NAME [MORE]", .help = "two words", .run = echo},
	{.name = "user add", .args = "NAME", .help = "a secret", .secret = true, .run = take},
	{.name = "user import", .help = "bulk", .bulk = true, .run = take},
	{.name = "refuse", .args = "[A]", .help = "fails", .run = refuse},
	{.name = "flood", .help = "says too much", .run = flood},
};

static bool healthy(void *arg)
{
	return *(bool *)arg;
}

static void write_metrics(void *arg, struct metrics_out *o)
{
	(void)arg;
	metrics_family(o, "test_total", METRICS_COUNTER, "A test.");
	metrics_sample(o, NULL, 1);
}

static void start(void)
{
	char http[32];

	snprintf(path, sizeof(path), "/tmp/eaves-test-admin.%d", (int)getpid());
	http_port = free_port("127.0.0.1");
	snprintf(http, sizeof(http), "127.0.0.1:%u", http_port);
	loop = loop_new(0);
	metrics = metrics_new();
	is_healthy = true;
	ran = 0;
	ck_assert_int_eq(metrics_add(metrics, write_metrics, NULL), 0);
	admin = admin_new(loop, path, http, metrics, healthy, &is_healthy, error);
	ck_assert_msg(admin != NULL, "%s", error);
	ck_assert_int_eq(admin_add(admin, table, sizeof(table) / sizeof(table[0]), "said:"), 0);
}

static void stop(void)
{
	admin_free(admin);
	metrics_free(metrics);
	loop_free(loop);
	ck_assert_int_eq(access(path, F_OK), -1);
}

static int dial(void)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	strcpy(sun.sun_path, path);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	return fd;
}

static int dial_http(void)
{
	struct sockaddr_in sin = {.sin_family = AF_INET,
				  .sin_port = htons(http_port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	ck_assert_int_eq(connect(fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	return fd;
}

/* Writes all, serving the loop meanwhile. */
static void say(int fd, const void *p, size_t n)
{
	const char *at = p;

	while (n) {
		ssize_t r = send(fd, at, n, MSG_NOSIGNAL);

		if (r < 0) {
			if (errno != EAGAIN)
				return; /* refused already */
			loop_round(loop, 10);
			continue;
		}
		at += r;
		n -= (size_t)r;
	}
}

static void say_frame(int fd, unsigned char type, const void *p, size_t n)
{
	unsigned char head[WIRE_HEAD];

	wire_put_head(head, type, (unsigned)n);
	say(fd, head, sizeof(head));
	say(fd, p, n);
}

/* n bytes, or all until the end; what came. */
static size_t hear(int fd, char *to, size_t n)
{
	size_t got = 0;

	for (unsigned i = 0; got < n && i < 20000; i++) {
		ssize_t r = recv(fd, to + got, n - got, 0);

		if (r > 0)
			got += (size_t)r;
		else if (r == 0 || errno != EAGAIN)
			break;
		else
			loop_round(loop, 10);
	}
	return got;
}

/* The result frame's code, its text in `text`; -1 when the connection just ended. */
static int result(int fd)
{
	unsigned char head[WIRE_HEAD];
	size_t n;

	if (hear(fd, (char *)head, sizeof(head)) < sizeof(head))
		return -1;
	ck_assert_int_eq(head[0], WIRE_RESULT);
	n = wire_len(head);
	ck_assert_uint_lt(n, sizeof(text));
	ck_assert_uint_eq(hear(fd, text, n), n);
	text[n] = '\0';
	int code = text[0];
	memmove(text, text + 1, n);
	ck_assert_uint_eq(hear(fd, (char *)head, 1), 0); /* the server closes */
	close(fd);
	return code;
}

#define COMMAND(words) \
	(say_frame(last = dial(), WIRE_COMMAND, words, sizeof(words)), result(last))
static int last;
#define SAYS(part) (strstr(text, part) != NULL)

START_TEST(longest_name_gets_the_rest_as_arguments)
{
	start();
	ck_assert_int_eq(COMMAND("user\0show\0alice"), 0);
	ck_assert_str_eq(text, "said: alice\n");
	ck_assert_int_eq(COMMAND("user\0show\0alice\0more words"), 0);
	ck_assert_str_eq(text, "said: alice more words\n");
	ck_assert_int_eq(COMMAND("user\0alice"), 0);
	ck_assert_str_eq(text, "said: alice\n");
	ck_assert_int_eq(COMMAND("user"), 0);
	ck_assert_str_eq(text, "said:\n");
	stop();
}
END_TEST

START_TEST(wrong_arguments_and_unknown_commands_are_usage)
{
	start();
	ck_assert_int_eq(COMMAND("user\0show"), WIRE_EXIT_USAGE);
	ck_assert_str_eq(text, "usage: user show NAME [MORE]\n");
	ck_assert_int_eq(COMMAND("user\0show\0a\0b\0c"), WIRE_EXIT_USAGE);
	ck_assert_int_eq(COMMAND("flood\0x"), WIRE_EXIT_USAGE);
	ck_assert_str_eq(text, "usage: flood\n");
	ck_assert_int_eq(COMMAND("use"), WIRE_EXIT_USAGE);
	ck_assert(SAYS("begin so:\n") && SAYS("user show NAME [MORE]") && !SAYS("flood"));
	ck_assert_int_eq(COMMAND("nonsense"), WIRE_EXIT_USAGE);
	ck_assert(SAYS("these are there:\n") && SAYS("flood"));
	ck_assert_int_eq(COMMAND(""), WIRE_EXIT_USAGE);
	ck_assert_uint_eq(ran, 0);
	stop();
}
END_TEST

START_TEST(lines_are_sorted_and_an_unfinished_one_stays_last)
{
	start();
	ck_assert_int_eq(COMMAND("disorder"), 0);
	ck_assert_str_eq(text, "\na\nab\nb\none line\n a tail");
	stop();
}
END_TEST

START_TEST(help_lists_every_table_or_what_begins_so)
{
	start();
	ck_assert_int_eq(COMMAND("help"), 0);
	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		ck_assert_ptr_nonnull(strstr(text, table[i].help));
	for (unsigned i = 0; i < 15; i++)
		ck_assert_int_eq(admin_add(admin, table, 1, NULL), 0);
	ck_assert_int_eq(admin_add(admin, table, 1, NULL), -ENOSPC);
	ck_assert_int_eq(COMMAND("help\0user"), 0);
	ck_assert(SAYS("one word") && SAYS("user show NAME") && SAYS("user import"));
	ck_assert(!SAYS("flood") && !SAYS("this list"));
	ck_assert_int_eq(COMMAND("help\0user\0s"), 0);
	ck_assert(SAYS("user show NAME") && !SAYS("user add"));
	ck_assert_int_eq(COMMAND("help\0us\0show"), WIRE_EXIT_USAGE);
	ck_assert(SAYS("no such command; these are there:\n") && SAYS("flood"));
	stop();
}
END_TEST

START_TEST(failure_has_the_text_of_the_command_or_of_the_error)
{
	start();
	ck_assert_int_eq(COMMAND("refuse\0x"), WIRE_EXIT_FAILED);
	ck_assert_str_eq(text, "it is there already\n");
	ck_assert_int_eq(COMMAND("refuse"), WIRE_EXIT_FAILED);
	ck_assert_str_eq(text, "File exists\n");
	ck_assert_int_eq(COMMAND("flood"), WIRE_EXIT_FAILED);
	ck_assert_str_eq(text, "the answer is too long\n");
	stop();
}
END_TEST

static int ask_and_send(const char *words, size_t n, char asked, const char *input,
			size_t input_n)
{
	char head[WIRE_HEAD];
	int fd = dial();

	say_frame(fd, WIRE_COMMAND, words, n);
	ck_assert_uint_eq(hear(fd, head, sizeof(head)), sizeof(head));
	ck_assert_int_eq(head[0], asked);
	say_frame(fd, WIRE_INPUT, input, input_n);
	return result(fd);
}

#define SECRET(in) ask_and_send("user\0add\0bob", 13, WIRE_SECRET, in, sizeof(in) - 1)

START_TEST(secret_is_asked_for_and_is_one_line)
{
	start();
	ck_assert_int_eq(SECRET("geheim\r\n"), 0);
	ck_assert_str_eq(text, "6 bytes, geheim\n");
	ck_assert_int_eq(SECRET("geheim"), 0);
	ck_assert_uint_eq(ran, 2);
	ck_assert_int_eq(SECRET(""), WIRE_EXIT_FAILED);
	ck_assert_int_eq(SECRET("\n"), WIRE_EXIT_FAILED);
	ck_assert_int_eq(SECRET("two\nlines"), WIRE_EXIT_FAILED);
	ck_assert_int_eq(SECRET("nul\0l"), WIRE_EXIT_FAILED);
	ck_assert_uint_eq(ran, 2);
	stop();
}
END_TEST

START_TEST(input_that_did_not_wait_to_be_asked_for_is_taken)
{
	static const char both[] = "C\0\0\0\x0duser\0add\0bob\0I\0\0\0\6geheim";
	char head[WIRE_HEAD];
	int fd;

	start();
	fd = dial();
	say(fd, both, sizeof(both) - 1);
	ck_assert_uint_eq(hear(fd, head, sizeof(head)), sizeof(head));
	ck_assert_int_eq(head[0], WIRE_SECRET);
	ck_assert_int_eq(result(fd), 0);
	ck_assert_str_eq(text, "6 bytes, geheim\n");
	stop();
}
END_TEST

START_TEST(bulk_input_of_16_mib_is_taken_and_one_byte_more_is_not)
{
	char *big = calloc(1, WIRE_BULK_MAX + 1);

	start();
	ck_assert_int_eq(ask_and_send("user\0import", 12, WIRE_BULK, big, WIRE_BULK_MAX), 0);
	ck_assert_str_eq(text, "16777216 bytes, \n");
	ck_assert_int_eq(
		ask_and_send("user\0import", 12, WIRE_BULK, big, WIRE_BULK_MAX + 1) == 0, 0);
	ck_assert_uint_eq(ran, 1);
	stop();
	free(big);
}
END_TEST

START_TEST(what_is_no_frame_of_ours_is_refused)
{
	static const unsigned char long_one[] = {WIRE_COMMAND, 0xff, 0xff, 0xff, 0xff, 'x'};
	char many[2 * 70];
	int fd;

	start();
	fd = dial();
	say(fd, "GET / HTTP/1.0\r\n\r\n", 18);
	ck_assert_int_eq(result(fd), WIRE_EXIT_USAGE);
	fd = dial();
	say(fd, long_one, sizeof(long_one));
	ck_assert_int_eq(result(fd), WIRE_EXIT_USAGE);
	fd = dial();
	say_frame(fd, WIRE_INPUT, "x", 2);
	ck_assert_int_eq(result(fd), WIRE_EXIT_USAGE);
	fd = dial();
	say_frame(fd, WIRE_COMMAND, "no end", 6);
	ck_assert_int_eq(result(fd), WIRE_EXIT_USAGE);
	for (unsigned i = 0; i < sizeof(many); i++)
		many[i] = i % 2 ? '\0' : 'a';
	fd = dial();
	say_frame(fd, WIRE_COMMAND, many, sizeof(many));
	ck_assert_int_eq(result(fd), WIRE_EXIT_USAGE);
	ck_assert_str_eq(text, "too many words\n");
	stop();
}
END_TEST

START_TEST(frame_may_come_byte_by_byte)
{
	static const char words[] = "user\0show\0alice";
	unsigned char head[WIRE_HEAD];
	int fd;

	start();
	fd = dial();
	wire_put_head(head, WIRE_COMMAND, sizeof(words));
	for (unsigned i = 0; i < sizeof(head) + sizeof(words); i++) {
		say(fd, i < sizeof(head) ? (char *)head + i : words + i - sizeof(head), 1);
		loop_round(loop, 0);
	}
	ck_assert_int_eq(result(fd), 0);
	ck_assert_str_eq(text, "said: alice\n");
	stop();
}
END_TEST

START_TEST(seventeenth_client_is_told_to_try_again_and_silent_ones_are_closed)
{
	int fd[16], more;

	start();
	for (unsigned i = 0; i < 16; i++)
		fd[i] = dial();
	loop_round(loop, 0);
	more = dial();
	ck_assert_int_eq(result(more), WIRE_EXIT_FAILED);
	ck_assert_str_eq(text, "too many clients: try again\n");
	wheel_advance(loop_wheel(loop), loop_now(loop) + 5500);
	for (unsigned i = 0; i < 16; i++) {
		ck_assert_int_eq(result(fd[i]), -1);
		close(fd[i]);
	}
	ck_assert_int_eq(COMMAND("user"), 0);
	stop();
}
END_TEST

START_TEST(socket_is_private_and_a_stale_one_is_replaced)
{
	struct stat st;
	struct admin *second;
	FILE *f;

	start();
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
	/* One that answers is left alone. */
	second = admin_new(loop, path, NULL, metrics, NULL, NULL, error);
	ck_assert_ptr_null(second);
	ck_assert_int_eq(errno, EADDRINUSE);
	ck_assert_ptr_nonnull(strstr(error, path));
	ck_assert_int_eq(COMMAND("user"), 0);
	stop();
	/* One without a server behind it is not. */
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	strcpy(sun.sun_path, path);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	close(fd);
	start();
	ck_assert_int_eq(COMMAND("user"), 0);
	stop();
	/* A file that is no socket is not ours to remove. */
	f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	fclose(f);
	loop = loop_new(0);
	ck_assert_ptr_null(admin_new(loop, path, NULL, NULL, NULL, NULL, error));
	ck_assert_int_eq(access(path, F_OK), 0);
	loop_free(loop);
	unlink(path);
}
END_TEST

static const char *fetch(const char *request)
{
	int fd = dial_http();

	say(fd, request, strlen(request));
	text[hear(fd, text, sizeof(text) - 1)] = '\0';
	close(fd);
	return text;
}

#define STARTS(s, lit) ck_assert_msg(strncmp(s, lit, sizeof(lit) - 1) == 0, "%s", s)

START_TEST(metrics_page_is_served_for_get_and_its_head_for_head)
{
	const char *p;

	start();
	p = fetch("GET /metrics?x=y HTTP/1.1\r\nHost: a\r\n\r\n");
	STARTS(p, "HTTP/1.1 200 OK\r\n");
	ck_assert_ptr_nonnull(strstr(p, "\r\nContent-Type: text/plain; version=0.0.4"));
	ck_assert_ptr_nonnull(strstr(p, "\r\n\r\n# HELP eaves_test_total A test.\n"));
	p = fetch("HEAD /metrics HTTP/1.0\r\n\r\n");
	STARTS(p, "HTTP/1.1 200 OK\r\n");
	ck_assert_str_eq(p + strlen(p) - 4, "\r\n\r\n");
	ck_assert_ptr_null(strstr(p, "# HELP"));
	stop();
}
END_TEST

START_TEST(health_is_asked_each_time)
{
	start();
	STARTS(fetch("GET /healthz HTTP/1.1\r\n\r\n"), "HTTP/1.1 200 OK\r\n");
	is_healthy = false;
	STARTS(fetch("GET /healthz HTTP/1.1\r\n\r\n"), "HTTP/1.1 503 Service Unavailable\r\n");
	stop();
}
END_TEST

START_TEST(other_methods_paths_and_forms_are_refused)
{
	char *big = malloc(9001);

	memset(big, 'a', 9000);
	big[9000] = '\0';
	memcpy(big, "GET /", 5);
	start();
	STARTS(fetch("POST /metrics HTTP/1.1\r\nContent-Length: 0\r\n\r\n"), "HTTP/1.1 405 ");
	ck_assert_ptr_nonnull(strstr(text, "\r\nAllow: GET, HEAD\r\n"));
	STARTS(fetch("GET / HTTP/1.1\r\n\r\n"), "HTTP/1.1 404 ");
	STARTS(fetch("GET /metrics/ HTTP/1.1\r\n\r\n"), "HTTP/1.1 404 ");
	STARTS(fetch("GET /metrics\r\n\r\n"), "HTTP/1.1 400 ");
	STARTS(fetch("GET /metrics HTTP/2.0\r\n\r\n"), "HTTP/1.1 400 ");
	STARTS(fetch("GET  HTTP/1.1\r\n\r\n"), "HTTP/1.1 400 ");
	STARTS(fetch("\r\n\r\n"), "HTTP/1.1 400 ");
	STARTS(fetch(big), "HTTP/1.1 431 ");
	stop();
	free(big);
}
END_TEST

START_TEST(slow_and_many_http_clients_are_closed)
{
	int fd[33];

	start();
	for (unsigned i = 0; i < 33; i++) {
		fd[i] = dial_http();
		say(fd[i], "GET /metr", 9);
	}
	for (unsigned i = 0; i < 20; i++)
		loop_round(loop, 1);
	text[hear(fd[32], text, 1000)] = '\0';
	STARTS(text, "HTTP/1.1 503 ");
	wheel_advance(loop_wheel(loop), loop_now(loop) + 5500);
	for (unsigned i = 0; i < 33; i++) {
		if (i < 32)
			ck_assert_uint_eq(hear(fd[i], text, 1), 0);
		close(fd[i]);
	}
	STARTS(fetch("GET /healthz HTTP/1.1\r\n\r\n"), "HTTP/1.1 200 OK\r\n");
	stop();
}
END_TEST

START_TEST(address_that_is_none_or_taken_is_an_error)
{
	static const char *const wrong[] = {"", "127.0.0.1", "localhost:80", "127.0.0.1:x",
					    "127.0.0.1:65536"};
	char taken[32];

	start();
	snprintf(taken, sizeof(taken), "127.0.0.1:%u", http_port);
	for (unsigned i = 0; i <= sizeof(wrong) / sizeof(wrong[0]); i++) {
		const char *http = i < 5 ? wrong[i] : taken;
		char other[80];

		snprintf(other, sizeof(other), "%s.2", path);
		ck_assert_ptr_null(admin_new(loop, other, http, metrics, NULL, NULL, error));
		ck_assert_ptr_nonnull(strstr(error, "admin http"));
		ck_assert_int_eq(access(other, F_OK), -1);
	}
	stop();
}
END_TEST

UNIT_MAIN("admin", longest_name_gets_the_rest_as_arguments,
	  wrong_arguments_and_unknown_commands_are_usage,
	  lines_are_sorted_and_an_unfinished_one_stays_last,
	  help_lists_every_table_or_what_begins_so,

	  failure_has_the_text_of_the_command_or_of_the_error,
	  secret_is_asked_for_and_is_one_line, input_that_did_not_wait_to_be_asked_for_is_taken,
	  bulk_input_of_16_mib_is_taken_and_one_byte_more_is_not,
	  what_is_no_frame_of_ours_is_refused, frame_may_come_byte_by_byte,
	  seventeenth_client_is_told_to_try_again_and_silent_ones_are_closed,
	  socket_is_private_and_a_stale_one_is_replaced,
	  metrics_page_is_served_for_get_and_its_head_for_head, health_is_asked_each_time,
	  other_methods_paths_and_forms_are_refused, slow_and_many_http_clients_are_closed,
	  address_that_is_none_or_taken_is_an_error)
