/*
 * Knocking (common/net/knock.c): phones whose connection went silently with another process are
 * made to find out.  At once where there is something for them; the others little by little
 * from when their service address comes here, for all of them at once would be a storm of
 * handshakes.
 */
#include "common/app/app_priv.h"
#include "common/app/flows.h"

enum { KNOCK_MS = 500, ROUND_MS = 100, LOOK_MS = 2 };

/* What waits for a phone asks again and again. */
static bool was_just_done(struct app *a, const struct addr *peer)
{
	uint64_t h = addr_hash(peer), now = time_wall_ms();
	_Atomic uint64_t *slot = &a->addresses.knocked[h % APP_KNOCKS];
	uint64_t mine = h << 32 | (now & UINT32_MAX), last = atomic_load(slot);
	if (last >> 32 == mine >> 32 && (uint32_t)(mine - last) < KNOCK_MS)
		return true;
	atomic_store(slot, mine);
	return false;
}

void app_knock(struct app *a, const struct sip_flow *f)
{
	char token[FLOW_TOKEN_MAX + 1];
	if (!a->nodes || f->node || !sip_transport_reliable(f->transport) ||
	    was_just_done(a, &f->remote))
		return;
	if (!app_address_left(a, f->listener)) {
		stack_group_knock(a->stacks, f);
		return;
	}
	uint16_t twin = app_twin(a);
	size_t n = twin ? flow_token_write(&a->flows, f, 0, token) : 0;
	token[n] = ' ';
	if (n)
		cluster_tell(a->nodes->cluster, twin - 1, APP_NOTICE_KNOCK,
			     span_of(token, n + 1));
}

void app_knock_notice(struct app *a, unsigned node, struct span body)
{
	if (node + 1u != app_twin(a) || !a->stacks)
		return;
	while (body.n) {
		ptrdiff_t space = span_chr(body, ' ', 0);
		struct span token = span_of(body.p, space < 0 ? body.n : (size_t)space);
		struct sip_flow f;
		uint64_t id;
		int r = app_token_here(a, token, &f, &id);
		if (id && r < 0)
			stack_group_knock(a->stacks, &f);
		size_t n = token.n + (space >= 0);
		body = span_of(body.p + n, body.n - n);
	}
}

/* ---- all of them ---- */

static bool is_here(const struct app *a, unsigned listener)
{
	return listener < NET_LISTENERS_MAX && a->addresses.here[listener];
}

/* There may be a hundred thousand: a little of the table is read at a time, and whoever has
 * come back meanwhile is left alone. */
static void on_time(struct wheel_timer *t, msec now)
{
	struct app *a = container_of(t, struct app, addresses.knocking.timer);
	struct app_knocking *k = &a->addresses.knocking;
	struct phones *p = app_phones(a);
	if (!p || !a->stacks)
		return; /* they find out by their next keep-alive */
	bool more = phones_of_others(p, &k->at, k->v, &k->n, APP_KNOCK_ROUND);
	if (more && k->n < APP_KNOCK_ROUND) {
		wheel_arm(loop_wheel(a->loop), t, now + LOOK_MS);
		return;
	}
	for (unsigned i = 0; i < k->n; i++)
		if (is_here(a, k->v[i].listener))
			app_knock(a, &k->v[i]);
	k->n = 0;
	if (more)
		wheel_arm(loop_wheel(a->loop), t, now + ROUND_MS);
}

void app_knock_start(struct app *a)
{
	wheel_timer_init(&a->addresses.knocking.timer, on_time);
}

/* The listeners of an address come one after the other: the phones are found once.  The network
 * has to hear of the move first: what answers a knock goes to the other machine until then. */
void app_knock_all(struct app *a)
{
	struct app_knocking *k = &a->addresses.knocking;
	k->at = (struct records_place){0};
	k->n = 0;
	wheel_arm(loop_wheel(a->loop), &k->timer, loop_now(a->loop) + ROUND_MS);
}
