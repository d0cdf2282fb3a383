/*
 * What a node tells the others of its load, once a second, with its heartbeats: the calls that
 * it has under way and how much of one processor it uses.  Nothing is decided by it; an
 * operator sees at one node how all of them are (`cluster status`).
 */
#include "common/app/app_priv.h"

#include "common/base/counter.h"

enum { LOOK_MS = 1000 };

/* Without a final answer: at a home its requests, at an edge the calls to devices behind it. */
static uint32_t calls(const struct app *a)
{
	uint64_t n = 0;
	for (unsigned i = 0; i < a->nworkers; i++) {
		struct stack *s = a->worker[i].view.stack;
		n += counter_get(&proxy_counters(stack_proxy(s))->unanswered);
		n += counter_get(&stack_counters(s)->trying);
	}
	return n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
}

static void look(struct wheel_timer *t, msec now)
{
	struct app *a = container_of(t, struct app, load.timer);
	struct app_load *l = &a->load;
	uint64_t used = time_cpu_ms();
	/* A round of the loop may be late, never early. */
	uint64_t permille = (used - l->cpu_ms) * 1000 / (now - l->at);
	cluster_set_load(a->nodes->cluster, calls(a), (uint32_t)permille);
	l->at = now;
	l->cpu_ms = used;
	wheel_arm(loop_wheel(a->loop), t, now + LOOK_MS);
}

void app_load_start(struct app *a)
{
	struct app_load *l = &a->load;
	if (!a->nodes)
		return;
	l->at = loop_now(a->loop);
	l->cpu_ms = time_cpu_ms();
	wheel_timer_init(&l->timer, look);
	wheel_arm(loop_wheel(a->loop), &l->timer, l->at + LOOK_MS);
}
