/*
 * The Redis store: guarded units for which everything that is written anew takes too long.
 */
#include "tests/unit/common/store/redis_rig.h"

static struct server server;
static struct owner owner;
static struct redis_conf conf;

enum { TIMEOUT_MS = 3000 };

/* A table that is never done with, a row in each part; until then. */
static struct {
	unsigned begun;
	bool ends;
	uint64_t hlc;
} endless;

static bool rewrite_endless(void *arg, unsigned part,
			    bool (*each)(void *each_arg, const struct store_row *row),
			    void *each_arg)
{
	struct store_row v = row(3, "many", "a", "1", endless.hlc);

	(void)arg;
	endless.begun += part == 0;
	each(each_arg, &v);
	return !endless.ends;
}

static struct store_row next_of(const struct store_row *before, const char *body)
{
	struct store_row v = *before;

	v.guarded = true;
	v.expect_hlc = before->hlc;
	v.expect_node = before->node;
	v.hlc++;
	v.body = span_str(body);
	return v;
}

/* They come one after the other while a large table is written anew. */
START_TEST(guarded_units_that_waited_in_vain_are_written_and_begin_nothing_anew)
{
	loop = loop_new(0);
	ck_assert_ptr_nonnull(loop);
	server_start(&server, NULL);
	conf = conf_for(&owner, server.port);
	conf.timeout_ms = TIMEOUT_MS;
	struct store *s = store_of(&conf);
	UNTIL(state_of(s).up && !state_of(s).dirty);
	struct store_row v[6] = {row(1, "carol", "", "0", time_wall_ms() << 16)};
	struct waiter w[6] = {0};
	ck_assert_int_eq(put_and_wait(s, &v[0], 1), 0);
	s->ops->free(s);
	owner_done(&owner);
	conf.ops.rewrite = rewrite_endless;
	endless.hlc = time_wall_ms() << 16;
	s = store_of(&conf); /* has read nothing yet */
	UNTIL(state_of(s).up && state_of(s).rewriting);
	v[1] = next_of(&v[0], "1");
	v[2] = next_of(&v[1], "2");
	for (unsigned i = 1; i < 3; i++) {
		ck_assert_int_eq(put_and_wait(s, &v[i], 1), -EIO);
		ck_assert(state_of(s).rewriting);
		UNTIL(state_of(s).rows_waiting == 0);
		const char *there = cli(&server, "HVALS %s", PREFIX "user:carol");
		ck_assert_msg(strstr(there, i == 1 ? " 1" : " 2"), "%s", there);
	}
	v[3] = next_of(&v[2], "3");
	v[4] = next_of(&v[3], "4");
	for (unsigned i = 3; i < 5; i++)
		ck_assert_int_eq(s->ops->put(s, &v[i], 1, on_done, &w[i]), 0);
	endless.ends = true;
	UNTIL(!state_of(s).dirty && w[3].done && w[4].done);
	ck_assert_uint_eq(endless.begun, 1);
	ck_assert_uint_eq(state_of(s).counters.dropped, 0);
	ck_assert(w[3].error == 0 && w[4].error == 0);
	/* And then guards hold again. */
	v[5] = next_of(&v[3], "5");
	v[5].hlc++;
	ck_assert_int_eq(put_and_wait(s, &v[5], 1), -EAGAIN);
	ck_assert_uint_eq(owner.refused, 1);
	ck_assert_ptr_nonnull(strstr(load_text(&conf, time_wall_ms()), "carol/=4 "));
	s->ops->free(s);
	server_end(&server);
	owner_done(&owner);
	loop_free(loop);
}
END_TEST

UNIT_MAIN("common/store redis held",
	  guarded_units_that_waited_in_vain_are_written_and_begin_nothing_anew)
