/*
 * Messages for a phone that is just coming back: what cannot be delivered because its
 * connection went with a node is taken in again a little later, as if it had just arrived,
 * until the phone is there or the time is over.  Requests of one call to one device stay in
 * their order, those that come meanwhile too: a CANCEL that has overtaken its INVITE would have
 * the phone ring.
 *
 * Bounded by number and by bytes (as kept.c is).  Part of the room is for those that wait for
 * others, and what has waited once keeps its place: it is refused for its time alone.
 */
#include "common/stack/stack_priv.h"

#include "common/sip/stamp.h"

#include <stdlib.h>
#include <string.h>

/* BEHIND_MAX: with those that wait for others, which are not to overtake them for want of room;
 * of the bytes a quarter is theirs.
 */
enum { AGAIN_MS = 100, WAIT_MS = 5000, DEFERRED_MAX = 10000, BEHIND_MAX = 2 * DEFERRED_MAX };

struct deferred {
	struct wheel_timer timer;
	struct list link;
	struct list bucket;
	struct stack *s;
	struct sip_flow flow;
	uint32_t marks;
	uint64_t key, txn, number; /* key: 0 of a response */
	msec since;
	uint32_t n, cap;
	char buf[];
};

/* The device: by the name that a home gives it in the branch's Via, which stays when it
 * registers anew; else by its contact and its Path. */
static uint64_t key_of(const struct stack *s, const struct sip_msg *m)
{
	const struct sip_param *name;
	struct sip_via top;
	struct mac k;
	if (!m->is_request)
		return 0;
	mac_init(&k, &s->owner_key);
	mac_add(&k, m->call_id);
	if (sip_msg_top_via(m, &top) == 0 && (name = sip_params_find(&top.params, SPAN("b")))) {
		mac_add(&k, name->value);
	} else {
		mac_add(&k, m->uri);
		mac_add(&k, sip_msg_value(m, SIP_HDR_ROUTE));
	}
	return mac_final(&k) | 1;
}

static struct list *bucket_of(struct stack *s, uint64_t key)
{
	return &s->deferred_by[(key >> 32) % STACK_DEFERRED_BUCKETS];
}

/* Does one of those that came before wait still? */
static bool is_behind(struct stack *s, uint64_t key, uint64_t number)
{
	list_for_each (it, bucket_of(s, key)) {
		const struct deferred *d = container_of(it, struct deferred, bucket);
		if (d->key == key && d->number < number)
			return true;
	}
	return false;
}

/* Whose it is, and of which transaction (17.2.3): the way that it came is counted in a message
 * (Max-Forwards). */
static uint64_t txn_of(const struct stack *s, const struct sip_flow *f, const struct sip_msg *m)
{
	struct sip_via top;
	struct mac k;
	mac_init(&k, &s->owner_key);
	mac_add_u64(&k, f->node);
	mac_add(&k, m->method_text);
	mac_add_u64(&k, m->cseq);
	if (sip_msg_top_via(m, &top) == 0)
		mac_add(&k, top.branch);
	return mac_final(&k);
}

/* Once more by another way, or repeated by its sender: its first one does.  But where an INVITE
 * has come in between, which is sent again with its CANCEL, that one stays behind it. */
static bool waits_already(struct stack *s, uint64_t key, uint64_t txn, enum sip_method method)
{
	list_for_each (it, bucket_of(s, key)) {
		struct deferred *d = container_of(it, struct deferred, bucket);
		if (d->key != key || d->txn != txn)
			continue;
		if (method == SIP_CANCEL)
			d->number = ++s->deferred_number;
		return true;
	}
	return false;
}

static size_t size_of(const struct deferred *d)
{
	return sizeof(*d) + d->cap;
}

static void begin_to_wait(struct deferred *d)
{
	struct stack *s = d->s;
	list_append(&s->deferred, &d->link);
	list_append(bucket_of(s, d->key), &d->bucket);
	counter_inc(&s->counters.deferring);
	counter_add(&s->counters.deferring_bytes, size_of(d));
	counter_inc(&s->counters.deferred);
	wheel_arm(loop_wheel(s->loop), &d->timer, loop_now(s->loop) + AGAIN_MS);
}

static void end_to_wait(struct deferred *d)
{
	struct stack *s = d->s;
	wheel_stop(loop_wheel(s->loop), &d->timer);
	list_remove(&d->link);
	list_remove(&d->bucket);
	counter_dec(&s->counters.deferring);
	counter_add(&s->counters.deferring_bytes, -size_of(d));
}

static bool waits(const struct deferred *d)
{
	return !list_empty(&d->link);
}

static void again(struct wheel_timer *t, msec now)
{
	struct deferred *d = container_of(t, struct deferred, timer);
	struct stack *s = d->s;
	if (d->key && is_behind(s, d->key, d->number)) {
		wheel_arm(loop_wheel(s->loop), t, now + AGAIN_MS);
		return;
	}
	end_to_wait(d);
	s->redelivered = d;
	if (!stack_refuse_poison(s, &d->flow, span_of(d->buf, d->n)))
		stack_deliver(s, &d->flow, d->buf, d->n, d->cap, d->marks, false);
	s->redelivered = NULL;
	if (!waits(d))
		free(d);
}

/* The message at work where it stands, which has waited and is to wait again. */
static bool same(const struct deferred *d, const struct sip_msg *m)
{
	return d && !waits(d) && m->base == d->buf && d->cap >= m->len + SIP_STAMP_ROOM;
}

static bool has_room(const struct stack *s, size_t more, bool behind)
{
	size_t max = s->group->conf.net.link_bytes_max;
	if (!behind)
		max -= max / 4;
	return s->counters.deferring < (behind ? BEHIND_MAX : DEFERRED_MAX) &&
	       s->counters.deferring_bytes + more <= max;
}

/* NULL: no memory. */
static struct deferred *copy(struct stack *s, const struct sip_msg *m)
{
	const struct deferred *before = s->redelivered;
	uint32_t cap = m->len + SIP_STAMP_ROOM;
	struct deferred *d = malloc(sizeof(*d) + cap);
	if (!d)
		return NULL;
	*d = (struct deferred){.s = s,
			       .number = before ? before->number : ++s->deferred_number,
			       .since = before ? before->since : loop_now(s->loop),
			       .cap = cap};
	memcpy(d->buf, m->base, m->len);
	wheel_timer_init(&d->timer, again);
	return d;
}

static bool defer(struct stack *s, const struct sip_flow *f, const struct sip_msg *m,
		  uint32_t marks, bool behind)
{
	struct deferred *d = s->redelivered;
	if (d && loop_now(s->loop) >= d->since + WAIT_MS)
		return false;
	uint64_t key = key_of(s, m), txn = key ? txn_of(s, f, m) : 0;
	if (!d && key && waits_already(s, key, txn, m->method))
		return true;
	if (!same(d, m)) {
		size_t size = sizeof(*d) + m->len + SIP_STAMP_ROOM;
		if (!has_room(s, size, behind) || !(d = copy(s, m))) {
			counter_inc(&s->counters.deferred_full);
			return false;
		}
	}
	d->flow = *f;
	d->marks = marks;
	d->key = key;
	d->txn = txn;
	d->n = m->len;
	begin_to_wait(d);
	return true;
}

bool stack_defer(struct stack *s, const struct sip_flow *f, const struct sip_msg *m,
		 uint32_t marks)
{
	return defer(s, f, m, marks, false);
}

bool stack_waits_its_turn(struct stack *s, const struct sip_flow *f, const struct sip_msg *m,
			  uint32_t marks)
{
	return s->counters.deferring && !s->redelivered &&
	       is_behind(s, key_of(s, m), UINT64_MAX) && defer(s, f, m, marks, true);
}

bool stack_has_waited(const struct stack *s)
{
	return s->redelivered != NULL;
}

void stack_defer_init(struct stack *s)
{
	list_init(&s->deferred);
	for (unsigned i = 0; i < STACK_DEFERRED_BUCKETS; i++)
		list_init(&s->deferred_by[i]);
}

void stack_defer_free(struct stack *s)
{
	list_for_each_safe (it, &s->deferred) {
		struct deferred *d = container_of(it, struct deferred, link);
		end_to_wait(d);
		free(d);
	}
}
