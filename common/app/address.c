/*
 * The service address of a pair, which moves between its members (keepalived).  Of connections
 * to an address that has gone from here nothing is heard any more, not even that they are lost:
 * they are ended here, and their phones are looked for elsewhere.  The phones do not know
 * either: whoever has the address now knocks at them (knock.c).  Of listeners on all addresses,
 * and of addresses that were never seen on an interface (all of 127.0.0.0/8 is the machine's
 * without that), nothing is known here.
 */
#include "common/app/app_priv.h"

#include <ifaddrs.h>

/* SURE_MS: a death is found so much later than dead_ms at most. */
enum {
	LOOK_MS = 250, /* where the system does not say so by itself */
	SURE_MS = 1250
};

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

static bool has_phones(const struct app *a, unsigned listener)
{
	return sip_transport_reliable(a->fixed->conf->listeners[listener].transport);
}

static void tell_left(struct app *a)
{
	if (app_phase(a) != APP_DRAINING)
		cluster_notify(a->nodes->cluster, -1, APP_NOTICE_LEFT, SPAN(""));
}

/* True: a listener that phones were connected to has just left. */
static bool note(struct app *a, unsigned listener, bool here)
{
	struct app_addresses *s = &a->addresses;
	bool before = atomic_exchange(&s->here[listener], here);
	bool left = atomic_load(&s->seen[listener]) && !here;
	atomic_store(&s->left[listener], left);
	atomic_store(&s->gone[listener], false);
	if (here == before)
		return false;
	if (here) {
		atomic_store(&s->came[listener], loop_now(a->loop));
		if (s->looked)
			atomic_store(&s->taken[listener], loop_now(a->loop));
		app_knock_all(a);
	}
	if (here && !atomic_exchange(&s->seen[listener], true))
		return false;
	log_event(LOG_INFO, left ? "address-left" : "address-back",
		  LOG_S("host", a->names.hosts[listener]), LOG_N("listener", listener));
	if (left)
		stack_group_abandon(a->stacks, listener);
	return left && has_phones(a, listener);
}

/* In the middle of a worker's round: what it reads next may have been sent when the address was
 * still here.  The main thread will see it too, and do the rest. */
void app_addresses_look(struct app *a)
{
	const struct conf *c = a->fixed->conf;
	struct app_addresses *s = &a->addresses;
	struct ifaddrs *all;
	if (getifaddrs(&all) < 0)
		return;
	for (unsigned i = 0; i < c->listeners_count; i++)
		if (atomic_load(&s->seen[i]) && !is_here(all, &c->listeners[i].addr))
			atomic_store(&s->gone[i], true);
	freeifaddrs(all);
}

/* Homes send what is for phones by UDP to whom they answer. */
static void tell_addresses(struct app *a)
{
	const struct conf *c = a->fixed->conf;
	uint32_t at[CLUSTER_LISTENERS_MAX] = {0};
	_Static_assert((int)NET_LISTENERS_MAX <= (int)CLUSTER_LISTENERS_MAX, "all of them");
	for (unsigned i = 0; i < c->listeners_count; i++) {
		const struct addr *v = &c->listeners[i].addr;
		if (c->listeners[i].transport != SIP_TRANSPORT_UDP || addr_is_any(v))
			continue;
		at[i] = ((uint32_t)addr_hash(v) | 2) & ~UINT32_C(1);
		at[i] |= atomic_load(&a->addresses.here[i]);
	}
	cluster_set_addresses(a->nodes->cluster, at);
}

static void look(struct app *a)
{
	const struct conf *c = a->fixed->conf;
	struct ifaddrs *all;
	if (getifaddrs(&all) < 0)
		return; /* out of descriptors or memory: the next time */
	bool left = false;
	for (unsigned i = 0; i < c->listeners_count; i++)
		left |= note(a, i, is_here(all, &c->listeners[i].addr));
	if (left)
		tell_left(a);
	tell_addresses(a);
	a->addresses.looked = true;
	freeifaddrs(all);
}

static void on_look(struct wheel_timer *t, msec now)
{
	struct app *a = container_of(t, struct app, addresses.timer);
	look(a);
	wheel_arm(loop_wheel(a->loop), t, now + LOOK_MS);
}

static void on_change(void *arg)
{
	look(arg);
}

void app_addresses_start(struct app *a)
{
	wheel_timer_init(&a->addresses.timer, on_look);
	app_knock_start(a);
	if (!a->nodes)
		return;
	a->addresses.watch = net_addresses_watch(a->loop, on_change, a);
	look(a);
	wheel_arm(loop_wheel(a->loop), &a->addresses.timer, loop_now(a->loop) + LOOK_MS);
}

void app_addresses_end(struct app *a)
{
	a->addresses.watch = net_addresses_unwatch(a->addresses.watch);
}

bool app_address_left(const struct app *a, unsigned listener)
{
	const struct app_addresses *s = &a->addresses;
	return listener < NET_LISTENERS_MAX &&
	       (atomic_load_explicit(&s->left[listener], memory_order_relaxed) ||
		atomic_load_explicit(&s->gone[listener], memory_order_relaxed));
}

static bool machine_has(const struct app *a, unsigned listener)
{
	struct ifaddrs *all;
	if (listener >= a->fixed->conf->listeners_count || getifaddrs(&all) < 0)
		return false;
	bool here = is_here(all, &a->fixed->conf->listeners[listener].addr);
	freeifaddrs(all);
	return here;
}

/* The main thread has not looked since. */
static bool comes_now(const struct app *a, unsigned listener)
{
	return listener < NET_LISTENERS_MAX && !atomic_load(&a->addresses.here[listener]) &&
	       machine_has(a, listener);
}

/* To ask takes as long as several requests do, and each phone may have left one. */
bool app_address_away(struct app *a, unsigned listener)
{
	struct app_addresses *s = &a->addresses;
	if (!app_address_left(a, listener))
		return false;
	msec now = time_now();
	if (atomic_exchange(&s->asked[listener], now) == now || !machine_has(a, listener))
		return true;
	atomic_store(&s->left[listener], false);
	atomic_store(&s->gone[listener], false);
	return false;
}

bool app_address_taken(const struct app *a, unsigned listener)
{
	msec taken =
		listener < NET_LISTENERS_MAX ? atomic_load(&a->addresses.taken[listener]) : 0;
	return taken && a->nodes && time_now() < taken + a->nodes->conf.dead_ms + SURE_MS &&
	       !app_address_left(a, listener);
}

bool app_address_came(const struct app *a, unsigned listener, msec since)
{
	msec came =
		listener < NET_LISTENERS_MAX ? atomic_load(&a->addresses.came[listener]) : 0;
	return (came && came >= since) || comes_now(a, listener);
}
