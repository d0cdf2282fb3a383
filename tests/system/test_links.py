"""Links between nodes when much has to go over them at once: a home dies, and what nobody repeats
goes to the other one.  No burst is taken for a death, and nothing of it is lost."""
import re
import signal
import socket
import threading

import pytest

from cluster import registered
from eaves import TIMEOUT, merged, own_address
from sip import Message, reply_to

TRUSTED = {"edge": {"trusted": [{"network": "127.0.0.0/8"}]}}
DEATHS = "event=(node-dead|link-failed|stranded|link-full)"
BATCH = 100


def request(method, number, source, transport="UDP"):
	return (f"{method} sip:bob@example.org SIP/2.0\r\n"
		f"Via: SIP/2.0/{transport} {source[0]}:{source[1]};branch=z9hG4bKburst{number}\r\n"
		f"Max-Forwards: 70\r\nFrom: <sip:alice@example.org>;tag=f\r\nTo: <sip:bob@example.org>\r\n"
		f"Call-ID: {number}@burst\r\nCSeq: 1 {method}\r\n"
		f"Contact: <sip:alice@{source[0]}:{source[1]}>\r\nContent-Length: 0\r\n\r\n").encode()


class Caller:
	"""A server beside the edge that is believed, by UDP."""

	def __init__(self, edge):
		self.edge, self.sock = edge, socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
		self.sock.bind((own_address(), 0))
		self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
		self.sock.settimeout(TIMEOUT)

	def burst(self, method, count, answer):
		"""In batches, each when those before it have their answer."""
		got = set()
		for i in range(count):
			self.sock.sendto(request(method, i, self.sock.getsockname()), self.edge.where["udp"])
			while i % BATCH == BATCH - 1 and len(got) <= i:
				m = Message(self.sock.recv(65536))
				if m.status == answer:
					got.add(m.call_id)


class Answering:
	"""A phone with a stream that answers each MESSAGE with 200."""

	def __init__(self, phone):
		self.stream, self.seen, self.ends = phone.stream, set(), False
		self.stream.sock.settimeout(0.1)
		self.thread = threading.Thread(target=self._run)
		self.thread.start()

	def _run(self):
		while not self.ends:
			try:
				self.stream.data += self.stream.sock.recv(1 << 20)
			except TimeoutError:
				continue
			while (raw := self.stream.take()):
				if raw.startswith(b"MESSAGE"):
					self.stream.sock.sendall(reply_to(Message(raw), 200, "OK", "t"))
					self.seen.add(re.search(rb"Call-ID: (\S+)", raw).group(1))

	def __enter__(self):
		return self

	def __exit__(self, *_):
		self.ends = True
		self.thread.join()


def who_serves(c):
	"""The home that has got what came for bob, and the other one."""
	one, other = c.homes[0]
	return (one, other) if one.log_count("event=forked") else (other, one)


def deaths_but_of(dead, *nodes):
	return [x for n in nodes for x in list(n.lines)
		if re.search(DEATHS, x) and f"node={dead.name}" not in x]


def test_a_link_is_there_before_anything_is_sent(cluster):
	c = cluster(edges=2)
	for n in c.nodes:  # one to each of the three others
		c.wait(lambda n=n: n.metric("connections_opened_total") >= 3, f"{n.name} opens no links")


@pytest.mark.parametrize("answered", [0, 300])
def test_whatever_a_stream_has_sent_reaches_the_other_home(cluster, answered):
	c = cluster(users=("alice", "bob"), edges=2, config=TRUSTED)
	bob, alice = registered(c, "bob", "alice", transport="tcp")
	edge, sock, count = c.edges[0], alice.stream.sock, 500
	with Answering(bob) as b:
		def send(numbers):
			for i in numbers:
				sock.sendall(request("MESSAGE", i, sock.getsockname(), "TCP"))
		send(range(-answered - 1, 0))
		c.wait(lambda: len(b.seen) == answered + 1, "the first have not arrived")
		one, other = who_serves(c)
		kept = edge.metric("link_kept_total")
		one.process.send_signal(signal.SIGSTOP)
		send(range(count))
		c.wait(lambda: edge.metric("link_kept_total") >= kept + count, "the edge has not got all")
		one.kill9()
		c.wait(lambda: len(b.seen) == answered + 1 + count, "some were lost")
	assert deaths_but_of(one, edge, other) == []
	assert edge.metric("link_late_total") + edge.metric("link_kept_full_total") == 0


def test_the_longest_message_that_a_phone_may_send_goes_over_links(cluster):
	"""Longer than that by what nodes add, which ends no link."""
	c = cluster(users=("alice", "bob"), config=TRUSTED)
	bob, alice = registered(c, "bob", "alice", transport="tcp")
	sock = alice.stream.sock
	with Answering(bob) as b:
		for i in range(3):
			head = request("MESSAGE", i, sock.getsockname(), "TCP").replace(b"Length: 0", b"Length: NNNNN")
			body = b"x" * (65536 - len(head))
			sock.sendall(head.replace(b"NNNNN", b"%d" % len(body)) + body)
		c.wait(lambda: len(b.seen) == 3, "they have not arrived")
	assert not [x for n in c.nodes for x in list(n.lines) if re.search(DEATHS, x)]
	assert all(n.metric("connections_closed_broken_total") == 0 for n in c.nodes)


def test_a_burst_of_what_was_kept_does_not_kill_the_home_that_lives(cluster):
	keeps = {"cluster": {"dead_ms": 15000}}  # longer than the burst takes
	c = cluster(users=("alice", "bob"), edges=2, config=merged(TRUSTED, keeps))
	bob, = registered(c, "bob", transport="tcp")
	edge, count = c.edges[0], 900
	with Answering(bob):
		Caller(edge).burst("MESSAGE", count, 200)
		one, other = who_serves(c)
		one.kill9()
		c.wait(lambda: edge.metric("link_resent_total") >= count, "not all is sent again")
	assert deaths_but_of(one, edge, other) == []


def test_calls_to_several_devices_are_taken_over_once(cluster):
	c = cluster(users=("alice", "bob"), edges=2, config=TRUSTED)
	registered(c, *["bob"] * 3)
	count = 400
	Caller(c.edges[0]).burst("INVITE", count, 100)
	one, other = who_serves(c)
	one.kill9()
	c.wait(lambda: other.metric("forks_adopted_total") >= count, "calls are missing")
	c.wait(lambda: other.metric("proxy_unanswered") == count, "calls are missing")
	assert other.metric("forks_adopted_total") == count
	assert deaths_but_of(one, other, *c.edges) == []


def test_all_calls_to_one_device_are_told_to_the_other_home(cluster):
	c = cluster(users=("alice", "bob"), edges=2, config=TRUSTED)
	registered(c, "bob")
	edge, count = c.edges[0], 900
	Caller(edge).burst("INVITE", count, 100)
	one, other = who_serves(c)
	one.kill9()
	edge.wait_log("event=node-dead")
	edge.wait_metric("calls_told_total", count, 2 * TIMEOUT)
	c.wait(lambda: other.metric("proxy_unanswered") == count, "it does not know of all")
	assert deaths_but_of(one, edge, other) == []
