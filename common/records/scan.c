/*
 * Walks through the table: stripe by stripe, and, where it may be large, in slices, so that
 * neither who walks nor who waits for a lock is held up.
 */
#include "common/records/records_priv.h"

/* False: `each` wants no more. */
static bool scan_stripe(struct stripe *s, bool (*each)(void *arg, const struct record *rec),
			void *arg)
{
	bool more = true;

	pthread_mutex_lock(&s->lock);
	for (uint32_t b = 0; more && b <= s->mask; b++) {
		for (const struct rec *c = s->bucket[b]; more && c; c = c->next) {
			const struct record v = rec_show(c);
			more = c->kind == KIND_FLOOR || each(arg, &v);
		}
	}
	pthread_mutex_unlock(&s->lock);
	return more;
}

void records_scan_all(struct records *r, bool (*each)(void *arg, const struct record *rec),
		      void *arg)
{
	for (unsigned i = 0; i < STRIPES; i++)
		if (!scan_stripe(records_stripe(r, i), each, arg))
			return;
}

void records_scan_part(struct records *r, unsigned part,
		       bool (*each)(void *arg, const struct record *rec), void *arg)
{
	if (part < RECORDS_PARTS)
		scan_stripe(records_stripe(r, part), each, arg);
}

void records_scan(struct records *r, uint8_t kind, uint64_t wall_ms,
		  bool (*each)(void *arg, const struct record *rec), void *arg)
{
	bool more = true;
	for (unsigned i = 0; more && i < STRIPES; i++) {
		struct stripe *s = records_stripe(r, i);
		pthread_mutex_lock(&s->lock);
		for (uint32_t b = 0; more && b <= s->mask; b++) {
			for (const struct rec *c = s->bucket[b]; more && c; c = c->next) {
				if (c->kind != kind || !rec_live(c, wall_ms))
					continue;
				const struct record v = rec_show(c);
				more = each(arg, &v);
			}
		}
		pthread_mutex_unlock(&s->lock);
	}
}

/* ---- in slices ---- */

/* Where it ended.  What has grown meanwhile is begun anew: its chains are others. */
static void resume(const struct stripe *s, struct records_place *at)
{
	if (at->mask == s->mask)
		return;
	at->mask = s->mask;
	at->bucket = at->skip = 0;
}

/* How many were looked at; at->skip: of this chain. */
static unsigned look(const struct stripe *s, uint8_t kind, uint64_t wall_ms,
		     struct records_place *at, unsigned max,
		     bool (*each)(void *arg, const struct record *rec), void *arg, bool *more)
{
	const struct rec *c = s->bucket[at->bucket];
	unsigned n = 0;

	for (uint32_t i = 0; c && i < at->skip; i++)
		c = c->next;
	for (; c && *more && n < max; c = c->next, n++) {
		const struct record v = rec_show(c);

		at->skip++;
		if (c->kind == kind && rec_live(c, wall_ms))
			*more = each(arg, &v);
	}
	if (!c) {
		at->bucket++;
		at->skip = 0;
	}
	return n;
}

/* Empty chains cost, too. */
static unsigned slice(struct stripe *s, uint8_t kind, uint64_t wall_ms,
		      struct records_place *at, unsigned max,
		      bool (*each)(void *arg, const struct record *rec), void *arg, bool *more)
{
	unsigned n = 0;

	pthread_mutex_lock(&s->lock);
	resume(s, at);
	while (*more && n < max && at->bucket <= s->mask) {
		unsigned seen = look(s, kind, wall_ms, at, max - n, each, arg, more);

		n += seen ? seen : 1;
	}
	if (at->bucket > s->mask) {
		at->stripe++;
		at->mask = 0;
	}
	pthread_mutex_unlock(&s->lock);
	return n;
}

bool records_scan_slice(struct records *r, uint8_t kind, uint64_t wall_ms,
			struct records_place *at, unsigned max,
			bool (*each)(void *arg, const struct record *rec), void *arg)
{
	bool more = true;

	for (unsigned n = 0; more && n < max && at->stripe < STRIPES;)
		n += slice(records_stripe(r, at->stripe), kind, wall_ms, at, max - n, each, arg,
			   &more);
	return at->stripe < STRIPES;
}
