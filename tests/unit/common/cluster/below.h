/*
 * A store below, as a test wants it: answers at once, later or never, refuses, has another
 * version of what is guarded.
 */
#ifndef EAVES_TESTS_CLUSTER_BELOW_H
#define EAVES_TESTS_CLUSTER_BELOW_H

#include "common/store/store.h"

#include <errno.h>
#include <stdio.h>

enum { BELOW_WAITING = 256 };

struct below {
	struct store store;
	int refuses; /* what put returns */
	int error;   /* what done gets */
	bool later;  /* answers come by below_answer() */
	unsigned puts, merges, rows, expires, flushes;
	unsigned n;
	struct {
		void (*done)(void *arg, int error);
		void *arg;
	} waiting[BELOW_WAITING];
	struct store_row kept; /* for load */
};

static inline int below_take(struct below *b, const struct store_row *rows, unsigned n,
			     void (*done)(void *arg, int error), void *arg)
{
	if (b->refuses)
		return b->refuses;
	b->rows += n;
	for (unsigned i = 0; i < n; i++)
		if (rows[i].guarded && b->error == -EAGAIN)
			b->rows--;
	if (!done)
		return 0;
	if (!b->later) {
		done(arg, b->error);
	} else if (b->n < BELOW_WAITING) {
		b->waiting[b->n].done = done;
		b->waiting[b->n++].arg = arg;
	}
	return 0;
}

static inline int below_put(struct store *s, const struct store_row *rows, unsigned n,
			    void (*done)(void *arg, int error), void *arg)
{
	struct below *b = (struct below *)s;
	b->puts++;
	return below_take(b, rows, n, done, arg);
}

static inline int below_merge(struct store *s, const struct store_row *rows, unsigned n,
			      void (*done)(void *arg, int error), void *arg)
{
	struct below *b = (struct below *)s;
	b->merges++;
	return below_take(b, rows, n, done, arg);
}

static inline int below_load(struct store *s, uint64_t wall_ms,
			     int (*each)(void *arg, const struct store_row *row), void *arg)
{
	struct below *b = (struct below *)s;
	(void)wall_ms;
	return b->kept.hlc ? each(arg, &b->kept) : 0;
}

static inline void below_expire(struct store *s, uint64_t wall_ms)
{
	(void)wall_ms;
	((struct below *)s)->expires++;
}

static inline void below_flush(struct store *s)
{
	((struct below *)s)->flushes++;
}

static inline int below_backup(struct store *s, const char *path, char *ret_error)
{
	(void)s;
	snprintf(ret_error, 256, "%s", path);
	return -EIO;
}

static inline void below_answer(struct below *b)
{
	for (unsigned i = 0; i < b->n; i++)
		b->waiting[i].done(b->waiting[i].arg, b->error);
	b->n = 0;
}

static inline struct below below_new(void)
{
	static const struct store_ops ops = {
		.load = below_load,
		.put = below_put,
		.merge = below_merge,
		.expire = below_expire,
		.flush = below_flush,
		.backup = below_backup,
	};
	return (struct below){.store = {.ops = &ops}};
}

#endif
