/*
 * Links: what goes to another node of the cluster.  A flow names the node; which member of its
 * pair gets the message is asked at the moment of sending.  Who sent by UDP repeats what was
 * lost with a node.  Who sent by a stream does not: what came from there (a request, a final
 * response) is kept for two seconds, longer than it takes to find a node dead, and goes to the
 * other member then.  A request that has an answer is kept no longer.
 */
#include "common/stack/stack_priv.h"

#include "common/base/log.h"
#include "common/proxy/journal.h"

#include <errno.h>
#include <stdlib.h>

enum { KEEP_MS = 2000, BUCKETS = 1024, KEPT_MAX = 16384 };

struct kept {
	struct list age;    /* in links.all, the oldest first */
	struct list bucket; /* in links.bucket: requests */
	uint64_t key;
	msec at;
	struct sip_flow to;
	uint32_t n;
	char p[];
};

struct stack_links {
	struct list all;
	unsigned n;
	struct list bucket[BUCKETS];
};

struct stack_links *stack_links_new(void)
{
	struct stack_links *l = calloc(1, sizeof(*l));
	if (!l)
		return NULL;
	list_init(&l->all);
	for (unsigned i = 0; i < BUCKETS; i++)
		list_init(&l->bucket[i]);
	return l;
}

static void drop(struct stack_links *l, struct kept *k)
{
	list_remove(&k->age);
	list_remove(&k->bucket);
	l->n--;
	free(k);
}

struct stack_links *stack_links_free(struct stack_links *l)
{
	if (!l)
		return NULL;
	list_for_each_safe (it, &l->all)
		drop(l, container_of(it, struct kept, age));
	free(l);
	return NULL;
}

static void expire(struct stack_links *l, msec now)
{
	list_for_each_safe (it, &l->all) {
		struct kept *k = container_of(it, struct kept, age);
		if (k->at + KEEP_MS > now && l->n < KEPT_MAX)
			return;
		drop(l, k);
	}
}

/* A request and its responses have the same. */
static uint64_t key_of(const struct stack *s, const struct sip_msg *m)
{
	struct mac k;
	mac_init(&k, &s->owner_key);
	mac_add(&k, m->call_id);
	mac_add_u64(&k, m->cseq);
	mac_add(&k, m->method_text);
	return mac_final(&k);
}

/* The message that is being sent, for what is asked of it here: what is at work but for its
 * edits; of what a transaction sends by itself, it is read anew.  NULL: not to be kept. */
static const struct sip_msg *kept_msg(const struct stack *s, const struct sip_flow *to,
				      const struct iovec *iov, int n, struct sip_msg *room)
{
	const struct sip_msg *m = &s->msg;
	struct sip_limits lim = sip_limits_default;
	struct sip_fault fault;
	if (to->leg == SIP_TRANSPORT_NONE || !sip_transport_reliable(to->leg))
		return NULL;
	if (n == 1 || !s->delivering) {
		lim.stream_bytes = UINT32_MAX;
		lim.headers = SIP_HDR_MAX;
		lim.header_bytes = lim.commas = lim.semicolons = UINT16_MAX;
		if (n != 1 || sip_msg_index(room, span_of(iov->iov_base, iov->iov_len), true,
					    &lim, &fault) < 0)
			return NULL;
		m = room;
	}
	return (m->is_request ? m->method != SIP_ACK : m->status >= 200) ? m : NULL;
}

static void keep(struct stack *s, const struct sip_flow *to, unsigned node,
		 const struct sip_msg *m, const struct iovec *iov, int n)
{
	struct stack_links *l = s->links;
	msec now = loop_now(s->loop);
	size_t len = 0;
	for (int i = 0; i < n; i++)
		len += iov[i].iov_len;
	expire(l, now);
	struct kept *k = malloc(sizeof(*k) + len);
	if (!k)
		return;
	*k = (struct kept){.key = key_of(s, m), .at = now, .to = *to, .n = (uint32_t)len};
	k->to.node = (uint16_t)(node + 1);
	for (size_t i = 0, at = 0; i < (size_t)n; at += iov[i].iov_len, i++)
		memcpy(k->p + at, iov[i].iov_base, iov[i].iov_len);
	list_append(&l->all, &k->age);
	if (m->is_request)
		list_append(&l->bucket[k->key % BUCKETS], &k->bucket);
	else
		list_init(&k->bucket);
	l->n++;
	counter_inc(&s->counters.link_kept);
}

void stack_link_answered(struct stack *s, const struct sip_msg *m)
{
	if (s->links->n == 0)
		return; /* of phones on UDP nothing is kept */
	uint64_t key = key_of(s, m);
	list_for_each_safe (it, &s->links->bucket[key % BUCKETS]) {
		struct kept *k = container_of(it, struct kept, bucket);
		if (k->key == key)
			drop(s->links, k);
	}
}

/* Of what is at work; what a transaction sends by itself is of an INVITE, or a request. */
static bool ends(const struct stack *s, const struct iovec *iov)
{
	return s->delivering && s->msg.method != SIP_INVITE && stack_is_response(iov);
}

/* 0 or -errno; to the node that stands for to->node now, which is *ret_node. */
static int send_now(struct stack *s, const struct sip_flow *to, const struct iovec *iov, int n,
		    unsigned *ret_node)
{
	const struct stack_conf *c = &s->group->conf;
	int node = s->group->user.member(s->user_arg, to->node - 1u, ends(s, iov));
	if (node < 0)
		return -EHOSTUNREACH;
	struct sip_flow f = {
		.transport = s->local[c->link_listener].transport,
		.listener = c->link_listener,
		.remote = c->node[node].addr,
	};
	const char *name = f.transport == SIP_TRANSPORT_TLS ? c->node[node].name : NULL;
	*ret_node = (unsigned)node;
	stack_trace("sent", &f, span_of(iov[0].iov_base, iov[0].iov_len));
	return net_send(s->net, &f, iov, n, name,
			(uint64_t)STACK_LINK << STACK_ID_BITS | (unsigned)(node + 1));
}

void stack_link_send(struct stack *s, const struct sip_flow *to, const struct iovec *iov, int n)
{
	unsigned node = to->node - 1u;
	if (node >= s->group->conf.nnodes || !s->links) {
		counter_inc(&s->counters.link_down);
		return;
	}
	struct sip_hdr hdr[SIP_HDR_MAX];
	struct sip_msg room = {.hdr = hdr};
	int r = send_now(s, to, iov, n, &node);
	const struct sip_msg *m = kept_msg(s, to, iov, n, &room);
	if (m)
		keep(s, to, node, m, iov, n);
	if (r == 0) {
		counter_inc(&s->counters.link_sent);
		return;
	}
	counter_inc(&s->counters.link_down);
	if (r != -EHOSTUNREACH)
		s->group->user.link_failed(s->user_arg, node);
}

/* The other member has gone on with our calls and got what was sent to us, from the nodes or
 * from phones that repeat themselves: it would be served twice.  What a phone has sent by a
 * connection has reached nobody else. */
static void on_gap(void *arg, msec gap)
{
	struct stack *s = arg;
	if (!s->group->user.taken_over(s->user_arg, gap))
		return;
	log_event(LOG_WARN, "was-stopped", LOG_N("ms", gap));
	proxy_let_go_all(s->proxy);
	net_pass_over(s->net, s->group->conf.link_listener);
}

void stack_links_start(struct stack *s)
{
	if (s->group->conf.dead_ms)
		loop_on_gap(s->loop, s->group->conf.dead_ms, on_gap, s);
}

struct node_lost {
	struct loop_work work;
	struct stack *s;
	unsigned node;
};

static bool went_to(void *arg, const struct sip_flow *to)
{
	return to->node == *(const unsigned *)arg + 1;
}

/* It may be what the node died of. */
static bool is_poison(struct stack *s, const struct kept *k)
{
	uint64_t fingerprint;
	if (poison_judge(s->group->conf.poison, span_of(k->p, k->n), &fingerprint) !=
	    POISON_REFUSED)
		return false;
	counter_inc(&s->counters.poison);
	return true;
}

static void run_lost(struct loop_work *w)
{
	struct node_lost *x = container_of(w, struct node_lost, work);
	struct stack *s = x->s;
	uint64_t resent = 0;
	unsigned to;
	expire(s->links, loop_now(s->loop));
	list_for_each_safe (it, &s->links->all) {
		struct kept *k = container_of(it, struct kept, age);
		struct iovec iov = {k->p, k->n};
		if (k->to.node != x->node + 1)
			continue;
		if (is_poison(s, k)) {
			drop(s->links, k);
			continue;
		}
		if (send_now(s, &k->to, &iov, 1, &to) == 0) {
			k->to.node = (uint16_t)(to + 1);
			counter_inc(&s->counters.link_resent);
			resent++;
		}
	}
	resent += txn_send_again(s->txns, went_to, &x->node, loop_now(s->loop));
	if (resent)
		log_event(LOG_INFO, "link-resent", LOG_N("messages", resent));
	free(x);
}

static void run_sever(struct loop_work *w)
{
	struct node_lost *x = container_of(w, struct node_lost, work);
	net_sever(x->s->net, &x->s->group->conf.node[x->node].addr);
	free(x);
}

static void post(struct stack_group *g, unsigned node, void (*run)(struct loop_work *w))
{
	for (unsigned i = 0; i < g->n; i++) {
		struct node_lost *x = g->worker[i]->links ? malloc(sizeof(*x)) : NULL;
		if (!x)
			continue;
		*x = (struct node_lost){.work.run = run, .s = g->worker[i], .node = node};
		loop_post(g->worker[i]->loop, &x->work);
	}
}

void stack_group_node_lost(struct stack_group *g, unsigned node)
{
	post(g, node, run_lost);
}

void stack_group_sever(struct stack_group *g, unsigned node)
{
	post(g, node, run_sever);
}
