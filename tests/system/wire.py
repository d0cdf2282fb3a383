"""TCP by way of the test: an address that leads to a server.  What passes can be held back and looked
at, as by a network that is slow or cut: nothing is lost of it, and no connection breaks.
"""
import os
import select
import socket
import threading

from eaves import TIMEOUT, free_port, own_address

PIECE = 65536


class Way:
	"""One direction of a connection, and what has come of it that is not out yet."""

	def __init__(self, source, asks, read, write):
		self.source, self.asks = source, asks  # asks: what the client says
		self.read, self.write = read, write
		self.data, self.ended, self.shut = bytearray(), False, False
		self.room = None  # bytes that may go on now; None: all
		self.head = b""  # how it began, up to the first empty line

	def may_pass(self):
		return not self.shut and (self.ended and self.room is None or
			bool(self.data) and self.room != 0)

	def take(self):
		try:
			more = self.read.recv(PIECE)
		except BlockingIOError:
			return
		except OSError:
			more = b""
		self.ended = not more
		self.data += more
		if b"\r\n\r\n" not in self.head:
			head, end, _ = (self.head + more).partition(b"\r\n\r\n")
			self.head = head + end

	def give(self):
		try:
			n = self.write.send(self.data[:self.room]) if self.data else 0
			del self.data[:n]
			if self.room is not None:
				self.room -= n
			elif self.ended and not self.data:
				self.shut = True
				self.write.shutdown(socket.SHUT_WR)
		except BlockingIOError:
			pass
		except OSError:  # nobody is there any more
			self.ended = self.shut = True


class Wire:
	"""to: (address, port) of the server; address: of the test's end; source: where the server sees
	clients come from; both without: any."""

	def __init__(self, to, address=None, source=None):
		self.to, self.address, self.source = to, address or own_address(), source
		self.port = free_port(self.address)
		self.changed = threading.Condition()
		self.ways, self.is_held, self.stopping = [], lambda way: False, False
		self.listener = socket.create_server((self.address, self.port), backlog=64)
		self.wake = os.pipe()
		self.thread = threading.Thread(target=self._run, daemon=True)
		self.thread.start()

	def where(self):
		return f"{self.address}:{self.port}"

	def close(self):
		with self.changed:
			self.stopping = True
		self._poke()
		self.thread.join(TIMEOUT)
		for s in [self.listener] + [way.read for way in self.ways]:
			s.close()
		for fd in self.wake:
			os.close(fd)

	# ---- what a test does with it ----

	def hold(self, *sources):
		"""Connections from these addresses, without any all: nothing passes, either way."""
		self._set(lambda way: not sources or way.source in sources)

	def hold_requests(self):
		"""What clients say does not pass; answers do."""
		self._set(lambda way: way.asks)

	def let(self):
		self._set(lambda way: False)

	def let_so_far(self):
		"""What is held now passes; what comes is held."""
		with self.changed:
			for way in self.ways:
				if way.room is not None:
					way.room = len(way.data)
		self._poke()

	def wait_held(self, *texts):
		"""Until a client has said one of these, which waits here; all of these that do."""
		found = set()

		def look():
			found.update(t for t in texts for way in self.ways
				if way.asks and way.room == 0 and t in way.data)
			return found
		with self.changed:
			there = self.changed.wait_for(look, 4 * TIMEOUT)
		assert there, f"none of {texts!r} has come to {self.where()}"
		return found

	def _set(self, is_held):
		with self.changed:
			self.is_held = is_held
			for way in self.ways:
				way.room = 0 if is_held(way) else None
		self._poke()

	# ---- the thread ----

	def _poke(self):
		os.write(self.wake[1], b"x")

	def _accept(self):
		client, (source, _) = self.listener.accept()
		try:
			server = socket.create_connection(self.to,
				source_address=(self.source, 0) if self.source else None)
		except OSError:
			client.close()
			return
		for s in (client, server):
			s.setblocking(False)
			s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
		for way in (Way(source, True, client, server), Way(source, False, server, client)):
			way.room = 0 if self.is_held(way) else None
			self.ways.append(way)

	def _wanted(self):
		"""{descriptor: events}; nothing is asked of one of which nothing is to be done."""
		events = {self.listener.fileno(): select.POLLIN, self.wake[0]: select.POLLIN}
		for way in self.ways:
			for s, wants, event in ((way.read, not way.ended, select.POLLIN),
					(way.write, way.may_pass(), select.POLLOUT)):
				if wants:
					events[s.fileno()] = events.get(s.fileno(), 0) | event
		return events

	def _work(self, ready):
		for way in list(self.ways):
			if not way.ended and way.read.fileno() in ready:
				way.take()
			if way.may_pass() and way.write.fileno() in ready:
				way.give()
		for asks, answers in zip(self.ways[::2], self.ways[1::2]):
			if asks.shut and answers.shut:
				asks.read.close()
				asks.write.close()
		self.ways = [way for way in self.ways if way.read.fileno() >= 0]
		if self.listener.fileno() in ready:
			self._accept()
		self.changed.notify_all()

	def _run(self):
		while True:
			poll = select.poll()
			with self.changed:
				for fd, events in self._wanted().items():
					poll.register(fd, events)
			ready = {fd for fd, _ in poll.poll()}
			with self.changed:
				if self.stopping:
					return
				if self.wake[0] in ready:
					os.read(self.wake[0], PIECE)
				self._work(ready)
