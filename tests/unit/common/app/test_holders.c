/*
 * Who holds and who may write which records, in a cluster of an edge pair, a pair of homes and
 * a home alone.
 */
#include "common/app/app_priv.h"

#include "tests/unit/unit.h"

enum { E1, E2, A1, A2, B1, N, NOBODY = N };
enum {
	EDGES = 1 << E1 | 1 << E2,
	A = 1 << A1 | 1 << A2,
	B = 1 << B1,
	ALL = EDGES | A | B,
};

static struct app app;
static struct app_nodes nodes;

static void set_up(unsigned self)
{
	static const struct cluster_node node[N] = {
		{"e1", "edge", CLUSTER_EDGE}, {"e2", "edge", CLUSTER_EDGE},
		{"a1", "a", CLUSTER_HOME},    {"a2", "a", CLUSTER_HOME},
		{"b1", "b", CLUSTER_HOME},
	};
	nodes = (struct app_nodes){.app = &app, .conf = {.self = self, .n = N}};
	memcpy(nodes.conf.node, node, sizeof(node));
	app.nodes = &nodes;
	app_holders_find(&nodes);
}

static struct store_row row(uint8_t kind, unsigned writer)
{
	return (struct store_row){.kind = kind,
				  .group = SPAN("alice"),
				  .node = writer == NOBODY ? 0 : writer + 1};
}

static unsigned sharers(uint8_t kind, unsigned writer)
{
	struct store_row r = row(kind, writer);
	return (unsigned)(app_sharers(&nodes, &r) & ALL);
}

/* Those who may write it here. */
static unsigned writers(uint8_t kind, unsigned writer)
{
	struct store_row r = row(kind, writer);
	unsigned found = 0;
	for (unsigned i = 0; i < N; i++)
		found |= i != nodes.conf.self && app_may_write(&nodes, i, &r) ? 1u << i : 0;
	return found;
}

START_TEST(the_directory_is_everywhere)
{
	for (unsigned self = 0; self < N; self++) {
		set_up(self);
		unsigned own = self == A1 || self == A2 ? A : self == B1 ? B : 0;
		ck_assert_uint_eq(sharers(RECORD_USER, E2), own ? EDGES | own : ALL);
		ck_assert_uint_eq(sharers(RECORD_ALIAS, NOBODY), own ? EDGES | own : ALL);
		ck_assert_uint_eq(writers(RECORD_USER, E2), (EDGES | own) & ~(1u << self));
	}
}
END_TEST

START_TEST(registrations_are_their_pairs_and_the_edges)
{
	set_up(A1);
	ck_assert_uint_eq(sharers(RECORD_BINDING, A1), EDGES | A);
	ck_assert_uint_eq(sharers(RECORD_BINDING, A2), EDGES | A);
	ck_assert_uint_eq(sharers(RECORD_BINDING, B1), 0);
	ck_assert_uint_eq(sharers(RECORD_BINDING, E1), 0);
	ck_assert_uint_eq(sharers(RECORD_BINDING, NOBODY), 0);
	ck_assert_uint_eq(writers(RECORD_BINDING, A2), EDGES | 1 << A2);
	ck_assert_uint_eq(writers(RECORD_BINDING, B1), 0);
	set_up(E1);
	ck_assert_uint_eq(sharers(RECORD_BINDING, A2), EDGES | A);
	ck_assert_uint_eq(sharers(RECORD_BINDING, B1), EDGES | B);
	ck_assert_uint_eq(sharers(RECORD_BINDING, E2), 0);
}
END_TEST

START_TEST(forks_are_their_pairs_alone)
{
	set_up(A2);
	ck_assert_uint_eq(sharers(RECORD_FORK, A1), A);
	ck_assert_uint_eq(sharers(RECORD_FORK, B1), 0);
	ck_assert_uint_eq(writers(RECORD_FORK, A1), 1 << A1);
	set_up(E1);
	ck_assert_uint_eq(sharers(RECORD_FORK, A1), 0);
}
END_TEST

START_TEST(at_an_edge_a_home_writes_for_its_own_users)
{
	static const struct mac_key key = {1, 2};
	struct dir_user user = {.home = "a"};
	struct store_row gone = row(RECORD_BINDING, B1);
	set_up(E1);
	app.records = records_new(NULL, E1 + 1, 100, &key);
	ck_assert_int_eq(
		dir_user_put(app.records, SPAN("alice"), &user, time_wall_ms(), NULL, NULL), 0);
	ck_assert_uint_eq(writers(RECORD_BINDING, A1), 1 << E2 | A);
	ck_assert_uint_eq(writers(RECORD_BINDING, B1), 1 << E2);
	/* Nor that a user of another home is gone. */
	gone.deleted = true;
	ck_assert(!app_may_write(&nodes, B1, &gone));
	gone.deleted = false;
	/* What it says of one who is nobody's may be that he is gone. */
	gone.group = SPAN("nobody");
	ck_assert(!app_may_write(&nodes, B1, &gone));
	gone.deleted = true;
	ck_assert(app_may_write(&nodes, B1, &gone));
	records_free(app.records);
	app.records = NULL;
}
END_TEST

START_TEST(homes_of_different_pairs_do_not_speak)
{
	set_up(A1);
	ck_assert(app_nodes_speak(&nodes, E1) && app_nodes_speak(&nodes, A2));
	ck_assert(!app_nodes_speak(&nodes, B1) && !app_nodes_speak(&nodes, A1));
	ck_assert(app_same_pair(&app, A1 + 1, A2 + 1) && !app_same_pair(&app, A1 + 1, B1 + 1));
	ck_assert(!app_same_pair(&app, 0, A1 + 1) && !app_same_pair(&app, N + 1, A1 + 1));
	ck_assert_uint_eq(app_first_of_pair(&app, A2 + 1), A1 + 1);
	ck_assert_uint_eq(app_first_of_pair(&app, B1 + 1), B1 + 1);
	set_up(B1);
	ck_assert(!app_nodes_speak(&nodes, A1) && app_nodes_speak(&nodes, E2));
}
END_TEST

START_TEST(a_home_offers_the_directory_to_its_other_member_alone)
{
	struct store_row user = row(RECORD_USER, E1), binding = row(RECORD_BINDING, A1);
	set_up(A1);
	ck_assert(app_may_offer(&nodes, A2, &user) && !app_may_offer(&nodes, E1, &user));
	ck_assert(app_may_offer(&nodes, E1, &binding));
	set_up(E1);
	ck_assert(app_may_offer(&nodes, A2, &user) && app_may_offer(&nodes, E2, &user));
}
END_TEST

START_TEST(a_home_alone_keeps_registrations_on_its_disk)
{
	struct store_row user = row(RECORD_USER, E1), binding = row(RECORD_BINDING, B1);
	struct store_row fork = row(RECORD_FORK, B1);
	set_up(A1);
	ck_assert(app_kept_below(&nodes, &user) && !app_kept_below(&nodes, &binding));
	set_up(B1);
	ck_assert(app_kept_below(&nodes, &user) && app_kept_below(&nodes, &binding));
	set_up(E1);
	nodes.redis = (struct store *)&app; /* only whether there is one */
	ck_assert(app_kept_below(&nodes, &binding) && !app_kept_below(&nodes, &fork));
}
END_TEST

UNIT_MAIN("common/app holders", the_directory_is_everywhere,
	  registrations_are_their_pairs_and_the_edges, forks_are_their_pairs_alone,
	  at_an_edge_a_home_writes_for_its_own_users, homes_of_different_pairs_do_not_speak,
	  a_home_offers_the_directory_to_its_other_member_alone,
	  a_home_alone_keeps_registrations_on_its_disk)
