/*
 * Keys of CURVE (Curve25519) as text: Z85, ZeroMQ's RFC 32.
 */
#include "common/bus/bus_priv.h"

#include <errno.h>

_Static_assert(BUS_KEY_CHARS == BUS_KEY_BYTES / 4 * 5, "Z85");

int bus_keypair(char ret_public[BUS_KEY_CHARS + 1], char ret_secret[BUS_KEY_CHARS + 1])
{
	return zmq_curve_keypair(ret_public, ret_secret) == 0 ? 0 : -ENOTSUP;
}

int bus_key_bytes(const char *key, uint8_t ret_key[BUS_KEY_BYTES])
{
	if (strnlen(key, BUS_KEY_CHARS + 1) != BUS_KEY_CHARS)
		return -EINVAL;
	return zmq_z85_decode(ret_key, key) ? 0 : -EINVAL;
}

int bus_public_key(const char *secret, char ret_public[BUS_KEY_CHARS + 1])
{
	uint8_t bytes[BUS_KEY_BYTES];
	int r = bus_key_bytes(secret, bytes);

	explicit_bzero(bytes, sizeof(bytes));
	if (r == 0 && zmq_curve_public(ret_public, secret) < 0)
		r = -EINVAL;
	return r;
}
