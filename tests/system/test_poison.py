"""Poison: a message that crashes one process is refused by all others, and by that one afterwards.

The product has no door for this: crash.c, preloaded, makes functions of libraries crash over bytes
that hold a marker, in every process of the cluster alike.
"""
import pathlib
import subprocess

import pytest

from cluster import registered
from eaves import BIN
from phone import hang_up, talk

AT_HOME, IN_PARSER, FORWARDED = "poison-home", "poison-parser", "poison-forward"

pytestmark = pytest.mark.skipif(BIN.name != "release",
	reason="a sanitizer wants to be loaded first, and takes the crash for its own")


@pytest.fixture(scope="module")
def library(tmp_path_factory):
	out = tmp_path_factory.mktemp("crash") / "crash.so"
	source = pathlib.Path(__file__).with_name("crash.c")
	subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-fno-builtin", "-D_GNU_SOURCE", "-Wall", "-Werror",
		"-o", str(out), str(source)], check=True)
	return str(out)


@pytest.fixture
def fragile(cluster, library):
	"""A cluster of processes that crash over the markers."""
	def run(users=("alice", "bob"), **kw):
		c = cluster(start=False, **kw)
		for n in c.nodes:
			n.env["LD_PRELOAD"] = library
		c.start()
		c.edges[0].add_users(users)
		c.wait_users(len(users))
		return c
	return run


def dead(c):
	return [n for n in c.nodes if n.process and n.exit_status is not None]


def one_crashed(c, among):
	"""Exactly one process dies, one of these, and every other one knows of what."""
	c.wait(lambda: dead(c), "nobody crashed")
	assert len(dead(c)) == 1 and dead(c)[0] in among
	n = dead(c)[0]
	n.crashed()
	n.wait_log(r"level=error event=crashed signal=SIGSEGV fingerprint=\w{16} call-id=")
	for other in c.nodes:
		if other.process:
			other.wait_log("event=poison-learnt")
	return n


def poisoned(phone, request, response):
	"""The request again, with credentials that a home crashes over."""
	return phone.again(request, response, change={"cnonce": AT_HOME})


def refused(phone, m):
	"""The very bytes of m are answered with 403."""
	phone.send(m.raw)
	r = phone.expect(403)
	assert r.call_id == m.call_id and r.cseq == m.cseq
	return r


def calls_go_on(alice, bob):
	a, b = talk(alice, bob)
	hang_up(a, b)


def test_what_crashed_a_home_is_refused_by_edge_and_other_home(fragile):
	c = fragile()
	alice, bob = registered(c, "alice", "bob")
	m = alice.request("INVITE", "sip:bob@example.org")
	m = poisoned(alice, m, alice.expect(407))
	one = one_crashed(c, c.homes[0])
	other = next(h for h in c.homes[0] if h is not one)
	# The retransmission ends at the edge; and where somebody sends it straight to the home.
	r = refused(alice, m)
	c.edges[0].wait_log("event=poison-refused")
	refused(other.phone("alice"), m)
	other.wait_log("event=poison-refused")
	alice.ack(m, r)
	assert not dead(c)
	calls_go_on(alice, bob)
	# The very next thing that bob got was the new call, not that ACK.
	assert [x.method for x in bob.log if x.method and x.method != "REGISTER"] == \
		["INVITE", "ACK", "BYE"]
	# It remembers, and so do all others, whatever is restarted.
	one.start()
	one.wait_log("event=poison-remembered messages=1")
	c.wait_alive()
	refused(one.phone("alice"), m)
	c.edges[0].restart()
	refused(c.phone("alice"), m)
	assert not dead(c)
	assert one.metric("messages_poison_total") == 1 and one.metric("poison_known") == 1


def test_what_crashed_a_home_when_it_was_written_down_is_not_taken_over(cluster, library):
	"""An INVITE to several devices is forwarded when its record is at the other home: it crashes
	the first one then, and the other one has the record."""
	c = cluster(start=False)
	for n in c.homes[0]:
		n.env["LD_PRELOAD"] = library
	c.start()
	c.edges[0].add_users(("alice", "bob"))
	c.wait_users(2)
	alice, *bobs = registered(c, "alice", "bob", "bob", "bob")
	m = alice.request("INVITE", "sip:bob@example.org", [("Subject", FORWARDED)])
	m = alice.again(m, alice.expect(407))
	one = one_crashed(c, c.homes[0])
	other = next(h for h in c.homes[0] if h is not one)
	other.wait_log('event=adopt-failed error="it has crashed')
	alice.ack(m, refused(alice, m))
	one.start()
	c.wait_alive()
	assert not dead(c)
	a, b = talk(alice, bobs[0])
	hang_up(a, b)


def test_what_crashed_an_edge_is_refused_by_the_other_edge(fragile):
	c = fragile(edges=2)
	alice, bob = registered(c, "alice", "bob")
	m = alice.request("MESSAGE", f"sip:{IN_PARSER}@example.org", body="x")
	assert one_crashed(c, c.edges) is c.edges[0]
	for p in (alice, bob):
		p.server = c.edges[1].where["udp"]
	refused(alice, m)
	for p in (alice, bob):
		p.register()
	calls_go_on(alice, bob)
	assert not dead(c)


def test_what_crashed_the_framing_of_a_link_is_not_sent_over_the_next(fragile):
	c = fragile()
	alice, bob = registered(c, "alice", "bob")
	carl = c.phone("carl", domain="elsewhere.example")
	m = carl.request("MESSAGE", "sip:bob@example.org", [("Subject", IN_PARSER)], body="x")
	one_crashed(c, c.homes[0])
	refused(carl, m)
	calls_go_on(alice, bob)
	assert not dead(c)


def test_the_edge_does_not_repeat_for_a_stream_what_killed_the_first_home(fragile):
	"""The phone does not repeat it; when a home dies, the edge does."""
	c = fragile()
	alice, bob = registered(c, "alice", "bob", transport="tcp")
	m = alice.request("MESSAGE", "sip:bob@example.org", body="x")
	poisoned(alice, m, alice.expect(407))
	one = one_crashed(c, c.homes[0])
	c.edges[0].wait_log(f"event=node-dead node={one.name}")
	c.wait(lambda: c.edges[0].metric("messages_poison_total") == 1, "the edge has not dropped it")
	calls_go_on(alice, bob)
	assert not dead(c)
	assert c.edges[0].metric("link_resent_total") == 0


def test_what_crashed_the_framing_of_a_stream_is_not_framed_again(fragile):
	c = fragile()
	one, other = c.homes[0]
	stranger = one.phone("carol", transport="tcp")
	m = stranger.request("OPTIONS", "sip:example.org", [("Subject", IN_PARSER)])
	assert one_crashed(c, c.homes[0]) is one
	stranger.server = other.where["tcp"]
	stranger.connect()
	stranger.send(m.raw[:-9])  # not whole: it is waited for
	stranger.send(m.raw[-9:])
	assert stranger.expect(403).call_id == m.call_id
	# The stream goes on behind it.
	stranger.request("OPTIONS", "sip:example.org")
	stranger.expect(200)
	assert not dead(c)


def test_who_was_away_is_told_when_he_comes_back(fragile):
	c = fragile()
	alice, bob = registered(c, "alice", "bob")
	one, other = c.homes[0]
	other.stop()
	c.edges[0].wait_log(f"event=node-dead node={other.name}")
	m = alice.request("MESSAGE", "sip:bob@example.org", body="x")
	m = poisoned(alice, m, alice.expect(407))
	assert one_crashed(c, c.homes[0]) is one
	other.start()
	other.wait_log(f"event=poison-learnt .*node={c.edges[0].name}")
	refused(other.phone("alice"), m)


def test_nobody_but_nodes_says_what_is_poison(cluster):
	c = cluster()
	e = c.edges[0]
	liar = e.phone("liar")
	for note in (b"", b"eaves-p1", b"eaves-p1" + bytes(32), b"x" * 2000):
		liar.send(note or b"\0", to=e.bus)
	c.wait(lambda: e.metric("poison_notes_refused_total") == 4, "not all notes were refused")
	e.wait_log("event=poison-note-refused")
	assert e.metric("poison_known") == 0


def test_a_server_alone_remembers_what_it_died_of(start, library):
	s = start(start=False)
	s.env["LD_PRELOAD"] = library
	s.start()
	alice = s.phone("alice")
	m = alice.request("OPTIONS", f"sip:{IN_PARSER}@example.org")
	s.crashed()
	s.start()
	s.wait_log("event=poison-remembered messages=1")
	refused(alice, m)
	alice.resend(alice.request("OPTIONS", "sip:example.org"))
	alice.expect(200)
