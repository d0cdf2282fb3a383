/*
 * For the files of common/net alone: the net of one worker, its listeners and its connections.
 * Rules: nothing here calls the owner's ops from within net_send or net_close; a connection
 * that dies goes to the list of the dead at once and is freed at the end of the round.
 */
#ifndef EAVES_NET_NET_PRIV_H
#define EAVES_NET_NET_PRIV_H

#include "common/base/counter.h"
#include "common/net/net.h"
#include "common/net/tls.h"
#include "common/sip/stamp.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <openssl/ssl.h>
#include <stdatomic.h>

enum {
	UDP_BATCH = 64,	   /* datagrams a system call */
	RECENT_MAX = 256,  /* UDP sends remembered for ICMP errors */
	LOST_MAX = 512,	   /* failed sends to be told of at the end of the round */
	SPARE_MAX = 32,	   /* output buffers kept for the next round */
	OUT_BYTES = 16384, /* an output buffer to begin with */
	HOST_MAX = 256,
};

/* ---- net.c ---- */

struct udp_rx;
struct udp_tx;
struct listener {
	struct net *net;
	struct event ev;
	struct addr addr;
	enum sip_transport transport;
	uint16_t index;
	bool require_peer;
	int fd; /* -1: not open (any more) */
	struct udp_tx *tx;
};

struct lost {
	uint64_t id;
	int error;
};
struct recent {
	struct addr to;
	uint64_t id;
	msec at;
};

struct hash_node {
	struct hash_node *next;
};
struct hash {
	struct hash_node **bucket;
	size_t mask;
};

struct conn;
struct live_slot;
struct live {
	uint64_t serial;
	uint32_t size, used, free; /* slots: all, ever used, first free one (size: none) */
	struct live_slot *v;
};

struct net {
	struct loop *loop;
	struct wheel *wheel;
	struct event_base *base;
	struct net_ops ops;
	struct net_conf conf;
	struct net_tls *tls;
	struct net_counters count;
	uint16_t worker;
	unsigned nlisteners;
	struct listener listener[NET_LISTENERS_MAX];
	int spare_fd; /* given up to accept and close when descriptors run out */

	struct udp_rx *rx;
	unsigned recent_next;
	struct recent recent[RECENT_MAX];
	unsigned nlost;
	struct lost lost[LOST_MAX];

	struct hash by_addr, by_source;
	struct live live;
	struct list all, dirty, dead;
	struct list fresh;   /* accepted, no message yet, oldest first */
	unsigned handshakes; /* gone on with in this round */
	char *scratch;	     /* where streams are read */
	size_t scratch_bytes;
	unsigned nspare;
	char *spare[SPARE_MAX];
};

/* To be told by ops->failed at the end of the round; id may be 0. */
void net_lost(struct net *n, uint64_t id, int error);
size_t iov_total(const struct iovec *iov, int niov);

/* ---- udp.c ---- */

int udp_open(struct listener *l);
void udp_close(struct listener *l);
int udp_init(struct net *n); /* what all UDP listeners share */
void udp_done(struct net *n);
int udp_send(struct listener *l, const struct addr *to, const struct iovec *iov, int niov,
	     uint64_t id);
void udp_flush(struct listener *l);
void udp_pass_over(struct listener *l); /* what has come and was not read */

/* ---- udp_error.c ---- */

void udp_error_setup(int fd, int family);
void udp_error_remember(struct net *n, const struct addr *to, uint64_t id);
void udp_error_drain(struct listener *l); /* its error queue: tells of the sends */
/* Of a send: is it our own address that nothing leaves from? */
bool udp_error_is_ours(const struct addr *to, int error);

/* ---- stream.c: life of a connection ---- */

enum conn_state {
	CONN_CONNECTING,
	CONN_HANDSHAKE,
	CONN_OPEN,
	CONN_CLOSING, /* writes what is queued */
	CONN_LINGER,  /* all is written; waits for the peer to close, so that it reads that */
	CONN_DEAD,
};

struct conn_id {
	uint64_t id;
	uint64_t end; /* written when so many bytes have been */
};
struct source;
struct tls_set;

struct conn {
	struct net *net;
	enum conn_state state;
	bool ours, was_open, asked; /* opened by us; was up; a link: pinged since last_rx */
	bool is_known, hears;	    /* in by_addr; reads in CONN_LINGER */
	int fd, error;
	struct event ev_read, ev_write;
	struct sip_flow flow;
	struct hash_node by_addr;
	struct addr known_as;	       /* in by_addr under this */
	struct list all, dirty, fresh; /* fresh: see struct net */
	struct source *source;
	struct wheel_timer timer;
	msec since;		     /* in this state */
	msec last_rx, partial_since; /* partial_since 0: no message begun */
	/* input: what is left of a message not whole yet */
	struct sip_framer framer;
	char *in;
	size_t in_n, in_cap;
	/* output */
	char *out;
	size_t out_off, out_n, out_cap;
	uint64_t written, queued; /* bytes, ever */
	struct conn_id *ids;
	unsigned ids_first, ids_n, ids_cap;
	/* TLS */
	SSL *ssl;
	struct tls_set *tls_set;
	char *tls_host;
	const char *tls_fault; /* why there is no TLS with the peer; NULL: nothing known */
	bool tls_fault_of_peer;
	struct net_peer *peer;
};

/* accept.c */
int stream_listen(struct listener *l);
void stream_stop_listening(struct listener *l);
void stream_pass_over(struct listener *l);   /* who waits to be accepted is reset */
int stream_socket(const struct listener *l); /* bound to its address; -errno */
struct conn *conn_new(struct net *n, int fd, const struct sip_flow *f);
int conn_open(struct net *n, const struct sip_flow *f, const char *tls_host,
	      struct conn **ret_conn);
bool conn_is_link(const struct conn *c); /* ours, of net_conf.link_listener */
void conn_kill(struct conn *c, int error);
void conn_close(struct conn *c); /* after what is queued */
void conn_reset(struct conn *c); /* without what is queued, here and in the system */
bool conn_reads(const struct conn *c);
void conn_deadline(struct conn *c); /* (re)arms the one that the state asks for */
void conn_set_state(struct conn *c, enum conn_state state);
/* All that was queued in CONN_CLOSING is written. */
void conn_linger(struct conn *c);
/* Connected and, with TLS, shaken hands. */
void conn_is_open(struct conn *c);
/* Tells of the dead and frees them. */
void conns_reap(struct net *n);
void conns_free_all(struct net *n);

/* ---- stream_tls.c ---- */

int conn_tls_start(struct conn *c, bool require_peer);
void conn_tls_handshake(struct conn *c);
/* The same, a few in a round: who all come back at once must not keep the others waiting. */
void conn_tls_handshake_fairly(struct conn *c);
void conn_tls_late(struct conn *c); /* it took too long */
void conn_tls_bye(struct conn *c);  /* close_notify */
void conn_tls_free(struct conn *c);
/* As recv and send: bytes, 0 (end of stream), -EAGAIN, -EPIPE ... */
ssize_t conn_tls_read(struct conn *c, char *buf, size_t n);
ssize_t conn_tls_write(struct conn *c, const char *buf, size_t n);

/* ---- stream_in.c, stream_out.c ---- */

void conn_readable(struct conn *c);
int conn_append(struct conn *c, const struct iovec *iov, int niov, uint64_t id);
void conn_flush(struct conn *c);
void conn_out_free(struct conn *c);

/* ---- table.c ---- */

int table_init(struct net *n);
void table_done(struct net *n);
int table_add(struct conn *c);	   /* gives it its identity; -ENOBUFS */
void table_remove(struct conn *c); /* from both */
struct conn *table_find(struct net *n, uint64_t id);
void table_know(struct conn *c, const struct addr *a);
/* A connection that may be used for what f names (RFC 5923), but its conn; host NULL: any. What
 * goes elsewhere than to a node never goes by a link, whose far end believes it, nor the other
 * way round. */
struct conn *table_reuse(struct net *n, const struct sip_flow *f, const char *host);
/* Counts one more of this source: 0, -EMFILE at its cap, -ENOMEM. */
int source_take(struct net *n, const struct addr *a, struct source **ret_source);
void source_give(struct net *n, struct source *s);

/* ---- live.c ---- */

int live_init(struct live *l, uint32_t max);
void live_done(struct live *l);
/* Its identity, higher than all before; 0: there are max already. */
uint64_t live_add(struct live *l, struct conn *c);
void live_remove(struct live *l, uint64_t conn);
struct conn *live_find(const struct live *l, uint64_t conn);

/* ---- tls.c ---- */

/* A connection's own; NULL: out of memory.  *ret_set is to be given back. */
SSL *tls_session(struct net_tls *t, bool server, bool require_peer, struct tls_set **ret_set);
void tls_set_unref(struct tls_set *s);

#endif
