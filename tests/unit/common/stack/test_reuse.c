/*
 * Which connection of a peer's a message goes by: RFC 3261 18, RFC 5923.
 */
#include "common/stack/stack_priv.h"
#include "tests/unit/unit.h"

static struct stack_reuse *table;
static struct sip_flow got;

static struct sip_flow flow(enum sip_transport t, const char *host, uint16_t port,
			    uint64_t conn)
{
	struct sip_flow f = {.transport = t, .worker = 1, .conn = conn};

	ck_assert_int_eq(addr_parse(&f.remote, span_str(host), port), 0);
	return f;
}

static struct sip_flow opened(enum sip_transport t, uint16_t port, uint64_t conn)
{
	struct sip_flow f = flow(t, "192.0.2.1", port, conn);

	stack_reuse_add(table, &f);
	return f;
}

static bool found(enum sip_transport t, const char *host, uint16_t port, const char *name)
{
	struct sip_flow to = flow(t, host, port, 0);

	return stack_reuse_find(table, &to, name, &got);
}

static struct net_peer peer(const char *name)
{
	struct net_peer p = {.n = 1};

	strcpy(p.names[0], name);
	return p;
}

static void start(void)
{
	table = stack_reuse_new(10);
	ck_assert_ptr_nonnull(table);
}

START_TEST(a_connection_is_found_by_its_far_end_until_it_closes)
{
	start();
	struct sip_flow f = opened(SIP_TRANSPORT_TCP, 40000, 7);
	ck_assert(found(SIP_TRANSPORT_TCP, "192.0.2.1", 40000, NULL));
	ck_assert_uint_eq(got.conn, 7);
	ck_assert_uint_eq(got.worker, 1);
	ck_assert(!found(SIP_TRANSPORT_TLS, "192.0.2.1", 40000, NULL));
	ck_assert(!found(SIP_TRANSPORT_TCP, "192.0.2.1", 40001, NULL));
	ck_assert(!found(SIP_TRANSPORT_TCP, "192.0.2.2", 40000, NULL));
	stack_reuse_remove(table, &f);
	ck_assert(!found(SIP_TRANSPORT_TCP, "192.0.2.1", 40000, NULL));
	stack_reuse_remove(table, &f);
	stack_reuse_free(table);
}
END_TEST

START_TEST(a_name_is_not_proved_by_an_address)
{
	start();
	opened(SIP_TRANSPORT_TLS, 40000, 7);
	ck_assert(found(SIP_TRANSPORT_TLS, "192.0.2.1", 40000, "192.0.2.1"));
	ck_assert(!found(SIP_TRANSPORT_TLS, "192.0.2.1", 40000, "peer.example"));
	stack_reuse_free(table);
}
END_TEST

START_TEST(an_alias_is_another_port_of_the_same_connection)
{
	start();
	struct sip_flow f = opened(SIP_TRANSPORT_TCP, 40000, 7);
	struct addr at = f.remote, later = f.remote;

	addr_set_port(&at, 5060);
	addr_set_port(&later, 5070);
	for (int i = 0; i < 3; i++)
		stack_reuse_alias(table, &f, &at, NULL);
	ck_assert(found(SIP_TRANSPORT_TCP, "192.0.2.1", 5060, NULL));
	ck_assert_uint_eq(got.conn, 7);
	ck_assert(found(SIP_TRANSPORT_TCP, "192.0.2.1", 40000, NULL));
	stack_reuse_alias(table, &f, &later, NULL);
	ck_assert(!found(SIP_TRANSPORT_TCP, "192.0.2.1", 5060, NULL));
	ck_assert(found(SIP_TRANSPORT_TCP, "192.0.2.1", 5070, NULL));
	stack_reuse_remove(table, &f);
	ck_assert(!found(SIP_TRANSPORT_TCP, "192.0.2.1", 5070, NULL));
	ck_assert(!found(SIP_TRANSPORT_TCP, "192.0.2.1", 40000, NULL));
	stack_reuse_free(table);
}
END_TEST

START_TEST(an_alias_is_good_for_the_names_of_its_certificate)
{
	struct net_peer p = peer("peer.example");

	start();
	struct sip_flow f = opened(SIP_TRANSPORT_TLS, 5061, 7); /* from where it listens */
	stack_reuse_alias(table, &f, &f.remote, &p);
	ck_assert(found(SIP_TRANSPORT_TLS, "192.0.2.1", 5061, "peer.example"));
	ck_assert(found(SIP_TRANSPORT_TLS, "192.0.2.1", 5061, "PEER.example."));
	ck_assert(!found(SIP_TRANSPORT_TLS, "192.0.2.1", 5061, "other.example"));
	stack_reuse_remove(table, &f);
	ck_assert(!found(SIP_TRANSPORT_TLS, "192.0.2.1", 5061, NULL));
	stack_reuse_free(table);
}
END_TEST

START_TEST(an_alias_without_a_certificate_proves_no_name_and_no_address)
{
	start();
	struct sip_flow f = opened(SIP_TRANSPORT_TLS, 40000, 7);
	struct addr at = f.remote;

	addr_set_port(&at, 5061);
	stack_reuse_alias(table, &f, &at, NULL);
	ck_assert(!found(SIP_TRANSPORT_TLS, "192.0.2.1", 5061, "peer.example"));
	ck_assert(!found(SIP_TRANSPORT_TLS, "192.0.2.1", 5061, "192.0.2.1"));
	stack_reuse_free(table);
}
END_TEST

START_TEST(the_newest_connection_is_taken_and_then_the_one_before)
{
	start();
	struct sip_flow a = opened(SIP_TRANSPORT_TCP, 40000, 7);
	struct sip_flow b = opened(SIP_TRANSPORT_TCP, 40001, 8);
	struct addr at = a.remote;

	addr_set_port(&at, 5060);
	stack_reuse_alias(table, &a, &at, NULL);
	stack_reuse_alias(table, &b, &at, NULL);
	ck_assert(found(SIP_TRANSPORT_TCP, "192.0.2.1", 5060, NULL));
	ck_assert_uint_eq(got.conn, 8);
	stack_reuse_remove(table, &b);
	ck_assert(found(SIP_TRANSPORT_TCP, "192.0.2.1", 5060, NULL));
	ck_assert_uint_eq(got.conn, 7);
	stack_reuse_free(table);
}
END_TEST

START_TEST(a_connection_that_the_peer_did_not_open_has_no_alias)
{
	start();
	struct sip_flow f = flow(SIP_TRANSPORT_TCP, "192.0.2.1", 5060, 7);

	stack_reuse_alias(table, &f, &f.remote, NULL);
	ck_assert(!found(SIP_TRANSPORT_TCP, "192.0.2.1", 5060, NULL));
	stack_reuse_free(table);
}
END_TEST

UNIT_MAIN("reuse", a_connection_is_found_by_its_far_end_until_it_closes,
	  a_name_is_not_proved_by_an_address, an_alias_is_another_port_of_the_same_connection,
	  an_alias_is_good_for_the_names_of_its_certificate,
	  an_alias_without_a_certificate_proves_no_name_and_no_address,
	  the_newest_connection_is_taken_and_then_the_one_before,
	  a_connection_that_the_peer_did_not_open_has_no_alias)
