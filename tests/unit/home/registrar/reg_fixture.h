/*
 * A registrar with a memory table, and REGISTER requests as text.
 */
#ifndef EAVES_TESTS_REG_FIXTURE_H
#define EAVES_TESTS_REG_FIXTURE_H

#include "tests/unit/unit.h"

#include "home/registrar/registrar.h"

#include <errno.h>
#include <stdio.h>

/* 2025-01-02 03:04:05 UTC */
#define T0 1735787045000ull

#define INSTANCE "+sip.instance=\"<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>\""
#define DATE	 "Date: Thu, 02 Jan 2025 03:04:05 GMT\r\n"

static const struct mac_key fixture_key = {1, 2};
static struct arena fixture_arena;
static char fixture_via[256]; /* the Via lines of a request */
static struct records *records;
static struct reg *reg;
static struct sip_flow flow;
static bool alive = true;

static struct fixture_answer {
	int calls;
	unsigned status, bindings;
	char reason[64], lines[8192];
} answer;

static bool flow_alive(void *arg, const struct sip_flow *f)
{
	(void)arg;
	(void)f;
	return alive;
}

static inline struct sip_flow flow_from(enum sip_transport t, const char *host, uint16_t port,
					uint64_t conn)
{
	struct sip_flow f = {.transport = t, .listener = 1, .worker = 0, .conn = conn};
	ck_assert_int_eq(addr_parse(&f.remote, span_str(host), port), 0);
	return f;
}

static inline void start_with(const struct reg_conf *conf, struct records *r)
{
	static bool once;
	const struct reg_ops ops = {.flow_alive = flow_alive};
	if (!once)
		ck_assert_int_eq(sip_values_init(), 0);
	once = true;
	ck_assert_int_eq(arena_init(&fixture_arena, 262144), 0);
	sip_values_use_arena(&fixture_arena);
	records = r;
	reg = reg_new(conf, &ops, records, &fixture_key, 77);
	ck_assert_ptr_nonnull(reg);
	flow = flow_from(SIP_TRANSPORT_UDP, "192.0.2.4", 5060, 0);
	alive = true;
	snprintf(fixture_via, sizeof(fixture_via),
		 "Via: SIP/2.0/UDP 192.0.2.4;branch=z9hG4bK1\r\n");
}

static inline void start(void)
{
	struct reg_conf conf = reg_conf_default;
	conf.domain = "example.com";
	start_with(&conf, records_new(NULL, 1, 10000, NULL));
}

static inline void stop(void)
{
	reg_free(reg);
	records_free(records);
	arena_done(&fixture_arena);
}

static void take_answer(void *arg, const struct reg_answer *a)
{
	struct fixture_answer *t = arg;
	t->calls++;
	t->status = a->status;
	t->bindings = a->bindings;
	snprintf(t->reason, sizeof(t->reason), "%s", a->reason);
	ck_assert_uint_lt(a->lines.n, sizeof(t->lines));
	memcpy(t->lines, a->lines.p ? a->lines.p : "", a->lines.n);
	t->lines[a->lines.n] = 0;
}

/* Registers alice; lines: header lines as they stand. */
static inline unsigned register_user(const char *user, const char *call_id, unsigned cseq,
				     const char *lines, uint64_t now)
{
	static char text[16384];
	static struct sip_hdr hdr[SIP_HDR_MAX];
	struct sip_msg m = {.hdr = hdr};
	struct sip_fault fault;
	int n = snprintf(text, sizeof(text),
			 "REGISTER sip:example.com SIP/2.0\r\n%s"
			 "From: <sip:%s@example.com>;tag=1\r\nTo: <sip:%s@example.com>\r\n"
			 "Call-ID: %s\r\nCSeq: %u REGISTER\r\n%sContent-Length: 0\r\n\r\n",
			 fixture_via, user, user, call_id, cseq, lines);
	ck_assert_int_lt(n, (int)sizeof(text));
	int rc =
		sip_msg_index(&m, span_of(text, (size_t)n), false, &sip_limits_default, &fault);
	ck_assert_msg(rc == 0, "%s", rc ? fault.reason : "");
	arena_reset(&fixture_arena);
	memset(&answer, 0, sizeof(answer));
	reg_register(reg, &m, NULL, &flow, span_str(user), now, take_answer, &answer);
	return answer.status;
}

static inline unsigned reg_alice(unsigned cseq, const char *lines)
{
	return register_user("alice", "call1@ua", cseq, lines, T0);
}

/* Value of the first header of a name in the answer, in static room; "" without. */
static inline const char *answered(const char *name)
{
	static char out[2048];
	char start_of[64];
	snprintf(start_of, sizeof(start_of), "%s: ", name);
	const char *p = answer.lines;
	while (p && strncmp(p, start_of, strlen(start_of)) != 0) {
		p = strstr(p, "\r\n");
		p = p && p[2] ? p + 2 : NULL;
	}
	out[0] = 0;
	if (p) {
		p += strlen(start_of);
		snprintf(out, sizeof(out), "%.*s", (int)(strstr(p, "\r\n") - p), p);
	}
	return out;
}

/* How often a header stands in the answer. */
static inline unsigned times(const char *name)
{
	char start_of[64];
	unsigned n = 0;
	snprintf(start_of, sizeof(start_of), "%s: ", name);
	for (const char *p = strstr(answer.lines, start_of); p; p = strstr(p + 1, start_of))
		n++;
	return n;
}

static struct reg_target target[REG_CONTACTS_MAX];

static inline int lookup(uint64_t now)
{
	arena_reset(&fixture_arena);
	return reg_lookup(reg, SPAN("alice"), NULL, now, target, REG_CONTACTS_MAX, NULL);
}

#define ck_assert_span_eq(span, text) \
	ck_assert_msg(span_eq(span, span_str(text)), "%.*s is not %s", SPAN_FMT(span), text)

#endif
