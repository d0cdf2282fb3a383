/* Guessing is stopped by source. */
#include "tests/unit/unit.h"

#include "common/auth/guard.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

static const struct span nobody = {NULL, 0};

static struct addr source(const char *host)
{
	struct addr a;

	ck_assert_int_eq(addr_parse(&a, span_str(host), 5060), 0);
	return a;
}

static struct guard *make(uint32_t failures, uint32_t entries)
{
	struct guard_conf c = {
		.failures = failures, .window_s = 60, .lock_s = 300, .entries = entries};
	struct guard *g = guard_new(&c);

	ck_assert_ptr_nonnull(g);
	return g;
}

START_TEST(source_is_locked_at_the_nth_failure_and_for_its_time)
{
	struct guard *g = make(3, 1024);
	struct addr a = source("192.0.2.1"), b = source("192.0.2.2");

	ck_assert(!guard_failed(g, &a, nobody, 1000));
	ck_assert(!guard_failed(g, &a, nobody, 1000));
	ck_assert(!guard_locked(g, &a, nobody, 1000));
	ck_assert(guard_failed(g, &a, nobody, 1000));
	ck_assert(!guard_failed(g, &a, nobody, 1001)); /* said once */
	ck_assert(guard_locked(g, &a, nobody, 1001));
	ck_assert(!guard_locked(g, &b, nobody, 1001));
	ck_assert(guard_locked(g, &a, nobody, 300999));
	ck_assert(!guard_locked(g, &a, nobody, 301000));
	ck_assert(!guard_failed(g, &a, nobody, 301000)); /* counting begins again */
	ck_assert_uint_eq(guard_locks(g), 1);
	guard_free(g);
}
END_TEST

START_TEST(failures_far_apart_do_not_lock)
{
	struct guard *g = make(3, 1024);
	struct addr a = source("192.0.2.1");

	for (msec t = 1000; t < 1000000; t += 31000)
		ck_assert(!guard_failed(g, &a, nobody, t));
	ck_assert_uint_eq(guard_locks(g), 0);
	guard_free(g);
}
END_TEST

START_TEST(success_clears_the_count_but_not_a_lock)
{
	struct guard *g = make(3, 1024);
	struct addr a = source("192.0.2.1");

	guard_failed(g, &a, nobody, 1000);
	guard_failed(g, &a, nobody, 1000);
	guard_passed(g, &a, nobody, 1000);
	ck_assert(!guard_failed(g, &a, nobody, 1000));
	ck_assert(!guard_failed(g, &a, nobody, 1000));
	ck_assert(guard_failed(g, &a, nobody, 1000));
	guard_passed(g, &a, nobody, 1001);
	ck_assert(guard_locked(g, &a, nobody, 1002));
	guard_free(g);
}
END_TEST

START_TEST(a_user_is_counted_apart_from_his_source_and_from_others)
{
	struct guard *g = make(3, 1024);
	struct addr a = source("192.0.2.1"), b = source("192.0.2.2");

	for (unsigned i = 0; i < 3; i++) {
		ck_assert(!guard_failed(g, &a, nobody, 1000));
		ck_assert(guard_failed(g, &a, SPAN("alice"), 1000) == (i == 2));
		guard_passed(g, &a, nobody, 1000);
		guard_passed(g, &a, SPAN("mallory"), 1000);
	}
	ck_assert(guard_locked(g, &a, SPAN("alice"), 1001));
	ck_assert(!guard_locked(g, &a, SPAN("mallory"), 1001));
	ck_assert(!guard_locked(g, &a, nobody, 1001));
	ck_assert(!guard_locked(g, &b, SPAN("alice"), 1001));
	guard_free(g);
}
END_TEST

START_TEST(ipv6_counts_by_64_and_mapped_ipv4_as_ipv4)
{
	struct guard *g = make(2, 1024);
	struct addr a = source("2001:db8:0:1::1"), b = source("2001:db8:0:1:ffff::2"),
		    c = source("2001:db8:0:2::1"), v4 = source("192.0.2.9"),
		    mapped = source("::ffff:192.0.2.9");

	guard_failed(g, &a, nobody, 1000);
	ck_assert(guard_failed(g, &b, nobody, 1000));
	ck_assert(guard_locked(g, &a, nobody, 1000));
	ck_assert(!guard_locked(g, &c, nobody, 1000));
	guard_failed(g, &v4, nobody, 1000);
	ck_assert(guard_failed(g, &mapped, nobody, 1000));
	ck_assert(guard_locked(g, &v4, nobody, 1000));
	guard_free(g);
}
END_TEST

START_TEST(zero_failures_never_locks)
{
	struct guard *g = make(0, 1024);
	struct addr a = source("192.0.2.1");

	for (unsigned i = 0; i < 100; i++)
		ck_assert(!guard_failed(g, &a, nobody, 1000));
	ck_assert(!guard_locked(g, &a, nobody, 1000));
	guard_free(g);
}
END_TEST

START_TEST(full_table_forgets_single_failures_before_locks)
{
	struct guard *g = make(2, 8);
	struct addr a = source("192.0.2.1");

	guard_failed(g, &a, nobody, 1000);
	ck_assert(guard_failed(g, &a, nobody, 1000));
	for (uint32_t i = 1; i < 1000; i++) {
		struct addr b = source("10.0.0.0");

		b.in4.sin_addr.s_addr += htonl(i);
		guard_failed(g, &b, nobody, 1000 + i);
	}
	ck_assert(guard_locked(g, &a, nobody, 2000));
	guard_free(g);
}
END_TEST

/* ---- shown and lifted ---- */

struct shown {
	unsigned n;
	char text[8][ADDR_TEXT_MAX + GUARD_NAME_MAX_BYTES];
	uint32_t failures;
	msec left_ms;
};

static void show(void *arg, const struct guard_lock *l)
{
	struct shown *s = arg;
	char source_text[ADDR_TEXT_MAX];

	ck_assert_uint_lt(s->n, 8);
	guard_source_text(&l->source, source_text);
	snprintf(s->text[s->n++], sizeof(s->text[0]), "%s %.*s", source_text,
		 l->user.p ? (int)l->user.n : 1, l->user.p ? l->user.p : "-");
	s->failures = l->failures;
	s->left_ms = l->left_ms;
}

static struct shown shown(struct guard *g, struct guard_whose whose, msec now)
{
	struct shown s = {0};

	guard_each(g, whose, now, show, &s);
	return s;
}

static bool has(const struct shown *s, const char *text)
{
	for (unsigned i = 0; i < s->n; i++)
		if (strcmp(s->text[i], text) == 0)
			return true;
	return false;
}

static const struct guard_whose all;

static struct guard_whose of_user(const char *name)
{
	return (struct guard_whose){.user = span_str(name)};
}

static struct guard_whose of_net(struct addr_net *net, const char *text)
{
	ck_assert_int_eq(addr_net_parse(net, span_str(text)), 0);
	return (struct guard_whose){.net = net};
}

static void guess(struct guard *g, const char *from, const char *user, unsigned times, msec now)
{
	struct addr a = source(from);

	for (unsigned i = 0; i < times; i++) {
		guard_failed(g, &a, nobody, now);
		guard_failed(g, &a, span_str(user), now);
	}
}

START_TEST(who_is_locked_is_shown_with_his_failures_and_for_how_long)
{
	struct guard *g = make(3, 1024);
	struct addr_net net;

	guess(g, "192.0.2.1", "alice", 2, 1000); /* not yet */
	ck_assert_uint_eq(shown(g, all, 1000).n, 0);
	guess(g, "192.0.2.1", "alice", 1, 1000);
	guess(g, "::ffff:192.0.2.2", "bob", 3, 1000);
	guess(g, "2001:db8:1:2:3::4", "bob", 3, 1000);
	struct shown s = shown(g, all, 101000);
	ck_assert_uint_eq(s.n, 6);
	ck_assert(has(&s, "192.0.2.1 alice") && has(&s, "192.0.2.1 -"));
	ck_assert(has(&s, "192.0.2.2 bob") && has(&s, "192.0.2.2 -"));
	ck_assert(has(&s, "2001:db8:1:2::/64 bob") && has(&s, "2001:db8:1:2::/64 -"));
	ck_assert_uint_eq(s.failures, 3);
	ck_assert_uint_eq(s.left_ms, 200000);
	s = shown(g, of_user("bob"), 101000);
	ck_assert(s.n == 2 && has(&s, "192.0.2.2 bob") && has(&s, "2001:db8:1:2::/64 bob"));
	ck_assert_uint_eq(shown(g, of_user("bo"), 101000).n, 0);
	ck_assert_uint_eq(shown(g, of_user(""), 101000).n, 0);
	ck_assert_uint_eq(shown(g, of_net(&net, "192.0.2.0/24"), 101000).n, 4);
	ck_assert_uint_eq(shown(g, of_net(&net, "2001:db8:1:2::99"), 101000).n, 2);
	ck_assert_uint_eq(shown(g, all, 301000).n, 0); /* over, if nobody has looked yet */
	guard_free(g);
}
END_TEST

START_TEST(a_user_who_is_let_in_again_may_come_from_where_he_was_locked)
{
	struct guard *g = make(3, 1024);
	struct addr a = source("192.0.2.1"), b = source("192.0.2.2");

	guess(g, "192.0.2.1", "alice", 3, 1000);
	guess(g, "192.0.2.2", "bob", 3, 1000);
	ck_assert_uint_eq(guard_lift(g, of_user("carl"), 1001), 0);
	ck_assert_uint_eq(guard_lift(g, of_user("alice"), 1001), 2);
	ck_assert(!guard_locked(g, &a, nobody, 1001));
	ck_assert(!guard_locked(g, &a, SPAN("alice"), 1001));
	ck_assert(guard_locked(g, &b, nobody, 1001) && guard_locked(g, &b, SPAN("bob"), 1001));
	ck_assert_uint_eq(guard_lift(g, of_user("alice"), 1001), 0);
	ck_assert_uint_eq(guard_lift(g, of_user("bob"), 301000), 0); /* it is over */
	guess(g, "192.0.2.1", "alice", 2, 1002); /* counted from the beginning */
	ck_assert(!guard_locked(g, &a, SPAN("alice"), 1002));
	guess(g, "192.0.2.1", "alice", 1, 1002);
	ck_assert(guard_locked(g, &a, SPAN("alice"), 1002));
	guard_free(g);
}
END_TEST

START_TEST(a_source_is_let_in_again_with_all_that_was_locked_of_it)
{
	struct guard *g = make(3, 1024);
	struct addr a = source("2001:db8::1"), b = source("192.0.2.2");
	struct addr_net net;

	guess(g, "2001:db8::1", "alice", 3, 1000);
	guess(g, "192.0.2.2", "alice", 3, 1000);
	ck_assert_uint_eq(guard_lift(g, of_net(&net, "192.0.2.3"), 1001), 0);
	ck_assert_uint_eq(guard_lift(g, of_net(&net, "2001:db8::/64"), 1001), 2);
	ck_assert(!guard_locked(g, &a, nobody, 1001));
	ck_assert(!guard_locked(g, &a, SPAN("alice"), 1001));
	ck_assert(guard_locked(g, &b, SPAN("alice"), 1001));
	ck_assert_uint_eq(guard_lift(g, all, 1001), 2);
	ck_assert(!guard_locked(g, &b, nobody, 1001));
	ck_assert_uint_eq(guard_locks(g), 4); /* so many there were */
	guard_free(g);
}
END_TEST

START_TEST(of_a_long_name_the_beginning_is_shown)
{
	struct guard *g = make(1, 1024);
	char name[1000], text[1000];

	memset(name, 'x', sizeof(name));
	name[sizeof(name) - 1] = 0;
	guess(g, "192.0.2.1", name, 1, 1000);
	struct shown s = shown(g, all, 1000);
	snprintf(text, sizeof(text), "192.0.2.1 %.*s", (int)GUARD_NAME_MAX_BYTES, name);
	ck_assert(s.n == 2 && has(&s, text));
	guard_free(g);
}
END_TEST

static atomic_bool stop;
static struct addr guessers[16];

static void *guess_on(void *arg)
{
	for (unsigned i = 0; !atomic_load(&stop); i++) {
		const struct addr *a = &guessers[i % 16];
		guard_failed(arg, a, nobody, 1000);
		guard_failed(arg, a, i % 3 ? SPAN("alice") : SPAN("bob"), 1000);
		guard_locked(arg, a, nobody, 1000);
		guard_passed(arg, a, SPAN("alice"), 1000);
	}
	return NULL;
}

static void look(void *arg, const struct guard_lock *l)
{
	(void)arg;
	if (l->user.p && !span_eq(l->user, SPAN("alice")) && !span_eq(l->user, SPAN("bob")))
		ck_abort_msg("a name that nobody has");
}

/* For the thread sanitizer too. */
START_TEST(locks_are_shown_and_lifted_while_workers_guess)
{
	struct guard *g = make(2, 64);
	pthread_t worker[2];
	unsigned lifted = 0;

	for (unsigned i = 0; i < 16; i++) {
		char from[16];
		snprintf(from, sizeof(from), "192.0.2.%u", i);
		guessers[i] = source(from);
	}
	atomic_store(&stop, false);
	for (unsigned i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&worker[i], NULL, guess_on, g), 0);
	while (lifted < 100) {
		guard_each(g, all, 1000, look, NULL);
		lifted += guard_lift(g, lifted % 2 ? of_user("bob") : all, 1000);
	}
	atomic_store(&stop, true);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(worker[i], NULL);
	guard_lift(g, all, 1000);
	ck_assert_uint_eq(shown(g, all, 1000).n, 0);
	guard_free(g);
}
END_TEST

UNIT_MAIN("auth/guard", source_is_locked_at_the_nth_failure_and_for_its_time,
	  failures_far_apart_do_not_lock, success_clears_the_count_but_not_a_lock,
	  a_user_is_counted_apart_from_his_source_and_from_others,
	  ipv6_counts_by_64_and_mapped_ipv4_as_ipv4, zero_failures_never_locks,
	  full_table_forgets_single_failures_before_locks,
	  who_is_locked_is_shown_with_his_failures_and_for_how_long,
	  a_user_who_is_let_in_again_may_come_from_where_he_was_locked,
	  a_source_is_let_in_again_with_all_that_was_locked_of_it,
	  of_a_long_name_the_beginning_is_shown, locks_are_shown_and_lifted_while_workers_guess)
