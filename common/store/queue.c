/*
 * The queue in front of a back end: units are copied in by any thread, one thread takes all
 * that has gathered and has it committed at once (group commit), then calls their done
 * functions in order.  What does not fit is refused and counted by whoever asked.
 */
#include "common/store/store_priv.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

static void count(uint64_t *c, uint64_t n)
{
	__atomic_fetch_add(c, n, __ATOMIC_RELAXED);
}

static char *copy_span(struct span *s, char *at)
{
	if (s->n)
		memcpy(at, s->p, s->n);
	s->p = at;
	return at + s->n;
}

struct store_unit *store_unit_new(const struct store_row *rows, unsigned n)
{
	size_t bytes = sizeof(struct store_unit) + n * sizeof(struct store_row);
	for (unsigned i = 0; i < n; i++)
		bytes += rows[i].group.n + rows[i].name.n + rows[i].body.n;
	struct store_unit *u = malloc(bytes);
	if (!u)
		return NULL;
	u->bytes = bytes;
	char *at = (char *)&u->row[n];
	for (unsigned i = 0; i < n; i++) {
		u->row[i] = rows[i];
		at = copy_span(&u->row[i].group, at);
		at = copy_span(&u->row[i].name, at);
		at = copy_span(&u->row[i].body, at);
	}
	u->n = n;
	u->next = NULL;
	return u;
}

int store_queue_put(struct store_queue *q, const struct store_row *rows, unsigned n,
		    void (*done)(void *arg, int error), void *arg)
{
	struct store_unit *u = store_unit_new(rows, n);
	if (!u)
		return -ENOMEM;
	u->done = done;
	u->arg = arg;
	pthread_mutex_lock(&q->lock);
	if (q->rows + store_unit_weight(n) > q->rows_max) {
		pthread_mutex_unlock(&q->lock);
		free(u);
		return -ENOSPC;
	}
	*q->tail = u;
	q->tail = &u->next;
	q->rows += store_unit_weight(n);
	__atomic_store_n(&q->store->counters.queued, q->rows, __ATOMIC_RELAXED);
	/* While it gathers the thread is left alone, unless the queue fills up. */
	if (q->idling || (!q->busy && q->rows > q->rows_max / 2))
		pthread_cond_signal(&q->work);
	pthread_mutex_unlock(&q->lock);
	return 0;
}

void store_queue_expire(struct store_queue *q, uint64_t wall_ms)
{
	pthread_mutex_lock(&q->lock);
	q->expire_ms = wall_ms;
	pthread_cond_signal(&q->work);
	pthread_mutex_unlock(&q->lock);
}

void store_queue_flush(struct store_queue *q)
{
	pthread_mutex_lock(&q->lock);
	while (q->head || q->busy) {
		q->hurry = true;
		pthread_cond_signal(&q->work);
		pthread_cond_wait(&q->idle, &q->lock);
	}
	pthread_mutex_unlock(&q->lock);
}

/* Commits one group; returns how much room it took. */
static size_t run(struct store_queue *q, struct store_unit *list, uint64_t expire_ms)
{
	struct store_counters *c = &q->store->counters;
	size_t rows = 0, room = 0;
	int error = q->commit(q->store, list, expire_ms);

	for (const struct store_unit *u = list; u; u = u->next) {
		rows += u->n;
		room += store_unit_weight(u->n);
	}
	count(error ? &c->failed : &c->rows, rows);
	if (!error)
		count(&c->commits, 1);
	for (struct store_unit *u = list, *next; u; u = next) {
		next = u->next;
		if (u->done)
			u->done(u->arg, error);
		free(u);
	}
	return room;
}

/* Waits, under the lock, for something to do, then until `not_before`.  False: stop. */
static bool wait_for_work(struct store_queue *q, const struct timespec *not_before)
{
	q->idling = true;
	while (!q->head && !q->expire_ms && !q->stop)
		pthread_cond_wait(&q->work, &q->lock);
	q->idling = false;
	while (!q->stop && !q->hurry && q->rows <= q->rows_max / 2 &&
	       pthread_cond_timedwait(&q->work, &q->lock, not_before) == 0)
		;
	q->hurry = false;
	return q->head || q->expire_ms;
}

static void *run_all(void *arg)
{
	struct store_queue *q = arg;
	struct timespec not_before = {0, 0}, now;

	pthread_mutex_lock(&q->lock);
	while (wait_for_work(q, &not_before)) {
		struct store_unit *list = q->head;
		uint64_t expire_ms = q->expire_ms;
		q->head = NULL;
		q->tail = &q->head;
		q->expire_ms = 0;
		q->busy = true;
		pthread_mutex_unlock(&q->lock);

		clock_gettime(CLOCK_MONOTONIC, &now);
		not_before = now;
		not_before.tv_nsec += STORE_GATHER_MS * 1000000l;
		if (not_before.tv_nsec >= 1000000000l) {
			not_before.tv_sec++;
			not_before.tv_nsec -= 1000000000l;
		}
		size_t room = run(q, list, expire_ms);

		pthread_mutex_lock(&q->lock);
		q->rows -= room;
		__atomic_store_n(&q->store->counters.queued, q->rows, __ATOMIC_RELAXED);
		q->busy = false;
		pthread_cond_broadcast(&q->idle);
	}
	pthread_mutex_unlock(&q->lock);
	return NULL;
}

int store_queue_start(struct store_queue *q, struct store *s, store_commit commit,
		      size_t rows_max)
{
	*q = (struct store_queue){.store = s, .commit = commit, .rows_max = rows_max};
	q->tail = &q->head;
	pthread_mutex_init(&q->lock, NULL);
	pthread_condattr_t monotonic;
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&q->work, &monotonic);
	pthread_condattr_destroy(&monotonic);
	pthread_cond_init(&q->idle, NULL);

	/* Signals are for the thread that waits for them. */
	sigset_t all, old;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int rc = pthread_create(&q->thread, NULL, run_all, q);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc) {
		pthread_cond_destroy(&q->idle);
		pthread_cond_destroy(&q->work);
		pthread_mutex_destroy(&q->lock);
	}
	return -rc;
}

void store_queue_stop(struct store_queue *q)
{
	pthread_mutex_lock(&q->lock);
	q->stop = true;
	pthread_cond_signal(&q->work);
	pthread_mutex_unlock(&q->lock);
	pthread_join(q->thread, NULL);
	pthread_cond_destroy(&q->idle);
	pthread_cond_destroy(&q->work);
	pthread_mutex_destroy(&q->lock);
}
