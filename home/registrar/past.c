/*
 * The connections that a binding was reached by before.  Record-Routes of dialogs that go on
 * name them for as long as the dialogs last, and whoever knew them from having seen the
 * registrations may have been started anew meanwhile, as in an upgrade both members of a pair
 * are.
 */
#include "home/registrar/reg_priv.h"

#include "common/flow/token.h"

#include <errno.h>

enum { CONN_BYTES = 16 };

static void put_u64(char *p, uint64_t v)
{
	for (unsigned i = 0; i < 8; i++)
		p[i] = (char)(v >> (56 - 8 * i));
}

static uint64_t get_u64(const uint8_t *p)
{
	uint64_t v = 0;
	for (unsigned i = 0; i < 8; i++)
		v = v << 8 | p[i];
	return v;
}

/* The latest, then what is in front of the older ones. */
static int remember(ProtobufCBinaryData *to, struct span latest, struct span older)
{
	char *p = latest.n + older.n ? arena_alloc(sip_arena(), latest.n + older.n) : NULL;
	if (!p)
		return latest.n + older.n ? -ENOMEM : 0;
	memcpy(p, latest.p, latest.n);
	if (older.n)
		memcpy(p + latest.n, older.p, older.n);
	*to = pb_bytes(span_of(p, latest.n + older.n));
	return 0;
}

/* ---- straight to us ---- */

static int set_conns(Eaves__Binding *b, const Eaves__Binding *old)
{
	bool gone = old->conn && (old->conn != b->conn || old->boot != b->boot);
	size_t max = (size_t)(REG_PAST_MAX - gone) * CONN_BYTES;
	char latest[CONN_BYTES];
	put_u64(latest, old->boot);
	put_u64(latest + 8, old->conn);
	struct span older = pb_span(old->past_conns);
	older.n = older.n < max ? older.n : max;
	return remember(&b->past_conns, span_of(latest, gone ? sizeof(latest) : 0), older);
}

bool reg_past_conn(const Eaves__Binding *b, unsigned i, uint64_t *ret_boot, uint64_t *ret_conn)
{
	if (b->past_conns.len < (size_t)(i + 1) * CONN_BYTES)
		return false;
	const uint8_t *p = b->past_conns.data + (size_t)i * CONN_BYTES;
	*ret_boot = get_u64(p);
	*ret_conn = get_u64(p + 8);
	return true;
}

/* ---- behind an edge ---- */

/* Its first n tokens, each with its space. */
static struct span first_of(struct span tokens, unsigned n)
{
	size_t at = 0;
	for (size_t i = 0; i < tokens.n && n; i++)
		if (tokens.p[i] == ' ') {
			at = i + 1;
			n--;
		}
	return span_of(tokens.p, at);
}

static int set_tokens(Eaves__Binding *b, const Eaves__Binding *old)
{
	struct span token = flow_token_in(pb_span(old->path));
	bool gone =
		flow_token_has_conn(token) && !span_eq(token, flow_token_in(pb_span(b->path)));
	char latest[FLOW_TOKEN_MAX + 1];
	if (gone) {
		memcpy(latest, token.p, token.n);
		latest[token.n] = ' ';
	}
	return remember(&b->past_tokens, span_of(latest, gone ? token.n + 1 : 0),
			first_of(pb_span(old->past_tokens), REG_PAST_MAX - gone));
}

int reg_past_set(Eaves__Binding *b, const Eaves__Binding *old)
{
	return set_conns(b, old) < 0 || set_tokens(b, old) < 0 ? -ENOMEM : 0;
}
