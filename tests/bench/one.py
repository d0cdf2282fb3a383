"""One server against one server: CPU per operation, response times, memory, live transactions."""
import statistics
import subprocess

from results import Results, spread, verdict
from servers import Eaves, Kamailio, say

WORKS = ("reg", "rereg", "call", "msg", "options")
MODES = ("paced", "saturated")
WINDOW = {"reg": 100, "rereg": 100, "call": 800, "msg": 200, "options": 200}
# Packets that a server forwards (or answers) for one operation: what the floor is counted from.
FORWARDED = {"reg": 2, "rereg": 1, "call": 6.5, "msg": 2, "options": 1}
LATENCY = {"reg": "final", "rereg": "final", "call": "ringing", "msg": "final",
           "options": "final"}
TARGET = {"reg", "call", "msg"}  # at most half of the peer's CPU
SERVERS = (Kamailio, Eaves)
CPU_HEAD = ["work", "mode", "Kamailio us/op", "Eaves us/op", "ratio", "floor us/op",
            "Kamailio rate/s", "Eaves rate/s", "kernel % K / E", "failed K / E", "at most half"]


def cell(opt, server, work, mode):
    args = ["--seconds", opt.seconds, "--warm", opt.warm]
    if mode == "paced":
        args += ["--rate", 1000]
    else:
        # transactions outlive their calls: the memory of both is warm after some seconds
        args = ["--seconds", opt.seconds, "--warm", opt.warm * (3 if work in ("call", "msg")
                                                                else 1)]
        args += ["--window", WINDOW[work]]
    return server.load(work, *args)


def run_variant(opt, results, variant, works, modes, **how):
    """Rounds of peer, ours, peer, ours."""
    for n in range(opt.rounds):
        for cls in SERVERS:
            say(f"{variant}: round {n + 1} of {opt.rounds}, {cls.name}")
            with cls(opt, opt.users, **how) as s:
                s.register_all()
                for mode in modes:
                    for work in works:
                        f = cell(opt, s, work, mode)
                        results.add(variant, work + "@" + mode, cls.name, f)


def run_latency(opt, results):
    """Both at half of what the peer does at most."""
    for work in ("reg", "call", "msg"):
        top = statistics.median(results.get("memory", work + "@saturated", "rate", "Kamailio"))
        for _ in range(opt.rounds):
            for cls in SERVERS:
                say(f"latency: {work} at {top / 2:.0f}/s, {cls.name}")
                with cls(opt, opt.users) as s:
                    s.register_all()
                    f = s.load(work, "--rate", int(top / 2), "--seconds", opt.seconds, "--warm",
                               opt.warm)
                results.add("latency", work, cls.name, f)


def forward_us(opt, rate):
    """us a forwarded packet, at that many a second; 0: as many as go."""
    r = subprocess.run([opt.floor, "600", str(int(rate)), str(opt.seconds)],
                       capture_output=True, text=True, timeout=120)
    return float(r.stdout.split("forward_cpu ")[1].split()[0])


def run_floor(opt):
    """us a work: saturated, and at 1,000 a second."""
    floor = {}
    for work in WORKS:
        floor[work + "@saturated"] = forward_us(opt, 0) * FORWARDED[work]
        floor[work + "@paced"] = forward_us(opt, 1000 * FORWARDED[work]) * FORWARDED[work]
    return floor


def cpu_rows(results, variant, floor, works, modes):
    rows = []
    for work in works:
        for mode in modes:
            key = f"{work}@{mode}"
            ratio = results.ratio(variant, key, "server_cpu")
            failed = [max(results.get(variant, key, "failed", c.name) or [0]) for c in SERVERS]
            rows.append([work, mode,
                         spread(results.get(variant, key, "server_cpu", "Kamailio")),
                         spread(results.get(variant, key, "server_cpu", "Eaves")),
                         spread(ratio, 2),
                         f"{floor[key]:.1f}" if floor else "-",
                         spread(results.get(variant, key, "rate", "Kamailio"), 0),
                         spread(results.get(variant, key, "rate", "Eaves"), 0),
                         " / ".join(spread(results.get(variant, key, "server_kernel",
                                                       c.name)[:1], 0) for c in SERVERS),
                         " / ".join(f"{x:.0f}" for x in failed),
                         verdict(ratio, 0.5) if work in TARGET and variant == "memory" else ""])
    return rows


def run_memory(opt, rep):
    results = Results()
    floor = run_floor(opt)
    run_variant(opt, results, "memory", WORKS, MODES)
    run_latency(opt, results)
    rep.add("\nfloor: the same packets through a bare forwarder (recvmmsg, sendmmsg)")
    rep.table(CPU_HEAD, cpu_rows(results, "memory", floor, WORKS, MODES))
    write_latency(rep, results)


def run_challenged(opt, rep):
    results = Results()
    run_variant(opt, results, "challenged", ("call", "msg"), MODES, challenged=True)
    rep.table(CPU_HEAD, cpu_rows(results, "challenged", None, ("call", "msg"), MODES))


def run_durable(opt, rep):
    results = Results()
    run_variant(opt, results, "durable", ("reg", "rereg"), MODES, durable=True)
    rep.add("\nKamailio: usrloc db_mode 1 (write-through), SQLite in WAL mode, one "
            "process\n(two refuse each other's writes with 500).  Eaves: store sqlite.")
    rep.table(CPU_HEAD, cpu_rows(results, "durable", None, ("reg", "rereg"), MODES))


def write_latency(rep, results):
    rows = []
    for work in ("reg", "call", "msg"):
        for q in ("p50", "p99"):
            name = f"{LATENCY[work]}_{q}"
            rows.append([work, q, spread(results.get("latency", work, "rate", "Eaves"), 0),
                         spread(results.get("latency", work, name, "Kamailio"), 0),
                         spread(results.get("latency", work, name, "Eaves"), 0),
                         spread(results.ratio("latency", work, name), 2)])
    rep.add("\n### Response time at half of the peer's top rate")
    rep.add("\nMicroseconds; of a call: from INVITE to 180 at the caller.")
    rep.table(["work", "", "rate/s", "Kamailio", "Eaves", "ratio"], rows)


def capacity(opt, results):
    """Memory of bindings; cost per message while transactions are live."""
    bindings = 10000 if opt.quick else 100000
    ringing = 5000 if opt.quick else 50000  # each a server and a client transaction
    for _ in range(opt.rounds):
        for cls in SERVERS:
            say(f"capacity: {bindings} bindings, {cls.name}")
            with cls(opt, bindings) as s:
                # the first half fills what loading the users left behind in the allocator
                half = bindings // 2
                s.load("reg", "--window", 50, "--count", half)
                f = s.load("reg", "--window", 50, "--count", half, "--first", half)
                grown = f["server_pss_after"] - f["server_pss_before"]
                results.add("capacity", "bindings", cls.name,
                            {"bytes": grown * 1024 / half, "failed": f["failed"]})
            for live in (0, ringing):
                say(f"capacity: {2 * live} live transactions, {cls.name}")
                with cls(opt, opt.users) as s:
                    s.register_all()
                    f = s.load("msg", "--rate", 5000, "--seconds", opt.seconds, "--warm",
                               opt.warm, "--ringing", live)
                results.add("capacity", f"live {2 * live}", cls.name, f)
    return bindings, ringing


def write_capacity(rep, results, bindings, ringing):
    ratio = results.ratio("capacity", "bindings", "bytes")
    rep.table(["memory (Pss)", "Kamailio", "Eaves", "ratio", "at most the peer's"],
              [[f"bytes a binding, second half of {bindings}",
                spread(results.get("capacity", "bindings", "bytes", "Kamailio"), 0),
                spread(results.get("capacity", "bindings", "bytes", "Eaves"), 0),
                spread(ratio, 2), verdict(ratio, 1.0)]])
    rows = []
    for live in (0, 2 * ringing):
        key = f"live {live}"
        rows.append([f"{live}", *[spread(results.get("capacity", key, "server_cpu", c.name))
                                  for c in SERVERS],
                     " / ".join(f"{max(results.get('capacity', key, 'failed', c.name) or [0]):.0f}"
                                for c in SERVERS)])
    rep.table(["live transactions", "Kamailio us/MESSAGE at 5,000/s", "Eaves", "failed K / E"],
              rows)


def run_capacity(opt, rep):
    results = Results()
    write_capacity(rep, results, *capacity(opt, results))
