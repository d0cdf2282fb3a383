/*
 * The resolver against a name server of our own on loopback, in the same loop: answers, TTLs,
 * joined questions, time-outs and hostile replies.
 */
#include "common/dns/dns.h"
#include "tests/unit/unit.h"

#include "tests/unit/common/dns/server.h" /* after unit.h: it uses Check */

#include <errno.h>

struct got {
	struct loop *loop;
	struct dns_answer a;
	unsigned calls;
	unsigned stop_at; /* the loop is stopped after so many calls */
};

struct rig {
	struct loop *loop;
	struct dns_server *server;
	struct dns *dns;
	struct got got;
};

static void rig_start(struct rig *r, uint32_t cache_entries)
{
	static char servers[64];
	struct dns_conf c = dns_conf_default;

	r->loop = loop_new(0);
	ck_assert_ptr_nonnull(r->loop);
	r->server = dns_server_new(r->loop);
	snprintf(servers, sizeof(servers), "127.0.0.1:%u", dns_server_port(r->server));
	c.servers = servers;
	c.timeout_ms = 60;
	c.tries = 1;
	c.cache_entries = cache_entries;
	r->dns = dns_new(r->loop, &c);
	ck_assert_ptr_nonnull(r->dns);
	r->got = (struct got){.loop = r->loop, .stop_at = 1};
}

static void rig_stop(struct rig *r)
{
	dns_free(r->dns);
	dns_server_free(r->server);
	loop_free(r->loop);
}

static void on_answer(void *arg, const struct dns_answer *a)
{
	struct got *g = arg;

	g->a = *a;
	if (++g->calls == g->stop_at)
		loop_stop(g->loop);
}

static int start_query(struct rig *r, const char *name, enum dns_type t, msec now,
		       struct dns_query **ret_q)
{
	const struct dns_ops *o = dns_ops(r->dns);

	return o->query(o->arg, name, t, now, on_answer, &r->got, &r->got.a, ret_q);
}

/* Asks and waits; true when the answer was there at once. */
static bool ask(struct rig *r, const char *name, enum dns_type t)
{
	struct dns_query *q = NULL;

	r->got.calls = 0;
	int rc = start_query(r, name, t, loop_now(r->loop), &q);
	ck_assert_int_ge(rc, 0);
	if (rc == 1) {
		ck_assert_uint_eq(r->got.calls, 0);
		return true;
	}
	loop_run(r->loop);
	ck_assert_uint_eq(r->got.calls, 1);
	return false;
}

START_TEST(addresses_are_resolved_and_kept_for_their_ttl)
{
	struct rig r;
	struct dns_query *q;
	char text[ADDR_TEXT_MAX];

	rig_start(&r, 64);
	ck_assert(!ask(&r, "Two.Test.", DNS_A));
	ck_assert_int_eq(r.got.a.error, 0);
	ck_assert_uint_eq(r.got.a.n, 2);
	addr_host_text(&r.got.a.v[1].addr, text);
	ck_assert_str_eq(text, "192.0.2.2");
	ck_assert(ask(&r, "two.test", DNS_A));
	ck_assert_uint_eq(r.got.a.n, 2);
	ck_assert_uint_eq(dns_server_asked(r.server), 1);
	ck_assert_uint_eq(dns_counters(r.dns)->cache_hits, 1);
	/* TTL 100: one second before it is there, one after it is not */
	ck_assert_int_eq(start_query(&r, "two.test", DNS_A, loop_now(r.loop) + 98000, &q), 1);
	ck_assert_int_eq(start_query(&r, "two.test", DNS_A, loop_now(r.loop) + 101000, &q), 0);
	dns_ops(r.dns)->cancel(dns_ops(r.dns)->arg, q);
	rig_stop(&r);
}
END_TEST

START_TEST(ipv6_addresses_are_resolved)
{
	struct rig r;
	char text[ADDR_TEXT_MAX];

	rig_start(&r, 64);
	ask(&r, "six.test", DNS_AAAA);
	ck_assert_uint_eq(r.got.a.n, 1);
	addr_host_text(&r.got.a.v[0].addr, text);
	ck_assert_str_eq(text, "[2001:db8::1]");
	rig_stop(&r);
}
END_TEST

START_TEST(srv_gives_targets_and_the_smallest_ttl)
{
	struct rig r;
	struct dns_query *q;

	rig_start(&r, 64);
	ask(&r, "_sip._udp.two.test", DNS_SRV);
	ck_assert_int_eq(r.got.a.error, 0);
	ck_assert_uint_eq(r.got.a.n, 2);
	ck_assert_uint_eq(r.got.a.v[0].priority, 10);
	ck_assert_uint_eq(r.got.a.v[0].weight, 5);
	ck_assert_uint_eq(r.got.a.v[0].port, 5070);
	ck_assert_str_eq(r.got.a.v[0].target, "one.test");
	/* TTLs 50 and 7 */
	msec now = loop_now(r.loop);
	ck_assert_int_eq(start_query(&r, "_sip._udp.two.test", DNS_SRV, now + 6000, &q), 1);
	ck_assert_int_eq(start_query(&r, "_sip._udp.two.test", DNS_SRV, now + 8000, &q), 0);
	rig_stop(&r);
}
END_TEST

START_TEST(srv_with_target_dot_means_no_such_service)
{
	struct rig r;

	rig_start(&r, 64);
	ask(&r, "_sip._udp.none.test", DNS_SRV);
	ck_assert_int_eq(r.got.a.error, -ENOENT);
	rig_stop(&r);
}
END_TEST

START_TEST(naptr_gives_order_flag_service_and_replacement)
{
	struct rig r;

	rig_start(&r, 64);
	ask(&r, "two.test", DNS_NAPTR);
	ck_assert_uint_eq(r.got.a.n, 1);
	ck_assert_uint_eq(r.got.a.v[0].priority, 20);
	ck_assert_uint_eq(r.got.a.v[0].weight, 3);
	ck_assert_int_eq(r.got.a.v[0].flags, 's');
	ck_assert_str_eq(r.got.a.v[0].service, "SIP+D2U");
	ck_assert_str_eq(r.got.a.v[0].target, "_sip._udp.two.test");
	rig_stop(&r);
}
END_TEST

START_TEST(a_name_that_does_not_exist_is_remembered_for_the_negative_ttl)
{
	struct rig r;
	struct dns_query *q;

	rig_start(&r, 64);
	ask(&r, "nx.test", DNS_A);
	ck_assert_int_eq(r.got.a.error, -ENOENT);
	ck_assert(ask(&r, "nx.test", DNS_A));
	ck_assert_int_eq(r.got.a.error, -ENOENT);
	ck_assert_int_eq(start_query(&r, "nx.test", DNS_A, loop_now(r.loop) + 31000, &q), 0);
	rig_stop(&r);
}
END_TEST

START_TEST(a_silent_server_is_a_time_out)
{
	struct rig r;

	rig_start(&r, 64);
	ask(&r, "silent.test", DNS_A);
	ck_assert_int_eq(r.got.a.error, -ETIMEDOUT);
	ck_assert(ask(&r, "silent.test", DNS_A)); /* and is left alone for a moment */
	rig_stop(&r);
}
END_TEST

START_TEST(truncated_and_hostile_replies_are_errors)
{
	static const char *const names[] = {"truncated.test", "counts.test", "rdlength.test",
					    "pointer.test", "servfail.test"};
	struct rig r;

	rig_start(&r, 64);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		ask(&r, names[i], DNS_A);
		ck_assert_msg(r.got.a.error == -EIO || r.got.a.error == -ETIMEDOUT, "%s: %d",
			      names[i], r.got.a.error);
		ck_assert_uint_eq(r.got.a.n, 0);
	}
	rig_stop(&r);
}
END_TEST

START_TEST(a_reply_with_the_wrong_id_is_not_believed)
{
	struct rig r;

	rig_start(&r, 64);
	ask(&r, "forged.test", DNS_A);
	ck_assert_int_eq(r.got.a.error, -ETIMEDOUT);
	rig_stop(&r);
}
END_TEST

START_TEST(targets_that_are_no_host_names_are_left_out)
{
	struct rig r;

	rig_start(&r, 64);
	ask(&r, "_sip._udp.hostile.test", DNS_SRV);
	ck_assert_int_eq(r.got.a.error, -ENOENT);
	rig_stop(&r);
}
END_TEST

START_TEST(an_answer_has_at_most_32_records)
{
	struct rig r;

	rig_start(&r, 64);
	ask(&r, "many.test", DNS_A);
	ck_assert_int_eq(r.got.a.error, 0);
	ck_assert_uint_eq(r.got.a.n, DNS_RECORDS_MAX);
	rig_stop(&r);
}
END_TEST

START_TEST(equal_questions_under_way_are_joined)
{
	struct rig r;
	struct dns_query *q[3];

	rig_start(&r, 64);
	r.got.stop_at = 3;
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(start_query(&r, "two.test", DNS_A, loop_now(r.loop), &q[i]),
				 0);
	loop_run(r.loop);
	ck_assert_uint_eq(r.got.calls, 3);
	ck_assert_uint_eq(dns_server_asked(r.server), 1);
	rig_stop(&r);
}
END_TEST

START_TEST(a_cancelled_question_is_not_answered)
{
	struct rig r;
	struct dns_query *q[2];

	rig_start(&r, 64);
	ck_assert_int_eq(start_query(&r, "two.test", DNS_A, loop_now(r.loop), &q[0]), 0);
	ck_assert_int_eq(start_query(&r, "two.test", DNS_A, loop_now(r.loop), &q[1]), 0);
	dns_ops(r.dns)->cancel(dns_ops(r.dns)->arg, q[0]);
	loop_run(r.loop);
	ck_assert_uint_eq(r.got.calls, 1);
	rig_stop(&r);
}
END_TEST

START_TEST(ttl_zero_is_not_kept)
{
	struct rig r;

	rig_start(&r, 64);
	ck_assert(!ask(&r, "zero.test", DNS_A));
	ck_assert_uint_eq(r.got.a.n, 1);
	ck_assert(!ask(&r, "zero.test", DNS_A));
	ck_assert_uint_eq(dns_server_asked(r.server), 2);
	rig_stop(&r);
}
END_TEST

START_TEST(a_full_cache_lets_the_least_recently_used_go)
{
	struct rig r;

	rig_start(&r, 2);
	ask(&r, "two.test", DNS_A);
	ask(&r, "one.test", DNS_A);
	ck_assert(ask(&r, "two.test", DNS_A));
	ask(&r, "six.test", DNS_AAAA); /* one.test goes */
	ck_assert(ask(&r, "two.test", DNS_A));
	ck_assert(!ask(&r, "one.test", DNS_A));
	rig_stop(&r);
}
END_TEST

START_TEST(questions_under_way_are_limited_and_counted)
{
	struct rig r;
	struct dns_query *q;
	char name[32];
	int rc = 0, n;

	rig_start(&r, 64);
	for (n = 0; n < 2000 && rc >= 0; n++) {
		snprintf(name, sizeof(name), "silent%d.test", n);
		rc = start_query(&r, name, DNS_A, loop_now(r.loop), &q);
	}
	ck_assert_int_eq(rc, -ENOBUFS);
	ck_assert_int_eq(n, 1025);
	ck_assert_uint_eq(dns_counters(r.dns)->refused, 1);
	rig_stop(&r); /* those under way end without a call */
	ck_assert_uint_eq(r.got.calls, 0);
}
END_TEST

START_TEST(what_is_no_name_is_refused_without_asking)
{
	static const char *const names[] = {"", ".", "a..b", "a b", "a\nb", "\xff.test"};
	struct rig r;
	struct dns_query *q;
	char long_name[300];

	rig_start(&r, 64);
	memset(long_name, 'a', sizeof(long_name));
	long_name[299] = 0;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		ck_assert_int_eq(start_query(&r, names[i], DNS_A, 1, &q), -EINVAL);
	ck_assert_int_eq(start_query(&r, long_name, DNS_A, 1, &q), -EINVAL);
	ck_assert(ask(&r, "localhost", DNS_A));
	ck_assert_uint_eq(r.got.a.n, 1);
	ck_assert_uint_eq(dns_server_asked(r.server), 0);
	rig_stop(&r);
}
END_TEST

UNIT_MAIN("dns", addresses_are_resolved_and_kept_for_their_ttl, ipv6_addresses_are_resolved,
	  srv_gives_targets_and_the_smallest_ttl, srv_with_target_dot_means_no_such_service,
	  naptr_gives_order_flag_service_and_replacement,
	  a_name_that_does_not_exist_is_remembered_for_the_negative_ttl,
	  a_silent_server_is_a_time_out, truncated_and_hostile_replies_are_errors,
	  a_reply_with_the_wrong_id_is_not_believed,
	  targets_that_are_no_host_names_are_left_out, an_answer_has_at_most_32_records,
	  equal_questions_under_way_are_joined, a_cancelled_question_is_not_answered,
	  ttl_zero_is_not_kept, a_full_cache_lets_the_least_recently_used_go,
	  questions_under_way_are_limited_and_counted,
	  what_is_no_name_is_refused_without_asking)
