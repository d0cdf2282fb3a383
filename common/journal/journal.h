/*
 * The bytes of a fork's record (proto: Fork): what common/proxy/journal.h hands over, as it is
 * kept and sent to the other member of the pair.  Times become wall clock on the way, and
 * connections are left out: they are nobody's but the writer's.
 */
#ifndef EAVES_JOURNAL_JOURNAL_H
#define EAVES_JOURNAL_JOURNAL_H

#include "common/base/arena.h"
#include "common/base/bytes.h"
#include "common/proxy/journal.h"

/* One reference; NULL: out of memory. */
struct bytes *journal_pack(const struct proxy_fork *f, uint64_t wall_ms);
/* *ret: all of it is in a (about as large as body); a time that is past has 1 ms left.  0;
 * -EBADMSG; -ENOMEM. */
int journal_unpack(struct span body, uint64_t wall_ms, struct arena *a, struct proxy_fork *ret);

#endif
