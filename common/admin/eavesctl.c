/*
 * eavesctl: one command to a server over its Unix socket.  Knows no command: the server says
 * when it wants a password or bulk input, so neither is ever on a command line.
 */
#include "common/admin/wire.h"

#include "common/base/version.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

static struct termios tty_before;

static int fail(const char *what, const char *which)
{
	fprintf(stderr, "eavesctl: %s%s%s\n", what, which ? ": " : "", which ? which : "");
	return WIRE_EXIT_UNREACHABLE;
}

static bool send_all(int fd, const void *p, size_t n)
{
	const char *at = p;

	while (n) {
		ssize_t r = send(fd, at, n, MSG_NOSIGNAL);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return false;
		at += r;
		n -= (size_t)r;
	}
	return true;
}

static bool send_frame(int fd, unsigned char type, const void *p, size_t n)
{
	unsigned char head[WIRE_HEAD];

	wire_put_head(head, type, (unsigned)n);
	return send_all(fd, head, sizeof(head)) && send_all(fd, p, n);
}

static bool recv_all(int fd, void *p, size_t n)
{
	char *at = p;

	while (n) {
		ssize_t r = recv(fd, at, n, 0);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return false;
		at += r;
		n -= (size_t)r;
	}
	return true;
}

static const char *default_path(void)
{
	const char *env = getenv("EAVES_SOCKET");

	if (env && *env)
		return env;
	return access("run/admin.sock", F_OK) == 0 ? "run/admin.sock" : "/run/eaves/admin.sock";
}

static int dial(const char *path)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd;

	if (strlen(path) >= sizeof(sun.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(sun.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&sun, sizeof(sun)) < 0)
		return -1;
	return fd;
}

/* The words, a NUL behind each, as one frame.  false: there are too many.  A server that
 * refuses does not read them but says why: talk() hears it. */
static bool send_words(int fd, int argc, char **argv)
{
	static char words[WIRE_COMMAND_MAX];
	size_t n = 0;

	for (int i = 0; i < argc; i++) {
		size_t len = strlen(argv[i]) + 1;

		if (len > sizeof(words) - n) {
			fail("the command is too long", NULL);
			return false;
		}
		memcpy(words + n, argv[i], len);
		n += len;
	}
	send_frame(fd, WIRE_COMMAND, words, n);
	return true;
}

static void restore_tty(int sig)
{
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &tty_before);
	_exit(128 + sig);
}

/* One line without its end, by single bytes: what stands behind it is not ours.  -1: too long.
 */
static int read_line(char *line, size_t cap)
{
	size_t n = 0;
	ssize_t r;

	for (;;) {
		if (n == cap)
			return -1;
		r = read(STDIN_FILENO, line + n, 1);
		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0 || line[n] == '\n')
			return (int)n;
		n++;
	}
}

/* A line from the terminal, not echoed. */
static int prompt(const char *text, char *line, size_t cap)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
	struct sigaction sa = {.sa_handler = restore_tty};
	struct termios quiet;
	int n;

	if (tcgetattr(STDIN_FILENO, &tty_before) < 0)
		return -1;
	for (unsigned i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaction(signals[i], &sa, NULL);
	quiet = tty_before;
	quiet.c_lflag &= ~(tcflag_t)ECHO;
	fputs(text, stderr);
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
	n = read_line(line, cap);
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &tty_before);
	fputc('\n', stderr);
	sa.sa_handler = SIG_DFL;
	for (unsigned i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaction(signals[i], &sa, NULL);
	return n;
}

static bool send_secret(int fd)
{
	char line[WIRE_SECRET_MAX], again[WIRE_SECRET_MAX];
	bool tty = isatty(STDIN_FILENO), ok;
	int n = tty ? prompt("Password: ", line, sizeof(line)) : read_line(line, sizeof(line));

	if (n < 0) {
		fail("the password is too long", NULL);
		return false;
	}
	if (tty && (prompt("Again: ", again, sizeof(again)) != n ||
		    memcmp(line, again, (size_t)n) != 0)) {
		fail("the two differ", NULL);
		ok = false;
	} else {
		ok = send_frame(fd, WIRE_INPUT, line, (size_t)n);
	}
	explicit_bzero(line, sizeof(line));
	explicit_bzero(again, sizeof(again));
	return ok;
}

static bool send_bulk(int fd)
{
	char *p = malloc(WIRE_BULK_MAX + 1);
	size_t n = 0;
	bool ok = false;

	if (!p) {
		fail("out of memory", NULL);
		return false;
	}
	while (n <= WIRE_BULK_MAX) {
		ssize_t r = read(STDIN_FILENO, p + n, WIRE_BULK_MAX + 1 - n);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			break;
		n += (size_t)r;
	}
	if (n > WIRE_BULK_MAX)
		fail("more than 16 MiB of input", NULL);
	else
		ok = send_frame(fd, WIRE_INPUT, p, n);
	explicit_bzero(p, n);
	free(p);
	return ok;
}

/* The result's text; its exit code. */
static int show_result(int fd, size_t n)
{
	static char chunk[65536];
	unsigned char code;
	FILE *out;

	if (n == 0 || !recv_all(fd, &code, 1))
		return fail("the server's answer is not whole", NULL);
	out = code == WIRE_EXIT_OK ? stdout : stderr;
	for (n--; n > 0;) {
		size_t part = n < sizeof(chunk) ? n : sizeof(chunk);

		if (!recv_all(fd, chunk, part))
			return fail("the server's answer is not whole", NULL);
		fwrite(chunk, 1, part, out);
		n -= part;
	}
	return fflush(out) == 0 && !ferror(out) ? code : WIRE_EXIT_FAILED;
}

static int talk(int fd)
{
	unsigned char head[WIRE_HEAD];

	for (;;) {
		if (!recv_all(fd, head, sizeof(head)))
			return fail("the server closed the connection", NULL);
		switch (head[0]) {
		case WIRE_SECRET:
			if (!send_secret(fd))
				return WIRE_EXIT_FAILED;
			break;
		case WIRE_BULK:
			if (!send_bulk(fd))
				return WIRE_EXIT_FAILED;
			break;
		case WIRE_RESULT:
			return show_result(fd, wire_len(head));
		default:
			return fail("this is not an Eaves server, or a newer one", NULL);
		}
	}
}

static int usage(FILE *out)
{
	fprintf(out,
		"usage: eavesctl [--socket PATH] WORDS...\n"
		"       eavesctl --version\n"
		"eavesctl help [WORDS]: the commands of the server, or those that begin so\n"
		"PATH: $EAVES_SOCKET, run/admin.sock or /run/eaves/admin.sock\n");
	if (fflush(out) != 0)
		return WIRE_EXIT_FAILED;
	return out == stdout ? WIRE_EXIT_OK : WIRE_EXIT_USAGE;
}

int main(int argc, char **argv)
{
	const char *path = NULL;
	int at = 1, fd;

	if (argc > 2 && strcmp(argv[1], "--socket") == 0) {
		path = argv[2];
		at = 3;
	} else if (argc > 1 && strncmp(argv[1], "--socket=", 9) == 0) {
		path = argv[1] + 9;
		at = 2;
	}
	if (at < argc && (strcmp(argv[at], "--help") == 0 || strcmp(argv[at], "-h") == 0))
		return usage(stdout);
	if (at < argc && strcmp(argv[at], "--version") == 0) {
		printf("eavesctl %s\n", base_version);
		return fflush(stdout) == 0 ? WIRE_EXIT_OK : WIRE_EXIT_FAILED;
	}
	if (at >= argc || argv[at][0] == '-')
		return usage(stderr);
	if (!path)
		path = default_path();
	fd = dial(path);
	if (fd < 0) {
		fprintf(stderr, "eavesctl: %s: %s (%s)\n", path, strerror(errno),
			errno == EACCES
				? "only root and the server's own user may use it"
				: "no server runs there?  --socket PATH or EAVES_SOCKET "
				  "says where one does");
		return WIRE_EXIT_UNREACHABLE;
	}
	if (!send_words(fd, argc - at, argv + at))
		return WIRE_EXIT_FAILED;
	return talk(fd);
}
