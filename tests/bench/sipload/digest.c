/*
 * Digests by OpenSSL, the algorithm fetched once.
 */
#include "tests/bench/sipload/text.h"

#include <errno.h>
#include <openssl/evp.h>

static EVP_MD *md;
static EVP_MD_CTX *ctx;

int digest_init(bool sha256)
{
	md = EVP_MD_fetch(NULL, sha256 ? "SHA256" : "MD5", NULL);
	ctx = EVP_MD_CTX_new();
	return md && ctx ? 0 : -ENOMEM;
}

void digest_hex(const char *text, size_t n, char out[DIGEST_HEX_MAX])
{
	unsigned char d[EVP_MAX_MD_SIZE];
	unsigned len = 0;

	if (EVP_DigestInit_ex2(ctx, md, NULL) && EVP_DigestUpdate(ctx, text, n))
		EVP_DigestFinal_ex(ctx, d, &len);
	for (unsigned i = 0; i < len && i < 32; i++) {
		out[2 * i] = "0123456789abcdef"[d[i] >> 4];
		out[2 * i + 1] = "0123456789abcdef"[d[i] & 15];
	}
	out[2 * len] = 0;
}
