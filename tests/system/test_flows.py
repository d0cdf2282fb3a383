"""Flows (RFC 5626): phones on connections and behind NATs are reached inside their dialogs by the
way that they came, whatever their Contact says; what is left when that way is gone.
"""
import time

import pytest

from certs import Authority
from eaves import own_address
from phone import Dialog, Phone, hang_up, talk
from sip import build, token, uri_of

OUTBOUND = [("Supported", "outbound, path")]


class Behind(Phone):
	"""Behind a NAT: knows itself by an address that leads nowhere."""
	ob = ""

	@property
	def inner(self):
		return f"192.0.2.{sum(self.user.encode()) % 200 + 1}:5060"

	@property
	def contact(self):
		t = "" if self.transport == "udp" else f";transport={self.transport}"
		return f"<sip:{self.user}@{self.inner}{t}{self.ob}>"

	def via(self):
		return f"SIP/2.0/{self.transport.upper()} {self.inner};branch=z9hG4bK{token()};rport"


class Outbound(Behind):
	ob = ";ob"

	def sign_up(self, reg_id=1, q="1.0", **kw):
		instance = f"<urn:uuid:00000000-0000-4000-8000-{sum(self.user.encode()):012x}>"
		return self.register(headers=OUTBOUND, contact=self.contact
			+ f';+sip.instance="{instance}";reg-id={reg_id};q={q}', **kw)


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
	return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def tls_server(start, ca, workers):
	return start({"tls": {"certificates": [ca.entry("example.org")], "ca": str(ca.cert)}},
		listeners=[("udp",), ("tcp",), ("tls",)], users=("alice", "bob"), workers=workers)


def phone(server, user, transport="udp", kind=Behind, **kw):
	p = server.phone(user, transport=transport, **kw)
	p.__class__ = kind
	return p


def exchange(a, b, *methods):
	"""Each method from each side, and a re-INVITE with its ACK."""
	for x, y in ((a, b), (b, a)):
		for method in methods or ("INFO", "UPDATE"):
			x.request(method)
			y.phone.reply(y.phone.expect(method), 200)
			x.phone.expect(200)
		x.request("INVITE", "v=0\r\n")
		y.phone.reply(y.phone.expect("INVITE"), 200)
		x.phone.expect(200)
		x.ack()
		y.phone.expect("ACK")


def users(routes):
	return ["@" in r for r in routes]


# ---- reached both ways ----

@pytest.mark.parametrize("by_caller", [True, False], ids=["caller-ends", "callee-ends"])
@pytest.mark.parametrize("alice_by,bob_by", [("tcp", "tcp"), ("udp", "udp"), ("tcp", "udp"),
	("udp", "tcp")])
def test_phones_behind_nats_are_reached_in_their_dialog(server_n, alice_by, bob_by, by_caller):
	alice, bob = phone(server_n, "alice", alice_by), phone(server_n, "bob", bob_by)
	alice.register()
	bob.register()
	a, b = talk(alice, bob)
	assert users(a.routes) == users(b.routes) == [True, True]
	exchange(a, b)
	hang_up(*((a, b) if by_caller else (b, a)))


def test_phones_by_tls_are_reached_in_their_dialog(tls_server, ca):
	alice, bob = (phone(tls_server, u, "tls", tls=ca.client(), sni="example.org")
		for u in ("alice", "bob"))
	alice.register()
	bob.register()
	a, b = talk(alice, bob)
	exchange(a, b)
	hang_up(b, a)


def test_one_side_alone_may_be_behind_a_nat(server_n):
	alice, bob = server_n.phone("alice"), phone(server_n, "bob")
	alice.register()
	bob.register()
	a, b = talk(alice, bob)
	assert users(a.routes) == [False, True]
	exchange(a, b)
	hang_up(a, b)
	a, b = talk(bob, alice)
	assert users(a.routes) == [True, False]
	exchange(a, b)
	hang_up(b, a)


def test_a_phone_by_udp_that_is_where_it_says_costs_no_token(server):
	alice, bob = server.phone("alice"), server.phone("bob")
	alice.register()
	bob.register()
	a, b = talk(alice, bob)
	assert users(a.routes) == users(b.routes) == [False]
	hang_up(a, b)


def test_sips_does_not_leave_tls_by_a_token(server):
	alice, bob = phone(server, "alice", "tcp"), phone(server, "bob", "tcp")
	bob.register()
	a, _ = talk(alice, bob)
	a.target = a.target.replace("sip:", "sips:").replace(";transport=tcp", "")
	a.request("INFO")
	assert alice.wait_for(lambda m: (m.status or 0) >= 300)
	bob.expect_nothing(0.1)


def test_two_users_on_one_connection_reach_each_other(server_n):
	"""A gateway: the flow to one side is the flow from the other."""
	gateway = phone(server_n, "alice", "tcp")
	gateway.register()
	gateway.user, gateway.password = "bob", "secret-of-bob"
	gateway.register(call_id=token())
	invite = gateway.invite("alice")
	incoming = gateway.expect("INVITE")
	answer = gateway.reply(incoming, 200)
	ok = gateway.expect(200)
	a, b = Dialog(gateway, invite, ok, True), Dialog(gateway, incoming, answer, False)
	a.ack()
	gateway.expect("ACK")
	exchange(a, b)
	hang_up(a, b)


def test_a_notify_follows_the_flow_of_its_subscriber(server_n):
	alice, bob = phone(server_n, "alice", "tcp"), phone(server_n, "bob")
	alice.register()
	bob.register()
	m = alice.request("SUBSCRIBE", "sip:bob@example.org", [("Event", "dialog")])
	m = alice.again(m, alice.expect(407))
	got = bob.expect("SUBSCRIBE")
	answer = bob.reply(got, 200)
	alice.expect(200)
	b = Dialog(bob, got, answer, False)
	b.request("NOTIFY", headers=[("Event", "dialog"), ("Subscription-State", "active")])
	alice.reply(alice.expect("NOTIFY"), 200)
	bob.expect(200)


# ---- the way is gone ----

def drop(server, p):
	"""The phone's connection ends, and the server has noticed."""
	p.stream.sock.close()
	p.streams.remove(p.stream)
	server.wait_metric("connections", len(p.streams))


def test_a_dialog_of_an_outbound_phone_whose_connection_closed_is_430(server_n):
	alice, bob = server_n.phone("alice"), phone(server_n, "bob", "tcp", Outbound)
	alice.register()
	bob.sign_up()
	a, b = talk(alice, bob)
	drop(server_n, bob)
	a.request("INFO")
	assert alice.expect(430).reason == "Flow Failed"
	assert server_n.metric("edge_flow_failed_total") == 1


def test_an_outbound_caller_whose_connection_closed_is_430(server_n):
	alice, bob = phone(server_n, "alice", "tcp", Outbound), server_n.phone("bob")
	bob.register()
	a, b = talk(alice, bob)
	drop(server_n, alice)
	b.request("BYE")
	bob.expect(430)


def test_another_phone_is_looked_for_where_its_contact_says(server_n):
	alice = server_n.phone("alice", transport="tcp", listen=True)
	bob = server_n.phone("bob")
	bob.register()
	a, b = talk(alice, bob)
	drop(server_n, alice)
	b.request("BYE")
	alice.reply(alice.expect("BYE"), 200)
	bob.expect(200)


def test_after_a_restart_a_connection_is_another_but_udp_goes_on(start):
	s = start(users=("alice", "bob"), store="sqlite")
	alice, bob = phone(s, "alice"), phone(s, "bob", "tcp", Outbound)
	alice.register()
	bob.sign_up()
	a, b = talk(alice, bob)
	s.restart()
	a.request("INFO")
	alice.expect(430)
	bob.connect()
	b.request("BYE")
	alice.reply(alice.expect("BYE"), 200)
	bob.expect(200)


def test_an_outbound_binding_without_its_connection_is_no_target(server_n):
	alice, bob = server_n.phone("alice"), phone(server_n, "bob", "tcp", Outbound)
	bob.sign_up()
	drop(server_n, bob)
	m = alice.request("INVITE", "sip:bob@example.org")
	alice.answered(m, 480)
	bob.connect()
	bob.sign_up()
	talk(alice, bob)


def test_a_device_whose_connection_closed_does_not_keep_the_others_from_ringing(server_n):
	alice, bob = server_n.phone("alice"), server_n.phone("bob")
	lost = phone(server_n, "bob", "tcp", Outbound)
	lost.sign_up()
	bob.register()
	drop(server_n, lost)
	a, b = talk(alice, bob)
	hang_up(a, b)


def test_a_device_that_is_gone_by_udp_lets_the_next_one_ring_at_once(server_n):
	"""The ICMP error counts, whichever worker the kernel tells; a serial group rings for 20 s."""
	alice, bob = server_n.phone("alice"), server_n.phone("bob")
	bob.register(contact=bob.contact + ";q=0.5")
	for _ in range(6):
		gone = phone(server_n, "bob")
		gone.register(contact=gone.contact + ";q=1.0")
		gone.sock.close()
		a, b = talk(alice, bob)
		hang_up(a, b)


def test_the_newest_flow_of_an_instance_is_used_and_then_the_one_before(server_n):
	alice = server_n.phone("alice")
	first, second = (phone(server_n, "bob", "tcp", Outbound) for _ in range(2))
	first.sign_up(1)
	then = time.time() + 0.002  # newer by the registrar's clock, which counts milliseconds
	while time.time() < then:
		alice.send(build("OPTIONS sip:example.org SIP/2.0", [("Via", alice.via()),
			("From", "<sip:a@x.example>;tag=1"), ("To", "<sip:example.org>"),
			("Call-ID", token()), ("CSeq", "1 OPTIONS")]))
		alice.expect(200)
	second.sign_up(2)
	m = alice.invite("bob")
	second.reply(second.expect("INVITE"), 486)
	alice.expect(486)
	alice.ack(m, alice.log[-1])
	first.expect_nothing(0.1)
	second.stream.sock.close()
	second.streams.clear()
	server_n.wait_metric("connections", 1)
	m = alice.invite("bob")
	first.reply(first.expect("INVITE"), 486)
	alice.expect(486)


def test_another_flow_of_the_instance_rings_when_the_newest_fails(server_n):
	"""RFC 5626 7, within the call: by UDP nobody knows before."""
	alice, first = server_n.phone("alice"), phone(server_n, "bob", kind=Outbound)
	first.sign_up(1)
	for _ in range(4):
		second = phone(server_n, "bob", kind=Outbound)
		second.sign_up(2)
		second.sock.close()
		a, b = talk(alice, first)
		hang_up(a, b)


def test_a_device_that_connected_anew_before_its_turn_is_reached_in_the_dialog(server_n):
	alice, first = server_n.phone("alice"), server_n.phone("bob")
	first.register()
	bob = phone(server_n, "bob", "tcp", Outbound)
	bob.sign_up(q="0.5")
	m = alice.invite("bob")
	busy = first.expect("INVITE")
	drop(server_n, bob)
	bob.connect()
	bob.sign_up(q="0.5")
	first.reply(busy, 486)
	got = bob.expect("INVITE")
	answer = bob.reply(got, 200)
	a, b = Dialog(alice, m, alice.expect(200), True), Dialog(bob, got, answer, False)
	a.ack()
	bob.expect("ACK")
	hang_up(a, b)


def test_sips_does_not_leave_tls_for_a_device_that_connected_anew(tls_server, ca):
	alice = tls_server.phone("alice", transport="tls", tls=ca.client(), sni="example.org")
	first, bob = (phone(tls_server, "bob", "tls", k, tls=ca.client(), sni="example.org") for k in (Behind, Outbound))
	first.register()
	bob.sign_up(q="0.5")
	m = alice.request("INVITE", "sips:bob@example.org",
		contact=alice.contact.replace("sip:", "sips:"))
	alice.again(m, alice.expect(407))
	busy = first.expect("INVITE")
	plain = phone(tls_server, "bob", "tcp", Outbound)
	plain.call_id, plain.cseq = bob.call_id, bob.cseq
	plain.sign_up(q="0.5")
	first.reply(busy, 486)
	plain.expect_nothing(0.3)


# ---- tokens of nobody ----

def in_dialog(phone, dialog, routes):
	was, dialog.routes = dialog.routes, routes
	m = dialog.request("INFO")
	dialog.routes = was
	return m


def test_a_forged_token_is_403_and_reaches_nobody(server):
	alice, bob = phone(server, "alice"), phone(server, "bob")
	alice.register()
	bob.register()
	a, b = talk(alice, bob)
	user = a.routes[-1].split("@")[0]
	for forged in (user[:-1] + ("A" if user[-1] != "A" else "B"), user[:-4], user + "A"):
		in_dialog(alice, a, a.routes[:-1] + [a.routes[-1].replace(user, forged)])
		alice.expect(403)
	bob.expect_nothing(0.1)
	exchange(a, b)


def test_a_token_of_another_dialog_is_403(server):
	alice, bob, carol = (phone(server, u) for u in ("alice", "bob", "carol"))
	for p in (alice, bob, carol):
		p.register()
	a, _ = talk(alice, bob)
	c, _ = talk(alice, carol)
	ours, theirs = a.routes[-1], c.routes[-1]
	in_dialog(alice, a, [theirs])
	alice.expect(403)
	mixed = theirs.split("@")[0] + "@" + ours.split("@")[1]
	in_dialog(alice, a, a.routes[:-1] + [mixed])
	alice.expect(403)
	carol.expect_nothing(0.1)


def test_a_flow_token_says_where_but_not_who(server):
	"""It is no pass for a request outside of its dialog."""
	alice, bob = phone(server, "alice"), phone(server, "bob")
	bob.register()
	a, _ = talk(alice, bob)
	mallory = server.phone("mallory")
	mallory.request("MESSAGE", uri_of(bob.contact), [("Route", a.routes[-1])], body="x",
		frm=f"<sip:m@elsewhere.example>;tag={token()}")
	mallory.expect(403)
	bob.expect_nothing(0.1)


def test_an_answer_in_a_dialog_leaves_from_the_address_that_was_asked(cluster):
	"""A phone behind a NAT hears nobody else: of several listeners it is the one that its request came
	to, whatever its answer came by."""
	second = own_address()
	c = cluster(users=("alice", "bob"), listeners=[("udp",), ("tcp",), ("udp", second)])
	where = next((x["address"], x["port"]) for x in c.edges[0].config["listeners"]
		if x["address"] == second)
	alice, bob = c.phone("alice"), c.phone("bob", transport="tcp")
	alice.server = where
	for p in (alice, bob):
		p.register()
	a, b = talk(alice, bob)
	a.request("INFO")
	bob.reply(bob.expect("INFO"), 200)
	assert alice.expect(200).source == where
	hang_up(a, b)
