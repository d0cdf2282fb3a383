/*
 * Guard against guessing: failures are counted by source (IPv4 address, IPv6 /64), and once
 * more by source and user name, in a bounded table; what has too many is refused for a while. A
 * success clears its own counts alone: who has a password of his own cannot guess another's
 * between two successes.  Thread-safe.
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

#endif
