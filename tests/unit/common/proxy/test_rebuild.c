/*
 * What cannot be said in a replay of common/proxy/rebuild.h: its results, odd forms of what
 * comes back, and its limits.
 */
#include "common/proxy/call.h"
#include "tests/unit/common/proxy/world.h"

static struct world *w;
static char buf[16384];
static struct sip_hdr hdr[SIP_HDR_MAX];
static struct sip_msg msg;
static struct sip_via via;

static const char phone[] = "udp:10.0.0.2:5060", caller[] = "udp:10.0.0.1:5060";

static void start(void)
{
	w = world_new();
	w->targets[w->ntargets++] = (struct proxy_target){
		.uri = SPAN("sip:bob@10.0.0.2:5060"), .q = 1000, .tag = 7};
	world_start(w);
}

static void index_text(const char *text)
{
	struct sip_fault f = {0};
	arena_reset(&w->arena);
	strcpy(buf, text);
	msg = (struct sip_msg){.hdr = hdr};
	int rc = sip_msg_index(&msg, span_str(buf), false, &sip_limits_default, &f);
	ck_assert_msg(rc == 0, "%s", f.reason);
	ck_assert_int_eq(sip_msg_top_via(&msg, &via), 0);
}

/* more: lines of the request but Via, From, Call-ID and CSeq. */
static void request(const char *method, const char *top, const char *more)
{
	char text[4096];
	struct sip_flow src = world_flow(caller, 0);
	snprintf(text, sizeof(text),
		 "%s sip:bob@example.com SIP/2.0\r\nVia: %s\r\n"
		 "From: <sip:alice@example.org>;tag=a\r\n%s"
		 "Call-ID: c1\r\nCSeq: 1 %s\r\nMax-Forwards: 70\r\n\r\n",
		 method, top, more, method);
	world_recv(w, text, &src);
}

static const char a1[] = "SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKa1";
static const char bob[] = "To: <sip:bob@example.com>\r\n";

/* The device's response, with the Via lines that it got; vias: written in place of them. */
static const char *response(unsigned status, const char *vias, const char *to)
{
	static char text[4096];
	char got[1024] = "";
	const char *req = w->sent[0].text;
	for (const char *p = strstr(req, "\r\n") + 2; !vias && strncmp(p, "\r\n", 2);
	     p = strstr(p, "\r\n") + 2)
		if (!strncmp(p, "Via:", 4))
			sprintf(got + strlen(got), "%.*s\r\n", (int)strcspn(p, "\r"), p);
	const char *method = strncmp(req, "INVITE", 6) ? "MESSAGE" : "INVITE";
	snprintf(text, sizeof(text),
		 "SIP/2.0 %u Because\r\n%sFrom: <sip:alice@example.org>;tag=a\r\n%s"
		 "Call-ID: c1\r\nCSeq: 1 %s\r\nContent-Length: 0\r\n\r\n",
		 status, vias ? vias : got, to, method);
	return text;
}

static int rebuild(const char *text)
{
	struct sip_flow src = world_flow(phone, 0);
	index_text(text);
	int rc = proxy_rebuild_from_response(w->p, &msg, &via, &src, &w->targets[0], &w->opts,
					     w->now);
	if (rc)
		proxy_response_stateless(w->p, &msg, &via, &src);
	return rc;
}

static const char tagged[] = "To: <sip:bob@example.com>;tag=t\r\n";

START_TEST(request_cancel_and_response_have_one_key)
{
	struct proxy_request r;
	struct proxy_fault f;
	struct proxy_origin from;
	struct sip_flow src = world_flow(caller, 0);
	start();
	request("INVITE", a1, bob);
	index_text(response(180, NULL, tagged));
	ck_assert(proxy_response_is_ours(w->p, &msg, &via, &from));
	ck_assert_uint_eq(from.tag, 7);
	static const char *const method[] = {"INVITE", "CANCEL"};
	for (unsigned i = 0; i < 2; i++) {
		char text[1024];
		snprintf(text, sizeof(text),
			 "%s sip:bob@example.com SIP/2.0\r\nVia: %s\r\n"
			 "From: <sip:alice@example.org>;tag=a\r\n%sCall-ID: c1\r\n"
			 "CSeq: 1 %s\r\nMax-Forwards: 70\r\n\r\n",
			 method[i], a1, bob, method[i]);
		index_text(text);
		ck_assert(!proxy_response_is_ours(w->p, &msg, &via, &from));
		ck_assert_int_eq(proxy_validate(w->p, &msg, &via, &src, &r, &f), 0);
		ck_assert_uint_eq(proxy_request_key(w->p, &r), from.key);
	}
	world_free(w);
}
END_TEST

START_TEST(what_is_no_response_to_an_invite_is_not_rebuilt)
{
	start();
	request("MESSAGE", a1, bob);
	world_kill(w);
	ck_assert_int_eq(rebuild(response(200, NULL, tagged)), -EINVAL);
	ck_assert_uint_eq(w->nsent, 2);
	ck_assert_uint_eq(proxy_counters(w->p)->stateless, 1);
	world_free(w);
}
END_TEST

START_TEST(a_response_that_is_not_ours_is_refused)
{
	start();
	request("INVITE", a1, bob);
	world_kill(w);
	const char *other = "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKev\r\n"
			    "Via: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKa1\r\n";
	ck_assert_int_eq(rebuild(response(486, other, tagged)), -EPERM);
	ck_assert_uint_eq(w->nsent, 1);
	ck_assert_uint_eq(txn_table_counters(w->tt)->live, 0);
	world_free(w);
}
END_TEST

START_TEST(vias_in_one_field_and_a_tag_in_the_middle_are_understood)
{
	char vias[1024], text[4096];
	const char *to = "t: \"x;tag=no\" <sip:bob@example.com;tag=no>;x=1;tag=t;y=2\r\n";
	start();
	request("INVITE",
		"SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKa1 , SIP/2.0/TCP far;branch=z9hG4bKx",
		"To: \"x;tag=no\" <sip:bob@example.com;tag=no>;x=1;y=2\r\n");
	const char *ours = strstr(w->sent[0].text, "Via: ");
	snprintf(vias, sizeof(vias),
		 "v: %.*s,SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKa1 ,"
		 "SIP/2.0/TCP far;branch=z9hG4bKx\r\n",
		 (int)strcspn(ours + 5, "\r"), ours + 5);
	strcpy(text, response(180, vias, to));
	world_kill(w);
	ck_assert_int_eq(rebuild(text), 0);
	ck_assert_uint_eq(w->nsent, 2);
	ck_assert_ptr_nonnull(strstr(w->sent[1].text, "v: SIP/2.0/UDP 10.0.0.1:5060;branch="));
	/* Our own answer has the request's To, and all of its Vias. */
	request("CANCEL", "SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKa1",
		"To: \"x;tag=no\" <sip:bob@example.com;tag=no>;x=1;y=2\r\n");
	ck_assert_int_eq(strncmp(w->sent[2].text, "CANCEL sip:bob@10.0.0.2:5060 ", 29), 0);
	ck_assert_ptr_nonnull(strstr(
		w->sent[2].text, "To: \"x;tag=no\" <sip:bob@example.com;tag=no>;x=1;y=2\r\n"));
	world_advance(w, 40000);
	const char *last = w->sent[w->nsent - 1].text;
	for (unsigned i = 3; i < w->nsent; i++)
		if (!strncmp(w->sent[i].text, "SIP/2.0 487", 11))
			last = w->sent[i].text;
	ck_assert_ptr_nonnull(strstr(last, "Via: SIP/2.0/TCP far;branch=z9hG4bKx\r\n"));
	ck_assert_ptr_nonnull(strstr(last, ";x=1;y=2;tag="));
	world_free(w);
}
END_TEST

START_TEST(a_caller_without_the_cookie_is_served_statelessly)
{
	start();
	request("INVITE", "SIP/2.0/UDP 10.0.0.1:5060;branch=1", bob);
	world_kill(w);
	ck_assert_int_eq(rebuild(response(486, NULL, tagged)), -EPROTONOSUPPORT);
	ck_assert_uint_eq(w->nsent, 2);
	ck_assert_str_eq(w->sent[1].to, caller);
	ck_assert_uint_eq(txn_table_counters(w->tt)->live, 0);
	request("CANCEL", "SIP/2.0/UDP 10.0.0.1:5060;branch=1", bob);
	ck_assert_int_eq(strncmp(w->sent[2].text, "SIP/2.0 481 ", 12), 0);
	ck_assert_uint_eq(w->nsent, 3);
	world_free(w);
}
END_TEST

START_TEST(while_the_role_decides_anew_the_device_is_let_alone)
{
	struct sip_flow src = world_flow(caller, 0);
	char text[4096];
	start();
	request("INVITE", a1, bob);
	strcpy(text, response(180, NULL, tagged));
	world_kill(w);
	char invite[1024];
	snprintf(invite, sizeof(invite),
		 "INVITE sip:bob@example.com SIP/2.0\r\nVia: %s\r\n"
		 "From: <sip:alice@example.org>;tag=a\r\n%sCall-ID: c1\r\nCSeq: 1 "
		 "INVITE\r\n\r\n",
		 a1, bob);
	index_text(invite);
	struct txn *t = txn_server_new(w->tt, &msg, &via, &src, NULL, NULL, w->now);
	ck_assert_int_eq(rebuild(text), 0);
	ck_assert_uint_eq(w->nsent, 1);
	ck_assert_uint_eq(txn_table_counters(w->tt)->live, 1);
	ck_assert_str_eq(txn_state_name(t), "Proceeding");
	world_free(w);
}
END_TEST

START_TEST(with_a_full_table_the_response_goes_on_statelessly)
{
	char text[4096];
	start();
	request("INVITE", a1, bob);
	strcpy(text, response(180, NULL, tagged));
	for (size_t limit = 0; limit < 3; limit++) {
		w->txn_limit = limit;
		world_kill(w);
		unsigned before = w->nsent;
		ck_assert_int_eq(rebuild(text) == 0, limit == 2);
		ck_assert_uint_eq(w->nsent, before + 1);
		ck_assert_str_eq(w->sent[before].to, caller);
		ck_assert_uint_eq(proxy_counters(w->p)->calls, limit == 2);
	}
	world_free(w);
}
END_TEST

START_TEST(with_a_full_table_a_cancel_is_not_rebuilt)
{
	start();
	w->txn_limit = 0;
	world_kill(w);
	request("CANCEL", a1, bob);
	ck_assert_uint_eq(proxy_counters(w->p)->rebuilt, 0);
	ck_assert_uint_eq(proxy_counters(w->p)->calls, 0);
	ck_assert_uint_eq(w->nsent, 0);
	world_free(w);
}
END_TEST

static bool is_hop(const char *uri, const char *more)
{
	char text[1024];
	struct proxy_request r;
	struct proxy_fault f;
	struct sip_flow src = world_flow(caller, 0);
	snprintf(text, sizeof(text),
		 "ACK %s SIP/2.0\r\nVia: %s\r\nFrom: <sip:alice@example.org>;tag=a\r\n%s"
		 "Call-ID: c1\r\nCSeq: 1 ACK\r\nMax-Forwards: 70\r\n\r\n",
		 uri, a1, more);
	index_text(text);
	ck_assert_int_eq(proxy_validate(w->p, &msg, &via, &src, &r, &f), 0);
	return proxy_ack_is_hop(w->p, &r);
}

START_TEST(an_ack_is_hop_by_hop_where_that_can_be_told)
{
	char route[512];
	start();
	ck_assert(is_hop("sip:bob@example.com", tagged));
	ck_assert(is_hop("sip:bob@192.0.2.1", tagged));
	ck_assert(!is_hop("sip:bob@10.0.0.2:5060", tagged));
	ck_assert(!is_hop("sip:bob@example.com;gr=x", tagged));
	ck_assert(!is_hop("sip:bob@example.com", bob));
	snprintf(route, sizeof(route), "Route: <sip:10.0.0.7;lr>\r\n%s", tagged);
	ck_assert(!is_hop("sip:bob@example.com", route));
	snprintf(route, sizeof(route), "Route: <sip:192.0.2.1;lr>\r\n%s", tagged);
	ck_assert(is_hop("sip:bob@example.com", route));
	char ev[17] = "";
	mac_hex(proxy_dialog_mac(w->p, SPAN("c1"), SPAN("a")), ev);
	snprintf(route, sizeof(route), "Route: <sip:192.0.2.1;lr;ev=%s>\r\n%s", ev, tagged);
	ck_assert(!is_hop("sip:bob@example.com", route));
	world_free(w);
}
END_TEST

/* A Via of ours more, with the token under its MAC; without it, as it was. */
START_TEST(an_answer_by_a_token_is_the_answer_again)
{
	struct sip_flow src = world_flow(phone, 0);
	struct proxy_origin from;
	char up[4096];
	start();
	request("INVITE", a1, bob);
	world_recv(w, response(486, NULL, tagged), &src);
	for (unsigned i = 0; i < w->nsent; i++)
		if (!strncmp(w->sent[i].text, "SIP/2.0 486", 11))
			strcpy(up, w->sent[i].text);
	struct bytes *b = proxy_response_by_token(w->p, span_str(up), 0, SPAN("abc"));
	ck_assert_ptr_nonnull(b);
	char text[4096];
	snprintf(text, sizeof(text), "%.*s", (int)b->n, b->p);
	bytes_unref(b);
	index_text(text);
	ck_assert(proxy_response_is_ours(w->p, &msg, &via, &from));
	ck_assert_uint_eq(from.tag, 0);
	ck_assert(span_eq(from.token, SPAN("abc")));
	unsigned before = w->nsent;
	ck_assert_int_eq(proxy_response_stateless(w->p, &msg, &via, &src), 0);
	ck_assert_uint_eq(w->nsent, before + 1);
	ck_assert_str_eq(w->sent[before].text, up);
	memcpy(strstr(text, "ft=abc"), "ft=abd", 6);
	index_text(text);
	ck_assert(!proxy_response_is_ours(w->p, &msg, &via, &from));
	ck_assert_ptr_null(
		proxy_response_by_token(w->p, SPAN("SIP/2.0 486 No\r\n\r\n"), 0, SPAN("abc")));
	world_free(w);
}
END_TEST

UNIT_MAIN("proxy rebuild", request_cancel_and_response_have_one_key,
	  what_is_no_response_to_an_invite_is_not_rebuilt,
	  a_response_that_is_not_ours_is_refused,
	  vias_in_one_field_and_a_tag_in_the_middle_are_understood,
	  a_caller_without_the_cookie_is_served_statelessly,
	  while_the_role_decides_anew_the_device_is_let_alone,
	  with_a_full_table_the_response_goes_on_statelessly,
	  with_a_full_table_a_cancel_is_not_rebuilt,
	  an_ack_is_hop_by_hop_where_that_can_be_told, an_answer_by_a_token_is_the_answer_again)
