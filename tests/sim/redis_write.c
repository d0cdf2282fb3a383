/*
 * Units of rows, each all or nothing; the newest version stands.  A key comes to its end when
 * none of its fields is remembered any more, and goes then by itself.
 */
#include "tests/sim/redis_write.h"

#include "common/base/time.h"
#include "common/store/redis_parts.h"
#include "tests/sim/event.h"

#include <assert.h>
#include <stdlib.h>

enum { FIELDS_MAX = 256, PURGE_EVERY = 16, GRAVES_MAX = 64, EXPIRES_AT = 38 };

void redis_add_bulk(FILE *out, struct span s)
{
	fprintf(out, "$%zu\r\n", s.n);
	fwrite(s.p, 1, s.n, out);
	fputs("\r\n", out);
}

static uint64_t ms_of(struct span s)
{
	uint64_t v = 0;
	int rc = span_u64(s, UINT64_MAX, &v);
	assert(rc == 0);
	return v;
}

unsigned redis_number(struct span s)
{
	uint64_t v = ms_of(s);
	assert(v <= REDIS_ARGS_MAX);
	return (unsigned)v;
}

/* What a call has of each row, and of all of them. */
struct row {
	struct redis_field f;
	struct span ends, guard;
	uint64_t remembered_ms; /* the end of a record */
};

static struct row row_of(const struct redis_command *c, unsigned rows, unsigned i)
{
	const struct span *all = &c->arg[3 + rows], *v = &all[3 + 4 * i];
	return (struct row){{c->arg[3 + i], v[0], v[1]}, v[2], v[3], ms_of(all[2])};
}

static int cmp_version(struct span a, struct span b)
{
	return memcmp(a.p, b.p, REDIS_VERSION_N);
}

static bool is_gone(struct span value)
{
	return memcmp(value.p + REDIS_VERSION_N + 1, "gone", 4) == 0;
}

/* ---- keys that come to their end ---- */

struct fields {
	const struct row *row;
	unsigned n;
	bool for_ever;
	uint64_t last;
	struct redis_field v[FIELDS_MAX];
};

static bool add_field(void *arg, const struct redis_field *f)
{
	struct fields *a = arg;
	if (!span_eq(f->key, a->row->f.key))
		return true;
	assert(a->n < FIELDS_MAX);
	a->v[a->n++] = *f;
	return true;
}

/* Until when a field matters; 0: for ever. */
static uint64_t until(const struct row *r, struct span value)
{
	uint64_t e = ms_of(span_of(value.p + EXPIRES_AT, REDIS_MS_N));
	return e == 0 ? 0 : e + (is_gone(value) ? REDIS_SLACK_MS : r->remembered_ms);
}

static int by_version(const void *a, const void *b)
{
	const struct redis_field *x = a, *y = b;
	return cmp_version(y->value, x->value);
}

/* What is long over, and of deletions all but the newest. */
static void purge(struct redis_keys *k, const struct row *r, struct fields *all)
{
	unsigned graves = 0;
	qsort(all->v, all->n, sizeof(all->v[0]), by_version);
	for (unsigned i = 0; i < all->n; i++) {
		const struct redis_field *f = &all->v[i];
		uint64_t e = until(r, f->value);
		if ((e > 0 && e <= time_wall_ms()) ||
		    (is_gone(f->value) && ++graves > GRAVES_MAX))
			redis_keys_drop(k, f);
	}
}

static uint64_t latest(const struct row *r, const struct fields *all)
{
	uint64_t last = 0;
	for (unsigned i = 0; i < all->n; i++) {
		uint64_t e = until(r, all->v[i].value);
		if (e == 0)
			return 0;
		last = e > last ? e : last;
	}
	return last;
}

/* `expire` and `settle` of the script. */
static void set_end(struct redis_keys *k, const struct row *r, bool is_new)
{
	static struct fields all;
	uint64_t ms = ms_of(r->ends), now = redis_keys_end(k, r->f.key);
	all = (struct fields){.row = r};
	redis_keys_each(k, add_field, &all);
	if (ms == 0) {
		redis_keys_set_end(k, r->f.key, 0);
		return;
	}
	if (is_new && all.n > 1 && all.n % PURGE_EVERY == 0)
		purge(k, r, &all);
	if (is_new && all.n == 1)
		redis_keys_set_end(k, r->f.key, ms);
	else if (now == 0)
		redis_keys_set_end(k, r->f.key, latest(r, &all));
	else if (ms > now)
		redis_keys_set_end(k, r->f.key, ms);
}

/* ---- units ---- */

static bool holds(const struct row *r, struct span old)
{
	if (r->guard.n == 0 || old.n == 0)
		return true;
	int cmp = cmp_version(old, r->f.value);
	return cmp == 0 || (cmp < 0 && (span_eq(r->guard, span_of(old.p, REDIS_VERSION_N)) ||
					(is_gone(old) && span_eq(r->guard, SPAN("0")))));
}

static void write_row(struct redis_keys *k, const struct row *r)
{
	struct span old = redis_keys_get(k, r->f.key, r->f.name);
	bool is_new = old.n == 0;
	if (!is_new && cmp_version(r->f.value, old) <= 0)
		return;
	redis_keys_set(k, &r->f);
	set_end(k, r, is_new);
}

static void write_unit(struct redis_keys *k, const struct row *row, unsigned n, bool forgets,
		       FILE *out)
{
	bool all_hold = true;
	for (unsigned i = 0; i < n; i++)
		all_hold &= holds(&row[i], redis_keys_get(k, row[i].f.key, row[i].f.name));
	fprintf(out, all_hold ? ":0\r\n" : "*%u\r\n", n);
	for (unsigned i = 0; i < n; i++) {
		if (!all_hold)
			redis_add_bulk(out, redis_keys_get(k, row[i].f.key, row[i].f.name));
		else if (!forgets)
			write_row(k, &row[i]);
	}
}

void redis_write_units(struct redis_keys *k, const struct redis_command *c, bool forgets,
		       FILE *out)
{
	unsigned rows = redis_number(c->arg[2]), at = 0, units = 1;
	struct row *row = sim_alloc((rows + 1) * sizeof(*row));
	struct span sizes = c->arg[3 + rows];
	for (unsigned i = 0; i < rows; i++)
		row[i] = row_of(c, rows, i);
	for (size_t i = 0; i < sizes.n; i++)
		units += sizes.p[i] == ',';
	fprintf(out, "*%u\r\n", units);
	while (sizes.n) {
		ptrdiff_t comma = span_chr(sizes, ',', 0);
		size_t len = comma < 0 ? sizes.n : (size_t)comma;
		unsigned n = redis_number(span_of(sizes.p, len));
		write_unit(k, &row[at], n, forgets, out);
		at += n;
		len += comma >= 0;
		sizes = span_of(sizes.p + len, sizes.n - len);
	}
	free(row);
}
