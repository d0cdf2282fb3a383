/*
 * Which connections live, for other threads to ask (the registrar chooses among flows of all
 * workers).  One writer, the worker; sets of a few ways by the connection's number, which are
 * given in sequence, so sets fill evenly.  A connection that found its set full is counted
 * instead, and while there is one, an unknown connection is taken for alive.
 */
#include "common/net/net_priv.h"

#include <errno.h>
#include <stdlib.h>

enum { WAYS = 4 };

int live_init(struct live *l, size_t conns_max)
{
	size_t sets = 16;

	while (sets * WAYS < conns_max * 2)
		sets *= 2;
	l->mask = sets - 1;
	atomic_init(&l->unlisted, 0);
	l->v = calloc(sets * WAYS, sizeof(*l->v));
	return l->v ? 0 : -ENOMEM;
}

void live_done(struct live *l)
{
	free(l->v);
}

static _Atomic uint64_t *set_of(const struct live *l, uint64_t conn)
{
	return &l->v[(conn & l->mask) * WAYS];
}

static bool replace(struct live *l, uint64_t conn, uint64_t from, uint64_t to)
{
	_Atomic uint64_t *set = set_of(l, conn);

	for (unsigned i = 0; i < WAYS; i++) {
		if (atomic_load_explicit(&set[i], memory_order_relaxed) != from)
			continue;
		atomic_store_explicit(&set[i], to, memory_order_relaxed);
		return true;
	}
	return false;
}

void live_add(struct live *l, uint64_t conn)
{
	if (!replace(l, conn, 0, conn))
		atomic_fetch_add_explicit(&l->unlisted, 1, memory_order_relaxed);
}

/* Once for each live_add(). */
void live_remove(struct live *l, uint64_t conn)
{
	if (!replace(l, conn, conn, 0))
		atomic_fetch_sub_explicit(&l->unlisted, 1, memory_order_relaxed);
}

bool net_flow_alive(const struct net *n, const struct sip_flow *f)
{
	const _Atomic uint64_t *set = set_of(&n->live, f->conn);

	if (!f->conn || f->worker != n->worker)
		return false;
	for (unsigned i = 0; i < WAYS; i++)
		if (atomic_load_explicit(&set[i], memory_order_relaxed) == f->conn)
			return true;
	return atomic_load_explicit(&n->live.unlisted, memory_order_relaxed) > 0;
}
