/*
 * How often an event is logged that others can have happen at any rate.
 */
#include "common/base/log.h"

enum { EVERY_MS = 1000 };

bool log_may(struct log_limit *l, msec now)
{
	msec last = atomic_load_explicit(&l->last, memory_order_relaxed);

	if (last && now < last + EVERY_MS)
		return false;
	return atomic_compare_exchange_strong(&l->last, &last, now);
}
