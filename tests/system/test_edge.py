"""Insiders and outsiders, identities, domains, and the requests that are refused with a reason."""
import pytest

from eaves import own_address
from sip import param, token, uri_of


def registered(server, *users, **kw):
	phones = [server.phone(u, **kw) for u in users]
	for p in phones:
		p.register()
	return phones


# ---- identity ----

def test_the_callee_sees_the_identity_that_was_proved(server_n):
	alice, bob = registered(server_n, "alice", "bob")
	alice.invite("bob", headers=[("P-Asserted-Identity", "<sip:president@example.org>"),
		("P-Preferred-Identity", "<sip:x@example.org>")])
	m = bob.expect("INVITE")
	assert m.all("p-asserted-identity") == ["<sip:alice@example.org>"]
	assert m.all("p-preferred-identity") == []
	bob.reply(m, 486)


def test_the_identity_is_withheld_where_privacy_is_asked_for(server):
	alice, bob = registered(server, "alice", "bob")
	alice.invite("bob", headers=[("Privacy", "id")])
	m = bob.expect("INVITE")
	assert m.all("p-asserted-identity") == []
	bob.reply(m, 486)


def test_an_outsider_cannot_assert_an_identity(server):
	bob, = registered(server, "bob")
	carl = server.phone("carl", domain="elsewhere.example")
	carl.request("INVITE", "sip:bob@example.org",
		[("P-Asserted-Identity", "<sip:alice@example.org>")])
	m = bob.expect("INVITE")
	assert m.all("p-asserted-identity") == []
	bob.reply(m, 486)


def test_nobody_speaks_for_somebody_else(server_n):
	alice, bob = registered(server_n, "alice", "bob")
	m = alice.request("INVITE", "sip:bob@example.org", frm="<sip:carol@example.org>;tag=1")
	alice.again(m, alice.expect(407))
	alice.expect(403)
	bob.expect_nothing(0.05)


@pytest.mark.parametrize("method", ["INVITE", "MESSAGE", "OPTIONS", "SUBSCRIBE", "PUBLISH",
	"REFER", "INFO", "NOTIFY", "UPDATE", "FOO"])
def test_every_method_in_our_name_is_challenged(server, method):
	alice, bob = registered(server, "alice", "bob")
	m = alice.request(method, "sip:bob@example.org", sdp=False)
	alice.expect(407)
	bob.expect_nothing(0.02)


@pytest.mark.parametrize("frm", ["sip:alice@example.org:5060", "sips:alice@EXAMPLE.org",
	"sip:%61lice@example.org", "sip:alice@example.org;x=y"])
def test_another_spelling_of_our_domain_is_still_ours(server, frm):
	bob, = registered(server, "bob")
	carl = server.phone("carl", domain="elsewhere.example")
	carl.request("MESSAGE", "sip:bob@example.org", frm=f"<{frm}>;tag=1", body="x")
	r = carl.next()
	assert r is not None and r.status in (407, 403), repr(r)
	bob.expect_nothing(0.02)


# ---- domains ----

def test_aliases_of_the_domain_and_of_users_lead_to_the_user(start):
	s = start({"aliases": ["second.example"]}, users=["alice", "bob"])
	s.ctl("alias", "add", "200", "bob")
	alice, bob = registered(s, "alice", "bob")
	for uri in ("sip:200@example.org", "sip:bob@second.example", "sip:200@second.example",
			f"sip:bob@{s.address}:{s.port}"):
		m = alice.invite(uri)
		got = bob.expect("INVITE")
		assert got.uri == uri_of(bob.contact)
		bob.reply(got, 486)
		bob.expect("ACK")
		alice.ack(m, alice.expect(486))


def test_a_user_may_call_from_an_alias(start):
	s = start(users=["alice", "bob"])
	s.ctl("alias", "add", "100", "alice")
	alice, bob = registered(s, "alice", "bob")
	m = alice.request("INVITE", "sip:bob@example.org", frm="<sip:100@example.org>;tag=1")
	alice.again(m, alice.expect(407))
	got = bob.expect("INVITE")
	assert got.all("p-asserted-identity") == ["<sip:alice@example.org>"]
	bob.reply(got, 486)


# ---- relay ----

def test_an_outsider_is_not_relayed_to_a_third_party(server_n):
	target = server_n.phone("target")
	carl = server_n.phone("carl", domain="elsewhere.example")
	carl.request("INVITE", f"sip:x@{target.local}")
	carl.expect(403)
	carl.request("INVITE", "sip:bob@example.org", [("Route", f"<sip:{target.local};lr>")])
	carl.expect(403)
	target.expect_nothing(0.1)
	server_n.wait_log(rf"event=relay-denied method=INVITE uri=sip:x@\S+ source={carl.local}$")
	assert server_n.metric("edge_relay_denied_total") == 2


def test_a_preloaded_route_to_us_alone_is_taken_off(server):
	alice, bob = registered(server, "alice", "bob")
	alice.invite("bob", headers=[("Route", f"<sip:{server.address}:{server.port};lr>")])
	m = bob.expect("INVITE")
	assert m.all("route") == []
	bob.reply(m, 486)


def test_a_user_may_reach_another_domain_with_his_credentials(server_n):
	target = server_n.phone("target")
	alice, = registered(server_n, "alice")
	alice.invite(f"sip:x@{target.local}")
	m = target.expect("INVITE")
	assert m.all("p-asserted-identity") == ["<sip:alice@example.org>"]
	target.reply(m, 486)
	alice.expect(486)


def test_a_trusted_address_is_an_insider(start, workers):
	address = own_address()
	s = start({"edge": {"trusted": [{"network": address + "/32"}]}}, users=["alice", "bob"],
		workers=workers)
	bob, = registered(s, "bob")
	gateway = s.phone("gateway", source=address)
	target = s.phone("target")
	m = gateway.request("INVITE", "sip:bob@example.org",
		[("P-Asserted-Identity", "<sip:+1@pstn.example>")], frm="<sip:alice@example.org>;tag=1")
	got = bob.expect("INVITE")
	assert got.all("p-asserted-identity") == ["<sip:+1@pstn.example>"]
	bob.reply(got, 486)
	gateway.ack(m, gateway.expect(486))
	gateway.request("MESSAGE", f"sip:x@{target.local}", body="x")
	target.reply(target.expect("MESSAGE"), 200)
	gateway.expect(200)


@pytest.mark.parametrize("policy,status", [("trusted", 200), ("challenge", 407), ("normal", 200)])
def test_a_listener_has_its_policy(start, policy, status):
	s = start(users=["bob"], listeners=[("udp",), ("tcp", None, {"policy": policy})])
	bob, = registered(s, "bob")
	bob.answer_everything()
	carl = s.phone("carl", domain="elsewhere.example", transport="tcp")
	carl.request("MESSAGE", "sip:bob@example.org", body="x")
	carl.expect(status)


def test_a_trusted_listener_lets_our_domain_in_without_credentials(start):
	s = start(users=["alice", "bob"], listeners=[("udp",), ("tcp", None, {"policy": "trusted"})])
	bob, = registered(s, "bob")
	bob.answer_everything()
	pbx = s.phone("alice", transport="tcp")
	pbx.request("MESSAGE", "sip:bob@example.org", body="x")
	pbx.expect(200)


# ---- what is refused, and how ----

def test_max_forwards_0_is_483(server_n):
	bob, = registered(server_n, "bob")
	carl = server_n.phone("carl", domain="elsewhere.example")
	carl.request("INVITE", "sip:bob@example.org", [("Max-Forwards", "0")])
	carl.expect(483)
	bob.expect_nothing(0.05)


def test_a_request_that_comes_back_is_a_loop(server):
	bob, = registered(server, "bob")
	carl = server.phone("carl", domain="elsewhere.example")
	bob.register(contact="<sip:bob@192.0.2.1>", expires=0)
	bob.register()
	carl.request("MESSAGE", "sip:bob@example.org", body="x")
	m = bob.expect("MESSAGE")
	back = m.raw.replace(m.start.encode(), b"MESSAGE sip:bob@example.org SIP/2.0", 1)
	back = back.replace(b"Via:", f"Via: {bob.via()}\r\nVia:".encode(), 1)
	bob.send(back)
	assert bob.next().status == 482
	assert server.metric("loops_total") == 1
	bob.reply(m, 200)


def test_a_contact_that_leads_back_to_the_user_ends_as_a_loop(server):
	alice, = registered(server, "alice")
	bob = server.phone("bob")
	bob.register(contact="<sip:bob@example.org>")
	m = alice.request("MESSAGE", "sip:bob@example.org", body="x")
	alice.again(m, alice.expect(407))
	r = alice.next()
	assert r.status in (482, 483, 480, 404), repr(r)


def test_an_extension_that_the_proxy_must_know_is_420(server):
	alice, bob = registered(server, "alice", "bob")
	alice.request("INVITE", "sip:bob@example.org", [("Proxy-Require", "foo, bar")])
	r = alice.expect(420)
	assert sorted(r.list("unsupported")) == ["bar", "foo"]


def test_an_extension_for_the_callee_is_none_of_the_proxys_business(server):
	alice, bob = registered(server, "alice", "bob")
	alice.invite("bob", headers=[("Require", "100rel"), ("Supported", "x")])
	m = bob.expect("INVITE")
	assert m.get("require") == "100rel"
	bob.reply(m, 420, [("Unsupported", "100rel")])
	assert alice.expect(420).get("unsupported") == "100rel"


def test_an_unknown_scheme_is_416(server):
	alice, = registered(server, "alice")
	alice.request("INVITE", "mailto:bob@example.org", to="<sip:bob@example.org>")
	alice.expect(416)


def test_an_unknown_method_is_passed_on(server):
	alice, bob = registered(server, "alice", "bob")
	m = alice.request("FOO", "sip:bob@example.org")
	alice.again(m, alice.expect(407))
	bob.reply(bob.expect("FOO"), 501, reason="Not Implemented")
	alice.expect(501)


@pytest.mark.parametrize("method", ["INVITE", "MESSAGE", "FOO"])
def test_a_request_to_the_server_itself_without_a_user_is_refused(server, method):
	carl = server.phone("carl", domain="elsewhere.example")
	carl.request(method, "sip:example.org", sdp=False)
	assert carl.next().status in (404, 405)


def test_a_bye_of_no_dialog_of_ours_reaches_nobody(server):
	alice, bob = registered(server, "alice", "bob")
	carl = server.phone("carl", domain="elsewhere.example")
	carl.request("BYE", bob.contact.strip("<>"), to=f"<{bob.aor}>;tag=x", sdp=False)
	carl.expect(403)
	bob.expect_nothing(0.05)


def test_a_stray_ack_is_dropped(server):
	bob, = registered(server, "bob")
	carl = server.phone("carl", domain="elsewhere.example")
	carl.request("ACK", bob.contact.strip("<>"), to=f"<{bob.aor}>;tag=x", sdp=False)
	carl.expect_nothing(0.1)
	bob.expect_nothing(0.05)


def test_answers_go_to_where_the_request_came_from(server):
	"""RFC 3581, and no reflection: received and rport are ours, whatever the Via claims."""
	victim, carl = server.phone("victim"), server.phone("carl", domain="elsewhere.example")
	host, port = victim.local.split(":")
	for via in (f"SIP/2.0/UDP {victim.local};branch=z9hG4bK{token()};rport",
			f"SIP/2.0/UDP {carl.local};branch=z9hG4bK{token()};rport={port};received={host}"):
		carl.request("OPTIONS", "sip:example.org", via=via)
		r = carl.expect(200)
		v = r.list("via")[0]
		assert param(v, "rport") == carl.local.split(":")[1]
		assert param(v, "received") in (None, carl.source)
	victim.expect_nothing(0.1)
