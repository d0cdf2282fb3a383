/*
 * One run, and what is asked of every run: nobody rings on, no call or request is left without
 * an end, every phone that was told that it is registered is reached, and all nodes and Redis
 * have its binding.
 */
#include "tests/sim/run.h"

#include "tests/sim/fault.h"
#include "tests/sim/operator.h"
#include "tests/sim/rings.h"
#include "tests/sim/script.h"
#include "tests/sim/stored.h"
#include "tests/sim/trace.h"

#include <stdarg.h>
#include <stdlib.h>

enum {
	STEP_MS = 100,
	LIMIT_S = 150,	  /* of a flow */
	SETTLE_MS = 1500, /* from the end of the flow to the questions */
	PROBE_S = 40,
	TIMER_C_S = 100, /* and the 32 s that a CANCEL may take */
	STORED_S = 20,	 /* until all have what all have */
	/* A home may be told of a call that is over, or has been told late: timer C once more,
	 * and its CANCEL. */
	DRAIN_S = 130,
};

static struct ua *probe;
static const char *found_wrong;

bool run_prepare(const struct run_conf *c)
{
	hosts_init(c->seed, &trouble_none);
	scene_build(c->kind, c->seed, c->workers);
	c->flow->setup();
	scene_user("probe", "h1", 0);
	struct ua_conf p = scene_phone_conf("probe", "probe");
	probe = scene_phone(&p, NULL);
	scene_start(c->flow->how & FLOW_SECOND_FIRST);
	if (!scene_register())
		return false;
	hosts_set_trouble(&c->trouble);
	return true;
}

static bool all_idle(void)
{
	for (unsigned i = 0; i < ua_count(); i++)
		if (!ua_is_idle(ua_of(i)))
			return false;
	return !fault_is_open() && !operator_is_busy() && !script_is_open();
}

static void wait_until(bool (*done)(void), usec limit)
{
	usec end = sim_now() + limit;
	do
		event_run_until(sim_now() + USEC_MS(STEP_MS));
	while (!done() && sim_now() < end);
}

static bool was_asked(unsigned upto, const char *user)
{
	for (unsigned i = 0; i < upto; i++)
		if (strcmp(ua_user(ua_of(i)), user) == 0)
			return true;
	return false;
}

/* A message to every user is to reach each of his devices. */
static void ask(void)
{
	for (unsigned i = 0; i < ua_count(); i++) {
		const char *user = ua_user(ua_of(i));
		char uri[64], text[64];
		if (!ua_registers(ua_of(i)) || was_asked(i, user) || ua_of(i) == probe)
			continue;
		snprintf(uri, sizeof(uri), "sip:%s@%s", user, scene_domain);
		snprintf(text, sizeof(text), "are you there, %s?", user);
		ua_message(probe, uri, text);
	}
}

static bool is_reached(const struct ua *u)
{
	char text[64];
	snprintf(text, sizeof(text), "are you there, %s?", ua_user(u));
	return ua_has_message(u, text);
}

static bool all_reached(void)
{
	for (unsigned i = 0; i < ua_count(); i++)
		if (ua_of(i) != probe && ua_is_registered(ua_of(i)) && !is_reached(ua_of(i)))
			return false;
	return all_idle();
}

static bool nodes_idle(void)
{
	for (unsigned i = 0; i < nodes_count(); i++)
		if (node_unanswered(node_of(i)))
			return false;
	return true;
}

void run_flow(const struct run_conf *c)
{
	rings_network(c->trouble.udp_loss > 0 || c->trouble.stream_loss > 0);
	trace_all_bus(c->bus || (c->flow->how & FLOW_BUS));
	trace_begin();
	trace_note(ua_host(probe), "the flow begins");
	c->flow->go();
	wait_until(all_idle, script_left() + USEC_S(LIMIT_S));
	event_run_until(sim_now() + USEC_MS(SETTLE_MS));
	trace_end();
	trace_note(ua_host(probe), "the flow has ended");
	ask();
	wait_until(all_reached, USEC_S(PROBE_S));
	/* A member that was out of reach may hold what the other has brought to its end: until
	 * timer C. */
	if (!nodes_idle())
		wait_until(nodes_idle, USEC_S(TIMER_C_S));
	if (!stored_everywhere())
		wait_until(stored_everywhere, USEC_S(STORED_S));
	if (c->drain)
		event_run_until(sim_now() + USEC_S(DRAIN_S));
}

/* ---- the outcome ---- */

struct lines {
	unsigned n;
	char *v[512];
};

static void line(struct lines *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void line(struct lines *l, const char *fmt, ...)
{
	va_list ap;
	if (l->n == sizeof(l->v) / sizeof(l->v[0]))
		return;
	va_start(ap, fmt);
	if (vasprintf(&l->v[l->n++], fmt, ap) < 0)
		abort();
	va_end(ap);
}

/* Whatever the flow is. */
static bool is_wrong(const char *fact)
{
	const char *bye = strstr(fact, ": BYE: ");
	return strstr(fact, "CANCELLED ALTHOUGH") || strstr(fact, ": no ") ||
	       strstr(fact, "another 200") || strstr(fact, "RANG ON") ||
	       strstr(fact, "no message") || (bye && strcmp(bye, ": BYE: 200") != 0);
}

static void of_phone(struct lines *l, const struct ua *u)
{
	const char *name = ua_device(u);
	bool registered = ua_is_registered(u);
	for (unsigned i = 0; i < ua_fact_count(u); i++) {
		const char *fact = ua_fact_text(u, i);
		if (strcmp(fact, "registered") != 0) /* a phone may do so more than once */
			line(l, "%s: %s", name, fact);
		if (is_wrong(fact))
			line(l, "!%s: %s", name, fact);
	}
	if (registered)
		line(l, "%s: is registered", name);
	if (registered && u != probe && !is_reached(u))
		line(l, "!%s: registered, but not reached", name);
	if (!registered && ua_is_gone(u) && is_reached(u))
		line(l, "!%s: gone, but reached", name);
	if (ua_ringing(u))
		line(l, "!%s: rings still", name);
	if (ua_calls(u))
		line(l, "!%s: %u calls have no end", name, ua_calls(u));
	if (ua_open_requests(u))
		line(l, "!%s: %u requests have no answer", name, ua_open_requests(u));
}

static void of_node(struct lines *l, const struct node *n, bool drained)
{
	unsigned long long open = node_unanswered(n), live = node_transactions(n);
	if (open)
		line(l, "!%s: %llu requests are unanswered", n->host->name, open);
	if (drained && live)
		line(l, "!%s: %llu transactions hang", n->host->name, live);
}

static void of_tables(void *arg, const char *what)
{
	line(arg, "!%s", what);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void run_wrong(const char *what)
{
	found_wrong = what;
}

size_t run_outcome(const struct run_conf *c, char out[RUN_OUTCOME_MAX])
{
	struct lines *l = sim_alloc(sizeof(*l));
	size_t at = 0;
	for (unsigned i = 0; i < ua_count(); i++)
		of_phone(l, ua_of(i));
	for (unsigned i = 0; i < nodes_count(); i++)
		of_node(l, node_of(i), c->drain);
	if (operator_unanswered())
		line(l, "!the operator: %u questions have no answer", operator_unanswered());
	if (found_wrong)
		line(l, "!%s", found_wrong);
	stored_look(of_tables, l);
	qsort(l->v, l->n, sizeof(l->v[0]), by_text);
	for (unsigned i = 0; i < l->n; i++) {
		int n = snprintf(out + at, RUN_OUTCOME_MAX - at, "%s\n", l->v[i]);
		if (n < 0 || (size_t)n >= RUN_OUTCOME_MAX - at)
			break;
		at += (size_t)n;
		free(l->v[i]);
	}
	free(l);
	out[at] = 0;
	return at;
}

static size_t length(const char *p)
{
	return strcspn(p, "\n");
}

static int cmp(const char *a, const char *b)
{
	size_t n = length(a), m = length(b);
	int r = memcmp(a, b, n < m ? n : m);
	if (!*a || !*b)
		return *a ? -1 : 1;
	return r ? r : n < m ? -1 : n > m;
}

unsigned run_compare(FILE *out, const char *good, const char *other)
{
	unsigned differ = 0;
	while (*good || *other) {
		int r = *good || *other ? cmp(good, other) : 0;
		size_t n = length(good), m = length(other);
		if (r < 0) {
			fprintf(out, "  missing: %.*s\n", (int)n, good);
			differ++;
		} else if (r > 0) {
			bool wrong = *other == '!';
			fprintf(out, "  %s: %.*s\n", wrong ? "wrong" : "more", (int)m - wrong,
				other + wrong);
			differ++;
		} else if (*other == '!') {
			fprintf(out, "  wrong: %.*s\n", (int)m - 1, other + 1);
			differ++;
		}
		if (r <= 0)
			good += n + 1;
		if (r >= 0)
			other += m + 1;
	}
	return differ;
}
