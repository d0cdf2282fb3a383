/*
 * The shared store of an edge pair: records in Redis, written by pipelined scripts that replace
 * older versions only, over one connection in the thread of one loop.  docs/redis.md has the
 * keys.  It never blocks: with Redis gone puts fail soon, and when it is back everything is
 * written anew.
 */
#ifndef EAVES_STORE_REDIS_H
#define EAVES_STORE_REDIS_H

#include "common/base/addr.h"
#include "common/loop/loop.h"
#include "common/store/store.h"

enum { REDIS_ADDRS_MAX = 8, REDIS_KINDS_MAX = 32, REDIS_ERROR_MAX = 128 };

/* What the owner of the records does; all in the loop's thread. */
struct redis_ops {
	/* A row that Redis has and the owner may not: read late (see load).  A put of that row
	 * from within writes nothing.  May be NULL. */
	void (*loaded)(void *arg, const struct store_row *row);
	/* A guarded row was not written, for `there` stands in Redis; NULL: nothing does, and
	 * another row of its unit was refused.  The owner sees to it that what stands is what
	 * he has; then its done comes.  May be NULL. */
	void (*refused)(void *arg, const struct store_row *ours, const struct store_row *there);
	/* Shows a part (0, 1, ...) of all rows that belong into Redis, deletions included, to
	 * `each`, which copies them; stops when that returns false.  False: that was the last
	 * part.  NULL: nothing is written anew. */
	bool (*rewrite)(void *arg, unsigned part,
			bool (*each)(void *each_arg, const struct store_row *row),
			void *each_arg);
	/* Redis has come (it takes writes), or gone.  May be NULL. */
	void (*changed)(void *arg, bool up);
	void *arg;
};

struct redis_conf {
	/* Either servers (the first that is a primary is used), or sentinels and a name. */
	struct addr server[REDIS_ADDRS_MAX];
	unsigned nservers;
	struct addr sentinel[REDIS_ADDRS_MAX];
	unsigned nsentinels;
	const char *primary;
	/* NULL: none.  Copied, and wiped at the end. */
	const char *password, *sentinel_password;
	/* Of every key, "eaves:{example.org}:"; at most 256 bytes. */
	const char *prefix;
	/* Names of kinds in keys, by kind; without one the number stands there. */
	const char *kind_name[REDIS_KINDS_MAX];
	uint32_t timeout_ms;		/* a put is done by then, in one way or the other */
	uint32_t load_ms;		/* load() takes so long at most; the rest comes late */
	size_t queue_rows, queue_bytes; /* waiting, and on their way */
	uint64_t tombstone_ms;		/* how long the end of a record is remembered */
	uint64_t drift_ms;		/* a version so far ahead of our clock is damaged */
	struct redis_ops ops;
};
extern const struct redis_conf redis_conf_default;

/*
 * Connects when the loop runs.  The store's operations (store.h):
 * put: from any thread; done comes from the loop's thread.  While Redis is gone: -EIO at once.
 *	A guarded row must have the expected version there, or be not there (what Redis has lost
 *	nobody has changed); a deletion that is older counts as absent, and the row itself as
 *	written (so a unit may be repeated).  When the queue is
 *	full what waits is dropped (-EIO, written anew later).  -ENOSPC only when the loop does
 *	not run, or for a unit that would never fit.
 * load: before the loop runs; blocks for load_ms at most.  0 without Redis: its rows then come
 *	by ops.loaded.  A row may be shown twice.
 * flush: until all is done, at most twice timeout_ms; not from within a callback.
 * free: in the loop's thread, outside of callbacks, or when it has ended.  What waits: -EIO.
 * NULL and a message in ret_error (256 bytes).
 */
struct store *store_redis_new(struct loop *l, const struct redis_conf *c, char *ret_error);

/* Reads everything once more, for ops.loaded, when Redis is up: what somebody has written there
 * and cannot tell us.  In the loop's thread. */
void store_redis_read(struct store *s);

struct redis_counters {
	uint64_t connects, lost, timeouts, refused; /* refused: READONLY, NOREPLICAS ... */
	uint64_t calls, conflicts;		    /* scripts run; units of -EAGAIN */
	uint64_t dropped; /* rows that were not written because Redis was gone or slow */
	uint64_t loaded, skipped, rewritten; /* skipped: damaged, too large, unknown */
	uint64_t bad_replies;
};
struct redis_state {
	bool up;
	struct addr primary;	     /* when up */
	char error[REDIS_ERROR_MAX]; /* the last thing that went wrong; "" */
	bool dirty;		     /* it lacks something: a rewrite is due or under way */
	bool full;		     /* dirty because the queue was full */
	bool loading, rewriting;     /* under way */
	uint64_t rows_waiting, bytes_waiting;
	struct redis_counters counters;
};
/* From any thread. */
void store_redis_state(struct store *s, struct redis_state *ret);

#endif
