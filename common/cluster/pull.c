/*
 * What differs is asked for: "this is what I have in these buckets", answered by what is newer.
 * So whoever lacks something sets the pace: a few open questions, each answered by a message of
 * 64 KB at most, and who answers keeps nothing in mind.  Live updates go in between.
 */
#include "common/cluster/cluster_priv.h"

#include <stdlib.h>

enum {
	ENTRY_BYTES = 20,
	ENTRIES_SOFT = 3000,  /* in one question, unless a bucket has more */
	ENTRIES_HARD = 40000, /* of which a message has room */
	ANSWER_MS = 400,
	FAILURES_MAX = 8,
	/* So long is remembered that a record is not for a node any more; less than what is
	 * left out of digests. */
	TAKEN_BACK_MS = 240 * 1000,
};

struct entry {
	uint64_t key, hlc;
	uint32_t node;
};

/* ---- what is wanted ---- */

void pull_stop(struct peer *p)
{
	unsigned next = p->pull.next;

	p->pull = (struct pull){.next = next};
}

bool pull_busy(const struct peer *p, unsigned group)
{
	for (unsigned i = 0; i < GROUP_PARTS; i++)
		if (p->pull.want[group * GROUP_PARTS + i])
			return true;
	for (unsigned i = 0; i < ASKS_MAX; i++)
		if (p->pull.ask[i].id && p->pull.ask[i].part / GROUP_PARTS == group)
			return true;
	return false;
}

void pull_add(struct peer *p, unsigned part, uint16_t mask)
{
	for (unsigned i = 0; i < ASKS_MAX; i++)
		if (p->pull.ask[i].id && p->pull.ask[i].part == part)
			mask &= (uint16_t)~p->pull.ask[i].mask;
	p->pull.want[part] |= mask;
	gate_post(p->c, WORK_STEP);
	compare_soon(p->c);
}

/* It does not answer, or to no purpose: what is left is to be compared again. */
static void give_up(struct peer *p)
{
	uint32_t groups = 0;

	for (unsigned g = 0; g < GROUPS; g++)
		groups |= pull_busy(p, g) ? 1u << g : 0;
	pull_stop(p);
	for (unsigned g = 0; g < GROUPS; g++)
		if (groups & 1u << g)
			compare_doubt(p, g);
}

static void ask_end(struct peer *p, struct ask *a)
{
	a->id = 0;
	p->pull.open--;
}

bool pull_look(struct peer *p, msec now)
{
	struct pull *l = &p->pull;

	for (unsigned i = 0; i < ASKS_MAX; i++) {
		struct ask *a = &l->ask[i];
		if (!a->id || a->due > now)
			continue;
		l->want[a->part] |= a->mask;
		l->failures++;
		ask_end(p, a);
		gate_post(p->c, WORK_STEP);
	}
	if (l->failures > FAILURES_MAX)
		give_up(p);
	for (unsigned i = 0; i < RECORDS_PARTS; i++) {
		if (!l->want[i])
			continue;
		gate_post(p->c, WORK_STEP); /* also when memory was short */
		return true;
	}
	return l->open > 0;
}

/* ---- asking ---- */

struct have {
	struct peer *p;
	uint16_t mask;
	bool full;
};

static bool add_entry(void *arg, const struct record *rec)
{
	struct have *h = arg;
	struct cluster *c = h->p->c;
	struct store_row row = row_of(rec);

	if (!cluster_sharers(c, &row, bit(h->p->index)))
		return true;
	struct entry e = {.key = row_key(c, &row), .hlc = row.hlc, .node = row.node};
	if (!(h->mask & 1u << bucket_of(e.key)))
		return true;
	uint8_t *to = buffer_room(&c->have, sizeof(e));
	if (!to) {
		h->full = true;
		return false;
	}
	memcpy(to, &e, sizeof(e));
	c->have.n += sizeof(e);
	return true;
}

static int by_key(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	return x->key < y->key ? -1 : x->key > y->key;
}

/* Whole buckets, from the first on, as many as are to go into one message. */
static size_t cut_entries(const struct entry *e, size_t n, uint16_t *mask)
{
	size_t end = 0;
	uint16_t kept = 0;

	for (unsigned b = 0; b < BUCKETS; b++) {
		size_t from = end;
		if (!(*mask & 1u << b))
			continue;
		while (end < n && bucket_of(e[end].key) == b)
			end++;
		if (kept && end > ENTRIES_SOFT) {
			end = from;
			break;
		}
		kept |= (uint16_t)(1u << b);
	}
	*mask = kept;
	return end < ENTRIES_HARD ? end : ENTRIES_HARD;
}

static int say_ask(struct peer *p, const struct ask *a, const struct entry *v, size_t n)
{
	struct cluster *c = p->c;
	Eaves__Envelope e = EAVES__ENVELOPE__INIT;
	Eaves__Ask m = EAVES__ASK__INIT;

	c->rows.n = 0;
	uint8_t *to = buffer_room(&c->rows, n * ENTRY_BYTES + 1);
	if (!to)
		return -1;
	for (size_t i = 0; i < n; i++) {
		put_u64(to + i * ENTRY_BYTES, v[i].key);
		put_u64(to + i * ENTRY_BYTES + 8, v[i].hlc);
		put_u32(to + i * ENTRY_BYTES + 16, v[i].node);
	}
	m.id = a->id;
	m.part = a->part;
	m.mask = a->mask;
	m.wall_ms = time_wall_ms();
	m.have = (ProtobufCBinaryData){n * ENTRY_BYTES, to};
	e.body_case = EAVES__ENVELOPE__BODY_ASK;
	e.ask = &m;
	return wire_send(p, &e);
}

static struct ask *free_ask(struct pull *l)
{
	for (unsigned i = 0; i < ASKS_MAX; i++)
		if (!l->ask[i].id)
			return &l->ask[i];
	return NULL;
}

/* Starting at another part for each node: what one has sent the others need not. */
static int next_part(struct peer *p)
{
	struct pull *l = &p->pull;

	for (unsigned i = 0; i < RECORDS_PARTS; i++) {
		unsigned part =
			(l->next + i + p->index * RECORDS_PARTS / p->c->conf.n) % RECORDS_PARTS;
		if (l->want[part]) {
			l->next = (l->next + i) % RECORDS_PARTS;
			return (int)part;
		}
	}
	return -1;
}

static bool ask_one(struct peer *p)
{
	struct cluster *c = p->c;
	struct ask *a = free_ask(&p->pull);
	int part = a ? next_part(p) : -1;

	if (part < 0)
		return false;
	struct have h = {.p = p, .mask = p->pull.want[part]};
	c->have.n = 0;
	records_scan_part(c->records, (unsigned)part, add_entry, &h);
	if (h.full)
		return false; /* memory: the next look tries again */
	size_t n = c->have.n / sizeof(struct entry);
	struct entry *v = (struct entry *)(void *)c->have.p;
	if (n)
		qsort(v, n, sizeof(*v), by_key);
	n = cut_entries(v, n, &h.mask);
	*a = (struct ask){
		.id = ++c->next_id,
		.due = loop_now(c->loop) + ANSWER_MS,
		.mask = h.mask,
		.part = (uint8_t)part,
	};
	p->pull.open++;
	p->pull.want[part] &= (uint16_t)~h.mask;
	say_ask(p, a, v, n);
	return true;
}

bool pull_step(struct cluster *c)
{
	for (unsigned i = 0; i < c->conf.n; i++) {
		struct peer *p = &c->peer[c->pull_turn++ % c->conf.n];
		if (p->open && p->greeted && ask_one(p))
			return true;
	}
	return false;
}

bool pull_rows(struct peer *p, const Eaves__Rows *m)
{
	struct pull *l = &p->pull;
	struct ask *a = NULL;

	if (m->id == 0 || m->count != m->n_row)
		return false;
	for (unsigned i = 0; i < ASKS_MAX; i++)
		if (l->ask[i].id == m->id)
			a = &l->ask[i];
	if (!a)
		return true; /* late */
	int taken = receive_rows(p, m->n_row, m->row);
	unsigned group = a->part / GROUP_PARTS;
	ask_end(p, a);
	gate_post(p->c, WORK_STEP);
	if (taken < 0) {
		compare_doubt(p, group);
		return true;
	}
	counter_add(&p->c->counters.repaired_received, (unsigned)taken);
	l->failures = taken || !m->more ? 0 : l->failures + 1;
	if (m->more)
		l->want[a->part] |= a->mask;
	else
		compare_withheld(p, group, m->withheld);
	compare_settle(p, group);
	return true;
}

/* ---- answering ---- */

struct answer {
	struct peer *p;
	const Eaves__Ask *ask;
	size_t n; /* entries */
	unsigned rows, withheld;
	unsigned uncounted; /* of these: in buckets that were not asked for before */
	bool more;
};

static const uint8_t *entry_of(const struct answer *w, uint64_t key)
{
	size_t low = 0, high = w->n;

	while (low < high) {
		size_t mid = (low + high) / 2;
		const uint8_t *e = w->ask->have.data + mid * ENTRY_BYTES;
		uint64_t k = get_u64(e);
		if (k == key)
			return e;
		if (k < key)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

/* It asks once more when our answer was lost, or late: that counts once. */
static bool may_offer(struct answer *w, const struct store_row *row, uint64_t key)
{
	const struct cluster_ops *o = &w->p->c->ops;

	if (!o->may_offer || o->may_offer(o->arg, w->p->index, row))
		return true;
	w->withheld++;
	w->uncounted += !(w->p->sweep.counted[w->ask->part] & 1u << bucket_of(key));
	return false;
}

/*
 * It has the record in an older version, and is not to have it any more: a deletion that is
 * just older than what we have, so that it never stands against that, and soon forgotten.
 * False: there is no version in between.
 */
static bool take_back(const struct answer *w, struct store_row *row,
		      struct record_version theirs)
{
	const struct record_version below[] = {
		{row->hlc - 1, row->node},
		{row->hlc, row->node - 1},
	};

	for (unsigned i = 0; i < 2; i++) {
		if ((i == 1 && row->node == 0) || record_version_cmp(below[i], theirs) <= 0)
			continue;
		row->hlc = below[i].hlc;
		row->node = below[i].node;
		row->deleted = true;
		row->body.n = 0;
		row->expires_ms = w->ask->wall_ms + TAKEN_BACK_MS;
		return true;
	}
	return false;
}

/* Should it have this row, or another one in its place? */
static bool is_for(struct answer *w, struct store_row *row, uint64_t key)
{
	const uint8_t *e = entry_of(w, key);
	bool shared = cluster_sharers(w->p->c, row, bit(w->p->index));

	if (!e)
		return shared && row_counts(row, w->ask->wall_ms) && may_offer(w, row, key);
	struct record_version theirs = {get_u64(e + 8), get_u32(e + 16)};
	struct record_version ours = {row->hlc, row->node};
	if (record_version_cmp(theirs, ours) >= 0 || !may_offer(w, row, key))
		return false;
	return shared || take_back(w, row, theirs);
}

static bool add_row(void *arg, const struct record *rec)
{
	struct answer *w = arg;
	struct buffer *b = &w->p->c->rows;
	struct store_row row = row_of(rec);
	uint64_t key = row_key(w->p->c, &row);

	if (!(w->ask->mask & 1u << bucket_of(key)) || !is_for(w, &row, key))
		return true;
	uint32_t n = (uint32_t)row_bytes(&row);
	if (n > CLUSTER_PUT_MAX_BYTES)
		return true;
	uint8_t *to = w->rows && b->n + n > BATCH_BYTES ? NULL : buffer_room(b, sizeof(n) + n);
	if (!to) {
		w->more = true;
		return false;
	}
	memcpy(to, &n, sizeof(n));
	row_write(&row, to + sizeof(n));
	b->n += sizeof(n) + n;
	w->rows++;
	return true;
}

static void say_rows(struct answer *w)
{
	struct cluster *c = w->p->c;
	Eaves__Envelope e = EAVES__ENVELOPE__INIT;
	Eaves__Rows m = EAVES__ROWS__INIT;
	uint8_t *at = c->rows.p;

	c->refs.n = 0;
	m.row = (ProtobufCBinaryData *)(void *)buffer_room(&c->refs,
							   (w->rows + 1) * sizeof(*m.row));
	if (!m.row)
		return;
	for (unsigned i = 0; i < w->rows; i++) {
		uint32_t n;
		memcpy(&n, at, sizeof(n));
		m.row[i] = (ProtobufCBinaryData){n, at + sizeof(n)};
		at += sizeof(n) + n;
	}
	m.id = w->ask->id;
	m.count = w->rows;
	m.n_row = w->rows;
	m.more = w->more;
	m.withheld = w->withheld;
	e.body_case = EAVES__ENVELOPE__BODY_ROWS;
	e.rows = &m;
	if (wire_send(w->p, &e) == 0)
		counter_add(&c->counters.repaired_sent, w->rows);
}

static bool in_order(const struct answer *w)
{
	for (size_t i = 1; i < w->n; i++)
		if (get_u64(w->ask->have.data + i * ENTRY_BYTES) <=
		    get_u64(w->ask->have.data + (i - 1) * ENTRY_BYTES))
			return false;
	return true;
}

bool pull_ask(struct peer *p, const Eaves__Ask *m)
{
	struct answer w = {.p = p, .ask = m, .n = m->have.len / ENTRY_BYTES};

	if (m->id == 0 || m->part >= RECORDS_PARTS || m->mask == 0 ||
	    m->have.len % ENTRY_BYTES != 0 || !in_order(&w))
		return false;
	if (!compare_may_look(p, 1))
		return true;
	cluster_inbox(p->c);
	send_flush(p);
	p->c->rows.n = 0;
	records_scan_part(p->c->records, m->part, add_row, &w);
	say_rows(&w);
	if (w.more)
		return true;
	p->sweep.counted[m->part] |= (uint16_t)m->mask;
	compare_withheld(p, m->part / GROUP_PARTS, w.uncounted);
	return true;
}
