"""Attackers for test_hostile.py, one process each: hostile.py KIND HOST PORT COUNT SECONDS.

Says "ready" when what it holds is up; ends when its input does, or after SECONDS, and says as
JSON what it saw.  Attackers come from addresses of 127.100.0.0/16.
"""
import json
import os
import random
import resource
import select
import socket
import sys
import time

PER_SOURCE = 150
REQUEST = ("REGISTER sip:example.org SIP/2.0\r\nVia: SIP/2.0/UDP {via};branch=z9hG4bK{n};rport\r\n"
	"Max-Forwards: 70\r\nFrom: <sip:{user}@example.org>;tag=1\r\nTo: <sip:{user}@example.org>\r\n"
	"Call-ID: {n}-hostile\r\nCSeq: 1 REGISTER\r\nContact: <sip:x@{via}>\r\n{more}"
	"Content-Length: 0\r\n\r\n")


def address(n):
	return f"127.100.{n // 250 % 250}.{n % 250 + 1}"


class Attack:
	def __init__(self, kind, host, port, count, seconds):
		self.kind, self.to, self.count = kind, (host, int(port)), int(count)
		self.seconds, self.base = float(seconds), os.getpid() % 200 * 250
		self.saw = {}

	def over(self, wait=0.0):
		"""Is it to end?  Waits a little for that."""
		if time.monotonic() > self.end:
			return True
		return bool(select.select([sys.stdin], [], [], wait)[0])

	def ready(self, more=1):
		self.end = time.monotonic() + self.seconds * more
		print("ready", flush=True)

	def run(self):
		self.end = time.monotonic() + 60
		getattr(self, self.kind)()
		print(json.dumps(self.saw), flush=True)

	# ---- connections ----

	def connect(self, first=b""):
		out = []
		for n in range(self.count):
			s = socket.socket()
			s.bind((address(self.base + n // PER_SOURCE), 0))
			try:
				s.connect(self.to)
				if first:
					s.send(first)
			except OSError:
				s.close()
				break
			s.setblocking(False)
			out.append(s)
		self.saw["connected"] = len(out)
		return out

	def watch(self, conns, send=b""):
		"""Until the end; how many the server has closed by then."""
		poll, by_fd, at = select.epoll(), {}, 0
		for s in conns:
			by_fd[s.fileno()] = s
			poll.register(s.fileno(), select.EPOLLIN)
		next_send = time.monotonic()
		ready, last = True, False
		while ready or not last:
			last = last or self.over(0.02)
			ready = poll.poll(0.3 if last else 0, len(conns) + 1)
			for fd, _ in ready:
				try:
					gone = not by_fd[fd].recv(65536)
				except BlockingIOError:
					continue
				except OSError:
					gone = True
				if gone:
					poll.unregister(fd)
					by_fd.pop(fd).close()
			if send and time.monotonic() >= next_send:
				next_send += 1
				for s in by_fd.values():
					try:
						s.send(send[at:at + 1])
					except OSError:
						pass
				at = min(at + 1, len(send) - 1)
		self.saw["closed"] = len(conns) - len(by_fd)

	def idle(self):
		conns = self.connect()
		self.ready()
		self.watch(conns)

	def slow(self):
		conns = self.connect()
		self.ready()
		self.watch(conns, REQUEST.format(via="h", n=1, user="x", more="").encode())

	def half_tls(self):
		conns = self.connect(b"\x16\x03\x01\x02\x00\x01\x00")
		self.ready()
		self.watch(conns)

	def half_closed(self):
		conns = self.connect(b"OPTIONS sip:example.org SIP/2.0\r\nVia: ")
		for s in conns:
			s.shutdown(socket.SHUT_WR)
		self.ready()
		self.watch(conns)

	# ---- datagrams ----

	def flood(self, datagrams, burst=20):
		socks = []
		for n in range(32):
			s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
			s.bind((address(self.base + n), 0))
			s.setblocking(False)
			socks.append(s)
		self.ready(4)
		sent, began = 0, time.monotonic()
		while sent < self.count and not self.over():
			for _ in range(burst):
				try:
					socks[sent % 32].sendto(datagrams[sent % len(datagrams)], self.to)
				except OSError:
					pass
				sent += 1
			# COUNT datagrams evenly over SECONDS.
			ahead = sent / self.count * self.seconds - (time.monotonic() - began)
			if ahead > 0.001:
				time.sleep(ahead)
		self.saw["sent"] = sent

	def garbage(self):
		r = random.Random(1)
		good = REQUEST.format(via="127.0.0.1", n=1, user="x", more="").encode()
		out = [r.randbytes(r.randrange(1, 1200)) for _ in range(500)]
		for _ in range(500):
			b = bytearray(good)
			for _ in range(r.randrange(1, 8)):
				b[r.randrange(len(b))] = r.randrange(256)
			out.append(bytes(b[:r.randrange(1, len(b) + 1)]))
		self.flood(out)

	def oversize(self):
		head = REQUEST.format(via="127.0.0.1", n=1, user="x", more="").encode()
		self.flood([head + b"x" * n for n in (8192, 20000, 60000)])

	def guess(self):
		"""Wrong passwords by the thousand, known and unknown users, from 1,000 addresses."""
		import re
		socks = []
		for n in range(1000): # a nonce is good for the source that it was sent to
			s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
			s.bind((address(self.base + n), 0))
			s.settimeout(5)
			via = "%s:%d" % s.getsockname()
			s.sendto(REQUEST.format(via=via, n=n, user="alice", more="").encode(), self.to)
			answer = s.recv(4096).decode()
			nonce = re.search('nonce="([^"]*)"', answer).group(1)
			realm = re.search('realm="([^"]*)"', answer).group(1)
			s.setblocking(False)
			socks.append((s, via, nonce))
		self.ready(4)
		sent, began, status = 0, time.monotonic(), {}
		while sent < self.count and not self.over():
			s, via, nonce = socks[sent % 1000]
			user = "alice" if sent % 3 else f"nobody{sent}"
			more = (f'Authorization: Digest username="{user}", realm="{realm}", nonce="{nonce}", '
				f'uri="sip:example.org", response="{sent:032x}", cnonce="c", qop=auth, '
				f"nc={sent + 1:08x}, algorithm=MD5\r\n")
			try:
				s.sendto(REQUEST.format(via=via, n=sent, user=user, more=more).encode(), self.to)
			except OSError:
				pass
			sent += 1
			try:
				code = s.recv(4096)[8:11].decode()
				status[code] = status.get(code, 0) + 1
			except OSError:
				pass
			ahead = sent / self.count * self.seconds - (time.monotonic() - began)
			if ahead > 0.002:
				time.sleep(ahead)
		self.saw.update(sent=sent, status=status)


if __name__ == "__main__":
	hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
	resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
	Attack(*sys.argv[1:]).run()
