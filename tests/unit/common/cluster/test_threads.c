/*
 * The engine as it runs: a loop's thread for each node, threads that write records, and threads
 * that ask who lives, all at once (for ThreadSanitizer above all).
 */
#include "tests/unit/unit.h"

#include "common/cluster/cluster.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { NODES = 3, WRITERS = 4, RECORDS = 2000 };

struct node {
	unsigned index;
	struct loop *loop;
	struct cluster *c;
	struct records *r;
	pthread_t thread;
};
static struct node node[NODES];

/* ---- a bus of posted work ---- */

struct message {
	struct loop_work work;
	unsigned from, to;
	size_t n;
	char p[];
};

static void deliver(struct loop_work *w)
{
	struct message *m = container_of(w, struct message, work);
	cluster_receive(node[m->to].c, m->from, span_of(m->p, m->n));
	free(m);
}

static int send_message(void *arg, unsigned to, struct span bytes)
{
	struct node *n = arg;
	struct message *m = malloc(sizeof(*m) + bytes.n);
	if (!m)
		return -1;
	*m = (struct message){
		.work = {NULL, deliver}, .from = n->index, .to = to, .n = bytes.n};
	memcpy(m->p, bytes.p, bytes.n);
	loop_post(node[to].loop, &m->work);
	return 0;
}

static bool yes(void *arg, unsigned to, const struct store_row *row)
{
	(void)arg;
	(void)to;
	(void)row;
	return true;
}

static void answer(void *arg, unsigned from, uint64_t id, unsigned argc, char **argv,
		   struct span input)
{
	struct node *n = arg;
	(void)argc;
	(void)argv;
	cluster_admin_reply(n->c, from, id, 0, input);
}

/* ---- nodes ---- */

static void *run_loop(void *arg)
{
	struct node *n = arg;
	cluster_start(n->c);
	for (unsigned i = 0; i < NODES; i++)
		if (i != n->index)
			cluster_connected(n->c, i, true);
	loop_run(n->loop);
	return NULL;
}

static void start(void)
{
	static const struct mac_key key = {1, 2};
	for (unsigned i = 0; i < NODES; i++) {
		struct node *n = &node[i];
		struct cluster_conf f = cluster_conf_default;
		struct cluster_ops ops = {.send = send_message,
					  .shares = yes,
					  .may_write = yes,
					  .admin = answer,
					  .arg = n};
		f.self = i;
		f.n = NODES;
		f.boot = i + 1;
		f.dead_ms = 20000; /* the machine may be busy */
		f.second_place_ms = 20000;
		f.compare_ms = 100;
		for (unsigned k = 0; k < NODES; k++) {
			snprintf(f.node[k].name, sizeof(f.node[k].name), "n%u", k);
			strcpy(f.node[k].pair, k ? "home" : "edge");
			f.node[k].role = k ? CLUSTER_HOME : CLUSTER_EDGE;
		}
		n->index = i;
		n->loop = loop_new(0);
		n->c = cluster_new(n->loop, &f, &ops, NULL);
		ck_assert(n->loop && n->c);
		n->r = records_new(cluster_store(n->c), i + 1, 100000, &key);
		cluster_attach(n->c, n->r);
	}
	for (unsigned i = 0; i < NODES; i++)
		ck_assert_int_eq(pthread_create(&node[i].thread, NULL, run_loop, &node[i]), 0);
}

static void end(void)
{
	for (unsigned i = 0; i < NODES; i++)
		loop_stop(node[i].loop);
	for (unsigned i = 0; i < NODES; i++)
		pthread_join(node[i].thread, NULL);
	for (unsigned again = 1; again;) {
		again = 0;
		for (unsigned i = 0; i < NODES; i++)
			again += loop_finish(node[i].loop);
	}
	for (unsigned i = 0; i < NODES; i++) {
		cluster_free(node[i].c);
		records_free(node[i].r);
		loop_free(node[i].loop);
	}
}

/* ---- who writes, and who asks ---- */

static atomic_uint kept, lost, answered;

static void on_done(void *arg, int error)
{
	(void)arg;
	atomic_fetch_add(error ? &lost : &kept, 1);
}

struct writer {
	pthread_t thread;
	unsigned number;
};

static void *write_records(void *arg)
{
	struct writer *w = arg;
	struct node *n = &node[1 + w->number % 2];
	for (unsigned i = 0; i < RECORDS; i++) {
		char user[16];
		/* Some are the same ones that another writer writes. */
		snprintf(user, sizeof(user), "u%u", i % 3 ? i + 10000 * w->number : i);
		struct record v = {.kind = RECORD_BINDING,
				   .deleted = i % 7 == 0,
				   .group = span_str(user),
				   .body = SPAN("sip:x")};
		while (records_put(n->r, &v, 1, NULL, time_wall_ms(), on_done, NULL) != 0)
			sched_yield(); /* the queue is full */
	}
	return NULL;
}

static void on_reply(void *arg, int status, struct span text)
{
	(void)arg;
	if (status == 0 && span_eq(text, SPAN("hello")))
		atomic_fetch_add(&answered, 1);
}

static atomic_bool asking;

static void *ask(void *arg)
{
	static char *const argv[] = {"status"};
	unsigned seen = 0;
	(void)arg;
	for (unsigned i = 0; atomic_load(&asking); i++) {
		struct cluster *c = node[i % NODES].c;
		struct cluster_node_state s;
		seen += cluster_alive(c, (i + 1) % NODES) + cluster_serving(c, 0);
		seen += cluster_member(c, SPAN("home"), -1) >= 0;
		seen += cluster_counters(c).records_sent > 0;
		cluster_node_state(c, (i + 1) % NODES, &s);
		cluster_set_load(c, i, i);
		cluster_set_draining(c, i % 100 == 0);
		if (i % 1000 == 0) {
			cluster_suspect(c, (i + 1) % NODES);
			cluster_notify(c, -1, 1, SPAN("x"));
			cluster_admin_call(node[0].c, 1, 1, argv, SPAN("hello"), on_reply,
					   NULL);
		}
	}
	return seen ? NULL : arg;
}

static bool all_alive(void)
{
	for (unsigned i = 0; i < NODES; i++)
		for (unsigned k = 0; k < NODES; k++)
			if (!cluster_alive(node[i].c, k))
				return false;
	return true;
}

static bool add(void *arg, const struct record *rec)
{
	const struct mac_key key = {3, 4};
	uint64_t *sum = arg;
	struct mac m;
	mac_init(&m, &key);
	mac_add(&m, rec->group);
	mac_add_u64(&m, rec->version.hlc);
	mac_add_u64(&m, rec->version.node + rec->deleted);
	*sum ^= mac_final(&m);
	return true;
}

static bool tables_same(void)
{
	uint64_t sum[NODES] = {0};
	for (unsigned i = 0; i < NODES; i++)
		records_scan_all(node[i].r, add, &sum[i]);
	return sum[0] == sum[1] && sum[1] == sum[2];
}

/* The test's own patience: a busy machine is no failure. */
#define UNTIL(condition)                                    \
	do {                                                \
		for (unsigned n_ = 0; !(condition); n_++) { \
			ck_assert_uint_lt(n_, 50000);       \
			usleep(1000);                       \
		}                                           \
	} while (0)

START_TEST(threads_write_and_ask_while_loops_replicate)
{
	static struct writer w[WRITERS];
	pthread_t asker;
	start();
	UNTIL(all_alive());
	atomic_store(&asking, true);
	ck_assert_int_eq(pthread_create(&asker, NULL, ask, NULL), 0);
	for (unsigned i = 0; i < WRITERS; i++) {
		w[i].number = i;
		ck_assert_int_eq(pthread_create(&w[i].thread, NULL, write_records, &w[i]), 0);
	}
	for (unsigned i = 0; i < WRITERS; i++)
		pthread_join(w[i].thread, NULL);
	UNTIL(atomic_load(&kept) + atomic_load(&lost) == WRITERS * RECORDS);
	UNTIL(atomic_load(&answered) > 0);
	atomic_store(&asking, false);
	pthread_join(asker, NULL);
	UNTIL(tables_same());
	ck_assert_uint_eq(atomic_load(&lost), 0);
	ck_assert_uint_eq(cluster_counters(node[0].c).bad_messages, 0);
	end();
}
END_TEST

UNIT_MAIN("common/cluster threads", threads_write_and_ask_while_loops_replicate)
