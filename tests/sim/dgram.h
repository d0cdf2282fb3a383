/*
 * Datagrams between hosts: delayed, lost, doubled and overtaken as the trouble of the network
 * says.
 */
#ifndef EAVES_SIM_DGRAM_H
#define EAVES_SIM_DGRAM_H

#include "tests/sim/host.h"

#include <sys/uio.h>

struct udp_sock {
	struct list link; /* of its host */
	struct host *host;
	struct addr local;
	void (*datagram)(struct udp_sock *s, const struct addr *from, struct span bytes);
	/* Nobody listens there (ICMP); may be NULL. */
	void (*refused)(struct udp_sock *s, const struct addr *to);
};

/* The functions and what is around it are the owner's. */
void udp_sock_open(struct udp_sock *s, struct host *h, const struct addr *local);
void udp_sock_close(struct udp_sock *s);
void udp_sock_send(struct udp_sock *s, const struct addr *to, struct span bytes);
/* Has somebody of the host this port? */
bool udp_taken(const struct host *h, const struct addr *local);

#endif
