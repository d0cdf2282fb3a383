/*
 * The table: memory of transactions (slabs, ids), entry and exit, timers, errors from the rim.
 * Life time is told in txn_priv.h.  Ids: slot and a 40-bit generation of the slot, so that an
 * id is not used again in the life of a node.  Not here: matching (match.c), what a user calls
 * (user.c), what comes from the network (receive.c).
 */
#include "common/base/log.h"
#include "common/txn/txn_priv.h"

#include <stdlib.h>

const struct txn_timers txn_timers_default = {
	.t1 = 500,
	.t2 = 4000,
	.t4 = 5000,
	.timer_100 = 200,
};

static void reap(struct txn_table *tt, msec now);

static void fire_reap(struct wheel_timer *t, msec now)
{
	struct txn_table *tt = container_of(t, struct txn_table, reap);
	table_enter(tt);
	table_leave(tt, now);
}

static void fire_retransmit(struct wheel_timer *w, msec now)
{
	struct txn *t = container_of(w, struct txn, retransmit);
	struct txn_table *tt = t->tt;
	table_enter(tt);
	if (t->machine->retransmit)
		t->machine->retransmit(t, now);
	table_leave(tt, now);
}

static void fire_life(struct wheel_timer *w, msec now)
{
	struct txn *t = container_of(w, struct txn, life);
	struct txn_table *tt = t->tt;
	table_enter(tt);
	t->machine->life(t, now);
	table_leave(tt, now);
}

static size_t slabs_max(const struct txn_table *tt)
{
	return tt->limit / TXN_SLAB + 1 + TXN_SPARE_SLABS;
}

static int hash_init(struct txn_table *tt, struct txn_hash *h, size_t node_off)
{
	return txn_hash_init(h, tt->limit, &tt->slab, node_off);
}

struct txn_table *txn_table_new(struct wheel *w, const struct txn_timers *timers,
				const struct txn_ops *ops, const struct mac_key *key,
				size_t limit)
{
	struct txn_table *tt = calloc(1, sizeof(*tt));
	if (!tt)
		return NULL;
	tt->wheel = w;
	tt->timers = *timers;
	tt->ops = *ops;
	tt->key = *key;
	tt->limit = limit < TXN_LIMIT_MAX ? limit : TXN_LIMIT_MAX;
	list_init(&tt->errors);
	list_init(&tt->dead);
	list_init(&tt->completed);
	list_init(&tt->free);
	wheel_timer_init(&tt->reap, fire_reap);
	tt->slab = calloc(slabs_max(tt), sizeof(struct txn *));
	if (!tt->slab || hash_init(tt, &tt->clients, offsetof(struct txn, key)) < 0 ||
	    hash_init(tt, &tt->servers, offsetof(struct txn, key)) < 0 ||
	    hash_init(tt, &tt->merges, offsetof(struct txn, server.merge)) < 0) {
		txn_table_free(tt);
		return NULL;
	}
	return tt;
}

void txn_table_free(struct txn_table *tt)
{
	if (!tt)
		return;
	/* gone() may still make calls, even new transactions: their errors are nobody's. */
	tt->depth++;
	for (size_t live = tt->counters.live; live; live = tt->counters.live) {
		for (size_t i = 0; i < tt->nslabs * TXN_SLAB; i++) {
			struct txn *t = &tt->slab[i / TXN_SLAB][i % TXN_SLAB];
			if (t->tt && !t->terminated)
				txn_terminate(t);
		}
		tt->limit = 0;
		reap(tt, tt->wheel->now);
	}
	wheel_stop(tt->wheel, &tt->reap);
	for (size_t i = 0; i < tt->nslabs; i++)
		free(tt->slab[i]);
	free(tt->slab);
	txn_hash_done(&tt->clients);
	txn_hash_done(&tt->servers);
	txn_hash_done(&tt->merges);
	free(tt);
}

void txn_table_tell_merged(struct txn_table *tt)
{
	tt->tell_merged = true;
}

const struct txn_counters *txn_table_counters(const struct txn_table *tt)
{
	return &tt->counters;
}

/* ---- memory ---- */

static bool new_slab(struct txn_table *tt)
{
	if (tt->nslabs >= slabs_max(tt))
		return false;
	struct txn *v = aligned_alloc(_Alignof(struct txn), TXN_SLAB * sizeof(*v));
	if (!v)
		return false;
	memset(v, 0, TXN_SLAB * sizeof(*v));
	for (size_t i = 0; i < TXN_SLAB; i++) {
		/* Slot 0 is never used, so that no id is 0. */
		v[i].id = tt->nslabs * TXN_SLAB + i + 1;
		list_append(&tt->free, &v[i].dead);
	}
	tt->slab[tt->nslabs++] = v;
	return true;
}

static const struct txn_machine *machine_of(enum txn_kind kind)
{
	static const struct txn_machine *const machines[] = {
		[TXN_INVITE_CLIENT] = &txn_invite_client,
		[TXN_CLIENT] = &txn_client,
		[TXN_INVITE_SERVER] = &txn_invite_server,
		[TXN_SERVER] = &txn_server,
	};
	return machines[kind];
}

/* Timer J has run for 8*T1 or longer: whoever is still there has had two more repeats of its
 * request answered since, and the limit is not to refuse new ones for the rest. */
static bool evict(struct txn_table *tt, msec now)
{
	if (list_empty(&tt->completed))
		return false;
	struct txn *t = container_of(tt->completed.next, struct txn, dead);
	if (now + txn_64t1(t) < t->life.due + 8 * tt->timers.t1)
		return false;
	counter_inc(&tt->counters.evicted);
	txn_terminate(t);
	return true;
}

/* What has ended takes no place, freed or not. */
static bool has_room(struct txn_table *tt)
{
	return tt->counters.live - tt->ndead < tt->limit || evict(tt, tt->wheel->now);
}

struct txn *table_alloc(struct txn_table *tt, enum txn_kind kind)
{
	if (!has_room(tt) || (list_empty(&tt->free) && !new_slab(tt))) {
		counter_inc(&tt->counters.refused);
		return NULL;
	}
	struct txn *t = container_of(tt->free.next, struct txn, dead);
	uint64_t id = (t->id + ((uint64_t)1 << TXN_SLOT_BITS)) & TXN_ID_MASK;
	list_remove(&t->dead);
	memset(t, 0, sizeof(*t));
	t->tt = tt;
	t->kind = kind;
	t->id = id;
	t->machine = machine_of(kind);
	list_init(&t->errors);
	list_init(&t->dead);
	wheel_timer_init(&t->retransmit, fire_retransmit);
	wheel_timer_init(&t->life, fire_life);
	counter_inc(&tt->counters.live);
	return t;
}

void table_unalloc(struct txn *t)
{
	struct txn_table *tt = t->tt;
	t->tt = NULL;
	/* The one used last is taken first: it is still in the cache. */
	list_insert_after(&tt->free, &t->dead);
	counter_dec(&tt->counters.live);
}

static bool is_client(const struct txn *t)
{
	return t->kind == TXN_INVITE_CLIENT || t->kind == TXN_CLIENT;
}

static void gone(struct txn *t)
{
	if (is_client(t)) {
		const struct txn_client_user *u = t->client.user;
		if (u && u->gone)
			u->gone(t->arg, t);
	} else {
		const struct txn_server_user *u = t->server.user;
		if (u && u->gone)
			u->gone(t->arg, t);
	}
}

static void destroy(struct txn *t)
{
	gone(t);
	list_remove(&t->errors);
	bytes_unref(t->last);
	if (is_client(t)) {
		bytes_unref(t->client.req);
		bytes_unref(t->client.cancel_lines);
	} else {
		sip_kept_unref(t->server.req);
	}
	table_unalloc(t);
}

void txn_terminate(struct txn *t)
{
	struct txn_table *tt = t->tt;
	if (t->terminated)
		return;
	t->terminated = true;
	txn_stop_retransmit(t);
	txn_stop_life(t);
	list_remove(&t->errors);
	if (is_client(t)) {
		txn_hash_remove(&tt->clients, txn_slot(t));
	} else {
		tt->servers_of[t->method]--;
		txn_hash_remove(&tt->servers, txn_slot(t));
		txn_hash_remove(&tt->merges, txn_slot(t));
	}
	list_remove(&t->dead);
	list_append(&tt->dead, &t->dead);
	tt->ndead++;
}

void txn_complete(struct txn *t)
{
	list_append(&t->tt->completed, &t->dead);
}

/* RFC 2543's rule for matching reads the request; a branch is known by its keyed hash, which
 * nobody outside can make collide. */
void txn_drop_request(struct txn *t)
{
	if (is_client(t)) {
		t->client.req = bytes_unref(t->client.req);
		t->client.branch = t->client.method_text = span_of(NULL, 0);
	} else if (t->server.cookie) {
		t->server.req = sip_kept_unref(t->server.req);
		t->server.branch = t->server.host = span_of(NULL, 0);
	}
}

/* ---- entry and exit ---- */

/* Only with the table's own frame on the stack (depth 1). */
static void reap(struct txn_table *tt, msec now)
{
	struct list errors;
	list_init(&errors);
	if (!list_empty(&tt->errors)) {
		/* What fails while these are told waits for its own turn: no endless loop here.
		 */
		list_insert_after(&tt->errors, &errors);
		list_remove(&tt->errors);
	}
	while (!list_empty(&errors)) {
		struct txn *t = container_of(errors.next, struct txn, errors);
		list_remove(&t->errors);
		if (!t->terminated)
			t->machine->transport_error(t, now);
	}
	while (!list_empty(&tt->dead)) {
		struct txn *t = container_of(tt->dead.next, struct txn, dead);
		list_remove(&t->dead);
		tt->ndead--;
		destroy(t);
	}
}

static void arm_reap(struct txn_table *tt, msec now)
{
	msec due = now + (list_empty(&tt->errors) ? TXN_REAP_MS : 1);
	if (!wheel_armed(&tt->reap) || due < tt->reap.due)
		wheel_arm(tt->wheel, &tt->reap, due);
}

static bool work_left(const struct txn_table *tt)
{
	return !list_empty(&tt->errors) || !list_empty(&tt->dead);
}

void table_leave(struct txn_table *tt, msec now)
{
	if (tt->depth == 1 && work_left(tt)) {
		reap(tt, now);
		if (work_left(tt))
			arm_reap(tt, now);
	}
	tt->depth--;
}

void table_leave_user(struct txn_table *tt, msec now)
{
	if (--tt->depth == 0 && work_left(tt))
		arm_reap(tt, now);
}

/* ---- what the figures share ---- */

void txn_send(struct txn *t, const struct bytes *b)
{
	t->tt->ops.send(t->tt->ops.arg, &t->to, b, t->id);
}

void txn_resend(struct txn *t, const struct bytes *b)
{
	if (!b)
		return;
	counter_inc(&t->tt->counters.retransmits_out);
	txn_send(t, b);
}

void txn_enter_state(struct txn *t, uint8_t state)
{
	log_event(LOG_TRACE, "txn", LOG_N("id", t->id),
		  LOG_STR("from", t->machine->state_names[t->state]),
		  LOG_STR("to", t->machine->state_names[state]));
	t->state = state;
}

void txn_keep_last(struct txn *t, struct bytes *b)
{
	struct bytes *old = t->last;
	t->last = b ? bytes_ref(b) : NULL;
	bytes_unref(old);
}

void txn_fail(struct txn *t, enum txn_failure why, msec now)
{
	struct txn_counters *c = &t->tt->counters;
	switch (why) {
	case TXN_FAIL_TIMEOUT:
	case TXN_FAIL_UNKNOWN:
		counter_inc(&c->timeouts);
		break;
	case TXN_FAIL_TRANSPORT:
		counter_inc(&c->transport_errors);
		break;
	}
	if (is_client(t)) {
		const struct txn_client_user *u = t->client.user;
		if (u && u->failed)
			u->failed(t->arg, t, why, now);
	} else {
		const struct txn_server_user *u = t->server.user;
		if (u && u->failed)
			u->failed(t->arg, t, why, now);
	}
}

/* ---- ids ---- */

uint64_t txn_id(const struct txn *t)
{
	return t->id;
}

struct txn *txn_by_id(struct txn_table *tt, uint64_t id)
{
	size_t slot = id & (((size_t)1 << TXN_SLOT_BITS) - 1);
	if (slot == 0 || slot > tt->nslabs * TXN_SLAB)
		return NULL;
	struct txn *t = txn_at(tt->slab, (uint32_t)slot);
	return t->tt && t->id == id && !t->terminated ? t : NULL;
}

void txn_transport_error(struct txn_table *tt, uint64_t id, msec now)
{
	struct txn *t = txn_by_id(tt, id);
	if (!t)
		return;
	if (tt->depth) {
		/* From inside ops->send: its caller is not to be called back. */
		list_remove(&t->errors);
		list_append(&tt->errors, &t->errors);
		return;
	}
	table_enter(tt);
	t->machine->transport_error(t, now);
	table_leave(tt, now);
}
