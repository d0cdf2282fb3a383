/*
 * For common/net alone: whether other nodes would take our own certificate.
 */
#ifndef EAVES_NET_TLS_OWN_H
#define EAVES_NET_TLS_OWN_H

#include <openssl/ssl.h>

/* Would a node that trusts as we do take the context's certificate for that of `name`?  0, or
 * -EINVAL and why in ret_error (256 bytes).  One that is out of its time is told of in the log
 * alone. */
int tls_own_check(SSL_CTX *ctx, X509_STORE *trust, const char *name, char *ret_error);

#endif
