/*
 * Commands on a Unix socket: frames as in wire.h, the exchange as in README.md.  One command a
 * connection.  Only root and our own user get in (SO_PEERCRED), whatever the file's mode
 * became.
 */
#include "common/admin/admin_priv.h"

#include "common/admin/wire.h"
#include "common/base/file.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
	CLIENTS_MAX = 16,
	COMMAND_DEADLINE_MS = 5000,
	INPUT_DEADLINE_MS = 180000, /* somebody types a password */
	LATER_DEADLINE_MS = 600000, /* an import */
};

static void finish(struct admin_client *c, unsigned char code, const char *text, size_t n)
{
	unsigned char head[WIRE_HEAD + 1];

	wire_put_head(head, WIRE_RESULT, (unsigned)n + 1);
	head[WIRE_HEAD] = code;
	admin_client_write(c, head, sizeof(head));
	admin_client_write(c, text, n);
	admin_client_finish(c);
}

static void finish_str(struct admin_client *c, unsigned char code, const char *text)
{
	finish(c, code, text, strlen(text));
}

static void finish_reply(struct admin_client *c, unsigned char code, struct admin_reply *r)
{
	if (r->failed)
		finish_str(c, WIRE_EXIT_FAILED, "the answer is too long\n");
	else
		finish(c, code, r->p, r->n);
	admin_reply_done(r);
}

static void answer_client(struct admin_later *l)
{
	struct admin_client *c = l->client;

	c->later = NULL;
	if (l->left) {
		finish_str(c, WIRE_EXIT_FAILED, ADMIN_ENDING);
		return;
	}
	if (l->status < 0 && l->reply.n == 0)
		admin_printf(&l->reply, "%s\n", strerror(-l->status));
	finish_reply(c, l->status < 0 ? WIRE_EXIT_FAILED : WIRE_EXIT_OK, &l->reply);
}

static void run(struct admin_client *c, struct span input)
{
	struct admin_later *l = admin_later_new(c->port->admin);

	if (!l) {
		finish_str(c, WIRE_EXIT_FAILED, ADMIN_NO_ROOM);
		return;
	}
	l->answer = answer_client;
	l->client = c;
	c->later = l;
	admin_later_run(l, c->command, c->command_arg, c->argc, c->argv, input);
	if (c->later)
		admin_client_deadline(c, LATER_DEADLINE_MS);
}

static void dispatch(struct admin_client *c, int argc, char **argv)
{
	const struct admin *a = c->port->admin;
	struct admin_reply reply = {0};
	const struct admin_command *cmd;
	unsigned char ask[WIRE_HEAD];
	int words, status;

	if (admin_help(a, argc, argv, &reply, &status)) {
		finish_reply(c, status < 0 ? WIRE_EXIT_USAGE : WIRE_EXIT_OK, &reply);
		return;
	}
	cmd = admin_find(a, argc, argv, &words, &c->command_arg);
	if (!cmd || !admin_args_fit(cmd, argc - words)) {
		admin_usage(a, cmd, argc, argv, &reply);
		finish_reply(c, WIRE_EXIT_USAGE, &reply);
		return;
	}
	c->command = cmd;
	c->argc = argc - words;
	memmove(argv, argv + words, (size_t)(c->argc + 1) * sizeof(*argv));
	if (!cmd->secret && !cmd->bulk) {
		run(c, (struct span){NULL, 0});
		return;
	}
	wire_put_head(ask, cmd->secret ? WIRE_SECRET : WIRE_BULK, 0);
	admin_client_write(c, ask, sizeof(ask));
	admin_client_deadline(c, INPUT_DEADLINE_MS);
}

/* Words with a NUL behind each. */
static void read_command(struct admin_client *c, const char *p, size_t n)
{
	int argc = 0;

	if (n == 0 || p[n - 1] != '\0') {
		finish_str(c, WIRE_EXIT_USAGE, "no command\n");
		return;
	}
	c->words = malloc(n);
	c->argv = calloc(WIRE_WORDS_MAX + 1, sizeof(*c->argv));
	if (!c->words || !c->argv) {
		finish_str(c, WIRE_EXIT_FAILED, "out of memory\n");
		return;
	}
	memcpy(c->words, p, n);
	for (char *w = c->words; w < c->words + n; w += strlen(w) + 1) {
		if (argc == WIRE_WORDS_MAX) {
			finish_str(c, WIRE_EXIT_USAGE, "too many words\n");
			return;
		}
		c->argv[argc++] = w;
	}
	dispatch(c, argc, c->argv);
}

static void read_input(struct admin_client *c, char *p, size_t n)
{
	struct span s = span_of(p, n);

	if (!c->command->secret) {
		run(c, s);
		return;
	}
	while (s.n && (s.p[s.n - 1] == '\n' || s.p[s.n - 1] == '\r'))
		s.n--;
	if (s.n == 0 || memchr(s.p, '\0', s.n) || memchr(s.p, '\n', s.n))
		finish_str(c, WIRE_EXIT_FAILED, "a password is one line, and not empty\n");
	else
		run(c, s);
}

static void on_bytes(struct admin_client *c, struct evbuffer *in)
{
	unsigned char head[WIRE_HEAD], want = c->command ? WIRE_INPUT : WIRE_COMMAND;
	size_t max = !c->command	  ? WIRE_COMMAND_MAX
		     : c->command->secret ? WIRE_SECRET_MAX
					  : WIRE_BULK_MAX;
	size_t n;
	char *p;

	if (evbuffer_copyout(in, head, sizeof(head)) < WIRE_HEAD)
		return;
	n = wire_len(head);
	if (head[0] != want || n > max) {
		finish_str(c, WIRE_EXIT_USAGE,
			   n > max ? "too long\n" : "this is not what eavesctl says\n");
		return;
	}
	if (evbuffer_get_length(in) < WIRE_HEAD + n)
		return;
	p = (char *)evbuffer_pullup(in, (ev_ssize_t)(WIRE_HEAD + n));
	if (!p) {
		finish_str(c, WIRE_EXIT_FAILED, "out of memory\n");
		return;
	}
	if (want == WIRE_COMMAND)
		read_command(c, p + WIRE_HEAD, n);
	else
		read_input(c, p + WIRE_HEAD, n);
	explicit_bzero(p, WIRE_HEAD + n);
	evbuffer_drain(in, WIRE_HEAD + n);
	/* Input that did not wait to be asked for. */
	if (!c->closing && !c->later && evbuffer_get_length(in) > 0)
		on_bytes(c, in);
}

static bool peer_allowed(int fd)
{
	struct ucred cred;
	socklen_t n = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) < 0)
		return false;
	return cred.uid == 0 || cred.uid == geteuid();
}

static void refuse(int fd, const char *why)
{
	unsigned char out[256];
	int n = snprintf((char *)out + WIRE_HEAD + 1, sizeof(out) - WIRE_HEAD - 1, "%s\n", why);

	wire_put_head(out, WIRE_RESULT, (unsigned)n + 1);
	out[WIRE_HEAD] = WIRE_EXIT_FAILED;
	(void)!send(fd, out, WIRE_HEAD + 1 + (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* Removes the socket of a server that is gone.  -EADDRINUSE: one answers. */
static int remove_stale(const struct sockaddr_un *sun)
{
	struct stat st;
	int fd, r = 0;

	if (lstat(sun->sun_path, &st) < 0)
		return 0;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)sun, sizeof(*sun)) == 0 || errno == EAGAIN)
		r = -EADDRINUSE;
	else if (errno == ECONNREFUSED && unlink(sun->sun_path) < 0)
		r = -errno;
	close(fd);
	return r;
}

static int cannot(const char *path, int error, char ret_error[256])
{
	snprintf(ret_error, 256, "admin socket %s: %s", path, strerror(-error));
	return error;
}

/* A bound socket of mode 0600, or -errno. */
static int bind_socket(const char *path)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd, r;

	if (strlen(path) >= sizeof(sun.sun_path))
		return -ENAMETOOLONG;
	strcpy(sun.sun_path, path);
	r = remove_stale(&sun);
	if (r < 0)
		return r;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	/* Linux gives the file the mode that the socket has: there is no moment with another.
	 */
	if (fchmod(fd, 0600) < 0 || bind(fd, (const struct sockaddr *)&sun, sizeof(sun)) < 0) {
		r = -errno;
		close(fd);
		return r;
	}
	return fd;
}

int admin_check(const char *socket_path, char ret_error[256])
{
	struct stat st;
	int r = 0;

	if (strlen(socket_path) >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
		r = -ENAMETOOLONG;
	else if (lstat(socket_path, &st) < 0)
		r = file_could_write(socket_path);
	else if (!S_ISSOCK(st.st_mode))
		r = -EEXIST;
	return r < 0 ? cannot(socket_path, r, ret_error) : 0;
}

int admin_socket_start(struct admin *a, const char *path, char ret_error[256])
{
	int fd = bind_socket(path), r;

	if (fd < 0)
		return cannot(path, fd, ret_error);
	a->socket_path = strdup(path);
	a->socket.max_clients = CLIENTS_MAX;
	a->socket.deadline_ms = COMMAND_DEADLINE_MS;
	a->socket.allow = peer_allowed;
	a->socket.refuse = refuse;
	a->socket.read = on_bytes;
	r = admin_port_start(&a->socket, a, fd);
	if (r == 0 && a->socket_path)
		return 0;
	unlink(path);
	snprintf(ret_error, 256, "admin socket %s: out of memory", path);
	return -ENOMEM;
}
