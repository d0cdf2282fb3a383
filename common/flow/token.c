/*
 * A token is base64url, without padding, of
 *
 *	kind: 0xE0 | flags << 1 | IPv6	transport	worker	listener (2 bytes)
 *	streams: boot (4)		conn (8)
 *	address (4, or 16 and scope 4)	port (2)
 *	MAC over all before it (8)
 *
 * or, for a node of the cluster (kind 0xE4),
 *
 *	kind	transport	node (2)	transport of the leg behind it	MAC (8)
 *
 * all in network byte order: 26 characters for a UDP phone's flow, 42 for a connection's, 18
 * for a node's.
 */
#include "common/flow/token.h"

#include <errno.h>

enum {
	KIND = 0xe0,
	KIND_MASK = 0xf0,
	KIND_IPV6 = 1,
	KIND_NODE = 4,
	KIND_FLAGS = FLOW_OUTBOUND,
	MAC_BYTES = 8,
	RAW_MAX = 5 + 12 + 22 + MAC_BYTES,
};
_Static_assert((RAW_MAX * 8 + 5) / 6 <= FLOW_TOKEN_MAX, "the longest token fits");

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void flow_keys_init(struct flow_keys *k, struct span secret, uint64_t boot)
{
	k->key = mac_derive_key(secret, "flow");
	k->boot = flow_boot(boot);
}

uint32_t flow_boot(uint64_t boot)
{
	return (uint32_t)(boot ^ boot >> 32);
}

/* ---- bytes ---- */

struct out {
	unsigned char p[RAW_MAX];
	size_t n;
};

static void put(struct out *o, const void *p, size_t n)
{
	memcpy(o->p + o->n, p, n);
	o->n += n;
}

static void put_number(struct out *o, uint64_t v, unsigned bytes)
{
	while (bytes--)
		o->p[o->n++] = (unsigned char)(v >> (8 * bytes));
}

struct in {
	const unsigned char *p;
	size_t n; /* left */
	bool over;
};

static const unsigned char *take(struct in *i, size_t n)
{
	static const unsigned char nothing[16];
	const unsigned char *p = i->p;

	if (i->over || i->n < n) {
		i->over = true;
		return nothing;
	}
	i->p += n;
	i->n -= n;
	return p;
}

static uint64_t take_number(struct in *i, unsigned bytes)
{
	const unsigned char *p = take(i, bytes);
	uint64_t v = 0;

	while (bytes--)
		v = v << 8 | *p++;
	return v;
}

/* ---- base64url ---- */

static size_t to_text(const unsigned char *p, size_t n, char *out)
{
	uint32_t bits = 0;
	unsigned have = 0;
	size_t at = 0;

	for (size_t i = 0; i < n; i++) {
		bits = bits << 8 | p[i];
		for (have += 8; have >= 6; have -= 6)
			out[at++] = digits[bits >> (have - 6) & 63];
	}
	if (have)
		out[at++] = digits[bits << (6 - have) & 63];
	return at;
}

static int digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '-' ? 62 : c == '_' ? 63 : -1;
}

/* Bytes, or -EINVAL; there is one spelling for each. */
static int from_text(struct span s, unsigned char out[RAW_MAX])
{
	uint32_t bits = 0;
	unsigned have = 0;
	int n = 0;

	if (s.n > FLOW_TOKEN_MAX)
		return -EINVAL;
	for (size_t i = 0; i < s.n; i++) {
		int d = digit(s.p[i]);
		if (d < 0)
			return -EINVAL;
		bits = bits << 6 | (uint32_t)d;
		have += 6;
		if (have < 8)
			continue;
		have -= 8;
		if (n == RAW_MAX)
			return -EINVAL;
		out[n++] = (unsigned char)(bits >> have);
	}
	return have >= 6 || (bits & ((1u << have) - 1)) ? -EINVAL : n;
}

/* ---- the token ---- */

static uint64_t sign(const struct flow_keys *k, const unsigned char *p, size_t n)
{
	return mac_span(&k->key, span_of((const char *)p, n));
}

static void put_addr(struct out *o, const struct addr *a)
{
	if (a->sa.sa_family == AF_INET6) {
		put(o, &a->in6.sin6_addr, 16);
		put_number(o, a->in6.sin6_scope_id, 4);
	} else {
		put(o, &a->in4.sin_addr, 4);
	}
	put_number(o, addr_port(a), 2);
}

static void take_addr(struct in *i, bool ipv6, struct addr *a)
{
	*a = (struct addr){0};
	if (ipv6) {
		a->in6.sin6_family = AF_INET6;
		memcpy(&a->in6.sin6_addr, take(i, 16), 16);
		a->in6.sin6_scope_id = (uint32_t)take_number(i, 4);
	} else {
		a->in4.sin_family = AF_INET;
		memcpy(&a->in4.sin_addr, take(i, 4), 4);
	}
	addr_set_port(a, (uint16_t)take_number(i, 2));
}

size_t flow_token_write(const struct flow_keys *k, const struct sip_flow *f, unsigned flags,
			char out[FLOW_TOKEN_MAX])
{
	bool ipv6 = f->remote.sa.sa_family == AF_INET6;
	struct out o = {.n = 0};

	if (f->node) {
		put_number(&o, KIND | KIND_NODE, 1);
		put_number(&o, f->transport, 1);
		put_number(&o, f->node, 2);
		put_number(&o, f->leg, 1);
		put_number(&o, sign(k, o.p, o.n), MAC_BYTES);
		return to_text(o.p, o.n, out);
	}
	if (!ipv6 && f->remote.sa.sa_family != AF_INET)
		return 0;
	put_number(&o, KIND | (flags & KIND_FLAGS) << 1 | ipv6, 1);
	put_number(&o, f->transport, 1);
	put_number(&o, f->worker, 1);
	put_number(&o, f->listener, 2);
	if (sip_transport_reliable(f->transport)) {
		put_number(&o, k->boot, 4);
		put_number(&o, f->conn, 8);
	}
	put_addr(&o, &f->remote);
	put_number(&o, sign(k, o.p, o.n), MAC_BYTES);
	return to_text(o.p, o.n, out);
}

int flow_token_read(const struct flow_keys *k, struct span token, struct sip_flow *ret,
		    unsigned *ret_flags)
{
	unsigned char raw[RAW_MAX];
	int n = from_text(token, raw);
	uint32_t boot = k->boot;

	if (n <= MAC_BYTES || (raw[0] & KIND_MASK) != KIND)
		return -EINVAL;
	struct in mac = {.p = raw + n - MAC_BYTES, .n = MAC_BYTES};
	struct in i = {.p = raw, .n = (size_t)n - MAC_BYTES};
	if (!mac_equal(take_number(&mac, MAC_BYTES), sign(k, raw, i.n)))
		return -EPERM;
	unsigned kind = (unsigned)take_number(&i, 1);
	*ret_flags = kind >> 1 & KIND_FLAGS;
	*ret = (struct sip_flow){.transport = (enum sip_transport)take_number(&i, 1)};
	if (kind & KIND_NODE) {
		ret->node = (uint16_t)take_number(&i, 2);
		ret->leg = (enum sip_transport)take_number(&i, 1);
		return i.over || i.n ? -EINVAL : 0;
	}
	ret->worker = (uint16_t)take_number(&i, 1);
	ret->listener = (uint16_t)take_number(&i, 2);
	if (sip_transport_reliable(ret->transport)) {
		boot = (uint32_t)take_number(&i, 4);
		ret->conn = take_number(&i, 8);
	}
	take_addr(&i, kind & KIND_IPV6, &ret->remote);
	if (i.over || i.n)
		return -EINVAL;
	return boot == k->boot ? 0 : -ESTALE;
}

static bool conn_in(struct span token, unsigned char raw[RAW_MAX])
{
	return from_text(token, raw) >= 17 + MAC_BYTES && (raw[0] & KIND_MASK) == KIND &&
	       !(raw[0] & KIND_NODE) && sip_transport_reliable((enum sip_transport)raw[1]);
}

uint64_t flow_token_conn(const struct flow_keys *k, struct span token)
{
	unsigned char raw[RAW_MAX];
	return conn_in(token, raw) ? sign(k, raw + 5, 12) | 1 : 0; /* boot and conn */
}

bool flow_token_has_conn(struct span token)
{
	unsigned char raw[RAW_MAX];
	return conn_in(token, raw);
}

struct span flow_token_in(struct span path)
{
	static const char begin[] = "<sip:";
	ptrdiff_t at = span_chr(path, '@', 0);
	size_t skip = sizeof(begin) - 1;
	if (path.n < skip || memcmp(path.p, begin, skip) != 0 || at <= (ptrdiff_t)skip ||
	    at - (ptrdiff_t)skip > FLOW_TOKEN_MAX)
		return SPAN("");
	return span_of(path.p + skip, (size_t)at - skip);
}

struct span flow_path_param(struct span path, const char *name)
{
	ptrdiff_t end = span_chr(path, '>', 0);
	size_t n = end < 0 ? 0 : (size_t)end;
	const char *at = n ? memmem(path.p, n, name, strlen(name)) : NULL;
	if (!at)
		return SPAN("");
	struct span v = span_of(at + strlen(name), (size_t)(path.p + n - at) - strlen(name));
	ptrdiff_t semi = span_chr(v, ';', 0);
	return semi < 0 ? v : span_of(v.p, (size_t)semi);
}

uint64_t flow_conn_id(const struct flow_keys *k, uint64_t boot, uint64_t conn)
{
	struct out o = {.n = 0};
	put_number(&o, flow_boot(boot), 4);
	put_number(&o, conn, 8);
	return sign(k, o.p, o.n) | 1;
}

/* ---- NAT ---- */

static bool ends_in(struct span s, struct span end)
{
	return s.n >= end.n && span_ieq(span_of(s.p + s.n - end.n, end.n), end);
}

bool flow_behind_nat(const struct sip_flow *f, const struct sip_uri *contact, bool rport)
{
	uint16_t port = contact->port ? contact->port : sip_transport_port(f->transport);
	struct addr a;

	if (sip_transport_reliable(f->transport) || contact->scheme != SIP_SCHEME_SIP)
		return false;
	if (addr_parse(&a, contact->host, port) < 0)
		return ends_in(contact->host, SPAN(".invalid"));
	if (!addr_host_equal(&a, &f->remote))
		return true;
	const struct sip_param *t = sip_uri_param(contact, SPAN("transport"));
	if (t && sip_transport_parse(t->value) != f->transport)
		return false;
	return rport && port != addr_port(&f->remote);
}
