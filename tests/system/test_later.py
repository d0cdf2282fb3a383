"""Commands that take their time: the server goes on meanwhile, and may end."""
import re
import signal
import subprocess
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest

from eaves import BIN, TIMEOUT

SLOW = {"cluster": {"dead_ms": 30000}}  # who is stopped is not taken for dead so soon


def answers(s, within=1.0):
	with urllib.request.urlopen("http://%s:%d/healthz" % s.http, timeout=within) as f:
		assert f.status == 200


def lines(users):
	return "".join(f"{u} secret-of-{u}\n" for u in users)


@pytest.fixture
def pool():
	with ThreadPoolExecutor(2) as p:
		yield p


def importing(s, count):
	"""An eavesctl that has given all its lines."""
	ctl = subprocess.Popen([str(BIN / "eavesctl"), "--socket", str(s.dir / "admin.sock"), "user",
		"import"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
	ctl.stdin.write(lines(f"u{i}" for i in range(count)))
	ctl.stdin.close()
	ctl.stdin = None
	return ctl


def test_an_edge_goes_on_and_ends_while_it_asks_a_node_that_does_not_answer(cluster, pool):
	c = cluster(config=SLOW)
	e, silent = c.edges[0], c.homes[0][0]
	silent.process.send_signal(signal.SIGSTOP)
	try:
		asked = pool.submit(e.ctl_raw, "node", "h1a", "status")
		with pytest.raises(TimeoutError):
			asked.result(0.3)
		for _ in range(5):
			answers(e)
		assert "self" in e.ctl("node", "h1b", "cluster", "status")  # the others are asked meanwhile
		e.process.send_signal(signal.SIGTERM)
		r = asked.result(4 * TIMEOUT)
		assert r.returncode == 1 and r.stderr == "the server is ending\n"
		e.stop()
	finally:
		silent.process.send_signal(signal.SIGCONT)


def test_a_node_that_is_asked_asks_nobody_else(cluster):
	c = cluster(edges=2)
	one, other = c.edges
	began = time.monotonic()
	r = one.ctl_raw("node", "e2", "node", "e1", "status")
	assert r.returncode == 1 and "not to be done from here" in r.stderr
	assert time.monotonic() - began < TIMEOUT
	for e in (one, other):
		answers(e)


def test_an_import_does_not_stop_the_server(cluster, pool):
	count = 20000
	c = cluster()
	e = c.edges[0]
	done, seen = pool.submit(e.ctl_raw, "user", "import",
		stdin=lines(f"u{i}" for i in range(count))), set()
	while not done.done():
		answers(e)
		seen.add(e.metric("users"))
		time.sleep(0.05)
	r = done.result()
	assert r.returncode == 0 and r.stdout == f"{count} users\n", r
	assert seen - {0, count}, "it has answered before and after"
	c.wait_users(count)


def test_an_import_whose_client_is_gone_goes_on(cluster):
	count = 3000
	c = cluster(config=SLOW)
	e, (slow, other) = c.edges[0], c.homes[0]
	slow.process.send_signal(signal.SIGSTOP)
	try:
		ctl = importing(e, count)
		c.wait(lambda: other.metric("users") > 0, "the import does not begin")
		ctl.kill()
		ctl.communicate()
		assert other.metric("users") < count
		answers(e)
	finally:
		slow.process.send_signal(signal.SIGCONT)
	c.wait_users(count)


def test_an_import_that_the_end_cuts_short_says_how_far_it_came(cluster):
	count = 3000
	c = cluster(config=SLOW)
	e, (slow, other) = c.edges[0], c.homes[0]
	slow.process.send_signal(signal.SIGSTOP)
	try:
		ctl = importing(e, count)
		c.wait(lambda: other.metric("users") > 0, "the import does not begin")
		e.process.send_signal(signal.SIGTERM)
		out, err = ctl.communicate(timeout=4 * TIMEOUT)
		e.stop()
	finally:
		slow.process.send_signal(signal.SIGCONT)
	said = re.fullmatch(r"the server is ending: (\d+) lines done\n(\d+) users\n", err)
	assert ctl.returncode == 1 and not out and said, err
	assert said[1] == said[2] and 0 < int(said[1]) < count
	e.start()
	c.wait_users(int(said[1]))


def test_a_combined_server_that_ends_during_an_import_keeps_what_it_says(start):
	count = 200000
	s = start(store="sqlite")
	ctl = importing(s, count)
	while s.metric("users") == 0:
		pass
	s.process.send_signal(signal.SIGTERM)
	out, err = ctl.communicate(timeout=4 * TIMEOUT)
	s.stop()
	said = re.fullmatch(r"the server is ending: (\d+) lines done\n(\d+) users\n", err)
	assert ctl.returncode == 1 and not out and said, err
	s.start()
	assert s.metric("users") == int(said[2]) < count


def test_an_import_that_nobody_confirms_does_not_hold_up_the_end(cluster):
	"""What waits for its second place when drain_s is over is said to be in doubt."""
	c = cluster(edges=2, store="memory", config={"cluster": {"dead_ms": 30000,
		"second_place_ms": 60000, "drain_s": 1}})
	e, other = c.edges
	other.process.send_signal(signal.SIGSTOP)
	try:
		ctl = importing(e, 2)
		c.wait(lambda: e.metric("cluster_waiting") > 0, "nobody is waited for", TIMEOUT)
		answers(e)
		assert ctl.poll() is None
		e.process.send_signal(signal.SIGTERM)
		out, err = ctl.communicate(timeout=4 * TIMEOUT)
		e.stop()
	finally:
		other.process.send_signal(signal.SIGCONT)
	assert ctl.returncode == 1 and not out
	assert err == "the server is ending: 2 of these may not be durable\n2 users\n"
