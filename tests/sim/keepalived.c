/*
 * keepalived by the files of the nodes: a process that has ended, or drains, has no right to
 * the address; of the others the one that is not stranded is the better.  The better one gets
 * it, 300 ms after that was written; of equals it stays where it is.  Members hear each other's
 * advertisements as phones hear them; who is not heard by anybody is in fault.c.
 */
#include "tests/sim/keepalived.h"

#include "tests/sim/files.h"
#include "tests/sim/scene.h"
#include "tests/sim/trace.h"

enum { TAKE_OVER_MS = 300 };

static bool begun;
static struct event due;

static bool has_one(const struct node *n, const char *file)
{
	char path[64];
	snprintf(path, sizeof(path), "/nowhere/%s/%s", n->host->name, file);
	return files_first(path) == '1';
}

static int priority(const struct node *n)
{
	if (!node_runs(n) || has_one(n, "drain"))
		return 0;
	return has_one(n, "stranded") ? 100 : 150;
}

static void decide(const struct pair *p)
{
	struct addr a = addr_of(p->vip, 0);
	const struct host *holder = host_at(&a);
	struct node *from = p->member[p->member[0]->host != holder],
		    *to = p->member[p->member[0]->host == holder];
	if (priority(to) <= priority(from))
		return;
	vip_move(p->vip, to->host);
	trace_note(to->host, "has %s", p->vip);
}

static void on_due(struct event *e)
{
	(void)e;
	for (unsigned i = 0; i < scene_pairs(); i++)
		if (scene_pair(i)->vip && scene_pair(i)->member[1])
			decide(scene_pair(i));
}

void keepalived_begin(void)
{
	begun = true;
	event_init(&due, on_due);
}

void keepalived_look(void)
{
	if (begun && !event_armed(&due))
		event_after(&due, USEC_MS(TAKE_OVER_MS));
}
