/*
 * What comes from the other nodes: envelopes are read and handed to whom they are for; rows are
 * checked one by one and merged group by group; the node's stream is acknowledged.  Everything
 * from the bus is hostile: a node may be mad, or stolen.
 */
#include "common/cluster/cluster_priv.h"

#include <errno.h>
#include <stdlib.h>

/* ---- acknowledgement ---- */

/* A batch of which the store below has not confirmed everything. */
struct persist {
	struct item item;
	struct list link; /* in its stream; to itself: that is over */
	struct gate *gate;
	struct peer *peer;
	atomic_uint owed; /* answers, and one for the batch itself */
	atomic_bool failed;
	bool complete;
	uint64_t seq;
};

static uint64_t persisted(const struct inbound *in)
{
	if (in->persist_lost)
		return in->persist_lost - 1;
	if (list_empty(&in->persist))
		return in->next - 1;
	return container_of(in->persist.next, struct persist, link)->seq - 1;
}

bool receive_ack(const struct peer *p, Eaves__Ack *ret)
{
	const struct inbound *in = &p->in;

	if (in->stream == 0)
		return false;
	ret->stream = in->stream;
	ret->seq = in->next - 1;
	ret->ahead = in->ahead & ~in->ahead_refused;
	ret->refused = in->refused;
	ret->persisted = persisted(in);
	if (ret->persisted > ret->seq) /* those ahead are not reported */
		ret->persisted = ret->seq;
	return true;
}

static void owe_ack(struct peer *p)
{
	p->in.ack_due = true;
	gate_post(p->c, WORK_FLUSH);
}

/* ---- what the store below has confirmed ---- */

static void persist_free(struct persist *t)
{
	list_remove(&t->link);
	gate_unref(t->gate);
	free(t);
}

/* In the loop's thread: everything of the batch was answered.  It is told with the next
 * message, whatever that is. */
static void on_persisted(struct cluster *c, struct item *it)
{
	struct persist *t = container_of(it, struct persist, item);

	if (!c || list_empty(&t->link)) {
		persist_free(t);
		return;
	}
	struct inbound *in = &t->peer->in;
	t->complete = true;
	while (!list_empty(&in->persist)) {
		t = container_of(in->persist.next, struct persist, link);
		if (!t->complete)
			break;
		if (atomic_load(&t->failed) && !in->persist_lost)
			in->persist_lost = t->seq;
		persist_free(t);
	}
}

/* From any thread. */
static void persist_done(void *arg, int error)
{
	struct persist *t = arg;
	struct gate *g = t->gate;

	if (error)
		atomic_store(&t->failed, true);
	if (atomic_fetch_sub(&t->owed, 1) != 1)
		return;
	gate_ref(g);
	gate_answer(g, &t->item);
}

/* Who has answered is freed; the others are by their last answer. */
static void persist_clear(struct inbound *in)
{
	while (!list_empty(&in->persist)) {
		struct persist *t = container_of(in->persist.next, struct persist, link);
		if (t->complete)
			persist_free(t);
		else
			list_remove(&t->link);
	}
}

static struct persist *persist_new(struct peer *p, uint64_t seq)
{
	struct persist *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->item.run = on_persisted;
	t->gate = p->c->gate;
	gate_ref(t->gate);
	t->peer = p;
	atomic_init(&t->owed, 1);
	t->seq = seq;
	struct list *at = p->in.persist.prev; /* by number, for those that came late */
	while (at != &p->in.persist && container_of(at, struct persist, link)->seq > seq)
		at = at->prev;
	list_insert_after(at, &t->link);
	return t;
}

/* ---- rows ---- */

struct run {
	struct peer *p;
	struct persist *persist;
	uint64_t wall_ms;
	unsigned n, taken, refused;
	int error;
	struct record_version newest; /* of what is not deleted */
	struct record v[RECORDS_BATCH_MAX];
};

static bool sound(const struct store_row *r)
{
	return r->kind > 0 && r->kind <= RECORD_KIND_MAX && r->group.n > 0 &&
	       r->group.n <= RECORDS_GROUP_MAX_BYTES && r->name.n <= RECORDS_NAME_MAX_BYTES &&
	       r->body.n <= RECORDS_BODY_MAX_BYTES && r->hlc != 0 &&
	       (!r->deleted || (r->body.n == 0 && r->expires_ms != 0));
}

static struct log_field log_kind(unsigned kind)
{
	const char *name = record_kind_name(kind);
	return name ? LOG_STR("kind", name) : LOG_N("kind", kind);
}

static void refuse(struct run *t, const struct store_row *r, const char *why)
{
	struct cluster *c = t->p->c;

	t->refused++;
	counter_inc(&c->counters.refused_records);
	if (cluster_may_log(c, LOG_REFUSED))
		log_event(LOG_WARN, "cluster-record-refused", log_node(t->p), log_kind(r->kind),
			  LOG_STR("why", why),
			  LOG_N("so_far", counter_get(&c->counters.refused_records)));
}

static void run_merge(struct run *t)
{
	struct cluster *c = t->p->c;
	struct persist *persist = t->persist;

	if (t->n == 0)
		return;
	if (persist)
		atomic_fetch_add(&persist->owed, 1);
	int rc = records_merge(c->records, t->v, t->n, t->wall_ms,
			       persist ? persist_done : NULL, persist);
	if (rc < 0) {
		if (persist)
			atomic_fetch_sub(&persist->owed, 1);
		t->error = rc;
	} else {
		t->taken += (unsigned)rc;
	}
	t->n = 0;
}

/* Must what has gathered be merged before this one? */
static bool run_ends(const struct run *t, const struct store_row *r)
{
	if (t->n == 0)
		return false;
	if (t->n == RECORDS_BATCH_MAX || !span_eq(t->v[0].group, r->group))
		return true;
	for (unsigned i = 0; i < t->n; i++)
		if (t->v[i].kind == r->kind && span_eq(t->v[i].name, r->name))
			return true;
	return false;
}

/* Why it is not taken, or NULL. */
static const char *fault_of(const struct run *t, ProtobufCBinaryData data,
			    struct store_row *ret)
{
	struct cluster *c = t->p->c;

	if (!row_read(c, data, ret) || !sound(ret))
		return "it is no record";
	if (ret->hlc >> 16 > t->wall_ms + RECORDS_DRIFT_MAX_MS)
		return "it is of a time more than an hour ahead: look at the clocks";
	if (!c->ops.may_write(c->ops.arg, t->p->index, ret))
		return "that node may not write it";
	return NULL;
}

static void take_row(struct run *t, ProtobufCBinaryData data)
{
	struct store_row r = {0};

	const char *fault = fault_of(t, data, &r);
	if (fault) {
		refuse(t, &r, fault);
		return;
	}
	if (r.deleted && r.expires_ms <= t->wall_ms)
		return; /* it would be forgotten at once */
	if (run_ends(t, &r))
		run_merge(t);
	if (!r.deleted && r.hlc > t->newest.hlc)
		t->newest = (struct record_version){r.hlc, r.node};
	t->v[t->n++] = (struct record){
		.kind = r.kind,
		.deleted = r.deleted,
		.group = r.group,
		.name = r.name,
		.version = {r.hlc, r.node},
		.expires_ms = r.expires_ms,
		.body = r.body,
	};
}

static void take_rows(struct run *t, size_t n, const ProtobufCBinaryData *row)
{
	for (size_t i = 0; i < n && t->error == 0; i++)
		take_row(t, row[i]);
	run_merge(t);
}

int receive_rows(struct peer *p, size_t n, const ProtobufCBinaryData *row)
{
	struct run t = {.p = p, .wall_ms = time_wall_ms()};

	take_rows(&t, n, row);
	return t.error ? t.error : (int)t.taken;
}

/* ---- batches ---- */

/* The batch `next`, and those behind it that came before. */
static void advance(struct inbound *in, bool refused)
{
	for (;;) {
		in->refused = in->refused << 1 | refused;
		in->next++;
		bool more = in->ahead & 1;
		refused = in->ahead_refused & 1;
		in->ahead >>= 1;
		in->ahead_refused >>= 1;
		if (!more)
			return;
	}
}

static void took(struct inbound *in, uint64_t seq, bool refused)
{
	if (seq == in->next) {
		advance(in, refused);
		return;
	}
	uint64_t b = bit((unsigned)(seq - in->next - 1));
	in->ahead |= b;
	if (refused)
		in->ahead_refused |= b;
}

static bool was_taken(const struct inbound *in, uint64_t seq)
{
	return seq < in->next ||
	       (seq > in->next && (in->ahead & bit((unsigned)(seq - in->next - 1))));
}

static void new_stream(struct peer *p, uint64_t stream)
{
	struct inbound *in = &p->in;

	persist_clear(in);
	*in = (struct inbound){.stream = stream, .next = 1};
	list_init(&in->persist);
}

/* Its threads write side by side: what is so much older has come before. */
enum { SIDE_BY_SIDE_MS = 100 };

static bool is_whole(const struct peer *p)
{
	return !p->sweep.unsure && !p->in.ahead;
}

/* A live record in a stream is the sender's own.  With nothing missing before it all that it
 * wrote earlier has come. */
static void note_heard(struct peer *p, const struct run *t)
{
	const uint64_t back = (uint64_t)SIDE_BY_SIDE_MS << 16;
	struct record_version v = t->newest;

	if (t->refused || !is_whole(p) || v.hlc <= back)
		return;
	p->in.newest = v;
	p->in.newest_at = loop_now(p->c->loop);
	v.hlc -= back;
	records_heard(p->c->records, v);
}

void receive_quiet(struct peer *p)
{
	if (p->in.newest.hlc && is_whole(p) &&
	    loop_now(p->c->loop) - p->in.newest_at >= SIDE_BY_SIDE_MS)
		records_heard(p->c->records, p->in.newest);
}

static void merge_batch(struct peer *p, const Eaves__Batch *b)
{
	struct cluster *c = p->c;
	struct run t = {.p = p, .wall_ms = time_wall_ms()};

	if (c->below.store && c->below.is_place) {
		t.persist = persist_new(p, b->seq);
		if (!t.persist)
			return; /* as if it had been lost */
	}
	take_rows(&t, b->n_row, b->row);
	/* Not all fitted: it is not acknowledged, and comes again. */
	if (t.error == 0) {
		counter_inc(&c->counters.batches_received);
		counter_add(&c->counters.records_received, b->n_row);
		if (b->seq == p->in.next)
			note_heard(p, &t);
		took(&p->in, b->seq, t.refused > 0);
		owe_ack(p);
	} else if (t.persist) {
		list_remove(&t.persist->link);
	}
	if (t.persist)
		persist_done(t.persist, 0);
}

static bool on_batch(struct peer *p, const Eaves__Batch *b)
{
	struct inbound *in = &p->in;

	if (b->stream == 0 || b->seq == 0 || b->n_row == 0 || b->count != b->n_row)
		return false;
	if (b->stream < in->stream)
		return true; /* late */
	if (b->stream > in->stream) {
		bool first = in->stream == 0;
		new_stream(p, b->stream);
		if (!first) /* it has dropped what was on its way */
			compare_unsure(p);
	}
	if (b->seq > in->next && b->seq - in->next > FLIGHT_BATCHES)
		return false;
	if (was_taken(in, b->seq))
		owe_ack(p);
	else
		merge_batch(p, b);
	return true;
}

/* ---- envelopes ---- */

static bool deliver(struct peer *p, const Eaves__Envelope *e)
{
	switch (e->body_case) {
	case EAVES__ENVELOPE__BODY_HEARTBEAT:
		live_heartbeat(p, e->heartbeat);
		return true;
	case EAVES__ENVELOPE__BODY_BATCH:
		return on_batch(p, e->batch);
	case EAVES__ENVELOPE__BODY_DIGESTS:
		return compare_digests(p, e->digests);
	case EAVES__ENVELOPE__BODY_DIFFERENCES:
		return compare_differences(p, e->differences);
	case EAVES__ENVELOPE__BODY_ASK:
		return pull_ask(p, e->ask);
	case EAVES__ENVELOPE__BODY_ROWS:
		return pull_rows(p, e->rows);
	case EAVES__ENVELOPE__BODY_NOTICE:
		return notice_receive(p, e->notice);
	case EAVES__ENVELOPE__BODY_ADMIN_CALL:
		return admin_call(p, e->admin_call);
	case EAVES__ENVELOPE__BODY_ADMIN_REPLY:
		return admin_reply(p, e->admin_reply);
	default:
		return true; /* nothing, or of a newer version */
	}
}

static void bad_message(struct peer *p, size_t n)
{
	counter_inc(&p->c->counters.bad_messages);
	if (cluster_may_log(p->c, LOG_BAD))
		log_event(LOG_WARN, "cluster-message-refused", log_node(p), LOG_N("bytes", n));
}

void cluster_receive(struct cluster *c, unsigned node, struct span bytes)
{
	struct peer *p = peer_of(c, node);

	if (!p || !c->started)
		return;
	Eaves__Envelope *e = wire_read(c, bytes);
	if (!e) {
		bad_message(p, bytes.n);
		return;
	}
	if (!wire_speaks(e->version, e->oldest)) {
		live_stranger(p, "no version in common");
		return;
	}
	if (e->body_case == EAVES__ENVELOPE__BODY_HELLO) {
		if (!live_hello(p, e->boot, e->hello))
			return;
	} else if (e->boot != p->boot) {
		return; /* of a start before this one, or before its hello */
	}
	atomic_store_explicit(&p->version, e->version, memory_order_relaxed);
	if (!p->greeted && e->peer_boot == c->conf.boot) {
		p->greeted = true;
		gate_post(c, WORK_FLUSH);
	}
	if (e->body_case == EAVES__ENVELOPE__BODY_HEARTBEAT)
		live_back(p, e->heartbeat);
	live_heard(p);
	if (!p->open || e->peer_boot != c->conf.boot)
		return; /* not for this start of ours */
	if (e->ack && !send_acked(p, e->ack))
		bad_message(p, bytes.n);
	if (!deliver(p, e))
		bad_message(p, bytes.n);
}

void receive_restart(struct peer *p)
{
	new_stream(p, 0);
}

void receive_init(struct cluster *c)
{
	for (unsigned i = 0; i < c->conf.n; i++) {
		list_init(&c->peer[i].in.persist);
		c->peer[i].in.next = 1;
	}
}

void receive_end(struct cluster *c)
{
	for (unsigned i = 0; i < c->conf.n; i++)
		persist_clear(&c->peer[i].in);
}
