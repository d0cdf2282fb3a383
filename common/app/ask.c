/*
 * Commands at other nodes: an operator at an edge asks any node for what its own eavesctl would
 * say. The question comes in the bus's thread and is answered in the main one, where commands
 * run.
 */
#include "common/app/app_priv.h"

#include <errno.h>
#include <stdlib.h>

/* ---- asked ---- */

struct question {
	struct loop_work work;
	struct app *app;
	unsigned node;
	uint64_t id;
	int argc;
	char *argv[CLUSTER_ADMIN_WORDS_MAX + 1];
	char words[];
};

static void answer(void *arg, int status, struct span text)
{
	struct question *q = arg;
	cluster_admin_reply(q->app->nodes->cluster, q->node, q->id, status, text);
	free(q);
}

static void run_question(struct loop_work *w)
{
	struct question *q = container_of(w, struct question, work);
	if (q->app->admin)
		admin_run(q->app->admin, q->argc, q->argv, answer, q);
	else
		answer(q, -ECANCELED, SPAN("the server is ending\n"));
}

/* Who asks may ask the node itself: two that asked each other would wait for each other. */
static bool asks_on(unsigned argc, char **argv)
{
	return argc > 0 && strcmp(argv[0], "node") == 0;
}

void app_nodes_asked(void *arg, unsigned node, uint64_t id, unsigned argc, char **argv,
		     struct span input)
{
	struct app_nodes *n = arg;
	size_t bytes = 0;
	for (unsigned i = 0; i < argc; i++)
		bytes += strlen(argv[i]) + 1;
	struct question *q = argc && argc <= CLUSTER_ADMIN_WORDS_MAX && !asks_on(argc, argv) &&
					     !input.n && n->app->admin
				     ? malloc(sizeof(*q) + bytes)
				     : NULL;
	if (!q) {
		cluster_admin_reply(n->cluster, node, id, -EINVAL,
				    SPAN("not to be done from here\n"));
		return;
	}
	*q = (struct question){.work.run = run_question,
			       .app = n->app,
			       .node = node,
			       .id = id,
			       .argc = (int)argc};
	char *at = q->words;
	for (unsigned i = 0; i < argc; i++) {
		q->argv[i] = strcpy(at, argv[i]);
		at += strlen(at) + 1;
	}
	loop_post(n->app->loop, &q->work);
}

/* ---- asking ---- */

struct asked {
	struct admin_reply *out;
	struct admin_later *later;
	char node[];
};

/* In the bus's thread; the reply is ours until it is done. */
static void replied(void *arg, int status, struct span text)
{
	struct asked *a = arg;
	admin_printf(a->out, "%.*s", SPAN_FMT(text));
	if (status == -EHOSTUNREACH || status == -ETIMEDOUT)
		admin_printf(a->out, "%s does not answer\n", a->node);
	admin_later_done(a->later, status);
	free(a);
}

static int run_node(void *arg, int argc, char **argv, struct span secret,
		    struct admin_reply *out)
{
	struct app *app = arg;
	struct cluster *c = app_cluster(app);
	int node = c ? cluster_node_by_name(c, span_str(argv[0])) : -1;
	(void)secret;
	if (node < 0 || (unsigned)node == cluster_self(c)) {
		admin_printf(out, "no other node of that name\n");
		return -EINVAL;
	}
	struct asked *a = malloc(sizeof(*a) + strlen(argv[0]) + 1);
	if (!a)
		return -ENOMEM;
	a->out = out;
	a->later = admin_later(out, NULL, NULL); /* from now on it may be done at any time */
	strcpy(a->node, argv[0]);
	int r = cluster_admin_call(c, (unsigned)node, (unsigned)argc - 1, argv + 1,
				   span_of(NULL, 0), replied, a);
	if (r < 0)
		replied(a, r, SPAN(""));
	return 0;
}

static const struct admin_command commands[] = {
	{.name = "node",
	 .args = "NODE WORD [WORD] [WORD] [WORD] [WORD]",
	 .help = "a command at another node: registrations are at their homes",
	 .run = run_node},
};

/* Homes may not call others, which would refuse it. */
int app_ask_admin(struct app *a)
{
	if (app_node(a->nodes, a->nodes->conf.self)->role != CLUSTER_EDGE)
		return 0;
	return admin_add(a->admin, commands, sizeof(commands) / sizeof(commands[0]), a);
}
