"""Hostile load: whoever is served stays served, memory stays bounded and comes back.

Each attack runs in processes of its own (hostile.py) beside a call and a stream of OPTIONS whose
answers are timed.  Limits are wide: they must hold on two busy cores, and tell a server that
stands still, starves or grows from one that does not.
"""
import json
import pathlib
import resource
import subprocess
import sys
import threading
import time

import pytest

from certs import Authority
from phone import hang_up, talk
from sip import token

HERE = pathlib.Path(__file__).parent
P99_S = 0.15  # of OPTIONS under attack
MIB = 1 << 20


class Prober:
	"""OPTIONS every 10 ms over a socket of its own; how long each answer took."""

	def __init__(self, server):
		self.phone = server.phone("prober")
		self.stop, self.times, self.sent = threading.Event(), [], {}
		self.thread = threading.Thread(target=self._run, daemon=True)
		self.thread.start()

	def _run(self):
		n, due = 0, time.monotonic()
		while not self.stop.is_set():
			if time.monotonic() >= due:
				call_id = f"{n}-{token()}"
				self.sent[call_id] = time.monotonic()
				self.phone.request("OPTIONS", "sip:example.org", call_id=call_id)
				n, due = n + 1, time.monotonic() + 0.01
			self._take(max(0.0, due - time.monotonic()))
		end = time.monotonic() + 1
		while self.sent and time.monotonic() < end:
			self._take(0.1)

	def _take(self, wait):
		m = self.phone.next(wait)
		if m is not None and m.call_id in self.sent:
			self.times.append(time.monotonic() - self.sent.pop(m.call_id))

	def end(self):
		"""(p99 in seconds, share that got no answer)"""
		self.stop.set()
		self.thread.join()
		t = sorted(self.times)
		return t[len(t) * 99 // 100], len(self.sent) / (len(t) + len(self.sent))


class Attack:
	def __init__(self, kind, where, count, seconds):
		self.process = subprocess.Popen([sys.executable, str(HERE / "hostile.py"), kind, where[0],
			str(where[1]), str(count), str(seconds)], stdin=subprocess.PIPE,
			stdout=subprocess.PIPE, text=True)

	def wait_ready(self):
		assert self.process.stdout.readline() == "ready\n"

	def end(self):
		self.process.stdin.close()
		return self.wait()

	def wait(self):
		out = json.loads(self.process.stdout.read())
		self.process.wait(30)
		return out

	def kill(self):
		if self.process.poll() is None:
			self.process.kill()
			self.process.wait()


def status_of(server, key):
	for line in pathlib.Path(f"/proc/{server.process.pid}/status").read_text().splitlines():
		if line.startswith(key + ":"):
			return int(line.split()[1]) * 1024
	raise KeyError(key)


def cpu_s(server):
	f = pathlib.Path(f"/proc/{server.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
	return (int(f[11]) + int(f[12])) / 100


def wait_until(what, seconds=10):
	end = time.monotonic() + seconds
	while not what():
		assert time.monotonic() < end, "it did not come to be"
		time.sleep(0.01)


class Siege:
	"""A server with a call in progress and a prober; attacks are ended with it."""

	def __init__(self, server):
		self.server, self.attacks = server, []
		alice, bob = server.phone("alice"), server.phone("bob")
		alice.register()
		bob.register()
		self.call = talk(alice, bob)
		self.rss = status_of(server, "VmRSS")
		self.prober = Prober(server)

	def attack(self, kind, count, seconds, transport):
		a = Attack(kind, self.server.where[transport], count, seconds)
		self.attacks.append(a)
		return a

	def held(self, lost=0.0, p99=P99_S):
		"""The service during the attack: answers, the call's end, another call."""
		a, b = self.call
		hang_up(a, b)
		hang_up(*reversed(talk(b.phone, a.phone)))
		enough = len(self.prober.times) + 100
		wait_until(lambda: len(self.prober.times) >= enough)
		took, missing = self.prober.end()
		print(f"p99 {took * 1000:.1f} ms, {missing:.2%} unanswered, "
			f"RSS {self.rss / MIB:.0f} -> {status_of(self.server, 'VmRSS') / MIB:.0f} MiB")
		assert took < p99 and missing <= lost

	def grown(self):
		return status_of(self.server, "VmRSS") - self.rss


@pytest.fixture
def besieged(start, tmp_path):
	sieges = []

	def run(config=None, **kw):
		ca = Authority(tmp_path)
		base = {"tls": {"certificates": [ca.entry("example.org")]}}
		base.update(config or {})
		kw.setdefault("workers", 2)
		s = start(base, ["alice", "bob", "prober"],
			listeners=[("udp",), ("tcp",), ("tls", None, {})], **kw)
		sieges.append(Siege(s))
		return sieges[-1]
	yield run
	for s in sieges:
		for a in s.attacks:
			a.kill()


# ---- connections ----

def test_idle_connections_by_the_thousand_disturb_nobody(besieged):
	siege = besieged({"net": {"connections": 20000}})
	n = min(20000, resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 1000)
	attacks = [siege.attack("idle", n // 4, 60, "tcp") for _ in range(4)]
	for a in attacks:
		a.wait_ready()
	wait_until(lambda: siege.server.metric("connections") == n // 4 * 4)
	siege.held()
	assert siege.grown() < n * 4096 + 32 * MIB
	for a in attacks:
		assert a.end() == {"connected": n // 4, "closed": 0}
	wait_until(lambda: siege.server.metric("connections") == 0)


def test_more_connections_than_descriptors_are_refused_and_the_rest_is_served(besieged):
	siege = besieged({"net": {"connections": 1000, "message_ms": 1000}})
	attacks = [siege.attack("idle", 2000, 60, "tcp") for _ in range(2)]
	for a in attacks:
		a.wait_ready()
	wait_until(lambda: siege.server.metric("connections_refused_full_total")
		+ siege.server.metric("connections_closed_idle_total") >= 2000)
	assert siege.server.metric("connections") <= 2000
	siege.held()
	# Who has not said anything for long gives way to a newcomer.
	late = siege.server.phone("prober", transport="tcp")
	late.register()


def test_one_address_gets_its_share_of_connections(besieged):
	siege = besieged({"net": {"connections_per_source": 20}}, workers=1)
	a = siege.attack("idle", 150, 60, "tcp")
	a.wait_ready()
	wait_until(lambda: siege.server.metric("connections_refused_source_total") == 130)
	assert siege.server.metric("connections") == 20
	siege.held()


def test_slow_senders_are_closed(besieged):
	siege = besieged({"net": {"message_ms": 2000}})
	a = siege.attack("slow", 2000, 30, "tcp")
	a.wait_ready()
	siege.held()
	wait_until(lambda: siege.server.metric("connections_closed_slow_total") == 2000)
	assert a.end() == {"connected": 2000, "closed": 2000}


def test_handshakes_that_are_never_finished_are_closed(besieged):
	siege = besieged({"net": {"handshake_ms": 1000}})
	a = siege.attack("half_tls", 1500, 30, "tls")
	a.wait_ready()
	siege.held()
	wait_until(lambda: siege.server.metric("tls_handshakes_failed_total") >= 1500)
	wait_until(lambda: siege.server.metric("connections") == 0)
	assert a.end()["closed"] == 1500
	assert siege.grown() < 128 * MIB


def test_half_closed_connections_do_not_stay(besieged):
	siege = besieged()
	a = siege.attack("half_closed", 1000, 30, "tcp")
	a.wait_ready()
	siege.held()
	wait_until(lambda: siege.server.metric("connections") == 0)
	assert a.end()["closed"] == 1000


# ---- datagrams ----

@pytest.mark.parametrize("kind,count", [("garbage", 60000), ("oversize", 3000)])
def test_a_flood_of_bad_datagrams_disturbs_nobody(besieged, kind, count):
	siege = besieged()
	attacks = [siege.attack(kind, count // 2, 3, "udp") for _ in range(2)]
	for a in attacks:
		a.wait_ready()
	for a in attacks:
		assert a.wait()["sent"] == count // 2
	siege.held(lost=0.01)
	assert siege.grown() < 32 * MIB


def test_a_hundred_thousand_wrong_passwords_lock_and_do_not_grow(besieged):
	siege = besieged()
	attacks = [siege.attack("guess", 50000, 12, "udp") for _ in range(2)]
	for a in attacks:
		a.wait_ready()
	saw = [a.wait() for a in attacks]
	assert sum(x["sent"] for x in saw) == 100000
	assert siege.server.metric("auth_locks_total") >= 1000
	assert siege.server.metric("auth_locked_total") > siege.server.metric("auth_failures_total")
	siege.held(lost=0.01)
	assert siege.grown() < 64 * MIB


# ---- content ----

def poison():
	"""Requests that are costly or wrong in one way; what they are called."""
	def request(*lines, body=""):
		return "\r\n".join(["OPTIONS sip:example.org SIP/2.0",
			f"Via: SIP/2.0/TCP h;branch=z9hG4bK{token()}", "Max-Forwards: 70",
			"From: <sip:a@example.org>;tag=1", "To: <sip:example.org>", f"Call-ID: {token()}",
			"CSeq: 1 OPTIONS", *lines, f"Content-Length: {len(body)}", "", body])
	yield "64 KB of parameters", request("Contact: <sip:a@h>" + ";a" * 30000)
	yield "2 KB of parameters", request("Contact: <sip:a@h>" + ";a" * 900)
	yield "parameters of a URI", request("Contact: <sip:a@h" + ";a" * 900 + ">")
	yield "128 headers", request(*[f"X-{n}: a" for n in range(128)])
	yield "a header over 2 KB", request("Subject: " + "s" * 2100)
	yield "commas", request("Contact: " + ",".join(["<sip:a@h>"] * 100))
	yield "commas without values", request("Contact: " + "," * 1900)
	yield "a hundred Vias", request(*["Via: SIP/2.0/TCP h;branch=z9hG4bKx"] * 88)
	yield "quotes that do not close", request('Contact: "' + "\\\"" * 900)
	yield "nested angles", request("Contact: " + "<" * 1000)
	yield "folds", request("Subject: a" + "\r\n " * 900)
	yield "a long method", "A" * 2000 + request()[7:]
	yield "a long URI", "OPTIONS sip:" + "a" * 60000 + request()[19:]
	yield "no end of headers", "OPTIONS sip:example.org SIP/2.0\r\n" + "X: a\r\n" * 12000
	yield "a body of 4 GB", request().replace("Content-Length: 0", "Content-Length: 4294967295")


def test_poisoned_messages_cost_nothing_and_close_at_most_their_connection(besieged):
	siege = besieged()
	server = siege.server
	wait_until(lambda: len(siege.prober.times) > 20)
	for name, text in poison():
		print(name)
		before = cpu_s(server)
		began = time.monotonic()
		for _ in range(10):
			p = server.phone("prober", transport="tcp")
			p.send(text)
			wait_until(lambda: p.is_open() is False or p.inbox, 2)
			m = p.next(0)
			assert m is None or m.status in (200, 400, 413, 414, 501, 503, 513), f"{name}: {m!r}"
			p.close()
		used = cpu_s(server) - before - 0.05 * (time.monotonic() - began)
		assert used < 0.5, f"{name}: {used} s of CPU"
	siege.held()
	assert siege.grown() < 32 * MIB


# ---- loops ----

@pytest.mark.parametrize("contacts", [1, 2, 10])
def test_two_servers_that_point_at_each_other_end_it(start, contacts):
	"""RFC 5393: what one request may become is bounded by the loop check and Max-Breadth."""
	trusted = [(t, None, {"policy": "trusted"}) for t in ("udp", "tcp")]
	servers = [start(users=["alice"], listeners=trusted, workers=2) for _ in range(2)]
	for here, there in (servers, servers[::-1]):
		phone = here.phone("alice", transport="tcp")
		host, port = there.where["udp"]
		for n in range(contacts):
			phone.register(contact=f"<sip:alice@{host}:{port};x={n}>", call_id=token())
		phone.close()  # or its connection would be used, not the contact
		wait_until(lambda: here.metric("connections") == 0)
	caller = servers[0].phone("alice")
	caller.request("INVITE", "sip:alice@example.org")
	final = caller.wait_for(lambda m: m.status >= 200)
	assert final.status in (440, 482, 483)
	sent = sum(s.metric("requests_forwarded_total") for s in servers)
	print(f"{contacts} contacts: {final.status} after {sent:.0f} requests")
	assert sent < 400
	for s in servers:
		p = s.phone("alice")
		p.request("OPTIONS", "sip:example.org")
		p.expect(200)
