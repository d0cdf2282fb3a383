/*
 * common/admin/admin.h without a socket: nobody administers a simulated node.
 */
#include "common/admin/admin.h"

#include "tests/sim/event.h"

#include <errno.h>
#include <stdlib.h>

struct admin {
	int unused;
};

struct admin *admin_new(struct loop *l, const char *socket_path, const char *http,
			struct metrics *m, bool (*healthy)(void *arg), void *healthy_arg,
			char ret_error[256])
{
	(void)l;
	(void)socket_path;
	(void)http;
	(void)m;
	(void)healthy;
	(void)healthy_arg;
	(void)ret_error;
	return sim_alloc(sizeof(struct admin));
}

void admin_free(struct admin *a)
{
	free(a);
}

int admin_add(struct admin *a, const struct admin_command *table, unsigned n, void *arg)
{
	(void)a;
	(void)table;
	(void)n;
	(void)arg;
	return 0;
}

void admin_run(struct admin *a, int argc, char **argv,
	       void (*told)(void *arg, int status, struct span text), void *arg)
{
	(void)a;
	(void)argc;
	(void)argv;
	told(arg, -ENOTSUP, SPAN(""));
}

struct admin_later *admin_later(struct admin_reply *r, void (*ending)(void *arg, bool now),
				void *arg)
{
	(void)r;
	(void)ending;
	(void)arg;
	return NULL;
}

struct loop *admin_later_loop(const struct admin_later *l)
{
	(void)l;
	return NULL;
}

void admin_later_done(struct admin_later *l, int status)
{
	(void)l;
	(void)status;
}

void admin_drain(struct admin *a)
{
	(void)a;
}

bool admin_busy(const struct admin *a)
{
	(void)a;
	return false;
}

void admin_printf(struct admin_reply *r, const char *fmt, ...)
{
	(void)r;
	(void)fmt;
}

void admin_sort_lines(struct admin_reply *r)
{
	(void)r;
}
