/*
 * The cluster: a pair of edges at 10.0.0.10, pairs of homes h1 at 10.0.0.20 and h2 at
 * 10.0.0.30, Redis.  Members are 10.0.0.11 and .12, and so on; each pair's first member has
 * the service address at first.
 */
#include "tests/sim/files.h"
#include "tests/sim/redis.h"
#include "tests/sim/scene_parts.h"
#include "tests/sim/text.h"

enum { PAIRS = 3, MEMBERS = 2, KEY_CHARS = 40 };

struct member {
	const char *name, *pair, *ip, *vip;
	bool edge;
};
static const struct member members[PAIRS * MEMBERS] = {
	{"e1", "edge", "10.0.0.11", "10.0.0.10", true},
	{"e2", "edge", "10.0.0.12", "10.0.0.10", true},
	{"h1a", "h1", "10.0.0.21", "10.0.0.20", false},
	{"h1b", "h1", "10.0.0.22", "10.0.0.20", false},
	{"h2a", "h2", "10.0.0.31", "10.0.0.30", false},
	{"h2b", "h2", "10.0.0.32", "10.0.0.30", false},
};

/* The key's second half is the node's number; bus keys of the simulator differ in the first
 * letter alone (rim_bus.c). */
static void key_of(unsigned i, char first, char out[KEY_CHARS + 1])
{
	snprintf(out, KEY_CHARS + 1, "%c%039u", first, i + 1);
}

static void add_key(unsigned i)
{
	char path[64], key[KEY_CHARS + 1];
	key_of(i, 'S', key);
	snprintf(path, sizeof(path), "/nowhere/%s.key", members[i].name);
	files_add(path, key, KEY_CHARS);
}

static void write_nodes(struct text *t)
{
	char key[KEY_CHARS + 1];
	text_add(t, "  nodes:\n");
	for (unsigned i = 0; i < PAIRS * MEMBERS; i++) {
		const struct member *m = &members[i];
		key_of(i, 'P', key);
		text_add(t,
			 "    - {name: %s, pair: %s, role: %s, bus: \"%s:7000\", sip: "
			 "\"%s:5070\", key: \"%s\"}\n",
			 m->name, m->pair, m->edge ? "edge" : "home", m->ip, m->ip, key);
	}
}

static void write_conf(struct text *t, const struct member *m, unsigned workers)
{
	text_add(t,
		 "domain: example.org\n"
		 "aliases: [10.0.0.10]\n"
		 "listeners:\n"
		 "  - {transport: udp, address: %s, port: 5060, policy: normal}\n"
		 "  - {transport: tcp, address: %s, port: 5060, policy: normal}\n"
		 "  - {transport: tcp, address: %s, port: 5070, policy: cluster}\n"
		 "workers: %u\n"
		 "store: memory\n"
		 "data_dir: /nowhere/%s\n"
		 "records_max: 1000\n"
		 "net: {connections: 100, transactions: 1000}\n"
		 "timers: {serial_group_s: 4, timer_c_s: 60}\n"
		 "proxy: {redirect: user}\n",
		 m->vip, m->vip, m->ip, workers, m->name);
	text_add(t,
		 "cluster:\n"
		 "  node: %s\n"
		 "  secret: /nowhere/secret\n"
		 "  bus_key: /nowhere/%s.key\n",
		 m->name, m->name);
	write_nodes(t);
	if (m->edge)
		text_add(t, "redis: {servers: \"10.0.0.9:6379\"}\n");
}

void scene_build_cluster(unsigned workers)
{
	redis_machine("10.0.0.9");
	for (unsigned i = 0; i < PAIRS * MEMBERS; i++) {
		const struct member *m = &members[i];
		struct host *h = host_new(m->name, m->ip, HOST_NODE, NULL);
		struct text t = {0};
		add_key(i);
		write_conf(&t, m, workers);
		struct node *n = node_new(h, m->edge, !m->edge, t.p);
		if (i % MEMBERS == 0)
			vip_new(m->vip, h);
		scene_add_member(m->pair, m->vip, i % MEMBERS, n);
	}
	scene_set_server("10.0.0.10");
}
