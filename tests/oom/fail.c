/*
 * Makes allocations fail: the linker sends every one of our own code to the functions here
 * (--wrap), and libevent and OpenSSL are given them too.  Each scenario runs with the first
 * allocation failing, then the second, and so on until a run needs fewer: once with that one
 * failing alone, once with all from it on.  After each the memory must be what it was, and the
 * next run, with nothing failing, must do its work in full.
 */
#include "tests/oom/oom.h"

#include <event2/event.h>
#include <openssl/crypto.h>
#include <sanitizer/common_interface_defs.h>
#include <sanitizer/lsan_interface.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { RUNS_MAX = 20000 };

static struct {
	bool on, sticky;
	unsigned at, count; /* the at-th allocation fails; so many were asked for */
	_Atomic long live;  /* libraries free what is ours in threads of theirs */
	unsigned trace;	    /* OOM_TRACE=n: shows where the n-th is */
} f;

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t align, size_t n);
void __real_free(void *p);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_reallocarray(void *p, size_t n, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t n);
int __wrap_posix_memalign(void **ret, size_t align, size_t n);
void __wrap_free(void *p);
char *__wrap_strdup(const char *s);
char *__wrap_strndup(const char *s, size_t max);
int __wrap_vasprintf(char **ret, const char *fmt, va_list ap);
int __wrap_asprintf(char **ret, const char *fmt, ...);

static bool fails(void)
{
	if (!f.on)
		return false;
	f.count++;
	if (f.count == f.trace && f.at == f.trace)
		__sanitizer_print_stack_trace();
	return f.at && (f.count == f.at || (f.sticky && f.count > f.at));
}

static void *counted(void *p)
{
	if (p)
		f.live++;
	return p;
}

void *__wrap_malloc(size_t n)
{
	return fails() ? NULL : counted(__real_malloc(n));
}

void *__wrap_calloc(size_t n, size_t size)
{
	return fails() ? NULL : counted(__real_calloc(n, size));
}

void *__wrap_realloc(void *p, size_t n)
{
	void *q;

	if (fails())
		return NULL;
	q = __real_realloc(p, n);
	if (!p)
		counted(q);
	return q;
}

void *__wrap_reallocarray(void *p, size_t n, size_t size)
{
	size_t all;

	return __builtin_mul_overflow(n, size, &all) ? NULL : __wrap_realloc(p, all);
}

int __wrap_posix_memalign(void **ret, size_t align, size_t n)
{
	if (fails())
		return 12; /* ENOMEM */
	*ret = counted(__real_aligned_alloc(align, (n + align - 1) / align * align));
	return *ret ? 0 : 12;
}

void *__wrap_aligned_alloc(size_t align, size_t n)
{
	void *p;

	return __wrap_posix_memalign(&p, align, n) == 0 ? p : NULL;
}

void __wrap_free(void *p)
{
	if (p)
		f.live--;
	__real_free(p);
}

char *__wrap_strndup(const char *s, size_t max)
{
	size_t n = strnlen(s, max);
	char *p = __wrap_malloc(n + 1);

	if (!p)
		return NULL;
	memcpy(p, s, n);
	p[n] = '\0';
	return p;
}

char *__wrap_strdup(const char *s)
{
	return __wrap_strndup(s, SIZE_MAX);
}

int __wrap_vasprintf(char **ret, const char *fmt, va_list ap)
{
	va_list again;
	int n;

	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	*ret = n < 0 ? NULL : __wrap_malloc((size_t)n + 1);
	return *ret ? vsnprintf(*ret, (size_t)n + 1, fmt, ap) : -1;
}

int __wrap_asprintf(char **ret, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = __wrap_vasprintf(ret, fmt, ap);
	va_end(ap);
	return n;
}

/* Not counted as alive: OpenSSL keeps contexts and errors for the thread.  LSan looks at exit.
 */
static void *ssl_malloc(size_t n, const char *file, int line)
{
	(void)file;
	(void)line;
	return fails() ? NULL : __real_malloc(n);
}

static void *ssl_realloc(void *p, size_t n, const char *file, int line)
{
	(void)file;
	(void)line;
	return fails() ? NULL : __real_realloc(p, n);
}

static void ssl_free(void *p, const char *file, int line)
{
	(void)file;
	(void)line;
	__real_free(p);
}

/* ASan calls this before it ends the process. */
void __asan_on_error(void);
void __asan_on_error(void)
{
	fprintf(stderr, "oom %s: with allocation %u failing%s\n", oom_scenario.name, f.at,
		f.sticky ? " and all after it" : "");
}

/* A scenario's own check has failed. */
void oom_failed(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s:%d: %s does not hold (OOM_TRACE=%u shows where memory failed)\n",
		file, line, what, f.at);
	__asan_on_error();
	exit(1);
}

static void give_up(const char *what)
{
	fprintf(stderr, "%s (OOM_TRACE=%u shows where)\n", what, f.at);
	__asan_on_error();
	__lsan_do_recoverable_leak_check();
	exit(1);
}

static int run(unsigned at)
{
	long live = f.live;
	int r;

	f.at = at;
	f.count = 0;
	f.on = true;
	r = oom_scenario.run();
	f.on = false;
	if (f.live != live)
		give_up(f.live > live ? "memory was left behind" : "memory was freed twice");
	if (r > 0 || (r < 0 && f.count < at))
		give_up("the result is wrong");
	return r;
}

/* How many allocations a run makes. */
static unsigned fail_each(void)
{
	for (unsigned at = 1; at < RUNS_MAX; at++) {
		if (run(at) == 0 && f.count < at)
			return f.count;
		f.sticky = !f.sticky; /* the same again, and all after it */
		run(at);
		f.sticky = !f.sticky;
		if (run(0) != 0)
			give_up("the next run did not do its work");
	}
	give_up("there is no end to it");
	return 0;
}

int main(void)
{
	const char *trace = getenv("OOM_TRACE");

	CRYPTO_set_mem_functions(ssl_malloc, ssl_realloc, ssl_free);
	event_set_mem_functions(__wrap_malloc, __wrap_realloc, __wrap_free);
	f.trace = trace ? (unsigned)atoi(trace) : 0;
	if (oom_scenario.setup)
		oom_scenario.setup();
	/* Twice: what is made once for the process or the thread stays. */
	f.on = true;
	for (unsigned i = 0; i < 2; i++) {
		if (oom_scenario.run() != 0) {
			fprintf(stderr, "oom %s: does not work with memory\n",
				oom_scenario.name);
			return 1;
		}
	}
	printf("oom %s: %u allocations\n", oom_scenario.name, fail_each());
	return 0;
}
