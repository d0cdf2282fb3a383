/*
 * Messages for a phone that is just coming back: what cannot be delivered because its
 * connection went with a node is taken in again a little later, as if it had just arrived,
 * until the phone is there or the time is over.
 */
#include "common/stack/stack_priv.h"

#include "common/sip/stamp.h"

#include <stdlib.h>

enum { AGAIN_MS = 100, WAIT_MS = 5000, DEFERRED_MAX = 10000 };

struct deferred {
	struct wheel_timer timer;
	struct list link;
	struct stack *s;
	struct sip_flow flow;
	uint32_t marks;
	msec since;
	uint32_t n, cap;
	char buf[];
};

static void again(struct wheel_timer *t, msec now)
{
	struct deferred *d = container_of(t, struct deferred, timer);
	struct stack *s = d->s;
	(void)now;
	list_remove(&d->link);
	counter_dec(&s->counters.deferring);
	s->deferred_since = d->since;
	if (!stack_refuse_poison(s, &d->flow, span_of(d->buf, d->n)))
		stack_deliver(s, &d->flow, d->buf, d->n, d->cap, d->marks, false);
	s->deferred_since = 0;
	free(d);
}

bool stack_defer(struct stack *s, const struct sip_flow *f, const struct sip_msg *m,
		 uint32_t marks)
{
	msec now = loop_now(s->loop);
	msec since = s->deferred_since ? s->deferred_since : now;
	struct deferred *d;
	if (now >= since + WAIT_MS || s->counters.deferring >= DEFERRED_MAX ||
	    !(d = malloc(sizeof(*d) + m->len + SIP_STAMP_ROOM)))
		return false;
	*d = (struct deferred){.s = s,
			       .flow = *f,
			       .marks = marks,
			       .since = since,
			       .n = m->len,
			       .cap = m->len + SIP_STAMP_ROOM};
	memcpy(d->buf, m->base, m->len);
	wheel_timer_init(&d->timer, again);
	list_append(&s->deferred, &d->link);
	counter_inc(&s->counters.deferring);
	counter_inc(&s->counters.deferred);
	wheel_arm(loop_wheel(s->loop), &d->timer, now + AGAIN_MS);
	return true;
}

void stack_defer_free(struct stack *s)
{
	list_for_each_safe (it, &s->deferred) {
		struct deferred *d = container_of(it, struct deferred, link);
		wheel_stop(loop_wheel(s->loop), &d->timer);
		list_remove(&d->link);
		free(d);
	}
}
