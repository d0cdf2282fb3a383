/*
 * common/store/store.h: a disk in memory that outlives its process.  A commit takes its time;
 * what is not committed when the process dies is not there.
 */
#include "common/store/store.h"

#include "tests/sim/disk.h"
#include "tests/sim/rim.h"

#include <errno.h>
#include <stdlib.h>

enum { COMMIT_US = 1500, COMMIT_JITTER_US = 1000 };

struct unit {
	struct event ev;
	struct list link;
	struct sim_store *s;
	void (*done)(void *arg, int error);
	void *arg;
	unsigned n;
	struct disk_row *row[];
};
struct sim_store {
	struct store store; /* first */
	struct node_part part;
	struct loop *loop; /* its thread */
	struct disk *disk;
	struct list units;
};

static void on_commit(struct event *e)
{
	struct unit *u = container_of(e, struct unit, ev);
	struct sim_store *s = u->s;
	if (!loop_enter(s->loop)) { /* its thread is stopped like the others */
		event_after(e, COMMIT_US);
		return;
	}
	list_remove(&u->link);
	for (unsigned i = 0; i < u->n; i++)
		disk_write(s->disk, u->row[i]);
	s->store.counters.rows += u->n;
	s->store.counters.commits++;
	if (u->done)
		u->done(u->arg, 0);
	free(u);
	loop_leave(s->loop);
}

static int load(struct store *store, uint64_t wall_ms,
		int (*each)(void *arg, const struct store_row *row), void *arg)
{
	struct sim_store *s = (struct sim_store *)store;
	return disk_each(s->disk, wall_ms, each, arg);
}

static int put(struct store *store, const struct store_row *rows, unsigned n,
	       void (*done)(void *arg, int error), void *arg)
{
	struct sim_store *s = (struct sim_store *)store;
	struct unit *u = sim_alloc(sizeof(*u) + n * sizeof(u->row[0]));
	u->s = s;
	u->done = done;
	u->arg = arg;
	u->n = n;
	for (unsigned i = 0; i < n; i++)
		u->row[i] = disk_row_new(&rows[i]);
	list_append(&s->units, &u->link);
	event_init(&u->ev, on_commit);
	if (!node_is_mute())
		event_after(&u->ev, COMMIT_US + rng_below(hosts_rng(), COMMIT_JITTER_US));
	return 0;
}

static void expire(struct store *store, uint64_t wall_ms)
{
	(void)store;
	(void)wall_ms;
}

static void flush(struct store *store)
{
	(void)store;
}

static void kill_all(struct node_part *p, bool silent)
{
	struct sim_store *s = container_of(p, struct sim_store, part);
	(void)silent;
	list_for_each_safe (it, &s->units) {
		struct unit *u = container_of(it, struct unit, link);
		event_stop(&u->ev);
		list_remove(it);
		for (unsigned i = 0; i < u->n; i++)
			free(u->row[i]);
		free(u);
	}
}

static void store_free(struct store *store)
{
	struct sim_store *s = (struct sim_store *)store;
	kill_all(&s->part, true);
	list_remove(&s->part.link);
	free(s);
}

static const struct store_ops ops = {
	.load = load, .put = put, .expire = expire, .flush = flush, .free = store_free};

struct store *store_sqlite_new(const char *path, size_t queue_max, char *ret_error)
{
	struct sim_store *s = sim_alloc(sizeof(*s));
	(void)path;
	(void)queue_max;
	(void)ret_error;
	s->store.ops = &ops;
	s->disk = node_current()->disk;
	s->loop = loop_new(0);
	s->part.kill = kill_all;
	list_init(&s->units);
	node_add_part(&s->part);
	return &s->store;
}
