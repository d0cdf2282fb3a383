/*
 * The end of a process: no answer that is due is lost.  What the store still owes (200 to
 * REGISTER) leaves before the sockets close; whoever is impatient signals twice.
 *
 * A node of a cluster tells the others first that it wants nothing new, and hangs up on its
 * phones, so that they know at once and find the other member; then its service address may
 * go.  It goes on with what still comes and what it has, for drain_s at most; what is not
 * answered by then is left to the other member.
 */
#include "common/app/app_priv.h"

#include "common/base/counter.h"

#include <stdlib.h>
#include <sys/resource.h>

enum { DRAIN_MS = 2000, LOOK_MS = 16, TWICE_MS = 300, RELEASE_MS = 20, HEARTBEATS = 2 };

void app_raise_limits(void)
{
	struct rlimit l;
	if (getrlimit(RLIMIT_NOFILE, &l) < 0)
		return;
	rlim_t before = l.rlim_cur;
	l.rlim_cur = l.rlim_max;
	if (before != l.rlim_cur && setrlimit(RLIMIT_NOFILE, &l) < 0)
		l.rlim_cur = before;
	log_event(LOG_INFO, "limits", LOG_N("descriptors", (uint64_t)l.rlim_cur));
}

/* Without an answer, or kept for a phone that is just coming back. */
static uint64_t under_way(const struct app *a)
{
	uint64_t n = 0;
	for (unsigned i = 0; i < a->nworkers; i++) {
		struct stack *s = a->worker[i].view.stack;
		n += counter_get(&proxy_counters(stack_proxy(s))->unanswered);
		n += counter_get(&stack_counters(s)->deferring);
	}
	return n;
}

static void log_left(const struct app *a, uint64_t n)
{
	if (app_other_serves(a))
		log_event(LOG_INFO, "requests-left", LOG_N("requests", n));
	else
		log_event(LOG_WARN, "requests-abandoned", LOG_N("requests", n));
}

/* Every node has been told, and what they had sent before has come. */
static bool settled(const struct app *a, msec now)
{
	return !a->nodes ||
	       now >= a->service.since + HEARTBEATS * a->conf->conf->cluster.heartbeat_ms;
}

static void look(struct wheel_timer *t, msec now)
{
	struct app *a = container_of(t, struct app, drain);
	uint64_t n = under_way(a);
	if (a->nodes && !a->released && now >= a->service.since + RELEASE_MS) {
		a->released = true; /* the workers have hung up */
		app_serve_release(a);
	}
	if ((n > 0 || !settled(a, now) || admin_busy(a->admin)) && now < a->drain_until) {
		wheel_arm(loop_wheel(a->loop), t, now + LOOK_MS);
		return;
	}
	if (n > 0)
		log_left(a, n);
	loop_stop(a->loop);
}

void app_drain(struct app *a)
{
	msec now = loop_now(a->loop);
	if (app_phase(a) == APP_DRAINING) {
		/* A terminal and a script's trap may both tell us of one Ctrl-C. */
		if (now >= a->service.since + TWICE_MS)
			loop_stop(a->loop);
		return;
	}
	app_serve_end(a);
	admin_drain(a->admin);
	a->drain_until =
		now + (a->nodes ? a->conf->conf->cluster.drain_s * (msec)1000 : DRAIN_MS);
	stack_group_drain(a->stacks);
	wheel_timer_init(&a->drain, look);
	look(&a->drain, now);
}

/* With the workers stopped nothing new comes; what is done now may give the store more. */
static void finish(struct app *a)
{
	enum { TURNS_MAX = 8 };
	for (int i = 0; i < TURNS_MAX; i++) {
		if (a->store)
			a->store->ops->flush(a->store);
		if (stack_group_finish(a->stacks) == 0)
			break;
	}
}

void app_teardown(struct app *a)
{
	app_nodes_stop(a);
	if (a->stacks) {
		stack_group_stop(a->stacks);
		finish(a);
	}
	admin_free(a->admin);
	a->admin = NULL;
	app_addresses_end(a);
	if (a->loop)
		loop_finish(a->loop); /* commands and questions that it had still been given */
	app_nodes_end(a);	      /* what waited for a second place is answered without */
	if (a->stacks)
		finish(a);
	stack_group_free(a->stacks);
	for (int k = 0; k < APP_ROLE_COUNT; k++)
		if (a->role[k] && a->role_state[k])
			a->role[k]->stop(a->role_state[k]);
	app_nodes_free(a);
	records_free(a->records);
	if (a->store)
		a->store->ops->free(a->store);
	net_tls_free(a->tls);
	metrics_free(a->metrics);
	loop_free(a->loop);
	sip_values_use_arena(NULL);
	arena_done(&a->arena);
	app_poison_close(a);
	for (unsigned i = 0; i < a->nworkers && a->worker; i++)
		app_conf_unref(a->worker[i].conf);
	free(a->worker);
	if (a->fixed)
		app_conf_unref(a->fixed);
}
