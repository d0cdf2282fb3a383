/*
 * TLS settings shared by all workers: certificates by SNI, reloaded without dropping
 * connections.
 */
#ifndef EAVES_NET_TLS_H
#define EAVES_NET_TLS_H

#include "common/base/span.h"

struct net_tls;
struct net_tls_cert {
	const char *domain;		  /* for SNI; NULL: the default */
	const char *cert_file, *key_file; /* PEM */
};
struct net_tls_conf {
	const struct net_tls_cert *certs;
	unsigned ncerts;
	const char *ca_file; /* peers are verified against; NULL: the system's */
	/* What other nodes are shown has to have this name and to stand before that
	 * authority: of the certificates the one for this domain, where we are connected to,
	 * and the first, where we connect.  NULL: none is shown to nodes. */
	const char *node_name;
};

/* TLS 1.2 and up, no renegotiation, no compression.  NULL and a message in ret_error (256
 * bytes). */
struct net_tls *net_tls_new(const struct net_tls_conf *c, char *ret_error);
void net_tls_free(struct net_tls *t);
/* Thread-safe.  New connections use the new certificates; those that are up keep theirs.  On
 * error (-EINVAL, ret_error) everything stays as it was. */
int net_tls_reload(struct net_tls *t, const struct net_tls_conf *c, char *ret_error);
/* RFC 5922 7.2: is one of the identities (net_peer.names) good for the domain?  No wildcards.
 */
bool net_tls_name_matches(struct span identity, struct span domain);

#endif
