/* Nonces of the other member of a pair (auth_share). */
#include "tests/unit/common/auth/client.h"

#include <errno.h>

static struct auth *member[2];
static bool cut;	 /* the two do not hear each other */
static uint64_t told_at; /* by the clock of who is told */

static void tell(void *arg, struct span use)
{
	for (; !cut && use.n; use = span_of(use.p + AUTH_USE_BYTES, use.n - AUTH_USE_BYTES))
		ck_assert_int_eq(
			auth_use_of_other(arg, span_of(use.p, AUTH_USE_BYTES), false, told_at),
			0);
}

/* Two members; the checks go to the one that `auth` is. */
static void setup_pair(void)
{
	cut = false;
	told_at = start_ms;
	for (unsigned i = 0; i < 2; i++) {
		setup_default();
		member[i] = auth;
	}
	for (unsigned i = 0; i < 2; i++)
		ck_assert_int_eq(auth_share(member[i], tell, member[1 - i], start_ms), 0);
	auth = member[0];
}

static void done_pair(void)
{
	auth = member[0];
	auth_free(member[1]);
	done();
}

START_TEST(a_nonce_of_the_other_member_is_taken)
{
	setup_pair();
	struct client c = {.nonce = nonce_at(start_ms + 1)};
	auth = member[1];
	ck_assert_int_eq(check(&c, start_ms + 5), AUTH_OK);
	ck_assert(span_eq(user, SPAN("alice")));
	done_pair();
}
END_TEST

START_TEST(what_one_member_took_the_other_does_not)
{
	setup_pair();
	struct client c = {.nonce = nonce_at(start_ms + 1)};
	ck_assert_int_eq(check(&c, start_ms + 5), AUTH_OK);
	auth = member[1];
	ck_assert_int_eq(check(&c, start_ms + 6), AUTH_WRONG);
	c.nc = 2;
	ck_assert_int_eq(check(&c, start_ms + 7), AUTH_OK);
	auth = member[0];
	ck_assert_int_eq(check(&c, start_ms + 8), AUTH_WRONG);
	done_pair();
}
END_TEST

START_TEST(a_retransmission_to_the_other_member_is_a_repeat)
{
	setup_pair();
	struct client c = {.nonce = nonce_at(start_ms + 1)};
	unsigned same = message;
	ck_assert_int_eq(check(&c, start_ms + 5), AUTH_OK);
	auth = member[1];
	message = same;
	ck_assert_int_eq(check(&c, start_ms + 500), AUTH_REPEAT);
	done_pair();
}
END_TEST

/* A phone with a call, a message and a registration under way uses one nonce for all. */
START_TEST(a_retransmission_is_a_repeat_though_the_nonce_was_used_since)
{
	setup_pair();
	struct client c = {.nonce = nonce_at(start_ms + 1)};
	unsigned first = message;
	for (c.nc = 1; c.nc <= 20; c.nc++)
		ck_assert_int_eq(check(&c, start_ms + 5 * c.nc), AUTH_OK);
	auth = member[1];
	for (c.nc = 1, message = first; c.nc <= 20; c.nc++)
		ck_assert_int_eq(check(&c, start_ms + 500), AUTH_REPEAT);
	c.nc = 1; /* the same credentials on another request */
	message = first + 30;
	ck_assert_int_eq(check(&c, start_ms + 500), AUTH_WRONG);
	message = first; /* no client repeats for so long */
	ck_assert_int_eq(check(&c, start_ms + 5 + 32001), AUTH_WRONG);
	done_pair();
}
END_TEST

START_TEST(a_retransmission_is_a_repeat_to_a_member_whose_clock_is_behind)
{
	setup_pair();
	struct client c = {.nonce = nonce_at(start_ms + 1)};
	unsigned same = message;
	ck_assert_int_eq(check(&c, start_ms + 1500), AUTH_OK);
	auth = member[1];
	message = same;
	ck_assert_int_eq(check(&c, start_ms + 1000), AUTH_REPEAT);
	done_pair();
}
END_TEST

START_TEST(a_nonce_from_before_the_other_could_be_heard_is_stale)
{
	setup_pair();
	cut = true;
	struct client old = {.nonce = nonce_at(start_ms + 1)};
	ck_assert_int_eq(check(&old, start_ms + 5), AUTH_OK);
	cut = false;
	auth_share_since(member[1], start_ms + 10);
	auth = member[1];
	ck_assert_int_eq(check(&old, start_ms + 11), AUTH_STALE);
	auth = member[0];
	struct client fresh = {.nonce = nonce_at(start_ms + 12)};
	auth = member[1];
	ck_assert_int_eq(check(&fresh, start_ms + 13), AUTH_OK);
	done_pair();
}
END_TEST

static void meet_again(uint64_t at)
{
	cut = false;
	told_at = at;
	auth_share_again(member[0], false, at);
	auth_share_again(member[1], false, at);
}

/* What is repeated then would be another request if its sender were asked anew. */
START_TEST(what_one_took_while_it_was_away_the_other_knows_when_it_is_back)
{
	setup_pair();
	cut = true;
	struct client c = {.nonce = nonce_at(start_ms + 1)};
	for (c.nc = 1; c.nc <= 3; c.nc++)
		ck_assert_int_eq(check(&c, start_ms + 5), AUTH_OK);
	unsigned latest = message - 1;
	meet_again(start_ms + 3000);
	auth = member[1];
	c.nc = 3;
	message = latest;
	ck_assert_int_eq(check(&c, start_ms + 3500), AUTH_REPEAT);
	for (c.nc = 1; c.nc <= 3; c.nc++)
		ck_assert_int_eq(check(&c, start_ms + 3500), AUTH_WRONG);
	ck_assert_int_eq(check(&c, start_ms + 3500), AUTH_OK);
	done_pair();
}
END_TEST

/* Without qop: one use for the whole nonce. */
START_TEST(a_nonce_that_one_used_up_while_it_was_away_is_so_at_the_other)
{
	setup_pair();
	cut = true;
	struct client c = {.nonce = nonce_at(start_ms + 1), .algorithm = "MD5"};
	ck_assert_int_eq(check(&c, start_ms + 5), AUTH_OK);
	c.no_qop = true;
	ck_assert_int_eq(check(&c, start_ms + 6), AUTH_STALE);
	meet_again(start_ms + 3000);
	auth = member[1];
	ck_assert_int_eq(check(&c, start_ms + 3500), AUTH_STALE);
	c.no_qop = false;
	c.nc = 2;
	ck_assert_int_eq(check(&c, start_ms + 3500), AUTH_STALE);
	done_pair();
}
END_TEST

START_TEST(a_nonce_of_long_before_the_other_was_back_is_stale)
{
	setup_pair();
	cut = true;
	struct client c = {.nonce = nonce_at(start_ms + 1)};
	meet_again(start_ms + 32002);
	auth = member[1];
	ck_assert_int_eq(check(&c, start_ms + 32003), AUTH_STALE);
	done_pair();
}
END_TEST

/* The process in the place of member 1 is another one from now on. */
static void begin_anew(uint64_t at)
{
	auth_free(member[1]);
	setup_default();
	member[1] = auth;
	cut = true;
	ck_assert_int_eq(auth_share(member[1], tell, member[0], at), 0);
	auth_share_again(member[0], false, at); /* to the dead */
	member[0]->told_arg = member[1];
}

/* It meets member 0 for the first time. */
static void meet_first(uint64_t at)
{
	cut = false;
	told_at = at;
	auth_share_since(member[1], at);
	auth_share_again(member[1], false, at);
	auth_share_again(member[0], false, at);
}

static void start_anew(uint64_t at)
{
	begin_anew(at);
	meet_first(at);
}

START_TEST(what_is_stale_stays_so_when_a_link_breaks_soon_after)
{
	setup_pair();
	struct client c = {.nonce = nonce_at(start_ms + 1)};
	start_anew(start_ms + 1000);
	meet_again(start_ms + 2000);
	for (unsigned i = 0; i < 2; i++) {
		auth = member[i];
		ck_assert_int_eq(check(&c, start_ms + 2001), AUTH_STALE);
	}
	done_pair();
}
END_TEST

/* What the process before took while it was alone nobody knows: whoever made the nonce. */
START_TEST(when_the_other_was_started_anew_nonces_of_before_are_stale_here_too)
{
	setup_pair();
	for (unsigned i = 0; i < 2; i++) {
		auth = member[i];
		struct client c = {.nonce = nonce_at(start_ms + 1)};
		cut = true;
		auth = member[1];
		ck_assert_int_eq(check(&c, start_ms + 5), AUTH_OK);
		start_anew(start_ms + 1000);
		auth = member[0];
		ck_assert_int_eq(check(&c, start_ms + 1001), AUTH_STALE);
		struct client fresh = {.nonce = nonce_at(start_ms + 1002)};
		ck_assert_int_eq(check(&fresh, start_ms + 1003), AUTH_OK);
		done_pair();
		setup_pair();
	}
	done_pair();
}
END_TEST

/* No process before it was there by then, and of what it took itself it tells: who asked a
 * phone meanwhile does not ask it twice. */
START_TEST(what_is_made_while_the_other_starts_is_good)
{
	setup_pair();
	struct client before = {.nonce = nonce_at(start_ms + 999)};
	begin_anew(start_ms + 1000);
	auth = member[0];
	struct client ours = {.nonce = nonce_at(start_ms + 1200)}, taken = ours;
	struct client theirs = {.nonce = nonce_at(start_ms + 1201)};
	auth = member[1];
	ck_assert_int_eq(check(&theirs, start_ms + 1202), AUTH_OK);
	meet_first(start_ms + 1500);
	ck_assert_int_eq(check(&ours, start_ms + 1501), AUTH_STALE); /* it may be used there */
	auth = member[0];
	ck_assert_int_eq(check(&ours, start_ms + 1502), AUTH_OK);
	ck_assert_int_eq(check(&taken, start_ms + 1503), AUTH_WRONG);
	ck_assert_int_eq(check(&theirs, start_ms + 1504), AUTH_WRONG);
	ck_assert_int_eq(check(&before, start_ms + 1505), AUTH_STALE);
	done_pair();
}
END_TEST

/* It is asked for nothing: it would make another request of it. */
START_TEST(what_is_repeated_after_the_other_was_started_anew_is_a_repeat)
{
	setup_pair();
	struct client c = {.nonce = nonce_at(start_ms + 1)}, wrong = c;
	unsigned same = message;
	auth = member[1];
	ck_assert_int_eq(check(&c, start_ms + 5), AUTH_OK);
	start_anew(start_ms + 1000);
	auth = member[0];
	message = same;
	ck_assert_int_eq(check(&c, start_ms + 1001), AUTH_REPEAT);
	ck_assert_int_eq(check(&c, start_ms + 1001), AUTH_STALE); /* another branch */
	message = same;
	wrong.password = "guess";
	ck_assert_int_eq(check(&wrong, start_ms + 1001), AUTH_STALE);
	message = same;
	ck_assert_int_eq(check(&c, start_ms + 5 + 32001), AUTH_STALE);
	done_pair();
}
END_TEST

/* Who was stopped for a moment does not know that it was taken for dead. */
START_TEST(who_did_not_notice_that_it_was_away_is_told_so)
{
	setup_pair();
	auth = member[1];
	struct client theirs = {.nonce = nonce_at(start_ms + 1)};
	auth = member[0];
	struct client ours = {.nonce = nonce_at(start_ms + 1)};
	auth = member[1];
	cut = true;
	ck_assert_int_eq(check(&theirs, start_ms + 5), AUTH_OK);
	ck_assert_int_eq(check(&ours, start_ms + 5), AUTH_OK);
	struct client later = {.nonce = nonce_at(start_ms + 30000)};
	ck_assert_int_eq(check(&later, start_ms + 30005), AUTH_OK);
	cut = false;
	told_at = start_ms + 70000;
	auth_share_again(member[1], false, start_ms + 70000);
	auth = member[0];
	ck_assert_int_eq(check(&theirs, start_ms + 70001), AUTH_STALE);
	ck_assert_int_eq(check(&ours, start_ms + 70001), AUTH_STALE);
	ck_assert_int_eq(check(&later, start_ms + 70001), AUTH_WRONG);
	done_pair();
}
END_TEST

/* A clock that is ahead would have all nonces stale until ours is there. */
START_TEST(a_member_whose_clock_is_ahead_makes_nothing_stale_that_is_new)
{
	setup_pair();
	ck_assert_int_eq(auth_share(member[1], tell, member[0], start_ms + 60000), 0);
	told_at = start_ms + 1000;
	auth = member[0];
	struct client old = {.nonce = nonce_at(start_ms + 999)};
	auth_share_again(member[1], false, start_ms + 60000);
	ck_assert_int_eq(check(&old, start_ms + 1001), AUTH_STALE);
	for (unsigned i = 0; i < 2; i++) {
		auth = member[1 - i];
		struct client fresh = {.nonce = nonce_at(start_ms + 1000)};
		auth = member[0];
		ck_assert_int_eq(check(&fresh, start_ms + 1001), AUTH_OK);
	}
	done_pair();
}
END_TEST

START_TEST(after_our_clock_was_set_back_what_we_make_is_good)
{
	setup_pair();
	struct client old = {.nonce = nonce_at(start_ms + 2)};
	auth_share_since(member[0], start_ms + 60000);
	ck_assert_int_eq(check(&old, start_ms + 3), AUTH_STALE);
	struct client fresh = {.nonce = nonce_at(start_ms + 4)};
	ck_assert_int_eq(check(&fresh, start_ms + 5), AUTH_OK);
	done_pair();
}
END_TEST

/* The table was too small for what was taken while the other was away. */
START_TEST(nonces_that_had_to_make_room_are_stale_at_the_other)
{
	struct auth_conf conf = auth_conf_default;
	conf.realm = REALM;
	conf.replay_nonces = 8;
	setup_pair();
	auth_free(member[1]);
	setup(&conf);
	member[1] = auth;
	ck_assert_int_eq(auth_share(member[1], tell, member[0], start_ms), 0);
	member[0]->told_arg = member[1];
	cut = true;
	char nonce[NONCE_LEN + 1];
	struct client first = {.nonce = strcpy(nonce, nonce_at(start_ms + 1))};
	ck_assert_int_eq(check(&first, start_ms + 2), AUTH_OK);
	for (unsigned i = 0; i < 8; i++) {
		struct client c = {.nonce = nonce_at(start_ms + 10 + i)};
		ck_assert_int_eq(check(&c, start_ms + 20), AUTH_OK);
	}
	struct client last = {.nonce = nonce_at(start_ms + 30)};
	meet_again(start_ms + 1000);
	auth = member[0];
	ck_assert_int_eq(check(&first, start_ms + 1001), AUTH_STALE);
	ck_assert_int_eq(check(&last, start_ms + 1001), AUTH_OK);
	done_pair();
}
END_TEST

START_TEST(what_is_no_use_is_refused)
{
	setup_pair();
	ck_assert_int_eq(auth_use_of_other(member[0], SPAN("short"), false, start_ms), -EINVAL);
	done_pair();
}
END_TEST

UNIT_MAIN("common/auth shared", a_nonce_of_the_other_member_is_taken,
	  what_one_member_took_the_other_does_not,
	  a_retransmission_to_the_other_member_is_a_repeat,
	  a_retransmission_is_a_repeat_though_the_nonce_was_used_since,
	  a_retransmission_is_a_repeat_to_a_member_whose_clock_is_behind,
	  a_nonce_from_before_the_other_could_be_heard_is_stale,
	  what_one_took_while_it_was_away_the_other_knows_when_it_is_back,
	  a_nonce_that_one_used_up_while_it_was_away_is_so_at_the_other,
	  a_nonce_of_long_before_the_other_was_back_is_stale,
	  what_is_stale_stays_so_when_a_link_breaks_soon_after,
	  when_the_other_was_started_anew_nonces_of_before_are_stale_here_too,
	  what_is_made_while_the_other_starts_is_good,
	  what_is_repeated_after_the_other_was_started_anew_is_a_repeat,
	  who_did_not_notice_that_it_was_away_is_told_so,
	  a_member_whose_clock_is_ahead_makes_nothing_stale_that_is_new,
	  after_our_clock_was_set_back_what_we_make_is_good,
	  nonces_that_had_to_make_room_are_stale_at_the_other, what_is_no_use_is_refused)
