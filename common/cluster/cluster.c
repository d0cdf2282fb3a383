/*
 * A cluster's life: its configuration is checked, its parts begin and end.
 */
#include "common/cluster/cluster_priv.h"

#include <stdlib.h>

/* For a message as large as the bus lets pass, or one of many small rows. */
enum { ARENA_BYTES = 1 << 20 };

const struct cluster_conf cluster_conf_default = {
	.heartbeat_ms = 250,
	.dead_ms = 750,
	.second_place_ms = 1000,
	.gather_ms = 20,
	.compare_ms = 2000,
	.queue_bytes = 16 << 20,
};

static bool conf_sound(const struct cluster_conf *f, const struct cluster_ops *ops)
{
	if (f->n == 0 || f->n > CLUSTER_NODES_MAX || f->self >= f->n || f->boot == 0 ||
	    f->heartbeat_ms == 0 || f->dead_ms <= f->heartbeat_ms || f->second_place_ms == 0 ||
	    f->compare_ms == 0 || !ops->send || !(ops->shares || ops->sharers) ||
	    !ops->may_write)
		return false;
	for (unsigned i = 0; i < f->n; i++) {
		const struct cluster_node *n = &f->node[i];
		if (!n->name[0] || !n->pair[0] || !memchr(n->name, 0, sizeof(n->name)) ||
		    !memchr(n->pair, 0, sizeof(n->pair)))
			return false;
		for (unsigned j = 0; j < i; j++)
			if (strcmp(n->name, f->node[j].name) == 0)
				return false;
	}
	return true;
}

static bool pairs_sound(struct cluster *c)
{
	for (unsigned i = 0; i < c->conf.n; i++)
		if (!pair_add(c, i))
			return false;
	return true;
}

struct cluster *cluster_new(struct loop *l, const struct cluster_conf *f,
			    const struct cluster_ops *ops, const struct cluster_below *below)
{
	if (!conf_sound(f, ops))
		return NULL;
	struct cluster *c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	c->store.ops = &cluster_store_ops;
	c->loop = l;
	c->conf = *f;
	c->ops = *ops;
	if (below)
		c->below = *below;
	c->peer = calloc(f->n, sizeof(*c->peer));
	c->digest = calloc(f->n, sizeof(*c->digest));
	if (!c->peer || !c->digest)
		c->conf.n = 0; /* there is nothing to end */
	for (unsigned i = 0; i < c->conf.n; i++) {
		c->peer[i].c = c;
		c->peer[i].index = i;
	}
	cluster_live_init(c);
	send_init(c);
	receive_init(c);
	place_init(c);
	compare_init(c);
	admin_init(c);
	/* Numbers of calls and questions: those of another start are not ours. */
	c->next_id = mac_span(&f->digest_key, span_of((const char *)&f->boot, sizeof(f->boot)));
	c->gate = gate_new(c);
	if (c->conf.n == 0 || !c->gate || arena_init(&c->arena, ARENA_BYTES) < 0 ||
	    !pairs_sound(c))
		return cluster_free(c);
	return c;
}

void cluster_end(struct cluster *c)
{
	if (!c || c->ending)
		return;
	struct gate *g = c->gate;
	c->ending = true;
	if (g) {
		/* Whoever owes an answer waits here, and then finds nobody. */
		pthread_mutex_lock(&g->lock);
		g->c = NULL;
		cluster_inbox(c);
	}
	live_end(c);
	compare_stop(c);
	send_stop(c);
	place_end(c);
	receive_end(c);
	admin_end(c);
	if (g)
		pthread_mutex_unlock(&g->lock);
}

struct cluster *cluster_free(struct cluster *c)
{
	if (!c)
		return NULL;
	cluster_end(c);
	cluster_inbox(c); /* what was handed over after the end */
	if (c->gate)
		gate_unref(c->gate);
	arena_done(&c->arena);
	free(c->out.p);
	free(c->peer);
	free(c->digest);
	free(c);
	return NULL;
}

struct store *cluster_store(struct cluster *c)
{
	return &c->store;
}

/* Nodes that would find each other's records in other places cannot be compared: the identity
 * is of the domain, of the digests' key and of the records' key. */
void cluster_attach(struct cluster *c, struct records *r)
{
	const struct record probe = {
		.kind = RECORD_USER, .group = SPAN("a"), .name = SPAN("b")};
	struct mac m;

	c->records = r;
	mac_init(&m, &c->conf.digest_key);
	mac_add_u64(&m, c->conf.domain);
	mac_add_u64(&m, records_tag(r, &probe));
	c->identity = mac_final(&m);
}

void cluster_start(struct cluster *c)
{
	c->started = true;
	cluster_stand_back(c);
	live_start(c);
	compare_start(c);
}
