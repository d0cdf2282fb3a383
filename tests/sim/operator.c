/*
 * As eavesctl: what is there already was added, what is refused or not answered is tried again
 * at the next edge.  Homes may hear of a user a little after the yes.
 */
#include "tests/sim/operator.h"

#include "tests/sim/scene.h"
#include "tests/sim/trace.h"

/* HEARD_MS: the edge that has it may be cut off for three seconds, and then the other one needs
 * a second or two to hear of it; until it has, the phone is told to try again (503). */
enum { AGAIN_MS = 500, PATIENCE_MS = 3000, HEARD_MS = 5000 };

static struct event next;
static struct ua *phone;
static unsigned tries;
static bool busy;

struct attempt {
	unsigned number;
	struct node *at;
};

bool operator_is_busy(void)
{
	return busy;
}

static void on_heard(struct event *e)
{
	(void)e;
	busy = false;
	ua_register(phone);
}

static void is_added(const struct node *at)
{
	trace_note(at->host, "added %s", ua_user(phone));
	event_stop(&next);
	event_init(&next, on_heard);
	event_after(&next, USEC_MS(HEARD_MS));
}

/* Of a process that was killed it does not come. */
static void on_stored(void *arg, int error)
{
	const struct attempt *a = arg;
	if (a->number != tries || !busy)
		return;
	if (error == 0)
		is_added(a->at);
	else
		event_after(&next, USEC_MS(AGAIN_MS));
}

static void add(struct node *n, void *arg)
{
	struct attempt *a = sim_alloc(sizeof(*a));
	(void)arg;
	*a = (struct attempt){tries, n};
	if (scene_add_user(n, ua_user(phone), on_stored, a) < 0)
		event_after(&next, USEC_MS(AGAIN_MS));
}

static struct node *edge_for(unsigned n)
{
	for (unsigned i = 0; i < nodes_count(); i++) {
		struct node *at = node_of((n + i) % nodes_count());
		if (at->has_role[APP_EDGE] && node_runs(at) && !at->paused)
			return at;
	}
	return NULL;
}

static void on_next(struct event *e)
{
	struct node *at = edge_for(tries++);
	event_after(e, USEC_MS(PATIENCE_MS));
	if (at)
		node_call(at, add, NULL);
}

void operator_adds(struct ua *u)
{
	phone = u;
	busy = true;
	event_init(&next, on_next);
	event_after(&next, 0);
}
