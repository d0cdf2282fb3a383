/*
 * Asynchronous queries: a c-ares channel in the worker's loop (its sockets are libevent events,
 * its time-outs a timer of the wheel), in front of it the cache, equal queries under way joined
 * into one.  RFC 1035, 2308.  Reading replies: reply.c; which names are asked for:
 * common/locate.
 */
#include "common/dns/dns_priv.h"

#include "common/base/log.h"

#include <ares.h>
#include <arpa/nameser.h>
#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/time.h>

enum {
	PENDING_MAX = 1024,
	PENDING_SLOTS = 256,
	WAITERS_MAX = 10000,
	FAILURE_TTL_S = 2,
	EDNS_BYTES = 1232
};

struct watch { /* one socket of c-ares */
	struct list link;
	struct dns *dns;
	ares_socket_t fd;
	struct event *event;
};

struct pending { /* one question under way */
	struct list link;
	struct dns *dns;
	struct list waiters;
	enum dns_type type;
	bool in_call; /* ares_query has not returned: an answer now is one at once */
	bool answered;
	struct dns_answer *at_once;
	char name[DNS_NAME_MAX];
};

struct dns_query { /* one who waits for it */
	struct list link;
	struct dns *dns;
	void (*done)(void *arg, const struct dns_answer *a);
	void *arg;
};

struct dns {
	struct loop *loop;
	struct dns_conf conf;
	struct dns_ops ops;
	struct mac_key key;
	ares_channel channel;
	struct dns_cache *cache;
	struct wheel_timer timer;
	struct list watches;
	struct list pending[PENDING_SLOTS];
	unsigned npending, nwaiters;
	bool ending;
	struct dns_counters counters;
};

const struct dns_conf dns_conf_default = {
	.timeout_ms = 2000,
	.tries = 2,
	.cache_entries = 4096,
	.negative_ttl_s = 30,
	.max_ttl_s = 3600,
};

static pthread_once_t ares_once = PTHREAD_ONCE_INIT;
static int ares_status;

static void ares_start(void)
{
	ares_status = ares_library_init(ARES_LIB_INIT_ALL);
}

/* c-ares tells how long it can wait; called after whatever may have changed that. */
static void arm(struct dns *d)
{
	struct timeval tv;

	if (!ares_timeout(d->channel, NULL, &tv)) {
		wheel_stop(loop_wheel(d->loop), &d->timer);
		return;
	}
	msec wait = (msec)tv.tv_sec * 1000 + (msec)tv.tv_usec / 1000 + 1;
	wheel_arm(loop_wheel(d->loop), &d->timer, loop_now(d->loop) + wait);
}

static void on_timer(struct wheel_timer *t, msec now)
{
	struct dns *d = container_of(t, struct dns, timer);

	(void)now;
	ares_process_fd(d->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	arm(d);
}

static void on_socket(evutil_socket_t fd, short what, void *arg)
{
	struct dns *d = arg;

	loop_now(d->loop); /* before an answer goes where calls are */
	ares_process_fd(d->channel, what & EV_READ ? fd : ARES_SOCKET_BAD,
			what & EV_WRITE ? fd : ARES_SOCKET_BAD);
	arm(d);
}

static void watch_free(struct watch *w)
{
	list_remove(&w->link);
	if (w->event)
		event_free(w->event);
	free(w);
}

static struct watch *watch_find(struct dns *d, ares_socket_t fd)
{
	list_for_each (it, &d->watches) {
		struct watch *w = container_of(it, struct watch, link);

		if (w->fd == fd)
			return w;
	}
	return NULL;
}

/* Out of memory, the socket goes unwatched and its queries time out. */
static void on_socket_state(void *arg, ares_socket_t fd, int readable, int writable)
{
	struct dns *d = arg;
	struct watch *w = watch_find(d, fd);

	if (w)
		watch_free(w);
	if (!readable && !writable)
		return;
	w = calloc(1, sizeof(*w));
	if (!w)
		return;
	w->fd = fd;
	w->dns = d;
	list_append(&d->watches, &w->link);
	short what = (short)(EV_PERSIST | (readable ? EV_READ : 0) | (writable ? EV_WRITE : 0));
	w->event = event_new(loop_base(d->loop), fd, what, on_socket, d);
	if (!w->event || event_add(w->event, NULL) < 0)
		watch_free(w);
}

static void query_free(struct dns_query *q)
{
	list_remove(&q->link);
	q->dns->nwaiters--;
	free(q);
}

static void pending_free(struct pending *p)
{
	list_remove(&p->link);
	p->dns->npending--;
	list_for_each_safe (it, &p->waiters)
		query_free(container_of(it, struct dns_query, link));
	free(p);
}

static int error_of(int status)
{
	switch (status) {
	case ARES_ENODATA:
	case ARES_ENOTFOUND:
	case ARES_EBADNAME:
		return -ENOENT;
	case ARES_ETIMEOUT:
		return -ETIMEDOUT;
	case ARES_ENOMEM:
		return -ENOMEM;
	default:
		return -EIO;
	}
}

static uint32_t ttl_of(const struct dns *d, const struct dns_answer *a, uint32_t ttl_s)
{
	if (a->error == 0)
		return ttl_s < d->conf.max_ttl_s ? ttl_s : d->conf.max_ttl_s;
	if (a->error == -ENOENT)
		return d->conf.negative_ttl_s;
	/* RFC 2308 section 7: a server that fails is not asked for every call. */
	return d->conf.negative_ttl_s < FAILURE_TTL_S ? d->conf.negative_ttl_s : FAILURE_TTL_S;
}

static void keep(struct dns *d, const struct pending *p, const struct dns_answer *a,
		 uint32_t ttl_s)
{
	uint32_t ttl = ttl_of(d, a, ttl_s);

	if (ttl && a->error != -ENOMEM)
		dns_cache_put(d->cache, p->name, p->type, loop_now(d->loop) + (msec)ttl * 1000,
			      a);
}

/* Tells all who wait; each of them may ask and cancel while it is told. */
static void answer(struct pending *p, const struct dns_answer *a)
{
	while (!list_empty(&p->waiters)) {
		struct dns_query *q = container_of(p->waiters.next, struct dns_query, link);
		void (*done)(void *arg, const struct dns_answer *a) = q->done;
		void *arg = q->arg;

		query_free(q);
		done(arg, a);
	}
}

static void on_reply(void *arg, int status, int timeouts, unsigned char *buf, int n)
{
	struct pending *p = arg;
	struct dns *d = p->dns;
	struct dns_answer a;
	uint32_t ttl_s = 0;

	(void)timeouts;
	if (d->ending) {
		pending_free(p);
		return;
	}
	a.n = 0;
	a.error = error_of(status);
	if (status == ARES_SUCCESS && buf && n > 0)
		dns_reply_read(buf, (size_t)n, p->type, &a, &ttl_s);
	counter_add(&d->counters.failures, a.error == -EIO || a.error == -ETIMEDOUT);
	log_event(LOG_DEBUG, "dns.answer", LOG_STR("name", p->name), LOG_N("type", p->type),
		  LOG_N("error", a.error), LOG_N("records", a.n), LOG_N("ttl_s", ttl_s));
	keep(d, p, &a, ttl_s);
	if (p->in_call) {
		p->answered = true;
		dns_answer_copy(p->at_once, &a);
		return;
	}
	list_remove(&p->link); /* from now on equal questions are new ones */
	answer(p, &a);
	pending_free(p);
}

static int type_code(enum dns_type t)
{
	switch (t) {
	case DNS_A:
		return ns_t_a;
	case DNS_AAAA:
		return ns_t_aaaa;
	case DNS_SRV:
		return ns_t_srv;
	case DNS_NAPTR:
		return ns_t_naptr;
	}
	return 0;
}

/* RFC 6761 6.3: localhost is not asked for. */
static bool is_localhost(const char *name, enum dns_type t, struct dns_answer *a)
{
	if (strcmp(name, "localhost") != 0)
		return false;
	memset(&a->v[0], 0, sizeof(a->v[0]));
	a->n = t == DNS_A || t == DNS_AAAA;
	a->error = a->n ? 0 : -ENOENT;
	if (t == DNS_A)
		addr_parse(&a->v[0].addr, SPAN("127.0.0.1"), 0);
	if (t == DNS_AAAA)
		addr_parse(&a->v[0].addr, SPAN("::1"), 0);
	return true;
}

/* To lower case, without the last dot.  -EINVAL for what is no name. */
static int normalise(char to[DNS_NAME_MAX], const char *from)
{
	size_t n = strlen(from);

	if (n && from[n - 1] == '.')
		n--;
	if (n == 0 || n > 253)
		return -EINVAL;
	for (size_t i = 0; i < n; i++) {
		char c = from[i];

		if (c <= ' ' || c == 0x7f || c == '\\' || (c == '.' && i && from[i - 1] == '.'))
			return -EINVAL;
		to[i] = (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
	}
	to[n] = 0;
	return 0;
}

static struct pending *pending_find(struct list *slot, const char *name, enum dns_type t)
{
	list_for_each (it, slot) {
		struct pending *p = container_of(it, struct pending, link);

		if (p->type == t && strcmp(p->name, name) == 0)
			return p;
	}
	return NULL;
}

/* NULL: out of memory.  *ret_a is used when c-ares answers before it returns. */
static struct pending *ask(struct dns *d, struct list *slot, const char *name, enum dns_type t,
			   struct dns_answer *ret_a)
{
	struct pending *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->dns = d;
	p->type = t;
	p->at_once = ret_a;
	memcpy(p->name, name, strlen(name) + 1);
	list_init(&p->waiters);
	list_append(slot, &p->link);
	d->npending++;
	counter_inc(&d->counters.queries);
	p->in_call = true;
	ares_query(d->channel, name, ns_c_in, type_code(t), on_reply, p);
	p->in_call = false;
	p->at_once = NULL;
	arm(d);
	return p;
}

static int wait_for(struct dns *d, struct pending *p,
		    void (*done)(void *arg, const struct dns_answer *a), void *arg,
		    struct dns_query **ret_q)
{
	struct dns_query *q = malloc(sizeof(*q));

	if (!q)
		return -ENOMEM;
	*q = (struct dns_query){.dns = d, .done = done, .arg = arg};
	list_append(&p->waiters, &q->link);
	d->nwaiters++;
	*ret_q = q;
	return 0;
}

static int query(void *arg, const char *asked, enum dns_type t, msec now,
		 void (*done)(void *done_arg, const struct dns_answer *a), void *done_arg,
		 struct dns_answer *ret_now, struct dns_query **ret_q)
{
	struct dns *d = arg;
	char name[DNS_NAME_MAX];

	if (normalise(name, asked) < 0)
		return -EINVAL;
	if (is_localhost(name, t, ret_now))
		return 1;
	if (dns_cache_get(d->cache, name, t, now, ret_now)) {
		counter_inc(&d->counters.cache_hits);
		return 1;
	}
	struct list *slot = &d->pending[dns_name_hash(&d->key, name, t) % PENDING_SLOTS];
	struct pending *p = pending_find(slot, name, t);
	if (d->nwaiters == WAITERS_MAX || (!p && d->npending == PENDING_MAX)) {
		counter_inc(&d->counters.refused);
		return -ENOBUFS;
	}
	if (!p)
		p = ask(d, slot, name, t, ret_now);
	if (!p)
		return -ENOMEM;
	if (p->answered) {
		pending_free(p);
		return 1;
	}
	return wait_for(d, p, done, done_arg, ret_q);
}

static void cancel(void *arg, struct dns_query *q)
{
	(void)arg;
	query_free(q);
}

static int channel_start(struct dns *d)
{
	struct ares_options o = {.flags = ARES_FLAG_EDNS,
				 .ednspsz = EDNS_BYTES,
				 .timeout = (int)d->conf.timeout_ms,
				 .tries = (int)d->conf.tries,
				 .sock_state_cb = on_socket_state,
				 .sock_state_cb_data = d};
	int which = ARES_OPT_FLAGS | ARES_OPT_EDNSPSZ | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES |
		    ARES_OPT_SOCK_STATE_CB;

	pthread_once(&ares_once, ares_start);
	if (ares_status != ARES_SUCCESS)
		return -ENOMEM;
	int rc = ares_init_options(&d->channel, &o, which);
	if (rc != ARES_SUCCESS) {
		d->channel = NULL;
		return -ENOMEM;
	}
	if (d->conf.servers &&
	    ares_set_servers_ports_csv(d->channel, d->conf.servers) != ARES_SUCCESS)
		return -EINVAL;
	return 0;
}

struct dns *dns_new(struct loop *l, const struct dns_conf *c)
{
	struct dns *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->loop = l;
	d->conf = *c;
	d->ops = (struct dns_ops){.query = query, .cancel = cancel, .arg = d};
	mac_random(&d->key, sizeof(d->key));
	list_init(&d->watches);
	for (unsigned i = 0; i < PENDING_SLOTS; i++)
		list_init(&d->pending[i]);
	wheel_timer_init(&d->timer, on_timer);
	d->cache = dns_cache_new(c->cache_entries, &d->key);
	if (!d->cache || channel_start(d) < 0) {
		dns_free(d);
		return NULL;
	}
	d->conf.servers = NULL; /* the caller's; the channel has its own copy */
	return d;
}

void dns_free(struct dns *d)
{
	if (!d)
		return;
	d->ending = true;
	if (d->channel)
		ares_destroy(d->channel);
	while (!list_empty(&d->watches))
		watch_free(container_of(d->watches.next, struct watch, link));
	wheel_stop(loop_wheel(d->loop), &d->timer);
	dns_cache_free(d->cache);
	free(d);
}

const struct dns_ops *dns_ops(struct dns *d)
{
	return &d->ops;
}

const struct dns_counters *dns_counters(const struct dns *d)
{
	return &d->counters;
}
