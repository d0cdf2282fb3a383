/*
 * A cluster in one process over net.h, of the nodes in policy.h: started, killed, cut off, run.
 */
#ifndef EAVES_TESTS_CLUSTER_RIG_H
#define EAVES_TESTS_CLUSTER_RIG_H

#include "common/base/log.h"
#include "tests/unit/common/cluster/net.h"
#include "tests/unit/common/cluster/policy.h"

struct rig_node {
	unsigned index;
	struct loop *loop; /* NULL: dead */
	struct cluster *c;
	struct records *r;
	struct cluster_ops ops;
	struct cluster_conf conf;
	struct cluster_below below;
	struct mac_key records_key;
	size_t limit;
	int64_t skew_ms;
	bool paused; /* its process is stopped: messages wait */
	uint64_t boot;
	unsigned changes, notices;
	uint64_t swept_ms;
};
static struct rig_node rig[NODES];

static inline bool rig_shares(void *arg, unsigned node, const struct store_row *row)
{
	return shared(((struct rig_node *)arg)->index, node, row);
}

static inline bool rig_may_write(void *arg, unsigned node, const struct store_row *row)
{
	return may_write(((struct rig_node *)arg)->index, node, row);
}

static inline bool rig_may_offer(void *arg, unsigned node, const struct store_row *row)
{
	return may_write(node, ((struct rig_node *)arg)->index, row);
}

static inline int rig_send(void *arg, unsigned node, struct span bytes)
{
	struct rig_node *n = arg;
	net_carry(n->index, node, bytes);
	return 0;
}

static inline void rig_changed(void *arg, unsigned node)
{
	struct rig_node *n = arg;
	(void)node;
	n->changes++;
}

/* ---- nodes ---- */

static inline void rig_prepare(unsigned i)
{
	struct rig_node *n = &rig[i];
	*n = (struct rig_node){.index = i, .limit = 1000000, .records_key = {5, 6}};
	n->ops = (struct cluster_ops){
		.send = rig_send,
		.shares = rig_shares,
		.may_write = rig_may_write,
		.may_offer = rig_may_offer,
		.changed = rig_changed,
		.arg = n,
	};
	n->conf = cluster_conf_default;
	n->conf.self = i;
	if (rig_nodes[i].role == CLUSTER_EDGE)
		n->conf.gather_ms = 0; /* as common/app has it */
	n->conf.n = NODES;
	n->conf.digest_key = rig_key;
	memcpy(n->conf.node, rig_nodes, sizeof(rig_nodes));
}

static inline bool rig_up(unsigned i)
{
	return rig[i].loop != NULL;
}

static inline void rig_connected(unsigned a, unsigned b, bool up)
{
	if (rig_up(a))
		cluster_connected(rig[a].c, b, up);
	if (rig_up(b))
		cluster_connected(rig[b].c, a, up);
}

static inline void rig_start(unsigned i)
{
	struct rig_node *n = &rig[i];
	n->loop = loop_new(0);
	n->conf.boot = ++n->boot * 100 + i;
	n->c = cluster_new(n->loop, &n->conf, &n->ops, n->below.store ? &n->below : NULL);
	ck_assert_ptr_nonnull(n->c);
	n->r = records_new(cluster_store(n->c), number_of(i), n->limit, &n->records_key);
	ck_assert_ptr_nonnull(n->r);
	cluster_attach(n->c, n->r);
	ck_assert_int_eq(records_load(n->r, net_wall_ms), 0);
	cluster_start(n->c);
	for (unsigned j = 0; j < NODES; j++)
		if (j != i && rig_up(j) && !net.cut[i][j])
			rig_connected(i, j, true);
}

/* As kill -9: nothing is said any more, what was on its way to it is lost. */
static inline void rig_kill(unsigned i)
{
	struct rig_node *n = &rig[i];
	struct loop *l = n->loop;
	n->loop = NULL;
	net.life[i]++;
	cluster_free(n->c);
	records_free(n->r);
	run_posted(l);
	loop_free(l);
	for (unsigned j = 0; j < NODES; j++)
		if (rig_up(j))
			cluster_connected(rig[j].c, i, false);
}

static inline void rig_begin(uint64_t seed)
{
	log_set_level(LOG_ERROR); /* what is refused is refused on purpose */
	net_seed = seed;
	net_clear();
	for (unsigned i = 0; i < NODES; i++)
		rig_prepare(i);
}

static inline void rig_start_all(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		rig_start(i);
}

static inline void rig_end(void)
{
	for (unsigned i = 0; i < NODES; i++)
		if (rig_up(i))
			rig_kill(i);
	net_clear();
}

/* Between these two sets of nodes (a bit each) nothing goes; the bus tells of it or not. */
static inline void rig_cut(unsigned these, unsigned those, bool cut, bool told)
{
	for (unsigned i = 0; i < NODES; i++) {
		for (unsigned j = 0; j < NODES; j++) {
			if (!(these & 1u << i) || !(those & 1u << j) || i == j)
				continue;
			net.cut[i][j] = net.cut[j][i] = cut;
			if (told)
				rig_connected(i, j, !cut);
		}
	}
}

/* ---- time ---- */

static inline bool rig_round(struct rig_node *n)
{
	if (!n->loop || n->paused)
		return false;
	net_skew_ms = n->skew_ms;
	bool did = run_posted(n->loop);
	wheel_advance(&n->loop->wheel, net_now);
	net_skew_ms = 0;
	return did;
}

static inline void rig_deliver(struct net_message *m)
{
	struct rig_node *n = &rig[m->to];
	if (n->loop && n->paused) { /* in its socket's buffer */
		m->due = net_now + 1;
		net_queue(m);
		return;
	}
	net_skew_ms = n->skew_ms;
	if (n->loop && m->life == net.life[m->to] && !net.cut[m->from][m->to])
		cluster_receive(n->c, m->from, span_of(m->p, m->n));
	net_skew_ms = 0;
	free(m);
}

static inline void rig_settle(void)
{
	bool busy = true;
	while (busy) {
		struct net_message *m;
		busy = false;
		while ((m = net_next())) {
			rig_deliver(m);
			busy = true;
		}
		for (unsigned i = 0; i < NODES; i++)
			busy |= rig_round(&rig[i]);
	}
}

static inline void rig_run(msec ms)
{
	for (msec end = net_now + ms; net_now < end;) {
		net_now++;
		net_wall_ms++;
		rig_settle();
	}
}

/* Until it holds, `limit` ms at most; how long it took. */
#define RIG_UNTIL(condition, limit)                                          \
	({                                                                   \
		msec from_ = net_now;                                        \
		while (!(condition) && net_now < from_ + (limit))            \
			rig_run(1);                                          \
		ck_assert_msg(condition, "%s: not within %u ms", #condition, \
			      (unsigned)(limit));                            \
		net_now - from_;                                             \
	})

#endif
