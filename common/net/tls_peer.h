/*
 * For common/net alone: certificates, the peer's and whether other nodes would take our own.
 */
#ifndef EAVES_NET_TLS_PEER_H
#define EAVES_NET_TLS_PEER_H

#include "common/net/net.h"

#include <openssl/ssl.h>

/* The identities of the peer's certificate; NULL: none, not fit, or out of memory. */
struct net_peer *tls_peer_of(SSL *ssl);
bool tls_peer_is(const struct net_peer *p, const char *host);
/* Of a handshake: the chain, the use, and the name that is wanted (SSL_get_app_data, NULL:
 * any), so that the peer is told what is wrong (an alert). */
int tls_peer_verify(X509_STORE_CTX *v, void *arg);

/* Would a node that trusts as we do take the context's certificate for that of `name`?  0, or
 * -EINVAL and why in ret_error (256 bytes).  One that is out of its time is told of in the log
 * alone. */
int tls_own_check(SSL_CTX *ctx, X509_STORE *trust, const char *name, char *ret_error);

#endif
