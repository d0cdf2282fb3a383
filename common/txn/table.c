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
	tt->limit =
		limit < ((size_t)1 << TXN_SLOT_BITS) ? limit : ((size_t)1 << TXN_SLOT_BITS) - 1;
	list_init(&tt->errors);
	list_init(&tt->dead);
	list_init(&tt->free);
	wheel_timer_init(&tt->reap, fire_reap);
	tt->slab = calloc(tt->limit / TXN_SLAB + 1, sizeof(struct txn *));
	if (!tt->slab || txn_hash_init(&tt->clients, tt->limit) < 0 ||
	    txn_hash_init(&tt->servers, tt->limit) < 0 ||
	    txn_hash_init(&tt->merges, tt->limit) < 0) {
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

const struct txn_counters *txn_table_counters(const struct txn_table *tt)
{
	return &tt->counters;
}

/* ---- memory ---- */

static bool new_slab(struct txn_table *tt)
{
	if (tt->nslabs > tt->limit / TXN_SLAB)
		return false;
	struct txn *v = calloc(TXN_SLAB, sizeof(*v));
	if (!v)
		return false;
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

struct txn *table_alloc(struct txn_table *tt, enum txn_kind kind)
{
	if (tt->counters.live >= tt->limit || (list_empty(&tt->free) && !new_slab(tt))) {
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
		txn_hash_remove(&tt->clients, &t->key);
	} else {
		txn_hash_remove(&tt->servers, &t->key);
		txn_hash_remove(&tt->merges, &t->server.merge);
	}
	list_append(&tt->dead, &t->dead);
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
		c->timeouts++;
		break;
	case TXN_FAIL_TRANSPORT:
		c->transport_errors++;
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
	struct txn *t = &tt->slab[(slot - 1) / TXN_SLAB][(slot - 1) % TXN_SLAB];
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
