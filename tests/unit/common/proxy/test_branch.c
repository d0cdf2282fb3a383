/*
 * Derived branches, and forwarding to the byte.
 */
#include "common/proxy/call.h"
#include "tests/unit/common/proxy/world.h"

static struct world *w;
static char buf[16384];
static struct sip_hdr hdr[SIP_HDR_MAX];
static struct sip_msg msg;
static struct sip_via via;

static void start(void)
{
	w = world_new();
	world_start(w);
}

static void index_text(const char *text)
{
	struct sip_fault f;
	strcpy(buf, text);
	msg = (struct sip_msg){.hdr = hdr};
	ck_assert_int_eq(sip_msg_index(&msg, span_str(buf), false, &sip_limits_default, &f), 0);
	ck_assert_int_eq(sip_msg_top_via(&msg, &via), 0);
}

static const char request[] =
	"INVITE sip:bob@example.com SIP/2.0\r\n"
	"Via: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKa1\r\n"
	"From: <sip:alice@example.org>;tag=a\r\nTo: <sip:bob@example.com>\r\n"
	"Call-ID: c1\r\nCSeq: 1 INVITE\r\n\r\n";

static uint64_t id(void)
{
	return proxy_dialog_mac(w->p, msg.call_id, SPAN("a"));
}

static void make_named(uint64_t tag, const char *uri, uint32_t attempt,
		       char out[PROXY_BRANCH_LEN])
{
	proxy_branch_make(w->p, proxy_request_mac(w->p, &msg, &via, id()),
			  proxy_loop_mac(w->p, &msg, id(), 0), tag, span_str(uri),
			  span_of(NULL, 0), attempt, out);
}

static void make(const char *uri, uint32_t attempt, char out[PROXY_BRANCH_LEN])
{
	make_named(0, uri, attempt, out);
}

/* The phone may have registered anew by another contact when its CANCEL is made. */
START_TEST(of_a_target_with_a_name_the_branch_depends_on_that)
{
	char a[PROXY_BRANCH_LEN], b[PROXY_BRANCH_LEN];
	start();
	index_text(request);
	make_named(7, "sip:bob@10.0.0.2:40000", 0, a);
	make_named(7, "sip:bob@10.0.0.2:40001", 0, b);
	ck_assert_mem_eq(a, b, sizeof(a));
	make_named(8, "sip:bob@10.0.0.2:40000", 0, b);
	ck_assert_mem_ne(a, b, sizeof(a));
	make_named(7, "sip:bob@10.0.0.2:40000", 1, b);
	ck_assert_mem_ne(a, b, sizeof(a));
	world_free(w);
}
END_TEST

START_TEST(a_branch_depends_on_target_and_attempt_alone)
{
	char a[PROXY_BRANCH_LEN], b[PROXY_BRANCH_LEN];
	start();
	index_text(request);
	make("sip:bob@10.0.0.2", 0, a);
	make("sip:bob@10.0.0.2", 0, b);
	ck_assert_mem_eq(a, b, sizeof(a));
	make("sip:bob@10.0.0.2", 1, b);
	ck_assert_mem_ne(a, b, sizeof(a));
	make("sip:bob@10.0.0.3", 0, b);
	ck_assert_mem_ne(a, b, sizeof(a));
	ck_assert_int_eq(memcmp(a, "z9hG4bKev", 9), 0);
	world_free(w);
}
END_TEST

START_TEST(another_node_with_the_key_derives_the_same)
{
	char a[PROXY_BRANCH_LEN], b[PROXY_BRANCH_LEN];
	start();
	index_text(request);
	make("sip:bob@10.0.0.2", 0, a);
	world_free(w);
	start();
	index_text(request);
	make("sip:bob@10.0.0.2", 0, b);
	ck_assert_mem_eq(a, b, sizeof(a));
	world_free(w);
}
END_TEST

START_TEST(method_and_to_tag_do_not_change_it)
{
	char a[PROXY_BRANCH_LEN], b[PROXY_BRANCH_LEN];
	start();
	index_text(request);
	make("sip:bob@10.0.0.2", 0, a);
	index_text("ACK sip:bob@example.com SIP/2.0\r\n"
		   "Via: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKa1\r\n"
		   "From: <sip:alice@example.org>;tag=a\r\nTo: <sip:bob@example.com>;tag=b\r\n"
		   "Call-ID: c1\r\nCSeq: 1 ACK\r\nMax-Forwards: 70\r\n\r\n");
	make("sip:bob@10.0.0.2", 0, b);
	ck_assert_mem_eq(a, b, sizeof(a));
	world_free(w);
}
END_TEST

START_TEST(a_branch_verifies_for_its_own_request_only)
{
	char a[PROXY_BRANCH_LEN];
	start();
	index_text(request);
	uint64_t r = proxy_request_mac(w->p, &msg, &via, id());
	make("sip:bob@10.0.0.2", 0, a);
	struct span s = span_of(a, sizeof(a));
	ck_assert(proxy_branch_verify(w->p, s, r));
	ck_assert(!proxy_branch_verify(w->p, s, r ^ 1));
	ck_assert(!proxy_branch_verify(w->p, span_of(a, sizeof(a) - 1), r));
	for (size_t i = PROXY_MARK_LEN; i < sizeof(a); i++) {
		char was = a[i];
		a[i] = was == '0' ? '1' : '0';
		ck_assert(!proxy_branch_verify(w->p, s, r));
		a[i] = was;
	}
	world_free(w);
}
END_TEST

START_TEST(claimed_addresses_in_the_next_via_are_covered)
{
	start();
	index_text(request);
	uint64_t r = proxy_request_mac(w->p, &msg, &via, id());
	struct sip_via other = via;
	other.received = SPAN("10.9.9.9");
	ck_assert(proxy_request_mac(w->p, &msg, &other, id()) != r);
	other = via;
	other.maddr = SPAN("10.9.9.9");
	ck_assert(proxy_request_mac(w->p, &msg, &other, id()) != r);
	other = via;
	other.port = 5099;
	ck_assert(proxy_request_mac(w->p, &msg, &other, id()) != r);
	world_free(w);
}
END_TEST

START_TEST(the_loop_mark_depends_on_routing)
{
	start();
	index_text(request);
	uint64_t l = proxy_loop_mac(w->p, &msg, id(), 0);
	ck_assert(proxy_loop_mac(w->p, &msg, id(), 1) != l);
	index_text("INVITE sip:bob@example.com SIP/2.0\r\n"
		   "Via: SIP/2.0/UDP 10.0.0.7;branch=z9hG4bKz\r\n"
		   "Via: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKa1\r\n"
		   "From: <sip:alice@example.org>;tag=a\r\nTo: <sip:bob@example.com>\r\n"
		   "Call-ID: c1\r\nCSeq: 1 INVITE\r\nMax-Forwards: 3\r\n\r\n");
	ck_assert(proxy_loop_mac(w->p, &msg, id(), 0) == l);
	index_text("INVITE sip:bob@example.com SIP/2.0\r\n"
		   "Via: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKa1\r\nRoute: <sip:x;lr>\r\n"
		   "From: <sip:alice@example.org>;tag=a\r\nTo: <sip:bob@example.com>\r\n"
		   "Call-ID: c1\r\nCSeq: 1 INVITE\r\n\r\n");
	ck_assert(proxy_loop_mac(w->p, &msg, id(), 0) != l);
	world_free(w);
}
END_TEST

START_TEST(what_is_not_edited_leaves_as_it_came)
{
	static const char in[] =
		"MESSAGE sip:bob@example.com SIP/2.0\r\n"
		"v: SIP/2.0/UDP 10.0.0.1:5060 ;branch=z9hG4bKa1 , SIP/2.0/TCP far;branch=x\r\n"
		"max-forwards:  9 \r\n"
		"f: \"A, \\\"B\\\"\" <sip:%61lice@example.org;x=%00y>;tag=a\r\n"
		"t: <sip:bob@example.com>\r\n"
		"X-Odd:   spaces  \t and: colons\r\n"
		" folded, too\r\n"
		"i: c1\r\nCSeq: 0001   MESSAGE\r\nl: 5\r\n\r\n\r\n\0\x01z";
	static char out[1024], text[sizeof(in)];
	struct sip_fault f;
	struct proxy_request r;
	struct proxy_fault pf;
	struct sip_flow src = world_flow("udp:10.0.0.1:5060", 0);
	start();
	memcpy(text, in, sizeof(in));
	msg = (struct sip_msg){.hdr = hdr};
	int rc = sip_msg_index(&msg, span_of(text, sizeof(in) - 1), false, &sip_limits_default,
			       &f);
	ck_assert_msg(rc == 0, "%s", f.reason);
	ck_assert_int_eq(sip_msg_top_via(&msg, &via), 0);
	ck_assert_int_eq(proxy_validate(w->p, &msg, &via, &src, &r, &pf), 0);
	struct proxy_target t = {.uri = SPAN("sip:b@10.0.0.2"), .q = 1000};
	ck_assert_int_eq(proxy_forward(w->p, &r, &t, 1, NULL, w->now), 0);
	ck_assert_uint_eq(w->nsent, 1);
	char branch[PROXY_BRANCH_LEN];
	memcpy(branch, strstr(w->sent[0].text, "branch=") + 7, sizeof(branch));
	int n = snprintf(
		out, sizeof(out),
		"MESSAGE sip:b@10.0.0.2 SIP/2.0\r\n"
		"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=%.*s\r\n"
		"v: SIP/2.0/UDP 10.0.0.1:5060 ;branch=z9hG4bKa1 , SIP/2.0/TCP far;branch=x\r\n"
		"max-forwards:  8 \r\n"
		"f: \"A, \\\"B\\\"\" <sip:%%61lice@example.org;x=%%00y>;tag=a\r\n"
		"t: <sip:bob@example.com>\r\n"
		"X-Odd:   spaces  \t and: colons\r\n"
		" folded, too\r\n"
		"i: c1\r\nCSeq: 0001   MESSAGE\r\nl: 5\r\nMax-Breadth: 60\r\n\r\n",
		(int)sizeof(branch), branch);
	memcpy(out + n, "\r\n\0\x01z", 5);
	ck_assert_uint_eq(w->sent[0].n, (size_t)n + 5);
	ck_assert_mem_eq(w->sent[0].text, out, (size_t)n + 5);
	world_free(w);
}
END_TEST

START_TEST(first_value_minds_quotes_and_brackets)
{
	struct span rest, v;
	v = proxy_first_value(SPAN("\"a,\\\"b\" <sip:x,y;lr>;p=1 , <sip:z>"), &rest);
	ck_assert(span_eq(v, SPAN("\"a,\\\"b\" <sip:x,y;lr>;p=1")));
	ck_assert(span_eq(rest, SPAN("<sip:z>")));
	v = proxy_first_value(rest, &rest);
	ck_assert(span_eq(v, SPAN("<sip:z>")));
	ck_assert_uint_eq(rest.n, 0);
}
END_TEST

/* Which comes first is another matter after a take-over. */
START_TEST(no_two_but_401_and_407_have_the_same_rank)
{
	for (unsigned a = 300; a < 700; a++)
		for (unsigned b = a + 1; b < 700; b++)
			ck_assert(proxy_status_rank(a) != proxy_status_rank(b) ||
				  (a == 401 && b == 407));
}
END_TEST

START_TEST(ranks_are_those_of_16_7_step_6)
{
	/* These say how to ask again: RFC 3261 21.4, 4028 6, 3329 2.3.1. */
	static const unsigned ask_again[] = {415, 420, 421, 422, 484, 488, 494};
	ck_assert(proxy_status_rank(603) < proxy_status_rank(302));
	ck_assert(proxy_status_rank(302) < proxy_status_rank(401));
	ck_assert(proxy_status_rank(407) < proxy_status_rank(484));
	ck_assert(proxy_status_rank(484) < proxy_status_rank(486));
	for (unsigned i = 0; i < sizeof(ask_again) / sizeof(ask_again[0]); i++)
		ck_assert(proxy_status_rank(ask_again[i]) < proxy_status_rank(486));
	ck_assert(proxy_status_rank(486) < proxy_status_rank(480));
	ck_assert(proxy_status_rank(480) < proxy_status_rank(404));
	ck_assert(proxy_status_rank(499) < proxy_status_rank(487));
	ck_assert(proxy_status_rank(487) < proxy_status_rank(408));
	ck_assert(proxy_status_rank(408) < proxy_status_rank(500));
	ck_assert(proxy_status_rank(500) < proxy_status_rank(503));
}
END_TEST

START_TEST(freeing_the_proxy_ends_all_that_is_under_way)
{
	static const char in[] =
		"INVITE sip:bob@slow.example.net SIP/2.0\r\n"
		"Via: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKa1\r\n"
		"From: <sip:a@example.org>;tag=a\r\nTo: <sip:b@example.com>\r\n"
		"Call-ID: c1\r\nCSeq: 1 INVITE\r\n\r\n";
	struct sip_flow src = world_flow("udp:10.0.0.1:5060", 0);
	start();
	strcpy(w->names[0].host, "slow.example.net");
	w->names[0].later = true;
	w->nnames = 1;
	world_recv(w, in, &src);
	w->stateless = true;
	world_recv(w,
		   "OPTIONS sip:bob@slow.example.net SIP/2.0\r\n"
		   "Via: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKa2\r\n"
		   "From: <sip:a@example.org>;tag=a\r\nTo: <sip:b@example.com>\r\n"
		   "Call-ID: c2\r\nCSeq: 1 OPTIONS\r\n\r\n",
		   &src);
	ck_assert_uint_eq(w->nlater, 2);
	struct proxy *p = w->p;
	w->p = NULL;
	proxy_free(p);
	ck_assert(!w->later[0].live && !w->later[1].live);
	world_advance(w, 300000);
	ck_assert_uint_eq(txn_table_counters(w->tt)->live, 0);
	world_free(w);
}
END_TEST

START_TEST(a_transaction_made_by_the_role_is_taken_over)
{
	struct sip_flow src = world_flow("udp:10.0.0.1:5060", 0);
	struct proxy_request r;
	struct proxy_fault f;
	start();
	index_text(request);
	struct txn *t = txn_server_new(w->tt, &msg, &via, &src, NULL, NULL, w->now);
	ck_assert_ptr_nonnull(t);
	memset(buf, 'X', sizeof(buf));
	arena_reset(&w->arena); /* later, the role has decided */
	const struct sip_msg *m = txn_request(t);
	ck_assert_int_eq(sip_msg_top_via(m, &via), 0);
	ck_assert_int_eq(proxy_validate(w->p, m, &via, txn_flow(t), &r, &f), 0);
	struct proxy_target target = {.uri = SPAN("sip:b@10.0.0.2"), .q = 1000};
	ck_assert_int_eq(proxy_forward_txn(w->p, t, &r, &target, 1, &w->opts, w->now), 0);
	ck_assert_uint_eq(w->nsent, 1);
	ck_assert_str_eq(w->sent[0].to, "udp:10.0.0.2:5060");
	txn_transport_error(w->tt, w->sent[0].txn_id, w->now);
	ck_assert_uint_eq(w->nsent, 2);
	ck_assert_int_eq(strncmp(w->sent[1].text, "SIP/2.0 500 ", 12), 0);
	ck_assert_uint_eq(w->done_status, 500);
	world_free(w);
}
END_TEST

START_TEST(the_table_may_go_first)
{
	static const char in[] =
		"INVITE sip:bob@10.0.0.2 SIP/2.0\r\n"
		"Via: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKa1\r\n"
		"From: <sip:a@example.org>;tag=a\r\nTo: <sip:b@example.com>\r\n"
		"Call-ID: c1\r\nCSeq: 1 INVITE\r\n\r\n";
	struct sip_flow src = world_flow("udp:10.0.0.1:5060", 0);
	start();
	world_recv(w, in, &src);
	txn_table_free(w->tt);
	w->tt = NULL;
	ck_assert_uint_eq(w->done, 1);
	world_free(w);
}
END_TEST

UNIT_MAIN("proxy branch", a_branch_depends_on_target_and_attempt_alone,
	  of_a_target_with_a_name_the_branch_depends_on_that,
	  another_node_with_the_key_derives_the_same, method_and_to_tag_do_not_change_it,
	  a_branch_verifies_for_its_own_request_only,
	  claimed_addresses_in_the_next_via_are_covered, the_loop_mark_depends_on_routing,
	  what_is_not_edited_leaves_as_it_came, first_value_minds_quotes_and_brackets,
	  no_two_but_401_and_407_have_the_same_rank, ranks_are_those_of_16_7_step_6,
	  freeing_the_proxy_ends_all_that_is_under_way,
	  a_transaction_made_by_the_role_is_taken_over, the_table_may_go_first)
