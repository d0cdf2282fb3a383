/*
 * As eavesctl: what is there already was added, what is refused or not answered is tried again
 * at the next edge.  Homes may hear of a user a little after the yes.
 */
#include "tests/sim/operator.h"

#include "common/directory/directory.h"
#include "tests/sim/scene.h"
#include "tests/sim/trace.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* HEARD_MS: the edge that has it may be cut off for three seconds, and then the other one needs
 * a second or two to hear of it; until it has, the phone is told to try again (503). */
enum { AGAIN_MS = 500, PATIENCE_MS = 3000, HEARD_MS = 5000, ATTEMPTS_MAX = 64 };

static struct event next;
static struct ua *phone;
static const char *user, *pair, *word[2];
static void (*job)(struct node *n, void *attempt);
static bool busy;

struct attempt {
	unsigned number, boots;
	struct node *at;
	bool asks;
	unsigned answers;
};
static struct attempt *attempt[ATTEMPTS_MAX];
static unsigned tries;

bool operator_is_busy(void)
{
	return busy;
}

unsigned operator_unanswered(void)
{
	unsigned n = 0;
	for (unsigned i = 0; i < tries; i++) {
		const struct attempt *a = attempt[i];
		n += a && a->asks && a->answers != 1 && node_runs(a->at) &&
		     a->at->boots == a->boots;
	}
	return n;
}

static void on_heard(struct event *e)
{
	(void)e;
	busy = false;
	if (phone)
		ua_register(phone);
}

static void is_done(const struct node *at, const char *what)
{
	trace_note(at->host, "%s", what);
	event_stop(&next);
	event_init(&next, on_heard);
	event_after(&next, phone ? USEC_MS(HEARD_MS) : 0);
}

/* Of a process that was killed it does not come; nor is it of use where he has tried again. */
static bool is_late(const struct attempt *a)
{
	return a->number + 1 != tries || !busy;
}

static void on_answer(const struct attempt *a, int error, const char *what)
{
	if (is_late(a))
		return;
	if (error == 0)
		is_done(a->at, what);
	else
		event_after(&next, USEC_MS(AGAIN_MS));
}

/* ---- what he does ---- */

static void on_stored(void *arg, int error)
{
	on_answer(arg, error, phone ? "added" : "removed");
}

static void add(struct node *n, void *arg)
{
	if (scene_add_user(n, ua_user(phone), on_stored, arg) < 0)
		event_after(&next, USEC_MS(AGAIN_MS));
}

static void remove_user(struct node *n, void *arg)
{
	int r = dir_user_remove(n->app->records, span_str(user), time_wall_ms(), on_stored,
				arg);
	if (r == -ENOENT)
		on_stored(arg, 0);
	else if (r < 0)
		event_after(&next, USEC_MS(AGAIN_MS));
}

static void on_told(void *arg, int status, struct span text)
{
	struct attempt *a = arg;
	char what[32];
	a->answers++;
	snprintf(what, sizeof(what), "answer, %zu bytes", text.n);
	on_answer(a, status, what);
}

/* Each edge about one member, then about the other one. */
static void ask(struct node *n, void *arg)
{
	struct attempt *a = arg;
	char node[32], words[2][32],
		*argv[] = {(char[]){"node"}, node, words[0], words[1], NULL};
	for (unsigned i = 0; i < scene_pairs(); i++)
		if (strcmp(scene_pair(i)->name, pair) == 0)
			snprintf(node, sizeof(node), "%s",
				 scene_pair(i)->member[a->number / 2 % 2]->host->name);
	for (unsigned i = 0; i < 2; i++)
		snprintf(words[i], sizeof(words[i]), "%s", word[i]);
	a->asks = true;
	admin_run(n->app->admin, 4, argv, on_told, a);
}

/* ---- when ---- */

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
	struct node *at = edge_for(tries);
	struct attempt *a = sim_alloc(sizeof(*a));
	if (tries == ATTEMPTS_MAX)
		abort();
	*a = (struct attempt){.number = tries, .at = at, .boots = at ? at->boots : 0};
	attempt[tries++] = a;
	event_after(e, USEC_MS(PATIENCE_MS));
	if (at)
		node_call(at, job, a);
}

static void begin(void (*what)(struct node *n, void *attempt))
{
	if (busy)
		abort();
	job = what;
	busy = true;
	event_init(&next, on_next);
	event_after(&next, 0);
}

void operator_adds(struct ua *u)
{
	phone = u;
	begin(add);
}

void operator_removes(const char *name)
{
	phone = NULL;
	user = name;
	begin(remove_user);
}

void operator_asks(const char *of, const char *first, const char *second)
{
	phone = NULL;
	pair = of;
	word[0] = first;
	word[1] = second;
	begin(ask);
}
