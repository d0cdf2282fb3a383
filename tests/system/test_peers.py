"""Connections between servers: whom a certificate must name (RFC 5922), and whose connection is
used in both directions (RFC 5923).
"""
import pytest

from certs import Authority
from eaves import free_port, own_address
from names import NameServer
from phone import Phone
from sip import build, token


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
	return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def world(start, ca, workers):
	"""world(peer address, its port, ...) gives a server that finds peer.example there, by TLS."""
	servers = []

	def run(host, port, config=None, mutual=False):
		address = own_address()
		dns = NameServer(address, free_port(address), [
			f"srv-host=_sips._tcp.peer.example,host.peer.example,{port}",
			f"host-record=host.peer.example,{host}"])
		servers.append(dns)
		base = {"dns": {"servers": dns.where, "timeout_ms": 300, "tries": 1},
			"tls": {"certificates": [ca.entry("example.org")], "ca": str(ca.cert)}}
		base.update(config or {})
		return start(base, users=["alice"], workers=workers, listeners=[("udp",), ("tcp",),
			("tls", None, {"mutual_tls": True} if mutual else {})])
	yield run
	for s in servers:
		s.close()


def peer_of(s, transport, host, port, **kw):
	p = Phone("x", None, transport, source=host, port=port, listen=True, **kw)
	s.phones.append(p)
	return p


def call(s, uri):
	alice = s.phone("alice")
	m = alice.request("MESSAGE", uri, body="x")
	return alice, alice.again(m, alice.expect(407))


# ---- RFC 5922 ----

@pytest.mark.parametrize("uri", ["sips:x@peer.example", "sip:x@peer.example;transport=tls"])
def test_a_domain_is_proved_by_a_certificate_for_the_domain(world, ca, uri):
	host = own_address()
	port = free_port(host)
	s = world(host, port)
	p = peer_of(s, "tls", host, port, tls=ca.server(ca.issue("peer.example")))
	alice, _ = call(s, uri)
	p.reply(p.expect("MESSAGE"), 200)
	alice.expect(200)


@pytest.mark.parametrize("name", ["host.peer.example", "evil.example", "sub.peer.example"])
def test_a_certificate_for_another_name_is_refused(world, ca, name):
	"""That of the host to which SRV leads says nothing of the domain either."""
	host = own_address()
	port = free_port(host)
	s = world(host, port)
	p = peer_of(s, "tls", host, port, tls=ca.server(ca.issue(name)))
	p.answer_everything()
	alice, _ = call(s, "sips:x@peer.example")
	alice.expect(500)
	assert not [m for m in p.log if m.method == "MESSAGE"]


def test_a_connection_to_one_name_is_not_used_for_another(world, ca):
	host = own_address()
	port = free_port(host)
	s = world(host, port)
	pair = ca.issue("peer.example", f"DNS:peer.example,IP:{host}", file="both")
	p = peer_of(s, "tls", host, port, tls=ca.server(pair))
	for uri in ("sips:x@peer.example", f"sips:x@{host}:{port}"):
		alice, _ = call(s, uri)
		p.reply(p.expect("MESSAGE"), 200)
		alice.expect(200)
	other = peer_of(s, "tls", host, free_port(host), tls=ca.server(ca.issue("peer.example")))
	alice, _ = call(s, f"sips:x@{host}:{other.local.rsplit(':', 1)[1]}")
	other.answer_everything()
	alice.expect(500)


# ---- RFC 5923 ----

def hello(p, alias=True):
	via = f"SIP/2.0/{p.transport.upper()} {p.local};branch=z9hG4bK{token()}"
	p.send(build("OPTIONS sip:example.org SIP/2.0", [("Via", via + (";alias" if alias else "")),
		("Max-Forwards", "70"), ("From", "<sip:x@peer.example>;tag=1"),
		("To", "<sip:example.org>"), ("Call-ID", token()), ("CSeq", "1 OPTIONS")]))
	p.expect(200)


@pytest.mark.parametrize("trusted,alias", [(True, True), (True, False), (False, True)],
	ids=["insider-with-alias", "insider-without", "outsider"])
def test_an_insiders_alias_is_used_and_nobody_elses(start, workers, trusted, alias):
	host = own_address()
	port = free_port(host)
	config = {"edge": {"trusted": [{"network": host}]}} if trusted else {}
	s = start(config, users=["alice"], workers=workers)
	p = Phone("x", s.where["tcp"], "tcp", source=host, port=port, listen=True)
	s.phones.append(p)
	hello(p, alias)
	for _ in range(3):
		alice, _ = call(s, f"sip:x@{host}:{port};transport=tcp")
		got = p.expect("MESSAGE")
		assert (got.conn is p.stream) == (trusted and alias)
		p.reply(got, 200)
		alice.expect(200)


def test_an_alias_ends_with_its_connection(start, workers):
	host = own_address()
	port = free_port(host)
	s = start({"edge": {"trusted": [{"network": host}]}}, users=["alice"], workers=workers)
	p = Phone("x", s.where["tcp"], "tcp", source=host, port=port, listen=True)
	s.phones.append(p)
	hello(p)
	p.stream.sock.close()
	p.streams.remove(p.stream)
	s.wait_metric("connections", 0)
	alice, _ = call(s, f"sip:x@{host}:{port};transport=tcp")
	p.reply(p.expect("MESSAGE"), 200)
	alice.expect(200)


@pytest.mark.parametrize("name", ["peer.example", "evil.example"])
def test_an_alias_by_tls_is_good_for_the_names_of_its_certificate(world, ca, name):
	host = own_address()
	port = free_port(host)
	s = world(host, port, mutual=True)
	client = ca.client(ca.issue(name, file="client-" + name))
	p = peer_of(s, "tls", host, port, tls=ca.server(ca.issue("peer.example")))
	p.server, p.sni, accepting, p.tls = s.where["tls"], "example.org", p.tls, client
	p.connect()
	p.tls = accepting
	hello(p)
	alice, _ = call(s, "sips:x@peer.example")
	got = p.expect("MESSAGE")
	assert (got.conn is p.stream) == (name == "peer.example")
	p.reply(got, 200)
	alice.expect(200)
