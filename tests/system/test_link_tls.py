"""Links between nodes by TLS that cannot be: both ends say with whom, who refuses, and why."""
import re
import socket
import ssl

import pytest

from certs import Authority
from cluster import registered
from eaves import TIMEOUT, merged
from phone import hang_up, talk


@pytest.fixture
def ca(tmp_path):
	return Authority(tmp_path)


def with_certificate(n, ca, certificate, trusts=None):
	"""n starts anew with it; its connections are new ones."""
	n.write_config(merged(n.config, {"tls": {"ca": str((trusts or ca).cert),
		"certificates": [certificate]}}))
	n.stop()
	n.start()


def refused(n, other, by, error, address=r"\S+", **kw):
	return n.wait_log(rf"level=warn event=link-tls-refused node={other} address={address} opened=(yes|no) "
		rf'by={by} error="{error}" so_far=\d+$', **kw)


def test_a_certificate_that_is_out_of_its_time_is_told_of_at_both_ends(cluster, ca):
	c = cluster(users=("alice", "bob"), ca=ca)
	e, h = c.edges[0], c.homes[0][0]
	with_certificate(h, ca, ca.entry(h.name, file="old", days=-1))
	refused(e, h.name, "us", "certificate has expired")
	refused(h, e.name, "peer", "[^\"]*alert certificate expired")
	assert e.metric("link_tls_refused_total") > 0 and h.metric("link_tls_refused_total") > 0
	hang_up(*talk(*registered(c, "alice", "bob")))  # by the other home


def test_another_authority_is_told_of_at_both_ends(cluster, ca, tmp_path):
	c = cluster(ca=ca)
	e, h = c.edges[0], c.homes[0][0]
	(tmp_path / "other").mkdir()
	other = Authority(tmp_path / "other", "other-ca")
	with_certificate(h, ca, other.entry(h.name), trusts=other)
	for one, two in ((e, h), (h, e)):
		refused(one, two.name, "us", "(unable to get local issuer|self-signed) certificate[^\"]*")
		refused(one, two.name, "peer", "[^\"]*alert unknown ca")


def test_a_certificate_that_names_another_node_is_told_of_at_both_ends(cluster, ca):
	c = cluster(ca=ca, start=False)
	e, (a, b) = c.edges[0], c.homes[0]
	at = {a: b, b: a}
	rows = [merged(n.row(), {"sip": "%s:%d" % at.get(n, n).link}) for n in c.nodes]
	e.write_config(merged(e.config, {"cluster": {"nodes": rows}}))
	for n in (a, b, e):  # both are there when it looks for them
		n.start()
	refused(e, a.name, "us", "hostname mismatch", "%s:%d" % b.link)
	refused(b, e.name, "peer", "[^\"]*alert bad certificate")


def knock(n, context, source):
	"""A stranger at its link, until he is refused."""
	with socket.create_connection(n.link, TIMEOUT, source_address=(source, 0)) as s:
		try:
			with context.wrap_socket(s, server_hostname=n.name) as t:
				t.recv(1)
		except OSError:  # TLS 1.2 and 1.3 differ in when he learns of it
			pass


def test_who_shows_no_certificate_or_one_that_names_no_node_is_told_of(cluster, ca):
	c = cluster(ca=ca)
	e, h = c.edges[0], c.homes[0][0]
	knock(h, ca.client(), e.address)
	refused(h, e.name, "us", "peer did not return a certificate", re.escape(e.address) + r":\d+")
	knock(h, ca.client(), "127.0.0.1")
	refused(h, '""', "us", "peer did not return a certificate", r"127\.0\.0\.1:\d+")
	somebody = ca.client(ca.issue("somebody.example"))

	def told():  # once a second
		s = socket.create_connection(h.link, TIMEOUT)
		with somebody.wrap_socket(s, server_hostname=h.name):
			return h.log_count('event=link-tls-refused node="" .* by=us error="its certificate names no node"')
	c.wait(told, "it is not told of")


def test_who_fails_at_a_link_without_end_fills_no_log(cluster, ca):
	c = cluster(ca=ca)
	h = c.homes[0][0]
	for _ in range(200):
		knock(h, ca.client(), "127.0.0.1")
	c.wait(lambda: h.metric("link_tls_refused_total") >= 200, "they are not counted")
	h.wait_log("event=link-tls-refused .* so_far=1$")
	assert h.log_count("event=link-tls-refused") < 50, h.tail()
