/*
 * The Redis of a simulated cluster: one process on a machine of its own, which is killed,
 * stopped and started again as nodes are.  It writes an append-only file, as docs/redis.md has
 * it: what it had answered is there after a kill, and but for a second after a power failure.
 */
#ifndef EAVES_SIM_REDIS_H
#define EAVES_SIM_REDIS_H

#include "tests/sim/host.h"
#include "tests/sim/redis_keys.h"

/* Before any node that uses it starts; it runs. */
struct host *redis_machine(const char *ip);
/* NULL: there is none. */
struct host *redis_host(void);

bool redis_runs(void);
void redis_kill(bool silent);
/* empty: its files are lost. */
void redis_start(bool empty);
/* From now on it says yes to what is written, and keeps nothing of it. */
void redis_forget(void);
void redis_pause(void);
void redis_resume(void);
/* Can a node read and write there now? */
bool redis_serves(const struct host *from);
const struct redis_keys *redis_contents(void);

#endif
