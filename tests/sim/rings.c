/*
 * When INVITEs were over, and how long phones have rung on since.  What begins to ring after
 * that (an INVITE that was lost with a node is sent again; RFC 3261 9.1 has its CANCEL wait for
 * a word of the phone) is counted from then on.
 */
#include "tests/sim/rings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OVER_MAX = 64, ID_MAX = 48 };

struct over {
	char call_id[ID_MAX];
	uint32_t cseq;
	usec at;
};
static struct over over[OVER_MAX];
static unsigned nover;
static usec allowed = USEC_MS(RINGS_ON_MS), longest;
static bool told;

void rings_allow(usec most)
{
	allowed = most;
	told = true;
}

void rings_network(bool loses)
{
	if (!told)
		allowed = USEC_MS(loses ? RINGS_ON_LOSSY_MS : RINGS_ON_MS);
}

static const struct over *find(const char *call_id, uint32_t cseq)
{
	for (unsigned i = 0; i < nover; i++)
		if (over[i].cseq == cseq && strcmp(over[i].call_id, call_id) == 0)
			return &over[i];
	return NULL;
}

void rings_over(const char *call_id, uint32_t cseq)
{
	if (find(call_id, cseq))
		return;
	if (nover == OVER_MAX)
		abort();
	struct over *o = &over[nover++];
	snprintf(o->call_id, sizeof(o->call_id), "%s", call_id);
	o->cseq = cseq;
	o->at = sim_now();
}

usec rings_end(const char *call_id, uint32_t cseq, usec since)
{
	const struct over *o = find(call_id, cseq);
	if (!o)
		return 0;
	usec on = sim_now() - (o->at > since ? o->at : since);
	if (on > longest)
		longest = on;
	return on > allowed ? on : 0;
}

usec rings_longest(void)
{
	return longest;
}
