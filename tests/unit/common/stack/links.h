/*
 * A worker of an edge in a loop of its own, and a pair of homes that are sockets of the test:
 * they read when they are told to.
 */
#ifndef EAVES_TESTS_STACK_LINKS_H
#define EAVES_TESTS_STACK_LINKS_H

#include "common/stack/stack_priv.h"

#include "tests/unit/common/stack/homes.h"

enum { EDGE, H1, H2, NODES, MANY = 3000, DEAD_MS = 20000 };

static struct stack_group *group;
static struct stack *w;
static struct home home[NODES];
static bool lives[NODES];
static unsigned nfailed, nfull;
static unsigned
	held_for; /* who connects, before it is proved: of a version before; 0: nobody */
static unsigned nfrom[NODES + 1]; /* messages of nodes, by flow.node */

/* ---- what the stack asks ---- */

static inline uint32_t classify(void *arg, struct sip_flow *f, bool opened,
				const struct net_peer *peer)
{
	(void)arg;
	if (!opened)
		f->node = (uint16_t)(peer ? peer->tag : held_for);
	return 0;
}

static inline int introduced(void *arg, const struct sip_msg *m, const struct sip_flow *f,
			     struct net_peer *ret)
{
	struct span v = sip_msg_value(m, SIP_HDR_EAVES_LINK);
	(void)arg;
	if (!v.n)
		return f->node ? -ENOENT : -EPERM;
	ret->tag = (unsigned)(v.p[0] - '0');
	return ret->tag ? 0 : -EPERM;
}

static inline bool from_node(void *arg, const struct sip_msg *m, struct sip_flow *f,
			     uint32_t *marks)
{
	(void)arg;
	(void)m;
	(void)marks;
	nfrom[f->node]++;
	return false;
}

static inline enum stack_found response(void *arg, struct stack *s, const struct sip_msg *m,
					const struct sip_via *top, const struct sip_flow *f,
					bool again, msec now)
{
	(void)arg;
	(void)s;
	(void)m;
	(void)top;
	(void)again;
	(void)now;
	nfrom[f->node]++;
	return STACK_DONE;
}

static inline int chosen(void *arg, unsigned node)
{
	(void)arg;
	(void)node;
	return lives[H1] ? H1 : lives[H2] ? H2 : -1;
}

static inline int member(void *arg, unsigned node, bool ends)
{
	(void)ends;
	return lives[node] ? (int)node : chosen(arg, node);
}

static inline bool taken_over(void *arg, msec gap)
{
	(void)arg;
	(void)gap;
	return false;
}

static inline void link_failed(void *arg, unsigned node)
{
	(void)arg;
	ck_assert_uint_lt(node, NODES);
	nfailed++;
}

static unsigned nunopened;

static inline void link_unopened(void *arg, unsigned node)
{
	(void)arg;
	nunopened += node == H1 ? 1 : 100;
}

static inline void link_full(void *arg, unsigned node)
{
	(void)arg;
	ck_assert_uint_lt(node, NODES);
	nfull++;
}

static inline size_t introduction(void *arg, unsigned node, char *buf)
{
	(void)arg;
	(void)buf;
	ck_assert_uint_lt(node, NODES);
	return 0;
}

static inline void flow_closed(void *arg, struct stack *st, const struct sip_flow *f)
{
	(void)arg;
	(void)st;
	(void)f;
}

static const struct stack_user user = {.classify = classify,
				       .member = member,
				       .chosen = chosen,
				       .taken_over = taken_over,
				       .link_failed = link_failed,
				       .link_unopened = link_unopened,
				       .link_full = link_full,
				       .introduction = introduction,
				       .introduced = introduced,
				       .from_node = from_node,
				       .response = response,
				       .flow_closed = flow_closed};

/* ---- the rig ---- */

static inline void begin_with(uint32_t dead_ms, uint32_t link_bytes)
{
	static struct stack_node node[NODES];
	static const char secret[32] = "a secret of nobody";
	char error[256] = "";
	void *args[1] = {NULL};
	struct stack_conf c = {
		.workers = 1,
		.net = net_conf_default,
		.timers = txn_timers_default,
		.transactions_max = 10000,
		.proxy = proxy_conf_default,
		.dns = dns_conf_default,
		.secret = span_of(secret, sizeof(secret)),
		.handover_max = 65536,
		.node = node,
		.nnodes = NODES,
		.self = EDGE,
		.is_edge = true,
		.dead_ms = dead_ms,
	};
	nfailed = nfull = held_for = 0;
	memset(nfrom, 0, sizeof(nfrom));
	node[EDGE] = (struct stack_node){.name = "e", .pair = "edges"};
	for (unsigned i = H1; i < NODES; i++) {
		home[i] = (struct home){0};
		home_listen(&home[i], 0);
		node[i] = (struct stack_node){home[i].addr, "h", "homes"};
		lives[i] = true;
	}
	c.net.nlisteners = 1;
	c.net.listener[0].transport = SIP_TRANSPORT_TCP;
	ck_assert_int_eq(addr_parse(&c.net.listener[0].addr, SPAN("127.0.0.1"), 0), 0);
	c.net.link_listener = 0;
	c.net.link_bytes_max = link_bytes;
	c.local[0] =
		(struct proxy_local){SIP_TRANSPORT_TCP, SPAN("127.0.0.1"), 0, .inside = true};
	group = stack_group_new(&c, &user, args, error);
	ck_assert_msg(group != NULL, "%s", error);
	w = stack_group_worker(group, 0);
	sip_values_use_arena(&w->arena);
}

static inline void begin(void)
{
	begin_with(DEAD_MS, BIG);
}

static inline void end(void)
{
	stack_group_free(group);
	for (unsigned i = H1; i < NODES; i++) {
		if (home[i].fd >= 0)
			close(home[i].fd);
		close(home[i].server);
		free(home[i].got);
	}
}

static inline void run_ms(msec ms)
{
	msec until = time_now() + ms;
	while (time_now() < until)
		loop_round(w->loop, 5);
}

#define UNTIL(cond, ms)                                                \
	do {                                                           \
		msec until_ = time_now() + (ms);                       \
		while (!(cond) && time_now() < until_)                 \
			loop_round(w->loop, 5);                        \
		ck_assert_msg((cond), "did not come true: %s", #cond); \
	} while (0)

static inline void dies(unsigned node)
{
	lives[node] = false;
	stack_group_node_lost(group, node, true);
	stack_group_sever(group, node);
}

#endif
