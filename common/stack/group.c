/*
 * Assembly: one worker's parts wired together, and the group of workers with their threads.
 */
#include "common/stack/stack_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- the engine's view of the rim ---- */

static void engine_send(void *arg, const struct sip_flow *to, const struct bytes *b,
			uint64_t id)
{
	struct iovec iov = {(char *)b->p, b->n};
	stack_send(arg, to, &iov, 1, id);
}

static void proxy_send(void *arg, const struct sip_flow *to, const struct iovec *iov, int n)
{
	stack_send(arg, to, iov, n, 0);
}

static const struct proxy_local *proxy_local_of(void *arg, uint16_t listener)
{
	return stack_local(arg, listener);
}

static bool listener_fits(const struct stack *s, unsigned i, const struct locate_target *t)
{
	return !s->local[i].inside && s->local[i].transport == t->transport &&
	       s->bound[i].sa.sa_family == t->addr.sa.sa_family;
}

/* Nodes are reached by links.  Who may name a next hop is not to be heard there as this node,
 * which is known by its certificate whatever connection it comes by. */
static bool is_of_node(const struct stack *s, const struct addr *a)
{
	const struct stack_conf *c = &s->group->conf;
	for (unsigned i = 0; i < c->nnodes; i++)
		if (addr_equal(&c->node[i].addr, a))
			return true;
	return false;
}

static int proxy_listener_for(void *arg, const struct locate_target *t, uint16_t hint)
{
	const struct stack *s = arg;
	unsigned n = s->group->conf.net.nlisteners;
	if (is_of_node(s, &t->addr))
		return -EACCES;
	if (hint < n && listener_fits(s, hint, t))
		return hint;
	for (unsigned i = 0; i < n; i++)
		if (listener_fits(s, i, t))
			return (int)i;
	return -ENOENT;
}

static bool proxy_is_local(void *arg, struct span host, uint16_t port)
{
	struct stack *s = arg;
	return s->group->user.is_local(s->user_arg, host, port);
}

static bool proxy_is_self(void *arg, struct span host, uint16_t port)
{
	struct stack *s = arg;
	const struct stack_user *u = &s->group->user;
	return u->is_self ? u->is_self(s->user_arg, host, port)
			  : u->is_local(s->user_arg, host, port);
}

static int proxy_locate(void *arg, const struct sip_uri *next_hop, msec now, locate_done done,
			void *done_arg, struct locate_result *ret_now,
			struct locate_query **ret_query)
{
	struct stack *s = arg;
	return locate_start(s->locate, next_hop, s->supported, now, done, done_arg, ret_now,
			    ret_query);
}

static void proxy_locate_cancel(void *arg, struct locate_query *q)
{
	(void)arg;
	locate_cancel(q);
}

static void proxy_target_failed(void *arg, const struct locate_target *t, msec now)
{
	struct stack *s = arg;
	locate_mark_failed(s->locate, t, now);
}

static int proxy_read_flow(void *arg, struct span token, uint16_t member, struct sip_flow *ret)
{
	struct stack *s = arg;
	const struct stack_user *u = &s->group->user;
	return u->read_flow ? u->read_flow(s->user_arg, token, member, ret) : -ENOENT;
}

const struct proxy_ops stack_proxy_ops = {
	.local = proxy_local_of,
	.listener_for = proxy_listener_for,
	.is_local = proxy_is_local,
	.is_self = proxy_is_self,
	.locate = proxy_locate,
	.locate_cancel = proxy_locate_cancel,
	.target_failed = proxy_target_failed,
	.read_flow = proxy_read_flow,
	.send = proxy_send,
};

/* ---- one worker ---- */

static struct stack *stack_free(struct stack *s)
{
	if (!s)
		return NULL;
	stack_links_free(s->links);
	stack_kept_free(s->kept);
	stack_trying_free(s->trying);
	if (s->loop)
		stack_defer_free(s);
	proxy_free(s->proxy);
	txn_table_free(s->txns);
	locate_free(s->locate);
	dns_free(s->dns);
	net_free(s->net);
	loop_free(s->loop);
	arena_done(&s->arena);
	free(s);
	return NULL;
}

static bool listener_taken(const struct stack_conf *c, unsigned *ret_at)
{
	for (unsigned i = 0; i < c->net.nlisteners; i++)
		if (net_listener_taken(&c->net.listener[i]) < 0) {
			*ret_at = i;
			return true;
		}
	return false;
}

static int open_net(struct stack *s, char *ret_error)
{
	struct stack_conf *c = &s->group->conf;
	struct net_ops ops = stack_net_ops;
	unsigned at = 0;
	ops.arg = s;
	if (s->index == 0 && listener_taken(c, &at))
		errno = EADDRINUSE;
	else
		s->net = net_new(s->loop, (uint16_t)s->index, &c->net, &ops, c->tls, &at);
	if (!s->net) {
		char text[ADDR_TEXT_MAX];
		int error = errno;
		addr_text(&c->net.listener[at].addr, text);
		snprintf(ret_error, 256, "cannot listen on %s/%s: %s", text,
			 sip_transport_uri(c->net.listener[at].transport), strerror(error));
		return -error;
	}
	for (unsigned i = 0; i < c->net.nlisteners; i++) {
		/* The first worker's choice of a free port is everybody's. */
		c->net.listener[i].addr = *net_listener_addr(s->net, i);
		s->bound[i] = c->net.listener[i].addr;
		s->local[i] = c->local[i];
		if (s->local[i].inside)
			continue; /* not for what goes anywhere else */
		if (!s->local[i].port)
			s->local[i].port = addr_port(&s->bound[i]);
		s->supported |= 1u << s->local[i].transport;
	}
	return 0;
}

static int wire(struct stack *s, char *ret_error)
{
	struct stack_conf *c = &s->group->conf;
	struct mac_key txn_key = mac_derive_key(c->secret, "transaction");
	struct mac_key branch_key = mac_derive_key(c->secret, "branch");
	struct txn_ops txn_ops = {.send = engine_send, .arg = s};
	struct proxy_ops proxy_ops = stack_proxy_ops;
	uint64_t seed;
	int r;
	proxy_ops.arg = s;
	mac_random(&seed, sizeof(seed));
	snprintf(ret_error, 256, "out of memory");
	s->loop = loop_new(c->moderation_us);
	if (!s->loop || arena_init(&s->arena, STACK_ARENA_BYTES) < 0)
		return -ENOMEM;
	loop_gather_wakes(s->loop);
	if ((r = open_net(s, ret_error)) < 0)
		return r;
	s->dns = dns_new(s->loop, &c->dns);
	s->locate = s->dns ? locate_new(dns_ops(s->dns), seed) : NULL;
	s->txns = txn_table_new(loop_wheel(s->loop), &c->timers, &txn_ops, &txn_key,
				c->transactions_max);
	if (!s->locate || !s->txns)
		return -ENOMEM;
	if (c->nnodes && (!(s->links = stack_links_new(s)) || !(s->kept = stack_kept_new(s))))
		return -ENOMEM;
	s->proxy = proxy_new(&c->proxy, &proxy_ops, s->txns, loop_wheel(s->loop), &branch_key);
	if (!s->proxy)
		return -ENOMEM;
	if (s->links)
		stack_links_start(s);
	if (c->is_edge && !(s->trying = stack_trying_new(s)))
		return -ENOMEM;
	return 0;
}

static struct stack *stack_new(struct stack_group *g, unsigned index, void *user_arg,
			       char *ret_error)
{
	struct stack *s = calloc(1, sizeof(*s));
	if (!s) {
		snprintf(ret_error, 256, "out of memory");
		return NULL;
	}
	s->group = g;
	s->index = index;
	s->user_arg = user_arg;
	s->msg.hdr = s->hdr;
	stack_defer_init(s);
	s->tag_key = mac_derive_key(g->conf.secret, "tag");
	s->owner_key = mac_derive_key(g->conf.secret, "owner");
	return wire(s, ret_error) < 0 ? stack_free(s) : s;
}

struct proxy *stack_proxy(struct stack *s)
{
	return s->proxy;
}

struct loop *stack_loop(struct stack *s)
{
	return s->loop;
}

struct net *stack_net(struct stack *s)
{
	return s->net;
}

const struct stack_counters *stack_counters(const struct stack *s)
{
	return &s->counters;
}

const struct dns_counters *stack_dns_counters(const struct stack *s)
{
	return dns_counters(s->dns);
}

const struct txn_counters *stack_txn_counters(const struct stack *s)
{
	return txn_table_counters(s->txns);
}

const struct proxy_local *stack_local(const struct stack *s, uint16_t listener)
{
	return listener < s->group->conf.net.nlisteners ? &s->local[listener] : NULL;
}

/* ---- the group ---- */

struct stack_group *stack_group_new(const struct stack_conf *c, const struct stack_user *user,
				    void *const *user_args, char *ret_error)
{
	struct stack_group *g = calloc(1, sizeof(*g));
	if (!g) {
		snprintf(ret_error, 256, "out of memory");
		return NULL;
	}
	g->conf = *c;
	g->user = *user;
	g->reuse = stack_reuse_new(c->net.conns_max * (size_t)c->workers);
	if (!g->reuse) {
		snprintf(ret_error, 256, "out of memory");
		free(g);
		return NULL;
	}
	for (unsigned i = 0; i < c->workers; i++) {
		g->worker[i] = stack_new(g, i, user_args[i], ret_error);
		if (!g->worker[i]) {
			stack_group_free(g);
			return NULL;
		}
		g->n++;
	}
	return g;
}

static void *worker_main(void *arg)
{
	struct stack *s = arg;
	s->signals = poison_stack_new();
	sip_values_use_arena(&s->arena);
	loop_run(s->loop);
	s->signals = poison_stack_free(s->signals);
	return NULL;
}

int stack_group_start(struct stack_group *g)
{
	for (unsigned i = 0; i < g->n; i++) {
		char name[16];
		int r = pthread_create(&g->worker[i]->thread, NULL, worker_main, g->worker[i]);
		if (r)
			return -r;
		g->worker[i]->running = true;
		snprintf(name, sizeof(name), "sip-%u", i);
		pthread_setname_np(g->worker[i]->thread, name);
	}
	return 0;
}

struct drain_work {
	struct loop_work work;
	struct stack *s;
};

static void run_drain(struct loop_work *w)
{
	struct drain_work *d = container_of(w, struct drain_work, work);
	const struct stack_conf *c = &d->s->group->conf;
	d->s->hung_up = c->nnodes > 0;
	if (d->s->hung_up)
		net_hang_up(d->s->net, c->link_listener);
	else
		net_stop_listening(d->s->net);
	free(d);
}

void stack_group_drain(struct stack_group *g)
{
	for (unsigned i = 0; i < g->n; i++) {
		struct drain_work *d = malloc(sizeof(*d));
		if (!d)
			continue;
		*d = (struct drain_work){.work.run = run_drain, .s = g->worker[i]};
		loop_post(g->worker[i]->loop, &d->work);
	}
}

void stack_group_stop(struct stack_group *g)
{
	for (unsigned i = 0; i < g->n; i++)
		if (g->worker[i]->running)
			loop_stop(g->worker[i]->loop);
	for (unsigned i = 0; i < g->n; i++) {
		if (g->worker[i]->running)
			pthread_join(g->worker[i]->thread, NULL);
		g->worker[i]->running = false;
	}
}

unsigned stack_group_finish(struct stack_group *g)
{
	struct arena *before = sip_arena();
	unsigned n = 0;
	for (unsigned i = 0; i < 2 * g->n; i++) { /* twice: the last may post to the first */
		struct stack *s = g->worker[i % g->n];
		sip_values_use_arena(&s->arena);
		n += loop_finish(s->loop);
	}
	sip_values_use_arena(before);
	return n;
}

void stack_group_free(struct stack_group *g)
{
	struct arena *before = sip_arena();
	if (!g)
		return;
	for (unsigned i = 0; i < g->n; i++) {
		sip_values_use_arena(&g->worker[i]->arena);
		stack_free(g->worker[i]);
	}
	sip_values_use_arena(before);
	stack_reuse_free(g->reuse);
	free(g);
}

bool stack_flow_alive(const struct stack_group *g, const struct sip_flow *f)
{
	return f->worker < g->n && net_flow_alive(g->worker[f->worker]->net, f);
}

struct stack *stack_group_worker(struct stack_group *g, unsigned i)
{
	return g->worker[i];
}
