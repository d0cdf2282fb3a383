/*
 * Records: every piece of shared state is one (see the design's "State").  A record has a kind,
 * a key in two parts (group and name: all records of a group are found together), a version
 * (hybrid logical clock and node), an expiry and a body that only its kind understands.  The
 * highest version wins, so updates may be repeated and reordered; deletion is a record too (a
 * tombstone). The table is shared by all threads (striped locks, short copies).
 */
#ifndef EAVES_RECORDS_RECORDS_H
#define EAVES_RECORDS_RECORDS_H

#include "common/base/span.h"

enum record_kind {
	RECORD_USER = 1,
	RECORD_ALIAS = 2,
	RECORD_BINDING = 3,
	RECORD_KIND_MAX = 16
};

struct record_version {
	uint64_t hlc; /* wall-clock ms << 16 | counter */
	uint32_t node;
};
int record_version_cmp(struct record_version a, struct record_version b);

struct record {
	uint8_t kind;
	bool deleted;
	struct span group, name;
	struct record_version version; /* given by records_put when hlc is 0 */
	uint64_t expires_ms;	       /* wall clock, 0: never */
	struct span body;
};

struct records;
struct store;

/* store: may be NULL (memory alone).  node: this node's number in versions.
 * limit: records at most (tombstones included). */
struct records *records_new(struct store *store, uint32_t node, size_t limit);
void records_free(struct records *r);
/* Reads everything from the store; before any thread.  0 or -errno. */
int records_load(struct records *r, uint64_t wall_ms);

/* A batch: all or nothing visible to readers of one group; all records must be of one group.
 * done(arg, error) is called when it is durable (from the store's thread, or before
 * records_put returns when there is no store): the yes may leave then.  error: 0 or -EIO (kept
 * in memory, not durable).  done may be NULL. expect: when not NULL, the group's highest
 * version of that kind as read before (compare and set): -EAGAIN when it has changed meanwhile
 * and nothing was done. 0, -ENOSPC, -ENOMEM, -EAGAIN. */
int records_put(struct records *r, const struct record *v, unsigned n,
		const struct record_version *expect, uint64_t wall_ms,
		void (*done)(void *arg, int error), void *arg);

/* Live (not deleted, not expired) records of a group and kind, in order of first insertion,
 * under the stripe's lock: `each` copies what it needs and calls nothing here; it returns false
 * to stop. *ret_version (may be NULL): highest version of that kind in the group, tombstones
 * included (zero without any), for records_put's expect.  Returns how many were shown. */
unsigned records_each(struct records *r, uint8_t kind, struct span group, uint64_t wall_ms,
		      bool (*each)(void *arg, const struct record *rec), void *arg,
		      struct record_version *ret_version);
/* All live records of a kind, stripe by stripe (admin, metrics). */
void records_scan(struct records *r, uint8_t kind, uint64_t wall_ms,
		  bool (*each)(void *arg, const struct record *rec), void *arg);
/* Live records of a kind (counting what has expired but was not swept). */
size_t records_count(const struct records *r, uint8_t kind);
/* Frees expired records and old tombstones of some stripes; call it every second or so. */
void records_sweep(struct records *r, uint64_t wall_ms);
/* Called after a change of a group (put, expiry), outside the locks, from the thread that did
 * it; several may be registered, before threads start. */
void records_watch(struct records *r, uint8_t kind,
		   void (*changed)(void *arg, uint8_t kind, struct span group), void *arg);

#endif
