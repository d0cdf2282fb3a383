/*
 * Kept messages: what goes to a node and nobody repeats, for its sender has a stream.  It stays
 * here until it is answered, and for a little longer than it takes to find a node dead; then
 * the other member of the pair gets it.  What cannot leave (a link is full, nobody of the pair
 * lives for a moment) waits here too, and is tried again while its time lasts: in slices, as
 * much as the link has taken.
 *
 * Not here: what links are (link.c).
 */
#include "common/stack/stack_priv.h"

#include "common/base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	BUCKETS = 1024,
	KEPT_MAX = 16384,
	SURE_MS = 1250, /* a death is found so much later than dead_ms at most */
	STEP = 1024,	/* sent for one node in one go */
	STEP_MS = 10,
	LAST_WORDS_MS = 2, /* of a node that has died may still come */
};

struct kept {
	struct list age;    /* in all, or in waiting */
	struct list bucket; /* requests; final responses to INVITE, for the other member */
	uint64_t key;
	msec first, at; /* it came; it left, or was to leave anew */
	struct sip_flow to;
	bool left; /* once, for a node that is dead */
	bool once, answers;
	uint32_t n;
	char p[];
};

struct stack_kept {
	struct stack *s;
	struct list all;		      /* have left; the oldest first */
	struct list waiting[STACK_NODES_MAX]; /* have not: a queue for each node */
	uint64_t waits;			      /* which of these hold any: a bit each */
	unsigned n;
	size_t bytes;
	unsigned answers; /* of these, responses in a bucket */
	uint64_t resent;  /* and not told of */
	struct wheel_timer timer;
	struct list bucket[BUCKETS];
};

static size_t size_of(const struct kept *k)
{
	return sizeof(*k) + k->n;
}

static void drop(struct stack_kept *l, struct kept *k)
{
	list_remove(&k->age);
	list_remove(&k->bucket);
	l->n--;
	l->answers -= k->answers;
	l->bytes -= size_of(k);
	free(k);
}

static struct kept *first(const struct list *head)
{
	return list_empty(head) ? NULL : container_of(head->next, struct kept, age);
}

/* Not longer than a caller waits (timers B and F). */
static msec keep_ms(const struct stack_kept *l)
{
	const struct stack_conf *c = &l->s->group->conf;
	msec found = (msec)c->dead_ms + SURE_MS, given_up = 64 * (msec)c->timers.t1;
	return found < given_up ? found : given_up;
}

static void expire(struct stack_kept *l, msec now)
{
	for (struct kept *k; (k = first(&l->all)) && k->at + keep_ms(l) <= now;)
		drop(l, k);
}

/* What has left has most often arrived. */
static struct kept *least_needed(const struct stack_kept *l)
{
	struct kept *k = first(&l->all);
	for (unsigned i = 0; !k && i < STACK_NODES_MAX; i++)
		k = first(&l->waiting[i]);
	return k;
}

static bool make_room(struct stack_kept *l, size_t more)
{
	size_t max = l->s->group->conf.net.link_bytes_max;
	struct kept *k;
	while ((l->n >= KEPT_MAX || l->bytes + more > max) && (k = least_needed(l))) {
		drop(l, k);
		counter_inc(&l->s->counters.link_kept_full);
	}
	return more <= max;
}

/* By one of its Via values: of a request that we forward without a transaction by the one that
 * it came with, which is the second of its responses; of one of a transaction of ours by ours.
 */
static uint64_t key_of(const struct stack *s, const struct sip_msg *m, struct span via)
{
	struct sip_via v;
	struct mac k;
	mac_init(&k, &s->owner_key);
	mac_add(&k, m->call_id);
	mac_add_u64(&k, m->cseq);
	mac_add(&k, m->method_text);
	if (sip_via_parse(via, &v) == 0)
		mac_add(&k, v.branch);
	return mac_final(&k);
}

static uint64_t key_of_top(const struct stack *s, const struct sip_msg *m)
{
	struct sip_list_it it = {0};
	struct span via = {NULL, 0};
	(void)sip_list_next(m, SIP_HDR_VIA, &it, &via);
	return key_of(s, m, via);
}

/* What was let in once already, or is of our own making. */
static bool index_sent(struct sip_msg *m, const struct iovec *iov)
{
	struct sip_limits lim = sip_limits_default;
	struct sip_fault fault;
	lim.stream_bytes = UINT32_MAX;
	lim.headers = SIP_HDR_MAX;
	lim.header_bytes = lim.commas = lim.semicolons = UINT16_MAX;
	return sip_msg_index(m, span_of(iov->iov_base, iov->iov_len), true, &lim, &fault) == 0;
}

/* A caller on a stream who has heard nothing gives up after timer B, while it rings: so 1xx,
 * too; but not for our own pair: who comes over from there sends his INVITE again, and is
 * answered by us. */
const struct sip_msg *stack_kept_msg(const struct stack *s, const struct sip_flow *to,
				     const struct iovec *iov, int n, struct sip_msg *room)
{
	const struct sip_msg *m = &s->msg;
	if (to->leg == SIP_TRANSPORT_NONE || !sip_transport_reliable(to->leg))
		return NULL;
	if (n == 1 || !s->delivering) {
		if (n != 1 || !index_sent(room, iov))
			return NULL;
		m = room;
	}
	if (m->is_request ? m->method != SIP_ACK : m->status >= 200)
		return m;
	return !m->is_request && !stack_is_of_our_pair(s, to->node - 1u) ? m : NULL;
}

static void wait_in(struct stack_kept *l, struct kept *k, unsigned queue)
{
	list_append(&l->waiting[queue], &k->age);
	l->waits |= UINT64_C(1) << queue;
	if (!wheel_armed(&l->timer))
		wheel_arm(loop_wheel(l->s->loop), &l->timer, loop_now(l->s->loop) + STEP_MS);
}

bool stack_keep(struct stack *s, const struct sip_flow *to, unsigned node,
		const struct sip_msg *m, const struct iovec *iov, int n, int queue, bool once)
{
	struct stack_kept *l = s->kept;
	msec now = loop_now(s->loop);
	size_t len = 0;
	for (int i = 0; i < n; i++)
		len += iov[i].iov_len;
	expire(l, now);
	struct kept *k = make_room(l, sizeof(*k) + len) ? malloc(sizeof(*k) + len) : NULL;
	if (!k) {
		counter_inc(&s->counters.link_kept_full);
		return false;
	}
	*k = (struct kept){.key = key_of_top(s, m),
			   .first = now,
			   .at = now,
			   .to = *to,
			   .once = once,
			   .n = (uint32_t)len};
	k->to.node = (uint16_t)(node + 1);
	for (size_t i = 0, at = 0; i < (size_t)n; at += iov[i].iov_len, i++)
		memcpy(k->p + at, iov[i].iov_base, iov[i].iov_len);
	if (queue >= 0)
		wait_in(l, k, (unsigned)queue);
	else
		list_append(&l->all, &k->age);
	k->answers = !m->is_request && m->method == SIP_INVITE && stack_is_of_our_pair(s, node);
	l->answers += k->answers;
	if (m->is_request || k->answers)
		list_append(&l->bucket[k->key % BUCKETS], &k->bucket);
	else
		list_init(&k->bucket);
	l->n++;
	l->bytes += size_of(k);
	counter_inc(&s->counters.link_kept);
	return true;
}

void stack_kept_answered(struct stack *s, const struct sip_msg *m)
{
	struct sip_list_it values = {0};
	struct span via;
	if (s->kept->n == 0)
		return; /* of phones on UDP nothing is kept */
	for (unsigned i = 0; i < 2 && sip_list_next(m, SIP_HDR_VIA, &values, &via); i++) {
		uint64_t key = key_of(s, m, via);
		list_for_each_safe (it, &s->kept->bucket[key % BUCKETS]) {
			struct kept *k = container_of(it, struct kept, bucket);
			if (k->key == key && !k->answers)
				drop(s->kept, k);
		}
	}
}

bool stack_kept_answers(struct stack *s, const struct iovec *iov)
{
	struct stack_kept *l = s->kept;
	struct sip_hdr hdr[SIP_HDR_MAX];
	struct sip_msg m = {.hdr = hdr};
	if (!l || !l->answers || !index_sent(&m, iov) || !m.is_request ||
	    m.method != SIP_INVITE)
		return false;
	uint64_t key = key_of_top(s, &m);
	list_for_each (it, &l->bucket[key % BUCKETS]) {
		struct kept *k = container_of(it, struct kept, bucket);
		struct iovec own = {k->p, k->n};
		if (k->key != key || !k->answers)
			continue;
		bool taken = stack_link_self(s, &own, 1) == 0;
		if (taken)
			drop(l, k);
		return taken;
	}
	return false;
}

/* ---- what waits ---- */

int stack_kept_ahead(const struct stack *s, unsigned node)
{
	const struct stack_kept *l = s->kept;
	for (unsigned i = 0; l->waits && i < s->group->conf.nnodes; i++)
		if (l->waits >> i & 1 && !list_empty(&l->waiting[i]) &&
		    s->group->user.member(s->user_arg, i, false) == (int)node)
			return (int)i;
	return -1;
}

/* A device has said more since: who has not had that call would make one of it. */
static bool is_overtaken(const struct kept *k, struct stack *s, const struct iovec *iov)
{
	static const char provisional[] = "SIP/2.0 1";
	struct sip_hdr hdr[SIP_HDR_MAX];
	struct sip_msg m = {.hdr = hdr};
	size_t n = sizeof(provisional) - 1;
	return k->left && k->n > n && memcmp(k->p, provisional, n) == 0 &&
	       index_sent(&m, iov) && stack_trying_is_over(s, &m);
}

static bool send_one(struct stack_kept *l, struct kept *k, msec now)
{
	struct stack *s = l->s;
	struct iovec iov = {k->p, k->n};
	unsigned node;
	if (stack_is_poison(s, span_of(k->p, k->n)) || /* what the node died of */
	    is_overtaken(k, s, &iov)) {
		drop(l, k);
		return true;
	}
	if (stack_link_try(s, &k->to, &iov, 1, true, &node) < 0)
		return false;
	counter_add(&s->counters.link_resent, k->left);
	l->resent += k->left;
	if (node == s->group->conf.self || k->once) {
		drop(l, k);
		return true;
	}
	k->to.node = (uint16_t)(node + 1);
	k->at = now;
	list_remove(&k->age);
	list_append(&l->all, &k->age);
	return true;
}

static void send_waiting(struct stack_kept *l, unsigned node, msec now)
{
	struct list *head = &l->waiting[node];
	for (struct kept *k; (k = first(head)) && k->at + keep_ms(l) <= now;) {
		drop(l, k);
		counter_inc(&l->s->counters.link_late);
	}
	for (unsigned i = 0; i < STEP && !list_empty(head); i++)
		if (!send_one(l, first(head), now))
			break;
	if (list_empty(head))
		l->waits &= ~(UINT64_C(1) << node);
}

static void step(struct stack_kept *l, msec now)
{
	for (unsigned i = 0; i < STACK_NODES_MAX; i++)
		if (l->waits >> i & 1)
			send_waiting(l, i, now);
	if (l->waits) {
		wheel_arm(loop_wheel(l->s->loop), &l->timer, now + STEP_MS);
		return;
	}
	wheel_stop(loop_wheel(l->s->loop), &l->timer);
	if (l->resent)
		log_event(LOG_INFO, "link-resent", LOG_N("messages", l->resent));
	l->resent = 0;
}

static void on_timer(struct wheel_timer *t, msec now)
{
	step(container_of(t, struct stack_kept, timer), now);
}

void stack_kept_lost(struct stack *s, unsigned node)
{
	struct stack_kept *l = s->kept;
	msec now = loop_now(s->loop);
	expire(l, now);
	/* Before what waits for the node already, in the order in which it left. */
	for (struct list *it = l->all.prev, *before; it != &l->all; it = before) {
		struct kept *k = container_of(it, struct kept, age);
		before = it->prev;
		if (k->to.node != node + 1)
			continue;
		if (k->first + keep_ms(l) <= now) { /* it has had its second time */
			drop(l, k);
			continue;
		}
		k->at = now;
		k->left = true;
		list_remove(&k->age);
		list_insert_after(&l->waiting[node], &k->age);
		l->waits |= UINT64_C(1) << node;
	}
}

void stack_kept_send(struct stack *s, unsigned more, bool suddenly)
{
	struct stack_kept *l = s->kept;
	msec now = loop_now(s->loop);
	l->resent += more;
	if (!suddenly)
		step(l, now);
	else if (l->waits || l->resent)
		wheel_arm(loop_wheel(s->loop), &l->timer, now + LAST_WORDS_MS);
}

struct stack_kept *stack_kept_new(struct stack *s)
{
	struct stack_kept *l = calloc(1, sizeof(*l));
	if (!l)
		return NULL;
	l->s = s;
	list_init(&l->all);
	wheel_timer_init(&l->timer, on_timer);
	for (unsigned i = 0; i < STACK_NODES_MAX; i++)
		list_init(&l->waiting[i]);
	for (unsigned i = 0; i < BUCKETS; i++)
		list_init(&l->bucket[i]);
	return l;
}

struct stack_kept *stack_kept_free(struct stack_kept *l)
{
	if (!l)
		return NULL;
	wheel_stop(loop_wheel(l->s->loop), &l->timer);
	for (struct kept *k; (k = least_needed(l));)
		drop(l, k);
	free(l);
	return NULL;
}
