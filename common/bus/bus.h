/*
 * The cluster's bus, one node's end of it: whole messages to and from the other nodes, over
 * ZeroMQ (ROUTER and DEALER, TCP) with CURVE.  Of two nodes one dials the other; which is
 * configuration. Everything happens in the thread of one loop.  The bus knows who sent a
 * message by the key that its connection was opened with, nothing else; it reads no message. It
 * may lose what it has accepted: whoever needs to know has the other side answer
 * (common/cluster).
 */
#ifndef EAVES_BUS_BUS_H
#define EAVES_BUS_BUS_H

#include "common/base/addr.h"
#include "common/loop/loop.h"

struct bus;

enum {
	BUS_NODES_MAX = 64,
	BUS_MESSAGE_MAX_BYTES = 1 << 20,
	/* Messages of one connection that have come and were not taken: by the largest size 64
	 * MiB.  What is beyond waits in the kernel, then at its sender. */
	BUS_UNREAD_MAX = 64,
	BUS_KEY_CHARS = 40, /* Z85 */
};

struct bus_node {
	const char *name;	     /* for bus_new()'s errors alone */
	struct addr addr;	     /* where it listens (self: where we do) */
	char key[BUS_KEY_CHARS + 1]; /* its public key */
	bool dial;		     /* we connect to it; else it connects to us (self: no) */
};

struct bus_conf {
	unsigned self; /* index of this node */
	unsigned n;
	struct bus_node node[BUS_NODES_MAX];
	char secret_key[BUS_KEY_CHARS + 1]; /* of this node; wiped by who gave it */
	const char *key_file;		    /* where it was read; for errors alone, or NULL */
	const char *domain; /* of the cluster: nodes of another one are refused */
	/* 0 is the default. */
	uint32_t queue_messages; /* waiting for one node at most; default 10000 */
	size_t queue_bytes;	 /* the same in bytes; default 64 MiB */
	/* Of connections made and ended that the loop has not looked at yet; then none is made
	 * until it does. Default 16384, and ZeroMQ's own 1000. */
	uint32_t queue_events;
	uint32_t heartbeat_ms; /* of the connections (ZMTP); default 250 */
	uint32_t dead_ms;      /* silent for so long: broken; default 750 */
};

/* Called in the loop's thread, never out of bus_send() or bus_free(); they may send, but not
 * free the bus.  None may be NULL. */
struct bus_ops {
	/* One whole message.  `node` has proved that it is that node. */
	void (*message)(void *arg, unsigned node, struct span bytes);
	/* The connection with a node is up, or has broken (its process may be gone): what was
	 * sent a moment ago may be lost.  At first all are down.  Messages come only while it
	 * is up.  One that a new connection has replaced is told as down, then up. */
	void (*connected)(void *arg, unsigned node, bool up);
	/* Somebody without a good key, or whose key is none of the cluster's, knocked, or a
	 * node that we dial refuses us: to be logged (with a limit: it may go on) and counted.
	 * address: text, may be empty; why: static text, of the one at that address. */
	void (*refused)(void *arg, const char *address, const char *why);
	void *arg;
};

/* To be read by any thread with counter_get(). */
struct bus_counters {
	uint64_t sent, received, sent_bytes, received_bytes;
	uint64_t full;	    /* not taken by bus_send(): -ENOBUFS */
	uint64_t too_large; /* of both ways */
	uint64_t dropped;   /* of a connection without a hello or replaced, or of odd form */
	uint64_t refused;   /* calls of ops->refused */
	uint64_t broken;    /* calls of ops->connected with false */
};

/* In the loop's thread, or before it runs.  NULL and a message in ret_error (256 bytes): a key
 * that is none or is not ours, an address that cannot be listened on, ZeroMQ without CURVE. */
struct bus *bus_new(struct loop *l, const struct bus_conf *c, const struct bus_ops *ops,
		    char *ret_error);
/* What bus_new() would say of the configuration itself; opens nothing.  0, or -errno and
 * ret_error. */
int bus_check(const struct bus_conf *c, char *ret_error);
/* In the loop's thread, or when it has ended.  What is queued is given 100 ms to leave, which
 * this waits for.  Takes NULL; returns NULL. */
struct bus *bus_free(struct bus *b);
/* The bytes are copied; they leave in the order of sending.  0; -EHOSTUNREACH: no connection
 * with it (or it is this node); -ENOBUFS: its queue is full; -EMSGSIZE; -ENOMEM. */
int bus_send(struct bus *b, unsigned node, struct span bytes);
const struct bus_counters *bus_counters(const struct bus *b);

/* A new pair of keys (Z85 with NUL).  0 or -ENOTSUP. */
int bus_keypair(char ret_public[BUS_KEY_CHARS + 1], char ret_secret[BUS_KEY_CHARS + 1]);
/* The public key of a secret one.  0 or -EINVAL. */
int bus_public_key(const char *secret, char ret_public[BUS_KEY_CHARS + 1]);

#endif
