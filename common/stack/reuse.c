/*
 * Connections that peers opened, by the address at their far end (RFC 3261 18): what goes to
 * that address goes by them, from whatever worker.  A phone's Contact is often the port that it
 * connected from, where nobody listens.  And by their alias (RFC 5923): the port that a server
 * listens on, which it names in its Via.  One table for the group, with a lock a stripe.
 */
#include "common/stack/stack_priv.h"

#include <stdlib.h>

enum { STRIPES = 64, BUCKETS_MIN = 1024, BUCKETS_MAX = 1 << 20 };

struct reuse_entry {
	struct reuse_entry *next;
	struct addr at;
	struct sip_flow flow;
	struct addr alias; /* of this connection, by a second entry; family 0: none */
	bool is_alias;
	struct net_peer *peer; /* alias: whom the certificate names; NULL: none was asked for */
};

struct stack_reuse {
	pthread_mutex_t lock[STRIPES];
	size_t mask;
	struct reuse_entry *bucket[];
};

struct stack_reuse *stack_reuse_new(size_t connections)
{
	size_t n = BUCKETS_MIN;
	while (n < connections && n < BUCKETS_MAX)
		n *= 2;
	struct stack_reuse *r = calloc(1, sizeof(*r) + n * sizeof(r->bucket[0]));
	if (!r)
		return NULL;
	r->mask = n - 1;
	for (int i = 0; i < STRIPES; i++)
		pthread_mutex_init(&r->lock[i], NULL);
	return r;
}

struct stack_reuse *stack_reuse_free(struct stack_reuse *r)
{
	if (!r)
		return NULL;
	for (size_t i = 0; i <= r->mask; i++)
		for (struct reuse_entry *e = r->bucket[i], *next; e; e = next) {
			next = e->next;
			free(e->peer);
			free(e);
		}
	for (int i = 0; i < STRIPES; i++)
		pthread_mutex_destroy(&r->lock[i]);
	free(r);
	return NULL;
}

static size_t place(const struct stack_reuse *r, const struct addr *at)
{
	return addr_hash(at) & r->mask;
}

static void insert(struct stack_reuse *r, struct reuse_entry *e)
{
	size_t at = place(r, &e->at);
	pthread_mutex_lock(&r->lock[at % STRIPES]);
	e->next = r->bucket[at];
	r->bucket[at] = e;
	pthread_mutex_unlock(&r->lock[at % STRIPES]);
}

/* The link to a connection's entry, or to NULL; under the lock of its stripe. */
static struct reuse_entry **link_of(struct stack_reuse *r, const struct addr *key,
				    const struct sip_flow *f, bool is_alias)
{
	struct reuse_entry **p = &r->bucket[place(r, key)];
	while (*p && ((*p)->flow.conn != f->conn || (*p)->flow.worker != f->worker ||
		      (*p)->is_alias != is_alias))
		p = &(*p)->next;
	return p;
}

static struct reuse_entry *take_out(struct stack_reuse *r, const struct addr *key,
				    const struct sip_flow *f, bool is_alias)
{
	pthread_mutex_t *lock = &r->lock[place(r, key) % STRIPES];
	pthread_mutex_lock(lock);
	struct reuse_entry **p = link_of(r, key, f, is_alias), *e = *p;
	if (e)
		*p = e->next;
	pthread_mutex_unlock(lock);
	return e;
}

static void drop(struct reuse_entry *e)
{
	if (e)
		free(e->peer);
	free(e);
}

void stack_reuse_add(struct stack_reuse *r, const struct sip_flow *f)
{
	struct reuse_entry *e = calloc(1, sizeof(*e));
	if (!e)
		return; /* requests to this peer open a connection of their own */
	e->flow = *f;
	e->at = f->remote;
	insert(r, e);
}

void stack_reuse_remove(struct stack_reuse *r, const struct sip_flow *f)
{
	struct reuse_entry *e = take_out(r, &f->remote, f, false);
	if (e && e->alias.sa.sa_family)
		drop(take_out(r, &e->alias, f, true));
	drop(e);
}

static struct reuse_entry *alias_new(const struct sip_flow *f, const struct addr *at,
				     const struct net_peer *peer)
{
	struct reuse_entry *e = calloc(1, sizeof(*e));
	if (!e)
		return NULL;
	e->flow = *f;
	e->at = *at;
	e->is_alias = true;
	e->peer = peer ? malloc(sizeof(*peer)) : NULL;
	if (e->peer)
		*e->peer = *peer;
	if (!peer || e->peer)
		return e;
	free(e);
	return NULL;
}

/* Notes the alias in the connection's first entry.  False: it is there already, or the
 * connection is not one that the peer opened. */
static bool set_alias(struct stack_reuse *r, const struct sip_flow *f, const struct addr *at,
		      struct addr *ret_old)
{
	pthread_mutex_t *lock = &r->lock[place(r, &f->remote) % STRIPES];
	pthread_mutex_lock(lock);
	struct reuse_entry *e = *link_of(r, &f->remote, f, false);
	bool changed = e && !addr_equal(&e->alias, at);
	if (changed) {
		*ret_old = e->alias;
		e->alias = *at;
	}
	pthread_mutex_unlock(lock);
	return changed;
}

void stack_reuse_alias(struct stack_reuse *r, const struct sip_flow *f, const struct addr *at,
		       const struct net_peer *peer)
{
	struct reuse_entry *e;
	struct addr old;
	if (!set_alias(r, f, at, &old))
		return;
	if (old.sa.sa_family)
		drop(take_out(r, &old, f, true));
	if ((e = alias_new(f, at, peer)))
		insert(r, e);
}

/* RFC 5922, RFC 5923 section 9: an alias is good for the names in the certificate; where an
 * address is asked for, the connection from there will do. */
static bool good_for(const struct reuse_entry *e, const char *name)
{
	struct addr a;
	if (!name)
		return true;
	for (unsigned i = 0; e->peer && i < e->peer->n; i++)
		if (net_tls_name_matches(span_str(e->peer->names[i]), span_str(name)))
			return true;
	return !e->is_alias && addr_parse(&a, span_str(name), 0) == 0;
}

bool stack_reuse_find(struct stack_reuse *r, const struct sip_flow *to, const char *name,
		      struct sip_flow *ret)
{
	size_t at = place(r, &to->remote);
	struct reuse_entry *e;
	pthread_mutex_lock(&r->lock[at % STRIPES]);
	for (e = r->bucket[at]; e; e = e->next)
		if (e->flow.transport == to->transport && addr_equal(&e->at, &to->remote) &&
		    good_for(e, name))
			break;
	if (e)
		*ret = e->flow;
	pthread_mutex_unlock(&r->lock[at % STRIPES]);
	return e != NULL;
}
