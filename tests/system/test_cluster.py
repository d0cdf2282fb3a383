"""A cluster of real processes: an edge and homes on loopback, their links and what goes over them."""
import signal
import ssl

import pytest

from certs import Authority
from cluster import registered
from phone import SDP, Dialog, hang_up, talk, transaction
from sip import param


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_call_goes_through_edge_and_home(cluster, transport):
	c = cluster(users=("alice", "bob"))
	alice, bob = registered(c, "alice", "bob", transport=transport)
	a, b = talk(alice, bob)
	hang_up(a, b)
	a, b = talk(bob, alice)
	hang_up(b, a)


def test_users_of_different_homes_call_each_other(cluster):
	c = cluster(homes=2)
	e = c.edges[0]
	for user, home in (("alice", "h1"), ("bob", "h2")):
		e.ctl("user add", user, home, stdin=f"secret-of-{user}\n")
	c.wait_users(2)
	alice, bob = registered(c, "alice", "bob")
	a, b = talk(alice, bob)
	hang_up(a, b)
	invite = bob.invite("alice")
	incoming = alice.expect("INVITE")
	assert incoming.get("p-asserted-identity") == "<sip:bob@example.org>"
	assert not incoming.all("eaves-link") and not incoming.all("proxy-authorization")
	alice.reply(incoming, 180)
	bob.expect(180)
	bob.cancel(invite)
	bob.expect(200)
	cancel = alice.expect("CANCEL")
	alice.reply(cancel, 200)
	alice.reply(incoming, 487)
	r = bob.expect(487)
	bob.ack(invite, r)
	alice.expect("ACK")


def test_a_dialog_reaches_the_gruu_of_another_homes_user(cluster):
	"""What is in a dialog is not asked who sends it: it goes straight to the callee's home."""
	c = cluster(homes=2)
	for user, home in (("alice", "h1"), ("bob", "h2")):
		c.edges[0].ctl("user add", user, home, stdin=f"secret-of-{user}\n")
	c.wait_users(2)
	alice, bob = registered(c, "alice", "bob", transport="tcp")
	r = bob.register(contact=bob.contact + ';+sip.instance="<urn:uuid:b0b>"',
		headers=[("Supported", "gruu")])
	gruu = param(r.get("contact"), "pub-gruu")
	a, b = talk(bob, alice, headers=[("Contact", f"<{gruu}>")])
	hang_up(b, a)


def test_a_refused_call_is_repeated_until_it_is_acknowledged(cluster):
	"""Behind the stateless edge it is the home that repeats itself, for the phone's leg."""
	c = cluster(users=("alice", "bob"))
	alice, bob = registered(c, "alice", "bob")
	invite = alice.invite("bob")
	incoming = bob.expect("INVITE")
	bob.reply(incoming, 486)
	bob.expect("ACK")
	r = alice.expect(486)
	alice.expect_again(r)
	alice.ack(invite, r)


def test_three_devices_ring_and_one_answers(cluster):
	c = cluster(users=("alice", "bob"))
	alice, *bobs = registered(c, "alice", "bob", "bob", "bob")
	invite = alice.invite("bob")
	incoming = [b.expect("INVITE") for b in bobs]
	for b, m in zip(bobs, incoming):
		b.reply(m, 180)
	for _ in bobs:
		alice.expect(180)
	answer = bobs[1].reply(incoming[1], 200)
	ok = alice.expect(200)
	for b, m in ((bobs[0], incoming[0]), (bobs[2], incoming[2])):
		cancel = b.expect("CANCEL")
		b.reply(cancel, 200)
		b.reply(m, 487)
		b.expect("ACK")
	a = Dialog(alice, invite, ok, True)
	a.ack()
	bobs[1].expect("ACK")
	hang_up(a, Dialog(bobs[1], incoming[1], answer, False))


def test_a_message_goes_to_another_home(cluster):
	c = cluster(homes=2, users=[f"u{i}" for i in range(8)])
	phones = registered(c, *[f"u{i}" for i in range(8)])
	for a, b in zip(phones, phones[1:]):
		m = a.request("MESSAGE", f"sip:{b.user}@example.org", body="hello")
		m = a.again(m, a.expect(407))
		b.reply(b.expect("MESSAGE"), 200)
		a.expect(200)


def test_links_by_tls_are_for_nodes_with_their_certificate(cluster, tmp_path):
	ca = Authority(tmp_path)
	c = cluster(homes=2, users=[f"u{i}" for i in range(4)], ca=ca)
	phones = registered(c, *[f"u{i}" for i in range(4)])
	for x, y in zip(phones, phones[1:]):
		hang_up(*talk(x, y))
	h = c.homes[0][0]
	spam = [("Eaves-Link", "m=5;t=udp;s=192.0.2.1:5060;u=u0")]
	other = h.phone("mallory", transport="tls", to=h.link, sni=h.name, tls=ca.client(ca.issue("other.example")))
	other.request("MESSAGE", "sip:u1@example.org", spam, body="spam")
	other.expect(403)
	with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
		nobody = h.phone("mallory", transport="tls", to=h.link, sni=h.name, tls=ca.client())
		nobody.request("MESSAGE", "sip:u1@example.org", spam, body="spam")
		nobody.expect(403)


def test_nobody_but_nodes_speaks_to_a_home_by_its_link(cluster):
	c = cluster(users=("alice", "bob"))
	h = c.homes[0][0]
	stranger = h.phone("mallory", transport="tcp", to=h.link)
	stranger.request("MESSAGE", "sip:bob@example.org", [
		("Eaves-Link", "m=5;t=udp;s=192.0.2.1:5060;u=alice")], body="spam")
	stranger.expect(403)
	outsider = c.phone("alice")
	outsider.request("MESSAGE", "sip:bob@example.org", [
		("Eaves-Link", "m=5;t=udp;s=192.0.2.1:5060;u=alice")], body="spam")
	outsider.expect(407)


# ---- a home dies ----

def serving(c, user):
	"""The member of the only pair that has forked the last call of the user's, and the other."""
	a, b = c.homes[0]
	pattern = rf"event=forked .*user={user} "
	c.wait(lambda: a.log_count(pattern) or b.log_count(pattern), "no member forked the call")
	return (a, b) if a.log_count(pattern) else (b, a)


def kill_serving(c, user):
	one, other = serving(c, user)
	one.kill9()
	return other


def test_a_call_is_answered_after_the_home_that_set_it_up_died(cluster):
	c = cluster(users=("alice", "bob"))
	alice, bob = registered(c, "alice", "bob")
	invite = alice.invite("bob")
	incoming = bob.expect("INVITE")
	bob.reply(incoming, 180)
	alice.expect(180)
	kill_serving(c, "bob")
	answer = bob.reply(incoming, 200)
	ok = alice.expect(200)
	a, b = Dialog(alice, invite, ok, True), Dialog(bob, incoming, answer, False)
	a.ack()
	bob.expect("ACK")
	hang_up(a, b)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_call_is_cancelled_after_the_home_that_set_it_up_died(cluster, transport):
	c = cluster(users=("alice", "bob"))
	alice, bob = registered(c, "alice", "bob", transport=transport)
	invite = alice.invite("bob")
	incoming = bob.expect("INVITE")
	bob.reply(incoming, 180)
	alice.expect(180)
	kill_serving(c, "bob")
	alice.cancel(invite)
	alice.expect(200)
	bob.reply(bob.expect("CANCEL"), 200)
	bob.reply(incoming, 487)
	alice.ack(invite, alice.expect(487))
	bob.expect("ACK")


def test_a_call_is_refused_after_the_home_that_set_it_up_died(cluster):
	c = cluster(users=("alice", "bob"))
	alice, bob = registered(c, "alice", "bob")
	invite = alice.invite("bob")
	incoming = bob.expect("INVITE")
	kill_serving(c, "bob")
	bob.reply(incoming, 486)
	busy = alice.expect(486)
	alice.expect_again(busy)
	alice.ack(invite, busy)
	bob.expect("ACK")


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_registrations_and_nonces_are_good_at_the_other_member(cluster, transport):
	c = cluster(users=("alice", "bob"))
	alice, bob = registered(c, "alice", "bob", transport=transport)
	a, b = talk(alice, bob)
	other = kill_serving(c, "bob")
	hang_up(a, b)
	assert len(other.registrations()) == 2
	challenges = other.metric("challenges_total")
	# The nonce that the dead member gave is taken, with the next count.
	alice.resend(alice.registered, alice.credentials_again("REGISTER", "sip:example.org"))
	alice.expect(200)
	assert other.metric("challenges_total") == challenges
	# What was sent to it is not taken again.
	alice.send(alice.registered.raw.replace(b"z9hG4bK", b"z9hG4bKx"))
	alice.expect(401)
	a, b = talk(bob, alice)
	hang_up(b, a)


def test_an_invite_is_repeated_to_the_other_home_after_its_nonce_was_used_again(cluster):
	"""What the dead member let through is no replay at the other one, though it was not the nonce's
	latest use."""
	c = cluster(users=("alice", "bob"))
	alice, bob = registered(c, "alice", "bob")
	invite = alice.invite("bob")
	bob.repeats = False
	first = bob.expect("INVITE")
	uri = "sip:bob@example.org"
	alice.request("MESSAGE", uri, [("Proxy-" + n, v) for n, v in [alice.credentials_again("MESSAGE", uri)]],
		body="hello")
	bob.reply(bob.wait_for("MESSAGE"), 200)
	alice.expect(200)
	one, other = serving(c, "bob")
	alice.register(contact=alice.contact.replace("alice", "again"))
	c.wait(lambda: len(other.registrations()) == 3, "the other member has not been told")
	one.kill9()
	c.edges[0].wait_log("event=node-dead")
	challenges = other.metric("challenges_total")
	alice.send(invite.raw)
	repeated = bob.wait_for(lambda m: m.method == "INVITE" and m.raw != first.raw)
	assert transaction(repeated) == transaction(first)
	bob.reply(repeated, 486)
	alice.ack(invite, alice.expect(486))
	assert other.metric("challenges_total") == challenges


def test_a_request_of_a_stream_that_died_with_its_home_reaches_the_other(cluster):
	"""The phone will not repeat it: the edge does."""
	c = cluster(users=("alice", "bob"))
	alice, bob = registered(c, "alice", "bob", transport="tcp")
	m = alice.request("MESSAGE", "sip:bob@example.org", body="one")
	one, other = c.homes[0]
	m = alice.again(m, alice.expect(407))
	bob.reply(bob.expect("MESSAGE"), 200)
	alice.expect(200)
	if other.log_count("event=forked"):
		one, other = other, one
	one.process.send_signal(signal.SIGSTOP)
	invite = alice.request("INVITE", "sip:bob@example.org")
	one.kill9()
	alice.again(invite, alice.expect(407))
	incoming = bob.expect("INVITE")
	bob.reply(incoming, 603)
	alice.expect(603)


@pytest.mark.parametrize("devices", [1, 2])
def test_a_home_that_was_stopped_does_not_go_on_with_what_is_over(cluster, devices):
	"""What came for it meanwhile was served by the other member, and its own calls too."""
	c = cluster(users=("alice", "bob"))
	alice, *bobs = registered(c, "alice", *["bob"] * devices)
	invite = alice.invite("bob")
	incoming = [b.expect("INVITE") for b in bobs]
	one, other = serving(c, "bob")
	one.process.send_signal(signal.SIGSTOP)
	c.edges[0].wait_log("event=node-dead node=" + one.name)
	other.wait_log("event=node-dead node=" + one.name)
	for b, m in zip(bobs, incoming):
		b.reply(m, 486)
		b.wait_for("ACK")
	alice.ack(invite, alice.wait_for(486))
	since = len(alice.log), [len(b.log) for b in bobs]
	one.process.send_signal(signal.SIGCONT)
	one.wait_log("event=was-stopped")
	c.wait_alive()
	hang_up(*talk(bobs[0], alice))
	for b in bobs:
		b.expect_nothing(1.0)
	late = [m for b, n in zip(bobs, since[1]) for m in b.log[n:] if m.method == "INVITE"]
	assert not late, late


def test_a_restarted_home_has_all_registrations(cluster):
	c = cluster(users=[f"u{i}" for i in range(20)])
	registered(c, *[f"u{i}" for i in range(20)])
	one, other = c.homes[0]
	for n in (one, other):
		c.wait(lambda n=n: len(n.registrations()) == 20, f"{n.name} has not all of them")
	one.kill9()
	other.wait_log("event=node-dead node=" + one.name)
	one.start()
	c.wait_alive()
	one.wait_metric("users", 20)
	c.wait(lambda: len(one.registrations()) == 20, "the restarted member has not all of them")


def test_without_any_home_calls_get_503_and_a_time_to_come_back(cluster):
	c = cluster(users=("alice",))
	alice, = registered(c, "alice")
	for n in c.homes[0]:
		n.kill9()
	c.edges[0].wait_log("event=node-dead node=h1b")
	alice.request("MESSAGE", "sip:alice@example.org", body="x")
	assert alice.expect(503).get("retry-after") == "5"


# ---- an edge dies ----

def test_a_phone_on_a_stream_goes_on_at_the_other_edge(cluster):
	"""Its connection went with the first edge: it registers anew at the other one, and its dialogs
	and what is under way for it go on."""
	c = cluster(edges=2, users=("alice", "bob"))
	alice = c.phone("alice", edge=1)
	bob = c.phone("bob", edge=0, transport="tcp")
	outbound = {"contact": bob.contact + ';reg-id=1;+sip.instance="<urn:uuid:b0b>"',
		"headers": [("Supported", "outbound, path")]}
	alice.register()
	bob.register(**outbound)
	a, b = talk(alice, bob)
	c.wait(lambda: c.edges[1].metric("bindings") == 2, "the other edge does not know bob")
	c.edges[0].kill9()
	bob.expect_closed()
	c.edges[1].wait_log("event=node-dead node=e1")
	# What comes for him before he is back waits for him.
	a.request("INFO")
	bob.server = c.edges[1].where["tcp"]
	bob.connect()
	outbound["contact"] = bob.contact + ';reg-id=1;+sip.instance="<urn:uuid:b0b>"'
	m = bob.request("REGISTER", "sip:example.org", outbound["headers"], contact=outbound["contact"],
		call_id=bob.call_id, to=f"<{bob.aor}>")
	bob.again(m, bob.wait_for(401))
	info = None
	for _ in range(2):
		x = bob.next()
		assert x is not None
		if x.method == "INFO":
			info = x
		else:
			assert x.status == 200
	info = info or bob.expect("INFO")
	bob.reply(info, 200, tag=param(b.local, "tag"))
	alice.expect(200)
	hang_up(b, a)


# ---- operators ----

def test_an_edge_asks_any_node_and_a_home_asks_nobody(cluster):
	c = cluster(homes=2, users=("alice", "bob", "carol", "dora"))
	registered(c, "alice", "bob", "carol", "dora")
	e = c.edges[0]
	listed = [x for pair in ("h1b", "h2a") for x in
		e.ctl("node", pair, "registration", "list").splitlines()]
	assert {x.split()[0] for x in listed} == {"alice", "bob", "carol", "dora"}
	assert "self" in e.ctl("node", "h2b", "cluster", "status")
	for words, why in ((["h9", "status"], "no other node"), (["h1a", "nonsense"], "no such command"),
			(["h1a", "registration", "drop"], "usage")):
		r = e.ctl_raw("node", *words)
		assert r.returncode == 1 and why in r.stdout + r.stderr
	assert c.homes[0][0].ctl_raw("node", "e1", "user", "list").returncode == 1
	c.homes[1][1].kill9()
	r = e.ctl_raw("node", "h2b", "status")
	assert r.returncode == 1 and "does not answer" in r.stdout + r.stderr


def test_the_directory_is_the_same_at_both_edges(cluster):
	c = cluster(edges=2, users=("alice",))
	one, other = c.edges
	other.ctl("user add", "bob", stdin="x\n")
	other.ctl("alias add", "100", "bob")
	c.wait(lambda: "100 bob" in one.ctl("alias list"), "the alias did not come")
	one.ctl("user remove", "bob")
	for n in c.nodes:
		n.wait_metric("users", 1)
	c.wait(lambda: other.ctl("alias list") == "", "the alias is still there")


# ---- calls with something to decide ----

def ringing_at(c, alice, devices):
	invite = alice.invite("bob")
	incoming = [b.expect("INVITE") for b in devices]
	for b, m in zip(devices, incoming):
		b.reply(m, 180)
		alice.expect(180)
	return invite, incoming


def test_three_devices_ring_on_at_the_other_home_and_stop_when_one_answers(cluster):
	c = cluster(users=("alice", "bob"))
	alice, *bobs = registered(c, "alice", "bob", "bob", "bob")
	invite, incoming = ringing_at(c, alice, bobs)
	kill_serving(c, "bob")
	answer = bobs[1].reply(incoming[1], 200)
	ok = alice.wait_for(200)
	for i in (0, 2):
		cancel = bobs[i].wait_for("CANCEL")
		assert "cause=200" in cancel.get("reason")
		bobs[i].reply(cancel, 200)
		bobs[i].reply(incoming[i], 487)
		bobs[i].wait_for("ACK")
	a = Dialog(alice, invite, ok, True)
	a.ack()
	bobs[1].wait_for("ACK")
	hang_up(a, Dialog(bobs[1], incoming[1], answer, False))


def test_three_devices_are_cancelled_by_the_other_home(cluster):
	c = cluster(users=("alice", "bob"))
	alice, *bobs = registered(c, "alice", "bob", "bob", "bob")
	invite, incoming = ringing_at(c, alice, bobs)
	kill_serving(c, "bob")
	alice.cancel(invite)
	alice.wait_for(200)
	for b, m in zip(bobs, incoming):
		b.reply(b.wait_for("CANCEL"), 200)
		b.reply(m, 487)
		b.wait_for("ACK")
	alice.ack(invite, alice.wait_for(487))


def test_the_best_answer_so_far_is_remembered_by_the_other_home(cluster):
	c = cluster(users=("alice", "bob"))
	alice, *bobs = registered(c, "alice", "bob", "bob")
	invite, incoming = ringing_at(c, alice, bobs)
	bobs[0].reply(incoming[0], 486)
	bobs[0].expect("ACK")
	kill_serving(c, "bob")
	bobs[1].reply(incoming[1], 480)
	assert alice.wait_for(lambda m: m.status and m.status >= 400).status in (480, 486)
	bobs[1].wait_for("ACK")


def test_a_serial_search_goes_on_at_the_other_home(cluster):
	"""By q: when the first device rings too long, the next one's turn comes, at the home that is
	left, with the whole INVITE."""
	c = cluster(users=("alice", "bob"), config={"timers": {"serial_group_s": 2}})
	alice, first, second = [c.phone(u) for u in ("alice", "bob", "bob")]
	alice.register()
	first.register(contact=first.contact + ";q=1.0")
	second.register(contact=second.contact + ";q=0.5")
	invite = alice.invite("bob")
	m1 = first.expect("INVITE")
	first.reply(m1, 180)
	alice.expect(180)
	kill_serving(c, "bob")
	m2 = second.expect("INVITE", timeout=8)
	assert m2.body == SDP
	cancel = first.wait_for("CANCEL")
	first.reply(cancel, 200)
	first.reply(m1, 487)
	answer = second.reply(m2, 200)
	ok = alice.wait_for(200)
	a = Dialog(alice, invite, ok, True)
	a.ack()
	second.wait_for("ACK")
	hang_up(a, Dialog(second, m2, answer, False))


# ---- the service address of a pair is at the member that does not serve the call ----

def called_straight(c, devices):
	"""alice behind the edge calls bob, whose devices are straight at the home: who serves the call,
	and the other member, where the service address is said to be."""
	home = c.homes[0][0]
	alice, *bobs = c.phone("alice"), *[home.phone("bob") for _ in range(devices)]
	for p in (alice, *bobs):
		p.register()
	c.wait(lambda: all(len(n.registrations()) == devices + 1 for n in c.homes[0]), "not all bound")
	invite = alice.invite("bob")
	incoming = [b.expect("INVITE") for b in bobs]
	one, other = serving(c, "bob")
	for m in incoming:
		m.source = other.where["udp"]
	return alice, bobs, invite, incoming, other


def untouched(other):
	return other.metric("responses_handed_total") and not other.log_count("event=(rebuilt|adopted)")


def test_an_answer_to_the_members_address_reaches_the_call_at_the_other_one(cluster):
	c = cluster(users=("alice", "bob"), one_address=True)
	alice, bobs, invite, incoming, other = called_straight(c, 3)
	for b, m in zip(bobs, incoming):
		b.reply(m, 180)
		alice.expect(180)
	answer = bobs[1].reply(incoming[1], 200)
	ok = alice.expect(200)
	for i in (0, 2):
		bobs[i].reply(bobs[i].expect("CANCEL"), 200)
		bobs[i].reply(incoming[i], 487)
		bobs[i].expect("ACK")
	a = Dialog(alice, invite, ok, True)
	a.ack()
	bobs[1].expect("ACK")
	assert untouched(other)
	hang_up(a, Dialog(bobs[1], incoming[1], answer, False))


def test_a_call_that_rings_by_way_of_the_other_member_is_cancelled(cluster):
	c = cluster(users=("alice", "bob"), one_address=True)
	alice, (bob,), invite, (incoming,), other = called_straight(c, 1)
	bob.reply(incoming, 180)
	alice.expect(180)
	alice.cancel(invite)
	alice.expect(200)
	cancel = bob.expect("CANCEL")
	cancel.source = other.where["udp"]
	bob.reply(cancel, 200)
	bob.reply(incoming, 487)
	bob.expect("ACK")
	alice.ack(invite, alice.expect(487))
	assert untouched(other)


def test_a_message_to_several_devices_is_answered_by_way_of_the_other_member(cluster):
	c = cluster(users=("alice", "bob"), one_address=True)
	alice, bobs, invite, incoming, other = called_straight(c, 2)
	for b, m in zip(bobs, incoming):
		b.reply(m, 603)
		b.expect("ACK")
	alice.ack(invite, alice.expect(603))
	m = alice.request("MESSAGE", "sip:bob@example.org", body="hello")
	alice.again(m, alice.expect(407))
	for b in bobs:
		m = b.expect("MESSAGE")
		m.source = other.where["udp"]
		b.reply(m, 200)
	alice.expect(200)
	assert untouched(other)


# ---- with little left ----

def test_a_home_starts_and_serves_without_any_edge(cluster):
	"""It has the directory on its disk; phones may register at the home itself."""
	c = cluster(members=1, users=("alice", "bob"), store="sqlite")
	home, edge = c.homes[0][0], c.edges[0]
	edge.stop()
	home.restart()
	assert home.metric("users") == 2
	alice, bob = home.phone("alice"), home.phone("bob", transport="tcp")
	alice.register()
	bob.register()
	hang_up(*talk(alice, bob))
	hang_up(*talk(bob, alice))


def test_phones_at_the_home_and_behind_the_edge_call_each_other(cluster):
	c = cluster(users=("alice", "bob"))
	alice, bob = c.homes[0][0].phone("alice", transport="tcp"), c.phone("bob")
	alice.register()
	bob.register()
	hang_up(*talk(alice, bob))
	a, b = talk(bob, alice)
	hang_up(b, a)


def test_a_request_in_a_dialog_outlives_the_death_of_the_next_proxy(cluster):
	"""The port of a dead edge is unreachable until another machine has its address: no failure to one who
	repeats himself."""
	c = cluster(users=("alice", "bob"))
	alice, bob = c.homes[0][0].phone("alice"), c.phone("bob")
	alice.register()
	bob.register(contact=bob.contact.replace(">", ";ob>"))
	a, b = talk(alice, bob)
	edge = c.edges[0]
	edge.kill9()
	info = a.request("INFO")
	alice.expect_nothing()
	edge.start()
	c.wait_alive()
	alice.send(info.raw)
	bob.reply(bob.expect("INFO"), 200)
	alice.expect(200)
	hang_up(a, b)


def test_the_edge_delivers_alone_where_it_is_told_to(cluster):
	c = cluster(homes=2, config={"edge": {"deliver_alone": True}})
	e = c.edges[0]
	e.ctl("user add", "alice", "h1", stdin="secret-of-alice\n")
	e.ctl("user add", "bob", "h2", stdin="secret-of-bob\n")
	c.wait_users(2)
	alice, bob = registered(c, "alice", "bob")
	c.wait(lambda: e.metric("bindings") == 2, "the edge does not know both")
	for n in c.homes[1]:
		n.kill9()
		e.wait_log("event=node-dead node=" + n.name)
	hang_up(*talk(alice, bob))
	bob.request("MESSAGE", "sip:alice@example.org", body="who am I?")
	bob.expect(503)
