/*
 * Guard against guessing: failures are counted by source (IPv4 address, IPv6 /64), and once
 * more by source and user name, in a bounded table; what has too many is refused for a while. A
 * success clears its own counts alone: who has a password of his own cannot guess another's
 * between two successes.  Who is locked is remembered in clear, to be shown and lifted.
 * Thread-safe.
 */
#ifndef EAVES_AUTH_GUARD_H
#define EAVES_AUTH_GUARD_H

#include "common/base/addr.h"
#include "common/base/time.h"

struct guard;
struct guard_conf {
	uint32_t failures; /* within window_s before a lock; 0: never lock; default 20 */
	uint32_t window_s; /* default 60 */
	uint32_t lock_s;   /* default 300 */
	uint32_t entries;  /* default 65536 */
};
extern const struct guard_conf guard_conf_default;
struct guard *guard_new(const struct guard_conf *c);
void guard_free(struct guard *g);
/* user: p NULL for the source as a whole. */
bool guard_locked(struct guard *g, const struct addr *src, struct span user, msec now);
/* A failed attempt; true when this one locks (log it once). */
bool guard_failed(struct guard *g, const struct addr *src, struct span user, msec now);
/* A success clears the count. */
void guard_passed(struct guard *g, const struct addr *src, struct span user, msec now);
uint64_t guard_locks(const struct guard *g);

/* ---- for an operator; from any thread, slowly: they go through the whole table ---- */

enum { GUARD_NAME_MAX_BYTES = 128 };

struct guard_lock {
	struct addr source;
	struct span user; /* p NULL: the source as a whole; of a longer name its beginning */
	uint32_t failures;
	msec left_ms;
};
/* Whose: locks of that user (p NULL: no user's) and of sources in that network (NULL: no
 * source's); of IPv6 the whole /64.  Neither: all. */
struct guard_whose {
	struct span user;
	const struct addr_net *net;
};
/* Those in force, in no order; a lock is gone when the call returns. */
void guard_each(struct guard *g, struct guard_whose whose, msec now,
		void (*each)(void *arg, const struct guard_lock *l), void *arg);
/* Lifts them, and of a source where a user was locked the source's own too: it has his failures
 * against it.  They begin to be counted anew.  How many locks there were. */
unsigned guard_lift(struct guard *g, struct guard_whose whose, msec now);
/* As a lock is shown: the address, of IPv6 the /64. */
size_t guard_source_text(const struct addr *source, char out[ADDR_TEXT_MAX]);

#endif
