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
	const struct question *q = arg;
	cluster_admin_reply(q->app->nodes->cluster, q->node, q->id, status, text);
}

static void run_question(struct loop_work *w)
{
	struct question *q = container_of(w, struct question, work);
	admin_run(q->app->admin, q->argc, q->argv, answer, q);
	free(q);
}

void app_nodes_asked(void *arg, unsigned node, uint64_t id, unsigned argc, char **argv,
		     struct span input)
{
	struct app_nodes *n = arg;
	size_t bytes = 0;
	for (unsigned i = 0; i < argc; i++)
		bytes += strlen(argv[i]) + 1;
	struct question *q =
		argc && argc <= CLUSTER_ADMIN_WORDS_MAX && !input.n && n->app->admin
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
	struct app_durable d; /* waits as for a store */
	struct admin_reply *out;
	int status;
};

static void replied(void *arg, int status, struct span text)
{
	struct asked *a = arg;
	admin_printf(a->out, "%.*s", SPAN_FMT(text));
	a->status = status;
	app_durable_done(&a->d, 0);
}

static int run_node(void *arg, int argc, char **argv, struct span secret,
		    struct admin_reply *out)
{
	struct app *app = arg;
	struct cluster *c = app_cluster(app);
	struct asked a = {.d = APP_DURABLE_INIT, .out = out};
	int node = c ? cluster_node_by_name(c, span_str(argv[0])) : -1;
	(void)secret;
	if (node < 0 || (unsigned)node == cluster_self(c)) {
		admin_printf(out, "no other node of that name\n");
		return -EINVAL;
	}
	app_durable_expect(&a.d);
	int r = cluster_admin_call(c, (unsigned)node, (unsigned)argc - 1, argv + 1,
				   span_of(NULL, 0), replied, &a);
	if (r < 0)
		app_durable_done(&a.d, 0);
	app_durable_wait(&a.d, 0);
	r = r < 0 ? r : a.status;
	if (r == -EHOSTUNREACH || r == -ETIMEDOUT)
		admin_printf(out, "%s does not answer\n", argv[0]);
	return r;
}

static const struct admin_command commands[] = {
	{.name = "node",
	 .args = "NODE WORD [WORD] [WORD] [WORD] [WORD]",
	 .help = "a command at another node",
	 .run = run_node},
};

int app_ask_admin(struct app *a)
{
	return admin_add(a->admin, commands, sizeof(commands) / sizeof(commands[0]), a);
}
