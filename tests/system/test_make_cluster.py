"""`make cluster` as a newcomer types it: what it says can be killed is killed, a call goes through, and
it is started again.  The folder and the terminal are those of test_readme.py."""
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import time

import pytest

from eaves import BIN, TIMEOUT, own_address
from test_readme import terminal, tree  # noqa: F401 (fixtures)

pytestmark = pytest.mark.skipif(BIN.name != "release", reason="make cluster builds a release")
READY = r"A cluster of two edges and two pairs of homes runs"


class Typed:
	"""What `make cluster` says can be typed."""

	def __init__(self, said, env, cwd):
		self.said, self.env, self.cwd = said, env, cwd
		self.killing, names = re.search(
			r"kill one of a pair +(kill -9 .*?) +\(any of: ([^)]*)\)", said).groups()
		self.names = re.split(r"[ ;]+", names)
		self.starting = re.search(r"start it again +(\S.*?)\r?\n", said).group(1)
		self.example = self.starting.split()[-1]
		self.looking = re.search(r"who lives +(\S.*?)\r?\n", said).group(1)
		calling = re.search(r"twenty calls a second +(\S.*?--uas .*?)\r?\n", said, re.S).group(1)
		self.calling = re.sub(r"\\\r?\n *", "", calling)

	def run(self, command, name=None):
		if name:
			command = re.sub(rf"\b{self.example}\b", name, command)
		return subprocess.run(["bash", "-c", command], cwd=self.cwd, env=self.env, capture_output=True,
			text=True, timeout=4 * TIMEOUT)

	def pid(self, name):
		return int((pathlib.Path(self.cwd) / "run/cluster" / name / "pid").read_text())

	def kill(self, name):
		pid = self.pid(name)
		assert self.run(self.killing, name).returncode == 0
		wait(lambda: not runs(pid), f"{name} lives on")

	def start(self, name):
		r = self.run(self.starting, name)
		assert r.returncode == 0, r.stderr
		assert runs(self.pid(name))

	def alive(self, seen_from="e1"):
		out = self.run(self.looking.replace("/e1/", f"/{seen_from}/")).stdout
		return {x.split()[0] for x in out.splitlines() if " alive " in x}, out

	def call(self, edge=1):
		"""One of the calls that it shows, by one of the edges."""
		one = re.sub(r"--rate 20 --seconds 60", "--window 1 --count 1", self.calling)
		assert one != self.calling
		if edge == 2:
			one = re.sub(r"(--target [\d.]+)1:", r"\g<1>2:", one)
			self.run(one.replace(" call ", " reg ").replace("--count 1", "--count 4"))
		r = self.run(one)
		figures = {x.split()[0]: float(x.split()[1]) for x in r.stdout.splitlines()
			if x.startswith(("ok", "failed"))}
		return (figures.get("ok"), figures.get("failed")), r.stdout + r.stderr


def runs(pid):
	try:
		return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
	except OSError:
		return False


def wait(what, text, timeout=4 * TIMEOUT):
	end = time.monotonic() + timeout
	while not what():
		assert time.monotonic() < end, text() if callable(text) else text
		time.sleep(0.05)


@pytest.fixture
def up(terminal, tree):  # noqa: F811
	"""make cluster, running; at the end nothing of it is left."""
	terminal.env["EAVES_NET"] = own_address().rsplit(".", 1)[0]
	t = terminal("make cluster")
	t.wait_for(READY + r"[\s\S]*stop everything", timeout=120)
	typed = Typed(t.said, terminal.env, tree)
	yield t, typed
	for name in typed.names:
		try:
			os.kill(typed.pid(name), signal.SIGKILL)
		except (OSError, ValueError):
			pass


def test_make_cluster_serves_whatever_of_it_is_killed(up):
	t, c = up
	assert re.search(r"Phones register at the edge: +ok 4 failed 0", t.said), t.said
	assert re.search(r"One calls another, who answers: +ok 1 failed 0", t.said), t.said
	assert c.names == ["e1", "e2", "h1a", "h1b", "h2a", "h2b", "redis"]
	for name in c.names:
		edge = 2 if name == "e1" else 1
		c.kill(name)
		wait(lambda: name not in c.alive(f"e{edge}")[0], f"{name} is not missed")
		figures, said = c.call(edge)
		assert figures == (1, 0), f"{name} is dead: {said}"
		c.start(name)
		if name == "redis":
			wait(lambda: "redis up" in c.alive()[1], "Redis is not found again")
		else:
			wait(lambda: name in c.alive(f"e{edge}")[0],
				lambda: f"{name} does not come back\n" + c.alive()[1])
	for name in ("e1", "e2"):
		wait(lambda: len(c.alive(name)[0]) == 5, lambda: c.alive(name)[1])
	pids = [c.pid(n) for n in c.names]
	t.type("\x03")
	assert t.end() in (0, 2, 130)
	assert "Stopped." in t.said
	wait(lambda: not any(map(runs, pids)), "something of it runs on")


def processes(net):
	"""What runs of it: its address, or its folder, is in the command."""
	out = subprocess.run(["ps", "ax", "-o", "pid=,args="], capture_output=True, text=True).stdout
	return [x for x in out.splitlines() if net in x and "cluster.sh" not in x]


@pytest.fixture
def begun(terminal, tree):  # noqa: F811
	"""begun(): make cluster with addresses of its own; at the end nothing of it may run."""
	net = terminal.env["EAVES_NET"] = own_address().rsplit(".", 1)[0]
	terminal.env["EAVES_RUN"] = str(tree / "run")

	def run(command="make cluster"):
		return terminal(command)
	run.net, run.env, run.mine = net, terminal.env, lambda: processes(str(tree)) + processes(net)
	yield run
	for x in run.mine():
		os.kill(int(x.split()[0]), signal.SIGKILL)


@pytest.mark.parametrize("host,port,who", [(32, None, "h2b"), (41, 16379, "redis")])
def test_an_address_that_is_taken_is_told_with_a_way_out(begun, host, port, who):
	with socket.socket() as s:
		s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
		s.bind((f"{begun.net}.{host}", port or int(begun.env["EAVES_PORT"])))
		s.listen()
		t = begun()
		t.wait_for(rf"{who} could not start:[\s\S]*Address already in use[\s\S]*EAVES_NET=\S+ make cluster"
			r"[\s\S]*Stopped\.", timeout=120)
		assert t.end() != 0
	assert begun.mine() == []


def test_what_is_missing_is_said(begun, tmp_path):
	t = begun("deploy/cluster.sh build/none")
	t.wait_for(r"not in build/none: make cluster builds them")
	assert t.end() == 1
	some = tmp_path / "some"
	some.mkdir()
	for name in ("bash", "dirname", "tr", "grep", "cat"):
		(some / name).symlink_to(shutil.which(name))
	begun.env["PATH"] = str(some)
	t = begun("deploy/cluster.sh")
	t.wait_for(r"redis-server and redis-cli are needed[\s\S]*apt-get install")
	assert t.end() == 1 and begun.mine() == []


def test_it_is_started_once_and_what_a_killed_one_has_left_is_named(begun):
	t = begun()
	t.wait_for(READY + r"[\s\S]*stop everything", timeout=120)
	assert re.search(r"start it again +EAVES_RUN=\S+ deploy/cluster.sh start h1a", t.said)
	pid = int(pathlib.Path(begun.env["EAVES_RUN"], "cluster/pid").read_text())
	for command, what in (("deploy/cluster.sh", r"runs from \S+ already: stop it first"),
			("deploy/cluster.sh start h1a", r"h1a runs already"),
			("deploy/cluster.sh start h9", r"It has: e1 e2 h1a h1b h2a h2b redis")):
		other = begun(command)
		other.wait_for(what)
		assert other.end() == 1
	os.kill(pid, signal.SIGKILL)
	t.close()
	t.pid = 0
	for command, what in (("deploy/cluster.sh start h1a", r"No cluster runs from \S+: make cluster"),
			("deploy/cluster.sh", r"something runs on: kill( \d+){7}\r?\n")):
		other = begun(command)
		said = other.wait_for(what).group(0)
		assert other.end() == 1
	subprocess.run(said.split("on: ")[1], shell=True, check=True)
	wait(lambda: begun.mine() == [], "what was named is not all")


@pytest.mark.parametrize("said,keys", [(None, "\x03"), (r"Phones register", "\x03"), (READY, None)])
def test_whenever_it_is_interrupted_nothing_runs_on(begun, said, keys):
	t = begun()
	if said:
		t.wait_for(said, timeout=120)
	else:  # it has begun to start something
		wait(begun.mine, "it does not begin", timeout=120)
	if keys:
		t.type(keys)
	else:  # as a shell whose terminal is closed
		os.killpg(t.pid, signal.SIGHUP)
	t.end()
	wait(lambda: begun.mine() == [], lambda: "\n".join(begun.mine()))
