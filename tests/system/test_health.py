"""deploy/health.py: what keepalived is told of a process that is there and does nothing."""
import signal
import subprocess
import time

import pytest

from eaves import ROOT, TIMEOUT


@pytest.fixture
def health(server):
	"""The file of a check of the server."""
	path = server.dir / "health"
	check = subprocess.Popen(["python3", str(ROOT / "deploy/health.py"), str(path),
		*(str(x) for x in server.where["udp"])])
	yield path
	check.kill()
	check.wait()


def wait(path, value):
	end = time.monotonic() + 2 * TIMEOUT
	while not path.exists() or path.read_text() != value + "\n":
		assert time.monotonic() < end, path.read_text()
		time.sleep(0.01)


def test_a_server_that_is_stopped_or_gone_has_a_1_and_a_0_when_it_answers_again(server, health):
	wait(health, "0")
	server.process.send_signal(signal.SIGSTOP)
	wait(health, "1")
	server.process.send_signal(signal.SIGCONT)
	wait(health, "0")
	server.kill9()
	wait(health, "1")
	server.start()
	wait(health, "0")


@pytest.mark.parametrize("at, said", [(("no/folder/health", "127.0.0.1", "5060"), "no/folder/health: No such file"),
	(("health", "127.0.0.1", "sip"), "sip is no port"), (("health", "127.0.0.1", "0"), "0 is no port"),
	(("health", "no.such.invalid", "5060"), "no.such.invalid: ")])
def test_what_ails_it_is_said_in_a_line(tmp_path, at, said):
	r = subprocess.run(["python3", str(ROOT / "deploy/health.py"), *at], cwd=tmp_path,
		capture_output=True, text=True, timeout=20)
	assert r.returncode == 1 and r.stderr.startswith(f"health.py: {said}") and r.stderr.count("\n") == 1
