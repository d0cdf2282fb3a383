/*
 * The service address of a pair, which moves between its members (keepalived).  Of connections
 * to an address that has gone from here nothing is heard any more, not even that they are lost:
 * they are ended here, and their phones are looked for elsewhere.  The phones do not know
 * either: whoever has the address now knocks at them (common/net/knock.c), when there is
 * something for them.  Of listeners on all addresses, and of addresses that were never seen on
 * an interface (all of 127.0.0.0/8 is the machine's without that), nothing is known here.
 */
#include "common/app/app_priv.h"

#include <ifaddrs.h>

enum { LOOK_MS = 250, KNOCK_MS = 500 };

static bool is_at(const struct ifaddrs *i, const struct addr *a)
{
	struct addr at = {0};
	if (!i->ifa_addr || i->ifa_addr->sa_family != a->sa.sa_family)
		return false;
	memcpy(&at, i->ifa_addr, addr_len(a));
	return addr_host_equal(&at, a);
}

static bool is_here(const struct ifaddrs *all, const struct addr *a)
{
	for (const struct ifaddrs *i = all; i; i = i->ifa_next)
		if (is_at(i, a))
			return true;
	return false;
}

static void note(struct app *a, unsigned listener, bool here)
{
	struct app_addresses *s = &a->addresses;
	bool left = s->seen[listener] && !here;
	s->seen[listener] |= here;
	if (left == atomic_exchange_explicit(&s->left[listener], left, memory_order_relaxed))
		return;
	log_event(LOG_INFO, left ? "address-left" : "address-back",
		  LOG_S("host", a->names.hosts[listener]), LOG_N("listener", listener));
	if (left)
		stack_group_abandon(a->stacks, listener);
}

static void look(struct app *a)
{
	const struct conf *c = a->conf->conf;
	struct ifaddrs *all;
	if (getifaddrs(&all) < 0)
		return; /* out of descriptors or memory: the next time */
	for (unsigned i = 0; i < c->listeners_count; i++)
		note(a, i, is_here(all, &c->listeners[i].addr));
	freeifaddrs(all);
}

static void on_look(struct wheel_timer *t, msec now)
{
	struct app *a = container_of(t, struct app, addresses.timer);
	look(a);
	wheel_arm(loop_wheel(a->loop), t, now + LOOK_MS);
}

void app_addresses_start(struct app *a)
{
	wheel_timer_init(&a->addresses.timer, on_look);
	if (!a->nodes)
		return;
	look(a);
	wheel_arm(loop_wheel(a->loop), &a->addresses.timer, loop_now(a->loop) + LOOK_MS);
}

bool app_address_left(const struct app *a, unsigned listener)
{
	return listener < NET_LISTENERS_MAX &&
	       atomic_load_explicit(&a->addresses.left[listener], memory_order_relaxed);
}

/* ---- knocking ---- */

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
