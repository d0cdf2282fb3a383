/*
 * Forks as records: what the proxy has to decide about a call to several devices is written to
 * the other member of our pair before it is acted upon (common/proxy/journal.h), and taken over
 * from there: when that member dies, or when something comes for a call of its.  One record a
 * call; the group is the call's key.
 */
#include "home/home_priv.h"

#include "common/flow/token.h"
#include "common/journal/journal.h"
#include "common/poison/poison.h"
#include "common/proxy/rebuild.h"

#include <errno.h>
#include <stdlib.h>

enum {
	LIFE_MS = 600 * 1000, /* beyond every timer of an INVITE; each write begins it anew */
	GONE_MS = 60 * 1000,  /* the end of a call is remembered so long */
	BODY_MAX = 128 * 1024,
	ARENA_BYTES = 512 * 1024,
	AGAIN_MS = 100,
	AWAITED_MS = 5000, /* how long callers are waited for: as messages for phones are */
	AWAITED_MAX = 4096,
	/* In one go: callers asked for, calls read and gone on with; the next one. */
	LOOKS = 1024,
	TRIES = 64,
	STEP_MS = 10,
};

/* A call of a node's, whose caller is expected back. */
struct home_awaited {
	uint64_t key;
	msec since, due;
	unsigned node;
	uint8_t token_n; /* 0: none that is of use */
	char token[FLOW_TOKEN_MAX];
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
				      .stack = j->worker->stack,
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

static _Atomic uint32_t *held(struct home *h, uint64_t key)
{
	return &h->held.n[key >> (64 - HOME_HELD_BITS)];
}

static void hold_fork(void *arg, uint64_t key, bool is_held)
{
	struct home_journal *j = arg;
	if (is_held)
		atomic_fetch_add(held(j->home, key), 1);
	else
		atomic_fetch_sub(held(j->home, key), 1);
}

struct home_journal *home_journal_of(struct home *h, struct app_worker *w)
{
	struct home_journal *j = &h->journal[w->index];
	j->worker = w;
	return j;
}

const struct proxy_journal *home_journal(struct home *h, struct app_worker *w)
{
	if (!h->cluster || cluster_partner(h->cluster, cluster_self(h->cluster)) < 0)
		return NULL;
	return &home_journal_of(h, w)->ops;
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

/* Of the other member's, which may have died of it: the request, or what came in answer. */
static bool is_poison(const struct app_worker *w, const struct proxy_fork *f)
{
	bool yes = stack_is_poison(w->stack, f->request) || stack_is_poison(w->stack, f->best);
	for (unsigned i = 0; i < f->n; i++)
		yes |= stack_is_poison(w->stack, f->v[i].response) ||
		       stack_is_poison(w->stack, f->v[i].challenge);
	return yes;
}

static void note_caller(struct home_awaited *a, struct span token)
{
	a->token_n = token.n <= sizeof(a->token) ? (uint8_t)token.n : 0;
	if (a->token_n)
		memcpy(a->token, token.p, a->token_n);
}

/* own: nobody has gone on with it while we were away, wherever its caller is by now: answers by
 * the connection that he had here find him.  ret_caller (-EAGAIN): who is to be waited for;
 * NULL: he has been, or is not.  In an arena's scope of its own: many are taken over at once.
 */
static int adopt(struct home_journal *j, struct span body, const struct sip_msg *why, bool own,
		 struct home_awaited *ret_caller, msec now)
{
	struct home *h = j->home;
	struct app_worker *w = j->worker;
	struct proxy_opts opts;
	struct proxy_fork f;
	struct arena a;
	if (arena_init(&a, ARENA_BYTES) < 0)
		return -ENOMEM;
	struct arena_scope scope = arena_enter(sip_arena());
	int r = journal_unpack(body, time_wall_ms(), &a, &f);
	bool accused = r == 0 && poison_begin_alone(f.request.p, f.request.n);
	if (r == 0 && is_poison(w, &f))
		r = -EPERM;
	if (r == 0)
		r = home_find_phones(h, w, &f);
	if (r == -EAGAIN && ret_caller)
		note_caller(ret_caller, f.via_flow);
	if (r == 0 || (r == -EREMOTE && own && f.src.conn) || (r == -EAGAIN && !ret_caller)) {
		opts = home_fork_hooks(h, w);
		r = proxy_adopt(stack_proxy(w->stack), &f, why, &opts, now);
	}
	if (accused)
		poison_end();
	arena_leave(sip_arena(), scope);
	arena_done(&a);
	if (r == 0) {
		home_count(&h->counters.forks_adopted);
		log_event(LOG_INFO, "adopted", LOG_STR("why", why ? "message" : "node-dead"));
	} else if (r != -EEXIST && r != -EAGAIN && r != -EREMOTE) {
		log_event(LOG_WARN, "adopt-failed",
			  LOG_STR("error", r == -EPERM ? "it has crashed a process before"
						       : strerror(-r)));
	}
	return r;
}

bool home_adopt_for(struct home *h, struct app_worker *w, uint64_t key,
		    const struct sip_msg *why, msec now)
{
	struct home_awaited caller; /* he is here in a moment, or comes here with this again */
	struct copied c = {NULL};
	if (!h->cluster)
		return false;
	records_each(h->records, RECORD_FORK, key_span(&key), time_wall_ms(), copy_body, &c,
		     NULL);
	int r = c.body ? adopt(home_journal_of(h, w), bytes_span(c.body), why, false, &caller,
			       now)
		       : -ENOENT;
	bytes_unref(c.body);
	return r == 0;
}

bool home_fork_is_over(const struct home *h, uint64_t key)
{
	struct record_version last = {0};
	return records_each(h->records, RECORD_FORK, key_span(&key), time_wall_ms(), NULL, NULL,
			    &last) == 0 &&
	       last.hlc > 0;
}

/* ---- in each worker, for what another thread has seen ---- */

struct task {
	struct loop_work work;
	struct home *home;
	struct app_worker *worker;
	struct bytes *body; /* to be adopted by whose call it is; NULL: */
	uint64_t key;	    /* to be let go; or all calls are */
	bool all, plain;    /* plain: `body` has keys to be let go */
	unsigned node;	    /* of the body */
	size_t bytes;
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

/* False: there is no room. */
static bool await(struct home_journal *j, struct home_awaited *a, msec now)
{
	if (!j->awaited && !(j->awaited = malloc(AWAITED_MAX * sizeof(*j->awaited))))
		return false;
	if (j->nawaited == AWAITED_MAX)
		return false;
	a->due = now + AGAIN_MS;
	j->awaited[(j->first_awaited + j->nawaited++) % AWAITED_MAX] = *a;
	if (!wheel_armed(&j->again))
		wheel_arm(loop_wheel(stack_loop(j->worker->stack)), &j->again, a->due);
	return true;
}

static bool is_own(const struct home *h, unsigned node)
{
	return node == cluster_self(h->cluster);
}

static void take_over(struct task *t, struct app_worker *w, msec now)
{
	struct home_journal *j = home_journal_of(t->home, w);
	struct home_awaited a = {.key = t->key, .node = t->node, .since = now};
	struct span body = bytes_span(t->body);
	bool own = is_own(t->home, t->node);
	if (is_mine(w, body) && adopt(j, body, NULL, own, &a, now) == -EAGAIN &&
	    !await(j, &a, now))
		adopt(j, body, NULL, own, NULL, now);
}

static void let_go_plain(struct proxy *p, struct span keys)
{
	uint64_t key;
	for (; keys.n >= sizeof(key);
	     keys = span_of(keys.p + sizeof(key), keys.n - sizeof(key))) {
		memcpy(&key, keys.p, sizeof(key));
		proxy_let_go_plain(p, key);
	}
}

static void run_task(struct loop_work *work)
{
	struct task *t = container_of(work, struct task, work);
	struct app_worker *w = t->worker;
	msec now = loop_now(stack_loop(w->stack));
	if (t->all) {
		proxy_let_go_all(stack_proxy(w->stack));
		t->home->journal[w->index].nawaited = 0;
	} else if (t->plain) {
		let_go_plain(stack_proxy(w->stack), bytes_span(t->body));
	} else if (!t->body) {
		proxy_let_go(stack_proxy(w->stack), t->key);
	} else {
		take_over(t, w, now);
	}
	atomic_fetch_sub(&t->home->tasks_bytes[w->index], t->bytes);
	bytes_unref(t->body);
	free(t);
}

/* What a node's death or our own makes comes once, a call each.  The other member may go on
 * without end: what a worker has no room for is as if it had been lost on its way. */
static bool has_room(struct home *h, const struct app_worker *w, const struct task *t)
{
	size_t waits = atomic_load(&h->tasks_bytes[w->index]);
	if ((t->body && !t->plain) || t->all || waits + t->bytes <= h->queue_bytes)
		return true;
	home_count(&h->counters.tasks_full);
	return false;
}

static void post(struct home *h, struct task *what)
{
	struct app_worker *w;
	what->bytes = sizeof(*what) + (what->body ? what->body->n : 0);
	for (unsigned i = 0; (w = app_worker_at(h->app, i)); i++) {
		struct task *t = has_room(h, w, what) ? malloc(sizeof(*t)) : NULL;
		if (!t)
			continue;
		*t = *what;
		atomic_fetch_add(&h->tasks_bytes[w->index], t->bytes);
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

void home_let_go_plain(struct home *h, struct span keys)
{
	struct task t = {.plain = true, .body = bytes_dup(keys)};
	if (t.body)
		post(h, &t);
	bytes_unref(t.body);
}

struct orphans {
	struct home *h;
	unsigned node;
};

/* Under the lock of the records. */
static bool gather(void *arg, const struct record *rec)
{
	struct orphans *o = arg;
	struct task t = {.node = o->node};
	if (rec->version.node != o->node + 1 || rec->group.n != sizeof(t.key) ||
	    !(t.body = bytes_dup(rec->body)))
		return true;
	memcpy(&t.key, rec->group.p, sizeof(t.key));
	post(o->h, &t);
	bytes_unref(t.body);
	return true;
}

void home_adopt_all(struct home *h, unsigned node)
{
	struct orphans o = {h, node};
	records_scan(h->records, RECORD_FORK, time_wall_ms(), gather, &o);
}

struct still {
	unsigned node;
	struct bytes *body;
};

static bool copy_still(void *arg, const struct record *rec)
{
	struct still *s = arg;
	if (rec->version.node == s->node + 1)
		s->body = bytes_dup(rec->body);
	return false;
}

/* What another has gone on with, or whose node is back, is not ours to take over. */
static bool is_orphan(const struct home *h, const struct home_awaited *a)
{
	return is_own(h, a->node) || !cluster_alive(h->cluster, a->node);
}

/* True: it is still waited for. */
static bool try_again(struct home_journal *j, struct home_awaited *a, bool late, msec now)
{
	struct still s = {.node = a->node};
	records_each(j->home->records, RECORD_FORK, key_span(&a->key), time_wall_ms(),
		     copy_still, &s, NULL);
	bool waits = s.body && adopt(j, bytes_span(s.body), NULL, is_own(j->home, a->node),
				     late ? NULL : a, now) == -EAGAIN;
	bytes_unref(s.body);
	return waits && !late;
}

/* As long as the caller is away, which is seen by his token alone, the call is not looked at;
 * those who come back all at once, or do not, are served in turn.  A round that took longer
 * than STEP_MS is not followed by several of these at once: not the tick counts. */
static void adopt_again(struct wheel_timer *t, msec tick)
{
	struct home_journal *j = container_of(t, struct home_journal, again);
	struct loop *l = stack_loop(j->worker->stack);
	msec now = loop_now(l);
	unsigned tried = 0;
	(void)tick;
	for (unsigned n = 0; n < LOOKS && tried < TRIES && j->nawaited; n++) {
		struct home_awaited a = j->awaited[j->first_awaited];
		bool late = now >= a.since + AWAITED_MS;
		if (a.due > now)
			break;
		j->first_awaited = (j->first_awaited + 1) % AWAITED_MAX;
		j->nawaited--;
		if (!is_orphan(j->home, &a))
			continue;
		bool waits = !late && a.token_n &&
			     home_is_awaited(j->worker, span_of(a.token, a.token_n));
		tried += !waits;
		if (waits || try_again(j, &a, late, now))
			await(j, &a, now);
	}
	if (!j->nawaited)
		return;
	msec due = j->awaited[j->first_awaited].due;
	wheel_arm(loop_wheel(l), t, due > now ? due : now + STEP_MS);
}

void home_fork_start(struct home *h)
{
	for (unsigned i = 0; i < STACK_WORKERS_MAX; i++) {
		struct home_journal *j = &h->journal[i];
		j->home = h;
		j->ops = (struct proxy_journal){
			.write = write_fork, .drop = drop_fork, .holds = hold_fork, .arg = j};
		wheel_timer_init(&j->again, adopt_again);
	}
}

void home_fork_stop(struct home *h)
{
	for (unsigned i = 0; i < STACK_WORKERS_MAX; i++)
		free(h->journal[i].awaited);
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

/* The other member has written to a call that is perhaps ours: it goes on with it.  It has our
 * record of it then, which came after the call was held here; its own calls, which are all but
 * a few, cost the workers nothing. */
void home_fork_changed(void *arg, uint8_t kind, struct span group)
{
	struct home *h = arg;
	struct last l = {0};
	uint64_t key;
	if (group.n != sizeof(key) || !h->cluster)
		return;
	memcpy(&key, group.p, sizeof(key));
	if (!atomic_load(held(h, key)))
		return;
	records_each(h->records, kind, group, time_wall_ms(), see, &l, NULL);
	if (l.found && l.node != cluster_self(h->cluster) + 1)
		post(h, &(struct task){.key = key});
}
