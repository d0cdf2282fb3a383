/*
 * Spans: comparison, trimming, numbers.
 */
#include "common/base/span.h"

#include <errno.h>

static inline unsigned char fold(unsigned char c)
{
	return c >= 'A' && c <= 'Z' ? c | 0x20 : c;
}

bool span_ieq(struct span a, struct span b)
{
	/* mostly written the same way, where they are equal */
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0 || span_istarts(a, b));
}

bool span_istarts(struct span a, struct span b)
{
	if (a.n < b.n)
		return false;
	for (size_t i = 0; i < b.n; i++)
		if (fold((unsigned char)a.p[i]) != fold((unsigned char)b.p[i]))
			return false;
	return true;
}

static inline bool is_lws(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct span span_trim(struct span s)
{
	while (s.n && is_lws(s.p[0])) {
		s.p++;
		s.n--;
	}
	while (s.n && is_lws(s.p[s.n - 1]))
		s.n--;
	return s;
}

ptrdiff_t span_chr(struct span s, char c, size_t from)
{
	if (from >= s.n)
		return -1;
	const char *at = memchr(s.p + from, c, s.n - from);
	return at ? at - s.p : -1;
}

struct span span_dec(uint64_t v, char room[SPAN_DEC_MAX])
{
	size_t at = SPAN_DEC_MAX;
	do
		room[--at] = (char)('0' + v % 10);
	while (v /= 10);
	return span_of(room + at, SPAN_DEC_MAX - at);
}

int span_u64(struct span s, uint64_t max, uint64_t *ret_v)
{
	uint64_t v = 0;
	if (s.n < 1 || s.n > 20)
		return -EINVAL;
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < '0' || s.p[i] > '9')
			return -EINVAL;
	for (size_t i = 0; i < s.n; i++) {
		unsigned digit = (unsigned)(s.p[i] - '0');
		if (v > (UINT64_MAX - digit) / 10)
			return -ERANGE;
		v = v * 10 + digit;
	}
	if (v > max)
		return -ERANGE;
	*ret_v = v;
	return 0;
}
