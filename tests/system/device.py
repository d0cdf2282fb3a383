"""A phone on a stream that comes back when its connection has ended."""


class Device:
	"""Registers by outbound (RFC 5626), so that its binding is the same after it has come back."""

	def __init__(self, user, node, number=1, **kw):
		self.node, self.phone = node, node.phone(user, **{"transport": "tcp", **kw})
		self.phone.repeats = True
		self.instance = f'"<urn:uuid:{user}-{number}>"'
		self.register()

	def register(self):
		p = self.phone
		p.register(contact=f"{p.contact};reg-id=1;+sip.instance={self.instance}",
			headers=[("Supported", "outbound, path, gruu")])

	def come_back(self, node):
		"""To the other member: what was on its way to it comes before or after its 200."""
		p = self.phone
		p.expect_closed()
		self.node, p.server = node, node.where[p.transport]
		p.connect()
		contact = f"{p.contact};reg-id=1;+sip.instance={self.instance}"
		m = p.request("REGISTER", "sip:example.org", [("Supported", "outbound, path, gruu")],
			contact=contact, call_id=p.call_id, to=f"<{p.aor}>")
		p.again(m, p.wait_for(401))
