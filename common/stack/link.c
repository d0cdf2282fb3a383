/*
 * Links: what goes to another node of the cluster.  A flow names the node; which member of its
 * pair gets the message is asked at the moment of sending.  Who sent by UDP repeats what was
 * lost with a node; what came by a stream is kept (kept.c).  A link is opened when its node
 * comes to life, so that it is there when much has to leave at once; that it is full says
 * nothing of the node, only that it breaks, or cannot be opened, does.
 */
#include "common/stack/stack_priv.h"

#include "common/base/log.h"
#include "common/proxy/journal.h"

#include <errno.h>
#include <stdlib.h>

enum {
	AGAIN_MS = 1000, /* a link that has ended is opened anew */
	/* What is not urgent leaves while less than that waits in the link. */
	ROOM_BYTES = 256 * 1024,
};

struct stack_links {
	struct stack *s;
	uint64_t live, ended; /* nodes; whose link has ended: a bit each */
	uint64_t opening;     /* not known yet whether it can be opened */
	struct wheel_timer again;
};

/* Of what is at work; what a transaction sends by itself is of an INVITE, or a request. */
static bool ends(const struct stack *s, const struct iovec *iov)
{
	return s->delivering && s->msg.method != SIP_INVITE && stack_is_response(iov);
}

/* This node is the one that it is for: what the other member of our pair would have got, and
 * what waits here for a phone that comes back. */
int stack_link_self(struct stack *s, const struct iovec *iov, int n)
{
	const struct stack_conf *c = &s->group->conf;
	const struct sip_flow from = {
		.transport = s->local[c->link_listener].transport,
		.listener = c->link_listener,
		.remote = c->node[c->self].addr,
		.node = (uint16_t)(c->self + 1),
	};
	size_t len = 0;
	for (int i = 0; i < n; i++)
		len += iov[i].iov_len;
	char *p = malloc(len);
	if (!p)
		return -EAGAIN;
	for (size_t i = 0, at = 0; i < (size_t)n; at += iov[i].iov_len, i++)
		memcpy(p + at, iov[i].iov_base, iov[i].iov_len);
	bool taken = stack_hand_over(s, s->index, &from, p, len, c->node_marks);
	free(p);
	return taken ? 0 : -EAGAIN;
}

/* Its address, and with TLS the name that its certificate must be good for. */
static struct sip_flow flow_to(const struct stack *s, unsigned node, const char **ret_name)
{
	const struct stack_conf *c = &s->group->conf;
	struct sip_flow f = {
		.transport = s->local[c->link_listener].transport,
		.listener = c->link_listener,
		.remote = c->node[node].addr,
	};
	*ret_name = f.transport == SIP_TRANSPORT_TLS ? c->node[node].name : NULL;
	return f;
}

static int send_to(struct stack *s, unsigned node, const struct iovec *iov, int n)
{
	const char *name;
	struct sip_flow f = flow_to(s, node, &name);
	stack_trace("sent", &f, span_of(iov[0].iov_base, iov[0].iov_len));
	int r = net_send(s->net, &f, iov, n, name,
			 (uint64_t)STACK_LINK << STACK_ID_BITS | (node + 1));
	if (r == 0) {
		counter_inc(&s->counters.link_sent);
	} else if (r == -EAGAIN || r == -ENOBUFS || r == -ENOMEM) {
		counter_inc(&s->counters.link_full);
		s->group->user.link_full(s->user_arg, node);
		r = -EAGAIN;
	} else {
		s->group->user.link_failed(s->user_arg, node);
	}
	return r;
}

static bool has_room(struct stack *s, unsigned node)
{
	struct net_queue q;
	const char *name;
	struct sip_flow f = flow_to(s, node, &name);
	return !net_queued(s->net, &f, name, &q) || q.given - q.taken < ROOM_BYTES;
}

int stack_link_try(struct stack *s, const struct sip_flow *to, const struct iovec *iov, int n,
		   bool patient, unsigned *ret_node)
{
	int node = s->group->user.member(s->user_arg, to->node - 1u, ends(s, iov));
	if (node < 0)
		return -EHOSTUNREACH;
	*ret_node = (unsigned)node;
	if (*ret_node == s->group->conf.self)
		return stack_link_self(s, iov, n);
	return patient && !has_room(s, *ret_node) ? -EAGAIN : send_to(s, *ret_node, iov, n);
}

/* What nobody repeats: it leaves now, or after what waits already.  False: it is lost. */
static bool send_kept(struct stack *s, const struct sip_flow *to, const struct sip_msg *m,
		      const struct iovec *iov, int n, bool again, unsigned *ret_node)
{
	int node = s->group->user.member(s->user_arg, to->node - 1u, ends(s, iov));
	int queue = node < 0 ? -1 : stack_kept_ahead(s, (unsigned)node);
	if (queue >= 0)
		*ret_node = (unsigned)node;
	else if (stack_link_try(s, to, iov, n, false, ret_node) < 0)
		queue = (int)*ret_node;
	else if (*ret_node == s->group->conf.self || again)
		return true;
	return stack_keep(s, to, *ret_node, m, iov, n, queue, again) || queue < 0;
}

void stack_link_send(struct stack *s, const struct sip_flow *to, const struct iovec *iov, int n,
		     bool again)
{
	struct sip_hdr hdr[SIP_HDR_MAX];
	struct sip_msg room = {.hdr = hdr};
	unsigned node = to->node - 1u;
	if (node >= s->group->conf.nnodes || !s->links) {
		counter_inc(&s->counters.link_down);
		return;
	}
	const struct sip_msg *m = stack_kept_msg(s, to, iov, n, &room);
	if (m ? send_kept(s, to, m, iov, n, again && m->is_request, &node)
	      : stack_link_try(s, to, iov, n, false, &node) == 0)
		stack_trying_linked(s, node);
	else
		counter_inc(&s->counters.link_down);
}

int stack_link_say(struct stack *s, uint16_t node, struct span message,
		   struct net_queue *ret_queue)
{
	struct iovec iov = {(char *)(uintptr_t)message.p, message.n};
	int chosen = s->group->user.chosen(s->user_arg, node - 1u);
	if (chosen < 0 || (unsigned)chosen == s->group->conf.self)
		return -EHOSTUNREACH;
	int r = has_room(s, (unsigned)chosen) ? send_to(s, (unsigned)chosen, &iov, 1) : -EAGAIN;
	if (r == 0 && !stack_link_queue(s, (unsigned)chosen, ret_queue))
		r = -ENOTCONN;
	return r < 0 ? r : chosen;
}

bool stack_link_queue(struct stack *s, unsigned node, struct net_queue *ret)
{
	const char *name;
	struct sip_flow f = flow_to(s, node, &name);
	return net_queued(s->net, &f, name, ret);
}

/* ---- when links are there ---- */

static void look_again(struct stack_links *l)
{
	if (!wheel_armed(&l->again))
		wheel_arm(loop_wheel(l->s->loop), &l->again, loop_now(l->s->loop) + AGAIN_MS);
}

static void open_link(struct stack *s, unsigned node)
{
	struct stack_links *l = s->links;
	const char *name;
	struct sip_flow f = flow_to(s, node, &name);
	net_open(s->net, &f, name);
	l->opening |= UINT64_C(1) << node;
	look_again(l);
}

/* That it cannot be opened is told before there is something to send, for that may be when the
 * other member dies.  It is no sign of the node's death. */
static void look_at(struct stack_links *l, unsigned node)
{
	const struct stack_user *u = &l->s->group->user;
	struct net_queue q;
	bool there = stack_link_queue(l->s, node, &q);
	if (there && !q.up)
		return;
	l->opening &= ~(UINT64_C(1) << node);
	if (!there && u->link_unopened)
		u->link_unopened(l->s->user_arg, node);
}

void stack_link_closed(struct stack *s, const struct sip_flow *f)
{
	const struct stack_conf *c = &s->group->conf;
	struct stack_links *l = s->links;
	for (unsigned i = 0; l && f->listener == c->link_listener && i < c->nnodes; i++) {
		if (!(l->live >> i & 1) || !addr_equal(&f->remote, &c->node[i].addr))
			continue;
		l->ended |= UINT64_C(1) << i;
		l->opening &= ~(UINT64_C(1) << i);
		look_again(l);
	}
}

static void on_again(struct wheel_timer *t, msec now)
{
	struct stack_links *l = container_of(t, struct stack_links, again);
	(void)now;
	uint64_t ended = l->ended & l->live;
	l->ended = 0;
	l->opening &= l->live;
	for (unsigned i = 0; i < l->s->group->conf.nnodes; i++) {
		if (ended >> i & 1)
			open_link(l->s, i);
		else if (l->opening >> i & 1)
			look_at(l, i);
	}
	if (l->opening)
		look_again(l);
}

struct stack_links *stack_links_new(struct stack *s)
{
	struct stack_links *l = calloc(1, sizeof(*l));
	if (!l)
		return NULL;
	l->s = s;
	wheel_timer_init(&l->again, on_again);
	return l;
}

struct stack_links *stack_links_free(struct stack_links *l)
{
	if (l)
		wheel_stop(loop_wheel(l->s->loop), &l->again);
	free(l);
	return NULL;
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

/* ---- who is at the far end ---- */

static int node_at(const struct stack *s, const struct addr *a,
		   bool (*equal)(const struct addr *, const struct addr *))
{
	const struct stack_conf *c = &s->group->conf;
	for (unsigned i = 0; i < c->nnodes; i++)
		if (i != c->self && equal(&c->node[i].addr, a))
			return (int)i;
	return -1;
}

size_t stack_link_introduction(void *arg, const struct sip_flow *f, char *buf)
{
	const struct stack *s = arg;
	int node = node_at(s, &f->remote, addr_equal);
	return node < 0 ? 0 : s->group->user.introduction(s->user_arg, (unsigned)node, buf);
}

bool stack_link_take(struct stack *s, const struct sip_flow *f, const struct net_peer *peer)
{
	struct net_peer proved = {.n = 0};
	/* A device may have written anything into its response. */
	if ((f->node && (peer || !s->msg.is_request)) ||
	    f->listener != s->group->conf.link_listener || net_opened(s->net, f) ||
	    node_at(s, &f->remote, addr_host_equal) < 0)
		return false;
	int r = s->group->user.introduced(s->user_arg, &s->msg, f, &proved);
	if (r == -ENOENT)
		return false;
	if (r < 0 || net_identify(s->net, f, &proved) < 0) {
		counter_inc(&s->counters.dropped);
		net_close(s->net, f);
	}
	return true;
}

void stack_link_no_tls(struct stack *s, const struct sip_flow *f, const struct net_refusal *why)
{
	const struct stack_conf *c = &s->group->conf;
	const struct stack_user *u = &s->group->user;
	int node = node_at(s, &f->remote, why->opened ? addr_equal : addr_host_equal);
	if (!s->links || f->listener != c->link_listener || (node < 0 && why->by_peer))
		return; /* somebody else has knocked, and gone */
	counter_inc(&s->counters.link_no_tls);
	if (u->link_no_tls)
		u->link_no_tls(s->user_arg, node, &f->remote, why);
}

void stack_link_opened(struct stack *s, const struct sip_flow *f, const struct net_peer *peer)
{
	static const struct net_refusal no_node = {.why = "its certificate names no node"};
	const struct stack_conf *c = &s->group->conf;
	struct sip_flow own = *f;
	if (!s->links || f->listener != c->link_listener || f->transport != SIP_TRANSPORT_TLS)
		return;
	s->group->user.classify(s->user_arg, &own, false, peer);
	if (!own.node)
		stack_link_no_tls(s, f, &no_node); /* what it sends is refused */
}

/* ---- from the bus's thread ---- */

struct node_work {
	struct loop_work work;
	struct stack *s;
	unsigned node;
	bool suddenly;
};

/* What is for a phone of the other member of our pair waits here until it is back. */
static bool went_to(void *arg, struct sip_flow *to)
{
	const struct node_work *x = arg;
	if (to->node != x->node + 1)
		return false;
	if (stack_is_of_our_pair(x->s, x->node))
		to->node = (uint16_t)(x->s->group->conf.self + 1);
	return true;
}

static void run_again(struct loop_work *w)
{
	struct node_work *x = container_of(w, struct node_work, work);
	struct stack *s = x->s;
	unsigned more = txn_send_again(s->txns, went_to, x, loop_now(s->loop));
	stack_kept_lost(s, x->node);
	stack_kept_send(s, more, x->suddenly);
	free(x);
}

static void run_lost(struct loop_work *w)
{
	struct node_work *x = container_of(w, struct node_work, work);
	stack_trying_lost(x->s, x->node);
	run_again(w);
}

static void run_sever(struct loop_work *w)
{
	struct node_work *x = container_of(w, struct node_work, work);
	x->s->links->live &= ~(UINT64_C(1) << x->node);
	net_sever(x->s->net, &x->s->group->conf.node[x->node].addr);
	free(x);
}

static void run_lives(struct loop_work *w)
{
	struct node_work *x = container_of(w, struct node_work, work);
	x->s->links->live |= UINT64_C(1) << x->node;
	open_link(x->s, x->node);
	free(x);
}

static void post(struct stack_group *g, unsigned node, bool suddenly,
		 void (*run)(struct loop_work *w))
{
	for (unsigned i = 0; i < g->n; i++) {
		struct node_work *x = g->worker[i]->links ? malloc(sizeof(*x)) : NULL;
		if (!x)
			continue;
		*x = (struct node_work){
			.work.run = run, .s = g->worker[i], .node = node, .suddenly = suddenly};
		loop_post(g->worker[i]->loop, &x->work);
	}
}

void stack_group_node_lives(struct stack_group *g, unsigned node)
{
	post(g, node, false, run_lives);
}

void stack_group_node_lost(struct stack_group *g, unsigned node, bool suddenly)
{
	post(g, node, suddenly, run_lost);
}

void stack_group_send_again(struct stack_group *g, unsigned node)
{
	post(g, node, false, run_again);
}

void stack_group_sever(struct stack_group *g, unsigned node)
{
	post(g, node, false, run_sever);
}
