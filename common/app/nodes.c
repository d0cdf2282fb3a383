/*
 * What an operator sees of the cluster: who lives, what waits for whom; and the counters.
 */
#include "common/app/app_priv.h"

#include <errno.h>
#include <stdio.h>

static const char *state_of(const struct cluster_node_state *s)
{
	if (!s->alive)
		return "dead";
	return s->draining ? "draining" : "alive";
}

static bool knows_clock(const struct cluster_node_state *s)
{
	return s->alive && s->clock_ms != CLUSTER_CLOCK_UNKNOWN;
}

/* bus: where it is looked for. */
static void show_node(const struct cluster_node *v, const struct cluster_node_state *s,
		      const char *bus, struct admin_reply *out)
{
	admin_printf(out, "%s %s pair=%s %s equal=%s", v->name,
		     v->role == CLUSTER_EDGE ? "edge" : "home", v->pair, state_of(s),
		     s->equal ? "yes" : "no");
	if (s->alive && s->other_realm)
		admin_printf(out, " realm=differs");
	if (s->alive && s->withheld)
		admin_printf(out, " withheld=%llu", (unsigned long long)s->withheld);
	admin_printf(out, " version=%u queued=%llu", s->version,
		     (unsigned long long)s->queued_bytes);
	if (s->silent_ms == UINT64_MAX)
		admin_printf(out, " silent=never");
	else
		admin_printf(out, " silent=%llums", (unsigned long long)s->silent_ms);
	if (knows_clock(s))
		admin_printf(out, " clock=%+.3fs", (double)s->clock_ms / 1000);
	if (s->alive)
		admin_printf(out, " calls=%u cpu=%u.%u%%", s->calls, s->cpu_permille / 10,
			     s->cpu_permille % 10);
	else
		admin_printf(out, " bus=%s", bus);
	admin_printf(out, "\n");
}

static int run_status(void *arg, int argc, char **argv, struct span secret,
		      struct admin_reply *out)
{
	struct app *a = arg;
	const struct cluster_node *v;
	struct cluster *c = app_cluster(a);
	(void)argc;
	(void)argv;
	(void)secret;
	unsigned n = cluster_nodes(c, &v);
	for (unsigned i = 0; i < n; i++) {
		struct cluster_node_state s;
		if (i == cluster_self(c)) {
			admin_printf(out, "%s %s pair=%s self %s\n", v[i].name,
				     v[i].role == CLUSTER_EDGE ? "edge" : "home", v[i].pair,
				     app_phase_name(app_phase(a)));
			continue;
		}
		if (!app_nodes_speak(a->nodes, i))
			continue;
		cluster_node_state(c, i, &s);
		show_node(&v[i], &s, a->conf->conf->cluster.nodes[i].bus, out);
	}
	app_redis_show(a, out);
	return 0;
}

void app_nodes_tell_missing(const struct app *a)
{
	const struct app_nodes *n = a->nodes;
	for (unsigned i = 0; i < n->conf.n; i++) {
		struct cluster_node_state s;
		if (!app_nodes_speak(n, i))
			continue;
		cluster_node_state(n->cluster, i, &s);
		if (!s.alive && s.silent_ms == UINT64_MAX)
			log_event(LOG_WARN, "node-missing",
				  LOG_STR("node", app_node(n, i)->name),
				  LOG_STR("bus", a->conf->conf->cluster.nodes[i].bus));
	}
}

static const struct admin_command commands[] = {
	{.name = "cluster status",
	 .args = "",
	 .help = "the nodes that this one speaks with",
	 .run = run_status},
};

struct row {
	const char *name, *help;
	size_t offset;
};

#define ROW(field, suffix, text)                                   \
	{                                                          \
		.name = "cluster_" suffix, .help = (text),         \
		.offset = offsetof(struct cluster_counters, field) \
	}

static const struct row rows[] = {
	ROW(batches_sent, "batches_sent_total", "Batches of records sent to nodes"),
	ROW(batches_received, "batches_received_total", "Batches of records from nodes"),
	ROW(records_sent, "records_sent_total", "Records sent to nodes"),
	ROW(records_received, "records_received_total", "Records from nodes"),
	ROW(repeated, "batches_repeated_total", "Batches sent again"),
	ROW(refused_records, "records_refused_total",
	    "Records refused: their node may not write them"),
	ROW(bad_messages, "bad_messages_total", "Messages of nodes that could not be read"),
	ROW(compared, "compared_total", "Comparisons of tables"),
	ROW(repaired_sent, "repaired_sent_total", "Records sent because tables differed"),
	ROW(repaired_received, "repaired_received_total",
	    "Records received because tables differed"),
	ROW(queue_full, "queue_full_total", "Queues to nodes that overflowed"),
	ROW(alone, "alone_total", "Records that went without a second place"),
};

static void node_label(const struct app *a, unsigned node, char ret[CLUSTER_NAME_MAX + 16])
{
	snprintf(ret, CLUSTER_NAME_MAX + 16, "node=\"%s\"", app_node(a->nodes, node)->name);
}

static void write_clocks(const struct app *a, struct metrics_out *o)
{
	metrics_family(o, "cluster_clock_apart_seconds", METRICS_GAUGE,
		       "So far the node's clock is ahead of this one's; below 0: behind");
	for (unsigned i = 0; i < a->nodes->conf.n; i++) {
		char label[CLUSTER_NAME_MAX + 16];
		struct cluster_node_state s;
		if (!app_nodes_speak(a->nodes, i))
			continue;
		cluster_node_state(app_cluster(a), i, &s);
		node_label(a, i, label);
		if (knows_clock(&s))
			metrics_sample(o, label, (double)s.clock_ms / 1000);
	}
}

static void write_metrics(void *arg, struct metrics_out *o)
{
	struct app *a = arg;
	struct cluster_counters k = cluster_counters(app_cluster(a));
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		metrics_counter(o, rows[i].name, rows[i].help,
				*(const uint64_t *)((const char *)&k + rows[i].offset));
	metrics_gauge(o, "cluster_waiting", "Records that wait for a second place", k.waiting);
	metrics_gauge(o, "cluster_serving", "1: this node wants new calls",
		      app_phase(a) == APP_SERVING);
	metrics_gauge(o, "cluster_stranded",
		      "1: an edge that reaches no home, a home that reaches nobody",
		      atomic_load(&a->service.stranded_since) != 0);
	metrics_counter(o, "cluster_strangers_total",
			"Requests to the cluster's own listener that were from no node",
			atomic_load(&a->nodes->strangers));
	metrics_counter(o, "cluster_unmarked_total",
			"Requests of nodes with an Eaves-Link that could not be understood",
			atomic_load(&a->nodes->unmarked));
	metrics_counter(o, "cluster_pair_down_total",
			"Requests refused since no member of their pair lives",
			atomic_load(&a->nodes->pair_down));
	metrics_counter(o, "cluster_bus_refused_total", "Peers that the bus refused",
			atomic_load(&a->nodes->refused));
	metrics_counter(o, "poison_learnt_total",
			"Messages to be refused that other nodes have told of",
			atomic_load(&a->poison.learnt));
	metrics_counter(o, "poison_notes_refused_total",
			"Datagrams about poison that no node had written",
			atomic_load(&a->poison.refused_notes));
	app_redis_metrics(a, o);
	metrics_family(o, "cluster_node_alive", METRICS_GAUGE, "1: the node lives");
	for (unsigned i = 0; i < a->nodes->conf.n; i++) {
		char label[CLUSTER_NAME_MAX + 16];
		if (!app_nodes_speak(a->nodes, i))
			continue;
		node_label(a, i, label);
		metrics_sample(o, label, cluster_alive(app_cluster(a), i));
	}
	write_clocks(a, o);
}

int app_nodes_admin(struct app *a)
{
	if (!a->nodes)
		return 0;
	int r = admin_add(a->admin, commands, sizeof(commands) / sizeof(commands[0]), a);
	if (r == 0)
		r = app_ask_admin(a);
	return r < 0 ? r : metrics_add(a->metrics, write_metrics, a);
}
