"""What an edge's call costs with 1, 5 and 20 pairs of homes: a process for each node, one machine.

All users are spread over the homes by the hash of their names.  Calls are paced, low enough that 42
processes do not fill the machine.  Two kinds:
  trusted  the caller's address is trusted: the edge sends the call to the home of who is called
  proved   the caller proves himself at his own home first, which is another pair than that of who
           is called (with one pair: the same), so the call passes the edge once more in between
The edge has heartbeats to send to every node, and tables to compare, calls or not: what it uses while
nothing is asked of it is measured after each kind of calls, for as long, and given apart.
"""
import os

from cluster import EavesTiers, bus_share, role_of
from results import Results, spread, verdict
from servers import say

SIZES = (1, 5, 20)
USERS = 100000
RATE = 1000  # calls a second
KINDS = {"trusted": (1, 20), "proved": (5, 20)}  # and the sizes that are compared
WITHIN = 1.10


def write_callers(s):
    """A file: for each user one of the next pair, who calls him."""
    pairs = sorted(set(s.pair_of_user.values()))
    members = {p: [u for u in range(s.users) if s.pair_of_user[u] == p] for p in pairs}
    path = os.path.join(s.folder, "callers")
    with open(path, "w") as f:
        for u in range(s.users):
            others = members[pairs[(pairs.index(s.pair_of_user[u]) + 1) % len(pairs)]]
            f.write(f"{others[u % len(others)]}\n")
    return path


def idle(opt, s):
    """us a second of the edge's threads and of its bus, and of all processes."""
    f = s.load("idle", "--seconds", 2 * opt.seconds, "--warm", opt.warm)
    return {"edge": f["edge"] / f["seconds"], "bus": bus_share(f, "e1") / f["seconds"],
            "all": f["server_cpu"] / f["seconds"]}


def one_size(opt, results, pairs, users):
    with EavesTiers(opt, users, pairs=pairs) as s:
        s.register_all()
        memory = s.resident()
        results.add("scale", "start", str(pairs), {
            **s.took, "processes": len(s.processes), "edge": memory["e1"],
            "all": sum(memory.values())})
        callers, at_trusted = write_callers(s), s.target
        for kind in KINDS:
            s.target = at_trusted if kind == "trusted" else s.challenged
            f = s.load("call", "--rate", RATE, "--seconds", 2 * opt.seconds, "--warm", opt.warm,
                       "--callers", callers)
            rest = idle(opt, s)
            results.add("scale", "idle", str(pairs), rest)
            results.add("scale", kind, str(pairs), {
                **f, "bus": bus_share(f, "e1"), "idle": rest["edge"] / f["rate"],
                "net": f["edge"] - rest["edge"] / f["rate"],
                "homes": sum(f[n] for n in s.nodes if role_of(n) == "home")})


# ---- report ----

def start_rows(results, sizes, users):
    rows = []
    for n in map(str, sizes):
        def v(of, name, divisor=1.0, digits=1, n=n):
            return spread([x / divisor for x in results.get("scale", of, name, n)], digits)
        rate = [users / x for x in results.get("scale", "start", "register", n)]
        rows.append([n, v("start", "processes", digits=0),
                     *[v("start", x) for x in ("start", "import", "register")], spread(rate, 0),
                     *[v("start", x, 1e6, 0) for x in ("edge", "all")],
                     *[v("idle", x, 1e4, 2) for x in ("edge", "bus")], v("idle", "all", 1e4)])
    return rows


def call_rows(results, sizes):
    return [[kind, n, *[spread(results.get("scale", kind, x, n))
                        for x in ("edge", "bus", "idle", "net", "homes", "other_edge")],
             spread(results.get("scale", kind, "server_cores", n), 2),
             f"{max(results.get('scale', kind, 'failed', n)):.0f}"]
            for kind in KINDS for n in map(str, sizes)]


def ratio_rows(results, sizes):
    rows = []
    for kind, compared in KINDS.items():
        small, large = (n if n in sizes else sizes[i - 2] for i, n in enumerate(compared))
        with_idle, net = (results.ratio("scale", kind, x, str(large), str(small))
                          for x in ("edge", "net"))
        rows.append([kind, f"{large} / {small}", spread(with_idle, 2), spread(net, 2),
                     verdict(net, WITHIN)])
    return rows


def run(opt, rep):
    results = Results()
    sizes, users = ((1, 2), 5000) if opt.quick else (SIZES, USERS)
    for n in range(opt.rounds):
        for pairs in sizes:
            say(f"scale: round {n + 1} of {opt.rounds}, {pairs} pairs, {users} users")
            one_size(opt, results, pairs, users)
    write(rep, results, sizes, users)


def write(rep, results, sizes, users):
    rep.add(f"\nOne pair of edges, {sizes[0]} to {sizes[-1]} pairs of homes, Redis; {users} users "
            "spread over them, imported at an edge until\nevery node has them, then registered until "
            "both edges and both homes of each have the bindings.")
    rep.table(["pairs", "processes", "start s", "import s", "register s", "a second", "edge MB",
               "all MB", "idle: edge %", "of it bus", "all %"],
              start_rows(results, sizes, users))
    rep.add(f"\nCalls through one edge, {RATE} a second, us of CPU a call; idle: what the edge uses "
            "in the time of a call without calls.\ntrusted: the edge sends a call to the home of who is "
            "called.  proved: the caller proves himself at his own\nhome first, another one than "
            "that of who is called (with one pair: the same).")
    rep.table(["caller", "pairs", "edge", "of it bus", "idle", "without idle", "all homes",
               "other edge", "cores in use", "failed"], call_rows(results, sizes))
    rep.table(["caller", "pairs", "ratio, edge", "ratio without idle", "at most 10 % more"],
              ratio_rows(results, sizes))
