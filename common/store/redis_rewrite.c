/*
 * Writing everything anew, when Redis has come back or something could not be written: part by
 * part as the owner shows his rows, two small batches under way, behind whatever is put
 * meanwhile.  Versions make it harmless.  A part that is too large is taken in slices by a
 * keyed hash.
 */
#include "common/store/redis_parts.h"

#include <stdlib.h>

enum {
	ROWS_MAX = 20000, /* in memory */
	BYTES_MAX = 32 << 20,
	SLICES_MAX = 4096,
	INFLIGHT_MAX = 2, /* batches */
	DELAY_FIRST_MS = 500,
	DELAY_MAX_MS = 30000,
};

static void drop_units(struct redis_rewrite *w)
{
	while (w->units.head)
		free(redis_list_take(&w->units));
}

static void on_timer(struct wheel_timer *t, msec now)
{
	struct redis_rewrite *w = container_of(t, struct redis_rewrite, timer);
	struct store_redis *s = container_of(w, struct store_redis, rewrite);

	(void)now;
	if (s->client.state != REDIS_CLIENT_UP || !s->load.complete)
		return;
	redis_rewrite_start(s);
	redis_queue_pump(s);
}

void redis_rewrite_init(struct store_redis *s)
{
	struct redis_rewrite *w = &s->rewrite;

	wheel_timer_init(&w->timer, on_timer);
	redis_list_init(&w->units);
	mac_random(&w->key, sizeof(w->key));
	w->delay_ms = DELAY_FIRST_MS;
}

void redis_rewrite_start(struct store_redis *s)
{
	struct redis_rewrite *w = &s->rewrite;

	if (w->running || !s->setup.c.ops.rewrite)
		return;
	wheel_stop(loop_wheel(s->loop), &w->timer);
	w->running = true;
	w->failed = false;
	w->part = w->slice = w->inflight = 0;
	w->slices = 1;
	w->last_part = false;
	redis_queue_show(s);
}

void redis_rewrite_stop(struct store_redis *s)
{
	wheel_stop(loop_wheel(s->loop), &s->rewrite.timer);
	drop_units(&s->rewrite);
	s->rewrite.running = false;
}

void redis_rewrite_later(struct store_redis *s)
{
	struct redis_rewrite *w = &s->rewrite;

	if (w->running || wheel_armed(&w->timer) || s->client.state != REDIS_CLIENT_UP)
		return;
	wheel_arm(loop_wheel(s->loop), &w->timer, loop_now(s->loop) + w->delay_ms);
	w->delay_ms = w->delay_ms * 2 < DELAY_MAX_MS ? w->delay_ms * 2 : DELAY_MAX_MS;
}

static void finish(struct store_redis *s)
{
	struct redis_rewrite *w = &s->rewrite;

	w->running = false;
	if (w->failed) {
		redis_rewrite_later(s);
	} else {
		s->dirty = s->full = false;
		w->delay_ms = DELAY_FIRST_MS;
	}
	redis_queue_show(s);
}

/* ---- fetching ---- */

static bool in_slice(const struct redis_rewrite *w, const struct store_row *row)
{
	struct mac m;

	if (w->slices == 1)
		return true;
	mac_init(&m, &w->key);
	mac_add_u64(&m, row->kind);
	mac_add(&m, row->group);
	mac_add(&m, row->name);
	return mac_final(&m) % w->slices == w->slice;
}

/* Under the owner's lock: copies. */
static bool collect(void *arg, const struct store_row *row)
{
	struct redis_rewrite *w = arg;
	size_t bytes = sizeof(struct store_unit) + sizeof(*row) + row->group.n + row->name.n +
		       row->body.n;

	w->seen++;
	w->seen_bytes += bytes;
	if (row->kind == 0 || row->kind >= REDIS_KINDS_MAX || !in_slice(w, row))
		return true;
	w->rows++;
	w->bytes += bytes;
	if (w->rows > ROWS_MAX || w->bytes > BYTES_MAX)
		return true; /* in smaller slices, then */
	struct store_unit *u = store_unit_new(row, 1);
	if (!u) {
		w->failed = true;
		return false;
	}
	u->done = NULL;
	u->due = 0;
	u->row[0].guarded = false;
	redis_list_append(&w->units, u);
	return true;
}

static bool too_large(const struct redis_rewrite *w)
{
	return (w->rows > ROWS_MAX || w->bytes > BYTES_MAX) && w->slices < SLICES_MAX;
}

static unsigned slices_for(const struct redis_rewrite *w)
{
	size_t n = w->seen / (ROWS_MAX / 2) + w->seen_bytes / (BYTES_MAX / 2) + w->slices + 1;

	return n < SLICES_MAX ? (unsigned)n : SLICES_MAX;
}

/* The next slice of a part, or of the next one. */
static void fetch(struct store_redis *s)
{
	struct redis_rewrite *w = &s->rewrite;

	w->seen = w->seen_bytes = w->rows = w->bytes = 0;
	bool more = s->setup.c.ops.rewrite(s->setup.c.ops.arg, w->part, collect, w);
	if (too_large(w)) {
		drop_units(w);
		w->slices = slices_for(w);
		w->slice = 0;
		return;
	}
	if (++w->slice < w->slices)
		return;
	w->slice = 0;
	w->slices = 1;
	w->part++;
	w->last_part = !more;
}

void redis_rewrite_next(struct store_redis *s, struct redis_list *ret)
{
	struct redis_rewrite *w = &s->rewrite;
	unsigned n = 0;
	size_t bytes = 0;

	if (!w->running || w->inflight >= INFLIGHT_MAX)
		return;
	while (!w->units.head && !w->last_part)
		fetch(s);
	if (!w->units.head && w->inflight == 0) {
		finish(s);
		return;
	}
	while (w->units.head && n < REDIS_BATCH_ROWS && bytes < REDIS_BATCH_BYTES) {
		struct store_unit *u = redis_list_take(&w->units);
		redis_list_append(ret, u);
		n++;
		bytes += u->bytes;
	}
	if (n)
		w->inflight++;
}

void redis_rewrite_answered(struct store_redis *s, bool ok, unsigned n)
{
	struct redis_rewrite *w = &s->rewrite;

	if (!w->running)
		return;
	w->inflight--;
	if (ok)
		counter_add(&s->counters.rewritten, n);
	else
		w->failed = true;
}
