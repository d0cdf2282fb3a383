/*
 * Half-open connections (RFC 9293 3.5.1).  A peer whose connection went silently with another
 * machine, whose address has come here since, would find out by its next keep-alive.  A SYN
 * from the address and port that it thinks it is connected to makes it find out now: it answers
 * with an ACK of the old connection (RFC 5961 4), the system here knows of none and answers
 * that with a reset.  Nothing but the peer's own address and port is needed, it works through
 * NATs, and where the connection lives after all nothing happens: the system does not open a
 * second one between the same ends, and who is not at the address cannot send from it.
 */
#include "common/net/net_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

enum { KNOCKS_MAX = 256, KNOCK_MS = 1000 };

struct knock {
	struct list link;
	struct net *net;
	struct event ev;
	struct addr peer;
	uint16_t listener;
	int fd;
};

static void end(struct knock *k)
{
	const struct linger none = {.l_onoff = 1};

	/* Who has opened something there by now gets no connection that says nothing. */
	setsockopt(k->fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
	event_del(&k->ev);
	close(k->fd);
	list_remove(&k->link);
	k->net->nknocks--;
	free(k);
}

static void on_event(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what; /* refused, as it should be; accepted; or the time is over */
	end(arg);
}

static bool is_knocking(const struct net *n, unsigned listener, const struct addr *peer)
{
	list_for_each (it, &n->knocks) {
		const struct knock *k = container_of(it, struct knock, link);
		if (k->listener == listener && addr_equal(&k->peer, peer))
			return true;
	}
	return false;
}

static int open_socket(const struct listener *l, const struct addr *peer)
{
	int family = l->addr.sa.sa_family, r;
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	r = stream_options(fd, family);
	if (r == 0 && (bind(fd, &l->addr.sa, addr_len(&l->addr)) < 0 ||
		       (connect(fd, &peer->sa, addr_len(peer)) < 0 && errno != EINPROGRESS)))
		r = -errno;
	if (r < 0)
		close(fd);
	return r < 0 ? r : fd;
}

int net_knock(struct net *n, unsigned listener, const struct addr *peer)
{
	const struct timeval limit = {.tv_sec = KNOCK_MS / 1000};
	const struct listener *l = listener < n->nlisteners ? &n->listener[listener] : NULL;
	struct knock *k;

	if (!l || !sip_transport_reliable(l->transport) ||
	    l->addr.sa.sa_family != peer->sa.sa_family)
		return -ENOTSUP;
	if (is_knocking(n, listener, peer))
		return 0;
	if (n->nknocks == KNOCKS_MAX)
		return -ENOBUFS;
	if (!(k = malloc(sizeof(*k))))
		return -ENOMEM;
	*k = (struct knock){.net = n, .peer = *peer, .listener = (uint16_t)listener};
	k->fd = open_socket(l, peer);
	if (k->fd < 0) {
		int r = k->fd;
		free(k);
		return r;
	}
	event_assign(&k->ev, n->base, k->fd, EV_WRITE, on_event, k);
	list_append(&n->knocks, &k->link);
	n->nknocks++;
	counter_inc(&n->count.knocks);
	if (event_add(&k->ev, &limit) < 0) {
		end(k);
		return -ENOMEM;
	}
	return 0;
}

void knocks_free(struct net *n)
{
	list_for_each_safe (it, &n->knocks)
		end(container_of(it, struct knock, link));
}
