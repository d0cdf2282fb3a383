/*
 * For rim_net.c and rim_conn.c alone: the net of a worker and its connections.
 */
#ifndef EAVES_SIM_RIM_NET_H
#define EAVES_SIM_RIM_NET_H

#include "common/net/net.h"
#include "common/net/tls.h"
#include "common/sip/stamp.h"
#include "tests/sim/dgram.h"
#include "tests/sim/rim.h"
#include "tests/sim/stream.h"

enum { LOST_MAX = 512, RECENT_MAX = 64, TLS_HOST_MAX = 256 };

struct listener {
	struct net *net;
	struct addr addr;
	enum sip_transport transport;
	uint16_t index;
	bool require_peer, stopped;
	struct udp_sock udp;
	struct stream_listener stream;
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

struct net {
	struct node_part part;
	struct loop *loop;
	struct wheel *wheel;
	struct net_ops ops;
	struct net_conf conf;
	struct net_tls *tls;
	struct net_counters count;
	uint16_t worker;
	uint64_t serial; /* of connections */
	unsigned nlisteners;
	struct listener listener[NET_LISTENERS_MAX];
	struct out *out, **out_end;
	unsigned recent_next;
	struct recent recent[RECENT_MAX];
	unsigned nlost;
	struct lost lost[LOST_MAX];
	struct list all, dirty, dead;
	bool passes_over; /* what has come while the process was paused; in this round */
	char *scratch;
};

enum conn_state { CONN_CONNECTING, CONN_HANDSHAKE, CONN_OPEN, CONN_DEAD };

struct message {
	struct message *next;
	uint64_t id;
	size_t n;
	char bytes[];
};
struct conn {
	struct net *net;
	enum conn_state state;
	bool ours, was_open, closing, hears;
	int error;
	struct sip_flow flow;
	struct addr known_as;
	struct stream_end *end; /* NULL: it has ended */
	struct list all, dirty;
	struct wheel_timer timer;
	msec last_rx;
	struct message *out, **out_end;
	uint64_t given, taken; /* bytes, ever */
	char tls_host[TLS_HOST_MAX];
	struct net_peer *peer;
};

/* To be told by ops->failed at the end of the round. */
void net_lost(struct net *n, uint64_t id, int error);
void net_deliver(struct net *n, const struct sip_flow *f, struct span bytes,
		 const struct net_peer *peer);

/* ---- rim_conn.c ---- */

void conn_on_accept(struct stream_listener *l, struct stream_end *e, const struct addr *from);
int conn_send(struct net *n, const struct sip_flow *f, const struct iovec *iov, int niov,
	      const char *tls_host, uint64_t id);
void conn_flush(struct conn *c);
/* Ends those that their far end has ended. */
void conns_pass_over(struct net *n);
/* Those of one listener. */
void conns_reap(struct net *n);
void conns_kill_all(struct net *n, bool silent);

#endif
