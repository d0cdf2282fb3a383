/*
 * Rows as Redis has them: key, field and value in whatever state are read within their bounds,
 * and what is taken for a row has the form of one.  Input: two lengths, then the three parts.
 */
#include "common/store/redis_parts.h"

#include <errno.h>
#include <stdlib.h>

enum { WALL_MS = 1718900000 };

static void check(bool holds)
{
	if (!holds)
		abort();
}

static bool within(struct span s, const char *p, size_t n)
{
	return s.n == 0 || (s.p >= p && s.p + s.n <= p + n);
}

/* Of its exact size, so that a byte too many is found. */
static struct span copy(const uint8_t *p, size_t n)
{
	char *to = malloc(n ? n : 1);

	check(to != NULL);
	if (n)
		memcpy(to, p, n);
	return span_of(to, n);
}

static void read_row(const struct redis_setup *s, struct span key, struct span field,
		     struct span value)
{
	const uint64_t wall_ms = (uint64_t)WALL_MS * 1000;
	struct store_row r;
	int rc = redis_row_read(s, key, field, value, wall_ms, &r);

	check(rc == 0 || rc == -EBADMSG);
	if (rc < 0)
		return;
	check(r.kind > 0 && r.kind < REDIS_KINDS_MAX && r.hlc > 0);
	check(r.hlc >> 16 <= wall_ms + s->c.drift_ms);
	check(r.group.n > 0 && r.group.n <= REDIS_GROUP_MAX && within(r.group, key.p, key.n));
	check(r.name.n == field.n && r.body.n == value.n - REDIS_HEAD_N);
	check(within(r.body, value.p, value.n));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct redis_conf c = redis_conf_default;
	struct redis_setup s;
	char error[256];

	if (size < 2)
		return 0;
	c.nservers = 1;
	c.prefix = "e:";
	c.kind_name[3] = "binding";
	check(redis_setup_init(&s, &c, error) == 0);
	size_t key_n = data[0] % (size - 1), field_n = data[1] % (size - 1 - key_n);
	const uint8_t *at = data + 2, *end = data + size;
	struct span key = copy(at, key_n);
	at += key_n;
	if (field_n > (size_t)(end - at))
		field_n = (size_t)(end - at);
	struct span field = copy(at, field_n);
	at += field_n;
	struct span value = copy(at, (size_t)(end - at));
	read_row(&s, key, field, value);
	free((char *)key.p);
	free((char *)field.p);
	free((char *)value.p);
	redis_setup_done(&s);
	return 0;
}
