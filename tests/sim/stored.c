/*
 * Tables as sets of lines, "KIND:GROUP NAME VERSION": those of the edges and of Redis are
 * equal; bindings of the members of a pair of homes are, and the edges have them all.  What is
 * about to be forgotten does not count, as when nodes compare (common/cluster/compare.c).
 */
#include "tests/sim/stored.h"

#include "common/base/time.h"
#include "common/store/redis_parts.h"
#include "tests/sim/redis.h"
#include "tests/sim/scene.h"

#include <stdlib.h>

enum { LINES_MAX = 512, LINE_BYTES = 160, FORGOTTEN_MS = 300 * 1000 };

struct table {
	const char *name;
	unsigned n;
	char line[LINES_MAX][LINE_BYTES];
};
struct look {
	void (*found)(void *arg, const char *what);
	void *arg;
	bool all;
};

/* ---- tables ---- */

static void put(struct table *t, struct span key, struct span name, struct span version)
{
	char *out = t->line[t->n], text[64];
	size_t n = 0;
	for (size_t i = 0; i < name.n && n + 3 < sizeof(text); i++)
		n += (size_t)snprintf(text + n, 3, "%02x", (unsigned char)name.p[i]);
	text[n] = 0;
	if (t->n++ == LINES_MAX)
		abort();
	snprintf(out, LINE_BYTES, "%.*s %s %.*s", SPAN_FMT(key), text, SPAN_FMT(version));
}

static const char *kind_name(uint8_t kind)
{
	return kind == RECORD_USER ? "user" : kind == RECORD_ALIAS ? "alias" : "binding";
}

static bool counts(bool deleted, uint64_t expires_ms)
{
	uint64_t forgotten = expires_ms + (deleted ? 0 : RECORDS_TOMBSTONE_MS);
	return expires_ms == 0 || forgotten > time_wall_ms() + FORGOTTEN_MS;
}

static bool add_record(void *arg, const struct record *rec)
{
	struct table *t = arg;
	char key[96], version[REDIS_VERSION_N + 1];
	if (rec->kind == RECORD_FORK || !counts(rec->deleted, rec->expires_ms))
		return true;
	int n = snprintf(key, sizeof(key), "%s:%.*s", kind_name(rec->kind),
			 SPAN_FMT(rec->group));
	snprintf(version, sizeof(version), "%015llu.%05u.%010u",
		 (unsigned long long)(rec->version.hlc >> 16),
		 (unsigned)(rec->version.hlc & 0xffff), (unsigned)rec->version.node);
	put(t, span_of(key, (size_t)n), rec->name, span_of(version, REDIS_VERSION_N));
	return true;
}

/* "eaves:{example.org}:" in front of the key, the version in front of the value. */
static bool add_field(void *arg, const struct redis_field *f)
{
	ptrdiff_t at = span_chr(f->key, '}', 0);
	size_t skip = (size_t)at + 2;
	const char *state = f->value.p + REDIS_VERSION_N + 1;
	uint64_t expires_ms = 0;
	span_u64(span_of(state + 5, REDIS_MS_N), UINT64_MAX, &expires_ms);
	if (!counts(*state == 'g', expires_ms))
		return true;
	put(arg, span_of(f->key.p + skip, f->key.n - skip), f->name,
	    span_of(f->value.p, REDIS_VERSION_N));
	return true;
}

static void of_node(struct table *t, const struct node *n)
{
	*t = (struct table){.name = n->host->name};
	records_scan_all(n->app->records, add_record, t);
}

static void of_redis(struct table *t)
{
	*t = (struct table){.name = "redis"};
	redis_keys_each(redis_contents(), add_field, t);
}

/* ---- what one lacks ---- */

static bool has(const struct table *t, const char *line)
{
	for (unsigned i = 0; i < t->n; i++)
		if (strcmp(t->line[i], line) == 0)
			return true;
	return false;
}

static bool is_binding(const char *line)
{
	return strncmp(line, "binding:", 8) == 0;
}

static void compare(struct look *l, const struct table *t, const struct table *of,
		    bool bindings_alone)
{
	char what[LINE_BYTES + 64];
	for (unsigned i = 0; i < of->n; i++) {
		if ((bindings_alone && !is_binding(of->line[i])) || has(t, of->line[i]))
			continue;
		l->all = false;
		snprintf(what, sizeof(what), "%s: has not what %s has: %s", t->name, of->name,
			 of->line[i]);
		if (l->found)
			l->found(l->arg, what);
	}
}

/* What Redis lacks it is to be told. */
static void look_at_redis(struct look *l, const struct node *edge, const struct table *of_edge)
{
	static struct table redis;
	char what[64];
	struct redis_state s;
	if (!redis_serves(edge->host))
		return;
	of_redis(&redis);
	compare(l, &redis, of_edge, false);
	compare(l, of_edge, &redis, false);
	store_redis_state(edge->app->nodes->redis, &s);
	if (s.up && !s.dirty)
		return;
	l->all = false;
	snprintf(what, sizeof(what), "%s: redis is %s", edge->host->name,
		 s.up ? "dirty" : "down");
	if (l->found)
		l->found(l->arg, what);
}

static void look_at(struct look *l, const struct node *n)
{
	static struct table mine, theirs;
	struct node *other;
	bool edge = n->has_role[APP_EDGE];
	of_node(&mine, n);
	if (edge)
		look_at_redis(l, n, &mine);
	for (unsigned i = 0; i < nodes_count(); i++) {
		const struct node *o = node_of(i);
		scene_pair_of(n, &other);
		if (o == n || !node_runs(o) || !(edge || o == other))
			continue;
		of_node(&theirs, o);
		compare(l, &mine, &theirs, !(edge && o->has_role[APP_EDGE]));
	}
}

bool stored_look(void (*found)(void *arg, const char *what), void *arg)
{
	struct look l = {found, arg, true};
	if (scene_kind() != SCENE_CLUSTER)
		return true;
	for (unsigned i = 0; i < nodes_count(); i++)
		if (node_runs(node_of(i)))
			look_at(&l, node_of(i));
	return l.all;
}

bool stored_everywhere(void)
{
	return stored_look(NULL, NULL);
}
