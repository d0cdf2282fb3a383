/*
 * common/store/redis_link.c over the simulated network, for the product's own client of Redis,
 * with its queue, scripts and rewriting: what a flush writes is a message.  Reading everything
 * at the start, which waits for it, takes no time here.
 */
#include "common/store/redis_parts.h"

#include "tests/sim/redis.h"
#include "tests/sim/rim.h"
#include "tests/sim/stream.h"
#include "tests/sim/trace.h"

#include <errno.h>
#include <stdlib.h>

struct flight {
	unsigned tag;
	msec due;
};
struct redis_link {
	struct node_part part;
	struct loop *loop;
	const struct redis_link_ops *ops;
	void *arg;
	uint32_t timeout_ms;
	struct wheel_timer timer;
	struct stream_end *end; /* NULL: it is gone */
	bool connecting, gone;
	unsigned refs;
	struct flight flight[REDIS_INFLIGHT_MAX];
	unsigned at, n;
	size_t out_n, out_room;
	char *out;
	unsigned rows, reads; /* in it, for the ladder */
	redisReader *reader;
};

static void unref(struct redis_link *k)
{
	if (--k->refs)
		return;
	redisReaderFree(k->reader);
	free(k->out);
	free(k);
}

static void tear_down(struct redis_link *k)
{
	wheel_stop(loop_wheel(k->loop), &k->timer);
	if (k->end)
		stream_close(k->end);
	k->end = NULL;
	if (!k->gone)
		list_remove(&k->part.link);
	k->gone = true;
}

struct redis_link *redis_link_free(struct redis_link *k)
{
	if (!k)
		return NULL;
	tear_down(k);
	unref(k);
	return NULL;
}

/* Whoever calls it has a reference. */
static void give_up(struct redis_link *k, const char *why, bool overdue)
{
	if (k->gone)
		return;
	tear_down(k);
	k->ops->closed(k->arg, why, overdue);
	unref(k);
}

/* ---- time ---- */

static void arm(struct redis_link *k)
{
	if (!k->gone && k->n && !k->connecting && !wheel_armed(&k->timer))
		wheel_arm(loop_wheel(k->loop), &k->timer, k->flight[k->at].due);
}

static void on_timer(struct wheel_timer *t, msec now)
{
	struct redis_link *k = container_of(t, struct redis_link, timer);
	k->refs++;
	if (k->connecting)
		give_up(k, "no connection in time", true);
	else if (k->n && k->flight[k->at].due <= now)
		give_up(k, "no answer in time", true);
	else
		arm(k);
	unref(k);
}

/* ---- sending ---- */

static void add(struct redis_link *k, const char *p, size_t n)
{
	if (k->out_n + n > k->out_room) {
		k->out_room = 2 * (k->out_n + n);
		k->out = realloc(k->out, k->out_room);
		if (!k->out)
			abort();
	}
	memcpy(k->out + k->out_n, p, n);
	k->out_n += n;
}

static void add_number(struct redis_link *k, char type, size_t v)
{
	char line[32];
	add(k, line, (size_t)snprintf(line, sizeof(line), "%c%zu\r\n", type, v));
}

void redis_link_begin(struct redis_link *k, unsigned tag, unsigned argc)
{
	if (k->gone || k->n == REDIS_INFLIGHT_MAX)
		abort(); /* the pipeline is shorter */
	k->flight[(k->at + k->n) % REDIS_INFLIGHT_MAX].tag = tag;
	k->rows += tag == REDIS_TAG_WRITE ? (argc - 6) / 5 : 0;
	k->reads += tag == REDIS_TAG_READ;
	add_number(k, '*', argc);
}

void redis_link_arg(struct redis_link *k, const struct span *piece, unsigned n)
{
	size_t all = 0;
	for (unsigned i = 0; i < n; i++)
		all += piece[i].n;
	add_number(k, '$', all);
	for (unsigned i = 0; i < n; i++)
		if (piece[i].n)
			add(k, piece[i].p, piece[i].n);
	add(k, "\r\n", 2);
}

int redis_link_end(struct redis_link *k)
{
	k->flight[(k->at + k->n) % REDIS_INFLIGHT_MAX].due = loop_now(k->loop) + k->timeout_ms;
	k->n++;
	return 0;
}

void redis_link_secret(struct redis_link *k)
{
	(void)k;
}

unsigned redis_link_inflight(const struct redis_link *k)
{
	return k->n;
}

static void note(struct redis_link *k)
{
	char what[32];
	unsigned rows = k->rows, reads = k->reads;
	k->rows = k->reads = 0;
	if (!(rows || (reads && trace_is_all_bus())) || !trace_is_counting())
		return;
	snprintf(what, sizeof(what), rows ? "redis %u rows" : "redis read", rows);
	trace_bus(loop_node(k->loop)->host, redis_host(), what, false);
}

void redis_link_flush(struct redis_link *k)
{
	if (k->gone || k->connecting)
		return;
	arm(k);
	if (k->out_n == 0)
		return;
	const struct span out = span_of(k->out, k->out_n);
	k->out_n = 0;
	if (!k->end || node_is_mute())
		return;
	stream_write(k->end, out);
	note(k);
}

/* ---- receiving ---- */

bool redis_reply_text(const redisReply *r, const char *text)
{
	return (r->type == REDIS_REPLY_STRING || r->type == REDIS_REPLY_STATUS) &&
	       span_eq(span_of(r->str, r->len), span_str(text));
}

static void deliver(struct redis_link *k, const redisReply *r)
{
	if (k->n == 0)
		abort();
	unsigned tag = k->flight[k->at].tag;
	k->at = (k->at + 1) % REDIS_INFLIGHT_MAX;
	k->n--;
	wheel_stop(loop_wheel(k->loop), &k->timer);
	k->ops->reply(k->arg, tag, r);
}

static void read_replies(struct redis_link *k, struct span bytes)
{
	void *r = NULL;
	redisReaderFeed(k->reader, bytes.p, bytes.n);
	while (!k->gone && redisReaderGetReply(k->reader, &r) == REDIS_OK && r) {
		deliver(k, r);
		freeReplyObject(r);
	}
	arm(k);
}

enum happening { HAPPENS_OPEN, HAPPENS_BYTES, HAPPENS_END };

/* In the loop's round; has its own reference. */
static void happen(struct redis_link *k, enum happening what, struct span bytes)
{
	if (!k->gone && what == HAPPENS_OPEN) {
		k->connecting = false;
		wheel_stop(loop_wheel(k->loop), &k->timer);
		k->ops->connected(k->arg);
		redis_link_flush(k);
	} else if (!k->gone && what == HAPPENS_BYTES) {
		read_replies(k, bytes);
	} else if (what == HAPPENS_END) {
		give_up(k, "closed by the server", false);
	}
	unref(k);
}

struct late {
	struct loop_in in;
	struct redis_link *k;
	enum happening what;
	size_t n;
	char bytes[];
};

static void run_late(struct loop_in *in)
{
	struct late *d = container_of(in, struct late, in);
	happen(d->k, d->what, span_of(d->bytes, d->n));
	free(d);
}

static void drop_late(struct loop_in *in)
{
	free(container_of(in, struct late, in));
}

static void input(struct redis_link *k, enum happening what, struct span bytes)
{
	struct loop *l = k->loop;
	k->refs++;
	if (loop_enter(l)) {
		happen(k, what, bytes);
		loop_leave(l);
		return;
	}
	struct late *d = sim_alloc(sizeof(*d) + bytes.n);
	d->in = (struct loop_in){.run = run_late, .drop = drop_late};
	d->k = k;
	d->what = what;
	if (bytes.n)
		memcpy(d->bytes, bytes.p, d->n = bytes.n);
	loop_defer(l, &d->in);
}

static void on_opened(void *arg)
{
	input(arg, HAPPENS_OPEN, SPAN(""));
}

static void on_message(void *arg, struct span bytes)
{
	input(arg, HAPPENS_BYTES, bytes);
}

static void on_closed(void *arg, int error)
{
	struct redis_link *k = arg;
	(void)error;
	k->end = NULL;
	input(k, HAPPENS_END, SPAN(""));
}

static const struct stream_ops stream_ops = {on_opened, on_message, on_closed};

/* ---- life ---- */

static void on_kill(struct node_part *p, bool silent)
{
	struct redis_link *k = container_of(p, struct redis_link, part);
	k->gone = true;
	if (k->end && silent)
		stream_drop(k->end);
	else if (k->end)
		stream_close(k->end);
	k->end = NULL;
}

struct redis_link *redis_link_new(struct loop *l, const struct addr *to, uint32_t timeout_ms,
				  const struct redis_link_ops *ops, void *arg)
{
	struct redis_link *k = sim_alloc(sizeof(*k));
	struct host *h = loop_node(l)->host;
	k->loop = l;
	k->ops = ops;
	k->arg = arg;
	k->timeout_ms = timeout_ms;
	k->connecting = true;
	k->refs = 1;
	k->reader = redisReaderCreate();
	wheel_timer_init(&k->timer, on_timer);
	wheel_arm(loop_wheel(l), &k->timer, loop_now(l) + timeout_ms);
	k->end = stream_open(h, &h->addr, to, &stream_ops, k);
	stream_set_quiet(k->end);
	k->part.kill = on_kill;
	node_add_part(&k->part);
	return k;
}

/* ---- at the start ---- */

struct start {
	struct store_redis *s;
	uint64_t wall_ms;
	int (*each)(void *arg, const struct store_row *row);
	void *arg;
	int rc;
};

static bool show(void *arg, const struct redis_field *f)
{
	struct start *st = arg;
	struct store_row row;
	if (redis_row_read(&st->s->setup, f->key, f->name, f->value, st->wall_ms, &row) < 0)
		abort();
	if (!row.expires_ms || row.expires_ms > st->wall_ms)
		st->rc = st->each(st->arg, &row);
	return st->rc >= 0;
}

int __wrap_redis_load_now(struct store_redis *s, uint64_t wall_ms,
			  int (*each)(void *arg, const struct store_row *row), void *arg);
int __wrap_redis_load_now(struct store_redis *s, uint64_t wall_ms,
			  int (*each)(void *arg, const struct store_row *row), void *arg)
{
	struct start st = {s, wall_ms, each, arg, 0};
	if (redis_serves(loop_node(s->loop)->host)) {
		redis_keys_each(redis_contents(), show, &st);
		s->load.complete = st.rc >= 0;
	}
	return st.rc < 0 ? st.rc : 0;
}
