/*
 * The bus and those who do not belong: other keys, other domains, garbage, nodes that do what
 * ours do not; and configurations that cannot work.
 */
#include "tests/unit/common/bus/rig.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>

/* ---- keys ---- */

START_TEST(a_pair_of_keys_belongs_together)
{
	char public[BUS_KEY_CHARS + 1], secret[BUS_KEY_CHARS + 1], other[BUS_KEY_CHARS + 1];

	ck_assert_int_eq(bus_keypair(public, secret), 0);
	ck_assert_uint_eq(strlen(public), BUS_KEY_CHARS);
	ck_assert_uint_eq(strlen(secret), BUS_KEY_CHARS);
	ck_assert_int_eq(bus_public_key(secret, other), 0);
	ck_assert_str_eq(public, other);
	ck_assert_int_eq(bus_keypair(other, secret), 0);
	ck_assert_str_ne(public, other);
}
END_TEST

START_TEST(what_is_no_key_is_refused)
{
	static const char *const no_key[] = {
		"",
		"short",
		"0123456789012345678901234567890123456789x", /* 41 */
		"01234567890123456789012345678901234567~~",  /* no Z85 */
		"0123456789012345678901234567890123 56789",
		"########################################", /* more than 32 bits a group */
	};
	char public[BUS_KEY_CHARS + 1] = "untouched";

	for (unsigned i = 0; i < sizeof(no_key) / sizeof(no_key[0]); i++)
		ck_assert_int_eq(bus_public_key(no_key[i], public), -EINVAL);
	ck_assert_str_eq(public, "untouched");
}
END_TEST

START_TEST(a_key_that_is_not_in_the_table_is_refused_and_both_are_told)
{
	rig_conf("127.0.0.1");
	memcpy(side[0].conf.node[1].key, public_key[3], BUS_KEY_CHARS);
	side[0].conf.n = side[1].conf.n = 2;
	rig_start(0);
	rig_start(1);
	RIG_AWAIT(side[0].refusals && side[1].refusals);
	ck_assert_str_eq(side[0].why, "its key is none of the cluster's");
	ck_assert_ptr_eq(strstr(side[0].where, "127.0.0.1:"), side[0].where);
	ck_assert_str_eq(side[1].why, "refuses our key");
	ck_assert(!side[0].up[1] && !side[1].up[0]);
	/* Each attempt is told once. */
	RIG_AWAIT(side[1].refusals == 3);
	ck_assert_uint_ge(side[0].refusals, 3);
	ck_assert_uint_le(side[0].refusals, 4);
	ck_assert_uint_eq(bus_counters(side[0].bus)->refused, side[0].refusals);
	/* Once the table is right, it is let in without being started anew. */
	rig_stop(0);
	memcpy(side[0].conf.node[1].key, public_key[1], BUS_KEY_CHARS);
	rig_start(0);
	RIG_AWAIT(side[0].up[1] && side[1].up[0]);
	rig_end();
}
END_TEST

START_TEST(a_node_with_another_key_than_it_should_have_is_not_spoken_to)
{
	rig_conf("127.0.0.1");
	memcpy(side[1].conf.node[0].key, public_key[3], BUS_KEY_CHARS);
	side[0].conf.n = side[1].conf.n = 2;
	rig_start(0);
	rig_start(1);
	RIG_AWAIT(side[0].refusals && side[1].refusals);
	ck_assert_str_eq(side[0].why, "does not speak our protocol, or not to our key");
	ck_assert_str_eq(side[1].why, "has hung up: its key is another, perhaps");
	ck_assert(!side[0].up[1] && !side[1].up[0]);
	rig_end();
}
END_TEST

START_TEST(a_node_of_another_domain_is_refused_by_both)
{
	rig_conf("127.0.0.1");
	side[1].conf.domain = "eaves.testing";
	rig_start(0);
	rig_start(1);
	RIG_AWAIT(side[0].refusals >= 2 && side[1].refusals >= 2);
	ck_assert_str_eq(side[0].why, "a node of another domain");
	ck_assert_str_eq(side[1].why, "a node of another domain");
	ck_assert(!side[0].up[1] && !side[1].up[0]);
	ck_assert_int_eq(rig_send(0, 1, "x"), -EHOSTUNREACH);
	ck_assert_int_eq(rig_send(1, 0, "x"), -EHOSTUNREACH);
	rig_end();
}
END_TEST

START_TEST(a_node_that_we_dial_may_not_dial_us_nor_anybody_with_our_own_key)
{
	struct stranger x;

	rig_conf("127.0.0.1");
	side[0].conf.node[1].dial = true;
	rig_start(0);
	rig_start(1);
	RIG_AWAIT(side[0].refusals && side[1].refusals);
	ck_assert(!side[0].up[1] && !side[1].up[0]);
	rig_stop(1);
	x = stranger_dial(0, NULL);
	RIG_AWAIT(strcmp(side[0].why, "it has our own key") == 0);
	stranger_leave(&x);
	rig_end();
}
END_TEST

/* ---- those who have a key ---- */

START_TEST(a_node_is_known_by_its_key_whatever_name_it_gives_itself)
{
	static const char *const name[] = {"anna", "carl", "carl5", "2"};
	char text[LAST_MAX];
	struct stranger x;

	rig_conf("127.0.0.1");
	rig_start(0);
	rig_start(2);
	RIG_AWAIT(side[0].up[2] && side[2].up[0]);
	for (unsigned i = 0; i < sizeof(name) / sizeof(name[0]); i++) {
		x = stranger_dial(1, name[i]);
		stranger_hello(&x);
		stranger_say(&x, "I am carl", NULL);
		if (strlen(name[i]) == 5) {
			/* As long as a route of ZeroMQ's own: it is bert, and no more. */
			RIG_AWAIT(side[0].up[1]);
			ck_assert_int_eq(rig_send(0, 1, "to bert"), 0);
			RIG_AWAIT(stranger_hears(&x, text) && strcmp(text, "to bert") == 0);
		} else {
			uint64_t dropped = bus_counters(side[0].bus)->dropped;

			RIG_AWAIT(bus_counters(side[0].bus)->dropped >= dropped + 2 ||
				  bus_counters(side[0].bus)->dropped >= 2 * i + 2);
			ck_assert(!side[0].up[1]);
		}
		ck_assert_int_eq(rig_send(0, 2, "to carl"), 0);
		RIG_AWAIT(side[2].got[0] == i + 1);
		ck_assert_str_eq(side[2].last, "to carl");
		stranger_leave(&x);
		RIG_AWAIT(!side[0].up[1]);
	}
	ck_assert_uint_eq(side[0].got[2], 0);
	ck_assert_uint_eq(side[0].downs[2], 0);
	rig_end();
}
END_TEST

START_TEST(before_its_hello_a_node_is_not_heard_and_odd_messages_are_dropped)
{
	struct stranger x;

	rig_conf("127.0.0.1");
	rig_start(0);
	x = stranger_dial(1, NULL);
	stranger_say(&x, "too early", NULL);
	RIG_AWAIT(bus_counters(side[0].bus)->dropped == 1);
	stranger_say(&x, "eaves bus 2", "eaves.test");
	RIG_AWAIT(bus_counters(side[0].bus)->dropped == 2);
	ck_assert(!side[0].up[1]);
	stranger_hello(&x);
	RIG_AWAIT(side[0].up[1]);
	stranger_say(&x, "two", "parts");
	RIG_AWAIT(bus_counters(side[0].bus)->dropped == 3);
	ck_assert_uint_eq(side[0].got[1], 0);
	stranger_say(&x, "one part", NULL);
	RIG_AWAIT(side[0].got[1] == 1);
	ck_assert_str_eq(side[0].last, "one part");
	/* Saying hello again changes nothing. */
	stranger_hello(&x);
	stranger_say(&x, "more", NULL);
	RIG_AWAIT(side[0].got[1] == 2);
	ck_assert_uint_eq(side[0].ups[1], 1);
	ck_assert_uint_eq(side[0].downs[1], 0);
	stranger_leave(&x);
	RIG_AWAIT(side[0].downs[1] == 1);
	rig_end();
}
END_TEST

START_TEST(a_message_that_is_too_large_is_not_delivered)
{
	static char large[BUS_MESSAGE_MAX_BYTES + 4096];
	struct stranger x;

	rig_conf("127.0.0.1");
	rig_start(0);
	x = stranger_dial(1, NULL);
	stranger_hello(&x);
	RIG_AWAIT(side[0].up[1]);
	zmq_send(x.zmq, large, BUS_MESSAGE_MAX_BYTES + 1, 0);
	RIG_AWAIT(bus_counters(side[0].bus)->too_large == 1);
	ck_assert(side[0].up[1]);
	zmq_send(x.zmq, large, sizeof(large), 0); /* not even received */
	RIG_AWAIT(side[0].downs[1] == 1);
	ck_assert_uint_eq(side[0].got[1], 0);
	stranger_leave(&x);
	rig_end();
}
END_TEST

START_TEST(the_newest_connection_of_a_node_is_the_one_that_counts)
{
	char text[LAST_MAX];
	struct stranger old, new;

	rig_conf("127.0.0.1");
	rig_start(0);
	old = stranger_dial(1, NULL);
	stranger_hello(&old);
	RIG_AWAIT(side[0].up[1]);
	new = stranger_dial(1, NULL);
	stranger_hello(&new);
	RIG_AWAIT(side[0].ups[1] == 2);
	ck_assert_uint_eq(side[0].downs[1], 1);
	ck_assert_int_eq(rig_send(0, 1, "to the new one"), 0);
	RIG_AWAIT(stranger_hears(&new, text) && strcmp(text, "to the new one") == 0);
	stranger_say(&old, "I am still here", NULL);
	RIG_AWAIT(bus_counters(side[0].bus)->dropped == 1);
	ck_assert_str_eq(side[0].why, "another process with its key came later: the one at "
				      "this address is to be started anew");
	stranger_say(&new, "so am I", NULL);
	RIG_AWAIT(side[0].got[1] == 1);
	ck_assert_str_eq(side[0].last, "so am I");
	/* The end of the old one is nobody's end. */
	stranger_leave(&old);
	for (unsigned i = 0; i < 2; i++) { /* and a third one's refusal comes after it */
		struct stranger x = stranger_dial(0, NULL);

		RIG_AWAIT(side[0].refusals > i + 1);
		stranger_leave(&x);
	}
	ck_assert(side[0].up[1]);
	ck_assert_str_eq(side[0].why, "it has our own key");
	stranger_say(&new, "and still", NULL);
	RIG_AWAIT(side[0].got[1] == 2);
	stranger_leave(&new);
	RIG_AWAIT(side[0].downs[1] == 2);
	rig_end();
}
END_TEST

START_TEST(who_was_replaced_by_another_with_its_key_is_told_of_as_long_as_it_speaks)
{
	static const char why[] = "another process with its key came later: the one at this "
				  "address is to be started anew";
	struct stranger twin;

	rig_conf("127.0.0.1");
	rig_pair();
	twin = stranger_dial(1, NULL);
	stranger_hello(&twin);
	RIG_AWAIT(side[0].ups[1] == 2);
	ck_assert_int_eq(rig_send(1, 0, "I am still here"), 0);
	RIG_AWAIT(side[0].refusals == 1);
	ck_assert_str_eq(side[0].why, why);
	ck_assert(side[0].up[1] && side[0].got[1] == 0);
	stranger_leave(&twin);
	RIG_AWAIT(!side[0].up[1]);
	ck_assert_int_eq(rig_send(1, 0, "and now"), 0);
	RIG_AWAIT(side[0].refusals == 2);
	ck_assert_str_eq(side[0].why, why);
	rig_stop(1);
	rig_start(1);
	RIG_AWAIT(side[0].up[1] && side[1].up[0]);
	rig_end();
}
END_TEST

/* ---- those who do not even speak ZMTP ---- */

static int knock(void)
{
	int fd = socket(address[0].sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_eq(connect(fd, &address[0].sa, addr_len(&address[0])), 0);
	ck_assert_int_eq(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	return fd;
}

static bool hung_up(int fd)
{
	char bytes[512];
	ssize_t n = recv(fd, bytes, sizeof(bytes), 0);

	return n == 0 || (n < 0 && errno != EAGAIN);
}

START_TEST(garbage_is_refused_and_nobody_else_suffers)
{
	static const struct {
		const char *bytes;
		size_t n;
	} garbage[] = {
#define BYTES(s) {s, sizeof(s) - 1}
		BYTES("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		BYTES("\0"),
		BYTES("\xff\0\0\0\0\0\0\0\x01\x7f\0\0"), /* ZMTP 1.0 */
		BYTES("\xff\0\0\0\0\0\0\0\x01\x7f\1\5"), /* ZMTP 2.0 */
		/* ZMTP 3 without security, with passwords, and CURVE with nonsense */
		BYTES("\xff\0\0\0\0\0\0\0\x01\x7f\3\0NULL\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
		      "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
		BYTES("\xff\0\0\0\0\0\0\0\x01\x7f\3\0PLAIN\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
		      "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
		BYTES("\xff\0\0\0\0\0\0\0\x01\x7f\3\0CURVE\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
		      "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
		      "\4\5HELLO-----------------------------------------------------"),
		BYTES("\xff\0\0\0\0\0\0\0\x01\x7f\3\0CURVE\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
		      "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
		      "\2\x7f\xff\xff\xff\xff\xff\xff\xff" /* a frame of 2^63 bytes */),
#undef BYTES
	};
	enum { N = sizeof(garbage) / sizeof(garbage[0]) };
	int fd[N];

	rig_conf("127.0.0.1");
	rig_pair();
	for (unsigned i = 0; i < N; i++) {
		fd[i] = knock();
		ck_assert_int_eq(send(fd[i], garbage[i].bytes, garbage[i].n, MSG_NOSIGNAL),
				 (ssize_t)garbage[i].n);
		RIG_AWAIT(hung_up(fd[i]) && side[0].refusals == i + 1);
		/* It may have gone before we could ask where it is. */
		ck_assert(!*side[0].where || strncmp(side[0].where, "127.0.0.1:", 10) == 0);
		ck_assert_ptr_nonnull(strstr(side[0].why, "protocol"));
	}
	ck_assert_int_eq(rig_send(1, 0, "still here"), 0);
	RIG_AWAIT(side[0].got[1] == 1);
	ck_assert_uint_eq(side[0].downs[1], 0);
	for (unsigned i = 0; i < N; i++)
		close(fd[i]);
	rig_end();
}
END_TEST

START_TEST(who_says_nothing_is_shown_out)
{
	int silent, hasty;

	rig_conf("127.0.0.1");
	rig_pair();
	hasty = knock();
	close(hasty);
	RIG_AWAIT(side[0].refusals == 1);
	silent = knock();
	RIG_AWAIT(side[0].refusals == 2);
	RIG_AWAIT(hung_up(silent));
	ck_assert_str_eq(side[0].why, "has gone, or said nothing, before it had shown its key");
	close(silent);
	ck_assert(side[0].up[1]);
	rig_end();
}
END_TEST

/* More at a time than there is account kept of; a node comes in among them nevertheless. */
START_TEST(a_crowd_at_the_door_does_not_keep_a_node_out)
{
	enum { CROWD = 1200 };
	static int fd[CROWD];
	char text[LAST_MAX];
	struct stranger x;
	struct rlimit files;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &files), 0);
	files.rlim_cur = files.rlim_max;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &files), 0);
	rig_conf("127.0.0.1");
	rig_start(0);
	for (unsigned i = 0; i < CROWD; i++) {
		fd[i] = knock();
		if (i % 32 == 0)
			rig_round();
	}
	x = stranger_dial(1, NULL);
	stranger_hello(&x);
	RIG_AWAIT(side[0].up[1]);
	ck_assert_int_eq(rig_send(0, 1, "welcome"), 0);
	RIG_AWAIT(stranger_hears(&x, text) && strcmp(text, "welcome") == 0);
	for (unsigned i = 0; i < CROWD; i++)
		close(fd[i]);
	RIG_AWAIT(side[0].refusals >= 1000);
	ck_assert(side[0].up[1]);
	stranger_leave(&x);
	rig_end();
}
END_TEST

/* ZeroMQ greets who has been let in. */
static bool greeted(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, 1000) == 1;
}

/* They come and go until nobody is let in any more; how many came. */
static unsigned crowd_until_full(void)
{
	enum { CROWD = 3000 };
	unsigned n = 0;

	for (bool in = true; in && n < CROWD; n++) {
		int fd = knock();

		in = greeted(fd);
		close(fd);
	}
	ck_assert_uint_lt(n, CROWD);
	return n;
}

START_TEST(who_comes_and_goes_while_the_loop_stands_still_waits_and_none_is_missed)
{
	unsigned n;

	rig_conf("127.0.0.1");
	side[0].conf.queue_events = 8;
	rig_pair();
	n = crowd_until_full();
	RIG_AWAIT(side[0].refusals >= n);
	ck_assert(side[0].up[1] && side[1].up[0]);
	ck_assert_int_eq(rig_send(1, 0, "still here"), 0);
	RIG_AWAIT(side[0].got[1] == 1);
	ck_assert_uint_eq(side[0].refusals, n);
	rig_end();
}
END_TEST

START_TEST(a_bus_ends_while_zeromq_waits_for_it_and_what_was_sent_leaves)
{
	rig_conf("127.0.0.1");
	side[0].conf.queue_events = 8;
	rig_pair();
	crowd_until_full();
	ck_assert_int_eq(rig_send(0, 1, "farewell"), 0);
	rig_stop(0);
	RIG_AWAIT(side[1].got[0] == 1 && !side[1].up[0]);
	rig_end();
}
END_TEST

/* ---- configurations ---- */

static void expect_error(const struct bus_conf *c, const char *text)
{
	const struct bus_ops ops = {rig_message, rig_connected, rig_refused, &side[0]};

	strcpy(bus_error, "no error");
	ck_assert_ptr_null(bus_new(side[0].loop, c, &ops, bus_error));
	ck_assert_msg(strstr(bus_error, text) != NULL, "'%s' in '%s'", text, bus_error);
}

START_TEST(a_configuration_that_cannot_work_is_told)
{
	struct bus_conf c;

	rig_conf("127.0.0.1");
	rig_start(0);
	c = side[0].conf;
	expect_error(&c, "cannot listen on 127.0.0.1:");
	c.self = SIDES;
	expect_error(&c, "none that is this one");
	c.self = 0;
	c.n = BUS_NODES_MAX + 1;
	expect_error(&c, "too many nodes");
	c = side[0].conf;
	c.node[2].key[0] = ' ';
	expect_error(&c, "no public key (40 characters of Z85): carl");
	c = side[0].conf;
	memcpy(c.node[2].key, c.node[1].key, BUS_KEY_CHARS);
	expect_error(&c, "it has the public key of another node: carl");
	c = side[0].conf;
	c.secret_key[7] = '\0';
	expect_error(&c, "no secret key");
	memcpy(c.secret_key, secret_key[1], sizeof(c.secret_key));
	expect_error(&c, "the list of nodes has another public key for it (--show-key prints "
			 "its own): anna");
	c = side[0].conf;
	c.domain = "";
	expect_error(&c, "a domain");
	c = side[0].conf;
	c.dead_ms = c.heartbeat_ms;
	expect_error(&c, "dead_ms");
	c = side[0].conf;
	c.queue_messages = UINT32_MAX;
	expect_error(&c, "too many messages");
	c = side[0].conf;
	c.queue_events = UINT32_MAX;
	expect_error(&c, "too many messages");
	rig_end();
}
END_TEST

UNIT_MAIN("common/bus/hostile", a_pair_of_keys_belongs_together, what_is_no_key_is_refused,
	  a_key_that_is_not_in_the_table_is_refused_and_both_are_told,
	  a_node_with_another_key_than_it_should_have_is_not_spoken_to,
	  a_node_of_another_domain_is_refused_by_both,
	  a_node_that_we_dial_may_not_dial_us_nor_anybody_with_our_own_key,
	  a_node_is_known_by_its_key_whatever_name_it_gives_itself,
	  before_its_hello_a_node_is_not_heard_and_odd_messages_are_dropped,
	  a_message_that_is_too_large_is_not_delivered,
	  the_newest_connection_of_a_node_is_the_one_that_counts,
	  who_was_replaced_by_another_with_its_key_is_told_of_as_long_as_it_speaks,
	  garbage_is_refused_and_nobody_else_suffers, who_says_nothing_is_shown_out,
	  a_crowd_at_the_door_does_not_keep_a_node_out,
	  who_comes_and_goes_while_the_loop_stands_still_waits_and_none_is_missed,
	  a_bus_ends_while_zeromq_waits_for_it_and_what_was_sent_leaves,
	  a_configuration_that_cannot_work_is_told)
