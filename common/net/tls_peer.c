/*
 * Who a certificate says that its holder is (RFC 5922 section 7.1) and whether that is whom we
 * want (7.2): subjectAltName URI "sip:domain" and DNS, the common name only where there is no
 * subjectAltName; exact names, no wildcards.  Beyond the RFC: IP addresses, for peers without a
 * name.  That the chain is good was OpenSSL's to say.
 */
#include "common/net/tls_peer.h"
#include "common/base/log.h"
#include "common/net/net_priv.h"

#include <errno.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

static bool is_name(struct span s)
{
	if (s.n == 0 || s.n >= HOST_MAX)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') &&
		    !(c >= '0' && c <= '9') && c != '-' && c != '.' && c != '_')
			return false;
	}
	return true;
}

static void add(struct net_peer *p, struct span name)
{
	char *to;

	if (p->n == sizeof(p->names) / sizeof(p->names[0]) || name.n >= sizeof(p->names[0]))
		return;
	to = p->names[p->n++];
	for (size_t i = 0; i < name.n; i++)
		to[i] = name.p[i] >= 'A' && name.p[i] <= 'Z' ? (char)(name.p[i] + 32)
							     : name.p[i];
	to[name.n] = '\0';
}

static struct span text_of(const ASN1_STRING *s)
{
	return span_of((const char *)ASN1_STRING_get0_data(s), (size_t)ASN1_STRING_length(s));
}

/* 7.1: another scheme, or a user part, is not the identity of a domain. */
static void add_uri(struct net_peer *p, struct span uri)
{
	if (!span_istarts(uri, SPAN("sip:")))
		return;
	uri = span_of(uri.p + 4, uri.n - 4);
	if (is_name(uri))
		add(p, uri);
}

static void add_ip(struct net_peer *p, const ASN1_OCTET_STRING *ip)
{
	struct addr a = {0};
	char text[ADDR_TEXT_MAX];
	struct span bytes = text_of(ip);

	if (bytes.n == 4) {
		a.in4.sin_family = AF_INET;
		memcpy(&a.in4.sin_addr, bytes.p, 4);
	} else if (bytes.n == 16) {
		a.in6.sin6_family = AF_INET6;
		memcpy(&a.in6.sin6_addr, bytes.p, 16);
	} else {
		return;
	}
	add(p, span_of(text, addr_host_text(&a, text)));
}

static void add_alt_name(struct net_peer *p, const GENERAL_NAME *g)
{
	struct span s;

	if (g->type == GEN_URI) {
		add_uri(p, text_of(g->d.uniformResourceIdentifier));
	} else if (g->type == GEN_DNS) {
		s = text_of(g->d.dNSName);
		if (is_name(s))
			add(p, s);
	} else if (g->type == GEN_IPADD) {
		add_ip(p, g->d.iPAddress);
	}
}

static void add_common_name(struct net_peer *p, const X509 *cert)
{
	const X509_NAME *subject = X509_get_subject_name(cert);
	int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
	struct span s;

	if (at < 0)
		return;
	s = text_of(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
	if (is_name(s))
		add(p, s);
}

/* For TLS in either role, for SIP (RFC 5924), for anything, or not restricted. */
static bool use_is_fit(X509 *cert)
{
	uint32_t use = X509_get_extended_key_usage(cert);
	EXTENDED_KEY_USAGE *list;
	bool fit = false;
	char oid[64];

	if (use == UINT32_MAX || use & (XKU_SSL_SERVER | XKU_SSL_CLIENT | XKU_ANYEKU))
		return true;
	list = X509_get_ext_d2i(cert, NID_ext_key_usage, NULL, NULL);
	for (int i = 0; list && i < sk_ASN1_OBJECT_num(list); i++) {
		OBJ_obj2txt(oid, sizeof(oid), sk_ASN1_OBJECT_value(list, i), 1);
		fit = fit || strcmp(oid, "1.3.6.1.5.5.7.3.20") == 0;
	}
	EXTENDED_KEY_USAGE_free(list);
	return fit;
}

static void add_names(struct net_peer *p, const X509 *cert)
{
	GENERAL_NAMES *alt = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);

	for (int i = 0; alt && i < sk_GENERAL_NAME_num(alt); i++)
		add_alt_name(p, sk_GENERAL_NAME_value(alt, i));
	if (!alt && X509_get_ext_by_NID(cert, NID_subject_alt_name, -1) < 0)
		add_common_name(p, cert);
	GENERAL_NAMES_free(alt);
}

struct net_peer *tls_peer_of(SSL *ssl)
{
	X509 *cert = SSL_get0_peer_certificate(ssl);
	struct net_peer *p;

	if (!cert || SSL_get_verify_result(ssl) != X509_V_OK || !use_is_fit(cert))
		return NULL;
	p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	add_names(p, cert);
	return p;
}

static struct span without_final_dot(struct span s)
{
	return s.n > 1 && s.p[s.n - 1] == '.' ? span_of(s.p, s.n - 1) : s;
}

bool net_tls_name_matches(struct span identity, struct span domain)
{
	identity = without_final_dot(identity);
	domain = without_final_dot(domain);
	return identity.n > 0 && span_ieq(identity, domain);
}

bool tls_peer_is(const struct net_peer *p, const char *host)
{
	for (unsigned i = 0; p && i < p->n; i++)
		if (net_tls_name_matches(span_str(p->names[i]), span_str(host)))
			return true;
	return false;
}

int tls_peer_verify(X509_STORE_CTX *v, void *arg)
{
	const SSL *ssl = X509_STORE_CTX_get_ex_data(v, SSL_get_ex_data_X509_STORE_CTX_idx());
	X509 *cert = X509_STORE_CTX_get0_cert(v);
	const char *host = SSL_get_app_data(ssl);
	struct net_peer p = {.n = 0};
	int r = X509_verify_cert(v);

	(void)arg;
	if (r != 1)
		return r;
	add_names(&p, cert);
	if (!use_is_fit(cert))
		X509_STORE_CTX_set_error(v, X509_V_ERR_INVALID_PURPOSE);
	else if (host && !tls_peer_is(&p, host))
		X509_STORE_CTX_set_error(v, X509_V_ERR_HOSTNAME_MISMATCH);
	else
		return 1;
	return 0;
}

static int verify(SSL_CTX *ctx, X509 *cert, X509_STORE *trust)
{
	STACK_OF(X509) *chain = NULL;
	X509_STORE_CTX *v = X509_STORE_CTX_new();
	int r = X509_V_ERR_OUT_OF_MEM;

	SSL_CTX_get0_chain_certs(ctx, &chain);
	if (v && X509_STORE_CTX_init(v, trust, cert, chain) == 1) {
		X509_verify_cert(v);
		r = X509_STORE_CTX_get_error(v);
	}
	X509_STORE_CTX_free(v);
	return r;
}

/* A clock that is off, or a renewal that was forgotten, is not to keep a node from the phones
 * that it can serve. */
static bool is_of_time(int error)
{
	return error == X509_V_ERR_CERT_HAS_EXPIRED || error == X509_V_ERR_CERT_NOT_YET_VALID;
}

int tls_own_check(SSL_CTX *ctx, X509_STORE *trust, const char *name, char *ret_error)
{
	X509 *cert = SSL_CTX_get0_certificate(ctx);
	struct net_peer own = {0};
	int r;

	if (!cert) {
		snprintf(ret_error, 256, "no certificate for %.200s", name);
		return -EINVAL;
	}
	add_names(&own, cert);
	if (!tls_peer_is(&own, name)) {
		snprintf(ret_error, 256, "names %.60s, not the node %.60s",
			 own.n ? own.names[0] : "nobody", name);
		return -EINVAL;
	}
	r = verify(ctx, cert, trust);
	if (is_of_time(r)) {
		log_event(LOG_ERROR, "certificate-refused", LOG_STR("of", name),
			  LOG_STR("error", X509_verify_cert_error_string(r)));
		r = X509_V_OK;
	}
	if (r == X509_V_OK && use_is_fit(cert))
		return 0;
	snprintf(ret_error, 256, "other nodes would refuse it: %.150s",
		 r == X509_V_OK ? "it is for another use" : X509_verify_cert_error_string(r));
	return -EINVAL;
}
