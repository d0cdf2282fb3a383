/*
 * Our own names and addresses: what Via and Record-Route say, and which hosts are ours.
 */
#include "common/app/app_priv.h"

#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>

static bool usable(const struct sockaddr *sa, bool loopback)
{
	if (sa->sa_family == AF_INET)
		return true;
	if (sa->sa_family != AF_INET6)
		return false;
	const struct in6_addr *ip = &((const struct sockaddr_in6 *)sa)->sin6_addr;
	return loopback || !IN6_IS_ADDR_LINKLOCAL(ip);
}

static void add(struct app_names *n, const struct sockaddr *sa)
{
	struct addr a;
	if (n->naddrs == APP_ADDRS_MAX - 2 * NET_LISTENERS_MAX)
		return; /* the listeners' have room behind them */
	memset(&a, 0, sizeof(a));
	memcpy(&a, sa, sa->sa_family == AF_INET6 ? sizeof(a.in6) : sizeof(a.in4));
	n->addrs[n->naddrs++] = a;
}

/* Addresses of the machine: those that others can reach come first. */
static int find_interfaces(struct app_names *n)
{
	struct ifaddrs *all;
	if (getifaddrs(&all) < 0)
		return -errno;
	for (int loopback = 0; loopback < 2; loopback++)
		for (struct ifaddrs *i = all; i; i = i->ifa_next) {
			if (!i->ifa_addr || !!(i->ifa_flags & IFF_LOOPBACK) != !!loopback)
				continue;
			if (usable(i->ifa_addr, loopback))
				add(n, i->ifa_addr);
		}
	freeifaddrs(all);
	return 0;
}

static const struct addr *first_of(const struct app_names *n, int family)
{
	for (unsigned i = 0; i < n->naddrs; i++)
		if (n->addrs[i].sa.sa_family == family)
			return &n->addrs[i];
	return NULL;
}

/* A name, or an address that is perhaps not the machine's (behind a translator). */
static void add_advertised(struct app_names *n, unsigned listener, const char *text)
{
	struct addr a;
	snprintf(n->text[listener], sizeof(n->text[listener]), "%s", text);
	if (addr_parse(&a, span_str(text), 0) == 0 && n->naddrs < APP_ADDRS_MAX)
		n->addrs[n->naddrs++] = a;
}

int app_names_find(struct app_names *n, const struct conf *c)
{
	int r = find_interfaces(n);
	if (r < 0)
		return r;
	n->nmachine = n->naddrs;
	n->nlisteners = c->listeners_count;
	for (unsigned i = 0; i < c->listeners_count; i++) {
		const struct conf_listener *l = &c->listeners[i];
		const struct addr *a = &l->addr;
		n->ports[i] = addr_port(&l->addr);
		if (l->policy ==
		    CONF_POLICY_CLUSTER) { /* members of a pair look the same there */
			snprintf(n->text[i], sizeof(n->text[i]), "%s",
				 c->cluster.nodes[c->cluster.self].pair);
			n->hosts[i] = span_str(n->text[i]);
			n->ports[i] = 0;
			continue;
		}
		n->everywhere |= addr_is_any(a);
		if (addr_is_any(a))
			a = first_of(n, a->sa.sa_family);
		if (!a && !l->advertise)
			return -EADDRNOTAVAIL;
		if (l->advertise)
			add_advertised(n, i, l->advertise);
		else
			addr_host_text(a, n->text[i]);
		n->hosts[i] = span_str(n->text[i]);
		if (!addr_is_any(&l->addr) && n->naddrs < APP_ADDRS_MAX)
			n->addrs[n->naddrs++] = l->addr;
	}
	return 0;
}

bool app_is_domain(const struct conf *c, struct span host)
{
	/* The same name, written from the root. */
	if (host.n > 1 && host.p[host.n - 1] == '.')
		host.n--;
	if (span_ieq(host, span_str(c->domain)))
		return true;
	for (unsigned i = 0; i < c->aliases_count; i++)
		if (span_ieq(host, span_str(c->aliases[i])))
			return true;
	return false;
}

static bool is_port(const struct app_names *n, uint16_t port)
{
	if (!port)
		return true;
	for (unsigned i = 0; i < n->nlisteners; i++)
		if (n->ports[i] == port)
			return true;
	return false;
}

/* from: of addrs, those before it do not count. */
static bool is_named(const struct app_names *n, struct span host, uint16_t port, unsigned from)
{
	struct addr a;
	if (!is_port(n, port))
		return false;
	if (addr_parse(&a, host, port) == 0) {
		for (unsigned i = from; i < n->naddrs; i++)
			if (addr_host_equal(&n->addrs[i], &a))
				return is_port(n, port ? port : 5060);
		return false;
	}
	for (unsigned i = 0; i < n->nlisteners; i++)
		if (span_ieq(host, n->hosts[i]))
			return true;
	return false;
}

/* Other nodes may live at other addresses of the machine. */
bool app_is_self(const struct app_worker *w, struct span host, uint16_t port)
{
	const struct app_names *n = &w->app->names;
	return is_named(n, host, port, n->everywhere ? 0 : n->nmachine);
}

bool app_is_local(const struct app_worker *w, struct span host, uint16_t port)
{
	/* Phones may name a port of the edge, which a home does not have. */
	if ((is_port(&w->app->names, port) || w->app->nodes) && app_is_domain(w->conf, host))
		return true;
	return is_named(&w->app->names, host, port, 0);
}

enum app_caller app_caller(const struct app_worker *w, const struct sip_msg *m)
{
	struct sip_nameaddr from;
	if (sip_msg_from(m, &from) < 0 || from.uri.scheme == SIP_SCHEME_OTHER)
		return APP_CALLER_FOREIGN;
	if (app_is_domain(w->conf, from.uri.host) || /* whatever the port */
	    app_is_local(w, from.uri.host, from.uri.port))
		return APP_CALLER_OURS;
	return span_ieq(from.uri.host, SPAN("anonymous.invalid")) ? APP_CALLER_ANONYMOUS
								  : APP_CALLER_FOREIGN;
}
