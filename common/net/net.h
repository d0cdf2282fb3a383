/*
 * Transports of one worker: UDP in batches, TCP and TLS with strict framing (libevent,
 * OpenSSL). RFC 3261 section 18, RFC 5923 (connection reuse), RFC 5626 4.4.1 (CRLF keep-alive),
 * RFC 5922. Every worker opens the same listeners with SO_REUSEPORT.  WebSocket takes its place
 * here later.
 */
#ifndef EAVES_NET_NET_H
#define EAVES_NET_NET_H

#include "common/base/bytes.h"
#include "common/loop/loop.h"
#include "common/sip/flow.h"
#include "common/sip/frame.h"

#include <sys/uio.h>

struct net;
struct net_tls; /* shared by all workers: contexts, certificates by SNI; see net/tls.h */

enum { NET_LISTENERS_MAX = 16, NET_INTRODUCTION_MAX = 1024 };

struct net_listener {
	enum sip_transport transport;
	struct addr addr;      /* port 0: any (tests); net_listener_addr() tells */
	bool tls_require_peer; /* mutual TLS: a client certificate is asked for and verified */
	uint32_t more_bytes;   /* by so much a message of a stream may exceed the limits: links,
				  where nodes have added to what came within them */
};

struct net_conf {
	unsigned nlisteners;
	struct net_listener listener[NET_LISTENERS_MAX];
	struct sip_limits limits;
	uint32_t handshake_ms;	   /* TLS handshake, from accept; default 2000 */
	uint32_t message_ms;	   /* a started message must be whole; default 4000 */
	uint32_t idle_ms;	   /* nothing at all received; default 600000 */
	uint32_t connect_ms;	   /* default 3000 */
	uint32_t conns_max;	   /* of this worker; default 20000 */
	uint32_t conns_per_source; /* default 200 */
	uint32_t out_bytes_max;	   /* queued to one connection before it is closed; 256 KiB */
	/* Links: connections that we open from the listener with that index.  One whose queue
	 * is full refuses what is more, and goes on. */
	uint32_t link_listener;	   /* default NET_LISTENERS_MAX: there are none */
	uint32_t link_bytes_max;   /* queued to one of them; default 16 MiB */
	uint32_t udp_rcvbuf_bytes; /* default 4 MiB */
};
extern const struct net_conf net_conf_default;
/* Of a message by a stream of that listener, in bytes. */
static inline uint32_t net_message_max(const struct net_conf *c, unsigned listener)
{
	return c->limits.stream_bytes + c->listener[listener].more_bytes;
}

struct net_peer { /* of a TLS connection with a verified certificate, or of net_identify */
	char names[8][256]; /* SIP identities by RFC 5922: URI "sip:domain" and DNS
			     * subjectAltNames, else CN; lower case */
	unsigned n;
	unsigned tag; /* what net_identify was given; 0 of a certificate */
};

struct net_refusal {
	bool opened;	 /* by us */
	bool by_peer;	 /* he refuses us; else we him */
	const char *why; /* static text */
};

struct net_ops {
	/* One whole message.  buf holds n bytes and has room for cap (n + SIP_STAMP_ROOM at
	 * least); both belong to the callee until it returns.  peer: NULL unless TLS with a
	 * certificate, or net_identify. */
	void (*message)(void *arg, const struct sip_flow *f, char *buf, size_t n, size_t cap,
			const struct net_peer *peer);
	/* Before a stream's bytes are read: how many are to be passed over, because they are
	 * not even to be looked at; 0: none; -EAGAIN: more is needed to tell.  May be NULL. */
	ssize_t (*unread)(void *arg, const struct sip_flow *f, struct span bytes,
			  const struct net_peer *peer);
	/* No message: a stream that cannot go on (sip_framer's fault), or a datagram that is
	 * too long (513).  The callee may answer at once with net_send; the connection, if it
	 * is one, is closed when that is written.  head: of a stream start line and headers
	 * when these are whole, else what came; of a datagram its first limits.datagram_bytes,
	 * wherever that cuts it. */
	void (*broken)(void *arg, const struct sip_flow *f, struct span head,
		       const struct sip_fault *why);
	/* What was sent under `id` (not 0) was not delivered: connect failed, connection lost
	 * before it was written, or an ICMP error came for it. */
	void (*failed)(void *arg, uint64_t id, int error);
	/* UDP to this address did not arrive (ICMP), and it was not this net that sent there:
	 * net_unreachable() of the one that did is to be called.  May be NULL. */
	void (*unreachable)(void *arg, const struct addr *to, int error);
	/* A link by TCP is being opened: what it begins with, so that the far end believes who
	 * we are (net_identify); how many bytes are in buf (room for NET_INTRODUCTION_MAX), 0:
	 * nothing.  Called from within net_send and net_open: it calls nothing of this net. May
	 * be NULL. */
	size_t (*introduction)(void *arg, const struct sip_flow *f, char *buf);
	/* A connection that a peer opened is up (TLS: its handshake is done).  peer: as
	 * message. May be NULL. */
	void (*opened)(void *arg, const struct sip_flow *f, const struct net_peer *peer);
	/* No TLS with a peer: the handshake failed, or he has refused our certificate after it
	 * (TLS 1.3).  At the end of the round.  May be NULL. */
	void (*refused)(void *arg, const struct sip_flow *f, const struct net_refusal *why);
	/* A connection that was up has ended.  At the end of the round too. */
	void (*closed)(void *arg, const struct sip_flow *f);
	void *arg;
};

struct net_counters {
	uint64_t rx_udp, tx_udp, rx_stream, tx_stream, rx_bytes, tx_bytes, udp_tx_dropped,
		accepted, connected, refused_source, refused_full, closed_idle, closed_slow,
		closed_broken, closed_out_full, handshake_failed, keepalives, tls_reused,
		knocks;
	uint64_t udp_too_long;	  /* longer than limits.datagram_bytes: ops->broken was told */
	uint64_t udp_rx_dropped;  /* no message (keep-alives), or passed over */
	uint64_t lost_unreported; /* sends that failed faster than ops->failed could be told */
	uint64_t conns;		  /* now */
};

/* worker: this worker's number (in flows).  tls may be NULL without TLS listeners.
 * NULL: errno tells (a listener cannot be opened: *ret_listener is its index). */
struct net *net_new(struct loop *l, uint16_t worker, const struct net_conf *c,
		    const struct net_ops *ops, struct net_tls *tls, unsigned *ret_listener);
void net_free(struct net *n);
/* -EADDRINUSE when somebody listens there already, a server of the same user included: with
 * SO_REUSEPORT net_new() would share the port with it.  Before the first net_new().  Else 0. */
int net_listener_taken(const struct net_listener *l);
/* The address bound (after port 0). */
const struct addr *net_listener_addr(const struct net *n, unsigned i);

/*
 * Sends.  The bytes are copied (UDP: into the batch that leaves at the end of the round;
 * streams: into the connection's buffer).  Streams: over f->conn when it is set (-ENOTCONN when
 * it is gone), else over a connection to f->remote that may be reused, else a new one is opened
 * (tls_host: the name that the certificate must be good for; NULL: any name.  The chain is
 * always verified).  A new connection is bound to the address of listener f->listener.
 * f->worker must be this worker when f->conn is set.  id: handed to ops->failed, may be 0; not
 * handed over when net_send itself returns an error.
 * 0, -ENOTCONN, -ENOBUFS (queue or table full), -EAGAIN (the queue of a link is full),
 * -EMSGSIZE (UDP), -ENOTSUP (no such listener or transport), -ENOMEM.
 */
int net_send(struct net *n, const struct sip_flow *f, const struct iovec *iov, int niov,
	     const char *tls_host, uint64_t id);
/* Opens the connection that net_send() would open for f and tls_host, unless there is one: what
 * is sent later need not wait for it.  Nobody is told when it fails.  0, or as net_send(). */
int net_open(struct net *n, const struct sip_flow *f, const char *tls_host);
/* The connection that net_send() would use for f and tls_host, and how many bytes it was given
 * and the system took of it, ever. */
struct net_queue {
	uint64_t conn, given, taken;
	bool up; /* it stands, with TLS the handshake is done */
};
/* False: there is none. */
bool net_queued(struct net *n, const struct sip_flow *f, const char *tls_host,
		struct net_queue *ret);
/* Can something still be sent over f->conn?  From any thread; a moment later it may be
 * otherwise. */
bool net_flow_alive(const struct net *n, const struct sip_flow *f);
/* What was sent to this address by UDP a moment ago failed: ops->failed tells of it.  False:
 * nothing was. */
bool net_unreachable(struct net *n, const struct addr *to, int error);
/* Writes what is queued (for message_ms at most), then closes; nothing more is read from it and
 * net_send gives -ENOTCONN. */
void net_close(struct net *n, const struct sip_flow *f);
/* Who is at the far end of this connection has proved it in another way than by a certificate:
 * he is `peer` (copied) from its next message on.  0, -ENOTCONN, -ENOMEM. */
int net_identify(struct net *n, const struct sip_flow *f, const struct net_peer *peer);
/* Did we open this connection?  Then what comes by it has not come to a listener of ours.  In
 * the worker's thread. */
bool net_opened(const struct net *n, const struct sip_flow *f);
/* Accepts no more connections (drain).  Connections and UDP sockets live on: what is under way
 * must be able to end. */
void net_stop_listening(struct net *n);
/* The same, but for the listener with that index, whose connections (those opened from its
 * address too) live on: all others are closed, as by net_close(); but what their peers have
 * sent before they heard of that comes still. */
void net_hang_up(struct net *n, unsigned stays);
/* Resets the connections that we opened to this address: what has not arrived there by now will
 * not. ops->failed tells of what was not written yet. */
void net_sever(struct net *n, const struct addr *to);
/* The same of all connections of the listener with that index, of those opened from its address
 * too: the address has gone from this machine, and whatever is sent by them is for nobody. */
void net_abandon(struct net *n, unsigned listener);
/* A peer that was connected to this listener's address while another machine had it is made to
 * find out that the connection is gone.  0: that was sent; -errno: it could not be, most
 * often because the address is not here (yet), or because the connection is here and lives. */
int net_knock(struct net *n, unsigned listener, const struct addr *peer);
/* Nobody waits any more for what has come and was not read: UDP sockets are emptied, and
 * connections end at once that their far end has ended since, and those of the listener with
 * that index (those opened from its address too). */
void net_pass_over(struct net *n, unsigned listener);
const struct net_counters *net_counters(const struct net *n);

/* changed is called in the loop's thread soon after an address of the machine has come or gone,
 * and now and then without.  NULL: out of memory or descriptors, or the system does not tell.
 */
struct net_watch;
struct net_watch *net_addresses_watch(struct loop *l, void (*changed)(void *arg), void *arg);
/* Takes NULL; returns NULL. */
struct net_watch *net_addresses_unwatch(struct net_watch *w);

#endif
