/*
 * Stateless nonces (RFC 7616 5.4, 5.5): time, the process that made it, a serial number, and a
 * keyed MAC over realm, source and all of these.  Nothing is kept until one is used with a
 * right response.
 */
#include "common/auth/auth_priv.h"

static void put_hex(char *out, unsigned digits, uint64_t v)
{
	for (unsigned i = digits; i-- > 0; v >>= 4)
		out[i] = "0123456789abcdef"[v & 15];
}

/* Lower case only: a nonce has one spelling. */
static bool get_hex(const char *p, unsigned digits, uint64_t *ret)
{
	/* 1 to 16 for a digit's value and 1; 0: none */
	static const unsigned char plus_1[256] = {
		['0'] = 1,  ['1'] = 2,	['2'] = 3,  ['3'] = 4,	['4'] = 5,  ['5'] = 6,
		['6'] = 7,  ['7'] = 8,	['8'] = 9,  ['9'] = 10, ['a'] = 11, ['b'] = 12,
		['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
	};
	uint64_t v = 0;
	bool none = false;

	for (unsigned i = 0; i < digits; i++) {
		unsigned d = plus_1[(unsigned char)p[i]];
		none |= d == 0;
		v = v << 4 | ((d - 1) & 15);
	}
	*ret = v;
	return !none;
}

static uint64_t nonce_mac(const struct mac *realm, const struct nonce *n,
			  const struct addr *src)
{
	struct mac m = *realm;

	mac_add_u64(&m, n->time_ms);
	mac_add_u64(&m, (uint64_t)n->instance << 32 | n->serial);
	mac_add(&m, addr_host_bytes(src));
	return mac_final(&m);
}

void nonce_write(const struct mac *realm, const struct nonce *n, const struct addr *src,
		 char out[NONCE_LEN])
{
	put_hex(out, 12, n->time_ms);
	put_hex(out + 12, 8, n->instance);
	put_hex(out + 20, 8, n->serial);
	mac_hex(nonce_mac(realm, n, src), out + 28);
}

bool nonce_read(const struct mac *realm, struct span text, const struct addr *src,
		struct nonce *ret)
{
	uint64_t instance, serial, mac;
	struct nonce n;

	if (text.n != NONCE_LEN || !get_hex(text.p, 12, &n.time_ms) ||
	    !get_hex(text.p + 12, 8, &instance) || !get_hex(text.p + 20, 8, &serial) ||
	    !get_hex(text.p + 28, 16, &mac))
		return false;
	n.instance = (uint32_t)instance;
	n.serial = (uint32_t)serial;
	if (!mac_equal(mac, nonce_mac(realm, &n, src)))
		return false;
	*ret = n;
	return true;
}
