"""Certificates for a test, made by the openssl command: an authority and what it signs."""
import pathlib
import ssl
import subprocess


def _openssl(*args):
	subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True)


class Authority:
	def __init__(self, folder, name="test-ca"):
		self.dir, self.entries = pathlib.Path(folder), {}
		self.cert, self.key = self.dir / f"{name}.pem", self.dir / f"{name}.key"
		_openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
			"-keyout", self.key, "-out", self.cert, "-days", "2", "-subj", f"/CN={name}",
			"-addext", "basicConstraints=critical,CA:TRUE")

	def issue(self, name, san=None, file=None, days=2):
		"""(certificate, key) files for a DNS name, or for the subjectAltName given."""
		cert, key = self.dir / f"{file or name}.pem", self.dir / f"{file or name}.key"
		request, extra = self.dir / "request.pem", self.dir / "extensions"
		extra.write_text(f"subjectAltName={san or 'DNS:' + name}\n")
		_openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
			"-keyout", key, "-out", request, "-subj", f"/CN={name}")
		_openssl("x509", "-req", "-in", request, "-CA", self.cert, "-CAkey", self.key,
			"-out", cert, "-days", days, "-extfile", extra, "-CAcreateserial")
		return cert, key

	def entry(self, name, **kw):
		"""A row of tls.certificates."""
		cert, key = self.issue(name, **kw)
		return {"domain": name, "certificate": str(cert), "key": str(key)}

	def entry_once(self, name):
		"""The same row each time."""
		if name not in self.entries:
			self.entries[name] = self.entry(name)
		return self.entries[name]

	def client(self, pair=None):
		"""A client that trusts this authority alone."""
		c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
		c.load_verify_locations(self.cert)
		if pair:
			c.load_cert_chain(*pair)
		return c

	def server(self, pair):
		c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
		c.load_cert_chain(*pair)
		return c
