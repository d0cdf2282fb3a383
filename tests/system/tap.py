"""The wire between two nodes: what one sends to another one's links goes through a Tap, which
knows how it began, as somebody does who can read along."""
from eaves import merged
from wire import Wire


class Tap(Wire):
	def __init__(self, frm, to):
		"""Before `frm` is started: it connects here for `to`.  What it sends arrives from its own
		address."""
		super().__init__(to.link, to.address, frm.address)
		self.frm, self.node = frm, to
		frm.write_config(merged(frm.config, {"cluster": {"nodes": [
			{**row, "sip": self.where()} if row["name"] == to.name else row
			for row in frm.config["cluster"]["nodes"]]}}))

	@property
	def introduction(self):
		"""The last one."""
		def heads():
			return [way.head for way in self.ways if way.asks and way.head.endswith(b"\r\n\r\n")]
		self.frm.cluster.wait(heads, f"{self.frm.name} does not connect to {self.node.name}")
		return heads()[-1]

	def phone(self, user):
		"""Somebody with the node's address who repeats how its link began."""
		p = self.node.phone(user, transport="tcp", to=self.node.link, source=self.frm.address)
		p.send(self.introduction)
		return p
