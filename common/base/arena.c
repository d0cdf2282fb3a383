/*
 * Arena: a bump allocator of fixed size with a sticky overflow flag.
 */
#include "common/base/arena.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { ARENA_ALIGN = 16 };

int arena_init(struct arena *a, size_t size_bytes)
{
	a->base = aligned_alloc(ARENA_ALIGN,
				(size_bytes + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1));
	if (!a->base)
		return -ENOMEM;
	a->size_bytes = size_bytes;
	arena_reset(a);
	return 0;
}

void arena_done(struct arena *a)
{
	free(a->base);
	*a = (struct arena){0};
}

void *arena_alloc(struct arena *a, size_t n)
{
	size_t at = (a->used_bytes + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
	if (n > a->size_bytes || at > a->size_bytes - n) {
		a->overflow = true;
		return NULL;
	}
	a->used_bytes = at + n;
	return a->base + at;
}

void arena_reset(struct arena *a)
{
	a->used_bytes = 0;
	a->overflow = false;
}

struct span arena_dup(struct arena *a, struct span s)
{
	char *p = arena_alloc(a, s.n + 1);
	if (!p)
		return (struct span){NULL, 0};
	if (s.n)
		memcpy(p, s.p, s.n);
	p[s.n] = '\0';
	return (struct span){p, s.n};
}

struct span arena_join(struct arena *a, const struct span *v, size_t n)
{
	size_t total = 0, at = 0;
	for (size_t i = 0; i < n; i++)
		total += v[i].n;
	char *p = arena_alloc(a, total + 1);
	if (!p)
		return (struct span){NULL, 0};
	for (size_t i = 0; i < n; at += v[i].n, i++)
		if (v[i].n)
			memcpy(p + at, v[i].p, v[i].n);
	p[total] = '\0';
	return (struct span){p, total};
}

struct span arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list ap;
	size_t at = (a->used_bytes + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
	size_t room = at < a->size_bytes ? a->size_bytes - at : 0;
	va_start(ap, fmt);
	int n = vsnprintf(room ? a->base + at : NULL, room, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= room) {
		a->overflow = true;
		return (struct span){NULL, 0};
	}
	a->used_bytes = at + (size_t)n + 1;
	return (struct span){a->base + at, (size_t)n};
}
