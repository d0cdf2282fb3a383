/*
 * What the other member writes of calls (fork.c), and what the workers hear of it: the home
 * with real records, its workers and their proxies written down.
 */
#include "home/home_priv.h"

#include "common/journal/journal.h"
#include "common/proxy/rebuild.h"
#include "tests/unit/unit.h"

enum { SELF = 0, OTHER = 1, WORKERS = 3, KEYS_MAX = 16 };

static struct home *home;
static struct app_worker worker[WORKERS];
static struct loop_work *posted[64];
static unsigned nposted;
static struct {
	uint64_t key;
	unsigned of;
} let_go[KEYS_MAX], let_go_plain[KEYS_MAX];
static unsigned nlet_go, nlet_go_plain;

/* ---- in place of the cluster, the workers and their proxies ---- */

unsigned cluster_self(const struct cluster *c)
{
	(void)c;
	return SELF;
}

int cluster_partner(const struct cluster *c, unsigned node)
{
	(void)c;
	(void)node;
	return OTHER;
}

bool cluster_alive(const struct cluster *c, unsigned node)
{
	(void)c;
	(void)node;
	return true;
}

struct app_worker *app_worker_at(const struct app *a, unsigned i)
{
	(void)a;
	return i < WORKERS ? &worker[i] : NULL;
}

struct loop *stack_loop(struct stack *s)
{
	return (struct loop *)s;
}

struct proxy *stack_proxy(struct stack *s)
{
	return (struct proxy *)s;
}

bool stack_owns(const struct stack *s, struct span call_id)
{
	(void)s;
	(void)call_id;
	return false;
}

bool stack_is_poison(struct stack *s, struct span message)
{
	(void)s;
	(void)message;
	return false;
}

void loop_post(struct loop *l, struct loop_work *w)
{
	(void)l;
	ck_assert_uint_lt(nposted, 64);
	posted[nposted++] = w;
}

msec loop_now(const struct loop *l)
{
	(void)l;
	return 1;
}

struct wheel *loop_wheel(struct loop *l)
{
	(void)l;
	return NULL;
}

/* Which worker's proxy it is. */
static unsigned of(const struct proxy *p)
{
	for (unsigned i = 0; i < WORKERS; i++)
		if ((const struct proxy *)worker[i].stack == p)
			return i;
	ck_abort();
}

bool proxy_let_go(struct proxy *p, uint64_t key)
{
	ck_assert_uint_lt(nlet_go, KEYS_MAX);
	let_go[nlet_go].of = of(p);
	let_go[nlet_go++].key = key;
	return true;
}

bool proxy_let_go_plain(struct proxy *p, uint64_t key)
{
	ck_assert_uint_lt(nlet_go_plain, KEYS_MAX);
	let_go_plain[nlet_go_plain].of = of(p);
	let_go_plain[nlet_go_plain++].key = key;
	return true;
}

void proxy_let_go_all(struct proxy *p)
{
	(void)p;
}

int proxy_adopt(struct proxy *p, const struct proxy_fork *f, const struct sip_msg *why,
		const struct proxy_opts *opts, msec now)
{
	(void)p;
	(void)f;
	(void)why;
	(void)opts;
	(void)now;
	return -1;
}

int home_find_phones(struct home *h, struct app_worker *w, struct proxy_fork *f)
{
	(void)h;
	(void)w;
	(void)f;
	return 0;
}

struct proxy_opts home_fork_hooks(struct home *h, struct app_worker *w)
{
	(void)h;
	(void)w;
	return (struct proxy_opts){0};
}

/* ---- the home ---- */

static void begin(void)
{
	static char name[WORKERS];
	home = calloc(1, sizeof(*home));
	nposted = nlet_go = nlet_go_plain = 0;
	home->cluster = (struct cluster *)name;
	home->records = records_new(NULL, SELF + 1, 10000, NULL);
	for (unsigned i = 0; i < WORKERS; i++)
		worker[i] = (struct app_worker){.index = i, .stack = (struct stack *)&name[i]};
	records_watch(home->records, RECORD_FORK, home_fork_changed, home);
	home_fork_start(home);
}

static void run(void)
{
	for (unsigned i = 0; i < nposted; i++)
		posted[i]->run(posted[i]);
	nposted = 0;
}

static void end(void)
{
	run();
	home_fork_stop(home);
	records_free(home->records);
	free(home);
}

/* The other member writes. */
static void comes(uint64_t key)
{
	static uint64_t tick;
	uint64_t wall = time_wall_ms();
	const struct record v = {.kind = RECORD_FORK,
				 .group = span_of((const char *)&key, sizeof(key)),
				 .version = {(wall << 16) + ++tick, OTHER + 1},
				 .expires_ms = wall + 100000,
				 .body = SPAN("x")};
	ck_assert_int_eq(records_merge(home->records, &v, 1, wall, NULL, NULL), 1);
}

static void hold(unsigned i, uint64_t key, bool held)
{
	const struct proxy_journal *j = home_journal(home, &worker[i]);
	j->holds(j->arg, key, held);
}

START_TEST(what_the_other_member_writes_of_its_own_calls_is_no_work_for_the_workers)
{
	begin();
	hold(0, UINT64_MAX, true);
	for (uint64_t i = 0; i < 1000; i++)
		comes(i << 50);
	ck_assert_uint_eq(nposted, 0);
	hold(0, UINT64_MAX, false);
	comes(UINT64_MAX);
	ck_assert_uint_eq(nposted, 0);
	end();
}
END_TEST

START_TEST(what_it_writes_of_a_call_here_lets_that_go)
{
	const uint64_t key = 0x123456789abcdef0;
	begin();
	hold(1, key, true);
	hold(2, key ^ 1, true); /* of the same class */
	comes(key);
	ck_assert_uint_eq(nposted, WORKERS);
	run();
	ck_assert_uint_eq(nlet_go, WORKERS);
	for (unsigned i = 0; i < WORKERS; i++)
		ck_assert(let_go[i].of == i && let_go[i].key == key);
	hold(1, key, false);
	comes(key ^ 1);
	ck_assert_uint_eq(nposted, WORKERS);
	run();
	hold(2, key ^ 1, false);
	comes(key);
	ck_assert_uint_eq(nposted, 0);
	end();
}
END_TEST

START_TEST(what_we_write_ourselves_lets_nothing_go)
{
	const uint64_t key = 7;
	uint64_t wall = time_wall_ms();
	const struct record v = {.kind = RECORD_FORK,
				 .group = span_of((const char *)&key, sizeof(key)),
				 .expires_ms = wall + 1000,
				 .body = SPAN("x")};
	begin();
	hold(0, key, true);
	ck_assert_int_eq(records_put(home->records, &v, 1, NULL, wall, NULL, NULL), 0);
	ck_assert_uint_eq(nposted, 0);
	end();
}
END_TEST

START_TEST(keys_of_calls_without_records_come_to_a_worker_in_one_task)
{
	const uint64_t keys[4] = {1, 2, 3, 4};
	begin();
	home_let_go_plain(home, span_of((const char *)keys, sizeof(keys) - 1));
	ck_assert_uint_eq(nposted, WORKERS);
	run();
	ck_assert_uint_eq(nlet_go_plain, 3 * WORKERS); /* the fourth is cut short */
	for (unsigned i = 0; i < nlet_go_plain; i++)
		ck_assert(let_go_plain[i].of == i / 3 && let_go_plain[i].key == keys[i % 3]);
	ck_assert_uint_eq(nlet_go, 0);
	end();
}
END_TEST

UNIT_MAIN("home fork", what_the_other_member_writes_of_its_own_calls_is_no_work_for_the_workers,
	  what_it_writes_of_a_call_here_lets_that_go, what_we_write_ourselves_lets_nothing_go,
	  keys_of_calls_without_records_come_to_a_worker_in_one_task)
