"""Two edges with Redis behind them, and what Redis has when it was away."""
import re
import signal
import subprocess
import time

import pytest

from cluster import registered
from eaves import DOMAIN, ROOT, TIMEOUT, merged
from phone import hang_up, talk
from redis_server import Redis, Sentinel

QUEUE = 1000  # rows that may wait, the least that can be configured
LONG = 12 * TIMEOUT  # what happens, however busy the machine is


@pytest.fixture
def redis():
	made = []

	def run(kind=Redis, *args, **kw):
		made.append(kind(*args, **kw))
		return made[-1]
	yield run
	for r in reversed(made):
		r.close()


def edges_with(cluster, redis, **kw):
	c = cluster(edges=2, store="memory", start=False, **kw)
	for e in c.edges:
		e.write_config(merged(e.config, {"redis": redis}))
	c.start()
	for e in c.edges:
		e.wait_metric("redis_up", 1, LONG)
	return c


def same_in_redis(r, c, users):
	"""Every user and every device that homes have is there, and no other."""
	assert set(r.live("user")) == users
	bindings = r.live("binding")
	for home in c.homes[0]:
		listed = {}
		for line in home.registrations():
			user, contact = line.split()[:2]
			listed.setdefault(user, []).append(contact)
		assert set(listed) == set(bindings)
		for user, all_of_his in listed.items():
			assert len(all_of_his) == len(bindings[user])
			for contact in all_of_his:
				uri = re.search(r"sip:[^>\s]+", contact).group().encode()
				assert any(uri in body for body in bindings[user]), (user, contact)


def test_redis_was_gone_for_more_changes_than_may_wait_and_has_all_of_them(cluster, redis):
	r = redis()
	# Slow is not gone: neither Redis nor a second node.
	c = edges_with(cluster, {"servers": r.where(), "queue_rows": QUEUE, "timeout_ms": 10000},
		config={"cluster": {"second_place_ms": 30000}})
	e1, e2 = c.edges
	names = [f"u{i}" for i in range(4000)]
	e1.add_users(names[:500] + ["alice", "bob", "gone"])
	c.wait_users(503)
	phones = [c.phone(u, edge=i % 2) for i, u in enumerate(["alice", "bob", *names[:40]])]
	for p in phones[:20]:
		p.register()
	for e in c.edges:
		e.wait_metric("bindings", 20, LONG)
		e.wait_metric("redis_rows_waiting", 0, LONG)
		e.wait_metric("redis_dirty", 0, LONG)
	users = set(names[:500]) | {"alice", "bob", "gone"}
	same_in_redis(r, c, users)
	alone = {n.name: n.metric("cluster_alone_total") for n in c.nodes}

	r.kill9()
	for e in c.edges:
		e.wait_metric("redis_up", 0, LONG)
	dropped = {e.name: e.metric("redis_dropped_total") for e in c.edges}
	for e in (e1, e2, e1):  # new users, and twice a change of all
		for some in range(0, len(names), QUEUE):
			e.add_users(names[some:some + QUEUE])
	e2.ctl("user remove", "gone")
	for p in phones:
		p.register()
	for p in phones[2:12]:
		p.register(expires=0)
	for p in phones[2:7]:
		p.register()
	for _ in range(3):
		hang_up(*talk(phones[0], phones[1]))
	users = set(names) | {"alice", "bob"}
	left = len(phones) - 5
	for n in c.nodes:
		n.wait_metric("users", len(users), LONG)
		n.wait_metric("bindings", left, LONG)
	# All that was answered was in two places, and none of them was Redis.
	assert {n.name: n.metric("cluster_alone_total") for n in c.nodes} == alone
	for e in c.edges:
		e.wait_metric("redis_dirty", 1, LONG)
		assert e.metric("redis_dropped_total") - dropped[e.name] > 5 * QUEUE

	r.start()
	for e in c.edges:
		e.wait_metric("redis_up", 1, LONG)
		e.wait_metric("redis_dirty", 0, LONG)
	same_in_redis(r, c, users)

	for n in c.nodes:  # all at once lose what they have in memory
		n.kill9()
	e1.start()
	e1.wait_log("event=serving", timeout=LONG)
	assert e1.metric("users") == len(users) and e1.metric("bindings") == left


def test_who_changes_the_directory_while_redis_is_away_is_told_where_the_change_is(cluster, redis):
	r = redis()
	c = edges_with(cluster, {"servers": r.where()})
	e1, e2 = c.edges
	away = re.escape(f"Redis is away ({r.where()}: Connection refused) and gets this when it is back")

	def done(*words, text="", status=0):
		said = e1.ctl_raw(*words, stdin=text)
		assert said.returncode == status, said
		return said.stdout + said.stderr
	assert done("user", "add", "alice", text="secret\n") == "added\n"
	r.kill9()
	for e in c.edges:
		c.wait(lambda e=e: "Connection refused" in e.ctl("cluster status"), "Redis is not missed", LONG)
	both = away + ": until then the other edge has it"
	assert re.fullmatch(f"added\n{both}\n", done("user", "add", "bob", text="secret\n"))
	assert re.fullmatch(f"1 user\n{both}\n", done("user", "import", text="carol secret\n"))
	e2.kill9()
	c.wait(lambda: "e2" not in e1.alive(), "the other edge is not missed")
	alone = away + ": if this edge ends before, it is lost"
	assert re.fullmatch(f"done at this edge alone\n{alone}\n",
		done("user", "add", "dave", text="secret\n", status=1))
	assert re.fullmatch(f"1 user\nnot all of them: done at this edge alone\n{alone}\n",
		done("user", "import", text="erin secret\n", status=1))
	assert done("user", "add", "dave", text="secret\n", status=1) == "the name is taken\n"
	r.start()
	e1.wait_metric("redis_up", 1, LONG)
	e1.wait_metric("redis_dirty", 0, LONG)
	assert set(r.live("user")) == {"alice", "bob", "carol", "dave", "erin"}
	assert done("user", "password", "dave", text="another\n") == "changed\n"


def test_what_an_edge_did_while_the_other_did_not_hear_it_outlives_it(cluster, redis):
	"""It was done with Redis alone, and the one that did it is lost before the two have met."""
	r = redis()
	c = edges_with(cluster, {"servers": r.where()})
	e1, e2 = c.edges
	e1.add_users(["alice"])
	c.wait_users(1)
	e2.process.send_signal(signal.SIGSTOP)
	try:
		c.wait(lambda: "e2" not in e1.alive(), "the edge is not missed", LONG)
		e1.ctl("user add", "nina", stdin="x\n")
		e1.ctl("user remove", "alice")
		e1.kill9()
	finally:
		e2.process.send_signal(signal.SIGCONT)
	c.wait(lambda: "nina" in e2.ctl("user list"), "what Redis has is not read", LONG)
	assert "alice" not in e2.ctl("user list")


def only_redis_knows(cluster, redis, spoil=None):
	"""A whole pair of homes is dead, and of the edges nobody is left who has heard its phones: one of
	them is started again.  spoil: of Redis, before that."""
	r = redis()
	c = edges_with(cluster, {"servers": r.where()}, homes=2, config={"edge": {"deliver_alone": True}})
	e1, e2 = c.edges
	for user, home in (("alice", "h1"), ("bob", "h2")):
		e1.ctl("user add", user, home, stdin=f"secret-of-{user}\n")
	c.wait_users(2)
	alice, bob = registered(c, "alice", "bob")
	for e in c.edges:
		e.wait_metric("bindings", 2, LONG)
		e.wait_metric("redis_rows_waiting", 0, LONG)
	for n in [*c.homes[1], e1, e2]:
		n.kill9()
	if spoil:
		spoil(r)
	mark = len(e1.lines)
	e1.start()
	e1.wait_log("event=serving", since=mark, timeout=LONG)
	e1.wait_metric("bindings", 2, LONG)
	for n in c.homes[0]:
		c.wait(lambda n=n: "e1" in n.alive(), f"{n.name} does not see the edge", LONG)
	return alice, bob


def test_an_edge_delivers_alone_what_redis_has(cluster, redis):
	hang_up(*talk(*only_redis_knows(cluster, redis)))


def test_an_edge_delivers_nothing_to_a_contact_that_is_none(cluster, redis):
	"""As a home does: what is in Redis is not written into a request unseen."""
	def spoil(r):
		key = f"eaves:{{{DOMAIN}}}:binding:bob"
		name, value = r.ask("HGETALL", key)
		assert b"sip:bob@" in value
		r.ask("HSET", key, name, value.replace(b"sip:bob@", b"sip:b\r\n@"))
	alice, bob = only_redis_knows(cluster, redis, spoil)
	invite = alice.invite("bob")
	alice.ack(invite, alice.expect(503))
	bob.expect_nothing()


def secret_file(folder, name, text):
	path = folder / name
	path.write_text(text + "\n")
	path.chmod(0o600)
	return str(path)


def test_sentinels_have_a_password_of_their_own(cluster, redis, tmp_path):
	server = redis(arguments=["--requirepass", "of the server"], password="of the server")
	sentinel = redis(Sentinel, server, "of the sentinel")
	keys = {"sentinels": sentinel.where(), "primary": sentinel.NAME,
		"password": secret_file(tmp_path, "server", "of the server"),
		"sentinel_password": secret_file(tmp_path, "sentinel", "of the sentinel")}
	c = edges_with(cluster, keys, users=())
	c.edges[0].add_users(["alice"])
	c.wait(lambda: set(server.live("user")) == {"alice"}, "alice is not in Redis", LONG)
	for n in c.edges:
		assert n.ctl("cluster status").splitlines()[-1].startswith(f"redis up {server.where()} ")
	# Without it, or with the server's, the edge serves alone and says why.
	e = c.edges[1]
	for path, reason in ((None, "NOAUTH"), (keys["password"], "WRONGPASS")):
		e.stop()
		e.write_config(merged(e.config, {"redis": {k: v for k, v in
			{**keys, "sentinel_password": path}.items() if v}}) if path else
			{**e.config, "redis": {k: v for k, v in keys.items() if k != "sentinel_password"}})
		e.start()
		c.wait(lambda: f"error=sentinel: {reason}" in e.ctl("cluster status"), "no reason is given", LONG)
		assert e.metric("redis_up") == 0
	for n in c.nodes:
		assert not n.log_count("of the")


def test_a_password_file_that_others_can_read_is_refused(cluster, redis, tmp_path):
	sentinel = redis(Sentinel, redis(), "of the sentinel")
	path = secret_file(tmp_path, "sentinel", "of the sentinel")
	(tmp_path / "sentinel").chmod(0o644)
	c = cluster(start=False)
	e = c.edges[0]
	e.write_config(merged(e.config, {"redis": {"sentinels": sentinel.where(), "primary": sentinel.NAME,
		"sentinel_password": path}}))
	with pytest.raises(AssertionError, match="redis.sentinel_password .*chmod 600"):
		e.start()
	e.process = None


def test_an_edge_says_that_redis_was_away_when_it_started_and_why(cluster, redis):
	r = redis()
	where = r.where()
	r.kill9()
	c = cluster(edges=2, start=False)
	e = c.edges[0]
	e.write_config(merged(e.config, {"redis": {"servers": where}}))
	e.start()
	e.wait_log(f'level=warn event=redis-down error="{where}: Connection refused"')
	r.start()
	e.wait_log(f"level=info event=redis-up address={where}", timeout=LONG)
	assert e.log_count("event=redis-down") == 1


def test_an_edge_that_has_waited_for_redis_hears_the_others_before_it_serves(cluster, redis):
	"""What it waited is no part of the time that they have to come."""
	r = redis()
	where = r.where()
	r.kill9()
	c = cluster(edges=2, start=False, config={"cluster": {"dead_ms": 3000}})
	late = c.edges[1]
	late.write_config(merged(late.config, {"redis": {"servers": where, "timeout_ms": 4000}}))
	for n in c.nodes:
		if n is not late:
			n.start()
	c.wait_alive()
	late.start()
	late.wait_log("event=serving", timeout=LONG)
	assert late.alive() == c.peers(late)
	assert late.log_count("event=node-missing") == 0
	assert late.log_count("event=joining") == 1, late.tail()


def test_redis_cli_shows_an_operator_what_the_page_says(cluster, redis):
	"""The commands of docs/redis.md as they stand there."""
	r = redis()
	c = edges_with(cluster, {"servers": r.where()})
	c.edges[0].add_users(("alice", "bob", "carol"))
	c.wait_users(3)
	c.edges[0].ctl("alias", "add", "100", "alice")
	alice, second, bob = registered(c, "alice", "alice", "bob")
	second.register(expires=0)
	for e in c.edges:
		e.wait_metric("bindings", 2, LONG)
		e.wait_metric("redis_rows_waiting", 0, LONG)
	page = (ROOT / "docs/redis.md").read_text()

	def cli(command):
		"""redis-cli of the page, at our Redis and as on a terminal."""
		assert command in page
		where = f"redis-cli -h {r.address} -p {r.port} --no-raw "
		words = command if command.startswith("redis-cli") else f"redis-cli {command}"
		return subprocess.run(["bash", "-o", "pipefail", "-c", words.replace("redis-cli ", where)], check=True,
			capture_output=True, text=True, timeout=4 * TIMEOUT).stdout
	assert cli("redis-cli --scan --pattern 'eaves:{example.org}:binding:*' | wc -l").strip() == "2"
	assert cli("redis-cli HLEN eaves:{example.org}:binding:alice") == "(integer) 2\n"
	lines = cli('HGETALL "eaves:{example.org}:binding:alice"').splitlines()
	row = r'\d\) "(\d{15})\.\d{5}\.\d{10} (live|gone) (\d{15}) (.*)"'
	found = {m[2]: m for m in map(re.compile(row).fullmatch, lines[1::2])}
	assert set(found) == {"live", "gone"}, lines
	written, _, expires, body = found["live"].groups()
	assert int(written) / 1000 - time.time() < 1 and 0 < int(expires) - int(written) <= 3600 * 1000
	assert re.search(r"sip:alice@[\d.]+:\d+", alice.contact).group() in body
	keys = {k.decode() for k in r.ask("KEYS", "*")}
	assert keys == {"eaves:{example.org}:" + k for k in
		("user:alice", "user:bob", "user:carol", "alias:100", "binding:alice", "binding:bob", "writable")}
	bob.register(expires=0)  # a deletion is a record too
	for e in c.edges:
		e.wait_metric("bindings", 1, LONG)
		e.wait_metric("redis_rows_waiting", 0, LONG)
	assert cli("redis-cli --scan --pattern 'eaves:{example.org}:binding:*' | wc -l").strip() == "2"
	ttl = {k.split(":", 2)[2]: r.ask("TTL", k) for k in keys}
	assert ttl["user:alice"] == ttl["alias:100"] == -1 and 0 < ttl["writable"] <= 60
	assert 3600 < ttl["binding:bob"] <= 2 * 3600 + 60
