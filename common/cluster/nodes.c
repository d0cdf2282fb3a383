/*
 * What any thread may ask of the nodes: names, who lives and serves, which member of a pair
 * gets what is for the pair.  Written by live.c; read without a lock.
 */
#include "common/cluster/cluster_priv.h"

unsigned cluster_nodes(const struct cluster *c, const struct cluster_node **ret_nodes)
{
	if (ret_nodes)
		*ret_nodes = c->conf.node;
	return c->conf.n;
}

unsigned cluster_self(const struct cluster *c)
{
	return c->conf.self;
}

bool cluster_alive(const struct cluster *c, unsigned node)
{
	return node < c->conf.n &&
	       (node == c->conf.self || (atomic_load(&c->peer[node].bits) & PEER_ALIVE));
}

unsigned cluster_protocol(void)
{
	return WIRE_VERSION;
}

bool cluster_serving(const struct cluster *c, unsigned node)
{
	if (node == c->conf.self)
		return !atomic_load(&c->draining);
	return node < c->conf.n &&
	       (atomic_load(&c->peer[node].bits) & (PEER_ALIVE | PEER_DRAINING)) == PEER_ALIVE;
}

enum cluster_word cluster_word_of(const struct cluster *c, unsigned edge, unsigned node)
{
	if (edge >= c->conf.n || node >= c->conf.n || !atomic_load(&c->peer[edge].has_said))
		return CLUSTER_SAID_NOTHING;
	uint64_t hears = atomic_load(&c->peer[edge].hears);
	if (!hears)
		return CLUSTER_NEVER_SAYS;
	return hears & bit(node) ? CLUSTER_HEARS : CLUSTER_HEARS_NOT;
}

int cluster_node_by_boot(const struct cluster *c, uint64_t boot)
{
	for (unsigned i = 0; i < c->conf.n && boot; i++)
		if (i == c->conf.self ? boot == c->conf.boot : boot == c->peer[i].boot)
			return (int)i;
	return -1;
}

int cluster_node_by_name(const struct cluster *c, struct span name)
{
	for (unsigned i = 0; i < c->conf.n; i++)
		if (span_eq(name, span_str(c->conf.node[i].name)))
			return (int)i;
	return -1;
}

/* ---- pairs ---- */

static struct pair *pair_by_name(struct cluster *c, struct span name)
{
	for (unsigned i = 0; i < c->npairs; i++)
		if (span_eq(name, span_str(c->conf.node[c->pair[i].member[0]].pair)))
			return &c->pair[i];
	return NULL;
}

bool pair_add(struct cluster *c, unsigned node)
{
	const struct cluster_node *n = &c->conf.node[node];
	struct pair *p = pair_by_name(c, span_str(n->pair));

	if (!p) {
		p = &c->pair[c->npairs++];
		p->member[0] = (int)node;
		p->member[1] = -1;
		return true;
	}
	if (p->member[1] >= 0 || c->conf.node[p->member[0]].role != n->role)
		return false;
	p->member[1] = (int)node;
	return true;
}

static int other_member(const struct pair *p, int node)
{
	return p->member[p->member[0] == node];
}

int cluster_partner(const struct cluster *c, unsigned node)
{
	if (node >= c->conf.n)
		return -1;
	return other_member(
		pair_by_name((struct cluster *)c, span_str(c->conf.node[node].pair)),
		(int)node);
}

uint64_t cluster_serving_since(const struct cluster *c, unsigned node)
{
	if (node >= c->conf.n)
		return 0;
	return atomic_load(node == c->conf.self ? &c->serving_ms : &c->peer[node].serving_ms);
}

msec cluster_left_at(const struct cluster *c, unsigned node)
{
	return node < c->conf.n ? atomic_load(&c->peer[node].left_at) : 0;
}

bool cluster_heard_to_end(const struct cluster *c, unsigned node)
{
	msec broke = node < c->conf.n ? atomic_load(&c->peer[node].broke_at) : 0;
	msec late = live_is_late(c) ? loop_now(c->loop) : c->late_at;
	return broke && (!late || late + 2 * (msec)c->conf.dead_ms < broke);
}

/* Who has not told yet has just come. */
static uint64_t serving_ms(const struct cluster *c, int node)
{
	uint64_t ms = cluster_serving_since(c, (unsigned)node);
	return ms ? ms : UINT64_MAX;
}

/* All nodes take the same one, whenever they started themselves. */
static int elder_of(const struct cluster *c, const struct pair *p)
{
	int a = p->member[0], b = p->member[1];
	return b >= 0 && serving_ms(c, b) < serving_ms(c, a) ? b : a;
}

int cluster_member(struct cluster *c, struct span pair, int prefer)
{
	struct pair *p = pair_by_name(c, pair);
	if (!p)
		return -1;
	int elder = elder_of(c, p), other = other_member(p, elder);
	const int in_order[] = {
		prefer == elder || prefer == other ? prefer : -1,
		elder,
		other,
	};

	for (unsigned i = 0; i < 3; i++)
		if (in_order[i] >= 0 && cluster_serving(c, (unsigned)in_order[i]))
			return in_order[i];
	for (unsigned i = 0; i < 3; i++)
		if (in_order[i] >= 0 && cluster_alive(c, (unsigned)in_order[i]))
			return in_order[i];
	return -1;
}

void cluster_set_addresses(struct cluster *c, const uint32_t at[CLUSTER_LISTENERS_MAX])
{
	bool changed = false;

	for (unsigned i = 0; i < CLUSTER_LISTENERS_MAX; i++)
		changed |= atomic_exchange(&c->at[i], at[i]) != at[i];
	if (changed)
		gate_post(c, WORK_SPEAK);
}

static uint32_t address_of(const struct cluster *c, int node, unsigned listener)
{
	return atomic_load_explicit(&c->peer[node].at[listener], memory_order_relaxed);
}

uint32_t cluster_moved(const struct cluster *c, unsigned edge, int *ret_other)
{
	uint32_t away = 0, moved = 0;

	for (unsigned i = 0; i < CLUSTER_LISTENERS_MAX; i++) {
		uint32_t at = address_of(c, (int)edge, i);
		away |= (uint32_t)(at && !(at & 1)) << i;
	}
	if (!away || (*ret_other = cluster_partner(c, edge)) < 0 ||
	    !cluster_serving(c, (unsigned)*ret_other))
		return 0;
	for (unsigned i = 0; i < CLUSTER_LISTENERS_MAX; i++)
		if (away >> i & 1 &&
		    address_of(c, *ret_other, i) == (address_of(c, (int)edge, i) | 1))
			moved |= UINT32_C(1) << i;
	return moved;
}

void cluster_stand_back(struct cluster *c)
{
	int partner = cluster_partner(c, c->conf.self);
	uint64_t ms = time_wall_ms();

	/* Its clock may be ahead of ours. */
	if (partner >= 0 && atomic_load(&c->peer[partner].serving_ms) >= ms)
		ms = atomic_load(&c->peer[partner].serving_ms) + 1;
	atomic_store(&c->serving_ms, ms);
}

/* ---- figures ---- */

void cluster_set_draining(struct cluster *c, bool draining)
{
	if (atomic_load(&c->draining) == draining)
		return;
	if (!draining)
		cluster_stand_back(c); /* before anybody can hear that it serves */
	atomic_store(&c->draining, draining);
	gate_post(c, WORK_SPEAK);
}

void cluster_set_load(struct cluster *c, uint32_t calls, uint32_t cpu_permille)
{
	atomic_store_explicit(&c->calls, calls, memory_order_relaxed);
	atomic_store_explicit(&c->cpu_permille, cpu_permille, memory_order_relaxed);
}

struct cluster_counters cluster_counters(const struct cluster *c)
{
	struct cluster_counters ret;
	const uint64_t *from = (const uint64_t *)&c->counters;
	uint64_t *to = (uint64_t *)&ret;

	for (size_t i = 0; i < sizeof(ret) / sizeof(*to); i++)
		to[i] = counter_get(&from[i]);
	return ret;
}

void cluster_node_state(const struct cluster *c, unsigned node, struct cluster_node_state *ret)
{
	*ret = (struct cluster_node_state){0};
	if (node >= c->conf.n)
		return;
	const struct peer *p = &c->peer[node];
	if (node == c->conf.self) {
		ret->alive = true;
		ret->draining = atomic_load(&c->draining);
		ret->calls = atomic_load_explicit(&c->calls, memory_order_relaxed);
		ret->cpu_permille =
			atomic_load_explicit(&c->cpu_permille, memory_order_relaxed);
		ret->version = WIRE_VERSION;
		ret->settled = ret->equal = true;
		return;
	}
	uint64_t now = atomic_load_explicit(&c->now, memory_order_relaxed);
	uint64_t heard = atomic_load_explicit(&p->heard, memory_order_relaxed);
	unsigned bits = atomic_load(&p->bits); /* at once: it is one or the other */
	ret->alive = bits & PEER_ALIVE;
	ret->draining = bits & PEER_DRAINING;
	ret->suspected = bits & PEER_SUSPECTED;
	ret->settled = atomic_load_explicit(&p->settled, memory_order_relaxed);
	ret->equal = atomic_load_explicit(&p->equal, memory_order_relaxed);
	ret->withheld = atomic_load_explicit(&p->withheld, memory_order_relaxed);
	ret->queued_bytes = atomic_load_explicit(&p->queued_bytes, memory_order_relaxed);
	ret->silent_ms = !heard ? UINT64_MAX : now > heard ? now - heard : 0;
	ret->unpersisted = atomic_load_explicit(&p->unpersisted, memory_order_relaxed);
	ret->calls = atomic_load_explicit(&p->calls, memory_order_relaxed);
	ret->cpu_permille = atomic_load_explicit(&p->cpu_permille, memory_order_relaxed);
	ret->version = atomic_load_explicit(&p->version, memory_order_relaxed);
	ret->boot = atomic_load(&p->boot);
	ret->clock_ms = atomic_load(&p->clock_ms);
	ret->other_realm = atomic_load(&p->other_realm);
}
