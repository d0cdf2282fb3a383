/*
 * A table of connections, by sets of a few, and the bindings that they were of.  How a binding
 * says which connection it has is its role's to know.
 */
#include "common/phones/phones.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

enum {
	BITS = 18,
	CONNS = 1 << BITS,
	WAYS = 4,
	SETS = CONNS / WAYS,
	FOUND_MAX = 64,
	SLICE = 256
};

struct known {
	uint64_t id;  /* of a connection; 0: none */
	uint64_t tag; /* of the binding */
};

struct phones {
	struct phones_ops ops;
	struct records *records;
	struct cluster *cluster;
	pthread_mutex_t lock;
	uint8_t next[SETS];
	uint8_t past[SETS]; /* a bit for each: what a phone had before */
	struct known v[CONNS];
};

static struct known *place_of(struct known *at, uint64_t id)
{
	for (unsigned i = 0; i < WAYS; i++)
		if (at[i].id == id)
			return &at[i];
	return NULL;
}

/* Which goes for a connection that a phone has. */
static unsigned to_leave(struct phones *p, size_t set)
{
	for (unsigned i = 0; i < WAYS; i++)
		if (p->past[set] >> i & 1)
			return i;
	return p->next[set]++ % WAYS;
}

/* is_past: what a phone had before takes nobody's place, and leaves it first.  There may be
 * four times more of it than of what phones have now, and who has seen it noted it then. */
static void note(struct phones *p, uint64_t id, uint64_t tag, bool is_past)
{
	size_t set = (id >> 32) % SETS;
	struct known *at = &p->v[set * WAYS];
	pthread_mutex_lock(&p->lock);
	struct known *to = place_of(at, id);
	bool was_noted = to != NULL;
	if (!to)
		to = place_of(at, 0);
	if (!to && !is_past)
		to = &at[to_leave(p, set)];
	if (to && !(is_past && was_noted)) {
		uint8_t bit = (uint8_t)(1u << (to - at));
		*to = (struct known){id, tag};
		p->past[set] = (uint8_t)(is_past ? p->past[set] | bit : p->past[set] & ~bit);
	}
	pthread_mutex_unlock(&p->lock);
}

static bool find(struct phones *p, uint64_t id, uint64_t *ret_tag)
{
	const struct known *at = &p->v[(id >> 32) % SETS * WAYS];
	bool found = false;
	pthread_mutex_lock(&p->lock);
	for (unsigned i = 0; i < WAYS && !found; i++) {
		found = at[i].id == id;
		*ret_tag = at[i].tag;
	}
	pthread_mutex_unlock(&p->lock);
	return found;
}

/* The ways to a user's bindings, read under the lock of the records' stripe. */
struct found {
	const struct phones *phones;
	bool to_note; /* with what they were before */
	unsigned n;
	struct {
		struct phone_way way;
		uint64_t tag;
		unsigned npast;
		uint64_t past[PHONES_PAST];
	} v[FOUND_MAX];
};

static bool gather(void *arg, const struct record *rec)
{
	struct found *f = arg;
	const struct phones *p = f->phones;
	Eaves__Binding *b =
		eaves__binding__unpack(NULL, rec->body.n, (const uint8_t *)rec->body.p);
	if (!b)
		return true;
	if (p->ops.way(p->ops.arg, b, &f->v[f->n].way)) {
		f->v[f->n].npast = f->to_note && p->ops.past
					   ? p->ops.past(p->ops.arg, b, f->v[f->n].past)
					   : 0;
		f->v[f->n++].tag = records_tag(p->records, rec);
	}
	eaves__binding__free_unpacked(b, NULL);
	return f->n < FOUND_MAX;
}

static void note_all(struct phones *p, const struct found *f)
{
	for (unsigned i = 0; i < f->n; i++) {
		if (f->v[i].way.id)
			note(p, f->v[i].way.id, f->v[i].tag, false);
		for (unsigned k = 0; k < f->v[i].npast; k++)
			note(p, f->v[i].past[k], f->v[i].tag, true);
	}
}

static void changed(void *arg, uint8_t kind, struct span user)
{
	struct phones *p = arg;
	struct found f = {.phones = p, .to_note = true};
	records_each(p->records, kind, user, time_wall_ms(), gather, &f, NULL);
	note_all(p, &f);
}

/* What was read from the store before anybody watched. */
static bool loaded(void *arg, const struct record *rec)
{
	struct phones *p = arg;
	struct found f = {.phones = p, .to_note = true};
	gather(&f, rec);
	note_all(p, &f);
	return true;
}

struct phones *phones_new(const struct phones_ops *ops, struct records *r, struct cluster *c)
{
	struct phones *p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	p->ops = *ops;
	p->records = r;
	p->cluster = c;
	pthread_mutex_init(&p->lock, NULL);
	records_watch(r, RECORD_BINDING, changed, p);
	records_scan(r, RECORD_BINDING, time_wall_ms(), loaded, p);
	return p;
}

struct phones *phones_free(struct phones *p)
{
	if (!p)
		return NULL;
	pthread_mutex_destroy(&p->lock);
	free(p);
	return NULL;
}

int phones_at(struct phones *p, uint64_t tag, struct sip_flow *ret)
{
	struct found f = {.phones = p};
	*ret = (struct sip_flow){.transport = SIP_TRANSPORT_NONE};
	records_each_tag(p->records, RECORD_BINDING, tag, time_wall_ms(), gather, &f);
	if (!f.n)
		return -ENOENT;
	const struct phone_way *w = &f.v[0].way;
	*ret = w->flow;
	if (w->rc == 0 || w->rc == -ENOTCONN)
		return w->rc;
	if (w->node < 0 || w->node == (int)cluster_self(p->cluster) ||
	    !cluster_serving(p->cluster, (unsigned)w->node))
		return -ESTALE;
	*ret = (struct sip_flow){.transport = SIP_TRANSPORT_TCP,
				 .node = (uint16_t)(w->node + 1),
				 .leg = SIP_TRANSPORT_TCP};
	return 0;
}

int phones_moved(struct phones *p, uint64_t id, struct sip_flow *ret)
{
	uint64_t tag;
	struct sip_flow now;
	int r = id && find(p, id, &tag) ? phones_at(p, tag, &now) : -ENOENT;
	if (r != -ENOENT)
		*ret = now;
	return r;
}

struct others {
	const struct phones *phones;
	struct sip_flow *v;
	unsigned n, max;
};

static bool add_other(void *arg, const struct record *rec)
{
	struct others *o = arg;
	struct found f = {.phones = o->phones};
	gather(&f, rec);
	if (f.n && f.v[0].way.rc == -ESTALE && f.v[0].way.id)
		o->v[o->n++] = f.v[0].way.flow;
	return o->n < o->max;
}

bool phones_of_others(struct phones *p, struct records_place *at, struct sip_flow *v,
		      unsigned *n, unsigned max)
{
	struct others o = {.phones = p, .v = v, .n = *n, .max = max};
	if (*n >= max)
		return true;
	bool more = records_scan_slice(p->records, RECORD_BINDING, time_wall_ms(), at, SLICE,
				       add_other, &o);
	*n = o.n;
	return more;
}
