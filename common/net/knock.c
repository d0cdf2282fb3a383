/*
 * Half-open connections (RFC 9293 3.5.1).  A peer whose connection went silently with another
 * machine, whose address has come here since, would find out by its next keep-alive.  A SYN
 * from the address and port that it thinks it is connected to makes it find out now: it answers
 * with an ACK of the old connection (RFC 5961 4), which is none of the system's here and is
 * answered with a reset.  The socket ends as soon as the SYN has left, so that the peer may
 * connect anew from the same port.  Nothing but the peer's own address and port is needed, it
 * works through NATs, and where the connection lives after all nothing happens: the system does
 * not open a second one between the same ends, and who is not at the address cannot send from
 * it.
 */
#include "common/net/net_priv.h"

#include <errno.h>
#include <unistd.h>

int net_knock(struct net *n, unsigned listener, const struct addr *peer)
{
	const struct linger none = {.l_onoff = 1};
	const struct listener *l = listener < n->nlisteners ? &n->listener[listener] : NULL;
	int fd, r = 0;

	if (!l || !sip_transport_reliable(l->transport) ||
	    l->addr.sa.sa_family != peer->sa.sa_family)
		return -ENOTSUP;
	fd = stream_socket(l);
	if (fd < 0)
		return fd;
	if (connect(fd, &peer->sa, addr_len(peer)) < 0 && errno != EINPROGRESS)
		r = -errno;
	else
		counter_inc(&n->count.knocks);
	/* The SYN has left.  What answers it is not to find this socket, but none. */
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
	close(fd);
	return r;
}
