"""302 with the contacts: for the whole server, for a user, or for one request (RFC 3841)."""
from sip import param, uri_of


def two_devices(s):
	alice, one, two = (s.phone(u) for u in ("alice", "bob", "bob"))
	alice.register()
	one.register(contact=one.contact + ";q=0.2")
	two.register(contact=two.contact + ";q=0.8")
	return alice, one, two


def assert_redirected(alice, one, two, **kw):
	_, r = alice.answered(alice.request("INVITE", "sip:bob@example.org", **kw), 302)
	alice.ack(_, r)
	got = r.list("contact")
	assert [uri_of(c) for c in got] == [uri_of(two.contact), uri_of(one.contact)]
	assert [float(param(c, "q")) for c in got] == [0.8, 0.2]
	one.expect_nothing(0.05)
	two.expect_nothing(0.05)


def assert_rings(alice, two):
	m = alice.invite("bob")
	two.reply(two.expect("INVITE"), 603)
	two.expect("ACK")
	alice.ack(m, alice.expect(603))


def test_a_server_in_redirect_mode_answers_302(start, workers):
	s = start({"proxy": {"redirect": "always"}}, users=["alice", "bob"], workers=workers)
	assert_redirected(*two_devices(s))


def test_a_user_who_asks_is_redirected_and_others_are_not(start):
	s = start({"proxy": {"redirect": "user"}}, users=["alice", "bob"])
	alice, one, two = two_devices(s)
	assert_rings(alice, two)
	s.ctl("user", "redirect", "bob", "on")
	assert_redirected(alice, one, two)
	s.ctl("user", "redirect", "bob", "off")
	assert_rings(alice, two)


def test_a_request_may_ask_for_a_redirect(server):
	alice, one, two = two_devices(server)
	assert_redirected(alice, one, two, headers=[("Request-Disposition", "redirect")])
	assert_rings(alice, two)


def test_a_message_is_not_redirected(start):
	s = start({"proxy": {"redirect": "always"}}, users=["alice", "bob"])
	alice, one, two = two_devices(s)
	m = alice.request("MESSAGE", "sip:bob@example.org", body="x")
	alice.again(m, alice.expect(407))
	one.reply(one.expect("MESSAGE"), 200)
	two.reply(two.expect("MESSAGE"), 200)
	alice.expect(200)


def test_a_302_of_a_phone_is_handed_back(server):
	alice, bob = server.phone("alice"), server.phone("bob")
	bob.register()
	m = alice.invite("bob")
	bob.reply(bob.expect("INVITE"), 302, [("Contact", "<sip:bob@192.0.2.7>")])
	r = alice.expect(302)
	assert r.get("contact") == "<sip:bob@192.0.2.7>"
	alice.ack(m, r)


def test_a_302_of_a_phone_is_followed_where_that_is_configured(start):
	s = start({"proxy": {"recurse": True}}, users=["alice", "bob", "carol"])
	alice, bob, carol = (s.phone(u) for u in ("alice", "bob", "carol"))
	bob.register()
	carol.register()
	m = alice.invite("bob")
	bob.reply(bob.expect("INVITE"), 302, [("Contact", f"<sip:carol@{carol.local}>")])
	got = carol.expect("INVITE")
	assert got.uri == f"sip:carol@{carol.local}"
	carol.reply(got, 486)
	alice.ack(m, alice.expect(486))
