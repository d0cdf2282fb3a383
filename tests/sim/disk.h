/*
 * Rows that outlive the process that wrote them: a node's disk, or a Redis.
 */
#ifndef EAVES_SIM_DISK_H
#define EAVES_SIM_DISK_H

#include "common/store/store.h"

struct disk;
struct disk_row {
	struct disk_row *next;
	struct store_row row;
};

struct disk *disk_new(void);
/* A copy. */
struct disk_row *disk_row_new(const struct store_row *r);
/* Takes the copy; it replaces an older version only. */
void disk_write(struct disk *d, struct disk_row *r);
/* Has the row the version that a guarded one expects? */
bool disk_fits(const struct disk *d, const struct store_row *guarded);
const struct store_row *disk_find(const struct disk *d, const struct store_row *like);
/* All that are not expired, until `each` fails: what it gave. */
int disk_each(const struct disk *d, uint64_t wall_ms,
	      int (*each)(void *arg, const struct store_row *row), void *arg);

#endif
