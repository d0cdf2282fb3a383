/*
 * Records: versions from a hybrid logical clock, last writer wins, batches of one group,
 * compare and set, look-up, sweep.  The table is in table.c; where records are kept for good in
 * common/store.  Replication between nodes is not here: it calls records_merge.
 */
#include "common/records/records_priv.h"
#include "common/store/store.h"

#include <errno.h>
#include <stdlib.h>

enum { WATCHES_MAX = 8 };

struct watch {
	uint8_t kind;
	void (*changed)(void *arg, uint8_t kind, struct span group);
	void *arg;
};

struct records {
	struct stripe stripe[STRIPES];
	struct mac_key key;
	struct store *store;
	uint32_t node;
	size_t limit;
	atomic_size_t n;
	_Atomic uint64_t clock;			       /* the highest version given or seen */
	_Atomic uint64_t first;			       /* given; 0: none yet */
	_Atomic uint64_t heard[RECORDS_NODES_MAX + 1]; /* by node: records_heard() */
	atomic_uint sweep_next;
	unsigned nwatch;
	struct watch watch[WATCHES_MAX];
	struct records_counters c;
};

struct stripe *records_stripe(struct records *r, unsigned i)
{
	return &r->stripe[i];
}

const char *record_kind_name(unsigned kind)
{
	static const char *const names[] = {
		[RECORD_USER] = "user",
		[RECORD_ALIAS] = "alias",
		[RECORD_BINDING] = "binding",
		[RECORD_FORK] = "fork",
	};
	return kind < sizeof(names) / sizeof(names[0]) ? names[kind] : NULL;
}

int record_version_cmp(struct record_version a, struct record_version b)
{
	if (a.hlc != b.hlc)
		return a.hlc < b.hlc ? -1 : 1;
	return a.node < b.node ? -1 : a.node > b.node;
}

static void count(uint64_t *c, uint64_t n)
{
	__atomic_fetch_add(c, n, __ATOMIC_RELAXED);
}

static uint32_t hash_of(const struct records *r, struct span group)
{
	return (uint32_t)mac_span(&r->key, group);
}

static struct stripe *stripe_of(struct records *r, uint32_t hash)
{
	return &r->stripe[hash & (STRIPES - 1)];
}

/* ---- the clock ---- */

static uint64_t clock_next(struct records *r, uint64_t wall_ms)
{
	uint64_t last = atomic_load_explicit(&r->clock, memory_order_relaxed), next;
	do {
		next = wall_ms << 16 > last ? wall_ms << 16 : last + 1;
	} while (!atomic_compare_exchange_weak(&r->clock, &last, next));
	if (atomic_load_explicit(&r->first, memory_order_relaxed) == 0)
		atomic_compare_exchange_strong(&r->first, &(uint64_t){0}, next);
	return next;
}

static void clock_saw(struct records *r, uint64_t hlc)
{
	uint64_t last = atomic_load_explicit(&r->clock, memory_order_relaxed);
	while (hlc > last && !atomic_compare_exchange_weak(&r->clock, &last, hlc))
		;
}

void records_heard(struct records *r, struct record_version v)
{
	if (v.node > RECORDS_NODES_MAX)
		return;
	uint64_t last = atomic_load_explicit(&r->heard[v.node], memory_order_relaxed);
	while (v.hlc > last && !atomic_compare_exchange_weak(&r->heard[v.node], &last, v.hlc))
		;
}

/* It, or a newer one in its place. */
static bool was_here(const struct records *r, struct record_version v)
{
	if (v.node == r->node) {
		uint64_t first = atomic_load(&r->first);
		return first && v.hlc >= first;
	}
	return v.node <= RECORDS_NODES_MAX && v.hlc <= atomic_load(&r->heard[v.node]);
}

/* ---- life ---- */

struct records *records_new(struct store *store, uint32_t node, size_t limit,
			    const struct mac_key *key)
{
	struct records *r = aligned_alloc(64, (sizeof(*r) + 63) / 64 * 64);
	if (!r)
		return NULL;
	memset(r, 0, sizeof(*r));
	if (key)
		r->key = *key;
	else
		mac_random(&r->key, sizeof(r->key));
	r->store = store;
	r->node = node;
	r->limit = limit;
	for (unsigned i = 0; i < STRIPES; i++) {
		if (stripe_init(&r->stripe[i]) < 0) {
			records_free(r);
			return NULL;
		}
	}
	return r;
}

void records_free(struct records *r)
{
	if (!r)
		return;
	for (unsigned i = 0; i < STRIPES; i++)
		stripe_done(&r->stripe[i]);
	free(r);
}

static bool well_formed(const struct record *v)
{
	return v->kind > 0 && v->kind <= RECORD_KIND_MAX && v->group.n > 0 &&
	       v->group.n <= RECORDS_GROUP_MAX_BYTES && v->name.n <= RECORDS_NAME_MAX_BYTES &&
	       v->body.n <= RECORDS_BODY_MAX_BYTES;
}

static int load_row(void *arg, const struct store_row *row)
{
	struct records *r = arg;
	const struct record v = {
		.kind = row->kind,
		.deleted = row->deleted,
		.group = row->group,
		.name = row->name,
		.version = {row->hlc, row->node},
		.expires_ms = row->expires_ms,
		.body = row->body,
	};
	if (!well_formed(&v))
		return -EBADMSG;
	uint32_t hash = hash_of(r, v.group);
	struct stripe *s = stripe_of(r, hash);
	struct rec **at = stripe_find(s, hash, v.kind, v.group, v.name);
	if (*at && record_version_cmp(rec_version(*at), v.version) >= 0)
		return 0;
	if (!*at && atomic_load(&r->n) >= r->limit)
		return -ENOSPC;
	struct rec *c = rec_new(&v, hash);
	if (!c)
		return -ENOMEM;
	if (*at) {
		stripe_replace(s, at, c);
	} else {
		stripe_insert(s, c);
		atomic_fetch_add(&r->n, 1);
	}
	clock_saw(r, row->hlc);
	return 0;
}

bool records_has_store(const struct records *r)
{
	return r->store != NULL;
}

int records_load(struct records *r, uint64_t wall_ms)
{
	return r->store ? r->store->ops->load(r->store, wall_ms, load_row, r) : 0;
}

void records_watch(struct records *r, uint8_t kind,
		   void (*changed)(void *arg, uint8_t kind, struct span group), void *arg)
{
	if (r->nwatch < WATCHES_MAX)
		r->watch[r->nwatch++] = (struct watch){kind, changed, arg};
}

static void tell(const struct records *r, uint8_t kind, struct span group)
{
	for (unsigned i = 0; i < r->nwatch; i++)
		if (r->watch[i].kind == kind)
			r->watch[i].changed(r->watch[i].arg, kind, group);
}

/* ---- writing ---- */

/* What a batch has become on its way into the table; see apply(). */
struct batch {
	struct records *r;
	struct stripe *s;
	uint32_t hash;
	/* From another node: a bit for each record of it that is deleted here.  Else NULL. */
	uint64_t *buried;
	const struct record_version *expect;
	unsigned n;
	size_t added;
	struct record v[RECORDS_BATCH_MAX];
	struct rec *fresh[RECORDS_BATCH_MAX]; /* NULL: written over the one that is there */
	struct store_row row[RECORDS_BATCH_MAX];
};

static struct record_version highest(const struct stripe *s, uint32_t hash, uint8_t kind,
				     struct span group)
{
	struct record_version max = {0, 0};
	for (const struct rec *c = *stripe_chain(s, hash); c; c = c->next)
		if (c->kind == kind && rec_in_group(c, hash, group) &&
		    record_version_cmp(rec_version(c), max) > 0)
			max = rec_version(c);
	return max;
}

/* Until when a deletion is remembered that does not say so itself. */
static uint64_t remember_until(const struct record *v, const struct rec *old)
{
	uint64_t until = v->version.hlc >> 16, end = 0;

	if (old && old->deleted)
		end = old->expires_ms;
	else if (old && old->expires_ms == 0)
		end = until + RECORDS_TOMBSTONE_DAYS * UINT64_C(86400000);
	else if (old)
		end = old->expires_ms + RECORDS_TOMBSTONE_MS;
	until += RECORDS_TOMBSTONE_MS;
	return end > until ? end : until;
}

/* Not here, and so old that its deletion may be one of those that are forgotten; it is if the
 * record was here. */
static bool is_buried(const struct batch *b, const struct record *v, uint64_t wall_ms)
{
	if (v->deleted || (v->expires_ms && v->expires_ms <= wall_ms) ||
	    v->version.hlc > stripe_floor(b->s, b->hash, v->kind, v->group))
		return false;
	return was_here(b->r, v->version);
}

/* Takes one record into the batch unless what is there is as new.  0 or -ENOMEM. */
static int batch_add(struct batch *b, const struct record *v, unsigned at, uint64_t wall_ms)
{
	struct record *w = &b->v[b->n];
	*w = *v;
	if (w->version.hlc == 0)
		w->version = (struct record_version){clock_next(b->r, wall_ms), b->r->node};
	else
		clock_saw(b->r, w->version.hlc);
	struct rec *old = *stripe_find(b->s, b->hash, w->kind, w->group, w->name);
	if (!old && b->buried && is_buried(b, w, wall_ms)) {
		b->buried[at / 64] |= UINT64_C(1) << at % 64;
		return 0;
	}
	if (w->deleted) {
		w->body.n = 0;
		if (w->expires_ms == 0)
			w->expires_ms = remember_until(w, b->buried ? NULL : old);
	}
	if (old && record_version_cmp(rec_version(old), w->version) >= 0) {
		count(&b->r->c.passed_over, 1);
		return 0;
	}
	b->fresh[b->n] = NULL;
	if (!old || !rec_fits(old, w)) {
		b->fresh[b->n] = rec_new(w, b->hash);
		if (!b->fresh[b->n])
			return -ENOMEM;
	}
	b->added += !old;
	b->row[b->n] = (struct store_row){
		.kind = w->kind,
		.deleted = w->deleted,
		.group = w->group,
		.name = w->name,
		.body = w->body,
		.hlc = w->version.hlc,
		.node = w->version.node,
		.expires_ms = w->expires_ms,
		.guarded = b->expect != NULL,
		.expect_hlc = old ? old->hlc : 0,
		.expect_node = old ? old->node : 0,
	};
	b->n++;
	return 0;
}

static void batch_drop(struct batch *b)
{
	for (unsigned i = 0; i < b->n; i++)
		free(b->fresh[i]);
}

/* Nothing can fail here. */
static void batch_commit(struct batch *b)
{
	bool deleted = false;
	for (unsigned i = 0; i < b->n; i++) {
		const struct record *v = &b->v[i];
		struct rec **at = stripe_find(b->s, b->hash, v->kind, v->group, v->name);
		if (!*at)
			stripe_insert(b->s, b->fresh[i]);
		else if (b->fresh[i])
			stripe_replace(b->s, at, b->fresh[i]);
		else
			stripe_overwrite(b->s, at, v);
		deleted |= v->deleted;
	}
	if (deleted || b->added)
		atomic_fetch_sub(&b->r->n, stripe_trim(b->s, b->hash, b->v[0].group));
}

/* Room in the table, then the store's queue, then the table itself: the first two may refuse.
 */
static int batch_write(struct batch *b, void (*done)(void *arg, int error), void *arg)
{
	struct records *r = b->r;
	int rc = 0;

	if (b->added && atomic_fetch_add(&r->n, b->added) + b->added > r->limit)
		rc = -ENOSPC;
	if (rc == 0 && r->store)
		rc = (b->buried && r->store->ops->merge
			      ? r->store->ops->merge
			      : r->store->ops->put)(r->store, b->row, b->n, done, arg);
	if (rc < 0) {
		atomic_fetch_sub(&r->n, b->added);
		count(&r->c.full, rc == -ENOSPC);
		return rc;
	}
	if (b->n)
		batch_commit(b);
	return 0;
}

static bool batch_sound(const struct record *v, unsigned n)
{
	if (n == 0 || n > RECORDS_BATCH_MAX)
		return false;
	for (unsigned i = 0; i < n; i++) {
		if (!well_formed(&v[i]) || !span_eq(v[i].group, v[0].group))
			return false;
		for (unsigned j = 0; j < i; j++)
			if (v[i].kind == v[j].kind && span_eq(v[i].name, v[j].name))
				return false;
	}
	return true;
}

static void tell_batch(const struct batch *b)
{
	uint32_t told = 0;
	for (unsigned i = 0; b->r->nwatch && i < b->n; i++) {
		if (!(told & 1u << b->v[i].kind))
			tell(b->r, b->v[i].kind, b->v[i].group);
		told |= 1u << b->v[i].kind;
	}
}

/* How many records were taken, or -errno. */
static int apply(struct records *r, const struct record *v, unsigned n, uint64_t *buried,
		 const struct record_version *expect, uint64_t wall_ms,
		 void (*done)(void *arg, int error), void *arg)
{
	struct batch b;
	int rc = 0;

	if (!batch_sound(v, n))
		return -EINVAL;
	b.r = r;
	b.hash = hash_of(r, v[0].group);
	b.s = stripe_of(r, b.hash);
	b.buried = buried;
	b.expect = expect;
	b.n = 0;
	b.added = 0;

	pthread_mutex_lock(&b.s->lock);
	if (expect &&
	    record_version_cmp(highest(b.s, b.hash, v[0].kind, v[0].group), *expect)) {
		count(&r->c.conflicts, 1);
		rc = -EAGAIN;
	}
	for (unsigned i = 0; rc == 0 && i < n; i++)
		rc = batch_add(&b, &v[i], i, wall_ms);
	if (rc == 0)
		rc = batch_write(&b, done, arg);
	if (rc < 0)
		batch_drop(&b);
	pthread_mutex_unlock(&b.s->lock);
	if (rc < 0)
		return rc;

	tell_batch(&b);
	if (!r->store && done)
		done(arg, 0);
	return (int)b.n;
}

int records_put(struct records *r, const struct record *v, unsigned n,
		const struct record_version *expect, uint64_t wall_ms,
		void (*done)(void *arg, int error), void *arg)
{
	int rc = apply(r, v, n, NULL, expect, wall_ms, done, arg);
	if (rc < 0)
		return rc;
	count(&r->c.puts, 1);
	return 0;
}

/* Tells all who have them, with a version just above theirs: a registration that we have not
 * heard of stands. */
static void bury(struct records *r, const struct record *v, unsigned n, const uint64_t *buried,
		 uint64_t wall_ms)
{
	for (unsigned i = 0; i < n; i++) {
		struct record grave = v[i];

		if (!(buried[i / 64] & UINT64_C(1) << i % 64))
			continue;
		grave.deleted = true;
		grave.body.n = 0;
		grave.version.hlc++;
		grave.expires_ms =
			v[i].expires_ms ? v[i].expires_ms + RECORDS_TOMBSTONE_MS
					: wall_ms + RECORDS_TOMBSTONE_DAYS * UINT64_C(86400000);
		if (apply(r, &grave, 1, NULL, NULL, wall_ms, NULL, NULL) >= 0)
			count(&r->c.buried, 1);
	}
}

int records_merge(struct records *r, const struct record *v, unsigned n, uint64_t wall_ms,
		  void (*done)(void *arg, int error), void *arg)
{
	for (unsigned i = 0; i < n; i++) {
		if (v[i].version.hlc == 0 ||
		    v[i].version.hlc >> 16 > wall_ms + RECORDS_DRIFT_MAX_MS) {
			count(&r->c.far_ahead, 1);
			return -EBADMSG;
		}
	}
	uint64_t buried[RECORDS_BATCH_MAX / 64] = {0};
	int rc = apply(r, v, n, buried, NULL, wall_ms, done, arg);
	if (rc > 0)
		count(&r->c.merged, (unsigned)rc);
	if (rc >= 0)
		bury(r, v, n, buried, wall_ms);
	return rc;
}

/* ---- reading ---- */

unsigned records_each(struct records *r, uint8_t kind, struct span group, uint64_t wall_ms,
		      bool (*each)(void *arg, const struct record *rec), void *arg,
		      struct record_version *ret_version)
{
	uint32_t hash = hash_of(r, group);
	struct stripe *s = stripe_of(r, hash);
	struct record_version max = {0, 0};
	unsigned shown = 0;
	bool more = true;

	pthread_mutex_lock(&s->lock);
	for (const struct rec *c = *stripe_chain(s, hash); c; c = c->next) {
		if (c->kind != kind || !rec_in_group(c, hash, group))
			continue;
		if (record_version_cmp(rec_version(c), max) > 0)
			max = rec_version(c);
		if (!more || !rec_live(c, wall_ms))
			continue;
		shown++;
		if (!each)
			continue;
		const struct record v = rec_show(c);
		more = each(arg, &v);
	}
	pthread_mutex_unlock(&s->lock);
	if (ret_version)
		*ret_version = max;
	return shown;
}

static uint64_t tag_of(const struct records *r, uint32_t hash, struct span name)
{
	return (uint64_t)(uint32_t)mac_span(&r->key, name) << 32 | hash;
}

uint64_t records_tag(const struct records *r, const struct record *rec)
{
	return tag_of(r, hash_of(r, rec->group), rec->name);
}

unsigned records_each_tag(struct records *r, uint8_t kind, uint64_t tag, uint64_t wall_ms,
			  bool (*each)(void *arg, const struct record *rec), void *arg)
{
	uint32_t hash = (uint32_t)tag;
	struct stripe *s = stripe_of(r, hash);
	unsigned shown = 0;
	bool more = true;

	pthread_mutex_lock(&s->lock);
	for (const struct rec *c = *stripe_chain(s, hash); c && more; c = c->next) {
		if (c->kind != kind || c->hash != hash || !rec_live(c, wall_ms) ||
		    tag_of(r, hash, rec_name(c)) != tag)
			continue;
		const struct record v = rec_show(c);
		shown++;
		more = each(arg, &v);
	}
	pthread_mutex_unlock(&s->lock);
	return shown;
}

size_t records_count(const struct records *r, uint8_t kind)
{
	size_t n = 0;
	if (kind <= RECORD_KIND_MAX)
		for (unsigned i = 0; i < STRIPES; i++)
			n += atomic_load_explicit(&r->stripe[i].live[kind],
						  memory_order_relaxed);
	return n;
}

struct records_counters records_counters(const struct records *r)
{
	struct records_counters c;
	const uint64_t *from = (const uint64_t *)&r->c;
	uint64_t *to = (uint64_t *)&c;

	for (size_t i = 0; i < sizeof(c) / sizeof(*to); i++)
		to[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
	c.records = atomic_load_explicit(&r->n, memory_order_relaxed);
	return c;
}

/* ---- sweeping ---- */

static void sweep_one(struct records *r, struct stripe *s, uint64_t wall_ms)
{
	unsigned freed = 0, expired = 0;

	pthread_mutex_lock(&s->lock);
	struct rec *gone = stripe_sweep(s, wall_ms, &freed, &expired);
	pthread_mutex_unlock(&s->lock);
	atomic_fetch_sub(&r->n, freed);
	count(&r->c.expired, expired);
	for (struct rec *next; gone; gone = next) {
		next = gone->next;
		tell(r, gone->kind, rec_group(gone));
		free(gone);
	}
}

void records_sweep(struct records *r, uint64_t wall_ms)
{
	unsigned from = atomic_fetch_add(&r->sweep_next, SWEEP_STRIPES) & (STRIPES - 1);

	for (unsigned i = 0; i < SWEEP_STRIPES; i++)
		sweep_one(r, &r->stripe[from + i], wall_ms);
	if (from == 0 && r->store)
		r->store->ops->expire(r->store, wall_ms);
}
