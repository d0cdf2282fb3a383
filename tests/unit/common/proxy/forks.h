/*
 * The journal of a world: records of forks in memory, which both members of the pair see.  A
 * write is done at once, or when forks_done_one() says so; with its member dead it never is.
 */
#ifndef EAVES_TESTS_FORKS_H
#define EAVES_TESTS_FORKS_H

#include "common/proxy/journal.h"

#include <stdlib.h>

enum { FORKS_MAX = 64 };

/* Above 0 while the world itself allocates: test_oom lets that alone. */
static volatile int world_calm;

struct forks_record {
	struct proxy_fork f; /* its spans point into text */
	char *text;
	msec at;
	void (*done)(void *arg); /* of a write under way; NULL: it is written */
	void *done_arg;
	bool dropped; /* while it was written: the later word */
};

struct forks {
	struct proxy_journal journal;
	const msec *now;
	bool (*op)(void *arg); /* a write leaves the member; false: it is dead */
	void *op_arg;
	bool later; /* writes wait for forks_done_one() */
	unsigned n, writes, drops, held;
	uint64_t last_key;
	struct forks_record v[FORKS_MAX];
	/* Another form for the record (bytes), from which it is read again; may be NULL. */
	struct span (*pack)(const struct proxy_fork *f);
	bool (*unpack)(struct span bytes, struct proxy_fork *ret);
};

static inline struct span forks_keep(char **at, struct span s)
{
	if (!s.n)
		return span_of(NULL, 0);
	char *p = memcpy(*at, s.p, s.n);
	*at += s.n;
	return span_of(p, s.n);
}

static inline size_t forks_size(const struct proxy_fork *f)
{
	size_t n = f->request.n + f->lines.n + f->record_user.n + f->path.n + f->via_flow.n +
		   f->cancel_lines.n + f->best.n + f->n * sizeof(*f->v);
	for (unsigned i = 0; i < f->n; i++) {
		const struct proxy_fork_branch *b = &f->v[i];
		n += b->uri.n + b->route.n + b->record_user.n + b->branch.n + b->response.n +
		     b->challenge.n;
	}
	return n;
}

/* ret_text: to be freed. */
static inline struct proxy_fork forks_copy(const struct proxy_fork *f, char **ret_text)
{
	struct proxy_fork c = *f;
	world_calm++;
	char *at = malloc(forks_size(f) + 1);
	world_calm--;
	if (!at)
		abort();
	*ret_text = at;
	c.v = memcpy(at, f->v, f->n * sizeof(*f->v));
	at += f->n * sizeof(*f->v);
	c.request = forks_keep(&at, f->request);
	c.lines = forks_keep(&at, f->lines);
	c.record_user = forks_keep(&at, f->record_user);
	c.path = forks_keep(&at, f->path);
	c.via_flow = forks_keep(&at, f->via_flow);
	c.cancel_lines = forks_keep(&at, f->cancel_lines);
	c.best = forks_keep(&at, f->best);
	for (unsigned i = 0; i < c.n; i++) {
		struct proxy_fork_branch *b = &c.v[i];
		b->uri = forks_keep(&at, b->uri);
		b->route = forks_keep(&at, b->route);
		b->record_user = forks_keep(&at, b->record_user);
		b->branch = forks_keep(&at, b->branch);
		b->response = forks_keep(&at, b->response);
		b->challenge = forks_keep(&at, b->challenge);
	}
	return c;
}

static inline void forks_remove(struct forks *s, unsigned i)
{
	free(s->v[i].text);
	s->n--;
	memmove(&s->v[i], &s->v[i + 1], (s->n - i) * sizeof(s->v[0]));
}

static inline void forks_write(void *arg, const struct proxy_fork *f,
			       void (*done)(void *done_arg), void *done_arg)
{
	struct forks *s = arg;
	struct proxy_fork again = *f;
	if (!s->op(s->op_arg))
		return;
	s->writes++;
	s->last_key = f->key;
	if (s->pack && !s->unpack(s->pack(f), &again))
		abort();
	for (unsigned i = 0; i < s->n && !s->later; i++)
		if (s->v[i].f.key == f->key && !s->v[i].done) {
			forks_remove(s, i);
			break;
		}
	if (s->n == FORKS_MAX)
		abort();
	struct forks_record *r = &s->v[s->n++];
	*r = (struct forks_record){
		.at = *s->now, .done = s->later ? done : NULL, .done_arg = done_arg};
	r->f = forks_copy(&again, &r->text);
	if (!s->later)
		done(done_arg);
}

static inline void forks_drop(void *arg, uint64_t key)
{
	struct forks *s = arg;
	if (!s->op(s->op_arg))
		return;
	s->drops++;
	for (unsigned i = s->n; i-- > 0;) {
		if (s->v[i].f.key != key)
			continue;
		s->v[i].dropped = true;
		if (!s->v[i].done)
			forks_remove(s, i);
	}
}

/* The oldest write under way is done; false: there is none. */
static inline bool forks_done_one(struct forks *s)
{
	unsigned i = 0;
	while (i < s->n && !s->v[i].done)
		i++;
	if (i == s->n)
		return false;
	struct forks_record r = s->v[i];
	s->v[i].done = NULL;
	for (unsigned k = 0; k < i; k++)
		if (s->v[k].f.key == r.f.key && !s->v[k].done) {
			forks_remove(s, k);
			i--;
			break;
		}
	if (r.dropped)
		forks_remove(s, i);
	r.done(r.done_arg);
	return true;
}

/* Their member is dead: writes under way are lost, or (arrive) get where they were sent. */
static inline void forks_lose(struct forks *s, bool arrive)
{
	for (unsigned i = s->n; i-- > 0;) {
		if (!s->v[i].done)
			continue;
		s->v[i].done = NULL;
		for (unsigned k = 0; k < i && arrive; k++)
			if (s->v[k].f.key == s->v[i].f.key) {
				forks_remove(s, k);
				i--;
				break;
			}
		if (!arrive || s->v[i].dropped)
			forks_remove(s, i);
	}
}

static inline uint32_t forks_left(uint32_t ms, msec gone)
{
	if (!ms)
		return 0;
	return ms > gone ? ms - (uint32_t)gone : 1;
}

/* A record as it is now, to be adopted; false: there is none. */
static inline bool forks_find(const struct forks *s, uint64_t key, struct proxy_fork *ret,
			      char **ret_text)
{
	for (unsigned i = 0; i < s->n; i++) {
		if (s->v[i].f.key != key || s->v[i].done)
			continue;
		msec gone = *s->now - s->v[i].at;
		*ret = forks_copy(&s->v[i].f, ret_text);
		ret->serial_ms = forks_left(ret->serial_ms, gone);
		for (unsigned k = 0; k < ret->n; k++)
			ret->v[k].timer_c_ms = forks_left(ret->v[k].timer_c_ms, gone);
		return true;
	}
	return false;
}

static inline void forks_hold(void *arg, uint64_t key, bool held)
{
	struct forks *s = arg;
	if (!key || (!held && !s->held))
		abort();
	s->held += held ? 1 : -1u;
}

static inline void forks_init(struct forks *s, const msec *now, bool (*op)(void *arg),
			      void *op_arg)
{
	s->op = op;
	s->op_arg = op_arg;
	s->journal = (struct proxy_journal){forks_write, forks_drop, forks_hold, s};
	s->now = now;
}

/* When all proxies are gone. */
static inline void forks_free(struct forks *s)
{
	if (s->held)
		abort();
	while (s->n)
		forks_remove(s, s->n - 1);
}

#endif
