"""The server under test: a real eaves-combined process with a configuration of its own.

A Server has an address of the loopback network to itself, so servers and phones of one run never
meet.  It is waited for by its log, never by sleeping.  EAVES_BIN names the folder of the
programs.  SIP phones are in phone.py, messages in sip.py.
"""
import collections
import itertools
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.request

from phone import Phone

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = ROOT / os.environ.get("EAVES_BIN", "build/release")
TIMEOUT = float(os.environ.get("EAVES_TIMEOUT", "5"))
DOMAIN = "example.org"
BAD_LOG = re.compile(r"ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:")

_numbers = itertools.count(1)
_pid = os.getpid()
PORTS = range(10000, 32768)
_ports = itertools.count(_pid * 1009)


def own_address():
	"""An IPv4 loopback address that nothing else of this machine uses."""
	n = next(_numbers)
	return f"127.{10 + _pid % 200}.{_pid // 200 % 200 + n // 250}.{n % 250 + 1}"


def free_port(address):
	"""A port that is free for both UDP and TCP, and that this run has not given away before.  It is
	below those that the kernel gives to outgoing connections: one of them would take it meanwhile."""
	family = socket.AF_INET6 if ":" in address else socket.AF_INET
	for _ in PORTS:
		port = PORTS[next(_ports) % len(PORTS)]
		try:
			with socket.socket(family, socket.SOCK_STREAM) as t, \
					socket.socket(family, socket.SOCK_DGRAM) as u:
				t.bind((address, port))
				u.bind((address, port))
		except OSError:
			continue
		return port
	raise RuntimeError("no free port")


def yaml_of(value, depth=0):
	"""Block YAML of dicts, lists and scalars; one key a line."""
	pad = "  " * depth
	if isinstance(value, dict):
		out = ""
		for k, v in value.items():
			if isinstance(v, (dict, list)) and v:
				out += f"{pad}{k}:\n" + yaml_of(v, depth + 1)
			else:
				out += f"{pad}{k}: {json.dumps(v)}\n"
		return out
	out = ""
	for v in value:
		text = yaml_of(v, depth + 1) if isinstance(v, dict) else f"{pad}  {json.dumps(v)}\n"
		out += f"{pad}- " + text[len(pad) + 2:]
	return out


def merged(base, over):
	out = dict(base)
	for k, v in over.items():
		old = out.get(k)
		out[k] = merged(old, v) if isinstance(v, dict) and isinstance(old, dict) else v
	return out


class Server:
	"""config: laid over the default; listeners: list of (transport, address or None, extra)."""

	def __init__(self, config=None, users=(), workers=None, listeners=None, start=True,
			store="memory", address=None, program="eaves-combined"):
		self.program = program
		self.dir = pathlib.Path(tempfile.mkdtemp(prefix="eaves-"))
		self.address = address or own_address()
		self.port = free_port(self.address)
		self.lines = collections.deque(maxlen=100000)
		self.changed = threading.Condition()
		self.process = None
		self.exit_status = None
		self.env = {}
		self.http = ("127.0.0.1", free_port("127.0.0.1"))
		self.where = {}
		self.config = merged({
			"domain": DOMAIN,
			"data_dir": str(self.dir),
			"store": store,
			"workers": workers or int(os.environ.get("EAVES_WORKERS", "1")),
			"listeners": self._listeners(listeners or [("udp",), ("tcp",)]),
			"admin": {"http": "%s:%d" % self.http},
		}, config or {})
		self.config_file = self.dir / "eaves.yaml"
		self.write_config()
		self.phones = []
		if start:
			self.start()
			self.add_users(users)

	def _listeners(self, wanted):
		out = []
		for w in wanted:
			transport, address, extra = (tuple(w) + (None, None))[:3]
			address = address or self.address
			if (extra or {}).get("policy") == "cluster":
				out.append(merged({"transport": transport, "address": address}, extra))
				continue
			port = self.port if transport != "tls" else free_port(address)
			if address != self.address:
				port = free_port(address)
			port = (extra or {}).get("port", port)
			key = transport + ("6" if ":" in address else "")
			self.where.setdefault(key, (address, port))
			out.append(merged({"transport": transport, "address": address,
				"port": port}, extra or {}))
		return out

	def write_config(self, config=None):
		if config is not None:
			self.config = config
		self.config_file.write_text(yaml_of(self.config))

	# ---- life ----

	def start(self):
		env = dict(os.environ, ASAN_OPTIONS="detect_leaks=1:exitcode=99",
			UBSAN_OPTIONS="print_stacktrace=1", TSAN_OPTIONS="exitcode=66:suppressions="
			+ str(pathlib.Path(__file__).parents[1] / "tsan.supp"), **self.env)
		mark = len(self.lines)
		self.process = subprocess.Popen(
			[str(BIN / self.program), "--config", str(self.config_file)],
			stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
			stderr=subprocess.PIPE, env=env)
		self.exit_status = None
		threading.Thread(target=self._read_log, args=(self.process,), daemon=True).start()
		self.wait_log(r"event=started", since=mark, timeout=4 * TIMEOUT)
		return self

	def _read_log(self, process):
		for raw in process.stderr:
			with self.changed:
				self.lines.append(raw.decode(errors="replace").rstrip("\n"))
				self.changed.notify_all()
		status = process.wait()
		with self.changed:
			if process is self.process:
				self.exit_status = status
			self.changed.notify_all()

	def wait_log(self, pattern, since=0, timeout=TIMEOUT):
		"""The first log line that matches; the log must say it in time."""
		found = None

		def there():
			nonlocal found
			for line in itertools.islice(self.lines, since, None):
				if re.search(pattern, line):
					found = line
					return True
			return self.exit_status is not None
		with self.changed:
			self.changed.wait_for(there, timeout)
		assert found, f"no log line {pattern!r} (exit status {self.exit_status}):\n" + self.tail()
		return found

	def tail(self, n=40):
		return "\n".join(list(self.lines)[-n:])

	def wait_log_count(self, pattern, count, timeout=TIMEOUT):
		"""So many lines that match, and no more; a line comes after what it tells of."""
		with self.changed:
			self.changed.wait_for(lambda: self.log_count(pattern) >= count, timeout)
		assert self.log_count(pattern) == count, self.tail()

	def log_count(self, pattern):
		return sum(1 for line in list(self.lines) if re.search(pattern, line))

	def _wait_end(self):
		with self.changed:
			self.changed.wait_for(lambda: self.exit_status is not None, 6 * TIMEOUT)
		if self.exit_status is None:
			self.process.kill()
			raise AssertionError("the server did not end:\n" + self.tail())
		return self.exit_status

	def stop(self):
		"""Ends it and asserts a clean end: status 0, nothing that a sanitizer found."""
		if self.process is None:
			return
		if self.exit_status is None:
			self.process.send_signal(signal.SIGTERM)
		status = self._wait_end()
		self.process = None
		bad = [x for x in self.lines if BAD_LOG.search(x)]
		assert not bad and status == 0, f"exit status {status}\n" + self.tail(400)

	def kill9(self):
		self.process.kill()
		self._wait_end()
		self.process = None

	def crashed(self, number=signal.SIGSEGV):
		"""Waits for its end by that signal."""
		status = self._wait_end()
		self.process = None
		assert status == -number, f"exit status {status}\n" + self.tail(100)

	def restart(self):
		self.stop()
		self.start()

	def hup(self):
		self.process.send_signal(signal.SIGHUP)

	def close(self):
		"""The end of a test: phones first, then the process, then its folder."""
		try:
			for p in self.phones:
				p.close()
			self.stop()
		finally:
			if self.process is not None:
				self.process.kill()
			shutil.rmtree(self.dir, ignore_errors=True)

	# ---- administration ----

	def ctl_raw(self, *words, stdin=""):
		return subprocess.run([str(BIN / "eavesctl"), "--socket", str(self.dir / "admin.sock"),
			*words], input=stdin, capture_output=True, text=True, timeout=4 * TIMEOUT)

	def ctl(self, *words, stdin=""):
		r = self.ctl_raw(*words, stdin=stdin)
		assert r.returncode == 0, f"eavesctl {' '.join(words)}: {r.stdout}{r.stderr}"
		return r.stdout

	def add_user(self, name, password=None):
		self.ctl("user", "add", name, stdin=(password or password_of(name)) + "\n")

	def add_users(self, names):
		names = list(names)
		if names:
			self.ctl("user", "import", stdin="".join(
				f"{n} {password_of(n)}\n" for n in names))

	def registrations(self, *user):
		return [x for x in self.ctl("registration", "list", *user).splitlines() if x]

	def get(self, path):
		with urllib.request.urlopen("http://%s:%d%s" % (*self.http, path),
				timeout=2 * TIMEOUT) as f:
			return f.status, f.read().decode()

	def metrics(self):
		"""Every family as its sum over workers."""
		out = collections.Counter()
		for line in self.get("/metrics")[1].splitlines():
			if line and not line.startswith("#"):
				name, value = line.rsplit(" ", 1)
				out[name.split("{")[0]] += float(value)
		return out

	def metric(self, name):
		m = self.metrics()
		for key in (name, "eaves_" + name):
			if key in m:
				return m[key]
		raise KeyError(name)

	def wait_metric(self, name, value, timeout=TIMEOUT):
		"""Until a metric has that value."""
		end = time.monotonic() + timeout
		while (is_now := self.metric(name)) != value:
			assert time.monotonic() < end, f"{name} is {is_now}, wanted {value}"

	# ---- phones ----

	def phone(self, user, **kw):
		"""A Phone of this server; `transport` picks the listener (udp, tcp, tls, udp6 ...)."""
		kw.setdefault("password", password_of(user))
		kw.setdefault("domain", self.config["domain"])
		transport = kw.pop("transport", "udp")
		to = kw.pop("to", None) or self.where[transport]
		if ":" in to[0]:
			kw.setdefault("source", "::1")
		else:
			kw.setdefault("source", own_address())
		p = Phone(user, to, transport.rstrip("6"), **kw)
		self.phones.append(p)
		return p


def password_of(user):
	return f"secret-of-{user}"
