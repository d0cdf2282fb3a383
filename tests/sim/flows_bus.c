/*
 * Nodes that meet again, with every message of the bus as a boundary: one that was started
 * while others had all there is, and the members of both pairs after they did not hear each
 * other.  Phones and an operator have changed things meanwhile, and change more while it goes
 * on.  And an operator who asks another node.
 */
#include "tests/sim/flows_cluster.h"

#include "tests/sim/fault.h"
#include "tests/sim/operator.h"
#include "tests/sim/script.h"
#include "tests/sim/stored.h"
#include "tests/sim/trace.h"

static struct ua *bob, *carol, *dave, *erin, *nina;

static struct ua *phone(const char *device, const char *user, enum sip_transport t,
			const char *where)
{
	static const struct ua_policy answers = {.ring_ms = 200, .answer_ms = 1500};
	scene_user(user, "h1", 0);
	struct ua_conf c = scene_phone_conf(device, user);
	c.policy = answers;
	c.transport = t;
	c.outbound = t == SIP_TRANSPORT_TCP;
	return scene_phone(&c, where);
}

static struct node *member(unsigned pair, unsigned i)
{
	return scene_pair(pair)->member[i];
}

enum { EDGES, H1 };

static void wait_ms(unsigned ms)
{
	event_run_until(sim_now() + USEC_MS(ms));
}

static bool hears(const struct node *a, const struct node *b)
{
	struct node *other;
	scene_pair_of(a, &other);
	if (a == b || !node_runs(a) || !node_runs(b) ||
	    !(a->has_role[APP_EDGE] || b->has_role[APP_EDGE] || b == other))
		return true;
	return cluster_alive(a->app->nodes->cluster, b->index);
}

static bool all_hear(void)
{
	for (unsigned i = 0; i < nodes_count() * nodes_count(); i++)
		if (!hears(node_of(i / nodes_count()), node_of(i % nodes_count())))
			return false;
	return true;
}

/* Boundaries end when there is nothing left to repair. */
static void on_look(struct event *e)
{
	if (all_hear() && stored_everywhere() && !fault_is_open())
		trace_end();
	else
		event_after(e, USEC_MS(50));
}

static void they_meet(void)
{
	static struct event look;
	event_init(&look, on_look);
	event_after(&look, 0);
}

/* ---- one joins ---- */

static void setup_join(void)
{
	phone("alice1", "alice", SIP_TRANSPORT_UDP, NULL);
	bob = phone("bob1", "bob", SIP_TRANSPORT_UDP, NULL);
	carol = phone("carol1", "carol", SIP_TRANSPORT_UDP, NULL);
	dave = phone("dave1", "dave", SIP_TRANSPORT_UDP, NULL);
	erin = phone("erin1", "erin", SIP_TRANSPORT_UDP, NULL);
	scene_keep_off(bob);
	scene_keep_off(dave);
}

static void away(struct node *n)
{
	node_kill(n, false);
	wait_ms(1000);
	ua_register(bob);
	ua_unregister(carol);
	wait_ms(1500);
}

static void without_home(void)
{
	away(member(H1, 1));
}

static void without_edge(void)
{
	away(member(EDGES, 1));
}

void join_setup(void)
{
	setup_join();
	scene_then(without_home);
}

void edge_setup(void)
{
	setup_join();
	scene_user_later("nina", "h1");
	nina = phone("nina1", "nina", SIP_TRANSPORT_UDP, NULL);
	scene_keep_off(nina);
	scene_then(without_edge);
}

static void home_starts(void)
{
	node_start(member(H1, 1));
}
static void edge_starts(void)
{
	node_start(member(EDGES, 1));
}
static void dave_registers(void)
{
	ua_register(dave);
}
static void erin_unregisters(void)
{
	ua_unregister(erin);
}
static void nina_is_added(void)
{
	operator_adds(nina);
}

void join_go(void)
{
	static const struct step steps[] = {
		{0, home_starts},
		{20, dave_registers},
		{40, erin_unregisters},
		{200, they_meet},
	};
	script_begin(steps, sizeof(steps) / sizeof(steps[0]));
}

void edge_go(void)
{
	static const struct step steps[] = {
		{0, edge_starts},	{20, dave_registers}, {30, nina_is_added},
		{40, erin_unregisters}, {400, they_meet},
	};
	script_begin(steps, sizeof(steps) / sizeof(steps[0]));
}

/* ---- two repair ---- */

static void apart(void)
{
	fault_apply(member(EDGES, 0)->host, FAULT_TWIN);
	fault_apply(member(H1, 0)->host, FAULT_TWIN);
	wait_ms(1200);
	ua_register(bob);
	ua_unregister(carol);
	ua_unregister(dave);
	ua_register(erin);
	operator_adds(nina);
	wait_ms(1750);
}

/* Phones behind the edge are the second member's then, those straight at the home the first
 * one's, who has the address. */
void repair_setup(void)
{
	phone("alice1", "alice", SIP_TRANSPORT_UDP, NULL);
	bob = phone("bob1", "bob", SIP_TRANSPORT_UDP, NULL);
	carol = phone("carol1", "carol", SIP_TRANSPORT_TCP, "h1");
	dave = phone("dave1", "dave", SIP_TRANSPORT_UDP, NULL);
	erin = phone("erin1", "erin", SIP_TRANSPORT_TCP, "h1");
	scene_user_later("nina", "h1");
	nina = phone("nina1", "nina", SIP_TRANSPORT_UDP, NULL);
	scene_keep_off(bob);
	scene_keep_off(erin);
	scene_keep_off(nina);
	scene_then(apart);
}

void repair_go(void)
{
	static const struct step steps[] = {
		{100, dave_registers},
		{200, they_meet},
	};
	script_begin(steps, sizeof(steps) / sizeof(steps[0]));
}

/* ---- one asks ---- */

void ask_setup(void)
{
	phone("alice1", "alice", SIP_TRANSPORT_UDP, NULL);
	bob = phone("bob1", "bob", SIP_TRANSPORT_UDP, NULL);
}

static void asks(void)
{
	operator_asks("h1", "registration", "list");
}

void ask_go(void)
{
	static const struct step steps[] = {
		{0, asks},
		{100, they_meet},
	};
	script_begin(steps, sizeof(steps) / sizeof(steps[0]));
}
