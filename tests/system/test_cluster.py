"""A cluster of real processes: an edge and homes on loopback, their links and what goes over them."""
import pytest

from cluster import Cluster
from phone import SDP, Dialog, hang_up, talk
from sip import param


@pytest.fixture
def cluster(request):
	"""cluster(...) gives a running Cluster; at the end every node is stopped and checked."""
	made = []

	def run(*args, **kw):
		c = Cluster(*args, **kw)
		made.append(c)
		return c
	yield run
	errors = []
	for c in made:
		try:
			c.close()
		except AssertionError as e:
			errors.append(str(e))
		for n in c.nodes:
			print(f"--- log of {n.name}\n{n.tail(200)}")
	assert not errors, "\n".join(errors)


def registered(c, *users, **kw):
	phones = [c.phone(u, **kw) for u in users]
	for p in phones:
		p.register()
	return phones


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_call_goes_through_edge_and_home(cluster, transport):
	c = cluster(users=("alice", "bob"))
	alice, bob = registered(c, "alice", "bob", transport=transport)
	a, b = talk(alice, bob)
	hang_up(a, b)
	a, b = talk(bob, alice)
	hang_up(b, a)


def test_users_of_different_homes_call_each_other(cluster):
	c = cluster(homes=2)
	e = c.edges[0]
	for user, home in (("alice", "h1"), ("bob", "h2")):
		e.ctl("user add", user, home, stdin=f"secret-of-{user}\n")
	c.wait_users(2)
	alice, bob = registered(c, "alice", "bob")
	a, b = talk(alice, bob)
	hang_up(a, b)
	invite = bob.invite("alice")
	incoming = alice.expect("INVITE")
	assert incoming.get("p-asserted-identity") == "<sip:bob@example.org>"
	assert not incoming.all("eaves-link") and not incoming.all("proxy-authorization")
	alice.reply(incoming, 180)
	bob.expect(180)
	bob.cancel(invite)
	bob.expect(200)
	cancel = alice.expect("CANCEL")
	alice.reply(cancel, 200)
	alice.reply(incoming, 487)
	r = bob.expect(487)
	bob.ack(invite, r)
	alice.expect("ACK")


def test_a_refused_call_is_repeated_until_it_is_acknowledged(cluster):
	"""Behind the stateless edge it is the home that repeats itself, for the phone's leg."""
	c = cluster(users=("alice", "bob"))
	alice, bob = registered(c, "alice", "bob")
	invite = alice.invite("bob")
	incoming = bob.expect("INVITE")
	bob.reply(incoming, 486)
	bob.expect("ACK")
	r = alice.expect(486)
	alice.expect_again(r)
	alice.ack(invite, r)


def test_three_devices_ring_and_one_answers(cluster):
	c = cluster(users=("alice", "bob"))
	alice, *bobs = registered(c, "alice", "bob", "bob", "bob")
	invite = alice.invite("bob")
	incoming = [b.expect("INVITE") for b in bobs]
	for b, m in zip(bobs, incoming):
		b.reply(m, 180)
	for _ in bobs:
		alice.expect(180)
	answer = bobs[1].reply(incoming[1], 200)
	ok = alice.expect(200)
	for b, m in ((bobs[0], incoming[0]), (bobs[2], incoming[2])):
		cancel = b.expect("CANCEL")
		b.reply(cancel, 200)
		b.reply(m, 487)
		b.expect("ACK")
	a = Dialog(alice, invite, ok, True)
	a.ack()
	bobs[1].expect("ACK")
	hang_up(a, Dialog(bobs[1], incoming[1], answer, False))


def test_a_message_goes_to_another_home(cluster):
	c = cluster(homes=2, users=[f"u{i}" for i in range(8)])
	phones = registered(c, *[f"u{i}" for i in range(8)])
	for a, b in zip(phones, phones[1:]):
		m = a.request("MESSAGE", f"sip:{b.user}@example.org", body="hello")
		m = a.again(m, a.expect(407))
		b.reply(b.expect("MESSAGE"), 200)
		a.expect(200)


def test_nobody_but_nodes_speaks_to_a_home_by_its_link(cluster):
	c = cluster(users=("alice", "bob"))
	h = c.homes[0][0]
	stranger = h.phone("mallory", transport="tcp", to=h.link)
	stranger.request("MESSAGE", "sip:bob@example.org", [
		("Eaves-Link", "m=5;t=udp;s=192.0.2.1:5060;u=alice")], body="spam")
	stranger.expect(403)
	outsider = c.phone("alice")
	outsider.request("MESSAGE", "sip:bob@example.org", [
		("Eaves-Link", "m=5;t=udp;s=192.0.2.1:5060;u=alice")], body="spam")
	outsider.expect(407)
