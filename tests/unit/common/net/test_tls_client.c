/*
 * TLS with a client of the test's own: SNI, reload, resumption, what is refused.
 */
#include "tests/unit/common/net/tls_rig.h"

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

struct client {
	SSL_CTX *ctx;
	SSL *ssl;
	int fd;
};

/* Does one step until it is done; the result of the step. */
#define client_do(c, step)                                                             \
	({                                                                             \
		int r_ = -1;                                                           \
		for (int i_ = 0; i_ < 400; i_++) {                                     \
			r_ = (step);                                                   \
			int e_ = SSL_get_error((c)->ssl, r_);                          \
			if (r_ > 0 ||                                                  \
			    (e_ != SSL_ERROR_WANT_READ && e_ != SSL_ERROR_WANT_WRITE)) \
				break;                                                 \
			loop_round(l, 10);                                             \
		}                                                                      \
		ERR_clear_error();                                                     \
		r_;                                                                    \
	})

static int client_start(struct client *c, int version, const char *sni, SSL_SESSION *session,
			const char *cert)
{
	c->ctx = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set_max_proto_version(c->ctx, version);
	SSL_CTX_set_min_proto_version(c->ctx, version);
	SSL_CTX_set_security_level(c->ctx, 0);
	if (cert) {
		SSL_CTX_use_certificate_chain_file(c->ctx, cert);
		SSL_CTX_use_PrivateKey_file(c->ctx, cert, SSL_FILETYPE_PEM);
	}
	c->fd = dial(SOCK_STREAM, net_listener_addr(b.net, 0));
	fcntl(c->fd, F_SETFL, O_NONBLOCK);
	c->ssl = SSL_new(c->ctx);
	SSL_set_fd(c->ssl, c->fd);
	if (sni)
		SSL_set_tlsext_host_name(c->ssl, sni);
	if (session)
		SSL_set_session(c->ssl, session);
	return client_do(c, SSL_connect(c->ssl));
}

/* With a good bye: OpenSSL forgets the session of a connection that ends without. */
static void client_stop(struct client *c)
{
	if (SSL_is_init_finished(c->ssl))
		SSL_shutdown(c->ssl);
	ERR_clear_error();
	SSL_free(c->ssl);
	SSL_CTX_free(c->ctx);
	close(c->fd);
}

static const char *name_seen(struct client *c)
{
	static char cn[64];
	X509 *cert = SSL_get0_peer_certificate(c->ssl);

	X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, cn, sizeof(cn));
	return cn;
}

static void sees(const char *sni, const char *cn)
{
	struct client c;

	ck_assert_int_eq(client_start(&c, TLS1_3_VERSION, sni, NULL, NULL), 1);
	ck_assert_str_eq(name_seen(&c), cn);
	client_stop(&c);
}

static void reload_b(unsigned n, const char *const *names, const char *const *domains)
{
	struct net_tls_cert cert[4];
	struct net_tls_conf c = settings(cert, n, names, domains);
	char error[256] = "";

	ck_assert_msg(net_tls_reload(tls_b, &c, error) == 0, "%s", error);
}

START_TEST(the_certificate_is_chosen_by_sni)
{
	prepare();
	start("one", "two", false);
	reload_b(3, (const char *const[]){"one", "two", "three"},
		 (const char *const[]){"one.example", "", "three.example"});
	sees("one.example", "ignored.example");
	sees("THREE.example", "three.example");
	sees("unknown.example", "two.example");
	sees(NULL, "two.example");
	stop();
}
END_TEST

START_TEST(reload_serves_new_connections_and_keeps_those_that_are_up)
{
	struct client c;
	char buf[64];

	prepare();
	start("one", "two", false);
	ck_assert_int_eq(client_start(&c, TLS1_3_VERSION, NULL, NULL, NULL), 1);
	ck_assert_str_eq(name_seen(&c), "two.example");
	reload_b(1, (const char *const[]){"three"}, (const char *const[]){""});
	sees(NULL, "three.example");
	ck_assert_int_gt(client_do(&c, SSL_write(c.ssl, ping, (int)strlen(ping))), 0);
	rig_until(l, b.nheard == 1);
	send_text(&b, &b.heard[0].flow, "still here", NULL, 0);
	ck_assert_int_eq(client_do(&c, SSL_read(c.ssl, buf, sizeof(buf))), 10);
	client_stop(&c);
	stop();
}
END_TEST

START_TEST(a_reload_that_fails_changes_nothing)
{
	char error[256] = "";

	prepare();
	start("one", "two", false);
	struct net_tls_cert cert = {NULL, path("one"), path("two")}; /* not its key */
	struct net_tls_conf c = {.certs = &cert, .ncerts = 1, .ca_file = ca.file};
	ck_assert_int_eq(net_tls_reload(tls_b, &c, error), -EINVAL);
	ck_assert_ptr_nonnull(strstr(error, "two.pem"));
	cert.cert_file = "/nowhere.pem";
	ck_assert_int_eq(net_tls_reload(tls_b, &c, error), -EINVAL);
	ck_assert_ptr_nonnull(strstr(error, "/nowhere.pem: No such file"));
	cert = (struct net_tls_cert){NULL, path("one"), path("one")};
	c.ca_file = "/no-ca.pem";
	ck_assert_int_eq(net_tls_reload(tls_b, &c, error), -EINVAL);
	ck_assert_ptr_null(net_tls_new(&c, error));
	sees(NULL, "two.example");
	stop();
}
END_TEST

START_TEST(a_node_does_not_show_a_certificate_that_names_another)
{
	char error[256] = "";

	prepare();
	const struct net_tls_cert cert[] = {{"two.example", path("two"), path("two")},
					    {"one.example", path("one"), path("one")}};
	struct net_tls_conf c = {.certs = cert, .ncerts = 1, .ca_file = ca.file};
	c.node_name = "one.example";
	ck_assert_ptr_null(net_tls_new(&c, error));
	ck_assert_ptr_nonnull(
		strstr(error, "two.pem names two.example, not the node one.example"));
	c.ncerts = 2; /* it connects with the first */
	ck_assert_ptr_null(net_tls_new(&c, error));
	c.node_name = "two.example";
	struct net_tls *t = net_tls_new(&c, error);
	ck_assert_msg(t != NULL, "%s", error);
	net_tls_free(t);
}
END_TEST

/* It is told of in the log: the phones that the node can serve are to have it. */
START_TEST(a_node_serves_with_a_certificate_that_is_out_of_its_time)
{
	char error[256] = "";

	prepare();
	ca.lasts_s = -60;
	leaf(&ca, "old", "old.example", "DNS:old.example", NULL);
	const struct net_tls_cert cert = {"old.example", path("old"), path("old")};
	struct net_tls_conf c = {
		.certs = &cert, .ncerts = 1, .ca_file = ca.file, .node_name = "old.example"};
	struct net_tls *t = net_tls_new(&c, error);
	ck_assert_msg(t != NULL, "%s", error);
	net_tls_free(t);
}
END_TEST

START_TEST(tls_1_1_is_refused_and_1_2_is_not)
{
	struct client c;

	prepare();
	start("one", "two", false);
	ck_assert_int_ne(client_start(&c, TLS1_1_VERSION, NULL, NULL, NULL), 1);
	client_stop(&c);
	ck_assert_int_eq(client_start(&c, TLS1_2_VERSION, NULL, NULL, NULL), 1);
	client_stop(&c);
	stop();
}
END_TEST

START_TEST(renegotiation_is_refused)
{
	struct client c;
	char buf[8];

	prepare();
	start("one", "two", false);
	ck_assert_int_eq(client_start(&c, TLS1_2_VERSION, NULL, NULL, NULL), 1);
	SSL_renegotiate(c.ssl);
	ck_assert_int_ne(client_do(&c, SSL_do_handshake(c.ssl)), 1);
	ck_assert_int_le(client_do(&c, SSL_read(c.ssl, buf, sizeof(buf))), 0);
	ck_assert_uint_eq(b.nheard, 0);
	client_stop(&c);
	stop();
}
END_TEST

START_TEST(a_session_is_resumed_and_still_tells_its_peer)
{
	SSL_SESSION *session;
	struct client c;

	prepare();
	start("one", "two", true);
	ck_assert_int_eq(client_start(&c, TLS1_2_VERSION, NULL, NULL, path("three")), 1);
	session = SSL_get1_session(c.ssl);
	client_stop(&c);
	ck_assert_int_eq(client_start(&c, TLS1_2_VERSION, NULL, session, path("three")), 1);
	ck_assert_int_eq(SSL_session_reused(c.ssl), 1);
	ck_assert_int_gt(client_do(&c, SSL_write(c.ssl, ping, (int)strlen(ping))), 0);
	rig_until(l, b.nheard == 1);
	ck_assert(b.heard[0].has_peer);
	ck_assert_str_eq(b.heard[0].peer.names[0], "three.example");
	ck_assert_uint_eq(net_counters(b.net)->tls_reused, 1);
	SSL_SESSION_free(session);
	client_stop(&c);
	stop();
}
END_TEST

START_TEST(a_session_without_a_certificate_is_not_resumed_where_one_is_required)
{
	struct net_conf two = conf_with(SIP_TRANSPORT_TLS, "127.0.0.1");
	SSL_SESSION *session;
	struct client c;
	struct addr strict;

	prepare();
	start("one", "two", false);
	side_stop(&b);
	two.nlisteners = 2;
	two.listener[1] = two.listener[0];
	two.listener[1].tls_require_peer = true;
	side_start(&b, l, &two, tls_b);
	ck_assert_int_eq(client_start(&c, TLS1_2_VERSION, NULL, NULL, NULL), 1);
	session = SSL_get1_session(c.ssl);
	client_stop(&c);
	strict = *net_listener_addr(b.net, 1);
	c.ctx = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set_max_proto_version(c.ctx, TLS1_2_VERSION);
	c.ssl = SSL_new(c.ctx);
	c.fd = dial(SOCK_STREAM, &strict);
	fcntl(c.fd, F_SETFL, O_NONBLOCK);
	SSL_set_fd(c.ssl, c.fd);
	SSL_set_session(c.ssl, session);
	ck_assert_int_ne(client_do(&c, SSL_connect(c.ssl)), 1);
	SSL_SESSION_free(session);
	client_stop(&c);
	stop();
}
END_TEST

START_TEST(a_client_without_a_certificate_is_refused_where_one_is_required)
{
	struct client c;
	char buf[8];

	prepare();
	start("one", "two", true);
	/* In TLS 1.3 the client is done before the server has looked. */
	if (client_start(&c, TLS1_3_VERSION, NULL, NULL, NULL) == 1)
		ck_assert_int_le(client_do(&c, SSL_read(c.ssl, buf, sizeof(buf))), 0);
	ck_assert_uint_eq(net_counters(b.net)->handshake_failed, 1);
	ck_assert_uint_eq(net_counters(b.net)->conns, 0);
	rig_until(l, b.nrefused == 1);
	ck_assert(!b.refusal.opened && !b.refusal.by_peer);
	ck_assert_str_eq(b.refusal.why, "peer did not return a certificate");
	client_stop(&c);
	stop();
}
END_TEST

START_TEST(a_handshake_that_takes_too_long_is_closed)
{
	char buf[8];
	int fd;

	prepare();
	conf = conf_with(SIP_TRANSPORT_TLS, "127.0.0.1");
	start("one", "two", false);
	side_stop(&b);
	conf.handshake_ms = 40;
	side_start(&b, l, &conf, tls_b);
	fd = dial(SOCK_STREAM, net_listener_addr(b.net, 0));
	put(fd, "\x16\x03\x01", 3);
	ck_assert_int_eq(get(l, fd, buf, sizeof(buf)), 0);
	ck_assert_uint_eq(net_counters(b.net)->handshake_failed, 1);
	close(fd);
	stop();
}
END_TEST

START_TEST(plain_text_at_a_tls_listener_is_closed)
{
	char buf[64];
	int fd;
	ssize_t r;

	prepare();
	start("one", "two", false);
	fd = dial(SOCK_STREAM, net_listener_addr(b.net, 0));
	put(fd, ping, strlen(ping));
	do
		r = get(l, fd, buf, sizeof(buf)); /* an alert may come first */
	while (r > 0);
	ck_assert_uint_eq(b.nheard, 0);
	ck_assert_uint_eq(net_counters(b.net)->handshake_failed, 1);
	close(fd);
	stop();
}
END_TEST

UNIT_MAIN("tls_client", the_certificate_is_chosen_by_sni,
	  reload_serves_new_connections_and_keeps_those_that_are_up,
	  a_reload_that_fails_changes_nothing,
	  a_node_does_not_show_a_certificate_that_names_another,
	  a_node_serves_with_a_certificate_that_is_out_of_its_time,
	  tls_1_1_is_refused_and_1_2_is_not, renegotiation_is_refused,
	  a_session_is_resumed_and_still_tells_its_peer,
	  a_session_without_a_certificate_is_not_resumed_where_one_is_required,
	  a_client_without_a_certificate_is_refused_where_one_is_required,
	  a_handshake_that_takes_too_long_is_closed, plain_text_at_a_tls_listener_is_closed)
