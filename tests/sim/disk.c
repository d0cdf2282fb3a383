/*
 * A list of rows is all that so few of them need.
 */
#include "tests/sim/disk.h"

#include "tests/sim/event.h"

#include <stdlib.h>

struct disk {
	struct disk_row *rows;
};

struct disk *disk_new(void)
{
	return sim_alloc(sizeof(struct disk));
}

static struct span keep(char **at, struct span s)
{
	char *p = *at;
	if (s.n)
		memcpy(p, s.p, s.n);
	*at += s.n;
	return span_of(p, s.n);
}

struct disk_row *disk_row_new(const struct store_row *r)
{
	struct disk_row *d = sim_alloc(sizeof(*d) + r->group.n + r->name.n + r->body.n);
	char *at = (char *)(d + 1);
	d->row = *r;
	d->row.group = keep(&at, r->group);
	d->row.name = keep(&at, r->name);
	d->row.body = keep(&at, r->body);
	return d;
}

static struct disk_row **place(struct disk *d, const struct store_row *r)
{
	struct disk_row **at = &d->rows;
	while (*at && ((*at)->row.kind != r->kind || !span_eq((*at)->row.group, r->group) ||
		       !span_eq((*at)->row.name, r->name)))
		at = &(*at)->next;
	return at;
}

static bool is_newer(const struct store_row *a, const struct store_row *b)
{
	return a->hlc != b->hlc ? a->hlc > b->hlc : a->node > b->node;
}

void disk_write(struct disk *d, struct disk_row *r)
{
	struct disk_row **at = place(d, &r->row), *old = *at;
	if (old && !is_newer(&r->row, &old->row)) {
		free(r);
		return;
	}
	r->next = old ? old->next : NULL;
	*at = r;
	free(old);
}

const struct store_row *disk_find(const struct disk *d, const struct store_row *like)
{
	const struct disk_row *r = *place((struct disk *)d, like);
	return r ? &r->row : NULL;
}

bool disk_fits(const struct disk *d, const struct store_row *guarded)
{
	const struct store_row *r = disk_find(d, guarded);
	if (!r)
		return true;
	if (r->hlc == guarded->hlc && r->node == guarded->node)
		return true; /* the same once more */
	if (!guarded->expect_hlc)
		return r->deleted;
	return r->hlc == guarded->expect_hlc && r->node == guarded->expect_node;
}

int disk_each(const struct disk *d, uint64_t wall_ms,
	      int (*each)(void *arg, const struct store_row *row), void *arg)
{
	for (const struct disk_row *r = d->rows; r; r = r->next) {
		bool expired = r->row.expires_ms && r->row.expires_ms <= wall_ms;
		int rc = expired ? 0 : each(arg, &r->row);
		if (rc < 0)
			return rc;
	}
	return 0;
}
