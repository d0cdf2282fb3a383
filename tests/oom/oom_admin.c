/*
 * A command over the Unix socket and a page over HTTP, with the loop and libevent failing too.
 * A client is answered or sees the end of its connection: it never waits for ever.
 */
#include "tests/oom/oom.h"

#include "common/admin/admin.h"
#include "common/admin/wire.h"
#include "common/base/addr.h"

#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static char path[64], error[256], heard[8192];
static struct sockaddr_in http_addr;
static struct loop *loop;

static int say(void *arg, int argc, char **argv, struct span input, struct admin_reply *r)
{
	(void)arg;
	(void)argc;
	(void)argv;
	(void)input;
	for (unsigned i = 0; i < 300; i++)
		admin_printf(r, "line %u\n", i);
	return 0;
}

static const struct admin_command table[] = {{.name = "say", .help = "says", .run = say}};

static void write_page(void *arg, struct metrics_out *o)
{
	(void)arg;
	metrics_family(o, "test_total", METRICS_COUNTER, "A test.");
	metrics_sample(o, NULL, 1);
}

static void quiet(int severity, const char *what)
{
	(void)severity;
	(void)what;
}

static void setup(void)
{
	socklen_t n = sizeof(http_addr);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	signal(SIGPIPE, SIG_IGN);
	event_set_log_callback(quiet);
	snprintf(path, sizeof(path), "/tmp/eaves-oom-admin.%d", (int)getpid());
	http_addr.sin_family = AF_INET;
	http_addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	OOM_HOLDS(bind(fd, (struct sockaddr *)&http_addr, n) == 0);
	OOM_HOLDS(getsockname(fd, (struct sockaddr *)&http_addr, &n) == 0);
	close(fd);
}

/* Says it all and listens until the end; the bytes that came. */
static size_t exchange(const struct sockaddr *sa, socklen_t len, const void *p, size_t n)
{
	int fd = socket(sa->sa_family, SOCK_STREAM, 0);
	size_t got = 0;
	unsigned rounds = 0;

	OOM_HOLDS(fd >= 0 && connect(fd, sa, len) == 0);
	(void)!send(fd, p, n, MSG_NOSIGNAL);
	for (; rounds < 2000; rounds++) {
		ssize_t r = recv(fd, heard + got, sizeof(heard) - 1 - got, MSG_DONTWAIT);

		if (r > 0)
			got += (size_t)r;
		else if (r == 0 || errno != EAGAIN)
			break;
		else
			loop_round(loop, 1);
		if (rounds == 100) /* let deadlines pass */
			wheel_advance(loop_wheel(loop), loop_now(loop) + 60000);
	}
	close(fd);
	OOM_HOLDS(rounds < 2000);
	loop_round(loop, 0);
	return got;
}

static int work(struct admin *a)
{
	static const char get[] = "GET /metrics HTTP/1.1\r\n\r\n";
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	unsigned char frame[WIRE_HEAD + 4];
	size_t command, page;

	OOM_HOLDS(admin_add(a, table, 1, NULL) == 0);
	strcpy(sun.sun_path, path);
	wire_put_head(frame, WIRE_COMMAND, 4);
	memcpy(frame + WIRE_HEAD, "say", 4);
	command = exchange((struct sockaddr *)&sun, sizeof(sun), frame, sizeof(frame));
	page = exchange((struct sockaddr *)&http_addr, sizeof(http_addr), get, sizeof(get) - 1);
	heard[page] = '\0';
	return command > 2000 && strstr(heard, "eaves_test_total 1\n") ? 0 : -1;
}

static int run(void)
{
	struct metrics *m = metrics_new();
	struct admin *a = NULL;
	char http[32];
	int r = -1;

	snprintf(http, sizeof(http), "127.0.0.1:%u", ntohs(http_addr.sin_port));
	loop = loop_new(0);
	if (loop && m && metrics_add(m, write_page, NULL) == 0)
		a = admin_new(loop, path, http, m, NULL, NULL, error);
	if (a)
		r = work(a);
	admin_free(a);
	if (loop)
		loop_free(loop);
	metrics_free(m);
	OOM_HOLDS(access(path, F_OK) < 0);
	return r;
}

const struct oom_scenario oom_scenario = {"admin", setup, run};
