/*
 * Values on demand: libosip2's value parsers over spans of an indexed message, in the calling
 * thread's arena, followed by the checks that libosip2 does not make (host characters, port
 * range,
 * ...).  All results are spans into the arena or the message: nothing outlives the message.
 * RFC 3261 sections 19.1, 20, 25.1.
 */
#ifndef EAVES_SIP_VALUES_H
#define EAVES_SIP_VALUES_H

#include "common/base/arena.h"
#include "common/sip/flow.h"
#include "common/sip/msg.h"

/* Once, before any thread: allocator hooks, silence, parser tables.  0 or -EIO. */
int sip_values_init(void);
/* The arena that this thread's parsers use from now on (the caller keeps it). */
void sip_values_use_arena(struct arena *a);
/* The arena in use: other modules allocate what dies with the message from it too. */
struct arena *sip_arena(void);

enum sip_scheme { SIP_SCHEME_OTHER, SIP_SCHEME_SIP, SIP_SCHEME_SIPS, SIP_SCHEME_TEL };

struct sip_param {
	struct span name;
	struct span value; /* as it came, a quoted string with its quotes; p NULL without "=" */
};
/* Without the quotes, escapes left alone; anything else than a quoted string as it is. */
struct span sip_unquote(struct span s);

enum { SIP_PARAM_MAX = 24 };

struct sip_params {
	unsigned n;
	struct sip_param v[SIP_PARAM_MAX];
};
/* NULL without one of that name (no regard to case). */
const struct sip_param *sip_params_find(const struct sip_params *ps, struct span name);

struct sip_uri {
	enum sip_scheme scheme;
	struct span raw;      /* as it came */
	struct span user;     /* escaped as it came; p NULL without one */
	struct span password; /* p NULL without one */
	struct span host;     /* IPv6 without brackets */
	bool host_is_ipv6;
	uint16_t port; /* 0: none given */
	struct sip_params params;
	struct span headers; /* behind "?", p NULL without */
};
/* No white space around.  0; -EINVAL; -EPROTONOSUPPORT for a well-formed URI of another scheme
 * (raw and scheme are set). */
int sip_uri_parse(struct span text, struct sip_uri *ret);
/* User part with escapes undone, in the arena: -EINVAL for an escape that is none, or %00. */
int sip_uri_user(const struct sip_uri *u, struct span *ret_user);
/* RFC 3261 19.1.4. */
bool sip_uri_equal(const struct sip_uri *a, const struct sip_uri *b);
static inline const struct sip_param *sip_uri_param(const struct sip_uri *u, struct span name)
{
	return sip_params_find(&u->params, name);
}

struct sip_via {
	struct span raw;	      /* the whole value */
	enum sip_transport transport; /* NONE when not one of ours: not an error */
	struct span transport_text;
	struct span host; /* IPv6 without brackets */
	bool host_is_ipv6;
	uint16_t port;	      /* 0: none given */
	struct span branch;   /* p NULL without */
	bool cookie;	      /* branch begins with z9hG4bK */
	struct span received; /* p NULL without */
	bool has_rport;
	uint16_t rport; /* 0: "rport" without a value */
	struct span maddr;
	bool alias; /* RFC 5923 */
	struct sip_params params;
};
/* One value of the list.  0 or -EINVAL. */
int sip_via_parse(struct span value, struct sip_via *ret);

/* name-addr / addr-spec with parameters: From, To, Contact, Route, Record-Route, Path ... */
struct sip_nameaddr {
	struct span raw;
	struct span display;  /* quotes off; p NULL without */
	struct span uri_text; /* what stands between the brackets, or the bare addr-spec */
	struct sip_uri uri;   /* zeroed but for raw and scheme when the scheme is not ours */
	struct sip_params
		params; /* header parameters (bare addr-spec: all parameters are these) */
};
/* One value of a list; Contact's "*" is not one.  0, with another scheme than sip and sips too
 * (look at uri.scheme); -EINVAL; -ENOMEM. */
int sip_nameaddr_parse(struct span value, struct sip_nameaddr *ret);
/* The tag parameter, p NULL without one; -EINVAL when it has no token for a value. */
int sip_nameaddr_tag(const struct sip_nameaddr *na, struct span *ret_tag);

/* "q=0.7" to 700; -EINVAL.  0 to 1000. */
int sip_qvalue_parse(struct span text, uint16_t *ret_q);
/* Delta seconds, saturating at 2^32 - 1 (RFC 3261 20.19); -EINVAL when not digits. */
int sip_delta_parse(struct span text, uint32_t *ret_s);

struct sip_credentials {
	struct span scheme; /* "Digest" */
	struct span username, realm, nonce, uri, response, algorithm, cnonce, qop, nc, opaque;
	bool userhash;
};
/* Authorization or Proxy-Authorization; quoted values have their quotes and escapes undone.  p
 * NULL for what is not there.  The same name twice is refused.  0; -EINVAL; -EPROTONOSUPPORT
 * for another scheme than Digest; -ENOMEM. */
int sip_credentials_parse(struct span value, struct sip_credentials *ret);

/* Frequent ones, taken from the index.  Each 0, -ENOENT without the field, -EINVAL, -ENOMEM. */
int sip_msg_top_via(const struct sip_msg *m, struct sip_via *ret);
int sip_msg_from(const struct sip_msg *m, struct sip_nameaddr *ret);
int sip_msg_to(const struct sip_msg *m, struct sip_nameaddr *ret);
/* 0 and *ret_tag (p NULL without a tag). */
int sip_msg_tag(const struct sip_msg *m, enum sip_hdr_kind from_or_to, struct span *ret_tag);
int sip_msg_max_forwards(const struct sip_msg *m, uint32_t *ret);

/*
 * Checks every value that RFC 3261 lets an element depend on (Request-URI, all Vias, From, To,
 * Contact, Route, Record-Route, Max-Forwards, Expires, Content-Length ...).  0, or -EBADMSG
 * with the answer, as sip_msg_index.  What was read on the way is not read again: *ret_top (may
 * be NULL) is the top Via, and the tags are remembered for sip_msg_tag().  A
 * proxy calls it for what it works on: see sip/README.md for which of RFC 4475's cases each
 * catches.
 */
int sip_msg_check_values(struct sip_msg *m, struct sip_via *ret_top,
			 struct sip_fault *ret_fault);

#endif
