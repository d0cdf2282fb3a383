/*
 * For LD_PRELOAD: a library's function that the server calls over a message crashes when the
 * bytes have a marker in them: "poison-home" where credentials are hashed, which a home does
 * alone; "poison-parser" where a byte is looked for, which framing and parsing do everywhere;
 * "poison-forward" behind the start line of an INVITE of which only that is copied, which a
 * transaction does that sends it.
 */
#include <dlfcn.h>
#include <stddef.h>
#include <sys/resource.h>

__attribute__((visibility("default"))) int EVP_DigestUpdate(void *ctx, const void *d,
							    size_t cnt);
__attribute__((visibility("default"))) void *memchr(const void *s, int c, size_t n);
__attribute__((visibility("default"))) void *memcpy(void *restrict to,
						    const void *restrict from, size_t n);

static int has(const char *p, size_t n, const char *marker, size_t len)
{
	for (size_t i = 0; i + len <= n; i++) {
		size_t k = 0;
		while (k < len && p[i + k] == marker[k])
			k++;
		if (k == len)
			return 1;
	}
	return 0;
}

#define HAS(p, n, marker) has((p), (n), (marker), sizeof(marker) - 1)

static void crash(void)
{
	volatile char *volatile nowhere = NULL;
	*nowhere = 1;
}

int EVP_DigestUpdate(void *ctx, const void *d, size_t cnt)
{
	static int (*real)(void *, const void *, size_t);
	if (HAS(d, cnt, "poison-home"))
		crash();
	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "EVP_DigestUpdate");
	return real(ctx, d, cnt);
}

void *memchr(const void *s, int c, size_t n)
{
	const unsigned char *p = s;
	if (HAS(s, n, "poison-parser"))
		crash();
	for (size_t i = 0; i < n; i++)
		if (p[i] == (unsigned char)c)
			return (void *)(p + i);
	return NULL;
}

void *memcpy(void *restrict to, const void *restrict from, size_t n)
{
	static const char invite[] = "INVITE ";
	enum { LOOK = 900 };
	const char *p = from;
	size_t len = 0;
	if (n >= sizeof(invite) - 1 && n < 2 * sizeof(invite) &&
	    has(p, sizeof(invite) - 1, invite, sizeof(invite) - 1)) {
		while (len < LOOK && p[len])
			len++;
		if (HAS(p, len, "poison-forward"))
			crash();
	}
	for (volatile size_t i = 0; i < n; i++)
		((char *)to)[i] = p[i];
	return to;
}

__attribute__((constructor)) static void no_core(void)
{
	const struct rlimit none = {0, 0};
	setrlimit(RLIMIT_CORE, &none);
}
