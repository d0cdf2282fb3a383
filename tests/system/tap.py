"""The wire between two nodes: what one sends to another one's links goes through a Tap, which
keeps how it began, as somebody does who can read along."""
import contextlib
import selectors
import socket
import threading

from eaves import TIMEOUT, free_port, merged


class Tap:
	def __init__(self, frm, to):
		"""Before `frm` is started: it connects here for `to`.  What it sends arrives from its own
		address."""
		self.frm, self.to, self.began = frm, to, []
		self.listener = socket.create_server((to.address, free_port(to.address)))
		at = "%s:%d" % self.listener.getsockname()
		frm.write_config(merged(frm.config, {"cluster": {"nodes": [
			{**row, "sip": at} if row["name"] == to.name else row
			for row in frm.config["cluster"]["nodes"]]}}))
		threading.Thread(target=self._accept, daemon=True).start()

	def _accept(self):
		with contextlib.suppress(OSError):
			while True:
				near, _ = self.listener.accept()
				threading.Thread(target=self._carry, args=(near,), daemon=True).start()

	def _carry(self, near):
		with near, contextlib.suppress(OSError), \
				socket.create_connection(self.to.link, TIMEOUT, (self.frm.address, 0)) as far, \
				selectors.DefaultSelector() as both:
			both.register(near, selectors.EVENT_READ, far)
			both.register(far, selectors.EVENT_READ, near)
			first = True
			while True:
				for key, _ in both.select():
					data = key.fileobj.recv(65536)
					if not data:
						return
					if first and key.fileobj is near:
						first = False
						self.began.append(data.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
					key.data.sendall(data)

	@property
	def introduction(self):
		"""The last one."""
		self.frm.cluster.wait(lambda: self.began, f"{self.frm.name} does not connect to {self.to.name}")
		return self.began[-1]

	def phone(self, user):
		"""Somebody with the node's address who repeats how its link began."""
		p = self.to.phone(user, transport="tcp", to=self.to.link, source=self.frm.address)
		p.send(self.introduction)
		return p

	def close(self):
		self.listener.close()
