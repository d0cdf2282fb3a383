/*
 * Redis is gone for an hour: phones register again by their own clocks, one comes for the first
 * time, one unregisters, one is switched off and its time runs out, a user is added and one is
 * removed, calls are answered, forked and cancelled, messages come.  Then Redis is back with
 * what it had an hour before.
 */
#include "tests/sim/flows_cluster.h"

#include "tests/sim/operator.h"
#include "tests/sim/redis.h"
#include "tests/sim/run.h"
#include "tests/sim/scene.h"
#include "tests/sim/script.h"

#define MINUTES(m) ((m)*60000u)

static struct ua *alice, *bob, *fay, *gil, *gus, *nina;

static struct ua *phone(const char *device, const char *user, const struct ua_policy *p,
			enum sip_transport t)
{
	scene_user(user, "h1", 0);
	struct ua_conf c = scene_phone_conf(device, user);
	c.policy = *p;
	c.transport = t;
	c.outbound = t == SIP_TRANSPORT_TCP;
	return scene_phone(&c, NULL);
}

void hour_setup(void)
{
	static const struct ua_policy caller = {.hangup_ms = 1500},
				      gives_up = {.cancel_ms = 1000},
				      answers = {.ring_ms = 200, .answer_ms = 1500},
				      rings = {.ring_ms = 200};
	alice = phone("alice1", "alice", &caller, SIP_TRANSPORT_UDP);
	bob = phone("bob1", "bob", &answers, SIP_TRANSPORT_UDP);
	phone("carol1", "carol", &rings, SIP_TRANSPORT_UDP);
	phone("carol2", "carol", &answers, SIP_TRANSPORT_UDP);
	phone("carol3", "carol", &rings, SIP_TRANSPORT_TCP);
	fay = phone("fay1", "fay", &answers, SIP_TRANSPORT_UDP);
	gil = phone("gil1", "gil", &gives_up, SIP_TRANSPORT_UDP);
	gus = phone("gus1", "gus", &answers, SIP_TRANSPORT_UDP);
	scene_user("ida", "h1", 0);
	scene_user_later("nina", "h1");
	nina = phone("nina1", "nina", &answers, SIP_TRANSPORT_UDP);
	scene_keep_off(bob);
	scene_keep_off(nina);
}

static void redis_goes(void)
{
	redis_kill(false);
}
/* A yes is held twice: by the members, or by one and the edges (how far a call has come is the
 * members' alone, and of one of them it is held once). */
static void redis_is_back(void)
{
	for (unsigned i = 0; i < nodes_count(); i++)
		if (node_of(i)->held_once)
			run_wrong("a registration is in no second place");
	redis_start(false);
}
static void bob_comes(void)
{
	ua_register(bob);
}
static void alice_calls_bob(void)
{
	ua_call(alice, "sip:bob@example.org");
}
static void alice_calls_carol(void)
{
	ua_call(alice, "sip:carol@example.org");
}
static void gil_gives_up(void)
{
	ua_call(gil, "sip:carol@example.org");
}
static void nina_is_added(void)
{
	operator_adds(nina);
}
static void ida_is_removed(void)
{
	operator_removes("ida");
}
static void fay_unregisters(void)
{
	ua_unregister(fay);
}
static void gus_is_off(void)
{
	ua_leave(gus);
}
static void hello_nina(void)
{
	ua_message(alice, "sip:nina@example.org", "hello nina");
}
static void hello_carol(void)
{
	ua_message(gil, "sip:carol@example.org", "hello carol");
}

/* Half of it before half of its boundaries, and half after. */
static const struct step steps[] = {
	{0, redis_goes},
	{MINUTES(1) / 2, bob_comes},
	{MINUTES(1), alice_calls_bob},
	{MINUTES(5), nina_is_added},
	{MINUTES(8), hello_nina},
	{MINUTES(12), alice_calls_carol},
	{MINUTES(13), gil_gives_up},
	{MINUTES(15), fay_unregisters},
	{MINUTES(16), gus_is_off},
	{MINUTES(18), ida_is_removed},
	{MINUTES(33), alice_calls_bob},
	{MINUTES(36), alice_calls_carol},
	{MINUTES(37), gil_gives_up},
	{MINUTES(40), hello_nina},
	{MINUTES(41), hello_carol},
	{MINUTES(58), alice_calls_bob},
	{MINUTES(59), alice_calls_carol},
	{MINUTES(60), redis_is_back},
};

void hour_go(void)
{
	script_begin(steps, sizeof(steps) / sizeof(steps[0]));
}
