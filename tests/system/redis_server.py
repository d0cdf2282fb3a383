"""A Redis server for the system tests, with an address of its own, and what is in it."""
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from eaves import DOMAIN, TIMEOUT, free_port, own_address


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
		prefix, out = f"eaves:{{{DOMAIN}}}:{kind}:".encode(), {}
		for key in self.ask("KEYS", prefix.replace(b"[", b"\\[") + b"*"):
			values = self.ask("HGETALL", key)[1::2]
			bodies = [v[54:] for v in values if v[33:37] == b"live"
				and (int(v[38:53]) == 0 or int(v[38:53]) > time.time() * 1000)]
			if bodies:
				out[key[len(prefix):].decode()] = bodies
		return out


class Sentinel(Redis):
	"""One that watches a server, with a password of its own."""

	NAME = "eaves"

	def __init__(self, server, password):
		self.server = server
		super().__init__(password=password)

	def command_line(self):
		conf = self.dir / "sentinel.conf"
		conf.write_text(f"bind {self.address}\nport {self.port}\ndir {self.dir}\nrequirepass \"{self.password}\"\n"
			f"sentinel monitor {self.NAME} {self.server.address} {self.server.port} 1\n"
			+ (f"sentinel auth-pass {self.NAME} \"{self.server.password}\"\n" if self.server.password else ""))
		return ["redis-sentinel", str(conf)]
