/*
 * For the files of common/bus alone: a socket in the loop (sock.c), its monitor (monitor.c),
 * the nodes that dial us (listen.c), those that we dial (dial.c), who may (zap.c).
 */
#ifndef EAVES_BUS_BUS_PRIV_H
#define EAVES_BUS_BUS_PRIV_H

#include "common/bus/bus.h"

#include "common/base/counter.h"

#include <stdatomic.h>
#include <zmq.h>

enum {
	BUS_KEY_BYTES = 32,
	BUS_DOMAIN_MAX = 255,
	/* Of one socket before the others, and the loop's timers, get their turn: messages, or
	 * bytes, for a megabyte of small rows keeps its reader for tens of milliseconds. */
	BUS_TURN = 512,
	BUS_TURN_BYTES = 1 << 20,
	BUS_ROUTE_BYTES = 5,
	BUS_ACCEPTED_MAX = 1024,
	BUS_HANDSHAKE_MS = 3000,
	BUS_LINGER_MS = 100,
};

/* ---- sock.c: a socket of ZeroMQ's in the loop ---- */

struct sock {
	struct bus *bus;
	void *zmq;
	struct loop_watch *watch;
	/* Takes what is there, BUS_TURN of it at most: whether there may be more. */
	bool (*take)(struct sock *s);
	struct list touched; /* in bus->touched: to be looked at before the loop sleeps */
};

/* 0, or -errno with nothing open. */
int sock_open(struct sock *s, struct bus *b, int type, bool (*take)(struct sock *s));
/* Of one that is not open: nothing. */
void sock_close(struct sock *s, int linger_ms);
int sock_set(struct sock *s, int option, int value);
/* Takes all, or a turn's worth. */
void sock_turn(struct sock *s);
/* After a call that may have swallowed the signal that something is there to be taken. */
void sock_touch(struct sock *s);
/* One whole message: the number of its parts, 0 without one.  The first `max` parts are in
 * `part`, to be closed with sock_done(); the others are dropped. */
unsigned sock_receive(struct sock *s, zmq_msg_t *part, unsigned max);
void sock_done(zmq_msg_t *part, unsigned n);
/* 0, -EAGAIN or what ZeroMQ says. */
int sock_send_copy(struct sock *s, const void *p, size_t n, bool more);
/* What the connection may cost and how soon it counts as dead: for both ends. */
int sock_limits(struct sock *s, const struct addr *a);
int sock_round_start(struct bus *b);
void sock_round_stop(struct bus *b);

static inline struct span sock_span(zmq_msg_t *part)
{
	return span_of(zmq_msg_data(part), zmq_msg_size(part));
}

/* ---- monitor.c: what becomes of a socket's connections ---- */

struct monitor {
	struct sock sock;
	/* event: ZMQ_EVENT_...; value: the event's. */
	void (*event)(struct monitor *m, unsigned event, int value);
	/* All events have been taken.  May be NULL. */
	void (*drained)(struct monitor *m);
};

/* Before the socket is bound or connected.  0 or -errno. */
int monitor_open(struct monitor *m, struct bus *b, void *zmq,
		 void (*event)(struct monitor *m, unsigned event, int value));
/* Before its socket is closed. */
void monitor_close(struct monitor *m, void *zmq);

/* ---- the nodes ---- */

enum dial_state {
	DIAL_CLOSED,   /* until the timer */
	DIAL_KNOCKING, /* connecting, shaking hands, saying hello; the timer ends it */
	DIAL_UP,
	DIAL_STATES
};

struct dial {
	struct sock sock;
	struct monitor monitor;
	struct wheel_timer timer;
	enum dial_state state;
	uint32_t wait_ms; /* before the next attempt */
};

struct node {
	struct bus *bus;
	struct addr addr;
	uint8_t key[BUS_KEY_BYTES];
	bool dial, up;
	uint8_t route[BUS_ROUTE_BYTES]; /* of the connection with a node that dials us */
	struct greeting {
		bool waits, ours; /* ours: of our domain */
		int fd;
		uint8_t route[BUS_ROUTE_BYTES];
	} greeting;		     /* a hello from it */
	_Atomic size_t queued_bytes; /* given to ZeroMQ, not yet on its way */
	struct dial out;	     /* to a node that we dial */
};

/* A connection that the listening socket has accepted. */
struct accepted {
	int fd;
	int node; /* -1: nobody yet */
	bool told;
	struct addr from;
};

struct listener {
	struct sock sock;
	struct monitor monitor;
	bool greetings;	   /* hellos wait */
	const char *fault; /* why the connection failed whose end comes next */
	bool overflow;	   /* there were connections that had no room in the table */
	unsigned n;
	struct accepted accepted[BUS_ACCEPTED_MAX];
};

struct bus {
	struct loop *loop;
	void *ctx;
	struct bus_ops ops;
	struct bus_counters count;
	unsigned self, n;
	char domain[BUS_DOMAIN_MAX + 1];
	char public_key[BUS_KEY_CHARS + 1], secret_key[BUS_KEY_CHARS + 1];
	uint32_t queue_messages, queue_events, heartbeat_ms, dead_ms;
	size_t queue_bytes;
	uint64_t monitors; /* numbers their addresses */
	struct list touched;
	int again_fd; /* always readable */
	struct loop_watch *again;
	struct sock zap;
	struct listener in;
	struct node node[BUS_NODES_MAX];
};

/* ---- bus.c ---- */

void bus_set_up(struct bus *b, struct node *n, bool up);
void bus_deliver(struct bus *b, struct node *n, zmq_msg_t *m);
void bus_refuse(struct bus *b, const char *address, const char *why);

/* The first message of a connection, in both directions: HELLO and the domain, in two parts.
 * What the upper floors send has one. */
extern const struct span bus_hello;
int bus_say_hello(struct sock *s);

/* ---- listen.c, dial.c, zap.c, keys.c ---- */

int listen_open(struct bus *b);
void listen_close(struct bus *b);
/* Of a connection from `address` (a host) it is known why it is refused. */
void listen_refuse(struct bus *b, const char *address, const char *why);
void dial_init(struct node *n);
int dial_open(struct node *n);
void dial_close(struct node *n, int linger_ms);
int zap_open(struct bus *b);
/* 0 or -EINVAL. */
int bus_key_bytes(const char *key, uint8_t ret_key[BUS_KEY_BYTES]);

#endif
