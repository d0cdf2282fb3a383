/*
 * Anti-entropy: of each two nodes one sends digests of its table, a group of parts at a time,
 * the other says which buckets differ, and both then ask for what is newer in those (pull.c).
 * Slowly all the time; at once what may differ: after a node was away, or a queue was dropped;
 * and soon, a few times, what did differ: whether it is equal now only a comparison shows.
 *
 * A digest is the XOR of a hash of key (keyed) and version of each record that both share.  A
 * record counts until shortly before it would be forgotten, an hour after its end at the
 * earliest, whether it was swept into a deletion by then or not: so two nodes need not sweep at
 * the same time to be equal.
 */
#include "common/cluster/cluster_priv.h"

#include <stdlib.h>

enum {
	ALL_GROUPS = (1 << GROUPS) - 1,
	TICK_MS = 50,
	ANSWER_MS = 400, /* to Digests; then they are sent again */
	GAP_FIRST_MS = 100,
	/* Records this close to being forgotten do not count: clocks differ. */
	FORGOTTEN_MS = 300 * 1000,
	ROWS_PER_MS = 5,   /* of our table, looked through all the time */
	LOOK_ROWS = 4000,  /* at one go: less often woken, and not long at it */
	TOKENS_MAX = 1024, /* parts a node may have us look through, and as many a second */
};

/* ---- digests ---- */

uint64_t row_key(const struct cluster *c, const struct store_row *row)
{
	struct mac m;

	mac_init(&m, &c->conf.digest_key);
	mac_add_u64(&m, row->kind);
	mac_add(&m, row->group);
	mac_add(&m, row->name);
	return mac_final(&m);
}

static uint64_t mix(uint64_t z)
{
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

/* The key is a keyed hash already, what is mixed into it need not be hashed as dearly. */
static uint64_t row_digest(uint64_t key, const struct store_row *row)
{
	return mix(mix(key + mix(row->hlc)) + row->node);
}

bool row_counts(const struct store_row *row, uint64_t wall_ms)
{
	uint64_t forgotten = row->expires_ms;

	if (forgotten == 0)
		return true;
	if (!row->deleted)
		forgotten += RECORDS_TOMBSTONE_MS;
	return forgotten > wall_ms + FORGOTTEN_MS;
}

struct scan {
	struct cluster *c;
	uint64_t nodes, wall_ms;
	unsigned part; /* in the group */
};

static bool add_record(void *arg, const struct record *rec)
{
	const struct scan *s = arg;
	struct store_row row = row_of(rec);

	if (!row_counts(&row, s->wall_ms))
		return true;
	uint64_t nodes = cluster_sharers(s->c, &row, s->nodes);
	if (!nodes)
		return true;
	uint64_t key = row_key(s->c, &row), digest = row_digest(key, &row);
	unsigned at = s->part * BUCKETS + bucket_of(key);
	for (; nodes; nodes &= nodes - 1)
		s->c->digest[__builtin_ctzll(nodes)][at] ^= digest;
	return true;
}

/* Into c->digest, for all these nodes. */
static void scan_group(struct cluster *c, unsigned group, uint64_t nodes, uint64_t wall_ms)
{
	struct scan s = {.c = c, .nodes = nodes, .wall_ms = wall_ms};

	for (uint64_t left = nodes; left; left &= left - 1)
		memset(c->digest[__builtin_ctzll(left)], 0, sizeof(c->digest[0]));
	for (s.part = 0; s.part < GROUP_PARTS; s.part++)
		records_scan_part(c->records, group * GROUP_PARTS + s.part, add_record, &s);
}

/* ---- what may differ ---- */

/* One of two does: an edge, which has more to compare with, so that one look at its table is
 * for all; else the one whose name comes first. */
static bool begins(const struct peer *p)
{
	const struct cluster_conf *f = &p->c->conf;
	const struct cluster_node *we = &f->node[f->self], *they = &f->node[p->index];

	if (we->role != they->role)
		return we->role == CLUSTER_EDGE;
	return strcmp(we->name, they->name) < 0;
}

static void note_equal(struct peer *p)
{
	const struct sweep *s = &p->sweep;
	bool settled = p->open && !(s->unsure | s->theirs);
	uint64_t withheld = 0;

	for (unsigned g = 0; g < GROUPS; g++)
		withheld += s->withheld[g];
	atomic_store_explicit(&p->settled, settled, memory_order_relaxed);
	atomic_store_explicit(&p->equal, settled && !s->differs, memory_order_relaxed);
	atomic_store_explicit(&p->withheld, withheld, memory_order_relaxed);
}

void compare_soon(struct cluster *c)
{
	msec soon = loop_now(c->loop) + 1;

	if (c->started && !c->ending &&
	    (!wheel_armed(&c->compare_timer) || c->compare_timer.due > soon))
		wheel_arm(loop_wheel(c->loop), &c->compare_timer, soon);
}

void compare_doubt(struct peer *p, unsigned group)
{
	p->sweep.unsure |= 1u << group;
	p->sweep.seen &= ~(1u << group);
	note_equal(p);
	compare_soon(p->c);
}

void compare_unsure(struct peer *p)
{
	struct sweep *s = &p->sweep;

	s->unsure = ALL_GROUPS;
	s->seen = 0;
	memset(s->id, 0, sizeof(s->id));
	memset(s->asked, 0, sizeof(s->asked));
	memset(s->again, 0, sizeof(s->again));
	memset(s->gap_ms, 0, sizeof(s->gap_ms));
	pull_stop(p);
	note_equal(p);
	compare_soon(p->c);
}

void compare_begin(struct peer *p)
{
	p->sweep.theirs = ALL_GROUPS; /* until it says something else */
	compare_unsure(p);
}

void compare_end(struct peer *p)
{
	for (unsigned g = 0; g < GROUPS; g++)
		p->c->compare_nodes[g] &= ~bit(p->index);
	pull_stop(p);
	note_equal(p);
}

void compare_theirs(struct peer *p, uint32_t unsure)
{
	p->sweep.theirs = unsure & ALL_GROUPS;
	note_equal(p);
	if (p->sweep.theirs)
		compare_soon(p->c);
}

void compare_withheld(struct peer *p, unsigned group, uint32_t n)
{
	if (n == 0)
		return;
	p->sweep.withheld[group] += n;
	note_equal(p);
}

/* A group was compared, or what was asked for has come. */
void compare_settle(struct peer *p, unsigned group)
{
	if (!(p->sweep.seen & 1u << group) || pull_busy(p, group))
		return;
	p->sweep.unsure &= ~(1u << group);
	if (!(p->sweep.differs & 1u << group))
		p->sweep.gap_ms[group] = 0;
	note_equal(p);
}

/* ---- when ---- */

static void want_digests(struct peer *p, unsigned group, msec now)
{
	struct sweep *s = &p->sweep;

	s->gap_ms[group] = s->gap_ms[group] ? 2 * s->gap_ms[group] : GAP_FIRST_MS;
	if (s->gap_ms[group] > p->c->conf.compare_ms)
		s->gap_ms[group] = p->c->conf.compare_ms;
	s->again[group] = now + s->gap_ms[group];
	p->c->compare_nodes[group] |= bit(p->index);
	gate_post(p->c, WORK_STEP);
}

/* What differed and is to be looked at again soon; in the end the slow comparison will do. */
static uint32_t differing(const struct peer *p)
{
	uint32_t groups = p->sweep.differs;

	for (unsigned g = 0; g < GROUPS; g++)
		if (p->sweep.gap_ms[g] >= p->c->conf.compare_ms)
			groups &= ~(1u << g);
	return groups;
}

/* False: nothing of it may differ. */
static bool look_at_peer(struct peer *p, msec now)
{
	const struct sweep *s = &p->sweep;
	uint32_t unsure = s->unsure | s->theirs | differing(p);

	if (!p->open || !p->greeted)
		return false;
	bool pulling = pull_look(p, now);
	if (!begins(p))
		return pulling;
	for (unsigned g = 0; g < GROUPS; g++)
		if ((unsure & 1u << g) && now >= s->again[g] && !pull_busy(p, g) &&
		    (!s->asked[g] || now - s->asked[g] >= ANSWER_MS))
			want_digests(p, g, now);
	return pulling || unsure;
}

/* Some groups after the others, for all nodes at once. */
static void look_slowly(struct cluster *c, msec now)
{
	uint64_t rows = records_counters(c->records).records, nodes = 0;
	uint64_t whole = rows / ROWS_PER_MS, groups = LOOK_ROWS / (rows / GROUPS + 1);

	for (unsigned i = 0; i < c->conf.n; i++) {
		struct peer *p = &c->peer[i];
		nodes |= p->open && p->greeted && begins(p) ? bit(i) : 0;
	}
	if (groups < 1)
		groups = 1;
	if (groups > GROUPS)
		groups = GROUPS;
	for (uint64_t i = 0; i < groups; i++, c->slow_group = (c->slow_group + 1) % GROUPS)
		c->compare_nodes[c->slow_group] |= nodes;
	if (nodes)
		gate_post(c, WORK_STEP);
	if (whole < c->conf.compare_ms)
		whole = c->conf.compare_ms;
	c->slow_next = now + (whole * groups + GROUPS - 1) / GROUPS;
}

static void on_tick(struct wheel_timer *t, msec tick)
{
	struct cluster *c = container_of(t, struct cluster, compare_timer);
	msec now = loop_now(c->loop);
	bool busy = false;

	(void)tick;
	for (unsigned i = 0; i < c->conf.n; i++)
		busy |= look_at_peer(&c->peer[i], now);
	if (now >= c->slow_next)
		look_slowly(c, now);
	msec next = busy && now + TICK_MS < c->slow_next ? now + TICK_MS : c->slow_next;
	wheel_arm(loop_wheel(c->loop), t, next);
}

/* ---- messages ---- */

static void say_digests(struct peer *p, unsigned group, uint64_t wall_ms)
{
	struct cluster *c = p->c;
	struct sweep *s = &p->sweep;
	Eaves__Envelope e = EAVES__ENVELOPE__INIT;
	Eaves__Digests d = EAVES__DIGESTS__INIT;
	uint8_t bytes[GROUP_DIGESTS * 8];

	for (unsigned i = 0; i < GROUP_DIGESTS; i++)
		put_u64(bytes + 8 * i, c->digest[p->index][i]);
	s->id[group] = d.id = ++c->next_id;
	s->asked[group] = loop_now(c->loop);
	d.group = group;
	d.wall_ms = wall_ms;
	d.digest = (ProtobufCBinaryData){sizeof(bytes), bytes};
	e.body_case = EAVES__ENVELOPE__BODY_DIGESTS;
	e.digests = &d;
	wire_send(p, &e);
}

static bool digests_step(struct cluster *c)
{
	unsigned group = 0;

	while (group < GROUPS && !c->compare_nodes[group])
		group++;
	if (group == GROUPS)
		return false;
	uint64_t nodes = c->compare_nodes[group], wall_ms = time_wall_ms();
	c->compare_nodes[group] = 0;
	/* What is in the table is to be on its way before its digest. */
	cluster_inbox(c);
	for (uint64_t left = nodes; left; left &= left - 1)
		send_flush(&c->peer[__builtin_ctzll(left)]);
	scan_group(c, group, nodes, wall_ms);
	for (; nodes; nodes &= nodes - 1) {
		struct peer *p = &c->peer[__builtin_ctzll(nodes)];
		if (p->open)
			say_digests(p, group, wall_ms);
	}
	return true;
}

/* One piece of work a round of the loop: messages come first. */
void compare_step(struct cluster *c)
{
	bool pulls_first = c->step_turn++ & 1, did;

	did = pulls_first ? pull_step(c) || digests_step(c) : digests_step(c) || pull_step(c);
	if (did)
		gate_post(c, WORK_STEP);
}

bool compare_may_look(struct peer *p, unsigned parts)
{
	struct sweep *s = &p->sweep;
	msec now = loop_now(p->c->loop);
	uint64_t tokens = s->tokens + (now - s->tokens_at) * TOKENS_MAX / 1000;

	s->tokens = tokens < TOKENS_MAX ? (uint32_t)tokens : TOKENS_MAX;
	s->tokens_at = now;
	if (s->tokens < parts)
		return false;
	s->tokens -= parts;
	return true;
}

static void say_differences(struct peer *p, const Eaves__Digests *d, const uint16_t *mask)
{
	Eaves__Envelope e = EAVES__ENVELOPE__INIT;
	Eaves__Differences m = EAVES__DIFFERENCES__INIT;
	uint8_t bytes[GROUP_PARTS * 2];

	for (unsigned i = 0; i < GROUP_PARTS; i++) {
		bytes[2 * i] = (uint8_t)mask[i];
		bytes[2 * i + 1] = (uint8_t)(mask[i] >> 8);
	}
	m.id = d->id;
	m.group = d->group;
	m.unsure = p->sweep.unsure;
	m.mask = (ProtobufCBinaryData){sizeof(bytes), bytes};
	e.body_case = EAVES__ENVELOPE__BODY_DIFFERENCES;
	e.differences = &m;
	wire_send(p, &e);
}

/* Asks for what differs; with nothing, the group is settled. */
static void compared(struct peer *p, unsigned group, const uint16_t *mask)
{
	counter_inc(&p->c->counters.compared);
	p->sweep.seen |= 1u << group;
	p->sweep.differs &= ~(1u << group);
	p->sweep.withheld[group] = 0;
	for (unsigned i = 0; i < GROUP_PARTS; i++) {
		p->sweep.counted[group * GROUP_PARTS + i] = 0;
		if (!mask[i])
			continue;
		p->sweep.differs |= 1u << group;
		pull_add(p, group * GROUP_PARTS + i, mask[i]);
	}
	note_equal(p);
	compare_settle(p, group);
}

bool compare_digests(struct peer *p, const Eaves__Digests *d)
{
	struct cluster *c = p->c;
	uint16_t mask[GROUP_PARTS] = {0};

	if (d->id == 0 || d->group >= GROUPS || d->digest.len != (size_t)GROUP_DIGESTS * 8)
		return false;
	if (!compare_may_look(p, GROUP_PARTS))
		return true;
	cluster_inbox(c);
	send_flush(p);
	scan_group(c, d->group, bit(p->index), d->wall_ms);
	for (unsigned i = 0; i < GROUP_DIGESTS; i++)
		if (get_u64(d->digest.data + 8 * i) != c->digest[p->index][i])
			mask[i / BUCKETS] |= (uint16_t)(1u << i % BUCKETS);
	compared(p, d->group, mask);
	say_differences(p, d, mask);
	return true;
}

bool compare_differences(struct peer *p, const Eaves__Differences *d)
{
	struct sweep *s = &p->sweep;
	uint16_t mask[GROUP_PARTS];

	if (d->group >= GROUPS || d->mask.len != (size_t)GROUP_PARTS * 2)
		return false;
	if (d->id == 0 || d->id != s->id[d->group])
		return true; /* late */
	s->id[d->group] = 0;
	s->asked[d->group] = 0;
	for (unsigned i = 0; i < GROUP_PARTS; i++)
		mask[i] = (uint16_t)(d->mask.data[2 * i] | d->mask.data[2 * i + 1] << 8);
	compared(p, d->group, mask);
	compare_theirs(p, d->unsure);
	return true;
}

/* ---- beginning and end ---- */

void compare_init(struct cluster *c)
{
	wheel_timer_init(&c->compare_timer, on_tick);
}

void compare_start(struct cluster *c)
{
	compare_soon(c);
}

void compare_stop(struct cluster *c)
{
	wheel_stop(loop_wheel(c->loop), &c->compare_timer);
	free(c->have.p);
	free(c->rows.p);
	free(c->refs.p);
}
