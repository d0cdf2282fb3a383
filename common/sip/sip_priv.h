/*
 * Scanning for this folder: character classes and the sixteen-bytes-at-a-time loops under the
 * index.  None reads behind `end`.
 */
#ifndef EAVES_SIP_PRIV_H
#define EAVES_SIP_PRIV_H

#include "common/sip/msg.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum {
	SIP_CHAR_TOKEN = 1, /* RFC 3261 25.1, token */
	SIP_CHAR_URI = 2,   /* may stand in a Request-URI */
	SIP_CHAR_DIGIT = 4,
	SIP_CHAR_SPACE = 8, /* SP, HTAB, CR, LF: what linear white space is made of */
};
extern const uint8_t sip_chars[256];

static inline bool sip_char_is(char c, unsigned classes)
{
	return sip_chars[(unsigned char)c] & classes;
}

/* The first byte that is not of the class, or end. */
static inline const char *sip_skip(const char *p, const char *end, unsigned classes)
{
	while (p < end && sip_char_is(*p, classes))
		p++;
	return p;
}

/* The first control character (below 0x20) at or behind p, or end. */
static inline const char *sip_scan_control(const char *p, const char *end)
{
#ifdef __SSE2__
	const __m128i top = _mm_set1_epi8(0x1f);
	for (; end - p >= 16; p += 16) {
		__m128i v = _mm_loadu_si128((const __m128i *)p);
		int hit = _mm_movemask_epi8(_mm_cmpeq_epi8(_mm_min_epu8(v, top), v));
		if (hit)
			return p + __builtin_ctz((unsigned)hit);
	}
#endif
	while (p < end && (unsigned char)*p >= 0x20)
		p++;
	return p;
}

/* The first colon within a header name's reach, or NULL. */
static inline const char *sip_scan_colon(const char *p, const char *end)
{
	enum { REACH = 256 };
#ifdef __SSE2__
	if (end - p >= 16) {
		__m128i v = _mm_loadu_si128((const __m128i *)p);
		int hit = _mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8(':')));
		if (hit)
			return p + __builtin_ctz((unsigned)hit);
	}
#endif
	return memchr(p, ':', end - p < REACH ? (size_t)(end - p) : REACH);
}

/* Occurrences of c in [p, stop), perhaps some of those behind it too (never behind end). */
static inline unsigned sip_count_about(const char *p, const char *stop, const char *end, char c)
{
	unsigned n = 0;
#ifdef __SSE2__
	const __m128i want = _mm_set1_epi8(c);
	while (p < stop && end - p >= 16) {
		__m128i sum = _mm_setzero_si128();
		for (int i = 0; i < 255 && p < stop && end - p >= 16; i++, p += 16)
			sum = _mm_sub_epi8(
				sum, _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)p), want));
		sum = _mm_sad_epu8(sum, _mm_setzero_si128());
		n += (unsigned)_mm_cvtsi128_si32(sum) +
		     (unsigned)_mm_cvtsi128_si32(_mm_srli_si128(sum, 8));
	}
#else
	(void)end;
#endif
	for (; p < stop; p++)
		n += *p == c;
	return n;
}

#endif
