"""SIP messages as a phone sees them: literal text in, literal text out, and the client's side of
digest (RFC 7616).  It shares no code with the server, so that both can be wrong in their own way.
"""
import hashlib
import itertools
import os
import re

SHORT = {"v": "via", "f": "from", "t": "to", "i": "call-id", "m": "contact", "l": "content-length",
	"c": "content-type", "k": "supported", "s": "subject", "e": "content-encoding"}

_numbers = itertools.count(1)


def token():
	return f"{os.getpid():x}{next(_numbers):x}{os.urandom(4).hex()}"


class Message:
	"""raw: its bytes.  conn: the stream that it came by, source: where from."""

	def __init__(self, raw, conn=None, source=None):
		self.raw, self.conn, self.source = raw, conn, source
		head, _, body = raw.partition(b"\r\n\r\n")
		self.body = body.decode(errors="replace")
		lines = head.decode(errors="replace").split("\r\n")
		self.start = lines[0]
		self.headers = []
		for line in lines[1:]:
			if line[:1] in " \t" and self.headers:
				n, v = self.headers[-1]
				self.headers[-1] = (n, v + " " + line.strip())
				continue
			name, _, value = line.partition(":")
			self.headers.append((name.strip(), value.strip()))
		first = self.start.split(" ", 2)
		self.is_response = first[0] == "SIP/2.0"
		self.status = int(first[1]) if self.is_response else None
		self.reason = (first + ["", ""])[2] if self.is_response else None
		self.method = None if self.is_response else first[0]
		self.uri = None if self.is_response else first[1]

	def all(self, name):
		name = name.lower()
		return [v for n, v in self.headers if SHORT.get(n.lower(), n.lower()) == name]

	def get(self, name, default=None):
		v = self.all(name)
		return v[0] if v else default

	def list(self, name):
		"""The values of a list header, commas outside <> and quotes split."""
		out = []
		for v in self.all(name):
			out += [x.strip() for x in re.split(r',(?=(?:[^"<>]|"[^"]*"|<[^>]*>)*$)', v)]
		return out

	@property
	def call_id(self):
		return self.get("call-id")

	@property
	def cseq(self):
		n, method = self.get("cseq").split()
		return int(n), method

	@property
	def branch(self):
		return param(self.list("via")[0], "branch")

	def __repr__(self):
		return self.raw.decode(errors="replace")


def param(value, name):
	m = re.search(r";\s*" + re.escape(name) + r'\s*=\s*("[^"]*"|[^;,\s>]+)', value, re.I)
	return m.group(1).strip('"') if m else None


def uri_of(value):
	m = re.search(r"<([^>]*)>", value)
	return m.group(1) if m else value.split(";")[0].strip()


def build(start, headers, body=""):
	"""Text of a message with its Content-Length."""
	lines = [start] + [f"{n}: {v}" for n, v in headers]
	if not any(n.lower() in ("content-length", "l") for n, _ in headers):
		lines.append(f"Content-Length: {len(body.encode())}")
	return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


def reply_to(req, status, reason, to_tag=None, headers=(), body=""):
	"""An answer by RFC 3261 8.2.6."""
	out = [("Via", v) for v in req.all("via")]
	if status < 300:
		out += [("Record-Route", v) for v in req.all("record-route")]
	to = req.get("to")
	if to_tag and not param(to, "tag"):
		to += f";tag={to_tag}"
	out += [("From", req.get("from")), ("To", to), ("Call-ID", req.call_id),
		("CSeq", req.get("cseq"))]
	return build(f"SIP/2.0 {status} {reason}", out + list(headers), body)


# ---- digest, as clients do it ----

def challenges(response):
	"""The challenges of a 401 or 407 as dicts, in order."""
	out = []
	for name in ("www-authenticate", "proxy-authenticate"):
		for v in response.all(name):
			scheme, _, rest = v.partition(" ")
			c = {k.lower(): (q or p) for k, q, p in
				re.findall(r'(\w+)\s*=\s*(?:"([^"]*)"|([^\s,"]+))', rest)}
			if scheme.lower() == "digest":
				out.append(c)
	return out


def credentials(challenge, method, uri, user, password, nc=1, cnonce=None,
		change=None):
	"""The value of an Authorization header.  change: parameters given as they are."""
	c = dict(challenge)
	algorithm = c.get("algorithm", "MD5")
	h = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256}[algorithm.upper()]
	cnonce = cnonce or token()
	nc = f"{nc:08x}"
	ha1 = h(f"{user}:{c['realm']}:{password}".encode()).hexdigest()
	ha2 = h(f"{method}:{uri}".encode()).hexdigest()
	response = h(f"{ha1}:{c['nonce']}:{nc}:{cnonce}:auth:{ha2}".encode()).hexdigest()
	p = {"username": user, "realm": c["realm"], "nonce": c["nonce"], "uri": uri,
		"response": response, "cnonce": cnonce, "opaque": c.get("opaque")}
	p.update(change or {})
	quoted = ", ".join(f'{k}="{v}"' for k, v in p.items() if v is not None)
	return f"Digest {quoted}, algorithm={algorithm}, qop=auth, nc={nc}"
