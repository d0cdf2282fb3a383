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
	 * wiped afterwards.  Both are gone when this returns.  0, or -errno: the reply's text
	 * says why; eavesctl then exits 1. */
	int (*run)(void *arg, int argc, char **argv, struct span input, struct admin_reply *r);
};

/* The process must ignore SIGPIPE.  The socket has mode 0600; the peer must be root or our own
 * user (SO_PEERCRED). http: "127.0.0.1:9060" or NULL.  healthy: for /healthz.  NULL: errno,
 * ret_error. */
struct admin *admin_new(struct loop *l, const char *socket_path, const char *http,
			struct metrics *m, bool (*healthy)(void *arg), void *healthy_arg,
			char ret_error[256]);
/* Takes NULL.  The loop runs once more (loop_finish) before it is freed where commands answer
 * later: what they had posted to it is their own. */
void admin_free(struct admin *a);
/* Could that socket be made, whether or not one listens there?  0, or -errno and ret_error as
 * of admin_new(). */
int admin_check(const char *socket_path, char ret_error[256]);
/* Runs a command that takes no input, as its words would be typed; in the loop's thread.  told
 * is called once, there too: 0 or -errno, and the text; before this returns, or when a command
 * that answers later is done, in admin_free() at the latest (-ECANCELED). */
void admin_run(struct admin *a, int argc, char **argv,
	       void (*told)(void *arg, int status, struct span text), void *arg);

/* ---- commands that answer later ---- */

/*
 * What has to wait for others does so without holding up the loop: run() calls admin_later(),
 * and what it returns then counts for nothing.  From there until admin_later_done() the reply
 * is the command's alone, and one thread at a time may write to it.  When eavesctl goes away,
 * or ten minutes have passed, the command goes on and its answer is dropped.  At the end of the
 * process its client is told so; it stays good all the same until it is done.
 *
 * ending: the process begins to end (now false: admin_busy() until it is done, so it should be
 * soon, and say how far it came), or ends (now true: it calls admin_later_done() before it
 * returns).  In the loop's thread, more than once; a command with it is done in that thread.
 * NULL: it does not matter.
 */
struct admin_later;
struct admin_later *admin_later(struct admin_reply *r, void (*ending)(void *arg, bool now),
				void *arg);
/* Whose thread the command runs in; until the first `ending` with now true. */
struct loop *admin_later_loop(const struct admin_later *l);
/* Ends it: status as of run().  From any thread, also after admin_free(). */
void admin_later_done(struct admin_later *l, int status);
/* The process begins to end: commands under way are told.  Others still run. */
void admin_drain(struct admin *a);
/* Commands under way want to say how far they came. */
bool admin_busy(const struct admin *a);
/* Where commands are that are not here, for who looks for them here; must live as long. */
void admin_elsewhere(struct admin *a, const char *text);
/* The table must live as long as the admin.  0 or -ENOSPC. */
int admin_add(struct admin *a, const struct admin_command *table, unsigned n, void *arg);

#endif
