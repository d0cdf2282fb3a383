/*
 * What the other member writes of calls (fork.c), and what the workers hear of it: the home
 * with real records, its workers and their proxies written down.
 */
#include "home/home_priv.h"

#include "common/journal/journal.h"
#include "common/proxy/rebuild.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>

enum { SELF = 0, OTHER = 1, WORKERS = 3, KEYS_MAX = 128, CALLS = 300, SLICE = 64 };

static struct home *home;
static struct app_worker worker[WORKERS];
static struct loop_work *posted[WORKERS * CALLS];
static unsigned nposted;
static struct {
	uint64_t key;
	unsigned of;
} let_go[KEYS_MAX], let_go_plain[KEYS_MAX];
static unsigned nlet_go, nlet_go_plain;

/* Callers, by what their tokens say: until when they are away. */
static msec back_at[CALLS];
static struct wheel wheel;
static msec now_ms;
static bool other_lives;
static uint64_t adopted[CALLS];
static uint64_t first_tried[CALLS];
static unsigned nadopted, nlooks, ntries;

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
	return node != OTHER || other_lives;
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
	(void)call_id;
	return s == worker[0].stack;
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
	ck_assert_uint_lt(nposted, WORKERS * CALLS);
	posted[nposted++] = w;
}

msec loop_now(const struct loop *l)
{
	(void)l;
	return now_ms;
}

struct wheel *loop_wheel(struct loop *l)
{
	(void)l;
	return &wheel;
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
	(void)why;
	(void)opts;
	(void)now;
	ck_assert_uint_lt(nadopted, CALLS);
	adopted[nadopted++] = f->key;
	return 0;
}

static bool is_away(struct span token)
{
	uint64_t i;
	ck_assert_int_eq(span_u64(token, CALLS - 1, &i), 0);
	return now_ms < back_at[i];
}

int home_find_phones(struct home *h, struct app_worker *w, struct proxy_fork *f)
{
	(void)h;
	(void)w;
	if (ntries < CALLS && !nlooks)
		first_tried[ntries] = f->key;
	ntries++;
	return is_away(f->via_flow) ? -EAGAIN : 0;
}

bool home_is_awaited(struct app_worker *w, struct span token)
{
	(void)w;
	nlooks++;
	return is_away(token);
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
	nposted = nlet_go = nlet_go_plain = nadopted = nlooks = ntries = 0;
	other_lives = true;
	now_ms = 1;
	wheel_init(&wheel, now_ms);
	home->cluster = (struct cluster *)name;
	home->queue_bytes = 1 << 20;
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

START_TEST(what_the_other_member_tells_waits_for_a_worker_as_long_as_there_is_room)
{
	static const char keys[1024];
	unsigned before, told = 0;
	begin();
	home->queue_bytes = 100 * sizeof(keys);
	do {
		before = nposted;
		home_let_go_plain(home, span_of(keys, sizeof(keys)));
		told++;
	} while (nposted > before);
	ck_assert_uint_ge(told, 80);
	ck_assert_uint_eq(home->counters.tasks_full, WORKERS);
	hold(0, 0, true);
	for (unsigned i = 0; home->counters.tasks_full == WORKERS; i++) {
		ck_assert_uint_lt(i, 100);
		comes(0);
	}
	before = nposted;
	comes(0);
	ck_assert_uint_eq(nposted, before);
	home_let_go_all(home); /* always */
	ck_assert_uint_eq(nposted, before + WORKERS);
	for (unsigned i = 0; i < WORKERS; i++)
		ck_assert_uint_le(home->tasks_bytes[i], home->queue_bytes + 1024);
	for (unsigned i = 0; i < nposted; i++) /* its keys are of no interest here */
		nlet_go = nlet_go_plain = 0, posted[i]->run(posted[i]);
	nposted = 0;
	for (unsigned i = 0; i < WORKERS; i++)
		ck_assert_uint_eq(home->tasks_bytes[i], 0);
	comes(0);
	ck_assert_uint_eq(nposted, WORKERS);
	hold(0, 0, false);
	end();
}
END_TEST

/* ---- callers who are expected back ---- */

/* A call that the other member has begun; the caller's token is the key. */
static void has_begun(uint64_t key)
{
	static const char text[] = "INVITE sip:b@example.org SIP/2.0\r\n"
				   "Via: SIP/2.0/TCP 192.0.2.1;branch=z9hG4bK1\r\n"
				   "From: <sip:a@example.org>;tag=1\r\n"
				   "To: <sip:b@example.org>\r\nCall-ID: 1\r\n"
				   "CSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n";
	uint64_t wall = time_wall_ms();
	struct proxy_fork_branch branch = {.uri = SPAN("sip:b@192.0.2.2"),
					   .state = PROXY_FORK_CALLING,
					   .timer_c_ms = 180000};
	char token[8];
	struct proxy_fork f = {.key = key,
			       .request = span_str(text),
			       .src.transport = SIP_TRANSPORT_TCP,
			       .n = 1,
			       .v = &branch};
	f.via_flow =
		span_of(token, (size_t)snprintf(token, sizeof(token), "%u", (unsigned)key));
	ck_assert_int_eq(addr_parse(&f.src.remote, SPAN("192.0.2.1"), 5060), 0);
	struct bytes *body = journal_pack(&f, wall);
	ck_assert_ptr_nonnull(body);
	const struct record v = {.kind = RECORD_FORK,
				 .group = span_of((const char *)&key, sizeof(key)),
				 .version = {(wall << 16) + key, OTHER + 1},
				 .expires_ms = wall + 100000,
				 .body = bytes_span(body)};
	ck_assert_int_eq(records_merge(home->records, &v, 1, wall, NULL, NULL), 1);
	bytes_unref(body);
}

/* The other member is dead; its calls are taken over, and all wait for their callers. */
static void take_over(void)
{
	static struct arena arena;
	if (!arena.base)
		ck_assert_int_eq(arena_init(&arena, 1 << 16), 0);
	sip_values_use_arena(&arena);
	begin();
	log_set_level(LOG_ERROR);
	for (uint64_t key = 0; key < CALLS; key++) {
		back_at[key] = INT64_MAX;
		has_begun(key);
	}
	other_lives = false;
	home_adopt_all(home, OTHER);
	run();
	ck_assert_uint_eq(ntries, CALLS);
	ck_assert_uint_eq(nadopted, 0);
	ntries = 0;
}

/* The most that were adopted, or tried, in one millisecond. */
static unsigned pass(msec ms)
{
	unsigned most = 0;
	for (msec end = now_ms + ms; now_ms < end;) {
		unsigned before = ntries;
		wheel_advance(&wheel, ++now_ms);
		most = ntries - before > most ? ntries - before : most;
	}
	return most;
}

START_TEST(a_call_is_not_looked_at_while_its_caller_is_away)
{
	take_over();
	pass(1000);
	ck_assert_uint_eq(ntries, 0);
	ck_assert_uint_ge(nlooks, 9 * CALLS);
	ck_assert_uint_le(nlooks, 10 * CALLS);
	back_at[200] = back_at[7] = now_ms;
	pass(100);
	ck_assert_uint_eq(nadopted, 2);
	ck_assert_uint_eq(ntries, 2);
	end();
}
END_TEST

START_TEST(callers_who_are_back_all_at_once_are_served_in_slices_and_in_order)
{
	take_over();
	pass(50);
	for (unsigned i = 0; i < CALLS; i++)
		back_at[i] = now_ms;
	ck_assert_uint_le(pass(60), SLICE);
	ck_assert_uint_lt(nadopted, CALLS);
	ck_assert_uint_le(pass(50), SLICE);
	ck_assert_uint_eq(nadopted, CALLS);
	ck_assert_uint_eq(ntries, CALLS);
	for (unsigned i = 0; i < CALLS; i++)
		ck_assert_uint_eq(adopted[i], first_tried[i]);
	end();
}
END_TEST

START_TEST(callers_who_do_not_come_back_are_served_in_slices_too)
{
	take_over();
	pass(4990);
	ck_assert_uint_eq(ntries, 0);
	ck_assert_uint_le(pass(110), SLICE);
	ck_assert_uint_eq(nadopted, CALLS);
	end();
}
END_TEST

/* The worker was busy, with a take-over for one: that is no reason to do more at once. */
START_TEST(a_round_that_took_long_is_not_followed_by_several_slices)
{
	take_over();
	for (unsigned i = 0; i < CALLS; i++)
		back_at[i] = now_ms;
	now_ms += 1000;
	wheel_advance(&wheel, now_ms);
	ck_assert_uint_eq(nadopted, SLICE);
	pass(50);
	ck_assert_uint_eq(nadopted, CALLS);
	end();
}
END_TEST

START_TEST(calls_of_a_node_that_is_back_are_left_to_it)
{
	take_over();
	pass(150);
	other_lives = true;
	nlooks = ntries = 0;
	for (unsigned i = 0; i < CALLS; i++)
		back_at[i] = now_ms;
	pass(6000);
	ck_assert_uint_eq(nlooks + ntries + nadopted, 0);
	end();
}
END_TEST

START_TEST(a_call_that_another_has_gone_on_with_meanwhile_is_left_to_that_one)
{
	const uint64_t key = 9;
	uint64_t wall = time_wall_ms();
	const struct record v = {.kind = RECORD_FORK,
				 .group = span_of((const char *)&key, sizeof(key)),
				 .expires_ms = wall + 1000,
				 .body = SPAN("x")};
	take_over();
	ck_assert_int_eq(records_put(home->records, &v, 1, NULL, wall, NULL, NULL), 0);
	pass(5100);
	ck_assert_uint_eq(nadopted, CALLS - 1);
	for (unsigned i = 0; i < nadopted; i++)
		ck_assert_uint_ne(adopted[i], key);
	end();
}
END_TEST

UNIT_MAIN("home fork", what_the_other_member_writes_of_its_own_calls_is_no_work_for_the_workers,
	  what_it_writes_of_a_call_here_lets_that_go, what_we_write_ourselves_lets_nothing_go,
	  keys_of_calls_without_records_come_to_a_worker_in_one_task,
	  what_the_other_member_tells_waits_for_a_worker_as_long_as_there_is_room,
	  a_call_is_not_looked_at_while_its_caller_is_away,
	  callers_who_are_back_all_at_once_are_served_in_slices_and_in_order,
	  callers_who_do_not_come_back_are_served_in_slices_too,
	  a_round_that_took_long_is_not_followed_by_several_slices,
	  calls_of_a_node_that_is_back_are_left_to_it,
	  a_call_that_another_has_gone_on_with_meanwhile_is_left_to_that_one)
