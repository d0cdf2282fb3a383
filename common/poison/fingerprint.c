/*
 * How a message is known again, and what it is refused with.  A tolerant reading of its own: it
 * decides nothing but whether two messages are the same, and it must not go where the parser
 * may have crashed: no call to it, none to the C library's searches, no memory but the
 * message's.
 */
#include "common/poison/poison_priv.h"

#include <errno.h>

enum { LENGTH_MAX = 1 << 24 };

enum field { VIA, FROM, TO, CALL_ID, CSEQ, LENGTH, FIELDS };

static const struct {
	const char *name;
	size_t n;
	char compact;
} names[FIELDS] = {
	[VIA] = {"via", 3, 'v'}, [FROM] = {"from", 4, 'f'},
	[TO] = {"to", 2, 't'},	 [CALL_ID] = {"call-id", 7, 'i'},
	[CSEQ] = {"cseq", 4, 0}, [LENGTH] = {"content-length", 14, 'l'},
};

struct reading {
	bool is_request;
	struct span what;	   /* method, or the digits of the status */
	struct span value[FIELDS]; /* of the first of each; p NULL: none */
	struct span fields;	   /* the header part behind the start line */
	bool whole;		   /* it has its end */
	struct span body;
};

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool same(struct span s, const char *word, size_t n)
{
	if (s.n != n)
		return false;
	for (size_t i = 0; i < n; i++)
		if (lower(s.p[i]) != word[i])
			return false;
	return true;
}

static size_t upto(struct span s, char c)
{
	size_t i = 0;
	while (i < s.n && s.p[i] != c)
		i++;
	return i;
}

static struct span behind(struct span s, size_t n)
{
	return span_of(s.p + n, s.n - n);
}

static bool is_empty_line(struct span line)
{
	return line.n == 1 ? line.p[0] == '\n' : line.n == 2 && line.p[0] == '\r';
}

/* A line with its end, and the lines that continue it; nothing continues the empty one, the
 * body may begin with a space. */
static struct span take_line(struct span *rest)
{
	struct span s = *rest;
	size_t n = 0;
	do {
		n += upto(behind(s, n), '\n');
		n += n < s.n;
	} while (n < s.n && !is_empty_line(span_of(s.p, n)) &&
		 (s.p[n] == ' ' || s.p[n] == '\t'));
	*rest = behind(s, n);
	return span_of(s.p, n);
}

/* FIELDS: another. */
static enum field field_of(struct span line, struct span *ret_value)
{
	size_t colon = upto(line, ':');
	struct span name = span_trim(span_of(line.p, colon));
	if (colon == line.n)
		return FIELDS;
	*ret_value = span_trim(behind(line, colon + 1));
	for (int f = 0; f < FIELDS; f++)
		if (same(name, names[f].name, names[f].n) ||
		    (name.n == 1 && lower(name.p[0]) == names[f].compact))
			return (enum field)f;
	return FIELDS;
}

static bool read_start(struct span line, struct reading *r)
{
	struct span first = span_of(line.p, upto(line, ' '));
	if (first.n == 0 || first.n == line.n)
		return false;
	r->is_request = !same(first, "sip/2.0", 7);
	r->what = first;
	if (!r->is_request) {
		struct span rest = behind(line, first.n + 1);
		r->what = span_trim(span_of(rest.p, upto(rest, ' ')));
	}
	return r->what.n > 0;
}

static size_t number_in(struct span s)
{
	size_t n = 0;
	for (size_t i = 0; i < s.n && n < LENGTH_MAX; i++)
		if (s.p[i] >= '0' && s.p[i] <= '9')
			n = n * 10 + (size_t)(s.p[i] - '0');
	return n;
}

/* What Content-Length says, of what there is. */
static struct span body_of(struct span rest, struct span length)
{
	size_t n = length.p ? number_in(length) : rest.n;
	return span_of(rest.p, n < rest.n ? n : rest.n);
}

static bool read_message(struct span message, struct reading *r)
{
	struct span rest = message;
	*r = (struct reading){0};
	while (rest.n && is_space(rest.p[0]))
		rest = behind(rest, 1);
	if (!read_start(take_line(&rest), r))
		return false;
	r->fields = rest;
	while (rest.n) {
		struct span line = take_line(&rest), value;
		r->whole = is_empty_line(line);
		if (r->whole)
			break;
		enum field f = field_of(line, &value);
		if (f != FIELDS && !r->value[f].p)
			r->value[f] = value;
	}
	r->fields.n -= rest.n;
	r->body = body_of(rest, r->value[LENGTH]);
	return r->value[CALL_ID].n && r->value[CSEQ].n && r->value[FROM].n;
}

uint64_t poison_fingerprint(const struct mac_key *k, struct span message)
{
	static const enum field told[] = {CALL_ID, CSEQ, FROM, TO};
	struct reading r;
	struct mac m;
	bool good = read_message(message, &r);
	mac_init(&m, k);
	mac_add_u64(&m, good);
	if (good) {
		mac_add(&m, r.what);
		for (unsigned i = 0; i < sizeof(told) / sizeof(told[0]); i++)
			mac_add(&m, r.value[told[i]]);
		mac_add(&m, r.body);
	} else {
		mac_add(&m, message);
	}
	uint64_t v = mac_final(&m);
	return v ? v : 1;
}

ssize_t poison_extent(struct span bytes)
{
	struct reading r;
	bool good = read_message(bytes, &r);
	if (!r.what.n && upto(bytes, '\n') < bytes.n)
		return 0; /* no start line */
	if (!r.whole)
		return -EAGAIN;
	return good ? (ssize_t)(r.body.p - bytes.p) + (ssize_t)number_in(r.value[LENGTH]) : 0;
}

struct span poison_call_id(struct span message)
{
	struct reading r;
	return read_message(message, &r) ? r.value[CALL_ID] : span_of(NULL, 0);
}

/* ---- refusing ---- */

/* The value of the tag parameter; p NULL: none. */
static struct span tag_of(struct span v)
{
	size_t i = v.n;
	while (i > 0 && v.p[i - 1] != '>')
		i--;
	while (i < v.n) {
		struct span param = behind(v, i);
		param.n = upto(param, ';');
		i += param.n + 1;
		size_t eq = upto(param, '=');
		if (eq < param.n && same(span_trim(span_of(param.p, eq)), "tag", 3))
			return span_trim(behind(param, eq + 1));
	}
	return span_of(NULL, 0);
}

struct text {
	char *p;
	size_t n, cap;
	bool overflow;
};

static void put(struct text *t, struct span s)
{
	if (s.n > t->cap - t->n) {
		t->overflow = true;
		return;
	}
	for (size_t i = 0; i < s.n; i++)
		t->p[t->n++] = s.p[i];
}

static void put_field(struct text *t, struct span line, enum field f, struct span value,
		      uint64_t fingerprint)
{
	char tag[16];
	if (f != TO || tag_of(value).p) {
		put(t, line);
		return;
	}
	mac_hex(fingerprint, tag);
	put(t, span_of(line.p, (size_t)(value.p + value.n - line.p)));
	put(t, SPAN(";tag="));
	put(t, span_of(tag, sizeof(tag)));
	put(t, SPAN("\r\n"));
}

size_t poison_refusal(struct span message, uint64_t fingerprint, char *out, size_t cap)
{
	struct text t = {.p = out, .cap = cap};
	struct reading r;
	if (!read_message(message, &r) || !r.is_request || same(r.what, "ack", 3) ||
	    !r.value[VIA].n || !r.value[TO].n)
		return 0;
	put(&t, SPAN("SIP/2.0 403 Refused\r\n"));
	for (struct span rest = r.fields; rest.n;) {
		struct span line = take_line(&rest), value;
		enum field f = is_empty_line(line) ? FIELDS : field_of(line, &value);
		if (f < LENGTH)
			put_field(&t, line, f, value, fingerprint);
	}
	put(&t, SPAN("Content-Length: 0\r\n\r\n"));
	return t.overflow ? 0 : t.n;
}

uint64_t poison_acked(struct span message)
{
	struct reading r;
	uint64_t v;
	if (!read_message(message, &r) || !r.is_request || !same(r.what, "ack", 3) ||
	    mac_unhex(tag_of(r.value[TO]), &v) < 0)
		return 0;
	return v;
}
