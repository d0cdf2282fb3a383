/*
 * The store that common/records sees, and second places.  put copies the rows into a unit and
 * hands it over; in the loop's thread the unit goes to all nodes that share it (send.c), and
 * whoever waits for it hears as soon as one of them, or the store below, has it.
 */
#include "common/cluster/cluster_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- units ---- */

void unit_unref(struct unit *u)
{
	if (--u->refs)
		return;
	gate_unref(u->gate);
	free(u);
}

struct unit *unit_ref(struct unit *u)
{
	u->refs++;
	return u;
}

ProtobufCBinaryData unit_row(const struct unit *u, size_t *at)
{
	uint32_t n;
	memcpy(&n, u->data + *at, sizeof(n));
	ProtobufCBinaryData row = {n, (uint8_t *)(uintptr_t)u->data + *at + sizeof(n)};
	*at += sizeof(n) + n;
	return row;
}

static struct unit *unit_alloc(struct cluster *c, size_t bytes, unsigned n)
{
	struct unit *u = malloc(sizeof(*u) + bytes);

	if (!u)
		return NULL;
	memset(u, 0, sizeof(*u));
	list_init(&u->link);
	u->gate = c->gate;
	gate_ref(c->gate);
	u->refs = 1;
	u->bytes = (uint32_t)(sizeof(*u) + bytes);
	u->n = (uint16_t)n;
	return u;
}

static int unit_new(struct cluster *c, const struct store_row *rows, unsigned n,
		    struct unit **ret)
{
	size_t bytes = 0, at = 0;

	for (unsigned i = 0; i < n; i++)
		bytes += sizeof(uint32_t) + row_bytes(&rows[i]);
	if (n > RECORDS_BATCH_MAX || bytes > CLUSTER_PUT_MAX_BYTES)
		return -EMSGSIZE;
	struct unit *u = unit_alloc(c, bytes, n);
	if (!u)
		return -ENOMEM;
	for (unsigned i = 0; i < n; i++) {
		uint32_t size =
			(uint32_t)row_write(&rows[i], (uint8_t *)u->data + at + sizeof(size));
		memcpy(u->data + at, &size, sizeof(size));
		at += sizeof(size) + size;
	}
	*ret = u;
	return 0;
}

/* The rows of u whose mask has the bit. */
static struct unit *unit_part(struct cluster *c, const struct unit *u, const uint64_t *mask,
			      uint64_t wanted)
{
	size_t bytes = 0, at = 0, to = 0;
	unsigned n = 0;

	for (unsigned i = 0; i < u->n; i++) {
		size_t row = unit_row(u, &at).len;
		bytes += mask[i] & wanted ? sizeof(uint32_t) + row : 0;
		n += (mask[i] & wanted) != 0;
	}
	struct unit *part = unit_alloc(c, bytes, n);
	if (!part)
		return NULL;
	at = 0;
	for (unsigned i = 0; i < u->n; i++) {
		size_t from = at;
		unit_row(u, &at);
		if (!(mask[i] & wanted))
			continue;
		memcpy(part->data + to, u->data + from, at - from);
		to += at - from;
	}
	return part;
}

/* ---- who gets it ---- */

uint64_t cluster_sharers(const struct cluster *c, const struct store_row *row, uint64_t among)
{
	uint64_t found = 0;

	if (c->ops.sharers)
		return c->ops.sharers(c->ops.arg, row) & among;
	for (; among; among &= among - 1) {
		unsigned i = (unsigned)__builtin_ctzll(among);
		if (c->ops.shares(c->ops.arg, i, row))
			found |= bit(i);
	}
	return found;
}

/* Those of the nodes that could give the record back to us: places where it is safe. */
static uint64_t givers(const struct cluster *c, const struct store_row *row, uint64_t among)
{
	uint64_t found = 0;

	for (; among; among &= among - 1) {
		unsigned i = (unsigned)__builtin_ctzll(among);
		if (c->ops.may_write(c->ops.arg, i, row))
			found |= bit(i);
	}
	return found;
}

/* Of those, who gets it at once.  The partner does: it may have to go on with it next, and its
 * word is enough for who waits; should that not come, the others' do, a little later. */
static uint64_t at_once(const struct cluster *c, const struct unit *u, uint64_t to)
{
	int partner = cluster_partner(c, c->conf.self);

	if (partner >= 0 && (to & bit((unsigned)partner)))
		return bit((unsigned)partner);
	return u->done ? to : 0;
}

/* False: it does not. */
static bool send_to(struct cluster *c, struct unit *u, unsigned node, const uint64_t *mask,
		    bool whole, bool soon)
{
	struct peer *p = &c->peer[node];
	struct unit *part = whole ? unit_ref(u) : unit_part(c, u, mask, bit(node));

	if (!part) {
		compare_unsure(p); /* it gets it that way */
		return false;
	}
	bool queued = send_add(p, part, soon);
	unit_unref(part);
	return queued;
}

/*
 * To those who share it and have not got it yet.  While somebody waits, first to the safe
 * places alone: what was lost with us would else stay for ever at nodes that cannot give it
 * back.  Who is not there now gets it by comparison.
 */
static void spread(struct cluster *c, struct unit *u)
{
	uint64_t mask[RECORDS_BATCH_MAX], any = 0, all = UINT64_MAX, safe = UINT64_MAX;
	uint64_t nodes = 0;
	struct store_row row;
	size_t at = 0;

	for (unsigned i = 0; i < c->conf.n; i++)
		nodes |= c->peer[i].open ? bit(i) & ~u->given : 0;
	for (unsigned i = 0; i < u->n; i++) {
		bool read = row_read(c, unit_row(u, &at), &row);
		mask[i] = read ? cluster_sharers(c, &row, nodes) : 0;
		any |= mask[i];
		all &= mask[i];
		if (u->done)
			safe &= givers(c, &row, mask[i] & safe);
	}
	bool first = u->done && (safe & any || u->below == BELOW_PENDING);
	uint64_t to = first ? safe & any : any;
	u->given |= to;
	u->rest = any != to;
	uint64_t soon = at_once(c, u, to);
	for (; to; to &= to - 1) {
		unsigned node = (unsigned)__builtin_ctzll(to);
		if (send_to(c, u, node, mask, all & bit(node), soon & bit(node)) && u->done)
			u->places |= safe & bit(node);
	}
}

/* ---- who waits ---- */

static void wait_in(struct cluster *c, struct list *l, struct unit *u)
{
	unit_ref(u);
	list_append(l, &u->link);
	counter_inc(&c->counters.waiting);
}

static void wait_end(struct cluster *c, struct unit *u)
{
	if (list_empty(&u->link))
		return;
	list_remove(&u->link);
	counter_dec(&c->counters.waiting);
	unit_unref(u);
}

/* The caller has a reference, here and in what calls this. */
static void finish(struct cluster *c, struct unit *u, int error)
{
	void (*done)(void *arg, int error) = u->done;

	u->done = NULL;
	wait_end(c, u);
	if (u->rest && !c->ending)
		spread(c, u);
	if (done)
		done(u->arg, error);
}

/* No other node has it, or has said so in time. */
static void finish_alone(struct cluster *c, struct unit *u)
{
	if (u->below_holds) {
		finish(c, u, 0);
		return;
	}
	counter_inc(&c->counters.alone);
	if (!c->ending && cluster_may_log(c, LOG_ALONE))
		log_event(LOG_WARN, "cluster-no-second-place",
			  LOG_N("so_far", counter_get(&c->counters.alone)));
	finish(c, u, -EIO);
}

/* Something is known about one of its places. */
static void settle(struct cluster *c, struct unit *u)
{
	if (!u->done)
		return;
	if (u->held)
		finish(c, u, 0);
	else if (!u->places && u->below != BELOW_PENDING)
		finish_alone(c, u);
}

void place_confirmed(struct cluster *c, struct unit *u, unsigned node)
{
	if (!(u->places & bit(node)))
		return;
	u->held = true;
	settle(c, u);
}

void place_lost(struct cluster *c, struct unit *u, unsigned node)
{
	if (!(u->places & bit(node)))
		return;
	u->places &= ~bit(node);
	if (list_empty(&u->link))
		return;
	for (uint64_t left = u->places; left; left &= left - 1) /* theirs is the word now */
		send_within(&c->peer[__builtin_ctzll(left)], 0);
	settle(c, u);
}

static void arm_waiting(struct cluster *c)
{
	if (!list_empty(&c->waiting) && !wheel_armed(&c->waiting_timer))
		wheel_arm(loop_wheel(c->loop), &c->waiting_timer,
			  container_of(c->waiting.next, struct unit, link)->due);
}

static void on_waited(struct wheel_timer *t, msec tick)
{
	struct cluster *c = container_of(t, struct cluster, waiting_timer);
	msec now = loop_now(c->loop);

	(void)tick;
	while (!list_empty(&c->waiting)) {
		struct unit *u = container_of(c->waiting.next, struct unit, link);
		if (u->due > now)
			break;
		unit_ref(u);
		finish_alone(c, u);
		unit_unref(u);
	}
	arm_waiting(c);
}

/* The store below has answered.  What is guarded is for those who share that store, who do not
 * read it again: while they live they are to have it too before anybody is told yes. */
static void look_below(struct cluster *c, struct unit *u)
{
	if (u->below != BELOW_KEPT || !c->below.is_place || !u->below_all)
		return;
	if (u->guarded)
		u->below_holds = true;
	else
		u->held = true;
}

/* Its way begins: at once, or, where the store below has the first word, after that. */
static void go(struct cluster *c, struct unit *u)
{
	look_below(c, u);
	if (u->below == BELOW_CONFLICT) {
		finish(c, u, -EAGAIN);
		return;
	}
	spread(c, u);
	if (!u->done)
		return;
	if (u->n == 0)
		u->held = true; /* all of it was there already */
	u->due = loop_now(c->loop) + c->conf.second_place_ms;
	wait_in(c, &c->waiting, u);
	settle(c, u);
	arm_waiting(c);
}

static void on_put(struct cluster *c, struct item *it)
{
	struct unit *u = container_of(it, struct unit, item);

	cluster_unreserve(c, u->bytes);
	u->started = true;
	if (c->ending)
		finish(c, u, -EIO);
	else if (u->guarded && u->below == BELOW_PENDING)
		wait_in(c, &c->asking, u);
	else
		go(c, u);
	unit_unref(u);
}

/* ---- the store below ---- */

/* c NULL: the cluster has gone, and with it all other references. */
static void on_below(struct cluster *c, struct item *it)
{
	struct unit *u = container_of(it, struct unit, below_item);

	u->below = u->answer;
	if (c && !c->ending && u->started) {
		if (u->guarded) {
			wait_end(c, u);
			go(c, u);
		} else {
			look_below(c, u);
			settle(c, u);
		}
	}
	unit_unref(u);
}

/* From any thread, even before put has returned. */
static void below_done(void *arg, int error)
{
	struct unit *u = arg;

	u->answer = error == 0 ? BELOW_KEPT : error == -EAGAIN ? BELOW_CONFLICT : BELOW_FAILED;
	gate_answer(u->gate, &u->below_item);
}

/* Those of the rows that the store below takes: in `rows` itself when it is all of them. */
static const struct store_row *pick(const struct cluster *c, const struct store_row *rows,
				    unsigned n, struct store_row *some, unsigned *ret_n)
{
	*ret_n = 0;
	if (!c->below.store)
		return rows;
	if (!c->below.takes) {
		*ret_n = n;
		return rows;
	}
	for (unsigned i = 0; i < n; i++)
		if (c->below.takes(c->below.arg, &rows[i]))
			some[(*ret_n)++] = rows[i];
	return *ret_n == n ? rows : some;
}

static int put_below(struct cluster *c, struct unit *u, const struct store_row *rows,
		     unsigned n)
{
	struct store_row some[RECORDS_BATCH_MAX];
	struct store *s = c->below.store;
	unsigned k;

	rows = pick(c, rows, n, some, &k);
	for (unsigned i = 0; i < k; i++)
		u->guarded |= rows[i].guarded;
	if (k == 0)
		return 0;
	u->below_all = k == n;
	if (!c->below.is_place && !u->guarded)
		return s->ops->put(s, rows, k, NULL, NULL);
	u->below = BELOW_PENDING;
	gate_ref(u->gate); /* until it has answered */
	unit_ref(u);
	int rc = s->ops->put(s, rows, k, below_done, u);
	if (rc == 0)
		return 0;
	unit_unref(u);
	gate_unref(u->gate);
	u->below = BELOW_FAILED;
	return c->below.is_place ? 0 : rc;
}

/* ---- the operations of a store ---- */

static int put(struct store *s, const struct store_row *rows, unsigned n,
	       void (*done)(void *arg, int error), void *arg)
{
	struct cluster *c = container_of(s, struct cluster, store);
	struct unit *u;
	int rc = unit_new(c, rows, n, &u);

	if (rc < 0)
		return rc;
	u->item.run = on_put;
	u->below_item.run = on_below;
	u->done = done;
	u->arg = arg;
	rc = cluster_reserve(c, u->bytes);
	if (rc == 0) {
		rc = put_below(c, u, rows, n);
		if (rc < 0)
			cluster_unreserve(c, u->bytes);
	}
	if (rc < 0) {
		unit_unref(u);
		return rc;
	}
	cluster_hand(c, &u->item);
	return 0;
}

/* Tells somebody later, not under the lock that he holds now. */
struct later {
	struct item item;
	void (*done)(void *arg, int error);
	void *arg;
	int error;
};

static void on_later(struct cluster *c, struct item *it)
{
	struct later *l = container_of(it, struct later, item);

	l->done(l->arg, c->ending ? -EIO : l->error);
	free(l);
}

static int tell_later(struct cluster *c, void (*done)(void *arg, int error), void *arg,
		      int error)
{
	if (!done)
		return 0;
	struct later *l = malloc(sizeof(*l));
	if (!l)
		return -ENOMEM;
	*l = (struct later){{NULL, on_later}, done, arg, error};
	cluster_hand(c, &l->item);
	return 0;
}

static int merge(struct store *s, const struct store_row *rows, unsigned n,
		 void (*done)(void *arg, int error), void *arg)
{
	struct cluster *c = container_of(s, struct cluster, store);
	struct store_row some[RECORDS_BATCH_MAX];
	struct store *below = c->below.store;
	unsigned k;

	if (c->ending)
		return -ENOSPC;
	if (n > RECORDS_BATCH_MAX)
		return -EMSGSIZE;
	rows = pick(c, rows, n, some, &k);
	if (k == 0)
		return tell_later(c, done, arg, 0);
	int rc = (below->ops->merge ? below->ops->merge : below->ops->put)(below, rows, k, done,
									   arg);
	return rc < 0 && c->below.is_place ? tell_later(c, done, arg, -EIO) : rc;
}

static struct store *below_of(struct store *s)
{
	return container_of(s, struct cluster, store)->below.store;
}

static int load(struct store *s, uint64_t wall_ms,
		int (*each)(void *arg, const struct store_row *row), void *arg)
{
	struct store *below = below_of(s);
	return below ? below->ops->load(below, wall_ms, each, arg) : 0;
}

static void expire(struct store *s, uint64_t wall_ms)
{
	struct store *below = below_of(s);
	if (below)
		below->ops->expire(below, wall_ms);
}

static void flush(struct store *s)
{
	struct store *below = below_of(s);
	if (below)
		below->ops->flush(below);
}

static int backup(struct store *s, const char *path, char *ret_error)
{
	struct store *below = below_of(s);
	if (below && below->ops->backup)
		return below->ops->backup(below, path, ret_error);
	snprintf(ret_error, 256, "this node keeps no file of its own");
	return -ENOTSUP;
}

static void not_freed(struct store *s)
{
	(void)s;
}

const struct store_ops cluster_store_ops = {
	.load = load,
	.put = put,
	.merge = merge,
	.expire = expire,
	.flush = flush,
	.backup = backup,
	.free = not_freed,
};

/* ---- beginning and end ---- */

void place_init(struct cluster *c)
{
	list_init(&c->waiting);
	list_init(&c->asking);
	wheel_timer_init(&c->waiting_timer, on_waited);
}

static void end_all(struct cluster *c, struct list *l)
{
	while (!list_empty(l)) {
		struct unit *u = unit_ref(container_of(l->next, struct unit, link));
		finish(c, u, -EIO);
		unit_unref(u);
	}
}

void place_end(struct cluster *c)
{
	wheel_stop(loop_wheel(c->loop), &c->waiting_timer);
	end_all(c, &c->waiting);
	end_all(c, &c->asking);
}
