/*
 * Scanners shared by the value parsers of this folder: character classes of RFC 3261 25.1,
 * white space, quoted strings, hosts, ports and parameters.  All work on [p, e) and never look
 * at e.
 */
#ifndef EAVES_SIP_VALUES_PRIV_H
#define EAVES_SIP_VALUES_PRIV_H

#include "common/sip/values.h"

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
	while (p < e && sip_is(*p, cls))
		p++;
	return p;
}

/* As sip_scan, and "%" HEX HEX; stops at an escape that is none. */
static inline const char *sip_scan_esc(const char *p, const char *e, unsigned cls)
{
	for (;;) {
		while (p < e && (sip_cc[(unsigned char)*p] & cls))
			p++;
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

#endif
