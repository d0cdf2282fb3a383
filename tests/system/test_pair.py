"""A pair of homes: what both members see, one of them does; and what a home may do without others, or not
to others."""
import sqlite3
import time

from cluster import health, registered
from phone import hang_up, talk
from rolling import message

SENT = "cluster_records_sent_total"
REPAIRED = ("cluster_repaired_sent_total", "cluster_repaired_received_total")


def figures(c, name):
	return {n.name: n.metric(name) for n in c.nodes}


def at_rest(c):
	"""Until all tables are the same and nobody waits for anybody."""
	c.wait(lambda: all(" equal=no" not in n.ctl("cluster status") and n.metric("cluster_waiting") == 0
		for n in c.nodes), "tables differ")


def test_the_bindings_of_a_user_who_is_deleted_are_taken_away_once(cluster):
	c = cluster(users=("alice", "bob"))
	registered(c, "alice", "alice", "bob")
	for n in c.nodes:
		n.wait_metric("bindings", 3, 20)
	at_rest(c)
	before, repaired = figures(c, SENT), [figures(c, m) for m in REPAIRED]
	c.edges[0].ctl("user remove", "alice")
	for n in c.nodes:
		n.wait_metric("bindings", 1, 20)
	at_rest(c)
	pair = c.homes[0]
	assert sorted(n.metric("removed_total") for n in pair) == [0, 2]
	# Two deletions of one member, to the other one and to the edge; of the other member nothing.
	assert sorted(n.metric(SENT) - before[n.name] for n in pair) == [0, 4]
	assert [figures(c, m) for m in REPAIRED] == repaired


def test_who_is_left_alone_takes_away_what_a_deleted_user_had(cluster):
	c = cluster(users=("alice", "bob"))
	registered(c, "alice", "bob")
	for n in c.nodes:
		n.wait_metric("bindings", 2, 20)
	a, b = c.homes[0]
	for dead, left in ((a, b), (b, a)):
		user = "alice" if dead is a else "bob"
		dead.kill9()
		c.wait(lambda: dead.name not in left.alive() and dead.name not in c.edges[0].alive(),
			f"{dead.name} is not seen to be dead")
		c.edges[0].ctl("user remove", user)
		for n in (left, c.edges[0]):
			n.wait_metric("bindings", 1 if dead is a else 0, 20)
		assert left.metric("removed_total") == 1
		dead.start()
		c.wait_alive()
		at_rest(c)
		assert not dead.registrations(user)


def test_phones_hear_nothing_of_either_home_that_they_did_not_ask_for(cluster):
	c = cluster(users=("alice", "bob"), config={"registrar": {"expires_min_s": 1}})
	alice, bob = registered(c, "alice", "bob")
	alice.register(expires=1)
	for n in c.homes[0]:
		c.wait(lambda n=n: not n.registrations("alice"), "the registration does not end")
	before = figures(c, SENT)
	for phone in (alice, bob):
		phone.expect_nothing()
	assert figures(c, SENT) == before


def test_a_pair_of_homes_starts_and_serves_without_any_edge(cluster):
	"""Each member has the directory on its own disk; the second one gets what the first has taken."""
	c = cluster(users=("alice", "bob"), store="sqlite")
	a, b = c.homes[0]
	for n in c.nodes:
		n.kill9()
	mark = len(a.lines)
	a.start()
	a.wait_log("event=serving", since=mark, timeout=20)
	alice, bob = a.phone("alice"), a.phone("bob", transport="tcp")
	alice.register()
	bob.register()
	hang_up(*talk(alice, bob))
	assert a.metric("cluster_stranded") == 1 and health(a) == 200
	b.start()
	b.wait_metric("users", 2, 20)
	b.wait_metric("bindings", 2, 20)


def test_a_home_writes_no_registrations_of_anothers_users(cluster):
	"""A home that is stolen has a key; what it may write with it is decided where it comes."""
	c = cluster(homes=2, members=1, store="sqlite")
	e, (h1,), (h2,) = c.edges[0], *c.homes
	for user, home in (("alice", "h1"), ("bob", "h2")):
		e.ctl("user add", user, home, stdin=f"secret-of-{user}\n")
	c.wait_users(2)
	alice, bob = registered(c, "alice", "bob")
	e.wait_metric("bindings", 2, 20)
	h1.stop()
	h2.stop()
	with sqlite3.connect(h1.dir / "eaves.db") as db:
		device, = db.execute("SELECT name FROM record WHERE kind = 3").fetchone()
	db.close()
	# In the name of the thief, later than all: a device of his for alice, and that hers is gone.
	with sqlite3.connect(h2.dir / "eaves.db") as db:
		node, expires, body = db.execute("SELECT node, expires_ms, body FROM record WHERE kind = 3").fetchone()
		for name, deleted, data in ((b"of thief", 0, body), (device, 1, b"")):
			db.execute("INSERT INTO record VALUES(3, ?, ?, ?, ?, ?, ?, ?)", (b"alice", name,
				int(time.time() * 1000) << 16, node, deleted, expires, data))
	db.close()
	h1.start()
	h2.start()
	c.wait_alive()
	c.wait(lambda: e.metric("cluster_records_refused_total") >= 2, "what it wrote is not refused")
	e.wait_log("event=cluster-record-refused node=h2a kind=binding")
	assert e.metric("bindings") == 2 and h1.metric("bindings") == 1
	message(bob, alice)
