/*
 * Messages that wait for a phone (defer.c), in a loop of their own; what is taken in again
 * comes here, where the phone is away or not.
 */
#include "common/stack/stack_priv.h"

#include "tests/unit/unit.h"

#include <stdio.h>

enum { AWAY_MS = 2000, ROOM = 16384 };

static struct stack stack;
static struct stack_group group = {.conf.net.link_bytes_max = ROOM};
static bool away;
static char order[64];
static const struct sip_flow from = {.node = 3, .transport = SIP_TRANSPORT_TCP};

bool stack_refuse_poison(struct stack *st, const struct sip_flow *f, struct span message)
{
	(void)st;
	(void)f;
	(void)message;
	return false;
}

void stack_deliver(struct stack *st, const struct sip_flow *f, char *buf, size_t n, size_t cap,
		   uint32_t marks, bool indexed)
{
	struct sip_limits lim = sip_limits_default;
	struct sip_fault fault = {0};
	(void)cap;
	(void)indexed;
	ck_assert(sip_msg_index(&st->msg, span_of(buf, n), false, &lim, &fault) == 0);
	if (st->msg.is_request && stack_waits_its_turn(st, f, &st->msg, marks))
		return;
	if (away && stack_defer(st, f, &st->msg, marks))
		return;
	struct span name = st->msg.is_request ? st->msg.method_text : SPAN("200");
	snprintf(order + strlen(order), sizeof(order) - strlen(order), "%.3s ", name.p);
}

static void comes_with(const char *start, const char *call, int body)
{
	static char text[ROOM];
	int n = snprintf(
		text, sizeof(text),
		"%s\r\nVia: SIP/2.0/TCP 192.0.2.1;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\n"
		"To: <sip:c@b>\r\nCall-ID: %s\r\nCSeq: 1 %.*s\r\nContent-Length: %d\r\n\r\n%*s",
		start, call, *start == 'S' ? 6 : (int)strcspn(start, " "),
		*start == 'S' ? "INVITE" : start, body, body, "");
	stack_deliver(&stack, &from, text, (size_t)n, sizeof(text), 0, false);
}

static void comes(const char *start, const char *call)
{
	comes_with(start, call, 0);
}

static void run_ms(msec ms)
{
	msec end = time_now() + ms;
	while (time_now() < end)
		loop_round(stack.loop, (int64_t)(end - time_now()));
}

static void run_until_all_are_there(void)
{
	msec end = time_now() + AWAY_MS;
	while (stack.counters.deferring && time_now() < end)
		loop_round(stack.loop, 20);
	ck_assert_uint_eq(stack.counters.deferring, 0);
}

static void begin(void)
{
	static struct sip_hdr hdr[SIP_HDR_MAX];
	stack = (struct stack){.group = &group, .loop = loop_new(0), .msg.hdr = hdr};
	ck_assert(stack.loop);
	stack_defer_init(&stack);
	away = true;
	order[0] = 0;
}

static void end(void)
{
	stack_defer_free(&stack);
	loop_free(stack.loop);
}

START_TEST(what_waits_is_taken_in_when_the_phone_is_there)
{
	begin();
	comes("MESSAGE sip:x@y SIP/2.0", "1");
	comes("SIP/2.0 200 OK", "2");
	run_ms(250);
	ck_assert_str_eq(order, "");
	away = false;
	run_until_all_are_there();
	ck_assert_str_eq(order, "MES 200 ");
	end();
}
END_TEST

START_TEST(what_is_sent_again_meanwhile_waits_once)
{
	begin();
	comes("INVITE sip:x@y SIP/2.0", "1");
	comes("INVITE sip:x@y SIP/2.0", "1");
	comes("INVITE sip:x@y SIP/2.0", "2");
	run_ms(150);
	comes("INVITE sip:x@y SIP/2.0", "1");
	ck_assert_uint_eq(stack.counters.deferring, 2);
	away = false;
	run_until_all_are_there();
	ck_assert_str_eq(order, "INV INV ");
	end();
}
END_TEST

/* Each node that hands it on counts a hop. */
START_TEST(what_comes_by_another_way_too_waits_once)
{
	begin();
	comes("INVITE sip:x@y SIP/2.0\r\nMax-Forwards: 69", "1");
	comes("INVITE sip:x@y SIP/2.0\r\nMax-Forwards: 67", "1");
	comes("CANCEL sip:x@y SIP/2.0\r\nMax-Forwards: 67", "1");
	comes("CANCEL sip:x@y SIP/2.0\r\nMax-Forwards: 69", "1");
	away = false;
	run_until_all_are_there();
	ck_assert_str_eq(order, "INV CAN ");
	end();
}
END_TEST

START_TEST(a_cancel_does_not_overtake_its_invite)
{
	begin();
	comes("INVITE sip:x@y SIP/2.0", "1"); /* again after 100, 200 ... ms */
	run_ms(50);
	comes("CANCEL sip:x@y SIP/2.0", "1"); /* 150 */
	run_ms(70);
	away = false;
	comes("ACK sip:x@y SIP/2.0", "1"); /* the phone is there: this one could go at once */
	run_until_all_are_there();
	ck_assert_str_eq(order, "INV CAN ACK ");
	end();
}
END_TEST

START_TEST(a_cancel_that_is_sent_again_behind_its_invite_is_behind_it)
{
	begin();
	comes("CANCEL sip:x@y SIP/2.0", "1");
	comes("INVITE sip:x@y SIP/2.0", "1");
	comes("CANCEL sip:x@y SIP/2.0", "1");
	comes("INVITE sip:x@y SIP/2.0", "1");
	away = false;
	run_until_all_are_there();
	ck_assert_str_eq(order, "INV CAN ");
	end();
}
END_TEST

/* The home knows the phone's new registration before the INVITE has been taken in again. */
START_TEST(a_cancel_by_a_new_registration_does_not_overtake_its_invite)
{
	begin();
	comes("INVITE sip:x@y:1 SIP/2.0\r\nVia: SIP/2.0/TCP h1;branch=z9hG4bK2;b=123\r\n"
	      "Route: <sip:old@edge;lr>",
	      "1");
	away = false;
	comes("CANCEL sip:x@y:2 SIP/2.0\r\nVia: SIP/2.0/TCP h1;branch=z9hG4bK2;b=123\r\n"
	      "Route: <sip:new@edge;lr>",
	      "1");
	comes("CANCEL sip:x@y:2 SIP/2.0\r\nVia: SIP/2.0/TCP h1;branch=z9hG4bK3;b=456", "1");
	ck_assert_str_eq(order, "CAN ");
	run_until_all_are_there();
	ck_assert_str_eq(order, "CAN INV CAN ");
	end();
}
END_TEST

START_TEST(another_call_or_another_device_does_not_wait)
{
	begin();
	comes("INVITE sip:x@y SIP/2.0", "1");
	away = false;
	comes("INVITE sip:x@y SIP/2.0", "2");
	comes("MESSAGE sip:z@y SIP/2.0", "1");
	ck_assert_str_eq(order, "INV MES ");
	/* Of one contact, behind two NATs; and straight at a home. */
	comes("INVITE sip:x@y SIP/2.0\r\nRoute: <sip:other@edge;lr>", "1");
	comes("OPTIONS sip:x@y SIP/2.0\r\nVia: SIP/2.0/TCP h1;branch=z9hG4bK2;b=123", "1");
	ck_assert_str_eq(order, "INV MES INV OPT ");
	run_until_all_are_there();
	ck_assert_str_eq(order, "INV MES INV OPT INV ");
	end();
}
END_TEST

START_TEST(what_waits_is_bounded_by_bytes_and_what_is_refused_is_counted)
{
	begin();
	for (const char *call = "12345678"; *call; call++)
		comes_with("MESSAGE sip:x@y SIP/2.0", call, 3000);
	ck_assert_uint_ge(stack.counters.deferring, 2);
	ck_assert_uint_le(stack.counters.deferring, 4);
	ck_assert_uint_gt(stack.counters.deferring_bytes, stack.counters.deferring * 3000);
	ck_assert_uint_le(stack.counters.deferring_bytes, ROOM);
	ck_assert_uint_eq(stack.counters.deferred_full, 8 - stack.counters.deferring);
	away = false;
	run_until_all_are_there();
	ck_assert_uint_eq(stack.counters.deferring_bytes, 0);
	away = true;
	comes_with("MESSAGE sip:x@y SIP/2.0", "9", 3000);
	ck_assert_uint_eq(stack.counters.deferring, 1);
	end();
	ck_assert_uint_eq(stack.counters.deferring_bytes, 0);
}
END_TEST

/* That has room when nothing else has; and who waits for its own time is not put out by it. */
START_TEST(a_cancel_has_room_behind_its_invite)
{
	begin();
	comes_with("INVITE sip:x@y SIP/2.0", "1", 3000);
	for (const char *call = "23456789"; *call; call++)
		comes_with("MESSAGE sip:x@y SIP/2.0", call, 1000);
	uint64_t before = stack.counters.deferring, refused = stack.counters.deferred_full;
	ck_assert_uint_gt(refused, 0);
	order[0] = 0;
	comes_with("CANCEL sip:x@y SIP/2.0", "1", 1000);
	ck_assert_uint_eq(stack.counters.deferring, before + 1);
	/* Of the last quarter all may be taken by such, but no more than all. */
	for (unsigned i = 0; i < 8; i++) {
		char info[96];
		snprintf(info, sizeof(info),
			 "INFO sip:x@y SIP/2.0\r\nVia: SIP/2.0/TCP a;branch=z9hG4bKi%u", i);
		comes_with(info, "1", 3000);
	}
	ck_assert_uint_le(stack.counters.deferring_bytes, ROOM);
	ck_assert_uint_ge(stack.counters.deferred_full, refused + 7);
	order[0] = 0;
	refused = stack.counters.deferred_full;
	run_ms(350); /* each has been taken in and put back */
	ck_assert_uint_eq(stack.counters.deferred_full, refused);
	ck_assert_str_eq(order, "");
	away = false;
	run_until_all_are_there();
	const char *invite = strstr(order, "INV"), *cancel = strstr(order, "CAN");
	ck_assert(invite && cancel && invite < cancel);
	end();
}
END_TEST

/* Nor is there ever a second one of it. */
START_TEST(what_waits_again_is_not_copied)
{
	begin();
	comes_with("MESSAGE sip:x@y SIP/2.0", "1", 3000);
	const struct list *first = stack.deferred.next;
	for (unsigned i = 0; i < 3; i++) {
		uint64_t times = stack.counters.deferred;
		msec until = time_now() + AWAY_MS;
		while (stack.counters.deferred == times && time_now() < until)
			loop_round(stack.loop, 20);
		ck_assert_uint_eq(stack.counters.deferred, times + 1);
		ck_assert_ptr_eq(stack.deferred.next, first);
	}
	end();
}
END_TEST

UNIT_MAIN("common/stack defer", what_waits_is_taken_in_when_the_phone_is_there,
	  what_is_sent_again_meanwhile_waits_once, what_comes_by_another_way_too_waits_once,
	  a_cancel_does_not_overtake_its_invite,
	  a_cancel_that_is_sent_again_behind_its_invite_is_behind_it,
	  a_cancel_by_a_new_registration_does_not_overtake_its_invite,
	  another_call_or_another_device_does_not_wait,
	  what_waits_is_bounded_by_bytes_and_what_is_refused_is_counted,
	  a_cancel_has_room_behind_its_invite, what_waits_again_is_not_copied)
