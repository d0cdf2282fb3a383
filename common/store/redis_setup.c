/*
 * The configuration of the Redis store, checked and copied: all strings in one allocation,
 * which is wiped at its end for it holds passwords.
 */
#include "common/store/redis_client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { PREFIX_MAX = 256, KIND_MAX = 32, SECRET_MAX = 512, ERROR_BYTES = 256 };

const struct redis_conf redis_conf_default = {
	.prefix = "eaves:",
	.timeout_ms = 1000,
	.load_ms = 10000,
	.queue_rows = 200000,
	.queue_bytes = 64 << 20,
	.tombstone_ms = 3600 * 1000,
	.drift_ms = 3600 * 1000,
};

/* A word that neither is a number nor has what ends it. */
static bool kind_name_ok(const char *name)
{
	size_t n = strlen(name);
	return n > 0 && n <= KIND_MAX && !strchr(name, ':') && (name[0] < '0' || name[0] > '9');
}

static const char *fault(const struct redis_conf *c)
{
	if (!c->nservers == !c->nsentinels)
		return "either servers or sentinels, please";
	if (c->nservers > REDIS_ADDRS_MAX || c->nsentinels > REDIS_ADDRS_MAX)
		return "too many addresses";
	if (c->nsentinels && !c->primary)
		return "sentinels want the primary's name";
	if (!c->prefix || !c->prefix[0] || strlen(c->prefix) > PREFIX_MAX)
		return "a prefix of 1 to 256 bytes, please";
	if (!c->timeout_ms || !c->queue_rows || !c->queue_bytes)
		return "limits of 0";
	if ((c->password && strlen(c->password) > SECRET_MAX) ||
	    (c->sentinel_password && strlen(c->sentinel_password) > SECRET_MAX) ||
	    (c->primary && strlen(c->primary) > SECRET_MAX))
		return "a name or password of more than 512 bytes";
	for (unsigned i = 0; i < REDIS_KINDS_MAX; i++)
		if (c->kind_name[i] && !kind_name_ok(c->kind_name[i]))
			return "a kind's name begins with no digit and has no colon";
	return NULL;
}

static const char *keep(char **at, const char *s)
{
	if (!s)
		return NULL;
	char *to = *at;
	size_t n = strlen(s) + 1;
	memcpy(to, s, n);
	*at += n;
	return to;
}

/* SCAN's pattern: what means something in one stands behind a backslash. */
static struct span keep_pattern(char **at, const char *prefix)
{
	char *from = *at, *to = from;
	for (; *prefix; prefix++) {
		if (strchr("*?[]^-\\", *prefix))
			*to++ = '\\';
		*to++ = *prefix;
	}
	*to++ = '*';
	*at = to;
	return span_of(from, (size_t)(to - from));
}

static void keep_kind(struct redis_setup *s, char **at, unsigned kind)
{
	const char *name = s->c.kind_name[kind];
	char *from = *at;
	size_t left = s->prefix.n + KIND_MAX + 2;
	int n = name ? snprintf(from, left, "%s%s:", s->c.prefix, name)
		     : snprintf(from, left, "%s%u:", s->c.prefix, kind);

	s->kind_key[kind] = span_of(from, (size_t)n);
	s->kind_name[kind] = span_of(from + s->prefix.n, (size_t)n - s->prefix.n - 1);
	s->c.kind_name[kind] = NULL;
	*at += n + 1;
}

static size_t room(const char *s)
{
	return s ? strlen(s) + 1 : 0;
}

int redis_setup_init(struct redis_setup *s, const struct redis_conf *c, char *ret_error)
{
	const char *why = fault(c);
	if (why) {
		snprintf(ret_error, ERROR_BYTES, "redis: %s", why);
		return -EINVAL;
	}
	*s = (struct redis_setup){.c = *c, .prefix = span_str(c->prefix)};
	s->text_n = room(c->primary) + room(c->password) + room(c->sentinel_password) +
		    3 * s->prefix.n + 2 + REDIS_KINDS_MAX * (s->prefix.n + KIND_MAX + 2);
	s->text = malloc(s->text_n);
	if (!s->text) {
		snprintf(ret_error, ERROR_BYTES, "out of memory");
		return -ENOMEM;
	}
	char *at = s->text;
	s->c.primary = keep(&at, c->primary);
	s->c.password = keep(&at, c->password);
	s->c.sentinel_password = keep(&at, c->sentinel_password);
	s->c.prefix = keep(&at, c->prefix);
	s->prefix.p = s->c.prefix;
	s->pattern = keep_pattern(&at, c->prefix);
	for (unsigned i = 0; i < REDIS_KINDS_MAX; i++)
		keep_kind(s, &at, i);
	return 0;
}

void redis_setup_done(struct redis_setup *s)
{
	if (s->text)
		explicit_bzero(s->text, s->text_n);
	free(s->text);
	s->text = NULL;
}
