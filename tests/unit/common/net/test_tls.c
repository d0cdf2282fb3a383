/*
 * TLS: handshakes, whom the peer is (RFC 5922), SNI, reload, what is refused.
 */
#include "tests/unit/common/net/certs.h"
#include "tests/unit/common/net/rig.h"

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

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
	return (struct net_tls_conf){c, n, ca.file};
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

static void start(const char *client, const char *server, bool require_peer)
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

static struct sip_flow to_b(void)
{
	return flow_to(SIP_TRANSPORT_TLS, net_listener_addr(b.net, 0));
}

START_TEST(messages_go_both_ways)
{
	struct sip_flow f;

	prepare();
	start("one", "two", false);
	f = to_b();
	ck_assert_int_eq(send_text(&a, &f, ping, "two.example", 1), 0);
	ck_assert_int_eq(send_text(&a, &f, ping, "two.example", 2), 0);
	rig_until(l, b.nheard == 2);
	ck_assert_mem_eq(b.heard[1].text, ping, strlen(ping));
	ck_assert(!b.heard[0].has_peer);
	ck_assert_int_eq(send_text(&b, &b.heard[0].flow, ping, NULL, 3), 0);
	rig_until(l, a.nheard == 1);
	ck_assert(a.heard[0].has_peer);
	ck_assert_str_eq(a.heard[0].peer.names[0], "two.example");
	ck_assert_uint_eq(net_counters(b.net)->accepted, 1);
	net_close(a.net, &a.heard[0].flow);
	rig_until(l, b.nclosed == 1 && a.nclosed == 1);
	ck_assert_uint_eq(a.nfailed + b.nfailed, 0);
	stop();
}
END_TEST

START_TEST(a_large_burst_arrives_whole)
{
	struct sip_flow f;
	static char big[30000];
	int head = snprintf(big, sizeof(big),
			    "OPTIONS sip:a@b SIP/2.0\r\nContent-Length: 20000\r\n\r\n");

	prepare();
	start("one", "two", false);
	memset(big + head, 'x', 20000);
	big[head + 20000] = '\0';
	f = to_b();
	for (int i = 0; i < 10; i++)
		ck_assert_int_eq(send_text(&a, &f, big, "two.example", 1), 0);
	rig_until(l, b.nheard == 10);
	for (int i = 0; i < 10; i++)
		ck_assert_uint_eq(b.heard[i].n, (size_t)head + 20000);
	stop();
}
END_TEST

static void refused(const char *client, const char *server, bool require_peer, const char *host)
{
	struct sip_flow f;

	prepare();
	start(client, server, require_peer);
	f = to_b();
	ck_assert_int_eq(send_text(&a, &f, ping, host, 4), 0);
	rig_until(l, a.nfailed == 1);
	ck_assert_uint_eq(a.failed[0], 4);
	rig_settle(l);
	ck_assert_uint_eq(b.nheard, 0);
	ck_assert_uint_ge(net_counters(a.net)->handshake_failed +
				  net_counters(b.net)->handshake_failed,
			  1);
	stop();
}

START_TEST(a_server_with_another_name_gets_nothing)
{
	refused("one", "two", false, "one.example");
}
END_TEST

START_TEST(a_wildcard_is_no_identity)
{
	refused("two", "one", false, "a.wild.example");
}
END_TEST

START_TEST(a_user_or_another_scheme_is_no_identity_of_a_domain)
{
	refused("two", "one", false, "two.example");
}
END_TEST

START_TEST(the_common_name_does_not_count_beside_alternative_names)
{
	refused("two", "one", false, "ignored.example");
}
END_TEST

START_TEST(a_certificate_for_mail_is_none_for_sip)
{
	refused("two", "mail", false, "mail.example");
}
END_TEST

static void accepted(const char *server, const char *host)
{
	struct sip_flow f;

	prepare();
	start("two", server, false);
	f = to_b();
	ck_assert_int_eq(send_text(&a, &f, ping, host, 4), 0);
	rig_until(l, b.nheard == 1);
	ck_assert_uint_eq(a.nfailed, 0);
	stop();
}

START_TEST(a_dns_name_is_an_identity_without_regard_to_case)
{
	accepted("one", "ONE.example");
}
END_TEST

START_TEST(a_sip_uri_is_an_identity)
{
	accepted("one", "sip.one.example");
}
END_TEST

START_TEST(a_certificate_for_sip_alone_is_good)
{
	accepted("sip", "sip.example");
}
END_TEST

START_TEST(no_name_asked_for_any_name_is_good)
{
	accepted("three", NULL);
}
END_TEST

START_TEST(a_stranger_s_authority_is_refused)
{
	struct authority other;
	struct sip_flow f;

	prepare();
	authority_start(&other);
	start("one", "two", false);
	char error[256];
	struct net_tls_cert cert = {NULL, path("one"), path("one")};
	struct net_tls_conf c = {&cert, 1, other.file};
	ck_assert_int_eq(net_tls_reload(tls_a, &c, error), 0);
	f = to_b();
	send_text(&a, &f, ping, NULL, 4);
	rig_until(l, a.nfailed == 1);
	ck_assert_uint_eq(b.nheard, 0);
	authority_stop(&other);
	stop();
}
END_TEST

START_TEST(mutual_tls_tells_the_identities_of_the_client)
{
	struct sip_flow f;

	prepare();
	start("one", "two", true);
	f = to_b();
	send_text(&a, &f, ping, "two.example", 1);
	rig_until(l, b.nheard == 1);
	ck_assert(b.heard[0].has_peer);
	ck_assert_uint_eq(b.heard[0].peer.n, 2);
	ck_assert_str_eq(b.heard[0].peer.names[0], "one.example");
	ck_assert_str_eq(b.heard[0].peer.names[1], "sip.one.example");
	stop();
}
END_TEST

START_TEST(a_certificate_for_servers_alone_is_good_for_a_client)
{
	struct sip_flow f;

	prepare();
	start("two", "one", true);
	f = to_b();
	send_text(&a, &f, ping, "one.example", 1);
	rig_until(l, b.nheard == 1);
	ck_assert_str_eq(b.heard[0].peer.names[0], "two.example");
	stop();
}
END_TEST

START_TEST(a_connection_is_not_reused_for_a_name_that_its_peer_has_not)
{
	struct sip_flow f;

	prepare();
	start("two", "one", false);
	f = to_b();
	send_text(&a, &f, ping, "one.example", 1);
	rig_until(l, b.nheard == 1);
	send_text(&a, &f, ping, "sip.one.example", 2); /* it has that one too */
	rig_until(l, b.nheard == 2);
	ck_assert_uint_eq(net_counters(a.net)->connected, 1);
	send_text(&a, &f, ping, "two.example", 3);
	rig_until(l, a.nfailed == 1);
	ck_assert_uint_eq(a.failed[0], 3);
	ck_assert_uint_eq(net_counters(a.net)->connected, 2);
	stop();
}
END_TEST

/* ---- a client of the test's own ---- */

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
	struct net_tls_conf c = {&cert, 1, ca.file};
	ck_assert_int_eq(net_tls_reload(tls_b, &c, error), -EINVAL);
	ck_assert_ptr_nonnull(strstr(error, "two.pem"));
	cert.cert_file = "/nowhere.pem";
	ck_assert_int_eq(net_tls_reload(tls_b, &c, error), -EINVAL);
	ck_assert_ptr_nonnull(strstr(error, "/nowhere.pem"));
	cert = (struct net_tls_cert){NULL, path("one"), path("one")};
	c.ca_file = "/no-ca.pem";
	ck_assert_int_eq(net_tls_reload(tls_b, &c, error), -EINVAL);
	ck_assert_ptr_null(net_tls_new(&c, error));
	sees(NULL, "two.example");
	stop();
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

START_TEST(names_match_exactly_and_without_case)
{
	ck_assert(net_tls_name_matches(SPAN("a.example"), SPAN("A.Example")));
	ck_assert(net_tls_name_matches(SPAN("a.example"), SPAN("a.example.")));
	ck_assert(!net_tls_name_matches(SPAN("*.example"), SPAN("a.example")));
	ck_assert(!net_tls_name_matches(SPAN("a.example"), SPAN("b.a.example")));
	ck_assert(!net_tls_name_matches(SPAN(""), SPAN("")));
}
END_TEST

UNIT_MAIN("tls", messages_go_both_ways, a_large_burst_arrives_whole,
	  a_server_with_another_name_gets_nothing, a_wildcard_is_no_identity,
	  a_user_or_another_scheme_is_no_identity_of_a_domain,
	  the_common_name_does_not_count_beside_alternative_names,
	  a_certificate_for_mail_is_none_for_sip,
	  a_dns_name_is_an_identity_without_regard_to_case, a_sip_uri_is_an_identity,
	  a_certificate_for_sip_alone_is_good, no_name_asked_for_any_name_is_good,
	  a_stranger_s_authority_is_refused, mutual_tls_tells_the_identities_of_the_client,
	  a_certificate_for_servers_alone_is_good_for_a_client,
	  a_connection_is_not_reused_for_a_name_that_its_peer_has_not,
	  the_certificate_is_chosen_by_sni,
	  reload_serves_new_connections_and_keeps_those_that_are_up,
	  a_reload_that_fails_changes_nothing, tls_1_1_is_refused_and_1_2_is_not,
	  renegotiation_is_refused, a_session_is_resumed_and_still_tells_its_peer,
	  a_session_without_a_certificate_is_not_resumed_where_one_is_required,
	  a_client_without_a_certificate_is_refused_where_one_is_required,
	  a_handshake_that_takes_too_long_is_closed, plain_text_at_a_tls_listener_is_closed,
	  names_match_exactly_and_without_case)
