/*
 * common/dns/dns.h from a table: the first to ask for a name waits for it, afterwards it is
 * known.
 */
#include "common/dns/dns.h"

#include "tests/sim/names.h"
#include "tests/sim/rim.h"

#include <errno.h>
#include <stdlib.h>

enum { NAMES_MAX = 32, ANSWER_US = 2000 };

struct known {
	const char *name;
	enum dns_type type;
	struct dns_answer answer;
};
static struct known table[NAMES_MAX];
static unsigned nknown;

const struct dns_conf dns_conf_default = {.timeout_ms = 2000,
					  .tries = 2,
					  .cache_entries = 4096,
					  .negative_ttl_s = 30,
					  .max_ttl_s = 3600};

struct dns {
	struct node_part part;
	struct loop *loop;
	struct dns_ops ops;
	struct dns_counters count;
	bool asked[NAMES_MAX + 1]; /* the last: all that does not exist */
	struct list queries;
};

struct dns_query {
	struct loop_in in;
	struct event ev;
	struct list link;
	struct dns *dns;
	const struct dns_answer *answer;
	unsigned row;
	void (*done)(void *arg, const struct dns_answer *a);
	void *arg;
};

static struct dns_record *record(const char *name, enum dns_type type)
{
	for (unsigned i = 0; i < nknown; i++)
		if (table[i].type == type && strcmp(table[i].name, name) == 0)
			return &table[i].answer.v[table[i].answer.n++];
	if (nknown == NAMES_MAX)
		abort();
	struct known *k = &table[nknown++];
	*k = (struct known){.name = name, .type = type};
	k->answer.n = 1;
	return &k->answer.v[0];
}

void names_add_a(const char *name, const char *ip)
{
	record(name, DNS_A)->addr = addr_of(ip, 0);
}

void names_add_srv(const char *name, const char *target, uint16_t port, uint16_t priority)
{
	struct dns_record *r = record(name, DNS_SRV);
	r->port = port;
	r->priority = priority;
	snprintf(r->target, sizeof(r->target), "%s", target);
}

static unsigned row_of(const char *name, enum dns_type type)
{
	unsigned i = 0;
	while (i < nknown && (table[i].type != type || strcasecmp(table[i].name, name) != 0))
		i++;
	return i < nknown ? i : NAMES_MAX;
}

static const struct dns_answer none = {.error = -ENOENT};

static void answer(struct dns_query *q)
{
	struct dns_query own = *q;
	list_remove(&q->link);
	q->dns->asked[q->row] = true;
	free(q);
	own.done(own.arg, own.answer);
}

static void run_in(struct loop_in *in)
{
	answer(container_of(in, struct dns_query, in));
}

static void drop_in(struct loop_in *in)
{
	struct dns_query *q = container_of(in, struct dns_query, in);
	list_remove(&q->link);
	free(q);
}

static void on_answer(struct event *e)
{
	struct dns_query *q = container_of(e, struct dns_query, ev);
	struct loop *l = q->dns->loop;
	if (!loop_enter(l)) {
		loop_defer(l, &q->in);
		return;
	}
	answer(q);
	loop_leave(l);
}

static int query(void *arg, const char *name, enum dns_type type, msec now,
		 void (*done)(void *done_arg, const struct dns_answer *a), void *done_arg,
		 struct dns_answer *ret_now, struct dns_query **ret_q)
{
	struct dns *d = arg;
	unsigned row = row_of(name, type);
	const struct dns_answer *a = row < NAMES_MAX ? &table[row].answer : &none;
	(void)now;
	d->count.queries++;
	if (d->asked[row]) {
		d->count.cache_hits++;
		*ret_now = *a;
		return 1;
	}
	struct dns_query *q = sim_alloc(sizeof(*q));
	*q = (struct dns_query){.in = {.run = run_in, .drop = drop_in},
				.dns = d,
				.answer = a,
				.row = row,
				.done = done,
				.arg = done_arg};
	list_init(&q->in.link);
	list_append(&d->queries, &q->link);
	event_init(&q->ev, on_answer);
	event_after(&q->ev, ANSWER_US);
	*ret_q = q;
	return 0;
}

static void cancel(void *arg, struct dns_query *q)
{
	(void)arg;
	event_stop(&q->ev);
	list_remove(&q->in.link);
	list_remove(&q->link);
	free(q);
}

static void kill_all(struct node_part *p, bool silent)
{
	struct dns *d = container_of(p, struct dns, part);
	(void)silent;
	list_for_each_safe (it, &d->queries)
		cancel(d, container_of(it, struct dns_query, link));
}

struct dns *dns_new(struct loop *l, const struct dns_conf *c)
{
	struct dns *d = sim_alloc(sizeof(*d));
	(void)c;
	d->loop = l;
	d->ops = (struct dns_ops){query, cancel, d};
	d->part.kill = kill_all;
	list_init(&d->queries);
	node_add_part(&d->part);
	return d;
}

void dns_free(struct dns *d)
{
	if (!d)
		return;
	kill_all(&d->part, true);
	list_remove(&d->part.link);
	free(d);
}

const struct dns_counters *dns_counters(const struct dns *d)
{
	return &d->count;
}

const struct dns_ops *dns_ops(struct dns *d)
{
	return &d->ops;
}
