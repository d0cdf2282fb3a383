/*
 * From a configuration to a running process: the parts in the order of their floors.
 */
#include "common/app/app_priv.h"
#include "common/app/flows.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { STORE_QUEUE_MAX = 100000, CERTS_MAX = 64, SWEEP_MS = 1000, MAIN_ARENA_BYTES = 65536 };

struct app_conf *app_conf_new(struct conf *c)
{
	struct app_conf *n = malloc(sizeof(*n));
	if (!n)
		return NULL;
	atomic_init(&n->refs, 1);
	n->conf = c;
	return n;
}

struct app_conf *app_conf_unref(struct app_conf *c)
{
	if (c && atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) == 1) {
		conf_free(c->conf);
		free(c);
	}
	return NULL;
}

/* ---- what the stack asks of us ---- */

static const struct app_role *front(const struct app *a)
{
	return a->role[APP_EDGE] ? a->role[APP_EDGE] : a->role[APP_HOME];
}

static uint32_t on_classify(void *arg, struct sip_flow *f, bool opened,
			    const struct net_peer *peer)
{
	return app_classify(arg, f, opened, peer);
}

static size_t on_introduction(void *arg, unsigned node, char *buf)
{
	const struct app_worker *w = arg;
	return app_introduction(w->app, node, buf);
}

static int on_introduced(void *arg, const struct sip_msg *m, const struct sip_flow *f,
			 struct net_peer *ret)
{
	return app_introduced(arg, m, f, ret);
}

static bool on_from_node(void *arg, const struct sip_msg *m, struct sip_flow *f,
			 uint32_t *marks)
{
	return app_from_node(arg, m, f, marks);
}

/* What is known of a request when it comes to a role. */
static struct app_request request_of(const struct proxy_request *r, uint32_t marks)
{
	struct app_request q = {.r = r, .marks = marks};
	if ((marks & APP_MARK_NODE) && (marks & APP_MARK_AUTHENTICATED))
		q.user = app_node_user(r->msg);
	return q;
}

/* Somebody else has come to where nodes speak to each other. */
static bool refuse_stranger(struct app_worker *w, const struct app_request *q)
{
	if (!(q->marks & APP_MARK_STRANGER))
		return false;
	struct app_nodes *n = w->app->nodes;
	uint64_t before =
		n ? atomic_fetch_add_explicit(&n->strangers, 1, memory_order_relaxed) : 0;
	if (n && log_may(&n->strangers_logged, loop_now(stack_loop(w->stack))))
		log_event(LOG_WARN, "link-stranger", LOG_S("call-id", q->r->msg->call_id),
			  LOG_N("so_far", before + 1));
	app_reply(w, q, 403, "Not A Node", SPAN(""));
	return true;
}

static void on_request(void *arg, struct stack *s, const struct proxy_request *r,
		       uint32_t marks, msec now)
{
	struct app_worker *w = arg;
	const struct app_role *role = front(w->app);
	const struct app_request q = request_of(r, marks);
	(void)s;
	if (!refuse_stranger(w, &q))
		role->request(w->app->role_state[role->kind], w, &q, now);
}

static void on_ack(void *arg, struct stack *s, const struct proxy_request *r, uint32_t marks,
		   msec now)
{
	struct app_worker *w = arg;
	const struct app_role *role = front(w->app);
	const struct app_request q = request_of(r, marks);
	(void)s;
	if (!refuse_stranger(w, &q))
		role->ack(w->app->role_state[role->kind], w, &q, now);
}

static enum stack_found on_cancel(void *arg, struct stack *s, const struct proxy_request *r,
				  uint32_t marks, msec now)
{
	struct app_worker *w = arg;
	const struct app_role *role = front(w->app);
	const struct app_request q = request_of(r, marks);
	(void)s;
	if (!role->cancel || (marks & APP_MARK_STRANGER))
		return STACK_UNKNOWN;
	return role->cancel(w->app->role_state[role->kind], w, &q, now);
}

static enum stack_found on_response(void *arg, struct stack *s, const struct sip_msg *m,
				    const struct sip_via *top, const struct sip_flow *src,
				    bool again, msec now)
{
	struct app_worker *w = arg;
	const struct app_role *role = front(w->app);
	(void)s;
	if (!role->response)
		return STACK_UNKNOWN;
	return role->response(w->app->role_state[role->kind], w, m, top, src, again, now);
}

static int on_read_flow(void *arg, struct span token, uint16_t member, struct sip_flow *ret)
{
	const struct app_worker *w = arg;
	int r = app_token_read(w->app, token, ret);
	/* The other member of our pair has, or knows, the connection: the response is its to
	 * send, as it came. */
	if (r == 0 && ret->node && ret->node == app_twin(w->app) &&
	    flow_token_conn(&w->app->flows, token))
		return -EXDEV;
	/* The token names the pair; back to the member of it that has sent the request. */
	if (r == 0 && ret->node && app_same_pair(w->app, ret->node, member))
		ret->node = member;
	return r;
}

static struct span on_lost_flow(void *arg, const struct sip_flow *f)
{
	return app_lost_token(arg, f);
}

/* Either member will do; the one that is meant goes first while it serves.  A home that
 * drains has still the transactions that need nothing but their answer. */
static int on_member(void *arg, unsigned node, bool ends)
{
	const struct app_worker *w = arg;
	const struct app_nodes *n = w->app->nodes;
	if (!n)
		return -1;
	const struct cluster_node *v = &n->conf.node[node];
	bool stays =
		app_same_pair(w->app, (uint16_t)(node + 1), (uint16_t)(n->conf.self + 1)) ||
		(ends && v->role == CLUSTER_HOME);
	if (stays && (cluster_alive(n->cluster, node) || app_may_live(w->app, node)))
		return (int)node;
	return cluster_member(n->cluster, span_str(v->pair), (int)node);
}

static int on_chosen(void *arg, unsigned node)
{
	const struct app_worker *w = arg;
	const struct app_nodes *n = w->app->nodes;
	return n ? cluster_member(n->cluster, span_str(n->conf.node[node].pair), -1) : -1;
}

/* Only a worker was late, and the bus's thread was not: the others have heard of us. */
static bool bus_went_on(const struct app_nodes *n, msec gap)
{
	msec now = time_now();
	return now < atomic_load(&n->heard_ms) + gap / 2 &&
	       now > atomic_load(&n->stopped_ms) + n->conf.dead_ms;
}

/* Who lived when we were stopped: the bus's thread may not have heard of anything yet, or have
 * lost its connections meanwhile. */
static bool on_taken_over(void *arg, msec gap)
{
	const struct app_worker *w = arg;
	const struct app_nodes *n = w->app->nodes;
	struct cluster_node_state other;
	int twin = cluster_partner(n->cluster, n->conf.self);
	if (twin < 0 || bus_went_on(n, gap))
		return false;
	app_addresses_look(w->app);
	cluster_node_state(n->cluster, (unsigned)twin, &other);
	if (!other.version || other.silent_ms > gap + n->conf.dead_ms)
		return false;
	atomic_store(&w->app->nodes->missed_ms, time_now());
	app_serve_again(w->app);
	return true;
}

/* What a phone has sent here it sends again where it is connected to now. */
static bool on_moved_away(void *arg, uint16_t listener)
{
	const struct app_worker *w = arg;
	return app_address_away(w->app, listener);
}

/* With a node that lives it is the address, the port or the certificate. */
static void on_link_unopened(void *arg, unsigned node)
{
	const struct app_worker *w = arg;
	struct app_nodes *n = w->app->nodes;
	if (n && cluster_alive(n->cluster, node) &&
	    log_may(&n->link_logged, loop_now(stack_loop(w->stack)))) {
		char text[ADDR_TEXT_MAX];
		addr_text(&n->node[node].addr, text);
		log_event(LOG_WARN, "link-failed", LOG_STR("node", app_node(n, node)->name),
			  LOG_STR("address", text));
	}
}

static void on_link_failed(void *arg, unsigned node)
{
	const struct app_worker *w = arg;
	on_link_unopened(arg, node);
	if (w->app->nodes)
		cluster_suspect(w->app->nodes->cluster, node);
}

static void on_link_no_tls(void *arg, int node, const struct addr *at,
			   const struct net_refusal *why)
{
	const struct app_worker *w = arg;
	struct app_nodes *n = w->app->nodes;
	char text[ADDR_TEXT_MAX];
	if (!n)
		return;
	uint64_t before = atomic_fetch_add_explicit(&n->links_no_tls, 1, memory_order_relaxed);
	struct log_limit *l =
		&n->no_tls_logged[node < 0 ? CLUSTER_NODES_MAX : node][why->by_peer];
	if (!log_may(l, loop_now(stack_loop(w->stack))))
		return;
	addr_text(at, text);
	log_event(LOG_WARN, "link-tls-refused",
		  LOG_STR("node", node < 0 ? "" : app_node(n, (unsigned)node)->name),
		  LOG_STR("address", text), LOG_STR("opened", why->opened ? "yes" : "no"),
		  LOG_STR("by", why->by_peer ? "peer" : "us"), LOG_STR("error", why->why),
		  LOG_N("so_far", before + 1));
}

static void on_link_full(void *arg, unsigned node)
{
	const struct app_worker *w = arg;
	struct app_nodes *n = w->app->nodes;
	if (n && log_may(&n->full_logged, loop_now(stack_loop(w->stack))))
		log_event(LOG_WARN, "link-full", LOG_STR("node", app_node(n, node)->name));
}

static void on_flow_closed(void *arg, struct stack *s, const struct sip_flow *f)
{
	(void)arg;
	(void)s;
	(void)f; /* bindings by a closed connection are found dead when they are used */
}

static bool on_is_local(void *arg, struct span host, uint16_t port)
{
	return app_is_local(arg, host, port);
}

static bool on_is_self(void *arg, struct span host, uint16_t port)
{
	return app_is_self(arg, host, port);
}

static const struct stack_user stack_user = {
	.classify = on_classify,
	.request = on_request,
	.ack = on_ack,
	.cancel = on_cancel,
	.response = on_response,
	.read_flow = on_read_flow,
	.lost_flow = on_lost_flow,
	.from_node = on_from_node,
	.introduction = on_introduction,
	.introduced = on_introduced,
	.member = on_member,
	.chosen = on_chosen,
	.taken_over = on_taken_over,
	.moved_away = on_moved_away,
	.link_failed = on_link_failed,
	.link_unopened = on_link_unopened,
	.link_no_tls = on_link_no_tls,
	.link_full = on_link_full,
	.flow_closed = on_flow_closed,
	.is_local = on_is_local,
	.is_self = on_is_self,
};

/* ---- configuration to parts ---- */

/* Via, Record-Route and what one node tells the next, of as many nodes as a message may pass.
 */
enum { LINK_MORE_BYTES = 16384 };

static void net_from(struct net_conf *n, const struct conf *c)
{
	*n = net_conf_default;
	n->nlisteners = c->listeners_count;
	for (unsigned i = 0; i < c->listeners_count; i++)
		n->listener[i] = (struct net_listener){
			.transport = c->listeners[i].transport,
			.addr = c->listeners[i].addr,
			.tls_require_peer = c->listeners[i].mutual_tls,
			.more_bytes = c->listeners[i].policy == CONF_POLICY_CLUSTER
					      ? LINK_MORE_BYTES
					      : 0,
		};
	n->limits = c->limits;
	n->handshake_ms = c->net.handshake_ms;
	n->message_ms = c->net.message_ms;
	n->idle_ms = c->net.idle_s * 1000;
	n->connect_ms = c->net.connect_ms;
	n->conns_max = c->net.connections;
	n->conns_per_source = c->net.connections_per_source;
	n->out_bytes_max = c->net.out_queue_bytes;
}

/* One for every four cores: docs/decisions/0005-workers.md. */
static unsigned default_workers(void)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	return cores > 4 ? (unsigned)((cores + 3) / 4) : 1;
}

static void stack_from(struct stack_conf *s, const struct app *a)
{
	const struct conf *c = a->conf->conf;
	*s = (struct stack_conf){
		.workers = c->workers ? c->workers : default_workers(),
		.moderation_us = c->moderation_us,
		.tls = a->tls,
		.timers = txn_timers_default,
		.transactions_max = c->net.transactions,
		.proxy = proxy_conf_default,
		.dns = dns_conf_default,
		.secret = span_of((const char *)a->secret, sizeof(a->secret)),
		.alias_marks = APP_MARK_INSIDER,
		.poison = a->poison.set,
		.handover_max = 65536,
	};
	if (s->workers > STACK_WORKERS_MAX)
		s->workers = STACK_WORKERS_MAX;
	net_from(&s->net, c);
	for (unsigned i = 0; i < c->listeners_count; i++)
		s->local[i] = (struct proxy_local){.transport = c->listeners[i].transport,
						   .host = a->names.hosts[i],
						   .port = a->names.ports[i],
						   .inside = c->listeners[i].policy ==
							     CONF_POLICY_CLUSTER};
	if (a->nodes) {
		s->node = a->nodes->node;
		s->nnodes = a->nodes->conf.n;
		s->self = a->nodes->conf.self;
		s->node_marks = APP_MARK_NODE;
		s->link_listener = a->nodes->link_listener;
		s->net.link_listener = s->link_listener;
		s->net.link_bytes_max = c->cluster.queue_bytes;
		s->dead_ms = c->cluster.dead_ms;
		s->is_edge = app_has_role(a, APP_EDGE);
	}
	s->timers.t1 = c->timers.t1_ms;
	s->timers.t2 = c->timers.t2_ms;
	s->timers.t4 = c->timers.t4_ms;
	s->proxy.timer_c_ms = c->timers.timer_c_s * 1000;
	s->proxy.serial_group_ms = c->timers.serial_group_s * 1000;
	s->proxy.max_breadth = c->proxy.max_breadth;
	s->proxy.max_targets = c->proxy.max_targets;
	s->proxy.recurse_3xx = c->proxy.recurse;
	s->proxy.record_route = c->proxy.record_route;
	s->proxy.pair = app_pair(a);
	s->proxy.node = app_self(a);
	s->dns.servers = c->dns.servers;
	s->dns.timeout_ms = c->dns.timeout_ms;
	s->dns.tries = c->dns.tries;
}

int app_tls_apply(struct app *a, const struct conf *c, char *ret_error)
{
	struct net_tls_cert certs[CERTS_MAX];
	struct net_tls_conf t = {.certs = certs, .ca_file = c->tls.ca};
	for (unsigned i = 0; c->cluster.node && i < c->listeners_count; i++)
		if (c->listeners[i].policy == CONF_POLICY_CLUSTER &&
		    c->listeners[i].transport == SIP_TRANSPORT_TLS)
			t.node_name = c->cluster.node;
	for (unsigned i = 0; i < c->tls.certificates_count && i < CERTS_MAX; i++)
		certs[t.ncerts++] = (struct net_tls_cert){
			.domain = c->tls.certificates[i].domain,
			.cert_file = c->tls.certificates[i].certificate,
			.key_file = c->tls.certificates[i].key,
		};
	if (a->tls)
		return net_tls_reload(a->tls, &t, ret_error);
	if (!t.ncerts && !t.ca_file)
		return 0;
	a->tls = net_tls_new(&t, ret_error);
	return a->tls ? 0 : -EINVAL;
}

void app_store_path(const struct conf *c, char *ret, size_t room)
{
	snprintf(ret, room, "%s/eaves.db", c->data_dir);
}

static int open_store(struct app *a, char ret_error[APP_ERROR_MAX])
{
	const struct conf *c = a->conf->conf;
	char path[4096];
	if (c->store == CONF_STORE_SQLITE) {
		app_store_path(c, path, sizeof(path));
		a->store = store_sqlite_new(path, STORE_QUEUE_MAX, ret_error);
		if (!a->store)
			return -EIO;
	}
	return 0;
}

static int open_records(struct app *a, char ret_error[APP_ERROR_MAX])
{
	struct span secret = span_of((const char *)a->cluster_secret, APP_SECRET_BYTES);
	struct mac_key key = mac_derive_key(secret, "records");
	struct cluster *k = app_cluster(a);
	a->records =
		records_new(k ? cluster_store(k) : a->store, k ? a->nodes->conf.self + 1 : 1,
			    a->conf->conf->records_max, k ? &key : NULL);
	if (!a->records)
		return -ENOMEM;
	int r = records_load(a->records, time_wall_ms());
	if (r < 0)
		snprintf(ret_error, APP_ERROR_MAX, "cannot read the store: %s", strerror(-r));
	return r;
}

static int start_roles(struct app *a, char ret_error[APP_ERROR_MAX])
{
	const struct app_services sv = {
		.conf = a->conf->conf,
		.records = a->records,
		.durable = a->store != NULL || a->nodes != NULL,
		.secret = span_of((const char *)a->secret, sizeof(a->secret)),
		.boot = a->boot,
		.cluster = app_cluster(a),
		.app = a,
	};
	for (int k = 0; k < APP_ROLE_COUNT; k++) {
		int r = a->role[k] ? a->role[k]->start(&sv, &a->role_state[k], ret_error) : 0;
		if (r < 0)
			return r;
	}
	return 0;
}

static int open_stacks(struct app *a, char ret_error[APP_ERROR_MAX])
{
	struct stack_conf s;
	void *args[STACK_WORKERS_MAX];
	stack_from(&s, a);
	a->nworkers = s.workers;
	a->worker = calloc(a->nworkers, sizeof(*a->worker));
	if (!a->worker)
		return -ENOMEM;
	for (unsigned i = 0; i < a->nworkers; i++) {
		a->worker[i].conf = a->conf;
		atomic_fetch_add_explicit(&a->conf->refs, 1, memory_order_relaxed);
		a->worker[i].view =
			(struct app_worker){.index = i, .conf = a->conf->conf, .app = a};
		args[i] = &a->worker[i].view;
	}
	a->stacks = stack_group_new(&s, &stack_user, args, ret_error);
	if (!a->stacks)
		return -EADDRINUSE;
	for (unsigned i = 0; i < a->nworkers; i++)
		a->worker[i].view.stack = stack_group_worker(a->stacks, i);
	return 0;
}

static void on_sweep(struct wheel_timer *t, msec now)
{
	struct app *a = container_of(t, struct app, sweep);
	records_sweep(a->records, time_wall_ms());
	poison_sweep(a->poison.set, time_wall_ms());
	wheel_arm(loop_wheel(a->loop), t, now + SWEEP_MS);
}

static void on_round(void *arg)
{
	arena_reset(arg);
}

/* The main thread's loop, clockwork and memory. */
static int open_main(struct app *a)
{
	if (!(a->loop = loop_new(0)) || !(a->metrics = metrics_new()) ||
	    arena_init(&a->arena, MAIN_ARENA_BYTES) < 0)
		return -ENOMEM;
	sip_values_use_arena(&a->arena);
	return loop_on_round(a->loop, on_round, &a->arena);
}

/* A thread's own heap grows by a page and a system call at a time: a tenth of a call's cost.
 * One or two workers share the main heap, which grows by TOP_PAD; more would wait for it. */
static void set_up_heap(const struct conf *c)
{
	enum { TOP_PAD = 4 << 20, TRIM = 64 << 20 };
	unsigned workers = c->workers ? c->workers : default_workers();
	if (workers > 2)
		return;
	mallopt(M_ARENA_MAX, 1);
	mallopt(M_TOP_PAD, TOP_PAD);
	mallopt(M_TRIM_THRESHOLD, TRIM);
}

int app_names_load(struct app *a, char ret_error[APP_ERROR_MAX])
{
	int r = app_names_find(&a->names, a->conf->conf);
	if (r < 0)
		snprintf(ret_error, APP_ERROR_MAX,
			 "no address to advertise for a listener on all addresses: set "
			 "advertise");
	return r;
}

int app_setup(struct app *a, char ret_error[APP_ERROR_MAX])
{
	int r;
	snprintf(ret_error, APP_ERROR_MAX, "out of memory");
	a->started_wall_ms = time_wall_ms();
	a->fixed = a->conf;
	atomic_fetch_add_explicit(&a->fixed->refs, 1, memory_order_relaxed);
	set_up_heap(a->conf->conf); /* before any thread */
	if ((r = open_main(a)) < 0)
		return r;
	if ((r = app_secret_load(a, true, ret_error)) < 0)
		return r;
	do
		mac_random(&a->boot, sizeof(a->boot));
	while (!a->boot);
	flow_keys_init(&a->flows, span_of((const char *)a->secret, sizeof(a->secret)), a->boot);
	if ((r = app_names_load(a, ret_error)) < 0 || (r = app_poison_open(a)) < 0 ||
	    (r = open_store(a, ret_error)) < 0 || (r = app_nodes_open(a, ret_error)) < 0 ||
	    (r = open_records(a, ret_error)) < 0 || (r = app_nodes_attach(a, ret_error)) < 0 ||
	    (r = app_tls_apply(a, a->conf->conf, ret_error)) < 0 ||
	    (r = start_roles(a, ret_error)) < 0 || (r = open_stacks(a, ret_error)) < 0 ||
	    (r = app_admin_start(a, ret_error)) < 0)
		return r;
	wheel_timer_init(&a->sweep, on_sweep);
	wheel_arm(loop_wheel(a->loop), &a->sweep, time_now() + SWEEP_MS);
	return 0;
}

int app_start(struct app *a, char ret_error[APP_ERROR_MAX])
{
	int r = app_poison_arm(a, ret_error);
	if (r < 0)
		return r;
	if ((r = app_serve_start(a, ret_error)) < 0)
		return r;
	app_addresses_start(a);
	app_load_start(a);
	app_redis_start(a->nodes);
	if ((r = app_nodes_start(a)) == 0)
		r = stack_group_start(a->stacks);
	if (r < 0)
		snprintf(ret_error, APP_ERROR_MAX, "cannot start a thread: %s", strerror(-r));
	return r;
}
