/*
 * What the files of the stack share.
 */
#ifndef EAVES_STACK_PRIV_H
#define EAVES_STACK_PRIV_H

#include "common/base/counter.h"
#include "common/base/log.h"
#include "common/poison/poison.h"
#include "common/stack/stack.h"

#include <pthread.h>
#include <string.h>

enum {
	STACK_ARENA_BYTES = 256 * 1024,
	STACK_ID_BITS = 56, /* of a transaction's id on the wire side; above: the worker */
	STACK_LINK = 0xff,  /* in a worker's place: the id is that of a node, counted from 1 */
	STACK_NODES_MAX = 64,
};

struct stack_kept;
struct stack_links;
struct stack_trying;
struct deferred;

enum { STACK_DEFERRED_BUCKETS = 256, STACK_ERRORS_MAX = 4096 };

struct stack {
	struct stack_group *group;
	unsigned index;
	struct loop *loop;
	struct net *net;
	struct dns *dns;
	struct locate *locate;
	struct txn_table *txns;
	struct proxy *proxy;
	struct arena arena;
	struct sip_msg msg;
	struct sip_hdr hdr[SIP_HDR_MAX];
	struct mac_key tag_key;
	struct mac_key owner_key;
	void *user_arg;
	struct stack_counters counters;
	struct log_limit poison_logged;
	struct poison_stack *signals; /* of the worker's thread */
	atomic_uint waiting;	      /* messages handed over, not dealt with yet */
	atomic_uint sends_waiting;    /* the same of what it is to send for others */
	atomic_uint errors_waiting;   /* and of ICMP errors */
	atomic_uint knocks_waiting;   /* and of whom it is to knock at */
	bool hung_up;		      /* on all but nodes */
	struct proxy_local local[NET_LISTENERS_MAX];
	struct addr bound[NET_LISTENERS_MAX];
	unsigned supported;	     /* bit a transport */
	struct stack_links *links;   /* NULL: no cluster */
	struct stack_kept *kept;     /* as links */
	struct stack_trying *trying; /* NULL: not at an edge of a cluster */
	bool delivering;	     /* msg is the message at work, from where it has come */
	const struct sip_flow *from;
	struct list deferred, deferred_by[STACK_DEFERRED_BUCKETS];
	uint64_t deferred_number;     /* of the last one */
	struct deferred *redelivered; /* the message at work; NULL: it has just come */
	pthread_t thread;
	bool running;
};

struct stack_group {
	struct stack_conf conf;
	struct stack_user user;
	unsigned n;
	struct stack *worker[STACK_WORKERS_MAX];
	struct stack_reuse *reuse;
};

extern const struct net_ops stack_net_ops;
extern const struct proxy_ops stack_proxy_ops;

/* Deals with a message in its owner. */
void stack_deliver(struct stack *s, const struct sip_flow *f, char *buf, size_t n, size_t cap,
		   uint32_t marks, bool indexed);
/* Hands a message to its owner; the bytes are copied.  False, and counted: too many wait for
 * that one, or there is no memory.  What has just come is lost then. */
bool stack_hand_over(struct stack *s, unsigned to, const struct sip_flow *f, const char *buf,
		     size_t n, uint32_t marks);
/* refuse.c: a message that has crashed a process before is not worked on.  True: it was one. */
bool stack_refuse_poison(struct stack *s, const struct sip_flow *f, struct span message);
/* Logs a message at trace level. */
void stack_trace(const char *event, const struct sip_flow *f, struct span message);
/* From the transport: what was sent under a wire id was not delivered. */
void stack_send_failed(struct stack *s, uint64_t wire_id);

bool stack_is_response(const struct iovec *iov);

/* An ICMP error that another worker's transport may know of. */
void stack_unreachable(struct stack *s, const struct addr *to, int error);

/* link.c: what goes to nodes of the cluster. */
struct stack_links *stack_links_new(struct stack *s);
struct stack_links *stack_links_free(struct stack_links *l);
/* Once the rest of the stack is there. */
void stack_links_start(struct stack *s);
/* again: a transaction of ours sends it, and does so again (txn_send_again). */
void stack_link_send(struct stack *s, const struct sip_flow *to, const struct iovec *iov, int n,
		     bool again);
/* To this node, as if it had come by a link.  0; -EAGAIN: too much waits for this worker, or
 * there is no memory. */
int stack_link_self(struct stack *s, const struct iovec *iov, int n);
/* To the node that stands for to->node now, which is *ret_node when there is one.  0;
 * -EHOSTUNREACH: none lives; -EAGAIN: its link, or this worker, is full (patient: there is
 * something in it that should leave first); -errno: it has broken, and the user was told. */
int stack_link_try(struct stack *s, const struct sip_flow *to, const struct iovec *iov, int n,
		   bool patient, unsigned *ret_node);
/* To the member of the node's pair (node: as in sip_flow) that gets what is new: which one that
 * is and what its link has got, the message the last; or -errno as of stack_link_try(). */
int stack_link_say(struct stack *s, uint16_t node, struct span message,
		   struct net_queue *ret_queue);
/* False: there is none. */
bool stack_link_queue(struct stack *s, unsigned node, struct net_queue *ret);
/* This node, or the other member of its pair. */
static inline bool stack_is_of_our_pair(const struct stack *s, unsigned node)
{
	const struct stack_conf *c = &s->group->conf;
	return node < c->nnodes && strcmp(c->node[node].pair, c->node[c->self].pair) == 0;
}
/* A connection has ended. */
void stack_link_closed(struct stack *s, const struct sip_flow *f);
/* net_ops.introduction. */
size_t stack_link_introduction(void *arg, const struct sip_flow *f, char *buf);
/* s->msg has come by a stream from nobody who is known, or from a node that is known by its
 * address alone.  True: it was the introduction, or the connection is closed: by another one
 * the node says who it is. */
bool stack_link_take(struct stack *s, const struct sip_flow *f, const struct net_peer *peer);
/* A connection that somebody has opened is up; there was no TLS with a peer: of those that are
 * no links, nothing. */
void stack_link_opened(struct stack *s, const struct sip_flow *f, const struct net_peer *peer);
void stack_link_no_tls(struct stack *s, const struct sip_flow *f,
		       const struct net_refusal *why);

/* kept.c: what nobody repeats. */
struct stack_kept *stack_kept_new(struct stack *s);
struct stack_kept *stack_kept_free(struct stack_kept *l);
/* The message that is being sent, for what is asked of it there: what is at work but for its
 * edits; of what a transaction sends by itself, it is read anew, into *room.  NULL: it is not
 * to be kept. */
const struct sip_msg *stack_kept_msg(const struct stack *s, const struct sip_flow *to,
				     const struct iovec *iov, int n, struct sip_msg *room);
/* It has left for the node (queue -1), or could not, and waits in the queue of some node; once:
 * until it has left.  False: there is no room for it. */
bool stack_keep(struct stack *s, const struct sip_flow *to, unsigned node,
		const struct sip_msg *m, const struct iovec *iov, int n, int queue, bool once);
/* The queue of what has to leave for the node before what is new; -1: nothing has. */
int stack_kept_ahead(const struct stack *s, unsigned node);
/* A response from a node: the request that it answers has arrived there. */
void stack_kept_answered(struct stack *s, const struct sip_msg *m);
/* An INVITE of a transaction of ours: have we just given its final answer to the other member
 * of our pair, which is gone with it, or could be?  Taken in here, then: to a device on a
 * stream the INVITE would be a new one. */
bool stack_kept_answers(struct stack *s, const struct iovec *iov);
/* A node is dead: what has left for it waits once more. */
void stack_kept_lost(struct stack *s, unsigned node);
/* Sends what waits as far as there is room, and the rest as soon as there is; more: how many
 * others were sent again, for the log.  suddenly: a moment later, for the node's last words may
 * still come by its link. */
void stack_kept_send(struct stack *s, unsigned more, bool suddenly);

/* trying.c: calls to devices behind an edge. */
struct stack_trying *stack_trying_new(struct stack *s);
struct stack_trying *stack_trying_free(struct stack_trying *y);
/* Something leaves for somebody who is no node, without a transaction. */
void stack_trying_sent(struct stack *s, const struct sip_flow *to, const struct iovec *iov);
/* Something leaves for a node: a response, or an INVITE for a device that the other edge has.
 */
void stack_trying_linked(struct stack *s, unsigned node);
/* Of an INVITE, as it left for the home, by a device that has said a final one to it. */
bool stack_trying_is_over(struct stack *s, const struct sip_msg *response);
/* The address of a listener has gone: answers do not come here any more. */
void stack_trying_abandon(struct stack *s, unsigned listener);
void stack_trying_lost(struct stack *s, unsigned node);

/* defer.c */
void stack_defer_init(struct stack *s);
/* A request that has just come: one of its call that came before, for the same place, waits,
 * and now it does too.  False where there is no room, too. */
bool stack_waits_its_turn(struct stack *s, const struct sip_flow *f, const struct sip_msg *m,
			  uint32_t marks);
void stack_defer_free(struct stack *s);

/* reuse.c: connections that peers opened; thread-safe. */
struct stack_reuse *stack_reuse_new(size_t connections);
struct stack_reuse *stack_reuse_free(struct stack_reuse *r);
void stack_reuse_add(struct stack_reuse *r, const struct sip_flow *f);
void stack_reuse_remove(struct stack_reuse *r, const struct sip_flow *f);
/* RFC 5923: requests to `at` may go by it; peer: the names in its certificate, or NULL.  In the
 * connection's worker. */
void stack_reuse_alias(struct stack_reuse *r, const struct sip_flow *f, const struct addr *at,
		       const struct net_peer *peer);
/* The newest to that address; name: what the certificate must be good for, or NULL. */
bool stack_reuse_find(struct stack_reuse *r, const struct sip_flow *to, const char *name,
		      struct sip_flow *ret);

#endif
