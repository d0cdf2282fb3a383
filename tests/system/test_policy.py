"""Who may do what: what a dialog opens and what it does not, what is shown to whom, and what an
operator allows a user (RFC 3261 16.4, 22.3; RFC 3325)."""
import resource

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


def test_what_a_phone_asserts_in_its_answer_is_not_believed(start):
	"""RFC 3325 5: of a response as of a request."""
	s = start(users=["alice", "bob"])
	alice, bob, gateway = s.phone("alice"), s.phone("bob"), s.phone("gateway")
	s.config["edge"] = {"routes": [{"domain": "pstn.example", "uri": f"sip:{gateway.local}"}]}
	s.write_config()
	s.ctl("reload")
	bob.register()
	for uri, who, shown in (("sip:bob@example.org", bob, 0), ("sip:1@pstn.example", gateway, 1)):
		alice.invite(uri)
		m = who.expect("INVITE")
		for status in (180, 200):
			who.reply(m, status, [("P-Asserted-Identity", "<sip:boss@example.org>")])
			r = alice.expect(status)
			assert len(r.all("p-asserted-identity")) == shown
			assert r.get("contact") and len(r.list("via")) == 1


def test_a_strangers_word_of_who_he_is_is_taken_out(server):
	"""The fields that phones show instead of From."""
	bob, = registered(server, "bob")
	stranger = server.phone("carl", domain="elsewhere.example")
	fields = ("P-Asserted-Identity", "P-Preferred-Identity", "Remote-Party-ID")
	stranger.request("MESSAGE", "sip:bob@example.org",
		[(f, "<sip:boss@example.org>") for f in fields], body="x")
	m = bob.expect("MESSAGE")
	assert [f for f in fields if m.all(f)] == []
	bob.reply(m, 200)
	stranger.expect(200)


def test_no_spelling_of_our_domain_passes_for_another(server):
	bob, = registered(server, "bob")
	stranger = server.phone("boss")
	for host in ("EXAMPLE.org", "example.org.", "example.org:9",
			f"{server.address}:{server.port}"):
		stranger.request("MESSAGE", "sip:bob@example.org", frm=f"<sip:boss@{host}>;tag=1", body="x")
		stranger.expect(407)
	bob.expect_nothing(0.1)


def test_a_user_may_hide_who_he_is(server):
	"""RFC 3323 4.1.1.3: From says nothing, his credentials do."""
	alice, bob = registered(server, "alice", "bob")
	away = server.phone("away")
	hidden = dict(frm='"Anonymous" <sip:anonymous@anonymous.invalid>;tag=1', body="x")
	for privacy, shown in (([], ["<sip:alice@example.org>"]), ([("Privacy", "id")], [])):
		m = alice.request("MESSAGE", f"sip:x@{away.local}", privacy, **hidden)
		alice.again(m, alice.expect(407))
		got = away.expect("MESSAGE")
		assert got.all("p-asserted-identity") == shown
		away.reply(got, 200)
		alice.expect(200)
	stranger = server.phone("carl", password="wrong")
	m = stranger.request("MESSAGE", f"sip:x@{away.local}", **hidden)
	stranger.again(m, stranger.expect(407))
	stranger.expect(407)
	away.expect_nothing(0.1)


def test_a_password_in_a_uri_is_not_logged(server):
	alice, = registered(server, "alice")
	away = server.phone("away")
	stranger = server.phone("carl", domain="elsewhere.example")
	alice.answered(alice.request("MESSAGE", "sip:nobody:hunter2@example.org", body="x"), 404)
	stranger.request("MESSAGE", "sip:x:hunter2@other.example;a=b", body="x")
	stranger.expect(403)
	m = alice.request("MESSAGE", f"sip:x:hunter2@{away.local}", body="x")
	alice.again(m, alice.expect(407))
	away.reply(away.expect("MESSAGE"), 200)
	alice.expect(200)
	server.wait_log(r'uri="sip:x@other.example;a=b"')
	server.wait_log(f"uri=sip:x@{away.local}")
	assert server.log_count("hunter2") == 0


def test_an_operators_terminal_gets_no_commands_from_a_phone(server):
	alice = server.phone("alice")
	alice.register(headers=[("User-Agent", 'x\t"y" z')])
	line, = server.registrations("alice")
	assert 'agent="x??y? z"' in line


def test_a_sips_uri_is_not_answered_in_the_clear(server):
	"""RFC 3261 16.5, RFC 5630 5.4."""
	alice, bob = registered(server, "alice", "bob")
	_, r = alice.answered(alice.request("MESSAGE", "sips:bob@example.org", body="x"), 480)
	assert r.get("warning") == '380 example.org "SIPS Not Allowed"'
	bob.expect_nothing(0.1)


def test_options_that_require_what_we_do_not_know_are_420(start):
	"""RFC 3261 8.2.2.3; and what is switched off is not offered (11.2)."""
	s = start({"registrar": {"gruu": False}})
	p = s.phone("anybody", domain="elsewhere.example")
	p.request("OPTIONS", "sip:example.org", [("Require", "100rel, foo")])
	assert p.expect(420).list("unsupported") == ["100rel", "foo"]
	p.request("OPTIONS", "sip:example.org")
	assert p.expect(200).list("supported") == ["path", "outbound"]


def test_a_stranger_cannot_ask_where_our_users_are(server):
	"""RFC 3841: the caller's wish for a redirect is granted to callers that we know."""
	bob, = registered(server, "bob")
	stranger = server.phone("carl", domain="elsewhere.example")
	m = stranger.request("INVITE", "sip:bob@example.org", [("Request-Disposition", "redirect")])
	bob.reply(bob.expect("INVITE"), 486)
	stranger.ack(m, stranger.expect(486))


# ---- what an operator allows ----

def test_a_user_may_be_kept_from_calling_other_domains(start):
	s = start({"proxy": {"recurse": True}}, users=["alice", "bob"])
	alice, bob = registered(s, "alice", "bob")
	target = s.phone("target")
	away = f"sip:x@{target.local}"
	s.ctl("user", "outbound", "alice", "off")
	assert "alice no-outbound" in s.ctl("user", "list").splitlines()
	m, r = alice.answered(alice.request("INVITE", away), 403)
	alice.ack(m, r)
	m = alice.invite("bob")
	bob.reply(bob.expect("INVITE"), 302, [("Contact", f"<{away}>")])
	alice.ack(m, alice.expect(302))
	target.expect_nothing(0.1)
	s.ctl("user", "outbound", "alice", "on")
	m, r = alice.answered(alice.request("MESSAGE", away, body="x"), 407)
	alice.again(m, r)
	target.reply(target.expect("MESSAGE"), 200)
	alice.expect(200)
	assert s.metric("outbound_denied_total") == 1


def test_a_302_to_another_name_of_ours_is_not_followed(start):
	s = start({"proxy": {"recurse": True}, "aliases": ["alias.example"]},
		users=["alice", "bob", "carol"])
	alice, bob, carol = registered(s, "alice", "bob", "carol")
	for host in ("alias.example", f"{s.address}:{s.port}"):
		m = alice.invite("bob")
		bob.reply(bob.expect("INVITE"), 302, [("Contact", f"<sip:carol@{host}>")])
		bob.expect("ACK")
		alice.ack(m, alice.expect(302))
	carol.expect_nothing(0.1)


def test_a_disabled_user_is_as_if_he_were_not_there(server):
	alice, bob = registered(server, "alice", "bob")
	server.ctl("user", "enabled", "bob", "off")
	alice.answered(alice.request("MESSAGE", "sip:bob@example.org", body="x"), 404)
	bob.register(want=401)
	server.ctl("user", "enabled", "bob", "on")
	bob.register()
	alice.answered(alice.request("OPTIONS", "sip:bob@example.org"), 407)
	assert server.ctl_raw("user", "enabled", "nobody", "off").returncode == 1
	assert server.ctl_raw("user", "enabled", "bob", "maybe").returncode == 1


def test_a_removed_users_aliases_go_to_nobody_else(start):
	"""Neither they nor his phones may wait for the next one of the same name."""
	s = start(users=["bob", "carol"], store="sqlite")
	bob, = registered(s, "bob")
	s.ctl("alias", "add", "100", "bob")
	s.ctl("alias", "add", "200", "carol")
	s.ctl("user", "remove", "bob")
	assert s.ctl("alias", "list").split() == ["200", "carol"]
	s.restart()
	s.add_user("bob", "another")
	assert s.ctl("alias", "list").split() == ["200", "carol"]
	assert s.registrations() == []
	s.add_user("100")


# ---- settings ----

def test_the_registrars_settings_reach_the_phone(start):
	"""And follow a reload."""
	s = start({"registrar": {"service_route": "<sip:edge.example.org;lr>", "flow_timer_s": 90}},
		users=["alice"])
	alice = s.phone("alice")
	device = alice.contact + ';+sip.instance="<urn:uuid:1>";reg-id=1'
	both = [("Supported", "outbound, gruu")]
	r = alice.register(contact=device, headers=both)
	assert r.get("service-route") == "<sip:edge.example.org;lr>"
	assert (r.get("flow-timer"), r.get("require")) == ("90", "outbound")
	assert param(r.get("contact"), "pub-gruu")
	s.config["registrar"] = {"gruu": False, "outbound": False}
	s.write_config()
	s.ctl("reload")
	r = alice.register(contact=device, headers=both)
	assert r.all("service-route") + r.all("flow-timer") + r.all("require") == []
	assert "gruu" not in r.get("contact")
	r = alice.register(want=420, headers=[("Require", "x, path, y")])
	assert r.list("unsupported") == ["x", "y"]


def test_a_reload_says_what_it_cannot_do(server):
	server.config["auth"] = {"md5": False}
	server.write_config()
	r = server.ctl_raw("reload")
	assert r.returncode == 1 and "auth cannot change without a restart" in r.stdout + r.stderr


def test_a_store_that_fails_is_told_once_and_the_phones_stay(start):
	"""A limit on files stands for a full disk."""
	s = start(users=["alice", "bob"], store="sqlite")
	alice, bob = registered(s, "alice", "bob")
	pid = s.process.pid
	before = resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
	for _ in range(2):
		alice.register()
	s.wait_log("event=store-failing")
	assert s.metric("register_not_durable_total") == 2
	resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
	alice.register()
	s.wait_log("event=store-works-again")
	s.config["registrar"] = {"strict": True}
	s.write_config()
	s.ctl("reload")
	s.wait_log_count("event=store-failing", 1)
	mark = len(s.lines)
	resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
	bob.register(want=503)
	s.wait_log("event=store-failing", since=mark)
	resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
	bob.register()


def test_an_answer_goes_back_to_whoever_asked(server):
	"""A maddr in Via would have it sent to somebody else, again and again."""
	bob, = registered(server, "bob")
	victim = server.phone("victim")
	stranger = server.phone("carl", domain="elsewhere.example")
	host, port = victim.local.split(":")
	via = f"SIP/2.0/UDP {stranger.local.split(':')[0]}:{port};maddr={host};branch=z9hG4bK1;rport"
	stranger.request("INVITE", "sip:bob@example.org", via=via)
	bob.reply(bob.expect("INVITE"), 486)
	no = stranger.expect(486)
	stranger.expect_again(no)
	victim.expect_nothing(0.1)


def test_whom_we_call_by_a_trusted_listener_is_no_insider(start):
	"""He has not reached the listener: we have reached him."""
	s = start(users=["alice"], listeners=[("udp",), ("tcp", None, {"policy": "trusted"})])
	alice, target = s.phone("alice"), s.phone("target")
	evil = s.phone("evil", to=("127.0.0.1", 0), domain="evil.example")
	evil.transport = "tcp"
	evil.sock.close()
	evil.sock = None
	evil._listen(0)
	alice.invite(f"sip:x@{evil.local};transport=tcp")
	invite = evil.expect("INVITE")
	evil.stream = invite.conn
	evil.request("MESSAGE", f"sip:y@{target.local}", body="x")
	evil.expect(403)
	target.expect_nothing(0.1)
	evil.reply(invite, 486)
	alice.expect(486)
	insider = trunk_of(s)
	insider.request("MESSAGE", f"sip:y@{target.local}", body="x")
	target.reply(target.expect("MESSAGE"), 200)
	insider.expect(200)


def test_what_comes_back_to_us_from_ourselves_is_no_insider(start):
	"""A phone's Path may name us, and our own address may be in a trusted network."""
	s = start(users=["alice"])
	s.config["edge"] = {"trusted": [{"network": s.address}]}
	s.write_config()
	s.ctl("reload")
	alice, target = s.phone("alice"), s.phone("target")
	stranger = s.phone("carl", domain="elsewhere.example")
	for transport in ("", ";transport=tcp"):
		alice.register(contact=f"<sip:+1900@{target.local}>", headers=[("Supported", "path"),
			("Path", f"<sip:{s.address}:{s.port}{transport};lr>")])
		stranger.request("MESSAGE", "sip:alice@example.org", body="x")
		stranger.expect(403)
		target.expect_nothing(0.1)


def test_a_dialog_lends_nobody_anothers_name(server):
	"""Its Record-Route opens the way to its devices, not to users as somebody else."""
	alice, bob, carol = registered(server, "alice", "bob", "carol")
	a, _ = talk(alice, bob)
	own = a.local
	a.target = "sip:carol@example.org"
	for name, status in (("alice", 200), ("boss", 403)):
		a.local = own.replace("alice", name)
		m = a.request("MESSAGE")
		alice.again(m, alice.expect(407))
		if status == 200:
			carol.reply(carol.expect("MESSAGE"), 200)
		alice.expect(status)
	carol.expect_nothing(0.1)


def test_a_running_servers_store_is_copied_whole(start):
	s = start(users=["alice", "bob"], store="sqlite")
	registered(s, "alice")
	copy = s.dir / "copy.db"
	s.ctl("backup", str(copy))
	assert copy.stat().st_mode & 0o777 == 0o600
	assert s.ctl_raw("backup", str(copy)).returncode == 1
	assert s.ctl_raw("backup", "copy.db").returncode == 1
	s.ctl("user", "remove", "alice")
	s.stop()
	for f in s.dir.glob("eaves.db*"):
		f.unlink()
	copy.rename(s.dir / "eaves.db")
	s.start()
	assert sorted(s.ctl("user", "list").split()) == ["alice", "bob"]
	assert len(s.registrations("alice")) == 1


def test_a_server_without_a_store_has_nothing_to_copy(server):
	r = server.ctl_raw("backup", str(server.dir / "x"))
	assert r.returncode == 1 and "the store here is memory: there is no file to copy" in r.stderr


# ---- guessing ----

def guess(phone, user, password):
	"""One try as `user`; the final status."""
	m = phone.request("REGISTER", "sip:example.org", to=f"<sip:{user}@example.org>",
		frm=f"<sip:{user}@example.org>;tag=1")
	phone.user, phone.password = user, password
	phone.again(m, phone.expect(401))
	return phone.next().status


def test_a_password_of_his_own_gives_nobody_more_guesses(start):
	s = start({"auth": {"lock_failures": 4}}, users=["alice", "mallory"])
	mallory = s.phone("mallory")
	for _ in range(4):
		assert guess(mallory, "alice", "wrong") == 401
		assert guess(mallory, "mallory", "secret-of-mallory") == 200
	for password in ("wrong", "secret-of-alice"):
		assert guess(mallory, "alice", password) == 403
	assert guess(mallory, "mallory", "secret-of-mallory") == 200
	s.phone("alice").register()
	s.wait_log("event=user-locked user=alice")
	assert s.log_count("event=user-locked user=alice") == 1


def test_a_repeated_request_whose_answer_was_lost_is_asked_without_a_new_password(server):
	alice, = registered(server, "alice")
	m, _ = alice.answered(alice.request("MESSAGE", "sip:nobody@example.org", body="x"), 404)
	alice.send(m.raw)
	r = alice.expect(407)
	assert all(c.get("stale") == "true" for c in challenges(r))
	alice.again(m, r)
	alice.expect(404)
