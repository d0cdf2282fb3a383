"""A cluster under test: real eaves-edge and eaves-home processes on loopback, an address each.

Members of a pair have addresses of their own here (nothing moves one between them): a phone that
wants the other edge says so.  Everything is awaited by logs and metrics.
"""
import os
import pathlib
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error

from eaves import BIN, DOMAIN, TIMEOUT, Server, free_port, merged, own_address, password_of


def default_listeners(ca, name=None):
	"""Of phones; name: under which both members of a pair go in Via and Record-Route."""
	def at(port):
		return {"advertise": name, "port": port} if name else {}
	return [("udp", None, at(5060)), ("tcp", None, at(5060))] + ([("tls", None, at(5061))] if ca else [])


class Node(Server):
	def __init__(self, cluster, name, role, pair, listeners=None, ca=None, address=None, **kw):
		self.cluster, self.name, self.role, self.pair = cluster, name, role, pair
		address = address or own_address()
		self.link = (address, free_port(address))
		self.bus = (address, free_port(address))
		self.key_file = cluster.dir / f"{name}.key"
		self.key = subprocess.run([str(BIN / "eaves-edge"), "--make-key", str(self.key_file)],
			check=True, capture_output=True, text=True, timeout=4 * TIMEOUT).stdout.strip()
		super().__init__(start=False, address=address, program=f"eaves-{role}",
			listeners=list(listeners or default_listeners(ca)) + [
				("tls" if ca else "tcp", address, merged({"policy": "cluster", "port": self.link[1]},
					{"mutual_tls": True} if ca else {}))], **kw)
		if ca:
			self.write_config(merged(self.config, {"tls": {"ca": str(ca.cert),
				"certificates": [ca.entry_once(name), ca.entry_once(DOMAIN)]}}))

	def row(self):
		return {"name": self.name, "role": self.role, "pair": self.pair,
			"bus": "%s:%d" % self.bus, "sip": "%s:%d" % self.link, "key": self.key}

	def alive(self):
		"""Names of the nodes that this one holds for alive."""
		return {x.split()[0] for x in self.ctl("cluster status").splitlines() if " alive" in x}

	def ctl(self, *words, stdin=""):
		return super().ctl(*" ".join(words[:1]).split(), *words[1:], stdin=stdin)


class Cluster:
	"""homes: how many pairs; members: nodes in each pair of homes; edges: nodes of the edge pair."""

	def __init__(self, homes=1, members=2, edges=1, users=(), config=None, start=True,
			listeners=None, ca=None, one_address=False, **kw):
		"""ca: an Authority; links are by TLS then, and phones may be.  one_address: both members of a
		pair of homes say that the first one's is theirs, as with a service address."""
		self.dir = pathlib.Path(tempfile.mkdtemp(prefix="eaves-cluster-"))
		self.phones = []
		secret = self.dir / "secret"
		secret.write_bytes(secrets.token_bytes(32))
		os.chmod(secret, 0o600)
		if edges > 1:  # one identity in Via and Record-Route
			listeners = listeners or default_listeners(ca, f"edge.{DOMAIN}")
		self.edges = [Node(self, f"e{i + 1}", "edge", "edge", listeners=listeners, ca=ca,
			**{"store": "sqlite", **kw}) for i in range(edges)]
		self.homes = [self._homes(f"h{i + 1}", members, one_address, ca=ca, **kw) for i in range(homes)]
		self.nodes = self.edges + [n for pair in self.homes for n in pair]
		rows = [n.row() for n in self.nodes]
		for n in self.nodes:
			n.write_config(merged(merged(n.config, {
				"aliases": [e.address for e in self.edges] + (config or {}).get("aliases", []),
				"cluster": {"node": n.name,
				"secret": str(secret), "bus_key": str(n.key_file), "nodes": rows}}), {k: v for k, v in (config or {}).items() if k != "aliases"}))
		if start:
			self.start()
			self.edges[0].add_users(users)
			self.wait_users(len(list(users)))

	def _homes(self, pair, members, one_address, ca=None, **kw):
		first = own_address()
		if one_address:
			kw["listeners"] = default_listeners(ca, first)
		return [Node(self, pair + "ab"[k], "home", pair, ca=ca, address=None if k else first, **kw)
			for k in range(members)]

	def start(self):
		for n in self.nodes:
			n.start()
		self.wait_alive()

	def peers(self, n):
		"""Who speaks with n on the bus."""
		return {m.name for m in self.nodes if m is not n and m.process and
			("edge" in (m.role, n.role) or m.pair == n.pair)}

	def wait(self, what, text, timeout=4 * TIMEOUT):
		end = time.monotonic() + timeout
		while not what():
			assert time.monotonic() < end, text + "\n" + "\n".join(n.tail(15) for n in self.nodes)
			time.sleep(0.02)

	def wait_alive(self):
		for n in self.nodes:
			if n.process:
				self.wait(lambda n=n: n.alive() >= self.peers(n),
					f"{n.name} does not see {self.peers(n)}")

	def wait_users(self, count):
		for n in self.nodes:
			n.wait_metric("users", count, 4 * TIMEOUT)

	def phone(self, user, edge=0, **kw):
		p = self.edges[edge].phone(user, **kw)
		p.repeats, p.line = True, self.phones
		self.phones.append(p)
		return p

	def close(self):
		try:
			for n in self.nodes:  # all at once: each waits for its calls
				if n.process and n.exit_status is None:
					n.process.send_signal(signal.SIGTERM)
			for n in self.nodes:
				n.close()
		finally:
			shutil.rmtree(self.dir, ignore_errors=True)


def registered(c, *users, **kw):
	phones = [c.phone(u, **kw) for u in users]
	for p in phones:
		p.register()
	return phones


def health(n):
	try:
		return n.get("/healthz")[0]
	except urllib.error.HTTPError as e:
		return e.code


class Front:
	"""A cluster of one edge and one pair of homes that looks like one Server: the tests of what
	phones see run on it as they do on a combined server."""

	def __init__(self, config=None, users=(), workers=None, listeners=None, start=True,
			store="memory", address=None):
		self.cluster = Cluster(users=list(users), config=config, listeners=listeners, start=start,
			**({"workers": workers} if workers else {}))
		self.edge = self.cluster.edges[0]
		self.home = self.cluster.homes[0][0]

	def __getattr__(self, name):
		return getattr(self.edge, name)

	def add_users(self, names):
		before = int(self.edge.metric("users"))
		self.edge.add_users(names)
		self.cluster.wait_users(before + len(list(names)))

	def add_user(self, name, password=None):
		before = int(self.edge.metric("users"))
		self.edge.add_user(name, password)
		self.cluster.wait_users(before + 1)

	def ctl_raw(self, *words, stdin=""):
		node = self.home if words[0].startswith("registration") else self.edge
		return node.ctl_raw(*words, stdin=stdin)

	def ctl(self, *words, stdin=""):
		node = self.home if words[0].startswith("registration") else self.edge
		return Server.ctl(node, *words, stdin=stdin)

	def registrations(self, *user):
		return self.home.registrations(*user)

	def metric(self, name):
		values = []
		for n in (self.edge, self.home):
			try:
				values.append(n.metric(name))
			except KeyError:
				pass
		if not values:
			raise KeyError(name)
		return sum(values)

	def log_count(self, pattern):
		return sum(n.log_count(pattern) for n in self.cluster.nodes)

	def tail(self, n=40):
		return "\n".join(f"-- {x.name}\n{x.tail(n)}" for x in self.cluster.nodes)

	def close(self):
		self.cluster.close()
