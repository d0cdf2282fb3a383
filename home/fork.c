/*
 * Forks as records: what the proxy has to decide about a call to several devices is written to
 * the other member of our pair before it is acted upon (common/proxy/journal.h), and taken over
 * from there: when that member dies, or when something comes for a call of its.  One record a
 * call; the group is the call's key.
 */
#include "home/home_priv.h"

#include "common/journal/journal.h"
#include "common/proxy/rebuild.h"

#include <errno.h>
#include <stdlib.h>

enum {
	LIFE_MS = 600 * 1000, /* beyond every timer of an INVITE; each write begins it anew */
	GONE_MS = 60 * 1000,  /* the end of a call is remembered so long */
	BODY_MAX = 128 * 1024,
	ARENA_BYTES = 512 * 1024,
};

/* ---- writing ---- */

struct written {
	struct loop_work work;
	struct stack *stack;
	void (*done)(void *done_arg);
	void *done_arg;
};

static void run_written(struct loop_work *work)
{
	struct written *w = container_of(work, struct written, work);
	w->done(w->done_arg);
	free(w);
}

/* It is there, or cannot be (the node says so: cluster_alone_total); the call goes on. */
static void on_written(void *arg, int error)
{
	struct written *w = arg;
	(void)error;
	loop_post(stack_loop(w->stack), &w->work);
}

static struct span key_span(const uint64_t *key)
{
	return span_of((const char *)key, sizeof(*key));
}

static void write_fork(void *arg, const struct proxy_fork *f, void (*done)(void *done_arg),
		       void *done_arg)
{
	struct home_journal *j = arg;
	uint64_t wall = time_wall_ms();
	struct bytes *body = journal_pack(f, wall);
	struct written *w = body && body->n <= BODY_MAX ? malloc(sizeof(*w)) : NULL;
	int r = -ENOMEM;
	if (w) {
		const struct record v = {.kind = RECORD_FORK,
					 .group = key_span(&f->key),
					 .expires_ms = wall + LIFE_MS,
					 .body = bytes_span(body)};
		*w = (struct written){.work.run = run_written,
				      .stack = j->stack,
				      .done = done,
				      .done_arg = done_arg};
		r = records_put(j->home->records, &v, 1, NULL, wall, on_written, w);
	}
	bytes_unref(body);
	home_count(&j->home->counters.forks_written);
	if (r == 0)
		return;
	free(w);
	done(done_arg);
}

static void drop_fork(void *arg, uint64_t key)
{
	struct home_journal *j = arg;
	uint64_t wall = time_wall_ms();
	const struct record v = {.kind = RECORD_FORK,
				 .deleted = true,
				 .group = key_span(&key),
				 .expires_ms = wall + GONE_MS};
	records_put(j->home->records, &v, 1, NULL, wall, NULL, NULL);
}

const struct proxy_journal *home_journal(struct home *h, struct app_worker *w)
{
	struct home_journal *j = &h->journal[w->index];
	if (!h->cluster || cluster_partner(h->cluster, cluster_self(h->cluster)) < 0)
		return NULL;
	*j = (struct home_journal){
		.home = h,
		.stack = w->stack,
		.ops = {.write = write_fork, .drop = drop_fork, .arg = j},
	};
	return &j->ops;
}

/* ---- taking over ---- */

struct copied {
	struct bytes *body;
};

static bool copy_body(void *arg, const struct record *rec)
{
	struct copied *c = arg;
	c->body = bytes_dup(rec->body);
	return false;
}

static int adopt(struct home *h, struct app_worker *w, struct span body,
		 const struct sip_msg *why, msec now)
{
	struct proxy_opts opts;
	struct proxy_fork f;
	struct arena a;
	if (arena_init(&a, ARENA_BYTES) < 0)
		return -ENOMEM;
	int r = journal_unpack(body, time_wall_ms(), &a, &f);
	if (r == 0) {
		opts = home_fork_hooks(h, w);
		r = proxy_adopt(stack_proxy(w->stack), &f, why, &opts, now);
	}
	arena_done(&a);
	if (r == 0) {
		home_count(&h->counters.forks_adopted);
		log_event(LOG_INFO, "adopted", LOG_STR("why", why ? "message" : "node-dead"));
	} else if (r != -EEXIST) {
		log_event(LOG_WARN, "adopt-failed", LOG_STR("error", strerror(-r)));
	}
	return r;
}

bool home_adopt_for(struct home *h, struct app_worker *w, uint64_t key,
		    const struct sip_msg *why, msec now)
{
	struct copied c = {NULL};
	if (!h->cluster)
		return false;
	records_each(h->records, RECORD_FORK, key_span(&key), time_wall_ms(), copy_body, &c,
		     NULL);
	int r = c.body ? adopt(h, w, bytes_span(c.body), why, now) : -ENOENT;
	bytes_unref(c.body);
	return r == 0;
}

/* ---- in each worker, for what another thread has seen ---- */

struct task {
	struct loop_work work;
	struct home *home;
	struct app_worker *worker;
	struct bytes *body; /* to be adopted by whose call it is; NULL: */
	uint64_t key;	    /* to be let go; or all calls are */
	bool all;
};

/* The worker that the call would be in: Call-ID decides. */
static bool is_mine(const struct app_worker *w, struct span body)
{
	struct sip_hdr hdr[SIP_HDR_MAX];
	struct sip_msg m = {.hdr = hdr};
	struct sip_limits lim = sip_limits_default;
	struct sip_fault fault;
	struct proxy_fork f;
	struct arena a;
	bool mine = false;
	if (arena_init(&a, ARENA_BYTES) < 0)
		return false;
	lim.stream_bytes = BODY_MAX;
	lim.headers = SIP_HDR_MAX;
	lim.header_bytes = lim.commas = lim.semicolons = UINT16_MAX;
	if (journal_unpack(body, time_wall_ms(), &a, &f) == 0 &&
	    sip_msg_index(&m, f.request, true, &lim, &fault) == 0)
		mine = stack_owns(w->stack, m.call_id);
	arena_done(&a);
	return mine;
}

static void run_task(struct loop_work *work)
{
	struct task *t = container_of(work, struct task, work);
	struct app_worker *w = t->worker;
	if (t->all)
		proxy_let_go_all(stack_proxy(w->stack));
	else if (!t->body)
		proxy_let_go(stack_proxy(w->stack), t->key);
	else if (is_mine(w, bytes_span(t->body)))
		adopt(t->home, w, bytes_span(t->body), NULL, loop_now(stack_loop(w->stack)));
	bytes_unref(t->body);
	free(t);
}

static void post(struct home *h, const struct task *what)
{
	struct app_worker *w;
	for (unsigned i = 0; (w = app_worker_at(h->app, i)); i++) {
		struct task *t = malloc(sizeof(*t));
		if (!t)
			continue;
		*t = *what;
		t->work.run = run_task;
		t->home = h;
		t->worker = w;
		if (t->body)
			bytes_ref(t->body);
		loop_post(stack_loop(w->stack), &t->work);
	}
}

void home_let_go_all(struct home *h)
{
	post(h, &(struct task){.all = true});
}

struct orphans {
	struct home *h;
	uint32_t node;
};

/* Under the lock of the records. */
static bool gather(void *arg, const struct record *rec)
{
	struct orphans *o = arg;
	struct bytes *body = rec->version.node == o->node ? bytes_dup(rec->body) : NULL;
	if (body)
		post(o->h, &(struct task){.body = body});
	bytes_unref(body);
	return true;
}

void home_adopt_all(struct home *h, unsigned node)
{
	struct orphans o = {h, node + 1};
	records_scan(h->records, RECORD_FORK, time_wall_ms(), gather, &o);
}

struct last {
	uint32_t node;
	bool found;
};

static bool see(void *arg, const struct record *rec)
{
	struct last *l = arg;
	l->node = rec->version.node;
	l->found = true;
	return false;
}

/* The other member has written to a call that is perhaps ours: it goes on with it. */
void home_fork_changed(void *arg, uint8_t kind, struct span group)
{
	struct home *h = arg;
	struct last l = {0};
	uint64_t key;
	if (group.n != sizeof(key) || !h->cluster)
		return;
	memcpy(&key, group.p, sizeof(key));
	records_each(h->records, kind, group, time_wall_ms(), see, &l, NULL);
	if (l.found && l.node != cluster_self(h->cluster) + 1)
		post(h, &(struct task){.key = key});
}
