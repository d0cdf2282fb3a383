"""Every vector of tests/vectors (RFC 4475, RFC 5118, what libosip2 lets through) against the real
server, by UDP and by TCP; where ../shared has them, the RFCs' own bytes too.  What the table says
must come, and after each of them the server answers a good request at once.
"""
import os
import pathlib
import re
import socket
import subprocess

import pytest

from eaves import BIN, ROOT, Server, own_address
from phone import Phone, hang_up, talk

RFC_BYTES = ROOT.parent / "shared"
DOMAIN = "elm.test"  # the vectors'; that of the RFCs is its alias
MESSAGE_MS = 300
SERVER_FAULTS = (400, 500, 505, 513)


class Vector:
	def __init__(self, name, section, transport, outcome, status, element, data):
		self.name, self.section, self.transport = name, section, transport
		self.outcome, self.status, self.element = outcome, int(status), int(element)
		self.data = bytes.fromhex(data)

	@property
	def start(self):
		return self.data.lstrip(b"\r\n").split(b"\r\n")[0]

	@property
	def answerable(self):
		"""A request that gets an answer when nothing is wrong with it."""
		return not self.start.startswith((b"SIP/", b"ACK "))

	@property
	def via_port(self):
		"""Where the answer to it goes (RFC 3261 18.2.2), as far as its Via can be read."""
		m = re.search(rb"^(?:via|v)[ \t]*:[^,;]*?:(\d+)\s*[;,\r]", self.data, re.I | re.M)
		port = int(m.group(1)) if m else 5060
		return port if 0 < port < 65536 else 5060

	@property
	def has_length(self):
		return bool(re.search(rb"^(?:content-length|l)[ \t]*:", self.data, re.I | re.M))

	@property
	def is_whole(self):
		"""Does a stream that ends with it hold all of it?"""
		head, found, body = self.data.partition(b"\r\n\r\n")
		m = re.search(rb"\n(?:content-length|l)[ \t]*:\s*([0-9]+)\s*\r", head + b"\r", re.I)
		return bool(found) and (not m or len(body) >= int(m.group(1)) or int(m.group(1)) > 60000)

	def with_bytes(self, data):
		return Vector(self.name, self.section, self.transport, self.outcome, self.status,
			self.element, data.hex())


def vectors():
	dump = BIN / "tests" / "vectors-dump"
	flavour = pathlib.Path(os.environ.get("EAVES_BIN", "build/release")).name
	subprocess.run(["make", "-s", "-C", str(ROOT), f"FLAVOUR={flavour}", str(dump.relative_to(ROOT))],
		check=True, capture_output=True)
	out = subprocess.run([str(dump)], check=True, capture_output=True, text=True).stdout
	return [Vector(*line.split("\t")) for line in out.splitlines()]


def rfc_vectors(table):
	"""The same rows with the bytes that the RFC's authors wrote."""
	out = []
	for v in table:
		for folder in ("rfc4475", "rfc5118"):
			path = RFC_BYTES / folder / f"{v.name}.dat"
			if v.section.startswith(folder[3:]) and path.exists():
				out.append(v.with_bytes(path.read_bytes()))
	return out


ALL = vectors()
RFC = rfc_vectors(ALL)


@pytest.fixture(scope="module")
def server():
	s = Server({"domain": DOMAIN, "aliases": ["example.com"], "net": {"message_ms": MESSAGE_MS}},
		users=("alice", "bob"))
	yield s
	print(s.tail(200))
	s.close()


def good_options(phone):
	"""What must be answered whatever came before."""
	return phone.request("OPTIONS", f"sip:{phone.domain}")


def check_answer(v, m):
	assert m.status is not None, f"a request came back:\n{m!r}"
	if v.outcome == "refuse":
		assert m.status == v.status, repr(m)
		assert m.reason not in ("", "Bad Request"), "the reason does not name the fault"
	elif v.element:
		assert m.status == v.element, repr(m)
	else:
		assert m.status >= 200 and m.status not in SERVER_FAULTS, repr(m)


def by_udp(server, v):
	dropped = server.metric("messages_dropped_total")
	phone = Phone("tester", server.where["udp"], source=own_address(), port=v.via_port,
		domain=DOMAIN)
	try:
		phone.send(v.data)
		fence = good_options(phone)
		m = phone.next()
		if v.answerable and v.outcome != "drop":
			assert m is not None, "no answer"
			check_answer(v, m)
			m = phone.wait_for(lambda x: x.call_id == fence.call_id)
		assert m.call_id == fence.call_id, f"should not be answered:\n{m!r}"
		assert m.status == 200, repr(m)
	finally:
		phone.close()
	if v.outcome == "drop":
		assert server.metric("messages_dropped_total") == dropped + 1, "not counted"


def by_tcp(server, v):
	phone = Phone("tester", server.where["tcp"], "tcp", source=own_address(), domain=DOMAIN)
	try:
		phone.send(v.data)
		if not v.is_whole:
			phone.next(0.01)
			phone.expect_closed()
		elif v.answerable and v.outcome != "drop":
			m = phone.next()
			assert m is not None, "no answer"
			if v.has_length:
				check_answer(v, m)
			else:
				assert m.status == 400, repr(m)
				phone.expect_closed()
	finally:
		phone.close()
	other = Phone("other", server.where["tcp"], "tcp", source=own_address(), domain=DOMAIN)
	try:
		good_options(other)
		other.expect(200)
	finally:
		other.close()


@pytest.mark.parametrize("v", ALL, ids=lambda v: v.name)
def test_vector_by_udp_has_its_outcome(server, v):
	by_udp(server, v)


@pytest.mark.parametrize("v", ALL, ids=lambda v: v.name)
def test_vector_by_tcp_has_its_outcome(server, v):
	by_tcp(server, v)


@pytest.mark.skipif(not RFC, reason="the RFCs' own bytes are not there")
@pytest.mark.parametrize("v", RFC, ids=lambda v: v.name)
def test_bytes_of_the_rfc_have_the_same_outcome(server, v):
	(by_tcp if v.transport == "TCP" else by_udp)(server, v)


def test_call_works_after_all_of_them(server):
	alice, bob = server.phone("alice"), server.phone("bob")
	alice.register()
	bob.register()
	hang_up(*talk(alice, bob))


def test_the_server_is_well_and_said_nothing_loud(server):
	assert server.get("/healthz")[0] == 200
	assert server.log_count(r"level=(error|warn)") == 0
