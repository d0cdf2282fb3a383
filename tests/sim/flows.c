/*
 * Flows.  Each ends by itself, with all calls over.  One device alone answers a call, so that
 * an answer does not depend on who was faster.
 */
#include "tests/sim/flow.h"

#include "common/directory/directory.h"
#include "tests/sim/fault.h"
#include "tests/sim/flows_cluster.h"
#include "tests/sim/operator.h"
#include "tests/sim/scene.h"

enum { SOON_MS = 150, RING_MS = 200, ANSWER_MS = 1500, HANGUP_MS = 1500, CANCEL_MS = 1000 };

static struct ua *alice, *bob, *far;

static const struct ua_policy caller = {.hangup_ms = HANGUP_MS};
static const struct ua_policy answers = {.ring_ms = RING_MS, .answer_ms = ANSWER_MS};
static const struct ua_policy rings = {.ring_ms = RING_MS};
static const struct ua_policy gives_up = {.cancel_ms = CANCEL_MS};
/* A phone that comes back has its answers before the end. */
static const struct ua_policy changes_later = {.reinvite_ms = 1000, .hangup_ms = 9000};
static const struct ua_policy silent = {.silent = true};
static const struct ua_policy reliable = {
	.ring_ms = RING_MS, .answer_ms = ANSWER_MS, .reliable = true};
static const struct ua_policy busy = {
	.ring_ms = RING_MS, .reject_ms = ANSWER_MS, .reject = 486};
/* While nobody knows yet that a node stands still; and before a 100 is due. */
static const struct ua_policy refuses_soon = {
	.ring_ms = RING_MS, .reject_ms = SOON_MS, .reject = 486};
static const struct ua_policy answers_soon = {.ring_ms = RING_MS, .answer_ms = SOON_MS};

/* How a phone's messages travel: by datagrams, also from behind a NAT, or by a stream. */
struct way {
	enum sip_transport transport;
	const char *where;
};
static const struct way udp = {SIP_TRANSPORT_UDP, NULL}, nat = {SIP_TRANSPORT_UDP, "nat"},
			tcp = {SIP_TRANSPORT_TCP, NULL}, at_h1 = {SIP_TRANSPORT_TCP, "h1"},
			at_h2 = {SIP_TRANSPORT_TCP, "h2"};

static struct ua *device(const char *name, const char *user, const struct ua_policy *p,
			 const struct way *w, const char *q)
{
	scene_user(user, strcmp(user, "hank") == 0 ? "h2" : "h1", 0);
	struct ua_conf c = scene_phone_conf(name, user);
	c.policy = *p;
	c.transport = w->transport;
	c.outbound =
		w->transport != SIP_TRANSPORT_UDP || (w->where && strcmp(w->where, "nat") == 0);
	c.q = q;
	return scene_phone(&c, w->where);
}

static struct ua *phone(const char *name, const char *user, const struct ua_policy *p,
			enum sip_transport t, const char *where)
{
	const struct way w = {t, where};
	return device(name, user, p, &w, NULL);
}

static void two_by(const struct way *w, const struct ua_policy *a, const struct ua_policy *b)
{
	alice = device("alice1", "alice", a, w, NULL);
	bob = device("bob1", "bob", b, w, NULL);
}

static void two(const struct ua_policy *a, const struct ua_policy *b)
{
	two_by(&udp, a, b);
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
static void setup_new_user(void)
{
	alice = phone("alice1", "alice", &caller, SIP_TRANSPORT_UDP, NULL);
	scene_user_later("nina", "h1");
	bob = phone("nina1", "nina", &answers, SIP_TRANSPORT_UDP, NULL);
	scene_keep_off(bob);
}
static void go_new_user(void)
{
	operator_adds(bob);
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
	two(&gives_up, &rings);
}
/* Timers C and B end these. */
static void setup_unanswered(void)
{
	two(&caller, &rings);
}
static void setup_silent(void)
{
	two(&caller, &silent);
}
static void setup_rejected(void)
{
	two(&caller, &busy);
}
static void setup_prack(void)
{
	two(&caller, &reliable);
}
static void setup_reinvite(void)
{
	static const struct ua_policy changes = {.reinvite_ms = 1000, .hangup_ms = 2500};
	two(&changes, &answers);
}
static void other_home_by(const struct way *w)
{
	alice = device("alice1", "alice", &caller, w, NULL);
	device("hank1", "hank", &answers, w, NULL);
}
static void setup_other_home(void)
{
	other_home_by(&udp);
}
static void go_hank(void)
{
	ua_call(alice, "sip:hank@example.org");
}
static void redirected_by(const struct way *w)
{
	scene_user("erin", "h1", DIR_REDIRECT);
	alice = device("alice1", "alice", &caller, w, NULL);
	device("erin1", "erin", &answers, w, NULL);
}
static void setup_redirected(void)
{
	redirected_by(&udp);
}
static void go_redirected(void)
{
	ua_call(alice, "sip:erin@example.org");
}

/* ---- several devices ---- */

static void forked_by(const struct way *w)
{
	alice = device("alice1", "alice", &caller, w, NULL);
	device("carol1", "carol", &rings, w, NULL);
	device("carol2", "carol", &answers, w, NULL);
	device("carol3", "carol", &rings, w, NULL);
}
static void setup_forked(void)
{
	forked_by(&udp);
}
static void go_carol(void)
{
	ua_call(alice, "sip:carol@example.org");
}
static void setup_forked_cancelled(void)
{
	alice = phone("alice1", "alice", &gives_up, SIP_TRANSPORT_UDP, NULL);
	device("carol1", "carol", &rings, &udp, NULL);
	device("carol2", "carol", &rings, &udp, NULL);
	device("carol3", "carol", &rings, &udp, NULL);
}
static void setup_forked_rejected(void)
{
	static const struct ua_policy away = {
		.ring_ms = RING_MS, .reject_ms = 2 * ANSWER_MS, .reject = 480};
	alice = phone("alice1", "alice", &caller, SIP_TRANSPORT_UDP, NULL);
	device("carol1", "carol", &busy, &udp, NULL);
	device("carol2", "carol", &busy, &udp, NULL);
	device("carol3", "carol", &away, &udp, NULL);
}
static void serial_by(const struct way *w)
{
	alice = device("alice1", "alice", &caller, w, NULL);
	device("dave1", "dave", &rings, w, "1.0");
	device("dave2", "dave", &answers, w, "0.5");
}
static void setup_serial(void)
{
	serial_by(&udp);
}
static void setup_serial_rejected(void)
{
	alice = phone("alice1", "alice", &caller, SIP_TRANSPORT_UDP, NULL);
	device("dave1", "dave", &busy, &udp, "1.0");
	device("dave2", "dave", &answers, &udp, "0.5");
}
static void go_dave(void)
{
	ua_call(alice, "sip:dave@example.org");
}

/* ---- other domains ---- */

static void far_calls(const struct way *w)
{
	static const struct ua_policy both = {
		.ring_ms = RING_MS, .answer_ms = ANSWER_MS, .hangup_ms = HANGUP_MS};
	two_by(w, &caller, &answers);
	far = phone("zoe", "zoe", &both, SIP_TRANSPORT_UDP, "far");
}
static void setup_far(void)
{
	far_calls(&udp);
}
static void far_answers(const struct way *w)
{
	two_by(w, &caller, &answers);
	far = phone("zoe", "zoe", &answers, SIP_TRANSPORT_UDP, "far");
}
static void setup_far_answers(void)
{
	far_answers(&udp);
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
	alice = phone("alice1", "alice", &gives_up, SIP_TRANSPORT_UDP, NULL);
	bob = phone("bob1", "bob", &rings, SIP_TRANSPORT_TCP, NULL);
}
/* By another connection, and so another flow, when the CANCEL is made than when it rang. */
static void setup_tcp_moved(void)
{
	static const struct ua_policy moves = {.ring_ms = RING_MS, .moves_ms = 2 * RING_MS};
	setup_tcp_cancelled();
	*ua_policy(bob) = moves;
}
/* The edge that has the address is lost in the flow itself: the other one knows of the call
 * what comes by way of it after that. */
static void lose_edge(void)
{
	for (unsigned i = 0; i < nodes_count(); i++) {
		if (!node_of(i)->has_role[APP_EDGE])
			continue;
		fault_apply(node_of(i)->host, FAULT_KILL);
		return;
	}
}
static void on_edge_dies(struct event *e)
{
	(void)e;
	lose_edge();
}
static void on_refresh(struct event *e)
{
	(void)e;
	ua_refresh(bob);
}
/* Nothing is said while it rings on, but for a registration: faults are at messages. */
static void go_edge_dies(void)
{
	static struct event dies, refresh;
	event_init(&dies, on_edge_dies);
	event_after(&dies, USEC_MS(5 * RING_MS));
	event_init(&refresh, on_refresh);
	event_after(&refresh, USEC_S(2));
	call_bob();
}
static void setup_tcp_unanswered(void)
{
	alice = phone("alice1", "alice", &caller, SIP_TRANSPORT_UDP, NULL);
	bob = phone("bob1", "bob", &rings, SIP_TRANSPORT_TCP, NULL);
}
/* The INVITE comes to the other edge before bob has come back to that. */
static void go_has_died(void)
{
	lose_edge();
	call_bob();
}
/* Straight at the home; in the scene of one server that is what the flows above are. */
static void setup_home(const struct ua_policy *a, enum sip_transport at, const char *where_a,
		       const struct ua_policy *b, enum sip_transport bt, const char *where_b)
{
	alice = phone("alice1", "alice", a, at, where_a);
	bob = phone("bob1", "bob", b, bt, where_b);
}
static void setup_home_tcp_caller(void)
{
	setup_home(&caller, SIP_TRANSPORT_TCP, "h1", &answers, SIP_TRANSPORT_UDP, NULL);
}
static void setup_home_tcp_called(void)
{
	setup_home(&caller, SIP_TRANSPORT_UDP, NULL, &answers, SIP_TRANSPORT_TCP, "h1");
}
static void setup_home_tcp_both(void)
{
	setup_home(&changes_later, SIP_TRANSPORT_TCP, "h1", &answers, SIP_TRANSPORT_TCP, "h1");
}
static void setup_home_tcp_cancelled(void)
{
	setup_home(&gives_up, SIP_TRANSPORT_TCP, "h1", &rings, SIP_TRANSPORT_TCP, "h1");
}
static void setup_home_udp(void)
{
	setup_home(&caller, SIP_TRANSPORT_UDP, "h1", &answers, SIP_TRANSPORT_UDP, "h1");
}
/* Who has had no INVITE yet when the home is lost is called when the caller is back. */
static const struct ua_policy later = {.ring_ms = RING_MS, .answer_ms = 2 * ANSWER_MS};
static void setup_home_tcp_to_edge(void)
{
	setup_home(&caller, SIP_TRANSPORT_TCP, "h1", &later, SIP_TRANSPORT_TCP, NULL);
	ua_use_gruu(alice);
	ua_use_gruu(bob);
	phone("bob2", "bob", &rings, SIP_TRANSPORT_TCP, NULL);
}
static void setup_home_forked(void)
{
	scene_user("carol", "h1", 0);
	alice = phone("alice1", "alice", &caller, SIP_TRANSPORT_TCP, "h1");
	phone("carol1", "carol", &rings, SIP_TRANSPORT_TCP, "h1");
	phone("carol2", "carol", &later, SIP_TRANSPORT_TCP, "h1");
	phone("carol3", "carol", &rings, SIP_TRANSPORT_UDP, NULL);
}
static void setup_home_serial(void)
{
	alice = phone("alice1", "alice", &caller, SIP_TRANSPORT_UDP, NULL);
	device("dave1", "dave", &refuses_soon, &at_h1, "1.0");
	device("dave2", "dave", &answers, &at_h1, "0.5");
}
static void setup_home_refused(void)
{
	alice = device("alice1", "alice", &caller, &at_h1, NULL);
	device("dave1", "dave", &refuses_soon, &at_h1, "1.0");
	device("dave2", "dave", &refuses_soon, &at_h1, "0.5");
}
static void setup_home_mixed(void)
{
	alice = phone("alice1", "alice", &caller, SIP_TRANSPORT_UDP, NULL);
	device("dave1", "dave", &refuses_soon, &tcp, "1.0");
	ua_use_gruu(device("dave2", "dave", &answers_soon, &at_h1, "0.5"));
}
static void both_homes_by(const struct way *to_a, const struct way *to_h,
			  const struct ua_policy *a, const struct ua_policy *h)
{
	alice = device("alice1", "alice", a, to_a, NULL);
	device("hank1", "hank", h, to_h, NULL);
}
static void setup_two_cancelled(void)
{
	both_homes_by(&at_h1, &at_h2, &gives_up, &rings);
}
static void setup_two_refused(void)
{
	both_homes_by(&at_h1, &at_h2, &caller, &refuses_soon);
}
static void edge_to_home(const struct ua_policy *a, const struct ua_policy *b)
{
	alice = device("alice1", "alice", a, &tcp, NULL);
	bob = device("bob1", "bob", b, &at_h1, NULL);
}
static void setup_refused_there(void)
{
	edge_to_home(&caller, &refuses_soon);
}
static void setup_to_home_cancelled(void)
{
	edge_to_home(&gives_up, &rings);
}
static void setup_to_home_forked(void)
{
	alice = device("alice1", "alice", &caller, &tcp, NULL);
	ua_use_gruu(alice);
	device("carol1", "carol", &rings, &at_h1, NULL);
	ua_use_gruu(device("carol2", "carol", &answers_soon, &at_h1, NULL));
	device("carol3", "carol", &rings, &tcp, NULL);
}
static void setup_nat(void)
{
	two_by(&nat, &caller, &answers);
}
static void setup_nat_cancelled(void)
{
	two_by(&nat, &gives_up, &rings);
}
static void setup_nat_forked(void)
{
	forked_by(&nat);
}
/* All by streams, behind the edge. */
static void setup_tcp(void)
{
	two_by(&tcp, &caller, &answers);
}
static void setup_tcp_both_cancelled(void)
{
	two_by(&tcp, &gives_up, &rings);
}
static void setup_tcp_other_cancelled(void)
{
	both_homes_by(&tcp, &tcp, &gives_up, &rings);
}
static void setup_tcp_rejected(void)
{
	two_by(&tcp, &caller, &busy);
}
static void setup_tcp_prack(void)
{
	two_by(&tcp, &caller, &reliable);
}
static void setup_tcp_reinvite(void)
{
	two_by(&tcp, &changes_later, &answers);
}
static void setup_tcp_forked(void)
{
	forked_by(&tcp);
}
static void setup_tcp_serial(void)
{
	serial_by(&tcp);
}
static void setup_tcp_other_home(void)
{
	other_home_by(&tcp);
}
static void setup_tcp_redirected(void)
{
	redirected_by(&tcp);
}
static void setup_tcp_out(void)
{
	far_answers(&tcp);
}
static void setup_tcp_in(void)
{
	far_calls(&tcp);
}

/* Which member of each pair is there first; and is it another flow by other ways? */
enum { FIRST, SECOND = FLOW_SECOND_FIRST, AGAIN = FLOW_AGAIN };
const struct flow flows[] = {
	{"register", setup_register, go_register, FLOW_DATAGRAMS, FIRST},
	{"new-user", setup_new_user, go_new_user, FLOW_DATAGRAMS, SECOND},
	{"reregister", setup_answered, go_refresh, FLOW_DATAGRAMS, FIRST},
	{"unregister", setup_answered, go_unregister, FLOW_DATAGRAMS, FIRST},
	{"answered", setup_answered, call_bob, FLOW_DATAGRAMS, FIRST},
	{"hung-up-there", setup_hung_up_there, call_bob, FLOW_DATAGRAMS, SECOND},
	{"cancelled", setup_cancelled, call_bob, FLOW_DATAGRAMS, FIRST},
	{"rejected", setup_rejected, call_bob, FLOW_DATAGRAMS, SECOND},
	{"unanswered", setup_unanswered, call_bob, FLOW_DATAGRAMS, FIRST},
	{"silent", setup_silent, call_bob, FLOW_DATAGRAMS, FIRST},
	{"forked", setup_forked, go_carol, FLOW_DATAGRAMS, FIRST},
	{"forked-cancelled", setup_forked_cancelled, go_carol, FLOW_DATAGRAMS, SECOND},
	{"forked-rejected", setup_forked_rejected, go_carol, FLOW_DATAGRAMS, FIRST},
	{"serial", setup_serial, go_dave, FLOW_DATAGRAMS, SECOND},
	{"serial-rejected", setup_serial_rejected, go_dave, FLOW_DATAGRAMS, FIRST},
	{"prack", setup_prack, call_bob, FLOW_DATAGRAMS, FIRST},
	{"other-home", setup_other_home, go_hank, FLOW_DATAGRAMS, SECOND},
	{"out", setup_far_answers, go_out, FLOW_DATAGRAMS, FIRST},
	{"in", setup_far, go_in, FLOW_DATAGRAMS, SECOND},
	{"reinvite", setup_reinvite, call_bob, FLOW_DATAGRAMS, FIRST},
	{"message", setup_answered, go_message, FLOW_DATAGRAMS, SECOND},
	{"message-forked", setup_forked, go_message_carol, FLOW_DATAGRAMS, FIRST},
	{"redirected", setup_redirected, go_redirected, FLOW_DATAGRAMS, FIRST},
	{"answered-nat", setup_nat, call_bob, FLOW_DATAGRAMS, SECOND},
	{"register-tcp", setup_register_tcp, go_register, FLOW_STREAMS, FIRST},
	{"answered-tcp-caller", setup_tcp_caller, call_bob, FLOW_STREAMS, FIRST},
	{"answered-tcp-called", setup_tcp_called, call_bob, FLOW_STREAMS, SECOND},
	{"cancelled-tcp-called", setup_tcp_cancelled, call_bob, FLOW_STREAMS, FIRST},
	{"message-tcp-called", setup_tcp_called, go_message, FLOW_STREAMS, SECOND},
	{"home-udp", setup_home_udp, call_bob, FLOW_DATAGRAMS, SECOND},
	{"home-tcp-caller", setup_home_tcp_caller, call_bob, FLOW_STRAIGHT, FIRST},
	{"home-tcp-called", setup_home_tcp_called, call_bob, FLOW_STREAMS, SECOND},
	{"home-tcp-reinvite", setup_home_tcp_both, call_bob, FLOW_STREAMS, FIRST},
	{"home-tcp-cancelled", setup_home_tcp_cancelled, call_bob, FLOW_STREAMS, SECOND},
	{"home-tcp-to-edge", setup_home_tcp_to_edge, call_bob, FLOW_STRAIGHT, SECOND},
	{"home-tcp-forked", setup_home_forked, go_carol, FLOW_STRAIGHT, FIRST},
	{"home-tcp-message", setup_home_tcp_called, go_message, FLOW_STREAMS, SECOND},
	{"cancelled-nat", setup_nat_cancelled, call_bob, FLOW_DATAGRAMS, FIRST | AGAIN},
	{"forked-nat", setup_nat_forked, go_carol, FLOW_DATAGRAMS, SECOND | AGAIN},
	{"message-nat", setup_nat, go_message, FLOW_DATAGRAMS, FIRST | AGAIN},
	{"reregister-tcp", setup_tcp, go_refresh, FLOW_STREAMS, FIRST | AGAIN},
	{"rejected-tcp", setup_tcp_rejected, call_bob, FLOW_STREAMS, SECOND | AGAIN},
	{"forked-tcp", setup_tcp_forked, go_carol, FLOW_STREAMS, FIRST | AGAIN},
	{"serial-tcp", setup_tcp_serial, go_dave, FLOW_STREAMS, SECOND | AGAIN},
	{"prack-tcp", setup_tcp_prack, call_bob, FLOW_STREAMS, FIRST | AGAIN},
	{"other-home-tcp", setup_tcp_other_home, go_hank, FLOW_STREAMS, FIRST | AGAIN},
	{"out-tcp", setup_tcp_out, go_out, FLOW_STREAMS, SECOND | AGAIN},
	{"in-tcp", setup_tcp_in, go_in, FLOW_STREAMS, FIRST | AGAIN},
	{"reinvite-tcp", setup_tcp_reinvite, call_bob, FLOW_STREAMS, SECOND | AGAIN},
	{"redirected-tcp", setup_tcp_redirected, go_redirected, FLOW_STREAMS, FIRST | AGAIN},
	/* Not drawn by seeds (flow.h), and so last: their numbers do not change. */
	{"cancelled-tcp-moved", setup_tcp_moved, call_bob, FLOW_MOVING, FIRST},
	{"unanswered-edge-dies", setup_unanswered, go_edge_dies, FLOW_EDGE_LOST, FIRST},
	{"unanswered-tcp-waited", setup_tcp_unanswered, go_has_died, FLOW_EDGE_LOST, FIRST},
	{"home-tcp-serial", setup_home_serial, go_dave, FLOW_STRAIGHT, FIRST},
	{"home-tcp-serial-refused", setup_home_refused, go_dave, FLOW_STRAIGHT, FIRST | AGAIN},
	{"home-tcp-serial-mixed", setup_home_mixed, go_dave, FLOW_STRAIGHT, SECOND | AGAIN},
	{"home-tcp-other-cancelled", setup_two_cancelled, go_hank, FLOW_STRAIGHT,
	 SECOND | AGAIN},
	{"home-tcp-other-refused", setup_two_refused, go_hank, FLOW_STRAIGHT, FIRST | AGAIN},
	{"edge-to-home-refused", setup_refused_there, call_bob, FLOW_STRAIGHT, SECOND | AGAIN},
	{"edge-to-home-cancelled", setup_to_home_cancelled, call_bob, FLOW_STRAIGHT,
	 FIRST | AGAIN},
	{"edge-to-home-forked", setup_to_home_forked, go_carol, FLOW_STRAIGHT, FIRST | AGAIN},
	{"cancelled-tcp", setup_tcp_both_cancelled, call_bob, FLOW_STREAMS, FIRST | AGAIN},
	{"other-cancelled-tcp", setup_tcp_other_cancelled, go_hank, FLOW_STREAMS, FIRST},
	{"moved", moved_setup, moved_go, FLOW_DATAGRAMS, FIRST | FLOW_APART},
	{"hour", hour_setup, hour_go, FLOW_STREAMS, FIRST | AGAIN | FLOW_APART},
	{"join", join_setup, join_go, FLOW_DATAGRAMS, FIRST | FLOW_APART | FLOW_BUS},
	{"edge-joins", edge_setup, edge_go, FLOW_DATAGRAMS, FIRST | FLOW_APART | FLOW_BUS},
	{"repair", repair_setup, repair_go, FLOW_STREAMS, SECOND | FLOW_APART | FLOW_BUS},
	{"ask", ask_setup, ask_go, FLOW_DATAGRAMS, FIRST | FLOW_APART | FLOW_BUS},
};
const unsigned nflows = sizeof(flows) / sizeof(flows[0]);

const struct flow *flow_find(const char *name)
{
	for (unsigned i = 0; i < nflows; i++)
		if (strcmp(flows[i].name, name) == 0)
			return &flows[i];
	return NULL;
}

unsigned flows_drawn(void)
{
	unsigned n = 0;
	while (n < nflows && flows[n].phones < FLOW_MOVING)
		n++;
	return n;
}

bool flow_fits(const struct flow *f, enum scene_kind kind)
{
	return !(f->how & FLOW_APART) && (f->phones < FLOW_MOVING || kind == SCENE_CLUSTER);
}
