/*
 * The home role: what its files share.
 */
#ifndef EAVES_HOME_PRIV_H
#define EAVES_HOME_PRIV_H

#include "common/app/flows.h"
#include "common/app/role.h"
#include "common/auth/digest.h"
#include "common/auth/guard.h"
#include "common/directory/directory.h"
#include "common/flow/token.h"
#include "common/proxy/journal.h"
#include "home/registrar/registrar.h"

#include <stdatomic.h>

struct home_counters {
	_Atomic uint64_t challenged, auth_failed, auth_locked, identity_refused,
		outbound_denied, not_found, unavailable, redirected, forked, registers,
		registers_full, tasks_full, forks_written, forks_adopted, handed,
		cancels_handed, cancels_unknown;
};

/* Of one worker. */
struct home_journal {
	struct proxy_journal ops;
	struct home *home;
	struct app_worker *worker;
	/* Calls to be gone on with when their callers are back; NULL: none ever was. */
	struct wheel_timer again;
	struct home_awaited *awaited; /* a ring, by when they are looked at next */
	unsigned first_awaited, nawaited;
};

/* Calls of the other member, which is dead, until they are ours; the first worker's. */
struct home_orphans {
	struct wheel_timer timer;
	bool waiting;
	bool apart; /* nobody else is heard of either */
	msec since;
};

/* How many of this process's calls that may be written have a key of each class: what the other
 * member writes concerns nobody here where that is 0.  Counted in the workers, read by the
 * bus's thread. */
enum { HOME_HELD_BITS = 16 };
struct home_held {
	_Atomic uint32_t n[1 << HOME_HELD_BITS];
};

/* REGISTERs of one worker that wait for the store, in its thread. */
struct home_registers {
	unsigned n;
	size_t bytes;
};

struct home {
	struct records *records;
	struct cluster *cluster; /* NULL: the edge is in this process */
	const char *pair;	 /* ours; NULL without a cluster */
	struct app_dialog_counters dialog;
	struct app *app;
	uint64_t boot;		     /* of this process */
	struct flow_keys edge_flows; /* what edges make their tokens with */
	struct phones *phones;	     /* NULL without a cluster */
	struct home_journal journal[STACK_WORKERS_MAX];
	struct home_registers waiting[STACK_WORKERS_MAX];
	struct home_held held;
	atomic_size_t tasks_bytes[STACK_WORKERS_MAX]; /* fork.c: on their way to each worker */
	struct home_orphans orphans;
	msec dead_ms;
	size_t queue_bytes; /* cluster.queue_bytes */
	msec partner_lost;  /* when; the bus's thread's */
	bool partner_met;   /* in this life; the same */
	bool partner_told;  /* all that it took before its present life; the same */
	struct auth *auth;
	struct guard *guard;
	struct reg *reg;
	char *domain; /* kept for the registrar and the realm */
	char *realm;
	struct home_counters counters;
	atomic_bool store_failing; /* told once, and once that it works again */
};

static inline void home_count(_Atomic uint64_t *n)
{
	atomic_fetch_add_explicit(n, 1, memory_order_relaxed);
}

/* identity.c: the wall clock, read once for each `now` of a worker. */
uint64_t home_wall_ms(msec now);
/* Proves who sends.  True: *ret_name is the user's name (in the message or the arena), *ret
 * (may be NULL) his record.  False: it has been answered (challenge, 400, 403). */
bool home_authenticate(struct home *h, struct app_worker *w, const struct app_request *q,
		       enum auth_side side, struct span *ret_name, struct dir_user *ret,
		       msec now);
/* May whoever sends call other domains, himself or by a 3xx? */
bool home_may_call_out(struct home *h, const struct app_worker *w, const struct app_request *q);
/* A user name, alias resolved, in the arena; -ENOENT. */
int home_resolve(struct home *h, struct span name, struct span *ret_user, struct dir_user *ret);
/* The user of a SIP URI of our domain: -ENOENT when it is none of ours. */
int home_user_of(struct home *h, const struct app_worker *w, const struct sip_uri *u,
		 struct span *ret_user);

/* The edge: by a call where it is in this process, else by a link. */
void home_to_edge(struct home *h, struct app_worker *w, const struct app_request *q, msec now);

/* register.c: RFC 3261 10.3. */
void home_register(struct home *h, struct app_worker *w, const struct app_request *q, msec now);
/* route.c: to the devices of one of our users. */
void home_route(struct home *h, struct app_worker *w, const struct app_request *q, msec now);
void home_route_ack(struct home *h, struct app_worker *w, const struct app_request *q,
		    msec now);

/* cancel.c: a CANCEL for one of our users that matches no transaction; as app_role.cancel. */
enum stack_found home_cancel_unknown(struct home *h, struct app_worker *w,
				     const struct app_request *q, msec now);
/* route.c: makes the transactions of its INVITE, as that was forwarded by the other member. */
enum stack_found home_rebuild_cancel(struct home *h, struct app_worker *w,
				     const struct app_request *q, msec now);
/* A response to what the other member has forwarded: app_role.response. */
enum stack_found home_response(void *state, struct app_worker *w, const struct sip_msg *m,
			       const struct sip_via *top, const struct sip_flow *src,
			       bool again, msec now);

/* Where the phones of a call are that the other member began: as far as they are known, in
 * place of connections that were that one's.  -EAGAIN: its caller is expected back in a moment;
 * -EREMOTE: he is with the other member, and where he was with us, f->src is that connection.
 */
int home_find_phones(struct home *h, struct app_worker *w, struct proxy_fork *f);
/* Of a caller that was (token: proxy_fork.via_flow): is he still? */
bool home_is_awaited(struct app_worker *w, struct span token);
/* The hooks and the journal of calls to our users; the rest is empty. */
struct proxy_opts home_fork_hooks(struct home *h, struct app_worker *w);

/* ---- phone.c: the way to a phone ---- */

/* Whose connections are whose: 0 or -ENOMEM. */
int home_phones_start(struct home *h);
void home_phones_stop(struct home *h);
/* app_role.phones, reg_ops.flow_elsewhere. */
struct phones *home_phones(void *state);
enum reg_elsewhere home_elsewhere(void *arg, const struct sip_flow *f, uint64_t boot);
struct proxy_target home_way_to(const struct home *h, const struct app_worker *w,
				const struct reg_target *t);
/* proxy_hooks.find; arg: struct home_journal. */
void home_find_phone(void *arg, uint64_t tag, bool late, struct sip_flow *f,
		     struct span *record_user);
/* The user part of the Record-Route that faces it; may be empty. */
struct span home_phone_token(const struct app_worker *w, const struct reg_target *t);
/* What our pair has made for a phone and this member is to send it.  False: it is something
 * else. */
bool home_to_phone(struct home *h, struct app_worker *w, const struct app_request *q, msec now);

/* ---- fork.c: calls with something to decide, in common with the other member ---- */

/* What the calls of a worker are written with. */
struct home_journal *home_journal_of(struct home *h, struct app_worker *w);
/* NULL: there is no other member. */
const struct proxy_journal *home_journal(struct home *h, struct app_worker *w);
/* Goes on with a call of the other member's, which has left a record under that key
 * (proxy_request_key); true: it is here now. */
bool home_adopt_for(struct home *h, struct app_worker *w, uint64_t key,
		    const struct sip_msg *why, msec now);
/* It had a record, and has ended: its caller has a 2xx, or has ACKed another answer. */
bool home_fork_is_over(const struct home *h, uint64_t key);
/* With all calls of a node that is dead.  From any thread. */
void home_adopt_all(struct home *h, unsigned node);
/* Before any thread, and after all: what the workers wait with (home_journal.again) has ended
 * with their loops by then, and is not stopped here.  Stop: also of a home that did not start.
 */
void home_fork_start(struct home *h);
void home_fork_stop(struct home *h);
/* The other member goes on with calls that have no record: their keys, 8 bytes each.  From any
 * thread. */
void home_let_go_plain(struct home *h, struct span keys);
/* Ends all calls without a word: they are the other member's.  From any thread. */
void home_let_go_all(struct home *h);
/* For records_watch(). */
void home_fork_changed(void *arg, uint8_t kind, struct span group);

/* pair.c: the other member.  0 or -ENOMEM. */
int home_pair_start(struct home *h);
/* Of what both members of a pair see and one is to do: is it this one?  Asked at any moment
 * both may say yes, or none: what is done must bear that. */
bool home_is_active(const struct home *h);
/* Is it a member of our pair, this one too?  node: as sip_flow.node. */
bool home_of_our_pair(const struct home *h, uint16_t node);
void home_node_changed(void *state, unsigned node);
/* A call of the other member's has been rebuilt here: if that lives, the call is not to be left
 * to its timers there. */
void home_tell_rebuilt(struct home *h, uint64_t key);
void home_serving(void *state);
void home_notice(void *state, unsigned node, unsigned kind, struct span body);

/* commands.c */
enum { HOME_COMMANDS = 4 };
extern const struct admin_command home_commands[HOME_COMMANDS];

#endif
