/*
 * Time.  Protocol code never asks for it: `now` is an argument.  Only the rim calls these.
 */
#ifndef EAVES_BASE_TIME_H
#define EAVES_BASE_TIME_H

#include <stdint.h>

typedef uint64_t msec; /* monotonic milliseconds since an arbitrary start, never 0 */

msec time_now(void);
/* Wall clock, for expiry that must survive a restart and for nonces: ms since 1970. */
uint64_t time_wall_ms(void);
/* What all threads of this process have used of processors since its start. */
uint64_t time_cpu_ms(void);

#endif
