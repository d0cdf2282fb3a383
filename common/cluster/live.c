/*
 * Who lives: hello and heartbeats out, a deadline for each node's silence.  A node lives when
 * something of its present start (boot) was heard within dead_ms, over a connection that is up.
 * What else happens when one opens or closes is asked of the others: its stream (send.c,
 * receive.c), comparison (compare.c), calls of operators (admin.c).
 */
#include "common/cluster/cluster_priv.h"

/* A process does not start anew, or begin to drain, sooner than this after it did: what it says
 * then is heard when it says it again. */
enum { LIFE_MIN_MS = 200 };

struct log_field log_node(const struct peer *p)
{
	return LOG_STR("node", p->c->conf.node[p->index].name);
}

bool cluster_may_log(struct cluster *c, enum log_what what)
{
	return log_may(&c->logged[what], loop_now(c->loop));
}

/* ---- speaking ---- */

static ProtobufCBinaryData text(const char *s)
{
	return (ProtobufCBinaryData){strlen(s), (uint8_t *)(uintptr_t)s};
}

static void say_hello(struct peer *p)
{
	const struct cluster_node *self = &p->c->conf.node[p->c->conf.self];
	Eaves__Envelope e = EAVES__ENVELOPE__INIT;
	Eaves__Hello h = EAVES__HELLO__INIT;

	h.name = text(self->name);
	h.pair = text(self->pair);
	h.role = (uint32_t)self->role + 1;
	h.domain = p->c->identity;
	h.realm = p->c->conf.realm;
	h.draining = atomic_load_explicit(&p->c->draining, memory_order_relaxed);
	h.serving_ms = atomic_load(&p->c->serving_ms);
	e.body_case = EAVES__ENVELOPE__BODY_HELLO;
	e.hello = &h;
	wire_send(p, &e);
}

static bool is_witness(const struct cluster *c)
{
	return c->conf.node[c->conf.self].role == CLUSTER_EDGE;
}

/* Of an edge: whom its bus hears, a bit each, whatever has become of links.  Ourselves too: it
 * is never 0. */
static uint64_t whom_we_hear(const struct cluster *c)
{
	uint64_t hears = is_witness(c) ? bit(c->conf.self) : 0;

	for (unsigned i = 0; i < c->conf.n && hears; i++)
		if (c->peer[i].open)
			hears |= bit(i);
	return hears;
}

static ProtobufCBinaryData addresses_said(struct cluster *c,
					  uint8_t out[4 * CLUSTER_LISTENERS_MAX])
{
	size_t n = 0;

	for (unsigned i = 0; i < CLUSTER_LISTENERS_MAX; i++) {
		uint32_t v = atomic_load(&c->at[i]);
		for (unsigned k = 0; k < 4; k++)
			out[4 * i + k] = (uint8_t)(v >> 8 * k);
		n = v ? 4 * (i + 1) : n;
	}
	return (ProtobufCBinaryData){n, out};
}

static void note_addresses(struct peer *p, ProtobufCBinaryData said)
{
	for (unsigned i = 0; i < CLUSTER_LISTENERS_MAX; i++) {
		uint32_t v = 0;
		for (unsigned k = 0; k < 4 && said.len >= 4 * (i + 1); k++)
			v |= (uint32_t)said.data[4 * i + k] << 8 * k;
		atomic_store_explicit(&p->at[i], v, memory_order_relaxed);
	}
}

static void say_heartbeat(struct peer *p)
{
	struct cluster *c = p->c;
	uint8_t at[4 * CLUSTER_LISTENERS_MAX];
	Eaves__Envelope e = EAVES__ENVELOPE__INIT;
	Eaves__Heartbeat h = EAVES__HEARTBEAT__INIT;

	h.calls = atomic_load_explicit(&c->calls, memory_order_relaxed);
	h.cpu_permille = atomic_load_explicit(&c->cpu_permille, memory_order_relaxed);
	h.draining = atomic_load_explicit(&c->draining, memory_order_relaxed);
	h.serving_ms = atomic_load(&c->serving_ms);
	h.waiting = counter_get(&c->counters.waiting);
	h.unsure = p->sweep.unsure;
	h.hears = whom_we_hear(c);
	if (is_witness(c))
		h.at = addresses_said(c, at);
	h.wall_ms = time_wall_ms();
	h.ahead_ms = p->clock.said_ms;
	e.body_case = EAVES__ENVELOPE__BODY_HEARTBEAT;
	e.heartbeat = &h;
	wire_send(p, &e);
}

/* Until a node's messages name our boot it has not heard our hello. */
void live_speak(struct peer *p)
{
	if (!p->up)
		return;
	if (p->greeted)
		say_heartbeat(p);
	else
		say_hello(p);
}

void live_speak_all(struct cluster *c)
{
	for (unsigned i = 0; i < c->conf.n; i++)
		live_speak(&c->peer[i]);
}

bool live_is_late(const struct cluster *c)
{
	return loop_now(c->loop) >= c->heartbeat.due + c->conf.dead_ms;
}

static void on_heartbeat(struct wheel_timer *t, msec tick)
{
	struct cluster *c = container_of(t, struct cluster, heartbeat);
	msec now = loop_now(c->loop);

	(void)tick;
	if (live_is_late(c))
		c->late_at = now;
	atomic_store_explicit(&c->now, now, memory_order_relaxed);
	live_speak_all(c);
	wheel_arm(loop_wheel(c->loop), t, now + c->conf.heartbeat_ms);
}

void live_start(struct cluster *c)
{
	atomic_store_explicit(&c->now, loop_now(c->loop), memory_order_relaxed);
	live_speak_all(c);
	wheel_arm(loop_wheel(c->loop), &c->heartbeat, loop_now(c->loop) + c->conf.heartbeat_ms);
}

/* ---- life and death ---- */

static const char *word_of(unsigned bits)
{
	if (!(bits & PEER_ALIVE))
		return "dead";
	return bits & PEER_DRAINING ? "draining" : "alive";
}

static bool serves(unsigned bits)
{
	return (bits & (PEER_ALIVE | PEER_DRAINING)) == PEER_ALIVE;
}

static void tell(struct peer *p)
{
	struct cluster *c = p->c;
	unsigned bits = atomic_load(&p->bits);

	if (bits == p->told)
		return;
	if (serves(p->told) && !serves(bits))
		atomic_store(&p->left_at, loop_now(c->loop));
	p->told = bits;
	log_event(LOG_DEBUG, "cluster-node", log_node(p), LOG_STR("state", word_of(bits)));
	if (c->ops.changed)
		c->ops.changed(c->ops.arg, p->index);
}

/* Homes wait for the word of an edge before they take over another one's calls. */
static void set_open(struct peer *p, bool open)
{
	p->open = open;
	if (is_witness(p->c) && !p->c->ending)
		gate_post(p->c, WORK_SPEAK);
}

void cluster_was_away(struct cluster *c)
{
	cluster_stand_back(c);
	for (unsigned i = 0; i < c->conf.n; i++)
		if (c->peer[i].open)
			compare_begin(&c->peer[i]);
}

/* Its stream, and all that waits for it, ends. */
static void close_peer(struct peer *p)
{
	atomic_fetch_and(&p->bits, ~(unsigned)(PEER_ALIVE | PEER_SUSPECTED));
	atomic_store(&p->serving_ms, 0);
	atomic_store(&p->has_said, false);
	clock_forget(p);
	if (p->open) {
		set_open(p, false);
		wheel_stop(loop_wheel(p->c->loop), &p->silent);
		send_end(p);
		compare_end(p);
		admin_lost(p);
	}
	tell(p);
}

static void on_silent(struct wheel_timer *t, msec tick)
{
	struct peer *p = container_of(t, struct peer, silent);
	struct cluster *c = p->c;
	msec now = loop_now(c->loop), due = p->heard + c->conf.dead_ms;

	(void)tick;
	/* We are late ourselves: what has come meanwhile is heard first. */
	if (due <= now && now - t->due >= c->conf.heartbeat_ms)
		due = now + c->conf.heartbeat_ms;
	if (due > now) {
		wheel_arm(loop_wheel(c->loop), t, due);
		return;
	}
	atomic_store(&p->broke_at, 0);
	close_peer(p);
}

void live_heard(struct peer *p)
{
	msec now = loop_now(p->c->loop);

	atomic_store_explicit(&p->heard, now, memory_order_relaxed);
	atomic_store_explicit(&p->c->now, now, memory_order_relaxed);
	if (!p->up)
		return;
	if (!p->open) {
		set_open(p, true);
		wheel_arm(loop_wheel(p->c->loop), &p->silent, now + p->c->conf.dead_ms);
		send_restart(p);
		compare_begin(p);
	}
	unsigned bits = atomic_load(&p->bits);
	/* A suspicion is told of first: what was in the link is to be sent again. */
	if (bits & PEER_ALIVE || atomic_load(&p->suspect_posted))
		return;
	while (!atomic_compare_exchange_weak(&p->bits, &bits,
					     (bits & ~(unsigned)PEER_SUSPECTED) | PEER_ALIVE))
		;
	tell(p);
}

static void on_suspected(struct cluster *c, struct item *it)
{
	struct peer *p = container_of(it, struct peer, suspected);

	atomic_store(&p->suspect_posted, false);
	if (!c->ending)
		tell(p);
}

void cluster_suspect(struct cluster *c, unsigned node)
{
	struct peer *p = peer_of(c, node);

	if (!p || !(atomic_load(&p->bits) & PEER_ALIVE))
		return;
	bool posted = atomic_exchange(&p->suspect_posted, true);
	unsigned bits = atomic_load(&p->bits);
	while (bits & PEER_ALIVE)
		if (atomic_compare_exchange_weak(
			    &p->bits, &bits, (bits & ~(unsigned)PEER_ALIVE) | PEER_SUSPECTED))
			break;
	/* Who has been posted before may have run meanwhile. */
	if (!posted || !atomic_exchange(&p->suspect_posted, true))
		cluster_hand(c, &p->suspected);
}

void cluster_connected(struct cluster *c, unsigned node, bool up)
{
	struct peer *p = peer_of(c, node);

	if (!p)
		return;
	p->up = up;
	if (!up && p->open)
		atomic_store(&p->broke_at, loop_now(c->loop));
	if (!up)
		close_peer(p);
	else if (c->started)
		live_speak(p);
}

/* ---- listening ---- */

static bool is_self_of(const struct peer *p, const Eaves__Hello *h)
{
	const struct cluster_node *n = &p->c->conf.node[p->index];

	return h->name.len == strlen(n->name) &&
	       memcmp(h->name.data, n->name, h->name.len) == 0 &&
	       h->pair.len == strlen(n->pair) &&
	       memcmp(h->pair.data, n->pair, h->pair.len) == 0 &&
	       h->role == (uint32_t)n->role + 1;
}

void live_stranger(struct peer *p, const char *why)
{
	counter_inc(&p->c->counters.bad_messages);
	if (cluster_may_log(p->c, LOG_STRANGER))
		log_event(LOG_WARN, "cluster-node-refused", log_node(p), LOG_STR("why", why));
}

static bool is_retired(const struct peer *p, uint64_t boot)
{
	for (unsigned i = 0; i < BOOTS_MAX; i++)
		if (p->retired[i] == boot)
			return true;
	return false;
}

static void change_boot(struct peer *p, uint64_t boot)
{
	if (p->boot) {
		memmove(&p->retired[1], &p->retired[0],
			sizeof(p->retired) - sizeof(p->retired[0]));
		p->retired[0] = p->boot;
	}
	close_peer(p);
	atomic_fetch_and(&p->bits, ~(unsigned)PEER_DRAINING);
	p->boot = boot;
	p->boot_at = loop_now(p->c->loop);
	p->greeted = false;
	receive_restart(p);
}

/* One of us asks phones for what the other does not take. */
static void note_realm(struct peer *p, uint64_t realm)
{
	bool other = realm && realm != p->c->conf.realm;

	atomic_store(&p->other_realm, other);
	if (other)
		log_event(LOG_WARN, "realm-differs", log_node(p));
}

bool live_hello(struct peer *p, uint64_t boot, const Eaves__Hello *h)
{
	bool fresh = boot != p->boot;

	if (fresh && is_retired(p, boot))
		return false; /* a message of a process that is no more */
	if (fresh && p->boot && loop_now(p->c->loop) - p->boot_at < LIFE_MIN_MS)
		return false;
	if (h->domain != p->c->identity) {
		p->greeted = false; /* our hello tells it too */
		live_stranger(p, "another domain or secret");
		return false;
	}
	if (!is_self_of(p, h)) {
		live_stranger(p, "another name, pair or role than configured");
		return false;
	}
	if (fresh) {
		change_boot(p, boot);
		note_realm(p, h->realm);
		if (h->draining)
			atomic_fetch_or(&p->bits, PEER_DRAINING);
		atomic_store(&p->serving_ms, h->serving_ms);
		live_speak(p);
	}
	return true;
}

static void note_draining(struct peer *p, bool draining)
{
	msec now = loop_now(p->c->loop);

	if (draining == !!(atomic_load(&p->bits) & PEER_DRAINING) ||
	    now - p->drained_at < LIFE_MIN_MS)
		return;
	p->drained_at = now;
	if (draining)
		atomic_fetch_or(&p->bits, PEER_DRAINING);
	else
		atomic_fetch_and(&p->bits, ~(unsigned)PEER_DRAINING);
	tell(p);
}

/* Who is heard of again may want nothing: that is known before it is told to live. */
void live_back(struct peer *p, const Eaves__Heartbeat *h)
{
	if (atomic_load(&p->bits) & PEER_ALIVE)
		return;
	if (h->draining)
		atomic_fetch_or(&p->bits, PEER_DRAINING);
	else
		atomic_fetch_and(&p->bits, ~(unsigned)PEER_DRAINING);
}

void live_heartbeat(struct peer *p, const Eaves__Heartbeat *h)
{
	atomic_store_explicit(&p->calls, h->calls, memory_order_relaxed);
	atomic_store_explicit(&p->cpu_permille, h->cpu_permille, memory_order_relaxed);
	atomic_store(&p->serving_ms, h->serving_ms);
	atomic_store(&p->hears, h->hears);
	note_addresses(p, h->at);
	atomic_store(&p->has_said, true);
	clock_heard(p, h);
	note_draining(p, h->draining);
	compare_theirs(p, h->unsure);
	receive_quiet(p);
}

void cluster_live_init(struct cluster *c)
{
	wheel_timer_init(&c->heartbeat, on_heartbeat);
	for (unsigned i = 0; i < c->conf.n; i++) {
		wheel_timer_init(&c->peer[i].silent, on_silent);
		c->peer[i].suspected.run = on_suspected;
		clock_forget(&c->peer[i]);
	}
}

void live_end(struct cluster *c)
{
	wheel_stop(loop_wheel(c->loop), &c->heartbeat);
	for (unsigned i = 0; i < c->conf.n; i++)
		wheel_stop(loop_wheel(c->loop), &c->peer[i].silent);
}
