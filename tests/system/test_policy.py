"""Who may do what: what a dialog opens and what it does not, what is shown to whom, and what an
operator allows a user (RFC 3261 16.4, 22.3; RFC 3325)."""
from phone import Dialog, hang_up, talk
from sip import challenges, param


def registered(server, *users, **kw):
	phones = [server.phone(u, **kw) for u in users]
	for p in phones:
		p.register()
	return phones


def test_a_dialog_request_to_a_user_of_ours_goes_by_the_route_behind_us(server):
	"""The Request-URI is ours and a Route is left: both roles once handed it to the other."""
	alice, bob = registered(server, "alice", "bob")
	next_hop = server.phone("proxy")
	a, _ = talk(alice, bob)
	a.target = "sip:bob@example.org"
	a.routes.append(f"<sip:{next_hop.local};lr>")
	a.request("BYE")
	m = next_hop.expect("BYE")
	assert m.uri == "sip:bob@example.org" and m.list("route") == [f"<sip:{next_hop.local};lr>"]
	next_hop.reply(m, 200)
	alice.expect(200)
	a.ack()
	assert next_hop.expect("ACK").uri == "sip:bob@example.org"


# ---- what is shown to whom ----

def test_credentials_in_a_dialog_are_not_shown_to_the_other_side(server):
	"""RFC 3261 22.3: phones send what they have again in a BYE, where nobody asked."""
	alice, bob = registered(server, "alice", "bob")
	a, b = talk(alice, bob)
	for realm, left in (("example.org", 0), ("elsewhere.example", 1)):
		a.request("INFO", headers=[("Proxy-Authorization", f'Digest username="alice", '
			f'realm="{realm}", nonce="n", uri="sip:x", response="{"0" * 32}"')])
		m = bob.expect("INFO")
		assert len(m.all("proxy-authorization")) == left
		bob.reply(m, 200)
		alice.expect(200)
	hang_up(a, b)


def trunk_of(server):
	return server.phone("trunk", domain="carrier.example", to=server.where["tcp"],
		transport="tcp")


def test_an_insiders_private_identity_is_not_shown_to_a_phone(start):
	"""RFC 3325 7: with Privacy: id it goes to trusted ones alone."""
	s = start(users=["bob"], listeners=[("udp",), ("tcp", None, {"policy": "trusted"})])
	bob, trunk = s.phone("bob"), trunk_of(s)
	bob.register()
	known = [("P-Asserted-Identity", "<sip:+15551234@carrier.example>")]
	for privacy, shown in (([], 1), ([("Privacy", "id")], 0), ([("Privacy", "none")], 1)):
		trunk.request("MESSAGE", "sip:bob@example.org", known + privacy, body="x")
		m = bob.expect("MESSAGE")
		assert len(m.all("p-asserted-identity")) == shown
		bob.reply(m, 200)
		trunk.expect(200)


def test_a_callers_private_identity_goes_to_an_administered_route_alone(start):
	s = start(users=["alice"])
	alice, gateway, stranger = s.phone("alice"), s.phone("gateway"), s.phone("stranger")
	s.config["edge"] = {"routes": [{"domain": "pstn.example", "uri": f"sip:{gateway.local}"}]}
	s.write_config()
	s.ctl("reload")
	for uri, who, shown in (("sip:+1555@pstn.example", gateway, ["<sip:alice@example.org>"]),
			(f"sip:x@{stranger.local}", stranger, [])):
		m = alice.request("MESSAGE", uri, [("Privacy", "id")], body="x")
		alice.again(m, alice.expect(407))
		got = who.expect("MESSAGE")
		assert got.all("p-asserted-identity") == shown
		who.reply(got, 200)
		alice.expect(200)
