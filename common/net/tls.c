/*
 * TLS settings of all workers: one set of contexts (by SNI for what we serve, one for what we
 * open), counted by the connections that came by it and swapped as a whole on reload.  TLS 1.2
 * and up, no renegotiation (RFC 3261 26.2; threat: slow handshakes), no compression.
 */
#include "common/net/tls.h"

#include "common/base/file.h"
#include "common/net/net_priv.h"
#include "common/net/tls_peer.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { ERROR_MAX = 256 };

struct tls_cert {
	char *domain; /* NULL: the default */
	SSL_CTX *ctx;
};
struct tls_set {
	atomic_uint refs;
	SSL_CTX *client;
	X509_STORE *trust;
	SSL_CTX *fallback; /* one of cert[]: no SNI, or a name that we do not have */
	unsigned ncerts;
	struct tls_cert cert[];
};
struct net_tls {
	pthread_mutex_t lock;
	struct tls_set *current;
};

static int fail(char *ret_error, const char *what, const char *name)
{
	unsigned long e = ERR_peek_error();
	const char *why =
		ERR_SYSTEM_ERROR(e) ? strerror(ERR_GET_REASON(e)) : ERR_reason_error_string(e);

	snprintf(ret_error, ERROR_MAX, "%s %s: %s", what, name, why ? why : "not usable");
	ERR_clear_error();
	return -EINVAL;
}

void tls_set_unref(struct tls_set *s)
{
	if (!s || atomic_fetch_sub(&s->refs, 1) != 1)
		return;
	for (unsigned i = 0; i < s->ncerts; i++) {
		SSL_CTX_free(s->cert[i].ctx);
		free(s->cert[i].domain);
	}
	SSL_CTX_free(s->client);
	X509_STORE_free(s->trust);
	free(s);
}

static int on_server_name(SSL *ssl, int *alert, void *arg)
{
	const struct tls_set *s = arg;
	const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

	(void)alert;
	for (unsigned i = 0; name && i < s->ncerts; i++)
		if (s->cert[i].domain && strcasecmp(s->cert[i].domain, name) == 0) {
			SSL_set_SSL_CTX(ssl, s->cert[i].ctx);
			return SSL_TLSEXT_ERR_OK;
		}
	return SSL_TLSEXT_ERR_OK;
}

static SSL_CTX *ctx_new(const struct tls_set *s, const SSL_METHOD *method)
{
	SSL_CTX *ctx = SSL_CTX_new(method);

	if (!ctx)
		return NULL;
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
					 SSL_OP_CIPHER_SERVER_PREFERENCE);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE |
				      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
				      SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_read_ahead(ctx, 1);
	/* Resumption is by tickets alone: no table here for strangers to fill. */
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	/* The same certificate serves both roles of a SIP node; tls_peer.c looks at its use. */
	SSL_CTX_set_purpose(ctx, X509_PURPOSE_ANY);
	SSL_CTX_set1_cert_store(ctx, s->trust);
	SSL_CTX_set_cert_verify_callback(ctx, tls_peer_verify, NULL);
	return ctx;
}

/* -EPERM alone: what else is wrong with the file OpenSSL says. */
static int check_mode(const char *key_file, char *ret_error)
{
	int r = file_check_key(key_file);

	if (r != -EPERM)
		return 0;
	snprintf(ret_error, ERROR_MAX, "key %s: %s", key_file, file_secret_error(r));
	return -EINVAL;
}

static int load_key(SSL_CTX *ctx, const struct net_tls_cert *c, char *ret_error)
{
	ERR_clear_error();
	if (SSL_CTX_use_certificate_chain_file(ctx, c->cert_file) != 1)
		return fail(ret_error, "certificate", c->cert_file);
	if (SSL_CTX_use_PrivateKey_file(ctx, c->key_file, SSL_FILETYPE_PEM) != 1 ||
	    SSL_CTX_check_private_key(ctx) != 1)
		return fail(ret_error, "key", c->key_file);
	return check_mode(c->key_file, ret_error);
}

static int add_cert(struct tls_set *s, const struct net_tls_conf *conf,
		    const struct net_tls_cert *c, char *ret_error)
{
	struct tls_cert *own = &s->cert[s->ncerts];

	own->ctx = ctx_new(s, TLS_server_method());
	if (!own->ctx)
		return fail(ret_error, "context for", c->cert_file);
	s->ncerts++;
	if (c->domain && !(own->domain = strdup(c->domain)))
		return fail(ret_error, "memory for", c->cert_file);
	SSL_CTX_set_tlsext_servername_callback(own->ctx, on_server_name);
	SSL_CTX_set_tlsext_servername_arg(own->ctx, s);
	if (conf->ca_file)
		SSL_CTX_set_client_CA_list(own->ctx, SSL_load_client_CA_file(conf->ca_file));
	return load_key(own->ctx, c, ret_error);
}

static int load_trust(struct tls_set *s, const char *ca_file, char *ret_error)
{
	int ok;

	ERR_clear_error();
	s->trust = X509_STORE_new();
	if (!s->trust)
		return fail(ret_error, "memory for", "trusted certificates");
	ok = ca_file ? X509_STORE_load_file(s->trust, ca_file)
		     : X509_STORE_set_default_paths(s->trust);
	return ok == 1 ? 0 : fail(ret_error, "trusted certificates", ca_file ? ca_file : "");
}

/* Of what a node connects with and of what it shows to those that ask for its name. */
static int check_node(const struct tls_set *s, const struct net_tls_conf *c, const char *file,
		      char *ret_error)
{
	SSL_CTX *shown = s->fallback;
	char why[ERROR_MAX];
	int r = tls_own_check(s->client, s->trust, c->node_name, why);

	for (unsigned i = 0; r == 0 && i < s->ncerts; i++)
		if (s->cert[i].domain && strcasecmp(s->cert[i].domain, c->node_name) == 0) {
			shown = s->cert[i].ctx;
			file = c->certs[i].cert_file;
			break;
		}
	if (r == 0)
		r = tls_own_check(shown, s->trust, c->node_name, why);
	if (r < 0)
		snprintf(ret_error, ERROR_MAX, "certificate %.90s %.150s", file, why);
	return r;
}

static int load_certs(struct tls_set *s, const struct net_tls_conf *c, char *ret_error)
{
	const struct net_tls_cert *fallback = c->certs;
	int r;

	for (unsigned i = 0; i < c->ncerts; i++) {
		r = add_cert(s, c, &c->certs[i], ret_error);
		if (r < 0)
			return r;
		if (!s->fallback || (fallback->domain && !c->certs[i].domain)) {
			s->fallback = s->cert[i].ctx;
			fallback = &c->certs[i];
		}
	}
	s->client = ctx_new(s, TLS_client_method());
	if (!s->client)
		return fail(ret_error, "context for", "connections opened");
	SSL_CTX_set_verify(s->client, SSL_VERIFY_PEER, NULL);
	if (c->ncerts == 0)
		return 0;
	r = load_key(s->client, fallback, ret_error);
	return r == 0 && c->node_name ? check_node(s, c, fallback->cert_file, ret_error) : r;
}

static struct tls_set *load(const struct net_tls_conf *c, char *ret_error)
{
	struct tls_set *s = calloc(1, sizeof(*s) + c->ncerts * sizeof(s->cert[0]));

	if (!s) {
		snprintf(ret_error, ERROR_MAX, "out of memory");
		return NULL;
	}
	atomic_init(&s->refs, 1);
	if (load_trust(s, c->ca_file, ret_error) < 0 || load_certs(s, c, ret_error) < 0) {
		tls_set_unref(s);
		return NULL;
	}
	return s;
}

struct net_tls *net_tls_new(const struct net_tls_conf *c, char *ret_error)
{
	struct net_tls *t = calloc(1, sizeof(*t));

	if (!t) {
		snprintf(ret_error, ERROR_MAX, "out of memory");
		return NULL;
	}
	t->current = load(c, ret_error);
	if (!t->current || pthread_mutex_init(&t->lock, NULL) != 0) {
		tls_set_unref(t->current);
		free(t);
		return NULL;
	}
	return t;
}

void net_tls_free(struct net_tls *t)
{
	if (!t)
		return;
	tls_set_unref(t->current);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

int net_tls_reload(struct net_tls *t, const struct net_tls_conf *c, char *ret_error)
{
	struct tls_set *fresh = load(c, ret_error), *old;

	if (!fresh)
		return -EINVAL;
	pthread_mutex_lock(&t->lock);
	old = t->current;
	t->current = fresh;
	pthread_mutex_unlock(&t->lock);
	tls_set_unref(old);
	return 0;
}

/* A session made without a client certificate must not be resumed where one is required: the
 * two have different session contexts. */
static bool set_verify(SSL *ssl, bool require_peer)
{
	const char *context = require_peer ? "eaves-peer" : "eaves";

	SSL_set_verify(ssl,
		       require_peer ? SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT
				    : SSL_VERIFY_NONE,
		       NULL);
	return SSL_set_session_id_context(ssl, (const unsigned char *)context,
					  (unsigned)strlen(context)) == 1;
}

SSL *tls_session(struct net_tls *t, bool server, bool require_peer, struct tls_set **ret_set)
{
	struct tls_set *s;
	SSL_CTX *ctx;
	SSL *ssl;

	pthread_mutex_lock(&t->lock);
	s = t->current;
	atomic_fetch_add(&s->refs, 1);
	pthread_mutex_unlock(&t->lock);
	ctx = server ? s->fallback : s->client;
	ssl = ctx ? SSL_new(ctx) : NULL;
	if (ssl && server && !set_verify(ssl, require_peer)) {
		SSL_free(ssl);
		ssl = NULL;
	}
	if (!ssl) {
		tls_set_unref(s);
		return NULL;
	}
	if (server)
		SSL_set_accept_state(ssl);
	else
		SSL_set_connect_state(ssl);
	*ret_set = s;
	return ssl;
}
