/*
 * Scanning for this folder: character classes and the sixteen-bytes-at-a-time loops under the
 * index.  None reads behind `end`.
 */
#ifndef EAVES_SIP_PRIV_H
#define EAVES_SIP_PRIV_H

#include "common/sip/msg.h"
#include "common/sip/values.h"

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
#define SIP_NAME_SLOT(n, first, last) (((n)*3u + (first)*23u + (last)*51u) & 127u)
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

/* ---- scanners shared by the value parsers: character classes of RFC 3261 25.1, white space,
 * quoted strings, hosts, ports and parameters.  All work on [p, e) and never look at e. ---- */

enum {
	C_TOKEN = 1,
	C_USER = 2,    /* user-unreserved and unreserved; "%" apart */
	C_PASS = 4,    /* password, likewise */
	C_PARAM = 8,   /* paramchar, likewise */
	C_HEADER = 16, /* hname and hvalue, likewise */
	C_HOST = 32,   /* hostname, and "_" as DNS has it */
	C_GEN = 64, /* gen-value that is no quoted string: token, host, and what is met in tags
		     */
	C_HEX = 128,
};

extern const uint8_t sip_cc[256];

static inline bool sip_is(char c, unsigned cls)
{
	return sip_cc[(unsigned char)c] & cls;
}

static inline const char *sip_scan(const char *p, const char *e, unsigned cls)
{
	for (; e - p >= 4; p += 4) { /* one look at the end for four characters */
		if (!sip_is(p[0], cls))
			return p;
		if (!sip_is(p[1], cls))
			return p + 1;
		if (!sip_is(p[2], cls))
			return p + 2;
		if (!sip_is(p[3], cls))
			return p + 3;
	}
	while (p < e && sip_is(*p, cls))
		p++;
	return p;
}

/* As sip_scan, and "%" HEX HEX; stops at an escape that is none. */
static inline const char *sip_scan_esc(const char *p, const char *e, unsigned cls)
{
	for (;;) {
		p = sip_scan(p, e, cls);
		if (e - p < 3 || *p != '%' || !sip_is(p[1], C_HEX) || !sip_is(p[2], C_HEX))
			return p;
		p += 3;
	}
}

/* LWS: a line end counts only when the next line begins with white space. */
static inline const char *sip_skip_lws(const char *p, const char *e)
{
	for (;;) {
		if (p < e && (*p == ' ' || *p == '\t'))
			p++;
		else if (e - p > 2 && *p == '\r' && p[1] == '\n' &&
			 (p[2] == ' ' || p[2] == '\t'))
			p += 3;
		else
			return p;
	}
}

static inline struct span sip_between(const char *p, const char *e)
{
	return (struct span){p, (size_t)(e - p)};
}

/* Names are mostly written as the RFC does. */
static inline bool sip_name_is(struct span name, struct span want)
{
	return name.n == want.n &&
	       (memcmp(name.p, want.p, want.n) == 0 || span_ieq(name, want));
}

/* p at the opening quote: behind the closing one, or NULL. */
const char *sip_skip_quoted(const char *p, const char *e);
/* Host at p: behind it, or NULL. *ret_host without brackets. */
const char *sip_scan_host(const char *p, const char *e, struct span *ret_host, bool *ret_ipv6);
/* Port at p (1 to 65535): behind it, or NULL. */
const char *sip_scan_port(const char *p, const char *e, uint16_t *ret_port);
/* *(SEMI generic-param) up to e.  0 or -EINVAL. */
int sip_params_parse(const char *p, const char *e, struct sip_params *ps);
/* 0, or -EINVAL when there is no room or the name is there with another value. */
int sip_params_add(struct sip_params *ps, struct span name, struct span value);
/* s in the arena, NUL behind it, folds turned into blanks.  -EINVAL: a NUL or a line end
 * that is no fold inside; -ENOMEM. */
int sip_unfold(struct span s, struct span *ret);
/* sip_credentials_parse without its short way for the plain form: libosip2 and our scan, which
 * must agree.  The tests compare the two. */
int sip_credentials_parse_any(struct span value, struct sip_credentials *ret);

#endif
