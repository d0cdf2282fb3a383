/*
 * Flows.  Each ends by itself, with all calls over.  One device alone answers a call, so that
 * an answer does not depend on who was faster.
 */
#include "tests/sim/flow.h"

#include "common/directory/directory.h"
#include "tests/sim/scene.h"

enum { RING_MS = 200, ANSWER_MS = 1500, HANGUP_MS = 1500, CANCEL_MS = 1000 };

static struct ua *alice, *bob, *far;

static const struct ua_policy caller = {.hangup_ms = HANGUP_MS};
static const struct ua_policy answers = {.ring_ms = RING_MS, .answer_ms = ANSWER_MS};
static const struct ua_policy rings = {.ring_ms = RING_MS};
static const struct ua_policy busy = {
	.ring_ms = RING_MS, .reject_ms = ANSWER_MS, .reject = 486};

static struct ua *phone(const char *device, const char *user, const struct ua_policy *p,
			enum sip_transport t, const char *where)
{
	scene_user(user, strcmp(user, "hank") == 0 ? "h2" : "h1", 0);
	struct ua_conf c = scene_phone_conf(device, user);
	c.policy = *p;
	c.transport = t;
	c.outbound = t != SIP_TRANSPORT_UDP || (where && strcmp(where, "nat") == 0);
	return scene_phone(&c, where);
}

static struct ua *device(const char *name, const char *user, const struct ua_policy *p,
			 const char *q)
{
	scene_user(user, "h1", 0);
	struct ua_conf c = scene_phone_conf(name, user);
	c.policy = *p;
	c.q = q;
	return scene_phone(&c, NULL);
}

static void two(const struct ua_policy *a, const struct ua_policy *b)
{
	alice = phone("alice1", "alice", a, SIP_TRANSPORT_UDP, NULL);
	bob = phone("bob1", "bob", b, SIP_TRANSPORT_UDP, NULL);
}

static void call_bob(void)
{
	ua_call(alice, "sip:bob@example.org");
}

/* ---- registrations ---- */

static void setup_register(void)
{
	two(&caller, &answers);
	scene_keep_off(bob);
}
static void go_register(void)
{
	ua_register(bob);
}
static void setup_register_tcp(void)
{
	alice = phone("alice1", "alice", &caller, SIP_TRANSPORT_UDP, NULL);
	bob = phone("bob1", "bob", &answers, SIP_TRANSPORT_TCP, NULL);
	scene_keep_off(bob);
}
static void setup_answered(void)
{
	two(&caller, &answers);
}
static void go_refresh(void)
{
	ua_refresh(bob);
}
static void go_unregister(void)
{
	ua_unregister(bob);
}

/* ---- calls to one device ---- */

static void setup_hung_up_there(void)
{
	static const struct ua_policy hangs_up = {
		.ring_ms = RING_MS, .answer_ms = ANSWER_MS, .hangup_ms = HANGUP_MS};
	static const struct ua_policy none = {0};
	two(&none, &hangs_up);
}
static void setup_cancelled(void)
{
	static const struct ua_policy gives_up = {.cancel_ms = CANCEL_MS};
	two(&gives_up, &rings);
}
static void setup_rejected(void)
{
	two(&caller, &busy);
}
static void setup_prack(void)
{
	static const struct ua_policy reliable = {
		.ring_ms = RING_MS, .answer_ms = ANSWER_MS, .reliable = true};
	two(&caller, &reliable);
}
static void setup_reinvite(void)
{
	static const struct ua_policy changes = {.reinvite_ms = 1000, .hangup_ms = 2500};
	two(&changes, &answers);
}
static void setup_other_home(void)
{
	alice = phone("alice1", "alice", &caller, SIP_TRANSPORT_UDP, NULL);
	phone("hank1", "hank", &answers, SIP_TRANSPORT_UDP, NULL);
}
static void go_other_home(void)
{
	ua_call(alice, "sip:hank@example.org");
}
static void setup_redirected(void)
{
	scene_user("erin", "h1", DIR_REDIRECT);
	alice = phone("alice1", "alice", &caller, SIP_TRANSPORT_UDP, NULL);
	phone("erin1", "erin", &answers, SIP_TRANSPORT_UDP, NULL);
}
static void go_redirected(void)
{
	ua_call(alice, "sip:erin@example.org");
}

/* ---- several devices ---- */

static void setup_forked(void)
{
	alice = phone("alice1", "alice", &caller, SIP_TRANSPORT_UDP, NULL);
	device("carol1", "carol", &rings, NULL);
	device("carol2", "carol", &answers, NULL);
	device("carol3", "carol", &rings, NULL);
}
static void go_carol(void)
{
	ua_call(alice, "sip:carol@example.org");
}
static void setup_forked_cancelled(void)
{
	static const struct ua_policy gives_up = {.cancel_ms = CANCEL_MS};
	alice = phone("alice1", "alice", &gives_up, SIP_TRANSPORT_UDP, NULL);
	device("carol1", "carol", &rings, NULL);
	device("carol2", "carol", &rings, NULL);
	device("carol3", "carol", &rings, NULL);
}
static void setup_forked_rejected(void)
{
	static const struct ua_policy away = {
		.ring_ms = RING_MS, .reject_ms = 2 * ANSWER_MS, .reject = 480};
	alice = phone("alice1", "alice", &caller, SIP_TRANSPORT_UDP, NULL);
	device("carol1", "carol", &busy, NULL);
	device("carol2", "carol", &busy, NULL);
	device("carol3", "carol", &away, NULL);
}
static void setup_serial(void)
{
	alice = phone("alice1", "alice", &caller, SIP_TRANSPORT_UDP, NULL);
	device("dave1", "dave", &rings, "1.0");
	device("dave2", "dave", &answers, "0.5");
}
static void setup_serial_rejected(void)
{
	alice = phone("alice1", "alice", &caller, SIP_TRANSPORT_UDP, NULL);
	device("dave1", "dave", &busy, "1.0");
	device("dave2", "dave", &answers, "0.5");
}
static void go_dave(void)
{
	ua_call(alice, "sip:dave@example.org");
}

/* ---- other domains ---- */

static void setup_far(void)
{
	static const struct ua_policy both = {
		.ring_ms = RING_MS, .answer_ms = ANSWER_MS, .hangup_ms = HANGUP_MS};
	two(&caller, &answers);
	far = phone("zoe", "zoe", &both, SIP_TRANSPORT_UDP, "far");
}
static void setup_far_answers(void)
{
	two(&caller, &answers);
	far = phone("zoe", "zoe", &answers, SIP_TRANSPORT_UDP, "far");
}
static void go_out(void)
{
	ua_call(alice, "sip:zoe@example.net");
}
static void go_in(void)
{
	ua_call(far, "sip:bob@example.org");
}

/* ---- messages ---- */

static void go_message(void)
{
	ua_message(alice, "sip:bob@example.org", "hello bob");
}
static void go_message_carol(void)
{
	ua_message(alice, "sip:carol@example.org", "hello carol");
}

/* ---- streams and NATs ---- */

static void setup_tcp_caller(void)
{
	alice = phone("alice1", "alice", &caller, SIP_TRANSPORT_TCP, NULL);
	bob = phone("bob1", "bob", &answers, SIP_TRANSPORT_UDP, NULL);
}
static void setup_tcp_called(void)
{
	alice = phone("alice1", "alice", &caller, SIP_TRANSPORT_UDP, NULL);
	bob = phone("bob1", "bob", &answers, SIP_TRANSPORT_TCP, NULL);
}
static void setup_tcp_cancelled(void)
{
	static const struct ua_policy gives_up = {.cancel_ms = CANCEL_MS};
	alice = phone("alice1", "alice", &gives_up, SIP_TRANSPORT_UDP, NULL);
	bob = phone("bob1", "bob", &rings, SIP_TRANSPORT_TCP, NULL);
}
static void setup_nat(void)
{
	alice = phone("alice1", "alice", &caller, SIP_TRANSPORT_UDP, "nat");
	bob = phone("bob1", "bob", &answers, SIP_TRANSPORT_UDP, "nat");
}

const struct flow flows[] = {
	{"register", setup_register, go_register, false},
	{"reregister", setup_answered, go_refresh, false},
	{"unregister", setup_answered, go_unregister, false},
	{"answered", setup_answered, call_bob, false},
	{"hung-up-there", setup_hung_up_there, call_bob, false},
	{"cancelled", setup_cancelled, call_bob, false},
	{"rejected", setup_rejected, call_bob, false},
	{"forked", setup_forked, go_carol, false},
	{"forked-cancelled", setup_forked_cancelled, go_carol, false},
	{"forked-rejected", setup_forked_rejected, go_carol, false},
	{"serial", setup_serial, go_dave, false},
	{"serial-rejected", setup_serial_rejected, go_dave, false},
	{"prack", setup_prack, call_bob, false},
	{"other-home", setup_other_home, go_other_home, false},
	{"out", setup_far_answers, go_out, false},
	{"in", setup_far, go_in, false},
	{"reinvite", setup_reinvite, call_bob, false},
	{"message", setup_answered, go_message, false},
	{"message-forked", setup_forked, go_message_carol, false},
	{"redirected", setup_redirected, go_redirected, false},
	{"answered-nat", setup_nat, call_bob, false},
	{"register-tcp", setup_register_tcp, go_register, true},
	{"answered-tcp-caller", setup_tcp_caller, call_bob, true},
	{"answered-tcp-called", setup_tcp_called, call_bob, true},
	{"cancelled-tcp-called", setup_tcp_cancelled, call_bob, true},
	{"message-tcp-called", setup_tcp_called, go_message, true},
};
const unsigned nflows = sizeof(flows) / sizeof(flows[0]);

const struct flow *flow_find(const char *name)
{
	for (unsigned i = 0; i < nflows; i++)
		if (strcmp(flows[i].name, name) == 0)
			return &flows[i];
	return NULL;
}
