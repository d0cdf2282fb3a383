"""A pair of homes: what both members see, one of them does."""
from cluster import registered

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
