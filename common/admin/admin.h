/*
 * Administration of one process: commands on a Unix socket (eavesctl) and HTTP for /metrics and
 * /healthz.  Runs in the main thread's loop.  Commands are rows of tables that the roles give.
 */
#ifndef EAVES_ADMIN_ADMIN_H
#define EAVES_ADMIN_ADMIN_H

#include "common/loop/loop.h"
#include "common/metrics/metrics.h"

struct admin;
struct admin_reply; /* text that grows */
void admin_printf(struct admin_reply *r, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* The whole lines that are there, by their bytes; as they were when there is no memory. */
void admin_sort_lines(struct admin_reply *r);

struct admin_command {
	const char *name; /* "user add": words as typed */
	const char
		*args; /* "NAME": for the help; each word is one argument; "[NAME]" optional */
	const char *help;
	bool secret; /* one line of secret input follows on stdin (a password) */
	bool bulk;   /* all of stdin follows, at most 16 MiB ("user import") */
	/* argv: the arguments behind the name, as many as `args` has; NULL behind the last.
	 * input: of secret without its line end (never empty), p NULL without either; it is
	 * wiped afterwards.  0, or -errno: the reply's text says why; eavesctl then exits 1. */
	int (*run)(void *arg, int argc, char **argv, struct span input, struct admin_reply *r);
};

/* The process must ignore SIGPIPE.  The socket has mode 0600; the peer must be root or our own
 * user (SO_PEERCRED). http: "127.0.0.1:9060" or NULL.  healthy: for /healthz.  NULL: errno,
 * ret_error. */
struct admin *admin_new(struct loop *l, const char *socket_path, const char *http,
			struct metrics *m, bool (*healthy)(void *arg), void *healthy_arg,
			char ret_error[256]);
void admin_free(struct admin *a);
/* Runs a command that takes no input, as its words would be typed; in the loop's thread.  told
 * is called once: 0 or -errno, and the text. */
void admin_run(struct admin *a, int argc, char **argv,
	       void (*told)(void *arg, int status, struct span text), void *arg);
/* The table must live as long as the admin.  0 or -ENOSPC. */
int admin_add(struct admin *a, const struct admin_command *table, unsigned n, void *arg);

#endif
