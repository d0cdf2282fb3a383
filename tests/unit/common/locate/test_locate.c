/*
 * RFC 3263 section 4 against a table of records, on virtual time.  Every case runs twice:
 * answered at once, as from the cache, and answered later; both must agree.
 */
#include "common/dns/dns.h"
#include "common/locate/locate.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>

enum {
	UDP = 1 << SIP_TRANSPORT_UDP,
	TCP = 1 << SIP_TRANSPORT_TCP,
	TLS = 1 << SIP_TRANSPORT_TLS,
	ALL = UDP | TCP | TLS,
	NOW = 1000,
};

struct row {
	const char *name;
	enum dns_type type;
	unsigned priority, weight, port; /* NAPTR: order, preference */
	const char *service;
	const char *value; /* address, target or replacement; NULL: the query ends with error */
	int error;
};

struct dns_query {
	char name[DNS_NAME_MAX + 16];
	enum dns_type type;
	void (*done)(void *arg, const struct dns_answer *a);
	void *arg;
	bool live;
};

/* The table, and the questions that wait for pump(). */
struct zone {
	const struct row *row;
	bool later;
	unsigned n, asked;
	struct dns_query q[64];
};

static void answer_from(const struct zone *z, const char *name, enum dns_type t,
			struct dns_answer *a)
{
	a->n = 0;
	a->error = -ENOENT;
	for (const struct row *r = z->row; r->name; r++) {
		if (r->type != t || strcmp(r->name, name) != 0)
			continue;
		a->error = r->error;
		if (!r->value)
			return;
		struct dns_record *v = &a->v[a->n++];
		memset(v, 0, sizeof(*v));
		v->priority = (uint16_t)r->priority;
		v->weight = (uint16_t)r->weight;
		v->port = (uint16_t)r->port;
		v->flags = t == DNS_NAPTR ? (char)(r->port ? r->port : 's') : 0;
		snprintf(v->service, sizeof(v->service), "%s", r->service ? r->service : "");
		if (t == DNS_A || t == DNS_AAAA)
			ck_assert_int_eq(addr_parse(&v->addr, span_str(r->value), 0), 0);
		else
			snprintf(v->target, sizeof(v->target), "%s", r->value);
	}
}

static int zone_query(void *arg, const char *name, enum dns_type t, msec now,
		      void (*done)(void *done_arg, const struct dns_answer *a), void *done_arg,
		      struct dns_answer *ret_now, struct dns_query **ret_q)
{
	struct zone *z = arg;

	(void)now;
	z->asked++;
	if (!z->later) {
		answer_from(z, name, t, ret_now);
		return 1;
	}
	ck_assert_uint_lt(z->n, 64);
	struct dns_query *q = &z->q[z->n++];
	*q = (struct dns_query){.type = t, .done = done, .arg = done_arg, .live = true};
	snprintf(q->name, sizeof(q->name), "%s", name);
	*ret_q = q;
	return 0;
}

static void zone_cancel(void *arg, struct dns_query *q)
{
	(void)arg;
	ck_assert(q->live);
	q->live = false;
}

/* Answers all that waits, the last question first. */
static void pump(struct zone *z)
{
	for (bool more = true; more;) {
		more = false;
		for (unsigned i = z->n; i-- > 0;) {
			struct dns_answer a;

			if (!z->q[i].live)
				continue;
			z->q[i].live = false;
			answer_from(z, z->q[i].name, z->q[i].type, &a);
			z->q[i].done(z->q[i].arg, &a);
			more = true;
			break;
		}
	}
}

struct outcome {
	int error;
	unsigned calls;
	struct locate_result r;
};

static void on_done(void *arg, int error, const struct locate_result *r)
{
	struct outcome *o = arg;

	o->error = error;
	o->r = *r;
	o->calls++;
}

static struct sip_uri uri(const char *scheme, const char *host, uint16_t port,
			  const char *transport)
{
	struct sip_uri u = {.scheme = strcmp(scheme, "sips") ? SIP_SCHEME_SIP : SIP_SCHEME_SIPS,
			    .host = span_str(host),
			    .port = port};

	if (transport) {
		u.params.v[0] = (struct sip_param){SPAN("transport"), span_str(transport)};
		u.params.n = 1;
	}
	return u;
}

/* "UDP 192.0.2.1:5060, TCP [2001:db8::1]:5060" or "error -2". */
static void text_of(const struct outcome *o, char *out, size_t room)
{
	size_t n = 0;

	if (o->error)
		n = (size_t)snprintf(out, room, "error %d", o->error);
	out[n] = 0;
	for (unsigned i = 0; !o->error && i < o->r.n; i++) {
		char a[ADDR_TEXT_MAX];

		addr_text(&o->r.v[i].addr, a);
		n += (size_t)snprintf(out + n, room - n, "%s%s %s", i ? ", " : "",
				      sip_transport_via(o->r.v[i].transport), a);
	}
}

static void run_once(const struct row *rows, const struct sip_uri *u, unsigned supported,
		     bool later, char *out, size_t room)
{
	struct zone *z = calloc(1, sizeof(*z));
	struct dns_ops ops = {.query = zone_query, .cancel = zone_cancel, .arg = z};
	struct locate *l = locate_new(&ops, 42);
	struct locate_query *q = NULL;
	struct outcome o = {0};

	ck_assert(z && l);
	z->row = rows;
	z->later = later;
	int rc = locate_start(l, u, supported, NOW, on_done, &o, &o.r, &q);
	ck_assert_uint_eq(o.calls, 0);
	if (rc == 0) {
		pump(z);
		ck_assert_uint_eq(o.calls, 1);
	}
	if (rc < 0)
		o.error = rc;
	text_of(&o, out, room);
	locate_free(l);
	free(z);
}

static void finds(const struct row *rows, struct sip_uri u, unsigned supported,
		  const char *expected)
{
	char now[2048], later[2048];

	run_once(rows, &u, supported, false, now, sizeof(now));
	run_once(rows, &u, supported, true, later, sizeof(later));
	ck_assert_str_eq(now, expected);
	ck_assert_str_eq(later, expected);
}

static const struct row none[] = {{0}};

START_TEST(section_4_1_numeric_host_is_udp_and_for_sips_tls)
{
	finds(none, uri("sip", "192.0.2.1", 0, NULL), ALL, "UDP 192.0.2.1:5060");
	finds(none, uri("sip", "192.0.2.1", 5070, NULL), ALL, "UDP 192.0.2.1:5070");
	finds(none, uri("sips", "192.0.2.1", 0, NULL), ALL, "TLS 192.0.2.1:5061");
	finds(none, uri("sip", "2001:db8::1", 0, NULL), ALL, "UDP [2001:db8::1]:5060");
	finds(none, uri("sip", "192.0.2.1", 0, NULL), TCP, "TCP 192.0.2.1:5060");
}
END_TEST

START_TEST(section_4_1_the_transport_parameter_decides)
{
	finds(none, uri("sip", "192.0.2.1", 0, "TCP"), ALL, "TCP 192.0.2.1:5060");
	finds(none, uri("sip", "192.0.2.1", 0, "tls"), ALL, "TLS 192.0.2.1:5061");
	finds(none, uri("sips", "192.0.2.1", 0, "tcp"), ALL, "TLS 192.0.2.1:5061");
}
END_TEST

START_TEST(what_cannot_be_carried_is_refused)
{
	char text[64];

	snprintf(text, sizeof(text), "error %d", -EPROTONOSUPPORT);
	finds(none, uri("sips", "192.0.2.1", 0, "udp"), ALL, text);
	finds(none, uri("sip", "192.0.2.1", 0, "sctp"), ALL, text);
	finds(none, uri("sip", "192.0.2.1", 0, "tcp"), UDP, text);
	finds(none, uri("sips", "a.test", 0, NULL), UDP | TCP, text);
	snprintf(text, sizeof(text), "error %d", -EINVAL);
	finds(none, uri("sip", "", 0, NULL), ALL, text);
	finds(none, uri("sip", ".", 0, NULL), ALL, text);
}
END_TEST

START_TEST(section_4_2_a_name_with_a_port_is_looked_up_by_address_alone)
{
	static const struct row rows[] = {
		{"a.test", DNS_NAPTR, 1, 1, 0, "SIP+D2T", "_sip._tcp.a.test", 0},
		{"_sip._udp.a.test", DNS_SRV, 1, 1, 7000, NULL, "b.test", 0},
		{"a.test", DNS_A, 0, 0, 0, NULL, "192.0.2.1", 0},
		{"a.test", DNS_AAAA, 0, 0, 0, NULL, "2001:db8::1", 0},
		{0}};

	finds(rows, uri("sip", "A.Test.", 5080, NULL), ALL,
	      "UDP 192.0.2.1:5080, UDP [2001:db8::1]:5080");
	finds(rows, uri("sip", "a.test", 5080, "tcp"), ALL,
	      "TCP 192.0.2.1:5080, TCP [2001:db8::1]:5080");
	finds(rows, uri("sips", "a.test", 5080, NULL), ALL,
	      "TLS 192.0.2.1:5080, TLS [2001:db8::1]:5080");
}
END_TEST

START_TEST(section_4_1_naptr_of_the_lowest_order_that_we_support_counts)
{
	static const struct row rows[] = {
		{"a.test", DNS_NAPTR, 90, 50, 0, "SIP+D2U", "_sip._udp.a.test", 0},
		{"a.test", DNS_NAPTR, 50, 60, 0, "SIPS+D2T", "_sips._tcp.a.test", 0},
		{"a.test", DNS_NAPTR, 50, 50, 0, "SIP+D2T", "_sip._tcp.a.test", 0},
		{"a.test", DNS_NAPTR, 10, 50, 0, "SIP+D2S", "_sip._sctp.a.test", 0},
		{"a.test", DNS_NAPTR, 10, 50, 'u', "E2U+sip", "x.a.test", 0},
		{"_sip._udp.a.test", DNS_SRV, 0, 1, 5060, NULL, "u.a.test", 0},
		{"_sip._tcp.a.test", DNS_SRV, 0, 1, 5062, NULL, "t.a.test", 0},
		{"_sips._tcp.a.test", DNS_SRV, 0, 1, 5063, NULL, "s.a.test", 0},
		{"u.a.test", DNS_A, 0, 0, 0, NULL, "192.0.2.1", 0},
		{"t.a.test", DNS_A, 0, 0, 0, NULL, "192.0.2.2", 0},
		{"s.a.test", DNS_A, 0, 0, 0, NULL, "192.0.2.3", 0},
		{0}};

	finds(rows, uri("sip", "a.test", 0, NULL), ALL,
	      "TCP 192.0.2.2:5062, TLS 192.0.2.3:5063");
	finds(rows, uri("sip", "a.test", 0, NULL), UDP, "UDP 192.0.2.1:5060");
	finds(rows, uri("sips", "a.test", 0, NULL), ALL, "TLS 192.0.2.3:5063");
}
END_TEST

START_TEST(section_4_1_without_naptr_srv_is_asked_for_each_transport)
{
	static const struct row rows[] = {
		{"_sip._tcp.a.test", DNS_SRV, 0, 1, 5062, NULL, "t.a.test", 0},
		{"_sips._tcp.a.test", DNS_SRV, 0, 1, 5063, NULL, "t.a.test", 0},
		{"t.a.test", DNS_A, 0, 0, 0, NULL, "192.0.2.2", 0},
		{0}};

	finds(rows, uri("sip", "a.test", 0, NULL), ALL, "TCP 192.0.2.2:5062");
	finds(rows, uri("sips", "a.test", 0, NULL), ALL, "TLS 192.0.2.2:5063");
	finds(rows, uri("sip", "a.test", 0, NULL), UDP | TLS, "TLS 192.0.2.2:5063");
}
END_TEST

START_TEST(section_4_2_a_named_transport_skips_naptr)
{
	static const struct row rows[] = {
		{"a.test", DNS_NAPTR, 1, 1, 0, "SIP+D2U", "_sip._udp.a.test", 0},
		{"_sip._udp.a.test", DNS_SRV, 0, 1, 5061, NULL, "u.a.test", 0},
		{"_sip._tcp.a.test", DNS_SRV, 0, 1, 5062, NULL, "t.a.test", 0},
		{"u.a.test", DNS_A, 0, 0, 0, NULL, "192.0.2.1", 0},
		{"t.a.test", DNS_A, 0, 0, 0, NULL, "192.0.2.2", 0},
		{0}};

	finds(rows, uri("sip", "a.test", 0, "tcp"), ALL, "TCP 192.0.2.2:5062");
}
END_TEST

START_TEST(section_4_2_without_srv_the_name_itself_with_the_default_port)
{
	static const struct row rows[] = {{"a.test", DNS_A, 0, 0, 0, NULL, "192.0.2.1", 0},
					  {0}};

	finds(rows, uri("sip", "a.test", 0, NULL), ALL, "UDP 192.0.2.1:5060");
	finds(rows, uri("sips", "a.test", 0, NULL), ALL, "TLS 192.0.2.1:5061");
	finds(rows, uri("sip", "a.test", 0, "tcp"), ALL, "TCP 192.0.2.1:5060");
}
END_TEST

START_TEST(section_4_2_srv_by_priority_with_all_addresses_of_each)
{
	static const struct row rows[] = {
		{"_sip._udp.a.test", DNS_SRV, 20, 0, 5060, NULL, "c.test", 0},
		{"_sip._udp.a.test", DNS_SRV, 10, 0, 5070, NULL, "b.test", 0},
		{"_sip._udp.a.test", DNS_SRV, 30, 0, 5080, NULL, "gone.test", 0},
		{"b.test", DNS_A, 0, 0, 0, NULL, "192.0.2.1", 0},
		{"b.test", DNS_A, 0, 0, 0, NULL, "192.0.2.2", 0},
		{"c.test", DNS_A, 0, 0, 0, NULL, "192.0.2.3", 0},
		{"c.test", DNS_AAAA, 0, 0, 0, NULL, "2001:db8::3", 0},
		{0}};

	finds(rows, uri("sip", "a.test", 0, NULL), ALL,
	      "UDP 192.0.2.1:5070, UDP 192.0.2.2:5070, UDP 192.0.2.3:5060, "
	      "UDP [2001:db8::3]:5060");
}
END_TEST

START_TEST(maddr_takes_the_place_of_the_host)
{
	struct sip_uri u = uri("sip", "a.test", 0, NULL);

	u.params.v[0] = (struct sip_param){SPAN("maddr"), SPAN("192.0.2.9")};
	u.params.n = 1;
	finds(none, u, ALL, "UDP 192.0.2.9:5060");
}
END_TEST

START_TEST(a_name_without_any_record_is_enoent)
{
	char text[64];

	snprintf(text, sizeof(text), "error %d", -ENOENT);
	finds(none, uri("sip", "a.test", 0, NULL), ALL, text);
}
END_TEST

START_TEST(a_time_out_or_failing_server_is_told_apart_from_no_name)
{
	static const struct row timeout[] = {{"a.test", DNS_A, 0, 0, 0, NULL, NULL, -ETIMEDOUT},
					     {0}};
	static const struct row failing[] = {{"a.test", DNS_AAAA, 0, 0, 0, NULL, NULL, -EIO},
					     {0}};
	char text[64];

	snprintf(text, sizeof(text), "error %d", -ETIMEDOUT);
	finds(timeout, uri("sip", "a.test", 0, NULL), ALL, text);
	snprintf(text, sizeof(text), "error %d", -EIO);
	finds(failing, uri("sip", "a.test", 0, NULL), ALL, text);
}
END_TEST

START_TEST(a_failing_naptr_question_does_not_stop_the_others)
{
	static const struct row rows[] = {
		{"a.test", DNS_NAPTR, 0, 0, 0, NULL, NULL, -ETIMEDOUT},
		{"a.test", DNS_A, 0, 0, 0, NULL, "192.0.2.1", 0},
		{0}};

	finds(rows, uri("sip", "a.test", 0, NULL), ALL, "UDP 192.0.2.1:5060");
}
END_TEST

START_TEST(targets_are_at_most_16_and_never_twice)
{
	static const struct row rows[] = {
		{"_sip._udp.a.test", DNS_SRV, 1, 0, 5060, NULL, "b.test", 0},
		{"_sip._udp.a.test", DNS_SRV, 2, 0, 5060, NULL, "b.test", 0},
		{"b.test", DNS_A, 0, 0, 0, NULL, "192.0.2.1", 0},
		{0}};
	struct row many[60] = {{0}};
	char names[20][16], addrs[20][16], text[2048];
	unsigned commas = 0;

	finds(rows, uri("sip", "a.test", 0, NULL), ALL, "UDP 192.0.2.1:5060");
	for (unsigned i = 0; i < 20; i++) {
		snprintf(names[i], 16, "h%u.test", i);
		snprintf(addrs[i], 16, "192.0.2.%u", i + 1);
		many[3 * i] = (struct row){"_sip._udp.a.test", DNS_SRV, i, 0, 5060, NULL,
					   names[i],	       0};
		many[3 * i + 1] = (struct row){names[i], DNS_A, 0, 0, 0, NULL, addrs[i], 0};
		many[3 * i + 2] =
			(struct row){names[i], DNS_A, 0, 0, 0, NULL, "198.51.100.1", 0};
	}
	many[59] = (struct row){0};
	struct sip_uri u = uri("sip", "a.test", 0, NULL);
	run_once(many, &u, ALL, true, text, sizeof(text));
	for (const char *p = text; *p; p++)
		commas += *p == ',';
	ck_assert_uint_le(commas + 1, LOCATE_MAX);
	ck_assert_uint_ge(commas + 1, 8);
}
END_TEST

START_TEST(the_certificate_is_checked_against_the_name_in_the_uri)
{
	static const struct row rows[] = {
		{"_sips._tcp.a.test", DNS_SRV, 1, 0, 5061, NULL, "b.test", 0},
		{"b.test", DNS_A, 0, 0, 0, NULL, "192.0.2.1", 0},
		{0}};
	struct zone z = {.row = rows};
	struct dns_ops ops = {.query = zone_query, .cancel = zone_cancel, .arg = &z};
	struct locate *l = locate_new(&ops, 1);
	struct sip_uri u = uri("sips", "a.test", 0, NULL);
	struct locate_result r;
	struct locate_query *q;

	ck_assert_int_eq(locate_start(l, &u, ALL, NOW, on_done, NULL, &r, &q), 1);
	ck_assert_str_eq(locate_name(l, r.name), "a.test");
	locate_free(l);
}
END_TEST

static uint32_t name_of(struct locate *l, const char *scheme, const char *host)
{
	struct sip_uri u = uri(scheme, host, 0, NULL);
	struct locate_result r;
	struct locate_query *q;

	ck_assert_int_eq(locate_start(l, &u, ALL, NOW, on_done, NULL, &r, &q), 1);
	return r.name;
}

START_TEST(an_address_is_what_a_numeric_target_is_checked_against)
{
	struct zone z = {.row = none};
	struct dns_ops ops = {.query = zone_query, .cancel = zone_cancel, .arg = &z};
	struct locate *l = locate_new(&ops, 1);

	ck_assert_str_eq(locate_name(l, name_of(l, "sips", "192.0.2.1")), "192.0.2.1");
	ck_assert_str_eq(locate_name(l, name_of(l, "sips", "2001:DB8::1")), "[2001:db8::1]");
	ck_assert_uint_eq(name_of(l, "sip", "192.0.2.1"), 0);
	ck_assert_ptr_null(locate_name(l, 0));
	locate_free(l);
}
END_TEST

START_TEST(names_are_bounded_and_a_forgotten_one_is_nobody_elses)
{
	struct zone z = {.row = none};
	struct dns_ops ops = {.query = zone_query, .cancel = zone_cancel, .arg = &z};
	struct locate *l = locate_new(&ops, 1);
	uint32_t first = name_of(l, "sips", "192.0.2.1");
	char host[32];

	ck_assert_uint_eq(name_of(l, "sips", "192.0.2.1"), first);
	for (unsigned i = 0; i < 20000; i++) {
		snprintf(host, sizeof(host), "10.1.%u.%u", i / 250, i % 250);
		uint32_t n = name_of(l, "sips", host);
		ck_assert_uint_ne(n, first);
		ck_assert_str_eq(locate_name(l, n), host);
	}
	ck_assert_ptr_null(locate_name(l, first));
	locate_free(l);
}
END_TEST

START_TEST(weights_share_the_load_in_proportion)
{
	static const struct row rows[] = {
		{"_sip._udp.a.test", DNS_SRV, 1, 10, 5060, NULL, "b.test", 0},
		{"_sip._udp.a.test", DNS_SRV, 1, 30, 5060, NULL, "c.test", 0},
		{"_sip._udp.a.test", DNS_SRV, 1, 0, 5060, NULL, "d.test", 0},
		{"b.test", DNS_A, 0, 0, 0, NULL, "192.0.2.1", 0},
		{"c.test", DNS_A, 0, 0, 0, NULL, "192.0.2.2", 0},
		{"d.test", DNS_A, 0, 0, 0, NULL, "192.0.2.3", 0},
		{0}};
	struct zone z = {.row = rows};
	struct dns_ops ops = {.query = zone_query, .cancel = zone_cancel, .arg = &z};
	struct locate *l = locate_new(&ops, 7);
	struct sip_uri u = uri("sip", "a.test", 0, NULL);
	struct locate_result r;
	struct locate_query *q;
	unsigned first[4] = {0};

	for (int i = 0; i < 8000; i++) {
		ck_assert_int_eq(locate_start(l, &u, ALL, NOW, on_done, NULL, &r, &q), 1);
		ck_assert_uint_eq(r.n, 3);
		first[ntohl(r.v[0].addr.in4.sin_addr.s_addr) & 3]++;
	}
	ck_assert_uint_gt(first[2], first[1] * 26 / 10);
	ck_assert_uint_lt(first[2], first[1] * 34 / 10);
	ck_assert_uint_gt(first[3], 0); /* weight 0: seldom, but not never */
	ck_assert_uint_lt(first[3], 500);
	locate_free(l);
}
END_TEST

START_TEST(section_4_3_a_target_that_failed_is_tried_last_for_a_while)
{
	static const struct row rows[] = {{"a.test", DNS_A, 0, 0, 0, NULL, "192.0.2.1", 0},
					  {"a.test", DNS_A, 0, 0, 0, NULL, "192.0.2.2", 0},
					  {0}};
	struct zone z = {.row = rows};
	struct dns_ops ops = {.query = zone_query, .cancel = zone_cancel, .arg = &z};
	struct locate *l = locate_new(&ops, 7);
	struct sip_uri u = uri("sip", "a.test", 5060, NULL);
	struct locate_result r, first;
	struct locate_query *q;

	ck_assert_int_eq(locate_start(l, &u, ALL, NOW, on_done, NULL, &first, &q), 1);
	locate_mark_failed(l, &first.v[0], NOW);
	ck_assert_int_eq(locate_start(l, &u, ALL, NOW + 1000, on_done, NULL, &r, &q), 1);
	ck_assert_uint_eq(r.n, 2);
	ck_assert(addr_equal(&r.v[0].addr, &first.v[1].addr));
	ck_assert(addr_equal(&r.v[1].addr, &first.v[0].addr));
	ck_assert_int_eq(locate_start(l, &u, ALL, NOW + 31000, on_done, NULL, &r, &q), 1);
	ck_assert(addr_equal(&r.v[0].addr, &first.v[0].addr));
	locate_free(l);
}
END_TEST

START_TEST(the_memory_of_failures_is_bounded_and_keeps_the_newest)
{
	static const struct row rows[] = {{"a.test", DNS_A, 0, 0, 0, NULL, "192.0.2.1", 0},
					  {"a.test", DNS_A, 0, 0, 0, NULL, "192.0.2.2", 0},
					  {0}};
	struct zone z = {.row = rows};
	struct dns_ops ops = {.query = zone_query, .cancel = zone_cancel, .arg = &z};
	struct locate *l = locate_new(&ops, 7);
	struct sip_uri u = uri("sip", "a.test", 5060, NULL);
	struct locate_target t = {.transport = SIP_TRANSPORT_UDP};
	struct locate_result r;
	struct locate_query *q;

	for (unsigned i = 0; i < 100000; i++) {
		addr_parse(&t.addr, SPAN("10.0.0.1"), (uint16_t)(i % 60000 + 1));
		locate_mark_failed(l, &t, NOW + i / 100);
	}
	addr_parse(&t.addr, SPAN("192.0.2.1"), 5060);
	locate_mark_failed(l, &t, NOW + 1001);
	ck_assert_int_eq(locate_start(l, &u, ALL, NOW + 2000, on_done, NULL, &r, &q), 1);
	ck_assert(addr_equal(&r.v[1].addr, &t.addr));
	locate_free(l);
}
END_TEST

START_TEST(a_cancelled_query_calls_nobody_and_leaves_no_question)
{
	struct zone *z = calloc(1, sizeof(*z));
	struct dns_ops ops = {.query = zone_query, .cancel = zone_cancel, .arg = z};
	struct locate *l = locate_new(&ops, 7);
	struct sip_uri u = uri("sip", "a.test", 5060, NULL);
	struct outcome o = {0};
	struct locate_query *q;

	ck_assert(z && l);
	z->row = none;
	z->later = true;
	ck_assert_int_eq(locate_start(l, &u, ALL, NOW, on_done, &o, &o.r, &q), 0);
	ck_assert_uint_eq(z->n, 2); /* A and AAAA side by side */
	locate_cancel(q);
	ck_assert(!z->q[0].live && !z->q[1].live);
	ck_assert_int_eq(locate_start(l, &u, ALL, NOW, on_done, &o, &o.r, &q), 0);
	locate_free(l); /* the one under way goes with it */
	ck_assert(!z->q[2].live && !z->q[3].live);
	ck_assert_uint_eq(o.calls, 0);
	free(z);
}
END_TEST

UNIT_MAIN("locate", section_4_1_numeric_host_is_udp_and_for_sips_tls,
	  section_4_1_the_transport_parameter_decides, what_cannot_be_carried_is_refused,
	  section_4_2_a_name_with_a_port_is_looked_up_by_address_alone,
	  section_4_1_naptr_of_the_lowest_order_that_we_support_counts,
	  section_4_1_without_naptr_srv_is_asked_for_each_transport,
	  section_4_2_a_named_transport_skips_naptr,
	  section_4_2_without_srv_the_name_itself_with_the_default_port,
	  section_4_2_srv_by_priority_with_all_addresses_of_each,
	  maddr_takes_the_place_of_the_host, a_name_without_any_record_is_enoent,
	  a_time_out_or_failing_server_is_told_apart_from_no_name,
	  a_failing_naptr_question_does_not_stop_the_others,
	  targets_are_at_most_16_and_never_twice,
	  the_certificate_is_checked_against_the_name_in_the_uri,
	  an_address_is_what_a_numeric_target_is_checked_against,
	  names_are_bounded_and_a_forgotten_one_is_nobody_elses,
	  weights_share_the_load_in_proportion,
	  section_4_3_a_target_that_failed_is_tried_last_for_a_while,
	  the_memory_of_failures_is_bounded_and_keeps_the_newest,
	  a_cancelled_query_calls_nobody_and_leaves_no_question)
