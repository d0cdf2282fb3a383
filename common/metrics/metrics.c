/*
 * The Prometheus text format, version 0.0.4.  A page that cannot be held whole is given up: a
 * scrape that fails is seen, half a page is not.
 */
#include "common/metrics/metrics.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { PAGE_MAX_BYTES = 16 << 20 };

struct metrics_out {
	char *p;
	size_t n, cap;
	bool failed;
	const char *family; /* of the samples that follow */
};

struct source {
	void (*write)(void *arg, struct metrics_out *o);
	void *arg;
};

struct metrics {
	struct source *v;
	unsigned n;
};

static bool reserve(struct metrics_out *o, size_t more)
{
	size_t cap = o->cap ? o->cap : 4096;
	char *p;

	if (o->failed)
		return false;
	if (o->cap - o->n >= more)
		return true;
	while (cap - o->n < more && cap <= PAGE_MAX_BYTES)
		cap *= 2;
	p = cap <= PAGE_MAX_BYTES ? realloc(o->p, cap) : NULL;
	if (!p) {
		o->failed = true;
		return false;
	}
	o->p = p;
	o->cap = cap;
	return true;
}

static void put(struct metrics_out *o, const char *s)
{
	size_t n = strlen(s);

	if (!reserve(o, n))
		return;
	memcpy(o->p + o->n, s, n);
	o->n += n;
}

static void put_char(struct metrics_out *o, char c)
{
	if (reserve(o, 1))
		o->p[o->n++] = c;
}

/* Whole numbers without an exponent, so that a reader sees a counter as one. */
static void put_value(struct metrics_out *o, double v)
{
	char text[32];

	if (isnan(v))
		put(o, "NaN");
	else if (isinf(v))
		put(o, v < 0 ? "-Inf" : "+Inf");
	else {
		bool whole = fabs(v) < 9007199254740992.0 && v == floor(v);

		snprintf(text, sizeof(text), whole ? "%.0f" : "%.9g", v);
		put(o, text);
	}
}

void metrics_family(struct metrics_out *o, const char *name, enum metrics_type t,
		    const char *help)
{
	o->family = name;
	put(o, "# HELP eaves_");
	put(o, name);
	put_char(o, ' ');
	for (; *help; help++) {
		if (*help == '\\')
			put(o, "\\\\");
		else if (*help == '\n')
			put(o, "\\n");
		else
			put_char(o, *help);
	}
	put(o, "\n# TYPE eaves_");
	put(o, name);
	put(o, t == METRICS_COUNTER ? " counter\n" : " gauge\n");
}

void metrics_sample(struct metrics_out *o, const char *labels, double value)
{
	if (!o->family)
		return;
	put(o, "eaves_");
	put(o, o->family);
	if (labels && *labels) {
		put_char(o, '{');
		put(o, labels);
		put_char(o, '}');
	}
	put_char(o, ' ');
	put_value(o, value);
	put_char(o, '\n');
}

void metrics_counter(struct metrics_out *o, const char *name, const char *help, uint64_t value)
{
	metrics_family(o, name, METRICS_COUNTER, help);
	metrics_sample(o, NULL, (double)value);
}

void metrics_gauge(struct metrics_out *o, const char *name, const char *help, uint64_t value)
{
	metrics_family(o, name, METRICS_GAUGE, help);
	metrics_sample(o, NULL, (double)value);
}

struct metrics *metrics_new(void)
{
	return calloc(1, sizeof(struct metrics));
}

void metrics_free(struct metrics *m)
{
	if (!m)
		return;
	free(m->v);
	free(m);
}

int metrics_add(struct metrics *m, void (*write)(void *arg, struct metrics_out *o), void *arg)
{
	struct source *v = realloc(m->v, (m->n + 1) * sizeof(*v));

	if (!v)
		return -ENOMEM;
	m->v = v;
	m->v[m->n++] = (struct source){write, arg};
	return 0;
}

char *metrics_render(struct metrics *m, size_t *ret_n)
{
	struct metrics_out o = {0};

	for (unsigned i = 0; i < m->n; i++) {
		o.family = NULL;
		m->v[i].write(m->v[i].arg, &o);
	}
	put_char(&o, '\0');
	if (o.failed) {
		free(o.p);
		return NULL;
	}
	*ret_n = o.n - 1;
	return o.p;
}
