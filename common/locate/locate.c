/*
 * RFC 3263 section 4: NAPTR gives services, SRV gives hosts and ports, A and AAAA give
 * addresses. One step at a time; the questions of a step run side by side.  What the next hop
 * asks for is read in ask.c; weights and failed targets are in order.c.  Not here: sections 5
 * (responses go where Via says) and TLS names beyond handing back the host.
 */
#include "common/locate/locate.h"

#include "common/locate/locate_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum step { STEP_NAPTR, STEP_SRV, STEP_ADDR, STEP_DONE };

struct service { /* an SRV name to ask for */
	enum sip_transport transport;
	char name[DNS_NAME_MAX + 16];
};
struct host { /* a name whose addresses are asked for */
	enum sip_transport transport;
	uint16_t port;
	unsigned n[2]; /* IPv4, IPv6 */
	char name[DNS_NAME_MAX];
	struct addr addr[2][LOCATE_ADDRS_MAX];
};
struct question {
	struct locate_query *query;
	struct dns_query *dns; /* NULL: not under way */
	unsigned index;	       /* of the host; of addresses: host * 2 + (IPv6) */
};

struct locate_query {
	struct list link;
	struct locate *locate;
	locate_done done;
	void *arg;
	unsigned supported;
	msec now;
	enum step step;
	bool guessed; /* services come from section 4.1's list, not from NAPTR: one is enough */
	int error;    /* the worst so far */
	struct locate_ask ask;
	unsigned nservices, nhosts, at; /* at: the service that is asked for */
	struct service service[LOCATE_SERVICES_MAX];
	struct host host[LOCATE_HOSTS_MAX];
	unsigned under_way;
	bool asking; /* in ask_step(): a failing socket may answer an earlier question just then
		      */
	struct question question[LOCATE_HOSTS_MAX * 2];
	char domain[256]; /* in the URI: what a certificate must be good for */
	struct locate_result result;
};

static void query_free(struct locate_query *q)
{
	list_remove(&q->link);
	free(q);
}

static bool usable(const struct locate_query *q, enum sip_transport t)
{
	return t != SIP_TRANSPORT_NONE && (q->supported & (1u << t)) &&
	       (!q->ask.secure || t == SIP_TRANSPORT_TLS);
}

/* A time-out says most about why nothing was found, a name that is not there least. */
static void note_error(struct locate_query *q, int error)
{
	if (error == -ETIMEDOUT || q->error == 0 || (q->error == -ENOENT && error != -ENOENT))
		q->error = error;
}

static void add_service(struct locate_query *q, enum sip_transport t, const char *name)
{
	if (q->nservices == LOCATE_SERVICES_MAX)
		return;
	struct service *s = &q->service[q->nservices++];
	s->transport = t;
	snprintf(s->name, sizeof(s->name), "%s", name);
}

static void add_host(struct locate_query *q, enum sip_transport t, const char *name,
		     uint16_t port)
{
	if (q->nhosts == LOCATE_HOSTS_MAX)
		return;
	struct host *h = &q->host[q->nhosts++];
	h->transport = t;
	h->port = port ? port : sip_transport_port(t);
	h->n[0] = h->n[1] = 0;
	snprintf(h->name, sizeof(h->name), "%s", name);
}

/* 4.1: the SRV names for a transport. */
static void guess_service(struct locate_query *q, enum sip_transport t)
{
	const char *prefix = t == SIP_TRANSPORT_UDP   ? "_sip._udp."
			     : t == SIP_TRANSPORT_TCP ? "_sip._tcp."
			     : t == SIP_TRANSPORT_TLS ? "_sips._tcp."
						      : NULL;
	char name[DNS_NAME_MAX + 16];

	if (!prefix || !usable(q, t))
		return;
	snprintf(name, sizeof(name), "%s%s", prefix, q->ask.host);
	add_service(q, t, name);
}

/* RFC 3263 4.1 and RFC 3958's forms. */
static enum sip_transport naptr_transport(const char *service)
{
	struct span s = span_str(service);

	if (span_ieq(s, SPAN("SIP+D2U")))
		return SIP_TRANSPORT_UDP;
	if (span_ieq(s, SPAN("SIP+D2T")))
		return SIP_TRANSPORT_TCP;
	if (span_ieq(s, SPAN("SIPS+D2T")))
		return SIP_TRANSPORT_TLS;
	return SIP_TRANSPORT_NONE;
}

static int naptr_compare(const void *a, const void *b)
{
	const struct dns_record *x = a, *y = b;

	if (x->priority != y->priority)
		return x->priority < y->priority ? -1 : 1;
	return (x->weight > y->weight) - (x->weight < y->weight);
}

/* 4.1: those that we cannot use are discarded; of the rest the lowest order counts, by
 * preference. */
static void on_naptr(struct locate_query *q, const struct dns_answer *a)
{
	struct dns_record v[DNS_RECORDS_MAX];
	unsigned n = 0;

	for (unsigned i = 0; i < a->n; i++)
		if (a->v[i].flags == 's' && usable(q, naptr_transport(a->v[i].service)))
			v[n++] = a->v[i];
	qsort(v, n, sizeof(v[0]), naptr_compare);
	for (unsigned i = 0; i < n && v[i].priority == v[0].priority; i++)
		add_service(q, naptr_transport(v[i].service), v[i].target);
}

static void on_srv(struct locate_query *q, const struct dns_answer *a)
{
	struct dns_record v[DNS_RECORDS_MAX];
	enum sip_transport t = q->service[q->at].transport;

	if (a->error)
		return;
	memcpy(v, a->v, a->n * sizeof(v[0]));
	locate_srv_order(v, a->n, &q->locate->random);
	for (unsigned i = 0; i < a->n; i++)
		add_host(q, t, v[i].target, v[i].port);
}

static void on_addr(struct locate_query *q, unsigned index, const struct dns_answer *a)
{
	struct host *h = &q->host[index / 2];
	unsigned family = index % 2;

	for (unsigned i = 0; i < a->n && h->n[family] < LOCATE_ADDRS_MAX; i++) {
		struct addr *to = &h->addr[family][h->n[family]++];

		*to = a->v[i].addr;
		addr_set_port(to, h->port);
	}
}

static void take(struct locate_query *q, unsigned index, const struct dns_answer *a)
{
	if (a->error)
		note_error(q, a->error);
	switch (q->step) {
	case STEP_NAPTR:
		if (!a->error)
			on_naptr(q, a);
		return;
	case STEP_SRV:
		on_srv(q, a);
		return;
	case STEP_ADDR:
		if (!a->error)
			on_addr(q, index, a);
		return;
	case STEP_DONE:
		return;
	}
}

static bool run(struct locate_query *q);

/* RFC 5922 7.3: the name in the URI, not what NAPTR or SRV led to. */
static int set_name(struct locate *l, struct locate_result *r, struct span name)
{
	bool tls = false;

	for (unsigned i = 0; i < r->n; i++)
		tls |= r->v[i].transport == SIP_TRANSPORT_TLS;
	r->name = tls ? locate_name_add(&l->names, name) : 0;
	return tls && !r->name ? -ENOMEM : 0;
}

/* The result of a query that has been run: 0 or the error. */
static int result_of(struct locate_query *q)
{
	if (!q->result.n)
		return q->error ? q->error : -ENOENT;
	return set_name(q->locate, &q->result, span_str(q->domain));
}

static void finish(struct locate_query *q)
{
	locate_done done = q->done;
	void *arg = q->arg;
	int error = result_of(q);
	struct locate_result r = q->result;

	query_free(q);
	done(arg, error, &r);
}

static void on_answer(void *arg, const struct dns_answer *a)
{
	struct question *x = arg;
	struct locate_query *q = x->query;

	x->dns = NULL;
	q->under_way--;
	take(q, x->index, a);
	if (q->under_way == 0 && !q->asking && run(q))
		finish(q);
}

static void ask(struct locate_query *q, unsigned slot, const char *name, enum dns_type t)
{
	const struct dns_ops *o = q->locate->dns;
	struct question *x = &q->question[slot];
	struct dns_answer a;

	*x = (struct question){.query = q, .index = slot};
	a.n = 0;
	int rc = o->query(o->arg, name, t, q->now, on_answer, x, &a, &x->dns);
	if (rc == 0) {
		q->under_way++;
		return;
	}
	x->dns = NULL;
	if (rc < 0) {
		a.error = rc == -EINVAL ? -ENOENT : -EIO;
		a.n = 0;
	}
	take(q, slot, &a);
}

static void ask_all(struct locate_query *q)
{
	switch (q->step) {
	case STEP_NAPTR:
		ask(q, 0, q->ask.host, DNS_NAPTR);
		return;
	case STEP_SRV:
		ask(q, 0, q->service[q->at].name, DNS_SRV);
		return;
	case STEP_ADDR:
		for (unsigned i = 0; i < q->nhosts; i++) {
			ask(q, i * 2, q->host[i].name, DNS_A);
			ask(q, i * 2 + 1, q->host[i].name, DNS_AAAA);
		}
		return;
	case STEP_DONE:
		return;
	}
}

static void ask_step(struct locate_query *q)
{
	q->asking = true;
	ask_all(q);
	q->asking = false;
}

static void add_target(struct locate_result *r, enum sip_transport t, const struct addr *a)
{
	for (unsigned i = 0; i < r->n; i++)
		if (r->v[i].transport == t && addr_equal(&r->v[i].addr, a))
			return;
	if (r->n < LOCATE_MAX)
		r->v[r->n++] = (struct locate_target){.transport = t, .addr = *a};
}

static void collect(struct locate_query *q)
{
	for (unsigned i = 0; i < q->nhosts; i++)
		for (unsigned family = 0; family < 2; family++)
			for (unsigned k = 0; k < q->host[i].n[family]; k++)
				add_target(&q->result, q->host[i].transport,
					   &q->host[i].addr[family][k]);
	locate_failed_last(q->locate, &q->result, q->now);
}

/* 4.2: no SRV records: the addresses of the name itself. */
static void to_addresses(struct locate_query *q)
{
	if (q->nhosts == 0)
		add_host(q, q->ask.fallback, q->ask.host, q->ask.port);
	q->step = STEP_ADDR;
}

/* What follows when every question of a step is answered. */
static void next_step(struct locate_query *q)
{
	switch (q->step) {
	case STEP_NAPTR:
		q->guessed = q->nservices == 0;
		for (int t = SIP_TRANSPORT_UDP; q->guessed && t <= SIP_TRANSPORT_TLS; t++)
			guess_service(q, (enum sip_transport)t);
		q->step = STEP_SRV;
		if (q->nservices == 0)
			to_addresses(q);
		return;
	case STEP_SRV:
		q->at++;
		if (q->at == q->nservices || (q->guessed && q->nhosts))
			to_addresses(q);
		return;
	case STEP_ADDR:
		collect(q);
		q->step = STEP_DONE;
		return;
	case STEP_DONE:
		return;
	}
}

/* Goes on until something must be waited for; true when the result is there. */
static bool run(struct locate_query *q)
{
	for (;;) {
		next_step(q);
		if (q->step == STEP_DONE)
			return true;
		ask_step(q);
		if (q->under_way)
			return false;
	}
}

/* The step that a next hop begins with (4.1, 4.2), asked; true when it is answered. */
static bool begin(struct locate_query *q)
{
	q->step = STEP_NAPTR;
	if (q->ask.port) {
		to_addresses(q);
	} else if (q->ask.transport != SIP_TRANSPORT_NONE) {
		guess_service(q, q->ask.transport);
		q->guessed = true;
		q->step = STEP_SRV;
		if (q->nservices == 0)
			to_addresses(q);
	}
	ask_step(q);
	return q->under_way == 0 && run(q);
}

static int numeric(struct locate *l, const struct sip_uri *u, const struct locate_ask *a,
		   struct locate_result *ret)
{
	char text[ADDR_TEXT_MAX];
	struct span name = u->host;
	struct addr host;

	ret->n = 1;
	ret->v[0].transport = a->fallback;
	ret->v[0].addr = a->addr;
	addr_set_port(&ret->v[0].addr, a->port ? a->port : sip_transport_port(a->fallback));
	if (a->fallback != SIP_TRANSPORT_TLS) {
		ret->name = 0;
		return 1;
	}
	if (addr_parse(&host, name, 0) == 0) /* one spelling */
		name = span_of(text, addr_host_text(&host, text));
	int rc = set_name(l, ret, name);
	return rc < 0 ? rc : 1;
}

int locate_start(struct locate *l, const struct sip_uri *next_hop, unsigned supported, msec now,
		 locate_done done, void *arg, struct locate_result *ret_now,
		 struct locate_query **ret_query)
{
	struct locate_ask a;
	int rc = locate_ask_read(next_hop, supported, &a);

	if (rc < 0)
		return rc;
	if (a.numeric)
		return numeric(l, next_hop, &a, ret_now);
	struct locate_query *q = calloc(1, sizeof(*q));
	if (!q)
		return -ENOMEM;
	q->locate = l;
	q->done = done;
	q->arg = arg;
	q->supported = supported;
	q->now = now;
	q->ask = a;
	size_t n = next_hop->host.n < sizeof(q->domain) ? next_hop->host.n : 0;
	memcpy(q->domain, next_hop->host.p, n);
	list_append(&l->queries, &q->link);
	if (!begin(q)) {
		*ret_query = q;
		return 0;
	}
	rc = result_of(q);
	*ret_now = q->result;
	query_free(q);
	return rc < 0 ? rc : 1;
}

void locate_cancel(struct locate_query *q)
{
	const struct dns_ops *o = q->locate->dns;

	for (unsigned i = 0; i < LOCATE_HOSTS_MAX * 2; i++)
		if (q->question[i].dns)
			o->cancel(o->arg, q->question[i].dns);
	query_free(q);
}

struct locate *locate_new(const struct dns_ops *dns, uint64_t seed)
{
	struct locate *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->dns = dns;
	l->random = seed;
	locate_names_init(&l->names, seed);
	list_init(&l->queries);
	return l;
}

void locate_free(struct locate *l)
{
	if (!l)
		return;
	while (!list_empty(&l->queries))
		locate_cancel(container_of(l->queries.next, struct locate_query, link));
	locate_names_done(&l->names);
	free(l);
}
