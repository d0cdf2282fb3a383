/*
 * A node of a cluster: from the configuration to the bus, the engine of the cluster and the
 * thread that both live in.  Not here: who holds and who may write which records (holders.c),
 * SIP between nodes (hop.c).
 */
#include "common/app/app_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { SOON_MS = 2000 };

/* ---- the engine's view of the rim ---- */

static int on_send(void *arg, unsigned node, struct span bytes)
{
	const struct app_nodes *n = arg;
	return n->bus ? bus_send(n->bus, node, bytes) : -EHOSTUNREACH;
}

/* Not soon after it was done: twice is more than a retransmission, for a transaction may end in
 * between. */
static bool was_just_done(const struct app_nodes *n, unsigned node)
{
	msec at = n->sent_again_ms[node];
	return at && loop_now(n->loop) < at + SOON_MS;
}

/* Its service address has, with the connections of its phones: what they were sent, and what
 * they answered, before it saw that may be lost.  It finds them where they are by then. */
static void has_left(struct app_nodes *n, unsigned node)
{
	if (was_just_done(n, node) || !n->app->stacks)
		return;
	n->sent_again_ms[node] = loop_now(n->loop);
	stack_group_send_again(n->app->stacks, node);
}

static void on_notice(void *arg, unsigned node, unsigned kind, struct span body)
{
	struct app *a = ((struct app_nodes *)arg)->app;
	if (kind == APP_NOTICE_POISON)
		app_poison_notice(a, node, body);
	if (kind == APP_NOTICE_KNOCK)
		app_knock_notice(a, node, body);
	if (kind == APP_NOTICE_LEFT)
		has_left(a->nodes, node);
	for (int k = 0; k < APP_ROLE_COUNT; k++)
		if (a->role[k] && a->role[k]->notice && a->role_state[k])
			a->role[k]->notice(a->role_state[k], node, kind, body);
}

static void tell_roles(const struct app *a, unsigned node)
{
	for (int k = 0; k < APP_ROLE_COUNT; k++)
		if (a->role[k] && a->role[k]->node_changed && a->role_state[k])
			a->role[k]->node_changed(a->role_state[k], node);
}

static void give_up(struct app_nodes *n, unsigned node, bool suddenly)
{
	n->sent_again_ms[node] = loop_now(n->loop);
	if (!n->given_up[node] && n->app->stacks)
		stack_group_node_lost(n->app->stacks, node, suddenly);
	n->given_up[node] = true;
}

/* We were stopped, and our connections may have ended meanwhile: that nobody is there says
 * nothing yet.  Who does not come back is dead. */
static bool doubted(struct app_nodes *n, unsigned node)
{
	if (!wheel_armed(&n->doubt))
		return false;
	n->doubted |= UINT64_C(1) << node;
	return true;
}

/* was_dead: its link had broken before; now the bus says it too. */
static void on_death(struct app_nodes *n, unsigned node, bool was_dead)
{
	if (doubted(n, node))
		return;
	if (was_dead) {
		tell_roles(n->app, node);
		return;
	}
	app_poison_look(n->app); /* what it may have died of, before others get it */
	tell_roles(n->app, node);
	log_event(LOG_WARN, "node-dead", LOG_STR("node", app_node(n, node)->name));
	give_up(n, node, cluster_heard_to_end(n->cluster, node));
	if (n->app->stacks)
		stack_group_sever(n->app->stacks, node);
}

/* It had served, then not, and does again, in one life: it was stopped for so long that it
 * could have been taken for dead, and has passed over what was sent to it meanwhile. */
static bool was_away(struct app_nodes *n, unsigned node, bool serves, bool is_new)
{
	bool before = n->serves[node], ever = n->has_served[node] && !is_new;
	n->serves[node] = serves;
	n->has_served[node] = serves || ever;
	return ever && serves && !before;
}

/* It lives, and may begin to serve, or to drain.  An edge that drains has hung up: what was for
 * its phones finds them by the other one. */
static void on_life(struct app_nodes *n, unsigned node, bool is_new)
{
	bool serves = cluster_serving(n->cluster, node);
	bool away = was_away(n, node, serves, is_new);
	if ((away || (!is_new && !serves && app_node(n, node)->role == CLUSTER_EDGE)) &&
	    !was_just_done(n, node))
		give_up(n, node, false);
	if (away)
		n->given_up[node] = false;
	if (is_new) {
		n->given_up[node] = false;
		tell_roles(n->app, node);
		app_poison_tell(n->app, node);
		if (n->app->stacks)
			stack_group_node_lives(n->app->stacks, node);
	}
	log_event(LOG_INFO, "node-alive", LOG_STR("node", app_node(n, node)->name),
		  LOG_STR("serves", serves ? "yes" : "no"));
}

static void on_changed(void *arg, unsigned node)
{
	struct app_nodes *n = arg;
	bool lives = cluster_alive(n->cluster, node), before = n->lives[node];
	n->lives[node] = lives;
	uint64_t live = 0;
	for (unsigned i = 0; i < n->conf.n; i++)
		live |= n->lives[i] ? UINT64_C(1) << i : 0;
	app_serve_seen(n->app, live);
	app_redis_partner(n);
	if (lives)
		on_life(n, node, !before);
	else
		on_death(n, node, !before);
}

static void end_doubt(struct wheel_timer *t, msec now)
{
	struct app_nodes *n = container_of(t, struct app_nodes, doubt);
	uint64_t nodes = n->doubted;
	(void)now;
	n->doubted = 0;
	for (unsigned i = 0; i < n->conf.n; i++)
		if (nodes >> i & 1 && !cluster_alive(n->cluster, i))
			on_death(n, i, false);
}

static void on_gap(void *arg, msec gap)
{
	struct app_nodes *n = arg;
	(void)gap;
	atomic_store(&n->stopped_ms, loop_now(n->loop));
	cluster_was_away(n->cluster);
	wheel_arm(loop_wheel(n->loop), &n->doubt, loop_now(n->loop) + n->conf.dead_ms);
}

static void on_message(void *arg, unsigned node, struct span bytes)
{
	struct app_nodes *n = arg;
	atomic_store(&n->heard_ms, loop_now(n->loop));
	cluster_receive(n->cluster, node, bytes);
}

static void on_connected(void *arg, unsigned node, bool up)
{
	struct app_nodes *n = arg;
	cluster_connected(n->cluster, node, up);
}

static void on_refused(void *arg, const char *address, const char *why)
{
	struct app_nodes *n = arg;
	uint64_t before = atomic_fetch_add_explicit(&n->refused, 1, memory_order_relaxed);
	if (log_may(&n->refused_logged, loop_now(n->loop)))
		log_event(LOG_WARN, "bus-refused", LOG_STR("address", address),
			  LOG_STR("why", why), LOG_N("so_far", before + 1));
}

/* ---- configuration to parts ---- */

/* The listener that the others have of this node: there may be more of policy cluster, and who
 * connects introduces himself at this one.  -1: none is there. */
static int link_of(const struct conf *c)
{
	const struct addr *sip = &c->cluster.nodes[c->cluster.self].sip_addr;

	for (unsigned i = 0; i < c->listeners_count; i++) {
		const struct addr *at = &c->listeners[i].addr;
		if (c->listeners[i].policy == CONF_POLICY_CLUSTER &&
		    addr_port(at) == addr_port(sip) &&
		    (addr_is_any(at) || addr_host_equal(at, sip)))
			return (int)i;
	}
	return -1;
}

static void cluster_from(struct app_nodes *n, const struct app *a)
{
	const struct conf *c = a->conf->conf;
	struct span secret = span_of((const char *)a->cluster_secret, APP_SECRET_BYTES);

	n->conf = cluster_conf_default;
	n->conf.self = c->cluster.self;
	n->conf.n = c->cluster.nodes_count;
	n->conf.heartbeat_ms = c->cluster.heartbeat_ms;
	n->conf.dead_ms = c->cluster.dead_ms;
	n->conf.second_place_ms = c->cluster.second_place_ms;
	n->conf.compare_ms = c->cluster.compare_ms;
	n->conf.queue_bytes = c->cluster.queue_bytes;
	/* Operators write little, and then the homes are to know it. */
	if (c->cluster.nodes[n->conf.self].role == CONF_ROLE_EDGE)
		n->conf.gather_ms = 0;
	n->conf.boot = a->boot;
	n->conf.digest_key = mac_derive_key(secret, "digest");
	n->link_key = mac_derive_key(secret, "link");
	n->conf.domain = mac_span(&n->conf.digest_key, span_str(c->domain));
	n->conf.realm = mac_span(&n->conf.digest_key, span_str(c->auth.realm));
	for (unsigned i = 0; i < n->conf.n; i++) {
		const struct conf_node *from = &c->cluster.nodes[i];
		struct cluster_node *to = &n->conf.node[i];

		snprintf(to->name, sizeof(to->name), "%s", from->name);
		snprintf(to->pair, sizeof(to->pair), "%s", from->pair);
		to->role = from->role == CONF_ROLE_EDGE ? CLUSTER_EDGE : CLUSTER_HOME;
		n->node[i] = (struct stack_node){from->sip_addr, to->name, to->pair};
		if (to->role == CLUSTER_EDGE)
			n->edge_pair = to->pair;
	}
	app_holders_find(n);
	n->link_listener = (uint16_t)link_of(c); /* check_link has found it */
}

uint16_t app_twin(const struct app *a)
{
	int twin = a->nodes ? cluster_partner(a->nodes->cluster, a->nodes->conf.self) : -1;
	return twin >= 0 && cluster_alive(a->nodes->cluster, (unsigned)twin)
		       ? (uint16_t)(twin + 1)
		       : 0;
}

bool app_may_live(const struct app *a, unsigned node)
{
	msec missed = a->nodes ? atomic_load(&a->nodes->missed_ms) : 0;
	return missed && time_now() < missed + a->nodes->conf.dead_ms &&
	       !cluster_alive(a->nodes->cluster, node);
}

/* Of two nodes the later one in the list calls. */
static void bus_from(struct bus_conf *b, const struct app_nodes *n, const struct conf *c)
{
	unsigned self = n->conf.self;

	*b = (struct bus_conf){
		.self = self,
		.n = n->conf.n,
		.key_file = c->cluster.bus_key,
		.domain = c->domain,
		.queue_messages = 10000,
		/* Who is silent the cluster's own heartbeats tell, over the same connections.
		 * ZeroMQ's only end those that would stay open for nothing. */
		.heartbeat_ms = 4 * c->cluster.heartbeat_ms,
		.dead_ms = 4 * c->cluster.heartbeat_ms + c->cluster.dead_ms,
	};
	for (unsigned i = 0; i < n->conf.n; i++) {
		b->node[i] = (struct bus_node){.name = app_node(n, i)->name,
					       .addr = c->cluster.nodes[i].bus_addr,
					       .dial = i < self && app_nodes_speak(n, i)};
		snprintf(b->node[i].key, sizeof(b->node[i].key), "%s", c->cluster.nodes[i].key);
	}
}

void app_bus_conf_free(struct bus_conf *b)
{
	if (b)
		explicit_bzero(b, sizeof(*b));
	free(b);
}

struct bus_conf *app_bus_conf(const struct app_nodes *n, const struct conf *c,
			      char ret_error[APP_ERROR_MAX])
{
	struct bus_conf *b = malloc(sizeof(*b));

	if (!b) {
		snprintf(ret_error, APP_ERROR_MAX, "out of memory");
		return NULL;
	}
	bus_from(b, n, c);
	char why[APP_ERROR_MAX];
	if (app_read_key(c->cluster.bus_key, b->secret_key, why) == 0)
		return b;
	snprintf(ret_error, APP_ERROR_MAX, "cluster.bus_key %.200s: %.50s", c->cluster.bus_key,
		 why);
	app_bus_conf_free(b);
	return NULL;
}

static int open_bus(struct app_nodes *n, const struct conf *c, char *ret_error)
{
	const struct bus_ops ops = {.message = on_message,
				    .connected = on_connected,
				    .refused = on_refused,
				    .arg = n};
	struct bus_conf *b = app_bus_conf(n, c, ret_error);

	if (!b)
		return -EINVAL;
	n->bus = bus_new(n->loop, b, &ops, ret_error);
	app_bus_conf_free(b);
	return n->bus ? 0 : -EADDRINUSE;
}

static int check_role(const struct app *a, char *ret_error)
{
	const struct conf *c = a->conf->conf;
	bool edge = app_has_role(a, APP_EDGE), home = app_has_role(a, APP_HOME);

	if (!c->cluster.node && edge != home) {
		snprintf(ret_error, APP_ERROR_MAX,
			 "%s is a node of a cluster: set cluster.node",
			 edge ? "an edge" : "a home");
		return -EINVAL;
	}
	bool as_edge =
		c->cluster.node && c->cluster.nodes[c->cluster.self].role == CONF_ROLE_EDGE;
	if (c->cluster.node && (edge != as_edge || home == as_edge)) {
		snprintf(ret_error, APP_ERROR_MAX, "cluster.nodes has %.60s as %s: start %s",
			 c->cluster.node, as_edge ? "an edge" : "a home",
			 as_edge ? "eaves-edge" : "eaves-home");
		return -EINVAL;
	}
	return 0;
}

/* What the others have of this node must be where it listens to them. */
static int check_link(const struct app *a, char *ret_error)
{
	const struct conf *c = a->conf->conf;
	char text[ADDR_TEXT_MAX];

	if (link_of(c) >= 0)
		return 0;
	addr_text(&c->cluster.nodes[c->cluster.self].sip_addr, text);
	snprintf(ret_error, APP_ERROR_MAX,
		 "cluster.nodes has sip: %s for %.60s, and no listener with policy cluster is "
		 "there",
		 text, c->cluster.nodes[c->cluster.self].name);
	return -EINVAL;
}

int app_nodes_new(struct app *a, char ret_error[APP_ERROR_MAX])
{
	int r = check_role(a, ret_error);

	if (r < 0 || !a->conf->conf->cluster.node || (r = check_link(a, ret_error)) < 0)
		return r;
	a->nodes = calloc(1, sizeof(*a->nodes));
	if (!a->nodes) {
		snprintf(ret_error, APP_ERROR_MAX, "out of memory");
		return -ENOMEM;
	}
	a->nodes->app = a;
	cluster_from(a->nodes, a);
	return 0;
}

int app_nodes_open(struct app *a, char ret_error[APP_ERROR_MAX])
{
	int r = app_nodes_new(a, ret_error);
	struct app_nodes *n = a->nodes;

	if (r < 0 || !n)
		return r;
	if (!(n->loop = loop_new(0)))
		return -ENOMEM;
	loop_gather_wakes(n->loop);
	wheel_timer_init(&n->doubt, end_doubt);
	loop_on_gap(n->loop, n->conf.dead_ms, on_gap, n);
	if (app_node(n, n->conf.self)->role == CLUSTER_EDGE)
		r = app_redis_open(a, ret_error);
	if (r < 0)
		return r;
	const struct cluster_ops ops = {.send = on_send,
					.sharers = app_sharers,
					.may_write = app_may_write,
					.may_offer = app_may_offer,
					.changed = on_changed,
					.notice = on_notice,
					.admin = app_nodes_asked,
					.arg = n};
	struct store *store = n->redis ? n->redis : a->store;
	const struct cluster_below below = {
		.store = store, .takes = app_kept_below, .is_place = true, .arg = n};
	n->cluster = cluster_new(n->loop, &n->conf, &ops, store ? &below : NULL);
	if (!n->cluster) {
		snprintf(ret_error, APP_ERROR_MAX, "out of memory");
		return -ENOMEM;
	}
	return 0;
}

int app_nodes_attach(struct app *a, char ret_error[APP_ERROR_MAX])
{
	struct app_nodes *n = a->nodes;
	if (!n)
		return 0;
	cluster_attach(n->cluster, a->records);
	return open_bus(n, a->conf->conf, ret_error);
}

/* ---- life ---- */

static void *run_bus(void *arg)
{
	struct app_nodes *n = arg;
	cluster_start(n->cluster);
	loop_run(n->loop);
	return NULL;
}

int app_nodes_start(struct app *a)
{
	struct app_nodes *n = a->nodes;
	if (!n)
		return 0;
	int r = pthread_create(&n->thread, NULL, run_bus, n);
	if (r)
		return -r;
	pthread_setname_np(n->thread, "bus");
	n->running = true;
	return 0;
}

void app_nodes_stop(struct app *a)
{
	struct app_nodes *n = a->nodes;
	if (!n || !n->running)
		return;
	loop_stop(n->loop);
	pthread_join(n->thread, NULL);
	n->running = false;
}

void app_nodes_end(struct app *a)
{
	struct app_nodes *n = a->nodes;
	if (!n)
		return;
	app_poison_unlisten(a);
	n->bus = bus_free(n->bus);
	cluster_end(n->cluster);
}

void app_nodes_free(struct app *a)
{
	struct app_nodes *n = a->nodes;
	if (!n)
		return;
	app_nodes_end(a);
	loop_finish(n->loop); /* what the cluster had still posted holds its gate */
	if (n->redis)
		n->redis->ops->free(n->redis);
	cluster_free(n->cluster); /* no store owes it an answer any more */
	loop_free(n->loop);
	free(n);
	a->nodes = NULL;
}

struct cluster *app_cluster(const struct app *a)
{
	return a->nodes ? a->nodes->cluster : NULL;
}

const char *app_pair(const struct app *a)
{
	return a->nodes ? app_node(a->nodes, a->nodes->conf.self)->pair : NULL;
}

const char *app_edge_pair(const struct app *a)
{
	return a->nodes ? a->nodes->edge_pair : NULL;
}
