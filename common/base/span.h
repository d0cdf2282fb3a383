/*
 * A span: bytes that somebody else owns.  The currency of the whole server: the index of a
 * message, parsed values and edits are spans into the bytes that arrived.
 */
#ifndef EAVES_BASE_SPAN_H
#define EAVES_BASE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct span {
	const char *p; /* may be NULL when n is 0 */
	size_t n;
};

/* A span over a string literal. */
#define SPAN(lit)   ((struct span){(lit), sizeof(lit) - 1})
/* For printf's "%.*s". */
#define SPAN_FMT(s) ((int)(s).n), ((s).p ? (s).p : "")

static inline struct span span_of(const char *p, size_t n)
{
	return (struct span){p, n};
}

/* A span over a NUL-terminated string; NULL gives the empty span. */
static inline struct span span_str(const char *s)
{
	return (struct span){s, s ? strlen(s) : 0};
}

static inline bool span_eq(struct span a, struct span b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* Equal without regard to ASCII case. */
bool span_ieq(struct span a, struct span b);
/* a begins with b, without regard to ASCII case. */
bool span_istarts(struct span a, struct span b);
/* Without leading and trailing SP, HTAB, CR and LF. */
struct span span_trim(struct span s);
/* Index of the first c at or after `from`, or -1. */
ptrdiff_t span_chr(struct span s, char c, size_t from);
/* In decimal, in room. */
enum { SPAN_DEC_MAX = 20 };
struct span span_dec(uint64_t v, char room[SPAN_DEC_MAX]);
/* The whole span as a decimal number: 0 and *ret_v, -EINVAL for anything but 1 to 20 digits,
 * -ERANGE above max. */
int span_u64(struct span s, uint64_t max, uint64_t *ret_v);

#endif
