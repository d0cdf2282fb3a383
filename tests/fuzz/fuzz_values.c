/*
 * Values from the network: the whole input is one value, given to each parser.  What is
 * accepted must lie inside the input (or the arena), and where libosip2 reads the same value,
 * it must see the same host, port, branch and tag: two elements that read one message
 * differently is how authorisation is got around.
 */
#include "common/sip/sip_priv.h"

#include <osipparser2/osip_parser.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct arena arena;
static struct span input;

#define MUST(cond)               \
	do {                     \
		if (!(cond))     \
			abort(); \
	} while (0)

static void inside(struct span s)
{
	bool in_input = s.p >= input.p && s.p + s.n <= input.p + input.n;
	bool in_arena = s.p >= arena.base && s.p + s.n <= arena.base + arena.size_bytes;
	MUST(!s.p || s.n == 0 || in_input || in_arena);
}

static void inside_params(const struct sip_params *ps)
{
	MUST(ps->n <= SIP_PARAM_MAX);
	for (unsigned i = 0; i < ps->n; i++) {
		inside(ps->v[i].name);
		inside(ps->v[i].value);
	}
}

static void inside_uri(const struct sip_uri *u)
{
	inside(u->raw);
	inside(u->user);
	inside(u->password);
	inside(u->host);
	inside(u->headers);
	inside_params(&u->params);
}

static bool same(const char *theirs, struct span ours)
{
	return theirs ? span_eq(span_str(theirs), ours) : ours.n == 0;
}

static bool same_port(const char *theirs, unsigned ours)
{
	return (theirs ? strtoul(theirs, NULL, 10) : 0) == ours;
}

static bool same_host(const char *theirs, struct span ours, bool ipv6)
{
	size_t n = theirs ? strlen(theirs) : 0;
	if (ipv6 && n > 1 && theirs[0] == '[')
		return same(NULL, ours) || span_eq(span_of(theirs + 1, n - 2), ours);
	return same(theirs, ours);
}

/* Marks of a userinfo or a quoted string in which libosip2 loses its way; not compared. */
static bool beyond_libosip2(struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		if (strchr("\"\\?%\t\r", s.p[i]))
			return true; /* NUL as well */
	return false;
}

static bool agree_uri(const osip_uri_t *o, const struct sip_uri *u)
{
	return same_host(o->host, u->host, u->host_is_ipv6) && same_port(o->port, u->port) &&
	       same(o->username, u->user);
}

static void uri(void)
{
	struct sip_uri u, v;
	struct span user, text;
	osip_uri_t *o;
	if (sip_uri_parse(input, &u) < 0)
		return;
	inside_uri(&u);
	if (sip_uri_user(&u, &user) == 0)
		inside(user);
	MUST(sip_uri_parse(input, &v) == 0 && sip_uri_equal(&u, &v));
	if (beyond_libosip2(input) || (u.user.n && memchr(u.user.p, ';', u.user.n)))
		return;
	text = arena_dup(&arena, input);
	if (osip_uri_init(&o) == 0 && osip_uri_parse(o, text.p) == 0 && !arena.overflow)
		MUST(agree_uri(o, &u));
}

static void via(void)
{
	struct sip_via v;
	struct span text;
	osip_via_t *o;
	osip_generic_param_t *branch = NULL;
	if (sip_via_parse(input, &v) < 0)
		return;
	inside(v.host);
	inside(v.branch);
	inside(v.received);
	inside(v.maddr);
	inside(v.transport_text);
	inside_params(&v.params);
	if (beyond_libosip2(input))
		return;
	text = arena_dup(&arena, input);
	if (osip_via_init(&o) != 0 || osip_via_parse(o, text.p) != 0 || arena.overflow)
		return;
	MUST(same_host(o->host, v.host, v.host_is_ipv6) && same_port(o->port, v.port));
	osip_via_param_get_byname(o, (char *)"branch", &branch);
	MUST(same(branch ? branch->gvalue : NULL, v.branch));
}

static void nameaddr(void)
{
	struct sip_nameaddr na;
	struct span tag, text;
	osip_from_t *o;
	osip_generic_param_t *theirs = NULL;
	if (sip_nameaddr_parse(input, &na) < 0)
		return;
	inside(na.display);
	inside(na.uri_text);
	inside_uri(&na.uri);
	inside_params(&na.params);
	if (sip_nameaddr_tag(&na, &tag) < 0 || beyond_libosip2(input) ||
	    na.uri.scheme < SIP_SCHEME_SIP || na.uri.scheme > SIP_SCHEME_SIPS ||
	    (na.uri.user.n && memchr(na.uri.user.p, ';', na.uri.user.n)))
		return;
	text = arena_dup(&arena, input);
	if (osip_from_init(&o) != 0 || osip_from_parse(o, text.p) != 0 || arena.overflow)
		return;
	MUST(o->url && agree_uri(o->url, &na.uri));
	osip_from_get_tag(o, &theirs);
	MUST(same(theirs ? theirs->gvalue : NULL, tag));
}

/* What the one pass over plain credentials reads, libosip2 reads, or refuses. */
static void credentials(void)
{
	struct sip_credentials c, any;
	if (sip_credentials_parse(input, &c) < 0)
		return;
	if (sip_credentials_parse_any(input, &any) == 0) {
		const struct span *x = &c.scheme, *y = &any.scheme;
		for (size_t i = 0; i < offsetof(struct sip_credentials, userhash) / sizeof(*x);
		     i++)
			MUST(span_eq(x[i], y[i]) && !x[i].p == !y[i].p);
		MUST(c.userhash == any.userhash);
	}
	inside(c.scheme);
	inside(c.username);
	inside(c.realm);
	inside(c.nonce);
	inside(c.uri);
	inside(c.response);
	inside(c.opaque);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	uint16_t q;
	uint32_t s;
	if (!arena.base) {
		if (sip_values_init() < 0 || arena_init(&arena, 65536) < 0)
			abort();
		sip_values_use_arena(&arena);
	}
	input = span_of((const char *)data, n);
	arena_reset(&arena);
	uri();
	arena_reset(&arena);
	via();
	arena_reset(&arena);
	nameaddr();
	arena_reset(&arena);
	credentials();
	if (sip_qvalue_parse(input, &q) == 0)
		MUST(q <= 1000);
	(void)sip_delta_parse(input, &s);
	return 0;
}
