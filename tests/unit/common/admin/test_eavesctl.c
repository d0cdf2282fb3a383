/* The client program itself, in a child process, against a server in this one. */
int eavesctl_main(int argc, char **argv);
#define main eavesctl_main
#include "common/admin/eavesctl.c"
#undef main

#include "tests/unit/unit.h"

#include "common/admin/admin.h"

#include <fcntl.h>
#include <pty.h>
#include <sys/wait.h>

static char path[64], out[4096];

static int show(void *arg, int argc, char **argv, struct span input, struct admin_reply *r)
{
	(void)arg;
	admin_printf(r, "%s:%.*s\n", argc ? argv[0] : "", SPAN_FMT(input));
	return argc && strcmp(argv[0], "fail") == 0 ? -EPERM : 0;
}

static const struct admin_command table[] = {
	{.name = "show", .args = "[NAME]", .help = "shows", .run = show},
	{.name = "add", .args = "NAME", .help = "adds", .secret = true, .run = show},
	{.name = "import", .help = "imports", .bulk = true, .run = show},
};

static void child(int in, int output, char **argv)
{
	int argc = 0;

	while (argv[argc])
		argc++;
	dup2(in, STDIN_FILENO);
	dup2(output, STDOUT_FILENO);
	dup2(output, STDERR_FILENO);
	_exit(eavesctl_main(argc, argv));
}

/* Serves until the child has ended; its exit code, all that it wrote in `out`. */
static int serve(struct loop *loop, pid_t pid, int output)
{
	size_t n = 0;
	int status;

	fcntl(output, F_SETFL, O_NONBLOCK);
	for (;;) {
		ssize_t r = read(output, out + n, sizeof(out) - 1 - n);

		if (r == 0 || (r < 0 && errno != EAGAIN))
			break;
		if (r > 0)
			n += (size_t)r;
		else
			loop_round(loop, 5);
	}
	out[n] = '\0';
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int run(const char *input, char **argv)
{
	char error[256];
	struct loop *loop = loop_new(0);
	struct admin *admin;
	int in[2], output[2], code;
	pid_t pid;

	snprintf(path, sizeof(path), "/tmp/eaves-test-ctl.%d", (int)getpid());
	setenv("EAVES_SOCKET", path, 1);
	admin = admin_new(loop, path, NULL, NULL, NULL, NULL, error);
	ck_assert_msg(admin != NULL, "%s", error);
	ck_assert_int_eq(admin_add(admin, table, 3, NULL), 0);
	ck_assert_int_eq(pipe2(in, O_CLOEXEC), 0);
	ck_assert_int_eq(pipe2(output, O_CLOEXEC), 0);
	ck_assert_int_eq(write(in[1], input, strlen(input)), strlen(input));
	close(in[1]);
	pid = fork();
	if (pid == 0)
		child(in[0], output[1], argv);
	close(in[0]);
	close(output[1]);
	code = serve(loop, pid, output[0]);
	close(output[0]);
	admin_free(admin);
	loop_free(loop);
	return code;
}

#define RUN(input, ...) run(input, (char *[]){"eavesctl", __VA_ARGS__, NULL})

START_TEST(command_and_its_arguments_reach_the_server)
{
	ck_assert_int_eq(RUN("", "show", "two words"), 0);
	ck_assert_str_eq(out, "two words:\n");
	ck_assert_int_eq(RUN("", "show", "fail"), 1);
	ck_assert_str_eq(out, "fail:\n");
	ck_assert_int_eq(RUN("", "nonsense"), 2);
	ck_assert_int_eq(RUN("", "help"), 0);
	ck_assert_ptr_nonnull(strstr(out, "adds (password from stdin)"));
}
END_TEST

START_TEST(secret_is_the_first_line_of_stdin)
{
	ck_assert_int_eq(RUN("geheim\nrest\n", "add", "bob"), 0);
	ck_assert_str_eq(out, "bob:geheim\n");
	ck_assert_int_eq(RUN("ohne Ende", "add", "bob"), 0);
	ck_assert_str_eq(out, "bob:ohne Ende\n");
	ck_assert_int_eq(RUN("", "add", "bob"), 1);
}
END_TEST

START_TEST(bulk_is_all_of_stdin)
{
	ck_assert_int_eq(RUN("a x\nb y\n", "import"), 0);
	ck_assert_str_eq(out, ":a x\nb y\n\n");
}
END_TEST

START_TEST(without_words_or_server_it_says_so)
{
	ck_assert_int_eq(RUN("", "--socket", "/nonexistent/socket", "show"), 3);
	ck_assert_ptr_nonnull(strstr(out, "/nonexistent/socket: No such file or directory"));
	ck_assert_int_eq(RUN("", "--socket=/nonexistent", "show"), 3);
	ck_assert_int_eq(RUN("", "--socket", "x"), 2);
	ck_assert_int_eq(RUN("", "--nonsense"), 2);
	ck_assert_int_eq(RUN("", "--help"), 0);
	ck_assert_ptr_nonnull(strstr(out, "usage: eavesctl"));
}
END_TEST

/* Answers the prompts that the child shows on its terminal; its exit code. */
static int type(const char *first, const char *second)
{
	char error[256];
	struct loop *loop = loop_new(0);
	struct admin *admin;
	const char *answer[] = {first, second};
	const char *asks[] = {"Password: ", "Again: "};
	int master, status;
	size_t n = 0;
	pid_t pid;

	snprintf(path, sizeof(path), "/tmp/eaves-test-ctl.%d", (int)getpid());
	setenv("EAVES_SOCKET", path, 1);
	admin = admin_new(loop, path, NULL, NULL, NULL, NULL, error);
	ck_assert_msg(admin != NULL, "%s", error);
	ck_assert_int_eq(admin_add(admin, table, 3, NULL), 0);
	pid = forkpty(&master, NULL, NULL, NULL);
	if (pid == 0)
		_exit(eavesctl_main(3, (char *[]){"eavesctl", "add", "bob", NULL}));
	fcntl(master, F_SETFL, O_NONBLOCK);
	for (unsigned turn = 0;;) {
		ssize_t r = read(master, out + n, sizeof(out) - 1 - n);

		if (r == 0 || (r < 0 && errno != EAGAIN))
			break;
		n += r > 0 ? (size_t)r : 0;
		out[n] = '\0';
		if (turn < 2 && strstr(out, asks[turn])) {
			struct termios t;

			if (tcgetattr(master, &t) == 0 && !(t.c_lflag & ECHO)) {
				ck_assert_int_gt(
					write(master, answer[turn], strlen(answer[turn])), 0);
				turn++;
			}
		}
		loop_round(loop, 2);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	close(master);
	admin_free(admin);
	loop_free(loop);
	return WEXITSTATUS(status);
}

START_TEST(terminal_is_asked_twice_and_shows_nothing)
{
	ck_assert_int_eq(type("geheim\n", "geheim\n"), 0);
	ck_assert_str_eq(out,
			 "Password: \r\nAgain: \r\nbob:geheim\r\n"); /* the server's echo */
	ck_assert_int_eq(type("geheim\n", "gehelm\n"), 1);
	ck_assert_ptr_null(strstr(out, "gehe"));
	ck_assert_ptr_nonnull(strstr(out, "the two differ"));
}
END_TEST

UNIT_MAIN("eavesctl", command_and_its_arguments_reach_the_server,
	  secret_is_the_first_line_of_stdin, bulk_is_all_of_stdin,
	  without_words_or_server_it_says_so, terminal_is_asked_twice_and_shows_nothing)
