/*
 * Names that a certificate must be good for (RFC 5922), as small numbers that fit into a flow.
 * A bounded table: by hash into sets of a few ways, the one used longest ago makes room.  A
 * number is never used again for another name; who still holds one that went is told so.
 */
#include "common/locate/locate_priv.h"

#include <stdlib.h>
#include <string.h>

enum {
	SLOT_BITS = 11,
	SLOT_MASK = (1 << SLOT_BITS) - 1,
	SERIAL_MAX = (1 << (32 - SLOT_BITS)) - 1,
};
_Static_assert(NAME_SETS *NAME_WAYS == 1 << SLOT_BITS, "a slot fits into its bits");

static uint32_t number_of(const struct locate_names *n, size_t slot)
{
	return n->v[slot].serial << SLOT_BITS | (uint32_t)slot;
}

static size_t first_way(const struct locate_names *n, struct span name)
{
	struct mac m;

	mac_init(&m, &n->key);
	mac_add_icase(&m, name);
	return mac_final(&m) % NAME_SETS * NAME_WAYS;
}

/* 0: out of memory, or the slot's numbers are used up. */
uint32_t locate_name_add(struct locate_names *n, struct span name)
{
	size_t slot = first_way(n, name), oldest = slot, end = slot + NAME_WAYS;

	for (; slot < end; slot++) {
		struct locate_name *at = &n->v[slot];

		if (at->text && span_ieq(span_str(at->text), name)) {
			at->used = ++n->clock;
			return number_of(n, slot);
		}
		if (at->serial < SERIAL_MAX &&
		    (n->v[oldest].serial == SERIAL_MAX || at->used < n->v[oldest].used))
			oldest = slot;
	}
	struct locate_name *to = &n->v[oldest];
	char *text = to->serial == SERIAL_MAX ? NULL : strndup(name.p, name.n);

	if (!text)
		return 0;
	free(to->text);
	to->text = text;
	to->used = ++n->clock;
	to->serial++;
	return number_of(n, oldest);
}

const char *locate_name(const struct locate *l, uint32_t name)
{
	const struct locate_name *at = &l->names.v[name & SLOT_MASK];

	return name && at->serial == name >> SLOT_BITS ? at->text : NULL;
}

void locate_names_init(struct locate_names *n, uint64_t seed)
{
	n->key = (struct mac_key){seed, ~seed};
}

void locate_names_done(struct locate_names *n)
{
	for (size_t i = 0; i < NAME_SETS * NAME_WAYS; i++)
		free(n->v[i].text);
}
