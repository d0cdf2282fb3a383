/*
 * Patterns of replays (tests/replay/README.md): "*" is anything, "{name}" is kept the first
 * time and must be the same ever after.
 */
#ifndef EAVES_TESTS_PATTERN_H
#define EAVES_TESTS_PATTERN_H

#include "common/base/span.h"

#include <stdio.h>
#include <stdlib.h>

enum { VARS_MAX = 64, VAR_BYTES = 512 };

struct vars {
	unsigned n;
	struct {
		char name[32];
		char value[VAR_BYTES];
	} v[VARS_MAX];
};

static inline char *vars_find(struct vars *vs, struct span name)
{
	for (unsigned i = 0; i < vs->n; i++)
		if (span_eq(span_str(vs->v[i].name), name))
			return vs->v[i].value;
	return NULL;
}

static inline void vars_set(struct vars *vs, struct span name, struct span value)
{
	if (vs->n == VARS_MAX || name.n >= sizeof(vs->v[0].name) || value.n >= VAR_BYTES)
		abort();
	snprintf(vs->v[vs->n].name, sizeof(vs->v[0].name), "%.*s", SPAN_FMT(name));
	snprintf(vs->v[vs->n].value, VAR_BYTES, "%.*s", SPAN_FMT(value));
	vs->n++;
}

/* "{name}" at p: its length, and the name. */
static inline size_t var_at(const char *p, struct span *ret_name)
{
	const char *end = *p == '{' ? strchr(p, '}') : NULL;
	*ret_name = span_of(p, 0);
	if (!end)
		return 0;
	*ret_name = span_of(p + 1, (size_t)(end - p - 1));
	return (size_t)(end - p + 1);
}

static inline bool pattern_match(struct vars *vs, const char *pat, struct span text)
{
	struct span name;
	for (; *pat; pat++, text.p++, text.n--) {
		size_t var = var_at(pat, &name);
		const char *value = var ? vars_find(vs, name) : NULL;
		if (value) {
			size_t n = strlen(value);
			if (text.n < n || memcmp(text.p, value, n) != 0)
				return false;
			return pattern_match(vs, pat + var, span_of(text.p + n, text.n - n));
		}
		if (var || *pat == '*') {
			for (size_t n = var ? 1 : 0; n <= text.n; n++) {
				unsigned known = vs->n;
				if (var)
					vars_set(vs, name, span_of(text.p, n));
				if (pattern_match(vs, pat + (var ? var : 1),
						  span_of(text.p + n, text.n - n)))
					return true;
				vs->n = known;
			}
			return false;
		}
		if (!text.n || *pat != *text.p)
			return false;
	}
	return text.n == 0;
}

/* A copy of `in` with what is known put in; to be freed. */
static inline char *vars_expand(struct vars *vs, const char *in)
{
	size_t cap = strlen(in) + 16 * VAR_BYTES, n = 0;
	char *out = malloc(cap);
	struct span name;
	if (!out)
		abort();
	while (*in && n + VAR_BYTES < cap) {
		size_t var = var_at(in, &name);
		const char *value = var ? vars_find(vs, name) : NULL;
		if (value) {
			n += (size_t)sprintf(out + n, "%s", value);
			in += var;
		} else {
			out[n++] = *in++;
		}
	}
	out[n] = '\0';
	return out;
}

#endif
