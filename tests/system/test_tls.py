"""TLS: certificates by SNI, their reload, clients with certificates, and the server as client."""
import pathlib
import ssl

import pytest

from certs import Authority
from phone import hang_up, insecure, talk
from test_streams import options


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
	return Authority(tmp_path_factory.mktemp("ca"))


def tls_server(start, ca, config=None, mutual=False, **kw):
	base = {"tls": {"certificates": [ca.entry("example.org"), ca.entry("second.example")],
		"ca": str(ca.cert)}}
	base.update(config or {})
	kw.setdefault("users", ["alice", "bob"])
	return start(base, listeners=[("udp",), ("tcp",),
		("tls", None, {"mutual_tls": True} if mutual else {})], **kw)


def secure(s, user, ca, pair=None, sni="example.org"):
	return s.phone(user, transport="tls", tls=ca.client(pair), sni=sni)


def test_a_call_by_tls(start, ca, workers):
	s = tls_server(start, ca, workers=workers)
	alice, bob = secure(s, "alice", ca), secure(s, "bob", ca)
	alice.register()
	bob.register()
	a, b = talk(alice, bob)
	assert "transport=tls" in a.routes[0] or a.routes[0].startswith("<sips:")
	hang_up(a, b)


def test_a_call_from_udp_to_tls(start, ca):
	s = tls_server(start, ca)
	alice, bob = s.phone("alice"), secure(s, "bob", ca)
	alice.register()
	bob.register()
	a, b = talk(alice, bob)
	assert len(a.routes) == 2
	hang_up(b, a)


def test_the_certificate_is_chosen_by_sni(start, ca):
	s = tls_server(start, ca)
	for name in ("example.org", "second.example"):
		p = secure(s, "alice", ca, sni=name)
		names = [v for k, v in p.stream.sock.getpeercert()["subjectAltName"]]
		assert names == [name]
	p = s.phone("alice", transport="tls", tls=insecure(), sni="third.example")
	p.send(options(p))
	p.expect(200)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_old_versions_of_tls_are_refused(start, ca):
	s = tls_server(start, ca)
	old = insecure()
	old.minimum_version = ssl.TLSVersion.TLSv1
	old.maximum_version = ssl.TLSVersion.TLSv1_1
	old.set_ciphers("ALL:@SECLEVEL=0")
	with pytest.raises((ssl.SSLError, ConnectionError)):
		s.phone("alice", transport="tls", tls=old)
	assert secure(s, "alice", ca).stream.sock.version() == "TLSv1.3"


def test_a_reload_changes_certificates_and_drops_no_connection(start, ca):
	s = tls_server(start, ca)
	alice, bob = secure(s, "alice", ca), secure(s, "bob", ca)
	alice.register()
	bob.register()
	a, b = talk(alice, bob)
	before = alice.stream.sock.getpeercert()["serialNumber"]
	ca.issue("example.org")
	assert "reloaded" in s.ctl("reload")
	late = secure(s, "alice", ca)
	assert late.stream.sock.getpeercert()["serialNumber"] != before
	late.send(options(late))
	late.expect(200)
	hang_up(a, b)
	assert alice.is_open() and bob.is_open()


def test_a_certificate_that_cannot_be_read_changes_nothing(start, ca):
	s = tls_server(start, ca)
	alice = secure(s, "alice", ca)
	alice.register()
	good = s.config["tls"]["certificates"][0]["certificate"]
	text = open(good).read()
	try:
		open(good, "w").write("no certificate\n")
		r = s.ctl_raw("reload")
		assert r.returncode != 0 and good in r.stdout + r.stderr
	finally:
		open(good, "w").write(text)
	secure(s, "alice", ca).register()
	alice.register()


def test_a_key_that_everybody_can_read_is_refused_and_one_of_a_group_is_not(start, ca):
	s = tls_server(start, ca)
	alice = secure(s, "alice", ca)
	key = pathlib.Path(s.config["tls"]["certificates"][0]["key"])
	try:
		key.chmod(0o644)
		r = s.ctl_raw("reload")
		assert r.returncode != 0 and f"key {key}: others may read it: chmod 600" in r.stdout + r.stderr
		key.chmod(0o640)
		assert "reloaded" in s.ctl("reload")
	finally:
		key.chmod(0o600)
	alice.register()


def test_mutual_tls_refuses_clients_without_a_certificate(start, ca, tmp_path):
	s = tls_server(start, ca, mutual=True)
	stranger = Authority(tmp_path, "stranger")
	for context in (ca.client(), ca.client(stranger.issue("example.org"))):
		try: # by TLS 1.3 the client learns of it with its first read only
			p = s.phone("alice", transport="tls", tls=context, sni="example.org")
			p.send(options(p))
		except (ssl.SSLError, ConnectionError):
			continue
		p.expect_closed()
		assert p.log == []
	secure(s, "alice", ca, ca.issue("phone.example")).register()
	assert s.metric("tls_handshakes_failed_total") >= 2


def test_a_trusted_certificate_makes_an_insider(start, ca):
	s = tls_server(start, ca, {"edge": {"trusted": [{"certificate": "trunk.example"}]}},
		mutual=True)
	bob = s.phone("bob")
	bob.register()
	trunk = secure(s, "trunk", ca, ca.issue("trunk.example"))
	m = trunk.request("INVITE", "sip:bob@example.org", [("P-Asserted-Identity", "<sip:1@x.example>")],
		frm="<sip:alice@example.org>;tag=1")
	got = bob.expect("INVITE")
	assert got.get("p-asserted-identity") == "<sip:1@x.example>"
	bob.reply(got, 486)
	trunk.expect(486)
	for name, san in (("other.example", None), ("xtrunk.example", None), ("x", "DNS:*.example")):
		other = secure(s, "other", ca, ca.issue(name, san, file="other-" + name))
		other.request("INVITE", "sip:bob@example.org", frm="<sip:alice@example.org>;tag=1")
		other.expect(407)


def test_a_handshake_that_is_not_done_is_closed(start, ca):
	s = tls_server(start, ca, {"net": {"handshake_ms": 300}})
	p = s.phone("x", transport="tcp", to=s.where["tls"])
	p.send(b"\x16\x03\x01")
	p.expect_closed(3)
	secure(s, "alice", ca).register()


def test_plain_text_on_a_tls_port_is_closed(start, ca):
	s = tls_server(start, ca)
	p = s.phone("x", transport="tcp", to=s.where["tls"])
	p.send(options(p))
	p.expect_closed()
	secure(s, "alice", ca).register()


@pytest.mark.parametrize("name,reached", [("peer.example", True), ("wrong.example", False)])
def test_the_name_of_a_next_hop_is_checked_in_its_certificate(start, ca, name, reached):
	"""RFC 5922 7: the server as a client of another domain."""
	s = tls_server(start, ca)
	alice = s.phone("alice")
	peer = s.phone("peer", transport="tls", to=s.where["tls"], tls=insecure(), sni="example.org")
	hop = listener(s, ca.server(ca.issue(name, "DNS:" + name + ",IP:127.0.0.9", file="hop")))
	del peer
	m = alice.request("MESSAGE", f"sip:x@{hop.local};transport=tls", body="x")
	alice.again(m, alice.expect(407))
	if not reached:
		return
	got = hop.expect("MESSAGE")
	hop.reply(got, 200)
	alice.expect(200)


def listener(s, context):
	from phone import Phone
	p = Phone("peer", None, "tls", source="127.0.0.9", tls=context, listen=True)
	s.phones.append(p)
	return p
