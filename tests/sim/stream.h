/*
 * Connections between hosts that carry whole messages, in order: what TCP makes of trouble is
 * delay.  A process that dies resets its connections; a machine that dies says nothing, and who
 * sends to it finds out after retransmissions, or when the address is somebody else's.
 */
#ifndef EAVES_SIM_STREAM_H
#define EAVES_SIM_STREAM_H

#include "tests/sim/host.h"

struct stream_end;
struct stream_ops {
	void (*opened)(void *arg);
	void (*message)(void *arg, struct span bytes);
	/* 0: the far end has closed; -ECONNRESET, -ECONNREFUSED, -ETIMEDOUT.  The end is
	 * invalid afterwards. */
	void (*closed)(void *arg, int error);
};
struct stream_listener {
	struct list link;
	struct host *host;
	struct addr local;
	/* stream_accept() is to be called before it returns. */
	void (*accept)(struct stream_listener *l, struct stream_end *e,
		       const struct addr *from);
};

void stream_listen(struct stream_listener *l, struct host *h, const struct addr *local);
void stream_listen_end(struct stream_listener *l);
bool stream_taken(const struct host *h, const struct addr *local);

/* local: port 0 for any.  Never calls back at once; gives up when it is closed. */
struct stream_end *stream_open(struct host *h, const struct addr *local, const struct addr *to,
			       const struct stream_ops *ops, void *arg);
void stream_accept(struct stream_end *e, const struct stream_ops *ops, void *arg);
void stream_write(struct stream_end *e, struct span bytes);
/* After what was written; no callback comes any more. */
void stream_close(struct stream_end *e);
/* Half of it: what the far end sends until it hears of that still comes. */
void stream_shut(struct stream_end *e);
/* At once: what the system has not got rid of by now is lost. */
void stream_reset(struct stream_end *e);
/* The same without a word to the far end: the machine is gone. */
void stream_drop(struct stream_end *e);
/* What a SYN from local, which the host has, does to a connection that the peer believes to
 * have with that address, and which is no connection of this host's.  Without effect, it is
 * lost. */
void stream_knock(struct host *h, const struct addr *local, const struct addr *peer);
/* Could something be carried to the far end and back now? */
bool stream_reaches(const struct stream_end *e);
struct host *stream_peer(const struct stream_end *e);
const struct addr *stream_local(const struct stream_end *e);
/* As what the ladder knows what it carries: SIP unless told so. */
void stream_set_quiet(struct stream_end *e);

#endif
