/*
 * TLS on a connection (RFC 3261 26.3.1, RFC 5922): handshake, whom the peer is checked to be,
 * and bytes in and out.  OpenSSL works on the socket itself, driven by the loop's events; a
 * bufferevent between them would add copies, small records and an epoll_ctl each way.
 * Settings and certificates are in tls.c.
 */
#include "common/net/net_priv.h"
#include "common/net/tls_peer.h"

#include <errno.h>
#include <limits.h>
#include <openssl/err.h>

static bool is_alert(unsigned long error)
{
	return ERR_GET_LIB(error) == ERR_LIB_SSL &&
	       ERR_GET_REASON(error) > SSL_AD_REASON_OFFSET;
}

static bool is_end(unsigned long error)
{
	return !error || (ERR_GET_LIB(error) == ERR_LIB_SSL &&
			  ERR_GET_REASON(error) == SSL_R_UNEXPECTED_EOF_WHILE_READING);
}

/* Why OpenSSL gave up: what we found of his certificate, his alert, or what else it was. */
static void note_fault(struct conn *c)
{
	unsigned long e = ERR_peek_last_error();

	c->tls_fault_of_peer = is_alert(e) || is_end(e);
	if (is_end(e))
		c->tls_fault = "has hung up";
	else if (SSL_get_verify_result(c->ssl) != X509_V_OK && !is_alert(e))
		c->tls_fault = X509_verify_cert_error_string(SSL_get_verify_result(c->ssl));
	else
		c->tls_fault = ERR_reason_error_string(e);
	if (!c->tls_fault)
		c->tls_fault = "no TLS";
}

static void refuse(struct conn *c, int error)
{
	counter_inc(&c->net->count.handshake_failed);
	conn_kill(c, error);
}

void conn_tls_late(struct conn *c)
{
	counter_inc(&c->net->count.handshake_failed);
	c->tls_fault = "the handshake took too long";
}

static bool is_literal(const char *host)
{
	struct addr a;

	return addr_parse(&a, span_str(host), 0) == 0;
}

int conn_tls_start(struct conn *c, bool require_peer)
{
	c->ssl = tls_session(c->net->tls, !c->ours, require_peer, &c->tls_set);
	if (!c->ssl || SSL_set_fd(c->ssl, c->fd) != 1 ||
	    (c->tls_host && !is_literal(c->tls_host) &&
	     SSL_set_tlsext_host_name(c->ssl, c->tls_host) != 1)) {
		refuse(c, -ENOMEM);
		return -ENOMEM;
	}
	SSL_set_app_data(c->ssl, c->tls_host);
	conn_set_state(c, CONN_HANDSHAKE);
	if (event_add(&c->ev_read, NULL) < 0) {
		refuse(c, -ENOMEM);
		return -ENOMEM;
	}
	if (c->ours)
		conn_tls_handshake(c);
	return 0;
}

/* After the handshake, which has asked the same unless a session was resumed: is the peer who
 * it must be? */
static bool peer_is_good(struct conn *c)
{
	bool must = c->ours || c->net->listener[c->flow.listener].require_peer;

	c->peer = tls_peer_of(c->ssl);
	if (must && !c->peer)
		return false;
	return !c->tls_host || tls_peer_is(c->peer, c->tls_host);
}

void conn_tls_handshake(struct conn *c)
{
	int r, e;

	ERR_clear_error();
	r = SSL_do_handshake(c->ssl);
	if (r == 1) {
		if (!peer_is_good(c)) {
			c->tls_fault = "its certificate is not good for it";
			refuse(c, -EACCES);
			return;
		}
		if (SSL_session_reused(c->ssl))
			counter_inc(&c->net->count.tls_reused);
		conn_is_open(c);
		return;
	}
	e = SSL_get_error(c->ssl, r);
	if (e == SSL_ERROR_WANT_WRITE) {
		event_add(&c->ev_write, NULL);
	} else if (e != SSL_ERROR_WANT_READ) {
		note_fault(c);
		refuse(c, -EPROTO);
	}
}

void conn_tls_handshake_fairly(struct conn *c)
{
	enum { HANDSHAKES_A_ROUND = 8 }; /* up to a millisecond each */

	if (c->net->handshakes >= HANDSHAKES_A_ROUND)
		return; /* what has come stays in the socket: the next round is told again */
	c->net->handshakes++;
	conn_tls_handshake(c);
}

ssize_t conn_tls_read(struct conn *c, char *buf, size_t n)
{
	int r, e;

	ERR_clear_error();
	r = SSL_read(c->ssl, buf, n < INT_MAX ? (int)n : INT_MAX);
	if (r > 0)
		return r;
	e = SSL_get_error(c->ssl, r);
	if (e == SSL_ERROR_WANT_READ)
		return -EAGAIN;
	if (e == SSL_ERROR_ZERO_RETURN)
		return 0;
	if (e == SSL_ERROR_WANT_WRITE) {
		event_add(&c->ev_write, NULL);
		return -EAGAIN;
	}
	if (e == SSL_ERROR_SSL && is_alert(ERR_peek_last_error()))
		note_fault(c); /* TLS 1.3 has no other place for a refusal of our certificate */
	return e == SSL_ERROR_SYSCALL && errno ? -errno : -EPROTO;
}

/* WANT_READ would be a renegotiation: there is none. */
ssize_t conn_tls_write(struct conn *c, const char *buf, size_t n)
{
	int r, e;

	ERR_clear_error();
	r = SSL_write(c->ssl, buf, n < INT_MAX ? (int)n : INT_MAX);
	if (r > 0)
		return r;
	e = SSL_get_error(c->ssl, r);
	if (e == SSL_ERROR_WANT_WRITE)
		return -EAGAIN;
	return e == SSL_ERROR_SYSCALL && errno ? -errno : -EPROTO;
}

void conn_tls_bye(struct conn *c)
{
	ERR_clear_error();
	SSL_shutdown(c->ssl);
}

void conn_tls_free(struct conn *c)
{
	SSL_free(c->ssl);
	c->ssl = NULL;
	tls_set_unref(c->tls_set);
	c->tls_set = NULL;
}
