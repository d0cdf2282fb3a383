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

/* Header names in a perfect hash: see names.c. */
#define SIP_NAME_SLOT(n, first, last) (((n)*14u + (first)*23u + (last)*3u) & 127u)
struct sip_name_slot {
	char name[22]; /* in lower case */
	uint8_t n;
	uint8_t kind;
};
extern const struct sip_name_slot sip_name_slots[128];

/* The difference of p from a lower-case name, letters without regard to case.  0x20 is set in p
 * where the name has a letter (0x40), not where it has '-': CR would become one. */
static inline uint64_t sip_diff8(const char *p, const char *low)
{
	uint64_t v, w;
	memcpy(&v, p, 8);
	memcpy(&w, low, 8);
	return (v | (w & 0x4040404040404040u) >> 1) ^ w;
}

static inline uint32_t sip_diff4(const char *p, const char *low)
{
	uint32_t v, w;
	memcpy(&v, p, 4);
	memcpy(&w, low, 4);
	return (v | (w & 0x40404040u) >> 1) ^ w;
}

static inline bool sip_same_name(const char *p, const char *low, size_t n)
{
	if (n >= 8) { /* at most 20: three overlapping words cover it */
		uint64_t d = sip_diff8(p, low) | sip_diff8(p + n - 8, low + n - 8);
		if (n > 16)
			d |= sip_diff8(p + 8, low + 8);
		return d == 0;
	}
	if (n >= 4)
		return (sip_diff4(p, low) | sip_diff4(p + n - 4, low + n - 4)) == 0;
	for (size_t i = 0; i < n; i++)
		if ((p[i] | 0x20) != low[i]) /* to, via and compact forms: letters only */
			return false;
	return true;
}

/* sip_hdr_kind_of(), for the index. */
static inline unsigned sip_name_kind(struct span name)
{
	if (name.n - 1 >= 20) /* empty too */
		return SIP_HDR_OTHER;
	unsigned first = (unsigned char)name.p[0] | 0x20u;
	unsigned last = (unsigned char)name.p[name.n - 1] | 0x20u;
	const struct sip_name_slot *s =
		&sip_name_slots[SIP_NAME_SLOT((unsigned)name.n, first, last)];
	if (s->n != name.n || !sip_same_name(name.p, s->name, name.n))
		return SIP_HDR_OTHER;
	return s->kind;
}

#endif
