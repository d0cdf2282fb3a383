/*
 * The hashes of RFC 7616 by OpenSSL.  Algorithms are fetched once (an implicit fetch takes a
 * lock and costs more than the hash) and every thread has a context of its own for each.
 */
#include "common/auth/auth_priv.h"

#include <errno.h>
#include <openssl/evp.h>
#include <pthread.h>

/* One request of a client is followed by the next: almost all of a registrar's are
 * "REGISTER:sip:domain". */
struct latest {
	size_t a_n, b_n; /* a_n 0: none */
	char text[192];
	char hex[2 * AUTH_HASH_MAX];
};

struct contexts {
	EVP_MD_CTX *ctx[AUTH_ALGORITHMS];
	struct latest latest[AUTH_ALGORITHMS];
};

static EVP_MD *fetched[AUTH_ALGORITHMS];
static pthread_mutex_t fetch_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_key_t contexts_key;
static pthread_once_t contexts_once = PTHREAD_ONCE_INIT;
static bool contexts_key_made;
static _Thread_local struct contexts contexts;

static void contexts_free(void *p)
{
	struct contexts *c = p;

	for (unsigned i = 0; i < AUTH_ALGORITHMS; i++) {
		EVP_MD_CTX_free(c->ctx[i]);
		c->ctx[i] = NULL;
	}
}

static void contexts_make_key(void)
{
	contexts_key_made = pthread_key_create(&contexts_key, contexts_free) == 0;
}

int auth_hash_init(void)
{
	int r = 0;

	pthread_once(&contexts_once, contexts_make_key);
	pthread_mutex_lock(&fetch_lock);
	if (!fetched[AUTH_SHA256])
		fetched[AUTH_SHA256] = EVP_MD_fetch(NULL, "SHA256", NULL);
	if (!fetched[AUTH_MD5])
		fetched[AUTH_MD5] = EVP_MD_fetch(NULL, "MD5", NULL);
	if (!fetched[AUTH_SHA256] || !fetched[AUTH_MD5] || !contexts_key_made)
		r = -EIO;
	pthread_mutex_unlock(&fetch_lock);
	return r;
}

/* The thread's context, made at its first use.  NULL: out of memory, or not initialised. */
static EVP_MD_CTX *context(enum auth_algorithm alg)
{
	EVP_MD_CTX *c = contexts.ctx[alg];

	if (c)
		return c;
	if (!contexts_key_made || pthread_setspecific(contexts_key, &contexts) != 0)
		return NULL;
	c = EVP_MD_CTX_new();
	if (!c)
		return NULL;
	if (!EVP_DigestInit_ex2(c, fetched[alg], NULL)) {
		EVP_MD_CTX_free(c);
		return NULL;
	}
	contexts.ctx[alg] = c;
	return c;
}

static bool add_all(EVP_MD_CTX *c, const struct span *v, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		if (i && !EVP_DigestUpdate(c, ":", 1))
			return false;
		if (v[i].n && !EVP_DigestUpdate(c, v[i].p, v[i].n))
			return false;
	}
	return true;
}

/* One update with the fields joined costs less than one for each: almost all fit here. */
static bool add_joined(EVP_MD_CTX *c, const struct span *v, unsigned n)
{
	char join[512];
	size_t used = 0;

	for (unsigned i = 0; i < n; i++) {
		if (v[i].n >= sizeof(join) - used)
			return add_all(c, v, n);
		if (i)
			join[used++] = ':';
		if (v[i].n)
			memcpy(join + used, v[i].p, v[i].n);
		used += v[i].n;
		if (used == sizeof(join))
			return add_all(c, v, n);
	}
	return EVP_DigestUpdate(c, join, used) == 1;
}

int auth_hash(enum auth_algorithm alg, const struct span *v, unsigned n,
	      unsigned char ret[AUTH_HASH_MAX])
{
	EVP_MD_CTX *c = context(alg);

	if (!c)
		return -EIO;
	if (!EVP_DigestInit_ex2(c, NULL, NULL) || !add_joined(c, v, n) ||
	    !EVP_DigestFinal_ex(c, ret, NULL))
		return -EIO;
	return 0;
}

static bool is_latest(const struct latest *l, struct span a, struct span b)
{
	return l->a_n == a.n && l->b_n == b.n && a.n > 0 && memcmp(l->text, a.p, a.n) == 0 &&
	       (b.n == 0 || memcmp(l->text + a.n, b.p, b.n) == 0);
}

int auth_hash_hex(enum auth_algorithm alg, struct span a, struct span b,
		  char ret[2 * AUTH_HASH_MAX])
{
	struct latest *l = &contexts.latest[alg];
	struct span v[] = {a, b};
	unsigned char hash[AUTH_HASH_MAX];

	if (!is_latest(l, a, b)) {
		if (auth_hash(alg, v, 2, hash) < 0)
			return -EIO;
		auth_hex(hash, auth_hash_len(alg), l->hex);
		l->a_n = 0;
		if (a.n < sizeof(l->text) && b.n < sizeof(l->text) - a.n) {
			memcpy(l->text, a.p, a.n);
			if (b.n)
				memcpy(l->text + a.n, b.p, b.n);
			l->a_n = a.n;
			l->b_n = b.n;
		}
	}
	memcpy(ret, l->hex, 2 * auth_hash_len(alg));
	return 0;
}

void auth_hex(const unsigned char *v, size_t n, char *out)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < n; i++) {
		out[2 * i] = digits[v[i] >> 4];
		out[2 * i + 1] = digits[v[i] & 15];
	}
}

/* 1 to 16 for a digit's value and 1; 0: none. */
static const unsigned char digit_plus_1[256] = {
	['0'] = 1,  ['1'] = 2,	['2'] = 3,  ['3'] = 4,	['4'] = 5,  ['5'] = 6,
	['6'] = 7,  ['7'] = 8,	['8'] = 9,  ['9'] = 10, ['a'] = 11, ['b'] = 12,
	['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16, ['A'] = 11, ['B'] = 12,
	['C'] = 13, ['D'] = 14, ['E'] = 15, ['F'] = 16,
};

static int digit(char c)
{
	return digit_plus_1[(unsigned char)c] - 1;
}

bool auth_unhex(struct span s, unsigned char *out, size_t n)
{
	if (s.n != 2 * n)
		return false;
	for (size_t i = 0; i < n; i++) {
		int hi = digit(s.p[2 * i]), lo = digit(s.p[2 * i + 1]);

		if (hi < 0 || lo < 0)
			return false;
		out[i] = (unsigned char)(hi << 4 | lo);
	}
	return true;
}

int auth_ha1_make(struct span user, struct span realm, struct span password,
		  struct auth_ha1 *ret)
{
	struct span v[] = {user, realm, password};
	unsigned char md5[AUTH_HASH_MAX], sha256[AUTH_HASH_MAX];
	int r = auth_hash_init();

	if (r < 0)
		return r;
	if (auth_hash(AUTH_MD5, v, 3, md5) < 0 || auth_hash(AUTH_SHA256, v, 3, sha256) < 0)
		return -EIO;
	memcpy(ret->md5, md5, sizeof(ret->md5));
	memcpy(ret->sha256, sha256, sizeof(ret->sha256));
	ret->has_md5 = ret->has_sha256 = true;
	return 0;
}
