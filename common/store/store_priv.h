/*
 * What the back ends share: the bounded queue of units and the thread that commits them in
 * groups.
 */
#ifndef EAVES_STORE_PRIV_H
#define EAVES_STORE_PRIV_H

#include "common/base/time.h"
#include "common/store/store.h"

#include <pthread.h>

/* Between the beginnings of two commits at least: under load what comes meanwhile shares one
 * fsync and one wake-up; after a pause the first is committed at once. */
enum { STORE_GATHER_MS = 4 };

/* Rows that are committed together, with their bytes, in one allocation. */
struct store_unit {
	struct store_unit *next;
	void (*done)(void *arg, int error);
	void *arg;
	msec due;     /* the back end's */
	size_t bytes; /* of the whole */
	unsigned n;
	struct store_row row[];
};
/* Copies; NULL: out of memory. */
struct store_unit *store_unit_new(const struct store_row *rows, unsigned n);
/* A unit without rows (a barrier: done after what was queued before it) still takes room. */
static inline size_t store_unit_weight(unsigned n)
{
	return n ? n : 1;
}

/* Makes a list of units durable, all or nothing, and drops what expired before expire_ms (0:
 * nothing).  Called from the queue's thread.  0 or -EIO. */
typedef int (*store_commit)(struct store *s, const struct store_unit *list, uint64_t expire_ms);

struct store_queue {
	struct store *store;
	store_commit commit;
	size_t rows_max;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t work, idle;
	/* Under the lock: */
	struct store_unit *head, **tail;
	size_t rows;
	uint64_t expire_ms;
	bool idling, busy, hurry, stop;
};

/* 0, -ENOMEM, -EAGAIN. */
int store_queue_start(struct store_queue *q, struct store *s, store_commit commit,
		      size_t rows_max);
int store_queue_put(struct store_queue *q, const struct store_row *rows, unsigned n,
		    void (*done)(void *arg, int error), void *arg);
void store_queue_expire(struct store_queue *q, uint64_t wall_ms);
void store_queue_flush(struct store_queue *q);
/* Commits what is queued and ends the thread. */
void store_queue_stop(struct store_queue *q);

#endif
