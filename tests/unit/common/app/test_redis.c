/*
 * Two edges and their Redis, without a bus between them: what the operator of one has changed
 * is not changed by the other's unseen, and who was refused has what stands.
 */
#include "common/app/app_priv.h"

#include "tests/unit/common/store/redis_rig.h"

#include <stdlib.h>

enum { EDGES = 2 };

static struct server server;
static struct edge {
	struct app app;
	struct app_nodes nodes;
	struct app_conf conf;
	struct conf c;
	char servers[32];
} edge[EDGES];

static void begin_edge(struct edge *e, uint32_t number)
{
	char error[APP_ERROR_MAX] = "";

	*e = (struct edge){0};
	snprintf(e->servers, sizeof(e->servers), "127.0.0.1:%u", server.port);
	e->c.domain = (char[]){"example.org"};
	e->c.redis.servers = e->servers;
	e->c.redis.timeout_ms = 1000;
	e->c.redis.queue_rows = 1000;
	e->conf.conf = &e->c;
	e->app.conf = &e->conf;
	e->app.nodes = &e->nodes;
	e->nodes.app = &e->app;
	e->nodes.loop = loop;
	ck_assert_msg(app_redis_open(&e->app, error) == 0, "%s", error);
	e->app.records = records_new(e->nodes.redis, number, 1000, NULL);
	ck_assert_int_eq(records_load(e->app.records, time_wall_ms()), 0);
	UNTIL(state_of(e->nodes.redis).up && !state_of(e->nodes.redis).dirty);
}

static void begin(void)
{
	log_set_level(LOG_ERROR);
	loop = loop_new(0);
	server_start(&server, NULL);
	begin_edge(&edge[0], 1);
	begin_edge(&edge[1], 2);
}

static void finish(void)
{
	for (unsigned i = 0; i < EDGES; i++) {
		edge[i].nodes.redis->ops->free(edge[i].nodes.redis);
		records_free(edge[i].app.records);
	}
	server_end(&server);
	loop_free(loop);
}

static int ended(int rc, const struct waiter *w)
{
	if (rc < 0)
		return rc;
	UNTIL(w->done);
	return w->error;
}

static int put(struct edge *e, const char *home)
{
	struct dir_user u = {0};
	struct waiter w = {0};

	snprintf(u.home, sizeof(u.home), "%s", home);
	return ended(
		dir_user_put(e->app.records, SPAN("alice"), &u, time_wall_ms(), on_done, &w),
		&w);
}

static int drop(struct edge *e)
{
	struct waiter w = {0};

	return ended(
		dir_user_remove(e->app.records, SPAN("alice"), time_wall_ms(), on_done, &w),
		&w);
}

/* Where the edge takes alice to be: "" for nobody. */
static const char *home_at(const struct edge *e)
{
	static struct dir_user u;

	return dir_user_get(e->app.records, SPAN("alice"), time_wall_ms(), &u) == 0 ? u.home
										    : "";
}

/* What an edge would have that started now. */
static const char *home_in_redis(void)
{
	static struct edge fresh;

	begin_edge(&fresh, 3);
	const char *home = home_at(&fresh);
	fresh.nodes.redis->ops->free(fresh.nodes.redis);
	records_free(fresh.app.records);
	return home;
}

static void written(struct edge *e)
{
	e->nodes.redis->ops->flush(e->nodes.redis);
}

START_TEST(a_change_of_what_the_other_edge_has_changed_is_refused_and_does_not_stand)
{
	begin();
	ck_assert_int_eq(put(&edge[0], "old"), 0);
	edge[1].nodes.redis->ops->free(edge[1].nodes.redis);
	records_free(edge[1].app.records);
	begin_edge(&edge[1], 2); /* reads it */
	ck_assert_str_eq(home_at(&edge[1]), "old");

	ck_assert_int_eq(put(&edge[0], "first"), 0);
	/* Of a later time, but the other edge has not seen what it changes. */
	ck_assert_int_eq(put(&edge[1], "second"), -EAGAIN);
	ck_assert_str_eq(home_at(&edge[1]), "first");
	written(&edge[1]);
	ck_assert_str_eq(home_in_redis(), "first");
	/* He has looked, and does it again. */
	ck_assert_int_eq(put(&edge[1], "second"), 0);
	ck_assert_str_eq(home_in_redis(), "second");
	finish();
}
END_TEST

START_TEST(a_user_that_both_edges_add_is_the_first_ones)
{
	begin();
	ck_assert_int_eq(put(&edge[0], "first"), 0);
	ck_assert_int_eq(put(&edge[1], "second"), -EAGAIN);
	ck_assert_str_eq(home_at(&edge[1]), "first");
	written(&edge[1]);
	ck_assert_str_eq(home_in_redis(), "first");
	finish();
}
END_TEST

START_TEST(a_change_of_a_user_who_was_removed_does_not_bring_him_back)
{
	begin();
	ck_assert_int_eq(put(&edge[0], "old"), 0);
	ck_assert_int_eq(put(&edge[1], "mine"), -EAGAIN); /* it has seen him now */
	ck_assert_int_eq(drop(&edge[1]), 0);
	ck_assert_int_eq(put(&edge[0], "new"), -EAGAIN);
	ck_assert_str_eq(home_at(&edge[0]), "");
	written(&edge[0]);
	ck_assert_str_eq(home_in_redis(), "");
	ck_assert_int_eq(put(&edge[0], "new"), 0);
	ck_assert_str_eq(home_in_redis(), "new");
	finish();
}
END_TEST

START_TEST(a_change_that_was_refused_does_not_stand_after_an_outage_either)
{
	begin();
	ck_assert_int_eq(put(&edge[0], "first"), 0);
	ck_assert_int_eq(put(&edge[1], "second"), -EAGAIN);
	written(&edge[1]);
	server_kill(&server); /* and with it all that it had */
	UNTIL(!state_of(edge[0].nodes.redis).up && !state_of(edge[1].nodes.redis).up);
	server_run(&server, NULL);
	for (unsigned i = 0; i < EDGES; i++)
		UNTIL(state_of(edge[i].nodes.redis).up && !state_of(edge[i].nodes.redis).dirty);
	ck_assert_str_eq(home_in_redis(), "first");
	finish();
}
END_TEST

UNIT_MAIN("common/app redis",
	  a_change_of_what_the_other_edge_has_changed_is_refused_and_does_not_stand,
	  a_user_that_both_edges_add_is_the_first_ones,
	  a_change_of_a_user_who_was_removed_does_not_bring_him_back,
	  a_change_that_was_refused_does_not_stand_after_an_outage_either)
