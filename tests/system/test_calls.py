"""Calls to one device: set-up, the dialog from both sides (RFC 3261 16.12), CANCEL and its races,
and what a caller is told when there is no call."""
import pytest

from phone import SDP, Dialog, hang_up, talk
from sip import Message, build, param


def registered(server, *users, **kw):
	phones = [server.phone(u, **kw) for u in users]
	for p in phones:
		p.register()
	return phones


def test_a_call_is_set_up_and_ended_by_the_caller(server_n):
	alice, bob = registered(server_n, "alice", "bob")
	a, b = talk(alice, bob)
	hang_up(a, b)


def test_a_call_is_ended_by_the_callee(server_n):
	alice, bob = registered(server_n, "alice", "bob")
	a, b = talk(alice, bob)
	hang_up(b, a)


def test_a_re_invite_passes_from_both_sides(server_n):
	alice, bob = registered(server_n, "alice", "bob")
	a, b = talk(alice, bob)
	for x, y in ((a, b), (b, a)):
		x.request("INVITE", body=SDP)
		m = y.phone.expect("INVITE")
		assert m.body == SDP
		y.phone.reply(m, 200, tag=param(y.local, "tag"))
		x.phone.expect(200)
		x.ack()
		y.phone.expect("ACK")
	hang_up(a, b)


def test_a_dialog_goes_through_the_server_without_a_new_challenge(server):
	alice, bob = registered(server, "alice", "bob")
	a, b = talk(alice, bob)
	assert len(a.routes) == 1 and ";lr" in a.routes[0] and a.routes == b.routes
	before = server.metric("challenges_total")
	for method in ("INFO", "UPDATE", "MESSAGE", "REFER"):
		a.request(method)
		m = bob.expect(method)
		assert m.all("route") == [] and m.list("via")[0] != m.list("via")[1]
		bob.reply(m, 200)
		alice.expect(200)
	assert server.metric("challenges_total") == before
	hang_up(a, b)


def test_without_record_route_the_dialog_goes_around_the_server(start):
	s = start({"proxy": {"record_route": False}}, users=["alice", "bob"])
	alice, bob = registered(s, "alice", "bob")
	invite = alice.invite("bob")
	incoming = bob.expect("INVITE")
	assert incoming.all("record-route") == []
	bob.reply(incoming, 486)
	alice.expect(486)


def test_a_forged_record_route_opens_no_relay(server):
	alice, bob, stranger = registered(server, "alice", "bob") + [
		server.phone("mallory", domain="evil.example")]
	a, _ = talk(alice, bob)
	route = a.routes[0]
	target = server.phone("target")
	changed = route[:-2] + ("0" if route[-2] != "0" else "1") + route[-1]
	for forged in (route, changed, f"<sip:{server.address}:{server.port};lr>"):
		stranger.request("MESSAGE", f"sip:x@{target.local}", [("Route", forged)], body="spam",
			call_id="other")
	statuses = {stranger.next().status for _ in range(3)}
	target.expect_nothing(0.2)
	assert statuses == {403}


def test_the_message_that_arrives_is_the_one_that_was_sent(server):
	"""Unknown fields, odd spacing and the body go through to the byte."""
	alice, bob = registered(server, "alice", "bob")
	body = "v=0\r\nx=\u00e4\u00f6\t  odd\r\n\r\n"
	odd = [("X-Odd", 'a;b=",;"  c'), ("x-lower", "1, 2 ,3"), ("Subject", "hello \u00fc"),
		("Content-Type", "application/x-odd"), ("Allow", "INVITE,ACK")]
	m = alice.invite("bob", headers=odd, body=body)
	got = bob.expect("INVITE")
	assert got.body == body
	for name, value in odd:
		assert got.get(name) == value
	assert [n for n, _ in got.headers if n.startswith(("X", "x"))] == ["X-Odd", "x-lower"]
	assert got.get("max-forwards") == "69"
	bob.reply(got, 488, [("Warning", '304 x "no media"'), ("X-Why", "because")], body="a\r\nb")
	no = alice.expect(488)
	assert no.reason == "Not Acceptable Here" and no.body == "a\r\nb"
	assert no.get("warning") == '304 x "no media"' and no.get("x-why") == "because"
	assert len(no.list("via")) == 1
	alice.ack(m, no)
	bob.expect("ACK")


def test_credentials_for_the_server_are_not_shown_to_the_callee(server):
	alice, bob = registered(server, "alice", "bob")
	alice.invite("bob")
	m = bob.expect("INVITE")
	assert m.all("proxy-authorization") == []
	bob.reply(m, 486)
	alice.expect(486)


def test_credentials_for_another_proxy_go_on_without_ours(server):
	alice, bob = registered(server, "alice", "bob")
	theirs = ['Digest username="a", realm="there", nonce="1", uri="sip:x", response="%s"' % (c * 32)
		for c in "ab"]
	alice.invite("bob", headers=[("Proxy-Authorization", x) for x in theirs])
	m = bob.expect("INVITE")
	assert m.all("proxy-authorization") == theirs
	assert len(m.all("p-asserted-identity")) == 1
	bob.reply(m, 486)
	alice.expect(486)


# ---- CANCEL ----

def test_cancel_while_ringing_ends_the_call(server_n):
	alice, bob = registered(server_n, "alice", "bob")
	m = alice.invite("bob")
	incoming = bob.expect("INVITE")
	bob.reply(incoming, 180)
	alice.expect(180)
	alice.cancel(m)
	alice.expect(200)
	cancel = bob.expect("CANCEL")
	assert cancel.branch == incoming.branch
	bob.reply(cancel, 200)
	bob.reply(incoming, 487)
	no = alice.expect(487)
	assert bob.expect("ACK").branch == incoming.branch
	alice.ack(m, no)
	assert server_n.metric("proxy_contexts") <= 1


def test_cancel_before_any_1xx_waits_for_one(server):
	alice, bob = registered(server, "alice", "bob")
	m = alice.invite("bob")
	incoming = bob.expect("INVITE")
	alice.cancel(m)
	alice.expect(200)
	bob.expect_nothing(0.2)
	bob.reply(incoming, 180)
	bob.reply(bob.wait_for("CANCEL"), 200)
	bob.reply(incoming, 487)
	alice.wait_for(487)


def test_a_200_that_crosses_the_cancel_still_makes_a_call(server_n):
	alice, bob = registered(server_n, "alice", "bob")
	m = alice.invite("bob")
	incoming = bob.expect("INVITE")
	bob.reply(incoming, 180)
	alice.expect(180)
	alice.cancel(m)
	answer = bob.reply(incoming, 200)
	first, second = alice.expect(200), alice.expect(200)
	ok = next(x for x in (first, second) if x.cseq[1] == "INVITE")
	assert {first.cseq[1], second.cseq[1]} == {"INVITE", "CANCEL"}
	a, b = Dialog(alice, m, ok, True), Dialog(bob, incoming, answer, False)
	a.ack()
	if (got := bob.wait_for(lambda x: x.method in ("CANCEL", "ACK"))).method == "CANCEL":
		bob.reply(got, 481)
		bob.wait_for("ACK")
	a.request("BYE")
	bob.reply(bob.wait_for("BYE"), 200)
	alice.wait_for(lambda x: x.status == 200 and x.cseq[1] == "BYE")


def test_cancel_after_the_200_is_answered_and_changes_nothing(server):
	alice, bob = registered(server, "alice", "bob")
	m = alice.invite("bob")
	incoming = bob.expect("INVITE")
	answer = bob.reply(incoming, 200)
	ok = alice.expect(200)
	alice.cancel(m)
	assert alice.next().status in (200, 481)
	a, b = Dialog(alice, m, ok, True), Dialog(bob, incoming, answer, False)
	a.ack()
	bob.expect("ACK")
	hang_up(a, b)


def test_cancel_of_nothing_is_481(server):
	alice, bob = registered(server, "alice", "bob")
	m = alice.invite("bob")
	bob.reply(bob.expect("INVITE"), 486)
	alice.ack(m, alice.expect(486))
	bob.expect("ACK")
	ghost = Message(m.raw.replace(m.branch.encode(), b"z9hG4bKnobody"))
	alice.cancel(ghost)
	alice.expect(481)
	bob.expect_nothing(0.1)


def test_cancel_from_somebody_else_does_not_end_the_call(server):
	alice, bob = registered(server, "alice", "bob")
	mallory = server.phone("mallory")
	m = alice.invite("bob")
	incoming = bob.expect("INVITE")
	bob.reply(incoming, 180)
	alice.expect(180)
	ghost = Message(m.raw.replace(alice.local.encode(), mallory.local.encode()))
	mallory.cancel(ghost)
	mallory.expect(481)
	bob.expect_nothing(0.1)
	bob.reply(incoming, 486)
	alice.expect(486)


# ---- retransmissions, as UDP phones see them ----

def test_a_retransmitted_invite_rings_once(server_n):
	alice, bob = registered(server_n, "alice", "bob")
	m = alice.invite("bob")
	incoming = bob.expect("INVITE")
	bob.reply(incoming, 180)
	ringing = alice.expect(180)
	alice.send(m.raw)
	alice.expect_again(ringing)
	bob.expect_nothing(0.1)
	bob.reply(incoming, 486)
	alice.expect(486)


def test_the_server_sends_an_invite_again_until_it_is_heard(server):
	alice, bob = registered(server, "alice", "bob")
	alice.invite("bob")
	incoming = bob.expect("INVITE")
	bob.expect_again(incoming)
	bob.reply(incoming, 486)
	alice.expect(486)


def test_a_final_answer_is_sent_again_until_it_is_acknowledged(server):
	alice, bob = registered(server, "alice", "bob")
	m = alice.invite("bob")
	bob.reply(bob.expect("INVITE"), 486)
	no = alice.expect(486)
	alice.expect_again(no)
	alice.ack(m, no)


def test_a_retransmitted_200_reaches_the_caller(server):
	alice, bob = registered(server, "alice", "bob")
	m = alice.invite("bob")
	incoming = bob.expect("INVITE")
	bob.reply(incoming, 200)
	ok = alice.expect(200)
	bob.reply(incoming, 200)
	alice.expect_again(ok)
	Dialog(alice, m, ok, True).ack()
	bob.expect("ACK")


def test_a_phone_that_never_answers_is_408(start):
	s = start({"timers": {"t1_ms": 50}}, users=["alice", "bob"])
	alice, bob = registered(s, "alice", "bob")
	alice.invite("bob")
	bob.expect("INVITE")
	alice.wait_for(408, 6)


def test_a_phone_that_rings_for_ever_is_cancelled_by_timer_c(start):
	s = start({"timers": {"timer_c_s": 1}}, users=["alice", "bob"])
	alice, bob = registered(s, "alice", "bob")
	alice.invite("bob")
	incoming = bob.expect("INVITE")
	bob.reply(incoming, 180)
	alice.expect(180)
	bob.reply(bob.expect("CANCEL"), 200)
	bob.reply(incoming, 487)
	assert alice.next().status in (408, 487)


# ---- other dialogs ----

def test_an_early_dialog_is_used_before_the_answer(server_n):
	"""Reliable provisional answers (RFC 3262) and UPDATE (RFC 3311) through Record-Route."""
	alice, bob = registered(server_n, "alice", "bob")
	invite = alice.invite("bob", headers=[("Supported", "100rel")])
	incoming = bob.expect("INVITE")
	early = bob.reply(incoming, 183, [("Require", "100rel"), ("RSeq", "1")], body=SDP)
	a = Dialog(alice, invite, alice.expect(183), True)
	b = Dialog(bob, incoming, early, False)
	a.request("PRACK", headers=[("RAck", f"1 {invite.cseq[0]} INVITE")])
	bob.reply(bob.expect("PRACK"), 200)
	alice.expect(200)
	b.cseq = 100
	b.request("UPDATE", body=SDP)
	alice.reply(alice.expect("UPDATE"), 200)
	bob.expect(200)
	bob.reply(incoming, 200)
	alice.expect(200)
	a.ack(invite.cseq[0])
	bob.expect("ACK")
	hang_up(a, b)


def test_an_early_dialog_may_be_ended_by_bye(server):
	alice, bob = registered(server, "alice", "bob")
	invite = alice.invite("bob")
	incoming = bob.expect("INVITE")
	bob.reply(incoming, 180)
	a = Dialog(alice, invite, alice.expect(180), True)
	a.request("BYE")
	bob.reply(bob.expect("BYE"), 200)
	alice.expect(200)
	bob.reply(incoming, 487)
	alice.expect(487)


def test_a_late_offer_and_its_answer_in_the_ack_pass(server):
	alice, bob = registered(server, "alice", "bob")
	invite = alice.invite("bob", sdp=False)
	incoming = bob.expect("INVITE")
	assert incoming.body == ""
	bob.reply(incoming, 200, body=SDP)
	a = Dialog(alice, invite, alice.expect(200), True)
	h = a.headers("ACK", a.cseq) + [("Content-Type", "application/sdp")]
	alice.send(build(f"ACK {a.target} SIP/2.0", h, SDP))
	assert bob.expect("ACK").body == SDP


def test_a_subscription_between_phones_is_notified_through_the_server(server_n):
	alice, bob = registered(server_n, "alice", "bob")
	event = [("Event", "dialog"), ("Expires", "600")]
	m = alice.request("SUBSCRIBE", "sip:bob@example.org", event, sdp=False)
	m = alice.again(m, alice.expect(407))
	incoming = bob.expect("SUBSCRIBE")
	answer = bob.reply(incoming, 200, [("Expires", "600")])
	ok = alice.expect(200)
	b = Dialog(bob, incoming, answer, False)
	b.request("NOTIFY", headers=[("Event", "dialog"), ("Subscription-State", "active")])
	alice.reply(alice.expect("NOTIFY"), 200)
	bob.expect(200)
	a = Dialog(alice, m, ok, True)
	a.request("SUBSCRIBE", headers=[("Event", "dialog"), ("Expires", "0")])
	bob.reply(bob.expect("SUBSCRIBE"), 200)
	alice.expect(200)


def test_glare_of_two_re_invites_is_theirs_to_settle(server):
	alice, bob = registered(server, "alice", "bob")
	a, b = talk(alice, bob)
	a.request("INVITE", body=SDP)
	b.cseq = 50
	b.request("INVITE", body=SDP)
	for x, y in ((a, b), (b, a)):
		y.phone.reply(y.phone.expect("INVITE"), 491, reason="Request Pending")
	alice.wait_for(491)  # the ACK of the other may come before it
	bob.wait_for(491)


# ---- no call ----

def test_an_unknown_user_is_404(server_n):
	alice, = registered(server_n, "alice")
	alice.answered(alice.request("INVITE", "sip:nobody@example.org"), 404)


def test_a_user_without_a_device_is_480(server_n):
	alice, = registered(server_n, "alice")
	alice.answered(alice.request("INVITE", "sip:bob@example.org"), 480)


@pytest.mark.parametrize("status", [404, 486, 500, 603])
def test_what_the_callee_says_reaches_the_caller(server, status):
	alice, bob = registered(server, "alice", "bob")
	m = alice.invite("bob")
	bob.reply(bob.expect("INVITE"), status)
	alice.ack(m, alice.expect(status))


def test_early_media_and_several_1xx_pass(server):
	alice, bob = registered(server, "alice", "bob")
	alice.invite("bob")
	m = bob.expect("INVITE")
	for status in (180, 183):
		bob.reply(m, status, [("X-Step", str(status))], body=SDP if status == 183 else "")
		assert alice.expect(status).get("x-step") == str(status)
	bob.reply(m, 486)
	alice.expect(486)


def test_a_caller_without_credentials_of_another_domain_reaches_our_user(server):
	bob, = registered(server, "bob")
	outsider = server.phone("carl", domain="elsewhere.example")
	m = outsider.request("INVITE", "sip:bob@example.org")
	incoming = bob.expect("INVITE")
	bob.reply(incoming, 486)
	outsider.ack(m, outsider.expect(486))


def test_uri_escapes_name_the_same_user(server):
	alice, bob = registered(server, "alice", "bob")
	bob.answer_everything()
	alice.answered(alice.request("MESSAGE", "sip:%62ob@example.org", body="x"), 200)


def test_the_advertised_name_is_in_via_and_record_route_whole(start):
	name = "a" * 60 + "." + "b" * 60 + ".example.org"
	server = start(users=("alice", "bob"), listeners=[("udp", None, {"advertise": name})])
	alice, bob = server.phone("alice"), server.phone("bob")
	bob.register()
	alice.invite("bob")
	invite = bob.expect("INVITE")
	assert f" {name}:" in invite.list("via")[0]
	assert f":{name}:" in invite.list("record-route")[0]


def test_the_advertised_address_is_known_again_in_route(start):
	"""As with 1:1 NAT: it is none of the machine's."""
	server = start(users=("alice", "bob"), listeners=[("udp", None, {"advertise": "192.0.2.7"})])
	alice, bob = server.phone("alice"), server.phone("bob")
	alice.register()
	bob.register()
	a, b = talk(alice, bob)
	assert "192.0.2.7" in a.routes[0]
	hang_up(a, b)
