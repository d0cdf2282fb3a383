"""Phones on streams that are registered straight at a pair of homes: whichever member has their
connection, and while they are on their way to the other one."""
import re
import signal
import socket

import pytest

from device import Device
from eaves import merged
from phone import Dialog, hang_up, pick_up, ring, talk


def pair(cluster, **kw):
	c = cluster(users=("alice", "bob"), one_address=True, **kw)
	a, b = c.homes[0]
	return c, a, b


def all_bound(c, n):
	c.wait(lambda: all(len(x.registrations()) == n for x in c.homes[0]), "not all bound")


def test_a_phone_at_one_member_is_called_by_way_of_the_other(cluster):
	c, a, b = pair(cluster)
	alice, bob = a.phone("alice"), Device("bob", b).phone
	alice.register()
	all_bound(c, 2)
	one, other = talk(alice, bob)
	assert a.log_count("event=forked .*user=bob ") and not b.log_count("event=forked")
	for x, y in ((one, bob), (other, alice)):
		x.request("INFO")
		y.reply(y.expect("INFO"), 200)
		x.phone.expect(200)
	hang_up(one, other)
	one, other = talk(bob, alice)
	hang_up(one, other)


def test_a_call_by_way_of_the_other_member_is_cancelled_and_refused(cluster):
	c, a, b = pair(cluster)
	alice, bob = a.phone("alice"), Device("bob", b).phone
	alice.register()
	all_bound(c, 2)
	invite, incoming = ring(alice, bob)
	alice.cancel(invite)
	alice.expect(200)
	cancel = bob.expect("CANCEL")
	assert cancel.branch == incoming.branch
	bob.reply(cancel, 200)
	bob.reply(incoming, 487)
	bob.expect("ACK")
	alice.ack(invite, alice.expect(487))
	invite = alice.invite("bob")
	bob.reply(bob.expect("INVITE"), 486)
	bob.expect("ACK")
	alice.ack(invite, alice.expect(486))
	m = alice.request("MESSAGE", "sip:bob@example.org", body="hello")
	alice.again(m, alice.expect(407))
	bob.reply(bob.expect("MESSAGE"), 200)
	alice.expect(200)


@pytest.mark.parametrize("what", ["INVITE", "MESSAGE", "INFO"])
def test_what_is_for_a_phone_of_a_dead_member_waits_until_it_is_back(cluster, what):
	c, a, b = pair(cluster)
	alice, device = b.phone("alice"), Device("bob", a)
	bob = device.phone
	alice.register()
	all_bound(c, 2)
	one, _ = talk(alice, bob)
	a.kill9()
	b.wait_log("event=node-dead node=h1a")
	if what == "INVITE":
		invite = alice.invite("bob")
	elif what == "MESSAGE":
		m = alice.request("MESSAGE", "sip:bob@example.org", body="hello")
		alice.again(m, alice.expect(407))
	else:
		one.request("INFO")
	b.wait_metric("deferred", 1)
	device.come_back(b)
	incoming = bob.wait_for(what)
	bob.reply(incoming, 200)
	alice.expect(200)
	if what == "INVITE":
		Dialog(alice, invite, alice.log[-1], True).ack()
		bob.wait_for("ACK")


def test_a_phone_that_does_not_come_back_is_given_up(cluster):
	"""While the process of its connection is only silent it may still be there; when that is known to
	have ended, its binding is taken away."""
	c, a, b = pair(cluster)
	alice = b.phone("alice")
	Device("bob", a)
	alice.register()
	all_bound(c, 2)
	a.kill9()
	b.wait_log("event=node-dead node=h1a")
	for left in (1, 0):
		invite = alice.invite("bob")
		alice.ack(invite, alice.expect(480, timeout=15))
		assert len(b.registrations("bob")) == left
		if left:
			a.restart()
			c.wait_alive()


@pytest.mark.parametrize("end", ["answer", "cancel"])
@pytest.mark.parametrize("devices", [1, 3])
def test_a_call_between_phones_of_a_dead_member_goes_on_at_the_other(cluster, devices, end):
	c, a, b = pair(cluster)
	caller = Device("alice", a)
	callees = [Device("bob", a, i) for i in range(devices)]
	alice = caller.phone
	all_bound(c, devices + 1)
	invite = alice.invite("bob")
	incoming = [d.phone.expect("INVITE") for d in callees]
	for d, m in zip(callees, incoming):
		d.phone.reply(m, 180)
		alice.expect(180)
	a.kill9()
	for d in (caller, *callees):
		d.come_back(b)
		d.phone.wait_for(200)
	for d, m in zip(callees, incoming):
		m.conn = d.phone.stream  # where it answers from now on
	phones = [d.phone for d in callees]
	if end == "answer":
		dialogs = pick_up(alice, phones[-1], invite, incoming[-1])
		quiet = phones[:-1]
	else:
		alice.cancel(invite)
		alice.expect(200)
		quiet = phones
	for p, m in zip(quiet, incoming):
		cancel = p.wait_for("CANCEL")
		assert cancel.branch == m.branch
		p.reply(cancel, 200)
		p.reply(m, 487)
		p.wait_for("ACK")
	if end == "answer":
		hang_up(*dialogs)
	else:
		alice.ack(invite, alice.expect(487))


def test_an_answer_waits_for_a_caller_who_is_on_his_way(cluster):
	c, a, b = pair(cluster)
	caller, bob = Device("alice", a), b.phone("bob")
	alice = caller.phone
	bob.register()
	all_bound(c, 2)
	invite, incoming = ring(alice, bob)
	a.kill9()
	b.wait_log("event=node-dead node=h1a")
	incoming.source = b.where["udp"]
	answer = bob.reply(incoming, 200)
	b.wait_metric("deferred", 1)
	caller.come_back(b)
	ok = alice.wait_for(200)
	while ok.cseq[1] != "INVITE":
		ok = alice.wait_for(200)
	dialog = Dialog(alice, invite, ok, True)
	dialog.ack()
	bob.expect("ACK")
	hang_up(Dialog(bob, incoming, answer, False), dialog)


@pytest.mark.parametrize("what", ["180", "CANCEL"])
def test_a_caller_who_moves_to_the_other_member_leaves_nothing_at_the_first(cluster, what):
	c, a, b = pair(cluster)
	caller, bob = Device("alice", a), Device("bob", b).phone
	alice = caller.phone
	all_bound(c, 2)
	invite, incoming = ring(alice, bob)
	assert a.metric("proxy_unanswered") == 1
	alice.stream.sock.shutdown(socket.SHUT_RDWR)
	caller.come_back(b)
	alice.wait_for(200)
	if what == "180":
		bob.reply(incoming, 183)
		alice.wait_for(183)
	else:
		alice.cancel(invite)
	a.wait_metric("proxy_unanswered", 0)
	if what == "180":
		alice.cancel(invite)
	alice.expect(200)
	bob.reply(bob.expect("CANCEL"), 200)
	bob.reply(incoming, 487)
	bob.expect("ACK")
	alice.ack(invite, alice.expect(487))
	b.wait_metric("proxy_unanswered", 0)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_dialog_between_phones_at_different_homes_goes_by_links(cluster, transport):
	"""Its Route names the other home's service address; what is on the way there passes over no
	connection but those between nodes."""
	c = cluster(homes=2, members=1)
	homes = [pair[0] for pair in c.homes]
	for user, home in (("alice", "h1"), ("bob", "h2")):
		c.edges[0].ctl("user add", user, home, stdin=f"secret-of-{user}\n")
	c.wait_users(2)
	alice, bob = homes[0].phone("alice", transport=transport), homes[1].phone("bob", transport=transport)
	for p in (alice, bob):
		p.register()
	one, other = talk(alice, bob)
	assert any("n=h1" in r for r in one.routes) and any("n=h2" in r for r in one.routes)
	for x, y in ((one, bob), (other, alice)):
		x.request("INFO")
		m = y.expect("INFO")
		assert [v for v in m.list("via") if "SIP/2.0/TCP h" in v or "SIP/2.0/TCP edge" in v]
		y.reply(m, 200)
		x.phone.expect(200)
	hang_up(one, other)


def test_a_user_of_another_pair_is_not_registered_here(cluster):
	"""No edge would take what is bound there: a yes would be one to nothing."""
	c = cluster(homes=2, members=1)
	c.edges[0].ctl("user add", "alice", "h1", stdin="secret-of-alice\n")
	c.wait_users(1)
	alice = c.homes[1][0].phone("alice")
	assert alice.register(want=503).get("retry-after") == "60"
	c.homes[1][0].wait_log("event=register-elsewhere user=alice")
	assert c.homes[1][0].metric("bindings") == 0
	c.homes[0][0].phone("alice").register()


def test_who_waits_for_an_edge_is_the_same_when_it_is_back(cluster):
	c = cluster(homes=2)
	home, *others = [*c.homes[0], c.edges[0]]
	for user, pair in (("alice", "h1"), ("bob", "h2")):
		c.edges[0].ctl("user add", user, pair, stdin=f"secret-of-{user}\n")
	c.wait_users(2)
	alice, bob = home.phone("alice", transport="tcp"), c.phone("bob")
	for p in (alice, bob):
		p.register()
	m = alice.request("MESSAGE", "sip:bob@example.org", body="hello")
	challenge = alice.expect(407)
	for n in others:
		n.process.send_signal(signal.SIGSTOP)
	try:
		home.wait_log("event=stranded")
		alice.again(m, challenge)
		home.wait_metric("deferred", 1)
	finally:
		for n in others:
			n.process.send_signal(signal.SIGCONT)
	m = bob.expect("MESSAGE")
	assert "sip:alice@example.org" in m.get("p-asserted-identity")
	bob.reply(m, 200)
	alice.expect(200)


# ---- tokens that are not the sender's to use ----

def forged(c, phone, route, **kw):
	"""A request of a stranger's along a Route that he has copied and changed."""
	m = phone.request("MESSAGE", "sip:bob@example.org", [("Route", route)], body="trust me", **kw)
	return phone.next()


def test_a_token_copied_from_a_dialog_reaches_nobody_without_a_proof(cluster):
	"""Who has called bob knows the token of his connection; it opens no way past the challenge."""
	c, a, b = pair(cluster)
	alice, bob = a.phone("alice"), Device("bob", a).phone
	alice.register()
	all_bound(c, 2)
	one, other = talk(alice, bob)
	hang_up(one, other)
	token, home = next(r for r in one.routes if "@" in r).split("sip:")[1].split(";")[0].split("@")
	mallory = c.edges[0].phone("mallory")
	edge = "%s:%d" % c.edges[0].where["udp"]
	for frm in ("<sip:bob@example.org>;tag=1", "<sip:alice@example.org>;tag=2"):
		for host in (home, edge):
			for tail in ("", ";ev=0", ";ev=0;n=h1", ";ev=0;n=edge"):
				r = forged(c, mallory, f"<sip:{token}@{host};lr{tail}>", frm=frm)
				assert r is None or r.status in (403, 407, 480, 482, 502, 503), r.start
	bob.expect_nothing()


def test_a_path_with_a_token_is_taken_from_edges_alone(cluster):
	"""Else who has seen the token in a dialog would have what is for that phone once its connection
	is gone: the edges find phones by what stands in their Paths."""
	c = cluster(edges=2, users=("alice", "bob", "mallory"))
	home = c.homes[0][0]
	alice, bob = home.phone("alice"), c.phone("bob", transport="tcp")
	for p in (alice, bob):
		p.register()
	where = carol_at(alice, bob)
	mallory = home.phone("mallory", transport="tcp")
	path = [("Supported", "path"), ("Path", f"<sip:{where};lr;ob;m=e1>")]
	assert mallory.register(403, headers=path).reason == "Path Of Another"
	# Nor by another spelling: what comes for mallory would go to that connection.
	for text in (f"<SIP:{where};lr;ob;m=e1>", f'"edge" <sip:{where};lr;ob;m=e1>'):
		mallory.register(403, headers=[path[0], ("Path", text)])
	home.wait_log("event=register-foreign user=mallory")
	# The edge would hand it in, as if the Path were its own.
	by_edge = ("Route", f"<sip:{where.split('@')[1]};lr;n=edge>")
	m = mallory.request("REGISTER", "sip:example.org", [*path, by_edge], to=f"<{mallory.aor}>")
	mallory.again(m, mallory.expect(407))
	mallory.expect(403)
	assert sum(e.metric("edge_relay_denied_total") for e in c.edges) == 1
	assert not home.registrations("mallory")
	# So it would by the Routes of a dialog, with what is the edge's alone to write left as it is.
	behind = c.phone("mallory", transport="tcp")
	one, other = talk(behind, alice)
	assert [";n=edge" in r for r in one.routes] == [True, False]
	behind.request("REGISTER", "sip:example.org", [*path, *(("Route", r) for r in one.routes)],
		to=f"<{behind.aor}>;tag=1", frm=one.local, call_id=one.call_id)
	behind.expect(403)
	hang_up(one, other)
	assert not home.registrations("mallory")
	# Another proxy's is none of ours.
	for user in ("somebody", "5f3ab1c4d5e6f708192a3b4c5d6e7f80"):
		mallory.register(headers=[("Supported", "path"), ("Path", f"<sip:{user}@proxy.example;lr>")])


def test_a_register_of_a_home_is_handed_to_no_other_home(cluster):
	"""The token of a home stands in what the edge sends; a host that is the edge's and that home's, and
	not the sender's home's (of a machine with two nodes), in a Route would lead there by way of the edge."""
	c = cluster(start=False)
	for n in (c.edges[0], c.homes[0][0]):
		n.write_config(merged(n.config, {"aliases": n.config["aliases"] + ["both.example.net"]}))
	c.start()
	c.edges[0].add_users(("alice", "bob", "mallory"))
	c.wait_users(3)
	alice, bob = c.homes[0][0].phone("alice"), c.phone("bob", transport="tcp")
	ear, mallory = c.phone("mallory"), c.homes[0][1].phone("mallory", transport="tcp")
	for p in (alice, bob, ear):
		p.register()
	where = carol_at(alice, bob)
	_, incoming = ring(alice, ear)
	home = re.search(r";ft=([\w-]+)", incoming.get("via")).group(1)
	path = [("Supported", "path"), ("Path", f"<sip:{where};lr;ob;m=e1>"),
		("Route", f"<sip:{home}@both.example.net;lr>")]
	m = mallory.request("REGISTER", "sip:example.org", path, to=f"<{mallory.aor}>")
	mallory.again(m, mallory.expect(407))
	mallory.expect(403)
	assert len(c.homes[0][0].registrations("mallory")) == 1


def test_a_next_hop_is_no_link(cluster):
	"""What a user sends to another domain goes where he likes, but not to nodes: it would be there what
	the edge sends, as if the Path were its own."""
	c = cluster(users=("alice", "bob", "mallory"), start=False)
	home, other = c.homes[0]
	other.config["listeners"].insert(0, {"transport": "udp", "address": other.address, "port": other.link[1]})
	other.write_config(other.config)
	c.start()
	c.edges[0].add_users(("alice", "bob", "mallory"))
	c.wait_users(3)
	alice, bob = home.phone("alice"), c.phone("bob", transport="tcp")
	for p in (alice, bob):
		p.register()
	mallory = home.phone("mallory", transport="tcp")
	path = [("Supported", "path"), ("Path", f"<sip:{carol_at(alice, bob)};lr;ob;m=e1>")]
	m = mallory.request("REGISTER", "sip:%s:%d;transport=tcp" % other.link, path, to=f"<{mallory.aor}>")
	mallory.again(m, mallory.expect(407))
	mallory.expect(500)
	assert not other.registrations("mallory") and not other.log_count("event=link-refused")


def test_a_second_route_is_not_followed_to_a_connection_of_the_edge(cluster):
	"""In a dialog of his own somebody names another phone's connection, as if the edge had."""
	c = cluster(users=("alice", "bob", "carol"))
	home = c.homes[0][0]
	alice, bob = home.phone("alice"), home.phone("bob", transport="tcp")
	carol = c.phone("carol", transport="tcp")
	for p in (alice, bob, carol):
		p.register()
	where = carol_at(alice, carol)
	one, other = talk(alice, bob)
	one.routes = one.routes[:1] + [f"<sip:{where};lr;ev=0;n=edge>"]
	one.request("INFO")
	assert alice.next().status == 403
	carol.expect_nothing()


def carol_at(caller, callee):
	"""The edge's token of the callee's connection, and the edge, out of a dialog with her."""
	one, other = talk(caller, callee)
	hang_up(one, other)
	return next(r for r in one.routes if "@" in r.split(";")[0]).split("sip:")[1].split(";")[0]


@pytest.mark.parametrize("at", [0, 1])
def test_a_request_in_a_dialog_bears_one_via_of_each_pair(cluster, at):
	"""Whichever member it came by: when that one dies, it comes again by the other, and the phone
	is to see the same transaction."""
	c = cluster(edges=2, users=("alice", "bob"), one_address=True)
	alice, bob = Device("alice", c.edges[at]).phone, Device("bob", c.homes[0][at]).phone
	all_bound(c, 2)
	c.wait(lambda: all(n.metric("bindings") == 2 for n in c.edges), "the edges do not know all")
	one, other = talk(alice, bob)
	for x, y in ((one, bob), (other, alice)):
		x.request("INFO")
		info = y.expect("INFO")
		assert len(info.all("Via")) == 3, info
		y.reply(info, 200)
		x.phone.expect(200)
	hang_up(one, other)


@pytest.mark.parametrize("who", ["behind the edge", "straight at home"])
def test_a_phone_may_speak_before_it_has_registered_its_new_connection(cluster, who):
	"""Who has its news is another node, which says that the phone is elsewhere: by then its own
	Record-Route names a connection that this node does not know for the sender's."""
	c = cluster(edges=2, users=("alice", "bob"), one_address=True)
	alice, bob = Device("alice", c.edges[0]).phone, Device("bob", c.homes[0][0]).phone
	all_bound(c, 2)
	c.wait(lambda: all(n.metric("bindings") == 2 for n in c.edges), "the edges do not know all")
	mine, other = talk(alice, bob)
	other_node = c.edges[1]
	if who == "straight at home":
		mine, other, other_node = other, mine, c.homes[0][1]
	mine.phone.server = other_node.where["tcp"]
	mine.phone.connect()
	mine.request("INFO")
	other.phone.reply(other.phone.expect("INFO"), 200)
	mine.phone.expect(200)
	hang_up(mine, other)


def test_what_is_for_a_phone_at_a_home_waits_at_an_edge_that_may_be_cut_off(cluster):
	"""It may lose the service address first, and with it the phone, which sends it again."""
	c = cluster(edges=2, users=("alice", "bob"), one_address=True)
	alice, bob = Device("alice", c.edges[0]).phone, c.homes[0][0].phone("bob")
	bob.register()
	all_bound(c, 2)
	one, _ = talk(alice, bob)
	for n in c.homes[0]:
		n.kill9()
	c.edges[0].wait_log("event=stranded")
	one.request("BYE")
	c.edges[0].wait_metric("deferred", 1)
	alice.expect_nothing()
