"""Other domains by RFC 3263: NAPTR, SRV, A, and the next target when the first is dead."""
import re

import pytest

from eaves import free_port, own_address
from names import NameServer
from phone import Dialog, Phone, hang_up


@pytest.fixture
def world(start):
	"""world(records, config) gives a server that asks a name server with these records."""
	open_things = []

	def run(records, config=None, **kw):
		address = own_address()
		dns = NameServer(address, free_port(address), records)
		open_things.append(dns)
		base = {"dns": {"servers": dns.where, "timeout_ms": 300, "tries": 1}}
		base.update(config or {})
		s = start(base, users=["alice"], **kw)
		s.dns = dns
		return s
	yield run
	for x in open_things:
		x.close()


def peer(s_or_list, name="peer", transport="udp", port=0, source=None):
	p = Phone(name, None, transport, source=source or own_address(), port=port, listen=True)
	s_or_list.append(p)
	return p


@pytest.fixture
def peers():
	out = []
	yield out
	for p in out:
		p.close()


def where(p):
	host, port = p.local.rsplit(":", 1)
	return host, port


def call_out(s, uri, headers=()):
	alice = s.phone("alice")
	m = alice.request("INVITE", uri, headers)
	m = alice.again(m, alice.expect(407))
	return alice, m


def srv(service, domain, p, name, priority=10, weight=10):
	host, port = where(p)
	return [f"srv-host={service}.{domain},{name},{port},{priority},{weight}",
		f"host-record={name},{host}"]


def test_a_call_to_another_domain_goes_by_srv(world, peers, workers):
	p = peer(peers)
	s = world(srv("_sip._udp", "peer.example", p, "a.peer.example"), workers=workers)
	alice, m = call_out(s, "sip:x@peer.example")
	got = p.expect("INVITE")
	assert got.uri == "sip:x@peer.example"
	answer = p.reply(got, 200)
	ok = alice.expect(200)
	a, b = Dialog(alice, m, ok, True), Dialog(p, got, answer, False)
	a.ack()
	p.expect("ACK")
	p.server = s.where["udp"]
	hang_up(b, a)
	m = s.metrics()
	assert sum(v for k, v in m.items() if k.startswith("eaves_dns_queries_total")) > 0
	assert sum(v for k, v in m.items() if k.startswith("eaves_dns_failures_total")) == 0


def test_naptr_prefers_tcp(world, peers):
	u, t = peer(peers), peer(peers, transport="tcp")
	s = world([
		"naptr-record=peer.example,10,10,s,SIP+D2T,,_sip._tcp.peer.example",
		"naptr-record=peer.example,20,10,s,SIP+D2U,,_sip._udp.peer.example"]
		+ srv("_sip._udp", "peer.example", u, "u.peer.example")
		+ srv("_sip._tcp", "peer.example", t, "t.peer.example"))
	alice, _ = call_out(s, "sip:x@peer.example")
	t.reply(t.expect("INVITE"), 486)
	alice.expect(486)
	u.expect_nothing(0.1)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_the_second_target_is_tried_when_nobody_listens_at_the_first(world, peers, transport):
	dead, alive = peer([], transport=transport), peer(peers, transport=transport)
	records = srv(f"_sip._{transport}", "peer.example", dead, "dead.peer.example", 1) + \
		srv(f"_sip._{transport}", "peer.example", alive, "alive.peer.example", 2)
	dead.close()
	s = world(records, {"timers": {"t1_ms": 50}})
	alice, _ = call_out(s, "sip:x@peer.example")
	m = alive.wait_for("INVITE", 8)
	alive.reply(m, 486)
	alice.expect(486)


def test_the_second_target_is_tried_when_the_first_is_silent(world, peers):
	silent, alive = peer(peers), peer(peers)
	s = world(srv("_sip._udp", "peer.example", silent, "a.peer.example", 1) +
		srv("_sip._udp", "peer.example", alive, "b.peer.example", 2), {"timers": {"t1_ms": 50}})
	alice, _ = call_out(s, "sip:x@peer.example")
	silent.expect("INVITE")
	m = alive.expect("INVITE", 8)
	alive.reply(m, 486)
	alice.expect(486)


def test_the_second_target_is_tried_after_503(world, peers):
	busy, alive = peer(peers), peer(peers)
	s = world(srv("_sip._udp", "peer.example", busy, "a.peer.example", 1) +
		srv("_sip._udp", "peer.example", alive, "b.peer.example", 2))
	alice, _ = call_out(s, "sip:x@peer.example")
	busy.reply(busy.expect("INVITE"), 503)
	busy.expect("ACK")
	alive.reply(alive.expect("INVITE"), 486)
	alice.expect(486)


def test_a_port_in_the_uri_means_the_address_record(world, peers):
	p = peer(peers)
	host, port = where(p)
	s = world([f"host-record=peer.example,{host}",
		"srv-host=_sip._udp.peer.example,wrong.example,5999,1,1"])
	alice, _ = call_out(s, f"sip:x@peer.example:{port}")
	p.reply(p.expect("INVITE"), 486)
	alice.expect(486)


def test_without_srv_the_address_record_and_port_5060_are_used(world, peers):
	p = peer(peers, port=5060)
	s = world([f"host-record=peer.example,{where(p)[0]}"])
	alice, _ = call_out(s, "sip:x@peer.example")
	p.reply(p.expect("INVITE"), 486)
	alice.expect(486)


def test_a_transport_in_the_uri_is_obeyed(world, peers):
	u, t = peer(peers), peer(peers, transport="tcp")
	s = world(srv("_sip._udp", "peer.example", u, "u.peer.example")
		+ srv("_sip._tcp", "peer.example", t, "t.peer.example"))
	alice, _ = call_out(s, "sip:x@peer.example;transport=tcp")
	t.reply(t.expect("INVITE"), 486)
	alice.expect(486)


def test_a_name_that_does_not_exist_is_answered_at_once(world):
	s = world([])
	alice, m = call_out(s, "sip:x@nowhere.example")
	r = alice.next()
	assert r.status in (404, 478, 480, 500, 502), repr(r)
	alice.ack(m, r)


def test_a_dead_name_server_holds_up_nobody_else(world, peers):
	s = world([])
	s.dns.close()
	alice, m = call_out(s, "sip:x@somewhere.example")
	s.phone("alice").register()
	r = alice.next()
	assert r.status in (404, 480, 500, 502, 503, 504)


@pytest.mark.parametrize("param", ["", ";lr", ";LR", ";lrx=1"])
def test_an_administered_route_comes_before_dns(world, peers, param):
	"""It is a loose router's, whatever its URI says."""
	p, other = peer(peers), peer(peers)
	s = world(srv("_sip._udp", "peer.example", other, "a.peer.example"),
		{"edge": {"routes": [{"domain": "peer.example", "uri": f"sip:{p.local}{param}"}]}})
	alice, _ = call_out(s, "sip:x@peer.example")
	got = p.expect("INVITE")
	assert got.uri == "sip:x@peer.example"
	assert len(re.findall(r";lr\b", got.get("route"), re.I)) == 1
	p.reply(got, 486)
	alice.expect(486)
	other.expect_nothing(0.05)


def test_a_default_route_takes_every_other_domain(world, peers):
	p = peer(peers, transport="tcp")
	s = world([], {"edge": {"routes": [{"domain": "*", "uri": f"sip:{p.local};transport=tcp"}]}})
	alice, _ = call_out(s, "sip:x@anything.example")
	p.reply(p.expect("INVITE"), 486)
	alice.expect(486)


def test_domains_outside_can_be_closed(world):
	s = world([], {"edge": {"outbound": False}})
	alice, _ = call_out(s, "sip:x@anything.example")
	alice.expect(403)
