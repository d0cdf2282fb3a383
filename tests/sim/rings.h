/*
 * Who rings on although the call is over: another device has answered, its caller has given up,
 * or has his final answer.
 */
#ifndef EAVES_SIM_RINGS_H
#define EAVES_SIM_RINGS_H

#include "tests/sim/event.h"

/* How long one may.  What is sent with a node's death is repeated T1 and 3 * T1 later: the
 * first may find neither the address moved nor the death known, the second finds both; and
 * there are the ways.  Where the network loses datagrams besides: until the fifth repeat of an
 * INVITE, 31 * T1 after it, for its CANCEL waits for a word of the phone. */
enum { RINGS_ON_MS = 2000, RINGS_ON_LOSSY_MS = RINGS_ON_MS + 31 * 500 };
/* Another time, whatever the network does. */
void rings_allow(usec most);
void rings_network(bool loses);
/* That INVITE has its answer, or was given up: all that ring for it are to stop.  Proxies leave
 * its Call-ID and CSeq alone. */
void rings_over(const char *call_id, uint32_t cseq);
/* A phone that rang for it from `since` on rings no more.  How long it has rung on, if that is
 * more than one may; 0: it is not. */
usec rings_end(const char *call_id, uint32_t cseq, usec since);
/* The longest of all. */
usec rings_longest(void);

#endif
