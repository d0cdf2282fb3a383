/*
 * Records: every piece of shared state is one (see the design's "State").  A record has a kind,
 * a key in two parts (group and name: all records of a group are found together), a version
 * (hybrid logical clock and node), an expiry and a body that only its kind understands.  The
 * highest version wins, so updates may be repeated and reordered; deletion is a record too (a
 * tombstone). The table is shared by all threads (striped locks, short copies).
 */
#ifndef EAVES_RECORDS_RECORDS_H
#define EAVES_RECORDS_RECORDS_H

#include "common/base/mac.h"

enum record_kind {
	RECORD_USER = 1,
	RECORD_ALIAS = 2,
	RECORD_BINDING = 3,
	RECORD_FORK = 4, /* how far a call to several devices has come */
	RECORD_KIND_MAX = 16
};
/* "user"; NULL: a kind that this version does not have. */
const char *record_kind_name(unsigned kind);

enum {
	RECORDS_BATCH_MAX = 128, /* records in one put */
	RECORDS_GROUP_MAX_BYTES = 1024,
	RECORDS_NAME_MAX_BYTES = 1024,
	RECORDS_BODY_MAX_BYTES = 1 << 20,
	/* How long a deletion is remembered: after it, and after what it deletes would have
	 * expired, so that a copy that did not hear of it does not outlive it. */
	RECORDS_TOMBSTONE_MS = 3600 * 1000,
	/* The same where what is deleted would never have expired. */
	RECORDS_TOMBSTONE_DAYS = 30,
	/* Deletions remembered one by one in one group: of more the oldest goes early, and the
	 * group remembers how new the newest of those was; see records_heard(). */
	RECORDS_TOMBSTONES_PER_GROUP = 32,
	/* A version further ahead of our clock than this is refused by records_merge. */
	RECORDS_DRIFT_MAX_MS = 3600 * 1000,
	RECORDS_PARTS = 64,	/* of the table, see records_scan_part */
	RECORDS_NODES_MAX = 64, /* whose versions records_heard() is told of */
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
	struct span body;	       /* of a deletion: none is kept */
};

struct records;
struct store;

/* store: may be NULL (memory alone).  node: this node's number in versions.
 * limit: records at most (tombstones included).  key: of the hashes and of records_tag(), the
 * same at every node of a cluster; NULL: one of our own. */
struct records *records_new(struct store *store, uint32_t node, size_t limit,
			    const struct mac_key *key);
void records_free(struct records *r);
/* Is there a store?  Without one done is always called before records_put returns. */
bool records_has_store(const struct records *r);
/* Reads everything from the store; before any thread.  0 or -errno. */
int records_load(struct records *r, uint64_t wall_ms);

/* A batch: all or nothing visible to readers of one group; all records must be of one group, no
 * two of one kind and name.
 * done(arg, error) is called when it is durable (from the store's thread, or before
 * records_put returns when there is no store): the yes may leave then.  error: 0 or -EIO (kept
 * in memory, not durable).  done may be NULL. expect: when not NULL, the group's highest
 * version of that kind as read before (compare and set): -EAGAIN when it has changed meanwhile
 * and nothing was done. 0, -ENOSPC, -ENOMEM, -EAGAIN. */
int records_put(struct records *r, const struct record *v, unsigned n,
		const struct record_version *expect, uint64_t wall_ms,
		void (*done)(void *arg, int error), void *arg);

/* Records from elsewhere (the cluster), versions given; of one group, as records_put.  What is
 * here already or older is passed over; done is called as of records_put all the same.  How
 * many were taken; -EBADMSG for a version far in the future or of none; else as records_put. */
int records_merge(struct records *r, const struct record *v, unsigned n, uint64_t wall_ms,
		  void (*done)(void *arg, int error), void *arg);

/* All that v.node has written for this node up to v was here once.  So what comes of it later,
 * is not here and is older than the newest deletion that its group has forgotten, was deleted:
 * records_merge then says so to whoever has it, by a deletion with a version just above its
 * own. */
void records_heard(struct records *r, struct record_version v);

/* Live (not deleted, not expired) records of a group and kind, in order of first insertion,
 * under the stripe's lock: `each` copies what it needs and calls nothing here; it returns false
 * to stop (NULL: they are counted only). *ret_version (may be NULL): highest version of that
 * kind in the group, tombstones included (zero without any), for records_put's expect.  Returns
 * how many were shown. */
unsigned records_each(struct records *r, uint8_t kind, struct span group, uint64_t wall_ms,
		      bool (*each)(void *arg, const struct record *rec), void *arg,
		      struct record_version *ret_version);
/* A name of 64 bits for a record: a hash by the table's key, not unique for sure. May be called
 * by `each`.  records_each_tag shows the live records of a kind that have it. */
uint64_t records_tag(const struct records *r, const struct record *rec);
unsigned records_each_tag(struct records *r, uint8_t kind, uint64_t tag, uint64_t wall_ms,
			  bool (*each)(void *arg, const struct record *rec), void *arg);
/* All live records of a kind, stripe by stripe (admin, metrics). */
void records_scan(struct records *r, uint8_t kind, uint64_t wall_ms,
		  bool (*each)(void *arg, const struct record *rec), void *arg);
/* The same little by little, where the table may be large: at most max records (and empty
 * places) are looked at, from *at on, which is zero at first.  False: that was all.  What
 * changes meanwhile may be shown twice, or not. */
struct records_place {
	uint32_t stripe, bucket, skip, mask;
};
bool records_scan_slice(struct records *r, uint8_t kind, uint64_t wall_ms,
			struct records_place *at, unsigned max,
			bool (*each)(void *arg, const struct record *rec), void *arg);
/* Every record of every kind, deletions and expired ones included (replication, persistence).
 */
void records_scan_all(struct records *r, bool (*each)(void *arg, const struct record *rec),
		      void *arg);
/* The same of one part of the table (0 to RECORDS_PARTS - 1), under one lock, that of its
 * stripe: `each` is short and calls nothing here.  A group lies in one part; with the same key,
 * in the same one at every node. */
void records_scan_part(struct records *r, unsigned part,
		       bool (*each)(void *arg, const struct record *rec), void *arg);
/* Live records of a kind (counting what has expired but was not swept). */
size_t records_count(const struct records *r, uint8_t kind);
/* Turns expired records into tombstones and frees old tombstones, in a sixteenth of the table;
 * call it every second or so. */
void records_sweep(struct records *r, uint64_t wall_ms);
/* Called after a change of a group (put, expiry), outside the locks, from the thread that did
 * it; several may be registered, before threads start. */
void records_watch(struct records *r, uint8_t kind,
		   void (*changed)(void *arg, uint8_t kind, struct span group), void *arg);

struct records_counters {
	uint64_t records; /* now, tombstones included */
	uint64_t puts, merged, passed_over, conflicts, full, far_ahead, expired, buried;
};
/* A copy, read relaxed. */
struct records_counters records_counters(const struct records *r);

#endif
