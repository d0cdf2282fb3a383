/*
 * The Redis of a simulated cluster: a machine of its own.
 */
#ifndef EAVES_SIM_REDIS_H
#define EAVES_SIM_REDIS_H

#include "tests/sim/host.h"

/* Before any node that uses it starts. */
struct host *redis_machine(const char *ip);

#endif
