/* RFC 3263 over a resolver that answers from a table, at once or after a while. */
#include "tests/oom/oom.h"

#include "common/dns/dns.h"
#include "common/locate/locate.h"

#include <errno.h>
#include <string.h>

static struct arena arena;
static bool later;
static void (*waiting)(void *arg, const struct dns_answer *a);
static void *waiting_arg;
static struct dns_answer answer;
static unsigned found;

enum { ALL = 1 << SIP_TRANSPORT_UDP | 1 << SIP_TRANSPORT_TCP | 1 << SIP_TRANSPORT_TLS };

static void make_answer(const char *name, enum dns_type type)
{
	struct dns_record *r = &answer.v[0];

	memset(&answer, 0, sizeof(answer));
	answer.n = 1;
	if (type == DNS_NAPTR && strcmp(name, "example.net") == 0) {
		r->flags = 's';
		strcpy(r->service, "SIP+D2U");
		strcpy(r->target, "_sip._udp.example.net");
	} else if (type == DNS_SRV && strcmp(name, "_sip._udp.example.net") == 0) {
		r->port = 5070;
		strcpy(r->target, "host.example.net");
	} else if (type == DNS_A) {
		OOM_HOLDS(addr_parse(&r->addr, SPAN("192.0.2.7"), 0) == 0);
	} else {
		answer.n = 0;
		answer.error = -ENOENT;
	}
}

static int query(void *arg, const char *name, enum dns_type type, msec now,
		 void (*done)(void *done_arg, const struct dns_answer *a), void *done_arg,
		 struct dns_answer *ret_now, struct dns_query **ret_q)
{
	(void)arg;
	(void)now;
	if (later && !waiting) {
		make_answer(name, type);
		waiting = done;
		waiting_arg = done_arg;
		*ret_q = (struct dns_query *)&waiting;
		return 0;
	}
	if (waiting) /* the one that waits holds the answer's room */
		return -ENOBUFS;
	make_answer(name, type);
	*ret_now = answer;
	return 1;
}

static void cancel(void *arg, struct dns_query *q)
{
	(void)arg;
	OOM_HOLDS(q == (struct dns_query *)&waiting);
	waiting = NULL;
}

static void on_done(void *arg, int error, const struct locate_result *r)
{
	(void)arg;
	OOM_HOLDS(error || r->n > 0);
	OOM_HOLDS(error || r->v[0].transport != SIP_TRANSPORT_TLS || r->name);
	found += error == 0;
}

static void ask(struct locate *l, const char *text)
{
	struct locate_query *q = NULL;
	struct locate_result r;
	struct sip_uri uri;
	int e;

	arena_reset(&arena);
	OOM_HOLDS(sip_uri_parse(span_str(text), &uri) == 0);
	e = locate_start(l, &uri, ALL, 1000, on_done, NULL, &r, &q);
	if (e == 1) {
		OOM_HOLDS(r.n > 0);
		OOM_HOLDS(r.v[0].transport != SIP_TRANSPORT_TLS || locate_name(l, r.name));
		found++;
	}
	for (unsigned i = 0; i < 20 && waiting; i++) {
		void (*done)(void *arg, const struct dns_answer *a) = waiting;

		waiting = NULL;
		done(waiting_arg, &answer);
	}
	OOM_HOLDS(!waiting);
}

static void setup(void)
{
	OOM_HOLDS(sip_values_init() == 0 && arena_init(&arena, 65536) == 0);
	sip_values_use_arena(&arena);
}

static int run(void)
{
	static const struct dns_ops ops = {.query = query, .cancel = cancel};
	const struct locate_target bad = {.transport = SIP_TRANSPORT_UDP};
	struct locate *l = locate_new(&ops, 1);

	found = 0;
	if (!l)
		return -1;
	later = false;
	ask(l, "sip:example.net");
	ask(l, "sip:192.0.2.1:5061");
	locate_mark_failed(l, &bad, 1000);
	later = true;
	ask(l, "sip:example.net");
	ask(l, "sip:host.example.net:5066;transport=tcp");
	ask(l, "sips:host.example.net:5067");
	ask(l, "sips:192.0.2.1");
	locate_free(l);
	return found == 6 ? 0 : -1;
}

const struct oom_scenario oom_scenario = {"locate", setup, run};
