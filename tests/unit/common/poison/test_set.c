/*
 * What is refused, for how long, and how much of it there may be.
 */
#include "common/poison/poison.h"

#include "tests/unit/unit.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

enum { NOW = 1000000000 };

static const struct mac_key key = {3, 4};
static const char invite[] =
	"INVITE sip:b SIP/2.0\r\nVia: v\r\nFrom: a;tag=1\r\nTo: <sip:b>\r\n"
	"Call-ID: one\r\nCSeq: 1 INVITE\r\n\r\n";

static struct poison_item item(const char *text, uint64_t at)
{
	return (struct poison_item){poison_fingerprint(&key, span_str(text)), at};
}

static enum poison_verdict judge(const struct poison *p, const char *text)
{
	uint64_t fingerprint;
	return poison_judge(p, span_str(text), &fingerprint);
}

START_TEST(nothing_is_refused_without_a_reason)
{
	struct poison *p = poison_new(&key);
	ck_assert_int_eq(judge(NULL, invite), POISON_NONE);
	ck_assert_int_eq(judge(p, invite), POISON_NONE);
	struct poison_item v = item("OPTIONS sip:b SIP/2.0\r\n\r\n", NOW);
	ck_assert_int_eq(poison_add(p, &v, NOW), 1);
	ck_assert_int_eq(judge(p, invite), POISON_NONE);
	poison_free(p);
}
END_TEST

START_TEST(what_was_told_is_refused_and_is_new_once)
{
	struct poison *p = poison_new(&key);
	struct poison_item v = item(invite, NOW);
	uint64_t fingerprint;
	ck_assert_int_eq(poison_add(p, &v, NOW), 1);
	ck_assert_int_eq(poison_add(p, &v, NOW), 0);
	ck_assert_uint_eq(poison_count(p), 1);
	ck_assert_int_eq(poison_judge(p, span_str(invite), &fingerprint), POISON_REFUSED);
	ck_assert_uint_eq(fingerprint, v.fingerprint);
	poison_free(p);
}
END_TEST

START_TEST(the_ack_to_a_refusal_ends_here)
{
	struct poison *p = poison_new(&key);
	struct poison_item v = item(invite, NOW);
	char answer[512], ack[512], tag[16];
	poison_add(p, &v, NOW);
	size_t n = poison_refusal(span_str(invite), v.fingerprint, answer, sizeof(answer));
	mac_hex(v.fingerprint, tag);
	ck_assert_ptr_nonnull(memmem(answer, n, tag, 16));
	static const char form[] =
		"ACK sip:b SIP/2.0\r\nVia: v\r\nFrom: a;tag=1\r\n"
		"To: <sip:b>;tag=%.16s\r\nCall-ID: one\r\nCSeq: 1 ACK\r\n\r\n";
	snprintf(ack, sizeof(ack), form, tag);
	ck_assert_int_eq(judge(p, ack), POISON_ACK);
	snprintf(ack, sizeof(ack), form, "0123456789abcdef");
	ck_assert_int_eq(judge(p, ack), POISON_NONE);
	poison_free(p);
}
END_TEST

START_TEST(after_an_hour_it_is_forgotten)
{
	struct poison *p = poison_new(&key);
	struct poison_item v = item(invite, NOW);
	poison_add(p, &v, NOW + 1000);
	poison_sweep(p, NOW + POISON_LIFE_MS - 1);
	ck_assert_int_eq(judge(p, invite), POISON_REFUSED);
	poison_sweep(p, NOW + POISON_LIFE_MS);
	ck_assert_int_eq(judge(p, invite), POISON_NONE);
	ck_assert_uint_eq(poison_count(p), 0);
	/* Who repeats it brings nothing back. */
	ck_assert_int_eq(poison_add(p, &v, NOW + POISON_LIFE_MS), -ERANGE);
	poison_free(p);
}
END_TEST

START_TEST(a_time_ahead_lasts_no_longer_and_one_far_ahead_is_none)
{
	struct poison *p = poison_new(&key);
	struct poison_item v = item(invite, NOW + 60000), far = item("x", NOW + 3600000);
	struct poison_item none[] = {{0, NOW}, {1, 0}};
	ck_assert_int_eq(poison_add(p, &v, NOW), 1);
	ck_assert_int_eq(poison_add(p, &far, NOW), -ERANGE);
	ck_assert_int_eq(poison_add(p, &none[0], NOW), -ERANGE);
	ck_assert_int_eq(poison_add(p, &none[1], NOW), -ERANGE);
	poison_sweep(p, NOW + POISON_LIFE_MS);
	ck_assert_uint_eq(poison_count(p), 0);
	poison_free(p);
}
END_TEST

START_TEST(it_is_bounded_and_the_newest_stay)
{
	struct poison *p = poison_new(&key);
	struct poison_item all[POISON_MAX];
	for (uint64_t i = 1; i <= 10 * POISON_MAX; i++) {
		struct poison_item v = {i, NOW + i};
		ck_assert_int_eq(poison_add(p, &v, NOW + i), 1);
	}
	ck_assert_uint_eq(poison_count(p), POISON_MAX);
	ck_assert_uint_eq(poison_list(p, all, POISON_MAX), POISON_MAX);
	for (unsigned i = 0; i < POISON_MAX; i++)
		ck_assert_uint_gt(all[i].fingerprint, 9 * POISON_MAX);
	ck_assert_uint_eq(poison_list(p, all, 3), 3);
	poison_free(p);
}
END_TEST

static struct {
	struct poison *p;
	atomic_bool stop;
} both;

static void *change(void *arg)
{
	for (uint64_t i = 1; !atomic_load(&both.stop); i++) {
		struct poison_item v = {i, NOW};
		poison_add(both.p, &v, NOW);
		if (i % 1000 == 0)
			poison_sweep(both.p, NOW + POISON_LIFE_MS);
	}
	return arg;
}

START_TEST(readers_need_no_lock)
{
	struct poison_item v = item(invite, NOW);
	pthread_t t;
	both.p = poison_new(&key);
	ck_assert_int_eq(pthread_create(&t, NULL, change, NULL), 0);
	for (unsigned i = 0; i < 20000; i++) {
		poison_add(both.p, &v, NOW + 1);
		judge(both.p, invite);
	}
	atomic_store(&both.stop, true);
	pthread_join(t, NULL);
	poison_add(both.p, &v, NOW + 1);
	ck_assert_int_eq(judge(both.p, invite), POISON_REFUSED);
	poison_free(both.p);
}
END_TEST

UNIT_MAIN("set", nothing_is_refused_without_a_reason, what_was_told_is_refused_and_is_new_once,
	  the_ack_to_a_refusal_ends_here, after_an_hour_it_is_forgotten,
	  a_time_ahead_lasts_no_longer_and_one_far_ahead_is_none,
	  it_is_bounded_and_the_newest_stay, readers_need_no_lock)
