/*
 * For the files of the phones alone.
 */
#ifndef EAVES_SIM_UA_PRIV_H
#define EAVES_SIM_UA_PRIV_H

#include "common/base/arena.h"
#include "common/sip/build.h"
#include "common/sip/values.h"
#include "tests/sim/dgram.h"
#include "tests/sim/rings.h"
#include "tests/sim/stream.h"
#include "tests/sim/text.h"
#include "tests/sim/trace.h"
#include "tests/sim/ua.h"

enum {
	T1_MS = 500,
	T2_MS = 4000,
	T4_MS = 5000,
	TIMEOUT_MS = 64 * T1_MS,
	TOKEN_MAX = 48,
	FACTS_MAX = 128,
	DIALOGS_MAX = 4,
	ROUTES_MAX = 1024,
	CHALLENGES_MAX = 4,
	URI_MAX = 256,
};

/* ---- ua_auth.c ---- */

struct ua_auth {
	char realm[64], nonce[256], opaque[64];
	bool sha256, qop, known;
	uint32_t nc;
};
/* Takes over a challenge.  False: there is none that we can answer, or it says that the answer
 * was wrong (not stale). */
bool auth_take(struct ua_auth *a, const struct sip_msg *m, bool proxy);
void auth_add(struct ua_auth *a, const struct ua_conf *c, struct text *t, bool proxy,
	      const char *method, const char *uri, struct rng *rng);

/* ---- client transactions: ua_client.c ---- */

enum txn_state { TXN_TRYING, TXN_PROCEEDING, TXN_COMPLETED, TXN_ACCEPTED, TXN_CONFIRMED };

struct client {
	struct list link;
	struct ua *ua;
	enum sip_method method;
	enum txn_state state;
	bool canceled;
	uint32_t cseq;
	char branch[TOKEN_MAX];
	struct bytes *request;
	struct addr to;
	struct event again, limit;
	usec interval;
	/* Each response that the figures pass up; m NULL: none came (408).  May start others,
	 * and may not free this one. */
	void (*response)(struct client *c, const struct sip_msg *m);
	void *arg;
};
struct client *client_new(struct ua *u, const struct text *request, const char *branch,
			  const struct addr *to,
			  void (*response)(struct client *c, const struct sip_msg *m),
			  void *arg);
/* 9.1. */
void client_cancel(struct client *invite);
/* A response of one of ours?  False: it is dropped. */
bool client_receive(struct ua *u, const struct sip_msg *m);
/* The flow is there again: what it may have swallowed is sent once more. */
void clients_resend(struct ua *u);
bool client_is_open(const struct client *c);

/* ---- server transactions: ua_server.c ---- */

struct call;
struct server {
	struct list link;
	struct ua *ua;
	enum sip_method method;
	enum txn_state state;
	unsigned status; /* sent last */
	bool unsent;	 /* the flow was not there */
	unsigned losses; /* flow.losses when the answer left */
	char branch[2 * TOKEN_MAX], sent_by[64];
	struct sip_kept *request;
	struct bytes *answer;
	struct addr to;
	struct event again, limit;
	usec interval;
	struct call *call;
};
struct server *server_find(struct ua *u, const struct sip_msg *m, enum sip_method method);
struct server *server_new(struct ua *u, const struct sip_msg *m, const struct addr *from);
/* A request of a transaction that exists, or an ACK to a non-2xx: dealt with. */
bool server_absorb(struct ua *u, const struct sip_msg *m);
/* 8.2.2.2: the same request by another way. */
bool server_is_merged(struct ua *u, const struct sip_msg *m);
void server_answer(struct server *s, unsigned status, const char *to_tag, const char *lines,
		   const char *sdp);
void servers_resend(struct ua *u);

/* ---- calls: ua_call.c, ua_called.c ---- */

struct dialog {
	char remote_tag[TOKEN_MAX];
	char target[URI_MAX];
	char routes[ROUTES_MAX]; /* "<..>, <..>" in the order of use */
	bool confirmed;
	struct bytes *ack;
	uint32_t rseq; /* last reliable 1xx that was acknowledged */
};
enum call_state { CALL_CALLING, CALL_RINGING, CALL_ANSWERED, CALL_UP, CALL_ENDING, CALL_ENDED };
struct call {
	struct list link;
	struct ua *ua;
	unsigned number;
	bool caller, canceled;
	unsigned challenges;
	bool heard; /* a 1xx that makes a dialog */
	enum call_state state;
	char call_id[TOKEN_MAX], local_tag[TOKEN_MAX];
	char local[URI_MAX], remote[URI_MAX]; /* URIs of From and To */
	uint32_t cseq, remote_cseq;
	unsigned sdp;
	struct dialog dialog[DIALOGS_MAX];
	unsigned ndialogs;
	struct client *invite;	/* while it has no final answer */
	struct server *invited; /* until its final answer */
	bool hangs_up;		/* as soon as that answer is there */
	usec rang_at;		/* its INVITE came */
	struct event act, ring, again, limit;
	usec interval;
	uint32_t rseq;	/* of our reliable 1xx, 0: none */
	bool rseq_open; /* sent until it is acknowledged */
	bool pracked, answer_waits;
	struct bytes *repeat; /* 1xx or 2xx that is sent until it is acknowledged */
	struct addr repeat_to;
};
struct call *call_new(struct ua *u, bool caller);
struct call *call_find(struct ua *u, const struct sip_msg *m);
void call_set_state(struct call *c, enum call_state state);
void call_after(struct call *c, struct event *e, uint32_t ms, void (*run)(struct event *e));
/* A request inside the dialog d of a call; *ret_to: where it goes. */
void call_request(struct call *c, const struct dialog *d, const char *method, uint32_t cseq,
		  const char *lines, const char *sdp, char branch[TOKEN_MAX],
		  struct text *ret_text, struct addr *ret_to);
void call_is_up(struct call *c);
void call_bye(struct call *c, struct dialog *d);
void call_reinvite(struct call *c);
/* Our 1xx or 2xx until the far end acknowledges it. */
void call_repeat(struct call *c);
void call_repeat_end(struct call *c);
void call_sdp(const struct call *c, char out[64]);
/* Requests that reach us. */
void called_invite(struct ua *u, const struct sip_msg *m, const struct addr *from);
void called_cancel(struct ua *u, struct server *invite);
void called_ack(struct ua *u, const struct sip_msg *m);
void called_prack(struct call *c, struct server *s, const struct sip_msg *m);
/* Route set and target of a dialog; by_us: we sent the request that m is the response to. */
void dialog_learn(struct dialog *d, const struct sip_msg *m, bool by_us);

/* ---- registration: ua_register.c ---- */

struct registration {
	char call_id[TOKEN_MAX], tag[TOKEN_MAX];
	uint32_t cseq, expires_s;
	bool open, wanted, done;
	usec until;
	struct event refresh;
	unsigned yeses;
	bool use_gruu;
	char gruu[URI_MAX]; /* public; empty: none yet */
};
void register_now(struct ua *u);

/* ---- the way out and in: ua_wire.c ---- */

struct flow {
	struct stream_end *end;
	bool up;
	unsigned tries, losses;
	struct event again, ping, pong, move;
};
void ua_wire_init(struct ua *u);
/* Its network is another one in ms: the connection ends and is opened anew. */
void ua_moves(struct ua *u, uint32_t ms);
/* by TCP: over the flow; false when it is not there. */
bool ua_send(struct ua *u, const struct addr *to, struct span bytes);
/* The address that a request with these routes and target goes to first. */
struct addr ua_next_hop(struct ua *u, const char *routes, const char *target);
/* "host:port" and ";transport=tcp" or nothing: of Contact. */
void ua_contact(const struct ua *u, char out[URI_MAX]);
/* Of a dialog. */
void ua_dialog_contact(const struct ua *u, char out[URI_MAX]);
void ua_via(const struct ua *u, const char *branch, struct text *t);

struct ua {
	struct ua_conf c;
	struct host *host;
	struct addr local;
	struct udp_sock udp;
	struct flow flow;
	struct list clients, servers, calls;
	unsigned ncalls, next_token;
	struct rng rng;
	struct registration reg;
	struct ua_auth auth, proxy_auth;
	unsigned nfacts;
	char *fact[FACTS_MAX];
	char messages[1024]; /* texts that came, each in line ends */
};

/* ---- ua.c ---- */

void ua_receive(struct ua *u, const struct addr *from, struct span bytes);
void ua_fact(struct ua *u, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A name that was never used before. */
void ua_token(struct ua *u, const char *prefix, char out[TOKEN_MAX]);
struct span ua_header(const struct sip_msg *m, const char *name);

#endif
