"""What the README tells a newcomer to type, typed as it stands: the two commands and a first call.

It runs in a folder that looks like the tree and has a run/ of its own; only the ports differ.
"""
import os
import pty
import re
import select
import shutil
import signal
import socket
import subprocess
import time
import urllib.request

import pytest

from eaves import BIN, ROOT, TIMEOUT, free_port
from test_phones import needs_baresip

pytestmark = pytest.mark.skipif(BIN.name != "release", reason="the README builds a release")
README = (ROOT / "README.md").read_text()


def blocks():
	"""The indented blocks: lists of (command, comment)."""
	out = []
	for block in re.findall(r"(?:^    \S.*\n)+", README, re.M):
		lines = [re.split(r"\s+# ", x.strip(), maxsplit=1) for x in block.splitlines()]
		out.append([(x[0], x[1] if len(x) > 1 else "") for x in lines])
	return out


class Terminal:
	"""A command at a terminal."""

	def __init__(self, command, cwd, env):
		self.said = ""
		self.pid, self.fd = pty.fork()
		if self.pid == 0:
			# Ignored in what a script has put into the background.
			for s in (signal.SIGINT, signal.SIGQUIT):
				signal.signal(s, signal.SIG_DFL)
			os.chdir(cwd)
			os.execve("/bin/bash", ["bash", "-c", "exec " + command], env)

	def read(self, wait):
		if not select.select([self.fd], [], [], wait)[0]:
			return True
		try:
			data = os.read(self.fd, 65536)
		except OSError:
			return False
		self.said += data.decode(errors="replace")
		return bool(data)

	def wait_for(self, pattern, timeout=2 * TIMEOUT):
		end = time.monotonic() + timeout
		while not (m := re.search(pattern, self.said)):
			assert time.monotonic() < end and self.read(0.1), \
				f"{pattern!r} was not said:\n{self.said}"
		return m

	def type(self, keys):
		os.write(self.fd, keys.encode())

	def end(self, timeout=2 * TIMEOUT):
		"""Its status, as a shell gives it."""
		stop = time.monotonic() + timeout
		while self.read(0.1):
			assert time.monotonic() < stop, f"does not end:\n{self.said}"
		status = os.waitpid(self.pid, 0)[1]
		os.close(self.fd)
		self.pid = 0
		return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)

	def close(self):
		if self.pid:
			os.kill(self.pid, signal.SIGKILL)
			os.waitpid(self.pid, 0)
			os.close(self.fd)


@pytest.fixture
def tree(tmp_path):
	"""The tree by links, without run/."""
	for f in ROOT.iterdir():
		if f.name not in ("run", ".git"):
			(tmp_path / f.name).symlink_to(f)
	return tmp_path


@pytest.fixture
def terminal(tree):
	env = dict(os.environ, EAVES_PORT=str(free_port("0.0.0.0")),
		EAVES_HTTP_PORT=str(free_port("127.0.0.1")), TERM="dumb")
	env.pop("MAKEFLAGS", None)
	env.pop("MAKELEVEL", None)
	open_ones = []

	def run(command):
		t = Terminal(command, tree, env)
		open_ones.append(t)
		return t
	run.env = env
	yield run
	for t in reversed(open_ones):
		t.close()


def test_two_commands_come_first():
	assert [c for c, _ in blocks()[0]] == ["make run", "make check"]
	for target in ("run:", "check:"):
		assert subprocess.run(["make", "-n", target[:-1]], cwd=ROOT, capture_output=True).returncode == 0


@needs_baresip
def test_two_commands_and_the_first_call_work_as_they_stand(terminal, tree):
	(run, _), *_ = blocks()[0]
	phones, looks = blocks()[1], blocks()[2]
	server = terminal(run)
	server.wait_for(r"Eaves is running", timeout=120)
	passwords = dict(re.findall(r"user (\w+) +password (\S+)", server.said))
	assert set(passwords) == {"alice", "bob"} and all(len(p) == 16 for p in passwords.values())

	assert [c for c, _ in phones] == ["deploy/demo-phone.sh bob", "deploy/demo-phone.sh alice"]
	keys = re.search(r"type  (d \w+)  and Enter to call; (\w) hangs up, (\w) quits", phones[1][1])
	bob, alice = terminal(phones[0][0]), terminal(phones[1][0])
	bob.wait_for("registered successfully")
	alice.wait_for("registered successfully")
	alice.type(keys.group(1) + "\r")
	for phone in (alice, bob):
		phone.wait_for("Call established")
		phone.wait_for("incoming rtp for 'audio' established")

	for command, _ in looks:
		if command.startswith("curl "):
			url = command.split()[1].replace(":9060/", ":%s/" % terminal.env["EAVES_HTTP_PORT"])
			with urllib.request.urlopen(url, timeout=TIMEOUT) as f:
				assert b"eaves_bindings 2" in f.read()
			continue
		r = subprocess.run(command, shell=True, cwd=tree, capture_output=True, text=True,
			timeout=2 * TIMEOUT)
		assert r.returncode == 0 and r.stdout, r.stderr
		if "registration list" in command:
			assert len(r.stdout.splitlines()) == 2

	alice.type(keys.group(2))
	bob.wait_for("session closed")
	for phone in (alice, bob):
		phone.type(keys.group(3))
		assert phone.end() == 0
	server.type("\x03")
	assert server.end() in (0, 130)
	assert "Stopped." in server.said and "level=error" not in server.said


def test_passwords_stay_when_the_server_is_started_again(terminal, tree):
	seen = []
	for _ in range(2):
		server = terminal("deploy/demo.sh")
		server.wait_for("Ctrl-C")
		seen.append(re.findall(r"password (\S+)", server.said))
		server.type("\x03")
		assert server.end() == 0
	assert seen[0] == seen[1]


def test_second_server_of_the_same_folder_is_told_so(terminal):
	first = terminal("deploy/demo.sh")
	first.wait_for("Ctrl-C")
	second = terminal("deploy/demo.sh")
	second.wait_for("runs from run already")
	assert second.end() == 1
	first.type("\x03")
	assert first.end() == 0


def test_busy_port_is_named_and_a_way_out_shown(terminal):
	with socket.create_server(("0.0.0.0", int(terminal.env["EAVES_PORT"]))):
		server = terminal("deploy/demo.sh")
		assert server.end() == 1
	assert terminal.env["EAVES_PORT"] in server.said and "EAVES_PORT=" in server.said


def test_two_servers_do_not_share_a_port(terminal):
	first = terminal("deploy/demo.sh")
	first.wait_for("Ctrl-C")
	second = terminal(f"env EAVES_RUN=run2 EAVES_HTTP_PORT={free_port('127.0.0.1')} deploy/demo.sh")
	assert second.end() == 1
	assert "Address already in use" in second.said
	first.type("\x03")
	assert first.end() == 0


def test_phone_without_a_server_says_what_to_do(terminal):
	phone = terminal("deploy/demo-phone.sh alice")
	assert phone.end() == 1
	assert "make run" in phone.said


def test_who_may_not_install_is_told_what_is_missing(tmp_path):
	"""A user of a bare Debian, which has no sudo."""
	for name in ("bash", "grep"):
		(tmp_path / name).symlink_to(shutil.which(name))
	for name, does in (("id", "echo 1000"), ("dpkg-query", "exit 1")):
		(tmp_path / name).write_text(f"#!/bin/bash\n{does}\n")
		(tmp_path / name).chmod(0o755)
	r = subprocess.run([str(tmp_path / "bash"), str(ROOT / "deploy/deps.sh"), "phone"], env={"PATH": str(tmp_path)},
		capture_output=True, text=True, timeout=4 * TIMEOUT)
	assert r.returncode == 1 and r.stdout == ""
	assert r.stderr.endswith("As root:\n    apt-get install --no-install-recommends baresip-core\n")
