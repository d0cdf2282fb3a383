/*
 * The bus between nodes that belong together: delivery, order, limits, ends and returns.
 */
#include "tests/unit/common/bus/rig.h"

#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

START_TEST(messages_go_both_ways)
{
	rig_conf("127.0.0.1");
	rig_pair();
	ck_assert_int_eq(rig_send(0, 1, "to bert"), 0);
	ck_assert_int_eq(rig_send(1, 0, "to anna"), 0);
	RIG_AWAIT(side[0].got[1] == 1 && side[1].got[0] == 1);
	ck_assert_str_eq(side[1].last, "to bert");
	ck_assert_str_eq(side[0].last, "to anna");
	ck_assert_uint_eq(bus_counters(side[0].bus)->sent, 1);
	ck_assert_uint_eq(bus_counters(side[0].bus)->sent_bytes, 7);
	ck_assert_uint_eq(bus_counters(side[0].bus)->received, 1);
	ck_assert_uint_eq(bus_counters(side[0].bus)->received_bytes, 7);
	rig_end();
}
END_TEST

START_TEST(nodes_speak_over_ipv6)
{
	rig_conf("::1");
	rig_pair();
	ck_assert_int_eq(rig_send(0, 1, "six"), 0);
	RIG_AWAIT(side[1].got[0] == 1);
	rig_end();
}
END_TEST

START_TEST(every_node_reaches_every_other_and_an_empty_message_is_one)
{
	rig_conf("127.0.0.1");
	for (unsigned i = 0; i < SIDES; i++)
		rig_start(i);
	for (unsigned i = 0; i < SIDES; i++)
		for (unsigned k = 0; k < SIDES; k++)
			if (i != k)
				RIG_AWAIT(side[i].up[k]);
	for (unsigned i = 0; i < SIDES; i++)
		for (unsigned k = 0; k < SIDES; k++)
			ck_assert_int_eq(rig_send(i, k, ""), i == k ? -EHOSTUNREACH : 0);
	for (unsigned i = 0; i < SIDES; i++)
		for (unsigned k = 0; k < SIDES; k++)
			RIG_AWAIT(side[i].got[k] == (i != k));
	rig_end();
}
END_TEST

START_TEST(a_node_that_is_not_connected_or_is_none_is_unreachable)
{
	rig_conf("127.0.0.1");
	rig_start(1);
	ck_assert_int_eq(rig_send(1, 0, "nobody there"), -EHOSTUNREACH);
	ck_assert_int_eq(rig_send(1, 2, "has not dialled"), -EHOSTUNREACH);
	ck_assert_int_eq(rig_send(1, 1, "myself"), -EHOSTUNREACH);
	ck_assert_int_eq(rig_send(1, SIDES, "no such node"), -EHOSTUNREACH);
	rig_end();
}
END_TEST

/* ---- two threads ---- */

enum { MANY = 10000 };

/* Sends MANY numbered messages as the queue takes them, and reads until it has as many. */
static void *exchange(void *arg)
{
	struct side *s = arg;
	unsigned self = (unsigned)(s - side);
	uint64_t sent = 0;
	msec until = time_now() + WAIT_MS;

	while ((sent < MANY || s->got[1 - self] < MANY) && time_now() < until) {
		char bytes[300] = {0};

		memcpy(bytes, &sent, sizeof(sent));
		while (sent < MANY && bus_send(s->bus, 1 - self, span_of(bytes, 300)) == 0) {
			sent++;
			memcpy(bytes, &sent, sizeof(sent));
		}
		loop_round(s->loop, sent < MANY ? 0 : 100);
	}
	return (void *)(size_t)sent;
}

START_TEST(ten_thousand_messages_each_way_arrive_once_and_in_order)
{
	pthread_t t[2];
	void *sent[2];

	rig_conf("127.0.0.1");
	side[0].numbered = side[1].numbered = true;
	rig_pair();
	for (unsigned i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, exchange, &side[i]), 0);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(t[i], &sent[i]);
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_uint_eq((size_t)sent[i], MANY);
		ck_assert_uint_eq(side[i].got[1 - i], MANY);
		ck_assert_uint_eq(side[i].odd, 0);
		ck_assert_uint_eq(bus_counters(side[i].bus)->broken, 0);
	}
	rig_end();
}
END_TEST

/* An upper floor that gathers what it has to say and sends it at the end of the round. */
struct gatherer {
	struct side *side;
	unsigned waiting, turns;
};

static void flush_gathered(void *arg)
{
	struct gatherer *g = arg;

	for (; g->waiting; g->waiting--)
		ck_assert_int_eq(bus_send(g->side->bus, 1, SPAN("back")), 0);
}

static void gather(void *arg, unsigned node, struct span bytes)
{
	struct gatherer *g = arg;

	(void)node;
	(void)bytes;
	g->waiting++;
	if (++g->turns == 1000)
		loop_stop(g->side->loop);
}

static void reply_at_once(void *arg, unsigned node, struct span bytes)
{
	struct side *s = arg;

	(void)bytes;
	s->got[node]++;
	if (bus_send(s->bus, node, SPAN("forth")) < 0)
		loop_stop(s->loop); /* the other is done and gone */
}

static void ignore_connected(void *arg, unsigned node, bool up)
{
	(void)arg;
	(void)node;
	(void)up;
}

static void *run_loop(void *arg)
{
	struct side *s = arg;

	loop_run(s->loop);
	return NULL;
}

/* Nothing but the messages themselves wakes the loops: one that sleeps on one, or on a batch
 * that one has left behind, sleeps for ever. */
START_TEST(no_loop_sleeps_while_a_message_or_what_it_made_waits)
{
	struct gatherer g = {.side = &side[0]};
	const struct bus_ops there = {gather, ignore_connected, rig_refused, &g};
	const struct bus_ops back = {reply_at_once, rig_connected, rig_refused, &side[1]};
	pthread_t t[2];

	rig_conf("127.0.0.1");
	for (unsigned i = 0; i < 2; i++)
		side[i].loop = loop_new(0);
	side[0].bus = bus_new(side[0].loop, &side[0].conf, &there, bus_error);
	side[1].bus = bus_new(side[1].loop, &side[1].conf, &back, bus_error);
	ck_assert_int_eq(loop_on_round(side[0].loop, flush_gathered, &g), 0);
	RIG_AWAIT(side[1].up[0]);
	for (unsigned i = 0; i < 3; i++) /* three balls in the air */
		ck_assert_int_eq(rig_send(1, 0, "serve"), 0);
	for (unsigned i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, run_loop, &side[i]), 0);
	pthread_join(t[0], NULL);
	loop_stop(side[1].loop);
	pthread_join(t[1], NULL);
	ck_assert_uint_ge(g.turns, 1000);
	ck_assert_uint_ge(side[1].got[0], 900);
	rig_end();
}
END_TEST

/* ---- limits ---- */

START_TEST(a_message_of_the_largest_size_arrives_and_a_larger_one_is_not_taken)
{
	rig_conf("127.0.0.1");
	rig_pair();
	ck_assert_int_eq(rig_send_number(0, 1, 0, BUS_MESSAGE_MAX_BYTES + 1), -EMSGSIZE);
	ck_assert_int_eq(rig_send_number(1, 0, 0, BUS_MESSAGE_MAX_BYTES + 1), -EMSGSIZE);
	ck_assert_int_eq(rig_send_number(0, 1, 0, BUS_MESSAGE_MAX_BYTES), 0);
	ck_assert_int_eq(rig_send_number(1, 0, 0, BUS_MESSAGE_MAX_BYTES), 0);
	RIG_AWAIT(side[0].got[1] == 1 && side[1].got[0] == 1);
	ck_assert_uint_eq(bus_counters(side[0].bus)->received_bytes, BUS_MESSAGE_MAX_BYTES);
	ck_assert_uint_eq(bus_counters(side[0].bus)->too_large, 1);
	rig_end();
}
END_TEST

/* Sends to one that does not read until its queue is full: how many it took, fewer than `most`.
 */
static uint64_t fill(unsigned from, unsigned to, size_t bytes, uint64_t most)
{
	uint64_t n = 0;
	int r = 0;

	/* Its sockets' buffers are filled meanwhile; so until it stays full for a while. */
	for (unsigned full = 0; full < 50; full = r == 0 ? 0 : full + 1) {
		r = rig_send_number(from, to, n, bytes);
		n += r == 0;
		ck_assert(r == 0 || r == -ENOBUFS);
		ck_assert_uint_lt(n, most);
		if (r < 0)
			loop_round(side[from].loop, 1);
	}
	return n;
}

/* `from` sends to `slow`, whose loop stands still, and to `good`. */
static void slow_peer(unsigned from, unsigned slow, unsigned good, size_t bytes)
{
	struct loop *standing = side[slow].loop;
	struct bus *bus = side[slow].bus;
	uint64_t taken, sent = 0;

	side[slow].numbered = side[good].numbered = true;
	side[slow].bus = NULL; /* rig_round() passes it over */
	taken = fill(from, slow, bytes, 100000);
	ck_assert_uint_gt(bus_counters(side[from].bus)->full, 0);
	for (; sent < 200; sent++) {
		ck_assert_int_eq(rig_send_number(from, good, sent, 300), 0);
		rig_round();
	}
	RIG_AWAIT(side[good].got[from] == sent);
	ck_assert_uint_eq(side[good].odd, 0);
	side[slow].bus = bus;
	ck_assert_ptr_eq(side[slow].loop, standing);
	RIG_AWAIT(side[slow].got[from] == taken);
	ck_assert_int_eq(rig_send_number(from, slow, taken, bytes), 0);
	RIG_AWAIT(side[slow].got[from] == taken + 1);
	ck_assert_uint_eq(side[slow].odd, 0);
	ck_assert_uint_eq(side[slow].downs[from], 0);
}

static void three(void)
{
	for (unsigned i = 0; i < 3; i++)
		rig_start(i);
	RIG_AWAIT(side[0].up[1] && side[0].up[2] && side[1].up[0] && side[1].up[2] &&
		  side[2].up[0] && side[2].up[1]);
}

START_TEST(a_slow_node_costs_itself_alone)
{
	rig_conf("127.0.0.1");
	for (unsigned i = 0; i < 3; i++)
		side[i].conf.queue_messages = 100;
	three();
	slow_peer(0, 1, 2, 20000); /* both have dialled us */
	rig_end();
	rig_conf("127.0.0.1");
	for (unsigned i = 0; i < 3; i++)
		side[i].conf.queue_messages = 100;
	three();
	slow_peer(2, 1, 0, 20000); /* we have dialled both */
	rig_end();
}
END_TEST

START_TEST(a_queue_is_limited_in_bytes_too)
{
	rig_conf("127.0.0.1");
	side[1].conf.queue_bytes = 300000;
	side[0].conf.queue_messages = 10;
	three();
	slow_peer(1, 0, 2, 100000);
	rig_end();
}
END_TEST

/* The sender's own queue takes two, the kernel ten to forty (tcp_rmem, tcp_wmem): the others
 * are the reader's. */
static void unread(unsigned from, unsigned slow)
{
	enum { KERNEL_MAX = 64 };
	struct bus *bus = side[slow].bus;
	uint64_t taken;

	side[slow].numbered = true;
	side[slow].bus = NULL; /* rig_round() passes it over */
	taken = fill(from, slow, BUS_MESSAGE_MAX_BYTES, BUS_UNREAD_MAX + 2 + KERNEL_MAX);
	ck_assert_uint_ge(taken, BUS_UNREAD_MAX);
	side[slow].bus = bus;
	while (!side[slow].got[from])
		loop_round(side[slow].loop, 100);
	/* Not all at one go: the loop has timers. */
	ck_assert_uint_le(side[slow].got[from], 3);
	RIG_AWAIT(side[slow].got[from] == taken);
	for (unsigned i = 0; i < 500; i++)
		RIG_AWAIT(rig_send_number(from, slow, taken + i, 300) == 0);
	RIG_AWAIT(side[slow].got[from] == taken + 500);
	ck_assert_uint_eq(side[slow].odd, 0);
	ck_assert_uint_eq(side[slow].downs[from], 0);
}

START_TEST(what_is_not_read_waits_at_its_sender)
{
	for (unsigned from = 0; from < 2; from++) { /* to who is dialled, and who dials */
		rig_conf("127.0.0.1");
		side[from].conf.queue_bytes = 2 * BUS_MESSAGE_MAX_BYTES;
		rig_pair();
		unread(from, 1 - from);
		rig_end();
	}
}
END_TEST

/* ---- ends and returns ---- */

START_TEST(a_node_that_ends_is_told_as_down_and_comes_back)
{
	rig_conf("127.0.0.1");
	rig_pair();
	for (unsigned i = 1; i <= 3; i++) {
		unsigned gone = i % 2, left = 1 - gone;

		ck_assert_int_eq(rig_send(gone, left, "farewell"), 0);
		rig_stop(gone);
		RIG_AWAIT(side[left].downs[gone] == (i + 1) / 2);
		ck_assert_str_eq(side[left].last, "farewell");
		ck_assert_int_eq(rig_send(left, gone, "gone"), -EHOSTUNREACH);
		side[left].last[0] = '\0';
		rig_start(gone);
		RIG_AWAIT(side[0].up[1] && side[1].up[0]);
		ck_assert_int_eq(rig_send(0, 1, "again"), 0);
		ck_assert_int_eq(rig_send(1, 0, "again"), 0);
		RIG_AWAIT(strcmp(side[0].last, "again") == 0 &&
			  strcmp(side[1].last, "again") == 0);
	}
	rig_end();
}
END_TEST

/* A node as a process of its own, which says its name to all that appear. */
static void child_connected(void *arg, unsigned node, bool up)
{
	struct side *s = arg;

	if (up)
		bus_send(s->bus, node, SPAN("child"));
}

static void child_run(unsigned i)
{
	const struct bus_ops ops = {rig_message, child_connected, rig_refused, &side[i]};

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	side[i].loop = loop_new(0);
	side[i].bus = bus_new(side[i].loop, &side[i].conf, &ops, bus_error);
	if (side[i].loop && side[i].bus)
		loop_run(side[i].loop);
	_exit(1);
}

/* Children are forked by a process without threads, which ends when we do, and they with it. */
static struct nursery {
	int order[2], born[2];
} nursery;

static void nursery_open(void)
{
	uint8_t i;
	pid_t pid;

	ck_assert_int_eq(pipe(nursery.order), 0);
	ck_assert_int_eq(pipe(nursery.born), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid > 0) {
		close(nursery.order[0]);
		close(nursery.born[1]);
		return;
	}
	close(nursery.order[1]);
	signal(SIGCHLD, SIG_IGN);
	while (read(nursery.order[0], &i, 1) == 1) {
		pid = fork();
		if (pid == 0)
			child_run(i);
		if (write(nursery.born[1], &pid, sizeof(pid)) != sizeof(pid))
			break;
	}
	_exit(0);
}

static pid_t child_start(uint8_t i)
{
	pid_t pid = -1;

	ck_assert_int_eq(write(nursery.order[1], &i, 1), 1);
	ck_assert_int_eq(read(nursery.born[0], &pid, sizeof(pid)), sizeof(pid));
	ck_assert_int_gt(pid, 0);
	return pid;
}

static void nursery_close(void)
{
	close(nursery.order[1]);
	close(nursery.born[0]);
	while (wait(NULL) > 0)
		;
}

/* Child 1 is between us: it dials 0, and 2 dials it. */
START_TEST(a_killed_process_is_seen_at_once_by_both_ends_of_its_connections)
{
	pid_t pid;

	rig_conf("127.0.0.1");
	nursery_open();
	pid = child_start(1);
	rig_start(0);
	rig_start(2);
	RIG_AWAIT(side[0].up[2] && side[2].up[0]);
	for (unsigned i = 1; i <= 3; i++) {
		msec from;

		RIG_AWAIT(side[0].got[1] == i && side[2].got[1] == i);
		from = time_now();
		ck_assert_int_eq(kill(pid, SIGKILL), 0);
		RIG_AWAIT(side[0].downs[1] == i && side[2].downs[1] == i);
		ck_assert_uint_lt(time_now() - from, 5000); /* the heartbeat: 30 s */
		ck_assert(side[0].up[2] && side[2].up[0]);
		RIG_AWAIT(kill(pid, 0) < 0); /* its listener may be closed last */
		pid = child_start(1);
	}
	RIG_AWAIT(side[0].up[1] && side[2].up[1]);
	ck_assert_int_eq(kill(pid, SIGKILL), 0);
	RIG_AWAIT(side[0].downs[1] == 4 && side[2].downs[1] == 4);
	nursery_close();
	rig_end();
}
END_TEST

START_TEST(a_process_that_hangs_is_seen_by_its_silence)
{
	pid_t pid;

	rig_conf("127.0.0.1");
	for (unsigned i = 0; i < SIDES; i++) {
		side[i].conf.heartbeat_ms = 200;
		side[i].conf.dead_ms = 1000;
	}
	nursery_open();
	pid = child_start(1);
	rig_start(0);
	rig_start(2);
	RIG_AWAIT(side[0].up[1] && side[2].up[1]);
	ck_assert_int_eq(kill(pid, SIGSTOP), 0);
	RIG_AWAIT(side[0].downs[1] == 1 && side[2].downs[1] == 1);
	ck_assert_int_eq(kill(pid, SIGCONT), 0);
	RIG_AWAIT(side[0].up[1] && side[2].up[1]);
	nursery_close();
	rig_end();
}
END_TEST

UNIT_MAIN("common/bus", messages_go_both_ways, nodes_speak_over_ipv6,
	  every_node_reaches_every_other_and_an_empty_message_is_one,
	  a_node_that_is_not_connected_or_is_none_is_unreachable,
	  ten_thousand_messages_each_way_arrive_once_and_in_order,
	  no_loop_sleeps_while_a_message_or_what_it_made_waits,
	  a_message_of_the_largest_size_arrives_and_a_larger_one_is_not_taken,
	  a_slow_node_costs_itself_alone, a_queue_is_limited_in_bytes_too,
	  what_is_not_read_waits_at_its_sender, a_node_that_ends_is_told_as_down_and_comes_back,
	  a_killed_process_is_seen_at_once_by_both_ends_of_its_connections,
	  a_process_that_hangs_is_seen_by_its_silence)
