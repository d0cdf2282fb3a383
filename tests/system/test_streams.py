"""TCP: framing, keep-alives, deadlines and caps; calls between transports and IP versions."""
import socket

import pytest

from phone import hang_up, talk
from sip import build, token


def options(phone, n=1):
	"""Text of OPTIONS to the server itself."""
	return b"".join(build("OPTIONS sip:example.org SIP/2.0", [("Via", phone.via()),
		("Max-Forwards", "70"), ("From", "<sip:x@x.example>;tag=1"),
		("To", "<sip:example.org>"), ("Call-ID", token()), ("CSeq", "1 OPTIONS")])
		for _ in range(n))


def nodelay(phone):
	phone.stream.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
	return phone


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_options_to_the_server_are_answered(server_n, transport):
	p = server_n.phone("x", transport=transport)
	p.send(options(p))
	r = p.expect(200)
	assert "REGISTER" in r.get("allow") and r.get("supported")


def test_one_byte_a_write_is_one_message(server_n):
	p = nodelay(server_n.phone("x", transport="tcp"))
	for byte in options(p):
		p.send(bytes([byte]))
	p.expect(200)
	p.expect_nothing(0.05)


def test_a_message_cut_anywhere_is_one_message(server):
	p = nodelay(server.phone("x", transport="tcp"))
	n = len(options(p))
	for at in range(1, n, 3):
		data = options(p)
		p.send(data[:at])
		p.send(data[at:])
		p.expect(200)


def test_many_messages_in_one_write_are_all_answered(server_n):
	p = server_n.phone("x", transport="tcp")
	p.send(options(p, 50))
	assert len({p.expect(200).call_id for _ in range(50)}) == 50


def test_a_body_is_counted_in_bytes_across_writes(server):
	alice, bob = server.phone("alice", transport="tcp"), server.phone("bob", transport="tcp")
	for p in (alice, bob):
		p.register()
	body = "\u00e4\r\n\r\nINVITE sip:x SIP/2.0\r\n" * 100
	m = alice.request("MESSAGE", "sip:bob@example.org", body=body)
	alice.again(m, alice.expect(407))
	got = bob.expect("MESSAGE")
	assert got.body == body
	bob.reply(got, 200)
	alice.expect(200)


def test_crlf_keep_alives_are_answered_on_streams_and_ignored_by_udp(server_n):
	p = server_n.phone("x", transport="tcp")
	p.send(b"\r\n\r\n")
	p.expect_nothing(0.1)
	assert p.pongs == 1
	p.send(b"\r\n\r\n" + options(p) + b"\r\n\r\n")
	p.expect(200)
	p.expect_nothing(0.1)
	assert p.pongs == 3
	u = server_n.phone("x")
	u.send(b"\r\n\r\n")
	u.send(b"\0")
	u.send(options(u))
	u.expect(200)


def test_a_slow_sender_is_closed_and_others_are_not(start):
	s = start({"net": {"message_ms": 200}}, users=["alice"])
	slow, fine = s.phone("x", transport="tcp"), s.phone("alice", transport="tcp")
	slow.send(options(slow)[:40])
	slow.expect_closed(3)
	fine.register()
	assert s.metric("connections_closed_slow_total") == 1


def test_a_drip_does_not_stretch_the_deadline(start):
	s = start({"net": {"message_ms": 300}})
	slow = nodelay(s.phone("x", transport="tcp"))
	data = options(slow)
	with pytest.raises(OSError):
		for byte in data:
			slow.send(bytes([byte]))
			slow._poll(0.02)
			if slow.stream.ended:
				raise ConnectionError
	assert s.metric("connections_closed_slow_total") == 1


def test_an_idle_connection_is_closed(start):
	s = start({"net": {"idle_s": 5}})
	idle, busy = s.phone("x", transport="tcp"), s.phone("y", transport="tcp")
	busy.send(b"\r\n\r\n")
	busy.expect_nothing(3)
	busy.send(options(busy))
	busy.expect(200)
	idle.expect_closed(4)
	assert busy.is_open()
	assert s.metric("connections_closed_idle_total") == 1


def test_connections_of_one_source_are_capped(start):
	s = start({"net": {"connections_per_source": 4}}, workers=1)  # the cap is a worker's
	ours = [s.phone("x", transport="tcp", source="127.9.9.9") for _ in range(4)]
	for p in ours:
		p.send(options(p))
		p.expect(200)
	extra = s.phone("x", transport="tcp", source="127.9.9.9")
	extra.expect_closed()
	other = s.phone("y", transport="tcp")
	other.send(options(other))
	other.expect(200)
	assert all(p.is_open() for p in ours)
	ours[0].stream.sock.close()
	ours[0].streams.clear()
	s.metrics()
	again = s.phone("x", transport="tcp", source="127.9.9.9")
	again.send(options(again))
	again.expect(200)


def test_connections_in_all_are_capped(start):
	s = start({"net": {"connections": 16}}, workers=1)
	phones = [s.phone("x", transport="tcp") for _ in range(16)]
	for p in phones:
		p.send(options(p))
		p.expect(200)
	s.phone("x", transport="tcp").expect_closed()
	assert s.metric("connections_refused_full_total") == 1
	assert all(p.is_open() for p in phones)


@pytest.mark.parametrize("data", [
	b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
	b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 64 + b"\r\n\r\n",
	b"OPTIONS sip:example.org SIP/2.0\r\nContent-Length: 5abc\r\n\r\n",
	b"OPTIONS sip:example.org SIP/2.0\r\nContent-Length: -1\r\n\r\n",
	b"OPTIONS sip:example.org SIP/2.0\r\nContent-Length: 4294967301\r\n\r\n",
	b"A" * 70000])
def test_a_stream_that_lost_its_frame_is_closed_and_others_are_not(server, data):
	alice, broken = server.phone("alice", transport="tcp"), server.phone("x", transport="tcp")
	alice.register()
	try:
		broken.send(data)
	except OSError:
		pass
	broken.expect_closed()
	alice.register()


def test_a_message_beyond_the_limit_is_refused(start):
	s = start({"limits": {"stream_bytes": 4096}}, users=["alice"])
	p = s.phone("alice", transport="tcp")
	p.request("MESSAGE", "sip:bob@example.org", body="x" * 5000)
	assert p.next().status in (413, 513)
	p.expect_closed()


# ---- between transports ----

@pytest.mark.parametrize("caller,callee", [("tcp", "tcp"), ("udp", "tcp"), ("tcp", "udp")])
def test_a_call_between_transports(server_n, caller, callee):
	alice = server_n.phone("alice", transport=caller)
	bob = server_n.phone("bob", transport=callee)
	alice.register()
	bob.register()
	a, b = talk(alice, bob)
	assert len(a.routes) == 2  # RFC 5658, or a flow token (RFC 5626)
	for d, transport in ((a, caller), (b, callee)):
		assert ("transport=tcp" in d.routes[0]) == (transport == "tcp")
	for x, y in ((a, b), (b, a)):
		x.request("INFO")
		y.phone.reply(y.phone.expect("INFO"), 200)
		x.phone.expect(200)
	hang_up(b, a)


def test_a_connection_that_a_phone_registered_by_is_used_for_its_calls(server):
	alice, bob = server.phone("alice"), server.phone("bob", transport="tcp")
	bob.register(contact="<sip:bob@192.0.2.1:5060;transport=tcp>")
	m = alice.invite("bob")
	got = bob.expect("INVITE")
	assert got.uri.startswith("sip:bob@192.0.2.1")
	bob.reply(got, 486)
	alice.expect(486)


def test_an_answer_finds_another_connection_when_its_own_is_gone(server):
	"""RFC 3261 18.2.2: to the sent-by of the Via when the connection is closed."""
	alice = server.phone("alice", transport="tcp", listen=True)
	bob = server.phone("bob")
	bob.register()
	alice.invite("bob")
	got = bob.expect("INVITE")
	bob.reply(got, 180)
	alice.expect(180)
	alice.stream.sock.close()
	alice.streams.clear()
	server.wait_metric("connections", 0)
	bob.reply(got, 486)
	alice.expect(486)


# ---- IPv6 ----

@pytest.fixture
def dual(start, workers):
	return start(users=["alice", "bob"], workers=workers, listeners=[("udp",), ("tcp",),
		("udp", "::1"), ("tcp", "::1")])


@pytest.mark.parametrize("transport", ["udp6", "tcp6"])
def test_a_call_by_ipv6(dual, transport):
	alice, bob = (dual.phone(u, transport=transport) for u in ("alice", "bob"))
	alice.register()
	bob.register()
	a, b = talk(alice, bob)
	assert "[::1]" in a.routes[0] and "[::1]" in b.routes[0]
	hang_up(a, b)


def test_a_call_between_ipv4_and_ipv6(dual):
	alice, bob = dual.phone("alice"), dual.phone("bob", transport="udp6")
	alice.register()
	bob.register()
	a, b = talk(alice, bob)
	assert dual.address in a.routes[0] and "[::1]" in b.routes[0]
	hang_up(a, b)
	a, b = talk(bob, alice)
	hang_up(b, a)
