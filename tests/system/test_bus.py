"""The bus of real nodes, as somebody sees it who is no node."""
import re
import socket
import subprocess

import pytest

from cluster import registered
from eaves import BIN, TIMEOUT, merged
from phone import hang_up, talk
from test_drain import message


def knock(address, first=lambda: None):
	"""A connection that speaks ZMTP, but not CURVE; ended by the node.  first: before it says so,
	when the node has taken the connection."""
	with socket.create_connection(address, TIMEOUT) as s:
		s.recv(10)
		first()
		s.sendall(b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32))
		try:
			while s.recv(4096):
				pass
		except OSError:
			pass


def test_who_knocks_without_end_fills_no_log(cluster):
	c = cluster(users=("alice", "bob"))
	alice, bob = registered(c, "alice", "bob")
	e = c.edges[0]
	for _ in range(200):
		knock(e.bus)
	c.wait(lambda: e.metric("cluster_bus_refused_total") >= 200, "they are not counted")
	assert e.wait_log("event=bus-refused").endswith(" so_far=1")
	assert e.log_count("event=bus-refused") < 50, e.tail()

	# Whose it was is told, but for who is gone before the bus's thread has looked: it gets the time.
	def told():
		knock(e.bus, e.alive)
		return e.log_count(r"event=bus-refused address=127\.0\.0\.1:")
	c.wait(told, "nobody is told of by address")
	hang_up(*talk(alice, bob))


def with_another_key(c, n):
	"""The others have the one that it had."""
	file = c.dir / "another.key"
	key = subprocess.run([str(BIN / "eaves-home"), "--make-key", str(file)], check=True,
		capture_output=True, text=True, timeout=4 * TIMEOUT).stdout.strip()
	rows = [merged(m.row(), {"key": key} if m is n else {}) for m in c.nodes]
	return {"cluster": {"bus_key": str(file), "nodes": rows}}


def of_another_domain(_, __):
	return {"domain": "example.net"}


@pytest.mark.parametrize("config, there, here", (
	(with_another_key, "its key is none of the cluster's", "refuses our key"),
	(of_another_domain, "a node of another domain", None)))
def test_who_is_no_node_of_the_cluster_is_refused_and_told_of(cluster, config, there, here):
	c = cluster(start=False)
	e, (a, b) = c.edges[0], c.homes[0]
	b.write_config(merged(b.config, config(c, b)))
	for n in c.nodes:
		n.start()
	c.wait(lambda: e.alive() == {"h1a"} and a.alive() == {"e1"}, "the others do not see each other")
	for n in (e, a):
		assert n.wait_log(f"event=bus-refused .*why=\".*{there}"), n.tail()
	if here:
		b.wait_log(f"event=bus-refused .*why=\".*{here}")
	assert b.alive() == set() and e.metric("cluster_bus_refused_total") > 0


def test_who_sends_to_a_link_without_end_fills_no_log(cluster):
	c = cluster(users=("alice", "bob"))
	h = c.homes[0][0]
	stranger = h.phone("mallory", transport="tcp", to=h.link)
	for _ in range(200):
		stranger.request("MESSAGE", "sip:bob@example.org", body="spam")
		stranger.expect(403)
	assert h.metric("cluster_strangers_total") == 200
	h.wait_log("event=link-stranger")
	assert h.log_count("event=link-stranger") < 50, h.tail()


def test_a_node_that_says_nonsense_without_end_fills_no_log(tapped):
	c, taps = tapped("alice", "bob")
	h, broken = c.homes[0][0], taps["h1a"].phone("mallory")
	for _ in range(200):
		broken.request("MESSAGE", "sip:bob@example.org", body="spam",
			headers=[("Eaves-Link", "nonsense")])
	c.wait(lambda: h.metric("cluster_unmarked_total") == 200, "they are not counted")
	assert h.wait_log("event=link-unmarked").endswith(" so_far=1")
	assert h.log_count("event=link-unmarked") < 50, h.tail()
	hang_up(*talk(*registered(c, "alice", "bob")))


INSIDER = [("Eaves-Link", "m=0015;t=udp;s=192.0.2.1:5060;u=alice"),
	("P-Asserted-Identity", "<sip:alice@example.org>")]


def refused(c, mallory):
	"""What he sends with the marks of an insider goes nowhere, and his connection ends."""
	h = c.homes[0][0]
	before = h.metric("cluster_strangers_total")
	mallory.request("MESSAGE", "sip:bob@example.org", INSIDER, body="spam")
	mallory.expect_closed()
	assert h.metric("cluster_strangers_total") == before + 1


def test_who_has_the_address_of_a_node_is_no_node(tapped):
	"""Marks are believed of who has proved on this connection that he knows the cluster's secret."""
	c, taps = tapped("alice", "bob")
	alice, bob = registered(c, "alice", "bob")
	e, (h, other), tap = c.edges[0], c.homes[0], taps["h1a"]
	real = tap.phone("mallory")  # it is what makes the difference
	real.request("MESSAGE", "sip:bob@example.org", INSIDER, body="hello")
	m = bob.expect("MESSAGE")
	assert "alice@example.org" in m.get("p-asserted-identity")
	bob.reply(m, 200)

	def at(node, introduction=b"", source=e.address):
		p = node.phone("mallory", transport="tcp", to=node.link, source=source)
		if introduction:
			p.send(introduction)
		return p
	proof = tap.introduction
	last = re.search(rb";p=[0-9a-f]{15}(.)", proof)
	wrong = bytearray(proof)
	wrong[last.start(1)] ^= 1  # still a digit of the same kind
	refused(c, at(h))
	for bad in (bytes(wrong), proof.replace(b"n=e1", b"n=h1b"), proof.replace(b"n=e1", b"n=nobody"),
			proof.replace(b"Eaves-Link", b"X-Link")):
		at(h, bad).expect_closed()
	at(h, proof, source=other.address).expect_closed()
	at(other, proof).expect_closed()  # it was for h1a
	assert h.wait_log("event=link-refused").endswith(" so_far=1")
	h.kill9()
	c.wait(lambda: "h1a" not in e.alive(), "its death goes unnoticed")
	h.start()
	c.wait_alive()
	at(h, proof).expect_closed()  # and for the process that it was
	message(alice, bob)
	bob.expect_nothing()  # of what was refused


def test_the_public_key_of_a_file_is_shown_again(tmp_path):
	file = tmp_path / "bus.key"

	def run(what):
		r = subprocess.run([str(BIN / "eaves-home"), what, str(file)], capture_output=True, text=True,
			timeout=4 * TIMEOUT)
		return r.returncode, r.stdout, r.stderr
	made = run("--make-key")
	assert made[0] == 0 and len(made[1]) == 41
	assert run("--show-key") == made
	assert run("--make-key") == (1, "", f"{file}: File exists\n")
	file.chmod(0o644)
	assert run("--show-key") == (1, "", f"{file}: others may read it: chmod 600\n")
	file.chmod(0o600)
	for text in ("short", "'" * 40):
		file.write_text(text)
		assert run("--show-key") == (1, "", f"{file}: is no key\n")
	file.unlink()
	assert run("--show-key") == (1, "", f"{file}: No such file or directory\n")
