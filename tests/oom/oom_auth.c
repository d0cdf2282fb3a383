/* An authenticator and a guard are made, challenge, check and go. */
#include "tests/oom/oom.h"

#include "common/auth/digest.h"
#include "common/auth/guard.h"

#include <stdio.h>

static struct arena arena;
static struct auth_ha1 ha1;

static void setup(void)
{
	OOM_HOLDS(sip_values_init() == 0 && arena_init(&arena, 65536) == 0);
	sip_values_use_arena(&arena);
	OOM_HOLDS(auth_ha1_make(SPAN("alice"), SPAN("example.com"), SPAN("x"), &ha1) == 0);
}

static bool lookup(void *arg, struct span user, struct auth_ha1 *ret)
{
	(void)arg;
	(void)user;
	*ret = ha1;
	return true;
}

static int run(void)
{
	static const char form[] =
		"REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP "
		"192.0.2.1;branch=z9hG4bKx\r\n"
		"From: <sip:alice@example.com>;tag=1\r\nTo: <sip:alice@example.com>\r\n"
		"Call-ID: a@b\r\nCSeq: 1 REGISTER\r\nMax-Forwards: 70\r\n"
		"Authorization: Digest username=\"alice\", realm=\"example.com\", "
		"nonce=\"%.*s\", "
		"uri=\"sip:EXAMPLE.com\", "
		"response=\"00000000000000000000000000000000\"\r\n\r\n";
	static const struct mac_key key = {1, 2};
	static const struct addr source;
	enum { NONCE_DIGITS = 44 };
	static char text[1024];
	struct auth_conf c = auth_conf_default;
	struct guard_conf gc = guard_conf_default;
	struct sip_hdr hdr[SIP_HDR_MAX];
	struct sip_msg m = {.hdr = hdr};
	enum auth_result res = AUTH_NONE;
	struct sip_fault fault;
	struct span user;
	struct guard *g;
	struct auth *a;

	c.realm = "example.com";
	c.replay_nonces = 64;
	gc.entries = 64;
	g = guard_new(&gc);
	a = auth_new(&c, &key);
	if (a) {
		arena_reset(&arena);
		struct span line = auth_challenge(a, AUTH_UAS, &source, true, 1000);
		const char *nonce = memmem(line.p, line.n, "nonce=\"", 7);
		OOM_HOLDS(nonce != NULL);
		int n = snprintf(text, sizeof(text), form, NONCE_DIGITS, nonce + 7);
		OOM_HOLDS(sip_msg_index(&m, span_of(text, (size_t)n), false,
					&sip_limits_default, &fault) == 0);
		res = auth_check(a, &m, AUTH_UAS, &source, lookup, NULL, 1000, &user);
		OOM_HOLDS(res == AUTH_WRONG || res == AUTH_NONE);
	}
	auth_free(a);
	guard_free(g);
	return g && res == AUTH_WRONG ? 0 : -1;
}

const struct oom_scenario oom_scenario = {"auth", setup, run};
