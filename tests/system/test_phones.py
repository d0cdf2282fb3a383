"""Phones that people use, as Debian ships them: baresip and linphone, without sound cards.

baresip is steered by its ctrl_tcp module (JSON in netstrings), linphone by linphonecsh.
"""
import collections
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time

import pytest

from eaves import TIMEOUT, free_port, own_address, password_of

MODULES = subprocess.run("find /usr/lib -path '*/baresip/modules' 2>/dev/null | head -n 1", shell=True,
	capture_output=True, text=True).stdout.strip()
# Debian's baresip 1.0 gives up on a challenge that is not MD5's.
MD5 = {"auth": {"sha256": False}}

needs_baresip = pytest.mark.skipif(not shutil.which("baresip"), reason="baresip is not installed")
needs_linphone = pytest.mark.skipif(not shutil.which("linphonecsh"),
	reason="linphone-cli is not installed")

CONFIG = """poll_method epoll
net_interface {address}
audio_player aubridge,nil
audio_source ausine,440
audio_alert aubridge,nil
ausrc_srate 48000
ausrc_channels 2
rtp_stats yes
module_path {modules}
module stdio.so
module ctrl_tcp.so
ctrl_tcp_listen {address}:{control}
module g711.so
module aubridge.so
module ausine.so
module_app account.so
module_app contact.so
module_app menu.so
"""


class Baresip:
	"""One baresip process with one account.  mode: auto picks up by itself, manual does not."""

	def __init__(self, server, folder, user, mode="auto", transport="udp", contact="bob"):
		self.user, self.folder = user, folder
		address, domain = own_address(), server.config["domain"]
		control = free_port(address)
		host, port = server.where[transport]
		folder.mkdir()
		(folder / "config").write_text(CONFIG.format(address=address, modules=MODULES,
			control=control))
		(folder / "accounts").write_text(f"<sip:{user}@{domain};transport={transport}>"
			f";auth_pass={password_of(user)};answermode={mode}"
			f";outbound=\"sip:{host}:{port};transport={transport}\";regint=60\n")
		(folder / "contacts").write_text(f'"{contact}" <sip:{contact}@{domain}>\n')
		self.out = open(folder / "out", "w+")
		self.events, self.data = collections.deque(), b""
		mark = len(server.lines)
		self.process = subprocess.Popen(["baresip", "-f", str(folder)], stdin=subprocess.PIPE,
			stdout=self.out, stderr=subprocess.STDOUT, cwd=folder)
		server.wait_log(rf"event=registered user={user} status=200", since=mark)
		self.control = socket.create_connection((address, control), TIMEOUT)

	def command(self, command, params=""):
		text = json.dumps({"command": command, "params": params, "token": command}).encode()
		self.control.sendall(b"%d:%s," % (len(text), text))
		return self.wait(lambda e: e.get("response") and e.get("token") == command)

	def wait(self, match):
		"""The first event that matches; those before it are done with."""
		end = time.monotonic() + TIMEOUT
		while True:
			while self.events:
				e = self.events.popleft()
				if match(e):
					return e
			left = end - time.monotonic()
			assert left > 0, f"{self.user}: it did not happen\n{self.output()}"
			self.control.settimeout(left)
			try:
				more = self.control.recv(65536)
			except socket.timeout:
				continue
			assert more, f"{self.user} has ended:\n{self.output()}"
			self.data += more
			while m := re.match(rb"(\d+):", self.data):
				start, n = m.end(), int(m.group(1))
				if len(self.data) < start + n + 1:
					break
				self.events.append(json.loads(self.data[start:start + n]))
				self.data = self.data[start + n + 1:]

	def event(self, *kinds):
		"""The events of these types, in whatever order they come; the last one."""
		left = set(kinds)
		while left:
			e = self.wait(lambda e: e.get("type") in left)
			left.discard(e["type"])
		return e

	def output(self):
		return (self.folder / "out").read_text(errors="replace")

	def wait_output(self, pattern, timeout=TIMEOUT):
		end = time.monotonic() + timeout
		while not (m := re.search(pattern, self.output())):
			assert time.monotonic() < end, f"{self.user} did not say {pattern!r}:\n{self.output()}"
			time.sleep(0.01)  # its output is a file
		return m

	def packets(self):
		"""(sent, received) of the call that has ended."""
		m = self.wait_output(r"packets:\s+(\d+)\s+(\d+)")
		return int(m.group(1)), int(m.group(2))

	def quit(self):
		if self.process.poll() is None:
			self.process.send_signal(signal.SIGTERM)
			self.process.wait(2 * TIMEOUT)

	def close(self):
		if self.process.poll() is None:
			self.process.kill()
			self.process.wait()
		self.control.close()
		self.out.close()


@pytest.fixture
def baresip(start, tmp_path):
	"""baresip(server, user, ...) gives a registered phone."""
	phones = []

	def run(server, user, **kw):
		p = Baresip(server, tmp_path / f"{user}{len(phones)}", user, **kw)
		phones.append(p)
		return p
	yield run
	for p in phones:
		p.close()


def with_md5(start, **kw):
	return start(MD5, users=("alice", "bob"), **kw)


@needs_baresip
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_two_baresips_register_talk_and_hang_up(start, baresip, workers, transport):
	server = with_md5(start, workers=workers)
	alice = baresip(server, "alice", transport=transport)
	bob = baresip(server, "bob", transport=transport)
	assert len(server.registrations()) == 2
	alice.command("dial", "sip:bob@example.org")
	for phone in (alice, bob):
		phone.event("CALL_ESTABLISHED", "CALL_RTPESTAB")
	alice.command("hangup")
	bob.event("CALL_CLOSED")
	for phone in (alice, bob):
		sent, received = phone.packets()
		assert sent > 0 and received > 0


@needs_baresip
def test_callee_hangs_up(start, baresip):
	server = with_md5(start)
	alice, bob = baresip(server, "alice"), baresip(server, "bob")
	alice.command("dial", "sip:bob@example.org")
	alice.event("CALL_ESTABLISHED")
	bob.event("CALL_ESTABLISHED")
	bob.command("hangup")
	alice.event("CALL_CLOSED")


@needs_baresip
def test_caller_gives_up_while_it_rings(start, baresip):
	server = with_md5(start)
	alice, bob = baresip(server, "alice"), baresip(server, "bob", mode="manual")
	alice.command("dial", "sip:bob@example.org")
	alice.event("CALL_RINGING")
	bob.event("CALL_INCOMING")
	alice.command("hangup")
	bob.event("CALL_CLOSED")


@needs_baresip
def test_second_phone_of_bob_stops_ringing_when_the_first_is_picked_up(start, baresip):
	server = with_md5(start)
	alice = baresip(server, "alice")
	first, second = baresip(server, "bob", mode="manual"), baresip(server, "bob", mode="manual")
	alice.command("dial", "sip:bob@example.org")
	first.event("CALL_INCOMING")
	second.event("CALL_INCOMING")
	first.command("accept")
	alice.event("CALL_ESTABLISHED")
	first.event("CALL_ESTABLISHED")
	second.event("CALL_CLOSED")


@needs_baresip
def test_message_is_shown_by_the_other_phone(start, baresip):
	server = with_md5(start)
	alice, bob = baresip(server, "alice"), baresip(server, "bob")
	alice.command("contact_next")
	alice.command("message", "are you there?")
	bob.wait_output(r'alice@example\.org.*"are you there\?"')


@needs_baresip
def test_phone_that_is_switched_off_is_unregistered(start, baresip):
	server = with_md5(start)
	alice, bob = baresip(server, "alice"), baresip(server, "bob")
	bob.quit()
	assert server.registrations("bob") == []
	alice.command("dial", "sip:bob@example.org")
	assert "480" in alice.event("CALL_CLOSED")["param"]


@needs_baresip
def test_phones_call_after_a_restart_without_registering_again(start, baresip):
	server = with_md5(start, store="sqlite")
	alice, bob = baresip(server, "alice"), baresip(server, "bob")
	server.restart()
	server.wait_log_count("event=registered", 2)
	alice.command("dial", "sip:bob@example.org")
	alice.event("CALL_ESTABLISHED")
	bob.event("CALL_RTPESTAB")


class Linphone:
	"""The one linphonec daemon of this user, with a home of its own."""

	def __init__(self, folder):
		self.folder = folder
		(folder / ".local/share/linphone").mkdir(parents=True)
		(folder / "rc").write_text("[sip]\nsip_port=-1\nsip_tcp_port=0\nsip_tls_port=0\n")
		self.run("init", "-c", str(folder / "rc"))
		self.wait("help", "generic", "help")
		self.run("generic", "soundcard use files")

	def run(self, *words):
		return subprocess.run(["linphonecsh", *words], capture_output=True, text=True,
			stdin=subprocess.DEVNULL, timeout=4 * TIMEOUT,
			env=dict(os.environ, HOME=str(self.folder))).stdout

	def wait(self, text, *words):
		"""It tells nobody what happens: it is asked until it says so."""
		end = time.monotonic() + 2 * TIMEOUT
		while text not in (said := self.run(*words)):
			assert time.monotonic() < end, f"linphone does not say {text!r}: {said}"
			time.sleep(0.05)

	def close(self):
		"""It is a daemon, and not our child: its own command line tells it from others."""
		self.run("exit")
		mine = str(self.folder / "rc").encode()
		for pid in filter(str.isdigit, os.listdir("/proc")):
			try:
				with open(f"/proc/{pid}/cmdline", "rb") as f:
					if mine in f.read().split(b"\0"):
						os.kill(int(pid), signal.SIGKILL)
			except OSError:
				pass


@pytest.fixture
def linphone(tmp_path):
	if subprocess.run(["linphonecsh", "generic", "help"], capture_output=True,
			stdin=subprocess.DEVNULL).returncode == 0:
		pytest.skip("a linphonec of this user runs already")
	p = Linphone(tmp_path / "linphone")
	yield p
	p.close()


@needs_linphone
@needs_baresip
def test_linphone_registers_with_sha256_and_calls(start, linphone):
	address = own_address()
	server = start({"domain": address}, users=("alice", "bob"), address=address)
	bob = server.phone("bob")
	bob.register()
	linphone.run("register", "--host", f"{address}:{server.port}", "--username", "alice",
		"--password", password_of("alice"))
	server.wait_log("event=registered user=alice status=200")
	linphone.wait("registered, identity", "status", "register")
	linphone.run("dial", f"sip:bob@{address}:{server.port}")
	invite = bob.expect("INVITE")
	assert f"sip:alice@{address}" in invite.get("p-asserted-identity")
	bob.reply(invite, 180)
	bob.reply(invite, 200)
	bob.expect("ACK")
	linphone.run("generic", "terminate")
	bob.reply(bob.expect("BYE"), 200)
