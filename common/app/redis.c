/*
 * The Redis behind an edge (docs/redis.md): from the configuration to the store, and what the
 * records have to do with it: rows that come late are merged, everything is written anew after
 * an outage.
 */
#include "common/app/app_priv.h"

#include "common/base/file.h"
#include "common/store/redis.h"

#include <errno.h>
#include <stdio.h>

enum { PASSWORD_MAX = 512, READ_MS = 2000, READ_ROWS_PER_MS = 5 };

static struct store_row row_of(const struct record *v)
{
	return (struct store_row){.kind = v->kind,
				  .deleted = v->deleted,
				  .group = v->group,
				  .name = v->name,
				  .body = v->body,
				  .hlc = v->version.hlc,
				  .node = v->version.node,
				  .expires_ms = v->expires_ms};
}

static struct record record_of(const struct store_row *row)
{
	return (struct record){.kind = row->kind,
			       .deleted = row->deleted,
			       .group = row->group,
			       .name = row->name,
			       .version = {row->hlc, row->node},
			       .expires_ms = row->expires_ms,
			       .body = row->body};
}

static void on_loaded(void *arg, const struct store_row *row)
{
	const struct app_nodes *n = arg;
	const struct record v = record_of(row);
	if (n->app->records)
		records_merge(n->app->records, &v, 1, time_wall_ms(), NULL, NULL);
}

/* The operator is told that somebody else was quicker: so his change is not to stand here
 * either, nor to come to others by comparison.  Where its version is the higher one, what
 * stands in Redis (NULL: what was to be made does not) becomes the next version of all nodes.
 */
static void settle(struct records *r, const struct store_row *ours,
		   const struct store_row *there)
{
	const struct record_version mine = {ours->hlc, ours->node};
	struct record v = record_of(there ? there : ours);
	if (there && record_version_cmp(v.version, mine) > 0) {
		records_merge(r, &v, 1, time_wall_ms(), NULL, NULL);
		return;
	}
	if (!there && ours->expect_hlc)
		return; /* Redis has lost what it was to replace: so have we */
	if (!there) {
		v.deleted = true;
		v.expires_ms = 0;
	}
	/* Not of the clock: what was written after ours stays. */
	v.version = (struct record_version){mine.hlc + 1, mine.node};
	records_put(r, &v, 1, NULL, time_wall_ms(), NULL, NULL);
}

static void on_refused(void *arg, const struct store_row *ours, const struct store_row *there)
{
	const struct app_nodes *n = arg;
	if (n->app->records)
		settle(n->app->records, ours, there);
}

struct shown {
	bool (*each)(void *arg, const struct store_row *row);
	void *arg;
};

static bool show(void *arg, const struct record *rec)
{
	const struct shown *s = arg;
	const struct store_row row = row_of(rec);
	return rec->kind == RECORD_FORK || s->each(s->arg, &row);
}

static bool on_rewrite(void *arg, unsigned part,
		       bool (*each)(void *each_arg, const struct store_row *row),
		       void *each_arg)
{
	const struct app_nodes *n = arg;
	struct shown s = {each, each_arg};
	if (n->app->records)
		records_scan_part(n->app->records, part, show, &s);
	return part + 1 < RECORDS_PARTS;
}

/*
 * As long as the other edge is not heard, what it tells operators is done may be in Redis
 * alone: it lives and cannot reach us, or has died before it did.  So what is there is read
 * again and again; seldom where there is much of it.
 */
static void read_later(struct app_nodes *n)
{
	struct records *r = n->app->records;
	uint64_t ms = r ? records_counters(r).records / READ_ROWS_PER_MS : 0;
	wheel_arm(loop_wheel(n->loop), &n->redis_read,
		  loop_now(n->loop) + (ms > READ_MS ? ms : READ_MS));
}

static void on_read(struct wheel_timer *t, msec now)
{
	struct app_nodes *n = container_of(t, struct app_nodes, redis_read);
	(void)now;
	store_redis_read(n->redis);
	read_later(n);
}

void app_redis_partner(struct app_nodes *n)
{
	bool ready = n->redis && n->cluster; /* the store is opened first */
	int other = ready ? cluster_partner(n->cluster, n->conf.self) : -1;
	if (other < 0)
		return;
	if (cluster_alive(n->cluster, (unsigned)other))
		wheel_stop(loop_wheel(n->loop), &n->redis_read);
	else if (!wheel_armed(&n->redis_read))
		read_later(n);
}

static void tell(const struct app_nodes *n, bool up)
{
	struct redis_state s;
	char text[ADDR_TEXT_MAX];
	store_redis_state(n->redis, &s);
	addr_text(&s.primary, text);
	if (up)
		log_event(LOG_INFO, "redis-up", LOG_STR("address", text));
	else
		log_event(LOG_WARN, "redis-down", LOG_STR("error", s.error));
}

static void on_up(void *arg, bool up)
{
	tell(arg, up);
	app_redis_partner(arg);
}

void app_redis_start(const struct app_nodes *n)
{
	struct redis_state s;
	if (!n || !n->redis)
		return;
	store_redis_state(n->redis, &s);
	if (!s.up && *s.error)
		tell(n, false);
}

/* The configuration has checked the form. */
static unsigned read_addrs(const char *list, struct addr v[REDIS_ADDRS_MAX])
{
	unsigned n = 0;
	for (struct span rest = span_str(list); rest.n && n < REDIS_ADDRS_MAX;) {
		ptrdiff_t comma = span_chr(rest, ',', 0);
		size_t len = comma < 0 ? rest.n : (size_t)comma, colon = len;
		uint64_t port = 0;
		while (colon > 0 && rest.p[colon - 1] != ':')
			colon--;
		if (colon > 1 &&
		    span_u64(span_of(rest.p + colon, len - colon), 65535, &port) == 0 &&
		    addr_parse(&v[n], span_of(rest.p, colon - 1), (uint16_t)port) == 0)
			n++;
		len += comma >= 0;
		rest = span_of(rest.p + len, rest.n - len);
	}
	return n;
}

/* One line of a file that nobody else may read; path: NULL for none. */
static int read_password(const char *key, const char *path, char ret[PASSWORD_MAX],
			 char *ret_error)
{
	ret[0] = '\0';
	if (!path)
		return 0;
	ssize_t n = file_read_secret(path, ret, PASSWORD_MAX - 1);
	int r = n < 0 ? (int)n : n == 0 ? -EBADMSG : 0;
	ret[n > 0 ? n : 0] = '\0';
	ret[strcspn(ret, "\r\n")] = '\0';
	if (r < 0)
		snprintf(ret_error, APP_ERROR_MAX, "redis.%s %.200s: %s", key, path,
			 r == -EBADMSG ? "is empty" : file_secret_error(r));
	return r;
}

struct passwords {
	char server[PASSWORD_MAX], sentinel[PASSWORD_MAX];
};

static int read_passwords(const struct conf *c, struct passwords *ret, char *ret_error)
{
	int rc = read_password("password", c->redis.password, ret->server, ret_error);
	return rc < 0 ? rc
		      : read_password("sentinel_password", c->redis.sentinel_password,
				      ret->sentinel, ret_error);
}

int app_redis_check(const struct conf *c, char ret_error[APP_ERROR_MAX])
{
	struct passwords secret = {"", ""};
	int r = 0;
	if (c->redis.servers || c->redis.sentinels)
		r = read_passwords(c, &secret, ret_error);
	explicit_bzero(&secret, sizeof(secret));
	return r;
}

int app_redis_open(struct app *a, char ret_error[APP_ERROR_MAX])
{
	const struct conf *c = a->conf->conf;
	struct redis_conf r = redis_conf_default;
	struct passwords secret = {"", ""};
	char prefix[300];
	wheel_timer_init(&a->nodes->redis_read, on_read);
	if (!c->redis.servers && !c->redis.sentinels)
		return 0;
	r.nservers = read_addrs(c->redis.servers, r.server);
	r.nsentinels = read_addrs(c->redis.sentinels, r.sentinel);
	r.primary = c->redis.primary;
	int rc = read_passwords(c, &secret, ret_error);
	r.password = *secret.server ? secret.server : NULL;
	r.sentinel_password = *secret.sentinel ? secret.sentinel : NULL;
	snprintf(prefix, sizeof(prefix), "eaves:{%.200s}:", c->domain);
	r.prefix = prefix;
	for (unsigned i = RECORD_USER; i <= RECORD_BINDING; i++)
		r.kind_name[i] = record_kind_name(i);
	r.timeout_ms = c->redis.timeout_ms;
	r.queue_rows = c->redis.queue_rows;
	r.tombstone_ms = RECORDS_TOMBSTONE_MS;
	r.drift_ms = RECORDS_DRIFT_MAX_MS;
	r.ops = (struct redis_ops){.loaded = on_loaded,
				   .refused = on_refused,
				   .rewrite = on_rewrite,
				   .changed = on_up,
				   .arg = a->nodes};
	if (rc == 0) {
		a->nodes->redis = store_redis_new(a->nodes->loop, &r, ret_error);
		rc = a->nodes->redis ? 0 : -EINVAL;
	}
	explicit_bzero(&secret, sizeof(secret));
	return rc;
}

void app_redis_show(const struct app *a, struct admin_reply *out)
{
	struct redis_state s;
	char text[ADDR_TEXT_MAX] = "-";
	if (!a->nodes || !a->nodes->redis)
		return;
	store_redis_state(a->nodes->redis, &s);
	if (s.up)
		addr_text(&s.primary, text);
	admin_printf(out, "redis %s %s waiting=%llu%s%s%s\n", s.up ? "up" : "down", text,
		     (unsigned long long)s.rows_waiting, s.dirty ? " dirty" : "",
		     !s.up && *s.error ? " error=" : "", s.up ? "" : s.error);
}

bool app_redis_away(const struct app *a, char ret_why[APP_WHY_MAX])
{
	struct redis_state s;
	if (!a->nodes || !a->nodes->redis)
		return false;
	store_redis_state(a->nodes->redis, &s);
	snprintf(ret_why, APP_WHY_MAX, "%s", *s.error ? s.error : "not found yet");
	return !s.up;
}

void app_redis_metrics(const struct app *a, struct metrics_out *o)
{
	struct redis_state s;
	if (!a->nodes->redis)
		return;
	store_redis_state(a->nodes->redis, &s);
	const struct redis_counters *k = &s.counters;
	metrics_gauge(o, "redis_up", "1: Redis takes writes", s.up);
	metrics_gauge(o, "redis_dirty", "1: Redis lacks something that is to be written anew",
		      s.dirty);
	metrics_gauge(o, "redis_rows_waiting", "Rows waiting for Redis", s.rows_waiting);
	metrics_counter(o, "redis_dropped_total",
			"Rows that Redis was too slow or not there for", k->dropped);
	metrics_counter(o, "redis_rewritten_total", "Rows written anew", k->rewritten);
	metrics_counter(o, "redis_conflicts_total",
			"Changes of the directory that another edge was quicker with",
			k->conflicts);
	metrics_counter(o, "redis_skipped_total", "Values in Redis that are none of ours",
			k->skipped);
	metrics_counter(o, "redis_timeouts_total", "Times that Redis did not answer",
			k->timeouts);
}
