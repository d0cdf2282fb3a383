/*
 * ICMP errors of UDP sends (RFC 3261 18.4): the socket's error queue tells the destination, and
 * a ring of recent sends tells which identities went there.  An error older than a moment, or
 * of something that we did not send, is nobody's.
 */
#include "common/net/net_priv.h"

#include <errno.h>
#include <linux/errqueue.h>
#include <linux/icmp.h>
#include <netinet/in.h>
#include <unistd.h>

enum { RECENT_MS = 2000, DRAIN_MAX = 64 };

void udp_error_setup(int fd, int family)
{
	int on = 1;

	if (family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_RECVERR, &on, sizeof(on));
	else
		setsockopt(fd, IPPROTO_IP, IP_RECVERR, &on, sizeof(on));
}

void udp_error_remember(struct net *n, const struct addr *to, uint64_t id)
{
	struct recent *r = &n->recent[n->recent_next++ % RECENT_MAX];

	*r = (struct recent){*to, id, loop_now(n->loop)};
}

bool net_unreachable(struct net *n, const struct addr *to, int error)
{
	msec now = loop_now(n->loop);
	bool found = false;

	for (unsigned i = 0; i < RECENT_MAX; i++) {
		struct recent *r = &n->recent[i];

		if (r->id == 0 || r->at + RECENT_MS < now || !addr_equal(&r->to, to))
			continue;
		net_lost(n, r->id, error);
		r->id = 0;
		found = true;
	}
	return found;
}

/* Of the sockets that share a port (SO_REUSEPORT) the kernel tells any one. */
static void tell(struct net *n, const struct addr *to, int error)
{
	if (!net_unreachable(n, to, error) && n->ops.unreachable)
		n->ops.unreachable(n->ops.arg, to, error);
}

static const struct sock_extended_err *error_of(struct msghdr *h)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c))
		if ((c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR) ||
		    (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR))
			return (const void *)CMSG_DATA(c);
	return NULL;
}

static bool is_unreachable(const struct sock_extended_err *e)
{
	if (e->ee_origin != SO_EE_ORIGIN_ICMP && e->ee_origin != SO_EE_ORIGIN_ICMP6)
		return false;
	/* A packet too large for the path is fragmented next time. */
	return e->ee_errno != EMSGSIZE && e->ee_errno != 0;
}

/* A service address that another machine has now: Linux says ENETUNREACH wherever to, as for a
 * target that there is no way to.  That one would be out of reach from any address. */
bool udp_error_is_ours(const struct addr *to, int error)
{
	if (error != ENETUNREACH)
		return false;
	int fd = socket(to->sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	bool reaches = connect(fd, &to->sa, addr_len(to)) == 0;
	close(fd);
	return reaches;
}

void udp_error_drain(struct listener *l)
{
	char payload[1];
	_Alignas(struct cmsghdr) char control[512];

	for (int i = 0; i < DRAIN_MAX; i++) {
		struct addr to = {0};
		struct iovec iov = {payload, sizeof(payload)};
		struct msghdr h = {.msg_name = &to,
				   .msg_namelen = sizeof(to),
				   .msg_iov = &iov,
				   .msg_iovlen = 1,
				   .msg_control = control,
				   .msg_controllen = sizeof(control)};
		const struct sock_extended_err *e;

		if (recvmsg(l->fd, &h, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
			return;
		e = error_of(&h);
		if (e && is_unreachable(e))
			tell(l->net, &to, -(int)e->ee_errno);
	}
}
