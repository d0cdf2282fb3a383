/*
 * The SIP stack of one worker: transport, transactions, resolution and the proxy engine wired
 * together, and the group of workers.  A call lives in one worker: the owner of a message is
 * hash(Call-ID) mod N; whoever receives another's message hands it over.
 */
#ifndef EAVES_STACK_STACK_H
#define EAVES_STACK_STACK_H

#include "common/dns/dns.h"
#include "common/net/net.h"
#include "common/net/tls.h"
#include "common/proxy/proxy.h"
#include "common/sip/splice.h"

enum { STACK_WORKERS_MAX = 64 };

struct poison;
struct stack;
struct stack_group;

/* What has become of a message that matched no transaction. */
enum stack_found {
	STACK_UNKNOWN, /* nothing */
	STACK_DONE,    /* it has been dealt with */
	STACK_AGAIN,   /* what it is for may be there now: it is matched once more */
};

/* What uses the stack: the roles of a process.  All are called in the worker's thread. */
struct stack_user {
	/* Who sent it: marks that travel with the message (the role's own bits), and f->node
	 * when a node of the cluster did.  opened: by a connection that we opened, so not to
	 * one of our listeners.  Called in the thread that received it, before any hand-over.
	 */
	uint32_t (*classify)(void *arg, struct sip_flow *f, bool opened,
			     const struct net_peer *peer);
	/* A new request that passed proxy_validate (r->msg and r->top are stamped); not ACK. To
	 * be answered (stack_reply) or forwarded (proxy_*) before returning, or later by way of
	 * a copy. */
	void (*request)(void *arg, struct stack *s, const struct proxy_request *r,
			uint32_t marks, msec now);
	/* A CANCEL that matches no transaction.  NULL, UNKNOWN: 481. */
	enum stack_found (*cancel)(void *arg, struct stack *s, const struct proxy_request *r,
				   uint32_t marks, msec now);
	/* A response that matches no transaction; again: still, after AGAIN.  NULL, UNKNOWN: it
	 * goes on statelessly. */
	enum stack_found (*response)(void *arg, struct stack *s, const struct sip_msg *m,
				     const struct sip_via *top, const struct sip_flow *src,
				     bool again, msec now);
	/* An ACK that belongs to no transaction here: to be passed on or dropped. */
	void (*ack)(void *arg, struct stack *s, const struct proxy_request *r, uint32_t marks,
		    msec now);
	/* A connection has ended. */
	void (*flow_closed)(void *arg, struct stack *s, const struct sip_flow *f);
	/* Is host:port (0: none) one of our names? Thread-safe. */
	bool (*is_local)(void *arg, struct span host, uint16_t port);
	/* One of this node's own (its listeners and addresses), not only of the domain's?
	 * Thread-safe; NULL: as is_local. */
	bool (*is_self)(void *arg, struct span host, uint16_t port);
	/* What a flow token in a Via of ours names: 0 or -errno; -EXDEV: the other member of
	 * our pair knows (*ret: it), and gets the response as it came.  May be NULL. */
	int (*read_flow)(void *arg, struct span token, uint16_t member, struct sip_flow *ret);

	/* ---- in a cluster, where all but link_no_tls must be there; else not called ---- */

	/* A token (as read_flow()'s) of a connection to us that is gone, of a phone that is
	 * back by another or may be yet; in the arena, empty: of nobody known.  In any worker.
	 */
	struct span (*lost_flow)(void *arg, const struct sip_flow *f);

	/* A request that a node sent: what it says of it is put into f (leg, remote: of the
	 * peer behind the node) and marks.  False: it says nothing that can be understood. */
	bool (*from_node)(void *arg, const struct sip_msg *m, struct sip_flow *f,
			  uint32_t *marks);
	/* What a link by TCP to that node begins with, so that it believes who we are: bytes in
	 * buf (room for NET_INTRODUCTION_MAX), 0: nothing. */
	size_t (*introduction)(void *arg, unsigned node, char *buf);
	/* A message to the link listener from the address of a node that has not proved yet to
	 * be there.  0: it does so, and ret->tag is what classify knows it by from now on;
	 * -EPERM: it does not; -ENOENT: it does not say who it is, and need not (f->node). */
	int (*introduced)(void *arg, const struct sip_msg *m, const struct sip_flow *f,
			  struct net_peer *ret);
	/* The node that gets what is for `node` now (indexes in stack_conf.node): that one, or
	 * the other member of its pair, which may be this one; -1: none lives.  ends: it
	 * answers a request other than INVITE, and is of use for that node alone as long as it
	 * lives. */
	int (*member)(void *arg, unsigned node, bool ends);
	/* The member of the node's pair that gets what is new for the pair; -1: none lives. */
	int (*chosen)(void *arg, unsigned node);
	/* This process was stopped for gap ms, so long that it was taken for dead: has another
	 * member gone on with its calls? */
	bool (*taken_over)(void *arg, msec gap);
	/* Has the address of this listener gone to another machine?  Requests that have come by
	 * its connections are passed over then; answers are not repeated, and count. */
	bool (*moved_away)(void *arg, uint16_t listener);
	/* The link with a node has broken. */
	void (*link_failed)(void *arg, unsigned node);
	/* One with a node that lives on the bus was opened in advance, and cannot be.  May be
	 * NULL. */
	void (*link_unopened)(void *arg, unsigned node);
	/* There is no TLS with whoever is at the far end of a link: `node` is the one whose
	 * address it is, -1: nobody's.  May be NULL. */
	void (*link_no_tls)(void *arg, int node, const struct addr *at,
			    const struct net_refusal *why);
	/* It is full, and something for it was refused. */
	void (*link_full)(void *arg, unsigned node);
};

struct stack_node {
	struct addr addr; /* where it takes SIP from nodes */
	const char *name; /* with TLS: the SIP identity of its certificate */
	const char *pair; /* nodes of one name of a pair are its members */
};

struct stack_conf {
	unsigned workers; /* 1 to STACK_WORKERS_MAX */
	unsigned moderation_us;
	struct net_conf net;
	struct proxy_local local[NET_LISTENERS_MAX]; /* one a listener; spans live with the
						      * group; port 0: the port bound */
	struct net_tls *tls;			     /* may be NULL */
	struct txn_timers timers;
	size_t transactions_max; /* of one worker */
	struct proxy_conf proxy;
	struct dns_conf dns;
	struct span secret;   /* of the cluster: all derived keys */
	uint32_t alias_marks; /* any of them: who is believed ";alias" without a certificate */
	/* Messages waiting for one worker, and as many that it is to send for others; default
	 * 65536. */
	uint32_t handover_max;
	/* Of a cluster, by index; they live with the group. */
	const struct stack_node *node;
	unsigned nnodes, self;
	uint32_t node_marks;	     /* of what a node sends: this one to itself, too */
	uint16_t link_listener;	     /* of policy cluster */
	bool is_edge;		     /* and not a home as well */
	uint32_t dead_ms;	     /* who is silent for so long is taken for dead */
	const struct poison *poison; /* what is refused; NULL: nothing */
};

struct stack_counters {
	uint64_t received, refused, dropped, handed_over, handover_full, handover_send_full,
		handover_error_full, handover_knock_full, replies, answered_stateless,
		acks_absorbed, send_failed, link_sent, link_down, link_failed, link_no_tls,
		link_full, link_kept, link_kept_full, link_late, link_resent, deferred,
		deferred_full, poison, trying_full, trying_told;
	uint64_t deferring, deferring_bytes, trying; /* now */
};

/*
 * Opens all listeners, starts nothing.  user_args: one per worker, given to the user's
 * functions. NULL: ret_error (256 bytes) tells.
 */
struct stack_group *stack_group_new(const struct stack_conf *c, const struct stack_user *user,
				    void *const *user_args, char *ret_error);
/* Starts a thread a worker.  0 or -errno. */
int stack_group_start(struct stack_group *g);
/* Stops listening; what is under way goes on.  In a cluster the links stay, and the connections
 * of phones are closed, so that they find the other member of the pair. */
void stack_group_drain(struct stack_group *g);
/* Stops the threads and waits for them. */
void stack_group_stop(struct stack_group *g);
/* After the stop, from the thread that stopped it: what was handed to the workers meanwhile
 * (the store's answers, sends, messages) is dealt with, and what is queued to be sent leaves.
 * How much there was. */
unsigned stack_group_finish(struct stack_group *g);
void stack_group_free(struct stack_group *g);
/* Can something still be sent over the connection?  From any thread. */
bool stack_flow_alive(const struct stack_group *g, const struct sip_flow *f);
/* A node of the cluster lives: its links are opened.  From any thread. */
void stack_group_node_lives(struct stack_group *g, unsigned node);
/* A node of the cluster is dead, or has hung up on its phones: what was sent to it a moment
 * ago, and will not be repeated by whoever sent it, goes to the other member of its pair.
 * suddenly: its connection to the bus has just broken.  From any thread. */
void stack_group_node_lost(struct stack_group *g, unsigned node, bool suddenly);
/* The node lives, but what it has passed on to its phones a moment ago is lost, or what they
 * have answered: it goes to it again.  From any thread. */
void stack_group_send_again(struct stack_group *g, unsigned node);
/* It has died, not only begun to drain: what is still on the way to it must not arrive when it
 * is back, for another has got it.  From any thread. */
void stack_group_sever(struct stack_group *g, unsigned node);
/* The address of a listener has gone from this machine: net_abandon().  From any thread. */
void stack_group_abandon(struct stack_group *g, unsigned listener);
/* net_knock() at the far end of a connection that another process had.  From any thread; no
 * more at a time than handover_max for a worker. */
void stack_group_knock(struct stack_group *g, const struct sip_flow *f);
struct stack *stack_group_worker(struct stack_group *g, unsigned i);

/* ---- of one worker ---- */

struct proxy *stack_proxy(struct stack *s);
struct loop *stack_loop(struct stack *s);
struct net *stack_net(struct stack *s);
const struct stack_counters *stack_counters(const struct stack *s);
const struct txn_counters *stack_txn_counters(const struct stack *s);
const struct dns_counters *stack_dns_counters(const struct stack *s);
const struct proxy_local *stack_local(const struct stack *s, uint16_t listener);

/*
 * Answers a request without a transaction (RFC 3261 8.2.7): the To tag is derived, so a
 * retransmission gets the same answer, and the ACK to it is recognised and absorbed.
 * reason: NULL for the usual phrase.  lines: more header lines, may be empty.
 */
void stack_reply(struct stack *s, const struct sip_msg *m, const struct sip_via *top,
		 const struct sip_flow *src, unsigned status, const char *reason,
		 struct span lines);
/* The same with the answer built elsewhere (e.g. after a store's commit). */
void stack_reply_bytes(struct stack *s, const struct sip_via *top, const struct sip_flow *src,
		       const struct bytes *b);
/* The To tag that stack_reply gives: 16 characters. */
void stack_reply_tag(const struct stack *s, const struct sip_msg *m, const struct sip_via *top,
		     char ret_tag[16]);
/* Takes a message in again in a moment, as if it had just come: for a phone whose connection
 * went with a node and who is expected back.  False: it has waited for five seconds, or there
 * is no room (of this worker: 10,000 messages, three quarters of net.link_bytes_max); it is to
 * be answered. */
bool stack_defer(struct stack *s, const struct sip_flow *f, const struct sip_msg *m,
		 uint32_t marks);
/* Has the message at work waited in stack_defer()? */
bool stack_has_waited(const struct stack *s);
/* The request at work, for whose INVITE there may be a transaction by now.  False: there is
 * none. */
bool stack_take_again(struct stack *s, const struct proxy_request *r, msec now);
/* Would a call with that Call-ID be this worker's? */
bool stack_owns(const struct stack *s, struct span call_id);
/* Sends over a flow from any worker: it is handed to the worker that owns the connection.
 * When too much waits for that one, it has failed. */
void stack_send(struct stack *s, const struct sip_flow *to, const struct iovec *iov, int n,
		uint64_t txn_id);

/* A message as it came from src, but for the edits (NULL: none), to a node or a phone: with a
 * Content-Length where that is read from a stream, and without Eaves-Link but from node to
 * node.  0, or -EOVERFLOW: too many edits, or fields of that name. */
int stack_pass(struct stack *s, const struct sip_flow *src, const struct sip_flow *to,
	       const struct sip_msg *m, struct sip_splice *edits);

/* Has this message, which was kept or written down and has not just come, crashed a process
 * before (docs/decisions/0008)?  Counted if so.  An empty one has not. */
bool stack_is_poison(struct stack *s, struct span message);

#endif
