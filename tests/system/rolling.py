"""Nodes of a cluster that end and come back while its phones are in calls: what test_drain.py does
with one build, and test_upgrade.py with two."""
import signal

from cluster import registered
from device import Device
from phone import hang_up, pick_up, ring, talk


def drain(n):
	n.process.send_signal(signal.SIGTERM)
	n.wait_log("event=draining", since=n.mark)


def begin(c):
	"""From here on is what wait_log of drain() is to see."""
	for n in c.nodes:
		n.mark = len(n.lines)


def ended(n):
	"""It ends by itself, with status 0."""
	assert n._wait_end() == 0, n.tail()
	n.process = None
	n.wait_log("event=stopped", since=n.mark)


def message(a, b):
	m = a.request("MESSAGE", f"sip:{b.user}@example.org", body="hello")
	r = a.expect(407)
	a.again(m, r)
	b.reply(b.expect("MESSAGE"), 200)
	a.expect(200)


def in_call(a, b):
	a.request("INFO")
	b.phone.reply(b.phone.expect("INFO"), 200)
	a.phone.expect(200)


def move(phones, edge):
	"""What keepalived does: the address, and with it UDP, is the other edge's."""
	for p in phones:
		p.server = edge.where["udp"]


def partner(c, n):
	return next(m for m in (c.edges if n in c.edges else c.homes[0]) if m is not n)


class Load:
	"""Phones by UDP behind the edge, and on streams there and straight at a home: when a node goes,
	calls of both kinds are answered already, and others ring."""
	USERS = ("alice", "bob", "carol", "dave", "erin", "frank")

	def __init__(self, c):
		self.c = c
		self.phones = registered(c, *self.USERS[:4])
		self.devices = [Device("erin", c.edges[0]), Device("frank", c.homes[0][0])]
		self.calls = []

	def talk(self):
		self.calls.append(talk(*[d.phone for d in self.devices]))

	def ring(self):
		*_, carol, dave = self.phones
		erin, frank = [d.phone for d in self.devices]
		return [(a, b, *ring(a, b)) for a, b in ((carol, dave), (frank, erin))]

	def pick_up(self, ringing):
		for a, b, invite, incoming in ringing:
			incoming.conn = None if b.sock else b.stream  # where it answers from now on
			self.calls.append(pick_up(a, b, invite, incoming))

	def leave(self, n):
		"""Its phones go to the other member of its pair."""
		other = partner(self.c, n)
		if n in self.c.edges:
			move(self.phones, other)
		for d in self.devices:
			if d.node is n:
				d.come_back(other)
				d.phone.wait_for(200)

	def go_on(self):
		for a, b in self.calls:
			in_call(a, b)
			in_call(b, a)
		message(*self.phones[:2])
		message(*[d.phone for d in self.devices])

	def hang_up(self, kept=()):
		for call in self.calls:
			if call not in kept:
				hang_up(*call)
		self.calls = list(kept)


def roll(load, n):
	"""One node is drained, ends and comes back, while some calls are held and others ring."""
	c, held = load.c, list(load.calls)
	begin(c)
	load.talk()
	ringing = load.ring()
	drain(n)
	load.leave(n)
	load.go_on()
	load.pick_up(ringing)
	ended(n)
	load.go_on()
	load.hang_up(held)
	n.start()
	c.wait_alive()
	n.wait_log("event=serving", since=n.mark)
	c.wait_users(len(load.USERS))
	carol, dave = load.phones[2:]
	hang_up(*talk(dave, carol))
	hang_up(*talk(*[d.phone for d in load.devices]))
	for m in c.nodes:
		assert not m.log_count("requests-abandoned|pair-down|joined-unequal|link-unmarked|link-stranger"), m.tail()


def rolled(load, nodes, program=None, streams=True):
	"""Each node in turn; program: which one comes back in its place.  Calls are held all the time,
	with streams: between phones that have moved with every node of theirs as well."""
	load.calls.append(talk(*load.phones[:2]))
	if streams:
		load.talk()
	for n in nodes:
		n.program = program(n) if program else n.program
		roll(load, n)
	load.hang_up()
