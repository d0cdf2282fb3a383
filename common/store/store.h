/*
 * Where records are kept for good: one interface, several back ends (none, SQLite; Redis
 * later).
 */
#ifndef EAVES_STORE_STORE_H
#define EAVES_STORE_STORE_H

#include "common/base/span.h"

/* One record on its way to or from the store, flat: the store knows no kinds. */
struct store_row {
	uint8_t kind;
	bool deleted;
	struct span group, name, body;
	uint64_t hlc;
	uint32_t node;
	uint64_t expires_ms;
	/* Compare and set: where the store is shared, the row must still have this version
	 * there (hlc 0: not be there).  Not looked at by a store of this process alone. */
	bool guarded;
	uint64_t expect_hlc;
	uint32_t expect_node;
};

struct store;
struct store_ops {
	/* Reads all rows that are not expired; one may be shown twice (the newest version
	 * counts).  0, -errno, or what each() returned. */
	int (*load)(struct store *s, uint64_t wall_ms,
		    int (*each)(void *arg, const struct store_row *row), void *arg);
	/* Queues rows as one unit (all or nothing).  The bytes are copied.  done is called from
	 * the store's thread after the commit that holds them (group commit: all that is queued
	 * meanwhile goes into the next one).  A row replaces an older version only.  error: 0;
	 * -EIO; -EAGAIN (a guarded row has another version there).  0, -ENOSPC (queue full). */
	int (*put)(struct store *s, const struct store_row *rows, unsigned n,
		   void (*done)(void *arg, int error), void *arg);
	/* The same for rows that another node wrote (records_merge).  NULL: as put. */
	int (*merge)(struct store *s, const struct store_row *rows, unsigned n,
		     void (*done)(void *arg, int error), void *arg);
	/* Rows expired before wall_ms may go. */
	void (*expire)(struct store *s, uint64_t wall_ms);
	/* Waits until everything queued is durable or failed. */
	void (*flush)(struct store *s);
	/* A whole copy in a new file of mode 0600, all that is durable by now; commits wait for
	 * it.  0, or -errno and ret_error (256 bytes).  May be NULL: nothing to copy. */
	int (*backup)(struct store *s, const char *path, char *ret_error);
	void (*free)(struct store *s);
};
struct store_counters {
	uint64_t commits, rows, failed, queued;
};
struct store {
	const struct store_ops *ops;
	struct store_counters counters; /* written by the store's thread; read relaxed */
};

/* path: file, created with mode 0600 (WAL, synchronous=FULL).  queue_max: rows waiting at most.
 * NULL and a message in ret_error (256 bytes). */
struct store *store_sqlite_new(const char *path, size_t queue_max, char *ret_error);
/* What of that shows without opening it as a data base: another process may have it open.  0
 * (also when it is not there), or -errno and ret_error. */
int store_sqlite_check(const char *path, char *ret_error);

#endif
