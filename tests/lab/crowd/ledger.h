/*
 * The accounts: what began in an epoch is counted there, whenever it ends; an epoch that is
 * closed and has nothing open any more is printed as one line of JSON.
 */
#ifndef EAVES_LAB_LEDGER_H
#define EAVES_LAB_LEDGER_H

#include <stdbool.h>
#include <stdint.h>

typedef uint64_t msec; /* monotonic */

enum kind { KIND_ONE, KIND_PAR, KIND_SER, KINDS };
extern const char *const kind_name[KINDS];

/* Why a call is in the accounts as failed, or what else was wrong with it. */
enum fault {
	/* the call failed */
	FAULT_NO_FINAL,	    /* no final answer to its INVITE in time */
	FAULT_STATUS,	    /* another answer than planned: by_status has which */
	FAULT_NO_487,	    /* cancelled, and no final answer came */
	FAULT_NO_ACK,	    /* the answering device never got its ACK */
	FAULT_BYE,	    /* BYE was not answered, or not with 200 */
	FAULT_TWO_ANSWERS,  /* two devices' 200 reached the caller */
	FAULT_WRONG_ANSWER, /* answered though cancelled */
	FAULTS_OF_CALLS,
	/* phones were wronged, whatever the caller saw */
	FAULT_CANCEL_MISSING = FAULTS_OF_CALLS, /* rings on after an answer or CANCEL */
	FAULT_CANCEL_WRONG, /* cancelled without a reason, or after its answer */
	FAULT_RANG_TWICE,   /* a second INVITE of the same call */
	FAULT_RANG_LATE,    /* an INVITE after the call's end */
	FAULT_ORDER,	    /* serial: rung before its turn */
	FAULT_BYE_WRONG,    /* a BYE that nobody sent */
	FAULTS
};
extern const char *const fault_name[FAULTS];

/* What a phone waits for, from its first sending of what asks for it. */
enum wait {
	WAIT_INVITE,  /* INVITE to any response */
	WAIT_RINGING, /* INVITE to 180 */
	WAIT_ANSWER,  /* a device's answer to the caller's 200 */
	WAIT_ACK,     /* 200 to ACK */
	WAIT_487,     /* CANCEL to 487 */
	WAIT_CANCEL,  /* caller's CANCEL, or 200 there, to the CANCEL at a device */
	WAIT_BYE,
	WAIT_MESSAGE,
	WAIT_REGISTER,	/* each request of it */
	WAIT_RECONNECT, /* of a stream: closed until registered again */
	WAITS
};
extern const char *const wait_name[WAITS];

struct epoch {
	char name[64];
	bool closed;
	unsigned open;
	msec begun;
	uint64_t calls[KINDS], answered, cancelled, failed, fault[FAULTS], status[700];
	uint64_t messages, message_failed, message_lost, message_partial, message_twice;
	uint64_t registers, register_failed, bindings_lost, register_status[700];
	uint64_t reconnects, told;
	msec wait[WAITS];
};

enum { EPOCHS_MAX = 4096 };
struct ledger {
	struct epoch *epoch[EPOCHS_MAX];
	unsigned first, n; /* those before first are printed */
};

/* Closes the one before.  NULL when there is no room or memory. */
struct epoch *ledger_begin(struct ledger *l, const char *name, msec now);
static inline struct epoch *ledger_now(const struct ledger *l)
{
	return l->epoch[l->n - 1];
}
void ledger_wait(struct epoch *e, enum wait w, msec took);
/* Prints those that are complete, in their order. */
void ledger_print(struct ledger *l);

#endif
