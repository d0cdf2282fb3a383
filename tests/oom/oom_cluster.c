/*
 * Two members of a pair over a network and a clock of our own: they meet, write, one restarts
 * and is given everything, an operator asks, a notice goes round.  Whatever fails, each promise
 * and each call is answered once.
 */
#include "tests/oom/oom.h"

#include "common/base/log.h"
#include "common/cluster/cluster.h"

#include <errno.h>
#include <string.h>

enum { NODES = 2, RECORDS = 8, STEP_MS = 5, MEET_MS = 2000, HEAL_MS = 4000 };

struct loop {
	struct wheel wheel;
	struct loop_work *posted;
};

struct message {
	struct message *next;
	unsigned from, to;
	size_t n;
	char p[];
};

static struct node {
	unsigned index;
	struct loop loop;
	struct cluster *c;
	struct records *r;
	uint64_t boot;
} node[NODES];
static msec now_ms = 1000;
static struct message *first, **last = &first;
static unsigned answered, replies;
static int reply_status;

/* ---- in place of common/loop and common/base/time ---- */

msec time_now(void)
{
	return now_ms;
}

uint64_t time_wall_ms(void)
{
	return 1735787045000ull + now_ms;
}

struct wheel *loop_wheel(struct loop *l)
{
	return &l->wheel;
}

msec loop_now(const struct loop *l)
{
	(void)l;
	return now_ms;
}

void loop_post(struct loop *l, struct loop_work *w)
{
	w->next = l->posted;
	l->posted = w;
}

static void round_of(struct loop *l)
{
	struct loop_work *w = l->posted, *in_order = NULL, *next;

	l->posted = NULL;
	for (; w; w = next) {
		next = w->next;
		w->next = in_order;
		in_order = w;
	}
	for (w = in_order; w; w = next) {
		next = w->next;
		w->run(w);
	}
}

/* ---- the network: one step of time a message ---- */

static int send_message(void *arg, unsigned to, struct span bytes)
{
	struct node *n = arg;
	struct message *m = malloc(sizeof(*m) + bytes.n);

	if (!m)
		return -ENOBUFS;
	*m = (struct message){.from = n->index, .to = to, .n = bytes.n};
	memcpy(m->p, bytes.p, bytes.n);
	*last = m;
	last = &m->next;
	return 0;
}

static void deliver(bool to_nobody)
{
	struct message *m = first, *next;

	first = NULL;
	last = &first;
	for (; m; m = next) {
		next = m->next;
		if (!to_nobody && node[m->to].c)
			cluster_receive(node[m->to].c, m->from, span_of(m->p, m->n));
		free(m);
	}
}

static void step(void)
{
	now_ms += STEP_MS;
	deliver(false);
	for (unsigned i = 0; i < NODES; i++) {
		for (unsigned k = 0; node[i].c && k < 4; k++)
			round_of(&node[i].loop);
		if (node[i].c)
			wheel_advance(&node[i].loop.wheel, now_ms);
	}
}

static bool yes(void *arg, unsigned to, const struct store_row *row)
{
	(void)arg;
	(void)to;
	(void)row;
	return true;
}

static void notice(void *arg, unsigned from, unsigned kind, struct span body)
{
	(void)arg;
	(void)from;
	OOM_HOLDS(kind == 3 && body.n == 5);
}

static void admin(void *arg, unsigned from, uint64_t id, unsigned argc, char **argv,
		  struct span input)
{
	struct node *n = arg;
	OOM_HOLDS(argc == 1 && strcmp(argv[0], "status") == 0);
	cluster_admin_reply(n->c, from, id, 0, input);
}

/* ---- the work ---- */

static int start(unsigned i)
{
	static const struct mac_key key = {1, 2};
	struct node *n = &node[i];
	const struct cluster_ops ops = {.send = send_message,
					.shares = yes,
					.may_write = yes,
					.notice = notice,
					.admin = admin,
					.arg = n};
	struct cluster_conf f = cluster_conf_default;

	f.self = i;
	f.n = NODES;
	f.boot = ++n->boot * 10 + i;
	f.node[0] = (struct cluster_node){"a", "pair", CLUSTER_EDGE};
	f.node[1] = (struct cluster_node){"b", "pair", CLUSTER_EDGE};
	n->index = i;
	n->loop.posted = NULL;
	wheel_init(&n->loop.wheel, now_ms);
	n->c = cluster_new(&n->loop, &f, &ops, NULL);
	if (!n->c)
		return -ENOMEM;
	n->r = records_new(cluster_store(n->c), i + 1, 1000, &key);
	if (!n->r)
		return -ENOMEM;
	cluster_attach(n->c, n->r);
	cluster_start(n->c);
	for (unsigned k = 0; k < NODES; k++) {
		if (k == i || !node[k].c)
			continue;
		cluster_connected(n->c, k, true);
		cluster_connected(node[k].c, i, true);
	}
	return 0;
}

static void stop(unsigned i)
{
	struct node *n = &node[i];

	cluster_free(n->c);
	records_free(n->r);
	n->c = NULL;
	n->r = NULL;
	round_of(&n->loop); /* what it still had */
	for (unsigned k = 0; k < NODES; k++)
		if (node[k].c)
			cluster_connected(node[k].c, i, false);
}

static void on_done(void *arg, int error)
{
	(void)arg;
	OOM_HOLDS(error == 0 || error == -EIO);
	answered++;
}

static void on_reply(void *arg, int status, struct span text)
{
	(void)arg;
	OOM_HOLDS(status != 0 || span_eq(text, SPAN("hello")));
	reply_status = status;
	replies++;
}

static bool equal(void)
{
	struct cluster_node_state s;
	for (unsigned i = 0; i < NODES; i++) {
		cluster_node_state(node[i].c, !i, &s);
		if (!s.equal)
			return false;
	}
	return records_count(node[0].r, RECORD_BINDING) ==
	       records_count(node[1].r, RECORD_BINDING);
}

static bool comes(bool (*what)(void), msec limit)
{
	for (msec end = now_ms + limit; now_ms < end; step())
		if (what())
			return true;
	return what();
}

static unsigned write_records(const char *prefix)
{
	unsigned n = 0;
	for (unsigned i = 0; i < RECORDS; i++) {
		char user[8] = {prefix[0], (char)('0' + i)};
		const struct record v = {.kind = RECORD_BINDING,
					 .group = span_str(user),
					 .body = SPAN("sip:phone@192.0.2.1")};
		n += records_put(node[i % 2].r, &v, 1, NULL, time_wall_ms(), on_done, NULL) ==
		     0;
	}
	return n;
}

static int work(void)
{
	static char *const argv[] = {"status"};
	unsigned promised = 0;
	int asked;

	answered = replies = 0;
	if (start(0) < 0 || start(1) < 0 || !comes(equal, MEET_MS))
		return -1;
	promised = write_records("a");
	for (unsigned i = 0; i < 300; i++)
		step();
	OOM_HOLDS(answered == promised);
	stop(1);
	if (start(1) < 0 || !comes(equal, HEAL_MS))
		return -1;
	asked = cluster_admin_call(node[0].c, 1, 1, argv, SPAN("hello"), on_reply, NULL);
	cluster_notify(node[1].c, -1, 3, SPAN("hello"));
	for (unsigned i = 0; i < 10; i++)
		step();
	if (asked == 0)
		for (unsigned i = 0; !replies && i < 2 * CLUSTER_ADMIN_MS / STEP_MS; i++)
			step();
	OOM_HOLDS(replies == (asked == 0));
	return promised == RECORDS && asked == 0 && reply_status == 0 ? 0 : -1;
}

static int run(void)
{
	int r = work();

	for (unsigned i = 0; i < NODES; i++)
		stop(i);
	deliver(true);
	return r;
}

static void setup(void)
{
	log_set_level(LOG_ERROR);
}

const struct oom_scenario oom_scenario = {"cluster", setup, run};
