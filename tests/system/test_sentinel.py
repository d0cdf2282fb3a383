"""Redis behind Sentinel, cut off: three servers, three sentinels, two edges and a network between them
that is cut.  A primary that has lost its replicas refuses (min-replicas-to-write), another one is made,
and the edges write there what the first one refused, and what it took last.
"""
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from cluster import registered
from phone import hang_up, talk
from redis_server import Watched
from test_redis import LONG, edges_with, same_in_redis

USERS = ("alice", "bob", "carol", "dave", "eve")


@pytest.fixture
def watched():
	w = Watched()
	yield w
	w.close()


class Site:
	"""Two edges that ask the sentinels; alice, bob and eve are registered, and all of that is in Redis."""

	def __init__(self, cluster, watched, **redis):
		self.w = watched
		self.c = edges_with(cluster, {"sentinels": watched.where(), "primary": "eaves", **redis})
		self.c.edges[0].add_users(USERS)
		self.c.wait_users(len(USERS))
		self.phones = dict(zip(("alice", "bob", "eve"), registered(self.c, "alice", "bob", "eve")))
		self.old = watched.servers[0]
		self.settled(self.old)
		self.before = self.figures("redis_dropped_total")

	def figures(self, name):
		return {e.name: e.metric(name) for e in self.c.edges}

	def says(self, text):
		return all(text in e.ctl("cluster status").splitlines()[-1] for e in self.c.edges)

	def settled(self, server, users=USERS):
		"""Both edges write to it, and it has all."""
		self.c.wait(lambda: len({n.metric("bindings") for n in self.c.nodes}) == 1, "not all have all", LONG)
		self.c.wait(lambda: self.says(f"redis up {server.wire.where()} waiting=0") and not self.says("dirty"),
			"the edges do not write to it", LONG)
		self.c.wait(lambda: sum(self.figures("redis_dirty").values()) == 0, "not all is written", LONG)
		same_in_redis(server, self.c, set(users))

	def until_refused(self):
		"""alice registers until the primary does not take it any more."""
		def refused():
			self.phones["alice"].register()
			return self.says("NOREPLICAS")
		self.c.wait(refused, "the primary without replicas is not left", LONG)
		assert self.figures("redis_up") == {"e1": 0, "e2": 0}

	def change(self):
		"""What the old primary will never hear of."""
		self.phones["carol"] = self.c.phone("carol")
		self.phones["carol"].register()
		self.phones["eve"].register(expires=0)
		hang_up(*talk(self.phones["alice"], self.phones["bob"]))

	def new_primary(self, *sentinels):
		def other():
			p = self.w.named(sentinels)
			return p if p and p is not self.old and p.serves() else None
		return self.w.wait(other, "no replica has become the primary")

	def healed(self, new, users):
		"""The old one is a replica, and nothing is wrong anywhere."""
		downs = [e.log_count("event=redis-down") for e in self.c.edges]
		self.w.heal()
		p = self.w.wait(self.w.whole, "the old primary does not follow")
		self.settled(p, users)
		self.phones["dave"] = self.c.phone("dave", edge=1)
		self.phones["dave"].register()
		self.settled(p, users)
		self.w.wait(self.w.whole, "the old primary has not got the last")
		for kind in ("user", "binding"):
			assert self.old.live(kind) == new.live(kind)
		assert set(new.live("binding")) == {"alice", "bob", "carol", "dave"}
		assert p is not new or [e.log_count("event=redis-down") for e in self.c.edges] == downs


def test_a_primary_that_is_cut_off_refuses_and_the_edges_lose_nothing(cluster, watched):
	"""They reach all of them."""
	site = Site(cluster, watched, timeout_ms=60000)
	old, guards = site.old, watched.guards
	watched.cut([old], watched.servers[1:])
	site.until_refused()
	site.change()
	with ThreadPoolExecutor() as pool:
		operator = pool.submit(site.c.edges[1].add_users, ["frank"])
		site.c.wait(lambda: all(v > 0 for v in site.figures("redis_rows_waiting").values()),
			"nothing waits for Redis", LONG)
		assert set(old.live("binding")) == {"alice", "bob", "eve"}
		watched.cut([old], watched.servers[1:] + guards)
		new = site.new_primary(*guards)
		site.settled(new, (*USERS, "frank"))
		operator.result()
	assert site.figures("redis_dropped_total") == site.before
	assert set(old.live("binding")) == {"alice", "bob", "eve"} and "frank" not in old.live("user")
	site.healed(new, (*USERS, "frank"))


def test_edges_that_are_cut_off_with_their_primary_write_everything_to_the_new_one(cluster, watched):
	"""A sentinel is on their side, which does not know better."""
	site = Site(cluster, watched)
	old, guards = site.old, watched.guards
	watched.cut([old], watched.servers[1:])
	site.until_refused()
	watched.cut([old, guards[0], Watched.EDGES], watched.servers[1:] + guards[1:])
	new = site.new_primary(*guards[1:])
	assert guards[0].primary() == old.wire.where()
	site.change()
	site.c.edges[0].add_users(["frank"])
	assert site.figures("redis_up") == {"e1": 0, "e2": 0}
	assert set(new.live("binding")) == set(old.live("binding")) == {"alice", "bob", "eve"}
	site.healed(new, (*USERS, "frank"))


@pytest.mark.parametrize("fault", ["stopped", "killed"])
def test_a_primary_that_was_away_comes_back_as_a_replica(cluster, watched, fault):
	"""By its own word it is the primary still, until a sentinel has told it otherwise."""
	site = Site(cluster, watched, timeout_ms=60000)
	old = site.old
	if fault == "stopped":
		old.process.send_signal(signal.SIGSTOP)
	else:
		old.kill9()
	site.change()
	new = site.new_primary(*watched.guards)
	site.settled(new)
	if fault == "stopped":
		old.process.send_signal(signal.SIGCONT)
	else:
		old.start()
	site.healed(new, USERS)
