/*
 * What the files of the stack share.
 */
#ifndef EAVES_STACK_PRIV_H
#define EAVES_STACK_PRIV_H

#include "common/base/counter.h"
#include "common/poison/poison.h"
#include "common/stack/stack.h"

#include <pthread.h>

enum {
	STACK_ARENA_BYTES = 256 * 1024,
	STACK_ID_BITS = 56, /* of a transaction's id on the wire side; above: the worker */
	STACK_LINK = 0xff,  /* in a worker's place: the id is that of a node, counted from 1 */
};

struct stack_links;

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
	msec poison_logged;
	struct poison_stack *signals; /* of the worker's thread */
	atomic_uint waiting;	      /* messages handed over, not dealt with yet */
	struct proxy_local local[NET_LISTENERS_MAX];
	struct addr bound[NET_LISTENERS_MAX];
	unsigned supported;	   /* bit a transport */
	struct stack_links *links; /* NULL: no cluster */
	bool delivering;	   /* msg is the message at work */
	struct list deferred;
	msec deferred_since; /* of the message at work; 0: it has just come */
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
/* Hands a message to its owner; the bytes are copied. */
void stack_hand_over(struct stack *s, unsigned to, const struct sip_flow *f, const char *buf,
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
struct stack_links *stack_links_new(void);
struct stack_links *stack_links_free(struct stack_links *l);
/* Once the rest of the stack is there. */
void stack_links_start(struct stack *s);
void stack_link_send(struct stack *s, const struct sip_flow *to, const struct iovec *iov,
		     int n);
/* A response from a node: the request that it answers has arrived there. */
void stack_link_answered(struct stack *s, const struct sip_msg *m);

/* defer.c */
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
