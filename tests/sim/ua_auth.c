/*
 * Digest by the client: RFC 3261 22.2, RFC 7616 with MD5 and SHA-256.
 */
#include "tests/sim/ua_priv.h"

#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { HEX_MAX = 65 };

static void digest(bool sha256, char out[HEX_MAX], const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void digest(bool sha256, char out[HEX_MAX], const char *fmt, ...)
{
	static EVP_MD *md[2];
	static EVP_MD_CTX *ctx;
	char text[1024];
	unsigned char d[EVP_MAX_MD_SIZE];
	unsigned len = 0;
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (!md[sha256])
		md[sha256] = EVP_MD_fetch(NULL, sha256 ? "SHA256" : "MD5", NULL);
	if (!ctx)
		ctx = EVP_MD_CTX_new();
	if (!EVP_DigestInit_ex2(ctx, md[sha256], NULL) ||
	    !EVP_DigestUpdate(ctx, text, (size_t)n) || !EVP_DigestFinal_ex(ctx, d, &len))
		abort();
	for (unsigned i = 0; i < len; i++)
		sprintf(out + 2 * i, "%02x", d[i]);
}

/* name="value" or name=value in a challenge. */
static bool param(struct span v, const char *name, char *out, size_t room)
{
	size_t n = strlen(name);
	for (const char *p = v.p, *end = v.p + v.n; p + n + 1 < end; p++) {
		if (strncasecmp(p, name, n) != 0 || p[n] != '=' ||
		    (p > v.p && p[-1] != ' ' && p[-1] != ','))
			continue;
		p += n + 1;
		bool quoted = *p == '"';
		p += quoted;
		size_t len = 0;
		while (p + len < end && p[len] != (quoted ? '"' : ',') && len + 1 < room)
			len++;
		memcpy(out, p, len);
		out[len] = 0;
		return true;
	}
	return false;
}

bool auth_take(struct ua_auth *a, const struct sip_msg *m, bool proxy)
{
	const struct sip_hdr *h =
		sip_msg_first(m, proxy ? SIP_HDR_PROXY_AUTHENTICATE : SIP_HDR_WWW_AUTHENTICATE);
	char text[64];
	if (!h)
		return false;
	struct span v = sip_hdr_value(m, h); /* the first is the one that the server prefers */
	bool stale = param(v, "stale", text, sizeof(text)) && strcasecmp(text, "true") == 0;
	if (a->known && a->nc > 0 && !stale) {
		char nonce[sizeof(a->nonce)] = "";
		param(v, "nonce", nonce, sizeof(nonce));
		if (strcmp(nonce, a->nonce) == 0)
			return false;
	}
	*a = (struct ua_auth){.known = true};
	param(v, "realm", a->realm, sizeof(a->realm));
	param(v, "nonce", a->nonce, sizeof(a->nonce));
	param(v, "opaque", a->opaque, sizeof(a->opaque));
	a->qop = param(v, "qop", text, sizeof(text));
	a->sha256 =
		param(v, "algorithm", text, sizeof(text)) && strcasecmp(text, "SHA-256") == 0;
	return true;
}

void auth_add(struct ua_auth *a, const struct ua_conf *c, struct text *t, bool proxy,
	      const char *method, const char *uri, struct rng *rng)
{
	char ha1[HEX_MAX], ha2[HEX_MAX], response[HEX_MAX], cnonce[17];
	if (!a->known)
		return;
	a->nc++;
	snprintf(cnonce, sizeof(cnonce), "%016llx", (unsigned long long)rng_next(rng));
	digest(a->sha256, ha1, "%s:%s:%s", c->user, a->realm, c->password);
	digest(a->sha256, ha2, "%s:%s", method, uri);
	if (a->qop)
		digest(a->sha256, response, "%s:%s:%08x:%s:auth:%s", ha1, a->nonce, a->nc,
		       cnonce, ha2);
	else
		digest(a->sha256, response, "%s:%s:%s", ha1, a->nonce, ha2);
	text_add(t,
		 "%s: Digest username=\"%s\", realm=\"%s\", nonce=\"%s\", uri=\"%s\", "
		 "response=\"%s\", algorithm=%s",
		 proxy ? "Proxy-Authorization" : "Authorization", c->user, a->realm, a->nonce,
		 uri, response, a->sha256 ? "SHA-256" : "MD5");
	if (a->qop)
		text_add(t, ", qop=auth, nc=%08x, cnonce=\"%s\"", a->nc, cnonce);
	if (a->opaque[0])
		text_add(t, ", opaque=\"%s\"", a->opaque);
	text_add(t, "\r\n");
}
