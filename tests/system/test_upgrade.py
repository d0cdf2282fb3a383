"""Rolling upgrade: clusters whose nodes are of two neighbouring versions, with calls under way.

Twice: the programs of a commit of before (`make old`) beside the present ones, and the present
ones beside the same with the next version of the bus's protocol (`make next`)."""
import itertools
import subprocess

import pytest

from cluster import registered
from device import Device
from eaves import BIN, ROOT, TIMEOUT
from phone import Dialog, hang_up, pick_up, ring, talk
from rolling import Load, begin, in_call, message, partner, rolled
from test_bus import INSIDER


class Build:
	"""The programs of one version, and which version of the bus's protocol they say they speak."""

	def __init__(self, folder):
		self.folder = folder
		said = subprocess.run([folder / "eaves-home", "--version"], check=True, capture_output=True,
			text=True, timeout=4 * TIMEOUT).stdout
		self.protocol = int(said.rpartition(" bus protocol ")[2])

	def program(self, role):
		return str(self.folder / f"eaves-{role}")


def make(target):
	return subprocess.run(["make", "-s", "-j2", "-C", str(ROOT), f"FLAVOUR={BIN.name}", target],
		check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


@pytest.fixture(scope="session")
def old():
	why = make("old")
	folder = ROOT / "build/old"
	if not (folder / "eaves-home").exists():
		pytest.skip(why)
	return Build(folder)


@pytest.fixture(scope="session")
def builds(request):
	"""The lower and the higher of two neighbouring versions."""
	if request.param == "old":
		lower, upper = request.getfixturevalue("old"), Build(BIN)
		assert upper.protocol - lower.protocol in (0, 1), "UPGRADE_FROM is no neighbour any more"
	else:
		make("next")
		lower, upper = Build(BIN), Build(BIN / "next")
		assert upper.protocol == lower.protocol + 1
	return lower, upper


both = pytest.mark.parametrize("builds", ["old", "next"], indirect=True,
	ids=["old-and-present", "present-and-next"])
from_old = pytest.mark.parametrize("builds", ["old"], indirect=True, ids=["old-and-present"])


def started(cluster, build_of, users=(), first=None, **kw):
	"""Two edges and a pair of homes; build_of(node) says whose program each runs.  first: the node
	that the others prefer of its pair, since it has served for longer."""
	c = cluster(edges=2, one_address=True, start=False, **kw)
	for n in c.nodes:
		n.build = build_of(n)
		n.program = n.build.program(n.role)
	for n in sorted(c.nodes, key=lambda n: n.name != first):
		n.start()
		if n.name == first:
			n.wait_log("event=serving")
	c.wait_alive()
	c.edges[0].add_users(users)
	c.wait_users(len(users))
	return c


def mixed(cluster, one, other, **kw):
	"""Of each pair the first member is of the one build, the second of the other."""
	# At the end all of them are told to go at once, with nobody left for what they still keep.
	return started(cluster, lambda n: one if n.name in ("e1", "h1a") else other,
		config={"cluster": {"drain_s": 1}}, **kw)


def heard(c):
	"""What each node has heard of the others' versions is what they run."""
	for n in c.nodes:
		want = {m.name: m.build.protocol for m in c.nodes if m is not n}
		said = {x.split()[0]: int(x.split("version=")[1].split()[0])
			for x in n.ctl("cluster status").splitlines() if "version=" in x}
		assert said == want, f"{n.name} has heard {said}"


def all_bound(c, count):
	for n in c.nodes:
		c.wait(lambda n=n: n.metric("bindings") == count, f"{n.name} has not {count} bindings")


# ---- all nodes, one after the other ----

@both
def test_two_versions_run_mixed_upwards_and_back(cluster, builds):
	lower, upper = builds
	c = started(cluster, lambda n: lower, Load.USERS, config={"cluster": {"drain_s": 2}})
	load, way = Load(c), c.homes[0] + c.edges[::-1]

	def back_as(build, nodes):
		def program(n):
			n.build = build
			return build.program(n.role)
		# The old homes do not write down which connections a phone had before (docs/cluster.md).
		rolled(load, nodes, program, streams=lower.folder == BIN)
		heard(c)
		all_bound(c, len(Load.USERS))

	# Upwards homes first and edges last, back the other way round.
	back_as(upper, way)
	assert {n.build for n in c.nodes} == {upper}
	back_as(lower, way[::-1])
	assert {n.build for n in c.nodes} == {lower}


# ---- a cluster that stays mixed ----

class Place:
	"""A phone at one of the nodes, by UDP or on a stream."""

	def __init__(self, c, node, transport):
		self.node, self.user = node, f"{transport}-{node.name}"
		if transport == "tcp":
			self.phone = Device(self.user, node).phone
		else:
			self.phone = node.phone(self.user)
			self.phone.repeats, self.phone.line = True, c.phones
			c.phones.append(self.phone)
			self.phone.register()


def cancelled(caller, callee, invite, incoming):
	caller.cancel(invite)
	caller.expect(200)
	stopped(callee, incoming)
	caller.ack(invite, caller.expect(487))


def stopped(callee, incoming):
	cancel = callee.wait_for("CANCEL")
	assert cancel.branch == incoming.branch
	callee.reply(cancel, 200)
	callee.reply(incoming, 487)
	callee.wait_for("ACK")


def ring_all(caller, devices, user):
	invite = caller.invite(user)
	incoming = [d.expect("INVITE") for d in devices]
	for d, m in zip(devices, incoming):
		d.reply(m, 180)
		caller.expect(180)
	return invite, incoming


def answered(caller, devices, invite, incoming, which):
	"""That device picks up, and the others are told to stop; both dialogs."""
	answer = devices[which].reply(incoming[which], 200)
	ok = caller.wait_for(200)
	a = Dialog(caller, invite, ok, True)
	a.ack()
	devices[which].wait_for("ACK")
	for i, (d, m) in enumerate(zip(devices, incoming)):
		if i != which:
			stopped(d, m)
	return a, Dialog(devices[which], incoming[which], answer, False)


def all_refused(caller, devices, invite, incoming):
	caller.cancel(invite)
	caller.wait_for(200)
	for d, m in zip(devices, incoming):
		stopped(d, m)
	caller.ack(invite, caller.wait_for(487))


PLACES = [f"{t}-{n}" for n in ("e1", "e2", "h1a", "h1b") for t in ("udp", "tcp")]


@both
def test_phones_anywhere_reach_each_other_through_nodes_of_two_versions(cluster, builds):
	"""From everywhere to everywhere: a call that is answered, one that is cancelled, a message."""
	c = mixed(cluster, *builds, users=PLACES)
	heard(c)
	places = [Place(c, n, t) for n in c.nodes for t in ("udp", "tcp")]
	all_bound(c, len(places))
	for a, b in itertools.permutations([p.phone for p in places], 2):
		call = talk(a, b)
		in_call(*call)
		in_call(*reversed(call))
		hang_up(*call)
		cancelled(a, b, *ring(a, b))
		message(a, b)
	for n in c.nodes:
		bad = "node-dead|adopted|bus-refused|link-failed|link-unmarked|link-stranger"
		assert not n.log_count(f"event=({bad})"), n.tail()
		assert n.metric("cluster_bad_messages_total") == n.metric("cluster_records_refused_total") == 0


@both
def test_three_devices_at_nodes_of_two_versions_ring_and_stop(cluster, builds):
	c = mixed(cluster, *builds, users=(*PLACES, "trio"))
	e1, e2, h1a, h1b = c.nodes
	callers = [Place(c, n, t).phone for n in c.nodes for t in ("udp", "tcp")]
	devices = [c.phone("trio", edge=1), Device("trio", h1a, 1).phone, Device("trio", h1b, 2).phone]
	devices[0].register()
	all_bound(c, len(callers) + len(devices))
	for i, a in enumerate(callers):
		hang_up(*answered(a, devices, *ring_all(a, devices, "trio"), i % 3))
		all_refused(a, devices, *ring_all(a, devices, "trio"))


@both
def test_what_one_version_writes_the_other_reads(cluster, builds):
	"""Nonces, registrations and users, whichever of the two they are of."""
	c = mixed(cluster, *builds)
	e1, e2 = c.edges
	for edge, there, user in ((e1, e2, "alice"), (e2, e1, "bob")):
		edge.add_user(user)
		c.wait_users(1)
		phone = c.phone(user, edge=c.edges.index(edge))
		for one, other in (c.homes[0], c.homes[0][::-1], (edge, there)):
			# A challenge of one is answered at the other, and good for the next request at either.
			phone.server = one.where["udp"]
			m = phone.request("REGISTER", "sip:example.org", call_id=phone.call_id, to=f"<{phone.aor}>")
			challenge = phone.expect(401)
			phone.server = other.where["udp"]
			m = phone.again(m, challenge)
			phone.expect(200)
			all_bound(c, 1)
			phone.server = one.where["udp"]
			m = phone.resend(m, phone.credentials_again("REGISTER", "sip:example.org"))
			phone.expect(200)
			phone.server = other.where["udp"]
			phone.register(expires=0)
			all_bound(c, 0)
		# A password that is changed at the one edge counts behind the other; then they are gone.
		before = [n.metric("cluster_records_received_total") for n in c.homes[0]]
		there.ctl("user", "password", user, stdin="anew\n")
		for n, was in zip(c.homes[0], before):
			c.wait(lambda n=n, was=was: n.metric("cluster_records_received_total") > was,
				f"{n.name} has not heard of it")
		phone.server = edge.where["udp"]
		phone.register(password="anew")
		there.ctl("user", "remove", user)
		c.wait_users(0)
		all_bound(c, 0)


# ---- a node of a cluster that is mixed dies ----

@from_old
def test_the_address_of_an_old_node_that_is_gone_is_nobodys(cluster, builds):
	"""Its version did not say who it is when it connected."""
	c = mixed(cluster, *builds, users=("bob",))
	(old, edge), h = c.edges, c.homes[0][1]
	bob, = registered(c, "bob", edge=1)
	old.kill9()
	for n in (edge, h):
		n.wait_log("event=node-dead node=e1")

	def is_refused():
		mallory = h.phone("mallory", transport="tcp", to=h.link, source=old.address)
		mallory.request("MESSAGE", "sip:bob@example.org", INSIDER, body="spam")
		return mallory.next(1) is None and not mallory.is_open()
	c.wait(is_refused, "its address is believed for good", 4 * TIMEOUT)
	h.wait_log("event=link-refused source=" + old.address)

@from_old
@pytest.mark.parametrize("dies", ["old", "present"])
def test_a_survivor_of_the_other_version_goes_on(cluster, builds, dies):
	"""A home with calls of all kinds, and then, when it is back, an edge."""
	one, other = builds if dies == "old" else builds[::-1]
	users = ("alice", "bob", "carol", "dave", "erin", "frank", "gina", "trio")
	c = mixed(cluster, one, other, users=users, first="h1a")
	(e1, e2), (h1a, h1b) = c.edges, c.homes[0]
	alice, bob, carol, dave = udp = registered(c, *users[:4])
	erin, frank, gina = streams = Device("erin", h1a), Device("frank", h1a), Device("gina", e1)
	trio = [*registered(c, "trio", "trio"), Device("trio", h1b, 3).phone]
	count = len(udp) + len(streams) + len(trio)
	all_bound(c, count)

	def die(n):
		to = partner(c, n)
		n.kill9()
		to.wait_log(f"event=node-dead node={n.name}")
		for p in (*udp, *trio):
			if n is e1 and p.sock:
				p.server = to.where["udp"]
		for d in streams:
			if d.node is n:
				d.come_back(to)
				d.phone.wait_for(200)

	def through(n):
		"""Calls of every kind that are under way when it dies."""
		held = [talk(alice, bob), talk(gina.phone, erin.phone)]
		ringing = [(carol, [dave], *ring_all(carol, [dave], "dave")),
			(erin.phone, [frank.phone], *ring_all(erin.phone, [frank.phone], "frank")),
			(gina.phone, trio, *ring_all(gina.phone, trio, "trio"))]
		ending = [(dave, [carol], *ring_all(dave, [carol], "carol")),
			(frank.phone, [gina.phone], *ring_all(frank.phone, [gina.phone], "gina")),
			(bob, trio, *ring_all(bob, trio, "trio"))]
		die(n)
		for _, devices, _, incoming in ringing + ending:
			for d, m in zip(devices, incoming):
				if not d.sock:
					m.conn = d.stream  # where it answers from now on
				elif n is e1:
					m.source = e2.where["udp"]
		for call in ringing:
			held.append(answered(*call, 0))
		for call in ending:
			all_refused(*call)
		for call in held:
			in_call(*call)
			in_call(*reversed(call))
			hang_up(*call)

	through(h1a)
	# The nonce that the dead one gave is taken with the next count, and no count twice.
	asked = h1b.metric("challenges_total")
	again = alice.resend(alice.registered, alice.credentials_again("REGISTER", "sip:example.org"))
	alice.expect(200)
	assert h1b.metric("challenges_total") == asked
	alice.send(again.raw.replace(b"z9hG4bK", b"z9hG4bKx"))
	alice.expect(401)
	e1.add_user("henry")
	h1b.wait_metric("users", len(users) + 1)
	bob.register(expires=0)
	begin(c)
	h1a.start()
	c.wait_alive()
	h1a.wait_log("event=serving", since=h1a.mark)
	c.wait_users(len(users) + 1)
	all_bound(c, count - 1)
	bob.register()
	all_bound(c, count)
	through(e1)
	e2.add_user("ida")
	e1.start()
	c.wait_alive()
	c.wait_users(len(users) + 2)
	all_bound(c, count)
	heard(c)
