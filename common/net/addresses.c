/*
 * When an address of the machine comes or goes (rtnetlink(7)).  What came or went is not read:
 * whoever wants to know looks for himself, and a queue that overflows loses nothing.
 */
#include "common/net/net.h"

#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct net_watch {
	int fd;
	struct loop_watch *watch;
	void (*changed)(void *arg);
	void *arg;
};

/* Many at once are one change; what is left wakes the loop again. */
static void on_readable(void *arg, unsigned events)
{
	enum { READS_MAX = 64 };
	struct net_watch *w = arg;
	char some[64];
	unsigned n = 0;
	(void)events;
	while (n < READS_MAX && recv(w->fd, some, sizeof(some), MSG_DONTWAIT) >= 0)
		n++;
	w->changed(w->arg);
}

static int open_socket(void)
{
	const struct sockaddr_nl at = {.nl_family = AF_NETLINK,
				       .nl_groups = RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
	if (fd >= 0 && bind(fd, (const struct sockaddr *)&at, sizeof(at)) == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

struct net_watch *net_addresses_watch(struct loop *l, void (*changed)(void *arg), void *arg)
{
	int fd = open_socket();
	struct net_watch *w = fd >= 0 ? calloc(1, sizeof(*w)) : NULL;
	if (!w) {
		if (fd >= 0)
			close(fd);
		return NULL;
	}
	*w = (struct net_watch){.fd = fd, .changed = changed, .arg = arg};
	w->watch = loop_watch_new(l, fd, on_readable, w);
	if (w->watch && loop_watch_set(w->watch, LOOP_READ) == 0)
		return w;
	return net_addresses_unwatch(w);
}

struct net_watch *net_addresses_unwatch(struct net_watch *w)
{
	if (!w)
		return NULL;
	loop_watch_free(w->watch);
	close(w->fd);
	free(w);
	return NULL;
}
