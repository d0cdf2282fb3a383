/*
 * Descriptors of other libraries (ZeroMQ, hiredis) in a loop.
 */
#include "common/loop/loop.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdlib.h>

struct loop_watch {
	struct event ev;
	struct loop *loop;
	int fd;
	unsigned events;
	void (*fn)(void *arg, unsigned events);
	void *arg;
};

static void on_ready(evutil_socket_t fd, short what, void *arg)
{
	struct loop_watch *w = arg;
	(void)fd;
	loop_now(w->loop);
	w->fn(w->arg, (what & EV_READ ? LOOP_READ : 0) | (what & EV_WRITE ? LOOP_WRITE : 0));
}

struct loop_watch *loop_watch_new(struct loop *l, int fd,
				  void (*fn)(void *arg, unsigned events), void *arg)
{
	struct loop_watch *w = calloc(1, sizeof(*w));
	if (!w)
		return NULL;
	*w = (struct loop_watch){.loop = l, .fd = fd, .fn = fn, .arg = arg};
	return w;
}

int loop_watch_set(struct loop_watch *w, unsigned events)
{
	short what = EV_PERSIST;
	if (events == w->events)
		return 0;
	if (w->events)
		event_del(&w->ev);
	w->events = 0;
	if (!events)
		return 0;
	what |= events & LOOP_READ ? EV_READ : 0;
	what |= events & LOOP_WRITE ? EV_WRITE : 0;
	if (event_assign(&w->ev, loop_base(w->loop), w->fd, what, on_ready, w) < 0 ||
	    event_add(&w->ev, NULL) < 0)
		return -ENOMEM;
	w->events = events;
	return 0;
}

struct loop_watch *loop_watch_free(struct loop_watch *w)
{
	if (!w)
		return NULL;
	loop_watch_set(w, 0);
	free(w);
	return NULL;
}
