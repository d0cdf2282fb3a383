"""Two workers, and everything at the same time: traffic over all transports, the administration,
reloads, scrapes.  Proves little in a release build; the build with ThreadSanitizer sees what is
shared without a lock."""
import os
import threading
import time

from certs import Authority
from phone import Dialog

SECONDS = float(os.environ.get("EAVES_LOAD_SECONDS", "4"))


class Crowd:
	"""Threads that repeat what they do until the time is over; the first error counts."""

	def __init__(self):
		self.end = time.monotonic() + SECONDS
		self.threads, self.errors, self.done = [], [], {}

	def add(self, what, *args, name=None):
		name = name or what.__name__

		def run():
			try:
				while time.monotonic() < self.end and not self.errors:
					what(*args)
					self.done[name] = self.done.get(name, 0) + 1
			except Exception as e:  # pylint: disable=broad-except
				self.errors.append(e)
		self.threads.append(threading.Thread(target=run, daemon=True))

	def run(self):
		for t in self.threads:
			t.start()
		for t in self.threads:
			t.join()
		if self.errors:
			raise self.errors[0]


def call(phone, user):
	invite = phone.invite(user)
	ok = phone.wait_for(200)
	d = Dialog(phone, invite, ok, True)
	d.ack()
	bye = d.request("BYE")
	phone.wait_for(lambda m: m.status == 200 and m.cseq == bye.cseq)


def message(phone, user):
	m = phone.request("MESSAGE", f"sip:{user}@example.org", body="hello")
	phone.again(m, phone.wait_for(407))
	phone.wait_for(200)


def register(phone):
	phone.register()


def administer(s, n):
	s.add_user(f"guest{n}")
	s.ctl("status")
	s.ctl("user", "list")
	s.ctl("alias", "add", f"visitor{n}", f"guest{n}")
	s.registrations()
	s.ctl_raw("registration", "drop", f"callee{n % 3}", "sip:nobody@127.0.0.1")
	s.ctl("alias", "remove", f"visitor{n}")
	s.ctl("user", "remove", f"guest{n}")


def reload(s):
	s.hup()
	s.ctl("reload")


def scrape(s):
	assert s.get("/healthz")[0] == 200
	assert s.metric("bindings") >= 1


def test_everything_at_once(start, tmp_path):
	ca = Authority(tmp_path)
	transports = ("udp", "tcp", "tls")
	names = [f"{role}{n}" for role in ("caller", "callee") for n in range(6)]
	s = start({"tls": {"certificates": [ca.entry("example.org")], "ca": str(ca.cert)}}, names,
		workers=2, store="sqlite", listeners=[("udp",), ("tcp",), ("tls", None, {})])

	def phone(name, n):
		extra = {"tls": ca.client(), "sni": "example.org"} if n % 3 == 2 else {}
		return s.phone(name, transport=transports[n % 3], **extra)
	crowd = Crowd()
	for n in range(6):
		callee = phone(f"callee{n}", n)
		callee.register()
		callee.answer_everything()
	for n in range(6):
		caller = phone(f"caller{n}", n)
		if n < 4:
			crowd.add(call, caller, f"callee{(n + 1) % 6}")
		else:
			crowd.add(message, caller, f"callee{n}")
		crowd.add(register, phone(f"caller{n}", n + 1))
	crowd.add(administer, s, 1)
	crowd.add(administer, s, 2)
	crowd.add(reload, s)
	crowd.add(scrape, s)
	crowd.run()
	assert set(crowd.done) == {"call", "message", "register", "administer", "reload", "scrape"}
	assert s.log_count("event=reload-refused") == 0
