/*
 * Character classes of RFC 3261 section 25.1.  A Request-URI may have what RFC 3261 lets a URI
 * have, and '#', which phones send unescaped in dialled numbers ("sip:#31#123@...").
 */
#include "common/sip/sip_priv.h"

#define T  SIP_CHAR_TOKEN
#define U  SIP_CHAR_URI
#define TU (T | U)
#define D  (T | U | SIP_CHAR_DIGIT)

const uint8_t sip_chars[256] = {
	['\t'] = SIP_CHAR_SPACE,
	['\n'] = SIP_CHAR_SPACE,
	['\r'] = SIP_CHAR_SPACE,
	[' '] = SIP_CHAR_SPACE,
	['a' ... 'z'] = TU,
	['A' ... 'Z'] = TU,
	['0' ... '9'] = D,
	['-'] = TU,
	['.'] = TU,
	['!'] = TU,
	['%'] = TU,
	['*'] = TU,
	['_'] = TU,
	['+'] = TU,
	['`'] = T,
	['\''] = TU,
	['~'] = TU,
	['('] = U,
	[')'] = U,
	[';'] = U,
	['/'] = U,
	['?'] = U,
	[':'] = U,
	['@'] = U,
	['&'] = U,
	['='] = U,
	['$'] = U,
	[','] = U,
	['['] = U,
	[']'] = U,
	['#'] = U,
};
