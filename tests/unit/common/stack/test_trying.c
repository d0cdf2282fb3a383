/*
 * Calls to devices behind an edge (trying.c), on a clock of the test's own: which home is told
 * of which, when one is lost.
 */
#include "common/stack/stack_priv.h"

#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>

enum { E1, E2, H1A, H1B, H2A, NODES };
enum {
	WAIT_MS = 5000,
	STEP_MS = 16,
	AGAIN_MS = 1000,
	T1_MS = 500,
	TIMER_C_MS = 185000,
	CANCELLED_MS = 32000,
	DEAD_MS = 750
};

static const struct stack_node node[NODES] = {
	[E1] = {.name = "e1", .pair = "edge"}, [E2] = {.name = "e2", .pair = "edge"},
	[H1A] = {.name = "h1a", .pair = "h1"}, [H1B] = {.name = "h1b", .pair = "h1"},
	[H2A] = {.name = "h2a", .pair = "h2"},
};
static struct stack_group group;
static struct stack stack;
static struct wheel wheel;
static msec now;
static char said[256]; /* "h1a: c1 ": whom it was told of which call */

/* ---- in place of the loop and of the files beside ---- */

msec loop_now(const struct loop *l)
{
	(void)l;
	return now;
}

struct wheel *loop_wheel(struct loop *l)
{
	(void)l;
	return &wheel;
}

bool stack_is_response(const struct iovec *iov)
{
	return memcmp(iov->iov_base, "SIP/2.0", 7) == 0;
}

static unsigned dead = NODES;

static int member(void *arg, unsigned i, bool ends)
{
	(void)arg;
	(void)ends;
	return i != dead ? (int)i : i == H1A ? H1B : -1;
}

static struct net_queue link_queue; /* of all links */
static bool stuck;		    /* nothing leaves by them */
static int refused;		    /* what is said, with that; 0: it is not */

bool stack_link_queue(struct stack *s, unsigned to, struct net_queue *ret)
{
	(void)s;
	(void)to;
	*ret = link_queue;
	return true;
}

/* The other member of the pair gets what is new. */
int stack_link_say(struct stack *s, uint16_t to, struct span message,
		   struct net_queue *ret_queue)
{
	if (refused)
		return refused;
	link_queue.given += message.n;
	if (!stuck)
		link_queue.taken = link_queue.given;
	*ret_queue = link_queue;
	const char *call = memmem(message.p, message.n, "Call-ID: ", 9);
	ck_assert_ptr_eq(s, &stack);
	ck_assert(call && memcmp(message.p, "SIP/2.0 100 ", 12) == 0);
	snprintf(said + strlen(said), sizeof(said) - strlen(said), "%s: %.2s ",
		 node[to - 1].name, call + 9);
	return to - 1 == H1A ? H1B : to - 1 == H1B ? H1A : to - 1;
}

/* ---- what goes by ---- */

static struct sip_hdr hdr[SIP_HDR_MAX];
static struct sip_flow from;

static void works_on(const char *text)
{
	static char buf[1024];
	struct sip_limits lim = sip_limits_default;
	struct sip_fault fault = {0};
	strcpy(buf, text);
	stack.msg = (struct sip_msg){.hdr = hdr};
	ck_assert(sip_msg_index(&stack.msg, span_str(buf), false, &lim, &fault) == 0);
	stack.delivering = true;
	stack.from = &from;
}

/* A home's, for the device. */
static void request(const char *method, const char *call, unsigned home, bool handed)
{
	const struct sip_flow to = {.listener = 1};
	char text[512];
	snprintf(text, sizeof(text),
		 "%s sip:x@y SIP/2.0\r\nVia: SIP/2.0/TCP h1;branch=z9hG4bK%s\r\n"
		 "From: <sip:a@b>;tag=1\r\nTo: <sip:c@b>\r\nCall-ID: %s\r\nCSeq: 1 %s\r\n\r\n",
		 method, call, call, method);
	from = (struct sip_flow){.node = (uint16_t)(home + 1), .handed = handed};
	works_on(text);
	struct iovec iov = {text, strlen(text)};
	stack_trying_sent(&stack, &to, &iov);
}

static void linked(const char *start, const char *via, const char *call, unsigned to)
{
	char text[512];
	snprintf(text, sizeof(text),
		 "%s\r\n%sVia: SIP/2.0/TCP h1;branch=z9hG4bK%s\r\n"
		 "From: <sip:a@b>;tag=1\r\nTo: <sip:c@b>\r\nCall-ID: %s\r\nCSeq: 1 "
		 "INVITE\r\n\r\n",
		 start, via, call, call);
	works_on(text);
	stack_trying_linked(&stack, to);
}

/* The device's, to a home. */
static void answer(unsigned status, const char *call, unsigned home)
{
	char start[32];
	snprintf(start, sizeof(start), "SIP/2.0 %u X", status);
	linked(start, "Via: SIP/2.0/UDP e;branch=z9hG4bKe\r\n", call, home);
}

static void pass(msec ms)
{
	now += ms;
	wheel_advance(&wheel, now);
}

static const char *lost(unsigned home)
{
	said[0] = 0;
	stack_trying_lost(&stack, home);
	pass(WAIT_MS - 1);
	ck_assert_str_eq(said, "");
	pass(2);
	pass(STEP_MS); /* it has left */
	return said;
}

static void begin(void)
{
	now = 1000;
	group = (struct stack_group){.user = {.member = member},
				     .conf = {.node = node,
					      .nnodes = NODES,
					      .self = E1,
					      .dead_ms = DEAD_MS,
					      .timers = {.t1 = T1_MS},
					      .transactions_max = 100,
					      .proxy = {.timer_c_ms = TIMER_C_MS}}};
	stack = (struct stack){.group = &group};
	wheel_init(&wheel, now);
	ck_assert((stack.trying = stack_trying_new(&stack)));
	stack.loop = (struct loop *)&stack; /* is not looked into */
}

static void end(void)
{
	stack.trying = stack_trying_free(stack.trying);
	ck_assert_uint_eq(stack.counters.trying, 0);
}

START_TEST(who_rings_is_told_of_and_who_has_answered_is_not)
{
	begin();
	request("INVITE", "c1", H1A, false);
	request("INVITE", "c2", H1A, false);
	request("INVITE", "c3", H1A, false);
	request("INVITE", "c4", H2A, false);
	answer(180, "c1", H1A);
	answer(180, "c2", H1A);
	answer(486, "c2", H1A);
	pass(1);
	ck_assert_str_eq(lost(H1A), "h1a: c3 h1a: c1 ");
	ck_assert_str_eq(lost(H1A), "");
	pass(1);
	ck_assert_str_eq(lost(H1B), "h1b: c3 h1b: c1 ");
	end();
}
END_TEST

START_TEST(what_a_home_sent_before_its_death_says_nothing_of_its_life)
{
	begin();
	request("INVITE", "c1", H1A, false);
	said[0] = 0;
	dead = H1A;
	stack_trying_lost(&stack, H1A);
	pass(3);
	request("INVITE", "c1", H1A, false);
	request("INVITE", "c2", H1A, false);
	pass(WAIT_MS);
	ck_assert_str_eq(said, "h1a: c1 h1a: c2 ");
	dead = NODES;
	request("INVITE", "c3", H1A, false);
	stack_trying_lost(&stack, H1A);
	pass(3);
	request("INVITE", "c3", H1A, false); /* it is back */
	said[0] = 0;
	pass(WAIT_MS);
	ck_assert_str_eq(said, "");
	end();
}
END_TEST

START_TEST(who_has_answered_and_absorbs_what_the_other_home_repeats_is_not_told_of)
{
	begin();
	request("INVITE", "c1", H1A, false);
	answer(200, "c1", H1A);
	pass(500);
	request("INVITE", "c1", H1B, false);
	pass(1000);
	ck_assert_str_eq(lost(H1B), "");
	ck_assert_str_eq(lost(H1A), "");
	end();
}
END_TEST

START_TEST(what_a_device_says_after_its_final_response_makes_no_call_of_it)
{
	begin();
	request("INVITE", "c1", H1A, false);
	answer(200, "c1", H1A);
	request("INVITE", "c2", H1A, false);
	answer(486, "c2", H1A);
	request("INVITE", "c1", H1B, false);
	request("INVITE", "c2", H1B, false);
	answer(180, "c1", H1B); /* was overtaken */
	answer(180, "c2", H1B);
	answer(200, "c1", H1B);
	request("CANCEL", "c1", H1B, false);
	request("INVITE", "c1", H1B, false);
	ck_assert_uint_eq(stack.counters.trying, 0);
	pass(1);
	ck_assert_str_eq(lost(H1B), "");
	end();
}
END_TEST

START_TEST(who_answered_before_his_invite_came_by_this_edge_is_not_told_of)
{
	begin();
	answer(180, "c1", H1A);
	answer(200, "c1", H1A); /* he had it by the other edge */
	answer(200, "c1", H1A);
	request("INVITE", "c1", H1A, false);
	ck_assert_uint_eq(stack.counters.trying, 0);
	pass(1);
	ck_assert_str_eq(lost(H1A), "");
	end();
}
END_TEST

/* A branch each. */
START_TEST(the_answer_of_one_device_is_not_that_of_another)
{
	begin();
	request("INVITE", "c1", H1A, false);
	request("INVITE", "c2", H1A, false);
	answer(486, "c1", H1A);
	request("INVITE", "c1", H1B, false);
	request("INVITE", "c2", H1B, false);
	request("INVITE", "c3", H1B, false);
	pass(1);
	ck_assert_str_eq(lost(H1B), "h1b: c2 h1b: c3 ");
	end();
}
END_TEST

/* Its transaction is over, what comes then rings; what it repeats makes that no later. */
START_TEST(who_has_answered_is_known_for_as_long_as_the_device_absorbs_what_is_repeated)
{
	enum { STEP = 64 };
	begin();
	request("INVITE", "c1", H1A, false);
	answer(200, "c1", H1A);
	pass(64 * T1_MS - 1);
	request("INVITE", "c1", H1B, false);
	ck_assert_uint_eq(stack.counters.trying, 0);
	answer(200, "c1", H1B);
	pass(1 + 2 * STEP);
	request("INVITE", "c1", H1B, false);
	ck_assert_uint_eq(stack.counters.trying, 1);
	end();
}
END_TEST

START_TEST(of_too_many_that_have_answered_the_oldest_is_forgotten_and_counted)
{
	char call[8];
	begin();
	group.conf.transactions_max = 2;
	stack.trying = stack_trying_free(stack.trying);
	ck_assert((stack.trying = stack_trying_new(&stack)));
	for (unsigned i = 1; i <= 3; i++) {
		snprintf(call, sizeof(call), "c%u", i);
		request("INVITE", call, H1A, false);
		answer(200, call, H1A);
	}
	ck_assert_uint_eq(stack.counters.trying_full, 1);
	for (unsigned i = 3; i; i--) {
		snprintf(call, sizeof(call), "c%u", i);
		request("INVITE", call, H1B, false);
	}
	pass(1);
	ck_assert_str_eq(lost(H1B), "h1b: c1 ");
	end();
}
END_TEST

/* Its home has said 408 itself (timer B), and nothing of that comes by here. */
START_TEST(who_was_silent_for_as_long_as_timer_b_is_not_told_of)
{
	begin();
	request("INVITE", "c1", H1A, false);
	request("INVITE", "c2", H1A, false);
	pass(16000);
	request("INVITE", "c1", H1A, false); /* a retransmission makes it no longer */
	answer(180, "c2", H1A);
	pass(64 * T1_MS - 16000 + 2 * DEAD_MS);
	ck_assert_str_eq(lost(H1A), "h1a: c2 ");
	end();
}
END_TEST

START_TEST(who_was_silent_when_his_home_died_is_told_of_though_timer_b_is_over_since)
{
	begin();
	request("INVITE", "c1", H1A, false);
	pass(64 * T1_MS - 1 + DEAD_MS); /* he stood still before that, and is found dead now */
	ck_assert_str_eq(lost(H1A), "h1a: c1 ");
	end();
}
END_TEST

START_TEST(another_home_has_a_timer_b_of_its_own)
{
	begin();
	request("INVITE", "c1", H1A, false);
	pass(20000);
	request("INVITE", "c1", H1B, false);
	pass(20000);
	ck_assert_str_eq(lost(H1A), "");
	pass(1000);
	ck_assert_str_eq(lost(H1B), "h1b: c1 ");
	end();
}
END_TEST

START_TEST(who_does_not_say_a_word_to_a_cancel_is_not_told_of)
{
	begin();
	request("INVITE", "c1", H1A, false);
	request("INVITE", "c2", H1A, false);
	answer(180, "c1", H1A);
	answer(180, "c2", H1A);
	pass(1000);
	request("CANCEL", "c1", H1A, false);
	pass(10000);
	request("CANCEL", "c1", H1A, false);
	pass(CANCELLED_MS - 10000 + 2 * DEAD_MS);
	ck_assert_str_eq(lost(H1A), "h1a: c2 ");
	end();
}
END_TEST

/* What rang there is sent once more, and its 180 may go to the dead one. */
START_TEST(what_comes_when_the_other_edge_has_died_may_ring_for_long)
{
	begin();
	request("INVITE", "c1", H1A, false);
	pass(5000);
	request("INVITE", "c2", H1A, false);
	pass(1);
	stack_trying_lost(&stack, E2);
	request("INVITE", "c3", H1A, false);
	pass(64 * T1_MS + 2 * DEAD_MS);
	ck_assert_str_eq(lost(H1A), "h1a: c2 h1a: c3 ");
	end();
}
END_TEST

/* Which home has it is not known then, but for the pair. */
START_TEST(what_the_other_edge_handed_on_is_told_of_whichever_home_is_lost)
{
	begin();
	request("INVITE", "c1", H1A, true);
	pass(1);
	ck_assert_str_eq(lost(H2A), "");
	ck_assert_str_eq(lost(H1B), "h1a: c1 ");
	ck_assert_str_eq(lost(H1A), "");
	end();
}
END_TEST

START_TEST(what_has_waited_for_its_device_is_told_of)
{
	begin();
	stack.redelivered = (struct deferred *)&stack;
	request("INVITE", "c1", H1A, false);
	pass(1);
	ck_assert_str_eq(lost(H1A), "h1a: c1 ");
	end();
}
END_TEST

START_TEST(what_is_handed_to_the_other_edge_is_that_one_s)
{
	begin();
	request("INVITE", "c1", H1A, false);
	request("INVITE", "c2", H1A, false);
	linked("INVITE sip:x@y SIP/2.0", "", "c1", E2);
	linked("INVITE sip:x@y SIP/2.0", "", "c2", E1); /* waits here */
	pass(1);
	ck_assert_str_eq(lost(H1A), "h1a: c2 ");
	end();
}
END_TEST

START_TEST(who_was_told_by_a_link_that_broke_is_told_again)
{
	begin();
	request("INVITE", "c1", H1A, false);
	request("INVITE", "c2", H1A, false);
	pass(1);
	stuck = true;
	ck_assert_str_eq(lost(H1A), "h1a: c1 h1a: c2 ");
	pass(1000);
	ck_assert_uint_eq(stack.counters.trying_told, 0);
	answer(486, "c1", H1B); /* comes in between */
	link_queue.conn++;
	stuck = false;
	said[0] = 0;
	pass(2 * STEP_MS);
	ck_assert_str_eq(said, "h1a: c2 ");
	ck_assert_uint_eq(stack.counters.trying_told, 1);
	pass(1000);
	ck_assert_str_eq(said, "h1a: c2 ");
	end();
}
END_TEST

START_TEST(who_cannot_be_told_now_is_told_later)
{
	begin();
	request("INVITE", "c1", H1A, false);
	request("INVITE", "c2", H2A, false);
	pass(1);
	refused = -EAGAIN; /* the link is full */
	ck_assert_str_eq(lost(H1A), "");
	refused = 0;
	pass(STEP_MS);
	ck_assert_str_eq(said, "h1a: c1 ");
	pass(STEP_MS);
	refused = -EHOSTUNREACH; /* nobody lives */
	ck_assert_str_eq(lost(H2A), "");
	pass(5 * AGAIN_MS);
	refused = 0;
	pass(AGAIN_MS);
	pass(STEP_MS);
	ck_assert_str_eq(said, "h2a: c2 ");
	ck_assert_uint_eq(stack.counters.trying_told, 2);
	pass(5 * AGAIN_MS);
	ck_assert_str_eq(said, "h2a: c2 ");
	end();
}
END_TEST

START_TEST(others_that_come_and_go_put_nothing_off)
{
	begin();
	request("INVITE", "c1", H1A, false);
	pass(1);
	said[0] = 0;
	stack_trying_lost(&stack, H1A);
	for (int i = 0; i < 4; i++) {
		pass(1200);
		stack_trying_lost(&stack, E2);
		ck_assert_str_eq(said, "");
	}
	pass(WAIT_MS - 4 * 1200 - 1);
	ck_assert_str_eq(said, "");
	pass(2);
	ck_assert_str_eq(said, "h1a: c1 ");
	end();
}
END_TEST

/* What it had before the first time it has not any more; what it got since may come again. */
START_TEST(a_home_that_comes_and_goes_is_lost_since_the_first_time)
{
	begin();
	request("INVITE", "c1", H1A, false);
	pass(1);
	said[0] = 0;
	stack_trying_lost(&stack, H1A);
	pass(2000);
	request("INVITE", "c2", H1A, false);
	pass(1);
	stack_trying_lost(&stack, H1A);
	pass(WAIT_MS - 2000);
	pass(STEP_MS);
	ck_assert_str_eq(said, "h1a: c1 ");
	pass(2000 - STEP_MS - 3);
	ck_assert_str_eq(said, "h1a: c1 ");
	pass(STEP_MS);
	ck_assert_str_eq(said, "h1a: c1 h1a: c2 ");
	pass(10 * WAIT_MS);
	ck_assert_str_eq(said, "h1a: c1 h1a: c2 ");
	ck_assert_int_lt(wheel_wait(&wheel, now), 0);
	end();
}
END_TEST

UNIT_MAIN("common/stack trying", who_rings_is_told_of_and_who_has_answered_is_not,
	  what_a_home_sent_before_its_death_says_nothing_of_its_life,
	  who_has_answered_and_absorbs_what_the_other_home_repeats_is_not_told_of,
	  what_a_device_says_after_its_final_response_makes_no_call_of_it,
	  the_answer_of_one_device_is_not_that_of_another,
	  who_answered_before_his_invite_came_by_this_edge_is_not_told_of,
	  who_has_answered_is_known_for_as_long_as_the_device_absorbs_what_is_repeated,
	  of_too_many_that_have_answered_the_oldest_is_forgotten_and_counted,
	  who_was_silent_for_as_long_as_timer_b_is_not_told_of,
	  who_was_silent_when_his_home_died_is_told_of_though_timer_b_is_over_since,
	  another_home_has_a_timer_b_of_its_own,
	  who_does_not_say_a_word_to_a_cancel_is_not_told_of,
	  what_comes_when_the_other_edge_has_died_may_ring_for_long,
	  what_the_other_edge_handed_on_is_told_of_whichever_home_is_lost,
	  what_has_waited_for_its_device_is_told_of,
	  what_is_handed_to_the_other_edge_is_that_one_s,
	  who_was_told_by_a_link_that_broke_is_told_again, who_cannot_be_told_now_is_told_later,
	  others_that_come_and_go_put_nothing_off,
	  a_home_that_comes_and_goes_is_lost_since_the_first_time)
