/*
 * A socket of ZeroMQ's in the loop.  Its descriptor says only that something has happened
 * inside, and any call on the socket may swallow that: so it is always taken from until there
 * is nothing left, and whoever has sent has it looked at again at the end of the round.
 */
#include "common/bus/bus_priv.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

static void on_readable(void *arg, unsigned events)
{
	(void)events;
	sock_turn(arg);
}

int sock_set(struct sock *s, int option, int value)
{
	return zmq_setsockopt(s->zmq, option, &value, sizeof(value)) == 0 ? 0 : -errno;
}

int sock_open(struct sock *s, struct bus *b, int type, bool (*take)(struct sock *s))
{
	size_t n = sizeof(int);
	int fd, r;

	*s = (struct sock){.bus = b, .take = take};
	list_init(&s->touched);
	s->zmq = zmq_socket(b->ctx, type);
	if (!s->zmq)
		return -errno;
	r = zmq_getsockopt(s->zmq, ZMQ_FD, &fd, &n) == 0 ? 0 : -errno;
	if (r == 0) {
		s->watch = loop_watch_new(b->loop, fd, on_readable, s);
		r = s->watch ? loop_watch_set(s->watch, LOOP_READ) : -ENOMEM;
	}
	if (r < 0)
		sock_close(s, 0);
	else
		sock_touch(s); /* what it is now told to do swallows signals too */
	return r;
}

void sock_close(struct sock *s, int linger_ms)
{
	if (!s->zmq)
		return;
	s->watch = loop_watch_free(s->watch);
	list_remove(&s->touched);
	sock_set(s, ZMQ_LINGER, linger_ms);
	zmq_close(s->zmq);
	s->zmq = NULL;
}

int sock_limits(struct sock *s, const struct addr *a)
{
	const struct bus *b = s->bus;
	/* What CURVE adds to a message counts there. */
	int64_t most = BUS_MESSAGE_MAX_BYTES + 64;
	const struct {
		int option, value;
	} set[] = {
		{ZMQ_IPV6, a->sa.sa_family == AF_INET6},
		{ZMQ_SNDHWM, (int)b->queue_messages},
		{ZMQ_RCVHWM, BUS_UNREAD_MAX},
		{ZMQ_HANDSHAKE_IVL, BUS_HANDSHAKE_MS},
		{ZMQ_HEARTBEAT_IVL, (int)b->heartbeat_ms},
		/* Counted from a ping on. */
		{ZMQ_HEARTBEAT_TIMEOUT, (int)(b->dead_ms - b->heartbeat_ms)},
	};

	for (unsigned i = 0; i < sizeof(set) / sizeof(set[0]); i++) {
		int r = sock_set(s, set[i].option, set[i].value);

		if (r < 0)
			return r;
	}
	return zmq_setsockopt(s->zmq, ZMQ_MAXMSGSIZE, &most, sizeof(most)) == 0 ? 0 : -errno;
}

void sock_turn(struct sock *s)
{
	if (s->take(s))
		sock_touch(s);
	else
		list_remove(&s->touched); /* all that was sent was sent before the last look */
}

void sock_touch(struct sock *s)
{
	if (list_empty(&s->touched))
		list_append(&s->bus->touched, &s->touched);
}

unsigned sock_receive(struct sock *s, zmq_msg_t *part, unsigned max)
{
	unsigned n = 0;
	bool more = true;

	for (; more; n++) {
		zmq_msg_t rest, *m = n < max ? &part[n] : &rest;

		zmq_msg_init(m);
		if (zmq_msg_recv(m, s->zmq, ZMQ_DONTWAIT) < 0) {
			zmq_msg_close(m);
			break;
		}
		more = zmq_msg_more(m);
		if (m == &rest)
			zmq_msg_close(m);
	}
	return n;
}

void sock_done(zmq_msg_t *part, unsigned n)
{
	while (n-- > 0)
		zmq_msg_close(&part[n]);
}

int sock_send_copy(struct sock *s, const void *p, size_t n, bool more)
{
	int flags = ZMQ_DONTWAIT | (more ? ZMQ_SNDMORE : 0);

	return zmq_send(s->zmq, p, n, flags) < 0 ? -errno : 0;
}

static bool has_input(struct sock *s)
{
	int events = 0;
	size_t n = sizeof(events);

	return zmq_getsockopt(s->zmq, ZMQ_EVENTS, &events, &n) == 0 && events & ZMQ_POLLIN;
}

/* The end of a round.  Nothing is taken here: the upper floors' hooks have run already, and
 * what they would gather for them now would lie there while the loop sleeps. */
static void on_round(void *arg)
{
	struct bus *b = arg;

	list_for_each_safe (it, &b->touched) {
		struct sock *s = container_of(it, struct sock, touched);

		if (!has_input(s))
			list_remove(it);
	}
	if (!list_empty(&b->touched))
		loop_watch_set(b->again, LOOP_READ);
}

static void on_again(void *arg, unsigned events)
{
	struct bus *b = arg;
	struct list now; /* each once: who has more is touched anew */

	(void)events;
	loop_watch_set(b->again, 0);
	list_init(&now);
	list_for_each_safe (it, &b->touched) {
		list_remove(it);
		list_append(&now, it);
	}
	while (!list_empty(&now)) {
		struct sock *s = container_of(now.next, struct sock, touched);

		list_remove(&s->touched);
		sock_turn(s);
	}
}

int sock_round_start(struct bus *b)
{
	b->again_fd = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC);
	if (b->again_fd < 0)
		return -errno;
	b->again = loop_watch_new(b->loop, b->again_fd, on_again, b);
	/* Once here, so that it takes no memory when it must not fail. */
	if (!b->again || loop_watch_set(b->again, LOOP_READ) < 0)
		return -ENOMEM;
	loop_watch_set(b->again, 0);
	return loop_on_round(b->loop, on_round, b);
}

void sock_round_stop(struct bus *b)
{
	loop_off_round(b->loop, on_round, b);
	b->again = loop_watch_free(b->again);
	if (b->again_fd >= 0)
		close(b->again_fd);
}
