/*
 * Phones by UDP that have registered through an edge which has not the service address any
 * more, and lives: what they answer comes to the other one.  When a home dies, no edge may
 * speak for a call that is over.
 */
#include "tests/sim/flows_cluster.h"

#include "tests/sim/scene.h"

static struct ua *alice;

static struct ua *phone(const char *device, const char *user, const struct ua_policy *p)
{
	scene_user(user, "h1", 0);
	struct ua_conf c = scene_phone_conf(device, user);
	c.policy = *p;
	return scene_phone(&c, NULL);
}

static void move_address(void)
{
	const struct pair *edges = scene_pair(0);
	vip_move(edges->vip, edges->member[1]->host);
	event_run_until(sim_now() + USEC_S(1));
}

void moved_setup(void)
{
	/* Longer than an edge waits before it speaks. */
	static const struct ua_policy caller = {.hangup_ms = 9000};
	static const struct ua_policy answers = {
		.ring_ms = 200, .answer_ms = 1500, .minds_cancels = true};
	alice = phone("alice1", "alice", &caller);
	phone("bob1", "bob", &answers);
	scene_then(move_address);
}

void moved_go(void)
{
	ua_call(alice, "sip:bob@example.org");
}
