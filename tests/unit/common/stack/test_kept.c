/*
 * What nobody repeats is kept until it is answered, and goes to the other member (kept.c).
 */
#include "tests/unit/common/stack/links.h"

/* Of about a kilobyte, from a phone with a stream, for a home. */
static void send_message(unsigned branch, unsigned call, unsigned node, bool again)
{
	static char pad[800];
	char text[2048];
	const struct sip_flow to = {.node = (uint16_t)(node + 1), .leg = SIP_TRANSPORT_TCP};
	memset(pad, 'x', sizeof(pad) - 1);
	int n = snprintf(text, sizeof(text),
			 "MESSAGE sip:bob@example.org SIP/2.0\r\n"
			 "Via: SIP/2.0/TCP 192.0.2.1;branch=z9hG4bK%u\r\nMax-Forwards: 70\r\n"
			 "From: <sip:a@example.org>;tag=f\r\nTo: <sip:bob@example.org>\r\n"
			 "Call-ID: %u\r\nCSeq: 1 MESSAGE\r\nSubject: %s\r\n"
			 "Content-Length: 0\r\n\r\n",
			 branch, call, pad);
	struct iovec iov = {text, (size_t)n};
	stack_link_send(w, &to, &iov, 1, again);
}

static void to_device(unsigned branch, unsigned call, unsigned node)
{
	send_message(branch, call, node, false);
}

static void message(unsigned i, unsigned node)
{
	to_device(i, i, node);
}

/* Of one of them, as it comes back through whom it was sent. */
static void answer(unsigned branch, unsigned call, const char *vias)
{
	struct sip_limits lim = sip_limits_default;
	struct sip_hdr hdr[SIP_HDR_MAX];
	struct sip_msg m = {.hdr = hdr};
	struct sip_fault fault;
	char text[1024];
	int n = snprintf(
		text, sizeof(text),
		"SIP/2.0 200 OK\r\n%sVia: SIP/2.0/TCP 192.0.2.1;branch=z9hG4bK%u\r\n"
		"From: <sip:a@example.org>;tag=f\r\nTo: <sip:bob@example.org>;tag=t\r\n"
		"Call-ID: %u\r\nCSeq: 1 MESSAGE\r\nContent-Length: 0\r\n\r\n",
		vias, branch, call);
	ck_assert_int_eq(sip_msg_index(&m, span_of(text, (size_t)n), false, &lim, &fault), 0);
	stack_kept_answered(w, &m);
}

START_TEST(all_that_was_kept_reaches_the_other_member)
{
	begin();
	for (unsigned i = 0; i < MANY; i++) {
		message(i, H1);
		if (i % 50 == 0)
			loop_round(w->loop, 0);
		home_read(&home[H1]);
	}
	UNTIL(messages_at(&home[H1]) == MANY, 5000);
	dies(H1); /* with no answer to any */
	run_ms(100);
	UNTIL(messages_at(&home[H2]) == MANY, 5000);
	in_order(&home[H2], 0, MANY);
	ck_assert_uint_eq(nfailed + nfull, 0);
	ck_assert_uint_eq(w->counters.link_resent, MANY);
	end();
}
END_TEST

/* Without any answer he gives up after timer B, while the device rings. */
START_TEST(a_caller_on_a_stream_hears_that_it_rings_when_his_home_dies)
{
	static const char text[] =
		"SIP/2.0 180 Ringing\r\nVia: SIP/2.0/TCP homes;branch=z9hG4bK1\r\n"
		"From: <sip:a@example.org>;tag=f\r\nTo: <sip:bob@example.org>;tag=t\r\n"
		"Call-ID: 1\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n";
	struct iovec iov = {(char *)text, sizeof(text) - 1};
	begin();
	struct sip_flow to = {.node = H1 + 1, .leg = SIP_TRANSPORT_TCP};
	stack_link_send(w, &to, &iov, 1, false);
	to.leg = SIP_TRANSPORT_UDP; /* repeats his INVITE himself */
	stack_link_send(w, &to, &iov, 1, false);
	UNTIL(messages_at(&home[H1]) == 2, 2000);
	dies(H1);
	UNTIL(messages_at(&home[H2]) == 1, 2000);
	run_ms(100);
	ck_assert_uint_eq(messages_at(&home[H2]), 1);
	end();
}
END_TEST

/* Of a device, as it comes to the edge and leaves it. */
static void device_says(const char *start, const char *branch)
{
	static struct sip_hdr hdr[SIP_HDR_MAX];
	const struct sip_flow to = {.node = H1 + 1, .leg = SIP_TRANSPORT_TCP};
	struct sip_limits lim = sip_limits_default;
	struct sip_fault fault;
	char text[2][1024];
	for (unsigned leaves = 0; leaves < 2; leaves++)
		snprintf(text[leaves], sizeof(text[leaves]),
			 "%s\r\n%sVia: SIP/2.0/TCP homes;branch=z9hG4bK%s\r\n"
			 "From: <sip:a@example.org>;tag=f\r\n"
			 "To: <sip:bob@example.org>;tag=t\r\n"
			 "Call-ID: 1\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n",
			 start, leaves ? "" : "Via: SIP/2.0/TCP e;branch=z9hG4bKe\r\n", branch);
	struct iovec iov[2] = {{text[1], 20}, {text[1] + 20, strlen(text[1]) - 20}};
	w->msg = (struct sip_msg){.hdr = hdr};
	ck_assert_int_eq(sip_msg_index(&w->msg, span_str(text[0]), true, &lim, &fault), 0);
	w->delivering = true;
	stack_link_send(w, &to, iov, 2, false);
	w->delivering = false;
}

/* The other member would make a call of it that is over. */
START_TEST(what_a_device_said_before_its_final_response_is_not_sent_after_it)
{
	begin();
	device_says("SIP/2.0 180 Ringing", "1");
	device_says("SIP/2.0 180 Ringing", "2");
	device_says("SIP/2.0 486 Busy Here", "1");
	UNTIL(messages_at(&home[H1]) == 3, 2000);
	dies(H1);
	UNTIL(messages_at(&home[H2]) == 2, 2000);
	run_ms(100);
	ck_assert_uint_eq(messages_at(&home[H2]), 2);
	const char *rings = strstr(home[H2].got, "SIP/2.0 180 ");
	ck_assert(rings && strstr(rings, "branch=z9hG4bK2\r\n"));
	ck_assert_ptr_nonnull(strstr(home[H2].got, "SIP/2.0 486 "));
	end();
}
END_TEST

START_TEST(what_one_device_answers_was_not_for_the_others)
{
	begin();
	for (unsigned branch = 0; branch < 4; branch++)
		to_device(branch, 7, H1);
	UNTIL(messages_at(&home[H1]) == 4, 2000);
	answer(0, 7, "");
	answer(2, 7, "Via: SIP/2.0/TCP edge;branch=z9hG4bKours\r\n");
	answer(3, 7,
	       "Via: SIP/2.0/TCP a;branch=z9hG4bKa\r\nVia: SIP/2.0/TCP b;branch=z9hG4bKb\r\n");
	dies(H1);
	UNTIL(messages_at(&home[H2]) == 2, 2000);
	run_ms(100);
	ck_assert_uint_eq(messages_at(&home[H2]), 2);
	ck_assert_ptr_nonnull(strstr(home[H2].got, "branch=z9hG4bK1\r\n"));
	ck_assert_ptr_nonnull(strstr(home[H2].got, "branch=z9hG4bK3\r\n"));
	end();
}
END_TEST

START_TEST(the_last_words_of_a_dead_node_count)
{
	begin();
	for (unsigned i = 0; i < 3; i++)
		message(i, H1);
	UNTIL(messages_at(&home[H1]) == 3, 2000);
	dies(H1);
	loop_round(w->loop, 0); /* that is known, and then its answer comes by the link */
	answer(1, 1, "");
	UNTIL(messages_at(&home[H2]) == 2, 2000);
	run_ms(100);
	ck_assert_uint_eq(messages_at(&home[H2]), 2);
	ck_assert_ptr_null(strstr(home[H2].got, "branch=z9hG4bK1\r\n"));
	end();
}
END_TEST

START_TEST(what_is_new_comes_after_what_is_sent_again)
{
	begin();
	for (unsigned i = 0; i < MANY; i++)
		message(i, H1);
	run_ms(20);
	dies(H1);
	loop_round(w->loop, 5);
	message(MANY, H2);
	UNTIL(messages_at(&home[H2]) == MANY + 1, 5000);
	in_order(&home[H2], 0, MANY + 1);
	end();
}
END_TEST

START_TEST(a_full_link_is_no_dead_node_and_loses_nothing)
{
	unsigned n = 0;
	begin_with(30000, 4 << 20);
	while (!nfull && n < 20000) {
		message(n, H1);
		if (++n % 64 == 0)
			loop_round(w->loop, 0);
	}
	ck_assert_uint_eq(nfull, 1);
	for (unsigned i = 0; i < 100; i++)
		message(n++, H1);
	UNTIL(messages_at(&home[H1]) == n, 10000);
	in_order(&home[H1], 0, n);
	ck_assert_uint_eq(nfailed + w->counters.link_resent, 0);
	ck_assert_uint_eq(w->counters.link_down + w->counters.link_late, 0);
	end();
}
END_TEST

START_TEST(what_cannot_leave_in_its_time_is_counted)
{
	begin_with(750, BIG);
	lives[H1] = lives[H2] = false;
	message(0, H1);
	run_ms(100);
	lives[H2] = true;
	UNTIL(messages_at(&home[H2]) == 1, 1000);
	dies(H2);
	message(1, H1);
	UNTIL(w->counters.link_late == 2, 4000);
	run_ms(50);
	ck_assert_uint_eq(w->counters.link_resent, 0);
	end();
}
END_TEST

START_TEST(it_is_kept_longer_than_a_death_takes_to_be_found)
{
	begin_with(2000, BIG);
	message(0, H1);
	run_ms(2500);
	dies(H1);
	UNTIL(messages_at(&home[H2]) == 1, 1000);
	end();
}
END_TEST

START_TEST(what_is_kept_has_a_limit_in_bytes)
{
	begin_with(DEAD_MS, 256 << 10);
	for (unsigned i = 0; i < 1000; i++) {
		message(i, H1);
		if (i % 20 == 19) /* read, and not answered */
			UNTIL(messages_at(&home[H1]) == i + 1, 1000);
	}
	ck_assert_uint_eq(w->counters.link_kept, 1000);
	uint64_t out = w->counters.link_kept_full;
	ck_assert_uint_gt(out, 700);
	ck_assert_uint_lt(out, 850);
	dies(H1);
	UNTIL(messages_at(&home[H2]) == 1000 - out, 3000); /* the newest are there */
	in_order(&home[H2], (unsigned)out, 1000);
	end();
}
END_TEST

/* From here it would come once more, and before the INVITE of the same transaction's. */
START_TEST(what_its_transaction_sends_again_is_kept_until_it_has_left)
{
	begin();
	send_message(0, 0, H1, true);
	message(1, H1);
	UNTIL(messages_at(&home[H1]) == 2, 2000);
	dies(H1);
	UNTIL(messages_at(&home[H2]) == 1, 2000);
	in_order(&home[H2], 1, 2);
	lives[H2] = false;
	send_message(2, 2, H2, true); /* nobody lives for a moment */
	run_ms(50);
	lives[H2] = true;
	UNTIL(messages_at(&home[H2]) == 2, 2000);
	lives[H1] = true;
	home_hang_up(&home[H1]);
	dies(H2);
	UNTIL(messages_at(&home[H1]) == 3, 2000);
	run_ms(50);
	ck_assert_uint_eq(messages_at(&home[H1]), 3);
	ck_assert_ptr_null(strstr(home[H1].got, "Call-ID: 2\r\n"));
	end();
}
END_TEST

UNIT_MAIN("kept", all_that_was_kept_reaches_the_other_member,
	  a_caller_on_a_stream_hears_that_it_rings_when_his_home_dies,
	  what_a_device_said_before_its_final_response_is_not_sent_after_it,
	  what_one_device_answers_was_not_for_the_others, the_last_words_of_a_dead_node_count,
	  what_is_new_comes_after_what_is_sent_again,
	  a_full_link_is_no_dead_node_and_loses_nothing,
	  what_cannot_leave_in_its_time_is_counted,
	  it_is_kept_longer_than_a_death_takes_to_be_found, what_is_kept_has_a_limit_in_bytes,
	  what_its_transaction_sends_again_is_kept_until_it_has_left)
