/*
 * A listening socket and its few clients: limits, deadlines and the closing that does not lose
 * the end of an answer.  What is said on it: socket.c, http.c.
 */
#include "common/admin/admin_priv.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { WRITE_DEADLINE_MS = 30000, ACCEPT_PAUSE_MS = 1000, BACKLOG = 64 };

static void client_free(struct admin_client *c)
{
	wheel_stop(loop_wheel(c->port->admin->loop), &c->deadline);
	if (c->later)
		c->later->answer = NULL; /* it goes on without */
	list_remove(&c->link);
	c->port->nclients--;
	bufferevent_free(c->bev);
	free(c->argv);
	free(c->words);
	free(c);
}

static void on_deadline(struct wheel_timer *t, msec now)
{
	(void)now;
	client_free(container_of(t, struct admin_client, deadline));
}

static void on_read(struct bufferevent *bev, void *arg)
{
	struct admin_client *c = arg;
	struct evbuffer *in = bufferevent_get_input(bev);

	if (c->closing || c->later)
		evbuffer_drain(in, evbuffer_get_length(in));
	else
		c->port->read(c, in);
}

/* All is written: the peer is told so, and closes. */
static void on_written(struct bufferevent *bev, void *arg)
{
	struct admin_client *c = arg;

	if (!c->closing)
		return;
	if (bufferevent_get_enabled(bev) & EV_READ)
		shutdown(bufferevent_getfd(bev), SHUT_WR);
	else
		client_free(c); /* it has closed its side already */
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	struct admin_client *c = arg;

	/* A peer that has said all it wants to say may still read its answer. */
	if ((what & BEV_EVENT_EOF) &&
	    (c->later || evbuffer_get_length(bufferevent_get_output(bev)) > 0)) {
		bufferevent_disable(bev, EV_READ);
		return;
	}
	if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR))
		client_free(c);
}

/* 0, -ENOMEM; fd is the client's, or still the caller's on error. */
static int client_new(struct admin_port *p, int fd)
{
	struct admin_client *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->port = p;
	c->bev = bufferevent_socket_new(loop_base(p->admin->loop), fd, BEV_OPT_CLOSE_ON_FREE);
	if (!c->bev) {
		free(c);
		return -ENOMEM;
	}
	wheel_timer_init(&c->deadline, on_deadline);
	list_append(&p->clients, &c->link);
	p->nclients++;
	bufferevent_setcb(c->bev, on_read, on_written, on_event, c);
	admin_client_deadline(c, p->deadline_ms);
	if (bufferevent_enable(c->bev, EV_READ | EV_WRITE) < 0)
		client_free(c);
	return 0;
}

static void on_accept(struct evconnlistener *lev, evutil_socket_t fd, struct sockaddr *sa,
		      int n, void *arg)
{
	struct admin_port *p = arg;
	const char *why = NULL;

	(void)lev;
	(void)sa;
	(void)n;
	if (p->allow && !p->allow(fd))
		why = "not permitted: the server's own user or root may";
	else if (p->nclients >= p->max_clients)
		why = "too many clients: try again";
	else if (client_new(p, fd) < 0)
		why = "out of memory";
	if (!why)
		return;
	p->refuse(fd, why);
	close(fd);
}

static void on_pause_over(struct wheel_timer *t, msec now)
{
	struct admin_port *p = container_of(t, struct admin_port, pause);

	if (evconnlistener_enable(p->listener) < 0)
		wheel_arm(loop_wheel(p->admin->loop), t, now + ACCEPT_PAUSE_MS);
}

/* Out of descriptors most likely: looking again at once would spin. */
static void on_accept_error(struct evconnlistener *lev, void *arg)
{
	struct admin_port *p = arg;
	struct loop *l = p->admin->loop;

	evconnlistener_disable(lev);
	wheel_arm(loop_wheel(l), &p->pause, loop_now(l) + ACCEPT_PAUSE_MS);
}

int admin_port_start(struct admin_port *p, struct admin *a, int fd)
{
	p->admin = a;
	list_init(&p->clients);
	wheel_timer_init(&p->pause, on_pause_over);
	/* Enabled on its own: evconnlistener_new would not tell that this failed. */
	p->listener = evconnlistener_new(
		loop_base(a->loop), on_accept, p,
		LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_DISABLED, BACKLOG, fd);
	if (!p->listener) {
		close(fd);
		return -ENOMEM;
	}
	evconnlistener_set_error_cb(p->listener, on_accept_error);
	if (evconnlistener_enable(p->listener) == 0)
		return 0;
	evconnlistener_free(p->listener);
	p->listener = NULL;
	return -ENOMEM;
}

/* The loop writes no more: what the socket takes at once still goes. */
static void write_rest(struct admin_client *c)
{
	struct evbuffer *out = bufferevent_get_output(c->bev);

	if (!c->closing || evbuffer_get_length(out) == 0)
		return;
	evbuffer_unfreeze(out, 1);
	evbuffer_write(out, bufferevent_getfd(c->bev));
}

void admin_port_stop(struct admin_port *p)
{
	if (!p->listener)
		return;
	wheel_stop(loop_wheel(p->admin->loop), &p->pause);
	list_for_each_safe (it, &p->clients) {
		write_rest(container_of(it, struct admin_client, link));
		client_free(container_of(it, struct admin_client, link));
	}
	evconnlistener_free(p->listener);
	p->listener = NULL;
}

void admin_client_deadline(struct admin_client *c, unsigned ms)
{
	struct loop *l = c->port->admin->loop;

	wheel_arm(loop_wheel(l), &c->deadline, loop_now(l) + ms);
}

void admin_client_write(struct admin_client *c, const void *p, size_t n)
{
	/* Out of memory: the peer sees the end of the connection instead. */
	if (bufferevent_write(c->bev, p, n) < 0)
		shutdown(bufferevent_getfd(c->bev), SHUT_RDWR);
}

void admin_client_finish(struct admin_client *c)
{
	c->closing = true;
	admin_client_deadline(c, WRITE_DEADLINE_MS);
}
