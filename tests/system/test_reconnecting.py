"""Phones by TCP and TLS whose node is killed: behind the edges and straight at homes, their calls go
on by the other member, and what comes for one who is on his way there waits for him.
"""
import pytest

from certs import Authority
from device import Device
from eaves import TIMEOUT
from phone import Dialog, hang_up, pick_up, ring, talk
from test_flows import exchange

SDP_AGAIN = "v=0\r\n"


class Pair:
	"""alice and bob by streams; one member of a pair, which can be killed, and the other one."""

	def __init__(self, cluster, place, ca, alice=None, bob=None):
		"""place: of whom a member is killed; alice, bob: where they are, if not there."""
		places = {alice or place, bob or place}
		self.place = place
		self.c = cluster(users=("alice", "bob"), ca=ca, config={"cluster": {"drain_s": 1}},
			edges=2 if "edge" in places else 1, one_address="home" in places)
		members = {"edge": self.c.edges, "home": self.c.homes[0]}
		self.one, self.other = members[place]
		by = {"transport": "tls", "tls": ca.client(), "sni": "example.org"} if ca else {}
		self.devices = {u: Device(u, members[where or place][0], **by)
			for u, where in (("alice", alice), ("bob", bob))}
		self.phones = [d.phone for d in self.devices.values()]
		for n in self.c.nodes:
			n.wait_metric("bindings", 2)
		self.other.ctl("log", "level", "trace")

	def kill(self):
		self.one.kill9()

	def start_again(self):
		"""It is where the phones go, as soon as it serves."""
		mark = len(self.one.lines)
		self.one.start()
		self.one.wait_log("event=serving", since=mark, timeout=4 * TIMEOUT)
		self.other = self.one

	def come_back(self, phone):
		"""What waits for him comes before the answer, or after it."""
		self.devices[phone.user].come_back(self.other)

	def back(self, *phones):
		for p in phones:
			self.come_back(p)
			p.wait_for(lambda m: m.status == 200 and m.cseq[1] == "REGISTER")

	def has_come(self, line, times=1):
		"""A start line has come to the other member so often that it is there to wait for its phone."""
		self.other.wait_log_count(f'event=received .*line="{line}', times)


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
	return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(params=["tcp-edge", "tls-edge", "tcp-home", "tls-home"])
def pair(request, cluster, ca):
	transport, place = request.param.split("-")
	return Pair(cluster, place, ca if transport == "tls" else None)


def by_now(m, phone):
	"""A request that came by a connection which has ended: it is answered by the new one."""
	m.conn = phone.stream
	return m


def test_dialogs_go_on_when_their_phones_are_back(pair):
	alice, bob = pair.phones
	calls = [talk(alice, bob), talk(bob, alice)] + [talk(alice, bob), talk(bob, alice)]
	pair.kill()
	pair.back(alice, bob)
	for caller, callee in calls:
		exchange(caller, callee, "INFO")
	for i, (caller, callee) in enumerate(calls):
		hang_up(*((caller, callee) if i < 2 else (callee, caller)))


def test_calls_go_on_at_the_same_node_when_it_is_back(pair):
	alice, bob = pair.phones
	calls = [talk(alice, bob), talk(bob, alice)]
	invite, incoming = ring(alice, bob)
	pair.kill()
	pair.start_again()
	pair.back(alice, bob)
	for caller, callee in calls:
		exchange(caller, callee, "INFO")
	hang_up(*calls[0])
	hang_up(*calls[1][::-1])
	hang_up(*pick_up(alice, bob, invite, by_now(incoming, bob)))


@pytest.mark.parametrize("late", ["alice", "bob"])
def test_a_bye_waits_for_who_is_on_his_way(pair, late):
	alice, bob = pair.phones
	one, other = talk(alice, bob), talk(bob, alice)
	pair.kill()
	late, there = (alice, bob) if late == "alice" else (bob, alice)
	pair.back(there)
	for d in (*one, *other):
		if d.phone is there:
			d.request("BYE")
	pair.has_come(f"BYE sip:{late.user}@", 2)
	pair.come_back(late)
	for _ in range(2):
		late.reply(late.wait_for("BYE"), 200)
		there.expect(200)


@pytest.mark.parametrize("late", ["alice", "bob"])
def test_a_re_invite_waits_for_who_is_on_his_way(pair, late):
	alice, bob = pair.phones
	one, other = talk(alice, bob)
	if late == "alice":
		one, other = other, one
	pair.kill()
	pair.back(one.phone)
	one.request("INVITE", SDP_AGAIN)
	pair.has_come(f"INVITE sip:{late}@")
	pair.come_back(other.phone)
	other.phone.reply(other.phone.wait_for("INVITE"), 200)
	one.phone.expect(200)
	one.ack()
	other.phone.wait_for("ACK")
	hang_up(other, one)


def test_answers_in_a_dialog_wait_for_who_is_on_his_way(pair):
	alice, bob = pair.phones
	calls = {m: talk(alice, bob) for m in ("INVITE", "INFO", "BYE")}
	asked = []
	for method, (one, _) in calls.items():
		one.request(method, SDP_AGAIN if method == "INVITE" else "")
		asked.append(bob.expect(method))
	pair.kill()
	pair.back(bob)
	for m in asked:
		bob.reply(by_now(m, bob), 200, reason="Late")
	pair.has_come("SIP/2.0 200 Late", 3)
	pair.come_back(alice)
	answered = {alice.wait_for(lambda m: m.reason == "Late").cseq[1] for _ in calls}
	assert answered == set(calls)
	calls["INVITE"][0].ack()
	bob.expect("ACK")
	for method in ("INVITE", "INFO"):
		hang_up(*calls[method])


def test_an_ack_waits_for_who_is_on_his_way(pair):
	alice, bob = pair.phones
	invite, incoming = ring(alice, bob)
	answer = bob.reply(incoming, 200)
	ok = alice.expect(200)
	one, other = Dialog(alice, invite, ok, True), Dialog(bob, incoming, answer, False)
	pair.kill()
	pair.back(alice)
	one.ack()
	pair.has_come("ACK sip:bob@")
	pair.come_back(bob)
	bob.wait_for("ACK")
	hang_up(other, one)


@pytest.mark.parametrize("end", ["answer", "refuse", "cancel"])
def test_a_call_that_rings_ends_by_the_new_connections(pair, end):
	alice, bob = pair.phones
	invite, incoming = ring(alice, bob)
	pair.kill()
	pair.back(alice, bob)
	by_now(incoming, bob)
	if end == "answer":
		one, other = pick_up(alice, bob, invite, incoming)
		exchange(one, other, "INFO")
		hang_up(other, one)
		return
	if end == "cancel":
		alice.cancel(invite)
		alice.expect(200)
		cancel = bob.expect("CANCEL")
		assert cancel.branch == incoming.branch
		bob.reply(cancel, 200)
	status = 487 if end == "cancel" else 486
	bob.reply(incoming, status)
	bob.wait_for("ACK")
	alice.ack(invite, alice.expect(status))


@pytest.mark.parametrize("status", [200, 486])
def test_the_answer_to_a_call_waits_for_its_caller(pair, status):
	alice, bob = pair.phones
	invite, incoming = ring(alice, bob)
	pair.kill()
	pair.back(bob)
	answer = bob.reply(by_now(incoming, bob), status, reason="Late")
	# Behind an edge from bob, and from the home.
	pair.has_come(f"SIP/2.0 {status} Late", 2 if pair.place == "edge" else 1)
	pair.come_back(alice)
	final = alice.wait_for(lambda m: (m.status or 0) >= 200 and m.cseq[1] == "INVITE")
	assert final.status == status
	if status != 200:
		alice.ack(invite, final)
		bob.wait_for("ACK")
		return
	one = Dialog(alice, invite, final, True)
	one.ack()
	bob.wait_for("ACK")
	hang_up(one, Dialog(bob, incoming, answer, False))


def test_new_requests_wait_for_who_is_on_his_way(pair):
	alice, bob = pair.phones
	pair.kill()
	pair.back(alice)
	m = alice.request("MESSAGE", "sip:bob@example.org", body="hello")
	alice.again(m, alice.expect(407))
	invite = alice.invite("bob")
	for method in ("MESSAGE", "INVITE"):
		if pair.place == "edge":  # from the home
			pair.has_come(f"{method} sip:bob@127")
		else:  # without credentials, and with them
			pair.has_come(f"{method} sip:bob@example.org", 2)
	pair.come_back(bob)
	got = {}
	while len(got) < 2:
		m = bob.wait_for(lambda m: m.method)
		got[m.method] = m
	bob.reply(got["MESSAGE"], 200)
	assert alice.expect(200).cseq[1] == "MESSAGE"
	hang_up(*pick_up(alice, bob, invite, got["INVITE"]))


# ---- one of them behind an edge, the other straight at a home ----

@pytest.fixture(params=["alice-at-the-edge", "bob-at-the-home"])
def apart(request, cluster, ca):
	"""The pair, who is to come back, and who is not touched."""
	if request.param.startswith("alice"):
		pair = Pair(cluster, "edge", ca, bob="home")
		return pair, *pair.phones
	pair = Pair(cluster, "home", ca, alice="edge")
	return pair, *pair.phones[::-1]


def test_calls_go_on_between_edge_and_home_when_one_is_back(apart):
	pair, mover, there = apart
	calls = [talk(mover, there), talk(there, mover), talk(mover, there), talk(there, mover)]
	rings = [(mover, there, *ring(mover, there)), (there, mover, *ring(there, mover))]
	pair.kill()
	pair.back(mover)
	for caller, callee in calls:
		exchange(caller, callee, "INFO")
	for i, (caller, callee) in enumerate(calls):
		hang_up(*((caller, callee) if i < 2 else (callee, caller)))
	for caller, callee, invite, incoming in rings:
		if callee is mover:
			by_now(incoming, callee)
		hang_up(*pick_up(caller, callee, invite, incoming))


def test_what_comes_between_edge_and_home_waits_for_who_is_on_his_way(apart):
	pair, mover, there = apart
	(one, _), (_, other) = talk(there, mover), talk(mover, there)
	asking, _ = talk(mover, there)
	asking.request("INFO")
	info = there.expect("INFO")
	_, incoming = ring(mover, there)
	pair.kill()
	one.request("BYE")
	other.request("BYE")
	there.reply(info, 200, reason="Info")
	there.reply(incoming, 200, reason="Call")
	pair.has_come("BYE sip:", 2)
	pair.come_back(mover)
	byes, answers = set(), set()
	while len(byes) < 2 or len(answers) < 2:
		m = mover.wait_for(lambda m: m.method == "BYE" or m.reason in ("Info", "Call"))
		if m.method:
			mover.reply(m, 200)
			byes.add(m.call_id)
		else:
			answers.add(m.reason)
	for _ in byes:
		there.wait_for(lambda m: m.status == 200 and m.cseq[1] == "BYE")
