"""SIPp's phones: registrations with digest, then calls between them, at a steady rate."""
import socket
import subprocess
import time

import pytest

from eaves import ROOT, free_port, own_address, password_of

XML = ROOT / "tests" / "system" / "sipp"
USERS = 20
RATE = 50
MD5 = {"auth": {"sha256": False}}  # SIPp 3.6 gives up at a challenge of any other


class Sipp:
	"""One SIPp process; its end and its counts."""

	def __init__(self, server, scenario, folder, users, calls, transport="u1", rate=RATE,
			auth_uri=None, address=None, port=None):
		self.folder = folder
		self.address = address or own_address()
		self.port = port or free_port(self.address)
		csv = folder / f"{scenario}-{self.port}.csv"
		csv.write_text("SEQUENTIAL\n" + "".join(
			";".join(u) + "\n" for u in users))
		stem = folder / f"{scenario}-{self.port}"
		family = "6" if ":" in self.address else ""
		host, at = server.where[("udp" if transport == "u1" else "tcp") + family]
		args = ["sipp", f"[{host}]:{at}" if family else f"{host}:{at}",
			"-sf", str(XML / f"{scenario}.xml"), "-inf", str(csv), "-t", transport,
			"-i", self.address, "-p", str(self.port), "-m", str(calls), "-r", str(rate),
			"-nostdin", "-timeout", "60", "-timeout_error", "-trace_err",
			"-error_file", f"{stem}.err", "-trace_stat", "-stf", f"{stem}.stat", "-fd", "1",
			"-key", "domain", server.config["domain"], "-default_behaviors", "all,-bye"]
		if auth_uri:
			args += ["-auth_uri", auth_uri]
		self.stem, self.transport = stem, transport
		self.process = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
			stderr=subprocess.STDOUT, text=True, cwd=folder)

	def listening(self):
		"""Waits until the kernel knows its port."""
		file = "/proc/net/udp" if self.transport == "u1" else "/proc/net/tcp"
		if ":" in self.address:
			file, host = file + "6", "00000000000000000000000001000000"  # ::1
		else:
			host = socket.inet_aton(self.address)[::-1].hex().upper()
		wanted = f" {host}:{self.port:04X} "
		end = time.monotonic() + 10
		while wanted not in open(file).read():
			assert time.monotonic() < end and self.process.poll() is None
		return self

	def done(self):
		try:
			out, _ = self.process.communicate(timeout=90)
		except subprocess.TimeoutExpired:
			self.process.kill()
			raise
		try:
			errors = open(f"{self.stem}.err").read()[-3000:]
		except FileNotFoundError:
			errors = ""
		assert self.process.returncode == 0, f"sipp gave {self.process.returncode}\n" + \
			out[-2000:] + errors
		names, *rows = open(f"{self.stem}.stat").read().splitlines()
		last = dict(zip(names.split(";"), rows[-1].split(";")))
		return int(last["SuccessfulCall(C)"]), int(last["FailedCall(C)"])

	def kill(self):
		self.process.kill()
		self.process.communicate()


def callers():
	return [f"caller{i}" for i in range(USERS)]


def register(server, tmp_path, users, transport, address, port):
	rows = [(u, f"[authentication username={u} password={password_of(u)}]") for u in users]
	s = Sipp(server, "register", tmp_path, rows, len(users), transport, 200,
		server.config["domain"], address, port)
	assert s.done() == (len(users), 0)
	return s


def device(server, tmp_path, transport="u1", address=None):
	"""Registers one device of the callee: its address and port."""
	address = address or own_address()
	port = free_port(address)
	register(server, tmp_path, ["callee"], transport, address, port)
	return address, port


def call(server, tmp_path, scenario, devices, calls, transport="u1", address=None):
	"""Calls of `scenario` to the callee, whose devices are (scenario, (address, port))."""
	phones = []
	rows = [(u, f"[authentication username={u} password={password_of(u)}]", "callee")
		for u in callers()]
	try:
		for what, (host, port) in devices:
			phones.append(Sipp(server, what, tmp_path, [("x",)], calls, transport,
				address=host, port=port).listening())
		caller = Sipp(server, scenario, tmp_path, rows, calls, transport,
			auth_uri="callee@" + server.config["domain"], address=address)
		assert caller.done() == (calls, 0)
		for p in phones:
			assert p.done() == (calls, 0)
	finally:
		for p in phones:
			p.kill()


@pytest.mark.parametrize("transport,seconds", [("u1", 10), ("t1", 5)])
def test_calls_at_a_steady_rate_all_succeed(start, workers, tmp_path, transport, seconds):
	"""The callee has two devices: one answers, the other is busy."""
	s = start(MD5, users=callers() + ["callee"], workers=workers)
	one, two = (device(s, tmp_path, transport) for _ in range(2))
	assert len(s.registrations("callee")) == 2
	calls = RATE * seconds
	call(s, tmp_path, "call", [("answer", one), ("busy", two)], calls, transport)
	m = s.metrics()
	assert not [k for k in m if k.endswith("retransmissions_sent_total") and m[k] > calls / 20]


@pytest.mark.parametrize("transport", ["u1", "t1"])
def test_calls_by_ipv6_all_succeed(start, tmp_path, transport):
	s = start(MD5, users=callers() + ["callee"], listeners=[("udp", "::1"), ("tcp", "::1")])
	one = device(s, tmp_path, transport, "::1")
	call(s, tmp_path, "call", [("answer", one)], 2 * RATE, transport, "::1")


@pytest.mark.parametrize("transport", ["u1", "t1"])
def test_calls_that_are_given_up_all_end(start, workers, tmp_path, transport):
	s = start(MD5, users=callers() + ["callee"], workers=workers)
	one = device(s, tmp_path, transport)
	call(s, tmp_path, "give-up", [("ring", one)], 2 * RATE, transport)
	assert s.metric("proxy_unanswered") == 0


def test_devices_of_before_a_restart_are_called(start, workers, tmp_path):
	s = start(MD5, users=callers() + ["callee"], workers=workers, store="sqlite")
	one = device(s, tmp_path)
	s.restart()
	call(s, tmp_path, "call", [("answer", one)], RATE)


@pytest.mark.parametrize("transport", ["u1", "t1"])
def test_registrations_at_a_steady_rate_all_succeed(start, workers, tmp_path, transport):
	users = [f"u{i}" for i in range(400)]
	s = start(MD5, users=users, workers=workers, store="sqlite")
	address = own_address()
	register(s, tmp_path, users, transport, address, free_port(address))
	assert len(s.registrations()) == len(users)
