"""Fixtures of the system tests: servers that end with their test and must end clean."""
import os

import pytest

from cluster import Cluster
from eaves import Server
from tap import Tap

# EAVES_CLUSTER=1: an edge and a pair of homes in the place of the combined server.
if os.environ.get("EAVES_CLUSTER"):
	from cluster import Front as Server


@pytest.fixture
def start(request):
	"""start(...) gives a running Server; at the end every one is stopped and checked."""
	servers = []

	def run(*args, **kw):
		s = Server(*args, **kw)
		servers.append(s)
		return s
	yield run
	errors = []
	for s in servers:
		try:
			s.close()
		except AssertionError as e:
			errors.append(str(e))
		print(f"--- log of the server at {s.address}:{s.port}\n{s.tail(200)}")
	assert not errors, "\n".join(errors)


@pytest.fixture(params=[1, 2], ids=["one-worker", "two-workers"])
def workers(request):
	return request.param


@pytest.fixture
def server(start):
	"""A server with alice, bob and carol."""
	return start(users=("alice", "bob", "carol"))


@pytest.fixture
def server_n(start, workers):
	"""The same, once with one worker and once with two."""
	return start(users=("alice", "bob", "carol"), workers=workers)


@pytest.fixture
def cluster(request):
	"""cluster(...) gives a running Cluster; at the end every node is stopped and checked."""
	made = []

	def run(*args, **kw):
		c = Cluster(*args, **kw)
		made.append(c)
		return c
	yield run
	errors = []
	for c in made:
		try:
			c.close()
		except AssertionError as e:
			errors.append(str(e))
		for n in c.nodes:
			print(f"--- log of {n.name}\n{n.tail(200)}")
	assert not errors, "\n".join(errors)


@pytest.fixture
def tapped(cluster):
	"""tapped(users) gives a running Cluster, and by name of each home a Tap between the edge and it."""
	taps = {}

	def run(*users):
		c = cluster(start=False)
		taps.update({n.name: Tap(c.edges[0], n) for n in c.homes[0]})
		c.start()
		c.edges[0].add_users(users)
		c.wait_users(len(users))
		return c, taps
	yield run
	for t in taps.values():
		t.close()
