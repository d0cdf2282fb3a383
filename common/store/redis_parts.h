/*
 * What the files of the Redis store share, over redis_client.h: rows and scripts, reading
 * everything, the queue with its pipeline, writing everything anew.
 */
#ifndef EAVES_STORE_REDIS_PARTS_H
#define EAVES_STORE_REDIS_PARTS_H

#include "common/base/mac.h"
#include "common/store/redis_client.h"
#include "common/store/store_priv.h"

#include <stdatomic.h>

/* ---- rows as Redis has them (redis_row.c), scripts (redis_script.c) ---- */

enum {
	REDIS_VERSION_N = 32, /* "ms.counter.node", as wide always: compared as text */
	REDIS_MS_N = 15,
	REDIS_HEAD_N = 54, /* "version live|gone expiry " in front of the body */
	REDIS_GROUP_MAX = 1024,
	REDIS_NAME_MAX = 1024,
	REDIS_BODY_MAX = 1 << 20,
	REDIS_UNIT_MAX = 1024, /* rows */
	REDIS_BATCH_ROWS = 64, /* and units, of one call */
	REDIS_BATCH_BYTES = 128 << 10,
	REDIS_FIELDS_MAX = 4096,
	REDIS_SLACK_MS = 60 * 1000,   /* Redis forgets after we do */
	REDIS_REPLY_ROWS = 256 << 10, /* bytes of rows that one answer should have */
	REDIS_KEY_ROWS_MAX = 16 << 20 /* bytes in one group */
};
/* A call of the writing script for a list of units, no more rows than fit one batch but of a
 * unit alone.  0, or as redis_link_end. */
int redis_row_write(struct redis_link *k, const struct redis_setup *s, const char sha[41],
		    const struct store_unit *units);
/* 0, or -EBADMSG for what is no row of ours.  Spans lie in the arguments. */
int redis_row_read(const struct redis_setup *s, struct span key, struct span field,
		   struct span value, uint64_t wall_ms, struct store_row *ret);

/* ---- reading everything (redis_load.c) ---- */

struct redis_load {
	struct redis_client *client;
	struct redis_counters *counters;
	uint64_t wall_ms;
	int (*each)(void *arg, const struct store_row *row);
	void *arg;
	bool running, complete; /* complete: all was read once */
	int rc;			/* each()'s, when it wanted no more */
	char cursor[24];
	struct span *key; /* of the last SCAN, with their bytes behind them */
	unsigned keys, at, asked, noscript;
};
/* From the beginning; the client is up. */
void redis_load_start(struct redis_load *l, uint64_t wall_ms,
		      int (*each)(void *arg, const struct store_row *row), void *arg);
void redis_load_stop(struct redis_load *l);
/* REDIS_TAG_SCAN and REDIS_TAG_READ.  NULL, or what was wrong with the reply. */
const char *redis_load_reply(struct redis_load *l, enum redis_tag tag, const redisReply *r);

/* ---- the store: queue and pipeline (redis_queue.c), rewriting (redis_rewrite.c) ---- */

struct redis_list {
	struct store_unit *head, **tail;
};
static inline void redis_list_init(struct redis_list *l)
{
	l->head = NULL;
	l->tail = &l->head;
}
static inline void redis_list_append(struct redis_list *l, struct store_unit *u)
{
	u->next = NULL;
	*l->tail = u;
	l->tail = &u->next;
}
/* Of a list that is not empty. */
static inline struct store_unit *redis_list_take(struct redis_list *l)
{
	struct store_unit *u = l->head;

	l->head = u->next;
	if (!l->head)
		l->tail = &l->head;
	return u;
}
/* All of `more` in front of l; `more` is empty then. */
static inline void redis_list_put_back(struct redis_list *l, struct redis_list *more)
{
	if (!more->head)
		return;
	*more->tail = l->head;
	if (!l->head)
		l->tail = more->tail;
	l->head = more->head;
	redis_list_init(more);
}
enum { REDIS_BATCHES = 8 };
/* Units that one script call writes. */
struct redis_batch {
	struct redis_list units;
	unsigned n;
	bool rewrite;
};
struct redis_rewrite {
	struct mac_key key;
	struct wheel_timer timer; /* until the next one */
	uint32_t delay_ms;
	bool running, failed; /* failed: another one must follow */
	unsigned part, slice, slices, inflight;
	bool last_part;
	struct redis_list units;
	/* Of the slice that is being fetched. */
	size_t seen, seen_bytes, rows, bytes;
};
struct store_redis {
	struct store store;
	struct loop *loop;
	struct redis_setup setup;
	struct redis_counters counters;
	struct redis_client client;
	struct loop_work work;
	/* The loop's own. */
	struct redis_list waiting;
	/* Held: guarded, until all is loaded and written; late: for longer than anybody waited.
	 */
	struct redis_list held, late;
	struct redis_batch batch[REDIS_BATCHES];
	unsigned batch_at, batches, noscript;
	struct wheel_timer due; /* of the unit that waits longest */
	bool dirty, full, told_up, refused;
	msec outage; /* since when; 0: it is up, or gone for good */
	struct redis_load load;
	struct redis_rewrite rewrite;
	_Atomic(const struct store_row *) showing; /* to the owner: Redis has it */
	/* Anybody's. */
	atomic_bool gone; /* what is put now fails at once */
	pthread_mutex_t lock;
	pthread_cond_t idle;
	/* Under the lock: */
	struct redis_list incoming;
	size_t rows, bytes, shells; /* shells: units that will fail, without their rows */
	uint64_t missed;	    /* rows that were not queued */
	bool posted, overflown, has_thread;
	pthread_t thread;
	struct redis_state shown;
};
/* 0 or -ENOMEM. */
int redis_queue_init(struct store_redis *s);
/* What is queued fails. */
void redis_queue_end(struct store_redis *s);
void redis_queue_pump(struct store_redis *s);
/* Rows are missing in Redis. */
void redis_queue_dirty(struct store_redis *s);
/* Copies what others may see (store_redis_state). */
void redis_queue_show(struct store_redis *s);

bool redis_unit_guarded(const struct store_unit *u);
/* Redis has all that we have. */
bool redis_settled(const struct store_redis *s);
/* Held units whose time is over have failed, and are late. */
void redis_held_due(struct store_redis *s, msec now);

void redis_rewrite_init(struct store_redis *s);
void redis_rewrite_start(struct store_redis *s);
/* Stops it, and its timer. */
void redis_rewrite_stop(struct store_redis *s);
/* Later, when something was not written although Redis is up. */
void redis_rewrite_later(struct store_redis *s);
/* The next units to write in a list (*ret_n of them, at most a batch), or an empty one. */
void redis_rewrite_next(struct store_redis *s, struct redis_list *ret);
/* One of its batches has come back, n rows. */
void redis_rewrite_answered(struct store_redis *s, bool ok, unsigned n);

/* What stands against a guarded unit (r: the script's answer to it) is shown to the owner. */
void redis_conflict_show(struct store_redis *s, const struct store_unit *u,
			 const redisReply *r);
/* Would a put of these rows write what is shown to the owner just now? */
bool redis_is_shown(struct store_redis *s, const struct store_row *rows, unsigned n);

/* Everything once more. */
void redis_queue_read(struct store_redis *s);
/* load() of the store: a loop of its own. */
int redis_load_now(struct store_redis *s, uint64_t wall_ms,
		   int (*each)(void *arg, const struct store_row *row), void *arg);

#endif
