/*
 * Clocks.  For the rim only.
 */
#include "common/base/time.h"

#include <time.h>

static uint64_t clock_ms(clockid_t id)
{
	struct timespec t;
	clock_gettime(id, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

msec time_now(void)
{
	return clock_ms(CLOCK_MONOTONIC) + 1;
}

uint64_t time_wall_ms(void)
{
	return clock_ms(CLOCK_REALTIME);
}

uint64_t time_cpu_ms(void)
{
	return clock_ms(CLOCK_PROCESS_CPUTIME_ID);
}
