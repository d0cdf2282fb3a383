/*
 * What becomes of the connections of a socket, as ZeroMQ tells it: events through a PAIR.  No
 * event is lost: when the PAIR is full its sender, ZeroMQ's own thread, waits until it is read.
 * It holds a lock then that ending the monitor needs: a dialling socket has one connection and
 * never so many events, and the listening one is ended when the thread has been let go
 * (bus_free).  What an event means: listen.c and dial.c.
 */
#include "common/bus/bus_priv.h"

#include <errno.h>
#include <stdio.h>

static bool take(struct sock *s)
{
	struct monitor *m = container_of(s, struct monitor, sock);
	struct {
		uint16_t event;
		int32_t value;
	} __attribute__((packed)) e;

	for (unsigned i = 0; i < BUS_TURN; i++) {
		zmq_msg_t part[1];

		if (sock_receive(s, part, 1) == 0) {
			if (m->drained)
				m->drained(m);
			return false;
		}
		if (zmq_msg_size(&part[0]) == sizeof(e)) {
			memcpy(&e, zmq_msg_data(&part[0]), sizeof(e));
			m->event(m, e.event, e.value);
		}
		sock_done(part, 1);
	}
	return true;
}

int monitor_open(struct monitor *m, struct bus *b, void *zmq,
		 void (*event)(struct monitor *m, unsigned event, int value))
{
	enum {
		WANTED = ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_CLOSED | ZMQ_EVENT_DISCONNECTED |
			 ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |
			 ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH
	};
	char address[64];
	int r;

	snprintf(address, sizeof(address), "inproc://monitor/%llu",
		 (unsigned long long)b->monitors++);
	if (zmq_socket_monitor(zmq, address, WANTED) < 0)
		return -errno;
	r = sock_open(&m->sock, b, ZMQ_PAIR, take);
	if (r == 0)
		r = sock_set(&m->sock, ZMQ_RCVHWM, (int)b->queue_events);
	if (r == 0 && zmq_connect(m->sock.zmq, address) < 0)
		r = -errno;
	m->event = event;
	if (r < 0)
		monitor_close(m, zmq);
	return r;
}

void monitor_close(struct monitor *m, void *zmq)
{
	zmq_socket_monitor(zmq, NULL, 0);
	sock_close(&m->sock, 0);
}
