"""Drain: nodes of a cluster end and come back while calls are under way."""
import signal
import time

import pytest

from certs import Authority
from cluster import health, registered
from phone import hang_up, pick_up, ring
from rolling import Load, begin, drain, ended, message, rolled
from test_cluster import serving

DRAIN_S = 5  # cluster.drain_s as it is by default


def drain_file(n):
	return (n.dir / "drain").read_text()


@pytest.mark.parametrize("links", ["tcp", "tls"])
def test_nothing_fails_while_every_node_is_restarted_in_turn(cluster, tmp_path, links):
	ca = Authority(tmp_path) if links == "tls" else None
	c = cluster(edges=2, users=Load.USERS, ca=ca, one_address=True)
	rolled(Load(c), c.homes[0] + c.edges[::-1])
	assert [len(n.registrations()) for n in c.homes[0]] == [len(Load.USERS)] * 2


def test_a_node_that_drains_says_so_and_a_second_signal_ends_it(cluster):
	c = cluster(users=("alice", "bob"))
	alice, bob = registered(c, "alice", "bob")
	ringing = ring(alice, bob)
	one, other = serving(c, "bob")
	assert drain_file(one) == "0\n" and health(one) == 200
	begin(c)
	drain(one)
	began = time.monotonic()
	c.edges[0].wait_log(f"event=node-alive node={one.name} serves=no", since=c.edges[0].mark)
	assert f"{one.name} home pair=h1 draining" in c.edges[0].ctl("cluster status")
	assert health(one) == 503 and one.metric("cluster_serving") == 0
	c.wait(lambda: drain_file(one) == "1\n", "the address is not released")
	# What is new, and what the ringing phone says, goes to the other member.
	message(bob, alice)
	other.wait_log_count("event=forked .*user=alice ", 1)
	c.wait(lambda: time.monotonic() > began + 0.4, "time stands still")
	one.process.send_signal(signal.SIGTERM)
	ended(one)
	assert time.monotonic() < began + DRAIN_S
	hang_up(*pick_up(alice, bob, *ringing))
	one.start()
	one.wait_log("event=joining", since=one.mark)
	one.wait_log("event=serving", since=one.mark)
	assert drain_file(one) == "0\n"


def test_calls_that_ring_longer_than_drain_s_are_left_to_the_other_home(cluster):
	c = cluster(users=("alice", "bob"), config={"cluster": {"drain_s": 1}})
	alice, bob = registered(c, "alice", "bob")
	ringing = ring(alice, bob)
	one, other = serving(c, "bob")
	begin(c)
	drain(one)
	ended(one)
	one.wait_log("event=requests-left requests=1", since=one.mark)
	bob.reply(ringing[1], 486)
	alice.ack(ringing[0], alice.expect(486))
	bob.expect("ACK")
	other.wait_log("event=rebuilt from=response status=486")


def test_who_is_called_by_an_edge_that_drains_is_hung_up_on_first(cluster):
	"""A phone on a stream learns at once that it is to go to the other edge, while the first one
	still has the address; what comes meanwhile waits for it."""
	c = cluster(edges=2, users=("alice", "bob"))
	alice = c.phone("alice", edge=1)
	bob = c.phone("bob", edge=0, transport="tcp")
	alice.register()
	device = {"contact": bob.contact + ';reg-id=1;+sip.instance="<urn:uuid:b0b>"',
		"headers": [("Supported", "outbound, path")]}
	bob.register(**device)
	one, other = c.edges
	c.wait(lambda: other.metric("bindings") == 2, "the other edge does not know bob")
	begin(c)
	drain(one)
	bob.expect_closed()
	m = alice.request("MESSAGE", "sip:bob@example.org", body="x")
	m = alice.again(m, alice.expect(407))
	# At the first edge where the drain, so soon after the start, was not yet known to all.
	c.wait(lambda: other.metric("deferred") + one.metric("deferred") >= 1,
		"the message does not wait for him")
	bob.server = other.where["tcp"]
	bob.connect()
	r = bob.request("REGISTER", "sip:example.org", device["headers"], call_id=bob.call_id,
		to=f"<{bob.aor}>", contact=bob.contact + ';reg-id=1;+sip.instance="<urn:uuid:b0b>"')
	bob.again(r, bob.wait_for(401))
	bob.reply(bob.wait_for("MESSAGE"), 200)
	alice.expect(200)
	ended(one)


def test_a_home_alone_finishes_what_it_has(cluster):
	"""Nobody else could: it waits for the answer."""
	c = cluster(members=1, users=("alice", "bob"))
	alice, bob = registered(c, "alice", "bob")
	ringing = ring(alice, bob)
	home = c.homes[0][0]
	begin(c)
	drain(home)
	a, b = pick_up(alice, bob, *ringing)
	ended(home)
	assert not home.log_count("requests-abandoned|requests-left")
