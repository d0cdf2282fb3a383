/*
 * Writing and reading messages.  Only full header names are read: servers under test write them
 * so, and what they repeat was written here.
 */
#include "tests/bench/sipload/text.h"

#include <strings.h>

void put(struct out *o, struct span s)
{
	if ((size_t)(o->end - o->p) < s.n) {
		o->over = true;
		return;
	}
	memcpy(o->p, s.p, s.n);
	o->p += s.n;
}

void put_str(struct out *o, const char *s)
{
	put(o, span_str(s));
}

void put_num(struct out *o, uint64_t v)
{
	char t[20];
	unsigned at = sizeof(t);

	do {
		t[--at] = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	put(o, span_of(t + at, sizeof(t) - at));
}

void put_hex(struct out *o, uint64_t v, unsigned digits)
{
	char t[16];

	for (unsigned i = 0; i < digits; i++)
		t[i] = "0123456789abcdef"[v >> 4 * (digits - 1 - i) & 15];
	put(o, span_of(t, digits));
}

static bool named(struct span line, const char *name, size_t n)
{
	return line.n > n && line.p[n] == ':' && strncasecmp(line.p, name, n) == 0;
}
#define NAMED(line, name) named(line, name, sizeof(name) - 1)

static void add(struct span *v, unsigned *n, unsigned max, struct span line)
{
	if (*n < max)
		v[(*n)++] = line;
}

static void take_line(struct message *m, struct span l)
{
	switch (l.p[0] | 0x20) {
	case 'v':
		if (NAMED(l, "Via"))
			add(m->via, &m->nvia, VIAS_MAX, l);
		return;
	case 'f':
		if (NAMED(l, "From"))
			m->from = l;
		return;
	case 't':
		if (NAMED(l, "To"))
			m->to = l;
		return;
	case 'c':
		if (NAMED(l, "Call-ID"))
			m->call_id = l;
		else if (NAMED(l, "CSeq"))
			m->cseq_line = l;
		else if (NAMED(l, "Contact"))
			m->contact = l;
		return;
	case 'r':
		if (NAMED(l, "Record-Route"))
			add(m->route, &m->nroute, ROUTES_MAX, l);
		return;
	case 'w':
		if (NAMED(l, "WWW-Authenticate"))
			add(m->challenge, &m->nchallenge, CHALLENGES_MAX, l);
		return;
	case 'p':
		if (NAMED(l, "Proxy-Authenticate")) {
			add(m->challenge, &m->nchallenge, CHALLENGES_MAX, l);
			m->proxy_challenge = true;
		}
		return;
	default:
		return;
	}
}

static void read_start(struct message *m, struct span l)
{
	m->is_request = !(l.n > 12 && memcmp(l.p, "SIP/2.0 ", 8) == 0);
	if (!m->is_request) {
		m->status = (unsigned)((l.p[8] - '0') * 100 + (l.p[9] - '0') * 10 +
				       (l.p[10] - '0'));
		return;
	}
	const char *sp = memchr(l.p, ' ', l.n);
	m->method = span_of(l.p, sp ? (size_t)(sp - l.p) : 0);
}

static void read_cseq(struct message *m)
{
	struct span v = line_value(m->cseq_line);
	size_t i = 0;

	for (m->cseq = 0; i < v.n && v.p[i] >= '0' && v.p[i] <= '9'; i++)
		m->cseq = m->cseq * 10 + (uint32_t)(v.p[i] - '0');
	while (i < v.n && v.p[i] == ' ')
		i++;
	if (!m->is_request)
		m->method = span_of(v.p + i, v.n - i);
}

bool message_read(struct message *m, struct span bytes)
{
	const char *p = bytes.p, *end = bytes.p + bytes.n;
	bool first = true;

	memset(m, 0, sizeof(*m));
	while (p < end) {
		const char *nl = memchr(p, '\n', (size_t)(end - p));

		if (!nl)
			return false;
		struct span l = {p, (size_t)(nl - p)};
		if (l.n && l.p[l.n - 1] == '\r')
			l.n--;
		if (l.n == 0)
			break;
		if (first)
			read_start(m, l);
		else
			take_line(m, l);
		first = false;
		p = nl + 1;
	}
	if (!m->nvia || !m->call_id.n || !m->cseq_line.n || !m->from.n || !m->to.n)
		return false;
	read_cseq(m);
	return m->is_request || (m->status >= 100 && m->status < 700);
}

struct span line_value(struct span line)
{
	const char *c = line.n ? memchr(line.p, ':', line.n) : NULL;

	if (!c)
		return span_of(line.p, 0);
	const char *end = line.p + line.n;
	for (c++; c < end && *c == ' ';)
		c++;
	return span_of(c, (size_t)(end - c));
}

struct span param_of(struct span line, const char *key)
{
	size_t n = strlen(key);
	const char *end = line.p + line.n;

	for (const char *p = line.p; p && p + n + 1 < end; p++) {
		p = memmem(p, (size_t)(end - p), key, n);
		if (!p || p + n + 1 >= end)
			break;
		if (p[n] != '=' || (p > line.p && !strchr(" ,;", p[-1])))
			continue;
		const char *v = p + n + 1;
		const char *stop = *v == '"' ? "\"" : ",; ";
		v += *v == '"';
		const char *e = v;
		while (e < end && !strchr(stop, *e))
			e++;
		return span_of(v, (size_t)(e - v));
	}
	return span_of(NULL, 0);
}
