/*
 * The Redis store behind Sentinel: a primary with two replicas (a write wants one of them,
 * min-replicas-to-write 1, so that a new primary can have one too) and three sentinels.
 */
#include "tests/unit/common/store/redis_rig.h"

#include <unistd.h>

enum { SERVERS = 3, SENTINELS = 3 };

static struct server server[SERVERS], sentinel[SENTINELS];
static struct owner owner;
static struct redis_conf conf;

static void start_servers(void)
{
	char port[8];

	for (unsigned i = 0; i < SERVERS; i++) {
		char *args[] = {"--min-replicas-to-write",
				"1",
				"--min-replicas-max-lag",
				"1",
				"--repl-ping-replica-period",
				"1",
				i ? "--replicaof" : NULL,
				"127.0.0.1",
				port,
				NULL};
		server_start(&server[i], args);
		if (i == 0)
			snprintf(port, sizeof(port), "%u", server[0].port);
	}
	for (msec end = time_now() + PATIENCE_MS;
	     !strstr(cli(&server[0], "INFO replication"), "min_slaves_good_slaves:2");
	     usleep(10000))
		ck_assert_msg(time_now() < end, "%s", cli(&server[0], "INFO replication"));
}

static void start_sentinels(void)
{
	char path[128];

	for (unsigned i = 0; i < SENTINELS; i++) {
		struct server *s = &sentinel[i];
		*s = (struct server){.port = free_port("127.0.0.1")};
		make_dir(s->dir);
		snprintf(path, sizeof(path), "%s/sentinel.conf", s->dir);
		FILE *f = fopen(path, "w");
		ck_assert_ptr_nonnull(f);
		fprintf(f,
			"sentinel monitor eaves 127.0.0.1 %u 2\n"
			"sentinel down-after-milliseconds eaves 500\n"
			"sentinel failover-timeout eaves 1000\n"
			"sentinel parallel-syncs eaves 2\n",
			server[0].port);
		fclose(f);
		server_exec(s, (char *[]){"redis-server", path, "--sentinel", "--port",
					  port_text(s->port), "--bind", "127.0.0.1", "--dir",
					  s->dir, NULL});
		cli(s, "SENTINEL DEBUG INFO-PERIOD 500 PUBLISH-PERIOD 200");
	}
	for (unsigned i = 0; i < SENTINELS; i++) {
		msec end = time_now() + PATIENCE_MS;
		for (;; usleep(10000)) {
			const char *all = cli(&sentinel[i], "INFO sentinel");
			if (strstr(all, "slaves=2,sentinels=3"))
				break;
			ck_assert_msg(time_now() < end, "%s", all);
		}
	}
}

static void begin(void)
{
	loop = loop_new(0);
	start_servers();
	start_sentinels();
	conf = conf_for(&owner, 0);
	conf.nservers = 0;
	conf.primary = "eaves";
	for (unsigned i = 0; i < SENTINELS; i++)
		conf.sentinel[conf.nsentinels++] = local(sentinel[i].port);
}

static void finish(void)
{
	for (unsigned i = 0; i < SENTINELS; i++)
		server_end(&sentinel[i]);
	for (unsigned i = 0; i < SERVERS; i++)
		server_end(&server[i]);
	owner_done(&owner);
	loop_free(loop);
}

static uint16_t primary_port(struct store *s)
{
	const struct redis_state v = state_of(s);

	return v.up ? addr_port(&v.primary) : 0;
}

/* ---- rows that were promised ---- */

enum { ROWS_MAX = 20000 };
static struct {
	char name[ROWS_MAX][16];
	struct waiter w[ROWS_MAX];
	msec at[ROWS_MAX]; /* when it was done */
	unsigned n;
} put;

static void on_put_done(void *arg, int error)
{
	struct waiter *w = arg;

	on_done(w, error);
	put.at[w - put.w] = time_now();
}

static void put_one(struct store *s)
{
	unsigned i = put.n++;

	ck_assert_uint_lt(i, ROWS_MAX);
	snprintf(put.name[i], sizeof(put.name[i]), "%u", i);
	struct store_row v = row(3, put.name[i], "a", "1", time_wall_ms() << 16);
	owner_add(&owner, &v);
	ck_assert_int_eq(s->ops->put(s, &v, 1, on_put_done, &put.w[i]), 0);
}

/* A few every round until the primary is another one. */
static void put_until_moved(struct store *s, uint16_t old)
{
	msec end = time_now() + PATIENCE_MS;

	while (primary_port(s) == old || primary_port(s) == 0) {
		ck_assert_msg(time_now() < end, "not followed: %s", state_of(s).error);
		if (put.n < ROWS_MAX / 2)
			put_one(s);
		loop_round(loop, 2);
	}
}

static unsigned count_promised(msec from, msec *ret_first)
{
	unsigned n = 0;

	*ret_first = UINT64_MAX;
	for (unsigned i = 0; i < put.n; i++) {
		ck_assert(put.w[i].done);
		n += put.w[i].error == 0;
		if (put.w[i].error == 0 && put.at[i] > from && put.at[i] < *ret_first)
			*ret_first = put.at[i];
	}
	return n;
}

static struct server *server_at(uint16_t port)
{
	for (unsigned i = 0; i < SERVERS; i++)
		if (server[i].port == port)
			return &server[i];
	ck_abort_msg("no server at %u", port);
}

/* All rows are at this primary.  False if it did not say so much: a sentinel closes all
 * connections of a server whose role it sets, and sets it again when it was not sure. */
static bool all_there(struct server *at)
{
	bool said = true;

	redisFree(at->c);
	at->c = operator_of(at->port);
	for (unsigned i = 0; i < put.n && said; i++) {
		redisReply *r =
			redisCommand(at->c, "HEXISTS %s%s a", PREFIX "binding:", put.name[i]);
		said = r && r->type == REDIS_REPLY_INTEGER;
		ck_assert_msg(!said || r->integer == 1, "row %s is missing", put.name[i]);
		freeReplyObject(r);
	}
	return said;
}

/* At the primary of the moment, where the store has written all. */
static void check_all_there(struct store *s)
{
	msec end = time_now() + PATIENCE_MS;

	do {
		ck_assert_msg(time_now() < end, "no primary lets itself be read to the end");
		loop_round(loop, 5);
		UNTIL(state_of(s).up && !state_of(s).dirty && state_of(s).rows_waiting == 0);
	} while (!all_there(server_at(primary_port(s))));
}

START_TEST(when_the_primary_is_killed_the_store_follows_and_has_all_that_was_promised)
{
	begin();
	struct store *s = store_of(&conf);
	ck_assert_int_eq(s->ops->load(s, time_wall_ms(), owner_load, &owner), 0);
	UNTIL(primary_port(s) == server[0].port);
	for (unsigned i = 0; i < 500; i++) {
		put_one(s);
		loop_round(loop, 0);
	}
	UNTIL(put.w[100].done);
	ck_assert_int_eq(put.w[100].error, 0);
	msec killed = time_now(), first;
	server_kill(&server[0]);
	put_until_moved(s, server[0].port);
	do {
		ck_assert_msg(time_now() < killed + PATIENCE_MS, "nothing is promised");
		UNTIL(state_of(s).up && !state_of(s).dirty && state_of(s).rows_waiting == 0);
		put_one(s);
		UNTIL(put.w[put.n - 1].done);
	} while (put.w[put.n - 1].error);
	unsigned promised = count_promised(killed + 100, &first);
	ck_assert_uint_gt(promised, 100);
	check_all_there(s);
	printf("redis: primary killed: followed after %llu ms, %u rows, %u promised by Redis\n",
	       (unsigned long long)(first - killed), put.n, promised);
	ck_assert_uint_lt(first - killed, 10000);
	s->ops->free(s);
	finish();
}
END_TEST

START_TEST(a_change_of_the_primary_is_heard_of_and_no_unit_fails)
{
	begin();
	conf.timeout_ms = 5000;
	struct store *s = store_of(&conf);
	UNTIL(primary_port(s) == server[0].port && !state_of(s).dirty);
	cli(&sentinel[1], "SENTINEL FAILOVER eaves");
	put_until_moved(s, server[0].port);
	put_one(s);
	UNTIL(put.w[put.n - 1].done);
	UNTIL(state_of(s).rows_waiting == 0 && !state_of(s).dirty);
	msec first;
	ck_assert_uint_eq(count_promised(0, &first), put.n);
	check_all_there(s);
	s->ops->free(s);
	finish();
}
END_TEST

UNIT_MAIN("common/store redis sentinel",
	  when_the_primary_is_killed_the_store_follows_and_has_all_that_was_promised,
	  a_change_of_the_primary_is_heard_of_and_no_unit_fails)
