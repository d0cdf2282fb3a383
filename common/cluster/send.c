/*
 * The stream to each node: units wait in its ring, leave in batches (all that has gathered, up
 * to 64 KB), and stay until they are acknowledged; what is not is repeated.  For what nobody
 * waits for batches are gathered a little longer: a message costs both sides two threads woken
 * each, however much is in it.  A queue that is full, or whose node is gone, is dropped, and
 * comparison brings what was in it: a slow node costs itself.
 */
#include "common/cluster/cluster_priv.h"

#include <errno.h>
#include <stdlib.h>

enum { RING_FIRST = 64, REPEATED_AT_ONCE = 8, GATHERED_MAX = 256, FULL_MS = 20 };

static struct batch *batch_of(struct outbox *o, uint64_t seq)
{
	return &o->batch[seq % FLIGHT_BATCHES];
}

static struct unit **unit_at(struct outbox *o, uint64_t at)
{
	return &o->ring[at & (o->room - 1)];
}

static void note_bytes(struct peer *p)
{
	atomic_store_explicit(&p->queued_bytes, p->out.bytes, memory_order_relaxed);
}

/* ---- the ring ---- */

static bool ring_room(struct outbox *o)
{
	if (o->tail - o->head < o->room)
		return true;
	uint32_t room = o->room ? o->room * 2 : RING_FIRST;
	struct unit **ring = malloc(room * sizeof(*ring));
	if (!ring)
		return false;
	for (uint64_t at = o->head; at != o->tail; at++)
		ring[at & (room - 1)] = *unit_at(o, at);
	free(o->ring);
	o->ring = ring;
	o->room = room;
	return true;
}

/* All of it, in flight or waiting, is lost to who waits for it. */
static void drop(struct peer *p)
{
	struct outbox *o = &p->out, old = *o;

	wheel_stop(loop_wheel(p->c->loop), &o->timer);
	o->ring = NULL;
	o->room = 0;
	o->bytes = 0;
	o->due = p->hints.n ? o->due : 0;
	o->head = o->sent = o->tail = 0;
	o->first = o->next = 1;
	o->persisted = 0;
	o->repeat_ms = REPEAT_MS;
	note_bytes(p);
	atomic_store_explicit(&p->unpersisted, 0, memory_order_relaxed);
	for (uint64_t at = old.head; at != old.tail; at++) {
		struct unit *u = *unit_at(&old, at);
		place_lost(p->c, u, p->index);
		unit_unref(u);
	}
	free(old.ring);
}

void send_restart(struct peer *p)
{
	drop(p);
	p->out.stream++;
}

void send_end(struct peer *p)
{
	notice_end(p);
	drop(p);
}

static void overflow(struct peer *p)
{
	__atomic_fetch_add(&p->c->counters.queue_full, 1, __ATOMIC_RELAXED);
	if (cluster_may_log(p->c, LOG_FULL))
		log_event(LOG_WARN, "cluster-queue-dropped", log_node(p),
			  LOG_N("bytes", p->out.bytes));
	send_restart(p);
	compare_unsure(p);
}

void send_within(struct peer *p, uint32_t ms)
{
	struct cluster *c = p->c;
	msec due = loop_now(c->loop) + ms;

	if (!p->out.due || due < p->out.due)
		p->out.due = due;
	if (ms == 0)
		gate_post(c, WORK_FLUSH);
	else if (!wheel_armed(&c->gather_timer) || c->gather_timer.due > due)
		wheel_arm(loop_wheel(c->loop), &c->gather_timer, due);
}

bool send_add(struct peer *p, struct unit *u, bool at_once)
{
	struct outbox *o = &p->out;

	if (o->bytes + u->bytes > p->c->conf.queue_bytes || !ring_room(o)) {
		overflow(p);
		return false;
	}
	*unit_at(o, o->tail++) = unit_ref(u);
	o->bytes += u->bytes;
	note_bytes(p);
	at_once |= o->tail - o->sent >= GATHERED_MAX;
	send_within(p, at_once ? 0 : p->c->conf.gather_ms);
	return true;
}

/* ---- batches ---- */

/* The next batch takes what waits. */
static void cut(struct peer *p)
{
	struct outbox *o = &p->out;
	struct batch *b = batch_of(o, o->next++);
	size_t bytes = 0;

	*b = (struct batch){.from = o->sent, .to = o->sent, .sent = loop_now(p->c->loop)};
	while (b->to != o->tail) {
		const struct unit *u = *unit_at(o, b->to);
		bytes += u->bytes - sizeof(*u);
		if (bytes > BATCH_BYTES && b->to != b->from)
			break;
		counter_add(&p->c->counters.records_sent, u->n);
		b->to++;
	}
	o->sent = b->to;
	counter_inc(&p->c->counters.batches_sent);
}

/* Packs a batch, for the first time or again. */
static int send_batch(struct peer *p, uint64_t seq)
{
	struct outbox *o = &p->out;
	const struct batch *b = batch_of(o, seq);
	Eaves__Envelope e = EAVES__ENVELOPE__INIT;
	Eaves__Batch m = EAVES__BATCH__INIT;
	unsigned n = 0;

	for (uint64_t at = b->from; at != b->to; at++)
		n += (*unit_at(o, at))->n;
	p->c->refs.n = 0;
	m.row = (ProtobufCBinaryData *)buffer_room(&p->c->refs, n * sizeof(*m.row));
	if (!m.row)
		return -ENOMEM;
	for (uint64_t at = b->from; at != b->to; at++) {
		const struct unit *u = *unit_at(o, at);
		size_t place = 0;
		for (unsigned i = 0; i < u->n; i++)
			m.row[m.n_row++] = unit_row(u, &place);
	}
	m.stream = o->stream;
	m.seq = seq;
	m.count = n;
	e.body_case = EAVES__ENVELOPE__BODY_BATCH;
	e.batch = &m;
	return wire_send(p, &e);
}

static void arm(struct peer *p)
{
	struct outbox *o = &p->out;
	msec oldest = 0;

	for (uint64_t seq = o->first; seq != o->next; seq++) {
		const struct batch *b = batch_of(o, seq);
		if (!b->got && (!oldest || b->sent < oldest))
			oldest = b->sent;
	}
	if (oldest)
		wheel_arm(loop_wheel(p->c->loop), &o->timer, oldest + o->repeat_ms);
	else
		wheel_stop(loop_wheel(p->c->loop), &o->timer);
}

void send_flush(struct peer *p)
{
	struct outbox *o = &p->out;

	if (!p->open || !p->greeted)
		return;
	bool idle = o->first == o->next;
	/* Who is told that a record is there may count on what was told before it. */
	bool told = notice_flush(p);
	while (told && o->sent != o->tail && o->next - o->first < FLIGHT_BATCHES) {
		cut(p);
		if (send_batch(p, o->next - 1) < 0)
			break; /* the bus is full or broken: later */
	}
	if (!told)
		send_within(p, FULL_MS);
	else if (o->sent == o->tail)
		o->due = 0;
	if (idle && o->first != o->next)
		arm(p);
}

static void say_ack(struct peer *p)
{
	Eaves__Envelope e = EAVES__ENVELOPE__INIT;

	if (p->up)
		wire_send(p, &e);
}

void send_due(struct cluster *c)
{
	msec now = loop_now(c->loop);

	for (unsigned i = 0; i < c->conf.n; i++) {
		struct peer *p = &c->peer[i];
		if (p->out.due && p->out.due <= now)
			send_flush(p);
		if (p->in.ack_due)
			say_ack(p);
	}
}

static void on_gathered(struct wheel_timer *t, msec tick)
{
	struct cluster *c = container_of(t, struct cluster, gather_timer);
	msec now = loop_now(c->loop), next = 0;

	(void)tick;
	send_due(c);
	for (unsigned i = 0; i < c->conf.n; i++) {
		msec due = c->peer[i].out.due;
		if (due > now && (!next || due < next))
			next = due;
	}
	if (next)
		wheel_arm(loop_wheel(c->loop), t, next);
}

/* ---- what was not acknowledged ---- */

static void repeat(struct peer *p, uint64_t seq, msec now)
{
	batch_of(&p->out, seq)->sent = now;
	counter_inc(&p->c->counters.repeated);
	send_batch(p, seq);
}

static void on_repeat(struct wheel_timer *t, msec tick)
{
	struct peer *p = container_of(t, struct peer, out.timer);
	struct outbox *o = &p->out;
	msec now = loop_now(p->c->loop);
	unsigned n = 0;

	(void)tick;
	for (uint64_t seq = o->first; seq != o->next && n < REPEATED_AT_ONCE; seq++) {
		const struct batch *b = batch_of(o, seq);
		if (b->got || now - b->sent < o->repeat_ms)
			continue;
		repeat(p, seq, now);
		n++;
	}
	if (n && o->repeat_ms < REPEAT_MAX_MS)
		o->repeat_ms *= 2;
	arm(p);
}

/* ---- what was ---- */

static void tell_units(struct peer *p, struct batch *b, bool taken)
{
	if (b->got)
		return;
	b->got = true;
	for (uint64_t at = b->from; at != b->to; at++)
		(taken ? place_confirmed : place_lost)(p->c, *unit_at(&p->out, at), p->index);
}

static void forget(struct peer *p, const struct batch *b)
{
	struct outbox *o = &p->out;

	for (uint64_t at = b->from; at != b->to; at++) {
		struct unit *u = *unit_at(o, at);
		o->bytes -= u->bytes;
		unit_unref(u);
	}
	o->head = b->to;
	o->first++;
}

/* Others came after it: lost, or late. */
static void repeat_gaps(struct peer *p, uint64_t last)
{
	msec now = loop_now(p->c->loop);
	unsigned n = 0;

	for (uint64_t seq = p->out.first; seq < last && n < REPEATED_AT_ONCE; seq++) {
		const struct batch *b = batch_of(&p->out, seq);
		if (b->got || now - b->sent < GAP_MS)
			continue;
		repeat(p, seq, now);
		n++;
	}
}

static void note_persisted(struct peer *p, uint64_t persisted)
{
	struct outbox *o = &p->out;

	if (persisted > o->persisted && persisted < o->first)
		o->persisted = persisted;
	atomic_store_explicit(&p->unpersisted, o->first - 1 - o->persisted,
			      memory_order_relaxed);
}

bool send_acked(struct peer *p, const Eaves__Ack *a)
{
	struct outbox *o = &p->out;
	uint64_t before = o->first, last = 0;

	if (a->stream != o->stream)
		return a->stream < o->stream; /* of a stream of before: late */
	if (a->seq >= o->next)
		return false;
	while (o->first <= a->seq) {
		uint64_t back = a->seq - o->first;
		struct batch *b = batch_of(o, o->first);
		tell_units(p, b, back >= 64 || !(a->refused & bit((unsigned)back)));
		if (o->stream != a->stream)
			return true;
		forget(p, b);
	}
	for (uint64_t left = a->ahead; left; left &= left - 1) {
		uint64_t seq = a->seq + 2 + (unsigned)__builtin_ctzll(left);
		if (seq < o->first || seq >= o->next)
			continue;
		tell_units(p, batch_of(o, seq), true);
		last = seq;
	}
	note_persisted(p, a->persisted);
	note_bytes(p);
	if (o->first != before)
		o->repeat_ms = REPEAT_MS;
	repeat_gaps(p, last);
	if (o->sent != o->tail)
		gate_post(p->c, WORK_FLUSH);
	arm(p);
	return true;
}

void send_stop(struct cluster *c)
{
	for (unsigned i = 0; i < c->conf.n; i++)
		send_end(&c->peer[i]);
	wheel_stop(loop_wheel(c->loop), &c->gather_timer);
}

void send_init(struct cluster *c)
{
	wheel_timer_init(&c->gather_timer, on_gathered);
	for (unsigned i = 0; i < c->conf.n; i++) {
		struct outbox *o = &c->peer[i].out;
		wheel_timer_init(&o->timer, on_repeat);
		o->first = o->next = 1;
		o->repeat_ms = REPEAT_MS;
	}
}
