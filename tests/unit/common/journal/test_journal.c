/*
 * A fork's record to bytes and back: nothing is lost but what is the writer's own, damage is
 * refused, deadlines are wall clock.
 */
#include "common/journal/journal.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdlib.h>

static struct arena arena;
static struct proxy_fork_branch v[3];

static struct sip_flow flow(enum sip_transport t, const char *host, uint16_t port)
{
	struct sip_flow f = {.transport = t, .listener = 3, .worker = 5, .conn = 77, .name = 9};
	ck_assert_int_eq(addr_parse(&f.remote, span_str(host), port), 0);
	return f;
}

static struct proxy_fork sample(void)
{
	struct proxy_fork f = {
		.key = 0x0123456789abcdef,
		.request = SPAN("INVITE sip:b@example.com SIP/2.0\r\n..."),
		.src = flow(SIP_TRANSPORT_TLS, "2001:db8::1", 5061),
		.lines = SPAN("P-Asserted-Identity: <sip:a@example.com>\r\nX: y\r\n"),
		.record_user = SPAN("token"),
		.path = SPAN("<sip:x@y;lr>"),
		.via_flow = SPAN("abc"),
		.strip = 1ull << 40,
		.strip_responses = 5,
		.no_record_route = true,
		.cancelled = true,
		.cancel_lines = SPAN("Reason: SIP;cause=200\r\n"),
		.best = SPAN("SIP/2.0 486 Busy\r\n..."),
		.best_status = 486,
		.final = 200,
		.serial_ms = 20000,
		.n = 3,
		.v = v,
	};
	v[0] = (struct proxy_fork_branch){
		.uri = SPAN("sip:b@10.0.0.2"),
		.route = SPAN("<sip:10.0.0.9;lr>"),
		.record_user = SPAN("r"),
		.branch = SPAN("z9hG4bKev"),
		.response = SPAN("SIP/2.0 200 OK\r\n"),
		.challenge = SPAN("SIP/2.0 401 Who\r\n"),
		.tag = 7,
		.flow = flow(SIP_TRANSPORT_UDP, "10.0.0.2", 5070),
		.attempt = 256,
		.breadth = 20,
		.timer_c_ms = 185000,
		.q = 500,
		.state = PROXY_FORK_CALLING,
		.has_flow = true,
		.strict = true,
		.cancelled = true,
	};
	v[1] = (struct proxy_fork_branch){.uri = SPAN("sip:c"), .state = PROXY_FORK_WAITING};
	v[2] = (struct proxy_fork_branch){.uri = SPAN("sip:d"), .state = PROXY_FORK_DONE};
	v[2].flow = (struct sip_flow){
		.transport = SIP_TRANSPORT_TCP, .node = 4, .leg = SIP_TRANSPORT_UDP};
	f.src.node = 2;
	f.src.leg = SIP_TRANSPORT_TCP;
	return f;
}

static void setup(void)
{
	ck_assert_int_eq(arena_init(&arena, 65536), 0);
}

static struct proxy_fork there_and_back(const struct proxy_fork *f, uint64_t wall,
					uint64_t later)
{
	struct proxy_fork g;
	struct bytes *b = journal_pack(f, wall);
	ck_assert_ptr_nonnull(b);
	ck_assert_int_eq(journal_unpack(bytes_span(b), later, &arena, &g), 0);
	bytes_unref(b); /* nothing points into it */
	return g;
}

#define same(a, b) ck_assert(span_eq(a, b))

static void same_flow(const struct sip_flow *a, const struct sip_flow *b)
{
	ck_assert_int_eq(a->transport, b->transport);
	ck_assert_uint_eq(a->listener, b->listener);
	ck_assert_uint_eq(a->node, b->node);
	ck_assert_int_eq(a->leg, b->leg);
	ck_assert_mem_eq(&a->remote, &b->remote, sizeof(a->remote));
	ck_assert_uint_eq(b->conn, 0); /* the writer's own */
	ck_assert_uint_eq(b->worker, 0);
	ck_assert_uint_eq(b->name, 0);
}

static void same_branch(const struct proxy_fork_branch *a, const struct proxy_fork_branch *b)
{
	same(a->uri, b->uri);
	same(a->route, b->route);
	same(a->record_user, b->record_user);
	same(a->branch, b->branch);
	same(a->response, b->response);
	same(a->challenge, b->challenge);
	ck_assert_uint_eq(a->tag, b->tag);
	ck_assert_uint_eq(a->attempt, b->attempt);
	ck_assert_uint_eq(a->breadth, b->breadth);
	ck_assert_uint_eq(a->timer_c_ms, b->timer_c_ms);
	ck_assert_uint_eq(a->q, b->q);
	ck_assert_uint_eq(a->state, b->state);
	ck_assert(a->has_flow == b->has_flow && a->strict == b->strict &&
		  a->cancelled == b->cancelled);
	same_flow(&a->flow, &b->flow);
}

START_TEST(a_fork_comes_back_as_it_was)
{
	setup();
	struct proxy_fork f = sample(), g = there_and_back(&f, 1000000, 1000000);
	ck_assert_uint_eq(f.key, g.key);
	same(f.request, g.request);
	same_flow(&f.src, &g.src);
	same(f.lines, g.lines);
	same(f.record_user, g.record_user);
	same(f.path, g.path);
	same(f.via_flow, g.via_flow);
	same(f.cancel_lines, g.cancel_lines);
	same(f.best, g.best);
	ck_assert_uint_eq(f.strip, g.strip);
	ck_assert_uint_eq(f.strip_responses, g.strip_responses);
	ck_assert(f.no_record_route == g.no_record_route && f.cancelled == g.cancelled &&
		  f.partial == g.partial);
	ck_assert_uint_eq(f.best_status, g.best_status);
	ck_assert_uint_eq(f.final, g.final);
	ck_assert_uint_eq(f.serial_ms, g.serial_ms);
	ck_assert_uint_eq(g.n, 3);
	for (unsigned i = 0; i < 3; i++)
		same_branch(&v[i], &g.v[i]);
	arena_done(&arena);
}
END_TEST

START_TEST(deadlines_are_the_same_for_a_reader_later)
{
	setup();
	struct proxy_fork f = sample(), g = there_and_back(&f, 1000000, 1005000);
	ck_assert_uint_eq(g.serial_ms, 15000);
	ck_assert_uint_eq(g.v[0].timer_c_ms, 180000);
	ck_assert_uint_eq(g.v[1].timer_c_ms, 0); /* does not run */
	g = there_and_back(&f, 1000000, 9000000);
	ck_assert_uint_eq(g.serial_ms, 1); /* at once */
	ck_assert_uint_eq(g.v[0].timer_c_ms, 1);
	g = there_and_back(&f, 1000000, 0); /* a clock that is wrong */
	ck_assert_uint_le(g.serial_ms, 24 * 3600 * 1000);
	arena_done(&arena);
}
END_TEST

static int unpack_of(const struct proxy_fork *f)
{
	struct proxy_fork g;
	struct bytes *b = journal_pack(f, 1000);
	ck_assert_ptr_nonnull(b);
	int rc = journal_unpack(bytes_span(b), 1000, &arena, &g);
	bytes_unref(b);
	return rc;
}

START_TEST(what_makes_no_sense_is_refused)
{
	setup();
	struct proxy_fork f = sample();
	ck_assert_int_eq(unpack_of(&f), 0);
#define REFUSED(what)                                      \
	do {                                               \
		f = sample();                              \
		what;                                      \
		ck_assert_int_eq(unpack_of(&f), -EBADMSG); \
	} while (0)
	REFUSED(f.lines = SPAN("no end"));
	REFUSED(f.lines = SPAN("X: y\r\n\r\n"));
	REFUSED(f.cancel_lines = SPAN("X: \n\r\n"));
	REFUSED(f.record_user = SPAN("a\r\nb"));
	REFUSED(f.path = SPAN("a\nb"));
	REFUSED(f.via_flow = SPAN("a\001"));
	REFUSED(f.best_status = 700);
	REFUSED(f.final = 486);
	REFUSED(f.src.transport = SIP_TRANSPORT_NONE);
	REFUSED(f.src.leg = 99);
	REFUSED(v[0].uri = SPAN("sip:a\r\nX: y"));
	REFUSED(v[0].uri = SPAN(""));
	REFUSED(v[0].route = SPAN("<a>\r\n"));
	REFUSED(v[0].record_user = SPAN("\177"));
	REFUSED(v[0].branch = SPAN("\r"));
	REFUSED(v[0].state = PROXY_FORK_DONE + 1);
	REFUSED(v[0].q = 1001);
	REFUSED(v[1].has_flow = true);
	arena_done(&arena);
}
END_TEST

START_TEST(too_many_branches_are_refused)
{
	static struct proxy_fork_branch many[300];
	ck_assert_int_eq(arena_init(&arena, 1 << 20), 0);
	struct proxy_fork f = sample();
	f.v = many;
	for (unsigned i = 0; i < 300; i++)
		many[i].uri = SPAN("sip:x");
	f.n = 257;
	ck_assert_int_eq(unpack_of(&f), -EBADMSG);
	arena_reset(&arena);
	f.n = 256;
	ck_assert_int_eq(unpack_of(&f), 0);
	arena_done(&arena);
}
END_TEST

START_TEST(a_small_arena_is_out_of_memory_and_no_damage)
{
	ck_assert_int_eq(arena_init(&arena, 4096), 0);
	struct proxy_fork f = sample();
	char big[4096];
	memset(big, 'x', sizeof(big));
	f.request = span_of(big, sizeof(big));
	ck_assert_int_eq(unpack_of(&f), -ENOMEM);
	arena_done(&arena);
}
END_TEST

/* Any byte changed, any end cut off: refused or read, never outside of it. */
START_TEST(damage_is_survived)
{
	setup();
	struct proxy_fork f = sample(), g;
	struct bytes *b = journal_pack(&f, 1000);
	unsigned refused = 0;
	for (size_t i = 0; i < b->n; i++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			char *copy = malloc(b->n);
			memcpy(copy, b->p, b->n);
			copy[i] ^= (char)(1 << bit);
			arena_reset(&arena);
			refused += journal_unpack(span_of(copy, b->n), 1000, &arena, &g) != 0;
			free(copy);
		}
		char *cut = malloc(i + 1);
		memcpy(cut, b->p, i);
		arena_reset(&arena);
		refused += journal_unpack(span_of(cut, i), 1000, &arena, &g) != 0;
		free(cut);
	}
	ck_assert_uint_gt(refused, b->n);
	bytes_unref(b);
	arena_done(&arena);
}
END_TEST

UNIT_MAIN("journal", a_fork_comes_back_as_it_was, deadlines_are_the_same_for_a_reader_later,
	  what_makes_no_sense_is_refused, too_many_branches_are_refused,
	  a_small_arena_is_out_of_memory_and_no_damage, damage_is_survived)
