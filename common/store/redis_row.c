/*
 * Rows as Redis has them.  Key: prefix, kind, ":", group.  Field: name.  Value:
 * "001718900000000.00003.0000000001 live 001718903600000 " and the body: version (milliseconds,
 * counter, node), state, expiry (0: never).  What is read is checked to the byte.
 */
#include "common/store/redis_parts.h"

#include <errno.h>
#include <stdio.h>

enum {
	ROW_ARGS = 4,
	COUNTER_N = 5,
	NODE_N = 10,
	STATE_AT = REDIS_VERSION_N + 1,
	EXPIRES_AT = STATE_AT + 5
};
_Static_assert(REDIS_MS_N + 1 + COUNTER_N + 1 + NODE_N == REDIS_VERSION_N &&
		       EXPIRES_AT + REDIS_MS_N + 1 == REDIS_HEAD_N,
	       "one layout");

#define MS_MAX 999999999999999u

/* ---- writing ---- */

static void put_digits(char *to, size_t width, uint64_t v)
{
	while (width > 0) {
		to[--width] = (char)('0' + v % 10);
		v /= 10;
	}
}

static void put_version(char out[REDIS_VERSION_N], uint64_t hlc, uint32_t node)
{
	put_digits(out, REDIS_MS_N, hlc >> 16);
	out[REDIS_MS_N] = '.';
	put_digits(out + REDIS_MS_N + 1, COUNTER_N, hlc & 0xffff);
	out[REDIS_MS_N + 1 + COUNTER_N] = '.';
	put_digits(out + REDIS_MS_N + COUNTER_N + 2, NODE_N, node);
}

static uint64_t clamp_ms(uint64_t ms)
{
	return ms < MS_MAX ? ms : MS_MAX;
}

static void put_head(char out[REDIS_HEAD_N], const struct store_row *row)
{
	put_version(out, row->hlc, row->node);
	out[REDIS_VERSION_N] = ' ';
	memcpy(out + STATE_AT, row->deleted ? "gone " : "live ", 5);
	put_digits(out + EXPIRES_AT, REDIS_MS_N, clamp_ms(row->expires_ms));
	out[REDIS_HEAD_N - 1] = ' ';
}

/* When the key may go, as far as this row goes: after we have forgotten it ourselves. */
static struct span put_expiry(char out[REDIS_MS_N + 1], const struct redis_setup *s,
			      const struct store_row *row)
{
	uint64_t ms = clamp_ms(row->expires_ms);

	if (ms == 0 && !row->deleted)
		return SPAN("0");
	if (ms == 0)
		ms = row->hlc >> 16;
	if (!row->deleted || row->expires_ms == 0)
		ms += s->c.tombstone_ms;
	put_digits(out, REDIS_MS_N + 1, ms + REDIS_SLACK_MS);
	size_t zeros = 0;
	while (zeros < REDIS_MS_N && out[zeros] == '0')
		zeros++;
	return span_of(out + zeros, REDIS_MS_N + 1 - zeros);
}

static void write_row(struct redis_link *k, const struct redis_setup *s,
		      const struct store_row *row)
{
	char head[REDIS_HEAD_N], expiry[REDIS_MS_N + 1], expect[REDIS_VERSION_N];
	const struct span value[] = {span_of(head, sizeof(head)), row->body};
	const struct span at = put_expiry(expiry, s, row);
	struct span guard = SPAN("");

	put_head(head, row);
	if (row->guarded && row->expect_hlc == 0) {
		guard = SPAN("0");
	} else if (row->guarded) {
		put_version(expect, row->expect_hlc, row->expect_node);
		guard = span_of(expect, sizeof(expect));
	}
	redis_link_arg(k, &row->name, 1);
	redis_link_arg(k, value, 2);
	redis_link_arg(k, &at, 1);
	redis_link_arg(k, &guard, 1);
}

/* "1,1,3" */
static struct span put_sizes(const struct store_unit *u, char *out, size_t room)
{
	size_t n = 0;

	for (; u; u = u->next)
		n += (size_t)snprintf(out + n, room - n, n ? ",%u" : "%u", u->n);
	return span_of(out, n);
}

/* EVALSHA sha rows key... sizes latest tombstone (field value expiry guard)... */
int redis_row_write(struct redis_link *k, const struct redis_setup *s, const char sha[41],
		    const struct store_unit *units)
{
	char sizes[REDIS_BATCH_ROWS * 5], latest[REDIS_MS_N], tombstone[REDIS_MS_N], count[8];
	unsigned rows = 0;

	for (const struct store_unit *u = units; u; u = u->next)
		rows += u->n;
	put_digits(latest, sizeof(latest), clamp_ms(time_wall_ms() + s->c.drift_ms));
	put_digits(tombstone, sizeof(tombstone), clamp_ms(s->c.tombstone_ms + REDIS_SLACK_MS));
	const struct span head[] = {
		SPAN("EVALSHA"), span_of(sha, 40),
		span_of(count, (size_t)snprintf(count, sizeof(count), "%u", rows))};
	const struct span mid[] = {put_sizes(units, sizes, sizeof(sizes)),
				   span_of(latest, sizeof(latest)),
				   span_of(tombstone, sizeof(tombstone))};

	redis_link_begin(k, REDIS_TAG_WRITE, 6 + rows * (1 + ROW_ARGS));
	for (unsigned i = 0; i < 3; i++)
		redis_link_arg(k, &head[i], 1);
	for (const struct store_unit *u = units; u; u = u->next) {
		for (unsigned i = 0; i < u->n; i++) {
			const struct span key[] = {s->kind_key[u->row[i].kind],
						   u->row[i].group};
			redis_link_arg(k, key, 2);
		}
	}
	for (unsigned i = 0; i < 3; i++)
		redis_link_arg(k, &mid[i], 1);
	for (const struct store_unit *u = units; u; u = u->next)
		for (unsigned i = 0; i < u->n; i++)
			write_row(k, s, &u->row[i]);
	return redis_link_end(k);
}

/* ---- reading ---- */

static int read_digits(struct span v, size_t at, size_t width, uint64_t max, uint64_t *ret)
{
	uint64_t n = 0;

	for (size_t i = at; i < at + width; i++) {
		unsigned d = (unsigned char)v.p[i] - (unsigned)'0';
		if (d > 9)
			return -EBADMSG;
		n = n * 10 + d;
	}
	*ret = n;
	return n <= max ? 0 : -EBADMSG;
}

static int read_version(struct span v, uint64_t ms_max, struct store_row *ret)
{
	uint64_t ms, counter, node;

	if (read_digits(v, 0, REDIS_MS_N, ms_max, &ms) < 0 ||
	    read_digits(v, REDIS_MS_N + 1, COUNTER_N, 0xffff, &counter) < 0 ||
	    read_digits(v, REDIS_MS_N + COUNTER_N + 2, NODE_N, UINT32_MAX, &node) < 0 ||
	    v.p[REDIS_MS_N] != '.' || v.p[REDIS_MS_N + 1 + COUNTER_N] != '.')
		return -EBADMSG;
	ret->hlc = ms << 16 | counter;
	ret->node = (uint32_t)node;
	return ret->hlc ? 0 : -EBADMSG;
}

static int read_value(struct span v, uint64_t ms_max, struct store_row *ret)
{
	if (v.n < REDIS_HEAD_N || v.n - REDIS_HEAD_N > REDIS_BODY_MAX ||
	    read_version(v, ms_max, ret) < 0 || v.p[REDIS_VERSION_N] != ' ' ||
	    read_digits(v, EXPIRES_AT, REDIS_MS_N, MS_MAX, &ret->expires_ms) < 0 ||
	    v.p[REDIS_HEAD_N - 1] != ' ')
		return -EBADMSG;
	struct span state = span_of(v.p + STATE_AT, 5);
	ret->deleted = span_eq(state, SPAN("gone "));
	if (!ret->deleted && !span_eq(state, SPAN("live ")))
		return -EBADMSG;
	ret->body = span_of(v.p + REDIS_HEAD_N, v.n - REDIS_HEAD_N);
	return 0;
}

/* By its name, or by its number: a node that knew no name yet may have written it. */
static int read_kind(const struct redis_setup *s, struct span word, uint8_t *ret)
{
	uint64_t n;

	if (span_u64(word, REDIS_KINDS_MAX - 1, &n) == 0 && n > 0 &&
	    (word.n == 1 || word.p[0] != '0')) {
		*ret = (uint8_t)n;
		return 0;
	}
	for (unsigned i = 1; i < REDIS_KINDS_MAX; i++) {
		if (span_eq(word, s->kind_name[i])) {
			*ret = (uint8_t)i;
			return 0;
		}
	}
	return -EBADMSG;
}

int redis_row_read(const struct redis_setup *s, struct span key, struct span field,
		   struct span value, uint64_t wall_ms, struct store_row *ret)
{
	*ret = (struct store_row){0};
	if (key.n <= s->prefix.n || !span_eq(span_of(key.p, s->prefix.n), s->prefix))
		return -EBADMSG;
	struct span rest = span_of(key.p + s->prefix.n, key.n - s->prefix.n);
	ptrdiff_t colon = span_chr(rest, ':', 0);
	if (colon < 0 || read_kind(s, span_of(rest.p, (size_t)colon), &ret->kind) < 0)
		return -EBADMSG;
	ret->group = span_of(rest.p + colon + 1, rest.n - (size_t)colon - 1);
	ret->name = field;
	if (ret->group.n == 0 || ret->group.n > REDIS_GROUP_MAX || field.n > REDIS_NAME_MAX)
		return -EBADMSG;
	return read_value(value, clamp_ms(wall_ms + s->c.drift_ms), ret);
}
