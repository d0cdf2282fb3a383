"""The documents say what is so: names of tests, targets, commands, metrics and keys in them exist."""
import re
import subprocess
import sys

import pytest

from eaves import BIN, ROOT

DOCS = sorted((ROOT / "docs").glob("*.md"))


def text_of(name):
	return (ROOT / "docs" / name).read_text()


def names_of_tests():
	names = {f.name for f in (ROOT / "tests/replay").glob("*.replay")}
	for f in (ROOT / "tests/unit").rglob("*.c"):
		names.update(re.findall(r"START_TEST\((\w+)\)", f.read_text()))
	for f in (ROOT / "tests/system").glob("test_*.py"):
		names.update(re.findall(r"^def (test_\w+)", f.read_text(), re.M))
	return names


def test_every_test_named_in_conformance_exists():
	shown = re.findall(r"^\|[^|]*\|[^|]*\|([^|]*)\|$", text_of("conformance.md"), re.M)
	named = {n for cell in shown for n in re.findall(r"`([^`]+)`", cell)}
	assert len(named) > 60
	assert sorted(named - names_of_tests()) == []


def test_every_row_of_conformance_names_a_test():
	rows = re.findall(r"^\| *(\d[^|]*)\|([^|]*)\|([^|]*)\|$", text_of("conformance.md"), re.M)
	assert [r[0] for r in rows if "`" not in r[2]] == []


def test_configuration_page_is_up_to_date():
	r = subprocess.run([str(BIN / "eaves-combined"), "--reference"], capture_output=True, text=True)
	assert text_of("configuration.md") == r.stdout, "make reference"


def targets_of_make():
	known = subprocess.run(["make", "-qpRr", "-C", str(ROOT)], capture_output=True, text=True).stdout
	return set(re.findall(r"^([\w/-]+):", known, re.M))


def shown_in_cluster():
	"""Last cells of the tables of what is promised, however many columns they have."""
	rows, proofs = [], False
	for line in text_of("cluster.md").splitlines():
		cells = [c.strip() for c in line.strip("|").split("|")] if line.startswith("|") else []
		if not cells:
			proofs = False
		elif cells[-1] in ("by", "shown by"):
			proofs = True
		elif proofs and set(cells[-1]) - set("-"):
			rows.append(cells)
	return rows


def test_every_test_named_in_cluster_exists():
	cells = [row[-1] for row in shown_in_cluster()]
	named = {n for c in cells for n in re.findall(r"`(\w+_\w+_\w+_\w+)`", c)}
	files = {n for c in cells for n in re.findall(r"`(tests/[\w/.]+)`", c)}
	targets = {n for c in cells for n in re.findall(r"`make ([a-z][\w/-]*)", c)}
	assert len(named) > 20 and files and targets
	assert {len(row) for row in shown_in_cluster()} == {2, 3}
	assert sorted(named - names_of_tests()) == []
	assert sorted(f for f in files if not (ROOT / f).exists()) == []
	assert sorted(targets - targets_of_make()) == []


def test_every_promise_of_cluster_names_what_shows_it():
	nothing = [row for row in shown_in_cluster() if not re.search(r"`[^`]+`", row[-1])]
	assert nothing == []


def test_every_target_in_building_exists():
	cells = re.findall(r"^\| (`make[^|]*)\|", text_of("building.md"), re.M)
	targets = {t for c in cells for t in re.findall(r"`make ([a-z][\w/-]*)", c)}
	assert len(targets) > 15
	assert sorted(targets - targets_of_make()) == []


def test_operating_names_every_metric_and_no_other(server):
	families = set(re.findall(r"^# TYPE eaves_(\w+)", server.get("/metrics")[1], re.M))
	page = text_of("operating.md")
	table = page[page.index("## Metrics"):page.index("Worth an alarm")]
	named = set(re.findall(r"`(\w+)`", table)) - {"eaves_"}
	assert sorted(families - named) == [], "not in docs/operating.md"
	store = {n for n in named if n.startswith("store_")}  # sqlite alone has these
	assert sorted(named - families - store) == [], "only in docs/operating.md"


def commands(server):
	return {re.match(r"((?:[a-z]+ )*[a-z]+)", line).group(1).strip()
		for line in server.ctl("help").splitlines()}


def test_a_node_names_the_commands_that_it_has(cluster):
	c = cluster()
	edge, home = commands(c.edges[0]), commands(c.homes[0][0])
	page = text_of("operating.md")
	assert [w for w in edge | home if f"`{w}" not in page] == []
	assert {"node", "cluster status", "user list", "alias add"} <= edge and "registration list" not in edge
	assert {"cluster status", "registration list"} <= home and not {"node", "user list"} & home
	at_home = {x.split("  ")[0] for x in c.edges[0].ctl("node", "h1a", "help").splitlines()}
	assert at_home == {x.split("  ")[0] for x in c.homes[0][0].ctl("help").splitlines()}
	r = c.edges[0].ctl_raw("registration", "list")
	assert r.returncode == 2 and r.stderr.endswith(
		"Elsewhere: registrations and locks, at their homes (node NODE registration list, node NODE auth locks)\n")
	r = c.homes[0][0].ctl_raw("user", "list")
	assert r.returncode == 2 and "no such command; these are there:" in r.stderr and r.stderr.endswith("Elsewhere: users and aliases, at the edges\n")
	assert "user" not in r.stderr.split("there:")[1].split("Elsewhere")[0]


def test_a_server_alone_names_no_command_of_a_cluster(server):
	assert not {"node", "cluster status"} & commands(server)


def test_operating_names_every_command(server):
	page = text_of("operating.md")
	for words in commands(server):
		assert f"`{words}" in page, f"eavesctl {words} is not in docs/operating.md"


def test_operating_names_every_event_of_the_log():
	events = set()
	for folder in ("common", "edge", "home"):
		for f in (ROOT / folder).rglob("*.c"):
			events.update(re.findall(r'log_event\(\s*LOG_(?:INFO|WARN|ERROR),\s*"([\w-]+)"', f.read_text()))
	page = text_of("operating.md")
	assert sorted(e for e in events if f"`{e}`" not in page) == []


def test_keys_named_in_operating_exist():
	keys, section = set(), ""
	for line in text_of("configuration.md").splitlines():
		if m := re.match(r"## `([\w.]+)`", line):
			section = m.group(1) + "."
		elif line.startswith("## "):
			section = ""
		elif m := re.match(r"\| `(\w+)` \|", line):
			keys.add(section + m.group(1))
	sections = {k.split(".")[0] for k in keys if "." in k}
	page = text_of("operating.md")
	named = re.findall(r"`((?:%s)\.\w+)[:`]" % "|".join(sections), page)
	named = set(named) - {"admin.sock"}  # a file
	assert named and sorted(named - keys) == []


@pytest.mark.parametrize("page", [ROOT / "README.md", *DOCS], ids=lambda p: p.name)
def test_links_lead_somewhere(page):
	links = re.findall(r"\]\(([^)#:]+)\)", page.read_text())
	assert [x for x in links if not (page.parent / x).exists()] == []


def test_the_lab_runs_the_keepalived_of_the_page():
	"""Every name that it puts another in place of is there, once."""
	sys.path.append(str(ROOT / "tests/lab"))
	import keepalived
	ours = keepalived.documented("h2b", "/data", "/health", ["/bin/eaves-home", "h2b.yaml"])
	assert [n for n in ("/etc/eaves", "/var/lib", "192.0.2", "h1a", "nopreempt")
		if n in "\n".join(line.split("#")[0] for line in ours.splitlines())] == []
	assert len(keepalived.example().splitlines()) == len(ours.splitlines())
