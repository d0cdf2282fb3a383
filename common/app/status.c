/*
 * Commands and metrics of the process itself; those of a role come with the role.
 */
#include "common/app/app_priv.h"

#include "common/base/counter.h"
#include "common/base/version.h"

#include <errno.h>
#include <stdio.h>

/* Where it listens, and what Via and Record-Route say where that is something else. */
static void show_listener(const struct conf_listener *l, struct span said,
			  struct admin_reply *out)
{
	char at[ADDR_TEXT_MAX], host[ADDR_TEXT_MAX];
	addr_text(&l->addr, at);
	addr_host_text(&l->addr, host);
	admin_printf(out, "listener      %s %s", sip_transport_uri(l->transport), at);
	if (l->policy == CONF_POLICY_CLUSTER)
		admin_printf(out, " policy=cluster");
	else if (!span_eq(said, span_str(host)))
		admin_printf(out, " advertise=%.*s", SPAN_FMT(said));
	admin_printf(out, "\n");
}

static const char *store_of(const struct app *a)
{
	if (a->nodes && a->nodes->redis)
		return "redis";
	return a->store ? "sqlite" : "memory";
}

static int run_status(void *arg, int argc, char **argv, struct span secret,
		      struct admin_reply *out)
{
	struct app *a = arg;
	const struct conf *c = a->conf->conf;
	uint64_t live = 0;
	(void)argc;
	(void)argv;
	(void)secret;
	for (unsigned i = 0; i < a->nworkers; i++)
		live += counter_get(&stack_txn_counters(a->worker[i].view.stack)->live);
	admin_printf(out, "program       %s\n", a->program);
	admin_printf(out, "version       %s\n", base_version);
	admin_printf(out, "domain        %s\n", c->domain);
	admin_printf(out, "up            %llu s\n",
		     (unsigned long long)((time_wall_ms() - a->started_wall_ms) / 1000));
	admin_printf(out, "workers       %u\n", a->nworkers);
	admin_printf(out, "store         %s\n", store_of(a));
	admin_printf(out, "users         %zu\n", records_count(a->records, RECORD_USER));
	admin_printf(out, "bindings      %zu\n", records_count(a->records, RECORD_BINDING));
	admin_printf(out, "transactions  %llu\n", (unsigned long long)live);
	for (unsigned i = 0; i < c->listeners_count; i++)
		show_listener(&c->listeners[i], a->names.hosts[i], out);
	return 0;
}

static int run_reload(void *arg, int argc, char **argv, struct span secret,
		      struct admin_reply *out)
{
	char error[APP_ERROR_MAX];
	int r = app_reload(arg, error);
	(void)argc;
	(void)argv;
	(void)secret;
	if (r < 0)
		admin_printf(out, "%s\n", error);
	else
		admin_printf(out, "reloaded\n");
	return r;
}

static int run_backup(void *arg, int argc, char **argv, struct span secret,
		      struct admin_reply *out)
{
	struct app *a = arg;
	char error[APP_ERROR_MAX];
	snprintf(error, sizeof(error), "the store here is %s: there is no file to copy",
		 store_of(a));
	(void)argc;
	(void)secret;
	int r = -ENOTSUP;
	if (argv[0][0] != '/') {
		admin_printf(out, "a path from the root: it is the server that writes\n");
		return -EINVAL;
	}
	if (a->store && a->store->ops->backup)
		r = a->store->ops->backup(a->store, argv[0], error);
	admin_printf(out, "%s\n", r < 0 ? error : "copied");
	return r;
}

static int run_log(void *arg, int argc, char **argv, struct span secret,
		   struct admin_reply *out)
{
	enum log_level level;
	(void)arg;
	(void)argc;
	(void)secret;
	if (log_level_parse(span_str(argv[0]), &level) < 0) {
		admin_printf(out, "levels: error, warn, info, debug, trace\n");
		return -EINVAL;
	}
	log_set_level(level);
	return 0;
}

static const struct admin_command commands[] = {
	{.name = "status",
	 .args = "",
	 .help = "what runs and what it holds",
	 .run = run_status},
	{.name = "backup",
	 .args = "FILE",
	 .help = "a copy of the store in a new file",
	 .run = run_backup},
	{.name = "reload",
	 .args = "",
	 .help = "read the configuration again",
	 .run = run_reload},
	{.name = "log level",
	 .args = "LEVEL",
	 .help = "error to trace, until the next reload",
	 .run = run_log},
};

/* ---- metrics: one row a counter ---- */

struct row {
	const char *name, *help;
	enum metrics_type type;
	size_t offset;
};

#define ROW(s, field, suffix, kind, text)                       \
	{                                                       \
		.name = suffix, .help = (text), .type = (kind), \
		.offset = offsetof(struct s, field)             \
	}

static const struct row stack_rows[] = {
	ROW(stack_counters, received, "messages_received_total", METRICS_COUNTER,
	    "SIP messages that came in whole"),
	ROW(stack_counters, refused, "messages_refused_total", METRICS_COUNTER,
	    "Messages that could not be read or not be let on"),
	ROW(stack_counters, dropped, "messages_dropped_total", METRICS_COUNTER,
	    "Messages that could not even be answered"),
	ROW(stack_counters, handed_over, "messages_handed_over_total", METRICS_COUNTER,
	    "Messages received for another worker"),
	ROW(stack_counters, handover_full, "handover_full_total", METRICS_COUNTER,
	    "Messages refused because their worker was too far behind"),
	ROW(stack_counters, handover_send_full, "handover_send_full_total", METRICS_COUNTER,
	    "Messages not sent because the worker of their connection was too far behind"),
	ROW(stack_counters, handover_error_full, "handover_error_full_total", METRICS_COUNTER,
	    "ICMP errors that another worker was not told of: it was too far behind"),
	ROW(stack_counters, handover_knock_full, "handover_knock_full_total", METRICS_COUNTER,
	    "Phones not knocked at because the worker was too far behind"),
	ROW(stack_counters, replies, "stateless_replies_total", METRICS_COUNTER,
	    "Answers given without a transaction"),
	ROW(stack_counters, send_failed, "send_failed_total", METRICS_COUNTER,
	    "Messages that the transport could not deliver"),
	ROW(stack_counters, poison, "messages_poison_total", METRICS_COUNTER,
	    "Messages refused because they have crashed a process"),
	ROW(stack_counters, deferred, "deferred_total", METRICS_COUNTER,
	    "Waits of messages for phones whose connection went with a node"),
	ROW(stack_counters, deferring, "deferred", METRICS_GAUGE,
	    "Messages that wait for phones whose connection went with a node"),
	ROW(stack_counters, deferring_bytes, "deferred_bytes", METRICS_GAUGE,
	    "Memory of messages that wait for phones whose connection went with a node"),
	ROW(stack_counters, deferred_full, "deferred_full_total", METRICS_COUNTER,
	    "Times that a message was to wait for a phone and there was no room"),
	ROW(stack_counters, link_sent, "link_sent_total", METRICS_COUNTER,
	    "Messages sent to nodes of the cluster"),
	ROW(stack_counters, link_down, "link_down_total", METRICS_COUNTER,
	    "Messages for nodes that could not leave: no member of the pair lives"),
	ROW(stack_counters, link_failed, "link_failed_total", METRICS_COUNTER,
	    "Messages lost with a link to a node"),
	ROW(stack_counters, link_no_tls, "link_tls_refused_total", METRICS_COUNTER,
	    "Connections between nodes that got no TLS, or whose certificate names no node"),
	ROW(stack_counters, link_full, "link_full_total", METRICS_COUNTER,
	    "Messages that a link refused: too much waited in it"),
	ROW(stack_counters, link_kept, "link_kept_total", METRICS_COUNTER,
	    "Messages kept until they are answered, for who sent them does not repeat them"),
	ROW(stack_counters, link_kept_full, "link_kept_full_total", METRICS_COUNTER,
	    "Kept messages thrown out: there were too many"),
	ROW(stack_counters, link_late, "link_late_total", METRICS_COUNTER,
	    "Kept messages thrown out: they could not leave in their time"),
	ROW(stack_counters, link_resent, "link_resent_total", METRICS_COUNTER,
	    "Messages sent once more, to the other member of a pair, when a node died"),
	ROW(stack_counters, trying, "calls_behind", METRICS_GAUGE,
	    "INVITEs of homes to devices behind this edge without a final response"),
	ROW(stack_counters, trying_told, "calls_told_total", METRICS_COUNTER,
	    "Calls that the other member of a pair was told of when a home died"),
	ROW(stack_counters, trying_full, "calls_behind_full_total", METRICS_COUNTER,
	    "Calls that it could not be told of, or whose answer was forgotten: too many"),
};

static const struct row txn_rows[] = {
	ROW(txn_counters, server_new, "server_transactions_total", METRICS_COUNTER,
	    "Server transactions begun"),
	ROW(txn_counters, client_new, "client_transactions_total", METRICS_COUNTER,
	    "Client transactions begun"),
	ROW(txn_counters, retransmits_in, "retransmissions_received_total", METRICS_COUNTER,
	    "Requests that were retransmissions"),
	ROW(txn_counters, retransmits_out, "retransmissions_sent_total", METRICS_COUNTER,
	    "Messages sent again"),
	ROW(txn_counters, timeouts, "transaction_timeouts_total", METRICS_COUNTER,
	    "Transactions that nobody answered"),
	ROW(txn_counters, transport_errors, "transaction_transport_errors_total",
	    METRICS_COUNTER, "Transactions ended by the transport"),
	ROW(txn_counters, refused, "transactions_refused_total", METRICS_COUNTER,
	    "Transactions refused because the table was full"),
	ROW(txn_counters, evicted, "transactions_evicted_total", METRICS_COUNTER,
	    "Answered transactions ended early to make room"),
	ROW(txn_counters, live, "transactions", METRICS_GAUGE, "Live transactions"),
};

static const struct row proxy_rows[] = {
	ROW(proxy_counters, forwarded, "requests_forwarded_total", METRICS_COUNTER,
	    "Requests forwarded statefully, a branch each"),
	ROW(proxy_counters, responses, "responses_forwarded_total", METRICS_COUNTER,
	    "Responses forwarded"),
	ROW(proxy_counters, stateless, "stateless_forwarded_total", METRICS_COUNTER,
	    "Messages forwarded without a transaction"),
	ROW(proxy_counters, loops, "loops_total", METRICS_COUNTER, "Requests refused as loops"),
	ROW(proxy_counters, too_many_hops, "too_many_hops_total", METRICS_COUNTER,
	    "Requests out of Max-Forwards"),
	ROW(proxy_counters, no_target, "no_target_total", METRICS_COUNTER,
	    "Requests whose next hop could not be found"),
	ROW(proxy_counters, calls, "proxy_contexts", METRICS_GAUGE,
	    "Requests under way in the proxy"),
	ROW(proxy_counters, unanswered, "proxy_unanswered", METRICS_GAUGE,
	    "Requests in the proxy that have no final response yet"),
};

static const struct row net_rows[] = {
	ROW(net_counters, rx_udp, "udp_received_total", METRICS_COUNTER, "Datagrams received"),
	ROW(net_counters, tx_udp, "udp_sent_total", METRICS_COUNTER, "Datagrams sent"),
	ROW(net_counters, udp_tx_dropped, "udp_send_dropped_total", METRICS_COUNTER,
	    "Datagrams that the kernel did not take"),
	ROW(net_counters, udp_too_long, "udp_too_long_total", METRICS_COUNTER,
	    "Datagrams longer than limits.datagram_bytes"),
	ROW(net_counters, rx_stream, "stream_received_total", METRICS_COUNTER,
	    "Messages received on connections"),
	ROW(net_counters, tx_stream, "stream_sent_total", METRICS_COUNTER,
	    "Messages sent on connections"),
	ROW(net_counters, accepted, "connections_accepted_total", METRICS_COUNTER,
	    "Connections accepted"),
	ROW(net_counters, knocks, "connections_knocked_total", METRICS_COUNTER,
	    "Peers told that their connection went with another node"),
	ROW(net_counters, connected, "connections_opened_total", METRICS_COUNTER,
	    "Connections opened"),
	ROW(net_counters, refused_source, "connections_refused_source_total", METRICS_COUNTER,
	    "Connections refused: too many of one source"),
	ROW(net_counters, refused_full, "connections_refused_full_total", METRICS_COUNTER,
	    "Connections refused: too many in all"),
	ROW(net_counters, closed_idle, "connections_closed_idle_total", METRICS_COUNTER,
	    "Connections closed: idle"),
	ROW(net_counters, closed_slow, "connections_closed_slow_total", METRICS_COUNTER,
	    "Connections closed: message not whole in time"),
	ROW(net_counters, closed_broken, "connections_closed_broken_total", METRICS_COUNTER,
	    "Connections closed: framing lost"),
	ROW(net_counters, closed_out_full, "connections_closed_full_total", METRICS_COUNTER,
	    "Connections closed: peer did not read"),
	ROW(net_counters, handshake_failed, "tls_handshakes_failed_total", METRICS_COUNTER,
	    "TLS handshakes that failed"),
	ROW(net_counters, keepalives, "keepalives_total", METRICS_COUNTER,
	    "CRLF keep-alives answered"),
	ROW(net_counters, conns, "connections", METRICS_GAUGE, "Open connections"),
};

static const struct row dns_rows[] = {
	ROW(dns_counters, queries, "dns_queries_total", METRICS_COUNTER,
	    "Names asked for, cached or not"),
	ROW(dns_counters, cache_hits, "dns_cache_hits_total", METRICS_COUNTER,
	    "Names answered from the cache"),
	ROW(dns_counters, failures, "dns_failures_total", METRICS_COUNTER,
	    "Names that no server answered for"),
	ROW(dns_counters, refused, "dns_refused_total", METRICS_COUNTER,
	    "Names not asked for: too many under way"),
};

/* Counters are written by their worker alone; a scrape reads them as they are. */
static void write_rows(struct app *a, struct metrics_out *o, const struct row *rows, size_t n,
		       const void *(*of)(struct stack *s))
{
	for (size_t i = 0; i < n; i++) {
		metrics_family(o, rows[i].name, rows[i].type, rows[i].help);
		for (unsigned k = 0; k < a->nworkers; k++) {
			const char *base = of(a->worker[k].view.stack);
			uint64_t v = counter_get((const uint64_t *)(base + rows[i].offset));
			char label[32];
			snprintf(label, sizeof(label), "worker=\"%u\"", k);
			metrics_sample(o, label, (double)v);
		}
	}
}

static const void *of_stack(struct stack *s)
{
	return stack_counters(s);
}
static const void *of_txn(struct stack *s)
{
	return stack_txn_counters(s);
}
static const void *of_proxy(struct stack *s)
{
	return proxy_counters(stack_proxy(s));
}
static const void *of_net(struct stack *s)
{
	return net_counters(stack_net(s));
}
static const void *of_dns(struct stack *s)
{
	return stack_dns_counters(s);
}

#define WRITE(a, o, rows, of) \
	write_rows((a), (o), (rows), sizeof(rows) / sizeof((rows)[0]), (of))

static void write_metrics(void *arg, struct metrics_out *o)
{
	struct app *a = arg;
	struct records_counters rc = records_counters(a->records);
	WRITE(a, o, stack_rows, of_stack);
	WRITE(a, o, txn_rows, of_txn);
	WRITE(a, o, proxy_rows, of_proxy);
	WRITE(a, o, net_rows, of_net);
	WRITE(a, o, dns_rows, of_dns);
	metrics_gauge(o, "users", "Users known", records_count(a->records, RECORD_USER));
	metrics_gauge(o, "bindings", "Registered contacts",
		      records_count(a->records, RECORD_BINDING));
	metrics_gauge(o, "records", "Records held, traces of deleted ones too", rc.records);
	metrics_counter(o, "records_buried_total",
			"Records of other nodes that had been deleted here long before",
			rc.buried);
	metrics_counter(o, "records_full_total", "Records refused because the table was full",
			rc.full);
	metrics_gauge(o, "poison_known",
		      "Messages that are refused for having crashed a process",
		      poison_count(a->poison.set));
	metrics_counter(o, "reloads_total", "Configuration reloads", a->reloads);
	metrics_counter(o, "reload_errors_total", "Configuration reloads refused",
			a->reload_errors);
	metrics_counter(o, "log_lines_lost_total", "Log lines that could not be written",
			log_lost());
	if (!a->store)
		return;
	const struct store_counters *s = &a->store->counters;
	metrics_counter(o, "store_commits_total", "Group commits", counter_get(&s->commits));
	metrics_counter(o, "store_rows_total", "Rows written", counter_get(&s->rows));
	metrics_counter(o, "store_failed_total", "Units that could not be made durable",
			counter_get(&s->failed));
	metrics_gauge(o, "store_queued", "Units waiting for a commit", counter_get(&s->queued));
}

/* Every role's families, by way of the role's own function. */
struct role_metrics {
	struct app *app;
	int kind;
};

static void write_role(void *arg, struct metrics_out *o)
{
	struct app *a = arg;
	for (int k = 0; k < APP_ROLE_COUNT; k++)
		if (a->role[k] && a->role[k]->metrics)
			a->role[k]->metrics(a->role_state[k], o);
}

static bool healthy(void *arg)
{
	return app_takes_calls(arg);
}

void app_admin_path(const struct conf *c, char *ret, size_t room)
{
	if (c->admin.socket)
		snprintf(ret, room, "%s", c->admin.socket);
	else
		snprintf(ret, room, "%s/admin.sock", c->data_dir ? c->data_dir : ".");
}

int app_admin_start(struct app *a, char ret_error[APP_ERROR_MAX])
{
	const struct conf *c = a->conf->conf;
	char path[4096];
	int r = 0;
	app_admin_path(c, path, sizeof(path));
	if (metrics_add(a->metrics, write_metrics, a) < 0 ||
	    metrics_add(a->metrics, write_role, a) < 0)
		return -ENOMEM;
	a->admin = admin_new(a->loop, path, c->admin.http, a->metrics, healthy, a, ret_error);
	if (!a->admin)
		return -EADDRINUSE;
	r = admin_add(a->admin, commands, sizeof(commands) / sizeof(commands[0]), a);
	if (r == 0)
		r = app_nodes_admin(a);
	for (int k = 0; k < APP_ROLE_COUNT && r == 0; k++) {
		if (!a->role[k])
			continue;
		r = admin_add(a->admin, a->role[k]->commands, a->role[k]->ncommands,
			      a->role_state[k]);
		if (a->nodes)
			admin_elsewhere(a->admin, a->role[k]->elsewhere);
	}
	return r;
}
