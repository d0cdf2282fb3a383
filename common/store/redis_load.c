/*
 * Reading everything: SCAN for the keys, a script for the rows of many keys at a time, one
 * question under way.  Late, in the store's loop, or at the start in a loop of its own, for
 * there no thread runs yet.  What is damaged or too large is left out and counted.
 */
#include "common/store/redis_parts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { SCAN_COUNT = 256, KEYS_MAX = 4096, ROUND_MS = 20, NOSCRIPT_MAX = 3 };

static void drop_keys(struct redis_load *l)
{
	free(l->key);
	l->key = NULL;
	l->keys = l->at = l->asked = 0;
}

static int ask_scan(struct redis_load *l)
{
	struct redis_client *c = l->client;
	char count[16];
	int n = snprintf(count, sizeof(count), "%d", SCAN_COUNT);
	const struct span argv[] = {
		SPAN("SCAN"),  span_str(l->cursor),	  SPAN("MATCH"), c->setup->pattern,
		SPAN("COUNT"), span_of(count, (size_t)n), SPAN("TYPE"),	 SPAN("hash")};

	return redis_link_command(c->link, REDIS_TAG_SCAN, argv, 8);
}

static void number_arg(struct redis_link *k, unsigned long v)
{
	char text[24];
	const struct span s = span_of(text, (size_t)snprintf(text, sizeof(text), "%lu", v));

	redis_link_arg(k, &s, 1);
}

/* The rows of the keys that are left. */
static int ask_read(struct redis_load *l)
{
	struct redis_link *k = l->client->link;
	const struct span head[] = {SPAN("EVALSHA"), span_of(l->client->sha_read, 40)};
	unsigned n = l->keys - l->at;

	redis_link_begin(k, REDIS_TAG_READ, 3 + n + 4);
	redis_link_arg(k, &head[0], 1);
	redis_link_arg(k, &head[1], 1);
	number_arg(k, n);
	for (unsigned i = l->at; i < l->keys; i++)
		redis_link_arg(k, &l->key[i], 1);
	number_arg(k, REDIS_REPLY_ROWS);
	number_arg(k, REDIS_FIELDS_MAX);
	number_arg(k, REDIS_KEY_ROWS_MAX);
	number_arg(k, REDIS_NAME_MAX + REDIS_HEAD_N + REDIS_BODY_MAX);
	l->asked = n;
	return redis_link_end(k);
}

void redis_load_start(struct redis_load *l, uint64_t wall_ms,
		      int (*each)(void *arg, const struct store_row *row), void *arg)
{
	drop_keys(l);
	l->wall_ms = wall_ms;
	l->each = each;
	l->arg = arg;
	l->rc = 0;
	l->noscript = 0;
	snprintf(l->cursor, sizeof(l->cursor), "0");
	l->running = ask_scan(l) == 0;
	redis_link_flush(l->client->link);
}

void redis_load_stop(struct redis_load *l)
{
	drop_keys(l);
	l->running = false;
}

/* ---- answers ---- */

/* The keys lie behind their spans. */
static const char *take_keys(struct redis_load *l, const redisReply *keys)
{
	size_t bytes = 0;

	drop_keys(l);
	if (keys->elements > KEYS_MAX)
		return "too many keys in one answer";
	for (size_t i = 0; i < keys->elements; i++) {
		if (keys->element[i]->type != REDIS_REPLY_STRING)
			return "a key that is no string";
		bytes += keys->element[i]->len;
	}
	if (keys->elements == 0)
		return NULL;
	l->key = malloc(keys->elements * sizeof(*l->key) + bytes);
	if (!l->key)
		return "out of memory";
	char *to = (char *)&l->key[keys->elements];
	for (size_t i = 0; i < keys->elements; i++) {
		const redisReply *r = keys->element[i];
		memcpy(to, r->str, r->len);
		l->key[i] = span_of(to, r->len);
		to += r->len;
	}
	l->keys = (unsigned)keys->elements;
	return NULL;
}

static const char *on_scan(struct redis_load *l, const redisReply *r)
{
	uint64_t v;

	if (r->type != REDIS_REPLY_ARRAY || r->elements != 2 ||
	    r->element[0]->type != REDIS_REPLY_STRING ||
	    r->element[1]->type != REDIS_REPLY_ARRAY ||
	    span_u64(span_of(r->element[0]->str, r->element[0]->len), UINT64_MAX, &v) < 0)
		return "no answer to SCAN";
	snprintf(l->cursor, sizeof(l->cursor), "%llu", (unsigned long long)v);
	return take_keys(l, r->element[1]);
}

static void show(struct redis_load *l, struct span key, const redisReply *field,
		 const redisReply *value)
{
	struct store_row row;

	if (field->type != REDIS_REPLY_STRING || value->type != REDIS_REPLY_STRING ||
	    redis_row_read(l->client->setup, key, span_of(field->str, field->len),
			   span_of(value->str, value->len), l->wall_ms, &row) < 0) {
		counter_inc(&l->counters->skipped);
		return;
	}
	if (row.expires_ms && row.expires_ms <= l->wall_ms)
		return;
	int rc = l->each(l->arg, &row);
	counter_inc(rc == -EBADMSG ? &l->counters->skipped : &l->counters->loaded);
	if (rc < 0 && rc != -EBADMSG)
		l->rc = rc;
}

static const char *on_read(struct redis_load *l, const redisReply *r)
{
	if (r->type != REDIS_REPLY_ARRAY || r->elements < 2 ||
	    r->element[0]->type != REDIS_REPLY_INTEGER ||
	    r->element[1]->type != REDIS_REPLY_INTEGER)
		return "no answer to the reading script";
	long long n = r->element[0]->integer, skipped = r->element[1]->integer;
	if (n < 1 || n > l->asked || r->elements != (size_t)n + 2 || skipped < 0)
		return "a wrong answer to the reading script";
	counter_add(&l->counters->skipped, (uint64_t)skipped);
	l->noscript = 0;
	for (long long i = 0; i < n; i++) {
		const redisReply *rows = r->element[2 + i];
		if (rows->type != REDIS_REPLY_ARRAY || rows->elements % 2)
			return "a group that is none";
		for (size_t j = 0; j < rows->elements && l->rc == 0; j += 2)
			show(l, l->key[l->at], rows->element[j], rows->element[j + 1]);
		l->at++;
	}
	return NULL;
}

/* What is next, after an answer that was in order. */
static const char *go_on(struct redis_load *l)
{
	int rc = 0;

	if (l->rc < 0 || (l->at == l->keys && strcmp(l->cursor, "0") == 0)) {
		l->complete = l->rc == 0;
		redis_load_stop(l);
		return NULL;
	}
	rc = l->at < l->keys ? ask_read(l) : ask_scan(l);
	redis_link_flush(l->client->link);
	return rc < 0 ? "out of memory" : NULL;
}

/* The scripts are gone (SCRIPT FLUSH): they are sent again, and the question after them. */
static const char *on_error(struct redis_load *l, enum redis_tag tag, const redisReply *r)
{
	if (tag != REDIS_TAG_READ || strncmp(r->str, "NOSCRIPT", 8) != 0 ||
	    ++l->noscript > NOSCRIPT_MAX)
		return r->str;
	return redis_client_scripts(l->client) < 0 ? "out of memory" : NULL;
}

const char *redis_load_reply(struct redis_load *l, enum redis_tag tag, const redisReply *r)
{
	const char *wrong;

	if (!l->running)
		return NULL;
	if (r->type == REDIS_REPLY_ERROR)
		wrong = on_error(l, tag, r);
	else
		wrong = tag == REDIS_TAG_SCAN ? on_scan(l, r) : on_read(l, r);
	if (!wrong)
		wrong = go_on(l);
	if (wrong)
		redis_load_stop(l);
	return wrong;
}

/* ---- at the start ---- */

struct start {
	struct redis_client client;
	struct redis_load load;
	bool failed;
	struct redis_counters counters; /* of this connection */
};

static void on_up(void *arg)
{
	struct start *s = arg;

	redis_load_start(&s->load, s->load.wall_ms, s->load.each, s->load.arg);
	s->failed = !s->load.running;
}

/* What was shown is shown again later: the owner expects it. */
static void on_lost(void *arg, bool overdue)
{
	struct start *s = arg;

	(void)overdue;
	redis_load_stop(&s->load);
	s->failed = true;
}

/* Until the time is over. */
static void on_unreachable(void *arg, bool refused)
{
	(void)arg;
	(void)refused;
}

static void on_reply(void *arg, enum redis_tag tag, const redisReply *r)
{
	struct start *s = arg;

	if (redis_load_reply(&s->load, tag, r))
		s->failed = true;
}

int redis_load_now(struct store_redis *s, uint64_t wall_ms,
		   int (*each)(void *arg, const struct store_row *row), void *arg)
{
	static const struct redis_client_ops ops = {
		.up = on_up,
		.lost = on_lost,
		.unreachable = on_unreachable,
		.reply = on_reply,
	};
	struct start st = {0};
	struct loop *l = loop_new(0);

	if (!l)
		return -ENOMEM;
	int rc = redis_client_init(&st.client, l, &s->setup, false, &st.counters, &ops, &st);
	if (rc == 0) {
		msec reach = loop_now(l) + s->setup.c.timeout_ms,
		     end = loop_now(l) + s->setup.c.load_ms;
		st.load = (struct redis_load){.client = &st.client,
					      .counters = &s->counters,
					      .wall_ms = wall_ms,
					      .each = each,
					      .arg = arg};
		redis_client_start(&st.client);
		while (!st.failed && !st.load.complete && st.load.rc == 0 &&
		       loop_now(l) < end &&
		       (st.client.state == REDIS_CLIENT_UP || loop_now(l) < reach))
			loop_round(l, ROUND_MS);
		s->load.complete = st.load.complete;
		redis_client_error(&s->client, st.client.error);
		redis_load_stop(&st.load);
		rc = st.load.rc;
	}
	redis_client_done(&st.client);
	loop_free(l);
	return rc;
}
