/*
 * Where connections are found: by identity (live.c), and by the address that they were opened
 * to; and how many each source has.  Chained tables whose size is fixed at the start, from
 * the limit of connections.
 */
#include "common/net/net_priv.h"
#include "common/net/tls_peer.h"

#include <errno.h>
#include <stdlib.h>

struct source {
	struct hash_node node;
	struct addr prefix;
	uint32_t conns;
};

static int hash_init(struct hash *h, size_t want)
{
	size_t n = 64;

	while (n < want)
		n *= 2;
	h->bucket = calloc(n, sizeof(*h->bucket));
	h->mask = n - 1;
	return h->bucket ? 0 : -ENOMEM;
}

static void hash_insert(struct hash *h, uint64_t key, struct hash_node *node)
{
	struct hash_node **b = &h->bucket[key & h->mask];

	node->next = *b;
	*b = node;
}

static void hash_remove(struct hash *h, uint64_t key, struct hash_node *node)
{
	struct hash_node **at = &h->bucket[key & h->mask];

	while (*at && *at != node)
		at = &(*at)->next;
	if (*at)
		*at = node->next;
}

int table_init(struct net *n)
{
	if (hash_init(&n->by_addr, n->conf.conns_max / 4) < 0 ||
	    hash_init(&n->by_source, n->conf.conns_max / 4) < 0 ||
	    live_init(&n->live, n->conf.conns_max) < 0)
		return -ENOMEM;
	return 0;
}

void table_done(struct net *n)
{
	free(n->by_addr.bucket);
	free(n->by_source.bucket);
	live_done(&n->live);
}

int table_add(struct conn *c)
{
	struct net *n = c->net;

	c->flow.conn = live_add(&n->live, c);
	if (!c->flow.conn)
		return -ENOBUFS;
	list_append(&n->all, &c->all);
	counter_inc(&n->count.conns);
	return 0;
}

static void forget_addr(struct conn *c)
{
	if (c->is_known)
		hash_remove(&c->net->by_addr, addr_hash(&c->known_as), &c->by_addr);
	c->is_known = false;
}

void table_remove(struct conn *c)
{
	forget_addr(c);
	live_remove(&c->net->live, c->flow.conn);
}

struct conn *table_find(struct net *n, uint64_t id)
{
	return live_find(&n->live, id);
}

void table_know(struct conn *c, const struct addr *a)
{
	forget_addr(c);
	c->known_as = *a;
	c->is_known = true;
	hash_insert(&c->net->by_addr, addr_hash(a), &c->by_addr);
}

/* The peer was asked for under this name, or its certificate is good for it. */
static bool good_for(const struct conn *c, const char *host)
{
	if (!host || (c->tls_host && strcasecmp(c->tls_host, host) == 0))
		return true;
	return c->peer && tls_peer_is(c->peer, host);
}

struct conn *table_reuse(struct net *n, const struct sip_flow *f, const char *host)
{
	const struct addr *a = &f->remote;
	struct hash_node *p = n->by_addr.bucket[addr_hash(a) & n->by_addr.mask];
	bool link = f->listener == n->conf.link_listener;

	for (; p; p = p->next) {
		struct conn *c = container_of(p, struct conn, by_addr);

		if (c->flow.transport == f->transport && conn_is_link(c) == link &&
		    addr_equal(&c->known_as, a) && good_for(c, host))
			return c;
	}
	return NULL;
}

/* Who owns one IPv6 address owns its /64: that is the source. */
static struct addr source_prefix(const struct addr *a)
{
	struct addr p = *a;

	addr_set_port(&p, 0);
	if (p.sa.sa_family == AF_INET6)
		memset(&p.in6.sin6_addr.s6_addr[8], 0, 8);
	return p;
}

int source_take(struct net *n, const struct addr *a, struct source **ret_source)
{
	struct addr prefix = source_prefix(a);
	uint64_t key = addr_hash(&prefix);
	struct source *s;

	for (struct hash_node *p = n->by_source.bucket[key & n->by_source.mask]; p;
	     p = p->next) {
		s = container_of(p, struct source, node);
		if (!addr_equal(&s->prefix, &prefix))
			continue;
		if (s->conns >= n->conf.conns_per_source)
			return -EMFILE;
		s->conns++;
		*ret_source = s;
		return 0;
	}
	s = malloc(sizeof(*s));
	if (!s)
		return -ENOMEM;
	*s = (struct source){.prefix = prefix, .conns = 1};
	hash_insert(&n->by_source, key, &s->node);
	*ret_source = s;
	return 0;
}

void source_give(struct net *n, struct source *s)
{
	if (!s || --s->conns > 0)
		return;
	hash_remove(&n->by_source, addr_hash(&s->prefix), &s->node);
	free(s);
}

bool net_opened(const struct net *n, const struct sip_flow *f)
{
	const struct conn *c = f->conn ? live_find(&n->live, f->conn) : NULL;
	return c && c->ours;
}
