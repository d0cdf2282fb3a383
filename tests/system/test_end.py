"""The end of a server: no answer that is due gets lost."""
import signal
import socket
import subprocess
import time

from cluster import registered
from eaves import password_of
from phone import TIMEOUT
from sip import Message, challenges, credentials


def registers(phone, users, domain):
	"""A REGISTER for each user, with credentials: ready to be sent at once."""
	out = {}
	for n, user in enumerate(users):
		if n % 20 == 0:
			first = phone.request("REGISTER", f"sip:{domain}")
			challenge = challenges(phone.expect(401))[0]
		value = credentials(challenge, "REGISTER", f"sip:{domain}", user, password_of(user),
			nc=n % 20 + 1)
		aor = f"sip:{user}@{domain}"
		lines = [f"REGISTER sip:{domain} SIP/2.0", f"Via: {phone.via()}", "Max-Forwards: 70",
			f"From: <{aor}>;tag={n}", f"To: <{aor}>", f"Call-ID: {user}-{first.call_id}",
			"CSeq: 2 REGISTER", f"Contact: {phone.contact}", f"Authorization: {value}",
			"Content-Length: 0", "", ""]
		out[user] = "\r\n".join(lines)
	return out


def test_who_is_bound_has_his_answer(start, workers):
	users = [f"user{n}" for n in range(200)]
	s = start(users=users, workers=workers, store="sqlite")
	phone = s.phone("user0")
	phone.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
	for m in registers(phone, users, "example.org").values():
		phone.send(m)
	first = phone.expect(200)  # the others are under way
	s.process.send_signal(signal.SIGTERM)
	answered = {first.call_id.split("-")[0]}
	while (m := phone.next(0.2)) is not None or s.exit_status is None:
		if m is not None and m.status == 200:
			answered.add(m.call_id.split("-")[0])
	s.stop()
	s.start()
	bound = {x.split()[0] for x in s.registrations()}
	assert bound and bound == answered


def test_a_request_under_way_is_answered_before_the_end(server_n):
	alice, bob = server_n.phone("alice"), server_n.phone("bob")
	bob.register()
	m = alice.request("MESSAGE", "sip:bob@example.org", body="hello")
	alice.again(m, alice.expect(407))
	m = bob.expect("MESSAGE")
	server_n.process.send_signal(signal.SIGTERM)
	server_n.wait_log("event=stopping")
	bob.reply(m, 200)
	alice.expect(200)
	server_n.stop()


def test_a_second_signal_ends_the_wait(server):
	alice, bob = server.phone("alice"), server.phone("bob")
	bob.register()
	alice.invite("bob")
	bob.expect("INVITE")
	began = time.monotonic()
	for _ in range(19):
		server.process.send_signal(signal.SIGTERM)
		try:
			server.process.wait(0.1)
			break
		except subprocess.TimeoutExpired:
			pass
	assert time.monotonic() - began < min(2, TIMEOUT)
	server.stop()


def test_a_call_that_waits_for_its_second_place_at_the_end_is_gone_on_with(cluster):
	"""It hears that there is none, and has something to write once more by then."""
	c = cluster(users=("alice", "bob"), config={"cluster": {"dead_ms": 30000,
		"second_place_ms": 60000, "drain_s": 1}}, start=False)
	for n in c.nodes:
		n.env["MALLOC_PERTURB_"] = "85"  # freed memory is of no use to anybody
	c.start()
	c.edges[0].add_users(("alice", "bob"))
	c.wait_users(2)
	alice, *bobs = registered(c, "alice", "bob", "bob")
	m = alice.invite("bob")
	for b in bobs:
		b.reply(b.expect("INVITE"), 486)
	alice.ack(m, alice.wait_for(486))
	one, other = c.homes[0]
	if other.log_count("event=forked"):
		one, other = other, one
	other.process.send_signal(signal.SIGSTOP)
	try:
		m = alice.invite("bob")
		alice.expect(100)
		c.wait(lambda: one.metric("cluster_waiting") > 0, "nobody is waited for", TIMEOUT)
		alice.cancel(m)
		one.stop()
	finally:
		other.process.send_signal(signal.SIGCONT)
