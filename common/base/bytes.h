/*
 * Counted, immutable-after-filling bytes: what crosses a queue or outlives its message (a
 * request kept for retransmission, a response to repeat).
 */
#ifndef EAVES_BASE_BYTES_H
#define EAVES_BASE_BYTES_H

#include "common/base/span.h"

#include <stdatomic.h>

struct bytes {
	atomic_uint refs;
	uint32_t n;
	char p[];
};

/* n uninitialised bytes, one reference; NULL when out of memory. */
struct bytes *bytes_new(size_t n);
/* A copy of s, one reference; NULL when out of memory. */
struct bytes *bytes_dup(struct span s);
struct bytes *bytes_ref(struct bytes *b);
/* Takes NULL; returns NULL. */
struct bytes *bytes_unref(struct bytes *b);

static inline struct span bytes_span(const struct bytes *b)
{
	return (struct span){b->p, b->n};
}

#endif
