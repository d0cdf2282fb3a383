/*
 * The queue and the pipeline, in the loop's thread: units that other threads put wait here,
 * leave in batches (one script call each, several under way), and are done when the answer has
 * come or their time is over.  A connection that breaks, or a primary that refuses, gives its
 * units back; when nobody serves they fail, and so does what comes until somebody does.
 */
#include "common/store/redis_parts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { NOSCRIPT_MAX = 3 };

/* ---- the end of a unit ---- */

struct room {
	size_t rows, bytes, shells;
};

/* Tells; the unit stays where it is (an answer may still be due). */
static void tell(struct store_redis *s, struct store_unit *u, int error)
{
	void (*done)(void *arg, int error) = u->done;

	if (u->due == 0)
		return;
	u->due = 0; /* told */
	if (error)
		counter_inc(&s->store.counters.failed);
	else
		counter_add(&s->store.counters.rows, u->n);
	if (error == -EIO) {
		counter_add(&s->counters.dropped, u->n);
		redis_queue_dirty(s);
	}
	if (done)
		done(u->arg, error);
}

static void finish(struct store_redis *s, struct store_unit *u, int error, struct room *room)
{
	tell(s, u, error);
	room->rows += store_unit_weight(u->n);
	room->bytes += u->bytes;
	free(u);
}

static void give_room(struct store_redis *s, const struct room *room)
{
	pthread_mutex_lock(&s->lock);
	s->rows -= room->rows;
	s->bytes -= room->bytes;
	s->shells -= room->shells;
	__atomic_store_n(&s->store.counters.queued, s->rows, __ATOMIC_RELAXED);
	if (s->rows == 0)
		pthread_cond_broadcast(&s->idle);
	pthread_mutex_unlock(&s->lock);
}

static void fail_list(struct store_redis *s, struct redis_list *l, msec due_until)
{
	struct room room = {0};

	while (l->head && l->head->due <= due_until)
		finish(s, redis_list_take(l), -EIO, &room);
	if (room.rows)
		give_room(s, &room);
}

/* Units of a rewrite are nobody's. */
static void free_list(struct redis_list *l)
{
	while (l->head)
		free(redis_list_take(l));
}

static void fail_all(struct store_redis *s)
{
	fail_list(s, &s->waiting, UINT64_MAX);
	fail_list(s, &s->held, UINT64_MAX);
	fail_list(s, &s->late, UINT64_MAX);
}

/* ---- what others see ---- */

void redis_queue_show(struct store_redis *s)
{
	pthread_mutex_lock(&s->lock);
	struct redis_state *v = &s->shown;
	v->up = s->client.state == REDIS_CLIENT_UP;
	v->primary = s->client.addr;
	memcpy(v->error, s->client.error, sizeof(v->error));
	v->dirty = s->dirty;
	v->full = s->full;
	v->loading = s->load.running;
	v->rewriting = s->rewrite.running;
	pthread_mutex_unlock(&s->lock);
}

void redis_queue_dirty(struct store_redis *s)
{
	s->rewrite.failed = true;
	if (!s->dirty) {
		s->dirty = true;
		redis_queue_show(s);
	}
	redis_rewrite_later(s);
}

static void show_up(struct store_redis *s, bool up)
{
	redis_queue_show(s);
	if (s->told_up == up)
		return;
	s->told_up = up;
	if (s->setup.c.ops.changed)
		s->setup.c.ops.changed(s->setup.c.ops.arg, up);
}

/* ---- time ---- */

/* Of the first that was not told yet. */
static msec due_of(const struct redis_list *l)
{
	const struct store_unit *u = l->head;

	while (u && u->due == 0)
		u = u->next;
	return u ? u->due : UINT64_MAX;
}

static msec first_due(const struct store_redis *s)
{
	const struct redis_list *const lists[] = {&s->waiting, &s->held, &s->late};
	msec first = UINT64_MAX;

	for (unsigned i = 0; i < 3; i++)
		if (due_of(lists[i]) < first)
			first = due_of(lists[i]);
	for (unsigned i = 0; i < s->batches; i++) {
		msec due = due_of(&s->batch[(s->batch_at + i) % REDIS_BATCHES].units);
		if (due < first)
			first = due;
	}
	return first;
}

static void arm_due(struct store_redis *s)
{
	msec due;

	if (!wheel_armed(&s->due) && (due = first_due(s)) != UINT64_MAX)
		wheel_arm(loop_wheel(s->loop), &s->due, due);
}

/* Units wait in the order of their time.  Those under way are told, and kept for the answer. */
static void on_due(struct wheel_timer *t, msec now)
{
	struct store_redis *s = container_of(t, struct store_redis, due);

	fail_list(s, &s->waiting, now);
	fail_list(s, &s->late, now);
	redis_held_due(s, now);
	for (unsigned i = 0; i < s->batches; i++) {
		struct redis_batch *b = &s->batch[(s->batch_at + i) % REDIS_BATCHES];
		for (struct store_unit *u = b->units.head; u && u->due <= now; u = u->next)
			tell(s, u, -EIO);
	}
	redis_queue_pump(s);
}

/* ---- sending ---- */

/* Moves what fits in one call from the queue to l; how many units. */
static unsigned take_from(struct store_redis *s, struct redis_list *from, struct redis_list *l)
{
	unsigned n = 0, rows = 0;
	size_t bytes = 0;
	bool hold = !redis_settled(s);

	while (from->head) {
		struct store_unit *u = from->head;
		if (n && (rows + u->n > REDIS_BATCH_ROWS || n == REDIS_BATCH_ROWS ||
			  bytes + u->bytes > REDIS_BATCH_BYTES))
			break;
		u = redis_list_take(from);
		if (hold && redis_unit_guarded(u)) {
			redis_list_append(&s->held, u);
			continue;
		}
		redis_list_append(l, u);
		n++;
		rows += u->n;
		bytes += u->bytes;
	}
	return n;
}

/* Puts a batch on its way.  Out of memory its units wait on. */
static bool send_batch(struct store_redis *s, struct redis_list *l, bool rewrite)
{
	struct redis_batch *b = &s->batch[(s->batch_at + s->batches) % REDIS_BATCHES];

	if (redis_row_write(s->client.link, &s->setup, s->client.sha_write, l->head) < 0) {
		if (rewrite) {
			free_list(l);
			redis_rewrite_answered(s, false, 0);
		} else {
			redis_list_put_back(&s->waiting, l);
		}
		return false;
	}
	redis_list_init(&b->units);
	redis_list_put_back(&b->units, l);
	b->rewrite = rewrite;
	b->n = 0;
	for (const struct store_unit *u = b->units.head; u; u = u->next)
		b->n++;
	s->batches++;
	counter_inc(&s->counters.calls);
	return true;
}

/* While a batch is under way others gather until it is back, or are enough for a full one: so
 * the calls get larger with the load. */
static bool gathers(const struct store_redis *s)
{
	unsigned under_way = 0, rows = 0;

	for (unsigned i = 0; i < s->batches; i++)
		under_way += !s->batch[(s->batch_at + i) % REDIS_BATCHES].rewrite;
	for (const struct store_unit *u = s->waiting.head; u && rows < REDIS_BATCH_ROWS;
	     u = u->next)
		rows += (unsigned)store_unit_weight(u->n);
	return under_way > 0 && rows < REDIS_BATCH_ROWS;
}

/* What goes next: a rewrite has a batch under way always, a second one when nothing waits.
 * True: l is of the rewrite. */
static bool pick(struct store_redis *s, struct redis_list *l)
{
	if (s->rewrite.running && s->rewrite.inflight == 0)
		redis_rewrite_next(s, l);
	if (l->head)
		return true;
	/* What is late goes before what may have been guarded by it. */
	if (take_from(s, &s->late, l) > 0)
		return false;
	if (redis_settled(s))
		redis_list_put_back(&s->waiting, &s->held);
	if (!gathers(s) && take_from(s, &s->waiting, l) > 0)
		return false;
	if (!s->waiting.head)
		redis_rewrite_next(s, l);
	return true;
}

void redis_queue_pump(struct store_redis *s)
{
	bool more = s->client.state == REDIS_CLIENT_UP;
	struct redis_list l;

	redis_list_init(&l);
	while (more && s->batches < REDIS_BATCHES) {
		bool rewrite = pick(s, &l);
		more = l.head && send_batch(s, &l, rewrite);
	}
	if (s->client.state == REDIS_CLIENT_UP)
		redis_link_flush(s->client.link);
	arm_due(s);
}

/* ---- answers ---- */

static struct redis_batch *first_batch(struct store_redis *s)
{
	return &s->batch[s->batch_at];
}

static void drop_batch(struct store_redis *s)
{
	s->batch_at = (s->batch_at + 1) % REDIS_BATCHES;
	s->batches--;
}

/* The first batch ends without an answer: its units come to l, but those whose time was over.
 */
static void take_batch(struct store_redis *s, struct redis_list *l)
{
	struct redis_batch *b = first_batch(s);
	struct room room = {0};

	while (b->units.head) {
		struct store_unit *u = redis_list_take(&b->units);
		if (b->rewrite || u->due)
			redis_list_append(l, u);
		else
			finish(s, u, -EIO, &room);
	}
	drop_batch(s);
	if (room.rows)
		give_room(s, &room);
}

/* The units of the batches under way wait again, in their order; those of a rewrite go. */
static void take_back(struct store_redis *s)
{
	struct redis_list again, rewritten;

	redis_list_init(&again);
	redis_list_init(&rewritten);
	while (s->batches > 0)
		take_batch(s, first_batch(s)->rewrite ? &rewritten : &again);
	redis_list_put_back(&s->waiting, &again);
	free_list(&rewritten);
}

static int outcome(struct store_redis *s, const struct store_unit *u, const redisReply *r)
{
	if (r->type == REDIS_REPLY_INTEGER && r->integer == 0)
		return 0;
	if (r->type == REDIS_REPLY_ARRAY && redis_unit_guarded(u)) {
		counter_inc(&s->counters.conflicts);
		redis_conflict_show(s, u, r);
		return -EAGAIN;
	}
	if (r->type == REDIS_REPLY_ERROR) {
		redis_client_error(&s->client, r->str);
		redis_queue_show(s);
	} else {
		counter_inc(&s->counters.bad_replies);
	}
	return -EIO;
}

/* r: one answer for each unit, or an error for all. */
static void finish_batch(struct store_redis *s, const redisReply *r)
{
	struct redis_batch *b = first_batch(s);
	bool array = r->type == REDIS_REPLY_ARRAY, rewrite = b->rewrite, ok = true;
	struct room room = {0};
	struct redis_list units;
	unsigned i = 0;

	redis_list_init(&units);
	redis_list_put_back(&units, &b->units);
	drop_batch(s);
	counter_add(&s->store.counters.commits, array);
	while (units.head) {
		struct store_unit *u = redis_list_take(&units);
		int error = outcome(s, u, array ? r->element[i++] : r);
		ok = ok && error == 0;
		if (rewrite)
			free(u);
		else
			finish(s, u, error, &room);
	}
	if (rewrite)
		redis_rewrite_answered(s, ok, i);
	else
		give_room(s, &room);
}

static const redisReply *refusal(const redisReply *r)
{
	if (redis_reply_refused(r))
		return r;
	for (size_t i = 0; r->type == REDIS_REPLY_ARRAY && i < r->elements; i++)
		if (redis_reply_refused(r->element[i]))
			return r->element[i];
	return NULL;
}

/* The scripts are gone (SCRIPT FLUSH): they are sent again, and the batch after them. */
static void on_noscript(struct store_redis *s, const redisReply *r)
{
	bool rewrite = first_batch(s)->rewrite;
	struct redis_list units;

	if (++s->noscript > NOSCRIPT_MAX * REDIS_BATCHES ||
	    redis_client_scripts(&s->client) < 0) {
		redis_client_refused(&s->client, r->str);
		return;
	}
	redis_list_init(&units);
	take_batch(s, &units);
	if (rewrite)
		send_batch(s, &units, true);
	else
		redis_list_put_back(&s->waiting, &units);
}

static void on_written(struct store_redis *s, const redisReply *r)
{
	const redisReply *no = refusal(r);

	if (s->batches == 0)
		return;
	if (no) {
		s->refused = true;
		redis_client_refused(&s->client, no->str);
	} else if (r->type == REDIS_REPLY_ERROR && strncmp(r->str, "NOSCRIPT", 8) == 0) {
		on_noscript(s, r);
	} else if (r->type == REDIS_REPLY_ERROR ||
		   (r->type == REDIS_REPLY_ARRAY && r->elements == first_batch(s)->n)) {
		s->noscript = 0;
		finish_batch(s, r);
	} else {
		counter_inc(&s->counters.bad_replies);
		redis_client_refused(&s->client, "a wrong answer to the writing script");
	}
}

static void start_rewriting(struct store_redis *s)
{
	if (s->load.complete && s->dirty)
		redis_rewrite_start(s);
	redis_queue_show(s);
}

static void on_reply(void *arg, enum redis_tag tag, const redisReply *r)
{
	struct store_redis *s = arg;

	if (tag == REDIS_TAG_WRITE) {
		on_written(s, r);
	} else if (s->load.running) {
		bool was_read = s->load.complete; /* once: a rewrite is due at its own time */
		const char *wrong = redis_load_reply(&s->load, tag, r);
		if (wrong)
			redis_client_refused(&s->client, wrong);
		else if (!s->load.running && !was_read)
			start_rewriting(s);
		else if (!s->load.running)
			redis_queue_show(s);
	}
	redis_queue_pump(s);
}

/* ---- Redis comes and goes ---- */

static int show_late(void *arg, const struct store_row *row)
{
	struct store_redis *s = arg;

	s->showing = row;
	s->setup.c.ops.loaded(s->setup.c.ops.arg, row);
	s->showing = NULL;
	return 0;
}

static void on_up(void *arg)
{
	struct store_redis *s = arg;

	s->refused = false;
	s->noscript = 0;
	s->outage = 0;
	atomic_store_explicit(&s->gone, false, memory_order_relaxed);
	if (!s->load.complete && s->setup.c.ops.loaded)
		redis_load_start(&s->load, time_wall_ms(), show_late, s);
	else
		s->load.complete = true;
	start_rewriting(s);
	show_up(s, true);
	redis_queue_pump(s);
}

void redis_queue_read(struct store_redis *s)
{
	if (s->client.state != REDIS_CLIENT_UP || s->load.running || !s->setup.c.ops.loaded)
		return;
	redis_load_start(&s->load, time_wall_ms(), show_late, s);
	redis_queue_show(s);
}

static void go(struct store_redis *s)
{
	atomic_store_explicit(&s->gone, true, memory_order_relaxed);
	fail_all(s);
	show_up(s, false);
}

/* What it had taken it may have lost: all is written anew, wherever we find the next. */
static void on_lost(void *arg, bool overdue)
{
	struct store_redis *s = arg;

	s->dirty = true;
	s->outage = loop_now(s->loop);
	redis_load_stop(&s->load);
	redis_rewrite_stop(s);
	take_back(s);
	redis_queue_show(s);
	if (overdue)
		go(s);
	else
		arm_due(s);
}

/* Who refuses may soon serve, or be replaced; what waits has its own time anyway. */
static void on_unreachable(void *arg, bool refused)
{
	struct store_redis *s = arg;

	if ((refused || s->refused) && s->outage &&
	    loop_now(s->loop) - s->outage < s->setup.c.timeout_ms)
		redis_queue_show(s);
	else
		go(s);
}

static const struct redis_client_ops queue_ops = {
	.up = on_up,
	.lost = on_lost,
	.unreachable = on_unreachable,
	.reply = on_reply,
};

/* ---- from other threads ---- */

static void take(struct loop_work *w)
{
	struct store_redis *s = container_of(w, struct store_redis, work);
	struct room room = {0};
	struct redis_list in;
	msec due = loop_now(s->loop) + s->setup.c.timeout_ms;

	redis_list_init(&in);
	pthread_mutex_lock(&s->lock);
	s->thread = pthread_self();
	s->has_thread = true;
	s->posted = false;
	redis_list_put_back(&in, &s->incoming);
	uint64_t missed = s->missed;
	bool overflown = s->overflown;
	s->missed = 0;
	s->overflown = false;
	pthread_mutex_unlock(&s->lock);

	redis_client_start(&s->client);
	if (missed) {
		counter_add(&s->counters.dropped, missed);
		redis_queue_dirty(s);
	}
	while (in.head) {
		struct store_unit *u = redis_list_take(&in);
		bool shell = u->due == 0;
		u->due = due;
		room.shells += shell;
		if (shell)
			finish(s, u, -EIO, &room);
		else
			redis_list_append(&s->waiting, u);
	}
	if (room.rows)
		give_room(s, &room);
	if (overflown) {
		s->full = true;
		fail_all(s);
		redis_queue_show(s);
	}
	if (atomic_load_explicit(&s->gone, memory_order_relaxed))
		fail_all(s);
	redis_queue_pump(s);
}

/* ---- life ---- */

int redis_queue_init(struct store_redis *s)
{
	s->work.run = take;
	redis_list_init(&s->incoming);
	redis_list_init(&s->waiting);
	redis_list_init(&s->held);
	redis_list_init(&s->late);
	wheel_timer_init(&s->due, on_due);
	s->load.client = &s->client;
	s->load.counters = &s->counters;
	redis_rewrite_init(s);
	return redis_client_init(&s->client, s->loop, &s->setup, true, &s->counters, &queue_ops,
				 s);
}

void redis_queue_end(struct store_redis *s)
{
	redis_client_done(&s->client);
	redis_load_stop(&s->load);
	redis_rewrite_stop(s);
	take_back(s);
	fail_all(s);
	wheel_stop(loop_wheel(s->loop), &s->due);
}
