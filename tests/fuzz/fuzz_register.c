/*
 * The registrar: the input is header lines of a REGISTER (after "B": the body of a binding's
 * record, as a hostile neighbour may send it; after "G": a URI that may be a GRUU).  An answer
 * is given once, its lines are sound, no more bindings than allowed, and look-up and lists bear
 * the rest.
 */
#include "common/records/records.h"
#include "common/sip/values.h"
#include "home/registrar/registrar.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const uint64_t wall_ms = 1735787045000ull;
static struct arena arena;
static struct reg_conf conf;
static const struct mac_key key = {1, 2};

static void must(bool holds)
{
	if (!holds)
		abort();
}

static void setup(void)
{
	must(sip_values_init() == 0 && arena_init(&arena, 131072) == 0);
	sip_values_use_arena(&arena);
	conf = reg_conf_default;
	conf.domain = "example.com";
	conf.service_route = "<sip:example.com;lr>";
}

/* Lines that end in CRLF, with no other control characters but tabs, and none that is empty. */
static void check_lines(struct span s)
{
	must(s.n == 0 || (s.n > 2 && s.p[s.n - 2] == '\r' && s.p[s.n - 1] == '\n'));
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\r')
			must(i + 1 < s.n && s.p[i + 1] == '\n' &&
			     (i < 2 || s.p[i - 1] != '\n'));
		else if (s.p[i] == '\n')
			must(i > 0 && s.p[i - 1] == '\r');
		else
			must(s.p[i] != '\0');
	}
}

static void check_answer(void *arg, const struct reg_answer *a)
{
	++*(unsigned *)arg;
	must(a->status >= 200 && a->status < 700 && a->reason);
	must(a->bindings <= conf.contacts_per_user);
	check_lines(a->lines);
}

static void send_register(struct reg *reg, struct span lines, unsigned cseq)
{
	static char text[20000];
	struct sip_flow flow = {.transport = SIP_TRANSPORT_UDP};
	struct sip_hdr hdr[SIP_HDR_MAX];
	struct sip_msg m = {.hdr = hdr};
	struct sip_fault fault;
	unsigned calls = 0;
	int n = snprintf(
		text, sizeof(text),
		"REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\n"
		"From: <sip:a@example.com>;tag=1\r\nTo: <sip:a@example.com>\r\n"
		"Call-ID: c\r\nCSeq: %u REGISTER\r\n%.*s\r\n\r\n",
		cseq, SPAN_FMT(lines));
	if (n < 0 || (size_t)n >= sizeof(text))
		return;
	must(addr_parse(&flow.remote, SPAN("192.0.2.9"), 5060) == 0);
	if (sip_msg_index(&m, span_of(text, (size_t)n), false, &sip_limits_default, &fault) < 0)
		return;
	arena_reset(&arena);
	reg_register(reg, &m, NULL, &flow, SPAN("a"), wall_ms + cseq, check_answer, &calls);
	must(calls == 1);
}

static bool see(void *arg, const struct reg_binding *b)
{
	must(span_eq(b->user, SPAN("a")));
	++*(unsigned *)arg;
	return true;
}

static void parse_gruu(struct reg *reg, struct span text)
{
	struct sip_uri u;
	struct reg_gruu g;
	arena_reset(&arena);
	if (sip_uri_parse(text, &u) == 0 && reg_gruu_parse(reg, &u, &g) == 0)
		must(g.user.n > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct reg_target v[REG_CONTACTS_MAX];
	unsigned seen = 0, bindings = 0;

	if (!conf.domain)
		setup();
	if (n == 0 || n > 16384)
		return 0;
	struct span in = span_of((const char *)data, n), rest = span_of(in.p + 1, n - 1);
	struct records *r = records_new(NULL, 1, 1000, NULL);
	struct reg *reg = reg_new(&conf, NULL, r, &key, 1);
	must(r && reg);
	if (in.p[0] == 'B') {
		struct record rec = {.kind = RECORD_BINDING,
				     .group = SPAN("a"),
				     .name = SPAN("x"),
				     .body = rest};
		must(records_put(r, &rec, 1, NULL, wall_ms, NULL, NULL) == 0);
		rest = SPAN("Contact: <sip:a@192.0.2.4>\r\nSupported: gruu");
	}
	if (in.p[0] == 'G')
		parse_gruu(reg, rest);
	send_register(reg, in.p[0] == 'B' ? rest : in, 1);
	send_register(reg, in.p[0] == 'B' ? rest : in, 2);
	reg_each(reg, SPAN("a"), wall_ms, see, &seen);
	arena_reset(&arena);
	int found = reg_lookup(reg, SPAN("a"), NULL, wall_ms, v, REG_CONTACTS_MAX, &bindings);
	must(found >= 0 && (unsigned)found <= bindings && bindings <= seen);
	for (int i = 0; i < found; i++)
		reg_flow_failed(reg, v[i].tag, NULL, v[i].route, wall_ms);
	must(reg_drop(reg, SPAN("a"), span_of(NULL, 0), wall_ms, NULL, NULL) >= 0);
	reg_free(reg);
	records_free(r);
	return 0;
}
