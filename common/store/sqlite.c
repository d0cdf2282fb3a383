/*
 * The embedded store: one SQLite file, one table, write-ahead log with synchronous=FULL, so
 * that a commit is durable when it returns.  One connection, used by the queue's thread (and by
 * load, before there is anything queued).  The file is locked for this process alone.  An error
 * of the disk fails the group that met it and is tried anew with the next one: the node goes
 * on.
 */
#include "common/store/store_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define NEWER "written by a newer version (schema %d)"

enum { SCHEMA_VERSION = 1, ERROR_BYTES = 256, EXPIRE_EVERY_MS = 60000 };

struct store_sqlite {
	struct store store;
	struct store_queue queue;
	pthread_mutex_t lock; /* of the connection */
	sqlite3 *db;
	sqlite3_stmt *begin, *commit, *rollback, *upsert, *expire;
	_Atomic uint64_t expired_ms; /* when rows were last dropped */
};

static const char schema[] = "CREATE TABLE IF NOT EXISTS record("
			     " kind INTEGER NOT NULL, grp BLOB NOT NULL, name BLOB NOT NULL,"
			     " hlc INTEGER NOT NULL, node INTEGER NOT NULL,"
			     " deleted INTEGER NOT NULL, expires_ms INTEGER NOT NULL,"
			     " body BLOB NOT NULL,"
			     " PRIMARY KEY(kind, grp, name)) WITHOUT ROWID;"
			     "PRAGMA user_version = 1;";
static const char upsert_sql[] =
	"INSERT INTO record(kind, grp, name, hlc, node, deleted, expires_ms, body)"
	" VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"
	" ON CONFLICT(kind, grp, name) DO UPDATE SET hlc = excluded.hlc, node = excluded.node,"
	" deleted = excluded.deleted, expires_ms = excluded.expires_ms, body = excluded.body"
	" WHERE excluded.hlc > hlc OR (excluded.hlc = hlc AND excluded.node > node)";
static const char load_sql[] = "SELECT kind, grp, name, hlc, node, deleted, expires_ms, body"
			       " FROM record WHERE expires_ms = 0 OR expires_ms > ?1";

/* ---- commit, in the queue's thread ---- */

static int run(sqlite3_stmt *s)
{
	int rc = sqlite3_step(s);
	sqlite3_reset(s);
	return rc == SQLITE_DONE ? 0 : -EIO;
}

static void bind_span(sqlite3_stmt *s, int i, struct span v)
{
	sqlite3_bind_blob64(s, i, v.n ? v.p : "", v.n, SQLITE_STATIC);
}

static int put_row(sqlite3_stmt *s, const struct store_row *r)
{
	sqlite3_bind_int(s, 1, r->kind);
	bind_span(s, 2, r->group);
	bind_span(s, 3, r->name);
	sqlite3_bind_int64(s, 4, (sqlite3_int64)r->hlc);
	sqlite3_bind_int64(s, 5, r->node);
	sqlite3_bind_int(s, 6, r->deleted);
	sqlite3_bind_int64(s, 7, (sqlite3_int64)r->expires_ms);
	bind_span(s, 8, r->body);
	return run(s);
}

static int put_all(struct store_sqlite *q, const struct store_unit *list, uint64_t expire_ms)
{
	for (const struct store_unit *u = list; u; u = u->next)
		for (unsigned i = 0; i < u->n; i++)
			if (put_row(q->upsert, &u->row[i]) < 0)
				return -EIO;
	if (expire_ms) {
		sqlite3_bind_int64(q->expire, 1, (sqlite3_int64)expire_ms);
		if (run(q->expire) < 0)
			return -EIO;
	}
	return run(q->commit);
}

static int commit_group(struct store *s, const struct store_unit *list, uint64_t expire_ms)
{
	struct store_sqlite *q = (struct store_sqlite *)s;

	pthread_mutex_lock(&q->lock);
	int rc = run(q->begin);
	if (rc == 0)
		rc = put_all(q, list, expire_ms);
	/* SQLite itself has rolled back after some errors. */
	if (rc < 0 && !sqlite3_get_autocommit(q->db))
		run(q->rollback);
	pthread_mutex_unlock(&q->lock);
	return rc;
}

/* ---- operations ---- */

static struct span column(sqlite3_stmt *s, int i)
{
	const char *p = sqlite3_column_blob(s, i);
	return span_of(p, (size_t)sqlite3_column_bytes(s, i));
}

static int load(struct store *st, uint64_t wall_ms,
		int (*each)(void *arg, const struct store_row *row), void *arg)
{
	struct store_sqlite *q = (struct store_sqlite *)st;
	sqlite3_stmt *s;
	int rc = 0, step = SQLITE_DONE;

	pthread_mutex_lock(&q->lock);
	if (sqlite3_prepare_v2(q->db, load_sql, -1, &s, NULL) != SQLITE_OK) {
		pthread_mutex_unlock(&q->lock);
		return -EIO;
	}
	sqlite3_bind_int64(s, 1, (sqlite3_int64)wall_ms);
	while (rc == 0 && (step = sqlite3_step(s)) == SQLITE_ROW) {
		struct store_row r = {
			.kind = (uint8_t)sqlite3_column_int(s, 0),
			.group = column(s, 1),
			.name = column(s, 2),
			.hlc = (uint64_t)sqlite3_column_int64(s, 3),
			.node = (uint32_t)sqlite3_column_int64(s, 4),
			.deleted = sqlite3_column_int(s, 5) != 0,
			.expires_ms = (uint64_t)sqlite3_column_int64(s, 6),
			.body = column(s, 7),
		};
		rc = each(arg, &r);
	}
	sqlite3_finalize(s);
	pthread_mutex_unlock(&q->lock);
	return rc == 0 && step != SQLITE_DONE ? -EIO : rc;
}

static int put(struct store *s, const struct store_row *rows, unsigned n,
	       void (*done)(void *arg, int error), void *arg)
{
	return store_queue_put(&((struct store_sqlite *)s)->queue, rows, n, done, arg);
}

/* The table has no index by time (each refresh would have to write it): it is scanned, seldom.
 */
static void expire(struct store *s, uint64_t wall_ms)
{
	struct store_sqlite *q = (struct store_sqlite *)s;
	uint64_t last = atomic_load_explicit(&q->expired_ms, memory_order_relaxed);

	if (wall_ms < last + EXPIRE_EVERY_MS && wall_ms >= last)
		return;
	atomic_store_explicit(&q->expired_ms, wall_ms, memory_order_relaxed);
	store_queue_expire(&q->queue, wall_ms);
}

static void flush(struct store *s)
{
	store_queue_flush(&((struct store_sqlite *)s)->queue);
}

static void close_db(struct store_sqlite *q)
{
	sqlite3_finalize(q->begin);
	sqlite3_finalize(q->commit);
	sqlite3_finalize(q->rollback);
	sqlite3_finalize(q->upsert);
	sqlite3_finalize(q->expire);
	sqlite3_close(q->db);
	pthread_mutex_destroy(&q->lock);
	free(q);
}

static void free_store(struct store *s)
{
	struct store_sqlite *q = (struct store_sqlite *)s;

	store_queue_stop(&q->queue);
	close_db(q);
}

/* The file is locked for us, so that nobody else could copy it while we run. */
static int backup(struct store *s, const char *path, char *ret_error)
{
	struct store_sqlite *q = (struct store_sqlite *)s;
	sqlite3_stmt *into = NULL;
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600), rc = 0;

	if (fd < 0) {
		rc = -errno;
		snprintf(ret_error, ERROR_BYTES, "%.200s: %s", path, strerror(-rc));
		return rc;
	}
	close(fd);
	pthread_mutex_lock(&q->lock);
	if (sqlite3_prepare_v2(q->db, "VACUUM INTO ?1", -1, &into, NULL) != SQLITE_OK ||
	    sqlite3_bind_text(into, 1, path, -1, SQLITE_STATIC) != SQLITE_OK || run(into) < 0) {
		rc = -EIO;
		snprintf(ret_error, ERROR_BYTES, "%.200s", sqlite3_errmsg(q->db));
	}
	sqlite3_finalize(into);
	pthread_mutex_unlock(&q->lock);
	if (rc < 0)
		unlink(path);
	return rc;
}

static const struct store_ops ops = {
	.load = load,
	.put = put,
	.expire = expire,
	.flush = flush,
	.backup = backup,
	.free = free_store,
};

/* ---- opening ---- */

/* Creates the file before SQLite does, for the mode: the log beside it takes it over. */
static int make_file(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	int rc = fchmod(fd, 0600) < 0 ? -errno : 0;
	close(fd);
	return rc;
}

static int pragma_int(sqlite3 *db, const char *sql, int *ret)
{
	sqlite3_stmt *s;
	int rc = -EIO;

	if (sqlite3_prepare_v2(db, sql, -1, &s, NULL) != SQLITE_OK)
		return -EIO;
	if (sqlite3_step(s) == SQLITE_ROW) {
		*ret = sqlite3_column_int(s, 0);
		rc = 0;
	}
	sqlite3_finalize(s);
	return rc;
}

/* "ok", or a line that says what is broken. */
static int check_file(sqlite3 *db, char *error)
{
	sqlite3_stmt *s;
	int rc = -EIO;

	if (sqlite3_prepare_v2(db, "PRAGMA quick_check(1)", -1, &s, NULL) != SQLITE_OK)
		return -EIO;
	if (sqlite3_step(s) == SQLITE_ROW) {
		const char *t = (const char *)sqlite3_column_text(s, 0);
		if (t && strcmp(t, "ok") == 0)
			rc = 0;
		else
			snprintf(error, ERROR_BYTES, "damaged: %s", t ? t : "?");
	}
	sqlite3_finalize(s);
	return rc;
}

static int prepare(struct store_sqlite *q)
{
	const struct {
		sqlite3_stmt **s;
		const char *sql;
	} v[] = {
		{&q->begin, "BEGIN IMMEDIATE"},
		{&q->commit, "COMMIT"},
		{&q->rollback, "ROLLBACK"},
		{&q->upsert, upsert_sql},
		{&q->expire, "DELETE FROM record WHERE expires_ms > 0 AND expires_ms <= ?1"},
	};
	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++)
		if (sqlite3_prepare_v3(q->db, v[i].sql, -1, SQLITE_PREPARE_PERSISTENT, v[i].s,
				       NULL) != SQLITE_OK)
			return -EIO;
	return 0;
}

/* 0, or -EIO with a text in error where SQLite's own would not tell. */
static int open_db(struct store_sqlite *q, const char *path, char *error)
{
	int version = 0;

	if (sqlite3_open_v2(path, &q->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) !=
	    SQLITE_OK)
		return -EIO;
	if (sqlite3_exec(q->db,
			 "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL;"
			 "PRAGMA synchronous = FULL;",
			 NULL, NULL, NULL) != SQLITE_OK)
		return -EIO;
	if (pragma_int(q->db, "PRAGMA user_version", &version) < 0 ||
	    check_file(q->db, error) < 0)
		return -EIO;
	if (version > SCHEMA_VERSION) {
		snprintf(error, ERROR_BYTES, NEWER, version);
		return -EIO;
	}
	if (version == 0 && sqlite3_exec(q->db, schema, NULL, NULL, NULL) != SQLITE_OK)
		return -EIO;
	return prepare(q);
}

static const char *why(struct store_sqlite *q)
{
	if (sqlite3_errcode(q->db) == SQLITE_BUSY)
		return "in use by another process";
	return sqlite3_errmsg(q->db);
}

static int cannot(const char *path, const char *why_not, char *ret_error)
{
	snprintf(ret_error, ERROR_BYTES, "%.120s: %.120s", path, why_not);
	return -EIO;
}

/* The head of a file of SQLite's: https://www.sqlite.org/fileformat.html 1.3. */
int store_sqlite_check(const char *path, char *ret_error)
{
	enum { HEAD = 100, VERSION_AT = 60 };
	static const char magic[16] = "SQLite format 3";
	unsigned char head[HEAD];
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT ? 0 : cannot(path, strerror(errno), ret_error);
	ssize_t n = read(fd, head, HEAD);
	int error = errno;
	close(fd);
	if (n < 0)
		return cannot(path, strerror(error), ret_error);
	if (n == 0) /* a start that was killed has made it, and no more */
		return 0;
	if (n < HEAD || memcmp(head, magic, sizeof(magic)) != 0)
		return cannot(path, sqlite3_errstr(SQLITE_NOTADB), ret_error);
	char text[64];
	unsigned version = 0;
	for (unsigned i = 0; i < 4; i++)
		version = version << 8 | head[VERSION_AT + i];
	snprintf(text, sizeof(text), NEWER, (int)version);
	return version > SCHEMA_VERSION ? cannot(path, text, ret_error) : 0;
}

struct store *store_sqlite_new(const char *path, size_t queue_max, char *ret_error)
{
	char error[ERROR_BYTES] = "";
	struct store_sqlite *q = calloc(1, sizeof(*q));
	if (!q) {
		snprintf(ret_error, ERROR_BYTES, "out of memory");
		return NULL;
	}
	q->store.ops = &ops;
	pthread_mutex_init(&q->lock, NULL);

	int rc = make_file(path);
	if (rc < 0)
		snprintf(error, sizeof(error), "%s", strerror(-rc));
	if (rc == 0)
		rc = open_db(q, path, error);
	if (rc < 0 && !error[0])
		snprintf(error, sizeof(error), "%s", why(q));
	if (rc == 0) {
		rc = store_queue_start(&q->queue, &q->store, commit_group, queue_max);
		if (rc < 0)
			snprintf(error, sizeof(error), "no thread: %s", strerror(-rc));
	}
	if (rc < 0) {
		cannot(path, error, ret_error);
		close_db(q);
		return NULL;
	}
	return &q->store;
}
