/*
 * Counted bytes.  The count is atomic: bytes cross threads, an immutable message may be on its
 * way out in one worker while another keeps it.
 */
#include "common/base/bytes.h"

#include <stdlib.h>

struct bytes *bytes_new(size_t n)
{
	if (n > UINT32_MAX)
		return NULL;
	struct bytes *b = malloc(sizeof(*b) + n);
	if (!b)
		return NULL;
	atomic_init(&b->refs, 1);
	b->n = (uint32_t)n;
	return b;
}

struct bytes *bytes_dup(struct span s)
{
	struct bytes *b = bytes_new(s.n);
	if (b && s.n)
		memcpy(b->p, s.p, s.n);
	return b;
}

struct bytes *bytes_ref(struct bytes *b)
{
	atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
	return b;
}

struct bytes *bytes_unref(struct bytes *b)
{
	if (b && atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) == 1)
		free(b);
	return NULL;
}
