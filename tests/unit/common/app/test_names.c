/*
 * Our own names: what stands in a Record-Route of ours, and what a request may be addressed to.
 */
#include "common/app/app_priv.h"
#include "tests/unit/unit.h"

static struct conf_listener listener;
static struct conf conf;
static struct app app;
static const struct app_worker worker = {.conf = &conf, .app = &app};

static void listen_at(const char *address, const char *advertise)
{
	static char domain[] = "example.org";
	memset(&app, 0, sizeof(app));
	listener = (struct conf_listener){.transport = SIP_TRANSPORT_UDP,
					  .advertise = (char *)(uintptr_t)advertise};
	ck_assert_int_eq(addr_parse(&listener.addr, span_str(address), 5060), 0);
	conf = (struct conf){.domain = domain, .listeners = &listener, .listeners_count = 1};
	ck_assert_int_eq(app_names_find(&app.names, &conf), 0);
}

static bool is_self(const char *host, uint16_t port)
{
	return app_is_self(&worker, span_str(host), port);
}

static bool is_local(const char *host, uint16_t port)
{
	return app_is_local(&worker, span_str(host), port);
}

/* Another node lives at another address of the machine: its Record-Route is not ours. */
START_TEST(another_address_of_the_machine_is_no_route_of_ours)
{
	listen_at("127.0.0.9", NULL);
	ck_assert(is_self("127.0.0.9", 5060));
	ck_assert(is_self("127.0.0.9", 0));
	ck_assert(!is_self("127.0.0.9", 5070));
	ck_assert(!is_self("127.0.0.1", 5060));
	ck_assert(is_local("127.0.0.1", 5060));
}
END_TEST

START_TEST(who_listens_everywhere_is_meant_by_each_address)
{
	listen_at("0.0.0.0", NULL);
	ck_assert(is_self("127.0.0.1", 5060));
	ck_assert(is_local("127.0.0.1", 5060));
	ck_assert(!is_self("192.0.2.7", 5060));
}
END_TEST

START_TEST(an_advertised_address_is_ours)
{
	listen_at("127.0.0.9", "192.0.2.7");
	ck_assert(is_self("192.0.2.7", 5060));
	ck_assert(is_local("192.0.2.7", 5060));
	ck_assert(is_self("127.0.0.9", 5060));
}
END_TEST

/* They are addressed to users of ours, and may be another node's in Route. */
START_TEST(an_alias_is_ours_but_no_route_of_ours)
{
	static char alias[] = "192.0.2.10";
	char *aliases[] = {alias};
	listen_at("127.0.0.9", NULL);
	conf.aliases = aliases;
	conf.aliases_count = 1;
	ck_assert(is_local("192.0.2.10", 5060));
	ck_assert(!is_self("192.0.2.10", 5060));
}
END_TEST

UNIT_MAIN("common/app names", another_address_of_the_machine_is_no_route_of_ours,
	  who_listens_everywhere_is_meant_by_each_address, an_advertised_address_is_ours,
	  an_alias_is_ours_but_no_route_of_ours)
