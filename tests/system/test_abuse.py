"""Who means harm gets nowhere, and who does not notices nothing."""
import os
import random
import socket

import pytest

from phone import hang_up, talk
from sip import build, param, token


def test_a_flood_of_garbage_does_not_disturb_a_call(server_n):
	alice, bob = server_n.phone("alice"), server_n.phone("bob", transport="tcp")
	alice.register()
	bob.register()
	a, b = talk(alice, bob)
	dice = random.Random(1)
	good = build("INVITE sip:bob@example.org SIP/2.0", [("Via", alice.via()), ("Max-Forwards", "70"),
		("From", "<sip:x@x.example>;tag=1"), ("To", "<sip:bob@example.org>"), ("Call-ID", "x"),
		("CSeq", "1 INVITE")])
	noise = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
	for i in range(3000):
		data = bytearray(good)
		for _ in range(dice.randrange(1, 12)):
			data[dice.randrange(len(data))] = dice.randrange(256)
		noise.sendto(bytes(data) if i % 3 else os.urandom(dice.randrange(1, 1400)),
			server_n.where["udp"])
		if i % 1000 == 0:
			a.request("INFO")
			bob.reply(bob.wait_for("INFO"), 200)
			alice.expect(200)
	noise.close()
	for p in (alice, bob):
		p.inbox = [m for m in p.inbox if m.method != "INVITE"]
	a.request("BYE")
	bob.reply(bob.wait_for("BYE"), 200)
	alice.expect(200)
	assert server_n.metric("messages_refused_total") > 100


def test_many_idle_connections_do_not_keep_a_phone_out(start):
	s = start({"net": {"connections_per_source": 100}}, users=["alice", "bob"])
	idle = [socket.create_connection(s.where["tcp"], source_address=(f"127.8.{i // 100}.1", 0))
		for i in range(500)]
	alice, bob = s.phone("alice", transport="tcp"), s.phone("bob")
	alice.register()
	bob.register()
	hang_up(*talk(alice, bob))
	assert s.metric("connections") == 501
	for c in idle:
		c.close()


def test_idle_connections_give_way_when_the_table_is_full(start):
	s = start({"net": {"connections": 32, "message_ms": 200}}, users=["alice"])
	idle = [socket.create_connection(s.where["tcp"], source_address=(f"127.8.9.{i + 1}", 0))
		for i in range(32)]
	s.wait_metric("connections", 32)
	waiting = s.phone("x")
	waiting.expect_nothing(0.3)
	s.phone("alice", transport="tcp").register()
	for c in idle:
		c.close()


def test_an_amplification_is_refused_to_a_source_that_proved_nothing(server):
	"""No answer much larger than its request, but for challenges."""
	p = server.phone("x", domain="elsewhere.example")
	for method in ("INVITE", "MESSAGE", "SUBSCRIBE"):
		m = p.request(method, "sip:nobody@example.org", sdp=False)
		r = p.next()
		assert len(r.raw) <= len(m.raw) + 100


def test_a_fork_cannot_be_made_to_multiply(start):
	"""RFC 5393: two users whose contacts name each other."""
	s = start(users=["alice", "bob", "carol"])
	caller = s.phone("carol")
	caller.register()
	for user, other in (("alice", "bob"), ("bob", "alice")):
		p = s.phone(user)
		p.register(contact=", ".join(f"<sip:{other}@example.org;x={i}>" for i in range(5)))
	m = caller.request("MESSAGE", "sip:alice@example.org", body="boom")
	caller.again(m, caller.expect(407))
	r = caller.next(15)
	assert r is not None and r.status >= 400
	assert s.metric("requests_forwarded_total") < 200


def test_a_register_flood_does_not_grow_the_server(start):
	s = start({"registrar": {"contacts_per_user": 5}}, users=["alice"])
	alice = s.phone("alice")
	for i in range(30):
		r = alice.register(want=200 if i < 5 else 403, contact=f"<sip:a@192.0.2.{i + 1}>")
	assert len(s.registrations()) == 5


def test_transactions_beyond_the_limit_are_refused_and_the_rest_go_on(start):
	s = start({"net": {"transactions": 100}}, users=["alice", "bob"])
	bob = s.phone("bob")
	bob.register()
	carl = s.phone("carl", domain="elsewhere.example")
	for i in range(80):
		carl.request("INVITE", "sip:bob@example.org")
	refused = 0
	while (m := carl.next(0.3)) is not None:
		refused += m.status in (500, 503)
	assert refused > 0
	s.phone("alice").register()
	assert s.metric("transactions") <= 100


def test_a_long_call_id_and_many_headers_are_within_limits_or_refused(server):
	p = server.phone("x", domain="elsewhere.example")
	for extra in ([("X-A", "1")] * 200, [("X-A", "y" * 5000)], [("Route", ", ".join(
			["<sip:a;lr>"] * 100))]):
		p.request("OPTIONS", "sip:example.org", extra)
		assert p.next().status in (400, 413, 431, 513)
	p.request("OPTIONS", "sip:example.org", call_id="c" * 1000)
	assert p.next().status in (200, 400)


# ---- datagrams of more than limits.datagram_bytes ----

@pytest.mark.parametrize("method", ["OPTIONS", "INVITE"])
def test_a_request_in_too_long_a_datagram_is_told_so(server_n, method):
	p = server_n.phone("alice")
	m = p.request(method, "sip:example.org", body="x" * 9000)
	r = p.expect(513)
	assert r.reason == "Message Too Large" and r.call_id == m.call_id and r.cseq == m.cseq
	assert [param(v, "branch") for v in r.list("via")] == [m.branch]
	assert param(r.get("via"), "rport") == p.local.rpartition(":")[2]
	assert r.get("from") == m.get("from") and param(r.get("to"), "tag")
	assert len(r.raw) < 1000
	if method == "INVITE":
		p.ack(m, r)
	p.send(m.raw)
	p.expect_again(r)
	good = p.request("OPTIONS", "sip:example.org")
	assert p.expect(200).call_id == good.call_id
	assert server_n.metric("udp_too_long_total") == 2
	assert server_n.metric("messages_refused_total") == 2
	assert server_n.metric("messages_dropped_total") == 0


def too_long_to_be_answered(p):
	"""Name and bytes of each; the cut comes after 8192 bytes."""
	def text(start, method, *vias, body="x" * 9000):
		return build(start, [("Via", v) for v in vias or [p.via()]] + [("Max-Forwards", "70"),
			("From", "<sip:x@x.example>;tag=1"), ("To", "<sip:alice@example.org>;tag=2"),
			("Call-ID", token()), ("CSeq", f"1 {method}")], body)
	request = "OPTIONS sip:example.org SIP/2.0"
	yield "an ACK", text("ACK sip:example.org SIP/2.0", "ACK")
	yield "a 200", text("SIP/2.0 200 OK", "INVITE")
	yield "a 486", text("SIP/2.0 486 Busy Here", "INVITE")
	yield "a Via cut in two", text(request, "OPTIONS", *(p.via() for _ in range(200)))
	yield "one endless Via", text(request, "OPTIONS", p.via() + ";x=" + "y" * 9000)
	yield "one endless line", b"OPTIONS sip:" + b"x" * 9000
	yield "NULs", b"\0" * 9000
	yield "line ends", b"\r\n" * 4500


def test_what_has_no_answer_gets_none_when_it_is_too_long(server_n):
	p = server_n.phone("alice")
	cases = list(too_long_to_be_answered(p))
	for name, data in cases:
		assert len(data) >= 9000, name
		p.send(data)
		good = p.request("OPTIONS", "sip:example.org")
		r = p.next()
		assert r is not None and r.status == 200 and r.call_id == good.call_id, f"{name}: {r!r}"
	assert server_n.metric("udp_too_long_total") == len(cases)
	assert server_n.metric("messages_dropped_total") == len(cases)


def test_a_response_on_a_stream_that_is_too_long_is_not_answered(server):
	p = server.phone("alice", transport="tcp")
	m = build("SIP/2.0 200 OK", [("Via", p.via()), ("From", "<sip:x@x.example>;tag=1"),
		("To", "<sip:example.org>;tag=2"), ("Call-ID", token()), ("CSeq", "1 OPTIONS")], "x" * 70000)
	p.send(m.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
	p.expect_closed()
	p.expect_nothing(0)
	server.phone("alice").register()


def test_crlfs_in_front_of_a_datagram_are_passed_over(server_n):
	p = server_n.phone("alice")
	for before in (b"\r\n", b"\r\n\r\n", b"\r\n" * 20):
		for body, status in (("", 200), ("x" * 9000, 513)):
			m = build("OPTIONS sip:example.org SIP/2.0", [("Via", p.via()), ("Max-Forwards", "70"),
				("From", "<sip:x@x.example>;tag=1"), ("To", "<sip:example.org>"),
				("Call-ID", token()), ("CSeq", "1 OPTIONS")], body)
			p.send(before + m)
			assert p.expect(status).call_id in m.decode()
