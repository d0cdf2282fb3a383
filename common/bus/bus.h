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
	BUS_KEY_CHARS = 40, /* Z85 */
};

struct bus_node {
	const char *name;
	struct addr addr;	     /* where it listens (self: where we do) */
	char key[BUS_KEY_CHARS + 1]; /* its public key */
	bool dial;		     /* we connect to it; else it connects to us */
};

struct bus_conf {
	unsigned self; /* index of this node */
	unsigned n;
	struct bus_node node[BUS_NODES_MAX];
	char secret_key[BUS_KEY_CHARS + 1]; /* of this node; wiped by who gave it */
	const char *domain;		    /* ZAP domain: nodes of another one are refused */
	uint32_t queue_messages;	    /* waiting for one node at most; default 10000 */
	uint32_t heartbeat_ms, dead_ms;	    /* of the connections (ZMTP) */
};

struct bus_ops {
	/* One whole message.  `node` has proved that it is that node. */
	void (*message)(void *arg, unsigned node, struct span bytes);
	/* The connection with a node has broken (its process may be gone), or is up again. What
	 * was sent a moment ago may be lost. */
	void (*connected)(void *arg, unsigned node, bool up);
	/* Somebody without a good key, or whose key is none of the cluster's, knocked: to be
	 * logged and counted. address: text, may be empty; why: static text. */
	void (*refused)(void *arg, const char *address, const char *why);
	void *arg;
};

struct bus_counters {
	uint64_t sent, received, sent_bytes, received_bytes, full, too_large, refused, broken;
};

/* NULL and a message in ret_error (256 bytes): a key that is none, an address that cannot be
 * listened on, ZeroMQ without CURVE. */
struct bus *bus_new(struct loop *l, const struct bus_conf *c, const struct bus_ops *ops,
		    char *ret_error);
/* What is queued is given 100 ms to leave.  Takes NULL; returns NULL. */
struct bus *bus_free(struct bus *b);
/* The bytes are copied.  0; -EHOSTUNREACH: no connection with it; -ENOBUFS: its queue is full;
 * -EMSGSIZE. */
int bus_send(struct bus *b, unsigned node, struct span bytes);
const struct bus_counters *bus_counters(const struct bus *b);

/* A new pair of keys (Z85 with NUL).  0 or -ENOTSUP. */
int bus_keypair(char ret_public[BUS_KEY_CHARS + 1], char ret_secret[BUS_KEY_CHARS + 1]);
/* The public key of a secret one.  0 or -EINVAL. */
int bus_public_key(const char *secret, char ret_public[BUS_KEY_CHARS + 1]);

#endif
