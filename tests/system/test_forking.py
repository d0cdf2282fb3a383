"""One user, several devices: parallel and serial forks (RFC 3261 16.6), best response (16.7)."""
import pytest

from phone import Dialog, hang_up


def ring(phone):
	m = phone.expect("INVITE")
	phone.reply(m, 180)
	return m


def devices(server, user, n=3, qs=None):
	out = []
	for i in range(n):
		p = server.phone(user)
		p.register(contact=p.contact + (f";q={qs[i]}" if qs else ""))
		out.append(p)
	return out


@pytest.fixture
def caller(server_n):
	alice = server_n.phone("alice")
	alice.register()
	alice.home = server_n
	return alice


def test_all_devices_ring_and_the_first_to_answer_wins(caller):
	bobs = devices(caller.home, "bob")
	m = caller.invite("bob")
	calls = [ring(b) for b in bobs]
	for _ in bobs:
		caller.expect(180)
	answer = bobs[1].reply(calls[1], 200)
	ok = caller.expect(200)
	for i in (0, 2):
		bobs[i].reply(bobs[i].expect("CANCEL"), 200)
		bobs[i].reply(calls[i], 487)
		bobs[i].expect("ACK")
	a, b = Dialog(caller, m, ok, True), Dialog(bobs[1], calls[1], answer, False)
	a.ack()
	bobs[1].expect("ACK")
	hang_up(a, b)
	for i in (0, 2):
		bobs[i].expect_nothing(0.1)
	caller.expect_nothing(0.1)


def test_no_ringing_comes_after_the_answer(caller):
	bobs = devices(caller.home, "bob", 2)
	caller.invite("bob")
	calls = [b.expect("INVITE") for b in bobs]
	bobs[0].reply(calls[0], 200)
	caller.expect(200)
	bobs[1].reply(calls[1], 180)
	bobs[1].reply(bobs[1].expect("CANCEL"), 200)
	bobs[1].reply(calls[1], 487)
	bobs[1].expect("ACK")
	caller.expect_nothing(0.1)


def test_the_branches_differ(caller):
	calls = []
	bobs = devices(caller.home, "bob")
	m = caller.invite("bob")
	for b in bobs:
		calls.append(b.expect("INVITE"))
	assert len({c.branch for c in calls}) == 3
	for b, c in zip(bobs, calls):
		b.reply(c, 486)
	caller.ack(m, caller.expect(486))


def test_two_200_at_once_both_reach_the_caller(caller):
	bobs = devices(caller.home, "bob", 2)
	m = caller.invite("bob")
	calls = [b.expect("INVITE") for b in bobs]
	for b, c in zip(bobs, calls):
		b.reply(c, 200)
	tags = {caller.expect(200).get("to") for _ in bobs}
	assert len(tags) == 2


@pytest.mark.parametrize("statuses,best", [((486, 404, 480), {404, 486, 480}),
	((500, 486, 503), {486}), ((503, 503, 503), {500, 503}), ((404, 486, 603), {603}),
	((302, 486, 500), {302})])
def test_the_best_answer_is_chosen(caller, statuses, best):
	bobs = devices(caller.home, "bob")
	m = caller.invite("bob")
	calls = [b.expect("INVITE") for b in bobs]
	for b, c, status in zip(bobs, calls, statuses):
		h = [("Contact", "<sip:bob@192.0.2.7>")] if status == 302 else []
		b.reply(c, status, h)
	no = caller.next()
	assert no.status in best
	caller.ack(m, no)


def test_a_6xx_cancels_the_other_devices(caller):
	bobs = devices(caller.home, "bob")
	m = caller.invite("bob")
	calls = [ring(b) for b in bobs]
	for _ in bobs:
		caller.expect(180)
	bobs[0].reply(calls[0], 603)
	for i in (1, 2):
		bobs[i].reply(bobs[i].expect("CANCEL"), 200)
		bobs[i].reply(calls[i], 487)
	caller.ack(m, caller.expect(603))


def test_cancel_reaches_every_device_that_rings(caller):
	bobs = devices(caller.home, "bob")
	m = caller.invite("bob")
	calls = [ring(b) for b in bobs]
	for _ in bobs:
		caller.expect(180)
	caller.cancel(m)
	caller.expect(200)
	for b, c in zip(bobs, calls):
		b.reply(b.expect("CANCEL"), 200)
		b.reply(c, 487)
	caller.ack(m, caller.expect(487))
	for b in bobs:
		b.expect("ACK")
		b.expect_nothing(0.05)


def test_devices_are_tried_in_the_order_of_q(caller):
	bobs = devices(caller.home, "bob", qs=("0.3", "0.9", "0.6"))
	m = caller.invite("bob")
	for i in (1, 2):
		bobs[i].reply(bobs[i].expect("INVITE"), 486)
		bobs[i].expect("ACK")
	last = bobs[0].expect("INVITE")
	answer = bobs[0].reply(last, 200)
	ok = caller.expect(200)
	a, b = Dialog(caller, m, ok, True), Dialog(bobs[0], last, answer, False)
	a.ack()
	bobs[0].expect("ACK")
	hang_up(a, b)


def test_the_next_group_rings_when_the_first_does_not_answer(start):
	s = start({"timers": {"serial_group_s": 1}}, users=["alice", "bob"])
	alice = s.phone("alice")
	first, second = devices(s, "bob", 2, qs=("0.9", "0.1"))
	alice.invite("bob")
	call = ring(first)
	alice.expect(180)
	first.reply(first.expect("CANCEL"), 200)
	first.reply(call, 487)
	late = second.expect("INVITE")
	second.reply(late, 486)
	alice.wait_for(lambda m: m.status in (486, 487))


def test_a_6xx_ends_a_serial_search(caller):
	bobs = devices(caller.home, "bob", 2, qs=("0.9", "0.1"))
	m = caller.invite("bob")
	bobs[0].reply(bobs[0].expect("INVITE"), 603)
	caller.ack(m, caller.expect(603))
	bobs[1].expect_nothing(0.2)


def test_cancel_ends_a_serial_search(caller):
	bobs = devices(caller.home, "bob", 2, qs=("0.9", "0.1"))
	m = caller.invite("bob")
	call = ring(bobs[0])
	caller.expect(180)
	caller.cancel(m)
	caller.expect(200)
	bobs[0].reply(bobs[0].expect("CANCEL"), 200)
	bobs[0].reply(call, 487)
	caller.ack(m, caller.expect(487))
	bobs[1].expect_nothing(0.2)


def test_a_device_that_is_gone_does_not_keep_the_others_from_ringing(caller):
	alive, gone = caller.home.phone("bob"), caller.home.phone("bob", transport="tcp")
	gone.register()
	alive.register()
	gone.stream.sock.close()
	gone.streams.clear()
	m = caller.invite("bob")
	alive.reply(alive.expect("INVITE"), 486)
	no = caller.next()
	assert no.status in (486, 480, 430, 500)
	caller.ack(m, no)


# ---- MESSAGE, OPTIONS ----

def test_a_message_reaches_every_device_and_is_answered_once(caller):
	bobs = devices(caller.home, "bob", qs=("0.3", "0.9", "0.6"))
	m = caller.request("MESSAGE", "sip:bob@example.org", body="hello all")
	caller.again(m, caller.expect(407))
	for b in bobs:
		got = b.expect("MESSAGE")
		assert got.body == "hello all"
		b.reply(got, 200)
	caller.expect(200)
	caller.expect_nothing(0.1)


def test_options_of_a_user_is_forwarded(caller):
	bob, = devices(caller.home, "bob", 1)
	m = caller.request("OPTIONS", "sip:bob@example.org")
	caller.again(m, caller.expect(407))
	bob.reply(bob.expect("OPTIONS"), 200, [("X-From", "bob")])
	assert caller.expect(200).get("x-from") == "bob"


def test_a_response_to_no_transaction_is_dropped(caller):
	bob, = devices(caller.home, "bob", 1)
	m = caller.request("OPTIONS", "sip:bob@example.org")
	caller.again(m, caller.expect(407))
	got = bob.expect("OPTIONS")
	bob.reply(got, 200)
	caller.expect(200)
	bob.send(bob.reply(got, 404).raw.replace(got.branch.encode(), b"z9hG4bKforged"))
	caller.expect_nothing(0.2)
