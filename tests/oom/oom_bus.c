/*
 * Two nodes find each other, speak, and one of them is started anew.  ZeroMQ's own memory does
 * not fail (it ends the process then); ours and libevent's does.  A bus that could be made
 * comes up, whatever failed in between; a message that was taken arrives.
 */
#include "tests/oom/oom.h"

#include "common/bus/bus.h"

#include <errno.h>
#include <event2/event.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MESSAGES = 5, WAIT_MS = 3000 };

static struct bus_conf conf[2];
static struct node {
	struct loop *loop;
	struct bus *bus;
	bool up;
	unsigned got;
} node[2];

static void on_message(void *arg, unsigned from, struct span bytes)
{
	struct node *n = arg;

	OOM_HOLDS(from == (n == node) && span_eq(bytes, SPAN("a message")));
	n->got++;
}

static void on_connected(void *arg, unsigned other, bool up)
{
	struct node *n = arg;

	OOM_HOLDS(other == (n == node) && n->up != up);
	n->up = up;
}

static void on_refused(void *arg, const char *address, const char *why)
{
	(void)arg;
	(void)address;
	(void)why;
	OOM_HOLDS(!"refused");
}

static void quiet(int severity, const char *what)
{
	(void)severity;
	(void)what;
}

static void setup(void)
{
	struct bus_conf c = {.n = 2, .domain = "oom"};
	char secret[2][BUS_KEY_CHARS + 1];

	event_set_log_callback(quiet);
	for (unsigned i = 0; i < 2; i++) {
		struct bus_node *n = &c.node[i];
		socklen_t len = sizeof(n->addr);
		int fd = socket(AF_INET, SOCK_STREAM, 0);

		n->name = i ? "two" : "one";
		n->dial = i == 0;
		OOM_HOLDS(bus_keypair(n->key, secret[i]) == 0);
		OOM_HOLDS(addr_parse(&n->addr, SPAN("127.0.0.1"), 0) == 0);
		OOM_HOLDS(bind(fd, &n->addr.sa, len) == 0);
		OOM_HOLDS(getsockname(fd, &n->addr.sa, &len) == 0);
		close(fd);
	}
	for (unsigned i = 0; i < 2; i++) {
		conf[i] = c;
		conf[i].self = i;
		memcpy(conf[i].secret_key, secret[i], sizeof(secret[i]));
	}
}

static bool start(unsigned i)
{
	const struct bus_ops ops = {on_message, on_connected, on_refused, &node[i]};
	char error[256];

	node[i].up = false;
	node[i].bus = bus_new(node[i].loop, &conf[i], &ops, error);
	return node[i].bus != NULL;
}

static bool both_up(void)
{
	msec until = time_now() + WAIT_MS;

	while (!(node[0].up && node[1].up) && time_now() < until)
		for (unsigned i = 0; i < 2; i++)
			loop_round(node[i].loop, 1);
	return node[0].up && node[1].up;
}

/* True: all were taken.  What was taken must arrive. */
static bool speak(void)
{
	msec until = time_now() + 4 * WAIT_MS;
	unsigned taken[2] = {node[0].got, node[1].got}, all = taken[0] + taken[1];

	for (unsigned i = 0; i < 2 * MESSAGES; i++) {
		int r = bus_send(node[i % 2].bus, 1 - i % 2, SPAN("a message"));

		OOM_HOLDS(r == 0 || r == -ENOMEM);
		taken[1 - i % 2] += r == 0;
	}
	while ((node[0].got < taken[0] || node[1].got < taken[1]) && time_now() < until)
		for (unsigned i = 0; i < 2; i++)
			loop_round(node[i].loop, 1);
	OOM_HOLDS(node[0].got == taken[0] && node[1].got == taken[1]);
	return taken[0] + taken[1] == all + 2 * MESSAGES;
}

static int work(void)
{
	bool good;

	if (!start(0) || !start(1))
		return -1;
	OOM_HOLDS(both_up());
	good = speak();
	node[0].bus = bus_free(node[0].bus);
	for (msec until = time_now() + WAIT_MS; node[1].up && time_now() < until;)
		loop_round(node[1].loop, 1);
	OOM_HOLDS(!node[1].up);
	if (!start(0))
		return -1;
	/* Node 1 has to dial anew, which takes memory: without any it goes on trying. */
	return both_up() && speak() && good ? 0 : -1;
}

static int run(void)
{
	int r = -1;

	for (unsigned i = 0; i < 2; i++)
		node[i] = (struct node){.loop = loop_new(0)};
	if (node[0].loop && node[1].loop)
		r = work();
	for (unsigned i = 0; i < 2; i++) {
		bus_free(node[i].bus);
		if (node[i].loop)
			loop_free(node[i].loop);
	}
	return r;
}

const struct oom_scenario oom_scenario = {"bus", setup, run};
