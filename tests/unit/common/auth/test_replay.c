/* A request that was captured does not pass again: nonces, their age, and their counts. */
#include "tests/unit/common/auth/client.h"

#include <pthread.h>

START_TEST(replayed_count_is_wrong_and_later_counts_pass_in_any_order)
{
	setup_default();
	struct client c = {.nonce = nonce_at(start_ms), .nc = 1};

	ck_assert_int_eq(check(&c, start_ms), AUTH_OK);
	ck_assert_int_eq(check(&c, start_ms), AUTH_WRONG);
	c.nc = 7;
	ck_assert_int_eq(check(&c, start_ms), AUTH_OK);
	c.nc = 5;
	ck_assert_int_eq(check(&c, start_ms), AUTH_OK);
	ck_assert_int_eq(check(&c, start_ms), AUTH_WRONG);
	c.nc = 7;
	ck_assert_int_eq(check(&c, start_ms), AUTH_WRONG);
	c.nc = 500;
	ck_assert_int_eq(check(&c, start_ms), AUTH_OK);
	c.nc = 6; /* fell out of the window: may have been used */
	ck_assert_int_eq(check(&c, start_ms), AUTH_WRONG);
	done();
}
END_TEST

START_TEST(retransmission_of_the_latest_request_is_told_from_a_replay)
{
	setup_default();
	struct client c = {.nonce = nonce_at(start_ms), .nc = 1};

	message = 1;
	ck_assert_int_eq(check(&c, start_ms), AUTH_OK);
	message = 1;
	ck_assert_int_eq(check(&c, start_ms + 500), AUTH_REPEAT);
	message = 1;
	ck_assert_int_eq(check(&c, start_ms + 32000), AUTH_REPEAT);
	message = 1; /* no client repeats for longer */
	ck_assert_int_eq(check(&c, start_ms + 32001), AUTH_WRONG);
	message = 2; /* the same credentials on another request */
	ck_assert_int_eq(check(&c, start_ms + 500), AUTH_WRONG);
	c.nc = 2;
	message = 3;
	ck_assert_int_eq(check(&c, start_ms + 600), AUTH_OK);
	c.nc = 1; /* what came before the latest does not pass again */
	message = 1;
	ck_assert_int_eq(check(&c, start_ms + 700), AUTH_WRONG);
	done();
}
END_TEST

START_TEST(old_nonce_is_stale_and_tells_a_guess_nothing)
{
	setup_default();
	struct client c = {.nonce = nonce_at(start_ms)};

	ck_assert_int_eq(check(&c, start_ms + 300001), AUTH_STALE);
	c.password = "guess";
	ck_assert_int_eq(check(&c, start_ms + 300001), AUTH_STALE);
	ck_assert_int_eq(check(&c, start_ms + 300000), AUTH_WRONG);
	c.password = NULL;
	ck_assert_int_eq(check(&c, start_ms + 300000), AUTH_OK);
	/* From a clock far ahead of ours. */
	c.nonce = nonce_at(start_ms + 60000);
	ck_assert_int_eq(check(&c, start_ms), AUTH_STALE);
	done();
}
END_TEST

/* Else anybody could have a phone locked by guessing with its address as a forged source. */
START_TEST(nonce_of_another_source_is_stale_whatever_the_response)
{
	setup_default();
	struct client c = {.nonce = nonce_at(start_ms), .password = "guess"};

	ck_assert_int_eq(addr_parse(&source, SPAN("192.0.2.66"), 5060), 0);
	ck_assert_int_eq(check(&c, start_ms), AUTH_STALE);
	c.password = NULL;
	ck_assert_int_eq(check(&c, start_ms), AUTH_STALE);
	c.nonce = nonce_at(start_ms);
	addr_set_port(&source, 40000); /* a NAT may change it between two requests */
	ck_assert_int_eq(check(&c, start_ms), AUTH_OK);
	source = (struct addr){0};
	done();
}
END_TEST

START_TEST(nonce_of_another_process_or_realm_or_nobody_is_stale)
{
	char forged[NONCE_LEN + 1];

	setup_default();
	struct client c = {.nonce = nonce_at(start_ms)};
	strcpy(forged, c.nonce);
	ck_assert_int_eq(check(&c, start_ms), AUTH_OK);
	auth_free(auth);
	setup_default(); /* restarted with the same key: a captured request does not pass */
	ck_assert_int_eq(check(&c, start_ms), AUTH_STALE);
	c.nonce = nonce_at(start_ms);
	strcpy(forged, c.nonce);
	forged[11] ^= 1; /* younger or older than it was made */
	c.nonce = forged;
	ck_assert_int_eq(check(&c, start_ms), AUTH_STALE);
	c.nonce = "";
	ck_assert_int_eq(check(&c, start_ms), AUTH_STALE);
	done();
}
END_TEST

START_TEST(without_replay_check_another_process_nonce_passes_while_young)
{
	struct auth_conf conf = auth_conf_default;

	conf.realm = REALM;
	conf.replay_check = false;
	setup(&conf);
	struct client c = {.nonce = nonce_at(start_ms)};
	ck_assert_int_eq(check(&c, start_ms), AUTH_OK);
	auth_free(auth);
	setup(&conf);
	ck_assert_int_eq(check(&c, start_ms), AUTH_OK);
	ck_assert_int_eq(check(&c, start_ms), AUTH_OK);
	ck_assert_int_eq(check(&c, start_ms + 300001), AUTH_STALE);
	done();
}
END_TEST

START_TEST(full_replay_table_forgets_nonces_but_never_lets_a_replay_through)
{
	struct auth_conf conf = auth_conf_default;
	char first[NONCE_LEN + 1];

	conf.realm = REALM;
	conf.replay_nonces = 8;
	setup(&conf);
	struct client c = {.nonce = nonce_at(start_ms)};
	strcpy(first, c.nonce);
	ck_assert_int_eq(check(&c, start_ms), AUTH_OK);
	for (unsigned i = 1; i <= 20; i++) {
		c.nonce = nonce_at(start_ms + i);
		ck_assert_int_eq(check(&c, start_ms + i), AUTH_OK);
		ck_assert_int_eq(check(&c, start_ms + i), AUTH_WRONG);
	}
	c.nonce = first;
	for (unsigned nc = 1; nc < 5; nc++) {
		c.nc = nc;
		ck_assert_int_eq(check(&c, start_ms + 30), AUTH_STALE);
	}
	/* An unused nonce from before the oldest remembered one is not taken either. */
	c.nonce = nonce_at(start_ms + 2);
	ck_assert_int_eq(check(&c, start_ms + 30), AUTH_STALE);
	done();
}
END_TEST

START_TEST(without_qop_md5_passes_once_a_nonce)
{
	setup_default();
	struct client c = {.nonce = nonce_at(start_ms), .no_qop = true, .algorithm = "MD5"};

	ck_assert_int_eq(check(&c, start_ms), AUTH_OK);
	ck_assert_int_eq(check(&c, start_ms), AUTH_STALE);
	/* Used with qop first, then without. */
	c = (struct client){.nonce = nonce_at(start_ms), .algorithm = "MD5"};
	ck_assert_int_eq(check(&c, start_ms), AUTH_OK);
	c.no_qop = true;
	ck_assert_int_eq(check(&c, start_ms), AUTH_STALE);
	c = (struct client){.nonce = nonce_at(start_ms), .no_qop = true};
	ck_assert_int_eq(check(&c, start_ms), AUTH_BAD); /* SHA-256 needs qop */
	done();
}
END_TEST

static void *mark_all(void *arg)
{
	static const struct nonce n = {.time_ms = 1000, .serial = 9};
	unsigned *passed = calloc(1, sizeof(*passed));

	for (uint32_t nc = 1; passed && nc <= 20000; nc++)
		*passed +=
			replay_mark(arg, &n, &(struct replay_use){.nc = nc, .wall_ms = 1000}) ==
			REPLAY_NEW;
	return passed;
}

START_TEST(one_count_passes_in_one_thread_only)
{
	struct replay *r = replay_new(1024);
	pthread_t t[2];
	unsigned sum = 0;

	for (unsigned i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, mark_all, r), 0);
	for (unsigned i = 0; i < 2; i++) {
		void *passed;

		pthread_join(t[i], &passed);
		ck_assert_ptr_nonnull(passed);
		sum += *(unsigned *)passed;
		free(passed);
	}
	ck_assert_uint_eq(sum, 20000);
	replay_free(r);
}
END_TEST

UNIT_MAIN("auth/replay", replayed_count_is_wrong_and_later_counts_pass_in_any_order,
	  retransmission_of_the_latest_request_is_told_from_a_replay,
	  old_nonce_is_stale_and_tells_a_guess_nothing,
	  nonce_of_another_source_is_stale_whatever_the_response,
	  nonce_of_another_process_or_realm_or_nobody_is_stale,
	  without_replay_check_another_process_nonce_passes_while_young,
	  full_replay_table_forgets_nonces_but_never_lets_a_replay_through,
	  without_qop_md5_passes_once_a_nonce, one_count_passes_in_one_thread_only)
