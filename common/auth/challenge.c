/*
 * The authenticator's life, and its challenges (RFC 3261 22.2, 22.3; RFC 8760 2.3: one header
 * field for each algorithm, the one we prefer on top).
 */
#include "common/auth/auth_priv.h"

#include <stdio.h>
#include <stdlib.h>

const struct auth_conf auth_conf_default = {
	.nonce_life_s = 300,
	.md5 = true,
	.sha256 = true,
	.replay_nonces = 65536,
	.replay_check = true,
};

static const char *const header_name[2] = {
	[AUTH_UAS] = "WWW-Authenticate",
	[AUTH_PROXY] = "Proxy-Authenticate",
};
static const char *const algorithm_name[AUTH_ALGORITHMS] = {
	[AUTH_SHA256] = "SHA-256",
	[AUTH_MD5] = "MD5",
};

/* The realm as a quoted-string's inside; NULL: out of memory. */
static char *escape(const char *s)
{
	char *out = malloc(2 * strlen(s) + 1), *p = out;

	if (!out)
		return NULL;
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			*p++ = '\\';
		*p++ = *s;
	}
	*p = '\0';
	return out;
}

static bool make_prefixes(struct auth *a)
{
	char *realm = escape(a->realm.p);
	bool ok = realm != NULL;

	for (unsigned i = 0; ok && i < 2 * AUTH_ALGORITHMS; i++) {
		unsigned side = i / AUTH_ALGORITHMS, alg = i % AUTH_ALGORITHMS;
		char *line;
		int n = asprintf(
			&line, "%s: Digest realm=\"%s\", algorithm=%s, qop=\"auth\", nonce=\"",
			header_name[side], realm, algorithm_name[alg]);

		if (n < 0)
			ok = false;
		else
			a->prefix[side][alg] = span_of(line, (size_t)n);
	}
	free(realm);
	return ok;
}

struct auth *auth_new(const struct auth_conf *c, const struct mac_key *nonce_key)
{
	struct auth *a;
	uint32_t serial;

	if (auth_hash_init() < 0)
		return NULL;
	a = calloc(1, sizeof(*a));
	if (!a)
		return NULL;
	a->conf = *c;
	a->realm = span_str(strdup(c->realm ? c->realm : ""));
	if (!a->realm.p || !make_prefixes(a))
		goto fail;
	a->conf.realm = a->realm.p;
	if (c->replay_check) {
		a->replay = replay_new(c->replay_nonces);
		if (!a->replay)
			goto fail;
	}
	mac_init(&a->realm_mac, nonce_key);
	mac_add(&a->realm_mac, a->realm);
	fingerprint_init(&a->request, nonce_key);
	mac_random(&a->instance, sizeof(a->instance));
	mac_random(&serial, sizeof(serial));
	atomic_init(&a->serial, serial);
	mac_random(a->dummy.md5, sizeof(a->dummy.md5));
	mac_random(a->dummy.sha256, sizeof(a->dummy.sha256));
	return a;
fail:
	auth_free(a);
	return NULL;
}

void auth_free(struct auth *a)
{
	if (!a)
		return;
	for (unsigned i = 0; i < 2 * AUTH_ALGORITHMS; i++)
		free((char *)a->prefix[i / AUTH_ALGORITHMS][i % AUTH_ALGORITHMS].p);
	replay_free(a->replay);
	free((char *)a->realm.p);
	free(a);
}

static char *put(char *p, struct span s)
{
	memcpy(p, s.p, s.n);
	return p + s.n;
}

struct span auth_challenge(struct auth *a, enum auth_side side, const struct addr *src,
			   bool stale, uint64_t wall_ms)
{
	const struct span end = stale ? SPAN("\", stale=true\r\n") : SPAN("\"\r\n");
	struct nonce n = {
		.time_ms = wall_ms,
		.instance = a->instance,
		.serial = atomic_fetch_add_explicit(&a->serial, 1, memory_order_relaxed),
	};
	char nonce[NONCE_LEN];
	size_t len = 0;
	char *out, *p;

	for (unsigned i = 0; i < AUTH_ALGORITHMS; i++)
		if (auth_offers(a, i))
			len += a->prefix[side][i].n + NONCE_LEN + end.n;
	out = p = arena_alloc(sip_arena(), len);
	if (!out)
		return (struct span){NULL, 0};
	nonce_write(&a->realm_mac, &n, src, nonce);
	for (unsigned i = 0; i < AUTH_ALGORITHMS; i++) {
		if (!auth_offers(a, i))
			continue;
		p = put(p, a->prefix[side][i]);
		p = put(p, span_of(nonce, NONCE_LEN));
		p = put(p, end);
	}
	return span_of(out, len);
}
