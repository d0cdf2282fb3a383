/*
 * logfmt on stderr: one write(2) a line, so that lines of several threads do not mix.
 */
#include "common/base/log.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { LOG_LINE_MAX = 2048 };

static const char *const level_names[] = {"error", "warn", "info", "debug", "trace"};
static atomic_int log_level = LOG_INFO;
static _Atomic uint64_t lost;

struct line {
	char p[LOG_LINE_MAX];
	size_t n;
};

static void put(struct line *l, struct span s)
{
	size_t room = sizeof(l->p) - 1 - l->n; /* a place for the line end is kept */
	size_t n = s.n < room ? s.n : room;
	if (n)
		memcpy(l->p + l->n, s.p, n);
	l->n += n;
}

static bool plain(struct span s)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (c <= ' ' || c >= 0x7f || c == '"' || c == '=' || c == '\\')
			return false;
	}
	return s.n > 0;
}

static void put_value(struct line *l, struct span s)
{
	if (plain(s)) {
		put(l, s);
		return;
	}
	put(l, SPAN("\""));
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		char hex[5];
		if (c == '"' || c == '\\')
			put(l, SPAN("\\"));
		if (c >= ' ' && c < 0x7f)
			put(l, span_of(s.p + i, 1));
		else
			put(l, span_of(hex, (size_t)snprintf(hex, sizeof(hex), "\\x%02x", c)));
	}
	put(l, SPAN("\""));
}

static void put_time(struct line *l)
{
	struct timespec t;
	struct tm tm;
	char text[48];
	clock_gettime(CLOCK_REALTIME, &t);
	gmtime_r(&t.tv_sec, &tm);
	size_t n = strftime(text, sizeof(text), "ts=%Y-%m-%dT%H:%M:%S", &tm);
	n += (size_t)snprintf(text + n, sizeof(text) - n, ".%03ldZ", t.tv_nsec / 1000000);
	put(l, span_of(text, n));
}

bool log_enabled(enum log_level level)
{
	return (int)level <= atomic_load_explicit(&log_level, memory_order_relaxed);
}

void log_set_level(enum log_level level)
{
	atomic_store_explicit(&log_level, (int)level, memory_order_relaxed);
}

int log_level_parse(struct span name, enum log_level *ret_level)
{
	for (size_t i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++)
		if (span_eq(name, span_str(level_names[i]))) {
			*ret_level = (enum log_level)i;
			return 0;
		}
	return -EINVAL;
}

void log_write(enum log_level level, const char *event, const struct log_field *f, size_t n)
{
	struct line l = {.n = 0};
	put_time(&l);
	put(&l, SPAN(" level="));
	put(&l, span_str(level_names[level]));
	put(&l, SPAN(" event="));
	put_value(&l, span_str(event));
	for (size_t i = 0; i < n; i++) {
		put(&l, SPAN(" "));
		put(&l, span_str(f[i].key));
		put(&l, SPAN("="));
		if (f[i].is_number) {
			char text[24];
			int k = snprintf(text, sizeof(text), "%lld", (long long)f[i].number);
			put(&l, span_of(text, (size_t)k));
		} else {
			put_value(&l, f[i].value);
		}
	}
	l.p[l.n++] = '\n';
	if (write(STDERR_FILENO, l.p, l.n) != (ssize_t)l.n)
		atomic_fetch_add_explicit(&lost, 1, memory_order_relaxed);
}

uint64_t log_lost(void)
{
	return atomic_load_explicit(&lost, memory_order_relaxed);
}
