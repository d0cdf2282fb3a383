"""Edge and home: two tiers of Eaves against two tiers of Kamailio.

Phones talk to the edge, which passes requests to the home of their user.  Kamailio's arrangements:
  stateful   edge and home keep transactions and record-route; the home calls phones by itself
  stateless  the least that works: the edge forwards without transactions, the home leaves
             Record-Route to it, and calls phones by itself
  path       phones stand behind the edge (Path): stateful, and calls pass it twice
Eaves is the whole cluster: an edge pair, a pair of homes, Redis.  Its phones stand behind the edge;
in the arrangement `direct` they register at the home itself, as Kamailio's do in the first two.
What is compared is the edge that phones talk to and the home that serves, all of their threads;
the other edge, the other home and Redis have columns of their own.
"""
import os
import secrets
import subprocess
import time

from one import cell
from results import spread, verdict
from servers import DOMAIN, Layout, import_users, kamailio_command, say

NET = "127.77.0."
WORKS = ("reg", "rereg", "call", "msg")
MODES = ("paced", "saturated")
PEERS = ("stateful", "stateless", "path")
SHARE = {"stateful": 1 / 3, "stateless": 1 / 2}  # of the peer's CPU
TARGET = ("reg", "call")
ADDED_MS = 1.0  # to p99, by the second place
USER_BYTES = 3072
LINK, BUS, REDIS = 7401, 7400, 7379


class KamailioTiers(Layout):
    name = "Kamailio"

    def __init__(self, opt, users, kind):
        super().__init__(opt, users)
        self.kind = kind
        self.target = self.registrar = (NET + "1", opt.port)

    def start(self):
        home = (NET + "2", self.opt.port)
        at_home = {"stateful": [], "stateless": ["NORR"], "path": ["NORR", "PATH"]}
        at_edge = {"stateful": [], "stateless": ["STATELESS"],
                   "path": ["PATH", f"HOMEIP={home[0]}"]}
        for name, where, config, defines in (
                ("home", home, "one.cfg", at_home[self.kind]),
                ("edge", self.target, "edge.cfg",
                 [f'HOME="sip:{home[0]}:{home[1]}"', *at_edge[self.kind]])):
            self.run(name, kamailio_command(self.opt, self.folder, name, config, *where,
                                            self.users, self.opt.workers, *defines))
            self.wait_ready(name, where)

    def load(self, work, *args):
        f = super().load(work, *args)
        f["both"] = f["edge"] + f["home"]
        return f


class EavesTiers(Layout):
    """edges, homes: how many members each pair has."""
    name = "Eaves"

    def __init__(self, opt, users, kind="edge", edges=2, homes=2, redis=True):
        super().__init__(opt, users)
        self.nodes = {f"e{i + 1}": NET + str(11 + i) for i in range(edges)}
        self.nodes.update({f"h1{'ab'[i]}": NET + str(21 + i) for i in range(homes)})
        self.redis = redis
        self.target = (self.nodes["e1"], opt.port)
        self.registrar = (self.nodes["h1a"], opt.port) if kind == "direct" else self.target

    def own(self, name):
        return os.path.join(self.folder, name)

    def list_of_nodes(self):
        rows = ""
        for name, address in self.nodes.items():
            os.makedirs(self.own(name))
            key = subprocess.run([self.opt.edge, "--make-key", self.own(name) + "/key"],
                                 check=True, capture_output=True, text=True).stdout.strip()
            role, pair = ("edge", "edge") if name[0] == "e" else ("home", "h1")
            rows += (f"    - {{name: {name}, role: {role}, pair: {pair}, "
                     f'bus: "{address}:{BUS}", sip: "{address}:{LINK}", key: "{key}"}}\n')
        return rows

    def write_config(self, name, rows):
        home, address = name[0] == "h", self.nodes[name]
        edges = [a for n, a in self.nodes.items() if n[0] == "e"]
        with open(self.own(name) + "/eaves.yaml", "w") as f:
            f.write(f"domain: {DOMAIN}\n"
                    f"aliases: [{', '.join(edges)}]\n"
                    f"listeners:\n"
                    f"  - {{transport: udp, address: {address}, port: {self.opt.port}, "
                    f"policy: trusted}}\n"
                    f"  - {{transport: tcp, address: {address}, port: {LINK}, policy: cluster}}\n"
                    f"workers: {self.opt.our_workers}\n"
                    f"data_dir: {self.own(name)}\n"
                    f"store: {'sqlite' if home else 'memory'}\n"
                    f"net: {{transactions: 2000000}}\n"
                    f"auth: {{lock_failures: 0, nonce_life_s: 3600}}\n"
                    f"log: {{level: warn}}\n"
                    f"cluster:\n"
                    f"  node: {name}\n"
                    f"  secret: {self.folder}/secret\n"
                    f"  bus_key: {self.own(name)}/key\n"
                    f"  nodes:\n{rows}"
                    + ("" if home or not self.redis else
                       f'redis: {{servers: "{NET}41:{REDIS}"}}\n'))

    def start(self):
        with open(os.open(self.folder + "/secret", os.O_WRONLY | os.O_CREAT, 0o600), "wb") as f:
            f.write(secrets.token_bytes(32))
        if self.redis:
            self.run("redis", ["redis-server", "--bind", NET + "41", "--port", str(REDIS),
                               "--appendonly", "yes", "--save", "", "--dir", self.folder])
        rows = self.list_of_nodes()
        for name in self.nodes:
            self.write_config(name, rows)
            role = "edge" if name[0] == "e" else "home"
            self.run(name, [getattr(self.opt, role), "--config",
                            self.own(name) + "/eaves.yaml"])
        self.wait("alive", lambda name: self.others_alive(name))
        import_users(self.opt, self.own("e1"), self.users)
        self.wait("users", lambda name: self.status(name, "users") == self.users)

    def ctl(self, name, *words):
        r = subprocess.run([self.opt.eavesctl, "--socket", self.own(name) + "/admin.sock",
                            *words], capture_output=True, text=True)
        return r.stdout.splitlines() if r.returncode == 0 else []

    def others_alive(self, name):
        alive = [x for x in self.ctl(name, "cluster", "status") if " alive" in x]
        return len(alive) >= len(self.nodes) - 1

    def status(self, name, what):
        for line in self.ctl(name, "status"):
            key, _, value = line.partition(" ")
            if key == what:
                return int(value)
        return -1

    def wait(self, what, there, names=None, seconds=60):
        end = time.monotonic() + seconds
        for name in names or self.nodes:
            while not there(name):
                if not self.alive(name) or time.monotonic() > end:
                    raise RuntimeError(f"{what}: {self.failed(name)}")
                time.sleep(0.05)

    def stop_node(self, name):
        p = self.processes.pop(name)
        p.terminate()
        p.wait(20)
        del self.nodes[name]

    def load(self, work, *args):
        f = super().load(work, *args)
        homes = sorted((n for n in self.nodes if n[0] == "h"), key=lambda n: -f[n])
        pair = ["e1", homes[0]] if "e1" in self.nodes else homes[:1]
        f["both"] = sum(f[n] for n in pair)
        f["edge"], f["home"] = f.get("e1", 0), f[homes[0]]
        f["other_home"] = f[homes[1]] if len(homes) > 1 else 0
        f["other_edge"] = f.get("e2", 0)
        f["bus"] = sum(v for k, v in f.items()
                       if k.split(".")[0] in pair and k.split(".")[-1][:3] in ("bus", "ZMQ"))
        return f

    def resident(self):
        """Bytes by process."""
        out = {}
        for name, p in self.processes.items():
            with open(f"/proc/{p.pid}/status") as f:
                out[name] = next(int(x.split()[1]) for x in f if x.startswith("VmRSS:")) * 1024
        return out


# ---- runs ----

def arrangements(opt):
    for kind in PEERS:
        yield kind, WORKS, lambda kind=kind: KamailioTiers(opt, opt.users, kind)
    yield "Eaves", WORKS, lambda: EavesTiers(opt, opt.users)
    yield "Eaves direct", ("call", "msg"), lambda: EavesTiers(opt, opt.users, "direct")


def run_cpu(opt, results):
    for n in range(opt.rounds):
        for name, works, make in arrangements(opt):
            say(f"two tiers: round {n + 1} of {opt.rounds}, {name}")
            with make() as s:
                s.register_all()
                for mode in MODES:
                    for work in works:
                        results.add("tiers", f"{work}@{mode}", name, cell(opt, s, work, mode))


def run_second_place(opt, results):
    """What the second place adds to a REGISTER's answer, at 1,000 a second.  At the home itself,
    with no edge alive, a home without another member answers at once: that is the measure.
    Through the edge a home alone has its second place there."""
    for _ in range(opt.rounds):
        for homes in (1, 2):
            for where in ("home", "edge"):
                say(f"second place: {homes} member(s), phones at the {where}")
                with EavesTiers(opt, opt.users, "direct" if where == "home" else "edge", edges=1,
                                homes=homes, redis=False) as s:
                    if where == "home":
                        s.stop_node("e1")
                    s.register_all()
                    f = s.load("reg", "--rate", 1000, "--seconds", opt.seconds, "--warm",
                               opt.warm)
                results.add("second", where, str(homes), f)


def run_memory(opt, results):
    """Growth of resident memory by all users, imported and registered."""
    users = 10000 if opt.quick else 100000
    say(f"memory: {users} users in a cluster")
    with EavesTiers(opt, 1) as s:
        s.register_all()
        before = s.resident()
        s.users = users
        import_users(opt, s.own("e1"), users)
        s.wait("users", lambda name: s.status(name, "users") == users)
        known = s.resident()
        s.register_all()
        s.wait("bindings", lambda name: s.status(name, "bindings") == users)
        after = s.resident()
    for name in after:
        results.add("memory of tiers", name, "Eaves",
                    {"user": (known[name] - before[name]) / users,
                     "binding": (after[name] - known[name]) / users,
                     "all": (after[name] - before[name]) / users})
    return users


# ---- report ----

def cpu_rows(results):
    rows = []
    for work in WORKS:
        for mode in MODES:
            key = f"{work}@{mode}"
            row = [work, mode, spread(results.get("tiers", key, "both", "Eaves"))]
            for peer in PEERS:
                ratio = results.ratio("tiers", key, "both", "Eaves", peer)
                row += [spread(results.get("tiers", key, "both", peer)), spread(ratio, 2)]
                if peer in SHARE:
                    row.append(verdict(ratio, SHARE[peer]) if work in TARGET else "")
            failed = [max(results.get("tiers", key, "failed", n) or [0])
                      for n in ("Eaves", *PEERS)]
            row.append(" / ".join(f"{x:.0f}" for x in failed))
            rows.append(row)
    return rows


def direct_rows(results):
    rows = []
    for work in ("call", "msg"):
        for mode in MODES:
            key = f"{work}@{mode}"
            row = [work, mode, spread(results.get("tiers", key, "both", "Eaves direct"))]
            for peer in SHARE:
                row.append(spread(results.ratio("tiers", key, "both", "Eaves direct", peer), 2))
            row.append(f"{max(results.get('tiers', key, 'failed', 'Eaves direct') or [0]):.0f}")
            rows.append(row)
    return rows


def part_rows(results):
    parts = ("edge", "home", "bus", "other_home", "other_edge", "redis")
    return [[work, mode, *[spread(results.get("tiers", f"{work}@{mode}", p, "Eaves"))
                           for p in parts],
             spread(results.get("tiers", f"{work}@{mode}", "rate", "Eaves"), 0)]
            for work in WORKS for mode in MODES]


def second_rows(results):
    rows = []
    for where in ("home", "edge"):
        for q in ("final_p50", "final_p99"):
            a = results.get("second", where, q, "1")
            b = results.get("second", where, q, "2")
            added = [(y - x) / 1000 for x, y in zip(a, b)]
            rows.append([f"at the {where}", q[-3:], spread(a, 0), spread(b, 0), spread(added, 2),
                         verdict(added, ADDED_MS) if q.endswith("p99") else ""])
    return rows


def write(rep, results, users):
    rep.add("\n## Two tiers: edge and home")
    rep.add("\nCPU of the edge and of the home that serves, all threads, us an operation.  Goal: at "
            "most a third of the\nstateful arrangement of Kamailio and half of its stateless one; "
            "`path` has its phones behind the\nedge, as Eaves has (tests/bench/tiers.py describes "
            "all).")
    rep.table(["work", "mode", "Eaves", "stateful", "ratio", "a third", "stateless", "ratio",
               "half", "path", "ratio", "failed E / each"], cpu_rows(results))
    rep.add("\nThe callee registered at the home itself, whose calls do not pass the edge again "
            "(as in `stateful` and\n`stateless`):")
    rep.table(["work", "mode", "Eaves direct", "of stateful", "of stateless", "failed"],
              direct_rows(results))
    rep.add("\nThe parts, us an operation: of edge and home the bus threads (with ZeroMQ's) are a "
            "share; what the\nothers of the cluster do meanwhile is not in the tables above.")
    rep.table(["work", "mode", "edge", "home", "of these bus", "other home", "other edge",
               "Redis", "rate/s"], part_rows(results))
    rep.add("\n## The second place")
    rep.add("\nREGISTER at 1,000 a second, from the request with credentials to its 200, us, with "
            "one home and with a pair;\nadded: ms.  At the edge one home has its second place in "
            "the edge.")
    rep.table(["phones", "", "one home", "pair", "added ms", "at most 1 ms"],
              second_rows(results))
    write_memory(rep, results, users)


def write_memory(rep, results, users):
    names = ["h1a", "h1b", "e1", "e2", "redis"]
    rows = []
    for name in names:
        rows.append([name, *[spread(results.get("memory of tiers", name, f, "Eaves"), 0)
                             for f in ("user", "binding", "all")], ""])
    homes = [a + b for a, b in zip(results.get("memory of tiers", "h1a", "all", "Eaves"),
                                   results.get("memory of tiers", "h1b", "all", "Eaves"))]
    rows.append(["both homes", "", "", spread(homes, 0), verdict(homes, USER_BYTES)])
    rep.add("\n## Memory of a registered user")
    rep.add(f"\nGrowth of resident memory, bytes for each of {users} users.")
    rep.table(["process", "imported", "registered", "both", f"at most {USER_BYTES}"], rows)
