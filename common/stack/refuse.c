/*
 * Messages that have crashed a process before (common/poison): answered without a look by the
 * parser, or dropped.
 */
#include "common/stack/stack_priv.h"

#include "common/base/log.h"

static void log_refused(struct stack *s, const struct sip_flow *f, struct span message,
			uint64_t fingerprint)
{
	char peer[ADDR_TEXT_MAX], text[16];
	if (!log_may(&s->poison_logged, loop_now(s->loop)))
		return;
	mac_hex(fingerprint, text);
	log_event(LOG_WARN, "poison-refused", LOG_S("fingerprint", span_of(text, sizeof(text))),
		  LOG_S("source", span_of(peer, addr_text(&f->remote, peer))),
		  LOG_S("call-id", poison_call_id(message)),
		  LOG_N("so_far", s->counters.poison));
}

/* To where it came from: which place its Via names is not looked at. */
static void answer(struct stack *s, const struct sip_flow *f, struct span message,
		   uint64_t fingerprint)
{
	size_t cap = message.n + POISON_REFUSAL_ROOM, mark = arena_mark(&s->arena);
	char *out = arena_alloc(&s->arena, cap);
	struct iovec iov = {out, out ? poison_refusal(message, fingerprint, out, cap) : 0};
	if (iov.iov_len) {
		counter_inc(&s->counters.replies);
		stack_send(s, f, &iov, 1, 0);
	} else {
		counter_inc(&s->counters.dropped);
	}
	arena_release(&s->arena, mark);
}

bool stack_refuse_poison(struct stack *s, const struct sip_flow *f, struct span message)
{
	uint64_t fingerprint;
	switch (poison_judge(s->group->conf.poison, message, &fingerprint)) {
	case POISON_NONE:
		return false;
	case POISON_ACK:
		counter_inc(&s->counters.acks_absorbed);
		return true;
	case POISON_REFUSED:
		break;
	}
	counter_inc(&s->counters.poison);
	log_refused(s, f, message, fingerprint);
	answer(s, f, message, fingerprint);
	return true;
}

bool stack_is_poison(struct stack *s, struct span message)
{
	uint64_t fingerprint;
	if (!message.n ||
	    poison_judge(s->group->conf.poison, message, &fingerprint) != POISON_REFUSED)
		return false;
	counter_inc(&s->counters.poison);
	return true;
}
