/*
 * Machines, addresses, cuts.
 */
#include "tests/sim/host.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum { VIPS_MAX = 16, NATS_MAX = 8, MAPPINGS_MAX = 64, REMOTES_MAX = 8, NAT_PORT = 20000 };

struct vip {
	struct addr addr;
	struct host *holder;
};
struct mapping {
	struct host *host;
	struct addr inner;
	struct addr remote[REMOTES_MAX]; /* let in: without regard to the port */
	unsigned nremotes;
};
struct nat {
	struct addr addr;
	unsigned n;
	struct mapping map[MAPPINGS_MAX];
};

const struct trouble trouble_none = {
	.lan = 200, .lan_jitter = 100, .wan = 3000, .wan_jitter = 1000, .late = 30000};

static struct host *host[HOSTS_MAX];
static unsigned nhosts;
static bool blocked_at[HOSTS_MAX][HOSTS_MAX];
static struct vip vip[VIPS_MAX];
static unsigned nvips;
static struct nat *nat[NATS_MAX];
static unsigned nnats;
static struct trouble trouble;
static struct rng rng;

struct addr addr_of(const char *ip, uint16_t port)
{
	struct addr a;
	if (addr_parse(&a, span_str(ip), port) < 0) {
		fprintf(stderr, "sim: %s is no address\n", ip);
		abort();
	}
	return a;
}

void hosts_init(uint64_t seed, const struct trouble *t)
{
	assert(nhosts == 0);
	rng = rng_of(seed, 1);
	trouble = *t;
}

void hosts_set_trouble(const struct trouble *t)
{
	trouble = *t;
}

void hosts_reseed(uint64_t seed, const struct trouble *t)
{
	rng = rng_of(seed, 1);
	trouble = *t;
}

const struct trouble *hosts_trouble(void)
{
	return &trouble;
}

struct rng *hosts_rng(void)
{
	return &rng;
}

struct host *host_new(const char *name, const char *ip, enum host_kind kind, struct nat *behind)
{
	struct host *h = sim_alloc(sizeof(*h));
	assert(nhosts < HOSTS_MAX);
	snprintf(h->name, sizeof(h->name), "%s", name);
	h->index = nhosts;
	h->kind = kind;
	h->addr = addr_of(ip, 0);
	h->nat = behind;
	h->powered = true;
	list_init(&h->udp);
	list_init(&h->listeners);
	list_init(&h->ends);
	host[nhosts++] = h;
	return h;
}

unsigned hosts_count(void)
{
	return nhosts;
}

struct host *host_of(unsigned index)
{
	return index < nhosts ? host[index] : NULL;
}

struct host *host_at(const struct addr *a)
{
	for (unsigned i = 0; i < nvips; i++)
		if (addr_host_equal(&vip[i].addr, a))
			return vip[i].holder;
	for (unsigned i = 0; i < nhosts; i++)
		if (!host[i]->nat && addr_host_equal(&host[i]->addr, a))
			return host[i];
	return NULL;
}

unsigned host_addrs(const struct host *h, struct addr ret[HOST_ADDRS_MAX])
{
	unsigned n = 0;
	ret[n++] = h->addr;
	for (unsigned i = 0; i < nvips && n < HOST_ADDRS_MAX; i++)
		if (vip[i].holder == h)
			ret[n++] = vip[i].addr;
	return n;
}

bool host_has(const struct host *h, const struct addr *a)
{
	return h->nat ? addr_host_equal(&h->addr, a) : host_at(a) == h;
}

void host_block(const struct host *from, const struct host *to, bool blocked)
{
	blocked_at[from->index][to->index] = blocked;
}

bool path_open(const struct host *from, const struct host *to)
{
	return from->powered && to->powered && !blocked_at[from->index][to->index];
}

usec path_delay(const struct host *from, const struct host *to)
{
	if (from == to)
		return 20;
	if (from->kind == HOST_NODE && to->kind == HOST_NODE)
		return trouble.lan + rng_below(&rng, trouble.lan_jitter + 1);
	return trouble.wan + rng_below(&rng, trouble.wan_jitter + 1);
}

/* ---- service addresses ---- */

static struct vip *vip_find(const char *ip)
{
	struct addr a = addr_of(ip, 0);
	for (unsigned i = 0; i < nvips; i++)
		if (addr_host_equal(&vip[i].addr, &a))
			return &vip[i];
	return NULL;
}

void vip_new(const char *ip, struct host *holder)
{
	assert(nvips < VIPS_MAX && !vip_find(ip));
	vip[nvips++] = (struct vip){addr_of(ip, 0), holder};
}

void vip_move(const char *ip, struct host *to)
{
	vip_find(ip)->holder = to;
}

/* ---- NATs ---- */

struct nat *nat_new(const char *ip)
{
	struct nat *n = sim_alloc(sizeof(*n));
	assert(nnats < NATS_MAX);
	n->addr = addr_of(ip, 0);
	nat[nnats++] = n;
	return n;
}

static unsigned mapping_of(struct nat *n, const struct host *h, const struct addr *inner)
{
	unsigned i = 0;
	while (i < n->n && (n->map[i].host != h || !addr_equal(&n->map[i].inner, inner)))
		i++;
	if (i < n->n)
		return i;
	assert(n->n < MAPPINGS_MAX);
	n->map[n->n++] = (struct mapping){.host = (struct host *)h, .inner = *inner};
	return i;
}

static bool lets_in(const struct mapping *m, const struct addr *from)
{
	for (unsigned i = 0; i < m->nremotes; i++)
		if (addr_host_equal(&m->remote[i], from))
			return true;
	return false;
}

struct addr nat_out(struct nat *n, const struct host *h, const struct addr *inner,
		    const struct addr *to)
{
	unsigned i = mapping_of(n, h, inner);
	struct mapping *m = &n->map[i];
	struct addr outer = n->addr;
	if (!lets_in(m, to) && m->nremotes < REMOTES_MAX)
		m->remote[m->nremotes++] = *to;
	addr_set_port(&outer, (uint16_t)(NAT_PORT + i));
	return outer;
}

struct host *nat_in(const struct addr *from, const struct addr *to, struct addr *ret_inner)
{
	for (unsigned i = 0; i < nnats; i++) {
		unsigned at = (unsigned)addr_port(to) - NAT_PORT;
		if (!addr_host_equal(&nat[i]->addr, to) || at >= nat[i]->n ||
		    !lets_in(&nat[i]->map[at], from))
			continue;
		*ret_inner = nat[i]->map[at].inner;
		return nat[i]->map[at].host;
	}
	return NULL;
}
