/*
 * INVITE calls by the name that both members of a pair have for their request (branch.c): what
 * the other member has gone on with is found without a walk over all calls.
 */
#include "common/proxy/call.h"

#include <stdlib.h>

enum { BUCKETS_FIRST = 64 };

int proxy_keys_init(struct proxy_keys *k)
{
	*k = (struct proxy_keys){.mask = BUCKETS_FIRST - 1};
	k->bucket = calloc(BUCKETS_FIRST, sizeof(*k->bucket));
	return k->bucket ? 0 : -ENOMEM;
}

void proxy_keys_done(struct proxy_keys *k)
{
	free(k->bucket);
	k->bucket = NULL;
}

/* Twice the buckets.  Without memory the chains get longer. */
static void grow(struct proxy_keys *k)
{
	size_t n = 2 * (k->mask + 1);
	struct proxy_call **v = calloc(n, sizeof(*v));
	if (!v)
		return;
	for (size_t i = 0; i <= k->mask; i++) {
		for (struct proxy_call *c = k->bucket[i], *next; c; c = next) {
			struct proxy_call **at = &v[c->key & (n - 1)];
			next = c->next_of_key;
			c->next_of_key = *at;
			*at = c;
		}
	}
	free(k->bucket);
	k->bucket = v;
	k->mask = n - 1;
}

void proxy_keys_add(struct proxy_keys *k, struct proxy_call *c)
{
	if (k->n > k->mask)
		grow(k);
	struct proxy_call **at = &k->bucket[c->key & k->mask];
	c->next_of_key = *at;
	*at = c;
	k->n++;
}

void proxy_keys_remove(struct proxy_keys *k, struct proxy_call *c)
{
	struct proxy_call **at = &k->bucket[c->key & k->mask];
	while (*at && *at != c)
		at = &(*at)->next_of_key;
	if (!*at)
		return;
	*at = c->next_of_key;
	k->n--;
}

static struct proxy_call *from(struct proxy_call *c, uint64_t key)
{
	while (c && c->key != key)
		c = c->next_of_key;
	return c;
}

struct proxy_call *proxy_keys_first(const struct proxy_keys *k, uint64_t key)
{
	return from(k->bucket[key & k->mask], key);
}

struct proxy_call *proxy_keys_next(const struct proxy_call *c)
{
	return from(c->next_of_key, c->key);
}

size_t proxy_keys_longest(const struct proxy_keys *k)
{
	size_t longest = 0;
	for (size_t i = 0; i <= k->mask; i++) {
		size_t n = 0;
		for (const struct proxy_call *c = k->bucket[i]; c; c = c->next_of_key)
			n++;
		longest = n > longest ? n : longest;
	}
	return longest;
}
