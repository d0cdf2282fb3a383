/*
 * Values: the thread's arena behind libosip2's allocator hooks, small values (q, delta
 * seconds), and the fields that are asked for on every message.  RFC 3261 sections 20 and 25.1.
 * Not here: URIs (uri.c), Via (via.c), name-addr (nameaddr.c), credentials (credentials.c).
 */
#include "common/sip/sip_priv.h"

#include <errno.h>
#include <osipparser2/osip_parser.h>
#include <osipparser2/osip_port.h>

static _Thread_local struct arena *thread_arena;

/* The realloc hook is not told the old size: it stands in front of each block. */
enum { HEAD = 16 };

static void *hook_malloc(size_t n)
{
	char *p = thread_arena && n < SIZE_MAX - HEAD ? arena_alloc(thread_arena, n + HEAD)
						      : NULL;
	if (!p)
		return NULL;
	memcpy(p, &n, sizeof(n));
	return p + HEAD;
}

static void *hook_realloc(void *old, size_t n)
{
	size_t had = 0;
	char *p = hook_malloc(n);
	if (!p || !old)
		return p;
	memcpy(&had, (char *)old - HEAD, sizeof(had));
	return memcpy(p, old, had < n ? had : n);
}

static void hook_free(void *p)
{
	(void)p; /* dies with its message */
}

static void hook_trace(const char *file, int line, osip_trace_level_t level, const char *fmt,
		       va_list ap)
{
	(void)file, (void)line, (void)level, (void)fmt, (void)ap;
}

int sip_values_init(void)
{
	osip_set_allocators(hook_malloc, hook_realloc, hook_free);
	osip_trace_initialize_func(TRACE_LEVEL0, hook_trace);
	return parser_init() == 0 ? 0 : -EIO;
}

void sip_values_use_arena(struct arena *a)
{
	thread_arena = a;
}

struct arena *sip_arena(void)
{
	return thread_arena;
}

const struct sip_param *sip_params_find(const struct sip_params *ps, struct span name)
{
	for (unsigned i = 0; i < ps->n; i++)
		if (sip_name_is(ps->v[i].name, name))
			return &ps->v[i];
	return NULL;
}

struct span sip_unquote(struct span s)
{
	if (s.n < 2 || s.p[0] != '"' || s.p[s.n - 1] != '"')
		return s;
	return span_of(s.p + 1, s.n - 2);
}

int sip_unfold(struct span s, struct span *ret)
{
	if (s.n && memchr(s.p, '\0', s.n))
		return -EINVAL;
	if (!thread_arena)
		return -ENOMEM;
	struct span copy = arena_dup(thread_arena, s);
	if (!copy.p)
		return -ENOMEM;
	*ret = copy;
	if (!s.n || (!memchr(s.p, '\r', s.n) && !memchr(s.p, '\n', s.n)))
		return 0;
	const char *e = copy.p + copy.n;
	for (char *p = (char *)copy.p; p < e; p++) {
		if (*p == '\n')
			return -EINVAL;
		if (*p != '\r')
			continue;
		if (sip_skip_lws(p, e) == p)
			return -EINVAL; /* no fold */
		*p++ = ' ';
		*p = ' ';
	}
	return 0;
}

int sip_qvalue_parse(struct span text, uint16_t *ret_q)
{
	uint16_t q, unit = 100;
	if (text.n == 0 || text.n > 5 || (text.p[0] != '0' && text.p[0] != '1') ||
	    (text.n > 1 && text.p[1] != '.'))
		return -EINVAL;
	q = text.p[0] == '1' ? 1000 : 0;
	for (size_t i = 2; i < text.n; i++, unit /= 10) {
		if (text.p[i] < '0' || text.p[i] > '9')
			return -EINVAL;
		q = (uint16_t)(q + (text.p[i] - '0') * unit);
	}
	if (q > 1000)
		return -EINVAL;
	*ret_q = q;
	return 0;
}

int sip_delta_parse(struct span text, uint32_t *ret_s)
{
	uint64_t v = 0;
	if (text.n == 0)
		return -EINVAL;
	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] < '0' || text.p[i] > '9')
			return -EINVAL;
		v = v * 10 + (uint64_t)(text.p[i] - '0');
		if (v > UINT32_MAX)
			v = UINT32_MAX; /* and stays there */
	}
	*ret_s = (uint32_t)v;
	return 0;
}

int sip_msg_top_via(const struct sip_msg *m, struct sip_via *ret)
{
	struct sip_list_it it = {0};
	struct span value;
	if (!sip_list_next(m, SIP_HDR_VIA, &it, &value))
		return -ENOENT;
	return sip_via_parse(value, ret);
}

static int nameaddr_of(const struct sip_msg *m, enum sip_hdr_kind k, struct sip_nameaddr *ret)
{
	const struct sip_hdr *h = sip_msg_first(m, k);
	if (!h)
		return -ENOENT;
	return sip_nameaddr_parse(sip_hdr_value(m, h), ret);
}

int sip_msg_from(const struct sip_msg *m, struct sip_nameaddr *ret)
{
	return nameaddr_of(m, SIP_HDR_FROM, ret);
}

int sip_msg_to(const struct sip_msg *m, struct sip_nameaddr *ret)
{
	return nameaddr_of(m, SIP_HDR_TO, ret);
}

int sip_msg_tag(const struct sip_msg *m, enum sip_hdr_kind from_or_to, struct span *ret_tag)
{
	const struct sip_tag *known = from_or_to == SIP_HDR_FROM ? &m->from_tag : &m->to_tag;
	struct sip_nameaddr na;
	if (known->known) {
		const char *value = m->base + m->hdr[m->first[from_or_to]].value_off;
		*ret_tag = span_of(known->len ? value + known->off : NULL, known->len);
		return 0;
	}
	int r = nameaddr_of(m, from_or_to, &na);
	if (r < 0)
		return r;
	return sip_nameaddr_tag(&na, ret_tag);
}

int sip_msg_max_forwards(const struct sip_msg *m, uint32_t *ret)
{
	const struct sip_hdr *h = sip_msg_first(m, SIP_HDR_MAX_FORWARDS);
	uint32_t v;
	if (!h)
		return -ENOENT;
	if (sip_delta_parse(sip_hdr_value(m, h), &v) < 0 || v > 255)
		return -EINVAL;
	*ret = v;
	return 0;
}
