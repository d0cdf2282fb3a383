"""A Redis server for the system tests, with an address of its own, and what is in it."""
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from eaves import DOMAIN, TIMEOUT, free_port, own_address
from wire import Wire


class Refused(Exception):
	pass


class Redis:
	"""arguments: of redis-server, behind the common ones."""

	def __init__(self, arguments=(), password=None):
		self.dir = pathlib.Path(tempfile.mkdtemp(prefix="eaves-redis-"))
		self.address = own_address()
		self.port = free_port(self.address)
		self.arguments = list(arguments)
		self.password = password
		self.process = None
		self.start()

	def where(self):
		return f"{self.address}:{self.port}"

	def command_line(self):
		return ["redis-server", "--bind", self.address, "--port", str(self.port), "--dir", str(self.dir),
			"--save", "", "--appendonly", "yes", "--protected-mode", "no", "--loglevel", "warning",
			*self.arguments]

	def start(self):
		self.process = subprocess.Popen(self.command_line(), stdin=subprocess.DEVNULL,
			stdout=subprocess.DEVNULL)
		end = time.monotonic() + 4 * TIMEOUT
		while True:
			try:
				return self.ask("PING")
			except (OSError, Refused):  # not there yet; it loads
				assert time.monotonic() < end and self.process.poll() is None, "Redis does not start"
				time.sleep(0.02)

	def kill9(self):
		self.process.send_signal(signal.SIGKILL)
		self.process.wait(4 * TIMEOUT)
		self.process = None

	def close(self):
		if self.process:
			self.kill9()
		shutil.rmtree(self.dir, ignore_errors=True)

	# ---- what is in it ----

	def ask(self, *words):
		"""One command over a connection of its own; bytes, numbers, lists."""
		with socket.create_connection((self.address, self.port), TIMEOUT) as s, s.makefile("rb") as f:
			if self.password:
				self._send(s, "AUTH", self.password)
				self._read(f)
			self._send(s, *words)
			return self._read(f)

	@staticmethod
	def _send(s, *words):
		words = [w if isinstance(w, bytes) else str(w).encode() for w in words]
		s.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))

	def _read(self, f):
		line = f.readline().rstrip(b"\r\n")
		assert line, "Redis hung up"
		kind, rest = line[:1], line[1:]
		if kind == b"-":
			raise Refused(rest.decode())
		if kind == b"+":
			return rest
		if kind == b":":
			return int(rest)
		if kind == b"$":
			return None if rest == b"-1" else f.read(int(rest) + 2)[:-2]
		return [self._read(f) for _ in range(int(rest))]

	def live(self, kind):
		"""Records of a kind that count: {group: [bodies]}."""
		prefix, out = f"eaves:{{{DOMAIN}}}:{kind}:", {}
		for key in self.ask("KEYS", prefix + "*"):
			group = key.decode()[len(prefix):]
			bodies = [v[54:] for v in self.values(kind, group) if v[33:37] == b"live"
				and (int(v[38:53]) == 0 or int(v[38:53]) > time.time() * 1000)]
			if bodies:
				out[group] = bodies
		return out

	def values(self, kind, group):
		"""Of all records of a group, the deleted ones too: version, state, expiry, body in one."""
		return self.ask("HGETALL", f"eaves:{{{DOMAIN}}}:{kind}:{group}")[1::2]


class Sentinel(Redis):
	"""One that watches a server; a password of its own, or none.  quorum: so many must miss the server."""

	NAME = "eaves"
	lines = ()

	def __init__(self, server, password=None, quorum=1):
		self.server, self.quorum = server, quorum
		super().__init__(password=password)

	def watched(self):
		return self.server.address, self.server.port

	def command_line(self):
		conf = self.dir / "sentinel.conf"
		conf.write_text("\n".join([f"bind {self.address}", f"port {self.port}", f"dir {self.dir}",
			"sentinel monitor %s %s %d %d" % (self.NAME, *self.watched(), self.quorum),
			*([f"requirepass \"{self.password}\""] if self.password else []),
			*([f"sentinel auth-pass {self.NAME} \"{self.server.password}\""]
				if self.server.password else []), *self.lines]) + "\n")
		return ["redis-sentinel", str(conf)]


class Wired:
	"""Others know it, and reach it, by its wire; it goes to others from its own address."""

	wire = None

	def start(self):
		self.wire = self.wire or Wire((self.address, self.port))
		super().start()

	def close(self):
		super().close()
		self.wire.close()


class WiredRedis(Wired, Redis):
	"""Takes no writes without a replica."""

	def __init__(self, primary=None):
		self.primary = primary
		super().__init__()

	def command_line(self):
		return super().command_line() + ["--bind-source-addr", self.address,
			"--replica-announce-ip", self.wire.address, "--replica-announce-port", str(self.wire.port),
			"--min-replicas-to-write", "1", "--min-replicas-max-lag", "1",
			"--repl-ping-replica-period", "1", "--repl-diskless-sync-delay", "0"] + (
			["--replicaof", self.primary.wire.address, str(self.primary.wire.port)] if self.primary else [])

	def replication(self):
		lines = self.ask("INFO", "replication").decode().splitlines()
		return dict(x.split(":", 1) for x in lines if ":" in x)

	def serves(self, replicas=1):
		"""Is it a primary that takes writes?"""
		r = self.replication()
		return r["role"] == "master" and int(r["min_slaves_good_slaves"]) >= replicas

	def follows(self, primary):
		"""Is it a replica of that one that has all of it?"""
		r = self.replication()
		return (r["role"] == "slave" and r["master_link_status"] == "up"
			and r["master_host"] == primary.wire.address and int(r["master_port"]) == primary.wire.port
			and r["slave_repl_offset"] == primary.replication()["master_repl_offset"])


class WiredSentinel(Wired, Sentinel):
	def watched(self):
		return self.server.wire.address, self.server.wire.port

	def command_line(self):
		self.lines = [f"bind-source-addr {self.address}", f"sentinel announce-ip {self.wire.address}",
			f"sentinel announce-port {self.wire.port}",
			# Below its ping's period it holds each new primary for dead at first.
			f"sentinel down-after-milliseconds {self.NAME} 1500",
			f"sentinel failover-timeout {self.NAME} 2000", f"sentinel parallel-syncs {self.NAME} 2"]
		return super().command_line()

	def start(self):
		super().start()
		# It makes a replica of a primary that has come back after four of the latter.
		self.ask("SENTINEL", "DEBUG", "INFO-PERIOD", "500", "PUBLISH-PERIOD", "200")

	def knows(self, replicas, sentinels):
		v = self.ask("SENTINEL", "MASTER", self.NAME)
		known = dict(zip(v[::2], v[1::2]))
		return (int(known[b"num-slaves"]), int(known[b"num-other-sentinels"])) == (replicas, sentinels)

	def primary(self):
		host, port = self.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.NAME)
		return f"{host.decode()}:{port.decode()}"


class Watched:
	"""A primary with two replicas and three sentinels, on a network that can be cut."""

	EDGES = "127.0.0.1"  # and all others who have no address of their own here

	def __init__(self):
		self.members = []
		try:
			self._start()
		except BaseException:
			self.close()
			raise

	def _add(self, one):
		self.members.append(one)
		return one

	def _start(self):
		first = self._add(WiredRedis())
		self.servers = [first] + [self._add(WiredRedis(first)) for _ in range(2)]
		self.wait(lambda: first.serves(2), "no replicas")
		self.guards = [self._add(WiredSentinel(first, quorum=2)) for _ in range(3)]
		self.wait(lambda: all(s.knows(2, 2) for s in self.guards), "the sentinels do not know all")

	def where(self):
		return ",".join(s.wire.where() for s in self.guards)

	def named(self, sentinels):
		"""The server that all of these name, or None."""
		names = {g.primary() for g in sentinels}
		return next((s for s in self.servers if names == {s.wire.where()}), None)

	def whole(self):
		"""The primary, if all are one again; or None."""
		p = self.named(self.guards)
		return p if p and p.serves(2) and all(s is p or s.follows(p) for s in self.servers) else None

	def cut(self, *sides):
		"""Nothing passes between the two sides; members of neither reach all."""
		for x in self.members:
			far = sides[1] if x in sides[0] else sides[0] if x in sides[1] else []
			if far:
				x.wire.hold(*(getattr(y, "address", y) for y in far))
			else:
				x.wire.let()

	def heal(self):
		for x in self.members:
			x.wire.let()

	@staticmethod
	def wait(what, text, timeout=12 * TIMEOUT):
		end = time.monotonic() + timeout
		while not (found := what()):
			assert time.monotonic() < end, text
			time.sleep(0.02)
		return found

	def close(self):
		for x in reversed(self.members):
			x.close()
