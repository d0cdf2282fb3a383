"""Two edges that write the same records to one Redis in different order: the connection of one of them
is slow, so what it writes comes after what the other one has written later.  Redis compares versions
itself: an older one never stands over a newer one, nor for a moment.
"""
from concurrent.futures import ThreadPoolExecutor

import pytest

from eaves import merged
from redis_server import Redis
from test_redis import LONG, same_in_redis
from wire import Wire

USERS = ("alice", "bob", "carol", "dave")


class Site:
	"""e1 goes to Redis by a wire, e2 straight."""

	def __init__(self, cluster):
		self.redis = Redis()
		self.wire = Wire((self.redis.address, self.redis.port))
		self.c = cluster(edges=2, store="memory", start=False)
		self.slow, self.fast = self.c.edges
		for e, to in ((self.slow, self.wire), (self.fast, self.redis)):
			e.write_config(merged(e.config, {"redis": {"servers": to.where(), "timeout_ms": 60000}}))
		self.c.start()
		for e in self.c.edges:
			e.wait_metric("redis_up", 1, LONG)
		self.fast.add_users(USERS)
		self.c.wait_users(len(USERS))

	def value(self, kind, user):
		"""What Redis has: version first."""
		values = self.redis.values(kind, user)
		assert len(values) == 1
		return values[0]

	def at_rest(self):
		for e in self.c.edges:
			e.wait_metric("redis_dirty", 0, LONG)
			e.wait_metric("redis_rows_waiting", 0, LONG)

	def close(self):
		self.wire.close()
		self.redis.close()


@pytest.fixture
def site(cluster):
	made = []

	def run():
		made.append(Site(cluster))
		return made[-1]
	yield run
	for s in made:
		s.close()


# What a phone does first, which the slow edge writes last; and then.
ORDERS = {"bob": (100, 200), "carol": (100, 0), "dave": (0, 200)}


def test_an_older_registration_never_stands_over_a_newer_one(site):
	s = site()
	phones = {u: s.c.phone(u) for u in ORDERS}
	for u, p in phones.items():
		p.register(expires=300)
	for e in s.c.edges:
		e.wait_metric("bindings", len(ORDERS), LONG)
	s.at_rest()
	start = {u: s.value("binding", u)[:32] for u in ORDERS}
	s.wire.hold_requests()

	def change(which, before):
		for u, p in phones.items():
			p.register(expires=ORDERS[u][which])
		s.c.wait(lambda: all(s.value("binding", u)[:32] > before[u] for u in ORDERS),
			"the other edge has not written", LONG)
		return {u: s.value("binding", u) for u in ORDERS}
	older = change(0, start)
	newer = change(1, {u: v[:32] for u, v in older.items()})
	# What the slow edge has to say comes in turn, each call when Redis has answered the one before.
	late = {v[:32] for v in (*older.values(), *newer.values())}
	while late:
		late -= s.wire.wait_held(*late)
		s.wire.let_so_far()
		assert {u: s.value("binding", u) for u in ORDERS} == newer
	s.wire.let()
	s.at_rest()
	assert {u: s.value("binding", u) for u in ORDERS} == newer
	assert set(s.redis.live("binding")) == {"bob", "dave"}
	same_in_redis(s.redis, s.c, set(USERS))


def lets_in(node, user, word):
	p = node.phone(user, password=word)
	m = p.request("REGISTER", "sip:example.org", to=f"<{p.aor}>")
	p.again(m, p.expect(401))
	return p.next().status == 200


def test_of_two_changes_of_one_user_the_first_in_redis_stands(site):
	"""The operator at the slow edge is told, and what he did is undone there as well."""
	s = site()
	users = {"alice": ("password", "password"), "carol": ("remove", "password"),
		"dave": ("password", "remove"), "frank": ("add", "add")}
	words = {s.slow: "of the slow one", s.fast: "of the fast one"}
	stands = {}

	def change(edge, user):
		what = users[user][edge is s.fast]
		return edge.ctl_raw("user", what, user, stdin="" if what == "remove" else words[edge] + "\n")
	s.at_rest()
	for u in users:
		s.wire.hold_requests()
		with ThreadPoolExecutor() as pool:
			slow = pool.submit(change, s.slow, u)
			s.wire.wait_held(f":user:{u}".encode())
			assert change(s.fast, u).returncode == 0
			stands[u] = s.value("user", u)
			s.wire.let()
			assert "at the other edge at the same time" in slow.result().stderr
			assert slow.result().returncode == 1
	s.at_rest()
	assert s.slow.metric("redis_conflicts_total") == len(users)
	assert {u: s.value("user", u) for u in users} == stands
	assert set(s.redis.live("user")) == {"alice", "bob", "carol", "frank"}
	for n in s.c.nodes:
		n.wait_metric("users", 4, LONG)
		s.c.wait(lambda n=n: "equal=no" not in n.ctl("cluster status"), f"{n.name} has not the same", LONG)
	for u in users:
		for n in (*s.c.homes[0], *s.c.edges):
			assert lets_in(n, u, words[s.fast]) == (u != "dave")
			assert not lets_in(n, u, words[s.slow])
