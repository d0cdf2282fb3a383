/*
 * Options, the users, and the loop.
 */
#include "tests/lab/crowd/crowd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { TICK_MS = 10, STREAM_TICK_MS = 50, FILES = 16384 };

static const char usage_text[] =
	"crowd --source IP --edge IP:PORT [--home IP:PORT ...] [options]\n"
	"  --users N          callers, one device, three, three by q, and some that come and "
	"go\n"
	"  --homes N          home pairs: user u lives at home (u / 5) mod N\n"
	"  --direct PERCENT   of the users are at their home and not at the edge\n"
	"  --transport udp|tcp|tls   --domain D   --port FIRST   --expires S\n"
	"  --patience-ms N    what has no final answer by then has failed (32000)\n"
	"  --grace-ms N       how long a phone may ring on (5000)\n"
	"  --verbose          every message, to standard error\n";

static const struct option long_options[] = {{"source", required_argument, NULL, 's'},
					     {"edge", required_argument, NULL, 'e'},
					     {"home", required_argument, NULL, 'h'},
					     {"users", required_argument, NULL, 'u'},
					     {"homes", required_argument, NULL, 'n'},
					     {"direct", required_argument, NULL, 'd'},
					     {"transport", required_argument, NULL, 't'},
					     {"domain", required_argument, NULL, 'D'},
					     {"port", required_argument, NULL, 'p'},
					     {"expires", required_argument, NULL, 'x'},
					     {"patience-ms", required_argument, NULL, 'P'},
					     {"grace-ms", required_argument, NULL, 'g'},
					     {"verbose", no_argument, NULL, 'v'},
					     {NULL, 0, NULL, 0}};

static int parse_at(struct sockaddr_in *a, const char *s)
{
	char host[64];
	unsigned port;

	a->sin_family = AF_INET;
	if (sscanf(s, "%63[^:]:%u", host, &port) != 2 || port > 65535 ||
	    inet_pton(AF_INET, host, &a->sin_addr) != 1)
		return -EINVAL;
	a->sin_port = htons((uint16_t)port);
	return 0;
}

static int parse_transport(struct options *o, const char *s)
{
	static const char *const name[] = {"udp", "tcp", "tls"};

	for (unsigned i = 0; i < 3; i++)
		if (strcmp(name[i], s) == 0) {
			o->transport = (enum transport)i;
			return 0;
		}
	return -EINVAL;
}

static int parse_home(struct options *o, const char *s)
{
	for (unsigned i = 0; i < TARGETS_MAX; i++)
		if (o->home[i].sin_port == 0)
			return parse_at(&o->home[i], s);
	return -E2BIG;
}

/* clang-format off */
static int parse_one(struct options *o, int c, const char *arg)
{
	switch (c) {
	case 's': o->source = arg; return 0;
	case 'e': return parse_at(&o->edge, arg);
	case 'h': return parse_home(o, arg);
	case 'u': o->users = (unsigned)atoi(arg); return 0;
	case 'n': o->homes = (unsigned)atoi(arg); return 0;
	case 'd': o->direct_percent = (unsigned)atoi(arg); return 0;
	case 't': return parse_transport(o, arg);
	case 'D': o->domain = arg; return 0;
	case 'p': o->port = (unsigned)atoi(arg); return 0;
	case 'x': o->expires_s = (unsigned)atoi(arg); return 0;
	case 'P': o->patience_ms = (unsigned)atoi(arg); return 0;
	case 'g': o->grace_ms = (unsigned)atoi(arg); return 0;
	case 'v': o->verbose = true; return 0;
	default: return -EINVAL;
	}
}
/* clang-format on */

static int parse_options(struct options *o, int argc, char **argv)
{
	int c, rc = 0;

	*o = (struct options){.domain = "example.test",
			      .users = 250,
			      .homes = 1,
			      .port = 20000,
			      .expires_s = 3600,
			      .patience_ms = 32000,
			      .grace_ms = 5000};
	while (rc == 0 && (c = getopt_long(argc, argv, "", long_options, NULL)) != -1)
		rc = parse_one(o, c, optarg);
	if (!o->source || !o->edge.sin_port || o->users < ROLES || !o->homes ||
	    o->homes > TARGETS_MAX || (o->direct_percent && !o->home[o->homes - 1].sin_port))
		return -EINVAL;
	o->users -= o->users % ROLES;
	return rc;
}

static msec clock_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (msec)t.tv_sec * 1000 + (msec)t.tv_nsec / 1000000;
}

unsigned crowd_random(struct crowd *c, unsigned below)
{
	c->random ^= c->random << 13;
	c->random ^= c->random >> 7;
	c->random ^= c->random << 17;
	return below ? (unsigned)(c->random >> 20) % below : 0;
}

static int add_phone(struct crowd *c, struct user *u, unsigned dev, unsigned port)
{
	struct phone *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->user = u;
	p->dev = dev;
	p->port = port;
	p->target = u->direct ? c->opt.home[u->home] : c->opt.edge;
	p->at.sin_family = AF_INET;
	inet_pton(AF_INET, c->opt.source, &p->at.sin_addr);
	u->phone[dev] = p;
	u->ndev++;
	return net_open(c, p, port);
}

static int add_users(struct crowd *c)
{
	static const unsigned devices[ROLES] = {1, 1, DEVICES, DEVICES, DEVICES};
	unsigned port = c->opt.port;
	int rc = 0;

	for (unsigned i = 0; i < c->opt.users && rc == 0; i++) {
		struct user *u = &c->user[i];

		u->index = i;
		u->role = (enum role)(i % ROLES);
		u->home = i / ROLES % c->opt.homes;
		u->direct = i / ROLES / c->opt.homes % 10 * 10 < c->opt.direct_percent;
		for (unsigned d = 0; d < devices[u->role] && rc == 0; d++)
			rc = add_phone(c, u, d, port++);
	}
	return rc;
}

static int crowd_init(struct crowd *c)
{
	struct epoll_event e = {.events = EPOLLIN};
	struct rlimit files = {FILES, FILES};

	setrlimit(RLIMIT_NOFILE, &files);
	signal(SIGPIPE, SIG_IGN); /* TLS writes to what is closed */
	c->user = calloc(c->opt.users, sizeof(*c->user));
	c->call = calloc(CALLS_MAX, sizeof(*c->call));
	c->op = calloc(OPS_MAX, sizeof(*c->op));
	c->epoll = epoll_create1(EPOLL_CLOEXEC);
	c->now = clock_ms();
	if (!c->user || !c->call || !c->op || c->epoll < 0 || digest_init(false) < 0 ||
	    (c->opt.transport == TLS && net_tls_init() < 0) ||
	    !ledger_begin(&c->ledger, "start", c->now))
		return -ENOMEM;
	if (getrandom(&c->random, sizeof(c->random), 0) != sizeof(c->random))
		return -EIO;
	c->random |= 1;
	c->run = crowd_random(c, UINT32_MAX);
	for (uint32_t i = 0; i < CALLS_MAX; i++)
		c->free_call[c->nfree_call++] = CALLS_MAX - 1 - i;
	for (uint32_t i = 0; i < OPS_MAX; i++)
		c->free_op[c->nfree_op++] = OPS_MAX - 1 - i;
	c->mix[KIND_ONE] = 40;
	c->mix[KIND_PAR] = c->mix[KIND_SER] = 30;
	c->cancel_percent = 10;
	c->registering = true;
	c->only = -1;
	fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK);
	epoll_ctl(c->epoll, EPOLL_CTL_ADD, STDIN_FILENO, &e);
	return add_users(c);
}

static void start_call(struct crowd *c)
{
	unsigned r = crowd_random(c, 100);
	enum kind k = r < c->mix[KIND_ONE]			? KIND_ONE
		      : r < c->mix[KIND_ONE] + c->mix[KIND_PAR] ? KIND_PAR
								: KIND_SER;

	call_start(c, k, crowd_random(c, 100) < c->cancel_percent, false);
}

static void launch(struct crowd *c, msec passed)
{
	if (c->registering || c->auditing)
		return;
	for (unsigned i = 0; i < 3; i++)
		for (c->owed[i] += c->rate[i] * (double)passed / 1000; c->owed[i] >= 1;
		     c->owed[i]--) {
			if (i == 0)
				start_call(c);
			else if (i == 1)
				op_message(c);
			else
				op_churn(c);
		}
}

static void tick(struct crowd *c, msec *streams)
{
	for (uint32_t i = 0; i < c->high_call; i++)
		if (c->call[i].state != CALL_FREE)
			call_tick(c, &c->call[i]);
	for (uint32_t i = 0; i < c->high_op; i++)
		if (c->op[i].type != OP_FREE)
			op_tick(c, &c->op[i]);
	if (c->opt.transport != UDP && c->now >= *streams) {
		*streams = c->now + STREAM_TICK_MS;
		for (unsigned i = 0; i < c->opt.users; i++)
			for (unsigned d = 0; d < c->user[i].ndev; d++)
				net_tick(c, c->user[i].phone[d]);
	}
	command_step(c);
}

int main(int argc, char **argv)
{
	static struct crowd c;
	msec last, streams = 0;

	if (parse_options(&c.opt, argc, argv) < 0) {
		fputs(usage_text, stderr);
		return 2;
	}
	if (crowd_init(&c) < 0) {
		fprintf(stderr, "crowd: cannot start: %s\n", strerror(errno));
		return 1;
	}
	last = c.now;
	while (!c.ended) {
		net_poll(&c, 2);
		c.now = clock_ms();
		command_poll(&c);
		if (c.now - last < TICK_MS)
			continue;
		launch(&c, c.now - last);
		last = c.now;
		tick(&c, &streams);
	}
	return 0;
}
