/*
 * Whose a CANCEL is that matches no transaction here (cancel.c): rebuilt, handed to the other
 * member, or of no call.  What cancel.c asks of the cluster and the rest is answered here.
 */
#include "home/home_priv.h"

#include "common/app/address.h"
#include "common/proxy/rebuild.h"
#include "tests/unit/unit.h"

#include <errno.h>

enum { SELF = 1, OTHER = 2, EDGE = 3, TIMER_C_S = 185, TIMER_C_MS = TIMER_C_S * 1000 };
static const msec now = 10 * TIMER_C_MS;

static struct world {
	bool other_is_configured, other_serves, other_may_live, other_is_elder;
	uint64_t serving_since;
	bool has_record, conn_is_here, is_registered, too_much_to_take_off;
	msec address_came, other_left;
	unsigned rebuilt, handed_to;
} world;

static struct home home;
static struct sip_msg msg;
static struct proxy_request request;
static struct app_request q;

/* ---- what cancel.c asks ---- */

unsigned cluster_self(const struct cluster *c)
{
	(void)c;
	return SELF;
}

int cluster_partner(const struct cluster *c, unsigned node)
{
	(void)c;
	ck_assert_uint_eq(node, SELF);
	return world.other_is_configured ? OTHER : -1;
}

bool cluster_serving(const struct cluster *c, unsigned node)
{
	(void)c;
	ck_assert_uint_eq(node, OTHER);
	return world.other_serves;
}

int cluster_member(struct cluster *c, struct span pair, int prefer)
{
	(void)c;
	(void)pair;
	ck_assert_int_eq(prefer, -1);
	return world.other_is_elder ? OTHER : SELF;
}

uint64_t cluster_serving_since(const struct cluster *c, unsigned node)
{
	(void)c;
	ck_assert_uint_eq(node, SELF);
	return world.serving_since;
}

msec cluster_left_at(const struct cluster *c, unsigned node)
{
	(void)c;
	ck_assert_uint_eq(node, OTHER);
	return world.other_left;
}

bool home_of_our_pair(const struct home *h, uint16_t node)
{
	(void)h;
	return node == SELF + 1 || node == OTHER + 1;
}

int app_conn_here(const struct app *a, const struct sip_flow *f, uint64_t boot,
		  uint64_t *ret_id)
{
	(void)a;
	(void)boot;
	*ret_id = f->conn;
	return world.conn_is_here ? 0 : -1;
}

int phones_moved(struct phones *p, uint64_t id, struct sip_flow *ret)
{
	(void)p;
	*ret = (struct sip_flow){.conn = id};
	return world.is_registered ? 0 : -1;
}

bool app_may_live(const struct app *a, unsigned node)
{
	(void)a;
	ck_assert_uint_eq(node, OTHER);
	return world.other_may_live;
}

bool app_address_came(const struct app *a, unsigned listener, msec since)
{
	(void)a;
	ck_assert_uint_eq(listener, q.r->src.listener);
	return world.address_came && world.address_came >= since;
}

struct proxy *stack_proxy(struct stack *s)
{
	(void)s;
	return NULL;
}

uint64_t proxy_request_key(const struct proxy *p, const struct proxy_request *r)
{
	(void)p;
	(void)r;
	return 7;
}

bool home_adopt_for(struct home *h, struct app_worker *w, uint64_t key,
		    const struct sip_msg *why, msec at)
{
	(void)h;
	(void)w;
	(void)why;
	(void)at;
	ck_assert_uint_eq(key, 7);
	return world.has_record;
}

enum stack_found home_rebuild_cancel(struct home *h, struct app_worker *w,
				     const struct app_request *r, msec at)
{
	(void)h;
	(void)w;
	(void)r;
	(void)at;
	world.rebuilt++;
	return STACK_DONE;
}

int app_hand_to_node(struct app_worker *w, const struct sip_msg *m, const struct sip_flow *src,
		     unsigned node)
{
	(void)w;
	ck_assert_ptr_eq(m, &msg);
	ck_assert_ptr_eq(src, &request.src);
	if (world.too_much_to_take_off)
		return -EOVERFLOW;
	world.handed_to = node;
	return 0;
}

/* ---- the world without a fault ---- */

static void quiet(void)
{
	world = (struct world){.other_is_configured = true,
			       .other_serves = true,
			       .serving_since = time_wall_ms() - 2 * TIMER_C_MS};
	home = (struct home){.pair = "h1", .boot = 1};
	request = (struct proxy_request){.msg = &msg, .src = {.transport = SIP_TRANSPORT_UDP}};
	q = (struct app_request){.r = &request};
}

static void from_edge(void)
{
	quiet();
	request.src = (struct sip_flow){.transport = SIP_TRANSPORT_TCP, .node = EDGE + 1};
}

enum { ADOPTED = 1, REBUILT, HANDED, UNKNOWN };

static int outcome(void)
{
	static struct conf conf = {.timers.timer_c_s = TIMER_C_S};
	struct app_worker w = {.conf = &conf};
	world.rebuilt = world.handed_to = 0;
	enum stack_found r = home_cancel_unknown(&home, &w, &q, now);
	ck_assert_uint_eq(world.rebuilt + (world.handed_to != 0), r == STACK_DONE);
	if (r == STACK_AGAIN)
		return ADOPTED;
	if (r == STACK_UNKNOWN)
		return UNKNOWN;
	if (world.rebuilt)
		return REBUILT;
	ck_assert_uint_eq(world.handed_to, OTHER);
	return HANDED;
}

START_TEST(a_call_that_has_a_record_is_adopted)
{
	from_edge();
	world.has_record = true;
	ck_assert_int_eq(outcome(), ADOPTED);
	request.src.handed = true;
	ck_assert_int_eq(outcome(), ADOPTED);
	quiet();
	world.has_record = true;
	ck_assert_int_eq(outcome(), ADOPTED);
}
END_TEST

START_TEST(while_both_serve_what_an_edge_sends_is_handed_to_the_other_once)
{
	from_edge();
	ck_assert_int_eq(outcome(), HANDED);
	ck_assert_uint_eq(home.counters.cancels_handed, 1);
	/* That one has it from us: */
	request.src.handed = true;
	world.other_is_elder = true;
	ck_assert_int_eq(outcome(), UNKNOWN);
	ck_assert_uint_eq(home.counters.cancels_unknown, 1);
	request.src = (struct sip_flow){.node = OTHER + 1};
	ck_assert_int_eq(outcome(), UNKNOWN);
}
END_TEST

START_TEST(what_cannot_be_handed_on_is_of_no_call)
{
	from_edge();
	world.too_much_to_take_off = true;
	ck_assert_int_eq(outcome(), UNKNOWN);
	ck_assert_uint_eq(home.counters.cancels_handed, 0);
	ck_assert_uint_eq(home.counters.cancels_unknown, 1);
}
END_TEST

START_TEST(who_does_not_serve_has_left_its_calls)
{
	from_edge();
	world.other_serves = false;
	ck_assert_int_eq(outcome(), REBUILT);
	request.src.handed = true; /* it has handed it on, and died */
	ck_assert_int_eq(outcome(), REBUILT);
	quiet();
	world.other_serves = false;
	ck_assert_int_eq(outcome(), REBUILT);
}
END_TEST

/* We stood still: it has gone on with what our record of the call says. */
START_TEST(who_seems_dead_since_we_stood_still_has_the_call)
{
	quiet();
	world.other_serves = false;
	world.other_may_live = true;
	world.has_record = true;
	ck_assert_int_eq(outcome(), HANDED);
	request.src.handed = true; /* it knows that we are back */
	ck_assert_int_eq(outcome(), ADOPTED);
}
END_TEST

START_TEST(who_left_and_is_back_has_left_its_calls_for_as_long_as_timer_c)
{
	from_edge();
	world.other_left = now - TIMER_C_MS + 1;
	ck_assert_int_eq(outcome(), REBUILT);
	world.other_left = now - TIMER_C_MS;
	ck_assert_int_eq(outcome(), HANDED);
	quiet();
	world.other_left = now - 1;
	ck_assert_int_eq(outcome(), REBUILT);
}
END_TEST

START_TEST(an_edge_that_comes_to_the_younger_one_does_not_reach_the_elder)
{
	from_edge();
	world.other_is_elder = true;
	ck_assert_int_eq(outcome(), REBUILT);
}
END_TEST

START_TEST(a_datagram_straight_to_us_is_of_no_call)
{
	quiet();
	ck_assert_int_eq(outcome(), UNKNOWN);
	q.marks = APP_MARK_INSIDER; /* an address is easily forged */
	ck_assert_int_eq(outcome(), UNKNOWN);
}
END_TEST

START_TEST(a_datagram_to_an_address_that_has_just_come_here_is_of_a_call)
{
	quiet();
	world.address_came = now - TIMER_C_MS;
	ck_assert_int_eq(outcome(), REBUILT);
	world.address_came--;
	ck_assert_int_eq(outcome(), UNKNOWN);
}
END_TEST

START_TEST(a_datagram_to_who_has_come_after_the_other_is_of_a_call_of_before)
{
	quiet();
	world.other_is_elder = true;
	ck_assert_int_eq(outcome(), UNKNOWN);
	world.serving_since = time_wall_ms() - 1000;
	ck_assert_int_eq(outcome(), REBUILT);
	world.other_is_elder = false; /* both have just begun */
	ck_assert_int_eq(outcome(), UNKNOWN);
}
END_TEST

START_TEST(a_caller_on_a_stream_has_moved_here_if_we_know_him)
{
	quiet();
	request.src = (struct sip_flow){.transport = SIP_TRANSPORT_TCP, .conn = 4};
	ck_assert_int_eq(outcome(), UNKNOWN);
	world.conn_is_here = true;
	ck_assert_int_eq(outcome(), UNKNOWN);
	world.is_registered = true;
	ck_assert_int_eq(outcome(), REBUILT);
	world.conn_is_here = world.is_registered = false;
	q.marks = APP_MARK_INSIDER;
	ck_assert_int_eq(outcome(), REBUILT);
}
END_TEST

START_TEST(a_home_without_another_member_has_calls_of_its_time_before)
{
	from_edge();
	world.other_is_configured = world.other_serves = false;
	ck_assert_int_eq(outcome(), UNKNOWN);
	world.serving_since = time_wall_ms() - 1000;
	ck_assert_int_eq(outcome(), REBUILT);
	world.serving_since = 0; /* it does not serve yet */
	ck_assert_int_eq(outcome(), REBUILT);
}
END_TEST

UNIT_MAIN("home cancel", a_call_that_has_a_record_is_adopted,
	  what_cannot_be_handed_on_is_of_no_call,
	  while_both_serve_what_an_edge_sends_is_handed_to_the_other_once,
	  who_does_not_serve_has_left_its_calls,
	  who_seems_dead_since_we_stood_still_has_the_call,
	  who_left_and_is_back_has_left_its_calls_for_as_long_as_timer_c,
	  an_edge_that_comes_to_the_younger_one_does_not_reach_the_elder,
	  a_datagram_straight_to_us_is_of_no_call,
	  a_datagram_to_an_address_that_has_just_come_here_is_of_a_call,
	  a_datagram_to_who_has_come_after_the_other_is_of_a_call_of_before,
	  a_caller_on_a_stream_has_moved_here_if_we_know_him,
	  a_home_without_another_member_has_calls_of_its_time_before)
