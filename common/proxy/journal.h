/*
 * What cannot be derived of an INVITE is written down before it is acted upon, so that the
 * other member of a pair can go on with it: a fork with several targets, a CANCEL, a fail-over.
 * A call to one device that is answered, rejected or times out writes nothing.  See
 * docs/decisions/0007-rebuilding.md; how a fork becomes bytes: common/journal.
 */
#ifndef EAVES_PROXY_JOURNAL_H
#define EAVES_PROXY_JOURNAL_H

#include "common/proxy/proxy.h"

enum proxy_fork_state {
	PROXY_FORK_WAITING, /* in a later group */
	PROXY_FORK_SPARE,   /* another flow to the device of the branch before it */
	PROXY_FORK_CALLING, /* sent, or about to be */
	PROXY_FORK_DONE,
};

struct proxy_fork_branch {
	struct span uri, route, record_user;
	struct span branch;    /* of its Via, where that cannot be derived; or empty */
	struct span response;  /* a final one as it came, which is still to be dealt with */
	struct span challenge; /* a 401 or 407 as it would go on, while others may add theirs */
	uint64_t tag;	       /* proxy_target.tag */
	/* The target's, or where it was sent; transport NONE: it was not yet. */
	struct sip_flow flow;
	uint32_t attempt, breadth;
	uint32_t timer_c_ms; /* left; 0: it does not run */
	uint16_t q;
	uint8_t state; /* enum proxy_fork_state */
	bool has_flow; /* the target's */
	bool strict;   /* its first Route value is a strict router's */
	bool cancelled;
};

/* Plain data: times are what is left of them. */
struct proxy_fork {
	uint64_t key;	     /* proxy_request_key() */
	struct span request; /* as it came, stamped */
	struct sip_flow src; /* where it came from, and answers go */
	/* proxy_opts */
	struct span lines, record_user, path, via_flow;
	uint64_t strip, strip_responses;
	bool no_record_route;

	bool cancelled; /* by the caller */
	bool partial; /* `request` was made of a response or a CANCEL: nothing is made of it */
	struct span cancel_lines; /* for the CANCELs that go on (Reason) */
	struct span best;     /* the best final response so far, as it would go on; or empty */
	uint16_t best_status; /* 0: none yet */
	uint16_t final;	      /* sent to the caller, a 2xx; or 0 */
	uint32_t serial_ms;   /* until the next group's turn; 0: no time runs */
	unsigned n;
	struct proxy_fork_branch *v; /* in the order of trying */
};

/* Where forks are written.  One of these may serve all calls; it outlives them. */
struct proxy_journal {
	/* f is borrowed, and replaces what was written of f->key before.  done(done_arg) is
	 * called once, in the worker's thread, from inside or later, when it is where it must
	 * be (or cannot be): what waits for it goes on then.  Not after proxy_free(). */
	void (*write)(void *arg, const struct proxy_fork *f, void (*done)(void *done_arg),
		      void *done_arg);
	/* The call has ended. */
	void (*drop)(void *arg, uint64_t key);
	/* From now on the call may be written (and let go by that key: proxy_let_go), or no
	 * more: it has gone from here.  May be NULL. */
	void (*holds)(void *arg, uint64_t key, bool held);
	void *arg;
};

/*
 * Goes on with the whole call of a record that the other member wrote: when that one is found
 * dead, or when something comes for a transaction that is not here.  Devices that may still
 * ring get their INVITE again (a retransmission, to them), those that are to stop their CANCEL;
 * deadlines that are past fire at once.  What led here is then given to txn_recv_request() or
 * txn_recv_response() (or proxy_rebuild_from_response, when its branch is not in the record).
 * f: the role may put other flows into it before (a connection of the other member's is none
 * here).  why: the request or response that led here; NULL: the other member is dead.  After a
 * CANCEL, a 2xx or a 6xx no INVITE leaves: all that ring will be cancelled.  opts: hooks and
 * journal; the rest is in f.
 * 0; -EEXIST: the call is here; -EBADMSG: f is damaged, or of other keys; -ENOMEM, -ENOSPC.
 */
int proxy_adopt(struct proxy *p, const struct proxy_fork *f, const struct sip_msg *why,
		const struct proxy_opts *opts, msec now);
/* The other member took this one for dead and has gone on with the call (its record has come
 * from there): it ends here, and nothing is sent.  False: no such call.  These look at the
 * calls of that key alone. */
bool proxy_let_go(struct proxy *p, uint64_t key);
/* The same of a call without a record: the other member has made its transactions of something
 * that came there. */
bool proxy_let_go_plain(struct proxy *p, uint64_t key);
/* The same with all calls: this node was stopped for so long that it was taken for dead. */
void proxy_let_go_all(struct proxy *p);
/* m, which we sent, has waited: is it an INVITE that has been answered, or whose transaction is
 * over, or was let go of?  To its device it may be a new one by now. */
bool proxy_is_past(const struct proxy *p, const struct sip_msg *m, const struct sip_via *top);

#endif
