/*
 * common/store/redis.h: one Redis on a machine of its own, reached over the simulated network.
 * It keeps what it has acknowledged.  A connection that is cut is noticed after a look or two;
 * what was under way then fails.
 */
#include "common/store/redis.h"

#include "tests/sim/disk.h"
#include "tests/sim/redis.h"
#include "tests/sim/rim.h"

#include <errno.h>
#include <stdlib.h>

enum { LOOK_MS = 200, SERVE_US = 30, AT_ONCE_US = 20 };

const struct redis_conf redis_conf_default = {
	.timeout_ms = 1000, .load_ms = 2000, .queue_rows = 200000, .queue_bytes = 64 << 20};

static struct host *machine;
static struct disk *rows;

struct host *redis_machine(const char *ip)
{
	machine = host_new("redis", ip, HOST_NODE, NULL);
	rows = disk_new();
	return machine;
}

struct unit {
	struct event ev;
	struct list link;
	struct redis_store *s;
	void (*done)(void *arg, int error);
	void *arg;
	int error;
	bool back; /* on the way back */
	unsigned n;
	struct disk_row *row[];
};

struct redis_store {
	struct store store; /* first */
	struct node_part part;
	struct loop *loop;
	struct redis_conf c;
	struct list units;
	struct event look;
	bool up, dirty;
	unsigned missed; /* looks in vain */
	usec last;	 /* arrivals keep their order */
	struct redis_counters count;
};

static bool reached(const struct redis_store *s)
{
	const struct host *h = loop_node(s->loop)->host;
	return machine && path_open(h, machine) && path_open(machine, h);
}

static usec way(struct redis_store *s)
{
	usec at = sim_now() + path_delay(loop_node(s->loop)->host, machine) + SERVE_US;
	if (at <= s->last)
		at = s->last + 1;
	return s->last = at;
}

/* ---- units ---- */

static void unit_free(struct unit *u)
{
	event_stop(&u->ev);
	list_remove(&u->link);
	for (unsigned i = 0; i < u->n; i++)
		free(u->row[i]);
	free(u);
}

/* In the loop's round. */
static void finish(struct unit *u)
{
	void (*done)(void *arg, int error) = u->done;
	void *arg = u->arg;
	int error = u->error;
	unit_free(u);
	if (done)
		done(arg, error);
}

static void write_rows(struct unit *u)
{
	struct redis_store *s = u->s;
	for (unsigned i = 0; i < u->n && !u->error; i++)
		if (u->row[i]->row.guarded && !disk_fits(rows, &u->row[i]->row))
			u->error = -EAGAIN;
	if (u->error) {
		s->count.conflicts++;
		return;
	}
	for (unsigned i = 0; i < u->n; i++)
		disk_write(rows, u->row[i]);
	s->count.calls++;
	u->n = 0;
}

static void show_rivals(struct unit *u)
{
	struct redis_store *s = u->s;
	for (unsigned i = 0; u->error == -EAGAIN && s->c.ops.loaded && i < u->n; i++) {
		const struct store_row *r = disk_find(rows, &u->row[i]->row);
		if (r)
			s->c.ops.loaded(s->c.ops.arg, r);
	}
}

static void on_unit(struct event *e)
{
	struct unit *u = container_of(e, struct unit, ev);
	struct redis_store *s = u->s;
	if (!u->back && !u->error) {
		if (!reached(s)) { /* lost: its time-out */
			u->error = -EIO;
			event_after(e, USEC_MS(s->c.timeout_ms));
			return;
		}
		write_rows(u);
		u->back = true;
		event_at(e, way(s));
		return;
	}
	if (!loop_enter(s->loop)) {
		event_after(e, USEC_MS(10));
		return;
	}
	show_rivals(u);
	finish(u);
	loop_leave(s->loop);
}

static int put(struct store *store, const struct store_row *v, unsigned n,
	       void (*done)(void *arg, int error), void *arg)
{
	struct redis_store *s = (struct redis_store *)store;
	struct unit *u = sim_alloc(sizeof(*u) + n * sizeof(u->row[0]));
	u->s = s;
	u->done = done;
	u->arg = arg;
	u->error = s->up ? 0 : -EIO;
	for (unsigned i = 0; i < n && s->up; i++)
		u->row[u->n++] = disk_row_new(&v[i]);
	s->dirty |= !s->up;
	list_append(&s->units, &u->link);
	event_init(&u->ev, on_unit);
	if (!node_is_mute())
		event_at(&u->ev, s->up ? way(s) : sim_now() + AT_ONCE_US);
	return 0;
}

/* ---- whether it is there ---- */

static bool write_one(void *arg, const struct store_row *row)
{
	struct redis_store *s = arg;
	struct disk_row *r = disk_row_new(row);
	r->row.guarded = false;
	disk_write(rows, r);
	s->count.rewritten++;
	return true;
}

static int show_one(void *arg, const struct store_row *row)
{
	struct redis_store *s = arg;
	s->count.loaded++;
	if (s->c.ops.loaded)
		s->c.ops.loaded(s->c.ops.arg, row);
	return 0;
}

static void came(struct redis_store *s)
{
	s->up = true;
	s->count.connects++;
	if (s->c.ops.changed)
		s->c.ops.changed(s->c.ops.arg, true);
	disk_each(rows, time_wall_ms(), show_one, s);
	for (unsigned part = 0; s->dirty && s->c.ops.rewrite; part++)
		if (!s->c.ops.rewrite(s->c.ops.arg, part, write_one, s))
			break;
	s->dirty = false;
}

static void went(struct redis_store *s)
{
	s->up = false;
	s->dirty = true;
	s->count.lost++;
	list_for_each_safe (it, &s->units) {
		struct unit *u = container_of(it, struct unit, link);
		u->error = -EIO;
		finish(u);
	}
	if (s->c.ops.changed)
		s->c.ops.changed(s->c.ops.arg, false);
}

static void on_look(struct event *e)
{
	struct redis_store *s = container_of(e, struct redis_store, look);
	event_after(e, USEC_MS(LOOK_MS));
	s->missed = reached(s) ? 0 : s->missed + 1;
	bool changes = s->up ? s->missed > 1 : s->missed == 0;
	if (!changes || !loop_enter(s->loop))
		return;
	if (s->up)
		went(s);
	else
		came(s);
	loop_leave(s->loop);
}

/* ---- the other operations ---- */

static int load(struct store *store, uint64_t wall_ms,
		int (*each)(void *arg, const struct store_row *row), void *arg)
{
	struct redis_store *s = (struct redis_store *)store;
	if (!reached(s))
		return 0;
	s->up = true;
	s->dirty = false;
	return disk_each(rows, wall_ms, each, arg);
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
	struct redis_store *s = container_of(p, struct redis_store, part);
	(void)silent;
	event_stop(&s->look);
	list_for_each_safe (it, &s->units)
		unit_free(container_of(it, struct unit, link));
}

static void store_free(struct store *store)
{
	struct redis_store *s = (struct redis_store *)store;
	kill_all(&s->part, true);
	list_remove(&s->part.link);
	free(s);
}

static const struct store_ops store_ops = {
	.load = load, .put = put, .expire = expire, .flush = flush, .free = store_free};

struct store *store_redis_new(struct loop *l, const struct redis_conf *c, char *ret_error)
{
	struct redis_store *s = sim_alloc(sizeof(*s));
	(void)ret_error;
	s->store.ops = &store_ops;
	s->loop = l;
	s->c = *c;
	s->dirty = true;
	list_init(&s->units);
	event_init(&s->look, on_look);
	event_after(&s->look, USEC_MS(1));
	s->part.kill = kill_all;
	node_add_part(&s->part);
	return &s->store;
}

void store_redis_state(struct store *store, struct redis_state *ret)
{
	const struct redis_store *s = (const struct redis_store *)store;
	*ret = (struct redis_state){.up = s->up, .dirty = s->dirty, .counters = s->count};
}
