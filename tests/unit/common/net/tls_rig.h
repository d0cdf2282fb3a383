/*
 * Two nets with TLS and the certificates that the tests of it share.
 */
#ifndef EAVES_TESTS_NET_TLS_RIG_H
#define EAVES_TESTS_NET_TLS_RIG_H

#include "tests/unit/common/net/certs.h"
#include "tests/unit/common/net/rig.h"

static struct authority ca;
static struct loop *l;
static struct side a, b; /* a opens, b serves */
static struct net_tls *tls_a, *tls_b;
static struct net_conf conf;

static const char *path(const char *name)
{
	static char file[4][128];
	static unsigned at;

	at = (at + 1) % 4;
	snprintf(file[at], sizeof(file[at]), "%s/%s.pem", ca.dir, name);
	return file[at];
}

/* Settings with these certificates; domains: the SNI of each, "" the default. */
static struct net_tls_conf settings(struct net_tls_cert *c, unsigned n,
				    const char *const *names, const char *const *domains)
{
	static char file[4][128];

	for (unsigned i = 0; i < n; i++) {
		snprintf(file[i], sizeof(file[i]), "%s", path(names[i]));
		c[i] = (struct net_tls_cert){domains[i][0] ? domains[i] : NULL, file[i],
					     file[i]};
	}
	return (struct net_tls_conf){.certs = c, .ncerts = n, .ca_file = ca.file};
}

static struct net_tls *tls_of(const char *name)
{
	const char *const names[] = {name}, *const domains[] = {""};
	struct net_tls_cert cert[1];
	struct net_tls_conf c = settings(cert, 1, names, domains);
	char error[256] = "";
	struct net_tls *t = net_tls_new(&c, error);

	ck_assert_msg(t != NULL, "%s", error);
	return t;
}

__attribute__((unused)) static void start(const char *client, const char *server,
					  bool require_peer)
{
	conf = conf_with(SIP_TRANSPORT_TLS, "127.0.0.1");
	conf.listener[0].tls_require_peer = require_peer;
	l = loop_new(0);
	tls_a = tls_of(client);
	tls_b = tls_of(server);
	side_start(&a, l, &conf, tls_a);
	side_start(&b, l, &conf, tls_b);
}

static void prepare(void)
{
	authority_start(&ca);
	leaf(&ca, "one", "ignored.example",
	     "DNS:One.Example,URI:sip:sip.one.example,URI:sip:user@two.example,"
	     "URI:sips:two.example,URI:http://two.example,DNS:*.wild.example",
	     NULL);
	leaf(&ca, "two", "two.example", NULL, "serverAuth");
	leaf(&ca, "three", "three.example", "DNS:three.example", NULL);
	leaf(&ca, "mail", "mail.example", "DNS:mail.example", "emailProtection");
	leaf(&ca, "sip", "sip.example", "DNS:sip.example", "1.3.6.1.5.5.7.3.20");
}

static void stop(void)
{
	side_stop(&a);
	side_stop(&b);
	net_tls_free(tls_a);
	net_tls_free(tls_b);
	loop_free(l);
	authority_stop(&ca);
}

__attribute__((unused)) static struct sip_flow to_b(void)
{
	return flow_to(SIP_TRANSPORT_TLS, net_listener_addr(b.net, 0));
}

#endif
