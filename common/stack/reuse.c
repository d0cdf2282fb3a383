/*
 * Connections that peers opened, by the address at their far end (RFC 3261 18): what goes to
 * that address goes by them, from whatever worker.  A phone's Contact is often the port that it
 * connected from, where nobody listens.  One table for the group, with a lock a stripe.
 */
#include "common/stack/stack_priv.h"

#include <stdlib.h>

enum { STRIPES = 64, BUCKETS_MIN = 1024, BUCKETS_MAX = 1 << 20 };

struct reuse_entry {
	struct reuse_entry *next;
	struct sip_flow flow;
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
			free(e);
		}
	for (int i = 0; i < STRIPES; i++)
		pthread_mutex_destroy(&r->lock[i]);
	free(r);
	return NULL;
}

static size_t place(const struct stack_reuse *r, const struct sip_flow *f)
{
	return addr_hash(&f->remote) & r->mask;
}

void stack_reuse_add(struct stack_reuse *r, const struct sip_flow *f)
{
	size_t at = place(r, f);
	struct reuse_entry *e = malloc(sizeof(*e));
	if (!e)
		return; /* requests to this peer open a connection of their own */
	e->flow = *f;
	pthread_mutex_lock(&r->lock[at % STRIPES]);
	e->next = r->bucket[at];
	r->bucket[at] = e;
	pthread_mutex_unlock(&r->lock[at % STRIPES]);
}

void stack_reuse_remove(struct stack_reuse *r, const struct sip_flow *f)
{
	size_t at = place(r, f);
	struct reuse_entry *e;
	pthread_mutex_lock(&r->lock[at % STRIPES]);
	struct reuse_entry **p = &r->bucket[at];
	while ((e = *p) && (e->flow.conn != f->conn || e->flow.worker != f->worker))
		p = &e->next;
	if (e)
		*p = e->next;
	pthread_mutex_unlock(&r->lock[at % STRIPES]);
	free(e);
}

bool stack_reuse_find(struct stack_reuse *r, const struct sip_flow *to, struct sip_flow *ret)
{
	size_t at = place(r, to);
	struct reuse_entry *e;
	pthread_mutex_lock(&r->lock[at % STRIPES]);
	for (e = r->bucket[at]; e; e = e->next)
		if (e->flow.transport == to->transport &&
		    addr_equal(&e->flow.remote, &to->remote))
			break;
	if (e)
		*ret = e->flow;
	pthread_mutex_unlock(&r->lock[at % STRIPES]);
	return e != NULL;
}
