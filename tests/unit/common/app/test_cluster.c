/*
 * A node of a cluster, as its configuration has it (cluster.c).
 */
#include "common/app/app_priv.h"

#include "tests/unit/unit.h"

#include <errno.h>
#include <stdlib.h>

static struct conf_listener listener[3];
static struct conf_node node[1];
static struct conf conf;
static struct app_conf app_conf;
static struct app app;

static void set_up(const char *host, uint16_t port)
{
	static const char *const at[] = {"10.0.0.1", "10.0.0.2", "10.0.0.2"};
	static const struct app_role home = {.kind = APP_HOME};
	memset(&app, 0, sizeof(app));
	for (unsigned i = 0; i < 3; i++) {
		listener[i] = (struct conf_listener){.transport = SIP_TRANSPORT_TCP,
						     .policy = i ? CONF_POLICY_CLUSTER
								 : CONF_POLICY_NORMAL};
		ck_assert_int_eq(
			addr_parse(&listener[i].addr, span_str(at[i]), (uint16_t)(7400 + i)),
			0);
	}
	node[0] = (struct conf_node){
		.name = (char *)"h1a", .pair = (char *)"h1", .role = CONF_ROLE_HOME};
	ck_assert_int_eq(addr_parse(&node[0].sip_addr, span_str(host), port), 0);
	conf = (struct conf){
		.domain = (char *)"example.org", .listeners = listener, .listeners_count = 3};
	conf.cluster.node = node[0].name;
	conf.cluster.nodes = node;
	conf.cluster.nodes_count = 1;
	app_conf.conf = &conf;
	app.conf = &app_conf;
	app.role[APP_HOME] = &home;
}

START_TEST(a_link_is_where_the_others_connect)
{
	char error[APP_ERROR_MAX];
	for (uint16_t i = 1; i < 3; i++) {
		set_up("10.0.0.2", 7400 + i);
		ck_assert_int_eq(app_nodes_new(&app, error), 0);
		ck_assert_uint_eq(app.nodes->link_listener, i);
		free(app.nodes);
	}
}
END_TEST

START_TEST(where_nobody_listens_to_nodes_there_is_no_link)
{
	char error[APP_ERROR_MAX];
	set_up("10.0.0.1", 7400);
	ck_assert_int_eq(app_nodes_new(&app, error), -EINVAL);
	ck_assert_ptr_null(app.nodes);
}
END_TEST

UNIT_MAIN("common/app cluster", a_link_is_where_the_others_connect,
	  where_nobody_listens_to_nodes_there_is_no_link)
