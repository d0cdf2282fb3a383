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
