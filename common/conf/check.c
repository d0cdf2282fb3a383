/*
 * What the keys must be together: addresses that can be listened on, certificates where TLS
 * needs them, an order between shortest, usual and longest.  Ranges of single numbers are in
 * load.c; files named here are opened by those who use them.
 */
#include "common/conf/conf_priv.h"

#include "common/sip/values.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static int fault(struct conf_fault *f, const char *what, const char *path_fmt, ...)
	__attribute__((format(printf, 3, 4)));
static int fault(struct conf_fault *f, const char *what, const char *path_fmt, ...)
{
	va_list ap;

	snprintf(f->what, sizeof(f->what), "%s", what);
	va_start(ap, path_fmt);
	vsnprintf(f->path, sizeof(f->path), path_fmt, ap);
	va_end(ap);
	return -EINVAL;
}

/* RFC 3261 25.1: a host name, or an IPv4 address, or an IPv6 address in brackets. */
static bool is_host(const char *s)
{
	struct addr a;
	size_t n = strlen(s);

	if (n == 0 || n > 253)
		return false;
	if (s[0] == '[')
		return addr_parse(&a, span_str(s), 0) == 0;
	for (size_t i = 0; i < n; i++) {
		bool alnum = (s[i] >= 'a' && s[i] <= 'z') || (s[i] >= 'A' && s[i] <= 'Z') ||
			     (s[i] >= '0' && s[i] <= '9');

		if (!alnum && s[i] != '-' && s[i] != '.' && s[i] != '_')
			return false;
		if (s[i] == '.' && (i == 0 || s[i - 1] == '.'))
			return false;
	}
	return s[0] != '-';
}

/* "address:port", "[v6]:port"; without a port: default_port, or refused when that is 0. */
static int parse_endpoint(struct span s, uint16_t default_port, struct addr *ret)
{
	struct span host = s, port = {NULL, 0};
	uint64_t v = default_port;
	ptrdiff_t end = s.n && s.p[0] == '[' ? span_chr(s, ']', 0) : 0;
	ptrdiff_t colon = end < 0 ? -1 : span_chr(s, ':', (size_t)end);

	/* a bare IPv6 address has no port */
	if (colon >= 0 && !(s.p[0] != '[' && span_chr(s, ':', (size_t)colon + 1) >= 0)) {
		host = span_of(s.p, (size_t)colon);
		port = span_of(s.p + colon + 1, s.n - (size_t)colon - 1);
		if (span_u64(port, 65535, &v) < 0)
			return -EINVAL;
	}
	return v == 0 ? -EINVAL : addr_parse(ret, host, (uint16_t)v);
}

static int check_names(struct conf *c, struct conf_fault *f)
{
	if (!is_host(c->domain))
		return fault(f, "is no host name", "domain");
	for (unsigned i = 0; i < c->aliases_count; i++)
		if (!is_host(c->aliases[i]))
			return fault(f, "is no host name", "aliases[%u]", i);
	if (c->store == CONF_STORE_SQLITE && !c->data_dir)
		return fault(f, "store: sqlite needs data_dir", "store");
	return 0;
}

static bool same_socket(const struct conf_listener *a, const struct conf_listener *b)
{
	bool stream_a = a->transport != SIP_TRANSPORT_UDP,
	     stream_b = b->transport != SIP_TRANSPORT_UDP;

	return stream_a == stream_b && addr_equal(&a->addr, &b->addr);
}

static int check_listener(struct conf *c, unsigned i, struct conf_fault *f)
{
	struct conf_listener *l = &c->listeners[i];

	if (l->port == 0)
		l->port = sip_transport_port(l->transport);
	if (addr_parse(&l->addr, span_str(l->address), l->port) < 0)
		return fault(f, "is no numeric address", "listeners[%u].address", i);
	if (l->advertise && !is_host(l->advertise))
		return fault(f, "is no host", "listeners[%u].advertise", i);
	if (l->transport == SIP_TRANSPORT_TLS && c->tls.certificates_count == 0)
		return fault(f, "tls needs an entry in tls.certificates",
			     "listeners[%u].transport", i);
	if (l->mutual_tls && l->transport != SIP_TRANSPORT_TLS)
		return fault(f, "is for transport: tls", "listeners[%u].mutual_tls", i);
	for (unsigned k = 0; k < i; k++)
		if (same_socket(&c->listeners[k], l))
			return fault(f, "has the address and port of another", "listeners[%u]",
				     i);
	return 0;
}

static int check_timers(const struct conf *c, struct conf_fault *f)
{
	if (c->timers.t1_ms > c->timers.t2_ms)
		return fault(f, "must not be above t2_ms", "timers.t1_ms");
	if (c->registrar.expires_min_s > c->registrar.expires_default_s)
		return fault(f, "must not be above expires_default_s",
			     "registrar.expires_min_s");
	if (c->registrar.expires_default_s > c->registrar.expires_max_s)
		return fault(f, "must not be above expires_max_s",
			     "registrar.expires_default_s");
	return 0;
}

/* Goes into answers as it stands: "<sip:...;lr>", or several with commas. */
static int check_registrar(const struct conf *c, struct conf_fault *f)
{
	const char *p = c->registrar.service_route;

	if (!p)
		return 0;
	if ((strncmp(p, "<sip:", 5) != 0 && strncmp(p, "<sips:", 6) != 0) ||
	    p[strlen(p) - 1] != '>')
		return fault(f, "is no <sip:...>", "registrar.service_route");
	for (; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			return fault(f, "has control characters", "registrar.service_route");
	return 0;
}

static int check_auth(const struct conf *c, struct conf_fault *f)
{
	if (!c->auth.md5 && !c->auth.sha256)
		return fault(f, "md5 and sha256 must not both be off", "auth.md5");
	for (const char *p = c->auth.realm; p && *p; p++)
		if (*p == '"' || *p == '\\')
			return fault(f, "must not have quotes or backslashes", "auth.realm");
	return 0;
}

static int check_edge(struct conf *c, struct conf_fault *f)
{
	for (unsigned i = 0; i < c->edge.trusted_count; i++) {
		struct conf_trusted *t = &c->edge.trusted[i];

		if (!t->network == !t->certificate)
			return fault(f, "wants either network or certificate",
				     "edge.trusted[%u]", i);
		if (t->network && addr_net_parse(&t->net, span_str(t->network)) < 0)
			return fault(f, "is no network", "edge.trusted[%u].network", i);
	}
	for (unsigned i = 0; i < c->edge.routes_count; i++) {
		const struct conf_route *r = &c->edge.routes[i];
		struct span uri = span_str(r->uri);

		if (strcmp(r->domain, "*") != 0 && !is_host(r->domain))
			return fault(f, "is no host name and not *", "edge.routes[%u].domain",
				     i);
		struct sip_uri u;

		if (sip_uri_parse(uri, &u) < 0)
			return fault(f, "is no sip or sips URI", "edge.routes[%u].uri", i);
		if (strpbrk(r->uri, " <>\""))
			return fault(f, "is no sip or sips URI", "edge.routes[%u].uri", i);
		if (u.headers.p)
			return fault(f, "is for a Route: no headers behind \"?\"",
				     "edge.routes[%u].uri", i);
	}
	return 0;
}

/* ---- the cluster ---- */

/* A name that may stand in a host's place, in logs and in file names. */
static int check_node(struct conf *c, unsigned i, struct conf_fault *f)
{
	struct conf_node *n = &c->cluster.nodes[i];

	if (!is_host(n->name))
		return fault(f, "is no name", "cluster.nodes[%u].name", i);
	if (!is_host(n->pair))
		return fault(f, "is no name", "cluster.nodes[%u].pair", i);
	if (parse_endpoint(span_str(n->bus), 0, &n->bus_addr) < 0)
		return fault(f, "is no address:port", "cluster.nodes[%u].bus", i);
	if (parse_endpoint(span_str(n->sip), 0, &n->sip_addr) < 0)
		return fault(f, "is no address:port", "cluster.nodes[%u].sip", i);
	if (strlen(n->key) != 40)
		return fault(f, "is no key of 40 characters", "cluster.nodes[%u].key", i);
	unsigned members = 1;
	for (unsigned k = 0; k < i; k++) {
		const struct conf_node *o = &c->cluster.nodes[k];

		if (strcmp(o->name, n->name) == 0)
			return fault(f, "is another node's too", "cluster.nodes[%u].name", i);
		if (addr_equal(&o->bus_addr, &n->bus_addr))
			return fault(f, "is another node's too", "cluster.nodes[%u].bus", i);
		if (addr_equal(&o->sip_addr, &n->sip_addr))
			return fault(f, "is another node's too", "cluster.nodes[%u].sip", i);
		if (n->role == CONF_ROLE_EDGE && o->role == CONF_ROLE_EDGE &&
		    strcmp(o->pair, n->pair) != 0)
			return fault(f, "edges are one pair", "cluster.nodes[%u].pair", i);
		if (strcmp(o->pair, n->pair) != 0)
			continue;
		if (o->role != n->role)
			return fault(f, "a pair is of one role", "cluster.nodes[%u].pair", i);
		if (++members > 2)
			return fault(f, "a pair has two members at most",
				     "cluster.nodes[%u].pair", i);
	}
	return 0;
}

static int check_self(struct conf *c, struct conf_fault *f)
{
	bool listens = false;

	for (c->cluster.self = 0; c->cluster.self < c->cluster.nodes_count; c->cluster.self++)
		if (strcmp(c->cluster.nodes[c->cluster.self].name, c->cluster.node) == 0)
			break;
	if (c->cluster.self == c->cluster.nodes_count)
		return fault(f, "is not in cluster.nodes", "cluster.node");
	if (!c->cluster.secret)
		return fault(f, "a node needs the cluster's secret", "cluster.secret");
	if (!c->cluster.bus_key)
		return fault(f, "a node needs its key", "cluster.bus_key");
	for (unsigned i = 0; i < c->listeners_count; i++)
		listens |= c->listeners[i].policy == CONF_POLICY_CLUSTER;
	if (!listens)
		return fault(f, "a node needs a listener of policy cluster", "listeners");
	if (c->cluster.dead_ms < 2 * c->cluster.heartbeat_ms)
		return fault(f, "must be two heartbeats at least", "cluster.dead_ms");
	return 0;
}

static int check_cluster(struct conf *c, struct conf_fault *f)
{
	for (unsigned i = 0; i < c->listeners_count; i++) {
		const struct conf_listener *l = &c->listeners[i];

		if (l->policy != CONF_POLICY_CLUSTER)
			continue;
		if (!c->cluster.node)
			return fault(f, "cluster is for a node of one: set cluster.node",
				     "listeners[%u].policy", i);
		if (l->transport == SIP_TRANSPORT_UDP)
			return fault(f, "nodes speak by tcp or tls", "listeners[%u].transport",
				     i);
		if (l->transport == SIP_TRANSPORT_TLS && !l->mutual_tls)
			return fault(f, "nodes prove who they are: set it",
				     "listeners[%u].mutual_tls", i);
	}
	for (unsigned i = 0; i < c->cluster.nodes_count; i++) {
		int rc = check_node(c, i, f);
		if (rc < 0)
			return rc;
	}
	return c->cluster.node ? check_self(c, f) : 0;
}

static int check_redis(const struct conf *c, struct conf_fault *f)
{
	const char *const lists[] = {c->redis.servers, c->redis.sentinels};
	struct addr a;

	for (unsigned i = 0; i < 2; i++)
		for (struct span rest = span_str(lists[i]); rest.n;) {
			ptrdiff_t comma = span_chr(rest, ',', 0);
			size_t n = comma < 0 ? rest.n : (size_t)comma;

			if (parse_endpoint(span_of(rest.p, n), 0, &a) < 0)
				return fault(f, "is no list of address:port", "redis.%s",
					     i ? "sentinels" : "servers");
			n += comma >= 0;
			rest = span_of(rest.p + n, rest.n - n);
		}
	if (c->redis.servers && c->redis.sentinels)
		return fault(f, "wants either servers or sentinels", "redis");
	if (!c->redis.sentinels != !c->redis.primary)
		return fault(f, "sentinels and primary go together", "redis.primary");
	if (c->redis.sentinel_password && !c->redis.sentinels)
		return fault(f, "there are no sentinels", "redis.sentinel_password");
	return 0;
}

static int check_tls(const struct conf *c, struct conf_fault *f)
{
	for (unsigned i = 0; i < c->tls.certificates_count; i++)
		if (!is_host(c->tls.certificates[i].domain))
			return fault(f, "is no host name", "tls.certificates[%u].domain", i);
	return 0;
}

static int check_endpoints(const struct conf *c, struct conf_fault *f)
{
	struct addr a;
	struct span rest = span_str(c->dns.servers);

	while (rest.n) {
		ptrdiff_t comma = span_chr(rest, ',', 0);
		size_t n = comma < 0 ? rest.n : (size_t)comma;

		if (parse_endpoint(span_of(rest.p, n), 53, &a) < 0)
			return fault(f, "is no list of address[:port]", "dns.servers");
		n += comma >= 0;
		rest = span_of(rest.p + n, rest.n - n);
	}
	if (c->admin.http && parse_endpoint(span_str(c->admin.http), 0, &a) < 0)
		return fault(f, "is no address:port", "admin.http");
	return 0;
}

/* What is derived from other keys when the file leaves it open. */
static int derive(struct conf *c, struct conf_fault *f)
{
	if (!c->auth.realm && !(c->auth.realm = strdup(c->domain)))
		return -ENOMEM;
	if (!c->admin.socket && c->data_dir) {
		if (strlen(c->data_dir) > 96)
			return fault(f, "too long for a socket: name one here", "admin.socket");
		if (asprintf(&c->admin.socket, "%s/admin.sock", c->data_dir) < 0) {
			c->admin.socket = NULL;
			return -ENOMEM;
		}
	}
	return 0;
}

int conf_check(struct conf *c, struct conf_fault *ret_fault)
{
	int rc = check_names(c, ret_fault);

	for (unsigned i = 0; rc == 0 && i < c->listeners_count; i++)
		rc = check_listener(c, i, ret_fault);
	if (rc == 0)
		rc = check_timers(c, ret_fault);
	if (rc == 0)
		rc = check_registrar(c, ret_fault);
	if (rc == 0)
		rc = check_auth(c, ret_fault);
	if (rc == 0)
		rc = check_edge(c, ret_fault);
	if (rc == 0)
		rc = check_cluster(c, ret_fault);
	if (rc == 0)
		rc = check_redis(c, ret_fault);
	if (rc == 0)
		rc = check_tls(c, ret_fault);
	if (rc == 0)
		rc = check_endpoints(c, ret_fault);
	if (rc == 0)
		rc = derive(c, ret_fault);
	return rc;
}
