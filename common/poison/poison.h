/*
 * Poison: messages that have crashed a process, here or at another node, and are refused for an
 * hour (docs/decisions/0008-poison.md).  Here are what is being worked on, how a message is
 * known again, and the set of what is refused; no I/O.  Who writes down and tells what crashed
 * him is common/app (crash.c, poison.c).
 */
#ifndef EAVES_POISON_POISON_H
#define EAVES_POISON_POISON_H

#include "common/base/mac.h"

#include <stdbool.h>
#include <sys/types.h>

enum {
	POISON_LIFE_MS = 3600 * 1000, /* from the crash */
	POISON_MAX = 512,	      /* refused at a time; the oldest make room */
};

/* ---- what a thread works on: what a handler of SIGSEGV finds in it ---- */

struct poison_work {
	const char *volatile p; /* NULL: no message */
	volatile size_t n;
};
extern _Thread_local struct poison_work poison_work;

static inline void poison_begin(const char *p, size_t n)
{
	poison_work.n = n;
	poison_work.p = p;
}
/* The same for what goes on by itself, and may do so inside of a message's work, which stays
 * accused then.  True: poison_end() is due. */
static inline bool poison_begin_alone(const char *p, size_t n)
{
	bool alone = !poison_work.p;
	if (alone)
		poison_begin(p, n);
	return alone;
}
/* The message has grown where it lies. */
static inline void poison_resize(size_t n)
{
	poison_work.n = n;
}
static inline void poison_end(void)
{
	poison_work.p = NULL;
}

/* A stack of its own for this thread's signal handlers, so that one can run when the thread's
 * is used up.  NULL: none, the thread goes on without. */
struct poison_stack;
struct poison_stack *poison_stack_new(void);
/* In the same thread.  Takes NULL; returns NULL. */
struct poison_stack *poison_stack_free(struct poison_stack *s);

/* ---- how a message is known again ---- */

/*
 * The same for a message wherever it comes by in the cluster, and for its retransmissions: of
 * start line (method or status, not the URI), Call-ID, CSeq, From, To and body; what forwarding
 * changes is not in it.  Of bytes that have no such fields: of all the bytes.  Never 0.  Reads
 * by itself, with nothing of the parser that may have crashed: async-signal-safe.
 */
uint64_t poison_fingerprint(const struct mac_key *k, struct span message);
/* Where the message ends that stands first in a stream, by the same reading: the bytes of it,
 * which may not all be there.  -EAGAIN: its head has no end yet.  0: it is none. */
ssize_t poison_extent(struct span bytes);
/* The answer to a request that is refused, made of copies of its fields: 403, with the
 * fingerprint as To tag where there is none.  Its length; 0: none is to be given (ACK, a
 * response), or it has not what an answer needs, or not the room. */
size_t poison_refusal(struct span message, uint64_t fingerprint, char *out, size_t cap);
enum { POISON_REFUSAL_ROOM = 96 }; /* bytes that a refusal may be longer than its request */
/* The fields that a message is known by, for a log; empty without. */
struct span poison_call_id(struct span message);

/* ---- what is refused ---- */

struct poison_item {
	uint64_t fingerprint;
	uint64_t at_ms; /* of the crash; wall clock */
};

struct poison;
/* NULL: out of memory. */
struct poison *poison_new(const struct mac_key *fingerprint_key);
/* Takes NULL; returns NULL. */
struct poison *poison_free(struct poison *p);
/* 1: it is new; 0: it was known; -ERANGE: it is too old, or of a time to come.  A time a little
 * ahead counts as now.  Any thread. */
int poison_add(struct poison *p, const struct poison_item *v, uint64_t now_ms);
/* Forgets what is older than POISON_LIFE_MS.  Any thread. */
void poison_sweep(struct poison *p, uint64_t now_ms);
/* How many are refused.  Any thread.  Takes NULL. */
unsigned poison_count(const struct poison *p);
/* Copies up to `max` of them, in no order; how many.  Any thread. */
unsigned poison_list(struct poison *p, struct poison_item *v, unsigned max);

enum poison_verdict {
	POISON_NONE,	/* to be worked on */
	POISON_REFUSED, /* refused: *ret_fingerprint */
	POISON_ACK,	/* the ACK to a refusal: ends here */
};
/* Of a message that has just come.  Without a lock; one load where nothing is refused.  p may
 * be NULL. */
enum poison_verdict poison_judge(const struct poison *p, struct span message,
				 uint64_t *ret_fingerprint);

/* ---- as it is told and kept: note.c ---- */

/* A datagram to the other nodes, under a MAC; async-signal-safe. */
enum { POISON_NOTE_BYTES = 40 };
void poison_note_write(const struct mac_key *note_key, unsigned node,
		       const struct poison_item *v, char out[POISON_NOTE_BYTES]);
/* 0, -EBADMSG (no note), -EPERM (another key). */
int poison_note_read(const struct mac_key *note_key, struct span note, unsigned *ret_node,
		     struct poison_item *ret);

/* A line of the file: "FINGERPRINT TIME\n"; async-signal-safe.  Its length. */
enum { POISON_LINE_MAX = 40 };
size_t poison_line_write(const struct poison_item *v, char out[POISON_LINE_MAX]);
/* A line without its end.  0 or -EBADMSG. */
int poison_line_read(struct span line, struct poison_item *ret);

/* Many for a message of the bus: POISON_ITEM_BYTES each. */
enum { POISON_ITEM_BYTES = 16 };
void poison_item_write(const struct poison_item *v, char out[POISON_ITEM_BYTES]);
struct poison_item poison_item_read(const char *from);

#endif
