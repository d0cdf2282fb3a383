/*
 * What a simulated Redis has: hashes of bytes, which go when they come to their end.
 */
#ifndef EAVES_SIM_REDIS_KEYS_H
#define EAVES_SIM_REDIS_KEYS_H

#include "common/base/span.h"

struct redis_keys;
struct redis_field {
	struct span key, name, value;
};

struct redis_keys *redis_keys_new(void);
/* Its value; empty: it is not there. */
struct span redis_keys_get(const struct redis_keys *k, struct span key, struct span name);
/* Copies. */
void redis_keys_set(struct redis_keys *k, const struct redis_field *f);
/* HDEL. */
void redis_keys_drop(struct redis_keys *k, const struct redis_field *f);
/* When a key goes: PEXPIREAT, PERSIST; ms of the wall clock, 0: never. */
void redis_keys_set_end(struct redis_keys *k, struct span key, uint64_t ms);
uint64_t redis_keys_end(const struct redis_keys *k, struct span key);
/* In the order of their first writing, fields of one key together; each returns false to stop.
 */
void redis_keys_each(const struct redis_keys *k,
		     bool (*each)(void *arg, const struct redis_field *f), void *arg);
/* The power fails: what was written in this second is gone (appendfsync everysec). */
void redis_keys_lose(struct redis_keys *k);
/* All is gone. */
void redis_keys_forget(struct redis_keys *k);

#endif
