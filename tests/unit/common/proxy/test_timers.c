/*
 * Many timers of one round share one arena: what a call-back takes it gives back, so the last
 * of them has as much room as the first.
 */
#include "tests/unit/common/proxy/world.h"

enum { CALLS = 20, ARENA_BYTES = 8192 };

static struct world *small_world(void)
{
	struct world *w = world_new();
	arena_done(&w->arena);
	must(arena_init(&w->arena, ARENA_BYTES) == 0);
	return w;
}

static void request(struct world *w, const char *method, unsigned n)
{
	char text[1024];
	struct sip_flow src = world_flow("udp:10.0.0.1:5060", 0);
	snprintf(text, sizeof(text),
		 "%s sip:bob@example.com SIP/2.0\r\n"
		 "Via: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKr%u\r\n"
		 "From: <sip:a@example.org>;tag=a\r\nTo: <sip:bob@example.com>\r\n"
		 "Call-ID: c%u\r\nCSeq: 1 %s\r\nMax-Forwards: 70\r\n"
		 "Content-Length: 0\r\n\r\n",
		 method, n, n, method);
	world_recv(w, text, &src);
}

/* Everything that was due while the clock stood still. */
static void wake_late(struct world *w, msec ms)
{
	w->now += ms;
	wheel_advance(&w->wheel, w->now);
	ck_assert_uint_eq(w->arena.used_bytes, 0);
	ck_assert(!w->arena.overflow);
}

/* The device at 10.0.0.4 wants credentials: what is gathered when the other one has timed out.
 */
static void challenge(struct world *w, unsigned n)
{
	char text[2048], nonce[601];
	struct sip_flow src = world_flow("tcp:10.0.0.4:5060", 1);
	const char *via = strstr(w->sent[n].text, "Via: ");
	memset(nonce, 'n', sizeof(nonce) - 1);
	nonce[sizeof(nonce) - 1] = '\0';
	snprintf(text, sizeof(text),
		 "SIP/2.0 407 Who\r\n%.*s\r\nVia: SIP/2.0/UDP "
		 "10.0.0.1:5060;branch=z9hG4bKr%u\r\n"
		 "From: <sip:a@example.org>;tag=a\r\nTo: <sip:bob@example.com>;tag=b\r\n"
		 "Call-ID: c%u\r\nCSeq: 1 MESSAGE\r\n"
		 "Proxy-Authenticate: Digest realm=\"r\", nonce=\"%s\"\r\n"
		 "Content-Length: 0\r\n\r\n",
		 (int)strcspn(via, "\r"), via, n / 3, n / 3, nonce);
	world_recv(w, text, &src);
}

START_TEST(every_answer_is_built_whose_time_out_comes_in_one_round)
{
	struct world *w = small_world();
	static const char *const uri[] = {"sip:b@10.0.0.4;transport=tcp",
					  "sip:c@10.0.0.4;transport=tcp",
					  "sip:b@10.0.0.5;transport=tcp"};
	for (unsigned i = 0; i < 3; i++)
		w->targets[w->ntargets++] =
			(struct proxy_target){.uri = span_str(uri[i]), .q = 1000};
	for (unsigned i = 0; i < CALLS; i++)
		request(w, "MESSAGE", i);
	ck_assert_uint_eq(w->nsent, 3 * CALLS);
	for (unsigned i = 0; i < 3 * CALLS; i++)
		if (i % 3 != 2)
			challenge(w, i);
	ck_assert_uint_eq(w->done, 0);
	wake_late(w, 33 * 1000);
	ck_assert_uint_eq(w->done, CALLS);
	for (unsigned i = 3 * CALLS; i < w->nsent; i++)
		ck_assert_ptr_nonnull(strstr(strstr(w->sent[i].text, "nonce") + 1, "nonce"));
	ck_assert_uint_eq(w->nsent, 4 * CALLS);
	world_free(w);
}
END_TEST

UNIT_MAIN("common/proxy timers", every_answer_is_built_whose_time_out_comes_in_one_round)
