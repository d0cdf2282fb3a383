/*
 * The Redis store against a real server: read whole, a unit and a guarded one that must not
 * win, everything written anew.  A put that was taken is done once, whatever fails.
 */
#include "tests/oom/oom.h"

#include "common/store/redis.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { TIMEOUT_MS = 100, RUN_MS = 1000 };

static uint16_t port;
static unsigned loaded, rewritten;

static void start_server(void)
{
	char text[8];
	pid_t parent = getpid();

	port = (uint16_t)(12000 + parent % 18000);
	snprintf(text, sizeof(text), "%u", port);
	char *const argv[] = {"redis-server", "--port", text,	 "--bind", "127.0.0.1",
			      "--save",	      "",	"--dir", "/",	   NULL};
	if (fork() == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() == parent && freopen("/dev/null", "w", stdout))
			execvp(argv[0], argv);
		_exit(127);
	}
}

static void setup(void)
{
	redisContext *c = NULL;

	start_server();
	for (unsigned i = 0; i < 2000 && (!c || c->err); i++) {
		redisFree(c);
		c = redisConnect("127.0.0.1", port);
		usleep(5000);
	}
	OOM_HOLDS(c && !c->err);
	for (unsigned i = 0; i < 3; i++)
		freeReplyObject(redisCommand(
			c, "HSET e:3:user%u a %s", i,
			"001718900000123.00007.0000000001 live 000000000000000 body"));
	redisFree(c);
}

struct put {
	unsigned done;
	int rc, error;
};

static void on_done(void *arg, int error)
{
	struct put *p = arg;

	p->done++;
	p->error = error;
}

static int count_row(void *arg, const struct store_row *row)
{
	(void)arg;
	OOM_HOLDS(row->kind == 3 && row->body.n == 4);
	loaded++;
	return 0;
}

static void count_late(void *arg, const struct store_row *row)
{
	count_row(arg, row);
}

static struct store_row the_row(const char *group)
{
	return (struct store_row){.kind = 3,
				  .group = span_str(group),
				  .name = SPAN("a"),
				  .body = SPAN("body"),
				  .hlc = UINT64_C(1718900000200) << 16,
				  .node = 1};
}

static bool show(void *arg, unsigned part,
		 bool (*each)(void *each_arg, const struct store_row *row), void *each_arg)
{
	const struct store_row v = the_row("bob");

	(void)arg;
	if (each(each_arg, &v))
		rewritten++;
	return part < 2;
}

static void begin(struct store *s, struct put p[2])
{
	struct store_row v[2] = {the_row("alice"), the_row("alice")}, w = the_row("user0");

	v[1].name = SPAN("b");
	w.guarded = true;
	p[0].rc = s->ops->put(s, v, 2, on_done, &p[0]);
	p[1].rc = s->ops->put(s, &w, 1, on_done, &p[1]);
}

static bool settled(struct store *s, const struct put p[2])
{
	struct redis_state v;

	store_redis_state(s, &v);
	return (p[0].done || p[0].rc < 0) && (p[1].done || p[1].rc < 0) && v.up && !v.dirty;
}

static int run(void)
{
	struct redis_conf c = redis_conf_default;
	struct put p[2] = {{0}, {0}};
	char error[256] = "";

	loaded = rewritten = 0;
	OOM_HOLDS(addr_parse(&c.server[0], SPAN("127.0.0.1"), port) == 0);
	c.nservers = 1;
	c.prefix = "e:";
	c.timeout_ms = TIMEOUT_MS;
	c.ops = (struct redis_ops){.loaded = count_late, .rewrite = show};
	struct loop *l = loop_new(0);
	struct store *s = l ? store_redis_new(l, &c, error) : NULL;
	if (!s) {
		OOM_HOLDS(!l || error[0]);
		loop_free(l);
		return -ENOMEM;
	}
	int rc = s->ops->load(s, UINT64_C(1718900000300), count_row, NULL);
	begin(s, p);
	bool refused = p[0].rc < 0 && p[1].rc < 0;
	msec end = time_now() + (refused ? TIMEOUT_MS : RUN_MS);
	while (!settled(s, p) && time_now() < end)
		loop_round(l, 5);
	bool whole = settled(s, p) && rc == 0 && loaded >= 3 && p[0].error == 0 &&
		     p[0].rc == 0 && p[1].error == -EAGAIN;
	s->ops->free(s);
	OOM_HOLDS(p[0].done == (p[0].rc == 0) && p[1].done == (p[1].rc == 0));
	loop_free(l);
	return whole ? 0 : -ENOMEM;
}

const struct oom_scenario oom_scenario = {"redis", setup, run};
