/*
 * What arrives at the administration's ports: the first byte says which (h: HTTP, else the
 * command socket), '|' splits what is sent in two.  The connection ends, and the server is
 * well.
 */
#include "common/admin/admin.h"
#include "common/admin/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct loop *loop;
static struct admin *admin;
static struct sockaddr_in http;
static struct sockaddr_un sun = {.sun_family = AF_UNIX};

static int run(void *arg, int argc, char **argv, struct span input, struct admin_reply *r)
{
	(void)arg;
	for (int i = 0; i <= argc; i++)
		admin_printf(r, "%s", argv[i] ? argv[i] : "");
	admin_printf(r, "%.*s", SPAN_FMT(input));
	return argc ? 0 : -EPERM;
}

static const struct admin_command table[] = {
	{.name = "a", .args = "[X] [Y]", .run = run},
	{.name = "a b", .args = "X", .secret = true, .run = run},
	{.name = "c", .bulk = true, .run = run},
};

static bool healthy(void *arg)
{
	(void)arg;
	return true;
}

static void gone(void)
{
	unlink(sun.sun_path);
}

static void setup(void)
{
	char text[32], error[256];
	socklen_t n = sizeof(http);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	signal(SIGPIPE, SIG_IGN);
	http.sin_family = AF_INET;
	http.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(fd, (struct sockaddr *)&http, n) < 0 ||
	    getsockname(fd, (struct sockaddr *)&http, &n) < 0)
		abort();
	close(fd);
	snprintf(text, sizeof(text), "127.0.0.1:%u", ntohs(http.sin_port));
	snprintf(sun.sun_path, sizeof(sun.sun_path), "/tmp/eaves-fuzz-admin.%d", (int)getpid());
	loop = loop_new(0);
	admin = admin_new(loop, sun.sun_path, text, metrics_new(), healthy, NULL, error);
	if (!admin || admin_add(admin, table, 3, NULL) < 0)
		abort();
	atexit(gone);
}

static void rounds(unsigned n)
{
	while (n--)
		loop_round(loop, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	const struct linger rst = {.l_onoff = 1};
	const uint8_t *cut;
	char sink[4096];
	bool is_http;
	int fd;

	if (!admin)
		setup();
	if (n < 1)
		return 0;
	is_http = data[0] == 'h';
	data++;
	n--;
	fd = socket(is_http ? AF_INET : AF_UNIX, SOCK_STREAM, 0);
	if (fd < 0 || connect(fd, is_http ? (struct sockaddr *)&http : (struct sockaddr *)&sun,
			      is_http ? sizeof(http) : sizeof(sun)) < 0)
		abort();
	cut = memchr(data, '|', n);
	if (cut) {
		(void)!send(fd, data, (size_t)(cut - data), MSG_NOSIGNAL | MSG_DONTWAIT);
		rounds(2);
		n -= (size_t)(cut + 1 - data);
		data = cut + 1;
	}
	(void)!send(fd, data, n, MSG_NOSIGNAL | MSG_DONTWAIT);
	rounds(3);
	while (recv(fd, sink, sizeof(sink), MSG_DONTWAIT) > 0)
		rounds(1);
	/* No TIME-WAIT: ports would run out. */
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &rst, sizeof(rst));
	close(fd);
	rounds(2);
	return 0;
}
