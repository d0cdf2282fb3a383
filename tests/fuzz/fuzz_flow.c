/*
 * Flow tokens: text as it comes is never taken; what bears a good MAC all the same, whatever is
 * in it, is read within its bounds; and what is written is read back.
 */
#include "common/flow/token.h"

#include <errno.h>
#include <stdlib.h>

static struct flow_keys keys;

static void check(bool holds)
{
	if (!holds)
		abort();
}

static size_t base64url(const uint8_t *p, size_t n, char *out)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	size_t at = 0;

	for (size_t bit = 0; bit < 8 * n; bit += 6) {
		unsigned two =
			(unsigned)p[bit / 8] << 8 | (bit / 8 + 1 < n ? p[bit / 8 + 1] : 0);
		out[at++] = digits[two >> (10 - bit % 8) & 63];
	}
	return at;
}

static void read_signed(const uint8_t *data, size_t size)
{
	uint8_t raw[64];
	char text[96], again[FLOW_TOKEN_MAX];
	struct sip_flow f, g;
	unsigned flags, more;

	if (size > sizeof(raw) - 8)
		size = sizeof(raw) - 8;
	memcpy(raw, data, size);
	uint64_t mac = mac_span(&keys.key, span_of((const char *)raw, size));
	for (unsigned i = 0; i < 8; i++)
		raw[size + i] = (uint8_t)(mac >> (56 - 8 * i));
	int rc = flow_token_read(&keys, span_of(text, base64url(raw, size + 8, text)), &f,
				 &flags);
	check(rc == 0 || rc == -EINVAL || rc == -ESTALE);
	if (rc == -EINVAL)
		return;
	size_t n = flow_token_write(&keys, &f, flags, again);
	check(n > 0 && flow_token_read(&keys, span_of(again, n), &g, &more) == 0);
	check(sip_flow_equal(&f, &g) && f.worker == g.worker && flags == more);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sip_flow f;
	unsigned flags;

	flow_keys_init(&keys, SPAN("a secret of the fuzzer"), 7);
	int rc = flow_token_read(&keys, span_of((const char *)data, size), &f, &flags);
	check(rc == -EINVAL || rc == -EPERM);
	read_signed(data, size);
	return 0;
}
