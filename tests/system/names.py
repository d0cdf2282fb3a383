"""A name server for a test: dnsmasq with the records that the test gives."""
import subprocess


class NameServer:
	"""records: lines of dnsmasq's configuration, "srv-host=..." and the like."""

	def __init__(self, address, port, records):
		self.where = f"{address}:{port}"
		self.process = subprocess.Popen(["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null",
			"--no-resolv", "--no-hosts", "--bind-interfaces", f"--listen-address={address}",
			f"--port={port}", "--log-facility=-", "--log-queries", "--pid-file=",
			"--user=root", "--local=/example/", *["--" + r for r in records]],
			stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
		for line in self.process.stderr:
			if "started" in line:
				return
		raise RuntimeError("dnsmasq does not start")

	def close(self):
		self.process.kill()
		self.process.wait()
		self.process.stderr.close()
