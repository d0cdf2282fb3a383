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

/* The first control character (below 0x20) at or behind p, or end.  *about grows by at least
 * the commas and semicolons on the way, as long as that is less than SIP_ABOUT_MAX bytes. */
enum { SIP_ABOUT_MAX = 255 * 16 };
static inline const char *sip_scan_control(const char *p, const char *end, unsigned *about)
{
#ifdef __SSE2__
	const __m128i top = _mm_set1_epi8(0x1f);
	const __m128i comma = _mm_set1_epi8(','), semicolon = _mm_set1_epi8(';');
	__m128i sum = _mm_setzero_si128();
	int hit = 0;
	for (; end - p >= 16; p += 16) {
		__m128i v = _mm_loadu_si128((const __m128i *)p);
		hit = _mm_movemask_epi8(_mm_cmpeq_epi8(_mm_min_epu8(v, top), v));
		sum = _mm_sub_epi8(sum, _mm_or_si128(_mm_cmpeq_epi8(v, comma),
						     _mm_cmpeq_epi8(v, semicolon)));
		if (hit)
			break;
	}
	sum = _mm_sad_epu8(sum, _mm_setzero_si128());
	*about += (unsigned)(_mm_cvtsi128_si32(sum) + _mm_extract_epi16(sum, 4));
	if (hit)
		return p + __builtin_ctz((unsigned)hit);
#endif
	for (; p < end && (unsigned char)*p >= 0x20; p++)
		*about += *p == ',' || *p == ';';
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

#endif
