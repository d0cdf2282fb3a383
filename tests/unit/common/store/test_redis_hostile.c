/*
 * The Redis store against servers and sentinels that say what they should not: refused with a
 * reason, counted, and nothing grows.
 */
#include "tests/unit/common/store/redis_fake.h"
#include "tests/unit/common/store/redis_rig.h"

#include "common/store/redis_parts.h"

#include <sys/resource.h>

#define SAYS(command, text, error)                                    \
	{                                                             \
		{(command), (text), sizeof(text) - 1, false}, (error) \
	}
#define ENDLESS(command, text, error)                                \
	{                                                            \
		{(command), (text), sizeof(text) - 1, true}, (error) \
	}

struct hostile {
	struct fake_answer answer;
	const char *error; /* is in what the state tells */
};

static struct owner owner;

/* Sanitizers keep what was freed. */
static long peak_kb(void)
{
	struct rusage r = {0};

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	getrusage(RUSAGE_SELF, &r);
#endif
	return r.ru_maxrss;
}

/* A put must end, with an error, and the reason must be told. */
static void try(const struct hostile *h)
{
	struct fake f;
	long before = peak_kb();

	ck_assert_int_eq(fake_start(&f, &h->answer), 0);
	loop = loop_new(0);
	struct redis_conf c = conf_for(&owner, f.port);
	c.timeout_ms = h->answer.endless ? 20000 : 300;
	struct store *s = store_of(&c);
	struct store_row v = row(3, "alice", "a", "1", time_wall_ms() << 16);
	owner_add(&owner, &v);
	ck_assert_int_eq(put_and_wait(s, &v, 1), -EIO);
	UNTIL(strstr(state_of(s).error, h->error));
	UNTIL(state_of(s).rows_waiting == 0);
	s->ops->free(s);
	owner_done(&owner);
	loop_free(loop);
	fake_end(&f);
	ck_assert_int_lt(peak_kb() - before, 100000);
}

static const struct hostile in_hello[] = {
	SAYS("", "HTTP/1.1 400 Bad Request\r\n\r\n", "Protocol error"),
	SAYS("", "+nobody asked\r\n", "is not the primary"),
	SAYS("", "-DENIED protected mode\r\n", "DENIED"),
	SAYS("SET", "", "no answer in time"),
	SAYS("ROLE", ":1\r\n", "is not the primary"),
	SAYS("ROLE", "*0\r\n", "is not the primary"),
	SAYS("ROLE", "*1\r\n$-1\r\n", "is not the primary"),
	SAYS("ROLE", "*1\r\n*-1\r\n", "is not the primary"),
	SAYS("ROLE", "*5\r\n$5\r\nslave\r\n$9\r\n127.0.0.1\r\n:1\r\n$9\r\nconnected\r\n:0\r\n",
	     "is not the primary"),
	SAYS("ROLE", "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n",
	     "nested"),
	SAYS("ROLE", "*2147483647\r\n", "too large"),
	SAYS("ROLE", "*2147483648\r\n", "out of range"),
	SAYS("ROLE", "$-2\r\n", "out of range"),
	ENDLESS("ROLE", "$2000000000\r\n0123456789abcdef", "too large"),
	ENDLESS("ROLE", "*60000\r\n:1234567890123\r\n", "is not the primary"),
	ENDLESS("ROLE", "+0123456789abcdef", "too large"),
	SAYS("SCRIPT", "$3\r\nabc\r\n", "no hash"),
	SAYS("SCRIPT", "+aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n", "no hash"),
	SAYS("SET", "-NOREPLICAS Not enough good replicas to write.\r\n", "NOREPLICAS"),
	SAYS("SET", "-LOADING Redis is loading\r\n", "LOADING"),
};

START_TEST(a_server_that_says_nonsense_while_joining_is_left)
{
	try(&in_hello[_i]);
}
END_TEST

static const struct hostile in_use[] = {
	SAYS("EVALSHA", "", "no answer in time"),
	SAYS("EVALSHA", ":0\r\n", "wrong answer to the writing script"),
	SAYS("EVALSHA", "*0\r\n", "wrong answer to the writing script"),
	SAYS("EVALSHA", "$-1\r\n", "wrong answer to the writing script"),
	SAYS("EVALSHA", "*2\r\n:0\r\n:0\r\n", "wrong answer to the writing script"),
	SAYS("EVALSHA", "*1\r\n:0\r\n+more\r\n", "nobody asked for"),
	SAYS("EVALSHA", "-NOSCRIPT No matching script.\r\n", "NOSCRIPT"),
	SAYS("EVALSHA", "-NOPERM this user has no permissions\r\n", "NOPERM"),
	SAYS("EVALSHA", "*1\r\n-OOM command not allowed\r\n", "OOM"),
	SAYS("SCAN", ":0\r\n", "no answer to SCAN"),
	SAYS("SCAN", "*2\r\n:0\r\n*0\r\n", "no answer to SCAN"),
	SAYS("SCAN", "*2\r\n$2\r\n-1\r\n*0\r\n", "no answer to SCAN"),
	SAYS("SCAN", "*2\r\n$1\r\n0\r\n*1\r\n:1\r\n", "no string"),
	SAYS("SCAN", "*2\r\n$1\r\n0\r\n*1\r\n$1\r\nx\r\n", "answer to the reading script"),
	SAYS("SCAN", "-ERR unknown command\r\n", "unknown command"),
};

/* Some answer soundly to the put but never let the load end: then it is the state that tells.
 */
START_TEST(a_server_that_says_nonsense_later_is_left)
{
	const struct hostile *h = &in_use[_i];
	struct fake f;

	if (strcmp(h->answer.command, "EVALSHA") == 0 && !strstr(h->answer.text, "more")) {
		try(h);
		return;
	}
	ck_assert_int_eq(fake_start(&f, &h->answer), 0);
	loop = loop_new(0);
	struct redis_conf c = conf_for(&owner, f.port);
	c.timeout_ms = 300;
	struct store *s = store_of(&c);
	struct store_row v = row(3, "alice", "a", "1", time_wall_ms() << 16);
	owner_add(&owner, &v);
	ck_assert_int_eq(s->ops->put(s, &v, 1, NULL, NULL), 0);
	UNTIL(strstr(state_of(s).error, h->error));
	UNTIL(state_of(s).counters.lost >= 3); /* and it goes on like that */
	ck_assert(state_of(s).dirty);
	s->ops->free(s);
	owner_done(&owner);
	loop_free(loop);
	fake_end(&f);
}
END_TEST

START_TEST(answers_for_a_unit_that_are_none_fail_it)
{
	static const struct fake_answer bad[] = {
		{"EVALSHA", "*1\r\n:7\r\n", 8, false},
		{"EVALSHA", "*1\r\n$-1\r\n", 9, false},
		{"EVALSHA", "*1\r\n*0\r\n", 8, false}, /* a conflict without a guard */
	};
	for (unsigned i = 0; i < 3; i++) {
		struct fake f;
		ck_assert_int_eq(fake_start(&f, &bad[i]), 0);
		loop = loop_new(0);
		struct redis_conf c = conf_for(NULL, f.port);
		struct store *s = store_of(&c);
		struct store_row v = row(3, "alice", "a", "1", time_wall_ms() << 16);
		ck_assert_int_eq(put_and_wait(s, &v, 1), -EIO);
		ck_assert_uint_eq(state_of(s).counters.bad_replies, 1);
		s->ops->free(s);
		loop_free(loop);
		fake_end(&f);
	}
}
END_TEST

START_TEST(what_stands_against_a_guard_is_read_with_care)
{
	static const struct fake_answer bad[] = {
		{"EVALSHA", "*1\r\n*0\r\n", 8, false},
		{"EVALSHA", "*1\r\n*1\r\n:1\r\n", 12, false},
		{"EVALSHA", "*1\r\n*3\r\n$1\r\nx\r\n$-1\r\n*0\r\n", 24, false},
	};
	for (unsigned i = 0; i < 3; i++) {
		struct fake f;
		ck_assert_int_eq(fake_start(&f, &bad[i]), 0);
		loop = loop_new(0);
		struct redis_conf c = conf_for(&owner, f.port);
		struct store *s = store_of(&c);
		struct store_row v = row(3, "alice", "a", "1", time_wall_ms() << 16);
		v.guarded = true;
		ck_assert_int_eq(put_and_wait(s, &v, 1), -EAGAIN);
		ck_assert_uint_eq(owner.n, 0);
		s->ops->free(s);
		owner_done(&owner);
		loop_free(loop);
		fake_end(&f);
	}
}
END_TEST

/* ---- sentinels ---- */

static const struct hostile sentinels[] = {
	SAYS("SENTINEL", "", "no answer in time"),
	SAYS("SENTINEL", "*-1\r\n", "knows no such primary"),
	SAYS("SENTINEL", "$-1\r\n", "knows no such primary"),
	SAYS("SENTINEL", "-NOAUTH Authentication required.\r\n", "NOAUTH"),
	SAYS("SENTINEL", "*1\r\n$1\r\nx\r\n", "no address"),
	SAYS("SENTINEL", "*2\r\n:1\r\n:1\r\n", "no address"),
	SAYS("SENTINEL", "*2\r\n$5\r\nredis\r\n$4\r\n6379\r\n", "no address"),
	SAYS("SENTINEL", "*2\r\n$9\r\n127.0.0.1\r\n$5\r\n65536\r\n", "no address"),
	SAYS("SENTINEL", "*2\r\n$9\r\n127.0.0.1\r\n$1\r\n0\r\n", "no address"),
	SAYS("SENTINEL", "*2\r\n$9\r\n127.0.0.1\r\n$1\r\n1\r\n", "127.0.0.1:1: Connection"),
	SAYS("SUBSCRIBE", "*1\r\n:1\r\n", "127.0.0.1:1: Connection"),
	SAYS("SUBSCRIBE", "*3\r\n$7\r\nmessage\r\n:1\r\n:1\r\n", "127.0.0.1:1: Connection"),
	SAYS("SUBSCRIBE",
	     "*3\r\n$7\r\nmessage\r\n$14\r\n+switch-master\r\n$14\r\nprimary 1 2 3 4\r\n",
	     "127.0.0.1:1: Connection"),
	SAYS("SUBSCRIBE",
	     "*3\r\n$7\r\nmessage\r\n$14\r\n+switch-master\r\n$33\r\n"
	     "primary 127.0.0.1 1 127.0.0.1 70000\r\n",
	     "127.0.0.1:1: Connection"),
};

START_TEST(a_sentinel_that_says_nonsense_is_not_followed)
{
	struct fake f;

	ck_assert_int_eq(fake_start(&f, &sentinels[_i].answer), 0);
	loop = loop_new(0);
	struct redis_conf c = conf_for(&owner, 1);
	c.nservers = 0;
	c.nsentinels = 1;
	c.sentinel[0] = local(f.port);
	c.primary = "primary";
	c.sentinel_password = "s";
	c.timeout_ms = 200;
	struct store *s = store_of(&c);
	struct store_row v = row(3, "alice", "a", "1", time_wall_ms() << 16);
	ck_assert_int_eq(put_and_wait(s, &v, 1), -EIO);
	UNTIL(strstr(state_of(s).error, sentinels[_i].error));
	s->ops->free(s);
	loop_free(loop);
	fake_end(&f);
}
END_TEST

/* As Redis does where AUTH has been renamed, and old sentinels. */
START_TEST(a_password_that_is_repeated_is_told_to_nobody)
{
	static const char text[] =
		"-ERR unknown command 'AUTH', with args beginning with: 'geheim' \r\n";
	const struct fake_answer answer = {"AUTH", text, sizeof(text) - 1, false};
	struct fake f;

	ck_assert_int_eq(fake_start(&f, &answer), 0);
	loop = loop_new(0);
	struct redis_conf c = conf_for(&owner, f.port);
	c.password = c.sentinel_password = "geheim";
	c.timeout_ms = 300;
	if (_i == 1) {
		c.nservers = 0;
		c.nsentinels = 1;
		c.sentinel[0] = local(f.port);
		c.primary = "primary";
	}
	struct store *s = store_of(&c);
	UNTIL(strstr(state_of(s).error, "AUTH"));
	ck_assert_ptr_null(strstr(state_of(s).error, "geheim"));
	s->ops->free(s);
	loop_free(loop);
	fake_end(&f);
}
END_TEST

/* ---- rows ---- */

START_TEST(no_row_is_read_beyond_its_bytes)
{
	static const char good[] = "001718900000123.00007.0000000001 live 004102444800000 body";
	struct redis_setup setup;
	struct store_row r;
	char error[256];
	struct redis_conf c = conf_for(NULL, 1);
	struct span key = SPAN(PREFIX "binding:alice");

	ck_assert_int_eq(redis_setup_init(&setup, &c, error), 0);
	for (size_t n = 0; n < sizeof(good); n++) {
		char *v = malloc(n ? n : 1); /* of the exact size, for ASan */
		memcpy(v, good, n);
		int rc = redis_row_read(&setup, key, SPAN("a"), span_of(v, n), time_wall_ms(),
					&r);
		ck_assert_int_eq(rc, n < REDIS_HEAD_N ? -EBADMSG : 0);
		free(v);
	}
	for (size_t n = 0; n <= key.n; n++) {
		char *k = malloc(n ? n : 1);
		memcpy(k, key.p, n);
		int rc = redis_row_read(&setup, span_of(k, n), SPAN("a"),
					span_of(good, sizeof(good) - 1), time_wall_ms(), &r);
		ck_assert_int_eq(rc, n <= key.n - 5 ? -EBADMSG : 0);
		free(k);
	}
	redis_setup_done(&setup);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("common/store redis hostile");
	TCase *c = tcase_create("hostile");
	tcase_set_timeout(c, 60);
	tcase_add_loop_test(c, a_server_that_says_nonsense_while_joining_is_left, 0,
			    sizeof(in_hello) / sizeof(in_hello[0]));
	tcase_add_loop_test(c, a_server_that_says_nonsense_later_is_left, 0,
			    sizeof(in_use) / sizeof(in_use[0]));
	tcase_add_loop_test(c, a_sentinel_that_says_nonsense_is_not_followed, 0,
			    sizeof(sentinels) / sizeof(sentinels[0]));
	tcase_add_loop_test(c, a_password_that_is_repeated_is_told_to_nobody, 0, 2);
	tcase_add_test(c, answers_for_a_unit_that_are_none_fail_it);
	tcase_add_test(c, what_stands_against_a_guard_is_read_with_care);
	tcase_add_test(c, no_row_is_read_beyond_its_bytes);
	suite_add_tcase(s, c);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
