/*
 * Calls to devices behind this edge.  A home that has forwarded an INVITE to one device has
 * told nobody of it (docs/decisions/0007): when it dies, a device that does not repeat itself
 * would ring, or be silent, for as long as the caller waits.  So an edge keeps of each INVITE
 * that a home sends through it what a response to it would carry, until a final one has gone
 * by, and some seconds after the home's death says "100 Trying" to the other member in the
 * device's place: that one makes the transactions of it, timer C among them.  No phone hears of
 * that (RFC 3261 16.11 is for them), and without a death nobody does: it costs memory alone.
 * Who has said a final one absorbs what the other home repeats, without a word (RFC 6026 7.1):
 * his branch is known as answered for as long as he does that.
 *
 * Not here: messages as they came (kept.c).
 */
#include "common/stack/stack_priv.h"

#include "common/base/log.h"
#include "common/sip/build.h"
#include "common/stack/answered.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	BUCKETS = 4096,
	/* Longer than who has not had his 100 waits with his INVITE: that makes more of it. */
	WAIT_MS = 5000,
	STEP = 1024, /* looked at in one go */
	STEP_MS = 10,
	AGAIN_MS = 1000,      /* when nobody lives who could be told */
	CANCELLED_MS = 32000, /* after timer C (9.1) */
};

struct trying {
	struct list age;    /* in all; heard of last: at the end */
	struct list bucket; /* in a bucket */
	uint64_t key;
	msec at;
	msec until;	   /* the home's transaction is over by then, whatever comes */
	uint16_t node;	   /* the home, as in sip_flow */
	bool handed;	   /* by the other edge: it, or the other member of its pair */
	uint16_t listener; /* by which the device got it */
	struct bytes *response;
};

/* Since when a node is lost.  One that comes and goes is so since the first time for what it
 * had before that; 0: it is not. */
struct loss {
	msec first, last;
};

/* What one node is being told: it counts when it has left. */
struct telling {
	struct list said;
	struct net_queue queue; /* of the link, with the last of them */
};

struct stack_trying {
	struct stack *s;
	struct list all;
	struct list *next; /* to be looked at; &all: none */
	bool begins;	   /* with the first */
	msec begun;	   /* when it did */
	uint64_t untold;   /* of which nodes some could not be told: a bit each */
	struct loss lost[STACK_NODES_MAX];
	struct telling telling[STACK_NODES_MAX];
	uint64_t tells; /* which of these say something: a bit each */
	struct wheel_timer timer;
	struct stack_answered answered;
	struct list bucket[BUCKETS];
};

static void unlink_age(struct stack_trying *y, struct trying *t)
{
	if (y->next == &t->age)
		y->next = t->age.next;
	list_remove(&t->age);
}

static void drop(struct stack_trying *y, struct trying *t)
{
	unlink_age(y, t);
	list_remove(&t->bucket);
	counter_dec(&y->s->counters.trying);
	bytes_unref(t->response);
	free(t);
}

/* What a home sent before it died may come when that is known already. */
static msec sent_at(const struct stack_trying *y, uint16_t node, msec now)
{
	const struct stack *s = y->s;
	msec lost = y->lost[node - 1].last;
	bool lives =
		lost == 0 || s->group->user.member(s->user_arg, node - 1u, false) == node - 1;
	return lives ? now : lost;
}

static void heard(struct stack_trying *y, struct trying *t, uint16_t node, bool handed,
		  msec now)
{
	unlink_age(y, t);
	list_append(&y->all, &t->age);
	t->at = now;
	t->node = node;
	t->handed = handed;
}

/* Timer B of who sends an INVITE to a device that says nothing. */
static msec timer_b(const struct stack_trying *y)
{
	return 64 * (msec)y->s->group->conf.timers.t1;
}

/* Timer C of who has heard of the device, and the time that its CANCEL may take. */
static msec timer_c(const struct stack_trying *y)
{
	return (msec)y->s->group->conf.proxy.timer_c_ms + CANCELLED_MS;
}

/* A node is dead, or stands still, for some time before it is known. */
static msec noticed_after(const struct stack_trying *y)
{
	return 2 * (msec)y->s->group->conf.dead_ms;
}

static bool is_other_edge(const struct stack *s, unsigned node)
{
	return node != s->group->conf.self && stack_is_of_our_pair(s, node);
}

/* What comes now may ring for long: homes send once more what went by the other edge. */
static bool edge_is_lost(const struct stack_trying *y)
{
	for (unsigned i = 0; i < y->s->group->conf.nnodes && i < STACK_NODES_MAX; i++)
		if (y->lost[i].last && is_other_edge(y->s, i))
			return true;
	return false;
}

/* The home's own transaction is over by then, whatever came. */
static void expire(struct stack_trying *y, msec now)
{
	msec life = timer_c(y);
	list_for_each_safe (it, &y->all) {
		struct trying *t = container_of(it, struct trying, age);
		if (t->at + life > now)
			return;
		drop(y, t);
	}
}

static struct trying *find(struct stack_trying *y, uint64_t key)
{
	list_for_each (it, &y->bucket[key % BUCKETS]) {
		struct trying *t = container_of(it, struct trying, bucket);
		if (t->key == key)
			return t;
	}
	return NULL;
}

/* The branch of the home's Via: in what it sends the first, in the answer the second. */
static bool key_of(const struct stack *s, const struct sip_msg *m, uint64_t *ret)
{
	struct sip_list_it it = {0};
	struct sip_via via;
	struct span v;
	if (!sip_list_next(m, SIP_HDR_VIA, &it, &v) ||
	    (!m->is_request && !sip_list_next(m, SIP_HDR_VIA, &it, &v)) ||
	    sip_via_parse(v, &via) < 0)
		return false;
	*ret = mac_span(&s->owner_key, via.branch);
	return true;
}

static void add(struct stack_trying *y, uint64_t key, const struct sip_flow *to, msec now)
{
	struct stack *s = y->s;
	const struct sip_response r = {.status = 100};
	struct trying *t;
	expire(y, now);
	if (s->counters.trying >= s->group->conf.transactions_max) {
		counter_inc(&s->counters.trying_full);
		return;
	}
	if (!(t = malloc(sizeof(*t))))
		return;
	*t = (struct trying){.key = key,
			     .at = sent_at(y, s->from->node, now),
			     .until = now + (edge_is_lost(y) ? timer_c(y) : timer_b(y)),
			     .node = s->from->node,
			     .handed = s->from->handed,
			     .listener = to->listener,
			     .response = sip_build_response(&s->msg, &r)};
	if (!t->response) {
		free(t);
		return;
	}
	list_append(&y->all, &t->age);
	list_append(&y->bucket[key % BUCKETS], &t->bucket);
	counter_inc(&s->counters.trying);
}

/* The device is to stop; where it says nothing more the home's transaction ends with that of
 * the CANCEL (9.1). */
static void cancelled(struct trying *t, msec now)
{
	if (t->until > now + CANCELLED_MS)
		t->until = now + CANCELLED_MS;
}

static void invited(struct stack_trying *y, struct trying *t, uint64_t key,
		    const struct sip_flow *to, msec now)
{
	const struct sip_flow *from = y->s->from;
	if (!t) {
		if (!stack_answered_has(&y->answered, key, now))
			add(y, key, to, now);
		return;
	}
	/* Of another home it is the first that is sent, of the same one a retransmission. */
	if (t->node != from->node && t->until < now + timer_b(y))
		t->until = now + timer_b(y);
	heard(y, t, from->node, from->handed, sent_at(y, from->node, now));
}

void stack_trying_sent(struct stack *s, const struct sip_flow *to, const struct iovec *iov)
{
	struct stack_trying *y = s->trying;
	msec now = loop_now(s->loop);
	enum sip_method method = s->msg.method;
	struct span tag;
	uint64_t key;
	/* In a dialog the home may have no transaction, its 100 would be the caller's. */
	if (!y || !s->delivering || !s->from || !s->from->node ||
	    s->from->node > STACK_NODES_MAX || !s->msg.is_request ||
	    (method != SIP_INVITE && method != SIP_CANCEL) ||
	    (sip_msg_tag(&s->msg, SIP_HDR_TO, &tag) == 0 && tag.n) || stack_is_response(iov) ||
	    !key_of(s, &s->msg, &key))
		return;
	struct trying *t = find(y, key);
	if (method == SIP_INVITE)
		invited(y, t, key, to, now);
	else if (t)
		cancelled(t, now);
}

/* Whether its INVITE has gone by here or not: what the other edge brought the device, and a
 * home sends once more by this one, may come after the device's answer. */
static void final(struct stack_trying *y, struct trying *t, uint64_t key, msec now)
{
	if (!stack_answered_has(&y->answered, key, now) &&
	    !stack_answered_add(&y->answered, key, now))
		counter_inc(&y->s->counters.trying_full);
	if (t)
		drop(y, t);
}

static void answered(struct stack_trying *y, struct trying *t, uint64_t key, unsigned node,
		     msec now)
{
	if (y->s->msg.status >= 200) {
		final(y, t, key, now);
	} else if (t) {
		heard(y, t, (uint16_t)(node + 1), false, now);
		t->until = now + timer_c(y);
	}
}

void stack_trying_linked(struct stack *s, unsigned node)
{
	struct stack_trying *y = s->trying;
	uint64_t key;
	if (!y || !s->delivering || s->msg.method != SIP_INVITE ||
	    (s->msg.is_request && s->counters.trying == 0) || !key_of(s, &s->msg, &key))
		return;
	struct trying *t = find(y, key);
	if (!s->msg.is_request && !is_other_edge(s, node))
		answered(y, t, key, node, loop_now(s->loop));
	else if (t && s->msg.is_request && is_other_edge(s, node))
		drop(y, t); /* the device is there now, and so will be its answer */
}

bool stack_trying_is_over(struct stack *s, const struct sip_msg *response)
{
	struct stack_trying *y = s->trying;
	struct sip_via via;
	return y && response->method == SIP_INVITE && sip_msg_top_via(response, &via) == 0 &&
	       stack_answered_has(&y->answered, mac_span(&s->owner_key, via.branch),
				  loop_now(s->loop));
}

/* It did not leave, or not all: once more, from the beginning. */
static void take_back(struct stack_trying *y, struct telling *x)
{
	if (list_empty(&x->said))
		return;
	while (!list_empty(&x->said)) {
		struct list *it = x->said.prev;
		list_remove(it);
		list_insert_after(&y->all, it);
	}
	y->next = y->all.next;
}

void stack_trying_abandon(struct stack *s, unsigned listener)
{
	struct stack_trying *y = s->trying;
	if (!y)
		return;
	for (unsigned i = 0; i < STACK_NODES_MAX; i++)
		take_back(y, &y->telling[i]);
	list_for_each_safe (it, &y->all) {
		struct trying *t = container_of(it, struct trying, age);
		if (t->listener == listener)
			drop(y, t);
	}
}

/* ---- a home has died ---- */

/* The homes that may have it: a bit each.  Of what was handed over the pair is known alone. */
static uint64_t homes_of(const struct stack_trying *y, const struct trying *t)
{
	const struct stack_conf *c = &y->s->group->conf;
	uint64_t homes = UINT64_C(1) << (t->node - 1);
	for (unsigned i = 0; t->handed && i < c->nnodes && i < STACK_NODES_MAX; i++)
		if (strcmp(c->node[i].pair, c->node[t->node - 1].pair) == 0)
			homes |= UINT64_C(1) << i;
	return homes;
}

/* Since when the home that has it is lost; 0: it is not. */
static msec lost_since(const struct stack_trying *y, const struct trying *t)
{
	uint64_t homes = homes_of(y, t);
	msec since = 0;
	for (unsigned i = 0; i < STACK_NODES_MAX; i++) {
		const struct loss *x = &y->lost[i];
		msec lost = t->at <= x->first ? x->first : x->last;
		if (homes >> i & 1 && lost > since)
			since = lost;
	}
	return since;
}

/* False: it is in the link still. */
static bool settle(struct stack_trying *y, unsigned node, msec now, unsigned *told)
{
	struct telling *x = &y->telling[node];
	struct net_queue q;
	if (!stack_link_queue(y->s, node, &q) || q.conn != x->queue.conn) {
		take_back(y, x);
		return true;
	}
	if (q.taken < x->queue.given)
		return false;
	list_for_each_safe (it, &x->said) {
		struct trying *t = container_of(it, struct trying, age);
		heard(y, t, (uint16_t)(node + 1), false, now);
		t->until = now + timer_c(y);
		counter_inc(&y->s->counters.trying_told);
		++*told;
	}
	return true;
}

/* False: not now. */
static bool say(struct stack_trying *y, struct trying *t)
{
	struct net_queue q;
	int node = stack_link_say(y->s, t->node, bytes_span(t->response), &q);
	if (node == -EHOSTUNREACH) {
		y->untold |= homes_of(y, t);
		return true;
	}
	if (node < 0)
		return false;
	struct telling *x = &y->telling[node];
	if (!list_empty(&x->said) && x->queue.conn != q.conn)
		take_back(y, x);
	unlink_age(y, t);
	list_append(&x->said, &t->age);
	x->queue = q;
	y->tells |= UINT64_C(1) << node;
	return true;
}

/* False: not now. */
static bool tell_of(struct stack_trying *y, struct trying *t)
{
	msec lost = lost_since(y, t);
	if (t->at > lost)
		return true; /* heard of since, by who lives */
	if (t->until + noticed_after(y) <= lost) {
		drop(y, t);
		return true;
	}
	if (lost + WAIT_MS > y->begun) {
		y->untold |= homes_of(y, t);
		return true;
	}
	return say(y, t);
}

static void look(struct stack_trying *y)
{
	for (unsigned i = 0; i < STEP && y->next != &y->all; i++) {
		struct trying *t = container_of(y->next, struct trying, age);
		y->next = t->age.next;
		if (!tell_of(y, t)) {
			y->next = &t->age;
			return;
		}
	}
}

/* All have been looked at.  When some are to be again; 0: they are not. */
static msec look_again(struct stack_trying *y, msec now)
{
	msec again = 0;
	for (unsigned i = 0; i < STACK_NODES_MAX; i++) {
		struct loss *x = &y->lost[i];
		if (x->first + WAIT_MS <= y->begun && !(y->untold >> i & 1))
			*x = x->first == x->last ? (struct loss){0}
						 : (struct loss){x->last, x->last};
		if (!x->first)
			continue;
		msec due = x->first + WAIT_MS > now ? x->first + WAIT_MS : now + AGAIN_MS;
		if (!again || due < again)
			again = due;
	}
	return again;
}

static void on_timer(struct wheel_timer *w, msec now)
{
	struct stack_trying *y = container_of(w, struct stack_trying, timer);
	unsigned told = 0;
	for (unsigned i = 0; i < STACK_NODES_MAX; i++)
		if (y->tells >> i & 1 && settle(y, i, now, &told))
			y->tells &= ~(UINT64_C(1) << i);
	if (told)
		log_event(LOG_INFO, "calls-told", LOG_N("calls", told));
	if (y->next == &y->all && y->begins && !y->tells) {
		expire(y, now);
		y->begins = false;
		y->begun = now;
		y->untold = 0;
		y->next = y->all.next;
	}
	look(y);
	if (y->tells || y->next != &y->all) {
		wheel_arm(loop_wheel(y->s->loop), w, now + STEP_MS);
		return;
	}
	msec again = look_again(y, now);
	y->begins = again != 0;
	if (y->begins)
		wheel_arm(loop_wheel(y->s->loop), w, again);
}

/* The homes may have known of the other edge's death before. */
static void take_for_ringing(struct stack_trying *y, msec now)
{
	list_for_each (it, &y->all) {
		struct trying *t = container_of(it, struct trying, age);
		if (t->at + noticed_after(y) >= now && t->until < now + timer_c(y))
			t->until = now + timer_c(y);
	}
}

void stack_trying_lost(struct stack *s, unsigned node)
{
	struct stack_trying *y = s->trying;
	msec now = loop_now(s->loop);
	if (!y || node >= STACK_NODES_MAX)
		return;
	expire(y, now);
	struct loss *x = &y->lost[node];
	*x = (struct loss){x->first ? x->first : now, now};
	if (is_other_edge(s, node))
		take_for_ringing(y, now);
	if (wheel_armed(&y->timer))
		return; /* when that is done it is seen what is left to do */
	y->begins = true;
	wheel_arm(loop_wheel(s->loop), &y->timer, now + WAIT_MS);
}

struct stack_trying *stack_trying_new(struct stack *s)
{
	struct stack_trying *y = calloc(1, sizeof(*y));
	if (!y)
		return NULL;
	y->s = s;
	list_init(&y->all);
	y->next = &y->all;
	wheel_timer_init(&y->timer, on_timer);
	/* So long a device knows its transaction (timers H and L). */
	stack_answered_init(&y->answered, s->group->conf.transactions_max, timer_b(y));
	for (unsigned i = 0; i < STACK_NODES_MAX; i++)
		list_init(&y->telling[i].said);
	for (unsigned i = 0; i < BUCKETS; i++)
		list_init(&y->bucket[i]);
	return y;
}

struct stack_trying *stack_trying_free(struct stack_trying *y)
{
	if (!y)
		return NULL;
	if (y->s->loop)
		wheel_stop(loop_wheel(y->s->loop), &y->timer);
	for (unsigned i = 0; i < STACK_NODES_MAX; i++)
		take_back(y, &y->telling[i]);
	list_for_each_safe (it, &y->all)
		drop(y, container_of(it, struct trying, age));
	stack_answered_done(&y->answered);
	free(y);
	return NULL;
}
