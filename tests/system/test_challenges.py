"""An edge asks for credentials in place of the home (RFC 3261 22); the home says if they are right."""
import pytest

from cluster import registered
from phone import hang_up, talk
from sip import challenges


def asked(c):
	"""How many requests each node has asked for credentials: the edges, the homes."""
	return (sum(e.metric("edge_challenges_total") for e in c.edges),
		sum(h.metric("challenges_total") for pair in c.homes for h in pair))


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_no_home_hears_of_a_request_before_it_has_credentials(cluster, transport):
	c = cluster(users=("alice", "bob"))
	alice, bob = registered(c, "alice", "bob", transport=transport)
	a, b = talk(alice, bob)
	hang_up(a, b)
	assert asked(c) == (3, 0)
	# The ACK to the edge's own 407 ends there too: two for the registrations, INVITE, ACK and BYE.
	m = alice.request("INVITE", "sip:bob@example.org")
	before = c.edges[0].metric("edge_to_home_total")
	alice.ack(m, alice.expect(407))
	alice.request("OPTIONS", "sip:example.org", frm="<sip:carl@elsewhere.example>;tag=1")
	alice.wait_for(200)
	assert c.edges[0].metric("edge_to_home_total") == before


def test_both_members_take_the_edges_nonce_and_each_count_once(cluster):
	c = cluster(users=("alice",))
	alice, = registered(c, "alice")
	m = alice.registered
	serving = next(h for h in c.homes[0] if h.metric("registers_total") == 1)
	other = next(h for h in c.homes[0] if h is not serving)
	again = alice.credentials_again("REGISTER", "sip:example.org")
	at_edge, alice.server = alice.server, other.where["udp"]
	alice.resend(m, again)
	alice.expect(200)
	# Its 200 says that the other member holds all of it: neither takes it once more.
	alice.server = at_edge
	alice.resend(m, again)
	alice.expect(401)
	assert asked(c)[1] == 1


def test_a_nonce_for_one_pair_is_none_for_another(cluster):
	"""What was sent to one pair could be repeated to the other, which does not know of it."""
	c = cluster(homes=2)
	for user, home in (("alice", "h1"), ("bob", "h2")):
		c.edges[0].ctl("user add", user, home, stdin=f"secret-of-{user}\n")
	c.wait_users(2)
	alice, bob = c.phone("alice"), c.phone("bob")
	for_alice = alice.request("REGISTER", "sip:example.org", frm=f"<{alice.aor}>;tag=1",
		to=f"<{alice.aor}>")
	challenge = alice.expect(401)
	m = bob.request("REGISTER", "sip:example.org", frm=f"<{bob.aor}>;tag=1", to=f"<{bob.aor}>")
	bob.expect(401)
	bob.again(m, challenge)
	r = bob.expect(401)
	assert all(x["stale"] == "true" for x in challenges(r))
	bob.again(m, r)
	bob.expect(200)
	alice.again(for_alice, challenge)
	alice.expect(200)


def test_a_nonce_for_another_source_is_stale(cluster):
	c = cluster(users=("alice",))
	alice, thief = c.phone("alice"), c.phone("alice", source="127.0.0.9")
	m = alice.request("REGISTER", "sip:example.org", frm=f"<{alice.aor}>;tag=1", to=f"<{alice.aor}>")
	challenge = alice.expect(401)
	thief.again(m, challenge)
	assert all(x["stale"] == "true" for x in challenges(thief.expect(401)))
	alice.again(m, challenge)
	alice.expect(200)


def test_what_a_home_says_before_it_asks_it_still_says(cluster):
	c = cluster(users=("alice",))
	alice = c.phone("alice")
	alice.request("REGISTER", "sip:example.org", [("Require", "teleport")])
	assert alice.expect(420).get("unsupported") == "teleport"
	assert asked(c) == (0, 0)


def test_a_register_of_ours_for_another_domain_is_a_proxys_to_ask(cluster):
	"""Its Authorization would go on to that domain."""
	c = cluster(users=("alice",))
	alice = c.phone("alice")
	m = alice.request("REGISTER", "sip:elsewhere.example", frm=f"<{alice.aor}>;tag=1",
		to=f"<{alice.aor}>")
	r = alice.expect(407)
	assert asked(c) == (1, 0)
	alice.again(m, r, change={"response": "0" * 64})
	assert alice.expect(407).all("www-authenticate") == []
	assert asked(c) == (1, 1)


def test_nobody_is_asked_for_a_pair_that_is_dead(cluster):
	c = cluster(users=("alice",))
	for n in c.homes[0]:
		n.kill9()
	c.edges[0].wait_log("event=node-dead node=h1b")
	alice = c.phone("alice")
	alice.request("REGISTER", "sip:example.org", frm=f"<{alice.aor}>;tag=1", to=f"<{alice.aor}>")
	assert alice.expect(503).get("retry-after") == "5"
	assert c.edges[0].metric("edge_challenges_total") == 0
