"""A SIP phone that does what a test says, one message at a time, over one socket.

expect() gives the next message that is new (retransmissions and, unless asked for, 100 are
passed over) and fails at once when it is not the one that the test wants.  Everything has a
deadline.  answer_everything() makes a phone that picks up by itself, in a thread.
"""
import os
import re
import select
import socket
import ssl
import threading
import time

from sip import Message, build, challenges, credentials, reply_to, token, uri_of

TIMEOUT = float(os.environ.get("EAVES_TIMEOUT", "5"))
T1 = 0.5
SDP = ("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
	"m=audio 40000 RTP/AVP 0\r\n")
REASON = {100: "Trying", 180: "Ringing", 183: "Session Progress", 200: "OK", 302: "Moved",
	404: "Not Found", 480: "Gone", 486: "Busy Here", 487: "Request Terminated",
	488: "Not Acceptable Here", 500: "Oops", 503: "Service Unavailable", 603: "Decline"}


class Stream:
	"""One connection and what of the next message has come."""

	def __init__(self, sock):
		self.sock, self.data, self.ended = sock, b"", False

	def read(self):
		try:
			more = self.sock.recv(65536)
		except (ssl.SSLWantReadError, BlockingIOError):
			return
		except OSError:
			more = b""
		self.ended = not more
		self.data += more

	def take(self):
		"""The bytes of one message, of a keep-alive's answer, or None."""
		if self.data.startswith(b"\r\n"):
			self.data = self.data[2:]
			return b"\r\n"
		head, sep, rest = self.data.partition(b"\r\n\r\n")
		if not sep:
			return None
		m = re.search(rb"\r\n(?:content-length|l)\s*:\s*(\d+)", head, re.I)
		n = int(m.group(1)) if m else 0
		if len(rest) < n:
			return None
		self.data = rest[n:]
		return head + sep + rest[:n]


def transaction(request):
	branch = re.search(r";branch=([^;,\s]+)", request.get("via"))
	return (branch.group(1) if branch else request.get("via"), request.method)


class Phone:
	def __init__(self, user, server, transport="udp", password="", source="127.0.0.1",
			domain="example.org", tls=None, sni=None, port=0, listen=False):
		self.user, self.server, self.transport = user, server, transport
		self.password, self.domain, self.source = password, domain, source
		self.tls, self.sni = tls, sni
		self.call_id, self.cseq, self.tag = token() + "@reg", 0, token()
		self.seen, self.log, self.inbox = set(), [], []
		self.streams, self.listener, self.thread, self.wake = [], None, None, None
		# repeats: over UDP it sends again what has no answer, while any phone of `line` waits,
		# and answers what is sent to it again.
		self.repeats, self.replies, self.owed, self.line = False, {}, {}, [self]
		self.stopping, self.pongs, self.challenge, self.nc = False, 0, None, 0
		self.family = socket.AF_INET6 if ":" in source else socket.AF_INET
		if transport == "udp":
			self.sock = socket.socket(self.family, socket.SOCK_DGRAM)
			try:
				self.sock.bind((source, port))
			except OSError as e:
				raise OSError(f"{source}:{port}: {e} (is \"make run\" running?)") from e
		else:
			self.sock = None
			if listen:
				self._listen(port)
			if server:
				self.connect()

	# ---- sockets ----

	def _listen(self, port):
		self.listener = socket.socket(self.family, socket.SOCK_STREAM)
		self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
		self.listener.bind((self.source, port))
		self.listener.listen(16)

	def connect(self):
		s = socket.create_connection(self.server, timeout=TIMEOUT, source_address=(self.source, 0))
		s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else 40 ms between two requests
		if self.transport == "tls":
			context = self.tls or insecure()
			s = context.wrap_socket(s, server_hostname=self.sni)
		s.settimeout(TIMEOUT)
		self.stream = Stream(s)
		self.streams.append(self.stream)
		return self.stream

	@property
	def local(self):
		s = self.sock or self.listener or self.stream.sock
		host, port = s.getsockname()[:2]
		return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

	@property
	def aor(self):
		return f"sip:{self.user}@{self.domain}"

	@property
	def contact(self):
		t = "" if self.transport == "udp" else f";transport={self.transport}"
		return f"<sip:{self.user}@{self.local}{t}>"

	def send(self, data, conn=None, to=None):
		"""Bytes as they are: to the server, or by the stream that a request came by."""
		if isinstance(data, str):
			data = data.encode()
		if self.sock:
			self.sock.sendto(data, to or self.server)
			if self.repeats:
				self._owe(data, to or self.server)
		else:
			(conn or self.stream).sock.sendall(data)

	def _owe(self, data, to):
		"""RFC 3261 17.1.1.2, 17.1.2.2, 13.3.1.4, 17.2.1: until there is an answer."""
		m = Message(data)
		n, method = m.cseq
		if method != "ACK" and (m.method or (m.status >= 200 and method == "INVITE")):
			self.owed.setdefault(("answer" if m.method else "ACK", m.call_id, n, method),
				[data, to, T1, time.monotonic() + T1])

	def _settle(self, m):
		n, method = m.cseq
		if method == "ACK":
			self.owed.pop(("ACK", m.call_id, n, "INVITE"), None)
		elif m.status and (m.status >= 200 or method == "INVITE"):
			self.owed.pop(("answer", m.call_id, n, method), None)

	def _repeat(self):
		for key, (data, to, interval, at) in list(self.owed.items()):
			if time.monotonic() >= at:
				self.sock.sendto(data, to)
				interval = min(2 * interval, 8 * T1)
				self.owed[key] = [data, to, interval, at + interval]

	def _poll(self, wait):
		"""What has come within `wait` seconds, into the inbox; nobody's owed repetitions wait."""
		end = time.monotonic() + wait
		while True:
			left = end - time.monotonic()
			owing = [p for p in self.line if p.owed and not p.thread and not p.stopping]
			self._poll_once(min(left, T1 / 5) if owing and left > 0 else max(left, 0))
			for p in owing:
				if p is not self:
					p._poll_once(0)
				p._repeat()
			if not owing or self.inbox or time.monotonic() >= end:
				return

	def _poll_once(self, wait):
		files = {f.fileno(): f for f in (self.sock, self.listener) if f}
		for s in self.streams:
			if not s.ended:
				files[s.sock.fileno()] = s
				if isinstance(s.sock, ssl.SSLSocket) and s.sock.pending():
					wait = 0
		poll = select.poll()
		for fd in list(files) + ([self.wake[0]] if self.wake else []):
			poll.register(fd, select.POLLIN)
		for fd, _ in poll.poll(wait * 1000):
			f = files.get(fd)
			if not f:
				continue
			if f is self.sock:
				try:
					data, source = f.recvfrom(65535)
				except ConnectionRefusedError:
					continue
				self._got(data, None, source)
			elif f is self.listener:
				s = Stream(f.accept()[0])
				s.sock.settimeout(TIMEOUT)
				if self.transport == "tls":
					s.sock = self.tls.wrap_socket(s.sock, server_side=True)
				self.streams.append(s)
			else:
				self._read(f)

	def _read(self, s):
		s.read()
		while isinstance(s.sock, ssl.SSLSocket) and s.sock.pending():
			s.read()
		while (data := s.take()) is not None:
			self._got(data, s, None)

	def _got(self, data, conn, source):
		if not data.strip(b"\r\n\0"):
			self.pongs += 1
			return
		m = Message(data, conn, source)
		self.log.append(m)
		self._settle(m)
		key = data
		if self.repeats and m.method and m.method != "ACK":
			key = transaction(m)  # RFC 3261 17.2.3: another node may have sent it once more
		if key not in self.seen:
			self.seen.add(key)
			self.inbox.append(m)
		elif key in self.replies:
			self.send(self.replies[key], conn, source)  # 17.2.1

	# ---- waiting ----

	def next(self, timeout=None, trying=False):
		"""The next new message, or None."""
		end = time.monotonic() + (TIMEOUT if timeout is None else timeout)
		while True:
			while self.inbox:
				m = self.inbox.pop(0)
				if m.status != 100 or trying:
					return m
			left = end - time.monotonic()
			if left < 0:
				return None
			self._poll(left)

	def expect(self, what, timeout=None):
		"""what: a status or a method.  Fails unless the next new message is that."""
		m = self.next(timeout, trying=what == 100)
		assert m is not None, f"{self.user}: nothing came, wanted {what}"
		assert what in (m.status, m.method), f"{self.user}: wanted {what}, got\n{m!r}"
		return m

	def wait_for(self, what, timeout=None):
		"""The same, but messages in between are passed over; what may be a function."""
		match = what if callable(what) else lambda m: what in (m.status, m.method)
		end = time.monotonic() + (TIMEOUT if timeout is None else timeout)
		while (left := end - time.monotonic()) > 0:
			m = self.next(left, trying=True)
			if m is not None and match(m):
				return m
		raise AssertionError(f"{self.user}: {what} did not come in time")

	def expect_nothing(self, wait=0.3):
		m = self.next(wait)
		assert m is None, f"{self.user}: wanted nothing, got\n{m!r}"

	def expect_again(self, message, timeout=None):
		"""The very bytes once more: a retransmission, or the answer to one."""
		def times():
			return sum(1 for m in self.log if m.raw == message.raw)
		start, end = times(), time.monotonic() + (TIMEOUT if timeout is None else timeout)
		while times() == start:
			left = end - time.monotonic()
			assert left > 0, f"{self.user}: not again:\n{message!r}"
			self._poll(left)

	def expect_closed(self, timeout=None, stream=None):
		s = stream or self.stream
		end = time.monotonic() + (TIMEOUT if timeout is None else timeout)
		while not s.ended:
			left = end - time.monotonic()
			assert left > 0, f"{self.user}: the connection is still open"
			self._poll(left)

	def is_open(self):
		self._poll(0)
		return not self.stream.ended

	# ---- requests ----

	def via(self):
		return f"SIP/2.0/{self.transport.upper()} {self.local};branch=z9hG4bK{token()};rport"

	def request(self, method, uri, headers=(), body="", to=None, frm=None, call_id=None,
			cseq=None, drop=(), auth=None, sdp=True, via=None, contact=None):
		"""Sends a request outside a dialog and gives it back.  headers replace those of the
		same name; drop: names to leave out."""
		if method == "INVITE" and sdp and not body:
			body = SDP
		self.cseq += 1
		h = [("Via", via or self.via()), ("Max-Forwards", "70"),
			("From", frm or f"<{self.aor}>;tag={token()}"), ("To", to or f"<{uri}>"),
			("Call-ID", call_id or token()), ("CSeq", f"{cseq or self.cseq} {method}"),
			("Contact", contact or self.contact)]
		if body and not any(n.lower() == "content-type" for n, _ in headers):
			h.append(("Content-Type", "text/plain" if method == "MESSAGE" else "application/sdp"))
		names = {n.lower() for n, _ in headers} | {n.lower() for n in drop}
		h = [(n, v) for n, v in h if n.lower() not in names or n == "Via"] + list(headers)
		if auth:
			h.append(auth)
		m = Message(build(f"{method} {uri} SIP/2.0", h, body))
		self.send(m.raw)
		return m

	def again(self, request, response, algorithm=None, nc=1, password=None, change=None):
		"""The request with credentials for the challenge in the response."""
		if request.method == "INVITE":
			self.ack(request, response)
		wanted = [c for c in challenges(response)
			if algorithm in (None, c.get("algorithm", "MD5"))]
		assert wanted, f"no challenge with {algorithm}:\n{response!r}"
		self.challenge, self.nc = wanted[0], nc
		name = "Authorization" if response.status == 401 else "Proxy-Authorization"
		value = credentials(wanted[0], request.method, request.uri, self.user,
			password or self.password, nc=nc, change=change)
		return self.resend(request, (name, value))

	def credentials_again(self, method, uri):
		"""The latest challenge's nonce once more, with the next count."""
		self.nc += 1
		return ("Authorization", credentials(self.challenge, method, uri, self.user, self.password,
			nc=self.nc))

	def resend(self, request, auth=None):
		"""A new transaction with the fields of a request and CSeq one up."""
		n, method = request.cseq
		self.cseq = max(self.cseq, n + 1)
		gone = {"authorization", "proxy-authorization"} if auth else set()
		realm = re.search(r'realm="[^"]*"', auth[1]) if auth else None
		h = []
		for name, value in request.headers:
			if name == "Via":
				value = self.via()
			elif name == "CSeq":
				value = f"{n + 1} {method}"
			elif name.lower() in gone and (not realm or realm.group() in value):
				continue  # those for another realm stay
			h.append((name, value))
		if auth:
			h.append(auth)
		m = Message(build(request.start, h, request.body))
		self.send(m.raw)
		return m

	def ack(self, request, response):
		"""ACK of a non-2xx (RFC 3261 17.1.1.3)."""
		h = [("Via", request.get("via")), ("Max-Forwards", "70"), ("From", request.get("from")),
			("To", response.get("to")), ("Call-ID", request.call_id),
			("CSeq", f"{request.cseq[0]} ACK")]
		h += [("Route", v) for v in request.all("route")]
		self.send(build(f"ACK {request.uri} SIP/2.0", h))

	def cancel(self, request):
		h = [("Via", request.get("via")), ("Max-Forwards", "70"), ("From", request.get("from")),
			("To", request.get("to")), ("Call-ID", request.call_id),
			("CSeq", f"{request.cseq[0]} CANCEL")]
		self.send(build(f"CANCEL {request.uri} SIP/2.0", h))

	def answered(self, request, want=200, **auth):
		"""Waits for the final answer of a request, through a challenge; (request, answer)."""
		r = self.next()
		assert r is not None, f"{self.user}: no answer to\n{request!r}"
		if r.status in (401, 407) and want not in (401, 407):
			request = self.again(request, r, **auth)
			r = self.next()
		assert r is not None and r.status == want, f"{self.user}: wanted {want}, got\n{r!r}"
		return request, r

	def register(self, want=200, contact=None, expires=None, headers=(), **kw):
		"""REGISTER through its challenge; the final answer."""
		auth = {k: kw.pop(k) for k in ("algorithm", "password") if k in kw}
		h = list(headers)
		if expires is not None:
			h.append(("Expires", str(expires)))
		kw.setdefault("call_id", self.call_id)
		kw.setdefault("frm", f"<{self.aor}>;tag={token()}")
		kw.setdefault("to", f"<{self.aor}>")
		m = self.request("REGISTER", f"sip:{self.domain}", h, contact=contact, **kw)
		self.registered, r = self.answered(m, want, **auth)
		return r

	def invite(self, user, headers=(), **kw):
		"""INVITE a user of the domain, through the challenge; the INVITE that is under way."""
		uri = user if user.startswith("sip") else f"sip:{user}@{self.domain}"
		m = self.request("INVITE", uri, headers, **kw)
		r = self.expect(407)
		return self.again(m, r)

	def reply(self, request, status, headers=(), body="", tag=None, reason=None):
		"""Answers a request; the To tag stays the same for one Call-ID."""
		if status > 100:
			tag = tag or f"{self.tag}-{request.call_id[:12]}"
		if status // 100 == 2 and request.method == "INVITE" and not body:
			body = SDP
		h = list(headers)
		if request.method in ("INVITE", "SUBSCRIBE") and 100 < status < 300:
			h.append(("Contact", self.contact))
		if body and not any(n.lower() == "content-type" for n, _ in h):
			h.append(("Content-Type", "application/sdp"))
		data = reply_to(request, status, reason or REASON.get(status, "Status"), tag, h, body)
		self.replies[transaction(request)] = data
		self.send(data, request.conn, request.source)
		return Message(data)

	# ---- a phone that answers by itself ----

	def answer_everything(self, handler=None):
		"""From now on a thread answers: INVITE with 180 and 200, the rest with 200."""
		def default(phone, m):
			if m.method == "INVITE":
				phone.reply(m, 180)
			if m.method and m.method != "ACK":
				phone.reply(m, 200)

		def run():
			while not self.stopping:
				m = self.next(1)
				if m is not None:
					(handler or default)(self, m)
		self.wake = os.pipe()
		self.thread = threading.Thread(target=run, daemon=True)
		self.thread.start()
		return self

	def close(self):
		self.stopping = True
		if self.thread:
			os.write(self.wake[1], b"x")
			self.thread.join(TIMEOUT)
			for fd in self.wake:
				os.close(fd)
		for s in [self.sock, self.listener] + [s.sock for s in self.streams]:
			if s:
				s.close()


class Dialog:
	"""One side of a dialog (RFC 3261 12): built from the INVITE and the answer to it."""

	def __init__(self, phone, invite, answer, caller):
		self.phone, self.caller, self.call_id = phone, caller, invite.call_id
		self.routes = answer.list("record-route") if caller else invite.list("record-route")
		if caller:
			self.routes = self.routes[::-1]
		self.local = answer.get("from") if caller else answer.get("to")
		self.remote = answer.get("to") if caller else answer.get("from")
		self.target = uri_of((answer if caller else invite).get("contact"))
		self.cseq = invite.cseq[0] if caller else 0

	def headers(self, method, cseq):
		return [("Via", self.phone.via()), ("Max-Forwards", "70"), ("From", self.local),
			("To", self.remote), ("Call-ID", self.call_id), ("CSeq", f"{cseq} {method}"),
			("Contact", self.phone.contact)] + [("Route", r) for r in self.routes]

	def ack(self, cseq=None):
		m = build(f"ACK {self.target} SIP/2.0", self.headers("ACK", cseq or self.cseq))
		self.phone.send(m)
		return Message(m)

	def request(self, method, body="", headers=()):
		self.cseq += 1
		h = self.headers(method, self.cseq) + list(headers)
		if body:
			h.append(("Content-Type", "application/sdp"))
		m = Message(build(f"{method} {self.target} SIP/2.0", h, body))
		self.phone.send(m.raw)
		return m


def insecure():
	c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
	c.check_hostname = False
	c.verify_mode = ssl.CERT_NONE
	return c


def ring(caller, callee, user=None, headers=()):
	"""A call that rings; the INVITE at both ends."""
	invite = caller.invite(user or callee.user, headers)
	incoming = callee.expect("INVITE")
	callee.reply(incoming, 180)
	caller.expect(180)
	return invite, incoming


def pick_up(caller, callee, invite, incoming):
	"""It is answered; both dialogs."""
	answer = callee.reply(incoming, 200)
	ok = caller.expect(200)
	a, b = Dialog(caller, invite, ok, True), Dialog(callee, incoming, answer, False)
	a.ack()
	callee.expect("ACK")
	return a, b


def talk(caller, callee, user=None, headers=()):
	"""A whole call set-up; both dialogs."""
	return pick_up(caller, callee, *ring(caller, callee, user, headers))


def hang_up(a, b):
	a.request("BYE")
	b.phone.reply(b.phone.expect("BYE"), 200)
	a.phone.expect(200)
