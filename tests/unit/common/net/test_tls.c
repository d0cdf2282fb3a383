/*
 * TLS between two nodes: handshakes, and whom the peer is (RFC 5922).
 */
#include "tests/unit/common/net/tls_rig.h"

#include <openssl/ssl.h>

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

START_TEST(what_was_sent_to_who_hangs_up_still_comes_by_tls)
{
	struct sip_flow f;

	prepare();
	start("one", "two", false);
	f = to_b();
	ck_assert_int_eq(send_text(&a, &f, ping, "two.example", 1), 0);
	rig_until(l, b.nheard == 1);
	rig_settle(l);
	ck_assert_int_eq(send_text(&a, &f, ping, "two.example", 2), 0);
	net_hang_up(b.net, NET_LISTENERS_MAX);
	rig_until(l, b.nheard == 2 && b.nclosed == 1 && a.nclosed == 1);
	ck_assert_mem_eq(b.heard[1].text, ping, strlen(ping));
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

/* We refuse the server, and it hears that. */
static void refused(const char *client, const char *server, bool require_peer, const char *host,
		    const char *why, const char *heard)
{
	struct sip_flow f;

	prepare();
	start(client, server, require_peer);
	f = to_b();
	ck_assert_int_eq(send_text(&a, &f, ping, host, 4), 0);
	rig_until(l, a.nfailed == 1);
	ck_assert_uint_eq(a.failed[0], 4);
	rig_until(l, b.nrefused == 1);
	ck_assert_uint_eq(b.nheard, 0);
	ck_assert_uint_eq(a.nrefused, 1);
	ck_assert(a.refusal.opened && !a.refusal.by_peer);
	ck_assert_str_eq(a.refusal.why, why);
	ck_assert(!b.refusal.opened && b.refusal.by_peer);
	ck_assert_str_eq(b.refusal.why, heard);
	ck_assert_uint_ge(net_counters(a.net)->handshake_failed +
				  net_counters(b.net)->handshake_failed,
			  1);
	stop();
}

START_TEST(a_server_with_another_name_gets_nothing)
{
	refused("one", "two", false, "one.example", "hostname mismatch",
		"sslv3 alert bad certificate");
}
END_TEST

START_TEST(a_wildcard_is_no_identity)
{
	refused("two", "one", false, "a.wild.example", "hostname mismatch",
		"sslv3 alert bad certificate");
}
END_TEST

START_TEST(a_user_or_another_scheme_is_no_identity_of_a_domain)
{
	refused("two", "one", false, "two.example", "hostname mismatch",
		"sslv3 alert bad certificate");
}
END_TEST

START_TEST(the_common_name_does_not_count_beside_alternative_names)
{
	refused("two", "one", false, "ignored.example", "hostname mismatch",
		"sslv3 alert bad certificate");
}
END_TEST

START_TEST(a_certificate_for_mail_is_none_for_sip)
{
	refused("two", "mail", false, "mail.example", "unsuitable certificate purpose",
		"sslv3 alert unsupported certificate");
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
	struct net_tls_conf c = {.certs = &cert, .ncerts = 1, .ca_file = other.file};
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

/* The first flight of a client, as bytes. */
static size_t client_hello(char *buf, int room)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *s = SSL_new(ctx);
	BIO *out = BIO_new(BIO_s_mem());
	int n;

	SSL_set_bio(s, BIO_new(BIO_s_mem()), out);
	SSL_connect(s);
	n = BIO_read(out, buf, room);
	ck_assert_int_gt(n, 0);
	SSL_free(s);
	SSL_CTX_free(ctx);
	return (size_t)n;
}

/* How many of them have been answered. */
static unsigned answered(const int *fd, unsigned n)
{
	unsigned k = 0;
	char c;

	for (unsigned i = 0; i < n; i++)
		k += recv(fd[i], &c, 1, MSG_PEEK | MSG_DONTWAIT) == 1;
	return k;
}

START_TEST(phones_that_come_back_all_at_once_do_not_keep_others_waiting)
{
	enum { PHONES = 40, A_ROUND = 8 };
	char hello[4096];
	int fd[PHONES];
	unsigned before, now = 0;
	size_t n;

	prepare();
	start("one", "two", false);
	n = client_hello(hello, sizeof(hello));
	for (int i = 0; i < PHONES; i++) {
		fd[i] = dial(SOCK_STREAM, net_listener_addr(b.net, 0));
		ck_assert_int_eq(send(fd[i], hello, n, 0), (ssize_t)n);
	}
	for (int i = 0; i < 100 && now < PHONES; i++) {
		before = now;
		loop_round(l, 10);
		now = answered(fd, PHONES);
		ck_assert_uint_le(now - before, A_ROUND);
	}
	ck_assert_uint_eq(now, PHONES);
	for (int i = 0; i < PHONES; i++)
		close(fd[i]);
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

UNIT_MAIN("tls", messages_go_both_ways, what_was_sent_to_who_hangs_up_still_comes_by_tls,
	  a_large_burst_arrives_whole, a_server_with_another_name_gets_nothing,
	  a_wildcard_is_no_identity, a_user_or_another_scheme_is_no_identity_of_a_domain,
	  the_common_name_does_not_count_beside_alternative_names,
	  a_certificate_for_mail_is_none_for_sip,
	  a_dns_name_is_an_identity_without_regard_to_case, a_sip_uri_is_an_identity,
	  a_certificate_for_sip_alone_is_good, no_name_asked_for_any_name_is_good,
	  a_stranger_s_authority_is_refused, mutual_tls_tells_the_identities_of_the_client,
	  a_certificate_for_servers_alone_is_good_for_a_client,
	  a_connection_is_not_reused_for_a_name_that_its_peer_has_not,
	  phones_that_come_back_all_at_once_do_not_keep_others_waiting,
	  names_match_exactly_and_without_case)
