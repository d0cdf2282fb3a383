/*
 * Arena: memory that dies with its message.  Fixed size; an allocation that does not fit gives
 * NULL and sets `overflow`, which stays set until the arena is reset, so one check at the end
 * of a piece of work covers all of its allocations (libosip2 does not always report its own).
 */
#ifndef EAVES_BASE_ARENA_H
#define EAVES_BASE_ARENA_H

#include "common/base/span.h"

struct arena {
	char *base;
	size_t size_bytes;
	size_t used_bytes;
	bool overflow;
};

/* 0, or -ENOMEM.  size_bytes: 4096 to 1 MiB. */
int arena_init(struct arena *a, size_t size_bytes);
void arena_done(struct arena *a);

/* n bytes aligned to 16, or NULL (overflow is then set).  Not zeroed. */
void *arena_alloc(struct arena *a, size_t n);
/* Forget everything; overflow is cleared. */
void arena_reset(struct arena *a);
/* Remember a place and go back to it: what was allocated since is forgotten. */
static inline size_t arena_mark(const struct arena *a)
{
	return a->used_bytes;
}
static inline void arena_release(struct arena *a, size_t mark)
{
	a->used_bytes = mark;
}

/* The same for a callback that runs on top of somebody's work, or of nobody's: what it takes
 * and its overflow end with it. */
struct arena_scope {
	size_t used_bytes;
	bool overflow;
};
static inline struct arena_scope arena_enter(const struct arena *a)
{
	return (struct arena_scope){a->used_bytes, a->overflow};
}
static inline void arena_leave(struct arena *a, struct arena_scope s)
{
	a->used_bytes = s.used_bytes;
	a->overflow = s.overflow;
}

/* A copy of s with a NUL behind it (not counted), or the empty span on overflow. */
struct span arena_dup(struct arena *a, struct span s);
/* The spans one after the other, with a NUL behind them (not counted), or the empty span on
 * overflow. */
struct span arena_join(struct arena *a, const struct span *v, size_t n);
#define ARENA_JOIN(a, ...)                                  \
	arena_join((a), (const struct span[]){__VA_ARGS__}, \
		   sizeof((const struct span[]){__VA_ARGS__}) / sizeof(struct span))
/* Formatted text with a NUL behind it (not counted), or the empty span on overflow. */
struct span arena_printf(struct arena *a, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#endif
