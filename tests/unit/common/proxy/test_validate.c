/*
 * proxy_validate: RFC 3261 16.3 and 16.4, RFC 5393, as a role sees it.
 */
#include "tests/unit/common/proxy/world.h"

static char buf[16384];
static struct sip_hdr hdr[SIP_HDR_MAX];
static struct sip_msg msg;
static struct proxy_request req;
static struct proxy_fault fault;
static struct world *w;
static const char *to = "<sip:bob@example.com>";

#define REST                                                  \
	"Via: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKa1\r\n" \
	"From: <sip:alice@example.org>;tag=a\r\n"             \
	"Call-ID: c1\r\n"

/* start: up to the version; more: lines. */
static int validate(const char *method, const char *uri, const char *more)
{
	struct sip_fault f;
	struct sip_via top;
	struct sip_flow src = world_flow("udp:10.0.0.1:5060", 0);
	int n = snprintf(buf, sizeof(buf),
			 "%s %s SIP/2.0\r\n" REST "To: %s\r\nCSeq: 1 %s\r\n%s\r\n", method, uri,
			 to, method, more);
	msg = (struct sip_msg){.hdr = hdr};
	ck_assert_int_eq(
		sip_msg_index(&msg, span_of(buf, (size_t)n), false, &sip_limits_default, &f),
		0);
	ck_assert_int_eq(sip_msg_top_via(&msg, &top), 0);
	memset(&req, 0x5a, sizeof(req)); /* nothing is left as it was */
	return proxy_validate(w->p, &msg, &top, &src, &req, &fault);
}

static void start(void)
{
	w = world_new();
	world_start(w);
}

static void end(void)
{
	world_free(w);
}

static bool is(struct span s, const char *text)
{
	return span_eq(s, span_str(text));
}

START_TEST(a_plain_request_passes_as_it_is)
{
	start();
	ck_assert_int_eq(validate("INVITE", "sip:bob@example.com", "Max-Forwards: 12\r\n"), 0);
	ck_assert(is(req.uri_text, "sip:bob@example.com"));
	ck_assert(is(req.uri.user, "bob"));
	ck_assert(!req.has_route && !req.undo_strict && !req.from_dialog_route);
	ck_assert_uint_eq(req.own_routes, 0);
	ck_assert_ptr_null(req.route_user.p);
	ck_assert_uint_eq(req.max_forwards, 12);
	ck_assert_uint_eq(req.max_breadth, 60);
	end();
}
END_TEST

START_TEST(tel_is_left_to_the_role_and_other_schemes_are_416)
{
	start();
	ck_assert_int_eq(validate("INVITE", "tel:+15551234", ""), 0);
	ck_assert_int_eq(req.uri.scheme, SIP_SCHEME_TEL);
	ck_assert_int_eq(validate("INVITE", "mailto:bob@example.com", ""), -EBADMSG);
	ck_assert_uint_eq(fault.status, 416);
	ck_assert_int_eq(validate("INVITE", "sip:bob@exa@mple.com", ""), -EBADMSG);
	ck_assert_uint_eq(fault.status, 400);
	end();
}
END_TEST

START_TEST(max_forwards_0_is_483_unless_the_request_is_for_this_server)
{
	start();
	ck_assert_int_eq(validate("OPTIONS", "sip:bob@example.com", "Max-Forwards: 0\r\n"),
			 -EBADMSG);
	ck_assert_uint_eq(fault.status, 483);
	ck_assert_int_eq(validate("REGISTER", "sip:example.com", "Max-Forwards: 0\r\n"), 0);
	ck_assert_int_eq(validate("REGISTER", "sip:example.org", "Max-Forwards: 0\r\n"),
			 -EBADMSG);
	ck_assert_int_eq(validate("REGISTER", "sip:example.com",
				  "Max-Forwards: 0\r\nRoute: <sip:10.0.0.9;lr>\r\n"),
			 -EBADMSG);
	end();
}
END_TEST

START_TEST(a_request_that_may_go_no_further_is_not_forwarded_by_any_way)
{
	start();
	ck_assert_int_eq(validate("REGISTER", "sip:example.com", "Max-Forwards: 0\r\n"), 0);
	ck_assert_int_eq(proxy_forward_stateless(w->p, &req, NULL, NULL, w->now), -EPERM);
	ck_assert_uint_eq(w->nsent, 0);
	ck_assert_int_eq(proxy_forward(w->p, &req, NULL, 0, NULL, w->now), 0);
	ck_assert_uint_eq(w->nsent, 1);
	ck_assert_int_eq(strncmp(w->sent[0].text, "SIP/2.0 483 ", 12), 0);
	end();
}
END_TEST

START_TEST(bad_numbers_are_400)
{
	start();
	ck_assert_int_eq(validate("INVITE", "sip:b@example.com", "Max-Forwards: 7x\r\n"),
			 -EBADMSG);
	ck_assert_uint_eq(fault.status, 400);
	ck_assert_int_eq(validate("INVITE", "sip:b@example.com", "Max-Breadth: -1\r\n"),
			 -EBADMSG);
	ck_assert_uint_eq(fault.status, 400);
	end();
}
END_TEST

START_TEST(max_breadth_is_never_more_than_configured)
{
	start();
	ck_assert_int_eq(validate("INVITE", "sip:b@example.com", "Max-Breadth: 7\r\n"), 0);
	ck_assert_uint_eq(req.max_breadth, 7);
	ck_assert_int_eq(validate("INVITE", "sip:b@example.com", "Max-Breadth: 4000\r\n"), 0);
	ck_assert_uint_eq(req.max_breadth, 60);
	ck_assert_int_eq(
		validate("INVITE", "sip:b@example.com", "Max-Breadth: 99999999999\r\n"), 0);
	ck_assert_uint_eq(req.max_breadth, 60);
	end();
}
END_TEST

START_TEST(every_option_of_proxy_require_is_told)
{
	start();
	ck_assert_int_eq(validate("INVITE", "sip:b@example.com", "Proxy-Require: a, b\r\n"),
			 -EBADMSG);
	ck_assert_uint_eq(fault.status, 420);
	ck_assert(is(fault.lines, "Unsupported: a, b\r\n"));
	ck_assert_int_eq(validate("ACK", "sip:b@example.com", "Proxy-Require: a\r\n"), 0);
	end();
}
END_TEST

START_TEST(a_token_in_our_own_route_is_handed_to_the_role)
{
	start();
	ck_assert_int_eq(validate("INVITE", "sip:b@example.com",
				  "Route: <sip:tok1@192.0.2.1;lr>, <sip:tok2@192.0.2.1;lr>\r\n"
				  "Route: \"x,y\" <sip:10.0.0.7;lr>;p=\"a,b\"\r\n"),
			 0);
	ck_assert_uint_eq(req.own_routes, 2);
	ck_assert(is(req.route_user, "tok2"));
	ck_assert(!req.user_of_dialog && !req.forged_token);
	ck_assert(req.has_route);
	ck_assert(is(req.route_uri.host, "10.0.0.7"));
	ck_assert(!req.from_dialog_route);
	end();
}
END_TEST

/* The user and ev of the nth Record-Route that was sent. */
static void written(unsigned nth, char user[32], char ev[17])
{
	const char *rr = w->sent[0].text;
	for (unsigned i = 0; i <= nth; i++)
		ck_assert_ptr_nonnull(rr = strstr(rr + 1, "Record-Route: <sip:"));
	ck_assert_int_eq(sscanf(rr, "Record-Route: <sip:%31[^@]@%*[^>]", user), 1);
	memcpy(ev, strstr(rr, ";ev=") + 4, 16);
	ev[16] = 0;
}

static const char *route(const char *user, const char *ev)
{
	static char more[2][256], n;
	n = !n;
	snprintf(more[(int)n], sizeof(more[0]), "Route: <sip:%s@192.0.2.1;lr;ev=%s>\r\n", user,
		 ev);
	return more[(int)n];
}

static int validate_in_dialog(const char *more)
{
	to = "<sip:bob@example.com>;tag=b";
	int rc = validate("BYE", "sip:bob@10.0.0.2", more);
	to = "<sip:bob@example.com>";
	return rc;
}

START_TEST(a_token_counts_only_in_the_dialog_that_it_was_written_for)
{
	struct proxy_target t = {.record_user = SPAN("tokb")};
	struct proxy_opts opts = {.record_user = SPAN("toka")};
	char user[2][32], ev[2][17], both[512];
	start();
	ck_assert_int_eq(validate("INVITE", "sip:bob@10.0.0.2", ""), 0);
	t.uri = req.uri_text;
	ck_assert_int_eq(proxy_forward(w->p, &req, &t, 1, &opts, w->now), 0);
	written(0, user[0], ev[0]);
	written(1, user[1], ev[1]);
	ck_assert_str_eq(user[0], "tokb");
	ck_assert_str_eq(user[1], "toka");

	ck_assert_int_eq(validate_in_dialog(route("tokb", ev[0])), 0);
	ck_assert(req.from_dialog_route && req.user_of_dialog && !req.forged_token);
	ck_assert(is(req.route_user, "tokb"));

	ck_assert_int_eq(validate_in_dialog(route("tokc", ev[0])), 0);
	ck_assert(!req.from_dialog_route && !req.user_of_dialog && req.forged_token);
	ck_assert_int_eq(validate_in_dialog(route("toka", ev[0])), 0);
	ck_assert(!req.from_dialog_route && req.forged_token);

	snprintf(both, sizeof(both), "%s%s", route("toka", ev[1]), route("tokc", ev[1]));
	ck_assert_int_eq(validate_in_dialog(both), 0);
	ck_assert(req.from_dialog_route && !req.user_of_dialog && req.forged_token);
	end();
}
END_TEST

START_TEST(only_a_good_mac_makes_a_dialog_route)
{
	char more[256], ev[17] = "";
	start();
	ck_assert_int_eq(validate("INVITE", "sip:bob@10.0.0.2", ""), 0);
	ck_assert_int_eq(proxy_forward(w->p, &req, NULL, 0, NULL, w->now), 0);
	const char *rr = strstr(w->sent[0].text, ";ev=");
	ck_assert_ptr_nonnull(rr);
	memcpy(ev, rr + 4, 16);
	snprintf(more, sizeof(more), "Route: <sip:192.0.2.1;lr;ev=%s>\r\n", ev);
	ck_assert_int_eq(validate("INVITE", "sip:bob@10.0.0.2", more), 0);
	ck_assert(!req.from_dialog_route); /* without a To tag it is in no dialog */
	to = "<sip:bob@example.com>;tag=b";
	ck_assert_int_eq(validate("BYE", "sip:bob@10.0.0.2", more), 0);
	ck_assert(req.from_dialog_route);
	snprintf(more, sizeof(more), "Route: <sip:10.9.9.9;lr;ev=%s>\r\n", ev);
	ck_assert_int_eq(validate("BYE", "sip:bob@10.0.0.2", more), 0);
	ck_assert(!req.from_dialog_route); /* not ours: its parameter says nothing */
	ev[3] = ev[3] == '0' ? '1' : '0';
	snprintf(more, sizeof(more), "Route: <sip:192.0.2.1;lr;ev=%s>\r\n", ev);
	ck_assert_int_eq(validate("BYE", "sip:bob@10.0.0.2", more), 0);
	ck_assert(!req.from_dialog_route);
	ck_assert_uint_eq(req.own_routes, 1);
	to = "<sip:bob@example.com>";
	end();
}
END_TEST

START_TEST(a_request_uri_of_ours_without_a_good_mac_is_no_strict_route)
{
	start();
	ck_assert_int_eq(validate("INVITE", "sip:192.0.2.1;lr;ev=0123456789abcdef",
				  "Route: <sip:victim@10.0.0.9>\r\n"),
			 0);
	ck_assert(!req.undo_strict);
	ck_assert(is(req.uri_text, "sip:192.0.2.1;lr;ev=0123456789abcdef"));
	end();
}
END_TEST

START_TEST(a_bad_route_is_400)
{
	start();
	ck_assert_int_eq(validate("INVITE", "sip:b@example.com", "Route: <sip:>\r\n"),
			 -EBADMSG);
	ck_assert_uint_eq(fault.status, 400);
	end();
}
END_TEST

START_TEST(maddr_of_somebody_else_stays)
{
	start();
	ck_assert_int_eq(validate("INVITE", "sip:b@example.net;maddr=10.0.0.9", ""), 0);
	ck_assert(is(req.uri_text, "sip:b@example.net;maddr=10.0.0.9"));
	ck_assert_int_eq(validate("INVITE", "sips:b:pw@[2001:db8::1]:5061;maddr=192.0.2.1", ""),
			 0);
	ck_assert(is(req.uri_text, "sips:b:pw@[2001:db8::1]"));
	ck_assert(req.uri.host_is_ipv6);
	end();
}
END_TEST

START_TEST(a_full_arena_is_500_and_nothing_worse)
{
	start();
	while (arena_alloc(&w->arena, 4096))
		;
	while (arena_alloc(&w->arena, 16))
		;
	ck_assert_int_eq(validate("INVITE", "sip:b@example.net;maddr=192.0.2.1", ""), -EBADMSG);
	ck_assert_uint_eq(fault.status, 500);
	arena_reset(&w->arena);
	end();
}
END_TEST

UNIT_MAIN("proxy validate", a_plain_request_passes_as_it_is,
	  tel_is_left_to_the_role_and_other_schemes_are_416,
	  max_forwards_0_is_483_unless_the_request_is_for_this_server,
	  a_request_that_may_go_no_further_is_not_forwarded_by_any_way, bad_numbers_are_400,
	  max_breadth_is_never_more_than_configured, every_option_of_proxy_require_is_told,
	  a_token_in_our_own_route_is_handed_to_the_role,
	  a_token_counts_only_in_the_dialog_that_it_was_written_for,
	  only_a_good_mac_makes_a_dialog_route,
	  a_request_uri_of_ours_without_a_good_mac_is_no_strict_route, a_bad_route_is_400,
	  maddr_of_somebody_else_stays, a_full_arena_is_500_and_nothing_worse)
