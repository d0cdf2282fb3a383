/*
 * Metrics in Prometheus text.  A source is a function that writes what it has; sources are
 * asked at a scrape, from the admin thread, and read counters of other threads relaxed.
 */
#ifndef EAVES_METRICS_METRICS_H
#define EAVES_METRICS_METRICS_H

#include "common/base/span.h"

struct metrics_out; /* grows; sticky out-of-memory flag */
enum metrics_type { METRICS_COUNTER, METRICS_GAUGE };

/* Begins a family: one HELP and TYPE line.  name without the prefix "eaves_", which is added;
 * counters end in _total. */
void metrics_family(struct metrics_out *o, const char *name, enum metrics_type t,
		    const char *help);
/* One sample of the family begun: labels as `worker="0"` or NULL.  A family is begun once in a
 * page, and all of its samples follow it: a loop over workers is inside the family. */
void metrics_sample(struct metrics_out *o, const char *labels, double value);
/* Families of one sample without labels. */
void metrics_counter(struct metrics_out *o, const char *name, const char *help, uint64_t value);
void metrics_gauge(struct metrics_out *o, const char *name, const char *help, uint64_t value);

struct metrics;
struct metrics *metrics_new(void);
void metrics_free(struct metrics *m);
/* Before threads start.  0 or -ENOMEM. */
int metrics_add(struct metrics *m, void (*write)(void *arg, struct metrics_out *o), void *arg);
/* The whole page with a NUL behind it (not counted), to be freed with free(); NULL when out of
 * memory or above 16 MiB. */
char *metrics_render(struct metrics *m, size_t *ret_n);

#endif
