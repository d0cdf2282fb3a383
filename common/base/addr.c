/*
 * Socket addresses: text, comparison, prefixes.
 */
#include "common/base/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

/* As inet_pton: four numbers of at most 255, no zero in front. */
static bool parse_ipv4(struct span s, uint32_t *ret)
{
	uint32_t all = 0, v = 0;
	unsigned parts = 0, digits = 0;
	for (size_t i = 0; i < s.n; i++) {
		unsigned d = (unsigned char)s.p[i] - (unsigned)'0';
		if (d > 9) {
			if (s.p[i] != '.' || digits == 0 || ++parts > 3)
				return false;
			all = all << 8 | v;
			v = digits = 0;
			continue;
		}
		v = v * 10 + d;
		if (v > 255 || (digits > 0 && v < 10))
			return false;
		digits++;
	}
	*ret = all << 8 | v;
	return parts == 3 && digits > 0;
}

/* IPv6, or IPv4 in brackets. */
static int parse_other(struct addr *a, struct span host, uint16_t port)
{
	char text[INET6_ADDRSTRLEN];
	if (host.n >= 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
		host = span_of(host.p + 1, host.n - 2);
	if (host.n == 0 || host.n >= sizeof(text) || memchr(host.p, '\0', host.n))
		return -EINVAL;
	memcpy(text, host.p, host.n);
	text[host.n] = '\0';
	memset(a, 0, sizeof(*a));
	if (inet_pton(AF_INET, text, &a->in4.sin_addr) == 1)
		a->sa.sa_family = AF_INET;
	else if (inet_pton(AF_INET6, text, &a->in6.sin6_addr) == 1)
		a->sa.sa_family = AF_INET6;
	else
		return -EINVAL;
	addr_set_port(a, port);
	return 0;
}

int addr_parse(struct addr *a, struct span host, uint16_t port)
{
	uint32_t ipv4;
	if (parse_ipv4(host, &ipv4)) {
		memset(a, 0, sizeof(*a));
		a->in4.sin_family = AF_INET;
		a->in4.sin_addr.s_addr = htonl(ipv4);
		a->in4.sin_port = htons(port);
		return 0;
	}
	return parse_other(a, host, port);
}

uint16_t addr_port(const struct addr *a)
{
	return ntohs(a->sa.sa_family == AF_INET6 ? a->in6.sin6_port : a->in4.sin_port);
}

void addr_set_port(struct addr *a, uint16_t port)
{
	if (a->sa.sa_family == AF_INET6)
		a->in6.sin6_port = htons(port);
	else
		a->in4.sin_port = htons(port);
}

bool addr_host_equal(const struct addr *a, const struct addr *b)
{
	if (a->sa.sa_family != b->sa.sa_family)
		return false;
	if (a->sa.sa_family == AF_INET6)
		return memcmp(&a->in6.sin6_addr, &b->in6.sin6_addr, 16) == 0;
	return a->in4.sin_addr.s_addr == b->in4.sin_addr.s_addr;
}

bool addr_equal(const struct addr *a, const struct addr *b)
{
	return addr_host_equal(a, b) && addr_port(a) == addr_port(b);
}

static size_t put_number(char *out, unsigned v)
{
	char room[SPAN_DEC_MAX];
	struct span digits = span_dec(v, room);
	memcpy(out, digits.p, digits.n);
	return digits.n;
}

/* Of every message that goes to another node: not by printf. */
static size_t put_ipv4(char *out, struct in_addr a)
{
	const unsigned char *byte = (const unsigned char *)&a.s_addr;
	size_t n = 0;
	for (unsigned i = 0; i < 4; i++) {
		if (i)
			out[n++] = '.';
		n += put_number(out + n, byte[i]);
	}
	out[n] = '\0';
	return n;
}

size_t addr_host_text(const struct addr *a, char out[ADDR_TEXT_MAX])
{
	char text[INET6_ADDRSTRLEN];
	if (a->sa.sa_family != AF_INET6)
		return put_ipv4(out, a->in4.sin_addr);
	if (!inet_ntop(AF_INET6, &a->in6.sin6_addr, text, sizeof(text)))
		text[0] = '\0';
	return (size_t)snprintf(out, ADDR_TEXT_MAX, "[%s]", text);
}

size_t addr_text(const struct addr *a, char out[ADDR_TEXT_MAX])
{
	size_t n = addr_host_text(a, out);
	out[n++] = ':';
	n += put_number(out + n, addr_port(a));
	out[n] = '\0';
	return n;
}

static inline uint64_t mix(uint64_t z)
{
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

uint64_t addr_hash(const struct addr *a)
{
	uint64_t w[2] = {0, 0};
	if (a->sa.sa_family == AF_INET6)
		memcpy(w, &a->in6.sin6_addr, 16);
	else
		w[0] = a->in4.sin_addr.s_addr;
	return mix(mix(w[0] + addr_port(a)) ^ w[1]);
}

int addr_net_parse(struct addr_net *n, struct span text)
{
	uint64_t bits;
	ptrdiff_t slash = span_chr(text, '/', 0);
	struct span host = slash < 0 ? text : span_of(text.p, (size_t)slash);
	if (addr_parse(&n->net, host, 0) < 0)
		return -EINVAL;
	unsigned max = n->net.sa.sa_family == AF_INET6 ? 128 : 32;
	n->prefix_bits = max;
	if (slash < 0)
		return 0;
	if (span_u64(span_of(text.p + slash + 1, text.n - (size_t)slash - 1), max, &bits) < 0)
		return -EINVAL;
	n->prefix_bits = (unsigned)bits;
	return 0;
}

/* The bytes of the address; an IPv4-mapped IPv6 address is its IPv4 one. */
static const unsigned char *ip_bytes(const struct addr *a, unsigned *ret_bits)
{
	if (a->sa.sa_family == AF_INET6 && !IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr)) {
		*ret_bits = 128;
		return a->in6.sin6_addr.s6_addr;
	}
	*ret_bits = 32;
	if (a->sa.sa_family == AF_INET6)
		return a->in6.sin6_addr.s6_addr + 12;
	return (const unsigned char *)&a->in4.sin_addr;
}

bool addr_net_match(const struct addr_net *n, const struct addr *a)
{
	unsigned net_bits, bits;
	const unsigned char *net = ip_bytes(&n->net, &net_bits);
	const unsigned char *ip = ip_bytes(a, &bits);
	unsigned whole = n->prefix_bits / 8, rest = n->prefix_bits % 8;
	if (bits != net_bits || n->prefix_bits > bits || memcmp(net, ip, whole) != 0)
		return false;
	if (!rest)
		return true;
	unsigned char mask = (unsigned char)(0xff << (8 - rest));
	return (net[whole] & mask) == (ip[whole] & mask);
}

bool addr_is_any(const struct addr *a)
{
	if (a->sa.sa_family == AF_INET6)
		return IN6_IS_ADDR_UNSPECIFIED(&a->in6.sin6_addr);
	return a->in4.sin_addr.s_addr == htonl(INADDR_ANY);
}
