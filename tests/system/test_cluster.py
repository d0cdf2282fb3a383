"""A cluster of real processes: an edge and homes on loopback, their links and what goes over them."""
import re
import signal
import ssl
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from certs import Authority
from cluster import health, registered
from eaves import BIN, TIMEOUT, merged
from phone import SDP, Dialog, hang_up, talk, transaction
from sip import Message, param, reply_to
from test_flows import Outbound, phone


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_call_goes_through_edge_and_home(cluster, transport):
	c = cluster(users=("alice", "bob"))
	alice, bob = registered(c, "alice", "bob", transport=transport)
	a, b = talk(alice, bob)
	hang_up(a, b)
	a, b = talk(bob, alice)
	hang_up(b, a)


def test_an_import_goes_no_faster_than_the_slowest_home_takes_it(cluster):
	"""One that is buried in records would be late with its heartbeats, and be taken for dead."""
	count = 3000
	c = cluster(config={"cluster": {"dead_ms": 30000}})
	slow, other = c.homes[0]
	with ThreadPoolExecutor(1) as pool:
		slow.process.send_signal(signal.SIGSTOP)
		try:
			done = pool.submit(c.edges[0].add_users, [f"u{i}" for i in range(count)])
			c.wait(lambda: other.metric("users") > 0, "the import does not begin")
			with pytest.raises(TimeoutError):
				done.result(1.0)
			assert other.metric("users") < count
		finally:
			slow.process.send_signal(signal.SIGCONT)
		done.result()
	c.wait_users(count)
	assert c.edges[0].metric("cluster_queue_full_total") == 0


def test_users_of_different_homes_call_each_other(cluster):
	c = cluster(homes=2)
	e = c.edges[0]
	for user, home in (("alice", "h1"), ("bob", "h2")):
		e.ctl("user add", user, home, stdin=f"secret-of-{user}\n")
	c.wait_users(2)
	alice, bob = registered(c, "alice", "bob")
	a, b = talk(alice, bob)
	hang_up(a, b)
	invite = bob.invite("alice")
	incoming = alice.expect("INVITE")
	assert incoming.get("p-asserted-identity") == "<sip:bob@example.org>"
	assert not incoming.all("eaves-link") and not incoming.all("proxy-authorization")
	alice.reply(incoming, 180)
	bob.expect(180)
	bob.cancel(invite)
	bob.expect(200)
	cancel = alice.expect("CANCEL")
	alice.reply(cancel, 200)
	alice.reply(incoming, 487)
	r = bob.expect(487)
	bob.ack(invite, r)
	alice.expect("ACK")


def test_a_dialog_reaches_the_gruu_of_another_homes_user(cluster):
	"""What is in a dialog is not asked who sends it: it goes straight to the callee's home."""
	c = cluster(homes=2)
	for user, home in (("alice", "h1"), ("bob", "h2")):
		c.edges[0].ctl("user add", user, home, stdin=f"secret-of-{user}\n")
	c.wait_users(2)
	alice, bob = registered(c, "alice", "bob", transport="tcp")
	r = bob.register(contact=bob.contact + ';+sip.instance="<urn:uuid:b0b>"',
		headers=[("Supported", "gruu")])
	gruu = param(r.get("contact"), "pub-gruu")
	a, b = talk(bob, alice, headers=[("Contact", f"<{gruu}>")])
	hang_up(b, a)


@pytest.mark.parametrize("frm", [None, "<sip:carl@elsewhere.example>;tag=1"])
def test_a_temporary_gruu_leads_to_its_users_home(cluster, frm):
	"""By way of the caller's own home, and straight from the edge."""
	c = cluster(homes=2)
	for user, home in (("alice", "h1"), ("bob", "h2")):
		c.edges[0].ctl("user add", user, home, stdin=f"secret-of-{user}\n")
	c.wait_users(2)
	alice, bob = registered(c, "alice", "bob")
	for callee, caller in ((alice, bob), (bob, alice)):
		r = callee.register(contact=callee.contact + f';+sip.instance="<urn:uuid:{callee.user}>"',
			headers=[("Supported", "gruu")])
		gruu = param(r.get("contact"), "temp-gruu")
		assert re.match(r"sip:tgruu\.h[12]\.[a-z2-7]{26,}@example\.org;gr$", gruu), gruu  # no name
		m = caller.request("MESSAGE", gruu, body="x", **({"frm": frm} if frm else {}))
		if not frm:
			caller.again(m, caller.expect(407))
		m = callee.expect("MESSAGE")
		callee.reply(m, 200)
		caller.expect(200)


def test_a_program_is_for_nodes_of_its_role(cluster):
	c = cluster(start=False)
	for node, program in ((c.homes[0][0], "eaves-edge"), (c.edges[0], "eaves-home")):
		r = subprocess.run([str(BIN / program), "--config", str(node.config_file)],
			capture_output=True, text=True, timeout=4 * TIMEOUT)
		assert r.returncode != 0
		assert f"cluster.nodes has {node.name} as" in r.stderr and f"start {node.program}" in r.stderr


def test_a_node_that_was_never_heard_is_named_with_where_it_is_looked_for(cluster):
	c = cluster(start=False)
	e, h = c.edges[0], c.homes[0][0]
	nodes = [merged(x, {"bus": x["bus"].rpartition(":")[0] + ":1"} if x["name"] == e.name else {})
		for x in h.config["cluster"]["nodes"]]
	h.write_config(merged(h.config, {"cluster": {"nodes": nodes}}))  # who opens the connection
	bus, = (x["bus"] for x in nodes if x["name"] == e.name)
	e.start()
	h.start()
	h.wait_log(rf"level=warn event=node-missing node={e.name} bus={bus}$")
	assert f" dead equal=no version=0 queued=0 silent=never bus={bus}" in h.ctl("cluster status")


def test_a_node_whose_sip_address_is_wrong_is_told_of(cluster):
	"""The bus lives, and no message arrives: the log says so."""
	def wrong(node):
		for row in node.config["cluster"]["nodes"]:
			if row["role"] == "home":
				row["sip"] = row["sip"].rpartition(":")[0] + ":1"
		node.write_config()
	c = cluster(start=False)
	wrong(c.edges[0])
	c.start()
	c.edges[0].add_users(["alice"])
	c.wait_users(1)
	alice = c.phone("alice")
	alice.request("MESSAGE", "sip:alice@example.org", frm="<sip:carl@elsewhere.example>;tag=1", body="x")
	c.edges[0].wait_log(r"level=warn event=link-failed node=h1\w* address=\S+:1$")


def test_a_refused_call_is_repeated_until_it_is_acknowledged(cluster):
	"""Behind the stateless edge it is the home that repeats itself, for the phone's leg."""
	c = cluster(users=("alice", "bob"))
	alice, bob = registered(c, "alice", "bob")
	invite = alice.invite("bob")
	incoming = bob.expect("INVITE")
	bob.reply(incoming, 486)
	bob.expect("ACK")
	r = alice.expect(486)
	alice.expect_again(r)
	alice.ack(invite, r)


def test_three_devices_ring_and_one_answers(cluster):
	c = cluster(users=("alice", "bob"))
	alice, *bobs = registered(c, "alice", "bob", "bob", "bob")
	invite = alice.invite("bob")
	incoming = [b.expect("INVITE") for b in bobs]
	for b, m in zip(bobs, incoming):
		b.reply(m, 180)
	for _ in bobs:
		alice.expect(180)
	answer = bobs[1].reply(incoming[1], 200)
	ok = alice.expect(200)
	for b, m in ((bobs[0], incoming[0]), (bobs[2], incoming[2])):
		cancel = b.expect("CANCEL")
		b.reply(cancel, 200)
		b.reply(m, 487)
		b.expect("ACK")
	a = Dialog(alice, invite, ok, True)
	a.ack()
	bobs[1].expect("ACK")
	hang_up(a, Dialog(bobs[1], incoming[1], answer, False))


def test_a_message_goes_to_another_home(cluster):
	c = cluster(homes=2, users=[f"u{i}" for i in range(8)])
	phones = registered(c, *[f"u{i}" for i in range(8)])
	for a, b in zip(phones, phones[1:]):
		m = a.request("MESSAGE", f"sip:{b.user}@example.org", body="hello")
		m = a.again(m, a.expect(407))
		b.reply(b.expect("MESSAGE"), 200)
		a.expect(200)


def test_links_by_tls_are_for_nodes_with_their_certificate(cluster, tmp_path):
	ca = Authority(tmp_path)
	c = cluster(homes=2, users=[f"u{i}" for i in range(4)], ca=ca)
	phones = registered(c, *[f"u{i}" for i in range(4)])
	for x, y in zip(phones, phones[1:]):
		hang_up(*talk(x, y))
	h = c.homes[0][0]
	spam = [("Eaves-Link", "m=5;t=udp;s=192.0.2.1:5060;u=u0")]
	other = h.phone("mallory", transport="tls", to=h.link, sni=h.name, tls=ca.client(ca.issue("other.example")))
	other.request("MESSAGE", "sip:u1@example.org", spam, body="spam")
	other.expect(403)
	refused = h.metric("tls_handshakes_failed_total")
	try:  # by TLS 1.3 the client learns of it with its first read only
		nobody = h.phone("mallory", transport="tls", to=h.link, sni=h.name, tls=ca.client())
		nobody.request("MESSAGE", "sip:u1@example.org", spam, body="spam")
		nobody.expect_closed()
		assert nobody.log == []
	except (ssl.SSLError, ConnectionError):
		pass
	h.wait_metric("tls_handshakes_failed_total", refused + 1)
	assert h.metric("cluster_strangers_total") == 1  # the other one
	phones[1].expect_nothing()


def test_nobody_but_nodes_speaks_to_a_home_by_its_link(cluster):
	c = cluster(users=("alice", "bob"))
	h = c.homes[0][0]
	stranger = h.phone("mallory", transport="tcp", to=h.link)
	stranger.request("MESSAGE", "sip:bob@example.org", [
		("Eaves-Link", "m=5;t=udp;s=192.0.2.1:5060;u=alice")], body="spam")
	stranger.expect(403)
	outsider = c.phone("alice")
	outsider.request("MESSAGE", "sip:bob@example.org", [
		("Eaves-Link", "m=5;t=udp;s=192.0.2.1:5060;u=alice")], body="spam")
	outsider.expect(407)


# ---- a home dies ----

def serving(c, user):
	"""The member of the only pair that has forked the last call of the user's, and the other."""
	a, b = c.homes[0]
	pattern = rf"event=forked .*user={user} "
	c.wait(lambda: a.log_count(pattern) or b.log_count(pattern), "no member forked the call")
	return (a, b) if a.log_count(pattern) else (b, a)


def kill_serving(c, user):
	one, other = serving(c, user)
	one.kill9()
	return other


def test_a_device_that_rings_on_when_its_home_has_died_is_told_to_stop(cluster):
	"""It does not repeat its 180, nobody cancels: timer C of the other home."""
	c = cluster(users=("alice", "bob"), config={"timers": {"timer_c_s": 8}})
	alice, bob = registered(c, "alice", "bob")
	invite = alice.invite("bob")
	incoming = bob.expect("INVITE")
	bob.reply(incoming, 180)
	alice.expect(180)
	other = kill_serving(c, "bob")
	cancel = bob.expect("CANCEL", timeout=60)
	bob.reply(cancel, 200)
	bob.reply(incoming, 487)
	alice.ack(invite, alice.expect(408))
	bob.expect("ACK")
	assert c.edges[0].metric("calls_told_total") == 1 and c.edges[0].metric("calls_behind") == 0
	other.wait_metric("proxy_unanswered", 0)


@pytest.mark.parametrize("links", ["tcp", "tls"])
def test_a_call_is_answered_after_the_home_that_set_it_up_died(cluster, tmp_path, links):
	c = cluster(users=("alice", "bob"), ca=Authority(tmp_path) if links == "tls" else None)
	alice, bob = registered(c, "alice", "bob")
	invite = alice.invite("bob")
	incoming = bob.expect("INVITE")
	bob.reply(incoming, 180)
	alice.expect(180)
	kill_serving(c, "bob")
	answer = bob.reply(incoming, 200)
	ok = alice.expect(200)
	a, b = Dialog(alice, invite, ok, True), Dialog(bob, incoming, answer, False)
	a.ack()
	bob.expect("ACK")
	hang_up(a, b)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_call_is_cancelled_after_the_home_that_set_it_up_died(cluster, transport):
	c = cluster(users=("alice", "bob"))
	alice, bob = registered(c, "alice", "bob", transport=transport)
	invite = alice.invite("bob")
	incoming = bob.expect("INVITE")
	bob.reply(incoming, 180)
	alice.expect(180)
	kill_serving(c, "bob")
	alice.cancel(invite)
	alice.expect(200)
	bob.reply(bob.expect("CANCEL"), 200)
	bob.reply(incoming, 487)
	alice.ack(invite, alice.expect(487))
	bob.expect("ACK")


@pytest.mark.parametrize("by", ["edge", "home"])
def test_a_call_is_cancelled_after_the_home_that_set_it_up_was_started_again(cluster, by):
	"""Both serve; its process does not know the call any more, nor does the other member."""
	c = cluster(users=("alice", "bob"))
	bob, = registered(c, "bob")
	alice = c.phone("alice") if by == "edge" else c.homes[0][1].phone("alice")
	invite = alice.invite("bob")
	incoming = bob.expect("INVITE")
	bob.reply(incoming, 180)
	alice.expect(180)
	one, other = serving(c, "bob")
	one.kill9()
	other.wait_log("event=node-dead node=" + one.name)
	one.start()
	c.wait_alive()
	alice.cancel(invite)
	alice.expect(200)
	bob.reply(bob.expect("CANCEL"), 200)
	bob.reply(incoming, 487)
	alice.ack(invite, alice.expect(487))
	bob.expect("ACK")
	c.wait(lambda: sum(n.log_count("event=rebuilt from=CANCEL") for n in c.homes[0]) == 1, "no call was made")


def test_a_call_is_refused_after_the_home_that_set_it_up_died(cluster):
	c = cluster(users=("alice", "bob"))
	alice, bob = registered(c, "alice", "bob")
	invite = alice.invite("bob")
	incoming = bob.expect("INVITE")
	kill_serving(c, "bob")
	bob.reply(incoming, 486)
	busy = alice.expect(486)
	alice.expect_again(busy)
	alice.ack(invite, busy)
	bob.expect("ACK")


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_registrations_and_nonces_are_good_at_the_other_member(cluster, transport):
	c = cluster(users=("alice", "bob"))
	alice, bob = registered(c, "alice", "bob", transport=transport)
	a, b = talk(alice, bob)
	other = kill_serving(c, "bob")
	hang_up(a, b)
	assert len(other.registrations()) == 2
	challenges = other.metric("challenges_total")
	# The nonce that the dead member gave is taken, with the next count.
	alice.resend(alice.registered, alice.credentials_again("REGISTER", "sip:example.org"))
	alice.expect(200)
	assert other.metric("challenges_total") == challenges
	# What was sent to it is not taken again.
	alice.send(alice.registered.raw.replace(b"z9hG4bK", b"z9hG4bKx"))
	alice.expect(401)
	a, b = talk(bob, alice)
	hang_up(b, a)


@pytest.mark.parametrize("fault", ["restarted", "alone"])
def test_what_a_home_took_while_the_other_was_away_that_one_does_not_take(cluster, fault):
	"""Not even when it has been started anew meanwhile, of which the one that was stopped knows nothing."""
	c = cluster(users=("alice", "bob"))
	alice, bob = c.phone("alice"), c.phone("bob")
	one, other = c.homes[0]
	one.process.send_signal(signal.SIGSTOP)
	try:
		c.edges[0].wait_log("event=node-dead node=" + one.name)
		other.wait_log("event=node-dead node=" + one.name)
		alice.register()
		captured = [alice.registered]
		if fault == "restarted":
			other.kill9()
			other.start()
			c.wait(lambda: other.name in c.edges[0].alive() and other.metric("cluster_serving") == 1,
				"the other member is not back")
			alice.register()
			captured.append(alice.registered)
	finally:
		one.process.send_signal(signal.SIGCONT)
	one.wait_log("event=was-stopped")
	c.wait_alive()
	bob.register()  # the other member tells what it has let through before it has this one's record
	for home in (one, other):
		alice.server = home.where["udp"]
		for m in captured:
			alice.resend(m)
			alice.expect(401)


def test_an_invite_is_repeated_to_the_other_home_after_its_nonce_was_used_again(cluster):
	"""What the dead member let through is no replay at the other one, though it was not the nonce's
	latest use."""
	c = cluster(users=("alice", "bob"))
	alice, bob = registered(c, "alice", "bob")
	invite = alice.invite("bob")
	bob.repeats = False
	first = bob.expect("INVITE")
	uri = "sip:bob@example.org"
	alice.request("MESSAGE", uri, [("Proxy-" + n, v) for n, v in [alice.credentials_again("MESSAGE", uri)]],
		body="hello")
	bob.reply(bob.wait_for("MESSAGE"), 200)
	alice.expect(200)
	one, other = serving(c, "bob")
	alice.register(contact=alice.contact.replace("alice", "again"))
	c.wait(lambda: len(other.registrations()) == 3, "the other member has not been told")
	one.kill9()
	c.edges[0].wait_log("event=node-dead")
	challenges = other.metric("challenges_total")
	alice.send(invite.raw)
	repeated = bob.wait_for(lambda m: m.method == "INVITE" and m.raw != first.raw)
	assert transaction(repeated) == transaction(first)
	bob.reply(repeated, 486)
	alice.ack(invite, alice.expect(486))
	assert other.metric("challenges_total") == challenges


def test_a_request_of_a_stream_that_died_with_its_home_reaches_the_other(cluster):
	"""The phone will not repeat it: the edge does."""
	c = cluster(users=("alice", "bob"))
	alice, bob = registered(c, "alice", "bob", transport="tcp")
	m = alice.request("MESSAGE", "sip:bob@example.org", body="one")
	one, other = c.homes[0]
	m = alice.again(m, alice.expect(407))
	bob.reply(bob.expect("MESSAGE"), 200)
	alice.expect(200)
	if other.log_count("event=forked"):
		one, other = other, one
	one.process.send_signal(signal.SIGSTOP)
	invite = alice.request("INVITE", "sip:bob@example.org")
	one.kill9()
	alice.again(invite, alice.expect(407))
	incoming = bob.expect("INVITE")
	bob.reply(incoming, 603)
	alice.expect(603)


@pytest.mark.parametrize("devices", [1, 2])
def test_a_home_that_was_stopped_does_not_go_on_with_what_is_over(cluster, devices):
	"""What came for it meanwhile was served by the other member, and its own calls too."""
	c = cluster(users=("alice", "bob"))
	alice, *bobs = registered(c, "alice", *["bob"] * devices)
	invite = alice.invite("bob")
	incoming = [b.expect("INVITE") for b in bobs]
	one, other = serving(c, "bob")
	one.process.send_signal(signal.SIGSTOP)
	longer = time.monotonic() + 1  # than dead_ms: else it could not know that it was away
	c.edges[0].wait_log("event=node-dead node=" + one.name)
	other.wait_log("event=node-dead node=" + one.name)
	for b, m in zip(bobs, incoming):
		b.reply(m, 486)
		b.wait_for("ACK")
	alice.ack(invite, alice.wait_for(486))
	since = len(alice.log), [len(b.log) for b in bobs]
	c.wait(lambda: time.monotonic() > longer, "time stands still")
	one.process.send_signal(signal.SIGCONT)
	one.wait_log("event=was-stopped")
	c.wait_alive()
	hang_up(*talk(bobs[0], alice))
	for b in bobs:
		b.expect_nothing(1.0)
	late = [m for b, n in zip(bobs, since[1]) for m in b.log[n:] if m.method == "INVITE"]
	assert not late, late


def test_a_restarted_home_has_all_registrations(cluster):
	c = cluster(users=[f"u{i}" for i in range(20)])
	registered(c, *[f"u{i}" for i in range(20)])
	one, other = c.homes[0]
	for n in (one, other):
		c.wait(lambda n=n: len(n.registrations()) == 20, f"{n.name} has not all of them")
	one.kill9()
	other.wait_log("event=node-dead node=" + one.name)
	one.start()
	c.wait_alive()
	one.wait_metric("users", 20)
	c.wait(lambda: len(one.registrations()) == 20, "the restarted member has not all of them")


def test_without_any_home_calls_get_503_and_a_time_to_come_back(cluster):
	c = cluster(users=("alice",))
	alice, = registered(c, "alice")
	for n in c.homes[0]:
		n.kill9()
	c.edges[0].wait_log("event=node-dead node=h1b")
	alice.request("MESSAGE", "sip:alice@example.org", body="x")
	assert alice.expect(503).get("retry-after") == "5"


def test_edges_without_any_home_say_so_and_answer_when_the_address_stays(cluster):
	"""Each of them may be the one that is cut off: the service address may go first.  Who has it
	then, answers."""
	c = cluster(edges=2, users=("alice", "bob"))
	alice, = registered(c, "alice")
	bob, = registered(c, "bob", transport="tcp")

	def stranded():
		return [(e.dir / "stranded").read_text() for e in c.edges]

	assert stranded() == ["0\n"] * 2 and health(c.edges[0]) == 200
	for n in c.homes[0]:
		n.kill9()
	for e in c.edges:
		e.wait_log("event=stranded")
	assert stranded() == ["1\n"] * 2 and c.edges[0].metric("cluster_stranded") == 1
	assert [health(e) for e in c.edges] == [503] * 2
	assert [(e.dir / "drain").read_text() for e in c.edges] == ["0\n"] * 2
	alice.request("MESSAGE", "sip:alice@example.org", body="x")  # again by UDP, were she a phone
	bob.request("MESSAGE", "sip:alice@example.org", body="x")
	assert bob.expect(503).get("retry-after") == "5"
	alice.expect_nothing()
	alice.request("MESSAGE", "sip:alice@example.org", body="x")
	assert alice.expect(503).get("retry-after") == "5"
	for n in c.homes[0]:
		n.start()
	c.wait_alive()
	c.wait(lambda: stranded() == ["0\n"] * 2, "the edges are stranded still")
	assert c.edges[0].metric("cluster_stranded") == 0 and health(c.edges[0]) == 200
	alice.register()


def test_all_calls_are_taken_over_however_many_they_are(cluster):
	"""Each needs a kilobyte of the worker's arena when it is taken over, which is 256 of them."""
	calls = 400
	c = cluster(users=("alice", "bob"), config={"edge": {"trusted": [{"network": "127.0.0.0/8"}]}})
	alice, *_ = registered(c, "alice", "bob", "bob", "bob")
	sent = [alice.request("INVITE", "sip:bob@example.org") for _ in range(calls)]
	c.wait(lambda: sum(h.metric("fork_records_total") for h in c.homes[0]) >= calls, "not all forked")
	one, other = sorted(c.homes[0], key=lambda h: -h.metric("fork_records_total"))
	one.kill9()
	c.wait(lambda: other.metric("forks_adopted_total") >= calls, "not all were taken over")
	assert other.log_count("event=adopt-failed") == 0


# ---- an edge dies ----

def test_a_phone_on_a_stream_goes_on_at_the_other_edge(cluster):
	"""Its connection went with the first edge: it registers anew at the other one, and its dialogs
	and what is under way for it go on."""
	c = cluster(edges=2, users=("alice", "bob"))
	alice = c.phone("alice", edge=1)
	bob = c.phone("bob", edge=0, transport="tcp")
	outbound = {"contact": bob.contact + ';reg-id=1;+sip.instance="<urn:uuid:b0b>"',
		"headers": [("Supported", "outbound, path")]}
	alice.register()
	bob.register(**outbound)
	a, b = talk(alice, bob)
	c.wait(lambda: c.edges[1].metric("bindings") == 2, "the other edge does not know bob")
	c.edges[0].kill9()
	bob.expect_closed()
	c.edges[1].wait_log("event=node-dead node=e1")
	# What comes for him before he is back waits for him.
	a.request("INFO")
	bob.server = c.edges[1].where["tcp"]
	bob.connect()
	outbound["contact"] = bob.contact + ';reg-id=1;+sip.instance="<urn:uuid:b0b>"'
	m = bob.request("REGISTER", "sip:example.org", outbound["headers"], contact=outbound["contact"],
		call_id=bob.call_id, to=f"<{bob.aor}>")
	bob.again(m, bob.wait_for(401))
	info = None
	for _ in range(2):
		x = bob.next()
		assert x is not None
		if x.method == "INFO":
			info = x
		else:
			assert x.status == 200
	info = info or bob.expect("INFO")
	bob.reply(info, 200, tag=param(b.local, "tag"))
	alice.expect(200)
	hang_up(b, a)


# ---- operators ----

def test_outbound_is_not_promised_to_a_phone_behind_another_proxy(cluster):
	"""RFC 5626 5.1: `ob` in a Path is the word of the phone's first hop, which the edge is not here."""
	c = cluster(users=("alice", "bob"))
	(alice,), bob = registered(c, "alice"), c.phone("bob")
	contact = f'{bob.contact};reg-id=1;+sip.instance="<urn:uuid:b0b>"'
	behind = ("Via", "SIP/2.0/UDP 192.0.2.7;branch=z9hG4bKinner")
	ask, plain = ("Supported", "outbound, path"), ("Supported", "path")
	r = bob.register(439, contact=contact, headers=[ask, behind])
	assert b" 439 First Hop Lacks Outbound Support" in r.raw
	r = bob.register(contact=contact, headers=[plain, behind])
	assert not r.get("require") and ";ob" not in r.get("path") and "reg-id" not in r.get("contact")
	m = alice.request("MESSAGE", "sip:bob@example.org", body="hello")
	alice.again(m, alice.expect(407))
	bob.reply(bob.expect("MESSAGE"), 200)
	alice.expect(200)
	# That proxy keeps the phone's flow, and says so.
	r = bob.register(contact=contact, headers=[ask, behind, ("Path", "<sip:t@192.0.2.7;lr;ob>")])
	assert r.get("require") == "outbound" and ";ob" not in r.get("path").split(",")[0]
	r = bob.register(contact=contact, headers=[ask])
	assert r.get("require") == "outbound" and ";ob" in r.get("path")


def test_an_edge_asks_any_node_and_a_home_asks_nobody(cluster):
	c = cluster(homes=2, users=("alice", "bob", "carol", "dora"))
	registered(c, "alice", "bob", "carol", "dora")
	e = c.edges[0]
	listed = [x for pair in ("h1b", "h2a") for x in
		e.ctl("node", pair, "registration", "list").splitlines()]
	assert {x.split()[0] for x in listed} == {"alice", "bob", "carol", "dora"}
	assert "self" in e.ctl("node", "h2b", "cluster", "status")
	for words, why in ((["h9", "status"], "no other node"), (["h1a", "nonsense"], "no such command"),
			(["h1a", "registration", "drop"], "usage")):
		r = e.ctl_raw("node", *words)
		assert r.returncode == 1 and why in r.stdout + r.stderr
	r = c.homes[0][0].ctl_raw("node", "e1", "user", "list")
	assert r.returncode == 2 and "no such command" in r.stderr
	c.homes[1][1].kill9()
	r = e.ctl_raw("node", "h2b", "status")
	assert r.returncode == 1 and "does not answer" in r.stdout + r.stderr


def test_nodes_know_how_far_their_clocks_are_apart(cluster):
	"""Here not at all, for it is one machine."""
	c = cluster()
	e, h = c.edges[0], c.homes[0][0]
	for node, other in ((e, h), (h, e)):
		c.wait(lambda n=node, o=other: re.search(rf"^{o.name} .* clock=[+-]0\.\d\d\ds ",
			n.ctl("cluster status"), re.M), "nothing is known of its clock")
		value = re.search(rf'^eaves_cluster_clock_apart_seconds{{node="{other.name}"}} (\S+)$',
			node.get("/metrics")[1], re.M)
		assert abs(float(value[1])) < 1
		assert node.log_count("event=clock-") == 0


def test_who_asks_for_credentials_of_another_realm_is_told_of(cluster):
	c = cluster(start=False)
	e, (a, b) = c.edges[0], c.homes[0]
	b.write_config(merged(b.config, {"auth": {"realm": "other"}}))
	for n in c.nodes:
		n.start()
	assert e.wait_log("event=realm-differs").endswith(f"node={b.name}")
	for n in (a, b):
		n.wait_log("event=realm-differs")
	c.wait(lambda: e.alive() == {"h1a", "h1b"}, "the nodes do not see each other")
	status = e.ctl("cluster status").splitlines()
	assert [x.split()[0] for x in status if " realm=differs" in x] == [b.name]
	assert a.log_count(f"event=realm-differs node={e.name}") == 0


def test_the_way_to_a_phone_behind_an_edge_is_shown(cluster):
	c = cluster(users=("alice", "bob"))
	c.phone("alice").register()
	c.phone("bob", transport="tcp").register()
	lines = sorted(c.homes[0][0].registrations())
	assert [re.search(r" via=(\S+) ", x)[1] for x in lines] == ["udp/e1", "tcp/e1"]


def test_a_phone_that_was_locked_is_let_in_again_from_an_edge(cluster):
	"""It is known to the member of its pair that it came to, by its own address."""
	c = cluster(users=["alice"], config={"auth": {"lock_failures": 3}})
	edge, alice = c.edges[0], c.phone("alice", password="guess")
	for _ in range(3):
		m = alice.request("REGISTER", "sip:example.org", to="<sip:alice@example.org>")
		alice.again(m, alice.expect(401))
		alice.expect(401)
	alice.register(want=403)
	alice.password = "secret-of-alice"
	alice.register(want=403)
	homes = [h.name for h in c.homes[0]]
	shown = {h: edge.ctl("node", h, "auth", "locks") for h in homes}
	here, = [h for h in homes if shown[h]]
	assert [x.split(" failures=3")[0] for x in shown[here].splitlines()] == [
		f"source={alice.source}", f'source={alice.source} user="alice"']
	for h in homes:
		assert edge.ctl("node", h, "auth", "locks", alice.source + ":5060") == shown[h]
		r = edge.ctl_raw("node", h, "auth", "unlock", "alice")
		assert r.returncode == (0 if h == here else 1), h
	alice.register()
	r = edge.ctl_raw("auth", "locks")
	assert r.returncode == 2 and "Elsewhere: registrations and locks, at their homes" in r.stderr


def test_the_directory_is_the_same_at_both_edges(cluster):
	c = cluster(edges=2, users=("alice",))
	one, other = c.edges
	other.ctl("user add", "bob", stdin="x\n")
	other.ctl("alias add", "100", "bob")
	c.wait(lambda: "100 bob" in one.ctl("alias list"), "the alias did not come")
	one.ctl("user remove", "bob")
	for n in c.nodes:
		n.wait_metric("users", 1)
	c.wait(lambda: other.ctl("alias list") == "", "the alias is still there")


def rows(n):
	"""What a node says of each of the others: name to words."""
	return {x.split()[0]: x.split()[1:] for x in n.ctl("cluster status").splitlines() if " pair=" in x}


def test_an_edge_that_lost_its_directory_is_not_equal(cluster):
	c = cluster(users=("alice", "bob"))
	e, h = c.edges[0], c.homes[0][0]
	c.wait(lambda: all(" equal=no" not in n.ctl("cluster status") for n in c.nodes), "tables differ")
	e.stop()
	for f in e.dir.glob("eaves.db*"):
		f.unlink()
	mark = len(e.lines)
	e.start()
	e.wait_log("event=serving", since=mark)
	for n, other in ((e, "h1a"), (e, "h1b"), (h, "e1")):
		c.wait(lambda n=n, other=other: {"alive", "equal=no", "withheld=2"} <= set(rows(n)[other]),
			f"{n.name} does not say what {other} lacks")
	assert e.metric("users") == 0 and "equal=yes" in rows(h)["h1b"]
	e.ctl("user import", stdin="".join(f"{u} {u}\n" for u in ("alice", "bob")))
	for n, other in ((e, "h1a"), (e, "h1b"), (h, "e1")):
		c.wait(lambda n=n, other=other: "equal=yes" in rows(n)[other], "they are not equal again")
		assert not [w for w in rows(n)[other] if w.startswith("withheld")]


def test_a_node_tells_the_others_how_much_it_has_to_do(cluster):
	c = cluster(users=("alice", "bob"))
	alice, bob = registered(c, "alice", "bob")
	e = c.edges[0]
	invite = alice.invite("bob")
	incoming = bob.expect("INVITE")
	bob.reply(incoming, 180)
	alice.expect(180)
	one, other = serving(c, "bob")
	c.wait(lambda: "calls=1" in rows(e)[one.name] and "calls=1" in rows(other)["e1"], "nobody hears of the call")
	assert "calls=1" in rows(other)[one.name] and "calls=0" in rows(one)[other.name]
	bob.reply(incoming, 486)
	alice.ack(invite, alice.expect(486))
	c.wait(lambda: "calls=0" in rows(e)[one.name] and "calls=0" in rows(one)["e1"], "the call is not over")
	for _ in range(50):
		alice.request("MESSAGE", "sip:bob@example.org", body="work")
	c.wait(lambda: "cpu=0.0%" not in rows(e)[one.name] + rows(one)["e1"], "work takes nothing")


def test_a_node_that_the_others_could_not_use_is_told_before_it_starts(cluster):
	c = cluster(start=False)
	h = c.homes[0][0]

	def check(program):
		r = subprocess.run([str(BIN / program), "--check-config", "--config", str(h.config_file)],
			capture_output=True, text=True, timeout=4 * TIMEOUT)
		return r.returncode, r.stderr
	assert check("eaves-home")[0] == 0
	status, text = check("eaves-combined")
	assert status and "start eaves-home" in text
	next(n for n in h.config["cluster"]["nodes"] if n["name"] == h.name)["sip"] = f"{h.address}:1"
	h.write_config()
	status, text = check("eaves-home")
	assert status and f"sip: {h.address}:1 for {h.name}, and no listener" in text


def test_who_was_never_heard_of_has_been_silent_for_ever(cluster):
	c = cluster(start=False)
	e, (a, b) = c.edges[0], c.homes[0]
	e.start()
	a.start()
	c.wait_alive()
	assert "silent=never" in rows(e)["h1b"] and "silent=never" in rows(a)["h1b"]
	assert all(re.fullmatch(r"silent=\d+ms", w) for w in rows(e)["h1a"] if w.startswith("silent"))
	a.kill9()
	c.wait(lambda: "dead" in rows(e)["h1a"], "h1a is not missed")
	assert "silent=never" not in rows(e)["h1a"] and "equal=no" in rows(e)["h1a"]


# ---- calls with something to decide ----

def ringing_at(c, alice, devices):
	invite = alice.invite("bob")
	incoming = [b.expect("INVITE") for b in devices]
	for b, m in zip(devices, incoming):
		b.reply(m, 180)
		alice.expect(180)
	return invite, incoming


def test_three_devices_ring_on_at_the_other_home_and_stop_when_one_answers(cluster):
	c = cluster(users=("alice", "bob"))
	alice, *bobs = registered(c, "alice", "bob", "bob", "bob")
	invite, incoming = ringing_at(c, alice, bobs)
	kill_serving(c, "bob")
	answer = bobs[1].reply(incoming[1], 200)
	ok = alice.wait_for(200)
	for i in (0, 2):
		cancel = bobs[i].wait_for("CANCEL")
		assert "cause=200" in cancel.get("reason")
		bobs[i].reply(cancel, 200)
		bobs[i].reply(incoming[i], 487)
		bobs[i].wait_for("ACK")
	a = Dialog(alice, invite, ok, True)
	a.ack()
	bobs[1].wait_for("ACK")
	hang_up(a, Dialog(bobs[1], incoming[1], answer, False))


def test_three_devices_are_cancelled_by_the_other_home(cluster):
	c = cluster(users=("alice", "bob"))
	alice, *bobs = registered(c, "alice", "bob", "bob", "bob")
	invite, incoming = ringing_at(c, alice, bobs)
	kill_serving(c, "bob")
	alice.cancel(invite)
	alice.wait_for(200)
	for b, m in zip(bobs, incoming):
		b.reply(b.wait_for("CANCEL"), 200)
		b.reply(m, 487)
		b.wait_for("ACK")
	alice.ack(invite, alice.wait_for(487))


def test_the_best_answer_so_far_is_remembered_by_the_other_home(cluster):
	c = cluster(users=("alice", "bob"))
	alice, *bobs = registered(c, "alice", "bob", "bob")
	invite, incoming = ringing_at(c, alice, bobs)
	bobs[0].reply(incoming[0], 486)
	bobs[0].expect("ACK")
	kill_serving(c, "bob")
	bobs[1].reply(incoming[1], 480)
	assert alice.wait_for(lambda m: m.status and m.status >= 400).status == 486
	bobs[1].wait_for("ACK")


def test_a_serial_search_goes_on_at_the_other_home(cluster):
	"""By q: when the first device rings too long, the next one's turn comes, at the home that is
	left, with the whole INVITE."""
	c = cluster(users=("alice", "bob"), config={"timers": {"serial_group_s": 2}})
	alice, first, second = [c.phone(u) for u in ("alice", "bob", "bob")]
	alice.register()
	first.register(contact=first.contact + ";q=1.0")
	second.register(contact=second.contact + ";q=0.5")
	invite = alice.invite("bob")
	m1 = first.expect("INVITE")
	first.reply(m1, 180)
	alice.expect(180)
	kill_serving(c, "bob")
	m2 = second.expect("INVITE", timeout=8)
	assert m2.body == SDP
	cancel = first.wait_for("CANCEL")
	first.reply(cancel, 200)
	first.reply(m1, 487)
	answer = second.reply(m2, 200)
	ok = alice.wait_for(200)
	a = Dialog(alice, invite, ok, True)
	a.ack()
	second.wait_for("ACK")
	hang_up(a, Dialog(second, m2, answer, False))


# ---- the service address of a pair is at the member that does not serve the call ----

def called_straight(c, devices):
	"""alice behind the edge calls bob, whose devices are straight at the home: who serves the call,
	and the other member, where the service address is said to be."""
	home = c.homes[0][0]
	alice, *bobs = c.phone("alice"), *[home.phone("bob") for _ in range(devices)]
	for p in (alice, *bobs):
		p.register()
	c.wait(lambda: all(len(n.registrations()) == devices + 1 for n in c.homes[0]), "not all bound")
	invite = alice.invite("bob")
	incoming = [b.expect("INVITE") for b in bobs]
	one, other = serving(c, "bob")
	for m in incoming:
		m.source = other.where["udp"]
	return alice, bobs, invite, incoming, other


def untouched(other):
	return other.metric("responses_handed_total") and not other.log_count("event=(rebuilt|adopted)")


def test_an_answer_to_the_members_address_reaches_the_call_at_the_other_one(cluster):
	c = cluster(users=("alice", "bob"), one_address=True)
	alice, bobs, invite, incoming, other = called_straight(c, 3)
	for b, m in zip(bobs, incoming):
		b.reply(m, 180)
		alice.expect(180)
	answer = bobs[1].reply(incoming[1], 200)
	ok = alice.expect(200)
	for i in (0, 2):
		bobs[i].reply(bobs[i].expect("CANCEL"), 200)
		bobs[i].reply(incoming[i], 487)
		bobs[i].expect("ACK")
	a = Dialog(alice, invite, ok, True)
	a.ack()
	bobs[1].expect("ACK")
	assert untouched(other)
	hang_up(a, Dialog(bobs[1], incoming[1], answer, False))


def test_a_call_that_rings_by_way_of_the_other_member_is_cancelled(cluster):
	c = cluster(users=("alice", "bob"), one_address=True)
	alice, (bob,), invite, (incoming,), other = called_straight(c, 1)
	bob.reply(incoming, 180)
	alice.expect(180)
	alice.cancel(invite)
	alice.expect(200)
	cancel = bob.expect("CANCEL")
	cancel.source = other.where["udp"]
	bob.reply(cancel, 200)
	bob.reply(incoming, 487)
	bob.expect("ACK")
	alice.ack(invite, alice.expect(487))
	assert untouched(other)


def test_an_answer_without_a_length_is_handed_over_with_one(cluster):
	"""By UDP it may come so; the link between the two is a stream, and would end with it."""
	c = cluster(users=("alice", "bob"), one_address=True)
	alice, (bob,), invite, (incoming,), other = called_straight(c, 1)
	for status in (180, 486):
		data = reply_to(incoming, status, "Without A Length", "t", [("Contact", bob.contact)])
		bob.send(data.replace(b"Content-Length: 0\r\n", b""), incoming.conn, incoming.source)
		answer = alice.expect(status)
	alice.ack(invite, answer)
	assert untouched(other) and not any(n.log_count("event=(link-failed|node-dead)") for n in c.nodes)


def test_what_a_phone_writes_in_a_nodes_place_is_not_handed_over(cluster):
	c = cluster(users=("alice", "bob"), one_address=True)
	alice, (bob,), invite, (incoming,), other = called_straight(c, 1)
	for status in (180, 486):
		bob.reply(incoming, status, headers=[("Eaves-Link", "m=0015;t=udp;s=192.0.2.1:5060;u=alice"),
			("Subject", "kept"), ("eaves-link", "m=0001")])
		answer = alice.expect(status)
		assert answer.all("subject") == ["kept"] and not answer.all("eaves-link"), answer.raw
	alice.ack(invite, answer)
	assert untouched(other)


def test_a_message_to_several_devices_is_answered_by_way_of_the_other_member(cluster):
	c = cluster(users=("alice", "bob"), one_address=True)
	alice, bobs, invite, incoming, other = called_straight(c, 2)
	for b, m in zip(bobs, incoming):
		b.reply(m, 603)
		b.expect("ACK")
	alice.ack(invite, alice.expect(603))
	m = alice.request("MESSAGE", "sip:bob@example.org", body="hello")
	alice.again(m, alice.expect(407))
	for b in bobs:
		m = b.expect("MESSAGE")
		m.source = other.where["udp"]
		b.reply(m, 200)
	alice.expect(200)
	assert untouched(other)


def test_an_answer_that_an_edge_gives_to_the_wrong_home_reaches_the_right_one(cluster):
	"""Which of two has sent a request stands in the edge's Via, and not under its MAC.  Of a request
	to one of several devices the wrong one must not think that it was for all, and cut short."""
	c = cluster(users=("alice", "bob"))
	alice, bob, other = (c.phone(u, transport="tcp") for u in ("alice", "bob", "bob"))
	alice.register()
	other.register()
	r = bob.register(contact=bob.contact + ';reg-id=1;+sip.instance="<urn:uuid:b0b>"',
		headers=[("Supported", "outbound, path, gruu")])
	gruu = re.search(r'pub-gruu="([^"]+)"', r.raw.decode()).group(1)
	m = alice.request("MESSAGE", gruu, body="hello")
	m = alice.again(m, alice.expect(407))
	got = bob.expect("MESSAGE")
	sender, wrong = sorted(c.homes[0], key=lambda h: -h.metric("forks_total"))
	names = [f";m={c.nodes.index(h) + 1}".encode() for h in (sender, wrong)]
	head, top, rest = got.raw.partition(names[0])
	assert top and b"Via" not in head.partition(b"Via")[2]
	answered = Message(head + names[1] + rest)
	answered.conn, answered.source = got.conn, got.source
	bob.reply(answered, 200)
	assert alice.expect(200).cseq == m.cseq
	assert wrong.metric("responses_handed_total") == 1
	# The home's own Via says which one it is, for edges that hand on what came from it.
	assert f";n={c.nodes.index(sender) + 1}" in got.list("via")[1]


# ---- nobody's ----

def test_an_ack_of_no_dialog_is_let_out_by_no_home(cluster):
	"""Nobody can be asked for credentials for one (RFC 3261 22.1): it goes along its dialog's route,
	or to us."""
	c = cluster(users=("alice",))
	home, edge = c.homes[0][0], c.edges[0]
	victim, mallory = edge.phone("victim"), home.phone("mallory")
	mallory.request("ACK", f"sip:x@{victim.local}", to="<sip:x@example.org>;tag=x", sdp=False)
	mallory.request("ACK", "sip:alice@example.org", [("Route", f"<sip:{victim.local};lr>")],
		to="<sip:alice@example.org>;tag=x", sdp=False)
	mallory.request("ACK", "sip:alice@elsewhere.example", [("Route", f"<sip:{victim.local};lr>")],
		to="<sip:alice@example.org>;tag=x", sdp=False)
	edge.wait_metric("edge_relay_denied_total", 3)
	victim.expect_nothing(0.1)


# ---- a CANCEL that matches nothing where it arrives ----

def test_a_cancel_of_no_call_reaches_nobody(cluster):
	"""Anybody can write one: the two homes agree that it is of no call, and that is all."""
	c = cluster(users=("bob",))
	bobs = registered(c, "bob", "bob", "bob")
	stranger = c.phone("mallory")
	stranger.request("CANCEL", "sip:bob@example.org")
	stranger.expect(481)
	elder, other = sorted(c.homes[0], key=lambda n: -n.metric("cancels_handed_total"))
	assert elder.metric("cancels_handed_total") == 1 and other.metric("cancels_unknown_total") == 1
	stranger.server = elder.where["udp"]
	stranger.request("CANCEL", "sip:bob@example.org")
	stranger.expect(481)
	assert elder.metric("cancels_unknown_total") == 1
	for b in bobs:
		b.expect_nothing()
	for n in c.homes[0]:
		assert n.metric("fork_records_total") == 0 and n.metric("proxy_contexts") == 0
		assert not n.log_count("event=rebuilt")


def test_a_cancel_reaches_its_call_at_the_member_that_an_edge_went_to_meanwhile(tapped):
	"""For a moment it could not reach the one that it gives calls to, and nobody else noticed."""
	c, taps = tapped("bob")
	bob, = registered(c, "bob")
	stranger = c.phone("mallory")
	stranger.request("CANCEL", "sip:bob@example.org")
	stranger.expect(481)
	elder, other = sorted(c.homes[0], key=lambda n: -n.metric("cancels_handed_total"))
	frm = "<sip:ann@example.net>;tag=1"
	via = "SIP/2.0/TCP edge;branch=z9hG4bKmeanwhile, " + stranger.via()
	told = [("Eaves-Link", "m=0011;t=udp;s=192.0.2.1:5060;u=")]
	before = taps[other.name].phone("edge")
	invite = before.request("INVITE", "sip:bob@example.org", told, via=via, frm=frm)
	incoming = bob.expect("INVITE")
	bob.reply(incoming, 180)
	now = taps[elder.name].phone("edge")
	now.request("CANCEL", "sip:bob@example.org", told, via=via, frm=frm, call_id=invite.call_id,
		cseq=invite.cseq[0])
	bob.reply(bob.expect("CANCEL"), 200)
	bob.reply(incoming, 487)
	bob.expect("ACK")
	assert elder.metric("cancels_handed_total") == 2 and other.metric("cancels_unknown_total") == 1
	assert not any(n.log_count("event=(rebuilt|adopted)") for n in c.homes[0])


def test_phones_behind_an_edge_that_stays_in_no_dialog_are_reached_through_it(cluster):
	"""Path has nothing to do with Record-Route."""
	c = cluster(users=("alice", "bob"), config={"proxy": {"record_route": False}})
	alice = c.phone("alice", transport="tcp")
	alice.register()
	bob, = registered(c, "bob")
	bob.again(bob.request("INVITE", "sip:alice@example.org"), bob.expect(407))
	m = alice.expect("INVITE")
	assert not m.all("record-route")
	alice.reply(m, 486)
	bob.expect(486)
	alice.expect("ACK")


# ---- with little left ----

def test_a_home_starts_and_serves_without_any_edge(cluster):
	"""It has the directory on its disk; phones may register at the home itself."""
	c = cluster(members=1, users=("alice", "bob"), store="sqlite")
	home, edge = c.homes[0][0], c.edges[0]
	edge.stop()
	home.restart()
	assert home.metric("users") == 2
	alice, bob = home.phone("alice"), home.phone("bob", transport="tcp")
	alice.register()
	bob.register()
	hang_up(*talk(alice, bob))
	hang_up(*talk(bob, alice))


def test_phones_at_the_home_and_behind_the_edge_call_each_other(cluster):
	c = cluster(users=("alice", "bob"))
	alice, bob = c.homes[0][0].phone("alice", transport="tcp"), c.phone("bob")
	alice.register()
	bob.register()
	hang_up(*talk(alice, bob))
	a, b = talk(bob, alice)
	hang_up(b, a)


def test_a_request_in_a_dialog_outlives_the_death_of_the_next_proxy(cluster):
	"""The port of a dead edge is unreachable until another machine has its address: no failure to one who
	repeats himself."""
	c = cluster(users=("alice", "bob"))
	alice, bob = c.homes[0][0].phone("alice"), c.phone("bob")
	alice.register()
	bob.register(contact=bob.contact.replace(">", ";ob>"))
	a, b = talk(alice, bob)
	edge = c.edges[0]
	edge.kill9()
	info = a.request("INFO")
	alice.expect_nothing()
	edge.start()
	c.wait_alive()
	alice.send(info.raw)
	bob.reply(bob.expect("INFO"), 200)
	alice.expect(200)
	hang_up(a, b)


def test_a_phone_that_hung_up_has_a_flow_that_failed(cluster):
	"""Who says something in its dialog hears so (RFC 5626 5.3), at either edge."""
	c = cluster(edges=2, users=("alice", "bob"))
	alice, bob = c.phone("alice"), phone(c, "bob", "tcp", Outbound)
	alice.register()
	bob.sign_up()
	a, b = talk(alice, bob)
	edge = c.edges[0]
	before = edge.metric("connections")
	bob.stream.sock.close()
	bob.streams.remove(bob.stream)
	edge.wait_metric("connections", before - 1)
	for via in (c.edges[1], edge):
		alice.server = via.where["udp"]
		a.request("INFO")
		assert alice.expect(430, timeout=3 * TIMEOUT).reason == "Flow Failed"
	bob.connect()
	bob.sign_up()
	b.request("INFO")
	alice.reply(alice.expect("INFO"), 200)
	bob.expect(200)


def test_the_edge_delivers_alone_where_it_is_told_to(cluster):
	c = cluster(homes=2, config={"edge": {"deliver_alone": True}})
	e = c.edges[0]
	e.ctl("user add", "alice", "h1", stdin="secret-of-alice\n")
	e.ctl("user add", "bob", "h2", stdin="secret-of-bob\n")
	c.wait_users(2)
	alice, bob = registered(c, "alice", "bob")
	c.wait(lambda: e.metric("bindings") == 2, "the edge does not know both")
	for n in c.homes[1]:
		n.kill9()
		e.wait_log("event=node-dead node=" + n.name)
	hang_up(*talk(alice, bob))
	bob.request("MESSAGE", "sip:alice@example.org", body="who am I?")
	bob.expect(503)
	for n in c.homes[0]:
		n.kill9()
	e.wait_log("event=stranded")
	assert e.metric("cluster_stranded") == 1 and health(e) == 200


def test_who_is_not_behind_an_edge_is_not_rung_by_one_alone(cluster):
	"""Straight at his home, by UDP too: no Path leads to him."""
	c = cluster(homes=2, config={"edge": {"deliver_alone": True}})
	e = c.edges[0]
	e.ctl("user add", "alice", "h1", stdin="secret-of-alice\n")
	e.ctl("user add", "bob", "h2", stdin="secret-of-bob\n")
	c.wait_users(2)
	alice, = registered(c, "alice")
	bob = c.homes[1][0].phone("bob")
	bob.register()
	c.wait(lambda: e.metric("bindings") == 2, "the edge does not know both")
	for n in c.homes[1]:
		n.kill9()
		e.wait_log("event=node-dead node=" + n.name)
	alice.invite("bob")
	alice.expect(503)
	assert bob.log[-1].status == 200 and e.log_count("event=delivered-alone") == 0


def test_a_home_that_joins_refuses_nobody_for_what_it_has_not_heard_of(cluster):
	"""A phone that comes straight to it, by DNS SRV, would take its password for wrong."""
	c = cluster(start=False, config={"cluster": {"dead_ms": 60000}})
	home, *others = (*c.homes[0], *c.edges)
	home.start()
	alice = home.phone("alice", transport="tcp")
	for _ in range(2):
		assert alice.register(503).get("retry-after") == "2"
	assert home.metric("auth_failures_total") == 0 and not home.log_count("event=auth-failed")
	for n in others:
		n.start()
	c.edges[0].add_users(["alice"])
	c.wait_users(1)
	home.wait_log("event=serving", timeout=4 * TIMEOUT)
	alice.register()
