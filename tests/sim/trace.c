/*
 * The record of a run and the ladder that is drawn from it.
 */
#include "tests/sim/trace.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>

enum { LABEL_MAX = 44, WIDTH = 11, MARGIN = 12 };

struct entry {
	usec at;
	uint8_t from, to; /* to == from: a note */
	uint8_t fate;
	uint32_t boundary; /* 0: none */
	char label[LABEL_MAX];
};

static struct entry *entries;
static size_t count, room;
static bool counting, live, all_bus;
static unsigned boundaries;
static void (*on_boundary)(unsigned n, struct host *sender);
static uint64_t hash = 14695981039346656037u;

void trace_begin(void)
{
	counting = true;
}

void trace_end(void)
{
	counting = false;
}

unsigned trace_boundaries(void)
{
	return boundaries;
}

void trace_on_boundary(void (*fn)(unsigned n, struct host *sender))
{
	on_boundary = fn;
}

void trace_set_live(bool on)
{
	live = on;
}

uint64_t trace_hash(void)
{
	return hash;
}

static void mix(const void *p, size_t n)
{
	const unsigned char *b = p;
	for (size_t i = 0; i < n; i++)
		hash = (hash ^ b[i]) * 1099511628211u;
}

static struct entry *add(const struct host *from, const struct host *to)
{
	if (count == room) {
		room = room ? 2 * room : 1024;
		entries = realloc(entries, room * sizeof(*entries));
		if (!entries)
			abort();
	}
	struct entry *e = &entries[count++];
	*e = (struct entry){.at = sim_now(),
			    .from = (uint8_t)from->index,
			    .to = (uint8_t)(to ? to->index : from->index)};
	mix(&e->at, sizeof(e->at));
	mix(&e->from, 2);
	return e;
}

static struct span word(struct span *s)
{
	size_t n = 0;
	while (n < s->n && s->p[n] != ' ' && s->p[n] != '\r')
		n++;
	struct span w = span_of(s->p, n);
	n += n < s->n;
	*s = span_of(s->p + n, s->n - n);
	return w;
}

/* "INVITE 1 bob", "180 INVITE 1": as little reading as a label needs. */
static void label(struct entry *e, struct span m)
{
	const char *cseq = memmem(m.p, m.n, "\r\nCSeq: ", 8);
	struct span c = cseq ? span_of(cseq + 8, (size_t)(m.p + m.n - cseq - 8)) : SPAN("");
	struct span number = word(&c), method = word(&c);
	struct span first = word(&m), second = word(&m);
	if (span_eq(first, SPAN("SIP/2.0"))) {
		snprintf(e->label, sizeof(e->label), "%.*s %.*s %.*s", SPAN_FMT(second),
			 SPAN_FMT(method), SPAN_FMT(number));
		return;
	}
	const char *at = memchr(second.p, '@', second.n);
	size_t skip = span_istarts(second, SPAN("sip:")) ? 4 : 0;
	size_t n = at ? (size_t)(at - second.p) : second.n;
	snprintf(e->label, sizeof(e->label), "%.*s %.*s %.*s", SPAN_FMT(first),
		 SPAN_FMT(number), (int)(n - skip), second.p + skip);
}

static void show(const struct host *from, const struct host *to, struct span bytes, int fate)
{
	printf("%.6f %s -> %s%s\n%.*s\n", (double)sim_now() / 1e6, from->name,
	       to ? to->name : "nowhere", fate == TRACE_LOST ? " (lost)" : "", SPAN_FMT(bytes));
}

static void boundary(struct entry *e)
{
	struct host *sender = host_of(e->from);
	if (!counting)
		return;
	e->boundary = ++boundaries;
	if (on_boundary)
		on_boundary(boundaries, sender);
}

void trace_message(const struct host *from, const struct host *to, struct span bytes,
		   enum trace_fate fate)
{
	if (bytes.n < 12 || !isupper((unsigned char)bytes.p[0]))
		return; /* keep-alives */
	struct entry *e = add(from, to);
	e->fate = (uint8_t)fate;
	mix(bytes.p, bytes.n);
	label(e, bytes);
	if (live)
		show(from, to, bytes, (int)fate);
	boundary(e);
}

void trace_bus(const struct host *from, const struct host *to, const char *what, bool more)
{
	struct entry *e = add(from, to);
	snprintf(e->label, sizeof(e->label), "~ %s", what);
	mix(e->label, strlen(e->label));
	if (!more)
		boundary(e);
}

bool trace_is_counting(void)
{
	return counting;
}

void trace_all_bus(bool on)
{
	all_bus = on;
}

bool trace_is_all_bus(void)
{
	return all_bus;
}

void trace_note(const struct host *h, const char *fmt, ...)
{
	struct entry *e = add(h, NULL);
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(e->label, sizeof(e->label), fmt, ap);
	va_end(ap);
	mix(e->label, strlen(e->label));
	if (live)
		printf("%.6f %s: %s\n\n", (double)e->at / 1e6, h->name, e->label);
}

/* ---- the ladder ---- */

static unsigned column[HOSTS_MAX], columns;

static void find_columns(size_t from)
{
	bool used[HOSTS_MAX] = {false};
	columns = 0;
	for (size_t i = from; i < count; i++)
		used[entries[i].from] = used[entries[i].to] = true;
	for (unsigned i = 0; i < hosts_count(); i++)
		if (used[i])
			column[i] = MARGIN + WIDTH / 2 + WIDTH * columns++;
}

static void print_heads(FILE *out, size_t from)
{
	bool used[HOSTS_MAX] = {false};
	for (size_t i = from; i < count; i++)
		used[entries[i].from] = used[entries[i].to] = true;
	fprintf(out, "%*s", MARGIN, "");
	for (unsigned i = 0; i < hosts_count(); i++)
		if (used[i])
			fprintf(out, "%*s%-*s", (int)(WIDTH - strlen(host_of(i)->name)) / 2, "",
				WIDTH - (int)(WIDTH - strlen(host_of(i)->name)) / 2,
				host_of(i)->name);
	fputc('\n', out);
}

static void draw(char *line, const struct entry *e)
{
	unsigned a = column[e->from], b = column[e->to], left = a < b ? a : b,
		 right = a < b ? b : a;
	for (unsigned i = left + 1; i < right; i++)
		line[i] = '-';
	if (e->fate == TRACE_LOST)
		line[(left + right) / 2] = 'x';
	line[b > a ? right - 1 : left + 1] = b > a ? '>' : '<';
}

static void print_entry(FILE *out, const struct entry *e)
{
	char line[MARGIN + WIDTH * HOSTS_MAX + 1];
	unsigned end = MARGIN + WIDTH * columns;
	memset(line, ' ', sizeof(line));
	for (unsigned i = 0; i < columns; i++)
		line[MARGIN + WIDTH / 2 + WIDTH * i] = '|';
	line[end] = 0;
	if (e->from == e->to) {
		size_t n = strlen(e->label);
		unsigned at = column[e->from] + 1;
		memcpy(line + at, e->label, n);
		if (at + n > end)
			line[at + n] = 0;
	} else {
		draw(line, e);
	}
	char time[MARGIN + 8];
	memcpy(line, time, (size_t)snprintf(time, sizeof(time), "%10.4f", (double)e->at / 1e6));
	if (e->from == e->to)
		fprintf(out, "%s\n", line);
	else
		fprintf(out, "%s %5.0u  %s%s\n", line, e->boundary, e->label,
			e->fate == TRACE_LOST	 ? "  (lost)"
			: e->fate == TRACE_TWICE ? "  (twice)"
						 : "");
}

void trace_print(FILE *out, bool all)
{
	size_t from = 0;
	while (!all && from < count && !entries[from].boundary)
		from++;
	if (from == count)
		from = 0;
	while (!all && from > 0 && entries[from - 1].from == entries[from - 1].to)
		from--; /* notes just before it */
	find_columns(from);
	print_heads(out, from);
	for (size_t i = from; i < count; i++)
		print_entry(out, &entries[i]);
}
