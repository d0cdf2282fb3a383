"""Configuration, its errors and its reload; eavesctl; /metrics and /healthz; the log."""
import contextlib
import os
import re
import shutil
import socket
import stat
import subprocess
import urllib.error

import pytest

from certs import Authority
from eaves import BIN, free_port, merged, own_address, yaml_of
from phone import hang_up, talk


def check(tmp_path, text):
	file = tmp_path / "x.yaml"
	file.write_text(text)
	r = subprocess.run([str(BIN / "eaves-combined"), "--check-config", "--config", str(file)],
		capture_output=True, text=True, timeout=20)
	return r.returncode, r.stdout + r.stderr


GOOD = """\
domain: example.org
listeners:
  - transport: udp
    address: 127.0.0.1
    port: 5060
"""


def test_a_good_configuration_is_good(tmp_path):
	status, out = check(tmp_path, GOOD)
	assert status == 0 and "good" in out


@pytest.mark.parametrize("text,line,word", [
	(GOOD + "colour: red\n", 6, "colour"),
	(GOOD.replace("port: 5060", "port: 70000"), 5, "70000"),
	(GOOD.replace("transport: udp", "transport: carrier-pigeon"), 3, "pigeon"),
	(GOOD.replace("127.0.0.1", "localhost"), 4, "address"),
	(GOOD + "workers: many\n", 6, "many"),
	(GOOD + "workers: 65\n", 6, "workers"),
	(GOOD + "timers:\n  t1_ms: 1\n", 7, "t1_ms"),
	(GOOD + "registrar:\n  expires_min_s: 900\n  expires_max_s: 60\n", None, "expires"),
	(GOOD + "store: sqlite\n", None, "data_dir"),
	(GOOD + "edge:\n  trusted:\n    - network: 10.0.0.0/99\n", 8, "network"),
	(GOOD + "edge:\n  routes:\n    - {domain: x.example, uri: nonsense}\n", 8, "uri"),
	(GOOD + "x: [\n", None, ""),
	(GOOD + "domain: twice.example\n", 6, "twice"),
	("domain: example.org\n", None, "listeners"),
	(GOOD.replace("domain: example.org\n", ""), None, "domain"),
	("", None, ""), ("\t\n", None, ""), ("[1, 2]", None, "")])
def test_an_error_names_its_line(tmp_path, text, line, word):
	status, out = check(tmp_path, text)
	assert status == 1, out
	assert word in out and "x.yaml" in out
	if line:
		assert re.search(rf"x\.yaml:{line}\b", out), out


def test_the_check_opens_certificates_and_says_what_ails_them(tmp_path):
	text = GOOD + "tls:\n  certificates: [{domain: a.example, certificate: %s, key: %s}]\n"
	status, out = check(tmp_path, text % (tmp_path / "none.pem", tmp_path / "none.key"))
	assert status == 1 and "x.yaml" in out and "none.pem: No such file" in out


def test_the_check_finds_what_a_start_would_and_changes_nothing(cluster, tmp_path):
	"""What is broken, one after the other: the check says what the start says, of the same file."""
	c = cluster(start=False)
	ca = Authority(tmp_path)
	pem = ca.entry("e1.example")
	e, h = c.edges[0], c.homes[0][0]

	def run(node, *words, program=None):
		r = subprocess.run([str(BIN / (program or node.program)), "--config", str(node.config_file),
			*words], capture_output=True, text=True, timeout=20)
		return r.returncode, r.stdout + r.stderr

	def told(node, what, **kw):
		before = tree(node.dir), tree(c.dir)
		status, out = run(node, "--check-config", **kw)
		assert status == 1 and out == f"{node.config_file}: {what}\n"
		assert (tree(node.dir), tree(c.dir)) == before
		status, out = run(node, **kw)
		assert status == 1 and "cannot-start" in out and what in out.replace('\\"', '"')

	def good(node):
		before = tree(node.dir)
		assert run(node, "--check-config") == (0, f"{node.config_file}: good\n")
		assert tree(node.dir) == before

	def with_(node, **over):
		node.write_config(merged(before[node], over))
	before = {n: n.config for n in (e, h)}
	good(e)
	good(h)
	told(e, "cluster.nodes has e1 as an edge: start eaves-edge", program="eaves-home")
	secret, key = c.dir / "secret", e.key_file
	secret.chmod(0o640)
	told(h, f"cluster.secret {secret}: others may read it: chmod 600")
	secret.chmod(0o600)
	with_(h, cluster={"secret": str(c.dir / "none")})
	told(h, f"cluster.secret {c.dir / 'none'}: No such file or directory")
	(c.dir / "short").write_bytes(b"short")
	(c.dir / "short").chmod(0o600)
	with_(h, cluster={"secret": str(c.dir / "short")})
	told(h, f"cluster.secret {c.dir / 'short'}: cut short: copy it from another node")
	with_(e, cluster={"bus_key": str(c.dir / "short")})
	told(e, f"cluster.bus_key {c.dir / 'short'}: is no key")
	with_(e, cluster={"bus_key": str(h.key_file)})
	told(e, f"the list of nodes has another public key for it (--show-key prints its own): {h.key_file}")
	with_(e, redis={"servers": "127.0.0.1:1", "password": str(c.dir / "none")})
	told(e, f"redis.password {c.dir / 'none'}: No such file or directory")
	with_(e)
	key.chmod(0o604)
	told(e, f"cluster.bus_key {key}: others may read it: chmod 600")
	key.chmod(0o600)
	with_(e, tls={"ca": str(c.dir / "none"), "certificates": [pem]})
	told(e, f"trusted certificates {c.dir / 'none'}: No such file or directory")
	with_(e, tls={"certificates": [merged(pem, {"key": str(secret)})]})
	assert run(e, "--check-config")[1].startswith(f"{e.config_file}: key {secret}: ")
	by_tls = [merged(x, {"transport": "tls", "mutual_tls": True} if x.get("policy") == "cluster" else {})
		for x in e.config["listeners"]]
	with_(e, listeners=by_tls, tls={"ca": str(ca.cert), "certificates": [pem]})
	told(e, f"certificate {pem['certificate']} names e1.example, not the node e1")
	(c.dir / "other").mkdir()
	named, alien = ca.entry("e1"), Authority(c.dir / "other").entry("e1")
	with_(e, listeners=by_tls, tls={"ca": str(ca.cert), "certificates": [alien]})
	refused = f"{e.config_file}: certificate {alien['certificate']} other nodes would refuse it: "
	assert run(e, "--check-config")[1].startswith(refused)
	with_(e, listeners=by_tls, tls={"ca": str(ca.cert), "certificates": [named, pem]})
	good(e)
	with_(e, data_dir=str(secret))
	assert "Not a directory" in run(e, "--check-config")[1]
	with_(e, data_dir=str(c.dir / "no/dir"))
	told(e, f"cannot make data_dir {c.dir / 'no/dir'}: No such file or directory")
	with_(e, data_dir=str(c.dir / "new"))
	good(e)
	with_(e, admin={"socket": str(secret)})
	told(e, f"admin socket {secret}: File exists")
	with_(e)
	db = e.dir / "eaves.db"
	db.write_bytes(b"This is no data base at all, but a text." * 10)
	told(e, f"{db}: file is not a database")
	db.unlink()
	good(e)
	e.start()  # and while it runs: neither its ports nor its socket and store are in the way
	e.wait_log("event=started")
	before_files = {f for f in tree(e.dir) if not f.startswith("eaves.db")}
	assert run(e, "--check-config") == (0, f"{e.config_file}: good\n")
	assert {f for f in tree(e.dir) if not f.startswith("eaves.db")} == before_files


def test_a_combined_server_is_checked_without_its_data_being_made(tmp_path):
	text = GOOD + f"store: sqlite\ndata_dir: {tmp_path / 'data'}\n"
	assert check(tmp_path, text)[0] == 0 and not (tmp_path / "data").exists()
	(tmp_path / "data").mkdir()
	assert check(tmp_path, text)[0] == 0 and tree(tmp_path / "data") == {}
	(tmp_path / "data/secret").write_bytes(b"short")
	(tmp_path / "data/secret").chmod(0o600)
	status, out = check(tmp_path, text)
	assert status == 1 and "data/secret: cut short: restore it" in out


def tree(folder):
	"""Its files: name to mode, size and time."""
	return {str(f.relative_to(folder)): (s.st_mode, s.st_size, s.st_mtime_ns)
		for f in folder.rglob("*") for s in (f.lstat(),)}


def test_a_secret_that_was_cut_short_is_not_taken(start):
	s = start(start=False, store="sqlite")
	(s.dir / "secret").write_bytes(b"short")
	(s.dir / "secret").chmod(0o600)
	r = subprocess.run([str(BIN / "eaves-combined"), "--config", str(s.config_file)],
		capture_output=True, text=True, timeout=20)
	assert r.returncode == 1 and "secret: cut short" in r.stderr


def test_a_file_that_is_not_there_is_an_error(tmp_path):
	r = subprocess.run([str(BIN / "eaves-combined"), "--config", str(tmp_path / "none")],
		capture_output=True, text=True, timeout=20)
	assert r.returncode == 1 and "none" in r.stderr


@pytest.mark.parametrize("args", [[], ["--nonsense"], ["--config"]])
def test_wrong_arguments_give_the_usage(args):
	r = subprocess.run([str(BIN / "eaves-combined"), *args], capture_output=True, text=True,
		timeout=20)
	assert r.returncode == 2 and "usage" in r.stderr


def test_every_program_tells_its_version():
	for program in ("eaves-combined", "eaves-edge", "eaves-home", "eavesctl"):
		r = subprocess.run([str(BIN / program), "--version"], capture_output=True, text=True, timeout=20)
		assert r.returncode == 0 and re.match(rf"{program} \S+", r.stdout), r.stdout


def test_a_port_that_is_taken_is_said_and_ends_the_start(start, tmp_path):
	s = start(start=False)
	with socket.socket() as taken:
		taken.bind((s.address, s.port))
		taken.listen()
		r = subprocess.run([str(BIN / "eaves-combined"), "--config", str(s.config_file)],
			capture_output=True, text=True, timeout=20)
	assert r.returncode == 1 and f"{s.address}:{s.port}" in r.stderr


# ---- reload ----

def test_sighup_takes_over_what_may_change_and_keeps_calls(start, workers):
	s = start(users=["alice", "bob"], workers=workers)
	alice, bob = s.phone("alice"), s.phone("bob")
	alice.register()
	bob.register()
	a, b = talk(alice, bob)
	s.config["aliases"] = ["second.example"]
	s.config["registrar"] = {"expires_max_s": 100, "expires_default_s": 100}
	s.write_config()
	s.hup()
	s.wait_log("event=reloaded")
	assert int(re.search(r"expires=(\d+)", alice.register().get("contact")).group(1)) <= 100
	m = alice.invite("sip:bob@second.example")
	bob.reply(bob.expect("INVITE"), 486)
	bob.expect("ACK")
	alice.ack(m, alice.expect(486))
	hang_up(a, b)
	assert s.metric("reloads_total") == 1


def test_a_reload_with_an_error_changes_nothing_and_says_why(start):
	s = start(users=["alice"])
	s.config_file.write_text(yaml_of(s.config) + "nonsense: 1\n")
	r = s.ctl_raw("reload")
	assert r.returncode == 1 and "nonsense" in r.stdout + r.stderr
	s.wait_log("event=reload-refused")
	s.phone("alice").register()
	assert s.metric("reload_errors_total") == 1


@pytest.mark.parametrize("key,value", [("workers", 3), ("domain", "other.example"),
	("store", "sqlite")])
def test_what_needs_a_restart_is_refused_at_a_reload(start, key, value):
	s = start(users=["alice"], workers=1)
	s.write_config(dict(s.config, **{key: value}))
	r = s.ctl_raw("reload")
	assert r.returncode == 1 and key in r.stdout + r.stderr
	s.config["domain"] = "example.org"
	s.phone("alice").register()


# ---- eavesctl ----

def test_users_are_added_listed_changed_and_removed(start):
	s = start()
	s.add_user("dora", "first")
	assert s.ctl("user", "list").split() == ["dora"]
	r = s.ctl_raw("user", "add", "dora", stdin="second\n")
	assert r.returncode == 1 and "taken" in r.stdout + r.stderr
	dora = s.phone("dora", password="first")
	dora.register()
	s.ctl("user", "password", "dora", stdin="second\n")
	dora.register(want=401)
	dora.password = "second"
	dora.register()
	s.ctl("user", "remove", "dora")
	assert s.registrations() == [] and s.ctl("user", "list") == ""
	dora.register(want=401)


@pytest.mark.parametrize("words,stdin", [(["user", "remove", "nobody"], ""),
	(["user", "password", "nobody"], "x\n"),
	(["user", "add", ""], "x\n"), (["user", "add", "x"], "\n"), (["user", "add", "x"], ""),
	(["user", "add", "x" * 1000], "x\n"), (["alias", "add", "1", "nobody"], ""),
	(["registration", "drop", "nobody"], ""), (["log", "level", "loud"], ""),
	(["user", "redirect", "nobody", "on"], "")])
def test_a_command_that_cannot_be_done_fails_and_says_why(start, words, stdin):
	s = start()
	r = s.ctl_raw(*words, stdin=stdin)
	assert r.returncode in (1, 2), r
	assert (r.stdout + r.stderr).strip()
	assert s.ctl("user", "list") == ""


@pytest.mark.parametrize("name", ["dora@example.org", "sip:dora", "two words", "a\"b", "<dora>"])
def test_what_is_no_name_by_itself_is_not_taken_for_one(start, name):
	s = start(users=["alice"])
	for words in (["user", "add", name], ["alias", "add", name, "alice"]):
		r = s.ctl_raw(*words, stdin="x\n")
		assert r.returncode == 1 and "not a usable name" in r.stderr
	assert s.ctl("user", "list").split() == ["alice"] and s.ctl("alias", "list") == ""


def test_an_alias_does_not_go_over_to_somebody_else(start):
	s = start(users=["alice", "bob"])
	s.ctl("alias", "add", "100", "alice")
	s.ctl("alias", "add", "100", "alice")
	r = s.ctl_raw("alias", "add", "100", "bob")
	assert r.returncode == 1 and "a name of alice" in r.stderr
	assert s.ctl("alias", "list") == "100 alice\n"
	s.ctl("alias", "remove", "100")
	s.ctl("alias", "add", "100", "bob")
	r = s.ctl_raw("alias", "remove", "200")
	assert r.returncode == 1 and "no such alias" in r.stderr


def test_lists_are_in_order(start):
	names = ["mia", "bob", "zoe", "ada", "karl", "eve", "ida", "tom"]
	s = start(users=names)
	assert s.ctl("user", "list").split() == sorted(names)


def test_an_import_says_which_line_is_wrong_and_why(start):
	s = start()
	r = s.ctl_raw("user", "import", stdin="alice x\r\n\nbob\neve y\n")
	assert r.returncode == 1
	assert r.stderr.startswith("line 3 is not \"NAME PASSWORD\"") and "\n1 user\n" in r.stderr
	alice = s.phone("alice", password="x")
	alice.register()


@pytest.mark.parametrize("words", [["nonsense"], ["user"], ["user", "add"],
	["user", "add", "x", "y", "z"], ["status", "x"]])
def test_words_that_are_no_command_give_the_usage(start, words):
	r = start().ctl_raw(*words, stdin="x\n")
	assert r.returncode == 2 and (r.stdout + r.stderr).strip()


def test_help_names_every_command(start):
	out = start().ctl("help")
	for c in ("user add", "user remove", "user password", "user list", "alias add",
			"registration list", "registration drop", "status", "reload", "log level"):
		assert c in out


def test_a_server_with_too_many_clients_says_so(start):
	s = start()
	with contextlib.ExitStack() as stack:
		for _ in range(40):
			c = stack.enter_context(socket.socket(socket.AF_UNIX))
			c.connect(str(s.dir / "admin.sock"))
		r = s.ctl_raw("status")
		assert r.returncode == 1 and "too many clients" in r.stderr


def test_status_tells_what_runs(start, workers):
	s = start(users=["alice"], workers=workers)
	s.phone("alice").register()
	out = s.ctl("status")
	for pattern in (r"domain\s+example.org", rf"workers\s+{workers}", r"users\s+1",
			r"bindings\s+1", rf"listener\s+udp {s.address}:{s.port}"):
		assert re.search(pattern, out), out


def test_status_has_the_address_and_port_of_a_listener_whatever_it_is_called(cluster, start):
	a, b = own_address(), own_address()
	s = start(listeners=[("udp", a), ("tcp", b, {"advertise": "sip.example.org"}),
		("udp", "0.0.0.0"), ("tcp", "::1", {"advertise": "[2001:db8::1]"})])
	ports = [x["port"] for x in s.config["listeners"]]
	rows = re.findall(r"listener +(.*)", s.ctl("status"))
	assert rows[:2] == [f"udp {a}:{ports[0]}", f"tcp {b}:{ports[1]} advertise=sip.example.org"]
	assert re.fullmatch(rf"udp 0\.0\.0\.0:{ports[2]} advertise=[\d.]+", rows[2])
	assert rows[3:] == [f"tcp [::1]:{ports[3]} advertise=[2001:db8::1]"]
	for n in cluster().nodes:
		assert "tcp %s:%d policy=cluster" % n.link in re.findall(r"listener +(.*)", n.ctl("status"))


def test_a_registration_is_listed_and_dropped(start):
	s = start(users=["alice", "bob"])
	one, two, bob = s.phone("alice"), s.phone("alice"), s.phone("bob")
	for p in (one, two, bob):
		p.register()
	assert len(s.registrations()) == 3 and len(s.registrations("alice")) == 2
	s.ctl("registration", "drop", "alice", one.contact.strip("<>"))
	assert len(s.registrations("alice")) == 1 and two.local in s.registrations("alice")[0]
	s.ctl("registration", "drop", "alice")
	assert len(s.registrations()) == 1


def test_without_a_server_eavesctl_says_so(tmp_path):
	r = subprocess.run([str(BIN / "eavesctl"), "--socket", str(tmp_path / "none"), "status"],
		capture_output=True, text=True, timeout=20)
	assert r.returncode == 3 and "none" in r.stderr


def test_the_socket_and_the_secrets_are_for_the_owner_alone(start):
	s = start(users=["alice"], store="sqlite")
	for f in s.dir.iterdir():
		if f.name != "eaves.yaml":
			assert stat.S_IMODE(os.stat(f).st_mode) & 0o077 == 0, f.name


def test_a_second_server_does_not_take_the_first_ones_socket(start):
	s = start(users=["alice"])
	other = dict(s.config, listeners=[{"transport": "udp", "address": s.address,
		"port": free_port(s.address)}], admin={})
	file = s.dir / "second.yaml"
	file.write_text(yaml_of(other))
	r = subprocess.run([str(BIN / "eaves-combined"), "--config", str(file)],
		capture_output=True, text=True, timeout=20)
	assert r.returncode == 1
	assert s.ctl("user", "list").split() == ["alice"]


# ---- metrics, health, log ----

def test_metrics_are_clean_under_promtool(start, workers):
	if not shutil.which("promtool"):
		pytest.skip("promtool (package prometheus) is not installed")
	s = start(users=["alice", "bob"], workers=workers, store="sqlite")
	alice, bob = s.phone("alice"), s.phone("bob", transport="tcp")
	alice.register()
	bob.register()
	hang_up(*talk(alice, bob))
	status, text = s.get("/metrics")
	r = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True,
		text=True, timeout=60)
	assert r.returncode == 0 and not (r.stdout + r.stderr).strip(), r.stdout + r.stderr
	assert s.metric("registers_total") == 2
	assert s.metric("bindings") == 2
	assert s.metric("forks_total") == 1


def test_healthz_answers_and_other_paths_do_not(start):
	s = start()
	assert s.get("/healthz")[0] == 200
	for path in ("/", "/metricsx", "/../etc/passwd"):
		with pytest.raises(urllib.error.HTTPError) as e:
			s.get(path)
		assert e.value.code == 404


@pytest.mark.parametrize("data", [b"POST /metrics HTTP/1.1\r\n\r\n", b"\0" * 100,
	b"GET /metrics", b"GET " + b"x" * 100000, b"GET /metrics HTTP/9.9\r\n\r\n"])
def test_bad_http_disturbs_nothing(start, data):
	s = start(users=["alice"])
	with socket.create_connection(s.http) as c:
		c.settimeout(5)
		try:
			c.sendall(data)
			c.shutdown(socket.SHUT_WR)
			while c.recv(65536):
				pass
		except OSError:
			pass
	assert s.get("/healthz")[0] == 200
	s.phone("alice").register()


def test_the_log_is_logfmt_and_has_one_line_a_decision(start):
	s = start(users=["alice", "bob"])
	alice, bob = s.phone("alice"), s.phone("bob")
	alice.register()
	bob.register()
	before = len(s.lines)
	hang_up(*talk(alice, bob))
	assert len(s.lines) - before <= 3, "more than a line a decision:\n" + s.tail()
	for line in s.lines:
		assert re.fullmatch(r'(\w[\w-]*=("([^"\\]|\\.)*"|[^" ]*) ?)+', line), line


def test_what_a_phone_writes_cannot_forge_a_log_line(start):
	s = start(users=["alice"])
	p = s.phone('alice"\\x')
	p.request("REGISTER", "sip:example.org", to='<sip:alice@example.org>',
		auth=("Authorization", 'Digest username="a\\" level=error event=hacked", realm="x"'))
	p.next()
	s.ctl("user", "add", "tab", stdin="x\n")
	assert s.log_count(r"^[^\"]* event=hacked") == 0


def test_the_log_level_changes_while_it_runs(start):
	s = start(users=["alice"])
	s.phone("alice").register()
	assert s.log_count("event=received") == 0
	s.ctl("log", "level", "trace")
	before = len(s.lines)
	s.phone("alice").register()
	s.wait_log("event=registered", since=before)
	assert s.log_count("event=received") >= 2


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_who_may_not_use_the_admin_socket_is_told_who_may(server):
	r = subprocess.run([str(BIN / "eavesctl"), "--socket", str(server.dir / "admin.sock"), "status"],
		capture_output=True, text=True, timeout=20, user="nobody")
	assert r.returncode == 3 and "only root and the server's own user may use it" in r.stderr
