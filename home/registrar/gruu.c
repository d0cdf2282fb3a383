/*
 * GRUUs, RFC 5627.  The public one is the address of record with the instance in `gr`.  The
 * temporary one is kept nowhere: its user part is the sealed (user, instance, Call-ID),
 * encrypted with a synthetic initial vector, so it reveals nothing, cannot be forged, and every
 * answer gives a new one.  It ends with the Call-ID of its registration (5627 section 3.1).
 *
 * Seal: siv = MAC(plain); plain xor MAC(siv, 0), MAC(siv, 1) ...; base32 of siv and that.
 * Plain: length of user, 4 bytes Call-ID hash, 8 instance hash, 6 time, user, zeros to 16 n.
 */
#include "home/registrar/reg_priv.h"

#include "common/flow/gruu.h"

#include <errno.h>

enum {
	SIV_BYTES = 8,
	HEAD_BYTES = 1 + 4 + 8 + 6,
	USER_MAX = 128,
	PLAIN_MAX = (HEAD_BYTES + USER_MAX + 15) / 16 * 16,
	SEALED_MAX = SIV_BYTES + PLAIN_MAX,
	TOKEN_MAX = (SEALED_MAX * 8 + 4) / 5,
};

static const char digits[] = "abcdefghijklmnopqrstuvwxyz234567";

static struct span bare(struct span instance)
{
	if (instance.n >= 2 && instance.p[0] == '<')
		return span_of(instance.p + 1, instance.n - 2);
	return instance;
}

uint64_t reg_instance_hash(const struct reg *r, struct span instance)
{
	struct mac m;
	mac_init(&m, &r->hash_key);
	mac_add_icase(&m, bare(instance));
	return mac_final(&m);
}

uint32_t reg_call_id_hash(const struct reg *r, struct span call_id)
{
	return (uint32_t)mac_span(&r->hash_key, call_id);
}

/* ---- sealing ---- */

static uint64_t siv_of(const struct reg *r, const unsigned char *plain, size_t n)
{
	struct mac m;
	mac_init(&m, &r->gruu_key);
	mac_add(&m, SPAN("siv"));
	mac_add(&m, span_of((const char *)plain, n));
	return mac_final(&m);
}

static void crypt(const struct reg *r, uint64_t siv, unsigned char *p, size_t n)
{
	for (size_t i = 0; i < n; i += 8) {
		struct mac m;
		mac_init(&m, &r->gruu_key);
		mac_add(&m, SPAN("stream"));
		mac_add_u64(&m, siv);
		mac_add_u64(&m, i);
		uint64_t k = mac_final(&m);
		for (size_t j = 0; j < 8; j++)
			p[i + j] ^= (unsigned char)(k >> 8 * j);
	}
}

static void put_le(unsigned char *p, uint64_t v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (unsigned char)(v >> 8 * i);
}

static uint64_t get_le(const unsigned char *p, size_t n)
{
	uint64_t v = 0;
	for (size_t i = 0; i < n; i++)
		v |= (uint64_t)p[i] << 8 * i;
	return v;
}

static size_t seal(const struct reg_work *w, const Eaves__Binding *b,
		   unsigned char out[SEALED_MAX])
{
	struct span user = w->set.user;
	size_t n = (HEAD_BYTES + user.n + 15) / 16 * 16;
	unsigned char *p = out + SIV_BYTES;

	memset(p, 0, n);
	p[0] = (unsigned char)user.n;
	put_le(p + 1, reg_call_id_hash(w->r, pb_span(b->call_id)), 4);
	put_le(p + 5, reg_instance_hash(w->r, pb_span(b->instance)), 8);
	put_le(p + 13, w->wall_ms, 6);
	memcpy(p + HEAD_BYTES, user.p, user.n);
	uint64_t siv = siv_of(w->r, p, n);
	put_le(out, siv, SIV_BYTES);
	crypt(w->r, siv, p, n);
	return SIV_BYTES + n;
}

static size_t base32(const unsigned char *p, size_t n, char *out)
{
	size_t o = 0;
	unsigned acc = 0, bits = 0;
	for (size_t i = 0; i < n; i++) {
		acc = (acc << 8 | p[i]) & 0xffff;
		for (bits += 8; bits >= 5; bits -= 5)
			out[o++] = digits[acc >> (bits - 5) & 31];
	}
	if (bits)
		out[o++] = digits[acc << (5 - bits) & 31];
	return o;
}

static int unbase32(struct span s, unsigned char *out, size_t *ret_n)
{
	size_t o = 0;
	unsigned acc = 0, bits = 0;
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		unsigned v;
		if (c >= 'a' && c <= 'z')
			v = (unsigned)(c - 'a');
		else if (c >= '2' && c <= '7')
			v = (unsigned)(c - '2' + 26);
		else
			return -EINVAL;
		acc = (acc << 5 | v) & 0xfff;
		bits += 5;
		if (bits >= 8) {
			bits -= 8;
			out[o++] = (unsigned char)(acc >> bits);
		}
	}
	*ret_n = o;
	return 0;
}

static int unseal(const struct reg *r, struct span token, struct reg_gruu *ret)
{
	unsigned char buf[SEALED_MAX + 1], *p = buf + SIV_BYTES;
	size_t n;

	if (token.n > TOKEN_MAX || unbase32(token, buf, &n) < 0)
		return -EINVAL;
	if (n < SIV_BYTES + 16 || (n - SIV_BYTES) % 16 != 0)
		return -EINVAL;
	uint64_t siv = get_le(buf, SIV_BYTES);
	n -= SIV_BYTES;
	crypt(r, siv, p, n);
	if (!mac_equal(siv, siv_of(r, p, n)) || n < HEAD_BYTES + (size_t)p[0])
		return -EINVAL;
	ret->call_id = (uint32_t)get_le(p + 1, 4);
	ret->instance = get_le(p + 5, 8);
	ret->temporary = true;
	ret->user = arena_dup(sip_arena(), span_of((const char *)p + HEAD_BYTES, p[0]));
	return ret->user.p ? 0 : -ENOMEM;
}

/* ---- as URIs ---- */

static bool plain_char(char c, const char *marks)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c && strchr(marks, c));
}

static void add_escaped(struct reg_text *t, struct span s, const char *marks)
{
	static const char hex[] = "0123456789ABCDEF";
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		const char esc[3] = {'%', hex[c >> 4], hex[c & 15]};
		if (plain_char(s.p[i], marks))
			reg_text_add(t, span_of(&s.p[i], 1));
		else
			reg_text_add(t, span_of(esc, 3));
	}
}

size_t reg_gruu_max(const struct reg_work *w, const Eaves__Binding *b)
{
	size_t pair = w->conf->pair ? strlen(w->conf->pair) + 1 : 0;
	return 64 + 2 * strlen(w->conf->domain) + pair + 3 * w->set.user.n +
	       3 * b->instance.len + TOKEN_MAX;
}

void reg_gruu_add(const struct reg_work *w, const Eaves__Binding *b, struct reg_text *t)
{
	struct span domain = span_str(w->conf->domain);
	unsigned char sealed[SEALED_MAX];
	char token[TOKEN_MAX + 1];

	reg_text_add(t, SPAN(";pub-gruu=\"sip:"));
	add_escaped(t, w->set.user, "-_.!~*'()&=+$,;?/");
	reg_text_add(t, SPAN("@"));
	reg_text_add(t, domain);
	reg_text_add(t, SPAN(";gr="));
	add_escaped(t, bare(pb_span(b->instance)), "-_.!~*'()[]/:&+$");
	reg_text_add(t, SPAN("\""));
	if (w->set.user.n > USER_MAX)
		return;
	size_t n = base32(sealed, seal(w, b, sealed), token);
	reg_text_add(t, SPAN(";temp-gruu=\"sip:" GRUU_TEMPORARY));
	if (w->conf->pair) {
		reg_text_add(t, span_str(w->conf->pair));
		reg_text_add(t, SPAN("."));
	}
	reg_text_add(t, span_of(token, n));
	reg_text_add(t, SPAN("@"));
	reg_text_add(t, domain);
	reg_text_add(t, SPAN(";gr\""));
}

/* The value of gr is escaped as a user part is. */
static int parse_public(struct reg *r, const struct sip_uri *uri, struct span gr,
			struct reg_gruu *ret)
{
	const struct sip_uri as_user = {.user = gr};
	struct span instance;

	if (!uri->user.p || sip_uri_user(uri, &ret->user) < 0 ||
	    sip_uri_user(&as_user, &instance) < 0)
		return -EINVAL;
	ret->instance = reg_instance_hash(r, instance);
	ret->temporary = false;
	ret->call_id = 0;
	return 0;
}

int reg_gruu_parse(struct reg *r, const struct sip_uri *uri, struct reg_gruu *ret)
{
	const struct sip_param *gr = sip_uri_param(uri, SPAN("gr"));

	if (!gr)
		return -ENOENT;
	if (gr->value.p && gr->value.n)
		return parse_public(r, uri, gr->value, ret);
	struct span pair, token;
	return gruu_temporary(uri, &pair, &token) ? unseal(r, token, ret) : -EINVAL;
}
