/*
 * Real Redis servers for the tests of the Redis store: each with a port and a folder of its
 * own, ended by its process number (and by the kernel when the test dies).  The store's loop is
 * driven by the test itself: nothing sleeps, all waits have an end.
 */
#ifndef EAVES_TESTS_REDIS_RIG_H
#define EAVES_TESTS_REDIS_RIG_H

#include "tests/unit/port.h"

#include "common/store/redis.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PATIENCE_MS = 40000 };

#define PREFIX "eaves:{example.org}:"

struct server {
	pid_t pid;
	uint16_t port;
	char dir[64];
	redisContext *c; /* an operator's */
};

static struct loop *loop;

/* Serves the loop until the condition holds. */
#define UNTIL(condition)                                                          \
	do {                                                                      \
		msec until_ = time_now() + PATIENCE_MS;                           \
		while (!(condition)) {                                            \
			ck_assert_msg(time_now() < until_, "never: " #condition); \
			loop_round(loop, 5);                                      \
		}                                                                 \
	} while (0)

/* ---- servers ---- */

static inline __attribute__((constructor)) void skip_without_redis(void)
{
	if (system("command -v redis-server >/dev/null 2>&1") == 0)
		return;
	puts("skipped: redis-server is not installed (deploy/deps.sh check)");
	exit(EXIT_SUCCESS);
}

static inline struct addr local(uint16_t port)
{
	struct addr a;

	ck_assert_int_eq(addr_parse(&a, SPAN("127.0.0.1"), port), 0);
	return a;
}

/* A server may take a moment to listen. */
static inline redisContext *operator_of(uint16_t port)
{
	const struct timeval tv = {5, 0};
	msec end = time_now() + PATIENCE_MS;

	for (;;) {
		redisContext *c = redisConnectWithTimeout("127.0.0.1", port, tv);
		if (c && !c->err) {
			redisSetTimeout(c, tv);
			return c;
		}
		redisFree(c);
		ck_assert_msg(time_now() < end, "no redis-server at port %u", port);
		usleep(5000);
	}
}

static inline void make_dir(char dir[64])
{
	snprintf(dir, 64, "/tmp/eaves-redis-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
}

static inline void remove_dir(const char *dir)
{
	DIR *d = opendir(dir);

	for (struct dirent *e; d && (e = readdir(d));)
		unlinkat(dirfd(d), e->d_name, e->d_type == DT_DIR ? AT_REMOVEDIR : 0);
	if (d)
		closedir(d);
	rmdir(dir);
}

static inline char *port_text(uint16_t port)
{
	static char text[8];

	snprintf(text, sizeof(text), "%u", port);
	return text;
}

static inline void server_exec(struct server *s, char *const *argv)
{
	pid_t parent = getpid();

	s->pid = fork();
	if (s->pid == 0) { /* other threads may hold locks: system calls alone */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent || dup2(open("/dev/null", O_WRONLY), 1) < 0)
			_exit(1);
		execvp(argv[0], argv);
		_exit(127);
	}
	ck_assert_int_gt(s->pid, 0);
	s->c = operator_of(s->port);
}

/* more: further arguments, NULL at the end. */
static inline void server_run(struct server *s, char *const *more)
{
	char *argv[32] = {"redis-server",
			  "--port",
			  port_text(s->port),
			  "--bind",
			  "127.0.0.1",
			  "--dir",
			  s->dir,
			  "--save",
			  "",
			  "--appendonly",
			  "no",
			  "--loglevel",
			  "warning",
			  "--repl-diskless-sync-delay",
			  "0"};

	for (unsigned n = 15; more && *more; more++)
		argv[n++] = *more;
	server_exec(s, argv);
}

static inline void server_start(struct server *s, char *const *more)
{
	*s = (struct server){.port = free_port("127.0.0.1")};
	make_dir(s->dir);
	server_run(s, more);
}

static inline void server_kill(struct server *s)
{
	int status;

	redisFree(s->c);
	s->c = NULL;
	ck_assert_int_eq(kill(s->pid, SIGKILL), 0);
	ck_assert_int_eq(waitpid(s->pid, &status, 0), s->pid);
}

static inline void server_end(struct server *s)
{
	if (s->c)
		server_kill(s);
	remove_dir(s->dir);
}

/* What an operator types; the answer in his words ("(nil)", numbers, texts side by side). */
static inline const char *cli_text(const redisReply *r, char *out, size_t room)
{
	size_t n = 0;

	switch (r->type) {
	case REDIS_REPLY_INTEGER:
		snprintf(out, room, "%lld", r->integer);
		break;
	case REDIS_REPLY_NIL:
		snprintf(out, room, "(nil)");
		break;
	case REDIS_REPLY_ARRAY:
		out[0] = '\0';
		for (size_t i = 0; i < r->elements; i++) {
			cli_text(r->element[i], out + n, room - n);
			n += strlen(out + n);
			if (i + 1 < r->elements && n + 1 < room)
				memcpy(out + n++, " ", 2);
		}
		break;
	default:
		snprintf(out, room, "%s", r->str);
	}
	return out;
}

static inline const char *cli(struct server *s, const char *format, ...)
{
	static char out[8192];
	va_list ap;

	va_start(ap, format);
	redisReply *r = redisvCommand(s->c, format, ap);
	va_end(ap);
	ck_assert_msg(r != NULL, "%s: %s", format, s->c->errstr);
	cli_text(r, out, sizeof(out));
	freeReplyObject(r);
	return out;
}

static inline long long cli_number(struct server *s, const char *command)
{
	return atoll(cli(s, command));
}

/* CPU of a process in microseconds, to 10 ms. */
static inline double cpu_us(pid_t pid)
{
	char path[64], text[1024];
	unsigned long user = 0, sys = 0;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	FILE *f = fopen(path, "r");
	ck_assert_ptr_nonnull(f);
	ck_assert_ptr_nonnull(fgets(text, sizeof(text), f));
	fclose(f);
	sscanf(strrchr(text, ')') + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
	       &user, &sys);
	return (double)(user + sys) * 1e6 / (double)sysconf(_SC_CLK_TCK);
}

/* ---- the store and its owner ---- */

/* A table of rows, as the records of an edge would be. */
struct owner {
	struct store_row *row;
	unsigned n, cap, changes, shown, parts, refused;
	bool up;
	char *bytes[256]; /* of rows that were loaded */
	unsigned nbytes;
};

static inline struct span keep_span(struct owner *o, struct span s)
{
	char *p = malloc(s.n + 1);

	ck_assert_ptr_nonnull(p);
	if (s.n)
		memcpy(p, s.p, s.n);
	ck_assert_uint_lt(o->nbytes, 256);
	o->bytes[o->nbytes++] = p;
	return span_of(p, s.n);
}

static inline void owner_add(struct owner *o, const struct store_row *row)
{
	if (o->n == o->cap) {
		o->cap = o->cap ? 2 * o->cap : 64;
		o->row = realloc(o->row, o->cap * sizeof(o->row[0]));
		ck_assert_ptr_nonnull(o->row);
	}
	o->row[o->n++] = *row;
}

/* Copied: for a few rows. */
static inline int owner_load(void *arg, const struct store_row *row)
{
	struct owner *o = arg;
	struct store_row v = *row;

	v.group = keep_span(o, row->group);
	v.name = keep_span(o, row->name);
	v.body = keep_span(o, row->body);
	owner_add(o, &v);
	return 0;
}

static inline void owner_loaded(void *arg, const struct store_row *row)
{
	owner_load(arg, row);
}

static inline void owner_refused(void *arg, const struct store_row *ours,
				 const struct store_row *there)
{
	struct owner *o = arg;

	o->refused++;
	ck_assert(!there || span_eq(ours->group, there->group));
	if (there)
		owner_load(arg, there);
}

/* 4 parts, by position. */
static inline bool owner_rewrite(void *arg, unsigned part,
				 bool (*each)(void *each_arg, const struct store_row *row),
				 void *each_arg)
{
	struct owner *o = arg;

	o->parts++;
	for (unsigned i = part; i < o->n; i += 4)
		if (!each(each_arg, &o->row[i]))
			break;
	return part < 3;
}

static inline void owner_changed(void *arg, bool up)
{
	struct owner *o = arg;

	ck_assert(o->up != up);
	o->up = up;
	o->changes++;
}

static inline void owner_done(struct owner *o)
{
	for (unsigned i = 0; i < o->nbytes; i++)
		free(o->bytes[i]);
	free(o->row);
	*o = (struct owner){0};
}

static inline struct redis_conf conf_for(struct owner *o, uint16_t port)
{
	struct redis_conf c = redis_conf_default;

	c.server[0] = local(port);
	c.nservers = 1;
	c.prefix = PREFIX;
	c.kind_name[1] = "user";
	c.kind_name[3] = "binding";
	if (o)
		c.ops = (struct redis_ops){
			.loaded = owner_loaded,
			.refused = owner_refused,
			.rewrite = owner_rewrite,
			.changed = owner_changed,
			.arg = o,
		};
	return c;
}

static inline struct store *store_of(const struct redis_conf *c)
{
	char error[256] = "";
	struct store *s = store_redis_new(loop, c, error);

	ck_assert_msg(s != NULL, "%s", error);
	return s;
}

static inline struct redis_state state_of(struct store *s)
{
	struct redis_state v;

	store_redis_state(s, &v);
	return v;
}

static inline struct store_row row(uint8_t kind, const char *group, const char *name,
				   const char *body, uint64_t hlc)
{
	return (struct store_row){
		.kind = kind,
		.group = span_str(group),
		.name = span_str(name),
		.body = span_str(body),
		.hlc = hlc,
		.node = 1,
	};
}

struct waiter {
	bool done;
	int error;
};

static inline void on_done(void *arg, int error)
{
	struct waiter *w = arg;

	ck_assert(!w->done);
	w->done = true;
	w->error = error;
}

static inline int put_and_wait(struct store *s, const struct store_row *v, unsigned n)
{
	struct waiter w = {0};
	int rc = s->ops->put(s, v, n, on_done, &w);

	if (rc < 0)
		return rc;
	UNTIL(w.done);
	return w.error;
}

/* "group/name=body " of all rows that load() shows, sorted; for a few. */
struct shown {
	char row[64][128];
	unsigned n;
};

static inline int show_row(void *arg, const struct store_row *r)
{
	struct shown *v = arg;

	ck_assert_uint_lt(v->n, 64);
	snprintf(v->row[v->n++], sizeof(v->row[0]), "%.*s/%.*s=%.*s%s ", SPAN_FMT(r->group),
		 SPAN_FMT(r->name), SPAN_FMT(r->body), r->deleted ? "!" : "");
	return 0;
}

static inline int by_text(const void *a, const void *b)
{
	return strcmp(a, b);
}

static inline const char *load_from(struct store *s, uint64_t wall_ms)
{
	static char out[64 * 128 + 1];
	struct shown v = {.n = 0};

	ck_assert_int_eq(s->ops->load(s, wall_ms, show_row, &v), 0);
	qsort(v.row, v.n, sizeof(v.row[0]), by_text);
	out[0] = '\0';
	for (unsigned i = 0; i < v.n; i++)
		strcat(out, v.row[i]);
	return out;
}

static inline const char *load_text(const struct redis_conf *c, uint64_t wall_ms)
{
	struct store *s = store_of(c);
	const char *text = load_from(s, wall_ms);

	s->ops->free(s);
	return text;
}

#endif
