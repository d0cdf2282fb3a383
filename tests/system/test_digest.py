"""Digest (RFC 7616, RFC 8760), its replays, and what somebody who guesses is told."""
import re

import pytest

from sip import build, challenges, credentials, token


def register(phone, auth=None, **kw):
	return phone.request("REGISTER", "sip:example.org", auth=auth, to=f"<{phone.aor}>",
		frm=f"<{phone.aor}>;tag={token()}", **kw)


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
def test_both_algorithms_register(server_n, algorithm):
	alice = server_n.phone("alice")
	alice.register(algorithm=algorithm)
	assert len(server_n.registrations("alice")) == 1


def test_sha_256_is_offered_first(server):
	alice = server.phone("alice")
	register(alice)
	offered = [c.get("algorithm") for c in challenges(alice.expect(401))]
	assert offered == ["SHA-256", "MD5"]


@pytest.mark.parametrize("off,left", [("md5", "SHA-256"), ("sha256", "MD5")])
def test_an_algorithm_that_is_off_is_neither_offered_nor_taken(start, off, left):
	s = start({"auth": {off: False}}, users=["alice"])
	alice = s.phone("alice")
	m = register(alice)
	c = challenges(alice.expect(401))
	assert [x["algorithm"] for x in c] == [left]
	other = dict(c[0], algorithm="MD5" if left == "SHA-256" else "SHA-256")
	value = credentials(other, "REGISTER", m.uri, "alice", alice.password)
	alice.resend(m, ("Authorization", value))
	assert alice.next().status in (400, 401)
	assert s.registrations() == []


def test_the_next_nonce_count_saves_a_challenge(server_n):
	alice = server_n.phone("alice")
	alice.register()
	for nc in (2, 3, 4):
		value = credentials(alice.challenge, "REGISTER", "sip:example.org", "alice",
			alice.password, nc=nc)
		register(alice, ("Authorization", value))
		alice.expect(200)


def test_a_captured_authorization_from_another_source_is_401(server_n):
	alice, thief = server_n.phone("alice"), server_n.phone("alice")
	alice.register()
	captured = alice.registered
	thief.resend(captured)
	thief.expect(401)
	moved = captured.raw.replace(alice.local.encode(), thief.local.encode())
	thief.send(re.sub(rb"branch=z9hG4bK\w+", b"branch=z9hG4bKthief", moved))
	thief.expect(401)
	assert len(server_n.registrations("alice")) == 1


def test_a_retransmitted_register_gets_its_200_again(server_n):
	alice = server_n.phone("alice")
	ok = alice.register()
	alice.send(alice.registered.raw)
	alice.expect_again(ok)
	assert [m.status for m in alice.log] == [401, 200, 200]


def test_the_same_nonce_count_in_a_new_request_is_401(server):
	alice = server.phone("alice")
	alice.register()
	alice.resend(alice.registered)
	alice.expect(401)


def test_a_nonce_that_the_server_did_not_make_is_401(server):
	alice = server.phone("alice")
	m = register(alice)
	c = dict(challenges(alice.expect(401))[0])
	c["nonce"] = c["nonce"][:-1] + ("A" if c["nonce"][-1] != "A" else "B")
	value = credentials(c, "REGISTER", m.uri, "alice", alice.password)
	alice.resend(m, ("Authorization", value))
	alice.expect(401)


def faceless(message):
	"""An answer without what differs from one request to the next."""
	text = repr(message)
	for pattern in (r"branch=\w+", r"tag=[\w.-]+", r'nonce="[^"]*"', r"Call-ID: .*", r"CSeq: .*",
			r"sip:\w+@", r"127\.\d+\.\d+\.\d+(:\d+)?", r"rport=\d+", r'opaque="[^"]*"',
			r"Date: .*"):
		text = re.sub(pattern, "*", text)
	return text


def test_a_wrong_password_and_an_unknown_user_get_the_same_answer(server):
	alice, nobody = server.phone("alice", password="wrong"), server.phone("nobody")
	answers = [faceless(p.register(want=401)) for p in (alice, nobody)]
	first = [faceless(p.log[0]) for p in (alice, nobody)]
	for p in (alice, nobody):
		p.again(register(p), p.expect(401))
		answers.append(faceless(p.expect(401)))
	assert first[0] == first[1]
	assert answers[2] == answers[3]


def test_a_call_with_a_wrong_password_is_challenged_again(server):
	alice, bob = server.phone("alice", password="wrong"), server.phone("bob")
	bob.register()
	alice.invite("bob")
	alice.expect(407)
	bob.expect_nothing(0.1)


def test_a_source_that_guesses_is_locked_and_others_are_not(start, workers):
	s = start({"auth": {"lock_failures": 3, "lock_s": 60}}, users=["alice", "bob"],
		workers=workers)
	guesser, bob = s.phone("alice", password="guess"), s.phone("bob")
	for _ in range(3):
		guesser.again(register(guesser), guesser.expect(401))
		guesser.expect(401)
	guesser.password = "secret-of-alice"
	register(guesser)
	guesser.expect(403)
	s.wait_log("event=source-locked")
	bob.register()
	assert s.log_count("guess|secret-of") == 0


def guess(phone, times):
	phone.password = "guess"
	for _ in range(times):
		phone.again(register(phone), phone.expect(401))
		phone.expect(401)
	phone.password = "secret-of-" + phone.user


def test_who_is_locked_is_shown_and_let_in_again(start, workers):
	s = start({"auth": {"lock_failures": 3, "lock_s": 600}}, users=["alice", "bob"], workers=workers)
	assert s.ctl("auth", "locks") == ""
	alice, bob = s.phone("alice"), s.phone("bob")
	sources = {"alice": alice.source, "bob": bob.source}
	assert sources["alice"] != sources["bob"]
	for phone in (alice, bob):
		guess(phone, 3)
		register(phone)
		phone.expect(403)
	lines = s.ctl("auth", "locks").splitlines()
	left = [int(re.search(r" failures=3 left=(\d+)s$", x)[1]) for x in lines]
	assert all(500 < x <= 600 for x in left)
	assert [x.split(" failures")[0] for x in lines] == sorted(f"source={a}{who}"
		for name, a in sources.items() for who in ("", f' user="{name}"'))
	assert s.ctl("auth", "locks", "alice").splitlines() == [x for x in lines if "alice" in x]
	assert len(s.ctl("auth", "locks", sources["bob"]).splitlines()) == 2
	assert s.ctl("auth", "unlock", "alice") == "2 lifted\n"
	alice.register()
	register(bob)
	bob.expect(403)
	assert s.ctl("auth", "unlock", sources["bob"]) == "2 lifted\n"
	bob.register()
	assert s.ctl("auth", "locks") == ""


def test_a_guesser_writes_no_commands_to_an_operators_terminal(start):
	s = start({"auth": {"lock_failures": 3}}, users=["alice"])
	p = s.phone("alice", password="guess")
	for _ in range(3):
		m = register(p)
		challenge = p.expect(401)
		p.user = "x\x9b31mROOT"
		p.again(m, challenge)
		p.expect(401)
		p.user = "alice"
	assert 'user="x??31mROOT"' in s.ctl("auth", "locks")


def test_what_cannot_be_unlocked_is_told(server):
	for nothing in ("nobody", "192.0.2.1", "192.0.2.1/33", "", "2001:db8::/64"):
		r = server.ctl_raw("auth", "unlock", nothing)
		assert r.returncode == 1 and "no lock of that user or address is here" in r.stderr, nothing
		assert server.ctl("auth", "locks", nothing) == ""
	for words in (["unlock"], ["unlock", "a", "b"], ["locks", "a", "b"], ["lock"]):
		r = server.ctl_raw("auth", *words)
		assert r.returncode == 2 and ("auth unlock USER|ADDRESS" in r.stderr
			or "auth locks [USER|ADDRESS]" in r.stderr), words


def test_passwords_and_hashes_are_in_no_log_and_no_file(start):
	s = start({"log": {"level": "trace"}}, users=["alice"], store="sqlite")
	s.phone("alice").register()
	s.phone("alice", password="wrong-one").invite("alice")
	s.stop()
	stored = b"".join(f.read_bytes() for f in s.dir.iterdir() if f.is_file())
	assert b"secret-of-alice" not in stored
	assert s.log_count("secret-of-alice|wrong-one") == 0
	assert s.log_count(r"response=\"?[0-9a-f]{32}") == 0


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_of_what_is_no_message_the_log_has_the_start_line_too_and_nothing_else(start, transport):
	s = start({"log": {"level": "trace"}}, users=["alice"])
	for ends, body in ((b"\n", 10), (b"\r\n", 70000 if transport == "tcp" else 9000)):
		p = s.phone("alice", transport=transport)
		m = build("OPTIONS sip:example.org SIP/2.0", [("Authorization", 'Digest response="0123abcd"'),
			("Via", p.via()), ("From", "<sip:x@x.example>;tag=1"), ("To", "<sip:example.org>"),
			("Call-ID", token()), ("CSeq", "1 OPTIONS")])
		before = len(s.lines)
		p.send(m.replace(b"Length: 0", b"Length: %d" % body).replace(b"\r\n", ends)
			+ (b"x" * body if transport == "udp" else b""))
		s.wait_log(r'event=received transport=\w+ peer=\S+ line="OPTIONS sip:example.org SIP/2.0"$',
			since=before)
	assert s.log_count("0123abcd") == 0


@pytest.mark.parametrize("length, rest", [(6, b"hello my PIN is 4711\r\n\r\n"),
	(0, b'Authorization: Digest response="0123abcd"\r\n\r\n')])
def test_what_follows_a_message_that_was_longer_than_it_said_is_in_no_log(start, length, rest):
	s = start({"log": {"level": "trace"}}, users=["alice"])
	p = s.phone("alice", transport="tcp")
	m = build("OPTIONS sip:example.org SIP/2.0", [("Via", p.via()), ("From", "<sip:x@x.example>;tag=1"),
		("To", "<sip:example.org>"), ("Call-ID", token()), ("CSeq", "1 OPTIONS")])
	p.send(m.replace(b"Length: 0", b"Length: %d" % length) + rest)
	s.wait_log(r"event=received transport=tcp peer=\S+ bytes=\d+$")
	assert s.log_count("4711|0123abcd") == 0


def test_the_log_has_the_start_line_behind_line_ends(start):
	s = start({"log": {"level": "trace"}}, users=["alice"])
	p = s.phone("alice")
	p.send(b"\r\n" + build("OPTIONS sip:example.org SIP/2.0", [("Via", p.via()),
		("From", "<sip:x@x.example>;tag=1"), ("To", "<sip:example.org>"), ("Call-ID", token()),
		("CSeq", "1 OPTIONS")]))
	p.expect(200)
	s.wait_log(r'event=received transport=udp peer=\S+ line="OPTIONS sip:example.org SIP/2.0"$')


@pytest.mark.parametrize("change", [{"uri": "sip:other@example.net"}, {"nonce": None},
	{"response": "0"}, {"username": ""}])
def test_credentials_that_make_no_sense_are_refused(server, change):
	alice = server.phone("alice")
	m = register(alice)
	alice.again(m, alice.expect(401), change=change)
	assert alice.next().status in (400, 401, 403)
	assert server.registrations() == []


def test_credentials_for_another_method_are_refused(server):
	alice = server.phone("alice")
	m = register(alice)
	c = challenges(alice.expect(401))[0]
	value = credentials(c, "INVITE", m.uri, "alice", alice.password)
	alice.resend(m, ("Authorization", value))
	alice.expect(401)
