/*
 * Answers kept until their TTL ends: a hash table with a bound, the least recently used goes
 * first.  The hash is keyed, since whoever writes a Route chooses the names.
 */
#include "common/dns/dns_priv.h"

#include "common/base/list.h"

#include <stdlib.h>

struct entry {
	struct list lru;
	struct entry *next;
	uint64_t hash;
	msec until;
	enum dns_type type;
	int error;
	unsigned n;
	char *name; /* behind the records */
	struct dns_record v[];
};

struct dns_cache {
	struct mac_key key;
	uint32_t entries, entries_max;
	size_t mask;
	struct list lru; /* most recently used first */
	struct entry *slot[];
};

uint64_t dns_name_hash(const struct mac_key *k, const char *name, enum dns_type t)
{
	struct mac m;

	mac_init(&m, k);
	mac_add_u64(&m, t);
	mac_add(&m, span_str(name));
	return mac_final(&m);
}

void dns_answer_copy(struct dns_answer *to, const struct dns_answer *from)
{
	to->error = from->error;
	to->n = from->n;
	memcpy(to->v, from->v, from->n * sizeof(from->v[0]));
}

struct dns_cache *dns_cache_new(uint32_t entries, const struct mac_key *key)
{
	size_t slots = 16;

	while (slots < entries)
		slots *= 2;
	struct dns_cache *c = calloc(1, sizeof(*c) + slots * sizeof(c->slot[0]));
	if (!c)
		return NULL;
	c->key = *key;
	c->entries_max = entries;
	c->mask = slots - 1;
	list_init(&c->lru);
	return c;
}

static struct entry **entry_find(struct dns_cache *c, uint64_t hash, const char *name,
				 enum dns_type t)
{
	struct entry **at = &c->slot[hash & c->mask];

	while (*at && ((*at)->hash != hash || (*at)->type != t || strcmp((*at)->name, name)))
		at = &(*at)->next;
	return at;
}

static void entry_drop(struct dns_cache *c, struct entry **at)
{
	struct entry *e = *at;

	*at = e->next;
	list_remove(&e->lru);
	c->entries--;
	free(e);
}

static void drop_oldest(struct dns_cache *c)
{
	struct entry *e = container_of(c->lru.prev, struct entry, lru);

	entry_drop(c, entry_find(c, e->hash, e->name, e->type));
}

void dns_cache_free(struct dns_cache *c)
{
	if (!c)
		return;
	while (c->entries)
		drop_oldest(c);
	free(c);
}

bool dns_cache_get(struct dns_cache *c, const char *name, enum dns_type t, msec now,
		   struct dns_answer *ret_a)
{
	struct entry **at = entry_find(c, dns_name_hash(&c->key, name, t), name, t);
	struct entry *e = *at;

	if (!e)
		return false;
	if (e->until <= now) {
		entry_drop(c, at);
		return false;
	}
	list_remove(&e->lru);
	list_insert_after(&c->lru, &e->lru);
	ret_a->error = e->error;
	ret_a->n = e->n;
	memcpy(ret_a->v, e->v, e->n * sizeof(e->v[0]));
	return true;
}

void dns_cache_put(struct dns_cache *c, const char *name, enum dns_type t, msec until,
		   const struct dns_answer *a)
{
	uint64_t hash = dns_name_hash(&c->key, name, t);
	struct entry **at = entry_find(c, hash, name, t);
	size_t records = a->n * sizeof(a->v[0]), len = strlen(name) + 1;

	if (*at)
		entry_drop(c, at);
	if (c->entries_max == 0)
		return;
	if (c->entries >= c->entries_max)
		drop_oldest(c);
	struct entry *e = malloc(sizeof(*e) + records + len);
	if (!e)
		return;
	*e = (struct entry){.hash = hash,
			    .until = until,
			    .type = t,
			    .error = a->error,
			    .n = a->n,
			    .name = (char *)e->v + records};
	memcpy(e->v, a->v, records);
	memcpy(e->name, name, len);
	e->next = c->slot[hash & c->mask];
	c->slot[hash & c->mask] = e;
	list_insert_after(&c->lru, &e->lru);
	c->entries++;
}
