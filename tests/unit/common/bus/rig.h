/*
 * A small cluster on loopback for the tests of the bus: up to SIDES nodes, each with a loop and
 * a bus, driven in turn by one thread; and a stranger, who speaks ZMTP with a node's key or
 * with one of his own.
 */
#ifndef EAVES_TESTS_BUS_RIG_H
#define EAVES_TESTS_BUS_RIG_H

#include "common/base/counter.h"
#include "common/bus/bus.h"
#include "tests/unit/port.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

enum { SIDES = 4, WAIT_MS = 20000, LAST_MAX = 256 };

struct side {
	struct loop *loop;
	struct bus *bus;
	struct bus_conf conf;
	unsigned ups[SIDES], downs[SIDES];
	bool up[SIDES];
	uint64_t got[SIDES]; /* messages from each */
	uint64_t odd;	     /* that were not numbered as expected */
	char last[LAST_MAX];
	unsigned refusals;
	char why[LAST_MAX], where[LAST_MAX];
	bool numbered; /* messages begin with their number, from 0 on */
};

static struct side side[SIDES];
static char public_key[SIDES][BUS_KEY_CHARS + 1], secret_key[SIDES][BUS_KEY_CHARS + 1];
static struct addr address[SIDES];
static char bus_error[256];

static void rig_message(void *arg, unsigned node, struct span bytes)
{
	struct side *s = arg;
	uint64_t number;

	if (s->numbered) {
		ck_assert_uint_ge(bytes.n, sizeof(number));
		memcpy(&number, bytes.p, sizeof(number));
		s->odd += number != s->got[node];
	}
	s->got[node]++;
	snprintf(s->last, sizeof(s->last), "%.*s", SPAN_FMT(bytes));
}

static void rig_connected(void *arg, unsigned node, bool up)
{
	struct side *s = arg;

	ck_assert_int_ne(s->up[node], up);
	s->up[node] = up;
	if (up)
		s->ups[node]++;
	else
		s->downs[node]++;
}

static void rig_refused(void *arg, const char *from, const char *why)
{
	struct side *s = arg;

	s->refusals++;
	snprintf(s->why, sizeof(s->why), "%s", why);
	snprintf(s->where, sizeof(s->where), "%s", from);
}

static void rig_addresses(const char *host)
{
	for (unsigned i = 0; i < SIDES; i++)
		ck_assert_int_eq(addr_parse(&address[i], span_str(host), free_port(host)), 0);
}

/* Everybody dials those before him. */
static void rig_conf(const char *host)
{
	rig_addresses(host);
	for (unsigned i = 0; i < SIDES; i++)
		ck_assert_int_eq(bus_keypair(public_key[i], secret_key[i]), 0);
	for (unsigned i = 0; i < SIDES; i++) {
		static const char *const name[SIDES] = {"anna", "bert", "carl", "dora"};
		struct bus_conf *c = &side[i].conf;

		side[i] = (struct side){0};
		*c = (struct bus_conf){.self = i, .n = SIDES, .domain = "eaves.test"};
		/* No heartbeat is in the way of a busy machine, or helps to see an end. */
		c->heartbeat_ms = 10000;
		c->dead_ms = 30000;
		memcpy(c->secret_key, secret_key[i], sizeof(c->secret_key));
		for (unsigned k = 0; k < SIDES; k++) {
			c->node[k].name = name[k];
			c->node[k].addr = address[k];
			c->node[k].dial = k < i;
			memcpy(c->node[k].key, public_key[k], sizeof(c->node[k].key));
		}
	}
}

static void rig_start(unsigned i)
{
	const struct bus_ops ops = {rig_message, rig_connected, rig_refused, &side[i]};

	if (!side[i].loop)
		side[i].loop = loop_new(0);
	ck_assert_ptr_nonnull(side[i].loop);
	side[i].bus = bus_new(side[i].loop, &side[i].conf, &ops, bus_error);
	if (!side[i].bus)
		ck_abort_msg("%s", bus_error);
}

static void rig_stop(unsigned i)
{
	side[i].bus = bus_free(side[i].bus);
	memset(side[i].up, 0, sizeof(side[i].up));
}

static void rig_end(void)
{
	for (unsigned i = 0; i < SIDES; i++) {
		rig_stop(i);
		loop_free(side[i].loop);
		side[i].loop = NULL;
	}
}

/* One round of everybody; whoever is asleep stays so. */
static void rig_round(void)
{
	for (unsigned i = 0; i < SIDES; i++)
		if (side[i].bus)
			loop_round(side[i].loop, 1);
}

#define RIG_AWAIT(condition)                                      \
	do {                                                      \
		msec until = time_now() + WAIT_MS;                \
		bool is;                                          \
		while (!(is = (condition)) && time_now() < until) \
			rig_round();                              \
		ck_assert_msg(is, "%s: in vain", (#condition));   \
	} while (0)

static inline int rig_send(unsigned from, unsigned to, const char *text)
{
	return bus_send(side[from].bus, to, span_str(text));
}

/* A message of n bytes with a number in front. */
static inline int rig_send_number(unsigned from, unsigned to, uint64_t number, size_t n)
{
	static char bytes[BUS_MESSAGE_MAX_BYTES + 1];

	memcpy(bytes, &number, sizeof(number));
	return bus_send(side[from].bus, to, span_of(bytes, n));
}

/* Two sides, 1 dials 0, up. */
static inline void rig_pair(void)
{
	rig_start(0);
	rig_start(1);
	RIG_AWAIT(side[0].up[1] && side[1].up[0]);
}

/* ---- a stranger ---- */

struct stranger {
	void *ctx, *zmq;
};

/* Dials side 0 with the key of side `as`; route: a routing id of his own, or NULL. */
static inline struct stranger stranger_dial(unsigned as, const char *route)
{
	struct stranger x = {.ctx = zmq_ctx_new()};
	char url[80] = "tcp://";
	int zero = 0;

	x.zmq = zmq_socket(x.ctx, ZMQ_DEALER);
	addr_text(&address[0], url + strlen(url));
	zmq_setsockopt(x.zmq, ZMQ_LINGER, &zero, sizeof(zero));
	zmq_setsockopt(x.zmq, ZMQ_CURVE_SERVERKEY, public_key[0], BUS_KEY_CHARS + 1);
	zmq_setsockopt(x.zmq, ZMQ_CURVE_PUBLICKEY, public_key[as], BUS_KEY_CHARS + 1);
	zmq_setsockopt(x.zmq, ZMQ_CURVE_SECRETKEY, secret_key[as], BUS_KEY_CHARS + 1);
	if (route)
		zmq_setsockopt(x.zmq, ZMQ_ROUTING_ID, route, strlen(route));
	ck_assert_int_eq(zmq_connect(x.zmq, url), 0);
	return x;
}

static inline void stranger_say(struct stranger *x, const char *first, const char *second)
{
	ck_assert_int_ge(zmq_send(x->zmq, first, strlen(first), second ? ZMQ_SNDMORE : 0), 0);
	if (second)
		ck_assert_int_ge(zmq_send(x->zmq, second, strlen(second), 0), 0);
}

static inline void stranger_hello(struct stranger *x)
{
	stranger_say(x, "eaves bus 1", "eaves.test");
}

/* The next part that he is sent, into `text`: whether there was one. */
static inline bool stranger_hears(struct stranger *x, char text[LAST_MAX])
{
	int n = zmq_recv(x->zmq, text, LAST_MAX - 1, ZMQ_DONTWAIT);

	if (n < 0)
		return false;
	text[n < LAST_MAX ? n : LAST_MAX - 1] = '\0';
	return true;
}

static inline void stranger_leave(struct stranger *x)
{
	zmq_close(x->zmq);
	zmq_ctx_term(x->ctx);
}

#endif
