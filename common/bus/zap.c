/*
 * Who may speak to us (ZeroMQ's RFC 27): ZeroMQ asks here before it lets a connection in.  Only
 * the keys of nodes that are to dial us are let in; the User-Id of all their messages is then
 * the node's index, which nobody but this file writes.
 */
#include "common/bus/bus_priv.h"

#include <stdio.h>

enum { VERSION, REQUEST, DOMAIN, ADDRESS, ROUTE, MECHANISM, KEY, PARTS };

/* The node, or -1 and why not. */
static int judge(const struct bus *b, const struct span *part, const char **ret_why)
{
	*ret_why = "does not speak CURVE";
	if (!span_eq(part[MECHANISM], SPAN("CURVE")) || part[KEY].n != BUS_KEY_BYTES)
		return -1;
	*ret_why = "a question about another domain";
	if (!span_eq(part[DOMAIN], span_str(b->domain)))
		return -1;
	*ret_why = "its key is none of the cluster's";
	for (unsigned i = 0; i < b->n; i++) {
		if (memcmp(b->node[i].key, part[KEY].p, BUS_KEY_BYTES) != 0)
			continue;
		*ret_why = i == b->self ? "it has our own key" : "a node that we dial dials us";
		return i == b->self || b->node[i].dial ? -1 : (int)i;
	}
	return -1;
}

static void answer(struct sock *s, struct span request, int node)
{
	char user[16] = "";

	if (node >= 0)
		snprintf(user, sizeof(user), "%d", node);
	sock_send_copy(s, "1.0", 3, true);
	sock_send_copy(s, request.p, request.n, true);
	sock_send_copy(s, node >= 0 ? "200" : "400", 3, true);
	sock_send_copy(s, "", 0, true); /* reason */
	sock_send_copy(s, user, strlen(user), true);
	sock_send_copy(s, "", 0, false); /* metadata */
}

static void serve(struct sock *s, const struct span *part)
{
	char address[ADDR_TEXT_MAX];
	const char *why;
	int node = judge(s->bus, part, &why);

	answer(s, part[REQUEST], node);
	if (node >= 0)
		return;
	snprintf(address, sizeof(address), "%.*s", SPAN_FMT(part[ADDRESS]));
	listen_refuse(s->bus, address, why);
}

static bool take(struct sock *s)
{
	for (unsigned i = 0; i < BUS_TURN; i++) {
		zmq_msg_t msg[PARTS];
		struct span part[PARTS];
		unsigned n = sock_receive(s, msg, PARTS);

		if (n == 0)
			return false;
		for (unsigned k = 0; k < PARTS && k < n; k++)
			part[k] = sock_span(&msg[k]);
		if (n == PARTS)
			serve(s, part);
		else /* ZeroMQ's own words: never; but it waits for an answer */
			answer(s, n > REQUEST ? part[REQUEST] : SPAN(""), -1);
		sock_done(msg, n < PARTS ? n : PARTS);
	}
	return true;
}

int zap_open(struct bus *b)
{
	int r = sock_open(&b->zap, b, ZMQ_REP, take);

	if (r == 0 && zmq_bind(b->zap.zmq, "inproc://zeromq.zap.01") < 0)
		r = -zmq_errno();
	return r;
}
