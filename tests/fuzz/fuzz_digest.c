/*
 * Credentials from the network: every line of the input is the value of one Authorization
 * field. NONCE stands for a nonce that is good, so that the whole of the check is reached.
 */
#include "common/auth/auth_priv.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct arena arena;
static struct auth *auth;
static const struct addr source;

static bool lookup(void *arg, struct span user, struct auth_ha1 *ret)
{
	(void)arg;
	memset(ret, 0, sizeof(*ret));
	ret->has_md5 = ret->has_sha256 = true;
	return user.n % 2;
}

static void setup(void)
{
	static const struct mac_key key = {1, 2};
	struct auth_conf c = auth_conf_default;

	c.realm = "example.com";
	c.replay_nonces = 64;
	if (sip_values_init() < 0 || arena_init(&arena, 65536) < 0)
		abort();
	sip_values_use_arena(&arena);
	auth = auth_new(&c, &key);
	if (!auth)
		abort();
}

static size_t add(char *buf, size_t at, const char *p, size_t n)
{
	memcpy(buf + at, p, n);
	return at + n;
}

/* One field from one line, with NONCE replaced.  The new end. */
static size_t add_field(char *buf, size_t at, const char *p, size_t n)
{
	const char *mark = n ? memmem(p, n, "NONCE", 5) : NULL;
	struct nonce fresh = {.time_ms = 1000000, .instance = auth->instance, .serial = n};

	at = add(buf, at, "Authorization: ", 15);
	if (!mark) {
		at = add(buf, at, p, n);
	} else {
		at = add(buf, at, p, (size_t)(mark - p));
		nonce_write(&auth->realm_mac, &fresh, &source, buf + at);
		at = add(buf, at + NONCE_LEN, mark + 5, n - (size_t)(mark - p) - 5);
	}
	return add(buf, at, "\r\n", 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const char head[] =
		"REGISTER sip:example.com SIP/2.0\r\n"
		"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx\r\n"
		"From: <sip:alice@example.com>;tag=1\r\nTo: <sip:alice@example.com>\r\n"
		"Call-ID: a@b\r\nCSeq: 1 REGISTER\r\nMax-Forwards: 70\r\n";
	static char buf[32768];
	struct sip_hdr hdr[SIP_HDR_MAX];
	struct sip_msg m = {.hdr = hdr};
	struct sip_fault fault;
	struct span user = {NULL, 0};
	struct nonce nonce;
	const char *p = (const char *)data, *end = p + n;
	size_t at;

	if (!auth)
		setup();
	if (n > 4096)
		return 0;
	arena_reset(&arena);
	nonce_read(&auth->realm_mac, span_of(p, n), &source, &nonce);
	at = add(buf, 0, head, sizeof(head) - 1);
	for (unsigned i = 0; i < 16 && p < end; i++) {
		const char *nl = memchr(p, '\n', (size_t)(end - p));
		size_t len = (size_t)((nl ? nl : end) - p);

		at = add_field(buf, at, p, len);
		p = nl ? nl + 1 : end;
	}
	at = add(buf, at, "\r\n", 2);
	if (sip_msg_index(&m, span_of(buf, at), false, &sip_limits_default, &fault) < 0)
		return 0;
	switch (auth_check(auth, &m, AUTH_UAS, &source, lookup, NULL, 1000000, &user)) {
	case AUTH_OK:
	case AUTH_REPEAT:
	case AUTH_STALE:
	case AUTH_WRONG:
		if (!user.p && user.n)
			abort();
		break;
	case AUTH_NONE:
	case AUTH_BAD:
		break;
	}
	return 0;
}
