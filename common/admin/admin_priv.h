/*
 * Between the files of common/admin: ports with their clients, the tables, and replies.
 */
#ifndef EAVES_ADMIN_PRIV_H
#define EAVES_ADMIN_PRIV_H

#include "common/admin/admin.h"

struct bufferevent;
struct evbuffer;
struct evconnlistener;
struct admin_port;

/* One connection: read until whole, answered once, closed. */
struct admin_client {
	struct list link;
	struct admin_port *port;
	struct bufferevent *bev;
	struct wheel_timer deadline;
	bool closing; /* what arrives from now on is dropped */
	/* Of the command socket, while it waits for input. */
	const struct admin_command *command;
	void *command_arg;
	int argc;
	char **argv;
	char *words;		   /* what argv points into */
	struct admin_later *later; /* the command that runs */
};

/* A listening socket with at most max_clients, each with a deadline. */
struct admin_port {
	struct admin *admin;
	struct evconnlistener *listener;
	struct wheel_timer pause; /* after an accept that failed (out of descriptors) */
	struct list clients;
	unsigned nclients, max_clients, deadline_ms;
	void (*refuse)(int fd, const char *why);
	/* The client may be let in; may be NULL. */
	bool (*allow)(int fd);
	/* Something arrived: at most 16 KiB since the last call, which limits what is buffered.
	 */
	void (*read)(struct admin_client *c, struct evbuffer *in);
};

/* fd: bound, not blocking; listening begins here, and it is the port's from now on.  0 or
 * -ENOMEM. */
int admin_port_start(struct admin_port *p, struct admin *a, int fd);
void admin_port_stop(struct admin_port *p);
/* The deadline begins again. */
void admin_client_deadline(struct admin_client *c, unsigned ms);
/* Queues bytes; they are copied. */
void admin_client_write(struct admin_client *c, const void *p, size_t n);
/* Closes when all is written and the peer has closed, or at the deadline. */
void admin_client_finish(struct admin_client *c);

struct admin_reply {
	char *p;
	size_t n, cap;
	bool failed; /* out of memory, or longer than a reply may be */
};
void admin_reply_done(struct admin_reply *r);

/* later.c: a command that runs, from before run() until it is done. */
struct admin_gate;
struct admin_later {
	struct list link;
	struct loop_work work; /* it is done */
	struct admin_gate *gate;
	struct admin *admin; /* NULL: nobody's any more */
	struct admin_reply reply;
	int status;
	bool late; /* it has called admin_later() */
	bool done; /* with it, `work` is posted; under the gate's lock */
	bool left; /* the process ended first: its reply is not to be read */
	void (*ending)(void *arg, bool now);
	void *ending_arg;
	/* Who waits for it: called once, in the loop's thread; NULL: nobody. */
	void (*answer)(struct admin_later *l);
	struct admin_client *client;
	void (*told)(void *arg, int status, struct span text);
	void *told_arg;
};
#define ADMIN_ENDING  "the server is ending\n"
#define ADMIN_NO_ROOM "too many commands are under way, or out of memory: try again\n"

struct admin_gate *admin_gate_new(struct loop *l);
/* NULL: no memory, or too many are under way. */
struct admin_later *admin_later_new(struct admin *a);
/* l may be gone afterwards, answered. */
void admin_later_run(struct admin_later *l, const struct admin_command *c, void *arg, int argc,
		     char **argv, struct span input);
/* All are answered; none knows the admin any more. */
void admin_later_stop(struct admin *a);

enum { ADMIN_TABLES_MAX = 16 };

struct admin {
	struct loop *loop;
	struct metrics *metrics;
	bool (*healthy)(void *arg);
	void *healthy_arg;
	char *socket_path;
	const char *elsewhere; /* NULL: nothing is */
	struct admin_port socket, http;
	struct admin_gate *gate;
	struct list later;
	unsigned nlater;
	bool ending;
	unsigned ntables;
	struct {
		const struct admin_command *v;
		unsigned n;
		void *arg;
	} table[ADMIN_TABLES_MAX];
};

/* The command of the most words that argv begins with, and its words; NULL without one. */
const struct admin_command *admin_find(const struct admin *a, int argc, char **argv,
				       int *ret_words, void **ret_arg);
/* True when that many arguments fit the command's `args`. */
bool admin_args_fit(const struct admin_command *c, int argc);
/* Is that "help", or "help" and how commands begin?  It is answered then, and *ret_status is 0,
 * or -EINVAL when none begins so. */
bool admin_help(const struct admin *a, int argc, char **argv, struct admin_reply *r,
		int *ret_status);
/* Says how the command is used; c NULL: that there is none, and which there are. */
void admin_usage(const struct admin *a, const struct admin_command *c, int argc, char **argv,
		 struct admin_reply *r);

/* 0, or -errno and ret_error. */
int admin_socket_start(struct admin *a, const char *path, char ret_error[256]);
int admin_http_start(struct admin *a, const char *host_port, char ret_error[256]);

#endif
