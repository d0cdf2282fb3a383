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
from cluster import NET, EavesTiers
from one import MODES, cell, forward_us
from results import Results, spread, verdict
from servers import Layout, import_users, kamailio_command, say

WORKS = ("reg", "rereg", "call", "msg")
PEERS = ("stateful", "stateless", "path")
SHARE = {"stateful": 1 / 3, "stateless": 1 / 2}  # of the peer's CPU
TARGET = ("reg", "call")
# Packets that edge and home forward (or answer) for one operation, the callee behind the edge.
FORWARDED = {"reg": (3, 1), "call": (13, 6.5)}
ADDED_MS = 1.0  # to p99, by the second place
USER_BYTES = 3072


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
        f["both"] = f["sip"] = f["edge"] + f["home"]
        return f


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


def run_floor(opt):
    """us a work: what a process costs that does nothing but forward, in the place of each tier."""
    floor = {}
    for work, places in FORWARDED.items():
        floor[work + "@saturated"] = forward_us(opt, 0) * sum(places)
        floor[work + "@paced"] = sum(forward_us(opt, 1000 * n) * n for n in places)
    return floor


SECOND = {"alone": (1, "memory"), "pair": (2, "memory"), "pair, sqlite": (2, "sqlite")}


def run_second_place(opt, results):
    """What the second place adds to a REGISTER's answer, at 1,000 a second.  At the home itself,
    with no edge alive (an edge is a second place too): a home without another member, whose
    store is no place, answers at once, and that is the measure."""
    for _ in range(opt.rounds):
        for name, (homes, store) in SECOND.items():
            say(f"second place: {name}")
            with EavesTiers(opt, opt.users, "direct", edges=1, homes=homes, store=store) as s:
                s.stop_node("e1")
                s.register_all()
                f = s.load("reg", "--rate", 1000, "--seconds", opt.seconds, "--warm", opt.warm)
            results.add("second", "home", name, f)


def run_memory(opt, results):
    """Growth of resident memory by all users, imported and registered."""
    users = 10000 if opt.quick else 100000
    say(f"memory: {users} users in a cluster")
    with EavesTiers(opt, 1) as s:
        s.register_all()
        before = s.resident()
        s.users = users
        s.import_all()
        known = s.resident()
        s.register_all()
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


def sip_rows(results, floor):
    rows = []
    for work in TARGET:
        for mode in MODES:
            key = f"{work}@{mode}"
            row = [work, mode, spread(results.get("tiers", key, "sip", "Eaves")),
                   spread(results.get("tiers", key, "bus", "Eaves")), f"{floor[key]:.1f}"]
            for peer in SHARE:
                ratio = results.ratio("tiers", key, "sip", "Eaves", peer)
                of = [floor[key] / x for x in results.get("tiers", key, "both", peer)]
                row += [spread(ratio, 2), verdict(ratio, SHARE[peer]), spread(of, 2)]
            rows.append(row)
    return rows


def second_rows(results):
    rows = []
    for name in SECOND:
        for q in ("final_p50", "final_p99"):
            alone = results.get("second", "home", q, "alone")
            took = results.get("second", "home", q, name)
            added = [(y - x) / 1000 for x, y in zip(alone, took)]
            rows.append([name, q[-3:], spread(took, 0), *(
                ("", "") if name == "alone" else
                (spread(added, 2), verdict(added, ADDED_MS) if q.endswith("p99") else ""))])
    return rows


def run(opt, rep):
    results = Results()
    run_cpu(opt, results)
    floor = run_floor(opt)
    run_second_place(opt, results)
    write(rep, results, floor, run_memory(opt, results))


def write(rep, results, floor, users):
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
    rep.add("\nWhat the second member and Redis take of edge and home is the bus's: its threads and "
            "ZeroMQ's. The two\ntiers without them, as Kamailio's have neither; and the floor: the "
            "same number of datagrams through processes\nthat do nothing but forward them "
            "(recvmmsg, sendmmsg).")
    rep.table(["work", "mode", "SIP", "bus", "floor", "SIP of stateful", "a third",
               "floor of it", "SIP of stateless", "half", "floor of it"],
              sip_rows(results, floor))
    rep.add("\n### The second place")
    rep.add("\nREGISTER at 1,000 a second straight at a home, no edge alive, from the request with "
            "credentials to its 200:\na home alone, which waits for nobody, and a pair; each keeps "
            "its tables in memory, or in SQLite too.")
    rep.table(["homes", "", "us", "added ms", "at most 1 ms"], second_rows(results))
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
    rep.add("\n### Memory of a registered user")
    rep.add(f"\nGrowth of resident memory, bytes for each of {users} users.")
    rep.table(["process", "imported", "registered", "both", f"at most {USER_BYTES}"], rows)
