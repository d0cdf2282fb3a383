/*
 * A case touches a few hundred pages that it shares with who forked it, or that are mapped from
 * a file.  One fault each costs as much as the case itself where faults are dear (virtual
 * machines), so they are asked for at once.
 */
#include "tests/sim/cases.h"

#include <sys/mman.h>

#ifndef MADV_POPULATE_READ /* since Linux 5.14; before that each page waits for its fault */
#define MADV_POPULATE_READ  22
#define MADV_POPULATE_WRITE 23
#endif

enum { RANGES_MAX = 128, MOST_BYTES = 8 << 20 };

struct range {
	char *at;
	size_t n;
	bool writable;
};
static struct range ranges[RANGES_MAX];
static unsigned nranges;

static void learn(const char *line)
{
	unsigned long from, to;
	char flags[8];
	int name = 0;
	if (sscanf(line, "%lx-%lx %7s %*s %*s %*s %n", &from, &to, flags, &name) != 3 ||
	    to - from > MOST_BYTES || flags[0] != 'r' || flags[3] != 'p')
		return;
	/* Large blocks of their own are touched here and there only. */
	bool writable = flags[1] == 'w', block = name == 0 || line[name] == 0;
	if (nranges < RANGES_MAX && (writable ? !block : flags[2] == 'x'))
		ranges[nranges++] = (struct range){(char *)from, to - from, writable};
}

void prefault_learn(void)
{
	char line[512];
	FILE *maps = fopen("/proc/self/maps", "r");
	nranges = 0;
	while (maps && fgets(line, sizeof(line), maps))
		learn(line);
	if (maps)
		fclose(maps);
}

void prefault(void)
{
	for (unsigned i = 0; i < nranges; i++)
		madvise(ranges[i].at, ranges[i].n,
			ranges[i].writable ? MADV_POPULATE_WRITE : MADV_POPULATE_READ);
}
