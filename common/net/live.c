/*
 * Connections by identity.  An identity is a slot and a serial number: the slot is looked at
 * straight, the serial tells whether it is still the same connection.  The worker writes;
 * other threads may ask whether a connection lives (the registrar chooses among the flows of
 * all workers).
 */
#include "common/net/net_priv.h"

#include <errno.h>
#include <stdlib.h>

enum { SLOT_BITS = 22 };
#define SLOT_MASK ((UINT64_C(1) << SLOT_BITS) - 1)

struct live_slot {
	_Atomic uint64_t conn; /* its identity; 0: free */
	union {
		struct conn *c;
		uint32_t next_free;
	};
};

int live_init(struct live *l, uint32_t max)
{
	/* Flow tokens outlive us: an identity must not come again after a restart. */
	l->serial = time_wall_ms();
	l->size = max < SLOT_MASK ? max : SLOT_MASK;
	l->used = 0;
	l->free = l->size;
	l->v = calloc(l->size + (size_t)1, sizeof(*l->v));
	return l->v ? 0 : -ENOMEM;
}

void live_done(struct live *l)
{
	free(l->v);
}

uint64_t live_add(struct live *l, struct conn *c)
{
	uint32_t slot = l->free;

	if (slot < l->size)
		l->free = l->v[slot].next_free;
	else if (l->used < l->size)
		slot = l->used++;
	else
		return 0;
	uint64_t conn = l->serial++ << SLOT_BITS | slot;
	l->v[slot].c = c;
	atomic_store_explicit(&l->v[slot].conn, conn, memory_order_relaxed);
	return conn;
}

static struct live_slot *slot_of(const struct live *l, uint64_t conn)
{
	uint64_t slot = conn & SLOT_MASK;

	if (!conn || slot >= l->size ||
	    atomic_load_explicit(&l->v[slot].conn, memory_order_relaxed) != conn)
		return NULL;
	return &l->v[slot];
}

void live_remove(struct live *l, uint64_t conn)
{
	struct live_slot *s = slot_of(l, conn);

	if (!s)
		return;
	atomic_store_explicit(&s->conn, 0, memory_order_relaxed);
	s->next_free = l->free;
	l->free = (uint32_t)(conn & SLOT_MASK);
}

struct conn *live_find(const struct live *l, uint64_t conn)
{
	const struct live_slot *s = slot_of(l, conn);

	return s ? s->c : NULL;
}

bool net_flow_alive(const struct net *n, const struct sip_flow *f)
{
	return f->worker == n->worker && slot_of(&n->live, f->conn);
}
