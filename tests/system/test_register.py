"""REGISTER (RFC 3261 10.3): bindings, their limits, and that they outlive the process."""
import pytest

from phone import hang_up, talk
from sip import challenges, credentials, param, uri_of


def contacts(response):
	return [uri_of(v) for v in response.list("contact")]


def test_a_device_registers_and_is_listed(server_n):
	alice = server_n.phone("alice")
	r = alice.register(expires=600)
	assert contacts(r) == [uri_of(alice.contact)]
	assert 590 <= int(param(r.get("contact"), "expires")) <= 600
	assert len(server_n.registrations("alice")) == 1
	assert server_n.metric("bindings") == 1


def test_a_query_gives_all_and_changes_nothing(server):
	one, two = server.phone("alice"), server.phone("alice")
	one.register()
	two.register()
	r = one.register(drop=("contact",))
	assert sorted(contacts(r)) == sorted(uri_of(p.contact) for p in (one, two))
	assert len(server.registrations("alice")) == 2


def test_a_refresh_replaces_the_binding(server):
	alice = server.phone("alice")
	alice.register(expires=600)
	r = alice.register(expires=1200)
	assert len(r.list("contact")) == 1
	assert int(param(r.get("contact"), "expires")) > 1000


def test_expires_of_the_contact_wins_over_the_header(server):
	alice = server.phone("alice")
	r = alice.register(expires=600, contact=alice.contact + ";expires=900")
	assert 890 <= int(param(r.get("contact"), "expires")) <= 900


def test_expires_0_removes_one_device_of_two(server):
	one, two = server.phone("alice"), server.phone("alice")
	one.register()
	two.register()
	r = one.register(expires=0)
	assert contacts(r) == [uri_of(two.contact)]


def test_the_wildcard_removes_every_device(server):
	one, two = server.phone("alice"), server.phone("alice")
	one.register()
	two.register()
	r = one.register(contact="*", expires=0)
	assert contacts(r) == []
	assert server.registrations("alice") == []


@pytest.mark.parametrize("contact,expires", [("*", 600), ("*", None),
	("*, <sip:alice@192.0.2.1>", 0)])
def test_a_wildcard_with_anything_else_is_400_and_removes_nothing(server, contact, expires):
	alice = server.phone("alice")
	alice.register()
	alice.register(want=400, contact=contact, expires=expires)
	assert len(server.registrations("alice")) == 1


def test_too_brief_an_interval_is_423_with_min_expires(start):
	s = start({"registrar": {"expires_min_s": 120}}, users=["alice"])
	r = s.phone("alice").register(want=423, expires=60)
	assert r.get("min-expires") == "120"
	assert s.registrations() == []


def test_too_long_an_interval_is_cut(start):
	s = start({"registrar": {"expires_max_s": 300, "expires_default_s": 200}}, users=["alice"])
	alice = s.phone("alice")
	assert int(param(alice.register(expires=86400).get("contact"), "expires")) <= 300
	assert int(param(alice.register().get("contact"), "expires")) <= 200


def test_a_registration_that_expires_is_gone(start):
	s = start({"registrar": {"expires_min_s": 1}}, users=["alice", "bob"])
	alice, bob = s.phone("alice"), s.phone("bob")
	bob.register(expires=1)
	bob.expect_nothing(1.3)
	m = alice.request("MESSAGE", "sip:bob@example.org", body="gone?")
	alice.answered(m, 480)


def test_more_devices_than_the_limit_are_refused(start):
	s = start({"registrar": {"contacts_per_user": 2}}, users=["alice"])
	phones = [s.phone("alice") for _ in range(3)]
	phones[0].register()
	phones[1].register()
	phones[2].register(want=403)
	phones[0].register()
	assert len(s.registrations("alice")) == 2


def test_a_full_table_of_records_is_503_and_counted(start):
	s = start({"records_max": 100, "registrar": {"contacts_per_user": 64}}, users=["alice", "bob"])
	contacts = [f"<sip:x@192.0.2.1:{5000 + i}>" for i in range(60)]
	for who in "alice", "bob":
		p = s.phone(who)
		for i in range(0, 60 if who == "alice" else 40, 20):
			full = who == "bob" and i == 20
			p.register(want=503 if full else 200, contact=", ".join(contacts[i:i + 20]))
	assert len(s.registrations()) == 80
	assert s.metrics()["eaves_records_full_total"] > 0


def test_a_contact_that_is_too_long_is_refused(start):
	s = start({"registrar": {"contact_bytes": 100}}, users=["alice"])
	s.phone("alice").register(want=400, contact=f"<sip:{'a' * 200}@192.0.2.1>")
	assert s.registrations() == []


def test_two_contacts_in_one_request_are_both_taken_or_none(server):
	alice = server.phone("alice")
	r = alice.register(contact="<sip:a@192.0.2.1>;q=0.5, <sip:a@192.0.2.2>;q=0.7")
	assert sorted(contacts(r)) == ["sip:a@192.0.2.1", "sip:a@192.0.2.2"]
	alice.register(want=423, contact="<sip:a@192.0.2.3>, <sip:a@192.0.2.4>;expires=5")
	assert len(server.registrations("alice")) == 2


def test_an_older_cseq_of_the_same_call_id_changes_nothing(server):
	alice = server.phone("alice")
	alice.register(cseq=100)
	m = alice.request("REGISTER", "sip:example.org", [("Expires", "0")], cseq=50,
		call_id=alice.call_id, frm=f"<{alice.aor}>;tag=1", to=f"<{alice.aor}>")
	_, r = alice.answered(m, 500)
	assert len(server.registrations("alice")) == 1


def test_registering_somebody_else_is_403(server):
	alice = server.phone("alice")
	m = alice.request("REGISTER", "sip:example.org", to="<sip:bob@example.org>",
		frm=f"<{alice.aor}>;tag=1")
	alice.answered(m, 403)
	alice.answered(alice.request("REGISTER", "sip:example.org", [("Expires", "0")],
		to="<sip:bob@example.org>", frm=f"<{alice.aor}>;tag=1", contact="*"), 403)
	assert server.registrations() == []


def test_an_address_of_record_of_nobody_is_404(server):
	alice = server.phone("alice")
	m = alice.request("REGISTER", "sip:example.org", to="<sip:nobody@example.org>")
	alice.answered(m, 404)


def test_an_unknown_extension_that_is_required_is_420(server):
	alice = server.phone("alice")
	m = alice.request("REGISTER", "sip:example.org", [("Require", "teleport")],
		to=f"<{alice.aor}>")
	_, r = alice.answered(m, 420)
	assert r.list("unsupported") == ["teleport"]


def test_path_is_kept_and_used(server):
	alice, bob = server.phone("alice"), server.phone("bob")
	alice.register()
	hop = server.phone("hop")
	path = f"<sip:{hop.local};lr>"
	r = bob.register(contact="<sip:bob@192.0.2.9>",
		headers=[("Path", path), ("Supported", "path")])
	assert r.list("path") == [path]
	alice.invite("bob")
	got = hop.expect("INVITE")
	assert got.uri == "sip:bob@192.0.2.9"
	assert got.list("route")[0] == path
	hop.reply(got, 486)
	hop.expect("ACK")
	alice.expect(486)


def test_a_gruu_is_given_and_leads_to_its_device_alone(server):
	alice, one, two = (server.phone(u) for u in ("alice", "bob", "bob"))
	alice.register()
	instance = '"<urn:uuid:00000000-0000-1000-8000-000A95A0E128>"'
	r = one.register(contact=f"{one.contact};+sip.instance={instance}",
		headers=[("Supported", "gruu")])
	two.register()
	gruu = param(next(c for c in r.list("contact") if "pub-gruu" in c), "pub-gruu")
	assert gruu and ";gr" in gruu
	alice.invite(gruu)
	one.reply(one.expect("INVITE"), 486)
	alice.expect(486)
	two.expect_nothing(0.1)


@pytest.mark.parametrize("gr,status", [(";gr=urn:uuid:unknown", 480), (";gr", 404)])
def test_a_gruu_of_no_device_is_480_and_a_forged_temporary_one_404(server, gr, status):
	alice, bob = server.phone("alice"), server.phone("bob")
	bob.register()
	alice.answered(alice.request("MESSAGE", "sip:bob@example.org" + gr, body="x"), status)
	bob.expect_nothing(0.1)


# ---- several devices, restarts ----

@pytest.mark.parametrize("end", ["stop", "kill9"])
def test_a_200_means_that_the_binding_outlives_the_process(start, workers, end):
	s = start(users=["alice", "bob"], store="sqlite", workers=workers)
	bob = s.phone("bob")
	bob.register(expires=600)
	getattr(s, end)()
	s.start()
	assert len(s.registrations("bob")) == 1
	alice = s.phone("alice")
	alice.register()
	a, b = talk(alice, bob)
	hang_up(a, b)


def test_a_removed_binding_does_not_come_back_after_kill_9(start):
	s = start(users=["alice"], store="sqlite")
	alice = s.phone("alice")
	alice.register()
	alice.register(expires=0)
	s.kill9()
	s.start()
	assert s.registrations() == []


def test_users_and_aliases_outlive_the_process(start):
	s = start(users=["alice"], store="sqlite")
	s.ctl("alias", "add", "100", "alice")
	s.kill9()
	s.start()
	assert s.ctl("user", "list").split() == ["alice"]
	assert s.ctl("alias", "list").split() == ["100", "alice"]
	s.phone("alice").register()


def test_many_registrations_before_a_kill_are_all_there(start):
	names = [f"u{i}" for i in range(60)]
	s = start(users=names, store="sqlite", workers=2)
	phones = [s.phone(n) for n in names]
	pending = [(p, p.request("REGISTER", "sip:example.org", to=f"<{p.aor}>")) for p in phones]
	for p, m in pending:
		p.again(m, p.expect(401))
	for p in phones:
		p.expect(200)
	s.kill9()
	s.start()
	assert len(s.registrations()) == len(names)


def test_a_connection_of_before_the_restart_is_reached_by_its_contact(start):
	s = start(users=["alice", "bob"], store="sqlite")
	bob = s.phone("bob", transport="tcp", listen=True)
	bob.register()
	s.restart()
	alice = s.phone("alice")
	alice.register()
	alice.invite("bob")
	bob.reply(bob.expect("INVITE"), 486)
	alice.expect(486)


def test_a_captured_authorization_is_refused_after_a_restart(start):
	s = start(users=["alice"], store="sqlite")
	alice = s.phone("alice")
	alice.register()
	captured = alice.registered
	s.restart()
	thief = s.phone("alice")
	thief.send(captured.raw.replace(alice.local.encode(), thief.local.encode()))
	r = thief.expect(401)
	assert challenges(r)[0].get("stale", "").lower() == "true"
	value = credentials(challenges(r)[0], "REGISTER", "sip:example.org", "alice", "wrong")
	thief.resend(captured, ("Authorization", value))
	thief.expect(401)
