/*
 * A crowd of phones in one process: it registers them, calls, cancels and writes messages at a
 * given pace, and keeps exact accounts of what became of each.  Every phone has a socket of its
 * own.  ledger.h has the accounts; README.md of tests/lab the commands and what is counted.
 */
#ifndef EAVES_LAB_CROWD_H
#define EAVES_LAB_CROWD_H

#include "tests/bench/sipload/text.h"
#include "tests/lab/crowd/ledger.h"
#include "tests/lab/crowd/write.h"

#include <netinet/in.h>

enum { T1_MS = 500, T2_MS = 4000 };
enum { DEVICES = 3, TARGETS_MAX = 8, MESSAGE_MAX = 8192 };
enum { CALLS_MAX = 1 << 14, OPS_MAX = 1 << 13, OVER_MAX = 1 << 13 };

/* What a user is there for: u0 is a caller, u1 has one device, and so on round. */
enum role { ROLE_CALLER, ROLE_ONE, ROLE_PAR, ROLE_SER, ROLE_CHURN, ROLES };
enum transport { UDP, TCP, TLS };

struct options {
	const char *domain, *source; /* source: our IPv4 address */
	enum transport transport;
	unsigned users, port, homes, expires_s, patience_ms, grace_ms;
	unsigned direct_percent; /* of the users, who are at their home and not at the edge */
	struct sockaddr_in edge, home[TARGETS_MAX];
	bool verbose;
};

struct stream;
enum bound { BOUND_UNKNOWN, BOUND_OUT, BOUND_IN };

/* A challenge that was answered; used again until it is refused. */
struct challenge {
	char realm[96], nonce[160], opaque[64];
	uint32_t nc;
};

struct phone {
	struct user *user;
	unsigned dev;
	struct sockaddr_in at, target;
	int fd;
	struct stream *stream;	      /* without: UDP */
	struct challenge auth[2];     /* of registrars, of proxies */
	enum bound bound;	      /* as the last answer to a REGISTER had it */
	bool busy, missed, was_bound; /* a REGISTER is under way; found missing, told once */
	msec bound_at;		      /* when that answer came */
	msec back_at;		      /* registered again after its stream had ended */
	msec closed_at;		      /* its stream; 0: open */
	unsigned port; /* in its contact: a stream's own port is another each time */
	uint32_t cseq;
	char gruu[128]; /* RFC 5627: its contact in dialogs, whatever its connection is */
};

struct user {
	unsigned index, home, ndev;
	enum role role;
	bool direct;
	struct phone *phone[DEVICES];
};

/* A request under way, repeated by timers A and E. */
struct request {
	struct phone *phone;
	struct sockaddr_in to;
	struct kept bytes;
	bool live, invite, provisional;
	msec first, next, interval;
};

enum call_state { CALL_FREE, CALL_SENT, CALL_RINGING, CALL_TALKING, CALL_BYE, CALL_DONE };
enum leg_state {
	LEG_NONE,
	LEG_RINGING,
	LEG_ANSWERED,  /* 200 sent, no ACK yet */
	LEG_CONFIRMED, /* ACK came */
	LEG_REFUSED,   /* 4xx sent */
	LEG_ENDED      /* BYE, or the ACK of a 4xx */
};

struct leg {
	enum leg_state state;
	struct phone *phone;
	char branch[128];
	struct kept head, last, routes; /* Via to CSeq; last response; Route lines of its own */
	struct sockaddr_in from;
	char peer[192]; /* the caller's contact */
	uint32_t bye_cseq;
	msec due, next, interval, since, rung, answered, ended;
};

struct call {
	uint32_t gen;
	enum call_state state;
	enum kind kind;
	struct epoch *epoch;
	struct phone *caller;
	struct user *callee;
	unsigned winner;
	bool cancel, burst; /* cancel: that is what the caller will do */
	bool cancelled, answered, failed, callee_ends;
	uint32_t cseq, invite_cseq;
	unsigned ring_ms, tries;
	unsigned port; /* in the INVITE's Via: that of CANCEL and ACK too (9.1, 17.1.1.3) */
	msec started, deadline, cancel_due, cancelled_at, final_at, hold_due, done_at;
	struct request invite, cancel_request, bye;
	struct kept ack;
	struct sockaddr_in ack_to;
	char to_tag[128], target[192];
	struct kept routes;
	struct leg leg[DEVICES];
};

/* A call that has ended, for who rings for it later. */
struct over {
	uint32_t slot, gen;
	enum kind kind;
	bool cancelled;
	msec started, done_at;
	uint32_t refused[DEVICES]; /* hash of the branch that it said no to; 0: it did not */
};

enum op_type { OP_FREE, OP_REGISTER, OP_MESSAGE, OP_FETCH };
struct op {
	uint32_t gen;
	enum op_type type;
	struct epoch *epoch;
	struct phone *phone;
	struct user *to; /* whom a message is for, whose bindings are fetched */
	struct sockaddr_in target;
	struct request request;
	uint32_t cseq;
	unsigned expires_s, tries, got; /* got: bit for each device that has the message */
	uint32_t branch[DEVICES];	/* hash of the branch that it came with */
	bool final, accepted;
	msec done_at;
};

struct crowd {
	struct options opt;
	struct ledger ledger;
	msec now;
	uint64_t random;
	uint32_t run; /* tells this run's Call-IDs from another's */
	int epoll;
	struct user *user;
	struct call *call;
	struct op *op;
	uint32_t free_call[CALLS_MAX], free_op[OPS_MAX];
	struct over over[OVER_MAX]; /* the latest */
	unsigned nover;
	unsigned nfree_call, nfree_op, calls, ops, high_call,
		high_op;	 /* high: slots ever used */
	double rate[3], owed[3]; /* calls, messages, registers a second */
	unsigned mix[KINDS], cancel_percent;
	struct sockaddr_in side[2]; /* where churning phones register instead */
	bool sides, ended;
	int only;		    /* home whose users are called and audited; -1: any */
	bool leaving;		    /* told when no phone is registered any more */
	bool settling;		    /* told when every phone is there again */
	bool registering, bursting; /* told when all phones are registered, all calls ring */
	msec burst_until;
	/* audit */
	bool auditing;
	char audit_name[64];
	struct sockaddr_in audit_at;
	unsigned audit_next, audit_open, audit_lost, audit_back, audit_failed, audit_bindings,
		audit_users;
};

unsigned crowd_random(struct crowd *c, unsigned below);

/* net.c */
int net_open(struct crowd *c, struct phone *p, unsigned port);
void net_send(struct crowd *c, struct phone *p, const struct sockaddr_in *to, const char *bytes,
	      size_t n);
void net_poll(struct crowd *c, int wait_ms);
/* Keep-alives, and streams that are to be opened again. */
void net_tick(struct crowd *c, struct phone *p);
bool net_up(const struct phone *p);
int net_tls_init(void);

/* request.c */
void request_start(struct crowd *c, struct request *r, struct phone *p,
		   const struct sockaddr_in *to, const struct out *o, bool invite);
void request_provisional(struct crowd *c, struct request *r);
void request_stop(struct request *r);
/* Sends again what is due.  False when its time is up. */
bool request_tick(struct crowd *c, struct request *r);
/* A stream is open again: what was never answered at all is sent once more. */
void request_again(struct crowd *c, struct request *r);

/* call.c, leg.c */
bool call_start(struct crowd *c, enum kind kind, bool cancel, bool burst);
void call_response(struct crowd *c, struct call *x, const struct message *m);
void call_tick(struct crowd *c, struct call *x);
void call_release(struct crowd *c, struct call *x);
void call_ends(struct crowd *c, struct call *x); /* BYE to the caller */
void call_fail(struct crowd *c, struct call *x, enum fault why);
void call_reopened(struct crowd *c, struct phone *p);
void leg_request(struct crowd *c, struct call *x, struct phone *p, const struct message *m,
		 const struct sockaddr_in *from);
void leg_tick(struct crowd *c, struct call *x, struct leg *g);
void leg_again(struct crowd *c, struct leg *g);
void leg_bye(struct crowd *c, struct call *x, struct leg *g);
void leg_done(struct leg *g);

/* op.c */
bool op_message(struct crowd *c);
bool op_register(struct crowd *c, struct phone *p, unsigned expires_s);
bool op_churn(struct crowd *c);
bool op_fetch(struct crowd *c, struct user *u, const struct sockaddr_in *at);
void op_response(struct crowd *c, struct op *o, const struct message *m, struct span bytes);
/* Of a branch; not 0. */
uint32_t hash_of(struct span branch);
void op_request(struct op *o, struct phone *p, const struct message *m);
void op_tick(struct crowd *c, struct op *o);
void op_reopened(struct crowd *c, struct phone *p);
void op_closed(struct crowd *c, struct phone *p);

/* route.c: from bytes to the call or operation that they belong to */
void take(struct crowd *c, struct phone *p, struct span bytes, const struct sockaddr_in *from);
void reply(struct crowd *c, struct phone *p, const struct message *m, const char *status,
	   const struct sockaddr_in *from);
/* "c0001200000abc-run": letter, slot, generation */
void write_id(char to[40], const struct crowd *c, char letter, uint32_t slot, uint32_t gen);
static inline uint32_t call_slot(const struct crowd *c, const struct call *x)
{
	return (uint32_t)(x - c->call);
}
static inline uint32_t op_slot(const struct crowd *c, const struct op *o)
{
	return (uint32_t)(o - c->op);
}

/* command.c */
void command_poll(struct crowd *c);
/* What goes on until it can be told: registering, a burst, an audit. */
void command_step(struct crowd *c);

#endif
