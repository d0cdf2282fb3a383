/*
 * Socket addresses, IPv4 and IPv6.
 */
#ifndef EAVES_BASE_ADDR_H
#define EAVES_BASE_ADDR_H

#include "common/base/span.h"

#include <netinet/in.h>
#include <sys/socket.h>

struct addr {
	union {
		struct sockaddr sa;
		struct sockaddr_in in4;
		struct sockaddr_in6 in6;
	};
};

enum { ADDR_TEXT_MAX = 64 };

/* host: an IPv4 or IPv6 literal, IPv6 with or without brackets.  0 or -EINVAL. */
int addr_parse(struct addr *a, struct span host, uint16_t port);
static inline socklen_t addr_len(const struct addr *a)
{
	return a->sa.sa_family == AF_INET6 ? sizeof(a->in6) : sizeof(a->in4);
}
uint16_t addr_port(const struct addr *a);
void addr_set_port(struct addr *a, uint16_t port);
bool addr_equal(const struct addr *a, const struct addr *b);
/* Equal without regard to the port. */
bool addr_host_equal(const struct addr *a, const struct addr *b);
/* 0.0.0.0 or ::, all addresses of the machine. */
bool addr_is_any(const struct addr *a);
/* The host alone, as it stands in SIP (IPv6 in brackets); the length written, NUL behind it. */
size_t addr_host_text(const struct addr *a, char out[ADDR_TEXT_MAX]);
/* host:port, IPv6 in brackets; the length written, NUL behind it. */
size_t addr_text(const struct addr *a, char out[ADDR_TEXT_MAX]);
uint64_t addr_hash(const struct addr *a);
/* The bytes of the IP address, without port: for a keyed hash. */
static inline struct span addr_host_bytes(const struct addr *a)
{
	if (a->sa.sa_family == AF_INET6)
		return span_of((const char *)&a->in6.sin6_addr, sizeof(a->in6.sin6_addr));
	return span_of((const char *)&a->in4.sin_addr, sizeof(a->in4.sin_addr));
}

/* "10.0.0.0/8", "2001:db8::/32", or a single address.  IPv4-mapped IPv6 peers match IPv4 rules.
 */
struct addr_net {
	struct addr net;
	unsigned prefix_bits;
};
int addr_net_parse(struct addr_net *n, struct span text);
bool addr_net_match(const struct addr_net *n, const struct addr *a);

#endif
